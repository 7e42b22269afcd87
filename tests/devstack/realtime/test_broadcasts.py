"""Broadcasts over HTTP, and the sockets that receive them."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from litestar import Litestar
from threadline_devstack import keys

from tests.devstack.realtime.wire import ANN, BOB, Server, token

Start = Callable[..., AbstractAsyncContextManager[Server]]
pytestmark = pytest.mark.anyio
DEEP = b"[" * 9999 + b"]" * 9999
ONE = {"topic": "t", "event": "e", "payload": {"n": 1}}


@asynccontextmanager
async def http(server: Server, key: str = keys.ANON_KEY) -> AsyncIterator[httpx.AsyncClient]:
    application = Litestar([server.gateway.route(server.realtime)], openapi_config=None)
    transport = httpx.ASGITransport(application)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://stack/realtime/v1", headers=headers) as client:
        yield client


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_batch_reaches_public_channels(server: Start, vsn: str) -> None:
    async with server() as running, running.client(vsn) as client, http(running, keys.PUBLISHABLE_KEY) as caller:
        await client.join("t")
        messages = [ONE, {**ONE, "topic": "other"}, {**ONE, "payload": {"n": 2}, "id": "mine"}]
        answer = await caller.post("/api/broadcast", json={"messages": messages})
        assert (answer.status_code, answer.content) == (202, b"")
        heard = [frame["payload"] for frame in await client.event("broadcast", 2)]
        assert heard == [
            {"payload": {"n": 1}, "event": "e", "type": "broadcast"},
            {"payload": {"n": 2}, "event": "e", "type": "broadcast", "meta": {"id": "mine"}},
        ]


async def test_single_message_takes_json_or_bytes(server: Start) -> None:
    async with server() as running, running.client() as client, http(running) as caller:
        await client.join("a/b")
        path = "/api/broadcast/a%2Fb/events/e%20e"
        assert (await caller.post(path, json={"n": 1})).status_code == 202
        octets = {"content-type": "application/octet-stream"}
        assert (await caller.post(path, content=b"\x00\xff", headers=octets)).status_code == 202
        heard = [frame["payload"] for frame in await client.event("broadcast", 2)]
        assert [(content["event"], content["payload"]) for content in heard] == [
            ("e e", {"n": 1}),
            ("e e", b"\x00\xff"),
        ]
        assert (await caller.post(path, content=b"x", headers={"content-type": "text/plain"})).status_code == 415


async def test_private_messages_need_the_right_to_write(server: Start) -> None:
    private = {**ONE, "topic": "den", "private": True}
    async with server() as running, running.client() as client:
        await client.join("den", token(ANN), private=True)
        for key, status in ((token(BOB), 403), (token(ANN), 202), (keys.SECRET_KEY, 202)):
            async with http(running, key) as caller:
                assert (await caller.post("/api/broadcast", json={"messages": [private]})).status_code == 202
                one = await caller.post("/api/broadcast/den/events/single?private=true", json={})
                assert one.status_code == status
        heard = [frame["payload"]["event"] for frame in await client.event("broadcast", 4)]
        assert heard == ["e", "single", "e", "single"]


@pytest.mark.parametrize(
    ("message", "problems"),
    [
        ({"event": "e", "payload": {}}, {"topic": ["can't be blank"]}),
        ({**ONE, "topic": " "}, {"topic": ["can't be blank"]}),
        ({**ONE, "event": 5}, {"event": ["is invalid"]}),
        ({**ONE, "payload": [1]}, {"payload": ["is invalid"]}),
        ({**ONE, "private": "maybe"}, {"private": ["is invalid"]}),
        ({**ONE, "payload": {"text": "x" * 500}}, {"payload": ["Payload size exceeds tenant limit"]}),
    ],
)
async def test_wrong_message_is_refused_field_by_field(
    server: Start, message: dict[str, Any], problems: dict[str, Any]
) -> None:
    async with server(payload_bytes=500) as running, http(running) as caller:
        answer = await caller.post("/api/broadcast", json={"messages": [ONE, message]})
        assert (answer.status_code, answer.json()) == (422, {"errors": {"messages": [{}, problems]}})


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"\xff", 400), (DEEP, 400), (b"[]", 422), (b"", 422), (b'{"messages": 5}', 422)],
    ids=["cut", "no UTF-8", "too deep", "a list", "empty", "a number"],
)
async def test_wrong_body_is_refused(server: Start, content: bytes, status: int) -> None:
    async with server() as running, http(running) as caller:
        assert (await caller.post("/api/broadcast", content=content)).status_code == status


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer zzz", f"Bearer {token(seconds=-5)}"])
async def test_call_without_a_valid_token_is_refused(server: Start, authorization: str) -> None:
    async with server() as running, http(running) as caller:
        headers = {"authorization": authorization}
        answer = await caller.post("/api/broadcast", json={"messages": [ONE]}, headers=headers)
        assert (answer.status_code, answer.json()) == (401, {"message": "Unauthorized"})
        assert (await caller.post("/api/nothing")).status_code == 404


async def test_cors_allows_browsers(server: Start) -> None:
    async with server() as running, http(running) as caller:
        asked = await caller.options("/api/broadcast", headers={"access-control-request-headers": "apikey"})
        assert asked.headers["access-control-allow-headers"] == "apikey"
        assert (await caller.post("/api/broadcast", json={})).headers["access-control-allow-origin"] == "*"


async def test_calls_over_the_rate_are_refused(server: Start) -> None:
    async with server(events_per_second=1) as running, http(running) as caller:
        batch = await caller.post("/api/broadcast", json={"messages": [ONE] * 2})
        assert (batch.status_code, batch.json()["message"].split(",")[0]) == (429, "Too many messages to broadcast")
        for _ in range(61):
            await caller.post("/api/broadcast/t/events/e", json={})
        assert (await caller.post("/api/broadcast/t/events/e", json={})).status_code == 429
