"""Pushes of WeChat official accounts, and the chat archive of WeCom, as conversations of an ingest request."""

import re
from datetime import UTC, datetime
from typing import Any

TYPES = {"voice": "audio", "shortvideo": "video", "card": "contact", "emotion": "sticker", "vote": "poll"}
TYPES |= {kind: kind for kind in ("image", "video", "file", "location")}
FIELD = re.compile(r"<(\w+)>(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))</\1>", re.DOTALL)


def to_conversations(push: str, app: str) -> list[dict[str, Any]]:
    """Return the conversations of one push to an official account. app is its AppID, within which openids are valid."""
    given = {field: cdata or text for field, cdata, text in FIELD.findall(push)}
    at = _time(int(given["CreateTime"]))
    found = {"external_conversation_id": f"{app}:{given['FromUserName']}", "messages": []}
    found["participant_identifier"] = given["FromUserName"]
    found["identifiers"] = [{"kind": "wechat_openid", "value": given["FromUserName"], "app": app}]
    if given["MsgType"] != "event":
        return [{**found, "messages": [_read_push(given, at)]}]
    event = given["Event"]
    if event == "TEMPLATESENDJOBFINISH":
        is_sent = given["Status"] == "success"
        reason = {} if is_sent else {"reason": given["Status"]}
        known = {"message_id": given["MsgID"], "type": "delivered" if is_sent else "failed", "at": at, **reason}
        return [{**found, "updates": [known]}]
    if event in ("subscribe", "unsubscribe"):
        # Events have no id; sender and time identify them, as the documentation says.
        notice = {"id": f"{given['FromUserName']}{given['CreateTime']}", "direction": "inbound", "type": "system"}
        return [{**found, "messages": [{**notice, "content": f"{event}d", "sent_at": at}]}]
    return []


def _read_push(given: dict[str, str], at: str) -> dict[str, Any]:
    words = ("Content", "Recognition", "Label", "Title")
    message = {"id": given["MsgId"], "direction": "inbound", "type": TYPES.get(given["MsgType"], "text"), "sent_at": at}
    message["content"] = next((given[field] for field in words if given.get(field)), "")
    if "Url" in given:
        message["content"] += f" {given['Url']}"
    if "MediaId" in given:
        # Fetch it with the access token within three days and store it.
        message["media_id"] = given["MediaId"]
    return message | ({"media_url": given["PicUrl"]} if "PicUrl" in given else {})


def archive_to_conversations(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the conversation of one decrypted entry of the chat archive, with groups and recalled messages."""
    if given["action"] == "switch":
        return []
    # People outside the company have ids that begin with wm or wo.
    people = [given["from"], *given["tolist"]]
    outside = next((one for one in people if one.startswith(("wm", "wo"))), people[-1])
    name = given["roomid"] or outside
    found = {"external_conversation_id": name, "participant_identifier": name, "messages": []}
    at, kind = _time(given["msgtime"] / 1000), given["msgtype"]
    if given["roomid"]:
        # A message goes to all who are in the group. The archive does not say who left.
        found |= {"kind": "group", "participants": [{"identifier": one, "at": at} for one in people]}
    sender = {"sender": given["from"]} if given["roomid"] else {}
    if given["action"] == "recall":
        update = {"message_id": given["revoke"]["pre_msgid"], "type": "deleted", "at": at, **sender}
        return [{**found, "updates": [update]}]
    message = {"id": given["msgid"], "direction": "inbound" if given["from"] == outside else "outbound", "sent_at": at}
    if given["roomid"]:
        message["direction"] = "inbound" if given["from"].startswith(("wm", "wo")) else "outbound"
    body = given.get(kind) or {}
    words = (body.get(field) for field in ("content", "filename", "title", "address", "corpname", "link_url"))
    message |= {"type": TYPES.get(kind, "text"), "content": next(filter(None, words), ""), **sender}
    return [{**found, "messages": [message | ({"media_id": body["sdkfileid"]} if "sdkfileid" in body else {})]}]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
