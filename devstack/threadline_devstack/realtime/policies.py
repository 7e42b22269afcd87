"""What the policies on `realtime.messages` allow a client. As Realtime does, try it and roll back.

Reading means seeing a row of the topic that another role wrote; writing means inserting one. Both are
tried as the client's role, with its claims, in a transaction that is rolled back.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

BROADCAST, PRESENCE = "broadcast", "presence"
# Realtime's own role: it owns the table, so no policy limits it, and it can become the API roles.
OWNER = "supabase_realtime_admin"
BECOME = """
select set_config('role', $1, true), set_config('realtime.topic', $2, true),
    set_config('request.jwt.claims', $3, true), set_config('request.jwt.claim.sub', $4, true),
    set_config('request.jwt.claim.role', $1, true), set_config('request.headers', $5, true)
"""
PROBE = "insert into realtime.messages (id, topic, extension) select * from unnest($1::uuid[], $2::text[], $3::text[])"
SEE = "select id from realtime.messages where id = any($1)"
TRY = "insert into realtime.messages (topic, extension) values ($1, $2)"
# The limit keeps the newest rows; the caller reverses them. The rows of one transaction
# have one time. Realtime reads them from an index in the order of writing, so they end up in the
# wrong order; a client that relies on their order must notice it here too.
PAST = """
select id, event, payload::text as payload, binary_payload
from realtime.messages
where topic = $1 and private and extension = 'broadcast'
    and inserted_at >= $2 and inserted_at < timezone('utc', now()) + interval '1 minute'
order by inserted_at desc, ctid
limit $3
"""
# Postgres sends a commit to the feed before other sessions see it. It releases this lock after they do.
WAIT_FOR_HIDDEN = "select pg_sleep(0.005) from pg_locks where transactionid::text = any($1) limit 1"
UNREACHABLE = "Realtime was unable to connect to the project database"
PATIENCE = 5.0  # seconds for a statement


class PolicyError(Exception):
    """A check that failed.

    Attributes:
        code: one of the documented error codes.
        message: a sentence for the client.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Asker:
    """A topic, the claims of a token, and the headers that policies may read."""

    topic: str
    claims: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> tuple[str, str, str, str | None, str]:
        """Return the session settings that policies read."""
        sub = self.claims.get("sub")
        headers = json.dumps(self.headers)
        return (self.claims["role"], self.topic, json.dumps(self.claims), None if sub is None else str(sub), headers)


class Policies:
    """Checks policies in the database of one stack.

    Args:
        database_url: with the login of the superuser, who becomes the owner of Realtime's tables at once.
    """

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._pool: asyncpg.Pool | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._pool:
            self._pool.terminate()

    async def readable(self, asker: Asker, extensions: Sequence[str]) -> set[str]:
        """Return the extensions that the asker may read; raise PolicyError."""
        probes = {uuid.uuid4(): extension for extension in extensions}
        async with self._undone() as connection:
            topics = [asker.topic] * len(probes)
            await connection.execute(PROBE, list(probes), topics, list(probes.values()))
            try:
                await connection.execute(BECOME, *asker.settings)
                seen = await connection.fetch(SEE, list(probes))
            except asyncpg.QueryCanceledError as error:
                raise PolicyError("QueryCanceled", "Query was cancelled, please try again") from error
            except asyncpg.PostgresError:  # a policy that raises allows nothing
                return set()
        return {probes[row["id"]] for row in seen}

    async def writable(self, asker: Asker, extensions: Sequence[str]) -> set[str]:
        """Return the extensions that the asker may write; raise PolicyError."""
        found = set()
        async with self._undone() as connection:
            try:
                await connection.execute(BECOME, *asker.settings)
                for extension in extensions:
                    try:
                        async with connection.transaction():
                            await connection.execute(TRY, asker.topic, extension)
                    except asyncpg.InsufficientPrivilegeError:
                        continue
                    found.add(extension)
            except asyncpg.QueryCanceledError as error:
                raise PolicyError("QueryCanceled", "Query was cancelled, please try again") from error
            except asyncpg.PostgresError:
                return set()
        return found

    async def past(self, topic: str, since: Any, limit: int, delivered: Sequence[int]) -> list[asyncpg.Record]:
        """Return the newest private broadcasts of a topic since a time (naive UTC), the oldest first.

        Waits until it sees the transactions that were delivered before.
        """
        async with self._undone() as connection, asyncio.timeout(PATIENCE):
            while await connection.fetch(WAIT_FOR_HIDDEN, list(map(str, delivered))):
                pass
            return list(reversed(await connection.fetch(PAST, topic, since, limit)))

    @asynccontextmanager
    async def _undone(self) -> AsyncIterator[asyncpg.Connection]:
        """Open a transaction that always rolls back."""
        if self._pool is None:  # the pool belongs to the loop that uses it
            settings = {"statement_timeout": f"{PATIENCE:.0f}s"}
            self._pool = asyncpg.create_pool(
                self._url, min_size=0, max_size=5, init=_become_owner, server_settings=settings
            )
        try:
            await self._pool
            async with self._pool.acquire(timeout=PATIENCE) as connection:
                transaction = connection.transaction()
                await transaction.start()
                try:
                    yield connection
                finally:
                    if not connection.is_closed():
                        await transaction.rollback()
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresError, TimeoutError) as error:
            raise PolicyError("UnableToConnectToProject", UNREACHABLE) from error


async def _become_owner(connection: asyncpg.Connection) -> None:
    await connection.execute(f"set session authorization {OWNER}")
