"""/api/v2/channels. What the calls mean is decided in `sql/74_broadcasts.sql`."""

from __future__ import annotations

from litestar import Response, Router, get

from threadline.database import Database
from threadline.routes.messages import HttpRequest, call
from threadline.tokens import Verifier


@get("/{channel_id:str}/events")
async def events(request: HttpRequest, database: Database, verifier: Verifier, channel_id: str) -> Response[bytes]:
    """List what happened in a channel after an event, as it was broadcast."""
    return await call("list_channel_events", request, database, verifier, channel_id=channel_id)


channels = Router("/api/v2/channels", route_handlers=[events])
