"""Become someone, try, assert: what the tests of the SQL have in common."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.support.ingest import request

Db = psycopg.Connection[Any]

# The users of seed.sql. All seeded people and connections are Matty's.
MATTY = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
BOB = "b0b0b0b0-0000-4000-8000-000000000002"
JOHN_DOE = "0b9d3c52-6f0e-4a6c-9d5e-000000000001"
SECRET = "your-api-secret"
WHATSAPP = ("whatsapp", "wa_business_123")
TELEGRAM = ("telegram", "tg_bot_456")


@pytest.fixture(scope="session")
def session(postgres_url: str) -> Iterator[Db]:
    """Role postgres, signed in once: most of what a short test costs is signing in."""
    with psycopg.connect(postgres_url) as connection:
        yield connection


@pytest.fixture
def db(session: Db) -> Iterator[Db]:
    """A transaction of role postgres in the seeded database; nothing of it stays."""
    yield session
    session.rollback()


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
    db.execute(
        "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
        (role, json.dumps({"role": role, **claims})),
    )


def back(db: Db) -> None:
    """Be the role that signed in again."""
    db.execute("select set_config('role', 'none', true), set_config('request.jwt.claims', '', true)")


def rows(db: Db, query: str, *parameters: object) -> list[Any]:
    """All rows; of a query with one column, its values."""
    found = db.execute(query, parameters).fetchall()
    return [row[0] for row in found] if found and len(found[0]) == 1 else found


def value(db: Db, query: str, *parameters: object) -> Any:
    """The one value of the one row."""
    ((only,),) = db.execute(query, parameters).fetchall()
    return only


def refused(db: Db, statement: str, *parameters: object, by: type[Exception] = InsufficientPrivilege) -> Any:
    """The diagnostics of the error that a statement must end with; nothing of it stays."""
    with pytest.raises(by) as caught, db.transaction():
        db.execute(statement, parameters)
    return caught.value.diag


class Answer(NamedTuple):
    """What HTTP would answer."""

    status: int
    body: Any

    @property
    def statuses(self) -> list[str]:
        """The status of each result."""
        return [result["status"] for result in self.body["results"]]


def ingest(db: Db, *conversations: object, connection: tuple[str, str] = WHATSAPP, key: str | None = SECRET) -> Answer:
    """Send conversations through the gateway; before and afterwards, be the role that signed in."""
    platform, connection_id = connection
    body = request(*conversations, platform=platform, connection_id=connection_id)
    return post(db, json.dumps(body).encode(), key)


def post(db: Db, body: bytes, key: str | None = SECRET) -> Answer:
    """Send a body through the gateway; before and afterwards, be the role that signed in."""
    back(db)
    headers = {} if key is None else {"x-api-key": key}
    answer = db.execute(
        "select status, body::json from private.call('messaging_ingest', 'service_role', %s, %s, '{}', %s)",
        (json.dumps({"role": "service_role"}), json.dumps(headers), body),
    ).fetchone()
    back(db)
    return Answer(*answer)


def thread(db: Db, external_id: str = "chat") -> dict[str, Any]:
    """A conversation with its messages, as JSON has it."""
    whole = "to_jsonb(c) || jsonb_build_object('messages', c.messages)"
    return value(db, f"select {whole} from public.conversations as c where external_conversation_id = %s", external_id)


def add_person(db: Db, phone: str | None, user_id: str = BOB) -> Any:
    """A contact; Bob has no others."""
    statement = "insert into public.people (user_id, full_name, phone) values (%s, 'Someone', %s) returning id"
    return value(db, statement, user_id, phone)


def add_thread(db: Db, identifier: str, user_id: str = BOB) -> Any:
    """A conversation without messages, for tests of who it is with."""
    return value(
        db,
        """
        insert into public.conversations (user_id, platform, external_conversation_id, participant_identifier)
        values (%s, 'signal', gen_random_uuid(), %s) returning id
        """,
        user_id,
        identifier,
    )


def person_of(db: Db, thread_id: object) -> Any:
    """Whom a conversation is matched to."""
    return value(db, "select person_id from public.conversations where id = %s", thread_id)
