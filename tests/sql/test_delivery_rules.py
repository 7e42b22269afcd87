"""sql/311_deliveries.sql, 312: what holds up a queue and for how long, edits and deletions, 410, and bad URLs."""

import json
from typing import Any

import pytest

from tests.sql.test_deliveries import URL, add_channel, add_twin, claim, drain, fail, finish, pass_time
from tests.support.calls import ask, call, send
from tests.support.database import Db, rows, value
from tests.support.event_log import last_seq
from tests.support.world import BOB, CHANNEL, MATTY, NAME_OF_MATTY, TWIN

PASS = "update public.twin_deliveries set first_attempt_at = first_attempt_at - %s * interval '1 second'"


@pytest.fixture(autouse=True)
def secret(db: Db) -> str:
    """The secret of the seed's twin, which has a webhook."""
    return ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url=URL)["secret"]


def bodies(db: Db) -> list[dict[str, Any]]:
    """Deliver all that can be delivered, and return the bodies."""
    told = []
    while claimed := claim(db):
        for delivery in claimed:
            told.append(json.loads(delivery["body"]))
            assert delivery["headers"]["threadline-event"] == told[-1]["event"]
            finish(db, delivery)
    return told


# Holding up a queue


def test_message_that_the_bot_refuses_is_skipped(db: Db) -> None:
    poison, second = send(db), send(db)
    assert fail(db, claim(db)[0]) == "pending"
    pass_time(db)
    (again,) = claim(db)
    db.execute(PASS, (600,))
    assert fail(db, again) == "dead"
    assert drain(db) == [second]
    (dead,) = ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN, state="dead")
    assert (dead["message_id"], dead["last_status"]) == (poison, 500)
    ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN)
    assert drain(db) == [poison]


@pytest.mark.parametrize("status", [None, 408, 429, 502, 503, 504])
def test_outage_holds_up_the_queue_for_longer(db: Db, status: int | None) -> None:
    send(db)
    (first,) = claim(db)
    db.execute(PASS, (3500,))
    assert finish(db, first, "The webhook could not be reached.", status) == "pending"
    pass_time(db)
    (second,) = claim(db)
    db.execute(PASS, (100,))
    assert finish(db, second, "The webhook could not be reached.", status) == "dead"


def test_last_attempt_comes_at_the_end_of_the_hold(db: Db) -> None:
    send(db)
    (first,) = claim(db)
    db.execute(PASS, (590,))
    db.execute("update private.settings set twin_retry_seconds = 1000")
    fail(db, first)
    query = "select extract(epoch from next_attempt_at - now())::float from public.twin_deliveries"
    assert value(db, query) == pytest.approx(10, abs=2)


def test_replayed_delivery_has_all_its_time_again(db: Db) -> None:
    send(db)
    (first,) = claim(db)
    db.execute(PASS, (600,))
    assert fail(db, first) == "dead"
    ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN)
    assert fail(db, claim(db)[0]) == "pending"


def test_lease_lasts_a_minute(db: Db) -> None:
    send(db)
    ask(db, None, "claim_deliveries")
    assert value(db, "select due_at - now() = interval '1 minute' from private.twin_queues")


# 410 Gone


def test_410_unsubscribes_the_webhook(db: Db) -> None:
    first, second = send(db), send(db)
    assert finish(db, claim(db)[0], "The webhook answered 410.", 410) == "dead"
    send(db)
    assert claim(db) == []
    found = ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN)
    assert [(each["message_id"], each["state"], each["last_status"]) for each in found] == [
        (second, "dead", None),
        (first, "dead", 410),
    ]
    assert rows(db, "select unsubscribed_at is not null from public.twin_webhooks") == [True]
    assert rows(db, "select due_at, lease from private.twin_queues") == [(None, None)]


def test_410_ends_every_queue_of_the_twin(db: Db) -> None:
    second = add_channel(db, BOB)
    db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (second, TWIN))
    send(db)
    send(db, channel_id=second)
    finish(db, claim(db)[0], "The webhook answered 410.", 410)
    assert rows(db, "select due_at, lease from private.twin_queues") == [(None, None)] * 2


