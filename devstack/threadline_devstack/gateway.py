"""The gateway in front of Auth, Storage, Realtime and PostgREST, as every Supabase project has one.

It answers CORS preflights, turns API keys into tokens, verifies tokens, and stops what a server failed to catch.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from litestar import Request, asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from threadline_devstack import jwt, keys
from threadline_devstack.http import Answer, ClientGoneError, document

logger = logging.getLogger(__name__)

BEARER = re.compile(r"[Bb]earer +(\S+)")
OPAQUE = "sb_"  # API keys that are not tokens begin with this
TOKENS = {keys.PUBLISHABLE_KEY: keys.ANON_KEY, keys.SECRET_KEY: keys.SERVICE_ROLE_KEY}
CORS = {"access-control-allow-origin": "*"}
PREFLIGHT = {
    "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    "access-control-max-age": "3600",
}
NO_KEY = {
    "message": "No API key found in request",
    "hint": "No `apikey` request header or url param was found.",
}


@dataclass(frozen=True)
class Call:
    """A request on its way to a server.

    Attributes:
        request: as it came.
        path: below the server's prefix, still percent-encoded: a name may hold an encoded slash.
        token: the caller's own token, or the token that the API key stands for; None without either.
        verifier: of this project's tokens.
    """

    request: Request
    path: str
    token: str | None
    verifier: jwt.Verifier

    def claims(self) -> dict[str, Any]:
        """Return the claims of the caller's token; raise TokenError if it is missing or not valid."""
        return self.verifier.verify(self.token or "")


class Server(Protocol):
    """A server behind the gateway."""

    name: str
    prefix: str
    needs_key: bool

    async def answer(self, call: Call) -> Answer:
        """Answer a call, in the server's own words also when it refuses."""

    def failure(self, call: Call) -> Answer:
        """Return the answer to a call that raised an unexpected error."""


class Gateway:
    """The gateway of one stack.

    Args:
        signing_key: signs the tokens of this home's users.
    """

    def __init__(self, signing_key: keys.SigningKey) -> None:
        self.verifier = jwt.Verifier(signing_key)

    def route(self, server: Server) -> ASGIRouteHandler:
        """Return the handler of everything below a server's prefix."""

        @asgi(server.prefix, is_mount=True, copy_scope=True)
        async def handler(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope, receive, send)
            try:
                answer = await self._answer(server, request)
            except ClientGoneError:
                return
            answer.headers |= CORS
            await answer.send(send)

        return handler

    async def _answer(self, server: Server, request: Request) -> Answer:
        if request.method == "OPTIONS":
            wanted = request.headers.get("access-control-request-headers", "*")
            return Answer(200, {**PREFLIGHT, "access-control-allow-headers": wanted, "content-length": "0"})
        key = find_key(request.headers, request.query_params)
        if server.needs_key and key is None:
            return document(NO_KEY, 401)
        path = request.scope["raw_path"].decode("ascii").removeprefix(server.prefix)
        call = Call(request, path, find_token(request.headers.get("authorization"), key), self.verifier)
        try:
            return await server.answer(call)
        except ClientGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - a server answers 500, whatever went wrong
            # Not its text, which may quote what the caller sent.
            logger.error("%s: %s failed with %s", server.name, request.method, type(error).__name__)
            return server.failure(call)


def find_key(headers: Mapping[str, str], query: Mapping[str, Any]) -> str | None:
    """Return the API key of a request, from a header or from the URL."""
    return headers.get("apikey") or query.get("apikey") or None


def find_token(authorization: str | None, key: str | None) -> str | None:
    """Return the bearer token of a request, or else the token that its API key stands for."""
    found = BEARER.fullmatch(authorization or "")
    sent = found[1] if found else None
    if sent and not sent.startswith(OPAQUE):
        return sent
    if key := key or sent:
        return token_for_key(key)
    return None


def token_for_key(key: str) -> str:
    """Return the token that an opaque API key stands for; any other key is a token already."""
    return TOKENS.get(key, key)
