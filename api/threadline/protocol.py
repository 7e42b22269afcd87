"""HTTP/1.1 of uvicorn and httptools, with a limit for headers and without trailers."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 1_000_000  # bytes of a request line with headers, or of trailers, or of a chunk header


class Protocol(HttpToolsProtocol):
    """One connection. Pass it to uvicorn as `http`; uvicorn gives the arguments."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Start a connection."""
        super().__init__(*arguments, **options)
        self._unanswered = 0  # bytes since the parser last finished an element
        self._is_in_head = True

    def data_received(self, data: bytes) -> None:
        """Refuse elements that grow without end, because the parser keeps incomplete ones in memory."""
        self._unanswered += len(data)
        super().data_received(data)
        if self._unanswered > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")

    def on_message_begin(self) -> None:
        """Start the headers of the next request."""
        self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Drop trailers: a proxy in front has not checked them as headers (RFC 9110, 6.5.1)."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the body."""
        self._is_in_head, self._unanswered = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Restart the count: the routes limit the body."""
        self._unanswered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Restart the count."""
        self._unanswered = 0
        super().on_message_complete()
