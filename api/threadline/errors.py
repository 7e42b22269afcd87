"""Errors as HTTP answers: a JSON object with one sentence, never a stack trace, never SQL."""

from __future__ import annotations

import logging
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from threadline.database import DatabaseUnavailableError

logger = logging.getLogger(__name__)


def _answer(status: int, error: str, headers: dict[str, str] | None = None) -> Response[dict[str, str]]:
    return Response(
        {"error": error},
        status_code=status,
        media_type="application/json",
        headers={"access-control-allow-origin": "*", **(headers or {})},
    )


def _refused(_: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    return _answer(error.status_code, error.detail, dict(error.headers or {}))


def _unavailable(_: Request[Any, Any, Any], __: DatabaseUnavailableError) -> Response[dict[str, str]]:
    return _answer(503, "Service temporarily unavailable", {"retry-after": "5"})


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    # Only the kind of error: texts of errors may quote what the caller sent.
    kind, sqlstate = type(error).__name__, getattr(error, "sqlstate", None)
    logger.error("%s %s failed: %s %s", request.method, request.url.path, kind, sqlstate or "")
    return _answer(500, "Internal server error")


handlers: ExceptionHandlersMap = {
    HTTPException: _refused,
    DatabaseUnavailableError: _unavailable,
    Exception: _failed,
}
