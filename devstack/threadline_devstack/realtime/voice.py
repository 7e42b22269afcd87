"""The messages of the server about one channel, in the client's version of the protocol."""

from collections.abc import Callable
from typing import Any

from threadline_devstack.realtime.frames import Ref, Serializer, UserBroadcast
from threadline_devstack.realtime.rooms import PREFIX


class Voice:
    """Writes the messages of one join.

    Args:
        serializer: of the client's version.
        send: takes a frame.
        wire_topic: with its prefix.
        join_ref: by which the client knows the join.
    """

    def __init__(self, serializer: Serializer, send: Callable[[bytes], None], wire_topic: str, join_ref: Ref) -> None:
        self._serializer = serializer
        self._send = send
        self._topic = wire_topic
        self._join_ref = join_ref

    def push(self, event: str, payload: Any) -> None:
        """Send a message."""
        self._send(self._serializer.push(self._topic, event, payload, join_ref=self._join_ref))

    def push_change(self, payload: Any) -> None:
        """Send a change of the database, which names no join."""
        self._send(self._serializer.push(self._topic, "postgres_changes", payload))

    def replay(self, broadcast: UserBroadcast) -> None:
        """Send a past broadcast; skip bytes that the version cannot carry."""
        if broadcast.is_json:
            self.push("broadcast", broadcast.envelope())
        elif frame := self._serializer.broadcast(self._topic, broadcast):
            self._send(frame)

    def reply(self, ref: Ref, status: str, response: Any) -> None:
        """Answer a message."""
        self._send(self._serializer.reply(ref, self._join_ref, self._topic, status, response))

    def tell(self, extension: str, status: str, message: str) -> None:
        """Send a system message."""
        topic = self._topic.removeprefix(PREFIX)
        self.push("system", {"extension": extension, "status": status, "message": message, "channel": topic})

    def close(self) -> None:
        """Send phx_close."""
        self._end("phx_close", {})

    def error(self, reason: str) -> None:
        """Send phx_error, after which clients join again."""
        self._end("phx_error", {"reason": reason})

    def _end(self, event: str, payload: Any) -> None:
        ref = self._join_ref
        self._send(self._serializer.push(self._topic, event, payload, ref=ref, join_ref=ref))
