"""Limits how many database connections one user holds, so that the others always find one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PATIENCE = 10  # seconds that a call waits for its turn
QUEUE = 100  # calls of one owner that wait at most, because each holds its body in memory
INGEST = "ingest"  # the owner of all ingest together; a user may own many API keys


class TooManyAtOnceError(Exception):
    """The owner has too many calls under way."""


class _Share:
    def __init__(self, size: int) -> None:
        self.free = asyncio.Semaphore(size)
        self.calls = 0  # that hold or wait


class Shares:
    """Shares of a pool: a quarter for each owner, half for all of ingest. Owners without calls cost no memory."""

    def __init__(self, pool_size: int) -> None:
        self._size = max(1, pool_size // 4)
        self._sizes = {INGEST: max(1, pool_size // 2)}
        self._shares: dict[str, _Share] = {}

    @asynccontextmanager
    async def hold(self, *owners: str) -> AsyncIterator[None]:
        """Hold a place in the share of each owner for the block. Raise TooManyAtOnceError if none gets free."""
        if not owners:
            yield
            return
        async with self._hold_one(owners[0]), self.hold(*owners[1:]):
            yield

    @asynccontextmanager
    async def _hold_one(self, owner: str) -> AsyncIterator[None]:
        size = self._sizes.get(owner, self._size)
        share = self._shares.setdefault(owner, _Share(size))
        if share.calls >= size + QUEUE:
            raise TooManyAtOnceError
        share.calls += 1
        try:
            try:
                async with asyncio.timeout(PATIENCE if share.free.locked() else None):
                    await share.free.acquire()
            except TimeoutError:
                raise TooManyAtOnceError from None
            try:
                yield
            finally:
                share.free.release()
        finally:
            share.calls -= 1
            if not share.calls:
                del self._shares[owner]
