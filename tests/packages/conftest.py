"""Fixtures: the stack's database, a channel to follow, and a line that can be cut."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.support.database import add_channel
from tests.support.line import Line
from tests.support.stack import RunningStack
from tests.support.world import BOB, CAROL, MATTY


@pytest.fixture(scope="module")
def database(stack: RunningStack) -> Iterator[psycopg.Connection[Any]]:
    """Sign in to the database of the stack."""
    with psycopg.connect(stack.database_url(), autocommit=True) as connection:
        connection.execute("update private.settings set requests_per_minute = 1000000")
        yield connection


@pytest.fixture
def calls(stack: RunningStack) -> Iterator[psycopg.Connection[Any]]:
    """Sign in as the service, which commits each call."""
    with psycopg.connect(stack.database_url("authenticator"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def add_followed(database: psycopg.Connection[Any]) -> Callable[[], str]:
    """Return what creates a channel of Matty, Bob and Carol."""
    return lambda: add_channel(database, "followed", [MATTY, BOB, CAROL])


@pytest.fixture
def channel_id(add_followed: Callable[[], str]) -> str:
    """Create a channel of Matty, Bob and Carol."""
    return add_followed()


@pytest.fixture
def line(stack: RunningStack) -> Iterator[Line]:
    """Open a line to the stack."""
    line = Line(stack.port)
    yield line
    line.close()
