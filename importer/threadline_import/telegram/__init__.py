"""Reads result.json of Telegram Desktop ("Machine-readable JSON"): one chat or the whole account.

People, bots and groups become conversations, channels and Saved Messages do not. Telegram's own ids are kept, so a
later export adds only what is new. The participant is the phone number where the export lists it, or else
telegram:user123.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from threadline_import.jsonstream import JSONStream
from threadline_import.model import Conversation, ImportRefusedError, LeftOut, Message, Options, Refusal, Unreadable
from threadline_import.order import Spread
from threadline_import.sources import Source
from threadline_import.telegram.account import PEERS, Account, Chat, guess_owner, message_lists, read_account
from threadline_import.telegram.messages import (
    FIRST_DAY,
    find_path,
    find_sender,
    interpret,
    list_reactions,
    read_details,
    read_moment,
)


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
        account = read_account(source)
        if not account.chats:
            raise ImportRefusedError(f"{source} has no chat.")
        owner = options.me or account.owner or guess_owner(account)
        wanted = [chat for chat in account.chats if options.chat in (None, str(chat.fields.get("id")), chat.name)]
        if not wanted:
            raise ImportRefusedError(f"{source} has no chat with the name or id {options.chat}.")
        places = {chat.place: chat for chat in wanted}
        for place, stream in message_lists(source):
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
    where = f"{source}, {chat.name}"
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
    name = chat.name or participant
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


def _entries(
    source: Source, chat: Chat, stream: JSONStream, owner: str | None, options: Options
) -> Iterator[Message | LeftOut | Unreadable]:
    spread = Spread()
    topics: dict[int, str] = {}
    for number, message in enumerate(stream.items(), 1):
        try:
            entry = _entry(message, chat, owner, options, spread, topics)
            yield replace(entry, file=source.file(find_path(message))) if isinstance(entry, Message) else entry
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as problem:
            yield Unreadable(f"message {number} of {chat.name}", f"{type(problem).__name__}: {problem}")


def _entry(
    message: dict, chat: Chat, owner: str | None, options: Options, spread: Spread, topics: dict[int, str]
) -> Message | LeftOut:
    if message["type"] != "message":
        if message.get("action") == "topic_created":
            topics[int(message["id"])] = str(message.get("title"))
        if message.get("action") == "phone_call":
            return LeftOut("calls")
        return LeftOut(f"{message['type']} messages")
    at = read_moment(message, options)
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
        author=(message.get("from") or find_sender(message)) if chat.is_group else None,
        sender=find_sender(message) if chat.is_group else None,
        reactions=tuple(list_reactions(message)),
        details=read_details(message, topics),
    )


def _is_mine(message: dict, chat: Chat, owner: str | None) -> bool:
    """Tell whether it was sent; in a chat of two, what the other side did not write is yours."""
    sender = find_sender(message)
    if chat.needs_owner:
        return owner in (sender, message.get("from"))
    return sender != chat.peer and not (sender is None and message.get("from") in (None, chat.fields.get("name")))
