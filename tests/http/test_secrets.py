"""Keys and messages never reach a log, whatever goes wrong with them."""

import socket
from pathlib import Path

import psycopg
import pytest

from tests.support.cluster import TestCluster
from tests.support.ingest import PATH, Sender, conversation, message
from tests.support.service import serving

CANARY = "canary-7f3a91"


@pytest.fixture
def talkative_database(cluster: TestCluster, fresh_database: str) -> str:
    """A database that logs every statement, and in which some messages cannot be stored."""
    with psycopg.connect(cluster.url(fresh_database), autocommit=True) as connection:
        connection.execute(f"alter database {fresh_database} set log_statement = 'all'")
        connection.execute(f"alter database {fresh_database} set log_min_duration_statement = 0")
        connection.execute(
            "alter table public.conversation_messages add check (message ->> 'content' not like '%%cannot be stored%%')"
        )
    return fresh_database


def test_no_key_and_no_message_is_ever_logged(cluster: TestCluster, talkative_database: str, tmp_path: Path) -> None:
    url = cluster.url(talkative_database, "authenticator") + "?lock_timeout=100"
    with serving(url, tmp_path / "log") as service:
        sender = Sender.create(service.client, cluster.url(talkative_database, "postgres"))
        chat = conversation(message(content=CANARY), external_id=CANARY, participant_name=CANARY)
        statuses = [
            sender.post(chat, {CANARY: CANARY}).status_code,
            sender.client.post(f"{PATH}?x-api-key={CANARY}", json=sender.request(chat)).status_code,
            sender.send(f'{{"platform": "{CANARY}'.encode()).status_code,
            sender.send(f'{{"platform": "{CANARY}\\ud83d'.encode()).status_code,
            sender.send(CANARY.encode(), content_encoding="gzip").status_code,
            sender.send(CANARY.encode(), content_type=CANARY).status_code,
            sender.send(b'{"platform": 1, "connection_id": 1, "conversations": []}', x_api_key=CANARY).status_code,
            sender.post(platform=CANARY, connection_id=CANARY).status_code,
            service.client.get(f"/{CANARY}").status_code,
        ]
        failed = sender.post(conversation(message(content=f"{CANARY} cannot be stored")))
        with psycopg.connect(sender.database_url) as holder:
            holder.execute("select from public.conversations where user_id = %s for update", [sender.user_id])
            statuses.append(sender.post(conversation(message("late", content=CANARY), external_id=CANARY)).status_code)
        for spoiled in (f"x-api-key: {CANARY}\0", f"x-api-key: {CANARY}\r\ncontent-length: 9"):
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                head = f"POST {PATH} HTTP/1.1\r\ncontent-type: application/json\r\n{spoiled}\r\n\r\n"
                connection.sendall(f"{head}{CANARY[:3]}".encode())
        assert service.client.get("/health").status_code == 200
    assert statuses == [200, 401, 400, 400, 400, 415, 401, 401, 404, 503]
    assert (failed.status_code, failed.json()) == (500, {"error": "Internal server error"})

    service_log, postgres_log = service.log.read_text(), cluster.local.home.log.read_text()
    assert "POST /functions/v1/messaging-ingest failed: CheckViolationError 23514" in service_log
    assert "messaging_ingest failed with LockNotAvailableError" in service_log
    assert "select status, headers, body from private.call" in postgres_log
    assert "violates check constraint" in postgres_log
    for secret in (CANARY, sender.secret, "your-api-secret"):
        assert secret not in service_log
        assert secret not in postgres_log
