"""Small holes of the security review, each closed: helpers without a check, names, pictures, files and the bucket."""

import json

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege

from tests.support.calls import send
from tests.support.database import Db, become, become_postgres, refused, rows, value
from tests.support.world import BOB, CHANNEL, MALLORY, MATTY, MESSAGE

HIDDEN = [
    chr(code)
    for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 1, 27, 127, 0x85, 0x9B, 0x61C, 0x200B, 0x200E)
]


def test_names_of_authors_need_a_message_that_the_caller_reads(db: Db) -> None:
    query = "select display_name from private.list_author_names(array[%s]::uuid[])"
    become(db, BOB)
    assert rows(db, query, MESSAGE) == ["Matty Squarzoni"]
    become(db, MALLORY)
    assert rows(db, query, MESSAGE) == []
    assert rows(db, query, MATTY) == []


def test_non_member_cannot_lock_a_channel(db: Db) -> None:
    locked = "select private.lock_my_channel(%s)"
    become(db, MALLORY)
    refused(db, "select private.lock_channel(%s)", CHANNEL)
    before = value(db, "select pg_current_xact_id_if_assigned()::text")
    db.execute(locked, (CHANNEL,))  # locking a row needs a transaction id
    assert value(db, "select pg_current_xact_id_if_assigned()::text") == before
    become(db, BOB)
    db.execute(locked, (CHANNEL,))
    assert value(db, "select pg_current_xact_id_if_assigned()::text") is not None


def test_non_member_gets_no_cursor_and_no_lease(db: Db) -> None:
    become(db, MALLORY)
    cursor = "select private.find_cursor(%s, 'after', %s)"
    diagnostics = refused(db, cursor, json.dumps({"after": MESSAGE}), CHANNEL, by=psycopg.Error)
    assert diagnostics.message_detail == "invalid_cursor"
    lease = "select private.lease_summary(%s, null, 1, 1, 'x', 1, 60)"
    assert refused(db, lease, CHANNEL, by=psycopg.Error).message_detail == "channel_not_found"


@pytest.mark.parametrize("mark", HIDDEN, ids=ascii)
def test_names_hold_no_hidden_characters(db: Db, mark: str) -> None:
    become(db, BOB)
    name = f"invoice{mark}fdp.exe"
    refused(db, "update public.user_profiles set display_name = %s", name, by=CheckViolation)
    refused(db, "insert into public.ai_twins (display_name) values (%s)", name, by=CheckViolation)
    refused(db, "insert into public.channels (name) values (%s)", name, by=CheckViolation)
    refused(db, "select public.create_workspace(%s)", name, by=CheckViolation)
    react = "insert into public.message_reactions (message_id, emoji) values (%s, %s)"
    refused(db, react, MESSAGE, mark, by=Exception)
    become_postgres(db)
    query = "insert into auth.users (id, email, raw_user_meta_data) values (gen_random_uuid(), %s, %s) returning id"
    added = value(db, query, "new@example.com", json.dumps({"full_name": name}))
    assert rows(db, "select display_name from public.user_profiles where user_id = %s", added) == ["invoice_fdp.exe"]


def test_emoji_may_have_joiners_and_variations(db: Db) -> None:
    become(db, BOB)
    react = "insert into public.message_reactions (message_id, emoji) values (%s, %s)"
    for emoji in ("\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "1\ufe0f\u20e3", "\U0001f44d\U0001f3fd"):
        db.execute(react, (MESSAGE, emoji))


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "http://x.example/a.png", " https://x", ""])
def test_picture_must_have_an_https_address(db: Db, url: str) -> None:
    become(db, BOB)
    refused(db, "update public.user_profiles set avatar_url = %s", url, by=CheckViolation)
    refused(db, "insert into public.ai_twins (display_name, avatar_url) values ('x', %s)", url, by=CheckViolation)
    db.execute("update public.user_profiles set avatar_url = 'https://x.example/a.png'")


@pytest.mark.parametrize(
    "kind",
    [
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "text/html ; charset=utf-8",
        "\ttext/html",
        "text/plain, text/html",
        "image/svg+xml",
        "application/xhtml+xml",
        "application/mathml+xml",
        "application/rss+xml ;x=y",
        "text/xml",
        "text/xsl",
    ],
)
def test_direct_upload_of_active_content_is_refused(db: Db, kind: str) -> None:
    become(db, BOB)
    begun = value(
        db, "select public.begin_upload(%s::jsonb)", json.dumps({"conversation_id": CHANNEL, "files": [{"name": "x"}]})
    )
    path = begun["data"]["files"][0]["path"]
    store = "insert into storage.objects (bucket_id, name, owner_id, metadata) values ('attachments', %s, %s, %s)"
    refused(db, store, path, BOB, json.dumps({"size": 5, "mimetype": kind}))
    document = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    db.execute(store, (path, BOB, json.dumps({"size": 5, "mimetype": document})))


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize(
    "change",
    [
        "update storage.buckets set public = true where id = 'attachments' returning id",
        "delete from storage.buckets where id = 'attachments' returning id",
    ],
    ids=["update", "delete"],
)
def test_open_policies_do_not_open_the_bucket(db: Db, role: str, change: str) -> None:
    db.execute(f"create policy open_buckets on storage.buckets to {role} using (true) with check (true)")
    db.execute(f"grant select, insert, update, delete on storage.buckets to {role}")
    db.execute("insert into storage.buckets (id, name) values ('theirs', 'theirs')")
    db.execute("select set_config('storage.allow_delete_query', 'true', true), set_config('role', %s, true)", (role,))
    assert rows(db, change) == []
    refused(db, "update storage.buckets set id = 'attachments' where id = 'theirs'", by=InsufficientPrivilege)
    become_postgres(db)
    assert send(db)
