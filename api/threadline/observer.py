"""Wraps all routes: gives each request an id, and records its outcome in the log and the metrics."""

from __future__ import annotations

import logging
import re
from functools import cache
from time import perf_counter

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from threadline import logs, metrics
from threadline.routes.http import find_header

logger = logging.getLogger("threadline.requests")

METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
# Health checks and scrapes come every few seconds, so they are logged at DEBUG only.
QUIET = {"/health", "/metrics"}
# Cached, because prometheus_client takes longer to look up a label than to count.
_requests, _seconds = cache(metrics.REQUESTS.labels), cache(metrics.REQUEST_SECONDS.labels)


def observe(app: ASGIApp) -> ASGIApp:
    """Wrap an application: the request id goes into the answer, into Postgres and into each log line."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        own_id = logs.choose_request_id(find_header(scope, b"x-request-id"))
        # Not reset afterwards, so that later log lines of the server have the id too.
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
            _record(scope, status, perf_counter() - began)

    return middleware


def route(scope: Scope) -> str:
    """Return the template of a route, such as `/api/v2/messages/{id}`, because a raw path may hold anything."""
    return _without_types(scope.get("path_template") or "unmatched")


@cache
def _without_types(template: str) -> str:
    return re.sub(r":\w+}", "}", template)


def _record(scope: Scope, status: int | None, seconds: float) -> None:
    method, template = scope["method"] if scope["method"] in METHODS else "other", route(scope)
    _requests(method, template, status or "none").inc()
    _seconds(template).observe(seconds)
    fields = {"method": method, "route": template, "status": status}
    fields |= {"duration_ms": round(seconds * 1000, 2), "outcome": _outcome(status)}
    level = logging.DEBUG if template in QUIET else logging.INFO
    logger.log(level, "%s %s %s", method, template, status, extra={"fields": fields})


def _outcome(status: int | None) -> str:
    if status is None:
        return "aborted"  # the client has gone, or the server ended before it answered
    return "failed" if status >= 500 else "refused" if status >= 400 else "ok"
