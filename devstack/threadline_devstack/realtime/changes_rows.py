"""Rows of the log as JSON, and the callers that may see them: the queries about the changes of one table.

Each query handles many rows: types and rights once, values and filters once, row-level security once for
each set of claims.
"""

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from threadline_devstack.realtime.changes_requests import Filter
from threadline_devstack.realtime.pgoutput import Change, Column, Row

TIMEOUT = "3s"  # for the policies of one set of claims, as for role anon
# The log has 32 bits of a transaction id. The upper half is the current one, or the one before a wraparound.
STATUS = """
select pg_xact_status((
    case when own.xid > latest.xid + 2147483648 then own.xid - 4294967296 else own.xid end
)::text::xid8)
from (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint) as latest (xid)
cross join lateral (select (latest.xid / 4294967296) * 4294967296 + %(xid)s) as own (xid)
"""
OPERATORS: dict[str, LiteralString] = {
    "eq": "=",
    "neq": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "like": "like",
    "ilike": "ilike",
    "match": "~",
    "imatch": "~*",
}
UNQUOTED = frozenset({21, 23, 20, 700, 701, 1700})  # numbers: JSON has them without quotes, or null
BYTEA = 17
BPCHAR = 1042

DESCRIBE: LiteralString = """
select
    c.oid,
    c.relrowsecurity,
    array(
        select row_to_json(described)
        from (
            select
                a.attname as name,
                t.typname as type,
                coalesce(a.attnum = any(k.conkey), false) as is_key,
                array(
                    select role from unnest(%(roles)s::text[]) as role
                    where has_column_privilege(role, c.oid, a.attnum, 'select')
                ) as readers
            from pg_attribute as a
            inner join pg_type as t on a.atttypid = t.oid
            left join pg_constraint as k on k.conrelid = c.oid and k.contype = 'p'
            where a.attrelid = c.oid and a.attnum > 0
            order by a.attnum
        ) as described
    ),
    array(
        select format_type(given.oid, -1)
        from unnest(%(oids)s::oid[]) with ordinality as given (oid, place)
        order by given.place
    )
from pg_class as c
inner join pg_namespace as n on c.relnamespace = n.oid
where n.nspname = %(schema)s and c.relname = %(table)s
"""


@dataclass(frozen=True, slots=True)
class Readable:
    """A column in its present state, with the roles that may read it."""

    name: str
    type: str
    is_key: bool
    readers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A table in its present state, and the types of the log's values."""

    schema: str
    name: str
    has_policies: bool
    columns: tuple[Readable, ...]
    types: Mapping[str, str]

    @property
    def key(self) -> tuple[Readable, ...]:
        """Return the columns of the primary key."""
        return tuple(column for column in self.columns if column.is_key)


async def describe(connection: psycopg.AsyncConnection[Any], change: Change, roles: Collection[str]) -> Table | None:
    """Return the table of a change; None if it is gone."""
    oids = [column.type_oid for column in change.columns]
    asked = {"roles": list(roles), "oids": oids, "schema": change.schema, "table": change.table}
    row = await (await connection.execute(DESCRIBE, asked)).fetchone()
    if row is None:
        return None
    _, has_policies, columns, types = row
    readable = tuple(
        Readable(each["name"], each["type"], each["is_key"], frozenset(each["readers"])) for each in columns
    )
    named = {column.name: kind for column, kind in zip(change.columns, types, strict=True)}
    return Table(change.schema, change.table, has_policies, readable, named)


async def convert(
    connection: psycopg.AsyncConnection[Any],
    table: Table,
    columns: Sequence[Column],
    rows: Sequence[Row],
    filters: Sequence[Filter],
) -> list[tuple[dict[str, str], frozenset[Filter]]]:
    """Return for each row its values as JSON texts, and the filters that it meets.

    A missing value is not in the result and meets no filter.
    """
    names = [column.name for column in columns]
    known = [each for each in filters if each.column in table.types]
    values = SQL(", ").join(_json(table, column, _place(place)) for place, column in enumerate(columns))
    conditions = SQL(", ").join(
        SQL("coalesce({}, false)").format(_condition(table, each, _place(names.index(each.column)))) for each in known
    )
    query = SQL("select array[{}]::text[], array[{}]::boolean[] from {} order by log.place").format(
        values, conditions, _rows(names, rows)
    )
    answers = await (await connection.execute(query)).fetchall()
    return [
        (
            {
                column.name: "null" if text is None else text
                for column, text in zip(columns, texts, strict=True)
                if column.name in row
            },
            frozenset(each for each, met in zip(known, meets, strict=True) if met and each.column in row),
        )
        for row, (texts, meets) in zip(rows, answers, strict=True)
    ]


