"""Realtime in the test's own process, and a client that speaks its protocol frame by frame."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jwt
import psycopg
from threadline_devstack import keys
from threadline_devstack.gateway import Gateway
from threadline_devstack.realtime.limits import Limits
from threadline_devstack.realtime.service import Realtime
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE = 30.0
ANN, BOB = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
PLAIN = {"broadcast": {}, "presence": {"key": "", "enabled": False}, "postgres_changes": [], "private": False}


def token(sub: str | None = ANN, role: str = "authenticated", seconds: float = 86_400, **claims: Any) -> str:
    claims = {"role": role, "sub": sub, "aud": role, "exp": int(time.time() + seconds), **claims}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, keys.JWT_SECRET, algorithm="HS256")


class Connections(set[Any]):
    """The open connections of a server."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    def discard(self, connection: Any) -> None:
        super().discard(connection)
        self._ended.set()

    async def fall_to(self, count: int) -> None:
        """Wait until there are only so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self) > count:
                self._ended.clear()
                await self._ended.wait()


@dataclass
class Server:
    """A Realtime that listens on a port of its own."""

    realtime: Realtime
    gateway: Gateway
    port: int
    database_url: str
    connections: Connections

    @property
    def url(self) -> str:
        """Of the WebSocket."""
        return f"ws://127.0.0.1:{self.port}/realtime/v1/websocket"

    def client(self, vsn: str = "2.0.0", key: str = keys.ANON_KEY) -> "Client":
        return Client(f"{self.url}?apikey={key}&vsn={vsn}", vsn)

    async def sql(self, statement: str) -> None:
        """Run a statement as role postgres, in a transaction of its own."""
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as connection:
            await connection.execute(statement)

    async def value(self, query: str) -> Any:
        """Return the first value that a query finds."""
        async with await psycopg.AsyncConnection.connect(self.database_url) as connection:
            row = await (await connection.execute(query)).fetchone()
            return row and row[0]


@asynccontextmanager
async def serving(superuser_url: str, database_url: str, folder: Path, **limits: Any) -> AsyncIterator[Server]:
    """A server for the length of the block."""
    gateway = Gateway(keys.SigningKey.of(folder / "signing-key.json"))
    realtime = Realtime(superuser_url, gateway, Limits(**limits))
    connections = Connections()
    listener = await asyncio.get_running_loop().create_server(lambda: realtime.accept(connections), "127.0.0.1", 0)
    try:
        yield Server(realtime, gateway, listener.sockets[0].getsockname()[1], database_url, connections)
    finally:
        listener.close()
        for connection in list(connections):
            connection.shutdown()
        await realtime.close()


@dataclass
class Client:
    """A socket. What comes in is kept in `frames`, each as a dict whatever the version."""

    url: str
    vsn: str
    frames: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None

    async def __aenter__(self) -> Self:
        self.socket: ClientConnection = await connect(self.url, max_size=None, proxy=None)
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.socket.close()
        await self._reader

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                self.frames.append(read(frame))
                self._news.set()
        except ConnectionClosed:
            pass
        self.close_code = self.socket.close_code
        self._news.set()

    async def push(self, topic: str, event: str, payload: Any, ref: str = "9", join_ref: str | None = "1") -> None:
        fields = {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref}
        as_array = [join_ref, ref, topic, event, payload]
        await self.socket.send(json.dumps(fields if self.vsn == "1.0.0" else as_array))

    async def join(self, topic: str, access_token: str | None = None, ref: str = "1", **config: Any) -> dict[str, Any]:
        """Join a channel and return the payload of the answer."""
        payload = {"config": {**PLAIN, **config}, "access_token": access_token}
        await self.push(f"realtime:{topic}", "phx_join", payload, ref, ref)
        return (await self.answer(ref, f"realtime:{topic}"))["payload"]

    async def broadcast(self, topic: str, event: str, payload: Any, ref: str = "9") -> None:
        content = {"type": "broadcast", "event": event, "payload": payload}
        await self.push(f"realtime:{topic}", "broadcast", content, ref)

    async def answer(self, ref: str, topic: str | None = None) -> dict[str, Any]:
        """Wait for the reply to a message."""
        return await self.wait_for(
            lambda frame: (frame["event"], frame["ref"]) == ("phx_reply", ref) and topic in (None, frame["topic"])
        )

    async def event(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many messages of a kind, and return all of that kind."""
        found = []

        def have_enough() -> bool:
            found[:] = [frame for frame in self.frames if frame["event"] == name]
            return len(found) >= count

        await self._wait(have_enough)
        return found

    async def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a frame and return it."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [frame for frame in self.frames if wanted(frame)]
            return bool(found)

        await self._wait(look)
        return found[0]

    async def closed(self) -> int | None:
        """Wait for the end, and return its code."""
        await self._wait(lambda: self.close_code is not None)
        return self.close_code

    async def settle(self) -> list[dict[str, Any]]:
        """Return all frames, once the server has answered what it has got so far."""
        ref = f"beat-{len(self.frames)}"
        await self.push("phoenix", "heartbeat", {}, ref, None)
        await self.answer(ref, "phoenix")
        return self.frames

    async def _wait(self, is_done: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not is_done():
                assert self.close_code is None, f"closed with {self.close_code}: {self.frames}"
                self._news.clear()
                await self._news.wait()


def read(frame: str | bytes) -> dict[str, Any]:
    """Return a frame as a dict."""
    if isinstance(frame, bytes):
        return read_binary(frame)
    content = json.loads(frame)
    if isinstance(content, dict):
        return content
    return dict(zip(("join_ref", "ref", "topic", "event", "payload"), content, strict=True))


def read_binary(frame: bytes) -> dict[str, Any]:
    """Return a user broadcast as the message that it would be in JSON; `binary` says that it was none."""
    kind, topic_length, event_length, meta_length, is_json = frame[:5]
    assert kind == 4, frame
    topic, event, meta, content = (
        frame[5 : 5 + topic_length],
        frame[5 + topic_length :][:event_length],
        frame[5 + topic_length + event_length :][:meta_length],
        frame[5 + topic_length + event_length + meta_length :],
    )
    payload = {"type": "broadcast", "event": event.decode(), "payload": json.loads(content) if is_json else content}
    if meta:
        payload["meta"] = json.loads(meta)
    return {"ref": None, "topic": topic.decode(), "event": "broadcast", "payload": payload, "binary": True}


def binary_push(ref: str, topic: str, event: str, content: bytes, *, is_json: bool = True) -> bytes:
    """Return the binary frame in which supabase-js sends a broadcast."""
    strings = [b"1", ref.encode(), f"realtime:{topic}".encode(), event.encode(), b""]
    return bytes([3, *map(len, strings), is_json]) + b"".join(strings) + content
