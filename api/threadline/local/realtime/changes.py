"""postgres_changes: who hears of which changed rows.

How a channel uses it: the join is answered at once, with the id of each request (`request_id`). Then, in a task of its
own, `add`; when it returns, the channel sends the system message "Subscribed to PostgreSQL", when it raises `Refused`,
the system message of status "error" with that text. A new access token means `add` again. Whoever ends a channel
cancels that task first, then calls `remove`. Whoever follows `CHANGES_PUBLICATION` gives each commit to `match` and
sends to each recipient `{"ids": [...], "data": <data>}` as event "postgres_changes".
"""

import json
import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from threadline.local.realtime.feed import Commit


class Refused(Exception):  # noqa: N818
    """A subscription that cannot be: the text is for the client, in the words of Realtime."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One change, as one form of `data` that some channels hear.

    Args:
        data: the JSON document of the change, the same bytes for all.
        recipients: each channel with the ids of those of its requests that the change answers, in their order.

    """

    data: bytes
    recipients: tuple[tuple[Hashable, tuple[int, ...]], ...]


def request_id(request: Mapping[str, Any]) -> int:
    """Return the number by which a client knows a request of its again: the same for the same content."""
    return zlib.crc32(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()) & 0x7FFFFFF


class Subscriptions:
    """Who wants to hear of what. A channel is whatever the caller knows its channels by.

    Args:
        dsn: a connection string of role postgres.

    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def add(self, channel: Hashable, claims: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]) -> None:
        """Subscribe a channel to all of its requests, in place of those it had; raise Refused for none of them.

        Args:
            channel: who hears of it.
            claims: of the access token; `role` and what policies read.
            requests: the entries of `postgres_changes` of the join, as the client sent them.

        """
        raise NotImplementedError

    def remove(self, channel: Hashable) -> None:
        """Forget a channel, if it is known."""

    async def match(self, commit: Commit) -> list[Delivery]:
        """Return what is to be sent because of a commit, in the order of its changes.

        Raises psycopg.Error when the database is gone.
        """
        return []

    async def close(self) -> None:
        """Let the database go."""
