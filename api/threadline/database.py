"""The only way to Postgres: one function of the gateway, called in one statement."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import asyncpg
import msgspec

from threadline import logs, metrics
from threadline.connections import Connections
from threadline.settings import Settings
from threadline.shares import Shares
from threadline.tokens import SERVICE, Caller
from threadline.turns import Turns

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
# Postgres or the service has cancelled the statement, or no connection got free: a retry would cost the same again.
_TOOK_TOO_LONG = (asyncpg.QueryCanceledError, TimeoutError)
_seconds = cache(metrics.CALL_SECONDS.labels)


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
        self._pool = Connections(settings, settings.pool_size)
        # Apart, so that /health and /metrics answer while the other pool is full: one connection for each of them.
        self._own_pool = Connections(settings, 2)
        self._shares = Shares(settings.pool_size)
        self._turns = Turns()
        self._check: asyncio.Task[bool] | None = None
        self._measuring = asyncio.Lock()

    async def __aenter__(self) -> Database:
        """Start the pools. They connect when the first call needs a connection."""
        await self._pool.open()
        await self._own_pool.open()
        metrics.POOL_SIZE.set(self._pool.size)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections at once."""
        self._pool.terminate()
        self._own_pool.terminate()

    async def call(
        self,
        function: str,
        *,
        caller: Caller = SERVICE,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        body: bytes | Mapping[str, Any] = b"",
        repeatable: bool = True,
        owners: Sequence[str] = (),
    ) -> Reply:
        """Call a function of the gateway, and once more if that may help.

        A call of a user waits for a place in the user's share of the pool. If it fails, the user's rate limit counts
        it: Postgres has undone the count together with the call.

        Args:
            function: its name, such as "messaging_ingest".
            caller: its role and claims.
            headers: the request headers that the function reads, in lower case. The request id is added.
            parameters: from the path and the query.
            body: the argument, as bytes or as an object to encode.
            repeatable: whether a second call is harmless if the first may have been committed.
            owners: their shares of the pool are taken too, beside the user's; see `shares.py`.

        Raises:
            DatabaseUnavailableError: Postgres was unreachable or busy.
            TooManyAtOnceError: an owner has too many calls under way.
        """
        if own_id := logs.request_id.get():
            headers = {**(headers or {}), "x-request-id": own_id}
        arguments = (
            function,
            caller.role,
            caller.claims,
            msgspec.json.encode(headers).decode() if headers else "{}",
            msgspec.json.encode(parameters).decode() if parameters else "{}",
            body if isinstance(body, bytes) else json.dumps(body).encode(),
        )
        if caller.user_id:
            owners = (caller.user_id, *owners)
        await self._shares.take(*owners)
        try:
            return await self._call_twice(arguments, repeatable, caller.user_id)
        except Exception:
            if caller.user_id:
                await self._count_failure(caller)
            raise
        finally:
            self._shares.give_back(*owners)

    async def _call_twice(self, arguments: tuple[str | bytes, ...], repeatable: bool, user_id: str | None) -> Reply:
        function, *_, parameters, body = arguments
        for is_last in (False, True):
            try:
                async with self._turns.wait(function, user_id, parameters, body) as turn:
                    reply = await self._call(self._pool, arguments)
                    turn.has_written = reply.status < 300
                    return reply
            except (*_LOST_A_RACE, *_LOST_TOUCH) as error:
                # The error's text may quote what the caller sent, so only its name is logged.
                logger.warning("%s failed with %s", function, type(error).__name__)
                metrics.CALL_FAILURES.labels(type(error).__name__).inc()
                may_help = isinstance(error, _LOST_A_RACE) or (repeatable and not isinstance(error, _TOOK_TOO_LONG))
                if is_last or not may_help:
                    raise DatabaseUnavailableError from error
                # Random, so that two victims of one deadlock do not meet again.
                await asyncio.sleep(random.uniform(0.02, 0.1))  # noqa: S311
        raise AssertionError

    async def _count_failure(self, caller: Caller) -> None:
        try:
            async with asyncio.timeout(5):
                await self._call_plainly("spend_failed_request", self._pool, caller)
        except (asyncpg.PostgresError, *_LOST_TOUCH) as error:
            logger.warning("Cannot count a failed request: %s", type(error).__name__)

    async def ask(self, function: str, **argument: Any) -> Any:
        """Call a function as service_role. Return the data of its answer, or raise DatabaseUnavailableError."""
        reply = await self.call(function, body=argument)
        if reply.status != 200:
            raise DatabaseUnavailableError(f"{function} answered {reply.status}")
        return reply.read()["data"]

    async def _call_plainly(self, function: str, pool: Connections, caller: Caller) -> Reply:
        return await self._call(pool, (function, caller.role, caller.claims, "{}", "{}", b""))

    async def _call(self, pool: Connections, arguments: tuple[str | bytes, ...]) -> Reply:
        began = time.perf_counter()
        async with pool.lend() as connection:
            acquired = time.perf_counter()
            metrics.WAIT_SECONDS.observe(acquired - began)
            metrics.CALLS_UNDER_WAY.inc()
            try:
                row = await connection.fetchrow(_CALL, *arguments)
            finally:
                metrics.CALLS_UNDER_WAY.dec()
                _seconds(arguments[0]).observe(time.perf_counter() - acquired)
        return Reply(row["status"], msgspec.json.decode(row["headers"]), row["body"].encode())

    async def read_metrics(self) -> list[dict[str, Any]]:
        """Measure the database; return nothing if it does not answer, which the counters of failed calls show."""
        try:
            async with self._measuring:
                return (await self._call_plainly("read_metrics", self._own_pool, SERVICE)).read()["data"]
        except (asyncpg.PostgresError, *_LOST_TOUCH) as error:
            metrics.CALL_FAILURES.labels(type(error).__name__).inc()
            return []

    async def is_answering(self) -> bool:
        """Return whether Postgres answers a query within two seconds. Many callers share one query."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._is_answering())
        return await asyncio.shield(self._check)

    async def _is_answering(self) -> bool:
        try:
            async with asyncio.timeout(2), self._own_pool.lend() as connection:
                return (await connection.fetchrow("select true"))[0]
        except (asyncpg.PostgresError, *_LOST_TOUCH):
            return False
