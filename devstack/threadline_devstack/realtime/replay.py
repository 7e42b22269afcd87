"""Past messages for a join, then live ones, without a gap and without a repeat."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from threadline_devstack.realtime.frames import UserBroadcast
from threadline_devstack.realtime.joins import ReplayWish
from threadline_devstack.realtime.policies import Policies

MOST = 25  # messages


class ReplayError(Exception):
    """A wrong request for past messages; the text is for the client."""


class Replay:
    """Sits between a room and a channel that joined with replay.

    Broadcasts are held back from the join until the past messages are sent; those that were among
    them are skipped.

    Args:
        wish: what the client asks for.
    """

    def __init__(self, wish: ReplayWish) -> None:
        self._wish = wish
        self._sent: set[str] = set()
        self._held: list[tuple[bytes, str | None]] | None = []

    async def read(self, policies: Policies, topic: str, delivered: Sequence[int]) -> Sequence[Any]:
        """Return the past messages of a topic, the oldest first; raise ReplayError or PolicyError.

        Args:
            policies: read them from the database.
            topic: without its prefix.
            delivered: the numbers of the transactions that the room got lately.
        """
        since, limit = self._wish.since, self._wish.limit
        if type(since) is not int or type(limit) is not int:
            raise ReplayError("Replay params are not valid")
        try:
            after = datetime.fromtimestamp(since / 1000, UTC).replace(tzinfo=None)
        except (OverflowError, ValueError, OSError) as error:
            raise ReplayError("Replay params are not valid") from error
        return await policies.past(topic, after, max(1, min(limit, MOST)), delivered)

    def past(self, rows: Sequence[Any]) -> Iterator[UserBroadcast]:
        """Yield the rows as broadcasts, and remember their ids."""
        for row in rows:
            meta = {"replayed": True, "id": str(row["id"])}
            self._sent.add(meta["id"])
            binary = row["binary_payload"]
            content = binary if binary is not None else (row["payload"] or "null").encode()
            yield UserBroadcast(row["event"], content, is_json=binary is None, meta=meta)

    def release(self) -> list[bytes]:
        """Return the held frames, and hold none from now on."""
        held, self._held = self._held or [], None
        return [frame for frame, message_id in held if message_id not in self._sent]

    def passes(self, frame: bytes, message_id: str | None) -> bool:
        """Tell whether to send a live broadcast now; hold it if the past is not sent yet."""
        if self._held is None:
            return message_id not in self._sent
        self._held.append((frame, message_id))
        return False
