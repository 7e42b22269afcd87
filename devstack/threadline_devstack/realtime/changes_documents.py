"""The JSON document of a changed row, for one role and one set of columns."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from threadline_devstack.realtime.changes_requests import Filter
from threadline_devstack.realtime.changes_rows import Readable, Table
from threadline_devstack.realtime.pgoutput import Change

LARGEST = 1024 * 1024  # bytes of a change; a larger one has only its small values
SMALL = 64
NO_KEY = "Error 400: Bad Request, no primary key"
NOT_READABLE = "Error 401: Unauthorized"
TOO_LARGE = "Error 413: Payload Too Large"
OVERHEAD = 64  # bytes per value, as Realtime measures a change


@dataclass(frozen=True, slots=True)
class Event:
    """A change with its values as JSON texts, and the filters that it meets."""

    change: Change
    new: Mapping[str, str] | None
    old: Mapping[str, str] | None
    met: frozenset[Filter]

    @property
    def is_too_large(self) -> bool:
        """Tell whether it is too large to send in full."""
        rows = [row for row in (self.new, self.old) if row]
        size = sum(len(name) + len(text.encode()) + OVERHEAD for row in rows for name, text in row.items())
        return size > LARGEST


def refusal(table: Table, role: str) -> str | None:
    """Return why a role gets an insert or update without values, None if it gets them."""
    if not table.key:
        return NO_KEY
    return None if all(role in column.readers for column in table.key) else NOT_READABLE


def document(committed_at: datetime, table: Table, event: Event, role: str, wanted: frozenset[str] | None) -> bytes:
    """Return the document to send.

    Args:
        committed_at: when.
        table: where.
        event: what happened.
        role: of the receivers; columns that it may not read are left out.
        wanted: the columns that they want beside the primary key; None for all.

    """
    change = event.change
    members = {"schema": json.dumps(table.schema), "table": json.dumps(table.name), "type": f'"{change.kind}"'}
    reason = refusal(table, role)
    if reason and change.kind != "DELETE":
        empty = {"INSERT": ("record",), "UPDATE": ("record", "old_record")}[change.kind]
        members |= {"columns": "[]", "commit_timestamp": "null", "errors": json.dumps([reason])}
        return _object(members | dict.fromkeys(empty, "{}"))

    visible = {
        column.name: column
        for column in table.columns
        if role in column.readers and (wanted is None or column.name in wanted or column.is_key)
    }
    columns = [{"name": column.name, "type": column.type} for column in visible.values()]
    members["columns"] = json.dumps(columns, ensure_ascii=False)
    members["commit_timestamp"] = json.dumps(
        committed_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
    members["errors"] = json.dumps([TOO_LARGE]) if event.is_too_large else "null"
    if event.new is not None:
        members["record"] = _row(event.new, visible, event)
    if change.kind != "INSERT":
        # Policies cannot check a deleted row, so only its key is sent.
        keys_only = change.kind == "DELETE" and table.has_policies
        known = {name: column for name, column in visible.items() if column.is_key} if keys_only else visible
        members["old_record"] = _row(event.old or {}, known, event)
    return _object(members)


def _row(values: Mapping[str, str], visible: Mapping[str, Readable], event: Event) -> str:
    largest = SMALL if event.is_too_large else LARGEST
    return _object(
        {name: text for name, text in values.items() if name in visible and len(text.encode()) <= largest}
    ).decode()


def _object(members: Mapping[str, str]) -> bytes:
    inside = ",".join(f"{json.dumps(name, ensure_ascii=False)}:{text}" for name, text in members.items())
    return f"{{{inside}}}".encode()
