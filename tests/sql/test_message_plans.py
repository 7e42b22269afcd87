"""In a channel with a long past, calls read no more rows than they are about."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.sql.conftest import BOB, MATTY, Db, rows, value
from tests.sql.messages import CHANNEL, MESSAGE, TWIN, call, last_seq, unlimited
from tests.sql.test_plans import reading_at_most

PAST = 5_000
# A past that triggers would write one by one. It is Matty's twin's too, and other twins' of other channels.
MANY = f"""
set session_replication_role = replica;
insert into public.messages (id, channel_id, seq, user_id, content, created_at, updated_at)
select gen_random_uuid(), '{CHANNEL}', 1000 + n, '{BOB}', 'old ' || n, now(), now()
from generate_series(1, {PAST}) as n;
insert into public.message_events (channel_id, seq, kind, message_id, actor_id, created_at)
select channel_id, seq, 'message.created', id, user_id, created_at from public.messages where seq > 1000;
insert into public.message_reactions (message_id, channel_id, user_id, emoji)
select id, channel_id, '{BOB}', 'fire' from public.messages where seq > 1000 and seq % 5 = 0;
insert into private.twin_queues (ai_twin_id, channel_id)
select gen_random_uuid(), gen_random_uuid() from generate_series(1, 500);
insert into public.twin_deliveries (ai_twin_id, channel_id, message_id, seq, state, finished_at)
select '{TWIN}', channel_id, id, seq, 'delivered', now() from public.messages where seq > 1000;
update private.channel_heads set last_seq = 1000 + {PAST}, message_count = message_count + {PAST}
where channel_id = '{CHANNEL}';
set session_replication_role = origin;
analyze
    public.messages, public.message_events, public.message_reactions, public.twin_deliveries,
    private.twin_queues, private.channel_heads
"""


@pytest.fixture(scope="module")
def long_session(admin_url: str) -> Iterator[Db]:
    """A new session, that finds the channel with five thousand messages."""
    with psycopg.connect(admin_url) as connection:
        connection.execute(MANY)
        unlimited(connection)
        call(connection, "set_twin_webhook", ai_twin_id=TWIN, url="https://twin.example/")
        yield connection
        connection.rollback()


@pytest.fixture
def past(long_session: Db) -> Iterator[Db]:
    """It, for one test; nothing of that stays."""
    with long_session.transaction(force_rollback=True):
        yield long_session


@pytest.mark.parametrize(
    ("function", "fields"),
    [
        ("list_messages", {"channel_id": CHANNEL, "limit": 50}),
        ("list_messages", {"channel_id": CHANNEL, "limit": 50, "before": MESSAGE}),
        ("list_messages", {"channel_id": CHANNEL, "thread_id": MESSAGE}),
        ("list_channel_events", {"channel_id": CHANNEL, "since": "3000", "limit": 50}),
        ("get_message", {"id": MESSAGE}),
        ("create_message", {"channel_id": CHANNEL, "content": "new"}),
        ("reply_to_message", {"id": MESSAGE, "content": "new"}),
        ("edit_message", {"id": MESSAGE, "content": "new"}),
        ("list_message_edits", {"id": MESSAGE}),
        ("add_reaction", {"id": MESSAGE, "emoji": "tada"}),
        ("toggle_reaction", {"id": MESSAGE, "emoji": "tada"}),
        ("pin_message", {"id": MESSAGE}),
        ("delete_message", {"id": MESSAGE}),
    ],
    ids=lambda each: each if isinstance(each, str) else " ".join(each),
)
def test_a_call_reads_only_what_it_is_about(past: Db, function: str, fields: dict[str, object]) -> None:
    with reading_at_most(150, past):
        reply = call(past, function, MATTY, **fields)
    assert reply.status < 300, reply


def test_a_worker_reads_only_what_is_due(past: Db) -> None:
    call(past, "create_message", BOB, channel_id=CHANNEL, content="new")
    with reading_at_most(150, past):
        (claimed,) = value(past, "select private.claim_due(10, '1 minute')")
        value(past, "select private.finish_claim(%s, %s, 200, null)", claimed["id"], claimed["lease"])
    assert json.loads(claimed["body"])["seq"] == last_seq(past)
    assert rows(past, "select count(*) from public.twin_deliveries where state = 'pending'") == [0]
