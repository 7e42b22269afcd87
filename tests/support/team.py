"""Users who talk to the service over HTTP."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg

from tests.support.cluster import TestCluster
from tests.support.database import add_channel, keep_minute, lift_request_limit, rows
from tests.support.event_log import inconsistencies
from tests.support.service import Service, serving
from tests.support.sessions import session
from tests.support.tokens import JWT_SECRET, bearer, token
from tests.support.world import BASE


@dataclass(frozen=True)
class Team:
    """Users of one channel; the first is its owner, the others are members."""

    client: httpx.Client
    database_url: str  # of role postgres
    channel_id: str
    user_ids: list[str]

    @classmethod
    def create(cls, client: httpx.Client, database_url: str, size: int = 2) -> "Team":
        """Create the users and the channel."""
        with session(database_url) as db:
            user_ids = rows(
                db,
                """
                insert into auth.users (id, email, aud, role)
                select gen_random_uuid(), %s || n || '@example.com', 'authenticated', 'authenticated'
                from generate_series(1, %s) as n returning id::text
                """,
                f"team_{secrets.token_hex(8)}_",
                size,
            )
            channel_id = add_channel(db, "team", user_ids)
        return cls(client, database_url, channel_id, user_ids)

    def request(self, method: str, path: str = "", who: int = 0, **options: Any) -> httpx.Response:
        """Send a request as one of the users."""
        headers = bearer(token(self.user_ids[who])) | options.pop("headers", {})
        return self.client.request(method, BASE + path, headers=headers, **options)

    def send(self, content: str = "Hello", who: int = 0, **fields: Any) -> httpx.Response:
        """Create a message."""
        return self.request("POST", who=who, json={"channel_id": self.channel_id, "content": content, **fields})

    def sent_id(self, content: str = "Hello", who: int = 0, **fields: Any) -> str:
        """Create a message and return its id."""
        reply = self.send(content, who, **fields)
        assert reply.status_code == 201, reply.text
        return reply.json()["data"]["id"]

    def history(self, who: int = 0, **parameters: Any) -> Any:
        """Return a page of history, with its envelope."""
        reply = self.request("GET", "/history", who, params={"channel_id": self.channel_id, **parameters})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def query(self, statement: str, *parameters: object) -> list[Any]:
        """Run a statement as role postgres and commit it."""
        with session(self.database_url) as db:
            return rows(db, statement, *parameters)

    def keep_minute(self) -> None:
        """Let the count of the owner's requests go on when this minute ends."""
        with session(self.database_url) as db:
            keep_minute(db, self.user_ids[0])

    def inconsistencies(self) -> list[str]:
        """Return the damage in the channel's log and counters."""
        with session(self.database_url) as db:
            return inconsistencies(db, self.channel_id)


@contextmanager
def serving_users(database_url: str, log: Path, **environment: str) -> Iterator[tuple[Service, httpx.Client]]:
    """Run a service that accepts tokens of `tests.support.tokens`; yield it with its client."""
    with serving(database_url, log, **{"JWT_SECRET": JWT_SECRET, **environment}) as service:
        yield service, service.client


class Running(NamedTuple):
    """A service on a database without a limit of requests, its client, and the URL of role postgres."""

    service: Service
    client: httpx.Client
    database_url: str


@contextmanager
def running_service(
    cluster: TestCluster, template: str, log: Path, options: str = "", **environment: str
) -> Iterator[Running]:
    """Run a service on a new database without a limit of requests; `options` end its connection string."""
    name = create_unlimited_database(cluster, template)
    with serving_users(cluster.url(name, "authenticator") + options, log, **environment) as (service, client):
        yield Running(service, client, cluster.url(name, "postgres"))


def create_unlimited_database(cluster: TestCluster, template: str) -> str:
    """Create a database without a limit of requests per minute, and return its name."""
    name = cluster.create(template)
    with psycopg.connect(cluster.url(name, "postgres")) as db:
        lift_request_limit(db)
    return name
