"""No statement reads more than it needs: each look-up uses an index, and policies run once per query."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.support.calls import call, ingest
from tests.support.cluster import TestCluster
from tests.support.costs import reading_at_most
from tests.support.database import Db, become, become_postgres, value
from tests.support.ingest import conversation, message
from tests.support.people import add_conversation
from tests.support.soak import bounded
from tests.support.world import BOB, MATTY


def plan(db: Db, query: str, *parameters: object) -> list[dict[str, Any]]:
    """The nodes of a query's plan."""

    def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield node
        for child in node.get("Plans", []):
            yield from walk(child)

    return list(walk(value(db, f"explain (format json, costs off) {query}", *parameters)[0]["Plan"]))


@pytest.mark.parametrize(
    "query",
    [
        "select from public.people",
        "select from public.messaging_connections",
        "select from public.conversations",
        "select from public.conversation_messages",
        "update public.people set full_name = full_name",
        "delete from public.messaging_connections",
    ],
)
def test_policies_evaluate_the_caller_once_per_query(db: Db, query: str) -> None:
    become(db, BOB)
    nodes = plan(db, query)
    assert "InitPlan" in [node.get("Subplan Name", "")[:8] for node in nodes]
    # A check per row would show the setting behind auth.uid() in a filter.
    assert "current_setting" not in json.dumps(nodes)


@pytest.fixture
def long_thread(db: Db) -> Any:
    """Return one of three conversations with 1,000 messages each."""
    threads = [add_conversation(db, "@ann") for _ in range(3)]
    db.execute(
        """
        insert into public.conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
        select id, workspace_id, 'm' || n, now() + n * interval '1 second', '{}'
        from public.conversations cross join generate_series(1, 1000) as n
        """
    )
    db.execute("analyze public.conversation_messages")
    return threads[0]


@pytest.mark.parametrize(("order", "direction"), [("desc", "Backward"), ("asc", "Forward")])
def test_conversation_page_is_read_from_the_index_in_order(
    db: Db, long_thread: Any, order: str, direction: str
) -> None:
    become(db, BOB)
    nodes = plan(
        db,
        f"""
        select message from public.conversation_messages where conversation_id = %s
        order by sent_at {order}, sequence {order}, received_at {order}, external_id {order} limit 50
        """,
        long_thread,
    )
    assert not [node for node in nodes if node["Node Type"].endswith("Sort")]
    scans = [(node["Index Name"], node["Scan Direction"]) for node in nodes if node["Node Type"] == "Index Scan"]
    assert scans == [("conversation_messages_order_idx", direction)]


def test_whole_conversation_is_read_from_the_index_in_order(db: Db, long_thread: Any) -> None:
    fetched = "select pg_stat_get_xact_tuples_fetched('public.conversation_messages_order_idx'::regclass)"
    before = value(db, fetched)
    become(db, BOB)
    value(
        db, "select public.messages(conversation) from public.conversations as conversation where id = %s", long_thread
    )
    become_postgres(db)
    # Bitmap scans, whose rows must be sorted, do not count here.
    assert value(db, fetched) - before == 1000


CROWD = bounded(1_000, 1_000_000)
# Triggers are off. The conversation "long" has this many messages, the others one each.
MANY = f"""
set session_replication_role = replica;
insert into public.messaging_connections (workspace_id, user_id, platform, connection_id)
select '{MATTY}', '{MATTY}', 'whatsapp', 'old' || n from generate_series(1, {CROWD}) as n;
insert into private.messaging_keys (connection_id, secret_hash)
select id, sha256(uuid_send(id)) from public.messaging_connections;
insert into public.people (workspace_id, user_id, full_name, phone)
select '{MATTY}', '{MATTY}', 'Someone', '+49 151 ' || 1000000 + n from generate_series(1, {CROWD}) as n;
insert into public.conversations
(workspace_id, scope_id, user_id, platform, external_conversation_id, participant_identifier, last_message_at)
select '{MATTY}', '{MATTY}', '{MATTY}', 'whatsapp', 'old' || n, '+49 151 ' || 2000000 + n, now() - n * '1 s'::interval
from generate_series(1, {CROWD}) as n;
insert into public.conversations
(workspace_id, scope_id, user_id, platform, external_conversation_id, participant_identifier, last_message_at)
values ('{MATTY}', '{MATTY}', '{MATTY}', 'whatsapp', 'long', '@long', now() - interval '1 day');
insert into public.conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
select id, workspace_id, 'old', now(), '{{}}' from public.conversations;
insert into public.conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
select id, workspace_id, 'm' || n, now() - n * interval '1 second', '{{}}'
from public.conversations cross join generate_series(1, {CROWD}) as n where external_conversation_id = 'long';
insert into private.inbox_changes (workspace_id, xid, conversation_ids, versions)
select '{MATTY}', '3', array[id], array[1] from public.conversations;
set session_replication_role = origin;
analyze
    public.messaging_connections, private.messaging_keys, private.inbox_changes,
    public.people, public.conversations, public.conversation_messages
"""


