"""Writes migrations from `sql/`: make migration name=add_something.

Until the first release, the two files of the initial migration are written anew. After
it, migrations are only added: a draft contains what `sql/` has and the migrations lack.
"""

import re
import sys
import textwrap
from datetime import UTC, datetime

from pglast import parse_sql, split
from pglast.ast import CompositeTypeStmt, CreateSchemaStmt, CreateStmt, ViewStmt

from tests.support import removal, schema
from tests.support.cluster import data_folder, running

INITIAL = "20261122000000_initial.sql"
POLICIES = "20261122000001_policies.sql"
HEADER = "-- Written from sql/ by `make migration`; change it there.\n\n" + schema.SETTINGS
POLICIES_NOTE = "-- Apart: on Supabase a statement about policies locks tables of Auth and Storage until its end.\n\n"

# Each migration states its own version, so that a database between two migrations says the truth.
VERSION_FILE = schema.ROOT / "sql" / "000_schemas.sql"
VERSION = re.compile(r"function private\.schema_version\(\).*?'(\d{14})'", re.DOTALL)
# Dropped and created, because `create or replace` would keep what another owner put in its place.
SET_VERSION = """\
drop function private.schema_version();
create function private.schema_version() returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return '{version}';
end
$$;
comment on function private.schema_version() is
'The newest migration of Threadline that this database has. Copies in other projects have other file names.';
revoke all on function private.schema_version() from public, anon, authenticated, service_role;
"""

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
        if file == VERSION_FILE:
            text = text.replace(version_of(POLICIES), version_of(INITIAL))
        end = 0
        for part in split(text, only_slices=True):
            # Start where the previous statement ended, so that comments stay with their statement.
            statement, end = text[end : part.stop + 1], part.stop + 1
            if text[part].lstrip().startswith("create policy"):
                policies += statement
            else:
                objects += statement
        objects += "\n\n"
    policies += "\n\n" + SET_VERSION.format(version=version_of(POLICIES))
    return {
        INITIAL: HEADER + guard(objects) + re.sub(r"\n{3,}", "\n\n", objects.strip("\n")) + "\n" + schema.RESETS,
        POLICIES: HEADER + POLICIES_NOTE + re.sub(r"\n{3,}", "\n\n", policies.strip("\n")) + "\n" + schema.RESETS,
    }


def version_of(file: str) -> str:
    """Return the version of a migration: the number before its name."""
    return file.partition("_")[0]


def stated_version(text: str) -> str:
    """Return the schema version that this SQL sets last."""
    return VERSION.findall(text)[-1]


def draft() -> str:
    """Return the diff of two dumps, `sql/` against the migrations; empty if they agree."""
    with data_folder() as folder, running(folder, None) as cluster:
        dumps = []
        for files in (sorted(schema.MIGRATIONS.glob("*.sql")), schema.SQL):
            database = cluster.create()
            cluster.install_platform(database)
            schema.load(cluster.url(database, "postgres"), files)
            dumps.append(schema.dump(cluster.url(database), cluster.binaries))
        return schema.difference(*dumps, names=("migrations", "sql"))


def main(name: str) -> None:
    """Write the migration."""
    removal.write()
    if not schema.is_released():
        for file, text in initial().items():
            (schema.MIGRATIONS / file).write_text(text, encoding="utf-8")
            print(f"supabase/migrations/{file}")
        if name:
            print(f"Until the first release, these two files hold everything, and the name {name} is not used.")
        return
    if not name.isidentifier():
        sys.exit("Say what it does: make migration name=add_something")
    change = draft()
    if not change:
        sys.exit("sql/ and supabase/migrations agree: there is nothing to migrate.")
    path = schema.MIGRATIONS / f"{datetime.now(UTC):%Y%m%d%H%M%S}_{name}.sql"
    version, text = version_of(path.name), VERSION_FILE.read_text(encoding="utf-8")
    VERSION_FILE.write_text(text.replace(stated_version(text), version), encoding="utf-8")
    notes = "".join(f"-- {line}\n" for line in change.splitlines())
    path.write_text(
        f"{schema.SETTINGS}-- Write what makes this difference, then remove it:\n{notes}\n"
        + SET_VERSION.format(version=version)
        + schema.RESETS
    )
    print(path.relative_to(schema.ROOT))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
