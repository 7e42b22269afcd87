"""Reads histories of Signal Desktop.

* signal-export 3 (data.json of each chat): one JSON object per line with date, sender and body.
* Rows of Signal Desktop's own table of messages, as JSON with `conversationId` and `sent_at`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import unquote

from threadline_import.media import File, guess_type, kind_of_type
from threadline_import.model import (
    Conversation,
    ImportRefusedError,
    LeftOut,
    Message,
    Options,
    Reaction,
    Refusal,
    Unreadable,
)
from threadline_import.order import Counts, Spread
from threadline_import.rows import Row, array_rows, first_value, from_unix, json_lines
from threadline_import.sources import Source

Entry = Message | LeftOut | Unreadable


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
                entry = self._entry(row, me, options, spread, equals, is_group=is_group)
                yield from with_attachments(entry, list(_attachments(row[1], source)))
            except (KeyError, ValueError, TypeError, AttributeError) as problem:
                yield Unreadable(f"line {row[0]}", f"{type(problem).__name__}: {problem}")

    def _entry(
        self, row: Row, me: str, options: Options, spread: Spread, equals: Counts, *, is_group: bool
    ) -> Message | LeftOut:
        fields = row[1]
        at = datetime.fromisoformat(str(fields["date"]))
        at = at if at.tzinfo else (at.replace(tzinfo=options.zone) if options.zone else at.astimezone())
        text = (fields.get("body") or "").rstrip(" ")  # the tool adds two spaces
        sticker = fields.get("sticker")
        if fields.get("call"):
            return LeftOut("calls")
        if fields.get("deleted"):
            return LeftOut("deleted messages")
        if sticker and not text:
            text = sticker.get("emoji") or "" if isinstance(sticker, dict) else str(sticker)
        elif not text and not fields.get("attachments"):
            return LeftOut("empty messages")
        if fields["sender"] == "No-Sender":
            return LeftOut("notices")
        key = f"{at.isoformat()}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"
        quote = "\n".join(line.removeprefix("> ") for line in str(fields.get("quote") or "").strip().split("\n"))
        moment = spread.apart(at)
        return Message(
            id=f"{key}-{equals.add(key) + 1}",
            at=moment,
            is_mine=fields["sender"] == me,
            kind="sticker" if sticker else "text",
            text=text,
            author=fields["sender"] if is_group else None,
            # The tool writes no time of a reaction.
            reactions=tuple(Reaction(str(name), moment, emoji) for name, emoji in fields.get("reactions") or []),
            details={"quote": quote},
        )


def _attachments(fields: dict, source: Source) -> Iterator[Attachment]:
    for attachment in fields.get("attachments") or []:
        name = attachment.get("name") or ""
        kind = kind_of_type(attachment.get("content_type") or attachment.get("contentType") or guess_type(name))
        path = unquote(attachment.get("path") or "")
        yield Attachment("image" if attachment.get("missing_kind") == "media" else kind, name, source.file(path))


@dataclass(frozen=True)
class Attachment:
    """A file of a message; a message of Signal can have several."""

    kind: str
    name: str | None
    file: File | None = None


def with_attachments(entry: Message | LeftOut, attachments: list[Attachment]) -> Iterator[Message | LeftOut]:
    """Yield a message with its first file, and a message without text for each other file."""
    if isinstance(entry, LeftOut) or not attachments:
        yield entry
        return
    for place, attachment in enumerate(attachments):
        yield replace(
            entry,
            id=f"{entry.id}-file{place + 1}" if place else entry.id,
            at=entry.at + timedelta(milliseconds=place),
            kind=attachment.kind,
            text="" if place else entry.text,
            reactions=() if place else entry.reactions,
            details={**({} if place else entry.details), "file_name": attachment.name},
            file=attachment.file,
        )


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
        members, rows = array_rows(source, "messages")
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
                self._entries(source, identity, is_group=is_group, is_first=identity == next(iter(ids))),
                is_group,
            )

    def _entries(self, source: Source, identity: str, *, is_group: bool, is_first: bool) -> Iterator[Entry]:
        _, rows = array_rows(source, "messages")
        spread = Spread()
        for row in rows:
            if isinstance(row, Unreadable):
                if is_first:  # because it names no conversation
                    yield row
                continue
            if str(row[1].get("conversationId")) != identity:
                continue
            try:
                entry = self._entry(row[1], spread, is_group=is_group)
                files = [
                    Attachment(kind_of_type(attachment.get("contentType")), attachment.get("fileName"))
                    for attachment in row[1].get("attachments") or []
                ]
                yield from with_attachments(entry, files)
            except (KeyError, ValueError, TypeError, AttributeError) as problem:
                yield Unreadable(f"message {row[0]}", f"{type(problem).__name__}: {problem}")

    def _entry(self, row: dict, spread: Spread, *, is_group: bool) -> Message | LeftOut:
        if row.get("type") not in ("incoming", "outgoing"):
            return LeftOut(f"{row.get('type') or 'other'} entries")
        if row.get("deletedForEveryone"):
            return LeftOut("deleted messages")
        # Since version 7.58 the attachments stand in a table of their own.
        has_files = bool(row.get("attachments") or row.get("hasAttachments"))
        text = row.get("body") or ""
        if not text and not has_files and not row.get("sticker"):
            return LeftOut("empty messages")
        quote = row.get("quote") or {}
        return Message(
            id=str(row["id"]),
            at=spread.apart(from_unix(row["sent_at"])),
            is_mine=row["type"] == "outgoing",
            kind="sticker" if row.get("sticker") else "file" if has_files else "text",
            text=text,
            author=(row.get("source") or row.get("sourceServiceId") or row.get("sourceUuid")) if is_group else None,
            details={"quote": quote.get("text")},
        )


def refuse_by_name(source: Source) -> None:
    """Refuse a form of Signal that is known and not read, with the way to one that is."""
    head = source.head()
    if head.startswith(("BACKUP", "SQLite format 3")) or source.path.suffix == ".backup":
        raise ImportRefusedError(
            f"{source} is a backup or database of Signal, which is encrypted. Export it with signal-export and import "
            f"the folder."
        )