@contextmanager
def session_with(past: str, cluster: TestCluster, template: str) -> Iterator[Db]:
    """Open a superuser session with this data, in a database without dead rows of earlier tests."""
    with psycopg.connect(cluster.url(cluster.create(template))) as connection:
        connection.execute(past)
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def crowded_session(cluster: TestCluster, template: str) -> Iterator[Db]:
    """Open a session where Matty has a thousand of everything, or a million in soak."""
    with session_with(MANY, cluster, template) as session:
        yield session


@pytest.fixture
def small(cluster: TestCluster, template: str) -> Iterator[Db]:
    """Open a session where nothing was ingested yet."""
    with session_with("select", cluster, template) as session:
        yield session


@pytest.fixture
def crowd(crowded_session: Db) -> Iterator[Db]:
    """Use the session for one test, and roll back."""
    with crowded_session.transaction(force_rollback=True):
        yield crowded_session


def test_ingest_reads_only_its_own_rows(crowd: Db) -> None:
    new = conversation(message("a"), participant_identifier="+49 151 1000007")
    old = conversation(message("old"), message("b"), external_id="old7", participant_identifier="+49 151 2000007")
    with reading_at_most(50, crowd):
        ingest(crowd, new, old)


@pytest.mark.parametrize("is_analyzed", [False, True], ids=["empty", "analyzed"])
def test_plans_of_a_small_database_read_only_their_rows(small: Db, is_analyzed: bool) -> None:
    def batch(name: str) -> list[dict[str, Any]]:
        return [conversation(message(name), external_id=f"thread{number}") for number in range(3)]

    if is_analyzed:
        ingest(small, *batch("first"))
        small.execute("analyze")
    for name in "aabcdefgg":
        ingest(small, *batch(name))
    small.execute(
        """
        insert into public.conversations
        (user_id, workspace_id, platform, external_conversation_id, participant_identifier)
        select user_id, workspace_id, platform, 'other' || n, 'other' || n
        from public.conversations cross join generate_series(1, 500) as n
        where external_conversation_id = 'thread0'
        """
    )
    for requests in (batch("a"), batch("z"), [conversation(message("new"), external_id="new")]):
        with reading_at_most(50, small):
            ingest(small, *requests)


def test_new_messages_read_no_others_of_a_long_conversation(crowd: Db) -> None:
    with reading_at_most(50, crowd):
        answer = ingest(crowd, conversation(message("m7"), message("new"), external_id="long"))
    assert [result["messages_added"] for result in answer.body["results"]] == [1]


@pytest.mark.parametrize(
    "query",
    [
        f"select from public.conversations where workspace_id = '{MATTY}' order by last_message_at desc limit 20",
        """
        select message from public.conversation_messages
        where conversation_id = (
            select id from public.conversations where (platform, external_conversation_id) = ('whatsapp', 'long')
        )
        order by sent_at desc, sequence desc, received_at desc, external_id desc limit 20
        """,
    ],
    ids=["threads", "messages"],
)
def test_inbox_page_reads_only_its_rows(crowd: Db, query: str) -> None:
    become(crowd, MATTY)
    with reading_at_most(50, crowd):
        crowd.execute(query)


@pytest.mark.parametrize(
    ("function", "fields"),
    [
        ("list_inbox_changes", {"since": "(3,0,0)", "limit": 10}),
        ("search_conversations", {"query": "nowhere"}),
    ],
)
def test_inbox_call_reads_only_its_rows(crowd: Db, function: str, fields: dict[str, Any]) -> None:
    if "since" in fields:
        fields = fields | {"since": value(crowd, "select private.render_inbox_cursor(%s)", fields["since"])}
    with reading_at_most(50, crowd):
        reply = call(crowd, function, MATTY, **fields)
    assert reply.status == 200, reply


@pytest.mark.parametrize(
    "query",
    [
        "select public.mark_conversation_read(%(id)s)",
        "select public.messages(conversation) from public.conversations as conversation where id = %(id)s",
    ],
)
def test_conversation_call_reads_only_its_rows(crowd: Db, query: str) -> None:
    known = value(crowd, "select id from public.conversations where external_conversation_id = 'old7'")
    become(crowd, MATTY)
    with reading_at_most(50, crowd):
        crowd.execute(query, {"id": known})


def test_clean_up_reads_no_valid_keys(crowd: Db) -> None:
    with reading_at_most(50, crowd):
        crowd.execute("select private.clean_up()")


def test_person_change_reads_only_matching_conversations(crowd: Db) -> None:
    become(crowd, MATTY)
    with reading_at_most(50, crowd):
        crowd.execute("insert into public.people (full_name, phone) values ('Ann', '+49 151 2000007')")


@pytest.mark.parametrize("phone", ["'+49 151 5550000'", "'+' || n || ' 49 151 5550000'"], ids=["equal", "same tail"])
def test_ingest_stops_at_two_people_with_a_number(crowd: Db, phone: str) -> None:
    crowd.execute(
        f"""
        insert into public.people (user_id, full_name, phone)
        select %s, 'Someone', {phone} from generate_series(100, 899) as n
        """,
        (MATTY,),
    )
    new = [conversation(external_id=f"new{n}", participant_identifier="+49 151 5550000") for n in range(50)]
    with reading_at_most(5_000, crowd):  # 800 people for each conversation would be 40,000
        answer = ingest(crowd, *new)
    assert answer.statuses == ["created"] * 50
