"""sql/150_ingest.sql: the state of the database after ingest requests."""

import pytest
from psycopg.errors import SerializationFailure

from tests.support.calls import ingest
from tests.support.database import Db, become, become_postgres, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import read_conversation
from tests.support.world import API_KEY, BOB, JOHN_DOE, MATTY, TELEGRAM, WHATSAPP

MORNING, NOON, EVENING = (f"2026-02-01T{hour}:00:00Z" for hour in ("08", "12", "18"))


def test_conversation_belongs_to_the_connection_owner(db: Db) -> None:
    ingest(db, conversation(message(content="Hi"), participant_name="Ann"))
    stored = read_conversation(db)
    assert {name: stored[name] for name in ("user_id", "platform", "participant_identifier", "participant_name")} == {
        "user_id": MATTY,
        "platform": "whatsapp",
        "participant_identifier": "@somebody",
        "participant_name": "Ann",
    }
    assert (stored["message_count"], stored["last_message_preview"]) == (1, "Hi")


def test_message_is_stored_as_sent(db: Db) -> None:
    given = message(media_url=None, reactions=[{"by": "@ann", "emoji": "\U0001f44d"}], size=12.5, is_forwarded=False)
    ingest(db, conversation(given))
    assert read_conversation(db)["messages"] == [given]


def test_late_message_does_not_become_the_last(db: Db) -> None:
    ingest(db, conversation(message("evening", sent_at=EVENING, content="last")))
    ingest(db, conversation(message("noon", sent_at=NOON), message("morning", sent_at=MORNING)))
    stored = read_conversation(db)
    assert [line["id"] for line in stored["messages"]] == ["morning", "noon", "evening"]
    assert (stored["last_message_at"], stored["last_message_preview"]) == ("2026-02-01T18:00:00+00:00", "last")


@pytest.mark.parametrize("is_slow", [False, True])
def test_message_between_two_does_not_become_the_last(db: Db, is_slow: bool) -> None:
    more = {"updates": []} if is_slow else {}  # a request with updates takes another way
    ingest(
        db, conversation(message("morning", sent_at=MORNING), message("evening", sent_at=EVENING, sequence=5), **more)
    )
    ingest(db, conversation(message("noon", sent_at=NOON), **more))
    assert read_conversation(db)["last_message_preview"] == "Content of evening"
    ingest(db, conversation(message("before", sent_at=EVENING, sequence=4), **more))
    assert read_conversation(db)["last_message_preview"] == "Content of evening"
    ingest(db, conversation(message("after", sent_at=EVENING, sequence=6), **more))
    assert read_conversation(db)["last_message_preview"] == "Content of after"
    ordered = [line["id"] for line in read_conversation(db)["messages"]]
    assert ordered == ["morning", "noon", "before", "evening", "after"]


@pytest.mark.parametrize("is_slow", [False, True])
def test_last_of_a_request_goes_by_time_sequence_and_place(db: Db, is_slow: bool) -> None:
    more = {"updates": []} if is_slow else {}
    for given, last in (
        ([{"sequence": 2}, {"sequence": 1}], "1"),
        ([{"sequence": 1}, {"sequence": 1}], "2"),
        ([{"sent_at": EVENING}, {"sent_at": NOON, "sequence": 9}], "1"),
    ):
        with db.transaction(force_rollback=True):
            for _ in range(2):
                ingest(db, conversation(*(message(str(n), **one) for n, one in enumerate(given, 1)), **more))
                assert read_conversation(db)["last_message_preview"] == f"Content of {last}"


def test_conversation_without_news_keeps_its_version(db: Db) -> None:
    both = [conversation(message(), external_id=name) for name in ("one", "two")]
    ingest(db, *both)
    db.execute("update public.conversations set created_at = '2026-01-01'")
    ingest(db, conversation(message("m2"), external_id="one"), conversation(external_id="two"))
    found = "select external_conversation_id, version, message_count from public.conversations order by 1"
    assert rows(db, found) == [("one", 2, 2), ("two", 1, 1)]


@pytest.mark.parametrize("names", [("one", "one"), ("one", "two")])
def test_wrong_clock_has_its_place_in_its_conversation(db: Db, names: tuple[str, str]) -> None:
    far = "2099-01-01T00:00:00Z"
    first, second = names
    ingest(
        db,
        conversation(message("noon", sent_at=NOON), message("far", sent_at=far), external_id=first),
        conversation(message("early", sent_at=MORNING), external_id=second),
        conversation(message("also", sent_at=far), external_id=second),
    )
    known = "select external_id from public.conversation_messages where sent_at = %s::timestamptz + interval '1 us'"
    assert rows(db, f"{known} order by 1", NOON) == (["also", "far"] if first == second else ["far"])
    assert rows(db, known, MORNING) == ([] if first == second else ["also"])


