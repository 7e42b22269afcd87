"""sql/140_ingest_log.sql: the log that owners read about their connections."""

import json
from typing import Any

import psycopg
import pytest

from tests.support.calls import ingest
from tests.support.database import Db, become, become_anon, become_postgres, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.world import API_KEY, BOB, MATTY

LINE = "select {} from public.ingest_log order by at, status"


@pytest.fixture(autouse=True)
def _empty(request: pytest.FixtureRequest) -> None:
    """Empty the log of the seeded connections for this test, which rolls back."""
    if "db" in request.fixturenames:
        request.getfixturevalue("db").execute("delete from public.ingest_log")


def lines(db: Db, *columns: str) -> list[Any]:
    return rows(db, LINE.format(", ".join(columns)))


def test_request_writes_one_line_of_counts(db: Db) -> None:
    ingest(db, conversation(message("a"), message("b"), external_id="one"), conversation(external_id="two"))
    ingest(db, conversation(message("b"), message("c"), external_id="one"))
    ingest(db)
    numbers = ("status", "requests", "conversations", "conversations_created", "messages", "messages_added")
    assert lines(db, *numbers) == [(200, 1, 2, 2, 3, 2), (200, 1, 1, 0, 2, 1), (200, 1, 0, 0, 0, 0)]
    assert set(lines(db, "user_id::text", "connection_id", "errors")) == {(MATTY, "wa_business_123", None)}


def test_line_names_the_key_but_not_the_secret(db: Db) -> None:
    ingest(db)
    [key_id] = lines(db, "key_id::text")
    become(db, MATTY)
    keys = value(db, "select c.keys from public.messaging_connections as c where connection_id = 'wa_business_123'")
    assert [key["id"] for key in keys] == [key_id]
    assert API_KEY not in value(db, "select ingest_log::text from public.ingest_log")


def test_line_lists_errors_without_content(db: Db) -> None:
    wrong = [conversation(message(f"m{n}", type="secret-canary"), external_id=f"secret-canary-{n}") for n in range(9)]
    ingest(db, conversation(message()), *wrong, conversation(message("x"), {"id": "secret-canary"}))
    errors = [
        "error: messages[0].type must be text, image, audio, video, file, location, sticker, contact, poll, call or "
        "system",
        "error: messages[1].direction must be inbound or outbound",
    ]
    assert lines(db, "conversations", "messages_added", "errors") == [(11, 1, errors)]
    assert "secret-canary" not in value(db, "select ingest_log::text from public.ingest_log")


def test_line_keeps_at_most_five_errors(db: Db) -> None:
    right = [message(str(number)) for number in range(7)]
    ingest(db, *(conversation(*right[:n], message("x", type=0), external_id=str(n)) for n in range(7)))
    assert lines(db, "cardinality(errors)", "messages_added") == [(5, 0)]


def test_rejections_are_counted_per_minute(db: Db) -> None:
    for _ in range(3):
        assert ingest(db, key="wrong").status == 401
    db.execute("update public.messaging_connections set is_active = false")
    assert [ingest(db, key=key).status for key in (API_KEY, "wrong", API_KEY)] == [403, 401, 403]
    assert sorted(lines(db, "status", "requests", "key_id", "date_trunc('minute', at) = at")) == [
        (401, 4, None, True),
        (403, 2, None, True),
    ]
    assert set(lines(db, "at = date_trunc('minute', now())")) == {True}
    db.execute("update public.ingest_log set at = at - interval '1 minute'")
    ingest(db, key="wrong")
    assert sorted(lines(db, "status", "requests")) == [(401, 1), (401, 4), (403, 2)]


def test_request_with_too_many_messages_is_logged(db: Db) -> None:
    db.execute("update private.settings set ingest_max_messages = 1")
    assert ingest(db, conversation(message("a"), message("b"))).status == 413
    assert lines(db, "status", "messages") == [(413, None)]


def test_unknown_connection_writes_no_line(db: Db) -> None:
    ingest(db, connection=("whatsapp", "unknown"))
    ingest(db, key=None)
    assert lines(db, "status") == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1.2_X", "abc-1.2_X"), ("a" * 50, "a" * 50), ("a" * 51, None), ("a b", None), ("", None)],
    ids=["usual", "longest", "too long", "with a space", "empty"],
)
def test_valid_request_id_is_logged(db: Db, given: str, kept: str | None) -> None:
    headers = json.dumps({"x-api-key": API_KEY, "x-request-id": given})
    body = json.dumps({"platform": "whatsapp", "connection_id": "wa_business_123", "conversations": []}).encode()
    db.execute("select private.call('messaging_ingest', 'service_role', '{}', %s, '{}', %s)", (headers, body))
    become_postgres(db)
    assert lines(db, "request_id") == [kept]
    headers = json.dumps({"x-api-key": "wrong", "x-request-id": given})
    db.execute("select private.call('messaging_ingest', 'service_role', '{}', %s, '{}', %s)", (headers, body))
    become_postgres(db)
    assert sorted(lines(db, "status", "request_id")) == [(200, kept), (401, kept)]


def test_owners_read_own_lines_and_cannot_write(db: Db) -> None:
    db.execute("update public.messaging_connections set is_apart = true")  # then its scope is not the workspace
    for key in (API_KEY, "wrong"):
        ingest(db, key=key)
    become(db, MATTY)
    assert sorted(lines(db, "status")) == [200, 401]
    for change in ("insert into {} default values", "update {} set status = 500", "delete from {}"):
        refused(db, change.format("public.ingest_log"))
    become(db, BOB)
    assert lines(db, "status") == []
    become_anon(db)
    refused(db, "select from public.ingest_log")


@pytest.mark.parametrize(
    ("deletion", "left"),
    [
        ("delete from public.messaging_connections where connection_id = 'wa_business_123'", ["tg_bot_456"]),
        (f"delete from auth.users where id = '{MATTY}'", []),
    ],
)
def test_log_is_deleted_with_its_connection(admin_url: str, deletion: str, left: list[str]) -> None:
    with psycopg.connect(admin_url) as admin:
        ingest(admin)
        ingest(admin, connection=("telegram", "tg_bot_456"))
        # A connection that had this name before.
        named = "insert into public.ingest_log (workspace_id, user_id, connection_id, status) values (%s, %s, %s, 200)"
        admin.execute(named, (BOB, BOB, "wa_business_123"))
        admin.execute(deletion)
        assert lines(admin, "connection_id") == [*left, "wa_business_123"]
        admin.rollback()


def test_only_storing_requests_commit_synchronously(db: Db) -> None:
    def commit_after(*conversations: Any) -> str:
        with db.transaction(force_rollback=True):
            ingest(db, *conversations)
            return value(db, "show synchronous_commit")

    db.commit()
    before = value(db, "show synchronous_commit")
    db.execute("set synchronous_commit = on")
    db.commit()
    try:
        assert commit_after(conversation(message())) == "on"
        assert commit_after() in {"on", "off"}  # last_used_at is written once a minute
    finally:
        db.rollback()
        db.execute(f"set synchronous_commit = {before}")
        db.commit()
