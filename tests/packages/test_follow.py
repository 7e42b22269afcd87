"""packages/follow-js and packages/follow-py on the stack of `make up`, with the official clients under them."""

import random
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.packages.agents import Agent
from tests.packages.bob import SECONDS, Bob, log
from tests.support.calls import call, ingest, send
from tests.support.database import add_channel
from tests.support.idle import IdleProject
from tests.support.ingest import conversation, message
from tests.support.line import Line
from tests.support.stack import RunningStack
from tests.support.world import BOB, CAROL, MATTY

pytestmark = pytest.mark.parametrize("language", ["python", "javascript"])


@pytest.fixture
def bob(tmp_path: Path, language: str) -> Bob:
    """Sign Bob in."""
    return Bob(tmp_path / "token", language)


def test_follower_misses_and_repeats_nothing_after_cuts(
    calls: psycopg.Connection[Any], line: Line, bob: Bob, channel_id: str
) -> None:
    chance = random.Random(4)
    with bob.following(line, channelId=channel_id) as agent:
        agent.wait_for_state("live")
        for step in range(60):
            sent = send(calls, f"{step}", MATTY, channel_id)
            call(calls, "edit_message", MATTY, id=sent, content=f"{step} edited")
            if chance.random() < 0.1:
                line.cut()
            if chance.random() < 0.1:
                seq = len(log(calls, channel_id))
                agent.wait_for_seq(chance.randrange(seq - 2, seq + 1))
        written = log(calls, channel_id)
        agent.wait_for_seq(len(written))
        assert agent.events() == written


def test_first_join_carries_the_token_of_the_callback(line: Line, bob: Bob, channel_id: str) -> None:
    with bob.following(line, channelId=channel_id) as agent:
        agent.wait_for_state("live")
        assert agent.states() == ["live"]


def test_slow_handler_gets_one_event_at_a_time(
    calls: psycopg.Connection[Any], line: Line, bob: Bob, channel_id: str
) -> None:
    with bob.following(line, channelId=channel_id, slow=30) as agent:
        agent.wait_for_state("live")
        for step in range(20):
            sent = send(calls, f"{step}", MATTY, channel_id)
            call(calls, "edit_message", MATTY, id=sent, content=f"{step} edited")
        agent.wait_for_seq(43)
        assert agent.events() == log(calls, channel_id)
        assert not any(said["kind"] == "overlap" for said in agent.said)


def test_failing_handler_ends_before_its_event(
    calls: psycopg.Connection[Any], line: Line, bob: Bob, channel_id: str
) -> None:
    with bob.following(line, channelId=channel_id, failing=5) as agent:
        agent.wait_for_state("live")
        for _ in range(3):
            send(calls, "Hello", MATTY, channel_id)
        agent.wait_for_state("ended", reason="failed")
        assert [event["payload"]["seq"] for event in agent.events()] == [1, 2, 3, 4]


def test_deleted_channel_is_the_last_event(
    database: psycopg.Connection[Any], line: Line, bob: Bob, channel_id: str
) -> None:
    with bob.following(line, channelId=channel_id) as agent:
        agent.wait_for_state("live")
        database.execute("delete from public.channels where id = %s", (channel_id,))
        agent.wait_for_state("ended", reason="deleted")
        last = agent.events()[-1]
        assert (last["event"], last["payload"]["seq"]) == ("channel.deleted", 4)
    with bob.following(line, channelId=channel_id, since=3) as late:
        late.wait_for_state("ended", reason="deleted")
        assert [event["event"] for event in late.events()] == ["channel.deleted"]


def test_removed_member_learns_it_as_the_last_event(
    database: psycopg.Connection[Any], calls: psycopg.Connection[Any], line: Line, bob: Bob, channel_id: str
) -> None:
    with bob.following(line, channelId=channel_id) as agent:
        agent.wait_for_state("live")
        database.execute("delete from public.channel_members where channel_id = %s and user_id = %s", (channel_id, BOB))
        send(calls, "Bob must not read this", MATTY, channel_id)
        agent.wait_for_state("ended", reason="left")
        assert [event["event"] for event in agent.events()][-1] == "channel.left"
        assert "must not" not in str(agent.said)


def test_sealed_channel_is_followed_on_its_turn(
    database: psycopg.Connection[Any], calls: psycopg.Connection[Any], line: Line, bob: Bob, channel_id: str
) -> None:
    with bob.following(line, channelId=channel_id, checkSeconds=600) as agent:
        agent.wait_for_state("live")
        for _ in range(2):
            database.execute(
                "delete from public.channel_members where channel_id = %s and user_id = %s", (channel_id, CAROL)
            )
            send(calls, "sealed", MATTY, channel_id)
            agent.wait_for_seq(len(log(calls, channel_id)))
            time.sleep(2)  # the agent joins the turn
            reads = line.sent.count(b"/rpc/list_channel_events")
            for step in range(10):
                send(calls, f"{step}", MATTY, channel_id)
                agent.wait_for_seq(len(log(calls, channel_id)))
            assert line.sent.count(b"/rpc/list_channel_events") == reads
            database.execute(
                "insert into public.channel_members (channel_id, user_id) values (%s, %s)", (channel_id, CAROL)
            )
        agent.wait_for_seq(len(log(calls, channel_id)))
        assert agent.events() == log(calls, channel_id)


def test_two_followers_with_one_client_both_get_all(
    calls: psycopg.Connection[Any], line: Line, bob: Bob, channel_id: str
) -> None:
    with bob.following(line, channelId=channel_id, copies=2) as agent:
        agent.wait(lambda said: said.get("state") == "live" and said["copy"] == 1)
        agent.wait(lambda said: said.get("state") == "live" and said["copy"] == 2)
        for step in range(5):
            send(calls, f"{step}", MATTY, channel_id)
        agent.wait_for_seq(8)
        agent.wait_for_seq(8, copy=2)
        assert agent.events(1) == agent.events(2) == log(calls, channel_id)


