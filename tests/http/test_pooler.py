"""The service behind a pooler; in transaction mode each statement can run in another session."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from tests.support.cluster import TestCluster
from tests.support.ingest import Sender, conversation, in_parallel, message
from tests.support.pooler import needs_pgbouncer, pooling
from tests.support.schema import ROOT
from tests.support.service import serving

CLIENTS, REQUESTS = 32, 8
LOGIN = ROOT / "supabase" / "snippets" / "service_login.sql"

pytestmark = needs_pgbouncer


@pytest.fixture
def login(cluster: TestCluster, service_database: str) -> Iterator[str]:
    """A login that can become only the roles that the service uses."""
    with psycopg.connect(cluster.url(service_database, "postgres"), autocommit=True) as db:
        for _ in range(2):  # a second run changes nothing
            db.execute(LOGIN.read_text())
        db.execute("alter role threadline_service password 'postgres'")
    yield "threadline_service"
    with psycopg.connect(cluster.url(service_database), autocommit=True) as db:
        db.execute("drop owned by threadline_service")
        db.execute("drop role threadline_service")


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_pooler_does_not_mix_up_clients(
    cluster: TestCluster, service_database: str, login: str, mode: str, tmp_path: Path
) -> None:
    environment = {"THREADLINE_POOL_SIZE": str(CLIENTS), "THREADLINE_TRANSACTION_POOLER": str(mode == "transaction")}
    with (
        pooling(cluster, service_database, mode, login) as pooler,
        serving(pooler, tmp_path / "log", **environment) as service,
    ):
        url = cluster.url(service_database, "postgres")
        senders = [Sender.create(service.client, url) for _ in range(CLIENTS)]

        def send_all(sender: Sender) -> list[str]:
            replies = [sender.post(conversation(message(f"{number:02}"))) for number in range(REQUESTS)]
            assert service.client.get("/health").status_code == 200  # another statement on the same servers
            return [reply.json()["results"][0]["status"] for reply in replies]

        answers = in_parallel([partial(send_all, sender) for sender in senders])
        assert service.failures == []
    assert answers == [["created"] + ["updated"] * (REQUESTS - 1)] * CLIENTS
    expected = {"chat": [f"{number:02}" for number in range(REQUESTS)]}
    assert [sender.stored() for sender in senders] == [expected] * CLIENTS
