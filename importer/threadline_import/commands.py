"""The command `threadline import`."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click


def _participants(values: tuple[str, ...]) -> dict[str | None, str]:
    found: dict[str | None, str] = {}
    for value in values:
        name, equals, number = value.rpartition("=")
        found[name.strip() if equals else None] = number.strip()
    return found


def _without_use(participants: dict[str | None, str], used: set[str]) -> list[str]:
    return [f"{name}={number}" if name else number for name, number in participants.items() if number not in used]


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError) as problem:
        raise click.BadParameter(f"{name} is no time zone. Give a name such as Europe/Berlin.") from problem


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--connection", metavar="NAME", help="connection_id of your messaging connection.")
@click.option("--url", default="http://127.0.0.1:54321", show_default=True, help="URL of the project.")
@click.option("--key", envvar="MESSAGING_API_SECRET", help="API key of the connection [env: MESSAGING_API_SECRET].")
@click.option("--dry-run", is_flag=True, help="Show the table and send nothing.")
@click.option("-y", "--yes", is_flag=True, help="Send without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of the table; never ask.")
@click.option("--from", "reader", metavar="FORMAT", help="Format of the files, or MODULE:CLASS of your own reader.")
@click.option("--platform", type=click.Choice(["whatsapp", "signal", "telegram", "wechat"]), help="For --from jsonl.")
@click.option("--me", metavar="NAME|ID", help="You, as the files name you.")
@click.option(
    "--participant",
    "participants",
    multiple=True,
    metavar="[NAME=]NUMBER",
    help="Phone number of the other side. Repeat it with NAME= for several files.",
)
@click.option("--group", metavar="NAME", help="Name of the group, if the WhatsApp chat is one.")
@click.option("--chat", metavar="NAME|ID", help="Take only this chat of a Telegram account.")
@click.option("--conversation", metavar="ID", help="external_conversation_id, instead of the one by the number.")
@click.option("--date-order", type=click.Choice(["dmy", "mdy", "ymd", "ydm"]), help="Only where a file leaves it open.")
@click.option("--timezone", metavar="IANA", help="Zone of the phone's clock. WhatsApp: this machine's by default.")
@click.option("--no-media", is_flag=True, help="Send no pictures and other files.")
@click.option("--again", is_flag=True, help="Send everything, also what an interrupted run has sent.")
def import_(
    files: tuple[Path, ...],
    connection: str | None,
    url: str,
    key: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    reader: str | None,
    platform: str | None,
    me: str | None,
    participants: tuple[str, ...],
    group: str | None,
    chat: str | None,
    conversation: str | None,
    date_order: str | None,
    timezone: str | None,
    no_media: bool,
    again: bool,
) -> None:
    """Bring chat histories in: exports of WhatsApp, Telegram, Signal and WeChat.

    First it reads everything and shows what would go in. The exit status is 1 if anything was unreadable or refused.
    Running it again is safe: only new messages are added.
    """
    from rich.console import Console

    from threadline_import import report
    from threadline_import.model import ImportRefusedError, Options
    from threadline_import.sources import list_sources
    from threadline_import.survey import conversations, examine

    console = Console(stderr=as_json)
    options = Options(
        me=me,
        participants=_participants(participants),
        group=group,
        conversation=conversation,
        date_order=date_order,
        zone=_zone(timezone),
        chat=chat,
    )
    try:
        sources = [replace(source, has_files=not no_media) for source in list_sources(list(files))]
        if len(sources) > 1 and (None in options.participants or group or conversation):
            raise ImportRefusedError(
                "--participant NUMBER, --group and --conversation are for one file. For several, give "
                '--participant "NAME=NUMBER" for each name.'
            )
        survey = examine(sources, options, reader)
        platforms = survey.platforms - {""} | ({platform} if platform else set())
        if len(platforms) > 1:
            raise ImportRefusedError(
                f"The files are of {' and '.join(sorted(platforms))}. Import one platform at a time."
            )
        if not as_json:
            report.print_survey(console, survey)
            if "whatsapp" in survey.platforms and not timezone:
                console.print("Times are read in the zone of this machine. --timezone changes it.")
        unused = _without_use(options.participants, {row.participant for row in survey.rows})
        if survey.messages and unused:
            raise ImportRefusedError(
                f"No conversation uses --participant {', '.join(unused)}. Write the name as its file has it."
            )
        outcome = None
        if dry_run:
            console.print("Nothing was sent (--dry-run).")
        elif survey.messages:
            if not (connection and key and platforms):
                raise ImportRefusedError(_missing(connection, key))
            if not (yes or as_json or not sys.stdin.isatty()):
                files_too = f" and {survey.files:,} files" if survey.files else ""
                click.confirm(f"Send {survey.messages:,} messages{files_too} to {url}?", abort=True)
            found = conversations(sources, options, reader, survey)
            outcome = _send(console, found, survey, url, key, platforms.pop(), connection, again=again)
    except ImportRefusedError as problem:
        if as_json:
            click.echo(json.dumps({"ok": False, "error": str(problem)}, ensure_ascii=False))
            sys.exit(1)
        raise click.ClickException(str(problem)) from problem
    is_ok = survey.is_clean and bool(survey.rows) and not (outcome and outcome.errors)
    if as_json:
        click.echo(json.dumps(report.render(survey, outcome, is_ok=is_ok), ensure_ascii=False))
    elif outcome:
        report.print_outcome(console, outcome)
    sys.exit(0 if is_ok else 1)


def _missing(connection: str | None, key: str | None) -> str:
    if not connection:
        return "Say which messaging connection this is for with --connection."
    if not key:
        return "Give the API key of the connection with --key or $MESSAGING_API_SECRET."
    return "Say with --platform which platform the conversation is from."


def _send(console, found, survey, url, key, platform, connection, *, again):
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from threadline_import.journal import Journal
    from threadline_import.model import ImportRefusedError
    from threadline_import.send import Sender, batches

    journal = Journal(url, connection, again=again)
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with (
        Progress(*columns, console=console) as progress,
        Sender(url, key, platform, connection, journal, progress.console.print) as sender,
    ):
        task = progress.add_task("messages", total=survey.messages)
        upload = progress.add_task("bytes of files", total=survey.bytes, visible=bool(survey.files))
        try:
            for batch in batches(found):
                sender.send(batch, lambda size: progress.advance(upload, size))
                progress.advance(task, batch.messages)
        except KeyboardInterrupt as problem:
            raise ImportRefusedError("Stopped. Run the same command again; it goes on.") from problem
    if not sender.outcome.errors:
        journal.forget()
    return sender.outcome
