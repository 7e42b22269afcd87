"""sql/800_gateway.sql: the service's login role calls functions of `public` as the caller, and only those."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege, UndefinedFunction

from tests.support.database import Db, refused, rows, value
from tests.support.world import API_KEY, MATTY

CALL = "select status, body from private.call(%s, %s, %s, %s, '{}', %s)"
ROLES = ["anon", "authenticated", "service_role"]
SETTINGS = ["role", "request.jwt.claims", "request.headers", "response.status"]


@pytest.fixture
def login(postgres_url: str) -> Iterator[Db]:
    """Open a transaction of the service's login role."""
    with psycopg.connect(make_conninfo(postgres_url, user="authenticator")) as connection:
        yield connection
        connection.rollback()


def arguments(
    function: str | None = "messaging_ingest", role: str | None = "service_role", key: str = API_KEY
) -> tuple:
    claims, headers = {"role": role, "sub": MATTY}, {"x-api-key": key}
    body = {"platform": "whatsapp", "connection_id": "wa_business_123", "conversations": []}
    return function, role, json.dumps(claims), json.dumps(headers), json.dumps(body).encode()


def test_gateway_returns_status_and_body(login: Db) -> None:
    assert rows(login, CALL, *arguments()) == [(200, '{"success" : true, "processed" : 0, "results" : []}')]


def test_status_is_reset_after_each_call(login: Db) -> None:
    assert rows(login, CALL, *arguments(key="wrong"))[0][0] == 401
    login.execute("reset role")
    assert rows(login, CALL, *arguments())[0][0] == 200


def test_function_sees_role_claims_and_headers(login: Db) -> None:
    login.execute(CALL, arguments())
    seen = "select current_user::text, auth.role(), auth.uid()::text, current_setting('request.headers')::json"
    assert rows(login, seen) == [("service_role", "service_role", MATTY, {"x-api-key": API_KEY})]


def test_call_leaves_no_settings_after_its_transaction(login: Db) -> None:
    login.execute(CALL, arguments(key="wrong"))
    login.commit()
    left = [value(login, "select current_setting(%s, true)", name) for name in SETTINGS]
    assert left == ["none", "", "", ""]


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_client_role_calls_only_granted_functions(login: Db, role: str) -> None:
    diagnostics = refused(login, CALL, *arguments(role=role), by=InsufficientPrivilege)
    assert diagnostics.message_primary == "permission denied for function messaging_ingest"


@pytest.mark.parametrize(
    "role", ["postgres", "supabase_admin", "authenticator", "pg_monitor", "none", "", "SERVICE_ROLE", None]
)
def test_gateway_rejects_other_roles(login: Db, role: str | None) -> None:
    diagnostics = refused(login, CALL, *arguments(role=role), by=InsufficientPrivilege)
    assert diagnostics.message_primary == "The gateway does not act for this role."


@pytest.mark.parametrize("function", ["rotate_messaging_key", "public.messaging_ingest", "messaging_ingest ", "", None])
def test_gateway_rejects_other_functions(login: Db, function: str | None) -> None:
    refused(login, CALL, *arguments(function), by=UndefinedFunction)


def test_login_role_may_call_only_the_gateway(db: Db) -> None:
    callable_ = rows(
        db,
        """
        select proname from pg_proc
        where pronamespace in ('public'::regnamespace, 'private'::regnamespace)
            and has_function_privilege('authenticator', oid, 'execute')
        """,
    )
    assert callable_ == ["call"]


@pytest.mark.parametrize("table", ["public.people", "public.conversations", "private.messaging_keys"])
def test_login_role_reads_no_table(login: Db, table: str) -> None:
    refused(login, f"select from {table}")


@pytest.mark.parametrize("role", ROLES)
def test_client_roles_cannot_call_the_gateway(db: Db, role: str) -> None:
    db.execute(f"set local role {role}")
    refused(db, CALL, *arguments())
