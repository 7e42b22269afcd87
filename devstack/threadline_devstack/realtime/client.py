"""The client of a channel, as the channel sees it. `sessions` implements it, so that channels need not import it."""

from collections.abc import Callable
from typing import Protocol

from threadline_devstack.realtime.frames import Serializer
from threadline_devstack.realtime.shared import Shared


class Client(Protocol):
    """The client that a channel belongs to.

    Attributes:
        shared: with all other clients.
        serializer: of the version that it speaks.
        token: of the key with which it connected.
        headers: of the request with which it connected; policies may read them.
        send: takes a frame.
    """

    shared: Shared
    serializer: Serializer
    token: str
    headers: dict[str, str]
    send: Callable[[bytes], None]

    def forget(self, topic: str, channel: object) -> None:
        """Drop a channel that ended."""
