"""Imports a Telegram Desktop export (result.json, "Machine-readable JSON") through messaging-ingest.

python telegram_import.py result.json --connection tg_1 --dry-run

It takes the export of one chat or of the whole account. People, bots and groups become conversations,
channels and Saved Messages do not. Telegram's own ids are kept (telegram:user123, telegram:channel456, and
the number of a message in its chat), so the same export, or a later one, adds nothing twice. The participant
is the phone number where the export has a list of contacts with it, else that same id.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from threadline_client import ImporterError, add_arguments, deliver, read_text, report, run, sent_at

# How Telegram calls the peer of each kind of chat that is imported.
PEERS = {
    "personal_chat": "user",
    "bot_chat": "user",
    "private_group": "chat",
    "private_supergroup": "channel",
    "public_supergroup": "channel",
}
MEDIA_TYPES = {
    "sticker": "image",
    "animation": "video",
    "video_file": "video",
    "video_message": "video",
    "audio_file": "audio",
    "voice_message": "audio",
}
NOT_THERE = re.compile(r"\(File (?:not included|exceeds maximum size|unavailable)[^()]*\)$")


@dataclass
class Export:
    """What an export holds for the endpoint, what was left out on purpose, and what could not be read."""

    conversations: list[dict] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)


def load(text: str) -> dict:
    """Parse result.json, also where Telegram Desktop wrote what JSON does not allow."""
    try:
        export = json.loads(mend(text))
    except ValueError as problem:
        raise ImporterError(f"The file is not a whole result.json of Telegram: {problem}.") from problem
    if not isinstance(export, dict):
        raise ImporterError("The file is not a result.json of Telegram, which is one JSON object.")
    return export


def mend(text: str) -> str:
    r"""Repair two faults of the app: control characters as \x0B, and a document_id without quotes."""
    text = re.sub(r"(\\\\)|\\x([0-9A-F]{2})", lambda found: found[1] or rf"\u00{found[2]}", text)
    return re.sub(r'^( *"document_id": )([^"\n]+?)(,?)$', r'\1"\2"\3', text, flags=re.MULTILINE)


def parse(export: dict, *, me: str | None = None, only: str | None = None) -> Export:
    """Read an export; `me` is your id (user123) or name in groups, `only` the one chat to take."""
    chats = [chat for chat in _chats(export) if only in (None, str(chat.get("id")), chat.get("name"))]
    if not chats:
        raise ImporterError(
            f"The export has no chat with the name or id {only}." if only else "The export has no chat."
        )
    me = me or own_id(export)
    phones = _phones(export)
    found = Export()
    for chat in chats:
        if chat.get("type") not in PEERS:
            found.skipped[f"chats of type {chat.get('type')}"] += 1
            continue
        messages = list(_messages(chat, me, found))
        if messages:
            found.conversations.append(_conversation(chat, phones, messages))
        else:
            found.skipped["chats without a message"] += 1
    return found


def _chats(export: dict) -> list[dict]:
    if isinstance(export.get("messages"), list):
        return [export]
    lists = [export.get(name, {}).get("list", []) for name in ("chats", "left_chats")]
    return [chat for chats in lists for chat in chats]


def own_id(export: dict) -> str | None:
    """Find whose export this is: the personal information says it, or else any answer in a chat of two."""
    owner = export.get("personal_information", {}).get("user_id")
    if owner:
        return f"user{owner}"
    for chat in _chats(export):
        if PEERS.get(chat.get("type", "")) == "user":
            senders = (_sender(message) for message in chat.get("messages", []) if isinstance(message, dict))
            if answer := next((sender for sender in senders if sender not in (None, _peer(chat))), None):
                return answer
    return None


def _phones(export: dict) -> dict[str, str]:
    contacts = export.get("contacts", {}).get("list", [])
    return {
        f"user{contact['user_id']}": contact["phone_number"]
        for contact in contacts
        if contact.get("user_id") and contact.get("phone_number")
    }


def _peer(chat: dict) -> str:
    return f"{PEERS[chat['type']]}{chat['id']}"


def _sender(message: dict) -> str | None:
    sender = message.get("from_id")
    # Before 2021 it was a bare number.
    return f"user{sender}" if isinstance(sender, int) else sender


def _conversation(chat: dict, phones: dict[str, str], messages: list[dict]) -> dict:
    peer = _peer(chat)
    identifier = phones.get(peer, f"telegram:{peer}")
    return {
        "external_conversation_id": f"telegram:{peer}",
        "participant_identifier": identifier,
        # The name of a deleted account is null.
        "participant_name": chat.get("name") or identifier,
        "messages": messages,
    }


def _messages(chat: dict, me: str | None, found: Export) -> Iterator[dict]:
    seen: Counter[datetime] = Counter()
    for number, message in enumerate(chat.get("messages", []), 1):
        try:
            wire = _message(message, chat, me, seen)
        except (KeyError, ValueError, TypeError, AttributeError) as problem:
            where = f"message {number} of {chat.get('name')}"
            found.unreadable.append(f"{where} ({type(problem).__name__}: {problem})")
            continue
        if isinstance(wire, dict):
            yield wire
        else:
            found.skipped[wire] += 1


def _message(message: dict, chat: dict, me: str | None, seen: Counter[datetime]) -> dict | str:
    """Build a message as the endpoint takes it, or tell the reason to leave it out."""
    if message["type"] != "message":
        return f"{message['type']} messages"
    # "date" is a wall-clock time that does not say where; the first versions of the export had nothing else.
    sent = datetime.fromtimestamp(int(message["date_unixtime"]), UTC)
    kind, content = interpret(message)
    if not content:
        return "empty messages"
    return {
        "id": str(message["id"]),
        "direction": direction(message, chat, me),
        "type": kind,
        "content": content,
        "sent_at": sent_at(sent, seen),
        **_extras(message, in_group=PEERS[chat["type"]] != "user"),
    }


def direction(message: dict, chat: dict, me: str | None) -> str:
    """Tell whether it was received; in a chat of two, what the other side did not write is yours."""
    if PEERS[chat["type"]] == "user":
        return "inbound" if _sender(message) == _peer(chat) else "outbound"
    if me is None:
        raise ImporterError(f"Say who you are in {chat.get('name')} with --me, by name or id such as user123.")
    return "outbound" if me in (_sender(message), message.get("from")) else "inbound"


def interpret(message: dict) -> tuple[str, str]:
    """Tell a message's type and text; the text is empty if there is nothing to show."""
    text = flat(message.get("text", ""))
    if "photo" in message:
        return "image", text or _file_name(message, "photo") or "photo"
    if "file" in message:
        return _file(message, text)
    if "location_information" in message or "place_name" in message:
        return "location", text or _place(message)
    if contact := message.get("contact_information"):
        return "text", " ".join(("Contact:", *(part for part in contact.values() if part)))
    if poll := message.get("poll"):
        answers = " / ".join(flat(answer["text"]) for answer in poll["answers"])
        return "text", f"Poll: {flat(poll['question'])} ({answers})"
    return "text", text


