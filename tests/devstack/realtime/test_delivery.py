"""What the database sends: after the commit, in the order of commits, nothing lost and nothing twice."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import psycopg
import pytest

from tests.devstack.realtime.wire import ANN, Client, Server, token
from tests.support.cluster import TestCluster

Start = Callable[..., AbstractAsyncContextManager[Server]]
pytestmark = pytest.mark.anyio


def numbers(client: Client) -> list[int]:
    return [frame["payload"]["payload"]["n"] for frame in client.frames if frame["event"] == "broadcast"]


async def send(server: Server, topic: str, number: int) -> None:
    await server.sql(f"select realtime.send('{{\"n\": {number}}}', 'e', '{topic}', true)")


async def send_binary(server: Server, topic: str) -> None:
    await server.sql(f"select realtime.send_binary('\\x00ff', 'bytes', '{topic}', true)")


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_row_is_delivered_with_its_id(server: Start, vsn: str) -> None:
    async with server() as running, running.client(vsn) as client:
        await running.sql("delete from realtime.messages")
        await client.join("den", token(ANN), private=True)
        await send_binary(running, "den")
        await running.sql("select realtime.send('{\"n\": 1, \"id\": \"mine\"}', 'e', 'den', true)")
        last = (await client.event("broadcast", 1 if vsn == "1.0.0" else 2))[-1]["payload"]
        assert last["payload"] == {"n": 1, "id": "mine"}
        stored = await running.value("select id from realtime.messages where payload is not null")
        assert last["meta"] == {"id": str(stored)}
        if vsn == "2.0.0":  # the other cannot carry bytes
            assert client.frames[-2]["payload"]["payload"] == b"\x00\xff"


async def test_rolled_back_row_is_not_delivered(server: Start) -> None:
    async with server() as running, running.client() as client:
        await client.join("den", token(ANN), private=True)
        await running.sql(
            "do $$ begin perform realtime.send('{\"n\": 1}', 'e', 'den', true); raise 'no';"
            " exception when others then end $$"
        )
        await send(running, "den", 2)
        await client.event("broadcast")
        assert numbers(client) == [2]


async def test_concurrent_commits_are_delivered_in_commit_order(server: Start) -> None:
    writers, each = 12, 20
    async with server() as running, running.client() as client, running.client("1.0.0") as other:
        await running.sql("create sequence if not exists turns")
        for listener in (client, other):
            await listener.join("den", token(ANN), private=True)

        async def write() -> None:
            async with await psycopg.AsyncConnection.connect(running.database_url) as connection:
                for _ in range(each):
                    # The lock makes the number that of the commit: it is held until after it.
                    await connection.execute("select pg_advisory_xact_lock(1)")
                    await connection.execute(
                        "select realtime.send(jsonb_build_object('n', nextval('turns')), 'e', 'den', true)"
                    )
                    await connection.commit()

        await asyncio.gather(*(write() for _ in range(writers)))
        for listener in (client, other):
            await listener.event("broadcast", writers * each)
            assert numbers(listener) == sorted(numbers(listener))
            assert len(set(numbers(listener))) == writers * each


async def test_rows_of_one_transaction_keep_their_order(server: Start) -> None:
    async with server() as running, running.client() as client:
        await client.join("den", token(ANN), private=True)
        await running.sql(
            "select realtime.send(jsonb_build_object('n', n), 'e', 'den', true) from generate_series(1, 3000) n"
        )
        await client.event("broadcast", 3000)
        assert numbers(client) == list(range(1, 3001))


@pytest.mark.parametrize(
    "row",
    [
        "('den', 'broadcast', null, '{\"n\": 0}', true)",
        "('den', 'broadcast', 'e', null, true)",
        "('den', 'broadcast', 'e', '{\"n\": 0}', null)",
        "('den', 'broadcast', 'e', jsonb_build_object('n', repeat('x', 1000)), true)",
    ],
)
async def test_rows_without_topic_or_payload_are_dropped(server: Start, row: str) -> None:
    async with server(payload_bytes=500) as running, running.client() as client:
        await client.join("den", token(ANN), private=True)
        await running.sql(f"insert into realtime.messages (topic, extension, event, payload, private) values {row}")
        await send(running, "den", 1)
        await client.event("broadcast")
        assert numbers(client) == [1]


async def test_lost_stream_ends_channels_and_a_new_join_works(server: Start, cluster: TestCluster) -> None:
    async with server() as running, running.client() as client:
        await client.join("den", token(ANN), private=True)
        await client.join("open", ref="2")
        async with await psycopg.AsyncConnection.connect(cluster.url("template1"), autocommit=True) as connection:
            await connection.execute(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null"
                " and database = %s",
                [running.database_url.rpartition("/")[2]],
            )
        errors = await client.event("phx_error", 2)
        assert {(frame["topic"], frame["join_ref"]) for frame in errors} == {
            ("realtime:den", "1"),
            ("realtime:open", "2"),
        }
        assert {frame["payload"]["status"] for frame in await client.event("system", 2)} == {"error"}
        assert (await client.join("den", token(ANN), ref="3", private=True))["status"] == "ok"
        await send(running, "den", 7)
        await client.event("broadcast")
        assert numbers(client) == [7]


async def test_internal_error_does_not_end_the_stream(server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as running, running.client() as client:
        await client.join("den", token(ANN), private=True)
        with monkeypatch.context() as patch:
            patch.setattr(running.realtime.shared.hub, "broadcast", None)
            await send(running, "den", 1)
            await client.event("phx_error")
        await client.join("den", token(ANN), ref="2", private=True)
        await send(running, "den", 2)
        await client.event("broadcast")


async def test_stream_runs_only_while_a_channel_is_open(server: Start, cluster: TestCluster) -> None:
    async with server(linger_seconds=0.05) as running:
        async with running.client() as client:
            await client.join("open")
            assert running.realtime.shared.stream.is_streaming
        deadline = time.monotonic() + 10
        with psycopg.connect(cluster.url("template1"), autocommit=True) as connection:
            while connection.execute(
                "select 1 from pg_replication_slots where database = %s", [running.database_url.rpartition("/")[2]]
            ).fetchone():
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
        async with running.client() as client:
            await client.join("den", token(ANN), private=True)
            await send(running, "den", 1)
            await client.event("broadcast")


async def test_connecting_removes_old_messages(server: Start) -> None:
    async with server() as running:
        await running.sql("delete from realtime.messages")
        for hours in (71, 73):
            await running.sql(
                "insert into realtime.messages (topic, extension, event, inserted_at)"
                f" values ('t', 'broadcast', '{hours}', timezone('utc', now()) - interval '{hours} hours')"
            )
        async with running.client() as client:
            await client.join("open")
        assert await running.value("select string_agg(event, ',') from realtime.messages") == "71"
