"""No step reads more than it must: indexes serve every look-up, and a policy is evaluated once per query."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.conftest import BOB, Db, add_thread, become, ingest, rows, value
from tests.support.ingest import conversation, message


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
def test_a_policy_asks_once_per_query_who_the_caller_is(db: Db, query: str) -> None:
    become(db, BOB)
    nodes = plan(db, query)
    assert "InitPlan 1" in [node.get("Subplan Name", "")[:10] for node in nodes]
    # Per row, the setting behind auth.uid() would show in a condition.
    assert "current_setting" not in json.dumps(nodes)


@pytest.fixture
def long_thread(db: Db) -> Any:
    """One of three threads with 1,000 messages each."""
    threads = [add_thread(db, "@ann") for _ in range(3)]
    db.execute(
        """
        insert into public.conversation_messages (conversation_id, user_id, external_id, sent_at, message)
        select id, user_id, 'm' || n, now() + n * interval '1 second', '{}'
        from public.conversations cross join generate_series(1, 1000) as n
        """
    )
    db.execute("analyze public.conversation_messages")
    return threads[0]


@pytest.mark.parametrize(("order", "direction"), [("desc", "Backward"), ("asc", "Forward")])
def test_a_page_of_a_thread_is_read_from_the_index_in_order(
    db: Db, long_thread: Any, order: str, direction: str
) -> None:
    become(db, BOB)
    nodes = plan(
        db,
        f"""
        select message from public.conversation_messages where conversation_id = %s
        order by sent_at {order}, external_id {order} limit 50
        """,
        long_thread,
    )
    assert "Sort" not in {node["Node Type"] for node in nodes}
    scans = [(node["Index Name"], node["Scan Direction"]) for node in nodes if node["Node Type"] == "Index Scan"]
    assert scans == [("conversation_messages_order_idx", direction)]


@pytest.fixture
def thrifty(postgres_url: str) -> Iterator[Db]:
    """A new session, whose counters begin at zero and which reads no table whole if there is another way."""
    # Tables as small as here are quicker read whole; what remains without an index shows all the same.
    with psycopg.connect(postgres_url, options="-c enable_seqscan=off") as connection:
        yield connection
        connection.rollback()


def whole_reads(db: Db) -> dict[str, int]:
    """The tables that a session has read, and how often from end to end."""
    query = """
        select relname::text, seq_scan from pg_stat_xact_user_tables
        where schemaname in ('public', 'private') and (seq_scan > 0 or idx_scan > 0) and relname <> 'settings'
    """
    return dict(rows(db, query))


def test_an_ingest_request_looks_everything_up_in_indexes(thrifty: Db) -> None:
    ingest(thrifty, conversation(message("a"), participant_identifier="+1 234 567 890"))
    ingest(thrifty, conversation(message("a", size=1), message("b"), participant_identifier="+1 234 567 891"))
    tables = ["messaging_connections", "messaging_keys", "conversations", "conversation_messages", "people"]
    assert whole_reads(thrifty) == dict.fromkeys(tables, 0)


def test_a_change_of_contacts_finds_its_threads_in_indexes(thrifty: Db) -> None:
    become(thrifty, BOB)
    added = value(thrifty, "insert into public.people (full_name, phone) values ('A', '+49 15123456789') returning id")
    thrifty.execute("update public.people set phone = '+49 151 99999999' where id = %s", (added,))
    thrifty.execute("delete from public.people where id = %s", (added,))
    assert whole_reads(thrifty) == {"people": 0, "conversations": 0}
