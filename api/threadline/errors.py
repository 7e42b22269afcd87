"""Errors as HTTP answers: a JSON object with one sentence, never a stack trace, never SQL.

What a function refuses is described in `sql/90_gateway.sql`; here is what never reaches one.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from threadline.database import DatabaseUnavailableError
from threadline.observer import route
from threadline.storage import StorageRefusedError, StorageUnavailableError
from threadline.tokens import InvalidTokenError

logger = logging.getLogger(__name__)

CODES = {
    400: "invalid_request",
    401: "invalid_token",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    500: "internal_error",
    503: "unavailable",
}


def _answer(
    request: Request[Any, Any, Any],
    status: int,
    message: str,
    headers: dict[str, str] | None = None,
    extra: Any = None,
) -> Response[dict[str, Any]]:
    content: dict[str, Any] = {"error": message}
    # Each document has a shape of its own for errors.
    if request.url.path.startswith("/api/v2/"):
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        content = {
            "success": False,
            "error": {
                "code": CODES.get(status, "refused"),
                "message": message,
                # A route that knows a cause better gives its code and field.
                **(extra if isinstance(extra, dict) else {}),
            },
            "meta": {"timestamp": now},
        }
    return Response(
        content,
        status_code=status,
        media_type="application/json",
        headers={
            "access-control-allow-origin": "*",
            **({"retry-after": "5"} if status == 503 else {}),
            **(headers or {}),
        },
    )


def _refused(request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, Any]]:
    return _answer(request, error.status_code, error.detail, dict(error.headers or {}), error.extra)


def _unauthorized(request: Request[Any, Any, Any], error: InvalidTokenError) -> Response[dict[str, Any]]:
    return _answer(request, 401, str(error), {"www-authenticate": "Bearer"})


def _unavailable(request: Request[Any, Any, Any], _: DatabaseUnavailableError) -> Response[dict[str, Any]]:
    return _answer(request, 503, "Service temporarily unavailable")


def _storage_refused(request: Request[Any, Any, Any], error: StorageRefusedError) -> Response[dict[str, Any]]:
    if error.status == 404:
        return _answer(request, 404, "The file is no longer there.", extra={"code": "file_not_found"})
    if error.status == 413:
        return _answer(request, 413, "Storage takes no file as large.", extra={"code": "file_too_large"})
    return _answer(request, 403, "Storage does not let you do this.", extra={"code": "storage_refused"})


def _storage_unavailable(request: Request[Any, Any, Any], _: StorageUnavailableError) -> Response[dict[str, Any]]:
    return _answer(request, 503, "Storage is out of reach.", extra={"code": "storage_unavailable"})


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    # Only the kind of error: texts of errors may quote what the caller sent.
    kind, sqlstate = type(error).__name__, getattr(error, "sqlstate", None)
    logger.error("%s %s failed: %s %s", request.method, route(request.scope), kind, sqlstate or "")
    return _answer(request, 500, "Internal server error")


handlers: ExceptionHandlersMap = {
    HTTPException: _refused,
    InvalidTokenError: _unauthorized,
    DatabaseUnavailableError: _unavailable,
    StorageRefusedError: _storage_refused,
    StorageUnavailableError: _storage_unavailable,
    Exception: _failed,
}
