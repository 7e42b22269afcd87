"""What may be written: reactions in one spelling, no blank text, no NUL, and hints that name the function to call."""

import json
import re

import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, UniqueViolation

from tests.support.calls import ask, call, send
from tests.support.database import Db, add_channel, become, become_postgres, become_service, refused, rows, value
from tests.support.event_log import last_seq
from tests.support.world import BOB, CHANNEL, MALLORY, MATTY, MESSAGE, TWIN, WORKSPACE

BOBS = "00000000-0000-4000-8000-0000000000b1", "00000000-0000-4000-8000-0000000000b2"  # twins of Bob

THUMB, HEART, FAMILY = "\U0001f44d", "\u2764\ufe0f", "\U0001f468\u200d\U0001f469\u200d\U0001f467"
SAME = {
    "variation selector": (THUMB, THUMB + "\ufe0f"),
    "text style": (HEART, "\u2764\ufe0e"),
    "none": (HEART, "\u2764"),
    "keycap": ("1\ufe0f\u20e3", "1\u20e3"),
    "heart on fire": ("\u2764\ufe0f\u200d\U0001f525", "\u2764\u200d\U0001f525"),
    "rainbow flag": ("\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f3f3\u200d\U0001f308"),
    "NFC and NFD": ("caf\u00e9", "cafe\u0301"),
    "name in colons": ("thumbsup", ":thumbsup:"),
}
ONE = {
    "name": "+1",
    "family": FAMILY,
    "skin tone": "\U0001f44d\U0001f3fd",
    "detective": "\U0001f575\U0001f3fd\u200d\u2642\ufe0f",
    "flag": "\U0001f1e9\U0001f1ea",
    "flag of Wales": "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
    "finger with skin tone": "\u261d\U0001f3fd",
    "digit": "1",
    "Japanese name": "\u3088\u308d\u3057\u304f",
}
NONE = {
    "two emoji": THUMB * 2,
    "emoji and text": THUMB + "x",
    "blank": " ",
    "text": "well done",
    "half a flag": "\U0001f1e9",
    "three letters of flags": "\U0001f1e9\U0001f1ea\U0001f1e9",
    "selector alone": "\ufe0f",
    "joiner alone": "\u200d",
    "markup": "<b>",
    "per cent": "%",
    "colon alone": ":",
}
BLANK = ["   ", "\n\t", "\u200b", "\u00a0\u3000", "\u2800", "\u3164\uffa0", "\u00ad\ufeff\u2060", "\ufe0f", "\u0001"]


def upsert(db: Db, message_id: str, **changes: str) -> None:
    """Write a message as `upsert` of supabase-js does."""
    fields = {"id": message_id, "channel_id": CHANNEL, "content": "again", **changes}
    names, given = ", ".join(fields), ", ".join(["%s"] * len(fields))
    changed = ", ".join(f"{name} = excluded.{name}" for name in fields)
    db.execute(
        f"insert into public.messages ({names}) values ({given}) on conflict (id) do update set {changed}",
        list(fields.values()),
    )


@pytest.mark.parametrize(("stored", "given"), SAME.values(), ids=SAME)
def test_equal_emoji_toggle_each_other(db: Db, stored: str, given: str) -> None:
    first = call(db, "toggle_reaction", BOB, id=MESSAGE, emoji=given)
    assert (first.meta["action"], first.data["emoji"]) == ("added", stored)
    assert call(db, "toggle_reaction", BOB, id=MESSAGE, emoji=stored).meta["action"] == "removed"


@pytest.mark.parametrize(("stored", "given"), SAME.values(), ids=SAME)
def test_equal_emoji_in_the_table_are_one(db: Db, stored: str, given: str) -> None:
    become(db, BOB)
    react = "insert into public.message_reactions (message_id, emoji) values (%s, %s) returning emoji"
    assert value(db, react, MESSAGE, given) == stored
    assert refused(db, react, MESSAGE, stored, by=UniqueViolation).constraint_name == "message_reactions_once"


@pytest.mark.parametrize("emoji", ONE.values(), ids=ONE)
def test_one_emoji_or_name_is_kept(db: Db, emoji: str) -> None:
    assert call(db, "add_reaction", BOB, id=MESSAGE, emoji=emoji).data["emoji"] == emoji


@pytest.mark.parametrize("emoji", NONE.values(), ids=NONE)
def test_other_text_is_no_reaction(db: Db, emoji: str) -> None:
    assert call(db, "add_reaction", BOB, id=MESSAGE, emoji=emoji).error == (400, "invalid_field", "emoji")
    become(db, BOB)
    react = "insert into public.message_reactions (message_id, emoji) values (%s, %s)"
    assert refused(db, react, MESSAGE, emoji, by=Exception).sqlstate == "PT400"


@pytest.mark.parametrize("content", BLANK, ids=ascii)
def test_blank_content_is_refused(db: Db, content: str) -> None:
    error = (400, "invalid_field", "content")
    assert call(db, "create_message", BOB, channel_id=CHANNEL, content=content).error == error
    assert call(db, "reply_to_message", BOB, id=MESSAGE, content=content).error == error
    assert call(db, "edit_message", MATTY, id=send(db), content=content).error == error
    become(db, BOB)
    said = refused(
        db, "insert into public.messages (channel_id, content) values (%s, %s)", CHANNEL, content, by=CheckViolation
    )
    assert said.constraint_name == "messages_content_visible"


