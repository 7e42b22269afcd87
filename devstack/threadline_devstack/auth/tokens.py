"""Refresh tokens of a session."""

import base64
import binascii
import hashlib
import hmac
import struct
import uuid

from threadline_devstack import keys
from threadline_devstack.auth import refusals

_CONTENT = struct.Struct("!16sQ")
_SIGNATURE_LENGTH = 16


class RefreshTokens:
    """Makes and reads refresh tokens: a session, how many tokens it has had, and a signature.

    The database holds only the number, so its content does not let anyone sign in.
    """

    def __init__(self, key: keys.SigningKey) -> None:
        self._key = hashlib.sha256(b"refresh tokens of " + key.jwk["d"].encode()).digest()

    def make(self, session: uuid.UUID, number: int) -> str:
        """Return the token of this number of a session."""
        content = _CONTENT.pack(session.bytes, number)
        return base64.urlsafe_b64encode(content + self._sign(content)).decode()

    def read(self, token: str) -> tuple[uuid.UUID, int]:
        """Return the session and the number; raise Refusal for a token that we did not make."""
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
