"""Two sessions: which change waits for another one, and what it sees afterwards."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.sql.test_attachments import channel_of, upload
from tests.sql.test_clean_up import KINDS, make
from tests.sql.test_summaries import begin
from tests.support.calls import ask, call, ingest, send
from tests.support.cluster import TestCluster
from tests.support.database import Db, become, become_postgres, become_service, rows, value
from tests.support.ingest import conversation, message
from tests.support.people import add_conversation, person_of
from tests.support.world import BOB, CHANNEL, JOHN_DOE, MALLORY, MATTY, MESSAGE, TWIN, UNKNOWN_ID, WORKSPACE

PHONE = "select phone from public.people where id = %s"
ADD = """
insert into public.conversation_messages (conversation_id, workspace_id, external_id, sent_at, message)
values (%s, %s, gen_random_uuid()::text, %s, '{}')
"""


@pytest.fixture
def sessions(cluster: TestCluster, fresh_database: str) -> Iterator[tuple[Db, Db]]:
    """Two sessions of role postgres in a database of their own."""
    url = cluster.url(fresh_database, "postgres")
    with psycopg.connect(url) as first, psycopg.connect(url) as second:
        yield first, second


def finish_after(first: Db, second: Db, act: Callable[[], Any], then: Callable[[], Any] = lambda: None) -> Any:
    """Start what the second session does, go on in the first and commit it when the second waits, return the result."""
    with ThreadPoolExecutor(1) as pool:
        doing = pool.submit(act)
        is_waiting = "select cardinality(pg_blocking_pids(%s)) > 0"
        while not (doing.done() or value(first, is_waiting, second.info.backend_pid)):
            pass
        then()
        first.commit()
        return doing.result(timeout=20)


def test_conversation_does_not_match_a_deleted_person(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    phone = value(first, PHONE, JOHN_DOE)
    first.execute("delete from public.people where id = %s", (JOHN_DOE,))
    added = finish_after(first, second, lambda: add_conversation(second, phone, MATTY))
    assert person_of(second, added) is None


def test_erasure_of_a_person_includes_an_ingest_under_way(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    phone = value(first, PHONE, JOHN_DOE)
    assert ingest(first, conversation(message(), participant_identifier=phone)).statuses == ["created"]
    reply = finish_after(first, second, lambda: call(second, "erase_person", MATTY, person_id=JOHN_DOE))
    counted = {"people": 1, "conversations": 1, "conversation_messages": 1}
    assert reply.data["erased"] == {**reply.data["erased"], **counted}


def test_summary_keeps_a_newer_message_of_another_writer(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    chat = add_conversation(first, "@somebody")
    first.commit()
    first.execute(ADD, (chat, BOB, "2026-02-01T12:00Z"))
    finish_after(first, second, lambda: second.execute(ADD, (chat, BOB, "2026-02-01T11:00Z")))
    kept = "select message_count, to_char(last_message_at at time zone 'UTC', 'HH24') from public.conversations"
    assert rows(second, f"{kept} where id = %s", chat) == [(2, "12")]


def test_member_who_is_removed_meanwhile_edits_nothing(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    said = send(first, who=BOB)
    become_postgres(first)
    first.commit()
    first.execute("delete from public.channel_members where (channel_id, user_id) = (%s, %s)", (CHANNEL, BOB))
    reply = finish_after(first, second, lambda: call(second, "edit_message", BOB, id=said, content="Late"))
    assert reply.error == (404, "message_not_found", None)


@pytest.mark.parametrize(
    "add",
    ["message_reactions (message_id, emoji) values (%s, 'fire')", "message_pins (message_id) values (%s)"],
    ids=["reaction", "pin"],
)
def test_member_who_is_removed_meanwhile_adds_nothing(sessions: tuple[Db, Db], add: str) -> None:
    first, second = sessions
    first.execute("delete from public.channel_members where (channel_id, user_id) = (%s, %s)", (CHANNEL, BOB))
    become(second, BOB)
    with pytest.raises(InsufficientPrivilege):
        finish_after(first, second, lambda: second.execute(f"insert into public.{add}", (MESSAGE,)))


@pytest.mark.parametrize(
    ("limit", "statement"),
    [
        ("user_max_twins", "insert into public.ai_twins (display_name) values (%s)"),
        (
            "user_max_twin_channels",
            "insert into public.channel_twins (channel_id, ai_twin_id)"
            " select channel.id, twin.id from public.channels as channel, public.ai_twins as twin"
            " where twin.display_name = 'new' and channel.name = %s",
        ),
    ],
    ids=["twins", "channels"],
)
def test_twins_made_at_once_stay_below_the_maximum(sessions: tuple[Db, Db], limit: str, statement: str) -> None:
    first, second = sessions
    become(first, MATTY)
    first.execute("insert into public.ai_twins (display_name) values ('new')")
    first.execute("insert into public.channels (name) values ('one'), ('two')")
    become_postgres(first)
    table = "ai_twins" if limit == "user_max_twins" else "channel_twins"
    first.execute(f"update private.settings set {limit} = 1 + (select count(*) from public.{table})")
    first.commit()
    become(first, MATTY)
    become(second, MATTY)
    assert first.execute(statement, ("one",)).rowcount == 1
    with pytest.raises(psycopg.Error) as stopped:
        finish_after(first, second, lambda: second.execute(statement, ("two",)))
    assert stopped.value.sqlstate == "PT409"


def test_owners_who_leave_at_once_leave_one_behind(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    become(first, MATTY)
    team = value(first, "select public.create_workspace('Two')")["id"]
    become_postgres(first)
    first.execute(
        "insert into public.workspace_members (workspace_id, user_id, role) values (%s, %s, 'owner')", (team, BOB)
    )
    first.commit()
    leave = "delete from public.workspace_members where workspace_id = %s and user_id = %s"
    become(first, MATTY)
    first.execute(leave, (team, MATTY))
    become(second, BOB)
    with pytest.raises(psycopg.Error, match="needs an owner"):
        finish_after(first, second, lambda: second.execute(leave, (team, BOB)))


def test_owners_of_a_channel_who_step_down_at_once_leave_one(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    first.execute("update public.channel_members set role = 'owner' where channel_id = %s", (CHANNEL,))
    first.execute("delete from public.channel_members where user_id not in (%s, %s)", (MATTY, BOB))
    first.commit()
    step_down = "update public.channel_members set role = 'member' where (channel_id, user_id) = (%s, %s)"
    become(first, MATTY)
    first.execute(step_down, (CHANNEL, MATTY))
    become(second, BOB)
    with pytest.raises(psycopg.Error, match="needs an owner"):
        finish_after(first, second, lambda: second.execute(step_down, (CHANNEL, BOB)))


def test_invitation_is_used_by_one_of_two_at_once(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    become(first, MATTY)
    token = value(first, "select public.create_invitation(%s)", WORKSPACE)["token"]
    first.commit()
    accept = "select public.accept_invitation(%s)"
    become(first, MALLORY)
    first.execute(accept, (token,))
    become(second, UNKNOWN_ID)
    with pytest.raises(psycopg.Error, match="was used"):
        finish_after(first, second, lambda: second.execute(accept, (token,)))


def test_clean_up_skips_a_channel_that_another_session_holds(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    send(first)
    first.commit()
    first.execute("select from private.channel_counters for update")
    second.execute("set lock_timeout = '5s'")
    clean_up = "select private.delete_old_messages(%s, now() + interval '1 day', 1000)"
    assert value(second, clean_up, WORKSPACE) == 0
    first.commit()
    assert value(second, clean_up, WORKSPACE) > 0


def test_late_match_skips_a_conversation_that_is_locked(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    both = [add_conversation(first, "@somebody") for _ in range(2)]
    first.execute("insert into private.late_matches select id, workspace_id from public.conversations")
    first.commit()
    first.execute("select from public.conversations where id = %s for update", both[:1])
    second.execute("set lock_timeout = '5s'")
    assert value(second, "select private.match_late_conversations(10)") == 1
    assert rows(second, "select conversation_id from private.late_matches") == both[:1]


def test_clean_up_skips_a_file_that_is_locked(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    chat = add_conversation(first, "@somebody")
    first.execute(
        "insert into private.conversation_media (path, conversation_id, workspace_id, external_id, sender)"
        " select name, %s, %s, name, '' from unnest(array['held', 'free']) as name",
        (chat, BOB),
    )
    first.commit()
    first.execute("select from private.conversation_media where path = 'held' for update")
    second.execute("set lock_timeout = '5s'")
    second.execute("select private.delete_media(10, '-1 minute')")
    assert rows(second, "select path from private.conversation_media") == ["held"]


def test_queue_of_a_locked_delivery_is_not_leased(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    ask(first, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url="https://twin.example/hook")
    said = send(first)
    first.commit()
    first.execute("select from public.twin_deliveries for update")
    claim = "select private.claim_deliveries(10, '1 minute')"
    assert value(second, claim) == []
    second.commit()
    first.rollback()
    assert [each["headers"]["threadline-twin"] for each in value(second, claim)] == [TWIN]
    assert rows(second, "select message_id::text, attempts from public.twin_deliveries") == [(said, 1)]


def test_matching_locks_are_taken_in_the_order_of_ids(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    low, high = sorted((MATTY, WORKSPACE))
    lock = "select private.lock_matching(%s::uuid[])"
    first.execute(lock, ([low],))
    then = lambda: first.execute(lock, ([high],))  # noqa: E731
    finish_after(first, second, lambda: second.execute(lock, ([high, low],)), then)


def test_second_change_of_a_number_keeps_the_first(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    numbers = ["+1 555 000 0001", "+1 555 000 0002"]
    changes = [{"person_id": JOHN_DOE, "phone": number} for number in numbers]
    assert call(first, "change_number", MATTY, **changes[0]).status == 200
    reply = finish_after(first, second, lambda: call(second, "change_number", MATTY, **changes[1]))
    assert reply.data["former_phone"] == numbers[0]


def test_two_first_requests_make_one_conversation(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    ingest(first, conversation(message("a")))
    reply = finish_after(first, second, lambda: ingest(second, conversation(message("b"))))
    assert (reply.statuses, rows(second, "select message_count from public.conversations")) == (["updated"], [2])


@pytest.mark.parametrize("name", ["Ann", None])
def test_replay_of_an_ingest_waits_for_no_lock(sessions: tuple[Db, Db], name: str | None) -> None:
    first, second = sessions
    given = conversation(message(), participant_name=name)
    ingest(first, given)
    first.execute("update private.messaging_keys set last_used_at = null")
    first.commit()
    for table in ("public.conversations", "private.messaging_keys"):
        first.execute(f"select from {table} for update")
    second.execute("set lock_timeout = '5s'")
    assert ingest(second, given).statuses == ["no_new_messages"]


@pytest.mark.parametrize(
    ("table", "function"),
    [
        ("message_reactions (message_id, emoji) values (%s, 'x')", "add_reaction"),
        ("message_pins (message_id) values (%s)", "pin_message"),
    ],
    ids=["reaction", "pin"],
)
def test_deleted_message_gets_no_reaction_and_no_pin(sessions: tuple[Db, Db], table: str, function: str) -> None:
    first, second = sessions
    sent, other = send(first), send(first)
    first.commit()
    call(first, "delete_message", id=other)
    reply = finish_after(first, second, lambda: call(second, function, BOB, id=other, emoji="fire"))
    assert reply.error[:2] == (404, "message_not_found")
    second.commit()
    call(first, "delete_message", id=sent)
    become(second, BOB)
    with pytest.raises(InsufficientPrivilege):
        finish_after(first, second, lambda: second.execute(f"insert into public.{table}", (sent,)))


def test_message_of_a_member_who_leaves_does_not_deadlock(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    send(first)  # locks the channel
    leave = "delete from public.channel_members where (channel_id, user_id) = (%s, %s)"
    finish_after(first, second, lambda: second.execute(leave, (CHANNEL, BOB)), lambda: send(first, who=BOB))
    assert rows(second, "select from public.member_states where user_id = %s", BOB) == []


def test_acting_user_ends_with_its_transaction(sessions: tuple[Db, Db]) -> None:
    first, _ = sessions
    become_service(first)
    assert str(value(first, "select private.require_actor(jsonb_build_object('user_id', %s::text))", BOB)) == BOB
    first.commit()
    assert rows(first, "select nullif(current_setting('threadline.acting_id', true), '')") == [None]


def test_ingest_waits_for_a_quick_change_of_people(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    # A busy machine may need more than the one second that it waits.
    first.execute("alter function private.wait_to_match(uuid) set lock_timeout = '20s'")
    first.commit()
    phone = value(first, PHONE, JOHN_DOE)
    become(first, MATTY)
    first.execute("update public.people set full_name = full_name || ' x'")
    finish_after(first, second, lambda: ingest(second, conversation(message(), participant_identifier=phone)))
    assert rows(second, "select person_id::text from public.conversations") == [JOHN_DOE]


def test_ingest_does_not_wait_for_a_slow_change_of_people(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    phone = "+4915112349999"
    group = {"kind": "group", "participant_identifier": "1@g.us", "external_id": "group"}
    ingest(second, conversation(message("0", sender="@ann"), **group))
    second.commit()
    become(first, MATTY)
    first.execute("update public.people set phone = %s where id = %s", (phone, JOHN_DOE))
    second.execute("set statement_timeout = '5s'")
    ingest(second, conversation(message("a"), participant_identifier=phone))
    said = conversation(message("c", sender=phone), **group)
    ingest(second, conversation(message("b"), participant_identifier=phone), said)
    second.commit()
    newest = "select person_id::text from public.conversations where kind = 'direct' order by created_at desc limit 1"
    assert rows(second, newest) == [None]
    second.execute("select private.clean_up()")
    assert rows(second, newest) == [None]  # the change still holds the lock
    second.commit()
    first.commit()
    second.execute("select private.clean_up()")
    assert rows(second, newest) == [JOHN_DOE]
    assert rows(second, "select person_id::text from private.group_participants order by 1") == [JOHN_DOE, None]
    assert rows(second, "select from private.late_matches") == []


def test_member_who_changes_people_holds_the_lock_of_matching(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    for statement in (
        "update public.people set full_name = full_name where false",
        "delete from public.people where false",
        "insert into public.person_identifiers (person_id, kind, value) select null, '', '' where false",
        "delete from public.person_identifiers where false",
    ):
        become(first, BOB)  # who manages nothing there
        first.execute(statement)
        assert not value(second, "select pg_try_advisory_xact_lock(private.matching_lock(%s))", WORKSPACE), statement
        first.rollback()


def test_identifier_that_comes_during_a_change_matches_later(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    phone = value(first, PHONE, JOHN_DOE)
    ingest(second, conversation(message("a"), participant_identifier="someone@lid"))
    second.commit()
    become(first, MATTY)
    first.execute("update public.people set full_name = full_name || ' x'")
    given = [{"kind": "phone", "value": phone}]
    ingest(second, conversation(message("b"), participant_identifier="someone@lid", identifiers=given))
    first.commit()
    newest = "select person_id::text from public.conversations order by created_at desc limit 1"
    assert rows(second, newest) == [None]
    second.execute("select private.clean_up()")
    assert rows(second, newest) == [JOHN_DOE]


def test_clean_up_skips_rows_that_another_session_holds(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    for kind in KINDS:
        make(first, kind, "old", "90 days")
    first.commit()
    for kind in KINDS.keys() - {"ingest_log"}:  # whose lines no session changes
        first.execute(f"{KINDS[kind][1]} for update")
    second.execute("set statement_timeout = '5s'")
    removed = value(second, "select private.clean_up()")
    assert [kind for kind in KINDS if removed[kind]] == ["ingest_log"]


def test_retention_skips_a_conversation_that_is_held(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    ingest(first, conversation(message("a")), conversation(message("b"), external_id="held"))
    first.commit()
    first.execute("select from public.conversations where external_conversation_id = 'held' for update")
    second.execute("set statement_timeout = '5s'")
    assert value(second, "select private.delete_old_conversations(%s, now(), 9)", MATTY) == 1
    assert rows(second, "select external_id from public.conversation_messages") == ["b"]


def test_summary_does_not_wait_for_an_outdated_one(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    begin(first)
    first.execute("update private.summaries set lease_expires_at = now() - interval '6 minutes'")
    send(first)
    first.commit()
    first.execute("select from private.summaries for update")
    second.execute("set statement_timeout = '5s'")
    assert begin(second).status == 201


def test_file_that_a_message_under_way_names_stays(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    other = channel_of(first, MATTY)  # because messages of one channel wait for each other
    file = upload(first, MATTY)["id"]
    become_postgres(first)
    given = {"attachments": [{"attachment_id": file}]}
    old = send(first, **given)
    first.commit()
    send(first, channel_id=str(other), **given)
    finish_after(first, second, lambda: second.execute("delete from public.messages where id = %s", (old,)))
    assert rows(second, "select id::text from public.attachments where id = %s", file) == [file]


@pytest.mark.parametrize("before", ["en", "zh"])  # Postgres has no text search for Chinese
def test_message_that_waited_is_indexed_in_the_new_language(sessions: tuple[Db, Db], before: str) -> None:
    first, second = sessions
    first.execute("update public.channels set language = %s", (before,))
    first.commit()
    first.execute("update public.channels set language = 'de'")
    finish_after(first, second, lambda: send(second, "viele H\u00e4user"))
    second.commit()
    assert [hit["content"] for hit in call(second, "search_messages", MATTY, query="Haus").data] == [
        "viele H\u00e4user"
    ]


def test_new_name_and_language_wait_before_they_tell(sessions: tuple[Db, Db]) -> None:
    first, second = sessions
    first.execute("select private.lock_channel(%s)", (CHANNEL,))
    become(second, MATTY)
    rename = "update public.channels set name = 'new', language = 'de' where id = %s"
    then = lambda: send(first, f"<@{BOB}>")  # noqa: E731
    finish_after(first, second, lambda: second.execute(rename, (CHANNEL,)), then)
    assert rows(second, "select name from public.channels where id = %s", CHANNEL) == ["new"]


@pytest.mark.parametrize("how", ["add", "open", "make"])
def test_member_under_departure_joins_no_channel(sessions: tuple[Db, Db], how: str) -> None:
    first, second = sessions
    make = "insert into public.channels (workspace_id, name, created_by) values (%s, 'x', %s) returning id"
    channel = value(first, make, WORKSPACE, MATTY)
    first.commit()
    first.execute("delete from public.workspace_members where (workspace_id, user_id) = (%s, %s)", (WORKSPACE, BOB))
    become(second, BOB if how == "make" else MATTY)
    statement, given = {
        "make": ("insert into public.channels (workspace_id, name) values (%s, 'y')", (WORKSPACE,)),
        "add": ("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (channel, BOB)),
        "open": ("select public.open_direct(array[%s]::uuid[], %s)", (BOB, WORKSPACE)),
    }[how]
    with pytest.raises(InsufficientPrivilege, match="workspace"):
        finish_after(first, second, lambda: second.execute(statement, given))