def test_equal_times_keep_their_order_beside_updates(db: Db) -> None:
    names = [str(number) for number in range(9, 0, -1)]
    ingest(db, conversation(*(message(name) for name in names), updates=[]))
    assert [line["id"] for line in read_conversation(db)["messages"]] == names


def test_newer_message_becomes_the_last(db: Db) -> None:
    ingest(db, conversation(message("morning", sent_at=MORNING)))
    ingest(
        db,
        conversation(
            message("evening", sent_at="2026-02-01T19:00:00+01:00", content="bye"), message("noon", sent_at=NOON)
        ),
    )
    stored = read_conversation(db)
    assert (stored["last_message_at"], stored["last_message_preview"]) == ("2026-02-01T18:00:00+00:00", "bye")


@pytest.mark.parametrize("kind", ["direct", "group"])
def test_replay_changes_nothing(db: Db, kind: str) -> None:
    given = [conversation(message("a"), message("b", sent_at=NOON), participant_name="Ann", kind=kind)]
    where = "select ctid::text, xmin::text from public.{} order by 1"
    ingest(db, *given)
    before = [rows(db, where.format(table)) for table in ("conversations", "conversation_messages")]
    ingest(db, *given)
    assert [rows(db, where.format(table)) for table in ("conversations", "conversation_messages")] == before


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_new_conversation_is_not_searched_for_messages(db: Db, mode: str) -> None:
    db.execute(f"set local plan_cache_mode = {mode}")
    scans = "select idx_scan + seq_scan from pg_stat_xact_user_tables where relname = 'conversation_messages'"
    before = value(db, scans)
    ingest(db, conversation(*(message(str(number)) for number in range(50))))
    assert value(db, scans) - before < 10


def test_conflict_writes_nothing(db: Db) -> None:
    ingest(db, conversation(message("a"), participant_name="Ann"))
    versions = "select ctid::text from public.conversations"
    before = rows(db, versions)
    ingest(db, conversation(message("a", content="other"), participant_name="Ann"))
    assert rows(db, versions) == before


def test_message_id_may_recur_in_other_conversations(db: Db) -> None:
    ingest(db, conversation(message("1")), conversation(message("1"), external_id="other"))
    assert (read_conversation(db)["message_count"], read_conversation(db, "other")["message_count"]) == (1, 1)


def test_conversation_id_may_recur_on_other_platforms(db: Db) -> None:
    answers = [ingest(db, conversation(message())), ingest(db, conversation(message()), connection=TELEGRAM)]
    assert [answer.statuses for answer in answers] == [["created"], ["created"]]


def test_conversation_id_may_recur_for_other_users(db: Db) -> None:
    ingest(db, conversation(message()))
    become(db, BOB)
    made = value(db, "select public.create_messaging_connection('whatsapp', 'bobs')")
    answer = ingest(db, conversation(message()), connection=("whatsapp", "bobs"), key=made["api_secret"])
    assert answer.statuses == ["created"]
    become(db, BOB)
    assert rows(db, "select user_id::text from public.conversations") == [BOB]


def test_connections_of_a_user_share_conversations(db: Db) -> None:
    ingest(db, conversation(message("a")))
    become(db, MATTY)
    made = value(db, "select public.create_messaging_connection('whatsapp', 'second')")
    answer = ingest(db, conversation(message("b")), connection=("whatsapp", "second"), key=made["api_secret"])
    assert answer.statuses == ["updated"]


