"""Bob, who follows a channel, and the log that he must end with."""

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jwt
import psycopg
from threadline_devstack.keys import JWT_SECRET, PUBLISHABLE_KEY

from tests.packages.agents import Agent, following
from tests.support.calls import call
from tests.support.line import Line
from tests.support.world import BOB, MATTY

SECONDS = 8.0  # within which a follower must be back, on a busy machine


class Bob:
    """Bob, whose token may change while he follows."""

    def __init__(self, file: Path, language: str) -> None:
        self._file, self._language = file, language
        self.renew()

    def renew(self, seconds: float = 3600, user_id: str = BOB) -> None:
        """Get a token that is valid for some time, or that of another user."""
        claims = {"sub": user_id, "aud": "authenticated", "role": "authenticated", "exp": int(time.time() + seconds)}
        self._file.write_text(jwt.encode(claims, JWT_SECRET, algorithm="HS256"))

    def following(self, line: Line, **options: Any) -> AbstractContextManager[Agent]:
        """Follow for the block."""
        return following(self._language, f"http://127.0.0.1:{line.port}", PUBLISHABLE_KEY, self._file, **options)


def log(db: psycopg.Connection[Any], channel_id: str) -> list[dict[str, Any]]:
    """Return the log of a channel, as a member reads it."""
    found: list[dict[str, Any]] = []
    while True:
        reply = call(db, "list_channel_events", MATTY, channel_id=channel_id, since=len(found), limit=1000)
        found += reply.data
        if not reply.meta["has_more"]:
            return found
