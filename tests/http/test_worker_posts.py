"""What the worker and the housekeeper do, with a network and a database of one test."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import httpcore
import pytest
from threadline import __version__, housekeeper, worker
from threadline.database import DatabaseUnavailableError
from threadline.settings import Settings
from threadline.worker import Worker


class Outbox:
    """A database that keeps what the worker asks of it."""

    def __init__(self, *answers: object) -> None:
        self.asked: list[tuple[str, dict]] = []
        self._answers = list(answers)

    async def ask(self, function: str, **fields: Any) -> Any:
        self.asked.append((function, fields))
        answer = self._answers.pop(0) if self._answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer


def post(reply: bytes | Exception | None, url: str = "http://hook.example/x?y=1", *, private: bool = True) -> Any:
    """Post to a webhook that answers with these bytes, or never; return the outcome and what was sent."""
    sent: list[bytes] = []

    class Network(httpcore.AsyncNetworkStream):
        async def read(self, max_bytes: int, **_: Any) -> bytes:
            nonlocal reply
            if isinstance(reply, Exception):
                raise reply
            if reply is None:
                await asyncio.sleep(1)
            part, reply = reply[:max_bytes], reply[max_bytes:]
            return part

        async def write(self, buffer: bytes, **_: Any) -> None:
            sent.append(buffer)

        async def aclose(self) -> None:
            pass

        def get_extra_info(self, info: str) -> None:
            return None

    class Backend(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
            if isinstance(reply, (httpcore.ConnectError, OSError, worker.PrivateAddressError)):
                raise reply
            return Network()

    async def run() -> Any:
        made = Worker(
            Outbox(), Settings("", webhook_allow_private=private, webhook_timeout=0.05 if reply is None else 5)
        )
        made._http = httpcore.AsyncConnectionPool(network_backend=worker.BoundedNetwork(Backend()))
        return await made._post(url, {"content-type": "application/json"}, '{"é": 1}')

    return asyncio.run(run()), b"".join(sent)


def ok(status: int, body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


NO_HTTP = "The webhook closed the connection or does not speak HTTP."
TOO_MUCH = "The webhook sent too much before its answer."
OUTCOMES = [
    (ok(200, b"x" * 100_000), (200, None)),
    (ok(299), (299, None)),
    (ok(300), (300, "The webhook answered 300.")),
    (ok(404), (404, "The webhook answered 404.")),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 9 + ok(200), (200, None)),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 9_999 + ok(200), (None, TOO_MUCH)),
    (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 9_999 + b"\r\n", (None, TOO_MUCH)),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1;e\r\nx\r\n" * 9_999 + b"!", (200, None)),
    (b"220 mail\r\n", (None, NO_HTTP)),
    (b"", (None, NO_HTTP)),
    (httpcore.ReadError("x"), (None, NO_HTTP)),
    (httpcore.ConnectError("x"), (None, "The webhook could not be reached.")),
    (OSError("x"), (None, "The webhook could not be reached.")),
    (httpcore.ReadTimeout("x"), (None, "The webhook did not answer in time.")),
    (TimeoutError("x"), (None, "The webhook did not answer in time.")),
    (None, (None, "The webhook did not answer in time.")),
    (worker.PrivateAddressError(), (None, "The webhook has a private address. Use a public one.")),
]


@pytest.mark.parametrize(("reply", "outcome"), OUTCOMES, ids=range(len(OUTCOMES)))
def test_outcome_of_a_delivery_is_named(reply: bytes | Exception | None, outcome: tuple) -> None:
    assert post(reply)[0] == outcome


def test_each_request_of_a_connection_begins_a_new_count() -> None:
    class Endless(httpcore.AsyncNetworkStream):
        async def read(self, max_bytes: int, **_: Any) -> bytes:
            return bytes(max_bytes)

        async def write(self, buffer: bytes, **_: Any) -> None:
            pass

        async def start_tls(self, *_: Any) -> httpcore.AsyncNetworkStream:
            return self

        async def aclose(self) -> None:
            closed.append(self)

        def get_extra_info(self, info: str) -> str:
            return f"the {info}"

    closed: list[Endless] = []

    async def read_all(stream: httpcore.AsyncNetworkStream) -> int:
        read = 0
        with suppress(worker.LongAnswerError):
            while True:
                read += len(await stream.read(10_000))
        return read

    async def run() -> None:
        stream = await worker.BoundedStream(Endless()).start_tls("context")
        for _ in range(2):
            await stream.write(b"a request")
            assert await read_all(stream) == worker.READ_MAX_BYTES
        assert stream.get_extra_info("socket") == "the socket"
        await stream.aclose()
        assert len(closed) == 1

    asyncio.run(run())


def test_delivery_is_sent_as_it_was_signed() -> None:
    _, sent = post(ok(204))
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /x?y=1 HTTP/1.1\r\n")
    assert b"\r\ncontent-type: application/json\r\n" in head
    assert f"user-agent: threadline/{__version__}".encode() in head
    assert body == '{"é": 1}'.encode()
    assert post(ok(200), "http://[hook/")[0] == (None, "The URL of the webhook is not valid.")
    assert post(ok(200), private=False) == ((None, "The URL of the webhook must begin with https://."), b"")


def test_worker_claims_as_much_as_it_has_room_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    delivery = {"id": "d", "lease": "l", "url": "http://x/", "headers": {}, "body": ""}
    outbox = Outbox([delivery], None, ValueError("canary"), DatabaseUnavailableError("x"))

    async def run() -> list[float]:
        made = Worker(outbox, Settings("", webhook_timeout=4, webhook_allow_private=False))
        pauses = [await made._start_deliveries()]
        await asyncio.gather(*made._under_way)
        pauses += [await made._start_deliveries(), await made._start_deliveries()]
        made._under_way = {object() for _ in range(20)}
        return [*pauses, await made._start_deliveries()]

    assert asyncio.run(run()) == [1, 5, 5, 1]
    claim = ("claim_deliveries", {"limit": 20, "lease_seconds": 12})
    failed = {"id": "d", "lease": "l", "status": None, "error": "The URL of the webhook must begin with https://."}
    assert outbox.asked == [claim, ("finish_delivery", failed), claim, claim]
    assert [record.getMessage() for record in caplog.records if record.name == "threadline.worker"] == [
        "Cannot claim deliveries, will retry: ValueError"
    ]


def test_delivery_that_cannot_be_recorded_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    delivery = {"id": "d", "lease": "l", "url": "http://x/", "headers": {}, "body": ""}

    async def run() -> bool:
        made = Worker(Outbox([delivery], ValueError("canary")), Settings("", webhook_allow_private=False))
        await made._start_deliveries()
        await asyncio.wait(made._under_way)
        await asyncio.sleep(0)
        assert made._under_way == set()
        return made._wake.is_set()

    assert asyncio.run(run())
    assert caplog.messages == ["Cannot record a delivery, will repeat it: ValueError"]


def test_worker_ends_its_deliveries_when_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker.GRACE == 3
    monkeypatch.setattr(worker, "GRACE", 0.01)
    delivery = {"id": "d", "lease": "l", "url": "http://x/", "headers": {}, "body": ""}
    ended: list[str] = []
    errors: list[Any] = []

    async def run(seconds: float) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
        outbox = Outbox([delivery])
        made = Worker(outbox, Settings("", webhook_allow_private=True))

        async def deliver(_: dict[str, Any]) -> None:
            try:
                await asyncio.sleep(seconds)
                ended.append("done")
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        made._deliver = deliver
        running = asyncio.create_task(made.run())
        for _ in range(3 if seconds == 0.001 else 50):
            await asyncio.sleep(0)
        # An end makes it look again, and once.
        assert len(outbox.asked) == {0: 2, 60: 1}.get(seconds, len(outbox.asked))
        made.stop()
        await asyncio.wait_for(running, 5)

    for seconds in (0, 0.001, 60):
        asyncio.run(run(seconds))
    assert (ended, errors) == (["done", "done", "cancelled"], [])


def test_worker_that_waits_for_the_database_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL", 0)
    outbox = Outbox(ValueError("x"))

    async def run() -> None:
        made = Worker(outbox, Settings(""))
        running = asyncio.create_task(made.run())
        for _ in range(30):
            await asyncio.sleep(0)
        made.stop()
        await asyncio.wait_for(running, 1)

    asyncio.run(run())
    assert len(outbox.asked) == 1


def test_answer_is_read_only_to_its_bound() -> None:
    read = 0

    async def stream() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 1024
            yield bytes(1024)

    asyncio.run(worker._skim(SimpleNamespace(aiter_stream=stream)))
    assert read == 16_384 + 1024


@pytest.mark.parametrize(("private", "backend"), [(True, httpcore.AnyIOBackend), (False, worker.PublicNetwork)])
def test_worker_connects_as_the_settings_say(private: bool, backend: type) -> None:
    pool = Worker(Outbox(), Settings("", webhook_allow_private=private))._http
    assert type(pool._network_backend) is worker.BoundedNetwork
    assert type(pool._network_backend._backend) is backend
    assert (pool._max_connections, pool._keepalive_expiry) == (20, 30)


@pytest.mark.parametrize("deliver", [True, False])
def test_service_waits_for_its_own_worker_only(monkeypatch: pytest.MonkeyPatch, deliver: bool) -> None:
    ended: list[str] = []

    async def run(made: Worker) -> None:
        await made._wake.wait()
        await asyncio.sleep(0)
        ended.append("worker")

    async def serve() -> None:
        async with worker.delivering(Outbox(), Settings("", deliver=deliver)):
            await asyncio.sleep(0)
            ended.append("block")

    monkeypatch.setattr(Worker, "run", run)
    asyncio.run(serve())
    assert ended == (["block", "worker"] if deliver else ["block"])


def test_process_of_a_worker_ends_at_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []

    @asynccontextmanager
    async def part(name: str) -> AsyncIterator[str]:
        done.append(f"{name} begins")
        yield name
        done.append(f"{name} ends")

    async def close() -> None:
        done.append("storage ends")

    async def run(made: Worker) -> None:
        await made._wake.wait()
        done.append(made._database)

    def handle(number: int, stop: Callable[[], None]) -> None:
        done.append(number)
        if number == 2:
            stop()

    async def deliver() -> None:
        asyncio.get_running_loop().add_signal_handler = handle
        await asyncio.wait_for(worker.deliver(Settings(""), (1, 2)), 5)

    monkeypatch.setattr(worker, "Database", lambda _: part("database"))
    monkeypatch.setattr(worker, "Storage", lambda _: SimpleNamespace(aclose=close))
    monkeypatch.setattr(worker, "housekeeping", lambda *_: part("housekeeping"))
    monkeypatch.setattr(Worker, "run", run)
    asyncio.run(deliver())
    begun, ended = ["database begins", "housekeeping begins"], ["housekeeping ends", "storage ends", "database ends"]
    assert done == [*begun, 1, 2, "database", *ended]


@pytest.mark.parametrize(
    ("deliver", "secret", "url", "jobs"),
    [(True, "s", "http://x", 3), (True, None, "http://x", 2), (True, "s", None, 2), (False, "s", "http://x", 0)],
    ids=["all", "no key", "no project", "none"],
)
def test_process_that_delivers_cleans_up(
    caplog: pytest.LogCaptureFixture, deliver: bool, secret: str | None, url: str | None, jobs: int
) -> None:
    outbox = Outbox(ValueError("canary"))
    settings = Settings("", deliver=deliver, supabase_url=url, supabase_secret_key=secret)

    async def run() -> None:
        async with housekeeper.housekeeping(outbox, SimpleNamespace(), settings):
            await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    wanted = [
        ("clean_up", {"limit": 1000}), ("index_conversations", {"limit": 50}), ("sweep_attachments", {"limit": 1000}),
    ]  # fmt: skip
    assert outbox.asked == wanted[:jobs]
    failed = ["Cleanup failed, will retry in 300 seconds: ValueError"]
    assert caplog.messages[:1] == (failed if deliver else [])


def test_clean_up_is_repeated_after_its_pause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[float | Exception] = [2.0, OSError("canary"), 0.5]
    slept: list[float] = []

    async def work() -> float:
        if not outcomes:
            raise asyncio.CancelledError
        if isinstance(outcome := outcomes.pop(0), Exception):
            raise outcome
        return outcome

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(housekeeper, "asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(housekeeper._repeat(work))
    assert slept == [2.0, 300.0, 0.5]
    assert caplog.messages == ["Cleanup failed, will retry in 300 seconds: OSError"]


def test_unused_files_are_removed_only_if_there_are_any() -> None:
    removed: list[list[str]] = []

    async def remove(paths: list[str]) -> None:
        removed.append(paths)

    bucket = SimpleNamespace(acting_for_itself=lambda: SimpleNamespace(remove=remove))
    many = [str(number) for number in range(1000)]
    for paths in ([], many):
        assert asyncio.run(housekeeper.sweep(Outbox({"paths": paths}), bucket)) == 3600
    assert removed == [many]
