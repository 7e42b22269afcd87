"""/auth/v1: users sign in with passwords, stay signed in, sign out; the secret key manages them."""

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import jwt
import psycopg
import pytest
from supabase.lib.client_options import SyncClientOptions
from supabase_auth.errors import AuthApiError
from threadline_devstack import keys

from supabase import Client, create_client
from tests.support import tools
from tests.support.stack import RunningStack

SEEDED = {"email": "matty@example.com", "password": "password123"}


@pytest.fixture
def http(stack: RunningStack) -> Iterator[httpx.Client]:
    """Speaks plain HTTP with Auth."""
    with httpx.Client(base_url=f"{stack.api_url}/auth/v1", timeout=60) as client:
        yield client


@pytest.fixture
def clients(stack: RunningStack) -> Iterator[Callable[[str], Client]]:
    """Makes the official client with a key."""
    with httpx.Client(timeout=60) as transport:
        options = SyncClientOptions(httpx_client=transport, auto_refresh_token=False)
        yield lambda key: create_client(stack.api_url, key, options)


@pytest.fixture
def admin(clients: Callable[[str], Client]) -> Client:
    """The official client with the secret key."""
    return clients(keys.SECRET_KEY)


@pytest.fixture
def client(clients: Callable[[str], Client]) -> Client:
    """The official client as an application has it."""
    return clients(keys.PUBLISHABLE_KEY)


def sign_in(http: httpx.Client, **wanted: str) -> httpx.Response:
    return http.post("/token?grant_type=password", json=SEEDED | wanted)


def refresh(http: httpx.Client, token: str) -> httpx.Response:
    return http.post("/token?grant_type=refresh_token", json={"refresh_token": token})


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"code", "error_code", "msg"}
    assert body["code"] == answer.status_code
    return answer.status_code, body["error_code"]


def test_python_client_signs_in_refreshes_and_signs_out(stack: RunningStack, client: Client) -> None:
    session = client.auth.sign_in_with_password({"email": "Matty@Example.com", "password": "password123"}).session
    assert client.auth.get_user().user.email == "matty@example.com"
    claims = jwt.decode(session.access_token, options={"verify_signature": False})
    assert jwt.get_unverified_header(session.access_token)["alg"] == "ES256"
    assert (claims["iss"], claims["aud"]) == (f"{stack.api_url}/auth/v1", "authenticated")
    again = client.auth.refresh_session().session
    renewed = jwt.decode(again.access_token, options={"verify_signature": False})
    assert again.refresh_token != session.refresh_token
    assert (renewed["session_id"], renewed["amr"]) == (claims["session_id"], claims["amr"])
    client.auth.sign_out()
    with pytest.raises(AuthApiError) as caught:
        client.auth.refresh_session(again.refresh_token)
    assert caught.value.code == "refresh_token_not_found"


def test_python_client_signs_up_and_manages_users(client: Client, admin: Client) -> None:
    email = f"{uuid.uuid4()}@example.com"
    made = client.auth.sign_up({"email": email, "password": "secret!", "options": {"data": {"name": "Ann"}}})
    assert made.session
    assert made.user.user_metadata == {"name": "Ann", "email_verified": True}
    with pytest.raises(AuthApiError) as caught:
        client.auth.sign_up({"email": email.upper(), "password": "secret!"})
    assert caught.value.code == "user_already_exists"

    wanted = {"email": f"b{email}", "password": "secret!", "email_confirm": True, "app_metadata": {"team": 7}}
    other = admin.auth.admin.create_user(wanted).user
    assert (other.app_metadata["team"], other.app_metadata["provider"]) == (7, "email")
    assert {made.user.id, other.id} <= {user.id for user in admin.auth.admin.list_users()}
    assert client.auth.sign_in_with_password({"email": f"b{email}", "password": "secret!"}).user.id == other.id
    for user in (made.user, other):
        admin.auth.admin.delete_user(user.id)
        with pytest.raises(AuthApiError) as caught:
            admin.auth.admin.get_user_by_id(user.id)
        assert (caught.value.status, caught.value.code) == (404, "user_not_found")


