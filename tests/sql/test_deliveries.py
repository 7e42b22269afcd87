"""sql/311_deliveries.sql: what each twin is sent, order, retries, and rights."""

import hashlib
import hmac
import json
from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege

from tests.support.calls import ask, call, send
from tests.support.database import (
    Db,
    become,
    become_anon,
    become_postgres,
    become_service,
    lift_request_limit,
    refused,
    rows,
    value,
)
from tests.support.world import BOB, CAROL, CHANNEL, MALLORY, MATTY, MESSAGE, NAME_OF_MATTY, TWIN, UNKNOWN_ID

URL = "https://twin.example.com/hook?key=1"


@pytest.fixture
def secret(db: Db) -> str:
    """The secret of the seed's twin, which has a webhook."""
    return ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url=URL)["secret"]


def error(db: Db, user_id: str, function: str, **fields: object) -> tuple[str, str]:
    """Return the SQLSTATE and the code of a rejection."""
    become(db, user_id)
    diagnostics = refused(db, f"select public.{function}(%s::jsonb)", json.dumps(fields), by=Exception)
    become_postgres(db)
    return diagnostics.sqlstate, diagnostics.message_detail


def claim(db: Db, limit: int = 100, lease_seconds: int = 60) -> list[dict[str, Any]]:
    return ask(db, None, "claim_deliveries", limit=limit, lease_seconds=lease_seconds)


def finish(db: Db, delivery: dict[str, Any], error: str | None = None, status: int | None = 200) -> str | None:
    fields = {"id": delivery["id"], "lease": delivery["lease"], "status": status, "error": error}
    return ask(db, None, "finish_delivery", **fields)["state"]


def fail(db: Db, delivery: dict[str, Any]) -> str | None:
    return finish(db, delivery, "The webhook answered 500.", 500)


def drain(db: Db) -> list[str]:
    """Return the ids of all messages that can be delivered now, in order."""
    delivered = []
    while claimed := claim(db):
        for delivery in claimed:
            delivered.append(json.loads(delivery["body"])["id"])
            assert finish(db, delivery) == "delivered"
    return delivered


def pass_time(db: Db) -> None:
    """Expire every lease and every retry delay."""
    db.execute("update private.twin_queues set due_at = now() where due_at is not null")


def add_twin(db: Db, owner: str = BOB, channel_id: str = CHANNEL, url: str | None = URL) -> str:
    twin_id = value(
        db, "insert into public.ai_twins (user_id, display_name) values (%s, 'T') returning id::text", owner
    )
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (channel_id, twin_id))
    if url:
        ask(db, owner, "set_twin_webhook", ai_twin_id=twin_id, url=url)
    return twin_id


def add_channel(db: Db, *members: str) -> str:
    channel_id = value(db, "insert into public.channels (name, created_by) values ('c', %s) returning id::text", MATTY)
    for member in members:
        db.execute("insert into public.channel_members (channel_id, user_id) values (%s, %s)", (channel_id, member))
    return channel_id


def outbox(db: Db, message_id: str) -> set[str]:
    return set(rows(db, "select ai_twin_id::text from public.twin_deliveries where message_id = %s", message_id))


def states(db: Db) -> list[tuple[str, int]]:
    return rows(db, "select state, attempts from public.twin_deliveries order by ai_twin_id, channel_id, seq")


# Recipients


def test_message_goes_to_every_twin_with_a_webhook(db: Db, secret: str) -> None:
    other, silent = add_twin(db), add_twin(db, url=None)
    assert outbox(db, send(db)) == {TWIN, other}
    assert silent not in outbox(db, send(db, who=BOB))


def test_twin_does_not_receive_its_own_messages(db: Db, secret: str) -> None:
    other = add_twin(db)
    assert outbox(db, send(db, ai_twin_id=TWIN)) == {other}


