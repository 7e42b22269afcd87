"""The two serializers of the protocol, 1.0.0 and 2.0.0.

Both carry messages of five fields (join_ref, ref, topic, event, payload): 1.0.0 as a JSON object, 2.0.0 as a JSON
array. 2.0.0 has binary frames too, for broadcasts only. Payloads stay JSON text where the server does not read
them, and are written into the next frame as they came.

Everything that is encoded here is a whole WebSocket frame. A server does not mask what it sends, so one and the same
frame goes to every client that speaks the same version.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from msgspec import Raw
from websockets.frames import Frame, Opcode

USER_BROADCAST_PUSH, USER_BROADCAST = 3, 4  # kinds of binary frames: from a client, to a client
LONGEST = 255  # bytes of a string in a binary frame: its length has one byte
UNREADABLE = (ValueError, RecursionError)  # errors of wrong or too deeply nested JSON

Ref = str | int | None


class MalformedError(ValueError):
    """A frame that breaks the protocol."""


@dataclass(frozen=True, slots=True)
class UserBroadcast:
    """A broadcast with content that the server does not read.

    Attributes:
        event: its name, as the sender gave it.
        content: JSON text, or any bytes.
        is_json: which of the two.
        meta: added by the server: `id`, `replayed`.
    """

    event: str
    content: bytes
    is_json: bool = True
    meta: dict[str, Any] | None = None

    def envelope(self) -> dict[str, Any]:
        """Return it as the payload of an ordinary message, which carries only JSON."""
        meta = {"meta": self.meta} if self.meta else {}
        return {"event": self.event, "payload": Raw(self.content), "type": "broadcast", **meta}


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a client. The payload is JSON text, or a broadcast from a binary frame."""

    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: Raw | UserBroadcast

    @property
    def size(self) -> int:
        """Return how long the payload is, in bytes."""
        return len(self.payload.content if isinstance(self.payload, UserBroadcast) else bytes(self.payload))

    def object(self) -> dict[str, Any]:
        """Return the decoded payload; {} if it is not a JSON object."""
        content = None if isinstance(self.payload, UserBroadcast) else msgspec.json.decode(self.payload)
        return content if isinstance(content, dict) else {}


class Serializer(Protocol):
    """One version of the protocol."""

    def decode(self, opcode: Opcode, data: bytes) -> Message:
        """Return the message in a frame; raise MalformedError if the frame is wrong."""

    def push(self, topic: str, event: str, payload: Any, *, ref: Ref = None, join_ref: Ref = None) -> bytes:
        """Return the frame of a message to a client."""

    def reply(self, ref: Ref, join_ref: Ref, topic: str, status: str, response: Any) -> bytes:
        """Return the frame that answers a client's message."""

    def broadcast(self, topic: str, broadcast: UserBroadcast) -> bytes | None:
        """Return the frame of a broadcast; None for one that this version cannot carry."""


class _Fields(msgspec.Struct):
    topic: str
    event: str
    payload: Raw
    ref: Ref
    join_ref: Ref = None


class V1:
    """Version 1.0.0: JSON objects. Server messages have no `join_ref`."""

    _decoder = msgspec.json.Decoder(_Fields)

    def decode(self, opcode: Opcode, data: bytes) -> Message:
        """Return the message in a frame; raise MalformedError if the frame is wrong."""
        if opcode is not Opcode.TEXT:
            raise MalformedError("1.0.0 has no binary frames")
        try:
            fields = self._decoder.decode(data.decode())
        except UNREADABLE as error:
            raise MalformedError(str(error)) from error
        return Message(fields.join_ref, fields.ref, fields.topic, fields.event, fields.payload)

    def push(self, topic: str, event: str, payload: Any, *, ref: Ref = None, join_ref: Ref = None) -> bytes:  # noqa: ARG002
        """Return the frame of a message to a client."""
        return _text({"topic": topic, "event": event, "payload": payload, "ref": ref})

    def reply(self, ref: Ref, join_ref: Ref, topic: str, status: str, response: Any) -> bytes:
        """Return the frame that answers a client's message."""
        return self.push(topic, "phx_reply", {"status": status, "response": response}, ref=ref, join_ref=join_ref)

    def broadcast(self, topic: str, broadcast: UserBroadcast) -> bytes | None:
        """Return the frame of a broadcast; None for bytes, because JSON cannot carry them."""
        return self.push(topic, "broadcast", broadcast.envelope()) if broadcast.is_json else None


class V2:
    """Version 2.0.0: JSON arrays, and binary frames for broadcasts."""

    _decoder = msgspec.json.Decoder(list[Raw])
    _refs = msgspec.json.Decoder(Ref)
    _names = msgspec.json.Decoder(str)

    def decode(self, opcode: Opcode, data: bytes) -> Message:
        """Return the message in a frame; raise MalformedError if the frame is wrong."""
        try:
            return self._decode_text(data) if opcode is Opcode.TEXT else _decode_binary(data)
        except (*UNREADABLE, IndexError) as error:
            raise MalformedError(str(error)) from error

    def _decode_text(self, data: bytes) -> Message:
        join_ref, ref, topic, event, payload, *_ = self._decoder.decode(data.decode())
        refs, names = self._refs.decode, self._names.decode
        return Message(refs(join_ref), refs(ref), names(topic), names(event), payload)

    def push(self, topic: str, event: str, payload: Any, *, ref: Ref = None, join_ref: Ref = None) -> bytes:
        """Return the frame of a message to a client."""
        return _text([join_ref, ref, topic, event, payload])

    def reply(self, ref: Ref, join_ref: Ref, topic: str, status: str, response: Any) -> bytes:
        """Return the frame that answers a client's message."""
        return self.push(topic, "phx_reply", {"status": status, "response": response}, ref=ref, join_ref=join_ref)

    def broadcast(self, topic: str, broadcast: UserBroadcast) -> bytes | None:
        """Return the frame of a broadcast; None when topic or event are too long for a binary frame."""
        meta = msgspec.json.encode(broadcast.meta) if broadcast.meta else b""
        strings = topic.encode(), broadcast.event.encode(), meta
        if any(len(string) > LONGEST for string in strings):
            return None
        head = bytes([USER_BROADCAST, *map(len, strings), broadcast.is_json])
        return wire(Opcode.BINARY, b"".join((head, *strings, broadcast.content)))


def _decode_binary(data: bytes) -> Message:
    if data[0] != USER_BROADCAST_PUSH:
        raise MalformedError(f"no client sends binary frames of kind {data[0]}")
    *lengths, encoding = data[1:7]
    strings = []
    start = 7
    for length in lengths:
        if start + length > len(data):
            raise MalformedError("the frame ends before its strings do")
        strings.append(data[start : start + length].decode())
        start += length
    join_ref, ref, topic, event, _metadata = strings
    content = data[start:]
    if encoding:
        msgspec.json.decode(content.decode(), type=Raw)  # wrong JSON would break clients of 1.0.0
    return Message(join_ref, ref, topic, "broadcast", UserBroadcast(event, content, bool(encoding)))


def _text(content: Any) -> bytes:
    return wire(Opcode.TEXT, msgspec.json.encode(content))


def wire(opcode: Opcode, data: bytes) -> bytes:
    """Return a WebSocket frame as a server sends it."""
    return Frame(opcode, data).serialize(mask=False)


SERIALIZERS: dict[str, Serializer] = {"1.0.0": V1(), "2.0.0": V2()}
