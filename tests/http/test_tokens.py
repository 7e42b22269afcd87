"""Tokens signed by a JWKS key or the shared secret are accepted; all others are refused."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from threadline import tokens
from threadline.settings import Settings
from threadline.tokens import InvalidTokenError, Verifier
from threadline_devstack import keys

from tests.support.cluster import TestCluster, free_port
from tests.support.team import running_service
from tests.support.tokens import JWT_SECRET, bearer, sign
from tests.support.world import BASE, MATTY, MESSAGE

PATH = f"{BASE}/{MESSAGE}"


class Issuer:
    """Serves a key list, counts the requests for it, and signs tokens."""

    def __init__(self) -> None:
        self.fetches = 0
        self.mode = "well"
        self.keys: dict[str, Any] = {}
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.fetches += 1
                time.sleep(0.05)  # long enough for other requests to overlap
                if issuer.mode in {"silent", "babbling"}:
                    self.wfile.write(b"220 mail\r\n" if issuer.mode == "babbling" else b"")
                    self.close_connection = True
                    return
                listed = {"keys": [key.public for key in issuer.keys.values()]}
                body = {"well": json.dumps(listed), "empty": '{"keys": []}', "garbled": "<html>"}[issuer.mode].encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Issuer":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, kid: str, algorithm: str = "ES256") -> "Key":
        """Create a key and list it."""
        self.keys[kid] = Key(kid, algorithm)
        return self.keys[kid]


class Key:
    """A key pair."""

    def __init__(self, kid: str, algorithm: str = "ES256") -> None:
        self.kid, self.algorithm = kid, algorithm
        if algorithm == "ES256":
            self.private = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            public = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        self.public = {**public, "kid": kid, "alg": algorithm, "use": "sig"}

    def sign(self, kid: str | None = None, **claims: Any) -> str:
        """Return a token of Matty's with these claims changed; None removes a claim."""
        headers = {"kid": kid or self.kid}
        return jwt.encode(claims_of(**claims), self.private, algorithm=self.algorithm, headers=headers)


def claims_of(**claims: Any) -> dict[str, Any]:
    """Return the claims of a token of Matty's; None removes a claim."""
    given = {"sub": MATTY, "aud": "authenticated", "role": "authenticated", "exp": int(time.time()) + 60, **claims}
    return {name: value for name, value in given.items() if value is not None}


def raw(header: Any, claims: Any, signature: bytes = b"") -> str:
    """Return any header and claims in the form of a token."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.add("ec")
        issuer.add("rsa", "RS256")
        yield issuer


@pytest.fixture(scope="module")
def client(
    cluster: TestCluster, template: str, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of a service that knows the issuer and the secret."""
    log = tmp_path_factory.mktemp("tokens") / "log"
    with running_service(cluster, template, log, SUPABASE_URL=issuer.url) as running:
        yield running.client


def status(client: httpx.Client, token: str) -> int:
    """Send a token and return the status; check the shape of a refusal."""
    reply = client.get(PATH, headers=bearer(token))
    if reply.status_code != 200:
        body = reply.json()
        assert (body["success"], body["error"]["code"]) == (False, "invalid_token")
        assert reply.headers["www-authenticate"] == "Bearer"
        assert reply.headers["content-type"] == "application/json"
    return reply.status_code


def test_tokens_of_all_algorithms_are_accepted(client: httpx.Client, issuer: Issuer) -> None:
    tokens = [issuer.keys["ec"].sign(), issuer.keys["rsa"].sign(), sign(claims_of())]
    assert [status(client, token) for token in tokens] == [200] * 3


def test_bearer_is_accepted_in_any_case(client: httpx.Client) -> None:
    reply = client.get(PATH, headers={"authorization": f"bEARER {sign(claims_of())}"})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": 1},
        {"role": None},
        {"role": "anon"},
        {"role": "postgres"},
        {"role": ["authenticated"]},
        {"sub": None},
        {"sub": "matty"},
        {"sub": ""},
        {"sub": 5},
        {"aud": None},
        {"aud": "anon"},
        {"aud": "unauthenticated"},
        {"aud": ["other"]},
        {"aud": []},
        {"nbf": 4_000_000_000},
    ],
    ids=str,
)
def test_token_with_wrong_claims_is_401(client: httpx.Client, issuer: Issuer, claims: dict[str, Any]) -> None:
    assert status(client, sign(claims_of(**claims))) == 401
    assert status(client, issuer.keys["ec"].sign(**claims)) == 401


