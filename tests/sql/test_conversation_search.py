"""sql/263_conversation_search.sql: search in ingested messages."""

from typing import Any

import psycopg
import pytest

from tests.support.calls import ask, call, ingest, send
from tests.support.database import Db, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import add_person, read_conversation
from tests.support.world import BOB, MATTY


def index(db: Db) -> int:
    return int(ask(db, None, "index_conversations")["indexed"])


def found(db: Db, query: str, user_id: str | None = MATTY, **more: Any) -> list[str]:
    return [hit["message"]["id"] for hit in call(db, "search_conversations", user_id, query=query, **more).data]


def update(type_: str, **fields: Any) -> dict[str, Any]:
    return conversation(updates=[{"message_id": "m1", "type": type_, "at": "2026-02-01T11:00:00Z", **fields}])


QUERIES = {
    "zebra": ["m1", "m2"],
    '"blue zebra"': ["m1"],
    "zebra -green": ["m1"],
    "blue OR lion": ["m1", "m3"],
    "löwe": ["m4"],
    "has:link": ["m2"],
    "zebra has:file": ["m1"],
    "zebra after:2026-02-01 before:2026-02-02": ["m1"],
    "from:me": [],
    "nothing": [],
    '""': [],
}


@pytest.mark.parametrize("query", QUERIES)
def test_queries_find_what_they_find_in_channels(db: Db, query: str) -> None:
    ingest(
        db,
        conversation(
            message("m1", type="image", content="A blue zebra"),
            message("m2", content="green ZEBRA HTTPS://a.example", sent_at="2026-02-03T10:00:00Z"),
        ),
        conversation(message("m3", content="lion"), message("m4", content="Lowe"), external_id="other"),
    )
    assert index(db) == 1
    assert sorted(found(db, query)) == QUERIES[query]


def test_hit_names_conversation_and_participant(db: Db) -> None:
    ingest(db, conversation(message(content="zebra"), participant_name="Ann"))
    index(db)
    person_id = add_person(db, None, MATTY)
    db.execute("update public.conversations set person_id = %s", (person_id,))
    reply = call(db, "search_conversations", query="zebra")
    stored = read_conversation(db)
    (hit,) = reply.data
    assert hit == {
        "conversation_id": str(stored["id"]),
        "platform": "whatsapp",
        "participant_name": "Ann",
        "person_id": str(person_id),
        "message": stored["messages"][0],
    }
    assert reply.meta["total"] == 1


def test_equal_ids_of_two_conversations_stay_apart(db: Db) -> None:
    ingest(
        db,
        conversation(message(content="blue zebra")),
        conversation(message(content="green zebra", sent_at="2026-02-02T10:00:00Z"), external_id="newer"),
    )
    db.execute("update public.conversation_messages set received_at = now() - (sent_at - '2026-01-01')")
    index(db)
    newer, older = (hit["conversation_id"] for hit in call(db, "search_conversations", query="zebra").data)
    assert (newer, older) == tuple(read_conversation(db, name)["id"] for name in ("newer", "chat"))
    assert [hit["conversation_id"] for hit in call(db, "search_conversations", query="green").data] == [newer]


def test_only_members_of_the_workspace_find_it(db: Db) -> None:
    ingest(db, conversation(message(content="zebra")))
    index(db)
    assert (found(db, "zebra"), found(db, "zebra", BOB), found(db, "zebra", None)) == (["m1"], [], ["m1"])


def test_channels_and_conversations_are_searched_apart(db: Db) -> None:
    ingest(db, conversation(message(content="zebra")))
    index(db)
    sent = send(db, "a zebra in a channel")
    assert found(db, "zebra") == ["m1"]
    for user_id in (MATTY, None):
        assert [hit["id"] for hit in call(db, "search_messages", user_id, query="zebra").data] == [sent]


def test_one_conversation_is_searched(db: Db) -> None:
    ingest(db, conversation(message(content="zebra")), conversation(message("m2", content="zebra"), external_id="b"))
    index(db)
    assert found(db, "zebra", conversation_id=str(read_conversation(db, "b")["id"])) == ["m2"]
    unknown = call(db, "search_conversations", BOB, query="x", conversation_id=str(read_conversation(db)["id"]))
    assert unknown.error == (404, "conversation_not_found", "conversation_id")


