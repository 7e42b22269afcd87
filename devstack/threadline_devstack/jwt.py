"""Verifies JSON Web Tokens, once for all servers. Each server has its own words for a refusal; see `Problem`."""

import time
from enum import Enum, auto
from functools import lru_cache
from typing import Any

import jwt

from threadline_devstack.keys import JWT_SECRET, SigningKey

REMEMBERED = 1000  # tokens with a verified signature


class Problem(Enum):
    """Why a token is refused."""

    HEADER = auto()  # its first part cannot be read
    MALFORMED = auto()  # another part cannot be read, or a time is not a number
    UNKNOWN_KEY = auto()  # an algorithm or a key id that this project does not use
    SIGNATURE = auto()
    EXPIRED = auto()


class TokenError(Exception):
    """A token that is refused.

    Attributes:
        problem: why.
        key_id: the `kid` of its header, if there is one.
    """

    def __init__(self, problem: Problem, key_id: str | None = None) -> None:
        super().__init__(problem.name.lower())
        self.problem = problem
        self.key_id = key_id


class Verifier:
    """Verifies tokens that the project's secret (HS256) or its signing key (ES256) signed.

    Args:
        signing_key: signs the tokens of this home's users.
    """

    def __init__(self, signing_key: SigningKey) -> None:
        self.public_key = jwt.PyJWK(signing_key.public_jwk)
        # Every request brings one of a few keys, and ES256 takes long to verify.
        self._verify_signature = lru_cache(REMEMBERED)(self._verify_signature)

    def verify_signature(self, token: str) -> dict[str, Any]:
        """Return the claims of a token of any age; raise TokenError."""
        return self._verify_signature(token)

    def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that is valid now; raise TokenError."""
        claims = self.verify_signature(token)
        expires_at = claims.get("exp")
        if expires_at is None:
            return claims
        if isinstance(expires_at, bool) or not isinstance(expires_at, int | float):
            raise TokenError(Problem.MALFORMED)
        if expires_at <= time.time():
            raise TokenError(Problem.EXPIRED)
        return claims

    def _verify_signature(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenError(Problem.HEADER) from error
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise TokenError(Problem.MALFORMED) from error
        # The servers check the times themselves: Realtime says how old a token is.
        unchecked = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            jwt.decode(token, self._key(header), algorithms=[header["alg"]], options=unchecked)
        except jwt.PyJWTError as error:
            raise TokenError(Problem.SIGNATURE) from error
        return claims

    def _key(self, header: dict[str, Any]) -> Any:
        # The algorithm selects the key: the public key must never serve as a shared secret.
        match header.get("alg"):
            case "HS256":
                return JWT_SECRET
            case "ES256" if header.get("kid") == self.public_key.key_id:
                return self.public_key
            case "ES256":
                raise TokenError(Problem.UNKNOWN_KEY, header.get("kid"))
        raise TokenError(Problem.UNKNOWN_KEY)


def sign_with_secret(claims: dict[str, Any]) -> str:
    """Return a token that the project's secret signs."""
    return jwt.encode(claims, JWT_SECRET, algorithm="HS256")
