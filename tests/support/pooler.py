"""pgbouncer in front of a test's database."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

import psycopg
import pytest

from tests.support.cluster import TestCluster, free_port
from tests.support.service import wait_until_listening

PROGRAM = which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
SERVERS = 4

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed: apt-get install pgbouncer")


@contextmanager
def pooling(
    cluster: TestCluster, database: str, mode: str, login: str = "authenticator", servers: int = SERVERS
) -> Iterator[str]:
    """Run a pooler in "session" or "transaction" mode for the block; yield the URL of a database through it.

    In transaction mode it has no more than `servers` server processes, and hands out the one that was idle longest.
    """
    url = cluster.url(database, login)
    with pooling_port(cluster.local.port, mode, login, servers) as port:
        through = url.replace(f":{cluster.local.port}/", f":{port}/")
        wait_until_answering(through)
        yield through


@contextmanager
def pooling_port(database_port: int, mode: str, login: str, servers: int = SERVERS) -> Iterator[int]:
    """The port of a pooler for all databases of a server."""
    port = free_port()
    # Not in pytest's folder, which each later run closes to other users again.
    with TemporaryDirectory(prefix="threadline-pooler-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "users").write_text(f'"{login}" "postgres"\n')
        (folder / "pgbouncer.ini").write_text(
            f"""
            [databases]
            * = host=127.0.0.1 port={database_port}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {folder / "users"}
            pool_mode = {mode}
            default_pool_size = {servers if mode == "transaction" else 100}
            server_round_robin = 1
            """
        )
        account = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        folder.chmod(0o755)
        with (folder / "pgbouncer.log").open("wb") as log:
            process = subprocess.Popen([PROGRAM, folder / "pgbouncer.ini"], stdout=log, stderr=log, **account)
        try:
            wait_until_listening(process, port, folder / "pgbouncer.log")
            yield port
        finally:
            process.terminate()
            process.wait(10)


def wait_until_answering(url: str) -> None:
    """Wait until a database answers at this URL; raise the last error after 30 seconds."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
