"""The calls of `/api/v2/messages` that write."""

import http.client
import json
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from statistics import median
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import jwt
from threadline_devstack import keys

from tests.bench import fanout, load, machine, programs, sockets, texts
from tests.bench.report import Report
from tests.bench.setting import SERVICE
from tests.bench.sizes import Sizes
from tests.bench.world import World

PATH = "/api/v2/messages"
CONNECTIONS = 16
BARE, WITHOUT_RLS = "bare insert", "threadline as service_role, without row-level security"

CHANNEL = """
insert into public.channels (workspace_id, kind, name, created_by) values (null, 'channel', 'bench', %s) returning id
"""
USERS = """
insert into auth.users (id, email)
select gen_random_uuid(), gen_random_uuid() || '@example.com' from generate_series(1, %s)
returning id::text
"""
# What tests/bench/bare.py writes to.
TABLE = """
create schema if not exists bare;
create table if not exists bare.messages (
    id uuid primary key default gen_random_uuid(),
    channel_id uuid not null,
    user_id uuid not null,
    content text not null,
    metadata jsonb not null,
    created_at timestamptz not null default now()
);
create index if not exists messages_channel_id_created_at_idx on bare.messages (channel_id, created_at);
grant all on schema bare to postgres;
grant all on bare.messages to postgres;
"""


@dataclass(frozen=True)
class Caller:
    """A caller of the service, with the parameters of each of its requests."""

    name: str
    url: str
    token: str
    parameters: dict[str, str]

    def get(self, path: str, **parameters: object) -> bytes:
        """Return the bytes of a request."""
        query = urlencode({**self.parameters, **parameters})
        return load.request("GET", f"{PATH}{path}?{query}", {"authorization": f"Bearer {self.token}"})

    def post(self, path: str, body: dict[str, object]) -> bytes:
        """A request with a body."""
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        return load.request("POST", path, headers, json.dumps({**self.parameters, **body}).encode())


def member(world: World, user_id: str) -> Caller:
    """Return a caller for a user."""
    claims = {"aud": "authenticated", "role": "authenticated", "sub": user_id, "exp": time.time() + 36_000}
    return Caller(SERVICE, world.targets[0].url, jwt.encode(claims, keys.JWT_SECRET), {})


def backend(world: World, user_id: str) -> Caller:
    """Return a caller for service_role acting for a user, without policies and limits."""
    return Caller(WITHOUT_RLS, world.targets[0].url, keys.SERVICE_ROLE_KEY, {"user_id": user_id})


def measure(world: World, sizes: Sizes, report: Report) -> None:
    """Measure writing beside a bare insert, and until all members have the broadcast."""
    world.admin.execute("update private.settings set requests_per_minute = 1000000000")
    people = [call(world, world.owner_id) for call in (member, backend)]
    write(world, [world.owner_id], "create, one at a time", sizes, report)
    write(world, [world.owner_id] * CONNECTIONS, f"create, {CONNECTIONS} at once by one user", sizes, report)
    users = [user_id for (user_id,) in world.admin.execute(USERS, [CONNECTIONS])]
    write(world, users, f"create, {CONNECTIONS} at once by as many users", sizes, report)
    tell(world, people[0], sizes, report)


def channel(world: World, user_id: str) -> UUID:
    """A new channel of a user's."""
    (found,) = world.admin.execute(CHANNEL, [user_id]).fetchone()
    return found


def write(world: World, users: Sequence[str], case: str, sizes: Sizes, report: Report) -> None:
    """Create messages over a connection and into a channel for each user, in turn with a bare insert."""
    world.admin.execute(TABLE)
    channels = [str(channel(world, user_id)) for user_id in users]
    with ExitStack() as stack:
        bare_url = stack.enter_context(programs.asgi("tests.bench.bare:application", DATABASE_URL=world.database_url))
        writers = {
            PATH: [[call(world, user_id) for user_id in users] for call in (member, backend)],
            "/messages": [[Caller(BARE, bare_url, "", {"user_id": user_id}) for user_id in users]],
        }
        turns = [(path, callers) for path, several in writers.items() for callers in several]
        for number in range(sizes.rounds + 1):  # the first warms up
            # The first recorded target is the base of the ratios.
            for path, callers in machine.rotated(turns, number - 1):
                requests = [
                    callers[index % len(users)].post(
                        path, {"channel_id": channels[index % len(users)], "content": content, "metadata": {}}
                    )
                    for index, content in enumerate(contents(sizes.writes))
                ]
                report.waits.append(machine.becomes_quiet(sizes.quiet))
                answers, seconds = load.send(callers[0].url, requests, len(users))
                statuses = {answer.status for answer in answers}
                if statuses != {201}:
                    report.failures.append(f"FAILED: {case}: {callers[0].name} answered {sorted(statuses)}.")
                if number:
                    report.add("messages", case, "messages/s", callers[0].name, len(requests) / seconds)


def tell(world: World, person: Caller, sizes: Sizes, report: Report) -> None:
    """Post messages one by one, each after every subscribed member has received the one before."""
    size = min(sizes.subscribers)
    channel_id = channel(world, world.owner_id)
    payload = {"config": {"private": True}, "access_token": person.token}
    join = {"topic": f"realtime:channel:{channel_id}", "event": "phx_join", "payload": payload, "ref": "1"}
    path = f"/realtime/v1/websocket?vsn=1.0.0&apikey={keys.ANON_KEY}"
    for number in range(sizes.rounds):
        with ExitStack() as stack:
            port, _ = stack.enter_context(programs.fan_server("realtime", fanout.database_url(world)))
            members = stack.enter_context(sockets.audience(size, port, path, json.dumps(join)))
            service = stack.enter_context(closing(http.client.HTTPConnection(urlsplit(person.url).netloc)))
            report.waits.append(machine.becomes_quiet(sizes.quiet))
            took = []
            for index in range(sizes.broadcasts + 1):  # the first warms up
                marker = f"message {number} {index:06}"
                body = json.dumps({"channel_id": str(channel_id), "content": marker})
                headers = {"authorization": f"Bearer {person.token}", "content-type": "application/json"}
                took.append(members.time(partial(service.request, "POST", PATH, body, headers), marker))
                service.getresponse().read()
        report.add("messages", f"from POST to the last of {size:,} members", "ms", SERVICE, median(took[1:]))


def contents(count: int) -> list[str]:
    """Return texts that are the same in every run."""
    source = random.Random(count)
    return [texts.text(source) for _ in range(count)]
