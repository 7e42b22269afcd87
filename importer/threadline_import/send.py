"""Sends conversations to messaging-ingest in requests of bounded size, with their files."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType

import httpx

from threadline_import.journal import Journal
from threadline_import.media import KINDS, File
from threadline_import.model import Conversation, ImportRefusedError, Message, Update
from threadline_import.patience import ask_patiently, explain
from threadline_import.upload import Upload, Uploader
from threadline_import.wire import render_conversation, render_message, render_update, render_updates

PATH = "/functions/v1/messaging-ingest"
MOST_MESSAGES = 1000  # of one request; the endpoint takes 5,000, and a smaller one shows progress
MOST_BYTES = 4_000_000  # of one request before compression; the endpoint takes 10 MB
MOST_OFFERS = 100  # files that an answer offers an upload for, whether we have them or not
TIMEOUT = httpx.Timeout(60, connect=15)


Key = tuple[str, str, str]  # conversation, message and sender


@dataclass
class Batch:
    """The conversations of one request."""

    conversations: list[dict] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    messages: int = 0
    updates: int = 0
    bytes: int = 0
    media: int = 0  # messages that can have a file
    files: dict[Key, File] = field(default_factory=dict)

    def has_no_room(self, size: int, updates: int, entry: Message | Update, file: File | None) -> bool:
        """Check whether an entry belongs into the next request."""
        if not self.conversations:
            return False
        is_full = self.messages + self.updates + updates >= MOST_MESSAGES or self.bytes + size > MOST_BYTES
        return is_full or (self.media >= MOST_OFFERS and _is_media(entry) and bool(self.files or file))


@dataclass
class Outcome:
    """What the endpoint answered in all."""

    requests: int = 0
    messages: int = 0
    added: int = 0
    skipped: int = 0  # messages of requests that an interrupted run had finished
    changed: int = 0  # messages that are stored with other content
    files: int = 0  # uploaded
    file_bytes: int = 0
    files_known: int = 0  # files that were stored before
    errors: list[str] = field(default_factory=list)


def batches(conversations: Iterable[Conversation]) -> Iterator[Batch]:
    """Cut conversations into requests. Only one request is in memory at a time."""
    batch = Batch()
    for conversation in conversations:
        fields = render_conversation(conversation)
        target: dict | None = None
        for entry in conversation.entries:
            if not isinstance(entry, Message | Update):
                continue
            message = render_message(entry) if isinstance(entry, Message) else None
            updates = render_updates(entry) if isinstance(entry, Message) else [render_update(entry)]
            file = _file(entry)
            # Four bytes for a character is the most that UTF-8 takes.
            size = 200 + sum(len(str(value)) for given in [message or {}, *updates] for value in given.values()) * 2
            if batch.has_no_room(size, len(updates), entry, file):
                yield batch
                batch, target = Batch(), None
            if target is None:
                # A request must not name a conversation twice.
                if any(known["external_conversation_id"] == conversation.id for known in batch.conversations):
                    yield batch
                    batch = Batch()
                target = {**fields, "messages": []}
                batch.conversations.append(target)
                batch.names.append(conversation.name or conversation.participant)
            if message:
                target["messages"].append(message)
                batch.messages += 1
            if file:
                batch.files[_key(target, message)] = file
            if updates:
                target.setdefault("updates", []).extend(updates)
            batch.updates += len(updates)
            batch.media += _is_media(entry)
            batch.bytes += size
    if batch.conversations:
        yield batch


def _is_media(entry: Message | Update) -> bool:
    return isinstance(entry, Message) and entry.kind in KINDS


def _file(entry: Message | Update) -> File | None:
    if _is_media(entry) and entry.file and not entry.file.is_too_large:
        return entry.file
    return None


def _key(conversation: dict, message: dict) -> Key:
    sender = message.get("sender") if conversation.get("kind") == "group" else None
    return conversation["external_conversation_id"], message["id"], str(sender or "")


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
        self._uploader = Uploader(say, sleep)
        self.outcome = Outcome()

    def __enter__(self) -> Sender:
        """Return the sender."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self._client.close()
        self._uploader.close()

    def send(self, batch: Batch, on_file: Callable[[int], object] = lambda _: None) -> None:
        """Send a batch and upload its files, unless an earlier run has done so."""
        encoded = self._encode(batch.conversations, has_files=bool(batch.files))
        sizes = [(key, file.name, file.size) for key, file in batch.files.items()]
        digest = hashlib.sha256(encoded + (repr(sizes).encode() if sizes else b"")).hexdigest()[:32]
        if digest in self._journal:
            self.outcome.skipped += batch.messages
            self.outcome.files_known += len(batch.files)
            return
        answer = self._post(encoded)
        if answer is None:
            for half in _halves(batch):
                self.send(half, on_file)
            return
        is_stored = self._record(batch, answer)
        if self._upload(batch, answer, on_file) and is_stored:
            self._journal.add(digest)

    def _encode(self, conversations: list[dict], *, has_files: bool) -> bytes:
        body = {"platform": self._platform, "connection_id": self._connection, "conversations": conversations}
        if has_files:
            body["media_uploads"] = True
        # A lone surrogate, which an export may hold, is not text to a database.
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")

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

    def _upload(self, batch: Batch, results: list[dict], on_file: Callable[[int], object]) -> bool:
        """Upload the files that the server has not; return whether it has all of them now."""
        if not batch.files:
            return True
        offered = _offers(batch.conversations, results)
        problems = _refusals(results)
        uploads = [Upload(key, batch.files[key], url) for key, url in offered.items() if key in batch.files and url]
        if any(key in batch.files and not url for key, url in offered.items()):
            problems.append("The server gave no URL for a file. Run the command again when Storage works.")
        failures = self._uploader.upload(uploads, on_file)
        problems += [problem for problem in failures if problem]
        done = [upload for upload, problem in zip(uploads, failures, strict=True) if not problem]
        if done:
            problems += self._settle(batch, done)
        self.outcome.files += len(done)
        self.outcome.file_bytes += sum(upload.file.size for upload in done)
        if not problems:
            pairs = zip(batch.conversations, results, strict=True)
            stored = {each["external_conversation_id"] for each, result in pairs if result.get("conversation_id")}
            self.outcome.files_known += sum(key[0] in stored for key in batch.files.keys() - offered.keys())
        self.outcome.errors += [problem for problem in problems if problem not in self.outcome.errors]
        return not problems

    def _settle(self, batch: Batch, done: list[Upload]) -> list[str]:
        """Send the messages of uploaded files again: the server then looks for the files and shows them."""
        keys = {upload.key for upload in done}
        conversations = []
        for conversation in batch.conversations:
            messages = [message for message in conversation["messages"] if _key(conversation, message) in keys]
            if messages:
                conversations.append({**conversation, "messages": messages, "updates": []})
        results = self._post(self._encode(conversations, has_files=True)) or []
        lost = keys & _offers(conversations, results).keys()
        return [f"Storage did not keep {batch.files[key].name}. Run the command again." for key in sorted(lost)]

    def _post(self, encoded: bytes) -> list[dict] | None:
        """Send one request and return its results; None if it must be smaller. Try again while the server is away."""
        body = gzip.compress(encoded, 1)
        answer = ask_patiently(
            lambda: self._client.post(self._url + PATH, content=body), self._url, self._say, self._sleep
        )
        if answer.status_code == 413:
            return None
        if answer.status_code != 200:
            raise ImportRefusedError(explain(answer, self._url))
        return _results(answer)