@pytest.mark.skipif(tools.deno() is None, reason=tools.why_not("deno"))
def test_javascript_client_signs_in_refreshes_and_signs_out(stack: RunningStack) -> None:
    rights = ["--no-lock", "--node-modules-dir=manual", "--allow-net=127.0.0.1", "--allow-env", "--allow-read"]
    script = Path(__file__).with_name("auth.ts")
    arguments = [stack.api_url, keys.PUBLISHABLE_KEY, *SEEDED.values()]
    command = [tools.deno(), "run", "--quiet", *rights, script, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {
        "wrong": "invalid_credentials",
        "right": None,
        "renewed": True,
        "known": "matty@example.com",
        "out": None,
        "gone": "refresh_token_not_found",
    }


def test_wrong_password_and_unknown_address_get_one_answer(http: httpx.Client) -> None:
    wrong, unknown = sign_in(http, password="password124"), sign_in(http, email="unknown@example.com")
    assert refusal(wrong) == (400, "invalid_credentials")
    assert wrong.content == unknown.content
    assert refusal(sign_in(http, password="x" * 100)) == (400, "invalid_credentials")
    assert refusal(sign_in(http, email="")) == (400, "validation_failed")
    for body in (b"{", b"[]", b"[" * 100_000, b'{"email":"\xff"}'):
        assert refusal(http.post("/token?grant_type=password", content=body)) == (400, "bad_json")
    assert refusal(http.post("/token?grant_type=magic", json={})) == (400, "invalid_credentials")


def test_api_version_header_selects_the_error_form(http: httpx.Client) -> None:
    http.headers["x-supabase-api-version"] = "2024-01-01"
    answer = sign_in(http, password="no")
    assert answer.json() == {"code": "invalid_credentials", "message": "Invalid login credentials"}
    assert answer.headers["x-supabase-api-version"] == "2024-01-01"


def test_late_reuse_of_a_refresh_token_ends_the_session(stack: RunningStack, http: httpx.Client) -> None:
    first = sign_in(http).json()
    second = refresh(http, first["refresh_token"]).json()
    # The answer may have been lost: the token before the last returns the last one again.
    assert refresh(http, first["refresh_token"]).json()["refresh_token"] == second["refresh_token"]
    third = refresh(http, second["refresh_token"]).json()
    assert refresh(http, first["refresh_token"]).json()["refresh_token"] == third["refresh_token"]
    with psycopg.connect(stack.database_url()) as connection:
        connection.execute("update auth.sessions set refreshed_at = refreshed_at - '1 minute'::interval")
    assert refusal(refresh(http, first["refresh_token"])) == (400, "refresh_token_already_used")
    assert refusal(refresh(http, third["refresh_token"])) == (400, "refresh_token_not_found")
    assert refusal(http.get("/user", headers=bearer(third["access_token"]))) == (403, "session_not_found")


@pytest.mark.parametrize("token", ["x", "é", "AAAA", "A" * 54 + "==", ""])
def test_forged_refresh_token_is_refused(http: httpx.Client, token: str) -> None:
    answer = refresh(http, token)
    if token:
        assert refusal(answer) == (400, "refresh_token_not_found")
    else:
        assert answer.json() == {"error": "invalid_request", "error_description": "refresh_token required"}


def test_sign_out_ends_the_sessions_of_its_scope(http: httpx.Client) -> None:
    one, two, three = (sign_in(http).json()["access_token"] for _ in range(3))

    def are_open() -> list[bool]:
        return [http.get("/user", headers=bearer(token)).is_success for token in (one, two, three)]

    assert http.post("/logout?scope=local", headers=bearer(one)).status_code == 204
    assert are_open() == [False, True, True]
    assert http.post("/logout?scope=others", headers=bearer(two)).status_code == 204
    assert are_open() == [False, True, False]
    assert refusal(http.post("/logout?scope=some", headers=bearer(two))) == (400, "validation_failed")
    assert http.post("/logout", headers=bearer(two)).status_code == 204
    assert are_open() == [False, False, False]


def test_token_of_the_command_line_works(stack: RunningStack, http: httpx.Client) -> None:
    answer = http.get("/user", headers=bearer(stack.token("bob@example.com")))
    assert answer.json()["email"] == "bob@example.com"
    assert [identity["provider"] for identity in answer.json()["identities"]] == ["email"]


def test_database_of_an_old_version_prints_what_to_do(stack: RunningStack, http: httpx.Client) -> None:
    with psycopg.connect(stack.database_url("supabase_admin"), autocommit=True) as connection:
        connection.execute("alter table auth.sessions rename to other")
        try:
            run, answer = stack.run("token", "bob@example.com", check=False), sign_in(http)
        finally:
            connection.execute("alter table auth.other rename to sessions")
    assert (run.returncode, "threadline db reset" in run.stderr, "Traceback" in run.stderr) == (1, True, False)
    assert refusal(answer) == (500, "unexpected_failure")
    assert "auth.sessions" not in answer.text


def test_wrong_token_is_refused(http: httpx.Client) -> None:
    def asked(token: str) -> tuple[int, str]:
        return refusal(http.get("/user", headers=bearer(token)))

    claims = {"sub": str(uuid.uuid4()), "role": "authenticated", "exp": int(time.time()) + 60}
    assert refusal(http.get("/user")) == (401, "no_authorization")
    assert asked("a.b.c") == (403, "bad_jwt")
    assert asked(keys.ANON_KEY) == (403, "bad_jwt")
    assert asked(jwt.encode(claims, "x" * 40, algorithm="HS256")) == (403, "bad_jwt")
    assert asked(jwt.encode(claims | {"exp": 1}, keys.JWT_SECRET, algorithm="HS256")) == (403, "bad_jwt")
    assert asked(jwt.encode(claims, keys.JWT_SECRET, algorithm="HS256")) == (403, "user_not_found")


def test_only_the_secret_key_manages_users(http: httpx.Client) -> None:
    user = sign_in(http).json()["access_token"]
    for headers in ({"apikey": keys.PUBLISHABLE_KEY}, bearer(keys.ANON_KEY), bearer(user)):
        assert refusal(http.get("/admin/users", headers=headers)) == (403, "not_admin")
        assert refusal(http.delete(f"/admin/users/{uuid.uuid4()}", headers=headers)) == (403, "not_admin")
    for headers in ({"apikey": keys.SECRET_KEY}, bearer(keys.SECRET_KEY), bearer(keys.SERVICE_ROLE_KEY)):
        assert http.get("/admin/users", headers=headers).is_success


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"email": "x"}, (400, "validation_failed")),
        ({}, (400, "validation_failed")),
        ({"email": "matty@example.com"}, (422, "email_exists")),
        ({"email": "new@example.com", "password": "x" * 73}, (400, "validation_failed")),
        ({"email": "new@example.com", "id": "seven"}, (400, "validation_failed")),
        ({"email": "new@example.com", "id": "b0b0b0b0-0000-4000-8000-000000000002"}, (422, "conflict")),
        ({"email": "new@example.com", "user_metadata": 7}, (400, "bad_json")),
        ({"email": "new\0@example.com"}, (400, "validation_failed")),
        ({"email": "new@example.com", "user_metadata": {"a": [{"\ud800": 1}]}}, (400, "validation_failed")),
    ],
)
def test_wrong_user_is_refused(http: httpx.Client, wanted: dict, expected: tuple[int, str]) -> None:
    answer = http.post("/admin/users", content=json.dumps(wanted), headers={"apikey": keys.SECRET_KEY})
    assert refusal(answer) == expected


