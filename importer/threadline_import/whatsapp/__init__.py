"""Reads WhatsApp's "Export chat": the .txt of Android, iPhone, Web and older versions, and the .zip around it.

The file says little: local wall-clock times, names as the phone's address book has them, no message ids. So:

* All lines together decide how the time is written and in which order day and month stand.
* A message's id is its time in UTC, a hash of its text, and a number among equals. Names are no part of it, because
  they change when a contact is renamed.
* A chat is known by the number of the other side, because two people can have one name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, tzinfo

from threadline_import.model import Conversation, ImportRefusedError, LeftOut, Message, Options, Refusal, Unreadable
from threadline_import.order import Counts, Spread
from threadline_import.sources import Source
from threadline_import.whatsapp.calendars import ORDERS, Written, is_plausible, read_day
from threadline_import.whatsapp.header import LONGEST, NO_YEAR, find_header, flatten
from threadline_import.whatsapp.kinds import interpret
from threadline_import.whatsapp.scan import Entry, Scan, clean_name, entries, lines_of, scan, split_author

NUMBER = re.compile(r"\+?[\d \u00a0()./-]{6,24}$")


class WhatsApp:
    """Reads one chat per file."""

    title = "WhatsApp chat export"
    platform = "whatsapp"

    def recognizes(self, source: Source) -> bool:
        """Check whether a line near the beginning has a date and a time as WhatsApp writes them."""
        head = source.head()
        lines = head.split("\n")[:400]
        if head.lstrip().startswith("{"):
            return False
        return any(find_header(line) or NO_YEAR.match(flatten(line[:LONGEST])) for line in lines)

    def read(self, source: Source, options: Options) -> Iterator[Conversation | Refusal]:
        """Yield the chat of a file."""
        return iter([self._read(source, options)])

    def _read(self, source: Source, options: Options) -> Conversation | Refusal:
        try:
            found = scan(source, options)
            order = choose_order(found, options.date_order, date.today())
            me = find_me(found, options.me, source)
            identity = identify(found, me, options, source)
        except ImportRefusedError as problem:
            return Refusal(str(source), str(problem))
        reading = Reading(source, found, order, options.zone, me, with_author=options.group is not None)
        return Conversation(*identity, reading.entries(), options.group is not None)


class Reading:
    """A second pass over a file that `scan` has understood."""

    def __init__(
        self, source: Source, found: Scan, order: str, zone: tzinfo | None, me: str, *, with_author: bool
    ) -> None:
        self._source, self._found, self._order, self._zone = source, found, order, zone
        self._me, self._with_author = me, with_author
        self._spread, self._equals = Spread(), Counts()
        self._previous: datetime | None = None

    def entries(self) -> Iterator[Message | LeftOut | Unreadable]:
        """Yield what each entry of the file is."""
        for entry in entries(lines_of(self._source), self._found.layouts):
            yield from [entry] if isinstance(entry, Unreadable) else self._entry(entry)

    def _entry(self, entry: Entry) -> Iterator[Message | LeftOut | Unreadable]:
        try:
            at = self._moment(entry)
        except ValueError as problem:
            for number, line in enumerate(entry.lines, entry.number):
                if line.strip():
                    yield Unreadable(f"line {number}", f"{line} ({problem})" if number == entry.number else line)
            return
        author, text = split_author(entry.text, self._found.names)
        if author is None:
            yield LeftOut("notices")
            return
        if author == "":
            yield Unreadable(f"line {entry.number}", entry.lines[0])
            return
        body = interpret(
            text, author, is_line_marked=entry.header.is_marked, is_notice_signer=author in self._found.notice_signers
        )
        if isinstance(body, LeftOut):
            yield body
            return
        key = f"{at:%Y%m%dT%H%M%SZ}-{hashlib.sha256(body.identity.encode()).hexdigest()[:12]}"
        yield Message(
            id=f"{key}-{self._equals.add(key) + 1}",
            at=self._spread.apart(at),
            is_mine=author == self._me,
            kind=body.kind,
            text=body.content,
            author=author if self._with_author else None,
            details={"file_name": body.file_name, "edited": body.is_edited},
            file=self._source.file(body.file_name) if body.is_attached and body.file_name else None,
        )

    def _moment(self, entry: Entry) -> datetime:
        """Return the time in UTC; the entry before decides which of two equal hours in autumn it is."""
        header = entry.header
        written = (*header.date, header.era)
        if not is_plausible(written, self._order, date.today()):
            raise ValueError("no plausible date")
        if header.hour < 0 or header.minute > 59 or header.second > 59:
            raise ValueError("no time of day")
        day = read_day(written, self._order)
        wall = datetime(day.year, day.month, day.day, header.hour, header.minute, header.second)
        at = self._utc(wall)
        if self._previous and at < self._previous <= (second := self._utc(wall.replace(fold=1))):
            at = second
        self._previous = at
        return at

    def _utc(self, wall: datetime) -> datetime:
        return (wall.replace(tzinfo=self._zone) if self._zone else wall).astimezone(UTC)


def choose_order(found: Scan, wanted: str | None, today: date) -> str:
    """Return the order of day, month and year that the file proves; refuse where it leaves two."""
    dates, total = list(found.dates), found.dates.total()
    fits = {
        order: sum(count for written, count in found.dates.items() if is_plausible(written, order, today))
        for order in ORDERS
    }
    example = "/".join(dates[0][:3])
    if wanted:
        if fits[wanted] * 2 < total:
            raise ImportRefusedError(
                f"With --date-order {wanted} most dates of the file, such as {example}, are no days from 2009 to "
                f"today. Try another order."
            )
        return wanted
    best = max(fits.values())
    possible = [order for order, count in fits.items() if count == best]
    if best < total * 0.95:
        raise ImportRefusedError(
            f"No order of day, month and year suits the dates of the file; the first is {example}. Choose one with "
            f"--date-order; the table then lists the lines with other dates."
        )
    # No language writes the day between year and month; only dates that allow nothing else prove it.
    if len(possible) > 1 and "ydm" in possible:
        possible.remove("ydm")
    # No language writes the month first and a full stop behind it; the name of a month stands behind the day.
    if found.layouts[0][1] in (".", " ") and "dmy" in possible and "mdy" in possible:
        possible.remove("mdy")
    if "ymd" in possible and len(possible) > 1:
        possible = _by_variety(dates, possible)
    if len(possible) > 1:
        possible = _sorted_orders(found, possible)
    if len(possible) > 1:
        raise ImportRefusedError(
            f"All dates of the file, such as {example}, can be read as {' or '.join(possible)}. Say which it is with "
            f"--date-order."
        )
    return possible[0]


def _by_variety(dates: list[Written], possible: list[str]) -> list[str]:
    """Decide by the rule that a file has more days of the month than years."""
    first, third = (len({written[place] for written in dates}) for place in (0, 2))
    if first == third:
        return possible
    return [order for order in possible if (order == "ymd") == (third > first)]


def _sorted_orders(found: Scan, possible: list[str]) -> list[str]:
    """Keep the orders in which the file is sorted, if the others clearly put it out of order."""
    backwards = {order: found.steps_back(order) for order in possible}
    least = min(backwards.values())
    return [order for order in possible if backwards[order] < 3 * least + 3]


def find_me(found: Scan, me: str | None, source: Source) -> str:
    """Return the user's name in the file; a file named after the one other person tells it too."""
    if not found.authors:
        raise ImportRefusedError("The file has no message, only notices of WhatsApp.")
    wanted = clean_name(me or "")
    if wanted in found.authors:
        return wanted
    others = [name for name in found.authors if source.name.removesuffix(".txt").removesuffix(".zip").endswith(name)]
    if not me and len(found.authors) == 2 and len(others) == 1:
        return next(name for name in found.authors if name != others[0])
    raise ImportRefusedError(f"Say which of these names is yours with --me: {', '.join(found.authors)}.")


