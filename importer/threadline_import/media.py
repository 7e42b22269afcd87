"""The files of messages: beside a chat in its folder, or in its .zip."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

KINDS = {"image", "audio", "video", "animation", "file", "sticker"}  # kinds of messages that can have a file
LARGEST = 52_428_800  # bytes that the bucket takes
UTF_8 = 0x800  # the flag of a member whose name is UTF-8

# What Python does not know on every system.
_TYPES = {
    ".opus": "audio/ogg",
    ".oga": "audio/ogg",
    ".m4a": "audio/mp4",
    ".amr": "audio/amr",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".3gp": "video/3gpp",
    ".tgs": "application/gzip",
}
# As private.is_shown_type in the database. The table of types of a machine may name types that ours does not.
_RUNS_SCRIPTS = re.compile(r"html|svg|[/+](?:xml|xsl)")


@dataclass(frozen=True)
class File:
    """A file of a message, on disk or in an archive."""

    path: Path
    member: str | None
    size: int

    @property
    def name(self) -> str:
        """Return its name without folders."""
        return PurePosixPath(self.member).name if self.member else self.path.name

    @property
    def is_too_large(self) -> bool:
        """Check whether the bucket refuses it."""
        return self.size > LARGEST

    @property
    def content_type(self) -> str:
        """Return its media type. Storage never shows types that run scripts, so those become plain bytes."""
        found = guess_type(self.name)
        return "application/octet-stream" if _RUNS_SCRIPTS.search(found) else found


def guess_type(name: str) -> str:
    """Return the media type that the end of a name stands for."""
    suffix = PurePosixPath(name).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.guess_type(f"file{suffix}")[0] or "application/octet-stream"


def kind_of_type(content_type: object) -> str:
    """Return the kind of a message by the media type of its file."""
    kind = str(content_type).partition("/")[0]
    return kind if kind in ("image", "audio", "video") else "file"


def find_in_folder(folder: Path, name: str) -> File | None:
    """Find a file by the path that an export gives it; the path must not lead out of the folder."""
    for form in dict.fromkeys((name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))):
        try:
            place = (folder / form).resolve()
            if place.is_relative_to(folder.resolve()) and place.is_file():
                return File(place, None, place.stat().st_size)
        except (OSError, ValueError):  # a name that the system does not allow
            continue
    return None


def find_in_archive(path: Path, folder: PurePosixPath, name: str) -> File | None:
    """Find a member by the path that an export gives it."""
    found = _members(path, path.stat().st_mtime_ns).get(unicodedata.normalize("NFC", str(folder / name)))
    return File(path, *found) if found else None


@lru_cache(maxsize=8)
def _members(path: Path, changed: int) -> dict[str, tuple[str, int]]:  # noqa: ARG001
    with zipfile.ZipFile(path) as archive:
        return {
            unicodedata.normalize("NFC", _name(member)): (member.filename, member.file_size)
            for member in archive.infolist()
        }


def _name(member: zipfile.ZipInfo) -> str:
    if member.flag_bits & UTF_8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")  # some tools forget the flag
    except UnicodeError:
        return member.filename
