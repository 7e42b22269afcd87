"""Refuses a large JSON body in which one object has very many keys.

Postgres sorts the keys of each object in a time that can grow with the square of their number, and no timeout ends it.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

MAX_KEYS = 1000  # of one object
LARGE = 65_536  # bytes; a smaller body costs little, whatever its keys are
MANY = 4000  # colons and brackets; a body with fewer has fewer keys and levels than a small one may have


class _TooManyKeysError(Exception):
    pass


async def find_fault(body: bytes) -> str | None:
    """Return why Postgres must not parse a body: `many keys`, `too deep`, or None. It may still be no JSON."""
    # To parse a body takes ten times as long as to count what each key and each level of arrays has.
    if len(body) <= LARGE or body.count(b":") + body.count(b"[") <= MANY:
        return None
    return await asyncio.to_thread(_find_fault, body)


def _find_fault(body: bytes) -> str | None:
    try:
        # Numbers stay text, because Python refuses some that Postgres takes.
        json.loads(body, object_pairs_hook=_count, parse_int=str, parse_float=str)
    except _TooManyKeysError:
        return "many keys"
    except RecursionError:
        return "too deep"
    except ValueError:
        return None  # Postgres stops at the same place, and its answer says why
    return None


def _count(pairs: list[tuple[str, Any]]) -> None:
    # Pairs and not a dictionary, because Postgres also sorts keys that occur twice.
    if len(pairs) > MAX_KEYS:
        raise _TooManyKeysError
