"""The service and Postgres: one round trip per request, and how requests end when Postgres fails."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import psycopg
import pytest
from threadline import connections, logs, metrics
from threadline import database as database_module
from threadline.database import Database, DatabaseUnavailableError, Reply
from threadline.settings import Settings
from threadline.shares import TooManyAtOnceError
from threadline.tokens import SERVICE, Caller

from tests.http.wire import Wire
from tests.support.cluster import TestCluster, free_port
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


def test_connection_that_was_used_last_is_lent_first(settings: Settings) -> None:
    async def use() -> None:
        pool = connections.Connections(settings, 2)
        await pool.open()
        one, two = [await pool.take() for _ in range(2)]
        assert pool._places.locked()
        await pool.give_back(one, False)
        timer = pool._timer
        await pool.give_back(two, False)
        assert pool._timer is timer
        assert 59 < timer.when() - asyncio.get_running_loop().time() <= 60
        assert [await pool.take() for _ in range(2)] == [two, one]
        await two.execute("set statement_timeout = '7s'")
        for each in (one, two):
            await pool.give_back(each, False)
        one.terminate()
        pool._let_go()
        await pool._leaving
        assert (pool._free, pool._timer, pool._pool.get_idle_size()) == ([], None, 1)
        last = await pool.take()
        assert await last.fetchval("show statement_timeout") == "7s"  # asyncpg has reset nothing
        await pool.give_back(last, False)
        pool.terminate()
        assert pool._timer.cancelled()
        assert (pool._pool.is_closing(), last._con is None or last.is_closed()) == (True, True)

    asyncio.run(use())


def test_connection_that_has_ended_is_not_lent(settings: Settings) -> None:
    async def use() -> None:
        pool = connections.Connections(settings, 3)
        await pool.open()
        good, closed, lost = [await pool.take() for _ in range(3)]
        closed.terminate()
        await good.execute("select pg_terminate_backend($1)", lost.get_server_pid())
        with suppress(asyncpg.InterfaceError):  # when asyncpg has seen it
            async with asyncio.timeout(10):
                while not lost.is_closed():  # noqa: ASYNC110 - asyncpg has no event for it
                    await asyncio.sleep(0.01)
        for each in (good, closed, lost):
            await pool.give_back(each, False)
        assert await pool.take() is good
        # The places of the others in the pool of asyncpg are free again.
        for _ in range(2):
            assert await (await pool.take()).fetchval("select 1") == 1
        pool.terminate()

    asyncio.run(use())


def test_connection_after_a_failure_goes_back(settings: Settings) -> None:
    async def fail(pool: connections.Connections, error: Exception, is_ended: bool) -> None:
        with suppress(type(error)):
            async with pool.lend() as lent:
                if is_ended:
                    lent.terminate()
                raise error
        assert (pool._free, pool._timer, pool._places._value) == ([], None, 1)

    async def use(pool: connections.Connections) -> None:
        first = await pid(pool)
        for error, is_ended in (
            (asyncpg.PostgresError("x"), False),
            (asyncpg.InternalClientError("x"), False),
            (asyncpg.InternalClientError("x"), True),
        ):
            pool._let_go()
            await pool._leaving
            await fail(pool, error, is_ended)
            assert (await pid(pool) == first) == isinstance(error, asyncpg.PostgresError)

    lend(settings, use)


def test_connection_that_does_not_go_back_leaves_its_place(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **options: Any) -> None:
        asked.append(options)
        raise TimeoutError

    async def use(pool: connections.Connections) -> None:
        connection = await pool.take()
        monkeypatch.setattr(asyncpg.pool.Pool, "release", refuse)
        with pytest.raises(TimeoutError):
            await pool.give_back(connection, True)
        assert not pool._places.locked()
        pool._free = [connection]
        pool._let_go()
        assert [type(error) for error in await pool._leaving] == [TimeoutError]

    asked: list[dict[str, Any]] = []
    lend(settings, use)
    assert asked == [{"timeout": connections.PATIENCE}, {}]


def test_connection_that_cannot_be_made_leaves_its_place() -> None:
    async def use(pool: connections.Connections) -> None:
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await pool.take()
            taking = asyncio.create_task(pool.take())
            await asyncio.sleep(0)
            taking.cancel()
            await asyncio.wait([taking])
            assert taking.cancelled()
        assert not pool._places.locked()

    lend(Settings(f"postgresql://x@127.0.0.1:{free_port()}/x"), use)


def test_warning_of_a_lost_broadcast_is_logged(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async def use(pool: connections.Connections) -> None:
        for code in ("01TL1", "01000"):
            async with pool.lend() as connection:
                warning = f"raise warning 'canary' using errcode = '{code}', detail = 'the cause of {code}'"
                await connection.execute(f"do $$ begin {warning}; end $$")

    before = metrics.LOST_BROADCASTS._value.get()
    lend(settings, use)
    assert metrics.LOST_BROADCASTS._value.get() == before + 1
    assert caplog.messages == ["A broadcast was lost; clients get it when they catch up: the cause of 01TL1"]


# Instead of our gateway, a function that answers with what it gets. "fail 22012" fails so; "note" also stores it.
ECHO = """
create schema private;
create table private.notes (heard jsonb);
create function private.call(
    p_function text, p_role text, p_claims text, p_headers text, p_parameters text, p_body bytea,
    out status integer, out headers text, out body text
) language plpgsql security definer as $$
declare
    c_heard constant jsonb := jsonb_build_array(
        p_function, p_role, p_claims::json, p_headers::json, p_parameters::json, convert_from(p_body, 'utf8')
    );
