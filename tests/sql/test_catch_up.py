"""sql/303_catch_up.sql: a client reads missed events exactly as they were broadcast."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.test_broadcasts import CALLS, TOPIC
from tests.support.calls import call, send
from tests.support.database import Db, become, become_postgres, become_service, lift_request_limit, rows, value
from tests.support.event_log import last_seq
from tests.support.realtime import broadcasts, fire_deferred_triggers
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, MESSAGE, NAME_OF_MATTY, TWIN, UNKNOWN_ID

Event = tuple[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def quiet(db: Db) -> None:
    """Start each test without broadcasts."""
    db.execute("delete from realtime.messages where true")


def caught_up(db: Db, since: int, user_id: str | None = BOB, **fields: Any) -> list[Event]:
    """Return the events after a number, as a client reads them."""
    reply = call(db, "list_channel_events", user_id, channel_id=CHANNEL, since=since, **fields)
    return [(entry["event"], entry["payload"]) for entry in reply.data]


def test_catch_up_returns_what_was_broadcast(db: Db) -> None:
    start, told = last_seq(db), []
    db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (CHANNEL, MALLORY))
    db.execute("delete from public.channel_members where user_id = %s", (MALLORY,))
    db.execute("update private.channel_counters set sealed_until = '-infinity'")
    for function, fields, event in CALLS[:-1]:
        call(db, function, **fields)
        fire_deferred_triggers(db)
        told += broadcasts(db, TOPIC)[len(told) :]  # as sent: an edit turns earlier ones into pointers
        assert told[-1][0] == event
        assert caught_up(db, start) == told
    assert [payload["prev_seq"] for _, payload in told] == list(range(start, last_seq(db)))
    assert caught_up(db, start + 5) == told[5:]
    assert caught_up(db, start, None) == told


def test_deleted_message_keeps_its_place_without_content(db: Db) -> None:
    start = last_seq(db)
    for function, fields, _ in CALLS:
        call(db, function, **fields)
    told = broadcasts(db, TOPIC)
    for who in (BOB, None):
        now = caught_up(db, start, who)
        assert [(event, payload["seq"]) for event, payload in now] == [
            (event, payload["seq"]) for event, payload in told
        ]
        assert "edited " not in json.dumps(now)  # as every text of CALLS
        for event, payload in now:
            if payload["id"] == MESSAGE and event != "message.deleted":
                assert payload == {
                    "id": MESSAGE,
                    "deleted": True,
                    "seq": payload["seq"],
                    "prev_seq": payload["seq"] - 1,
                }
        assert now[:2] == told[:2]
        assert now[-1] == told[-1]


def test_removed_message_keeps_its_place(db: Db) -> None:
    start, sent = last_seq(db), send(db)
    become_service(db)
    db.execute("delete from public.messages where id = %s", (sent,))
    assert [(event, payload.get("deleted")) for event, payload in caught_up(db, start)] == [
        ("message.created", True),
        ("message.deleted", None),
    ]


def test_id_reused_in_another_channel_shows_nothing(db: Db) -> None:
    start, sent = last_seq(db), send(db)
    db.execute("delete from public.messages where id = %s", (sent,))
    become(db, MALLORY)
    other = value(db, "insert into public.channels (name) values ('other') returning id")
    db.execute("insert into public.messages (id, channel_id, content) values (%s, %s, 'hidden')", (sent, other))
    become_postgres(db)
    (_, created), _ = caught_up(db, start)
    assert created == {"id": sent, "deleted": True, "seq": start + 1, "prev_seq": start}


def test_id_reused_in_another_channel_shows_no_pin(db: Db) -> None:
    sent = send(db)
    call(db, "pin_message", id=sent)
    count = last_seq(db)  # so that the edit has a later number than the pin
    db.execute("delete from public.messages where id = %s", (sent,))
    become(db, MALLORY)
    other = value(db, "insert into public.channels (name) values ('other') returning id")
    for number in range(count):
        db.execute("insert into public.messages (channel_id, content) values (%s, %s)", (other, str(number)))
    db.execute("insert into public.messages (id, channel_id, content) values (%s, %s, 'mine')", (sent, other))
    db.execute("update public.messages set content = 'edited' where id = %s", (sent,))
    become_postgres(db)
    shown = """
    select private.render_event(event, message)::text
    from public.message_events as event inner join public.messages as message on event.message_id = message.id
    where event.channel_id = %s and event.kind = 'message.updated'
    """
    assert MATTY not in value(db, shown, other)


def test_oversized_event_is_returned_whole(db: Db) -> None:
    start = last_seq(db)
    data = call(db, "create_message", channel_id=CHANNEL, content="x" + "\u0001" * 39_999).data
    assert broadcasts(db, TOPIC)[0][1]["truncated"]
    assert caught_up(db, start) == [("message.created", data | NAME_OF_MATTY | {"seq": start + 1, "prev_seq": start})]


def test_pages_are_complete_and_in_order(db: Db) -> None:
    for number in range(25):
        send(db, content=str(number))
    since, found = 0, []
    while True:
        reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=since, limit=7)
        found += [entry["payload"]["seq"] for entry in reply.data]
        since = reply.meta["last_seq"]
        if not reply.meta["has_more"]:
            break
        assert len(reply.data) == 7
    assert found == list(range(1, last_seq(db) + 1))
    assert since == last_seq(db)


def test_page_is_limited_to_about_a_megabyte(db: Db) -> None:
    start = last_seq(db)
    for _ in range(5):
        call(db, "create_message", channel_id=CHANNEL, content="x" + "\u0001" * 39_999)  # six bytes each, as JSON
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=start)
    assert (len(reply.data), reply.meta) == (4, {"last_seq": start + 4, "has_more": True, "is_incomplete": False})


def test_catch_up_without_token_starts_at_the_first_event(db: Db) -> None:
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL)
    first = reply.data[0]["payload"]
    assert (first["seq"], first["prev_seq"]) == (1, 0)
    assert reply.meta == {"last_seq": last_seq(db), "has_more": False, "is_incomplete": False}


def test_catch_up_with_nothing_missed_is_an_empty_page(db: Db) -> None:
    seq = last_seq(db)
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=seq)
    assert (reply.data, reply.meta) == ([], {"last_seq": seq, "has_more": False, "is_incomplete": False})


def test_token_beyond_the_last_event_is_corrected(db: Db) -> None:
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=10**17)
    assert (reply.data, reply.meta) == ([], {"last_seq": last_seq(db), "has_more": False, "is_incomplete": False})


def shorten_log(db: Db, last: int) -> None:
    """Let the clean-up delete the events up to this one."""
    db.execute("update private.settings set channel_event_days = 7")
    db.execute("update public.message_events set created_at = now() - interval '8 days' where seq <= %s", (last,))
    value(db, "select private.clean_up()")


def test_catch_up_says_that_its_log_begins_later(db: Db) -> None:
    start = last_seq(db)
    for _ in range(3):
        send(db)
    shorten_log(db, start + 1)
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=start)
    assert [entry["payload"]["prev_seq"] for entry in reply.data] == [start + 1, start + 2]
    assert reply.meta == {"last_seq": start + 3, "has_more": False, "is_incomplete": True}
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=start + 1)
    assert (len(reply.data), reply.meta["is_incomplete"]) == (2, False)


def test_catch_up_says_that_an_event_within_it_is_gone(db: Db) -> None:
    start = last_seq(db)
    for _ in range(3):
        send(db)
    # As the clean-up does, if it finds the second event first.
    db.execute("delete from public.message_events where channel_id = %s and seq = %s", (CHANNEL, start + 2))
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=start)
    assert [entry["payload"]["seq"] for entry in reply.data] == [start + 1, start + 3]
    assert reply.meta == {"last_seq": start + 3, "has_more": False, "is_incomplete": True}
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=start, limit=1)
    assert reply.meta == {"last_seq": start + 1, "has_more": True, "is_incomplete": False}


def test_clean_up_keeps_the_last_event_of_a_channel(db: Db) -> None:
    last = last_seq(db)
    shorten_log(db, last)
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL)
    assert [entry["payload"]["seq"] for entry in reply.data] == [last]
    assert reply.meta == {"last_seq": last, "has_more": False, "is_incomplete": True}
    assert [payload["seq"] for _, payload in caught_up(db, last)] == []
    send(db)
    assert [payload["seq"] for _, payload in caught_up(db, last)] == [last + 1]


def test_clean_up_of_events_respects_the_row_limit(db: Db) -> None:
    last = last_seq(db)
    db.execute("update private.settings set channel_event_days = 7")
    db.execute("update public.message_events set created_at = now() - interval '8 days'")
    removed = [value(db, "select private.clean_up(2)")["message_events"] for _ in range(last)]
    assert (removed[:2], sum(removed), removed[-1]) == ([2, 2], last - 1, 0)


def test_edit_shows_a_pin_whose_event_was_deleted(db: Db) -> None:
    sent = send(db)
    call(db, "pin_message", id=sent)
    pinned = last_seq(db)
    call(db, "edit_message", id=sent, content="edited")
    fire_deferred_triggers(db)
    call(db, "pin_message", id=MESSAGE)  # another pin whose event stays
    before = caught_up(db, pinned)
    shorten_log(db, pinned)
    assert caught_up(db, pinned) == before
    assert before[0][1]["metadata"]["pinned_by"] == MATTY


def test_edit_shows_no_pin_that_came_later(db: Db) -> None:
    sent = send(db)
    since = last_seq(db)
    call(db, "edit_message", id=sent, content="edited")
    call(db, "pin_message", id=sent)
    assert ["pinned" in payload["metadata"] for _, payload in caught_up(db, since)] == [False, True]


def test_event_shows_the_text_of_its_time(db: Db) -> None:
    sent = send(db, "first")
    since = last_seq(db) - 1
    db.execute("alter table public.messages disable trigger user")
    db.execute("update public.messages set content = 'third', updated_at = now() + '2 h' where id = %s", (sent,))
    edit = """
        insert into public.message_edits (message_id, version, content, written_at, replaced_at)
        values (%s, %s, %s, now() + %s::interval, now() + %s::interval)
        """
    for version, content, written, replaced in ((2, "second", "1 h", "2 h"), (1, "first", "-1 h", "1 h")):
        db.execute(edit, (sent, version, content, written, replaced))
    assert caught_up(db, since)[0][1]["content"] == "first"


@pytest.mark.parametrize("user_id", [MALLORY, UNKNOWN_ID])
def test_non_members_get_404(db: Db, user_id: str) -> None:
    reply = call(db, "list_channel_events", user_id, channel_id=CHANNEL)
    assert reply.error == (404, "channel_not_found", "channel_id")


def test_token_without_role_reads_no_events(db: Db) -> None:
    become(db, MALLORY)
    db.execute("select set_config('request.jwt.claims', %s, true)", (json.dumps({"sub": MALLORY}),))
    assert rows(db, "select from private.list_channel_events(%s, 0, 10, 1000000)", CHANNEL) == []


def test_former_member_sees_nothing(db: Db) -> None:
    db.execute("delete from public.channel_members where user_id = %s", (CAROL,))
    reply = call(db, "list_channel_events", CAROL, channel_id=CHANNEL)
    assert reply.error == (404, "channel_not_found", "channel_id")


def test_malformed_channel_id_is_not_found(db: Db) -> None:
    for user_id in (BOB, None):
        assert call(db, "list_channel_events", user_id, channel_id=UNKNOWN_ID).error[0] == 404


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("since", given) for given in ("-1", "1.5", "x", "", [], {}, True, "9" * 19, "1; select", "seq_1", 1e30)),
        *(("limit", given) for given in (0, 1001, -1, "x")),
        *(("channel_id", given) for given in ("x", "", 5, None, TWIN + "x")),
    ],
)
def test_malformed_value_returns_400(db: Db, field: str, value: Any) -> None:
    reply = call(db, "list_channel_events", BOB, **({"channel_id": CHANNEL} | {field: value}))
    assert (reply.error[0], reply.error[2]) == (400, field)


def test_data_api_returns_the_same_events(db: Db) -> None:
    start = last_seq(db)
    data = call(db, "create_message", channel_id=CHANNEL, content="new").data
    become(db, BOB)
    answer = value(
        db,
        "select public.list_channel_events(%s::jsonb)",
        json.dumps({"channel_id": CHANNEL, "since": start, "limit": 5}),
    )
    assert answer["data"][0]["payload"] == data | NAME_OF_MATTY | {"seq": start + 1, "prev_seq": start}
    become(db, MALLORY)
    assert rows(db, "select seq from private.list_channel_events(%s, 0, 10, 1000000)", CHANNEL) == []


def test_message_of_a_deleted_author_keeps_its_place(db: Db) -> None:
    start = last_seq(db)
    send(db, who=CAROL)
    db.execute("delete from auth.users where id = %s", (CAROL,))
    told = {event: payload["user_id"] for event, payload in caught_up(db, start, MATTY)}
    assert told == {"message.created": None, "reaction.removed": CAROL, "member.left": CAROL}


@pytest.fixture
def admin(admin_url: str) -> Iterator[Db]:
    """A transaction of the superuser, who may count calls of functions."""
    with psycopg.connect(admin_url) as connection:
        yield connection
        connection.rollback()


def test_page_renders_only_the_events_that_it_holds(admin: Db) -> None:
    lift_request_limit(admin)
    start = last_seq(admin)
    for _ in range(150):
        send(admin, "x" * 39_000)
    admin.execute("set local track_functions = 'all'")
    rendered = "select coalesce(pg_stat_get_xact_function_calls(oid), 0) from pg_proc where proname = 'render_event'"
    counts, before = {}, value(admin, rendered)
    for limit in (10, 1000):
        events = caught_up(admin, start, limit=limit)
        after = value(admin, rendered)
        counts[limit], before = (len(events), after - before), after
    assert counts[10] == (10, 11)
    held, calls = counts[1000]
    assert 20 < held < 30
    # A loop of PL/pgSQL fetches ahead: 10 rows first, then 50 at once.
    assert calls <= held + 60


def test_oversized_first_event_is_followed_by_a_page(db: Db) -> None:
    start = last_seq(db)
    db.execute("alter table public.messages drop constraint messages_content_length")
    for text in ("x" * 1_200_000, "y"):
        db.execute(
            "insert into public.messages (channel_id, user_id, content) values (%s, %s, %s)", (CHANNEL, BOB, text)
        )
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=start)
    assert (len(reply.data), reply.meta["has_more"]) == (1, True)
    reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=reply.meta["last_seq"])
    assert (len(reply.data), reply.meta["has_more"]) == (1, False)


def test_page_that_is_exactly_full_has_a_next_one(db: Db) -> None:
    become(db, BOB)
    page = "select bytes from private.list_channel_events(%s, 0, 10, %s)"
    sizes = rows(db, page, CHANNEL, 10**6)
    assert len(sizes) > 3
    # The third event, which is on no page of so many bytes, says that there is more.
    assert rows(db, page, CHANNEL, sizes[1]) == sizes[:3]
