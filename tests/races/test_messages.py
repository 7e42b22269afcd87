"""Many concurrent calls in one channel: nothing is lost, duplicated or skipped, and there is no deadlock."""

import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

import httpx
import psycopg
import pytest
from psycopg import IsolationLevel
from psycopg.errors import SerializationFailure

from tests.support.database import become
from tests.support.ingest import in_parallel
from tests.support.service import Service
from tests.support.team import Running, Team

WAITING = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
SAY = "insert into public.messages (channel_id, user_id, content) values (%(channel)s, %(user)s, 'a')"
LOCK = "select private.lock_channel(%(channel)s)"


@pytest.fixture(scope="module")
def service(running: Running) -> Service:
    """Return the service whose log conftest.py checks after every race."""
    return running.service


@pytest.fixture
def team(running: Running) -> Iterator[Team]:
    """Create twelve users; afterwards, check log and counters, and that no call was retried."""
    service, client, database_url = running
    before = len(service.failures)
    team = Team.create(client, database_url, 12)
    yield team
    assert team.inconsistencies() == []
    assert service.failures[before:] == []


def statuses(replies: list[httpx.Response]) -> Counter[int]:
    return Counter(reply.status_code for reply in replies)


def test_concurrent_editors_lose_no_version(team: Team) -> None:
    message_id = team.sent_id("0")
    contents = [f"{editor} {step}" for editor in range(2) for step in range(20)]

    def edit(editor: int) -> list[httpx.Response]:
        mine = contents[editor * 20 : editor * 20 + 20]
        return [team.request("PUT", f"/{message_id}", json={"content": content}) for content in mine]

    replies = in_parallel([lambda: edit(0), lambda: edit(1)])
    assert statuses([*replies[0], *replies[1]]) == {200: 40}
    last = team.request("GET", f"/{message_id}").json()["data"]["content"]
    versions = team.request("GET", f"/{message_id}/edits").json()["data"]
    assert [one["version"] for one in versions] == list(range(1, 41))
    assert sorted([*(one["content"] for one in versions), last]) == sorted(["0", *contents])


def test_fifty_concurrent_reactions_are_all_stored(team: Team) -> None:
    message_id = team.sent_id()

    def react(number: int) -> httpx.Response:
        return team.request("PUT", f"/{message_id}/reactions/{number // 10}", who=number % 10)

    assert statuses(in_parallel([lambda number=number: react(number) for number in range(50)])) == {200: 50}
    reactions = team.history()["data"][0]["reactions"]
    assert sorted((one["emoji"], one["count"]) for one in reactions) == [(str(emoji), 10) for emoji in range(5)]


@pytest.mark.parametrize("times", [50, 51])
def test_concurrent_toggles_take_turns(team: Team, times: int) -> None:
    message_id = team.sent_id()

    def toggle() -> httpx.Response:
        return team.request("POST", f"/{message_id}/react", json={"emoji": "fire"})

    replies = in_parallel([toggle] * times)
    assert statuses(replies) == {200: times}
    actions = Counter(reply.json()["meta"]["action"] for reply in replies)
    assert actions == {"added": (times + 1) // 2, "removed": times // 2}
    assert team.request("GET", f"/{message_id}").json()["data"]["reaction_count"] == times % 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/pin", None),
        ("PUT", "/reactions/fire", None),
        ("POST", "/react", {"emoji": "fire"}),
        ("POST", "/thread", {"content": "reply"}),
        ("PUT", "", {"content": "edited"}),
        ("DELETE", "/pin", None),
    ],
)
def test_writes_run_before_or_after_a_concurrent_deletion(
    team: Team, method: str, path: str, body: dict[str, str] | None
) -> None:
    messages = [team.sent_id(str(number)) for number in range(12)]
    if method == "DELETE":
        for message_id in messages:
            team.request("POST", f"/{message_id}/pin")
    replies = in_parallel(
        [
            call
            for message_id in messages
            for call in (
                lambda message_id=message_id: team.request(method, f"/{message_id}{path}", json=body),
                lambda message_id=message_id: team.request("DELETE", f"/{message_id}"),
            )
        ]
    )
    assert statuses(replies[1::2]) == {200: 12}
    late = [reply.json()["error"] for reply in replies[::2] if reply.status_code >= 300]
    assert {reply.status_code for reply in replies[::2]} <= {200, 201, 404}
    assert {error["code"] for error in late} <= {"message_not_found", "parent_not_found"}