def test_410_changes_nothing_that_was_finished(db: Db) -> None:
    delivered, dead = send(db), send(db)
    assert drain(db) == [delivered, dead]
    db.execute(
        "update public.twin_deliveries set state = 'dead', last_error = 'earlier' where message_id = %s", (dead,)
    )
    send(db)
    assert finish(db, claim(db)[0], "The webhook answered 410.", 410) == "dead"
    found = ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN)
    assert [(each["message_id"], each["state"], each["last_error"]) for each in found][1:] == [
        (dead, "dead", "earlier"),
        (delivered, "delivered", None),
    ]


def test_setting_the_webhook_again_subscribes_it(db: Db) -> None:
    first = send(db)
    finish(db, claim(db)[0], "The webhook answered 410.", 410)
    assert ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url=URL)["secret"] is None
    later = send(db)
    assert drain(db) == [later]
    ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN)
    assert drain(db) == [first]


def test_replay_sends_nothing_to_an_unsubscribed_webhook(db: Db) -> None:
    first = send(db)
    finish(db, claim(db)[0], "The webhook answered 410.", 410)
    assert ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN) == {"replayed": 0}
    assert claim(db) == []
    ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url=URL)
    assert ask(db, MATTY, "replay_twin_deliveries", ai_twin_id=TWIN) == {"replayed": 1}
    assert drain(db) == [first]


def test_410_of_an_old_lease_changes_nothing(db: Db) -> None:
    send(db)
    (lost,) = claim(db)
    pass_time(db)
    claim(db)
    assert finish(db, lost, "The webhook answered 410.", 410) is None
    assert rows(db, "select unsubscribed_at from public.twin_webhooks") == [None]


def test_410_of_a_former_url_keeps_the_new_one(db: Db) -> None:
    first = send(db)
    (old,) = claim(db)
    db.execute("update private.twin_queues set leased_at = now() - interval '1 second'")
    ask(db, MATTY, "set_twin_webhook", ai_twin_id=TWIN, url=f"{URL}/new")
    assert finish(db, old, "The webhook answered 410.", 410) == "pending"
    assert rows(db, "select unsubscribed_at from public.twin_webhooks") == [None]
    pass_time(db)
    (again,) = claim(db)
    assert (again["url"], json.loads(again["body"])["id"]) == (f"{URL}/new", first)


def test_410_of_one_twin_leaves_the_others(db: Db) -> None:
    other = add_twin(db)
    send(db)
    for delivery in claim(db):
        is_other = delivery["headers"]["threadline-twin"] == other
        finish(db, delivery, *((None, 200) if is_other else ("The webhook answered 410.", 410)))
    later = send(db)
    assert drain(db) == [later]


# Edits and deletions


def test_edit_and_deletion_are_delivered(db: Db) -> None:
    said = send(db)
    bodies(db)
    edited = call(db, "edit_message", MATTY, id=said, content="edited").data
    assert bodies(db) == [{**edited, **NAME_OF_MATTY, "seq": last_seq(db), "event": "message.updated"}]
    deleted = call(db, "delete_message", MATTY, id=said).data
    expected = {**deleted, "channel_id": CHANNEL, "seq": last_seq(db), "event": "message.deleted"}
    assert bodies(db) == [expected]
    history = ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN)
    assert [each["state"] for each in history] == ["delivered"] * 3


def test_edit_after_a_failed_attempt_is_delivered(db: Db) -> None:
    said = send(db)
    fail(db, claim(db)[0])  # the webhook may have received it
    call(db, "edit_message", MATTY, id=said, content="edited")
    pass_time(db)
    assert [(each["event"], each["content"]) for each in bodies(db)] == [
        ("message.created", "edited"),
        ("message.updated", "edited"),
    ]


def test_edit_before_the_delivery_is_part_of_it(db: Db) -> None:
    said = send(db)
    call(db, "edit_message", MATTY, id=said, content="edited")
    assert [(each["event"], each["content"]) for each in bodies(db)] == [("message.created", "edited")]


