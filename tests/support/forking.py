"""Starts the `threadline` command by forking a process that has imported it, because importing takes most of a start.

The child runs the same function as the installed program, with its own arguments, environment and output. Start the
program itself where a test is about its process: see PROGRAM in tests/support/service.py.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

PROGRAM = Path(sys.executable).with_name("threadline")
# What a service, a worker and a stack import before they are ready.
IMPORTS = (
    *("threadline.__main__", "threadline.app", "threadline.protocol", "threadline.start", "threadline.worker"),
    *("threadline_devstack.auth.api", "threadline_devstack.data_api", "threadline_devstack.gateway"),
    *("threadline_devstack.realtime.service", "threadline_devstack.requests", "threadline_devstack.server"),
    *("threadline_devstack.storage.api", "logging.config", "uvicorn.logging", "uvicorn.protocols.http.httptools_impl"),
    *("uvicorn.lifespan.on", "uvloop"),
)
# Python and Prometheus read these while they start.
READ_EARLY = ("PYTHON", "PROMETHEUS_")


class Forked:
    """A started command, used like a Popen."""

    def __init__(self, pid: int, answers: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._answers = answers

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit status; raise TimeoutExpired if it still runs then."""
        if self.returncode is None:
            ready, _, _ = select.select([self._answers], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired("threadline", timeout)
            self.returncode = int(self._answers.recv(16) or -signal.SIGKILL)
            self._answers.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: IO[bytes],
    errors: IO[bytes] | None = None,
    *,
    is_leader: bool = False,
) -> "Forked | subprocess.Popen[bytes]":
    """Start the command with this environment; `is_leader` gives it a process group of its own."""
    errors = errors or output
    if sys.platform != "linux" or any(
        name.startswith(READ_EARLY) and os.environ.get(name) != value for name, value in environment.items()
    ):
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=is_leader,
        )
    request = {"arguments": list(arguments), "environment": dict(environment), "is_leader": is_leader}
    answers = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    answers.connect(_server())
    text = json.dumps({**request, "folder": str(Path.cwd())}).encode()
    socket.send_fds(answers, [len(text).to_bytes(4, "big")], [output.fileno(), errors.fileno()])
    answers.sendall(text)
    return Forked(int(answers.recv(16)), answers)


def run(arguments: Sequence[str], environment: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run the command to its end and return its status and output."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = start(arguments, environment, output, errors)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        for file in (output, errors):
            file.seek(0)
        said = output.read().decode(), errors.read().decode()
        return subprocess.CompletedProcess(list(arguments), process.returncode, *said)


@cache
def _server() -> bytes:
    """Start the process that forks, and return its address in the abstract namespace of Linux."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("")
    listener.listen(64)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(listener.fileno())],
        stdin=subprocess.PIPE,  # it ends with this process
        pass_fds=[listener.fileno()],
        start_new_session=True,
    )

    def stop() -> None:
        process.stdin.close()
        process.wait()

    atexit.register(stop)
    address = listener.getsockname()
    listener.close()
    return address


class ForkServer:
    """Forks a child per connection, and says its process id and its exit status there."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._children: dict[int, socket.socket] = {}
        self._wake, wakes = os.pipe()
        for end in (self._wake, wakes):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._wakes = wakes

    def serve(self) -> list[str] | None:
        """Return the arguments in a child; None at the end of the tests, which ends what still runs."""
        while True:
            ready, _, _ = select.select([0, self._wake, self._listener], [], [])
            if 0 in ready:
                for pid in self._children:
                    os.kill(pid, signal.SIGTERM)
                return None
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._report()
            if self._listener in ready:
                connection, _ = self._listener.accept()
                if (arguments := self._fork(connection)) is not None:
                    return arguments

    def _report(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with self._children.pop(ended[0]) as connection, suppress(OSError):
                    connection.sendall(str(os.waitstatus_to_exitcode(ended[1])).encode())

    def _fork(self, connection: socket.socket) -> list[str] | None:
        size, files, _, _ = socket.recv_fds(connection, 4, 2)
        with connection.makefile("rb") as stream:
            request = json.loads(stream.read(int.from_bytes(size, "big")))
        if pid := os.fork():
            self._children[pid] = connection
            for file in files:
                os.close(file)
            return None
        self._become(request, files, connection)
        return request["arguments"]

    def _become(self, request: dict[str, object], files: list[int], connection: socket.socket) -> None:
        """Turn the child into a process like one that was started from the program."""
        if request["is_leader"]:
            os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (files[0], 1), (files[1], 2)):
            os.dup2(source, target)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        connection.sendall(str(os.getpid()).encode())
        for each in (*self._children.values(), connection, self._listener):
            each.close()
        for file in (nothing, *files, self._wake, self._wakes):
            os.close(file)


def main() -> None:
    """Import the command, then fork children that run it."""
    from threadline.app import create_app
    from threadline.settings import Settings

    for name in IMPORTS:
        import_module(name)
    # The first application imports more, and fills caches of Litestar.
    create_app(Settings(database_url="", jwt_secret="unused"))
    gc.collect()
    gc.freeze()
    arguments = ForkServer(socket.socket(fileno=int(sys.argv[1]))).serve()
    if arguments is not None:
        # Processes that the command spawns import its module, not this one.
        sys.modules["__main__"] = import_module("threadline.__main__")
        sys.argv = [str(PROGRAM), *arguments]
        sys.exit(sys.modules["__main__"].main(prog_name="threadline"))


if __name__ == "__main__":
    main()
