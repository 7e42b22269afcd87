"""One topic of Realtime, joined again with a fresh token until it is left."""

import asyncio
import inspect
import random
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NoReturn, Protocol

import httpx
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.exceptions import NotConnectedError
from websockets.exceptions import WebSocketException

Token = str | Callable[[], str | Awaitable[str]]

REJOIN_SECONDS = [0.5, 1, 2, 3]
STEADY_SECONDS = 10.0  # after which a join counts as a success
LIMITED_SECONDS = 20.0  # after Realtime said that there is too much
READY_SECONDS = 3.0  # an older Realtime does not say when its replication connection is ready
CLOSE_SECONDS = 2.0
FAILURES = (OSError, WebSocketException, NotConnectedError, httpx.HTTPError)  # that may be over in a moment


class Listener(Protocol):
    """What learns of a topic."""

    def received(self, event: str, payload: dict[str, Any], is_turn: bool) -> None:
        """Take a broadcast of the topic, or of the turn of a sealed channel."""

    def joined(self) -> None:
        """Learn that broadcasts come from now on."""

    def lost(self, error: Exception | None) -> None:
        """Learn that broadcasts do not come any more."""


async def fresh_token(token: Token) -> str:
    """Return an access token: the given one, or what the given function returns now."""
    if isinstance(token, str):
        return token
    found = token()
    return await found if inspect.isawaitable(found) else found


class Topic:
    """A topic on a connection of its own.

    Args:
        url: of the Supabase project.
        key: its publishable key.
        token: an access token, or a function that returns one.
        name: the topic, without `realtime:`.
        listener: learns what happens.
    """

    def __init__(self, url: str, key: str, token: Token, name: str, listener: Listener) -> None:
        self._url, self._key, self._token = f"{url}/realtime/v1", key, token
        self._name, self._listener = name, listener
        self._socket: AsyncRealtimeClient | None = None
        self._turn: AsyncRealtimeChannel | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ready = False
        self.turn_name: str | None = None
        self.is_on_turn = False

    async def stay(self) -> NoReturn:
        """Join, and join again whenever the connection or the channel ends."""
        tries = 0
        while True:
            began = time.monotonic()
            error = await self._join_once()
            self._listener.lost(error)
            tries = 0 if time.monotonic() - began > STEADY_SECONDS else tries
            is_limited = re.search("Too many|RateLimitReached", str(error))
            seconds = LIMITED_SECONDS if is_limited else REJOIN_SECONDS[min(tries, len(REJOIN_SECONDS) - 1)]
            tries += 1
            await asyncio.sleep(seconds * random.uniform(0.75, 1.25))  # noqa: S311

    async def leave(self) -> None:
        """Wait for connections that are being closed."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)

    def renew(self) -> None:
        """Connect again, because the connection may be dead without a sign."""
        self._break(None)

    def take_turn(self, name: str) -> None:
        """Join the turn of a sealed channel beside the topic, in place of an earlier turn."""
        if name != self.turn_name and name.startswith(f"{self._name}:"):
            self.leave_turn()
            self.turn_name = name
            self._start(self._join_turn(name))

    def leave_turn(self) -> None:
        """Leave the turn of a sealed channel."""
        turn, self._turn, self.turn_name, self.is_on_turn = self._turn, None, None, False
        if turn is not None:
            self._start(turn.unsubscribe())

    async def _join_once(self) -> Exception | None:
        self._broken: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        # A new connection each time: the client would join again with the token of the first time.
        self._socket = socket = AsyncRealtimeClient(self._url, self._key, auto_reconnect=False)
        try:
            await socket.set_auth(await fresh_token(self._token))
            channel = self._channel(self._name, is_turn=False)
            channel.on_system(lambda _: self._ready(socket))
            await channel.subscribe(lambda status, error: self._notice(socket, status, error))
            return await self._broken
        except FAILURES as error:
            return error
        finally:
            self._socket = self._turn = self.turn_name = None
            self._is_ready = self.is_on_turn = False
            self._start(_close(socket))

    async def _join_turn(self, name: str) -> None:
        with suppress(*FAILURES):
            channel = self._channel(name, is_turn=True)
            self._turn = channel
            await channel.subscribe(lambda status, _: self._notice_turn(channel, status))

    def _channel(self, name: str, *, is_turn: bool) -> AsyncRealtimeChannel:
        if self._socket is None:
            raise NotConnectedError(name)
        # replication_ready: on an idle project, broadcasts come only some time after the join.
        config = {
            "broadcast": {"ack": False, "self": False, "replication_ready": True},
            "presence": {"key": "", "enabled": False},
            "private": True,
        }
        channel = self._socket.channel(name, {"config": config})
        channel.on_broadcast("*", lambda sent: self._listener.received(sent["event"], sent["payload"], is_turn))
        return channel

    def _notice(self, socket: AsyncRealtimeClient, status: RealtimeSubscribeStates, error: Exception | None) -> None:
        if socket is not self._socket:
            return
        if status == RealtimeSubscribeStates.SUBSCRIBED:
            asyncio.get_running_loop().call_later(READY_SECONDS, self._ready, socket)
        else:
            self._break(error)

    def _ready(self, socket: AsyncRealtimeClient) -> None:
        if socket is self._socket and not self._is_ready:
            self._is_ready = True
            self._listener.joined()

    def _notice_turn(self, channel: AsyncRealtimeChannel, status: RealtimeSubscribeStates) -> None:
        if channel is not self._turn:
            return
        if status == RealtimeSubscribeStates.SUBSCRIBED:
            self.is_on_turn = True
            self._listener.joined()
        else:
            self.leave_turn()  # refused: the channel has turned again, or its user has left

    def _break(self, error: Exception | None) -> None:
        if self._socket is not None and not self._broken.done():
            self._broken.set_result(error)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _close(socket: AsyncRealtimeClient) -> None:
    for channel in socket.get_channels():
        channel.join_push.destroy()
        channel.rejoin_timer.reset()
    await socket.close()
