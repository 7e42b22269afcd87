"""Every hot call in a database of ten million messages, against the same call in one of a thousandth of that size."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import md5
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from tests.bench import crowd, machine
from tests.bench.crowd import Crowd
from tests.bench.messages import contents
from tests.bench.report import Report
from tests.bench.sizes import Sizes
from tests.bench.world import World, conversation

CPU, CLOCK = "ms of CPU", "ms of time"
ACT = """
select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)
"""
CALL = "select status, body from private.call(%s, %s, %s, %s, '{}', %s)"
CURSOR = """
select private.inbox_epoch() || '.' || line.xid || '.' || line.id || '.0'
from private.inbox_changes as line order by line.xid {0}, line.id {0} limit 1
"""


def identify(kind: str, number: int) -> str:
    """Return the id of a row of the crowd."""
    return str(UUID(md5(f"{kind} {number}".encode(), usedforsecurity=False).hexdigest()))


LIGHT, HEAVY = identify("user", 1), identify("user", 2)
LARGE, TEAM = identify("channel", 1), identify("team", 1)


@dataclass
class Session:
    """A session in one database, as the service has it.

    Attributes:
        name: the target in the report.
        mine: ids of messages that each user has written in this run.
        sent: the last requests of ingest, by case.
    """

    name: str
    crowd: Crowd
    connection: psycopg.Connection
    cursors: dict[str, str]
    mine: dict[str, list[str]] = field(default_factory=lambda: {LIGHT: [], HEAVY: []})
    sent: dict[str, bytes] = field(default_factory=dict)

    def number(self, of: str) -> int:
        """How many rows of a kind the database has."""
        return self.crowd.numbers[of]

    def channel(self, user_id: str, number: int) -> str:
        """Return a channel of a user, but not the large one."""
        count = self.number("few" if user_id == LIGHT else "many")
        return identify("channel", 2 + number % (count - 1))

    def call(self, function: str, user_id: str | None, /, **fields: object) -> Callable[[], Any]:
        """Prepare a call of the API."""
        role = "authenticated" if user_id else "service_role"
        return self._prepare(function, role, user_id, {}, json.dumps(fields).encode())

    def ingest(self, body: bytes) -> Callable[[], Any]:
        """Prepare an ingest request."""
        return self._prepare("messaging_ingest", "service_role", None, {"x-api-key": crowd.SECRET}, body)

    def query(self, statement: str, user_id: str, *parameters: object) -> Callable[[], Any]:
        """Prepare a query of the Data API."""
        claims = json.dumps({"role": "authenticated", "sub": user_id})

        def run() -> Any:
            with self.connection.transaction():
                self.connection.execute(ACT, [claims])
                return self.connection.execute(statement, parameters).fetchall()

        return run

    def _prepare(
        self, function: str, role: str, user_id: str | None, headers: dict[str, str], body: bytes
    ) -> Callable[[], Any]:
        claims = json.dumps({"role": role} | ({"sub": user_id} if user_id else {}))
        parameters = [function, role, claims, json.dumps(headers), body]

        def run() -> Any:
            status, answer = self.connection.execute(CALL, parameters).fetchone()
            if status > 299:
                raise RuntimeError(f"{function} answered {status}: {answer}")
            return answer

        return run

    def measure(self, prepared: Callable[[], Any]) -> tuple[float, float]:
        """Run it; return milliseconds of the backend's CPU, and of time."""
        pid = self.connection.info.backend_pid
        cpu, clock = machine.cpu_seconds(pid), time.perf_counter()
        prepared()
        clock = time.perf_counter() - clock
        return 1000 * (machine.cpu_seconds(pid) - cpu), 1000 * clock


Case = Callable[[Session, int], Callable[[], Any]]


def request(*conversations: dict[str, Any]) -> bytes:
    """The body of an ingest request."""
    return json.dumps({"platform": "whatsapp", "connection_id": "crowd_1", "conversations": conversations}).encode()


def message(text: str) -> dict[str, Any]:
    """A new message of a conversation."""
    return {
        "id": f"wamid.{uuid4().hex}",
        "direction": "inbound",
        "type": "text",
        "content": text,
        "sent_at": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
    }


