"""The only way to Postgres: one function of the gateway, called in one statement."""

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
from threadline.tokens import SERVICE, Caller

logger = logging.getLogger(__name__)

# sql/800_gateway.sql. One statement is one transaction, so a transaction pooler can be in between.
_CALL = "select status, headers, body from private.call($1, $2, $3, $4, $5, $6)"

# Another transaction was in the way and this one is rolled back: a retry is safe.
_LOST_A_RACE = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
    asyncpg.ForeignKeyViolationError,  # a row was deleted by a concurrent transaction
)
# The connection broke, or Postgres is full or restarting: the transaction may be committed or not.
_LOST_TOUCH = (
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,  # Supabase with a full disk, or a standby
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the driver meets a connection that Postgres has ended
    OSError,
    TimeoutError,
)
_seconds = cache(metrics.CALL_SECONDS.labels)
_LOST_BROADCAST = "01TL1"  # sql/301_broadcasts.sql warns with it; its detail is the SQLSTATE of the cause


class DatabaseUnavailableError(Exception):
    """Postgres did not serve a call; a later call may succeed."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer of a function: an HTTP status, headers and a JSON text."""

    status: int
    headers: dict[str, str]
    body: bytes

    def read(self) -> dict[str, Any]:
        """Parse the body."""
        return json.loads(self.body)


class Database:
    """A pool of connections that calls functions of `sql/` as the caller of a request."""

    def __init__(self, settings: Settings) -> None:
        self._pool = asyncpg.create_pool(
            **settings.connection(),
            min_size=0,
            max_size=settings.pool_size,
            connection_class=_Connection,
            timeout=3,  # to connect: an unreachable Postgres often does not refuse
            command_timeout=30,
            # Behind a transaction pooler, the next statement may reach a server that has not prepared it.
            statement_cache_size=0 if settings.transaction_pooler else 100,
            # All settings of a call end with its transaction, so there is nothing to reset.
            reset=_reset_nothing,
            server_settings={"application_name": "threadline"},
        )

    async def __aenter__(self) -> Database:
        """Start the pool. It connects when the first call needs a connection."""
        await self._pool
        metrics.POOL_SIZE.set(self._pool.get_max_size())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections at once."""
        self._pool.terminate()

    async def call(
        self,
        function: str,
        *,
        caller: Caller = SERVICE,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        body: bytes | Mapping[str, Any] = b"",
        repeatable: bool = True,
    ) -> Reply:
        """Call a function of the gateway, and once more if that may help.

        Args:
            function: its name, such as "messaging_ingest".
            caller: its role and claims.
            headers: the request headers that the function reads, in lower case. The request id is added.
            parameters: from the path and the query.
            body: the argument, as bytes or as an object to encode.
            repeatable: whether a second call is harmless if the first may have been committed.

        Raises:
            DatabaseUnavailableError: Postgres was unreachable or busy.
        """
        if own_id := logs.request_id.get():
            headers = {**(headers or {}), "x-request-id": own_id}
        arguments = (
            function,
            caller.role,
            caller.claims,
            json.dumps(headers or {}),
            json.dumps(parameters or {}),
            body if isinstance(body, bytes) else json.dumps(body).encode(),
        )
        for is_last in (False, True):
            try:
                return await self._call(arguments)
            except (*_LOST_A_RACE, *_LOST_TOUCH) as error:
                # The error's text may quote what the caller sent, so only its name is logged.
                logger.warning("%s failed with %s", function, type(error).__name__)
                metrics.CALL_FAILURES.labels(type(error).__name__).inc()
                if is_last or not (repeatable or isinstance(error, _LOST_A_RACE)):
                    raise DatabaseUnavailableError from error
        raise AssertionError

    async def ask(self, function: str, **argument: Any) -> Any:
        """Call a function as service_role. Return the data of its answer, or raise DatabaseUnavailableError."""
        reply = await self.call(function, body=argument)
        if reply.status != 200:
            raise DatabaseUnavailableError(f"{function} answered {reply.status}")
        return reply.read()["data"]

    async def _call(self, arguments: tuple[str | bytes, ...]) -> Reply:
        began = time.perf_counter()
        async with self._pool.acquire(timeout=10) as connection:
            acquired = time.perf_counter()
            metrics.WAIT_SECONDS.observe(acquired - began)
            metrics.CALLS_UNDER_WAY.inc()
            try:
                row = await connection.fetchrow(_CALL, *arguments)
            finally:
                metrics.CALLS_UNDER_WAY.dec()
                _seconds(arguments[0]).observe(time.perf_counter() - acquired)
        return Reply(row["status"], json.loads(row["headers"]), row["body"].encode())

    async def is_answering(self) -> bool:
        """Return whether Postgres answers a query within two seconds."""
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
            # Without this the pool would lend the dead connection again.
            self.terminate()
            raise

    def _process_log_message(self, fields: dict[str, str], _query: str) -> None:
        # Postgres warns of a failed broadcast and goes on. Overridden instead of add_log_listener, because the pool
        # removes listeners after each call.
        if fields["C"] == _LOST_BROADCAST:
            metrics.LOST_BROADCASTS.inc()
            logger.warning("A broadcast was lost; clients get it when they catch up: %s", fields.get("D"))


async def _reset_nothing(_: asyncpg.Connection) -> None:
    pass
