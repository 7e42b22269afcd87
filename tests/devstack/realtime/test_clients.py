"""The official clients on `make up`, unmodified: each feature, with each client."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from supabase.lib.client_options import AsyncClientOptions

from supabase import acreate_client
from tests.devstack.realtime.agents import Agent, JavaScriptAgent, PythonAgent
from tests.devstack.realtime.wire import ANN, BOB, token
from tests.support import tools
from tests.support.stack import RunningStack

pytestmark = pytest.mark.anyio
CLIENTS = [
    PythonAgent,
    pytest.param(
        JavaScriptAgent, marks=pytest.mark.skipif(tools.deno() is None, reason=tools.why_not("deno")), id="JavaScript"
    ),
]
# A topic `club:<user>` belongs to that user; a signed-in user may read their own notes.
SETTING = """
create policy test_club_read on realtime.messages for select to authenticated
    using (topic = 'club:' || (select auth.uid()) and topic = (select realtime.topic()));
create policy test_club_write on realtime.messages for insert to authenticated
    with check (topic = 'club:' || (select auth.uid()) and topic = (select realtime.topic()));
create table public.test_notes (id bigint primary key, owner uuid, text text);
alter table public.test_notes enable row level security;
grant select on public.test_notes to authenticated;
create policy own on public.test_notes for select to authenticated using (owner = (select auth.uid()));
alter publication supabase_realtime add table public.test_notes;
"""
CLEARING = """
drop table public.test_notes;
drop policy test_club_read on realtime.messages;
drop policy test_club_write on realtime.messages;
"""
CLUB = f"club:{ANN}"


@pytest.fixture(scope="module")
def database(stack: RunningStack) -> Iterator[psycopg.Connection]:
    """The stack's database, as role postgres."""
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        connection.execute(SETTING)
        yield connection
        connection.execute(CLEARING)


@pytest.fixture
def room() -> str:
    """A topic for one test alone."""
    return f"room {uuid.uuid4()}"


@pytest.fixture(params=CLIENTS)
def make(request: pytest.FixtureRequest, stack: RunningStack) -> type[Agent]:
    """Makes a client."""
    return lambda: request.param(stack.api_url, stack.keys["PUBLISHABLE_KEY"])


def send(database: psycopg.Connection, topic: str, number: int, *, private: bool = True) -> None:
    database.execute("select realtime.send(jsonb_build_object('n', %s::int), 'e', %s, %s)", [number, topic, private])


async def test_client_broadcasts_over_socket_and_http(make: type[Agent], room: str) -> None:
    async with make() as one, make() as other:
        assert await one.subscribe(room, ack=True, echo=True) == "SUBSCRIBED"
        assert await other.subscribe(room) == "SUBSCRIBED"
        await one.send(room, "e", {"text": "hello", "list": [1, None, "ä"]})
        await one.http_send(room, "e", {"text": "over HTTP"})
        for client in (one, other):
            await client.wait("broadcast", room, lambda event: event["payload"].get("text") == "over HTTP")
            assert client.heard("broadcast", room)[0]["payload"] == {"text": "hello", "list": [1, None, "ä"]}
        assert len(one.heard("broadcast", room)) == 2
        await other.unsubscribe(room)


@pytest.mark.skipif(tools.deno() is None, reason=tools.why_not("deno"))
async def test_javascript_client_sends_bytes_and_gets_acks(stack: RunningStack, room: str) -> None:
    async with JavaScriptAgent(stack.api_url, stack.keys["ANON_KEY"]) as client:
        await client.subscribe(room, ack=True, echo=True)
        assert await client.send(room, "e", {"n": 1}) == "ok"
        assert await client.send_bytes(room, "e", b"\x00\x01\xff") == "ok"
        await client.wait("broadcast", room, lambda event: event["payload"] == {"bytes": [0, 1, 255]})


async def test_client_receives_database_broadcasts_in_private(make: type[Agent], database: psycopg.Connection) -> None:
    async with make() as ann, make() as bob:
        await ann.set_auth(token(ANN))
        await bob.set_auth(token(BOB))
        assert await ann.subscribe(CLUB, private=True, ack=True, echo=True) == "SUBSCRIBED"
        assert await bob.subscribe(CLUB, private=True) == "CHANNEL_ERROR"
        assert "do not have permissions" in bob.heard("status", CLUB)[0]["error"]
        send(database, CLUB, 1)
        await ann.wait("broadcast", CLUB)
        await ann.send(CLUB, "e", {"n": 2})
        await ann.http_send(CLUB, "e", {"n": 3}, private=True)
        await ann.wait("broadcast", CLUB, lambda event: event["payload"]["n"] == 3)
        assert [event["payload"]["n"] for event in ann.heard("broadcast", CLUB)] == [1, 2, 3]
        assert uuid.UUID(ann.heard("broadcast", CLUB)[0]["meta"]["id"])
        assert bob.heard("broadcast", CLUB) == []


