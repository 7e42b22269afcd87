"""sql/150_ingest.sql: answers to ingest requests, and the order of validation."""

import json
from typing import Any

import pytest

from tests.support.calls import ingest, post
from tests.support.database import Db, become, rows, value
from tests.support.ingest import conversation, message, request
from tests.support.world import API_KEY, MATTY, TELEGRAM, WHATSAPP

WHOLE = request()
MISSING = "Missing required fields: platform, connection_id, conversations"
ABSENT = object()


def without(field: str, given: dict[str, Any]) -> dict[str, Any]:
    return {name: kept for name, kept in given.items() if name != field}


def changed(given: dict[str, Any], field: str, new: object) -> dict[str, Any]:
    """Return an object with one field changed or removed."""
    return without(field, given) if new is ABSENT else {**given, field: new}


# Each request also has the faults of those below it, so the answer shows which check runs first.
@pytest.mark.parametrize(
    ("key", "body", "status", "error"),
    [
        (None, "{", 401, "Missing x-api-key header"),
        ("", "{", 401, "Missing x-api-key header"),
        ("wrong", "{", 400, "Request body is not valid JSON"),
        ("wrong", {"platform": "telegram", "conversations": {}}, 400, MISSING),
        ("wrong", {**WHOLE, "platform": "telegram", "conversations": {}}, 400, "conversations must be an array"),
        ("wrong", {**WHOLE, "platform": "telegram", "conversations": [1, 2]}, 401, "Invalid connection_id or platform"),
        ("wrong", {**WHOLE, "conversations": [1, 2]}, 401, "Invalid API key"),
        (API_KEY, {**WHOLE, "conversations": [1, 2]}, 403, "Connection is inactive"),
    ],
    ids=[
        "no key",
        "empty key",
        "body is not JSON",
        "missing fields",
        "conversations are no array",
        "wrong platform",
        "wrong key",
        "inactive connection",
    ],
)
def test_request_is_validated_in_documented_order(db: Db, key: str | None, body: Any, status: int, error: str) -> None:
    db.execute("update private.settings set ingest_max_messages = 1")
    db.execute("update public.messaging_connections set is_active = false")
    assert post(db, (body if isinstance(body, str) else json.dumps(body)).encode(), key).answer == (
        status,
        {"error": error},
    )


@pytest.mark.parametrize(
    "body",
    [
        *(pytest.param(body, id=json.dumps(body)) for body in ([], 5, None, "platform", {})),
        *(pytest.param(without(field, WHOLE), id=f"no {field}") for field in WHOLE),
        *(pytest.param({**WHOLE, field: None}, id=f"null {field}") for field in WHOLE),
        *(pytest.param({**WHOLE, field: ""}, id=f"empty {field}") for field in ("platform", "connection_id")),
    ],
)
def test_request_without_required_fields_is_rejected(db: Db, body: object) -> None:
    assert post(db, json.dumps(body).encode()).answer == (400, {"error": MISSING})


@pytest.mark.parametrize("conversations", [{}, "chat", 5, True])
def test_conversations_must_be_an_array(db: Db, conversations: object) -> None:
    body = {**WHOLE, "conversations": conversations}
    assert post(db, json.dumps(body).encode()).answer == (400, {"error": "conversations must be an array"})


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("connection_id", "nobodys"),
        ("connection_id", 5),
        ("connection_id", ["wa_business_123"]),
        ("platform", "signal"),
        ("platform", "icq"),
        ("platform", {}),
    ],
)
def test_connection_needs_matching_id_and_platform(db: Db, field: str, given: object) -> None:
    body = {**WHOLE, field: given}
    assert post(db, json.dumps(body).encode()).answer == (401, {"error": "Invalid connection_id or platform"})


@pytest.mark.parametrize("key", ["wrong", f" {API_KEY}", API_KEY.upper(), "k\u00e9y"])
def test_wrong_key_is_rejected(db: Db, key: str) -> None:
    assert ingest(db, key=key).answer == (401, {"error": "Invalid API key"})


def test_only_a_valid_key_gets_the_patient_parser(db: Db) -> None:
    replaced, invalid = (400, {"error": MISSING}), (400, {"error": "Request body is not valid JSON"})
    with_nul, too_deep = b'{"platform": "\\u0000"}', b"[" * 100_000
    assert post(db, with_nul, API_KEY).answer == replaced
    db.execute("update private.messaging_keys set expires_at = now()")
    for key in (API_KEY, "wrong"):
        for body in (with_nul, too_deep):
            assert post(db, body, key).answer == invalid
    db.execute("update private.messaging_keys set expires_at = null")
    assert post(db, too_deep, API_KEY).answer == invalid


