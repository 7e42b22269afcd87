"""Acknowledged data survives every fault, and the checker finds violations."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from threadline_devstack.keys import PUBLISHABLE_KEY

from tests.faults.bugs import BUGS, seeded
from tests.faults.clients import Arena
from tests.faults.history import violations
from tests.faults.world import FAULTS, World
from tests.support.disk import filled, refusal
from tests.support.following import following, python
from tests.support.soak import IS_SOAK, bounded

pytestmark = pytest.mark.timeout(bounded(120, 600))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world")) as running:
        yield running


def test_faults_lose_and_duplicate_nothing(world: World) -> None:
    def listening(arena: Arena) -> Any:
        url = f"http://127.0.0.1:{world.socket_line.port}"
        return following(python(), url, PUBLISHABLE_KEY, arena.tokens[-1], arena.channel_id)

    # One start of the whole stack is enough for `make test`.
    faults = [fault for fault in FAULTS if IS_SOAK or fault != "exhaust_log"]
    history, outcome, happened = world.play(20, bounded(5, 120), 6, faults, listening)
    answered = Counter(call.verb for call in history.calls if call.status in {200, 201})
    print(f"{len(history.calls)} calls, answered: {dict(answered)}; faults: {dict(Counter(happened))}")
    assert violations(history, outcome) == []
    assert world.leftovers() == []
    assert set(happened) == set(faults)


@pytest.mark.skipif(refusal() is not None, reason=f"Full only for new rows: {refusal()}")
def test_postgres_sees_the_full_disk(world: World) -> None:
    with psycopg.connect(world.url, autocommit=True) as db:
        db.execute("create unlogged table faults.ballast (content text)")
        grow = "insert into faults.ballast select repeat('x', 1000) from generate_series(1, 100)"
        with filled(world.disk), pytest.raises(psycopg.errors.DiskFull):
            db.execute(grow)
        db.execute(grow)


@pytest.mark.parametrize("name", BUGS if IS_SOAK else list(BUGS)[:5])
def test_checker_finds_each_seeded_bug(world: World, name: str) -> None:
    with seeded(world.url, BUGS[name]):
        history, outcome, _ = world.play(12, bounded(0.5, 2), 6, faults=("cut_lines",))
    assert {each.partition(":")[0] for each in violations(history, outcome)} >= {BUGS[name].caught_by}
