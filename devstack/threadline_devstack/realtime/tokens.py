"""Who speaks: access tokens, as Realtime checks them and in the words in which it refuses them."""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt

from threadline_devstack import keys

REMEMBERED = 1000  # tokens whose signature has been checked


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says of its holder."""

    role: str
    expires_at: int
    all: dict[str, Any]

    def expired(self) -> str | None:
        """Return the sentence that says since when it is too old, or None when it is not."""
        seconds = int(time.time()) - self.expires_at
        return f"Token has expired {seconds} seconds ago" if seconds >= 0 else None


class TokenError(Exception):
    """A token that is not accepted.

    Attributes:
        code: one of the documented error codes.
        message: a sentence for the client.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Verifier:
    """Checks tokens that the project's secret (HS256) or its signing key (ES256) has signed."""

    def __init__(self, signing_key: keys.SigningKey) -> None:
        """Take the key that signs the tokens of this home's users."""
        self._public_key = jwt.PyJWK(signing_key.public_jwk)
        self._decode = lru_cache(REMEMBERED)(self._decode)  # all sockets come with the same key

    def verify(self, token: str) -> Claims:
        """Return the claims of a token; raise TokenError when it is not valid now."""
        return read(self._decode(token))

    def _decode(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise TokenError("MalformedJWT", "The token provided is not a valid JWT") from error
        try:
            jwt.decode(
                token,
                self._key(header),
                algorithms=[header["alg"]],
                # The other claims are not looked at, and an old token is to be told its age.
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise TokenError("JwtSignatureError", "Failed to validate JWT signature") from error
        return claims

    def _key(self, header: dict[str, Any]) -> Any:
        kid = header.get("kid")
        match header.get("alg"):
            case "HS256":
                return keys.JWT_SECRET
            case "ES256" if kid == self._public_key.key_id:
                return self._public_key
            case "ES256" if kid is not None:
                what = f'for key ID (kid) "{kid}", check your JWT secret or JWKS configuration'
                raise TokenError("JwtSignerError", f"Failed to generate JWT signer {what}")
        raise TokenError("JwtSignerError", "Failed to generate JWT signer, check your JWT secret or JWKS configuration")


def read(claims: dict[str, Any]) -> Claims:
    """Return the claims as far as they matter here; raise TokenError when some are missing or the token is too old."""
    expires_at, role = claims.get("exp"), claims.get("role")
    if expires_at is not None and (isinstance(expires_at, bool) or not isinstance(expires_at, int | float)):
        raise TokenError("InvalidJWTToken", "Token expiration time is invalid")
    found = Claims(role, round(expires_at or 0), claims)
    if expires_at is not None and (too_old := found.expired()):
        raise TokenError("InvalidJWTToken", too_old)
    if expires_at is None or not isinstance(role, str):
        raise TokenError("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
    return found
