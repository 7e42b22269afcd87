"""Turns exceptions into JSON answers with one sentence. They hold no stack trace and no SQL.

`sql/800_gateway.sql` describes the errors of functions; this module covers those outside of functions.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from litestar import Response
from litestar.exceptions import HTTPException
from multipart import MultipartError

from threadline.database import DatabaseUnavailableError
from threadline.observer import route
from threadline.routes.http import HttpRequest
from threadline.shares import TooManyAtOnceError
from threadline.storage import StorageRefusedError, StorageUnavailableError
from threadline.tokens import InvalidTokenError

logger = logging.getLogger(__name__)

CODES = {
    400: "invalid_request",
    401: "invalid_token",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def answer(request: HttpRequest, error: Exception) -> Response[dict[str, Any]]:
    """Return the answer to a request that ended with an error."""
    match error:
        case HTTPException():
            return _answer(request, error.status_code, error.detail, error.headers, error.extra)
        case InvalidTokenError():
            return _answer(request, 401, str(error), {"www-authenticate": "Bearer"})
        case DatabaseUnavailableError():
            status, code, message = 503, "unavailable", "Service temporarily unavailable"
        case TooManyAtOnceError():
            return _answer_too_many(request)
        case MultipartError():
            status, code, message = 400, "invalid_form", "The body is not a valid form. Send multipart/form-data."
        case StorageRefusedError(status=404):
            status, code, message = 404, "file_not_found", "The file is no longer in Storage. Upload it again."
        case StorageRefusedError(status=413):
            status, code, message = 413, "file_too_large", "The file is too large for Storage. Upload a smaller one."
        case StorageRefusedError():
            status, code, message = 403, "storage_refused", "Storage does not permit this. Ask the operator."
        case StorageUnavailableError():
            status, code, message = 503, "storage_unavailable", "Storage cannot be reached. Try again later."
        case _:
            status, code, message = 500, "internal_error", "Internal server error"
            # The error's text may quote what the caller sent, so only its name is logged.
            kind, sqlstate = type(error).__name__, getattr(error, "sqlstate", None)
            logger.error("%s %s failed: %s %s", request.method, route(request.scope), kind, sqlstate or "")
    return _answer(request, status, message, extra={"code": code})


def _answer_too_many(request: HttpRequest) -> Response[dict[str, Any]]:
    if not request.url.path.startswith("/api/v2/"):  # the document of ingest knows no 429
        return _answer(request, 503, "Service temporarily unavailable")
    message = "You have too many requests under way. Wait for their answers."
    return _answer(request, 429, message, {"retry-after": "5"}, {"code": "too_many_at_once"})


def _answer(
    request: HttpRequest, status: int, message: str, headers: dict[str, str] | None = None, extra: Any = None
) -> Response[dict[str, Any]]:
    content: dict[str, Any] = {"error": message}
    headers = {**({"retry-after": "5"} if status == 503 else {}), **(headers or {})}
    # The two API documents define different error objects.
    if request.url.path.startswith("/api/v2/"):
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # A route may set code and field itself; others have a code per status.
        own = extra if isinstance(extra, dict) else {}
        described = {"code": CODES.get(status, "refused"), "message": message, **own}
        content = {"success": False, "error": described, "meta": {"timestamp": now}}
    else:
        headers["access-control-allow-origin"] = "*"  # for /api/v2, `cors.py` adds it
    return Response(content, status_code=status, media_type="application/json", headers=headers)
