"""sql/110_connections.sql: connections, and keys that are shown once and kept as hashes."""

import hashlib
import re
from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation, UniqueViolation

from tests.support.calls import ingest
from tests.support.database import Db, become, become_anon, become_postgres, become_service, refused, rows, value
from tests.support.world import API_KEY, BOB, MATTY


def create(db: Db, *arguments: object) -> Any:
    """Create a connection as Bob, and stay Bob."""
    become(db, BOB)
    places = ", ".join(["%s"] * (len(arguments) or 1))
    return value(db, f"select public.create_messaging_connection({places})", *(arguments or ("signal",)))


def opens(db: Db, connection: Any, secret: str) -> int:
    """Return the status of a request with this key."""
    return ingest(db, connection=(connection["platform"], connection["connection_id"]), key=secret).status


def rotate(db: Db, connection_id: str, overlap: str | None = "24 hours", user_id: str = BOB) -> Any:
    become(db, user_id)
    return value(db, "select public.rotate_messaging_key(%s, %s::interval)", connection_id, overlap)


def key_row(db: Db, connection: Any) -> Any:
    """Return the last use of the only key and its ctid, which every write changes."""
    statement = "select last_used_at = now(), ctid::text from private.messaging_keys where connection_id = %s"
    ((is_used_now, place),) = rows(db, statement, connection["id"])
    return is_used_now, place


def test_new_connection_belongs_to_caller_and_accepts_its_key(db: Db) -> None:
    made = create(db, "telegram", "bobs_bot")
    assert {**made, "id": "", "api_secret": ""} == {
        "id": "",
        "platform": "telegram",
        "connection_id": "bobs_bot",
        "is_active": True,
        "api_secret": "",
    }
    assert rows(db, "select id::text, user_id::text from public.messaging_connections") == [(made["id"], BOB)]
    assert opens(db, made, made["api_secret"]) == 200


def test_key_opens_no_other_connection(db: Db) -> None:
    made = create(db)
    assert opens(db, {"platform": "whatsapp", "connection_id": "wa_business_123"}, made["api_secret"]) == 401
    assert opens(db, {**made, "platform": "telegram"}, made["api_secret"]) == 401


def test_connection_without_name_gets_one(db: Db) -> None:
    assert re.fullmatch("signal_[0-9a-f]{12}", create(db)["connection_id"])


def test_key_has_a_prefix_and_256_random_bits(db: Db) -> None:
    secrets = rows(db, "select private.generate_secret() from generate_series(1, 200)")
    assert all(re.fullmatch("threadline_[A-Za-z0-9_-]{43}", secret) for secret in secrets)
    # In this many draws, every place except the last (four bits) takes nearly all of the 64 values.
    assert min(len(set(place)) for place in list(zip(*secrets, strict=True))[-43:-1]) > 50


def test_key_that_ends_now_opens_nothing(db: Db) -> None:
    made = create(db, "signal", "bobs")
    rotate(db, "bobs", "0")
    become_postgres(db)
    known = "select key_id is not null from private.authenticate_connection('signal', 'bobs', %s)"
    assert value(db, known, made["api_secret"]) is False
    assert value(db, "select private.is_valid_key(%s)", made["api_secret"]) is False


def test_only_the_hash_of_a_key_is_stored(db: Db) -> None:
    made = create(db)
    db.execute("reset role")
    kept = rows(db, "select secret_hash from private.messaging_keys where connection_id = %s", made["id"])
    assert kept == [hashlib.sha256(made["api_secret"].encode()).digest()]


@pytest.mark.parametrize("table", ["messaging_keys", "settings"])
@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role", "authenticator", "supabase_auth_admin"])
def test_clients_cannot_read_keys_or_change_settings(db: Db, role: str, table: str) -> None:
    may = value(db, "select has_any_column_privilege(%s, %s, 'select')", role, f"private.{table}")
    assert may == (role == "service_role" and table == "settings")
    assert not value(db, "select has_any_column_privilege(%s, %s, 'insert, update')", role, f"private.{table}")


@pytest.mark.parametrize("become_other", [become_anon, become_service], ids=["anon", "service_role"])
@pytest.mark.parametrize(
    "call",
    ["public.create_messaging_connection('signal')", "public.rotate_messaging_key('wa_business_123')"],
    ids=["create a connection", "rotate a key"],
)
def test_only_signed_in_users_create_connections(db: Db, become_other: Any, call: str) -> None:
    become_other(db)
    refused(db, f"select {call}")


