"""sql/270_summaries.sql: summaries of conversations share leases, budget and citations with those of channels."""

from typing import Any

import psycopg
import pytest

from tests.sql.test_summaries import SERVICE, finish, poll, used
from tests.support.calls import Reply, call, ingest
from tests.support.database import Db, become, lift_request_limit, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import read_conversation
from tests.support.world import BOB, MATTY

ANSWER = {"summary": "They met.", "messageCount": 2, "citations": ["m1"], "model": "m", "truncated": False}


@pytest.fixture(autouse=True)
def _many_requests(db: Db) -> None:
    lift_request_limit(db)


def begin(db: Db, user_id: str | None = MATTY, **fields: Any) -> Reply:
    name = str(read_conversation(db)["id"])
    return call(db, "begin_conversation_summary", user_id, parameters=SERVICE, **{"conversation_id": name, **fields})


def update(type_: str, **fields: Any) -> dict[str, Any]:
    return conversation(updates=[{"message_id": "m1", "type": type_, "at": "2026-02-01T11:00:00Z", **fields}])


def test_transcript_names_both_sides(db: Db) -> None:
    ingest(
        db,
        conversation(
            message("m1", content="Shall we meet?"),
            message("m2", direction="outbound", content="Yes", reply_to="m1", sent_at="2026-02-01T10:31:00Z"),
            message("m3", type="image", content="", sent_at="2026-02-01T10:32:00Z"),
            participant_name="Ann",
        ),
    )
    db.execute(
        "update public.conversation_messages set received_at = now() + interval '1 hour' where external_id = 'm1'"
    )
    reply = begin(db)
    assert reply.status == 201
    assert [[line[field] for field in ("id", "parent_id", "author", "content")] for line in reply.data["messages"]] == [
        ["m1", None, "Ann", "Shall we meet?"],
        ["m2", "m1", "us", "Yes"],
        ["m3", None, "Ann", "Photo"],
    ]
    assert reply.data["scope"]["messageCount"] == 3
    assert begin(db, messageCount=1).data["messages"][0]["id"] == "m3"
    assert [begin(db, messageCount=count).status for count in (10_000, 10_001)] == [201, 400]


def test_transcript_of_a_group_names_each_sender(db: Db) -> None:
    said = [message(name, sender=name, sequence=place) for place, name in ((2, "u1"), (1, "u2"), (3, "u3"))]
    ingest(db, conversation(*said, kind="group", participant_name="Team"))
    assert [line["author"] for line in begin(db).data["messages"]] == ["u2", "u1", "u3"]


def test_deleted_messages_are_left_out(db: Db) -> None:
    ingest(db, conversation(message("m1", content="secret"), message("m2")))
    ingest(db, update("deleted"))
    assert [line["id"] for line in begin(db).data["messages"]] == ["m2"]
    ingest(db, conversation(updates=[{"message_id": "m2", "type": "deleted", "at": "2026-02-01T11:00:00Z"}]))
    assert (begin(db).status, begin(db).data["messageCount"]) == (200, 0)


def test_answer_is_kept_until_the_conversation_changes(db: Db) -> None:
    ingest(db, conversation(message("m1")))
    task = begin(db).data
    assert begin(db).status == 202
    db.execute("update private.summaries set leased_at = now() + interval '1 hour'")
    assert finish(db, task, answer=ANSWER).data == ANSWER
    assert (begin(db).data, begin(db, None).data, poll(db, task).data) == (ANSWER, ANSWER, ANSWER)
    assert used(db) == 1
    ingest(db, conversation(message("m2")))
    db.execute("update public.conversations set version = version + 1")
    assert begin(db).status == 201
    assert used(db) == 2
    assert poll(db, task).data == ANSWER
    db.execute("update private.summaries set finished_at = now() - interval '6 minutes' where answer is not null")
    db.execute("update public.conversations set version = version + 1")
    assert begin(db).status == 201
    assert poll(db, task).error[:2] == (409, "summary_outdated")


@pytest.mark.parametrize("change", [update("edited", content="new"), update("deleted")], ids=["edited", "deleted"])
def test_changed_text_outdates_a_summary_under_way(db: Db, change: dict[str, Any]) -> None:
    ingest(db, conversation(message("m1")))
    task = begin(db).data
    ingest(db, change)
    assert finish(db, task, answer=ANSWER).status == 200
    assert poll(db, task).error[1] == "summary_outdated"


def test_other_changes_outdate_no_summary_under_way(db: Db) -> None:
    ingest(db, conversation(message("m1")), conversation(message("m1"), external_id="other"))
    ingest(db, update("edited", content="before the request"))
    db.execute("update public.conversation_updates set received_at = now() - interval '2 minutes'")
    task = begin(db).data
    ingest(db, update("read"))
    edit = {"message_id": "m1", "type": "edited", "at": "2026-02-01T11:00:00Z", "content": "new"}
    ingest(db, conversation(updates=[edit], external_id="other"))
    assert finish(db, task, answer=ANSWER).status == 200
    assert poll(db, task).data == ANSWER


def test_edit_before_the_second_lease_outdates_no_summary(db: Db) -> None:
    ingest(db, conversation(message("m1")))
    version = "select version from public.conversations"
    began = value(db, version)
    begin(db)
    ingest(db, update("edited", content="new"))
    db.execute("update public.conversation_updates set received_at = now() - interval '2 minutes'")
    db.execute("update public.conversations set version = %s", (began,))
    db.execute("update private.summaries set leased_at = now() - interval '1 hour'")
    db.execute("update private.summaries set lease_expires_at = now() - interval '1 second'")
    task = begin(db).data
    finish(db, task, answer=ANSWER)
    assert poll(db, task).data == ANSWER


def test_only_members_get_a_summary(db: Db) -> None:
    ingest(db, conversation(message("m1")))
    assert begin(db, BOB).error == (404, "conversation_not_found", "conversation_id")
    finish(db, begin(db).data, answer=ANSWER)
    [known] = rows(db, "select conversation_id, last_seq, model from private.summaries")
    find = "select answer is not null from private.find_summary(null, %s, %s, 0, %s, 1)"
    for who, may in ((MATTY, True), (BOB, False)):
        become(db, who)
        assert value(db, find, *known) == may
    leased = refused(db, "select private.lease_summary(null, %s, %s, 1, %s, 1, 60)", *known, by=psycopg.Error)
    assert leased.message_detail == "conversation_not_found"


def test_empty_conversation_has_an_empty_summary(db: Db) -> None:
    ingest(db, conversation())
    assert (begin(db).status, begin(db).data["summary"], begin(db).data["citations"]) == (200, "", [])


def test_deleted_conversation_takes_its_summaries_along(db: Db) -> None:
    ingest(db, conversation(message("m1")))
    task = begin(db).data
    db.execute("delete from public.conversations")
    assert poll(db, task).error[:2] == (409, "summary_outdated")


def test_deleted_row_takes_a_summary_under_way_along(db: Db) -> None:
    ingest(db, conversation(message("m1"), message("m2")))
    task = begin(db).data
    db.execute("delete from public.conversation_messages where external_id = 'm1'")
    assert poll(db, task).error[:2] == (409, "summary_outdated")
