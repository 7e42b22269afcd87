"""The schema in three forms: files, a loaded database, the output of pg_dump."""

import difflib
import re
import subprocess
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[2]
SQL = sorted((ROOT / "sql").glob("*.sql"))
MIGRATIONS = ROOT / "supabase" / "migrations"
# With this search_path no object of the project stands in for one of Postgres while the migration runs.
SETTINGS = "set lock_timeout = '5s';\nset search_path = pg_catalog, pg_temp;\n\n"
# The migrations of the project run in the same session.
RESETS = "\nreset search_path;\nreset lock_timeout;\n"


def load(url: str, files: list[Path]) -> None:
    """Run files as they would be applied: each in one transaction, by the role of the URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        for file in files:
            with connection.transaction():
                connection.execute(file.read_text(encoding="utf-8"))


def dump(url: str, binaries: Path) -> str:
    """Dump our schemas: tables, functions, policies, triggers, comments, grants."""
    return _dump(binaries, "-n", "public", "-n", "private", url)


def dump_all(url: str, binaries: Path) -> str:
    """Dump every schema except the migration history of the CLI."""
    return _dump(binaries, "-N", "supabase_migrations", url)


def _dump(binaries: Path, *arguments: str) -> str:
    command = [binaries / "pg_dump", "--schema-only", "--restrict-key=x", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def difference(left: str, right: str, names: tuple[str, str]) -> str:
    """Return a unified diff of two dumps; empty if they are equal."""
    return "\n".join(difflib.unified_diff(left.splitlines(), right.splitlines(), *names, lineterm="", n=2))


def is_released() -> bool:
    """Check whether a version has been released; from then on, migrations are only added."""
    return bool(re.search(r"^## \d", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE))
