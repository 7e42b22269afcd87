"""In a long channel, calls read only the rows that they need: 5,000 messages, in soak a million."""

import json
from collections.abc import Iterator

import pytest

from tests.sql.test_plans import session_with
from tests.support.calls import call
from tests.support.cases import named
from tests.support.cluster import TestCluster
from tests.support.costs import reading_at_most
from tests.support.database import Db, become, become_postgres, lift_request_limit, rows, value
from tests.support.event_log import last_seq
from tests.support.realtime import fire_deferred_triggers
from tests.support.soak import bounded
from tests.support.world import BOB, CHANNEL, MATTY, MESSAGE, TWIN

PAST = bounded(5_000, 1_000_000)
FEW = 150
# Search reads this many of the newest messages before it knows that a word is rare.
STEP = 21_000
THREAD = "7ead7ead-0000-4000-8000-000000000001"
QUIET = "0a1e7000-0000-4000-8000-000000000001"
CALLS: list[tuple[str, dict[str, object]]] = [
    ("list_messages", {"channel_id": CHANNEL, "limit": 50}),
    ("list_messages", {"channel_id": CHANNEL, "limit": 50, "before": MESSAGE}),
    ("list_messages", {"channel_id": CHANNEL, "limit": 50, "before": f"seq_{PAST // 2}"}),
    ("list_messages", {"channel_id": CHANNEL, "limit": 50, "after": f"seq_{PAST // 2}"}),
    ("list_messages", {"channel_id": CHANNEL, "thread_id": MESSAGE}),
    ("list_channel_events", {"channel_id": CHANNEL, "since": f"{PAST // 2}", "limit": 50}),
    ("get_message", {"id": MESSAGE}),
    ("mark_read", {"channel_id": CHANNEL, "seq": 1000 + PAST}),
    ("list_user_events", {}),
    ("create_message", {"channel_id": CHANNEL, "content": f"<@{BOB}> <@{TWIN}> <!channel>"}),
    ("create_message", {"channel_id": CHANNEL, "content": "new"}),
    ("reply_to_message", {"id": MESSAGE, "content": "new"}),
    ("reply_to_message", {"id": THREAD, "content": "new"}),
    ("edit_message", {"id": MESSAGE, "content": "new"}),
    ("list_message_edits", {"id": MESSAGE}),
    ("add_reaction", {"id": MESSAGE, "emoji": "tada"}),
    ("toggle_reaction", {"id": MESSAGE, "emoji": "tada"}),
    ("pin_message", {"id": MESSAGE}),
    ("delete_message", {"id": MESSAGE}),
    ("list_twin_deliveries", {"ai_twin_id": TWIN, "limit": 20}),  # of each state
    ("list_twin_deliveries", {"ai_twin_id": TWIN, "state": "pending"}),
    ("list_twin_deliveries", {"ai_twin_id": TWIN, "state": "delivered"}),
]
# A past that triggers would write one by one. It is Matty's twin's too, and other twins' of other channels. The second
# channel has messages without any marks; the last of the others are replies in the first one's thread.
MANY = f"""
set session_replication_role = replica;
insert into public.channels (id, workspace_id, kind, name, created_by)
values ('{QUIET}', '{MATTY}', 'channel', 'quiet', '{MATTY}');
insert into public.channel_members (channel_id, user_id, role) values ('{QUIET}', '{MATTY}', 'owner');
insert into public.member_states (channel_id, user_id) values ('{QUIET}', '{MATTY}');
update public.member_states set read_seq = 0 where user_id = '{MATTY}';
insert into private.channel_counters (channel_id, workspace_id, last_seq, message_count)
values ('{QUIET}', '{MATTY}', {1000 + PAST}, {PAST // 5});
insert into public.messages
(id, workspace_id, channel_id, seq, user_id, content, parent_message_id, thread_id, created_at, updated_at)
select
    case when n = 1 then '{THREAD}' else gen_random_uuid() end, '{MATTY}',
    case when n % 5 = 0 then '{QUIET}'::uuid else '{CHANNEL}' end,
    1000 + n, '{BOB}', 'old ' || n, answered.id, answered.id, past.at, past.at
from generate_series(1, {PAST}) as n
cross join lateral (select case when n % 20 = 1 and n > 1 then '{THREAD}'::uuid end as id) as answered
cross join lateral (select now() - ({PAST} - n) * interval '1 second' as at) as past;
insert into public.message_events (workspace_id, channel_id, seq, kind, message_id, actor_id, created_at)
select workspace_id, channel_id, seq, 'message.created', id, user_id, created_at from public.messages where seq > 1000;
insert into private.message_words (message_id, channel_id, created_at, words)
select id, channel_id, created_at, format('old:1 word%s:2', seq % 5000)::tsvector
from public.messages where seq > 1000 order by seq;
select brin_summarize_new_values('private.message_words_created_at_idx');
insert into public.message_reactions (message_id, channel_id, user_id, emoji)
select id, channel_id, '{BOB}', 'fire' from public.messages where channel_id = '{CHANNEL}' and seq % 5 = 1;
insert into private.twin_queues (ai_twin_id, channel_id, user_id)
select gen_random_uuid(), gen_random_uuid(), gen_random_uuid() from generate_series(1, 500);
insert into public.twin_deliveries (ai_twin_id, channel_id, message_id, seq, state, created_at, finished_at)
select
    '{TWIN}', channel_id, id, seq, past.state, created_at,
    case when past.state <> 'pending' then now() - (seq <= 1010)::integer * interval '8 days' end
from public.messages cross join lateral (
    select case when channel_id = '{QUIET}' then 'pending' when seq % 5 = 1 then 'dead' else 'delivered' end as state
) as past
where seq > 1000;
insert into private.idempotency_keys (principal, route, key, request_hash, created_at)
select '{BOB}', 'create', n::text, '', now() - case when n <= 10 then interval '2 days' else interval '1 hour' end
from generate_series(1, {PAST}) as n;
update private.channel_counters set last_seq = 1000 + {PAST}, message_count = message_count + {PAST}
where channel_id = '{CHANNEL}';
set session_replication_role = origin;
analyze
    public.messages, public.message_events, public.message_reactions, public.twin_deliveries, private.message_words,
    private.twin_queues, private.channel_counters, private.idempotency_keys, public.member_states
"""


