"""The checker accepts a correct history and finds each planted error."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.history import Call, History, Outcome, Stored, violations


def call(verb: str, subject: str, value: Any, began: float, status: int | None = 200, **answer: Any) -> Call:
    """A call that took a second."""
    client = answer.pop("client", "client 0")
    return Call(client, verb, subject, value, began, began + 1, status, answer)


def created(mark: str, began: float, message_id: str, client: str = "client 0") -> Call:
    return call("create", mark, mark, began, 201, data={"id": message_id}, client=client)


def event(seq: int, name: str, message_id: str) -> dict[str, Any]:
    return {"event": name, "payload": {"seq": seq, "id": message_id}}


LOG = [event(1, "message.created", "A"), event(2, "message.created", "B"), event(3, "message.updated", "A")]
CALLS = [
    created("a", 0, "A"),
    created("a", 0.5, "A", client="client 1"),  # two clients send the same key
    created("b", 2, "B"),
    call("edit", "a", "a edited", 4),
    call("pin", "a", True, 6),
    call("look", "channel", 3, 8),
    call("look", "channel", 3, 10),
    call("ingest", "thread", [("thread", "m")], 12, results=[{"messages_added": 1}]),
    call("ingest", "thread", [("thread", "m")], 14, results=[{"messages_added": 0}]),
    call("create", "lost", "lost", 16, None),
]
RIGHT = Outcome(
    messages=[
        Stored("A", "a", 1, "a edited", False, True, frozenset()),
        Stored("B", "b", 2, "b", False, False, frozenset()),
    ],
    log=LOG,
    heard={"catching up": LOG, "socket": LOG},
    ingested=[("thread", "m")],
    told=[("A", 1), ("A", 1), ("B", 2)],
    inconsistencies=[],
)
A, B = RIGHT.messages


def without(listener: str, seq: int) -> Callable[[], Outcome]:
    kept = [each for each in LOG if each["payload"]["seq"] != seq]
    return lambda: replace(RIGHT, heard={**RIGHT.heard, listener: kept})


def another(**fields: Any) -> Callable[[], Outcome]:
    return lambda: replace(RIGHT, **fields)


def test_checker_accepts_a_correct_history() -> None:
    assert violations(History(CALLS), RIGHT) == []


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (another(messages=[A]), "creations: b was acknowledged and is not there"),
        (another(messages=[A, B, replace(B, id="C")]), "creations: b is there 2 times"),
        (another(messages=[replace(A, id="C"), B]), "creations: a was acknowledged as A, and is C"),
        (another(messages=[replace(A, content="a"), B]), "changes: edit of a left 'a'"),
        (another(messages=[replace(A, is_pinned=False), B]), "changes: pin of a left False"),
        (another(ingested=[]), "ingests: ('thread', 'm') was acknowledged and is not there"),
        (another(ingested=[("thread", "m")] * 2), "ingests: ('thread', 'm') is there 2 times"),
        (another(log=[LOG[0], LOG[2]]), "numbers: the log is not numbered from 1 to 2: missing [2]"),
        (another(log=[LOG[0], event(2, "message.pinned", "B"), LOG[2]]), "numbers: no event made b"),
        (without("catching up", 2), "listeners: catching up heard 2 of 3 events, missed [2]"),
        (without("socket", 3), "listeners: socket heard 2 of 3 events, missed [3]"),
        (another(heard={"socket": [*LOG[:2], event(3, "message.updated", "B")]}), "listeners: socket heard something"),
        (another(heard={"socket": [LOG[1], LOG[0], LOG[2]]}), "listeners: socket heard 3 of 3"),
        (another(told=[("A", 1)]), "twins: the twin was not told of b"),
        (another(told=[("B", 2), ("A", 1)]), "twins: the twin was told out of order"),
        (another(inconsistencies=["message_count is 3"]), "triggers: message_count is 3"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_checker_finds_wrong_final_state(wrong: Callable[[], Outcome], check: str) -> None:
    assert [each for each in violations(History(deepcopy(CALLS)), wrong()) if each.startswith(check)]


@pytest.mark.parametrize(
    ("also", "check"),
    [
        (created("a", 1, "C", client="client 1"), "creations: a was acknowledged as C, and is A"),
        (call("look", "channel", 2, 20), "reads: client 0 read up to 2 when 3 was known"),
        (call("look", "channel", 0, 20, client="client 9"), "reads: client 9 read up to 0 when 2 was known"),
        (call("edit", "b", "b edited", 20), "changes: edit of b left 'b'"),
        (
            call("ingest", "thread", [("thread", "m")], 20, results=[{"messages_added": 1}]),
            "ingests: answers say that 2",
        ),
        (call("pin", "a", True, 20, 500), "answers: pin a was answered 500"),
        (call("edit", "a", "x", 20, 404), "answers: edit a was answered 404"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_checker_finds_wrong_answers(also: Call, check: str) -> None:
    assert [each for each in violations(History([*CALLS, also]), RIGHT) if each.startswith(check)]


def test_checker_accepts_either_state_of_unanswered_calls() -> None:
    late = Stored("L", "lost", 4, "lost", False, False, frozenset())
    log = [*LOG, event(4, "message.created", "L")]
    outcome = replace(RIGHT, messages=[A, B, late], log=log, heard={}, told=[*RIGHT.told, ("L", 4)])
    assert violations(History(CALLS), outcome) == []


def test_checker_accepts_an_emoji_that_a_deletion_cleared() -> None:
    reaction = {"seq": 4, "id": "R", "message_id": "B"}
    heard = [*LOG, {"event": "reaction.added", "payload": {**reaction, "emoji": "fire"}}]
    log = [*LOG, {"event": "reaction.added", "payload": {**reaction, "emoji": None}}]
    kept = replace(RIGHT, log=log, heard={"socket": heard})
    deleted = replace(kept, messages=[A, replace(B, content="", is_deleted=True)])
    calls = [*CALLS, call("delete", "b", True, 20)]
    assert violations(History(calls), deleted) == []
    assert violations(History(CALLS), kept) == ["listeners: socket heard something else than the log says"]
