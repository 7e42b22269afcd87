"""sql/103, 122, 125, 126: participants are recognised by any identifier that was ever seen of them."""

from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation

from tests.support.calls import call, ingest
from tests.support.cluster import TestCluster
from tests.support.costs import reading_at_most
from tests.support.database import Db, become, become_postgres, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import add_conversation, add_person, person_of, read_conversation
from tests.support.world import BOB, JOHN_DOE, MALLORY, MATTY

PHONE = "+1 555 123 4567"
LID = "137180000000000@lid"
UUID = "0a1b2c3d-1111-4222-8333-444455556666"
OPENID = "oABCDEFGHIJKLMNOPQRSTUVWXYZ0"
TELEGRAM = ("telegram", "tg_bot_456")


def add_identifier(db: Db, person: object, kind: str, text: str, app: str = "") -> Any:
    statement = """
    insert into public.person_identifiers (person_id, kind, value, app) values (%s, %s, %s, %s) returning id
    """
    return value(db, statement, person, kind, text, app)


def match_of(db: Db, conversation_id: object) -> tuple[Any, Any]:
    ((person, reason),) = rows(
        db, "select person_id, matched_by from public.conversations where id = %s", conversation_id
    )
    return person, reason


def latest(number: int) -> str:
    return f"2026-02-01T10:30:{number:02}Z"


FORMS = [
    ("whatsapp", "15551234567", "phone", "15551234567"),
    ("whatsapp", "15551234567@s.whatsapp.net", "phone", "+15551234567"),
    ("whatsapp", "15551234567@c.us", "phone", "+15551234567"),
    ("whatsapp", "whatsapp:+15551234567", "phone", "+15551234567"),
    ("whatsapp", "137180000000000@lid", "whatsapp_lid", "137180000000000"),
    ("whatsapp", "137180000000000:3@lid", "whatsapp_lid", "137180000000000"),
    ("whatsapp", "US.13491208655302741918", "whatsapp_bsuid", "US.13491208655302741918"),
    ("whatsapp", "120363046314515100@g.us", "other", "120363046314515100@g.us"),
    ("whatsapp", "120363046314515100", "other", "120363046314515100"),
    ("whatsapp", "status@broadcast", "other", "status@broadcast"),
    ("whatsapp", "120363@newsletter", "other", "120363@newsletter"),
    ("whatsapp", "@ann", "other", "@ann"),
    ("signal", "+15551234567", "phone", "+15551234567"),
    ("signal", UUID.upper(), "signal_uuid", UUID),
    ("signal", "group.QUJD", "other", "group.QUJD"),
    ("telegram", "6171234567", "telegram_id", "6171234567"),
    ("telegram", "@Ann_Lee", "telegram_username", "ann_lee"),
    ("telegram", "Ann_Lee", "telegram_username", "ann_lee"),
    ("telegram", "https://t.me/ann_lee", "telegram_username", "ann_lee"),
    ("telegram", "@anna", "telegram_username", "anna"),
    ("telegram", "@ann", "other", "@ann"),
    ("telegram", "-1001551234567", "other", "-1001551234567"),
    ("telegram", "+15551234567", "phone", "+15551234567"),
    ("wechat", OPENID, "wechat_openid", OPENID),
    ("wechat", "wxid_ann", "other", "wxid_ann"),
    ("signal", "Ann@Example.com", "email", "ann@example.com"),
]


@pytest.mark.parametrize(("platform", "text", "kind", "found"), FORMS, ids=[" ".join(form[:2]) for form in FORMS])
def test_participant_identifier_is_recognised(db: Db, platform: str, text: str, kind: str, found: str) -> None:
    assert rows(db, "select kind, value from private.identify_any(%s, %s)", platform, text) == [(kind, found)]


MATCHES = [
    ("whatsapp", LID, "whatsapp_lid", "137180000000000", "whatsapp_lid"),
    ("whatsapp", "US.134", "whatsapp_bsuid", "US.134", "whatsapp_bsuid"),
    ("signal", UUID, "signal_uuid", UUID.upper(), "signal_uuid"),
    ("telegram", "6171234567", "telegram_id", "6171234567", "telegram_id"),
    ("telegram", "@ann_lee", "telegram_username", "t.me/Ann_Lee", "telegram_username"),
    ("wechat", OPENID, "wechat_openid", OPENID, "wechat_openid"),
    ("signal", "ann@example.com", "email", "Ann@Example.com", "email"),
    ("signal", "\u00c4NN@example.com", "email", "\u00e4nn@example.com", "email"),
    ("signal", "+15559876543", "phone", "+1 555 987 6543", "phone"),
    ("signal", "+33612345678", "phone", "06 12 34 56 78", "phone_national"),
    ("signal", "00155598765439", "phone", "98 5559 8765439", "phone_last_ten"),
]


