"""Requests to the ingest endpoint and the exact answers that both doors must give."""

import gzip
import json
import random
import re
from collections.abc import Callable, Iterable
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
    """The promised parts of a response. Generated ids are written `<uuid>`."""

    status: int
    body: bytes
    headers: dict[str, str]

    @classmethod
    def of(cls, response: httpx.Response) -> "Answer":
        """Read a response without the headers in which the two servers differ."""
        named = ("content-type", "allow", "retry-after", "vary", "content-encoding", "cache-control")
        headers = {
            name: value
            for name, value in response.headers.items()
            if name in named or name.startswith("access-control-")
        }
        return cls(response.status_code, UUID.sub(b"<uuid>", response.content), headers)


def from_sql(status: int, body: str) -> Answer:
    """Return an answer of `public.messaging_ingest`."""
    return Answer(status, body.encode(), {**CORS, **JSON})


def from_http(status: int, error: str, **headers: str) -> Answer:
    """Return an answer that the door itself gives."""
    return Answer(status, f'{{"error":"{error}"}}'.encode(), {**ORIGIN, **JSON, **headers})


def success(*results: str) -> Answer:
    """Return the answer to a request with readable conversations."""
    return from_sql(200, f'{{"success" : true, "processed" : {len(results)}, "results" : [{", ".join(results)}]}}')


def result(messages_added: int, status: str, more: str = "") -> str:
    """Return the result of one conversation."""
    return f'{{"conversation_id" : "<uuid>", "messages_added" : {messages_added}, "status" : "{status}"{more}}}'


@dataclass(frozen=True)
class Case:
    """A request and its answer.

    Attributes:
        name: its id among the tests.
        answer: what must come back.
        body: what is sent, with CONNECTION in it.
        encode: the last step that encodes the body.
        headers: beside the key and the media type; None leaves one out.
        method: of the request.
        before: a body that has been sent before.
        is_active: whether the connection is.
    """

    name: str
    answer: Answer
    body: bytes = b""
    encode: Callable[[bytes], bytes | Iterable[bytes]] = bytes
    headers: dict[str, str | bytes | None] = field(default_factory=dict)
    method: str = "POST"
    before: bytes | None = None
    is_active: bool = True


def document(*conversations: Any, **fields: Any) -> bytes:
    """A request body on the connection of the case."""
    return json.dumps(request(*conversations, **{"connection_id": CONNECTION, **fields})).encode()


def without(name: str) -> bytes:
    """A request body that lacks a field."""
    return json.dumps({key: value for key, value in json.loads(ONE).items() if key != name}).encode()


def in_chunks(body: bytes) -> Iterable[bytes]:
    """Send a body without Content-Length."""
    yield body[:10]
    yield body[10:]


def keyed(body: bytes, count: int, name: str = "key {}", filler: int = 65_000) -> bytes:
    """Add an object of `count` keys to a body, and enough text for a door to look at it."""
    keys = ",".join(f'"{name.format(number)}":{{":":1}}' for number in range(count))
    rest = "x" * filler + "[" * 2001  # neither the colons nor the brackets are enough alone
    return body.removesuffix(b"}") + f', "text": "\\"{{:" , "own": {{{keys}}}, "rest": "{rest}"}}'.encode()


def marked(body: bytes, count: int) -> bytes:
    """Add 1001 keys to a body, and brackets until it has so many colons and brackets."""
    full = keyed(body, 1001)
    return full.replace(b"[" * 2001, b"[" * (2001 + count - full.count(b":") - full.count(b"[")))


def dense(body: bytes) -> bytes:
    """Add a text that gzip cannot make small."""
    return body.removesuffix(b"}") + f', "text": "{random.Random(1).randbytes(100_000).hex()}"}}'.encode()


def bomb(_: bytes) -> bytes:
    """Gzip of 100 kB that is 100 MB when decompressed."""
    return gzip.compress(bytes(100_000_000))


ONE = document(conversation(message()))
TWO = document(conversation(message("m1", content="changed"), message("m2")))
READ = {"message_id": "m1", "type": "read", "at": "2026-02-01T10:30:00Z"}
GZIP = {"content-encoding": "gzip"}

