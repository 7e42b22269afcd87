"""HTTP/1.1 as uvicorn speaks it with httptools, less what it takes from anybody: trailers, and heads without an end."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 1_000_000  # bytes of a request line and headers; as many after a body, or between two pieces of it


class Protocol(HttpToolsProtocol):
    """One connection. Name it as `http` in uvicorn's configuration; the arguments are uvicorn's."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take what uvicorn hands to its own."""
        super().__init__(*arguments, **options)
        self._unanswered = 0  # bytes since the parser last made something of them
        self._is_in_head = True

    def data_received(self, data: bytes) -> None:
        """Refuse what only grows: the parser keeps the start of whatever is not complete."""
        self._unanswered += len(data)
        super().data_received(data)
        if self._unanswered > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")

    def on_message_begin(self) -> None:
        """Start with the next head."""
        self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Leave out trailers: whoever stands before us has not seen them as headers (RFC 9110, 6.5.1)."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Take what follows for the body."""
        self._is_in_head, self._unanswered = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count from here: what belongs to the body has limits of its own."""
        self._unanswered = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Count from here."""
        self._unanswered = 0
        super().on_message_complete()
