"""A proxy in front of Postgres that can be closed, and counts the messages of clients."""

import socket
import threading
from collections import Counter
from contextlib import suppress
from types import TracebackType

STARTUP = 196608  # protocol version 3.0; the TLS request before it has no type either


class Wire:
    """Forwards its own port to Postgres after `open`; before that, the port refuses connections.

    `sent` counts the messages of all clients by type: P Parse, B Bind, E Execute, S Sync, Q Query and so on.
    With `keeps_open` the proxy keeps a client's connection open when Postgres ends it, and sets `has_lost`.
    """

    def __init__(self, target: int) -> None:
        self.sent: Counter[str] = Counter()
        self.keeps_open = False
        self.has_lost = threading.Event()
        self._target = target
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> "Wire":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for end in (self._listener, *self._sockets):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def open(self) -> None:
        """Accept connections from now on."""
        self._listener.listen(100)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                # Otherwise Nagle's algorithm may hold the last words of Postgres back until `has_lost` is set.
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets += [client, server]
                for source, sink, is_client in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=(source, sink, is_client), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_client: bool) -> None:
        frames = Frames(self.sent)
        with suppress(OSError):
            while data := source.recv(65536):
                if is_client:
                    frames.feed(data)
                sink.sendall(data)
            if self.keeps_open and not is_client:
                self.has_lost.set()
                return
            sink.shutdown(socket.SHUT_WR)


class Frames:
    """Splits the bytes of one client into messages and counts them."""

    def __init__(self, counter: Counter[str]) -> None:
        self._counter = counter
        self._rest = b""
        self._has_started = False

    def feed(self, data: bytes) -> None:
        """Add the next bytes."""
        self._rest += data
        while len(self._rest) >= 8 - 3 * self._has_started:
            start = 1 if self._has_started else 0
            end = start + int.from_bytes(self._rest[start : start + 4])
            if len(self._rest) < end:
                return
            if self._has_started:
                self._counter[chr(self._rest[0])] += 1
            else:
                self._has_started = int.from_bytes(self._rest[4:8]) == STARTUP
            self._rest = self._rest[end:]
