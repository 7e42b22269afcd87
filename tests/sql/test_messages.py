"""sql/240_messages.sql: rules that the tables enforce for every writer."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation, RaiseException, UniqueViolation

from tests.support.calls import call, send
from tests.support.database import Db, become, become_postgres, become_service, refused, rows, value
from tests.support.event_log import events, inconsistencies, last_seq
from tests.support.realtime import broadcasts, fire_deferred_triggers
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, MESSAGE, TWIN, UNKNOWN_ID

INSERT = "insert into public.messages (channel_id, content) values (%s, 'Hello') returning id::text"
TABLES = [
    "user_profiles",
    "channels",
    "channel_members",
    "ai_twins",
    "channel_twins",
    "messages",
    "message_edits",
    "message_reactions",
    "message_pins",
    "message_events",
]
# The tables behind the my_ views.
ABOUT_THE_CALLER = {"channel_members", "ai_twins", "channel_twins"}
QUERIES = [
    *(f"select * from public.{table}" for table in TABLES),
    "update public.user_profiles set display_name = 'x'",
    "update public.channels set name = 'x'",
    "update public.channel_members set role = role",
    "update public.ai_twins set display_name = 'x'",
    "update public.messages set content = 'x'",
    "delete from public.channels",
    "delete from public.ai_twins",
    "delete from public.channel_twins",
    "delete from public.message_reactions",
    "delete from public.message_pins",
]


def not_found(db: Db, statement: str, *parameters: object) -> Any:
    """Expect PT404 and return its diagnostics."""
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        db.execute(statement, parameters)
    assert caught.value.sqlstate == "PT404"
    return caught.value.diag


def test_inserting_client_becomes_the_author(db: Db) -> None:
    before = last_seq(db)
    become(db, BOB)
    message_id = value(db, INSERT, CHANNEL)
    row = rows(db, "select user_id::text, seq, created_at = updated_at from public.messages where id = %s", message_id)
    assert row == [(BOB, before + 1, True)]


def test_rows_of_one_statement_get_consecutive_numbers(db: Db) -> None:
    before = last_seq(db)
    become(db, BOB)
    statement = """
        insert into public.messages (channel_id, content)
        select %s, n::text from generate_series(1, 5) as n returning content::integer, seq
    """
    assert rows(db, statement, CHANNEL) == [(n, before + n) for n in range(1, 6)]
    become_postgres(db)
    assert inconsistencies(db) == []


AGAIN = """
insert into public.messages (id, channel_id, content) select id, %s, 'again' from unnest(%s::uuid[]) as id
on conflict (id) do nothing returning id::text
"""


def test_repeated_message_writes_no_event(db: Db) -> None:
    before = last_seq(db)
    become(db, BOB)
    assert rows(db, AGAIN, CHANNEL, [MESSAGE]) == []
    assert rows(db, AGAIN, CHANNEL, [UNKNOWN_ID, MESSAGE, UNKNOWN_ID, TWIN]) == [UNKNOWN_ID, TWIN]
    refused(db, AGAIN.replace("on conflict (id) do nothing", ""), CHANNEL, [MESSAGE], by=UniqueViolation)
    become_postgres(db)
    assert [(kind, message_id) for kind, message_id, _, _ in events(db, after=before)] == [
        ("message.created", UNKNOWN_ID),
        ("message.created", TWIN),
    ]
    assert inconsistencies(db) == []


def test_reused_id_does_not_reveal_a_hidden_message(db: Db) -> None:
    become(db, MALLORY)
    own = value(db, "insert into public.channels (name) values ('mine') returning id::text")
    assert rows(db, AGAIN, own, [MESSAGE]) == []
    become_postgres(db)
    assert [event for event, _ in broadcasts(db, f"channel:{own}")] == ["member.joined"]
    assert [entry["event"] for entry in call(db, "list_channel_events", MALLORY, channel_id=own).data] == [
        "member.joined"
    ]
    assert inconsistencies(db, own) == []


@pytest.mark.parametrize("name", ["a_moderator", "moderator"])
def test_application_trigger_may_drop_a_message(db: Db, name: str) -> None:
    before = last_seq(db)
    db.execute("create function public.drop_it() returns trigger language plpgsql as 'begin return null; end'")
    db.execute(f"create trigger {name} before insert on public.messages for each row execute function public.drop_it()")
    with db.transaction(force_rollback=True):
        if name < "messages_10_admit":
            assert rows(db, INSERT, CHANNEL) == []
            fire_deferred_triggers(db)
            assert (last_seq(db), inconsistencies(db)) == (before, [])
        else:
            db.execute(INSERT, (CHANNEL,))
            db.execute("delete from public.messages where id = %s", (MESSAGE,))  # not the one that was dropped
            with pytest.raises(psycopg.Error) as caught:
                db.execute("set constraints all immediate")
            assert (caught.value.sqlstate, caught.value.diag.message_detail) == ("PT409", "message_dropped")


@pytest.mark.parametrize("parent", ["elsewhere", "deleted", "missing"])
def test_parent_must_exist_in_the_same_channel(db: Db, parent: str) -> None:
    become(db, BOB)
    elsewhere = value(db, "insert into public.channels (name) values ('bobs') returning id::text")
    parents = {"elsewhere": value(db, INSERT, elsewhere), "deleted": send(db), "missing": UNKNOWN_ID}
    call(db, "delete_message", id=parents["deleted"])
    become(db, BOB)
    statement = "insert into public.messages (channel_id, parent_message_id, content) values (%s, %s, 'x')"
    diagnostics = not_found(db, statement, CHANNEL, parents[parent])
    assert (diagnostics.message_detail, diagnostics.column_name) == ("parent_not_found", "parent_message_id")


@pytest.mark.parametrize(
    "statement",
    [
        f"insert into public.messages (channel_id, content) values ('{CHANNEL}', 'x')",
        "insert into public.messages (channel_id, parent_message_id, content)"
        f" values ('{CHANNEL}', '{UNKNOWN_ID}', 'x')",
        f"insert into public.message_reactions (message_id, emoji) values ('{MESSAGE}', 'new')",
        f"insert into public.message_pins (message_id) values ('{MESSAGE}')",
    ],
)
def test_non_member_does_not_lock_or_wait_for_a_channel(db: Db, postgres_url: str, statement: str) -> None:
    db.execute("select from private.channel_counters where channel_id = %s for update", (CHANNEL,))
    with psycopg.connect(postgres_url) as other:
        other.execute("set local lock_timeout = '1s'")
        become(other, MALLORY)
        refused(other, statement)
        other.rollback()


@pytest.mark.parametrize(
    ("columns", "values", "constraint"),
    [
        ("content", "''", "messages_content_length"),
        ("content", "repeat('x', 40001)", "messages_content_length"),
        ("content, content_type", "'x', ''", "messages_content_type_length"),
        ("content, metadata", "'x', '[]'", "messages_metadata_object"),
        ("content, metadata", "'x', jsonb_build_object('x', repeat('y', 16384))", "messages_metadata_size"),
        ("content, attachments", "'x', '{}'", "messages_attachments_array"),
        (
            "content, attachments",
            f"""'x', jsonb_build_array('{{"id": "{UNKNOWN_ID}"}}'::jsonb, repeat('y', 65536))""",
            "messages_attachments_size",
        ),
        ("content, ai_twin_id", f"'x', '{TWIN}'", "messages_author_is_one"),
    ],
    ids=[
        "empty content",
        "long content",
        "empty content type",
        "metadata is an array",
        "large metadata",
        "attachments are an object",
        "large attachments",
        "two authors",
    ],
)
def test_invalid_message_raises_the_named_constraint(db: Db, columns: str, values: str, constraint: str) -> None:
    become(db, MATTY)
    statement = f"insert into public.messages (channel_id, {columns}) values (%s, {values})"
    assert refused(db, statement, CHANNEL, by=CheckViolation).constraint_name == constraint


def test_rejected_message_uses_no_number(db: Db) -> None:
    before = last_seq(db)
    become(db, MATTY)
    refused(db, "insert into public.messages (channel_id, content) values (%s, '')", CHANNEL, by=CheckViolation)
    become_postgres(db)
    assert last_seq(db) == before
    send(db)
    assert inconsistencies(db) == []


def test_client_edit_keeps_history_and_updates_the_time(db: Db) -> None:
    become(db, MATTY)
    db.execute("update public.messages set content = 'second' where id = %s", (MESSAGE,))
    db.execute("update public.messages set content = 'third' where id = %s", (MESSAGE,))
    query = "select version, content from public.message_edits where message_id = %s order by 1"
    assert rows(db, query, MESSAGE) == [(1, "Can you analyze the Q1 marketing data?"), (2, "second")]
    query = """
        select message.updated_at = max(edit.replaced_at), message.created_at = min(edit.written_at)
        from public.messages as message inner join public.message_edits as edit on message.id = edit.message_id
        where message.id = %s group by message.id
    """
    assert rows(db, query, MESSAGE) == [(True, True)]
    become_postgres(db)
    assert inconsistencies(db) == []


def test_edit_without_change_is_not_recorded(db: Db) -> None:
    before = last_seq(db)
    become(db, MATTY)
    db.execute("update public.messages set content = content where id = %s", (MESSAGE,))
    become_postgres(db)
    assert last_seq(db) == before
    assert rows(db, "select from public.message_edits") == []


def test_setting_limits_edits_per_message(db: Db) -> None:
    db.execute("update private.settings set message_max_edits = 2")
    become(db, MATTY)
    edit = "update public.messages set content = %s where id = %s"
    for content in ("two", "three"):
        db.execute(edit, (content, MESSAGE))
    assert refused(db, edit, "four", MESSAGE, by=psycopg.Error).message_detail == "too_many_edits"
    become_postgres(db)
    assert inconsistencies(db) == []


def test_setting_limits_reactions_per_user(db: Db) -> None:
    db.execute("update private.settings set reactions_per_user_per_message = 2")
    become(db, MATTY)
    react = "insert into public.message_reactions (message_id, emoji) values (%s, %s) on conflict do nothing"
    for emoji in ("a", "b", "b"):
        db.execute(react, (MESSAGE, emoji))
    diagnostics = refused(db, react, MESSAGE, "c", by=psycopg.Error)
    assert (diagnostics.message_detail, diagnostics.column_name) == ("too_many_reactions", "emoji")
    become(db, BOB)
    db.execute(react, (MESSAGE, "c"))
    become_postgres(db)
    assert inconsistencies(db) == []


def test_clients_read_no_deleted_message(db: Db) -> None:
    sent = send(db)
    call(db, "delete_message", id=sent)
    become(db, MATTY)
    assert rows(db, "select from public.messages where id = %s", sent) == []


def test_edits_of_a_deleted_message_are_hidden(db: Db) -> None:
    call(db, "edit_message", id=MESSAGE, content="second")
    become(db, BOB)
    assert len(rows(db, "select from public.message_edits where message_id = %s", MESSAGE)) == 1
    call(db, "delete_message", id=MESSAGE)
    become(db, BOB)
    assert rows(db, "select from public.message_edits where message_id = %s", MESSAGE) == []


def test_service_cannot_undo_a_deletion(db: Db) -> None:
    call(db, "delete_message", id=MESSAGE)
    become_service(db)
    for change in ("content = 'x'", "deleted_at = null", "deleted_at = now()"):
        diagnostics = not_found(db, f"update public.messages set {change} where id = %s", MESSAGE)
        assert diagnostics.message_detail == "message_not_found"


def test_deleted_message_keeps_no_type_and_no_context(db: Db) -> None:
    become(db, MATTY)
    fields = "(channel_id, content, content_type, conversation_id)"
    add = f"insert into public.messages {fields} values (%s, 'x', 'secret', %s) returning id::text"
    sent = value(db, add, CHANNEL, UNKNOWN_ID)
    call(db, "delete_message", id=sent)
    kept = rows(db, "select content_type, conversation_id from public.messages where id = %s", sent)
    assert kept == [("text", None)]


def test_replies_outlive_their_parent(db: Db) -> None:
    reply = call(db, "reply_to_message", BOB, id=MESSAGE, content="reply").data["id"]
    call(db, "delete_message", id=MESSAGE)
    assert call(db, "get_message", id=reply).data["parent_message_id"] == MESSAGE


def test_removal_by_the_service_is_an_event_and_not_counted(db: Db) -> None:
    reply, deleted = (call(db, "reply_to_message", id=MESSAGE, content="reply").data["id"] for _ in range(2))
    call(db, "delete_message", id=deleted)
    call(db, "pin_message", id=MESSAGE)
    before = last_seq(db)
    become_service(db)
    db.execute("delete from public.messages where id = any(%s::uuid[])", ([MESSAGE, deleted],))
    become_postgres(db)
    kinds = rows(db, "select kind, message_id::text from public.message_events where seq > %s", before)
    assert kinds == [("message.deleted", MESSAGE)]
    assert inconsistencies(db) == []
    assert call(db, "get_message", id=reply).data["parent_message_id"] is None


def test_former_member_takes_back_no_reaction(db: Db) -> None:
    call(db, "add_reaction", BOB, id=send(db), emoji="wave")
    db.execute("delete from public.channel_members where channel_id = %s and user_id = %s", (CHANNEL, BOB))
    become(db, BOB)
    # Without a condition, Postgres does not ask the policy for reading.
    assert db.execute("delete from public.message_reactions").rowcount == 0


@pytest.mark.parametrize("table", ["message_reactions (message_id, emoji)", "message_pins (message_id)"])
def test_deleted_message_takes_no_reaction_and_no_pin(db: Db, table: str) -> None:
    call(db, "delete_message", id=MESSAGE)
    given = "(%s, 'fire')" if "emoji" in table else "(%s)"
    become(db, BOB)
    refused(db, f"insert into public.{table} values {given}", MESSAGE)


def test_reaction_is_stored_once(db: Db) -> None:
    become(db, BOB)
    statement = "insert into public.message_reactions (message_id, emoji) values (%s, 'fire')"
    db.execute(statement, (MESSAGE,))
    diagnostics = refused(db, statement, MESSAGE, by=UniqueViolation)
    assert diagnostics.constraint_name == "message_reactions_once"
    db.execute(f"{statement} on conflict do nothing", (MESSAGE,))
    become_postgres(db)
    assert inconsistencies(db) == []


@pytest.mark.parametrize("emoji", ["''", "repeat('x', 65)"])
def test_emoji_must_have_1_to_64_characters(db: Db, emoji: str) -> None:
    become(db, BOB)
    statement = f"insert into public.message_reactions (message_id, emoji) values (%s, {emoji})"
    assert refused(db, statement, MESSAGE, by=Exception).column_name == "emoji"


def test_any_member_may_unpin(db: Db) -> None:
    become(db, BOB)
    db.execute("insert into public.message_pins (message_id) values (%s)", (MESSAGE,))
    become(db, CAROL)
    assert rows(db, "delete from public.message_pins returning pinned_by::text, channel_id::text") == [(BOB, CHANNEL)]
    actors = "select actor_id::text from public.message_events where kind = %s"
    assert [rows(db, actors, kind)[-1:] for kind in ("message.pinned", "message.unpinned")] == [[BOB], [CAROL]]


def test_message_to_a_missing_channel_is_rejected(db: Db) -> None:
    become_service(db)
    with pytest.raises((psycopg.errors.ForeignKeyViolation, RaiseException, psycopg.errors.NotNullViolation)):
        db.execute("insert into public.messages (channel_id, content) values (%s, 'x')", (UNKNOWN_ID,))


@pytest.fixture
def crowd(db: Db) -> Db:
    """Insert enough rows to reveal a check per row."""
    db.execute(
        """
        insert into public.messages (channel_id, user_id, content)
        select %s, %s, n::text from generate_series(1, 60) as n
        """,
        (CHANNEL, MATTY),
    )
    db.execute("update public.messages set content = content || '!' where content ~ '^[0-9]+$'")
    db.execute("insert into public.message_pins (message_id, pinned_by) select id, user_id from public.messages")
    db.execute(
        "insert into public.message_reactions (message_id, user_id, emoji) select id, %s, 'x' from public.messages",
        (CAROL,),
    )
    db.execute(
        """
        insert into public.channels (name, created_by) select n::text, %(bob)s from generate_series(1, 5) as n;
        insert into public.ai_twins (user_id, display_name) select %(bob)s, n::text from generate_series(1, 5) as n;
        insert into public.channel_twins
        select member.channel_id, twin.id
        from public.channel_members as member cross join public.ai_twins as twin
        where (member.user_id, twin.user_id) = (%(bob)s, %(bob)s)
        """.replace("%(bob)s", f"'{BOB}'")
    )
    return db


def run(db: Db, query: str) -> dict[str, Any]:
    """Return the plan of a query, with its run-time figures."""
    return value(db, f"explain (analyze, timing off, summary off, costs off, format json) {query}")[0]["Plan"]


def asked(node: dict[str, Any], part: dict[str, Any] | None = None) -> Iterator[int]:
    """Return how often each node ran that reads what the caller owns."""
    if node.get("Parent Relationship") == "InitPlan":
        part = node
    if part and (part["Parent Relationship"] == "InitPlan" or node.get("Relation Name") in ABOUT_THE_CALLER):
        yield part["Actual Loops"]
    for child in node.get("Plans", []):
        yield from asked(child, part)


@pytest.mark.parametrize("query", QUERIES)
def test_message_policies_evaluate_the_caller_once(crowd: Db, query: str) -> None:
    become(crowd, BOB)
    plan = run(crowd, query)
    assert max(asked(plan)) == 1
    # A check per row would show the setting behind auth.uid() in a filter.
    assert "current_setting" not in json.dumps(plan)


@pytest.mark.parametrize("table", TABLES)
def test_policies_do_not_recurse(db: Db, table: str) -> None:
    for user_id in (MATTY, BOB, CAROL):
        become(db, user_id)
        db.execute(f"select from public.{table}")
