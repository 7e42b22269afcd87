"""Signal, WeChat and Threadline's own export, in the forms that tools write; people and texts are invented."""

import csv
import json
from pathlib import Path

import pytest
from threadline_import.model import ImportRefusedError, Options, Update
from threadline_import.readers import find_reader
from threadline_import.send import batches
from threadline_import.sources import Source
from threadline_import.wire import render_message, render_update, render_updates

from tests.importer.reading import NUMBER, UTC, lines, read, refusal
from tests.support.ingest import Sender

AT = 1_707_987_600


def write_lines(file: Path, *rows: object) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


def test_signal_export_is_read(tmp_path: Path) -> None:
    def row(sender: str, body: str, *attachments: dict) -> dict:
        return {
            "date": "2024-02-15T09:00:00", "sender": sender, "body": body, "quote": "", "sticker": "",
            "reactions": [], "attachments": list(attachments),
        }  # fmt: skip

    photo = {"name": "bike.jpg", "path": "media/bike.jpg", "content_type": "image/jpeg"}
    file = write_lines(tmp_path / "Ada" / "data.json", row("Ada", "hi"), row("Me", "", photo), row("Ada", ""))
    assert '--participant "Ada=' in refusal(file, Options(zone=UTC))
    _, [conversation] = read(file, Options(participants={"Ada": NUMBER}, zone=UTC))
    assert (conversation.id, conversation.name) == ("signal-export:15552010001", "Ada")
    assert lines(conversation) == [
        "2024-02-15 09:00:00 < text: hi",
        "2024-02-15 09:00:00 > image:",
        "- empty messages",
    ]


def test_export_of_signal_export_3_9_is_read(tmp_path: Path) -> None:
    def row(sender: str, body: str, **more: object) -> dict:
        about = {"quote": "", "sticker": None, "reactions": [], "attachments": [], "deleted": False, "call": False}
        return {"date": "2024-02-15T09:00:00", "sender": sender, "body": f"{body}  ", **about, "missed": False, **more}

    photos = [{"name": f"{name}.jpg", "path": f"media/{name}%20.jpg", "missing_kind": None} for name in ("a", "b")]
    lost = [{"name": "", "path": "", "missing_kind": "media"}]
    sticker = {"id": "1", "packId": "p", "packKey": "k", "emoji": "🚲", "extension": "webp"}
    file = write_lines(
        tmp_path / "Ada" / "data.json",
        row("Ada", "look", attachments=photos, reactions=[["Me", "👍"]]),
        row("Me", "", sticker=sticker),
        row("Ada", "", attachments=lost),
        row("Ada", "yes", quote="\n\n> ready?\n> really?\n\n"),
        row("Ada", "Missed voice call", call=True),
        row("Ada", "", deleted=True),
        row("Ada", ""),
    )
    (tmp_path / "Ada" / "media").mkdir()
    (tmp_path / "Ada" / "media" / "a .jpg").write_bytes(b"photo")
    _, [conversation] = read(file, Options(participants={"Ada": NUMBER}, zone=UTC))
    assert [line.removeprefix("2024-02-15 09:00:00 ") for line in lines(conversation)] == [
        "< image: look",
        "< image:",
        "> sticker: 🚲",
        "< image:",
        "< text: yes",
        "- calls",
        "- deleted messages",
        "- empty messages",
    ]
    first, second, *_, reply = conversation.entries[:5]
    assert (first.file.size, second.file, second.id) == (5, None, f"{first.id}-file2")
    assert render_updates(first)[0]["by"] == "Me"
    assert reply.details["quote"] == "ready?\nreally?"


