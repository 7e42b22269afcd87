"""Commits in their order: a logical replication stream as an asynchronous iterator.

The slot is temporary, so Postgres keeps no WAL for a reader that is gone. The price: a broken stream cannot be
resumed. Its reader gets `FeedLost`, follows again, and tells its clients that they may have missed something.
"""

import asyncio
import struct
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from threadline_devstack.realtime.pgoutput import EPOCH, Begin, Change, Decoder, End

MESSAGES_PUBLICATION = "supabase_realtime_messages_publication"
CHANGES_PUBLICATION = "supabase_realtime"

PIECE_CHANGES, PIECE_BYTES = 1000, 4 << 20  # a larger transaction arrives in pieces
REPORT_INTERVAL = 10.0  # seconds; the server disconnects after 60 without a report

_DATA = struct.Struct("!cqqq")
_KEEPALIVE = struct.Struct("!cqqB")
_STATUS = struct.Struct("!cqqqqB")


class FeedLost(Exception):  # noqa: N818
    """The stream ended or did not begin, so later commits are not in it. The message says why."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction, or a piece of a large one: the pieces follow each other and have one `lsn`.

    Args:
        lsn: where in the log it was committed. Those of later transactions are greater.
        committed_at: when, by the database's clock.
        xid: the number of the transaction, 32 bits of it.
        changes: to published tables, in the order in which they were made; at least one.

    """

    lsn: int
    committed_at: datetime
    xid: int
    changes: tuple[Change, ...]


@asynccontextmanager
async def follow(dsn: str, publications: Sequence[str]) -> AsyncIterator[AsyncIterator[Commit]]:
    """Follow the commits to the tables of some publications, from the start of the block.

        async with follow(dsn, [MESSAGES_PUBLICATION]) as commits:
            async for commit in commits:
                ...

    Entering waits for the transactions that are writing at that moment. The iterator never ends by itself. While its
    consumer is busy nothing more is read, and the server keeps the rest: memory stays bounded by a piece.

    Args:
        dsn: a connection string of a role that may replicate, not through a pooler.
        publications: names; other tables are not followed.

    Raises FeedLost, when entering and from the iterator, when the database cannot be reached or the stream breaks.
    """
    try:
        connection = await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, replication="database", client_encoding="utf8"
        )
    except psycopg.Error as error:
        raise FeedLost(str(error)) from error
    try:  # the connection's own block would commit, which this protocol does not support
        stream = _Stream(connection.pgconn)
        await stream.start(connection, publications)
        commits = _commits(stream)
        reports = asyncio.create_task(_report_regularly(stream))
        try:
            yield commits
        finally:
            reports.cancel()
            await commits.aclose()
    finally:
        await connection.close()


async def _commits(stream: "_Stream") -> AsyncGenerator[Commit, None]:
    decoder = Decoder()
    begin = Begin(0, EPOCH, 0)
    changes: list[Change] = []
    size = 0
    while True:
        message = await stream.read()
        size += len(message)
        for event in decoder.decode(message):
            match event:
                case Begin():
                    begin = event
                    stream.begin()
                case Change():
                    changes.append(event)
            is_large = len(changes) >= PIECE_CHANGES or size >= PIECE_BYTES
            if changes and (is_large or isinstance(event, End)):
                yield Commit(begin.lsn, begin.committed_at, begin.xid, tuple(changes))
                changes, size = [], 0
            if isinstance(event, End):
                stream.end(event.next_lsn)


async def _report_regularly(stream: "_Stream") -> None:
    """Report while the consumer is busy, so that the server stays connected. The reader finds a broken stream."""
    with suppress(psycopg.Error):
        while True:
            await asyncio.sleep(REPORT_INTERVAL)
            stream.report()


class _Stream:
    """The two directions of a replication connection: log data and keepalives in, reports of progress out."""

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._confirmed = 0
        self._is_in_transaction = False

    async def start(self, connection: psycopg.AsyncConnection, publications: Sequence[str]) -> None:
        """Create the slot and start streaming; raise FeedLost if the server refuses."""
        slot = sql.Identifier(f"threadline_{uuid.uuid4().hex}")
        # Capitals, because this grammar knows its words in no other form.
        create = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')")
        names = ",".join(sql.Identifier(name).as_string() for name in publications)
        start = sql.SQL("START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {})")
        try:
            await connection.execute(create.format(slot))
            self._pgconn.send_query(start.format(slot, sql.Literal(names)).as_bytes(connection))
        except psycopg.Error as error:
            raise FeedLost(str(error)) from error
        while self._pgconn.is_busy():
            await self._wait_for_input()
        result = self._pgconn.get_result()
        if result is None or result.status != ExecStatus.COPY_BOTH:
            raise FeedLost(self._reason(result))

    async def read(self) -> bytes:
        """Return the plugin's next message, answer keepalives; raise FeedLost when the stream ends."""
        while True:
            length, data = self._next()
            if length < 0:
                raise FeedLost(self._reason(self._pgconn.get_result()))
            if length == 0:
                await self._wait_for_input()
            elif data[0] == ord("w"):
                return bytes(data[_DATA.size :])
            elif data[0] == ord("k"):
                self._keep_alive(*_KEEPALIVE.unpack(data)[1:])

    def begin(self) -> None:
        """Note that a transaction is read in part, so its WAL is not confirmed yet."""
        self._is_in_transaction = True

    def end(self, lsn: int) -> None:
        """Note that everything before a position is handled; the next report confirms it."""
        self._is_in_transaction = False
        self._confirmed = lsn

    def report(self) -> None:
        """Report the confirmed position to the server, which ignores our clock."""
        self._pgconn.put_copy_data(_STATUS.pack(b"r", *[self._confirmed] * 3, 0, 0))
        self._pgconn.flush()

    def _keep_alive(self, end: int, _clock: int, wants_answer: int) -> None:
        if not self._is_in_transaction:  # everything before was uninteresting, or is handled
            self._confirmed = end
        if wants_answer:
            self.report()

    def _next(self) -> tuple[int, memoryview | bytes]:
        try:
            return self._pgconn.get_copy_data(1)
        except psycopg.Error as error:
            raise FeedLost(str(error)) from error

    async def _wait_for_input(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._pgconn.socket, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._pgconn.socket)
        try:
            self._pgconn.consume_input()
        except psycopg.Error as error:
            raise FeedLost(str(error)) from error

    def _reason(self, result: PGresult | None) -> str:
        said = (result.error_message if result else b"") or self._pgconn.error_message
        return said.decode(errors="replace").strip() or "the server ended the stream"
