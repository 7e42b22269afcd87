"""The service and its Postgres: one round trip per request, and what becomes of requests when Postgres has trouble."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.http.wire import Wire
from tests.support.cluster import TestCluster
from tests.support.ingest import Sender, conversation, message
from tests.support.service import Service, serving

UNAVAILABLE = (503, "5", {"error": "Service temporarily unavailable"})


@pytest.fixture
def wire(cluster: TestCluster) -> Iterator[Wire]:
    with Wire(cluster.local.port) as wire:
        yield wire


def through(wire: Wire, database: str) -> str:
    return f"postgresql://authenticator:postgres@127.0.0.1:{wire.port}/{database}"


def answer(reply: httpx.Response) -> tuple[int, str | None, dict]:
    return reply.status_code, reply.headers.get("retry-after"), reply.json()


def until_ok(sender: Sender, *conversations: dict) -> list[httpx.Response]:
    """Send it again and again, for ten seconds at most, and return all answers."""
    replies, deadline = [], time.monotonic() + 10
    while not replies or (replies[-1].status_code != 200 and time.monotonic() < deadline):
        replies.append(sender.post(*conversations))
        time.sleep(0.05)
    return replies


def test_a_request_is_one_statement_and_one_round_trip(
    wire: Wire, cluster: TestCluster, service_database: str, tmp_path: Path
) -> None:
    wire.open()
    with serving(through(wire, service_database), tmp_path / "log", THREADLINE_POOL_SIZE="1") as service:
        with httpx.Client(base_url=service.url, timeout=20) as client:
            sender = Sender.create(client, cluster.url(service_database, "postgres"))
            sender.post(conversation(message("first")))  # on a new connection, the statement is prepared as well
            wire.sent.clear()
            for number in range(5):
                sender.post(conversation(message(f"again {number}")), conversation(external_id=f"new {number}"))
            sender.post(conversation(message("first")))
            sender.send(b"not JSON")
            sender.post(connection_id="nobody")
            # Bind and Execute the one statement; Sync ends its transaction.
            assert wire.sent == Counter(B=8, E=8, S=8)


def test_a_request_that_is_refused_by_http_does_not_reach_the_database(
    wire: Wire, service_database: str, tmp_path: Path
) -> None:
    wire.open()
    with serving(through(wire, service_database), tmp_path / "log") as service:
        with httpx.Client(base_url=service.url, timeout=20) as client:
            sender = Sender(client, "", "", "", "any key")
            statuses = [
                client.get("/functions/v1/messaging-ingest").status_code,
                sender.send(b"{}", content_type="text/plain").status_code,
                sender.send(b"{}", content_encoding="gzip").status_code,
                sender.send(bytes(10_000_001)).status_code,
            ]
    assert statuses == [405, 415, 400, 413]
    assert wire.sent == Counter()


def test_without_postgres_at_the_start_requests_are_503_until_it_comes(
    wire: Wire, cluster: TestCluster, service_database: str, tmp_path: Path
) -> None:
    with serving(through(wire, service_database), tmp_path / "log") as service:
        with httpx.Client(base_url=service.url, timeout=20) as client:
            sender = Sender.create(client, cluster.url(service_database, "postgres"))
            began = time.monotonic()
            assert answer(sender.post(conversation(message()))) == UNAVAILABLE
            assert time.monotonic() - began < 3
            wire.open()
            assert sender.post(conversation(message())).json()["results"][0]["status"] == "created"
            assert client.get("/health").status_code == 200


def test_when_postgres_restarts_requests_are_503_until_it_is_back(sender: Sender, service: Service) -> None:
    sender.post(conversation(message("before")))
    # At the end of a session in this way, Postgres ends all others as well and starts anew.
    with psycopg.connect(sender.database_url) as connection:
        statement = "select pid from pg_stat_activity where application_name = 'threadline' limit 1"
        os.kill(connection.execute(statement).fetchone()[0], signal.SIGKILL)
    *failed, last = until_ok(sender, conversation(message("after")))
    assert [answer(reply) for reply in failed] == [UNAVAILABLE] * len(failed)
    assert last.json()["processed"] == 1
    assert sender.stored() == {"chat": ["after", "before"]}


@pytest.fixture
def impatient(cluster: TestCluster, service_database: str, tmp_path: Path) -> Iterator[tuple[Sender, Service]]:
    """A service whose statements wait for a lock half a second at most, and a sender."""
    url = cluster.url(service_database, "authenticator") + "?lock_timeout=500"
    with serving(url, tmp_path / "log") as service, httpx.Client(base_url=service.url, timeout=20) as client:
        yield Sender.create(client, cluster.url(service_database, "postgres")), service


def test_a_request_that_meets_a_lock_is_tried_twice_and_then_503(impatient: tuple[Sender, Service]) -> None:
    sender, service = impatient
    sender.post(conversation(message("a")))
    with psycopg.connect(sender.database_url) as holder:
        holder.execute("select from public.conversations where user_id = %s for update", [sender.user_id])
        assert answer(sender.post(conversation(message("b")))) == UNAVAILABLE
    assert [line.split(" - ")[-1] for line in service.failures] == [
        "messaging_ingest failed with LockNotAvailableError"
    ] * 2
    assert sender.stored() == {"chat": ["a"]}


def test_a_request_that_meets_a_lock_once_succeeds(impatient: tuple[Sender, Service]) -> None:
    sender, service = impatient
    sender.post(conversation(message("a")))
    with psycopg.connect(sender.database_url) as holder:
        holder.execute("select from public.conversations where user_id = %s for update", [sender.user_id])
        replies = []
        thread = threading.Thread(target=lambda: replies.append(sender.post(conversation(message("b")))))
        thread.start()
        while not service.failures:
            time.sleep(0.01)
        holder.rollback()
        thread.join()
    assert replies[0].json()["results"][0]["status"] == "updated"
    assert len(service.failures) == 1


def test_the_victim_of_a_deadlock_tries_again_and_succeeds(
    cluster: TestCluster, service_database: str, sender: Sender, service: Service
) -> None:
    names = ("one", "two")
    sender.post(*(conversation(message("a"), external_id=name) for name in names))
    before = len(service.failures)
    replies = []
    send = threading.Thread(
        target=lambda: replies.append(sender.post(*(conversation(message("b"), external_id=name) for name in names)))
    )
    lock = """
        select from public.conversations
        where id = (select id from public.conversations where user_id = %s order by id offset %s limit 1)
        for update
    """
    with psycopg.connect(cluster.url(service_database)) as rival:
        rival.execute("set local deadlock_timeout = '20s'")  # so that the other one is the victim
        rival.execute(lock, [sender.user_id, 1])
        send.start()
        while not rival.execute("select 1 from pg_locks where not granted").fetchone():
            time.sleep(0.01)
        rival.execute(lock, [sender.user_id, 0])
        rival.rollback()
        send.join()
    assert [result["status"] for result in replies[0].json()["results"]] == ["updated", "updated"]
    assert [line.split(" - ")[-1] for line in service.failures[before:]] == [
        "messaging_ingest failed with DeadlockDetectedError"
    ]
    assert sender.stored() == {"one": ["a", "b"], "two": ["a", "b"]}
