"""How the Python follower joins a topic: its pauses, its turns and what it tells, without Realtime."""

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.support.schema import ROOT

sys.path.append(str(ROOT / "packages" / "follow-py"))

from realtime import RealtimeSubscribeStates as States
from realtime.exceptions import NotConnectedError
from threadline_follow import topic
from threadline_follow.topic import Topic, fresh_token
from websockets.exceptions import WebSocketException


class Channel:
    """A channel of a connection, whose answers a test gives."""

    def __init__(self, name: str, config: dict[str, Any]) -> None:
        self.name, self.config = name, config
        self.is_left = False
        self.ended: list[str] = []
        self.join_push = SimpleNamespace(destroy=lambda: self.ended.append("push"))
        self.rejoin_timer = SimpleNamespace(reset=lambda: self.ended.append("timer"))

    def on_system(self, take: Any) -> None:
        self.system = take

    def on_broadcast(self, event: str, take: Any) -> None:
        assert event == "*"
        self.broadcast = take

    async def subscribe(self, notice: Any) -> None:
        self.notice = notice

    async def unsubscribe(self) -> None:
        self.is_left = True


class Socket:
    """A connection; the last ones are kept."""

    made: list["Socket"]
    failures: list[Exception]

    def __init__(self, url: str, key: str, *, auto_reconnect: bool) -> None:
        assert (url, key, auto_reconnect) == ("http://x/realtime/v1", "key", False)
        self.channels: list[Channel] = []
        self.is_closed = False
        Socket.made.append(self)

    async def set_auth(self, token: str) -> None:
        self.token = token
        if Socket.failures:
            raise Socket.failures.pop()

    def channel(self, name: str, options: dict[str, Any]) -> Channel:
        self.channels.append(Channel(name, options["config"]))
        return self.channels[-1]

    def get_channels(self) -> list[Channel]:
        return self.channels

    async def close(self) -> None:
        for _ in range(3):
            await SLEEP(0)
        self.is_closed = True


class Told:
    """What the topic tells."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def received(self, event: str, payload: dict[str, Any], is_turn: bool) -> None:
        self.said.append((event, payload, is_turn))

    def joined(self) -> None:
        self.said.append("joined")

    def lost(self, error: Exception | None) -> None:
        self.said.append(f"lost {error}")


async def settle() -> None:
    for _ in range(20):
        await SLEEP(0)


SLEEP = asyncio.sleep


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between joins, which take no time."""
    Socket.made, Socket.failures, found = [], [], []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(topic, "AsyncRealtimeClient", Socket)
    monkeypatch.setattr(topic.random, "uniform", lambda low, high: {(0.75, 1.25): 1}[low, high])
    monkeypatch.setattr(topic.asyncio, "sleep", sleep)
    return found


