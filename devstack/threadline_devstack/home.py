"""The home folder of a local stack: its files, its lock and its state."""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from threadline_devstack.errors import StackError
from threadline_devstack.project import Ports

LOCK_PATIENCE = 1.0


@dataclass(frozen=True)
class Running:
    """A running stack, as its `stack.json` describes it."""

    pid: int
    ports: Ports
    ready: bool


class Home:
    """The folder in which a stack keeps everything: database, keys, lock, state, log."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; nothing is created yet."""
        self.folder = folder
        self.data = folder / "postgres"
        self.log = folder / "postgres.log"
        self.signing_key = folder / "signing-key.json"
        self._password = folder / "superuser-password"
        self._state = folder / "stack.json"
        self._lock = folder / "lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the home for the length of the block; raise StackError if another stack holds it."""
        self._make()
        with self._lock.open("a") as file:
            self._acquire(file.fileno())
            self._state.unlink(missing_ok=True)  # a killed stack leaves it
            try:
                yield
            finally:
                self._state.unlink(missing_ok=True)

    def _make(self) -> None:
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True)
                # Under root, Postgres is another user and must pass through.
                self.folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
                (self.folder / ".gitignore").write_text("*\n")
            self._lock.touch(mode=0o600)
        except OSError as error:
            raise StackError(f"{self.folder} cannot be used ({error.strerror}); set THREADLINE_HOME.") from error

    def _acquire(self, descriptor: int) -> None:
        # `status` holds the lock for an instant, and a stack releases it last: try again for a while.
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if (other := self._read_state()) and is_alive(other.pid):
                raise StackError(
                    f"A stack already runs in {self.folder} (process {other.pid}, {other.ports.api_url}); "
                    "`threadline stop` ends it."
                )
            if time.monotonic() > deadline:
                raise StackError(f"Another threadline command is at work in {self.folder}; try again later.")
            time.sleep(0.02)

    def is_free(self) -> bool:
        """Tell whether no stack holds this home."""
        try:
            with self._lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True

    def running(self) -> Running:
        """Return the stack that holds this home; raise StackError if no stack runs."""
        if self.is_free():
            raise StackError(f"No stack runs in {self.folder}; `threadline up` starts one.")
        if found := self._read_state():
            return found
        raise StackError(f"Another threadline command is at work in {self.folder}; try again later.")

    def announce(self, ports: Ports, *, ready: bool) -> None:
        """Record, for the other commands, that this process is the stack."""
        write_private(self._state, json.dumps(asdict(Running(os.getpid(), ports, ready))))

    def _read_state(self) -> Running | None:
        try:
            state = json.loads(self._state.read_text())
        except FileNotFoundError:
            return None
        return Running(state["pid"], Ports(**state["ports"]), state["ready"])

    def superuser_password(self) -> str:
        """Return the database superuser's password; the first call creates it."""
        if not self._password.exists():
            if self.data.exists():
                raise StackError(f"{self._password} is gone: remove {self.folder} to start again.")
            write_private(self._password, secrets.token_urlsafe(32))
        return self._password.read_text()


def open_private(path: Path) -> BinaryIO:
    """Open an empty file that only its owner may read."""
    path.touch(mode=0o600)
    path.chmod(0o600)  # a file from before keeps its mode
    return path.open("wb")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; a reader sees the old content or the new, never a part."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(path)


def is_alive(pid: int) -> bool:
    """Tell whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
