"""Sends conversations to messaging-ingest in requests of bounded size, and remembers which requests were answered."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx

from threadline_import.model import Conversation, ImportRefusedError, Message
from threadline_import.wire import render_conversation, render_message, render_updates

PATH = "/functions/v1/messaging-ingest"
MOST_MESSAGES = 1000  # of one request; the endpoint takes 5,000, and a smaller one shows progress
MOST_BYTES = 4_000_000  # of one request before compression; the endpoint takes 10 MB
ATTEMPTS = 8
LONGEST_PAUSE = 60.0
TIMEOUT = httpx.Timeout(60, connect=15)


@dataclass
class Batch:
    """The conversations of one request."""

    conversations: list[dict] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    messages: int = 0
    updates: int = 0
    bytes: int = 0


@dataclass
class Outcome:
    """What the endpoint answered in all."""

    requests: int = 0
    messages: int = 0
    added: int = 0
    skipped: int = 0  # messages of requests that an interrupted run had finished
    changed: int = 0  # messages that are stored with other content
    errors: list[str] = field(default_factory=list)


def batches(conversations: Iterable[Conversation]) -> Iterator[Batch]:
    """Cut conversations into requests. Only one request is in memory at a time."""
    batch = Batch()
    for conversation in conversations:
        fields = render_conversation(conversation)
        taken: list[dict] | None = None
        for entry in conversation.entries:
            if not isinstance(entry, Message):
                continue
            message, updates = render_message(entry), render_updates(entry)
            # Four bytes for a character is the most that UTF-8 takes.
            size = 200 + sum(len(str(value)) for value in message.values()) * 2
            is_full = batch.messages + batch.updates + len(updates) >= MOST_MESSAGES or batch.bytes + size > MOST_BYTES
            if batch.messages and is_full:
                yield batch
                batch, taken = Batch(), None
            if taken is None:
                # A request must not name a conversation twice.
                if any(known["external_conversation_id"] == conversation.id for known in batch.conversations):
                    yield batch
                    batch = Batch()
                taken = []
                batch.conversations.append({**fields, "messages": taken})
                batch.names.append(conversation.name or conversation.participant)
            taken.append(message)
            if updates:
                batch.conversations[-1].setdefault("updates", []).extend(updates)
                batch.updates += len(updates)
            batch.messages += 1
            batch.bytes += size
    if batch.messages:
        yield batch


class Journal:
    """Remembers the requests of a run that did not end, so that the next run goes on behind them."""

    def __init__(self, url: str, connection: str, *, again: bool = False) -> None:
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        name = hashlib.sha256(f"{url}\n{connection}".encode()).hexdigest()[:16]
        self._path = home / "threadline" / "import" / f"{name}.done"
        self._done = set() if again or not self._path.exists() else set(self._path.read_text().split())

    def __contains__(self, digest: str) -> bool:
        """Check whether an earlier run has sent the request."""
        return digest in self._done

    def add(self, digest: str) -> None:
        """Remember an answered request."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(f"{digest}\n")

    def forget(self) -> None:
        """Forget all requests, because the run has ended."""
        self._path.unlink(missing_ok=True)


