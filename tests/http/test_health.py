"""GET /health."""

import socket
import time
from pathlib import Path

from tests.support.service import Service, serving


def test_health_is_200_while_the_database_answers(service: Service) -> None:
    reply = service.client.get("/health")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


def test_health_is_503_soon_without_a_database(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://authenticator:postgres@127.0.0.1:{silent.getsockname()[1]}/postgres"
        with serving(url, tmp_path / "log") as service:
            began = time.monotonic()
            reply = service.client.get("/health")
            assert time.monotonic() - began < 4
    assert (reply.status_code, reply.json()) == (503, {"status": "database unavailable"})
