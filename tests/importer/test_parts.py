"""The parts that all readers share: JSON in pieces, rows, files of messages, and what a file may be."""

import csv
import io
import json
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path, PurePosixPath

import pytest
from threadline_import import jsonstream, order, rows, sources
from threadline_import.jsonl import JSONLines
from threadline_import.jsonstream import BrokenJSONError, JSONStream
from threadline_import.media import File, find_in_archive, find_in_folder, guess_type, kind_of_type
from threadline_import.model import ImportRefusedError, Options, Unreadable
from threadline_import.order import Counts, Spread
from threadline_import.readers import find_reader
from threadline_import.rows import array_rows, csv_rows, first_value, from_unix, json_lines
from threadline_import.sources import Source, list_sources
from threadline_import.whatsapp.header import find_header
from threadline_import.whatsapp.scan import entries, lines_of

from tests.importer.reading import CASES, NUMBER, fields, read

DOCUMENT = {"a": [1, -2.5, "x]y", {"b": None}, [[]]], "c": {}, "d": [], "e": "é\\", "f": 12345}


@pytest.mark.parametrize("chunk", [1, 7, 100_000])
@pytest.mark.parametrize("indent", [None, 1])
def test_document_in_pieces_is_whole(monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None) -> None:
    monkeypatch.setattr(jsonstream, "CHUNK", chunk)
    stream = JSONStream(io.StringIO(json.dumps(DOCUMENT, indent=indent, ensure_ascii=False)))
    found = {}
    for key in stream.members():
        if key == "c":
            stream.skip()
        elif key == "a":
            found[key] = list(stream.items())
        else:
            found[key] = stream.value()
    assert found == {key: value for key, value in DOCUMENT.items() if key != "c"}
    assert stream.peek() == ""


PIECES = [
    (1, 2, "[12345, 6]", [12345, 6]),
    (15, 20, '["' + "a" * 22 + '", {"b":\n2}]', ["a" * 22, {"b": 2}]),
    (9, 99, '[1,\r\n2,\t"a\tb"]', [1, 2, "a\tb"]),
    (4, 99, '["a\\x0Bb",\n{\n"document_id": 536x\n}]', ["a\x0bb", {"document_id": "536x"}]),
    *((chunk, 99, r'["a\x0B", "\\x0B"]', ["a\x0b", r"\x0B"]) for chunk in range(1, 9)),
]


@pytest.mark.parametrize(("chunk", "longest", "text", "right"), PIECES, ids=range(len(PIECES)))
def test_value_goes_on_in_the_next_piece(
    monkeypatch: pytest.MonkeyPatch, chunk: int, longest: int, text: str, right: list
) -> None:
    monkeypatch.setattr(jsonstream, "CHUNK", chunk)
    monkeypatch.setattr(jsonstream, "LONGEST_VALUE", longest)
    assert list(JSONStream(io.StringIO(text)).items()) == right


def test_long_line_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonstream, "CHUNK", 10)
    monkeypatch.setattr(jsonstream, "LONGEST_VALUE", 100)
    stream = JSONStream(io.StringIO("1" * 1000))
    stream.peek()
    assert len(stream._text) == 110


@pytest.mark.parametrize("text", ["[" * 101 + "]" * 101, '{"a":' * 101 + "1" + "}" * 101], ids=["arrays", "objects"])
def test_value_of_more_than_100_levels_is_refused(text: str) -> None:
    for read_it in (jsonstream.parse, lambda text: JSONStream(io.StringIO(text)).value()):
        with pytest.raises(BrokenJSONError, match="more than 100 levels"):
            read_it(text)


def test_number_without_quotes_is_mended() -> None:
    assert jsonstream.mend('{"document_id": 12ab, "x": 1}') == '{"document_id": "12ab", "x": 1}'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[1 2]", "expected , or ] near '2]'"),
        ('{"a" 1}', "expected : near '1}'"),
        ("{1: 2", "expected , or } near ''"),
        ("[1, tru]", "Expecting value near 'tru]'"),
        ('["' + "x" * 50, "Unterminated string starting at near '\"" + "x" * 39 + "'"),
    ],
    ids=range(5),
)
def test_broken_document_is_named(text: str, reason: str) -> None:
    stream = JSONStream(io.StringIO(text))
    with pytest.raises(BrokenJSONError) as problem:
        list(stream.items() if text[0] == "[" else (stream.skip() for _ in stream.members()))
    assert str(problem.value) == reason