def test_idle_project_loses_no_first_message(
    stack: RunningStack, calls: psycopg.Connection[Any], bob: Bob, channel_id: str
) -> None:
    idle = IdleProject(stack.port)
    try:
        with bob.following(idle, channelId=channel_id, checkSeconds=600) as agent:
            agent.wait_for_seq(3)
            while not idle.lost:
                send(calls, "too early", MATTY, channel_id)
                time.sleep(0.1)
            assert agent.wait_for_seq(len(log(calls, channel_id))) < SECONDS
            assert agent.events() == log(calls, channel_id)
    finally:
        idle.close()


def test_user_topic_is_followed_from_now(database: psycopg.Connection[Any], line: Line, bob: Bob) -> None:
    with bob.following(line, topic=f"user:{BOB}", since="now") as agent:
        agent.wait_for_state("live")
        assert agent.states() == ["reload", "live"]
        assert agent.events() == []
        channel_id = add_channel(database, "news", [MATTY, BOB])
        line.cut()
        database.execute("update public.channels set name = 'renamed' where id = %s", (channel_id,))
        database.execute("delete from public.channels where id = %s", (channel_id,))
        agent.wait(lambda said: said.get("event") == "channel.deleted")
        assert [event["event"] for event in agent.events()] == ["channel.joined", "channel.renamed", "channel.deleted"]


def test_inbox_misses_no_conversation_after_a_cut(
    calls: psycopg.Connection[Any], line: Line, bob: Bob, language: str
) -> None:
    def receive(number: int) -> None:
        chat = conversation(message(f"{language} {number}"), external_id=f"followed in {language}")
        assert ingest(calls, chat).status == 200

    def counts(agent: Agent) -> list[int]:
        return [event["payload"]["conversation"]["message_count"] for event in agent.events()]

    bob.renew(user_id=MATTY)
    with bob.following(line, topic=f"inbox:{MATTY}") as agent:
        agent.wait_for_state("live")
        receive(1)
        agent.wait(lambda said: said.get("event") == "conversation.created")
        for number in range(2, 8):
            line.cut()
            receive(number)
            agent.wait(lambda _, number=number: counts(agent)[-1:] == [number])
        assert counts(agent) == [1, 2, 3, 4, 5, 6, 7]
        assert agent.states()[:2] == ["reload", "live"]
        assert agent.states().count("reload") == 1


def changes(db: psycopg.Connection[Any], since: str | None) -> tuple[list[dict[str, Any]], str]:
    """Return what changed in the inbox of Matty since a cursor, and the cursor of now."""
    found: list[dict[str, Any]] = []
    while True:
        reply = call(db, "list_inbox_changes", MATTY, **({"since": since} if since else {}))
        found, since = found + reply.data, reply.meta["next_cursor"]
        if not reply.meta["has_more"]:
            return found, since


def names(payloads: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return which conversations changed, and their versions, in order."""
    return [
        (one["conversation"]["id"], one["version"] if "version" in one else one["conversation"]["version"])
        for one in payloads
    ]


def random_change(chance: random.Random, place: str, step: int) -> dict[str, Any]:
    """Return a change of one of four conversations that differs from all before."""
    name = f"{place} {chance.randrange(4)}"
    at = f"2026-02-01T11:{step // 60:02}:{step % 60:02}Z"
    edit = {"message_id": "m0", "type": "edited", "at": at, "content": f"{step}"}
    given = [message(f"m{step}"), message(f"n{step}")][: chance.randrange(3)]
    # A conversation whose only message waits for its edit changes, too: its name is another one.
    fields = {"participant_name": f"{step}"} if chance.random() < 0.3 or not given else {}
    return conversation(*given, external_id=name, updates=[edit] if chance.random() < 0.3 else [], **fields)


def test_inbox_follower_misses_and_repeats_nothing_after_cuts(
    database: psycopg.Connection[Any], calls: psycopg.Connection[Any], line: Line, bob: Bob, language: str
) -> None:
    chance = random.Random(5)
    bob.renew(user_id=MATTY)
    _, start = changes(calls, None)
    with bob.following(line, topic=f"inbox:{MATTY}", since=start, checkSeconds=5) as agent:
        agent.wait_for_state("live")
        for number in range(4):
            ingest(calls, conversation(message("m0"), external_id=f"{language} {number}"))
        for step in range(60):
            assert ingest(calls, random_change(chance, language, step)).status == 200
            if chance.random() < 0.2:
                line.cut()
            if chance.random() < 0.1:
                time.sleep(chance.random())
        written = names(changes(calls, start)[0])
        agent.wait(lambda _: len(agent.events()) >= len(written))
        time.sleep(2)
        payloads = [event["payload"] for event in agent.events()]
        handed = names(payloads)
        assert sorted(handed) == sorted(written)
        assert len(set(handed)) == len(handed)
        known: dict[str, tuple[int, dict[str, Any]]] = {}
        for (chat, version), payload in zip(handed, payloads, strict=True):
            last, lines = known.get(chat, (0, {}))
            assert version == last + 1
            known[chat] = (version, lines | {one["id"]: one for one in payload["messages"]})
        stored = "select c.id::text, c.version, c.messages from public.conversations as c where c.id = any(%s::uuid[])"
        for chat, version, lines in database.execute(stored, (list(known),)).fetchall():
            assert known[chat] == (version, {one["id"]: one for one in lines})
