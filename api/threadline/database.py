"""The one way to Postgres: a function of the gateway, called in a single statement."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import asyncpg

from threadline import logs, metrics
from threadline.settings import Settings

logger = logging.getLogger(__name__)

# sql/800_gateway.sql. One statement is one transaction, so this holds behind a transaction pooler too.
_CALL = "select status, headers, body from private.call($1, $2, $3, $4, $5, $6)"

# Nobody's fault, and nothing happened: another transaction was in the way.
_LOST_A_RACE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,  # a thread or its owner was deleted in the middle
)
# The connection broke, or Postgres has no room or is restarting: whether anything happened is unknown.
_LOST_TOUCH = (
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # as on Supabase when the disk is full, or on a standby
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # of a connection to which Postgres has said its last
    OSError,
    TimeoutError,
)
_seconds = cache(metrics.CALL_SECONDS.labels)
_LOST_BROADCAST = "01TL1"  # sql/301_broadcasts.sql: its detail is the SQLSTATE of why


class DatabaseUnavailableError(Exception):
    """Postgres could not serve a call, nor the same call a second time; a later one may succeed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a function answers: an HTTP status, headers and a JSON text."""

    status: int
    headers: dict[str, str]
    body: bytes


class Database:
    """A pool of connections that calls the functions of `sql/` as their caller.

    Args:
        settings: where Postgres is and how it is reached.
    """

    def __init__(self, settings: Settings) -> None:
        self._pool = asyncpg.create_pool(
            settings.database_url,
            min_size=0,
            max_size=settings.pool_size,
            connection_class=_Connection,
            timeout=3,  # to connect; a Postgres out of reach often does not even refuse
            command_timeout=30,
            # Behind a transaction pooler the next statement may meet a server that has not prepared it.
            statement_cache_size=0 if settings.transaction_pooler else 100,
            # Every setting of a call ends with its transaction: there is nothing to clean up after it.
            reset=_nothing_to_reset,
            server_settings={"application_name": "threadline"},
        )

    async def __aenter__(self) -> Database:
        """Make the pool ready; connections are opened when they are needed."""
        await self._pool
        metrics.POOL_SIZE.set(self._pool.get_max_size())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections, in the end forcibly."""
        self._pool.terminate()

    async def call(
        self,
        function: str,
        *,
        role: str,
        headers: Mapping[str, str],
        body: bytes,
        claims: str | None = None,
        parameters: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> Reply:
        """Call one of the functions that the gateway knows.

        Args:
            function: its name, such as "messaging_ingest".
            role: whom the database takes the caller for: anon, authenticated or service_role.
            headers: those of the request that the function reads, with lower-case names; the request's id is added.
            body: its argument.
            claims: of the caller's verified token, as JSON.
            parameters: of the request's path and query.
            repeatable: whether it does no harm if the function has done its work already when the connection breaks.

        Raises:
            DatabaseUnavailableError: Postgres was out of reach or busy, and again at a second try if there was one.
        """
        if own_id := logs.request_id.get():
            headers = {**headers, "x-request-id": own_id}
        arguments = (
            function,
            role,
            claims or json.dumps({"role": role}),
            json.dumps(headers),
            json.dumps(parameters or {}),
            body,
        )
        try:
            return await self._call(arguments)
        except (*_LOST_A_RACE, *_LOST_TOUCH) as error:
            _note(function, error)
            if not repeatable and not isinstance(error, _LOST_A_RACE):
                raise DatabaseUnavailableError from error
        try:
            return await self._call(arguments)
        except (*_LOST_A_RACE, *_LOST_TOUCH) as error:
            _note(function, error)
            raise DatabaseUnavailableError from error

    async def ask(self, function: str, **argument: Any) -> Any:
        """Call a function as the service itself, and return the data of its answer.

        Raises:
            DatabaseUnavailableError: as `call` does, or the function refused.
        """
        reply = await self.call(function, role="service_role", headers={}, body=json.dumps(argument).encode())
        if reply.status != 200:
            raise DatabaseUnavailableError(f"{function} answered {reply.status}")
        return json.loads(reply.body)["data"]

    async def _call(self, arguments: tuple[str | bytes, ...]) -> Reply:
        began = time.perf_counter()
        async with self._pool.acquire(timeout=10) as connection:
            lent = time.perf_counter()
            metrics.WAIT_SECONDS.observe(lent - began)
            metrics.CALLS_UNDER_WAY.inc()
            try:
                row = await connection.fetchrow(_CALL, *arguments)
            finally:
                metrics.CALLS_UNDER_WAY.dec()
                _seconds(arguments[0]).observe(time.perf_counter() - lent)
        return Reply(row["status"], json.loads(row["headers"]), row["body"].encode())

    async def is_answering(self) -> bool:
        """Whether Postgres answers a query within two seconds."""
        try:
            async with asyncio.timeout(2), self._pool.acquire(timeout=10) as connection:
                return (await connection.fetchrow("select true"))[0]
        except (asyncpg.PostgresError, *_LOST_TOUCH):
            return False


class _Connection(asyncpg.Connection):
    async def fetchrow(self, *arguments: Any, **options: Any) -> asyncpg.Record:
        try:
            return await super().fetchrow(*arguments, **options)
        except asyncpg.InternalClientError:
            # The pool takes it for a good one, and would lend it to the next.
            self.terminate()
            raise

    def _process_log_message(self, fields: dict[str, str], _query: str) -> None:
        # A broadcast that fails must not fail what it tells of: Postgres warns and goes on. No listener hears it,
        # since it would have to be added and removed for each call: the pool suspects those that stay.
        if fields["C"] == _LOST_BROADCAST:
            metrics.LOST_BROADCASTS.inc()
            logger.warning("A broadcast was lost: %s", fields.get("D"))


def _note(function: str, error: Exception) -> None:
    # The name of the error only: its text may quote what the caller sent.
    logger.warning("%s failed with %s", function, type(error).__name__)
    metrics.CALL_FAILURES.labels(type(error).__name__).inc()


async def _nothing_to_reset(_: asyncpg.Connection) -> None:
    pass
