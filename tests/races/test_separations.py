"""Two names of one conversation are joined and separated while both get messages: each keeps its own."""

from functools import partial
from typing import Any

import pytest

from tests.support.ingest import Sender, conversation, in_parallel, message
from tests.support.service import Service
from tests.support.team import Running
from tests.support.tokens import bearer, token

ROUNDS, STEPS = 12, 6


@pytest.fixture(scope="module")
def service(running: Running) -> Service:
    """Return the service whose log conftest.py checks after every race."""
    return running.service


@pytest.fixture
def sender(running: Running) -> Sender:
    """Create a user with a connection."""
    return Sender.create(running.client, running.database_url)


def chat(name: str, *messages: Any, **fields: Any) -> dict[str, Any]:
    return conversation(*messages, external_id=name, participant_identifier=name, **fields)


def post(sender: Sender, *conversations: Any) -> None:
    """Send a request until it is stored, as the document asks for."""
    while (answer := sender.post(*conversations)).status_code == 503:
        pass
    assert answer.status_code == 200, answer.text
    assert not [one for one in answer.json()["results"] if one["status"].startswith("error")]


def separate(sender: Sender, name: str) -> int:
    """Ask for the undo in the conversation of this name; return the status."""
    headers = bearer(token(sender.user_id))
    listed = sender.client.get("/api/v2/conversations", headers=headers).json()["data"]
    found = [one["id"] for one in listed if one["external_conversation_id"] == name]
    if not found:
        return 404
    return sender.client.post(f"/api/v2/conversations/{found[0]}/separate", json={}, headers=headers).status_code


def test_joined_and_separated_names_keep_their_messages(sender: Sender) -> None:
    for turn in range(ROUNDS):
        old, new = f"4915100000{turn:02}", f"4916100000{turn:02}"

        def write(name: str) -> None:
            for step in range(STEPS):
                edit = {"message_id": f"{name} {step}", "type": "read", "at": "2026-02-01T11:00:00Z"}
                post(sender, chat(name, message(f"{name} {step}"), updates=[edit]))

        def join(old: str = old, new: str = new) -> None:
            for _ in range(3):
                post(sender, chat(new, continues=old))

        def part(old: str = old) -> None:
            for _ in range(4):
                assert separate(sender, old) in (200, 404, 409, 503)

        in_parallel([partial(write, old), partial(write, new), join, part])
        separate(sender, old)
        stored = sender.stored()
        for name in (old, new):
            assert stored[name] == [f"{name} {step}" for step in range(STEPS)]
    assert sender.inconsistencies() == []
    assert len(sender.stored()) == 2 * ROUNDS
