"""Reads files as the command does, and renders entries in a form that a person can write by hand."""

from pathlib import Path
from zoneinfo import ZoneInfo

from threadline_import.model import (
    Conversation,
    ImportRefusedError,
    LeftOut,
    Message,
    Options,
    Reader,
    Refusal,
    Update,
)
from threadline_import.readers import find_reader
from threadline_import.sources import Source

CASES = Path(__file__).parent / "cases"
UTC = ZoneInfo("UTC")
NUMBER = "+1 555 201 0001"


def shop(**said: object) -> Options:
    return Options(**{"me": "Shop", "participants": {None: NUMBER}, "zone": UTC, **said})


def read(path: Path, options: Options, reader: Reader | None = None) -> tuple[list, list[Conversation]]:
    """Return refusals and left-out chats, and conversations with their entries as lists."""
    source = Source(path)
    others, conversations = [], []
    for found in (reader or find_reader(source, None)).read(source, options):
        if isinstance(found, Refusal | LeftOut):
            others.append(found)
        else:
            conversations.append(
                Conversation(found.id, found.participant, found.name, list(found.entries), found.is_group)
            )
    return others, conversations


def lines(conversation: Conversation) -> list[str]:
    """One line per entry: `2024-03-27 21:41:35 < text: hello`, `- notices`, `~ edited` or `? line 3`."""
    return [line(entry) for entry in conversation.entries]


def line(entry: object) -> str:
    if isinstance(entry, Message):
        side = ">" if entry.is_mine else "<"
        said = entry.text.replace("\n", " / ")
        return f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} {side} {entry.kind}: {said}".rstrip()
    if isinstance(entry, Update):
        return f"~ {entry.kind}"
    return f"- {entry.kind}" if isinstance(entry, LeftOut) else f"? {entry.where}"


def refusal(path: Path, options: Options) -> str:
    """Return the reason for which the only conversation of a file is refused."""
    others, conversations = read(path, options)
    assert not conversations
    [found] = others
    return found.reason


def fields(entry: object) -> dict[str, object] | str:
    """Return the fields of a message that say something; the line of another entry."""
    if not isinstance(entry, Message):
        return line(entry)
    found = {
        "id": entry.id, "at": entry.at.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3], "mine": entry.is_mine,
        "kind": entry.kind, "text": entry.text, "author": entry.author, "sender": entry.sender,
        "reactions": [(one.by, one.emoji, one.at == entry.at) for one in entry.reactions],
        "file": entry.file and entry.file.name, **entry.details,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def refused(reader: Reader, path: Path, options: Options) -> str:
    """Return why a reader refuses a file or its only conversation."""
    try:
        others, conversations = read(path, options, reader)
    except ImportRefusedError as problem:
        return str(problem)
    assert not conversations
    return others[0].reason
