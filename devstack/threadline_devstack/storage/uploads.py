"""Stores an object: tries the caller's right first, writes the bytes as they arrive, then the row."""

import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from litestar import Request
from multipart import MultipartError, MultipartSegment
from threadline.forms import MAX_FIELD_BYTES, read_parts

from threadline_devstack.http import Answer, document, read_pieces
from threadline_devstack.storage import answers, refusals
from threadline_devstack.storage.files import Files, Incoming
from threadline_devstack.storage.records import Draft, Records
from threadline_devstack.storage.tokens import Caller

MOST = 52_428_800  # bytes of an object in any bucket, as in the Supabase CLI
KEY = re.compile(r"[\w/!.*'()&$@=;:+,? -]{1,1024}", re.ASCII)
DEFAULT_TYPE = "application/octet-stream"


async def upload(
    request: Request, caller: Caller, draft: Draft, records: Records, files: Files, *, replaces: bool
) -> Answer:
    """Store the body of a request, raw or as a form; raise Refusal if the caller may not."""
    bucket, name, version = draft.bucket, draft.name, draft.version
    if not KEY.fullmatch(name):
        raise refusals.invalid_key(name)
    if {".", ".."} & set(name.split("/")):
        raise refusals.invalid_key(f"stub/stub/{bucket}/{name}/{version} contains dot path segment")
    found = await records.bucket(bucket)

    async def admit(media_type: str) -> None:
        # Policies see the type of an upload, but not that of a URL that is signed for one.
        await records.probe(caller, replace(draft, metadata={"mimetype": media_type}), replace=replaces)

    with files.create(version) as incoming:
        limit = min(MOST, found["file_size_limit"] or MOST)
        content = _Content(incoming, limit, found["allowed_mime_types"], admit)
        await content.read(request)
        tag = incoming.finish()
        now = answers.time(datetime.now(UTC))
        metadata = {
            "eTag": tag,
            "size": incoming.size,
            "mimetype": content.media_type,
            "cacheControl": content.cache_control,
            "lastModified": now,
            "contentLength": incoming.size,
            "httpStatusCode": 200,
        }
        draft = replace(draft, metadata=metadata, user_metadata=content.metadata)
        identity, before = await records.store(draft, replace=replaces)
    if before:
        files.remove(before)
    return document({"Key": f"{bucket}/{name}", "Id": identity})


class _Content:
    """The content of an upload: bytes, which go to the file as they arrive, and their description."""

    def __init__(
        self,
        incoming: Incoming,
        limit: int,
        media_types: list[str] | None,
        admit: Callable[[str], Awaitable[None]],
    ) -> None:
        self._incoming = incoming
        self._admit = admit
        self._limit = limit
        self._media_types = media_types
        self.media_type = ""
        self.cache_control = "no-cache"
        self.metadata: dict[str, Any] = {}

    async def read(self, request: Request) -> None:
        headers = request.headers
        content_type = headers.get("content-type", DEFAULT_TYPE)
        if content_type.startswith("multipart/form-data"):
            try:
                await self._read_form(request, content_type)
            except MultipartError as error:
                raise refusals.invalid_request("the form is broken") from error
            return
        await self._accept(content_type)
        self.cache_control = headers.get("cache-control", self.cache_control)
        if encoded := headers.get("x-metadata"):
            self.metadata = _read_object(base64.b64decode(encoded))
        async for chunk in read_pieces(request):
            self._write(chunk)

    async def _read_form(self, request: Request, content_type: str) -> None:
        field, text = "", bytearray()
        is_file = False
        async for event in read_parts(read_pieces(request), content_type):
            if isinstance(event, MultipartSegment):
                field, text = event.name or "", bytearray()
                if is_file := event.filename is not None:
                    # The genuine Storage drops the parameters here, and keeps them in a raw body.
                    await self._accept(event.header("content-type", DEFAULT_TYPE).partition(";")[0].strip())
            elif event is None:
                if not is_file:
                    self._note(field, bytes(text))
            elif is_file:
                self._write(event)
            else:
                text += event
                if len(text) > MAX_FIELD_BYTES:
                    raise MultipartError("A field is too long.")
        if not self.media_type:
            await self._accept(DEFAULT_TYPE)

    async def _accept(self, media_type: str) -> None:
        kind = media_type.partition(";")[0].strip()
        allowed = self._media_types
        if allowed and not {kind, kind.partition("/")[0] + "/*", "*/*"} & set(allowed):
            raise refusals.invalid_type(kind)
        await self._admit(media_type)
        self.media_type = media_type

    def _note(self, field: str, value: bytes) -> None:
        if field == "cacheControl":
            self.cache_control = f"max-age={value.decode(errors='replace')}"
        elif field == "metadata":
            self.metadata = _read_object(value)

    def _write(self, piece: bytes) -> None:
        if self._incoming.size + len(piece) > self._limit:
            raise refusals.too_large()
        self._incoming.write(piece)


def _read_object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise refusals.invalid_request("metadata must be JSON") from error
    if not isinstance(value, dict):
        raise refusals.invalid_request("metadata must be an object")
    return value
