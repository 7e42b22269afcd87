"""The upper limit of Litestar, asyncpg and Postgres: a route that only inserts a row."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from litestar import Litestar, Request, Response, get, post

INSERT = """
insert into bare.messages as message (channel_id, user_id, content, metadata) values ($1, $2, $3, $4)
returning to_jsonb(message)::text
"""


@asynccontextmanager
async def _pool(app: Litestar) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], reset=_nothing_to_reset) as app.state.pool:
        yield


async def _nothing_to_reset(_: asyncpg.Connection) -> None:
    pass


@get("/")
async def root() -> None:
    """Say that the server is up."""


@post("/messages")
async def insert(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Insert the row that the body describes."""
    body = await request.json()
    async with request.app.state.pool.acquire() as connection:
        row = await connection.fetchval(
            INSERT, body["channel_id"], body["user_id"], body["content"], json.dumps(body["metadata"])
        )
    return Response(b'{"success":true,"data":%s}' % row.encode(), status_code=201, media_type="application/json")


application = Litestar([root, insert], lifespan=[_pool], openapi_config=None)