def test_topic_is_joined_again_after_longer_pauses(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    told, clock = Told(), [0.0]
    monkeypatch.setattr(topic.time, "monotonic", lambda: clock[0])

    async def run() -> None:
        joined = Topic("http://x", "key", lambda: f"token {len(Socket.made)}", "user:u", told)
        staying = asyncio.create_task(joined.stay())
        await settle()
        for seconds, error in [(0, None)] * 5 + [
            (11, None),
            (10, None),
            (0, "Too many joins"),
            (0, "RateLimitReached"),
        ]:
            last = Socket.made[-1].channels[0]
            clock[0] += seconds
            last.notice(States.CHANNEL_ERROR, error and OSError(error))
            last.notice(States.CLOSED, OSError("a second one"))
            await settle()
        away = [OSError("away"), WebSocketException("cut"), NotConnectedError("join"), httpx.ConnectError("no line")]
        Socket.failures = away[::-1]
        joined.renew()
        await settle()
        assert [each.is_closed for each in Socket.made] == [True] * (len(Socket.made) - 1) + [False]
        assert [each.token for each in Socket.made[:2]] == ["token 1", "token 2"]
        staying.cancel()
        await asyncio.wait([staying])
        await joined.leave()
        assert all(each.is_closed for each in Socket.made)
        await settle()
        assert not joined._tasks
        assert all(each.ended == ["push", "timer"] for socket in Socket.made for each in socket.channels)
        assert told.said == ["lost None"] * 7 + [
            "lost Too many joins", "lost RateLimitReached", "lost None", *[f"lost {error}" for error in away],
        ]  # fmt: skip

    asyncio.run(run())
    assert pauses == [0.5, 1, 2, 3, 3, 0.5, 1, 20, 20, 3, *[3] * 4]


def test_turn_is_taken_beside_the_topic(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    told = Told()
    monkeypatch.setattr(topic, "CLOSE_SECONDS", 0.01)
    errors: list[Any] = []

    async def run() -> None:
        pause = asyncio.Event()
        monkeypatch.setattr(topic.asyncio, "sleep", lambda _: pause.wait())
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, error: errors.append(error))
        later, timers = loop.call_later, []
        monkeypatch.setattr(
            loop, "call_later", lambda seconds, *work: (timers.append(seconds), later(min(seconds, 0.05), *work))[1]
        )
        joined = Topic("http://x", "key", "token", "channel:c", told)
        joined.renew()
        staying = asyncio.create_task(joined.stay())
        await settle()
        [socket] = Socket.made
        [channel] = socket.channels
        assert channel.config == {
            "broadcast": {"ack": False, "self": False, "replication_ready": True},
            "presence": {"key": "", "enabled": False}, "private": True,
        }  # fmt: skip
        assert channel.name == "channel:c"
        channel.notice(States.SUBSCRIBED, None)
        await SLEEP(0)
        await SLEEP(0)
        assert (told.said, timers) == ([], [3])
        for _ in range(1000):
            if not told.said:
                await SLEEP(0.001)
        assert told.said == ["joined"]
        channel.system({})
        channel.broadcast({"event": "e", "payload": {"seq": 1}})
        assert told.said == ["joined", ("e", {"seq": 1}, False)]
        joined.take_turn("channel:d:1")
        assert joined.turn_name is None
        joined.take_turn("channel:c:1")
        joined.take_turn("channel:c:1")
        await settle()
        [_, turn] = socket.channels
        assert (joined.turn_name, joined.is_on_turn, turn.name) == ("channel:c:1", False, "channel:c:1")
        turn.notice(States.SUBSCRIBED, None)
        turn.broadcast({"event": "f", "payload": {}})
        assert (joined.is_on_turn, told.said[2:]) == (True, ["joined", ("f", {}, True)])
        joined.take_turn("channel:c:2")
        await settle()
        assert (turn.is_left, joined.turn_name, joined.is_on_turn) == (True, "channel:c:2", False)
        turn.notice(States.SUBSCRIBED, None)
        assert not joined.is_on_turn
        socket.channels[2].notice(States.CHANNEL_ERROR, None)
        await settle()
        assert (joined.turn_name, socket.channels[2].is_left) == (None, True)
        joined.take_turn("channel:c:3")
        await settle()
        socket.channels[3].notice(States.SUBSCRIBED, None)
        channel.notice(States.CLOSED, None)
        await settle()
        assert (joined.turn_name, joined.is_on_turn, told.said[-1]) == (None, False, "lost None")
        channel.system({})
        channel.notice(States.CLOSED, None)
        assert told.said[-1] == "lost None"
        joined.take_turn("channel:c:4")
        await settle()
        assert (len(socket.channels), socket.channels[3].is_left) == (4, False)
        pause.set()
        await settle()
        [_, second] = Socket.made
        channel.notice(States.CLOSED, None)
        channel.system({})
        await settle()
        assert (told.said[-1], len(Socket.made)) == ("lost None", 2)
        second.channels[0].system({})
        assert told.said[-1] == "joined"
        monkeypatch.setattr(Socket, "close", lambda _: asyncio.Event().wait())  # never
        staying.cancel()
        await asyncio.wait([staying])
        await asyncio.wait_for(joined.leave(), 1)

    asyncio.run(run())
    assert errors == []


def test_token_is_given_or_asked_for() -> None:
    async def ask() -> str:
        return "c"

    assert [asyncio.run(fresh_token(token)) for token in ("a", lambda: "b", ask)] == ["a", "b", "c"]
