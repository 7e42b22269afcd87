"""Files 810 to 812: each named argument becomes the field of that name in the JSON form of the call."""

from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from tests.support.database import Db, rows

# The functions with named arguments that call a JSON form of the same name.
NAMED = """
select whole.pronamespace::regnamespace::text, named.proname, named.proargnames,
    named.proargtypes::regtype[]::text[]
from pg_proc as named
inner join pg_proc as whole on whole.proname = named.proname and whole.pronargs = 1
    and whole.proargtypes[0] = 'jsonb'::regtype and whole.prorettype = 'json'::regtype
where named.pronamespace = 'public'::regnamespace and named.pronargs > 0
    and named.proargtypes[0] <> 'jsonb'::regtype and named.prorettype = 'json'::regtype
    and named.prosrc ~ (whole.pronamespace::regnamespace || '[.]' || whole.proname || '[(]jsonb_build_object')
order by named.proname
"""
RENAMED = {"max_channels": "limit", "max_conversations": "limit", "skip": "offset"}


def example(type_: str, number: int) -> Any:
    """Return a value of a type that no other argument has."""
    return {
        "uuid": f"00000000-0000-4000-8000-{number:012}",
        "uuid[]": [f"00000000-0000-4000-8000-{number:012}"],
        "text": f"text {number}",
        "integer": number,
        "bigint": number,
        "boolean": True,
        "jsonb": {"number": number},
    }[type_]


def test_each_named_argument_reaches_its_field(db: Db) -> None:
    called, wanted = {}, {}
    for schema, name, arguments, types in rows(db, NAMED):
        db.execute(
            sql.SQL("create or replace function {}.{} (jsonb) returns json language sql as 'select $1::json'").format(
                sql.Identifier(schema), sql.Identifier(name)
            )
        )
        given = {
            argument: example(type_, at) for at, (argument, type_) in enumerate(zip(arguments, types, strict=True), 1)
        }
        parts = [
            sql.SQL("{} => %s::" + type_).format(sql.Identifier(argument))
            for argument, type_ in zip(arguments, types, strict=True)
        ]
        query = sql.SQL("select public.{}({})").format(sql.Identifier(name), sql.SQL(", ").join(parts))
        texts = [Jsonb(each) if isinstance(each, dict) else each for each in given.values()]
        called[name] = db.execute(query, texts).fetchone()[0]
        wanted[name] = {RENAMED.get(argument, argument): each for argument, each in given.items()}
    assert called == wanted
    assert len(called) == 40
