"""sql/310 to 312: what is done to one twin, queue or delivery leaves the others as they are."""

import json
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import pytest

from tests.sql.test_deliveries import URL, add_channel, add_twin, claim, finish, signatures, signed
from tests.support.calls import ask, send
from tests.support.cases import named
from tests.support.database import Db, become_postgres, lift_request_limit, rows, value
from tests.support.world import BOB, CHANNEL, MATTY, TWIN

STATE = """
select name, line from (
    select ai_twin_id, null::uuid as channel_id, 'webhook' as name, to_jsonb(webhook) as line
    from public.twin_webhooks as webhook
    union all
    select ai_twin_id, null, 'secret', to_jsonb(secret) from private.twin_secrets as secret
    union all
    select ai_twin_id, channel_id, 'queue', to_jsonb(queue) from private.twin_queues as queue
    union all
    select ai_twin_id, channel_id, 'delivery', to_jsonb(delivery) from public.twin_deliveries as delivery
) as part where ai_twin_id = %s and coalesce(channel_id = %s, true) order by name, line::text
"""


class Yard(NamedTuple):
    """Three twins with webhooks: the one to change also has a second queue."""

    db: Db
    second: str  # its other channel
    neighbours: list[tuple[str, str]]  # twin and channel
    secret: str

    def state(self, twin: str, channel: str) -> Any:
        become_postgres(self.db)
        return rows(self.db, STATE, twin, channel)


@pytest.fixture
def yard(db: Db) -> Yard:
    """Give each queue a delivered, a dead and two pending deliveries."""
    lift_request_limit(db)
    secret = ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url=URL)["secret"]
    second = add_channel(db, BOB)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (second, TWIN))
    others = [add_twin(db, BOB, url="https://b.example/"), add_twin(db, MATTY, url="https://c.example/")]
    for channel in (CHANNEL, second):
        for _ in range(4):
            send(db, channel_id=channel)
    for place, state in enumerate(("delivered", "dead")):
        db.execute(
            "update public.twin_deliveries set state = %s, finished_at = now(), attempts = 3, last_error = 'x',"
            " last_status = 500, first_attempt_at = now() where id in (select distinct on (ai_twin_id, channel_id) id"
            " from public.twin_deliveries where state = 'pending' order by ai_twin_id, channel_id, seq)",
            (state,),
        )
        assert value(db, "select count(*) from public.twin_deliveries where state <> 'pending'") == 4 * (place + 1)
    db.execute("update private.twin_secrets set created_at = now() - interval '1 day' where ai_twin_id <> %s", (TWIN,))
    return Yard(db, second, [(others[0], CHANNEL), (others[1], CHANNEL), (TWIN, second)], secret)


def take(db: Db) -> dict[str, Any]:
    """Claim the delivery of the twin in the channel of the seed."""
    due = "now() - interval '1 hour' * (ai_twin_id = %s and channel_id = %s)::integer"
    db.execute(f"update private.twin_queues set due_at = {due}", (TWIN, CHANNEL))
    (delivery,) = claim(db, limit=1)
    assert delivery["headers"]["threadline-twin"] == TWIN
    return delivery


def dead_one(db: Db) -> str:
    query = "select id::text from public.twin_deliveries where (ai_twin_id, channel_id, state) = (%s, %s, 'dead')"
    return str(value(db, query, TWIN, CHANNEL))


def asks(function: str, **fields: Any) -> Callable[[Db, str | None], Any]:
    return lambda db, who: ask(db, who, function, ai_twin_id=TWIN, **fields)


# What is done, and whether only the queue in one channel changes.
CHANGES: dict[str, tuple[Callable[[Db, str | None], Any], bool]] = {
    "set the webhook": (asks("set_twin_webhook", url="https://new.example/"), False),
    "rotate the secret": (
        lambda db, who: [ask(db, who, "rotate_twin_secret", ai_twin_id=TWIN) for _ in range(6)],
        False,
    ),
    "remove the webhook": (asks("remove_twin_webhook"), False),
    "replay all": (asks("replay_twin_deliveries"), False),
    "replay one": (lambda db, who: ask(db, who, "replay_twin_deliveries", ai_twin_id=TWIN, id=dead_one(db)), True),
    "claim": (lambda db, _: take(db), True),
    "finish": (lambda db, _: finish(db, take(db)), True),
    "fail": (lambda db, _: finish(db, take(db), "no", 500), True),
    "answer 410": (lambda db, _: finish(db, take(db), "gone", 410), False),
}


