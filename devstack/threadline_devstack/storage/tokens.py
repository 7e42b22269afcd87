"""The callers of Storage, and the tokens of signed links."""

import time
import uuid
from dataclasses import dataclass
from typing import Any

from threadline_devstack.gateway import Call
from threadline_devstack.jwt import Problem, TokenError, Verifier, sign_with_secret
from threadline_devstack.storage import refusals

ROLES = ("anon", "authenticated", "service_role")
MESSAGES = {
    Problem.HEADER: "JWS Protected Header is invalid",
    Problem.EXPIRED: '"exp" claim timestamp check failed',
}


@dataclass(frozen=True)
class Caller:
    """A role of the database, and the claims that policies read."""

    role: str
    claims: dict[str, Any]

    @property
    def owner(self) -> str | None:
        """Return the id of the user who owns what the caller stores."""
        return self.claims.get("sub")


SERVICE = Caller("service_role", {"role": "service_role"})


def identify(call: Call) -> Caller:
    """Return the caller; raise Refusal if the token is missing or not valid."""
    if call.token is None:
        raise refusals.invalid_request("headers must have required property 'authorization'")
    try:
        claims = call.claims()
    except TokenError as error:
        raise refusals.access_denied(message_of(error)) from error
    caller = Caller(claims.get("role", "anon"), claims)
    if caller.role not in ROLES:
        raise refusals.internal(f'role "{caller.role}" does not exist')
    if caller.owner is not None and not is_uuid(caller.owner):
        raise refusals.invalid_request(f'invalid input syntax for type uuid: "{caller.owner}"')
    return caller


def is_uuid(value: Any) -> bool:
    """Tell whether a value is a uuid as text."""
    try:
        uuid.UUID(value)
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def message_of(error: TokenError) -> str:
    """Return the words in which Storage refuses a token."""
    return MESSAGES.get(error.problem, "signature verification failed")


def sign_link(place: str, lifetime: int) -> str:
    """Return the token of a link to bucket/path that works for some seconds."""
    now = int(time.time())
    # Without a role, so that it does not serve as an access token.
    return sign_with_secret({"url": place, "scope": "download", "iat": now, "exp": now + lifetime})


def sign_upload(place: str, owner: str | None, *, replaces: bool) -> str:
    """Return the token of a URL to which a file for bucket/path can be sent, for two hours."""
    now = int(time.time())
    claims = {"url": place, "owner": owner, "upsert": replaces, "scope": "upload", "iat": now, "exp": now + 7200}
    return sign_with_secret(claims)


def check_link(verifier: Verifier, token: str | None, place: str, scope: str = "download") -> dict[str, Any]:
    """Return the claims; raise Refusal unless the token belongs to a link to bucket/path and has not expired."""
    if token is None:
        raise refusals.invalid_request("querystring must have required property 'token'")
    try:
        claims = verifier.verify(token)
    except TokenError as error:
        raise refusals.invalid_link("InvalidJWT", message_of(error)) from error
    if claims.get("url") != place or claims.get("scope") != scope:
        raise refusals.invalid_link("InvalidSignature", "Invalid signature")
    return claims
