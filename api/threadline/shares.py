"""Limits how many database connections one user holds, so that the others always find one."""

from __future__ import annotations

import asyncio

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

    async def take(self, *owners: str) -> None:
        """Take a place in the share of each owner, or raise TooManyAtOnceError and take none."""
        taken = 0
        try:
            for owner in owners:
                await self._take(owner)
                taken += 1
        except BaseException:
            self.give_back(*owners[:taken])
            raise

    def give_back(self, *owners: str) -> None:
        """Give back what `take` took for the same owners."""
        for owner in owners:
            share = self._shares[owner]
            share.free.release()
            self._leave(owner, share)

    async def _take(self, owner: str) -> None:
        size = self._sizes.get(owner, self._size)
        if (share := self._shares.get(owner)) is None:
            share = self._shares[owner] = _Share(size)
        if share.calls >= size + QUEUE:
            raise TooManyAtOnceError
        share.calls += 1
        try:
            if share.calls > size:
                async with asyncio.timeout(PATIENCE):
                    await share.free.acquire()
            else:
                await share.free.acquire()  # without a timeout, which costs more than the rest of this function
        except TimeoutError:
            self._leave(owner, share)
            raise TooManyAtOnceError from None
        except asyncio.CancelledError:
            self._leave(owner, share)
            raise

    def _leave(self, owner: str, share: _Share) -> None:
        share.calls -= 1
        if not share.calls:
            del self._shares[owner]
