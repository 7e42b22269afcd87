"""Asks a server again while it is away."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable

import httpx

from threadline_import.model import ImportRefusedError

ATTEMPTS = 8
LONGEST_PAUSE = 60.0


def ask_patiently(
    call: Callable[[], httpx.Response],
    server: str,
    say: Callable[[str], object],
    sleep: Callable[[float], object],
) -> httpx.Response:
    """Return the first answer that trying again would not change."""
    for attempt in range(ATTEMPTS):
        wait = 0.0
        try:
            answer = call()
        except httpx.TransportError as failure:
            problem = f"{server} did not answer: {str(failure) or type(failure).__name__}."
        else:
            if answer.status_code < 500 and answer.status_code not in (408, 429):
                return answer
            problem = explain(answer, server)
            wait = _retry_after(answer.headers.get("Retry-After"))
        if attempt + 1 < ATTEMPTS:
            pause = max(wait, min(2.0**attempt, LONGEST_PAUSE))
            say(f"{problem} Trying again in {pause:.0f} s.")
            sleep(pause)
    raise ImportRefusedError(f"{problem} Gave up after {ATTEMPTS} attempts. Run the same command again; it goes on.")


def explain(answer: httpx.Response, server: str) -> str:
    """Return what an answer says about its failure."""
    if answer.is_redirect:
        # Following it would carry the key to another address.
        return f"{server} sends on to {answer.headers.get('Location')}. Give that server as --url."
    try:
        body = answer.json()
        reason = body.get("message") or body["error"]
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = answer.reason_phrase
    return f"The server answered {answer.status_code}: {reason}."


def _retry_after(header: str | None) -> float:
    """Return the seconds of a Retry-After header, which is a number or a date; less than 0 for one that is past."""
    if not header:
        return 0.0
    if header.strip().isdecimal():
        return min(float(header), LONGEST_PAUSE)
    try:
        return min(email.utils.parsedate_to_datetime(header).timestamp() - time.time(), LONGEST_PAUSE)
    except ValueError:
        return 0.0
