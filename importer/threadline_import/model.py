"""What a reader yields. `wire` turns it into the fields of messaging-ingest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from threadline_import.media import File
    from threadline_import.sources import Source


class ImportRefusedError(Exception):
    """A file that cannot be imported as it is; the text says why and what to do."""


@dataclass(frozen=True)
class Reaction:
    """What one person answered a message with."""

    by: str
    at: datetime
    emoji: str


@dataclass(frozen=True)
class Message:
    """One message. `kind` is a type of messaging-ingest, or `animation`."""

    id: str
    at: datetime  # with a zone
    is_mine: bool
    kind: str = "text"
    text: str = ""
    author: str | None = None  # name of the writer, only in groups
    sender: str | None = None  # id of the writer, only in groups; a name that can change is no id
    reactions: tuple[Reaction, ...] = ()
    details: dict[str, object] = field(default_factory=dict)  # such as file_name, reply_to, edited_at
    file: File | None = None  # where the export has it
    wire: dict[str, object] | None = None  # the message as messaging-ingest takes it, where the file has that


@dataclass(frozen=True)
class Update:
    """What happened to a message later, where the file has it apart from the message."""

    message_id: str
    kind: str  # edited, deleted or reaction
    at: datetime
    fields: dict[str, object] = field(default_factory=dict)  # content, emoji, by


@dataclass(frozen=True)
class LeftOut:
    """Something that is not imported on purpose, such as a notice of the app."""

    kind: str


@dataclass(frozen=True)
class Unreadable:
    """Something that the reader does not understand, and where it stands."""

    where: str
    text: str


@dataclass(frozen=True)
class Refusal:
    """A conversation that is not imported until the user says more."""

    where: str
    reason: str


@dataclass(frozen=True)
class Conversation:
    """One conversation. Take its entries before you ask the reader for the next one."""

    id: str
    participant: str  # phone number, or the id on the platform
    name: str
    entries: Iterator[Message | Update | LeftOut | Unreadable]
    is_group: bool = False


@dataclass(frozen=True)
class Options:
    """What the user has said about the files."""

    me: str | None = None
    participants: dict[str | None, str] = field(default_factory=dict)  # name in the file: number; None: any name
    group: str | None = None
    conversation: str | None = None
    date_order: str | None = None
    zone: tzinfo | None = None
    chat: str | None = None


class Reader(Protocol):
    """Reads one format. The command calls `read` twice: for the table, then to send. Both must yield the same."""

    title: str
    platform: str

    def recognizes(self, source: Source) -> bool:
        """Check whether a file has this format, by its content."""

    def read(self, source: Source, options: Options) -> Iterator[Conversation | Refusal | LeftOut]:
        """Yield the conversations of a file; raise ImportRefusedError if none can be read."""
