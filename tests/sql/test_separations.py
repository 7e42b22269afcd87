"""sql/141_separations.sql: the undo of continues leaves both conversations as they would be without it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sql.test_ingest_aliases import NEW, OLD, chat
from tests.sql.test_workspaces import make_admin, new_connection, push
from tests.support.calls import call, ingest, post
from tests.support.database import Db, rows, value
from tests.support.ingest import message, request
from tests.support.people import read_conversation
from tests.support.world import BOB, MATTY, TELEGRAM, WHATSAPP

NEWER = "972911111111"
PEOPLE = {OLD: "Ann", NEW: "Bea", NEWER: "Cal"}
# Everything that shows, but the ids and times of the database, and what says that something changed.
STATE = """
select jsonb_object_agg(c.external_conversation_id, jsonb_build_object(
    'identifier', c.participant_identifier, 'at', c.participant_identified_at, 'name', c.participant_name,
    'person', (select full_name from public.people where id = c.person_id), 'matched_by', c.matched_by,
    'identifiers', (
        select jsonb_agg(known.value order by known.value) from public.conversation_identifiers as known
        where known.conversation_id = c.id and known.value <> c.participant_identifier
    ),
    'named_at', c.participant_named_at, 'kind', c.kind,
    'updates', (
        select jsonb_agg(to_jsonb(known) - '{conversation_id,received_at}'::text[] order by external_id, type)
        from public.conversation_updates as known where known.conversation_id = c.id
    ),
    'rows', (
        select jsonb_agg(to_jsonb(stored) - '{conversation_id,received_at}'::text[] order by external_id)
        from public.conversation_messages as stored where stored.conversation_id = c.id
    ),
    'messages', c.messages, 'count', c.message_count, 'last', c.last_message_at, 'preview', c.last_message_preview
))
from public.conversations as c where c.external_conversation_id = any(%s)
"""


@pytest.fixture(autouse=True)
def _people(db: Db) -> None:
    for phone, name in PEOPLE.items():
        values = (MATTY, name, f"+{phone}")
        db.execute("insert into public.people (user_id, full_name, phone) values (%s, %s, %s)", values)


# Other conversations with names and messages of the same ids: what the tests do must not touch them.
OTHERS = """
select jsonb_agg(to_jsonb(found)) from (
    select c.id, c.version, c.participant_name, c.participant_identifier, c.person_id, c.messages,
        array(select a from private.conversation_aliases as a where a.conversation_id = c.id order by a) as aliases,
        array(select m from private.continued_messages as m where m.conversation_id = c.id order by m) as named,
        array(select u from public.conversation_updates as u where u.conversation_id = c.id order by u) as updates,
        array(select i from public.conversation_identifiers as i where i.conversation_id = c.id order by i) as known
    from public.conversations as c where c.external_conversation_id like 'other%%' order by c.id
) as found
"""


@pytest.fixture
def others(db: Db, _people: None) -> Iterator[None]:
    """Expect that other joined conversations stay as they are."""
    messages = [message(f"{number}", type="image") for number in range(1, 9)]
    for connection, second in ((WHATSAPP, "other person"), (TELEGRAM, NEW)):
        first = f"other {connection[0]}"
        for one in (
            chat(first, *messages[::2], updates=[read("1"), read("9")], participant_name="Otto"),
            chat(second, *messages[1::2], updates=[read("2"), read("6")], identifiers=lid("137180000000003")),
            chat(second, continues=first),
            chat(OLD if second == NEW else "other number", continues=second),
        ):
            assert not ingest(db, one, connection=connection).statuses[0].startswith("error")
    before = value(db, OTHERS)
    yield
    assert value(db, OTHERS) == before


def state(db: Db) -> Any:
    return value(db, STATE, list(PEOPLE))


def id_of(db: Db, name: str) -> str:
    return read_conversation(db, name)["id"]


def separate(db: Db, name: str = OLD, **fields: Any) -> Any:
    return call(db, "separate_conversation", MATTY, conversation_id=id_of(db, name), **fields)


def read(message_id: str) -> dict[str, Any]:
    return {"message_id": message_id, "type": "read", "at": "2026-02-03T10:00:00Z"}


def late(message_id: str) -> dict[str, Any]:
    return message(message_id, sent_at="2026-02-02T10:00:00Z")


def lid(digits: str) -> list[dict[str, str]]:
    return [{"kind": "whatsapp_lid", "value": f"{digits}@lid"}]


FIRST = [
    chat(OLD, message("1"), participant_name="Ann", identifiers=lid("137180000000001")),
    chat(OLD, updates=[read("1"), read("5")]),
]
SECOND = [
    chat(NEW, {**late("2"), "sequence": 7}, late("0"), participant_name="Bea", identifiers=lid("137180000000002")),
    chat(NEW, updates=[read("2"), read("6"), read("7"), {**read("0"), "type": "deleted"}]),
]
LATER = [
    chat(NEW, late("3"), participant_name="Abe"),
    chat(OLD, late("4"), participant_name="Anna"),
    chat(NEW, late("6")),
]


def said(day: int, name: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a request under the second name with a message of that day."""
    return chat(NEW, message(f"day {day}", sent_at=f"2026-02-0{day}T20:00:00Z"), participant_name=name) | fields


