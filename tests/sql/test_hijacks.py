"""A caller with SQL access plants temporary types, tables and operators: no function of ours uses them."""

import psycopg

from tests.sql.test_neighbours import CHANGES, Ground
from tests.sql.test_neighbours import plant as plant_rows
from tests.support.calls import call, ingest
from tests.support.cluster import TestCluster
from tests.support.database import Db, become, become_postgres, lift_request_limit, refused, rows
from tests.support.ingest import conversation, message
from tests.support.realtime import fire_deferred_triggers
from tests.support.world import API_KEY, BOB, CHANNEL, JOHN_DOE, MATTY, MESSAGE, TWIN, WHATSAPP, WORKSPACE

# Raises when the database's owner runs it: a function of ours with the owner's rights has used a planted object.
SPY = """
create function pg_temp.spy() returns boolean language plpgsql as $$
begin
    if current_user = 'postgres' then
        raise exception 'hijacked';
    end if;
    return true;
end $$
"""
TYPES = """
select typname from pg_type
where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm') and typname !~ '^_|^pg_|^char$'
"""
TABLES = """
select distinct relname from pg_class
where relnamespace in ('public'::regnamespace, 'private'::regnamespace, 'auth'::regnamespace, 'realtime'::regnamespace,
    'storage'::regnamespace, 'pg_catalog'::regnamespace) and relkind in ('r', 'p', 'v') and relname !~ '^pg_toast'
"""
# Those of the types that our functions use. A planted one has the same arguments.
KINDS = "array['uuid', 'text', 'bigint', 'integer', 'jsonb', 'timestamptz', 'uuid[]', 'text[]']::regtype[]"
OPERATORS = f"""
select oprname, oprleft::regtype::text, oprright::regtype::text from pg_operator
where oprnamespace = 'pg_catalog'::regnamespace and oprleft = any({KINDS}) and oprright = any({KINDS})
"""
FUNCTIONS = f"""
select distinct proname, oidvectortypes(proargtypes) from pg_proc as known
where pronamespace = 'pg_catalog'::regnamespace and prokind = 'f' and pronargs > 0
    and proargtypes::oid[] <@ {KINDS}::oid[] and exists (
        select from pg_proc as ours
        where ours.pronamespace = 'private'::regnamespace and strpos(ours.prosrc, known.proname || '(') > 0
    )
"""
SUMMARY = {"model": "x", "prompt_version": "1", "lease_seconds": "60", "is_configured": "true"}


def plant(db: Db, user_id: str | None = None) -> None:
    """Plant a temporary object for each name of a type and of a table, as a user or as the role that signed in."""
    types, tables = rows(db, TYPES), rows(db, TABLES)
    create(
        db,
        user_id,
        SPY,
        *(f'create domain pg_temp."{name}" as pg_catalog."{name}" check (pg_temp.spy())' for name in types),
        *(f'create view pg_temp."{name}" as select 1 as id where pg_temp.spy()' for name in {*tables} - {*types}),
    )


def plant_code(db: Db, user_id: str) -> None:
    """Plant a temporary function and a temporary operator for each name of Postgres, with its arguments."""
    body = "language plpgsql as 'begin return pg_temp.spy(); end'"
    statements = [
        f'create function pg_temp."{name}"({given}) returns boolean {body}' for name, given in rows(db, FUNCTIONS)
    ]
    for name, left, right in rows(db, OPERATORS):
        statements += [
            f'create function pg_temp."{name}"({left}, {right}) returns boolean {body}',
            f'create operator pg_temp.{name} (leftarg = {left}, rightarg = {right}, function = pg_temp."{name}")',
        ]
    create(db, user_id, *statements)


def create(db: Db, user_id: str | None, *statements: str) -> None:
    if user_id:
        become(db, user_id)
    db.execute(";".join(statements))
    become_postgres(db)
    # For the statements of the test itself.
    db.execute("set local search_path = public, pg_catalog, pg_temp")


def call_all(db: Db, functions: list[str], *ids: str) -> None:
    """Call every function of the gateway with these ids, as a user and as the service, and ingest."""
    fields = {
        "person_id": JOHN_DOE, "conversation_id": CHANNEL, "channel_id": CHANNEL, "user_id": MATTY,
        "content": "x", "emoji": "x", "query": "the in:general from:me",
    }  # fmt: skip
    for function in functions:
        for who, id_ in (*((MATTY, id_) for id_ in ids), (None, MESSAGE)):
            with db.transaction(force_rollback=True):
                reply = call(db, function, who, parameters=SUMMARY, id=id_, **fields)
                assert reply.status != 500, (function, reply.body)
    assert ingest(db, conversation(message())).statuses == ["created"]


def test_planted_objects_are_never_used(db: Db) -> None:
    """Make a row of every kind, change each one in every way, and call every function."""
    functions = rows(db, "select function_name from private.calls")
    lift_request_limit(db)
    plant_code(db, MATTY)
    plant(db, MATTY)
    plot = plant_rows(db, Ground(WORKSPACE, MATTY, CHANNEL, MATTY, BOB, WHATSAPP[1], API_KEY), "z", 21)
    fire_deferred_triggers(db)
    for _, change in CHANGES.values():
        with db.transaction(force_rollback=True):
            change(db, plot)
            fire_deferred_triggers(db)
    call_all(db, functions, MESSAGE, WORKSPACE, TWIN)


def test_login_plants_nothing_that_is_used(db: Db, cluster: TestCluster) -> None:
    functions = rows(db, "select function_name from private.calls")
    with psycopg.connect(cluster.url(db.info.dbname, "authenticator")) as login:
        plant(login)
        call_all(login, functions, MESSAGE)
        login.rollback()


def test_a_function_with_an_empty_search_path_is_hijacked(db: Db) -> None:
    db.execute("alter function private.find_cursor(jsonb, text, uuid) set search_path = ''")
    plant(db, MATTY)
    become(db, MATTY)
    statement = "select private.find_cursor(jsonb_build_object('before', %s::pg_catalog.text), 'before', %s)"
    diagnosis = refused(db, statement, MESSAGE, CHANNEL, by=Exception)
    assert diagnosis.message_primary == "hijacked"
