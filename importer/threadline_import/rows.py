"""What readers of JSON and CSV share: rows of a file, one at a time, and conversations collected from them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime

from threadline_import.jsonstream import BrokenJSONError, JSONStream, parse
from threadline_import.model import ImportRefusedError, Unreadable
from threadline_import.sources import LONGEST_LINE, Source

Row = tuple[int, dict]


def first_value(source: Source) -> object:
    """Return the first line of a file as JSON, or None."""
    try:
        return parse(source.head().lstrip().split("\n")[0])
    except ValueError:
        return None


def json_lines(source: Source) -> Iterator[Row | Unreadable]:
    """Yield the objects of a file with one per line."""
    with source.open_text() as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = parse(line)
                if not isinstance(row, dict):
                    raise ValueError("no object")
            except ValueError as problem:
                yield Unreadable(f"line {number}", f"{line.strip()[:80]} ({problem})")
                continue
            yield number, row


def csv_rows(source: Source) -> Iterator[Row | Unreadable]:
    """Yield the rows of a CSV file with a header."""
    csv.field_size_limit(LONGEST_LINE)
    with source.open_text() as file:
        # The reader of csv must see line breaks inside quotes as they are.
        rows = csv.DictReader(file)
        try:
            for row in rows:
                if None in row or None in row.values():
                    yield Unreadable(f"line {rows.line_num}", "a row with too many or too few columns")
                    continue
                yield rows.line_num, row
        except csv.Error as problem:
            raise ImportRefusedError(f"{source} is no CSV from line {rows.line_num} on: {problem}.") from problem


def array_rows(source: Source, *keys: str) -> tuple[dict[str, object], Iterator[Row | Unreadable]]:
    """Return the other members of an object, and the items of its array under one of `keys`."""
    members: dict[str, object] = {}
    for _ in _places(source, keys, members):
        pass
    return members, _items(source, keys)


def _items(source: Source, keys: tuple[str, ...]) -> Iterator[Row | Unreadable]:
    for stream in _places(source, keys, {}):
        for number, row in enumerate(stream.items(), 1):
            yield (number, row) if isinstance(row, dict) else Unreadable(f"message {number}", repr(row)[:80])


def _places(source: Source, keys: tuple[str, ...], members: dict[str, object]) -> Iterator[JSONStream]:
    try:
        with source.open_text(has_lines=False) as file:
            stream = JSONStream(file)
            if stream.peek() == "[":
                yield stream
                if stream.peek() == "[":
                    stream.skip()
                return
            for key in stream.members():
                if key in keys and stream.peek() == "[":
                    yield stream
                    if stream.peek() == "[":
                        stream.skip()
                else:
                    members[key] = stream.value()
    except (BrokenJSONError, UnicodeDecodeError) as problem:
        raise ImportRefusedError(f"{source} is not whole JSON: {problem}.") from problem


def from_unix(value: object) -> datetime:
    """Read seconds or milliseconds since 1970; ValueError for a time before 2000."""
    number = float(str(value))
    moment = datetime.fromtimestamp(number / 1000 if number > 1e11 else number, UTC)
    if moment.year < 2000:
        raise ValueError(f"{value} is no time")
    return moment
