"""Uploads files to Storage and signs links to them. The policies of `sql/250_files.sql` decide who may."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from litestar import Router, get, post
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from threadline.database import Reply
from threadline.forms import MAX_OVERHEAD, Form, read_form, too_large
from threadline.routes.http import HttpRequest, answer, verify
from threadline.storage import Bucket, StorageRefusedError, StorageUnavailableError

logger = logging.getLogger(__name__)

FIELDS = ("conversation_id", "conversation_type", "workspace_id")


@post("/upload", status_code=200)
async def upload(request: HttpRequest) -> ASGIApp:
    """Store all files of a form or none, and answer a link to each."""
    database = request.app.state.database
    caller = await verify(request)
    bucket = _bucket(request)
    with ExitStack() as opened:
        form = await _read(opened, request)
        files = [file for file in form.files if file.name or file.size]  # browsers send an empty field as a file
        argument: dict[str, Any] = {name: value for name, value in form.fields.items() if name in FIELDS and value}
        argument["files"] = [{"name": file.name.replace("\0", "_")[:255] or "file"} for file in files]
        # Two calls, because an upload must be refused before its bytes are stored (0008).
        begun = await database.call("begin_upload", caller=caller, body=argument)
        if begun.status != 200:
            return answer(begun)
        argument["files"] = begun.read()["data"]["files"]
        paths = [file["path"] for file in argument["files"]]
        try:
            for path, file in zip(paths, files, strict=True):
                await bucket.upload(path, file.content)
            urls = await bucket.sign(paths)
            finished = await database.call("finish_upload", caller=caller, body=argument)
            if finished.status != 200:
                await _discard(bucket, paths)
                return answer(finished, begun.headers)
        except BaseException:
            await asyncio.shield(_discard(bucket, paths))
            raise
    data = finished.read()["data"]
    data["files"] = [_file(file, url) for file, url in zip(data["files"], urls, strict=True)]
    return _answer(data, begun)


@get("/attachments/{attachment_id:str}/url")
async def sign(request: HttpRequest) -> ASGIApp:
    """Answer a new link to a file. With `?download=true`, browsers save the file under its name."""
    caller = await verify(request)
    bucket = _bucket(request)
    found = await request.app.state.database.call(
        "get_attachment", caller=caller, body={"id": request.path_params["attachment_id"]}
    )
    if found.status != 200:
        return answer(found)
    file = found.read()["data"]
    if request.query_params.get("download", "false") in {"", "1", "true"}:
        url = await bucket.sign_download(file["path"], file["name"])
    else:
        [url] = await bucket.sign([file["path"]])
    return _answer({**_file(file, url), "conversation_id": file["conversation_id"]}, found)


def _bucket(request: HttpRequest) -> Bucket:
    if not request.app.state.storage.is_configured:
        raise HTTPException(
            "File storage is not configured. Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY.",
            status_code=503,
            extra={"code": "storage_not_configured"},
        )
    return request.app.state.storage.acting_for(request.headers["authorization"].partition(" ")[2])


async def _read(opened: ExitStack, request: HttpRequest) -> Form:
    settings = request.app.state.settings
    limits = {"max_files": settings.upload_max_files, "max_bytes": settings.upload_max_bytes}
    if request.content_type[0] != "multipart/form-data":
        raise HTTPException("The body must be a form. Set Content-Type to multipart/form-data.", status_code=415)
    # A longer body must exceed a limit. A shorter one is counted while it is read.
    if (request.content_length or 0) > settings.upload_max_files * settings.upload_max_bytes + MAX_OVERHEAD:
        raise too_large(settings.upload_max_bytes)
    return await read_form(opened, request.stream(), request.headers["content-type"], **limits)


async def _discard(bucket: Bucket, paths: list[str]) -> None:
    try:
        await bucket.remove(paths)
    except (StorageRefusedError, StorageUnavailableError) as error:
        logger.warning("Cannot remove the files of a failed upload, the sweep will: %s", type(error).__name__)


def _file(stored: dict[str, Any], url: str) -> dict[str, Any]:
    return {"name": stored["name"], "url": url, "size": stored["size"], "type": stored["type"], "id": stored["id"]}


def _answer(data: dict[str, Any], reply: Reply) -> ASGIApp:
    content = {**reply.read(), "data": data}
    return answer(replace(reply, body=json.dumps(content, ensure_ascii=False).encode()))


uploads = Router("/api/v2/messages", route_handlers=[upload, sign])
