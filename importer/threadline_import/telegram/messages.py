"""Reads one message of an export: its kind, text, file, time, reactions and details."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from threadline_import.model import Options, Reaction
from threadline_import.wire import render_time

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


def find_sender(message: dict) -> str | None:
    """Return the id of the writer; None for a deleted account of an old export."""
    sender = message.get("from_id")
    # Before 2021 it was a bare number.
    return f"user{sender}" if isinstance(sender, int) else sender


def read_moment(message: dict, options: Options) -> datetime:
    """Return when it was sent."""
    if "date_unixtime" in message:
        return datetime.fromtimestamp(int(message["date_unixtime"]), UTC)
    # A wall-clock time that does not say where; the first versions of the export had nothing else.
    return datetime.fromisoformat(message["date"]).replace(tzinfo=options.zone)


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


def find_path(message: dict) -> str:
    """Return the path of an attached file; NOT_THERE stands where the export has left the file out."""
    path = str(message.get("photo") or message.get("file") or "")
    return "" if NOT_THERE.search(path) else path


def _file_name(message: dict) -> str | None:
    return message.get("file_name") or find_path(message).rpartition("/")[2] or None


def _place(message: dict) -> str:
    point = message.get("location_information") or {}
    where = [message.get("place_name"), message.get("address")]
    if point:
        where.append(f"{point['latitude']},{point['longitude']}")
    return ", ".join(part for part in where if part)


def read_details(message: dict, topics: dict[int, str]) -> dict[str, object]:
    """Return the optional fields of a message: file name, edit, reply, topic, forward, bot."""
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


def list_reactions(message: dict) -> Iterator[Reaction]:
    """Yield the reactions whose author and time the export has."""
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