@pytest.mark.parametrize("query", ["from:me", "in:general", "mentions:me", "mentions:me zebra", "has:pin"])
def test_query_for_a_channel_finds_no_conversation(db: Db, query: str) -> None:
    ingest(db, conversation(message(content="zebra")))
    index(db)
    one = str(read_conversation(db)["id"])
    assert (found(db, query), found(db, query, conversation_id=one)) == ([], [])
    excluded = f"zebra -{query.split()[0]}"
    assert (found(db, excluded), found(db, excluded, conversation_id=one)) == (["m1"], ["m1"])


def test_edited_text_is_found_instead_of_the_old_one(db: Db) -> None:
    ingest(db, conversation(message(content="zebra"), message("m2", content="bear")))
    index(db)
    both = [{**update("read")["updates"][0], "message_id": each} for each in ("m1", "m2")]
    ingest(db, conversation(updates=both))
    assert (index(db), found(db, "zebra")) == (0, ["m1"])
    ingest(db, update("edited", content="lion"))
    assert index(db) == 1
    assert (found(db, "zebra"), found(db, "lion")) == ([], ["m1"])


def test_two_changes_of_a_message_are_indexed_in_one_pass(db: Db) -> None:
    ingest(db, conversation(message(content="zebra")))
    ingest(db, update("edited", content="lion"))
    # By the inner function, because the outer one would go on with one change at a time.
    db.execute("select private.index_changes(array(select change_id from private.word_backlog))")
    assert (found(db, "zebra"), found(db, "lion")) == ([], ["m1"])


def test_text_that_a_message_gets_later_is_found(db: Db) -> None:
    ingest(db, conversation({**message(type="image"), "content": ""}))
    db.execute("update public.conversation_messages set message = message - 'content'")
    index(db)
    ingest(db, update("edited", content="lion"))
    assert (index(db), found(db, "lion")) == (1, ["m1"])


@pytest.mark.parametrize("statement", ["update", "messages", "conversation"])
def test_deleted_message_is_found_no_more(db: Db, statement: str) -> None:
    ingest(db, conversation(message(content="zebra")))
    index(db)
    if statement == "update":
        ingest(db, update("deleted"))
    elif statement == "messages":
        db.execute("delete from public.conversation_messages")
    else:
        db.execute("delete from public.conversations")
    assert found(db, "zebra") == []
    words = "select words::text from private.message_words where channel_id not in (select id from public.channels)"
    assert rows(db, words) == []
    assert value(db, "select count(*) from private.conversation_words") == 0


def test_message_deleted_before_indexing_is_left_out(db: Db) -> None:
    ingest(db, conversation(message(content="zebra")))
    ingest(db, update("deleted"))
    index(db)
    assert value(db, "select count(*) from private.conversation_words") == 0


def test_index_takes_the_oldest_requests_first(db: Db) -> None:
    for number in range(3):
        ingest(db, conversation(message(f"m{number}", content="zebra")))
    assert ask(db, None, "index_conversations", limit=2) == {"indexed": 2, "reindexed": 0}
    assert sorted(found(db, "zebra")) == ["m0", "m1"]
    assert index(db) == 1
    assert sorted(found(db, "zebra")) == ["m0", "m1", "m2"]


def test_second_process_indexes_nothing(db: Db, admin_url: str) -> None:
    ingest(db, conversation(message(content="zebra")))
    with psycopg.connect(admin_url) as other:
        other.execute("select private.index_conversations(1)")
        assert index(db) == 0
    assert index(db) == 1


