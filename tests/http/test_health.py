"""GET /health."""

import socket
import time
from pathlib import Path

import httpx

from tests.support.service import Service, serving


def test_it_is_200_while_the_database_answers(service: Service, client: httpx.Client) -> None:
    reply = client.get("/health")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


def test_it_is_503_when_nobody_is_there(tmp_path: Path) -> None:
    with serving("postgresql://authenticator:postgres@127.0.0.1:1/postgres", tmp_path / "log") as service:
        reply = httpx.get(f"{service.url}/health")
    assert (reply.status_code, reply.json()) == (503, {"status": "database unavailable"})


def test_it_is_503_within_seconds_when_somebody_is_there_but_does_not_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://authenticator:postgres@127.0.0.1:{silent.getsockname()[1]}/postgres"
        with serving(url, tmp_path / "log") as service:
            began = time.monotonic()
            reply = httpx.get(f"{service.url}/health", timeout=60)
            assert time.monotonic() - began < 4
    assert (reply.status_code, reply.json()) == (503, {"status": "database unavailable"})
