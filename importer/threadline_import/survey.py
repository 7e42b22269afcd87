"""Reads all files once and counts: what would go in, what is left out, what is not understood, what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from threadline_import.media import KINDS, File
from threadline_import.model import (
    Conversation,
    ImportRefusedError,
    LeftOut,
    Message,
    Options,
    Reader,
    Refusal,
    Unreadable,
    Update,
)
from threadline_import.readers import find_reader
from threadline_import.sources import Source

MOST_SHOWN = 50  # unreadable entries that are kept to be shown


@dataclass
class Row:
    """One conversation of the table."""

    file: str
    format: str
    id: str
    name: str
    participant: str
    messages: int = 0
    outbound: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    updates: int = 0
    unreadable: int = 0
    shown: list[Unreadable] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None
    files: int = 0
    bytes: int = 0
    without_file: int = 0  # pictures and other media whose file the export has not
    too_large: list[str] = field(default_factory=list)

    def add(self, entry: Message | Update | LeftOut | Unreadable) -> None:
        """Count an entry."""
        if isinstance(entry, Message):
            self.messages += 1
            self.outbound += entry.is_mine
            self.kinds[entry.kind] += 1
            self.first = min(self.first or entry.at, entry.at)
            self.last = max(self.last or entry.at, entry.at)
            if entry.kind in KINDS:
                self._add_file(entry.file)
        elif isinstance(entry, Update):
            self.updates += 1
        elif isinstance(entry, LeftOut):
            self.left_out[entry.kind] += 1
        else:
            self.unreadable += 1
            if len(self.shown) < MOST_SHOWN:
                self.shown.append(entry)

    def _add_file(self, file: File | None) -> None:
        if file is None:
            self.without_file += 1
        elif file.is_too_large:
            self.too_large.append(file.name)
        else:
            self.files += 1
            self.bytes += file.size


@dataclass
class Survey:
    """What all files hold."""

    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)  # whole chats
    refusals: list[Refusal] = field(default_factory=list)
    platforms: set[str] = field(default_factory=set)

    @property
    def messages(self) -> int:
        """Return how many messages would go in."""
        return sum(row.messages for row in self.rows)

    @property
    def files(self) -> int:
        """Return how many files would be uploaded."""
        return sum(row.files for row in self.rows)

    @property
    def bytes(self) -> int:
        """Return how large these files are together."""
        return sum(row.bytes for row in self.rows)

    @property
    def unreadable(self) -> int:
        """Return how many entries are not understood."""
        return sum(row.unreadable for row in self.rows)

    @property
    def is_clean(self) -> bool:
        """Check that everything was read."""
        return not self.refusals and not self.unreadable


def examine(sources: list[Source], options: Options, wanted: str | None) -> Survey:
    """Read the files once."""
    survey = Survey()
    seen: dict[str, str] = {}
    for source in sources:
        try:
            reader = find_reader(source, wanted)
            _examine_file(survey, seen, source, reader, options)
        except ImportRefusedError as problem:
            survey.refusals.append(Refusal(str(source), str(problem)))
        except OSError as problem:
            survey.refusals.append(Refusal(str(source), f"The file cannot be read: {problem}."))
    return survey


def _examine_file(survey: Survey, seen: dict[str, str], source: Source, reader: Reader, options: Options) -> None:
    survey.platforms.add(reader.platform)
    for found in reader.read(source, options):
        if isinstance(found, LeftOut):
            survey.left_out[found.kind] += 1
        elif isinstance(found, Refusal):
            survey.refusals.append(found)
        elif other := _is_mixed(found, seen, source):
            survey.refusals.append(
                Refusal(
                    str(source),
                    f"It goes into the same conversation as {other}. If both are exports of one chat, import them one "
                    f"after the other; if not, correct --participant.",
                )
            )
        else:
            row = Row(str(source), reader.title, found.id, found.name, found.participant)
            for entry in found.entries:
                row.add(entry)
            survey.rows.append(row)


def _is_mixed(found: Conversation, seen: dict[str, str], source: Source) -> str | None:
    """Return the file that has the same conversation by a number or name that the user gave."""
    if "-export:" not in found.id:
        return None
    other = seen.setdefault(found.id, str(source))
    return other if other != str(source) else None


def conversations(
    sources: list[Source], options: Options, wanted: str | None, survey: Survey
) -> Iterator[Conversation]:
    """Read the files again and yield the conversations that the table shows."""
    shown = {(row.file, row.id) for row in survey.rows}
    files = {row.file for row in survey.rows}
    for source in sources:
        if str(source) not in files:
            continue
        for found in find_reader(source, wanted).read(source, options):
            if isinstance(found, Conversation) and (str(source), found.id) in shown:
                yield found
