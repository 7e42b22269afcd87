"""Clients that record their answers: each is a thread with its own seed, user and connection."""

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
from threadline_devstack.keys import JWT_SECRET

from tests.faults.history import OPEN, Call, History
from tests.support.database import add_channel, rows
from tests.support.ingest import PATH, Sender, conversation, message
from tests.support.tokens import bearer, sign
from tests.support.twin import add_twin
from tests.support.world import BASE

THREADS = 5  # ingested conversations that all clients share
PAUSE = 0.02  # seconds until a listener with nothing to read polls again
PATIENCE = 0.5  # seconds until a retry: a restarting server needs the processor


@dataclass
class Arena:
    """What the clients of one run share: a channel with a twin, and a connection for ingest."""

    channel_id: str
    tokens: list[str]  # of its members
    connection_id: str
    secret: str


def open_arena(client: httpx.Client, database_url: str, hook_url: str, users: int) -> tuple[Arena, Sender, str]:
    """Create a channel with members and a twin with a webhook; return it with the sender and the twin's id."""
    sender = Sender.create(client, database_url)
    with psycopg.connect(database_url) as db:
        user_ids = rows(
            db,
            """
            insert into auth.users (id, email, aud, role, created_at, updated_at)
            select gen_random_uuid(), gen_random_uuid() || '@example.com', 'authenticated', 'authenticated',
                now(), now()
            from generate_series(1, %s) returning id::text
            """,
            users,
        )
        channel_id = add_channel(db, "arena", user_ids)
    twin_id, _ = add_twin(database_url, user_ids[0], [channel_id], hook_url)
    claims = {"aud": "authenticated", "role": "authenticated", "exp": int(time.time()) + 3600}
    tokens = [sign({"sub": user_id, **claims}, JWT_SECRET) for user_id in user_ids]
    return Arena(channel_id, tokens, sender.connection_id, sender.secret), sender, twin_id


