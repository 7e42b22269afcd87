"""How much a project's clients may do: the limits of Supabase's plans that a client meets."""

import os
import time
from collections import deque
from dataclasses import dataclass

from threadline_devstack.errors import StackError

WINDOW, BUCKET = 60.0, 5.0  # seconds; a rate is the average over a window that moves on bucket by bucket


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed. The rates are those of the largest plan; a smaller one can be tried by the environment.

    Attributes:
        clients: with a channel at the same time, in the project.
        joins_per_second: of channels, in the project.
        events_per_second: broadcasts in and out, in the project; every receiver counts.
        channels: of one socket.
        payload_bytes: of a broadcast, and of what a client says of itself in presence.
        presence_calls: of one channel in `presence_window` seconds.
        frame_bytes: of a message from a client.
        idle_seconds: without a sign of the client, after which its socket is closed.
        unread_bytes: waiting for a client that does not read, above which it is dropped.
        unread_seconds: for which a client may be slow; then it is dropped too.
        linger_seconds: for which the database's log is read on after the last channel has gone.
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
    """Counts events, and tells whether there were more than a number per second, on the average of a window."""

    def __init__(self, per_second: int) -> None:
        self._most = per_second * WINDOW
        self._buckets: deque[list[float]] = deque()  # when it ends, how many
        self._total = 0.0

    def add(self, count: int = 1) -> None:
        """Count events that happen now."""
        now = time.monotonic()
        if not self._buckets or now >= self._buckets[-1][0]:
            self._buckets.append([now + BUCKET, 0])
        self._buckets[-1][1] += count
        self._total += count

    def is_exceeded(self, more: int = 0) -> bool:
        """Tell whether there were too many, or would be with some more."""
        oldest = time.monotonic() - WINDOW
        while self._buckets and self._buckets[0][0] <= oldest:
            self._total -= self._buckets.popleft()[1]
        return self._total + more * WINDOW > self._most


class Calls:
    """Tells whether one more call is too much for one client: a number in a window that begins with the first."""

    def __init__(self, most: int, window: float) -> None:
        self._most = most
        self._window = window
        self._ends_at = 0.0
        self._count = 0

    def is_one_too_many(self) -> bool:
        """Count a call."""
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