@pytest.mark.parametrize(
    ("platform", "identifier", "kind", "text", "rank"), MATCHES, ids=[f"{one[1]} {one[4]}" for one in MATCHES]
)
def test_person_matches_by_an_added_identifier(
    db: Db, platform: str, identifier: str, kind: str, text: str, rank: str
) -> None:
    person = add_person(db, PHONE)
    early = add_conversation(db, identifier, platform=platform)
    added = add_identifier(db, person, kind, text)
    late = add_conversation(db, identifier, platform=platform)
    assert [match_of(db, found) for found in (early, late)] == [(person, rank)] * 2
    become(db, BOB)
    db.execute("delete from public.person_identifiers where id = %s", (added,))
    assert [match_of(db, found) for found in (early, late)] == [(None, None)] * 2


@pytest.mark.parametrize(("who", "count"), [(MALLORY, 0), (BOB, 1)])
def test_removal_without_a_condition_keeps_those_of_others(db: Db, who: str, count: int) -> None:
    for owner in (BOB, MATTY):
        add_identifier(db, add_person(db, None, owner), "email", f"{owner}@x.example")
    become(db, who)
    # A condition would also hide what the user may not read.
    assert db.execute("delete from public.person_identifiers").rowcount == count


def test_number_is_read_in_the_home_country_first(db: Db) -> None:
    db.execute("update private.settings set default_country = 'DE'")
    db.execute("update public.workspaces set home_country = 'FR' where id = %s", (BOB,))
    assert rows(db, "select private.home_country(id) from unnest(%s::uuid[]) as id", [BOB, MATTY]) == ["FR", "DE"]


@pytest.mark.parametrize("is_added", [False, True])
def test_new_home_country_matches_conversations_again(db: Db, is_added: bool) -> None:
    person = add_person(db, None if is_added else "612345678")
    if is_added:
        add_identifier(db, person, "phone", "612345678")
    found = add_conversation(db, "0612345678")
    assert person_of(db, found) is None
    db.execute("update public.workspaces set home_country = 'FR' where id = %s", (BOB,))
    assert match_of(db, found) == (person, "phone_national")
    db.execute("update public.workspaces set home_country = null where id = %s", (BOB,))
    assert person_of(db, found) is None


def test_identifier_gets_the_workspace_of_its_person(db: Db) -> None:
    become(db, BOB)
    (team,) = db.execute("select public.create_workspace('Team') ->> 'id'").fetchone()
    (person,) = db.execute(
        "insert into public.people (workspace_id, full_name) values (%s, 'Ann') returning id", (team,)
    ).fetchone()
    add_identifier(db, person, "email", "ann@example.com")
    assert rows(db, "select workspace_id::text from public.person_identifiers") == [team]


def test_identifier_of_two_people_matches_no_person(db: Db) -> None:
    for person in (add_person(db, None), add_person(db, None)):
        add_identifier(db, person, "telegram_id", "6171234567")
    assert person_of(db, add_conversation(db, "6171234567", platform="telegram")) is None


def test_number_without_extension_matches_any(db: Db) -> None:
    person = add_person(db, f"{PHONE} ext. 5")
    other = add_conversation(db, f"{PHONE} ext. 7")
    assert person_of(db, other) is None
    add_identifier(db, person, "phone", PHONE)
    assert person_of(db, other) == person


def test_openid_is_valid_within_its_app(db: Db) -> None:
    add_identifier(db, add_person(db, None), "wechat_openid", OPENID, "wx1")
    assert person_of(db, add_conversation(db, OPENID, platform="wechat")) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [("phone", "@ann"), ("telegram_id", "-5"), ("signal_uuid", "1"), ("email", "ann"), ("pager", "1"), ("phone", "")],
)
def test_identifier_without_its_form_is_refused(db: Db, kind: str, text: str) -> None:
    person = add_person(db, None)
    become(db, BOB)
    statement = "insert into public.person_identifiers (person_id, kind, value) values (%s, %s, %s)"
    refused(db, statement, person, kind, text, by=CheckViolation)