def test_what_happened_later_in_signal_cli_is_sent(tmp_path: Path) -> None:
    about = {"sourceNumber": NUMBER, "sourceUuid": "5f1c", "sourceName": "Ada"}
    target = {"targetAuthorNumber": NUMBER, "targetSentTimestamp": AT * 1000}

    def call(at: int, **fields: object) -> dict:
        envelope = {**about, "dataMessage": {"timestamp": (AT + at) * 1000, "message": None, **fields}}
        return {"jsonrpc": "2.0", "method": "receive", "params": {"envelope": envelope}}

    edit = {"targetSentTimestamp": AT * 1000, "dataMessage": {"timestamp": (AT + 1) * 1000, "message": "hi!"}}
    mine = {"destinationNumber": NUMBER, "editMessage": edit}
    file = write_lines(
        tmp_path / "signal.jsonl",
        call(0, message="hi"),
        {"envelope": {**about, "editMessage": edit}},
        {"envelope": {"sourceNumber": "+1 555 201 0002", "syncMessage": {"sentMessage": mine}}},
        call(2, reaction={"emoji": "👍", "isRemove": False, **target}),
        call(3, reaction={"emoji": "👍", "isRemove": True, **target}),
        call(4, remoteDelete={"timestamp": AT * 1000}),
        call(5, pollCreate={"question": "When?", "allowMultiple": False, "options": ["ten", "one"]}),
        call(6, contacts=[{"name": {"given": "Bo", "family": "Lind"}}]),
        {"params": {"subscription": 0, "result": call(7, pollVote={"targetSentTimestamp": AT * 1000})["params"]}},
    )
    _, [conversation] = read(file, Options())
    updates = [render_update(entry) for entry in conversation.entries if isinstance(entry, Update)]
    assert [(update["message_id"], update["type"]) for update in updates] == [
        (f"{NUMBER}-{AT * 1000}", "edited"),
        (f"+1 555 201 0002-{AT * 1000}", "edited"),
        (f"{NUMBER}-{AT * 1000}", "reaction"),
        (f"{NUMBER}-{AT * 1000}", "reaction"),
        (f"{NUMBER}-{AT * 1000}", "deleted"),
    ]
    assert [update["emoji"] for update in updates[2:4]] == ["👍", None]
    assert [line for line in lines(conversation) if line[0] != "~"] == [
        "2024-02-15 09:00:00 < text: hi",
        "2024-02-15 09:00:05 < poll: Poll: When? (ten / one)",
        "2024-02-15 09:00:06 < contact: Bo Lind",
        "- votes, pins and payments",
    ]


def test_service_takes_updates_of_signal_cli(tmp_path: Path, sender: Sender) -> None:
    about = {"sourceNumber": NUMBER, "sourceName": "Ada"}
    edit = {"targetSentTimestamp": AT * 1000, "dataMessage": {"timestamp": (AT + 1) * 1000, "message": "hi!"}}
    reaction = {"emoji": "👍", "targetAuthorNumber": NUMBER, "targetSentTimestamp": AT * 1000}
    file = write_lines(
        tmp_path / "signal.jsonl",
        {"envelope": {**about, "dataMessage": {"timestamp": AT * 1000, "message": "hi"}}},
        {"envelope": {**about, "editMessage": edit}},
        {"envelope": {**about, "dataMessage": {"timestamp": (AT + 2) * 1000, "reaction": reaction}}},
    )
    [batch] = batches(find_reader(Source(file), None).read(Source(file), Options()))
    [answer] = sender.post(*batch.conversations).json()["results"]
    assert (answer["status"], answer["updates_added"]) == ("created", 2)
    [stored] = sender.stored_messages()
    assert (stored["content"], stored["reactions"][0]["emoji"]) == ("hi!", "👍")


