"""Limits how many database connections one user holds, so that the others always find one."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

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

    def hold(self, *owners: str) -> _Places:
        """Hold a place in the share of each owner for a block. Raise TooManyAtOnceError if none gets free."""
        return _Places(self, owners)

    async def take(self, owner: str) -> None:
        """Take a place in the share of an owner, or raise TooManyAtOnceError."""
        size = self._sizes.get(owner, self._size)
        if (share := self._shares.get(owner)) is None:
            share = self._shares[owner] = _Share(size)
        if share.calls >= size + QUEUE:
            raise TooManyAtOnceError
        share.calls += 1
        try:
            # A timeout costs more than the rest of this function, so only calls that wait have one.
            async with asyncio.timeout(PATIENCE) if share.free.locked() else nullcontext():
                await share.free.acquire()
        except TimeoutError:
            self._leave(owner, share)
            raise TooManyAtOnceError from None
        except asyncio.CancelledError:
            self._leave(owner, share)
            raise

    def give_back(self, owner: str) -> None:
        """Give a place back."""
        share = self._shares[owner]
        share.free.release()
        self._leave(owner, share)

    def _leave(self, owner: str, share: _Share) -> None:
        share.calls -= 1
        if not share.calls:
            del self._shares[owner]


class _Places:
    # A class, because a generator with @asynccontextmanager takes several times as long.
    __slots__ = ("_owners", "_shares", "_taken")

    def __init__(self, shares: Shares, owners: tuple[str, ...]) -> None:
        self._shares, self._owners, self._taken = shares, owners, 0

    async def __aenter__(self) -> None:
        try:
            for owner in self._owners:
                await self._shares.take(owner)
                self._taken += 1
        except BaseException:
            self._give_back()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for owner in self._owners[: self._taken]:
            self._shares.give_back(owner)
