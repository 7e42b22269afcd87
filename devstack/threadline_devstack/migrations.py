"""Applies supabase/migrations and seed.sql, and records them as the Supabase CLI does."""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import asyncpg
import click

from threadline_devstack.errors import StackError
from threadline_devstack.statements import Statement, split

HISTORY = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
    version text not null primary key, statements text[], name text
);
create table if not exists supabase_migrations.seed_files (path text not null primary key, hash text not null);
"""
FILE_NAME = re.compile(r"([0-9]+)_(.*)\.sql")


class Migration(NamedTuple):
    """One file of supabase/migrations."""

    version: str
    name: str
    path: Path

    def statements(self) -> list[str]:
        """Return the statements that the history records."""
        return [statement.text for statement in split(self.path.read_text(encoding="utf-8"))]


def read_folder(folder: Path) -> list[Migration]:
    """Return the migrations of a folder in order of version; report the files that are not migrations."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        if match := FILE_NAME.fullmatch(path.name):
            found.append(Migration(match[1], match[2], path))
        else:
            click.echo(f"Skipping {path.name}: a migration is named <timestamp>_<name>.sql", err=True)
    return sorted(found)


async def migrate(connection: asyncpg.Connection, folder: Path) -> None:
    """Apply the pending migrations, each in one transaction.

    The connection is a session of role postgres. Raises StackError when a file fails, or when the history does
    not fit the folder.
    """
    await connection.execute(HISTORY)
    rows = await connection.fetch("select version, statements from supabase_migrations.schema_migrations")
    applied = {row["version"]: row["statements"] for row in rows}
    migrations = read_folder(folder)
    pending = [migration for migration in migrations if migration.version not in applied]
    _check_history(set(applied) - {migration.version for migration in migrations}, pending, max(applied, default=""))
    for migration in migrations:
        if migration in pending:
            await _apply(connection, migration)
        elif migration.statements() != applied[migration.version]:
            _advise(f"{migration.path.name} has changed since it was applied")


async def seed(connection: asyncpg.Connection, path: Path) -> None:
    """Run the seed file once; say so when it has changed since. Raises StackError when it fails."""
    if (script := _read(path)) is None:
        return
    digest = hashlib.sha256(script).hexdigest()
    known = await connection.fetchval("select hash from supabase_migrations.seed_files where path = $1", path.name)
    if known is None:
        click.echo(f"Seeding data from {path.name} ...", err=True)
        async with connection.transaction():
            await _run(connection, path.name, split(script.decode()))
            await connection.execute("insert into supabase_migrations.seed_files values ($1, $2)", path.name, digest)
    elif known != digest:
        _advise(f"{path.name} has changed since it was loaded")


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _check_history(unknown: set[str], pending: list[Migration], newest: str) -> None:
    if unknown:
        problem = f"The database has migrations that the folder does not have: {', '.join(sorted(unknown))}"
    elif late := [migration.path.name for migration in pending if migration.version < newest]:
        problem = f"Newer migrations were applied already: {', '.join(late)}"
    else:
        return
    raise StackError(f"{problem}; `threadline db reset` rebuilds the database.")


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    click.echo(f"Applying migration {migration.path.name} ...", err=True)
    await connection.execute("discard all")  # the file before may have set session settings
    async with connection.transaction():
        await _run(connection, migration.path.name, split(migration.path.read_text(encoding="utf-8")))
        await connection.execute(
            "insert into supabase_migrations.schema_migrations (version, name, statements) values ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.statements(),
        )


async def _run(connection: asyncpg.Connection, file: str, statements: list[Statement]) -> None:
    for statement in statements:
        try:
            await connection.execute(statement.text)
        except asyncpg.PostgresError as error:
            raise StackError(f"{file}, line {_line(statement, error)}: {_sentence(error)}") from error
        if not connection.is_in_transaction():
            raise StackError(f"{file}, line {statement.code_line}: a file is one transaction and must not end it.")


def _line(statement: Statement, error: asyncpg.PostgresError) -> int:
    if error.position is None:
        return statement.code_line
    return statement.first_line + statement.text.count("\n", 0, int(error.position) - 1)


def _sentence(error: asyncpg.PostgresError) -> str:
    parts = [error.message, error.detail, error.hint]
    return " ".join(part if part.endswith((".", "?")) else f"{part}." for part in parts if part)


def _advise(what: str) -> None:
    click.echo(f"Note: {what}; `threadline db reset` rebuilds the database.", err=True)
