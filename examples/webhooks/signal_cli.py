"""Notifications of signal-cli (JSON-RPC, method receive) as conversations of an ingest request."""

from datetime import UTC, datetime
from typing import Any

KINDS = {"image": "image", "audio": "audio", "video": "video"}


def to_conversations(notification: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the conversations of one notification, whatever it reports."""
    envelope = notification["params"]["envelope"]
    other = {"number": envelope.get("sourceNumber"), "uuid": envelope["sourceUuid"], "name": envelope.get("sourceName")}
    if receipt := envelope.get("receiptMessage"):
        # A receipt names only times, so a receipt for a group message finds no message here, and waits.
        kind = "delivered" if receipt["isDelivery"] else "read" if receipt["isRead"] else "played"
        known = {"type": kind, "at": _time(receipt["when"])}
        return [_conversation(other, {}, updates=[{"message_id": str(one), **known} for one in receipt["timestamps"]])]
    if "offerMessage" in (envelope.get("callMessage") or {}):
        call = _head(envelope["timestamp"], "inbound") | {"type": "call", "content": ""}
        return [_conversation(other, {}, messages=[call])]
    if sent := (envelope.get("syncMessage") or {}).get("sentMessage"):
        other = {"number": sent.get("destinationNumber"), "uuid": sent.get("destinationUuid")}
    edit = (sent or envelope).get("editMessage")
    data = edit["dataMessage"] if edit else sent or envelope.get("dataMessage")
    content = _read_data(data, edit, envelope["sourceUuid"], "outbound" if sent else "inbound") if data else {}
    return [_conversation(other, data.get("groupInfo"), **content)] if data else []


def _conversation(other: dict[str, Any], group: dict[str, Any] | None, **content: Any) -> dict[str, Any]:
    if group:
        # signal-cli says that a group changed, and not who came or left: the participants are those who write.
        phones = [{"kind": "phone", "value": other["number"]}] if other["number"] else []
        person = {"identifier": other["uuid"], "name": other.get("name"), "identifiers": phones}
        named = {"external_conversation_id": group["groupId"], "participant_identifier": group["groupId"]}
        named |= {"kind": "group", "title": group.get("groupName"), "participants": [person] if "name" in other else []}
        return {**named, "messages": [], **content}
    # The uuid stays when the number changes.
    known = {"external_conversation_id": other["uuid"], "participant_identifier": other["number"] or other["uuid"]}
    known |= {"identifiers": [{"kind": "signal_uuid", "value": other["uuid"]}], "participant_name": other.get("name")}
    return {**known, "messages": [], **content}


def _read_data(data: dict[str, Any], edit: dict[str, Any] | None, author: str, direction: str) -> dict[str, Any]:
    is_group, at = "groupInfo" in data, _time(data["timestamp"])
    sender = {"sender": author} if is_group else {}
    if edit:
        known = {"message_id": str(edit["targetSentTimestamp"]), "type": "edited", "at": at, **sender}
        return {"updates": [{**known, "content": data.get("message") or ""}]}
    if reaction := data.get("reaction"):
        target = {"sender": reaction["targetAuthorUuid"]} if is_group else {}
        known = {"message_id": str(reaction["targetSentTimestamp"]), "type": "reaction", "at": at, "by": author}
        return {"updates": [{**known, **target, "emoji": None if reaction["isRemove"] else reaction["emoji"]}]}
    if deletion := data.get("remoteDelete"):
        return {"updates": [{"message_id": str(deletion["timestamp"]), "type": "deleted", "at": at, **sender}]}
    head = {**_head(data["timestamp"], direction), **sender}
    if is_group and data["groupInfo"]["type"] == "UPDATE" and not data.get("message"):
        return {"messages": [{**head, "type": "system", "content": "The group changed"}]}
    files = data.get("attachments") or []
    names = ", ".join(one["name"]["display"] for one in data.get("contacts", []))
    first = {"type": _kind(data, files), "content": data.get("message") or names, **head}
    first |= {"reply_to": str(data["quote"]["id"])} if "quote" in data else {}
    further = [
        {**first, "id": f"{first['id']}/{place}", "content": "", "type": _kind({}, [file]), "media_id": file["id"]}
        for place, file in enumerate(files[1:], 1)
    ]
    return {"messages": [first | ({"media_id": files[0]["id"]} if files else {}), *further]}


def _kind(data: dict[str, Any], files: list[dict[str, Any]]) -> str:
    named = "sticker" if "sticker" in data else "contact" if "contacts" in data else "text"
    return KINDS.get(files[0]["contentType"].partition("/")[0], "file") if files and named == "text" else named


def _head(timestamp: int, direction: str) -> dict[str, Any]:
    return {"id": str(timestamp), "direction": direction, "sent_at": _time(timestamp)}


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat()
