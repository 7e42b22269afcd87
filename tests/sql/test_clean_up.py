"""sql/420_clean_up.sql: clean-up in small rounds; also erasure, export and metrics."""

import json
import uuid
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support.calls import call, ingest
from tests.support.database import Db, become, become_postgres, become_service, refused, rows, value
from tests.support.ingest import conversation, message
from tests.support.world import BOB, CAROL, CHANNEL, JOHN_DOE, MALLORY, MATTY, MESSAGE, TWIN, WORKSPACE

# A statement that creates one row of an age; its table and key; the age at which clean-up removes it.
KINDS = {
    "idempotency_keys": (
        """
        insert into private.idempotency_keys (principal, route, key, request_hash, created_at)
        values ('x', 'x', %(name)s, '', now() - %(age)s::interval)
        """,
        "select key from private.idempotency_keys where principal = 'x'",
        "24 hours",
    ),
    "request_counts": (
        "insert into private.request_counts values (md5(%(name)s)::uuid, now() - %(age)s::interval, 1)",
        "select user_id from private.request_counts",
        "1 hour",
    ),
    "messaging_keys": (
        """
        insert into private.messaging_keys (connection_id, secret_hash, expires_at)
        select id, sha256(%(name)s::bytea), now() - %(age)s::interval
        from public.messaging_connections where connection_id = 'signal_123'
        """,
        "select id from private.messaging_keys where expires_at is not null",
        "30 days",
    ),
    "twin_secrets": (
        """
        with hook as (
            insert into public.twin_webhooks (ai_twin_id, url) select id, 'https://x.org' from public.ai_twins limit 1
            on conflict (ai_twin_id) do update set url = excluded.url returning ai_twin_id
        )
        insert into private.twin_secrets (ai_twin_id, inner_key, outer_key, expires_at)
        select ai_twin_id, decode(repeat('00', 64), 'hex'), decode(repeat('00', 64), 'hex'),
            now() - %(age)s::interval from hook where %(name)s <> ''
        """,
        "select id from private.twin_secrets where expires_at is not null",
        "1 day",
    ),
    "twin_deliveries": (
        """
        with hook as (
            insert into public.twin_webhooks (ai_twin_id, url)
            select ai_twin_id, 'https://x.org' from public.channel_twins limit 1
            on conflict (ai_twin_id) do update set url = excluded.url returning ai_twin_id
        ), queue as (
            insert into private.twin_queues (ai_twin_id, channel_id, user_id)
            select ai_twin_id, channel_id, ai_twin_id from public.channel_twins
            where ai_twin_id in (select ai_twin_id from hook)
            on conflict (ai_twin_id, channel_id) do update set due_at = null returning ai_twin_id, channel_id
        )
        insert into public.twin_deliveries (ai_twin_id, channel_id, message_id, seq, state, finished_at)
        select ai_twin_id, queue.channel_id, message.id, hashtext(%(name)s), 'delivered', now() - %(age)s::interval
        from queue cross join (select id from public.messages limit 1) as message limit 1
        """,
        "select id from public.twin_deliveries",
        "7 days",
    ),
    "summaries": (
        """
        insert into private.summaries (
            channel_id, last_seq, requested_count, model, prompt_version, lease_expires_at, answer, finished_at
        )
        select id, hashtext(%(name)s), 1, 'x', 1, now(), '{}', now() - %(age)s::interval
        from public.channels limit 1
        """,
        "select id from private.summaries",
        "1 day",
    ),
    "user_events": (
        """
        insert into public.user_events (user_id, seq, kind, created_at)
        select id, hashtext(%(name)s) - 10000000000, 'channel.left', now() - %(age)s::interval from auth.users limit 1
        """,
        "select seq from public.user_events where seq < 0",
        "30 days",
    ),
    "ingest_log": (
        """
        insert into public.ingest_log (workspace_id, user_id, connection_id, at, status)
        values (gen_random_uuid(), gen_random_uuid(), %(name)s, now() - %(age)s::interval, 200)
        """,
        "select id from public.ingest_log",
        "30 days",
    ),
}

# The setting of each kind; counts of requests have none.
SETTINGS = {
    "idempotency_keys": "idempotency_hours",
    "messaging_keys": "ingest_log_days",
    "twin_secrets": "twin_secret_days",
    "twin_deliveries": "delivery_days",
    "summaries": "summary_days",
    "ingest_log": "ingest_log_days",
    "user_events": "user_event_days",
}


def make(db: Db, kind: str, name: str, age: str) -> None:
    db.execute(KINDS[kind][0], {"name": name, "age": age})


def clean(db: Db, limit: int = 100) -> dict[str, int]:
    return value(db, "select private.clean_up(%s)", limit)


@pytest.mark.parametrize("kind", KINDS)
def test_clean_up_removes_only_expired_rows(db: Db, kind: str) -> None:
    _, left, age = KINDS[kind]
    for setting in {*SETTINGS.values()} - {SETTINGS.get(kind)}:
        db.execute(f"update private.settings set {setting} = 3 * {setting}")
    make(db, kind, "old", f"{age} 1 minute")
    make(db, kind, "young", f"{age} -1 minute")
    assert len(rows(db, left)) == 2
    assert clean(db)[kind] == 1
    assert len(rows(db, left)) == 1
    assert clean(db)[kind] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_clean_up_respects_the_row_limit(db: Db, kind: str) -> None:
    for number in range(5):
        make(db, kind, f"old {number}", "90 days")
    db.execute("select pg_sleep(0.002)")  # ids of one millisecond have no order
    make(db, kind, "young", "1 minute")
    assert [clean(db, 2)[kind] for _ in range(4)] == [2, 2, 1, 0]


