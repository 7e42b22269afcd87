"""A team talks in a channel over `/api/v2/messages`."""

import uuid
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.supabase.target import Target, User


@dataclass(frozen=True)
class Team:
    """A channel with its owner and a member."""

    target: Target
    channel_id: str
    owner: User
    member: User

    def say(self, content: str, user: User | None = None, **headers: str) -> httpx.Response:
        body = {"channel_id": self.channel_id, "content": content}
        return self.target.messages(user or self.owner, "POST", "", body, **headers)

    def data(self, user: User, method: str, path: str, body: Any = None) -> Any:
        """Return the data of an answer; raise AssertionError if the call is rejected."""
        reply = self.target.messages(user, method, path, body)
        assert reply.is_success, reply.text
        return reply.json()["data"]

    def history(self) -> list[str]:
        return [each["content"] for each in self.data(self.member, "GET", f"/history?channel_id={self.channel_id}")]


@pytest.fixture
def team(service_target: Target) -> Team:
    """A new channel."""
    owner, member = service_target.sign_up(), service_target.sign_up()
    channel_id = service_target.create_channel(owner, member)
    return Team(service_target, channel_id, owner, member)


def test_message_is_created_edited_and_deleted(team: Team) -> None:
    message_id = team.say("Hello wrold").json()["data"]["id"]
    assert team.history() == ["Hello wrold"]
    team.data(team.owner, "PUT", f"/{message_id}", {"content": "Hello world"})
    team.data(team.member, "POST", f"/{message_id}/thread", {"content": "Hello to you"})
    team.data(team.member, "POST", f"/{message_id}/react", {"emoji": "wave"})
    found = team.data(team.member, "GET", "/search?query=world")
    assert [each["id"] for each in found] == [message_id]
    assert team.data(team.member, "GET", f"/{message_id}")["reaction_count"] == 1
    team.data(team.owner, "DELETE", f"/{message_id}")
    assert "Hello world" not in team.history()


def test_data_api_shows_the_same_message(team: Team) -> None:
    message_id = team.say("Hello").json()["data"]["id"]
    rows = team.target.rest(team.member, "GET", f"messages?select=id,content&channel_id=eq.{team.channel_id}")
    assert rows == [{"id": message_id, "content": "Hello"}]


def test_repeated_call_gets_the_same_answer(team: Team) -> None:
    key = str(uuid.uuid4())
    first, second = [team.say("once", **{"idempotency-key": key}) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert team.history() == ["once"]


def test_non_member_can_neither_read_nor_write(team: Team) -> None:
    message_id = team.say("secret").json()["data"]["id"]
    stranger = team.target.sign_up()
    assert team.say("let me in", stranger).status_code == 404
    assert team.target.messages(stranger, "GET", f"/{message_id}").status_code == 404
    assert team.target.messages(stranger, "GET", "/search?query=secret").json()["data"] == []


@pytest.mark.parametrize("authorization", [None, "Bearer nonsense"])
def test_anon_is_rejected(service_target: Target, authorization: str | None) -> None:
    headers = {"authorization": authorization} if authorization else {}
    reply = service_target.messages(None, "GET", f"/history?channel_id={uuid.uuid4()}", **headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_token")
