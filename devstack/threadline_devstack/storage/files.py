"""The bytes of objects: one file per version. Its name is a uuid, so callers cannot choose a path."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PIECE = 65536


class Files:
    """The folder of all versions; the first upload creates it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, version: str) -> "Incoming":
        """Begin a new version."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return Incoming(self._folder / version)

    def open(self, version: str) -> BinaryIO:
        """Open a version for reading; raise FileNotFoundError if it is missing."""
        return (self._folder / version).open("rb")

    def versions(self) -> list[str]:
        """Return the names of all versions, complete or arriving."""
        return [path.name for path in self._folder.iterdir()] if self._folder.exists() else []

    def remove(self, version: str) -> None:
        """Remove a version, if it is there."""
        (self._folder / version).unlink(missing_ok=True)


class Incoming:
    """A version that arrives. An error in its `with` block removes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def __enter__(self) -> "Incoming":
        """Open the file."""
        self._file = self._path.open("xb")
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Close the file; remove it after an error."""
        self._file.close()
        if kind:
            self._path.unlink(missing_ok=True)  # a reset of the database may have removed it

    def write(self, piece: bytes) -> None:
        """Add some bytes."""
        self.size += len(piece)
        self._digest.update(piece)
        self._file.write(piece)

    def finish(self) -> str:
        """Flush the file and return the entity tag."""
        self._file.flush()
        return f'"{self._digest.hexdigest()}"'


def pieces(file: BinaryIO, first: int, count: int) -> Iterator[bytes]:
    """Yield some bytes of a file, then close it."""
    with file:
        file.seek(first)
        while count and (piece := file.read(min(PIECE, count))):
            count -= len(piece)
            yield piece