@pytest.mark.parametrize(
    ("arguments", "error", "constraint"),
    [
        (("signal", "wa_business_123"), UniqueViolation, "messaging_connections_connection_id_unique"),
        (("icq", "bobs"), CheckViolation, "messaging_connections_platform_known"),
        (("signal", "with space"), CheckViolation, "messaging_connections_connection_id_form"),
        (("signal", ""), CheckViolation, "messaging_connections_connection_id_form"),
        (("signal", "x" * 101), CheckViolation, "messaging_connections_connection_id_form"),
    ],
    ids=["id in use", "unknown platform", "id with a space", "empty id", "long id"],
)
def test_invalid_connection_raises_the_named_constraint(
    db: Db, arguments: tuple[str, str], error: type[Exception], constraint: str
) -> None:
    become(db, BOB)
    diagnostics = refused(db, "select public.create_messaging_connection(%s, %s)", *arguments, by=error)
    assert diagnostics.constraint_name == constraint


def test_taken_connection_id_is_refused_with_the_cure(db: Db) -> None:
    become(db, BOB)
    call = "select public.create_messaging_connection('signal', 'wa_business_123')"
    diagnostics = refused(db, call, by=UniqueViolation)
    assert diagnostics.message_primary == "This connection_id is taken."
    assert "rotate_messaging_key" in diagnostics.message_hint


def test_user_deactivates_and_reactivates_a_connection(db: Db) -> None:
    made = create(db)
    db.execute("update public.messaging_connections set is_active = false")
    assert opens(db, made, made["api_secret"]) == 403
    become(db, BOB)
    db.execute("update public.messaging_connections set is_active = true")
    assert opens(db, made, made["api_secret"]) == 200


@pytest.mark.parametrize("column", ["user_id", "platform", "connection_id", "created_at"])
def test_user_cannot_change_other_connection_columns(db: Db, column: str) -> None:
    become(db, MATTY)
    refused(db, f"update public.messaging_connections set {column} = {column}")


@pytest.mark.parametrize(
    "change", ["update public.messaging_connections set is_active = false", "delete from public.messaging_connections"]
)
def test_user_cannot_change_connections_of_others(db: Db, change: str) -> None:
    become(db, BOB)
    assert db.execute(change).rowcount == 0


def test_deleted_connection_rejects_its_keys(db: Db) -> None:
    made = create(db)
    db.execute("delete from public.messaging_connections")
    assert opens(db, made, made["api_secret"]) == 401
    assert value(db, "select count(*) from private.messaging_keys where connection_id = %s", made["id"]) == 0


def test_both_keys_work_until_the_overlap_ends(db: Db) -> None:
    made = create(db)
    new = rotate(db, made["connection_id"])
    assert opens(db, made, made["api_secret"]) == opens(db, made, new["api_secret"]) == 200
    db.execute("update private.messaging_keys set expires_at = expires_at - interval '24 hours'")
    assert (opens(db, made, made["api_secret"]), opens(db, made, new["api_secret"])) == (401, 200)


def test_rotation_returns_when_old_keys_expire(db: Db) -> None:
    made = create(db)
    answer = rotate(db, made["connection_id"], "2 hours")
    assert set(answer) == {"connection_id", "api_secret", "previous_keys_expire_at"}
    assert value(db, "select %s::timestamptz = now() + interval '2 hours'", answer["previous_keys_expire_at"])


def test_rotation_without_overlap_ends_old_keys_at_once(db: Db) -> None:
    made = create(db)
    new = rotate(db, made["connection_id"], "0")
    assert (opens(db, made, made["api_secret"]), opens(db, made, new["api_secret"])) == (401, 200)


def test_rotation_keeps_keys_of_other_connections(db: Db) -> None:
    made, other = create(db), create(db)
    rotate(db, made["connection_id"], "0")
    assert opens(db, other, other["api_secret"]) == 200


def test_second_rotation_does_not_extend_a_key(db: Db) -> None:
    made = create(db)
    rotate(db, made["connection_id"], "1 hour")
    rotate(db, made["connection_id"], "30 days")
    db.execute("reset role")
    ends = "select expires_at - now() from private.messaging_keys where connection_id = %s order by 1"
    assert [end and end.total_seconds() for end in rows(db, ends, made["id"])] == [3600, 30 * 86400, None]


