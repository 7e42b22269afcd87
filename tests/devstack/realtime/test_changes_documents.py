"""postgres_changes: the form of a change, and the reason when values are withheld."""

import json

import psycopg
import pytest
from threadline_devstack.realtime.changes import Subscriptions

from tests.devstack.realtime.hearing import asking, claims, hearing

pytestmark = pytest.mark.anyio


async def test_change_has_the_documented_form(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("open_notes"), asking("open_notes", "UPDATE"), asking("notes")])
    async with hearing(published, subscriptions) as heard:
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


async def test_values_are_the_json_of_postgres(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("kinds"), asking("kinds", filter='100%s " of=eq.%%,place=eq.%s')])
    async with hearing(published, subscriptions) as heard:
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
        "letters": "a",
        "net": "::1",
        "place": "%s",
        '100%s " of': "%%",
    }
    assert set(empty["record"].values()) == {2, None}
    assert [column["type"] for column in values["columns"][9:-2]] == [
        "_mood", "int8", "numeric", "float8", "bpchar", "inet",
    ]  # fmt: skip


async def test_withheld_change_names_its_reason(
    published: str, subscriptions: Subscriptions, writer: psycopg.Connection
) -> None:
    await subscriptions.add("ann", claims(), [asking("keyless"), asking("hidden"), asking("open_notes")])
    async with hearing(published, subscriptions) as heard:
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


async def test_wide_table_works(published: str, subscriptions: Subscriptions, writer: psycopg.Connection) -> None:
    columns = ", ".join(f"c{number} int default {number}" for number in range(300))
    writer.execute(f"create table public.wide (id int primary key, {columns})")
    writer.execute("grant select on wide to authenticated")
    writer.execute("alter publication supabase_realtime add table wide")
    await subscriptions.add("ann", claims(), [asking("wide", filter="c299=eq.299")])
    async with hearing(published, subscriptions) as heard:
        writer.execute("insert into wide values (1)")
        (told,) = await heard.data("ann")
    writer.execute("drop table wide")
    assert told["record"]["c299"] == 299