DEEP = "[" * 20_000 + "]" * 20_000


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": 5},
        {"aud": 1.5},
        {"aud": True},
        {"aud": {"authenticated": True}},
        {"aud": [["authenticated"]]},
        {"sub": "urn:uuid:" + MATTY},
        {"sub": "{" + MATTY + "}"},
        {"sub": MATTY.replace("-", "")},
        {"sub": MATTY + "\n"},
        {"sub": MATTY + "\0"},
        {"sub": [MATTY]},
        {"exp": [1]},
        {"exp": {}},
        {"exp": True},
        {"exp": "soon"},
        {"iat": []},
        {"nbf": {}},
        {"role": {}},
        {"role": 5},
        {"email": "a\0b"},
        {"app_metadata": {"a\0b": [1]}},
        {"email": "\ud800"},
        {"name\0": 1},
        {"role": "service_role", "sub": "matty"},
        {"role": "service_role", "sub": ""},
        {"email": "\\\0"},
    ],
    ids=lambda claims: ascii(claims)[:40],
)
def test_token_with_odd_claims_is_401(client: httpx.Client, claims: dict[str, Any]) -> None:
    assert status(client, sign_text(json.dumps(claims_of(**claims)))) == 401


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "aud", "sub", "role", "other"])
@pytest.mark.parametrize("value", ["1e400", "-1e400", "NaN", "Infinity", "9" * 5000, DEEP])
def test_token_with_odd_numbers_is_401(client: httpx.Client, name: str, value: str) -> None:
    text = json.dumps(claims_of(**{name: "PLANTED"})).replace('"PLANTED"', value)
    assert status(client, sign_text(text)) == 401


def test_token_with_large_ordinary_claims_is_accepted(client: httpx.Client) -> None:
    odd = {"n": 10**300, "f": 1e300, "text": "\\u0000 \U0001f600 \u202e", "deep": [[[[{}]]]], "exp": 4e9}
    assert status(client, sign(claims_of(**odd))) == 200


def test_deep_token_header_is_401(client: httpx.Client) -> None:
    header = base64.urlsafe_b64encode(b'{"alg": "HS256", "x": ' + DEEP.encode()).rstrip(b"=").decode()
    assert status(client, f"{header}.{header}.x") == 401


def sign_text(claims: str) -> str:
    """Sign any text as claims."""
    return jwt.api_jws.encode(claims.encode("utf-8", "surrogatepass"), JWT_SECRET, algorithm="HS256")


@pytest.mark.parametrize(("ago", "expected"), [(20, 200), (40, 401)])
def test_expiry_allows_30_seconds_of_clock_skew(client: httpx.Client, ago: int, expected: int) -> None:
    assert status(client, sign(claims_of(exp=int(time.time()) - ago))) == expected


def test_audience_can_be_a_list(client: httpx.Client) -> None:
    assert status(client, sign(claims_of(aud=["other", "authenticated"]))) == 200


def test_service_key_needs_no_user_and_no_audience(client: httpx.Client) -> None:
    reply = client.get(PATH, headers=bearer(sign({"role": "service_role", "exp": int(time.time()) + 60})))
    assert reply.status_code == 200
    assert [name for name in reply.headers if name.startswith("ratelimit")] == []


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS512", "ES512", "EdDSA", "HS256 ", None, 5, []])
def test_unsupported_algorithm_is_401(client: httpx.Client, algorithm: Any) -> None:
    assert status(client, raw({"alg": algorithm, "kid": "ec"}, claims_of())) == 401
    assert status(client, raw({"alg": algorithm, "kid": "ec"}, claims_of(), b"x" * 64)) == 401


@pytest.mark.parametrize(
    "header", [{}, {"typ": "JWT"}, {"alg": "ES256"}, {"alg": "ES256", "kid": 5}, [], None, "x", 5], ids=str
)
def test_incomplete_token_header_is_401(client: httpx.Client, header: Any) -> None:
    assert status(client, raw(header, claims_of(), b"x" * 64)) == 401


