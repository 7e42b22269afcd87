"""One message to many subscribers: from the COMMIT that sends it, beside a bare server that only forwards."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

import psutil
import psycopg
from threadline_devstack import keys

from tests.bench import machine, programs, sockets
from tests.bench.report import MEMORY, Report
from tests.bench.sizes import Sizes
from tests.bench.world import World

REALTIME, BARE = "threadline", "websockets, broadcast()"
TOPIC = "fan"
CONFIG = {"config": {"broadcast": {"self": True}}}
JOIN = json.dumps({"topic": f"realtime:{TOPIC}", "event": "phx_join", "payload": CONFIG, "ref": "1", "join_ref": "1"})
SEND = f"select realtime.send(jsonb_build_object('id', %s::text, 'content', %s::text), 'e', '{TOPIC}', false)"
CONTENT = "x" * 400


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        first: what a client sends to subscribe.
        publish: prepares a message with this text for an audience and returns a function that sends it.
    """

    name: str
    port: int
    pid: int
    path: str
    first: str | None
    publish: Callable[[sockets.Audience, str], Callable[[], object]]

    def memory(self) -> float:
        """Return the memory of the server in KiB."""
        return psutil.Process(self.pid).memory_info().rss / 1024

    def audience(self, size: int) -> AbstractContextManager[sockets.Audience]:
        """Open subscribers for the block."""
        return sockets.audience(size, self.port, self.path, self.first)


def text(marker: str) -> str:
    """Return a message in its wire format, the same for both servers."""
    payload = {"event": "e", "payload": {"id": marker, "content": CONTENT}, "type": "broadcast"}
    return json.dumps({"topic": f"realtime:{TOPIC}", "event": "broadcast", "payload": payload, "ref": None})


def database_url(world: World) -> str:
    """Return a superuser connection string, because the local Realtime reads WAL as superuser."""
    info = world.admin.info
    return f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"


@contextmanager
def servers(world: World) -> Iterator[list[Server]]:
    """Both of them."""
    path = f"/realtime/v1/websocket?vsn=1.0.0&apikey={keys.ANON_KEY}"
    with ExitStack() as stack:
        session = stack.enter_context(psycopg.connect(database_url(world)))
        realtime_port, realtime_pid = stack.enter_context(programs.fan_server("realtime", database_url(world)))
        bare_port, bare_pid = stack.enter_context(programs.fan_server("bare"))

        def send(_: sockets.Audience, marker: str) -> Callable[[], object]:
            session.execute(SEND, [marker, CONTENT])
            return session.commit

        def push(audience: sockets.Audience, marker: str) -> Callable[[], object]:
            return partial(audience.say, sockets.frame(text(marker)))

        yield [
            Server(REALTIME, realtime_port, realtime_pid, path, JOIN, send),
            Server(BARE, bare_port, bare_pid, "/", None, push),
        ]


def measure(world: World, sizes: Sizes, report: Report) -> None:
    """Measure the time to the last subscriber, messages per second to one, and the memory of an idle one."""
    largest = max(sizes.subscribers)
    for number in range(sizes.rounds):
        with servers(world) as both:  # new servers, which hold no spare memory yet
            for server in both:
                report.add("fanout", f"each of {largest:,} subscribers", MEMORY, server.name, memory(server, largest))
            for size in sizes.subscribers:
                for server in machine.rotated(both, number):
                    report.waits.append(machine.becomes_quiet(sizes.quiet))
                    took = to_the_last(server, size, sizes.broadcasts)
                    report.add("fanout", f"to the last of {size:,}", "ms", server.name, took)
            for server in machine.rotated(both, number):
                report.waits.append(machine.becomes_quiet(sizes.quiet))
                report.add("fanout", "to one subscriber", "messages/s", server.name, rate(server, sizes.burst))


def memory(server: Server, size: int) -> float:
    """Measure the memory of an idle subscriber in KiB."""
    before = server.memory()
    with server.audience(size):
        return (server.memory() - before) / size


def to_the_last(server: Server, size: int, broadcasts: int) -> float:
    """Measure the median milliseconds until the last subscriber has a message."""
    with server.audience(size) as audience:
        audience.time(server.publish(audience, "warm up"), "warm up")
        markers = [f"message {number:06}" for number in range(broadcasts)]
        return median(audience.time(server.publish(audience, marker), marker) for marker in markers)


def rate(server: Server, burst: int) -> float:
    """Measure messages per second from a client to itself, without the database."""
    with server.audience(1) as audience:
        messages = sockets.frame(text("burst")) * burst
        begun = time.perf_counter()
        pouring = audience.pour(messages)
        ended = audience.wait_for("burst", count=burst)
        pouring.join()
        return burst / (ended - begun)
