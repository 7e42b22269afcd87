"""Supabase Storage, used with the caller's token: its policies decide what the caller may store, read and remove."""

from __future__ import annotations

import asyncio
import codecs
import logging
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import SEEK_CUR, SEEK_END
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
JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # segments that begin with the size of the image
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
        self._client, self._url = client, url
        self._headers = {"apikey": key, "authorization": f"Bearer {token}"}
        self._files = AsyncStorageClient(url, self._headers, http_client=client).from_(BUCKET)

    async def upload(self, path: str, content: BinaryIO) -> None:
        """Store an unbuffered file under an unused path, with the type that its first bytes show."""
        size = content.seek(0, SEEK_END)
        content.seek(0)
        kind = content_type(content.read(HEAD))
        content.seek(0)
        # Sends a raw body, because Storage drops the charset of a form, which storage3 sends.
        headers = {**self._headers, "content-type": kind, "content-length": str(size), "cache-control": "max-age=3600"}
        with _translating():
            answer = await self._client.post(
                f"{self._url}object/{BUCKET}/{path}", headers=headers, content=_read(content)
            )
            if not answer.is_success:
                raise _refusal(answer)

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


async def _read(content: BinaryIO) -> AsyncIterator[bytes]:
    while part := content.read(65536):
        yield part


def _refusal(answer: httpx.Response) -> StorageApiError:
    """The error in an answer of Storage, whose status may differ from that of HTTP; ValueError if it is no JSON."""
    body = answer.json()
    return StorageApiError(
        str(body.get("message")), str(body.get("error")), str(body.get("statusCode", answer.status_code))
    )


def _url(entry: Mapping[str, str | None]) -> str:
    if not (url := entry.get("signedURL")):
        raise StorageRefusedError(404)
    return url


def content_type(head: bytes) -> str:
    """Guess the media type of a file from its first bytes.

    All text becomes text/plain, HTML and SVG included: a link to an uploaded file must not run scripts.
    """
    known = filetype.guess_mime(head)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and known is None:
        return "text/plain; charset=utf-16"
    if known not in TEXTUAL and CONTROL.isdisjoint(head):
        # The decoder is incremental, because the last character may be cut.
        with suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder("utf-8")().decode(head)
            return "text/plain; charset=utf-8"
    return known or "application/octet-stream"


def image_size(content: BinaryIO) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, WebP or JPEG file in pixels, from its head; None for other files."""
    content.seek(0)
    head = content.read(HEAD)
    size = None
    with suppress(struct.error):
        if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR":
            size = struct.unpack_from(">II", head, 16)
        elif head[:6] in {b"GIF87a", b"GIF89a"}:
            size = struct.unpack_from("<HH", head, 6)
        elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            size = _webp_size(head)
        elif head.startswith(b"\xff\xd8\xff"):
            size = _jpeg_size(content)
    return (size[0], size[1]) if size and all(0 < side < 1 << 31 for side in size) else None


def _webp_size(head: bytes) -> tuple[int, ...] | None:
    kind = head[12:16]
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        return tuple(side & 0x3FFF for side in struct.unpack_from("<HH", head, 26))
    if kind == b"VP8L" and head[20:21] == b"\x2f":
        (bits,) = struct.unpack_from("<I", head, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X" and len(head) >= 30:
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    return None


def _jpeg_size(content: BinaryIO) -> tuple[int, ...] | None:
    """Read from segment to segment: pictures of cameras have a preview before their size."""
    content.seek(2)
    for _ in range(100):
        marker, kind, length = struct.unpack(">BBH", content.read(4))
        if marker != 0xFF or length < 2:
            return None
        if kind in JPEG_SIZES:
            _, height, width = struct.unpack(">BHH", content.read(5))
            return width, height
        content.seek(length - 2, SEEK_CUR)
    return None
