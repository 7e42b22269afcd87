"""Files of messages: into Storage and to links. Who may is decided by the policies of `sql/250_files.sql`."""

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

from threadline.database import Database, Reply
from threadline.forms import MAX_OVERHEAD, Form, MultipartError, TooLargeError, TooManyFilesError, read_form
from threadline.routes.messages import HttpRequest, answer
from threadline.settings import Settings
from threadline.storage import Bucket, Storage, StorageRefusedError, StorageUnavailableError
from threadline.tokens import Caller, Verifier

logger = logging.getLogger(__name__)

FIELDS = ("conversation_id", "conversation_type", "workspace_id")


@post("/upload", status_code=200)
async def upload(
    request: HttpRequest, database: Database, verifier: Verifier, storage: Storage, settings: Settings
) -> ASGIApp:
    """Store the files of a form, all or none, and answer where each can be read."""
    caller = await verifier.verify(request.headers.get("authorization"))
    bucket = _bucket(storage, request)
    with ExitStack() as opened:
        form = await _read(opened, request, settings)
        files = [file for file in form.files if file.name or file.size]  # a browser sends an empty field as a file
        described = {name: value for name, value in form.fields.items() if name in FIELDS and value}
        names = [{"name": file.name.replace("\0", "_")[:255] or "file"} for file in files]
        begun = await _call(database, caller, "begin_upload", {**described, "files": names})
        if begun.status != 200:
            return answer(begun)
        places = json.loads(begun.body)["data"]["files"]
        paths = [place["path"] for place in places]
        try:
            for path, file in zip(paths, files, strict=True):
                await bucket.upload(path, file.content)
            urls = await bucket.sign(paths)
            finished = await _call(database, caller, "finish_upload", {**described, "files": places})
            if finished.status != 200:
                await _discard(bucket, paths)
                return answer(replace(finished, headers=begun.headers))
        except BaseException:
            await asyncio.shield(_discard(bucket, paths))
            raise
    content = json.loads(finished.body)
    content["data"]["files"] = [_file(file, url) for file, url in zip(content["data"]["files"], urls, strict=True)]
    return _answer(content, begun)


@get("/attachments/{attachment_id:str}/url")
async def sign(
    request: HttpRequest, database: Database, verifier: Verifier, storage: Storage, attachment_id: str
) -> ASGIApp:
    """Answer a new link to an uploaded file; with `?download=true`, one by which browsers save it under its name."""
    caller = await verifier.verify(request.headers.get("authorization"))
    bucket = _bucket(storage, request)
    found = await _call(database, caller, "get_attachment", {"id": attachment_id})
    if found.status != 200:
        return answer(found)
    content = json.loads(found.body)
    file = content["data"]
    if request.query_params.get("download", "false") in {"", "1", "true"}:
        url = await bucket.sign_download(file["path"], file["name"])
    else:
        [url] = await bucket.sign([file["path"]])
    content["data"] = {**_file(file, url), "conversation_id": file["conversation_id"]}
    return _answer(content, found)


def _bucket(storage: Storage, request: HttpRequest) -> Bucket:
    if not storage.is_configured:
        raise HTTPException(
            "Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY, so that files can be stored.",
            status_code=503,
            extra={"code": "storage_not_configured"},
        )
    return storage.acting_for(request.headers["authorization"].partition(" ")[2])


async def _read(opened: ExitStack, request: HttpRequest, settings: Settings) -> Form:
    most = settings.upload_max_bytes
    content_type = request.headers.get("content-type", "")
    if request.content_type[0] != "multipart/form-data":
        raise HTTPException("Content-Type must be multipart/form-data.", status_code=415)
    try:
        # As much can be no request that keeps the limits; what is less is counted as it comes.
        if (request.content_length or 0) > settings.upload_max_files * most + MAX_OVERHEAD:
            raise TooLargeError
        limits = {"max_files": settings.upload_max_files, "max_bytes": most}
        return await read_form(opened, request.stream(), content_type, **limits)
    except MultipartError as error:
        raise HTTPException(
            "The request body is not a valid form.", status_code=400, extra={"code": "invalid_form"}
        ) from error
    except TooManyFilesError as error:
        extra = {"code": "too_many_files", "field": "files"}
        raise HTTPException(
            f"At most {settings.upload_max_files} files can be uploaded at once.", status_code=413, extra=extra
        ) from error
    except TooLargeError as error:
        extra = {"code": "file_too_large", "field": "files"}
        raise HTTPException(f"A file may have at most {most} bytes.", status_code=413, extra=extra) from error


async def _call(database: Database, caller: Caller, function: str, body: dict[str, Any]) -> Reply:
    return await database.call(
        function, role=caller.role, claims=caller.claims, headers={}, body=json.dumps(body).encode()
    )


async def _discard(bucket: Bucket, paths: list[str]) -> None:
    try:
        await bucket.remove(paths)
    except (StorageRefusedError, StorageUnavailableError) as error:
        logger.warning("Files of an upload that failed could not be removed: %s", type(error).__name__)


def _file(stored: dict[str, Any], url: str) -> dict[str, Any]:
    return {"name": stored["name"], "url": url, "size": stored["size"], "type": stored["type"], "id": stored["id"]}


def _answer(content: dict[str, Any], reply: Reply) -> ASGIApp:
    return answer(replace(reply, body=json.dumps(content, ensure_ascii=False).encode()))


uploads = Router("/api/v2/messages", route_handlers=[upload, sign])
