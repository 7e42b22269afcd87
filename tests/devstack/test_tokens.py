"""Keys and tokens of a local project have the form that Supabase clients expect."""

import time
import uuid
from pathlib import Path
from typing import Any

import jwt
import pytest
from threadline_devstack import keys
from threadline_devstack.gateway import token_for_key

URL = "http://127.0.0.1:54321"

USER = {
    "id": uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "aud": "authenticated",
    "role": "authenticated",
    "email": "ada@example.com",
    "phone": None,
    "raw_app_meta_data": '{"provider": "email", "providers": ["email"]}',
    "raw_user_meta_data": None,
    "is_anonymous": False,
}
# Printed by every `supabase start`.
CLI_ANON_KEY = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJpc3MiOiJzdXBhYmFzZS1kZW1vIiwicm9sZSI6ImFub24iLCJleHAiOjE5ODM4MTI5OTZ9."
    "CRXP1A7WOeoJeXxjNni43kdQwgnWNReilDMblYTn_I0"
)


@pytest.fixture
def key(tmp_path: Path) -> keys.SigningKey:
    """The signing key of a new home."""
    return keys.SigningKey.of(tmp_path / "signing-key.json")


def claims_of(token: str, key: keys.SigningKey) -> dict[str, Any]:
    """Verify a token as a service does that knows the public key only."""
    return jwt.decode(token, jwt.PyJWK(key.public_jwk), algorithms=["ES256"], audience="authenticated")


def test_role_keys_are_those_of_the_supabase_cli() -> None:
    assert keys.ANON_KEY == CLI_ANON_KEY
    claims = jwt.decode(keys.SERVICE_ROLE_KEY, keys.JWT_SECRET, algorithms=["HS256"])
    assert claims == {"iss": "supabase-demo", "role": "service_role", "exp": 1983812996}


def test_gateway_turns_opaque_keys_into_tokens() -> None:
    assert token_for_key(keys.PUBLISHABLE_KEY) == keys.ANON_KEY
    assert token_for_key(keys.SECRET_KEY) == keys.SERVICE_ROLE_KEY
    assert token_for_key(keys.SERVICE_ROLE_KEY) == keys.SERVICE_ROLE_KEY
    assert token_for_key("sb_secret_of-another-project") == "sb_secret_of-another-project"


def test_user_token_has_the_claims_of_supabase_auth(key: keys.SigningKey) -> None:
    claims = claims_of(key.sign(keys.user_claims(USER, api_url=URL)), key)
    issued, session = claims.pop("iat"), claims.pop("session_id")
    assert abs(time.time() - issued) < 5
    assert uuid.UUID(session).version == 4
    assert claims == {
        "iss": "http://127.0.0.1:54321/auth/v1",
        "sub": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "aud": "authenticated",
        "exp": issued + 3600,
        "email": "ada@example.com",
        "phone": "",
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "user_metadata": {},
        "role": "authenticated",
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": issued}],
        "is_anonymous": False,
    }


def test_user_row_with_nulls_gets_a_token(key: keys.SigningKey) -> None:
    bare = dict.fromkeys(USER) | {"id": USER["id"], "is_anonymous": True}
    claims = claims_of(key.sign(keys.user_claims(bare, api_url=URL)), key)
    assert (claims["role"], claims["email"], claims["is_anonymous"]) == ("authenticated", "", True)


def test_signing_key_is_created_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "signing-key.json"
    first = keys.SigningKey.of(path)
    assert keys.SigningKey.of(path).jwk == first.jwk
    assert path.stat().st_mode & 0o777 == 0o600


def test_public_key_has_no_secret_and_tokens_name_it(key: keys.SigningKey) -> None:
    token = key.sign(keys.user_claims(USER, api_url=URL))
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": key.public_jwk["kid"], "typ": "JWT"}
    assert key.public_jwk.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use", "key_ops"}
