"""/storage/v1: the calls by which storage3 and storage-js store, read, sign, list and remove."""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from litestar import Request, asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from threadline_devstack.database import PASSWORDS
from threadline_devstack.home import Home
from threadline_devstack.keys import SigningKey
from threadline_devstack.project import Project
from threadline_devstack.storage import answers, refusals, tokens
from threadline_devstack.storage.answers import Answer
from threadline_devstack.storage.bodies import read_count, read_json
from threadline_devstack.storage.files import Files
from threadline_devstack.storage.records import Records
from threadline_devstack.storage.refusals import Refusal
from threadline_devstack.storage.tokens import SERVICE, Caller
from threadline_devstack.storage.uploads import upload

logger = logging.getLogger(__name__)

PATH = "/storage/v1"
DATED = ("created_at", "updated_at", "last_accessed_at")
LISTED = ("name", "id", *DATED)
REMOVED = ("name", "id", "bucket_id", "owner", "owner_id", "version", *DATED, "metadata", "user_metadata")
LIMITS = ("public", "file_size_limit", "allowed_mime_types")
BUCKET = ("id", "name", "owner", *LIMITS, "created_at", "updated_at", "type")


class StorageApi:
    """Storage of one project's stack."""

    def __init__(self, project: Project) -> None:
        """Take the project; nothing is opened yet."""
        home = Home(project.home)
        self._signing_key = SigningKey.of(home.signing_key)
        self._files = Files(home.folder / "storage")
        self._records = Records(project.ports.database_url("authenticator", PASSWORDS["authenticator"]))

    async def close(self) -> None:
        """Give up the connections to the database."""
        await self._records.close()

    def route(self) -> ASGIRouteHandler:
        """Return the handler of everything below /storage/v1."""

        @asgi(PATH, is_mount=True)
        async def storage(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            try:
                answer = await self._answer(request)
            except ConnectionResetError:
                return
            except Refusal as refusal:
                answer = answers.document(refusal.body, refusal.http_status)
            except Exception as error:  # noqa: BLE001 -- as every server has it, in the shape that clients read
                logger.error("%s failed with %s", request.method, type(error).__name__)
                answer = answers.document(Refusal(500, "InternalError", "Internal", "Internal Server Error").body, 500)
            await answer.send(send)

        return storage

    async def _answer(self, request: Request) -> Answer:
        if request.method == "OPTIONS":
            return answers.preflight(request.headers.get("access-control-request-headers", ""))
        # Cut before it is decoded: a path may have encoded slashes, which are slashes of the object's name.
        path = unquote(request.scope["raw_path"].decode("ascii").removeprefix(PATH))
        match request.method, *path.lstrip("/").split("/"):
            case (("GET" | "HEAD"), "object", "public", bucket, *name) if name:
                return await self._download_public(request, bucket, "/".join(name))
            case (("GET" | "HEAD"), "object", "sign", bucket, *name) if name:
                return await self._download_signed(request, bucket, "/".join(name))
        headers = request.headers
        caller = tokens.identify(headers.get("authorization"), headers.get("apikey"), self._signing_key)
        match request.method, *path.lstrip("/").split("/"):
            case (("GET" | "HEAD"), "object", "authenticated", bucket, *name) if name:
                return await self._download(request, caller, bucket, "/".join(name))
            case (("GET" | "HEAD"), "object", "info", bucket, *name) if name:
                return await self._info(caller, bucket, "/".join(name))
            case (("GET" | "HEAD"), "object", bucket, *name) if name:
                return await self._download(request, caller, bucket, "/".join(name))
            case "POST", "object", "sign", bucket, *name:
                return await self._sign(await read_json(request), caller, bucket, "/".join(name))
            case "POST", "object", "list", bucket:
                return await self._list(await read_json(request), caller, bucket)
            case "POST", "object", bucket, *name if name:
                return await upload(request, caller, bucket, "/".join(name), self._records, self._files)
            case "DELETE", "object", bucket, *name:
                return await self._remove(request, caller, bucket, "/".join(name))
            case "GET", "bucket":
                return answers.document([answers.entry(row, *BUCKET) for row in await self._records.buckets(caller)])
            case "GET", "bucket", bucket:
                return answers.document(answers.entry(await self._records.bucket(bucket, caller), *BUCKET))
            case "POST", "bucket":
                return await self._create_bucket(await read_json(request), caller)
        message = f"Route {request.method}:{path} not found"
        return answers.document({"message": message, "error": "Not Found", "statusCode": 404}, 404)

    async def _find(self, caller: Caller, operation: str, bucket: str, name: str) -> Mapping[str, Any]:
        found = await self._records.find(caller, operation, bucket, [name])
        if not found:
            raise refusals.no_object()
        return found[0]

    def _bytes(self, request: Request, row: Mapping[str, Any], *, is_cached: bool = True) -> Answer:
        return answers.bytes_of(
            row,
            self._files,
            wanted=request.headers.get("range"),
            download=request.query_params.get("download"),
            is_cached=is_cached,
            is_head=request.method == "HEAD",
        )

    async def _download(self, request: Request, caller: Caller, bucket: str, name: str) -> Answer:
        return self._bytes(request, await self._find(caller, "object.get_authenticated", bucket, name))

    async def _download_public(self, request: Request, bucket: str, name: str) -> Answer:
        if not (await self._records.bucket(bucket))["public"]:
            raise refusals.no_bucket()
        return self._bytes(request, await self._find(SERVICE, "object.get_public", bucket, name))

    async def _download_signed(self, request: Request, bucket: str, name: str) -> Answer:
        if (token := request.query_params.get("token")) is None:
            raise refusals.invalid_request("querystring must have required property 'token'")
        tokens.check(token, f"{bucket}/{name}")
        # A copy in a cache would outlive the link.
        return self._bytes(request, await self._find(SERVICE, "object.get_signed", bucket, name), is_cached=False)

    async def _info(self, caller: Caller, bucket: str, name: str) -> Answer:
        row = await self._find(caller, "object.info_authenticated", bucket, name)
        about = {
            **answers.entry(row, "id", "name", "version", "bucket_id", "created_at"),
            "size": row["metadata"]["size"],
            "content_type": row["metadata"]["mimetype"],
            "cache_control": row["metadata"]["cacheControl"],
            "etag": row["metadata"]["eTag"],
            "metadata": row["user_metadata"],
            "last_modified": answers.time(row["updated_at"]),
        }
        return answers.document(about, cache_control=row["metadata"]["cacheControl"])

    async def _sign(self, wanted: dict[str, Any], caller: Caller, bucket: str, name: str) -> Answer:
        lifetime = read_count(wanted, "expiresIn")
        if name:
            await self._find(caller, "object.sign", bucket, name)
            return answers.document({"signedURL": link(bucket, name, lifetime)})
        paths = wanted.get("paths")
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise refusals.invalid_request("body must have required property 'paths'")
        found = {row["name"] for row in await self._records.find(caller, "object.sign_many", bucket, paths)}
        why = "Either the object does not exist or you do not have access to it"
        return answers.document(
            [
                {"error": None, "path": path, "signedURL": link(bucket, path, lifetime)}
                if path in found
                else {"error": why, "path": path, "signedURL": None}
                for path in paths
            ]
        )

    async def _list(self, wanted: dict[str, Any], caller: Caller, bucket: str) -> Answer:
        prefix = str(wanted.get("prefix") or "").strip("/")
        prefix += "/" if prefix else ""
        search = str(wanted.get("search") or "").lower()
        entries: dict[str, dict[str, Any]] = {}
        for row in await self._records.find_below(caller, bucket, prefix):
            name, slash, _ = row["name"].removeprefix(prefix).partition("/")
            if name.lower().startswith(search):
                described = answers.entry(row, *LISTED, "metadata")
                entries[name] = (dict.fromkeys(described) if slash else described) | {"name": name}
        order = wanted.get("sortBy") or {}
        column = order.get("column") if order.get("column") in LISTED else "name"
        is_descending = order.get("order") == "desc"
        ordered = sorted(
            entries.values(), key=lambda entry: (entry[column] or "", entry["name"]), reverse=is_descending
        )
        first = read_count(wanted, "offset", 0)
        return answers.document(ordered[first : first + read_count(wanted, "limit", 100)])

    async def _remove(self, request: Request, caller: Caller, bucket: str, name: str) -> Answer:
        if name:
            await self._find(caller, "object.delete", bucket, name)
            gone = await self._records.remove(caller, "object.delete", bucket, [name])
            if not gone:
                raise refusals.access_denied()
        else:
            names = (await read_json(request)).get("prefixes")
            if not isinstance(names, list) or not all(isinstance(path, str) for path in names):
                raise refusals.invalid_request("body must have required property 'prefixes'")
            gone = await self._records.remove(caller, "object.delete_many", bucket, names)
        for row in gone:
            self._files.remove(row["version"])
        if name:
            return answers.document({"message": "Successfully deleted"})
        return answers.document([answers.entry(row, *REMOVED) for row in gone])

    async def _create_bucket(self, wanted: dict[str, Any], caller: Caller) -> Answer:
        name = wanted.get("name")
        if not isinstance(name, str):
            raise refusals.invalid_request("body must have required property 'name'")
        await self._records.create_bucket(caller, {**wanted, "id": wanted.get("id") or name})
        return answers.document({"name": name})


def link(bucket: str, name: str, lifetime: int) -> str:
    """Return a signed link, relative to /storage/v1 as clients expect it."""
    place = f"{bucket}/{name}"
    return f"/object/sign/{place}?token={tokens.sign(place, lifetime)}"
