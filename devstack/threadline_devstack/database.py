"""Fills the database: platform, migrations, seed; and rebuilds it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from threadline_devstack import keys, migrations, platform
from threadline_devstack.errors import StackError
from threadline_devstack.home import Home
from threadline_devstack.postgres import SUPERUSER
from threadline_devstack.project import Project

PASSWORDS = {"postgres": keys.DATABASE_PASSWORD, "authenticator": keys.DATABASE_PASSWORD}
SIGN_IN = """
with found as (
    select id, aud, role, email, phone, raw_app_meta_data, raw_user_meta_data, is_anonymous
    from auth.users
    where lower(email) = lower($1) and deleted_at is null
),

opened as (
    insert into auth.sessions (id, user_id, created_at, updated_at, refresh_token_counter)
    select gen_random_uuid(), found.id, now(), now(), 0 from found
    returning id
)

select found.*, opened.id as session
from found cross join opened
"""
NEXT, PREVIOUS = "threadline_next", "threadline_previous"


class Cluster:
    """The databases on a loopback port, for a process that can read the home."""

    def __init__(self, home: Home, port: int) -> None:
        self.home = home
        self.port = port

    @asynccontextmanager
    async def session(self, user: str, database: str = "postgres") -> AsyncIterator[asyncpg.Connection]:
        """Sign a role in for the length of the block."""
        password = self.home.superuser_password() if user == SUPERUSER else PASSWORDS[user]
        try:
            connection = await asyncpg.connect(
                host="127.0.0.1",
                port=self.port,
                user=user,
                password=password,
                database=database,
                ssl=False,
                statement_cache_size=0,  # migrations invalidate cached statements
            )
        except (OSError, asyncpg.PostgresError) as error:
            raise StackError(f"The database on port {self.port} does not let {user} in: {error}.") from error
        try:
            yield connection
        finally:
            await connection.close()

    async def prepare(self, project: Project, database: str = "postgres") -> None:
        """Install the platform and apply what is pending; without pending files this takes milliseconds."""
        async with self.session(SUPERUSER, database) as connection:
            await platform.install(connection, passwords=PASSWORDS)
        async with self.session("postgres", database) as connection:
            await migrations.migrate(connection, project.migrations)
            await migrations.seed(connection, project.seed)

    async def reset(self, project: Project) -> None:
        """Replace the database with a new one; if a migration fails, the old one stays.

        All clients are disconnected once, at the end.
        """
        async with self.session(SUPERUSER, "template1") as connection:
            for name in (NEXT, PREVIOUS):  # left by an interrupted reset
                await connection.execute(f"drop database if exists {name} with (force)")
            await connection.execute(f"create database {NEXT}")
        await self.prepare(project, NEXT)
        await self._swap()

    async def _swap(self) -> None:
        async with self.session(SUPERUSER, "template1") as one, self.session(SUPERUSER, "template1") as two:
            # Renaming locks out new clients, then waits for the old ones: terminate those meanwhile.
            # In the other order, a client could reconnect before the lock.
            renaming = asyncio.create_task(self._rename(one))
            while not renaming.done():
                await two.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = any($1)", ["postgres", NEXT]
                )
                await asyncio.wait([renaming], timeout=0.02)
            await renaming
            await two.execute(f"drop database {PREVIOUS} with (force)")

    async def _rename(self, connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            await connection.execute(f"alter database postgres rename to {PREVIOUS}")
            await connection.execute(f"alter database {NEXT} rename to postgres")

    async def sign_in(self, email: str) -> Mapping[str, Any]:
        """Open a session for a user and return their row with its id; raise StackError if no user has the address."""
        async with self.session("postgres") as connection:
            try:
                row = await connection.fetchrow(SIGN_IN, email)
            except asyncpg.UndefinedTableError as error:
                message = "This database is of an earlier version: run `threadline db reset` to rebuild it."
                raise StackError(message) from error
        if row is None:
            raise StackError(f"No user has the address {email}.")
        return row
