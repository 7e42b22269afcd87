"""Asks a database which names of Threadline it uses already, before `threadline add` writes a file."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from click import ClickException

_TAKEN = Path(__file__).with_name("taken_names.sql")


async def list_taken_names(url: str) -> set[str]:
    """Return the names in use; "Threadline" is among them if the database has it."""
    try:
        connection = await asyncpg.connect(url, timeout=10, command_timeout=30, statement_cache_size=0)
        try:
            return {name for (name,) in await connection.fetch(_TAKEN.read_text(encoding="utf-8"))}
        finally:
            connection.terminate()
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise ClickException(
            f"The database of --database-url cannot be read ({type(error).__name__}); "
            "give the URL of the database of your Supabase project."
        ) from error
