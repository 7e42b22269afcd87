"""The measured endpoints, and the one Postgres behind them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from tests.bench import load, texts

SOURCE = "the source of all copies"
SOURCE_TEXTS = 0xFFFFFF
PORTION = 1_000  # messages in one request


@dataclass(frozen=True)
class Store:
    """How a target stores conversations. Statements take `thread`, an external id, and run as superuser.

    Attributes:
        tables: what it keeps them in.
        read: answers a thread as an array.
        copy: makes a thread of the first `length` messages of Threadline's thread `source`; answers its id.
    """

    tables: tuple[str, ...]
    read: str
    copy: str


ROWS = Store(
    tables=("public.conversations", "public.conversation_messages"),
    read="""
    select public.messages(conversation) from public.conversations as conversation
    where external_conversation_id = %(thread)s
    """,
    copy="""
    with source as (
        select * from public.conversations where external_conversation_id = %(source)s
    ), copy as (
        insert into public.conversations (user_id, platform, external_conversation_id, participant_identifier)
        select user_id, platform, %(thread)s, participant_identifier from source
        returning id
    ), copied as (
        insert into public.conversation_messages (conversation_id, external_id, workspace_id, sent_at, message)
        select copy.id, stored.external_id, stored.workspace_id, stored.sent_at, stored.message
        from copy, source inner join public.conversation_messages as stored on stored.conversation_id = source.id
        order by stored.sent_at
        limit %(length)s
    )
    select id from copy
    """,
)
ARRAY = Store(
    tables=("naive.conversations",),
    read="select messages from naive.conversations where external_conversation_id = %(thread)s",
    copy="""
    insert into naive.conversations (user_id, platform, external_conversation_id, message_count, messages)
    select owner.user_id, owner.platform, %(thread)s, jsonb_array_length(thread.messages), thread.messages
    from naive.messaging_connections as owner, (
        select jsonb_agg(line.message) as messages
        from (
            select stored.message
            from public.conversations as source
            inner join public.conversation_messages as stored on stored.conversation_id = source.id
            where source.external_conversation_id = %(source)s
            order by stored.sent_at
            limit %(length)s
        ) as line
    ) as thread
    returning id
    """,
)


@dataclass(frozen=True)
class Target:
    """A measured ingest endpoint."""

    name: str
    url: str
    path: str
    connection_id: str
    secret: str
    store: Store

    @property
    def is_ours(self) -> bool:
        """Whether it is Threadline, so that what it loses is a failure."""
        return self.store is ROWS

    def request(self, *conversations: dict[str, Any]) -> bytes:
        """The request with these conversations, as it goes over the wire."""
        body = {"platform": "whatsapp", "connection_id": self.connection_id, "conversations": conversations}
        headers = {"content-type": "application/json", "x-api-key": self.secret}
        return load.request("POST", self.path, headers, json.dumps(body, ensure_ascii=False).encode())

    def send(self, requests: Sequence[bytes], connections: int = 1) -> load.Load:
        """Send requests of this target over so many connections."""
        return load.send(self.url, requests, connections)


def conversation(thread: str, messages: list[dict[str, Any]], identifier: str = "@somebody") -> dict[str, Any]:
    """A conversation of a request."""
    return {
        "external_conversation_id": thread,
        "participant_identifier": identifier,
        "participant_name": f"Contact {identifier}",
        "messages": messages,
    }


def results(answer: load.Answer) -> list[dict[str, Any]]:
    """The results in an answer; a refusal has none."""
    return json.loads(answer.body)["results"] if answer.status == 200 else []


@dataclass(frozen=True)
class World:
    """Everything that runs, and a superuser session for work around the measurements.

    Attributes:
        targets: what is measured; the first is Threadline's service, to which all others are compared.
        owner_id: the user whose threads Threadline's targets write.
        database_url: a connection string of role postgres.
        login_url: a connection string of the role that may become a user, as PostgREST does.
        new_database: makes one more prepared database of the server and answers its name.
        data_api: the URL of PostgREST, or None.
        omissions: what is not measured, and why, in sentences.
        peers: other systems for messages, each with the command that measures it.
    """

    admin: psycopg.Connection
    targets: Sequence[Target]
    owner_id: str
    database_url: str
    login_url: str
    new_database: Callable[[], str]
    data_api: str | None
    omissions: Sequence[str]
    peers: Mapping[str, Sequence[str | Path]] = field(default_factory=dict)

    @cached_property
    def stores(self) -> list[Store]:
        """The different ways in which the targets keep threads."""
        return list(dict.fromkeys(target.store for target in self.targets))

    def fill(self, length: int) -> None:
        """Make `SOURCE` that long, by ingesting it."""
        service, present = self.targets[0], len(self.read(ROWS, SOURCE))
        starts = range(present, length, PORTION)
        portions = [texts.messages(SOURCE_TEXTS, start, min(PORTION, length - start)) for start in starts]
        service.send([service.request(conversation(SOURCE, portion)) for portion in portions])

    def copy(self, store: Store, thread: str, length: int) -> UUID:
        """Make a thread of the first messages of `SOURCE`, and answer its id."""
        names = {"source": SOURCE, "thread": thread, "length": length}
        return self.admin.execute(store.copy, names).fetchone()[0]

    def read(self, store: Store, thread: str) -> list[dict[str, Any]]:
        """The messages of a thread, which need not exist."""
        row = self.admin.execute(store.read, {"thread": thread}).fetchone()
        return row[0] if row else []

    def settle(self) -> None:
        """Vacuum now, so that autovacuum does not run during a measurement."""
        for store in self.stores:
            for table in store.tables:
                self.admin.execute(f"vacuum (analyze) {table}")

    def checkpoint(self) -> None:
        """Write a checkpoint; from here on, the first change of a page writes a full-page image into WAL."""
        self.admin.execute("checkpoint")

    def wal_position(self) -> int:
        """How many bytes of WAL have been written so far."""
        (position,) = self.admin.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        return int(position)
