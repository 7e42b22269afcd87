"""The HTTP side of a Supabase project, as far as `threadline doctor` reads it; each answer can be faulty."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """An answer; `seconds` is how far its clock is ahead, None that it tells no time.

    `needs_key`: it is given to requests with a key only.
    """

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float | None = 0
    needs_key: bool = False


IN_ORDER = {
    "/auth/v1/.well-known/jwks.json": Answer(200, {"keys": [{"kty": "EC", "kid": "1"}]}),
    "/functions/v1/messaging-ingest": Answer(
        401, {"error": "Invalid API key"}, {"access-control-allow-headers": "content-type, x-api-key"}
    ),
    "/storage/v1/bucket": Answer(200, []),
    "/rest/v1/settings": Answer(406, {"code": "PGRST106"}),
    "/realtime/v1/websocket": Answer(101, headers={"connection": "Upgrade", "upgrade": "websocket"}),
}


# What the servers answer when the gateway passes a key on that it does not know.
PASSED_ON = {
    "/storage/v1/bucket": Answer(400, {"statusCode": "403", "error": "Unauthorized", "message": "Invalid Compact JWS"}),
    "/rest/v1/settings": Answer(401, {"code": "PGRST301", "message": "Expected 3 parts in JWT; got 1"}),
}
INVALID_KEY = Answer(401, {"message": "Invalid API key"})


@dataclass
class Project:
    """A running gateway.

    `faults` replaces its sound answers, by path. It refuses the keys in `refused` itself, and passes on those in
    `passed_on`, which the servers refuse.
    """

    url: str
    faults: dict[str, Answer] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    passed_on: set[str] = field(default_factory=set)

    def answer(self, path: str, key: str | None) -> Answer:
        """Return the answer to a request."""
        if key in self.refused and path.startswith(("/rest/", "/storage/", "/realtime/")):
            return INVALID_KEY
        if key in self.passed_on and path in PASSED_ON:
            return PASSED_ON[path]
        answer = self.faults.get(path) or IN_ORDER[path]
        return answer if key or not answer.needs_key else INVALID_KEY


@contextmanager
def running() -> Iterator[Project]:
    """Run a gateway for the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            key, token = self.headers.get("apikey"), self.headers.get("authorization")
            is_sent = path not in PASSED_ON or token == f"Bearer {key}"
            answer = project.answer(path, key) if is_sent else INVALID_KEY
            content = b"" if answer.body is None else json.dumps(answer.body).encode()
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response_only(answer.status)
            if answer.seconds is not None:
                self.send_header("date", formatdate(time.time() + answer.seconds, usegmt=True))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status == 101:
                self.close_connection = True
            else:
                self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the name is the library's

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        project = Project(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield project
        finally:
            server.shutdown()
