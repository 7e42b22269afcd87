"""The benchmarks run and report correctly; no test checks a time."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.bench import fanout, growth, ingest, long_channel, messages, peers, reading, scale, texts
from tests.bench.crowd_calls import CASES
from tests.bench.report import MEMORY, Report
from tests.bench.setting import ENDING, SERVICE
from tests.bench.sizes import QUICK
from tests.bench.world import ROWS, Store, Target, World
from tests.support.cluster import TestCluster
from tests.support.ingest import PATH, Sender


@pytest.fixture
def world(cluster: TestCluster, template: str, service_database: str, sender: Sender) -> Iterator[World]:
    """Return a world with only the service that all tests share."""
    target = Target(SERVICE, str(sender.client.base_url), PATH, sender.connection_id, sender.secret, ROWS)
    login_url, postgres_url = (cluster.url(service_database, role) for role in ("authenticator", "postgres"))
    with psycopg.connect(cluster.url(service_database), autocommit=True) as admin:
        new_database = partial(cluster.create, template)
        yield World(admin, [target], sender.user_id, postgres_url, login_url, new_database, None, [])


def test_benchmark_reports_every_case_and_loses_nothing(world: World) -> None:
    report = Report()
    for entry in (ingest, growth, reading, messages, long_channel, fanout, scale):
        entry.measure(world, QUICK, report)
    assert report.failures == []
    first = {row.case: row.target for row in reversed(list(report.rows()))}
    assert {target for case, target in first.items() if case.startswith("create, ")} == {SERVICE}
    assert {f"{row.case}: {row.unit}" for row in report.rows()} == {
        *(f"{phase}, {number} at once: messages/s" for phase in ("fresh", "replayed") for number in (1, 2)),
        *(f"race for one conversation, {fate} of 40: messages" for fate in ("lost", "doubled", "refused")),
        *(f"{added} onto {length}: {unit}" for added in (1, 50) for length in (10, 200) for unit in ("ms", growth.WAL)),
        *(f"{added} onto 200 / onto 10: x" for added in (1, 50)),
        *(
            f"{added} onto {length}, first after a checkpoint: {growth.WAL}"
            for added in (1, 50)
            for length in (10, 200)
        ),
        "newest 50 of 200, SQL: ms",
        "all of 100, SQL: ms",
        "create, one at a time: messages/s",
        *(f"create, 16 at once by {users}: messages/s" for users in ("one user", "as many users")),
        "from POST to the last of 1 members: ms",
        *(f"history, 50 of 300, {way}: ms" for way in ("newest", "before cursor, 200 deep", "offset 200")),
        *(f"history, {way} / newest: x" for way in ("before cursor, 200 deep", "offset 200")),
        *(
            f"search 300 for {what}: ms"
            for what in (
                "a common word",
                "a rare word",
                "a phrase",
                "no such word",
                "either of two words that are nowhere",
                "a common word of the first day",
                "what has a reaction, where nothing has",
                "two characters of Chinese",
            )
        ),
        *(f"to the last of {size}: ms" for size in (1, 10)),
        f"each of 10 subscribers: {MEMORY}",
        "to one subscriber: messages/s",
        *(f"{name}: {unit}" for name in CASES for unit in (scale.CPU, scale.CLOCK)),
        *(f"{name}, 200 messages / 200 messages: x" for name in CASES),
    }


SCRIPT = """
import json, os, sys
said = dict(zip(sys.argv[1::2], sys.argv[2::2]))
with open(os.environ["BENCH_OUT"], "w") as file:
    for clients in ("1 client", "16 clients"):
        for unit in ("ms", "msg/s"):
            case = {"case": f"their send, {clients}", "unit": unit, "median": float(said["--n16"])}
            file.write(json.dumps(case) + "\\n")
"""


def test_peers_are_measured_with_their_own_scripts(world: World, tmp_path: Path) -> None:
    script = tmp_path / "their_bench.py"
    script.write_text(SCRIPT, encoding="utf-8")
    report = Report()
    peers.measure(replace(world, peers={"theirs": [sys.executable, "-c", ENDING, script]}), QUICK, report)
    assert report.failures == []
    cases = [f"create in one channel, {clients} at once" for clients in (1, 16)]
    found = {(row.case, row.target): row.samples for row in report.rows()}
    assert found.keys() == {(case, name) for case in cases for name in (SERVICE, "theirs")}
    assert [found[case, "theirs"] for case in cases] == [[QUICK.peer_writes]] * 2


def test_lost_or_duplicate_message_fails_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read = World.read

    def read_wrongly(self: World, store: Store, thread: str) -> list[dict[str, Any]]:
        first, _, *others = read(self, store, thread)
        return [first, first, *others]

    monkeypatch.setattr(World, "read", read_wrongly)
    report = Report()
    ingest.race(world, QUICK, report, world.targets[0], "a race")
    assert report.failures == [
        "FAILED: race: threadline lost 1 messages.",
        "FAILED: race: threadline doubled 1 messages.",
    ]


def test_ratio_above_one_means_the_first_target_is_better() -> None:
    report = Report()
    for ours, theirs in ((4, 2), (9, 3)):
        report.add("entry", "speed", "messages/s", "ours", ours)
        report.add("entry", "time", "ms", "ours", theirs)
        report.add("entry", "speed", "messages/s", "theirs", theirs)
        report.add("entry", "time", "ms", "theirs", ours)
    assert [row.ratios for row in report.rows()] == [[], [2, 3], [], [2, 3]]
    assert "| entry | speed | theirs | 2.5 [2 .. 3] messages/s | 2.5 [2 .. 3] x" in report.table()


@pytest.mark.parametrize("thread", [1, 2])
def test_messages_are_reproducible_and_have_the_stated_size(thread: int) -> None:
    messages = texts.messages(thread, 0, 300)
    assert messages[100:] == texts.messages(thread, 100, 200)
    assert all(20 <= len(message["content"]) <= 400 for message in messages)
    assert len({message["id"] for message in messages}) == 300
