"""The service and Postgres: one round trip per request, and how requests end when Postgres fails."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import psycopg
import pytest
from threadline import connections, logs, metrics
from threadline import database as database_module
from threadline.database import Database, DatabaseUnavailableError, Reply
from threadline.routes import http
from threadline.settings import Settings
from threadline.shares import TooManyAtOnceError
from threadline.tokens import Caller

from tests.http.wire import Wire
from tests.support.cluster import TestCluster
from tests.support.database import rows
from tests.support.ingest import PATH, Sender, conversation, message
from tests.support.service import Service, crash_postgres, serving

SESSIONS = "select pid from pg_stat_activity where application_name = 'threadline'"
UNAVAILABLE = (503, "5", {"error": "Service temporarily unavailable"})


def through(wire: Wire, database: str) -> str:
    """Return the URL of a database behind a wire."""
    return f"postgresql://authenticator:postgres@127.0.0.1:{wire.port}/{database}"


def answer(reply: httpx.Response) -> tuple[int, str | None, dict]:
    """Return the status, the Retry-After header and the body."""
    return reply.status_code, reply.headers.get("retry-after"), reply.json()


def kinds(failures: list[str]) -> list[str]:
    """Return the error classes in log messages of failed ingest calls."""
    return [line.rpartition("messaging_ingest failed with ")[2] for line in failures]


def until_ok(sender: Sender, *conversations: dict) -> list[httpx.Response]:
    """Repeat a request until it succeeds, for at most ten seconds, and return all answers."""
    replies, deadline = [], time.monotonic() + 10
    while not replies or (replies[-1].status_code != 200 and time.monotonic() < deadline):
        replies.append(sender.post(*conversations))
        time.sleep(0.05)
    return replies


@pytest.fixture(scope="module")
def counted(
    cluster: TestCluster, service_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Sender, Counter[str]]]:
    """A sender, and the counted messages of its service to Postgres on an open connection."""
    log = tmp_path_factory.mktemp("counted") / "log"
    with Wire(cluster.local.port) as wire, serving(through(wire, service_database), log) as service:
        wire.open()
        sender = Sender.create(service.client, cluster.url(service_database, "postgres"))
        sender.post()  # the first request on a connection also prepares the statement
        yield sender, wire.sent


def test_request_is_one_statement_and_one_round_trip(counted: tuple[Sender, Counter[str]]) -> None:
    sender, sent = counted
    sent.clear()
    for number in range(5):
        sender.post(conversation(message(f"again {number}")), conversation(external_id=f"new {number}"))
    sender.post(conversation(message("again 0")))
    sender.send(b"not JSON")
    sender.post(connection_id="unknown")
    assert sent == Counter(B=8, E=8, S=8)  # Bind and Execute run the statement; Sync ends its transaction


def test_request_refused_by_http_does_not_reach_postgres(counted: tuple[Sender, Counter[str]]) -> None:
    sender, sent = counted
    sent.clear()
    statuses = [
        sender.client.get(PATH).status_code,
        sender.send(b"{}", content_type="text/plain").status_code,
        sender.send(b"{}", content_encoding="gzip").status_code,
        sender.send(bytes(10_000_001)).status_code,
    ]
    assert statuses == [405, 415, 400, 413]
    assert sent == Counter()


def test_service_started_without_postgres_recovers(cluster: TestCluster, service_database: str, tmp_path: Path) -> None:
    with Wire(cluster.local.port) as wire, serving(through(wire, service_database), tmp_path / "log") as service:
        sender = Sender.create(service.client, cluster.url(service_database, "postgres"))
        began = time.monotonic()
        assert answer(sender.post(conversation(message()))) == UNAVAILABLE
        assert service.client.get("/health").status_code == 503
        assert time.monotonic() - began < 3
        wire.open()
        assert sender.post(conversation(message())).json()["results"][0]["status"] == "created"
        assert service.client.get("/health").status_code == 200


def test_requests_are_503_while_postgres_restarts(sender: Sender, service: Service) -> None:
    sender.post(conversation(message("before")))
    crash_postgres(sender.database_url)
    *failed, last = until_ok(sender, conversation(message("after")))
    assert [answer(reply) for reply in failed] == [UNAVAILABLE] * len(failed)
    assert last.json()["processed"] == 1
    assert sender.stored() == {"chat": ["after", "before"]}


def test_closed_connection_fails_no_second_request(cluster: TestCluster, service_database: str, tmp_path: Path) -> None:
    with Wire(cluster.local.port) as wire, serving(through(wire, service_database), tmp_path / "log") as service:
        wire.open()
        wire.keeps_open = True
        sender = Sender.create(service.client, cluster.url(service_database, "postgres"))
        with psycopg.connect(cluster.url(service_database), autocommit=True) as db:
            before = rows(db, SESSIONS)
            sender.post(conversation(message("before")))
            [pid] = set(rows(db, SESSIONS)) - set(before)
            db.execute("select pg_terminate_backend(%s)", (pid,))
        assert wire.has_lost.wait(10)
        service.client.get("/schema")  # by now the service has read the last message of Postgres
        assert sender.post(conversation(message("after"))).status_code == 200
        assert service.client.get("/health").status_code == 200
        assert kinds(service.failures) == ["InternalClientError"]


@pytest.fixture(scope="module")
def impatient(
    cluster: TestCluster, service_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service whose statements wait at most half a second for a lock."""
    log = tmp_path_factory.mktemp("impatient") / "log"
    with serving(cluster.url(service_database, "authenticator") + "?lock_timeout=500", log) as service:
        yield service