def fresh(session: Session, number: int) -> Callable[[], Any]:
    """A new conversation with two messages, with a number that one of the people has."""
    phone = f"+49151{10000001 + number * 7919 % session.number('people')}"
    return session.ingest(request(conversation(uuid4().hex, [message("Hello"), message("Are you there?")], phone)))


def onto(session: Session, number: int, name: str) -> Callable[[], Any]:
    """One new message onto a known conversation."""
    phone = f"+49151{10000000 + number}"
    session.sent[name] = request(conversation(phone, [message("One more")], phone))
    return session.ingest(session.sent[name])


def by(user_id: str, in_large: bool = False) -> Case:
    """Create a message in a channel of the user."""

    def prepare(session: Session, number: int) -> Callable[[], Any]:
        channel_id = LARGE if in_large else session.channel(user_id, number)
        call = session.call(
            "create_message", user_id, channel_id=channel_id, user_id=user_id, content=f"{number} {TEXTS[number]}"
        )

        def run() -> None:
            session.mine[user_id].append(json.loads(call())["data"]["id"])

        return run

    return prepare


TEXTS = contents(1000)
COMMON = max((words := [word for text in TEXTS for word in text.split() if word.isascii() and len(word) > 3]), key=words.count)
NEWEST = "select id, content, created_at from public.messages where channel_id = %s order by seq desc limit 50"
INBOX = """
select id, participant_name, last_message_preview from public.conversations
where workspace_id = %s order by last_message_at desc limit 50
"""
ONE = """
select id, participant_name, public.messages(conversation) from public.conversations as conversation where id = %s
"""
MEMBERS = "select user_id, role from public.channel_members where channel_id = %s order by user_id limit 100"
NAMES = "select user_id, display_name from public.user_profiles where user_id = any(%s)"
PERSON = "insert into public.people (workspace_id, full_name, phone) values (%s, 'New', %s) returning id"


def of_both(name: str, make: Callable[[str], Case]) -> dict[str, Case]:
    """A case for a user in 10 channels and one for a user in many."""
    return {f"{name}, user in 10 channels": make(LIGHT), f"{name}, user in many": make(HEAVY)}


def reading(function: str, **fields: object) -> Callable[[str], Case]:
    """A call about the large channel."""
    return lambda user_id: lambda session, _: session.call(function, user_id, channel_id=LARGE, **fields)


