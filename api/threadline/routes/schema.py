"""GET /schema: the OpenAPI document. It is written by hand and tests check the service against it (0005)."""

import json
from functools import cache
from pathlib import Path

import yaml
from litestar import Response, get

from threadline import __version__


@cache
def document() -> bytes:
    """Return the document as JSON, with the version of this package."""
    text = Path(__file__).parents[1].joinpath("openapi.yaml").read_text(encoding="utf-8")
    # The loader in C: the one in Python would block all other requests for a fifth of a second.
    described = yaml.load(text, Loader=yaml.CSafeLoader)
    described["info"]["version"] = __version__
    return json.dumps(described).encode()


@get("/schema")
async def schema() -> Response[bytes]:
    """Send the document."""
    return Response(document(), media_type="application/json", headers={"access-control-allow-origin": "*"})
