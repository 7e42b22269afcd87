"""What `threadline add` reads from the SQL of a project."""

import pytest
from threadline.project import shipped
from threadline.project.names import read_state

LEFT = {
    "create table messages (id int)": {"public.messages"},
    'CREATE TABLE IF NOT EXISTS "public"."messages" ()': {"public.messages"},
    "create unlogged table Public.Messages ()": {"public.messages"},
    'create table "Messages" ()': {"public.Messages"},
    "create or replace view people as select 1": {"public.people"},
    "create materialized view people as select 1": {"public.people"},
    "create type channels as enum ('a')": {"public.channels"},
    "create schema if not exists private": {"the schema private"},
    "create table private.keys ()": {"the schema private"},
    "create schema private; create table private.keys (); drop table private.keys": {"the schema private"},
    "create temporary table messages ()": set(),
    "create table app.messages ()": {"app.messages"},
    "-- create table messages ()\n/* create table people () */": set(),
    "do $x$ begin execute 'create table messages ()'; create table people (); end $x$": set(),
    "select 'it''s a create table messages ()'": set(),
    "create table messages (); create table people (); drop table if exists messages, public.people cascade": set(),
    "create table messages (); alter table only messages rename to notes": {"public.notes"},
    "create table messages (); alter table public.messages set schema app": {"app.messages"},
    "create table notes (); alter table notes rename to messages": {"public.messages"},
    "create schema private; drop schema private": set(),
    "CREATE SCHEMA Private": {"the schema private"},
    'create table private (); create table "PRIVATE".keys ()': {"public.private", "PRIVATE.keys"},
    "create table private.keys (); alter table private.keys set schema app": {"the schema private", "app.keys"},
    "create schema app; alter schema app rename to shop": {"the schema shop"},
    "alter table messages rename to notes": set(),
    "create foreign table messages (); create recursive view people as select 1": {"public.messages", "public.people"},
    "create type a; alter type a rename to b; drop type c, b": set(),
    "/* one */ create table people (); /* two\ncreate table messages () */": {"public.people"},
    "create/* a comment */table people ()": {"public.people"},
    'create table notes (); alter table notes set schema "App"': {"App.notes"},
    "create table notes (); alter table if exists notes rename to people": {"public.people"},
    "create table app.notes (); alter table app.notes rename to people": {"app.people"},
}


@pytest.mark.parametrize(("sql", "names"), LEFT.items(), ids=range(len(LEFT)))
def test_state_holds_the_names_that_sql_leaves(sql: str, names: set[str]) -> None:
    assert read_state([sql]).names == names


def test_state_holds_the_version_of_the_migrations() -> None:
    texts = [each.sql for each in shipped.migrations()]
    assert read_state(texts).version == shipped.newest_version()
    assert read_state(texts[:1]).version == shipped.migrations()[0].version
    assert read_state(["\n".join(texts)]).version == shipped.newest_version()  # squashed into one file
    dumped = """
        CREATE SCHEMA "private"; CREATE OR REPLACE FUNCTION "private"."schema_version"() RETURNS "text"
        SET "statement_timeout" TO '5' AS $$ begin return '20990101000000'; end $$
    """
    assert read_state([dumped]).version == "20990101000000"


@pytest.mark.parametrize("with_data", [True, False])
def test_state_is_empty_after_the_removal(with_data: bool) -> None:
    state = read_state([*(each.sql for each in shipped.migrations()), shipped.removal(with_data=with_data)])
    assert (state.names, state.version) == (set(), None)
    texts = [*(each.sql for each in shipped.migrations()), shipped.removal(with_data=with_data)]
    assert read_state([*texts, "create schema private"]).version is None