CASES: dict[str, Case] = {
    **of_both("create_message", by),
    **of_both("create_message in the large channel", lambda user_id: by(user_id, in_large=True)),
    "reply_to_message in the large thread": lambda session, number: session.call(
        "reply_to_message", LIGHT, id=identify("message", 10), content=TEXTS[number]
    ),
    "edit_message": lambda session, number: session.call(
        "edit_message", LIGHT, id=session.mine[LIGHT][number % len(session.mine[LIGHT])], content=f"new {number}"
    ),
    "toggle_reaction": lambda session, number: session.call(
        "toggle_reaction", LIGHT, id=identify("message", 10 * (1 + number)), emoji="tada"
    ),
    "mark_read": lambda session, number: session.call(
        "mark_read", LIGHT, channel_id=LARGE, seq=session.number("large") + number
    ),
    **of_both("get_message", lambda user_id: lambda session, number: session.call(
        "get_message", user_id, id=identify("message", 10 * (1 + number))
    )),
    **of_both("history, newest 50", lambda user_id: lambda session, number: session.call(
        "list_messages", user_id, channel_id=session.channel(user_id, number)
    )),
    **of_both("history of the large channel, newest 50", reading("list_messages")),
    "history of the large channel, 50 from its middle": lambda session, number: session.call(
        "list_messages", LIGHT, channel_id=LARGE, before=f"seq_{session.number('large') // 2 + number}"
    ),
    "newest 50 of the large thread": reading("list_messages", thread_id=identify("message", 10))(LIGHT),
    "search the large channel, common word": reading("search_messages", query=COMMON)(LIGHT),
    "search the large channel, ten hits": reading("search_messages", query=crowd.RARE)(LIGHT),
    "search the large channel, no hits": reading("search_messages", query="nowhereatall")(LIGHT),
    **of_both("search all channels, common word", lambda user_id: lambda session, _: session.call(
        "search_messages", user_id, query=COMMON
    )),
    **of_both("search all channels, ten hits", lambda user_id: lambda session, _: session.call(
        "search_messages", user_id, query=crowd.RARE
    )),
    **of_both("list_my_channels", lambda user_id: lambda session, _: session.call("list_my_channels", user_id)),
    "list_channel_events, last 50": lambda session, number: session.call(
        "list_channel_events", LIGHT, channel_id=LARGE, limit=50, since=str(session.number("large") - 50 + number)
    ),
    "list_channel_events, 50 from the middle": lambda session, number: session.call(
        "list_channel_events", LIGHT, channel_id=LARGE, limit=50, since=str(session.number("large") // 2 + number)
    ),
    "list_user_events": lambda session, _: session.call("list_user_events", LIGHT),
    "Data API, newest 50 of the large channel": lambda session, _: session.query(NEWEST, LIGHT, LARGE),
    **of_both("Data API, my channels", lambda user_id: lambda session, _: session.query(
        "select id, name from public.channels", user_id
    )),
    "Data API, 100 members of the large channel": lambda session, _: session.query(MEMBERS, LIGHT, LARGE),
    "Data API, names of 10 members": lambda session, _: session.query(
        NAMES, LIGHT, [identify("user", number) for number in range(3, 13)]
    ),
    "ingest, a new conversation of two messages": fresh,
    "ingest, one message onto conversation 1,000": lambda session, number: onto(
        session, min(1000, session.number("conversations")) // 10 * 10 - 10 * (number % 10) - 2, "early"
    ),
    "ingest, the same again": lambda session, _: session.ingest(session.sent["early"]),
    "ingest, one message onto the newest conversation": lambda session, number: onto(
        session, session.number("conversations") // 10 * 10 - 10 * (number % 10) - 2, "late"
    ),
    "ingest, the same again, newest": lambda session, _: session.ingest(session.sent["late"]),
    "index_conversations": lambda session, _: session.call("index_conversations", None, limit=100),
    "list_conversations": lambda session, _: session.call("list_conversations", LIGHT),
    "Data API, inbox page of a workspace": lambda session, _: session.query(INBOX, LIGHT, TEAM),
    "Data API, a conversation with its messages": lambda session, number: session.query(
        ONE, LIGHT, identify("conversation", 1 + number)
    ),
    "mark_conversation_read": lambda session, number: session.query(
        "select public.mark_conversation_read(%s)", LIGHT, identify("conversation", 1 + number)
    ),
    "list_inbox_changes, the last": lambda session, _: session.call(
        "list_inbox_changes", LIGHT, since=session.cursors["late"]
    ),
    "list_inbox_changes, from the beginning": lambda session, _: session.call(
        "list_inbox_changes", LIGHT, since=session.cursors["early"]
    ),
    "search_conversations, common word": lambda session, _: session.call("search_conversations", LIGHT, query=COMMON),
    "search_conversations, no hits": lambda session, _: session.call(
        "search_conversations", LIGHT, query="nowhereatall"
    ),
    "insert a person, whom a conversation matches": lambda session, number: session.query(
        PERSON, LIGHT, TEAM, f"+49151{10000000 + session.number('conversations') - number}"
    ),
    "clean_up": lambda session, _: session.call("clean_up", None),
}


def measure(world: World, sizes: Sizes, report: Report) -> None:
    """Fill a small and a large database of one server, and run each case in both in turn."""
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
    """Run each case in both databases in turn, in rounds; the first round warms up."""
    for round_number in range(sizes.rounds + 1):
        report.waits.append(machine.becomes_quiet(sizes.quiet))
        for name, case in CASES.items():
            samples: dict[str, list[tuple[float, float]]] = {session.name: [] for session in sessions}
            for step in range(sizes.reads):
                number = round_number * sizes.reads + step
                for session in machine.rotated(sessions, number):
                    samples[session.name].append(session.measure(case(session, number)))
            if round_number:
                record(name, samples, report)


def record(name: str, samples: dict[str, list[tuple[float, float]]], report: Report) -> None:
    """Report the medians of a round, and the largest database against the smallest."""
    for place, unit in enumerate((CPU, CLOCK)):
        medians = {target: median(sample[place] for sample in taken) for target, taken in samples.items()}
        for target, taken in medians.items():
            report.add("scale", name, unit, target, taken)
        smallest, *_, largest = medians
        report.add("scale", f"{name}, {largest} / {smallest}", "x", unit, medians[largest] / medians[smallest])
