"""Access tokens, signed with a secret that the service under test shares."""

import time
from typing import Any

import jwt

JWT_SECRET = "a-shared-secret-of-at-least-thirty-two-characters"


def sign(claims: dict[str, Any], secret: str = JWT_SECRET) -> str:
    """Sign exactly these claims with a shared secret (HS256)."""
    return jwt.encode(claims, secret, algorithm="HS256")


def token(user_id: str, **claims: Any) -> str:
    """Return an access token of a user that is valid for an hour."""
    given = {"sub": user_id, "aud": "authenticated", "role": "authenticated", "exp": int(time.time()) + 3600}
    return sign(given | claims)


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"authorization": f"Bearer {token}"}
