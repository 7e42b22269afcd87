"""Through a pooler in transaction mode, where one client's next statement may meet any server process."""

import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from shutil import which

import psycopg
import pytest

from tests.support.cluster import TestCluster, free_port
from tests.support.ingest import Sender, conversation, in_parallel, message
from tests.support.service import serving

PROGRAM = which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
CLIENTS, REQUESTS, SERVERS = 32, 20, 4

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")


@pytest.fixture
def pooler(cluster: TestCluster, service_database: str, tmp_path: Path) -> Iterator[str]:
    """The URL of the service's database through pgbouncer."""
    port = free_port()
    (tmp_path / "users").write_text('"authenticator" "postgres"\n')
    (tmp_path / "pgbouncer.ini").write_text(
        f"""
        [databases]
        {service_database} = host=127.0.0.1 port={cluster.local.port}
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = scram-sha-256
        auth_file = {tmp_path / "users"}
        pool_mode = transaction
        default_pool_size = {SERVERS}
        """
    )
    account = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    for step in [tmp_path, *tmp_path.parents[:2]] if account else []:
        step.chmod(0o755)
    with (tmp_path / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, tmp_path / "pgbouncer.ini"], stdout=log, stderr=log, **account)
    url = f"postgresql://authenticator:postgres@127.0.0.1:{port}/{service_database}"
    try:
        wait_until_answering(url)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def wait_until_answering(url: str) -> None:
    for _ in range(200):
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("pgbouncer does not answer")


def test_many_clients_of_many_users_are_never_mixed_up(
    cluster: TestCluster, service_database: str, pooler: str, tmp_path: Path
) -> None:
    environment = {"THREADLINE_POOL_SIZE": str(CLIENTS), "THREADLINE_TRANSACTION_POOLER": "true"}
    with serving(pooler, tmp_path / "log", **environment) as service:
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
