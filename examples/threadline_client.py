"""Sends conversations to Threadline's messaging-ingest endpoint; needs nothing but the standard library.

A conversation is a dict as the endpoint takes it: external_conversation_id, participant_identifier,
participant_name and messages. Sending the same one twice is safe: the endpoint knows messages by their id.
"""

from __future__ import annotations

import argparse
import email.utils
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

MAX_MESSAGES = 500  # what the endpoint recommends as the most for one request
ATTEMPTS = 6
TIMEOUT_SECONDS = 60
PATH = "/functions/v1/messaging-ingest"


class ImporterError(Exception):
    """Something the user can put right; its text is one sentence that says what."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET and carry the key to another address."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every importer has."""
    parser.add_argument("--connection", metavar="ID", help="connection_id of your messaging connection")
    parser.add_argument("--url", default="http://127.0.0.1:54321", help="the project's URL (%(default)s)")
    parser.add_argument(
        "--key",
        default=os.environ.get("MESSAGING_API_SECRET"),
        help="API secret of the connection (default: $MESSAGING_API_SECRET)",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent, and send nothing")


def run(importer: Callable[[], int]) -> int:
    """Run an importer and turn what the user can put right into one line and exit code 1."""
    try:
        return importer()
    except (ImporterError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1


def read_text(path: str) -> str:
    """Read an export, which is always UTF-8, with or without a byte order mark."""
    try:
        # newline="" keeps a line separator inside a message what it is.
        with open(path, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123
            return file.read()
    except UnicodeDecodeError as problem:
        raise ImporterError(f"{path} is not UTF-8 text, so it is not an export as it was saved.") from problem


def sent_at(moment: datetime, seen: Counter[datetime]) -> str:
    """Write a UTC moment for the endpoint, a millisecond apart from those `seen`: that keeps the order of the file."""
    apart = moment + timedelta(milliseconds=seen[moment])
    seen[moment] += 1
    return f"{apart:%Y-%m-%dT%H:%M:%S}.{apart.microsecond // 1000:03}Z"


def report(conversations: list[dict], skipped: Counter[str], unreadable: list[str]) -> None:
    """Print what an export holds: conversations, what is left out, and what could not be read."""
    for conversation in conversations:
        times = [message["sent_at"] for message in conversation["messages"]]
        print(f"{_name(conversation)}: {len(times)} messages, {min(times)} to {max(times)}")
    if not conversations:
        print("No conversation to import.")
    if skipped:
        print("Left out: " + ", ".join(f"{count} {what}" for what, count in sorted(skipped.items())))
    first = f", the first: {unreadable[0][:100]}" if unreadable else ""
    print(f"Could not be read: {len(unreadable)}{first}")


def deliver(platform: str, conversations: list[dict], arguments: argparse.Namespace) -> int:
    """Send the conversations, or only say so in a dry run; answer the exit code."""
    if arguments.dry_run:
        print("Nothing was sent (--dry-run).")
        return 0
    if not arguments.connection:
        raise ImporterError("Say which messaging connection this is for with --connection.")
    if not arguments.key:
        raise ImporterError("Give the API secret of the connection in $MESSAGING_API_SECRET or with --key.")
    failed = 0
    for batch in batches(conversations):
        body = {"platform": platform, "connection_id": arguments.connection, "conversations": batch}
        failed += _print_results(batch, post(arguments.url, arguments.key.strip(), body))
    if failed:
        print(f"{failed} of the results above are errors.", file=sys.stderr)
    return 1 if failed else 0


def batches(conversations: Iterable[dict], size: int = MAX_MESSAGES) -> Iterator[list[dict]]:
    """Split conversations into requests of at most `size` messages, each conversation once in a request."""
    batch: list[dict] = []
    room = size
    for conversation in conversations:
        rest = conversation["messages"]
        while rest:
            batch.append({**conversation, "messages": rest[:room]})
            rest, room = rest[room:], room - len(rest[:room])
            if not room:
                yield batch
                batch, room = [], size
    if batch:
        yield batch


def post(url: str, key: str, body: dict, sleep: Callable[[float], object] = time.sleep) -> list[dict]:
    """Send one request and return its results, trying again while the server is away or overloaded."""
    request = _request(url, key, body)
    for attempt in range(ATTEMPTS):
        try:
            with _opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                return _results(answer.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                problem = _explain(refusal, url)
                if refusal.code < 500 and refusal.code != 429:
                    raise ImporterError(problem) from refusal
                wait = _retry_after(refusal.headers.get("Retry-After"))
        except (OSError, http.client.HTTPException) as failure:
            problem, wait = f"{url} did not answer: {failure}", 0.0
        if attempt + 1 < ATTEMPTS:
            pause = max(wait, 2.0**attempt)
            print(f"{problem} Trying again in {pause:.0f} s.", file=sys.stderr)
            sleep(pause)
    raise ImporterError(f"{problem} Gave up after {ATTEMPTS} attempts; a new run adds only what is missing.")


def _request(url: str, key: str, body: dict) -> urllib.request.Request:
    if not url.startswith(("http://", "https://")):
        raise ImporterError(f"--url has to start with http:// or https://, not {url!r}.")
    return urllib.request.Request(  # noqa: S310
        url.rstrip("/") + PATH,
        # A lone surrogate, which an export may hold, is not text to a database.
        data=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
        headers={"Content-Type": "application/json", "x-api-key": key},
    )


def _results(answer: bytes) -> list[dict]:
    try:
        return json.loads(answer)["results"]
    except (ValueError, KeyError, TypeError) as problem:
        raise ImporterError("The answer is not one of messaging-ingest; is --url right?") from problem


def _explain(refusal: urllib.error.HTTPError, url: str) -> str:
    if refusal.code in (301, 302, 303, 307, 308):
        return f"{url} sends on to {refusal.headers.get('Location')}; give that server as --url."
    try:
        reason = json.loads(refusal.read())["error"]
    except (ValueError, KeyError, TypeError):
        reason = refusal.reason
    return f"The server answered {refusal.code}: {reason}."


def _retry_after(header: str | None) -> float:
    """Seconds to wait by a Retry-After header, which is a number or a date."""
    if not header:
        return 0.0
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except ValueError:
        return 0.0


def _print_results(batch: list[dict], results: list[dict]) -> int:
    if len(results) != len(batch):
        raise ImporterError(f"The server answered {len(results)} results for {len(batch)} conversations.")
    for conversation, result in zip(batch, results, strict=True):
        # The stored ones stay as they are; an edit since the last export is the usual reason.
        others = len(result.get("conflicting_message_ids", []))
        known = f", {others} known with other content" if others else ""
        print(f"{_name(conversation)}: {result['status']}, {result.get('messages_added', 0)} messages added{known}")
    return sum(result["status"].startswith("error") for result in results)


def _name(conversation: dict) -> str:
    return conversation.get("participant_name") or conversation["participant_identifier"]
