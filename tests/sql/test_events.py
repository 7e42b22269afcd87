"""The event log of sql/240_messages.sql: each change writes one event, in order, in its transaction."""

from typing import Any

import pytest

from tests.support.calls import call, send
from tests.support.database import Db, become, become_postgres, rows, value
from tests.support.event_log import events, inconsistencies, last_seq
from tests.support.world import BOB, CHANNEL, MATTY, MESSAGE, TWIN

CALLS: list[tuple[str, dict[str, Any], list[tuple[str, str | None]]]] = [
    ("create_message", {"channel_id": CHANNEL, "content": "x"}, [("message.created", None)]),
    ("reply_to_message", {"id": MESSAGE, "content": "x"}, [("message.created", None)]),
    ("edit_message", {"id": MESSAGE, "content": "x"}, [("message.updated", None)]),
    ("delete_message", {"id": MESSAGE}, [("message.deleted", None)]),
    ("pin_message", {"id": MESSAGE}, [("message.pinned", None)]),
    ("add_reaction", {"id": MESSAGE, "emoji": "fire"}, [("reaction.added", "fire")]),
    ("toggle_reaction", {"id": MESSAGE, "emoji": "fire"}, [("reaction.added", "fire")]),
    ("list_messages", {"channel_id": CHANNEL}, []),
    ("get_message", {"id": MESSAGE}, []),
    ("list_message_edits", {"id": MESSAGE}, []),
    ("unpin_message", {"id": MESSAGE}, []),
    ("remove_reaction", {"id": MESSAGE, "emoji": "fire"}, []),
]


@pytest.mark.parametrize(("function", "fields", "expected"), CALLS)
def test_call_writes_one_event_or_no_event(
    db: Db, function: str, fields: dict[str, Any], expected: list[tuple[str, str | None]]
) -> None:
    before = last_seq(db)
    assert call(db, function, **fields).status in {200, 201}
    found = events(db, after=before)
    assert [(kind, emoji) for kind, _, _, emoji in found] == expected
    assert {actor for _, _, actor, _ in found} <= {MATTY}
    assert inconsistencies(db) == []


@pytest.mark.parametrize(
    ("before", "function", "fields", "kind"),
    [
        ("pin_message", "unpin_message", {"id": MESSAGE}, "message.unpinned"),
        ("add_reaction", "remove_reaction", {"id": MESSAGE, "emoji": "fire"}, "reaction.removed"),
        ("add_reaction", "toggle_reaction", {"id": MESSAGE, "emoji": "fire"}, "reaction.removed"),
    ],
    ids=["unpin_message", "remove_reaction", "toggle_reaction"],
)
def test_undoing_an_action_writes_one_event(
    db: Db, before: str, function: str, fields: dict[str, Any], kind: str
) -> None:
    call(db, before, **fields)
    seq = last_seq(db)
    call(db, function, **fields)
    assert [event[:3] for event in events(db, after=seq)] == [(kind, MESSAGE, MATTY)]


def test_deleting_a_pinned_message_writes_one_event(db: Db) -> None:
    call(db, "pin_message", id=MESSAGE)
    call(db, "add_reaction", BOB, id=MESSAGE, emoji="fire")
    before = last_seq(db)
    call(db, "delete_message", id=MESSAGE)
    assert events(db, after=before) == [("message.deleted", MESSAGE, MATTY, None)]
    assert inconsistencies(db) == []


@pytest.mark.parametrize(
    ("function", "fields"),
    [
        ("create_message", {"channel_id": CHANNEL, "content": ""}),
        ("create_message", {"channel_id": CHANNEL, "content": "x", "parent_message_id": TWIN}),
        ("edit_message", {"id": MESSAGE, "content": "x", "user_id": BOB}),
        ("delete_message", {"id": TWIN}),
        ("add_reaction", {"id": MESSAGE, "emoji": "x" * 65}),
    ],
)
def test_failed_call_writes_no_event(db: Db, function: str, fields: dict[str, Any]) -> None:
    before = last_seq(db)
    assert call(db, function, **fields).status >= 400
    assert last_seq(db) == before
    assert inconsistencies(db) == []


def test_rolled_back_call_writes_no_event(db: Db) -> None:
    before = last_seq(db)
    with db.transaction(force_rollback=True):
        send(db)
        assert last_seq(db) == before + 1
    assert (last_seq(db), events(db, after=before)) == (before, [])


def test_clients_read_the_same_events_in_order(db: Db) -> None:
    everything = events(db)
    become(db, BOB)
    assert events(db) == everything != []
    become_postgres(db)
    seqs = rows(db, "select seq from public.message_events where channel_id = %s order by created_at, seq", CHANNEL)
    assert seqs == list(range(1, len(everything) + 1))


def test_each_channel_has_its_own_numbers(db: Db) -> None:
    become(db, BOB)
    other = rows(db, "insert into public.channels (name) values ('other') returning id::text")[0]
    become_postgres(db)
    here = last_seq(db)
    send(db, channel_id=other, who=BOB)
    send(db)
    assert (last_seq(db, other), last_seq(db)) == (2, here + 1)


def test_thousand_members_are_listed_and_no_more(db: Db) -> None:
    # Only the list is looked at, so these members need no users.
    db.execute("alter table public.channel_members drop constraint channel_members_user_id_fkey, disable trigger user")
    add = """
        insert into public.channel_members (channel_id, user_id)
        select %s, gen_random_uuid()
        from generate_series(1, %s - (select count(*) from public.channel_members where channel_id = %s))
    """
    counts = []
    for number in (1000, 1001):
        db.execute(add, (CHANNEL, number, CHANNEL))
        counts.append(value(db, "select cardinality(private.list_listening_members(%s))", CHANNEL))
    assert counts == [1000, None]
