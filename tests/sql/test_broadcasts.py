"""sql/301_broadcasts.sql: what each topic receives, and the rights to join and send."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support.calls import call, ingest, send
from tests.support.cases import named
from tests.support.cluster import TestCluster
from tests.support.database import Db, add_channel, become, become_postgres, become_service, refused, rows, value
from tests.support.event_log import last_seq
from tests.support.ingest import conversation, message
from tests.support.people import add_conversation, add_person
from tests.support.realtime import broadcasts, fire_deferred_triggers, may_join, may_send
from tests.support.world import (
    BOB,
    CAROL,
    CHANNEL,
    JOHN_DOE,
    MALLORY,
    MATTY,
    MESSAGE,
    NAME_OF_MATTY,
    TWIN,
    UNKNOWN_ID,
    WORKSPACE,
)

TOPIC = f"channel:{CHANNEL}"
INBOX = f"inbox:{MATTY}"


@pytest.fixture(autouse=True)
def quiet(db: Db) -> None:
    """Start each test without broadcasts."""
    db.execute("delete from realtime.messages where true")


def numbered(seq: int) -> dict[str, int]:
    return {"seq": seq, "prev_seq": seq - 1}


# Call, its fields (`id` of the message if needed), and the events that it broadcasts.
CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("create_message", {"channel_id": CHANNEL, "content": "new", "metadata": {"a": 1}}, "message.created"),
    ("reply_to_message", {"id": MESSAGE, "content": "new", "attachments": [{"a": 1}]}, "message.created"),
    ("edit_message", {"id": MESSAGE, "content": "edited once"}, "message.updated"),
    ("pin_message", {"id": MESSAGE}, "message.pinned"),
    ("edit_message", {"id": MESSAGE, "content": "edited while pinned"}, "message.updated"),
    ("unpin_message", {"id": MESSAGE}, "message.unpinned"),
    ("edit_message", {"id": MESSAGE, "content": "edited afterwards"}, "message.updated"),
    ("add_reaction", {"id": MESSAGE, "emoji": "fire"}, "reaction.added"),
    ("remove_reaction", {"id": MESSAGE, "emoji": "fire"}, "reaction.removed"),
    ("toggle_reaction", {"id": MESSAGE, "emoji": "wave"}, "reaction.added"),
    ("pin_message", {"id": MESSAGE}, "message.pinned"),
    ("delete_message", {"id": MESSAGE}, "message.deleted"),
]


def test_call_broadcasts_what_it_answers(db: Db) -> None:
    call(db, "pin_message", id=send(db, "another"))
    fire_deferred_triggers(db)
    for function, fields, event in CALLS:
        db.execute("delete from realtime.messages where true")
        data = call(db, function, **fields).data
        author = {} if event == "message.deleted" else NAME_OF_MATTY
        assert broadcasts(db, TOPIC) == [(event, data | author | numbered(last_seq(db)))], (function, fields)


def test_pin_by_service_role_broadcasts_the_named_user(db: Db) -> None:
    data = call(db, "pin_message", None, id=MESSAGE, user_id=BOB).data
    assert broadcasts(db, TOPIC) == [("message.pinned", data | NAME_OF_MATTY | numbered(last_seq(db)))]


def test_membership_changes_are_broadcast(db: Db) -> None:
    become_service(db)
    db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (CHANNEL, MALLORY))
    db.execute("delete from public.channel_members where user_id = %s", (MALLORY,))
    become_postgres(db)
    seq, sent = last_seq(db), broadcasts(db, TOPIC)
    assert [(event, payload["user_id"], payload["channel_id"]) for event, payload in sent] == [
        ("member.joined", MALLORY, CHANNEL),
        ("member.left", MALLORY, CHANNEL),
    ]
    shown = {"channel_id", "user_id", "display_name", "avatar_url", "created_at", "seq", "prev_seq"}
    assert [payload.keys() for _, payload in sent] == [shown] * 2
    assert [payload["seq"] for _, payload in sent] == [seq - 1, seq]
    known = "select private.format_time(created_at) from public.message_events where channel_id = %s and seq > %s"
    assert [payload["created_at"] for _, payload in sent] == rows(db, f"{known} order by seq", CHANNEL, seq - 2)


def test_failed_or_rolled_back_change_is_not_broadcast(db: Db) -> None:
    call(db, "create_message", channel_id=CHANNEL, content="")
    with db.transaction(force_rollback=True):
        send(db)
    assert broadcasts(db, TOPIC) == []


def test_each_event_of_a_transaction_is_broadcast_once(db: Db) -> None:
    become_service(db)
    (other,) = rows(db, "insert into public.channels (name, created_by) values ('b', %s) returning id::text", MATTY)
    db.execute(
        """
        insert into public.messages (channel_id, user_id, content)
        select case n %% 2 when 0 then %s else %s end::uuid, %s, n from generate_series(1, 200) as n
        """,
        (CHANNEL, other, MATTY),
    )
    db.execute("update public.messages set content = content || ' edited' where content in ('2', '4')")
    become_postgres(db)
    for channel_id in (CHANNEL, other):
        logged = rows(db, "select kind, seq from public.message_events where channel_id = %s order by seq", channel_id)
        sent = [(event, payload["seq"]) for event, payload in broadcasts(db, f"channel:{channel_id}")]
        assert sent == logged[-len(sent) :]
        assert len(sent) >= 101
    # Each event shows the state at its time, not the final state.
    contents = [payload["content"] for _, payload in broadcasts(db, TOPIC)]
    assert contents[:-2] == [*map(str, range(2, 201, 2))]
    assert sorted(contents[-2:]) == ["2 edited", "4 edited"]  # a statement changes rows in any order
    send(db)
    assert broadcasts(db, TOPIC)[-1][1]["seq"] == last_seq(db)
    assert len(broadcasts(db, TOPIC)) == 103


def test_message_deleted_in_same_transaction_is_not_broadcast(db: Db) -> None:
    sent = call(db, "create_message", channel_id=CHANNEL, content="a slip")
    call(db, "delete_message", id=sent.data["id"])
    told = broadcasts(db, TOPIC)
    assert "a slip" not in json.dumps(told)
    assert [event for event, _ in told] == ["message.created", "message.deleted"]
    assert told[0][1] == {"id": sent.data["id"], "deleted": True} | numbered(last_seq(db) - 1)


def test_event_of_the_greatest_size_is_broadcast_whole(db: Db) -> None:
    said = send(db, "x" * 39_000)
    last = (
        "from public.messages as said inner join public.message_events as event on said.seq = event.seq"
        " and said.channel_id = event.channel_id where said.id = %s"
    )
    size = value(db, f"select octet_length(private.render_event(event, said)::text) {last}", said)
    for most, is_whole in ((size, True), (size - 1, False)):
        db.execute("update private.settings set broadcast_max_bytes = %s", (most,))
        db.execute("delete from realtime.messages where true")
        db.execute(f"select private.send_event(event, said) {last}", (said,))
        sent = rows(db, "select payload ? 'content' from realtime.messages where topic = %s", TOPIC)
        assert sent == [is_whole]


def test_sealed_channel_sends_twins_new_messages_only(db: Db) -> None:
    db.execute(
        "update private.channel_counters set sealed_until = now() + interval '1 hour', sealed_after = 0"
        " where channel_id = %s",
        (CHANNEL,),
    )
    call(db, "edit_message", id=send(db), content="edited")
    assert [event for event, _ in broadcasts(db, f"twin:{TWIN}")] == ["message.created"]


def test_oversized_event_is_broadcast_as_a_pointer(db: Db) -> None:
    # A control character is six in JSON, a snowman three bytes.
    db.execute("update private.settings set broadcast_max_bytes = 100000")
    for character, count in (("\u0001", 39_999), ("\u2603", 39_000)):
        data = call(db, "create_message", channel_id=CHANNEL, content="x" + character * count).data
        pointer = {"id": data["id"], "channel_id": CHANNEL, "truncated": True}
        assert broadcasts(db, TOPIC)[-1] == ("message.created", pointer | numbered(last_seq(db)))


def test_deleted_channel_broadcasts_its_deletion_as_last_event(db: Db) -> None:
    seq = last_seq(db) + 1
    become(db, MATTY)
    db.execute("delete from public.channels where id = %s", (CHANNEL,))
    become_postgres(db)
    ((event, payload),) = broadcasts(db, TOPIC)
    assert event == "channel.deleted"
    assert payload == {"channel_id": CHANNEL, "created_at": payload["created_at"]} | numbered(seq)
    empty = add_channel(db, "empty", [MATTY])
    db.execute("delete from public.channels where id = %s", (empty,))
    assert broadcasts(db, f"channel:{empty}")[-1][0] == "channel.deleted"


# Topics in warnings, and changes whose broadcasts go there.
LOST: list[tuple[str, Callable[[Db], object]]] = [
    (TOPIC, lambda db: call(db, "pin_message", id=MESSAGE)),
    ("user:", lambda db: db.execute("update public.channels set name = 'x' where id = %s", (CHANNEL,))),
    ("inboxes", lambda db: ingest(db, conversation(message()))),
    ("inboxes", lambda db: add_conversation(db, "@ann", MATTY)),
    ("redacted", lambda db: call(db, "delete_message", id=MESSAGE)),
    (TOPIC, lambda db: db.execute("delete from public.channels where id = %s", (CHANNEL,))),
]


def test_failed_broadcast_loses_no_message(cluster: TestCluster, fresh_database: str) -> None:
    with psycopg.connect(cluster.url(fresh_database)) as admin:
        warnings: list[tuple[str, str | None]] = []
        admin.add_notice_handler(
            lambda notice: warnings.append((str(notice.message_primary), f"{notice.sqlstate} {notice.message_detail}"))
        )
        admin.execute("alter table realtime.messages rename column payload to something_else")
        seq = last_seq(admin)
        send(admin)
        admin.execute("set constraints all immediate")
        assert last_seq(admin) == seq + 1
        for topic, change in LOST:
            warnings.clear()
            change(admin)
            lost = [text for text, codes in warnings if codes == "01TL1 42703" and text.startswith("A broadcast to ")]
            assert any(text.startswith(f"A broadcast to {topic} is lost: column ") for text in lost), topic
            assert len(lost) == len(warnings)


def test_missing_partition_raises_no_warning(cluster: TestCluster, fresh_database: str) -> None:
    with psycopg.connect(cluster.url(fresh_database)) as admin:
        warnings: list[str] = []
        admin.add_notice_handler(lambda notice: warnings.append(str(notice.message_primary)))
        admin.execute("drop table realtime.messages_default")
        seq = last_seq(admin)
        send(admin)
        ingest(admin, conversation(message()))
        admin.execute("set constraints all immediate")
        assert (last_seq(admin), warnings) == (seq + 1, [])


def test_strict_realtime_makes_a_lost_broadcast_an_error(db: Db) -> None:
    lose = "select private.report_lost_broadcast('t', '22000', 'lost')"
    for strict in ("", "off"):
        db.execute("select set_config('threadline.strict_realtime', %s, true)", (strict,))
        db.execute(lose)
    db.execute("set local threadline.strict_realtime = on")
    error = refused(db, lose, by=psycopg.Error)
    assert (error.sqlstate, error.message_primary) == ("22000", "lost")


@pytest.mark.parametrize("partition", ["kept", "dropped"])
def test_event_for_a_message_elsewhere_rolls_back(cluster: TestCluster, fresh_database: str, partition: str) -> None:
    with psycopg.connect(cluster.url(fresh_database)) as admin:
        if partition == "dropped":
            admin.execute("drop table realtime.messages_default")
        other = value(admin, "insert into public.channels (name, created_by) values ('b', %s) returning id", MATTY)
        admin.execute("select private.record_event(%s, 'message.created', %s, %s, null, 1)", (other, MESSAGE, MATTY))
        with pytest.raises(psycopg.errors.SerializationFailure):
            admin.execute("set constraints all immediate")


def test_twin_topic_receives_messages_of_others(db: Db) -> None:
    elsewhere = add_channel(db, "elsewhere", [BOB])
    absent = value(db, "insert into public.ai_twins (user_id, display_name) values (%s, 'b') returning id::text", BOB)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (elsewhere, absent))
    data = call(db, "create_message", BOB, channel_id=CHANNEL, content="hello twin").data
    author = {"display_name": "Bob Okafor", "avatar_url": None}
    assert broadcasts(db, f"twin:{TWIN}") == [("message.created", data | author | numbered(last_seq(db)))]
    call(db, "edit_message", BOB, id=data["id"], content="edited")
    call(db, "create_message", channel_id=CHANNEL, content="I am the twin", ai_twin_id=TWIN)
    assert len(broadcasts(db, f"twin:{TWIN}")) == 1
    assert broadcasts(db, f"twin:{absent}") == []


def test_twins_stop_after_the_hop_limit(db: Db) -> None:
    other = value(db, "insert into public.ai_twins (user_id, display_name) values (%s, 'b') returning id::text", BOB)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (CHANNEL, other))
    owners = {TWIN: MATTY, other: BOB}
    for twin_id in [TWIN, other] * 3:
        call(db, "create_message", owners[twin_id], channel_id=CHANNEL, content="and?", ai_twin_id=twin_id)
    assert len(broadcasts(db, f"twin:{TWIN}") + broadcasts(db, f"twin:{other}")) == 3


LISTENERS = [
    pytest.param(TOPIC, "broadcast", {MATTY, BOB, CAROL}, id="broadcasts of the channel"),
    pytest.param(TOPIC, "presence", set(), id="presence of the channel"),
    pytest.param(f"{TOPIC}:live", "broadcast", {MATTY, BOB, CAROL}, id="broadcasts of the live topic"),
    pytest.param(f"{TOPIC}:live", "presence", {MATTY, BOB, CAROL}, id="presence of the live topic"),
    pytest.param(f"inbox:{MATTY}", "broadcast", {MATTY}, id="broadcasts of the inbox"),
    pytest.param(f"inbox:{MATTY}", "presence", set(), id="presence of the inbox"),
    pytest.param(f"inbox:{WORKSPACE}", "broadcast", set(), id="inbox named as a workspace"),
    pytest.param(f"workspace:{WORKSPACE}", "broadcast", {MATTY, BOB, CAROL}, id="broadcasts of the workspace"),
    pytest.param(f"workspace:{WORKSPACE}", "presence", set(), id="presence of the workspace"),
    pytest.param(f"user:{BOB}", "broadcast", {BOB}, id="broadcasts of a user"),
    pytest.param(f"user:{WORKSPACE}", "broadcast", set(), id="user named as a workspace"),
    pytest.param(f"twin:{TWIN}", "broadcast", {MATTY}, id="broadcasts of the twin"),
]
PEOPLE = [MATTY, BOB, CAROL, MALLORY, UNKNOWN_ID, None]


@pytest.mark.parametrize(("topic", "extension", "listeners"), LISTENERS)
def test_topic_admits_the_right_users(db: Db, topic: str, extension: str, listeners: set[str]) -> None:
    assert {user for user in PEOPLE if may_join(db, user, topic, extension)} == listeners


@pytest.mark.parametrize(("topic", "extension", "listeners"), LISTENERS)
def test_members_send_only_to_the_live_topic(db: Db, topic: str, extension: str, listeners: set[str]) -> None:
    senders = listeners if topic.endswith(":live") else set()
    assert {user for user in PEOPLE if may_send(db, user, topic, extension)} == senders


LOOK_ALIKES = [
    TOPIC.upper(), f"channel:{CHANNEL.upper()}", f"Channel:{CHANNEL}", f" {TOPIC}", f"{TOPIC} ", f"{TOPIC}\n",
    f"{TOPIC}:", f"{TOPIC}:live:", f"{TOPIC}:live:x", f"{TOPIC}:LIVE", f"{TOPIC}:live ", f"{TOPIC}:live\n{TOPIC}",
    f"channel:{{{CHANNEL}}}", f"channel:{CHANNEL.replace('-', '')}", f"channel::{CHANNEL}", f"channel:{CHANNEL}\u200b",
    f"realtime:{TOPIC}", "channel:", "channel:live", "channel::live", "channel:not-a-uuid", "channel:not-a-uuid:live",
    "channel:%", "channel:%:live", "inbox:", "inbox:%", "twin:", "twin:null", "", ":", "channel:' or true --",
    f"{TOPIC}:live" * 1000, "x" * 100_000, f"channel:{UNKNOWN_ID}", f"channel:{UNKNOWN_ID}:live", f"inbox:{BOB}",
    f"inbox:{MATTY}:live", f"twin:{TWIN}:live", f"twin:{UNKNOWN_ID}", f"channel:{MESSAGE}:live",
]  # fmt: skip


@pytest.mark.parametrize("topic", LOOK_ALIKES, ids=lambda topic: ascii(named(topic)[:40]))
def test_similar_topic_admits_no_user(db: Db, topic: str) -> None:
    for extension in ("broadcast", "presence"):
        assert not may_join(db, MATTY, topic, extension)
        assert not may_send(db, MATTY, topic, extension)


def test_other_extensions_admit_no_user(db: Db) -> None:
    for extension in ("postgres_changes", "", "BROADCAST"):
        assert not may_send(db, MATTY, f"{TOPIC}:live", extension)
        assert not may_join(db, MATTY, f"{TOPIC}:live", extension)


def test_removed_member_cannot_rejoin_a_topic(db: Db) -> None:
    db.execute("delete from public.channel_members where user_id = %s", (BOB,))
    for topic in (TOPIC, f"{TOPIC}:live"):
        assert not may_join(db, BOB, topic)
        assert not may_send(db, BOB, topic)


@pytest.mark.parametrize("topic", [TOPIC, INBOX, f"inbox:{BOB}", f"twin:{TWIN}"])
def test_users_cannot_forge_database_broadcasts(db: Db, topic: str) -> None:
    for user_id in (MATTY, BOB, MALLORY):
        become(db, user_id)
        for is_private in (True, False):
            statement = """
            insert into realtime.messages (topic, extension, event, payload, private)
            values (%s, 'broadcast', 'message.created', '{}', %s)
            """
            refused(db, statement, topic, is_private)
        refused(db, "update realtime.messages set topic = %s where true returning 1/0", topic, by=psycopg.Error)
    become_postgres(db)
    assert broadcasts(db, topic) == []


def test_open_policies_affect_other_topics_only(db: Db) -> None:
    db.execute("create policy hear_all on realtime.messages for select to anon, authenticated using (true)")
    db.execute("create policy send_all on realtime.messages for insert to anon, authenticated with check (true)")
    of_users = f"inbox:{MATTY}", f"user:{MATTY}", f"workspace:{WORKSPACE}", f"twin:{TWIN}"
    for topic in (TOPIC, f"{TOPIC}:live", f"{TOPIC}:1", f"{TOPIC}:1:live", f"channel:{UNKNOWN_ID}", *of_users):
        for user_id in (MALLORY, None):
            assert not may_join(db, user_id, topic)
            assert not may_send(db, user_id, topic)
    assert may_join(db, BOB, TOPIC)
    assert not may_send(db, BOB, TOPIC)
    for topic in ("channel:general", f"{TOPIC}:mine", "lobby", f"channel:{CHANNEL.upper()}"):
        assert may_join(db, MALLORY, topic)
        assert may_send(db, None, topic)


def test_live_row_cannot_be_moved_to_the_channel_topic(db: Db) -> None:
    become(db, BOB)
    db.execute("insert into realtime.messages (topic, extension) values (%s, 'broadcast')", (f"{TOPIC}:live",))
    changed = db.execute("update realtime.messages set topic = %s where true", (TOPIC,))
    assert changed.rowcount == 0


def test_table_reader_sees_only_permitted_topics(db: Db) -> None:
    send(db)
    fire_deferred_triggers(db)
    become(db, MALLORY)
    db.execute("select set_config('realtime.topic', %s, true)", (TOPIC,))
    assert rows(db, "select topic from realtime.messages") == []
    become(db, BOB)
    assert set(rows(db, "select topic from realtime.messages")) == {TOPIC}


def test_topic_policies_list_no_topics(db: Db) -> None:
    become(db, MATTY)
    plan = "\n".join(rows(db, "explain select id from realtime.messages"))
    assert "SubPlan" not in plan, plan
    assert "auth.uid" not in plan


def record(db: Db, external_id: str = "chat") -> Any:
    db.execute("set local timezone = 'UTC'")
    return value(
        db, "select to_jsonb(c) from public.conversations as c where external_conversation_id = %s", external_id
    )


def test_ingest_broadcasts_each_conversation_once(db: Db) -> None:
    first = [message(name, sent_at=f"2026-02-01T10:30:0{n}Z") for n, name in enumerate("cba")]
    ingest(db, conversation(*reversed(first)), conversation(message("x"), external_id="other"))
    sent = {
        payload["conversation"]["external_conversation_id"]: (event, payload)
        for event, payload in broadcasts(db, INBOX)
    }
    assert sent["chat"] == (
        "conversation.created",
        {"conversation": record(db), "messages_added": 3, "messages": first},
    )
    assert sent["other"][1]["messages"] == [message("x")]
    assert len(broadcasts(db, INBOX)) == 2
    # The personal workspace has no topic beside the inbox.
    assert set(rows(db, "select topic from realtime.messages")) == {INBOX}


@pytest.fixture
def known(db: Db) -> None:
    """Create a conversation whose broadcast is already sent."""
    ingest(db, conversation(message(), participant_name="A"))
    db.execute("update public.conversations set created_at = now() - interval '1 day' where true")
    fire_deferred_triggers(db)
    db.execute("delete from realtime.messages where true")


def test_new_messages_broadcast_an_update_with_only_them(db: Db, known: None) -> None:
    late = message("m0", sent_at="2026-01-01T00:00:00Z")
    ingest(db, conversation(message(), late))
    assert broadcasts(db, INBOX) == [
        ("conversation.updated", {"conversation": record(db), "messages_added": 1, "messages": [late]})
    ]


def test_participant_change_with_messages_broadcasts_once(db: Db, known: None) -> None:
    new = message("m2", sent_at="2026-03-01T00:00:00Z")
    ingest(db, conversation(new, participant_name="B"))
    told = broadcasts(db, INBOX)
    assert [(event, payload["conversation"]["participant_name"]) for event, payload in told] == [
        ("conversation.updated", "B")
    ]
    assert told[0][1]["messages"] == [new]


@pytest.mark.parametrize(
    "change", [{"participant_name": "B"}, {"participant_identifier": "@tom"}, {"kind": "group"}], ids=str
)
@pytest.mark.parametrize("updated", [None, "another", "m1"])
def test_participant_change_alone_is_broadcast(
    db: Db, known: None, change: dict[str, str], updated: str | None
) -> None:
    updates = [{"message_id": updated, "type": "read", "at": "2026-02-01T11:00:00Z"}] if updated else []
    ingest(db, conversation(message(), updates=updates, **change))
    assert change.items() <= record(db).items()
    shown = rows(db, "select message from public.conversation_messages") if updated == "m1" else []
    assert broadcasts(db, INBOX) == [
        (
            "conversation.updated",
            {"conversation": record(db), "messages_added": 0, "messages": shown},
        )
    ]


def test_replay_broadcasts_nothing(db: Db, known: None) -> None:
    ingest(db, conversation(message(), participant_name="A"))
    assert broadcasts(db, INBOX) == []


def test_conversation_without_messages_is_broadcast(db: Db) -> None:
    ingest(db, conversation())
    assert broadcasts(db, INBOX) == [
        ("conversation.created", {"conversation": record(db), "messages_added": 0, "messages": []})
    ]


def test_row_insert_with_messages_broadcasts_once(db: Db) -> None:
    conversation_id = value(
        db,
        "insert into public.conversations (user_id, platform, external_conversation_id, participant_identifier)"
        " values (%s, 'whatsapp', 'direct', 'x') returning id",
        MATTY,
    )
    db.execute(
        "insert into public.conversation_messages (conversation_id, external_id, workspace_id, sent_at, message)"
        " values (%s, 'm', %s, now(), '{}')",
        (conversation_id, MATTY),
    )
    assert [payload["messages_added"] for _, payload in broadcasts(db, INBOX)] == [1]


def test_change_after_an_ingest_is_broadcast_too(db: Db) -> None:
    ingest(db, conversation(message(), participant_identifier="+49 170 5551234"))
    add_person(db, "+49 170 5551234", MATTY)
    assert [payload["messages_added"] for _, payload in broadcasts(db, INBOX)] == [1, 0]


def test_two_changes_of_a_transaction_are_broadcast_once(db: Db, known: None) -> None:
    for name in "BC":
        db.execute("update public.conversations set participant_name = %s", (name,))
    told = [payload["conversation"]["participant_name"] for _, payload in broadcasts(db, INBOX)]
    assert told == ["C"]
    db.execute("delete from realtime.messages where true")
    for person in (JOHN_DOE, None):
        db.execute("update public.conversations set person_id = %s", (person,))
    assert len(broadcasts(db, INBOX)) == 1


def test_later_person_match_is_broadcast(db: Db) -> None:
    ingest(db, conversation(message(), participant_identifier="+49 170 5551234"))
    fire_deferred_triggers(db)
    db.execute("delete from realtime.messages where true")
    person_id = add_person(db, "+49 170 5551234", MATTY)
    told = broadcasts(db, INBOX)
    assert [payload["conversation"]["person_id"] for _, payload in told] == [str(person_id)]


def test_later_match_in_a_group_is_broadcast(db: Db) -> None:
    member = {"identifier": "+49 170 5551234", "name": "Ann"}
    ingest(db, conversation(message(), kind="group", participant_identifier="1@g.us", participants=[member]))
    fire_deferred_triggers(db)
    db.execute("delete from realtime.messages where true")
    add_person(db, "+49 170 5551234", MATTY)
    assert len(broadcasts(db, INBOX)) == 1


def test_long_history_broadcasts_only_its_count(db: Db) -> None:
    history = [message(f"m{n}") for n in range(11)]
    ingest(db, conversation(*history), conversation(*history[:10], external_id="short"))
    told = {payload["conversation"]["external_conversation_id"]: payload for _, payload in broadcasts(db, INBOX)}
    assert told["chat"] == {"conversation": record(db), "messages_added": 11, "messages": [], "truncated": True}
    assert len(told["short"]["messages"]) == 10
    assert "truncated" not in told["short"]


def test_oversized_messages_are_broadcast_as_a_count(db: Db) -> None:
    ingest(db, conversation(message(content="\u0001" * 40_000)))
    ((_, payload),) = broadcasts(db, INBOX)
    assert (payload["messages_added"], payload["messages"], payload["truncated"]) == (1, [], True)


def test_changed_messages_are_broadcast_within_the_limits(db: Db) -> None:
    sent = [message(f"m{n:02}", sent_at=f"2026-02-01T10:30:{30 - n}Z") for n in range(11)]
    ingest(db, conversation(*sent))
    told = []
    for number, content in ((11, "a"), (10, "b"), (1, "\u0001" * 40_000)):
        db.execute("delete from realtime.messages where true")
        edit = {"type": "edited", "at": f"2026-02-01T11:00:{len(told):02}Z", "content": content}
        ingest(db, conversation(updates=[{**edit, "message_id": each["id"]} for each in sent[:number]]))
        ((event, payload),) = broadcasts(db, INBOX)
        assert (event, payload["messages_added"]) == ("conversation.updated", 0)
        told.append(([each["id"] for each in payload["messages"]], payload.get("truncated", False)))
    assert told == [([], True), ([each["id"] for each in sent[9::-1]], False), ([], True)]


def test_messages_of_a_broadcast_are_limited_by_bytes(db: Db) -> None:
    changes: tuple[Callable[[int], Any], ...] = (
        lambda n: conversation(message("m1", content="\u00fc" * 100), external_id=f"chat {n}"),
        lambda n: conversation(
            updates=[{"message_id": "m1", "type": "read", "at": f"2026-02-01T11:00:0{n}Z"}], external_id="chat 0"
        ),
    )
    told = []
    for change in changes:
        ingest(db, change(0))
        size = value(db, "select max(octet_length('[]' || message::text)) from public.conversation_messages")
        for missing in (0, 1):
            db.execute("delete from realtime.messages where true")
            db.execute("update private.settings set broadcast_max_bytes = %s", (size - missing,))
            ingest(db, change(missing + 1))
            ((_, payload),) = broadcasts(db, INBOX)
            told.append((len(payload["messages"]), payload.get("truncated", False)))
    assert told == [(1, False), (0, True)] * 2


def test_ten_thousand_messages_need_few_broadcasts(db: Db) -> None:
    db.execute("update private.settings set ingest_max_messages = 10000")
    threads = [
        conversation(*(message(f"m{n}") for n in range(2000)), external_id=f"thread {number}") for number in range(5)
    ]
    assert ingest(db, *threads).status == 200
    told = broadcasts(db, INBOX)
    assert [payload["messages_added"] for _, payload in told] == [2000] * 5
    assert max(len(json.dumps(payload)) for _, payload in told) < 2000


PUBLISHED = "select tablename from pg_publication_tables where pubname = 'supabase_realtime' order by 1"


def test_three_tables_are_published_for_postgres_changes(db: Db) -> None:
    assert rows(db, PUBLISHED) == ["conversations", "message_reactions", "messages"]


def test_deleted_conversation_without_messages_is_redacted(db: Db) -> None:
    name = add_conversation(db, "@ann", MATTY)
    fire_deferred_triggers(db)
    db.execute("delete from public.conversations where id = %s", (name,))
    sent = rows(
        db, "select payload - 'id' from realtime.messages where payload #>> '{conversation,id}' = %s", str(name)
    )
    assert sent
    assert all(payload == {"conversation": {"id": str(name)}, "truncated": True} for payload in sent)
