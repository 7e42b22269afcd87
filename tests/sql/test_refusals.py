"""What a refusal costs tells no more than its text: the same steps and rows, whoever asks and for what.

A clock would measure the machine; what Postgres counts of its own work is the same each time.
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
    """A session that counts the calls of functions too."""
    with psycopg.connect(admin_url) as connection:
        connection.execute("set track_functions = 'all'")
        yield connection
        connection.rollback()


@pytest.fixture
def cost(counted: Db) -> Callable[..., Work]:
    """Gives what a request is answered, and what Postgres did for it."""

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

    # The first of a session fills its caches.
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
    # The one row of which only the platform is looked at; none where Postgres reads such a small table as a whole.
    assert {name for name in unknown | other if unknown.get(name) != other.get(name)} <= {"messaging_connections"}


def test_wrong_key_costs_only_one_log_line_more(
    cost: Callable[..., Work],
) -> None:
    wrong, unknown = cost("Invalid API key"), cost("Invalid connection_id or platform", connection_id="nobodys")
    assert unknown.keys() - wrong.keys() == set()
    assert wrong.keys() - unknown.keys() == {
        *("ingest_log", "private.record_refusal", "private.use_asynchronous_commit", "private.request_id"),
    }
    # The connection that was found, and the one look for its key.
    assert {name for name in unknown if unknown[name] != wrong[name]} <= {"messaging_connections", "messaging_keys"}
