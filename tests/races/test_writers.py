"""Many concurrent writers: every acknowledged message is stored once, and every summary is correct."""

import random
from collections import Counter
from functools import partial

import httpx

from tests.support.ingest import Sender, conversation, in_parallel, message


def added(replies: list[httpx.Response]) -> int:
    """Check that all answers are successes without errors; return how many messages were new."""
    assert Counter(reply.status_code for reply in replies) == Counter({200: len(replies)})
    results = [result for reply in replies for result in reply.json()["results"]]
    assert {result["status"] for result in results} <= {"created", "updated", "no_new_messages"}
    return sum(result["messages_added"] for result in results)


def test_overlapping_batches_of_24_writers_are_stored_once(sender: Sender) -> None:
    chance = random.Random(24)
    minutes = [f"2026-02-01T{number // 60:02}:{number % 60:02}:00Z" for number in range(240)]
    messages = [message(f"{number:03}", sent_at=sent_at) for number, sent_at in enumerate(minutes)]
    batches = [messages[start : start + 40] for start in range(0, 200, 10)]
    batches += [chance.sample(messages, 40) for _ in range(4)]
    assert len(batches) == 24
    replies = in_parallel([partial(sender.post, conversation(*batch)) for batch in batches])
    sent = sorted({one["id"] for batch in batches for one in batch})
    assert added(replies) == len(sent)
    assert sender.stored() == {"chat": sent}
    assert sender.inconsistencies() == []
    assert [result["status"] for reply in replies for result in reply.json()["results"]].count("created") == 1


def test_writers_with_different_orders_do_not_deadlock(sender: Sender) -> None:
    chance = random.Random(12)
    names = [f"chat {number:02}" for number in range(12)]

    def write(writer: int, round_: int) -> httpx.Response:
        fields = {"participant_name": f"Name {writer}"}
        own, shared = message(f"{writer:02} {round_}"), message(f"shared {round_}", sent_at="2026-03-01T00:00:00Z")
        order = chance.sample(names, len(names))
        return sender.post(*(conversation(own, shared, external_id=name, **fields) for name in order))

    replies = [
        reply for round_ in range(3) for reply in in_parallel([partial(write, writer, round_) for writer in range(16)])
    ]
    expected = sorted([f"{writer:02} {round_}" for writer in range(16) for round_ in range(3)])
    expected += [f"shared {round_}" for round_ in range(3)]
    assert added(replies) == len(names) * len(expected)
    assert sender.stored() == dict.fromkeys(names, expected)
    assert sender.inconsistencies() == []


def test_concurrent_requests_create_one_conversation(sender: Sender) -> None:
    for round_ in range(10):
        chat = f"round {round_}"
        replies = in_parallel([partial(sender.post, conversation(message(one), external_id=chat)) for one in "abcdef"])
        assert added(replies) == 6
        results = [result for reply in replies for result in reply.json()["results"]]
        assert sorted(result["status"] for result in results) == ["created"] + ["updated"] * 5
        assert len({result["conversation_id"] for result in results}) == 1
    assert sender.stored() == {f"round {round_}": list("abcdef") for round_ in range(10)}
    assert sender.inconsistencies() == []


def test_request_sent_32_times_at_once_is_stored_once(sender: Sender) -> None:
    names = [f"{number:02}" for number in range(50)]
    chats = [conversation(*map(message, names), external_id=f"chat {number}") for number in range(3)]
    replies = in_parallel([partial(sender.post, *chats)] * 32)
    assert added(replies) == 150
    assert Counter(result["status"] for reply in replies for result in reply.json()["results"]) == Counter(
        created=3, no_new_messages=93
    )
    assert sender.stored() == {f"chat {number}": names for number in range(3)}
    assert sender.inconsistencies() == []