@pytest.mark.parametrize(
    ("name", "who"), [*product(CHANGES, (MATTY, None))], ids=lambda each: named(each) if each else "service"
)
def test_change_leaves_the_other_queues_as_they_are(yard: Yard, name: str, who: str | None) -> None:
    change, is_of_one_queue = CHANGES[name]
    neighbours = yard.neighbours if is_of_one_queue else yard.neighbours[:2]
    if name == "replay one":
        # It wakes the queues of its twin in which a delivery has no attempt yet.
        yard.db.execute("update public.twin_deliveries set attempts = 1 where attempts = 0")
        yard.db.execute("update private.twin_queues set due_at = due_at + interval '1 hour'")
    if name in {"claim", "finish", "fail", "answer 410"}:
        take(yard.db)  # sets the times at which the queues are due
        yard.db.execute("update private.twin_queues set lease = null, leased_at = null, due_at = now()")
        take_state = "update private.twin_queues set due_at = now() - interval '1 hour' where (ai_twin_id, channel_id)"
        yard.db.execute(f"{take_state} = (%s, %s)", (TWIN, CHANNEL))
    before = [yard.state(*each) for each in neighbours]
    mine = yard.state(TWIN, CHANNEL)
    change(yard.db, who)
    assert [yard.state(*each) for each in neighbours] == before
    assert yard.state(TWIN, CHANNEL) != mine


def test_replay_of_one_wakes_its_queue_only(yard: Yard) -> None:
    yard.db.execute("update private.twin_queues set due_at = null")
    tried = "update public.twin_deliveries set attempts = 1 where state = 'pending' and ai_twin_id = %s"
    yard.db.execute(tried, (TWIN,))
    assert ask(yard.db, None, "replay_twin_deliveries", ai_twin_id=TWIN, id=dead_one(yard.db)) == {"replayed": 1}
    woken = "select ai_twin_id::text, channel_id::text from private.twin_queues where due_at is not null"
    assert rows(yard.db, woken) == [(TWIN, CHANNEL)]
    replayed = "select attempts, first_attempt_at, finished_at from public.twin_deliveries where id = %s"
    assert rows(yard.db, replayed, dead_one_of(yard)) == [(0, None, None)]


def dead_one_of(yard: Yard) -> str:
    """Return the delivery that was replayed: the only one without an attempt."""
    query = "select id::text from public.twin_deliveries where (ai_twin_id, state, attempts) = (%s, 'pending', 0)"
    return str(value(yard.db, query, TWIN))


def test_last_five_secrets_sign_newest_first(yard: Yard) -> None:
    made = [yard.secret]
    lapse = "select private.format_time(now() + interval '720 hours')"
    for who in (MATTY, None) * 3:
        yard.db.execute("update private.twin_secrets set created_at = created_at - interval '1 second'")
        rotated = ask(yard.db, who, "rotate_twin_secret", ai_twin_id=TWIN, overlap_hours=720)
        assert rotated["previous_secrets_expire_at"] == value(yard.db, lapse)
        made.append(rotated["secret"])
    delivery = take(yard.db)
    assert signatures(delivery)[1] == [signed(delivery, secret) for secret in made[:-6:-1]]
    others = dict(rows(yard.db, "select ai_twin_id::text, count(*) from private.twin_secrets group by 1"))
    assert others == {TWIN: 5} | {twin: 1 for twin, _ in yard.neighbours[:2]}


@pytest.mark.parametrize("state", [None, "pending", "delivered", "dead"])
@pytest.mark.parametrize("limit", [1, 3, 200])
def test_list_of_deliveries_has_each_newest_first(yard: Yard, state: str | None, limit: int) -> None:
    yard.db.execute(
        "update public.twin_deliveries set created_at = now() - interval '1 minute' * (seq %% 3) where ai_twin_id = %s",
        (TWIN,),
    )
    query = """
        select id::text, channel_id::text, message_id::text, seq, kind, state, attempts,
            private.format_time(next_attempt_at), last_status, last_error,
            private.format_time(created_at), private.format_time(finished_at)
        from public.twin_deliveries where ai_twin_id = %s and state = coalesce(%s, state)
    """
    names = ("id", "channel_id", "message_id", "seq", "kind", "state", "attempts", "next_attempt_at", "last_status")
    names += ("last_error", "created_at", "finished_at")
    every = [dict(zip(names, row, strict=True)) for row in rows(yard.db, query, TWIN, state)]
    every.sort(key=lambda each: (each["channel_id"], -each["seq"]))
    every.sort(key=lambda each: each["created_at"], reverse=True)
    fields = {"state": state} if state else {}
    for who in (MATTY, None):
        assert ask(yard.db, who, "list_twin_deliveries", ai_twin_id=TWIN, limit=limit, **fields) == every[:limit]


