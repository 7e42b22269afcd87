"""The socket: refused connections, malformed frames, idle and slow clients."""

import asyncio
import json
import random
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from threadline_devstack import keys
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.devstack.realtime.wire import Server, binary_push, token

Start = Callable[..., AbstractAsyncContextManager[Server]]
pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("vsn=1.0.0", 401, "API key is missing"),
        ("apikey=zzz&vsn=1.0.0", 401, "The token provided is not a valid JWT"),
        (f"apikey={token(role='anon', seconds=-9)}", 401, "Token has expired"),
        (f"apikey={token(role=None)}", 401, "Fields `role` and `exp` are required in JWT"),
        (f"apikey={keys.ANON_KEY}&vsn=9.9.9", 403, "This version of the protocol is not known"),
    ],
    ids=["no key", "not a JWT", "expired", "no role", "unknown protocol"],
)
async def test_wrong_key_cannot_connect(server: Start, query: str, status: int, error: str) -> None:
    async with server() as running:
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"{running.url}?{query}", proxy=None)
        assert caught.value.response.status_code == status
        assert json.loads(caught.value.response.body or b"") == {"error": error}
        assert running.connections == set()


async def test_other_paths_and_plain_http_are_refused(server: Start) -> None:
    async with server() as running:
        with pytest.raises(InvalidStatus) as caught:
            await connect(running.url.replace("websocket", "elsewhere"), proxy=None)
        assert caught.value.response.status_code == 404
        async with httpx.AsyncClient() as client:
            answer = await client.get(running.url.replace("ws://", "http://"))
        assert answer.status_code == 426


