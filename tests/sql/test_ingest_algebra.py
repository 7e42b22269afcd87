"""Split, repeated and shuffled requests all end in the same database state.

A few lines of Python are the model of that state. It shares no code with the SQL.
"""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.calls import ingest
from tests.support.database import Db, rows, value
from tests.support.ingest import conversation, message
from tests.support.world import API_KEY, JOHN_DOE, MATTY, WHATSAPP

PROPERTY = settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example is rolled back
)
THREADS = ["a", "b", "c"]
NUMBER = "+1 (234) 567-890"
IDENTIFIERS = {NUMBER: JOHN_DOE, "@ann": None, "@bea": None}
PUNCTUATION = str.maketrans("", "", " ()-")
NAMES = [None, "", "Ann", "Bea"]
STATE = """
select jsonb_object_agg(c.external_conversation_id, jsonb_build_object(
    'identifier', c.participant_identifier, 'person', c.person_id, 'name', c.participant_name,
    'seen', (
        select jsonb_agg(seen.value order by seen.value collate "C")
        from (
            select value from public.conversation_identifiers as other where other.conversation_id = c.id
            union
            select (private.identify_any(c.platform, c.participant_identifier)).value
        ) as seen
    ),
    'messages', c.messages, 'count', c.message_count, 'last', c.last_message_at, 'preview', c.last_message_preview
))
from public.conversations as c
"""

OTHER = ("whatsapp", "wa_of_the_same_owner")

Conversation = dict[str, Any]


def sent(thread: str, number: int) -> dict[str, Any]:
    """Draw a message that depends only on its id; sequence orders those of one minute."""
    return message(
        f"m{number}",
        content=f"{thread}{number}",
        sent_at=f"2026-02-01T10:0{number * 3 % 5}:00+00:00",
        sequence=number * 7 % 10,
    )


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    thread = draw(st.sampled_from(THREADS))
    numbers = draw(st.lists(st.integers(0, 9), max_size=5, unique=True))
    return conversation(
        *(sent(thread, number) for number in numbers),
        external_id=thread,
        participant_identifier=draw(st.sampled_from(list(IDENTIFIERS))),
        participant_name=draw(st.sampled_from(NAMES)),
    )


@st.composite
def journeys(draw: st.DrawFn) -> tuple[list[Conversation], list[list[Conversation]]]:
    """Draw conversations, and requests that contain each of their messages at least once."""
    whole = draw(st.lists(conversations(), min_size=1, max_size=5))
    pieces = []
    for one in whole:
        # Each message goes into the first piece, the second, or both.
        places = draw(st.lists(st.sampled_from([{0}, {1}, {0, 1}]), min_size=5, max_size=5))
        for piece in (0, 1):
            there = [line for line, place in zip(one["messages"], places, strict=False) if piece in place]
            pieces.append({**one, "messages": draw(st.permutations(there))})
    pieces = draw(st.permutations(pieces + draw(st.lists(st.sampled_from(pieces), max_size=2))))
    requests: list[list[Conversation]] = [[]]
    for piece, is_next in zip(pieces, draw(st.lists(st.booleans(), min_size=12, max_size=12)), strict=False):
        if is_next:
            requests.append([])
        requests[-1].append(piece)
    return whole, requests


def model(given_conversations: list[Conversation]) -> dict[str, Any]:
    """Return the state that these conversations produce."""
    state = {}
    for thread in {one["external_conversation_id"] for one in given_conversations}:
        own = [one for one in given_conversations if one["external_conversation_id"] == thread]
        lines = {line["id"]: line for one in own for line in one["messages"]}
        ordered = sorted(lines.values(), key=lambda line: (line["sent_at"], line["sequence"]))
        newest = [max((line["sent_at"] for line in one["messages"]), default="") for one in own]
        # A phone number wins over a username, then the newest batch.
        identifiers = [
            (one["participant_identifier"] == NUMBER, at, one["participant_identifier"])
            for at, one in zip(newest, own, strict=True)
        ]
        names = [(at, one["participant_name"]) for at, one in zip(newest, own, strict=True) if one["participant_name"]]
        identifier = max(identifiers)[2]
        state[thread] = {
            "identifier": identifier,
            "person": IDENTIFIERS[identifier],
            "name": max(names)[1] if names else None,
            "seen": sorted({one["participant_identifier"].translate(PUNCTUATION) for one in own}),
            "messages": ordered,
            "count": len(ordered),
            "last": ordered[-1]["sent_at"] if ordered else None,
            "preview": ordered[-1]["content"] if ordered else None,
        }
    return state


def add_connection(db: Db) -> None:
    """Create a second connection of the same owner."""
    db.execute(
        """
        with connection as (
            insert into public.messaging_connections (user_id, platform, connection_id) values (%s, %s, %s)
            returning id
        )
        insert into private.messaging_keys (connection_id, secret_hash)
        select connection.id, private.hash_secret(%s) from connection
        """,
        (MATTY, *OTHER, API_KEY),
    )


@PROPERTY
@given(journey=journeys())
def test_every_order_of_requests_ends_in_the_same_state(db: Db, journey: Any) -> None:
    whole, requests = journey
    with db.transaction(force_rollback=True):
        add_connection(db)
        for number, request in enumerate(requests):
            ingest(db, *request, connection=(WHATSAPP, OTHER)[number % 2])
        assert value(db, STATE) == model(whole)


@PROPERTY
@given(journey=journeys())
def test_answers_count_every_message_once(db: Db, journey: Any) -> None:
    whole, requests = journey
    with db.transaction(force_rollback=True):
        results = [result for request in requests for result in ingest(db, *request).body["results"]]
    expected = model(whole)
    assert sum(result["messages_added"] for result in results) == sum(thread["count"] for thread in expected.values())
    assert [result["status"] for result in results].count("created") == len(expected)
    assert not any("conflicting_message_ids" in result for result in results)


@PROPERTY
@given(journey=journeys())
def test_sending_everything_again_changes_nothing(db: Db, journey: Any) -> None:
    _, requests = journey
    places = "select ctid::text, xmin::text from public.conversations order by id"
    with db.transaction(force_rollback=True):
        for request in requests:
            ingest(db, *request)
        before = rows(db, places)
        statuses = {status for request in requests for status in ingest(db, *request).statuses}
        assert (statuses, rows(db, places)) == ({"no_new_messages"}, before)
