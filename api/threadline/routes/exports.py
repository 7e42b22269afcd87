"""GET /api/v2/exports: threads and channels as JSON lines. What a line is and who may have it: `sql/83_export.sql`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from litestar import Response, Router, get
from litestar.response import Stream

from threadline.database import Database, DatabaseUnavailableError, Reply
from threadline.routes.messages import HttpRequest
from threadline.tokens import Caller, Verifier

PAGE = 500  # messages that are held in memory at once


@get("/channels/{channel_id:str}")
async def export_channel(
    request: HttpRequest, database: Database, verifier: Verifier, channel_id: str
) -> Response[Any]:
    """All messages of a channel, the oldest first, with their reactions and edits."""
    caller = await verifier.verify(request.headers.get("authorization"))
    return await _export(database, caller, "export_channel", {"channel_id": channel_id})


@get("/conversations/{conversation_id:str}")
async def export_conversation(
    request: HttpRequest, database: Database, verifier: Verifier, conversation_id: str
) -> Response[Any]:
    """All messages of a thread from an outside platform, as they were ingested."""
    caller = await verifier.verify(request.headers.get("authorization"))
    return await _export(database, caller, "export_conversation", {"conversation_id": conversation_id})


async def _export(database: Database, caller: Caller, function: str, named: dict[str, str]) -> Response[Any]:
    first = await _page(database, caller, function, named)
    if first.status != 200:
        return Response(first.body, status_code=first.status, headers=first.headers, media_type="application/json")

    async def lines() -> AsyncIterator[bytes]:
        reply = first
        while True:
            page = json.loads(reply.body)
            yield b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in page["data"])
            if (cursor := page["meta"]["next_cursor"]) is None:
                return
            reply = await _page(database, caller, function, {**named, "after": cursor})
            if reply.status != 200:
                # The status is sent already: an answer that breaks off is how the caller learns of it.
                raise DatabaseUnavailableError(f"{function} answered {reply.status}")

    return Stream(lines(), headers=first.headers, media_type="application/x-ndjson")


async def _page(database: Database, caller: Caller, function: str, parameters: dict[str, str]) -> Reply:
    return await database.call(
        function,
        role=caller.role,
        claims=caller.claims,
        headers={},
        parameters={**parameters, "limit": str(PAGE)},
        body=b"",
    )


exports = Router("/api/v2/exports", route_handlers=[export_channel, export_conversation])
