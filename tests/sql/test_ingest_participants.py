"""sql/122 and sql/132: participants of groups, and the persons that senders are."""

import json
from itertools import permutations
from typing import Any

import pytest

from tests.support.calls import call, ingest
from tests.support.database import Db, become, become_postgres, become_service, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import read_conversation
from tests.support.world import BOB, JOHN_DOE, MATTY, TELEGRAM, WHATSAPP

JOHN = "+1 (234) 567-890"
EARLY, LATE = "2026-02-01T09:00:00Z", "2026-02-01T12:00:00Z"
READ = "select c.participants from public.conversations as c where c.external_conversation_id = 'chat'"


def group(*messages: Any, **fields: Any) -> dict[str, Any]:
    return conversation(*messages, **{"participant_identifier": "120363@g.us", "kind": "group", **fields})


def member(identifier: str, **fields: Any) -> dict[str, Any]:
    return group(participants=[{"identifier": identifier, **fields}])


def people(db: Db, user_id: str = MATTY) -> dict[str, dict[str, Any]]:
    become(db, user_id)
    found = rows(db, READ)
    become_postgres(db)
    return {one["identifier"]: one for one in found[0]} if found else {}


@pytest.fixture
def john(db: Db) -> str:
    """A person of Matty with a number that is not in use."""
    db.execute("update public.people set phone = '+15550001111' where id = %s", [JOHN_DOE])
    return "15550001111@s.whatsapp.net"


def test_sender_is_a_participant_and_matched(db: Db, john: str) -> None:
    ingest(db, group(message("1", sender=john), message("2", sender="15550002222@s.whatsapp.net")))
    found = people(db)
    assert found[john] == {
        "identifier": john,
        "name": None,
        "identifiers": [],
        "has_left": False,
        "at": "2026-02-01T10:30:00.000Z",
        "person_id": JOHN_DOE,
        "matched_by": "phone",
    }
    assert found["15550002222@s.whatsapp.net"]["person_id"] is None
    assert read_conversation(db)["person_id"] is None


@pytest.mark.parametrize("is_joined_last", [False, True])
def test_group_that_continues_another_keeps_its_participants(db: Db, john: str, is_joined_last: bool) -> None:
    cid = {"identifier": "@cid", "name": "Cid", "state": "left", "at": LATE}
    ingest(db, group(message("1", sender="@ann"), participants=[{"identifier": "@cid", "at": EARLY}]))
    steps = [
        group(message("2", sender=john), external_id="new", participants=[cid]),
        group(external_id="new", continues="chat"),
    ]
    for given in steps if is_joined_last else reversed(steps):
        ingest(db, given)
    assert {one["identifier"]: (one["name"], one["has_left"], one["person_id"]) for one in people(db).values()} == {
        "@ann": (None, False, None),
        "@cid": ("Cid", True, None),
        john: (None, False, JOHN_DOE),
    }


def test_own_messages_make_no_participant(db: Db) -> None:
    ingest(db, group(message("1", sender="agent", direction="outbound")))
    assert people(db) == {}


def test_more_identifiers_match_a_lid(db: Db, john: str) -> None:
    ingest(db, group(message("1", sender="137180000000001@lid")))
    assert people(db)["137180000000001@lid"]["person_id"] is None
    phone = {"kind": "phone", "value": "+1 555 000 1111"}
    ingest(db, member("137180000000001@lid", identifiers=[phone], name=" Ann "))
    assert [people(db)["137180000000001@lid"][field] for field in ("person_id", "name")] == [JOHN_DOE, "Ann"]


def test_better_match_of_a_participant_is_stored(db: Db) -> None:
    phone = "update public.people set phone = %s where id = %s"
    db.execute(phone, ("0612345678", JOHN_DOE))
    ingest(db, group(message("1", sender="+33612345678")))
    reasons = []
    for number in ("+33612345678", "0612345678"):
        reasons.append(people(db)["+33612345678"]["matched_by"])
        db.execute(phone, (number, JOHN_DOE))
    assert reasons == ["phone_national", "phone"]


def test_participant_is_matched_on_its_platform(db: Db) -> None:
    add = "insert into public.person_identifiers (person_id, kind, value) values (%s, 'telegram_id', '6171234567')"
    db.execute(add, (JOHN_DOE,))
    for connection, matched_by in ((WHATSAPP, None), (TELEGRAM, "telegram_id")):
        ingest(db, group(message("1", sender="6171234567")), connection=connection)
        assert people(db)["6171234567"]["matched_by"] == matched_by
        db.execute("delete from public.conversations")


def test_openid_of_a_participant_has_its_app(db: Db) -> None:
    openids = [{"kind": "wechat_openid", "value": "oabcdef", "app": app} for app in ("wx1", "wx2")]
    ingest(db, group(participants=[{"identifier": f"@{one['app']}", "identifiers": [one]} for one in openids]))
    db.execute(
        "insert into public.person_identifiers (person_id, kind, value, app) values (%s, 'wechat_openid', %s, 'wx1')",
        (JOHN_DOE, "oabcdef"),
    )
    assert {known: one["person_id"] for known, one in people(db).items()} == {"@wx1": JOHN_DOE, "@wx2": None}


