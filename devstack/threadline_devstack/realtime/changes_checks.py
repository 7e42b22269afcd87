"""Checks a subscription: the table is published, the role may read its columns, its filters fit their types.

The checks and their words are those of `realtime.subscription_check_filters`, which does not exist here.
"""

import re
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql

from threadline_devstack.realtime.changes_requests import Filter, Refused, Request
from threadline_devstack.realtime.feed import CHANGES_PUBLICATION

MOST_VALUES = 100
KEYWORDS = frozenset({"null", "true", "false", "unknown"})
PATTERN_OPERATORS = {"like": "~~", "ilike": "~~", "match": "~", "imatch": "~*"}

TABLES: LiteralString = """
select format('%%I.%%I', schemaname, tablename)::regclass::oid
from pg_publication_tables
where pubname = %s and %s in ('*', schemaname) and %s in ('*', tablename)
"""
COLUMNS: LiteralString = """
select
    a.attname,
    format_type(a.atttypid, -1),
    array(select o.oprname::text from pg_operator as o where o.oprleft = a.atttypid and o.oprname in ('~~', '~', '~*'))
from pg_attribute as a
where a.attrelid = %s::oid and a.attnum > 0 and not a.attisdropped
    and has_column_privilege(%s::name, a.attrelid, a.attnum, 'select')
"""


async def check(connection: psycopg.AsyncConnection[Any], role: str, request: Request) -> None:
    """Raise Refused unless a role may subscribe to this."""
    try:
        tables = await (
            await connection.execute(TABLES, [CHANGES_PUBLICATION, request.schema, request.table])
        ).fetchall()
        for (table,) in tables:
            columns = await (await connection.execute(COLUMNS, [table, role])).fetchall()
            await _check_columns(connection, {name: (kind, operators) for name, kind, operators in columns}, request)
    except errors.OperationalError:
        raise
    except psycopg.Error as error:
        message = error.diag.message_primary or error  # psycopg refuses some values itself
        raise _refusal(request, f"{error.sqlstate or '22000'} ({_condition(error)}) {message}") from error
    except _UnfitError as error:
        raise _refusal(request, f"P0001 (raise_exception) {error}") from error
    if not tables:
        raise Refused(
            "Unable to subscribe to changes with given parameters. "
            f"Please check Realtime is enabled for the given connect parameters: [{request}]"
        )


class _UnfitError(Exception):
    """What the function in the genuine database would raise."""


def _refusal(request: Request, exception: str) -> Refused:
    return Refused(
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect "
        f"parameters: [{request}]. Exception: ERROR {exception}"
    )


def _condition(error: psycopg.Error) -> str:
    """Return the name of an error's condition as the manual has it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


async def _check_columns(
    connection: psycopg.AsyncConnection[Any], columns: dict[str, tuple[str, list[str]]], request: Request
) -> None:
    for each in request.filters:
        if each.column not in columns:
            raise _UnfitError(f"invalid column for filter {each.column}")
        await _check_filter(connection, each, *columns[each.column])
    for name in sorted(request.columns or ()):
        if name not in columns:
            raise _UnfitError(f"invalid column for select {name}")


async def _check_filter(
    connection: psycopg.AsyncConnection[Any], each: Filter, kind: str, operators: list[str]
) -> None:
    if each.operator == "is":
        if each.value not in KEYWORDS:
            raise _UnfitError("invalid value for is filter: must be null, true, false, or unknown")
        if each.value != "null" and kind != "boolean":
            raise _UnfitError(f"is {each.value} filter requires a boolean column, got {kind}")
    elif each.operator in PATTERN_OPERATORS:
        if PATTERN_OPERATORS[each.operator] not in operators:
            raise _UnfitError(f"operator {each.operator} requires a text-compatible column type, got {kind}")
        if each.operator in {"match", "imatch"}:
            await _check_expression(connection, each)
    else:
        suffix = "[]" if each.operator == "in" else ""
        value = sql.SQL("{}::{}{}").format(sql.Literal(each.value), sql.SQL(kind), sql.SQL(suffix))
        counted = sql.SQL("cardinality({})" if suffix else "num_nonnulls({})").format(value)
        (count,) = await (await connection.execute(sql.SQL("select {}").format(counted))).fetchone() or (0,)
        if count > MOST_VALUES:
            raise _UnfitError(f"too many values for `in` filter. Maximum {MOST_VALUES}")


async def _check_expression(connection: psycopg.AsyncConnection[Any], each: Filter) -> None:
    try:
        await connection.execute(sql.SQL("select '' ~ {}").format(sql.Literal(each.value)))
    except errors.InvalidRegularExpression as error:
        message = error.diag.message_primary
        raise _UnfitError(f"invalid regular expression for {each.operator} filter: {message}") from error
