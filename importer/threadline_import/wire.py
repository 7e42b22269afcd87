"""The one place that knows the fields of messaging-ingest."""

from __future__ import annotations

from datetime import UTC, datetime

from threadline_import.model import Conversation, Message, Update

TYPES = {"animation": "video"}  # kinds of a reader that the contract has no type for
LONGEST = 500  # characters of an id or a name


def render_conversation(conversation: Conversation) -> dict[str, object]:
    """Build the fields of a conversation, without its messages."""
    group = {"kind": "group", "title": conversation.name[:LONGEST]} if conversation.is_group else {}
    return {
        "external_conversation_id": conversation.id[:LONGEST],
        "participant_identifier": conversation.participant[:LONGEST],
        "participant_name": conversation.name[:LONGEST],
        **group,
    }


def render_message(message: Message) -> dict[str, object]:
    """Build a message; what the contract has no field for goes along and is kept."""
    if message.wire is not None:
        return message.wire
    details = {"author": message.author, "sender": message.sender, **message.details}
    return {
        **{name: value for name, value in details.items() if value},
        "id": message.id,
        "direction": "outbound" if message.is_mine else "inbound",
        "type": TYPES.get(message.kind, message.kind),
        "content": message.text,
        "sent_at": render_time(message.at),
    }


def render_updates(message: Message) -> list[dict[str, object]]:
    """Build the updates of a message: one reaction for each person, with all emojis of that person."""
    emojis: dict[str, list[str]] = {}
    times: dict[str, datetime] = {}
    for reaction in message.reactions:
        emojis.setdefault(reaction.by, []).append(reaction.emoji)
        times[reaction.by] = max(times.get(reaction.by, reaction.at), reaction.at)
    sender = {"sender": message.sender} if message.sender else {}
    return [
        {"message_id": message.id, **sender, "type": "reaction", "at": render_time(times[by]), "by": by, "emoji": given}
        for by, given in emojis.items()
    ]


def render_update(update: Update) -> dict[str, object]:
    """Build an update that the file has apart from its message."""
    return {"message_id": update.message_id, "type": update.kind, "at": render_time(update.at), **update.fields}


def render_time(moment: datetime) -> str:
    """Return a moment in UTC with milliseconds."""
    at = moment.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
