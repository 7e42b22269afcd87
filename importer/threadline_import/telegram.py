"""Reads result.json of Telegram Desktop ("Machine-readable JSON"): one chat or the whole account.

People, bots and groups become conversations, channels and Saved Messages do not. Telegram's own ids are kept, so a
later export adds only what is new. The participant is the phone number where the export lists it, or else
telegram:user123.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from threadline_import.jsonstream import BrokenJSONError, JSONStream
from threadline_import.model import (
    Conversation,
    ImportRefusedError,
    LeftOut,
    Message,
    Options,
    Reaction,
    Refusal,
    Unreadable,
)
from threadline_import.order import Spread
from threadline_import.sources import Source
from threadline_import.wire import render_time

# How Telegram calls the peer of each kind of chat that is imported.
PEERS = {
    "personal_chat": "user",
    "bot_chat": "user",
    "private_group": "chat",
    "private_supergroup": "channel",
    "public_supergroup": "channel",
}
MEDIA_TYPES = {
    "sticker": "sticker",
    "animation": "animation",
    "video_file": "video",
    "video_message": "video",
    "audio_file": "audio",
    "voice_message": "audio",
}
NOT_THERE = re.compile(r"\(File [^()]*\)$")
FIRST_DAY = datetime(2013, 8, 1, tzinfo=UTC)  # Telegram is not older


@dataclass
class Chat:
    """What a first pass learns about a chat."""

    place: int
    fields: dict[str, object] = field(default_factory=dict)
    senders: dict[str, str] = field(default_factory=dict)  # id: name
    has_old_dates: bool = False

    @property
    def peer(self) -> str:
        """Return the id of the other side, or of the group."""
        return f"{PEERS.get(str(self.fields.get('type')), 'chat')}{self.fields.get('id')}"

    @property
    def is_group(self) -> bool:
        """Check for a group."""
        return PEERS.get(str(self.fields.get("type"))) != "user"

    @property
    def needs_owner(self) -> bool:
        """Check whether its id does not tell who of its writers is the other side."""
        return self.is_group or len(self.senders.keys() - {self.peer, "unknown"}) > 1


@dataclass
class Account:
    """What a first pass learns about an export."""

    chats: list[Chat] = field(default_factory=list)
    phones: dict[str, str] = field(default_factory=dict)
    owner: str | None = None


class Telegram:
    """Reads the chats of an export."""

    title = "Telegram Desktop export"
    platform = "telegram"

    def recognizes(self, source: Source) -> bool:
        """Check for an object with the keys that Telegram Desktop writes first."""
        head = source.head().lstrip()
        is_account = any(f'"{key}":' in head for key in ("personal_information", "frequent_contacts", "left_chats"))
        is_chat = re.search(r'"type": ?"(?:\w+_(?:chat|group|supergroup|channel)|saved_messages)"', head)
        return head.startswith("{") and '"chatlab"' not in head and bool(is_account or is_chat)

    def read(self, source: Source, options: Options) -> Iterator[Conversation | Refusal | LeftOut]:
        """Yield the chats of an export."""
        account = survey(source)
        if not account.chats:
            raise ImportRefusedError(f"{source} has no chat.")
        owner = options.me or account.owner or _guess_owner(account)
        wanted = [chat for chat in account.chats if options.chat in (None, str(chat.fields.get("id")), _name(chat))]
        if not wanted:
            raise ImportRefusedError(f"{source} has no chat with the name or id {options.chat}.")
        places = {chat.place: chat for chat in wanted}
        for place, stream in _message_lists(source):
            chat = places.get(place)
            if chat is None:
                stream.skip()
                continue
            yield from _conversations(source, chat, stream, owner, account, options)


def _conversations(
    source: Source,
    chat: Chat,
    stream: JSONStream,
    owner: str | None,
    account: Account,
    options: Options,
) -> Iterator[Conversation | Refusal | LeftOut]:
    kind = str(chat.fields.get("type"))
    if kind not in PEERS:
        stream.skip()
        yield LeftOut(f"chats of type {kind}")
        return
    where = f"{source}, {_name(chat)}"
    if reason := _refuse(chat, owner, options):
        stream.skip()
        yield Refusal(where, reason)
        return
    if not chat.senders:
        stream.skip()
        yield LeftOut("chats without a message")
        return
    peer = chat.peer
    participant = account.phones.get(peer, f"telegram:{peer}")
    name = _name(chat) or participant
    entries = _entries(source, chat, stream, owner, options)
    yield Conversation(options.conversation or f"telegram:{peer}", participant, name, entries, chat.is_group)
    for _entry in entries:  # what the caller has not taken
        pass


def _refuse(chat: Chat, owner: str | None, options: Options) -> str | None:
    if chat.has_old_dates and options.zone is None:
        return (
            "Its messages have a local time without a zone, as exports before June 2022 do. Say the zone of the "
            "computer that wrote it with --timezone, such as Europe/Berlin."
        )
    if chat.needs_owner:
        people = ", ".join(f"{name} ({sender})" for sender, name in list(chat.senders.items())[:20])
        if owner is None:
            what = "A group exported alone" if chat.is_group else "This chat"
            return f"{what} does not say who you are. Say it with --me, one of: {people}."
        # Of a whole account it is known; a name that writes nowhere is a mistake.
        if options.me and owner not in chat.senders and owner not in chat.senders.values():
            return (
                f"{owner} wrote nothing in this {'group' if chat.is_group else 'chat'}. Correct --me, one of: {people}."
            )
    return None


def survey(source: Source) -> Account:
    """Read an export once: its chats, its writers and its owner."""
    account = Account()
    chat = Chat(0)
    with _document(source) as stream:
        for key in stream.members():
            if key == "messages" and stream.peek() == "[":
                _survey_messages(chat, stream)
                account.chats.append(chat)
            elif key in ("chats", "left_chats") and stream.peek() == "{":
                for inner in stream.members():
                    if inner == "list" and stream.peek() == "[":
                        _survey_chats(account, stream)
                    else:
                        stream.skip()
            elif key == "personal_information":
                information = stream.value()
                if isinstance(information, dict) and information.get("user_id"):
                    account.owner = f"user{information['user_id']}"
            elif key == "contacts":
                account.phones.update(_phones(stream.value()))
            elif stream.peek() in "[{":
                stream.skip()
            else:
                chat.fields[key] = stream.value()
    return account


def _survey_chats(account: Account, stream: JSONStream) -> None:
    for _ in stream.places():
        chat = Chat(len(account.chats))
        for key in stream.members():
            if key == "messages" and stream.peek() == "[":
                _survey_messages(chat, stream)
            elif stream.peek() in "[{":
                stream.skip()
            else:
                chat.fields[key] = stream.value()
        account.chats.append(chat)


def _survey_messages(chat: Chat, stream: JSONStream) -> None:
    for message in stream.items():
        if not isinstance(message, dict):
            continue
        if message.get("type") != "message":
            continue
        if sender := _sender(message):
            chat.senders.setdefault(sender, str(message.get("from") or "deleted account"))
        elif not chat.senders:
            chat.senders["unknown"] = str(message.get("from") or "deleted account")
        chat.has_old_dates = chat.has_old_dates or "date_unixtime" not in message


def _message_lists(source: Source) -> Iterator[tuple[int, JSONStream]]:
    """Stop at each list of messages, in the order of `survey`; the caller reads or skips it."""
    place = 0
    with _document(source) as stream:
        for key in stream.members():
            if key == "messages" and stream.peek() == "[":
                yield place, stream
                place += 1
            elif key in ("chats", "left_chats") and stream.peek() == "{":
                for inner in stream.members():
                    if inner != "list" or stream.peek() != "[":
                        stream.skip()
                        continue
                    for _ in stream.places():
                        for name in stream.members():
                            if name == "messages" and stream.peek() == "[":
                                yield place, stream
                            else:
                                stream.skip()
                        place += 1
            else:
                stream.skip()


@contextmanager
def _document(source: Source) -> Iterator[JSONStream]:
    try:
        with source.open_text() as file:
            yield JSONStream(file)
    except BrokenJSONError as problem:
        raise ImportRefusedError(
            f"{source} is not a whole result.json of Telegram: {problem}. Export again."
        ) from problem
    except UnicodeDecodeError as problem:
        raise ImportRefusedError(f"{source} is not UTF-8 text, so it is not an export as it was saved.") from problem


def _guess_owner(account: Account) -> str | None:
    """Find the owner of an export: in a chat of two, the other sender is the owner."""
    for chat in account.chats:
        if not chat.is_group and str(chat.fields.get("type")) in PEERS:
            own = [sender for sender in chat.senders if sender not in (chat.peer, "unknown")]
            if len(own) == 1:
                return own[0]
    return None


def _phones(contacts: object) -> dict[str, str]:
    listed = contacts.get("list", []) if isinstance(contacts, dict) else []
    return {
        f"user{contact['user_id']}": contact["phone_number"]
        for contact in listed
        if isinstance(contact, dict) and contact.get("user_id") and contact.get("phone_number")
    }


def _name(chat: Chat) -> str:
    return str(chat.fields.get("name") or ("Deleted account" if not chat.is_group else ""))


def _sender(message: dict) -> str | None:
    sender = message.get("from_id")
    # Before 2021 it was a bare number.
    return f"user{sender}" if isinstance(sender, int) else sender


def _entries(
    source: Source, chat: Chat, stream: JSONStream, owner: str | None, options: Options
) -> Iterator[Message | LeftOut | Unreadable]:
    spread = Spread()
    topics: dict[int, str] = {}
    for number, message in enumerate(stream.items(), 1):
        try:
            entry = _entry(message, chat, owner, options, spread, topics)
            yield replace(entry, file=source.file(_path(message))) if isinstance(entry, Message) else entry
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as problem:
            yield Unreadable(f"message {number} of {_name(chat)}", f"{type(problem).__name__}: {problem}")


def _entry(
    message: dict, chat: Chat, owner: str | None, options: Options, spread: Spread, topics: dict[int, str]
) -> Message | LeftOut:
    if message["type"] != "message":
        if message.get("action") == "topic_created":
            topics[int(message["id"])] = str(message.get("title"))
        if message.get("action") == "phone_call":
            return LeftOut("calls")
        return LeftOut(f"{message['type']} messages")
    at = _moment(message, options)
    if at < FIRST_DAY:
        raise ValueError(f"{message.get('date')} is before Telegram")
    kind, text = interpret(message)
    if not text and kind == "text":
        return LeftOut("empty messages")
    return Message(
        id=str(message["id"]),
        at=spread.apart(at),
        is_mine=_is_mine(message, chat, owner),
        kind=kind,
        text=text,
        author=(message.get("from") or _sender(message)) if chat.is_group else None,
        sender=_sender(message) if chat.is_group else None,
        reactions=tuple(_reactions(message)),
        details=_details(message, topics),
    )


def _moment(message: dict, options: Options) -> datetime:
    if "date_unixtime" in message:
        return datetime.fromtimestamp(int(message["date_unixtime"]), UTC)
    # A wall-clock time that does not say where; the first versions of the export had nothing else.
    return datetime.fromisoformat(message["date"]).replace(tzinfo=options.zone)


def _is_mine(message: dict, chat: Chat, owner: str | None) -> bool:
    """Tell whether it was sent; in a chat of two, what the other side did not write is yours."""
    sender = _sender(message)
    if chat.needs_owner:
        return owner in (sender, message.get("from"))
    return sender != chat.peer and not (sender is None and message.get("from") in (None, chat.fields.get("name")))


def interpret(message: dict) -> tuple[str, str]:
    """Return kind and text. Media without a caption have no text, however they were exported."""
    text = flat(message.get("text", ""))
    if "photo" in message:
        return "image", text
    if "file" in message:
        media_type, mime = message.get("media_type"), str(message.get("mime_type", "")).partition("/")[0]
        kind = MEDIA_TYPES.get(str(media_type), mime if mime in ("image", "video", "audio") else "file")
        return kind, text or str(message.get("sticker_emoji") or "")
    if "location_information" in message or "place_name" in message:
        return "location", text or _place(message)
    if contact := message.get("contact_information"):
        return "contact", " ".join(("Contact:", *(str(part) for part in contact.values() if part)))
    if poll := message.get("poll"):
        answers = " / ".join(flat(answer["text"]) for answer in poll["answers"])
        return "poll", f"Poll: {flat(poll['question'])} ({answers})"
    if invoice := message.get("invoice_information"):
        return "text", text or f"Invoice: {flat(invoice.get('title', ''))}"
    if title := message.get("game_title"):
        return "text", text or f"Game: {title}"
    return "text", text


def flat(text: str | list) -> str:
    """Flatten text with entities; a link behind words keeps its address."""
    if isinstance(text, str):
        return text
    parts = (part if isinstance(part, dict) else {"text": part} for part in text)
    return "".join(part["text"] + (f" ({part['href']})" if part.get("href") else "") for part in parts)


def _path(message: dict) -> str:
    """Return the path of an attached file; NOT_THERE stands where the export has left the file out."""
    path = str(message.get("photo") or message.get("file") or "")
    return "" if NOT_THERE.search(path) else path


def _file_name(message: dict) -> str | None:
    return message.get("file_name") or _path(message).rpartition("/")[2] or None


def _place(message: dict) -> str:
    point = message.get("location_information") or {}
    where = [message.get("place_name"), message.get("address")]
    if point:
        where.append(f"{point['latitude']},{point['longitude']}")
    return ", ".join(part for part in where if part)


def _details(message: dict, topics: dict[int, str]) -> dict[str, object]:
    reply_to = message.get("reply_to_message_id")
    return {
        # A photo has no name of its own; its path changes between exports.
        "file_name": _file_name(message) if "file" in message else None,
        **_edit(message),
        "reply_to": str(reply_to) if reply_to else None,
        "topic": topics.get(reply_to) if isinstance(reply_to, int) else None,
        "forwarded": "forwarded_from" in message,
        "forwarded_from": message.get("forwarded_from"),
        "via_bot": message.get("via_bot"),
    }


def _edit(message: dict) -> dict[str, object]:
    if "edited_unixtime" in message:
        return {"edited_at": render_time(datetime.fromtimestamp(int(message["edited_unixtime"]), UTC))}
    # Old exports write 1970 for "never".
    return {"edited": "edited" in message and not str(message["edited"]).startswith("1970")}


def _reactions(message: dict) -> Iterator[Reaction]:
    for reaction in message.get("reactions", []):
        # Telegram exports who reacted for the last few people only.
        for one in reaction.get("recent") or []:
            if reaction.get("emoji") and one.get("from_id") and one.get("date"):
                yield Reaction(str(one["from_id"]), _local(one["date"], message), reaction["emoji"])


def _local(written: str, message: dict) -> datetime:
    """Read a local time; the message, which has its time in both ways, tells how far from UTC it is."""
    wall = datetime.fromisoformat(written)
    if "date_unixtime" not in message:
        return wall.replace(tzinfo=UTC)
    ahead = datetime.fromisoformat(message["date"]) - datetime.fromtimestamp(
        int(message["date_unixtime"]), UTC
    ).replace(tzinfo=None)
    return (wall - ahead).replace(tzinfo=UTC)
