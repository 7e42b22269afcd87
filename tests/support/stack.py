"""`threadline up` as its users run it: a process, two ports, a home."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.support import forking
from tests.support.schema import ROOT

READY = "Ctrl-C stops everything."
PATIENCE = 60.0


class RunningStack:
    """A stack on free ports; the `with` block starts and stops it.

    Args:
        project: the folder with supabase/migrations and seed.sql.
        home: its home; by default a new one, which is removed at the end.
        environment: variables beside ours.
        command: how `threadline` is called; by default it is forked, which is faster.
    """

    def __init__(
        self,
        project: Path = ROOT,
        home: Path | None = None,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self.home = home or new_home()
        self._is_our_home = home is None
        self._output = self.home.with_name(f"{self.home.name}.output")
        self.port, self.database_port = free_ports()
        self.environment = {
            **os.environ,
            "THREADLINE_PROJECT": str(project),
            "THREADLINE_HOME": str(self.home),
            "THREADLINE_PORT": str(self.port),
            "THREADLINE_DB_PORT": str(self.database_port),
            **(environment or {}),
        }
        self.command = command
        self.api_url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "RunningStack":
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._is_our_home:
            remove_home(self.home)

    def start(self) -> None:
        """Run `up` and wait until it is ready; raise AssertionError with its output if it ends first."""
        self.launch()
        self.wait_for(READY)

    def launch(self) -> None:
        """Run `up` without waiting for anything."""
        with self._output.open("wb") as output:
            # A process group of its own, as a terminal gives it.
            self.process = forking.start(["up"], self.environment, output, command=self.command, is_leader=True)

    def wait_for(self, text: str) -> None:
        """Wait until the output of `up` contains this text."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.01)

    @property
    def output(self) -> str:
        """What `up` has printed so far."""
        return self._output.read_text()

    @property
    def database_log(self) -> str:
        """What Postgres has logged so far."""
        return (self.home / "postgres.log").read_text()

    @property
    def keys(self) -> dict[str, str]:
        """What `threadline status` says: API_URL, DB_URL, ANON_KEY, SERVICE_ROLE_KEY and so on."""
        return json.loads(self.run("status", "-o", "json").stdout)

    def database_url(self, user: str = "postgres") -> str:
        """The connection string of a login role (postgres, authenticator) or of supabase_admin."""
        password = (self.home / "superuser-password").read_text() if user == "supabase_admin" else "postgres"
        return f"postgresql://{user}:{password}@127.0.0.1:{self.database_port}/postgres"

    def token(self, email: str) -> str:
        """An access token of a user in auth.users."""
        return self.run("token", email).stdout.strip()

    def run(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run another threadline command on this stack; raise AssertionError if it fails and `check` is set."""
        result = forking.run(arguments, {**self.environment, **environment}, PATIENCE, command=self.command)
        assert not check or result.returncode == 0, result.stderr
        return result

    def children(self) -> list[psutil.Process]:
        """The processes that `up` has started, and theirs."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Press Ctrl-C (or send another signal) if it runs, and return its exit status."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Kill `up` with SIGKILL."""
        self.process.kill()
        self.process.wait()


def free_ports() -> tuple[int, int]:
    """Return two free ports below the range of outgoing connections."""
    found = []
    while len(found) < 2:
        port = random.randint(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found[0], found[1]


def new_home() -> Path:
    """Create an empty folder that the user of Postgres can read even if root runs the tests."""
    home = Path(tempfile.mkdtemp(prefix="threadline-", dir="/tmp"))
    home.chmod(0o711)
    return home


def remove_home(home: Path) -> None:
    """Remove a home, and its data outside of it."""
    data = (home / "postgres").resolve()
    if data.parent != home.resolve():
        shutil.rmtree(data.parent, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
    home.with_name(f"{home.name}.output").unlink(missing_ok=True)


def survivors(processes: Sequence[psutil.Process], seconds: float = 5) -> list[psutil.Process]:
    """Return the processes that still run after some time. Zombies do not count: no process may reap orphans here."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
