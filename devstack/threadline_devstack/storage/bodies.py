"""Bodies of requests, in pieces or as JSON."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from litestar import Request

from threadline_devstack.storage import refusals

MAX_JSON = 1_000_000


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it comes; raise ConnectionResetError when the client goes before all of it has come."""
    more = True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ConnectionResetError
        more = message["more_body"]
        if message["body"]:
            yield message["body"]


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object; raise Refusal for anything else."""
    body = bytearray()
    async for chunk in pieces(request):
        body += chunk
        if len(body) > MAX_JSON:
            raise refusals.too_large()
    try:
        content = json.loads(body or b"{}")
    except ValueError as error:
        raise refusals.invalid_request("body must be JSON") from error
    if not isinstance(content, dict):
        raise refusals.invalid_request("body must be object")
    return content


def read_count(wanted: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return a whole number, which storage3 sends as text; raise Refusal when it is none."""
    value = wanted.get(name, default)
    if value is None:
        raise refusals.invalid_request(f"body must have required property '{name}'")
    if not str(value).isdecimal():
        raise refusals.invalid_request(f"body/{name} must be integer")
    return int(value)
