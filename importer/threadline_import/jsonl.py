"""Reads Threadline's own export of a conversation back in: one message per line, as it was ingested."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from threadline_import.jsonstream import parse
from threadline_import.model import Conversation, ImportRefusedError, LeftOut, Message, Options, Refusal, Unreadable
from threadline_import.sources import Source

FIELDS = {"id", "direction", "type", "content", "sent_at"}
TYPES = {
    "text",
    "image",
    "audio",
    "video",
    "file",
    "location",
    "sticker",
    "contact",
    "poll",
    "call",
    "system",
}


class JSONLines:
    """Reads one conversation per file. The export does not hold its platform, id and participant."""

    title = "Threadline export"
    platform = ""  # the user says it with --platform

    def recognizes(self, source: Source) -> bool:
        """Check whether the first line is a message of messaging-ingest."""
        try:
            first = parse(source.head().lstrip().split("\n")[0])
        except ValueError:
            return False
        return isinstance(first, dict) and first.keys() >= FIELDS

    def read(self, source: Source, options: Options) -> Iterator[Conversation | Refusal]:
        """Yield the conversation of a file."""
        if not options.conversation or len(options.participants) != 1:
            raise ImportRefusedError(
                "An export of Threadline holds messages only. Say which conversation it is with --conversation (its "
                'external_conversation_id) and --participant "NAME=IDENTIFIER".'
            )
        [(name, participant)] = options.participants.items()
        yield Conversation(options.conversation, participant, name or "", _entries(source))


def _entries(source: Source) -> Iterator[Message | LeftOut | Unreadable]:
    with source.open_text() as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield _message(parse(line))
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                yield Unreadable(f"line {number}", f"{line.strip()[:80]} ({problem})")


def _message(wire: dict) -> Message | LeftOut:
    if wire.get("deleted"):
        return LeftOut("deleted messages")
    if wire["direction"] not in ("inbound", "outbound") or wire["type"] not in TYPES:
        raise ValueError("direction or type is unknown")
    at = datetime.fromisoformat(wire["sent_at"])
    return Message(
        id=wire["id"],
        at=at if at.tzinfo else at.replace(tzinfo=UTC),
        is_mine=wire["direction"] == "outbound",
        kind=wire["type"],
        text=wire["content"],
        wire=wire,
    )
