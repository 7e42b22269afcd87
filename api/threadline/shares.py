"""Limits how many database connections one user holds, so that the others always find one."""

from __future__ import annotations

from threadline.places import Places

PATIENCE = 10  # seconds that a call waits for its turn
QUEUE = 100  # calls of one owner that wait at most, because each holds its body in memory
INGEST = "ingest"  # the owner of all ingest together; a user may own many API keys


class TooManyAtOnceError(Exception):
    """The owner has too many calls under way."""


class Shares:
    """Shares of a pool: a quarter for each owner, half for all of ingest. Owners without calls cost no memory."""

    def __init__(self, pool_size: int) -> None:
        self._size = max(1, pool_size // 4)
        self._sizes = {INGEST: max(1, pool_size // 2)}
        self._places = Places()

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
            self._places.give_back(owner)

    async def _take(self, owner: str) -> None:
        size = self._sizes.get(owner, self._size)
        if self._places.count(owner) >= size + QUEUE:
            raise TooManyAtOnceError
        try:
            await self._places.take(owner, size, PATIENCE)
        except TimeoutError:
            raise TooManyAtOnceError from None
