"""Many writers tell at once what happened to the same messages: the result is that of the model of the algebra."""

import random
from typing import Any

import pytest

from tests.sql.test_ingest_update_algebra import ACTORS, IDS, TIMES, first_version, model, version
from tests.support.ingest import Sender, conversation, in_parallel
from tests.support.service import Service
from tests.support.sessions import session
from tests.support.team import Running

ROUNDS, WRITERS, UPDATES = 4, 6, 24
FIELDS: dict[str, list[dict[str, Any]]] = {
    "edited": [{"content": "x"}, {"content": "y", "media_url": "u1"}],
    "reaction": [{"emoji": "a"}, {"emoji": ["a", "b"]}, {"emoji": None}],
    "media": [{"media_url": "u1"}, {"media_url": "u2"}],
    "failed": [{}, {"reason": "r"}],
    **{name: [{}] for name in ("delivered", "read", "played", "pinned", "unpinned")},
}
STORED = """
select conversation.external_conversation_id, conversation.messages
from public.conversations as conversation where conversation.user_id = %s
"""


@pytest.fixture(scope="module")
def service(running: Running) -> Service:
    """Return the service whose log conftest.py checks after every race."""
    return running.service


@pytest.fixture
def sender(running: Running) -> Sender:
    """Create a user with a connection."""
    return Sender.create(running.client, running.database_url)


def random_update(chance: random.Random, sequence: int) -> dict[str, Any]:
    # One deletion, so that the other messages keep what happened to them.
    type_ = "deleted" if sequence == 1 else chance.choice(list(FIELDS))
    by = chance.choice(ACTORS) if type_ not in ("edited", "deleted", "media") else None
    given = {"message_id": chance.choice(IDS), "type": type_, "at": chance.choice(TIMES), "sequence": sequence}
    return given | ({"by": by} if by else {}) | chance.choice(FIELDS.get(type_, [{}]))


def write(sender: Sender, chat: str, facts: list[tuple[str, dict[str, Any]]]) -> None:
    """Send each fact in a request of its own."""
    for kind, one in facts:
        reply = sender.post({**conversation(external_id=chat), kind: [one]})
        assert reply.status_code == 200, reply.text
        (result,) = reply.json()["results"]
        assert not result["status"].startswith("error")
        assert "conflicting_message_ids" not in result


def test_updates_of_many_writers_end_in_one_state(sender: Sender) -> None:
    expected = {}
    for number in range(ROUNDS):
        chance, chat = random.Random(number), f"chat {number}"
        updates = [random_update(chance, sequence) for sequence in range(1, UPDATES + 1)]
        versions = [version(chance.choice(IDS), minute) for minute in range(2)]
        facts = [("messages", one) for one in (*map(first_version, IDS), *versions)]
        facts += [("updates", one) for one in updates]
        parts = [chance.sample(facts, len(facts) // 2) for _ in range(WRITERS - 1)]
        parts.append(chance.sample(facts, len(facts)))  # so that no fact is missing
        in_parallel([lambda part=part, chat=chat: write(sender, chat, part) for part in parts])
        expected[chat] = [model(name, versions, updates) for name in IDS]
    with session(sender.database_url) as db:
        assert dict(db.execute(STORED, [sender.user_id]).fetchall()) == expected
    assert sender.inconsistencies() == []
