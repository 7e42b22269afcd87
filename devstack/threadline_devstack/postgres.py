"""The Postgres of the stack: its data folder and its process."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from threadline_devstack import account, binaries, process
from threadline_devstack.errors import StackError
from threadline_devstack.home import Home, is_alive, open_private
from threadline_devstack.project import reserve

SUPERUSER = "supabase_admin"  # as on the platform, where `postgres` is an ordinary role
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "wal_level": "logical",
    "max_slot_wal_keep_size": "1GB",  # a forgotten replication slot must not fill the disk
    "log_checkpoints": "off",
    # Parameters and error details hold messages and keys, so neither is logged.
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
}
FAST = (signal.SIGINT, 10.0)
IMMEDIATE = (signal.SIGQUIT, 5.0)
START_TIMEOUT = 60.0  # recovery after a crash comes first


class Server:
    """One Postgres on one port of the loopback interface, for the length of a `with` block.

    Entering starts it, and creates a missing data folder; `wait_until_ready` returns when it accepts
    connections, so the caller can work in between. Failures are StackErrors.
    """

    name = "Postgres"

    def __init__(self, home: Home, port: int) -> None:
        self.home = home
        self.port = port

    def __enter__(self) -> "Server":
        """Start the server."""
        self._account = account.for_data(self.home.data)
        self._binaries = binaries.find(self._account)
        if self.home.data.exists():
            self._check_version()
            end_previous(self.home.data.resolve())
        reserve(self.port, "THREADLINE_DB_PORT").close()
        if not self.home.data.exists():
            self._create_cluster()
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server, with stronger signals step by step."""
        process.stop(self._process, FAST, IMMEDIATE)

    def has_ended(self) -> bool:
        """Tell whether the server ended by itself."""
        return self._process.poll() is not None

    def wait_until_ready(self) -> None:
        """Wait until the server accepts connections; raise StackError with its own words if it ends first."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready():
            if self.has_ended():
                raise StackError(f"Postgres did not start: {self._last_words()} (log: {self.home.log}).")
            if time.monotonic() > deadline:
                raise StackError(f"Postgres was not ready within {START_TIMEOUT:.0f} seconds (log: {self.home.log}).")
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        lines = read_pid_file(self.home.data)
        return len(lines) >= 8 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"

    def _last_words(self) -> str:
        said = re.findall(r"(?:ERROR|FATAL|PANIC): +(.+)", self.home.log.read_text(errors="replace"))
        return said[-1] if said else f"exit status {self._process.returncode}"

    def _start(self) -> None:
        if self.home.log.exists():
            self.home.log.replace(self.home.log.with_suffix(".log.1"))
        settings = {**SETTINGS, "port": self.port}
        command = [self._binaries.folder / "postgres", "-D", self.home.data.resolve()]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        # Statements in it may hold messages, so other users of this machine may not read it.
        with open_private(self.home.log) as log:
            self._process = process.spawn(command, output=log, end=signal.SIGINT, account=self._account)

    def _check_version(self) -> None:
        try:
            found = int((self.home.data / "PG_VERSION").read_text())
        except PermissionError as error:
            raise StackError(f"The database in {self.home.data} belongs to another user of this machine.") from error
        if found != self._binaries.major:
            raise StackError(
                f"The database in {self.home.data} is of Postgres {found} and this is Postgres {self._binaries.major}: "
                f"set THREADLINE_PG_BIN to the other one, or remove {self.home.folder} to start again."
            )

    def _create_cluster(self) -> None:
        """Create the data folder under another name and rename it when complete, so it is never half written."""
        target = self._data_target()
        for leftover in target.parent.glob("initdb-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="initdb-", dir=target.parent, ignore_cleanup_errors=True) as scratch:
            password = Path(scratch) / "password"
            password.touch(mode=0o600)
            password.write_text(self.home.superuser_password())
            if self._account:
                for path in (password, scratch):
                    os.chown(path, self._account.uid, self._account.gid)
            self._run_initdb(Path(scratch) / "data", password)
            (Path(scratch) / "data").rename(target)
        if target != self.home.data:
            self.home.data.unlink(missing_ok=True)
            self.home.data.symlink_to(target)

    def _data_target(self) -> Path:
        """Return the place of a new data folder: the home, unless Postgres's user cannot enter it."""
        if self._account is None or self._account.can_enter(self.home.folder):
            return self.home.data
        name = hashlib.sha256(os.fsencode(self.home.folder)).hexdigest()[:12]
        target = binaries.SHARED / name / "postgres"
        binaries.make_shared(target.parent)
        if target.exists():  # of an earlier home in this place that was removed
            end_previous(target)
            shutil.rmtree(target)
        return target

    def _run_initdb(self, data: Path, password: Path) -> None:
        command = [self._binaries.folder / "initdb", "-D", data, "-U", SUPERUSER, "--pwfile", password]
        command += ["-A", "scram-sha-256", "-E", "UTF8", "--no-instructions", *locale_options(self._binaries.major)]
        with tempfile.TemporaryFile() as output:
            # SIGKILL: after another signal initdb tidies up, perhaps during the next start.
            child = process.spawn(command, output=output, end=signal.SIGKILL, account=self._account)
            try:
                code = child.wait()
            finally:
                process.stop(child)
            output.seek(0)
            said = output.read().decode(errors="replace")
        if code:
            reasons = re.findall(r"(?:error|FATAL): +(.+)", said) or [f"exit status {code}"]
            raise StackError(f"initdb could not make a database in {data.parent.parent}: {reasons[0]}.")


def locale_options(major: int) -> list[str]:
    """Return the locale options: case, words and trigrams beyond ASCII, equal on every machine."""
    libc = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
    return [*builtin, f"--locale={libc}"]


def read_pid_file(data: Path) -> list[str]:
    """Return the lines of postmaster.pid, [] without the file."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def end_previous(data: Path) -> None:
    """End a server of a killed stack that still uses this data folder."""
    lines = read_pid_file(data)
    if not lines:
        return
    pid = int(lines[0])
    if not is_alive(pid) or not serves(pid, data):
        end_sessions(data)
        if is_alive(pid):
            # Another process has this id now; Postgres would take it for a server and refuse.
            (data / "postmaster.pid").unlink(missing_ok=True)
        return
    # On Linux it is ending already, so wait first: signal 0 does nothing.
    for number, seconds in ((0, 3.0), FAST, IMMEDIATE):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while serves(pid, data) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not serves(pid, data):
            return
    raise StackError(f"Process {pid} still serves {data} and does not stop; end it by hand.")


def end_sessions(data: Path) -> None:
    """End the sessions of a killed server on this data folder (Linux only); another server cannot start before."""
    for number, seconds in (IMMEDIATE, (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        for pid in sessions(data):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        while sessions(data) and time.monotonic() < deadline:
            time.sleep(0.02)


def sessions(data: Path) -> list[int]:
    """Return the ids of the Postgres processes with this data folder as working folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended, or belongs to another user
            if (folder / "cwd").readlink() == data and (folder / "exe").readlink().name == "postgres":
                found.append(int(folder.name))
    return found


def serves(pid: int, data: Path) -> bool:
    """Tell whether a process is a Postgres server on this data folder."""
    if sys.platform == "linux":
        with suppress(OSError):
            return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return False
    command = ["ps", "-o", "command=", "-p", str(pid)]
    return f"-D {data} " in subprocess.run(command, capture_output=True, text=True, check=False).stdout
