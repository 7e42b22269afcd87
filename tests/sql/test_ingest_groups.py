"""sql/130 to sql/136: groups, whose messages have senders."""

import json
from itertools import permutations
from typing import Any

import pytest

from tests.support.calls import call, ingest, post
from tests.support.database import Db, rows, value
from tests.support.ingest import conversation, message, request
from tests.support.people import read_conversation
from tests.support.world import JOHN_DOE

JOHN = "+1 (234) 567-890"


def group(*messages: Any, **fields: Any) -> dict[str, Any]:
    return conversation(*messages, **{"participant_identifier": "120363@g.us", "kind": "group", **fields})


def contents(db: Db) -> list[str]:
    return [line["content"] for line in read_conversation(db)["messages"]]


SAME_ID = (message("1", sender="@ann", content="from Ann"), message("1", sender="@bea", content="from Bea"))


def test_one_id_of_two_senders_is_two_messages(db: Db) -> None:
    for added in (2, 0):
        result = ingest(db, group(*SAME_ID)).body["results"][0]
        assert (result["messages_added"], "conflicting_message_ids" in result) == (added, False)
    assert contents(db) == ["from Ann", "from Bea"]


def test_sender_of_a_direct_conversation_is_no_key(db: Db) -> None:
    result = ingest(db, conversation(*SAME_ID)).body["results"][0]
    assert (result["messages_added"], result["conflicting_message_ids"]) == (1, ["1"])


def test_update_of_a_group_names_the_sender(db: Db) -> None:
    update = {"message_id": "1", "type": "deleted", "at": "2026-02-01T11:00:00Z"}
    ingest(db, group(updates=[{**update, "sender": "@bea"}]))
    ingest(db, group(*SAME_ID))
    assert contents(db) == ["from Ann", ""]
    ingest(db, group(updates=[{**update, "sender": "@ann"}, update]))
    assert contents(db) == ["", ""]


def test_deleted_message_of_a_group_keeps_its_sender(db: Db) -> None:
    deleted = {"message_id": "1", "type": "deleted", "at": "2026-02-01T11:00:00Z", "sender": "@bea"}
    ingest(db, group(*SAME_ID, updates=[deleted]))
    assert [line["sender"] for line in read_conversation(db)["messages"]] == ["@ann", "@bea"]


def test_deletion_leaves_later_edits_of_another_sender(db: Db) -> None:
    update = {"message_id": "1", "at": "2026-02-01T11:00:00Z"}
    ingest(db, group(*SAME_ID, updates=[{**update, "type": "deleted", "sender": "@bea"}]))
    ingest(db, group(updates=[{**update, "type": "edited", "content": "new", "sender": "@ann"}]))
    assert contents(db) == ["new", ""]


def test_deletion_leaves_edits_and_files_of_another_sender(db: Db) -> None:
    update = {"message_id": "1", "at": "2026-02-01T11:00:00Z"}
    files = [{**one, "type": "image"} for one in SAME_ID]
    edit = {**update, "type": "edited", "content": "new", "sender": "@ann"}
    post(db, json.dumps(request(group(*files, updates=[edit]), media_uploads=True)).encode())
    ingest(db, group(updates=[{**update, "type": "deleted", "sender": "@bea"}]))
    assert contents(db) == ["new", ""]
    assert rows(db, "select sender from private.conversation_media") == ["@ann"]
    ingest(db, group(updates=[{**update, "type": "deleted"}]))
    assert rows(db, "select sender from private.conversation_media") == []


@pytest.mark.parametrize(("said", "left"), [(1, ["@bea"]), (2, ["", "@bea"])], ids=["waiting", "made"])
def test_row_that_goes_leaves_an_edit_of_another_sender(db: Db, said: int, left: list[str]) -> None:
    update = {"message_id": "1", "at": "2026-02-01T11:00:00Z", "type": "edited", "content": "new"}
    ingest(db, group(*SAME_ID[:said], updates=[update, *({**update, "sender": each} for each in ("@ann", "@bea"))]))
    db.execute("delete from public.conversation_messages where sender = '@ann'")
    assert rows(db, "select sender from public.conversation_updates order by sender") == left


@pytest.mark.parametrize(("hour", "left"), [(11, "a"), (12, "b")])
def test_latest_update_counts_with_and_without_a_sender(db: Db, hour: int, left: str) -> None:
    update = {"message_id": "1", "type": "reaction", "at": "2026-02-01T11:00:00Z", "by": "@cy"}
    later = {**update, "emoji": "b", "sequence": 1, "at": f"2026-02-01T{hour}:00:00Z"}
    ingest(db, group(SAME_ID[0], updates=[{**update, "emoji": "a", "sequence": 2, "sender": "@ann"}, later]))
    assert [one["emoji"] for one in read_conversation(db)["messages"][0]["reactions"]] == [left]


