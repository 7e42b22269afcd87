"""Objects and rows as HTTP answers."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from litestar import Request

from threadline_devstack.http import Answer
from threadline_devstack.storage import refusals
from threadline_devstack.storage.files import Files, pieces

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def content_of(row: Mapping[str, Any], files: Files, request: Request, *, is_cached: bool) -> Answer:
    """Return the content of an object, or a range of it; raise Refusal if it has no such range or is missing."""
    metadata = row["metadata"]
    size = metadata["size"]
    headers = {
        "content-type": safe_type(metadata["mimetype"]),
        "etag": metadata["eTag"],
        "last-modified": format_datetime(row["updated_at"].astimezone(UTC), usegmt=True),
        "accept-ranges": "bytes",
        # Browsers must not guess another type.
        "x-content-type-options": "nosniff",
    }
    if is_cached:
        headers["cache-control"] = metadata["cacheControl"]
    if (download := request.query_params.get("download")) is not None:
        name = quote(download, safe="!~*'()")
        headers["content-disposition"] = (
            f"attachment; filename={name}; filename*=UTF-8''{name}" if name else "attachment"
        )
    if is_known(request, metadata["eTag"], row["updated_at"]):
        return Answer(304, headers)
    is_head = request.method == "HEAD"
    wanted = None if is_head else request.headers.get("range")
    first, last = (0, size - 1) if wanted is None else parse_range(wanted, size)
    if wanted is not None:
        headers["content-range"] = f"bytes {first}-{last}/{size}"
    headers["content-length"] = str(last - first + 1)
    try:
        file = files.open(row["version"])
    except FileNotFoundError as error:
        raise refusals.no_object() from error
    return Answer(200 if wanted is None else 206, headers, pieces(file, first, 0 if is_head else last - first + 1))


def safe_type(media_type: str) -> str:
    """Return the type to send: never HTML, so that an object cannot run scripts in the project's origin."""
    return "text/plain" if media_type.startswith("text/html") else media_type


def is_known(request: Request, tag: str, updated_at: datetime) -> bool:
    """Tell whether the caller has this version already, by If-None-Match or else by If-Modified-Since."""
    if tags := request.headers.get("if-none-match"):
        return tags == "*" or tag in [each.strip().removeprefix("W/") for each in tags.split(",")]
    try:
        since = parsedate_to_datetime(request.headers.get("if-modified-since", ""))
        return updated_at.replace(microsecond=0) <= (since if since.tzinfo else since.replace(tzinfo=UTC))
    except ValueError:
        return False


def parse_range(wanted: str, size: int) -> tuple[int, int]:
    """Return the first and the last byte of one range; raise Refusal for several, or for one outside the object."""
    found = RANGE.fullmatch(wanted)
    if not found or found[0] == "bytes=-":
        raise refusals.no_such_range()
    if not found[1]:
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
    if first > last:
        raise refusals.no_such_range()
    return first, last


def time(at: datetime | None) -> str | None:
    """Return a time in the form of Storage."""
    return at and at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry(row: Mapping[str, Any], *columns: str) -> dict[str, Any]:
    """Return some columns of a row for JSON."""
    return {column: time(value) if isinstance(value := row[column], datetime) else _plain(value) for column in columns}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, str, list, dict)) else str(value)
