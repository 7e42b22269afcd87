"""A user's own side: read markers, mentions, the list of channels, events of the user."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import psycopg
import pytest

from tests.support.calls import call, send
from tests.support.database import Db, add_channel, become, become_postgres, lift_request_limit, refused, rows, value
from tests.support.event_log import last_seq
from tests.support.realtime import broadcasts, may_join, may_send
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, TWIN, UNKNOWN_ID, WORKSPACE


def mine(db: Db, user_id: str, channel_id: str = CHANNEL) -> Any:
    (found,) = [each for each in call(db, "list_my_channels", user_id).data if each["id"] == channel_id]
    return found


def counts(db: Db, user_id: str, channel_id: str = CHANNEL) -> tuple[int, int]:
    found = mine(db, user_id, channel_id)
    return found["unread_count"], found["mention_count"]


def mark_read(db: Db, user_id: str, seq: int, channel_id: str = CHANNEL) -> int:
    become(db, user_id)
    marked = value(db, "select public.mark_read(%s, %s)", channel_id, seq)
    become_postgres(db)
    return int(marked["read_seq"])


def events(db: Db, user_id: str, since: int = 0) -> list[tuple[str, Any]]:
    become(db, user_id)
    answer = value(db, "select public.list_user_events(%s)", since)
    become_postgres(db)
    return [(entry["event"], entry["payload"]) for entry in answer["data"]]


def last_event(db: Db, user_id: str) -> tuple[str, Any]:
    event, payload = events(db, user_id)[-1]
    return event, {key: payload[key] for key in payload if key not in {"seq", "prev_seq", "created_at"}}


@pytest.fixture(autouse=True)
def all_read(db: Db) -> None:
    """Start with nothing unread."""
    for user_id in (MATTY, BOB, CAROL):
        mark_read(db, user_id, last_seq(db))


# Read markers


def test_messages_of_others_are_unread_until_marked(db: Db) -> None:
    send(db, "one")
    send(db, "two")
    assert counts(db, BOB) == (2, 0)
    assert counts(db, MATTY) == (0, 0)
    assert mark_read(db, BOB, last_seq(db)) == last_seq(db)
    assert counts(db, BOB) == (0, 0)


def test_marker_only_moves_forward(db: Db) -> None:
    send(db, "one")
    seq = last_seq(db)
    assert mark_read(db, BOB, seq) == seq
    told = len(events(db, BOB))
    assert [mark_read(db, BOB, at) for at in (1, seq + 1000, 0)] == [seq] * 3
    assert len(events(db, BOB)) == told


def test_own_message_moves_the_marker(db: Db) -> None:
    send(db, "question")
    send(db, "answer", BOB)
    assert counts(db, BOB) == (0, 0)
    assert counts(db, MATTY) == (1, 0)
    call(db, "create_message", None, channel_id=CHANNEL, user_id=MATTY, content="through a backend")
    assert counts(db, MATTY) == (0, 0)


def test_deleted_messages_and_reactions_are_not_unread(db: Db) -> None:
    message = send(db, "one")
    call(db, "add_reaction", MATTY, id=message, emoji="fire")
    assert counts(db, BOB) == (1, 0)
    call(db, "delete_message", MATTY, id=message)
    assert counts(db, BOB) == (0, 0)


def test_message_of_a_twin_is_unread(db: Db) -> None:
    call(db, "create_message", MATTY, channel_id=CHANNEL, ai_twin_id=TWIN, content="beep")
    assert counts(db, BOB) == (1, 0)


def test_new_member_has_read_what_was_before(db: Db) -> None:
    channel_id = add_channel(db, "new", [MATTY])
    send(db, "before", MATTY, channel_id)
    db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (channel_id, BOB))
    assert counts(db, BOB, channel_id) == (0, 0)
    send(db, "after", MATTY, channel_id)
    assert counts(db, BOB, channel_id) == (1, 0)


def test_non_member_cannot_mark(db: Db) -> None:
    become(db, MALLORY)
    for channel_id in (CHANNEL, UNKNOWN_ID, None):
        assert refused(db, "select public.mark_read(%s, 1)", channel_id, by=psycopg.Error).sqlstate == "PT404"
    for seq in (None, -1):
        assert refused(db, "select public.mark_read(%s, %s)", CHANNEL, seq, by=psycopg.Error).sqlstate == "PT400"
    become_postgres(db)
    assert call(db, "mark_read", BOB, channel_id=CHANNEL).error == (400, "missing_field", "seq")


def test_unread_counts_end_at_100(db: Db) -> None:
    lift_request_limit(db)
    for number in range(102):
        send(db, f"<!channel> {number}")
    assert counts(db, BOB) == (100, 100)


def test_thousand_newest_messages_are_read_and_no_more(db: Db) -> None:
    sent = send(db, "one")
    add = """
        insert into public.messages (channel_id, workspace_id, seq, content, deleted_at)
        select %s, %s, %s + n, '', now() from generate_series(%s::int, %s) as n
    """
    db.execute("alter table public.messages disable trigger user")
    db.execute(add, (CHANNEL, WORKSPACE, last_seq(db), 1, 999))
    channel = mine(db, BOB)
    assert (channel["unread_count"], channel["last_message"]["id"]) == (1, sent)
    db.execute(add, (CHANNEL, WORKSPACE, last_seq(db), 1000, 1000))
    channel = mine(db, BOB)
    assert (channel["unread_count"], channel["last_message"]) == (0, None)


# The list


def test_member_count_follows_arrivals_and_departures(db: Db) -> None:
    db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (CHANNEL, MALLORY))
    assert mine(db, BOB)["member_count"] == 4
    for left in (MALLORY, CAROL):
        leave(db, left, CHANNEL)
    assert mine(db, BOB)["member_count"] == 2
    assert rows(db, "select ai_twin_id::text from public.channel_twins where channel_id = %s", CHANNEL) == [TWIN]


def test_own_message_moves_only_the_own_marker(db: Db) -> None:
    before = mine(db, BOB)["read_seq"]
    send(db)
    assert [mine(db, who)["read_seq"] for who in (MATTY, BOB)] == [last_seq(db), before]


def test_list_shows_channel_state_and_last_message(db: Db) -> None:
    message = send(db, "x" * 300)
    found = mine(db, BOB)
    assert (found["workspace_id"], found["role"], found["member_count"]) == (WORKSPACE, "member", 3)
    assert found["last_message"]["id"] == message
    assert found["last_message"]["preview"] == "x" * 200
    assert {member["user_id"] for member in found["members"]} == {MATTY, BOB, CAROL}
    assert all(member["display_name"] for member in found["members"])
    assert found["topic"] == f"channel:{CHANNEL}"
    call(db, "delete_message", MATTY, id=message)
    assert mine(db, BOB)["last_message"]["id"] != message


def test_list_shows_the_first_ten_members(db: Db) -> None:
    ids = [f"00000000-0000-4000-8000-0000000000{number:02}" for number in range(11)]
    db.execute("insert into auth.users (id, email) select id, id || '@a.example' from unnest(%s::uuid[]) as id", (ids,))
    added = "insert into public.channel_members (channel_id, user_id, created_at) values (%s, %s, now() - %s)"
    with db.cursor() as cursor:
        cursor.executemany(added, [(CHANNEL, id_, timedelta(hours=at)) for at, id_ in enumerate(ids)])
    assert [member["user_id"] for member in mine(db, BOB)["members"]] == ids[:10]


def test_list_puts_pinned_first_then_the_newest(db: Db) -> None:
    first, second, third = (add_channel(db, name, [MATTY, BOB]) for name in "abc")
    send(db, "newest", MATTY, first)
    become(db, BOB)
    db.execute("update public.member_states set is_pinned = true, is_muted = true where channel_id = %s", (second,))
    become_postgres(db)
    listed = call(db, "list_my_channels", BOB).data
    assert [channel["id"] for channel in listed[:3]] == [second, first, third]
    assert (listed[0]["is_pinned"], listed[0]["is_muted"]) == (True, True)
    assert not mine(db, MATTY, second)["is_pinned"]
    pages = [call(db, "list_my_channels", BOB, limit=2, offset=at) for at in (0, 2)]
    assert [channel["id"] for page in pages for channel in page.data][:3] == [second, first, third]
    assert pages[0].meta == {"has_more": True}


def test_user_changes_only_own_state(db: Db) -> None:
    become(db, BOB)
    assert db.execute("update public.member_states set is_muted = true").rowcount > 0
    assert set(rows(db, "select user_id::text from public.member_states")) == {BOB}
    for column in ("read_seq", "hidden_seq"):
        refused(db, f"update public.member_states set {column} = 1")


def test_data_api_lists_the_same(db: Db) -> None:
    through_gateway = call(db, "list_my_channels", BOB).data
    become(db, BOB)
    assert value(db, "select public.list_my_channels()")["data"] == through_gateway
    assert len(value(db, "select public.list_my_channels(1)")["data"]) == 1


def test_service_lists_for_a_named_user(db: Db) -> None:
    assert call(db, "list_my_channels", None, user_id=BOB).data == call(db, "list_my_channels", BOB).data
    assert call(db, "list_my_channels", None).error[:2] == (400, "missing_field")
    assert call(db, "list_my_channels", MALLORY, user_id=BOB).error[:2] == (403, "user_id_mismatch")
    assert call(db, "list_my_channels", MALLORY).data == []


# Mentions


def test_mentions_become_rows_and_counts(db: Db) -> None:
    add_channel(db, "elsewhere", [MALLORY])
    message = send(db, f"<@{BOB}> <@{BOB.upper()}> <@{MALLORY}> <@{TWIN}> <!channel> <@unknown>")
    stored = "select user_id::text, ai_twin_id::text from public.message_mentions where message_id = %s order by 1, 2"
    assert rows(db, stored, message) == [(BOB, None), (None, TWIN), (None, None)]
    assert counts(db, BOB) == (1, 1)
    assert counts(db, CAROL) == (1, 1)
    assert counts(db, MATTY) == (0, 0)
    other = add_channel(db, "other", [MATTY, BOB])
    send(db, "plain", MATTY, other)
    assert counts(db, BOB, other) == (1, 0)
    mark_read(db, BOB, last_seq(db))
    send(db, f"<@{TWIN}>")
    assert counts(db, BOB) == (1, 0)


def test_twin_of_another_channel_is_not_mentioned(db: Db) -> None:
    message = send(db, f"<@{TWIN}>", MATTY, add_channel(db, "without twins", [MATTY, BOB]))
    assert rows(db, "select from public.message_mentions where message_id = %s", message) == []


def test_edit_and_deletion_correct_the_mentions(db: Db) -> None:
    message = send(db, f"<@{BOB}>")
    call(db, "edit_message", MATTY, id=message, content=f"<@{CAROL}>")
    assert (counts(db, BOB), counts(db, CAROL)) == ((1, 0), (1, 1))
    assert last_event(db, CAROL)[0] == "message.mentioned"
    call(db, "edit_message", MATTY, id=message, content="without")
    assert counts(db, CAROL) == (1, 0)
    call(db, "edit_message", MATTY, id=message, content=f"<@{CAROL}> <@{TWIN}> <!channel>")
    call(db, "delete_message", MATTY, id=message)
    assert rows(db, "select from public.message_mentions where message_id = %s", message) == []


def test_each_edit_leaves_exactly_the_mentions_of_its_text(db: Db) -> None:
    lift_request_limit(db)
    users, twins, all_ = {(BOB, None)}, {(None, TWIN)}, {(None, None)}
    texts = {
        "nothing": set(),
        f"<@{BOB}>": users,
        f"<@{TWIN}>": twins,
        "<!channel>": all_,
        f"<@{BOB}> <@{TWIN}>": users | twins,
        f"<!channel> <@{TWIN}>": twins | all_,
    }
    stored = "select user_id::text, ai_twin_id::text from public.message_mentions where message_id = %s"
    other = send(db, f"<@{BOB}> <@{TWIN}> <!channel>")
    for before, after in permutations(texts, 2):
        message = send(db, before)
        told = len(events(db, BOB))
        call(db, "edit_message", MATTY, id=message, content=after)
        assert set(rows(db, stored, message)) == texts[after], (before, after)
        is_new = bool((texts[after] - texts[before]) & (users | all_))
        assert len(events(db, BOB)) - told == is_new, (before, after)
    assert len(rows(db, stored, other)) == 3


def test_first_hundred_ids_of_a_text_are_mentions(db: Db) -> None:
    unknown = [f"<@{number:08}-0000-4000-8000-000000000000>" for number in range(98)]
    message = send(db, " ".join([*unknown[:20], f"<@{BOB}>", *unknown[20:], f"<@{CAROL}>", f"<@{TWIN}>"]))
    stored = "select user_id::text from public.message_mentions where message_id = %s order by 1"
    assert rows(db, stored, message) == [BOB, CAROL]


def test_search_finds_mentions(db: Db) -> None:
    to_bob, to_all = send(db, f"<@{BOB}> lunch"), send(db, "<!channel> lunch")
    send(db, "plain lunch")

    def found(user_id: str, query: str) -> set[str]:
        return {hit["id"] for hit in call(db, "search_messages", user_id, query=query).data}

    assert found(BOB, "mentions:me") == {to_bob}
    assert found(CAROL, f"lunch mentions:{BOB}") == {to_bob}
    assert found(CAROL, "mentions:me") == set()
    assert found(BOB, "mentions:channel") == {to_all}
    assert found(BOB, "mentions:channel mentions:me") == set()
    assert to_bob not in found(BOB, "lunch -mentions:me")
    assert found(MALLORY, f"mentions:{BOB}") == set()


def test_non_member_sees_no_mentions(db: Db) -> None:
    send(db, f"<@{BOB}>")
    become(db, MALLORY)
    assert rows(db, "select from public.message_mentions") == []
    become(db, CAROL)
    refused(
        db, "insert into public.message_mentions (message_id, channel_id, seq) values (%s, %s, 1)", CHANNEL, CHANNEL
    )


# Events of the user


def test_each_change_of_the_user_is_an_event(db: Db) -> None:
    channel_id = add_channel(db, "team", [MATTY, BOB])
    assert last_event(db, BOB) == ("channel.joined", {"channel_id": channel_id, "role": "member"})
    member = "where channel_id = %s and user_id = %s"
    db.execute(f"update public.channel_members set role = 'admin' {member}", (channel_id, BOB))
    assert last_event(db, BOB) == ("channel.role_changed", {"channel_id": channel_id, "role": "admin"})
    audited = "select count(*) from public.audit_log where action = 'channel_member.role_changed'"
    before = value(db, audited)
    assert before > 0
    db.execute(f"update public.channel_members set role = role {member}", (channel_id, BOB))
    assert value(db, audited) == before
    db.execute("update public.channels set name = 'crew' where id = %s", (channel_id,))
    assert last_event(db, BOB) == ("channel.renamed", {"channel_id": channel_id, "name": "crew"})
    told = len(events(db, BOB))
    db.execute("update public.channels set name = name where id = %s", (channel_id,))
    assert len(events(db, BOB)) == told
    message = send(db, f"<@{BOB}>", MATTY, channel_id)
    seq = mine(db, BOB, channel_id)["last_seq"]
    assert last_event(db, BOB) == (
        "message.mentioned",
        {"channel_id": channel_id, "message_id": message, "message_seq": seq, "is_channel": False},
    )
    mark_read(db, BOB, seq, channel_id)
    assert last_event(db, BOB) == ("channel.read", {"channel_id": channel_id, "read_seq": seq})
    db.execute("update public.channels set name = 'other crowd' where id = %s", (CHANNEL,))
    db.execute(f"delete from public.channel_members {member}", (channel_id, BOB))
    assert last_event(db, BOB) == ("channel.left", {"channel_id": channel_id})
    add = (
        "insert into realtime.messages (topic, extension, event, payload, private)"
        " values (%s, %s, %s, jsonb_build_object('channel_id', %s::text, 'name', 'of another'), %s)"
    )
    for topic, extension, event, private in (
        ("app", "broadcast", "channel.renamed", True),
        ("user:1", "broadcast", "channel.renamed", False),
        ("user:1", "x", "channel.renamed", True),
        ("user:1", "broadcast", "greeting", True),
    ):
        db.execute(add, (topic, extension, event, channel_id, private))
    db.execute("delete from public.channels where id = %s", (channel_id,))
    assert value(db, "select count(*) from realtime.messages where payload ->> 'name' = 'of another'") == 4
    for table in ("public.user_events", "realtime.messages"):
        kept = " ".join(rows(db, f"select each::text from {table} as each"))
        assert ("crew" in kept, "other crowd" in kept) == (False, True)
    assert last_event(db, MATTY) == ("channel.deleted", {"channel_id": channel_id})
    assert last_event(db, BOB)[0] == "channel.left"


def test_unconfirmed_address_gets_no_event(db: Db) -> None:
    email = value(db, "select email from auth.users where id = %s", MALLORY)
    db.execute("update auth.users set email_confirmed_at = null where id = %s", (MALLORY,))
    become(db, MATTY)
    value(db, "select public.create_invitation(%s, email => %s)", WORKSPACE, email)
    assert "invitation.created" not in [event for event, _ in events(db, MALLORY)]


def test_workspace_and_invitation_are_events(db: Db) -> None:
    email = value(db, "select email from auth.users where id = %s", MALLORY)
    db.execute("update auth.users set email_confirmed_at = now(), email = upper(email) where id = %s", (MALLORY,))
    become(db, MATTY)
    invited = value(db, "select public.create_invitation(%s, email => %s)", WORKSPACE, email)
    assert last_event(db, MALLORY) == (
        "invitation.created",
        {"workspace_id": WORKSPACE, "invitation_id": invited["id"], "role": "member"},
    )
    become(db, MALLORY)
    value(db, "select public.accept_invitation(%s)", invited["token"])
    assert last_event(db, MALLORY) == ("workspace.joined", {"workspace_id": WORKSPACE, "role": "member"})
    member = "where workspace_id = %s and user_id = %s"
    db.execute(f"update public.workspace_members set role = 'admin' {member}", (WORKSPACE, MALLORY))
    assert last_event(db, MALLORY) == ("workspace.role_changed", {"workspace_id": WORKSPACE, "role": "admin"})
    db.execute(f"delete from public.workspace_members {member}", (WORKSPACE, MALLORY))
    assert last_event(db, MALLORY) == ("workspace.left", {"workspace_id": WORKSPACE})


def test_channel_mention_skips_author_and_muted(db: Db) -> None:
    add_channel(db, "not muted", [MATTY, CAROL])
    muted = "update public.member_states set is_muted = true where user_id = %s and channel_id = %s"
    db.execute(muted, (CAROL, CHANNEL))
    send(db, "<!channel>")
    event, details = last_event(db, BOB)
    assert (event, details["is_channel"], details["message_seq"]) == ("message.mentioned", True, last_seq(db))
    assert "message.mentioned" not in [last_event(db, user_id)[0] for user_id in (MATTY, CAROL)]
    send(db, f"<!channel> <@{CAROL}>")
    assert last_event(db, CAROL)[0] == "message.mentioned"


def test_log_of_a_user_has_no_gap_and_equals_broadcasts(db: Db) -> None:
    for number in range(5):
        send(db, f"<@{BOB}> {number}")
        mark_read(db, BOB, last_seq(db))
    log = events(db, BOB)
    assert [payload["seq"] for _, payload in log] == list(range(1, len(log) + 1))
    assert [payload["prev_seq"] for _, payload in log] == list(range(len(log)))
    assert broadcasts(db, f"user:{BOB}")[-10:] == log[-10:]
    assert events(db, BOB, len(log) - 3) == log[-3:]


def test_page_of_user_events_says_what_follows(db: Db) -> None:
    become(db, BOB)
    count = len(events(db, BOB))
    become(db, BOB)
    page = value(db, "select public.list_user_events(0, 1)")
    assert page["meta"] == {"last_seq": 1, "has_more": count > 1, "is_incomplete": False}
    assert value(db, "select public.list_user_events(0, %s)", count)["meta"]["has_more"] is False
    end = {"last_seq": count, "has_more": False, "is_incomplete": False}
    assert value(db, "select public.list_user_events(%s)", count)["meta"] == end
    assert value(db, "select public.list_user_events(%s)", count + 9)["meta"] == end
    become_postgres(db)
    db.execute("delete from public.user_events where user_id = %s", (BOB,))
    become(db, BOB)
    assert value(db, "select public.list_user_events(9)")["meta"] == {**end, "last_seq": 0}
    for since, most in ((-1, 1), (None, 1), (0, 0), (0, 1001), (0, None)):
        refused(db, "select public.list_user_events(%s, %s)", since, most, by=psycopg.Error)


def test_clean_up_deletes_old_user_events(db: Db) -> None:
    mark_read(db, BOB, last_seq(db))
    db.execute("update public.user_events set created_at = now() - interval '31 days' where user_id = %s", (BOB,))
    send(db, f"<@{BOB}>")
    db.execute("update private.settings set user_event_days = 32")
    assert value(db, "select private.clean_up()")["user_events"] == 0
    db.execute("update private.settings set user_event_days = 30")
    assert value(db, "select private.clean_up()")["user_events"] > 0
    become(db, BOB)
    answer = value(db, "select public.list_user_events()")
    assert (len(answer["data"]), answer["meta"]["is_incomplete"]) == (1, True)
    first = answer["meta"]["last_seq"]
    for since, is_incomplete in ((first - 2, True), (first - 1, False)):
        meta = value(db, "select public.list_user_events(%s)", since)["meta"]
        assert meta["is_incomplete"] is is_incomplete


def test_clean_up_keeps_the_last_user_event(db: Db) -> None:
    send(db, f"<@{BOB}>")
    last = events(db, BOB)[-1][1]["seq"]
    db.execute("update public.user_events set created_at = now() - interval '31 days'")
    value(db, "select private.clean_up()")
    become(db, BOB)
    assert value(db, "select public.list_user_events(1)")["meta"] == {
        "last_seq": last,
        "has_more": False,
        "is_incomplete": True,
    }


def test_page_of_user_events_says_that_one_within_is_gone(db: Db) -> None:
    for _ in range(3):
        send(db, f"<@{BOB}>")
    last = events(db, BOB)[-1][1]["seq"]
    db.execute("delete from public.user_events where user_id = %s and seq = %s", (BOB, last - 1))
    become(db, BOB)
    answer = value(db, "select public.list_user_events(%s)", last - 3)
    assert [entry["payload"]["seq"] for entry in answer["data"]] == [last - 2, last]
    assert answer["meta"]["is_incomplete"] is True


def test_only_the_user_reads_their_events(db: Db) -> None:
    become(db, CAROL)
    assert set(rows(db, "select user_id::text from public.user_events")) == {CAROL}
    assert may_join(db, BOB, f"user:{BOB}")
    assert not may_join(db, CAROL, f"user:{BOB}")
    assert not may_join(db, None, f"user:{BOB}")
    assert not may_send(db, BOB, f"user:{BOB}")


# Sealed channels


def leave(db: Db, user_id: str, channel_id: str) -> None:
    db.execute("delete from public.channel_members where channel_id = %s and user_id = %s", (channel_id, user_id))


def test_removed_member_gets_no_content(db: Db) -> None:
    channel_id = add_channel(db, "secret", [MATTY, BOB, CAROL])
    topic = f"channel:{channel_id}"
    send(db, "before", MATTY, channel_id)
    leave(db, BOB, channel_id)
    send(db, "after", MATTY, channel_id)
    *_, before, left, after = broadcasts(db, topic)
    assert before[1]["content"] == "before"
    assert left == ("member.left", left[1] | {"user_id": BOB})
    assert set(after[1]) == {"id", "channel_id", "seq", "prev_seq", "truncated", "topic"}
    assert (after[1]["truncated"], after[1]["topic"]) == (True, f"{topic}:1")
    assert [payload["content"] for _, payload in broadcasts(db, f"{topic}:1") if "content" in payload] == ["after"]
    assert mine(db, CAROL, channel_id)["topic"] == f"{topic}:1"


def test_only_members_join_the_current_turn(db: Db) -> None:
    channel_id = add_channel(db, "secret", [MATTY, BOB, CAROL])
    topic = f"channel:{channel_id}"
    assert not may_join(db, MATTY, f"{topic}:1")
    leave(db, BOB, channel_id)
    assert may_join(db, MATTY, topic)
    assert may_join(db, MATTY, f"{topic}:1")
    assert may_join(db, MATTY, f"{topic}:1:live", "presence")
    assert may_send(db, MATTY, f"{topic}:1:live")
    assert not may_send(db, MATTY, f"{topic}:1")
    assert not may_join(db, MATTY, f"channel:{CHANNEL}:1")
    for turn in ("0", "2", "01", "1x", "", "1:1", "9" * 30, "-1"):
        assert not may_join(db, MATTY, f"{topic}:{turn}"), turn
    assert not may_join(db, BOB, f"{topic}:1")
    assert not may_join(db, BOB, f"{topic}:1:live", "presence")
    leave(db, CAROL, channel_id)
    assert not may_join(db, MATTY, f"{topic}:1")
    assert may_join(db, MATTY, f"{topic}:2")


def test_second_removal_tells_the_first_nothing(db: Db) -> None:
    channel_id = add_channel(db, "secret", [MATTY, BOB, CAROL])
    leave(db, BOB, channel_id)
    broadcasts(db, "")
    leave(db, CAROL, channel_id)
    event, payload = broadcasts(db, f"channel:{channel_id}")[-1]
    assert (event, payload["truncated"], "user_id" in payload) == ("member.left", True, False)


def test_deleted_message_leaves_the_turn_too(db: Db) -> None:
    channel_id = add_channel(db, "secret", [MATTY, BOB])
    leave(db, BOB, channel_id)
    message = send(db, "regretted", MATTY, channel_id)
    call(db, "edit_message", MATTY, id=message, content="regretted twice")
    assert "regretted twice" in str(broadcasts(db, f"channel:{channel_id}:1"))
    call(db, "delete_message", MATTY, id=message)
    assert "regretted" not in str(broadcasts(db, f"channel:{channel_id}:1"))


def test_seal_ends_with_the_lifetime_of_tokens(db: Db) -> None:
    channel_id = add_channel(db, "secret", [MATTY, BOB])
    leave(db, BOB, channel_id)
    db.execute("update private.channel_counters set sealed_until = now() - interval '1 second'")
    send(db, "open again", MATTY, channel_id)
    assert broadcasts(db, f"channel:{channel_id}")[-1][1]["content"] == "open again"
    assert broadcasts(db, f"channel:{channel_id}:1") == []
    assert mine(db, MATTY, channel_id)["topic"] == f"channel:{channel_id}"
