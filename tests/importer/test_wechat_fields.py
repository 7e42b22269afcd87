"""What each field of a WeChat file becomes, row by row; people and texts are invented."""

import csv
import json
from pathlib import Path

import pytest
from threadline_import.chatlab import ChatLab
from threadline_import.model import Options
from threadline_import.sources import Source
from threadline_import.wechat import ChatLog, WeChatMsg, WeFlow

from tests.importer.reading import fields, lines, read, refused

AT = 1_707_987_600  # 2024-02-15 09:00:00
XML = '<?xml version="1.0"?><msg><title><![CDATA[The plan]]></title></msg>'
NINE = {"at": "09:00:00.000", "kind": "text"}


def check(found: dict | str, right: dict | str, **base: object) -> None:
    assert found == (right if isinstance(right, str) else {**NINE, **base, **right})


COLUMNS = ["localId", "MsgSvrID", "TalkerId", "Type", "SubType", "IsSender", "CreateTime", "StrContent"]
PEOPLE = ["Remark", "NickName", "Sender"]


def write_csv(folder: Path, *rows: list[object]) -> Path:
    file = folder / "messages.csv"
    with file.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([[*COLUMNS, *PEOPLE], *rows])
    return file


def column(kind: int, content: str, sub: int = 0, *, mine: int = 0, server: str = "88") -> list[object]:
    return [1, server, 5, kind, sub, mine, AT, content, "", "Ming", "wxid_ming"]


CSV_ROWS = [
    (column(1, "hi"), {"text": "hi"}),
    (column(1, "hi", mine=1), {"text": "hi", "mine": True}),
    (column(1, "hi", server=""), {"text": "hi", "id": "1"}),
    (column(34, "[voice]"), {"kind": "audio"}),
    (column(34, "said aloud"), {"kind": "audio", "text": "said aloud"}),
    (column(42, "[Bo]"), {"kind": "contact", "text": "[Bo]"}),
    (column(43, "<msg/>"), {"kind": "video"}),
    (column(47, "[smile]"), {"kind": "sticker"}),
    (column(48, "here"), {"kind": "location", "text": "here"}),
    (column(49, XML, 6), {"kind": "file", "text": "The plan"}),
    (column(49, f"  {XML}"), {"text": "The plan"}),
    (column(49, "<msg><title>A <b>\nlink </title></msg>"), {"text": "A <b>\nlink"}),
    (column(49, "<msg/>"), "- empty messages"),
    (column(50, "call"), "- calls"),
    (column(10000, "joined"), "- notices"),
    (column(10002, "recalled"), "- deleted messages"),
    (column(99, "new kind"), {"text": "new kind"}),
    ([*column(1, "hi")[:6], 1, "hi", "", "", ""], "? row 2"),
    ([*column(1, "hi")[:3], "x", 0, 0, AT, "hi", "", "", ""], "? row 2"),
]


@pytest.mark.parametrize(("row", "right"), CSV_ROWS, ids=range(len(CSV_ROWS)))
def test_row_of_wechatmsg_is_read(tmp_path: Path, row: list, right: dict | str) -> None:
    file = write_csv(tmp_path, row)
    if "\n" in str(row[7]):
        right = {**right, "id": "88"}
    _, [conversation] = read(file, Options(), WeChatMsg())
    check(fields(conversation.entries[0]), right, id="88")


