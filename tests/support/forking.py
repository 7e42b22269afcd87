"""Starts the `threadline` command by forking a process that has imported it, because importing takes most of a start.

The child runs the same function as the installed program, with its own arguments, environment and output. Start the
program itself, PROGRAM, where a test is about its process: give it as the command.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import connection, reduction
from multiprocessing import process as processes
from pathlib import Path
from typing import IO

PROGRAM = Path(sys.executable).with_name("threadline")
# Python and Prometheus read these while they start.
READ_EARLY = ("PYTHON", "PROMETHEUS_")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.support.warm"])


class Forked:
    """A started command, used like a Popen."""

    def __init__(self, process: processes.BaseProcess) -> None:
        self._process = process
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status; raise TimeoutExpired if it still runs then."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("threadline", timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _File:
    """The descriptor of a file, which a child gets a copy of."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[object, ...]:
        return _open, (reduction.DupFd(self.number),)


def _open(copy: reduction.DupFd) -> _File:
    return _File(copy.detach())


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: IO[bytes],
    errors: IO[bytes] | None = None,
    *,
    command: Sequence[str | Path] | None = None,
    is_leader: bool = False,
) -> Forked | subprocess.Popen[bytes]:
    """Start the command with this environment.

    Args:
        arguments: of the command.
        environment: all variables of the process.
        output: what it prints.
        errors: what it prints to stderr; by default the same file.
        command: how to call it. By default it is forked.
        is_leader: give it a process group of its own.
    """
    errors = errors or output
    if sys.platform != "linux" or any(
        name.startswith(READ_EARLY) and os.environ.get(name) != value for name, value in environment.items()
    ):
        command = command or [PROGRAM]
    if command:
        return subprocess.Popen(
            [*command, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=is_leader,
        )
    files = _File(output.fileno()), _File(errors.fileno())
    process = _context.Process(target=_run, args=(list(arguments), dict(environment), files, is_leader))
    process.start()
    return Forked(process)


def run(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    timeout: float,
    *,
    command: Sequence[str | Path] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as `start` does, and return its status and output."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(arguments, environment, output, errors, command=command)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        for file in (output, errors):
            file.seek(0)
        said = output.read().decode(), errors.read().decode()
        return subprocess.CompletedProcess(list(arguments), process.returncode, *said)


def _run(arguments: list[str], environment: dict[str, str], files: tuple[_File, _File], is_leader: bool) -> None:
    """Become a process like one that was started from the program."""
    if is_leader:
        os.setsid()
    for target, number in enumerate((os.open(os.devnull, os.O_RDONLY), *(file.number for file in files))):
        os.dup2(number, target)
        os.close(number)
    sys.stdin = os.fdopen(0)  # else multiprocessing gives it another descriptor, which workers of a service do not get
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_end_with_the_tests, daemon=True).start()
    # Processes that the command spawns import its module, not this one.
    sys.modules["__main__"] = import_module("threadline.__main__")
    sys.argv = [str(PROGRAM), *arguments]
    sys.modules["__main__"].main(prog_name="threadline")


def _end_with_the_tests() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
