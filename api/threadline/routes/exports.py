"""GET /api/v2/exports: conversations and channels as JSON lines, which `sql/410_export.sql` renders."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from litestar import Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream
from litestar.types import ASGIApp

from threadline.database import Database, DatabaseUnavailableError
from threadline.routes.http import HttpRequest, answer, verify

PAGE = "500"  # messages in memory at once


def _route(path: str, function: str) -> HTTPRouteHandler:
    @get(path, media_type="application/x-ndjson")
    async def export(request: HttpRequest) -> ASGIApp:
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

    return export


exports = Router(
    "/api/v2/exports",
    route_handlers=[
        _route("/channels/{channel_id:str}", "export_channel"),
        _route("/conversations/{conversation_id:str}", "export_conversation"),
    ],
)