def test_locked_request_is_tried_twice_and_is_503(sender: Sender, impatient: Service) -> None:
    sender, before = replace(sender, client=impatient.client), len(impatient.failures)
    sender.post(conversation(message("a")))
    with psycopg.connect(sender.database_url) as holder:
        holder.execute("select from public.conversations where user_id = %s for update", [sender.user_id])
        assert answer(sender.post(conversation(message("b")))) == UNAVAILABLE
    assert kinds(impatient.failures[before:]) == ["LockNotAvailableError"] * 2
    assert sender.stored() == {"chat": ["a"]}


def test_request_locked_once_succeeds(sender: Sender, impatient: Service) -> None:
    sender, before = replace(sender, client=impatient.client), len(impatient.failures)
    sender.post(conversation(message("a")))
    with psycopg.connect(sender.database_url) as holder:
        holder.execute("select from public.conversations where user_id = %s for update", [sender.user_id])
        replies = []
        thread = threading.Thread(target=lambda: replies.append(sender.post(conversation(message("b")))))
        thread.start()
        while len(impatient.failures) == before:
            time.sleep(0.01)
        holder.rollback()
        thread.join()
    assert replies[0].json()["results"][0]["status"] == "updated"
    assert kinds(impatient.failures[before:]) == ["LockNotAvailableError"]


@pytest.mark.parametrize("is_repeatable", [True, False])
@pytest.mark.parametrize(
    ("error", "calls_if_repeatable", "calls_if_not"),
    [
        (asyncpg.SerializationError, 2, 2),
        (asyncpg.DeadlockDetectedError, 2, 2),
        (asyncpg.UniqueViolationError, 2, 2),
        (asyncpg.ForeignKeyViolationError, 2, 2),
        (asyncpg.AdminShutdownError, 2, 1),
        (asyncpg.ConnectionDoesNotExistError, 2, 1),
        (asyncpg.LockNotAvailableError, 2, 1),
        (asyncpg.InternalClientError, 2, 1),
        (asyncpg.TooManyConnectionsError, 2, 1),
        (asyncpg.ReadOnlySQLTransactionError, 2, 1),
        (asyncpg.InterfaceError, 2, 1),
        (ConnectionResetError, 2, 1),
        (asyncpg.QueryCanceledError, 1, 1),
        (TimeoutError, 1, 1),
    ],
)
def test_call_is_repeated_once_if_that_is_harmless(
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    calls_if_repeatable: int,
    calls_if_not: int,
    is_repeatable: bool,
) -> None:
    async def fail(_: object, _pool: object, arguments: tuple[str, ...]) -> None:
        calls.append(arguments[0])
        raise error("")

    async def call() -> None:
        user = Caller("authenticated", "{}", "a user")
        await Database(Settings("postgresql://nowhere")).call("x", caller=user, repeatable=is_repeatable)

    calls: list[str] = []
    monkeypatch.setattr(Database, "_call", fail)
    with pytest.raises(DatabaseUnavailableError):
        asyncio.run(call())
    count = calls_if_repeatable if is_repeatable else calls_if_not
    assert calls == ["x"] * count + ["spend_failed_request"]


