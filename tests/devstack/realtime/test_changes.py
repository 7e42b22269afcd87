"""postgres_changes: a commit reaches the subscriptions that may see it."""

import asyncio
import json

import psycopg
import pytest
from threadline_devstack.realtime import changes_checks
from threadline_devstack.realtime.changes import Refused, Subscriptions

from tests.devstack.realtime.hearing import asking, claims, hearing, names
from tests.devstack.realtime.wire import ANN, BOB
from tests.support.cluster import TestCluster
from tests.support.twin import until

pytestmark = pytest.mark.anyio


async def test_change_reaches_only_those_the_policies_allow(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    for channel, who in {"ann": claims(), "bob": claims(BOB), "service": claims(role="service_role")}.items():
        await subscriptions.add(channel, who, [asking("notes")])
    async with hearing(published, subscriptions) as heard:
        writer.execute("insert into notes (id, owner, name, secret) values (1, %s, 'x', 's')", [ANN])
        inserted = await heard.next()
        writer.execute("update notes set owner = %s", [BOB])
        updated = await heard.next()
        writer.execute("delete from notes")
        deleted = await heard.next()
    assert names(inserted) == ["ann", "service"]
    assert names(updated) == ["bob", "service"]
    assert names(deleted) == ["ann", "bob", "service"]
    by_channel = {channel: json.loads(each.data) for each in inserted for channel, _ in each.recipients}
    assert "secret" not in by_channel["ann"]["record"]
    assert "secret" not in [column["name"] for column in by_channel["ann"]["columns"]]
    assert by_channel["service"]["record"]["secret"] == "s"
    assert {json.dumps(json.loads(each.data)["old_record"]) for each in deleted} == {'{"id": 1}'}


async def test_change_waits_until_its_commit_is_visible(
    cluster: TestCluster, published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("notes")])
    pid = writer.info.backend_pid
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        async with hearing(published, subscriptions) as heard:
            # A commit that waits for a standby is in the log, but not visible.
            admin.execute("alter system set synchronous_standby_names = 'absent'")
            try:
                admin.execute("select pg_reload_conf()")
                shown = "show synchronous_standby_names"
                await asyncio.to_thread(until, lambda: writer.execute(shown).fetchall() == [("absent",)])
                statement = "insert into notes (id, owner) values (1, %s)"
                writing = asyncio.create_task(asyncio.to_thread(writer.execute, statement, [ANN]))
                telling = asyncio.create_task(heard.next())
                waiting = "select from pg_stat_activity where wait_event = 'SyncRep' and pid = %s"
                await asyncio.to_thread(until, lambda: admin.execute(waiting, [pid]).fetchall())
                assert not (await asyncio.wait({telling}, timeout=0.3))[0]
            finally:
                admin.execute("alter system reset synchronous_standby_names")
                admin.execute("select pg_reload_conf()")
                # To be let go by the checkpointer may take long, when it is busy.
                admin.execute("select pg_cancel_backend(%s)", [pid])
            await writing
            assert names(await telling) == ["ann"]


async def test_changed_rights_and_policies_apply_at_once(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("notes")])
    async with hearing(published, subscriptions) as heard:
        writer.execute("insert into notes (id, owner) values (1, %s)", [ANN])
        writer.execute("delete from notes")
        # The row was gone before the check: as in Realtime, its insert is not sent.
        assert await heard.data("ann") == []
        assert [each["type"] for each in await heard.data("ann")] == ["DELETE"]
        writer.execute("revoke select (name) on notes from authenticated")
        writer.execute("insert into notes (id, owner, name) values (2, %s, 'x')", [ANN])
        (told,) = await heard.data("ann")
        writer.execute("grant select (name) on notes to authenticated")
    assert "name" not in told["record"]


