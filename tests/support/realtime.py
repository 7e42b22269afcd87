"""What we hand to Realtime, and what its policies allow, checked as the Realtime server checks."""

import json
from typing import Any

from psycopg.errors import InsufficientPrivilege

from tests.support.database import Db, become_postgres, rows


def fire_deferred_triggers(db: Db) -> None:
    """Fire deferred triggers now; a broadcast that fails raises an error."""
    db.execute("set local threadline.strict_realtime = on")
    db.execute("set constraints all immediate")
    db.execute("set constraints all deferred")


def broadcasts(db: Db, topic: str) -> list[tuple[str, Any]]:
    """Return event and payload of each broadcast to a topic, in the order of their event numbers."""
    fire_deferred_triggers(db)
    query = """
        select event, payload from realtime.messages
        where topic = %s and extension = 'broadcast' and private
        order by ctid
    """
    return sorted(rows(db, query, topic), key=lambda sent: sent[1].get("seq", 0))


def may_join(db: Db, user_id: str | None, topic: str, extension: str = "broadcast") -> bool:
    """Check whether a user may join: Realtime writes a row as itself and tries to read it as the user."""
    become_postgres(db)
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
    """Check whether a user may send: Realtime writes a row as the user."""
    become_postgres(db)
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
