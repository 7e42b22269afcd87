"""Supabase Storage, reached as the caller: what somebody may store, read and remove there, policies decide."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import filetype
import httpx
from storage3 import AsyncStorageClient
from storage3.exceptions import StorageApiError

from threadline.settings import Settings

logger = logging.getLogger(__name__)

BUCKET = "attachments"
HEAD = 8192  # bytes, in which every known type shows
# Formats that may begin with nothing but text.
TEXTUAL = {"application/pdf", "application/postscript", "application/rtf"}
CONTROL = {*range(32), 127} - {7, 8, 9, 10, 12, 13, 27}


class StorageRefusedError(Exception):
    """Storage does not let the caller do this; `status` is what it says, such as 403 or 404."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class StorageUnavailableError(Exception):
    """Storage is out of reach, or does not work."""


class Storage:
    """The bucket of attachments in a project's Storage.

    Args:
        settings: where the project is. Without its URL and a public key, `is_configured` is false.
        lifetime: seconds for which a signed link works.
    """

    def __init__(self, settings: Settings, lifetime: int = 3600) -> None:
        self.is_configured = bool(settings.supabase_url and settings.supabase_key)
        self._url = f"{settings.supabase_url}/storage/v1/"
        self._key = settings.supabase_key or ""
        self._secret_key = settings.supabase_secret_key or ""
        self._lifetime = lifetime
        self._client = httpx.AsyncClient(timeout=60, trust_env=settings.trusts_proxies)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # below, it writes every URL, tokens included

    async def aclose(self) -> None:
        """Give up the connections."""
        await self._client.aclose()

    def acting_for(self, token: str) -> Bucket:
        """Return the bucket as the holder of an access token may use it."""
        return self._bucket(self._key, token)

    def acting_for_itself(self) -> Bucket:
        """Return the bucket as the holder of the secret key may use it, whom no policy limits."""
        return self._bucket(self._secret_key, self._secret_key)

    def _bucket(self, key: str, token: str) -> Bucket:
        headers = {"apikey": key, "authorization": f"Bearer {token}"}
        storage = AsyncStorageClient(self._url, headers, http_client=self._client)
        return Bucket(storage, self._lifetime)


class Bucket:
    """Attachments, with the rights of one caller. Every method raises the two errors above.

    Args:
        storage: a client that carries the caller's token.
        lifetime: seconds for which a signed link works.
    """

    def __init__(self, storage: AsyncStorageClient, lifetime: int) -> None:
        self._files = storage.from_(BUCKET)
        self._lifetime = lifetime

    async def upload(self, path: str, content: BinaryIO) -> None:
        """Store an unbuffered file under a path that is free, with the type that its content shows."""
        kind = content_type(head_of(content))
        options = {"content-type": "text/plain; charset=utf-8" if kind == "text/plain" else kind}
        with _translating():
            await self._files.upload(path, content, options)

    async def remove(self, paths: Sequence[str]) -> None:
        """Remove what is there of these."""
        with _translating():
            await self._files.remove(list(paths))

    async def sign(self, paths: Sequence[str]) -> list[str]:
        """Return a link to each file that works without a token for a while."""
        with _translating():
            signed = await self._files.create_signed_urls(list(paths), self._lifetime)
        return [_url(entry) for entry in signed]

    async def sign_download(self, path: str, file_name: str) -> str:
        """Return such a link by which browsers save the file, under this name."""
        with _translating():
            return _url(await self._files.create_signed_url(path, self._lifetime, {"download": file_name}))


@contextmanager
def _translating() -> Iterator[None]:
    """Make one of our errors of whatever the client raises in the `with` block."""
    try:
        yield
    except StorageApiError as error:
        # Never its text, which may quote what the caller sent.
        logger.warning("Storage answers %s %s", error.status, error.code)
        status = int(error.status) if str(error.status).isdecimal() else 500
        raise (StorageRefusedError(status) if 400 <= status < 500 else StorageUnavailableError()) from error
    except (httpx.HTTPError, ValueError) as error:  # pydantic's, for what the client cannot read, are ValueErrors
        logger.warning("Storage failed with %s", type(error).__name__)
        raise StorageUnavailableError from error


def _url(entry: Mapping[str, str | None]) -> str:
    if not entry.get("signedURL"):
        raise StorageRefusedError(404)
    return entry["signedURL"] or ""


def head_of(content: BinaryIO) -> bytes:
    """Return the first bytes of a file, and go back to its beginning."""
    content.seek(0)
    head = content.read(HEAD)
    content.seek(0)
    return head


def content_type(head: bytes) -> str:
    """Tell what a file is by how it begins.

    Whatever is text is text/plain, HTML and SVG too: a link to an uploaded file must not run its scripts.
    """
    known = filetype.guess_mime(head)
    if is_text(head) and known not in TEXTUAL:
        return "text/plain"
    return known or "application/octet-stream"


def is_text(head: bytes) -> bool:
    """Tell whether these bytes are the beginning of a text in UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return CONTROL.isdisjoint(head)
