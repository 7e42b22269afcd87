"""The stand-in for Supabase Realtime: opens sessions for sockets, and answers the HTTP calls."""

import logging
from typing import Any

from threadline_devstack.gateway import Call, Gateway, find_key, token_for_key
from threadline_devstack.home import Home
from threadline_devstack.http import Answer, document
from threadline_devstack.postgres import SUPERUSER
from threadline_devstack.project import Project
from threadline_devstack.realtime import broadcasts
from threadline_devstack.realtime.frames import SERIALIZERS
from threadline_devstack.realtime.limits import Limits
from threadline_devstack.realtime.sessions import Session
from threadline_devstack.realtime.shared import Shared
from threadline_devstack.realtime.socket import RefusedError, Socket
from threadline_devstack.realtime.tokens import TokenError


class Realtime:
    """Realtime of one database.

    Args:
        database_url: with the login of the superuser.
        gateway: turns keys into tokens, and verifies them.
        limits: for all clients.
    """

    name = "Realtime"
    prefix = broadcasts.PREFIX
    needs_key = False

    def __init__(self, database_url: str, gateway: Gateway, limits: Limits) -> None:
        logging.getLogger("websockets").setLevel(logging.WARNING)  # INFO logs every connection
        self.shared = Shared(database_url, gateway.verifier, limits)

    @classmethod
    def of(cls, project: Project, gateway: Gateway) -> "Realtime":
        """Return the Realtime of a stack."""
        url = project.ports.database_url(SUPERUSER, Home(project.home).superuser_password())
        return cls(url, gateway, Limits.from_environment())

    def accept(self, connections: set[Any]) -> Socket:
        """Return the protocol of a new connection that asks for a WebSocket."""
        return Socket(self._open_session, self.shared.limits, connections)

    async def answer(self, call: Call) -> Answer:
        """Answer an HTTP call below /realtime/v1."""
        return await broadcasts.answer(self.shared, call)

    def failure(self, call: Call) -> Answer:  # noqa: ARG002
        """Return the answer to a call that raised an unexpected error."""
        return document({"message": "Internal Server Error"}, 500)

    async def close(self) -> None:
        """Close the connections to the database."""
        await self.shared.close()

    def _open_session(self, socket: Socket, query: dict[str, str], headers: dict[str, str]) -> Session:
        serializer = SERIALIZERS.get(query.get("vsn", "1.0.0"))
        key = headers.get("x-api-key") or find_key(headers, query)
        if not key:
            raise RefusedError(401, "API key is missing")
        token = token_for_key(key)
        try:
            self.shared.tokens.verify(token)
        except TokenError as error:
            is_too_old = error.message.startswith("Token has expired")
            raise RefusedError(401, "Token has expired" if is_too_old else error.message) from error
        if serializer is None:
            raise RefusedError(403, "This version of the protocol is not known")
        own = {name: value for name, value in headers.items() if name.startswith("x-")}
        return Session(self.shared, socket, serializer, token, own)
