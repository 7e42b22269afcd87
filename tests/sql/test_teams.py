"""Two teams of three in one database: no user reaches a row of the other team, by any table or function."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.support.database import Db, become, become_postgres, become_service, rows, value
from tests.support.ingest import conversation, message, request

ROLES = ["owner", "admin", "member"]


class Team(NamedTuple):
    """A workspace with a row in each table, and the ids of all its rows."""

    user_ids: list[str]
    ids: dict[str, str]


def new_team(db: Db, number: int) -> Team:
    """Create three users, their workspace, and a row of every kind in it."""
    name = f"team{number}"
    users = rows(
        db,
        """
        insert into auth.users (id, email, aud, role, email_confirmed_at)
        select gen_random_uuid(), %s || role || '@example.com', 'authenticated', 'authenticated', now()
        from unnest(%s::text[]) as role returning id::text
        """,
        name,
        ROLES,
    )
    become(db, users[0])
    ids = {"workspace_id": value(db, "select public.create_workspace(%s)", name)["id"]}
    for user_id, role in zip(users[1:], ROLES[1:], strict=True):
        become(db, users[0])
        token = value(db, "select public.create_invitation(%s, role => %s)", ids["workspace_id"], role)["token"]
        become(db, user_id)
        db.execute("select public.accept_invitation(%s)", (token,))
    become(db, users[0])
    invited = value(db, "select public.create_invitation(%s, email => %s)", ids["workspace_id"], f"{name}@x.example")
    ids["invitation_id"] = invited["id"]
    connection = value(db, "select public.create_messaging_connection('signal', %s, %s)", name, ids["workspace_id"])
    ids["connection"] = connection["id"]
    ids["key_id"] = value(
        db, "select c.keys -> 0 ->> 'id' from public.messaging_connections as c where id = %s", connection["id"]
    )
    person = "insert into public.people (workspace_id, full_name, phone) values (%s, %s, '+49 151 2345678')"
    ids["person_id"] = value(db, f"{person} returning id::text", ids["workspace_id"], name)
    channel = "insert into public.channels (workspace_id, name) values (%s, %s) returning id::text"
    ids["channel_id"] = value(db, channel, ids["workspace_id"], name)
    join = "insert into public.channel_members (channel_id, user_id) select %s, unnest(%s::uuid[])"
    db.execute(join, (ids["channel_id"], users[1:]))
    ids["ai_twin_id"] = value(db, "insert into public.ai_twins (display_name) values (%s) returning id::text", name)
    db.execute("insert into public.channel_twins values (%s, %s)", (ids["channel_id"], ids["ai_twin_id"]))
    said = value(
        db, "select public.create_message(%s::jsonb)", json.dumps({"channel_id": ids["channel_id"], "content": name})
    )
    ids["message_id"] = said["data"]["id"]
    for function, fields in (
        ("edit_message", {"content": f"{name} again"}),
        ("add_reaction", {"emoji": "fire"}),
        ("pin_message", {}),
    ):
        db.execute(f"select public.{function}(%s::jsonb)", (json.dumps({"id": ids["message_id"], **fields}),))
    become_service(db)
    db.execute("select set_config('request.headers', %s, true)", (json.dumps({"x-api-key": connection["api_secret"]}),))
    read = {"message_id": "a", "type": "read", "at": "2026-02-01T11:00:00Z"}
    chat = conversation(message("a", content=name), updates=[read], participant_identifier="+49 151 2345678")
    body = json.dumps(request(chat, platform="signal", connection_id=name)).encode()
    ids["conversation_id"] = value(db, "select public.messaging_ingest(%s)", body)["results"][0]["conversation_id"]
    become_postgres(db)
    return Team(users, ids | {"user_id": users[0]})


@pytest.fixture(scope="module")
def teams(postgres_url: str) -> Iterator[tuple[Db, Team, Team]]:
    """Create both teams in a transaction that never commits."""
    with psycopg.connect(postgres_url) as db:
        yield db, new_team(db, 1), new_team(db, 2)
        db.rollback()


def list_tables(db: Db) -> list[str]:
    query = "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
    return sorted(rows(db, query))


def list_functions(db: Db) -> list[tuple[str, str, list[str] | None]]:
    """Return the functions of the Data API for users, with their arguments."""
    return rows(
        db,
        """
        select proname, pg_get_function_identity_arguments(oid), proargnames[:pronargs]
        from pg_proc
        where pronamespace = 'public'::regnamespace and has_function_privilege('authenticated', oid, 'execute')
        order by proname
        """,
    )


def list_helpers(db: Db) -> list[tuple[str, list[str]]]:
    """Return the functions of `private` that users may call in SQL, with the types of their arguments."""
    return rows(
        db,
        """
        select proname, array(select format_type(given, null) from unnest(proargtypes) as given)
        from pg_proc
        where pronamespace = 'private'::regnamespace and prorettype <> 'trigger'::regtype
            and has_function_privilege('authenticated', oid, 'execute')
        order by proname
        """,
    )


def state_of(db: Db, team: Team) -> dict[str, list[Any]]:
    """Return all rows that contain an id of the team."""
    become_postgres(db)
    pattern = "|".join([*team.ids.values(), *team.user_ids])
    tables = rows(
        db,
        """
        select oid::regclass::text from pg_class
        where relnamespace in ('public'::regnamespace, 'private'::regnamespace) and relkind = 'r'
            -- A key of the caller's own, which may be any text.
            and relname <> 'idempotency_keys'
        """,
    )
    query = "select t::text from {} as t where t::text ~ %s order by 1"
    return {table: rows(db, query.format(table), pattern) for table in tables}


@pytest.mark.parametrize("number", range(3), ids=ROLES)
def test_no_table_shows_a_row_of_the_other_team(teams: tuple[Db, Team, Team], number: int) -> None:
    db, mine, theirs = teams
    pattern = "|".join([*theirs.ids.values(), *theirs.user_ids])
    become_postgres(db)
    tables = list_tables(db)
    become(db, mine.user_ids[number])
    seen, own = [], 0
    for table in tables:
        columns = "t.id, t.workspace_id, t.channel_id, t.invited_by" if table == "workspace_invitations" else "t.*"
        lines = rows(db, f"select row({columns})::text ~ %s from public.{table} as t", pattern)
        seen += [table] * sum(lines)
        own += len(lines)
    assert seen == []
    assert own > 15


@pytest.mark.parametrize("number", range(3), ids=ROLES)
def test_no_statement_changes_a_row_of_the_other_team(teams: tuple[Db, Team, Team], number: int) -> None:
    db, mine, theirs = teams
    before = state_of(db, theirs)
    pattern = "|".join([*theirs.ids.values(), *theirs.user_ids])
    for table in list_tables(db):
        columns = rows(db, "select attname::text from pg_attribute where attrelid = %s::regclass and attnum > 0", table)
        changes = [f"delete from public.{table} as t where t::text ~ '{pattern}'"]
        changes += [f"update public.{table} as t set {column} = {column}" for column in columns]
        for change in changes:
            become(db, mine.user_ids[number])
            try:
                with db.transaction():
                    db.execute(change)
            except psycopg.Error:
                continue
    assert state_of(db, theirs) == before


@pytest.mark.parametrize("number", range(3), ids=ROLES)
def test_no_function_reaches_the_other_team(teams: tuple[Db, Team, Team], number: int) -> None:
    db, mine, theirs = teams
    before = state_of(db, theirs)
    functions = list_functions(db)
    for key, id_ in theirs.ids.items():
        fields = dict.fromkeys((*theirs.ids, "id", "parent_message_id", "since", "conversation_ids"), id_)
        body = json.dumps(
            fields
            | {
                "content": "x",
                "emoji": "x",
                "url": "https://example.com",
                "query": "team",
                "since": "0",
                "conversation_ids": [id_],
                "user_id": mine.user_ids[number],
                "files": [{"id": id_, "name": "x"}],
            }
        )
        for name, types, names in functions:
            become(db, mine.user_ids[number])
            call, values = f"public.{name}(%s)", [body]
            if types != "jsonb":
                given = [field for field in names or [] if field in {*theirs.ids, "platform"}]
                call = f"public.{name}({', '.join(f'{field} => %s' for field in given)})"
                names_of = {"platform": "signal", "connection_id": "team2"}
                values = [names_of.get(field, id_) for field in given]
            try:
                with db.transaction():
                    answer = str(rows(db, f"select {call}", *values))
            except psycopg.Error:
                continue
            strangers = [each for each in [*theirs.ids.values(), *theirs.user_ids] if each in answer and each != id_]
            assert strangers == [], (name, key)
    assert state_of(db, theirs) == before
    assert len(functions) > 30


# What a caller in SQL gives for an argument of a type; of all others, a row whose columns are those of the body.
GIVEN = {
    "uuid": "%(id)s::uuid",
    "uuid[]": "array[%(id)s]::uuid[]",
    "text": "%(id)s",
    "text[]": "array[%(id)s]",
    "jsonb": "%(body)s::jsonb",
    "jsonb[]": "array[%(body)s::jsonb]",
    "boolean": "true",
    "integer": "5",
    "bigint": "5",
    "xid8": "'1'",
    "interval": "'1 hour'",
    "timestamp with time zone": "now()",
    "bytea": "''",
}


def test_no_helper_reaches_the_other_team(teams: tuple[Db, Team, Team]) -> None:
    db, mine, theirs = teams
    before = state_of(db, theirs)
    helpers = list_helpers(db)
    for key in ("workspace_id", "channel_id", "message_id", "conversation_id", "person_id", "ai_twin_id", "user_id"):
        fields = dict.fromkeys((*theirs.ids, "id", "before"), theirs.ids[key])
        values = {"id": theirs.ids[key], "body": json.dumps(fields | {"content": "x", "emoji": "x", "query": "team"})}
        become(db, mine.user_ids[2])
        for name, types in helpers:
            given = [GIVEN.get(kind, f"jsonb_populate_record(null::{kind}, %(body)s)") for kind in types]
            try:
                with db.transaction():
                    answer = str(db.execute(f"select private.{name}({', '.join(given)})::text", values).fetchall())
            except psycopg.Error:
                continue
            known = [each for each in [*theirs.ids.values(), *theirs.user_ids] if each != theirs.ids[key]]
            assert [each for each in [*known, "team2"] if each in answer] == [], (name, key, answer)
    assert state_of(db, theirs) == before
    assert len(helpers) > 50
