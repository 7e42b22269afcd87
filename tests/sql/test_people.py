"""sql/100_people.sql: people belong to one user, and phone numbers match them."""

import pytest
from psycopg.errors import CheckViolation, ForeignKeyViolation

from tests.support.calls import ingest
from tests.support.database import (
    Db,
    become,
    become_postgres,
    become_service,
    locks_matching,
    refused,
    rows,
    value,
)
from tests.support.ingest import conversation, message
from tests.support.people import add_conversation, add_person, person_of
from tests.support.world import BOB, MATTY, WORKSPACE


def test_user_manages_own_people(db: Db) -> None:
    become(db, BOB)
    added = value(db, "insert into public.people (full_name, phone) values ('Ann', '+49 1') returning id")
    db.execute("update public.people set full_name = 'Ann B.' where id = %s", (added,))
    assert rows(db, "select user_id::text, full_name from public.people") == [(BOB, "Ann B.")]
    db.execute("delete from public.people where id = %s", (added,))
    assert rows(db, "select id from public.people") == []


@pytest.mark.parametrize("change", ["update public.people set full_name = 'Mine'", "delete from public.people"])
def test_user_cannot_change_people_of_others(db: Db, change: str) -> None:
    become(db, BOB)
    assert db.execute(change).rowcount == 0


@pytest.mark.parametrize(
    "statement",
    [
        f"insert into public.people (user_id, full_name) values ('{MATTY}', 'Trojan')",
        f"update public.people set user_id = '{MATTY}'",
        "update public.people set created_at = now()",
        "truncate public.people",
    ],
)
def test_user_cannot_set_the_owner_of_a_person(db: Db, statement: str) -> None:
    become(db, BOB)
    refused(db, statement)


@pytest.mark.parametrize(
    ("column", "text"),
    [("full_name", ""), ("full_name", "x" * 501), ("phone", "1" * 101)],
    ids=["empty name", "long name", "long number"],
)
def test_too_long_name_or_number_is_rejected(db: Db, column: str, text: str) -> None:
    become(db, MATTY)
    refused(db, f"update public.people set {column} = %s", text, by=CheckViolation)


def test_person_change_updates_its_timestamp(db: Db) -> None:
    old = add_person(db, None)
    db.execute("update public.people set updated_at = '2020-01-01' where id = %s", (old,))
    assert value(db, "select updated_at = now() from public.people where id = %s", old)


@pytest.mark.parametrize(
    ("phone", "digits"),
    [
        ("+1 234 567 890", "1234567890"),
        ("(030) 12.34-56/7", "0301234567"),
        ("+49,151", "49151"),
        ("\u202a+49\u00a0151\u2011234\u202c\u200e", "49151234"),  # the format that phones copy
        ("7", "7"),
        ("", None),
        ("+", None),
        ("@1234567890", None),
        ("1234567890x", None),
        ("1234567890@s.whatsapp.net", None),
        ("bob1234567890", None),
        (None, None),
    ],
)
def test_only_phone_numbers_have_digits(db: Db, phone: str | None, digits: str | None) -> None:
    assert value(db, "select private.phone_digits(%s)", phone) == digits


@pytest.mark.parametrize(
    ("phones", "identifier", "expected"),
    [
        pytest.param(["+49 (151) 2345-6789"], "4915123456789", 0, id="the same digits match"),
        pytest.param(["123-456-789"], "123456789", 0, id="few equal digits match"),
        pytest.param(["+49 151 23456789"], "0151 23456789", 0, id="the last ten digits match"),
        pytest.param(
            ["0151 23456789", "+49 151 23456789"], "+4915123456789", 1, id="equal digits win over equal tails"
        ),
        pytest.param(
            ["+49 151 23456789", "0049 15123456789"], "0151 23456789", None, id="two equal tails match no person"
        ),
        pytest.param(["+49 151", "+49151"], "49 151", None, id="two equal numbers match no person"),
        pytest.param(["+49 151", "+49151", "0 49 151"], "49 151", None, id="a third number does not break a tie"),
        pytest.param(["+49 123456789"], "123456789", 0, id="the country comes from the person"),
        pytest.param(["123456789"], "+49 123456789", 0, id="the country comes from the participant"),
        pytest.param(["+49 12345"], "12345", None, id="five digits are too few to add a country"),
        pytest.param(["123456789"], "+49 9 123456789", None, id="nine digits are too few for a tail"),
        pytest.param(["1234567890"], "@1234567890", None, id="a username matches no number"),
        pytest.param(["@1234567890"], "@1234567890", None, id="a username matches no username"),
        pytest.param([None], "+49 151 23456789", None, id="a person without a number matches nothing"),
    ],
)
def test_conversation_matches_its_person(
    db: Db, phones: list[str | None], identifier: str, expected: int | None
) -> None:
    people = [add_person(db, phone) for phone in phones]
    found = person_of(db, add_conversation(db, identifier))
    assert found == (None if expected is None else people[expected])


@pytest.mark.parametrize("identifier", ["4915123456789", "+4915123456789", "0151 23456789", "@ann", "+49 170 1"])
@pytest.mark.parametrize(
    "phones",
    [["+4915123456789"], ["0151 23456789"], ["+49 15123456789"] * 2, []],
    ids=["complete", "national", "two people", "no person"],
)
def test_ingest_matches_people_like_an_insert(db: Db, phones: list[str], identifier: str) -> None:
    for phone in phones:
        add_person(db, phone, MATTY)
    ingest(db, conversation(message(), participant_identifier=identifier))
    add_conversation(db, identifier, MATTY, "whatsapp")
    matches = "select distinct person_id, matched_by, participant_key from public.conversations"
    assert len(rows(db, f"{matches} where participant_identifier = %s", identifier)) == 1


