"""The WebSocket: handshake, frames, idle close, and clients that do not read.

Frames wait only in the transport's buffer, and the server does not wait for a client: one whose buffer grows too
large, or is not emptied for too long, is dropped.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from threadline_devstack.realtime.limits import Limits

PATHS = ("/realtime/v1/websocket", "/realtime/v1/websocket/")
BUFFERED = 1 << 20  # bytes that may wait before a client counts as slow
CLOSE_PATIENCE = 5.0  # seconds for a client to read what was sent before the end
DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class RefusedError(Exception):
    """A connection that is refused.

    Attributes:
        status: of HTTP.
        message: a sentence for the client.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Receiver(Protocol):
    """The session of an open socket."""

    def receive(self, opcode: Opcode, data: bytes) -> None:
        """Handle a message."""

    def lost(self) -> None:
        """Handle the loss of the client."""


Open = Callable[["Socket", dict[str, str], dict[str, str]], Receiver]


class Socket(asyncio.Protocol):
    """One connection.

    Args:
        open_session: takes the socket, the parameters of the URL and the headers, and returns the session of the
            client; raises RefusedError.
        limits: of this project.
        connections: lists the open sockets; the server closes them when it stops.
    """

    def __init__(self, open_session: Open, limits: Limits, connections: set[Any]) -> None:
        self._open_session = open_session
        self._limits = limits
        self._connections = connections
        self._protocol = ServerProtocol(max_size=limits.frame_bytes)
        self._session: Receiver | None = None
        self._parts: list[bytes] = []
        self._opcode = Opcode.TEXT
        self._is_open = True
        self._slow_since: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        self._transport: Any = transport
        self._transport.set_write_buffer_limits(high=BUFFERED)
        self._connections.add(self)
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._idle = self._loop.call_later(self._limits.idle_seconds, self._check_idle)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Unregister the connection and end its session."""
        self._is_open = False
        self._connections.discard(self)
        self._idle.cancel()
        self.resume_writing()
        if self._session:
            self._session.lost()
            self._session = None

    def data_received(self, data: bytes) -> None:
        """Handle bytes: the handshake first, then frames."""
        self._heard_at = self._loop.time()
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._shake_hands(event)
            elif isinstance(event, Frame) and event.opcode in DATA:
                self._take(event)
        if not self._is_open:
            return
        # Pongs, the answer to a close, or a close after a wrong frame.
        for output in self._protocol.data_to_send():
            if output:
                self._transport.write(output)
        if self._protocol.parser_exc or self._protocol.close_expected():
            self._is_open = False
            self._transport.close()

    def _shake_hands(self, request: Request) -> None:
        response = self._protocol.accept(request)
        if response.status_code == 101:
            url = urlsplit(request.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            headers = {name.lower(): value for name, value in request.headers.raw_items()}
            try:
                if url.path not in PATHS:
                    raise RefusedError(404, "Not found")
                self._session = self._open_session(self, query, headers)
            except RefusedError as refusal:
                response = self._refuse(refusal)
        self._protocol.send_response(response)

    def _refuse(self, refusal: RefusedError) -> Response:
        response = self._protocol.reject(refusal.status, json.dumps({"error": refusal.message}))
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json; charset=utf-8"
        return response

    def _take(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
            self._parts = []
        self._parts.append(bytes(frame.data))
        if frame.fin and self._session and self._is_open:
            parts, self._parts = self._parts, []
            self._session.receive(self._opcode, b"".join(parts))

    def send(self, frame: bytes) -> None:
        """Write a frame, now or when the client reads; drop a client for which too much waits."""
        if not self._is_open:
            return
        if self._slow_since and self._transport.get_write_buffer_size() > self._limits.unread_bytes:
            self._drop()
        else:
            self._transport.write(frame)

    def pause_writing(self) -> None:
        """Start the timeout of a slow client."""
        self._slow_since = self._loop.call_later(self._limits.unread_seconds, self._drop)

    def resume_writing(self) -> None:
        """Stop the timeout: the client reads again."""
        if self._slow_since:
            self._slow_since.cancel()
            self._slow_since = None

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        if self._is_open:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the client again."""
        if self._is_open:
            self._transport.resume_reading()

    def _drop(self) -> None:
        self._is_open = False
        self._transport.abort()

    def _check_idle(self) -> None:
        left = self._heard_at + self._limits.idle_seconds - self._loop.time()
        if left > 0:
            self._idle = self._loop.call_later(left, self._check_idle)
        else:
            self.close(CloseCode.NORMAL_CLOSURE)

    def close(self, code: int) -> None:
        """Close the socket."""
        if not self._is_open:
            return
        self._is_open = False
        if self._session:
            self._protocol.send_close(code)
            for output in self._protocol.data_to_send():
                self._transport.write(output)
        self._transport.close()
        self._idle.cancel()
        self._idle = self._loop.call_later(CLOSE_PATIENCE, self._transport.abort)

    def shutdown(self) -> None:
        """Close the socket because the server stops; clients reconnect."""
        self.close(CloseCode.SERVICE_RESTART)
