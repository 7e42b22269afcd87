"""What is measured, and where: one Postgres with durable settings, and in it Threadline beside what one would write."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
from threadline.local import keys

from tests.bench import load, programs
from tests.support import cluster as clusters
from tests.support import tools
from tests.support.ingest import PATH, Sender
from tests.support.schema import ROOT
from tests.support.service import serving

# Beside what the local stack and Postgres itself set, such as fsync = on: room for a working set, and for a run
# without a checkpoint that nobody asked for.
SETTINGS = {
    "shared_buffers": "1GB",
    "effective_cache_size": "8GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "256MB",
    "min_wal_size": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
}
SCHEMAS = "public,naive"
EDGE_FUNCTION = ROOT / "supabase" / "functions" / "messaging-ingest" / "index.ts"

# Contacts of whom half of the conversations of a load find theirs, as many and as numbered as the reference has.
PEOPLE = """
insert into public.people (user_id, full_name, phone)
select %(user_id)s, 'Contact ' || number, '+1555' || lpad(number::text, 7, '0') from generate_series(0, 999) as number
"""


@dataclass(frozen=True)
class Store:
    """How a target keeps threads. Statements take `thread`, an external id, and work for the superuser.

    Attributes:
        tables: what it keeps them in.
        read: answers a thread as an array.
        copy: makes a thread of the first `length` messages of Threadline's thread `source`.
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
    )
    insert into public.conversation_messages (conversation_id, external_id, user_id, sent_at, message)
    select copy.id, stored.external_id, stored.user_id, stored.sent_at, stored.message
    from copy, source inner join public.conversation_messages as stored on stored.conversation_id = source.id
    order by stored.sent_at
    limit %(length)s
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
    """,
)


@dataclass(frozen=True)
class Target:
    """An ingest endpoint that is measured."""

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

    def request(self, conversations: Sequence[dict[str, Any]]) -> bytes:
        """The request with these conversations, as it goes over the wire."""
        body = {"platform": "whatsapp", "connection_id": self.connection_id, "conversations": conversations}
        headers = {"content-type": "application/json", "x-api-key": self.secret}
        return load.request("POST", self.path, headers, json.dumps(body, ensure_ascii=False).encode())

    def send(self, requests: Sequence[bytes], connections: int = 1) -> load.Load:
        """Send requests of this target over so many connections."""
        return load.send(self.url, requests, connections)


@dataclass(frozen=True)
class World:
    """Everything that runs, and a session of the superuser for what surrounds the measurements.

    Attributes:
        targets: what is measured; the first is Threadline's service, to which all others are compared.
        data_api: the URL of PostgREST for `SCHEMAS`; None where there is none.
        omissions: what could not be measured, and why, in sentences.
    """

    database_url: str
    login_url: str
    admin: psycopg.Connection
    owner_id: str
    targets: list[Target]
    data_api: str | None
    omissions: list[str]

    @cached_property
    def stores(self) -> list[Store]:
        """The different ways in which the targets keep threads."""
        return list(dict.fromkeys(target.store for target in self.targets))

    def copy(self, store: Store, source: str, thread: str, length: int) -> None:
        """Make a thread of the first messages of another."""
        self.admin.execute(store.copy, {"source": source, "thread": thread, "length": length})

    def read(self, store: Store, thread: str) -> list[dict[str, Any]]:
        """The messages of a thread."""
        (found,) = self.admin.execute(store.read, {"thread": thread}).fetchone()
        return found

    def settle(self) -> None:
        """Do now what autovacuum would do at some moment of a measurement."""
        for store in self.stores:
            for table in store.tables:
                self.admin.execute(f"vacuum (analyze) {table}")

    def checkpoint(self) -> None:
        """From here on each page goes into the WAL as a whole once, when it is first changed."""
        self.admin.execute("checkpoint")

    def wal_position(self) -> int:
        """How many bytes of WAL there have been."""
        (position,) = self.admin.execute("select pg_current_wal_insert_lsn() - '0/0'").fetchone()
        return int(position)


@contextmanager
def running(reference: Path | None) -> Iterator[World]:
    """Start everything there is to measure, beside the reference in this folder if one is given."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir="/tmp", prefix="threadline-bench-")))
        with clusters.running(folder, None, SETTINGS):
            pass  # some of the settings hold from the next start on
        cluster = stack.enter_context(clusters.running(folder, None, SETTINGS))
        database = cluster.create()
        cluster.prepare(database)
        database_url, login_url = cluster.url(database, "postgres"), cluster.url(database, "authenticator")
        admin = stack.enter_context(psycopg.connect(cluster.url(database), autocommit=True))

        service = stack.enter_context(serving(login_url, folder / "service.log"))
        with httpx.Client() as nobody:
            sender = Sender.create(nobody, database_url)
        admin.execute(PEOPLE, {"user_id": sender.user_id})
        target = Target("threadline", service.url, PATH, sender.connection_id, sender.secret, ROWS)
        world = World(database_url, login_url, admin, sender.user_id, [target], None, [])
        if reference:
            schema = (reference / "naive" / "schema.sql").read_text(encoding="utf-8")
            ...
        yield world
