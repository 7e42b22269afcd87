"""Shows a survey and an outcome, to people as a table and to programs as JSON."""

from __future__ import annotations

import unicodedata
from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from threadline_import.media import LARGEST
from threadline_import.send import Outcome
from threadline_import.survey import MOST_SHOWN, Row, Survey


def shown(text: str) -> Text:
    """Return a text of a file for the terminal, without what would steer it."""
    safe = "".join("\ufffd" if unicodedata.category(letter) == "Cc" else letter for letter in text)
    return Text(safe)


def print_survey(console: Console, survey: Survey) -> None:
    """Print what would go in, and what would not."""
    for file, title in dict.fromkeys((row.file, row.format) for row in survey.rows):
        console.print(shown(f"{file}: {title}"), soft_wrap=True)
    if survey.rows:
        console.print(_table(survey))
    for kind, count in sorted(survey.left_out.items()):
        console.print(shown(f"Left out: {count} {kind}"))
    for row in survey.rows:
        for entry in row.shown:
            what = shown(f"{row.file}, {entry.where}: {entry.text[:100]}")
            console.print(Text.assemble(("Not understood: ", "yellow"), what), soft_wrap=True)
        if row.unreadable > len(row.shown):
            console.print(f"Not understood: {row.unreadable - len(row.shown)} more in {row.file}", markup=False)
        for name in row.too_large[:MOST_SHOWN]:
            what = shown(f"More than {size(LARGEST)}, not uploaded: {name} of {row.file}")
            console.print(what, soft_wrap=True)
    for refusal in survey.refusals:
        what = shown(f"{refusal.where}: {refusal.reason}")
        console.print(Text.assemble(("Refused: ", "red"), what), soft_wrap=True)


def _table(survey: Survey) -> Table:
    table = Table(show_edge=False, pad_edge=False)  # so that it fits 80 columns
    table.add_column("conversation\nparticipant", overflow="fold", min_width=12)
    table.add_column("messages\n(yours)", justify="right")
    table.add_column("days", no_wrap=True)
    table.add_column("files", justify="right")
    table.add_column("left out", overflow="fold")
    table.add_column("not\nunderstood", justify="right")
    for row in survey.rows:
        table.add_row(
            Text("\n").join([shown(row.name), shown(row.participant)]),
            f"{row.messages:,} ({row.outbound:,})" + (f"\n+ {row.updates:,} updates" if row.updates else ""),
            f"{row.first:%Y-%m-%d}\n{row.last:%Y-%m-%d}" if row.first and row.last else "",
            _files(row),
            "\n".join(f"{count:,} {kind}" for kind, count in sorted(row.left_out.items())),
            f"{row.unreadable:,}" if row.unreadable else "",
        )
    return table


def _files(row: Row) -> str:
    lines = [f"{row.files:,} ({size(row.bytes)})"] if row.files else []
    lines += [f"{row.without_file:,} not there"] if row.without_file else []
    lines += [f"{len(row.too_large):,} too large"] if row.too_large else []
    return "\n".join(lines)


def size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def print_outcome(console: Console, outcome: Outcome) -> None:
    """Print what the server stored."""
    known = " The others were stored already." if outcome.added < outcome.messages and not outcome.errors else ""
    console.print(f"Added {outcome.added:,} of {outcome.messages + outcome.skipped:,} messages.{known}")
    if outcome.skipped:
        console.print(f"{outcome.skipped:,} were sent by the run before, which did not end.")
    if outcome.files or outcome.files_known:
        known = f" {outcome.files_known:,} were there already." if outcome.files_known else ""
        console.print(f"Uploaded {outcome.files:,} files ({size(outcome.file_bytes)}).{known}")
    if outcome.changed:
        console.print(f"{outcome.changed:,} are stored with other content, which stays.")
    for error in outcome.errors:
        console.print(Text.assemble(("Refused by the server: ", "red"), shown(error)))


def render(survey: Survey, outcome: Outcome | None, *, is_ok: bool) -> dict[str, object]:
    """Build the object that --json prints."""
    return {
        "ok": is_ok,
        "conversations": [_render_row(row) for row in survey.rows],
        "left_out": dict(survey.left_out),
        "refused": [{"where": refusal.where, "reason": refusal.reason} for refusal in survey.refusals],
        "sent": outcome
        and {
            "requests": outcome.requests,
            "messages": outcome.messages,
            "added": outcome.added,
            "skipped": outcome.skipped,
            "changed": outcome.changed,
            "files": outcome.files,
            "file_bytes": outcome.file_bytes,
            "files_known": outcome.files_known,
            "errors": outcome.errors,
        },
    }


def _render_row(row: Row) -> dict[str, object]:
    return {
        "file": row.file,
        "format": row.format,
        "external_conversation_id": row.id,
        "participant_name": row.name,
        "participant_identifier": row.participant,
        "messages": row.messages,
        "outbound": row.outbound,
        "updates": row.updates,
        "kinds": _counts(row.kinds),
        "left_out": _counts(row.left_out),
        "files": row.files,
        "file_bytes": row.bytes,
        "without_file": row.without_file,
        "too_large": row.too_large,
        "unreadable": row.unreadable,
        "unreadable_entries": [{"where": entry.where, "text": entry.text[:200]} for entry in row.shown],
        "first": row.first and row.first.isoformat(),
        "last": row.last and row.last.isoformat(),
    }


def _counts(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))