@pytest.fixture(scope="module")
def long_session(cluster: TestCluster, template: str) -> Iterator[Db]:
    """Open a session with a channel of this many messages."""
    with session_with(MANY, cluster, template) as session:
        lift_request_limit(session)
        call(session, "set_twin_webhook", ai_twin_id=TWIN, url="https://twin.example/")
        yield session


@pytest.fixture
def past(long_session: Db) -> Iterator[Db]:
    """Use the session for one test, and roll back."""
    with long_session.transaction(force_rollback=True):
        yield long_session


@pytest.mark.parametrize(
    ("function", "fields"),
    CALLS,
    ids=lambda each: (
        each if isinstance(each, str) else named(" ".join(map(str, each.values()))).replace(THREAD, "THREAD")
    ),
)
def test_call_reads_only_its_own_rows(past: Db, function: str, fields: dict[str, object]) -> None:
    with reading_at_most(FEW, past):
        reply = call(past, function, MATTY, **fields)
        fire_deferred_triggers(past)
    assert reply.status < 300, reply


def test_list_of_channels_reads_up_to_100_of_each(past: Db) -> None:
    with reading_at_most(2 * 105, past):
        reply = call(past, "list_my_channels", MATTY)
    assert [channel["unread_count"] for channel in reply.data] == [100, 100]
    become(past, MATTY)
    for channel_id in (CHANNEL, QUIET):
        past.execute("select public.mark_read(%s, 1000000000)", (channel_id,))
    become_postgres(past)
    with reading_at_most(20, past):
        reply = call(past, "list_my_channels", MATTY)
    assert [channel["unread_count"] for channel in reply.data] == [0, 0]


def test_no_statement_triggers_jit(past: Db) -> None:
    if not value(past, "select pg_jit_available()"):
        pytest.skip("this Postgres compiles nothing")
    compiled: list[str] = []
    past.add_notice_handler(lambda notice: compiled.append(notice.message_primary or ""))
    past.execute("load 'auto_explain'")
    past.execute(
        "set local auto_explain.log_min_duration = 0; set local auto_explain.log_analyze = on; "
        "set local auto_explain.log_nested_statements = on; set local auto_explain.log_level = 'notice'"
    )
    searches = [("search_messages", {"query": "old"}), ("search_messages", {"query": "word7", "channel_id": QUIET})]
    for function, fields in CALLS + searches:
        for _ in range(7):  # the sixth run is the first that may use a generic plan
            call(past, function, MATTY, **fields)
            fire_deferred_triggers(past)
    assert [plan for plan in compiled if "JIT:" in plan] == []


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("has:reaction", FEW),
        ("has:pin", FEW),
        ("before:2020-01-01", STEP),
        ("old before:2020-01-01", STEP),
        ("after:2099-01-01", STEP),
        ("from:carol old", FEW),
        ("has:thread", FEW),
        ("has:thread old", STEP),
        ("word7 nowhere", STEP),
        ("word7", STEP),
        ("nowhere OR neverever", STEP),
        ('"old word7"', STEP),
        ("old", STEP),
        ("-nowhere", STEP),
    ],
)
def test_search_reads_little_more_than_it_returns(past: Db, query: str, limit: int) -> None:
    with reading_at_most(limit, past):
        reply = call(past, "search_messages", MATTY, query=query, channel_id=QUIET)
    assert reply.status == 200, reply


