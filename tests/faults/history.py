"""The answers that clients got, the final state, and the rules that both must satisfy."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Answers after which the request may or may not have taken effect.
OPEN = {None, 503}


@dataclass(frozen=True)
class Call:
    """A request and its answer. Times are seconds of one clock; status None means no answer."""

    client: str
    verb: str
    subject: str  # the content of a message, or a channel
    value: Any
    began: float
    ended: float
    status: int | None
    answer: Any


@dataclass
class History:
    """All calls of all clients, each client's in its own order."""

    calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, call: Call) -> None:
        """Record a finished call."""
        with self._lock:
            self.calls.append(call)

    def of(self, *verbs: str) -> list[Call]:
        """The calls of these kinds."""
        return [call for call in self.calls if call.verb in verbs]


@dataclass(frozen=True)
class Stored:
    """The final state of a message."""

    id: str
    mark: str
    seq: int
    content: str
    is_deleted: bool
    is_pinned: bool
    emojis: frozenset[str]


@dataclass(frozen=True)
class Outcome:
    """The final state, after all repairs and deliveries."""

    messages: list[Stored]
    log: list[dict[str, Any]]  # a fresh read of the whole event log
    heard: dict[str, list[dict[str, Any]]]  # the events of each listener, in order of arrival
    ingested: list[tuple[str, str]]  # conversation and message ids of the stored rows
    told: list[tuple[str, int]]  # id and number of each message, in order of delivery to the twin
    inconsistencies: list[str]  # errors in what triggers maintain


def violations(history: History, outcome: Outcome) -> list[str]:
    """Return a sentence for each violated rule."""
    checks = (answers, creations, changes, ingests, numbers, reads, listeners, twins)
    found = [f"{check.__name__}: {sentence}" for check in checks for sentence in check(history, outcome)]
    return found + [f"triggers: {sentence}" for sentence in outcome.inconsistencies]


def answers(history: History, outcome: Outcome) -> Iterator[str]:
    """No caller gets an error of ours, and no read misses an existing message."""
    removed = {call.subject for call in history.of("delete")}
    for call in history.calls:
        is_gone = call.status == 404 and call.subject in removed
        if call.status not in {*OPEN, 200, 201} and not is_gone:
            yield f"{call.verb} {call.subject} was answered {call.status} {call.answer}"


def creations(history: History, outcome: Outcome) -> Iterator[str]:
    """Acknowledged messages exist once, and two calls with one key got the same message."""
    stored = Counter(message.mark for message in outcome.messages)
    ids = {message.mark: message.id for message in outcome.messages}
    for mark, times in stored.items():
        if times > 1:
            yield f"{mark} is there {times} times"
    for call in history.of("create"):
        if call.status != 201:
            continue
        if call.subject not in stored:
            yield f"{call.subject} was acknowledged and is not there"
        elif stored[call.subject] == 1 and ids[call.subject] != call.answer["data"]["id"]:
            yield f"{call.subject} was acknowledged as {call.answer['data']['id']}, and is {ids[call.subject]}"


def changes(history: History, outcome: Outcome) -> Iterator[str]:
    """The last acknowledged change holds, or one without an answer, which may take effect at any time."""
    final = {message.mark: message for message in outcome.messages}
    seen = {
        "edit": lambda message: message.content,
        "pin": lambda message: message.is_pinned,
        "react": lambda message: "fire" in message.emojis,
        "delete": lambda message: message.is_deleted,
    }
    for (mark, verb), possible in _possible(history).items():
        if mark not in final or (final[mark].is_deleted and verb != "delete"):
            continue
        if seen[verb](final[mark]) not in possible:
            yield f"{verb} of {mark} left {seen[verb](final[mark])!r}, and should have left one of {sorted(possible)}"


