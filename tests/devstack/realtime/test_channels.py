"""A channel from its join to its end, as a client sees it frame by frame."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from threadline_devstack import keys

from tests.devstack.realtime.wire import ANN, BOB, Client, Server, binary_push, token

Start = Callable[..., AbstractAsyncContextManager[Server]]
pytestmark = pytest.mark.anyio


def ended(client: Client, topic: str) -> list[str]:
    """The messages that a channel got at its end."""
    told = [frame for frame in client.frames if frame["topic"] == f"realtime:{topic}"]
    return [
        frame["payload"].get("message", "") if frame["event"] == "system" else frame["event"]
        for frame in told
        if frame["event"] in ("system", "phx_close", "phx_error")
    ]


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
async def test_broadcast_reaches_others_and_optionally_the_sender(server: Start, vsn: str) -> None:
    async with server() as running, running.client(vsn) as one, running.client(vsn) as other:
        await one.join("public", broadcast={"ack": True, "self": True})
        await other.join("public")
        await one.broadcast("public", "shout", {"n": 1}, ref="2")
        assert (await one.answer("2"))["payload"] == {"status": "ok", "response": {}}
        await other.broadcast("public", "echo", {"n": 2}, ref="2")
        heard = [frame["payload"] for frame in await one.event("broadcast", 2)]
        assert [content["payload"] for content in heard] == [{"n": 1}, {"n": 2}]
        assert [frame["payload"]["payload"] for frame in await other.settle() if frame["event"] == "broadcast"] == [
            {"n": 1}
        ]
        assert not [frame for frame in other.frames if frame["ref"] == "2"]  # it had not asked for a reply


async def test_binary_broadcast_reaches_both_versions(server: Start) -> None:
    async with server() as running, running.client() as one, running.client() as two, running.client("1.0.0") as old:
        for client in (one, two, old):
            await client.join("bin", broadcast={"ack": client is one})
        await one.socket.send(binary_push("5", "bin", "json", b'{"a": [1]}'))
        await one.socket.send(binary_push("6", "bin", "bytes", b"\x00\xff", is_json=False))
        await one.answer("6")
        heard = await two.event("broadcast", 2)
        assert [frame["payload"]["payload"] for frame in heard] == [{"a": [1]}, b"\x00\xff"]
        assert all(frame.get("binary") for frame in heard)
        assert [frame["payload"]["payload"] for frame in await old.settle() if frame["event"] == "broadcast"] == [
            {"a": [1]}
        ]


async def test_second_join_replaces_the_first(server: Start) -> None:
    async with server() as running, running.client() as client, running.client() as other:
        await client.join("twice", ref="1")
        await client.join("twice", ref="2")
        close = (await client.event("phx_close"))[0]
        assert (close["ref"], close["join_ref"]) == ("1", "1")
        await other.join("twice")
        await other.broadcast("twice", "once", {})
        await other.settle()
        assert len([frame for frame in await client.settle() if frame["event"] == "broadcast"]) == 1


async def test_left_channel_receives_nothing(server: Start) -> None:
    async with server() as running, running.client() as client, running.client() as other:
        await client.join("brief")
        await other.join("brief")
        await client.push("realtime:brief", "phx_leave", {}, "2")
        assert (await client.answer("2"))["payload"]["status"] == "ok"
        await client.event("phx_close")
        await other.broadcast("brief", "late", {})
        await other.settle()
        assert not [frame for frame in await client.settle() if frame["event"] == "broadcast"]
        await client.broadcast("brief", "late", {}, ref="7")
        assert (await client.answer("7"))["payload"]["response"] == {"reason": "unmatched topic"}


@pytest.mark.parametrize(
    ("access_token", "reason"),
    [
        (token(seconds=-60), "InvalidJWTToken: Token has expired "),
        ("not-a-token", "MalformedJWT: The token provided is not a valid JWT"),
        (token(role=None), "InvalidJWTToken: Fields `role` and `exp` are required in JWT"),
        (keys.ANON_KEY[:-4] + "AAAA", "JwtSignatureError: Failed to validate JWT signature"),
    ],
    ids=["expired", "not a JWT", "no role", "wrong signature"],
)
async def test_bad_token_cannot_join(server: Start, access_token: str, reason: str) -> None:
    async with server() as running, running.client() as client:
        answer = await client.join("any", access_token)
        assert answer["status"] == "error"
        assert answer["response"]["reason"].startswith(reason)


async def test_channel_ends_when_its_token_expires(server: Start) -> None:
    async with server() as running, running.client() as client, running.client() as other:
        await client.join("short", token(seconds=2))
        await other.join("short")
        await client.event("phx_close")
        assert ended(client, "short")[0].startswith("Token has expired")
        await other.broadcast("short", "late", {})
        await other.settle()
        assert not [frame for frame in await client.settle() if frame["event"] == "broadcast"]


async def test_new_token_keeps_the_channel_open(server: Start) -> None:
    async with server() as running, running.client() as client:
        expires = time.time() + 2
        await client.join("long", token(seconds=2))
        await client.push("realtime:long", "access_token", {"access_token": token()})
        await asyncio.sleep(max(0.0, expires - time.time()) + 0.5)
        await client.settle()
        assert ended(client, "long") == []


@pytest.mark.parametrize(
    ("renewed", "reason"),
    [
        (token(BOB, seconds=-5), "Token has expired"),
        (token("33333333-3333-4333-8333-333333333333"), "You do not have permissions to read"),
    ],
    ids=["expired", "non-member"],
)
async def test_new_token_without_rights_ends_the_channel(server: Start, renewed: str, reason: str) -> None:
    async with server() as running, running.client() as client:
        assert (await client.join("den", token(ANN), private=True))["status"] == "ok"
        await client.push("realtime:den", "access_token", {"access_token": renewed})
        await client.event("phx_close")
        message, close = ended(client, "den")
        assert message.startswith(reason)
        assert close == "phx_close"


async def test_opaque_key_acts_as_its_role(server: Start) -> None:
    async with server() as running, running.client(key=keys.PUBLISHABLE_KEY) as client:
        assert (await client.join("any", keys.PUBLISHABLE_KEY))["status"] == "ok"
        assert (await client.join("den", keys.PUBLISHABLE_KEY, ref="2", private=True))["status"] == "error"


@pytest.mark.parametrize(
    ("topic", "event"), [("realtime:nowhere", "broadcast"), ("nonsense", "phx_join"), ("phoenix", "what")]
)
async def test_message_without_a_channel_is_answered(server: Start, topic: str, event: str) -> None:
    async with server() as running, running.client() as client:
        await client.push(topic, event, {}, "3")
        reply = await client.answer("3")
        assert reply["payload"] == {"status": "error", "response": {"reason": "unmatched topic"}}


async def test_oversized_payload_is_refused(server: Start) -> None:
    async with server(channels=2, payload_bytes=100) as running, running.client() as client:
        await client.join("a", broadcast={"ack": True})
        await client.join("b", ref="2")
        refused = await client.join("c", ref="3")
        assert refused["response"]["reason"] == "ChannelRateLimitReached: Too many channels"
        await client.broadcast("a", "large", {"text": "x" * 100}, ref="4")
        assert (await client.answer("4"))["payload"] == {"status": "error", "response": "payload_size_exceeded"}


async def test_too_many_joins_close_the_socket(server: Start) -> None:
    async with server(joins_per_second=1) as running, running.client() as client:
        for number in range(60):
            await client.push("realtime:same", "phx_join", {"config": {}}, str(number), str(number))
        refused = await client.join("same", ref="61")
        assert refused["response"]["reason"] == "ClientJoinRateLimitReached: Too many joins per second"
        assert await client.closed() == 1000


async def test_too_many_clients_are_refused(server: Start) -> None:
    async with server(clients=1) as running, running.client() as first, running.client() as second:
        assert (await first.join("a"))["status"] == "ok"
        assert (await first.join("b", ref="2"))["status"] == "ok"
        refused = await second.join("a")
        assert refused["response"]["reason"] == "ConnectionRateLimitReached: Too many connected users"
        for topic in ("a", "b"):
            await first.push(f"realtime:{topic}", "phx_leave", {}, f"leave {topic}", None)
            await first.answer(f"leave {topic}")
        assert (await second.join("a", ref="2"))["status"] == "ok"


async def test_too_many_messages_end_the_receiving_channels(server: Start) -> None:
    async with server(events_per_second=1) as running, running.client() as one, running.client() as other:
        await one.join("busy")
        await other.join("busy")
        for number in range(31):
            await one.broadcast("busy", "again", {"n": number})
        await other.event("phx_close")
        assert ended(other, "busy") == ["Too many messages per second", "phx_close"]
