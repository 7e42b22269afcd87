"""What is sent to the ingest endpoint and what must come back, to the byte, from whichever door."""

import gzip
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from tests.support.ingest import conversation, message, request

CONNECTION = "$connection"  # stands in bodies for the connection that the case gets
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LIMIT = 10_000_000
ORIGIN = {"access-control-allow-origin": "*"}
CORS = {
    **ORIGIN,
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, x-api-key",
}
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What of a response is promised. Ids that the database makes up are written `<uuid>`."""

    status: int
    body: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, response: httpx.Response) -> "Answer":
        """Read a response; headers that only the two servers differ in are left out."""
        named = ("content-type", "allow", "retry-after", "vary", "content-encoding", "cache-control")
        headers = {
            name: value
            for name, value in response.headers.items()
            if name in named or name.startswith("access-control-")
        }
        return cls(response.status_code, UUID.sub(b"<uuid>", response.content), headers)


def from_sql(status: int, body: str) -> Answer:
    """An answer that `public.messaging_ingest` makes."""
    return Answer(status, body.encode(), {**CORS, **JSON})


def from_http(status: int, error: str, **headers: str) -> Answer:
    """An answer that the door makes by itself."""
    return Answer(status, f'{{"error":"{error}"}}'.encode(), {**ORIGIN, **JSON, **headers})


def success(*results: str) -> Answer:
    """The answer to a request whose conversations were all read."""
    return from_sql(
        200, f'{{"success" : true, "processed" : {len(results)}, "results" : [{", ".join(results)}]}}'
    )


def result(messages_added: int, status: str, more: str = "") -> str:
    """What became of one conversation."""
    return f'{{"conversation_id" : "<uuid>", "messages_added" : {messages_added}, "status" : "{status}"{more}}}'


@dataclass(frozen=True)
class Case:
    """A request and its answer. A header of None is left out; `before` has been sent when the request is made."""

    name: str
    answer: Answer
    body: bytes | Sequence[bytes] = b""
    method: str = "POST"
    headers: dict[str, str | bytes | None] = field(default_factory=dict)
    before: bytes | None = None
    is_active: bool = True


def document(*conversations: Any, **fields: Any) -> bytes:
    """A request body on the connection of the case."""
    return json.dumps(request(*conversations, **{"connection_id": CONNECTION, **fields})).encode()


def padded(size: int) -> bytes:
    """A request body of this many bytes once it names the connection of the case, which takes 21."""
    return ONE.ljust(size - 21 + len(CONNECTION))


def zipped(*bodies: bytes, **fields: Any) -> dict[str, Any]:
    """What a case has whose body is these, each compressed by itself."""
    return {"body": b"".join(gzip.compress(body) for body in bodies), "headers": {"content-encoding": "gzip"}, **fields}


ONE = document(conversation(message()))
CREATED = success(result(1, "created"))
NOT_JSON = from_sql(400, '{"error" : "Request body is not valid JSON"}')
MISSING = from_sql(400, '{"error" : "Missing required fields: platform, connection_id, conversations"}')
NO_KEY = from_sql(401, '{"error" : "Missing x-api-key header"}')
WRONG_KEY = from_sql(401, '{"error" : "Invalid API key"}')
WRONG_CONNECTION = from_sql(401, '{"error" : "Invalid connection_id or platform"}')
WRONG_METHOD = from_http(405, "Method not allowed", allow="POST, OPTIONS")
WRONG_TYPE = from_http(415, "Content-Type must be application/json")
WRONG_ENCODING = from_http(415, "Content-Encoding must be gzip or identity")
NOT_GZIP = from_http(400, "Request body is not valid gzip")
TOO_LARGE = from_http(413, f"Request body too large: at most {LIMIT} bytes")
TOO_MANY = from_sql(413, '{"error" : "Too many messages: at most 5000 in one request"}')
UNAVAILABLE = from_http(503, "Service temporarily unavailable", **{"retry-after": "5"})
