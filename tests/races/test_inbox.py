"""Many writers in one inbox: a client that misses broadcasts at random and catches up ends with what is stored."""

import random
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support.ingest import Sender, conversation, in_parallel, message
from tests.support.service import Service
from tests.support.sessions import session
from tests.support.team import Running
from tests.support.tokens import bearer, token

SENT = """
select payload from realtime.messages where topic = 'inbox:' || %s and inserted_at > now() - interval '1 hour'
order by (payload -> 'conversation' ->> 'version')::bigint
"""
STORED = """
select c.external_conversation_id, jsonb_object_agg(m.external_id, m.message)
from public.conversations as c inner join public.conversation_messages as m on m.conversation_id = c.id
where c.user_id = %s group by c.id
"""
CHATS, WRITERS, STEPS = 3, 3, 8
PAUSE = threading.Event()


@pytest.fixture(scope="module")
def service(running: Running) -> Service:
    """Return the service whose log conftest.py checks after every race."""
    return running.service


@pytest.fixture
def sender(running: Running) -> Sender:
    """Create a user with a connection."""
    return Sender.create(running.client, running.database_url)


def read_changes(sender: Sender, **parameters: Any) -> dict[str, Any]:
    headers = bearer(token(sender.user_id))
    reply = sender.client.get("/api/v2/inbox/changes", params=parameters, headers=headers)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def write(sender: Sender, who: int) -> None:
    chance = random.Random(who)
    for step in range(STEPS):
        name = f"{who}-{step}"
        given = conversation(message(name), external_id=f"chat{chance.randrange(CHATS)}")
        assert sender.post(given).status_code == 200
        edit = {"message_id": name, "type": "edited", "at": "2026-02-01T11:00:00Z", "content": f"edited {name}"}
        assert sender.post({**given, "messages": [], "updates": [edit]}).status_code == 200


def hold(sender: Sender, is_over: Callable[[], bool]) -> None:
    """Keep transactions open that write late and commit much later."""
    with psycopg.connect(sender.database_url) as db:
        while not is_over():
            db.execute("select pg_current_xact_id(), pg_sleep(0.02)")
            # Conversations before messages, in the order of ids, as ingest locks them.
            db.execute(
                "select from public.conversations where user_id = %s order by id for no key update", [sender.user_id]
            )
            db.execute(
                "update public.conversation_messages set message = message || '{\"late\": true}' "
                "where workspace_id = %s and external_id like '0-%%'",
                [sender.user_id],
            )
            db.execute("select pg_sleep(0.02)")
            db.commit()
            PAUSE.wait(0.1)


def follow(sender: Sender, is_over: Callable[[], bool]) -> dict[str, dict[str, Any]]:
    """Read change after change, as a client does after its connection was cut, with pages of random size."""
    chance, known = random.Random(7), {}
    since = read_changes(sender)["meta"]["next_cursor"]
    while True:
        was_over = is_over()
        page = read_changes(sender, since=since, limit=chance.randrange(1, 6))
        since = page["meta"]["next_cursor"]
        for change in page["data"]:
            chat = known.setdefault(change["conversation"]["external_conversation_id"], {})
            chat.update({line["id"]: line for line in change["messages"]})
        if was_over and not page["meta"]["has_more"]:
            return known
        PAUSE.wait(0.02)


def test_followers_end_with_what_is_stored(sender: Sender) -> None:
    with psycopg.connect(sender.database_url, autocommit=True) as db:
        db.execute("update private.settings set requests_per_minute = 1000000")
    done: list[int] = []

    def finish(who: int) -> None:
        try:
            write(sender, who)
        finally:
            done.append(who)

    held: list[bool] = []

    def hold_and_say() -> None:
        try:
            hold(sender, lambda: len(done) >= WRITERS)
        finally:
            held.append(True)

    *_, first, second = in_parallel(
        [
            *(lambda who=who: finish(who) for who in range(WRITERS)),
            hold_and_say,
            lambda: follow(sender, lambda: bool(held)),
            lambda: follow(sender, lambda: bool(held)),
        ]
    )
    with session(sender.database_url) as db:
        stored = dict(db.execute(STORED, [sender.user_id]).fetchall())
        payloads = [payload for (payload,) in db.execute(SENT, [sender.user_id])]
    assert first == stored
    assert second == stored
    for name in stored:
        versions = [
            payload["conversation"]["version"]
            for payload in payloads
            if "conversation" in payload and payload["conversation"]["external_conversation_id"] == name
        ]
        assert versions == list(range(1, len(versions) + 1))
