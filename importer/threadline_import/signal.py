"""Reads Signal histories in the forms that common tools write.

* signal-export 3 (data.json of each chat): one JSON object per line with date, sender and body.
* signal-cli 0.11 and later (`--output=json receive`): one envelope per line.
* Rows of Signal Desktop's own table of messages, as JSON with `conversationId` and `sent_at`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime

from threadline_import.model import Conversation, ImportRefusedError, LeftOut, Message, Options, Refusal, Unreadable
from threadline_import.order import Counts, Spread
from threadline_import.rows import Row, array_rows, first_value, from_unix, json_lines
from threadline_import.sources import Source

Entry = Message | LeftOut | Unreadable
KINDS = ("image", "audio", "video")


def _kind_of(content_type: object) -> str:
    kind = str(content_type or "").partition("/")[0]
    return kind if kind in KINDS else "file"


class SignalExport:
    """Reads data.json of signal-export; the folder is named after the chat."""

    title = "signal-export (data.json)"
    platform = "signal"

    def recognizes(self, source: Source) -> bool:
        """Check for the fields of a message in the first line."""
        first = first_value(source)
        return isinstance(first, dict) and first.keys() >= {"date", "sender", "body", "attachments"}

    def read(self, source: Source, options: Options) -> Iterator[Conversation | Refusal]:
        """Yield the chat of a file; its senders are "Me" and names of the address book."""
        me = options.me or "Me"
        senders = list(dict.fromkeys(row[1].get("sender") for row in json_lines(source) if isinstance(row, tuple)))
        others = [str(sender) for sender in senders if sender not in (me, "No-Sender", None, "")]
        name = source.folder
        if me not in senders and len(others) > 1:
            yield Refusal(str(source), f"Say which of these names is yours with --me: {', '.join(others)}.")
            return
        if len(others) > 1 or options.group:
            group = options.group or name
            participant, identity = group, f"signal-export:group:{group}"
        else:
            number = options.participants.get(name) or options.participants.get(None)
            if not number:
                yield Refusal(
                    str(source), f'Say the phone number of {name} with --participant "{name}=+1 555 201 0001".'
                )
                return
            group, participant = "", number
            identity = "signal-export:" + "".join(digit for digit in number if digit.isdigit())
        entries = self._entries(source, me, options, is_group=bool(group))
        yield Conversation(options.conversation or identity, participant, group or name, entries, bool(group))

    def _entries(self, source: Source, me: str, options: Options, *, is_group: bool) -> Iterator[Entry]:
        spread, equals = Spread(), Counts()
        for row in json_lines(source):
            if isinstance(row, Unreadable):
                yield row
                continue
            try:
                yield self._entry(row, me, options, spread, equals, is_group=is_group)
            except (KeyError, ValueError, TypeError, AttributeError) as problem:
                yield Unreadable(f"line {row[0]}", f"{type(problem).__name__}: {problem}")

    def _entry(
        self, row: Row, me: str, options: Options, spread: Spread, equals: Counts, *, is_group: bool
    ) -> Message | LeftOut:
        fields = row[1]
        at = datetime.fromisoformat(str(fields["date"]))
        at = at if at.tzinfo else (at.replace(tzinfo=options.zone) if options.zone else at.astimezone())
        attachments = fields.get("attachments") or []
        text = fields.get("body") or ""
        kind = "text"
        if attachments:
            kind = _kind_of(attachments[0].get("content_type") or attachments[0].get("contentType"))
        elif fields.get("sticker"):
            kind, text = "sticker", text or fields["sticker"]
        elif not text:
            return LeftOut("empty messages")
        if fields["sender"] == "No-Sender":
            return LeftOut("notices")
        key = f"{at.isoformat()}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"
        return Message(
            id=f"{key}-{equals.add(key) + 1}",
            at=spread.apart(at),
            is_mine=fields["sender"] == me,
            kind=kind,
            text=text,
            author=fields["sender"] if is_group else None,
            details={
                "file_name": attachments[0].get("name") if attachments else None,
                "quote": fields.get("quote"),
            },
        )


class SignalCli:
    """Reads what `signal-cli --output=json receive` prints; one file holds many conversations."""

    title = "signal-cli (JSON lines)"
    platform = "signal"

    def recognizes(self, source: Source) -> bool:
        """Check for an envelope in the first line."""
        first = first_value(source)
        return isinstance(first, dict) and isinstance(first.get("envelope"), dict)

    def read(self, source: Source, options: Options) -> Iterator[Conversation | LeftOut]:  # noqa: ARG002
        """Yield one conversation per number, uuid or group; each is a pass over the file."""
        found: dict[str, tuple[str, str]] = {}
        left_out = 0
        unreadable: list[Unreadable] = []
        for row in json_lines(source):
            if isinstance(row, Unreadable):
                unreadable.append(row)
                continue
            peer = _peer(row[1])
            if peer is None:
                left_out += 1
            elif peer[0] not in found or not found[peer[0]][1]:
                found[peer[0]] = peer[1:]
        for _ in range(left_out):
            yield LeftOut("receipts, typing and other envelopes")
        for identity, (participant, name) in found.items():
            entries = self._entries(source, identity, unreadable if identity == next(iter(found)) else [])
            yield Conversation(f"signal:{identity}", participant, name, entries, identity.startswith("group:"))

    def _entries(self, source: Source, identity: str, unreadable: list[Unreadable]) -> Iterator[Entry]:
        yield from unreadable
        spread = Spread()
        for row in json_lines(source):
            if isinstance(row, Unreadable):
                continue
            peer = _peer(row[1])
            if peer and peer[0] == identity:
                try:
                    yield self._entry(row[1]["envelope"], spread)
                except (KeyError, ValueError, TypeError, AttributeError) as problem:
                    yield Unreadable(f"line {row[0]}", f"{type(problem).__name__}: {problem}")

    def _entry(self, envelope: dict, spread: Spread) -> Message | LeftOut:
        data, is_mine = _content(envelope)
        if data is None:
            return LeftOut("receipts, typing and other envelopes")
        if data.get("reaction"):
            return LeftOut("reactions")
        if data.get("remoteDelete"):
            return LeftOut("deleted messages")
        attachments = data.get("attachments") or []
        text = data.get("message") or ""
        kind = "text"
        if attachments:
            kind = _kind_of(attachments[0].get("contentType"))
        elif data.get("sticker"):
            kind = "sticker"
        elif not text:
            return LeftOut("empty messages")
        quote = data.get("quote") or {}
        source = envelope.get("sourceNumber") or envelope.get("sourceUuid") or envelope.get("source")
        return Message(
            id=f"{source}-{data['timestamp']}",
            at=spread.apart(from_unix(data["timestamp"])),
            is_mine=is_mine,
            kind=kind,
            text=text,
            author=(envelope.get("sourceName") or source) if data.get("groupInfo") else None,
            details={
                "file_name": attachments[0].get("filename") if attachments else None,
                "reply_to": f"{quote.get('author')}-{quote['id']}" if quote.get("id") else None,
            },
        )


def _content(envelope: dict) -> tuple[dict | None, bool]:
    sent = (envelope.get("syncMessage") or {}).get("sentMessage")
    if sent:
        return sent, True
    edited = (envelope.get("editMessage") or {}).get("dataMessage")
    return envelope.get("dataMessage") or edited, False


def _peer(row: dict) -> tuple[str, str, str] | None:
    """Return id, participant and name of the conversation of an envelope."""
    envelope = row.get("envelope")
    data, is_mine = _content(envelope) if isinstance(envelope, dict) else (None, False)
    if not data:
        return None
    if group := data.get("groupInfo"):
        return f"group:{group['groupId']}", f"signal:group:{group['groupId']}", group.get("groupName") or ""
    if is_mine:
        peer = data.get("destinationNumber") or data.get("destinationUuid") or data.get("destination")
        return (str(peer), str(peer), "") if peer else None
    peer = envelope.get("sourceNumber") or envelope.get("sourceUuid") or envelope.get("source")
    return (str(peer), str(peer), envelope.get("sourceName") or "") if peer else None


class SignalDesktop:
    """Reads rows of Signal Desktop's table `messages`: an array, or an object with `messages`."""

    title = "Signal Desktop messages (JSON)"
    platform = "signal"

    def recognizes(self, source: Source) -> bool:
        """Check for the columns that every row has."""
        head = source.head()
        return head.lstrip()[:1] in ("{", "[") and all(
            f'"{name}"' in head for name in ("conversationId", "sent_at", "body")
        )

    def read(self, source: Source, options: Options) -> Iterator[Conversation | Refusal | LeftOut]:
        """Yield one conversation per conversationId; `conversations` of the file gives numbers and names."""
        members, rows = array_rows(source, "messages", "messsages")
        listed = members.get("conversations")
        known = {str(one.get("id")): one for one in listed or [] if isinstance(one, dict)} if listed else {}
        ids = dict.fromkeys(str(row[1].get("conversationId")) for row in rows if isinstance(row, tuple))
        for identity in ids:
            about = known.get(identity, {})
            participant = about.get("e164") or options.participants.get(identity) or about.get("serviceId") or identity
            name = about.get("name") or about.get("profileFullName") or about.get("profileName") or ""
            is_group = about.get("type") == "group"
            yield Conversation(
                f"signal-desktop:{identity}",
                participant,
                name,
                self._entries(source, identity, is_group=is_group),
                is_group,
            )

    def _entries(self, source: Source, identity: str, *, is_group: bool) -> Iterator[Entry]:
        _, rows = array_rows(source, "messages", "messsages")
        spread = Spread()
        for row in rows:
            if isinstance(row, Unreadable) or str(row[1].get("conversationId")) != identity:
                continue
            try:
                yield self._entry(row[1], spread, is_group=is_group)
            except (KeyError, ValueError, TypeError, AttributeError) as problem:
                yield Unreadable(f"message {row[0]}", f"{type(problem).__name__}: {problem}")

    def _entry(self, row: dict, spread: Spread, *, is_group: bool) -> Message | LeftOut:
        if row.get("type") not in ("incoming", "outgoing"):
            return LeftOut(f"{row.get('type') or 'other'} entries")
        if row.get("deletedForEveryone"):
            return LeftOut("deleted messages")
        attachments = row.get("attachments") or []
        text = row.get("body") or ""
        if not text and not attachments:
            return LeftOut("empty messages")
        quote = row.get("quote") or {}
        return Message(
            id=str(row["id"]),
            at=spread.apart(from_unix(row["sent_at"])),
            is_mine=row["type"] == "outgoing",
            kind=_kind_of(attachments[0].get("contentType")) if attachments else "text",
            text=text,
            author=(row.get("source") or row.get("sourceServiceId") or row.get("sourceUuid")) if is_group else None,
            details={
                "file_name": attachments[0].get("fileName") if attachments else None,
                "quote": quote.get("text"),
            },
        )


def refuse_by_name(source: Source) -> None:
    """Refuse a form of Signal that is known and not read, with the way to one that is."""
    head = source.head()
    if head.startswith(("BACKUP", "SQLite format 3")) or source.path.suffix == ".backup":
        raise ImportRefusedError(
            f"{source} is a backup or database of Signal, which is encrypted. Export it with signal-export and import "
            f"the folder."
        )
