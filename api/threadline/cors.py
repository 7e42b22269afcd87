"""Allows web pages of all origins to call /api/v2. That is safe, because callers send a token and never a cookie."""

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
    "access-control-allow-methods": "DELETE, GET, PATCH, POST, PUT",
    "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, idempotency-key",
    "access-control-max-age": "7200",  # seconds, the most that browsers accept
}
_ADDED = [(name.encode(), value.encode()) for name, value in _ALWAYS.items()]


def allow_browsers(app: ASGIApp) -> ASGIApp:
    """Wrap an application: answer preflight requests to /api/v2 and add CORS headers to its other answers."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_ADDED]
            await send(message)

        if scope["type"] != "http" or not scope["path"].startswith("/api/v2/"):
            await app(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await ASGIResponse(status_code=204, headers=_PREFLIGHT)(scope, receive, send)
        else:
            await app(scope, receive, send_allowed)

    return middleware
