"""JSON bodies of ingest: the service keeps text of every script unchanged, and no body makes it fail."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.support.ingest import Sender, conversation, message

NOT_JSON = {"error": "Request body is not valid JSON"}
GOOD = conversation(message("good"), external_id="good")


def encode(body: dict[str, Any]) -> bytes:
    """Encode as ASCII, which can express half a surrogate pair."""
    return json.dumps(body).encode("ascii")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e7\U0001f1f7 e\u0301",
        "\u202b\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd\u202c",
        "\u4f60\u597d\u3002\u308f\u304b\u308a\u307e\u3057\u305f",
        "\x01\x02\x1f\x7f\x80\ufffe\uffff\U0010ffff",
        "\\u0000 \\\\ud800 \\' \" $1 %s {} '); drop table public.conversations; --",
        "60 kB " + "\u00fc" * 30_000,
    ],
    ids=[
        "empty",
        "blanks",
        "joined emoji",
        "right to left",
        "Chinese and Japanese",
        "control characters",
        "escapes and SQL",
        "60 kB",
    ],
)
def test_text_is_stored_unchanged(sender: Sender, text: str) -> None:
    sent = message("odd", content=text, author=text, **{f"key {text[:100]}": text})
    for body in (sender.request(conversation(sent)), sender.request(conversation(sent, participant_name=text[:500]))):
        assert sender.send(encode(body)).json()["processed"] == 1
    assert sender.stored_messages() == [sent]
    assert sender.inconsistencies() == []


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("a\0b", "a\ufffdb"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00b", "\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d\0\ud83d\ude00", "\ufffd\ufffd\U0001f600"),
        ("\0 \\u0000 \\\\ud83d", "\ufffd \\u0000 \\\\ud83d"),
    ],
    ids=[
        "NUL",
        "first half of a pair",
        "second half of a pair",
        "halves in the wrong order",
        "NUL before a pair",
        "NUL beside written escapes",
    ],
)
def test_unstorable_characters_are_replaced(sender: Sender, sent: str, stored: str) -> None:
    reply = sender.send(encode(sender.request(conversation(message("odd", content=sent, author=sent)), GOOD)))
    assert [result["status"] for result in reply.json()["results"]] == ["created", "created"]
    assert sender.stored_messages() == [message("good"), message("odd", content=stored, author=stored)]


def test_id_with_a_nul_stays_one_conversation(sender: Sender) -> None:
    for _ in range(2):
        sender.send(encode(sender.request(conversation(message("a\0"), external_id="chat\0"))))
    assert sender.stored() == {"chat\ufffd": ["a\ufffd"]}


@pytest.mark.parametrize("number", ["1e400", "-0", "1e-400", "9" * 1000, "0.1e1"])
def test_numbers_of_any_size_are_kept(sender: Sender, number: str) -> None:
    body = encode(sender.request(conversation(message("odd", size="?")))).replace(b'"?"', number.encode())
    assert sender.send(body).json()["processed"] == 1
    assert sender.stored_messages() == [message("odd", size=Decimal(number))]


@pytest.mark.parametrize("depth", [90, 1_000_000])
def test_deep_nesting_is_stored_or_refused(sender: Sender, depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    reply = sender.send(encode(sender.request(conversation(message("odd", extra="?")), GOOD)).replace(b'"?"', nested))
    if depth == 90:
        assert (reply.status_code, sender.stored()) == (200, {"chat": ["odd"], "good": ["good"]})
    else:
        assert (reply.status_code, reply.json()) == (400, NOT_JSON)


def test_last_of_duplicate_keys_counts(sender: Sender) -> None:
    body = encode(sender.request(conversation(message("odd", content="last"))))
    reply = sender.send(body.replace(b'"content"', b'"content": "first", "content"'))
    assert reply.status_code == 200
    assert sender.stored_messages() == [message("odd", content="last")]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\n\t "], ids=["none", "BOM", "space"])
def test_bom_or_space_before_the_json_is_ignored(sender: Sender, start: bytes) -> None:
    assert sender.send(start + encode(sender.request(GOOD))).json()["processed"] == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"platform": "whatsapp",}',
        b"{'platform': 'whatsapp'}",
        b"{} {}",
        b'{"platform": NaN}',
        b'{"platform": -Infinity}',
        b'{"platform": 1e999999}',
        b'{"platform": "\x00"}',
        b'{"platform": "\n"}',
        b'{"platform": "\\u00"}',
        b'{"platform": "\\ud83d" "\\u0000"}',
        b'{"platform": "\xff"}',
        b'{"platform": "\xed\xa0\x80"}',
        b"platform=whatsapp",
        pytest.param('{"platform": "whatsapp"}'.encode("utf-16"), id="UTF-16"),
        pytest.param('{"platform": "whatsapp"}'.encode("utf-32-le"), id="UTF-32"),
        b"\x1f\x8b\x08\x00",
    ],
    ids=ascii,
)
def test_body_other_than_utf_8_json_is_400(stranger: Sender, body: bytes) -> None:
    reply = stranger.send(body)
    assert (reply.status_code, reply.json()) == (400, NOT_JSON)


@pytest.mark.parametrize(
    "wrong",
    [None, 5, "text", [], {}, {"messages": []}, conversation(5), conversation({}), conversation(None, message("a"))],
    ids=[
        "null",
        "number",
        "text",
        "array",
        "empty",
        "only messages",
        "message is a number",
        "message is empty",
        "message is null",
    ],
)
def test_wrong_conversation_does_not_affect_others(sender: Sender, wrong: object) -> None:
    reply = sender.post(wrong, GOOD)
    assert reply.status_code == 200
    refused, stored = reply.json()["results"]
    assert refused["status"].startswith("error: ")
    assert stored["status"] == "created"
    assert sender.stored() == {"good": ["good"]}
