"""HTTP/1.1 of uvicorn and httptools, with a limit for headers, without trailers and without slow clients."""

from __future__ import annotations

from asyncio import TimerHandle
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

IS_WHOLE = "threadline.is_whole"  # key of the scope, once the whole body has come
MAX_HEAD = 1_000_000  # bytes of a request line with headers, or of trailers, or of a chunk header
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """One connection. Pass it to uvicorn as `http`, with `patience` bound; uvicorn gives the other arguments.

    A client that holds a connection must keep up. It has `patience` seconds to send the head of a request, to end a
    body that no route reads any more, and to read some of an answer. Routes have their own limit for bodies.
    """

    def __init__(self, *arguments: Any, patience: float, **options: Any) -> None:
        """Start a connection."""
        super().__init__(*arguments, **options)
        self._patience = patience
        self._unanswered = 0  # bytes since the parser last finished an element
        self._is_in_head = True  # or between two requests
        self._head_timer: TimerHandle | None = None
        self._read_timer: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self._patience, self._end_slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_head_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuse elements that grow without end, because the parser keeps incomplete ones in memory."""
        self._unanswered += len(data)
        super().data_received(data)
        if self._unanswered > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")
        elif self._head_timer is None and self._is_unread():
            self._head_timer = self.loop.call_later(self._patience, self._end_slow_head)

    def on_headers_complete(self) -> None:
        """Start the body. Drop trailers: a proxy in front has not checked them as headers (RFC 9110, 6.5.1)."""
        self._is_in_head, self._unanswered = False, 0
        self._stop_head_timer()
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.headers = []  # of the trailers; the scope has the list of the headers

    def on_body(self, body: bytes) -> None:
        """Restart the count: the routes limit the body."""
        self._unanswered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Restart the count and wait for the next head."""
        self._is_in_head, self._unanswered = True, 0
        self._stop_head_timer()
        self.scope[IS_WHOLE] = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Wait for a client that does not read its answer."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(self._patience, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop waiting: the client reads again."""
        self._stop_read_timer()
        super().resume_writing()

    def _is_unread(self) -> bool:
        # Bytes of a head that is not complete, or of a body whose answer is sent.
        return self._unanswered > 0 if self._is_in_head else self.cycle is not None and self.cycle.response_complete

    def _end_slow_head(self) -> None:
        if not self.transport.is_closing():
            # Not for a body that no route reads: its request is answered.
            if self._is_in_head and (self.cycle is None or self.cycle.response_complete):
                self.transport.write(TOO_SLOW)
            self.transport.close()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
