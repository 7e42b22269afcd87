"""Updates of the Telegram Bot API as conversations of an ingest request."""

from datetime import UTC, datetime
from typing import Any

TYPES = {"photo": "image", "voice": "audio", "video_note": "video", "animation": "video", "document": "file"}
TYPES |= {"venue": "location"} | {kind: kind for kind in ("audio", "video", "sticker", "location", "contact", "poll")}
MESSAGES = ("message", "edited_message", "business_message", "edited_business_message")
NOTICES = {
    "new_chat_title": "The title is now: {0}",
    "new_chat_members": "{0[0][first_name]} joined",
    "left_chat_member": "{0[first_name]} left",
    "migrate_to_chat_id": "The group is now the supergroup {0}",
}


def to_conversations(update: dict[str, Any], arrived_at: str) -> list[dict[str, Any]]:
    """Return the conversations of one update. Telegram does not say when messages were deleted."""
    if given := next((update[field] for field in MESSAGES if field in update), None):
        return [_conversation(given["chat"], **_read_message(given))]
    if reaction := update.get("message_reaction"):
        actor = reaction.get("user") or reaction["actor_chat"]
        emoji = [one.get("emoji") or one.get("custom_emoji_id") or one["type"] for one in reaction["new_reaction"]]
        known = {"message_id": str(reaction["message_id"]), "type": "reaction", "at": _time(reaction["date"])}
        return [_conversation(reaction["chat"], updates=[{**known, "emoji": emoji, "by": str(actor["id"])}])]
    if deleted := update.get("deleted_business_messages"):
        updates = [{"message_id": str(one), "type": "deleted", "at": arrived_at} for one in deleted["message_ids"]]
        return [_conversation(deleted["chat"], updates=updates)]
    return []


def _conversation(chat: dict[str, Any], **content: Any) -> dict[str, Any]:
    name = str(chat["id"])
    found = {"external_conversation_id": name, "participant_identifier": name, "messages": [], **content}
    if chat["type"] != "private":
        return {**found, "kind": "group", "title": chat.get("title")}
    found["participant_name"] = " ".join(chat[part] for part in ("first_name", "last_name") if part in chat)
    found["identifiers"] = [{"kind": "telegram_username", "value": chat["username"]}] if "username" in chat else []
    return found


def _read_message(given: dict[str, Any]) -> dict[str, Any]:
    chat, author = given["chat"], given.get("from") or given.get("sender_chat") or given["chat"]
    # In a private chat, the account of the bot wrote every message that the other side did not write.
    is_own = chat["type"] == "private" and author["id"] != chat["id"]
    sender = {} if chat["type"] == "private" else {"sender": str(author["id"]), "sender_name": author.get("first_name")}
    message = {"id": str(given["message_id"]), "direction": "outbound" if is_own else "inbound", **sender}
    message |= {"sequence": given["message_id"], "sent_at": _time(given["date"])}
    if pinned := given.get("pinned_message"):
        known = {"message_id": str(pinned["message_id"]), "type": "pinned", "at": _time(given["date"])}
        notice = {**message, "type": "system", "content": "A message was pinned"}
        return {"messages": [notice], "updates": [known]}
    notice = next((words.format(given[field]) for field, words in NOTICES.items() if field in given), None)
    kind = next((field for field in TYPES if field in given), "text")
    message["type"] = "system" if notice else TYPES.get(kind, "text")
    message["content"] = notice or given.get("text") or given.get("caption") or _description(given.get(kind))
    message |= {"reply_to": str(given["reply_to_message"]["message_id"])} if "reply_to_message" in given else {}
    message |= {"forwarded": True} if "forward_origin" in given else {}
    message |= {"edit_date": given["edit_date"]} if "edit_date" in given else {}
    file = given["photo"][-1] if "photo" in given else given.get(kind)
    message |= {"media_id": file["file_id"]} if kind != "text" and "file_id" in file else {}
    moved = [(one, "joined") for one in given.get("new_chat_members", [])]
    moved += [(given["left_chat_member"], "left")] if "left_chat_member" in given else []
    known = {"at": message["sent_at"]}
    people = [
        {"identifier": str(one["id"]), "name": one["first_name"], "state": state, **known} for one, state in moved
    ]
    return {"messages": [message], **({"participants": people} if people else {})}


def _description(body: Any) -> str:
    body = body if isinstance(body, dict) else {}
    if "latitude" in body:
        return f"{body['latitude']},{body['longitude']}"
    words = [body.get(field) for field in ("title", "question", "first_name", "phone_number", "emoji", "file_name")]
    return " ".join(one for one in words if one)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
