"""Reads the lines of `signal-cli --output=json receive`, versions 0.11 to 0.14; one file holds many conversations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from threadline_import.media import kind_of_type
from threadline_import.model import Conversation, LeftOut, Message, Options, Unreadable, Update
from threadline_import.order import Spread
from threadline_import.rows import first_value, from_unix, json_lines
from threadline_import.signal import Attachment, with_attachments
from threadline_import.sources import Source

Entry = Message | Update | LeftOut | Unreadable
OTHERS = "receipts, typing and other envelopes"


class SignalCli:
    """Reads one envelope per line, also as the JSON-RPC mode writes it."""

    title = "signal-cli (JSON lines)"
    platform = "signal"

    def recognizes(self, source: Source) -> bool:
        """Check for an envelope in the first line."""
        first = first_value(source)
        return isinstance(first, dict) and _envelope(first) is not None

    def read(self, source: Source, options: Options) -> Iterator[Conversation | LeftOut]:  # noqa: ARG002
        """Yield one conversation per number, uuid or group; each is a pass over the file."""
        found: dict[str, tuple[str, str]] = {}
        left_out = 0
        unreadable: list[Unreadable] = []
        for row in json_lines(source):
            if isinstance(row, Unreadable):
                unreadable.append(row)
                continue
            peer = _peer(_envelope(row[1]))
            if peer is None:
                left_out += 1
            elif peer[0] not in found or not found[peer[0]][1]:
                found[peer[0]] = peer[1:]
        for _ in range(left_out):
            yield LeftOut(OTHERS)
        for identity, (participant, name) in found.items():
            entries = self._entries(source, identity, unreadable if identity == next(iter(found)) else [])
            yield Conversation(f"signal:{identity}", participant, name, entries, identity.startswith("group:"))

    def _entries(self, source: Source, identity: str, unreadable: list[Unreadable]) -> Iterator[Entry]:
        yield from unreadable
        spread = Spread()
        for row in json_lines(source):
            if isinstance(row, Unreadable):
                continue
            envelope = _envelope(row[1])
            peer = _peer(envelope)
            if envelope and peer and peer[0] == identity:
                try:
                    yield from _read_envelope(envelope, spread)
                except (KeyError, ValueError, TypeError, AttributeError) as problem:
                    yield Unreadable(f"line {row[0]}", f"{type(problem).__name__}: {problem}")


def _read_envelope(envelope: dict, spread: Spread) -> Iterator[Entry]:
    data, edits, is_mine = _content(envelope)
    source = _address(envelope, "source")
    at = from_unix(data["timestamp"])
    if edits:
        yield Update(f"{source}-{edits}", "edited", at, {"content": data.get("message") or ""})
    elif update := _update(data, source, at):
        yield update
    elif any(data.get(kind) for kind in ("pollVote", "pollTerminate", "pinMessage", "unpinMessage", "payment")):
        yield LeftOut("votes, pins and payments")
    else:
        attachments = [
            Attachment(kind_of_type(one.get("contentType")), one.get("filename"))
            for one in data.get("attachments") or []
        ]
        kind, text = _say(data)
        if kind == "text" and not text and not attachments:
            yield LeftOut("empty messages")
            return
        quote = data.get("quote") or {}
        message = Message(
            id=f"{source}-{data['timestamp']}",
            at=spread.apart(at),
            is_mine=is_mine,
            kind=kind,
            text=text,
            author=(envelope.get("sourceName") or source) if data.get("groupInfo") else None,
            details={"reply_to": f"{_address(quote, 'author')}-{quote['id']}" if quote.get("id") else None},
        )
        yield from with_attachments(message, attachments)


def _update(data: dict, source: str, at: datetime) -> Update | None:
    if reaction := data.get("reaction"):
        target = f"{_address(reaction, 'targetAuthor')}-{reaction['targetSentTimestamp']}"
        emoji = None if reaction.get("isRemove") else reaction["emoji"]
        return Update(target, "reaction", at, {"emoji": emoji, "by": source})
    if deleted := data.get("remoteDelete"):
        return Update(f"{source}-{deleted['timestamp']}", "deleted", at)
    if deleted := data.get("adminDelete"):
        target = f"{_address(deleted, 'targetAuthor')}-{deleted['targetSentTimestamp']}"
        return Update(target, "deleted", at)
    return None


def _say(data: dict) -> tuple[str, str]:
    text = data.get("message") or ""
    if data.get("sticker"):
        return "sticker", text
    if poll := data.get("pollCreate"):
        return "poll", f"Poll: {poll['question']} ({' / '.join(poll.get('options') or [])})"
    if contacts := data.get("contacts"):
        names = (contact.get("name") or {} for contact in contacts)
        return "contact", text or ", ".join(
            " ".join(str(name[part]) for part in ("given", "family") if name.get(part)) for name in names
        )
    return "text", text


def _address(fields: dict, name: str) -> str:
    found = fields.get(f"{name}Number") or fields.get(f"{name}Uuid") or fields.get(name)
    return str(found) if found else ""


def _envelope(row: dict) -> dict | None:
    for key in ("params", "result"):
        row = row[key] if isinstance(row.get(key), dict) else row
    envelope = row.get("envelope")
    return envelope if isinstance(envelope, dict) else None


def _content(envelope: dict) -> tuple[dict | None, int | None, bool]:
    """Return the message of an envelope, the time of the message that it edits, and whether you sent it."""
    sent = (envelope.get("syncMessage") or {}).get("sentMessage")
    edit = (sent or envelope).get("editMessage")
    if edit:
        return edit.get("dataMessage"), edit.get("targetSentTimestamp"), bool(sent)
    return sent or envelope.get("dataMessage"), None, bool(sent)


def _peer(envelope: dict | None) -> tuple[str, str, str] | None:
    """Return id, participant and name of the conversation of an envelope."""
    data, _, is_mine = _content(envelope) if envelope else (None, None, False)
    if not envelope or not data:
        return None
    if group := data.get("groupInfo"):
        return f"group:{group['groupId']}", f"signal:group:{group['groupId']}", group.get("groupName") or ""
    if is_mine:
        peer = _address(envelope["syncMessage"]["sentMessage"], "destination")
        return (peer, peer, "") if peer else None
    peer = _address(envelope, "source")
    return (peer, peer, envelope.get("sourceName") or "") if peer else None