@dataclass
class Client:
    """One client. The first number is its own, the second the number of clients."""

    number: int
    url: str
    arena: Arena
    seed: int
    history: History
    is_over: threading.Event  # start no new calls from now on
    marks: list[str] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    seen: int = 0

    def run(self) -> None:
        """Make random calls until the end, then repeat calls with a key until they succeed."""
        chance = random.Random(f"{self.seed} {self.number}")
        # Two clients are one user, who sends every call with a key twice.
        self.headers = bearer(self.arena.tokens[self.number // 2])
        step = 0
        with httpx.Client(base_url=self.url, timeout=20, verify=False) as self.http:
            while not self.is_over.is_set():
                step += 1
                self._act(chance, step)

    def _act(self, chance: random.Random, step: int) -> None:
        if step % 4 == 1:
            self._send_with_key(f"pair {self.number // 2} {step}")
        elif step % 4 == 2:
            self._ingest(chance, step)
        elif step % 4 == 3:
            self._look()
        elif not self.marks or chance.random() < 0.4:
            self._send(f"{self.number} {step}")
        else:
            self._change(chance, step)

    def _send_with_key(self, mark: str) -> None:
        while self._create(mark, {"idempotency-key": mark}).status in OPEN:
            pass

    def _send(self, mark: str) -> None:
        call = self._create(mark, {})
        if call.status == 201:
            self.marks.append(mark)
            self.ids[mark] = call.answer["data"]["id"]

    def _create(self, mark: str, headers: dict[str, str]) -> Call:
        body = {"channel_id": self.arena.channel_id, "content": mark, "metadata": {"mark": mark}}
        return self._call("create", mark, mark, "POST", BASE, json=body, headers=self.headers | headers)

    def _change(self, chance: random.Random, step: int) -> None:
        mark = chance.choice(self.marks)
        path = f"{BASE}/{self.ids[mark]}"
        kind = chance.choices(["edit", "pin", "react", "delete"], [8, 2, 3, 1])[0]
        is_on = chance.random() < 0.6
        if kind == "edit":
            text = f"{mark} edited {step}"
            self._call("edit", mark, text, "PUT", path, json={"content": text}, headers=self.headers)
        elif kind == "pin":
            self._call("pin", mark, is_on, "POST" if is_on else "DELETE", f"{path}/pin", headers=self.headers)
        elif kind == "react":
            method = "PUT" if is_on else "DELETE"
            self._call("react", mark, is_on, method, f"{path}/reactions/fire", headers=self.headers)
        else:
            self._call("delete", mark, True, "DELETE", path, headers=self.headers)
            self.marks.remove(mark)

    def _ingest(self, chance: random.Random, step: int) -> None:
        # Every message is also in the next batch, and the pair's other client sends the same ones; one batch of three
        # is lost.
        names = [f"{self.number // 2} {step + more}" for more in range(0, 8, 4)]
        thread = f"thread {chance.randrange(THREADS) if step % 12 == 2 else self.number // 2 % THREADS}"
        body = {
            "platform": "whatsapp",
            "connection_id": self.arena.connection_id,
            "conversations": [conversation(*map(message, names), external_id=thread)],
        }
        stored = [(thread, name) for name in names]
        self._call("ingest", thread, stored, "POST", PATH, json=body, headers={"x-api-key": self.arena.secret})

    def _look(self) -> None:
        """Read all events since the last look."""
        path = f"/api/v2/channels/{self.arena.channel_id}/events"
        parameters = {"since": str(self.seen), "limit": "1000"}
        call = self._call("look", self.arena.channel_id, None, "GET", path, params=parameters, headers=self.headers)
        if call.status == 200:
            self.seen = call.value

    def _call(self, verb: str, subject: str, value: Any, method: str, path: str, **options: Any) -> Call:
        began = time.monotonic()
        try:
            reply = self.http.request(method, path, **options)
        except httpx.TransportError:
            status, answer = None, None
        else:
            status, answer = reply.status_code, reply.json()
        if verb == "look" and status == 200:
            # A page may end before the log does.
            value = self.seen if answer["meta"]["has_more"] else answer["meta"]["last_seq"]
        call = Call(f"client {self.number}", verb, subject, value, began, time.monotonic(), status, answer)
        self.history.add(call)
        if status in OPEN:
            time.sleep(PATIENCE)
        return call


class Listener:
    """Catches up with the event log repeatedly and keeps every event, within its `with` block."""

    def __init__(self, url: str, arena: Arena) -> None:
        self._url, self._arena = url, arena
        self._must_end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.heard: list[dict[str, Any]] = []

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until it has read every event that exists now."""
        self._must_end.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=20, verify=False) as http:
            while True:
                is_last = self._must_end.is_set()
                page = read_page(http, self._arena, self.heard[-1]["payload"]["seq"] if self.heard else 0, limit=50)
                if page is None:
                    time.sleep(PATIENCE)
                    continue
                self.heard += page["data"]
                if is_last and not page["meta"]["has_more"]:
                    return
                if not page["data"]:
                    time.sleep(PAUSE)


def read_page(http: httpx.Client, arena: Arena, since: int, limit: int = 1000) -> Any:
    """Read a page of the event log; None without an answer."""
    path = f"/api/v2/channels/{arena.channel_id}/events"
    try:
        reply = http.get(path, params={"since": since, "limit": limit}, headers=bearer(arena.tokens[0]))
    except httpx.TransportError:
        return None
    return reply.json() if reply.status_code == 200 else None


def read_log(http: httpx.Client, arena: Arena) -> list[dict[str, Any]]:
    """Read the whole event log of a channel."""
    found: list[dict[str, Any]] = []
    while True:
        page = read_page(http, arena, found[-1]["payload"]["seq"] if found else 0)
        if page is None:
            time.sleep(PAUSE)
            continue
        found += page["data"]
        if not page["meta"]["has_more"]:
            return found