@pytest.mark.parametrize("header", ["apikey", "x-api-key"])
async def test_key_header_works_and_version_defaults_to_1_0_0(server: Start, header: str) -> None:
    async with (
        server() as running,
        connect(running.url, additional_headers={header: keys.PUBLISHABLE_KEY}, proxy=None) as client,
    ):
        await client.send(json.dumps({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": None}))
        reply = {"status": "ok", "response": {}}
        assert json.loads(await client.recv()) == {
            "topic": "phoenix",
            "event": "phx_reply",
            "payload": reply,
            "ref": None,
        }


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_200_malformed_frames_change_nothing(server: Start, vsn: str) -> None:
    random.seed(4)
    sound = [
        b'["1","1","realtime:t","phx_join",{"config":{}}]',
        b'{"topic":"realtime:t","event":"phx_join","payload":{"config":{}},"ref":"1"}',
        binary_push("1", "t", "e", b'{"a": 1}'),
    ]
    async with server() as running, running.client(vsn) as client, running.client(vsn) as other:
        await other.join("t")
        for number in range(200):
            frame = bytearray(random.choice(sound))
            for _ in range(random.randint(1, 4)):
                frame[random.randrange(len(frame))] = random.randrange(256)
            content = bytes(frame[: random.randrange(len(frame))])
            await client.socket.send(content if number % 2 else content.decode("latin-1"))
        assert (await client.join("t", ref="joined"))["status"] == "ok"
        await client.broadcast("t", "still here", {})
        await other.event("broadcast")
        assert len(running.connections) == 2


@pytest.mark.parametrize(
    "payload",
    ["[]", '"x"', "null", "5", '{"config": []}', '{"config": {"broadcast": 3, "presence": "x", "private": {}}}'],
)
async def test_join_ignores_wrong_fields(server: Start, payload: str) -> None:
    async with server() as running, running.client() as client:
        await client.socket.send(f'["1","1","realtime:t","phx_join",{payload}]')
        assert (await client.answer("1"))["payload"] == {"status": "ok", "response": {"postgres_changes": []}}


@pytest.mark.parametrize("event", ["broadcast", "presence", "access_token", "phx_leave", "unheard_of"])
async def test_odd_payloads_do_not_end_the_channel(server: Start, event: str) -> None:
    async with server() as running, running.client() as client:
        await client.join("t", broadcast={"ack": True, "self": True})
        for payload in ("[]", '"x"', "null", '{"event": 5, "payload": []}', '{"event": "track", "payload": 5}'):
            await client.socket.send(f'["1","2","realtime:t","{event}",{payload}]')
        await client.settle()
        assert (await client.join("t", ref="again"))["status"] == "ok"


async def test_too_large_frame_closes_the_socket(server: Start) -> None:
    async with server(frame_bytes=1000) as running, running.client() as client:
        await client.socket.send("x" * 1001)
        assert await client.closed() == 1009


async def test_idle_client_is_disconnected(server: Start) -> None:
    async with server(idle_seconds=0.4) as running, running.client() as silent, running.client() as lively:
        for _ in range(8):
            await lively.settle()
            await asyncio.sleep(0.1)
        assert await silent.closed() == 1000
        assert lively.close_code is None


async def test_client_that_does_not_read_is_dropped(server: Start) -> None:
    content = "x" * 100_000
    async with (
        server(unread_bytes=4 << 20) as running,
        running.client() as sender,
        running.client() as other,
        running.client() as lazy,
    ):
        for client in (sender, other, lazy):
            await client.join("t", broadcast={"ack": True})
        lazy.socket.transport.pause_reading()
        sent = 0
        while len(running.connections) == 3:
            await sender.broadcast("t", "large", {"text": content}, ref=f"n{sent}")
            await sender.answer(f"n{sent}")
            sent += 1
            assert sent < 500, "50 MB wait for a client that does not read"
        await other.event("broadcast", sent)
        lazy.socket.transport.abort()


async def test_slow_client_is_dropped(server: Start) -> None:
    async with server(unread_seconds=0.2) as running, running.client() as sender, running.client() as lazy:
        await sender.join("t", broadcast={"ack": True})
        await lazy.join("t")
        small = socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
        lazy.socket.transport.get_extra_info("socket").setsockopt(*small)
        lazy.socket.transport.pause_reading()
        for number in range(80):
            await sender.broadcast("t", "large", {"text": "x" * 100_000}, ref=f"n{number}")
            await sender.answer(f"n{number}")
        await running.connections.fall_to(1)
        lazy.socket.transport.abort()


async def test_server_shutdown_sends_a_close_code(server: Start) -> None:
    async with server() as running, running.client() as client:
        await client.join("t")
        for connection in list(running.connections):
            connection.shutdown()
        assert await client.closed() == 1012


async def test_client_that_leaves_during_a_join_leaves_nothing(server: Start) -> None:
    async with server() as running:
        for _ in range(20):
            async with running.client() as client:
                await client.push("realtime:den", "phx_join", {"config": {"private": True}, "access_token": token()})
                client.socket.transport.abort()
        await running.connections.fall_to(0)
        async with running.client() as client:  # what is left to do is done before this
            assert (await client.join("den", token(), private=True))["status"] == "ok"
            assert running.realtime.shared.clients == 1
        await running.connections.fall_to(0)
        assert running.realtime.shared.clients == 0
        assert list(running.realtime.shared.channels()) == []


async def test_internal_error_ends_one_join_only(
    server: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> set[str]:
        raise RuntimeError("as the test has it")

    async with server() as running, running.client() as client:
        await client.join("t")
        with monkeypatch.context() as patch:
            patch.setattr(running.realtime.shared.policies, "readable", fail)
            answer = await client.join("den", token(), ref="2", private=True)
        assert answer == {"status": "error", "response": {"reason": "Unknown Error on Channel"}}
        assert (await client.join("den", token(), ref="3", private=True))["status"] == "ok"
        monkeypatch.setattr(running.realtime.shared.policies, "writable", fail)
        await client.broadcast("den", "e", {})
        assert (await client.event("phx_error"))[0]["payload"] == {"reason": "channel_crash"}
        assert (await client.join("den", token(), ref="4", private=True))["status"] == "ok"
        assert "as the test has it" in caplog.text


async def test_internal_error_ends_one_channel_only(server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async with server() as running, running.client() as client:
        await client.join("t")
        await client.join("u", ref="2")
        monkeypatch.setattr(running.realtime.shared.hub._rooms["t", False], "broadcast", None)
        await client.broadcast("t", "e", {})
        assert [frame["topic"] for frame in await client.event("phx_error")] == ["realtime:t"]
        await client.broadcast("u", "e", {})
        await client.settle()