@pytest.mark.parametrize("content", ["x", " x ", "\u200bx", THUMB, "\u0b95", "\u202eא", "."], ids=ascii)
def test_visible_content_is_kept(db: Db, content: str) -> None:
    assert call(db, "create_message", BOB, channel_id=CHANNEL, content=content).data["content"] == content


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["NUL", "half a pair"])
def test_text_that_cannot_be_stored_is_refused(db: Db, text: str) -> None:
    fields = {"channel_id": CHANNEL, "content": text}
    assert call(db, "create_message", BOB, **fields).error == (400, "invalid_json", None)
    become(db, BOB)
    said = refused(db, "select %s::jsonb", json.dumps(fields), by=Exception)
    assert said.sqlstate.startswith("22"), "the Data API answers 400 for this class"


def test_service_posts_only_for_members(db: Db) -> None:
    fields = {"channel_id": CHANNEL, "content": "x"}
    error = (403, "not_a_member", "user_id")
    assert call(db, "create_message", None, user_id=MALLORY, **fields).error == error
    assert call(db, "create_message", None, user_id=BOB, **fields).status == 201


@pytest.mark.parametrize(
    ("function", "fields"),
    [
        ("edit_message", {"content": "x"}),
        ("pin_message", {}),
        ("unpin_message", {}),
        ("add_reaction", {"emoji": "fire"}),
        ("toggle_reaction", {"emoji": "fire"}),
        ("remove_reaction", {"emoji": "fire"}),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_service_acts_only_for_members(db: Db, function: str, fields: dict[str, str]) -> None:
    add_channel(db, "another", [BOB])
    fields = {"id": send(db, who=BOB), "user_id": BOB} | fields
    assert call(db, function, None, **fields).status == 200
    db.execute("delete from public.channel_members where (channel_id, user_id) = (%s, %s)", (CHANNEL, BOB))
    assert call(db, function, None, **fields).error == (403, "not_a_member", "user_id")


def test_service_deletes_only_for_those_who_may(db: Db) -> None:
    said = send(db)
    for fields in ({"user_id": BOB}, {"user_id": BOB, "admin": True}, {"user_id": MALLORY, "admin": True}):
        assert call(db, "delete_message", None, id=said, **fields).error == (403, "not_the_author", None)
    assert call(db, "delete_message", None, id=said, user_id=MATTY).status == 200


def test_twin_writes_only_where_it_takes_part(db: Db) -> None:
    other = add_channel(db, "another", [MATTY])
    become(db, MATTY)
    insert = "insert into public.messages (channel_id, user_id, ai_twin_id, content) values (%s, null, %s, 'x')"
    db.execute(insert, (CHANNEL, TWIN))
    refused(db, insert, other, TWIN)


def test_turns_in_another_channel_are_not_counted(db: Db) -> None:
    db.execute("insert into public.ai_twins (id, user_id, display_name) values (%s, %s, 'b')", (BOBS[0], BOB))
    other = add_channel(db, "another", [MATTY])
    add = "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)"
    for place in ((CHANNEL, BOBS[0]), (other, TWIN)):
        db.execute(add, place)
    send(db, channel_id=other)
    for who, twin_id in ((MATTY, TWIN), (BOB, BOBS[0]), (MATTY, TWIN)):
        send(db, who=who, ai_twin_id=twin_id)
    said = send(db, channel_id=other, ai_twin_id=TWIN)
    assert value(db, "select hops from public.messages where id = %s", said) == 1


def test_upsert_of_an_own_message_edits_it(db: Db) -> None:
    said = send(db, who=BOB)
    before = last_seq(db)
    become(db, BOB)
    upsert(db, said, user_id=BOB)
    become_postgres(db)
    assert rows(db, "select content, user_id::text from public.messages where id = %s", said) == [("again", BOB)]
    assert last_seq(db) == before + 1
    assert [edit["content"] for edit in call(db, "list_message_edits", BOB, id=said).data] == ["Hello"]


def test_upsert_of_a_new_message_creates_it(db: Db) -> None:
    become(db, BOB)
    upsert(db, "00000000-0000-4000-8000-0000000000aa")
    become_postgres(db)
    assert rows(db, "select content from public.messages where user_id = %s order by seq desc limit 1", BOB) == [
        "again"
    ]


@pytest.mark.parametrize(
    "changes",
    [{"metadata": '{"a": 1}'}, {"content_type": "code"}, {"parent_message_id": MESSAGE}, {"attachments": "[]"}],
    ids=lambda changes: next(iter(changes)),
)
def test_upsert_changes_only_the_content(db: Db, changes: dict[str, str]) -> None:
    said = send(db, who=BOB)
    become(db, BOB)
    with pytest.raises(InsufficientPrivilege) as caught, db.transaction():
        upsert(db, said, **changes)
    assert caught.value.diag.message_hint == "Call the function edit_message."


def test_twin_of_a_message_cannot_be_replaced(db: Db) -> None:
    for twin in BOBS:
        db.execute("insert into public.ai_twins (id, user_id, display_name) values (%s, %s, 'B')", (twin, BOB))
        db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (CHANNEL, twin))
    said = send(db, who=BOB, ai_twin_id=BOBS[0])
    become(db, BOB)
    diagnostics = refused(db, "update public.messages set ai_twin_id = %s where id = %s", BOBS[1], said)
    assert diagnostics.message_hint == "Call the function edit_message."


def test_upsert_of_another_message_is_refused(db: Db) -> None:
    become(db, BOB)
    with pytest.raises(InsufficientPrivilege), db.transaction():
        upsert(db, MESSAGE)


HINTS = [
    ("delete from messages", "delete_message"),
    ("update messages set metadata = '{}' where id = '{said}'", None),
    ("update messages set content_type = 'x' where id = '{said}'", "edit_message"),
    ("update message_reactions set emoji = 'x'", "toggle_reaction"),
    (f"update message_pins set pinned_by = '{BOB}'", "pin_message"),
    (f"insert into twin_webhooks (ai_twin_id, url) values ('{TWIN}', 'https://x.example/')", "set_twin_webhook"),
    ("update twin_webhooks set url = 'https://x.example/'", "set_twin_webhook"),
    ("insert into workspaces (name) values ('x')", "create_workspace"),
    (f"insert into workspace_members (workspace_id, user_id) values ('{WORKSPACE}', '{MALLORY}')", "create_invitation"),
    (
        f"insert into workspace_invitations (workspace_id, email, role) values ('{WORKSPACE}', 'a@b.c', 'member')",
        "create_invitation",
    ),
    ("update workspace_invitations set revoked_at = now()", "revoke_invitation"),
    ("delete from workspace_invitations", "revoke_invitation"),
]


@pytest.mark.parametrize(("statement", "function"), HINTS, ids=[f"{n} {each[1]}" for n, each in enumerate(HINTS)])
def test_refused_statement_names_the_function(db: Db, statement: str, function: str | None) -> None:
    said = send(db)
    become(db, MATTY)
    statement = statement.replace("{said}", said)
    if function is None:
        db.execute(statement)  # changes nothing
        return
    said_to_client = refused(db, statement, by=InsufficientPrivilege)
    assert said_to_client.message_hint == f"Call the function {function}."
    verb, table = re.match(r"(\w+) (?:into |from )?(\w+)", statement).groups()
    only_content = "Only the content of a message can change."
    assert said_to_client.message_primary in {f"Clients do not {verb} rows of {table}.", only_content}
    assert (said_to_client.message_primary == only_content) == (function == "edit_message")


def test_own_functions_are_not_refused(db: Db) -> None:
    channel_id = call(db, "list_my_channels", MATTY).data[0]["id"]
    become_service(db)
    db.execute("delete from public.messages where channel_id = %s", (channel_id,))
    become(db, MATTY)
    db.execute("delete from public.channels where id = %s", (CHANNEL,))
    become_postgres(db)
    assert rows(db, "select from public.channels where id = %s", CHANNEL) == []


def test_non_member_gets_a_hint(db: Db) -> None:
    become(db, MALLORY)
    said = refused(
        db, "insert into public.messages (channel_id, content) values (%s, 'x')", CHANNEL, by=InsufficientPrivilege
    )
    assert said.message_hint.endswith("call the function accept_invitation.")


def test_each_change_of_a_row_stamps_its_time(db: Db) -> None:
    ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url="https://x.example/")
    stamped = """
        select relname from pg_class inner join pg_attribute on attrelid = pg_class.oid
        where relnamespace = 'public'::regnamespace and relkind = 'r' and attname = 'updated_at' order by 1
    """
    tables = [table for table in rows(db, stamped) if table not in {"messages", "conversations"}]
    assert len(tables) == 7
    for table in tables:
        db.execute(f"alter table public.{table} disable trigger user")
        db.execute(f"update public.{table} set updated_at = '2020-01-01'")
        db.execute(f"alter table public.{table} enable trigger user")
        db.execute(f"update public.{table} set created_at = created_at")
        assert set(rows(db, f"select updated_at = now() from public.{table}")) == {True}, table


@pytest.mark.parametrize(
    "statement",
    [
        f"update public.channels set name = name where id = '{CHANNEL}'",
        f"update public.channel_members set role = role where channel_id = '{CHANNEL}'",
        f"update public.workspace_members set role = role where workspace_id = '{WORKSPACE}'",
        f"update public.workspaces set channel_days = channel_days, language = language where id = '{WORKSPACE}'",
    ],
    ids=["name", "channel role", "workspace role", "workspace"],
)
def test_change_to_the_same_value_is_no_event(db: Db, statement: str) -> None:
    tables = ("public.user_events", "public.audit_log", "public.message_events", "private.language_backlog")
    count = "select array[" + ", ".join(f"(select count(*) from {table})" for table in tables) + "]"
    before = value(db, count)
    db.execute(statement)
    assert value(db, count) == before