def test_insert_after_an_ingest_matches_its_person(db: Db) -> None:
    ingest(db, conversation(message()))
    person = add_person(db, "+49 151 23456789")
    assert person_of(db, add_conversation(db, "+4915123456789")) == person


def test_person_of_another_user_is_not_matched(db: Db) -> None:
    add_person(db, "+49 151 23456789", user_id=MATTY)
    assert person_of(db, add_conversation(db, "+49 151 23456789", user_id=BOB)) is None


@pytest.mark.parametrize("phone", ["+49 151 23456789", "0151 23456789"])
def test_new_person_matches_earlier_conversations(db: Db, phone: str) -> None:
    one, other = add_conversation(db, "+49 151 23456789"), add_conversation(db, "+49 151 99999999")
    become(db, BOB)
    person = value(db, "insert into public.people (full_name, phone) values ('Ann', %s) returning id", phone)
    assert (person_of(db, one), person_of(db, other)) == (person, None)


def test_new_number_changes_the_matched_conversations(db: Db) -> None:
    person = add_person(db, "+49 151 23456789")
    old, new = add_conversation(db, "+49 151 23456789"), add_conversation(db, "+49 151 99999999")
    become(db, BOB)
    db.execute("update public.people set phone = '0151 99999999'")
    assert (person_of(db, old), person_of(db, new)) == (None, person)


def test_new_name_does_not_touch_the_conversations(db: Db) -> None:
    add_person(db, "+49 151 23456789")
    add_conversation(db, "+49 151 23456789")
    versions = "select ctid::text from public.conversations"
    before = rows(db, versions)
    become(db, BOB)
    db.execute("update public.people set full_name = 'Ann'")
    become_postgres(db)
    assert rows(db, versions) == before


def test_second_person_with_the_number_clears_the_match(db: Db) -> None:
    first, found = add_person(db, "+49 151 23456789"), add_conversation(db, "+49 151 23456789")
    second = add_person(db, "+49 151 234 567 89")
    assert person_of(db, found) is None
    become(db, BOB)
    db.execute("delete from public.people where id = %s", (second,))
    assert person_of(db, found) == first


def test_new_conversation_of_two_people_matches_neither(db: Db) -> None:
    for _ in range(2):
        add_person(db, "+49 151 23456789")
    for identifier in ("+4915123456789", "0151 23456789"):
        found = add_conversation(db, identifier)
        assert rows(db, "select person_id, matched_by from public.conversations where id = %s", found) == [(None, None)]


def test_deleted_person_leaves_the_conversation(db: Db) -> None:
    add_person(db, "+49 151 23456789")
    found = add_conversation(db, "+49 151 23456789")
    become(db, BOB)
    db.execute("delete from public.people")
    assert person_of(db, found) is None


def test_person_with_a_conversation_keeps_its_workspace(db: Db) -> None:
    person = add_person(db, "+49 151 23456789")
    matched = add_conversation(db, "+49 151 23456789")
    become_service(db)
    refused(db, "update public.people set workspace_id = %s where id = %s", MATTY, person, by=ForeignKeyViolation)
    db.execute("update public.people set user_id = %s where id = %s", (MATTY, person))
    assert person_of(db, matched) == person


def test_people_of_one_statement_match_their_conversations(db: Db) -> None:
    threads = [add_conversation(db, f"+49 151 2345678{digit}") for digit in range(3)]
    become(db, BOB)
    db.execute(
        "insert into public.people (full_name, phone) select 'P', '01512345678' || d from generate_series(0, 2) d"
    )
    assert len({person_of(db, found) for found in threads} - {None}) == 3


@pytest.mark.parametrize(
    "statement",
    [
        f"insert into public.people (user_id, workspace_id, full_name) values ('{BOB}', '{WORKSPACE}', 'Bo')",
        "update public.people set phone = '+49 30 1234567' where full_name = 'Ann'",
        "insert into public.person_identifiers (person_id, kind, value)"
        " select id, 'email', 'ann@new.example' from public.people where full_name = 'Ann'",
        f"update public.workspaces set home_country = 'FR' where id = '{WORKSPACE}'",
        "select private.lock_conversation(id) from public.conversations where external_conversation_id = 'locked'",
        "select private.lock_person(id, 'person_id') from public.people where full_name = 'Ann'",
    ],
    ids=["person", "number", "identifier", "country", "conversation", "call"],
)
def test_service_that_changes_people_locks_their_workspace(db: Db, statement: str) -> None:
    # Its triggers take the lock, too.
    db.execute("alter table public.people disable trigger user")
    db.execute("insert into public.people (user_id, workspace_id, full_name) values (%s, %s, 'Ann')", (BOB, WORKSPACE))
    db.execute("alter table public.people enable trigger user")
    db.execute(
        "insert into public.conversations"
        " (user_id, workspace_id, scope_id, platform, external_conversation_id, participant_identifier)"
        " values (%s, %s, gen_random_uuid(), 'signal', 'locked', '@locked')",
        (MATTY, WORKSPACE),
    )
    become_service(db)
    db.execute("reset role")
    db.execute(statement)
    assert locks_matching(db, WORKSPACE)
