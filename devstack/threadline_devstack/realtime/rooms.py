"""Topics and who is in them: a broadcast is encoded once for each version of the protocol, and written to everybody."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from msgspec import Raw

from threadline_devstack.realtime.frames import Serializer, UserBroadcast
from threadline_devstack.realtime.limits import Rate
from threadline_devstack.realtime.presence import Diff, Presence

PREFIX = "realtime:"  # of a topic on the wire
Send = Callable[[bytes], None]


class Member(Protocol):
    """A channel, as a room sees it."""

    serializer: Serializer
    send: Send

    def offer(self, frame: bytes, message_id: str | None) -> None:
        """Take a broadcast, unless it has been replayed already. Asked only of those who have joined with replay."""

    def shut_down(self, message: str) -> None:
        """End, with this as the reason."""


class Audience:
    """Those who get the same messages, by the version they speak."""

    def __init__(self) -> None:
        self._members: dict[Serializer, dict[Member, Send]] = {}

    def __iter__(self) -> Iterator[Member]:
        """Return the members."""
        return (member for members in self._members.values() for member in members)

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(map(len, self._members.values()))

    def add(self, member: Member, send: Send | None = None) -> None:
        """Let a member in."""
        self._members.setdefault(member.serializer, {})[member] = send or member.send

    def discard(self, member: Member) -> None:
        """Let a member go, if it is in."""
        self._members.get(member.serializer, {}).pop(member, None)

    def tell(self, encode: Callable[[Serializer], bytes | None], sender: object = None) -> None:
        """Send everybody but the sender what `encode` makes for their version."""
        for serializer, members in self._members.items():
            if members and (frame := encode(serializer)):
                for member, send in members.items():
                    if member is not sender:
                        send(frame)


class Room:
    """One topic, public or private: these two know nothing of each other."""

    def __init__(self, topic: str, events: Rate) -> None:
        self.wire_topic = PREFIX + topic
        self.presence = Presence()
        self._events = events
        self._listeners = Audience()
        self._replayed = Audience()  # listeners who have got something of the past
        self._watchers = Audience()

    @property
    def is_empty(self) -> bool:
        """Tell whether nobody is left."""
        return not any(map(len, (self._listeners, self._replayed, self._watchers)))

    def listen(self, member: Member, *, with_replay: bool) -> None:
        """Send a member what is broadcast from now on."""
        (self._replayed if with_replay else self._listeners).add(member)

    def watch(self, member: Member) -> None:
        """Send a member the changes of presence from now on."""
        self._watchers.add(member)

    def leave(self, member: Member) -> None:
        """Send a member nothing more, and let the others know that it is gone."""
        for audience in (self._listeners, self._replayed, self._watchers):
            audience.discard(member)
        self.tell_change(self.presence.untrack(member))

    def broadcast(self, content: UserBroadcast | Raw, sender: object = None) -> None:
        """Send a broadcast, or the payload of one that came as a message, to all listeners but the sender."""

        def encode(serializer: Serializer) -> bytes | None:
            if isinstance(content, UserBroadcast):
                return serializer.broadcast(self.wire_topic, content)
            return serializer.push(self.wire_topic, "broadcast", content)

        self._events.add(1 + len(self._listeners) + len(self._replayed))
        self._listeners.tell(encode, sender)
        meta = content.meta if isinstance(content, UserBroadcast) else None
        for member in [member for member in self._replayed if member is not sender]:
            if frame := encode(member.serializer):
                member.offer(frame, meta and meta.get("id"))
        if self._events.is_exceeded():
            for member in [*self._listeners, *self._replayed]:
                member.shut_down("Too many messages per second")

    def tell_change(self, diff: Diff | None) -> None:
        """Send a change of presence to all who watch it."""
        if diff:
            payload: Any = diff.payload()
            self._watchers.tell(lambda serializer: serializer.push(self.wire_topic, "presence_diff", payload))


class Hub:
    """The rooms in which somebody is."""

    def __init__(self, events: Rate) -> None:
        self._events = events
        self._rooms: dict[tuple[str, bool], Room] = {}

    def enter(self, topic: str, *, is_private: bool) -> Room:
        """Return a room to join; made when nobody is in it."""
        name = (topic, is_private)
        if name not in self._rooms:
            self._rooms[name] = Room(topic, self._events)
        return self._rooms[name]

    def leave(self, topic: str, *, is_private: bool, member: Member) -> None:
        """Take a member out of a room, and forget the room with the last one."""
        if room := self._rooms.get((topic, is_private)):
            room.leave(member)
            if room.is_empty:
                del self._rooms[topic, is_private]

    def broadcast(self, topic: str, content: UserBroadcast | Raw, *, is_private: bool) -> None:
        """Send a broadcast to those in a room."""
        if room := self._rooms.get((topic, is_private)):
            room.broadcast(content)
        else:
            self._events.add()