def test_concurrent_pins_and_unpins_stay_consistent(team: Team) -> None:
    message_id = team.sent_id()

    def turn(who: int) -> list[httpx.Response]:
        return [team.request(("POST", "DELETE")[(who + step) % 2], f"/{message_id}/pin", who) for step in range(15)]

    replies = [reply for part in in_parallel([lambda who=who: turn(who) for who in range(8)]) for reply in part]
    assert statuses(replies) == {200: 120}
    assert all(reply.json()["data"] is not None for reply in replies)


def test_pages_skip_and_repeat_nothing_during_writes(team: Team) -> None:
    there = {team.sent_id(f"there {number}", number % 12) for number in range(60)}
    gone, done = [team.sent_id("to be deleted") for _ in range(20)], threading.Event()

    def write(who: int) -> None:
        number = 0
        while not done.is_set() and number < 60:
            team.sent_id(f"{who} {number}", who)
            number += 1

    def delete() -> None:
        for message_id in gone:
            team.request("DELETE", f"/{message_id}")

    def walk(direction: str) -> list[str]:
        found, page = [], team.history(limit=20, **({} if direction == "before" else {"after": "seq_0"}))
        while True:
            part = [message["id"] for message in page["data"]]
            found += part if direction == "before" else part[::-1]
            if page["meta"]["next_cursor"] is None or (direction == "after" and there <= set(found)):
                return found
            page = team.history(limit=20, **{direction: page["meta"]["next_cursor"]})

    with ThreadPoolExecutor(9) as threads:
        others = [*(threads.submit(write, who) for who in range(8)), threads.submit(delete)]
        try:
            for direction in ("before", "after", "before"):
                found = walk(direction)
                assert len(found) == len(set(found))
                assert there <= set(found)
                newest_first = found if direction == "before" else found[::-1]
                query = "select id::text from public.messages where id = any(%s::uuid[]) order by seq desc"
                assert newest_first == team.query(query, found)
        finally:
            done.set()
        for other in others:
            other.result()


def test_mixed_concurrent_calls_stay_consistent(team: Team) -> None:
    messages = [team.sent_id(str(number), number % 12) for number in range(6)]
    seen: Counter[int] = Counter()

    def storm(who: int) -> None:
        chance = random.Random(who)
        for step in range(40):
            message_id = f"/{chance.choice(messages[-8:])}"
            method, path, body = chance.choice(
                [
                    ("POST", "", {"channel_id": team.channel_id, "content": f"{who} {step}"}),
                    ("POST", f"{message_id}/thread", {"content": f"{who} {step}"}),
                    ("PUT", message_id, {"content": f"{who} {step}"}),
                    ("DELETE", f"{message_id}?admin={'true' if who == 0 else 'false'}", None),
                    ("POST", f"{message_id}/react", {"emoji": chance.choice("abc")}),
                    ("PUT", f"{message_id}/reactions/a", None),
                    ("DELETE", f"{message_id}/reactions/a", None),
                    ("POST", f"{message_id}/pin", None),
                    ("DELETE", f"{message_id}/pin", None),
                    ("GET", f"/history?channel_id={team.channel_id}&limit=5", None),
                ]
            )
            reply = team.request(method, path, who, json=body)
            seen[reply.status_code] += 1
            if reply.status_code == 201:
                messages.append(reply.json()["data"]["id"])

    in_parallel([lambda who=who: storm(who) for who in range(12)])
    assert seen.keys() <= {200, 201, 403, 404}, seen
    assert seen[200] > 100
    total = team.query(
        "select count(*) from public.messages where channel_id = %s and deleted_at is null", team.channel_id
    )
    assert team.history()["meta"]["total"] == total[0]


