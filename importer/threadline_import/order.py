"""Numbers for what an export does not tell apart: equal messages, and messages of one second or minute."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime, timedelta

REMEMBERED = 10_000  # moments, so that memory does not grow with the file


class Counts:
    """Counts how often a key came lately."""

    def __init__(self) -> None:
        self._counts: OrderedDict[Hashable, int] = OrderedDict()

    def add(self, key: Hashable) -> int:
        """Return how often the key came before."""
        before = self._counts.pop(key, 0)
        self._counts[key] = before + 1
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return before


class Spread:
    """Sets equal moments a millisecond apart, which keeps the order of the file."""

    def __init__(self) -> None:
        self._seen = Counts()

    def apart(self, moment: datetime) -> datetime:
        """Return the moment, later by a millisecond for each equal one before."""
        return moment + timedelta(milliseconds=min(self._seen.add(moment), 999))
