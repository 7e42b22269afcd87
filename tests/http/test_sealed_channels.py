"""A removed member with an open WebSocket, on the stack of `make up`."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.devstack.realtime.agents import PythonAgent
from tests.support.calls import call, send
from tests.support.database import add_channel
from tests.support.stack import RunningStack
from tests.support.world import BOB, CAROL, MATTY

EVENTS = ("message.created", "member.left", "channel.left", "message.mentioned")


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutines on asyncio."""
    return "asyncio"


@pytest.fixture
def database(stack: RunningStack) -> Iterator[psycopg.Connection]:
    """Sign in to the database of the stack."""
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        yield connection


@pytest.mark.anyio
async def test_removed_member_receives_no_content(stack: RunningStack, database: psycopg.Connection) -> None:
    channel_id = add_channel(database, "secret", [MATTY, BOB, CAROL])
    topic, key = f"channel:{channel_id}", stack.keys["PUBLISHABLE_KEY"]
    async with PythonAgent(stack.api_url, key) as removed, PythonAgent(stack.api_url, key) as member:
        await removed.set_auth(stack.token("bob@example.com"))
        await member.set_auth(stack.token("matty@example.com"))
        for client in (removed, member):
            assert await client.subscribe(topic, EVENTS, private=True) == "SUBSCRIBED"
        assert await removed.subscribe(f"user:{BOB}", EVENTS, private=True) == "SUBSCRIBED"
        assert await removed.subscribe(f"user:{MATTY}", EVENTS, private=True) == "CHANNEL_ERROR"

        database.execute("delete from public.channel_members where channel_id = %s and user_id = %s", (channel_id, BOB))
        await removed.wait("broadcast", f"user:{BOB}", lambda event: event["event"] == "channel.left")
        with database.transaction():
            send(database, "first", MATTY, channel_id)
        pointer = await member.wait("broadcast", topic, lambda event: event["payload"].get("truncated"))
        turn = pointer["payload"]["topic"]
        assert await member.subscribe(turn, EVENTS, private=True) == "SUBSCRIBED"
        assert await removed.subscribe(turn, EVENTS, private=True) == "CHANNEL_ERROR"
        with database.transaction():
            send(database, "second", CAROL, channel_id)
        full = await member.wait("broadcast", turn)
        assert full["payload"]["content"] == "second"

        await removed.wait("broadcast", topic, lambda event: event["payload"]["seq"] == full["payload"]["seq"])
        heard = str(removed.events)
        assert "first" not in heard
        assert "second" not in heard
        with database.transaction():
            assert call(database, "list_channel_events", BOB, channel_id=channel_id).status == 404
            assert len(call(database, "list_channel_events", MATTY, channel_id=channel_id).data) == 6
