"""The events of a topic as an asynchronous iterator."""

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Self

from threadline_follow.changes import Handed
from threadline_follow.log import (
    LATEST,
    Changes,
    CursorExpiredError,
    Log,
    LogMissingError,
    LogUnavailableError,
    Page,
)
from threadline_follow.topic import Token, Topic

State = Literal["live", "offline", "reload", "ended"]
OnState = Callable[[State, Exception | None], Any]

MAX_WAITING = 500  # broadcasts that wait to be taken; the log has the rest
HELD_SECONDS = 1.0  # the log shows a change when all transactions that began before it have ended
POINTER_SECONDS = 1.0  # how long the turn of a sealed channel may take to bring what a pointer names
TICK_SECONDS = 5.0
RETRY_SECONDS = [1, 2, 5, 10]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        name: for example `message.created`.
        payload: what docs/reference/realtime.md lists for this event.
    """

    name: str
    payload: dict[str, Any]

    @property
    def seq(self) -> int | None:
        """Its number; None on topics without a log."""
        return self.payload.get("seq")


def follow(
    url: str,
    key: str,
    token: Token,
    *,
    topic: str | None = None,
    channel_id: str | None = None,
    since: int | str = 0,
    on_state: OnState | None = None,
    check_seconds: float = 30,
) -> "Following":
    """Follow a topic: each event once and in order, whatever happens to the connection.

    Args:
        url: of the Supabase project.
        key: its publishable key.
        token: the user's access token, or a function (also an asynchronous one) that returns a fresh one.
        topic: `channel:<id>`, `user:<id>`, `inbox:<id>`, `workspace:<id>` or `twin:<id>`.
        channel_id: short for the topic of a channel.
        since: the `seq` of the last event that you have; 0 for all; "now" for what happens from now on;
            for an inbox or workspace the `cursor` that you have.
        on_state: gets each change of the state. Events wait for what it does at "reload".
        check_seconds: how often to read the log in case the last broadcast got lost.
    """
    return Following(url, key, token, topic or f"channel:{channel_id}", since, on_state, check_seconds)


class Following:
    """The events of a topic, for `async with` and `async for`. Its arguments are those of `follow`.

    Attributes:
        seq: the number of the last event that the loop has finished.
        cursor: of an inbox or workspace, where the changes end that the loop has finished.
        reason: why the events ended: `deleted` (the channel), `left` (the user) or `gone`; None before.
    """

    def __init__(
        self,
        url: str,
        key: str,
        token: Token,
        topic: str,
        since: int | str,
        on_state: OnState | None,
        check_seconds: float,
    ) -> None:
        kind, self._id = topic.split(":")
        self._is_channel = kind == "channel"
        self._log = None
        if kind != "twin":
            channel_id, workspace_id = (self._id if kind == name else None for name in ("channel", "workspace"))
            self._log = Log(url, key, token, channel_id, workspace_id)
        # Else its events are changes of conversations, or have no log.
        self._is_numbered = kind in {"channel", "user"}
        self._handed = Handed()  # of an inbox or workspace
        self._topic = Topic(url, key, token, topic, self)
        self._on_state, self._check_seconds = on_state, check_seconds
        self._must_find = since == "now" and self._is_numbered
        self._must_read = self._log is not None and not self._must_find
        self.seq = since if isinstance(since, int) else 0
        self.cursor = since if isinstance(since, str) and since != "now" else None
        self._next_cursor: str | None = None
        self.reason: Literal["deleted", "left", "gone"] | None = None
        self._state: State | None = None
        self._is_joined = self._is_lost = False
        self._lost_error: Exception | None = None
        self._current: Event | None = None
        self._page: deque[tuple[str, dict[str, Any]]] = deque()
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._news = asyncio.Event()
        self._pointer = 0
        self._failures = 0
        self._checked = time.time()

    async def __aenter__(self) -> Self:
        """Join the topic."""
        self._joining = asyncio.create_task(self._topic.stay())
        self._joining.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the topic."""
        self._joining.cancel()
        await asyncio.wait([self._joining])
        await self._topic.leave()
        if self._log:
            await self._log.close()

    def __aiter__(self) -> Self:
        """Return the events."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event; the one before counts as handled."""
        self._finish()
        while self.reason is None:
            if not self._page and self._next_cursor is not None:
                self.cursor, self._next_cursor = self._next_cursor, None
            if self._must_find:
                await self._find_end()
            elif self._page:
                self._current = self._admit(*self._page.popleft())
            elif self._must_read:
                await self._read_on()
            elif self._waiting:
                self._current = self._take(*self._waiting.popleft())
            else:
                await self._wait()
            if self._current is not None:
                return self._current
        await self._tell("ended")
        raise StopAsyncIteration

    def received(self, event: str, payload: dict[str, Any], is_turn: bool) -> None:
        """Take a broadcast."""
        if self._is_numbered and payload.get("truncated") and payload.get("topic"):
            self._pointer = payload["seq"]
            self._topic.take_turn(payload["topic"])
            if self._topic.is_on_turn:
                asyncio.get_running_loop().call_later(POINTER_SECONDS, self._read_up_to, payload["seq"])
                return
        elif not is_turn and self._topic.turn_name and payload.get("seq", 0) > self._pointer:
            self._topic.leave_turn()  # the channel is open again
        self._waiting.append((event, payload))
        if self._log and len(self._waiting) > MAX_WAITING:
            self._waiting.clear()
            self._must_read = True
        self._news.set()

    def joined(self) -> None:
        """Learn that broadcasts come from now on."""
        self._is_joined, self._is_lost = True, False
        self._read()
        if not self._is_numbered:
            self._read_later()

    def lost(self, error: Exception | None) -> None:
        """Learn that broadcasts do not come any more."""
        self._is_joined, self._is_lost = False, True
        self._lost_error = error
        if self._log:
            self._must_read = True  # a former member learns it from the log
        self._news.set()

    def _read(self) -> None:
        self._must_read = True
        self._news.set()

    def _read_later(self) -> None:
        if self._log:
            asyncio.get_running_loop().call_later(HELD_SECONDS, self._read)

    def _read_up_to(self, seq: int) -> None:
        if self.seq < seq:
            self._read()

    def _finish(self) -> None:
        event, self._current = self._current, None
        if event is None:
            return
        self.seq = event.seq or self.seq
        if self._is_channel and event.name in {"channel.deleted", "channel.left"}:
            self.reason = "deleted" if event.name == "channel.deleted" else "left"
        elif self._is_channel and event.name == "member.left":
            self._must_read = True  # it may have been this user

    async def _find_end(self) -> None:
        if page := await self._ask(LATEST):
            self._must_find = False
            self.seq = page.last_seq
            await self._reload()

    async def _read_on(self) -> None:
        self._must_read = False
        if self._log is None:
            await self._reload()  # no log has what was missed
            return
        if not self._is_numbered:
            await self._read_changes()
            return
        page = await self._ask(self.seq)
        if page is None:
            return
        # Events that are gone: older than the log keeps them, or undone by a backup that was restored.
        if page.is_incomplete or page.last_seq < self.seq:
            self.seq = page.entries[0][1]["prev_seq"] if page.is_incomplete else page.last_seq
            await self._reload()
        self._page.extend(page.entries)
        self._must_read |= page.has_more

    async def _read_changes(self) -> None:
        answer = await self._ask(self.cursor)
        if answer is None:
            return
        is_first = self.cursor is None
        self._page.extend(("conversation.changed", change) for change in answer.changes)
        self._next_cursor = answer.next_cursor
        self._must_read |= answer.has_more
        if is_first:
            await self._reload()

    async def _ask(self, since: int | str | None) -> Any:
        self._checked = time.time()
        try:
            page: Page | Changes
            if self._is_numbered:
                page = await self._log.read(since)
            else:
                page = await self._log.read_changes(since)
        except CursorExpiredError:
            self.cursor = None
            self._handed.clear()
            self._must_read = True
        except LogMissingError:
            with suppress(LogUnavailableError):
                if departure := await self._log.find_departure():
                    self._current = Event(*departure)
                    return None
            self.reason = "gone"
        except LogUnavailableError as error:
            self._must_read = not self._must_find
            await self._tell("offline", error)
            self._news.clear()
            seconds = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
            self._failures += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)
        else:
            self._failures = 0
            return page
        return None

    def _take(self, event: str, payload: dict[str, Any]) -> Event | None:
        if not self._is_numbered:
            return self._take_conversation(event, payload)
        is_next = payload.get("prev_seq", self.seq) == self.seq and not payload.get("truncated")
        if not is_next and payload["seq"] > self.seq:
            self._must_read = True
            return None
        return self._admit(event, payload)

    def _take_conversation(self, event: str, payload: dict[str, Any]) -> Event | None:
        if conversation := payload.get("conversation"):
            if self._handed.is_old(conversation):
                return None
            if not self._handed.is_next(conversation):
                # Changes before this one were missed. The log has them, in order.
                self._must_read = True
                self._read_later()
                return None
            self._handed.add_broadcast(conversation)
        elif self._log and payload.get("truncated"):
            # A pointer: a member has left the workspace.
            self._must_read = True
            self._read_later()
            return None
        return Event(event, payload)

    def _admit(self, event: str, payload: dict[str, Any]) -> Event | None:
        # Broadcasts and the log overlap.
        if self._is_numbered:
            is_seen = payload.get("seq", self.seq + 1) <= self.seq
        else:
            is_seen = self._handed.has(payload)
            self._handed.add(payload)
        return None if is_seen else Event(event, payload)

    async def _wait(self) -> None:
        if self._is_joined:
            await self._tell("live")
        elif self._is_lost:
            await self._tell("offline", self._lost_error)
        self._news.clear()
        before = time.time()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), TICK_SECONDS)
        if self._joining.done():
            self._joining.result()
        now = time.time()
        if now - before > 3 * TICK_SECONDS:  # timers stood still: the machine slept
            self._topic.renew()
        elif now - self._checked >= self._check_seconds:
            self._must_read = self._must_read or self._log is not None

    async def _reload(self) -> None:
        if self._on_state and inspect.isawaitable(said := self._on_state("reload", None)):
            await said

    async def _tell(self, state: State, error: Exception | None = None) -> None:
        if self._state == state:
            return
        self._state = state
        if self._on_state and inspect.isawaitable(said := self._on_state(state, error)):
            await said
