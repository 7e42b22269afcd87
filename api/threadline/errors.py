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


def answer(request: HttpRequest, error: Exception) -> Response[dict[str, Any]]:
    """Return the answer to a request that ended with an error."""
    match error:
        case HTTPException():
            return _answer(request, error.status_code, error.detail, error.headers, error.extra)
        case InvalidTokenError():
            return _answer(request, 401, str(error), {"www-authenticate": "Bearer"})
        case DatabaseUnavailableError():
            return _answer(request, 503, "Service temporarily unavailable")
        case MultipartError():
            message, extra = "The body is not a valid form. Send multipart/form-data.", {"code": "invalid_form"}
            return _answer(request, 400, message, extra=extra)
        case StorageRefusedError(status=404):
            message, extra = "The file is no longer in Storage. Upload it again.", {"code": "file_not_found"}
            return _answer(request, 404, message, extra=extra)
        case StorageRefusedError(status=413):
            message, extra = "The file is too large for Storage. Upload a smaller one.", {"code": "file_too_large"}
            return _answer(request, 413, message, extra=extra)
        case StorageRefusedError():
            message, extra = "Storage does not permit this. Ask the operator.", {"code": "storage_refused"}
            return _answer(request, 403, message, extra=extra)
        case StorageUnavailableError():
            message, extra = "Storage cannot be reached. Try again later.", {"code": "storage_unavailable"}
            return _answer(request, 503, message, extra=extra)
    # The error's text may quote what the caller sent, so only its name is logged.
    kind, sqlstate = type(error).__name__, getattr(error, "sqlstate", None)
    logger.error("%s %s failed: %s %s", request.method, route(request.scope), kind, sqlstate or "")
    return _answer(request, 500, "Internal server error")


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