def test_clean_up_removes_summaries_that_never_ended(db: Db) -> None:
    make(db, "summaries", "old", "1 minute")
    db.execute("update private.summaries set finished_at = null, answer = null, lease_expires_at = '1999-01-01'")
    assert clean(db)["summaries"] == 1


def test_clean_up_of_logs_respects_the_row_limit(db: Db) -> None:
    db.execute("update private.settings set channel_event_days = 7")
    for number in range(4):
        call(db, "create_message", channel_id=CHANNEL, content=f"{number}")
    db.execute("update public.message_events set created_at = '1999-01-01'")
    assert clean(db, 3)["message_events"] == 3


def state(db: Db) -> list[Any]:
    tables = ("public.messages", "public.message_events", "public.conversation_messages", "public.people")
    return [rows(db, f"select md5(line::text) from {table} as line order by 1") for table in tables]


def test_clean_up_keeps_old_messages_and_events(db: Db) -> None:
    ingest(db, conversation(message(sent_at="1999-01-01T00:00:00Z")))
    call(db, "create_message", channel_id=CHANNEL, content="old")
    db.execute("update public.message_events set created_at = '1999-01-01'")
    before = state(db)
    clean(db)
    assert state(db) == before


def test_clean_up_keeps_dead_deliveries(db: Db) -> None:
    make(db, "twin_deliveries", "old", "100 days")
    db.execute("update public.twin_deliveries set state = 'dead'")
    clean(db)
    assert rows(db, "select state from public.twin_deliveries") == ["dead"]


def test_second_clean_up_does_not_run_concurrently(db: Db, admin_url: str) -> None:
    with psycopg.connect(admin_url) as other:
        other.execute("select private.clean_up()")
        assert clean(db) == {}
        other.rollback()
    assert clean(db) != {}


def test_only_the_service_may_clean_up(db: Db) -> None:
    make(db, "ingest_log", "old", "31 days")
    reply = call(db, "clean_up", None, limit=5)
    assert (reply.status, reply.data["ingest_log"]) == (200, 1)
    assert call(db, "clean_up", MATTY).error[:2] == (403, "forbidden")
    become(db, MATTY)
    refused(db, "select private.clean_up()")


@pytest.mark.parametrize("limit", [0, 100_001, "x"])
def test_invalid_clean_up_limit_is_rejected(db: Db, limit: object) -> None:
    assert call(db, "clean_up", None, limit=limit).error == (400, "invalid_field", "limit")


# Erasure


def test_erasing_a_person_removes_conversations_with_receipt(db: Db) -> None:
    ingest(
        db,
        conversation(message("a"), message("b"), external_id="one", participant_identifier="+1 234 567 890"),
        conversation(message("c"), external_id="two", participant_identifier="+1 (234) 567-890"),
        conversation(message("d"), external_id="other", participant_identifier="@somebody"),
    )
    reply = call(db, "erase_person", MATTY, person_id=JOHN_DOE)
    assert reply.status == 200
    in_groups = {"group_messages": 0, "group_updates": 0}
    assert reply.data["erased"] == {"people": 1, "conversations": 2, "conversation_messages": 3, **in_groups}
    assert (reply.data["subject_id"], reply.data["requested_by"]) == (JOHN_DOE, MATTY)
    assert reply.data["similar_conversation_ids"] == []
    assert rows(db, "select external_id from public.conversation_messages") == ["d"]
    assert rows(db, "select from public.people where id = %s", JOHN_DOE) == []
    become(db, MATTY)
    assert rows(db, "select id::text, erased from public.erasures") == [(reply.data["id"], reply.data["erased"])]
    become(db, BOB)
    assert rows(db, "select from public.erasures") == []


