"""An owner reads the newest messages of a long conversation and the whole array of a short one."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from uuid import UUID

import jwt
import psycopg
from psycopg.types.json import set_json_loads
from threadline_devstack import keys

from tests.bench import load, machine
from tests.bench.report import Report
from tests.bench.setting import SERVICE
from tests.bench.sizes import Sizes
from tests.bench.world import ARRAY, ROWS, Store, World

PAGE = 50
NAMES = {ROWS: SERVICE, ARRAY: "naive"}


@dataclass(frozen=True)
class Query:
    """Ways to read a conversation: a statement with its id, or a path of the Data API that ends with it."""

    statement: str
    path: str
    profile: str


ALL = {
    ROWS: Query(
        "select public.messages(conversation) from public.conversations as conversation where id = %s",
        "/conversations?select=messages&id=eq.",
        "public",
    ),
    ARRAY: Query(
        "select messages from naive.conversations where id = %s",
        "/conversations?select=messages&id=eq.",
        "naive",
    ),
}
NEWEST = {
    ROWS: Query(
        f"""
        select message from public.conversation_messages
        where conversation_id = %s
        order by sent_at desc, external_id desc
        limit {PAGE}
        """,
        f"/conversation_messages?select=message&order=sent_at.desc,external_id.desc&limit={PAGE}&conversation_id=eq.",
        "public",
    ),
    ARRAY: Query(
        f"""
        select jsonb_path_query_array(messages, '$[last - {PAGE - 1} to last]')
        from naive.conversations where id = %s
        """,
        ALL[ARRAY].path,  # the Data API cannot return part of an array
        "naive",
    ),
}


@dataclass(frozen=True)
class Reader:
    """A user who reads: in a session of the database and, where there is one, through the Data API."""

    session: psycopg.Connection
    data_api: str | None
    token: str

    def ways(self) -> Iterator[str]:
        """The ways that there are."""
        yield "SQL"
        if self.data_api:
            yield "Data API"

    def read(self, way: str, query: Query, thread: UUID) -> float:
        """Read in this way without parsing the answer; return milliseconds."""
        if way == "Data API":
            headers = {"authorization": f"Bearer {self.token}", "accept-profile": query.profile}
            (answer,), _ = load.send(self.data_api, [load.request("GET", f"{query.path}{thread}", headers)])
            assert answer.status == 200, answer
            return answer.milliseconds
        begun = time.perf_counter()
        self.session.execute(query.statement, [thread]).fetchall()
        return (time.perf_counter() - begun) * 1000


@contextmanager
def owner(world: World) -> Iterator[Reader]:
    """Open a session of the user who owns Threadline's conversations."""
    claims = {"sub": world.owner_id, "role": "authenticated"}
    with psycopg.connect(world.login_url, autocommit=True) as session:
        set_json_loads(bytes, session)
        session.execute("set role authenticated")
        session.execute("select set_config('request.jwt.claims', %s, false)", [json.dumps(claims)])
        yield Reader(session, world.data_api, jwt.encode(claims, keys.JWT_SECRET))


def measure(world: World, sizes: Sizes, report: Report) -> None:
    """Every read in every way, many times in every round."""
    world.fill(sizes.long_read)
    cases: list[tuple[str, Mapping[Store, Query], int]] = [
        (f"newest {PAGE} of {sizes.long_read:,}", NEWEST, sizes.long_read),
        (f"all of {sizes.short_read:,}", ALL, sizes.short_read),
    ]
    threads = {(store, length): world.copy(store, name, length) for name, _, length in cases for store in world.stores}
    world.settle()
    with owner(world) as reader:
        for number in range(sizes.rounds):
            for name, queries, length in cases:
                for way in reader.ways():
                    for store in machine.rotated(world.stores, number):
                        report.waits.append(machine.becomes_quiet(sizes.quiet))
                        reads = (reader.read(way, queries[store], threads[store, length]) for _ in range(sizes.reads))
                        took = median(machine.for_a_second(reads))
                        report.add("reading", f"{name}, {way}", "ms", NAMES[store], took)
