"""Parses the entries of `postgres_changes`, with the rules and the refusals of Realtime."""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OPERATORS = frozenset(
    {"eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is", "match", "imatch", "isdistinct"}
)
EVENTS = frozenset({"INSERT", "UPDATE", "DELETE"})
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)


class Refused(Exception):  # noqa: N818
    """A subscription that is refused: the text is for the client, in the words of Realtime."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on a column: the operator's name, its right side as Postgres writes it, and whether it is negated."""

    column: str
    operator: str
    value: str
    is_negated: bool


@dataclass(frozen=True, slots=True)
class Request:
    """Which changes a client wants.

    Args:
        id: by which it knows them again.
        event: INSERT, UPDATE, DELETE or * for all three.
        schema: a name, or * for all.
        table: a name, or * for all.
        filters: a row must meet all of them.
        columns: that it wants beside the primary key; None for all.

    """

    id: int
    event: str
    schema: str
    table: str
    filters: tuple[Filter, ...]
    columns: frozenset[str] | None

    def covers(self, schema: str, table: str) -> bool:
        """Tell whether a table is among those of the request."""
        return self.schema in {"*", schema} and self.table in {"*", table}

    def __str__(self) -> str:
        """Return it as Realtime's messages quote it."""
        filters = [
            "{" + ", ".join(map(_inspect, (each.column, each.operator, each.value, each.is_negated))) + "}"
            for each in self.filters
        ]
        columns = _inspect(None if self.columns is None else sorted(self.columns))
        return (
            f"event: {self.event}, schema: {self.schema}, table: {self.table}, "
            f"filters: [{', '.join(filters)}], select: {columns}"
        )


def request_id(request: Mapping[str, Any]) -> int:
    """Return the number by which a client recognises a request: the same for the same content."""
    return zlib.crc32(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()) & 0x7FFFFFF


def read(request: Mapping[str, Any]) -> Request:
    """Parse an entry of `postgres_changes`; raise Refused if it is wrong."""
    columns = _read_columns(request.get("select"))
    given = {name: request[name] for name in ("schema", "table", "filter") if name in request}
    is_complete = set(given) in ({"schema", "table", "filter"}, {"schema", "table"}, {"schema"}, {"table"})
    if not is_complete or not all(isinstance(value, str) for value in given.values()):
        what = "<redacted>" if {"user_token", "auth_token"} & set(request) else _inspect(request)
        raise Refused(
            "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: " + what
        )
    schema, table = given.get("schema", "public"), given.get("table", "*")
    filters = _read_filters(given.get("filter", ""))
    if columns is not None and "*" in {schema, table}:
        raise Refused(
            "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name."
        )
    event = request.get("event")
    event = event.upper() if isinstance(event, str) and event.upper() in EVENTS else "*"
    return Request(request_id(request), event, schema, table, filters, columns)


def _read_columns(wanted: Any) -> frozenset[str] | None:
    if isinstance(wanted, str):
        raise Refused(
            'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]'
        )
    names = [name for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []
    return frozenset(names) or None


def _read_filters(text: str) -> tuple[Filter, ...]:
    return tuple(_read_filter(part.strip()) for part in _split(text.strip())) if text.strip() else ()


def _split(text: str) -> list[str]:
    """Split at commas, but not at those in parentheses or in quotes that open where a value may begin."""
    parts, depth, is_quoted, start, at = [], 0, False, 0, 0
    while at < len(text):
        character = text[at]
        if is_quoted:
            at += character == "\\"
            is_quoted = character != '"'
        elif character == '"' and at > start and text[at - 1] in ".(,":
            is_quoted = True
        elif character in "()":
            depth = max(0, depth + (1 if character == "(" else -1))
        elif character == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def _read_filter(text: str) -> Filter:
    if not text:
        raise _no_filter("filter must not contain empty segments (check for extra commas)")
    column, equals, condition = text.partition("=")
    if not equals:
        raise _no_filter(_inspect([text]))
    is_negated = condition.startswith("not.")
    condition = condition.removeprefix("not.")
    operator, dot, value = condition.partition(".")
    if not dot or operator not in OPERATORS:
        raise _no_filter(_inspect([operator, value] if dot else [condition]))
    if operator != "in":
        return Filter(column, operator, _unquote(value), is_negated)
    if not (len(value) >= 2 and value[0] == "(" and value[-1] == ")"):
        raise _no_filter("`in` filter value must be wrapped by parentheses")
    return Filter(column, operator, f"{{{value[1:-1]}}}", is_negated)


def _no_filter(reason: str) -> Refused:
    return Refused(f"Error parsing `filter` params: {reason}")


def _unquote(value: str) -> str:
    quoted = QUOTED.fullmatch(value)
    return re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if quoted else value


def _inspect(value: Any) -> str:
    """Return a value in the notation of Elixir, in which Realtime quotes what it was sent."""
    if isinstance(value, Mapping):
        return "%{" + ", ".join(f"{_inspect(name)} => {_inspect(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inspect, value)) + "]"
    return "nil" if value is None else json.dumps(value, ensure_ascii=False)
