"""Values that break naive code have defined results: stored as sent, repaired, or rejected as invalid JSON."""

import json

import pytest

from tests.support.calls import ingest, post
from tests.support.database import Db, rows, value
from tests.support.ingest import conversation, message, request
from tests.support.people import read_conversation

KEPT = {
    "emoji of several characters": "\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd",
    "marks of direction": "\u202e\u05e9\u05dc\u05d5\u05dd\u202c \u200f\u0645\u0631\u062d\u0628\u0627\u200e",
    "combining marks": "Z\u0351\u036b\u0343a\u0302\u0303",
    "control characters": "\u0001\u0002 \u001b[31m \u007f \u0085 \u2028",
    "a byte order mark": "\ufeffa\ufeff",
    "what is no character": "\uffff\U0010ffff",
    "an invalid escape": "\\u0000 \\ud800 C:\\users\\",
    "backslashes": "\\" * 7,
    "quotes": "'; drop table people; -- \" $$ %s {}",
    "markup": "<script>alert(1)</script>&amp;",
}
MENDED = {
    "nul": ("a\x00b", "a\ufffdb"),
    "nul behind a backslash": ("\\\x00\\u0000", "\\\ufffd\\u0000"),
    "half a pair": ("\ud83d b", "\ufffd b"),
    "the other half": ("a \ude00", "a \ufffd"),
    "halves in the wrong order": ("\ude00\ud83d", "\ufffd\ufffd"),
    "one half too many": ("\ud83d\ud83d\ude00\ude00", "\ufffd\U0001f600\ufffd"),
    "nul beside a pair": ("\x00\U0001f600\\\U0001f600", "\ufffd\U0001f600\\\U0001f600"),
}
VALUES = {**{name: (text, text) for name, text in KEPT.items()}, **MENDED}


@pytest.mark.parametrize("name", VALUES)
def test_hostile_text_is_stored_in_every_field(db: Db, name: str) -> None:
    given, stored = VALUES[name]
    sent = message(given, content=given, media_url=given, **{given: given})
    ingest(
        db,
        conversation(sent, external_id=given, participant_identifier=given, participant_name=f"({given})"),
    )
    found = read_conversation(db, stored)
    assert (found["participant_identifier"], found["participant_name"]) == (stored, f"({stored})")
    assert found["messages"] == [{**message(stored, content=stored, media_url=stored), stored: stored}]


@pytest.mark.parametrize("name", VALUES)
def test_hostile_text_sent_again_is_a_replay(db: Db, name: str) -> None:
    given, _ = VALUES[name]
    chat = conversation(message(given, content=given), external_id=given)
    assert [ingest(db, chat).statuses, ingest(db, chat).statuses] == [["created"], ["no_new_messages"]]


def test_text_of_60_kilobytes_is_stored_whole(db: Db) -> None:
    text = "".join(chr(0x4E00 + number % 20000) for number in range(20000))
    ingest(db, conversation(message(content=text)))
    stored = read_conversation(db)
    assert (stored["messages"][0]["content"], stored["last_message_preview"]) == (text, text[:100])


def test_longest_ids_fit_into_their_indexes(db: Db) -> None:
    # Four-byte characters that do not compress.
    longest = "".join(chr(0x20000 + number * 83 % 40000) for number in range(500))
    chat = conversation(message(longest), external_id=longest, participant_identifier=longest)
    assert ingest(db, chat).statuses == ["created"]


@pytest.mark.parametrize("number", ["1e999", "1e-1000", "-0.0", "1e0000001", "12345678901234567890.123", "9" * 1000])
def test_number_keeps_its_value(db: Db, number: str) -> None:
    body = json.dumps(request(conversation(message(content="all, 1e9999 of it", size="here")))).replace(
        '"here"', number
    )
    assert post(db, body.encode()).statuses == ["created"]
    assert value(db, "select (message ->> 'size')::numeric = %s::numeric from public.conversation_messages", number)


@pytest.mark.parametrize(
    "number", ["1e1000", "-1e131071", "1e-16000", "0e-1001", "[[{}, 1e9999]]", '{"n": {"n": 1E+1001}}']
)
def test_number_with_a_huge_exponent_is_rejected(db: Db, number: str) -> None:
    chats = [
        conversation(message("a"), message("b", size="here"), external_id="bad"),
        conversation(message("c"), external_id="good"),
    ]
    answer = post(db, json.dumps(request(*chats)).replace('"here"', number).encode())
    assert answer.statuses == ["error: messages[1] must not have a number of more than 1000 digits", "created"]
    assert value(db, "select array_agg(external_id) from public.conversation_messages") == ["c"]


def nested(depth: int) -> bytes:
    body = request(conversation(message(deep="here")))
    return json.dumps(body).encode().replace(b'"here"', b"[" * depth + b"]" * depth)


def test_hundred_nested_levels_are_stored_and_no_more(db: Db) -> None:
    for depth in (100, 6000):
        assert post(db, nested(depth)).statuses == ["error: messages[0] must not have more than 100 levels"]
    # The message itself is a level.
    assert post(db, nested(99)).statuses == ["created"]
    assert value(db, "select c.messages -> 0 ->> 'deep' from public.conversations c") == "[" * 99 + "]" * 99


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{}}",
        b"{'platform': 1}",
        b'{"a": NaN}',
        b'{"a": 01}',
        b'{"a": "\\x41"}',
        b'{"a": "\\ud8"}',
        b'{"a": "\\u0000" "b"}',
        b'{"a": "line\nbreak"}',
        b'{"a": "\x00"}',
        b'{"a": "\\u0000\x01"}',
        b'{"a": "\\u0000\x02"}',
        pytest.param(b'{"a": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"a": "\xed\xa0\xbd\xed\xb8\x80"}', id="surrogates in UTF-8"),
        pytest.param(b'{"a": "\xc0\x80"}', id="nul in two bytes"),
        pytest.param("{}".encode("utf-16"), id="UTF-16"),
        b'{"a": 1e400000}',
        b'{"a":-1.5E-00016383}',
        pytest.param(nested(100_000), id="a hundred thousand levels"),
    ],
)
def test_invalid_json_is_rejected(db: Db, body: bytes) -> None:
    assert post(db, body).answer == (400, {"error": "Request body is not valid JSON"})


def test_byte_order_mark_is_ignored(db: Db) -> None:
    assert post(db, b"\xef\xbb\xbf" + nested(1)).statuses == ["created"]


def test_last_of_duplicate_json_keys_wins(db: Db) -> None:
    body = nested(1).replace(b'"content": "Content of m1"', b'"content": "first", "content": "last"')
    assert post(db, body).statuses == ["created"]
    assert rows(db, "select last_message_preview from public.conversations") == ["last"]
