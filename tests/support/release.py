"""Makes a release up to its upload: make release version=0.1.0

Builds the wheels, records the release for the test of upgrades, and dates the changelog. Released migrations never
change, so they and data written by the release are its state. A record holds the names and checksums of the migrations,
and the data as statements.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg

from tests.support import schema
from tests.support.cluster import TestCluster, data_folder, running
from tests.support.ingest import conversation, message, request
from tests.support.twin import ask

FOLDER = schema.ROOT / "tests" / "releases"
MATTY = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
GENERAL = "550e8400-e29b-41d4-a716-446655440000"
OURS = ["-t", "public.*", "-t", "private.*", "-t", "auth.users"]


def fill(url: str) -> None:
    """Fill every table of a seeded database through the calls of clients."""
    chats = [
        conversation(message("a"), message("b", sent_at="2026-02-01T10:31:00Z"), external_id=f"chat {number}")
        for number in range(3)
    ]
    with psycopg.connect(url) as db:
        db.execute("select set_config('request.headers', %s, true)", [json.dumps({"x-api-key": "your-api-secret"})])
        (answer,) = db.execute(
            "select public.messaging_ingest(%s)::jsonb", [json.dumps(request(*chats)).encode()]
        ).fetchone()
    assert answer["success"] is True, answer
    said = [ask(url, MATTY, "create_message", channel_id=GENERAL, content=f"Message {number}") for number in range(3)]
    ask(url, MATTY, "edit_message", id=said[0]["id"], content="Message 0, better")
    ask(url, MATTY, "reply_to_message", id=said[0]["id"], content="A reply")
    ask(url, MATTY, "add_reaction", id=said[1]["id"], emoji="wave")
    ask(url, MATTY, "pin_message", id=said[1]["id"])
    ask(url, MATTY, "delete_message", id=said[2]["id"])


def record(url: str, binaries: Path, files: Sequence[Path]) -> str:
    """The record of a database (the superuser's URL) that has had these migrations."""
    command = [binaries / "pg_dump", "--data-only", "--disable-triggers", "--rows-per-insert=50", "--restrict-key=x"]
    # The key of cursors is a secret that each database makes itself.
    command += ["--on-conflict-do-nothing", "--exclude-table-data=private.inbox_cursor_key"]
    dump = subprocess.run([*command, *OURS, url], capture_output=True, text=True, check=True)
    # Skip psql commands, and settings that other Postgres versions may not know.
    statements = re.sub(
        r"^(--.*|\\.*|SET .*;|SELECT pg_catalog\.set_config.*;)?\n", "", dump.stdout, flags=re.MULTILINE
    )
    return "".join(f"-- {file.name} {checksum(file)}\n" for file in files) + statements


def checksum(file: Path) -> str:
    """Return the checksum of a migration."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def recorded_migrations(text: str) -> dict[str, str]:
    """The names and checksums of the migrations in a record."""
    return dict(re.findall(r"^-- (\S+\.sql) ([0-9a-f]{64})$", text, re.MULTILINE))


def restore(cluster: TestCluster, text: str, files: Sequence[Path]) -> str:
    """Create a database in the state of a release and return its name; `files` may contain its migrations."""
    database = cluster.create()
    cluster.install_platform(database)
    names = recorded_migrations(text)
    migrate(cluster, database, [file for file in files if file.name in names])
    with psycopg.connect(cluster.url(database)) as db:
        db.execute(text)
    return database


def migrate(cluster: TestCluster, database: str, files: Sequence[Path]) -> None:
    """Apply the missing migrations as postgres."""
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            (Path(folder) / file.name).write_bytes(file.read_bytes())
        cluster.migrate(database, Path(folder))


def read_tables(url: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, in one order."""
    with psycopg.connect(url) as db:
        tables = db.execute(
            "select relnamespace::regnamespace || '.' || quote_ident(relname) from pg_class"
            " where relnamespace in ('public'::regnamespace, 'private'::regnamespace) and relkind in ('r', 'p')"
        ).fetchall()
        return {
            table: [row for (row,) in db.execute(f"select to_jsonb(t) from {table} as t order by to_jsonb(t)")]
            for (table,) in tables
        }


def losses(before: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the tables that lost or changed rows; added rows do not count."""
    return [table for table, rows in before.items() if not _has(after.get(table), rows)]


def _has(rows: list[dict[str, Any]] | None, wanted: list[dict[str, Any]]) -> bool:
    if rows is None:
        return False
    names = set().union(*wanted)
    found = [json.dumps({name: row[name] for name in names if name in row}, sort_keys=True) for row in rows]
    return all(json.dumps(row, sort_keys=True) in found for row in wanted)


def date_changelog(text: str, version: str, day: date) -> str:
    """Return the changelog with its unreleased changes under a version, above them room for the next ones.

    Raises:
        ValueError: the version is there already, or nothing is unreleased.
    """
    head, mark, rest = text.partition("## Unreleased\n")
    if not mark or f"## {version} " in text or not rest.partition("\n## ")[0].strip():
        raise ValueError(f"CHANGELOG.md has {version} already, or nothing under Unreleased.")
    return f"{head}{mark}\n## {version} - {day}\n{rest}"


def list_versions() -> dict[str, str]:
    """Return the version of each file that states one."""
    patterns = {
        "api/threadline/__init__.py": r'__version__ = "(.+)"',
        "packages/follow-py/pyproject.toml": r'\nversion = "(.+)"',
        "packages/follow-js/package.json": r'"version": "(.+)"',
    }
    return {
        file: re.search(pattern, (schema.ROOT / file).read_text(encoding="utf-8"))[1]
        for file, pattern in patterns.items()
    }


def build_wheels(folder: Path) -> list[Path]:
    """Build the wheels that are uploaded."""
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder]
    subprocess.run([*command, schema.ROOT, schema.ROOT / "packages" / "follow-py"], check=True)
    return sorted(folder.glob("threadline*.whl"))


def main(version: str) -> None:
    """Make the release, and print the commands that publish it."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        sys.exit("Say which: make release version=0.1.0")
    if other := [file for file, stated in list_versions().items() if stated != version]:
        sys.exit(f"Set the version to {version} in {', '.join(other)}.")
    changelog = schema.ROOT / "CHANGELOG.md"
    try:
        dated = date_changelog(changelog.read_text(encoding="utf-8"), version, datetime.now(UTC).date())
    except ValueError as error:
        sys.exit(str(error))
    wheels = build_wheels(schema.ROOT / "dist")
    with data_folder() as folder, running(folder, None) as cluster:
        database = cluster.create()
        cluster.prepare(database)
        fill(cluster.url(database, "postgres"))
        text = record(cluster.url(database), cluster.binaries, sorted(schema.MIGRATIONS.glob("*.sql")))
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{version}.sql").write_text(text, encoding="utf-8")
    changelog.write_text(dated, encoding="utf-8")
    built = " ".join(str(wheel.relative_to(schema.ROOT)) for wheel in wheels)
    print(
        f"Written: CHANGELOG.md, tests/releases/{version}.sql, {built}\n\n"
        "Run `make test`. Then publish:\n\n"
        f"git add CHANGELOG.md tests/releases && git commit -m 'release: {version}' && git tag v{version}\n"
        f"git push origin main v{version}\n"
        f"pipx run twine upload {built}\n"
        "npm publish ./packages/follow-js\n"
        f"docker build -t threadline:{version} ."
    )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
