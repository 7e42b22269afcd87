"""What stands in for Supabase Auth: the public key of the tokens that `threadline token` makes."""

from typing import Any

from litestar import get
from litestar.handlers import HTTPRouteHandler

from threadline.local.home import Home
from threadline.local.keys import SigningKey

JWKS_PATH = "/auth/v1/.well-known/jwks.json"


def jwks_route(home: Home) -> HTTPRouteHandler:
    """Return the route that publishes the key of this home."""
    key = SigningKey.of(home.signing_key)

    @get(JWKS_PATH)
    async def jwks() -> dict[str, list[dict[str, Any]]]:
        return {"keys": [key.public_jwk]}

    return jwks
