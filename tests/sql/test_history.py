"""sql/243_message_reads.sql: what a client needs to build a view of a channel, and its threads."""

import re
from typing import Any

import pytest

from tests.support.calls import call, send
from tests.support.database import Db, become, become_postgres, rows, value
from tests.support.event_log import last_seq
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, MESSAGE, TIME, TWIN


def shown(db: Db, message_id: str) -> dict[str, Any]:
    """Return a message as a page of history shows it."""
    page = call(db, "list_messages", BOB, channel_id=CHANNEL).data
    return next(message for message in page if message["id"] == message_id)


def contents(db: Db, **fields: object) -> list[str]:
    return [message["content"] for message in call(db, "list_messages", BOB, channel_id=CHANNEL, **fields).data]


@pytest.fixture
def thread(db: Db) -> dict[str, str]:
    """A thread of a root, a reply, and a reply to that reply."""
    root = send(db, "root")
    first = call(db, "reply_to_message", BOB, id=root, content="first").data["id"]
    second = call(db, "reply_to_message", CAROL, id=first, content="second").data["id"]
    return {"root": root, "first": first, "second": second}


def test_reply_to_a_reply_belongs_to_the_thread(db: Db, thread: dict[str, str]) -> None:
    assert contents(db, thread_id=thread["root"]) == ["second", "first"]
    second = call(db, "get_message", MATTY, id=thread["second"]).data
    assert (second["parent_message_id"], second["thread_id"]) == (thread["first"], thread["root"])


def test_any_message_of_a_thread_names_it(db: Db, thread: dict[str, str]) -> None:
    assert contents(db, thread_id=thread["second"]) == contents(db, thread_id=thread["root"])
    assert call(db, "list_messages", BOB, channel_id=CHANNEL, thread_id=thread["first"]).meta["total"] == 2


def test_thread_of_another_channel_stays_empty(db: Db, thread: dict[str, str]) -> None:
    become(db, MALLORY)
    other = value(db, "insert into public.channels (name) values ('m') returning id::text")
    become_postgres(db)
    page = call(db, "list_messages", MALLORY, channel_id=other, thread_id=thread["second"])
    assert (page.data, page.meta["total"]) == ([], 0)


def test_roots_only_leaves_replies_out(db: Db, thread: dict[str, str]) -> None:
    assert contents(db, roots_only=True, limit=1) == ["root"]
    page = call(db, "list_messages", BOB, channel_id=CHANNEL).data
    assert contents(db, roots_only="true") == [each["content"] for each in page if each["parent_message_id"] is None]
    assert contents(db, roots_only=False, limit=1) == ["second"]


def test_roots_only_keeps_replies_to_a_deleted_message(db: Db, thread: dict[str, str]) -> None:
    call(db, "delete_message", MATTY, id=thread["root"])
    assert contents(db, roots_only=True, limit=2) == ["second", "first"]
    assert contents(db, thread_id=thread["first"]) == ["second", "first"]
    service = call(db, "list_messages", None, channel_id=CHANNEL, roots_only=True, limit=2).data
    assert [message["content"] for message in service] == ["second", "first"]


@pytest.mark.parametrize("fields", [{"roots_only": "x"}, {"roots_only": True, "thread_id": MESSAGE}])
def test_bad_roots_only_is_refused(db: Db, fields: dict[str, object]) -> None:
    reply = call(db, "list_messages", BOB, channel_id=CHANNEL, **fields)
    assert reply.error == (400, "invalid_field", "roots_only")


def test_pages_of_roots_follow_the_cursor(db: Db) -> None:
    for number in range(5):
        call(db, "reply_to_message", BOB, id=send(db, f"root {number}"), content="reply")
    first = call(db, "list_messages", BOB, channel_id=CHANNEL, roots_only=True, limit=3)
    second = contents(db, roots_only=True, limit=2, before=first.meta["next_cursor"])
    assert [each["content"] for each in first.data] + second == [f"root {number}" for number in (4, 3, 2, 1, 0)]


def test_root_shows_its_thread(db: Db, thread: dict[str, str]) -> None:
    call(db, "reply_to_message", MATTY, id=thread["root"], content="third", ai_twin_id=TWIN)
    newest = call(db, "reply_to_message", BOB, id=thread["root"], content="fourth").data
    root = shown(db, thread["root"])
    assert (root["reply_count"], root["last_reply_at"]) == (4, newest["created_at"])
    assert [each["display_name"] for each in root["participants"]] == ["Bob Okafor", "Matty's twin", "Carol Lindqvist"]
    assert [each["ai_twin_id"] for each in root["participants"]] == [None, TWIN, None]


def test_message_without_replies_shows_none(db: Db) -> None:
    said = shown(db, send(db))
    assert (said["reply_count"], said["last_reply_at"], said["participants"]) == (0, None, [])