# Later and earlier names and identifiers: the rules of one conversation hold for each of its names.
WORDS = [
    said(6, participant_identifier="@bea", identifiers=lid("137180000000009")),
    said(5),
    said(4, "Ida"),
    said(1, "Old"),
    said(3, "Mid"),
]
JOIN = chat(NEW, continues=OLD)
ORDERS = {
    "joined before the second": [*FIRST, JOIN, *SECOND, *LATER],
    "joined after the second": [*FIRST, *SECOND, JOIN, *LATER],
    "joined before the first": [*SECOND, JOIN, *FIRST, *LATER],
    "joined in the end": [*FIRST, *SECOND, *LATER, JOIN],
    "joined with a message": [*FIRST, {**SECOND[0], "continues": OLD}, SECOND[1], *LATER],
}


ORDERS["joined before many words"] = [*FIRST, *SECOND, JOIN, *WORDS]
ORDERS["joined after many words"] = [*FIRST, *SECOND, *WORDS, JOIN]


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("order", ORDERS)
def test_separation_leaves_what_was_without_the_join(db: Db, order: str) -> None:
    with db.transaction(force_rollback=True):
        for one in ORDERS[order]:
            ingest(db, {field: given for field, given in one.items() if field != "continues"})
        expected = state(db)
    for one in ORDERS[order]:
        assert not ingest(db, one).statuses[0].startswith("error")
    joined = id_of(db, OLD)
    assert list(state(db)) == [OLD]
    known = rows(db, "select value from public.conversation_identifiers where conversation_id = %s", joined)
    assert {*known, state(db)[OLD]["identifier"]} >= {OLD, NEW, "137180000000001", "137180000000002"}
    reply = separate(db)
    assert state(db) == expected
    assert reply.data == {
        "conversation_id": joined,
        "separated_conversation_id": id_of(db, NEW),
        "external_conversation_id": NEW,
    }
    for table in ("conversation_aliases", "continued_messages"):
        left = (
            f"select count(*) from private.{table} as t inner join public.conversations as c on c.id = conversation_id"
        )
        assert value(db, f"{left} where external_conversation_id = any(%s)", list(PEOPLE)) == 0


def test_separated_conversations_stay_apart(db: Db) -> None:
    for one in [*FIRST, *SECOND, JOIN]:
        ingest(db, one)
    separate(db)
    before = state(db)
    assert ingest(db, JOIN).statuses == ["no_new_messages"]
    assert state(db) == before
    ingest(db, chat(NEW, late("7"), continues=OLD))
    assert [line["id"] for line in read_conversation(db, OLD)["messages"]] == ["1"]


def test_repeated_message_stays_with_its_first_name(db: Db) -> None:
    for one in [*FIRST, *SECOND, JOIN, chat(NEW, message("1"), late("3"))]:
        ingest(db, one)
    separate(db)
    assert [line["id"] for line in read_conversation(db, OLD)["messages"]] == ["1"]


def test_message_of_both_stays_with_the_first(db: Db) -> None:
    for one in [*FIRST, chat(NEW, message("1"), late("2")), JOIN]:
        ingest(db, one)
    separate(db)
    assert [line["id"] for line in read_conversation(db, OLD)["messages"]] == ["1"]
    assert [line["id"] for line in read_conversation(db, NEW)["messages"]] == ["2"]


