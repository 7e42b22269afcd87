"""Follow a channel: every event once and in order, whatever happens to the connection."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import httpx
from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

EVENTS = [
    *("message.created", "message.updated", "message.deleted", "message.pinned", "message.unpinned"),
    *("reaction.added", "reaction.removed", "member.joined", "member.left"),
]
Handle = Callable[[str, dict[str, Any]], None]


class Follower:
    """Hears what happens in a channel after an event.

    Args:
        url: of the Supabase project, or of `make up`.
        key: its publishable key.
        token: the access token of a member of the channel.
        channel_id: the channel.
        since: the `seq` of the last event that you have; 0 for all that there are.
        handle: called with the name of each event and its payload; keep `payload["seq"]` where you keep the rest.
        seconds: how often to look whether the last broadcast of all got lost.
    """

    def __init__(
        self, url: str, key: str, token: str, channel_id: str, since: int, handle: Handle, seconds: float = 30
    ) -> None:
        self._url, self._key, self._token, self._channel_id = url, key, token, channel_id
        self._last, self._handle, self._seconds = since, handle, seconds
        self._news = asyncio.Event()
        self._is_reading = False

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            # It connects again by itself, and gives up only after so many failures in a row.
            socket = AsyncRealtimeClient(f"{self._url}/realtime/v1", self._key, max_retries=sys.maxsize)
            try:
                await socket.set_auth(self._token)
                channel = socket.channel(f"channel:{self._channel_id}", {"config": {"private": True}})
                for event in EVENTS:
                    channel.on_broadcast(event, self._hear)
                await channel.subscribe(self._notice)
                await self._catch_up_for_ever()
            except (OSError, httpx.HTTPError) as error:
                print(f"Connecting again: {error!r}", file=sys.stderr)
                await asyncio.sleep(1)
            finally:
                await socket.close()

    def _notice(self, status: RealtimeSubscribeStates, _: Exception | None) -> None:
        if status == RealtimeSubscribeStates.SUBSCRIBED:  # at first, and whenever the connection is back
            self._news.set()

    def _hear(self, sent: Any) -> None:
        payload = sent["payload"]
        # What does not follow what we have, comes too early or is only a pointer, is read with everything before it.
        if self._is_reading or payload.get("truncated") or payload["prev_seq"] > self._last:
            self._news.set()
        else:
            self._take(sent["event"], payload)

    def _take(self, event: str, payload: dict[str, Any]) -> None:
        if payload["seq"] > self._last:  # else seen: broadcasts and catching up overlap
            self._last = payload["seq"]
            self._handle(event, payload)

    async def _catch_up_for_ever(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, headers={"authorization": f"Bearer {self._token}"}) as client:
            while True:
                self._news.clear()
                self._is_reading = True
                answer = await client.get(
                    f"/api/v2/channels/{self._channel_id}/events", params={"since": self._last, "limit": 1000}
                )
                answer.raise_for_status()
                for entry in answer.json()["data"]:
                    self._take(entry["event"], entry["payload"])
                self._is_reading = False
                if answer.json()["meta"]["has_more"]:
                    continue
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), self._seconds)


def main() -> None:
    """follow.py URL KEY CHANNEL [SINCE], with ACCESS_TOKEN in the environment: each event as a line of JSON."""
    url, key, channel_id, since = [*sys.argv[1:], "0"][:4]

    def show(event: str, payload: dict[str, Any]) -> None:
        print(json.dumps({"event": event, "payload": payload}), flush=True)

    asyncio.run(Follower(url, key, os.environ["ACCESS_TOKEN"], channel_id, int(since), show).run())


if __name__ == "__main__":
    main()
