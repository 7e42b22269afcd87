"""sql/120_conversations.sql: triggers keep each conversation's summary correct, for any writer."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import ForeignKeyViolation, SerializationFailure

from tests.support.calls import ingest
from tests.support.database import Db, become, become_service, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import add_conversation, read_conversation
from tests.support.world import BOB, MATTY, WORKSPACE

INSERT = """
insert into public.conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
select %(thread)s, %(user)s, given.value ->> 'id', (given.value ->> 'sent_at')::timestamptz, given.value
from jsonb_array_elements(%(messages)s::jsonb) as given
"""


def insert(db: Db, thread_id: object, *messages: dict[str, Any], user_id: str = BOB) -> None:
    """Insert messages as service_role, and stay service_role."""
    become_service(db)
    db.execute(INSERT, {"thread": thread_id, "user": user_id, "messages": json.dumps(messages)})


def summary(db: Db, thread_id: object) -> Any:
    """Count, newest time and preview of a conversation."""
    query = "select message_count, last_message_at::text, last_message_preview from public.conversations where id = %s"
    (only,) = rows(db, query, thread_id)
    return only


EMPTY = (0, None, None)
EARLY = message("early", sent_at="2026-02-01T10:00:00Z", content="first")
LATE = message("late", sent_at="2026-02-01T11:00:00Z", content="last")


def test_messages_are_read_as_one_array_in_time_order(db: Db) -> None:
    ingest(db, conversation(LATE))
    ingest(db, conversation(EARLY))
    become(db, MATTY)
    db.execute("set local search_path = public")
    assert rows(db, "select c.messages from conversations c") == [[EARLY, LATE]]


def stored_ids(db: Db) -> list[str]:
    return [stored["id"] for stored in read_conversation(db)["messages"]]


def test_messages_with_equal_times_keep_their_order_of_arrival(db: Db) -> None:
    ingest(db, conversation(message("10"), message("9", content="hi")))
    assert read_conversation(db)["last_message_preview"] == "hi"
    ingest(db, conversation(message("9", content="hi"), message("B"), message("a")))
    assert stored_ids(db) == ["10", "9", "B", "a"]


def test_duplicate_conversations_keep_the_order_of_the_request(db: Db) -> None:
    ingest(db, conversation(message("z"), message("y")), conversation(message("a")), conversation(message("B")))
    assert stored_ids(db) == ["z", "y", "a", "B"]


def test_sequence_orders_messages_with_equal_times(db: Db) -> None:
    given = {"a": "30", "b": -2, "c": 10, "d": 3}
    ingest(db, conversation(*(message(name, sequence=number) for name, number in given.items())))
    assert stored_ids(db) == ["b", "d", "c", "a"]
    assert read_conversation(db)["last_message_preview"] == "Content of a"


@pytest.mark.parametrize("sequence", [None, "", "x", 1.5, [1], {"a": 1}, True, 10**19, "9" * 19])
def test_sequence_that_is_no_integer_counts_as_0(db: Db, sequence: object) -> None:
    ingest(db, conversation(message("b", sequence=1), message("a", sequence=sequence), message("c", sequence=-1)))
    assert stored_ids(db) == ["c", "a", "b"]
    assert read_conversation(db)["messages"][1]["sequence"] == sequence


FUTURE = "2062-01-01T00:00:00Z"


@pytest.mark.parametrize("order", [1, -1])
def test_latest_name_of_a_request_counts(db: Db, order: int) -> None:
    named = [
        conversation(message(name, sent_at=f"2026-02-0{day}T10:00:00Z"), participant_name=name)
        for day, name in ((1, "Old"), (2, "New"))
    ]
    ingest(db, *named[::order])
    assert read_conversation(db)["participant_name"] == "New"


def test_wrong_clock_does_not_pin_a_conversation(db: Db) -> None:
    ingest(db, conversation(message("1", sent_at=FUTURE, content="wrong clock"), participant_name="Old"))
    first = read_conversation(db)
    assert (first["last_message_preview"], first["participant_name"]) == ("wrong clock", "Old")
    assert first["last_message_at"] < "2062"
    ingest(db, conversation(message("2", sent_at="2026-02-02T10:00:00Z", content="hi"), participant_name="New"))
    then = read_conversation(db)
    assert (then["last_message_preview"], then["participant_name"]) == ("hi", "New")
    assert then["last_message_at"] == "2026-02-02T10:00:00+00:00"
    assert [line["sent_at"] for line in then["messages"]] == [FUTURE, "2026-02-02T10:00:00Z"]
    # More than an hour ahead is a wrong clock, too.
    soon = datetime.now(UTC) + timedelta(hours=2)
    ingest(db, conversation(message("3", sent_at=soon.isoformat()), external_id="soon"))
    assert datetime.fromisoformat(read_conversation(db, "soon")["last_message_at"]) < soon


def test_wrong_clock_comes_behind_what_was_there(db: Db) -> None:
    ingest(
        db,
        conversation(
            message("1", sequence=5),
            message("2", sent_at=FUTURE),
            message("3", sent_at="2026-02-01T11:00:00Z", sequence=5),
            message("4", sent_at=FUTURE),
            message("5", sent_at="2063-01-01T00:00:00Z"),
        ),
    )
    ingest(db, conversation(message("0", sent_at="2026-02-01T09:00:00Z")))
    ingest(db, conversation(message("6", sent_at=FUTURE, content="last")))
    assert (stored_ids(db), read_conversation(db)["last_message_preview"]) == (list("0123456"), "last")
    ingest(db, conversation(message("7", sent_at="2026-02-01T11:00:01Z")))
    assert stored_ids(db) == list("01234567")


def test_wrong_clock_sent_again_changes_nothing(db: Db) -> None:
    given = conversation(message("1", sent_at=FUTURE), message("2"), participant_name="Ann")
    assert [ingest(db, given).statuses for _ in range(2)] == [["created"], ["no_new_messages"]]


@pytest.mark.parametrize("column", ["participant_identifier", "participant_name", "external_conversation_id"])
def test_texts_of_a_conversation_are_compared_by_bytes(db: Db, column: str) -> None:
    collation = """
    select collname from pg_attribute inner join pg_collation on pg_collation.oid = attcollation
    where attrelid = 'public.conversations'::regclass and attname = %s
    """
    assert value(db, collation, column) == "C"


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_preview_of_equal_times_is_the_last_arrival(db: Db, order: tuple[str, str]) -> None:
    for name in order:
        ingest(db, conversation(message(name, content=name)))
    # Ingest forbids sequential scans, and an index gives the order anyway.
    db.execute("set local enable_indexscan = off; set local enable_bitmapscan = off")
    db.execute("update public.conversation_messages set sequence = sequence")
    assert read_conversation(db)["last_message_preview"] == order[-1]


def test_conversation_without_messages_reads_as_empty_array(db: Db) -> None:
    ingest(db, conversation(participant_name="Ann"))
    stored = read_conversation(db)
    assert (stored["messages"], stored["last_message_at"]) == ([], None)
    assert (stored["participant_named_at"], stored["participant_identified_at"]) == (None, None)


def test_deleted_conversation_cannot_be_locked(db: Db) -> None:
    found = add_conversation(db, "@ann")
    lock = "select private.lock_conversations(%s::uuid[])"
    db.execute(lock, ([found, found],))
    for ids in ([found, None], [found, found, uuid4()]):
        refused(db, lock, ids, by=SerializationFailure)


def test_computed_field_hides_messages_of_other_users(db: Db) -> None:
    ingest(db, conversation(EARLY))
    known = value(db, "select to_jsonb(c) from public.conversations as c")
    read = "select public.messages(jsonb_populate_record(null::public.conversations, %s))"
    become(db, MATTY)
    assert value(db, read, json.dumps(known)) == [EARLY]
    become(db, BOB)
    assert value(db, read, json.dumps(known)) == []


def test_computed_relationship_has_one_conversation(db: Db) -> None:
    ingest(db, conversation(EARLY, LATE), conversation(EARLY, external_id="other"))
    read = "select c.external_conversation_id, (select count(*) from public.conversation_messages(c)) from"
    assert dict(rows(db, f"{read} public.conversations as c")) == {"chat": 2, "other": 1}


def test_backend_inserts_update_the_summary(db: Db) -> None:
    one, other = add_conversation(db, "@ann"), add_conversation(db, "@bea")
    insert(db, one, LATE, EARLY)
    assert summary(db, one) == (2, "2026-02-01 11:00:00+00", "last")
    assert summary(db, other) == EMPTY


def test_backend_may_name_the_workspace(db: Db) -> None:
    insert = (
        "insert into public.conversations (user_id, workspace_id, platform, external_conversation_id,"
        " participant_identifier) values (%s, %s, 'signal', 'x', '@ann') returning scope_id::text"
    )
    assert value(db, insert, MATTY, WORKSPACE) == WORKSPACE


def test_insert_after_an_ingest_updates_the_summary(db: Db) -> None:
    ingest(db, conversation(EARLY))
    found = value(db, "select id from public.conversations")
    insert(db, found, LATE, user_id=MATTY)
    assert summary(db, found) == (2, "2026-02-01 11:00:00+00", "last")


def test_one_statement_may_add_to_several_conversations(db: Db) -> None:
    threads = [add_conversation(db, "@ann"), add_conversation(db, "@bea")]
    become_service(db)
    db.execute(
        """
        insert into public.conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
        select id, workspace_id, 'm' || n, now(), '{"type": "image"}'
        from public.conversations cross join generate_series(1, 3) as n
        where id = any(%s)
        """,
        (threads,),
    )
    assert [summary(db, found)[::2] for found in threads] == [(3, "Photo")] * 2


def test_deletions_recompute_the_summary(db: Db) -> None:
    found = add_conversation(db, "@ann")
    insert(db, found, EARLY, LATE)
    db.execute("delete from public.conversation_messages where external_id = 'late'")
    assert summary(db, found) == (1, "2026-02-01 10:00:00+00", "first")
    db.execute("delete from public.conversation_messages")
    assert summary(db, found) == EMPTY


def test_conversation_is_deleted_with_its_messages(db: Db) -> None:
    found = add_conversation(db, "@ann")
    insert(db, found, EARLY)
    db.execute("delete from public.conversations where id = %s", (found,))
    assert rows(db, "select from public.conversation_messages") == []


@pytest.mark.parametrize("is_summarized", ["", "on"])
def test_message_of_another_user_is_rejected(db: Db, is_summarized: str) -> None:
    found = add_conversation(db, "@ann")
    db.execute("select set_config('threadline.is_summarized', %s, true)", (is_summarized,))
    with pytest.raises(ForeignKeyViolation) as caught, db.transaction():
        insert(db, found, EARLY, user_id=MATTY)
    assert caught.value.diag.constraint_name == "conversation_messages_conversation_fkey"


@pytest.mark.parametrize("is_summarized", ["", "on"])
def test_message_without_conversation_rejects_the_statement(db: Db, is_summarized: str) -> None:
    found = add_conversation(db, "@ann")
    db.execute("select set_config('threadline.is_summarized', %s, true)", (is_summarized,))
    statement = """
    insert into public.conversation_messages (conversation_id, external_id, workspace_id, sent_at, message)
    select id, 'x', %s, now(), '{}' from unnest(%s::uuid[]) as id
    """
    with pytest.raises(ForeignKeyViolation), db.transaction():
        db.execute(statement, (BOB, [found, uuid4()]))
    assert rows(db, "select from public.conversation_messages") == []


@pytest.mark.parametrize(
    "statement",
    [
        "update public.conversation_messages set message = '{}'",
        "update public.conversation_messages set workspace_id = workspace_id",
        "update public.conversations set user_id = user_id",
        "truncate public.conversation_messages",
    ],
)
def test_backend_cannot_change_content_or_owner(db: Db, statement: str) -> None:
    become_service(db)
    refused(db, statement)


@pytest.mark.parametrize(
    ("fields", "preview"),
    [
        ({"content": "Hello"}, "Hello"),
        ({"content": "  two\n\nlines\t"}, "two lines"),
        ({"content": "one\nline"}, "one line"),
        ({"content": "x" * 101}, "x" * 100),
        ({"content": "\U0001f600" * 101}, "\U0001f600" * 100),
        ({"content": "Product photo", "type": "image"}, "Product photo"),
        ({"content": "", "type": "image"}, "Photo"),
        ({"content": "", "type": "audio"}, "Voice message"),
        ({"content": "", "type": "video"}, "Video"),
        ({"content": "", "type": "file"}, "File"),
        ({"content": "", "type": "location"}, "Location"),
        ({"content": "", "type": "sticker"}, "Sticker"),
        ({"content": "", "type": "contact"}, "Contact"),
        ({"content": "", "type": "poll"}, "Poll"),
        ({"content": "", "type": "call"}, "Call"),
        ({"content": "", "type": "system"}, "Notice"),
        ({"content": "", "type": "text"}, "Message"),
        ({"content": " \n ", "type": "file"}, "File"),
    ],
)
def test_preview_shows_text_or_type_of_the_message(db: Db, fields: dict[str, str], preview: str) -> None:
    ingest(db, conversation(message(**fields)))
    assert read_conversation(db)["last_message_preview"] == preview


@pytest.mark.parametrize(
    ("column", "given", "constraint"),
    [
        ("platform", "icq", "conversations_platform_known"),
        ("external_conversation_id", "", "conversations_external_id_length"),
        ("external_conversation_id", "x" * 501, "conversations_external_id_length"),
        ("participant_identifier", "", "conversations_participant_identifier_length"),
        ("participant_identifier", "x" * 501, "conversations_participant_identifier_length"),
        ("participant_name", "", "conversations_participant_name_length"),
        ("participant_name", "x" * 501, "conversations_participant_name_length"),
        ("message_count", -1, "conversations_message_count_not_negative"),
    ],
    ids=[
        "unknown platform",
        "empty external id",
        "long external id",
        "empty participant",
        "long participant",
        "empty name",
        "long name",
        "negative count",
    ],
)
def test_invalid_conversation_raises_the_named_constraint(db: Db, column: str, given: object, constraint: str) -> None:
    add_conversation(db, "@ann")
    diagnostics = refused(db, f"update public.conversations set {column} = %s", given, by=psycopg.Error)
    assert diagnostics.constraint_name == constraint


def test_conversation_change_updates_its_timestamp(db: Db) -> None:
    found = add_conversation(db, "@ann")
    db.execute("update public.conversations set updated_at = '2020-01-01' where id = %s", (found,))
    assert value(db, "select updated_at = now() from public.conversations where id = %s", found)