CREATED = success(result(1, "created"))
NOT_JSON = from_sql(400, '{"error" : "Request body is not valid JSON"}')
MISSING = from_sql(400, '{"error" : "Missing required fields: platform, connection_id, conversations"}')
NO_ARRAY = from_sql(400, '{"error" : "conversations must be an array"}')
NO_KEY = from_sql(401, '{"error" : "Missing x-api-key header"}')
WRONG_KEY = from_sql(401, '{"error" : "Invalid API key"}')
WRONG_CONNECTION = from_sql(401, '{"error" : "Invalid connection_id or platform"}')
INACTIVE = from_sql(403, '{"error" : "Connection is inactive"}')
TOO_MANY = from_sql(413, '{"error" : "Too many messages: at most 5000 in one request"}')
WRONG_METHOD = from_http(405, "Method not allowed", allow="POST, OPTIONS")
WRONG_TYPE = from_http(415, "Content-Type must be application/json")
WRONG_ENCODING = from_http(415, "Content-Encoding must be gzip or identity")
NOT_GZIP = from_http(400, "Request body is not valid gzip")
MANY_KEYS = from_http(400, "Request body has an object with more than 1000 keys")
TOO_LARGE = from_http(413, f"Request body too large: at most {LIMIT} bytes")
UNAVAILABLE = from_http(503, "Service temporarily unavailable", **{"retry-after": "5"})

