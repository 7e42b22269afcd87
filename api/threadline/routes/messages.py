"""The calls of /api/v2. What they mean is decided in `sql/242_message_reads.sql` and the files after it."""

from __future__ import annotations

from typing import Any, Literal

from litestar import Request, Router, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from threadline.database import Database, Reply
from threadline.tokens import Verifier

MAX_BYTES = 1_000_000  # of a JSON body: 40,000 characters, metadata and attachments fit several times

# Names in paths are fields of the functions' argument.
CALLS: tuple[tuple[Literal["DELETE", "GET", "POST", "PUT"], str, str], ...] = (
    ("POST", "/messages", "create_message"),
    ("POST", "/messages/send", "create_message"),
    ("GET", "/messages/history", "list_messages"),
    ("GET", "/messages/search", "search_messages"),
    ("GET", "/messages/{id:str}", "get_message"),
    ("PUT", "/messages/{id:str}", "edit_message"),
    ("DELETE", "/messages/{id:str}", "delete_message"),
    ("GET", "/messages/{id:str}/edits", "list_message_edits"),
    ("POST", "/messages/{id:str}/pin", "pin_message"),
    ("DELETE", "/messages/{id:str}/pin", "unpin_message"),
    ("POST", "/messages/{id:str}/react", "toggle_reaction"),
    ("PUT", "/messages/{id:str}/reactions/{emoji:str}", "add_reaction"),
    ("DELETE", "/messages/{id:str}/reactions/{emoji:str}", "remove_reaction"),
    ("POST", "/messages/{id:str}/thread", "reply_to_message"),
    ("GET", "/channels/{channel_id:str}/events", "list_channel_events"),
    ("POST", "/erasures/person", "erase_person"),
    ("POST", "/erasures/user", "erase_user"),
    ("PUT", "/twins/{ai_twin_id:str}/webhook", "set_twin_webhook"),
    ("DELETE", "/twins/{ai_twin_id:str}/webhook", "remove_twin_webhook"),
    ("POST", "/twins/{ai_twin_id:str}/webhook/secret", "rotate_twin_secret"),
    ("GET", "/twins/{ai_twin_id:str}/deliveries", "list_twin_deliveries"),
    ("POST", "/twins/{ai_twin_id:str}/deliveries/replay", "replay_twin_deliveries"),
)

HttpRequest = Request[Any, Any, Any]


async def call(function: str, request: HttpRequest, database: Database, verifier: Verifier, **known: str) -> Reply:
    """Call a function as the caller, with the body, the query, what the path names and what is known; the last wins."""
    caller = await verifier.verify(request.headers.get("authorization"))
    key = request.headers.get("idempotency-key")
    return await database.call(
        function,
        role=caller.role,
        claims=caller.claims,
        headers={} if key is None else {"idempotency-key": key},
        parameters={**dict(request.query_params.items()), **request.path_params, **known},
        body=await _read_body(request),
        repeatable=key is not None or request.method != "POST",
    )


def answer(reply: Reply) -> ASGIApp:
    """Answer what a function has answered: JSON that is ready, without what a Response does for all that is not."""
    own = {"content-type": "application/json", "content-length": str(len(reply.body))}
    headers = [(name.encode(), value.encode()) for name, value in (own | reply.headers).items()]

    async def respond(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})

    return respond


async def _read_body(request: HttpRequest) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise HTTPException(f"The request body is too large: at most {MAX_BYTES} bytes.", status_code=413)
    if body and request.content_type[0] != "application/json":
        raise HTTPException("Content-Type must be application/json.", status_code=415)
    return bytes(body)


def _route(method: Literal["DELETE", "GET", "POST", "PUT"], path: str, function: str) -> HTTPRouteHandler:
    @route(path, http_method=method, status_code=200)
    async def handle(request: HttpRequest) -> ASGIApp:
        # Not injected: Litestar starts a task for each dependency, which costs more than all that is done here.
        state = request.app.state
        return answer(await call(function, request, state.database, state.verifier))

    return handle


messages = Router("/api/v2", route_handlers=[_route(*each) for each in CALLS])
