"""Webhooks of Evolution API, which passes on what Baileys reports, as conversations of an ingest request."""

from datetime import UTC, datetime
from typing import Any

TYPES = {f"{kind}Message": kind for kind in ("image", "audio", "video", "sticker", "location", "contact")}
TYPES |= {"documentMessage": "file", "pollCreationMessageV3": "poll"}
STATES = {"DELIVERY_ACK": "delivered", "READ": "read", "PLAYED": "played", "ERROR": "failed", "DELETED": "deleted"}
WRAPPED = ("ephemeralMessage", "viewOnceMessageV2", "documentWithCaptionMessage")


def to_conversations(webhook: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the conversations of one webhook, whatever it reports."""
    data, at = webhook["data"] if isinstance(webhook["data"], list) else [webhook["data"]], webhook["date_time"]
    match webhook["event"]:
        case "messages.upsert":
            return [_conversation(one["key"], one, **_read_message(one)) for one in data]
        case "messages.update" | "messages.delete":
            known = [(one, STATES[one["status"]]) for one in data if one["status"] in STATES]
            return [_conversation(one, **_update(one, kind, at)) for one, kind in known]
        case "messages.edited":
            return [_conversation(one["key"], **_read_protocol(one)) for one in data]
        case "groups.upsert" | "groups.update":
            return [_conversation({"remoteJid": one["id"]}, title=one.get("subject")) for one in data]
        case "group-participants.update":
            known = {"state": "left" if data[0]["action"] == "remove" else "joined", "at": at}
            people = [{"identifier": one, **known} for one in data[0]["participants"]]
            return [_conversation({"remoteJid": data[0]["id"]}, participants=people)]
    return []


def _conversation(key: dict[str, Any], given: dict[str, Any] | None = None, **content: Any) -> dict[str, Any]:
    # The number first: with it, a chat keeps its name when WhatsApp begins to send a LID.
    name, *lids = sorted({key["remoteJid"], key.get("remoteJidAlt") or key["remoteJid"]}, key=lambda one: "@lid" in one)
    found = {"external_conversation_id": name, "participant_identifier": name, "messages": [], **content}
    if name.endswith("@g.us"):
        return {**found, "kind": "group"}
    found["identifiers"] = [{"kind": "whatsapp_lid", "value": one} for one in lids]
    return {**found, "participant_name": given.get("pushName") if given and not key["fromMe"] else None}


def _read_message(given: dict[str, Any]) -> dict[str, Any]:
    key, sent = given["key"], given["message"]
    body = next((sent[one]["message"] for one in WRAPPED if one in sent), sent)
    at = datetime.fromtimestamp(int(given["messageTimestamp"]), UTC).isoformat()
    if "protocolMessage" in body:
        return _read_protocol(body["protocolMessage"], at)
    if reaction := body.get("reactionMessage"):
        by = "me" if key["fromMe"] else key.get("participant") or key["remoteJid"]
        return _update(reaction["key"], "reaction", at, by=by, emoji=reaction["text"] or None)
    if pin := body.get("pinInChatMessage"):
        return _update(pin["key"], "pinned" if pin["type"] in (1, "PIN_FOR_ALL") else "unpinned", at)
    kind = next((one for one in TYPES if one in body), None)
    message = {"id": key["id"], "direction": "outbound" if key["fromMe"] else "inbound", "sent_at": at, **_sender(key)}
    if answered := body.get(kind or "extendedTextMessage", {}).get("contextInfo", {}).get("stanzaId"):
        message["reply_to"] = answered
    media = {"media_url": body["mediaUrl"]} if "mediaUrl" in body else {}
    return {"messages": [{**message, **media, "type": TYPES.get(kind or "", "text"), "content": _text(body)}]}


def _read_protocol(given: dict[str, Any], at: str = "") -> dict[str, Any]:
    if given["type"] in (0, "REVOKE"):
        return _update(given["key"], "deleted", at)
    at = datetime.fromtimestamp(int(given["timestampMs"]) / 1000, UTC).isoformat()
    return _update(given["key"], "edited", at, content=_text(given["editedMessage"]))


def _text(body: dict[str, Any]) -> str:
    found = next((body[one] for one in (*TYPES, "extendedTextMessage") if one in body), body)
    words = (found.get(one) for one in ("conversation", "text", "caption", "displayName", "fileName", "name"))
    return next(filter(None, words), "")


def _update(key: dict[str, Any], kind: str, at: str, **fields: Any) -> dict[str, Any]:
    name = key.get("keyId") or key["id"]
    return {"updates": [{"message_id": name, "type": kind, "at": at, **_sender(key), **fields}]}


def _sender(key: dict[str, Any]) -> dict[str, str]:
    return {"sender": key["participant"]} if key.get("participant") and not key.get("fromMe") else {}
