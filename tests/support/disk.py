"""A small file system in memory that tests can fill. Linux allows it only for root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from tests.support.stack import new_home

MEGABYTE = 1_048_576


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Mount an empty file system for the block, writable by the user of Postgres; raise OSError if impossible."""
    folder = new_home()
    options = f"size={megabytes}m,mode=0711"
    mounting = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    try:
        if mounting.returncode:
            raise OSError(mounting.stderr.strip())
        try:
            yield folder
        finally:
            # Lazily: a process that is just ending may still have a file open.
            subprocess.run(["umount", "--lazy", folder], check=True)
    finally:
        folder.rmdir()


@cache
def refusal() -> str | None:
    """Return why this machine cannot mount a file system, or None if it can."""
    try:
        with small_disk(1):
            return None
    except OSError as error:
        return f"no file system of its own: {str(error).splitlines()[0]}"


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Fill the file system of a folder for the block."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb") as file, suppress(OSError):
            while True:
                # Small steps, because a write that does not fit writes nothing.
                os.posix_fallocate(file.fileno(), file.tell(), 4096 if _is_nearly_full(folder) else MEGABYTE)
                file.seek(0, os.SEEK_END)
        yield
    finally:
        ballast.unlink()


def _is_nearly_full(folder: Path) -> bool:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize < 2 * MEGABYTE