def test_user_reads_and_adds_only_own_identifiers(db: Db) -> None:
    own, other = add_person(db, None), add_person(db, None, user_id=MATTY)
    add_identifier(db, other, "telegram_id", "1")
    statement = "insert into public.person_identifiers (person_id, kind, value) values (%s, 'telegram_id', '2')"
    become(db, BOB)
    db.execute(statement, (own,))
    assert rows(db, "select value from public.person_identifiers") == ["2"]
    refused(db, statement, other)


@pytest.mark.parametrize("is_number_first", [True, False])
def test_number_of_a_thread_survives_a_later_lid(db: Db, is_number_first: bool) -> None:
    person = add_person(db, PHONE, user_id=MATTY)
    pair = ["15551234567", LID] if is_number_first else [LID, "15551234567"]
    for number, identifier in enumerate(pair):
        ingest(db, conversation(message(str(number), sent_at=latest(number)), participant_identifier=identifier))
    stored = read_conversation(db)
    assert (stored["person_id"], stored["participant_identifier"]) == (str(person), "15551234567")
    seen = "select kind, value from public.conversation_identifiers"
    assert rows(db, seen) == [("whatsapp_lid", "137180000000000")]


def test_identifiers_of_a_request_match_and_stay(db: Db) -> None:
    person = add_person(db, PHONE, user_id=MATTY)
    given = [{"kind": "phone", "value": PHONE}, {"kind": "whatsapp_bsuid", "value": "US.134"}]
    one = conversation(message(), participant_identifier=LID, identifiers=given)
    assert ingest(db, one).statuses == ["created"]
    stored = read_conversation(db)
    assert (stored["person_id"], stored["matched_by"]) == (str(person), "phone")
    seen = "select kind, value from public.conversation_identifiers order by kind"
    assert rows(db, seen) == [("phone", "+15551234567"), ("whatsapp_bsuid", "US.134")]
    assert ingest(db, one).statuses == ["no_new_messages"]
    place = "select ctid::text || xmin from public.conversations where external_conversation_id = 'chat'"
    before = value(db, place)
    ingest(db, conversation(message(), participant_identifier=LID))
    assert value(db, place) == before
    email = {"kind": "email", "value": " a@b.de "}
    ingest(db, conversation(message(), participant_identifier=LID, identifiers=[email]))
    assert rows(db, seen)[0] == ("email", "a@b.de")
    for name in ("@ann", "@bea"):
        db.execute("update public.conversations set participant_identifier = %s", (name,))
        assert read_conversation(db)["person_id"] == str(person)


def test_further_identifier_matches_a_later_person(db: Db) -> None:
    email = "ann@example.com"
    ingest(db, conversation(message(), identifiers=[{"kind": "email", "value": email}]))
    person = add_person(db, None, user_id=MATTY)
    add_identifier(db, person, "email", email)
    assert match_of(db, read_conversation(db)["id"]) == (person, "email")


def test_request_has_identifiers_beside_updates(db: Db) -> None:
    person = add_person(db, PHONE, user_id=MATTY)
    given = conversation(
        message("a"),
        participant_identifier=LID,
        identifiers=[{"kind": "phone", "value": PHONE}],
        updates=[{"message_id": "a", "type": "read", "at": latest(1)}],
    )
    result = ingest(db, given).body["results"][0]
    assert (result["status"], result["updates_added"], result["updates_waiting"]) == ("created", 1, 0)
    stored = read_conversation(db)
    assert (stored["person_id"], stored["matched_by"]) == (str(person), "phone")


@pytest.mark.parametrize(
    ("identifiers", "error"),
    [
        ("x", "identifiers must be an array of at most 20 objects"),
        ([{"kind": "email", "value": "a@b.de"}] * 21, "identifiers must be an array of at most 20 objects"),
        (["x"], "identifiers[0] must be an object"),
        (
            [{"kind": "email", "value": "a@b.de"}, {"kind": "pager"}],
            "identifiers[1].kind must be phone, whatsapp_lid, ",
        ),
        ([{"kind": "email", "value": "a"}], "identifiers[0].value must be a valid email"),
        ([{"kind": "email"}], "identifiers[0].value must be a valid email"),
        ([{"kind": "phone", "value": 15551234567}], "identifiers[0].value must be a valid phone"),
        ([{"kind": "wechat_openid", "value": OPENID}], "identifiers[0].app must be the WeChat app of an openid"),
        ([{"kind": "email", "value": "a@b.de", "app": "x"}], "identifiers[0].app must be the WeChat app of an openid"),
    ],
    ids=[
        "no array",
        "too many",
        "no object",
        "unknown kind",
        "bad value",
        "no value",
        "number",
        "openid without an app",
        "email with an app",
    ],
)
def test_bad_identifiers_are_named(db: Db, identifiers: Any, error: str) -> None:
    (status,) = ingest(db, conversation(message(), identifiers=identifiers)).statuses
    assert status.startswith(f"error: {error}")


