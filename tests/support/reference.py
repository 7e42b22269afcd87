"""Write `docs/reference/functions.md`, the functions and tables of the Data API: `make reference`."""

import psycopg

from tests.support import schema
from tests.support.cluster import data_folder, running
from tests.support.database import Db

PAGE = schema.ROOT / "docs" / "reference" / "functions.md"
# A function with one unnamed argument takes the whole body of the request: the row of a computed column, or a body.
FUNCTIONS = """
select
    code.proname,
    array(
        select format(
            '`%%s%%s` %%s',
            given.name,
            case when given.place > code.pronargs - code.pronargdefaults then '?' else '' end,
            format_type(code.proargtypes[given.place - 1], null)
        )
        from unnest(code.proargnames[1:code.pronargs]) with ordinality as given (name, place)
    ),
    regexp_replace(obj_description(code.oid, 'pg_proc'), '\\s+', ' ', 'g')
from pg_proc as code
where code.pronamespace = 'public'::regnamespace
    and has_function_privilege(%s, code.oid, 'execute')
    and not has_function_privilege(%s, code.oid, 'execute')
    and (code.pronargs = 0 or code.proargnames is not null)
order by code.proname, code.pronargs
"""
TABLES = """
select
    entry.relname,
    concat_ws(', ',
        case when has_table_privilege('authenticated', entry.oid, 'select')
            or has_any_column_privilege('authenticated', entry.oid, 'select') then 'select' end,
        case when has_any_column_privilege('authenticated', entry.oid, 'insert')
            and insert_policy.is_there then 'insert' end,
        case when has_any_column_privilege('authenticated', entry.oid, 'update')
            and update_policy.is_there then 'update' end,
        case when has_table_privilege('authenticated', entry.oid, 'delete')
            and delete_policy.is_there then 'delete' end
    ),
    regexp_replace(obj_description(entry.oid, 'pg_class'), '\\s+', ' ', 'g')
from pg_class as entry
cross join lateral (
    select count(*) > 0 as is_there from pg_policy where polrelid = entry.oid and polpermissive and polcmd in ('a', '*')
) as insert_policy
cross join lateral (
    select count(*) > 0 as is_there from pg_policy where polrelid = entry.oid and polpermissive and polcmd in ('w', '*')
) as update_policy
cross join lateral (
    select count(*) > 0 as is_there from pg_policy where polrelid = entry.oid and polpermissive and polcmd in ('d', '*')
) as delete_policy
where entry.relnamespace = 'public'::regnamespace and entry.relkind = 'r'
order by entry.relname
"""
HEAD = """\
# Functions and tables of the Data API

Written by `make reference` from the comments of the database. Supabase clients call a function with `rpc` and named
arguments; arguments with `?` are optional, and null is the same as leaving one out:

```js
const { data } = await supabase.rpc("list_channel_events", { channel_id, since });
```

```python
answer = client.rpc("list_channel_events", {"channel_id": channel_id, "since": since}).execute()
```

`createClient<Database>` with [the shipped types](../../supabase/types/database.ts) checks names and types. Functions
that are also calls of `/api/v2` return what [those](messages.md) answer: `success`, `data`, `meta`. They ignore a
field of the request that is not an argument, as `/api/v2` does.

Call with POST, as `rpc` does. With GET, PostgREST keeps `limit` and `offset` for itself.
"""


def render(db: Db) -> str:
    """Return the page, from a database with the migrations."""
    parts = [HEAD]
    for title, role, other in (
        ("## For signed-in users", "authenticated", "anon"),
        ("## Only with the service key", "service_role", "authenticated"),
    ):
        parts += [title, "", "| function | arguments | |", "|---|---|---|"]
        for name, arguments, comment in db.execute(FUNCTIONS, (role, other)).fetchall():
            parts.append(f"| `{name}` | {', '.join(arguments)} | {comment.replace('|', '/')} |")
        parts.append("")
    parts += [
        "## Tables",
        "",
        "What signed-in users may do with rows that row-level security shows them. If a statement is refused and a"
        " function does the same, the hint of the error names that function.",
        "",
        "| table | may | |",
        "|---|---|---|",
    ]
    parts += [f"| `{name}` | {may} | {comment} |" for name, may, comment in db.execute(TABLES).fetchall()]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the page from a throw-away database."""
    with data_folder() as folder, running(folder, None) as cluster:
        database = cluster.create()
        cluster.prepare(database)
        with psycopg.connect(cluster.url(database, "postgres")) as db:
            PAGE.write_text(render(db), encoding="utf-8")
            print(PAGE.relative_to(schema.ROOT))


if __name__ == "__main__":
    main()
