"""Many requests in a short time add no memory, files or sessions to the service and Postgres."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.support.cluster import TestCluster
from tests.support.database import rows, value
from tests.support.ingest import Sender, conversation, message
from tests.support.soak import bounded
from tests.support.team import Team, create_unlimited_database, serving_users

THREADS, POOL = 8, 6
GROWTH = 10_000_000  # bytes that the service may grow in the second half
WAL = 40_000  # bytes of write-ahead log per round of six requests


@pytest.mark.timeout(bounded(120, 600))
@pytest.mark.skipif(sys.platform == "win32", reason="sizes of processes differ")
def test_many_requests_leave_resources_stable(cluster: TestCluster, template: str, tmp_path: Path) -> None:
    name, rounds = create_unlimited_database(cluster, template), bounded(40, 3_000)
    database_url = cluster.url(name, "postgres")
    login = cluster.url(name, "authenticator")
    with serving_users(login, tmp_path / "log", THREADLINE_POOL_SIZE=str(POOL)) as (service, client):
        team, sender = Team.create(client, database_url, 2), Sender.create(client, database_url)
        client.event_hooks = {}  # test_contract.py compares answers with the schema

        def work(number: int) -> None:
            reply = team.send(f"message {number}")
            message_id = reply.json()["data"]["id"]
            replies: list[httpx.Response] = [
                reply,
                team.request("PUT", f"/{message_id}", json={"content": f"edited {number}"}),
                team.request("PUT", f"/{message_id}/reactions/fire", 1),
                team.request("GET", "/history", params={"channel_id": team.channel_id, "limit": 10}),
                team.request("GET", "/not-an-id"),
                sender.post(conversation(message(f"m{number}"), external_id=f"chat {number % 7}")),
            ]
            assert [each.status_code for each in replies] == [201, 200, 200, 200, 400, 200]

        process = psutil.Process(service.process.pid)
        with (
            psycopg.connect(cluster.url(name), autocommit=True) as db,
            ThreadPoolExecutor(THREADS) as threads,
        ):
            list(threads.map(work, range(rounds)))
            half, files = process.memory_info().rss, process.num_fds()
            start = value(db, "select pg_current_wal_lsn()")
            list(threads.map(work, range(rounds, 2 * rounds)))
            grown = process.memory_info().rss - half
            written = value(db, "select pg_current_wal_lsn() - %s::pg_lsn", start) / rounds
            print(
                f"{12 * rounds} requests: {half} bytes after half of them, {grown} more; {written:.0f} of log a round"
            )
            assert grown < GROWTH
            assert process.num_fds() <= files + 2
            assert written < WAL
            sessions = "select state from pg_stat_activity where application_name = 'threadline' and datname = %s"
            states = rows(db, sessions, name)
            assert len(states) <= POOL
            assert set(states) <= {"idle"}
        assert service.failures == []