CASES = [
    # stored requests
    Case("created", CREATED, ONE),
    Case("no-new-messages", success(result(0, "no_new_messages")), ONE, before=ONE),
    Case(
        "updated-with-a-conflict",
        success(result(1, "updated", ', "conflicting_message_ids" : ["m1"]')),
        TWO,
        before=ONE,
    ),
    Case(
        "updates",
        from_sql(
            200,
            '{"success" : true, "processed" : 1, "results" : [{"conversation_id":"<uuid>","messages_added":1,'
            '"status":"created","updates_added":2,"updates_waiting":1}]}',
        ),
        document(conversation(message(), updates=[READ, {**READ, "message_id": "m2"}])),
    ),
    Case(
        "update-with-an-error",
        from_sql(
            200,
            '{"success" : true, "processed" : 0, "results" : ['
            '{"conversation_id" : null, "external_conversation_id" : "chat", "messages_added" : 0,'
            ' "status" : "error: updates[0].at must be an ISO 8601 timestamp"}]}',
        ),
        document(conversation(message(), updates=[{**READ, "at": "now"}])),
    ),
    Case("nothing", success(), document()),
    Case(
        "one-conversation-wrong",
        from_sql(
            200,
            '{"success" : true, "processed" : 1, "results" : ['
            '{"conversation_id" : null, "external_conversation_id" : "chat", "messages_added" : 0,'
            ' "status" : "error: messages[0].direction must be inbound or outbound"},'
            ' {"conversation_id" : "<uuid>", "messages_added" : 1, "status" : "created"}]}',
        ),
        document(conversation({"id": "m1"}), conversation(message(), external_id="other")),
    ),
    Case("beyond-ascii", CREATED, ONE, lambda body: body.replace(b"Content", "é 你好 🎉".encode())),
    Case("nul", CREATED, document(conversation(message(content="a\0b")))),
    Case("half-a-surrogate-pair", CREATED, document(conversation(message(content="a\ud83db")))),
    Case("byte-order-mark", CREATED, b"\xef\xbb\xbf" + ONE),
    # rights
    Case("no-key", NO_KEY, ONE, headers={"x-api-key": None}),
    Case("empty-key", NO_KEY, ONE, headers={"x-api-key": ""}),
    Case("wrong-key", WRONG_KEY, ONE, headers={"x-api-key": "wrong"}),
    Case("key-beyond-ascii", WRONG_KEY, ONE, headers={"x-api-key": "clé".encode()}),
    Case("key-in-latin-1", WRONG_KEY, ONE, headers={"x-api-key": "clé".encode("latin-1")}),
    Case("no-key-and-no-json", NO_KEY, b"{", headers={"x-api-key": None}),
    Case("unknown-connection", WRONG_CONNECTION, document(connection_id="unknown")),
    Case("other-platform", WRONG_CONNECTION, document(platform="telegram")),
    Case("inactive", INACTIVE, ONE, is_active=False),
    # invalid requests
    Case("no-platform", MISSING, without("platform")),
    Case("no-connection", MISSING, without("connection_id")),
    Case("no-conversations", MISSING, without("conversations")),
    Case("empty-object", MISSING, b"{}"),
    Case("array", MISSING, b"[]"),
    Case("conversations-no-array", NO_ARRAY, document(), lambda body: body.replace(b"[]", b"{}")),
    Case("empty-body", NOT_JSON),
    Case("half-a-body", NOT_JSON, ONE[:-1]),
    Case("not-utf-8", NOT_JSON, ONE, lambda body: body.replace(b"Content", b"\xff")),
    Case("utf-16", NOT_JSON, ONE, lambda body: body.decode().encode("utf-16")),
    Case("keys-1000", CREATED, ONE, lambda body: keyed(body, 1000, "key: {}")),
    Case("keys-1001", MANY_KEYS, ONE, lambda body: keyed(body, 1001)),
    Case("equal-keys-1001", MANY_KEYS, ONE, lambda body: keyed(body, 1001, "key")),
    Case("keys-1001-and-wrong-key", MANY_KEYS, ONE, lambda body: keyed(body, 1001), {"x-api-key": "wrong"}),
    Case("keys-1001-and-no-key", NO_KEY, ONE, lambda body: keyed(body, 1001), {"x-api-key": None}),
    Case("keys-1001-in-a-small-body", CREATED, ONE, lambda body: keyed(body, 1001, filler=0)),
    Case("keys-1001-in-a-middling-body", CREATED, ONE, lambda body: keyed(body, 1001, filler=0).ljust(65_536)),
    Case("keys-1001-and-few-colons", CREATED, ONE, lambda body: keyed(body, 1001).replace(b"[" * 2001, b"")),
    Case("keys-1001-and-4000-colons", CREATED, ONE, lambda body: marked(body, 4000)),
    Case("keys-1001-and-4001-colons", MANY_KEYS, ONE, lambda body: marked(body, 4001)),
    Case("large-body-cut-short", NOT_JSON, ONE, lambda body: keyed(body, 9)[:-1]),
    Case("messages-5001", TOO_MANY, document(conversation(*[message(f"m{number}") for number in range(5001)]))),
    # media type, method, encoding, size
    Case("media-type-with-parameter", CREATED, ONE, headers={"content-type": "application/json; charset=utf-8"}),
    Case("media-type-in-capitals", CREATED, ONE, headers={"content-type": "Application/JSON ;x=y"}),
    Case("no-media-type", WRONG_TYPE, ONE, headers={"content-type": None}),
    Case("wrong-media-type", WRONG_TYPE, ONE, headers={"content-type": "text/plain"}),
    Case("longer-media-type", WRONG_TYPE, ONE, headers={"content-type": "application/json-seq"}),
    Case("media-type-of-a-form", WRONG_TYPE, ONE, headers={"content-type": "multipart/form-data; boundary=x"}),
    Case("get", WRONG_METHOD, method="GET"),
    Case("put", WRONG_METHOD, ONE, method="PUT"),
    Case("patch", WRONG_METHOD, ONE, method="PATCH"),
    Case("delete", WRONG_METHOD, method="DELETE"),
    Case("head", replace(WRONG_METHOD, body=b""), method="HEAD"),
    Case("options", Answer(204, b"", CORS), method="OPTIONS", headers={"x-api-key": None, "content-type": None}),
    Case("in-chunks", CREATED, ONE, in_chunks),
    Case("gzip", CREATED, ONE, gzip.compress, GZIP),
    Case("gzip-of-noise", CREATED, ONE, lambda body: gzip.compress(dense(body)), GZIP),
    Case("gzip-in-capitals", CREATED, ONE, gzip.compress, {"content-encoding": "GZip"}),
    Case("gzip-in-chunks", CREATED, ONE, lambda body: in_chunks(gzip.compress(body)), GZIP),
    Case("identity", CREATED, ONE, headers={"content-encoding": "identity"}),
    Case("brotli", WRONG_ENCODING, ONE, headers={"content-encoding": "br"}),
    Case("deflate", WRONG_ENCODING, ONE, headers={"content-encoding": "deflate"}),
    Case("two-encodings", WRONG_ENCODING, ONE, headers={"content-encoding": "gzip, gzip"}),
    Case("no-gzip", NOT_GZIP, ONE, headers=GZIP),
    Case("gzip-of-nothing", NOT_GZIP, headers=GZIP),
    Case("gzip-cut-short", NOT_GZIP, ONE, lambda body: gzip.compress(body)[:-3], GZIP),
    Case("gzip-with-wrong-checksum", NOT_GZIP, ONE, lambda body: gzip.compress(body)[:-8] + bytes(8), GZIP),
    Case("gzip-and-more", NOT_GZIP, ONE, lambda body: gzip.compress(body) + b"more", GZIP),
    Case("gzip-twice-over", NOT_GZIP, ONE, lambda body: gzip.compress(body) + gzip.compress(b" "), GZIP),
    Case("gzip-bomb", TOO_LARGE, encode=bomb, headers=GZIP),
    Case("just-small-enough", CREATED, ONE, lambda body: body.ljust(LIMIT)),
    Case("one-byte-too-large", TOO_LARGE, ONE, lambda body: body.ljust(LIMIT + 1)),
    Case("gzip-just-small-enough", CREATED, ONE, lambda body: gzip.compress(body.ljust(LIMIT)), GZIP),
    Case("gzip-one-byte-too-large", TOO_LARGE, ONE, lambda body: gzip.compress(body.ljust(LIMIT + 1)), GZIP),
    Case("much-too-large", TOO_LARGE, ONE, lambda body: body.ljust(LIMIT + 1_000_000)),
    Case("much-too-large-in-chunks", TOO_LARGE, ONE, lambda body: (body.ljust(100_000) for _ in range(110))),
]