async def test_client_renews_its_token(make: type[Agent], database: psycopg.Connection) -> None:
    async with make() as ann:
        await ann.set_auth(token(ANN, seconds=3))
        assert await ann.subscribe(CLUB, private=True) == "SUBSCRIBED"
        await ann.set_auth(token(ANN))
        await ann.set_auth(token(BOB))
        # To a token that may not read, both clients react alike: the channel has failed.
        await ann.wait("status", CLUB, lambda event: event["status"] in ("CLOSED", "CHANNEL_ERROR"))


async def test_client_replays_past_messages(make: type[Agent], database: psycopg.Connection) -> None:
    since = int(time.time() * 1000)
    send(database, CLUB, 1)
    send(database, CLUB, 2)
    async with make() as ann:
        await ann.set_auth(token(ANN))
        assert await ann.subscribe(CLUB, private=True, replay={"since": since, "limit": 10}) == "SUBSCRIBED"
        send(database, CLUB, 3)
        await ann.wait("broadcast", CLUB, lambda event: event["payload"]["n"] == 3)
        heard = ann.heard("broadcast", CLUB)
        assert [(event["payload"]["n"], event["meta"].get("replayed", False)) for event in heard] == [
            (1, True),
            (2, True),
            (3, False),
        ]


async def test_client_tracks_presence(make: type[Agent], room: str) -> None:
    async with make() as one:
        await one.subscribe(room, presence="one")
        await one.track(room, {"mood": "good"})
        await one.wait("join", room, lambda event: event["key"] == "one")
        async with make() as two:
            await two.subscribe(room, presence="two")
            await two.wait("join", room, lambda event: event["key"] == "one")
            await two.track(room, {"mood": "bad"})
            await one.wait("join", room, lambda event: event["key"] == "two")
            await two.untrack(room)
            await one.wait("leave", room, lambda event: event["key"] == "two")
            await two.track(room, {"mood": "worse"})
            await one.wait("join", room, lambda event: len(one.heard("join", room)) > 2)
        await one.wait("leave", room, lambda event: len(one.heard("leave", room)) > 1)


async def test_client_receives_postgres_changes(make: type[Agent], database: psycopg.Connection, room: str) -> None:
    database.execute("delete from test_notes")
    everything = {"event": "*", "schema": "public", "table": "test_notes"}
    some = {"event": "INSERT", "schema": "public", "table": "test_notes", "filter": "text=eq.b"}
    async with make() as ann, make() as bob:
        for client, user in ((ann, ANN), (bob, BOB)):
            await client.set_auth(token(user))
            await client.subscribe(room, changes=[everything])
            await client.wait("system", room, lambda event: event["status"] == "ok")
        await ann.subscribe(f"{room} some", changes=[some])
        await ann.wait("system", f"{room} some", lambda event: event["status"] == "ok")
        database.execute("insert into test_notes values (1, %s, 'a'), (2, %s, 'b'), (3, %s, 'c')", [ANN, ANN, BOB])
        await bob.wait("change", room)  # as in Realtime, a row that is gone by then is not sent
        database.execute("update test_notes set text = 'z' where id = 1")
        await ann.wait("change", room, lambda event: event["type"] == "UPDATE")
        database.execute("delete from test_notes where id = 2")
        await ann.wait("change", room, lambda event: event["type"] == "DELETE")
        await bob.wait("change", room, lambda event: event["type"] == "DELETE")
        heard = ann.heard("change", room)
        assert [(event["type"], event["new"].get("id"), event["new"].get("text")) for event in heard] == [
            ("INSERT", 1, "a"),
            ("INSERT", 2, "b"),
            ("UPDATE", 1, "z"),
            ("DELETE", None, None),
        ]
        assert [event["type"] for event in bob.heard("change", room)] == ["INSERT", "DELETE"]
        assert [event["new"]["id"] for event in ann.heard("change", f"{room} some")] == [2]


async def test_client_rejoins_after_a_lost_stream(
    make: type[Agent], database: psycopg.Connection, stack: RunningStack, room: str
) -> None:
    async with make() as client:
        assert await client.subscribe(room) == "SUBSCRIBED"
        with psycopg.connect(stack.database_url("supabase_admin"), autocommit=True) as admin:
            admin.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active")
        await client.wait("status", room, lambda event: event["status"] == "CHANNEL_ERROR")
        await client.wait("status", room, lambda _: client.heard("status", room)[-1]["status"] == "SUBSCRIBED")
        send(database, room, 1, private=False)
        await client.wait("broadcast", room)


async def test_signed_in_user_joins_a_private_channel(stack: RunningStack, database: psycopg.Connection) -> None:
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    async with httpx.AsyncClient() as http:
        options = AsyncClientOptions(httpx_client=http)
        client = await acreate_client(stack.api_url, stack.keys["PUBLISHABLE_KEY"], options)
        user = (await client.auth.sign_in_with_password({"email": "matty@example.com", "password": "password123"})).user
        channel = client.channel(f"club:{user.id}", {"config": {"private": True, "broadcast": {}, "presence": {}}})
        await channel.on_broadcast("e", heard.put_nowait).subscribe()
        send(database, f"club:{user.id}", 1)
        assert (await asyncio.wait_for(heard.get(), 10))["payload"]["n"] == 1
        await client.auth.sign_out()
        await client.remove_all_channels()
        await client.realtime.close()
