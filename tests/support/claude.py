"""A local stand-in for the Claude API: POST /v1/messages as a stream, and its errors."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-ant-canary-0123456789"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass
class Reply:
    """What the stand-in answers.

    Attributes:
        text: what the model says.
        pieces: what it says instead, piece by piece, each with the places of the blocks that it cites.
        stop_reason: why it stopped.
        status: of HTTP; above 399 an error of the type that belongs to it.
        breaks: with an "error" event in the midst of a stream, or with the "connection", there or "at once".
        delay: seconds before it answers.
    """

    text: str = "They talked."
    pieces: tuple[tuple[str, tuple[int, ...]], ...] = ()
    stop_reason: str = "end_turn"
    status: int = 200
    breaks: str = ""
    delay: float = 0


@dataclass
class Claude:
    """A running stand-in. `answer` picks the reply to each request by its body; `requests` keeps them all."""

    url: str = ""
    answer: Callable[[dict[str, Any]], Reply] = lambda _: Reply()
    requests: list[dict[str, Any]] = field(default_factory=list)
    is_open: threading.Event = field(default_factory=threading.Event)

    def reset(self) -> None:
        """Forget the requests and restore the default answer."""
        self.answer = lambda _: Reply()
        self.requests.clear()
        self.is_open.set()

    def prompts(self) -> list[str]:
        """Return the user text of all requests."""
        return [json.dumps(request["messages"][0]["content"]) for request in self.requests]

    def transcripts(self) -> list[list[dict[str, Any]]]:
        """The blocks of the document of each prompt."""
        documents = [request["messages"][0]["content"][0] for request in self.requests]
        assert all(each["citations"] == {"enabled": True} for each in documents)
        return [[json.loads(block["text"]) for block in each["source"]["content"]] for each in documents]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if problem := self._problem(body):
            self._send_error(*problem)
            return
        claude = self.server.claude
        claude.requests.append(body)
        claude.is_open.wait(30)
        reply = claude.answer(body)
        time.sleep(reply.delay)
        with suppress(ConnectionError):
            if reply.breaks == "at once":
                self.close_connection = True
            elif reply.status >= 400:
                self._send_error(reply.status, "as the test has it")
            else:
                self._stream(body["model"], reply)

    def _problem(self, body: dict[str, Any]) -> tuple[int, str] | None:
        if self.path != "/v1/messages":
            return 404, "Not found"
        authorization = self.headers.get("authorization") or ""
        if KEY not in {self.headers.get("x-api-key"), authorization.removeprefix("Bearer ")}:
            return 401, "invalid x-api-key"
        if not self.headers.get("anthropic-version"):
            return 400, "anthropic-version: header is required"
        missing = {"model", "max_tokens", "messages"} - body.keys()
        if missing or body["messages"][-1]["role"] != "user" or body.get("stream") is not True:
            return 400, f"{missing or 'messages, stream'}: not as they must be"
        return None

    def _send_error(self, status: int, text: str) -> None:
        error = {"type": "error", "error": {"type": ERROR_TYPES[status], "message": text}, "request_id": "req_test"}
        content = json.dumps(error).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.send_header("request-id", "req_test")
        # The SDK waits this long before it retries.
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(content)

    def _stream(self, model: str, reply: Reply) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events(model, reply):
            data = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if reply.breaks == "connection":
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100
    claude: Claude


def events(model: str, reply: Reply) -> Iterator[dict[str, Any]]:
    """Yield the events of a streamed message until it breaks."""
    message = {
        "id": "msg_test",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": message}
    yield {"type": "ping"}
    for index, (text, cited) in enumerate(reply.pieces):
        yield {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
        yield {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}
        for place in cited:
            citation = {"type": "content_block_location", "cited_text": "x", "document_index": 0}
            citation |= {"document_title": None, "start_block_index": place, "end_block_index": place + 1}
            yield {
                "type": "content_block_delta",
                "index": index,
                "delta": {"type": "citations_delta", "citation": citation},
            }
        yield {"type": "content_block_stop", "index": index}
    index = len(reply.pieces)
    yield {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
    said = "" if reply.pieces else reply.text
    half = len(said) // 2
    yield {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": said[:half]}}
    if reply.breaks == "error":
        yield {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    if reply.breaks:
        return
    yield {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": said[half:]}}
    yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": reply.stop_reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}}
    yield {"type": "message_stop"}


@contextmanager
def running() -> Iterator[Claude]:
    """A stand-in for the length of the block."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.claude = Claude(f"http://127.0.0.1:{server.server_port}")
        server.claude.reset()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.claude
        finally:
            server.claude.is_open.set()
            server.shutdown()
            thread.join()
