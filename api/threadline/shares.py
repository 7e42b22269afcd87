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
        held: list[str] = []
        try:
            for owner in owners:
                await self._take(owner)
                held.append(owner)
            yield
        finally:
            for owner in reversed(held):
                self._shares[owner].free.release()
                self._leave(owner)

    async def _take(self, owner: str) -> None:
        size = self._sizes.get(owner, self._size)
        share = self._shares.get(owner)
        if share is None:
            share = self._shares[owner] = _Share(size)
        elif share.calls >= size + QUEUE:
            raise TooManyAtOnceError
        share.calls += 1
        if not share.free.locked():
            await share.free.acquire()  # does not wait
            return
        try:
            async with asyncio.timeout(PATIENCE):
                await share.free.acquire()
        except BaseException as error:
            self._leave(owner)
            if isinstance(error, TimeoutError):
                raise TooManyAtOnceError from None
            raise

    def _leave(self, owner: str) -> None:
        share = self._shares[owner]
        share.calls -= 1
        if not share.calls:
            del self._shares[owner]