@pytest.mark.parametrize(
    ("conversations", "status"),
    [
        ([conversation(message("a"), message("b"))], 200),
        ([conversation(), conversation()], 200),
        ([conversation(message("a"), message("b"), message("c"))], 413),
        ([conversation(message("a")), conversation(message("a")), conversation(message("a"))], 413),
        ([conversation(), conversation(), conversation()], 413),
        ([1, None, "chat"], 413),
    ],
)
def test_request_with_too_many_messages_is_rejected(db: Db, conversations: list[Any], status: int) -> None:
    db.execute("update private.settings set ingest_max_messages = 2")
    answer = ingest(db, *conversations)
    assert answer.status == status
    assert status == 200 or answer.body == {"error": "Too many messages: at most 2 in one request"}


def test_rejected_request_stores_nothing(db: Db) -> None:
    db.execute("update private.settings set ingest_max_messages = 1")
    ingest(db, conversation(message("a"), message("b")))
    ingest(db, conversation(message()), key="wrong")
    assert rows(db, "select from public.conversations") == []


def test_request_without_conversations_succeeds(db: Db) -> None:
    assert ingest(db).answer == (200, {"success": True, "processed": 0, "results": []})


def test_statuses_match_the_document(db: Db) -> None:
    first = ingest(db, conversation(message("a")))
    again = ingest(db, conversation(message("a")))
    more = ingest(db, conversation(message("a"), message("b")))
    stored = str(value(db, "select id from public.conversations"))
    assert [answer.body for answer in (first, again, more)] == [
        {
            "success": True,
            "processed": 1,
            "results": [{"conversation_id": stored, "messages_added": added, "status": status}],
        }
        for added, status in [(1, "created"), (0, "no_new_messages"), (1, "updated")]
    ]


def test_conversation_without_messages_is_created(db: Db) -> None:
    assert ingest(db, conversation()).statuses == ["created"]
    assert ingest(db, conversation()).statuses == ["no_new_messages"]


def test_results_are_in_the_order_of_the_request(db: Db) -> None:
    names = ["z", "a", "m", "B"]
    answer = ingest(db, *(conversation(message(), external_id=name) for name in names))
    stored = dict(rows(db, "select id::text, external_conversation_id from public.conversations"))
    assert [stored[result["conversation_id"]] for result in answer.body["results"]] == names


def test_duplicate_conversation_has_two_results(db: Db) -> None:
    answer = ingest(
        db, conversation(message("a")), conversation(message("b"), message("c")), conversation(message("a"))
    )
    results = [(result["status"], result["messages_added"]) for result in answer.body["results"]]
    assert results == [("created", 1), ("updated", 2), ("no_new_messages", 0)]
    assert len({result["conversation_id"] for result in answer.body["results"]}) == 1


def test_duplicate_message_counts_once(db: Db) -> None:
    answer = ingest(db, conversation(message("a"), message("a"), message("b")))
    assert [(result["messages_added"], "conflicting_message_ids" in result) for result in answer.body["results"]] == [
        (2, False)
    ]


def test_stored_id_with_other_content_is_a_conflict(db: Db) -> None:
    ingest(db, conversation(message("b", content="kept"), message("a", content="kept")))
    answer = ingest(
        db,
        conversation(message("b", content="other"), message("new"), message("a", content="other")),
        conversation(message("a", sent_at="2026-02-01T11:00:00Z"), message("b", content="kept")),
    )
    assert [(result["status"], result["conflicting_message_ids"]) for result in answer.body["results"]] == [
        ("updated", ["a", "b"]),
        ("no_new_messages", ["a"]),
    ]
    contents = "select message ->> 'content' from public.conversation_messages order by external_id"
    assert rows(db, contents) == ["kept", "kept", "Content of new"]
    (again,) = ingest(db, conversation(message("a", content="other"))).body["results"]
    assert (again["status"], again["conflicting_message_ids"]) == ("no_new_messages", ["a"])


@pytest.mark.parametrize("is_stored", [False, True])
def test_duplicate_id_with_other_content_is_a_conflict(db: Db, is_stored: bool) -> None:
    first, second = message(content="first"), message(content="second")
    if is_stored:
        ingest(db, conversation(first))
    for conversations in ([conversation(first, second, second)], [conversation(first), conversation(second)]):
        with db.transaction(force_rollback=True):
            answer = ingest(db, *conversations)
            assert answer.body["results"][-1]["conflicting_message_ids"] == ["m1"]
            assert rows(db, "select message ->> 'content' from public.conversation_messages") == ["first"]


def test_equal_content_written_differently_is_no_conflict(db: Db) -> None:
    ingest(db, conversation(message(size=1, content="\u00e9")))
    rewritten = json.dumps({**WHOLE, "conversations": [conversation(message(size=1.0, content="\u00e9"))]}, indent=4)
    (result,) = post(db, rewritten.encode()).body["results"]
    assert set(result) == {"conversation_id", "messages_added", "status"}


