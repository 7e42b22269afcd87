"""Many WebSocket clients in one loop that only compare bytes, to leave the processor to the servers."""

import base64
import os
import resource
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE = 30.0
MASKED = 0x80
# A mask of zeros is allowed, and leaves the text as it is.
NO_MASK = b"\0\0\0\0"


def frame(text: str) -> bytes:
    """A text frame as a client sends it."""
    data = text.encode()
    if len(data) < 126:
        return bytes([0x81, MASKED | len(data)]) + NO_MASK + data
    return struct.pack("!BBH", 0x81, MASKED | 126, len(data)) + NO_MASK + data


def connect(port: int, path: str) -> socket.socket:
    """Open a WebSocket on this machine."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = client.recv(4096)
        assert received, answer
        answer += received
    assert b" 101 " in answer.split(b"\r\n", 1)[0], answer
    return client


@dataclass
class Audience:
    """Clients of one server."""

    clients: dict[int, socket.socket]
    poll: select.epoll

    def wait_for(self, marker: str, *, count: int = 1) -> float:
        """Read until every client has this text this often; return the time of the last, by time.perf_counter()."""
        wanted = marker.encode()
        missing = dict.fromkeys(self.clients, count)
        rests = dict.fromkeys(self.clients, b"")
        deadline = time.perf_counter() + PATIENCE
        while missing:
            assert time.perf_counter() < deadline, f"{len(missing)} clients miss {marker}"
            for number, _ in self.poll.poll(0.2):
                received = rests[number] + self.clients[number].recv(1 << 20)
                if number in missing:
                    missing[number] -= received.count(wanted)
                    if missing[number] <= 0:
                        del missing[number]
                # A text may come in two pieces, and must not be counted again.
                rests[number] = b"" if wanted in received[-len(wanted) :] else received[-len(wanted) + 1 :]
        return time.perf_counter()

    def say(self, data: bytes) -> None:
        """Let one of the clients send a few frames."""
        next(iter(self.clients.values())).sendall(data)

    def pour(self, data: bytes) -> threading.Thread:
        """Let one of the clients send very many frames, while it reads."""
        pouring = threading.Thread(target=_pour, args=(next(iter(self.clients.values())), memoryview(data)))
        pouring.start()
        return pouring

    def time(self, trigger: Callable[[], object], marker: str) -> float:
        """Run an action; return the milliseconds until the last client has its message."""
        begun = time.perf_counter()
        trigger()
        return (self.wait_for(marker) - begun) * 1000


def _pour(client: socket.socket, data: memoryview) -> None:
    while data:
        select.select([], [client], [], PATIENCE)
        data = data[client.send(data[: 1 << 16]) :]


@contextmanager
def audience(size: int, port: int, path: str, first: str | None = None) -> Iterator[Audience]:
    """Open clients for the block; each sends a first text and waits for its answer."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    clients = []
    with select.epoll() as poll:
        try:
            for _ in range(size):
                client = connect(port, path)
                clients.append(client)
                if first:
                    client.sendall(frame(first))
                client.setblocking(False)
                poll.register(client.fileno(), select.EPOLLIN)
            found = Audience({client.fileno(): client for client in clients}, poll)
            if first:
                found.wait_for('"phx_reply"')
            yield found
        finally:
            for client in clients:
                client.close()
