"""postgres_changes: what is committed reaches those who asked for it and may see it, in the form that clients read."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from threadline.local.realtime.changes import Delivery, Refused, Subscriptions
from threadline.local.realtime.changes_requests import Filter, read
from threadline.local.realtime.feed import CHANGES_PUBLICATION, follow

from tests.local.realtime.wire import ANN, BOB
from tests.support.cluster import TestCluster

pytestmark = pytest.mark.anyio

PATIENCE = 30.0
SETTING = f"""
create table public.notes (
    id bigint primary key, owner uuid, name text, n int, secret text, flag boolean, amount numeric, code varchar(5)
);
alter table public.notes enable row level security;
grant select (id, owner, name, n, flag, amount, code) on public.notes to authenticated;
grant select on public.notes to service_role;
create policy own on public.notes for select to authenticated using ((select auth.uid()) = owner);
create table public.open_notes (id int primary key, name text);
grant select on public.open_notes to authenticated;
create table public.keyless (name text);
alter table public.keyless replica identity full;
grant select on public.keyless to authenticated;
create table public.hidden (id int primary key, name text);
grant select (name) on public.hidden to authenticated;
create table public.faulty (id int primary key, owner uuid);
alter table public.faulty enable row level security;
grant select on public.faulty to authenticated;
create policy faulty on public.faulty for select to authenticated
    using (case when (select auth.uid()) = '{BOB}' then 1 / (select 0) = 1 else true end);
create type public.mood as enum ('glad', 'sad');
create table public.kinds (
    id int primary key, bytes bytea, mood public.mood, span interval, at timestamptz, day date, doc jsonb, docs json,
    list text[], moods public.mood[], big bigint, exact numeric, approximate float8, letters char(3), net inet,
    place text, "100%s "" of" text
);
grant select on public.kinds to authenticated;
create table public.unpublished (id int primary key);
alter publication supabase_realtime add table
    public.notes, public.open_notes, public.keyless, public.hidden, public.faulty, public.kinds;
"""
REMOVAL = """
drop table public.notes, public.open_notes, public.keyless, public.hidden, public.faulty, public.kinds,
    public.unpublished;
drop type public.mood;
"""


@pytest.fixture(scope="module")
def url(cluster: TestCluster, database: str) -> Iterator[str]:
    """A database with tables of several kinds."""
    url = cluster.url(database, "postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SETTING)
        yield url
        connection.execute(REMOVAL)


@pytest.fixture
def writer(url: str) -> Iterator[psycopg.Connection]:
    """Whoever writes; what it does is committed at once."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
        connection.execute("truncate notes, open_notes, keyless, hidden, faulty, kinds")


@pytest.fixture
async def subscriptions(cluster: TestCluster, database: str) -> AsyncIterator[Subscriptions]:
    """The register, as the service has it."""
    register = Subscriptions(cluster.url(database))
    yield register
    await register.close()


def claims(sub: str = ANN, role: str = "authenticated", **more: Any) -> dict[str, Any]:
    return {"sub": sub, "role": role, **more}


def asking(table: str, event: str = "*", **more: Any) -> dict[str, Any]:
    return {"event": event, "schema": "public", "table": table, **more}


class Heard:
    """What channels hear, commit by commit."""

    def __init__(self, subscriptions: Subscriptions, commits: AsyncIterator[Any]) -> None:
        self._subscriptions = subscriptions
        self._commits = commits

    async def next(self) -> list[Delivery]:
        """What the next commit causes."""
        async with asyncio.timeout(PATIENCE):
            return await self._subscriptions.match(await anext(self._commits))

    async def data(self, channel: str) -> list[dict[str, Any]]:
        """What one channel hears of the next commit."""
        return [
            json.loads(delivery.data)
            for delivery in await self.next()
            if channel in [name for name, _ in delivery.recipients]
        ]


@asynccontextmanager
async def hearing(url: str, subscriptions: Subscriptions) -> AsyncIterator[Heard]:
    async with asyncio.timeout(PATIENCE), follow(url, [CHANGES_PUBLICATION]) as commits:
        yield Heard(subscriptions, commits)


def names(deliveries: list[Delivery]) -> list[str]:
    return sorted(channel for delivery in deliveries for channel, _ in delivery.recipients)


