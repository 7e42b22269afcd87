"""What the service says about itself: GET /health, /metrics and /schema."""

from __future__ import annotations

import hmac
import json
from functools import cache
from pathlib import Path

import yaml
from litestar import Response, get
from litestar.exceptions import HTTPException

from threadline import __version__, metrics
from threadline.routes.http import HttpRequest


@get("/health")
async def health(request: HttpRequest) -> Response[dict[str, str]]:
    """Answer 200 if the database answers, else 503."""
    if await request.app.state.database.is_answering():
        return Response({"status": "ok"})
    return Response({"status": "database unavailable"}, status_code=503, headers={"retry-after": "5"})


@get("/metrics")
async def show_metrics(request: HttpRequest) -> Response[bytes]:
    """Send the metrics of the service and the database to Prometheus; 404 without the token of the settings."""
    token = request.app.state.settings.metrics_token
    given = request.headers.get("authorization", "").encode()
    if not token or not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise HTTPException("Not Found", status_code=404)
    measured = await request.app.state.database.read_metrics()
    return Response(metrics.render(measured), headers={"content-type": metrics.CONTENT_TYPE})


@cache
def document() -> bytes:
    """Return `openapi.yaml` as JSON, with the version of this package. It is written by hand (decision 0005)."""
    text = Path(__file__).parents[1].joinpath("openapi.yaml").read_text(encoding="utf-8")
    # The loader in C: the one in Python would block all other requests for a fifth of a second.
    described = yaml.load(text, Loader=yaml.CSafeLoader)
    described["info"]["version"] = __version__
    return json.dumps(described).encode()


@get("/schema")
async def schema() -> Response[bytes]:
    """Send the OpenAPI document."""
    return Response(document(), media_type="application/json", headers={"access-control-allow-origin": "*"})
