"""Lets the pages of every origin call /api/v2: who calls, tokens say, and no cookie does."""

from __future__ import annotations

from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": (
        "idempotent-replayed, ratelimit-limit, ratelimit-remaining, ratelimit-reset, retry-after"
    ),
}
_PREFLIGHT = {
    **_ALWAYS,
    "access-control-allow-methods": "DELETE, GET, POST, PUT",
    "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, idempotency-key",
    "access-control-max-age": "7200",  # seconds; browsers keep it no longer
}
_ADDED = [(name.encode(), value.encode()) for name, value in _ALWAYS.items()]


def allow_browsers(app: ASGIApp) -> ASGIApp:
    """Wrap an application: /api/v2 answers preflight requests, and says on each answer that any page may read it."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/v2/"):
            await app(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await ASGIResponse(status_code=204, headers=_PREFLIGHT)(scope, receive, send)
            return

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_ADDED]
            await send(message)

        await app(scope, receive, send_allowed)

    return middleware
