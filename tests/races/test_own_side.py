"""Many concurrent calls for a user's own side: one direct channel, no gap in the events of a user, no deadlock."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.database import become, value
from tests.support.ingest import in_parallel
from tests.support.service import Service
from tests.support.team import Running, Team

GAPS = """
select user_id from public.user_events group by user_id having max(seq) <> count(*) or min(seq) <> 1
"""
SHARED = "insert into public.workspaces (name, created_by) values ('shared', %s) returning id::text"
JOIN = """
insert into public.workspace_members (workspace_id, user_id, role)
select %s, id, 'owner' from unnest(%s::uuid[]) as id returning 1
"""


@pytest.fixture(scope="module")
def service(running: Running) -> Service:
    """Return the service whose log conftest.py checks after every race."""
    return running.service


@pytest.fixture
def team(running: Running) -> Iterator[Team]:
    """Create eight users; afterwards, check log, counters and events of users, and that no call was retried."""
    before = len(running.service.failures)
    team = Team.create(running.client, running.database_url, 8)
    yield team
    assert team.inconsistencies() == []
    assert team.query(GAPS) == []
    assert running.service.failures[before:] == []


def run_as(team: Team, who: int, statement: str, *parameters: object) -> object:
    with psycopg.connect(team.database_url) as db:
        become(db, team.user_ids[who])
        return value(db, statement, *parameters)


def test_concurrent_openings_make_one_channel(team: Team) -> None:
    (workspace_id,) = team.query(SHARED, team.user_ids[0])
    team.query(JOIN, workspace_id, team.user_ids)

    def open_direct(who: int) -> object:
        return run_as(team, who, "select public.open_direct(%s::uuid[]) ->> 'id'", team.user_ids)

    opened = in_parallel([lambda who=who: open_direct(who) for who in range(8)])
    assert len(set(opened)) == 1
    members = "select count(*)::int from public.channel_members where channel_id = %s"
    assert team.query(members, opened[0]) == [8]


def test_mentions_reads_and_departures_do_not_deadlock(team: Team) -> None:
    everyone = " ".join(f"<@{user_id}>" for user_id in reversed(team.user_ids))

    def work(who: int) -> None:
        for step in range(8):
            assert team.send(f"{everyone} <!channel> {step}", who).status_code == 201
            run_as(team, who, "select public.mark_read(%s, 1000000000)", team.channel_id)

    def come_and_go() -> None:
        member = (team.channel_id, team.user_ids[7])
        for _ in range(8):
            team.query("delete from public.channel_members where (channel_id, user_id) = (%s, %s) returning 1", *member)
            team.query("insert into public.channel_members (channel_id, user_id) values (%s, %s) returning 1", *member)

    in_parallel([*[lambda who=who: work(who) for who in range(7)], come_and_go])
    behind = """
    select state.user_id from public.member_states as state
    inner join private.channel_counters as counter on state.channel_id = counter.channel_id
    where state.channel_id = %s and state.read_seq > counter.last_seq
    """
    assert team.query(behind, team.channel_id) == []
    count = "select member_count::int from private.channel_counters where channel_id = %s"
    assert team.query(count, team.channel_id) == [8]


def test_devices_move_a_marker_only_forward(team: Team) -> None:
    for number in range(12):
        team.sent_id(f"{number}", 0)
    marks = in_parallel(
        [
            lambda seq=seq: run_as(team, 1, "select public.mark_read(%s, %s) ->> 'read_seq'", team.channel_id, seq)
            for seq in range(1, 21)
        ]
    )
    assert max(map(int, marks)) == 20
    state = "select read_seq::int from public.member_states where (channel_id, user_id) = (%s, %s)"
    assert team.query(state, team.channel_id, team.user_ids[1]) == [20]