def test_openid_of_a_request_has_its_app(db: Db) -> None:
    person = add_person(db, None, user_id=MATTY)
    add_identifier(db, person, "wechat_openid", OPENID, "wx1")
    given = [{"kind": "wechat_openid", "value": OPENID, "app": "wx1"}]
    ingest(db, conversation(message(), identifiers=given))
    assert read_conversation(db)["person_id"] == str(person)
    # The participant's own openid is known without an app.
    own = add_conversation(db, OPENID, platform="wechat")
    known = "select row('wechat_openid', %s, %s)::private.identifier"
    add = f"select private.record_identifiers(array[%s]::uuid[], array({known}))"
    assert [value(db, add, own, OPENID, app) for app in ("", "wx1")] == [[], [own]]


def test_second_conversation_of_a_request_adds_its_identifier(db: Db) -> None:
    person = add_person(db, PHONE, user_id=MATTY)
    ingest(db, conversation(participant_identifier=LID), conversation(participant_identifier="15551234567@c.us"))
    assert read_conversation(db)["person_id"] == str(person)
    assert rows(db, "select kind from public.conversation_identifiers") == ["whatsapp_lid"]


@pytest.mark.parametrize("order", [1, -1])
def test_number_wins_over_a_newer_identifier_of_a_request(db: Db, order: int) -> None:
    both = [
        conversation(message("1", sent_at=latest(1)), participant_identifier="15551234567"),
        conversation(message("2", sent_at=latest(2)), participant_identifier="@tom"),
    ]
    ingest(db, *both[::order])
    place = "select participant_identifier, participant_identified_at = %s from public.conversations"
    assert rows(db, f"{place} where external_conversation_id = 'chat'", latest(1)) == [("15551234567", True)]
    assert rows(db, "select kind, value from public.conversation_identifiers") == [("other", "@tom")]


def test_time_of_an_identifier_is_of_its_newest_message(db: Db) -> None:
    moment = "select to_char(participant_identified_at at time zone 'UTC', 'SS')::integer from public.conversations"
    moments = []
    for number, identifier in ((1, "15551234567"), (3, "@tom"), (3, "15551234567"), (2, "15559876543")):
        db.execute("delete from realtime.messages")
        one = conversation(message(str(number), sent_at=latest(number)), participant_identifier=identifier)
        added = ingest(db, one).body["results"][0]["messages_added"]
        assert value(db, "select count(*) from realtime.messages") == added
        moments.append((value(db, moment), read_conversation(db)["participant_identifier"]))
    assert moments == [(1, "15551234567"), (1, "15551234567"), (3, "15551234567"), (3, "15551234567")]


def test_own_identifier_is_not_kept_twice(db: Db) -> None:
    given = [{"kind": "phone", "value": PHONE}]
    for own in ("+15551234567", "15551234567@c.us"):
        ingest(db, conversation(message(), external_id=own, participant_identifier=own, identifiers=given))
    assert rows(db, "select value from public.conversation_identifiers") == []


def test_identifiers_are_stored_in_the_order_of_their_key(db: Db) -> None:
    chats = sorted(add_conversation(db, "@somebody") for _ in range(2))
    # No join of these leaves them in order.
    given = [(chat, "other", text) for chat in chats[::-1] for text in ("@b", "@a", "@c")]
    names, kinds, texts = map(list, zip(*given, strict=True))
    add = """
    select private.record_identifiers(%s::uuid[], array(
        select row(kind, value, '')::private.identifier
        from unnest(%s::text[], %s::text[]) with ordinality as new (kind, value, place) order by place
    ))
    """
    db.execute(add, (names, kinds, texts))
    kept = "select conversation_id, kind, value from public.conversation_identifiers order by ctid"
    assert rows(db, kept) == sorted(given)


def test_earlier_request_that_matched_later_changes_no_other(db: Db) -> None:
    person = add_person(db, PHONE, user_id=MATTY)
    db.execute("select set_config('threadline.matches_later', 'on', true)")
    ingest(db, conversation(message(), participant_identifier="15551234567"))
    assert read_conversation(db)["person_id"] == str(person)
    assert rows(db, "select 1 from private.late_matches") == []


