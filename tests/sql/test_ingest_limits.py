"""sql/130 to sql/133: a field at its limit is stored, and one step beyond it is an error."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.support.calls import ingest
from tests.support.database import Db, rows
from tests.support.ingest import conversation, message

AT = "2026-02-01T11:00:00Z"
PHONE = {"kind": "phone", "value": "+4915123456789"}


class Limit(NamedTuple):
    """The least and the greatest number of a thing, what a request with this number is, and the error beyond."""

    least: int
    most: int
    given: Callable[[int], dict[str, Any]]
    error: str


def text(number: int) -> str:
    return "\u00e9" * number  # two bytes


def group(*messages: Any, **fields: Any) -> dict[str, Any]:
    return conversation(*messages, **{"kind": "group", **fields})


def one(**fields: Any) -> dict[str, Any]:
    """Return a group with one participant."""
    return group(participants=[{"identifier": "x", **fields}])


def update(type_: str, message_id: str = "m1", **fields: Any) -> dict[str, Any]:
    return conversation(updates=[{"message_id": message_id, "type": type_, "at": AT, **fields}])


EMOJI = "emoji must be null, a string of at most 100 characters or an array of at most 20 of them"
LIMITS = [
    Limit(1, 500, lambda n: conversation(external_id=text(n)), "external_conversation_id must be a string of 1 to 500"),
    Limit(1, 500, lambda n: conversation(participant_identifier=text(n)), "participant_identifier must be a string"),
    Limit(0, 500, lambda n: conversation(participant_name=text(n)), "participant_name must be a string of at most 500"),
    Limit(0, 500, lambda n: group(title=text(n)), "title must be a string of at most 500 characters"),
    Limit(0, 500, lambda n: conversation(title=text(n)), "title must be a string of at most 500 characters"),
    Limit(1, 500, lambda n: conversation(message(text(n))), "messages[0].id must be a string of 1 to 500 characters"),
    Limit(0, 500, lambda n: group(message(sender=text(n))), "messages[0].sender must be a string of at most 500"),
    Limit(0, 20, lambda n: conversation(identifiers=[PHONE] * n), "identifiers must be an array of at most 20 objects"),
    Limit(0, 1000, lambda n: group(participants=[{"identifier": "x"}] * n), "participants must be an array of at most"),
    Limit(1, 500, lambda n: one(identifier=text(n)), "participants[0].identifier must be a string of 1 to 500"),
    Limit(0, 500, lambda n: one(name=text(n)), "participants[0].name must be a string of at most 500 characters"),
    Limit(0, 20, lambda n: one(identifiers=[PHONE] * n), "participants[0].identifiers must be an array of at most 20"),
    Limit(1, 500, lambda n: update("read", text(n)), "updates[0].message_id must be a string of 1 to 500 characters"),
    Limit(0, 500, lambda n: update("read", by=text(n)), "updates[0].by must be a string of at most 500 characters"),
    Limit(0, 100, lambda n: update("reaction", emoji=text(n)), f"updates[0].{EMOJI}"),
    Limit(1, 100, lambda n: update("reaction", emoji=[text(n)]), f"updates[0].{EMOJI}"),
    Limit(0, 20, lambda n: update("reaction", emoji=["x"] * n), f"updates[0].{EMOJI}"),
    Limit(0, 1000, lambda n: update("failed", reason=text(n)), "updates[0].reason must be a string of at most 1000"),
    Limit(
        0,
        500,
        lambda n: group(updates=[{"message_id": "m", "type": "read", "at": AT, "sender": text(n)}]),
        "updates[0].sender must be a string of at most 500 characters",
    ),
]


def test_field_at_its_limit_is_stored_and_beyond_is_not(db: Db) -> None:
    within = [limit.given(number) for limit in LIMITS for number in (limit.least, limit.most)]
    stored = ingest(db, *({"external_conversation_id": f"{n}", **given} for n, given in enumerate(within)))
    assert [status for status in stored.statuses if status.startswith("error")] == []
    beyond = [(limit, number) for limit in LIMITS for number in (limit.least - 1, limit.most + 1) if number >= 0]
    refused = ingest(db, *(limit.given(number) for limit, number in beyond))
    for status, (limit, number) in zip(refused.statuses, beyond, strict=True):
        assert status.startswith(f"error: {limit.error}"), number


IDENTIFIERS = {
    " must be an object": ["x", 5, None, []],
    ".kind must be phone, whatsapp_lid, whatsapp_bsuid, signal_uuid, telegram_id, telegram_username, wechat_openid, "
    "wechat_unionid, email": [{}, {"kind": "fax", "value": "1"}, {"kind": None}, {"kind": "other", "value": "x"}],
    ".value must be a valid phone": [{"kind": "phone", "value": bad} for bad in ("x", "", None, 49151234567)],
    ".value must be a valid email": [{"kind": "email", "value": bad} for bad in ("x", f"{'x' * 495}@b.com")],
    ".app must be the WeChat app of an openid, and is for openids only": [
        {"kind": "wechat_openid", "value": "oabcdef"},
        {"kind": "wechat_openid", "value": "oabcdef", "app": ""},
        {"kind": "wechat_openid", "value": "oabcdef", "app": "a b"},
        {"kind": "wechat_openid", "value": "oabcdef", "app": "x" * 101},
        {**PHONE, "app": "wx1"},
    ],
}


@pytest.mark.parametrize("error", IDENTIFIERS)
def test_bad_identifier_gets_an_error_with_its_place(db: Db, error: str) -> None:
    for bad in IDENTIFIERS[error]:
        (status,) = ingest(db, conversation(identifiers=[PHONE, bad, bad])).statuses
        assert status == f"error: identifiers[1]{error}"
        (status,) = ingest(db, one(identifiers=[PHONE, bad])).statuses
        assert status == f"error: participants[0].identifiers[1]{error}"


def test_identifiers_are_stored_in_one_form(db: Db) -> None:
    given = [
        {"kind": "phone", "value": " +49 (151) 234-56789 "},
        {"kind": "email", "value": " Ann@X.Example "},
        {"kind": "wechat_openid", "value": "oabcdef", "app": "wx1"},
        {"kind": "wechat_openid", "value": "oabcdef", "app": "x" * 100},
    ]
    assert ingest(db, conversation(identifiers=given)).statuses == ["created"]
    known = "select kind, value, app, key from public.conversation_identifiers order by kind, app"
    assert rows(db, known) == [
        ("email", "ann@x.example", "", "email::ann@x.example"),
        ("phone", "+4915123456789", "", "phone:456789"),
        ("wechat_openid", "oabcdef", "wx1", "wechat_openid:wx1:oabcdef"),
        ("wechat_openid", "oabcdef", "x" * 100, f"wechat_openid:{'x' * 100}:oabcdef"),
    ]
