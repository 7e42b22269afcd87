"""An HTTP load generator that uses little of the processor."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools
import uvloop


class Answer(NamedTuple):
    """The answer to one request, and its time."""

    status: int
    body: bytes
    milliseconds: float


class Load(NamedTuple):
    """The answers to many requests, in order, and the total time."""

    answers: list[Answer]
    seconds: float


def request(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of an HTTP/1.1 request."""
    fields = {"host": "127.0.0.1", "content-length": len(body), **headers}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def send(url: str, requests: Sequence[bytes], connections: int = 1) -> Load:
    """Send all requests over several connections; each waits for an answer before its next request."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_send(url, requests, connections))


async def _send(url: str, requests: Sequence[bytes], connections: int) -> Load:
    loop, server = asyncio.get_running_loop(), urlsplit(url)
    open_ones = [await loop.create_connection(_Connection, server.hostname, server.port) for _ in range(connections)]
    answers: list[Answer | None] = [None] * len(requests)
    left = iter(enumerate(requests))

    async def work(connection: _Connection) -> None:
        for number, message in left:
            answers[number] = await connection.exchange(message)

    begun = time.perf_counter()
    await asyncio.gather(*(work(connection) for _, connection in open_ones))
    seconds = time.perf_counter() - begun
    for transport, _ in open_ones:
        transport.close()
    return Load(answers, seconds)


class _Connection(asyncio.Protocol):
    """One connection that is kept alive; the callbacks are those of asyncio and of httptools' parser."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._answer: asyncio.Future[None] | None = None

    async def exchange(self, message: bytes) -> Answer:
        """Send one request and return its answer."""
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._answer = asyncio.get_running_loop().create_future()
        begun = time.perf_counter()
        self._transport.write(message)
        await self._answer
        milliseconds = (time.perf_counter() - begun) * 1000
        return Answer(self._parser.get_status_code(), b"".join(self._body), milliseconds)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("The server hung up."))

    def on_body(self, chunk: bytes) -> None:
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        self._answer.set_result(None)
