"""Owners see their own rows; all other users see nothing."""

import json

import psycopg
import pytest

from tests.support.calls import ingest
from tests.support.database import Db, become, become_anon, become_postgres, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.world import API_KEY, BOB, MATTY

TABLES = ["people", "messaging_connections", "conversations", "conversation_messages"]


@pytest.fixture
def stored(db: Db) -> Db:
    ingest(db, conversation(message()))
    return db


@pytest.mark.parametrize("table", TABLES)
def test_owner_sees_all_own_rows(stored: Db, table: str) -> None:
    everything = rows(stored, f"select {table}::text from public.{table} order by 1")
    become(stored, MATTY)
    assert rows(stored, f"select {table}::text from public.{table} order by 1") == everything != []


@pytest.mark.parametrize("table", TABLES)
def test_other_users_see_nothing(stored: Db, table: str) -> None:
    become(stored, BOB)
    assert rows(stored, f"select from public.{table}") == []


@pytest.mark.parametrize("table", TABLES)
def test_anon_is_rejected(stored: Db, table: str) -> None:
    become_anon(stored)
    refused(stored, f"select from public.{table}")


@pytest.mark.parametrize("table", TABLES)
def test_realtime_and_storage_claims_give_the_same_rows(stored: Db, table: str) -> None:
    become(stored, MATTY)
    as_postgrest = rows(stored, f"select {table}::text from public.{table} order by 1")
    stored.execute("select set_config('request.jwt.claims', '', true)")
    stored.execute("select set_config('request.jwt.claim.sub', %s, true)", (MATTY,))
    assert rows(stored, f"select {table}::text from public.{table} order by 1") == as_postgrest != []


@pytest.mark.parametrize("table", TABLES)
def test_claims_without_a_user_give_no_rows(stored: Db, table: str) -> None:
    become(stored, MATTY)
    stored.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps({"role": "authenticated"}),))
    assert rows(stored, f"select from public.{table}") == []


@pytest.mark.parametrize("table", ["conversations", "conversation_messages"])
@pytest.mark.parametrize(
    "change",
    ["insert into {} default values", "update {} set workspace_id = null", "delete from {}"],
    ids=["insert", "update", "delete"],
)
def test_owner_cannot_write_ingested_rows(stored: Db, table: str, change: str) -> None:
    become(stored, MATTY)
    refused(stored, change.format(f"public.{table}"))


def test_deleted_auth_user_leaves_no_rows(admin_url: str) -> None:
    with psycopg.connect(admin_url) as auth:
        ingest(auth, conversation(message(), participant_identifier="+1 234 567 890"))
        become(auth, BOB)
        auth.execute("insert into public.people (full_name, phone) values ('John too', '+1 234 567 890')")
        become_postgres(auth)
        auth.execute("set local role supabase_auth_admin")
        assert auth.execute("delete from auth.users where id = %s", (MATTY,)).rowcount == 1
        auth.execute("reset role")
        left = {table: value(auth, f"select count(*) from public.{table}") for table in TABLES}
        assert left == {"people": 1, "messaging_connections": 0, "conversations": 0, "conversation_messages": 0}
        assert value(auth, "select count(*) from private.messaging_keys") == 0
        assert ingest(auth, key=API_KEY).status == 401
        auth.rollback()