def test_group_has_a_title_and_no_person(db: Db) -> None:
    ingest(db, group(message(), title="Our group", participant_identifier=JOHN))
    stored = read_conversation(db)
    assert (stored["kind"], stored["participant_name"], stored["person_id"]) == ("group", "Our group", None)
    for name, given in (("blank", group(title=" ")), ("direct", conversation(title="Our group"))):
        ingest(db, {**given, "external_conversation_id": name, "participant_name": "Ann"})
        assert read_conversation(db, name)["participant_name"] == "Ann"
    db.execute(
        "update public.conversations set participant_identifier = %s where kind = 'group'", [JOHN.replace("-", " ")]
    )
    stored = read_conversation(db)
    assert (stored["participant_key"], stored["person_id"]) == (None, None)
    db.execute("update public.people set phone = null where id = %s", [JOHN_DOE])
    db.execute("update public.people set phone = %s where id = %s", [JOHN, JOHN_DOE])
    assert read_conversation(db)["person_id"] is None


def test_identifiers_of_a_group_match_no_person(db: Db) -> None:
    ingest(db, group(message(), identifiers=[{"kind": "phone", "value": JOHN}], updates=[]))
    stored = read_conversation(db)
    assert (stored["participant_key"], stored["person_id"], stored["matched_by"]) == (None, None, None)
    assert rows(db, "select value from public.conversation_identifiers") == ["+1234567890"]


def test_group_that_was_direct_loses_its_person(db: Db) -> None:
    ingest(db, conversation(message(), participant_identifier=JOHN))
    assert read_conversation(db)["person_id"] == JOHN_DOE
    ingest(db, group(participant_identifier="+1 555 987 6543"))
    stored = read_conversation(db)
    assert (stored["participant_key"], stored["person_id"], stored["matched_by"]) == (None, None, None)
    db.execute("update public.people set phone = '+1 555 987 6543' where id = %s", [JOHN_DOE])
    assert read_conversation(db)["person_id"] is None


@pytest.mark.parametrize("is_first", [False, True])
def test_conversation_that_was_a_group_stays_a_group(db: Db, is_first: bool) -> None:
    both = [group(message(), participant_identifier=JOHN), conversation(message(), participant_identifier=JOHN)]
    for one in both if is_first else reversed(both):
        ingest(db, one)
    assert [read_conversation(db)[field] for field in ("kind", "person_id", "message_count")] == ["group", None, 1]
    assert ingest(db, both[0]).statuses == ["no_new_messages"]
    assert ingest(db, conversation(message("2"), participant_identifier=JOHN)).statuses == ["updated"]
    assert [read_conversation(db)[field] for field in ("kind", "person_id", "message_count")] == ["group", None, 2]
    ingest(db, *({**one, "external_conversation_id": "both"} for one in both))
    assert [read_conversation(db, "both")[field] for field in ("kind", "message_count")] == ["group", 1]


def test_message_that_lost_its_sender_is_another_one(db: Db) -> None:
    ingest(db, group(SAME_ID[0]))
    again = conversation(SAME_ID[0], participant_identifier="120363@g.us")
    assert [ingest(db, again).statuses for _ in range(2)] == [["updated"], ["no_new_messages"]]
    assert contents(db) == ["from Ann"] * 2


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (conversation(kind="channel"), "kind must be direct or group"),
        (conversation(kind=5), "kind must be direct or group"),
        (group(title=5), "title must be a string of at most 500 characters"),
        (group(title="x" * 501), "title must be a string of at most 500 characters"),
        (group(message(sender=5)), "messages[0].sender must be a string of at most 500 characters"),
        (group(message(sender="x" * 501)), "messages[0].sender must be a string of at most 500 characters"),
        (
            group(updates=[{"message_id": "1", "type": "read", "at": "2026-02-01T11:00:00Z", "sender": {}}]),
            "updates[0].sender must be a string of at most 500 characters",
        ),
    ],
)
def test_wrong_field_of_a_group_is_an_error(db: Db, given: dict[str, Any], error: str) -> None:
    assert ingest(db, given).statuses == [f"error: {error}"]


@pytest.mark.parametrize("kind", ["sticker", "contact", "poll", "call", "system"])
def test_further_types_of_messages_are_stored(db: Db, kind: str) -> None:
    given = message(type=kind, content="", reply_to="m0", forwarded=True)
    ingest(db, conversation(given))
    assert read_conversation(db)["messages"] == [given]


