"""Bodies of requests and answers, for every server behind the gateway."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from litestar import Request
from litestar.types import Send

JSON = "application/json; charset=utf-8"


class ClientGoneError(Exception):
    """The client closed the connection before it sent the whole body."""


class BodyTooLargeError(Exception):
    """The body has more bytes than the server accepts."""


async def read_pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it arrives; raise ClientGoneError if the client goes before the end."""
    more = True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        more = message["more_body"]
        if message["body"]:
            yield message["body"]


async def read_body(request: Request, limit: float = float("inf")) -> bytes:
    """Return the whole body; raise BodyTooLargeError if it has more than `limit` bytes, or ClientGoneError."""
    body = bytearray()
    async for piece in read_pieces(request):
        body += piece
        if len(body) > limit:
            raise BodyTooLargeError
    return bytes(body)


@dataclass
class Answer:
    """A status, headers, and a body in pieces.

    Attributes:
        status: HTTP status.
        headers: names in lower case.
        body: the pieces.
        forwarded: headers of another server, as they came: a name may occur twice.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterable[bytes] | AsyncGenerator[bytes] = ()
    forwarded: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def send(self, send: Send) -> None:
        """Send the answer, piece by piece."""
        own = [(name.encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": [*self.forwarded, *own]})
        if isinstance(self.body, AsyncGenerator):
            async with aclosing(self.body) as pieces:
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        else:
            for piece in self.body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def text(content: str, status: int = 200) -> Answer:
    """Return an answer with a text."""
    body = content.encode()
    headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body))}
    return Answer(status, headers, [body])


def document(content: Any, status: int = 200, **headers: str) -> Answer:
    """Return an answer in JSON; `_` in the name of a header stands for `-`."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"content-type": JSON, "content-length": str(len(body)), **named}, [body])
