"""Access tokens: accepted ones, and the words of refusals."""

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from threadline_devstack import keys
from threadline_devstack.jwt import Verifier
from threadline_devstack.realtime.tokens import TokenError, Tokens

USER = {"role": "authenticated", "sub": "someone", "exp": int(time.time()) + 86_400}


@pytest.fixture
def key(tmp_path: Path) -> keys.SigningKey:
    return keys.SigningKey.of(tmp_path / "key.json")


@pytest.fixture
def tokens(key: keys.SigningKey) -> Tokens:
    return Tokens(Verifier(key))


def signed(claims: dict[str, Any], secret: str = keys.JWT_SECRET, algorithm: str = "HS256", **header: str) -> str:
    return jwt.encode(claims, secret, algorithm=algorithm, headers=header)


def test_both_signature_algorithms_are_accepted(tokens: Tokens, key: keys.SigningKey) -> None:
    for token in (signed(USER), signed(USER, kid="of the legacy secret"), key.sign(USER)):
        claims = tokens.verify(token)
        assert (claims.role, claims.all["sub"], claims.expires_at) == ("authenticated", "someone", USER["exp"])


def test_remembered_token_still_expires(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed(USER)
    tokens.verify(token)
    monkeypatch.setattr(time, "time", lambda: USER["exp"] + 7.5)
    with pytest.raises(TokenError, match=r"^InvalidJWTToken: Token has expired 7 seconds ago$"):
        tokens.verify(token)


@pytest.mark.parametrize(
    ("token", "refusal"),
    [
        ("", "MalformedJWT: The token provided is not a valid JWT"),
        ("a.b.c", "MalformedJWT: The token provided is not a valid JWT"),
        (signed(USER, "x" * 40), "JwtSignatureError: Failed to validate JWT signature"),
        (signed({**USER, "exp": "soon"}), "InvalidJWTToken: Token expiration time is invalid"),
        (signed({"exp": USER["exp"]}), "InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
        (signed({"role": "anon"}), "InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
        (
            signed(USER, "", "none"),
            "JwtSignerError: Failed to generate JWT signer, check your JWT secret or JWKS configuration",
        ),
    ],
    ids=["empty", "not a JWT", "wrong secret", "exp is a word", "no role", "no exp", "unsigned"],
)
def test_wrong_tokens_are_refused(tokens: Tokens, token: str, refusal: str) -> None:
    with pytest.raises(TokenError) as caught:
        tokens.verify(token)
    assert str(caught.value) == refusal


def test_foreign_key_is_refused(tokens: Tokens, key: keys.SigningKey, tmp_path: Path) -> None:
    other = keys.SigningKey.of(tmp_path / "other.json")
    with pytest.raises(TokenError, match=f'^JwtSignerError: .* key ID \\(kid\\) "{other.jwk["kid"]}"'):
        tokens.verify(other.sign(USER))
    # The public key is no secret: it must not serve as one.
    forged = signed(USER, str(key.public_jwk["kid"]).ljust(32, "x"), kid=str(key.public_jwk["kid"]))
    with pytest.raises(TokenError, match="JwtSignatureError"):
        tokens.verify(forged)