def test_erasing_a_person_clears_groups_too(db: Db) -> None:
    number, other, at = "+1 234 567 890", "+1 202 555 0143", "2099-01-01T00:00:00Z"
    db.execute("insert into public.people (user_id, full_name, phone) values (%s, 'Jane', %s)", (MATTY, other))
    react = {"message_id": "b", "sender": "@bea", "type": "reaction", "at": at, "emoji": "x"}
    said = (message("a", sender=number, content="canary"), message("b", sender="@bea", content="kept"))
    said += (message("d", sender=other),)
    edit = {"message_id": "a", "type": "edited", "at": at, "content": "canary again"}
    updates = [edit, {**react, "by": number}, {**react, "by": "@cid"}, {**react, "type": "read", "by": number}]
    updates.append({**react, "message_id": "waits", "sender": number, "by": "@cid"})
    # Of a message that never came.
    updates.append({"message_id": "c", "sender": number, "type": "deleted", "at": at})
    group = {"kind": "group", "participant_identifier": "120363@g.us"}
    second = conversation(message("c", sender=number), external_id="second", **group)
    ingest(db, conversation(*said, updates=updates, **group), second)
    reply = call(db, "erase_person", MATTY, person_id=JOHN_DOE)
    assert (reply.data["erased"]["group_messages"], reply.data["erased"]["group_updates"]) == (2, 4)
    log = "select distinct cardinality(senders) = cardinality(external_ids) from private.inbox_changes"
    assert rows(db, f"{log} where senders is not null") == [True]
    kept, _ = rows(db, "select message from public.conversation_messages order by external_id")
    assert (kept["content"], [each["by"] for each in kept["reactions"]]) == ("kept", ["@cid"])
    for table in (
        "public.conversations", "public.conversation_messages", "public.conversation_updates", "realtime.messages",
        "private.inbox_changes", "private.group_participants", "private.continued_messages", "private.word_backlog",
    ):  # fmt: skip
        found = " ".join(rows(db, f"select each::text from {table} as each"))
        assert number not in found, table
        assert "canary" not in found, table
    pairs = "unnest(external_ids, senders) as each (id, sender)"
    logged = rows(db, f"select array(select sender from {pairs} order by id) from private.inbox_changes")
    assert ["", "@bea", "", other] in logged


def test_receipt_keeps_the_id_of_its_request(db: Db) -> None:
    become(db, MATTY)
    db.execute("select set_config('request.headers', '{\"x-request-id\": \"r1\"}', true)")
    db.execute("select public.erase_person(person_id => %s)", (JOHN_DOE,))
    assert rows(db, "select request_id from public.erasures") == ["r1"]


def test_erased_person_stays_in_groups_of_other_workspaces(db: Db) -> None:
    number = "+1 234 567 890"
    read = {"message_id": "b", "sender": "@bea", "type": "read", "by": number, "at": "2026-02-01T11:00:00Z"}
    said = (message("a", sender=number), message("b", sender="@bea"))
    group = conversation(*said, updates=[read], kind="group", participant_identifier="120363@g.us")
    become(db, BOB)
    made = value(db, "select public.create_messaging_connection('signal', 'bobs')")
    become_postgres(db)
    ingest(db, group)
    ingest(db, group, connection=("signal", "bobs"), key=made["api_secret"])
    db.execute(
        "insert into private.conversation_media (path, conversation_id, workspace_id, external_id, sender)"
        " select conversation_id || external_id, conversation_id, workspace_id, external_id, sender"
        " from public.conversation_messages"
    )
    db.execute(
        "insert into private.continued_messages (conversation_id, external_id, sender, name)"
        " select conversation_id, external_id, sender, 'x' from public.conversation_messages"
    )
    lines = {
        table: f"select md5(line::text) from {table} as line inner join public.conversations as parent"
        " on parent.id = line.conversation_id where parent.workspace_id = %s order by 1"
        for table in (
            "public.conversation_messages", "public.conversation_updates", "private.group_participants",
            "private.conversation_media", "private.continued_messages",
        )
    }  # fmt: skip
    log = "select senders from private.inbox_changes where workspace_id = %s order by id"
    before = [rows(db, query, BOB) for query in (*lines.values(), log)]
    erased = call(db, "erase_person", MATTY, person_id=JOHN_DOE).data["erased"]
    assert (erased["group_messages"], erased["group_updates"]) == (1, 1)
    assert [rows(db, query, BOB) for query in (*lines.values(), log)] == before
    counts = {table: len(rows(db, query, MATTY)) for table, query in lines.items()}
    assert counts == dict.fromkeys(lines, 1) | {"public.conversation_updates": 0}
    assert [rows(db, log, BOB) == rows(db, log, MATTY), len(before[0])] == [False, 2]


def test_named_conversations_are_erased_with_the_person(db: Db) -> None:
    ingest(db, conversation(message("a"), participant_identifier="@john"))
    [thread] = rows(db, "select id::text from public.conversations")
    reply = call(db, "erase_person", MATTY, person_id=JOHN_DOE, conversation_ids=[thread])
    assert reply.data["erased"]["conversations"] == 1
    assert rows(db, "select from public.conversations") == []


def test_possible_conversations_stay_and_are_reported(db: Db) -> None:
    db.execute(
        "insert into public.people (user_id, full_name, phone) values (%s, 'Twin A', %s), (%s, 'Twin B', '2025550143')",
        (MATTY, "202 555-0143", MATTY),
    )
    ingest(db, conversation(message(), participant_identifier="+1 202 555 0143"))
    ingest(db, conversation(external_id="without messages", participant_identifier="+1 202 555 0143"))
    threads = sorted(rows(db, "select id::text from public.conversations"))
    for days, thread in enumerate(threads):
        last = "update public.conversations set last_message_at = now() - %s * interval '1 day' where id = %s"
        db.execute(last, (days, thread))
    # The last six digits are the same, and then the workspace is another one.
    ingest(db, conversation(message(), participant_identifier="+1 302 555 0143", external_id="other"))
    become(db, BOB)
    made = value(db, "select public.create_messaging_connection('signal', 'bobs')")
    become_postgres(db)
    same = conversation(message(), participant_identifier="+1 202 555 0143")
    ingest(db, same, connection=("signal", "bobs"), key=made["api_secret"])
    twin = value(db, "select id::text from public.people where full_name = 'Twin A'")
    reply = call(db, "erase_person", MATTY, person_id=twin)
    assert reply.data["erased"]["conversations"] == 0
    assert reply.data["similar_conversation_ids"] == threads


