"""Access tokens, with the claims and the refusals of Realtime."""

import time
from dataclasses import dataclass
from typing import Any

from threadline_devstack import jwt
from threadline_devstack.jwt import Problem, Verifier

SIGNER = "Failed to generate JWT signer"
CHECK = "check your JWT secret or JWKS configuration"


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid token."""

    role: str
    expires_at: int
    all: dict[str, Any]

    def expired(self) -> str | None:
        """Return the sentence that says how long ago the token expired, None if it is still valid."""
        seconds = int(time.time()) - self.expires_at
        return f"Token has expired {seconds} seconds ago" if seconds >= 0 else None


class TokenError(Exception):
    """A token that is refused.

    Attributes:
        code: one of the documented error codes.
        message: a sentence for the client.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Tokens:
    """Reads tokens for the channels.

    Args:
        verifier: of this project's tokens.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def verify(self, token: str) -> Claims:
        """Return the claims of a token; raise TokenError if it is not valid now."""
        try:
            return parse(self._verifier.verify_signature(token))
        except jwt.TokenError as error:
            raise refusal(error) from error


def refusal(error: jwt.TokenError) -> TokenError:
    """Return the refusal of a token in the words of Realtime."""
    match error.problem:
        case Problem.HEADER | Problem.MALFORMED:
            return TokenError("MalformedJWT", "The token provided is not a valid JWT")
        case Problem.UNKNOWN_KEY if error.key_id is not None:
            return TokenError("JwtSignerError", f'{SIGNER} for key ID (kid) "{error.key_id}", {CHECK}')
        case Problem.UNKNOWN_KEY:
            return TokenError("JwtSignerError", f"{SIGNER}, {CHECK}")
    return TokenError("JwtSignatureError", "Failed to validate JWT signature")


def parse(claims: dict[str, Any]) -> Claims:
    """Return the claims that Realtime needs; raise TokenError if one is missing or the token has expired."""
    expires_at, role = claims.get("exp"), claims.get("role")
    if expires_at is not None and (isinstance(expires_at, bool) or not isinstance(expires_at, int | float)):
        raise TokenError("InvalidJWTToken", "Token expiration time is invalid")
    found = Claims(role, round(expires_at or 0), claims)
    if expires_at is not None and (too_old := found.expired()):
        raise TokenError("InvalidJWTToken", too_old)
    if expires_at is None or not isinstance(role, str):
        raise TokenError("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
    return found
