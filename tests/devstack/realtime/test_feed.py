"""The feed: what is committed comes out once, whole, in order, with every value that the log has."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from threadline_devstack.realtime import feed
from threadline_devstack.realtime.feed import CHANGES_PUBLICATION, MESSAGES_PUBLICATION, Commit, FeedLost, follow

from tests.support.cluster import TestCluster

pytestmark = pytest.mark.anyio

PATIENCE = 30.0


@pytest.fixture
def url(cluster: TestCluster, database: str) -> Iterator[str]:
    """A database with a published table."""
    url = cluster.url(database, "postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """
            create table public.things (id int primary key, name text, amount numeric(6, 2), tags text[]);
            alter table public.things alter column name set storage external;
            alter publication supabase_realtime add table public.things;
            """
        )
        yield url
        connection.execute("drop table public.things")


@pytest.fixture
def writer(url: str) -> Iterator[psycopg.Connection]:
    """A connection in autocommit mode that writes."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@asynccontextmanager
async def following(url: str, *publications: str) -> AsyncIterator[AsyncIterator[Commit]]:
    async with asyncio.timeout(PATIENCE), follow(url, publications or [CHANGES_PUBLICATION]) as commits:
        yield commits


async def test_inserts_updates_and_deletes_come_with_their_values(url: str, writer: psycopg.Connection) -> None:
    async with following(url) as commits:
        writer.execute("insert into things values (1, 'é\"\\', 1.5, '{a,null}'), (2, null, null, null)")
        writer.execute("update things set amount = 2 where id = 1")
        writer.execute("update things set id = 3 where id = 1")
        writer.execute("delete from things where id = 3")
        inserted, updated, renamed, deleted = [await anext(commits) for _ in range(4)]
    first, second = inserted.changes
    assert (first.kind, first.schema, first.table, first.old_record) == ("INSERT", "public", "things", None)
    assert first.record == {"id": "1", "name": 'é"\\', "amount": "1.50", "tags": "{a,NULL}"}
    assert second.record == {"id": "2", "name": None, "amount": None, "tags": None}
    assert [(column.name, column.type_oid, column.is_identity) for column in first.columns] == [
        ("id", 23, True),
        ("name", 25, False),
        ("amount", 1700, False),
        ("tags", 1009, False),
    ]
    assert (updated.changes[0].record["amount"], updated.changes[0].old_record) == ("2.00", {"id": "1"})
    assert (renamed.changes[0].record["id"], renamed.changes[0].old_record) == ("3", {"id": "1"})
    assert (deleted.changes[0].record, deleted.changes[0].old_record) == (None, {"id": "3"})
    assert [inserted.lsn, updated.lsn, renamed.lsn] == sorted({inserted.lsn, updated.lsn, renamed.lsn})
    (now,) = writer.execute("select now()").fetchone()
    assert abs((now - deleted.committed_at).total_seconds()) < PATIENCE


async def test_untouched_large_value_is_sent_if_logged(url: str, writer: psycopg.Connection) -> None:
    large = "x" * 10_000
    writer.execute("insert into things values (1, %s, 1)", [large])
    async with following(url) as commits:
        writer.execute("update things set amount = 2")
        writer.execute("alter table things replica identity full")
        writer.execute("update things set amount = 3")
        without, full = await anext(commits), await anext(commits)
    assert without.changes[0].record == {"id": "1", "amount": "2.00", "tags": None}
    assert full.changes[0].record == {"id": "1", "name": large, "amount": "3.00", "tags": None}
    assert full.changes[0].old_record == {"id": "1", "name": large, "amount": "2.00", "tags": None}


async def test_truncate_is_sent_without_rows(url: str, writer: psycopg.Connection) -> None:
    async with following(url) as commits:
        writer.execute("truncate things")
        commit = await anext(commits)
    (change,) = commit.changes
    assert (change.kind, change.table, change.record, change.old_record) == ("TRUNCATE", "things", None, None)


