"""One user, however hostile, leaves connections for the others; what fails is counted and never sent again."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psycopg
import pytest
from threadline import shares, turns
from threadline.database import Database, Reply
from threadline.settings import Settings
from threadline.tokens import Caller

from tests.support.cluster import TestCluster
from tests.support.ingest import Sender, conversation, message
from tests.support.sessions import session
from tests.support.team import Running, Team, running_service
from tests.support.tokens import bearer, sign, token
from tests.support.world import BASE

POOL = 8
ONE, OTHER = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
METRICS = {"THREADLINE_METRICS_TOKEN": "scraper"}
SCRAPER = {"authorization": "Bearer scraper"}
SERVICE = sign({"role": "service_role", "exp": int(time.time()) + 3600})
LIMIT = 1.0  # seconds that the slowest answer to a bystander may take


@pytest.fixture(scope="module")
def running(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with a small pool whose statements take at most three seconds."""
    log = tmp_path_factory.mktemp("fairness") / "log"
    options = "?statement_timeout=3000"
    with running_service(cluster, template, log, options=options, THREADLINE_POOL_SIZE=str(POOL), **METRICS) as running:
        yield running


@pytest.fixture
def attacker(running: Running) -> Team:
    return Team.create(running.client, running.database_url)


@pytest.fixture
def bystander(running: Running) -> Team:
    return Team.create(running.client, running.database_url)


@contextmanager
def locked(team: Team) -> Iterator[psycopg.Connection]:
    """Hold the lock that every new message of the channel waits for."""
    with psycopg.connect(team.database_url) as holder:
        holder.execute("select from private.channel_counters where channel_id = %s for update", [team.channel_id])
        yield holder
        holder.rollback()


def used(team: Team) -> int:
    """How many requests the first user has made in this minute."""
    counts = team.query("select used from private.request_counts where user_id = %s", team.user_ids[0])
    return counts[0] if counts else 0


def code(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def slowest(call: Callable[[], httpx.Response], seconds: float) -> float:
    """Repeat a call that must succeed; return how long the slowest answer took."""
    took, deadline = [], time.monotonic() + seconds
    while time.monotonic() < deadline:
        began = time.monotonic()
        reply = call()
        took.append(time.monotonic() - began)
        assert reply.status_code == 200, reply.text
        time.sleep(0.05)
    return max(took)


def test_cancelled_statement_is_sent_once_and_counted(running: Running, attacker: Team) -> None:
    before = len(running.service.failures)
    with locked(attacker):
        reply = attacker.request(
            "POST",
            json={"channel_id": attacker.channel_id, "content": "x"},
            headers={"idempotency-key": "a key makes it repeatable"},
        )
    assert code(reply) == (503, "unavailable")
    assert running.service.failures[before:] == ["create_message failed with QueryCanceledError"]
    assert used(attacker) == 1


def test_failed_requests_use_up_the_limit(running: Running, attacker: Team) -> None:
    attacker.keep_minute()
    attacker.query(
        "update private.request_counts set used = requests_per_minute - 1 from private.settings"
        " where user_id = %s returning 1",
        attacker.user_ids[0],
    )
    with locked(attacker):
        assert attacker.send().status_code == 503
    assert code(attacker.send()) == (429, "rate_limited")


def test_internal_error_is_counted(running: Running, attacker: Team) -> None:
    with psycopg.connect(running.database_url, autocommit=True) as db:
        db.execute("alter function private.require_channel(uuid) rename to gone")
        try:
            assert code(attacker.request("GET", "/history", params={"channel_id": attacker.channel_id})) == (
                500,
                "internal_error",
            )
        finally:
            db.execute("alter function private.gone(uuid) rename to require_channel")
    assert used(attacker) == 1


def test_one_user_holds_a_quarter_of_the_pool(running: Running, attacker: Team, bystander: Team) -> None:
    attacker.sent_id("a first message, so that the next ones share the turns of the channel")
    with locked(attacker) as holder, ThreadPoolExecutor(3 * POOL) as threads:
        sent = [threads.submit(attacker.send) for _ in range(3 * POOL)]
        time.sleep(0.5)
        waiting = holder.execute(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        ).fetchone()
        assert waiting == (POOL // 4,)
        assert slowest(lambda: bystander.request("GET", "/history", params={"channel_id": bystander.channel_id}), 1) < 1
        holder.rollback()
        assert {one.result().status_code for one in sent} == {201}


def test_too_many_requests_at_once_are_429(running: Running, attacker: Team, bystander: Team) -> None:
    async def flood() -> list[httpx.Response]:
        headers = bearer(token(attacker.user_ids[0]))
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=running.service.url, timeout=60, limits=limits) as client:
            body = {"channel_id": attacker.channel_id, "content": "x"}
            return await asyncio.gather(*(client.post(BASE, json=body, headers=headers) for _ in range(200)))

    with locked(attacker) as holder:
        threading.Timer(2, holder.rollback).start()
        replies = asyncio.run(flood())
    refused = [reply for reply in replies if reply.status_code == 429]
    assert {code(reply) for reply in refused} == {(429, "too_many_at_once")}
    assert {reply.headers["retry-after"] for reply in refused} == {"5"}
    assert 50 < len(refused) < 150
    assert bystander.send().status_code == 201


def test_call_that_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "PATIENCE", 0.01)
    small = shares.Shares(4)

    async def call_twice() -> None:
        async with asyncio.timeout(10):
            await small.take("one")
            await small.take("one")

    with pytest.raises(shares.TooManyAtOnceError):
        asyncio.run(call_twice())


