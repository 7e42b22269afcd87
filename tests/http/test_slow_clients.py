"""A client that sends or reads slowly holds its connection for a bounded time."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

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
