"""Connections to Postgres, each lent to one call at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncpg

from threadline import metrics
from threadline.settings import Settings

logger = logging.getLogger(__name__)

PATIENCE = 10  # seconds that a call waits for a connection
KEPT = 60  # seconds after which all unused connections go back to asyncpg, which closes those that stay unused
_LOST_BROADCAST = "01TL1"  # sql/040_realtime.sql warns with it; its detail is the SQLSTATE of the cause


class Connections:
    """A pool of asyncpg that keeps free connections for the next call.

    asyncpg itself starts a task and several timers for each call: a tenth of the CPU time of a create.
    """

    def __init__(self, settings: Settings, size: int) -> None:
        self.size = size
        self._pool = asyncpg.create_pool(
            **settings.connection(),
            min_size=0,
            max_size=size,
            connection_class=_Connection,
            timeout=3,  # to connect: an unreachable Postgres often does not refuse
            command_timeout=30,
            # Behind a transaction pooler, the next statement may reach a server that has not prepared it.
            statement_cache_size=0 if settings.transaction_pooler else 100,
            # All settings of a call end with its transaction, so there is nothing to reset.
            reset=_reset_nothing,
            server_settings={"application_name": "threadline"},
        )
        self._places = asyncio.Semaphore(size)  # one for each connection that may be lent
        self._free: list[asyncpg.Connection] = []  # the last one was used last
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Future[Any] | None = None

    async def open(self) -> None:
        """Start the pool. It connects when the first call needs a connection."""
        await self._pool

    def terminate(self) -> None:
        """Close all connections at once."""
        if self._timer:
            self._timer.cancel()
        self._pool.terminate()

    def lend(self) -> _Loan:
        """Lend a connection for a block. Raise TimeoutError if none gets free."""
        return _Loan(self)

    async def take(self) -> asyncpg.Connection:
        """Take a connection, which the caller gives back. Raise TimeoutError if none gets free."""
        if self._places.locked():
            async with asyncio.timeout(PATIENCE):
                await self._places.acquire()
        else:
            await self._places.acquire()
        try:
            while self._free:
                if _is_open(connection := self._free.pop()):
                    return connection
                await self._pool.release(connection)
            return await self._pool.acquire(timeout=PATIENCE)
        except BaseException:
            self._places.release()
            raise

    async def give_back(self, connection: asyncpg.Connection, has_failed: bool) -> None:
        """Keep a connection for the next call, unless asyncpg must clean up after a failure."""
        try:
            if has_failed:
                await self._pool.release(connection, timeout=PATIENCE)
            else:
                self._free.append(connection)
        finally:
            self._places.release()
        if self._free and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEPT, self._let_go)

    def _let_go(self) -> None:
        self._timer = None
        free, self._free = self._free, []
        self._leaving = asyncio.gather(*map(self._pool.release, free), return_exceptions=True)


class _Loan:
    __slots__ = ("_connection", "_connections")

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def __aenter__(self) -> asyncpg.Connection:
        self._connection = await self._connections.take()
        return self._connection

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind and issubclass(kind, asyncpg.InternalClientError) and _is_open(self._connection):
            # Without this asyncpg would lend the dead connection again.
            self._connection.terminate()
        await self._connections.give_back(self._connection, kind is not None)


def _is_open(connection: asyncpg.Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:
        return False  # Postgres has ended it, so asyncpg has taken it back


class _Connection(asyncpg.Connection):
    def _process_log_message(self, fields: dict[str, str], _query: str) -> None:
        # Postgres warns of a failed broadcast and goes on. Overridden instead of add_log_listener, because the pool
        # removes listeners after each call.
        if fields["C"] == _LOST_BROADCAST:
            metrics.LOST_BROADCASTS.inc()
            logger.warning("A broadcast was lost; clients get it when they catch up: %s", fields.get("D"))


async def _reset_nothing(_: asyncpg.Connection) -> None:
    pass