def test_signal_cli_is_read(tmp_path: Path) -> None:
    def envelope(**fields: object) -> dict:
        about = {"sourceNumber": NUMBER, "sourceUuid": "5f1c", "sourceName": "Ada"}
        return {"envelope": {**about, **fields}, "account": "+1 555 201 0002"}

    group = {"groupId": "Zm9v", "groupName": "Team"}
    file = write_lines(
        tmp_path / "signal.jsonl",
        envelope(dataMessage={"timestamp": AT * 1000, "message": "hi"}),
        envelope(
            syncMessage={"sentMessage": {"timestamp": AT * 1000 + 1, "message": "yes", "destinationNumber": NUMBER}}
        ),
        envelope(dataMessage={"timestamp": AT * 1000 + 2, "message": "all?", "groupInfo": group}),
        envelope(dataMessage={"timestamp": AT * 1000 + 3, "reaction": {"emoji": "👍", "targetSentTimestamp": AT}}),
        envelope(receiptMessage={"when": AT}),
    )
    others, [person, team] = read(file, Options())
    assert (person.participant, person.name, team.name) == (NUMBER, "Ada", "Team")
    assert lines(person) == ["2024-02-15 09:00:00 < text: hi", "2024-02-15 09:00:00 > text: yes", "~ reaction"]
    assert [entry.author for entry in team.entries] == ["Ada"]
    assert [other.kind for other in others] == ["receipts, typing and other envelopes"]


def test_rows_of_signal_desktop_are_read(tmp_path: Path) -> None:
    def row(kind: str, body: str | None, place: int) -> dict:
        return {"id": f"m{place}", "conversationId": "c1", "type": kind, "sent_at": AT * 1000 + place, "body": body}

    file = tmp_path / "messages.json"
    about = {"id": "c1", "type": "private", "e164": NUMBER, "name": "Ada"}
    rows = [row("incoming", "hi", 1), row("outgoing", "yes", 2), row("keychange", None, 3)]
    files = [{"contentType": "image/png", "fileName": "a.png"}, {"contentType": "audio/aac"}]
    rows += [{**row("incoming", None, 4), "attachments": files}, {**row("incoming", None, 5), "hasAttachments": 1}]
    file.write_text(json.dumps({"conversations": [about], "messages": rows}))
    _, [conversation] = read(file, Options())
    assert (conversation.participant, conversation.name) == (NUMBER, "Ada")
    assert [line[20:] for line in lines(conversation)] == [
        "< text: hi", "> text: yes", "", "< image:", "< audio:", "< file:",
    ]  # fmt: skip


def test_csv_of_wechatmsg_is_read(tmp_path: Path) -> None:
    file = tmp_path / "messages.csv"
    columns = [
        "localId",
        "TalkerId",
        "Type",
        "SubType",
        "IsSender",
        "CreateTime",
        "Status",
        "StrContent",
        "StrTime",
        "Remark",
        "NickName",
        "Sender",
    ]
    rows = [
        [1, 5, 1, 0, 0, AT, "", "你好,\n在吗", "", "小明", "Ming", "wxid_ming"],
        [2, 5, 1, 0, 1, AT + 1, "", "在", "", "", "Me", "wxid_me"],
        [3, 5, 3, 0, 0, AT + 2, "", '<?xml version="1.0"?><msg><img/></msg>', "", "小明", "Ming", "wxid_ming"],
        [4, 5, 10000, 0, 0, AT + 3, "", "recalled", "", "小明", "Ming", "wxid_ming"],
    ]
    with file.open("w", encoding="utf-8-sig", newline="") as target:
        csv.writer(target).writerows([columns, *rows])
    _, [conversation] = read(file, Options())
    assert (conversation.id, conversation.name) == ("wechat:wxid_ming", "小明")
    assert lines(conversation) == [
        "2024-02-15 09:00:00 < text: 你好, / 在吗",
        "2024-02-15 09:00:01 > text: 在",
        "2024-02-15 09:00:02 < image:",
        "- notices",
    ]