def test_pages_of_a_group_hold_every_message_once(db: Db) -> None:
    senders = ("@ann", "@bea", None)
    ingest(
        db, group(*(message(str(n), sender=by, content=f"{n} {by}", sequence=n) for n in range(3) for by in senders))
    )
    known = str(value(db, "select id from public.conversations"))
    found, after = [], {}
    while True:
        page = call(db, "export_conversation", conversation_id=known, limit=2, **after)
        found += [line["content"] for line in page.data]
        if not page.meta["next_cursor"]:
            break
        after = {"after": page.meta["next_cursor"]}
    assert found == contents(db)
    assert rows(db, "select count(*) from public.conversation_messages") == [len(found)]


AT, LATER = "2026-02-01T11:00:00Z", "2026-02-01T12:00:00Z"
UPDATES = (
    {"message_id": "1", "type": "reaction", "at": AT, "emoji": "a", "by": "@cy"},
    {"message_id": "1", "type": "reaction", "at": LATER, "emoji": "b", "by": "@cy", "sender": "@ann"},
    {"message_id": "1", "type": "edited", "at": AT, "content": "secret"},
    {"message_id": "1", "type": "deleted", "at": LATER, "sender": "@bea"},
)


def test_update_without_a_sender_reaches_its_message(db: Db) -> None:
    ingest(db, group(SAME_ID[0], message("2", sender="@bea")))
    result = ingest(db, group(updates=list(UPDATES[:3]))).body["results"][0]
    assert (result["updates_added"], result["updates_waiting"]) == (3, 0)
    first, second = read_conversation(db)["messages"]
    assert (first["content"], [one["emoji"] for one in first["reactions"]]) == ("secret", ["b"])
    assert "reactions" not in second
    ingest(db, group(updates=[{**UPDATES[2], "message_id": "2"}]))
    assert contents(db) == ["secret", "secret"]


@pytest.mark.parametrize("place", range(6))
def test_updates_of_groups_have_one_result_in_any_order(db: Db, place: int) -> None:
    requests = [group(SAME_ID[0], SAME_ID[1]), group(updates=list(UPDATES[:3])), group(updates=[UPDATES[3]])]
    for one in list(permutations(requests))[place]:
        ingest(db, one)
    # The deletion may be of the edited message, therefore no edited text stays.
    assert contents(db) == ["from Ann", ""]
    assert [one["emoji"] for one in read_conversation(db)["messages"][0]["reactions"]] == ["b"]
    assert "secret" not in value(db, "select string_agg(u::text, ' ') from public.conversation_updates as u")


ANN, BEA = ({**one, "type": "image", "media_url": f"https://a.example/{one['sender']}"} for one in SAME_ID)
EDITED = {"message_id": "1", "type": "edited", "at": AT, "content": "new", "sender": "@ann"}
NEW_URL = {"message_id": "1", "type": "media", "at": AT, "media_url": "https://a.example/2", "sender": "@ann"}


@pytest.mark.parametrize("is_present", [False, True])
@pytest.mark.parametrize("update", [EDITED, NEW_URL], ids=["edit", "file"])
def test_conflict_of_one_sender_leaves_the_other(db: Db, update: dict[str, Any], is_present: bool) -> None:
    ingest(db, group(ANN, BEA))
    ingest(db, group(updates=[update]))
    before = read_conversation(db)["messages"]
    again = before[0] if is_present else ANN
    (result,) = ingest(db, group(again, {**BEA, "content": "other"})).body["results"]
    assert (result["status"], result["conflicting_message_ids"]) == ("no_new_messages", ["1"])
    assert read_conversation(db)["messages"] == before


def test_edit_of_one_sender_is_no_conflict_of_the_other(db: Db) -> None:
    ingest(db, group(ANN, BEA))
    (result,) = ingest(db, group(ANN, {**BEA, "content": "other", "edited_at": AT})).body["results"]
    assert (result["status"], "conflicting_message_ids" in result) == ("updated", False)
    assert contents(db) == ["from Ann", "other"]
    ingest(db, group(updates=[{"message_id": "1", "type": "deleted", "at": AT, "sender": "@ann"}]))
    (result,) = ingest(db, group(ANN, {**BEA, "content": "again", "edited_at": LATER})).body["results"]
    assert (result["status"], "conflicting_message_ids" in result) == ("updated", False)
    assert contents(db) == ["", "again"]


def test_answer_counts_updates_of_each_conversation(db: Db) -> None:
    read = {"message_id": "1", "type": "read", "at": AT}
    ingest(db, group(ANN), group(message("1"), external_id="other"))
    given = [
        group(
            {**ANN, "content": "new", "edited_at": AT}, updates=[{**read, "sender": "@bea"}, {**read, "sender": "@ann"}]
        ),
        group(external_id="other", updates=[read]),
    ]
    results = ingest(db, *given).body["results"]
    assert [(one["updates_added"], one["updates_waiting"]) for one in results] == [(3, 1), (1, 0)]
