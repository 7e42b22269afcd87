"""Requests to the ingest endpoint: bodies, senders with their own connection, and the stored result."""

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import httpx
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from tests.support.sessions import session

PATH = "/functions/v1/messaging-ingest"
Result = TypeVar("Result")

NEW_SENDER = """
with owner as (
    insert into auth.users (id, email, aud, role, created_at, updated_at)
    values (gen_random_uuid(), %(connection_id)s || '@example.com', 'authenticated', 'authenticated', now(), now())
    returning id
), connection as (
    insert into public.messaging_connections (user_id, platform, connection_id)
    select owner.id, %(platform)s, %(connection_id)s from owner
    returning id
), key as (
    insert into private.messaging_keys (connection_id, secret_hash)
    select connection.id, private.hash_secret(%(secret)s) from connection
)
select id::text from owner
"""

STORED = """
select
    conversation.external_conversation_id,
    array(
        select stored.external_id from public.conversation_messages as stored
        where stored.conversation_id = conversation.id
        order by stored.external_id
    )
from public.conversations as conversation
where conversation.user_id = %s
"""

# Compares the summary that triggers maintain with one computed from the messages.
SUMMARIES = """
with summary as (
    select
        conversation.external_conversation_id,
        (
            conversation.message_count, conversation.last_message_at,
            conversation.last_message_preview, conversation.person_id
        ) as kept,
        (
            counted.messages::integer, newest.sent_at, private.message_preview(newest.message),
            (private.match_conversation(conversation)).person_id
        ) as recomputed
    from public.conversations as conversation
    cross join lateral (
        select count(*) as messages from public.conversation_messages as stored
        where stored.conversation_id = conversation.id
    ) as counted
    left join lateral (
        select stored.* from public.conversation_messages as stored
        where stored.conversation_id = conversation.id
        order by stored.sent_at desc, stored.sequence desc, stored.received_at desc, stored.external_id desc
        limit 1
    ) as newest on true
    where conversation.user_id = %s
)
select external_conversation_id, kept::text, recomputed::text from summary where kept is distinct from recomputed
"""
ORPHANS = """
select stored.conversation_id, stored.external_id from public.conversation_messages as stored
where stored.workspace_id = %s
    and not exists (select from public.conversations as parent where parent.id = stored.conversation_id)
"""


def message(name: str = "m1", /, **fields: Any) -> dict[str, Any]:
    """Return a text message with this id; fields replace or extend the defaults."""
    given = {"id": name, "direction": "inbound", "type": "text", "content": f"Content of {name}"}
    return {**given, "sent_at": "2026-02-01T10:30:00Z", **fields}


def conversation(*messages: Any, external_id: str = "chat", **fields: Any) -> dict[str, Any]:
    """Return a conversation with a participant who has a username."""
    given = {"external_conversation_id": external_id, "participant_identifier": "@somebody"}
    return {**given, "messages": list(messages), **fields}


def request(*conversations: Any, **fields: Any) -> dict[str, Any]:
    """Return a request body on the WhatsApp connection of `seed.sql`."""
    return {"platform": "whatsapp", "connection_id": "wa_business_123", "conversations": list(conversations), **fields}


@dataclass(frozen=True)
class Sender:
    """An outside service with its own connection, the only one of its owner."""

    client: httpx.Client
    database_url: str  # of role postgres
    user_id: str
    connection_id: str
    secret: str
    platform: str = "whatsapp"

    @classmethod
    def create(cls, client: httpx.Client, database_url: str, platform: str = "whatsapp") -> "Sender":
        """Create the user, the connection and its key."""
        names = {"connection_id": f"test_{secrets.token_hex(8)}", "secret": secrets.token_urlsafe(32)}
        with session(database_url) as connection:
            (user_id,) = connection.execute(NEW_SENDER, {"platform": platform, **names}).fetchone()
        return cls(client, database_url, user_id, **names, platform=platform)

    def request(self, *conversations: Any, **fields: Any) -> dict[str, Any]:
        """Return a request body on this connection."""
        return request(*conversations, **{"platform": self.platform, "connection_id": self.connection_id, **fields})

    def post(self, *conversations: Any, **fields: Any) -> httpx.Response:
        """Send conversations as a JSON body."""
        return self.client.post(PATH, json=self.request(*conversations, **fields), headers={"x-api-key": self.secret})

    def send(self, content: bytes | Iterable[bytes], **headers: str | None) -> httpx.Response:
        """Send exactly these bytes. A header of None is left out, `_` in a name stands for `-`."""
        given = {"content-type": "application/json", "x-api-key": self.secret}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        given = {name: value for name, value in given.items() if value is not None}
        return self.client.post(PATH, content=content, headers=given)

    def stored(self) -> dict[str, list[str]]:
        """Return the sorted message ids of each conversation."""
        with session(self.database_url) as connection:
            return dict(connection.execute(STORED, [self.user_id]).fetchall())

    def stored_messages(self) -> list[dict[str, Any]]:
        """Return the stored messages in the order of their ids, with numbers of any size."""
        with session(self.database_url) as connection, connection.cursor() as cursor:
            set_json_loads(partial(json.loads, parse_int=Decimal, parse_float=Decimal), cursor)
            statement = "select message from public.conversation_messages where workspace_id = %s order by external_id"
            return [row for (row,) in cursor.execute(statement, [self.user_id])]

    def inconsistencies(self) -> list[dict[str, Any]]:
        """Return conversations with a wrong count, last message or person, and messages without a conversation."""
        with session(self.database_url) as connection, connection.cursor(row_factory=dict_row) as cursor:
            return [row for query in (SUMMARIES, ORPHANS) for row in cursor.execute(query, [self.user_id])]


def in_parallel(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Run all calls at once, one thread each; return the results in order, or raise the first error."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(call) for call in calls]]