async def test_delete_sends_the_replica_identity(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("by key", claims(), [asking("open_notes", "DELETE", filter="id=eq.1")])
    await subscriptions.add("by name", claims(), [asking("open_notes", "DELETE", filter="name=eq.x")])
    await subscriptions.add("by none", claims(), [asking("open_notes", "DELETE", filter="name=is.null")])
    async with hearing(published, subscriptions) as heard:
        writer.execute("insert into open_notes values (1, 'x'), (2, 'x')")
        assert await heard.next() == []
        writer.execute("delete from open_notes")
        assert names(await heard.next()) == ["by key"]
        writer.execute("alter table open_notes replica identity full")
        writer.execute("insert into open_notes values (1, 'x')")
        await heard.next()
        writer.execute("delete from open_notes")
        full = await heard.next()
        writer.execute("alter table open_notes replica identity default")
    assert names(full) == ["by key", "by name"]
    assert json.loads(full[0].data)["old_record"] == {"id": 1, "name": "x"}


async def test_subscription_selects_columns_and_events(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("some", claims(role="service_role"), [asking("notes", "insert", select=["name"])])
    await subscriptions.add("all", claims(role="service_role"), [{"event": "*", "schema": "*"}])
    async with hearing(published, subscriptions) as heard:
        writer.execute("insert into notes (id, name) values (1, 'x')")
        both = await heard.next()
        writer.execute("update notes set name = 'y'")
        one = await heard.next()
    told = {channel: json.loads(each.data) for each in both for channel, _ in each.recipients}
    assert told["some"]["record"] == {"id": 1, "name": "x"}
    assert [column["name"] for column in told["some"]["columns"]] == ["id", "name"]
    assert len(told["all"]["record"]) == 8
    assert names(one) == ["all"]


async def test_failing_policy_hides_the_row_from_its_caller_only(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("faulty")])
    await subscriptions.add("bob", claims(BOB), [asking("faulty")])
    async with hearing(published, subscriptions) as heard:
        writer.execute("insert into faulty values (1)")
        assert names(await heard.next()) == ["ann"]


async def test_policies_run_once_per_set_of_claims(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    writer.execute("create sequence public.asked")
    writer.execute("grant usage on sequence asked to authenticated")
    writer.execute(
        "create policy counting on notes as restrictive for select to authenticated"
        " using ((select nextval('public.asked')) > 0)"
    )
    for number in range(20):
        await subscriptions.add(f"ann {number}", claims(), [asking("notes")])
        await subscriptions.add(f"bob {number}", claims(BOB), [asking("notes")])
    async with hearing(published, subscriptions) as heard:
        writer.execute("insert into notes (id, owner) select n, %s from generate_series(1, 100) as n", [ANN])
        deliveries = await heard.next()
        (asked,) = writer.execute("select last_value from asked").fetchone()
    writer.execute("drop policy counting on notes")
    writer.execute("drop sequence asked")
    assert [json.loads(each.data)["record"]["id"] for each in deliveries] == list(range(1, 101))
    assert {len(each.recipients) for each in deliveries} == {20}
    assert asked == 2


async def test_new_claims_and_leaving_change_the_recipients(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("one", claims(), [asking("notes")])
    await subscriptions.add("two", claims(), [asking("notes")])
    await subscriptions.add("two", claims(BOB), [asking("notes")])
    subscriptions.remove("one")
    async with hearing(published, subscriptions) as heard:
        writer.execute("insert into notes (id, owner) values (1, %s), (2, %s)", [ANN, BOB])
        deliveries = await heard.next()
    assert names(deliveries) == ["two"]
    assert json.loads(deliveries[0].data)["record"]["id"] == 2


async def test_lost_connection_is_replaced(
    cluster: TestCluster, database: str, subscriptions: Subscriptions, published: str, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("open_notes")])
    with psycopg.connect(cluster.url(database), autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'supabase_admin'"
            " and datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
        )
    with pytest.raises(psycopg.OperationalError):
        await subscriptions.add("bob", claims(), [asking("open_notes")])
    await subscriptions.add("bob", claims(), [asking("open_notes")])
    async with hearing(published, subscriptions) as heard:
        writer.execute("insert into open_notes values (1)")
        assert names(await heard.next()) == ["ann", "bob"]


async def test_old_subscription_holds_until_the_new_is_checked(
    published: str, subscriptions: Subscriptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    await subscriptions.add("ann", claims(), [asking("notes")])
    held = []

    async def look(*_: object) -> None:
        held.extend(subscriptions._by_channel)

    monkeypatch.setattr(changes_checks, "check", look)
    await subscriptions.add("ann", claims(BOB), [asking("notes")])
    assert held == ["ann"]
    with pytest.raises(Refused):
        await subscriptions.add("ann", claims(), [{**asking("notes"), "filter": "nonsense"}])
    assert list(subscriptions._by_channel) == []