def test_conversation_that_is_matched_later_is_erased_too(db: Db) -> None:
    known = {"kind": "email", "value": "john@x.example"}
    add = "insert into public.person_identifiers (person_id, kind, value) values (%s, 'email', %s)"
    db.execute(add, (JOHN_DOE, known["value"]))
    ingest(db, conversation(message("a"), participant_identifier="@john", identifiers=[known]))
    ingest(db, conversation(message("b"), external_id="other"))
    # As ingest leaves it while people change.
    db.execute("update public.conversations set person_id = null, matched_by = null")
    db.execute("insert into private.late_matches select id, workspace_id from public.conversations")
    reply = call(db, "erase_person", MATTY, person_id=JOHN_DOE)
    assert reply.data["erased"]["conversations"] == 1
    assert rows(db, "select external_id from public.conversation_messages") == ["b"]


def test_merged_people_are_erased_together(db: Db) -> None:
    insert = "insert into public.people (user_id, full_name) values (%s, 'x') returning id::text"
    merged, last, other = (value(db, insert, MATTY) for _ in range(3))
    call(db, "merge_people", MATTY, person_id=merged, merged_person_id=last)
    call(db, "merge_people", MATTY, person_id=JOHN_DOE, merged_person_id=merged)
    for who in (MATTY, None):
        assert call(db, "erase_person", BOB, person_id=JOHN_DOE).status == 404
        many = call(db, "erase_person", who, person_id=JOHN_DOE, conversation_ids=[CHANNEL] * 1001)
        assert many.error == (400, "invalid_field", "conversation_ids")
        most = call(db, "erase_person", who, person_id=JOHN_DOE, conversation_ids=[CHANNEL] * 1000)
        assert most.status == 404
        reply = call(db, "erase_person", who, person_id=JOHN_DOE if who else other)
        assert reply.data["erased"]["people"] == (3 if who else 1)
        assert (reply.data["kind"], reply.data["requested_by"]) == ("person", who)
    assert rows(db, "select from public.people where id = any(%s)", [JOHN_DOE, merged, last, other]) == []
    audited = "select subject_id::text from public.audit_log where action = 'person.erased'"
    assert sorted(rows(db, audited)) == sorted([JOHN_DOE, other])


def test_users_cannot_erase_rows_of_others(db: Db) -> None:
    ingest(db, conversation(message()))
    [thread] = rows(db, "select id::text from public.conversations")
    assert call(db, "erase_person", BOB, person_id=JOHN_DOE).error == (404, "person_not_found", "person_id")
    db.execute("insert into public.people (user_id, full_name) values (%s, 'Bob''s')", (BOB,))
    own = value(db, "select id::text from public.people where user_id = %s", BOB)
    reply = call(db, "erase_person", BOB, person_id=own, conversation_ids=[thread])
    assert reply.error == (404, "conversation_not_found", "conversation_ids")
    assert len(rows(db, "select from public.conversations")) == 1
    assert call(db, "erase_user", BOB, user_id=MATTY).error[:2] == (403, "forbidden")


@pytest.mark.parametrize("ids", ["x", [1], ["x"], {}, [None], ["0b9d3c52-6f0e-4a6c-9d5e-000000000001"] * 1001])
def test_conversation_ids_must_be_uuids(db: Db, ids: object) -> None:
    reply = call(db, "erase_person", MATTY, person_id=JOHN_DOE, conversation_ids=ids)
    assert (reply.status, reply.error[2]) == (400, "conversation_ids")


