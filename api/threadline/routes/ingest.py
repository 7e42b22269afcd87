"""POST /functions/v1/messaging-ingest, as `supabase/functions/messaging-ingest/index.ts` serves it elsewhere.

What a request means is decided in `sql/150_ingest.sql`; here is what HTTP decides: method, media type, size.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

from litestar import Request, Response, route
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from threadline import metrics
from threadline.database import Database, Reply
from threadline.routes.messages import answer
from threadline.settings import Settings

PATH = "/functions/v1/messaging-ingest"
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, x-api-key",
}


@route(PATH, http_method=["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"])
async def ingest(request: Request[Any, Any, Any]) -> ASGIApp:
    """Hand the key and the body to `public.messaging_ingest` and answer what it answers."""
    # Not injected: Litestar starts a task for each dependency.
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    if request.method == "OPTIONS":
        return Response(b"", status_code=204, headers=_CORS)
    if request.method != "POST":
        raise HTTPException("Method not allowed", status_code=405, headers={"allow": "POST, OPTIONS"})
    if request.content_type[0] != "application/json":
        raise HTTPException("Content-Type must be application/json", status_code=415)
    reply = await database.call(
        "messaging_ingest",
        role="service_role",
        headers={"x-api-key": request.headers.get("x-api-key", "")},
        body=await _read_body(request, settings.ingest_max_bytes),
    )
    _count(reply)
    return answer(replace(reply, headers=_CORS))


def _count(reply: Reply) -> None:
    if reply.status != 200:
        return
    for result in json.loads(reply.body)["results"]:
        metrics.CONVERSATIONS.labels(result["status"].partition(":")[0]).inc()
        metrics.MESSAGES.inc(result["messages_added"])


async def _read_body(request: Request[Any, Any, Any], limit: int) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"gzip", "identity"}:
        raise HTTPException("Content-Encoding must be gzip or identity", status_code=415)
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in request.stream():
        if decompressor is None:
            body += chunk
        else:
            # One byte over the limit is enough to know: a small body may expand to gigabytes.
            try:
                body += decompressor.decompress(chunk, limit + 1 - len(body))
            except zlib.error:
                raise HTTPException("Request body is not valid gzip", status_code=400) from None
        if len(body) > limit:
            raise HTTPException(f"Request body too large: at most {limit} bytes", status_code=413)
        if decompressor is not None and decompressor.unused_data:
            # zlib would keep all that follows the end, however much it is.
            raise HTTPException("Request body is not valid gzip", status_code=400)
    if decompressor is not None and not decompressor.eof:
        raise HTTPException("Request body is not valid gzip", status_code=400)
    return bytes(body)
