"""The limits of Supabase's plans that a client can meet."""

import os
import time
from collections import deque
from dataclasses import dataclass

from threadline_devstack.errors import StackError

WINDOW, BUCKET = 60.0, 5.0  # seconds; a rate is the average over a window that moves on bucket by bucket


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a project. The rates are those of the largest plan; the environment can lower them.

    Attributes:
        clients: with a channel at the same time, in the project.
        joins_per_second: of channels, in the project.
        events_per_second: broadcasts in and out, in the project; every receiver counts.
        channels: of one socket.
        payload_bytes: of a broadcast, and of a presence payload.
        presence_calls: of one channel in `presence_window` seconds.
        frame_bytes: of a message from a client.
        idle_seconds: without a frame of the client, before its socket is closed.
        unread_bytes: that may wait for a client before it is dropped.
        unread_seconds: that a client may be slow before it is dropped.
        linger_seconds: that the stream stays open after the last channel.
    """

    clients: int = 10_000
    joins_per_second: int = 2_500
    events_per_second: int = 2_500
    channels: int = 100
    payload_bytes: int = 3_000_500
    presence_calls: int = 5
    presence_window: float = 30.0
    frame_bytes: int = 5_000_000
    idle_seconds: float = 60.0
    unread_bytes: int = 8 << 20
    unread_seconds: float = 30.0
    linger_seconds: float = 60.0

    @classmethod
    def from_environment(cls) -> "Limits":
        """Read $THREADLINE_REALTIME_CLIENTS, _JOINS_PER_SECOND and _EVENTS_PER_SECOND; raise StackError."""
        largest = cls()
        return cls(
            clients=_count("THREADLINE_REALTIME_CLIENTS", largest.clients),
            joins_per_second=_count("THREADLINE_REALTIME_JOINS_PER_SECOND", largest.joins_per_second),
            events_per_second=_count("THREADLINE_REALTIME_EVENTS_PER_SECOND", largest.events_per_second),
        )


class Rate:
    """Counts events, and tells whether their average in a window is above a number per second."""

    def __init__(self, per_second: int) -> None:
        self._most = per_second * WINDOW
        self._buckets: deque[list[float]] = deque()  # when it ends, how many
        self._total = 0.0

    def add(self, count: int = 1) -> None:
        """Count events at this moment."""
        now = time.monotonic()
        if not self._buckets or now >= self._buckets[-1][0]:
            self._buckets.append([now + BUCKET, 0])
        self._buckets[-1][1] += count
        self._total += count

    def is_exceeded(self, more: int = 0) -> bool:
        """Tell whether there are too many, or would be with `more`."""
        oldest = time.monotonic() - WINDOW
        while self._buckets and self._buckets[0][0] <= oldest:
            self._total -= self._buckets.popleft()[1]
        return self._total + more * WINDOW > self._most


class Calls:
    """Limits the calls of one client: a number in a window that begins with the first call."""

    def __init__(self, most: int, window: float) -> None:
        self._most = most
        self._window = window
        self._ends_at = 0.0
        self._count = 0

    def is_one_too_many(self) -> bool:
        """Count a call, and tell whether it is over the limit."""
        now = time.monotonic()
        if now > self._ends_at:
            self._ends_at, self._count = now + self._window, 0
        self._count += 1
        return self._count > self._most


def _count(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise StackError(f"{name} must be a whole number above zero, not {text!r}.")
    return int(text)