def test_keys_of_a_person_have_the_form_of_their_kind(db: Db) -> None:
    person = add_person(db, None)
    for kind, text in (("telegram_id", "6171234567"), ("email", " Ann@X.Example "), ("phone", " +1 555 123 4567 ")):
        add_identifier(db, person, kind, text)
    kept = "select kind, value from public.person_identifiers order by kind"
    assert rows(db, kept) == [("email", "ann@x.example"), ("phone", "+1 555 123 4567"), ("telegram_id", "6171234567")]
    keys = "select key from private.person_keys where person_id = %s and key ~ '^(d|email|phone|telegram_id|c):'"
    assert sorted(rows(db, keys, person)) == [
        "c:15551234567", "d:15551234567", "email::ann@x.example", "phone:234567", "telegram_id::6171234567"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "extension"),
    [
        (["+1 555 123 4567 ext 1"], "1"),
        (["+1 555 123 4567 ext 1", "+1 555 123 4567 x1"], "1"),
        (["+1 555 123 4567 ext 1", "+1 555 123 4567 ext 2"], None),
        (["+1 555 123 4567 ext 1", "+1 555 123 4567"], None),
    ],
)
def test_extension_counts_if_all_numbers_have_it(db: Db, numbers: list[str], extension: str | None) -> None:
    person = add_person(db, None)
    for number in numbers:
        add_identifier(db, person, "phone", number)
    kept = "select extension from private.person_keys where person_id = %s and key = 'd:15551234567'"
    assert rows(db, kept, person) == [extension]


def test_merged_people_match_as_one_until_unmerged(db: Db) -> None:
    one, other = add_person(db, PHONE), add_person(db, "+33 6 12 34 56 78")
    first, second = add_conversation(db, "15551234567"), add_conversation(db, "+33612345678")
    assert call(db, "merge_people", BOB, person_id=str(one), merged_person_id=str(other)).status == 200
    become_postgres(db)
    assert (person_of(db, first), person_of(db, second)) == (one, one)
    assert call(db, "unmerge_people", BOB, person_id=str(other)).status == 200
    become_postgres(db)
    assert (person_of(db, first), person_of(db, second)) == (one, other)


def test_merging_two_entries_of_a_number_ends_the_tie(db: Db) -> None:
    people = [add_person(db, PHONE) for _ in range(3)]
    found = add_conversation(db, "15551234567")
    for other in people[1:]:
        assert person_of(db, found) is None
        call(db, "merge_people", BOB, person_id=str(people[0]), merged_person_id=str(other))
        become_postgres(db)
    assert person_of(db, found) == people[0]
    db.execute("delete from public.people where id = %s", (people[0],))
    assert person_of(db, found) is None


def test_merges_are_refused_without_two_own_people(db: Db) -> None:
    one, other = add_person(db, PHONE), add_person(db, PHONE)

    def merge(person: object, merged: object) -> tuple[int, str, str | None]:
        return call(db, "merge_people", BOB, person_id=str(person), merged_person_id=str(merged)).error

    assert merge(one, JOHN_DOE) == (404, "person_not_found", "merged_person_id")
    assert merge(JOHN_DOE, one) == (404, "person_not_found", "person_id")
    assert merge(one, one) == (409, "person_merged", "merged_person_id")
    assert call(db, "unmerge_people", BOB, person_id=str(one)).error == (409, "person_not_merged", "person_id")
    call(db, "merge_people", BOB, person_id=str(one), merged_person_id=str(other))
    assert merge(other, one) == (409, "person_merged", "merged_person_id")
    assert merge(add_person(db, PHONE), other) == (409, "person_merged", "merged_person_id")
    last = add_person(db, PHONE)
    call(db, "merge_people", BOB, person_id=str(other), merged_person_id=str(last))
    assert merge(last, one) == (409, "person_merged", "merged_person_id")  # the last one ends in the first


def test_erasure_of_a_person_takes_what_was_merged(db: Db) -> None:
    one, other = add_person(db, PHONE), add_person(db, "+33 6 12 34 56 78")
    call(db, "merge_people", BOB, person_id=str(one), merged_person_id=str(other))
    become_postgres(db)
    add_conversation(db, "+33612345678")
    erased = call(db, "erase_person", BOB, person_id=str(one)).data["erased"]
    assert (erased["people"], erased["conversations"]) == (2, 1)