def test_talkers_of_wechatmsg_stay_apart(tmp_path: Path) -> None:
    def row(talker: object, mine: int, remark: str, nick: str, sender: str) -> list[object]:
        return [1, "", talker, 1, 0, mine, AT, f"of {talker}", remark, nick, sender]

    file = write_csv(
        tmp_path,
        row(5, 1, "", "Me", "wxid_me"),
        row(5, 0, "小明", "Ming", "wxid_ming"),
        row(5, 0, "", "Other", "wxid_other"),
        row(6, 0, "", "Bo", "wxid_bo"),
        row(7, 1, "", "Me", "wxid_me"),
        row("", 1, "", "Me", "wxid_me"),
        [1, 2],
    )
    others, found = read(file, Options(participants={"Bo": "bo_1"}), WeChatMsg())
    assert [(one.id, one.participant, one.name) for one in found] == [
        ("wechat:wxid_ming", "wxid_ming", "小明"),
        ("wechat:bo_1", "bo_1", "Bo"),
        ("wechat:7", "7", "7"),
    ]
    assert [line[20:] for line in lines(found[0])] == ["> text: of 5", "< text: of 5", "< text: of 5", ""]
    assert [len(one.entries) for one in found] == [4, 1, 1], "the row that cannot be read is counted once"
    assert [entry.at.microsecond for entry in found[0].entries[:3]] == [0, 1000, 2000]
    assert "Say its WeChat id with --participant" in others[0].reason
    given = Options(conversation="c1", participants={None: "wxid_given"})
    assert {(one.id, one.participant) for one in read(file, given, WeChatMsg())[1]} == {("c1", "wxid_given")}


def write_json(folder: Path, export: object) -> Path:
    file = folder / "export.json"
    file.write_text(json.dumps(export), encoding="utf-8")
    return file


def weflow(kind: str, content: str | None = None, **more: object) -> dict[str, object]:
    about = {"createTime": AT, "isSend": 0, "senderUsername": "wxid_ming", "serverId": "77"}
    return {**about, "type": kind, "content": content, **more}


WEFLOW_ROWS = [
    (weflow("文本消息", "hi"), {"text": "hi"}),
    (weflow("文本消息", "hi", platformMessageId="p1"), {"text": "hi", "id": "77"}),
    (weflow("文本消息", "hi", isSend=1), {"text": "hi", "mine": True}),
    (weflow("引用消息", "yes", replyToMessageId="76"), {"text": "yes", "reply_to": "76"}),
    (weflow("图片消息", "[图片]"), {"kind": "image"}),
    (weflow("语音消息", "media/v.mp3"), {"kind": "audio"}),
    (weflow("名片消息", "Bo"), {"kind": "contact", "text": "Bo"}),
    (weflow("视频消息", "media\\v.mp4"), {"kind": "video"}),
    (weflow("表情消息", "[笑]"), {"kind": "sticker"}),
    (weflow("动画表情", "[笑]"), {"kind": "sticker"}),
    (weflow("动画消息", "[笑]"), {"kind": "sticker"}),
    (weflow("位置消息", "a/b.txt"), {"kind": "location", "text": "a/b.txt"}),
    (weflow("文件消息", "here is the plan"), {"kind": "file", "text": "here is the plan"}),
    (weflow("文件消息", "list.pdf"), {"kind": "file", "file": "list.pdf", "file_name": "list.pdf"}),
    (weflow("文件消息", "see files/a.pdf for more"), {"kind": "file", "text": "see files/a.pdf for more"}),
    (weflow("文件消息", "files/plan.pdf"), {"kind": "file", "file": "plan.pdf", "file_name": "plan.pdf"}),
    (weflow("文件消息", "the plan", mediaPath="files/plan.pdf"), {"kind": "file", "file": "plan.pdf",
                                                                "file_name": "plan.pdf"}),
    (weflow("文本消息", "see a/b.txt", mediaPath=None), {"text": "see a/b.txt"}),
    (weflow("文本消息", ""), "- empty messages"),
    (weflow("通话消息", "call"), "- calls"),
    (weflow("系统消息", "x"), "- notices"),
    (weflow("撤回消息", "x"), "- deleted messages"),
    (weflow("文本消息", "hi", isSend=None), "- notices"),
    (weflow("文本消息", "hi", serverId=0, platformMessageId="p1"), {"text": "hi", "id": "p1"}),
    (weflow("文本消息", "hi", serverId=0), {"text": "hi", "id": f"{AT}-wxid_ming-1"}),
    (weflow("文本消息", "hi", serverId=0, senderUsername=None), {"text": "hi", "id": f"{AT}-0-1"}),
    (weflow("文本消息", "hi", createTime=None), "? row 1"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "right"), WEFLOW_ROWS, ids=range(len(WEFLOW_ROWS)))