# Batches (newest message, name, identifier) in order of arrival, and the resulting participant.
@pytest.mark.parametrize(
    ("batches", "name", "identifier"),
    [
        pytest.param([(NOON, None, "@a"), (EVENING, "Ann", "@a")], "Ann", "@a", id="a name may come later"),
        pytest.param([(NOON, None, "@a"), (MORNING, "Ann", "@a")], "Ann", "@a", id="an older batch may add the name"),
        pytest.param(
            [(NOON, None, "@a"), (None, "Ann", "@a")], "Ann", "@a", id="a batch without messages may add the name"
        ),
        pytest.param([(NOON, "Ann", "@a"), (EVENING, None, "@a")], "Ann", "@a", id="a missing name keeps the old one"),
        pytest.param([(NOON, "Ann", "@a"), (EVENING, "", "@a")], "Ann", "@a", id="an empty name keeps the old one"),
        pytest.param([(NOON, "Ann", "@a"), (EVENING, " ", "@a")], "Ann", "@a", id="a blank name keeps the old one"),
        pytest.param(
            [(None, "Ann", "@a"), (None, None, "@b")],
            "Ann",
            "@b",
            id="no name and no messages keep the old name",
        ),
        pytest.param([(NOON, "Ann", "@a"), (EVENING, "Bea", "@b")], "Bea", "@b", id="a newer batch replaces the name"),
        pytest.param([(NOON, "Ann", "@a"), (MORNING, "Bea", "@b")], "Ann", "@a", id="an older batch keeps the name"),
        pytest.param(
            [(NOON, "Ann", "@a"), (None, "Bea", "@b")], "Ann", "@a", id="a batch without messages keeps the name"
        ),
        pytest.param([(NOON, "Bea", "@b"), (NOON, "Ann", "@a")], "Bea", "@b", id="the greater of two equal times wins"),
        pytest.param([(NOON, "Ann", "@a"), (NOON, "Bea", "@b")], "Bea", "@b", id="the greater wins in any order"),
        pytest.param([(NOON, " Ann ", "@a")], "Ann", "@a", id="a name is trimmed"),
    ],
)
@pytest.mark.parametrize("is_one_request", [False, True])
def test_newest_batch_sets_the_participant(
    db: Db, batches: list[tuple[str | None, str | None, str]], name: str, identifier: str, is_one_request: bool
) -> None:
    given = [
        conversation(
            *([message(f"m{number}", sent_at=sent_at)] if sent_at else []),
            participant_name=named,
            participant_identifier=identified,
        )
        for number, (sent_at, named, identified) in enumerate(batches)
    ]
    for request in [given] if is_one_request else [[one] for one in given]:
        ingest(db, *request)
    stored = read_conversation(db)
    assert (stored["participant_name"], stored["participant_identifier"]) == (name, identifier)


def test_number_stays_when_a_username_follows(db: Db) -> None:
    ingest(db, conversation(message("a", sent_at=MORNING)))
    assert read_conversation(db)["person_id"] is None
    ingest(db, conversation(message("b", sent_at=NOON), participant_identifier="+1 (234) 567-890"))
    stored = read_conversation(db)
    assert (stored["person_id"], stored["participant_key"]) == (JOHN_DOE, "phone:567890")
    ingest(db, conversation(message("c", sent_at=EVENING)))
    stored = read_conversation(db)
    assert (stored["person_id"], stored["matched_by"]) == (JOHN_DOE, "phone")
    assert stored["participant_identifier"] == "+1 (234) 567-890"


def test_older_name_does_not_make_room_for_another(db: Db) -> None:
    number = {"participant_identifier": "+49 151 23456789"}
    ingest(db, conversation(message("a", sent_at=EVENING), participant_name="evening"))
    ingest(db, conversation(message("b", sent_at=MORNING), participant_name="morning", **number))
    ingest(db, conversation(message("c", sent_at=NOON), participant_name="noon", **number))
    stored = read_conversation(db)
    assert (stored["participant_name"], stored["participant_identifier"]) == ("evening", "+49 151 23456789")


def test_connection_with_a_new_owner_stores_nothing(db: Db) -> None:
    found = value(db, "select private.authenticate_connection(%s, %s, %s)::text", *WHATSAPP, API_KEY)
    become(db, MATTY)
    db.execute("select public.create_messaging_connection('whatsapp', 'second')")
    become_postgres(db)
    db.execute("update public.messaging_connections set user_id = %s where connection_id = %s", (BOB, WHATSAPP[1]))
    refused(db, "select private.lock_source(%s::private.ingest_source)", found, by=SerializationFailure)


def test_bad_conversation_changes_nothing_stored(db: Db) -> None:
    ingest(db, conversation(message("a", sent_at=MORNING), participant_name="Ann"))
    before = read_conversation(db)
    ingest(
        db,
        conversation(
            message("b", sent_at=NOON),
            message("c", sent_at=EVENING, type="?"),
            participant_name="Bea",
            participant_identifier="@bea",
        ),
    )
    assert read_conversation(db) == before


def test_deleted_conversation_may_be_ingested_again(db: Db) -> None:
    ingest(db, conversation(message()))
    db.execute("delete from public.conversations")
    assert ingest(db, conversation(message())).statuses == ["created"]


def test_deleted_message_may_be_ingested_again(db: Db) -> None:
    ingest(db, conversation(message("a", sent_at=MORNING), message("b", sent_at=NOON)))
    db.execute("delete from public.conversation_messages where external_id = 'b'")
    assert ingest(db, conversation(message("b", sent_at=NOON))).statuses == ["updated"]
    assert read_conversation(db)["message_count"] == 2
