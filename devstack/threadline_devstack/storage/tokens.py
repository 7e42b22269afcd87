"""Who calls, by their token; and the tokens of signed links."""

import time
from dataclasses import dataclass
from typing import Any

import jwt

from threadline_devstack import keys
from threadline_devstack.storage import refusals

ROLES = ("anon", "authenticated", "service_role")


@dataclass(frozen=True)
class Caller:
    """For whom a call acts: a role of the database, and the claims that policies read."""

    role: str
    claims: dict[str, Any]

    @property
    def owner(self) -> str | None:
        """Return the user to whom what is stored belongs."""
        return self.claims.get("sub")


SERVICE = Caller("service_role", {"role": "service_role"})


def identify(authorization: str | None, apikey: str | None, signing_key: keys.SigningKey) -> Caller:
    """Return who holds a token, or else the key, which the gateway makes a token of; raise Refusal for nobody."""
    token = (authorization or "").removeprefix("Bearer ")
    if not token or token.startswith("sb_"):
        token = keys.gateway_key(token or apikey or "")
    if not token:
        raise refusals.invalid_request("headers must have required property 'authorization'")
    try:
        algorithm = jwt.get_unverified_header(token).get("alg")
    except jwt.PyJWTError as error:
        raise refusals.access_denied("JWS Protected Header is invalid") from error
    key: Any = keys.JWT_SECRET if algorithm == "HS256" else jwt.PyJWK(signing_key.public_jwk)
    try:
        claims = jwt.decode(
            token, key, algorithms=["HS256" if algorithm == "HS256" else "ES256"], options={"verify_aud": False}
        )
    except jwt.ExpiredSignatureError as error:
        raise refusals.access_denied('"exp" claim timestamp check failed') from error
    except jwt.PyJWTError as error:
        raise refusals.access_denied("signature verification failed") from error
    role = claims.get("role", "anon")
    if role not in ROLES:
        raise refusals.access_denied(f'role "{role}" does not exist')
    return Caller(role, claims)


def sign(place: str, lifetime: int) -> str:
    """Return the token of a link to bucket/path that works for some seconds."""
    now = int(time.time())
    # Without a role, so that it is nobody's access token.
    claims = {"url": place, "scope": "download", "iat": now, "exp": now + lifetime}
    return jwt.encode(claims, keys.JWT_SECRET, algorithm="HS256")


def check(token: str, place: str) -> None:
    """Raise Refusal unless a token is of a link to bucket/path and not too old."""
    try:
        claims = jwt.decode(token, keys.JWT_SECRET, algorithms=["HS256"])
    except jwt.ExpiredSignatureError as error:
        raise refusals.invalid_link("InvalidJWT", '"exp" claim timestamp check failed') from error
    except jwt.PyJWTError as error:
        raise refusals.invalid_link("InvalidJWT", "signature verification failed") from error
    if claims.get("url") != place or claims.get("scope") != "download":
        raise refusals.invalid_link("InvalidSignature", "Invalid signature")
