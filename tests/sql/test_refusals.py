"""The cost of a rejection reveals no more than its text: all rejections do the same work.

Times depend on the machine; the work that Postgres counts is the same on every run.
"""

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support.calls import post
from tests.support.database import Db, become_postgres
from tests.support.ingest import conversation, message, request
from tests.support.world import API_KEY, WHATSAPP

Work = dict[str, tuple[int, ...]]
FUNCTIONS = "select schemaname || '.' || funcname, calls from pg_stat_xact_user_functions"
TABLES = """
select
    relname::text, seq_scan, seq_tup_read, coalesce(idx_scan, 0), coalesce(idx_tup_fetch, 0),
    n_tup_ins, n_tup_upd, n_tup_del
from pg_stat_xact_user_tables
"""


@pytest.fixture
def counted(admin_url: str) -> Iterator[Db]:
    """Open a session that also counts function calls."""
    with psycopg.connect(admin_url) as connection:
        connection.execute("set track_functions = 'all'")
        yield connection
        connection.rollback()


@pytest.fixture
def cost(counted: Db) -> Callable[..., Work]:
    """Return a function that makes a request and returns the work that Postgres did."""

    def work() -> Work:
        become_postgres(counted)
        return {str(name): tuple(counts) for query in (FUNCTIONS, TABLES) for name, *counts in counted.execute(query)}

    def measure(error: str, secret: str = "wrong", is_active: bool = True, **fields: object) -> Work:
        counted.execute(
            "update public.messaging_connections set is_active = %s where (platform, connection_id) = (%s, %s)",
            (is_active, *WHATSAPP),
        )
        body = json.dumps(request(conversation(message()), **fields)).encode()
        before = work()
        answer = post(counted, body, secret)
        after = work()
        assert answer.body == {"error": error}
        spent = {
            name: tuple(new - old for new, old in zip(counts, before.get(name, [0] * len(counts)), strict=True))
            for name, counts in after.items()
        }
        return {name: counts for name, counts in spent.items() if any(counts)}

    # The first request fills the session's caches.
    measure("Invalid API key")
    return measure


def test_wrong_key_costs_the_same_if_inactive(cost: Callable[..., Work]) -> None:
    active = cost("Invalid API key")
    assert "messaging_keys" in active
    assert cost("Invalid API key", is_active=False) == active


def test_all_wrong_keys_cost_the_same(cost: Callable[..., Work]) -> None:
    assert (
        cost("Invalid API key", secret=API_KEY[:-1]) == cost("Invalid API key", secret="x") == cost("Invalid API key")
    )


def test_unknown_connection_costs_the_same_as_wrong_platform(cost: Callable[..., Work]) -> None:
    error = "Invalid connection_id or platform"
    unknown, other = cost(error, connection_id="nobodys"), cost(error, platform="telegram")
    # Postgres may read one row more, to compare the platform; none if it scans this small table.
    assert {name for name in unknown | other if unknown.get(name) != other.get(name)} <= {"messaging_connections"}


def test_wrong_key_costs_only_one_log_line_more(
    cost: Callable[..., Work],
) -> None:
    wrong, unknown = cost("Invalid API key"), cost("Invalid connection_id or platform", connection_id="nobodys")
    tables = {name for name in wrong if "." not in name}
    assert unknown.keys() <= wrong.keys()
    # The owner's log gets a line. Functions are an implementation detail, so only tables are compared.
    assert tables - unknown.keys() == {"ingest_log"}
    # The row of the connection, and the look-up of its key.
    assert {name for name in unknown if unknown[name] != wrong[name]} <= {"messaging_connections", "messaging_keys"}