def flat(text: str | list) -> str:
    """Flatten text with entities; a link behind words keeps its address."""
    if isinstance(text, str):
        return text
    parts = (part if isinstance(part, dict) else {"text": part} for part in text)
    return "".join(part["text"] + (f" ({part['href']})" if part.get("href") else "") for part in parts)


def _file(message: dict, text: str) -> tuple[str, str]:
    media_type, mime = message.get("media_type"), message.get("mime_type", "").partition("/")[0]
    kind = MEDIA_TYPES.get(media_type, mime if mime in ("image", "video", "audio") else "file")
    label = (media_type or "file").replace("_", " ")
    return kind, text or message.get("sticker_emoji") or _file_name(message, "file") or label


def _file_name(message: dict, key: str) -> str | None:
    """Find the name of an attached file; NOT_THERE stands where the export has left the file out."""
    path = message[key] or ""
    return message.get("file_name") or (None if NOT_THERE.search(path) else path.rpartition("/")[2] or None)


def _place(message: dict) -> str:
    point = message.get("location_information") or {}
    where = [message.get("place_name"), message.get("address")]
    if point:
        where.append(f"{point['latitude']},{point['longitude']}")
    return ", ".join(part for part in where if part)


def _extras(message: dict, *, in_group: bool) -> dict:
    attached = next((key for key in ("photo", "file") if key in message), None)
    extras = {
        "author": (message.get("from") or _sender(message)) if in_group else None,
        "file_name": _file_name(message, attached) if attached else None,
        "edited": "edited" in message,
        "reply_to": str(message.get("reply_to_message_id") or ""),
        "forwarded_from": message.get("forwarded_from"),
    }
    return {name: value for name, value in extras.items() if value}


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Import a Telegram Desktop export (result.json).")
    parser.add_argument("file", help="the exported result.json, of one chat or of the account")
    parser.add_argument("--me", metavar="NAME|ID", help="you, where the export of a group does not say it")
    parser.add_argument("--chat", metavar="NAME|ID", help="take only this chat of an account")
    add_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Import one export and answer the exit code."""
    arguments = arguments_of(argv)
    found = parse(load(read_text(arguments.file)), me=arguments.me, only=arguments.chat)
    report(found.conversations, found.skipped, found.unreadable)
    return deliver("telegram", found.conversations, arguments)


if __name__ == "__main__":
    sys.exit(run(main))
