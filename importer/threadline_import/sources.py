"""Finds the files that hold messages: a file, the files of a folder, and the members of a .zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from threadline_import.model import ImportRefusedError

HEAD = 65_536  # bytes that are enough to recognize a format
SUFFIXES = {".txt", ".json", ".jsonl", ".ndjson", ".csv"}
KEPT_OUT = ("__MACOSX", ".")  # what archives and file managers add


@dataclass(frozen=True)
class Source:
    """One file with messages, on disk or in an archive."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """Return the file name that carries meaning: that of the archive for an iPhone's _chat.txt."""
        if self.member and PurePosixPath(self.member).name != "_chat.txt":
            return PurePosixPath(self.member).name
        if self.path.name == "_chat.txt":
            return f"{self.path.absolute().parent.name}.txt"
        return self.path.name

    @property
    def folder(self) -> str:
        """Return the name of the folder around the file."""
        return PurePosixPath(self.member).parent.name if self.member else self.path.absolute().parent.name

    def __str__(self) -> str:
        """Return the path, and the member of an archive."""
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file for reading bytes."""
        if not self.member:
            with self.path.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            yield file

    @contextmanager
    def open_text(self) -> Iterator[io.TextIOWrapper]:
        """Open the file as the text it is: UTF-8, or UTF-16 with a byte order mark."""
        with self.open() as file:
            buffered = io.BufferedReader(file) if not isinstance(file, io.BufferedReader) else file
            mark = buffered.peek(2)[:2]
            encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
            # newline="\n" keeps line separators inside a message.
            yield io.TextIOWrapper(buffered, encoding=encoding, newline="\n")

    def head(self) -> str:
        """Return the beginning of the file; bytes that are not text become U+FFFD."""
        with self.open() as file:
            start = file.read(HEAD)
        encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        return start.decode(encoding, "replace")


def list_sources(paths: list[Path]) -> Iterator[Source]:
    """Yield the files to look at; a file that the user names is one whatever its suffix."""
    for path in paths:
        if path.is_dir():
            found = [source for file in sorted(path.rglob("*")) for source in _sources_in_folder(path, file)]
            if not found:
                raise ImportRefusedError(f"{path} has no file of a known kind ({', '.join(sorted(SUFFIXES))}, .zip).")
            yield from found
        elif not path.exists():
            raise ImportRefusedError(f"{path} does not exist.")
        elif zipfile.is_zipfile(path):
            yield from _members(path)
        else:
            yield Source(path)


def _sources_in_folder(folder: Path, file: Path) -> Iterator[Source]:
    if any(part.startswith(KEPT_OUT) for part in file.relative_to(folder).parts) or not file.is_file():
        return
    if file.suffix.lower() == ".zip":
        yield from _members(file)
    elif file.suffix.lower() in SUFFIXES:
        yield Source(file)


def _members(path: Path) -> Iterator[Source]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [member.filename for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError) as problem:
        raise ImportRefusedError(f"{path} is not a whole .zip: {problem}.") from problem
    wanted = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
    wanted = [name for name in wanted if not any(part.startswith(KEPT_OUT) for part in PurePosixPath(name).parts)]
    # Text files that were sent in the chat lie beside the chat; its own file says so by its name.
    chats = [name for name in wanted if PurePosixPath(name).name == "_chat.txt"]
    if not wanted:
        raise ImportRefusedError(f"{path} has no file with messages in it.")
    yield from (Source(path, name) for name in chats or wanted)