def test_deletion_before_the_delivery_leaves_nothing(db: Db) -> None:
    said = send(db)
    call(db, "edit_message", MATTY, id=said, content="edited")
    call(db, "delete_message", MATTY, id=said)
    assert bodies(db) == []


def test_queue_goes_on_when_a_refused_message_is_deleted(db: Db) -> None:
    poison, first, second = send(db), send(db), send(db)
    fail(db, claim(db)[0])
    call(db, "delete_message", MATTY, id=second)
    assert claim(db) == []
    call(db, "delete_message", MATTY, id=poison)
    assert [each["id"] for each in bodies(db)] == [first, poison]


def test_deletion_replaces_a_pending_edit(db: Db) -> None:
    said = send(db)
    bodies(db)
    call(db, "edit_message", MATTY, id=said, content="edited")
    call(db, "delete_message", MATTY, id=said)
    assert [each["event"] for each in bodies(db)] == ["message.deleted"]


def test_edit_of_a_twin_stays_in_the_channel(db: Db) -> None:
    add_twin(db)
    said = send(db, ai_twin_id=TWIN)
    assert [each["event"] for each in bodies(db)] == ["message.created"]
    call(db, "edit_message", MATTY, id=said, content="edited")
    assert bodies(db) == []
    call(db, "delete_message", MATTY, id=said)
    assert [each["event"] for each in bodies(db)] == ["message.deleted"]


def test_deletion_goes_where_the_message_went(db: Db) -> None:
    db.execute("update private.settings set twin_max_hops = 2")
    other = add_twin(db, MATTY)
    said = [send(db, ai_twin_id=speaker) for speaker in (TWIN, other, TWIN)]
    assert drain(db) == said[:2]
    for each in said:
        call(db, "delete_message", id=each)
    assert [body["id"] for body in bodies(db)] == said[:2]


def test_pins_and_reactions_are_not_delivered(db: Db) -> None:
    said = send(db)
    bodies(db)
    call(db, "pin_message", BOB, id=said)
    call(db, "add_reaction", BOB, id=said, emoji="fire")
    assert bodies(db) == []


# The list and the URL


def test_list_without_a_state_shows_all(db: Db) -> None:
    said = [send(db) for _ in range(3)]
    finish(db, claim(db)[0])
    db.execute("update private.settings set twin_max_attempts = 1")
    fail(db, claim(db)[0])
    found = ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN)
    assert {each["message_id"]: each["state"] for each in found} == dict(
        zip(said, ("delivered", "dead", "pending"), strict=True)
    )
    assert len(ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN, limit=2)) == 2
    assert len(ask(db, MATTY, "list_twin_deliveries", ai_twin_id=TWIN, state="all")) == 3
    assert ask(db, BOB, "list_twin_deliveries", ai_twin_id=TWIN) == []
    wrong = call(db, "list_twin_deliveries", MATTY, ai_twin_id=TWIN, state="late")
    assert wrong.error == (400, "invalid_field", "state")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com:99999/",
        "https://example.com:0/",
        "https://./",
        "https://a..b/",
        "https://-a.example/",
        "https://1.2.3.4.5/",
        "https://1.2.3.999/",
        "https://1.2.3/",
        "https://[::1::2]/",
        "https://[1.2.3.4]/",
        f"https://{'x' * 64}.example/",
        f"https://{'.'.join(['x' * 50] * 5)}/",
    ],
)
def test_url_that_cannot_be_one_is_refused(db: Db, url: str) -> None:
    reply = call(db, "set_twin_webhook", MATTY, ai_twin_id=TWIN, url=url)
    assert (reply.status, reply.error[1]) == (400, "twin_webhooks_url_form")


@pytest.mark.parametrize(
    "url",
    ["https://example.com:65535/a?b=c", "http://localhost:8080/", "https://[2001:db8::1]:443/x", "https://1.2.3.4"],
)
def test_url_that_can_be_one_is_kept(db: Db, url: str) -> None:
    assert call(db, "set_twin_webhook", MATTY, ai_twin_id=TWIN, url=url).data["url"] == url
