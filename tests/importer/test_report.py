"""What the command shows of files and of the answers of the server."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from threadline_import import survey as surveys
from threadline_import.model import Conversation, LeftOut, Message, Options, Refusal, Unreadable
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
    assert "Refused by the server: No" in printed(Outcome(messages=3, added=2, errors=["No"]))
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
    assert ([row.messages for row in survey.rows], survey.platforms) == ([2], {"whatsapp"})


class Twice:
    """Reads a conversation that both files have, one of each file, and a chat that is left out."""

    title, platform = "twice", "signal"

    def read(self, source: Source, _: Options) -> Iterator[Conversation | LeftOut]:
        for name in ("both", source.path.name):
            yield Conversation(f"x-export:{name}", NUMBER, name, iter(()))
        yield Conversation("x:1", NUMBER, "known", iter(()))
        yield LeftOut("channels")


def test_refused_conversation_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "find_reader", lambda *_: Twice())
    sources = [Source(Path("a")), Source(Path("b"))]
    survey = examine(sources, Options(), None)
    assert ([refusal.where for refusal in survey.refusals], survey.left_out) == (["b"], {"channels": 2})
    assert [found.name for found in conversations(sources, Options(), None, survey)] == [
        "both", "a", "known", "b", "known",
    ]  # fmt: skip
