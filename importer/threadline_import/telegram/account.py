"""Reads an export once, before its messages: its chats, its writers and its owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from threadline_import.jsonstream import BrokenJSONError, JSONStream
from threadline_import.model import ImportRefusedError
from threadline_import.sources import Source
from threadline_import.telegram.messages import find_sender

# How Telegram calls the peer of each kind of chat that is imported.
PEERS = {
    "personal_chat": "user",
    "bot_chat": "user",
    "private_group": "chat",
    "private_supergroup": "channel",
    "public_supergroup": "channel",
}


@dataclass
class Chat:
    """What a first pass learns about a chat."""

    place: int
    fields: dict[str, object] = field(default_factory=dict)
    senders: dict[str, str] = field(default_factory=dict)  # id: name
    has_old_dates: bool = False

    @property
    def peer(self) -> str:
        """Return the id of the other side, or of the group; only chats of PEERS have one."""
        return f"{PEERS[str(self.fields.get('type'))]}{self.fields.get('id')}"

    @property
    def name(self) -> str:
        """Return its name; the name of a group may be empty."""
        return str(self.fields.get("name") or ("Deleted account" if not self.is_group else ""))

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


def read_account(source: Source) -> Account:
    """Read an export once: its chats, its writers and its owner."""
    account = Account()
    chat = Chat(0)
    with _document(source) as stream:
        for key in stream.members():
            if key == "messages" and stream.peek() == "[":
                _read_writers(chat, stream)
                account.chats.append(chat)
            elif key in ("chats", "left_chats") and stream.peek() == "{":
                for inner in stream.members():
                    if inner == "list" and stream.peek() == "[":
                        _read_chats(account, stream)
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


def _read_chats(account: Account, stream: JSONStream) -> None:
    for _ in stream.places():
        chat = Chat(len(account.chats))
        for key in stream.members():
            if key == "messages" and stream.peek() == "[":
                _read_writers(chat, stream)
            elif stream.peek() in "[{":
                stream.skip()
            else:
                chat.fields[key] = stream.value()
        account.chats.append(chat)


def _read_writers(chat: Chat, stream: JSONStream) -> None:
    for message in stream.items():
        if not isinstance(message, dict):
            continue
        if message.get("type") != "message":
            continue
        if sender := find_sender(message):
            chat.senders.setdefault(sender, str(message.get("from") or "deleted account"))
        elif not chat.senders:
            chat.senders["unknown"] = str(message.get("from") or "deleted account")
        chat.has_old_dates = chat.has_old_dates or "date_unixtime" not in message


def message_lists(source: Source) -> Iterator[tuple[int, JSONStream]]:
    """Stop at each list of messages, in the order of `read_account`; the caller reads or skips it."""
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
        with source.open_text(has_lines=False) as file:
            yield JSONStream(file)
    except BrokenJSONError as problem:
        raise ImportRefusedError(
            f"{source} is not a whole result.json of Telegram: {problem}. Export again."
        ) from problem
    except UnicodeDecodeError as problem:
        raise ImportRefusedError(f"{source} is not UTF-8 text, so it is not an export as it was saved.") from problem


def guess_owner(account: Account) -> str | None:
    """Find the owner of an export: in a chat of two, the other sender is the owner."""
    for chat in account.chats:
        if not chat.is_group:
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
