"""A disk that can be full: a small file system of its own, in memory. Linux lends one to root alone."""

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
    """An empty file system of this size for the length of the block, open to Postgres's user; OSError without one."""
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
    """Why this machine lends no file system; None when it does."""
    try:
        with small_disk(1):
            return None
    except OSError as error:
        return f"no file system of its own: {error}"


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """No room on the file system of a folder for the length of the block."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb") as file, suppress(OSError):
            while True:
                # In small steps, as what finds no room at all takes none.
                os.posix_fallocate(file.fileno(), file.tell(), 4096 if _is_nearly_full(folder) else MEGABYTE)
                file.seek(0, os.SEEK_END)
        yield
    finally:
        ballast.unlink()


def _is_nearly_full(folder: Path) -> bool:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize < 2 * MEGABYTE
