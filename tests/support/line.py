"""A connection between clients and servers that tests can cut."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Line:
    """A TCP relay to a local port that can cut its connections.

    Attributes:
        sent: what clients have sent.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.sent = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._dead: list[tuple[socket.socket, socket.socket]] = []
        self._is_down = False
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_down:
                client.close()
                continue
            try:
                pair = (client, self.connect(client))
            except OSError:
                client.close()  # the server does not listen at the moment
                continue
            self._pairs.append(pair)
            threading.Thread(target=self._relay, args=pair, daemon=True).start()
            if self._is_down:
                self.cut()  # it came just before

    def connect(self, client: socket.socket) -> socket.socket:
        """Connect to where the line of a client ends."""
        return socket.create_connection(("127.0.0.1", self._target))

    def _relay(self, *pair: socket.socket) -> None:
        with suppress(OSError), pair[0], pair[1]:
            while True:
                for source in select.select(pair, [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is pair[0]:
                        self.sent += data
                    if pair not in self._dead:
                        pair[source is pair[0]].sendall(data)

    def kill(self) -> None:
        """Carry nothing more on all connections, and close none of them."""
        self._dead.extend(self._pairs)

    def cut(self) -> None:
        """Close all connections; new ones are accepted at once."""
        pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Close all connections and refuse new ones for the block."""
        self._is_down = True
        self.cut()
        try:
            yield
        finally:
            self._is_down = False

    def close(self) -> None:
        """Stop accepting connections and close the open ones."""
        self._listener.close()
        self.cut()
