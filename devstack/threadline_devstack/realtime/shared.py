"""What all clients of one Realtime share: limits, rooms, policies, subscriptions, and the stream of the database."""

from collections.abc import Iterable, Iterator

from threadline_devstack.jwt import Verifier
from threadline_devstack.realtime.changes import Subscriptions
from threadline_devstack.realtime.limits import Limits, Rate
from threadline_devstack.realtime.policies import Policies
from threadline_devstack.realtime.rooms import Hub
from threadline_devstack.realtime.stream import Listener, Stream
from threadline_devstack.realtime.tokens import Tokens


class Shared:
    """One per Realtime. Sessions register in it; it knows them only as sets of channels.

    Args:
        database_url: with the login of the superuser.
        verifier: of this project's tokens.
        limits: for all clients.
    """

    def __init__(self, database_url: str, verifier: Verifier, limits: Limits) -> None:
        self.limits = limits
        self.joins = Rate(limits.joins_per_second)
        self.events = Rate(limits.events_per_second)
        self.hub = Hub(self.events)
        self.policies = Policies(database_url)
        self.tokens = Tokens(verifier)
        self.subscriptions = Subscriptions(database_url)
        self.stream = Stream(database_url, self.hub, self.subscriptions, self.channels, limits)
        self.sessions: set[Iterable[Listener]] = set()
        self.clients = 0  # sessions with a channel

    def channels(self) -> Iterator[Listener]:
        """Return all open channels."""
        return (channel for session in self.sessions for channel in session)

    def add_client(self) -> None:
        """Count a session that opens its first channel; the stream stays open."""
        self.clients += 1
        self.stream.keep()

    def remove_client(self) -> None:
        """Count a session that closed its last channel; the stream may end."""
        self.clients -= 1
        if not self.clients:
            self.stream.release()

    async def close(self) -> None:
        """Close the connections to the database."""
        await self.stream.close()
        await self.subscriptions.close()
        await self.policies.close()
