"""Every hot call in a database of ten million messages, against the same call in one of a thousandth of that size."""

from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

import psycopg
from psycopg.conninfo import make_conninfo

from tests.bench import crowd, machine
from tests.bench.crowd import Crowd
from tests.bench.crowd_calls import CASES
from tests.bench.crowd_session import Session
from tests.bench.report import Report
from tests.bench.sizes import Sizes
from tests.bench.world import World

CPU, CLOCK = "ms of CPU", "ms of time"
CURSOR = """
select private.render_inbox_cursor((line.xid, line.id, 0)::private.inbox_position)
from private.inbox_changes as line order by line.xid {0}, line.id {0} limit 1
"""


def measure(world: World, sizes: Sizes, report: Report) -> None:
    """Fill databases of one server, and run each case in all of them in turn."""
    with ExitStack() as stack:
        sessions = []
        for messages in sizes.crowds:
            database = world.new_database()
            with psycopg.connect(crowd.conninfo(world.admin, dbname=database), autocommit=True) as admin:
                crowd.fill(admin, Crowd(messages))
                sessions.append(open_session(stack, admin, make_conninfo(world.login_url, dbname=database), messages))
        compare(sessions, sizes, report)


def open_session(stack: ExitStack, admin: psycopg.Connection, login: str, messages: int) -> Session:
    """Open a session as the service does, with prepared statements."""
    admin.execute("update private.settings set requests_per_minute = 1000000000")
    cursors = {
        name: admin.execute(CURSOR.format(direction)).fetchone()[0]
        for name, direction in (("early", "asc"), ("late", "desc"))
    }
    connection = stack.enter_context(psycopg.connect(login, autocommit=True, prepare_threshold=0))
    return Session(f"{messages:,} messages", Crowd(messages), connection, cursors)


def compare(sessions: Sequence[Session], sizes: Sizes, report: Report) -> None:
    """Run each case in all databases in turn, in rounds; the first round warms up."""
    for round_number in range(sizes.rounds + 1):
        report.waits.append(machine.becomes_quiet(sizes.quiet))
        for name, (case, user_id) in CASES.items():
            samples: dict[str, list[tuple[float, float]]] = {session.name: [] for session in sessions}
            for step in range(sizes.reads if round_number else 2):
                number = round_number * sizes.reads + step
                for session in machine.rotated(sessions, number):
                    samples[session.name].append(session.measure(case(session, number, user_id)))
            if round_number:
                record(name, samples, report)


def record(name: str, samples: dict[str, list[tuple[float, float]]], report: Report) -> None:
    """Report the medians of a round, and the largest database against the smallest."""
    for place, unit in enumerate((CPU, CLOCK)):
        medians = {target: median(sample[place] for sample in taken) for target, taken in samples.items()}
        for target, taken in medians.items():
            report.add("scale", name, unit, target, taken)
        targets = list(medians)
        smallest, largest = targets[0], targets[-1]
        report.add("scale", f"{name}, {largest} / {smallest}", "x", unit, medians[largest] / medians[smallest])
