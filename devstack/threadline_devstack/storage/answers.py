"""What the stand-in answers, as HTTP."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from litestar.types import Send

from threadline_devstack.storage import refusals
from threadline_devstack.storage.files import Files, pieces

JSON = "application/json; charset=utf-8"
CORS = {"access-control-allow-origin": "*"}
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass
class Answer:
    """A status, headers, and a body in pieces."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterable[bytes] = ()

    async def send(self, send: Send) -> None:
        """Answer; a body goes out piece by piece."""
        headers = [(name.encode(), value.encode("latin-1")) for name, value in (CORS | self.headers).items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        for piece in self.body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def document(content: Any, status: int = 200, **headers: str) -> Answer:
    """Return an answer in JSON; `_` in the name of a header stands for `-`."""
    body = json.dumps(content, ensure_ascii=False).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"content-type": JSON, "content-length": str(len(body)), **named}, [body])


def preflight(wanted: str) -> Answer:
    """Return the answer to a browser that asks whether it may send these headers."""
    methods = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
    return Answer(204, {"access-control-allow-methods": methods, "access-control-allow-headers": wanted or "*"})


def bytes_of(
    row: Mapping[str, Any],
    files: Files,
    *,
    wanted: str | None,
    download: str | None,
    is_cached: bool,
    is_head: bool,
) -> Answer:
    """Return the content of an object, or a range of it; raise Refusal when it is not there."""
    metadata = row["metadata"]
    size = metadata["size"]
    headers = {
        "content-type": metadata["mimetype"],
        "etag": metadata["eTag"],
        "last-modified": format_datetime(row["updated_at"].astimezone(UTC), usegmt=True),
        "accept-ranges": "bytes",
        # Browsers must not take it for anything but what it says it is.
        "x-content-type-options": "nosniff",
    }
    if is_cached:
        headers["cache-control"] = metadata["cacheControl"]
    if download is not None:
        name = quote(download, safe="!~*'()")
        headers["content-disposition"] = (
            f"attachment; filename={name}; filename*=UTF-8''{name}" if name else "attachment"
        )
    first, last = read_range(wanted, size)
    if wanted and (first, last) != (0, size - 1):
        headers["content-range"] = f"bytes {first}-{last}/{size}"
    headers["content-length"] = str(last - first + 1)
    try:
        file = files.open(row["version"])
    except FileNotFoundError as error:
        raise refusals.no_object() from error
    content = pieces(file, first, 0 if is_head else last - first + 1)
    return Answer(206 if "content-range" in headers else 200, headers, content)


def read_range(wanted: str | None, size: int) -> tuple[int, int]:
    """Return the first and last byte that a Range header asks for; what it does not say plainly is everything."""
    found = RANGE.fullmatch(wanted or "")
    if not found or found[0] == "bytes=-":
        return 0, size - 1
    if not found[1]:
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
    if first > last:
        raise refusals.no_such_range()
    return first, last


def time(at: datetime | None) -> str | None:
    """Return a time as Storage writes it."""
    return at and at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry(row: Mapping[str, Any], *columns: str) -> dict[str, Any]:
    """Return some columns of a row as JSON has them."""
    return {column: time(value) if isinstance(value := row[column], datetime) else _plain(value) for column in columns}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, str, list, dict)) else str(value)