def test_erasing_a_user_removes_all_they_wrote(db: Db) -> None:
    ingest(db, conversation(message("secret-canary", content="secret-canary")))
    said = call(db, "create_message", MATTY, channel_id=CHANNEL, content="secret-canary").data["id"]
    call(db, "edit_message", MATTY, id=said, content="secret-canary, too")
    for who in ({"user_id": MATTY}, {"ai_twin_id": TWIN}):
        call(db, "create_message", None, key=str(who), channel_id=CHANNEL, content="secret-canary", **who)
    become(db, MATTY)
    former = value(db, "insert into public.ai_twins (display_name) values ('x') returning id::text")
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (CHANNEL, former))
    for number in range(2):
        content = f"secret-canary {number}"
        sent = call(db, "create_message", MATTY, channel_id=CHANNEL, content=content, ai_twin_id=former)
    call(db, "delete_message", MATTY, id=sent.data["id"])
    become(db, MATTY)
    db.execute("delete from public.ai_twins where id = %s", (former,))
    answer = call(db, "reply_to_message", BOB, id=said, content="what Bob says").data["id"]
    call(db, "toggle_reaction", MATTY, id=answer, emoji="fire")
    call(db, "create_message", MATTY, key="secret-canary", channel_id=CHANNEL, content="x")
    db.execute(
        "insert into private.summaries (channel_id, last_seq, requested_count, model, prompt_version,"
        " lease_expires_at, answer, finished_at)"
        " select %s, n, 1, 'x', 1, now(), %s, now() from generate_series(1, 2) as n",
        (CHANNEL, Jsonb({"summary": "secret-canary"})),
    )
    before = value(db, "select count(*) from public.messages where user_id = %s", MATTY)
    # As a broadcast to the members of a sealed channel.
    db.execute(
        "insert into realtime.messages (id, topic, extension, event, payload, private) select"
        " private.broadcast_id(channel_id, seq, channel_id), 'sealed', 'broadcast', kind, %s, true"
        " from public.message_events where kind = 'reaction.added' and actor_id = %s",
        (Jsonb({"user_id": MATTY}), MATTY),
    )
    reply = call(db, "erase_user", None, user_id=MATTY)
    assert reply.status == 200, reply.body
    assert rows(db, "select payload -> 'user_id' from realtime.messages where topic = 'sealed'") == [None]
    emojis = "select distinct emoji from public.message_events where message_id = %s and kind = 'reaction.added'"
    assert rows(db, emojis, answer) == [None]
    erased = reply.data["erased"]
    assert (erased["conversations"], erased["conversation_messages"], erased["summaries"]) == (1, 1, 2)
    assert erased["messages"] >= before
    assert erased["connections"] == 4
    assert traces(db, MATTY, "secret-canary") == {("public.erasures", MATTY), ("public.audit_log", MATTY)}
    assert value(db, "select parent_message_id from public.messages where id = %s", answer) is None
    assert rows(db, "select from public.messages where id = %s", sent.data["id"]) == []
    assert call(db, "erase_user", None, user_id=MATTY).error == (404, "user_not_found", "user_id")
    become(db, BOB)
    assert rows(db, "select from public.erasures") == []  # the service asked for it


# What belongs to a user, or goes with one.
BELONGINGS = {
    "connections": "public.messaging_connections where workspace_id = %(who)s",
    "people": "public.people where workspace_id = %(who)s",
    "conversations": "public.conversations where workspace_id = %(who)s",
    "conversation_messages": "public.conversation_messages where workspace_id = %(who)s",
    "twins": "public.ai_twins where user_id = %(who)s",
    "memberships": "public.channel_members where user_id = %(who)s",
    "reactions": "public.message_reactions where user_id = %(who)s",
    "messages": "public.messages where user_id = %(who)s or ai_twin_id in"
    " (select id from public.ai_twins where user_id = %(who)s)",
    "files": "public.attachments where uploaded_by = %(who)s",
    "summaries": "private.summaries where channel_id = any(%(channels)s)",
}


def test_receipt_counts_what_belonged_to_the_user(db: Db) -> None:
    quiet = value(db, "insert into public.channels (name, created_by) values ('quiet', %s) returning id", BOB)
    db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (quiet, MATTY))
    # Only a file of the user is left there.
    left = value(db, "insert into public.channels (name, created_by) values ('left', %s) returning id", BOB)
    ids = {"who": MATTY, "channels": [uuid.UUID(CHANNEL), quiet, left]}
    ingest(db, conversation(message("a"), message("b")), conversation(message("c"), external_id="other"))
    become(db, BOB)
    made = value(db, "select public.create_messaging_connection('signal', 'bobs')")
    twin = value(db, "insert into public.ai_twins (display_name) values ('x') returning id::text")
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (CHANNEL, twin))
    db.execute("insert into public.people (full_name) values ('x')")
    # What the user made for a team stays with it.
    become(db, MATTY)
    of_team = value(db, "select public.create_messaging_connection('signal', 'teams', %s)", WORKSPACE)
    db.execute("insert into public.people (workspace_id, full_name) values (%s, 'x')", (WORKSPACE,))
    become_postgres(db)
    ingest(db, conversation(message("e")), connection=("signal", "teams"), key=of_team["api_secret"])
    call(db, "create_message", BOB, channel_id=CHANNEL, content="x", ai_twin_id=twin)
    call(db, "create_message", None, key="of the twin", channel_id=CHANNEL, content="x", ai_twin_id=TWIN)
    db.execute("alter table public.attachments disable trigger attachments_10_set_details")
    file = "insert into public.attachments (channel_id, file_name, size, content_type, uploaded_by)"
    for who in (MATTY, BOB):
        db.execute(f"{file} values (%s, 'x', 1, 'text/plain', %s)", (CHANNEL, who))
    db.execute(f"{file} values (%s, 'x', 1, 'text/plain', %s)", (left, MATTY))
    db.execute("alter table public.attachments enable trigger attachments_10_set_details")
    ingest(db, conversation(message("d")), connection=("signal", "bobs"), key=made["api_secret"])
    for who in (MATTY, BOB):
        call(db, "add_reaction", who, id=MESSAGE, emoji="wave")
        db.execute("insert into public.channels (name, created_by) values ('alone', %s)", (who,))
        call(db, "create_message", None, key=f"of {who}", channel_id=CHANNEL, user_id=who, content="x")
    call(db, "create_message", MATTY, channel_id=CHANNEL, content="x", ai_twin_id=TWIN)
    call(db, "create_message", BOB, key="to Matty", channel_id=CHANNEL, content=f"<@{MATTY}>")
    for channel_id in rows(db, "select id from public.channels"):
        db.execute(
            "insert into private.summaries (channel_id, last_seq, requested_count, model, prompt_version,"
            " lease_expires_at, answer, finished_at) values (%s, 1, 1, 'x', 1, now(), '{}', now())",
            (channel_id,),
        )
    expected = {
        kind: db.execute(f"select count(*) from {where}", ids).fetchone()[0] for kind, where in BELONGINGS.items()
    }
    receipt = call(db, "erase_user", None, user_id=MATTY).data
    # The channel of Matty alone goes with its summary before summaries are counted.
    assert receipt["erased"] == expected | {"channels": 1}
    assert (receipt["kind"], receipt["subject_id"], receipt["requested_by"]) == ("user", MATTY, None)
    assert rows(db, "select key from private.idempotency_keys order by key") == [f"of {BOB}", "to Matty"]
    assert rows(db, "select user_id::text from private.request_counts") == [BOB]
    assert rows(db, "select uploaded_by::text from public.attachments") == [BOB]
    assert value(db, "select count(*) from private.summaries") == 1


