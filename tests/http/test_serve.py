"""`threadline serve`: a process that answers, ends when it is told to, and leaves nothing behind."""

import os
import socket
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.support.cluster import TestCluster
from tests.support.ingest import PATH
from tests.support.service import PROGRAM, serving
from tests.support.stack import survivors


def sessions(url: str) -> int:
    """How many sessions of a service there are in a database."""
    with psycopg.connect(url) as connection:
        statement = (
            "select count(*) from pg_stat_activity where datname = current_database() and usename = 'authenticator'"
        )
        return connection.execute(statement).fetchone()[0]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_answers_and_at_sigterm_leaves_nothing(
    cluster: TestCluster, shared_database: str, tmp_path: Path, workers: str
) -> None:
    url = cluster.url(shared_database, "authenticator")
    with serving(url, tmp_path / "log", "--workers", workers) as service:
        for _ in range(8):
            assert httpx.get(f"{service.url}/health", timeout=20).status_code == 200
        assert 0 < sessions(cluster.url(shared_database)) <= int(workers)
        processes = [psutil.Process(service.process.pid), *psutil.Process(service.process.pid).children(recursive=True)]
        service.process.terminate()
        service.process.wait(10)
    assert survivors(processes) == []
    assert_free(service.port)
    deadline = time.monotonic() + 5
    while sessions(cluster.url(shared_database)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sessions(cluster.url(shared_database)) == 0


def assert_free(port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_a_client_that_never_ends_its_body_does_not_keep_it_alive(tmp_path: Path) -> None:
    head = f"POST {PATH} HTTP/1.1\r\ncontent-type: application/json\r\nx-api-key: k\r\ncontent-length: 100\r\n\r\n"
    with serving("postgresql://authenticator:postgres@127.0.0.1:1/postgres", tmp_path / "log") as service:
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(head.encode())
            assert httpx.get(f"{service.url}/health").status_code == 503  # by now it reads that body
            service.process.terminate()
            service.process.wait(8)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "Error: Set DATABASE_URL to the connection string of your Postgres.\n"),
        (
            {"DATABASE_URL": "postgresql://localhost/x", "THREADLINE_POOL_SIZE": "many"},
            "Error: THREADLINE_POOL_SIZE must be a positive whole number.\n",
        ),
    ],
    ids=["nothing", "nonsense"],
)
def test_it_says_in_one_sentence_what_its_environment_lacks(variables: dict[str, str], sentence: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | variables
    result = subprocess.run(
        [PROGRAM, "serve"], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (1, "", sentence)


def test_it_does_not_start_on_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [PROGRAM, "serve", "--port", str(taken.getsockname()[1])]
        environment = {**os.environ, "DATABASE_URL": "postgresql://localhost/x"}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode != 0
    assert "address already in use" in result.stderr
