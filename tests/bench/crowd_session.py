"""A session of the service in a filled database, and what one call of it costs."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any
from uuid import UUID

import psycopg

from tests.bench import crowd, machine
from tests.bench.crowd import Crowd

ACT = """
select set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)
"""
CALL = "select status, body from private.call(%s, %s, %s, %s, '{}', %s)"


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

    def size(self, of: str) -> int:
        """How many rows of a kind the database has."""
        return self.crowd.numbers[of]

    def channel(self, user_id: str, number: int) -> str:
        """Return a channel of a user, but not the large one."""
        count = self.size("few" if user_id == LIGHT else "many")
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