def test_call_beyond_the_queue_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "QUEUE", 0)
    small = shares.Shares(4)

    async def call_twice() -> None:
        await small.take("one")
        async with asyncio.timeout(1):
            await small.take("one")

    with pytest.raises(shares.TooManyAtOnceError):
        asyncio.run(call_twice())


def body_for(channel: str, before: str = "") -> bytes:
    return f'{{{before}"channel_id": "{channel}", "content": "x"}}'.encode()


WRITER, STRANGER = (Caller("authenticated", f'{{"sub": "{name}"}}', name) for name in ("writer", "stranger"))


def test_few_writers_of_a_channel_call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = Counter[tuple[str, bytes]](), Counter[tuple[str, bytes]]()
    status = 201

    async def note(_database: Database, _pool: object, arguments: tuple[str, ...]) -> Reply:
        key = arguments[0], arguments[-1]
        inside[key] += 1
        most[key] = max(most[key], inside[key])
        await asyncio.sleep(0)
        inside[key] -= 1
        return Reply(status, {}, b"")

    async def call_many() -> None:
        nonlocal status
        database = Database(Settings("postgresql://nowhere", pool_size=200))
        for given, expected in ((201, 1), (201, 3), (404, 3), (201, 1)):
            most.clear()
            status = given
            each = (database.call(name, caller=WRITER, body=body) for name, body in calls for _ in range(9))
            await asyncio.gather(*each)
            assert most == dict(zip(calls, (expected, expected, 9), strict=True))

    monkeypatch.setattr(Database, "_call", note)
    calls = [("create_message", body_for(ONE)), ("create_message", body_for(OTHER)), ("export_channel", body_for(ONE))]
    asyncio.run(call_many())