def traces(db: Db, *texts: str) -> set[tuple[str, str]]:
    """Return the tables of all schemas that contain one of the texts."""
    tables = rows(
        db,
        """
        select schemaname || '.' || tablename from pg_tables
        where schemaname in ('public', 'private', 'auth', 'storage')
        """,
    )
    return {
        (table, text)
        for table in tables
        for text in texts
        if rows(db, f"select from {table} as line where line::text ~ %s limit 1", text)
    }


def test_erased_user_leaves_no_address_in_invitations(db: Db) -> None:
    db.execute("update auth.users set email = 'Mallory@Example.com' where id = %s", (MALLORY,))
    invite = "select public.create_invitation(%s, email => %s)"
    accept = "select public.accept_invitation(invitation_id => %s)"
    become(db, MATTY)
    used = value(db, invite, WORKSPACE, "Mallory@example.com")["id"]
    become(db, MALLORY)
    db.execute(accept, (used,))
    become(db, MATTY)
    db.execute(invite, (WORKSPACE, "mallory@example.com"))
    kept = value(db, invite, WORKSPACE, "other@example.com")["id"]
    become_postgres(db)
    # One came to another address of hers, and another user has accepted one to hers.
    accepted = (
        "insert into public.workspace_invitations"
        " (workspace_id, email, role, token_hash, expires_at, accepted_at, accepted_by)"
        " select workspace_id, %s, role, sha256(%s), now(), now(), %s from public.workspace_invitations where id = %s"
    )
    for email, who in (("alias@example.com", MALLORY), ("mallory@example.com", CAROL)):
        db.execute(accepted, (email, email.encode(), who, used))
    assert call(db, "erase_user", None, user_id=MALLORY).status == 200
    assert traces(db, "mallory@example.com", "alias@example.com") == set()
    left = rows(db, "select id::text, email from public.workspace_invitations where id = any(%s)", [used, kept])
    assert sorted(left) == sorted([(used, None), (kept, "other@example.com")])


def test_channel_of_erased_owner_passes_on_or_is_deleted(db: Db) -> None:
    shared, lonely = rows(
        db,
        "insert into public.channels (name, created_by) values ('shared', %s), ('lonely', %s) returning id",
        BOB,
        BOB,
    )
    make = "insert into public.channels (workspace_id, name, created_by) values (%s, 'x', %s) returning id"
    of_team, of_another = value(db, make, WORKSPACE, BOB), value(db, make, WORKSPACE, CAROL)
    direct = uuid.UUID(call(db, "open_direct", BOB, user_ids=[CAROL]).data["id"])
    # A backend may write one that has an owner.
    dm = value(db, make.replace("name,", "kind, name,").replace("'x',", "'dm', 'x',"), WORKSPACE, BOB)
    members = "insert into public.channel_members (channel_id, user_id, role, created_at) values (%s, %s, %s, %s)"
    db.execute(members, (shared, MATTY, "member", "2026-01-01"))
    db.execute(members, (shared, CAROL, "admin", "2026-02-01"))
    db.execute(members, (dm, MALLORY, "member", "2026-02-01"))
    standing = value(db, make, BOB, BOB)
    for year, who in enumerate(sorted([MATTY, MALLORY, CAROL]), 2001):
        db.execute(members, (standing, who, "member", f"{4004 - year}-01-01"))
    old = value(db, "insert into public.channels (name, created_by) values ('old', %s) returning id", BOB)
    db.execute(members, (old, MATTY, "member", "2026-02-01"))
    db.execute(members, (old, CAROL, "member", "2026-01-01"))
    receipt = call(db, "erase_user", None, user_id=BOB).data
    assert receipt["erased"]["channels"] == 2
    made = [shared, lonely, of_team, of_another, direct]
    assert set(rows(db, "select id from public.channels where id = any(%s)", made)) == {shared, of_another, direct}
    owners = "select user_id::text from public.channel_members where channel_id = %s and role = 'owner'"
    assert [rows(db, owners, place) for place in (shared, old, dm, direct)] == [[CAROL], [CAROL], [MALLORY], []]
    assert rows(db, owners, standing) == [max(MATTY, MALLORY, CAROL)]


