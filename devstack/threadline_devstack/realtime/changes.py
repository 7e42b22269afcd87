"""postgres_changes: which channel gets which changed rows.

How a channel uses it: the join is answered at once, with the id of each request (`request_id`). Then, in a task of its
own, `add`; when it returns, the channel sends the system message "Subscribed to PostgreSQL", when it raises `Refused`,
the system message of status "error" with that text. A new access token means `add` again. The end of a channel
cancels that task first, then calls `remove`. The reader of `CHANGES_PUBLICATION` gives each commit to `match` and
sends to each recipient `{"ids": [...], "data": <data>}` as event "postgres_changes".

The result is that of `realtime.apply_rls`: for an inserted or updated row, the columns that the role may read, if
the filters take it and the policies show it at this moment; of a deleted one, the primary key.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Hashable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from threadline_devstack.realtime import changes_checks, changes_requests
from threadline_devstack.realtime.changes_documents import Event, document, refusal
from threadline_devstack.realtime.changes_requests import Refused, Request, request_id
from threadline_devstack.realtime.changes_rows import Table, ask, convert, describe, lookup, wait_until_visible
from threadline_devstack.realtime.feed import Commit
from threadline_devstack.realtime.pgoutput import Change

__all__ = ["Delivery", "Refused", "Subscriptions", "request_id"]

logger = logging.getLogger(__name__)

TOGETHER = 50  # sets of claims per message to Postgres


@dataclass(frozen=True, slots=True)
class Delivery:
    """One change as one form of `data`, for some channels.

    Args:
        data: the JSON document of the change, the same bytes for all.
        recipients: each channel with the ids of those of its requests that the change answers, in their order.

    """

    data: bytes
    recipients: tuple[tuple[Hashable, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class _Subscription:
    channel: Hashable
    role: str
    claims: str
    request: Request


class Subscriptions:
    """The subscriptions of all channels. A channel is any hashable value.

    Args:
        dsn: a connection string of the superuser, who can act as every role.

    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._by_channel: dict[Hashable, tuple[_Subscription, ...]] = {}
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._turn = asyncio.Lock()

    async def add(self, channel: Hashable, claims: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]) -> None:
        """Subscribe a channel to all of its requests, in place of its earlier ones; raise Refused if one is wrong.

        Args:
            channel: gets the changes.
            claims: of the access token; `role` and what policies read.
            requests: the entries of `postgres_changes` of the join, as the client sent them.

        """
        role, text = claims["role"], json.dumps(claims, ensure_ascii=False, sort_keys=True)
        try:
            wanted = [changes_requests.read(request) for request in requests]
            async with self._database() as connection:
                for request in wanted:
                    await changes_checks.check(connection, role, request)
        except Refused:
            self.remove(channel)  # only now: the old ones hold until the new ones are checked
            raise
        self._by_channel[channel] = tuple(_Subscription(channel, role, text, request) for request in wanted)

    def remove(self, channel: Hashable) -> None:
        """Remove the subscriptions of a channel."""
        self._by_channel.pop(channel, None)

    async def match(self, commit: Commit) -> list[Delivery]:
        """Return the deliveries of a commit, in the order of its changes.

        Raises psycopg.Error when the database is gone.
        """
        found: list[tuple[int, Delivery]] = []
        changes = [(place, change) for place, change in enumerate(commit.changes) if change.kind != "TRUNCATE"]
        for schema, table in dict.fromkeys((change.schema, change.table) for _, change in changes):
            interested = [each for each in self._all() if each.request.covers(schema, table)]
            if not interested:
                continue
            # Group by columns: a transaction may alter the table between two changes.
            own = [(place, change) for place, change in changes if (change.schema, change.table) == (schema, table)]
            for _, alike in itertools.groupby(own, key=lambda entry: entry[1].columns):
                found += await self._match_table(commit, list(alike), interested)
        return [delivery for _, delivery in sorted(found, key=lambda entry: entry[0])]

    def _all(self) -> Iterable[_Subscription]:
        return itertools.chain.from_iterable(self._by_channel.values())

    async def _match_table(
        self, commit: Commit, changes: list[tuple[int, Change]], interested: list[_Subscription]
    ) -> list[tuple[int, Delivery]]:
        found = []
        async with self._database() as connection:
            try:
                await wait_until_visible(connection, commit.xid)
                roles = sorted({each.role for each in interested})
                table = await describe(connection, changes[0][1], roles)
                if table is None:
                    return []
                events = await _events(connection, table, [change for _, change in changes], interested)
                for role in roles:
                    own = [each for each in interested if each.role == role]
                    for (place, _), event, matched in zip(
                        changes, events, await _recipients(connection, table, events, role, own), strict=True
                    ):
                        found += [(place, delivery) for delivery in _deliveries(commit, table, event, role, matched)]
            except psycopg.Error as error:
                if connection.closed:
                    raise
                logger.warning("Realtime leaves out changes of %s: %s", changes[0][1].table, error.diag.message_primary)
        return found

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Lend the one connection; replace it after it broke."""
        async with self._turn:
            if self._connection is None or self._connection.closed:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, cursor_factory=psycopg.AsyncClientCursor
                )
            yield self._connection

    async def close(self) -> None:
        """Close the connection to the database."""
        if self._connection:
            await self._connection.close()


async def _events(
    connection: psycopg.AsyncConnection[Any],
    table: Table,
    changes: Sequence[Change],
    interested: Sequence[_Subscription],
) -> list[Event]:
    rows = [row for change in changes for row in (change.record, change.old_record) if row is not None]
    filters = list(dict.fromkeys(each for subscription in interested for each in subscription.request.filters))
    converted = iter(await convert(connection, table, changes[0].columns, rows, filters))
    events = []
    for change in changes:
        new, met = next(converted) if change.record is not None else (None, frozenset())
        old, met_before = next(converted) if change.old_record is not None else (None, frozenset())
        events.append(Event(change, new, old, met_before if change.kind == "DELETE" else met))
    return events


async def _recipients(
    connection: psycopg.AsyncConnection[Any],
    table: Table,
    events: Sequence[Event],
    role: str,
    subscriptions: Sequence[_Subscription],
) -> list[list[_Subscription]]:
    """Return for each event the subscriptions of one role that get it."""
    refused = refusal(table, role) is not None
    matched = [
        [
            each
            for each in subscriptions
            if each.request.event in {"*", event.change.kind}
            and ((refused and event.change.kind != "DELETE") or event.met.issuperset(each.request.filters))
        ]
        for event in events
    ]
    if refused or not table.has_policies:
        return matched
    return await _shown(connection, table, events, matched)


async def _shown(
    connection: psycopg.AsyncConnection[Any],
    table: Table,
    events: Sequence[Event],
    matched: Sequence[Sequence[_Subscription]],
) -> list[list[_Subscription]]:
    """Keep the subscriptions to which the policies show the row; a deleted row cannot be checked."""
    asked: dict[str, list[int]] = {}
    for place, event in enumerate(events):
        if event.change.kind != "DELETE":
            for claims in {each.claims for each in matched[place]}:
                asked.setdefault(claims, []).append(place)
    queries: dict[tuple[int, ...], bytes] = {}  # often the same for all claims
    for places in asked.values():
        if (key := tuple(places)) not in queries:
            queries[key] = lookup(connection, table, [events[place].change.record or {} for place in places])
    questions = [(claims, queries[tuple(places)]) for claims, places in asked.items()]
    shown: list[set[str]] = [set() for _ in events]
    for first in range(0, len(questions), TOGETHER):
        together = questions[first : first + TOGETHER]
        for (claims, _), found in zip(together, await _answers(connection, table, together), strict=True):
            for number in found:
                shown[asked[claims][number - 1]].add(claims)
    return [
        [each for each in recipients if event.change.kind == "DELETE" or each.claims in shown[place]]
        for place, (event, recipients) in enumerate(zip(events, matched, strict=True))
    ]


async def _answers(
    connection: psycopg.AsyncConnection[Any], table: Table, questions: Sequence[tuple[str, bytes]]
) -> list[frozenset[int]]:
    try:
        return await ask(connection, questions)
    except psycopg.Error as error:
        if connection.closed:
            raise
        if len(questions) > 1:
            return [(await _answers(connection, table, [question]))[0] for question in questions]
        # A policy that raises shows nothing to these claims.
        logger.warning("Realtime: a policy of %s fails: %s", table.name, error.diag.message_primary)
        return [frozenset()]


def _deliveries(
    commit: Commit, table: Table, event: Event, role: str, matched: Sequence[_Subscription]
) -> Iterable[Delivery]:
    for columns in dict.fromkeys(each.request.columns for each in matched):
        channels: dict[Hashable, list[int]] = {}
        for each in matched:
            if each.request.columns == columns:
                channels.setdefault(each.channel, []).append(each.request.id)
        recipients = tuple((channel, tuple(ids)) for channel, ids in channels.items())
        yield Delivery(document(commit.committed_at, table, event, role, columns), recipients)
