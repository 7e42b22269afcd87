"""The same database with `conversation_messages` and `message_events` in partitions (docs/how-to/scaling.md)."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.support import schema
from tests.support.cluster import TestCluster
from tests.support.database import Db

# The end of each table, and the column that chooses the partition.
TABLES = {
    "conversation_messages": (
        "    constraint conversation_messages_external_id_length check (char_length(external_id) between 1 and 500)\n)",
        "conversation_id",
    ),
    "message_events": ("'member.joined', 'member.left'\n        )\n    )\n)", "channel_id"),
}


def partitions(table: str) -> str:
    """Four partitions, which grant nothing by name, so clients read only through the whole table."""
    return ";".join(
        f"""
        create table public.{table}_{number} partition of public.{table}
        for values with (modulus 4, remainder {number});
        alter table public.{table}_{number} enable row level security;
        revoke all on public.{table}_{number} from public, anon, authenticated, service_role
        """
        for number in range(4)
    )


@pytest.fixture(scope="session")
def template(cluster: TestCluster) -> str:
    name = cluster.create()
    cluster.install_platform(name)
    with psycopg.connect(cluster.url(name, "postgres")) as db:
        for file in schema.SQL:
            text = file.read_text(encoding="utf-8")
            for table, (end, column) in TABLES.items():
                text = text.replace(end, f"{end} partition by hash ({column});{partitions(table)}")
            db.execute(text)
        db.execute((schema.ROOT / "seed.sql").read_text(encoding="utf-8"))
    return name


@pytest.fixture(scope="session")
def shared_database(cluster: TestCluster, template: str) -> str:
    return cluster.create(template)


@pytest.fixture(scope="session")
def admin_url(cluster: TestCluster, shared_database: str) -> str:
    return cluster.url(shared_database)


@pytest.fixture(scope="session")
def postgres_url(cluster: TestCluster, shared_database: str) -> str:
    return cluster.url(shared_database, "postgres")


@pytest.fixture(scope="session")
def session(postgres_url: str) -> Iterator[Db]:
    with psycopg.connect(postgres_url) as connection:
        yield connection


@pytest.fixture
def db(session: Db) -> Iterator[Db]:
    yield session
    session.rollback()
