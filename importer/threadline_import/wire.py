"""The one place that knows the fields of messaging-ingest."""

from __future__ import annotations

from datetime import UTC

from threadline_import.model import Conversation, Message

# Kinds of a reader that the contract has no type for.
TYPES = {"contact": "text", "poll": "text", "sticker": "image", "animation": "video"}
LONGEST = 500  # characters of an id or a name


def render_conversation(conversation: Conversation) -> dict[str, object]:
    """Build the fields of a conversation, without its messages."""
    return {
        "external_conversation_id": conversation.id[:LONGEST],
        "participant_identifier": conversation.participant[:LONGEST],
        "participant_name": conversation.name[:LONGEST],
    }


def render_message(message: Message) -> dict[str, object]:
    """Build a message; what the contract has no field for goes along and is kept."""
    if message.wire is not None:
        return message.wire
    at = message.at.astimezone(UTC)
    details = {"author": message.author, **message.details}
    if message.kind in TYPES:
        details["kind"] = message.kind
    return {
        **{name: value for name, value in details.items() if value},
        "id": message.id,
        "direction": "outbound" if message.is_mine else "inbound",
        "type": TYPES.get(message.kind, message.kind),
        "content": message.text,
        "sent_at": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
    }
