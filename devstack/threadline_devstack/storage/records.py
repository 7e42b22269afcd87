"""Buckets and objects as rows. Callers read and write them in their own role, so that policies decide."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from threadline_devstack.storage import refusals
from threadline_devstack.storage.tokens import SERVICE, Caller

ACT = """
select set_config('role', $1, true), set_config('request.jwt.claims', $2, true),
    set_config('storage.operation', $3, true), set_config('storage.allow_delete_query', 'true', true)
"""
STORE = """
insert into storage.objects (bucket_id, name, owner, owner_id, version, metadata, user_metadata)
values ($1, $2, $3, $4, $5, $6, $7)
"""
REPLACE = """
on conflict (bucket_id, name) do update set
    owner = excluded.owner, owner_id = excluded.owner_id, version = excluded.version,
    metadata = excluded.metadata, user_metadata = excluded.user_metadata
"""
FIND = "select * from storage.objects where bucket_id = $1 and name = any($2)"
REMOVE = "delete from storage.objects where bucket_id = $1 and name = any($2) returning *"
LIST = "select * from storage.objects where bucket_id = $1 and starts_with(name, $2)"


@dataclass(frozen=True)
class Draft:
    """An object to store."""

    bucket: str
    name: str
    version: str
    owner: str | None
    metadata: dict[str, Any]
    user_metadata: dict[str, Any]

    @property
    def values(self) -> tuple[Any, ...]:
        """Return the arguments of the statements."""
        return (self.bucket, self.name, self.owner, self.owner, self.version, self.metadata, self.user_metadata)


class Records:
    """The tables of Storage in a stack's database.

    Args:
        database_url: with the login of `authenticator`, which can become every caller and the service.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._pool: asyncpg.Pool | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._pool:
            self._pool.terminate()

    @asynccontextmanager
    async def acting(self, caller: Caller, operation: str) -> AsyncIterator[asyncpg.Connection]:
        """Act as the caller in one transaction; raise Refusal if the database does not allow it."""
        if self._pool is None:  # the pool belongs to the loop that uses it
            self._pool = asyncpg.create_pool(self._url, min_size=0, max_size=10, init=_read_json, command_timeout=30)
        await self._pool
        try:
            async with self._pool.acquire(timeout=10) as connection, connection.transaction():
                await connection.execute(ACT, caller.role, json.dumps(caller.claims), f"storage.{operation}")
                yield connection
        except asyncpg.InsufficientPrivilegeError as error:
            raise refusals.access_denied() from error
        except asyncpg.UniqueViolationError as error:
            raise refusals.exists_already() from error

    async def bucket(self, bucket: str, caller: Caller = SERVICE) -> asyncpg.Record:
        """Return the row of a bucket; raise Refusal if this caller sees none."""
        async with self.acting(caller, "bucket.get") as connection:
            row = await connection.fetchrow("select * from storage.buckets where id = $1", bucket)
        if row is None:
            raise refusals.no_bucket()
        return row

    async def buckets(self, caller: Caller) -> list[asyncpg.Record]:
        """Return the buckets that the caller can see."""
        async with self.acting(caller, "bucket.list") as connection:
            return await connection.fetch("select * from storage.buckets order by name")

    async def create_bucket(self, caller: Caller, wanted: dict[str, Any]) -> None:
        """Create a bucket as the caller."""
        async with self.acting(caller, "bucket.create") as connection:
            await connection.execute(
                """
                insert into storage.buckets (id, name, owner, owner_id, public, file_size_limit, allowed_mime_types)
                values ($1, $2, $3, $4, $5, $6, $7)
                """,
                wanted["id"],
                wanted["name"],
                caller.owner,
                caller.owner,
                wanted.get("public", False),
                wanted.get("file_size_limit"),
                wanted.get("allowed_mime_types"),
            )

    async def find(self, caller: Caller, operation: str, bucket: str, names: Sequence[str]) -> list[asyncpg.Record]:
        """Return the objects of these names that the caller can see."""
        async with self.acting(caller, operation) as connection:
            return await connection.fetch(FIND, bucket, list(names))

    async def find_below(self, caller: Caller, bucket: str, prefix: str) -> list[asyncpg.Record]:
        """Return the objects below a folder that the caller can see."""
        async with self.acting(caller, "object.list") as connection:
            return await connection.fetch(LIST, bucket, prefix)

    async def remove(self, caller: Caller, operation: str, bucket: str, names: Sequence[str]) -> list[asyncpg.Record]:
        """Remove those of the objects that the caller can see and may remove; return them."""
        async with self.acting(caller, operation) as connection:
            return await connection.fetch(REMOVE, bucket, list(names))

    async def probe(self, caller: Caller, draft: Draft, *, replace: bool) -> None:
        """Raise Refusal unless the caller may store this; roll back."""
        async with self.acting(caller, "object.upload") as connection:
            trial = connection.transaction()
            await trial.start()
            await connection.execute(STORE + REPLACE if replace else STORE, *draft.values)
            await trial.rollback()

    async def store(self, draft: Draft, *, replace: bool) -> tuple[str, str | None]:
        """Store this as the service, after `probe`; return its id and the version that it replaces."""
        async with self.acting(SERVICE, "object.upload") as connection:
            before = await connection.fetchval(
                "select version from storage.objects where bucket_id = $1 and name = $2 for update",
                draft.bucket,
                draft.name,
            )
            statement = (STORE + REPLACE if replace else STORE) + " returning id"
            return str(await connection.fetchval(statement, *draft.values)), before


async def _read_json(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