@pytest.mark.parametrize("status", [201, 202, 404, 500])
def test_call_of_the_service_needs_a_200(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    async def reply(*_: object) -> Reply:
        return Reply(status, {}, b'{"data": []}')

    async def ask() -> None:
        await Database(Settings("postgresql://nowhere")).ask("clean_up")

    monkeypatch.setattr(Database, "_call", reply)
    with pytest.raises(DatabaseUnavailableError, match=f"^clean_up answered {status}$"):
        asyncio.run(ask())


def test_health_and_metrics_ask_postgres_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most, asked = 0, 0, []

    async def measure(database: Database, pool: object, arguments: tuple[str, ...]) -> Reply:
        nonlocal under_way, most
        asked.append((arguments[0], pool is database._own_pool))
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return Reply(200, {}, b'{"data": [1]}')

    async def check(_: Database) -> bool:
        asked.append(("check", True))
        await asyncio.sleep(0.01)
        return True

    async def ask() -> list[Any]:
        database = Database(Settings("postgresql://nowhere"))
        gone, *left = [asyncio.create_task(database.is_answering()) for _ in range(3)]
        await asyncio.sleep(0)
        gone.cancel()
        return await asyncio.gather(*left, database.read_metrics(), database.read_metrics())

    monkeypatch.setattr(Database, "_call", measure)
    monkeypatch.setattr(Database, "_is_answering", check)
    assert asyncio.run(ask()) == [True, True, [1], [1]]
    assert (sorted(asked), most) == ([("check", True), *[("read_metrics", True)] * 2], 1)


@pytest.mark.parametrize(("is_pooler", "statements"), [(True, 0), (False, 100)])
def test_connection_has_its_limits(is_pooler: bool, statements: int) -> None:
    settings = Settings("postgresql://x@127.0.0.1/x", transaction_pooler=is_pooler)

    async def options() -> dict[str, Any]:
        return connections.Connections(settings, 3)._pool._connect_kwargs

    wanted = {"timeout": 3, "command_timeout": 30, "statement_cache_size": statements}
    given = asyncio.run(options())
    assert {name: given[name] for name in wanted} == wanted
    assert given["server_settings"] == {"application_name": "threadline"}


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [("POST", [], False), ("POST", [(b"idempotency-key", b"k")], True), ("PUT", [], True), ("GET", [], True)],
)
def test_post_without_a_key_is_not_repeatable(
    monkeypatch: pytest.MonkeyPatch, method: str, headers: list[tuple[bytes, bytes]], expected: bool
) -> None:
    async def call(_: str, **options: Any) -> None:
        asked.append(options["repeatable"])

    async def skip(_: object) -> bytes:
        return b""

    asked: list[bool] = []
    monkeypatch.setattr(http, "verify", skip)
    monkeypatch.setattr(http, "_read_json", skip)
    app = SimpleNamespace(state=SimpleNamespace(database=SimpleNamespace(call=call)))
    scope = {"headers": headers, "query_string": b""}
    request = SimpleNamespace(app=app, method=method, scope=scope, path_params={})
    asyncio.run(http.call("create_message", request))
    assert asked == [expected]


