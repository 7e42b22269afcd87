"""Messages of the past."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from tests.devstack.realtime.wire import ANN, Client, Server, token
from tests.support.cluster import TestCluster

Start = Callable[..., AbstractAsyncContextManager[Server]]
pytestmark = pytest.mark.anyio


async def send(server: Server, number: int) -> None:
    await server.sql(f"select realtime.send('{{\"n\": {number}}}', 'e', 'loud', true)")


def heard(client: Client) -> list[tuple[int, bool]]:
    """The numbers that came, each with whether it was of the past."""
    return [
        (frame["payload"]["payload"]["n"], frame["payload"]["meta"].get("replayed", False))
        for frame in client.frames
        if frame["event"] == "broadcast"
    ]


def since(seconds: float) -> int:
    return int((time.time() - seconds) * 1000)


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_replay_sends_the_newest_in_order_then_live_ones(server: Start, vsn: str) -> None:
    async with server() as running, running.client(vsn) as client:
        await running.sql("delete from realtime.messages")
        for number in range(4):
            await send(running, number)
        await client.join("loud", token(ANN), private=True, broadcast={"replay": {"since": since(60), "limit": 3}})
        await send(running, 4)
        await client.event("broadcast", 4)
        assert heard(client) == [(1, True), (2, True), (3, True), (4, False)]


async def test_replay_limit_zero_sends_one_message(server: Start) -> None:
    async with server() as running, running.client() as client:
        await running.sql("delete from realtime.messages")
        for number in range(2):
            await send(running, number)
        await client.join("loud", token(ANN), private=True, broadcast={"replay": {"since": since(60), "limit": 0}})
        await client.event("broadcast")
        assert heard(client) == [(1, True)]


async def test_replay_neither_loses_nor_repeats_live_messages(server: Start) -> None:
    async with server() as running, running.client() as first:
        await running.sql("delete from realtime.messages")
        await first.join("loud", token(ANN), private=True)

        async def write() -> None:
            for number in range(20):
                await send(running, number)

        # A group, so that a writer that fails says why.
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            await first.event("broadcast", 5)  # the next ones come while others join
            clients = [running.client() for _ in range(5)]
            for client in clients:
                async with client:
                    await client.join("loud", token(ANN), private=True, broadcast={"replay": {"since": since(60)}})
                    await client.event("broadcast", 20)
                    assert [number for number, _ in heard(client)] == list(range(20))


@contextmanager
def commits_stay_hidden(cluster: TestCluster) -> Iterator[None]:
    """Let commits reach the log, and so the feed, but not other sessions: they wait for a standby that is not there."""
    with psycopg.connect(cluster.url("template1"), autocommit=True) as connection:
        connection.execute("alter system set synchronous_standby_names = 'missing'")
        connection.execute("select pg_reload_conf()")
        try:
            yield
        finally:
            connection.execute("alter system reset synchronous_standby_names")
            connection.execute("select pg_reload_conf()")


async def test_replay_waits_for_what_was_delivered_before(server: Start, cluster: TestCluster) -> None:
    async with server() as running, running.client() as first, running.client() as second:
        await running.sql("delete from realtime.messages")
        await first.join("loud", token(ANN), private=True)
        with commits_stay_hidden(cluster):
            writing = asyncio.create_task(send(running, 0))
            await first.event("broadcast")
            wish = {"replay": {"since": since(60)}}
            joining = asyncio.create_task(second.join("loud", token(ANN), private=True, broadcast=wish))
            await asyncio.wait({joining}, timeout=0.3)
        await asyncio.gather(writing, joining)
        await second.event("broadcast")
        assert heard(second) == [(0, True)]


@pytest.mark.parametrize(
    ("is_private", "wish", "reason"),
    [
        (False, {"since": 0}, "UnableToReplayMessages: Replay is not allowed for public channels"),
        (True, {"since": "yesterday"}, "UnableToReplayMessages: Replay params are not valid"),
        (True, {"since": 10**30}, "UnableToReplayMessages: Replay params are not valid"),
        (True, {"since": 0, "limit": "all"}, "UnableToReplayMessages: Replay params are not valid"),
    ],
    ids=["public channel", "since is a word", "since is too large", "limit is a word"],
)
async def test_wrong_replay_is_refused(server: Start, is_private: bool, wish: dict[str, Any], reason: str) -> None:
    async with server() as running, running.client() as client:
        refused = await client.join("loud", token(ANN), private=is_private, broadcast={"replay": wish})
        assert refused["response"]["reason"] == reason
        assert (await client.join("loud", token(ANN), ref="2", private=True))["status"] == "ok"


async def test_replay_of_an_unreadable_topic_is_refused(server: Start) -> None:
    presence = {"enabled": True, "key": ""}
    async with server() as running, running.client() as client:
        refused = await client.join(
            "quiet", token(ANN), private=True, presence=presence, broadcast={"replay": {"since": 0}}
        )
        assert refused["response"]["reason"].startswith("Unauthorized: You do not have permissions")
