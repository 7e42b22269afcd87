"""Lets few writers of one channel into Postgres at once.

A writer holds the counter of the channel until its transaction ends. Writers that wait for it in Postgres hold a
connection each, and each commit wakes all of them: ten writers of one channel write fewer messages than three.
"""

from __future__ import annotations

import re
from collections.abc import Hashable

import msgspec

from threadline.places import Places

PLACES = 3  # one commits, one waits for the counter, one arrives
PATIENCE = 10  # seconds that a writer waits for its turn, as long as for a connection
KNOWN = 10_000  # writers that are remembered, each about 300 bytes
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _Message(msgspec.Struct):
    # Of a repeated key, msgspec and jsonb take the last one, so both read the same channel.
    channel_id: str = ""


_decoder = msgspec.json.Decoder(_Message)


class Turns:
    """The queues of channels with writers. Channels without writers cost no memory.

    Writers whose last message arrived share the places of the channel. Each other user waits in a queue of their own,
    so a user who may not write there holds up no other writer.
    """

    def __init__(self) -> None:
        self._places = Places()
        self._known: dict[tuple[str, str], None] = {}  # user and channel, the longest known first

    def wait(self, function: str, user_id: str | None, parameters: str, body: bytes) -> Turn:
        """Hold a place for a new message, or raise TimeoutError. Other calls do not wait.

        Args:
            function: its name; only `create_message` waits.
            user_id: the caller; None is service_role, which is trusted.
            parameters: of the path and the query, as JSON. They may name another channel than the body.
            body: the argument of the function.
        """
        if function != "create_message":
            return Turn(self, None, None)
        channel = _find_channel(body) if parameters == "{}" else ""
        if user_id is None:
            return Turn(self, channel or None, None)
        writer = user_id, channel
        return Turn(self, channel if writer in self._known else writer, writer if channel else None)

    async def enter(self, key: Hashable) -> None:
        """Take a place: one of three for a channel, the only one for a writer who is not known."""
        await self._places.take(key, PLACES if isinstance(key, str) else 1, PATIENCE)

    def leave(self, key: Hashable) -> None:
        """Give a place back."""
        self._places.give_back(key)

    def note(self, writer: tuple[str, str], *, has_written: bool) -> None:
        """Remember or forget a writer of a channel."""
        self._known.pop(writer, None)
        if has_written:
            self._known[writer] = None
            if len(self._known) > KNOWN:
                del self._known[next(iter(self._known))]


class Turn:
    """The turn of one call. Set `has_written` before it ends if the message arrived."""

    # A class, because a generator with @asynccontextmanager takes several times as long.
    __slots__ = ("_key", "_turns", "_writer", "has_written")

    def __init__(self, turns: Turns, key: Hashable | None, writer: tuple[str, str] | None) -> None:
        self._turns, self._key, self._writer = turns, key, writer
        self.has_written = False

    async def __aenter__(self) -> Turn:
        """Wait for a place."""
        if self._key is not None:
            await self._turns.enter(self._key)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give the place back, and remember how the call ended."""
        if self._key is not None:
            self._turns.leave(self._key)
        if self._writer is not None:
            self._turns.note(self._writer, has_written=self.has_written)


def _find_channel(body: bytes) -> str:
    """Return the channel that Postgres will read from a body, or "" if that is not certain."""
    try:
        channel = _decoder.decode(body).channel_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return channel if _UUID.fullmatch(channel) else ""