def test_changed_number_keeps_the_old_until_undone(db: Db) -> None:
    person = add_person(db, PHONE)
    old, new = add_conversation(db, "15551234567"), add_conversation(db, "15559876543")
    assert call(db, "change_number", BOB, person_id=str(person), phone="+1 555 987 6543").status == 200
    become_postgres(db)
    assert (person_of(db, old), person_of(db, new)) == (person, person)
    # A later change of another person stays.
    other = str(add_person(db, "+1 555 222 3333"))
    call(db, "change_number", BOB, person_id=other, phone="+1 555 444 5555")
    assert call(db, "undo_number_change", BOB, person_id=str(person)).data["phone"] == PHONE
    become_postgres(db)
    assert (person_of(db, old), person_of(db, new)) == (person, None)
    assert rows(db, "select person_id::text from public.person_identifiers") == [other]
    assert call(db, "undo_number_change", BOB, person_id=str(person)).error[1] == "number_not_changed"
    assert call(db, "change_number", BOB, person_id=str(person), phone="@ann").error == (400, "invalid_field", "phone")


def test_number_that_was_edited_since_is_not_undone(db: Db) -> None:
    person = add_person(db, PHONE)
    call(db, "change_number", BOB, person_id=str(person), phone="+1 555 987 6543")
    become_postgres(db)
    db.execute("update public.people set phone = '+1 555 111 2222' where id = %s", (person,))
    assert call(db, "undo_number_change", BOB, person_id=str(person)).error[1] == "number_not_changed"


def test_match_reads_two_rows_a_key_of_many_people(db: Db) -> None:
    db.execute(
        "insert into public.people (user_id, full_name, phone) select %s, 'P', %s from generate_series(1, 2000)",
        (BOB, PHONE),
    )
    keys = "private.list_match_keys('signal', private.identify('signal', %s), null, false)"
    plan = value(db, f"select count(*) from private.person_keys where key in (select key from unnest({keys}))", PHONE)
    assert plan >= 2000
    with reading_at_most(5000, db):
        db.execute(
            """
            insert into public.conversations (user_id, platform, external_conversation_id, participant_identifier)
            select %s, 'signal', number, %s from generate_series(1, 500) as number
            """,
            (BOB, PHONE),
        )


KEYS = "private.list_match_keys('signal', private.identify('signal', %(phone)s), null, false)"
ADD_KEYS = f"""
insert into private.person_keys (workspace_id, key, person_id)
select %(bob)s, wanted.key, gen_random_uuid()
from (
    select key from unnest({KEYS})
    union
    select private.participant_key('signal', %(phone)s)
) as wanted, generate_series(1, 2000)
"""


MATCHES = pytest.mark.parametrize(
    "match",
    [
        f"find_match(%(bob)s, {KEYS})",
        "match_identifiers(%(bob)s, 'signal', array[private.identify('signal', %(phone)s)])",
        "match_participant(%(bob)s, 'signal', %(phone)s, private.participant_key('signal', %(phone)s))",
        "match_participants(%(bob)s, 'signal', array[%(phone)s], array[private.participant_key('signal', %(phone)s)])",
    ],
    ids=lambda match: match.partition("(")[0],
)


@MATCHES
def test_match_reads_few_keys_after_many_people_left(cluster: TestCluster, fresh_database: str, match: str) -> None:
    given = {"bob": BOB, "phone": PHONE}
    with psycopg.connect(cluster.url(fresh_database, "postgres"), autocommit=True) as db:
        for _ in range(2):
            with db.transaction(force_rollback=True):
                db.execute(ADD_KEYS, given)
        # The planner now expects few rows in a large table, so a generic plan (from the sixth call on) has a bitmap.
        db.execute("analyze private.person_keys")
        with db.transaction(force_rollback=True):
            db.execute(ADD_KEYS, given)
            with reading_at_most(1000, db):
                db.execute(f"select private.{match} from generate_series(1, 50)", given)


@MATCHES
def test_match_planned_among_few_reads_few_keys_of_many(cluster: TestCluster, fresh_database: str, match: str) -> None:
    given = {"bob": BOB, "phone": PHONE}
    ask = f"select private.{match} from generate_series(1, 50)"
    with psycopg.connect(cluster.url(fresh_database, "postgres"), autocommit=True) as db:
        # The session keeps the generic plan that it makes now. It would read one page whole.
        db.execute("analyze private.person_keys")
        db.execute(ask, given)
        with db.transaction(force_rollback=True):
            db.execute(ADD_KEYS, given)
            with reading_at_most(1000, db):
                db.execute(ask, given)
