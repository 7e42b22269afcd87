"""sql/125 to sql/127: keys and matches agree with people after each change, and the calls answer what they did."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.calls import call, ingest
from tests.support.database import Db, become, become_postgres, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import add_conversation, add_person
from tests.support.world import BOB, MATTY, WORKSPACE

PHONES = ["+1 555 000 000" + str(number) for number in range(6)]
EMAIL = "ann@x.example"
ADD = "insert into public.people (user_id, workspace_id, full_name, phone) values (%s, %s, %s, %s) returning id::text"
DIFFERENCES = """
with wanted as (
    select * from private.list_person_keys(array(select id from public.people))
), kept as (
    select workspace_id, key, person_id, extension from private.person_keys
)
select 'key', row(found.*)::text
from ((table wanted except table kept) union all (table kept except table wanted)) as found
union all
select 'conversation', external_conversation_id
from public.conversations as c
where (c.person_id, c.matched_by) is distinct from (
    (private.match_conversation(c)).person_id, (private.match_conversation(c)).reason
)
union all
select 'participant', known.identifier
from private.group_participants as known
inner join public.conversations as c on known.conversation_id = c.id
cross join lateral private.match_identifiers(
    c.workspace_id, c.platform,
    private.identify(c.platform, known.identifier) || private.list_given_identifiers(known.identifiers)
) as match
where (known.person_id, known.matched_by) is distinct from (match.person_id, match.reason)
"""
MATCHED = """
select count(*)::integer from (
    select person_id from public.conversations union all select person_id from private.group_participants
) as found where person_id is not null
"""


def people(db: Db) -> dict[str, str]:
    return dict(rows(db, "select full_name, id::text from public.people"))


def run(statement: str, *names: str) -> Callable[[Db], Any]:
    """Run a statement with the ids of people."""
    return lambda db: db.execute(statement, [people(db).get(name, name) for name in names])


def calls(function: str, **names: str) -> Callable[[Db], Any]:
    """Call a function with the ids of people."""

    def change(db: Db) -> None:
        reply = call(db, function, None, **{field: people(db).get(name, name) for field, name in names.items()})
        become_postgres(db)
        assert reply.status == 200, reply.body

    return change


IDENTIFIER = "insert into public.person_identifiers (person_id, kind, value) values (%s, %s, %s)"
PHONE = "update public.people set phone = %s where id = %s"
MERGED = "update public.people set merged_into_id = %s where id = %s"
STEPS: list[tuple[str, Callable[[Db], Any], int]] = [
    ("add one", run(ADD, BOB, BOB, "a", PHONES[0]), 1),
    ("add one of another workspace", run(ADD, MATTY, WORKSPACE, "w", PHONES[0]), 2),
    (
        "add several",
        run(
            f"insert into public.people (user_id, workspace_id, full_name, phone) values ('{BOB}', '{BOB}', 'b', %s),"
            f" ('{MATTY}', '{WORKSPACE}', 'v', %s), ('{BOB}', '{BOB}', 'c', null)",
            PHONES[1],
            PHONES[1],
        ),
        4,
    ),
    ("add an address", run(IDENTIFIER, "c", "email", EMAIL), 5),
    ("add a number", run(IDENTIFIER, "c", "phone", PHONES[2]), 8),
    ("change a number", run(PHONE, PHONES[3], "a"), 8),
    ("lose a country", run(PHONE, "(555) 000-0003", "a"), 8),
    ("have the number of another", run(PHONE, PHONES[2], "b"), 4),
    ("merge the two", calls("merge_people", person_id="b", merged_person_id="c"), 7),
    ("merge both into a third", calls("merge_people", person_id="a", merged_person_id="b"), 7),
    ("merge a part elsewhere", run(MERGED, "a", "c"), 7),
    ("unmerge", calls("unmerge_people", person_id="b"), 4),
    ("unmerge the other", calls("unmerge_people", person_id="c"), 4),
    ("change a number with a call", calls("change_number", person_id="b", phone=PHONES[4]), 4),
    ("undo it", calls("undo_number_change", person_id="b"), 4),
    ("have a number of no conversation", run(PHONE, PHONES[5], "b"), 7),
    ("change the default country", run("update private.settings set default_country = 'DE'"), 7),
    ("change a home country", run(f"update public.workspaces set home_country = 'US' where id = '{BOB}'"), 7),
    ("lose an address", run("delete from public.person_identifiers where person_id = %s and kind = 'email'", "c"), 6),
    ("move", run(f"update public.people set workspace_id = '{WORKSPACE}', user_id = '{MATTY}' where id = %s", "b"), 6),
    ("have two numbers", run(PHONE, f"{PHONES[0]} / {PHONES[1]}", "a"), 7),
    ("be deleted with a merged one", calls("merge_people", person_id="a", merged_person_id="c"), 7),
    ("add an id to the merged one", run(IDENTIFIER, "c", "telegram_id", "5"), 7),
    ("leave the merged one alone", run("delete from public.people where id = %s", "a"), 5),
    ("merge two others", calls("merge_people", person_id="w", merged_person_id="v"), 5),
    ("lose the merged one", run("delete from public.people where id = %s", "v"), 4),
    ("change all", run("update public.people set phone = null"), 3),
    ("be deleted", run("delete from public.people"), 0),
]


def test_keys_and_matches_agree_after_each_change(db: Db) -> None:
    db.execute("delete from public.people")
    for place, phone in enumerate(PHONES[:4]):
        ingest(db, conversation(message(), external_id=str(place), participant_identifier=phone))
    db.execute(
        "update public.conversations set user_id = %s, workspace_id = %s, scope_id = %s", (MATTY, WORKSPACE, WORKSPACE)
    )
    db.execute("update public.conversation_messages set workspace_id = %s", (WORKSPACE,))
    for phone in (*PHONES[:4], EMAIL):
        add_conversation(db, phone)
    group = {"kind": "group", "external_id": "group"}
    senders = [
        {"identifier": "@ann", "identifiers": [{"kind": "phone", "value": PHONES[2]}]},
        {"identifier": PHONES[2]},
    ]
    ingest(db, conversation(participants=senders, **group))
    db.execute("update private.group_participants set workspace_id = %s", (BOB,))
    db.execute("update public.conversations set user_id = %s, workspace_id = %s where kind = 'group'", (BOB, BOB))
    found = []
    for name, change, _ in STEPS:
        change(db)
        assert rows(db, DIFFERENCES) == [], name
        found.append((name, value(db, MATCHED)))
    assert found == [(name, matched) for name, _, matched in STEPS]


def answer(db: Db, function: str, who: str | None = BOB, **fields: Any) -> Any:
    reply = call(db, function, who, **{name: str(given) for name, given in fields.items()})
    become_postgres(db)
    return reply.data if reply.status == 200 else reply.error


@pytest.mark.parametrize("who", [BOB, None])
def test_calls_answer_whom_they_changed(db: Db, who: str | None) -> None:
    one, other = (str(add_person(db, phone)) for phone in PHONES[:2])
    both = {"person_id": one, "merged_person_id": other}
    assert answer(db, "merge_people", who, **both) == both
    assert answer(db, "unmerge_people", who, person_id=other) == both
    changed = answer(db, "change_number", who, person_id=one, phone=PHONES[2])
    assert changed == {"person_id": one, "phone": PHONES[2], "former_phone": PHONES[0]}
    assert answer(db, "undo_number_change", who, person_id=one) == {"person_id": one, "phone": PHONES[0]}


def test_people_of_two_workspaces_are_not_merged(db: Db) -> None:
    own, team = (value(db, ADD, who, place, "x", None) for who, place in ((BOB, BOB), (MATTY, WORKSPACE)))
    for who in (BOB, None):
        refused = answer(db, "merge_people", who, person_id=own, merged_person_id=team)
        assert refused == (404, "person_not_found", "merged_person_id")


def test_undo_goes_back_change_by_change(db: Db) -> None:
    person = add_person(db, PHONES[0])
    db.execute(IDENTIFIER, (person, "phone", PHONES[1]))
    for phone in (PHONES[1], PHONES[2], PHONES[1]):
        answer(db, "change_number", person_id=person, phone=phone)
    known = "select value from public.person_identifiers order by value"
    states = []
    for _ in range(4):
        states.append((value(db, "select phone from public.people where id = %s", person), rows(db, known)))
        undone = answer(db, "undo_number_change", person_id=person)
    assert states == [
        (PHONES[1], PHONES[:3]),
        (PHONES[2], PHONES[:2]),
        (PHONES[1], PHONES[:2]),
        (PHONES[0], [PHONES[1]]),
    ]
    assert undone == (409, "number_not_changed", "person_id")


@pytest.mark.parametrize("former", [None, "@ann"])
def test_former_text_that_is_no_number_is_no_identifier(db: Db, former: str | None) -> None:
    person = add_person(db, former)
    changed = answer(db, "change_number", person_id=person, phone=PHONES[0])
    assert (changed["former_phone"], rows(db, "select value from public.person_identifiers")) == (former, [])
    db.execute("update public.people set phone = null where id = %s", (person,))
    assert answer(db, "undo_number_change", person_id=person)[1] == "number_not_changed"
    for phone in (f"{PHONES[0]}{' ' * 99}", "1" * 101, "@ann", ""):
        assert answer(db, "change_number", person_id=person, phone=phone) == (400, "invalid_field", "phone")


def test_member_adds_people_of_the_own_workspaces_only(db: Db) -> None:
    become(db, BOB)
    # Without RETURNING, which would need the policy for SELECT, too.
    add = "insert into public.people (workspace_id, full_name) values (%s, 'x')"
    for place in (BOB, WORKSPACE):
        db.execute(add, (place,))
    assert rows(db, "select user_id::text from public.people where full_name = 'x'") == [BOB, BOB]
    refused(db, add, MATTY)


LATE = "insert into private.late_matches (conversation_id, workspace_id) values (%s, %s)"


def test_late_matches_are_done_in_portions(db: Db) -> None:
    person = add_person(db, PHONES[0])
    found = sorted(str(add_conversation(db, PHONES[0])) for _ in range(3))
    other = str(add_conversation(db, PHONES[0], MATTY))
    db.execute("update public.conversations set person_id = null, matched_by = null")
    for id_, place in (*((each, BOB) for each in found), (other, MATTY), (str(person), BOB)):
        db.execute(LATE, (id_, place))
    counts = [value(db, "select private.match_late_conversations(2)") for _ in range(4)]
    assert (sum(counts), max(counts), counts[-1]) == (4, 2, 0)
    matched = "select id::text from public.conversations where person_id = %s order by id::text"
    assert rows(db, matched, person) == found
    assert rows(db, "select conversation_id from private.late_matches") == []


def test_ingest_that_matches_later_notes_what_it_knows(db: Db) -> None:
    ingest(db, conversation(message(), external_id="known"))
    db.execute("select set_config('threadline.matches_later', 'on', true)")
    known = value(db, "select id from public.conversations where external_conversation_id = 'known'")
    add = "select private.record_identifiers(array[%s]::uuid[], array[row(%s, %s, '')::private.identifier])"
    for kind, text in (("other", "@x"), ("phone", "+15550000000")):
        db.execute(add, (known, kind, text))
        expected = [] if kind == "other" else [known]
        assert rows(db, "select conversation_id from private.late_matches") == expected
    team = value(
        db,
        "insert into public.conversations"
        " (user_id, workspace_id, platform, external_conversation_id, participant_identifier)"
        " values (%s, %s, 'signal', 'team', '@x') returning id",
        MATTY,
        WORKSPACE,
    )
    late = "select workspace_id::text from private.late_matches where conversation_id = %s"
    assert rows(db, late, team) == [WORKSPACE]
    keys = "select key from public.conversation_identifiers where conversation_id = %s order by kind"
    assert rows(db, keys, known) == [None, "phone:000000"]