def test_worker_reads_only_due_deliveries(past: Db) -> None:
    call(past, "create_message", BOB, channel_id=CHANNEL, content="new")
    with reading_at_most(FEW, past):
        (claimed,) = value(past, "select private.claim_deliveries(10, '1 minute')")
        value(past, "select private.finish_delivery(%s, %s, 200, null)", claimed["id"], claimed["lease"])
    assert json.loads(claimed["body"])["seq"] == last_seq(past)
    waiting = "select count(*) from public.twin_deliveries where state = 'pending' and channel_id = %s"
    assert rows(past, waiting, CHANNEL) == [0]


def test_clean_up_reads_only_what_it_removes(past: Db) -> None:
    with reading_at_most(FEW, past):
        removed = value(past, "select private.clean_up()")
    assert (removed["idempotency_keys"], removed["twin_deliveries"]) == (10, 6)


@pytest.mark.parametrize("function", ["list_messages", "export_channel"])
def test_page_checks_caller_rights_once_per_table(past: Db, function: str) -> None:
    # These tests run last, because rolled-back memberships stay in the index.
    channels = 200
    statement = "insert into public.channels (name, created_by) select n::text, %s from generate_series(1, %s) as n"
    past.execute(statement, (MATTY, channels))
    past.execute("set constraints all immediate")
    with reading_at_most(15 * channels, past):
        reply = call(past, function, MATTY, channel_id=CHANNEL, limit=50)
    assert len(reply.data) == 50


@pytest.mark.parametrize(
    ("function", "fields"),
    [("list_messages", {"channel_id": CHANNEL, "limit": 50}), ("get_message", {"id": MESSAGE})],
    ids=["list_messages", "get_message"],
)
def test_call_reads_no_other_channels_of_the_caller(past: Db, function: str, fields: dict[str, object]) -> None:
    statement = "insert into public.channels (name, created_by) select n::text, %s from generate_series(1, 400) as n"
    past.execute(statement, (MATTY,))
    past.execute("set constraints all immediate")
    with reading_at_most(2 * FEW, past):
        assert call(past, function, MATTY, **fields).status == 200


def test_page_of_a_long_thread_checks_no_rights_per_reply(past: Db) -> None:
    checks = "select pg_stat_get_xact_numscans('public.channel_members_pkey'::regclass)"
    replies = value(past, "select count(*) from public.messages where thread_id = %s", THREAD)
    before = value(past, checks)
    reply = call(past, "list_messages", MATTY, channel_id=CHANNEL, thread_id=THREAD, limit=10)
    assert (len(reply.data), reply.meta["total"]) == (10, replies)
    assert value(past, checks) - before <= FEW


@pytest.mark.parametrize("others", [0, 400])
@pytest.mark.parametrize("by_words", [True, False])
def test_search_of_many_channels_finds_no_others(past: Db, others: int, by_words: bool) -> None:
    found = value(
        past,
        """
        select array(
            select message.channel_id::text
            from private.search_span(
                jsonb_populate_record(null::private.message_search, jsonb_build_object(
                    'words', 'word7', 'channel_ids',
                    array_append(array(select gen_random_uuid() from generate_series(1, %s)), %s::uuid)
                )), 0, 1000000000, 1000, %s
            ) as span
            cross join lateral unnest(span.ids) as hit (id)
            inner join public.messages as message on hit.id = message.id
        )
        """,
        others, CHANNEL, by_words,
    )  # fmt: skip
    assert set(found) == {CHANNEL}


def test_search_in_a_channel_reads_no_other_counters(past: Db) -> None:
    statement = "insert into public.channels (name, created_by) select n::text, %s from generate_series(1, 400) as n"
    past.execute(statement, (MATTY,))
    past.execute("set constraints all immediate")
    reads = "select pg_stat_get_xact_tuples_returned('private.channel_counters'::regclass)"
    before = value(past, reads)
    for _ in range(7):  # the sixth run is the first that may use a generic plan
        assert call(past, "search_messages", MATTY, query="nowhere", channel_id=CHANNEL).status == 200
    assert value(past, reads) - before <= 70
