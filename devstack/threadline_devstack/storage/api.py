"""/storage/v1: the calls with which storage3 and storage-js store, read, sign, list and remove objects."""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from threadline_devstack.database import PASSWORDS
from threadline_devstack.gateway import Call
from threadline_devstack.home import Home
from threadline_devstack.http import Answer, document
from threadline_devstack.project import Project
from threadline_devstack.storage import answers, listing, refusals, tokens
from threadline_devstack.storage.bodies import missing, parse_count, parse_size, parse_texts, read_json
from threadline_devstack.storage.files import Files
from threadline_devstack.storage.records import Draft, Records
from threadline_devstack.storage.refusals import Refusal
from threadline_devstack.storage.tokens import SERVICE, Caller
from threadline_devstack.storage.unsupported import find_unsupported
from threadline_devstack.storage.uploads import upload

REMOVED = ("name", "id", "bucket_id", "owner", "owner_id", "version", *listing.DATED, "metadata", "user_metadata")
LIMITS = ("public", "file_size_limit", "allowed_mime_types")
BUCKET = ("id", "name", "owner", *LIMITS, "created_at", "updated_at")


class StorageApi:
    """Storage of one project's stack."""

    name = "Storage"
    prefix = "/storage/v1"
    needs_key = False

    def __init__(self, project: Project) -> None:
        """Take the project; nothing is open yet."""
        self._files = Files(Home(project.home).folder / "storage")
        self._records = Records(project.ports.database_url("authenticator", PASSWORDS["authenticator"]))

    async def close(self) -> None:
        """Close the connections to the database."""
        await self._records.close()

    async def answer(self, call: Call) -> Answer:
        """Answer a call below /storage/v1."""
        try:
            return await self._answer(call)
        except Refusal as refusal:
            return document(refusal.body, refusal.http_status)

    def failure(self, call: Call) -> Answer:  # noqa: ARG002
        """Return the answer to a call that raised an unexpected error."""
        return document(refusals.internal().body, 500)

    async def _answer(self, call: Call) -> Answer:
        request = call.request
        path = unquote(call.path)
        parts = path.lstrip("/").split("/")
        if unsupported := find_unsupported(request.method, path):
            raise refusals.unsupported(unsupported)
        match request.method, *parts:
            case (("GET" | "HEAD"), "object", "public", bucket, *name) if name:
                return await self._download_public(call, bucket, "/".join(name))
            case (("GET" | "HEAD"), "object", "sign", bucket, *name) if name:
                return await self._download_signed(call, bucket, "/".join(name))
            case "PUT", "object", "upload", "sign", bucket, *name if name:
                return await self._upload_signed(call, bucket, "/".join(name))
        caller = tokens.identify(call)
        match request.method, *parts:
            case (("GET" | "HEAD"), "object", "authenticated", bucket, *name) if name:
                return await self._download(call, caller, bucket, "/".join(name))
            case (("GET" | "HEAD"), "object", "info", bucket, *name) if name:
                return await self._info(caller, bucket, "/".join(name))
            case (("GET" | "HEAD"), "object", bucket, *name) if name:
                return await self._download(call, caller, bucket, "/".join(name))
            case "POST", "object", "sign", bucket, *name:
                return await self._sign(await read_json(request), caller, bucket, "/".join(name))
            case "POST", "object", "upload", "sign", bucket, *name if name:
                return await self._sign_upload(call, caller, bucket, "/".join(name))
            case "POST", "object", "list", bucket:
                return await self._list(await read_json(request), caller, bucket)
            case "POST", "object", bucket, *name if name:
                replaces = request.headers.get("x-upsert", "").lower() == "true"
                draft = Draft(bucket, "/".join(name), str(uuid.uuid4()), caller.owner, {}, {})
                return await upload(request, caller, draft, self._records, self._files, replaces=replaces)
            case "DELETE", "object", bucket, *name if any(name):
                return await self._remove_one(caller, bucket, "/".join(name))
            case "DELETE", "object", bucket, *_:
                return await self._remove(await read_json(request), caller, bucket)
            case "GET", "bucket":
                return document([describe(row) for row in await self._records.buckets(caller)])
            case "GET", "bucket", bucket:
                return document(describe(await self._records.bucket(bucket, caller)))
            case "POST", "bucket":
                return await self._create_bucket(await read_json(request), caller)
        message = f"Route {request.method}:{path} not found"
        return document({"message": message, "error": "Not Found", "statusCode": 404}, 404)

    async def _find(self, caller: Caller, operation: str, bucket: str, name: str) -> Mapping[str, Any]:
        found = await self._records.find(caller, operation, bucket, [name])
        if not found:
            raise refusals.no_object()
        return found[0]

    def _content(self, call: Call, row: Mapping[str, Any], *, is_cached: bool = True) -> Answer:
        return answers.content_of(row, self._files, call.request, is_cached=is_cached)

    async def _download(self, call: Call, caller: Caller, bucket: str, name: str) -> Answer:
        return self._content(call, await self._find(caller, "object.get_authenticated", bucket, name))

    async def _download_public(self, call: Call, bucket: str, name: str) -> Answer:
        if not (await self._records.bucket(bucket))["public"]:
            raise refusals.no_bucket()
        return self._content(call, await self._find(SERVICE, "object.get_public", bucket, name))

    async def _download_signed(self, call: Call, bucket: str, name: str) -> Answer:
        tokens.check_link(call.verifier, call.request.query_params.get("token"), f"{bucket}/{name}")
        # A cached copy would outlive the link.
        row = await self._find(SERVICE, "object.get_signed", bucket, name)
        return self._content(call, row, is_cached=False)

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
        return document(about, cache_control=row["metadata"]["cacheControl"])

    async def _sign(self, wanted: dict[str, Any], caller: Caller, bucket: str, name: str) -> Answer:
        lifetime = parse_count(wanted, "expiresIn")
        if name:
            await self._find(caller, "object.sign", bucket, name)
            return document({"signedURL": link(bucket, name, lifetime)})
        paths = parse_texts(wanted, "paths")
        found = {row["name"] for row in await self._records.find(caller, "object.sign_many", bucket, paths)}
        why = "Either the object does not exist or you do not have access to it"
        return document(
            [
                {"error": None, "path": path, "signedURL": link(bucket, path, lifetime)}
                if path in found
                else {"error": why, "path": path, "signedURL": None}
                for path in paths
            ]
        )

    async def _sign_upload(self, call: Call, caller: Caller, bucket: str, name: str) -> Answer:
        replaces = call.request.headers.get("x-upsert", "").lower() == "true"
        await self._records.bucket(bucket)
        await self._records.probe(caller, Draft(bucket, name, "", caller.owner, {}, {}), replace=replaces)
        token = tokens.sign_upload(f"{bucket}/{name}", caller.owner, replaces=replaces)
        return document({"url": f"/object/upload/sign/{bucket}/{name}?token={token}", "token": token})

    async def _upload_signed(self, call: Call, bucket: str, name: str) -> Answer:
        token = call.request.query_params.get("token")
        claims = tokens.check_link(call.verifier, token, f"{bucket}/{name}", "upload")
        draft = Draft(bucket, name, str(uuid.uuid4()), claims["owner"], {}, {})
        replaces = claims["upsert"]
        return await upload(call.request, SERVICE, draft, self._records, self._files, replaces=replaces)

    async def _list(self, wanted: dict[str, Any], caller: Caller, bucket: str) -> Answer:
        prefix = listing.parse_prefix(wanted)
        return document(listing.page(wanted, prefix, await self._records.find_below(caller, bucket, prefix)))

    async def _remove_one(self, caller: Caller, bucket: str, name: str) -> Answer:
        await self._find(caller, "object.delete", bucket, name)
        gone = await self._records.remove(caller, "object.delete", bucket, [name])
        if not gone:
            raise refusals.access_denied()
        self._remove_files(gone)
        return document({"message": "Successfully deleted"})

    async def _remove(self, wanted: dict[str, Any], caller: Caller, bucket: str) -> Answer:
        names = parse_texts(wanted, "prefixes")
        gone = await self._records.remove(caller, "object.delete_many", bucket, names)
        self._remove_files(gone)
        return document([answers.entry(row, *REMOVED) for row in gone])

    def _remove_files(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self._files.remove(row["version"])

    async def _create_bucket(self, wanted: dict[str, Any], caller: Caller) -> Answer:
        name = wanted.get("name")
        if not isinstance(name, str):
            raise missing("name")
        if not name.strip():
            raise refusals.invalid_bucket_name()
        size = parse_size(wanted.get("file_size_limit"))
        bucket = {**wanted, "id": wanted.get("id") or name, "file_size_limit": size}
        await self._records.create_bucket(caller, bucket)
        return document({"name": name})


def describe(bucket: Mapping[str, Any]) -> dict[str, Any]:
    """Return a bucket for JSON. Without an owner it says "", because supabase-py expects a text."""
    return answers.entry(bucket, *BUCKET) | {"owner": str(bucket["owner"] or "")}


def link(bucket: str, name: str, lifetime: int) -> str:
    """Return a signed link, relative to /storage/v1 as clients expect it."""
    place = f"{bucket}/{name}"
    return f"/object/sign/{place}?token={tokens.sign_link(place, lifetime)}"
