"""The official clients, in Python and in JavaScript, behind one interface."""

import asyncio
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient

from tests.support import tools

PATIENCE = 20.0
AGENT = Path(__file__).with_name("agent.ts")
RIGHTS = ["--allow-net=127.0.0.1", "--allow-env", "--allow-read"]
Event = dict[str, Any]


class Agent:
    """What both have in common: they collect what happens."""

    def __init__(self, api_url: str, key: str) -> None:
        self.api_url = api_url
        self.key = key
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    async def wait(self, kind: str, topic: str, wanted: Callable[[Event], bool] = lambda _: True) -> Event:
        """Wait for something to happen, if it has not happened yet."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if (event["kind"], event.get("topic")) == (kind, topic) and wanted(event):
                        return event
                self._news.clear()
                await self._news.wait()

    def heard(self, kind: str, topic: str) -> list[Event]:
        """All of a kind that has happened."""
        return [event for event in self.events if (event["kind"], event.get("topic")) == (kind, topic)]

    async def subscribe(self, topic: str, events: tuple[str, ...] = ("e",), **more: Any) -> str:
        """Subscribe to a topic; answers the first status.

        More: `private`, `ack`, `echo`, `replay`, `changes` (filters of postgres_changes), and `presence` (a key).
        """
        before = len(self.heard("status", topic))
        presence = more.get("presence")
        config = {
            "broadcast": {"ack": more.get("ack", False), "self": more.get("echo", False)},
            "presence": {"key": presence or "", "enabled": presence is not None},
            "private": more.get("private", False),
        }
        if "replay" in more:
            config["broadcast"]["replay"] = more["replay"]
        await self._subscribe(topic, config, events, more.get("changes", []), presence is not None)
        status = await self.wait("status", topic, lambda event: event in self.heard("status", topic)[before:])
        return status["status"]

    async def _subscribe(
        self, topic: str, config: dict[str, Any], events: tuple[str, ...], changes: list[Any], presence: bool
    ) -> None:
        raise NotImplementedError


class PythonAgent(Agent):
    """The package `realtime`, which the package `supabase` has in it."""

    async def __aenter__(self) -> Self:
        self._client = AsyncRealtimeClient(f"{self.api_url}/realtime/v1", self.key)
        self._channels: dict[str, AsyncRealtimeChannel] = {}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def _subscribe(
        self, topic: str, config: dict[str, Any], events: tuple[str, ...], changes: list[Any], presence: bool
    ) -> None:
        channel = self._channels[topic] = self._client.channel(topic, {"config": config})
        for name in events:
            channel.on_broadcast(name, lambda content, name=name: self._note_broadcast(topic, name, content))
        for change in changes:
            channel.on_postgres_changes(callback=lambda content: self._note_change(topic, content), **change)
        if presence:
            channel.on_presence_join(lambda key, *_: self._note({"kind": "join", "topic": topic, "key": key}))
            channel.on_presence_leave(lambda key, *_: self._note({"kind": "leave", "topic": topic, "key": key}))
        channel.on_system(
            lambda content: self._note(
                {"kind": "system", "topic": topic, "status": content.status, "message": content.message}
            )
        )
        await channel.subscribe(
            lambda status, error: self._note(
                {"kind": "status", "topic": topic, "status": status.value, "error": str(error or "")}
            )
        )

    def _note_broadcast(self, topic: str, name: str, content: Any) -> None:
        if content["event"] == name:
            meta = content.get("meta")
            self._note(
                {"kind": "broadcast", "topic": topic, "event": name, "payload": content["payload"], "meta": meta}
            )

    def _note_change(self, topic: str, content: Any) -> None:
        data = content["data"]
        self._note(
            {
                "kind": "change",
                "topic": topic,
                "type": data["type"],
                "new": data.get("record") or {},
                "old": data.get("old_record") or {},
            }
        )

    async def send(self, topic: str, event: str, payload: Any) -> None:
        await self._channels[topic].send_broadcast(event, payload)

    async def http_send(self, topic: str, event: str, payload: Any, *, private: bool = False) -> None:
        channel = AsyncRealtimeChannel(self._client, f"realtime:{topic}", {"config": {"private": private}})
        await channel.http_send(event, payload)

    async def track(self, topic: str, payload: Any) -> None:
        await self._channels[topic].track(payload)

    async def untrack(self, topic: str) -> None:
        await self._channels[topic].untrack()

    async def set_auth(self, token: str) -> None:
        await self._client.set_auth(token)

    async def unsubscribe(self, topic: str) -> None:
        await self._channels[topic].unsubscribe()


class JavaScriptAgent(Agent):
    """supabase-js, under Deno."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *[tools.deno(), "run", "--quiet", "--no-lock", "--node-modules-dir=manual", *RIGHTS],
            *[AGENT, self.api_url, self.key],
            env={"HOME": os.environ["HOME"], "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._number = 0
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(ConnectionError):
            self._tell(action="close")
        await asyncio.wait_for(self._process.wait(), PATIENCE)
        await self._reader

    async def _read(self) -> None:
        while line := await self._process.stdout.readline():
            self._note(json.loads(line))
        self._news.set()

    def _tell(self, **command: Any) -> int:
        self._number += 1
        self._process.stdin.write(json.dumps({"number": self._number, **command}).encode() + b"\n")
        return self._number

    async def _do(self, **command: Any) -> Any:
        number = self._tell(**command)
        await self._process.stdin.drain()
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self.events:
                    if event.get("number") == number:
                        return event["result"]
                self._news.clear()
                await self._news.wait()

    async def _subscribe(
        self, topic: str, config: dict[str, Any], events: tuple[str, ...], changes: list[Any], presence: bool
    ) -> None:
        await self._do(
            action="subscribe", topic=topic, config=config, events=events, changes=changes, presence=presence
        )

    async def send(self, topic: str, event: str, payload: Any) -> str:
        return await self._do(action="send", topic=topic, event=event, payload=payload)

    async def send_bytes(self, topic: str, event: str, payload: bytes) -> str:
        return await self._do(action="send_bytes", topic=topic, event=event, payload=list(payload))

    async def http_send(self, topic: str, event: str, payload: Any, *, private: bool = False) -> Any:
        config = {"private": private}
        return await self._do(action="http_send", topic=topic, event=event, payload=payload, config=config)

    async def track(self, topic: str, payload: Any) -> str:
        return await self._do(action="track", topic=topic, payload=payload)

    async def untrack(self, topic: str) -> str:
        return await self._do(action="untrack", topic=topic)

    async def set_auth(self, token: str) -> None:
        await self._do(action="set_auth", token=token)

    async def unsubscribe(self, topic: str) -> str:
        return await self._do(action="unsubscribe", topic=topic)
