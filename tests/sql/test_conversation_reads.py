"""sql/129_conversation_reads.sql: read markers of conversations move forward, and reading the inbox counts the rest."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.calls import ingest
from tests.support.database import Db, become, become_postgres, become_service, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import read_conversation
from tests.support.world import BOB, CAROL, MALLORY, MATTY, UNKNOWN_ID, WORKSPACE

START = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)


@pytest.fixture(autouse=True)
def _joined_long_ago(db: Db) -> None:
    db.execute("update public.workspace_members set created_at = %s", (START - timedelta(days=1),))
    db.execute("update public.messaging_connections set is_apart = true")  # then its scope is not the workspace


def at(minute: float) -> str:
    return (START + timedelta(minutes=minute)).isoformat(timespec="microseconds")


def receive(db: Db, *minutes: float, **fields: Any) -> str:
    """Ingest a message at each minute; return the id of the conversation."""
    ingest(db, conversation(*(message(f"m{minute}", sent_at=at(minute), **fields) for minute in minutes)))
    return str(read_conversation(db)["id"])


def mark(db: Db, conversation_id: str, *until: str | None, who: str = MATTY) -> Any:
    become(db, who)
    answer = value(db, f"select public.mark_conversation_read(%s{', %s' * len(until)})", conversation_id, *until)
    become_postgres(db)
    return datetime.fromisoformat(answer["read_at"])


def unread(db: Db, conversation_id: str, who: str = MATTY) -> int:
    """The field as the table and as the list show it."""
    become(db, who)
    (count,) = rows(
        db,
        "select public.unread_count(conversation) from public.conversations as conversation where id = %s",
        conversation_id,
    )
    listed = value(db, "select private.list_conversations('{}')")["data"]
    become_postgres(db)
    assert {each["id"]: each["unread_count"] for each in listed}[conversation_id] == count
    return count


def test_inbound_messages_are_unread_until_marked(db: Db) -> None:
    conversation_id = receive(db, 1, 2, 3)
    receive(db, 4, direction="outbound")
    assert unread(db, conversation_id) == 3
    assert mark(db, conversation_id, at(2)) == START + timedelta(minutes=2)
    assert unread(db, conversation_id) == 1
    assert mark(db, conversation_id) == START + timedelta(minutes=4)
    assert unread(db, conversation_id) == 0
    receive(db, 5)
    assert unread(db, conversation_id) == 1


def test_marker_moves_forward_only(db: Db) -> None:
    conversation_id = receive(db, 1, 2, 3)
    moves = [at(2), at(1), at(1000), at(0), None]
    ends = [mark(db, conversation_id, move) - START for move in moves]
    assert ends == [timedelta(minutes=minute) for minute in (2, 2, 3, 3, 3)]


def test_time_of_an_answer_covers_its_millisecond(db: Db) -> None:
    conversation_id = receive(db, 1 + 0.000_9 / 60)
    listed = (START + timedelta(minutes=1)).isoformat(timespec="milliseconds")
    mark(db, conversation_id, listed)
    assert unread(db, conversation_id) == 0


def test_messages_with_a_wrong_clock_are_unread_until_marked(db: Db) -> None:
    far = START + timedelta(days=9999)
    counts = []
    # The last message with a right clock comes from a clock that is a little ahead.
    for number, sent_at in enumerate([far, far, START + timedelta(minutes=80), far]):
        ingest(db, conversation(message(str(number), sent_at=sent_at.isoformat())))
        conversation_id = str(read_conversation(db)["id"])
        counts.append(unread(db, conversation_id))
        mark(db, conversation_id)
        counts.append(unread(db, conversation_id))
    assert counts == [1, 0] * 4


def test_each_member_has_a_marker_of_their_own(db: Db) -> None:
    conversation_id = receive(db, 1, 2)
    ingest(db, conversation(message(sent_at=at(3)), external_id="other"))
    other = str(read_conversation(db, "other")["id"])
    db.execute("update public.conversations set workspace_id = %s, scope_id = %s", (WORKSPACE, WORKSPACE))
    db.execute("update public.conversation_messages set workspace_id = %s", (WORKSPACE,))
    mark(db, conversation_id, at(1))
    assert (unread(db, conversation_id), unread(db, conversation_id, BOB)) == (1, 2)
    mark(db, other)
    assert (unread(db, conversation_id), unread(db, other)) == (1, 0)
    become(db, BOB)
    assert rows(db, "select from public.conversation_reads") == []
    become_postgres(db)
    mark(db, conversation_id, at(1), who=BOB)
    become_service(db)
    assert rows(db, "select public.unread_count(c) from public.conversations as c") == [0, 0]
    become_postgres(db)
    db.execute("delete from public.workspace_members where user_id = %s and workspace_id = %s", (BOB, WORKSPACE))
    mark(db, conversation_id)
    assert rows(db, "select distinct user_id::text from public.conversation_reads") == [MATTY]


def test_messages_before_joining_count_as_read(db: Db) -> None:
    conversation_id = receive(db, 1, 2)
    db.execute("update public.workspace_members set created_at = %s", (START + timedelta(minutes=1.5),))
    assert unread(db, conversation_id) == 1
    mark(db, conversation_id, at(0))
    assert unread(db, conversation_id) == 1
    db.execute("update public.conversations set workspace_id = %s, scope_id = %s", (WORKSPACE, WORKSPACE))
    db.execute("update public.conversation_messages set workspace_id = %s", (WORKSPACE,))
    for who, minute in ((CAROL, 0), (BOB, 1), (MATTY, 5)):
        db.execute("update public.workspace_members set created_at = %s where user_id = %s", (at(minute), who))
    assert [unread(db, conversation_id, who) for who in (CAROL, BOB, MATTY)] == [2, 1, 0]


def test_deleted_message_is_not_unread(db: Db) -> None:
    conversation_id = receive(db, 1, 2)
    ingest(db, conversation(updates=[{"message_id": "m2", "type": "deleted", "at": at(3)}]))
    assert unread(db, conversation_id) == 1
    assert mark(db, conversation_id) == START + timedelta(minutes=2)


def test_unread_looks_at_the_newest_100(db: Db) -> None:
    conversation_id = receive(db, *(number / 10 for number in range(102)))
    assert unread(db, conversation_id) == 100
    receive(db, 11, 12, 13, direction="outbound")
    assert unread(db, conversation_id) == 97


def test_conversation_without_messages_can_be_marked(db: Db) -> None:
    ingest(db, conversation())
    conversation_id = str(read_conversation(db)["id"])
    mark(db, conversation_id)
    receive(db, 1)
    assert unread(db, conversation_id) == 1


def test_non_member_marks_and_counts_nothing(db: Db) -> None:
    conversation_id = receive(db, 1)
    forged = json.dumps({"id": conversation_id, "workspace_id": MALLORY})
    become(db, MALLORY)
    for name in (conversation_id, UNKNOWN_ID, None):
        assert refused(db, "select public.mark_conversation_read(%s)", name, by=psycopg.Error).sqlstate == "PT404"
    counted = "select public.unread_count(jsonb_populate_record(null::public.conversations, %s))"
    assert value(db, counted, forged) == 0


def test_ingest_writes_no_marker(db: Db) -> None:
    receive(db, 1, 2)
    assert rows(db, "select 1 from public.conversation_reads") == []
