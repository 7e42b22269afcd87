"""One client: its channels, and the order in which its messages are handled."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from websockets.frames import CloseCode, Opcode

from threadline_devstack.realtime.channels import Channel, JoinError, Work
from threadline_devstack.realtime.frames import MalformedError, Message, Ref, Serializer
from threadline_devstack.realtime.joins import Join
from threadline_devstack.realtime.rooms import PREFIX
from threadline_devstack.realtime.shared import Shared

logger = logging.getLogger(__name__)

FAULT = "Realtime failed at %s"
WAITING = 16  # messages of a client that may wait for the current one


class Line(Protocol):
    """The connection to the client."""

    send: Callable[[bytes], None]

    def close(self, code: int) -> None:
        """Close it."""

    def pause_reading(self) -> None:
        """Stop reading from the client."""

    def resume_reading(self) -> None:
        """Read from the client again."""


class Session:
    """The client behind one socket.

    Messages are handled one after the other. Most are handled at once; one that waits for the database makes those
    after it wait too.

    Args:
        shared: with all other clients.
        line: to the client.
        serializer: of the version that it speaks.
        token: of the key with which it has connected.
        headers: of the request with which it has connected, as policies may read them.
    """

    def __init__(self, shared: Shared, line: Line, serializer: Serializer, token: str, headers: dict[str, str]) -> None:
        self.shared = shared
        shared.sessions.add(self)
        self.serializer = serializer
        self.token = token
        self.headers = headers
        self.send = line.send
        self._line = line
        self._channels: dict[str, Channel] = {}
        self._waiting: deque[Message] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._is_lost = False

    def __iter__(self) -> Iterator[Channel]:
        """Return the channels that are open."""
        return iter(self._channels.values())

    def receive(self, opcode: Opcode, data: bytes) -> None:
        """Handle a message; ignore a malformed one, as Realtime does."""
        try:
            message = self.serializer.decode(opcode, data)
        except MalformedError:
            return
        if self._worker:
            self._waiting.append(message)
            if len(self._waiting) > WAITING:
                self._line.pause_reading()
        elif work := self._do(message):
            self._worker = asyncio.create_task(self._work_off(work, message))

    async def _work_off(self, work: Work, message: Message) -> None:
        """Finish one message, then those that came meanwhile."""
        while work:
            try:
                await work
            except Exception:
                logger.exception(FAULT, message.event)
                self._crash(message)
            work = None
            while self._waiting and not work:
                message = self._waiting.popleft()
                work = self._do(message)
        self._worker = None
        self._line.resume_reading()

    def _do(self, message: Message) -> Work:
        try:
            return self._dispatch(message)
        except Exception:
            logger.exception(FAULT, message.event)
            self._crash(message)
        return None

    def _crash(self, message: Message) -> None:
        """End the one channel in which an unexpected error occurred."""
        if channel := self._channels.get(message.topic):
            channel.fail("channel_crash")

    def _dispatch(self, message: Message) -> Work:
        if message.event == "heartbeat" and message.topic == "phoenix":
            self._reply(message, None, "ok", {})
        elif message.event == "phx_join" and message.topic.startswith(PREFIX):
            return self._join(message)
        elif channel := self._channels.get(message.topic):
            return channel.handle(message)
        elif message.event == "phx_leave":  # the server may have closed the channel just before
            self._reply(message, message.join_ref, "ok", {})
        else:
            self._reply(message, None, "error", {"reason": "unmatched topic"})
        return None

    def _reply(self, message: Message, join_ref: Ref, status: str, response: object) -> None:
        self.send(self.serializer.reply(message.ref, join_ref, message.topic, status, response))

    async def _join(self, message: Message) -> None:
        if self._is_lost:
            return
        if replaced := self._channels.get(message.topic):
            replaced.leave()
        channel = Channel(self, message.topic, message.join_ref, Join.read(message.object()))
        try:
            self._check_limits(message.topic)
            if not self._channels:
                self.shared.add_client()
            self._channels[message.topic] = channel
            await channel.open(message.ref)
        except Exception as error:
            if not isinstance(error, JoinError):
                logger.exception(FAULT, message.event)
            reason = str(error) if isinstance(error, JoinError) else "Unknown Error on Channel"
            self._reply(message, message.join_ref, "error", {"reason": reason})
            channel.leave()
        if replaced:
            replaced.voice.close()

    def _check_limits(self, topic: str) -> None:
        shared, limits = self.shared, self.shared.limits
        if topic == PREFIX:
            raise JoinError("TopicNameRequired: You must provide a topic name")
        if not self._channels and shared.clients >= limits.clients:
            raise JoinError("ConnectionRateLimitReached: Too many connected users")
        shared.joins.add()
        if shared.joins.is_exceeded():
            asyncio.get_running_loop().call_soon(self._line.close, CloseCode.NORMAL_CLOSURE)
            raise JoinError("ClientJoinRateLimitReached: Too many joins per second")
        if len(self._channels) >= limits.channels:
            raise JoinError("ChannelRateLimitReached: Too many channels")

    def forget(self, topic: str, channel: Channel) -> None:
        """Drop a channel that ended."""
        if self._channels.get(topic) is channel:
            del self._channels[topic]
            if not self._channels:
                self.shared.remove_client()

    def lost(self) -> None:
        """End all channels: the client is gone."""
        self._is_lost = True
        self._waiting.clear()
        for channel in list(self._channels.values()):
            channel.leave()
        self.shared.sessions.discard(self)
