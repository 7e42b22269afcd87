"""GET /api/v2/exports: threads and channels as JSON lines. What a line is and who may have it: `sql/410_export.sql`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from litestar import Router, get
from litestar.response import Stream
from litestar.types import ASGIApp

from threadline.database import Database, DatabaseUnavailableError
from threadline.routes.messages import HttpRequest, answer
from threadline.tokens import Verifier

PAGE = "500"  # messages that are held in memory at once
LINES = "application/x-ndjson"


@get("/channels/{channel_id:str}", media_type=LINES)
async def export_channel(request: HttpRequest, database: Database, verifier: Verifier, channel_id: str) -> ASGIApp:
    """All messages of a channel, the oldest first, with their reactions and edits."""
    return await _export(request, database, verifier, "export_channel", {"channel_id": channel_id})


@get("/conversations/{conversation_id:str}", media_type=LINES)
async def export_conversation(
    request: HttpRequest, database: Database, verifier: Verifier, conversation_id: str
) -> ASGIApp:
    """All messages of a thread from an outside platform, as they were ingested."""
    return await _export(request, database, verifier, "export_conversation", {"conversation_id": conversation_id})


async def _export(
    request: HttpRequest, database: Database, verifier: Verifier, function: str, named: dict[str, str]
) -> ASGIApp:
    caller = await verifier.verify(request.headers.get("authorization"))
    who: dict[str, Any] = {"role": caller.role, "claims": caller.claims, "headers": {}, "body": b""}
    first = await database.call(function, **who, parameters={**named, "limit": PAGE})
    if first.status != 200:
        return answer(first)

    async def lines() -> AsyncIterator[bytes]:
        reply = first
        while True:
            page = json.loads(reply.body)
            yield b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in page["data"])
            if (cursor := page["meta"]["next_cursor"]) is None:
                return
            reply = await database.call(function, **who, parameters={**named, "limit": PAGE, "after": cursor})
            if reply.status != 200:
                # The status is sent already: an answer that breaks off is how the caller learns of it.
                raise DatabaseUnavailableError(f"{function} answered {reply.status}")

    return Stream(lines(), headers=first.headers)


exports = Router("/api/v2/exports", route_handlers=[export_channel, export_conversation])
