"""Reads WeChat histories in the forms that common tools write.

* WeChatMsg / MemoTrace (CSV): localId, TalkerId, Type, SubType, IsSender, CreateTime, StrContent, Remark, NickName.
* WeFlow and EchoTrace (JSON): `session` and `messages` with createTime, isSend and senderUsername.
* chatlog (JSON of its /api/v1/chatlog): an array with talker, sender, isSelf, time and content.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import PurePosixPath

from threadline_import.model import Conversation, ImportRefusedError, LeftOut, Message, Options, Refusal, Unreadable
from threadline_import.order import Counts, Spread
from threadline_import.rows import Row, array_rows, csv_rows, from_unix
from threadline_import.sources import Source

Entry = Message | LeftOut | Unreadable
# Numbers of WeChat's own table, which the tools hand on.
TYPES = {1: "text", 3: "image", 34: "audio", 42: "contact", 43: "video", 47: "sticker", 48: "location", 49: "file"}
LEFT_OUT = {50: "calls", 10000: "notices", 10002: "deleted messages"}
WORDS = {
    "文本": 1,
    "引用": 1,
    "图片": 3,
    "语音": 34,
    "名片": 42,
    "视频": 43,
    "表情": 47,
    "动画": 47,
    "位置": 48,
    "文件": 49,
}
LEFT_OUT_WORDS = {"通话": "calls", "系统": "notices", "撤回": "deleted messages"}
PATH = re.compile(r"[^\n<>]*[/\\][^\n<>/\\]+\.\w{2,5}")
TITLE = re.compile(r"<title>(?:<!\[CDATA\[)?(.*?)(?:\]\]>)?</title>", re.DOTALL)


def text_of(kind: str, content: str) -> str:
    """Return what a person wrote. Media and cards come as XML, and only their title is text."""
    if content.lstrip().startswith(("<msg", "<?")):
        found = TITLE.search(content)
        return found[1].strip() if found else ""
    return "" if kind in ("image", "audio", "video", "sticker") and content.startswith("[") else content


def read_entries(
    rows: Iterator[Row | Unreadable], read: Callable[[dict, Spread], Message | LeftOut]
) -> Iterator[Entry]:
    """Yield what `read` makes of each row."""
    spread = Spread()
    for row in rows:
        if isinstance(row, Unreadable):
            yield row
            continue
        try:
            yield read(row[1], spread)
        except (KeyError, ValueError, TypeError, AttributeError) as problem:
            yield Unreadable(f"row {row[0]}", f"{type(problem).__name__}: {problem}")


class WeChatMsg:
    """Reads the CSV of WeChatMsg; one file can hold many talkers."""

    title = "WeChatMsg (CSV)"
    platform = "wechat"

    def recognizes(self, source: Source) -> bool:
        """Check for the columns."""
        first = source.head().split("\n")[0]
        return all(column in first for column in ("IsSender", "CreateTime", "StrContent", "Type"))

    def read(self, source: Source, options: Options) -> Iterator[Conversation | Refusal]:
        """Yield one conversation per talker; the first one also has the rows that cannot be read."""
        talkers: dict[str, tuple[str, str]] = {}
        for row in csv_rows(source):
            if isinstance(row, Unreadable):
                continue
            talker = row[1].get("TalkerId") or ""
            name = row[1].get("Remark") or row[1].get("NickName") or ""
            wxid = row[1].get("Sender") or ""
            if talker not in talkers or (row[1]["IsSender"] == "0" and not talkers[talker][0]):
                talkers[talker] = (wxid, name) if row[1]["IsSender"] == "0" else ("", "")
        for talker, (wxid, name) in talkers.items():
            identity = options.participants.get(name) or options.participants.get(None) or wxid or talker
            if not identity:
                yield Refusal(
                    str(source), "The file does not name the other side. Say its WeChat id with --participant."
                )
                continue
            is_first = talker == next(iter(talkers))
            rows = (
                row
                for row in csv_rows(source)
                if (is_first if isinstance(row, Unreadable) else row[1].get("TalkerId", "") == talker)
            )
            yield Conversation(
                options.conversation or f"wechat:{identity}",
                identity,
                name or identity,
                read_entries(rows, self._entry),
            )

    def _entry(self, row: dict, spread: Spread) -> Message | LeftOut:
        number = int(row["Type"])
        if number in LEFT_OUT:
            return LeftOut(LEFT_OUT[number])
        kind = TYPES.get(number, "text")
        text = text_of(kind, row["StrContent"])
        if number == 49 and row.get("SubType") != "6":
            kind = "text"  # a link, a quote or a card; only subtype 6 is a file
        if not text and kind == "text":
            return LeftOut("empty messages")
        return Message(
            id=row.get("MsgSvrID") or row["localId"],
            at=spread.apart(from_unix(row["CreateTime"])),
            is_mine=row["IsSender"] == "1",
            kind=kind,
            text=text,
        )


class WeFlow:
    """Reads the JSON of WeFlow and EchoTrace; one file is one chat."""

    title = "WeFlow or EchoTrace (JSON)"
    platform = "wechat"

    def recognizes(self, source: Source) -> bool:
        """Check for a session with a WeChat id."""
        head = source.head()
        return head.lstrip().startswith("{") and '"session"' in head and '"wxid"' in head and '"messages"' in head

    def read(self, source: Source, options: Options) -> Iterator[Conversation]:
        """Yield the chat of a file."""
        members, rows = array_rows(source, "messages")
        session = members.get("session")
        if not isinstance(session, dict) or not session.get("wxid"):
            raise ImportRefusedError(f"{source} does not name the owner of the chat: session.wxid is missing.")
        wxid = session["wxid"]
        is_group = str(wxid).endswith("@chatroom")
        name = session.get("remark") or session.get("displayName") or session.get("nickname") or wxid

        equals = Counts()
        senders = members.get("senders")
        names = {one.get("senderID"): one.get("displayName") for one in senders} if isinstance(senders, list) else {}

        def entry(row: dict, spread: Spread) -> Message | LeftOut:
            author = row.get("senderDisplayName") or row.get("senderUsername") or names.get(row.get("senderID"))
            return _weflow_entry(row, spread, equals, source, author if is_group else None)

        participant = options.participants.get(name) or wxid
        yield Conversation(f"wechat:{wxid}", participant, name, read_entries(rows, entry), is_group)


def _weflow_entry(row: dict, spread: Spread, equals: Counts, source: Source, author: str | None) -> Message | LeftOut:
    words = str(row.get("type") or "")
    for word, reason in LEFT_OUT_WORDS.items():
        if word in words:
            return LeftOut(reason)
    if row.get("isSend") is None:
        return LeftOut("notices")
    kind = next((TYPES[number] for word, number in WORDS.items() if word in words), "text")
    content = str(row.get("content") or "")
    # With its files, the tool writes their paths in place of the text.
    path = str(row.get("mediaPath") or (content if kind in ("image", "audio", "video", "file") else ""))
    file = source.file(path)
    text = "" if file or PATH.fullmatch(path) else text_of(kind, content)
    if not text and kind == "text":
        return LeftOut("empty messages")
    at = from_unix(row["createTime"])
    # localId is a place in this export and another one in the next.
    key = f"{row['createTime']}-{row.get('senderUsername') or row['isSend']}"
    return Message(
        id=str(row.get("serverId") or row.get("platformMessageId") or f"{key}-{equals.add(key) + 1}"),
        at=spread.apart(at),
        is_mine=bool(row["isSend"]),
        kind=kind,
        text=text,
        author=author,
        details={"reply_to": row.get("replyToMessageId"), "file_name": PurePosixPath(path).name if file else None},
        file=file,
    )


class ChatLog:
    """Reads the JSON that chatlog's HTTP interface returns."""

    title = "chatlog (JSON)"
    platform = "wechat"

    def recognizes(self, source: Source) -> bool:
        """Check for the fields of a message."""
        head = source.head()
        return head.lstrip()[:1] in ("[", "{") and all(
            f'"{name}"' in head for name in ("talker", "isSelf", "isChatRoom")
        )

    def read(self, source: Source, options: Options) -> Iterator[Conversation]:
        """Yield one conversation per talker; the first one also has the rows that cannot be read."""
        _, rows = array_rows(source, "items", "messages")
        talkers: dict[str, tuple[str, bool]] = {}
        for row in rows:
            if isinstance(row, tuple):
                talkers.setdefault(
                    str(row[1].get("talker")), (str(row[1].get("talkerName") or ""), bool(row[1].get("isChatRoom")))
                )
        for talker, (name, is_group) in talkers.items():
            is_first = talker == next(iter(talkers))
            own = (
                row
                for row in array_rows(source, "items", "messages")[1]
                if (is_first if isinstance(row, Unreadable) else str(row[1].get("talker")) == talker)
            )

            def entry(row: dict, spread: Spread, *, is_group: bool = is_group) -> Message | LeftOut:
                return _chatlog_entry(row, spread, is_group=is_group)

            participant = options.participants.get(name) or talker
            yield Conversation(f"wechat:{talker}", participant, name or talker, read_entries(own, entry), is_group)


def _chatlog_entry(row: dict, spread: Spread, *, is_group: bool) -> Message | LeftOut:
    number = int(row["type"])
    if number in LEFT_OUT:
        return LeftOut(LEFT_OUT[number])
    kind = TYPES.get(number, "text")
    extra = row.get("contents") or {}
    text = text_of(kind, str(row.get("content") or extra.get("title") or ""))
    if number == 49 and row.get("subType") != 6:
        kind = "text"
    if not text and kind == "text":
        return LeftOut("empty messages")
    return Message(
        id=str(row.get("seq") or row["id"]),
        at=spread.apart(datetime.fromisoformat(row["time"]).astimezone()),
        is_mine=bool(row["isSelf"]),
        kind=kind,
        text=text,
        author=(row.get("senderName") or row.get("sender")) if is_group else None,
    )
