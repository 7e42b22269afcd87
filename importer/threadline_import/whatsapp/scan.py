"""Reads a WhatsApp export once, to learn its layout, its dates and who writes in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from threadline_import.model import ImportRefusedError, Options, Unreadable
from threadline_import.sources import Source
from threadline_import.whatsapp.calendars import Written, read_day
from threadline_import.whatsapp.header import LONGEST, MARKS, NO_YEAR, Header, find_header, flatten
from threadline_import.whatsapp.kinds import is_group_notice, is_notice
from threadline_import.whatsapp.words import phrases, plain

QUOTES = re.compile('["“”«»„「」『』]')
COLON = re.compile("[:：]")
LONGEST_NAME = 100
MOST_LINES = 20_000  # of one message; a file with a longer one is no chat
MOST_CHARACTERS = 64_000_000  # of one message, which is in memory whole


@dataclass
class Entry:
    """One dated entry: its header, the number of its first line, and the lines as they are."""

    number: int
    header: Header
    lines: list[str]

    @property
    def text(self) -> str:
        """Return what stands behind the header."""
        return "\n".join([self.lines[0][self.header.rest :], *self.lines[1:]])


@dataclass
class Scan:
    """What all lines of a file tell together."""

    layouts: list[tuple[object, ...]]  # the most usual one first
    dates: Counter[Written]
    names: frozenset[str]  # known from lines with a space behind the colon, and from the user
    authors: list[str] = field(default_factory=list)
    notice_signers: list[str] = field(default_factory=list)
    is_group: bool = False
    _changes: list[Written] = field(default_factory=list)

    def steps_back(self, order: str) -> int:
        """Count how often the day goes back from one entry to the next."""
        last, steps = None, 0
        for written in self._changes:
            try:
                day = read_day(written, order)
            except ValueError:
                continue
            steps += last is not None and day < last
            last = day
        return steps


@dataclass
class _Layout:
    count: int = 0
    dates: Counter[Written] = field(default_factory=Counter)
    changes: list[Written] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)
    longer: dict[str, set[str | None]] = field(default_factory=dict)  # name: what a second colon would make of it

    def add(self, header: Header, text: str) -> None:
        self.count += 1
        written = (*header.date, header.era)
        self.dates[written] += 1
        if not self.changes or self.changes[-1] != written:
            self.changes.append(written)
        name, rest = split_author(text, frozenset())
        if name:
            self.names[name] += 1
            second = None if _is_label(rest) else split_author(rest, frozenset())[0]
            known = self.longer.setdefault(name, set())
            if len(known) < 3:
                known.add(second)

    def join(self, other: _Layout) -> None:
        """Add what another layout of the same file has."""
        self.dates += other.dates
        self.names += other.names
        for name, seconds in other.longer.items():
            self.longer.setdefault(name, set()).update(seconds)


def _is_label(text: str) -> bool:
    """Check for a colon that WhatsApp writes: <attached: photo.jpg>, Location: https://..., POLL:."""
    label = plain(text.partition(":")[0])
    return text[:1] in {"<", *MARKS} or label in phrases("location") or label in phrases("poll")


def lines_of(source: Source) -> Iterator[str]:
    """Yield the lines of a file. U+2028 and other breaks are no end of a line here, they are part of a message."""
    try:
        with source.open_text() as file:
            for line in file:
                yield line.rstrip("\n").removesuffix("\r")
    except UnicodeDecodeError as problem:
        raise ImportRefusedError(
            f"{source} is not UTF-8 text, so it is not an export as it was saved. Export the chat again."
        ) from problem


def scan(source: Source, options: Options) -> Scan:
    """Read a file once."""
    layouts: dict[tuple[object, ...], _Layout] = {}
    for line in lines_of(source):
        if header := find_header(line):
            layouts.setdefault(header.layout, _Layout()).add(header, line[header.rest :])
    if not layouts:
        raise ImportRefusedError(
            "Its dates have no year, as in exports before 2014. Export the chat again."
            if any(NO_YEAR.match(flatten(line[:LONGEST])) for line in lines_of(source))
            else "No line of the file looks like a WhatsApp message."
        )
    layout, usual = max(layouts.items(), key=lambda item: item[1].count)
    # A dated line in another layout is pasted text, but some phones write both 8:05 PM and 20:05.
    same = [other for other in layouts if _is_alike(other, layout) and layouts[other].count * 10 >= usual.count]
    for other in same:
        usual.join(layouts[other])
    found = Scan([layout, *same], usual.dates, _names(usual, options), _changes=usual.changes)
    _find_authors(found, source)
    return found