def test_unconfirmed_and_banned_users_cannot_sign_in(stack: RunningStack, http: httpx.Client) -> None:
    email = f"{uuid.uuid4()}@example.com"
    wanted = {"email": email, "password": "secret!"}
    made = http.post("/admin/users", json=wanted, headers={"apikey": keys.SECRET_KEY}).json()
    assert refusal(sign_in(http, **wanted)) == (400, "email_not_confirmed")
    with psycopg.connect(stack.database_url()) as connection:
        connection.execute("update auth.users set email_confirmed_at = now() where id = %s", [made["id"]])
    session = sign_in(http, **wanted).json()
    with psycopg.connect(stack.database_url()) as connection:
        connection.execute("update auth.users set banned_until = now() + '1 hour' where id = %s", [made["id"]])
    assert refusal(sign_in(http, **wanted)) == (400, "user_banned")
    assert refusal(refresh(http, session["refresh_token"])) == (400, "user_banned")
    assert refusal(http.get("/user", headers=bearer(session["access_token"]))) == (403, "user_banned")
    assert http.delete(f"/admin/users/{made['id']}", headers={"apikey": keys.SECRET_KEY}).json() == {}


def test_users_and_the_secret_key_change_users(client: Client, admin: Client) -> None:
    email = f"{uuid.uuid4()}@example.com"
    user = client.auth.sign_up({"email": email, "password": "secret!"}).user
    first = client.auth.get_session()
    client.auth.sign_in_with_password({"email": email, "password": "secret!"})
    changed = client.auth.update_user({"data": {"name": "Ann", "email_verified": None}, "password": "secret?"}).user
    assert changed.user_metadata == {"name": "Ann"}
    with pytest.raises(AuthApiError) as caught:
        client.auth.refresh_session(first.refresh_token)
    assert caught.value.code == "refresh_token_not_found"
    with pytest.raises(AuthApiError) as caught:
        client.auth.update_user({"password": "secret?"})
    assert caught.value.code == "same_password"
    with pytest.raises(AuthApiError) as caught:
        client.auth.update_user({"email": "other@example.com"})
    assert caught.value.code == "validation_failed"

    wanted = {"app_metadata": {"team": 7}, "user_metadata": {"name": None}, "password": "secret#"}
    managed = admin.auth.admin.update_user_by_id(user.id, wanted).user
    assert (managed.app_metadata["team"], managed.app_metadata["provider"]) == (7, "email")
    assert managed.user_metadata == {}
    with pytest.raises(AuthApiError):
        client.auth.get_user()
    assert client.auth.sign_in_with_password({"email": email, "password": "secret#"}).user.id == user.id
    admin.auth.admin.delete_user(user.id)


def test_weak_password_is_refused_with_a_reason(http: httpx.Client) -> None:
    answer = http.post("/signup", json={"email": "weak@example.com", "password": "short"})
    assert answer.status_code == 422
    assert answer.json()["weak_password"] == {"reasons": ["length"]}


def test_public_calls_answer_without_a_token(http: httpx.Client) -> None:
    assert http.get("/settings").json()["external"]["email"] is True
    assert http.get("/health").json()["name"] == "GoTrue"
    assert http.get("/.well-known/jwks.json").json()["keys"][0]["alg"] == "ES256"
    assert http.get("/nothing").status_code == 404
    asked = http.options("/token", headers={"access-control-request-headers": "apikey"})
    assert asked.headers["access-control-allow-headers"] == "apikey"
