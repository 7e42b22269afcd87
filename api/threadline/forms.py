"""Reads multipart forms as they arrive: within limits, and files onto the disk instead of into memory."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from litestar.exceptions import HTTPException
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

MAX_FIELDS = 20
MAX_FIELD_BYTES = 10_000
MAX_OVERHEAD = 1_000_000  # bytes outside the contents of files and fields


@dataclass
class FormFile:
    """A file of a form, in an unnamed temporary file."""

    name: str
    content: BinaryIO
    size: int = 0


def too_large(max_bytes: int) -> HTTPException:
    """Return the error for a file of more than `max_bytes` bytes."""
    message = f"A file is too large. Send at most {max_bytes} bytes per file."
    return HTTPException(message, status_code=413, extra={"code": "file_too_large", "field": "files"})


async def read_parts(stream: AsyncIterator[bytes], content_type: str) -> AsyncIterator[MultipartSegment | bytes | None]:
    """Yield each part of a form: its header, its content in pieces, then None. Raise MultipartError for no form."""
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        raise MultipartError("Not a form.")
    overhead = 0
    with PushMultipartParser(options.get("boundary", "")) as parser:
        async for chunk in stream:
            overhead += len(chunk)
            for event in parser.parse(chunk):
                overhead -= len(event) if isinstance(event, bytes) else 0
                yield event
            if overhead > MAX_OVERHEAD:
                raise MultipartError("Too many bytes outside of contents.")


async def read_form(
    opened: ExitStack,
    stream: AsyncIterator[bytes],
    content_type: str,
    *,
    max_files: int,
    max_bytes: int,
    admit: Callable[[dict[str, str]], Awaitable[None]],
    make_room: Callable[[int], None],
) -> tuple[dict[str, str], list[FormFile]]:
    """Read a form: fields into memory, files onto the disk until `opened` is closed.

    Awaits `admit` with the fields so far before the first file, and calls `make_room` before each piece of a file is
    written. Both may raise, so that no byte of a refused upload is stored.

    Raises:
        MultipartError: the body is not a form, a broken one, or has too many or too long fields.
        HTTPException: it has more than `max_files` files, or a file has more than `max_bytes` bytes.
    """
    fields: dict[str, str] = {}
    files: list[FormFile] = []
    file: FormFile | None = None
    name, text, count = "", bytearray(), 0
    async for event in read_parts(stream, content_type):
        if isinstance(event, MultipartSegment):
            name, text, file = event.name or "", bytearray(), None
            if event.filename is not None:
                if len(files) == max_files:
                    message = f"The upload has too many files. Send at most {max_files} at once."
                    raise HTTPException(message, status_code=413, extra={"code": "too_many_files", "field": "files"})
                if not files:
                    await admit(fields)
                # Unbuffered: storage3 streams only raw files and takes other objects for a file name.
                file = FormFile(event.filename, opened.enter_context(tempfile.TemporaryFile(buffering=0)))  # noqa: SIM115
                files.append(file)
            elif (count := count + 1) > MAX_FIELDS:
                raise MultipartError("Too many fields.")
        elif event is None:
            if file is None:
                fields[name] = text.decode(errors="replace")
        elif file is not None:
            file.size += len(event)
            if file.size > max_bytes:
                raise too_large(max_bytes)
            make_room(len(event))
            file.content.write(event)
        else:
            text += event
            if len(text) > MAX_FIELD_BYTES:
                raise MultipartError("A field is too long.")
    return fields, files
