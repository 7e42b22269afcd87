"""What each field of a Signal file becomes, row by row; people and texts are invented."""

import json
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from threadline_import.model import Options, Unreadable
from threadline_import.signal import SignalDesktop, SignalExport
from threadline_import.signal_cli import SignalCli
from threadline_import.sources import Source
from threadline_import.wire import render_update

from tests.importer.reading import NUMBER, UTC, fields, lines, read, refused

AT = 1_707_987_600_000  # 2024-02-15 09:00:00 in milliseconds
SIGNAL = Options(participants={None: NUMBER}, zone=UTC)


def write_export(folder: Path, *rows: object) -> Path:
    file = folder / "Ada" / "data.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return file


def said(sender: str, body: str, **more: object) -> dict[str, object]:
    return {"date": "2024-02-15T09:00:00", "sender": sender, "body": body, "attachments": [], **more}


EXPORTED = [
    (said("Ada", "\thi\n  "), {"text": "\thi\n", "id": "2024-02-15T09:00:00+00:00-113254b03d76-1"}),
    (said("Me", "hi"), {"text": "hi", "mine": True, "id": "2024-02-15T09:00:00+00:00-8f434346648f-1"}),
    (said("Ada", "a", date="2024-02-15T10:00:00+01:00"), {"text": "a"}),
    (said("Ada", "", sticker="🚲"), {"kind": "sticker", "text": "🚲"}),
    (said("Ada", "look", sticker={"emoji": "🚲"}), {"kind": "sticker", "text": "look"}),
    (said("No-Sender", "Ada joined"), "- notices"),
    (said("Ada", "hi", deleted=True, call=True), "- calls"),
    (said("Ada", "yes", reactions=[["Bo", "👍"]]), {"text": "yes", "reactions": [("Bo", "👍", True)]}),
    (said("Ada", "yes", quote=" > a\n> b> c "), {"text": "yes", "quote": "a\nb> c"}),
    (said("Ada", "", attachments=[{"name": "a.png", "path": "p"}]), {"kind": "image", "file_name": "a.png"}),
    (said("Ada", "", attachments=[{"contentType": "audio/aac"}]), {"kind": "audio"}),
    (said("Ada", "", attachments=[{"content_type": "video/mp4", "contentType": "x"}]), {"kind": "video"}),
    (said("Ada", "", attachments=[{"path": "no name"}]), {"kind": "file"}),
    (said("Ada", "half \ud83d"), {"text": "half \ud83d"}),
    (said("Ada", "yes", quote="> > a", reactions=None), {"text": "yes", "quote": "> a"}),
    (said("Ada", "hi", deleted=True, attachments=[{"name": "a.png"}]), "- deleted messages"),
    ({"sender": "Ada"}, "? line 1"),
    (said("Ada", "soon", date="soon"), "? line 1"),
    ("broken", "? line 1"),
]


@pytest.mark.parametrize(("row", "right"), EXPORTED, ids=range(len(EXPORTED)))
def test_row_of_signal_export_is_read(tmp_path: Path, row: object, right: dict | str) -> None:
    _, [conversation] = read(write_export(tmp_path, row), SIGNAL, SignalExport())
    found = fields(conversation.entries[0])
    assert found == ({"at": "09:00:00.000", "kind": "text", "id": found["id"], **right} if right != found else right)


def test_second_file_of_a_message_is_a_message_of_its_own(tmp_path: Path) -> None:
    files = [{"name": "a.png", "path": ""}, {"name": "b.pdf", "path": ""}]
    row = said("Ada", "two", attachments=files, reactions=[["Me", "👍"]], quote="> why?")
    _, [conversation] = read(write_export(tmp_path, row, said("Ada", "two")), SIGNAL, SignalExport())
    first, second, third = map(fields, conversation.entries)
    assert (first["text"], first["quote"], first["file_name"]) == ("two", "why?", "a.png")
    assert second == {"id": f"{first['id']}-file2", "at": "09:00:00.001", "kind": "file", "file_name": "b.pdf"}
    assert (third["id"], third["at"]) == (f"{first['id'][:-1]}2", "09:00:00.001")