def _offers(conversations: list[dict], results: list[dict]) -> dict[Key, str | None]:
    """Return the files that the server has not, with the URLs to upload them to."""
    return {
        (conversation["external_conversation_id"], offer["message_id"], offer.get("sender") or ""): offer.get("url")
        for conversation, result in zip(conversations, results, strict=False)
        for offer in result.get("uploads", [])
    }


def _refusals(results: list[dict]) -> list[str]:
    if any(result.get("uploads_refused") for result in results):
        return [
            "The workspace has no room for more files. Raise the setting workspace_media_megabytes and run the command "
            "again, or leave files out with --no-media."
        ]
    if any("uploads" not in result and result.get("conversation_id") for result in results):
        return ["The server takes no files. Update it, or leave files out with --no-media."]
    return []


def _halves(batch: Batch) -> list[Batch]:
    if batch.messages < 2:
        raise ImportRefusedError(f"One message of {batch.names[0]} is larger than the server takes.")
    halves = [Batch(), Batch()]
    room = batch.messages - batch.messages // 2  # messages of the first half that are left
    for conversation, name in zip(batch.conversations, batch.names, strict=True):
        messages, updates = conversation["messages"], conversation.get("updates", [])
        first, second = messages[:room], messages[room:]
        room -= len(first)
        for half, some in zip(halves, (first, second), strict=True):
            if some or updates:
                half.conversations.append({**conversation, "messages": some, "updates": updates})
                half.names.append(name)
                half.messages += len(some)
                keys = (_key(conversation, message) for message in some)
                half.files |= {key: batch.files[key] for key in keys if key in batch.files}
                # An update may come before its message, so the first half can have all of them.
                updates = []
    return halves


def _results(answer: httpx.Response) -> list[dict]:
    try:
        return answer.json()["results"]
    except (ValueError, KeyError, TypeError) as problem:
        raise ImportRefusedError("The answer is not one of messaging-ingest. Check --url.") from problem
