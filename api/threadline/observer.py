"""Around all routes: gives each request an id, and notes what became of it in the log and in the metrics."""

from __future__ import annotations

import logging
import re
from functools import cache
from time import perf_counter

from litestar.datastructures import Headers
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from threadline import logs, metrics

logger = logging.getLogger("threadline.requests")

METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
# What asks every few seconds whether we are alive would drown the rest.
QUIET = {"/health", "/metrics"}
# For prometheus_client, to find one of the few counters takes longer than to count.
_requests, _seconds = cache(metrics.REQUESTS.labels), cache(metrics.REQUEST_SECONDS.labels)


def observe(app: ASGIApp) -> ASGIApp:
    """Wrap an application: X-Request-Id comes back, reaches Postgres and stands in each line of the log."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        own_id = logs.choose_request_id(Headers.from_scope(scope).get("x-request-id"))
        # Not taken back: what the server logs of this request after us belongs to it, too.
        logs.request_id.set(own_id)
        began, status = perf_counter(), None

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", own_id.encode())]
            await send(message)

        try:
            await app(scope, receive, send_observed)
        finally:
            _note(scope, status, perf_counter() - began)

    return middleware


def route(scope: Scope) -> str:
    """The route of a request as a template, since its path may hold anything: `/api/v2/messages/{message_id}`."""
    return re.sub(r":\w+}", "}", scope.get("path_template") or "unmatched")


def _note(scope: Scope, status: int | None, seconds: float) -> None:
    method, template = scope["method"] if scope["method"] in METHODS else "other", route(scope)
    _requests(method, template, status or "none").inc()
    _seconds(template).observe(seconds)
    fields = {
        "method": method,
        "route": template,
        "status": status,
        "duration_ms": round(seconds * 1000, 2),
        "outcome": _outcome(status),
    }
    level = logging.DEBUG if template in QUIET else logging.INFO
    logger.log(level, "%s %s %s", method, template, status, extra={"fields": fields})


def _outcome(status: int | None) -> str:
    if status is None:
        return "aborted"  # nobody waited for the answer, or none was found
    return "failed" if status >= 500 else "refused" if status >= 400 else "ok"