def test_changed_people_are_matched_again(db: Db) -> None:
    ingest(db, group(message("1", sender="15550001111@s.whatsapp.net")))
    db.execute("update public.conversations set created_at = '2026-01-01'")
    before = read_conversation(db)["version"]
    for phone, expected in (("+15550001111", JOHN_DOE), ("+15550009999", None)):
        db.execute("update public.people set phone = %s where id = %s", [phone, JOHN_DOE])
        assert people(db)["15550001111@s.whatsapp.net"]["person_id"] == expected
    assert read_conversation(db)["version"] == before + 2


CHANGES = (
    member("@ann", name="Ann", at=EARLY),
    member("@ann", state="left", at="2026-02-01T11:00:00Z"),
    group(message("1", sender="@ann")),
    member("@ann", name="Anna", at="2026-02-01T10:00:00Z"),
)


@pytest.mark.parametrize("place", range(24))
def test_any_order_of_requests_has_one_result(db: Db, place: int) -> None:
    for one in list(permutations(CHANGES))[place]:
        ingest(db, one)
    found = people(db)["@ann"]
    assert (found["name"], found["has_left"], found["at"]) == ("Anna", True, "2026-02-01T11:00:00.000Z")
    ingest(db, group(message("2", sender="@ann", sent_at=LATE)))
    assert people(db)["@ann"]["has_left"] is False


PHONE, LID = {"kind": "phone", "value": "+15550001111"}, {"kind": "whatsapp_lid", "value": "137180000000001"}
PLAIN = {"name": None, "identifiers": [], "has_left": False, "at": None, "person_id": None, "matched_by": None}
AT = {field: given.replace("Z", ".000Z") for field, given in (("early", EARLY), ("late", LATE))}
PAIRS = {
    "the later name counts": (
        {"name": "Bea", "at": EARLY},
        {"name": "Ann", "at": LATE},
        {"name": "Ann", "at": AT["late"]},
    ),
    "of two names of a moment the greater counts": (
        {"name": "Ann", "at": LATE},
        {"name": "Bea", "at": LATE},
        {"name": "Bea", "at": AT["late"]},
    ),
    "a name without a time is the oldest": (
        {"name": "Bea"},
        {"name": "Ann", "at": EARLY},
        {"name": "Ann", "at": AT["early"]},
    ),
    "a blank name is no name": ({"name": " Ann "}, {"name": "  ", "at": LATE}, {"name": "Ann", "at": AT["late"]}),
    "a later request without a name keeps it": (
        {"name": "Ann", "at": EARLY},
        {"at": LATE},
        {"name": "Ann", "at": AT["late"]},
    ),
    "the later state counts": (
        {"state": "left", "at": EARLY},
        {"state": "joined", "at": LATE},
        {"at": AT["late"]},
    ),
    "who left and joined in a moment has left": (
        {"state": "left", "at": LATE},
        {"state": "joined", "at": LATE},
        {"has_left": True, "at": AT["late"]},
    ),
    "a name of that moment brings no participant back": (
        {"state": "left", "at": LATE},
        {"name": "Ann", "at": LATE},
        {"name": "Ann", "has_left": True, "at": AT["late"]},
    ),
    "a state without a time is the oldest": ({"state": "left"}, {"at": EARLY}, {"at": AT["early"]}),
    "identifiers add up": (
        {"identifiers": [PHONE], "at": LATE},
        {"identifiers": [LID, PHONE]},
        {"identifiers": [PHONE, LID], "at": AT["late"], "person_id": JOHN_DOE, "matched_by": "phone"},
    ),
    "identifiers add up later": (
        {"identifiers": [PHONE]},
        {"identifiers": [LID]},
        {"identifiers": [PHONE, LID], "person_id": JOHN_DOE, "matched_by": "phone"},
    ),
}


@pytest.mark.usefixtures("john")
@pytest.mark.parametrize("name", PAIRS)
def test_two_requests_have_one_result_in_any_order(db: Db, name: str) -> None:
    first, second, expected = PAIRS[name]
    both = [{"identifier": "@ann", **one} for one in (first, second)]
    ways = [[[both[0]], [both[1]]], [[both[1]], [both[0]]], [both], [both[::-1]]]
    for way in ways:
        with db.transaction(force_rollback=True):
            for participants in way:
                ingest(db, group(participants=participants))
            assert people(db) == {"@ann": {"identifier": "@ann", **PLAIN, **expected}}
            db.execute("update public.people set phone = null where id = %s", [JOHN_DOE])
            assert people(db)["@ann"]["person_id"] is None
            db.execute("update public.people set phone = '+15550001111' where id = %s", [JOHN_DOE])
            assert people(db)["@ann"]["person_id"] == expected.get("person_id")


