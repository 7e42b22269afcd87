"""A database session: change its role, read rows, expect errors."""

import json
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

Db = psycopg.Connection[Any]


def become(db: Db, user_id: str) -> None:
    """Act as a signed-in user, as PostgREST would."""
    _act_as(db, "authenticated", sub=user_id)


def become_anon(db: Db) -> None:
    """Act as a client that has not signed in."""
    _act_as(db, "anon")


def become_service(db: Db) -> None:
    """Act as a backend with the service key."""
    _act_as(db, "service_role")


def _act_as(db: Db, role: str, **claims: str) -> None:
    _forget_gateway(db)
    db.execute(
        "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
        (role, json.dumps({"role": role, **claims})),
    )


def _forget_gateway(db: Db) -> None:
    # The gateway sets these too, until the transaction of the test ends.
    db.execute(
        "select set_config('request.jwt.claim.sub', '', true), set_config('request.jwt.claim.role', '', true),"
        " set_config('threadline.acting_id', '', true)"
    )


def become_postgres(db: Db) -> None:
    """Return to the role that signed in."""
    _forget_gateway(db)
    db.execute("select set_config('role', 'none', true), set_config('request.jwt.claims', '', true)")


def rows(db: Db, query: str, *parameters: object) -> list[Any]:
    """Return all rows; for a query with one column, return its values."""
    found = db.execute(query, parameters).fetchall()
    return [row[0] for row in found] if found and len(found[0]) == 1 else found


def value(db: Db, query: str, *parameters: object) -> Any:
    """Return the single value of a single row."""
    ((only,),) = db.execute(query, parameters).fetchall()
    return only


def refused(db: Db, statement: str, *parameters: object, by: type[Exception] = InsufficientPrivilege) -> Any:
    """Expect a statement to raise, roll it back, and return the diagnostics of the error."""
    with pytest.raises(by) as caught, db.transaction():
        db.execute(statement, parameters)
    return caught.value.diag


def locks_matching(db: Db, workspace_id: str) -> bool:
    """Tell whether this transaction holds the matching lock of a workspace, as changes of people do."""
    return value(
        db,
        """
        select exists (
            select from pg_locks
            where locktype = 'advisory' and mode = 'ExclusiveLock' and pid = pg_backend_pid()
                and (classid::bigint << 32) | objid::bigint = private.matching_lock(%s)
        )
        """,
        workspace_id,
    )


def lift_request_limit(db: Db) -> None:
    """Raise the limit of requests per minute above what any test makes."""
    db.execute("update private.settings set requests_per_minute = 1000000")


def keep_minute(db: Db, user_id: str) -> None:
    """Count the requests of a user for the next minute already, so that the count goes on when this minute ends."""
    db.execute(
        "insert into private.request_counts (user_id, minute, used)"
        " values (%s, date_trunc('minute', now()) + interval '1 minute', 0)"
        " on conflict (user_id) do update set minute = excluded.minute",
        (user_id,),
    )


def add_channel(db: Db, name: str, user_ids: list[str]) -> str:
    """Create a channel whose owner is the first user and whose members are the others. Return its id."""
    statement = "insert into public.channels (name, created_by) values (%s, %s) returning id::text"
    channel_id = value(db, statement, name, user_ids[0])
    db.execute(
        "insert into public.channel_members (channel_id, user_id) select %s, unnest(%s::uuid[])",
        (channel_id, user_ids[1:]),
    )
    return channel_id