def test_json_of_weflow_is_read(tmp_path: Path) -> None:
    def row(place: int, kind: str, sent: int | None, content: str) -> dict:
        return {
            "localId": place, "createTime": AT + place, "type": kind, "isSend": sent, "content": content,
            "senderUsername": "wxid_ming", "senderDisplayName": "小明",
        }  # fmt: skip

    file = tmp_path / "ming.json"
    rows = [row(1, "文本消息", 0, "你好"), row(2, "图片消息", 1, "[图片]"), row(3, "系统消息", None, "…")]
    file.write_text(
        json.dumps(
            {"weflow": {"version": "1.0.3"}, "session": {"wxid": "wxid_ming", "nickname": "小明"}, "messages": rows}
        )
    )
    _, [conversation] = read(file, Options())
    assert conversation.id == "wechat:wxid_ming"
    assert [line[20:] for line in lines(conversation)] == ["< text: 你好", "> image:", ""]


def test_files_of_weflow_are_found_and_ids_last(tmp_path: Path) -> None:
    def row(place: int, kind: str, content: str, **more: object) -> dict:
        about = {"localId": place, "type": kind, "isSend": 0, "senderUsername": "wxid_ming", "content": content}
        return {**about, "createTime": AT + 9, **more}

    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.jpg").write_bytes(b"photo")
    ids = []
    for start in (1, 5):
        rows = [row(start, "图片消息", "media/a.jpg"), row(start + 1, "图片消息", "media/gone.jpg")]
        rows += [row(start + 2, "语音消息", "[语音消息]", mediaPath="media/b.mp3", platformMessageId="77")]
        file = tmp_path / "ming.json"
        file.write_text(json.dumps({"session": {"wxid": "wxid_ming"}, "messages": rows}))
        _, [conversation] = read(file, Options())
        assert [line[20:] for line in lines(conversation)] == ["< image:", "< image:", "< audio:"]
        assert [entry.file.size if entry.file else None for entry in conversation.entries] == [5, None, None]
        ids.append([entry.id for entry in conversation.entries])
    assert ids[0] == ids[1]
    assert ids[0][2] == "77"


def test_json_of_chatlog_is_read(tmp_path: Path) -> None:
    def row(place: int, *, mine: bool, kind: int = 1, content: str = "") -> dict:
        return {
            "seq": place, "time": "2024-02-15T17:00:00+08:00", "talker": "123@chatroom", "talkerName": "Team",
            "isChatRoom": True, "sender": "wxid_ming", "senderName": "小明", "isSelf": mine, "type": kind, "subType": 0,
            "content": content,
        }  # fmt: skip

    file = tmp_path / "chatlog.json"
    file.write_text(
        json.dumps([row(1, mine=False, content="hi"), row(2, mine=True, kind=34), row(3, mine=True, kind=50)])
    )
    _, [conversation] = read(file, Options())
    assert lines(conversation) == ["2024-02-15 09:00:00 < text: hi", "2024-02-15 09:00:00 > audio:", "- calls"]
    assert conversation.entries[0].author == "小明"


def test_chatlab_file_asks_who_you_are(tmp_path: Path) -> None:
    rows = [
        {"sender": "wxid_ming", "accountName": "小明", "timestamp": AT, "type": 0, "content": "hi"},
        {"sender": "wxid_me", "accountName": "Me", "timestamp": AT, "type": 0, "content": "yes"},
    ]
    export = {
        "chatlab": {"version": "0.0.1"},
        "meta": {"name": "小明", "platform": "wechat", "type": "private"},
        "members": [{"platformId": "wxid_ming"}, {"platformId": "wxid_me"}],
        "messages": rows,
    }
    file = tmp_path / "chatlab.json"
    file.write_text(json.dumps(export))
    assert "one of: wxid_ming, wxid_me" in refusal(file, Options())
    _, [conversation] = read(file, Options(me="wxid_me"))
    assert conversation.id == "wechat:wxid_ming"
    assert [line[20:] for line in lines(conversation)] == ["< text: hi", "> text: yes"]


