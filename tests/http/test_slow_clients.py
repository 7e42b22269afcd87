"""A client that sends or reads slowly holds its connection for a bounded time."""

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from threadline.protocol import IS_WHOLE, TOO_SLOW, Protocol
from uvicorn.server import ServerState

from tests.http.test_limits import Timeless
from tests.support.cluster import TestCluster
from tests.support.service import Service
from tests.support.team import running_service

PATIENCE = 1
SECONDS = 5.0  # after which a connection counts as held
WHOLE = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
BODY = b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"
# What the client sends at once, and then again and again.
SLOW = {
    "nothing": (b"", b""),
    "a request line": (b"", b"G"),
    "headers": (b"GET /health HTTP/1.1\r\n", b"x: y\r\n"),
    "one long header": (b"GET /health HTTP/1.1\r\nx: ", b"y"),
    "blank lines": (b"", b"\r\n"),
    "blank lines after a request": (WHOLE, b"\r\n"),
    "headers of the second request": (WHOLE + b"GET /health HTTP/1.1\r\n", b"x: y\r\n"),
    "a body that no route reads": (BODY, b"x"),
}


@pytest.fixture(scope="module")
def service(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with little patience."""
    log = tmp_path_factory.mktemp("slow") / "log"
    with running_service(cluster, template, log, THREADLINE_BODY_TIMEOUT=str(PATIENCE)) as running:
        yield running.service


@pytest.mark.parametrize("name", SLOW)
def test_slow_sender_loses_its_connection(service: Service, name: str) -> None:
    first, again = SLOW[name]
    with socket.create_connection(("127.0.0.1", service.port), timeout=0.2) as connection:
        connection.sendall(first)
        assert is_ended(connection, again)


def is_ended(connection: socket.socket, again: bytes) -> bool:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if connection.recv(65536) == b"":
                return True
        except TimeoutError:
            pass
        except ConnectionError:
            return True
        try:
            connection.sendall(again)
        except ConnectionError:
            return True
    return False


def test_slow_head_is_408(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nx: ")
        assert connection.recv(12) == b"HTTP/1.1 408"


def test_slow_reader_loses_its_connection(service: Service) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", service.port))
        connection.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n" * 20)
        time.sleep(PATIENCE + 2)
        connection.settimeout(SECONDS)
        got = 0
        with suppress(ConnectionError):
            while more := connection.recv(65536):
                got += len(more)
    assert got < 20_000_000  # of 28 MB; the kernel keeps some bytes after the end


def test_patient_client_keeps_its_connection(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=SECONDS) as connection:
        for _ in range(3):
            connection.sendall(WHOLE)
            got = b""
            while b'"ok"' not in got:
                got += connection.recv(65536)
            time.sleep(PATIENCE * 1.2)


class Line(asyncio.Transport):
    """A connection that keeps what is written, and when and how it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.ends: list[tuple[str, float]] = []

    def write(self, data: bytes) -> None:
        self.sent += data

    def is_closing(self) -> bool:
        return bool(self.ends)

    def close(self) -> None:
        self.ends.append(("closed", asyncio.get_running_loop().time()))

    def abort(self) -> None:
        self.ends.append(("aborted", asyncio.get_running_loop().time()))

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def serve(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer at once, or after the body, or after 100 seconds; say whether the whole body had come then."""
    if scope["path"] == "/late":
        await asyncio.sleep(100)
    while scope["path"] == "/read" and (await receive())["more_body"]:
        pass
    headers = [(b"is-whole", str(scope.get(IS_WHOLE)).encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def talk(*steps: bytes | float | str) -> tuple[list[bytes], list[tuple[str, float]], Protocol]:
    """Send bytes, let seconds pass and call the protocol, with a patience of ten seconds.

    Return the answers, how the connection ended and when, and the protocol.
    """

    async def run() -> tuple[list[bytes], list[tuple[str, float]], Protocol]:
        config = uvicorn.Config(serve, log_config=None, access_log=False, timeout_keep_alive=10_000, lifespan="off")
        config.load()
        protocol = Protocol(config=config, server_state=ServerState(), app_state={}, patience=10)
        protocol.connection_made(line)
        for step in steps:
            if isinstance(step, bytes):
                protocol.data_received(step)
            elif isinstance(step, str):
                getattr(protocol, step)(*[None] * (step == "connection_lost"))
            await asyncio.sleep(step if isinstance(step, float) else 0)
        statuses = re.findall(rb"HTTP/1.1 (\d+)|is-whole: (\w+)", line.sent)
        return [status or whole for status, whole in statuses], list(line.ends), protocol

    line = Line()
    with asyncio.Runner(loop_factory=Timeless) as runner:
        return runner.run(run())


def post(path: str, *lines: str) -> bytes:
    """Return the head of a POST."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: x", *lines, "", ""]).encode()


