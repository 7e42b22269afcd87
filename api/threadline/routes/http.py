"""What the routes share: read a body, call the database as the caller, answer with what it returned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from typing import Any, Self

from litestar import Request, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from threadline.bodies import MAX_KEYS, find_fault
from threadline.database import Reply
from threadline.protocol import IS_WHOLE
from threadline.tokens import Caller

PACE = 1000  # bytes a second that a body must have on average, beside the time of one pause
MAX_BYTES = 1_000_000  # of a JSON body: 40,000 characters, metadata and attachments fit several times

# Calls that answer a repeated Idempotency-Key with the first answer; private.calls has the same.
KEYED = frozenset({"create_message", "reply_to_message", "toggle_reaction"})

_FAULTS = {
    "many keys": f"An object in the request body has more than {MAX_KEYS} keys. Send fewer keys, or an array.",
    "too deep": "The request body is nested too deeply. Send fewer levels.",
}

# `request.app.state` holds what `app.py` puts there. Routes take it from there instead of by injection, because
# Litestar starts a task for each injected dependency.
HttpRequest = Request[Any, Any, Any]


def find_header(scope: Scope, name: bytes, default: str | None = None) -> str | None:
    """Return the first header of a name in lower case. Litestar's `headers` would copy and decode all of them."""
    for known, value in scope["headers"]:
        if known == name:
            return value.decode("latin-1")
    return default


def media_type(request: HttpRequest) -> str:
    """Return the media type of the body, in lower case and without parameters."""
    return find_header(request.scope, b"content-type", "").partition(";")[0].strip().lower()


def straight_route(
    path: str, methods: Sequence[str], handle: Callable[[HttpRequest], Awaitable[ASGIApp]]
) -> HTTPRouteHandler:
    """Return a route that calls `handle` as a middleware. Litestar's own way to a handler takes longer than ours."""

    def answering(app: ASGIApp) -> ASGIApp:  # noqa: ARG001
        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            found = await handle(Request(scope, receive, send))
            await found(scope, receive, send)

        return respond

    @route(path, http_method=methods, status_code=200, middleware=[answering])
    async def unused() -> None:
        pass

    return unused


async def verify(request: HttpRequest) -> Caller:
    """Return the caller that the access token proves, or raise InvalidTokenError."""
    return await request.app.state.verifier.verify(find_header(request.scope, b"authorization"))


async def call(function: str, request: HttpRequest, **fixed: str) -> Reply:
    """Call a function as the caller. Its argument joins body, query, path and `fixed`; the last one wins."""
    caller = await verify(request)
    key = find_header(request.scope, b"idempotency-key")
    query = dict(request.query_params.items()) if request.scope["query_string"] else {}
    return await request.app.state.database.call(
        function,
        caller=caller,
        headers={} if key is None else {"idempotency-key": key},
        parameters={**query, **request.path_params, **fixed},
        body=await _read_json(request),
        repeatable=request.method != "POST" or (key is not None and function in KEYED),
    )


def answer(reply: Reply, headers: Mapping[str, str] | None = None) -> ASGIApp:
    """Send a reply as it is, with other headers if given; Litestar's Response would serialize it again."""
    sent = {
        "content-type": "application/json",
        "content-length": str(len(reply.body)),
        **(reply.headers if headers is None else headers),
    }
    encoded = [(name.encode(), value.encode()) for name, value in sent.items()]

    async def respond(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})

    return respond


async def read_body(chunks: AsyncIterable[bytes], limit: int, too_large: str) -> bytes:
    """Collect a body. Raise 413 with the text `too_large` as soon as it has more than `limit` bytes."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise HTTPException(too_large, status_code=413)
    return bytes(body)


class Chunks:
    """The body of a request as it comes. Raises 408 after a pause of `body_timeout` seconds or a pace below PACE."""

    # No generator, because the loop keeps account of each.
    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._received, self._waited, self._is_complete = 0, 0.0, False

    def __aiter__(self) -> Self:
        """Return itself: a body can be read once."""
        return self

    async def __anext__(self) -> bytes:
        """Return some bytes."""
        while not self._is_complete:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise HTTPException("The client has gone.", status_code=500)
            self._received += len(message["body"])
            self._is_complete = not message.get("more_body")
            if message["body"]:
                return message["body"]
        raise StopAsyncIteration

    async def _receive(self) -> Message:
        if IS_WHOLE in self._request.scope:
            return await self._request.receive()
        patience = self._request.app.state.settings.body_timeout
        began = time.monotonic()
        try:
            async with asyncio.timeout(min(patience, patience + self._received / PACE - self._waited)):
                return await self._request.receive()
        except TimeoutError:
            text = f"The body took too long. Send it without pauses of {patience} seconds."
            raise HTTPException(text, status_code=408, headers={"connection": "close"}) from None
        finally:
            self._waited += time.monotonic() - began  # without the time that the reader of this body takes


async def _read_json(request: HttpRequest) -> bytes:
    body = await read_body(Chunks(request), MAX_BYTES, f"The body is too large. Send at most {MAX_BYTES} bytes.")
    if body and media_type(request) != "application/json":
        raise HTTPException("The body must be JSON. Set Content-Type to application/json.", status_code=415)
    if fault := await find_fault(body):
        raise HTTPException(_FAULTS[fault], status_code=400, extra={"code": "invalid_json"})
    return body