def test_delivery_has_all_that_the_webhook_needs(yard: Yard) -> None:
    urls = {TWIN: URL, yard.neighbours[0][0]: "https://b.example/", yard.neighbours[1][0]: "https://c.example/"}
    stored = (
        "select ai_twin_id::text, channel_id::text, message_id::text, kind from public.twin_deliveries where id = %s"
    )
    for delivery in (deliveries := claim(yard.db)):
        body = json.loads(delivery["body"])
        headers = delivery["headers"]
        twin = headers["threadline-twin"]
        assert delivery["url"] == urls[twin]
        assert headers == {
            "content-type": "application/json",
            "threadline-delivery": delivery["id"],
            "threadline-twin": twin,
            "threadline-event": body["event"],
            "threadline-signature": headers["threadline-signature"],
        }
        assert rows(yard.db, stored, delivery["id"]) == [(twin, body["channel_id"], body["id"], "message.created")]
        assert len(signatures(delivery)[1]) == 1
        if twin == TWIN:
            assert signatures(delivery)[1] == [signed(delivery, yard.secret)]
    assert len(deliveries) == 4


# What holds up a queue, whose queue it is, and how many each owner then gets, if two at once are allowed.
SHARES: dict[str, tuple[str, dict[str, int]]] = {
    "nothing": ("where false", {MATTY: 2, BOB: 1}),
    "a slow answer of another owner": (
        f"slow_until = now() + interval '1 min' where user_id = '{BOB}'",
        {MATTY: 2, BOB: 1},
    ),
    "a slow answer": (f"slow_until = now() + interval '1 min' where channel_id = '{CHANNEL}'", {MATTY: 1, BOB: 1}),
    "a slow answer long ago": ("slow_until = now() - interval '1 min' where true", {MATTY: 2, BOB: 1}),
    "a lease of another owner": (
        f"lease = gen_random_uuid(), due_at = now() + interval '1 min' where user_id = '{BOB}'",
        {MATTY: 2},
    ),
    "a lease": (
        f"lease = gen_random_uuid(), due_at = now() + interval '1 min' where ai_twin_id = '{TWIN}'"
        f" and channel_id = '{CHANNEL}'",
        {MATTY: 1, BOB: 1},
    ),
    "a lease that ended": (
        "lease = gen_random_uuid(), due_at = now() - interval '1 min' where true",
        {MATTY: 2, BOB: 1},
    ),
    "a retry": (
        f"due_at = now() + interval '1 min' where ai_twin_id = '{TWIN}' and channel_id = '{CHANNEL}'",
        {MATTY: 2, BOB: 1},
    ),
    "no delivery": ("due_at = null where true", {}),
}


@pytest.mark.parametrize("held", SHARES)
def test_owner_gets_a_share_of_the_workers(yard: Yard, held: str) -> None:
    change, shares = SHARES[held]
    yard.db.execute("update private.settings set user_max_deliveries = 2")
    yard.db.execute(f"update private.twin_queues set {change.replace('where false', 'lease = lease where false')}")
    claimed = [delivery["headers"]["threadline-twin"] for delivery in claim(yard.db)]
    owners = dict(rows(yard.db, "select id::text, user_id::text from public.ai_twins"))
    assert {
        owner: count for owner in (MATTY, BOB) if (count := [owners[twin] for twin in claimed].count(owner))
    } == shares


@pytest.mark.parametrize(
    ("waits", "most", "claimed"),
    [
        # A queue that is not due takes no place in the limit.
        ({(TWIN, CHANNEL): 5, "second": 4, "twin": -60, "other": -60}, 2, [(TWIN, CHANNEL), "second"]),
        # Each owner comes before the second queue of one.
        ({(TWIN, CHANNEL): 9, "second": 8, "twin": -60, "other": 1}, 2, [(TWIN, CHANNEL), "other"]),
        # The longest wait comes first.
        ({(TWIN, CHANNEL): 1, "second": 3, "twin": 2, "other": -60}, 9, ["second", "twin"]),
        ({(TWIN, CHANNEL): 3, "second": 1, "twin": 2, "other": 9}, 9, [(TWIN, CHANNEL), "twin", "other"]),
    ],
    ids=["others wait", "in turns", "one owner", "two owners"],
)
def test_longest_wait_is_served_first(yard: Yard, waits: dict[Any, int], most: int, claimed: list[Any]) -> None:
    other, twin, second = yard.neighbours
    names = {(TWIN, CHANNEL): (TWIN, CHANNEL), "second": second, "twin": twin, "other": other}
    yard.db.execute("update private.settings set user_max_deliveries = 2")
    due = "update private.twin_queues set due_at = now() - %s * interval '1m' where (ai_twin_id, channel_id) = (%s, %s)"
    for name, minutes in waits.items():
        yard.db.execute(due, (minutes, *names[name]))
    found = [
        (delivery["headers"]["threadline-twin"], json.loads(delivery["body"])["channel_id"])
        for delivery in claim(yard.db, limit=most)
    ]
    assert sorted(found) == sorted(names[name] for name in claimed)