def test_twins_of_other_channels_receive_nothing(db: Db, secret: str) -> None:
    other = add_twin(db, MATTY, add_channel(db))
    assert outbox(db, send(db, channel_id=add_channel(db))) == set()
    assert outbox(db, send(db)) == {TWIN}
    assert other not in outbox(db, send(db))
    fields = {"channel_id": CHANNEL, "content": "x", "ai_twin_id": other}
    assert call(db, "create_message", MATTY, **fields).error[1] == "twin_not_allowed"


def test_unstored_message_is_not_forwarded(db: Db, secret: str) -> None:
    assert call(db, "create_message", MATTY, channel_id=CHANNEL, content="").status == 400
    assert states(db) == []


def test_messages_before_the_webhook_are_not_forwarded(db: Db, secret: str) -> None:
    assert claim(db) == []


def test_deleted_message_is_not_delivered(db: Db, secret: str) -> None:
    first, second = send(db), send(db)
    assert call(db, "delete_message", MATTY, id=first).status == 200
    assert drain(db) == [second]


def test_deletion_during_delivery_does_not_block_the_next(db: Db, secret: str) -> None:
    first, second = send(db), send(db)
    (delivery,) = claim(db)
    call(db, "delete_message", MATTY, id=first)
    assert finish(db, delivery) is None
    assert drain(db) == [second, first]  # the twin may have received it, so it gets the deletion


def test_queue_with_only_deleted_messages_is_idle(db: Db, secret: str) -> None:
    call(db, "delete_message", MATTY, id=send(db))
    assert claim(db) == []
    assert rows(db, "select due_at, lease from private.twin_queues") == [(None, None)]
    assert drain(db) == []
    later = send(db)
    assert drain(db) == [later]


@pytest.mark.parametrize(
    "leave",
    [
        f"delete from public.channel_twins where ai_twin_id = '{TWIN}'",
        f"delete from public.channel_members where user_id = '{MATTY}'",
        f"delete from public.twin_webhooks where ai_twin_id = '{TWIN}'",
        f"delete from public.ai_twins where id = '{TWIN}'",
        f"delete from auth.users where id = '{MATTY}'",
    ],
)
def test_twin_that_left_receives_nothing(db: Db, secret: str, leave: str) -> None:
    send(db, who=BOB)
    db.execute(leave)
    assert claim(db) == []
    assert outbox(db, send(db, who=BOB)) == set()


# Hops


def test_twins_stop_after_the_hop_limit(db: Db, secret: str) -> None:
    lift_request_limit(db)
    other = add_twin(db, MATTY)
    send(db, who=BOB)
    heard = [bool(outbox(db, send(db, ai_twin_id=speaker))) for speaker in (TWIN, other) * 5]
    assert heard == [True] * 3 + [False] * 7


@pytest.mark.parametrize("is_root", [True, False])
def test_users_outside_a_thread_do_not_reset_its_hops(db: Db, secret: str, is_root: bool) -> None:
    lift_request_limit(db)
    other = add_twin(db, MATTY)
    parent, heard = send(db, who=BOB), []
    for speaker in (TWIN, other) * 4:
        said = send(db, ai_twin_id=speaker, parent_message_id=parent)
        heard.append(bool(outbox(db, said) - {speaker}))
        parent = parent if is_root else said
        send(db, who=CAROL)
    assert heard == [True] * 3 + [False] * 5


def test_twins_inside_and_outside_a_thread_share_hops(db: Db, secret: str) -> None:
    lift_request_limit(db)
    other, root = add_twin(db, MATTY), send(db, who=BOB)
    heard = []
    for _ in range(4):
        heard.append(bool(outbox(db, send(db, ai_twin_id=TWIN, parent_message_id=root))))
        heard.append(bool(outbox(db, send(db, ai_twin_id=other))))
    assert heard == [True] * 3 + [False] * 5


