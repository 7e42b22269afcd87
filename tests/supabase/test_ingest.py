"""Conversations arrive through a door and are read through the Data API."""

import pytest

from tests.supabase.target import Connection, Target
from tests.support.ingest import conversation, in_parallel, message


@pytest.fixture
def connection(door: Target) -> Connection:
    """A connection of a user who has no other."""
    return door.connect(door.sign_up())


def test_conversation_grows_without_duplicates(connection: Connection) -> None:
    late, early = message("b", sent_at="2026-02-01T10:31:00Z"), message("a", sent_at="2026-02-01T10:30:00Z")
    assert connection.results(conversation(late)) == [("created", 1)]
    assert connection.results(conversation(late, early)) == [("updated", 1)]
    assert connection.results(conversation(early, late)) == [("no_new_messages", 0)]
    (thread,) = connection.threads(select="participant_identifier,message_count,last_message_preview,messages")
    assert [stored["id"] for stored in thread.pop("messages")] == ["a", "b"]
    assert thread == {
        "participant_identifier": "@somebody",
        "message_count": 2,
        "last_message_preview": "Content of b",
    }


def test_concurrent_requests_are_stored_once(connection: Connection) -> None:
    answers = in_parallel([lambda: connection.results(conversation(message("a"), message("b")))] * 4)
    assert sorted(answers) == [[("created", 2)], *[[("no_new_messages", 0)]] * 3]


def test_bad_conversation_does_not_affect_others(connection: Connection) -> None:
    bad = conversation(message(type="smell"), external_id="bad")
    answers = connection.results(bad, conversation(message(), external_id="good"))
    assert [status.partition(":")[0] for status, _ in answers] == ["error", "created"]
    assert [thread["external_conversation_id"] for thread in connection.threads()] == ["good"]


def test_conversation_matches_its_person(connection: Connection) -> None:
    person = {"full_name": "Ann", "phone": "+1 (202) 555-0123"}
    (ann,) = connection.target.rest(connection.user, "POST", "people", person, prefer="return=representation")
    connection.results(conversation(message(), participant_identifier="+12025550123"))
    assert [thread["person_id"] for thread in connection.threads()] == [ann["id"]]


def test_other_users_cannot_see_the_conversation(connection: Connection) -> None:
    connection.results(conversation(message()))
    assert connection.threads(connection.target.sign_up()) == []


def test_wrong_key_is_rejected(connection: Connection) -> None:
    reply = connection.post(conversation(message()), secret="wrong")
    assert (reply.status_code, reply.json()) == (401, {"error": "Invalid API key"})
    other = connection.target.connect(connection.target.sign_up())
    assert connection.post(conversation(message()), secret=other.secret).status_code == 401
    assert connection.threads() == []


def test_key_rotation_rejects_no_request(connection: Connection) -> None:
    made = connection.target.rest(
        connection.user, "POST", "rpc/rotate_messaging_key", {"connection_id": connection.id, "overlap": "1 hour"}
    )
    for number, secret in enumerate((connection.secret, made["api_secret"])):
        assert connection.post(conversation(message(str(number))), secret=secret).status_code == 200