class Sender:
    """Sends batches to one connection."""

    def __init__(
        self,
        url: str,
        key: str,
        platform: str,
        connection: str,
        journal: Journal,
        say: Callable[[str], object],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ImportRefusedError(f"--url has to start with http:// or https://, not {url!r}.")
        self._url, self._platform, self._connection = url.rstrip("/"), platform, connection
        self._journal, self._say, self._sleep = journal, say, sleep
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip", "x-api-key": key.strip()}
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT)
        self.outcome = Outcome()

    def __enter__(self) -> Sender:
        """Return the sender."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._client.close()

    def send(self, batch: Batch) -> None:
        """Send a batch, unless an earlier run has done so."""
        body = {"platform": self._platform, "connection_id": self._connection, "conversations": batch.conversations}
        # A lone surrogate, which an export may hold, is not text to a database.
        encoded = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        digest = hashlib.sha256(encoded).hexdigest()[:32]
        if digest in self._journal:
            self.outcome.skipped += batch.messages
            return
        answer = self._post(encoded)
        if answer is None:
            for half in _halves(batch):
                self.send(half)
            return
        if self._record(batch, answer):
            self._journal.add(digest)

    def _record(self, batch: Batch, results: list[dict]) -> bool:
        if len(results) != len(batch.conversations):
            raise ImportRefusedError(
                f"The server answered {len(results)} results for {len(batch.names)} conversations."
            )
        self.outcome.requests += 1
        self.outcome.messages += batch.messages
        errors = []
        for name, result in zip(batch.names, results, strict=True):
            self.outcome.added += result.get("messages_added", 0)
            self.outcome.changed += len(result.get("conflicting_message_ids", []))
            if str(result["status"]).startswith("error"):
                errors.append(f"{name}: {result['status']}")
        self.outcome.errors += errors
        return not errors

    def _post(self, encoded: bytes) -> list[dict] | None:
        """Send one request and return its results; None if it must be smaller. Try again while the server is away."""
        body = gzip.compress(encoded, 1)
        for attempt in range(ATTEMPTS):
            wait = 0.0
            try:
                answer = self._client.post(self._url + PATH, content=body)
            except httpx.TransportError as failure:
                problem = f"{self._url} did not answer: {failure or type(failure).__name__}."
            else:
                if answer.status_code == 200:
                    return _results(answer)
                if answer.status_code == 413:
                    return None
                problem = _explain(answer, self._url)
                if answer.status_code < 500 and answer.status_code not in (408, 429):
                    raise ImportRefusedError(problem)
                wait = _retry_after(answer.headers.get("Retry-After"))
            if attempt + 1 < ATTEMPTS:
                pause = max(wait, min(2.0**attempt, LONGEST_PAUSE))
                self._say(f"{problem} Trying again in {pause:.0f} s.")
                self._sleep(pause)
        raise ImportRefusedError(
            f"{problem} Gave up after {ATTEMPTS} attempts. Run the same command again; it goes on."
        )


def _halves(batch: Batch) -> Iterator[Batch]:
    if batch.messages < 2:
        raise ImportRefusedError(f"One message of {batch.names[0]} is larger than the server takes.")
    for part in (0, 1):
        half = Batch()
        for conversation, name in zip(batch.conversations, batch.names, strict=True):
            middle = len(conversation["messages"]) - len(conversation["messages"]) // 2
            messages = conversation["messages"][middle:] if part else conversation["messages"][:middle]
            if messages:
                # An update may come before its message, so the first half can have all of them.
                updates = [] if part else conversation.get("updates", [])
                half.conversations.append({**conversation, "messages": messages, "updates": updates})
                half.names.append(name)
                half.messages += len(messages)
        if half.messages:
            yield half


def _results(answer: httpx.Response) -> list[dict]:
    try:
        return answer.json()["results"]
    except (ValueError, KeyError, TypeError) as problem:
        raise ImportRefusedError("The answer is not one of messaging-ingest. Check --url.") from problem


def _explain(answer: httpx.Response, url: str) -> str:
    if answer.is_redirect:
        # Following it would carry the key to another address.
        return f"{url} sends on to {answer.headers.get('Location')}. Give that server as --url."
    try:
        reason = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        reason = answer.reason_phrase
    return f"The server answered {answer.status_code}: {reason}."


def _retry_after(header: str | None) -> float:
    """Return the seconds of a Retry-After header, which is a number or a date."""
    if not header:
        return 0.0
    if header.strip().isdigit():
        return min(float(header), LONGEST_PAUSE)
    try:
        return min(max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time()), LONGEST_PAUSE)
    except ValueError:
        return 0.0
