"""Lets few writers of one channel into Postgres at once.

A writer holds the counter of the channel until its transaction ends. Writers that wait for it in Postgres hold a
connection each, and each commit wakes all of them: ten writers of one channel write fewer messages than three.
"""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager, nullcontext

from threadline.places import Places

PLACES = 3  # one commits, one waits for the counter, one arrives
PATIENCE = 10  # seconds that a writer waits for its turn, as long as for a connection
_CHANNEL = re.compile(rb'"channel_id"\s*:\s*"([0-9a-f-]{36})"')


class Turns:
    """The queues of channels with writers. Channels without writers cost no memory."""

    def __init__(self) -> None:
        self._places = Places()

    def wait(self, function: str, body: bytes) -> AbstractAsyncContextManager[None]:
        """Hold a place of the channel that a new message names, or raise TimeoutError. Other calls do not wait.

        It searches the body and does not parse it: a wrong channel costs time and nothing else, because Postgres
        decides.
        """
        if function != "create_message" or not (found := _CHANNEL.search(body)):
            return nullcontext()
        return _Turn(self._places, found[1])


class _Turn:
    # A class, because a generator with @asynccontextmanager takes several times as long.
    __slots__ = ("_channel", "_places")

    def __init__(self, places: Places, channel: bytes) -> None:
        self._places, self._channel = places, channel

    async def __aenter__(self) -> None:
        await self._places.take(self._channel, PLACES, PATIENCE)

    async def __aexit__(self, *_: object) -> None:
        self._places.give_back(self._channel)
