"""Verifies access tokens of Supabase Auth."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import jwt

from threadline.settings import Settings

logger = logging.getLogger(__name__)

LEEWAY = 30  # seconds by which clocks may differ
KEYS_LIFETIME = 600  # seconds that the key list may be cached, as its own header says
KEYS_PATIENCE = 10  # seconds between two fetches for a key that the list does not have
ASYMMETRIC = ("ES256", "RS256")
REMEMBERED = 10_000  # tokens
WARNING_PAUSE = 60  # seconds between two equal warnings, because anyone can send such tokens
# Refusals that may come from a wrong setting, by algorithm and error.
CAUSES = {
    ("HS256", "InvalidSignatureError"): "has another signature than JWT_SECRET gives",
    ("HS256", "InvalidAlgorithmError"): "is signed with a legacy secret, and JWT_SECRET is not set",
    ("ES256", "InvalidAlgorithmError"): "is signed with a key of the project, and SUPABASE_URL is not set",
    ("ES256", "InvalidKeyError"): "is signed with none of the keys of SUPABASE_URL",
}
UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # in JSON; an even number of backslashes before it is text
# PyJWT raises its own errors for most odd tokens, and these for numbers and nesting that it does not expect.
_UNREADABLE = (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, RecursionError)


class InvalidTokenError(Exception):
    """The bearer token is not accepted; the text tells the caller why and what to send."""


@dataclass(frozen=True)
class Caller:
    """Who calls: the Postgres role, the JWT claims for its policies as JSON, and the id of a user."""

    role: str
    claims: str
    user_id: str | None = None


SERVICE = Caller("service_role", '{"role": "service_role"}')


@dataclass(frozen=True, slots=True)
class _Verified:
    """A verified token. It stays valid while its key is in use and until `expires_at` (Unix seconds)."""

    caller: Caller
    header: dict[str, Any]
    key: jwt.PyJWK | str
    expires_at: int


class Verifier:
    """Checks tokens against the project's public keys or its legacy secret, each once: then it is found by hash."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.jwt_secret
        self._client = jwt.PyJWKClient(settings.jwks_url, cache_jwk_set=False, timeout=5) if settings.jwks_url else None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._verified: dict[bytes, _Verified] = {}
        self._fetched_at = self._tried_at = -float("inf")
        self._fetching = asyncio.Lock()
        self._warned_at: dict[str, float] = {}

    async def verify(self, authorization: str | None) -> Caller:
        """Return the caller that an Authorization header proves, or raise InvalidTokenError."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise InvalidTokenError("The access token is missing. Send it as `Authorization: Bearer <token>`.")
        if token.startswith("sb_"):
            raise InvalidTokenError("This is an API key. Send the access token of a signed-in user.")
        digest = hashlib.blake2b(token.encode(), digest_size=32).digest()  # faster than what goes through OpenSSL
        known = self._verified.get(digest)
        header: dict[str, Any] = {}
        try:
            header = known.header if known else jwt.get_unverified_header(token)
            key = await self._key(header)
            if known and known.key is key and time.time() < known.expires_at + LEEWAY:
                return known.caller
            claims = jwt.decode(
                token,
                key,
                algorithms=[header["alg"]],
                leeway=LEEWAY,
                options={"require": ["exp", "role"], "verify_aud": False},
            )
            caller = _caller(claims)
        except _UNREADABLE as error:
            if cause := CAUSES.get((str(header.get("alg")), type(error).__name__)):
                self._warn(f"An access token {cause}")
            raise InvalidTokenError("The access token is invalid or has expired. Sign in again.") from error
        if len(self._verified) >= REMEMBERED:
            self._verified.clear()
        self._verified[digest] = _Verified(caller, header, key, int(claims["exp"]))
        return caller

    async def _key(self, header: dict[str, Any]) -> jwt.PyJWK | str:
        # The algorithm selects the source of the key, so that a public key never serves as a shared secret.
        if header["alg"] == "HS256" and self._secret:
            return self._secret
        if header["alg"] not in ASYMMETRIC or self._client is None:
            raise jwt.InvalidAlgorithmError
        kid = header.get("kid", "")
        if self._is_stale(kid):
            async with self._fetching:
                # Another request may have fetched the keys while this one waited for the lock.
                if self._is_stale(kid):
                    await self._fetch()
        key = self._keys.get(kid)
        if key is None:
            raise jwt.InvalidKeyError
        return key

    def _warn(self, message: str) -> None:
        now = time.monotonic()
        if now - self._warned_at.get(message, -WARNING_PAUSE) >= WARNING_PAUSE:
            self._warned_at[message] = now
            logger.warning(message)

    def _is_stale(self, kid: str) -> bool:
        now = time.monotonic()
        is_due = now - self._fetched_at > KEYS_LIFETIME or kid not in self._keys
        return is_due and now - self._tried_at > KEYS_PATIENCE

    async def _fetch(self) -> None:
        try:
            found = await asyncio.to_thread(self._client.get_jwk_set)
        except (jwt.PyJWTError, OSError, ValueError, HTTPException):
            # Keep the known keys: an outage of Auth must not sign users out.
            self._warn("The keys of SUPABASE_URL cannot be fetched")
            return
        finally:
            self._tried_at = time.monotonic()
        self._keys = {key.key_id: key for key in found.keys if key.key_id}
        self._fetched_at = time.monotonic()


def _caller(claims: dict[str, Any]) -> Caller:
    role, audience, subject = claims["role"], claims.get("aud"), claims.get("sub")
    if role != "service_role" and (
        role != "authenticated"
        or not isinstance(audience, (str, list))
        or "authenticated" not in ([audience] if isinstance(audience, str) else audience)
    ):
        raise InvalidTokenError("The access token does not belong to a signed-in user. Sign in and send that one.")
    # Only this form: uuid.UUID() accepts some that Postgres does not.
    is_user = isinstance(subject, str) and UUID.fullmatch(subject)
    if not is_user and not (role == "service_role" and subject is None):
        raise InvalidTokenError("The access token has no user id in `sub`. Sign in again.")
    return Caller(role, _render(claims), None if role == "service_role" else subject.lower())


def _render(claims: dict[str, Any]) -> str:
    """Return claims as JSON that Postgres reads as jsonb, or raise ValueError."""
    text = json.dumps(claims, allow_nan=False, ensure_ascii=False)
    text.encode()  # raises on half a surrogate pair
    if NUL.search(text):
        raise ValueError("NUL")
    return text