def _possible(history: History) -> dict[tuple[str, str], set[Any]]:
    """Return the permitted states of each message, by content and verb."""
    settled: dict[tuple[str, str], Any] = {}
    open_: dict[tuple[str, str], set[Any]] = defaultdict(set)
    for call in history.of("create"):
        settled[call.subject, "edit"] = call.value
        settled |= {(call.subject, verb): False for verb in ("pin", "react", "delete")}
    for call in history.of("edit", "pin", "react", "delete"):
        if call.status == 200:
            settled[call.subject, call.verb] = call.value
        elif call.status in OPEN:
            open_[call.subject, call.verb].add(call.value)
    return {key: {value, *open_[key]} for key, value in settled.items()}


def ingests(history: History, outcome: Outcome) -> Iterator[str]:
    """Acknowledged messages exist once, and no two answers counted the same message as added."""
    stored, added = Counter(outcome.ingested), 0
    for name, times in stored.items():
        if times > 1:
            yield f"{name} is there {times} times"
    for call in history.of("ingest"):
        if call.status == 200:
            added += sum(result["messages_added"] for result in call.answer["results"])
            yield from (f"{name} was acknowledged and is not there" for name in call.value if name not in stored)
    if added > len(stored):
        yield f"answers say that {added} messages were added, and there are {len(stored)}"


def numbers(history: History, outcome: Outcome) -> Iterator[str]:
    """Events are numbered from one without a gap, and each message has one created event."""
    found = [event["payload"]["seq"] for event in outcome.log]
    if found != list(range(1, len(found) + 1)):
        gaps = sorted(set(range(1, max(found) + 1)) - set(found))
        yield f"the log is not numbered from 1 to {len(found)}: missing {gaps[:5]}"
    made = {event["payload"]["seq"] for event in outcome.log if event["event"] == "message.created"}
    yield from (f"no event made {message.mark}" for message in outcome.messages if message.seq not in made)


def reads(history: History, outcome: Outcome) -> Iterator[str]:
    """A read returns everything acknowledged before it began, and no less than earlier reads."""
    seqs = {message.mark: message.seq for message in outcome.messages}
    acknowledged = sorted(
        (call.ended, seqs[call.subject]) for call in history.of("create") if call.status == 201 and call.subject in seqs
    )
    looks = sorted((call for call in history.of("look") if call.status == 200), key=lambda call: call.began)
    known, place = 0, 0
    latest: dict[str, int] = {}
    for look in looks:
        while place < len(acknowledged) and acknowledged[place][0] < look.began:
            known, place = max(known, acknowledged[place][1]), place + 1
        least = max(known, latest.get(look.client, 0))
        if look.value < least:
            yield f"{look.client} read up to {look.value} when {least} was known"
        latest[look.client] = max(least, look.value)


def listeners(history: History, outcome: Outcome) -> Iterator[str]:
    """Each listener got the same events as a fresh read, once each and in order."""
    fresh = [event["payload"]["seq"] for event in outcome.log]
    deleted = {message.id for message in outcome.messages if message.is_deleted}
    for name, heard in outcome.heard.items():
        got = [event["payload"]["seq"] for event in heard]
        if got != fresh:
            yield f"{name} heard {len(got)} of {len(fresh)} events, missed {sorted(set(fresh) - set(got))[:5]}"
        elif [_lasting(event, deleted) for event in heard] != [_lasting(event, deleted) for event in outcome.log]:
            yield f"{name} heard something else than the log says"


def _lasting(event: dict[str, Any], deleted: set[str]) -> tuple[Any, ...]:
    """Return the parts of an event that never change. A deletion clears the text and the emoji in older events."""
    payload = event["payload"]
    emoji = None if payload.get("message_id") in deleted else payload.get("emoji")
    return event["event"], payload["seq"], payload.get("id"), emoji


def twins(history: History, outcome: Outcome) -> Iterator[str]:
    """The twin got every undeleted message in order, and repeats only of the last one."""
    told = {message_id for message_id, _ in outcome.told}
    for message in outcome.messages:
        if not message.is_deleted and message.id not in told:
            yield f"the twin was not told of {message.mark}"
    order = [seq for _, seq in outcome.told]
    if order != sorted(order):
        yield "the twin was told out of order"