def test_erasure_leaves_no_gap_in_channel_events(db: Db) -> None:
    call(db, "create_message", MATTY, channel_id=CHANNEL, content="x")
    call(db, "erase_user", None, user_id=MATTY)
    seqs = rows(db, "select seq from public.message_events where channel_id = %s order by seq", CHANNEL)
    assert seqs == list(range(1, len(seqs) + 1))


# Export


def pages(db: Db, function: str, user: str | None, **fields: Any) -> list[Any]:
    lines, cursor = [], {}
    while True:
        reply = call(db, function, user, **fields, **cursor)
        assert reply.status == 200, reply.body
        lines += reply.data
        if not reply.meta["next_cursor"]:
            return lines
        cursor = {"after": reply.meta["next_cursor"]}


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 1000])
def test_conversation_export_matches_what_was_ingested(db: Db, limit: int) -> None:
    sent = [message(f"m{n}", sent_at=f"2026-02-01T10:0{n // 2}:00Z", extra=[n]) for n in range(6)]
    sent.reverse()
    ingest(db, conversation(*(each | {"sent_at": "2026-03-01T10:00:00Z"} for each in sent), external_id="later"))
    ingest(db, conversation(*sent))
    # Messages of one moment keep the order in which they came.
    ordered = sorted(sent, key=lambda each: each["sent_at"])
    [thread] = rows(db, "select id::text from public.conversations where external_conversation_id = 'chat'")
    assert pages(db, "export_conversation", MATTY, conversation_id=thread, limit=limit) == ordered
    assert call(db, "export_conversation", BOB, conversation_id=thread).error[0] == 404
    reply = call(db, "export_conversation", MATTY, conversation_id=thread, after="nothing")
    assert reply.error == (400, "invalid_cursor", "after")


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_channel_export_includes_message_details(db: Db, limit: int) -> None:
    said = call(db, "create_message", MATTY, channel_id=CHANNEL, content="first").data["id"]
    for content in ("second", "third"):
        call(db, "edit_message", MATTY, id=said, content=content)
    call(db, "add_reaction", BOB, parameters={"id": said, "emoji": "fire"})
    gone = call(db, "create_message", MATTY, channel_id=CHANNEL, content="gone").data["id"]
    call(db, "delete_message", MATTY, id=gone)
    # The times run backwards, so only the numbers tell the order.
    db.execute("alter table public.messages disable trigger user")
    db.execute("update public.messages set created_at = now() - seq * interval '1 second'")
    db.execute("update public.message_edits set written_at = '2001-01-01', replaced_at = '2002-01-01'")
    lines = pages(db, "export_channel", MATTY, channel_id=CHANNEL, limit=limit)
    expected = "select id::text from public.messages where channel_id = %s and deleted_at is null order by seq"
    assert [line["id"] for line in lines] == rows(db, expected, CHANNEL)
    last = lines[-1]
    [mark] = last["reactions"]
    assert (last["content"], mark["emoji"], mark["user_id"]) == ("third", "fire", BOB)
    times = {"written_at": "2001-01-01T00:00:00.000Z", "replaced_at": "2002-01-01T00:00:00.000Z"}
    assert last["edits"] == [{"version": n, "content": text, **times} for n, text in ((1, "first"), (2, "second"))]
    db.execute("alter table public.messages enable trigger user")
    plain = call(db, "create_message", MATTY, channel_id=CHANNEL, content="plain").data["id"]
    (found,) = (line for line in pages(db, "export_channel", MATTY, channel_id=CHANNEL) if line["id"] == plain)
    assert (found["edits"], found["reactions"]) == ([], [])


def test_page_of_an_export_counts_bytes_of_attachments(db: Db) -> None:
    attachments = [{"name": "\u00e9" * 50}]
    sent = call(db, "create_message", channel_id=CHANNEL, content="\u00e9", attachments=attachments).data
    found = "select bytes from private.measure_messages(%s, 0, 100) where id = %s"
    assert value(db, found, CHANNEL, sent["id"]) == 2 + 2 + len('[{"name": ""}]') + 100


def test_export_pages_a_group_by_sender(db: Db) -> None:
    senders = ["@bea", "@ann", "@cid"]
    said = [message("1", sender=sender) for sender in senders]
    ingest(db, conversation(*said, kind="group", participant_identifier="120363@g.us"))
    [thread] = rows(db, "select id::text from public.conversations")
    lines = pages(db, "export_conversation", MATTY, conversation_id=thread, limit=1)
    assert [line["sender"] for line in lines] == senders


def test_export_by_the_service_is_audited(db: Db) -> None:
    ingest(db, conversation(message()))
    [thread] = rows(db, "select id::text from public.conversations")
    assert call(db, "export_conversation", None, conversation_id=thread).status == 200
    assert call(db, "export_channel", None, channel_id=CHANNEL).status == 200
    found = "select action from public.audit_log where actor_id is null and action like '%%exported' order by action"
    assert rows(db, found) == ["channel.exported", "conversation.exported"]


