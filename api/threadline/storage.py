"""Supabase Storage, used with the caller's token: its policies decide what the caller may store, read and remove."""

from __future__ import annotations

import asyncio
import codecs
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO

import filetype
import httpx
from storage3 import AsyncStorageClient
from storage3.exceptions import StorageApiError
from storage3.types import CreateSignedUploadUrlOptions

from threadline.settings import Settings

logger = logging.getLogger(__name__)

BUCKET = "attachments"
LIFETIME = 600  # seconds that a signed link works, because it needs no token
SIGNED_AT_ONCE = 10
HEAD = 8192  # bytes, enough to recognise every known type
# These formats can look like plain text in their first bytes.
TEXTUAL = {"application/pdf", "application/postscript", "application/rtf"}
CONTROL = {*range(32), 127} - {7, 8, 9, 10, 12, 13, 27}


class StorageRefusedError(Exception):
    """Storage refused the request with `status`, such as 403 or 404."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class StorageUnavailableError(Exception):
    """Storage cannot be reached or does not work."""


class Storage:
    """A client for the Storage of the project. Without its URL and a public key, `is_configured` is false."""

    def __init__(self, settings: Settings) -> None:
        self.is_configured = bool(settings.supabase_url and settings.supabase_key)
        self._url = f"{settings.supabase_url}/storage/v1/"
        self._key = settings.supabase_key or ""
        self._secret_key = settings.supabase_secret_key or ""
        self._client = httpx.AsyncClient(timeout=60, trust_env=settings.trusts_proxies)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs every URL with its token

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def acting_for(self, token: str) -> Bucket:
        """Return the bucket with the rights of an access token."""
        return Bucket(self._client, self._url, self._key, token)

    def acting_for_itself(self) -> Bucket:
        """Return the bucket with the rights of the secret key, which no policy limits."""
        return Bucket(self._client, self._url, self._secret_key, self._secret_key)

    async def sign_uploads(self, paths: Sequence[str]) -> list[str | None]:
        """Return a URL for each upload, or None without a secret key or if Storage fails: the caller may ask again."""
        if not self._secret_key:
            return [None] * len(paths)
        bucket, room = self.acting_for_itself(), asyncio.Semaphore(SIGNED_AT_ONCE)

        async def sign(path: str) -> str | None:
            async with room:
                try:
                    return await bucket.sign_upload(path)
                except (StorageRefusedError, StorageUnavailableError):
                    return None

        return await asyncio.gather(*map(sign, paths))


class Bucket:
    """The attachments, with the rights of one token. Every method may raise the two errors above."""

    def __init__(self, client: httpx.AsyncClient, url: str, key: str, token: str) -> None:
        headers = {"apikey": key, "authorization": f"Bearer {token}"}
        self._files = AsyncStorageClient(url, headers, http_client=client).from_(BUCKET)

    async def upload(self, path: str, content: BinaryIO) -> None:
        """Store an unbuffered file under an unused path, with the type that its first bytes show."""
        content.seek(0)
        kind = content_type(content.read(HEAD))
        content.seek(0)
        with _translating():
            await self._files.upload(path, content, {"content-type": kind})

    async def sign_upload(self, path: str) -> str:
        """Return a URL to which a file can be sent without a token for two hours. A second file replaces the first."""
        with _translating():
            signed = await self._files.create_signed_upload_url(path, CreateSignedUploadUrlOptions(upsert="true"))
        return signed["signed_url"]

    async def remove(self, paths: Sequence[str]) -> None:
        """Remove files; paths without a file are ignored."""
        with _translating():
            await self._files.remove(list(paths))

    async def sign(self, paths: Sequence[str]) -> list[str]:
        """Return a link to each file that works without a token for LIFETIME."""
        with _translating():
            signed = await self._files.create_signed_urls(list(paths), LIFETIME)
        return [_url(entry) for entry in signed]

    async def sign_download(self, path: str, file_name: str) -> str:
        """Return such a link with which browsers save the file under this name."""
        with _translating():
            return _url(await self._files.create_signed_url(path, LIFETIME, {"download": file_name}))


@contextmanager
def _translating() -> Iterator[None]:
    """Turn the client's exceptions into the two errors above."""
    try:
        yield
    except StorageApiError as error:
        # The error's text may quote what the caller sent, so only status and code are logged.
        logger.warning("Storage answers %s %s", error.status, error.code)
        status = int(error.status) if str(error.status).isdecimal() else 500
        raise (StorageRefusedError(status) if 400 <= status < 500 else StorageUnavailableError()) from error
    except (httpx.HTTPError, ValueError) as error:  # pydantic raises a ValueError for an unreadable answer
        logger.warning("Storage failed with %s", type(error).__name__)
        raise StorageUnavailableError from error


def _url(entry: Mapping[str, str | None]) -> str:
    if not (url := entry.get("signedURL")):
        raise StorageRefusedError(404)
    return url


def content_type(head: bytes) -> str:
    """Guess the media type of a file from its first bytes.

    All text becomes text/plain, HTML and SVG included: a link to an uploaded file must not run scripts.
    """
    known = filetype.guess_mime(head)
    if known not in TEXTUAL and CONTROL.isdisjoint(head):
        # The decoder is incremental, because the last character may be cut.
        with suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder("utf-8")().decode(head)
            return "text/plain; charset=utf-8"
    return known or "application/octet-stream"