def test_row_of_weflow_is_read(tmp_path: Path, row: dict, right: dict | str) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "plan.pdf").write_bytes(b"plan")
    (tmp_path / "list.pdf").write_bytes(b"list")
    file = write_json(tmp_path, {"session": {"wxid": "wxid_ming"}, "messages": [row, "no row"]})
    _, [conversation] = read(file, Options(), WeFlow())
    check(fields(conversation.entries[0]), right, id="77")
    assert lines(conversation)[1] == "? message 2"


def test_equal_rows_of_weflow_get_ids_and_times_of_their_own(tmp_path: Path) -> None:
    rows = [weflow("文本消息", "hi", serverId=None)] * 2
    _, [found] = read(write_json(tmp_path, {"session": {"wxid": "w"}, "messages": rows}), Options(), WeFlow())
    assert [entry.id for entry in found.entries] == [f"{AT}-wxid_ming-1", f"{AT}-wxid_ming-2"]
    assert [entry.at.microsecond for entry in found.entries] == [0, 1000]


def test_group_of_weflow_has_its_authors(tmp_path: Path) -> None:
    rows = [
        weflow("文本消息", "a", senderDisplayName="小明"),
        weflow("文本消息", "b"),
        weflow("文本消息", "c", senderUsername=None, senderID=3),
    ]
    session = {"wxid": "12@chatroom", "displayName": "Team", "nickname": "T"}
    export = {"session": session, "senders": [{"senderID": 3, "displayName": "Bo"}], "messages": rows}
    _, [team] = read(write_json(tmp_path, export), Options(participants={"Team": "team_1"}), WeFlow())
    assert (team.id, team.participant, team.name) == ("wechat:12@chatroom", "team_1", "Team")
    assert team.is_group
    assert [entry.author for entry in team.entries] == ["小明", "wxid_ming", "Bo"]
    for names, name in (({"remark": "R", **session}, "R"), ({"wxid": "w", "nickname": "T"}, "T"), ({"wxid": "w"}, "w")):
        [one] = read(write_json(tmp_path, {"session": names, "messages": []}), Options(), WeFlow())[1]
        assert one.name == name
    nameless = write_json(tmp_path, {"session": {"nickname": "T"}, "messages": rows})
    assert "session.wxid is missing" in refused(WeFlow(), nameless, Options())


def logged(kind: object = 1, content: str = "", **more: object) -> dict[str, object]:
    about = {"seq": 9, "time": "2024-02-15T17:00:00+08:00", "talker": "wxid_ming", "isChatRoom": False}
    return {**about, "sender": "wxid_ming", "isSelf": False, "type": kind, "content": content, **more}


LOG_ROWS = [
    (logged(content="hi"), {"text": "hi"}),
    (logged(content="hi", isSelf=True), {"text": "hi", "mine": True}),
    (logged(content="hi", seq=None, id="m7"), {"text": "hi", "id": "m7"}),
    (logged(content="hi", senderName="小明", isChatRoom=True), {"text": "hi", "author": "小明"}),
    (logged(content="hi", isChatRoom=True), {"text": "hi", "author": "wxid_ming"}),
    (logged(49, contents={"title": "The plan"}, subType=6), {"kind": "file", "text": "The plan"}),
    (logged(49, contents={"title": "A link"}, subType=5), {"text": "A link"}),
    (logged(49), "- empty messages"),
    (logged(10002), "- deleted messages"),
    (logged("x"), "? row 1"),
    (logged(contents=["x"]), "? row 1"),
    (logged(content="hi", time=None), "? row 1"),
]


@pytest.mark.parametrize(("row", "right"), LOG_ROWS, ids=range(len(LOG_ROWS)))
def test_row_of_chatlog_is_read(tmp_path: Path, row: dict, right: dict | str) -> None:
    for export in ([row], {"items": [row]}, {"total": 1, "messages": [row]}):
        _, [conversation] = read(write_json(tmp_path, export), Options(), ChatLog())
        check(fields(conversation.entries[0]), right, id="9")
        assert conversation.is_group is row["isChatRoom"]