async def test_a_row_is_told_to_whom_the_policies_show_it(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    for channel, who in {"ann": claims(), "bob": claims(BOB), "service": claims(role="service_role")}.items():
        await subscriptions.add(channel, who, [asking("notes")])
    async with hearing(url, subscriptions) as heard:
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


async def test_rights_and_policies_count_as_they_are_at_the_moment(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("notes")])
    async with hearing(url, subscriptions) as heard:
        writer.execute("insert into notes (id, owner) values (1, %s)", [ANN])
        writer.execute("delete from notes")
        # Gone before anybody could ask for it: as in Realtime, nobody is told that it was there.
        assert await heard.data("ann") == []
        assert [each["type"] for each in await heard.data("ann")] == ["DELETE"]
        writer.execute("revoke select (name) on notes from authenticated")
        writer.execute("insert into notes (id, owner, name) values (2, %s, 'x')", [ANN])
        (told,) = await heard.data("ann")
        writer.execute("grant select (name) on notes to authenticated")
    assert "name" not in told["record"]


async def test_a_change_has_the_form_that_clients_read(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("open_notes"), asking("open_notes", "UPDATE"), asking("notes")])
    async with hearing(url, subscriptions) as heard:
        writer.execute("insert into open_notes values (1, 'é\"\u2028')")
        (inserted,) = await heard.next()
        writer.execute("update open_notes set id = 2")
        (updated,) = await heard.next()
    data = json.loads(inserted.data)
    assert data.pop("commit_timestamp")[-5:-4] == "."
    assert data == {
        "schema": "public",
        "table": "open_notes",
        "type": "INSERT",
        "columns": [{"name": "id", "type": "int4"}, {"name": "name", "type": "text"}],
        "record": {"id": 1, "name": 'é"\u2028'},
        "errors": None,
    }
    ((_, ids),), ((_, more_ids),) = inserted.recipients, updated.recipients
    assert (len(ids), len(more_ids), more_ids[0]) == (1, 2, ids[0])
    assert json.loads(updated.data)["old_record"] == {"id": 1}


async def test_values_are_the_json_that_postgres_makes_of_them(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("kinds"), asking("kinds", filter='100%s " of=eq.%%,place=eq.%s')])
    async with hearing(url, subscriptions) as heard:
        writer.execute(
            """
            insert into kinds values (
                1, '\\x00ff', 'glad', '1 day 2 hours', '2026-01-02 03:04:05.678+01', '2026-01-02',
                '{"b": 1, "a": null}', '[1, 2]', '{a,null,"b c"}', '{glad,sad}',
                9007199254740993, 1.10, 'NaN', 'a', '::1', '%s', '%%'
            );
            insert into kinds values (2);
            """
        )
        values, empty = await heard.data("ann")
    assert values["record"] == {
        "id": 1,
        "bytes": "00ff",
        "mood": "glad",
        "span": "1 day 02:00:00",
        "at": "2026-01-02T02:04:05.678+00:00",
        "day": "2026-01-02",
        "doc": {"b": 1, "a": None},
        "docs": [1, 2],
        "list": ["a", None, "b c"],
        "moods": ["glad", "sad"],
        "big": 9007199254740993,
        "exact": 1.1,
        "approximate": None,
        "letters": "a  ",
        "net": "::1",
        "place": "%s",
        '100%s " of': "%%",
    }
    assert set(empty["record"].values()) == {2, None}
    assert [column["type"] for column in values["columns"][9:-2]] == [
        "_mood", "int8", "numeric", "float8", "bpchar", "inet",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("n=eq.2", {2}),
        ("n=neq.2", {1, 3}),
        ("n=lt.2", {1}),
        ("n=lte.2", {1, 2}),
        ("n=gt.2", {3}),
        ("n=gte.2", {2, 3}),
        ("n=in.(1,3)", {1, 3}),
        ("name=like.a%", {1, 2}),
        ("name=ilike.A%", {1, 2}),
        ("name=match.^a", {1, 2}),
        ("name=imatch.^A", {1, 2}),
        ("name=isdistinct.ab", {2, 3, 4}),
        ("name=not.isdistinct.ab", {1}),
        ("name=is.null", {4}),
        ("name=not.is.null", {1, 2, 3}),
        ("flag=is.true", {1}),
        ("n=not.eq.2", {1, 3}),
        ("n=not.in.(1,3)", {2}),
        ("name=not.like.a%", {3}),
        ("n=gte.1,n=lt.3,name=like.a%", {1, 2}),
        ('name=in.("a,c",x)', {2}),
        ('name=eq."a,c"', {2}),
        ("  ", {1, 2, 3, 4}),
        ("code=eq.abcdefgh", set()),
    ],
)
async def test_filters_choose_rows(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection, condition: str, expected: set[int]
) -> None:
    await subscriptions.add("ann", claims(role="service_role"), [asking("notes", filter=condition)])
    async with hearing(url, subscriptions) as heard:
        writer.execute(
            """
            insert into notes (id, name, n, flag, code) values
            (1, 'ab', 1, true, 'abcde'), (2, 'a,c', 2, false, null), (3, 'x''y', 3, null, ''), (4, null, null, null, '')
            """
        )
        told = await heard.data("ann")
    assert {each["record"]["id"] for each in told} == expected