def test_twins_who_answer_root_and_replies_share_hops(db: Db, secret: str) -> None:
    lift_request_limit(db)
    other, root = add_twin(db, MATTY), send(db, who=BOB)
    heard = []
    for _ in range(4):
        said = send(db, ai_twin_id=TWIN, parent_message_id=root)
        answer = send(db, ai_twin_id=other, parent_message_id=said)
        heard += [bool(outbox(db, said) - {TWIN}), bool(outbox(db, answer) - {other})]
        send(db, who=CAROL)
    assert heard == [True] * 3 + [False] * 5


def test_user_message_resets_the_hops(db: Db, secret: str) -> None:
    other = add_twin(db, MATTY)
    for speaker in (TWIN, other) * 3:
        send(db, ai_twin_id=speaker)
    assert outbox(db, send(db, who=BOB)) == {TWIN, other}
    assert outbox(db, send(db, ai_twin_id=other)) == {TWIN}


def test_consecutive_messages_of_a_twin_are_one_hop(db: Db, secret: str) -> None:
    other = add_twin(db, MATTY)
    assert [outbox(db, send(db, ai_twin_id=TWIN)) for _ in range(6)] == [{other}] * 6
    add_twin(db, channel_id=(empty := add_channel(db, BOB)))
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (empty, TWIN))
    first = send(db, channel_id=empty, ai_twin_id=TWIN)
    assert value(db, "select hops from public.messages where id = %s", first) == 1


@pytest.mark.parametrize("most", [0, 1, 5])
def test_setting_limits_forwarded_hops(db: Db, secret: str, most: int) -> None:
    lift_request_limit(db)
    other = add_twin(db, MATTY)
    db.execute("update private.settings set twin_max_hops = %s", (most,))
    heard = [bool(outbox(db, send(db, ai_twin_id=speaker))) for speaker in (TWIN, other) * 4]
    assert heard == [True] * most + [False] * (8 - most)


def test_clients_cannot_set_hops(db: Db, secret: str) -> None:
    become(db, MATTY)
    refused(db, f"insert into public.messages (channel_id, content, hops) values ('{CHANNEL}', 'x', 0)")


# Content


def test_body_is_the_message_with_its_number(db: Db, secret: str) -> None:
    said = call(
        db, "create_message", MATTY, channel_id=CHANNEL, content="Gr\u00fc\u00dfe \U0001f600", metadata={"a": [1]}
    ).data
    (delivery,) = claim(db)
    seq = value(db, "select seq from public.messages where id = %s", said["id"])
    assert json.loads(delivery["body"]) == {**said, **NAME_OF_MATTY, "seq": seq, "event": "message.created"}
    assert delivery["url"] == URL
    assert delivery["headers"]["threadline-delivery"] == delivery["id"]
    assert delivery["headers"]["threadline-twin"] == TWIN


def signatures(delivery: dict[str, Any]) -> tuple[str, list[str]]:
    time, *found = delivery["headers"]["threadline-signature"].split(",")
    return time.removeprefix("t="), [each.removeprefix("v1=") for each in found]


def signed(delivery: dict[str, Any], secret: str) -> str:
    message = f"{signatures(delivery)[0]}.{delivery['body']}".encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def test_signature_covers_time_and_body(db: Db, secret: str) -> None:
    send(db, "\u00e4\u00f6\u00fc")
    db.execute("update public.twin_deliveries set created_at = now() - interval '1 hour'")
    (delivery,) = claim(db)
    time, found = signatures(delivery)
    assert found == [signed(delivery, secret)]
    assert abs(int(time) - value(db, "select extract(epoch from now())")) <= 1


@pytest.mark.parametrize("length", [0, 1, 54, 63, 64])
def test_signature_is_hmac_for_secrets_of_any_length(db: Db, length: int) -> None:
    key = bytes(range(256))[-length:] if length else b""
    statement = """
    select encode(sha256(private.hmac_block(%s, 92) || sha256(private.hmac_block(%s, 54) || %s)), 'hex')
    """
    assert value(db, statement, key, key, b"text") == hmac.new(key, b"text", hashlib.sha256).hexdigest()