@pytest.mark.parametrize(
    "overlap", ["-1 second", "30 days 1 second", "12 mons -330 days", "1200000 mons -35999999 days", None]
)
def test_overlap_out_of_range_is_rejected(db: Db, overlap: str | None) -> None:
    made = create(db)
    diagnostics = refused(
        db, "select public.rotate_messaging_key(%s, %s)", made["connection_id"], overlap, by=psycopg.Error
    )
    assert (diagnostics.sqlstate, diagnostics.message_detail) == ("PT400", "overlap_out_of_range")


@pytest.mark.parametrize("connection_id", ["wa_business_123", "nobodys"])
def test_user_cannot_rotate_keys_of_others(db: Db, connection_id: str) -> None:
    become(db, BOB)
    diagnostics = refused(db, "select public.rotate_messaging_key(%s)", connection_id, by=psycopg.Error)
    assert (diagnostics.sqlstate, diagnostics.message_detail) == ("PT404", "connection_not_found")


def test_private_function_checks_the_connection_owner(db: Db) -> None:
    (matty_has, *_) = rows(db, "select id from public.messaging_connections where user_id = %s", MATTY)
    become(db, BOB)
    diagnostics = refused(db, "select private.rotate_messaging_key(%s, '0')", matty_has, by=psycopg.Error)
    assert diagnostics.sqlstate == "PT404"


def test_owner_sees_key_age_but_not_the_secret(db: Db) -> None:
    made = create(db)
    rotate(db, made["connection_id"])
    become_postgres(db)
    db.execute("update private.messaging_keys set created_at = now() - interval '1 day' where expires_at is not null")
    become(db, BOB)
    old, new = value(db, "select c.keys from public.messaging_connections as c")
    assert set(old) == set(new) == {"id", "created_at", "expires_at", "last_used_at"}
    assert [key["expires_at"] is None for key in (old, new)] == [False, True]
    for _ in range(6):
        rotate(db, made["connection_id"])
    _, *same_age = value(db, "select c.keys from public.messaging_connections as c")
    assert same_age == sorted(same_age, key=lambda key: key["id"])


def test_revoked_key_shows_its_end_and_its_last_use(db: Db) -> None:
    made = create(db)
    old, new = made["api_secret"], rotate(db, made["connection_id"])["api_secret"]
    opens(db, made, old)
    become_postgres(db)
    db.execute("update private.messaging_keys set created_at = now() - interval '1 day' where expires_at is not null")
    ended = "update private.messaging_keys set expires_at = '2026-01-01' where secret_hash = private.hash_secret(%s)"
    db.execute(ended, (old,))
    listed = "select c.keys from public.messaging_connections as c where id = %s"
    become(db, BOB)
    first, second = value(db, listed, made["id"])
    now = value(db, "select to_jsonb(now())")
    for key in (first, second):
        db.execute("select public.revoke_messaging_key(%s)", (key["id"],))
    first["expires_at"] = value(db, "select to_jsonb(timestamptz '2026-01-01')")
    assert value(db, listed, made["id"]) == [first, {**second, "expires_at": now}]
    assert (first["last_used_at"], second["last_used_at"]) == (now, None)
    assert opens(db, made, new) == 401


def test_user_cannot_see_keys_of_others(db: Db) -> None:
    (matty_has, *_) = rows(db, "select id from public.messaging_connections where user_id = %s", MATTY)
    become(db, BOB)
    assert value(db, "select private.list_messaging_keys(%s)", matty_has) == []


def test_key_is_rejected_for_another_connection(db: Db) -> None:
    made = create(db)
    assert opens(db, {"platform": "whatsapp", "connection_id": "wa_business_123"}, made["api_secret"]) == 401
    assert opens(db, made, API_KEY) == 401


def test_key_use_is_recorded_once_a_minute(db: Db) -> None:
    made = create(db)
    assert opens(db, made, made["api_secret"]) == 200
    assert key_row(db, made)[0]
    db.execute("update private.messaging_keys set last_used_at = now() - interval '59 seconds'")
    noted = key_row(db, made)
    opens(db, made, made["api_secret"])
    assert key_row(db, made) == noted
    db.execute("update private.messaging_keys set last_used_at = now() - interval '61 seconds'")
    opens(db, made, made["api_secret"])
    assert key_row(db, made)[0]


def test_wrong_key_records_no_use(db: Db) -> None:
    made = create(db)
    db.execute("reset role")
    before = key_row(db, made)
    opens(db, made, "wrong")
    assert key_row(db, made) == before == (None, before[1])
