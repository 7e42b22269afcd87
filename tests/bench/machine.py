"""The machine that everything runs on: what it is, and whether others keep it busy."""

import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import psutil
import psycopg

QUIET = 12.0  # per cent of all processors
Thing = TypeVar("Thing")


def becomes_quiet(seconds: float) -> bool:
    """Return True as soon as nobody is at work here, or False when that time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if psutil.cpu_percent(interval=0.25) < QUIET:
            return True
    return False


def describe(connection: psycopg.Connection) -> str:
    """One sentence about where the figures are from."""
    (version,) = connection.execute("show server_version").fetchone()
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"On {os.cpu_count()} cores and {memory:.0f} GiB, {platform.system()}; Postgres {version}, "
        f"Python {platform.python_version()}; {time.strftime('%Y-%m-%d')}."
    )


def rotated(things: Sequence[Thing], steps: int) -> list[Thing]:
    """The same in another order, so that each comes first in some round."""
    start = steps % len(things)
    return [*things[start:], *things[:start]]


def for_a_second(samples: Iterable[Thing]) -> Iterator[Thing]:
    """Samples as they are taken, of which the last is the one during which a second has gone."""
    deadline = time.monotonic() + 1
    for sample in samples:
        yield sample
        if time.monotonic() > deadline:
            return
