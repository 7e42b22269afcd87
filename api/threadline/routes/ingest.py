"""POST /functions/v1/messaging-ingest, without an Edge Function.

`supabase/functions/messaging-ingest/index.ts` gives the same answers on Supabase, byte for byte. `sql/150_ingest.sql`
decides what a request means; this module decides method, media type and size.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import replace

import msgspec
from litestar.exceptions import HTTPException
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from threadline import metrics
from threadline.bodies import MAX_KEYS, find_fault
from threadline.database import Reply
from threadline.routes.http import Chunks, HttpRequest, answer, find_header, media_type, read_body, straight_route
from threadline.shares import INGEST
from threadline.storage import Storage

PATH = "/functions/v1/messaging-ingest"
PIECE = 65_536  # bytes decompressed at once, because a small body may expand to gigabytes
_MARK = re.compile(rb'"url":"sign:(conversations/[0-9a-f-]{36}/[0-9a-f]{64})"')
_FAULTS = {
    "many keys": f"Request body has an object with more than {MAX_KEYS} keys",
    "too deep": "Request body is not valid JSON",
}
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, x-api-key",
}


async def _ingest(request: HttpRequest) -> ASGIApp:
    """Pass the key and the body to `public.messaging_ingest` and send its answer."""
    if request.method == "OPTIONS":
        return ASGIResponse(status_code=204, headers=_CORS)
    if request.method != "POST":
        raise HTTPException("Method not allowed", status_code=405, headers={"allow": "POST, OPTIONS"})
    if media_type(request) != "application/json":
        raise HTTPException("Content-Type must be application/json", status_code=415)
    limit = request.app.state.settings.ingest_max_bytes
    # Joined as the Edge Function joins them (RFC 9110, 5.3): together they are no known key.
    key = b", ".join(value for name, value in request.scope["headers"] if name == b"x-api-key").decode("latin-1")
    body = await read_body(_decode(request), limit, f"Request body too large: at most {limit} bytes")
    if key and (fault := await find_fault(body)):
        raise HTTPException(_FAULTS[fault], status_code=400)
    reply = await request.app.state.database.call(
        "messaging_ingest",
        headers={"x-api-key": key},
        body=body,
        owners=(f"key {hashlib.blake2b(key.encode(), digest_size=32).hexdigest()}", INGEST),
    )
    if reply.status == 200:
        _count(reply)
        reply = await _sign(reply, request.app.state.storage)
    return answer(reply, _CORS)


ingest = straight_route(PATH, ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"], _ingest)


async def _sign(reply: Reply, storage: Storage) -> Reply:
    """Put signed URLs where `private.render_uploads` left marks."""
    if not (paths := [path.decode() for path in _MARK.findall(reply.body)]):
        return reply
    urls = dict(zip(paths, await storage.sign_uploads(paths), strict=True))
    body = _MARK.sub(lambda mark: b'"url":' + json.dumps(urls[mark[1].decode()]).encode(), reply.body)
    return replace(reply, body=body)


def _count(reply: Reply) -> None:
    # The only place that looks into the answer: read the counts here once `messaging_ingest` returns them.
    results = msgspec.json.decode(reply.body)["results"]
    for outcome, count in Counter(result["status"].partition(":")[0] for result in results).items():
        metrics.CONVERSATIONS.labels(outcome).inc(count)
    metrics.MESSAGES.inc(sum(result["messages_added"] for result in results))


def _decode(request: HttpRequest) -> AsyncIterable[bytes]:
    match find_header(request.scope, b"content-encoding", "identity").strip().lower():
        case "identity":
            return Chunks(request)
        case "gzip":
            return _decompress(Chunks(request))
    raise HTTPException("Content-Encoding must be gzip or identity", status_code=415)


async def _decompress(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        async for chunk in chunks:
            rest = chunk
            while rest:
                yield decompressor.decompress(rest, PIECE)
                rest = decompressor.unconsumed_tail
            if decompressor.unused_data:
                raise zlib.error  # zlib would keep all bytes after the end in memory
        yield decompressor.flush()
        if not decompressor.eof:
            raise zlib.error
    except zlib.error:
        raise HTTPException("Request body is not valid gzip", status_code=400) from None
