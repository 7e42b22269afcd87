"""Finds the files that hold messages: a file, the files of a folder, and the members of a .zip."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import BinaryIO

from threadline_import.media import File, find_in_archive, find_in_folder
from threadline_import.model import ImportRefusedError

HEAD = 65_536  # bytes that are enough to recognize a format
CHUNK = 65_536  # bytes that are read at once
LONGEST_LINE = 64_000_000  # bytes; a line is in memory whole
LARGEST_MEMBER = 4_000_000_000  # bytes of a chat in an archive, which may be a thousand times as large as the archive
SUFFIXES = {".txt", ".json", ".jsonl", ".ndjson", ".csv"}
KEPT_OUT = ("__MACOSX", ".")  # what archives and file managers add
# Where apps put the files of messages, beside their own file: Telegram, signal-export, WhatsApp on an iPhone.
ATTACHMENTS = {
    "result.json": re.compile(r"(?:chats/chat_\d+/)?(?:files|photos|stickers|(?:round_)?video_\w+|voice_messages)/"),
    "data.json": re.compile(r"media/"),
    "_chat.txt": re.compile(r"\d{8}-"),
}


class _Lines(io.RawIOBase):
    """The bytes of a file, which ends in an error at a line that is too long."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        self._length = 0  # of the line at the end of what was read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._length = len(data) - data.rfind(b"\n") - 1 + (self._length if b"\n" not in data else 0)
        if self._length > LONGEST_LINE:
            raise ImportRefusedError(
                f"{self._name} has a line of more than {LONGEST_LINE:,} bytes, so it is no chat. Export the chat again."
            )
        return len(data)


@dataclass(frozen=True)
class Source:
    """One file with messages, on disk or in an archive."""

    path: Path
    member: str | None = None
    has_files: bool = True  # False: the user wants no files of messages

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

    def file(self, name: str) -> File | None:
        """Find a file of a message by the path that this file gives it."""
        if not self.has_files or not name:
            return None
        if self.member:
            return find_in_archive(self.path, PurePosixPath(self.member).parent, name)
        return find_in_folder(self.path.parent, name)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file for reading bytes."""
        if not self.member:
            with self.path.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
            # zipfile reads no more of a member than the archive says here.
            if archive.getinfo(self.member).file_size > LARGEST_MEMBER:
                raise ImportRefusedError(
                    f"{self} is larger than {LARGEST_MEMBER:,} bytes. Unpack the archive, and import the file itself."
                )
            yield file

    @contextmanager
    def open_text(self, *, has_lines: bool = True) -> Iterator[io.TextIOWrapper]:
        """Open the file as the text it is: UTF-8, or UTF-16 with a byte order mark. Its lines have a limit."""
        with self.open() as file:
            buffered = io.BufferedReader(_Lines(file, str(self)) if has_lines else file, CHUNK)
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
            names = [file for file in sorted(path.rglob("*")) if _is_wanted(file.relative_to(path)) and file.is_file()]
            for file in names:
                if not file.resolve().is_relative_to(path.resolve()):
                    raise ImportRefusedError(f"{file} leads out of the folder. Remove it, or name its target itself.")
            kept = _without_attachments([PurePosixPath(file.relative_to(path).as_posix()) for file in names])
            found = [source for name in kept for source in _sources(path / name)]
            if not found:
                raise ImportRefusedError(f"{path} has no file of a known kind ({', '.join(sorted(SUFFIXES))}, .zip).")
            yield from found
        elif not path.exists():
            raise ImportRefusedError(f"{path} does not exist.")
        elif zipfile.is_zipfile(path):
            yield from _members(path)
        else:
            yield Source(path)


def _is_wanted(name: PurePath) -> bool:
    return name.suffix.lower() in {*SUFFIXES, ".zip"} and not any(part.startswith(KEPT_OUT) for part in name.parts)


def _sources(file: Path) -> Iterator[Source]:
    if file.suffix.lower() == ".zip":
        yield from _members(file)
    else:
        yield Source(file)


def _members(path: Path) -> Iterator[Source]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(member.filename) for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, OSError) as problem:
        raise ImportRefusedError(f"{path} is not a whole .zip: {problem}.") from problem
    wanted = _without_attachments([name for name in names if _is_wanted(name) and name.suffix.lower() != ".zip"])
    # Android names the chat like the archive; other texts were sent in it.
    chats = [name for name in wanted if name.suffix == ".txt" and name.stem == path.stem] or [
        name for name in wanted if name.suffix == ".txt" and "whatsapp" in name.name.lower()
    ]
    if not wanted:
        raise ImportRefusedError(f"{path} has no file with messages in it.")
    yield from (Source(path, str(name)) for name in chats or wanted)


def _without_attachments(names: list[PurePosixPath]) -> list[PurePosixPath]:
    """Leave out files that were sent in a chat."""
    chats = [(name.parent, ATTACHMENTS[name.name]) for name in names if name.name in ATTACHMENTS]
    return [name for name in names if not any(_is_below(name, folder, inside) for folder, inside in chats)]


def _is_below(name: PurePosixPath, folder: PurePosixPath, inside: re.Pattern[str]) -> bool:
    return name.is_relative_to(folder) and inside.match(str(name.relative_to(folder))) is not None