GOOD, LONG = [b"200", b"True"], "content-length: 3000000"
BEGUN = b"GET / HTTP/1.1\r\nx"
CHUNKED = "transfer-encoding: chunked"
# What a client does, the answers, and how the connection ends.
KEPT = {
    "silence": ([9.9], [], []),
    "silence for long": ([11.0], [b"408"], [("closed", 10)]),
    "a head byte by byte": ([b"G", 6.0, b"E", 6.0], [b"408"], [("closed", 10)]),
    "a good request": ([WHOLE, 100.0, WHOLE, 100.0], GOOD * 2, []),
    "a late second head": ([WHOLE, 20.0, BEGUN, 5.0, b": y", 6.0], [*GOOD, b"408"], [("closed", 30)]),
    "a slow second head": ([WHOLE, 20.0, BEGUN, 9.0, b": y\r\n\r\n", 100.0], GOOD * 2, []),
    "a blank line": ([WHOLE, 20.0, b"\r\n", 11.0], [*GOOD, b"408"], [("closed", 30)]),
    "a body in time": ([post("/read", LONG), 1.0, *[bytes(1_000_000), 8.0] * 3], GOOD, []),
    "a body for a route": ([b"P", 2.0, b"O", 2.0, post("/read", LONG)[2:], *[b"x", 9.0] * 9], [], []),
    "a body for no route": ([post("/", LONG), *[b"x", 2.0] * 9], [b"200", b"None"], [("closed", 10)]),
    "an end of such a body": ([post("/", LONG), b"x", 5.0, bytes(2_999_999), 100.0], [b"200", b"None"], []),
    "a head behind a request": ([WHOLE.replace(b"/health", b"/late"), BEGUN, 11.0], [], [("closed", 10)]),
    "chunks": ([post("/read", CHUNKED), b"1\r\nx\r\n", b"0\r\n\r\n", 100.0], GOOD, []),
    "the longest head": ([BEGUN.ljust(1_000_000, b"x"), 1.0], [], []),
    "a longer head": ([BEGUN.ljust(1_000_001, b"x"), b"x", 11.0], [b"400"], [("closed", 0)]),
    "a longer head in pieces": ([BEGUN, *[b"x" * 400_000] * 3, 1.0], [b"400"], [("closed", 0)]),
    "a long head and a long chunk": (
        [post("/read", CHUNKED, "x: ")[:-4], b"x" * 900_000, b"\r\n\r\n", b"1;" + b"x" * 200_000, 1.0], [], [],
    ),
    "a client that reads slowly": ([WHOLE, "pause_writing", 11.0], GOOD, [("aborted", 10)]),
    "a client that reads again": ([WHOLE, "pause_writing", 9.0, "resume_writing", 100.0], GOOD, []),
    "a client that pauses twice": (
        [WHOLE, "pause_writing", 9.0, "resume_writing", "pause_writing", 11.0], GOOD, [("aborted", 19)],
    ),
    "a client that has gone": (["pause_writing", "connection_lost", 100.0], [], [("closed", 0)]),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_connection_is_kept_for_clients_that_keep_up(name: str) -> None:
    steps, answers, ends = KEPT[name]
    assert talk(*steps)[:2] == (answers, ends)


def test_writing_stops_while_a_client_does_not_read() -> None:
    assert talk(WHOLE, "pause_writing")[2].flow.write_paused
    assert not talk(WHOLE, "pause_writing", "resume_writing")[2].flow.write_paused
    assert TOO_SLOW == b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