def test_both_secrets_sign_until_the_overlap_ends(db: Db, secret: str) -> None:
    new = ask(db, MATTY, "rotate_twin_secret", ai_twin_id=TWIN)["secret"]
    send(db)
    (delivery,) = claim(db)
    assert set(signatures(delivery)[1]) == {signed(delivery, new), signed(delivery, secret)}
    db.execute("update private.twin_secrets set expires_at = now() where expires_at is not null")
    pass_time(db)
    (delivery,) = claim(db)
    assert signatures(delivery)[1] == [signed(delivery, new)]


def test_later_rotation_does_not_prolong_a_secret(db: Db, secret: str) -> None:
    other = add_twin(db)
    for hours in (1, 720):
        ask(db, MATTY, "rotate_twin_secret", ai_twin_id=TWIN, overlap_hours=hours)
    assert rows(db, "select expires_at from private.twin_secrets where ai_twin_id = %s", other) == [None]
    left = "select extract(hour from min(expires_at) - now()) from private.twin_secrets"
    assert value(db, left) == 1


def test_at_most_five_secrets_sign(db: Db, secret: str) -> None:
    for hours in (720, 720, 720, 720, 720):
        new = ask(db, MATTY, "rotate_twin_secret", ai_twin_id=TWIN, overlap_hours=hours)["secret"]
        db.execute("update private.twin_secrets set created_at = created_at - interval '1 second'")
    send(db)
    (delivery,) = claim(db)
    assert len(signatures(delivery)[1]) == 5
    assert signatures(delivery)[1][0] == signed(delivery, new)


def test_delivery_contains_the_latest_edit(db: Db, secret: str) -> None:
    call(db, "edit_message", MATTY, id=send(db, "before"), content="after")
    assert json.loads(claim(db)[0]["body"])["content"] == "after"


# One at a time, in order


def test_queue_is_delivered_in_order_one_at_a_time(db: Db, secret: str) -> None:
    said = [send(db) for _ in range(3)]
    (first,) = claim(db)
    assert claim(db) == []
    assert finish(db, first) == "delivered"
    assert [json.loads(first["body"])["id"], *drain(db)] == said


def test_queues_do_not_block_each_other(db: Db, secret: str) -> None:
    add_twin(db)
    elsewhere = add_channel(db)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (elsewhere, TWIN))
    send(db), send(db), send(db, channel_id=elsewhere)
    assert len(claim(db)) == 3


def test_claim_respects_its_limit(db: Db, secret: str) -> None:
    add_twin(db)
    send(db)
    assert [len(claim(db, limit=1)) for _ in range(3)] == [1, 1, 0]


def test_expired_lease_goes_to_another_worker(db: Db, secret: str) -> None:
    send(db)
    (lost,) = claim(db)
    pass_time(db)
    (found,) = claim(db)
    assert (found["id"], found["lease"] == lost["lease"]) == (lost["id"], False)
    assert finish(db, lost) is None
    assert fail(db, lost) is None
    assert states(db) == [("pending", 2)]
    assert finish(db, found) == "delivered"
    assert finish(db, found) is None


# Failures


def test_failed_delivery_is_retried_and_blocks_only_its_queue(db: Db, secret: str) -> None:
    other = add_twin(db)
    first, second = send(db), send(db)
    for delivery in claim(db):
        fail(db, delivery) if delivery["headers"]["threadline-twin"] == TWIN else finish(db, delivery)
    assert drain(db) == [second]  # to the other one
    assert rows(db, "select distinct ai_twin_id::text from public.twin_deliveries where state = 'delivered'") == [other]
    pass_time(db)
    assert drain(db) == [first, second]


def test_new_message_does_not_shorten_a_retry_delay(db: Db, secret: str) -> None:
    send(db)
    fail(db, claim(db)[0])
    send(db)
    assert claim(db) == []


