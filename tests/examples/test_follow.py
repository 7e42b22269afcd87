"""The two programs of examples/live on the stack of `make up`; tests/packages has what they are made of."""

from pathlib import Path

import psycopg
import pytest
from threadline_devstack.keys import PUBLISHABLE_KEY

from tests.support.calls import call, send
from tests.support.following import following, javascript, python
from tests.support.stack import RunningStack
from tests.support.twin import until
from tests.support.world import BOB, CHANNEL


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_example_prints_the_log_and_what_comes(stack: RunningStack, tmp_path: Path, language: str) -> None:
    command = python() if language == "python" else javascript(tmp_path)
    # The service's login role commits each call.
    with (
        psycopg.connect(stack.database_url("authenticator"), autocommit=True) as db,
        following(command, stack.api_url, PUBLISHABLE_KEY, stack.token("bob@example.com"), CHANNEL) as heard,
    ):
        until(lambda: heard != [], 60)
        send(db, f"live in {language}")
        log = call(db, "list_channel_events", BOB, channel_id=CHANNEL, limit=1000).data
        until(lambda: len(heard) >= len(log), 60)
        assert heard == log
