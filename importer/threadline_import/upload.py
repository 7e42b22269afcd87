"""Uploads files of messages to the signed URLs that messaging-ingest answers."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import BinaryIO

import httpx

from threadline_import.media import File
from threadline_import.patience import ask_patiently, explain

AT_ONCE = 4
CHUNK = 262_144
TIMEOUT = httpx.Timeout(300, connect=15)
UNREADABLE = (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, EOFError)


@dataclass(frozen=True)
class Upload:
    """A file, and the place that the server offers for it."""

    key: tuple[str, str, str]
    file: File
    url: str


class Uploader:
    """Uploads several files at once, in bounded memory."""

    def __init__(self, say: Callable[[str], object], sleep: Callable[[float], object]) -> None:
        self._say, self._sleep = say, sleep
        # Apart from the client of the sender, because the key must not go to Storage.
        self._client = httpx.Client(timeout=TIMEOUT)
        self._archives: dict[str, zipfile.ZipFile] = {}
        self._lock = Lock()

    def close(self) -> None:
        """Close connections and archives."""
        self._client.close()
        for archive in self._archives.values():
            archive.close()

    def upload(self, uploads: list[Upload], done: Callable[[int], object]) -> list[str | None]:
        """Upload all; return for each what went wrong."""
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            found = []
            for upload, problem in zip(uploads, pool.map(self._put, uploads), strict=True):
                found.append(problem)
                done(upload.file.size)
            return found
        finally:
            pool.shutdown(cancel_futures=True)

    def _put(self, upload: Upload) -> str | None:
        file = upload.file
        headers = {"Content-Type": file.content_type, "Content-Length": str(file.size)}
        try:
            answer = ask_patiently(
                lambda: self._client.put(upload.url, content=self._read(file), headers=headers),
                "Storage",
                self._say,
                self._sleep,
            )
        except UNREADABLE as problem:
            return f"{file.name} cannot be read: {str(problem) or type(problem).__name__}."
        return None if answer.is_success else f"{file.name}: {explain(answer, 'Storage')}"

    def _read(self, file: File) -> Iterator[bytes]:
        with self._open(file) as content:
            while part := content.read(CHUNK):
                yield part

    def _open(self, file: File) -> BinaryIO:
        if not file.member:
            return file.path.open("rb")
        with self._lock:
            archive = self._archives.get(str(file.path)) or zipfile.ZipFile(file.path)
            self._archives[str(file.path)] = archive
        return archive.open(file.member)  # type: ignore[return-value]
