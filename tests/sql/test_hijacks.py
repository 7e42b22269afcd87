"""A caller with SQL access plants temporary types, tables and views: no function of ours uses them."""

from tests.support.calls import call, ingest, send
from tests.support.database import Db, become, become_postgres, refused, rows
from tests.support.ingest import conversation, message
from tests.support.world import CHANNEL, MATTY, MESSAGE

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


def plant(db: Db) -> None:
    """Plant a temporary object for each name of a type and of a table, as a signed-in user."""
    types, tables = rows(db, TYPES), rows(db, TABLES)
    become(db, MATTY)
    db.execute(SPY)
    for name in types:
        db.execute(f'create domain pg_temp."{name}" as pg_catalog."{name}" check (pg_temp.spy())')
    for name in sorted(set(tables) - set(types)):
        db.execute(f'create view pg_temp."{name}" as select 1 as id where pg_temp.spy()')
    become_postgres(db)


def test_planted_objects_are_never_used(db: Db) -> None:
    plant(db)
    message_id = send(db, "first")
    assert call(db, "edit_message", id=message_id, content="second").status < 300
    assert call(db, "pin_message", id=message_id).status < 300
    assert call(db, "add_reaction", id=message_id, emoji="x").status < 300
    assert call(db, "reply_to_message", id=message_id, content="third").status < 300
    assert call(db, "list_messages", channel_id=CHANNEL, after=MESSAGE).status < 300
    assert call(db, "search_messages", query="first in:general from:me").status < 300
    assert call(db, "list_channel_events", channel_id=CHANNEL).status < 300
    assert call(db, "delete_message", id=message_id).status < 300
    assert ingest(db, conversation(message())).status < 300


def test_a_function_with_an_empty_search_path_is_hijacked(db: Db) -> None:
    db.execute("alter function private.find_cursor(jsonb, text, uuid) set search_path = ''")
    plant(db)
    become(db, MATTY)
    statement = "select private.find_cursor(jsonb_build_object('before', %s::pg_catalog.text), 'before', %s)"
    diagnosis = refused(db, statement, MESSAGE, CHANNEL, by=Exception)
    assert diagnosis.message_primary == "hijacked"
