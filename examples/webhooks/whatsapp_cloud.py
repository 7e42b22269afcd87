"""Webhooks of the WhatsApp Cloud API as conversations of an ingest request."""

from datetime import UTC, datetime
from typing import Any

Fields = dict[str, Any]
TYPES = {"document": "file", "contacts": "contact", "audio": "audio", "video": "video", "system": "system"}
STATES = ("delivered", "read", "played", "failed")
MOVES = {"group_participants_add": "joined", "group_participants_remove": "left"}
TYPES |= {"image": "image", "sticker": "sticker", "location": "location"}


def to_conversations(webhook: Fields) -> list[Fields]:
    """Return the conversations of one webhook, whatever it reports."""
    return [one for entry in webhook["entry"] for change in entry["changes"] for one in _read_change(change["value"])]


def _read_change(value: Fields) -> list[Fields]:
    found = []
    for given in value.get("messages", []):
        found.append(_conversation(given, value, given.get("from"), given.get("from_user_id"), **_read_message(given)))
        if given["type"] == "system" and (new := given["system"].get("wa_id") or given["system"].get("user_id")):
            # A user with a new number goes on in the same conversation.
            found.append({**_conversation({}, value, new), "continues": given["from"]})
    for given in value.get("message_echoes", []):
        found += [_conversation(given, value, given["to"], **_read_message(given, "outbound"))]
    for given in [one for one in value.get("groups", []) if one["type"] in MOVES]:
        known = {"state": MOVES[given["type"]], "at": _time(given)}
        moved = given.get("added_participants") or given.get("removed_participants") or []
        people = [{"identifier": one.get("wa_id") or one["input"], **known} for one in moved]
        found.append(_conversation(given, value, participants=people))
    for given in [one for one in value.get("statuses", []) if one["status"] in STATES]:
        group = {"group_id": given["recipient_id"]} if given.get("recipient_type") == "group" else {}
        update = {"message_id": given["id"], "type": given["status"], "at": _time(given)}
        update |= {"by": given["recipient_participant_id"]} if "recipient_participant_id" in given else {}
        update |= {"reason": "{code}: {title}".format(**given["errors"][0])} if "errors" in given else {}
        ids = [given.get("recipient_id"), given.get("recipient_user_id")]
        found.append(_conversation(group, value, *ids, updates=[update]))
    return found


def _conversation(given: Fields, value: Fields, number: Any = None, user_id: Any = None, **content: Any) -> Fields:
    name = given.get("group_id") or number or user_id
    known = {"external_conversation_id": name, "participant_identifier": name, "messages": [], **content}
    if "group_id" in given:
        return {**known, "kind": "group"}
    names = [one["profile"]["name"] for one in value.get("contacts", []) if one.get("wa_id") == number]
    known |= {"identifiers": [{"kind": "whatsapp_bsuid", "value": user_id}]} if user_id else {}
    return {**known, "participant_name": names[0] if names else None}


def _read_message(given: Fields, direction: str = "inbound") -> Fields:
    kind, at = given["type"], _time(given)
    sender = {"sender": given["from"]} if "group_id" in given else {}
    if kind == "reaction":
        update = {"message_id": given["reaction"]["message_id"], "type": "reaction", "at": at, "by": given["from"]}
        return {"updates": [{**update, "emoji": given["reaction"].get("emoji") or None}]}
    if kind in ("edit", "revoke"):
        update = {"message_id": given[kind]["original_message_id"], "at": at, **sender}
        edited = {"content": _text(given["edit"]["message"])} if kind == "edit" else {}
        return {"updates": [{**update, "type": "edited" if edited else "deleted", **edited}]}
    message = {"id": given["id"], "direction": direction, "type": TYPES.get(kind, "text"), "content": _text(given)}
    message |= {"reply_to": given["context"]["id"]} if "id" in given.get("context", {}) else {}
    # The Graph API gives a URL for it, which lives five minutes: fetch the file and store it.
    message |= {"media_id": given[kind]["id"]} if "id" in given[kind] else {}
    return {"messages": [{**message, "sent_at": at, **sender}]}


def _text(given: Fields) -> str:
    body = given.get(given["type"]) or {}
    if isinstance(body, list):
        return ", ".join(f"{one['name']['formatted_name']} {one['phones'][0]['phone']}" for one in body)
    place = f"{body['latitude']},{body['longitude']}" if "latitude" in body else ""
    chosen = body.get("button_reply") or body.get("list_reply") or {}
    return next((body[one] for one in ("body", "caption", "text", "name") if body.get(one)), chosen.get("title", place))


def _time(given: Fields) -> str:
    return datetime.fromtimestamp(int(given["timestamp"]), UTC).isoformat()
