"""The keys of a local project. All but the signing key are published with the Supabase CLI: loopback only."""

import json
import time
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from threadline_devstack.home import write_private

DATABASE_PASSWORD = "postgres"  # noqa: S105
JWT_SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"  # noqa: S105
PUBLISHABLE_KEY = "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH"
SECRET_KEY = "sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz"  # noqa: S105
TOKEN_LIFETIME = 3600


def role_key(role: str) -> str:
    """Return the legacy API key of a role: a JWT that the project's secret signs."""
    return jwt.encode({"iss": "supabase-demo", "role": role, "exp": 1983812996}, JWT_SECRET, algorithm="HS256")


ANON_KEY = role_key("anon")
SERVICE_ROLE_KEY = role_key("service_role")


class SigningKey:
    """The P-256 key that signs the tokens of this home's users."""

    def __init__(self, jwk: Mapping[str, Any]) -> None:
        self.jwk = dict(jwk)

    @classmethod
    def of(cls, path: Path) -> "SigningKey":
        """Read the key in a file; make it at the first call, readable to its owner only."""
        if not path.exists():
            jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
            identity = {"kid": str(uuid.uuid4()), "alg": "ES256", "use": "sig"}
            write_private(path, json.dumps({**jwk, **identity, "key_ops": ["sign", "verify"]}))
        return cls(json.loads(path.read_text()))

    @cached_property
    def public_jwk(self) -> dict[str, Any]:
        """Return what `/auth/v1/.well-known/jwks.json` lists."""
        return {name: value for name, value in self.jwk.items() if name != "d"} | {"key_ops": ["verify"]}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a JWT with these claims."""
        key = ECAlgorithm.from_jwk(self.jwk)
        return jwt.encode(dict(claims), key, algorithm="ES256", headers={"kid": self.jwk["kid"]})


def user_claims(
    user: Mapping[str, Any], *, api_url: str, session: uuid.UUID | None = None, signed_in_at: int | None = None
) -> dict[str, Any]:
    """Return the claims of the access token that Supabase Auth gives a user.

    Args:
        user: a row of auth.users; its two `raw_*_meta_data` may be JSON text, an object or null.
        api_url: the base URL that clients use.
        session: the id of a row of auth.sessions; Auth refuses a token without one.
        signed_in_at: seconds since 1970; by default now.
    """
    now = int(time.time())
    method = "anonymous" if user["is_anonymous"] else "password"
    return {
        "iss": f"{api_url}/auth/v1",
        "sub": str(user["id"]),
        "aud": user["aud"] or "authenticated",
        "exp": now + TOKEN_LIFETIME,
        "iat": now,
        "email": user["email"] or "",
        "phone": user["phone"] or "",
        "app_metadata": _object(user["raw_app_meta_data"]),
        "user_metadata": _object(user["raw_user_meta_data"]),
        "role": user["role"] or "authenticated",
        "aal": "aal1",
        "amr": [{"method": method, "timestamp": signed_in_at or now}],
        "session_id": str(session or uuid.uuid4()),
        "is_anonymous": bool(user["is_anonymous"]),
    }


def _object(document: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    return json.loads(document) if isinstance(document, str) else document or {}
