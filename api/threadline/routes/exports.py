"""GET /api/v2/exports: conversations and channels as JSON lines, which `sql/410_export.sql` renders."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from litestar import Router, get
from litestar.response import Stream
from litestar.types import ASGIApp

from threadline.database import Database, DatabaseUnavailableError
from threadline.routes.http import HttpRequest, answer, verify

PAGE = "500"  # messages in memory at once
LINES = "application/x-ndjson"


@get("/channels/{channel_id:str}", media_type=LINES)
async def export_channel(request: HttpRequest) -> ASGIApp:
    """Export all messages of a channel, oldest first, with their reactions and edits."""
    return await _export(request, "export_channel")


@get("/conversations/{conversation_id:str}", media_type=LINES)
async def export_conversation(request: HttpRequest) -> ASGIApp:
    """Export all messages of a conversation as they were ingested."""
    return await _export(request, "export_conversation")


async def _export(request: HttpRequest, function: str) -> ASGIApp:
    database: Database = request.app.state.database
    caller = await verify(request)
    parameters = {**request.path_params, "limit": PAGE}
    first = await database.call(function, caller=caller, parameters=parameters)
    if first.status != 200:
        return answer(first)

    async def lines() -> AsyncIterator[bytes]:
        reply = first
        while True:
            page = reply.read()
            yield b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in page["data"])
            if (cursor := page["meta"]["next_cursor"]) is None:
                return
            reply = await database.call(function, caller=caller, parameters={**parameters, "after": cursor})
            if reply.status != 200:
                # The 200 is sent already, so only a broken connection can report the failure.
                raise DatabaseUnavailableError(f"{function} answered {reply.status}")

    return Stream(lines(), headers=first.headers)


exports = Router("/api/v2/exports", route_handlers=[export_channel, export_conversation])
