"""Sessions of Postgres that tests use in turn, because a new one loads the catalog and compiles every trigger anew."""

import atexit
import select
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

# The oldest is closed when more are idle: each test server allows 100.
MOST = 20
_idle: list[tuple[str, psycopg.Connection]] = []


@contextmanager
def session(url: str) -> Iterator[psycopg.Connection]:
    """Run the block in a transaction, and commit it. What the session is set to must end with the transaction."""
    connection = _take(url) or psycopg.connect(url, prepare_threshold=None)
    try:
        with connection.transaction():
            yield connection
    except BaseException:
        connection.close()
        raise
    _idle.append((url, connection))
    if len(_idle) > MOST:
        _idle.pop(0)[1].close()


def _take(url: str) -> psycopg.Connection | None:
    for place in reversed(range(len(_idle))):
        if _idle[place][0] != url:
            continue
        _, connection = _idle.pop(place)
        if _is_usable(connection):
            return connection
        connection.close()
    return None


def _is_usable(connection: psycopg.Connection) -> bool:
    """Tell whether the server has not ended the session: an idle one receives nothing else."""
    if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
        return False
    return not select.select([connection], [], [], 0)[0]


@atexit.register
def _close() -> None:
    while _idle:
        _idle.pop()[1].close()
