"""Gives a plain Postgres (15 to 18) what a Supabase project has before the first migration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import asyncpg


def _statements(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _files(default_privileges: str) -> list[str]:
    names = sorted(path.name for path in Path(__file__).parent.glob("*.sql"))
    if default_privileges == "legacy":
        names.remove("41_explicit_privileges.sql")
    return names


async def install(
    connection: asyncpg.Connection,
    *,
    passwords: Mapping[str, str] | None = None,
    default_privileges: Literal["explicit", "legacy"] = "explicit",
) -> bool:
    """Make the connected database look like a Supabase project's, in one transaction.

    Args:
        connection: the bootstrap superuser, who must be called `supabase_admin`.
        passwords: of login roles (`postgres`, `authenticator`), set only when something is installed.
        default_privileges: whether new objects in `public` are closed to the API roles until granted
            ("explicit", projects since 2026) or open to them ("legacy").

    Returns:
        Whether anything was installed. A database that has it already gets only what a copy of a template
        lacks: its owner and its settings.

    """
    async with connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(hashtext('threadline.platform'))")
        if await connection.fetchval("select to_regnamespace('auth') is not null"):
            await connection.execute(_statements("20_database.sql"))
            return False
        for name in _files(default_privileges):
            await connection.execute(_statements(name))
        for role, password in (passwords or {}).items():
            statement = await connection.fetchval(
                "select format('alter role %I password %L', $1::text, $2::text)", role, password
            )
            await connection.execute(statement)
        return True