# Postgres runs READ UNCOMMITTED as READ COMMITTED.
@pytest.mark.parametrize("isolation", list(IsolationLevel)[1:])
def test_search_drops_deleted_messages_during_writes(team: Team, isolation: IsolationLevel) -> None:
    done = threading.Event()
    parameters = {"channel": team.channel_id, "user": team.user_ids[0]}

    def repeat(*statements: str, times: int) -> int:
        """Write as service_role, without the endpoints. Return how many rows changed."""
        changed = successes = 0
        with psycopg.connect(team.database_url) as db:
            db.isolation_level = isolation
            while successes < times or not (times or done.is_set()):
                with suppress(psycopg.errors.SerializationFailure), db.transaction():
                    changed += [db.execute(statement, parameters).rowcount for statement in statements][-1]
                    successes += 1
        return changed

    def delete() -> int:
        try:
            return repeat(LOCK, "delete from public.messages where channel_id = %(channel)s", times=40)
        finally:
            done.set()

    def write() -> int:
        return repeat(SAY, times=0)

    def edit() -> int:
        return repeat(LOCK, "update public.messages set content = 'b' where channel_id = %(channel)s", times=0)

    assert min(in_parallel([delete, write, write, edit])) > 0


def test_slow_request_does_not_block_others_of_its_user(team: Team) -> None:
    (other,) = team.query(
        "insert into public.channels (name, created_by) values ('other', %s) returning id::text", team.user_ids[0]
    )
    with psycopg.connect(team.database_url) as db:
        # Lock the first channel, so that a message to it waits.
        db.execute("select private.lock_channel(%s)", (team.channel_id,))
        with ThreadPoolExecutor() as threads:
            slow = threads.submit(team.send, "slow")
            while not db.execute(WAITING).fetchall():
                assert not slow.done()
            quick = threads.submit(team.send, "quick", channel_id=other)
            assert quick.result(timeout=20).status_code == 201
            assert not slow.done()
            db.rollback()
            assert slow.result(timeout=20).status_code == 201


AGAIN = """
insert into public.messages (id, channel_id, content) values (%s, %s, 'once') on conflict (id) do nothing returning 1
"""


def test_message_sent_many_times_is_stored_once(team: Team) -> None:
    def insert(message_id: str) -> int:
        with psycopg.connect(team.database_url) as db:
            become(db, team.user_ids[0])
            return db.execute(AGAIN, (message_id, team.channel_id)).rowcount

    for _ in range(5):
        assert sorted(in_parallel([partial(insert, str(uuid.uuid4()))] * 8)) == [0] * 7 + [1]


def test_id_sent_to_two_channels_is_stored_in_one(team: Team) -> None:
    (other,) = team.query(
        "insert into public.channels (name, created_by) values ('other', %s) returning id::text", team.user_ids[0]
    )
    message_id = str(uuid.uuid4())

    def insert() -> int:
        with psycopg.connect(team.database_url) as db:
            become(db, team.user_ids[0])
            inserted = db.execute(AGAIN, (message_id, other)).rowcount
            db.commit()
            return inserted

    with psycopg.connect(team.database_url) as first, ThreadPoolExecutor() as threads:
        become(first, team.user_ids[0])
        first.execute(AGAIN, (message_id, team.channel_id))
        second = threads.submit(insert)
        with psycopg.connect(team.database_url, autocommit=True) as watcher:
            while not watcher.execute(WAITING).fetchall():
                assert not second.done()
        first.commit()
        with pytest.raises(SerializationFailure):
            second.result(timeout=20)
    assert insert() == 0
    assert team.query("select kind from public.message_events where channel_id = %s", other) == ["member.joined"]
    assert replace(team, channel_id=other).inconsistencies() == []


def test_one_of_concurrently_leaving_owners_stays(team: Team) -> None:
    for _ in range(5):
        team.query(
            "update public.channel_members set role = 'owner' where channel_id = %s returning 1", team.channel_id
        )

        def step_down(who: int) -> bool:
            statement = (
                "delete from public.channel_members where (channel_id, user_id) = (%s, %s)"
                if who % 2
                else "update public.channel_members set role = 'member' where (channel_id, user_id) = (%s, %s)"
            )
            with psycopg.connect(team.database_url) as db:
                become(db, team.user_ids[who])
                try:
                    return db.execute(statement, (team.channel_id, team.user_ids[who])).rowcount == 1
                except psycopg.Error as error:
                    if error.sqlstate != "PT409":
                        raise
                    return False

        left = in_parallel([lambda who=who: step_down(who) for who in range(12)])
        assert left.count(False) == 1
        owners = "select user_id from public.channel_members where channel_id = %s and role = 'owner'"
        assert len(team.query(owners, team.channel_id)) == 1
        team.query(
            "insert into public.channel_members (channel_id, user_id) select %s, unnest(%s::uuid[]) "
            "on conflict do nothing returning 1",
            team.channel_id,
            team.user_ids,
        )