def identify(found: Scan, me: str, options: Options, source: Source) -> tuple[str, str, str]:
    """Return id, participant and name of the conversation."""
    others = [name for name in [*found.authors, *found.notice_signers] if name != me]
    if options.group:
        return options.conversation or f"whatsapp-export:group:{options.group}", options.group, options.group
    if len(others) > 1 or found.is_group:
        names = ", ".join(others) or "its notices say so"
        raise ImportRefusedError(f"This is a group ({names}). Give its name with --group.")
    name = others[0] if others else clean_name(source.name.removesuffix(".txt"))
    number = _number(name, options)
    return options.conversation or f"whatsapp-export:{re.sub(r'[^0-9]', '', number)}", number, name


def _number(name: str, options: Options) -> str:
    given = options.participants.get(name) or options.participants.get(None)
    own = name if NUMBER.fullmatch(name) and name.startswith("+") else None
    number = given or own
    if not number:
        raise ImportRefusedError(
            f'Say the phone number of {name} with --participant "{name}=+1 555 201 0001", because names change and two '
            f"people can have one name."
        )
    if not number.strip().startswith("+") or not NUMBER.fullmatch(number.strip()):
        raise ImportRefusedError(f"Write the number {number} with its country code, such as +1 555 201 0001.")
    if given and own and re.sub(r"\D", "", given) != re.sub(r"\D", "", own):
        raise ImportRefusedError(f"The file is the chat with {own}, not with {given}. Correct --participant.")
    return number.strip()
