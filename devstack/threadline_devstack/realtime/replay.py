"""Messages of the past for one who joins, and then those of the present without a gap and without one twice."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from threadline_devstack.realtime.frames import UserBroadcast
from threadline_devstack.realtime.joins import ReplayWish
from threadline_devstack.realtime.policies import Policies

MOST = 25  # messages


class ReplayError(Exception):
    """A wish for the past that makes no sense; the text is for the client."""


class Replay:
    """Between a room and one who has joined it with replay.

    Broadcasts are held back from the moment the room is joined until the past has been sent; those that were part of
    it are left out afterwards.

    Args:
        wish: what the client asks for.
    """

    def __init__(self, wish: ReplayWish) -> None:
        self._wish = wish
        self._sent: set[str] = set()
        self._held: list[tuple[bytes, str | None]] | None = []

    async def read(self, policies: Policies, topic: str) -> Sequence[Any]:
        """Return the past of a topic, the oldest first; raise ReplayError or PolicyError."""
        since, limit = self._wish.since, self._wish.limit
        if type(since) is not int or type(limit) is not int:
            raise ReplayError("Replay params are not valid")
        try:
            after = datetime.fromtimestamp(since / 1000, UTC).replace(tzinfo=None)
        except (OverflowError, ValueError, OSError) as error:
            raise ReplayError("Replay params are not valid") from error
        return await policies.past(topic, after, max(1, min(limit, MOST)))

    def past(self, rows: Sequence[Any]) -> Iterator[UserBroadcast]:
        """Yield the rows as broadcasts, and take note of them."""
        for row in rows:
            meta = {"replayed": True, "id": str(row["id"])}
            self._sent.add(meta["id"])
            binary = row["binary_payload"]
            content = binary if binary is not None else (row["payload"] or "null").encode()
            yield UserBroadcast(row["event"], content, is_json=binary is None, meta=meta)

    def release(self) -> list[bytes]:
        """Return the frames that have been held back, and hold none from now on."""
        held, self._held = self._held or [], None
        return [frame for frame, message_id in held if message_id not in self._sent]

    def passes(self, frame: bytes, message_id: str | None) -> bool:
        """Tell whether a live broadcast is to be sent now."""
        if self._held is None:
            return message_id not in self._sent
        self._held.append((frame, message_id))
        return False