def lookup(connection: psycopg.AsyncConnection[Any], table: Table, rows: Sequence[Row]) -> bytes:
    """Return the query that finds the places (from 1) of the rows that the current role sees.

    Args:
        connection: sets the encoding of the query.
        table: with a primary key that the role may read.
        rows: looked up by primary key.

    """
    names = [column.name for column in table.key]
    if not table.types.keys() >= set(names):  # the table had another key at the time of the change
        return b"select 0 where false"
    matches = SQL(" and ").join(
        SQL("t.{} = {}::{}").format(Identifier(name), _place(place), SQL(table.types[name]))
        for place, name in enumerate(names)
    )
    query = SQL("select log.place from {} where exists (select from {} as t where {})").format(
        _rows(names, rows), Identifier(table.schema, table.name), matches
    )
    return query.as_bytes(connection)


async def wait_until_visible(connection: psycopg.AsyncConnection[Any], xid: int) -> None:
    """Wait until other sessions see what a transaction wrote, ten seconds at most.

    The log has a commit as soon as it is on disk, a moment before it is visible.

    Args:
        connection: of the same database.
        xid: the transaction's number, 32 bits of it.

    """
    for _ in range(2_000):
        cursor = await connection.execute(STATUS, {"xid": xid})
        if await cursor.fetchone() != ("in progress",):
            return
        await asyncio.sleep(0.005)


async def ask(connection: psycopg.AsyncConnection[Any], questions: Sequence[tuple[str, bytes]]) -> list[frozenset[int]]:
    """Return what each lookup finds with its claims.

    Args:
        connection: of a superuser, with cursors that send parameters inside of the statement.
        questions: claims as JSON text, whose `role` runs the query; and a query of `lookup`.

    """
    # Postgres runs one message as one transaction, so the settings end with it.
    message = b";".join(_settings(claims).as_bytes(connection) + b";" + query for claims, query in questions)
    cursor = await connection.execute(message)
    answers = []
    for _ in questions:
        cursor.nextset()
        answers.append(frozenset(place for (place,) in await cursor.fetchall()))
        cursor.nextset()
    return answers


def _settings(claims: str) -> Composed:
    return SQL(
        "select set_config('role', {}, true), set_config('request.jwt.claims', {}, true), "
        "set_config('statement_timeout', {}, true)"
    ).format(Literal(json.loads(claims)["role"]), Literal(claims), Literal(TIMEOUT))


def _rows(names: Sequence[str], rows: Sequence[Row]) -> Composed:
    """Return the texts of some columns as a table `log`, with the `place` of each row from 1.

    Its columns have names of their own, by `_place`, since a column may be called anything.
    """
    texts = SQL(", ").join(SQL("{}::text[]").format(Literal([row.get(name) for row in rows])) for name in names)
    columns = SQL(", ").join(Identifier(f"column_{place}") for place in range(len(names)))
    return SQL("unnest({}) with ordinality as log ({}, place)").format(texts, columns)


def _place(place: int) -> Composable:
    return Identifier("log", f"column_{place}")


def _json(table: Table, column: Column, value: Composable) -> Composable:
    if column.type_oid == BYTEA:  # hexadecimal digits without the leading \x
        return SQL("to_jsonb(substr({}, 3))::text").format(value)
    if column.type_oid == BPCHAR:  # Realtime sends char(n) without its padding
        return SQL("to_jsonb(rtrim({}, ' '))::text").format(value)
    if column.type_oid in UNQUOTED:
        value = SQL("case when {0} not in ('NaN', 'Infinity', '-Infinity') then {0} end").format(value)
    return SQL("to_jsonb(({})::{})::text").format(value, SQL(table.types[column.name]))


def _condition(table: Table, each: Filter, value: Composable) -> Composable:
    kind = SQL(table.types[each.column])
    left = SQL("{}::{}").format(value, kind)
    no = SQL("not ") if each.is_negated else SQL("")
    if each.operator == "is":
        return SQL("{} is {}{}").format(left, no, SQL(each.value))
    right = SQL("{}::{}").format(Literal(each.value), kind)
    if each.operator == "isdistinct":
        return SQL("{} is {}distinct from {}").format(left, no, right)
    if each.operator == "in":
        return SQL("{}({} = any ({}[]))").format(no, left, right)
    return SQL("{}({} {} ({}))").format(no, left, SQL(OPERATORS[each.operator]), right)