def test_stranger_holds_no_turn_of_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger may write to an own locked channel and name another one too, in whatever way."""
    monkeypatch.setattr(turns, "PATIENCE", 0.01)
    nested = f'"x": {{"channel_id": "{ONE}"}}, '
    tricks = [
        (body_for(ONE), {}),
        (body_for(OTHER, nested), {}),
        (body_for(OTHER, f'"channel_id": "{ONE}", '), {}),
        (body_for(ONE).replace(b"}", f', "channel\\u005fid": "{OTHER}"}}'.encode()), {}),
        (body_for(ONE), {"channel_id": OTHER}),
        (b"[" * 100_000, {}),
    ]
    is_open = asyncio.Event()

    async def reply(_database: Database, _pool: object, arguments: tuple[str, ...]) -> Reply:
        if arguments[2] == WRITER.claims:
            return Reply(201, {}, b"")
        await is_open.wait()
        return Reply(404 if arguments[4:] == ("{}", tricks[0][0]) else 201, {}, b"")

    async def attack(database: Database, body: bytes, parameters: dict[str, str]) -> None:
        def post() -> Coroutine[None, None, Reply]:
            return database.call("create_message", caller=STRANGER, body=body, parameters=parameters)

        is_open.set()
        await asyncio.gather(post(), database.call("create_message", caller=WRITER, body=body_for(ONE)))
        is_open.clear()
        held = [asyncio.create_task(post()) for _ in range(turns.PLACES)]
        await asyncio.sleep(0)
        await database.call("create_message", caller=WRITER, body=body_for(ONE))
        is_open.set()
        await asyncio.gather(*held, return_exceptions=True)

    async def attack_all() -> None:
        database = Database(Settings("postgresql://nowhere", pool_size=40))
        for body, parameters in tricks:
            await attack(database, body, parameters)

    monkeypatch.setattr(Database, "_call", reply)
    asyncio.run(attack_all())


CHANNEL = body_for(ONE)
TURNS = [
    (("create_message", "known", "{}", CHANNEL), ONE, ("known", ONE)),
    (("create_message", "new", "{}", CHANNEL), ("new", ONE), ("new", ONE)),
    (("create_message", None, "{}", CHANNEL), ONE, None),
    (("create_message", None, "{}", b"{}"), None, None),
    (("reply_to_message", "known", "{}", CHANNEL), None, None),
    *[
        (("create_message", "known", parameters, body), ("known", ""), None)
        for parameters, body in (
            ('{"channel_id": "x"}', CHANNEL), ("{}", b""), ("{}", b"{}"), ("{}", body_for(ONE + "x")),
            ("{}", b'{"x": ' + b"[" * 100_000), ("{}", b'{"channel_id": "\xff"}'), ("{}", b'{"channel_id": 5}'),
            ("{}", body_for(f"{ONE[:-1]}A")),
        )
    ],
]  # fmt: skip


@pytest.mark.parametrize(("call", "key", "writer"), TURNS, ids=range(len(TURNS)))
def test_turn_is_taken_for_the_channel_of_a_body(call: tuple, key: object, writer: object) -> None:
    queues = turns.Turns()
    queues.note(("known", ONE), has_written=True)
    turn = queues.wait(*call)
    assert (turn._key, turn._writer, turn.has_written) == (key, writer, False)


def test_writer_that_wrote_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "KNOWN", 2)
    queues = turns.Turns()
    for name in "abac":
        queues.note((name, ONE), has_written=True)
    assert list(queues._known) == [("a", ONE), ("c", ONE)]
    queues.note(("a", ONE), has_written=False)
    assert list(queues._known) == [("c", ONE)]


def test_queues_have_the_chosen_limits() -> None:
    taken: list[tuple] = []

    async def take(*given: object) -> None:
        taken.append(given)

    queues = turns.Turns()
    queues._places.take = take
    for key in (ONE, ("a", ONE)):
        asyncio.run(queues.enter(key))
    assert taken == [(ONE, 3, 10), (("a", ONE), 1, 10)]
    assert (turns.KNOWN, shares.QUEUE, shares.PATIENCE) == (10_000, 100, 10)


def test_health_and_metrics_answer_while_the_pool_is_full(running: Running, attacker: Team) -> None:
    # A token of service_role has no share, and replies have no turns, so they can fill the pool.
    path = f"{BASE}/{attacker.sent_id('parent')}/thread"

    def post() -> httpx.Response:
        return running.client.post(
            path, json={"content": "x", "user_id": attacker.user_ids[0]}, headers=bearer(SERVICE)
        )

    with locked(attacker) as holder, ThreadPoolExecutor(2 * POOL) as threads:
        sent = [threads.submit(post) for _ in range(2 * POOL)]
        time.sleep(0.5)
        assert slowest(lambda: running.client.get("/health"), 0.3) < LIMIT
        assert slowest(lambda: running.client.get("/metrics", headers=SCRAPER), 0.3) < LIMIT
        assert "threadline_clean_up_age_seconds" in running.client.get("/metrics", headers=SCRAPER).text
        holder.rollback()
        assert {one.result().status_code for one in sent} == {201}


def test_many_health_checks_hold_one_connection(running: Running) -> None:
    with ThreadPoolExecutor(40) as threads:
        replies = [threads.submit(running.client.get, "/health") for _ in range(200)]
        assert {one.result().status_code for one in replies} == {200}
    with session(running.database_url) as db:
        sessions = db.execute("select count(*) from pg_stat_activity where query = 'select true'").fetchone()
    assert sessions <= (2,)


def test_ingest_leaves_connections_for_messages(running: Running, bystander: Team) -> None:
    senders = [Sender.create(running.client, running.database_url) for _ in range(2)]
    for sender in senders:
        sender.post(conversation(message("a")))
    with psycopg.connect(running.database_url) as holder, ThreadPoolExecutor(4 * POOL) as threads:
        holder.execute(
            "select from public.conversations where user_id = any(%s) for update",
            [[sender.user_id for sender in senders]],
        )
        sent = [
            threads.submit(sender.post, conversation(message(f"{number}")))
            for number in range(2 * POOL)
            for sender in senders
        ]
        time.sleep(0.5)
        assert slowest(lambda: bystander.request("GET", "/history", params={"channel_id": bystander.channel_id}), 1) < 1
        holder.rollback()
        assert {one.result().status_code for one in sent} == {200}


def test_bystander_is_served_while_an_attacker_searches(running: Running, attacker: Team, bystander: Team) -> None:
    words = [f"w{number:03}" for number in range(200)]
    for _ in range(3):
        attacker.sent_id((" ".join(words) + " ") * 39 + "end")
    is_over = threading.Event()

    def attack() -> int:
        sent = 0
        while not is_over.is_set():
            attacker.request("GET", "/search", params={"query": " ".join(words)})
            sent += 1
        return sent

    with ThreadPoolExecutor(20) as threads:
        attacks = [threads.submit(attack) for _ in range(20)]
        time.sleep(0.5)
        took = slowest(lambda: bystander.request("GET", "/history", params={"channel_id": bystander.channel_id}), 1.5)
        health = slowest(lambda: running.client.get("/health"), 0.5)
        is_over.set()
        assert sum(one.result() for one in attacks) > 0
    assert (took < LIMIT, health < LIMIT) == (True, True), (took, health)
