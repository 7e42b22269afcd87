"""Reads a large JSON document piece by piece, in memory for one value at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TextIO

CHUNK = 262_144
LONGEST_VALUE = 64_000_000  # characters; a value is in memory whole
MOST_LEVELS = 100  # of arrays and objects in each other
SPACE = re.compile(r"[ \t\r\n]*")
# Telegram Desktop has written control characters as \x0B and a document_id without quotes; JSON allows neither.
ESCAPE = re.compile(r"(\\\\)|\\x([0-9A-Fa-f]{2})")
BARE = re.compile(r'("document_id": )([^"\s][^"\n,]*)')


TOO_DEEP = f"it has more than {MOST_LEVELS} levels of arrays and objects"


class BrokenJSONError(ValueError):
    """The document is no JSON, or it ends in the middle."""


class JSONStream:
    """A position in a JSON document, which moves forward only."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._ended = False
        self._decode = json.JSONDecoder(strict=False).raw_decode

    def peek(self) -> str:
        """Return the next character that is not a space, or "" at the end."""
        while True:
            self._at = SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def value(self) -> object:
        """Read one whole value."""
        self.peek()
        while True:
            try:
                found, end = self._decode(self._text, self._at)
            except RecursionError:
                raise BrokenJSONError(TOO_DEEP) from None
            except json.JSONDecodeError as problem:
                if len(self._text) - self._at > LONGEST_VALUE:
                    raise BrokenJSONError(f"a value has more than {LONGEST_VALUE:,} characters") from None
                if not self._fill():
                    raise BrokenJSONError(f"{problem.msg} near {self._text[self._at : self._at + 40]!r}") from problem
                continue
            # A number that reaches the end of what was read may go on.
            if end == len(self._text) and self._fill():
                continue
            brackets = self._text.count("[", self._at, end) + self._text.count("{", self._at, end)
            self._at = end
            return _require_shallow(found, brackets)

    def members(self) -> Iterator[str]:
        """Yield the keys of an object, at the value of each; read or skip it before you go on."""
        self._take("{")
        while self.peek() != "}":
            key = str(self.value())
            self._take(":")
            yield key
            self._after_value("}")
        self._take("}")

    def items(self) -> Iterator[object]:
        """Yield the values of an array."""
        for _ in self.places():
            yield self.value()

    def places(self) -> Iterator[None]:
        """Stop at each value of an array; read it before you go on."""
        self._take("[")
        while self.peek() != "]":
            yield None
            self._after_value("]")
        self._take("]")

    def skip(self) -> None:
        """Read over a value; an array item by item."""
        if self.peek() == "[":
            for _ in self.items():
                pass
        else:
            self.value()

    def _after_value(self, end: str) -> None:
        if self.peek() == ",":
            self._at += 1
        elif self.peek() != end:
            raise BrokenJSONError(f"expected , or {end} near {self._text[self._at : self._at + 40]!r}")

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise BrokenJSONError(f"expected {character} near {self._text[self._at : self._at + 40]!r}")
        self._at += 1

    def _fill(self) -> bool:
        if self._ended:
            return False
        # As much again as is waiting, so that a large value is not decoded from its start too often.
        chunk = self._file.read(max(CHUNK, len(self._text) - self._at))
        line = self._file.readline(LONGEST_VALUE) if chunk else ""
        self._ended = not chunk
        self._text = self._text[self._at :] + mend(chunk + line)
        self._at = 0
        return not self._ended


def parse(text: str) -> object:
    """Read a text with one value, or raise ValueError."""
    try:
        found = json.loads(text)
    except RecursionError:
        raise BrokenJSONError(TOO_DEEP) from None
    return _require_shallow(found, text.count("[") + text.count("{"))


def _require_shallow(found: object, brackets: int) -> object:
    level, depth = [found] if brackets > MOST_LEVELS else [], 0
    while level := [inner for each in level for inner in _inside(each) if isinstance(inner, (dict, list))]:
        depth += 1
        if depth >= MOST_LEVELS:
            raise BrokenJSONError(TOO_DEEP)
    return found


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def mend(text: str) -> str:
    """Repair the two faults of Telegram Desktop."""
    if "\\x" in text:
        text = ESCAPE.sub(lambda found: found[1] or rf"\u00{found[2]}", text)
    if '"document_id": ' in text:
        text = BARE.sub(r'\1"\2"', text)
    return text
