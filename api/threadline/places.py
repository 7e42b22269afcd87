"""Limits how many calls of one kind run at once, and lets further ones wait."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable


class _Queue:
    def __init__(self, size: int) -> None:
        self.free = asyncio.Semaphore(size)
        self.calls = 0  # that hold or wait


class Places:
    """Places for the calls of each key. Keys without calls cost no memory."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}

    def count(self, key: Hashable) -> int:
        """Return how many calls of a key hold a place or wait for one."""
        return self._queues[key].calls if key in self._queues else 0

    async def take(self, key: Hashable, size: int, patience: float) -> None:
        """Take one of the `size` places of a key. Raise TimeoutError if none gets free for `patience` seconds."""
        if key not in self._queues:
            self._queues[key] = _Queue(size)
        queue = self._queues[key]
        queue.calls += 1
        try:
            if queue.free.locked():
                async with asyncio.timeout(patience):
                    await queue.free.acquire()
            else:
                await queue.free.acquire()  # without a timeout, which costs more than the rest of this function
        except BaseException:
            self._leave(key)
            raise

    def give_back(self, key: Hashable) -> None:
        """Give back a place that `take` took."""
        self._queues[key].free.release()
        self._leave(key)

    def _leave(self, key: Hashable) -> None:
        self._queues[key].calls -= 1
        if not self._queues[key].calls:
            del self._queues[key]