def test_group_of_signal_export_is_read_with_its_authors(tmp_path: Path) -> None:
    senders = ("Ada", "Bo", "Maya", "No-Sender", "")
    file = write_export(tmp_path, *(said(sender, sender) for sender in senders))
    assert refused(SignalExport(), file, SIGNAL) == "Say which of these names is yours with --me: Ada, Bo, Maya."
    two = write_export(tmp_path, said("Ada", "a"), said("Bo", "b"))
    assert refused(SignalExport(), two, SIGNAL) == "Say which of these names is yours with --me: Ada, Bo."
    write_export(tmp_path, said("Ada", "a"), said("Bo", "b"), said("Maya", "c"), said("No-Sender", "d"))
    _, [team] = read(file, Options(me="Maya", zone=UTC), SignalExport())
    assert (team.id, team.participant, team.name, team.is_group) == ("signal-export:group:Ada", "Ada", "Ada", True)
    assert [(entry.author, entry.is_mine) for entry in team.entries[:3]] == [
        ("Ada", False), ("Bo", False), ("Maya", True),
    ]  # fmt: skip
    named = Options(me="Ada", group="Team", conversation="t1", zone=UTC)
    [small] = read(write_export(tmp_path, said("Ada", "a"), said("Bo", "b")), named, SignalExport())[1]
    assert (small.id, small.participant, small.name, small.is_group) == ("t1", "Team", "Team", True)


def test_wall_clock_of_signal_export_is_in_the_zone(tmp_path: Path) -> None:
    options = Options(participants={None: NUMBER}, zone=ZoneInfo("Asia/Kolkata"))
    [found] = read(write_export(tmp_path, said("Ada", "a")), options, SignalExport())[1]
    assert fields(found.entries[0])["at"] == "03:30:00.000"


def test_form_of_signal_is_known_by_its_fields(tmp_path: Path) -> None:
    def knows(reader: object, row: dict, without: str = "", start: str = "") -> bool:
        kept = json.dumps({name: value for name, value in row.items() if name != without})
        return reader.recognizes(Source(write_export(tmp_path, start + kept)))

    for reader, row in ((SignalExport(), said("Ada", "a")), (SignalDesktop(), desktop())):
        needed = {name for name in row if not knows(reader, row, name)}
        assert needed == (
            {"date", "sender", "body", "attachments"} if "date" in row else {"conversationId", "sent_at", "body"}
        )
        assert knows(reader, row, start="\n ")


def test_number_of_the_name_comes_before_the_other(tmp_path: Path) -> None:
    file = write_export(tmp_path, said("Ada", "a"))
    both = Options(participants={None: NUMBER, "Ada": "+1 555 201 0009"}, zone=UTC)
    assert read(file, both, SignalExport())[1][0].participant == "+1 555 201 0009"
    assert read(file, SIGNAL, SignalExport())[1][0].participant == NUMBER


def desktop(kind: str = "incoming", **more: object) -> dict[str, object]:
    return {"id": "m1", "conversationId": "c1", "type": kind, "sent_at": AT, "body": "hi", **more}


ROWS = [
    (desktop(), {"text": "hi"}),
    (desktop(received_at=AT + 1), {"text": "hi"}),
    (desktop("outgoing"), {"text": "hi", "mine": True}),
    (desktop("keychange"), "- keychange entries"),
    (desktop(""), "- other entries"),
    (desktop(deletedForEveryone=True), "- deleted messages"),
    (desktop(body=""), "- empty messages"),
    (desktop(body=None, sticker={"packId": "p"}), {"kind": "sticker"}),
    (desktop(quote={"text": "when?"}), {"text": "hi", "quote": "when?"}),
    (desktop(source=NUMBER, sourceServiceId="s", sourceUuid="u"), {"text": "hi", "author": NUMBER}),
    (desktop(sourceServiceId="s", sourceUuid="u"), {"text": "hi", "author": "s"}),
    (desktop(source=NUMBER), {"text": "hi"}),
    (desktop(body="", sticker={"packId": "p"}, hasAttachments=1), {"kind": "sticker"}),
    (desktop(sourceUuid="u"), {"text": "hi", "author": "u"}),
    (desktop(attachments=[{"contentType": "image/png", "fileName": "a.png"}], body="look"),
     {"kind": "image", "text": "look", "file_name": "a.png"}),
    (desktop(sent_at=None), "? message 1"),
    (desktop(sent_at=1), "? message 1"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "right"), ROWS, ids=range(len(ROWS)))
