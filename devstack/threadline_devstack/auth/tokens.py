"""The tokens of a session, and who calls by the one they hold."""

import base64
import binascii
import hashlib
import hmac
import re
import struct
import uuid
from typing import Any

import jwt

from threadline_devstack import keys
from threadline_devstack.auth import refusals

BEARER = re.compile(r"[Bb]earer (\S+)")
_CONTENT = struct.Struct("!16sQ")
_SIGNATURE_LENGTH = 16


class RefreshTokens:
    """Makes and reads refresh tokens: a session, how many it has had, and a signature.

    The database knows the number alone, so what is in it gives nobody a session.
    """

    def __init__(self, key: keys.SigningKey) -> None:
        self._key = hashlib.sha256(b"refresh tokens of " + key.jwk["d"].encode()).digest()

    def make(self, session: uuid.UUID, number: int) -> str:
        """Return the token of a session that is the numberth."""
        content = _CONTENT.pack(session.bytes, number)
        return base64.urlsafe_b64encode(content + self._sign(content)).decode()

    def read(self, token: str) -> tuple[uuid.UUID, int]:
        """Return the session and the number; raise Refusal for what was not made here."""
        try:
            raw = base64.urlsafe_b64decode(token)
        except (binascii.Error, ValueError) as error:
            raise refusals.no_refresh_token() from error
        content, signature = raw[: _CONTENT.size], raw[_CONTENT.size :]
        if len(content) != _CONTENT.size or not hmac.compare_digest(signature, self._sign(content)):
            raise refusals.no_refresh_token()
        session, number = _CONTENT.unpack(content)
        return uuid.UUID(bytes=session), number

    def _sign(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")[:_SIGNATURE_LENGTH]


def bearer(authorization: str | None, apikey: str | None) -> str:
    """Return the token of a call, which the gateway makes of an opaque key; raise Refusal when there is none."""
    if not authorization or authorization.startswith("Bearer sb_"):
        token = keys.gateway_key(apikey or (authorization or "").removeprefix("Bearer "))
        authorization = f"Bearer {token}" if token != apikey else authorization
    found = BEARER.fullmatch(authorization or "")
    if not found:
        raise refusals.no_bearer()
    return found[1]


def read_claims(token: str, key: keys.SigningKey) -> dict[str, Any]:
    """Return what a token says; raise Refusal for one that nobody here has signed, or that is too old."""
    try:
        algorithm = jwt.get_unverified_header(token).get("alg")
        secret: Any = keys.JWT_SECRET if algorithm == "HS256" else jwt.PyJWK(key.public_jwk)
        algorithms = ["HS256" if algorithm == "HS256" else "ES256"]
        return jwt.decode(token, secret, algorithms=algorithms, options={"verify_aud": False})
    except jwt.ExpiredSignatureError as error:
        reason = "token has invalid claims: token is expired"
        raise refusals.bad_token(f"invalid JWT: unable to parse or verify signature, {reason}") from error
    except jwt.PyJWTError as error:
        raise refusals.bad_token("invalid JWT: unable to parse or verify signature, token is malformed") from error
