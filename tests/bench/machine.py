"""The machine of the benchmarks: its description and its load."""

import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
import psycopg

QUIET = 12.0  # per cent of all processors
Thing = TypeVar("Thing")


def becomes_quiet(seconds: float) -> bool:
    """Wait until the machine is idle and return True, or return False on timeout."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if psutil.cpu_percent(interval=0.25) < QUIET:
            return True
    return False


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process: to the nanosecond on Linux, else to a hundredth of a second."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_bytes().split()[0]) / 1e9
    except OSError:
        return sum(psutil.Process(pid).cpu_times()[:2])


def describe(connection: psycopg.Connection) -> str:
    """Describe the machine in one sentence."""
    (version,) = connection.execute("show server_version").fetchone()
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"On {os.cpu_count()} cores and {memory:.0f} GiB, {platform.system()}; Postgres {version}, "
        f"Python {platform.python_version()}; {time.strftime('%Y-%m-%d')}."
    )


def rotated(things: Sequence[Thing], steps: int) -> list[Thing]:
    """Rotate the order, so that each comes first in some round."""
    start = steps % len(things)
    return [*things[start:], *things[:start]]


def for_a_second(samples: Iterable[Thing]) -> Iterator[Thing]:
    """Yield samples; the last one is taken when a second is over."""
    deadline = time.monotonic() + 1
    for sample in samples:
        yield sample
        if time.monotonic() > deadline:
            return