def test_retry_delay_grows_to_an_hour(db: Db) -> None:
    def longest(attempts: int) -> float:
        statement = "select max(extract(epoch from private.retry_delay(%s)))::float from generate_series(1, 400)"
        return value(db, statement, attempts)

    waits = [longest(attempts) for attempts in (1, 2, 3, 6, 1000)]
    assert waits == pytest.approx([5, 20, 80, 3600, 3600], rel=0.1)


def test_owner_sees_the_time_of_the_next_attempt(db: Db, secret: str) -> None:
    send(db)
    fail(db, claim(db)[0])
    (found,) = ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN, state="pending")
    assert found["next_attempt_at"] > found["created_at"]
    assert (found["attempts"], found["last_status"], found["last_error"]) == (1, 500, "The webhook answered 500.")


def kill(db: Db) -> None:
    """Fail the first delivery of the queue until it is dead."""
    db.execute("update private.settings set twin_max_attempts = 2")
    assert fail(db, claim(db)[0]) == "pending"
    pass_time(db)
    assert fail(db, claim(db)[0]) == "dead"


def test_delivery_is_dead_after_the_last_attempt(db: Db, secret: str) -> None:
    _, second = send(db), send(db)
    kill(db)
    assert drain(db) == [second]
    assert states(db) == [("dead", 2), ("delivered", 1)]


def test_dead_delivery_of_a_deleted_message_is_removed(db: Db, secret: str) -> None:
    first = send(db)
    kill(db)
    call(db, "delete_message", MATTY, id=first)
    assert rows(db, "select kind, state from public.twin_deliveries") == [("message.deleted", "pending")]


def test_lease_ends_deliveries_of_its_own_queue_only(db: Db, secret: str) -> None:
    add_twin(db)
    send(db)
    first, second = claim(db)
    assert finish(db, {"id": second["id"], "lease": first["lease"]}) is None
    assert states(db) == [("pending", 1), ("pending", 1)]


def test_owner_lists_and_replays_dead_deliveries(db: Db, secret: str) -> None:
    dead, _ = send(db), send(db)
    kill(db)
    drain(db)
    # The dead delivery of another twin stays dead.
    other = add_twin(db)
    send(db)
    db.execute("update public.twin_deliveries set state = 'dead', finished_at = now() where ai_twin_id = %s", (other,))
    drain(db)
    (found,) = ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN, state="dead")
    assert (found["message_id"], found["state"], found["attempts"]) == (dead, "dead", 2)
    assert ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN, id=UNKNOWN_ID) == {"replayed": 0}
    assert ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN, id=found["id"]) == {"replayed": 1}
    assert drain(db) == [dead]
    assert ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN, state="dead") == []
    assert ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN) == {"replayed": 0}
    assert ask(db, BOB, "replay_twin_deliveries", ai_twin_id=other) == {"replayed": 1}


def test_replay_waits_for_the_current_delivery(db: Db, secret: str) -> None:
    dead, second = send(db), send(db)
    kill(db)
    (under_way,) = claim(db)
    ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN)
    assert claim(db) == []
    assert finish(db, under_way) == "delivered"
    assert json.loads(under_way["body"])["id"] == second
    assert drain(db) == [dead]


# Rights


def test_replay_does_not_shorten_a_retry_delay(db: Db, secret: str) -> None:
    send(db), send(db)
    fail(db, claim(db)[0])
    waits = "select due_at from private.twin_queues"
    before = rows(db, waits)
    ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN)
    assert (rows(db, waits), claim(db)) == (before, [])


def test_secret_is_shown_once_and_not_stored(db: Db, secret: str) -> None:
    assert len(secret) > 40
    assert ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url=URL + "2")["secret"] is None
    assert rows(db, "select url from public.twin_webhooks") == [URL + "2"]
    kept = value(db, "select string_agg(encode(s.inner_key || s.outer_key, 'escape'), '') from private.twin_secrets s")
    assert secret not in kept


