"""The importers as modules, and a stand-in for messaging-ingest that records its requests."""

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
# The scripts find the client in their own folder.
sys.path.insert(0, str(EXAMPLES))


@dataclass
class Endpoint:
    url: str
    requests: list[tuple[str, dict, dict]] = field(default_factory=list)
    answers: list[tuple[int, dict, object]] = field(default_factory=list)

    @property
    def bodies(self) -> list[dict]:
        return [body for _, _, body in self.requests]

    def answer(self, body: dict) -> tuple[int, dict, object]:
        if self.answers:
            return self.answers.pop(0)
        results = [
            {"conversation_id": str(n), "messages_added": len(conversation["messages"]), "status": "created"}
            for n, conversation in enumerate(body["conversations"])
        ]
        return 200, {}, {"success": True, "processed": len(results), "results": results}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stand_in.requests.append((self.path, dict(self.headers), body))
            status, headers, answer = stand_in.answer(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        stand_in = Endpoint(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield stand_in
        server.shutdown()
        thread.join()
