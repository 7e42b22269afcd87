"""Errors as HTTP answers: a JSON object with one sentence, never a stack trace, never SQL.

What a function refuses is described in `sql/800_gateway.sql`; here is what never reaches one.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException

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


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Return the answer to a request that ended with an error."""
    match error:
        case HTTPException():
            return _answer(request, error.status_code, error.detail, dict(error.headers or {}), error.extra)
        case InvalidTokenError():
            return _answer(request, 401, str(error), {"www-authenticate": "Bearer"})
        case DatabaseUnavailableError():
            return _answer(request, 503, "Service temporarily unavailable")
        case StorageRefusedError(status=404):
            return _answer(request, 404, "The file is no longer there.", extra={"code": "file_not_found"})
        case StorageRefusedError(status=413):
            return _answer(request, 413, "Storage takes no file as large.", extra={"code": "file_too_large"})
        case StorageRefusedError():
            return _answer(request, 403, "Storage does not let you do this.", extra={"code": "storage_refused"})
        case StorageUnavailableError():
            return _answer(request, 503, "Storage is out of reach.", extra={"code": "storage_unavailable"})
    # Only the kind of error: texts of errors may quote what the caller sent.
    kind, sqlstate = type(error).__name__, getattr(error, "sqlstate", None)
    logger.error("%s %s failed: %s %s", request.method, route(request.scope), kind, sqlstate or "")
    return _answer(request, 500, "Internal server error")


def _answer(
    request: Request[Any, Any, Any],
    status: int,
    message: str,
    headers: dict[str, str] | None = None,
    extra: Any = None,
) -> Response[dict[str, Any]]:
    content: dict[str, Any] = {"error": message}
    retry = {"retry-after": "5"} if status == 503 else {}
    headers = {**retry, **(headers or {})}
    # Each document has a shape of its own for errors.
    if request.url.path.startswith("/api/v2/"):
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # A route that knows a cause better gives its code and field.
        known = extra if isinstance(extra, dict) else {}
        described = {"code": CODES.get(status, "refused"), "message": message, **known}
        content = {"success": False, "error": described, "meta": {"timestamp": now}}
    else:
        headers["access-control-allow-origin"] = "*"  # under /api/v2, `cors.py` says so
    return Response(content, status_code=status, media_type="application/json", headers=headers)