def test_lines_of_chatlab_are_read(tmp_path: Path) -> None:
    file = write_lines(
        tmp_path / "chatlab.jsonl",
        {"_type": "header", "chatlab": {"version": "0.0.2"},
         "meta": {"name": "小明", "platform": "wechat", "type": "private", "ownerId": "wxid_me"}},
        {"_type": "member", "platformId": "wxid_me"},
        {"_type": "member", "platformId": "wxid_ming"},
        {"_type": "message", "sender": "wxid_ming", "timestamp": AT, "type": 0, "content": "hi"},
        {"_type": "message", "sender": "wxid_me", "timestamp": AT, "type": 27, "content": "小红"},
    )  # fmt: skip
    file.write_text(file.read_text() + "# a note\nbroken\n")
    _, [conversation] = read(file, Options())
    assert (conversation.id, lines(conversation)) == (
        "wechat:wxid_ming",
        ["2024-02-15 09:00:00 < text: hi", "2024-02-15 09:00:00 > contact: 小红", "? line 7"],
    )


def test_own_export_comes_back_as_it_was(tmp_path: Path) -> None:
    said = {
        "id": "3", "direction": "inbound", "type": "text", "content": "hi",
        "sent_at": "2024-02-15T09:00:00.123456+01:00",
        "media_url": None, "reactions": [], "author": "",
    }  # fmt: skip
    file = write_lines(tmp_path / "export.ndjson", said, {"id": 4})
    for participants in ({}, {"Ada": NUMBER, "Bo": NUMBER}):
        with pytest.raises(ImportRefusedError, match="--conversation"):
            read(file, Options(conversation="chat_1", participants=participants))
    with pytest.raises(ImportRefusedError, match="--conversation"):
        read(file, Options(participants={"Ada": NUMBER}))
    _, [conversation] = read(file, Options(conversation="chat_1", participants={"Ada": NUMBER}))
    assert (conversation.id, conversation.participant, conversation.name) == ("chat_1", NUMBER, "Ada")
    assert render_message(conversation.entries[0]) == said
    assert lines(conversation)[1] == "? line 2"


EXPORTED = {
    "id": "3", "direction": "outbound", "type": "text", "content": "hi", "sent_at": "2024-02-15T09:00:00",
}  # fmt: skip
EXPORTED_LINES = [
    (EXPORTED, "2024-02-15 09:00:00 > text: hi"),
    ({**EXPORTED, "deleted": False}, "2024-02-15 09:00:00 > text: hi"),
    ({**EXPORTED, "deleted": True}, "- deleted messages"),
    ({**EXPORTED, "sent_at": "2024-02-15T09:00:00+09:00"}, "2024-02-15 00:00:00 > text: hi"),
    ({**EXPORTED, "sent_at": 7}, "? line 3"),
    ({**EXPORTED, "type": "odd"}, "? line 3"),
    ({**EXPORTED, "direction": "odd"}, "? line 3"),
    ({name: value for name, value in EXPORTED.items() if name != "content"}, "? line 3"),
    (["odd"], "? line 3"),
]


@pytest.mark.parametrize(("line", "right"), EXPORTED_LINES, ids=range(len(EXPORTED_LINES)))
def test_line_of_an_own_export_is_read(tmp_path: Path, line: object, right: str) -> None:
    (tmp_path / "export.ndjson").write_text(f"{json.dumps(EXPORTED)}\n \n{json.dumps(line)}\n")
    _, [found] = read(tmp_path / "export.ndjson", Options(conversation="c", participants={None: NUMBER}))
    assert (found.name, lines(found)[1:]) == ("", [right])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("messages.html", "<html>", "choose the format Machine-readable JSON"),
        ("msgstore.db.crypt15", "\x00", "Use Export chat"),
        ("db.sqlite", "SQLite format 3\x00", "is encrypted. Export it with signal-export"),
        ("notes.txt", "hello there", "It begins with: hello there"),
        ("empty.txt", "", "in no format"),
        ("odd.jsonl", '{"id": "1", "type": "text"}', "in no format"),
    ],
    ids=["html", "backup", "database", "text", "empty", "odd"],
)
def test_unknown_file_is_refused_by_name(tmp_path: Path, name: str, content: str, reason: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(ImportRefusedError, match=reason):
        read(file, Options())
