"""Conversations and owners are deleted while messages arrive."""

import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial

import psycopg
import pytest
from psycopg import IsolationLevel

from tests.support.ingest import Sender, conversation, in_parallel, message
from tests.support.sessions import session

ADD = """
insert into public.conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
select id, workspace_id, gen_random_uuid()::text, now(), '{}' from public.conversations where user_id = %(user)s
"""
DELETE = "delete from public.conversations where user_id = %s and external_conversation_id = %s"


def test_next_message_recreates_a_deleted_conversation(sender: Sender) -> None:
    done = threading.Event()

    def deliver(writer: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        while not done.is_set() or statuses[200] < 10:
            name = f"{writer} {statuses[200]:03}"
            reply = sender.post(*(conversation(message(name), external_id=chat) for chat in ("a", "b")))
            statuses[reply.status_code] += 1
            assert reply.status_code == 503 or reply.json()["processed"] == 2
        return statuses

    def delete() -> Counter[int]:
        with psycopg.connect(sender.database_url, autocommit=True) as connection:
            for number in range(30):
                connection.execute(DELETE, [sender.user_id, "ab"[number % 2]])
                time.sleep(0.02)
        done.set()
        return Counter()

    statuses = sum(in_parallel([delete, *(partial(deliver, writer) for writer in range(4))]), Counter())
    assert set(statuses) <= {200, 503}  # a request that loses this race twice gets a 503
    assert set(sender.stored()) == {"a", "b"}
    assert sender.inconsistencies() == []


def test_key_of_a_deleted_owner_is_rejected_at_once(sender: Sender) -> None:
    def deliver(writer: int) -> list[int]:
        statuses = []
        while not statuses or statuses[-1] == 200:
            chats = [conversation(message(), external_id=f"{writer} {len(statuses)} {number}") for number in range(5)]
            statuses.append(sender.post(*chats).status_code)
        return statuses

    def go() -> list[int]:
        time.sleep(0.1)
        with session(sender.database_url) as connection:
            connection.execute("delete from auth.users where id = %s", [sender.user_id])
        return [401]

    assert {statuses[-1] for statuses in in_parallel([go, *(partial(deliver, writer) for writer in range(6))])} == {401}
    assert sender.stored() == {}
    assert sender.inconsistencies() == []


# Postgres runs READ UNCOMMITTED as READ COMMITTED.
@pytest.mark.parametrize("isolation", list(IsolationLevel)[1:])
def test_deleted_conversation_leaves_no_messages(sender: Sender, isolation: IsolationLevel) -> None:
    done = threading.Event()

    def add() -> int:
        """Write as service_role, without the endpoint."""
        added = 0
        with psycopg.connect(sender.database_url, autocommit=True) as connection:
            connection.isolation_level = isolation
            while not done.is_set() or not added:
                with suppress(psycopg.errors.ForeignKeyViolation, psycopg.errors.SerializationFailure):
                    added += connection.execute(ADD, {"user": sender.user_id}).rowcount
        return added

    def delete() -> int:
        deleted = 0
        with psycopg.connect(sender.database_url, autocommit=True) as connection:
            connection.isolation_level = isolation
            while deleted < 40:
                sender.post(conversation(external_id="a"))
                with suppress(psycopg.errors.SerializationFailure):
                    deleted += connection.execute(DELETE, [sender.user_id, "a"]).rowcount
        done.set()
        return deleted

    assert min(in_parallel([delete, add, add, add])) > 0
    assert sender.inconsistencies() == []