# What happens during an attempt, its error and status, and what is known afterwards: the state, status and error of the
# delivery, when the queue is due (in minutes, None: never), and until when it is slow.
THIS, NEXT = "id = %(id)s", "id <> %(id)s and state = 'pending'"
ENDS: dict[str, tuple[str, str | None, int | None, tuple[Any, ...]]] = {
    "success": ("", None, 204, ("delivered", 204, None, 0, None)),
    "no answer": ("", "no", None, ("pending", None, "no", 1, None)),
    "an error after a good status": ("", "late", 200, ("pending", 200, "late", 1, None)),
    "a long error": ("", "x" * 300, 500, ("pending", 500, "x" * 200, 1, None)),
    "the last of the queue": (
        f"update public.twin_deliveries set state = 'dead', finished_at = now() where {NEXT}",
        None,
        200,
        ("delivered", 200, None, None, None),
    ),
    "an end before": (
        f"update public.twin_deliveries set state = 'dead', finished_at = now() where {THIS}",
        None,
        200,
        ("dead", 500, "old", 0, None),
    ),
    "a slow answer": (
        "update private.twin_queues set leased_at = now() - interval '3 seconds'",
        None,
        200,
        ("delivered", 200, None, 0, 1),
    ),
    "a slow answer before": (
        "update private.twin_queues set slow_until = now() + interval '5 minutes'",
        None,
        200,
        ("delivered", 200, None, 0, 5),
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_end_of_an_attempt_decides_what_follows(yard: Yard, name: str) -> None:
    change, error, status, expected = ENDS[name]
    yard.db.execute("update private.settings set twin_retry_seconds = 60")
    delivery = take(yard.db)
    id_ = {"id": delivery["id"]}
    yard.db.execute("update public.twin_deliveries set last_status = 500, last_error = 'old' where id = %(id)s", id_)
    if change:
        yard.db.execute(change, id_)
    assert finish(yard.db, delivery, error, status) == (None if name == "an end before" else expected[0])
    after = """
        select state, last_status, last_error, ceil(extract(epoch from due_at - now()) / 60)::integer,
            ceil(extract(epoch from slow_until - now()) / 60)::integer
        from public.twin_deliveries as delivery inner join private.twin_queues using (ai_twin_id, channel_id)
        where delivery.id = %s and lease is null
        """
    assert rows(yard.db, after, delivery["id"]) == [expected]


def test_queue_without_a_delivery_is_idle(yard: Yard) -> None:
    yard.db.execute("delete from public.twin_deliveries where state = 'pending' and ai_twin_id = %s", (TWIN,))
    assert TWIN not in [delivery["headers"]["threadline-twin"] for delivery in claim(yard.db)]
    idle = "select lease, leased_at, due_at from private.twin_queues where ai_twin_id = %s"
    assert rows(yard.db, idle, TWIN) == [(None, None, None)] * 2
    leased = "select leased_at = now() from private.twin_queues where lease is not null"
    assert rows(yard.db, leased) == [True] * 2


def test_owner_with_a_delivery_under_way_comes_later(yard: Yard) -> None:
    other, _, second = yard.neighbours
    take(yard.db)
    due = "update private.twin_queues set due_at = now() - %s * interval '1m' where (ai_twin_id, channel_id) = (%s, %s)"
    for minutes, queue in ((9, second), (1, other)):
        yard.db.execute(due, (minutes, *queue))
    assert [delivery["headers"]["threadline-twin"] for delivery in claim(yard.db, limit=1)] == [other[0]]


def test_waits_of_deliveries_differ(db: Db) -> None:
    db.execute("update private.settings set twin_retry_seconds = 60")
    query = "select array_agg(extract(epoch from private.retry_delay(%s))::float) from generate_series(1, 20)"
    for attempts, longest in ((1, 60), (2, 240), (2000, 3600)):
        waits = value(db, query, attempts)
        assert longest / 2 <= min(waits) < max(waits) <= longest