def test_times_of_chatlog_can_be_compared(tmp_path: Path) -> None:
    rows = [logged(content="a"), logged(content="b", time="2024-02-16T09:00:00")]
    first, second = read(write_json(tmp_path, rows), Options(), ChatLog())[1][0].entries
    assert first.at < second.at


def test_talkers_of_chatlog_stay_apart(tmp_path: Path) -> None:
    rows = [
        logged(content="a", talkerName="小明"),
        "no row",
        logged(content="b", talker="wxid_bo"),
        logged(content="c"),
    ]
    _, [ming, bo] = read(write_json(tmp_path, rows), Options(participants={"小明": "ming_1"}), ChatLog())
    assert [(one.id, one.participant, one.name) for one in (ming, bo)] == [
        ("wechat:wxid_ming", "ming_1", "小明"),
        ("wechat:wxid_bo", "wxid_bo", "wxid_bo"),
    ]
    assert [line[22:] or line for line in lines(ming)] == ["text: a", "? message 2", "text: c"]
    assert len(bo.entries) == 1
    assert ming.entries[2].at.microsecond == 1000


def chatlab(kind: int, content: str | None = None, **more: object) -> dict[str, object]:
    return {"_type": "message", "sender": "wxid_ming", "timestamp": AT, "type": kind, "content": content, **more}


NUMBERED = f"{AT}-wxid_ming-"
LAB_ROWS = [
    (chatlab(0, "hi"), {"text": "hi", "id": f"{NUMBERED}0-1"}),
    (chatlab(0, "hi", sender="wxid_me"), {"text": "hi", "mine": True, "id": f"{AT}-wxid_me-0-1"}),
    (chatlab(0, "hi", platformMessageId=5), {"text": "hi", "id": "5"}),
    (chatlab(1, "[图片]"), {"kind": "image", "id": f"{NUMBERED}1-1"}),
    (chatlab(2), {"kind": "audio", "id": f"{NUMBERED}2-1"}),
    (chatlab(3), {"kind": "video", "id": f"{NUMBERED}3-1"}),
    (chatlab(4, "plan.pdf"), {"kind": "file", "text": "plan.pdf", "id": f"{NUMBERED}4-1"}),
    (chatlab(5), {"kind": "sticker", "id": f"{NUMBERED}5-1"}),
    (chatlab(8, "here"), {"kind": "location", "text": "here", "id": f"{NUMBERED}8-1"}),
    (chatlab(27, "Bo"), {"kind": "contact", "text": "Bo", "id": f"{NUMBERED}27-1"}),
    (chatlab(23), "- calls"),
    (chatlab(80), "- notices"),
    (chatlab(81), "- deleted messages"),
    (chatlab(0, ""), "- empty messages"),
    (chatlab(0, "hi", timestamp="soon"), "? row 1"),
]


def lab(folder: Path, *rows: object, **meta: object) -> Path:
    about = {"name": "小明", "platform": "weixin", "type": "private", "ownerId": "wxid_me", **meta}
    people = [{"platformId": "wxid_me"}, {"platformId": "wxid_ming"}]
    return write_json(folder, {"chatlab": {}, "meta": about, "members": people, "messages": rows})


@pytest.mark.parametrize(("row", "right"), LAB_ROWS, ids=range(len(LAB_ROWS)))
def test_row_of_chatlab_is_read(tmp_path: Path, row: dict, right: dict | str) -> None:
    _, [conversation] = read(lab(tmp_path, row), Options(), ChatLab())
    check(fields(conversation.entries[0]), right)
    assert (conversation.id, conversation.participant) == ("wechat:wxid_ming", "wxid_ming")