BAD_CONVERSATIONS = {
    "conversation must be an object": [None, 5, "chat", [], True],
    "external_conversation_id must be a string of 1 to 500 characters": [
        changed(conversation(), "external_conversation_id", bad) for bad in (ABSENT, None, "", "x" * 501, 5, {}, [])
    ],
    "participant_identifier must be a string of 1 to 500 characters": [
        changed(conversation(), "participant_identifier", bad) for bad in (ABSENT, None, "", "x" * 501, 5, {}, [])
    ],
    "participant_name must be a string of at most 500 characters": [
        changed(conversation(), "participant_name", bad) for bad in ("x" * 501, 5, {}, [])
    ],
    "messages must be an array": [
        changed(conversation(), "messages", bad) for bad in (ABSENT, None, "", 5, {}, {"id": "m1"})
    ],
}
BAD_MESSAGES = {
    "messages[1] must be an object": [None, 5, "text", [], [message()]],
    "messages[1].id must be a string of 1 to 500 characters": [
        changed(message(), "id", bad) for bad in (ABSENT, None, "", "x" * 501, 5, {}, [])
    ],
    "messages[1].direction must be inbound or outbound": [
        changed(message(), "direction", bad) for bad in (ABSENT, None, "", "sideways", "Inbound", 5, {}, [])
    ],
    "messages[1].type must be text, image, audio, video, file, location, sticker, contact, poll, call or system": [
        changed(message(), "type", bad) for bad in (ABSENT, None, "", "gif", "TEXT", 5, {}, [])
    ],
    "messages[1].content must be a string": [
        changed(message(), "content", bad) for bad in (ABSENT, None, 5, {}, [], False)
    ],
    "messages[1].media_url must be a string or null": [
        changed(message(), "media_url", bad) for bad in (5, {}, [], False)
    ],
    "messages[1].sent_at must be an ISO 8601 timestamp": [
        changed(message(), "sent_at", bad)
        for bad in (
            *(ABSENT, None, "", 5, 1769940000, {}, []),
            *("now", "today", "infinity", "-infinity", "epoch", "1769940000", "Sun Feb 1 2026", "01/02/2026 10:00"),
            *("2026-02-01", "2026-02-30T10:00:00Z", "2026-13-01T10:00:00Z", "2026-02-01T25:00:00Z"),
            *("2026-02-29T10:00:00Z", "2026-04-31T10:00:00Z", "2026-01-00T10:00:00Z"),
            *("2026-02-01T10:00:00+16:00", "2026-02-01T10:00:00 Europe/Berlin", "2026-02-01T10:00:00ZZ"),
            *("2026-02-01T10:00:00Z\n", " 2026-02-01T10:00:00Z", "+2026-02-01T10:00:00Z", "-0044-03-15T10:00:00Z"),
            *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
            "2026-02-01T10:00:00.1234567890123Z",
            "\u0662\u0660\u0662\u0666-02-01T10:00:00Z",
        )
    ],
}


@pytest.mark.parametrize("error", BAD_CONVERSATIONS)
def test_bad_conversation_gets_an_error(db: Db, error: str) -> None:
    answer = ingest(db, *BAD_CONVERSATIONS[error])
    assert answer.statuses == [f"error: {error}"] * len(BAD_CONVERSATIONS[error])


@pytest.mark.parametrize("error", BAD_MESSAGES)
def test_bad_message_gets_an_error_with_its_place(db: Db, error: str) -> None:
    answer = ingest(db, *(conversation(message("good"), bad) for bad in BAD_MESSAGES[error]))
    assert answer.statuses == [f"error: {error}"] * len(BAD_MESSAGES[error])


def test_longest_texts_and_arrays_are_taken(db: Db) -> None:
    long, later = "x" * 500, "y" * 500
    named = {"participant_identifier": long, "participant_name": long}
    ingest(db, conversation(message("m1"), external_id=long, **named))
    read = {"message_id": long, "sender": long, "by": long, "type": "read", "at": "2026-02-01T10:30:00Z"}
    person = {"identifier": long, "name": long}
    group = {"kind": "group", "title": long, "participants": [person], "updates": [read]}
    (direct, crowd) = ingest(
        db,
        conversation(message(long), external_id=later, continues=long, **named),
        conversation(message(long, sender=long), **group),
    ).body["results"]
    assert [each["status"] for each in (direct, crowd)] == ["updated", "created"]
    assert (crowd["messages_added"], crowd["updates_added"]) == (1, 1)
    many = json.dumps({"kind": "group", "participants": [{"identifier": "x"}] * 1000})
    assert value(db, "select private.diagnose_people(%s)", many) is None