@pytest.mark.parametrize(
    ("function", "fields"),
    [
        ("set_twin_webhook", {"url": URL}),
        ("rotate_twin_secret", {}),
        ("remove_twin_webhook", {}),
        ("replay_twin_deliveries", {}),
    ],
)
def test_only_the_owner_manages_a_webhook(db: Db, secret: str, function: str, fields: dict[str, str]) -> None:
    for stranger in (BOB, MALLORY):
        assert error(db, stranger, function, ai_twin_id=TWIN, **fields)[0] == "PT404"
    ask(db, MATTY, function, ai_twin_id=TWIN, **fields)


def test_only_the_owner_sees_webhook_and_deliveries(db: Db, secret: str) -> None:
    send(db)
    for user_id, seen in ((MATTY, 1), (BOB, 0), (MALLORY, 0)):
        become(db, user_id)
        for table in ("twin_webhooks", "twin_deliveries"):
            assert value(db, f"select count(*) from public.{table}") == seen
        if not seen:
            # Without a condition, Postgres asks no policy for reading.
            assert db.execute("delete from public.twin_webhooks").rowcount == 0
        become_postgres(db)
        assert len(ask(db, user_id, "list_twin_deliveries", ai_twin_id=TWIN, state="pending")) == seen


@pytest.mark.parametrize("become_someone", [lambda db: become(db, MATTY), become_anon], ids=["authenticated", "anon"])
@pytest.mark.parametrize(
    "statement",
    [
        "select public.claim_deliveries('{}'::jsonb)",
        f'select public.finish_delivery(\'{{"id": "{UNKNOWN_ID}", "lease": "{UNKNOWN_ID}"}}\')',
        "select private.claim_deliveries(1, '1 minute')",
        f"insert into public.twin_webhooks (ai_twin_id, url) values ('{TWIN}', 'https://x')",
        "update public.twin_webhooks set url = 'https://x'",
        "update public.twin_deliveries set state = 'pending'",
        "select from private.twin_secrets",
        "select from private.twin_queues",
    ],
    ids=[
        "claim",
        "finish",
        "claim in private",
        "create a webhook",
        "change a webhook",
        "change a delivery",
        "read secrets",
        "read queues",
    ],
)
def test_clients_cannot_claim_or_write_deliveries(db: Db, secret: str, become_someone: Any, statement: str) -> None:
    become_someone(db)
    refused(db, statement, by=InsufficientPrivilege)


def test_service_role_cannot_read_secrets(db: Db, secret: str) -> None:
    become_service(db)
    refused(db, "select from private.twin_secrets")


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "https://a-b.example.com/x?y=%20z", "https://[2001:db8::1]:444/", "http://a_b/"]
)
def test_webhook_must_be_an_http_url(db: Db, url: str) -> None:
    assert ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url=url)["url"] == url


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/",
        "https://",
        "//a",
        "https://user:pw@a/",
        "https://a b/",
        "https://a/#x",
        "https://a/\n",
        "https://\u00e4/",
    ],
)
def test_other_webhook_urls_are_rejected(db: Db, url: str) -> None:
    become(db, MATTY)
    body = json.dumps({"ai_twin_id": TWIN, "url": url})
    found = refused(db, "select public.set_twin_webhook(%s::jsonb)", body, by=CheckViolation)
    assert found.constraint_name == "twin_webhooks_url_form"


def test_removed_webhook_deletes_its_deliveries(db: Db, secret: str) -> None:
    send(db)
    ask(db, MATTY, "remove_twin_webhook", ai_twin_id=TWIN)
    for table in ("private.twin_secrets", "private.twin_queues", "public.twin_deliveries", "public.twin_webhooks"):
        assert value(db, f"select count(*) from {table}") == 0


def test_worker_calls_its_functions_through_the_gateway(db: Db, secret: str) -> None:
    send(db)
    (delivery,) = call(db, "claim_deliveries", None, limit=5).data
    fields = {"id": delivery["id"], "lease": delivery["lease"], "status": 204, "error": None}
    assert call(db, "finish_delivery", None, **fields).data == {"id": delivery["id"], "state": "delivered"}
    assert call(db, "claim_deliveries", MATTY).error == (403, "forbidden", None)