def test_chat_of_chatlab_may_say_little(tmp_path: Path) -> None:
    about = {"platform": "wechat", "ownerId": "wxid_me", "groupId": "g"}
    rows = [chatlab(0, "hi"), chatlab(0, "ho", sender="wxid_me")]
    for people in ([], None, ["odd"]):
        export = {"chatlab": {}, "meta": about, "members": people, "messages": rows}
        _, [found] = read(write_json(tmp_path, export), Options(me="wxid_ming"), ChatLab())
        assert (found.id, found.name, found.is_group) == ("wechat:None", "", False)
        assert [entry.is_mine for entry in found.entries] == [True, False]
    for text in ('{"chatlab": {}, "meta": 5, "messages": []}', '{"_type": "header", "chatlab": {}}\n'):
        (tmp_path / "export.json").write_text(text)
        assert "is a chat of None" in refused(ChatLab(), tmp_path / "export.json", Options())


def test_group_of_chatlab_has_its_authors(tmp_path: Path) -> None:
    rows = [
        chatlab(0, "a", groupNickname="M", accountName="Ming"),
        chatlab(0, "a", accountName="Ming"),
        chatlab(0, "b"),
    ]
    file = lab(tmp_path, *rows, type="group", groupId="12@chatroom")
    _, [team] = read(file, Options(participants={None: "team_1"}), ChatLab())
    assert (team.id, team.participant, team.name) == ("wechat:12@chatroom", "team_1", "小明")
    assert team.is_group
    assert [(entry.author, entry.id, entry.at.microsecond) for entry in team.entries] == [
        ("M", f"{NUMBERED}0-1", 0), ("Ming", f"{NUMBERED}0-2", 1000), ("wxid_ming", f"{NUMBERED}0-3", 2000),
    ]  # fmt: skip
    assert read(lab(tmp_path, *rows, type="group"), Options(), ChatLab())[1][0].id == "wechat:小明"
    assert "is a chat of qq" in refused(ChatLab(), lab(tmp_path, platform="qq"), Options())


def test_lines_of_chatlab_ask_who_you_are(tmp_path: Path) -> None:
    file = tmp_path / "lab.jsonl"
    header = {"_type": "header", "chatlab": {}, "meta": {"platform": "wechat", "type": "private"}}
    rows = [header, {"_type": "member", "platformId": "a"}, {"_type": "member", "platformId": "b"}, chatlab(0, "hi")]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert refused(ChatLab(), file, Options()) == "The file does not say who you are. Say it with --me, one of: a, b."
    assert read(file, Options(me="b"), ChatLab())[1][0].id == "wechat:a"


FORMS = [
    (WeFlow(), {"session": {"wxid": "w"}, "messages": []}),
    (ChatLog(), {"talker": "w", "isSelf": 1, "isChatRoom": 0}),
    (ChatLab(), {"chatlab": {}, "meta": {}}),
]


@pytest.mark.parametrize(("reader", "form"), FORMS, ids=range(3))
def test_form_of_wechat_is_known_by_its_fields(tmp_path: Path, reader: object, form: dict) -> None:
    def knows(text: str) -> bool:
        (tmp_path / "export.json").write_text(text)
        return reader.recognizes(Source(tmp_path / "export.json"))

    whole = json.dumps(form)
    assert (knows(f"\n {whole}"), knows(f"x{whole}")) == (True, False)
    assert knows(f"[{whole}]") is isinstance(reader, ChatLog)
    for name in ("session", "wxid", "messages", "talker", "isSelf", "isChatRoom", "chatlab", "meta"):
        assert knows(whole.replace(f'"{name}"', '"other"')) is (f'"{name}"' not in whole)


def test_csv_of_wechat_is_known_by_its_first_line(tmp_path: Path) -> None:
    def knows(*names: str) -> bool:
        (tmp_path / "a.csv").write_text(",".join(names))
        return WeChatMsg().recognizes(Source(tmp_path / "a.csv"))

    needed = ["IsSender", "CreateTime", "StrContent", "Type"]
    assert knows(*needed)
    assert not knows("\n", *needed)
    for name in needed:
        assert not knows(*(each for each in needed if each != name))
