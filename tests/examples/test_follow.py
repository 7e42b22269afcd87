"""The two followers of examples/live, on the stack of `make up`, while the connection is cut again and again."""

import json
import os
import random
import select
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import BOB, MATTY
from tests.sql.messages import CHANNEL, call
from tests.support import tools
from tests.support.stack import RunningStack

EXAMPLES = Path(__file__).parents[2] / "examples" / "live"
PATIENCE = 60.0


class Line:
    """A TCP relay to a port of this machine, whose connections can be cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            pair = (client, socket.create_connection(("127.0.0.1", self._target)))
            self._pairs.append(pair)
            threading.Thread(target=self._relay, args=pair, daemon=True).start()

    @staticmethod
    def _relay(*pair: socket.socket) -> None:
        with suppress(OSError), pair[0], pair[1]:
            while True:
                for source in select.select(pair, [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    pair[source is pair[0]].sendall(data)

    def cut(self) -> None:
        """End all connections; new ones are taken at once."""
        pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more connections, and end those there are."""
        self._listener.close()
        self.cut()


@pytest.fixture
def line(stack: RunningStack) -> Iterator[Line]:
    """A line to the stack."""
    line = Line(stack.port)
    yield line
    line.close()


def python() -> list[str]:
    """How the Python follower is run."""
    return [sys.executable, str(EXAMPLES / "follow.py")]


def javascript(folder: Path) -> list[str]:
    """How the JavaScript follower is run: Deno takes the package from npm."""
    if tools.deno() is None or tools.postgrest() is None:
        pytest.skip(tools.why_not("deno") if tools.deno() is None else tools.why_not("postgrest"))
    return [str(word) for word in tools.run_script(Path(shutil.copy(EXAMPLES / "follow.mjs", folder)))]


@contextmanager
def following(command: list[str], url: str, stack: RunningStack, since: int) -> Iterator[list[dict[str, Any]]]:
    """What a follower has printed so far; it is ended with the block."""
    keys = stack.keys
    process = subprocess.Popen(
        [*command, url, keys["PUBLISHABLE_KEY"], CHANNEL, str(since)],
        env={**os.environ, "ACCESS_TOKEN": stack.token("bob@example.com"), "no_proxy": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    heard: list[dict[str, Any]] = []

    def listen() -> None:
        while text := process.stdout.readline():
            heard.append(json.loads(text))

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield heard
    finally:
        process.terminate()
        process.wait()
        listener.join()
        process.stdout.close()


def missed(db: psycopg.Connection[Any], since: int) -> list[dict[str, Any]]:
    """What the log has after an event, as a member is told."""
    found: list[dict[str, Any]] = []
    while True:
        reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=since, limit=1000)
        found += reply.data
        since = reply.meta["last_seq"]
        if not reply.meta["has_more"]:
            return found


def wait_for(heard: list[dict[str, Any]], seq: int) -> None:
    """Return when an event with this number has come."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE * 50)):
        if heard and heard[-1]["payload"]["seq"] >= seq:
            return
        waiting.wait(0.02)
    raise AssertionError(f"Heard {len(heard)} events, waited for number {seq}.")


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_nothing_is_missed_or_seen_twice_while_the_line_is_cut(
    stack: RunningStack, line: Line, tmp_path: Path, language: str
) -> None:
    command = python() if language == "python" else javascript(tmp_path)
    chance = random.Random(4)
    # As the login role of the service, whose calls commit one by one.
    with psycopg.connect(stack.database_url(), autocommit=True) as db:
        db.execute("update private.settings set requests_per_minute = 1000000")
    with (
        psycopg.connect(stack.database_url("authenticator"), autocommit=True) as db,
        following(command, f"http://127.0.0.1:{line.port}", stack, 0) as heard,
    ):
        wait_for(heard, missed(db, 0)[-1]["payload"]["seq"])
        for step in range(60):
            data = call(db, "create_message", MATTY, channel_id=CHANNEL, content=f"{step}").data
            call(db, "edit_message", MATTY, id=data["id"], content=f"{step} edited")
            if chance.random() < 0.1:
                line.cut()
            if chance.random() < 0.1:
                wait_for(heard, chance.randrange(heard[-1]["payload"]["seq"], missed(db, 0)[-1]["payload"]["seq"] + 1))
        log = missed(db, 0)
        wait_for(heard, log[-1]["payload"]["seq"])
        assert heard == log
