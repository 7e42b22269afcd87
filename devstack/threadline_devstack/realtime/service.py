"""The stand-in for Supabase Realtime, put together. The only place that knows all of its parts."""

import logging
from collections.abc import Iterator
from typing import Any

from litestar.handlers import ASGIRouteHandler

from threadline_devstack import keys
from threadline_devstack.home import Home
from threadline_devstack.postgres import SUPERUSER
from threadline_devstack.project import Project
from threadline_devstack.realtime import broadcasts
from threadline_devstack.realtime.changes import Subscriptions
from threadline_devstack.realtime.channels import Channel
from threadline_devstack.realtime.frames import SERIALIZERS
from threadline_devstack.realtime.limits import Limits, Rate
from threadline_devstack.realtime.policies import Policies
from threadline_devstack.realtime.rooms import Hub
from threadline_devstack.realtime.sessions import Session
from threadline_devstack.realtime.socket import RefusedError, Socket
from threadline_devstack.realtime.stream import Stream
from threadline_devstack.realtime.tokens import Claims, TokenError, Verifier


class Realtime:
    """Realtime of one database.

    Args:
        database_url: with the login of the superuser.
        signing_key: of the tokens of this home's users.
        limits: for its clients.
    """

    def __init__(self, database_url: str, signing_key: keys.SigningKey, limits: Limits) -> None:
        logging.getLogger("websockets").setLevel(logging.WARNING)  # below, it writes a line for every connection
        self.limits = limits
        self.joins = Rate(limits.joins_per_second)
        self.events = Rate(limits.events_per_second)
        self.hub = Hub(self.events)
        self.policies = Policies(database_url)
        self.verifier = Verifier(signing_key)
        self.subscriptions = Subscriptions(database_url)
        self.stream = Stream(database_url, self.hub, self.subscriptions, self.channels, limits)
        self.clients = 0  # with a channel
        self._sessions: set[Session] = set()

    @classmethod
    def of(cls, project: Project) -> "Realtime":
        """Return the Realtime of a stack."""
        home = Home(project.home)
        url = project.ports.database_url(SUPERUSER, home.superuser_password())
        return cls(url, keys.SigningKey.of(home.signing_key), Limits.from_environment())

    def accept(self, connections: set[Any]) -> Socket:
        """Return the protocol of a new connection that asks for a WebSocket."""
        return Socket(self._open_session, self.limits, connections)

    def route(self) -> ASGIRouteHandler:
        """Return the handler of the HTTP calls below /realtime/v1."""
        return broadcasts.route(self)

    async def close(self) -> None:
        """Let the database go."""
        await self.stream.close()
        await self.subscriptions.close()
        await self.policies.close()

    def identify(self, authorization: str, apikey: str | None) -> Claims:
        """Return who makes an HTTP call, by their token or else the key; raise TokenError."""
        return self.verifier.verify(keys.gateway_key(authorization.removeprefix("Bearer ") or apikey or ""))

    def _open_session(self, socket: Socket, query: dict[str, str], headers: dict[str, str]) -> Session:
        serializer = SERIALIZERS.get(query.get("vsn", "1.0.0"))
        key = headers.get("x-api-key") or headers.get("apikey") or query.get("apikey")
        if not key:
            raise RefusedError(401, "API key is missing")
        token = keys.gateway_key(key)
        try:
            self.verifier.verify(token)
        except TokenError as error:
            is_too_old = error.message.startswith("Token has expired")
            raise RefusedError(401, "Token has expired" if is_too_old else error.message) from error
        if serializer is None:
            raise RefusedError(403, "This version of the protocol is not known")
        own = {name: value for name, value in headers.items() if name.startswith("x-")}
        session = Session(self, socket, serializer, token, own)
        self._sessions.add(session)
        return session

    def channels(self) -> Iterator[Channel]:
        """Return all channels that are open."""
        return (channel for session in self._sessions for channel in session)

    def entered(self) -> None:
        """Take note that a client has got its first channel."""
        self.clients += 1
        self.stream.keep()

    def left(self) -> None:
        """Take note that the last channel of a client is over."""
        self.clients -= 1
        if not self.clients:
            self.stream.release()

    def ended(self, session: Session) -> None:
        """Take note that a client is gone."""
        self._sessions.discard(session)
