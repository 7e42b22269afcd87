"""What Realtime is told and whom it admits, asked as the Realtime server asks."""

import json
from typing import Any

from psycopg.errors import InsufficientPrivilege

from tests.sql.conftest import Db, back, rows


def settle(db: Db) -> None:
    """Do what happens at the end of a transaction; a broadcast that fails is an error."""
    db.execute("set local threadline.strict_realtime = on")
    db.execute("set constraints all immediate")
    db.execute("set constraints all deferred")


def broadcasts(db: Db, topic: str) -> list[tuple[str, Any]]:
    """Event and payload of what was sent to a topic, in the order of their numbers if they have any."""
    settle(db)
    query = "select event, payload from realtime.messages where topic = %s and extension = 'broadcast' and private"
    return sorted(rows(db, query, topic), key=lambda sent: sent[1].get("seq", 0))


def is_admitted(db: Db, user_id: str | None, topic: str, extension: str = "broadcast") -> bool:
    """Whether Realtime lets a user join: it writes a row as itself and looks whether the user sees it."""
    back(db)
    with db.transaction(force_rollback=True):
        (probe,) = rows(
            db,
            "insert into realtime.messages (topic, extension) values (%s, %s) returning id",
            topic,
            extension,
        )
        _become(db, user_id, topic)
        return rows(db, "select id from realtime.messages where id = %s", probe) == [probe]


def may_send(db: Db, user_id: str | None, topic: str, extension: str = "broadcast") -> bool:
    """Whether Realtime passes on what a user sends: it writes a row as the user."""
    back(db)
    try:
        with db.transaction(force_rollback=True):
            _become(db, user_id, topic)
            db.execute("insert into realtime.messages (topic, extension) values (%s, %s)", (topic, extension))
    except InsufficientPrivilege:
        return False
    return True


def _become(db: Db, user_id: str | None, topic: str) -> None:
    role = "authenticated" if user_id else "anon"
    claims = {"role": role} | ({"sub": user_id} if user_id else {})
    db.execute(
        """
        select
            set_config('role', %(role)s, true),
            set_config('realtime.topic', %(topic)s, true),
            set_config('request.jwt.claims', %(claims)s, true),
            set_config('request.jwt.claim.sub', %(sub)s, true),
            set_config('request.jwt.claim.role', %(role)s, true),
            set_config('request.headers', '{}', true)
        """,
        {"role": role, "topic": topic, "claims": json.dumps(claims), "sub": user_id or ""},
    )