def test_row_of_signal_desktop_is_read(tmp_path: Path, row: dict, right: dict | str) -> None:
    file = tmp_path / "messages.json"
    is_group = isinstance(right, dict) and "author" in right
    about = {"id": "c1", "type": "group" if is_group else "private", "e164": NUMBER}
    file.write_text(json.dumps({"conversations": ["odd", about], "messages": [row, desktop(conversationId="c2")]}))
    _, [conversation, _other] = read(file, Options(), SignalDesktop())
    [found] = map(fields, conversation.entries)
    base = {"id": "m1", "at": "09:00:00.000", "kind": "text"}
    assert found == (right if isinstance(right, str) else {**base, **right})
    assert conversation.is_group is is_group


@pytest.mark.parametrize(
    ("about", "participant", "name"),
    [
        ({"e164": NUMBER, "serviceId": "s", "name": "Ada", "profileFullName": "A"}, NUMBER, "Ada"),
        ({"serviceId": "s", "profileFullName": "Ada L", "profileName": "A"}, "s", "Ada L"),
        ({"profileName": "A"}, "c1", "A"),
        ({}, "c1", ""),
    ],
)
def test_signal_desktop_names_the_other_side(tmp_path: Path, about: dict, participant: str, name: str) -> None:
    file = tmp_path / "messages.json"
    file.write_text(json.dumps({"conversations": [{"id": "c1", **about}], "messages": [desktop()]}))
    _, [found] = read(file, Options(), SignalDesktop())
    assert (found.id, found.participant, found.name) == ("signal-desktop:c1", participant, name)
    assert not found.is_group
    given = Options(participants={"c1": "+1 555 201 0009"})
    assert read(file, given, SignalDesktop())[1][0].participant == about.get("e164", "+1 555 201 0009")


def test_array_of_signal_desktop_is_read(tmp_path: Path) -> None:
    file = tmp_path / "messages.json"
    file.write_text(json.dumps([desktop(), "no row", desktop(id="m2"), desktop(conversationId=5)]))
    _, [found, numbered] = read(file, Options())
    assert (numbered.id, len(numbered.entries)) == ("signal-desktop:5", 1)
    first, odd, last = found.entries
    assert (first.id, odd, last.id) == ("m1", Unreadable("message 2", "'no row'"), "m2")
    assert [first.at.microsecond, last.at.microsecond] == [0, 1000]


def envelope(data: dict[str, object] | None, **more: object) -> dict[str, object]:
    about = {"sourceNumber": NUMBER, "sourceUuid": "5f1c", "sourceName": "Ada"}
    return {"envelope": {**about, "dataMessage": data and {"timestamp": AT, **data}, **more}}


BO = {"targetAuthorUuid": "77", "targetSentTimestamp": 5}
GROUP = {"groupInfo": {"groupId": "Zm9v"}}
LINES = [
    (envelope({"message": "hi"}), {"text": "hi"}),
    (envelope({"message": "hi", "quote": {"id": 5, "authorUuid": "77"}}), {"text": "hi", "reply_to": "77-5"}),
    (envelope({"message": "hi", **GROUP}), {"text": "hi", "author": "Ada"}),
    (envelope({"message": "hi", **GROUP}, sourceName=""), {"text": "hi", "author": NUMBER}),
    (envelope({"message": "hi", "quote": None}), {"text": "hi"}),
    (envelope({"sticker": {"packId": "p"}, "message": "look"}), {"kind": "sticker", "text": "look"}),
    (envelope({"message": None}), "- empty messages"),
    (envelope({"sticker": {"packId": "p"}}), {"kind": "sticker"}),
    (envelope({"pollCreate": {"question": "When?"}}), {"kind": "poll", "text": "Poll: When? ()"}),
    (envelope({"contacts": [{"name": {"given": "Bo"}}, {}]}), {"kind": "contact", "text": "Bo, "}),
    (envelope({"contacts": [{}], "message": "call him"}), {"kind": "contact", "text": "call him"}),
    (envelope({"attachments": [{"contentType": "image/png", "filename": "a.png"}]}),
     {"kind": "image", "file_name": "a.png"}),
    (envelope({"message": "hi", "timestamp": None}), "? line 1"),
    (envelope({"payment": {"note": "x"}}), "- votes, pins and payments"),
    (envelope({"unpinMessage": BO}), "- votes, pins and payments"),
    (envelope({"pinMessage": BO}), "- votes, pins and payments"),
    (envelope({"pollTerminate": BO}), "- votes, pins and payments"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "right"), LINES, ids=range(len(LINES)))
