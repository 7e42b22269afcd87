"""A stand-in for messaging-ingest and Storage that records requests and stores messages by their ids."""

import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import islice
from pathlib import Path

import pytest
from threadline_import.media import KINDS


@dataclass
class Endpoint:
    url: str
    requests: list[tuple[str, dict, dict]] = field(default_factory=list)
    answers: list[tuple[int, dict, object]] = field(default_factory=list)
    stored: dict[tuple[str, str], dict] = field(default_factory=dict)
    puts: list[tuple[str, str, bytes]] = field(default_factory=list)
    put_answers: list[tuple[int, object]] = field(default_factory=list)
    is_full: bool = False

    @property
    def bodies(self) -> list[dict]:
        return [body for _, _, body in self.requests]

    def answer(self, body: dict) -> tuple[int, dict, object]:
        if self.answers:
            return self.answers.pop(0)
        results = [self._store(conversation) for conversation in body["conversations"]]
        if body.get("media_uploads"):
            self._offer(body["conversations"], results)
        return 200, {}, {"success": True, "processed": len(results), "results": results}

    def _store(self, conversation: dict) -> dict:
        name = conversation["external_conversation_id"]
        new = {(name, message["id"]): message for message in conversation["messages"]}
        changed = [key[1] for key, message in new.items() if self.stored.get(key, message) != message]
        added = {key: message for key, message in new.items() if key not in self.stored}
        self.stored |= added
        return {"messages_added": len(added), "status": "updated", "conflicting_message_ids": changed}

    def _offer(self, conversations: list[dict], results: list[dict]) -> None:
        kept = {path for path, _, _ in self.puts}
        wanted = (
            (result, message["id"])
            for conversation, result in zip(conversations, results, strict=True)
            for message in conversation["messages"]
            if message["type"] in KINDS and f"/{message['id']}" not in kept
        )
        for result in results:
            result |= {"uploads": [], "conversation_id": "c"}
        for result, name in islice(wanted, 100):
            if self.is_full:
                result["uploads_refused"] = result.get("uploads_refused", 0) + 1
            else:
                result["uploads"].append({"message_id": name, "path": name, "url": f"{self.url}/{name}"})

    def put(self, path: str, kind: str, content: bytes) -> tuple[int, object]:
        if self.put_answers and (answer := self.put_answers.pop(0))[0] != 200:
            return answer
        self.puts.append((path, kind, content))
        return 200, {}


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Endpoint]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(gzip.decompress(self.rfile.read(int(self.headers["Content-Length"]))))
            stand_in.requests.append((self.path, dict(self.headers), body))
            status, headers, answer = stand_in.answer(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.encode() if isinstance(answer, str) else json.dumps(answer).encode())

        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            assert "x-api-key" not in self.headers
            status, answer = stand_in.put(self.path, self.headers["Content-Type"], content)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        stand_in = Endpoint(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield stand_in
        server.shutdown()
        thread.join()
