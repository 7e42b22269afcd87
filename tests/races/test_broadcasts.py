"""Many writers in one channel: broadcasts and catching up both equal the event log."""

import httpx
import pytest

from tests.support.ingest import in_parallel
from tests.support.service import Service
from tests.support.team import Running, Team
from tests.support.tokens import bearer, token

SENT = """
select event, payload from realtime.messages where topic = 'channel:' || %s order by (payload ->> 'seq')::bigint
"""


@pytest.fixture(scope="module")
def service(running: Running) -> Service:
    """Return the service whose log conftest.py checks after every race."""
    return running.service


@pytest.fixture
def team(running: Running) -> Team:
    """Create eight users in a channel of their own."""
    return Team.create(running.client, running.database_url, 8)


def read_events(team: Team, since: int, who: int = 0, **parameters: int) -> httpx.Response:
    return team.client.get(
        f"/api/v2/channels/{team.channel_id}/events",
        params={"since": since, **parameters},
        headers=bearer(token(team.user_ids[who])),
    )


def write(team: Team, who: int) -> None:
    for step in range(8):
        message_id = team.sent_id(f"{who} {step}", who)
        team.request("PUT", f"/{message_id}", who, json={"content": f"{who} {step} edited"})
        team.request("POST", f"/{message_id}/pin", who)
        team.request("PUT", f"/{message_id}/reactions/fire", who)


def test_concurrent_writers_leave_no_gap_or_duplicate(team: Team) -> None:
    in_parallel([lambda who=who: write(team, who) for who in range(8)])
    sent = team.query(SENT, team.channel_id)
    assert len(sent) == 8 + 8 * 8 * 4
    assert [(payload["prev_seq"], payload["seq"]) for _, payload in sent] == [
        (seq - 1, seq) for seq in range(1, len(sent) + 1)
    ]
    answer = read_events(team, 0, limit=1000).json()
    caught_up = [(entry["event"], entry["payload"]) for entry in answer["data"]]
    assert [event for event, _ in caught_up] == [event for event, _ in sent]
    # An edit or a deletion turns earlier broadcasts of the message into pointers.
    assert [
        (mine, theirs)
        for mine, theirs in zip(caught_up, sent, strict=True)
        if mine != theirs and not theirs[1].get("truncated")
    ] == []
    assert answer["meta"] == {"last_seq": len(sent), "has_more": False, "is_incomplete": False}


def test_catch_up_during_writes_misses_nothing(team: Team) -> None:
    done = []

    def follow(who: int) -> list[int]:
        since, seen = 0, []
        while True:
            is_over = len(done) == 6
            answer = read_events(team, since, who, limit=20).json()
            seen += [entry["payload"]["seq"] for entry in answer["data"]]
            since = answer["meta"]["last_seq"]
            if is_over and not answer["meta"]["has_more"]:
                return seen

    def write_and_tell(who: int) -> None:
        write(team, who)
        done.append(who)

    results = in_parallel([lambda who=who: (write_and_tell if who < 6 else follow)(who) for who in range(8)])
    for seen in results[6:]:
        assert seen == list(range(1, 8 + 6 * 8 * 4 + 1))