def test_participants_are_listed_by_identifier_to_members(db: Db) -> None:
    given = [("@cy", EARLY), ("@ann", LATE), ("@bea", None)]
    participants = [{"identifier": known, **({"at": at} if at else {})} for known, at in given]
    ingest(db, group(participants=participants))
    row = json.dumps(value(db, "select to_jsonb(c) from public.conversations as c"))
    listed = "select public.participants(jsonb_populate_record(null::public.conversations, %s))"
    for act, expected in (
        (lambda: become(db, MATTY), 3),
        (lambda: become_service(db), 3),
        (lambda: become(db, BOB), 0),
    ):
        act()
        found = value(db, listed, row)
        assert [one["identifier"] for one in found] == ["@ann", "@bea", "@cy"][:expected]
        become_postgres(db)


def test_each_participant_has_its_own_person(db: Db, john: str) -> None:
    other = value(
        db,
        "insert into public.people (user_id, full_name, phone) values (%s, 'Ann', '+15550002222') returning id::text",
        MATTY,
    )
    senders = {john: JOHN_DOE, "15550002222@s.whatsapp.net": other, "15550003333@s.whatsapp.net": None}
    ingest(db, group(*(message(str(n), sender=sender) for n, sender in enumerate(senders))))
    assert {known: one["person_id"] for known, one in people(db).items()} == senders
    db.execute("update public.conversations set created_at = '2026-01-01'")
    version = read_conversation(db)["version"]
    db.execute("update private.group_participants set name = name")
    assert read_conversation(db)["version"] == version
    for phone, matched_by in (("5550001111", "phone_national"), ("+15550001111", "phone")):
        db.execute("update public.people set phone = %s where id = %s", [phone, JOHN_DOE])
        assert {known: one["person_id"] for known, one in people(db).items()} == senders
        assert people(db)[john]["matched_by"] == matched_by
        version += 1
        assert read_conversation(db)["version"] == version


def test_participants_are_broadcast_once(db: Db, john: str) -> None:
    ingest(db, group(message("1", sender="@ann")))
    db.execute("update public.conversations set created_at = '2026-01-01'")
    for given, expected in ((CHANGES[1], 1), (CHANGES[1], 0), (member(john), 1), (member(john), 0)):
        db.execute("delete from realtime.messages")
        ingest(db, given)
        assert value(db, "select count(*) from realtime.messages where topic like 'inbox:%%'") == expected


def test_wrong_clock_of_a_sender_is_no_return(db: Db) -> None:
    for given in (CHANGES[1], group(message("1", sender="@ann", sent_at="2099-01-01T00:00:00Z"))):
        ingest(db, given)
    assert people(db)["@ann"]["has_left"] is True


def test_only_members_see_participants(db: Db) -> None:
    ingest(db, group(message("1", sender="@ann")), conversation(message("1"), external_id="direct"))
    assert (list(people(db)), people(db, BOB)) == (["@ann"], {})
    become_service(db)
    known = "select c.participants #>> '{0,identifier}' from public.conversations as c where kind = 'group'"
    assert rows(db, known) == ["@ann"]
    become(db, MATTY)
    read = "select c.participants from public.conversations as c where c.external_conversation_id = 'direct'"
    assert rows(db, read) == [[]]


BAD = {
    "participants must be an array of at most 1000 objects": ["x", {}, [{"identifier": "x"}] * 1001],
    "participants[0].identifier must be a string of 1 to 500 characters": [[5], [{}], [{"identifier": ""}]],
    "participants[0].name must be a string of at most 500 characters": [[{"identifier": "x", "name": 5}]],
    "participants[0].state must be joined or left": [[{"identifier": "x", "state": bad}] for bad in ("gone", None)],
    "participants[1].state must be joined or left": [[{"identifier": "x"}, *[{"identifier": "x", "state": ""}] * 2]],
    "participants[0].at must be an ISO 8601 timestamp": [[{"identifier": "x", "at": bad}] for bad in (5, "now", None)],
    "participants[0].identifiers must be an array of at most 20 objects": [[{"identifier": "x", "identifiers": {}}]],
}


@pytest.mark.parametrize("error", BAD)
def test_bad_participant_gets_an_error_with_its_place(db: Db, error: str) -> None:
    for bad in BAD[error]:
        assert ingest(db, group(participants=bad)).statuses == [f"error: {error}"]


def test_direct_conversation_takes_no_participants(db: Db) -> None:
    answer = ingest(db, conversation(participants=[{"identifier": "x"}]))
    assert answer.statuses == ["error: participants is for groups only"]
    assert ingest(db, conversation(participants=None, identifiers=None)).statuses == ["created"]
    assert ingest(db, group(participants=[{"identifier": "x", "name": None}])).statuses == ["no_new_messages"]


def test_erased_person_is_no_participant(db: Db, john: str) -> None:
    ingest(db, group(message("1", sender=john)))
    assert call(db, "erase_person", MATTY, person_id=JOHN_DOE).status == 200
    assert people(db) == {}


def test_each_new_conversation_of_a_request_gets_its_person(db: Db, john: str) -> None:
    given = [("a", "15550002222"), ("b", "15550001111"), ("c", "15550003333")]
    ingest(db, *(conversation(message(), external_id=name, participant_identifier=phone) for name, phone in given))
    found = "select external_conversation_id, person_id::text from public.conversations order by 1"
    assert rows(db, found) == [("a", None), ("b", JOHN_DOE), ("c", None)]