@pytest.mark.parametrize("claims", [[], None, 5, "x"], ids=str)
def test_claims_other_than_an_object_are_401(client: httpx.Client, claims: Any) -> None:
    header, body = raw({"alg": "HS256"}, claims).split(".")[:2]
    signed = jwt.api_jws.encode(json.dumps(claims).encode(), JWT_SECRET, algorithm="HS256")
    assert [status(client, token) for token in (f"{header}.{body}.", signed)] == [401, 401]


@pytest.mark.parametrize("kid", ["ec", "rsa"])
def test_public_key_does_not_work_as_a_shared_secret(client: httpx.Client, issuer: Issuer, kid: str) -> None:
    public = issuer.keys[kid].private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, pem.strip(), json.dumps(issuer.keys[kid].public).encode()):
        unsigned = raw({"alg": "HS256", "kid": kid}, claims_of()).rstrip(".")
        signature = base64.urlsafe_b64encode(hmac.digest(secret, unsigned.encode(), hashlib.sha256)).rstrip(b"=")
        assert status(client, f"{unsigned}.{signature.decode()}") == 401


def test_wrong_key_does_not_verify(client: httpx.Client, issuer: Issuer) -> None:
    assert status(client, issuer.keys["ec"].sign(kid="rsa")) == 401
    assert status(client, Key("ec").sign()) == 401
    assert status(client, sign(claims_of(), "another-secret-of-thirty-two-characters")) == 401


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Bearer", "Bearer  x", "Basic eDp5", "Bearer x", "Bearer a.b.c", "Bearer ...",
        f"Bearer {keys.PUBLISHABLE_KEY}", f"Bearer {keys.SECRET_KEY}", "Bearer sb_publishable_x",
        "Bearer \xe9.\xe9.\xe9",
        "Bearer " + "x" * 10_000, "Bearer " + "." * 1000,
    ],
    ids=lambda header: str(header)[:30],
)  # fmt: skip
def test_malformed_token_is_401(client: httpx.Client, header: str | None) -> None:
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    reply = client.get(PATH, headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_token")


@pytest.fixture
def own() -> Iterator[tuple[Issuer, Verifier]]:
    """An issuer, and a verifier that has not fetched its keys yet."""
    with Issuer() as issuer:
        issuer.add("ec")
        yield (
            issuer,
            Verifier(Settings("", jwks_url=f"{issuer.url}/auth/v1/.well-known/jwks.json", jwt_secret=JWT_SECRET)),
        )


def accepted(verifier: Verifier, *tokens: str) -> list[bool]:
    """Verify tokens concurrently and return which are accepted; raise errors other than a refusal."""

    async def one(token: str) -> bool:
        try:
            return json.loads((await verifier.verify(f"Bearer {token}")).claims)["sub"] == MATTY
        except InvalidTokenError:
            return False

    async def everything() -> list[bool]:
        return await asyncio.gather(*map(one, tokens))

    return asyncio.run(everything())


def test_key_list_is_fetched_once(own: tuple[Issuer, Verifier]) -> None:
    issuer, verifier = own
    assert accepted(verifier, *(issuer.keys["ec"].sign() for _ in range(20))) == [True] * 20
    assert accepted(verifier, issuer.keys["ec"].sign()) == [True]
    assert issuer.fetches == 1


def test_new_key_is_fetched_once_and_unknown_keys_never(
    own: tuple[Issuer, Verifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, verifier = own
    assert accepted(verifier, issuer.keys["ec"].sign()) == [True]
    foreign = [Key("unknown").sign(kid=f"unknown {number}") for number in range(20)]
    assert accepted(verifier, *foreign) == [False] * 20
    assert issuer.fetches == 1
    rotated = issuer.add("new").sign()
    monkeypatch.setattr(tokens, "KEYS_PATIENCE", 0)
    assert accepted(verifier, rotated) == [True]
    assert issuer.fetches == 2
    assert accepted(verifier, *[rotated] * 20, issuer.keys["ec"].sign()) == [True] * 21
    assert issuer.fetches == 2


def test_known_keys_work_while_the_issuer_fails(own: tuple[Issuer, Verifier], monkeypatch: pytest.MonkeyPatch) -> None:
    issuer, verifier = own
    token = issuer.keys["ec"].sign()
    assert accepted(verifier, token) == [True]
    for name in ("KEYS_PATIENCE", "KEYS_LIFETIME"):
        monkeypatch.setattr(tokens, name, 0)
    for issuer.mode in ("garbled", "silent", "babbling", "empty"):
        assert accepted(verifier, token) == [True]
    assert issuer.fetches == 5


def test_accepted_token_expires_and_can_lose_its_key(
    own: tuple[Issuer, Verifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, verifier = own
    token, short = issuer.keys["ec"].sign(exp=int(time.time()) + 1000), issuer.keys["ec"].sign()
    assert accepted(verifier, token, short) == [True, True]
    with monkeypatch.context() as later:
        later.setattr(tokens, "LEEWAY", -100)  # as if it were 130 seconds later
        assert accepted(verifier, token, short) == [True, False]
    del issuer.keys["ec"]
    issuer.add("new")
    for name in ("KEYS_PATIENCE", "KEYS_LIFETIME"):
        monkeypatch.setattr(tokens, name, 0)
    assert accepted(verifier, token) == [False]


def test_key_replaced_under_its_id_ends_its_tokens(
    own: tuple[Issuer, Verifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, verifier = own
    token = issuer.keys["ec"].sign()
    assert accepted(verifier, token) == [True]
    issuer.add("ec")
    for name in ("KEYS_PATIENCE", "KEYS_LIFETIME"):
        monkeypatch.setattr(tokens, name, 0)
    assert accepted(verifier, token) == [False]


def test_header_with_the_algorithm_of_another_key_is_refused(own: tuple[Issuer, Verifier]) -> None:
    issuer, verifier = own
    claims = raw({"alg": "RS256", "kid": "ec"}, claims_of()).rpartition(".")[0]
    signature = ECAlgorithm(ECAlgorithm.SHA256).sign(claims.encode(), issuer.keys["ec"].private)
    assert accepted(verifier, raw({"alg": "RS256", "kid": "ec"}, claims_of(), signature)) == [False]


def test_token_cache_is_bounded(own: tuple[Issuer, Verifier], monkeypatch: pytest.MonkeyPatch) -> None:
    issuer, verifier = own
    monkeypatch.setattr(tokens, "REMEMBERED", 2)
    several = [issuer.keys["ec"].sign(session=number) for number in range(3)]
    assert accepted(verifier, *several) == accepted(verifier, *several) == [True] * 3
    assert len(verifier._verified) == 2
    assert accepted(verifier, f"{several[2][:-8]}AAAAAAAA") == [False]


def test_other_requests_go_on_while_keys_are_fetched(own: tuple[Issuer, Verifier]) -> None:
    issuer, verifier = own

    async def verify() -> bool:
        verifying = asyncio.create_task(verifier.verify(f"Bearer {issuer.keys['ec'].sign()}"))
        await asyncio.sleep(0.01)
        is_waiting = not verifying.done()
        await verifying
        return is_waiting

    assert asyncio.run(verify())


def test_wrong_setting_is_named_in_the_log(
    own: tuple[Issuer, Verifier], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    issuer, verifier = own
    # A machine that has just started.
    monkeypatch.setattr(tokens, "time", SimpleNamespace(monotonic=lambda: 5.0, time=time.time))
    assert accepted(verifier, issuer.keys["ec"].sign()) == [True]
    nowhere = Verifier(Settings("", jwks_url=f"http://127.0.0.1:{free_port()}/jwks.json"))
    nameless = raw({"alg": "ES256"}, claims_of(), b"x" * 64)
    unfetched, unknown = "The keys of SUPABASE_URL cannot be fetched", "is signed with none of the keys of SUPABASE_URL"
    for checking, token, said in (
        (Verifier(Settings("")), sign(claims_of()), ["is signed with a legacy secret, and JWT_SECRET is not set"]),
        (Verifier(Settings("")), nameless, ["is signed with a key of the project, and SUPABASE_URL is not set"]),
        (Verifier(Settings("", jwks_url=verifier._client.uri)), issuer.keys["ec"].sign(kid="x"), [unknown]),
        (Verifier(Settings("", jwks_url=verifier._client.uri)), nameless, [unknown]),
        (nowhere, nameless, [unfetched, unknown]),
    ):
        caplog.clear()
        assert accepted(checking, token) == [False]
        assert [line.removeprefix("An access token ") for line in caplog.messages] == said


def test_odd_algorithm_does_not_ask_the_issuer(own: tuple[Issuer, Verifier]) -> None:
    issuer, verifier = own
    assert accepted(verifier, raw({"alg": "ES384", "kid": "ec"}, claims_of(), b"x" * 96)) == [False]
    assert issuer.fetches == 0


def test_verifier_has_the_chosen_limits(own: tuple[Issuer, Verifier]) -> None:
    assert own[1]._client.timeout == 5
    assert tokens.ASYMMETRIC == ("ES256", "RS256")
    seconds = tokens.LEEWAY, tokens.KEYS_LIFETIME, tokens.KEYS_PATIENCE, tokens.WARNING_PAUSE
    assert (seconds, tokens.REMEMBERED) == ((30, 600, 10, 60), 10_000)
    assert tokens.Caller("service_role", '{"role": "service_role"}') == tokens.SERVICE


@pytest.mark.parametrize("mode", ["silent", "babbling", "empty", "garbled"])
def test_failing_issuer_is_asked_once_and_tokens_are_refused(own: tuple[Issuer, Verifier], mode: str) -> None:
    issuer, verifier = own
    issuer.mode = mode
    found = accepted(verifier, *(issuer.keys["ec"].sign() for _ in range(10)), sign(claims_of()))
    assert found == [False] * 10 + [True]
    assert accepted(verifier, issuer.keys["ec"].sign()) == [False]
    assert issuer.fetches == 1


def test_caller_is_named_as_postgres_names_users() -> None:
    def caller(**claims: Any) -> tuple[str, str | None]:
        found = asyncio.run(Verifier(Settings("", jwt_secret=JWT_SECRET)).verify(f"Bearer {sign(claims_of(**claims))}"))
        return found.role, found.user_id

    assert caller(sub=MATTY.upper()) == ("authenticated", MATTY)
    assert caller(role="service_role") == caller(role="service_role", sub=None) == ("service_role", None)


def test_refusal_says_what_to_send(caplog: pytest.LogCaptureFixture) -> None:
    secret = JWT_SECRET * 2  # as long as HS512 wants it
    verifier = Verifier(Settings("", jwt_secret=secret))
    other = jwt.encode(claims_of(), secret, algorithm="HS512")
    foreign = sign(claims_of(), "another-secret-of-thirty-two-characters")
    for header, sentence in (
        (None, "The access token is missing"),
        ("Basic x", "The access token is missing"),
        ("Bearer ", "The access token is missing"),
        ("Bearer sb_publishable_x", "This is an API key"),
        (f"Bearer {other}", "The access token is invalid or has expired"),
        (f"Bearer {foreign}", "The access token is invalid or has expired"),
        (f"Bearer {foreign}", "The access token is invalid or has expired"),
        (f"Bearer {sign(claims_of(role='anon'), secret)}", "The access token does not belong to a signed-in user"),
        (f"Bearer {sign(claims_of(sub=None), secret)}", "The access token has no user id"),
    ):
        with pytest.raises(InvalidTokenError, match=f"^{sentence}"):
            asyncio.run(verifier.verify(header))
    # One warning a minute, because anyone can send such tokens.
    assert caplog.messages == ["An access token has another signature than JWT_SECRET gives"]


def test_unreachable_issuer_refuses_tokens() -> None:
    verifier = Verifier(Settings("", jwks_url=f"http://127.0.0.1:{free_port()}/jwks.json"))
    assert accepted(verifier, Key("ec").sign()) == [False]


def test_without_issuer_and_secret_all_tokens_are_refused() -> None:
    verifier = Verifier(Settings(""))
    candidates = [sign(claims_of()), Key("ec").sign(), sign(claims_of(), "x" * 32), raw({"alg": "none"}, claims_of())]
    assert accepted(verifier, *candidates) == [False] * 4