def test_envelope_of_signal_cli_is_read(tmp_path: Path, row: dict, right: dict | str) -> None:
    _, [conversation] = read(write_export(tmp_path, row), Options(), SignalCli())
    base = {"id": f"{NUMBER}-{AT}", "at": "09:00:00.000", "kind": "text"}
    found = fields(conversation.entries[0])
    assert found == (right if isinstance(right, str) else {**base, **right})


UPDATES = [
    ({"reaction": {"emoji": "👍", **BO}}, {"message_id": "77-5", "type": "reaction", "emoji": "👍", "by": NUMBER}),
    ({"adminDelete": BO}, {"message_id": "77-5", "type": "deleted"}),
    ({"remoteDelete": {"timestamp": 5}}, {"message_id": f"{NUMBER}-5", "type": "deleted"}),
]


@pytest.mark.parametrize(("data", "right"), UPDATES, ids=range(len(UPDATES)))
def test_update_of_signal_cli_is_read(tmp_path: Path, data: dict, right: dict) -> None:
    _, [conversation] = read(write_export(tmp_path, envelope(data)), Options(), SignalCli())
    assert render_update(conversation.entries[0]) == {"at": "2024-02-15T09:00:00.000Z", **right}


def test_edit_of_signal_cli_has_its_new_text(tmp_path: Path) -> None:
    texts = ("hi!", None)
    edits = [{"targetSentTimestamp": 5, "dataMessage": {"timestamp": AT, "message": text}} for text in texts]
    file = write_export(tmp_path, *(envelope(None, editMessage=edit) for edit in edits))
    _, [conversation] = read(file, Options(), SignalCli())
    assert [(one.message_id, one.fields) for one in conversation.entries] == [
        (f"{NUMBER}-5", {"content": "hi!"}), (f"{NUMBER}-5", {"content": ""}),
    ]  # fmt: skip


def test_peers_of_signal_cli_stay_apart(tmp_path: Path) -> None:
    sent = {"destinationUuid": "5f1c", "timestamp": AT, "message": "to a uuid"}
    file = write_export(
        tmp_path,
        envelope(None, syncMessage={"sentMessage": {**sent, "destinationNumber": NUMBER}}),
        envelope({"message": "hi"}),
        envelope({"message": "later"}, sourceName="Ada Lovelace"),
        envelope(None, syncMessage={"sentMessage": sent}),
        envelope({"message": "all", **GROUP}),
        envelope(None, syncMessage={"sentMessage": {"timestamp": AT, "message": "to no address"}}),
        envelope(None, typingMessage={"action": "STARTED"}),
        envelope({"message": "?"}, sourceNumber=None, sourceUuid=None, source="legacy"),
        "broken",
        {"envelope": "odd", "params": 5, "result": []},
        envelope({"message": "?"}, sourceNumber=None, sourceUuid=None),
        envelope({"message": "hi"}, sourceNumber="+1 555 201 0007", sourceName=None, syncMessage=None),
    )
    others, found = read(file, Options(), SignalCli())
    assert [(one.id, one.participant, one.name, one.is_group) for one in found] == [
        (f"signal:{NUMBER}", NUMBER, "Ada", False),
        ("signal:5f1c", "5f1c", "", False),
        ("signal:group:Zm9v", "signal:group:Zm9v", "", True),
        ("signal:legacy", "legacy", "Ada", False),
        ("signal:+1 555 201 0007", "+1 555 201 0007", "", False),
    ]
    assert [line[22:] for line in lines(found[0])] == ["", "text: to a uuid", "text: hi", "text: later"]
    assert [one for each in found for one in lines(each) if one[0] == "?"] == ["? line 9"]
    assert [entry.at.microsecond for entry in found[0].entries[1:]] == [0, 1000, 2000]
    assert len(others) == 4
