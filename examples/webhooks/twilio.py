"""Webhooks of Twilio (Programmable Messaging and Conversations) as conversations of an ingest request."""

import json
from typing import Any

KINDS = {"image": "image", "audio": "audio", "video": "video"}
ENDED = {"delivered": "delivered", "read": "read", "failed": "failed", "undelivered": "failed"}


def to_conversations(form: dict[str, str], arrived_at: str) -> list[dict[str, Any]]:
    """Return the conversations of the form fields of one webhook. Programmable Messaging sends no times."""
    if form.get("EventType", "").startswith("on"):
        return _read_event(form)
    if "MessageStatus" in form:
        return [_conversation(form["To"], updates=_receipts(form, form["MessageStatus"], arrived_at))]
    name = {"participant_name": form["ProfileName"]} if "ProfileName" in form else {}
    return [_conversation(form["From"], messages=_read_messages(form, arrived_at), **name)]


def _conversation(address: str, **fields: Any) -> dict[str, Any]:
    return {"external_conversation_id": address, "participant_identifier": address, "messages": [], **fields}


def _receipts(form: dict[str, str], status: str, at: str) -> list[dict[str, Any]]:
    if status not in ENDED:
        return []
    # On the web, ErrorMessage stands beside ErrorCode only for some channels.
    words = [form[field] for field in ("ErrorCode", "ErrorMessage") if form.get(field, "0") != "0"]
    reason = {"reason": ": ".join(words)} if words else {}
    return [{"message_id": form["MessageSid"], "type": ENDED[status], "at": at, **reason}]


def _read_messages(form: dict[str, str], at: str) -> list[dict[str, Any]]:
    first = {"id": form["MessageSid"], "direction": "inbound", "type": "text", "content": form.get("Body", "")}
    first["sent_at"] = at
    first |= {"reply_to": form["OriginalRepliedMessageSid"]} if "OriginalRepliedMessageSid" in form else {}
    first |= {"forwarded": True} if form.get("Forwarded") == "true" else {}
    if "Latitude" in form:
        place = form.get("Label") or form.get("Address") or f"{form['Latitude']},{form['Longitude']}"
        return [{**first, "type": "location", "content": place}]
    files = [
        {"type": _kind(form[f"MediaContentType{place}"]), "media_url": form[f"MediaUrl{place}"]}
        for place in range(int(form.get("NumMedia", "0")))
    ]
    further = [{**first, "id": f"{first['id']}/{place}", "content": ""} for place in range(1, len(files))]
    return [message | file for message, file in zip([first, *further], files or [{}], strict=True)]


def _kind(content_type: str) -> str:
    return "contact" if "vcard" in content_type else KINDS.get(content_type.partition("/")[0], "file")


def _read_event(form: dict[str, str]) -> list[dict[str, Any]]:
    """Read an event of Twilio Conversations, where several people may write, and messages change."""
    name = form["ConversationSid"]
    conversation = {**_conversation(name), "kind": "group"}
    match form["EventType"]:
        case "onConversationUpdated":
            return [{**conversation, "title": form["FriendlyName"]}]
        case "onMessageAdded":
            given = {"id": form["MessageSid"], "content": form.get("Body", ""), "sent_at": form["DateCreated"]}
            # Addresses have a plus sign; identities of our own users have none.
            given |= {"direction": "inbound" if "+" in form["Author"] else "outbound", "sender": form["Author"]}
            given |= {"sequence": int(form["Index"]), "type": "text"}
            for file in json.loads(form.get("Media", "[]"))[:1]:
                given |= {"type": _kind(file["ContentType"]), "media_id": file["Sid"]}
            return [{**conversation, "messages": [given]}]
        case "onMessageUpdated" | "onMessageRemoved" as event:
            known = {"message_id": form["MessageSid"], "sender": form["Author"], "at": form["DateUpdated"]}
            change = {"type": "edited", "content": form["Body"]} if event == "onMessageUpdated" else {"type": "deleted"}
            return [{**conversation, "updates": [known | change]}]
        case "onParticipantAdded" | "onParticipantRemoved":
            known = {"identifier": form.get("MessagingBinding.Address") or form["Identity"]}
            known |= (
                {"state": "left", "at": form["DateRemoved"]} if "DateRemoved" in form else {"at": form["DateCreated"]}
            )
            return [{**conversation, "participants": [known]}]
        case "onDeliveryUpdated":
            return [{**conversation, "updates": _receipts(form, form["Status"], form["DateUpdated"])}]
    return []