async def test_a_deleted_row_is_told_by_what_the_log_has_of_it(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("by key", claims(), [asking("open_notes", "DELETE", filter="id=eq.1")])
    await subscriptions.add("by name", claims(), [asking("open_notes", "DELETE", filter="name=eq.x")])
    await subscriptions.add("by none", claims(), [asking("open_notes", "DELETE", filter="name=is.null")])
    async with hearing(url, subscriptions) as heard:
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


async def test_columns_can_be_chosen_and_events_too(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("some", claims(role="service_role"), [asking("notes", "insert", select=["name"])])
    await subscriptions.add("all", claims(role="service_role"), [{"event": "*", "schema": "*"}])
    async with hearing(url, subscriptions) as heard:
        writer.execute("insert into notes (id, name) values (1, 'x')")
        both = await heard.next()
        writer.execute("update notes set name = 'y'")
        one = await heard.next()
    told = {channel: json.loads(each.data) for each in both for channel, _ in each.recipients}
    assert told["some"]["record"] == {"id": 1, "name": "x"}
    assert [column["name"] for column in told["some"]["columns"]] == ["id", "name"]
    assert len(told["all"]["record"]) == 8
    assert names(one) == ["all"]


async def test_what_cannot_be_told_says_why(url: str, subscriptions: Subscriptions, writer: psycopg.Connection) -> None:
    await subscriptions.add("ann", claims(), [asking("keyless"), asking("hidden"), asking("open_notes")])
    async with hearing(url, subscriptions) as heard:
        writer.execute("insert into keyless values ('x')")
        (keyless,) = await heard.data("ann")
        writer.execute("insert into hidden values (1, 'x')")
        (hidden,) = await heard.data("ann")
        writer.execute("insert into open_notes values (1, repeat('x', 1100000))")
        (large,) = await heard.data("ann")
    bare = {"schema": "public", "type": "INSERT", "columns": [], "record": {}, "commit_timestamp": None}
    assert keyless == bare | {"table": "keyless", "errors": ["Error 400: Bad Request, no primary key"]}
    assert hidden == bare | {"table": "hidden", "errors": ["Error 401: Unauthorized"]}
    assert (large["record"], large["errors"]) == ({"id": 1}, ["Error 413: Payload Too Large"])


async def test_a_wide_table_is_no_trouble(url: str, subscriptions: Subscriptions, writer: psycopg.Connection) -> None:
    columns = ", ".join(f"c{number} int default {number}" for number in range(300))
    writer.execute(f"create table public.wide (id int primary key, {columns})")
    writer.execute("grant select on wide to authenticated")
    writer.execute("alter publication supabase_realtime add table wide")
    await subscriptions.add("ann", claims(), [asking("wide", filter="c299=eq.299")])
    async with hearing(url, subscriptions) as heard:
        writer.execute("insert into wide values (1)")
        (told,) = await heard.data("ann")
    writer.execute("drop table wide")
    assert told["record"]["c299"] == 299


async def test_a_policy_that_fails_for_one_hides_the_row_from_nobody_else(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("faulty")])
    await subscriptions.add("bob", claims(BOB), [asking("faulty")])
    async with hearing(url, subscriptions) as heard:
        writer.execute("insert into faulty values (1)")
        assert names(await heard.next()) == ["ann"]


async def test_policies_are_asked_once_for_each_set_of_claims(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection
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
    async with hearing(url, subscriptions) as heard:
        writer.execute("insert into notes (id, owner) select n, %s from generate_series(1, 100) as n", [ANN])
        deliveries = await heard.next()
        (asked,) = writer.execute("select last_value from asked").fetchone()
    writer.execute("drop policy counting on notes")
    writer.execute("drop sequence asked")
    assert [json.loads(each.data)["record"]["id"] for each in deliveries] == list(range(1, 101))
    assert {len(each.recipients) for each in deliveries} == {20}
    assert asked == 2


async def test_who_leaves_or_gets_other_claims_is_told_accordingly(
    url: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("one", claims(), [asking("notes")])
    await subscriptions.add("two", claims(), [asking("notes")])
    await subscriptions.add("two", claims(BOB), [asking("notes")])
    subscriptions.remove("one")
    async with hearing(url, subscriptions) as heard:
        writer.execute("insert into notes (id, owner) values (1, %s), (2, %s)", [ANN, BOB])
        deliveries = await heard.next()
    assert names(deliveries) == ["two"]
    assert json.loads(deliveries[0].data)["record"]["id"] == 2


async def test_a_connection_that_was_lost_is_made_anew(
    cluster: TestCluster, database: str, subscriptions: Subscriptions, url: str, writer: psycopg.Connection
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
    async with hearing(url, subscriptions) as heard:
        writer.execute("insert into open_notes values (1)")
        assert names(await heard.next()) == ["ann", "bob"]


UNABLE = "Unable to subscribe to changes with given parameters. "
CHECK = UNABLE + "An exception happened so please check your connect parameters: "


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (asking("nope"), "Please check Realtime is enabled for the given connect parameters: [event: *, schema: public,"
                         " table: nope, filters: [], select: nil]"),
        (asking("unpublished"), "Please check Realtime is enabled"),
        (asking("notes", filter="zz=eq.5"), 'filters: [{"zz", "eq", "5", false}], select: nil]. Exception: ERROR P0001'
                                            " (raise_exception) invalid column for filter zz"),
        (asking("notes", filter="secret=eq.5"), "invalid column for filter secret"),
        (asking("notes", filter="n=eq.five"), 'ERROR 22P02 (invalid_text_representation) invalid input syntax for type'
                                              ' integer: "five"'),
        (asking("notes", filter="n=is.true"), "is true filter requires a boolean column, got integer"),
        (asking("notes", filter="flag=is.maybe"), "invalid value for is filter: must be null, true, false, or unknown"),
        (asking("notes", filter="n=like.5"), "operator like requires a text-compatible column type, got integer"),
        (asking("notes", filter="n=imatch.5"), "operator imatch requires a text-compatible column type, got integer"),
        (asking("notes", filter="name=match.("), "invalid regular expression for match filter: "),
        (asking("notes", filter=f"n=in.({','.join(map(str, range(101)))})"), "too many values for `in` filter."),
        (asking("notes", select=["secret"]), "invalid column for select secret"),
        (asking("notes", filter="n~5"), 'Error parsing `filter` params: ["n~5"]'),
        (asking("notes", filter="n=foo.5"), 'Error parsing `filter` params: ["foo", "5"]'),
        (asking("notes", filter="n=5"), 'Error parsing `filter` params: ["5"]'),
        (asking("notes", filter="n=in.5"), "Error parsing `filter` params: `in` filter value must be wrapped by"),
        (asking("notes", filter="n=eq.5,"), "filter must not contain empty segments (check for extra commas)"),
        (asking("notes", select="id"), "Error parsing `select` params: expected a list of column name strings"),
        (asking("*", select=["id"]), "Column selection is not supported for wildcard subscriptions."),
        (asking("notes", filter="name=eq.\0"), "PostgreSQL text fields cannot contain NUL"),
        (asking("no\0tes"), "PostgreSQL text fields cannot contain NUL"),
        ({"event": "*"}, 'to subscribe to: %{"event" => "*"}'),
        (asking("notes", filter=5), "No subscription params provided."),
    ],
)  # fmt: skip
async def test_a_subscription_that_cannot_be_is_refused_in_the_words_of_realtime(
    url: str, subscriptions: Subscriptions, request_: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused) as caught:
        await subscriptions.add("ann", claims(), [asking("open_notes"), request_])
    assert message in str(caught.value)
    with pytest.raises(Refused, match='role "nobody" does not exist'):
        await subscriptions.add("ann", claims(role="nobody"), [asking("open_notes")])


def test_commas_and_quotes_are_read_as_realtime_reads_them() -> None:
    def filters(text: str) -> list[Filter]:
        return list(read(asking("notes", filter=text)).filters)

    assert filters('a=eq."x,y\\"z",b=in.("1,2",(3,4)),c=eq.O"Neil,d=not.eq.(a') == [
        Filter("a", "eq", 'x,y"z', False),
        Filter("b", "in", '{"1,2",(3,4)}', False),
        Filter("c", "eq", 'O"Neil', False),
        Filter("d", "eq", "(a", True),
    ]