def test_equal_keys_are_forgotten_after_many_others(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts()
    assert [counts.add(key) for key in ("a", *range(9_999), "a", *range(10_000), "a")].count(1) == 10_000
    monkeypatch.setattr(order, "REMEMBERED", 2)
    counts = Counts()
    assert [counts.add(key) for key in "aabacab"] == [0, 1, 0, 2, 0, 3, 0]
    spread, at = Spread(), datetime(2024, 2, 15, tzinfo=UTC)
    assert [spread.apart(at).microsecond for _ in range(1002)][-4:] == [998_000, 999_000, 999_000, 999_000]


def text_file(folder: Path, text: str, name: str = "rows.json") -> Source:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return Source(file)


def test_rows_of_each_form_are_numbered(tmp_path: Path) -> None:
    source = text_file(tmp_path, '{"a": 1}\n\n[1]\nbroken line\n{"a": 2}')
    rows = list(json_lines(source))
    assert (rows[0], rows[-1]) == ((1, {"a": 1}), (5, {"a": 2}))
    assert [(row.where, row.text[:12]) for row in rows[1:-1]] == [
        ("line 3", "[1] (no obje"),
        ("line 4", "broken line "),
    ]
    assert (first_value(source), first_value(text_file(tmp_path, "no"))) == ({"a": 1}, None)
    assert first_value(text_file(tmp_path, ' \n{"a": 1}\n{')) == {"a": 1}
    members, rows = array_rows(text_file(tmp_path, '{"m": 1, "rows": [{"a": 1}, 2], "n": [3], "more": {}}'), "rows")
    assert (members, next(rows)) == ({"m": 1, "n": [3], "more": {}}, (1, {"a": 1}))
    assert list(rows) == [Unreadable("message 2", "2")]
    assert list(array_rows(text_file(tmp_path, '[{"a": 1}]'), "rows")[1]) == [(1, {"a": 1})]
    members, rows = array_rows(text_file(tmp_path, '{"rows": 5, "m": 1, "m": 2}'), "rows")
    assert (members, list(rows)) == ({"rows": 5, "m": 2}, [])
    assert list(array_rows(text_file(tmp_path, '{"b": [{"a": 1}]}'), "a", "b")[1]) == [(1, {"a": 1})]
    for text in ('{"rows": [{"a": 1}', '[{"a": 1}'):
        with pytest.raises(ImportRefusedError, match="is not whole JSON: expected , or ]"):
            array_rows(text_file(tmp_path, text), "rows")
    long = "x" * 100
    [row] = json_lines(text_file(tmp_path, long))
    assert row.text.startswith("x" * 80 + " (")
    [row] = array_rows(text_file(tmp_path, json.dumps([long])), "rows")[1]
    assert row.text == "'" + "x" * 79


def test_rows_of_a_csv_are_numbered_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as target:
        csv.writer(target).writerows([["a", "b"], [1, "two\nlines"], [1], [1, 2, 3], [1, "x" * 200_000]])
    rows = list(csv_rows(Source(file)))
    assert rows[0] == (3, {"a": "1", "b": "two\nlines"})
    assert [row.where for row in rows[1:3]] == ["line 4", "line 5"]
    assert len(rows[3][1]["b"]) == 200_000


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (946684800, 2000),
        ("1707987600", 2024),
        (1707987600000, 2024),
        (1e11, 5138),
        (978307200000, 2001),
        (946684799, None),
        (0, None),
    ],
)
def test_unix_time_is_seconds_or_milliseconds(given: object, right: int | None) -> None:
    if right is None:
        with pytest.raises(ValueError, match="is no time"):
            from_unix(given)
    else:
        assert from_unix(given).year == right


EXPORTED = {"id": "1", "direction": "outbound", "type": "call", "content": "", "sent_at": "2024-02-15T09:00:00"}
LINES = [
    ({}, {"kind": "call", "mine": True}),
    ({"direction": "inbound", "type": "text", "content": "hi"}, {"kind": "text", "text": "hi"}),
    ({"sent_at": "2024-02-15T10:00:00+01:00", "direction": "inbound"}, {"kind": "call"}),
    ({"deleted": True}, "- deleted messages"),
    ({"direction": "sideways"}, "? line 2"),
    ({"type": "fax"}, "? line 2"),
    ({"sent_at": None}, "? line 2"),
]


