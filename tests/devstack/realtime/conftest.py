"""Fixtures: a database with policies of the tests' own, and servers on it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from threadline_devstack.realtime.changes import Subscriptions

from tests.devstack.realtime.hearing import REMOVAL, SETTING
from tests.devstack.realtime.wire import ANN, BOB, Server, serving
from tests.support.cluster import TestCluster

# rooms: the rights of each member in each topic.
POLICIES = f"""
create table public.rooms (topic text, member uuid, may_write boolean, extensions text[]);
grant select on public.rooms to authenticated;
insert into public.rooms values
    ('den', '{ANN}', true, '{{broadcast,presence}}'), ('den', '{BOB}', false, '{{broadcast,presence}}'),
    ('quiet', '{ANN}', true, '{{presence}}'), ('loud', '{ANN}', true, '{{broadcast}}');
create policy rooms_read on realtime.messages for select to authenticated using (exists (
    select from public.rooms
    where rooms.topic = (select realtime.topic()) and rooms.topic = messages.topic
        and member = (select auth.uid()) and extension = any(extensions)));
create policy rooms_write on realtime.messages for insert to authenticated with check (exists (
    select from public.rooms
    where rooms.topic = (select realtime.topic()) and member = (select auth.uid()) and may_write
        and extension = any(extensions)));
create policy faulty on realtime.messages for select to authenticated using (
    (select realtime.topic()) = 'faulty' and 1 / (select 0) = 1);
"""


@pytest.fixture
def anyio_backend() -> str:
    """What runs the tests that are coroutines."""
    return "asyncio"


@pytest.fixture(scope="module")
def database(cluster: TestCluster) -> str:
    """The name of a database with the platform and some rooms in it."""
    name = cluster.create()
    cluster.install_platform(name)
    with psycopg.connect(cluster.url(name), autocommit=True) as connection:
        # What is not in the log on disk yet is not delivered yet.
        connection.execute(f"alter database {name} set synchronous_commit = on")
    with psycopg.connect(cluster.url(name, "postgres"), autocommit=True) as connection:
        connection.execute(POLICIES)
    return name


@pytest.fixture
def server(cluster: TestCluster, database: str, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Server]]:
    """Starts a server, with limits of one's own if need be."""

    def start(**limits: Any) -> AbstractAsyncContextManager[Server]:
        return serving(cluster.url(database), cluster.url(database, "postgres"), tmp_path, **limits)

    return start


@pytest.fixture(scope="module")
def published(cluster: TestCluster, database: str) -> Iterator[str]:
    """Where role postgres finds a database with published tables of several kinds."""
    url = cluster.url(database, "postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(SETTING)
        yield url
        connection.execute(REMOVAL)


@pytest.fixture
def writer(published: str) -> Iterator[psycopg.Connection]:
    """A connection in autocommit mode that writes into them."""
    with psycopg.connect(published, autocommit=True) as connection:
        yield connection
        connection.execute("truncate notes, open_notes, keyless, hidden, faulty, kinds")


@pytest.fixture
async def subscriptions(cluster: TestCluster, database: str) -> AsyncIterator[Subscriptions]:
    """The subscriptions, as the service has them."""
    register = Subscriptions(cluster.url(database))
    yield register
    await register.close()