def test_export_leaves_out_deleted_messages(db: Db) -> None:
    sent = call(db, "create_message", channel_id=CHANNEL, content="gone").data["id"]
    call(db, "delete_message", id=sent)
    for who in (MATTY, None):
        exported = [message["id"] for message in pages(db, "export_channel", who, channel_id=CHANNEL)]
        assert MESSAGE in exported
        assert sent not in exported


def test_export_page_size_is_limited(db: Db) -> None:
    large = "insert into public.message_edits (message_id, version, content, written_at) select %s, n, %s, now()"
    said = [call(db, "create_message", channel_id=CHANNEL, content=str(number)).data["id"] for number in range(3)]
    for id_ in said:
        db.execute(f"{large} from generate_series(1, 30) as n", (id_, "\U0001f600" * 40000))
    first = call(db, "export_channel", MATTY, channel_id=CHANNEL)
    assert len(first.body["data"]) < 7
    lines = pages(db, "export_channel", MATTY, channel_id=CHANNEL)
    assert [line["id"] for line in lines][-3:] == said
    assert [len(line["edits"]) for line in lines][-3:] == [30] * 3


def test_non_members_cannot_export(db: Db) -> None:
    stranger = value(db, "select id::text from auth.users where email = 'mallory@example.com'")
    for after in (None, MESSAGE, str(uuid.uuid4())):
        reply = call(db, "export_channel", stranger, channel_id=CHANNEL, after=after)
        assert reply.error[:2] == (404, "channel_not_found")


def test_export_counts_as_one_request_for_all_pages(db: Db) -> None:
    db.execute("update private.settings set requests_per_minute = 1")
    first = call(db, "export_channel", MATTY, parameters={"channel_id": CHANNEL, "limit": "1"})
    further = call(
        db,
        "export_channel",
        MATTY,
        parameters={"channel_id": CHANNEL, "limit": "1", "after": first.meta["next_cursor"]},
    )
    assert (first.status, further.status) == (200, 200)
    assert call(db, "export_channel", MATTY, parameters={"channel_id": CHANNEL}).status == 429


# Metrics


def measured(db: Db) -> dict[tuple[str, str | None], float]:
    reply = call(db, "read_metrics", None)
    assert len({json.dumps([metric["name"], metric["labels"]]) for metric in reply.data}) == len(reply.data)
    return {(metric["name"], metric["labels"].get("state")): metric["value"] for metric in reply.data}


def test_metrics_count_deliveries_by_state(db: Db) -> None:
    before = measured(db)
    assert before["threadline_twin_delivery_oldest_seconds", None] == 0
    for number, columns in enumerate(
        (
            *["state = 'pending', finished_at = null"] * 2,
            "state = 'pending', finished_at = null, last_error = 'x', created_at = now() - interval '90 s'",
            "state = 'dead', finished_at = now(), created_at = now() - interval '2 h'",
            "state = 'delivered', finished_at = now(), created_at = now() - interval '2 h'",
            "state = 'delivered', finished_at = now() - interval '61 minutes', created_at = now() - interval '2 h'",
        )
    ):
        make(db, "twin_deliveries", f"{number}", "1 day")
        db.execute(f"update public.twin_deliveries set {columns} where seq = hashtext(%s)", (str(number),))
    after = measured(db)
    name = "threadline_twin_deliveries"
    grown = {state or key: after[key, state] - before[key, state] for key, state in after if key.startswith(name)}
    assert grown == {"waiting": 2, "retrying": 1, "dead": 1, f"{name}_in_last_hour": 1}
    assert after["threadline_twin_delivery_oldest_seconds", None] == 90


def test_metrics_count_stored_and_awaited_files(db: Db) -> None:
    ingest(db, conversation(*(message(name) for name in "123")))
    db.execute(
        "insert into private.conversation_media (path, conversation_id, workspace_id, external_id, sender, size)"
        " select external_id, conversation_id, workspace_id, external_id, sender, nullif(external_id::integer, 3)"
        " from public.conversation_messages"
    )
    found = {name: number for (name, _), number in measured(db).items() if name.startswith("threadline_media")}
    assert found == {"threadline_media_files": 2, "threadline_media_bytes": 3, "threadline_media_waiting": 1}


def test_metrics_report_the_last_clean_up(db: Db) -> None:
    db.execute("update private.clean_ups set finished_at = null where true")
    assert measured(db)["threadline_clean_up_age_seconds", None] == -1
    removed = clean(db)
    assert removed == value(db, "select removed from private.clean_ups")
    assert removed["late_matches"] == 0
    ingest(db, conversation(message("1")))
    ingest(db, conversation(message("2")))
    db.execute(
        "update private.word_backlog set created_at = now() - (1 + change_id - (select min(change_id) from"
        " private.word_backlog)) * interval '1 minute'"
    )
    assert measured(db)["threadline_search_backlog_seconds", None] >= 120
    # It ended after the transaction of this test began.
    age = measured(db)["threadline_clean_up_age_seconds", None]
    assert -10 < age < 0
    assert age != -1
    assert measured(db)["threadline_database_bytes", None] > 1_000_000


def test_only_the_service_reads_metrics(db: Db) -> None:
    assert call(db, "read_metrics", MATTY).error[:2] == (403, "forbidden")
    become_service(db)
    assert value(db, "select public.read_metrics('{}'::jsonb)")["success"]
