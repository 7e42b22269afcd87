"""A Realtime whose replication connection is ready only some time after a join, as on an idle hosted project."""

import socket
import threading
import time
from contextlib import suppress

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from tests.support.line import Line

READY = "Replication connection established"


class IdleProject(Line):
    """A line to a stack that loses the broadcasts of the first seconds of each connection.

    Args:
        target: the port of the stack.
        seconds: how long the replication connection takes.

    Attributes:
        lost: how many frames it has lost.
    """

    def __init__(self, target: int, seconds: float = 2) -> None:
        self.lost = 0
        self._seconds = seconds
        self._ready: set[object] = set()
        self._server = serve(self._serve, "127.0.0.1", 0, compression=None)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        super().__init__(target)

    def connect(self, client: socket.socket) -> socket.socket:
        """Connect a WebSocket to the idle Realtime, anything else to the stack."""
        is_websocket = client.recv(512, socket.MSG_PEEK).startswith(b"GET /realtime/v1/websocket")
        port = self._server.socket.getsockname()[1] if is_websocket else self._target
        return socket.create_connection(("127.0.0.1", port))

    def close(self) -> None:
        """Stop."""
        super().close()
        self._server.shutdown()

    def _serve(self, client: ServerConnection) -> None:
        url = f"ws://127.0.0.1:{self._target}{client.request.path}"
        with suppress(ConnectionClosed), connect(url, compression=None) as stack:
            threading.Thread(target=self._send, args=(client, stack), daemon=True).start()
            for frame in stack:
                if isinstance(frame, str) and READY in frame:
                    threading.Thread(target=self._get_ready, args=(client, frame), daemon=True).start()
                elif client.id in self._ready or not is_broadcast(frame):
                    client.send(frame)
                else:
                    self.lost += 1

    def _get_ready(self, client: ServerConnection, frame: str) -> None:
        time.sleep(self._seconds)
        self._ready.add(client.id)
        with suppress(ConnectionClosed):
            client.send(frame)

    @staticmethod
    def _send(client: ServerConnection, stack: ClientConnection) -> None:
        with stack, suppress(ConnectionClosed):
            for frame in client:
                stack.send(frame)


def is_broadcast(frame: str | bytes) -> bool:
    """Whether a frame carries a broadcast, in the text or binary form."""
    return frame[:1] == b"\x04" if isinstance(frame, bytes) else '"broadcast"' in frame
