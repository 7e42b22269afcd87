"""GET /api/v2/channels and /api/v2/channels/{id}/events over HTTP."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.cluster import TestCluster
from tests.support.team import Team, running_service
from tests.support.tokens import bearer, token
from tests.support.world import UNKNOWN_ID


@pytest.fixture(scope="module")
def team(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Two members of one channel, without a limit of requests."""
    log = tmp_path_factory.mktemp("channels") / "log"
    with running_service(cluster, template, log) as running:
        yield Team.create(running.client, running.database_url)


def read(team: Team, path: str | None = None, user_id: str | None = None, **query: object) -> httpx.Response:
    """Request the events of a channel."""
    headers = bearer(token(user_id or team.user_ids[0]))
    return team.client.get(f"/api/v2/channels/{path or team.channel_id}/events", params=query, headers=headers)


def test_catch_up_returns_missed_events(team: Team) -> None:
    sent = team.send("hello")
    answer = read(team, since=2)
    assert answer.status_code == 200
    (event,) = answer.json()["data"]
    assert event.pop("event") == "message.created"
    assert event["payload"].pop("display_name").startswith("team_")
    assert event == {"payload": sent.json()["data"] | {"seq": 3, "prev_seq": 2, "avatar_url": None}}
    assert answer.json()["meta"] == {"last_seq": 3, "has_more": False, "is_incomplete": False}
    assert "ratelimit-remaining" in answer.headers


def test_catch_up_reads_limit_and_since(team: Team) -> None:
    answer = read(team, since="1", limit="1").json()
    assert [entry["payload"]["seq"] for entry in answer["data"]] == [2]
    assert answer["meta"] == {"last_seq": 2, "has_more": True, "is_incomplete": False}


@pytest.mark.parametrize("query", [{"since": "x"}, {"since": "-1"}, {"since": ""}, {"limit": 0}, {"limit": "all"}])
def test_wrong_query_is_400(team: Team, query: dict[str, object]) -> None:
    answer = read(team, **query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_field")


@pytest.mark.parametrize(("path", "status"), [(UNKNOWN_ID, 404), ("not-a-uuid", 400), ("%00", 400), ("%ED%A0%80", 400)])
def test_unknown_or_wrong_channel_is_404_or_400(team: Team, path: str, status: int) -> None:
    answer = read(team, path)
    assert (answer.status_code, answer.json()["success"]) == (status, False)


def test_non_member_gets_404(team: Team) -> None:
    assert read(team, user_id=UNKNOWN_ID).status_code == 404
    assert team.client.get(f"/api/v2/channels/{team.channel_id}/events").status_code == 401


def test_channel_of_the_path_wins_over_the_query(team: Team) -> None:
    assert read(team, UNKNOWN_ID, channel_id=team.channel_id).status_code == 404


def my_channels(team: Team, user_id: str, **query: object) -> httpx.Response:
    """Request the channels of a user."""
    return team.client.get("/api/v2/channels", params=query, headers=bearer(token(user_id)))


def test_list_of_channels_counts_what_is_unread(team: Team) -> None:
    author, reader = team.user_ids[:2]
    before = my_channels(team, reader).json()["data"][0]["unread_count"]
    sent = team.send(f"<@{reader}> look").json()["data"]
    answer = my_channels(team, reader)
    assert answer.status_code == 200
    assert answer.json()["meta"] == {"has_more": False}
    (channel,) = answer.json()["data"]
    assert channel["id"] == team.channel_id
    assert (channel["unread_count"], channel["mention_count"]) == (before + 1, 1)
    assert channel["last_message"]["id"] == sent["id"]
    assert {member["user_id"] for member in channel["members"]} == set(team.user_ids)
    (own,) = my_channels(team, author).json()["data"]
    assert (own["unread_count"], own["mention_count"]) == (0, 0)
    assert my_channels(team, reader, offset=1).json()["data"] == []
    assert "ratelimit-remaining" in answer.headers


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "all"}, {"offset": -1}])
def test_wrong_page_of_channels_is_400(team: Team, query: dict[str, object]) -> None:
    answer = my_channels(team, team.user_ids[0], **query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_field")


def test_list_of_channels_needs_a_token(team: Team) -> None:
    assert team.client.get("/api/v2/channels").status_code == 401