async def test_rolled_back_and_unpublished_changes_are_not_sent(url: str, writer: psycopg.Connection) -> None:
    async with following(url) as commits:
        with writer.transaction(force_rollback=True):
            writer.execute("insert into things values (1)")
        with writer.transaction():
            writer.execute("create table public.secrets (id int)")
            writer.execute("insert into secrets values (1)")
            writer.execute("drop table secrets")
        writer.execute("insert into things values (2)")
        commit = await anext(commits)
    assert [change.record["id"] for change in commit.changes] == ["2"]


async def test_transactions_arrive_in_commit_order(url: str) -> None:
    async with following(url) as commits:
        with psycopg.connect(url) as one, psycopg.connect(url) as two:
            one.execute("insert into things values (1)")
            two.execute("insert into things values (2)")
            one.execute("insert into things values (3)")
            two.commit()
            one.commit()
        ids = [[change.record["id"] for change in (await anext(commits)).changes] for _ in range(2)]
    assert ids == [["2"], ["1", "3"]]


async def test_concurrent_writers_lose_nothing(url: str, writer: psycopg.Connection) -> None:
    async def write(number: int) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            for step in range(50):
                await connection.execute("insert into things values (%s)", [number * 50 + step])

    async with following(url) as commits:
        await asyncio.gather(*map(write, range(8)))
        found = [await anext(commits) for _ in range(400)]
    assert sorted(int(commit.changes[0].record["id"]) for commit in found) == list(range(400))
    assert [commit.lsn for commit in found] == sorted({commit.lsn for commit in found})


async def test_large_transaction_arrives_in_bounded_pieces(url: str, writer: psycopg.Connection) -> None:
    async with following(url) as commits:
        writer.execute("insert into things select n from generate_series(1, 2500) as n")
        writer.execute("insert into things select -n, repeat('x', 1000000) from generate_series(1, 9) as n")
        many = [await anext(commits) for _ in range(3)]
        large = [await anext(commits) for _ in range(2)]
    assert [len(commit.changes) for commit in many] == [feed.PIECE_CHANGES, feed.PIECE_CHANGES, 500]
    assert len({commit.lsn for commit in many}) == 1
    assert [len(commit.changes) for commit in large] == [5, 4]


async def test_messages_arrive_through_their_own_publication(url: str, writer: psycopg.Connection) -> None:
    async with following(url, MESSAGES_PUBLICATION) as commits:
        writer.execute("insert into things values (1)")
        writer.execute("select realtime.send('{\"a\": 1}', 'event', 'topic', false)")
        commit = await anext(commits)
    (change,) = commit.changes
    assert (change.schema, change.record["topic"], change.record["event"]) == ("realtime", "topic", "event")


async def test_reader_confirms_its_position(
    cluster: TestCluster, database: str, url: str, writer: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "REPORT_INTERVAL", 0.05)
    async with following(url) as commits:
        writer.execute("insert into things values (1)")
        last = await anext(commits)
        waiting = asyncio.ensure_future(anext(commits))
        with psycopg.connect(cluster.url(database), autocommit=True) as admin:
            position = (
                "select confirmed_flush_lsn - '0/0' from pg_replication_slots where database = current_database()"
            )
            while admin.execute(position).fetchone()[0] <= last.lsn:  # noqa: ASYNC110 -- there is no event for it
                await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.wait([waiting])


async def test_broken_stream_raises_feed_lost(
    cluster: TestCluster, database: str, url: str, writer: psycopg.Connection
) -> None:
    async with following(url) as commits:
        waiting = asyncio.ensure_future(anext(commits))
        await asyncio.sleep(0)
        with psycopg.connect(cluster.url(database), autocommit=True) as admin:
            admin.execute("select pg_terminate_backend(active_pid) from pg_replication_slots")
        with pytest.raises(FeedLost, match="terminat"):
            await waiting
    async with following(url) as commits:
        writer.execute("insert into things values (1)")
        assert (await anext(commits)).changes[0].record["id"] == "1"


async def test_refused_reader_gets_the_reason(url: str) -> None:
    with pytest.raises(FeedLost, match="does not exist"):
        async with follow(url.rpartition("/")[0] + "/nowhere", [CHANGES_PUBLICATION]):
            pass
    with pytest.raises(FeedLost):
        async with follow(url.replace("postgres:postgres@", "authenticator:postgres@"), [CHANGES_PUBLICATION]):
            pass
