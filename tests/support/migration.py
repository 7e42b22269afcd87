"""Writes migrations from `sql/`: make migration name=add_something.

Until the first release, the two files of the initial migration are written anew. After
it, migrations are only added: a draft contains what `sql/` has and the migrations lack.
"""

import re
import sys
import tempfile
import textwrap
from datetime import UTC, datetime
from pathlib import Path

from pglast import parse_sql, split
from pglast.ast import CompositeTypeStmt, CreateSchemaStmt, CreateStmt, ViewStmt

from tests.support import schema
from tests.support.cluster import running

INITIAL = "20261122000000_initial.sql"
POLICIES = "20261122000001_policies.sql"
# With this search_path no object of the project stands in for one of Postgres while the migration runs.
SETTINGS = "set lock_timeout = '5s';\nset search_path = pg_catalog, pg_temp;\n\n"
# The migrations of the project run in the same session.
RESETS = "\nreset search_path;\nreset lock_timeout;\n"
HEADER = "-- Written from sql/ by `make migration`; change it there.\n\n" + SETTINGS
POLICIES_NOTE = "-- Apart: on Supabase a statement about policies locks tables of Auth and Storage until its end.\n\n"

# The first statement of all. Tables, views and types share one list of names; of a function there may be several.
GUARD = """\
do $$
declare
    v_taken text;
begin
    select string_agg(taken.name, ', ' order by taken.name) into v_taken
    from (
        select 'the schema ' || nspname as name from pg_namespace where nspname in ({schemas})
        union all
        select 'public.' || typname from pg_type
        where typnamespace = 'public'::regnamespace and typname in (
            {types}
        )
    ) as taken;
    if v_taken is not null then
        raise exception using
            errcode = 'duplicate_object',
            message = 'Threadline needs names that this database uses already, and has changed nothing: ' || v_taken
            || '. Rename those, or give Threadline a project of its own.';
    end if;
end
$$;

"""


def guard(text: str) -> str:
    """Return a statement that fails if another application owns an object of this SQL."""
    schemas, types = set(), set()
    for raw in parse_sql(text):
        match raw.stmt:
            case CreateSchemaStmt(schemaname=name):
                schemas.add(name)
            case CreateStmt(relation=made) | ViewStmt(view=made) | CompositeTypeStmt(typevar=made):
                types |= {made.relname} if made.schemaname == "public" else set()

    def listed(names: set[str]) -> str:
        quoted = ", ".join(f"'{name}'" for name in sorted(names))
        return textwrap.fill(quoted, 100, subsequent_indent=" " * 12, break_long_words=False)

    return GUARD.format(schemas=listed(schemas), types=listed(types))


def initial() -> dict[str, str]:
    """The initial migration: file names and contents."""
    objects, policies = "", ""
    for file in schema.SQL:
        text = file.read_text(encoding="utf-8") + "\n"
        end = 0
        for part in split(text, only_slices=True):
            # Start where the previous statement ended, so that comments stay with their statement.
            statement, end = text[end : part.stop + 1], part.stop + 1
            if text[part].lstrip().startswith("create policy"):
                policies += statement
            else:
                objects += statement
        objects += "\n\n"
    return {
        INITIAL: HEADER + guard(objects) + re.sub(r"\n{3,}", "\n\n", objects.strip("\n")) + "\n" + RESETS,
        POLICIES: HEADER + POLICIES_NOTE + re.sub(r"\n{3,}", "\n\n", policies.strip("\n")) + "\n" + RESETS,
    }


def draft() -> str:
    """Return the diff of two dumps, `sql/` against the migrations; empty if they agree."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, running(Path(folder), None) as cluster:
        dumps = []
        for files in (sorted(schema.MIGRATIONS.glob("*.sql")), schema.SQL):
            database = cluster.create()
            cluster.install_platform(database)
            schema.load(cluster.url(database, "postgres"), files)
            dumps.append(schema.dump(cluster.url(database), cluster.binaries))
        return schema.difference(*dumps, names=("migrations", "sql"))


def main(name: str) -> None:
    """Write the migration."""
    if not schema.is_released():
        for file, text in initial().items():
            (schema.MIGRATIONS / file).write_text(text, encoding="utf-8")
            print(f"supabase/migrations/{file}")
        return
    if not name.isidentifier():
        sys.exit("Say what it does: make migration name=add_something")
    change = draft()
    if not change:
        sys.exit("sql/ and supabase/migrations agree: there is nothing to migrate.")
    path = schema.MIGRATIONS / f"{datetime.now(UTC):%Y%m%d%H%M%S}_{name}.sql"
    notes = "".join(f"-- {line}\n" for line in change.splitlines())
    path.write_text(f"{SETTINGS}-- Write what makes this difference, then remove it:\n{notes}{RESETS}")
    print(path.relative_to(schema.ROOT))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
