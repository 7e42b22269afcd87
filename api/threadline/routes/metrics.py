"""GET /metrics, for Prometheus. For strangers it does not exist: it takes the token that the operator has chosen."""

from __future__ import annotations

import hmac
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import HTTPException

from threadline import metrics
from threadline.database import Database, DatabaseUnavailableError
from threadline.settings import Settings


@get("/metrics", include_in_schema=False)
async def show_metrics(request: Request[Any, Any, Any], database: Database, settings: Settings) -> Response[bytes]:
    """Tell how the service is doing, and the database if it answers."""
    given = request.headers.get("authorization", "").encode()
    if not settings.metrics_token or not hmac.compare_digest(given, f"Bearer {settings.metrics_token}".encode()):
        raise HTTPException("Not Found", status_code=404)
    try:
        measured = await database.ask("read_metrics")
    except DatabaseUnavailableError:
        measured = []  # that it does not answer shows in the counters
    return Response(metrics.render(measured), headers={"content-type": metrics.CONTENT_TYPE})
