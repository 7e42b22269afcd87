"""/api/v2/messages. What the calls mean is decided in `sql/65_message_calls.sql`."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, delete, get, post, put
from litestar.exceptions import HTTPException

from threadline.database import Database
from threadline.tokens import Verifier

MAX_BYTES = 1_000_000  # of a JSON body: 40,000 characters, metadata and attachments fit several times

HttpRequest = Request[Any, Any, Any]


async def call(
    function: str, request: HttpRequest, database: Database, verifier: Verifier, **path: str
) -> Response[bytes]:
    """Call a function as the caller, with the body, the query and what the path names; the path wins."""
    caller = await verifier.verify(request.headers.get("authorization"))
    key = request.headers.get("idempotency-key")
    reply = await database.call(
        function,
        role=caller.role,
        claims=caller.claims,
        headers={} if key is None else {"idempotency-key": key},
        parameters={**dict(request.query_params.items()), **path},
        body=await _read_body(request),
        repeatable=key is not None or request.method != "POST",
    )
    return Response(reply.body, status_code=reply.status, headers=reply.headers, media_type="application/json")


async def _read_body(request: HttpRequest) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(f"The request body is too large: at most {MAX_BYTES} bytes.", status_code=413)
    if body and request.content_type[0] != "application/json":
        raise HTTPException("Content-Type must be application/json.", status_code=415)
    return bytes(body)


@post(["/", "/send"])
async def create(request: HttpRequest, database: Database, verifier: Verifier) -> Response[bytes]:
    """Create a message in a channel."""
    return await call("create_message", request, database, verifier)


@get("/history")
async def history(request: HttpRequest, database: Database, verifier: Verifier) -> Response[bytes]:
    """List the messages of a channel, newest first."""
    return await call("list_messages", request, database, verifier)


@get("/search")
async def search(request: HttpRequest, database: Database, verifier: Verifier) -> Response[bytes]:
    """Find messages by what they say."""
    return await call("search_messages", request, database, verifier)


@get("/{message_id:str}")
async def show(request: HttpRequest, database: Database, verifier: Verifier, message_id: str) -> Response[bytes]:
    """Get one message."""
    return await call("get_message", request, database, verifier, id=message_id)


@put("/{message_id:str}")
async def edit(request: HttpRequest, database: Database, verifier: Verifier, message_id: str) -> Response[bytes]:
    """Edit one's own message."""
    return await call("edit_message", request, database, verifier, id=message_id)


@delete("/{message_id:str}", status_code=200)
async def remove(request: HttpRequest, database: Database, verifier: Verifier, message_id: str) -> Response[bytes]:
    """Delete a message softly."""
    return await call("delete_message", request, database, verifier, id=message_id)


@get("/{message_id:str}/edits")
async def edits(request: HttpRequest, database: Database, verifier: Verifier, message_id: str) -> Response[bytes]:
    """List the earlier versions of a message."""
    return await call("list_message_edits", request, database, verifier, id=message_id)


@post("/{message_id:str}/pin")
async def pin(request: HttpRequest, database: Database, verifier: Verifier, message_id: str) -> Response[bytes]:
    """Pin a message."""
    return await call("pin_message", request, database, verifier, id=message_id)


@delete("/{message_id:str}/pin", status_code=200)
async def unpin(request: HttpRequest, database: Database, verifier: Verifier, message_id: str) -> Response[bytes]:
    """Unpin a message."""
    return await call("unpin_message", request, database, verifier, id=message_id)


@post("/{message_id:str}/react")
async def react(request: HttpRequest, database: Database, verifier: Verifier, message_id: str) -> Response[bytes]:
    """Toggle a reaction."""
    return await call("toggle_reaction", request, database, verifier, id=message_id)


@put("/{message_id:str}/reactions/{emoji:str}")
async def add_reaction(
    request: HttpRequest, database: Database, verifier: Verifier, message_id: str, emoji: str
) -> Response[bytes]:
    """Add a reaction, or leave it there."""
    return await call("add_reaction", request, database, verifier, id=message_id, emoji=emoji)


@delete("/{message_id:str}/reactions/{emoji:str}", status_code=200)
async def remove_reaction(
    request: HttpRequest, database: Database, verifier: Verifier, message_id: str, emoji: str
) -> Response[bytes]:
    """Remove a reaction, if it is there."""
    return await call("remove_reaction", request, database, verifier, id=message_id, emoji=emoji)


@post("/{message_id:str}/thread")
async def reply(request: HttpRequest, database: Database, verifier: Verifier, message_id: str) -> Response[bytes]:
    """Reply in a thread."""
    return await call("reply_to_message", request, database, verifier, id=message_id)


messages = Router(
    "/api/v2/messages",
    route_handlers=[
        create,
        history,
        search,
        show,
        edit,
        remove,
        edits,
        pin,
        unpin,
        react,
        add_reaction,
        remove_reaction,
        reply,
    ],
)
