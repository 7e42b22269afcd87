"""Topics and their members. A broadcast is encoded once per version of the protocol and sent to every member."""

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
        """Send a broadcast unless it was replayed already; called only after a join with replay."""

    def shut_down(self, message: str) -> None:
        """End the channel for this reason."""


class Audience:
    """The members that get the same messages, by version of the protocol."""

    def __init__(self) -> None:
        self._members: dict[Serializer, dict[Member, Send]] = {}

    def __iter__(self) -> Iterator[Member]:
        """Return the members."""
        return (member for members in self._members.values() for member in members)

    def __len__(self) -> int:
        """Return how many there are."""
        return sum(map(len, self._members.values()))

    def add(self, member: Member, send: Send | None = None) -> None:
        """Add a member."""
        self._members.setdefault(member.serializer, {})[member] = send or member.send

    def discard(self, member: Member) -> None:
        """Remove a member, if it is there."""
        self._members.get(member.serializer, {}).pop(member, None)

    def tell(self, encode: Callable[[Serializer], bytes | None], sender: object = None) -> None:
        """Send all but the sender the frame that `encode` returns for their version."""
        for serializer, members in self._members.items():
            if members and (frame := encode(serializer)):
                for member, send in members.items():
                    if member is not sender:
                        send(frame)


class Room:
    """One topic, public or private; the two are separate rooms."""

    def __init__(self, topic: str, events: Rate) -> None:
        self.wire_topic = PREFIX + topic
        self.presence = Presence()
        self._events = events
        self._listeners = Audience()
        self._replayed = Audience()  # listeners that joined with replay
        self._watchers = Audience()

    @property
    def is_empty(self) -> bool:
        """Tell whether the room has no member."""
        return not any(map(len, (self._listeners, self._replayed, self._watchers)))

    def listen(self, member: Member, *, with_replay: bool) -> None:
        """Send a member the broadcasts from now on."""
        (self._replayed if with_replay else self._listeners).add(member)

    def watch(self, member: Member) -> None:
        """Send a member the changes of presence from now on."""
        self._watchers.add(member)

    def leave(self, member: Member) -> None:
        """Remove a member and tell the watchers of presence."""
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
        """Send a change of presence to the watchers."""
        if diff:
            payload: Any = diff.payload()
            self._watchers.tell(lambda serializer: serializer.push(self.wire_topic, "presence_diff", payload))


class Hub:
    """The rooms that have members."""

    def __init__(self, events: Rate) -> None:
        self._events = events
        self._rooms: dict[tuple[str, bool], Room] = {}

    def enter(self, topic: str, *, is_private: bool) -> Room:
        """Return a room to join; create it if it has no member."""
        name = (topic, is_private)
        if name not in self._rooms:
            self._rooms[name] = Room(topic, self._events)
        return self._rooms[name]

    def leave(self, topic: str, *, is_private: bool, member: Member) -> None:
        """Remove a member from a room; drop the room after the last one."""
        if room := self._rooms.get((topic, is_private)):
            room.leave(member)
            if room.is_empty:
                del self._rooms[topic, is_private]

    def broadcast(self, topic: str, content: UserBroadcast | Raw, *, is_private: bool) -> None:
        """Send a broadcast to the members of a room."""
        if room := self._rooms.get((topic, is_private)):
            room.broadcast(content)
        else:
            self._events.add()
