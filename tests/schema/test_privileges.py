"""sql/910_privileges.sql is the whole truth about who may do what: the catalog is compared with it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from pglast import parse_sql, split
from pglast.ast import CreateFunctionStmt, GrantStmt
from pglast.enums import ObjectType

from tests.support import schema

Db = psycopg.Connection[Any]
FILE = schema.ROOT / "sql" / "910_privileges.sql"
SCHEMAS = "('public', 'private')"

GRANTED = f"""
with object (name, acl, owner) as (
    select 'schema ' || nspname, nspacl, nspowner from pg_namespace where nspname = 'private'
    union all
    select oid::regclass::text, relacl, relowner from pg_class
    where relnamespace::regnamespace::text in {SCHEMAS} and relkind not in ('i', 'I', 'c')
    union all
    select oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), proowner from pg_proc
    where pronamespace::regnamespace::text in {SCHEMAS}
)
select object.name, coalesce(nullif(grantee, 0)::regrole::text, 'public'), lower(privilege_type), null as "column"
from object cross join aclexplode(acl) where grantee <> owner
union all
select
    relation.oid::regclass::text, coalesce(nullif(grantee, 0)::regrole::text, 'public'), lower(privilege_type), attname
from pg_class as relation inner join pg_attribute on attrelid = relation.oid cross join aclexplode(attacl)
where relnamespace::regnamespace::text in {SCHEMAS} and grantee <> relowner
"""
Right = tuple[str, str, str, str | None]


@pytest.fixture
def names(db: Db) -> Db:
    """The database, where names are printed with their schema."""
    db.execute("set local search_path = ''")
    return db


def name_of(db: Db, kind: ObjectType, item: Any, text: str) -> str:
    """The catalog's spelling of what a grant is on."""
    if kind == ObjectType.OBJECT_SCHEMA:
        return f"schema {item.sval}"
    if kind == ObjectType.OBJECT_TABLE:
        return f"{item.schemaname}.{item.relname}"
    row = db.execute("select %s::regprocedure::text", [text]).fetchone()
    assert row
    return str(row[0])


def signatures(statement: str) -> list[str]:
    """The functions that a grant lists, as written."""
    listed = statement.partition(" function")[2].rpartition(" to ")[0].replace("\n", " ")
    return [part.strip().rstrip(")") + ")" for part in listed.split("),")]


def granted(db: Db) -> Iterator[Right]:
    """What the file grants."""
    text = FILE.read_text(encoding="utf-8")
    for statement in split(text):
        grant = parse_sql(statement)[0].stmt
        assert isinstance(grant, GrantStmt)
        if not grant.is_grant:
            continue
        objects = list(grant.objects)
        texts = signatures(" ".join(statement.split()) + " ") if grant.objtype == ObjectType.OBJECT_FUNCTION else []
        for place, item in enumerate(objects):
            name = name_of(db, grant.objtype, item, texts[place] if texts else "")
            for privilege in grant.privileges:
                for role in grant.grantees:
                    columns = [column.sval for column in privilege.cols] if privilege.cols else [None]
                    yield from ((name, role.rolename, privilege.priv_name, column) for column in columns)


def test_catalog_grants_equal_the_file(names: Db) -> None:
    assert set(names.execute(GRANTED).fetchall()) == set(granted(names))


@pytest.mark.parametrize(
    "violation",
    [
        "grant select on private.settings to anon",
        "grant insert (user_id) on public.people to authenticated",
        "create function public.planted() returns integer language sql as 'select 1'",
        "create table public.planted (); grant select on public.planted to public",
        "grant usage on schema private to anon",
    ],
)
def test_extra_grant_in_the_catalog_is_reported(names: Db, violation: str) -> None:
    names.execute(violation)
    assert set(names.execute(GRANTED).fetchall()) - set(granted(names))


def test_no_other_file_grants_or_revokes() -> None:
    others = [
        file.name
        for file in schema.SQL
        if file != FILE
        for raw in parse_sql(file.read_text(encoding="utf-8"))
        if isinstance(raw.stmt, GrantStmt)
    ]
    assert others == []


def test_each_definer_function_says_why_it_is_one() -> None:
    """A definer function runs with the rights of the owner, so the comment above it begins with `-- Definer`."""
    silent = []
    for file in schema.SQL:
        text, end = file.read_text(encoding="utf-8"), 0
        for part in split(text, only_slices=True):
            above, end = text[end : part.stop], part.stop
            statement = parse_sql(text[part])[0].stmt
            if isinstance(statement, CreateFunctionStmt):
                options = {option.defname: option.arg for option in statement.options}
                if "security" in options and options["security"].boolval and "\n-- Definer" not in above:
                    silent.append(".".join(name.sval for name in statement.funcname))
    assert silent == []
