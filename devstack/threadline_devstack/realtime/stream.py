"""From the database to the channels: rows of `realtime.messages` and changes of published tables, after their commit.

The stream runs only while a channel is open. A join waits for it, so a joined channel gets everything that
is committed from then on. When the stream breaks, every channel ends with an error upon which clients join again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol

import psycopg
from msgspec import Raw

from threadline_devstack.realtime.changes import Subscriptions
from threadline_devstack.realtime.feed import CHANGES_PUBLICATION, MESSAGES_PUBLICATION, Commit, FeedLost, follow
from threadline_devstack.realtime.frames import UserBroadcast
from threadline_devstack.realtime.limits import Limits
from threadline_devstack.realtime.pgoutput import Change
from threadline_devstack.realtime.policies import PolicyError
from threadline_devstack.realtime.rooms import Hub

logger = logging.getLogger(__name__)

JOIN_PATIENCE = 8.0  # seconds; the clients give a join 10
BACKOFF = (0.1, 5.0)  # seconds before the next try after a lost stream: first, longest
BURST = 100  # broadcasts in a row before the sockets get a turn
MATCHES_AHEAD = 1000  # commits that may wait for their policy checks
PUBLICATIONS = "select pubname from pg_publication where pubname = any(%s)"
PUBLISH = f"create publication {MESSAGES_PUBLICATION} for table realtime.messages"
FORGET = "delete from realtime.messages where inserted_at < timezone('utc', now()) - interval '72 hours'"


class Listener(Protocol):
    """A channel, as the stream sees it."""

    def push_change(self, payload: Any) -> None:
        """Send a change of the database."""

    def fail(self, message: str) -> None:
        """End the channel with phx_error, after which clients join again."""


class Stream:
    """Sends the feed of one stack's database to the channels.

    Args:
        database_url: with the login of a superuser.
        hub: of the rooms to broadcast in.
        subscriptions: the channels that want changes of tables.
        listeners: returns all channels at the moment.
        limits: a larger payload is dropped, as in Realtime.

    Attributes:
        delivered: the numbers of the last transactions with broadcasts.
    """

    def __init__(
        self,
        database_url: str,
        hub: Hub,
        subscriptions: Subscriptions,
        listeners: Callable[[], Iterable[Listener]],
        limits: Limits,
    ) -> None:
        self._url = database_url
        self._hub = hub
        self._subscriptions = subscriptions
        self._listeners = listeners
        self._limits = limits
        self.delivered: deque[int] = deque(maxlen=BURST)
        self._is_streaming = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._end: asyncio.TimerHandle | None = None

    @property
    def is_streaming(self) -> bool:
        """Tell whether a commit at this moment will be delivered."""
        return self._is_streaming.is_set()

    async def ready(self) -> None:
        """Wait until every later commit will be delivered; raise PolicyError if it takes too long."""
        self.keep()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(JOIN_PATIENCE):
                await self._is_streaming.wait()
        except TimeoutError as error:
            message = "Realtime is initializing the project connection"
            raise PolicyError("InitializingProjectConnection", message) from error

    def keep(self) -> None:
        """Keep the stream: a channel is open."""
        if self._end:
            self._end.cancel()
            self._end = None

    def release(self) -> None:
        """End the stream after a while: no channel is open."""
        if self._task and not self._end:
            self._end = asyncio.get_running_loop().call_later(self._limits.linger_seconds, self._stop)

    def _stop(self) -> None:
        self._end = None
        self._is_streaming.clear()
        if self._task:
            self._task.cancel()
            self._task = None

    async def close(self) -> None:
        """Stop the stream for good."""
        self.keep()
        task = self._task
        self._stop()
        if task:
            await asyncio.wait([task])

    async def _run(self) -> None:
        delay, longest = BACKOFF
        while True:
            try:
                await self._follow()
            except (FeedLost, psycopg.Error) as error:
                logger.warning("Realtime lost the database's log: %s", str(error).strip())
            except Exception:
                logger.exception("Realtime failed at the database's log")
            if self._is_streaming.is_set():
                self._is_streaming.clear()
                delay = BACKOFF[0]
                for listener in list(self._listeners()):
                    listener.fail("The connection to the database was lost")
            await asyncio.sleep(delay)
            delay = min(2 * delay, longest)

    async def _follow(self) -> None:
        commits_to_match: asyncio.Queue[Commit] = asyncio.Queue(MATCHES_AHEAD)
        async with follow(self._url, await self._prepare()) as commits:
            self._is_streaming.set()

            async def read() -> None:
                async for commit in commits:
                    await self._deliver(commit)
                    if any(change.schema != "realtime" for change in commit.changes):
                        await commits_to_match.put(commit)

            async def match() -> None:
                while True:
                    await self._tell_changes(await commits_to_match.get())

            tasks = [asyncio.create_task(read()), asyncio.create_task(match())]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()

    async def _prepare(self) -> list[str]:
        """Create what is missing, remove old messages as Realtime does, and return the publications to follow."""
        names = [MESSAGES_PUBLICATION, CHANGES_PUBLICATION]
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            with suppress(psycopg.errors.DuplicateObject):
                await connection.execute(PUBLISH)
            await connection.execute(FORGET)
            cursor = await connection.execute(PUBLICATIONS, [names])
            return [name for (name,) in await cursor.fetchall()]

    async def _deliver(self, commit: Commit) -> None:
        count = 0
        for change in commit.changes:
            if change.kind == "INSERT" and change.schema == "realtime" and change.table.startswith("messages"):
                if not count:
                    self.delivered.append(commit.xid)
                self._broadcast(change)
                count += 1
                if count % BURST == 0:
                    await asyncio.sleep(0)

    def _broadcast(self, change: Change) -> None:
        row = change.record or {}
        topic, event, private = row.get("topic"), row.get("event"), row.get("private")
        text, binary = row.get("payload"), row.get("binary_payload")
        content = bytes.fromhex(binary.removeprefix("\\x")) if binary is not None else (text or "").encode()
        if None in (topic, event, private) or text is binary is None or len(content) > self._limits.payload_bytes:
            return
        broadcast = UserBroadcast(event, content, is_json=binary is None, meta={"id": row["id"]})
        self._hub.broadcast(topic, broadcast, is_private=private == "t")

    async def _tell_changes(self, commit: Commit) -> None:
        for delivery in await self._subscriptions.match(commit):
            data = Raw(delivery.data)
            for channel, ids in delivery.recipients:
                channel.push_change({"ids": ids, "data": data})