def test_join_and_separation_keep_all_of_a_message(db: Db) -> None:
    far = message("far", sent_at="2099-01-01T00:00:00Z", sequence=3)
    ingest(db, chat(NEW, message("2"), far, updates=[{**read("2"), "type": "edited", "content": "new"}]))
    ingest(db, chat(NEW, message("gone"), updates=[{**read("gone"), "type": "deleted"}]))
    for table in ("conversation_messages", "conversation_updates"):
        db.execute(f"update public.{table} set received_at = '2020-01-01'")
    ingest(db, chat(OLD, message("1")))
    kept = """
        select to_jsonb(t) - 'conversation_id' from public.conversation_messages as t where external_id <> '1'
        union all select to_jsonb(t) - 'conversation_id' from public.conversation_updates as t order by 1
    """
    before = rows(db, kept)
    assert len(before) == 5
    ingest(db, JOIN)
    assert (list(state(db)), rows(db, kept)) == ([OLD], before)
    separate(db)
    assert (sorted(state(db)), rows(db, kept)) == ([NEW, OLD], before)


@pytest.mark.parametrize("is_separated", [False, True])
def test_join_in_one_connection_is_no_join_in_another(db: Db, is_separated: bool) -> None:
    names = "select id::text, external_conversation_id from public.conversations where platform = %s"
    for connection in (TELEGRAM, WHATSAPP):
        for one in [*FIRST, *SECOND, JOIN]:
            ingest(db, one, connection=connection)
        ((only, name),) = rows(db, names, connection[0])
        assert name == OLD
        if is_separated:
            assert call(db, "separate_conversation", MATTY, conversation_id=only).status == 200
            ingest(db, JOIN, connection=connection)
            assert sorted(name for _, name in rows(db, names, connection[0])) == [NEW, OLD]


def test_separation_parts_only_the_names_of_its_owner(db: Db) -> None:
    make_admin(db, BOB)
    found = "select id::text, external_conversation_id from public.conversations where user_id = %s"
    for owner in (BOB, MATTY):
        connection = new_connection(db, owner, name=f"team.{owner}")
        for one in [*FIRST, *SECOND, JOIN]:
            push(db, connection, one)
        ((own, name),) = rows(db, found, owner)
        assert name == OLD
        assert call(db, "separate_conversation", owner, conversation_id=own).status == 200
        push(db, connection, JOIN)
        assert sorted(name for _, name in rows(db, found, owner)) == [NEW, OLD]


def test_separated_conversation_stays_in_its_scope(db: Db) -> None:
    connection = new_connection(db, is_apart=True)
    for one in [*FIRST, *SECOND, JOIN]:
        push(db, connection, one)
    (joined,) = rows(db, "select id::text from public.conversations where scope_id = %s", connection["id"])
    assert call(db, "separate_conversation", MATTY, conversation_id=joined).status == 200
    assert push(db, connection, chat(NEW, late("9")))[0]["status"] == "updated"


@pytest.mark.parametrize("names", [("Ann", "Bea"), ("Bea", "Ann")], ids=str)
def test_greater_of_two_equal_names_stays_after_a_join(db: Db, names: tuple[str, str]) -> None:
    for place, name in zip((OLD, NEW), names, strict=True):
        ingest(db, chat(place, message("1"), participant_name=name))
    ingest(db, JOIN)
    assert [state(db)[OLD][field] for field in ("name", "identifier")] == ["Bea", max(OLD, NEW)]


def test_message_of_a_request_belongs_to_the_first_name(db: Db) -> None:
    for one in [*FIRST, *SECOND, JOIN, chat(NEWER, continues=OLD)]:
        ingest(db, one)
    ingest(db, chat(NEW, late("5")), chat(NEWER, late("5")))
    separate(db, external_conversation_id=NEW)
    assert "5" in [line["id"] for line in read_conversation(db, NEW)["messages"]]


GROUP = {"kind": "group", "participant_identifier": "1@g.us"}


def updates(db: Db, name: str) -> list[str]:
    known = (
        "select external_id || sender || type from public.conversation_updates where conversation_id = %s order by 1"
    )
    return rows(db, known, id_of(db, name))


