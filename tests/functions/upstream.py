"""A Data API with scripted answers that records its requests."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Event, Thread


@dataclass(frozen=True)
class Reply:
    """A scripted answer: complete, cut off after some bytes, or none at all."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    sent: int | None = None  # bytes of the body, after which the connection breaks
    is_silent: bool = False
    waits_with: Barrier | None = None  # until the others are there


@dataclass(frozen=True)
class Question:
    """A recorded request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """The server: its URL, its remaining replies, and the questions it received."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)


@contextmanager
def running() -> Iterator[Upstream]:
    """Run a server for the block."""
    at_the_end = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            upstream.questions.append(Question(self.command, self.path, headers, body))
            reply = upstream.replies.pop(0)
            if reply.is_silent:
                at_the_end.wait(300)  # longer than a client waits
                return
            if reply.waits_with:
                reply.waits_with.wait()
            content = reply.body.encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: reply.sent])
            if reply.sent is not None:
                self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        upstream = Upstream(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield upstream
        finally:
            at_the_end.set()
            server.shutdown()
            thread.join()
