"""sql/135_continued_conversations.sql: a conversation that goes on under another name stays one conversation."""

from itertools import permutations
from typing import Any

import pytest
from psycopg.errors import SerializationFailure

from tests.sql.test_workspaces import make_admin, new_connection, push
from tests.support.calls import ingest
from tests.support.database import Db, locks_matching, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import read_conversation
from tests.support.world import BOB, MATTY, WHATSAPP

OLD, NEW = "972987654321", "972912345678"


def chat(name: str, *messages: Any, **fields: Any) -> dict[str, Any]:
    return conversation(*messages, external_id=name, participant_identifier=name, **fields)


def names(db: Db) -> list[str]:
    return rows(db, "select external_conversation_id from public.conversations order by 1")


def ids(db: Db, name: str = OLD) -> list[str]:
    return sorted(line["id"] for line in read_conversation(db, name)["messages"])


def test_new_number_goes_on_in_the_same_conversation(db: Db) -> None:
    ingest(db, chat(OLD, message("1")))
    assert ingest(db, chat(NEW, continues=OLD)).statuses == ["no_new_messages"]
    for statuses in (["updated"], ["no_new_messages"]):
        assert ingest(db, chat(NEW, message("2", sent_at="2026-02-02T10:00:00Z"))).statuses == statuses
    assert ingest(db, chat(OLD, message("3"))).statuses == ["updated"]
    assert (names(db), ids(db)) == ([OLD], ["1", "2", "3"])
    stored = read_conversation(db, OLD)
    assert stored["participant_identifier"] == NEW
    known = rows(db, "select value from public.conversation_identifiers where kind = 'phone'")
    assert OLD in known


def test_new_number_waits_for_requests_of_its_workspace(db: Db) -> None:
    ingest(db, chat(OLD, message("1")))
    (workspace,) = rows(db, "select workspace_id::text from public.conversations")
    assert not locks_matching(db, workspace)
    ingest(db, chat(NEW, continues=OLD))
    assert locks_matching(db, workspace)


EDIT = {"message_id": "2", "type": "edited", "at": "2026-02-03T10:00:00Z", "content": "new"}


@pytest.mark.parametrize("place", range(6))
def test_names_in_any_order_make_one_conversation(db: Db, place: int) -> None:
    steps = [
        chat(NEW, message("2", sent_at="2026-02-02T10:00:00Z"), participant_name="Bea"),
        chat(NEW, continues=OLD),
        chat(NEW, updates=[EDIT]),
    ]
    ingest(db, chat(OLD, message("1"), participant_name="Ann"))
    for one in list(permutations(steps))[place]:
        ingest(db, one)
    assert (names(db), ids(db)) == ([OLD], ["1", "2"])
    stored = read_conversation(db, OLD)
    assert (stored["messages"][1]["content"], stored["message_count"]) == ("new", 2)
    assert stored["last_message_preview"] == "new"
    assert (stored["participant_identifier"], stored["participant_name"]) == (NEW, "Bea")


def test_former_name_may_come_later(db: Db) -> None:
    ingest(db, chat(NEW, message("2")))
    ingest(db, chat(NEW, continues=OLD))
    ingest(db, chat(OLD, message("1")))
    ingest(db, chat(NEW, message("3")))
    assert (names(db), ids(db)) == ([OLD], ["1", "2", "3"])


def test_chain_of_names_leads_to_the_first(db: Db) -> None:
    ingest(db, chat(OLD, message("1")))
    ingest(db, chat(NEW, continues=OLD))
    ingest(db, chat("972911111111", message("2"), continues=NEW))
    assert (names(db), ids(db)) == ([OLD], ["1", "2"])


def test_number_of_a_joined_conversation_stays_known(db: Db) -> None:
    for one in (chat(OLD, message("1")), chat(NEW, message("2"))):
        ingest(db, one)
    ingest(db, chat(NEW, continues=OLD) | {"participant_identifier": "@tom"})
    known = rows(db, "select value from public.conversation_identifiers")
    assert {*known, read_conversation(db, OLD)["participant_identifier"]} == {"@tom", NEW, OLD}


def test_name_with_two_former_ones_joins_both(db: Db) -> None:
    for one in (chat(OLD, message("1")), chat(NEW, continues=OLD), chat("972911111111", message("2"))):
        ingest(db, one)
    ingest(db, chat(NEW, continues="972911111111"))
    assert (names(db), ids(db, "972911111111")) == (["972911111111"], ["1", "2"])
    known = "select continues from private.conversation_aliases where external_id = %s"
    assert rows(db, known, NEW) == [OLD]


@pytest.mark.parametrize("former", ["unknown", NEW, "", None, 5])
def test_unknown_name_changes_nothing(db: Db, former: Any) -> None:
    assert ingest(db, chat(NEW, message("1"), continues=former)).statuses == ["created"]
    assert value(db, "select count(*) from private.conversation_aliases") == 0


def test_alias_goes_with_its_conversation(db: Db) -> None:
    ingest(db, chat(OLD, message("1")))
    ingest(db, chat(NEW, message("2"), continues=OLD))
    db.execute("delete from public.conversations")
    assert ingest(db, chat(NEW, message("3"))).statuses == ["created"]
    assert names(db) == [NEW]


@pytest.mark.parametrize("former", [NEW, "x" * 501, ""])
def test_impossible_name_changes_no_conversation(db: Db, former: str) -> None:
    ingest(db, chat(NEW, message("1")))
    assert ingest(db, chat(NEW, continues=former)).statuses == ["no_new_messages"]
    assert (names(db), value(db, "select count(*) from private.conversation_aliases")) == ([NEW], 0)


def test_bad_conversation_gets_no_name(db: Db) -> None:
    ingest(db, chat(OLD, message("1")))
    for bad in ({"external_conversation_id": "x" * 501}, {"external_conversation_id": ""}):
        assert ingest(db, chat(NEW, continues=OLD) | bad).statuses[0].startswith("error")
    assert value(db, "select count(*) from private.conversation_aliases") == 0
    ingest(db, chat(NEW, continues=OLD))
    (result,) = ingest(db, chat(NEW, participant_name=5)).body["results"]
    assert result["external_conversation_id"] == NEW


def test_names_of_two_owners_are_apart(db: Db) -> None:
    make_admin(db, BOB)
    theirs, mine = (new_connection(db, who, name=f"team.{who}") for who in (BOB, MATTY))
    for one in (chat(OLD, message("1")), chat(NEW, continues=OLD)):
        push(db, theirs, one)
    assert push(db, mine, chat(NEW, message("2")))[0]["status"] == "created"
    assert push(db, mine, chat(OLD, message("3")))[0]["status"] == "created"
    assert push(db, mine, chat(NEW, continues=OLD))[0]["status"] == "no_new_messages"
    assert push(db, mine, chat(NEW, message("4")))[0]["status"] == "updated"
    found = "select user_id::text, external_conversation_id from public.conversations order by message_count"
    assert rows(db, found) == [(BOB, OLD), (MATTY, OLD)]


@pytest.mark.parametrize(("owner", "is_refused"), [(MATTY, False), (BOB, True)])
def test_connection_with_another_owner_ingests_nothing(db: Db, owner: str, is_refused: bool) -> None:
    lock = """
        select private.lock_source((c.id, %s, c.workspace_id, c.scope_id, c.platform, '', true, null, false))
        from public.messaging_connections as c where c.connection_id = %s
    """
    if is_refused:
        refused(db, lock, owner, WHATSAPP[1], by=SerializationFailure)
    else:
        db.execute(lock, (owner, WHATSAPP[1]))
