"""`threadline serve` as a process of its own, as it runs in production."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from threadline_devstack import keys

from tests.support import contract, forking
from tests.support.cluster import free_port

DEFAULTS = {"JWT_SECRET": keys.JWT_SECRET}  # `serve` needs a way to verify tokens


@dataclass(frozen=True)
class Service:
    """A running service, its log file, and a client that threads may share."""

    port: int
    process: forking.Forked | subprocess.Popen[bytes]
    log: Path
    client: httpx.Client

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def failures(self) -> list[str]:
        """Return the log messages about failed calls."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if " failed" in line]
        return [line["message"] for line in lines if " failed" in line["message"]]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def wait_until_listening(process: forking.Forked | subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until a server accepts connections; raise RuntimeError with its log if it ends first or never does."""
    deadline = time.monotonic() + 60  # importing takes long on a busy machine
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{log.stem} ended by itself: {log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"{log.stem} does not listen: {log.read_text()}")


@contextmanager
def serving(
    database_url: str, log: Path, *options: str, port: int | None = None, **environment: str
) -> Iterator[Service]:
    """Run a service for the block, by default on a free port."""
    port = port or free_port()
    with log.open("ab") as output:
        # No worker, because some tests count statements or sessions.
        variables = {**DEFAULTS, **os.environ, "DATABASE_URL": database_url, "THREADLINE_DELIVER": "0", **environment}
        process = forking.start(["serve", "--port", str(port), *options], variables, output)
    # verify=False skips loading certificates, which takes longer than most tests.
    hooks = {"response": [contract.check]}
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, verify=False, event_hooks=hooks)
    service = Service(port, process, log, client)
    try:
        wait_until_listening(process, port, log)
        yield service
    finally:
        client.close()
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()


def crash_postgres(database_url: str) -> None:
    """Kill one session of a service, so that Postgres ends all sessions and recovers.

    Returns when sessions begin to end.
    """
    with closing(psycopg.connect(database_url, autocommit=True)) as connection:
        found = connection.execute(
            "select pid from pg_stat_activity where application_name = 'threadline' and datname = current_database()"
        ).fetchone()
        os.kill(found[0], signal.SIGKILL)
        with suppress(psycopg.OperationalError):
            while True:
                connection.execute("select pg_sleep(0.01)")
