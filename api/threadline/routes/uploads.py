"""Uploads files to Storage and signs links to them. The policies of `sql/250_files.sql` decide who may."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from litestar import Router, get, post
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp

from threadline.database import Database, Reply
from threadline.forms import MAX_OVERHEAD, FormFile, read_form, too_large
from threadline.routes.http import Chunks, HttpRequest, answer, verify
from threadline.spool import Spooled
from threadline.storage import Bucket, StorageRefusedError, StorageUnavailableError, image_size
from threadline.tokens import Caller

logger = logging.getLogger(__name__)

# The types that browsers show without running anything; SVG can hold scripts.
SHOWN = re.compile("(image/(?!svg)|audio/|video/)[a-z0-9.+-]+|text/plain|application/pdf", re.IGNORECASE)
FIELDS = ("conversation_id", "conversation_type", "workspace_id")


class RefusedError(Exception):
    """The database refuses the upload, with this answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Admission:
    """Asks the database whether the caller may upload, once before the first byte of a file is stored.

    If the form names the channel before its files, the answer holds for that channel. If not, it only says that the
    caller has requests left and a channel at all, and the channel is asked for when the form has been read.
    """

    def __init__(self, database: Database, caller: Caller, max_files: int) -> None:
        self._database, self._caller = database, caller
        self._max_files = min(max_files, 100)
        self._argument: dict[str, str] | None = None
        self.first: Reply | None = None  # the counted call, with the headers of the limit

    async def ask(self, fields: dict[str, str]) -> None:
        """Ask, or raise RefusedError."""
        argument = _select(fields)
        if "conversation_id" in argument:
            self._argument = argument
            # The names are not known yet, and not needed for the ids.
            body = {**argument, "files": [{"name": "file"}] * self._max_files}
            self.first = await self._database.call("begin_upload", caller=self._caller, body=body)
        else:
            self.first = await self._database.call("admit_upload", caller=self._caller)
        if self.first.status != 200:
            raise RefusedError(self.first)

    async def begin(self, fields: dict[str, str], names: list[str]) -> dict[str, Any]:
        """Return the argument of `finish_upload`, in which each file has an id and a path; or raise RefusedError."""
        argument: dict[str, Any] = _select(fields)
        if self.first and 0 < len(names) <= self._max_files and argument == self._argument:
            reserved = self.first.read()["data"]["files"]
            return {**argument, "files": [{**file, "name": name} for file, name in zip(reserved, names, strict=False)]}
        argument["files"] = [{"name": name} for name in names]
        # With `after`, the gateway does not count it again.
        parameters = {"after": "admission"} if self.first else {}
        begun = await self._database.call("begin_upload", caller=self._caller, body=argument, parameters=parameters)
        self.first = self.first or begun
        if begun.status != 200:
            raise RefusedError(replace(begun, headers={**self.first.headers, **begun.headers}))
        return {**argument, "files": begun.read()["data"]["files"]}


def _select(fields: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if name in FIELDS and value}


@post("/upload", status_code=200)
async def upload(request: HttpRequest) -> ASGIApp:
    """Store all files of a form or none, and answer a link to each."""
    database: Database = request.app.state.database
    caller = await verify(request)
    bucket = _bucket(request)
    admission = Admission(database, caller, request.app.state.settings.upload_max_files)
    with request.app.state.spool.open(caller.user_id) as spooled, ExitStack() as opened:
        try:
            fields, files = await _read(opened, request, admission, spooled)
            files = [file for file in files if file.name or file.size]  # browsers send an empty field as a file
            names = [file.name.replace("\0", "_")[:255] or "file" for file in files]
            argument = await admission.begin(fields, names)
        except RefusedError as refusal:
            return answer(refusal.reply)
        paths = [file["path"] for file in argument["files"]]
        try:
            for named, file in zip(argument["files"], files, strict=True):
                await bucket.upload(named["path"], file.content)
                if size := image_size(file.content):
                    named["width"], named["height"] = size
            urls = await bucket.sign(paths)
            finished = await database.call("finish_upload", caller=caller, body=argument)
            if finished.status != 200:
                await _discard(bucket, paths)
                return answer(finished, admission.first.headers)
        except BaseException:
            await asyncio.shield(_discard(bucket, paths))
            raise
    data = finished.read()["data"]
    data["files"] = [_file(file, url) for file, url in zip(data["files"], urls, strict=True)]
    return _answer(data, admission.first)