def test_idle_claim_reads_only_an_index(db: Db, secret: str) -> None:
    db.execute("set local enable_seqscan = off")
    for query in ("due_at is not null order by user_id limit 1", f"user_id = '{MATTY}' and due_at <= now() limit 5"):
        plan = rows(db, f"explain select user_id from private.twin_queues where {query}")
        assert "twin_queues_due_at_idx" in " ".join(plan)


def test_owners_share_the_workers_in_turns(db: Db, secret: str) -> None:
    bobs = value(db, "insert into public.ai_twins (user_id, display_name) values (%s, 'B') returning id::text", BOB)
    assignments = "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)"
    mattys = rows(
        db,
        "insert into public.ai_twins (user_id, display_name) select %s, 'M' from generate_series(1, 30) returning id",
        MATTY,
    )
    for twin_id in [*mattys, bobs]:
        db.execute(assignments, (CHANNEL, twin_id))
        owner = BOB if twin_id == bobs else MATTY
        call(db, "set_twin_webhook", owner, ai_twin_id=str(twin_id), url="https://twin.example/")
    call(db, "create_message", CAROL, channel_id=CHANNEL, content="Hello")
    first = call(db, "claim_deliveries", None, limit=20).data
    assert len(first) == 6
    assert bobs in [each["headers"]["threadline-twin"] for each in first]
    # One of Matty's webhooks was slow: he gets one worker until a minute has gone by.
    db.execute("update private.twin_queues set leased_at = now() - interval '3 seconds' where user_id = %s", (MATTY,))
    for each in first:
        call(db, "finish_delivery", None, id=each["id"], lease=each["lease"], status=200)
    assert len(call(db, "claim_deliveries", None, limit=20).data) == 1
    assert call(db, "claim_deliveries", None, limit=20).data == []
    db.execute("update private.twin_queues set slow_until = now() - interval '1 second' where slow_until is not null")
    assert len(call(db, "claim_deliveries", None, limit=20).data) == 4


@pytest.mark.parametrize(
    ("limit", "statement", "error"),
    [
        ("user_max_twins", "insert into public.ai_twins (display_name) values ('x')", "too_many_twins"),
        (
            "user_max_twin_channels",
            f"insert into public.channel_twins (channel_id, ai_twin_id) select '{CHANNEL}', id from public.ai_twins"
            " where display_name = 'new'",
            "too_many_twin_channels",
        ),
    ],
    ids=["twins", "queues"],
)
def test_user_has_a_maximum_of_twins_and_queues(db: Db, limit: str, statement: str, error: str) -> None:
    for _ in range(3):
        add_twin(db)  # of another user
    become(db, MATTY)
    db.execute("insert into public.ai_twins (display_name) values ('new')")
    become_postgres(db)
    count = 2 if limit == "user_max_twins" else 1
    for most, expected in ((count, error), (count + 1, None)):
        db.execute(f"update private.settings set {limit} = {most}")
        become(db, MATTY)
        if expected:
            assert refused(db, statement, by=psycopg.Error).message_detail == expected
        else:
            db.execute(statement)
        become_postgres(db)


def test_message_from_before_hops_existed_has_no_hops(db: Db) -> None:
    assert value(db, "select hops from public.messages where id = %s", MESSAGE) == 0


def test_users_take_turns(db: Db, secret: str) -> None:
    older = add_channel(db, BOB)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (older, TWIN))
    other = add_twin(db)
    send(db)
    send(db, channel_id=older)
    due = "update private.twin_queues set due_at = now() - interval '1 minute' where ai_twin_id = %s"
    db.execute(due, (TWIN,))
    assert {each["headers"]["threadline-twin"] for each in claim(db, limit=2)} == {TWIN, other}
