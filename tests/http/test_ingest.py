"""POST /functions/v1/messaging-ingest gives the documented answers, with their exact status and body."""

import uuid
from typing import Any

import pytest

from tests.support.ingest import PATH, Sender, conversation, message
from tests.support.sessions import session

MISSING = {"error": "Missing required fields: platform, connection_id, conversations"}
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "POST, OPTIONS",
    "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, x-api-key",
}


def test_first_messages_create_the_conversation(sender: Sender) -> None:
    reply = sender.post(conversation(message("a"), message("b")))
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    (result,) = reply.json().pop("results")
    assert uuid.UUID(result.pop("conversation_id"))
    assert result == {"messages_added": 2, "status": "created"}
    assert reply.json() | {"results": []} == {"success": True, "processed": 1, "results": []}


def test_results_follow_the_order_of_the_request(sender: Sender) -> None:
    first = sender.post(conversation(message("a"), external_id="old"), conversation(message("a"), external_id="same"))
    old, same = (result["conversation_id"] for result in first.json()["results"])
    reply = sender.post(
        conversation(message("a"), external_id="same"),
        conversation({"id": "a"}, external_id="wrong"),
        conversation(message("a"), message("b"), external_id="old"),
        conversation(message("a"), external_id="new"),
    )
    assert reply.status_code == 200
    new = reply.json()["results"][3]["conversation_id"]
    assert reply.json() == {
        "success": True,
        "processed": 3,
        "results": [
            {"conversation_id": same, "messages_added": 0, "status": "no_new_messages"},
            {
                "conversation_id": None,
                "external_conversation_id": "wrong",
                "messages_added": 0,
                "status": "error: messages[0].direction must be inbound or outbound",
            },
            {"conversation_id": old, "messages_added": 1, "status": "updated"},
            {"conversation_id": new, "messages_added": 1, "status": "created"},
        ],
    }
    assert sender.stored() == {"old": ["a", "b"], "same": ["a"], "new": ["a"]}


def test_changed_message_is_reported_as_a_conflict(sender: Sender) -> None:
    sender.post(conversation(message("a"), message("b")))
    (result,) = sender.post(conversation(message("a", content="changed"), message("b"))).json()["results"]
    assert (result["status"], result["conflicting_message_ids"]) == ("no_new_messages", ["a"])


def test_request_without_conversations_succeeds(sender: Sender) -> None:
    reply = sender.post()
    assert (reply.status_code, reply.json()) == (200, {"success": True, "processed": 0, "results": []})


@pytest.mark.parametrize(
    "fields",
    [
        {"platform": None},
        {"platform": ""},
        {"connection_id": None},
        {"connection_id": ""},
        {"conversations": None},
        {"platform": None, "connection_id": None, "conversations": None},
    ],
    ids=["no platform", "empty platform", "no connection", "empty connection", "no conversations", "no field"],
)
def test_missing_field_is_400(stranger: Sender, fields: dict[str, Any]) -> None:
    reply = stranger.post(**fields)
    assert (reply.status_code, reply.json()) == (400, MISSING)


@pytest.mark.parametrize("conversations", ["", "text", {}, 5, True], ids=str)
def test_conversations_other_than_an_array_are_400(stranger: Sender, conversations: object) -> None:
    reply = stranger.post(conversations=conversations)
    assert (reply.status_code, reply.json()) == (400, {"error": "conversations must be an array"})


@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"platform"', b"{}"])
def test_json_other_than_a_request_is_400(stranger: Sender, body: bytes) -> None:
    reply = stranger.send(body)
    assert (reply.status_code, reply.json()) == (400, MISSING)


@pytest.mark.parametrize("key", [None, ""])
def test_missing_key_is_401(stranger: Sender, key: str | None) -> None:
    reply = stranger.send(b"not even JSON", x_api_key=key)
    assert (reply.status_code, reply.json()) == (401, {"error": "Missing x-api-key header"})


@pytest.mark.parametrize("key", ["wrong", "x" * 100_000, "schl\u00fcssel", "your-api-secret"])
def test_wrong_key_is_401(sender: Sender, key: str) -> None:
    body = sender.request(conversation(message()))
    reply = sender.client.post(PATH, json=body, headers={"x-api-key": key.encode("latin-1")})
    assert (reply.status_code, reply.json()) == (401, {"error": "Invalid API key"})
    assert sender.stored() == {}


@pytest.mark.parametrize(
    "fields",
    [
        {"connection_id": "unknown"},
        {"connection_id": 5},
        {"platform": "telegram"},
        {"platform": "WhatsApp"},
        {"platform": {}},
    ],
    ids=str,
)
def test_unknown_connection_or_other_platform_is_401(sender: Sender, fields: dict[str, Any]) -> None:
    reply = sender.post(conversation(message()), **fields)
    assert (reply.status_code, reply.json()) == (401, {"error": "Invalid connection_id or platform"})


def set_active(sender: Sender, is_active: bool) -> None:
    """Activate or deactivate the connection."""
    with session(sender.database_url) as connection:
        connection.execute(
            "update public.messaging_connections set is_active = %s where connection_id = %s",
            [is_active, sender.connection_id],
        )


def test_inactive_connection_is_403_until_reactivated(sender: Sender) -> None:
    set_active(sender, False)
    reply = sender.post(conversation(message()))
    assert (reply.status_code, reply.json()) == (403, {"error": "Connection is inactive"})
    set_active(sender, True)
    assert sender.post(conversation(message())).json()["results"][0]["status"] == "created"


def test_wrong_key_does_not_reveal_an_inactive_connection(sender: Sender) -> None:
    set_active(sender, False)
    reply = sender.client.post(PATH, json=sender.request(), headers={"x-api-key": "wrong"})
    assert (reply.status_code, reply.json()) == (401, {"error": "Invalid API key"})


def test_5000_messages_are_accepted_and_5001_are_413(sender: Sender) -> None:
    messages = [message(f"{number:04}") for number in range(5001)]
    assert sender.post(conversation(*messages[:5000])).json()["results"][0]["messages_added"] == 5000
    reply = sender.post(conversation(*messages[:2500]), conversation(*messages[2500:], external_id="second"))
    assert (reply.status_code, reply.json()) == (413, {"error": "Too many messages: at most 5000 in one request"})
    assert sender.stored() == {"chat": [f"{number:04}" for number in range(5000)]}


def test_answers_allow_every_origin(stranger: Sender) -> None:
    for reply in (stranger.post(), stranger.send(b"{"), stranger.send(b"{}", x_api_key=None)):
        assert CORS.items() <= dict(reply.headers).items()
    for reply in (stranger.client.get(PATH), stranger.send(b"{}", content_type="text/plain")):
        assert reply.headers["access-control-allow-origin"] == "*"


def test_preflight_needs_no_key(stranger: Sender) -> None:
    asked = {"origin": "https://crm.example", "access-control-request-method": "POST"}
    reply = stranger.client.options(PATH, headers=asked)
    assert (reply.status_code, reply.content) == (204, b"")
    assert CORS.items() <= dict(reply.headers).items()
