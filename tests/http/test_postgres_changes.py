"""What `postgres_changes` sends of deletions, on the stack of `make up`, as docs/reference/realtime.md says."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.devstack.realtime.agents import Event, PythonAgent
from tests.support.calls import call, send
from tests.support.database import add_channel
from tests.support.stack import RunningStack
from tests.support.world import BOB, MATTY


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutines on asyncio."""
    return "asyncio"


@pytest.fixture
def calls(stack: RunningStack) -> Iterator[psycopg.Connection]:
    """Sign in as the service, which commits each call."""
    with psycopg.connect(stack.database_url("authenticator"), autocommit=True) as connection:
        yield connection


def changes_of(table: str) -> list[dict[str, str]]:
    return [{"event": "*", "schema": "public", "table": table}]


def inserts(content: str) -> Callable[[Event], bool]:
    return lambda event: event["new"].get("content") == content


@pytest.mark.anyio
async def test_deletion_by_the_api_sends_no_change(stack: RunningStack, calls: psycopg.Connection) -> None:
    with psycopg.connect(stack.database_url(), autocommit=True) as database:
        channel_id = add_channel(database, "changes", [MATTY, BOB])
    async with PythonAgent(stack.api_url, stack.keys["PUBLISHABLE_KEY"]) as bob:
        await bob.set_auth(stack.token("bob@example.com"))
        await bob.subscribe("changes", changes=changes_of("messages"))
        await bob.wait("system", "changes")
        first = send(calls, "first", MATTY, channel_id)
        # Realtime asks the policies after the commit. A message that is deleted by then is not sent at all.
        await bob.wait("change", "changes", inserts("first"))
        call(calls, "delete_message", MATTY, id=first)
        send(calls, "second", MATTY, channel_id)
        await bob.wait("change", "changes", inserts("second"))
        heard = [(event["type"], event["new"].get("content")) for event in bob.heard("change", "changes")]
        assert heard == [("INSERT", "first"), ("INSERT", "second")]


@pytest.mark.anyio
async def test_removed_reaction_sends_its_key_to_non_members(stack: RunningStack, calls: psycopg.Connection) -> None:
    with psycopg.connect(stack.database_url(), autocommit=True) as database:
        channel_id = add_channel(database, "changes", [MATTY])
    message_id = send(calls, "first", MATTY, channel_id)
    async with PythonAgent(stack.api_url, stack.keys["PUBLISHABLE_KEY"]) as bob:
        await bob.set_auth(stack.token("bob@example.com"))
        await bob.subscribe("changes", changes=changes_of("message_reactions"))
        await bob.wait("system", "changes")
        added = call(calls, "add_reaction", MATTY, id=message_id, emoji="fire").data
        call(calls, "remove_reaction", MATTY, id=message_id, emoji="fire")
        heard = await bob.wait("change", "changes")
        assert (heard["type"], heard["new"], heard["old"]) == ("DELETE", {}, {"id": added["id"]})
