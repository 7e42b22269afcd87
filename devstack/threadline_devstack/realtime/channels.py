"""One channel of one client: join, messages in both directions, end."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

import psycopg

from threadline_devstack.realtime.changes import Refused, request_id
from threadline_devstack.realtime.client import Client
from threadline_devstack.realtime.frames import Message, Ref, UserBroadcast
from threadline_devstack.realtime.joins import Join
from threadline_devstack.realtime.limits import Calls
from threadline_devstack.realtime.policies import BROADCAST, PRESENCE, UNREACHABLE, Asker, PolicyError
from threadline_devstack.realtime.replay import Replay, ReplayError
from threadline_devstack.realtime.rights import Rights, UnauthorizedError
from threadline_devstack.realtime.rooms import PREFIX
from threadline_devstack.realtime.tokens import Claims, TokenError
from threadline_devstack.realtime.voice import Voice

CONFIRM_INTERVAL = 300.0  # seconds between two checks of a token's age, at most
Work = Coroutine[Any, Any, None] | None  # the rest of a message's work, if it must wait


class JoinError(Exception):
    """A join that is refused; the text is the reason for the client."""


class Channel:
    """A topic that a client has joined.

    Args:
        client: who joined.
        wire_topic: with its prefix.
        join_ref: by which the client knows this join.
        join: what it asks for.
    """

    def __init__(self, client: Client, wire_topic: str, join_ref: Ref, join: Join) -> None:
        self.serializer = client.serializer
        self.send = client.send
        self._client = client
        self._shared = client.shared
        self._wire_topic = wire_topic
        self._topic = wire_topic.removeprefix(PREFIX)
        self._join_ref = join_ref
        self._join = join
        self._token = join.token or client.token
        self.voice = Voice(self.serializer, self.send, wire_topic, join_ref)
        self._is_open = True
        self._is_watching = join.wants_presence
        self._presence_calls = Calls(self._shared.limits.presence_calls, self._shared.limits.presence_window)
        self._confirmation: asyncio.TimerHandle | None = None
        self._subscribing: asyncio.Task[None] | None = None
        self._replay = Replay(join.replay) if join.replay else None

    async def open(self, ref: Ref) -> None:
        """Join and reply; raise JoinError if the client may not."""
        try:
            claims = self._shared.tokens.verify(self._token)
            await self._shared.stream.ready()
            self._rights = self._rights_with(claims)
            await self._rights.ask(with_presence=self._is_watching)
            self._check_replay()
            await self._enter(ref)
        except (TokenError, PolicyError) as error:
            raise JoinError(f"{error.code}: {error.message}") from error
        except UnauthorizedError as error:
            raise JoinError(f"Unauthorized: {error}") from error
        except ReplayError as error:
            raise JoinError(f"UnableToReplayMessages: {error}") from error
        if self._is_open:
            self._confirm_later(claims)
            self._subscribe(claims)

    def _rights_with(self, claims: Claims) -> Rights:
        self._claims = claims
        asker = Asker(self._topic, claims.all, self._client.headers)
        return Rights(self._shared.policies, asker, is_private=self._join.is_private)

    def _check_replay(self) -> None:
        if self._replay and not self._join.is_private:
            raise ReplayError("Replay is not allowed for public channels")
        if self._replay and not self._rights.may_read(BROADCAST):
            raise UnauthorizedError(self._topic)

    async def _enter(self, ref: Ref) -> None:
        """Enter the room and reply. With replay, send past messages first, then those that came meanwhile."""
        if not self._is_open:  # the client left meanwhile
            return
        past: Sequence[Any] = ()
        self._room = self._shared.hub.enter(self._topic, is_private=self._join.is_private)
        if self._replay:
            self._room.listen(self, with_replay=True)
            past = await self._replay.read(self._shared.policies, self._topic, list(self._shared.stream.delivered))
        if not self._is_open:
            return
        entries = [{**entry, "id": request_id(entry)} for entry in self._join.changes]
        self.voice.reply(ref, "ok", {"postgres_changes": entries})
        if self._replay:
            self._send_past(self._replay, past)
        self._take_part()
        if self._is_watching and self._rights.may_read(PRESENCE):
            self.voice.push("presence_state", self._room.presence.state())
        if self._join.wants_readiness:
            self.voice.tell("system", "ok", "Replication connection established")

    def _take_part(self) -> None:
        """Receive what the client may read."""
        if self._rights.may_read(BROADCAST):
            self._room.listen(self, with_replay=self._replay is not None)
        if self._rights.may_read(PRESENCE):
            self._room.watch(self)

    def _send_past(self, replay: Replay, past: Sequence[Any]) -> None:
        for broadcast in replay.past(past):
            self.voice.replay(broadcast)
        for frame in replay.release():
            self.send(frame)

    def offer(self, frame: bytes, message_id: str | None) -> None:
        """Send a broadcast, unless it was replayed already."""
        if self._replay is None or self._replay.passes(frame, message_id):
            self.send(frame)

    def _subscribe(self, claims: Claims) -> None:
        if self._join.changes:
            if self._subscribing:
                self._subscribing.cancel()
            self._subscribing = asyncio.create_task(self._subscribe_to_changes(claims))

    async def _subscribe_to_changes(self, claims: Claims) -> None:
        try:
            await self._shared.subscriptions.add(self, claims.all, self._join.changes)
        except Refused as refusal:
            self.voice.tell("postgres_changes", "error", str(refusal))
        except psycopg.Error:
            self.fail(UNREACHABLE)
        else:
            self.voice.tell("postgres_changes", "ok", "Subscribed to PostgreSQL")

    def push_change(self, payload: Any) -> None:
        """Send a change of the database, if the channel is still open."""
        if self._is_open:
            self.voice.push_change(payload)

    def handle(self, message: Message) -> Work:
        """Handle a message; return the work that must wait."""
        match message.event:
            case "broadcast":
                return self._broadcast(message)
            case "presence":
                return self._presence(message)
            case "access_token":
                token = message.object().get("access_token")
                if isinstance(token, str) and not token.startswith("sb_") and token != self._token:
                    return self._renew(token)
            case "phx_leave" if self._join_ref is None or message.join_ref in (self._join_ref, None):
                self.voice.reply(message.ref, "ok", {})
                self.close()
        return None

    def _broadcast(self, message: Message) -> Work:
        if not isinstance(message.payload, UserBroadcast) and bytes(message.payload)[:1] != b"{":
            return None
        match self._rights.may_write(BROADCAST):
            case None:
                return self._ask_and_broadcast(message)
            case True:
                self._send_broadcast(message)
        return None

    async def _ask_and_broadcast(self, message: Message) -> None:
        try:
            await self._rights.ask_to_write()
        except PolicyError:  # the sender gets no answer, as in Realtime
            return
        if self._is_open and self._rights.may_write(BROADCAST):
            self._send_broadcast(message)

    def _send_broadcast(self, message: Message) -> None:
        is_too_large = message.size > self._shared.limits.payload_bytes
        if not is_too_large:
            self._room.broadcast(message.payload, sender=None if self._join.echo else self)
        if self._join.ack:
            self.voice.reply(message.ref, *(("error", "payload_size_exceeded") if is_too_large else ("ok", {})))

    def _presence(self, message: Message) -> Work:
        payload = message.object()
        event = payload.get("event")
        if not isinstance(event, str):
            self.voice.reply(message.ref, "ok", {})
            return None
        if self._presence_calls.is_one_too_many():
            self.shut_down("Client presence rate limit exceeded")
            return None
        match event.lower(), self._rights.may_write(PRESENCE):
            case "untrack", _:
                self.voice.reply(message.ref, "ok", {})
                self._room.tell_change(self._room.presence.untrack(self))
            case "track", None:
                return self._ask_and_track(message)
            case "track", True:
                self._track(message)
            case _:
                self.voice.reply(message.ref, "error", {})
        return None

    async def _ask_and_track(self, message: Message) -> None:
        with suppress(PolicyError):
            await self._rights.ask_for_presence()
            await self._rights.ask_to_write()
        if self._is_open and self._rights.may_write(PRESENCE):
            self._track(message)
        else:
            self.voice.reply(message.ref, "error", {})

    def _track(self, message: Message) -> None:
        payload = message.object().get("payload", {})
        if not isinstance(payload, dict):
            self.voice.reply(message.ref, "error", {"reason": "Presence track payload must be a map"})
        elif message.size > self._shared.limits.payload_bytes:
            self.shut_down("Track message size exceeded")
        else:
            self.voice.reply(message.ref, "ok", {})
            self._is_watching = True
            self._take_part()
            self._room.tell_change(self._room.presence.track(self, self._join.presence_key, payload))

    def _confirm_later(self, claims: Claims) -> None:
        if self._confirmation:
            self._confirmation.cancel()
        left = max(0.0, claims.expires_at - time.time())
        self._confirmation = asyncio.get_running_loop().call_later(min(left, CONFIRM_INTERVAL), self._confirm)

    def _confirm(self) -> None:
        if too_old := self._claims.expired():
            self.shut_down(too_old)
        else:
            self._confirm_later(self._claims)

    async def _renew(self, token: str) -> None:
        self._token, before = token, self._rights
        try:
            claims = self._shared.tokens.verify(token)
            rights = self._rights_with(claims)
            await rights.ask(with_presence=self._is_watching)
        except (TokenError, PolicyError) as error:
            self.shut_down(error.message)
            return
        except UnauthorizedError as error:
            self.shut_down(str(error))
            return
        if not self._is_open:
            return
        if rights.has_lost(before):
            self.shut_down(f"You no longer have permission to read from this Channel topic: {self._topic}")
            return
        self._rights = rights
        self._take_part()
        self._confirm_later(claims)
        self._subscribe(claims)

    def close(self) -> None:
        """Leave and send phx_close."""
        if self.leave():
            self.voice.close()

    def shut_down(self, message: str) -> None:
        """End the channel for this reason."""
        if self._is_open:
            self.voice.tell("system", "error", message)
            self.close()

    def fail(self, message: str) -> None:
        """End the channel with phx_error, after which clients join again."""
        if self.leave():
            self.voice.tell("system", "error", message)
            self.voice.error(message)

    def leave(self) -> bool:
        """Leave the room and cancel all work; return False if the channel had ended already."""
        if not self._is_open:
            return False
        self._is_open = False
        if self._confirmation:
            self._confirmation.cancel()
        if self._subscribing:
            self._subscribing.cancel()
        self._shared.subscriptions.remove(self)
        self._shared.hub.leave(self._topic, is_private=self._join.is_private, member=self)
        self._client.forget(self._wire_topic, self)
        return True
