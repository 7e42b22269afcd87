"""Which rows a statement locks first, and how strongly, while another session holds them all."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from tests.support.calls import ask, send
from tests.support.cluster import TestCluster
from tests.support.database import Db, become, value
from tests.support.world import BOB, CHANNEL, JOHN_DOE, MATTY, MESSAGE, TWIN, WORKSPACE

LOW, HIGH = "00000000-0000-4000-8000-000000000001", "ffffffff-0000-4000-8000-000000000001"
BOTH = f"array['{HIGH}', '{LOW}']::uuid[]"
# The weakest lock of another session for which each lock waits.
HELD = {"update": "key share", "no key update": "share", "key share": "update"}
SETUP = f"""
insert into public.conversations (id, user_id, platform, external_conversation_id, participant_identifier)
values ('{HIGH}', '{MATTY}', 'signal', 'high', '@a'), ('{LOW}', '{MATTY}', 'signal', 'low', '@b');
insert into public.channels (id, workspace_id, name, created_by)
values ('{HIGH}', '{WORKSPACE}', 'high', '{MATTY}'), ('{LOW}', '{WORKSPACE}', 'low', '{MATTY}');
insert into public.ai_twins (id, user_id, display_name)
values ('{HIGH}', '{MATTY}', 'high'), ('{LOW}', '{MATTY}', 'low');
insert into public.channel_twins (channel_id, ai_twin_id)
values ('{CHANNEL}', '{HIGH}'), ('{CHANNEL}', '{LOW}'), ('{HIGH}', '{TWIN}'), ('{LOW}', '{TWIN}');
insert into private.summaries (conversation_id, last_seq, requested_count, model, prompt_version, lease_expires_at)
values ('{LOW}', 1, 0, 'x', 1, now());
insert into public.message_reactions (message_id, user_id, emoji) values ('{MESSAGE}', '{MATTY}', 'fire');
insert into public.message_pins (message_id, pinned_by) values ('{MESSAGE}', '{MATTY}');
"""
MESSAGES = """
insert into public.conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
select id, workspace_id, 'x', now(), '{}' from public.conversations
"""
QUEUE = "select private.queue_deliveries(message, 'message.created', 1) from public.messages as message limit 1"
EDIT = f"update public.messages set content = 'y' where id = '{MESSAGE}'"
AGAIN = (
    "insert into public.messages (id, channel_id, content)"
    " select id, channel_id, 'x' from public.messages order by id limit 1"
)
JOIN = f"insert into public.channel_twins (channel_id, ai_twin_id) values ('{LOW}', '{HIGH}')"
MOVE = f"update public.channel_members set channel_id = '{LOW}' where (channel_id, user_id) = ('{CHANNEL}', '{BOB}')"
COUNTERS = "private.channel_counters", f"channel_id <> '{CHANNEL}'", "no key update"
FIRE = f"""private.set_reaction('{{"id": "{MESSAGE}", "emoji": "fire"}}', 'remove')"""
UNPIN = f"""public.unpin_message('{{"id": "{MESSAGE}"}}'::jsonb)"""
SUMMARY = "private.finish_summary(to_jsonb(known)) from private.summaries as known"
LEASED = "(select lease from private.twin_queues where lease is not null), 200, null"
# Statement, table, its key, and the lock.
CASES = {
    "ingest": (f"private.lock_conversations({BOTH})", "public.conversations", "id", "no key update"),
    "matching": (f"private.update_matches({BOTH})", "public.conversations", "id", "no key update"),
    "summaries of messages": (MESSAGES, "public.conversations", "id", "no key update"),
    "joining": (f"private.join_conversation('{HIGH}', '{LOW}')", "public.conversations", "id", "update"),
    "leaving": (f"private.pass_belongings('{MATTY}', '{MATTY}', '{BOB}')", "public.conversations", "id", "update"),
    "erasure": (
        f"private.lock_erased_conversations('{MATTY}', null, {BOTH})", "public.conversations", "id", "update",
    ),
    "matched person": (f"private.lock_person(row('{JOHN_DOE}', 'phone'))", "public.people", "id", "key share"),
    "changed person": (f"private.lock_person('{JOHN_DOE}', 'person_id')", "public.people", "id", "no key update"),
    "channel": (f"private.lock_channel('{LOW}')", "private.channel_counters", "channel_id", "no key update"),
    "channels": (f"private.lock_channels({BOTH})", "private.channel_counters", "channel_id", "no key update"),
    "sent again": (AGAIN, "public.messages", "id", "key share"),
    "twins of an edit": (EDIT, "public.channel_twins", "ai_twin_id", "key share"),
    "webhooks of an edit": (EDIT, "public.twin_webhooks", "ai_twin_id", "key share of webhook"),
    "twins to tell": (QUEUE, "public.channel_twins", "ai_twin_id", "key share"),
    "webhooks to tell": (QUEUE, "public.twin_webhooks", "ai_twin_id", "key share"),
    "rotation": (
        f"private.rotate_twin_secret('{LOW}', '1 hour')", "public.twin_webhooks", "ai_twin_id", "no key update",
    ),
    "joining twin": (JOIN, "private.channel_counters", f"channel_id <> '{LOW}'", "no key update"),
    "moved member": (MOVE, *COUNTERS),
    "removed reaction": (FIRE, *COUNTERS),
    "removed pin": (UNPIN, *COUNTERS),
    "finished summary": (SUMMARY, "public.conversations", "id", "no key update"),
    "rotation of a key": (
        "private.rotate_messaging_key(id, '0') from public.messaging_connections order by id limit 1",
        "public.messaging_connections", "id", "no key update",
    ),
    "replay": (f"private.replay_twin_deliveries('{TWIN}', null)", "private.twin_queues", "channel_id", "update"),
    "finish": (f"private.finish_delivery(null, {LEASED})", "private.twin_queues", "lease is null, lease", "update"),
}  # fmt: skip


@pytest.fixture(scope="module")
def database(cluster: TestCluster, template: str) -> str:
    """Two rows of each kind; the second has the lower id."""
    url = cluster.url(cluster.create(template), "postgres")
    with psycopg.connect(url) as db:
        for statement in SETUP.split(";\n"):
            db.execute(statement)
        for twin in (HIGH, LOW, TWIN):
            ask(db, MATTY, "set_twin_webhook", ai_twin_id=twin, url="https://twin.example")
        for channel in (HIGH, LOW):
            send(db, channel_id=channel)
        ask(db, None, "claim_deliveries", limit=1, lease_seconds=60)
    return url


@pytest.fixture
def sessions(database: str) -> Iterator[tuple[Db, Db]]:
    """Two sessions."""
    with psycopg.connect(database) as first, psycopg.connect(database) as second:
        yield first, second
        first.rollback()
        second.rollback()


@pytest.mark.parametrize(("statement", "table", "key", "mode"), CASES.values(), ids=CASES)
def test_rows_are_locked_in_the_order_of_their_keys(
    sessions: tuple[Db, Db], statement: str, table: str, key: str, mode: str
) -> None:
    first, second = sessions
    place = value(first, f"select ctid::text from {table} order by {key} limit 1")
    first.execute(f"select from {table} for {HELD[mode.partition(' of ')[0]]}")
    become(second, MATTY)
    second.execute("reset role")
    second.execute("set local lock_timeout = '20ms'")
    with pytest.raises(LockNotAvailable) as waited:
        second.execute(statement if " " in statement.split("(")[0] else f"select {statement}")
    context = str(waited.value.diag.context)
    assert "FOR KEY SHARE OF" not in context, "a foreign key locks"
    assert f'while locking tuple {place} in relation "{table.partition(".")[2]}"' in context
    assert f"for {mode}" in context
