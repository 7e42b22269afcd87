"""Reads the bodies of requests, and refuses wrong ones in the words of Storage."""

import json
import re
from collections.abc import Mapping
from typing import Any

from litestar import Request

from threadline_devstack.http import BodyTooLargeError, read_body
from threadline_devstack.storage import refusals

MAX_JSON = 1_000_000
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body as a JSON object; raise Refusal for another one."""
    try:
        body = await read_body(request, MAX_JSON)
    except BodyTooLargeError as error:
        raise refusals.too_large() from error
    try:
        content = json.loads(body or b"{}")
    except ValueError as error:
        raise refusals.invalid_request("body must be JSON") from error
    if not isinstance(content, dict):
        raise refusals.invalid_request("body must be object")
    return content


def parse_count(wanted: Mapping[str, Any], name: str, default: int | None = None, *, least: int = 0) -> int:
    """Return a whole number, which storage3 sends as text; raise Refusal for another value."""
    value = wanted.get(name, default)
    if value is None:
        raise missing(name)
    if not str(value).isdecimal():
        raise refusals.invalid_request(f"body/{name} must be integer")
    if int(value) < least:
        raise refusals.invalid_request(f"body/{name} must be >= {least}")
    return int(value)


def parse_texts(wanted: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of at least one text; raise Refusal for another value."""
    texts = wanted.get(name)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise missing(name)
    if not texts:
        raise refusals.invalid_request(f"body/{name} must NOT have fewer than 1 items")
    return texts


def parse_choice(wanted: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    """Return one of the choices; raise Refusal for another value."""
    value = wanted.get(name, default)
    if value not in choices:
        raise refusals.invalid_request(f"body/sortBy/{name} must be equal to one of the allowed values")
    return value


def parse_size(value: Any) -> int | None:
    """Return a number of bytes, given as number or as text such as "1MB"; raise Refusal for another value."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refusals.invalid_request("body/file_size_limit must be a number of bytes, or a text such as 1MB")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** POWERS[found[2].lower()])


def missing(name: str) -> refusals.Refusal:
    """Return the refusal of a body without a member that it needs."""
    return refusals.invalid_request(f"body must have required property '{name}'")
