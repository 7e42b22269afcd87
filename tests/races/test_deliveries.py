"""Several workers and one outbox: each message once, again after a worker dies, always in order."""

import random
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.support.cluster import TestCluster
from tests.support.database import value
from tests.support.sessions import session
from tests.support.twin import Told, Webhook, add_twin, ask, until, webhook, working
from tests.support.world import BOB

WORKERS, CHANNELS, MESSAGES = 3, 4, 25


@pytest.fixture
def database(cluster: TestCluster, template: str) -> str:
    """Create a database with immediate retries."""
    name = cluster.create(template)
    with psycopg.connect(cluster.url(name, "postgres")) as db:
        db.execute("update private.settings set twin_retry_seconds = 0, twin_max_attempts = 1000")
    return name


@pytest.fixture
def url(cluster: TestCluster, database: str) -> str:
    """Role postgres in it."""
    return cluster.url(database, "postgres")


@pytest.fixture
def login(cluster: TestCluster, database: str) -> str:
    """The service's role in it."""
    return cluster.url(database, "authenticator")


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """Run a webhook that accepts everything; tests may change its answer."""
    with webhook() as running:
        yield running


def add_people(url: str, channels: int) -> tuple[str, list[str]]:
    """Create a user with channels."""
    with session(url) as db:
        user_id = value(
            db, "insert into auth.users (id, email) values (gen_random_uuid(), 'race@example.com') returning id::text"
        )
        statement = "insert into public.channels (name, created_by) values ('race', %s) returning id::text"
        return user_id, [value(db, statement, user_id) for _ in range(channels)]


def say(db: psycopg.Connection, user_id: str, channel_id: str) -> str:
    statement = "insert into public.messages (channel_id, user_id, content) values (%s, %s, 'x') returning id::text"
    return value(db, statement, channel_id, user_id)


def by_queue(told: list[Told]) -> dict[tuple[str, str], list[int]]:
    """Return the message numbers of each queue in order of arrival."""
    numbers = defaultdict(list)
    for each in told:
        numbers[each.queue].append(each.message["seq"])
    return dict(numbers)


def test_workers_keep_the_order_despite_failures(url: str, login: str, hook: Webhook, tmp_path: Path) -> None:
    hook.answer = lambda _: random.choice([200, 200, 503])
    user_id, channel_ids = add_people(url, CHANNELS)
    twins = [add_twin(url, user_id, channel_ids, hook.url) for _ in range(2)]

    def write(channel_id: str) -> None:
        with psycopg.connect(url, autocommit=True) as db:
            for _ in range(MESSAGES):
                say(db, user_id, channel_id)

    with ExitStack() as workers, ThreadPoolExecutor(CHANNELS) as writers:
        for number in range(WORKERS):
            workers.enter_context(working(login, tmp_path / f"log{number}"))
        list(writers.map(write, channel_ids))
        hook.wait(len(twins) * CHANNELS * MESSAGES, seconds=60)
    queues = by_queue(hook.taken)
    assert len(queues) == len(twins) * CHANNELS
    assert all(numbers == sorted(set(numbers)) and len(numbers) == MESSAGES for numbers in queues.values())
    assert hook.overlaps == 0
    secrets = dict(twins)
    assert all(told.is_signed_with(secrets[told.headers["threadline-twin"]]) for told in hook.told)
    with session(url) as db:
        assert value(db, "select array_agg(distinct state) from public.twin_deliveries") == ["delivered"]
        assert value(db, "select count(*) from private.twin_queues where due_at is not null or lease is not null") == 0
    assert [(tmp_path / f"log{number}").read_text() for number in range(WORKERS)] == [""] * WORKERS


def test_deliveries_of_a_killed_worker_go_to_another(url: str, login: str, hook: Webhook, tmp_path: Path) -> None:
    user_id, (channel_id, other_id) = add_people(url, 2)
    add_twin(url, user_id, [channel_id, other_id], hook.url)
    is_dead = threading.Event()
    hook.answer = lambda _: 200 if is_dead.is_set() else (is_dead.wait(30) and 503)
    with psycopg.connect(url, autocommit=True) as db:
        said = [say(db, user_id, channel_id) for _ in range(3)]
    # The timeout is long, so that the worker does not give up before it is killed.
    with working(login, tmp_path / "log", THREADLINE_WEBHOOK_TIMEOUT="2") as victim:
        until(lambda: hook.told)
        victim.kill()
        victim.wait()
    first = hook.told[0]
    # The next worker may start slowly; do not wait for its end.
    lease = "update private.twin_queues set due_at = now() + %s::interval where channel_id = %s"
    with psycopg.connect(url, autocommit=True) as db:
        assert db.execute(f"{lease} and lease is not null", ("1 hour", channel_id)).rowcount == 1
        is_dead.set()
        with working(login, tmp_path / "log"):
            elsewhere = say(db, user_id, other_id)
            hook.wait(1)
            assert hook.taken[0].message["id"] == elsewhere  # only its own queue waits for the lease of the dead worker
            db.execute(lease, ("0", channel_id))
            hook.wait(4)
    again = hook.taken[1]
    assert [told.message["id"] for told in hook.taken[1:]] == said
    assert again.headers["threadline-delivery"] == first.headers["threadline-delivery"]