def _is_alike(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    # All but seconds and the word for the time of day.
    return one != other and (one[:2], one[4:]) == (other[:2], other[4:])


def _names(usual: _Layout, options: Options) -> frozenset[str]:
    given = [options.me, *options.participants]
    names = {clean_name(name) for name in given if name}
    for name, count in usual.names.items():
        seconds = usual.longer[name]
        second = next(iter(seconds))
        # A name with a colon: what follows the first colon is always the same, and followed by another.
        names.add(f"{name}: {second}" if count >= 3 and len(seconds) == 1 and second else name)
    return frozenset(names)


def _find_authors(found: Scan, source: Source) -> None:
    messages: Counter[str] = Counter()
    marked: Counter[str] = Counter()
    signers: set[str] = set()
    for line in lines_of(source):
        header = find_header(line)
        if not header or header.layout not in found.layouts:
            continue
        author, text = split_author(line[header.rest :], found.names)
        if not author:
            found.is_group = found.is_group or is_group_notice(line[header.rest :])
            continue
        messages[author] += 1
        if text.lstrip(" ")[:1] and text.lstrip(" ")[0] in MARKS and not header.is_marked:
            marked[author] += 1
            if is_notice(text, author):
                signers.add(author)
                found.is_group = found.is_group or is_group_notice(text)
    # A name that signs notices and writes nothing else is that of the chat itself.
    found.notice_signers = [name for name in messages if name in signers and marked[name] == messages[name]]
    found.authors = [name for name in messages if name not in found.notice_signers]


def entries(lines: Iterable[str], layouts: list[tuple[object, ...]]) -> Iterator[Entry | Unreadable]:
    """Cut a file into entries; lines before the first one are unreadable."""
    entry: Entry | None = None
    length = 0
    for number, line in enumerate(lines, 1):
        header = find_header(line)
        if header and header.layout in layouts:
            if entry:
                yield entry
            entry, length = Entry(number, header, [line]), len(line)
        elif entry and len(entry.lines) < MOST_LINES and length + len(line) <= MOST_CHARACTERS:
            entry.lines.append(line)
            length += len(line)
        elif line.strip():
            yield Unreadable(f"line {number}", line)
    if entry:
        yield entry


def split_author(text: str, names: frozenset[str]) -> tuple[str | None, str]:
    """Return author and text. A notice has no author; the author is "" where a colon may follow a name or not."""
    first_line, _, _ = text.partition("\n")
    colons = [found.start() for found in COLON.finditer(first_line[: LONGEST_NAME + 1])]
    for place in reversed(colons):
        name = clean_name(text[:place])
        if name in names:
            return name, text[place + 1 :].removeprefix(" ")
    for place in colons:
        after = text[place + 1 : place + 2]
        # Only a notice has its first colon inside quotes: Ada changed the subject to "Trip: Rome"
        if len(QUOTES.findall(text[:place])) % 2:
            return None, text
        if after in ("", " ", "\n", "\u00a0") or after in MARKS:
            return clean_name(text[:place]) or None, text[place + 1 :].removeprefix(" ")
    if names and colons and _may_be_name(text, colons[0]):
        return "", text
    return None, text


def _may_be_name(text: str, colon: int) -> bool:
    after = text[colon + 1 : colon + 3]
    return after != "//" and not after[:1].isdigit() and colon <= 25 and not is_notice(text, text[:colon])


@lru_cache(10_000)
def clean_name(name: str) -> str:
    """Remove invisible marks from a name, and the ~ of senders outside the address book."""
    plain = re.sub(f"[{MARKS}]", "", name)
    for typographic, typed in {"\u00a0": " ", "\u202f": " ", "\u2011": "-"}.items():
        plain = plain.replace(typographic, typed)
    return plain.strip().removeprefix("~").strip()