@get("/attachments/{attachment_id:str}/url")
async def sign(request: HttpRequest) -> ASGIApp:
    """Answer a new link to a file. With `?download=true`, browsers save the file under its name."""
    found, url = await _sign(request)
    if found.status != 200:
        return answer(found)
    file = found.read()["data"]
    return _answer({**_file(file, url), "conversation_id": file["conversation_id"]}, found)


@get("/attachments/{attachment_id:str}")
async def open_file(request: HttpRequest) -> ASGIApp:
    """Redirect to a new link. Messages contain this path, which checks the rights of each reader."""
    found, url = await _sign(request)
    if found.status != 200:
        return answer(found)
    headers = {**found.headers, "location": url, "cache-control": "no-store"}
    return answer(replace(found, status=302, headers=headers, body=b""))


async def _sign(request: HttpRequest) -> tuple[Reply, str]:
    """Return the file as the database shows it to the caller, and a new link to it."""
    caller = await verify(request)
    bucket = _bucket(request)
    found = await request.app.state.database.call(
        "get_attachment", caller=caller, body={"id": request.path_params["attachment_id"]}
    )
    if found.status != 200:
        return found, ""
    file = found.read()["data"]
    wants_download = request.query_params.get("download", "false") in {"", "1", "true"}
    # Clients may store any type in Storage themselves, such as HTML: browsers save those, and never run them.
    if wants_download or not SHOWN.fullmatch(file["type"] or ""):
        return found, await bucket.sign_download(file["path"], file["name"])
    [url] = await bucket.sign([file["path"]])
    return found, url


def _bucket(request: HttpRequest) -> Bucket:
    if not request.app.state.storage.is_configured:
        raise HTTPException(
            "File storage is not configured. Set SUPABASE_URL and SUPABASE_PUBLISHABLE_KEY.",
            status_code=503,
            extra={"code": "storage_not_configured"},
        )
    return request.app.state.storage.acting_for(request.headers["authorization"].partition(" ")[2])


async def _read(
    opened: ExitStack, request: HttpRequest, admission: Admission, spooled: Spooled
) -> tuple[dict[str, str], list[FormFile]]:
    settings = request.app.state.settings
    limits = {"max_files": settings.upload_max_files, "max_bytes": settings.upload_max_bytes}
    if request.content_type[0] != "multipart/form-data":
        raise HTTPException("The body must be a form. Set Content-Type to multipart/form-data.", status_code=415)
    # A longer body must exceed a limit. A shorter one is counted while it is read.
    if (request.content_length or 0) > settings.upload_max_files * settings.upload_max_bytes + MAX_OVERHEAD:
        raise too_large(settings.upload_max_bytes)
    return await read_form(
        opened, Chunks(request), request.headers["content-type"], admit=admission.ask, make_room=spooled.add, **limits
    )


async def _discard(bucket: Bucket, paths: list[str]) -> None:
    try:
        await bucket.remove(paths)
    except (StorageRefusedError, StorageUnavailableError) as error:
        logger.warning("Cannot remove the files of a failed upload, the sweep will: %s", type(error).__name__)


def _file(stored: dict[str, Any], url: str) -> dict[str, Any]:
    fields = ("id", "name", "size", "type", "width", "height")
    return {**{name: stored[name] for name in fields}, "url": url}


def _answer(data: dict[str, Any], reply: Reply) -> ASGIApp:
    content = {**reply.read(), "data": data}
    return answer(replace(reply, body=json.dumps(content, ensure_ascii=False).encode()))


uploads = Router("/api/v2/messages", route_handlers=[upload, sign, open_file])
