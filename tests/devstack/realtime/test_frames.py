"""The two serializers, byte by byte."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadline_devstack.realtime.frames import SERIALIZERS, MalformedError, Message, Serializer, UserBroadcast
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

V1, V2 = SERIALIZERS["1.0.0"], SERIALIZERS["2.0.0"]
# As supabase-js 2.119 sent it.
PUSH = bytes.fromhex("0301010f05000136377265616c74696d653a726f6f6d3a3173686f75747b226869223a317d")


def unwrapped(frame: bytes) -> tuple[Opcode, bytes]:
    """What a client finds in a WebSocket frame."""
    reader = StreamReader()
    reader.feed_data(frame)
    parser = Frame.parse(reader.read_exact, mask=False)
    try:
        next(parser)
    except StopIteration as done:
        return done.value.opcode, done.value.data
    raise AssertionError("more than one frame")


def fields(message: Message) -> tuple[object, ...]:
    return message.join_ref, message.ref, message.topic, message.event, message.object()


def test_both_versions_carry_the_same_five_fields() -> None:
    as_object = b'{"topic": "t", "event": "e", "payload": {"a": 1}, "ref": "2", "join_ref": "1"}'
    as_array = b'["1", "2", "t", "e", {"a": 1}, "more is passed over"]'
    assert fields(V1.decode(Opcode.TEXT, as_object)) == fields(V2.decode(Opcode.TEXT, as_array))
    assert fields(V2.decode(Opcode.TEXT, as_array)) == ("1", "2", "t", "e", {"a": 1})


def test_binary_broadcast_of_supabase_js_is_decoded() -> None:
    message = V2.decode(Opcode.BINARY, PUSH)
    assert (message.join_ref, message.ref, message.topic, message.event) == ("6", "7", "realtime:room:1", "broadcast")
    assert message.payload == UserBroadcast("shout", b'{"hi":1}')


def test_server_frames_have_the_documented_form() -> None:
    broadcast = UserBroadcast("e", b'{"n": 1}', meta={"id": "x"})
    assert unwrapped(V1.broadcast("t", broadcast)) == (
        Opcode.TEXT,
        b'{"topic":"t","event":"broadcast","payload":{"event":"e","payload":{"n": 1},"type":"broadcast",'
        b'"meta":{"id":"x"}},"ref":null}',
    )
    assert unwrapped(V2.broadcast("t", broadcast)) == (Opcode.BINARY, b'\x04\x01\x01\x0a\x01te{"id":"x"}{"n": 1}')
    assert unwrapped(V2.reply("2", "1", "t", "ok", {}))[1] == b'["1","2","t","phx_reply",{"status":"ok","response":{}}]'
    assert unwrapped(V1.push("t", "phx_close", {}, ref="1", join_ref="1"))[1] == (
        b'{"topic":"t","event":"phx_close","payload":{},"ref":"1"}'
    )


def test_unsupported_content_yields_no_frame() -> None:
    assert V1.broadcast("t", UserBroadcast("e", b"\x00", is_json=False)) is None
    assert V2.broadcast("t", UserBroadcast("ä" * 128, b"{}")) is None  # 256 bytes


@pytest.mark.parametrize(
    "data",
    [b"", b"\x03", PUSH[:20], b"\x09" + PUSH[1:], PUSH[:-1], PUSH[:7] + b"\xff" + PUSH[8:]],
    ids=["empty", "kind only", "cut in a string", "unknown kind", "JSON cut", "no UTF-8"],
)
def test_wrong_binary_frames_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        V2.decode(Opcode.BINARY, data)


@pytest.mark.parametrize("serializer", [V1, V2])
@pytest.mark.parametrize(
    "template",
    [b'["1", "2", "t", "e", %b]', b'{"topic": "t", "event": "e", "payload": %b, "ref": 1}'],
    ids=["array", "object"],
)
def test_deeply_nested_json_is_malformed(serializer: Serializer, template: bytes) -> None:
    with pytest.raises(MalformedError):
        serializer.decode(Opcode.TEXT, template % (b"[" * 100_000 + b"]" * 100_000))


@given(st.sampled_from(list(SERIALIZERS)), st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.binary())
def test_random_bytes_are_a_message_or_malformed(version: str, opcode: Opcode, data: bytes) -> None:
    try:
        message = SERIALIZERS[version].decode(opcode, data)
    except MalformedError:
        return
    assert isinstance(message, Message)


@given(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=5))
def test_payload_passes_unchanged(payload: object) -> None:
    data = msgspec.json.encode(["1", "2", "t", "broadcast", {"payload": payload}])
    message = V2.decode(Opcode.TEXT, data)
    opcode, sent = unwrapped(V2.push("t", "broadcast", message.payload))
    assert fields(V2.decode(opcode, sent))[4] == fields(message)[4]