def test_victim_of_a_deadlock_retries_and_succeeds(
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

        def is_first_locked() -> bool:
            with rival.transaction(force_rollback=True):
                query = lock.replace("for update", "for share skip locked")
                return rival.execute(query, [sender.user_id, 0]).fetchone() is None

        rival.execute("set local deadlock_timeout = '20s'")  # Postgres then cancels the other session
        rival.execute(lock, [sender.user_id, 1])
        send.start()
        while not (is_first_locked() and rival.execute("select 1 from pg_locks where not granted").fetchone()):
            time.sleep(0.01)
        rival.execute(lock, [sender.user_id, 0])
        rival.rollback()
        send.join()
    assert [result["status"] for result in replies[0].json()["results"]] == ["updated", "updated"]
    assert kinds(service.failures[before:]) == ["DeadlockDetectedError"]
    assert sender.stored() == {"one": ["a", "b"], "two": ["a", "b"]}


@pytest.fixture
def settings(cluster: TestCluster, service_database: str) -> Settings:
    """Settings with the URL of a database."""
    return Settings(cluster.url(service_database, "authenticator"))


def lend(settings: Settings, use: Callable[[connections.Connections], Awaitable[None]]) -> None:
    """Pass a pool of one connection to a function."""

    async def run() -> None:
        pool = connections.Connections(settings, 1)
        await pool.open()
        try:
            async with asyncio.timeout(30):
                await use(pool)
        finally:
            pool.terminate()

    asyncio.run(run())


async def pid(pool: connections.Connections) -> int:
    """Return the process of Postgres behind the connection that is lent next."""
    async with pool.lend() as connection:
        return await connection.fetchval("select pg_backend_pid()")


def test_free_connection_serves_the_next_call(settings: Settings) -> None:
    async def use(pool: connections.Connections) -> None:
        first = await pid(pool)
        assert (await pid(pool), pool._pool.get_idle_size()) == (first, 0)
        assert pool._timer.when() > asyncio.get_running_loop().time()
        timer = pool._timer
        pool._let_go()  # as the timer does it
        await pool._leaving
        assert pool._pool.get_idle_size() == 1
        assert await pid(pool) == first
        assert pool._timer is not timer

    lend(settings, use)


def test_failed_call_frees_its_connection(settings: Settings) -> None:
    async def use(pool: connections.Connections) -> None:
        for _ in range(3):
            with pytest.raises(asyncpg.DivisionByZeroError):
                async with pool.lend() as connection:
                    await connection.fetchrow("select 1 / 0")

    lend(settings, use)


def test_connection_after_an_error_of_the_driver_is_closed(settings: Settings) -> None:
    async def use(pool: connections.Connections) -> None:
        first = await pid(pool)
        with pytest.raises(asyncpg.InternalClientError):
            async with pool.lend():
                raise asyncpg.InternalClientError
        assert await pid(pool) != first

    lend(settings, use)


def test_call_without_a_connection_gives_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(pool: connections.Connections) -> None:
        async with pool.lend():
            monkeypatch.setattr(connections, "PATIENCE", 0.01)
            with pytest.raises(TimeoutError):
                await pid(pool)
            monkeypatch.undo()
        assert await pid(pool)

    lend(settings, use)


class Lent:
    """A connection without Postgres. Its end is known, or asyncpg tells it with an error."""

    def __init__(self, end: Exception | bool = False) -> None:
        self.end = end

    def is_closed(self) -> bool:
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def terminate(self) -> None:
        self.end = True


class Pool:
    """A pool of asyncpg without Postgres. It keeps what is asked of it, and fails if told to."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.asked: list[tuple[object, ...]] = []
        self.failure: BaseException | None = None

    def _ask(self, *asked: object) -> Lent:
        self.asked.append(asked)
        if self.failure:
            raise self.failure
        return Lent()

    async def acquire(self, **options: Any) -> Lent:
        return self._ask("acquire", options)

    async def release(self, connection: Lent, **options: Any) -> None:
        self._ask("release", connection, options)

    def terminate(self) -> None:
        self._ask("terminate")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> connections.Connections:
    """Two connections without Postgres."""
    monkeypatch.setattr(asyncpg, "create_pool", Pool)
    return connections.Connections(Settings("postgresql://x@127.0.0.1/x"), 2)


def test_connection_that_was_used_last_is_lent_first(kept: connections.Connections) -> None:
    async def use() -> None:
        one, two = [await kept.take() for _ in range(2)]
        assert kept._places.locked()
        await kept.give_back(one, False)
        timer = kept._timer
        await kept.give_back(two, False)
        assert kept._timer is timer
        assert 59 < timer.when() - asyncio.get_running_loop().time() <= 60
        assert [await kept.take() for _ in range(2)] == [two, one]
        for each in (one, two):
            await kept.give_back(each, False)
        kept._pool.failure = OSError()
        kept._let_go()
        await kept._leaving
        assert (kept._free, kept._timer) == ([], None)
        kept._pool.failure = None
        await kept.give_back(one, False)
        kept.terminate()
        assert kept._timer.cancelled()
        assert kept._pool.asked[-3:] == [("release", one, {}), ("release", two, {}), ("terminate",)]

    asyncio.run(use())
    options = {name: kept._pool.options[name] for name in ("min_size", "max_size", "reset", "connection_class")}
    assert options == {
        "min_size": 0, "max_size": 2, "reset": connections._reset_nothing,
        "connection_class": connections._Connection,
    }  # fmt: skip
    assert connections.PATIENCE == 10


def test_connection_that_has_ended_is_not_lent(kept: connections.Connections) -> None:
    async def use() -> None:
        one = await kept.take()
        await kept.give_back(one, False)
        for ended in (Lent(True), Lent(asyncpg.InterfaceError("x"))):
            kept._free.append(ended)
            async with kept.lend() as lent:
                assert (lent, kept._pool.asked[-1]) == (one, ("release", ended, {}))

    asyncio.run(use())


def test_connection_after_a_failure_goes_back(kept: connections.Connections) -> None:
    used: list[Lent] = []

    async def fail(error: Exception, end: Exception | bool) -> None:
        async with kept.lend() as lent:
            used.append(lent)
            lent.end = end
            raise error

    async def use() -> None:
        gone = asyncpg.InterfaceError("x")
        for error, end, ended in (
            (asyncpg.PostgresError("x"), False, False),
            (asyncpg.InternalClientError("x"), False, True),
            (asyncpg.InternalClientError("x"), gone, gone),
        ):
            with pytest.raises(type(error)):
                await fail(error, end)
            assert (used[-1].end, kept._pool.asked[-1]) == (ended, ("release", used[-1], {"timeout": 10}))
        assert (kept._free, kept._timer) == ([], None)
        kept._pool.failure = asyncio.CancelledError()
        for _ in range(3):
            with pytest.raises(asyncio.CancelledError):
                await kept.take()
        assert kept._pool.asked[-1] == ("acquire", {"timeout": 10})
        kept._pool.failure = None
        lent = [await kept.take() for _ in range(2)]
        kept._pool.failure = TimeoutError()
        for each in lent:
            with pytest.raises(TimeoutError):
                await kept.give_back(each, True)
        assert kept._places._value == 2

    asyncio.run(use())


def test_warning_of_a_lost_broadcast_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    before = metrics.LOST_BROADCASTS._value.get()
    for code in ("01TL1", "01000"):
        fields = {"C": code, "D": f"the cause of {code}", "M": "canary", "H": "canary"}
        connections._Connection._process_log_message(None, fields, "canary")
    assert metrics.LOST_BROADCASTS._value.get() == before + 1
    assert caplog.messages == ["A broadcast was lost; clients get it when they catch up: the cause of 01TL1"]


USER = Caller("authenticated", '{"sub": "a user"}', "a user")


def test_call_passes_what_the_gateway_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    shared: list[tuple[object, ...]] = []
    failures: list[Exception] = []

    async def note(database: Database, pool: object, arguments: tuple[object, ...]) -> Reply:
        asked.append((pool is database._pool, *arguments))
        if failures:
            raise failures.pop()
        return Reply(200, {}, b'{"data": [1]}')

    async def take(*owners: str) -> None:
        shared.append(("take", *owners))
        if "full" in owners:
            raise TooManyAtOnceError

    async def call() -> None:
        database = Database(Settings("postgresql://nowhere", pool_size=40))
        assert (database._pool.size, database._own_pool.size, database._shares._size) == (40, 2, 10)
        database._shares.take = take
        database._shares.give_back = lambda *owners: shared.append(("give back", *owners))
        await database.call("f")
        logs.request_id.set("r1")
        await database.call("f", caller=USER, owners=["key"], headers={"x-request-id": "x", "a": "b"}, body={"a": 1})
        await database.call("f", parameters={"p": "q"}, body=b"b")
        failures.append(ValueError("x"))
        with pytest.raises(ValueError, match="x"):
            await database.call("f", caller=USER)
        with pytest.raises(TooManyAtOnceError):
            await database.call("f", owners=["full"])
        failures.append(OSError())
        assert await database.ask("g", limit=1) == [1]

    monkeypatch.setattr(Database, "_call", note)
    asyncio.run(call())
    own = '{"x-request-id":"r1"}'
    role, claims = "service_role", '{"role": "service_role"}'
    assert asked == [
        (True, "f", role, claims, "{}", "{}", b""),
        (True, "f", "authenticated", USER.claims, '{"x-request-id":"r1","a":"b"}', "{}", b'{"a": 1}'),
        (True, "f", role, claims, own, '{"p":"q"}', b"b"),
        (True, "f", "authenticated", USER.claims, own, "{}", b""),
        (True, "spend_failed_request", "authenticated", USER.claims, "{}", "{}", b""),
        *[(True, "g", role, claims, own, "{}", b'{"limit": 1}')] * 2,
    ]
    owners = [(), ("a user", "key"), (), ("a user",)]
    assert shared == [
        *[(act, *each) for each in owners for act in ("take", "give back")],
        ("take", "full"), ("take",), ("give back",),
    ]  # fmt: skip


def test_pools_open_and_end_with_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, int]] = []

    async def open_pool(pool: connections.Connections) -> None:
        said.append(("open", pool.size))

    async def run() -> None:
        async with Database(Settings("postgresql://nowhere", pool_size=7)):
            assert metrics.POOL_SIZE._value.get() == 7

    monkeypatch.setattr(connections.Connections, "open", open_pool)
    monkeypatch.setattr(connections.Connections, "terminate", lambda pool: said.append(("end", pool.size)))
    asyncio.run(run())
    assert said == [("open", 7), ("open", 2), ("end", 7), ("end", 2)]


def test_call_is_measured_also_if_it_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(database_module, "time", SimpleNamespace(perf_counter=count().__next__))
    failures: list[Exception] = []
    under_way: list[float] = []

    class Connection:
        async def fetchrow(self, _: str, *arguments: object) -> Any:
            under_way.append(metrics.CALLS_UNDER_WAY._value.get())
            if failures:
                raise failures.pop()
            return {"status": 201, "headers": '{"a": "b"}', "body": "é"} if arguments else (True,)

    @asynccontextmanager
    async def lend() -> AsyncIterator[Connection]:
        yield Connection()

    def measured(kind: Any) -> tuple[float, float]:
        return sum(bucket.get() for bucket in kind._buckets), kind._sum.get()

    async def run() -> None:
        database = Database(Settings("postgresql://nowhere"))
        database._pool = database._own_pool = SimpleNamespace(lend=lend)
        assert await database.call("measured") == Reply(201, {"a": "b"}, "é".encode())
        for error in (asyncpg.PostgresError("canary"), OSError("canary")):
            failures.append(error)
            assert await database.read_metrics() == []
            failures.append(error)
            assert not await database.is_answering()
            failures.extend([error] * 2)
            await database._count_failure(USER)
            failures.clear()
            assert await database.is_answering()
        failures.extend([OSError("canary")] * 2)
        with pytest.raises(DatabaseUnavailableError):
            await database.call("measured")

    waits = measured(metrics.WAIT_SECONDS)
    failed = metrics.CALL_FAILURES.labels("OSError")._value.get()
    asyncio.run(run())
    # Each look at the clock is a second after the one before.
    assert measured(metrics.CALL_SECONDS.labels("measured")) == (3, 3)
    assert measured(metrics.WAIT_SECONDS) == (waits[0] + 7, waits[1] + 7)
    assert (set(under_way), metrics.CALLS_UNDER_WAY._value.get()) == ({0, 1}, 0)
    assert metrics.CALL_FAILURES.labels("OSError")._value.get() == failed + 3
    assert caplog.messages == [
        "Cannot count a failed request: PostgresError",
        "Cannot count a failed request: OSError",
        *["measured failed with OSError"] * 2,
    ]
