"""A transaction in the seeded database, rolled back after each test."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.support.database import Db


@pytest.fixture(scope="session")
def session(postgres_url: str) -> Iterator[Db]:
    """Sign in as role postgres once, since signing in takes longer than most tests."""
    with psycopg.connect(postgres_url) as connection:
        yield connection


@pytest.fixture
def db(session: Db) -> Iterator[Db]:
    """Open a transaction of role postgres in the seeded database, and roll it back."""
    yield session
    session.rollback()
