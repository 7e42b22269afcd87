"""What the command shows of files and of the answers of the server."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from threadline_import import survey as surveys
from threadline_import.media import File
from threadline_import.model import Conversation, LeftOut, Message, Options, Refusal, Unreadable, Update
from threadline_import.report import print_outcome, print_survey, render, size
from threadline_import.send import Outcome
from threadline_import.sources import Source
from threadline_import.survey import MOST_SHOWN, Row, Survey, conversations, examine

from tests.importer.reading import CASES, NUMBER, shop


def printed(*what: object) -> str:
    console = Console(file=io.StringIO(), width=100)
    for each in what:
        (print_survey if isinstance(each, Survey) else print_outcome)(console, each)
    return console.file.getvalue()


def test_table_shows_what_goes_in_and_what_not(tmp_path: Path) -> None:
    at, early = datetime(2024, 2, 15, tzinfo=UTC), datetime(2024, 2, 14, tzinfo=UTC)
    row = Row("f.txt", "Title", "c1", "Ada\x1b", NUMBER, messages=1234, outbound=5, updates=2, first=early, last=at)
    row.files, row.bytes, row.without_file = 3, 1_500_000, 2
    row.too_large = [f"v{number}.mp4" for number in range(60)]
    row.left_out["notices"] = 7
    for number in range(60):
        row.add(Unreadable(f"line {number}", "x" * 150))
    survey = Survey([row], refusals=[Refusal("g.txt", "No")])
    survey.left_out["chats"] = 2
    text = printed(survey)
    for part in (
        "f.txt: Title\n", "Ada\ufffd", NUMBER, "1,234 (5)", "+ 2 updates", "2024-02-14", "2024-02-15", "3 (1.5 MB)",
        "2 not there", "60 too large", "7 notices", "Left out: 2 chats",
        f"Not understood: f.txt, line 49: {'x' * 100}\n",
        "Not understood: 10 more in f.txt", "More than 52.4 MB, not uploaded: v49.mp4 of f.txt", "Refused: g.txt: No",
    ):  # fmt: skip
        assert part in text
    assert "line 50" not in text
    assert "v50.mp4" not in text
    assert (MOST_SHOWN, survey.messages, survey.unreadable, survey.is_clean) == (50, 1234, 60, False)
    assert (survey.files, survey.bytes) == (3, 1_500_000)
    row.too_large = ["v.mp4"]
    assert "1 too large" in printed(survey)
    row.first, row.last = at, None
    row.add(Message("1", early, is_mine=True))
    row.add(Message("2", at, is_mine=False))
    assert (row.first, row.last, row.messages, row.outbound) == (early, at, 1236, 6)
    row.add(Message("3", early, False, "image"))
    row.add(Message("4", early, False, "text"))
    assert (row.last, row.without_file) == (at, 3)
    row.without_file = 2
    row.first, row.messages, row.outbound = at, 1234, 5
    [shown] = render(survey, None, is_ok=False)["conversations"]
    assert (shown["first"], shown["last"], shown["updates"]) == (at.isoformat(), at.isoformat(), 2)
    assert (shown["left_out"], shown["without_file"], shown["outbound"]) == ({"notices": 7}, 2, 5)
    assert [size(count) for count in (999, 1000, 999_999, 1_000_000, 1e9)] == [
        "999 bytes", "1.0 kB", "1000.0 kB", "1.0 MB", "1.0 GB",
    ]  # fmt: skip


def test_table_says_nothing_of_what_is_not_there() -> None:
    at = datetime(2024, 2, 15, tzinfo=UTC)
    row = Row("[b]f.txt", "Title", "c1", "Ada", NUMBER, messages=1, first=at, last=at)
    row.left_out.update({"notices": 1, "calls": 2})
    other = Row("[b]f.txt", "Title", "c2", "Bo", NUMBER)
    other.add(Unreadable("line 1", "x"))
    survey = Survey([row, other])
    survey.left_out.update({"b": 1, "a": 2})
    lines = printed(survey).translate(str.maketrans("┃━╇", "│─┼")).splitlines()
    assert [line.rstrip() for line in lines] == [
        "[b]f.txt: Title",
        "conversation    │ messages │            │       │           │        not",
        "participant     │  (yours) │ days       │ files │ left out  │ understood",
        "────────────────┼──────────┼────────────┼───────┼───────────┼───────────",
        "Ada             │    1 (0) │ 2024-02-15 │       │ 2 calls   │",
        "+1 555 201 0001 │          │ 2024-02-15 │       │ 1 notices │",
        "Bo              │    0 (0) │            │       │           │          1",
        "+1 555 201 0001 │          │            │       │           │",
        "Left out: 2 a",
        "Left out: 1 b",
        "Not understood: [b]f.txt, line 1: x",
    ]
    other.unreadable = 3
    assert "Not understood: 2 more in [b]f.txt\n" in printed(survey)
    assert printed(Survey()) == ""


def test_row_counts_each_entry() -> None:
    at = datetime(2024, 2, 15, tzinfo=UTC)
    row = Row("f.txt", "Title", "c1", "Ada", NUMBER)
    large = (5, 6, 52_428_801)
    for entry in (
        *(Message("1", at, is_mine=is_mine) for is_mine in (True, True, False)),
        *(Message("2", at, is_mine=False, kind="image", file=File(Path("a/b.jpg"), None, each)) for each in large),
        Message("3", at, is_mine=False, kind="image"),
        *[Update("1", "deleted", at)] * 2,
        *[LeftOut("calls")] * 2,
        *(Unreadable(f"line {number}", "x") for number in range(52)),
    ):
        row.add(entry)
    assert (row.messages, row.outbound, row.updates, row.unreadable, len(row.shown)) == (7, 2, 2, 52, 50)
    assert (row.kinds, row.left_out) == ({"text": 3, "image": 4}, {"calls": 2})
    assert (row.files, row.bytes, row.without_file, row.too_large) == (2, 11, 1, ["b.jpg"])


def test_row_for_programs_has_all_fields() -> None:
    early, at = datetime(2024, 2, 14, tzinfo=UTC), datetime(2024, 2, 15, tzinfo=UTC)
    row = Row("f.txt", "Title", "c1", "Ada", NUMBER, 9, 8, updates=7, unreadable=6, first=early, last=at)
    row.files, row.bytes, row.without_file, row.too_large = 5, 4, 3, ["v.mp4"]
    row.kinds.update({"text": 2, "image": 1})
    row.left_out.update({"calls": 1})
    row.add(Unreadable("line 1", "x" * 201))
    survey = Survey([row], refusals=[Refusal("g.txt", "No")])
    survey.left_out.update({"chats": 2})
    found = render(survey, None, is_ok=False)
    assert found["conversations"] == [{
        "file": "f.txt", "format": "Title", "external_conversation_id": "c1", "participant_name": "Ada",
        "participant_identifier": NUMBER, "messages": 9, "outbound": 8, "updates": 7, "kinds": {"text": 2, "image": 1},
        "left_out": {"calls": 1}, "files": 5, "file_bytes": 4, "without_file": 3, "too_large": ["v.mp4"],
        "unreadable": 7, "unreadable_entries": [{"where": "line 1", "text": "x" * 200}],
        "first": early.isoformat(), "last": at.isoformat(),
    }]  # fmt: skip
    assert list(found["conversations"][0]["kinds"]) == ["image", "text"]
    assert {name: found[name] for name in ("ok", "left_out", "refused", "sent")} == {
        "ok": False, "left_out": {"chats": 2}, "refused": [{"where": "g.txt", "reason": "No"}], "sent": None,
    }  # fmt: skip


def test_outcome_says_what_the_server_stored() -> None:
    plain = printed(Outcome(messages=3, added=3))
    assert plain == "Added 3 of 3 messages.\n"
    whole = Outcome(2, 3, 2, 4, 5, 6, 7000, 8, [])
    assert printed(whole) == (
        "Added 2 of 7 messages. The others were stored already.\n"
        "4 were sent by the run before, which did not end.\n"
        "Uploaded 6 files (7.0 kB). 8 were there already.\n"
        "5 are stored with other content, which stays.\n"
    )
    assert "Uploaded 0 files (0 bytes). 8 were there already." in printed(Outcome(files_known=8))
    assert "were stored already" not in printed(Outcome(messages=3, added=2, errors=["No"]))
    refused = printed(Outcome(messages=3, added=2, changed=1, errors=["No\x1b"]))
    assert "1 are stored with other content" in refused
    assert "Refused by the server: No\ufffd\n" in refused
    assert render(Survey(), whole, is_ok=True)["sent"] == {
        "requests": 2, "messages": 3, "added": 2, "skipped": 4, "changed": 5, "files": 6, "file_bytes": 7000,
        "files_known": 8, "errors": [],
    }  # fmt: skip


def test_file_that_cannot_be_read_is_refused_alone(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_text("x")
    files = [Source(tmp_path), Source(CASES / "wa_05_web_copy.txt"), Source(tmp_path / "odd.txt")]
    survey = examine(files, shop(), None)
    assert [refusal.reason.partition(":")[0] for refusal in survey.refusals] == [
        "The file cannot be read", f"{tmp_path}/odd.txt is in no format that the importer knows (telegram, jsonl, "
        "signal-export, signal-cli, signal-desktop, wechatmsg, chatlab, weflow, chatlog, whatsapp). It begins with",
    ]  # fmt: skip
    assert [(row.name, row.participant, row.messages) for row in survey.rows] == [("Alice", NUMBER, 2)]
    assert survey.platforms == {"whatsapp"}
    assert [found.name for found in conversations(files, shop(), None, survey)] == ["Alice"]


class Twice:
    """Reads a conversation that both files have, one of each file, and a chat that is left out."""

    title, platform = "twice", "signal"

    def read(self, source: Source, _: Options) -> Iterator[Conversation | LeftOut]:
        for name in ("both", source.path.name):
            yield Conversation(f"x-export:{name}", NUMBER, name, iter(()))
        yield Conversation(f"x-export:{source.path.name} 2", NUMBER, "namesake", iter(()))
        yield Conversation("x:1", NUMBER, "known", iter(()))
        yield LeftOut("channels")


def test_refused_conversation_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "find_reader", lambda *_: Twice())
    sources = [Source(Path("a")), Source(Path("b"))]
    survey = examine(sources, Options(), None)
    assert ([refusal.where for refusal in survey.refusals], survey.left_out) == (["b"], {"channels": 2})
    assert [found.name for found in conversations(sources, Options(), None, survey)] == [
        "both", "a", "namesake", "known", "b", "namesake", "known",
    ]  # fmt: skip
