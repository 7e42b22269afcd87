"""Writes migrations from `sql/`: make migration name=add_something.

Until the first release there is one state to ship, so the two files of the initial migration are written anew. After
it, migrations are only ever added: a draft is made of what `sql/` has and the migrations have not.
"""

import re
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from pglast import split

from tests.support import schema
from tests.support.cluster import running

INITIAL = "20261122000000_initial.sql"
POLICIES = "20261122000001_policies.sql"
HEADER = "-- Written from sql/ by `make migration`; change it there.\n\nset lock_timeout = '5s';\n\n"
POLICIES_NOTE = "-- Apart: on Supabase a statement about policies locks tables of Auth and Storage until its end.\n\n"


def initial() -> dict[str, str]:
    """The initial migration: file names and contents."""
    objects, policies = "", ""
    for file in schema.SQL:
        text = file.read_text(encoding="utf-8") + "\n"
        end = 0
        for part in split(text, only_slices=True):
            # From where the statement before ended, so that comments stay with what they are about.
            statement, end = text[end : part.stop + 1], part.stop + 1
            if text[part].lstrip().startswith("create policy"):
                policies += statement
            else:
                objects += statement
        objects += "\n\n"
    return {
        INITIAL: HEADER + re.sub(r"\n{3,}", "\n\n", objects.strip("\n")) + "\n",
        POLICIES: HEADER + POLICIES_NOTE + re.sub(r"\n{3,}", "\n\n", policies.strip("\n")) + "\n",
    }


def draft() -> str:
    """What `sql/` has that the migrations have not, as a diff of dumps; empty when they agree."""
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
    path.write_text(f"set lock_timeout = '5s';\n\n-- Write what makes this difference, then remove it:\n{notes}")
    print(path.relative_to(schema.ROOT))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