def test_metric_and_doctor_say_how_far_search_is_behind(db: Db) -> None:
    ingest(db, conversation(message(content="zebra")))
    db.execute("update private.word_backlog set created_at = now() - interval '20 minutes'")
    assert any("Search does not find" in line for line in rows(db, "select private.diagnose_platform()"))
    name = "threadline_search_backlog_seconds"
    for expected in (1200, 0):
        measured = {one["name"]: one["value"] for one in ask(db, None, "read_metrics")}
        assert measured[name] == pytest.approx(expected, abs=1)
        index(db)
    assert not any("Search does not find" in line for line in rows(db, "select private.diagnose_platform()"))


@pytest.mark.parametrize("way", ["deleted", "removed", "edited"])
def test_equal_ids_of_two_senders_stay_apart(db: Db, way: str) -> None:
    said = (message("m1", sender="@ann", content="blue zebra"), message("m1", sender="@ben", content="green zebra"))
    ingest(db, conversation(*said, kind="group"))
    index(db)
    assert found(db, "zebra") == ["m1", "m1"]
    statements = {
        "deleted": "update public.conversation_messages set deleted_at = now() where sender = %s",
        "removed": "delete from public.conversation_messages where sender = %s",
        "edited": 'update public.conversation_messages set message = message || \'{"content": "lion"}\''
        " where sender = %s",
    }
    db.execute(statements[way], ("@ann",))
    assert index(db) == (way == "edited")
    hits = call(db, "search_conversations", query="zebra").data
    assert [hit["message"]["content"] for hit in hits] == ["green zebra"]
    assert found(db, "lion") == (["m1"] if way == "edited" else [])


@pytest.mark.parametrize("user_id", [MATTY, None], ids=["owner", "service"])
def test_pages_of_hits_follow_rank_and_then_time(db: Db, user_id: str | None) -> None:
    noon = [f"2026-02-0{day}T12:00:00Z" for day in range(1, 5)]
    ingest(
        db,
        conversation(
            message("m1", content="a zebra", sent_at=noon[1]),
            message("m2", content="zebra zebra zebra", sent_at=noon[0]),
            message("m3", content="a zebra", sent_at=noon[3]),
            message("m4", content="a lion", sent_at=noon[3]),
        ),
        conversation(message("m5", content="a zebra", sent_at=noon[2]), external_id="b"),
    )
    db.execute("update public.conversation_messages set received_at = now() - (sent_at - '2026-01-01')")
    index(db)
    both = ["m2", "m3", "m5", "m1"]
    for expected, more in (
        (both, {}),
        (["m2", "m3", "m1"], {"conversation_id": str(read_conversation(db)["id"])}),
    ):
        for limit, offset in ((20, 0), (1, 0), (2, 1), (2, 2), (3, 9)):
            reply = call(db, "search_conversations", user_id, query="zebra", limit=limit, offset=offset, **more)
            assert [hit["message"]["id"] for hit in reply.data] == expected[offset : offset + limit]
            assert reply.meta["total"] == len(expected)


def test_equal_hits_of_one_id_are_sorted_by_sender(db: Db) -> None:
    for sender in ("@ben", "@ann", "@cem"):
        ingest(db, conversation(message(sender=sender, content="zebra"), kind="group"))
    index(db)
    hits = call(db, "search_conversations", query="zebra").data
    assert [hit["message"]["sender"] for hit in hits] == ["@ann", "@ben", "@cem"]


def test_equal_hits_are_sorted_by_conversation(db: Db) -> None:
    for external_id, names in (("a", "13"), ("b", "24")):
        ingest(db, conversation(*(message(name, content="zebra") for name in names), external_id=external_id))
    index(db)
    first, second = sorted(
        (str(read_conversation(db, name)["id"]), names) for name, names in (("a", "13"), ("b", "24"))
    )
    assert found(db, "zebra") == [*first[1], *second[1]]


@pytest.mark.parametrize("type_", ["image", "audio", "video", "file"])
def test_message_with_media_has_a_file(db: Db, type_: str) -> None:
    others = (message("m2", content="zebra"), message("m3", type="location", content="zebra"))
    ingest(db, conversation(message("m1", type=type_, content="zebra"), *others))
    index(db)
    assert (found(db, "has:file"), sorted(found(db, "zebra -has:file"))) == (["m1"], ["m2", "m3"])
