"""Digital twins as their owners run them: a web server for webhooks, and `threadline work` that posts to it."""

import hashlib
import hmac
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support import calls, forking
from tests.support.sessions import session

# The worker may post to this machine; a lost delivery is free again after three seconds.
ENVIRONMENT = {"THREADLINE_DELIVER": "1", "THREADLINE_WEBHOOK_ALLOW_PRIVATE": "1", "THREADLINE_WEBHOOK_TIMEOUT": "1"}


@dataclass(frozen=True)
class Told:
    """A request that a webhook received."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        """The message in it."""
        return json.loads(self.body)

    @property
    def queue(self) -> tuple[str, str]:
        """The twin and the channel; deliveries of one queue are ordered."""
        return self.headers["threadline-twin"], self.message["channel_id"]

    def is_signed_with(self, secret: str) -> bool:
        """Check the signature as a twin does."""
        moment, *signatures = self.headers["threadline-signature"].split(",")
        signed = moment.removeprefix("t=").encode() + b"." + self.body
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        is_recent = abs(time.time() - int(moment.removeprefix("t="))) < 300
        return is_recent and any(hmac.compare_digest(each, f"v1={expected}") for each in signatures)


@dataclass
class Webhook:
    """A running webhook and its requests. `answer` decides the status and may be slow."""

    port: int
    answer: Callable[[Told], int]
    told: list[Told] = field(default_factory=list)
    taken: list[Told] = field(default_factory=list)  # requests answered with 200
    overlaps: int = 0  # requests during an unanswered request of the same queue
    _busy: set[tuple[str, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/hook"

    def take(self, told: Told) -> int:
        """Record a request and decide its status."""
        with self._lock:
            self.told.append(told)
            self.overlaps += told.queue in self._busy
            self._busy.add(told.queue)
        status = self.answer(told)
        with self._lock:
            self._busy.discard(told.queue)
            if status == 200:
                self.taken.append(told)
        return status

    def wait(self, count: int, seconds: float = 60) -> list[Told]:
        """Wait until it has accepted this many requests and return them; raise AssertionError on timeout."""
        until(lambda: len(self.taken) >= count, seconds)
        return self.taken


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until a condition holds; raise AssertionError on timeout."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def webhook(answer: Callable[[Told], int] = lambda _: 200, **headers: str) -> Iterator[Webhook]:
    """Run the web server of a twin for the block; its answers carry these headers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            names = {name.lower(): value for name, value in self.headers.items()}
            status = running.take(Told(self.path, names, body))
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:
                self.close_connection = True  # the worker did not wait, or is dead

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass  # a killed worker leaves broken connections

    with Server(("127.0.0.1", 0), Handler) as server:
        running = Webhook(server.server_port, answer)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield running
        finally:
            server.shutdown()


@contextmanager
def working(database_url: str, log: Path, **environment: str) -> Iterator[forking.Forked | subprocess.Popen[bytes]]:
    """Run `threadline work` for the block."""
    with log.open("ab") as output:
        variables = {**os.environ, "DATABASE_URL": database_url, **ENVIRONMENT, **environment}
        process = forking.start(["work"], variables, output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()


def add_twin(database_url: str, owner_id: str, channel_ids: list[str], url: str) -> tuple[str, str]:
    """Create a twin with a webhook; return its id and its secret."""
    with session(database_url) as db:
        (twin_id,) = db.execute(
            "insert into public.ai_twins (user_id, display_name) values (%s, 'Twin') returning id::text", (owner_id,)
        ).fetchone()
        db.execute(
            "insert into public.channel_twins (channel_id, ai_twin_id) select unnest(%s::uuid[]), %s",
            (channel_ids, twin_id),
        )
    return twin_id, ask(database_url, owner_id, "set_twin_webhook", ai_twin_id=twin_id, url=url)["secret"]


def ask(database_url: str, user_id: str, function: str, **fields: object) -> Any:
    """Call a function of the Data API as a user and return its data."""
    with session(database_url) as db:
        return calls.ask(db, user_id, function, **fields)