def test_first_of_several_errors_is_reported(db: Db) -> None:
    bad = [message("a", type="?", direction="?"), message("")]
    assert ingest(db, conversation(*bad)).statuses == ["error: messages[0].direction must be inbound or outbound"]
    assert ingest(db, conversation(*bad, participant_identifier="")).statuses == [
        "error: participant_identifier must be a string of 1 to 500 characters"
    ]


def test_error_has_all_keys_and_names_its_conversation(db: Db) -> None:
    assert ingest(db, conversation(message(type="?"))).body["results"] == [
        {
            "conversation_id": None,
            "external_conversation_id": "chat",
            "messages_added": 0,
            "status": "error: messages[0].type must be text, image, audio, video, file, location, sticker, contact, "
            "poll, call or system",
        }
    ]


def test_good_conversations_are_stored_beside_bad_ones(db: Db) -> None:
    answer = ingest(
        db,
        conversation(message("a"), message("b", type="?")),
        conversation(message("c")),
        5,
        conversation(message("d"), external_id="other"),
    )
    assert [status.split(":")[0] for status in answer.statuses] == ["error", "created", "error", "created"]
    assert answer.body["processed"] == 2
    assert rows(db, "select external_id from public.conversation_messages order by 1") == ["c", "d"]


@pytest.mark.parametrize(
    ("sent_at", "moment"),
    [
        ("2026-02-01T10:30:00Z", "2026-02-01T10:30:00"),
        ("2026-02-01T10:30:00.123Z", "2026-02-01T10:30:00.123"),
        pytest.param("2026-02-01T10:30:00.123456789Z", "2026-02-01T10:30:00.123457", id="nanoseconds"),
        ("2026-02-01T10:30Z", "2026-02-01T10:30:00"),
        ("2026-02-01t10:30:00z", "2026-02-01T10:30:00"),
        ("2026-02-01 10:30:00+00", "2026-02-01T10:30:00"),
        ("2026-02-01T12:30:00+02:00", "2026-02-01T10:30:00"),
        ("2026-02-01T05:00:00-0530", "2026-02-01T10:30:00"),
        ("2026-02-01T10:30:00", "2026-02-01T10:30:00"),
        ("2026-02-01T10:30:00.5", "2026-02-01T10:30:00.5"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59"),
    ],
)
def test_iso_8601_is_parsed_in_any_session_time_zone(db: Db, sent_at: str, moment: str) -> None:
    db.execute("set local timezone = 'Asia/Kolkata'")
    assert ingest(db, conversation(message(sent_at=sent_at))).statuses == ["created"]
    db.execute("set local timezone = 'UTC'")
    assert (
        value(db, "select to_jsonb(coalesce(stated_at, sent_at)) from public.conversation_messages")
        == moment + "+00:00"
    )


@pytest.mark.parametrize("media_url", [ABSENT, None, "", "https://example.com/a.jpg"])
def test_media_url_may_be_absent_or_null(db: Db, media_url: object) -> None:
    given = changed(message(type="image"), "media_url", media_url)
    assert ingest(db, conversation(given)).statuses == ["created"]
    assert value(db, "select message from public.conversation_messages") == given


@pytest.mark.parametrize("participant_name", [ABSENT, None, "", "  "])
def test_participant_name_may_be_absent(db: Db, participant_name: object) -> None:
    ingest(db, changed(conversation(), "participant_name", participant_name))
    assert value(db, "select participant_name from public.conversations") is None


def test_examples_of_the_document_are_stored_and_matched(db: Db) -> None:
    john = conversation(
        message("msg_001"),
        message("msg_002", direction="outbound"),
        external_id="chat_abc123",
        participant_identifier="+1234567890",
        participant_name="John Doe",
    )
    assert ingest(db, john, connection=WHATSAPP).statuses == ["created"]
    photo = message("tg_msg_100", type="image", media_url="https://example.com/images/product.jpg")
    both = [
        conversation(photo, external_id="chat_user_1", participant_identifier="@johndoe"),
        conversation(message("tg_msg_200"), external_id="chat_user_2", participant_identifier="@janedoe"),
    ]
    assert ingest(db, *both, connection=TELEGRAM).statuses == ["created", "created"]
    become(db, MATTY)
    matched = "select c.platform, p.full_name from public.conversations c left join public.people p on p.id = person_id"
    assert sorted(rows(db, matched), key=str) == [("telegram", None), ("telegram", None), ("whatsapp", "John Doe")]


def test_replay_with_an_error_has_no_id(db: Db) -> None:
    given = conversation(message())
    ingest(db, given)
    [result] = ingest(db, {**given, "identifiers": "x"}).body["results"]
    assert (result["conversation_id"], result["status"][:6]) == (None, "error:")
