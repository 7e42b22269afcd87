"""Reads ChatLab's exchange format, versions 0.0.1 and 0.0.2, which several tools write for WeChat.

It is JSON with `chatlab`, `meta`, `members` and `messages`, or a line for each of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from threadline_import.model import Conversation, ImportRefusedError, LeftOut, Message, Options, Refusal, Unreadable
from threadline_import.order import Counts, Spread
from threadline_import.rows import Row, array_rows, first_value, from_unix, json_lines
from threadline_import.sources import Source
from threadline_import.wechat import read_entries, text_of

TYPES = {1: "image", 2: "audio", 3: "video", 4: "file", 5: "sticker", 8: "location", 27: "contact"}  # or text


class ChatLab:
    """Reads ChatLab's exchange format, which several tools write."""

    title = "ChatLab (JSON)"
    platform = "wechat"

    def recognizes(self, source: Source) -> bool:
        """Check for the header of the format."""
        head = source.head()
        return head.lstrip().startswith("{") and '"chatlab"' in head and '"meta"' in head

    def read(self, source: Source, options: Options) -> Iterator[Conversation | Refusal]:
        """Yield the chat of a file, if it is one of WeChat and says who the owner is."""
        meta, people, rows = _chatlab_parts(source)
        if meta.get("platform") not in ("wechat", "weixin"):
            raise ImportRefusedError(f"{source} is a chat of {meta.get('platform')}, which Threadline does not know.")
        owner = options.me or meta.get("ownerId")
        if not owner:
            ids = ", ".join(str(one.get("platformId")) for one in people)
            yield Refusal(str(source), f"The file does not say who you are. Say it with --me, one of: {ids}.")
            return
        is_group = meta.get("type") == "group"
        others = [str(one.get("platformId")) for one in people if one.get("platformId") != owner]
        identity = (
            str(meta.get("groupId") or meta.get("name")) if is_group else next(iter(others), str(meta.get("name")))
        )

        equals = Counts()

        def entry(row: dict, spread: Spread) -> Message | LeftOut:
            return _chatlab_entry(row, spread, equals, owner, is_group=is_group)

        participant = options.participants.get(None) or identity
        yield Conversation(
            f"wechat:{identity}", participant, str(meta.get("name") or ""), read_entries(rows, entry), is_group
        )


def _chatlab_parts(source: Source) -> tuple[dict, list[dict], Iterator[Row | Unreadable]]:
    """Return what a file says about the chat, its people, and its messages."""
    first = first_value(source)
    if not (isinstance(first, dict) and first.get("_type") == "header"):
        members, rows = array_rows(source, "messages")
        meta, people = members.get("meta"), members.get("members")
        listed = [one for one in people if isinstance(one, dict)] if isinstance(people, list) else []
        return meta if isinstance(meta, dict) else {}, listed, rows
    people = [row[1] for row in json_lines(source) if isinstance(row, tuple) and row[1].get("_type") == "member"]
    lines = (
        row
        for row in json_lines(source)
        if (row[1].get("_type") == "message" if isinstance(row, tuple) else not row.text.startswith("#"))
    )
    return first.get("meta") or {}, people, lines


def _chatlab_entry(row: dict, spread: Spread, equals: Counts, owner: str, *, is_group: bool) -> Message | LeftOut:
    number = int(row["type"])
    if number in (80, 81):
        return LeftOut("notices" if number == 80 else "deleted messages")
    if number == 23:
        return LeftOut("calls")
    kind = TYPES.get(number, "text")
    text = text_of(kind, str(row.get("content") or ""))
    if not text and kind == "text":
        return LeftOut("empty messages")
    at = from_unix(row["timestamp"])
    key = f"{row['timestamp']}-{row['sender']}-{number}"
    return Message(
        id=str(row.get("platformMessageId") or f"{key}-{equals.add(key) + 1}"),
        at=spread.apart(at),
        is_mine=row["sender"] == owner,
        kind=kind,
        text=text,
        author=(row.get("groupNickname") or row.get("accountName") or row["sender"]) if is_group else None,
    )
