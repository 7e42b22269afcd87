"""Creating messages, beside complete systems: Matrix Synapse, and Prosody with its archive in Postgres.

The reference's scripts drive them. Each server runs only while it is measured, on the same Postgres.
"""

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import TimeoutExpired
from tempfile import TemporaryDirectory

from threadline_devstack import process

from tests.bench import load, machine, messages
from tests.bench.report import Report
from tests.bench.setting import SERVICE
from tests.bench.sizes import Sizes
from tests.bench.world import World

CLIENTS = {1: "send, 1 client", 16: "send, 16 clients"}  # and its name in the scripts
PATIENCE = 600.0
PASSWORD = "bench"  # as the scripts have it
MEMBERS = "insert into public.channel_members (channel_id, user_id) select %s, unnest(%s::uuid[])"


def measure(world: World, sizes: Sizes, report: Report) -> None:
    """Measure each system in turn per round: messages to one channel by one member and by sixteen."""
    if not world.peers:
        return
    world.admin.execute("update private.settings set requests_per_minute = 1000000000")
    users = [user_id for (user_id,) in world.admin.execute(messages.USERS, [max(CLIENTS)])]
    with postgres_for_peers(world) as database_url:
        for number in range(sizes.rounds):
            for name in machine.rotated([SERVICE, *world.peers], number):
                if name == SERVICE:
                    rates = create(world, users, sizes, report)
                else:
                    rates = run(world.peers[name], database_url, sizes)
                for clients, rate in rates.items():
                    report.add("peers", f"create in one channel, {clients} at once", "messages/s", name, rate)


def create(world: World, users: Sequence[str], sizes: Sizes, report: Report) -> dict[int, float]:
    """Messages per second through our service, by the number of members who write at once."""
    channel = messages.channel(world, users[0])
    world.admin.execute(MEMBERS, [channel, users[1:]])
    callers = [messages.member(world, user_id) for user_id in users]
    rates = {}
    for clients, count in amounts(sizes).items():
        requests = [
            callers[index % clients].post(messages.PATH, {"channel_id": str(channel), "content": content})
            for index, content in enumerate(messages.contents(clients + count))
        ]
        load.send(callers[0].url, requests[:clients], clients)  # warms up
        report.waits.append(machine.becomes_quiet(sizes.quiet))
        answers, seconds = load.send(callers[0].url, requests[clients:], clients)
        statuses = {answer.status for answer in answers}
        if statuses != {201}:
            report.failures.append(f"FAILED: peers: {SERVICE} answered {sorted(statuses)}.")
        rates[clients] = count / seconds
    return rates


def amounts(sizes: Sizes) -> dict[int, int]:
    """How many messages are written by one client, and by sixteen."""
    few, many = CLIENTS
    return {few: sizes.peer_writes // 4, many: sizes.peer_writes}


def run(command: Sequence[str | Path], database_url: str, sizes: Sizes) -> dict[int, float]:
    """Messages per second through another system, as its script has measured them."""
    few, many = amounts(sizes).values()
    with TemporaryDirectory(dir="/tmp", prefix="threadline-bench-peer-", ignore_cleanup_errors=True) as folder:
        results, log = Path(folder, "results.jsonl"), Path(folder, "log")
        environment = {"BENCH_OUT": str(results), "BENCH_QUIET": str(sizes.quiet), "HOME": folder}
        options = ("--work", folder, "--dsn", database_url, "--n1", str(few), "--n16", str(many))
        with log.open("wb") as output:
            child = process.spawn([*command, *options], output=output, end=signal.SIGTERM, environment=environment)
            try:
                child.wait(PATIENCE)
            except TimeoutExpired:
                pass  # its measurements so far may be enough
            finally:
                process.stop(child, (signal.SIGTERM, 30.0))
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
        found = {case["case"]: case["median"] for case in map(json.loads, lines) if case["unit"] == "msg/s"}
        rates = {
            clients: rate for clients, name in CLIENTS.items() for case, rate in found.items() if case.endswith(name)
        }
        if rates.keys() != CLIENTS.keys():
            said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{Path(command[3]).name} has not measured {sorted(CLIENTS.values())}: {said}")
        return rates


@contextmanager
def postgres_for_peers(world: World) -> Iterator[str]:
    """A superuser's connection string, because the scripts make databases; they expect the name and the password."""
    world.admin.execute(f"create role bench superuser login password '{PASSWORD}'")
    try:
        yield f"postgresql://bench:{PASSWORD}@127.0.0.1:{world.admin.info.port}/{world.admin.info.dbname}"
    finally:
        for database in ("synapse", "prosody"):
            world.admin.execute(f"drop database if exists {database} with (force)")
        world.admin.execute("drop role bench")
