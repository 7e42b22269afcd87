"""GET /metrics, for Prometheus. Answers 404 without the token that the operator has set."""

from __future__ import annotations

import hmac

from litestar import Response, get
from litestar.exceptions import HTTPException

from threadline import metrics
from threadline.database import DatabaseUnavailableError
from threadline.routes.http import HttpRequest


@get("/metrics", include_in_schema=False)
async def show_metrics(request: HttpRequest) -> Response[bytes]:
    """Return the metrics of the service, and those of the database if it answers."""
    token = request.app.state.settings.metrics_token
    given = request.headers.get("authorization", "").encode()
    if not token or not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise HTTPException("Not Found", status_code=404)
    try:
        measured = await request.app.state.database.ask("read_metrics")
    except DatabaseUnavailableError:
        measured = []  # the counters of failed calls show it
    return Response(metrics.render(measured), headers={"content-type": metrics.CONTENT_TYPE})
