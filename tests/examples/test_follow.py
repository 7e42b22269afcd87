"""The two followers of examples/live on the stack of `make up`, while the connection is cut repeatedly."""

import random
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from threadline_devstack.keys import PUBLISHABLE_KEY

from tests.support import tools
from tests.support.calls import call
from tests.support.following import EXAMPLES, following, python
from tests.support.line import Line
from tests.support.stack import RunningStack
from tests.support.world import BOB, CHANNEL, MATTY

PATIENCE = 60.0


@pytest.fixture
def line(stack: RunningStack) -> Iterator[Line]:
    """A line to the stack."""
    line = Line(stack.port)
    yield line
    line.close()


def javascript(folder: Path) -> list[str]:
    """How the JavaScript follower is run: Deno takes the package from npm."""
    if tools.deno() is None or tools.postgrest() is None:
        pytest.skip(tools.why_not("deno") if tools.deno() is None else tools.why_not("postgrest"))
    return [str(word) for word in tools.run_script(Path(shutil.copy(EXAMPLES / "follow.mjs", folder)))]


def missed(db: psycopg.Connection[Any], since: int) -> list[dict[str, Any]]:
    """Return the log after an event, as a member reads it."""
    found: list[dict[str, Any]] = []
    while True:
        reply = call(db, "list_channel_events", BOB, channel_id=CHANNEL, since=since, limit=1000)
        found += reply.data
        since = reply.meta["last_seq"]
        if not reply.meta["has_more"]:
            return found


def wait_for(heard: list[dict[str, Any]], seq: int) -> None:
    """Wait until an event with this number has arrived."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE * 50)):
        if heard and heard[-1]["payload"]["seq"] >= seq:
            return
        waiting.wait(0.02)
    raise AssertionError(f"Heard {len(heard)} events, waited for number {seq}.")


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_follower_misses_and_repeats_nothing_after_cuts(
    stack: RunningStack, line: Line, tmp_path: Path, language: str
) -> None:
    command = python() if language == "python" else javascript(tmp_path)
    chance, url = random.Random(4), f"http://127.0.0.1:{line.port}"
    # The service's login role commits each call.
    with psycopg.connect(stack.database_url(), autocommit=True) as db:
        db.execute("update private.settings set requests_per_minute = 1000000")
    with (
        psycopg.connect(stack.database_url("authenticator"), autocommit=True) as db,
        following(
            command,
            url,
            PUBLISHABLE_KEY,
            stack.token("bob@example.com"),
            CHANNEL,
        ) as heard,
    ):
        wait_for(heard, missed(db, 0)[-1]["payload"]["seq"])
        for step in range(60):
            data = call(db, "create_message", MATTY, channel_id=CHANNEL, content=f"{step}").data
            call(db, "edit_message", MATTY, id=data["id"], content=f"{step} edited")
            if chance.random() < 0.1:
                line.cut()
            if chance.random() < 0.1:
                wait_for(heard, chance.randrange(heard[-1]["payload"]["seq"], missed(db, 0)[-1]["payload"]["seq"] + 1))
        log = missed(db, 0)
        wait_for(heard, log[-1]["payload"]["seq"])
        assert heard == log