def test_membership_changes_of_twins_do_not_fail_writers(url: str, hook: Webhook) -> None:
    user_id, (channel_id,) = add_people(url, 1)
    twin_id, _ = add_twin(url, user_id, [channel_id], hook.url)
    is_over = threading.Event()

    def write() -> int:
        with psycopg.connect(url, autocommit=True) as db:
            for number in range(150):
                message_id = say(db, user_id, channel_id)
                if number % 5 == 0:
                    db.execute("update public.messages set deleted_at = now() where id = %s", (message_id,))
        return 150

    def come_and_go() -> int:
        rounds = 0
        with psycopg.connect(url, autocommit=True) as db:
            while not is_over.is_set():
                db.execute(
                    "insert into public.channel_members (channel_id, user_id) values (%s, %s)", (channel_id, BOB)
                )
                add_twin(url, BOB, [channel_id], hook.url)
                db.execute("delete from public.channel_members where user_id = %s", (BOB,))
                rounds += 1
            assert value(db, "select count(*) from public.twin_deliveries as d where d.ai_twin_id <> %s", twin_id) == 0
        return rounds

    def reassign() -> int:
        rounds = 0
        with psycopg.connect(url, autocommit=True) as db:
            while not is_over.is_set():
                db.execute("delete from public.channel_twins where ai_twin_id = %s", (twin_id,))
                db.execute(
                    "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", (channel_id, twin_id)
                )
                rounds += 1
        return rounds

    def reconnect() -> int:
        rounds = 0
        while not is_over.is_set():
            ask(url, user_id, "remove_twin_webhook", ai_twin_id=twin_id)
            ask(url, user_id, "set_twin_webhook", ai_twin_id=twin_id, url=hook.url)
            rounds += 1
        return rounds

    def work() -> int:
        rounds = 0
        with psycopg.connect(url, autocommit=True) as db:
            while not is_over.is_set():
                for delivery in value(db, "select private.claim_deliveries(10, '1 minute')"):
                    db.execute("select private.finish_delivery(%s, %s, 200, null)", (delivery["id"], delivery["lease"]))
                    rounds += 1
        return rounds

    with ThreadPoolExecutor(9) as threads:
        others = [threads.submit(each) for each in (reassign, reconnect, come_and_go, work, work)]
        writers = [threads.submit(write) for _ in range(3)]
        try:
            assert sum(writer.result() for writer in writers) == 450
        finally:
            is_over.set()
        assert all(other.result() >= 0 for other in others[3:])
        assert all(other.result() > 0 for other in others[:3])


def test_replays_never_overlap_deliveries_of_a_queue(url: str, login: str, hook: Webhook) -> None:
    user_id, (channel_id,) = add_people(url, 1)
    twin_id, _ = add_twin(url, user_id, [channel_id], hook.url)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("update private.settings set twin_max_attempts = 1")
        for _ in range(40):
            say(db, user_id, channel_id)
    under_way, most, is_over, lock = 0, 0, threading.Event(), threading.Lock()

    def work() -> None:
        nonlocal under_way, most
        with psycopg.connect(url, autocommit=True) as db:
            while not is_over.is_set():
                for delivery in value(db, "select private.claim_deliveries(10, '1 minute')"):
                    with lock:
                        under_way += 1
                        most = max(most, under_way)
                    error = random.choice([None, "It failed."])
                    with lock:
                        under_way -= 1
                    db.execute(
                        "select private.finish_delivery(%s, %s, 200, %s)", (delivery["id"], delivery["lease"], error)
                    )

    def replay() -> None:
        while not is_over.is_set():
            ask(url, user_id, "replay_twin_deliveries", ai_twin_id=twin_id)

    def is_done() -> bool:
        with session(url) as db:
            return value(db, "select bool_and(state = 'delivered') from public.twin_deliveries")

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(each) for each in (work, work, work, replay)]
        try:
            until(is_done, 30)
        finally:
            is_over.set()
        for each in running:
            each.result()
    assert most == 1