def test_deleted_replies_do_not_count(db: Db, thread: dict[str, str]) -> None:
    call(db, "delete_message", CAROL, id=thread["second"])
    root = shown(db, thread["root"])
    assert (root["reply_count"], [each["user_id"] for each in root["participants"]]) == (1, [BOB])
    read = call(db, "get_message", None, id=thread["root"]).data  # no policy hides rows from service_role
    assert (read["reply_count"], [each["user_id"] for each in read["participants"]]) == (1, [BOB])


def test_participants_end_at_five(db: Db) -> None:
    root = send(db, "root")
    for _ in range(6):
        twin = value(
            db, "insert into public.ai_twins (user_id, display_name) values (%s, 'T') returning id::text", MATTY
        )
        db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (CHANNEL, twin))
        call(db, "reply_to_message", MATTY, id=root, content="x", ai_twin_id=twin)
    assert [each["display_name"] for each in shown(db, root)["participants"]] == ["T"] * 5


def test_thread_shows_its_newest_thousand_replies(db: Db) -> None:
    root = send(db, "root")
    db.execute("alter table public.messages disable trigger user")  # a thousand replies would take seconds
    # The times run backwards, so only the numbers tell which replies are the newest.
    insert = """
        insert into public.messages (
            channel_id, workspace_id, thread_id, parent_message_id, user_id, content, seq, created_at
        )
        select root.channel_id, root.workspace_id, root.id, root.id,
            (case when n < 3 then %s when n = 3 then %s else %s end)::uuid, 'x', root.seq + n,
            now() - n * interval '1 second'
        from public.messages as root, generate_series(1, 1002) as n
        where root.id = %s
        """
    db.execute(insert, (MATTY, CAROL, BOB, root))
    found = call(db, "get_message", BOB, id=root).data
    assert (found["reply_count"], [each["user_id"] for each in found["participants"]]) == (1000, [BOB, CAROL])


def test_erased_root_frees_its_replies(db: Db, thread: dict[str, str]) -> None:
    db.execute("delete from public.messages where id = %s", (thread["root"],))
    assert contents(db, roots_only=True, limit=2) == ["second", "first"]


def test_client_cannot_choose_the_thread(db: Db, thread: dict[str, str]) -> None:
    query = """
        select count(*) from information_schema.column_privileges
        where table_schema = 'public' and table_name = 'messages' and column_name = 'thread_id'
            and grantee in ('anon', 'authenticated', 'service_role') and privilege_type <> 'SELECT'
        """
    assert value(db, query) == 0


def test_edited_at_tells_an_edit(db: Db) -> None:
    said = send(db)
    assert shown(db, said)["edited_at"] is None
    call(db, "pin_message", MATTY, id=said)
    assert shown(db, said)["edited_at"] is None
    edited = call(db, "edit_message", MATTY, id=said, content="edited").data
    assert re.fullmatch(TIME, edited["edited_at"])
    assert shown(db, said)["edited_at"] == edited["edited_at"] == edited["updated_at"]


def test_first_page_says_where_to_follow(db: Db) -> None:
    first = call(db, "list_messages", BOB, channel_id=CHANNEL, limit=1)
    assert (first.meta["last_seq"], first.meta["topic"]) == (last_seq(db), f"channel:{CHANNEL}")
    said = send(db)
    events = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=first.meta["last_seq"]).data
    assert [event["payload"]["id"] for event in events] == [said]


def test_first_page_names_the_sealed_topic(db: Db) -> None:
    db.execute("delete from public.channel_members where user_id = %s", (CAROL,))
    topic = call(db, "list_messages", BOB, channel_id=CHANNEL).meta["topic"]
    (mine,) = [each["topic"] for each in call(db, "list_my_channels", BOB).data if each["id"] == CHANNEL]
    assert topic == mine == f"channel:{CHANNEL}:1"


@pytest.mark.parametrize("fields", [{"offset": 1}, {"before": "seq_3"}, {"after": "seq_3"}])
def test_later_pages_do_not_say_where_to_follow(db: Db, fields: dict[str, object]) -> None:
    assert "last_seq" not in call(db, "list_messages", BOB, channel_id=CHANNEL, **fields).meta


def test_page_numbers_its_messages(db: Db) -> None:
    page = call(db, "list_messages", BOB, channel_id=CHANNEL).data
    query = "select seq from public.messages where channel_id = %s and deleted_at is null order by seq desc"
    assert [message["seq"] for message in page] == rows(db, query, CHANNEL)


def test_event_of_a_reply_names_its_thread(db: Db, thread: dict[str, str]) -> None:
    (event,) = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=last_seq(db) - 1).data
    assert event["payload"]["thread_id"] == thread["root"]