def test_updates_of_a_group_stay_with_their_sender(db: Db) -> None:
    for name, sender in ((OLD, "@ann"), (NEW, "@bob")):
        waiting = [{**read(id_), "sender": sender} for id_ in ("1", "9")]
        ingest(
            db,
            chat(name, *(message(id_, sender=sender) for id_ in ("1", f"of {sender}", f"by {sender}")), updates=waiting)
            | GROUP,
        )
    ingest(db, chat(NEW, updates=[read("of @bob")]) | GROUP)
    ingest(db, chat(OLD, updates=[read("of @ann")]) | GROUP)
    before = {name: updates(db, name) for name in (OLD, NEW)}
    ingest(db, JOIN | GROUP)
    ingest(db, chat(NEW, updates=[{**read("of @ann"), "type": "delivered"}]) | GROUP)
    for id_ in ("of @bob", "by @bob"):
        ingest(db, chat(NEW, updates=[{**read(id_), "type": "delivered"}]) | GROUP)
    separate(db)
    before[OLD].append("of @anndelivered")
    before[NEW] += ["of @bobdelivered", "by @bobdelivered"]
    assert {name: updates(db, name) for name in (OLD, NEW)} == {name: sorted(known) for name, known in before.items()}


def test_equal_id_of_another_sender_moves_with_its_name(db: Db) -> None:
    ingest(db, chat(OLD, message("1", sender="@ann")) | GROUP)
    ingest(db, JOIN | GROUP)
    gone = {**read("1"), "type": "deleted"}
    ingest(db, chat(NEW, message("1", sender="@bob"), updates=[{**gone, "sender": "@bob"}]) | GROUP)
    separate(db)
    assert {name: updates(db, name) for name in (OLD, NEW)} == {OLD: [], NEW: ["1@bobdeleted"]}
    senders = {name: [line["sender"] for line in read_conversation(db, name)["messages"]] for name in (OLD, NEW)}
    assert senders == {OLD: ["@ann"], NEW: ["@bob"]}


def test_former_name_that_never_came_is_forgotten(db: Db) -> None:
    for one in SECOND:
        ingest(db, one)
    before = state(db)
    ingest(db, JOIN)
    separate(db)
    assert state(db) == before
    ingest(db, JOIN, FIRST[0])
    assert sorted(state(db)) == [NEW, OLD]


LINKS = [(NEW, OLD), (NEWER, NEW)]


@pytest.mark.parametrize("links", [LINKS, LINKS[::-1]], ids=["in order", "reversed"])
def test_later_names_leave_with_their_former_one(db: Db, links: list[tuple[str, str]]) -> None:
    for one in [*FIRST, *SECOND, chat(NEWER, late("8"))]:
        ingest(db, one)
    for name, former in links:
        ingest(db, chat(name, continues=former))
    separate(db, external_conversation_id=NEW)
    assert sorted(state(db)) == [NEW, OLD]
    assert rows(db, "select distinct name from private.continued_messages") == [NEWER]
    ingest(db, chat(NEWER, late("9")))
    assert [line["id"] for line in read_conversation(db, NEW)["messages"]] == ["0", "8", "9", "2"]
    separate(db, NEW)
    assert sorted(state(db)) == [NEWER, NEW, OLD]
    assert [line["id"] for line in read_conversation(db, NEWER)["messages"]] == ["8", "9"]


def test_last_joined_conversation_is_separated_first(db: Db) -> None:
    for one in [*FIRST, *SECOND, JOIN, chat(NEWER, late("8"), continues=OLD)]:
        ingest(db, one)
    assert separate(db).data["external_conversation_id"] == NEWER
    assert separate(db).data["external_conversation_id"] == NEW
    assert separate(db).error == (409, "conversation_not_continued", "external_conversation_id")


def test_name_without_messages_keeps_its_identifier(db: Db) -> None:
    for one in (*FIRST, JOIN | {"participant_identifier": "@tom"}):
        ingest(db, one)
    separate(db)
    assert read_conversation(db, NEW)["participant_identifier"] == "@tom"


def test_names_that_stay_keep_what_came_under_them(db: Db) -> None:
    tom = {"participant_identifier": "@tom"}
    given = [
        *FIRST,
        chat(NEW, late("2"), updates=[read("6")]) | tom,
        chat(NEWER, message("8", sent_at="2026-02-05T10:00:00Z"), updates=[read("9")]),
    ]
    for one in given:
        ingest(db, one)
    apart = state(db)
    ingest(db, JOIN | tom)
    joined = state(db)[OLD]
    ingest(db, chat(NEWER, continues=OLD))
    separate(db, external_conversation_id=NEWER)
    assert state(db) == {OLD: joined, NEWER: apart[NEWER]}
    ingest(db, chat(NEWER, late("10")))
    separate(db)
    del apart[NEWER]
    assert {name: found for name, found in state(db).items() if name != NEWER} == apart