@pytest.mark.parametrize(("more", "right"), LINES, ids=range(len(LINES)))
def test_line_of_our_export_is_read(tmp_path: Path, more: dict, right: dict | str) -> None:
    source = text_file(tmp_path, f"\n{json.dumps({**EXPORTED, **more})}\n")
    assert JSONLines().recognizes(source)
    options = Options(conversation="c1", participants={None: NUMBER})
    _, [conversation] = read(source.path, options, JSONLines())
    assert conversation.name == ""
    [found] = map(fields, conversation.entries)
    assert found == ({"id": "1", "at": "09:00:00.000", **right} if isinstance(right, dict) else right)


KINDS = ["text", "image", "audio", "video", "file", "location", "sticker", "contact", "poll", "call", "system"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_type_of_our_export_is_read(tmp_path: Path, kind: str) -> None:
    source = text_file(tmp_path, f"{json.dumps({**EXPORTED, 'type': kind})}\n{'x' * 100}")
    _, [conversation] = read(source.path, Options(conversation="c1", participants={"Ada": NUMBER}), JSONLines())
    said, odd = conversation.entries
    assert (said.kind, said.at.tzinfo is UTC, odd.text[:82]) == (kind, True, "x" * 80 + " (")


def test_two_participants_of_our_export_are_refused(tmp_path: Path) -> None:
    source = text_file(tmp_path, json.dumps(EXPORTED))
    for options in (Options(conversation="c1", participants={"A": "1", "B": "2"}), Options(participants={"A": "1"})):
        with pytest.raises(ImportRefusedError, match="Say which conversation it is"):
            list(JSONLines().read(source, options))
    assert not JSONLines().recognizes(text_file(tmp_path, '{"id": "1", "type": "text"}'))
    assert not JSONLines().recognizes(text_file(tmp_path, "no"))


TYPES = {
    "a.opus": "audio/ogg", "a.OGA": "audio/ogg", "a.m4a": "audio/mp4", "a.amr": "audio/amr", "a.webp": "image/webp",
    "a.heic": "image/heic", "a.3gp": "video/3gpp", "a.tgs": "application/gzip", "a.png": "image/png",
    "a": "application/octet-stream", "a.svg": "application/octet-stream", "a.xml": "application/octet-stream",
    "a.xhtml": "application/octet-stream", "a.htm": "application/octet-stream", "a.pdf": "application/pdf",
}  # fmt: skip


def test_file_has_the_type_of_its_name() -> None:
    assert {name: File(Path("chat.zip"), f"folder/{name}", 1).content_type for name in TYPES} == TYPES
    assert [guess_type(name) for name in ("page.html", "drawing.svg")] == ["text/html", "image/svg+xml"]
    assert guess_type("A.TGS") == "application/gzip"
    kinds = {"image/png": "image", "audio/ogg": "audio", "video/mp4": "video", "text/plain": "file", None: "file"}
    assert {kind: kind_of_type(kind) for kind in kinds} == kinds


def test_types_that_few_machines_know_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimetypes.guess_type", lambda _: (None, None))
    ends = ("opus", "oga", "m4a", "amr", "webp", "heic", "3gp", "tgs", "odd")
    assert [guess_type(f"a.{end}").rpartition("/")[2] for end in ends] == [
        *("ogg", "ogg", "mp4", "amr", "webp", "heic", "3gpp", "gzip", "octet-stream"),
    ]


@pytest.mark.parametrize("named", ["image/svg", "text/x-html", "text/xml", "application/rss+xml", "text/xsl"])
def test_type_of_the_machine_that_runs_scripts_is_bytes(monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setattr("mimetypes.guess_type", lambda _: (named, None))
    assert File(Path("a.odd"), None, 1).content_type == "application/octet-stream"
    assert [File(Path("a"), None, size).is_too_large for size in (52_428_800, 52_428_801)] == [False, True]


def test_file_is_found_by_each_form_of_its_name(tmp_path: Path) -> None:
    composed, decomposed = "é1.jpg", "e\u03011.jpg"
    (tmp_path / decomposed).write_bytes(b"photo")
    (tmp_path / "folder").mkdir()
    assert find_in_folder(tmp_path, composed).size == 5
    (tmp_path / "link").symlink_to(tmp_path)
    assert find_in_folder(tmp_path / "link", composed).size == 5
    for name in ("folder", "no.jpg", "\0", "x" * 300, f"../{tmp_path.name}/../../etc/hostname"):
        assert find_in_folder(tmp_path, name) is None
    path = tmp_path / "chat.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"media/{decomposed}", b"photo")
        archive.mkdir("media/folder.jpg")
    for name in (composed, decomposed):
        assert find_in_archive(path, PurePosixPath("media"), name) == File(path, f"media/{decomposed}", 5)
    assert find_in_archive(path, PurePosixPath("media"), "folder.jpg") is None
    assert find_in_archive(path, PurePosixPath("."), composed) is None
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("├⌐.jpg", b"these letters, because the flag is set")
    assert find_in_archive(path, PurePosixPath("."), "é.jpg") is None
    assert find_in_archive(path, PurePosixPath("."), "├⌐.jpg").size == 38  # the archive has changed
    assert find_in_archive(path, PurePosixPath("media"), composed).name == decomposed
    assert find_in_folder(tmp_path / "folder", f"../{decomposed}") is None


@pytest.mark.parametrize("written", ["é".encode(), "é".encode("cp437")])
def test_name_in_an_archive_without_the_flag_is_read(tmp_path: Path, written: bytes) -> None:
    path = tmp_path / "chat.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("z" * len(written) + ".jpg", b"photo")
    path.write_bytes(path.read_bytes().replace(b"z" * len(written) + b".jpg", written + b".jpg"))
    found = find_in_archive(path, PurePosixPath("."), "é.jpg")
    with zipfile.ZipFile(path) as archive:
        assert archive.read(found.member) == b"photo"


def test_wanted_files_of_a_folder_are_listed(tmp_path: Path) -> None:
    for name in ("b/a.TXT", "b/.hidden/c.txt", "__MACOSX/d.txt", "e.png", "f.csv", "g.jsonl", "h.ndjson"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    with zipfile.ZipFile(tmp_path / "z.ZIP", "w") as archive:
        archive.mkdir("folder.txt")
        archive.writestr("a/b.json", "x")
        archive.writestr("inner.zip", "x")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("y.json", "x")
        archive.writestr("x.json", "x")
    found = [str(source).removeprefix(f"{tmp_path}/") for source in list_sources([tmp_path])]
    several = ["y.zip:y.json", "y.zip:x.json"]  # only a text is the one chat of its archive
    assert found == ["b/a.TXT", "f.csv", "g.jsonl", "h.ndjson", *several, "z.ZIP:a/b.json"]
    assert [source.path.name for source in list_sources([tmp_path / "e.png"])] == ["e.png"]
    inside = Source(tmp_path / "z.ZIP", "a/b.json")
    assert (inside.name, inside.folder, inside.head()) == ("b.json", "a", "x")
    assert Source(tmp_path / "z.ZIP", "a/_chat.txt").name == "z.ZIP"
    assert Source(tmp_path / "b" / "_chat.txt").name == "b.txt"
    assert Source(tmp_path / "f.csv").folder == tmp_path.name
    (tmp_path / "b" / "broken.zip").write_text("x")
    with pytest.raises(ImportRefusedError, match=r"broken\.zip is not a whole \.zip"):
        list(list_sources([tmp_path]))
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "e.png").write_text("x")
    with pytest.raises(ImportRefusedError, match="has no file of a known kind"):
        list(list_sources([tmp_path / "only"]))
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("e.png", "x")
    with pytest.raises(ImportRefusedError, match="has no file with messages in it"):
        list(list_sources([tmp_path / "e.zip"]))


SENT = {
    "result.json": [
        "files",
        "photos",
        "stickers",
        "video_files",
        "round_video_messages",
        "voice_messages",
        "chats/chat_1/files",
    ],
    "data.json": ["media"],
}


def test_files_that_were_sent_are_no_chats(tmp_path: Path) -> None:
    for chat, folders in SENT.items():
        for folder in [*folders, "others", "others/media/files"]:
            (tmp_path / chat[:4] / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / chat[:4] / folder / "a.txt").touch()
        (tmp_path / chat[:4] / chat).touch()
    for name in ("_chat.txt", "00000012-a.txt", "000012-a.txt", "b/00000012-a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [source.path.relative_to(tmp_path).as_posix() for source in list_sources([tmp_path])]
    assert found == [
        "000012-a.txt", "_chat.txt", "b/00000012-a.txt", "data/data.json", "data/others/a.txt",
        "data/others/media/files/a.txt", "resu/others/a.txt", "resu/others/media/files/a.txt", "resu/result.json",
    ]  # fmt: skip


def test_chats_of_an_archive_are_not_what_was_sent(tmp_path: Path) -> None:
    members = {
        "a.zip": ["result.json", "files/a.json"], "b.zip": ["whatsapp.json", "b.json"],
        "c.zip": ["notes.txt", "c.txt", "WhatsApp.txt"],
    }  # fmt: skip
    for name, inside in members.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for each in inside:
                archive.writestr(each, "x")
    found = {name: [source.member for source in list_sources([tmp_path / name])] for name in members}
    assert found == {"a.zip": ["result.json"], "b.zip": ["whatsapp.json", "b.json"], "c.zip": ["c.txt"]}


def test_folder_in_a_hidden_one_is_read(tmp_path: Path) -> None:
    (tmp_path / ".hidden" / "folder.txt").mkdir(parents=True)
    (tmp_path / ".hidden" / "a.txt").write_bytes(b"a\xffb")
    [source] = list_sources([tmp_path / ".hidden"])
    assert (source.path.name, source.head()) == ("a.txt", "a\ufffdb")


def test_name_of_the_folder_is_known_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Ada").mkdir()
    (tmp_path / "Ada" / "a.jpg").write_bytes(b"photo")
    monkeypatch.chdir(tmp_path / "Ada")
    source = Source(Path("_chat.txt"))
    assert (source.name, source.folder, source.file("a.jpg").size) == ("Ada.txt", "Ada", 5)
    assert (source.file(""), Source(Path("_chat.txt"), has_files=False).file("a.jpg")) == (None, None)
    assert len(text_file(tmp_path, "x" * 70_000).head()) == 65_536
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("b/a.jpg", b"photo")
    assert Source(tmp_path / "a.zip", "b/_chat.txt").file("a.jpg").member == "b/a.jpg"


def test_only_a_long_line_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LONGEST_LINE", 100)
    assert len(list(lines_of(text_file(tmp_path, "x\n" * 200)))) == 200
    values = list(array_rows(text_file(tmp_path, json.dumps([{"a": "x" * 60}] * 3)), "rows")[1])
    assert len(values) == 3
    (tmp_path / "rows.json").write_bytes(b'["\xff"]')
    assert "is not whole JSON" in reason(lambda: array_rows(Source(tmp_path / "rows.json"), "rows"))


REFUSED = {
    "a.htm": "an HTML page", "a.crypt14": "encrypted backup of WhatsApp", "a.crypt15": "encrypted backup of WhatsApp",
    "a.DB": "a database", "a.sqlite": "a database", "a.pdf": "a PDF",
    "a.rar": "Unpack it", "a.7z": "Unpack it", "a.backup": "is a backup or database of Signal",
    "a.html": "Machine-readable",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_form_that_is_not_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImportRefusedError, match=REFUSED[name]):
        find_reader(text_file(tmp_path, "x", name), None)


@pytest.mark.parametrize("start", ["BACKUP 4", "SQLite format 3\0"])
def test_backup_of_signal_is_named_whatever_its_name(tmp_path: Path, start: str) -> None:
    with pytest.raises(ImportRefusedError, match="is a backup or database of Signal"):
        find_reader(text_file(tmp_path, start, "signal.bin"), None)


class Point:
    """An entry point of a package, and the reader that it loads."""

    def load(self) -> type:
        return type(self)

    def recognizes(self, _: Source) -> bool:
        return True


def test_reader_is_chosen_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(CASES / "wa_05_web_copy.txt")
    assert find_reader(source, "telegram").title == "Telegram Desktop export"
    (tmp_path / "own_reader.py").write_text("class Mine:\n    title = 'mine'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])  # a command has no folder of its user
    assert find_reader(source, "own_reader:Mine").title == "mine"
    for name, reason in (
        ("own_reader:No", "cannot be loaded"),
        ("no_module:X", "cannot be loaded"),
        ("no", "is no reader"),
    ):
        with pytest.raises(ImportRefusedError, match=reason):
            find_reader(source, name)
    for text, shown in (("x" * 90, "x" * 80), ("a  b\n\tc", "a b c")):
        with pytest.raises(ImportRefusedError, match=f"It begins with: {shown}$"):
            find_reader(text_file(tmp_path, text), None)
    monkeypatch.setattr("threadline_import.readers.entry_points", lambda **_: [Point()])
    assert isinstance(find_reader(source, None), Point)


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(ImportRefusedError) as raised:
        call()
    return str(raised.value)


def test_file_beyond_a_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LONGEST_LINE", 200_000)
    monkeypatch.setattr(rows, "LONGEST_LINE", 300)
    monkeypatch.setattr(sources, "LARGEST_MEMBER", 500_000)
    monkeypatch.setattr(jsonstream, "LONGEST_VALUE", 1_000)
    monkeypatch.setattr(jsonstream, "CHUNK", 100)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", "x" * 500_001)
        archive.writestr("line.txt", "x\n" * 100_000 + "x" * 200_001)
        archive.writestr("whole.txt", ("x" * 199_999 + "\n") * 2)
    bomb, line, whole = (Source(tmp_path / "a.zip", f"{name}.txt") for name in ("bomb", "line", "whole"))
    assert len(list(lines_of(whole))) == 2
    assert "is larger than 500,000 bytes" in reason(lambda: list(lines_of(bomb)))
    assert "has a line of more than 200,000 bytes" in reason(lambda: list(lines_of(line)))
    file = tmp_path / "result.json"
    for text, why in (
        ('{"messages": [' + "[" * 200_000, "more than 100 levels"),
        ('{"messages": [' + "[" * 101 + "]" * 101 + "]}", "more than 100 levels"),
        ('{"messages": ["' + "x" * 9_000, "more than 1,000 characters"),
    ):
        file.write_text(text)
        assert why in reason(lambda: list(array_rows(Source(file), "messages")[1]))
    file.write_text('{"messages": [' + "[" * 100 + "]" * 100 + "]}")
    assert len(list(array_rows(Source(file), "messages")[1])) == 1
    file.write_text('{"a":' * 20_000 + "\n" + '{"a":' * 100 + "{}" + "}" * 100 + '\n{"a": {}}\n')
    assert first_value(Source(file)) is None
    assert [isinstance(row, Unreadable) for row in json_lines(Source(file))] == [True, True, False]
    file.write_text("a,b\n1," + "x" * 301)
    assert "is no CSV from line" in reason(lambda: list(csv_rows(Source(file))))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
def test_text_is_read_in_each_encoding(tmp_path: Path, encoding: str) -> None:
    text = "Ada: h\u00e9\rllo\nBo: hi\r\n"
    mark = "\ufeff" if encoding.startswith("utf-16") else ""
    (tmp_path / "a.txt").write_bytes((mark + text).encode(encoding))
    source = Source(tmp_path / "a.txt")
    assert source.head() == text
    with source.open_text() as file:
        assert list(file) == ["Ada: h\u00e9\rllo\n", "Bo: hi\r\n"]


def test_archive_needs_no_suffix(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "export", "w") as archive:
        archive.writestr("WhatsApp Chat with Ada.txt", "x")
        archive.writestr("notes.txt", "x")
    assert [str(source) for source in list_sources([tmp_path / "export"])] == [
        f"{tmp_path}/export:WhatsApp Chat with Ada.txt"
    ]


def test_message_beyond_a_bound_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["15/02/2024, 09:00 - Ada: hi", *["x"] * 20_000]
    left, entry = entries(lines, [find_header(lines[0]).layout])
    assert (len(entry.lines), left) == (20_000, Unreadable("line 20001", "x"))
    monkeypatch.setattr(import_module("threadline_import.whatsapp.scan"), "MOST_CHARACTERS", 60)
    lines = ["15/02/2024, 09:00 - Ada: hi", "x" * 30, "y" * 30]
    left, entry = entries(lines, [find_header(lines[0]).layout])
    assert (entry.lines, left) == (lines[:2], Unreadable("line 3", lines[2]))


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    (tmp_path / "other.json").write_text("{}")
    (folder / "own.json").write_text("{}")
    (folder / "inside.json").symlink_to("own.json")
    assert len(list(list_sources([folder]))) == 2
    (folder / "result.json").symlink_to(tmp_path / "other.json")
    assert "result.json leads out of the folder" in reason(lambda: list(list_sources([folder])))
