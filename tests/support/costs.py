"""What a block of statements costs: rows, and CPU time, which the load of the machine hardly changes."""

from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.support.database import Db, become_postgres, rows

# For a table: rows of sequential and bitmap scans. For an index: entries.
READ = """
select
    relation.oid::regclass::text,
    pg_stat_get_xact_tuples_returned(relation.oid)
    + case when relation.relkind = 'r' then pg_stat_get_xact_tuples_fetched(relation.oid) else 0 end
from pg_class as relation
where relation.relkind in ('r', 'i') and relation.relnamespace <> 'pg_catalog'::regnamespace
"""


@contextmanager
def reading_at_most(limit: int, db: Db) -> Iterator[None]:
    """Fail if the block reads more rows of any table, or more entries of any index."""
    before = dict(rows(db, READ))
    yield
    become_postgres(db)
    read = {relation: count - before.get(relation, 0) for relation, count in rows(db, READ)}
    too_much = {relation: count for relation, count in read.items() if count > limit}
    assert not too_much, f"more than {limit}: {too_much}"


@contextmanager
def working_at_most(seconds: float, db: Db) -> Iterator[None]:
    """Fail if the block takes its backend more CPU time."""
    backend = psutil.Process(db.info.backend_pid)
    before = backend.cpu_times()
    try:
        yield
    finally:
        after = backend.cpu_times()
        assert after.user + after.system - before.user - before.system < seconds