def test_only_members_separate_a_conversation(db: Db) -> None:
    for one in [*FIRST, *SECOND, JOIN]:
        ingest(db, one)
    reply = call(db, "separate_conversation", BOB, conversation_id=id_of(db, OLD))
    assert reply.error == (404, "conversation_not_found", "conversation_id")
    assert separate(db, external_conversation_id=OLD).error[1] == "conversation_not_continued"


def test_separation_by_service_role_is_broadcast(db: Db) -> None:
    for one in [*FIRST, *SECOND, JOIN]:
        ingest(db, one)
    db.execute("delete from realtime.messages")
    assert call(db, "separate_conversation", None, conversation_id=id_of(db, OLD)).status == 200
    sent = "select payload #>> '{conversation,external_conversation_id}' from realtime.messages where topic = %s"
    assert OLD in rows(db, sent, f"inbox:{MATTY}")


def test_file_of_a_message_moves_with_it(db: Db) -> None:
    images = [{**late(number), "type": "image"} for number in "089"]
    others = [chat(name, image) for name, image in zip((NEW, NEWER, "other"), images, strict=True)]
    post(db, json.dumps(request(FIRST[0], *others, media_uploads=True)).encode())
    owners = "select conversation_id::text from private.conversation_media order by external_id"
    ingest(db, JOIN)
    ingest(db, chat(NEWER, continues=OLD))
    assert rows(db, owners) == [id_of(db, name) for name in (OLD, OLD, "other")]
    separate(db, external_conversation_id=NEW)
    assert rows(db, owners) == [id_of(db, name) for name in (NEW, OLD, "other")]


def test_file_of_a_group_moves_with_its_sender(db: Db) -> None:
    for name, sender in ((OLD, "@ann"), (NEW, "@bob")):
        given = chat(name, message("1", sender=sender, type="image")) | GROUP
        post(db, json.dumps(request(given, media_uploads=True)).encode())
        ingest(db, JOIN | GROUP)
    separate(db)
    owners = rows(db, "select sender, conversation_id::text from private.conversation_media order by 1")
    assert owners == [("@ann", id_of(db, OLD)), ("@bob", id_of(db, NEW))]


def test_file_keeps_its_path_after_the_separation(db: Db) -> None:
    photo = {**late("8"), "type": "image"}
    for one in (FIRST[0], JOIN):
        ingest(db, one)
    paths = []
    for name in (NEW, OLD, OLD):
        body = request(chat(name, photo), media_uploads=True)
        paths += [file["path"] for file in post(db, json.dumps(body).encode()).body["results"][0]["uploads"]]
        if name == NEW:
            separate(db)
    assert (paths[0] == paths[1], paths[1] == paths[2]) == (False, True)
    owners = dict(rows(db, "select path, conversation_id::text from private.conversation_media"))
    assert owners == {paths[0]: id_of(db, NEW), paths[1]: id_of(db, OLD)}


def test_separated_group_keeps_messages_and_participants(db: Db) -> None:
    group = {"kind": "group", "participant_identifier": "1@g.us"}
    phone = f"+{OLD}"  # of a person
    given = [message("1", sender="@ann"), message("2", sender="@bob"), message("3", sender=phone)]
    left = {"identifier": "@ann", "state": "left", "at": "2026-09-01T00:00:00Z"}
    ingest(db, chat(OLD, *given, participants=[left]) | group)
    ingest(db, chat(NEW, message("1", sender="@bob")) | group)
    ingest(db, JOIN | group)
    separate(db)
    senders = {name: [line["sender"] for line in read_conversation(db, name)["messages"]] for name in (OLD, NEW)}
    assert senders == {OLD: ["@ann", "@bob", phone], NEW: ["@bob"]}
    assert [read_conversation(db, name)["kind"] for name in (OLD, NEW)] == ["group"] * 2
    known = """
        select jsonb_agg(to_jsonb(known) - 'conversation_id' order by identifier)
        from private.group_participants as known where conversation_id = %s
    """
    old, new = (value(db, known, id_of(db, name)) for name in (OLD, NEW))
    assert old == new
    assert [(line["identifier"], line["matched_by"], line["has_left"]) for line in new] == [
        (phone, "phone", False), ("@ann", None, True), ("@bob", None, False),
    ]  # fmt: skip