begin
    if p_function like 'fail %' then
        raise exception 'canary' using errcode = right(p_function, 5);
    elsif p_function in ('note', 'spend_failed_request') then
        insert into private.notes values (c_heard);
    elsif p_function = 'wait' then
        perform pg_sleep(0.1);
    end if;
    status := case p_function when 'refuse' then 418 else 200 end;
    headers := '{"a": "b"}';
    body := jsonb_build_object('data', c_heard);
end
$$;
grant usage on schema private to authenticator;
"""
USER = Caller("authenticated", '{"sub": "a user"}', "a user")


@pytest.fixture(scope="module")
def echo(cluster: TestCluster) -> Settings:
    """Settings with the URL of a database that answers with what it gets."""
    name = cluster.create()
    with psycopg.connect(cluster.url(name), autocommit=True) as db:
        db.execute(ECHO)
    return Settings(cluster.url(name, "authenticator"), pool_size=40)


@pytest.fixture
def failures(cluster: TestCluster) -> list[tuple[Settings, str]]:
    """Settings whose database cannot be reached, and one that does not exist; each with the name of the error."""
    nowhere = Settings(f"postgresql://x@127.0.0.1:{free_port()}/x")
    return [(nowhere, "ConnectionRefusedError"), (Settings(cluster.url("none")), "InvalidCatalogNameError")]


def test_call_passes_what_the_gateway_reads(echo: Settings) -> None:
    async def call(*asked: Any, **options: Any) -> Any:
        return (await database.call(*asked, **options)).read()["data"]

    async def run() -> None:
        nonlocal database
        async with Database(echo) as database:
            service = ["service_role", {"role": "service_role"}]
            assert await call("f") == ["f", *service, {}, {}, ""]
            assert await call("f", parameters={"p": "q"}, body=b"b") == ["f", *service, {}, {"p": "q"}, "b"]
            logs.request_id.set("r1")
            own = {"x-request-id": "r1"}
            assert await call("f") == ["f", *service, own, {}, ""]
            heard = await call("f", caller=USER, headers={"x-request-id": "x", "a": "b"}, body={"a": 1})
            assert heard == ["f", "authenticated", {"sub": "a user"}, {**own, "a": "b"}, {}, '{"a": 1}']
            assert await database.ask("g", limit=1) == ["g", *service, own, {}, '{"limit": 1}']
            with pytest.raises(DatabaseUnavailableError, match=r"^refuse answered 418$"):
                await database.ask("refuse")

    database: Any = None
    asyncio.run(run())


def test_failed_call_of_a_user_is_counted(cluster: TestCluster, echo: Settings) -> None:
    async def run() -> None:
        async with Database(echo) as database:
            for caller in (USER, SERVICE):
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await database.call("fail 22012", caller=caller)
            # Also while the connections of /health and /metrics are in use.
            async with database._own_pool.lend(), database._own_pool.lend():
                with pytest.raises(DatabaseUnavailableError):
                    await database.call("fail 57014", caller=USER)

    with psycopg.connect(cluster.url(urlsplit(echo.database_url).path[1:]), autocommit=True) as db:
        db.execute("truncate private.notes")
        asyncio.run(run())
        counted = ["spend_failed_request", "authenticated", {"sub": "a user"}, {}, {}, ""]
        assert rows(db, "select heard from private.notes") == [counted] * 2


def test_call_takes_the_shares_of_its_owners(echo: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with Database(echo) as database:
            assert database._shares._size == 10

            async def take(*owners: str) -> None:
                shared.append(("take", *owners))
                if "full" in owners:
                    raise TooManyAtOnceError

            monkeypatch.setattr(database._shares, "take", take)
            monkeypatch.setattr(database._shares, "give_back", lambda *owners: shared.append(("give back", *owners)))
            await database.call("f")
            await database.call("f", caller=USER, owners=["key"])
            with pytest.raises(asyncpg.DivisionByZeroError):
                await database.call("fail 22012", caller=USER)
            with pytest.raises(TooManyAtOnceError):
                await database.call("f", owners=["full"])

    shared: list[tuple[str, ...]] = []
    asyncio.run(run())
    owners = [(), ("a user", "key"), ("a user",)]
    assert shared == [*[(act, *each) for each in owners for act in ("take", "give back")], ("take", "full")]


def test_pools_open_and_end_with_the_service(echo: Settings) -> None:
    async def run() -> None:
        async with Database(echo) as database:
            assert (metrics.POOL_SIZE._value.get(), database._pool.size, database._own_pool.size) == (40, 40, 2)
            assert (await database.is_answering(), (await database.call("f")).status) == (True, 200)
        for pool in (database._pool, database._own_pool):
            assert (pool._pool.get_min_size(), pool._pool.get_max_size()) == (0, pool.size)
            assert pool._pool.is_closing()

    asyncio.run(run())


def test_call_is_measured_also_if_it_fails(echo: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(kind: Any) -> tuple[float, float]:
        return sum(bucket.get() for bucket in kind._buckets), kind._sum.get()

    async def run() -> None:
        async with Database(echo) as database:
            waiting = asyncio.create_task(database.call("wait"))
            while not metrics.CALLS_UNDER_WAY._value.get():
                assert not waiting.done()
                await asyncio.sleep(0)
            assert await waiting == Reply(200, {"a": "b"}, (await waiting).body)
            with pytest.raises(DatabaseUnavailableError):
                await database.call("fail 55P03")

    # Each look at the clock is a second after the one before.
    monkeypatch.setattr(database_module, "time", SimpleNamespace(perf_counter=count().__next__))
    waits = measured(metrics.WAIT_SECONDS)
    failed = metrics.CALL_FAILURES.labels("LockNotAvailableError")._value.get()
    asyncio.run(run())
    assert measured(metrics.CALL_SECONDS.labels("wait")) == (1, 1)
    assert measured(metrics.CALL_SECONDS.labels("fail 55P03")) == (2, 2)
    assert measured(metrics.WAIT_SECONDS) == (waits[0] + 3, waits[1] + 3)
    assert metrics.CALLS_UNDER_WAY._value.get() == 0
    assert metrics.CALL_FAILURES.labels("LockNotAvailableError")._value.get() == failed + 2


def test_failures_of_postgres_are_named_only(
    failures: list[tuple[Settings, str]], caplog: pytest.LogCaptureFixture
) -> None:
    async def run(settings: Settings, name: str) -> None:
        counter = metrics.CALL_FAILURES.labels(name)._value
        before = counter.get()
        async with Database(settings) as database:
            assert not await database.is_answering()
            assert await database.read_metrics() == []
            assert counter.get() == before + 1
            await database._count_failure(USER)

    for settings, name in failures:
        asyncio.run(run(settings, name))
    assert caplog.messages == [f"Cannot count a failed request: {name}" for _, name in failures]


def test_answering_is_asked_again(echo: Settings) -> None:
    async def run() -> None:
        async with Database(echo) as database:
            assert await database.is_answering()
            first = database._check
            assert await database.is_answering()
            assert database._check is not first

    asyncio.run(run())
