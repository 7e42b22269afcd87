"""Service or Postgres crash under load: acknowledged data is stored, and a replay adds no duplicates."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.support.cluster import TestCluster
from tests.support.ingest import Sender, conversation, message
from tests.support.service import Service, crash_postgres, serving

WRITERS, BATCHES, ENOUGH = 6, 20, 80


def kill_the_service(service: Service, _: str) -> None:
    service.process.kill()
    service.process.wait()


def kill_postgres(_: Service, database_url: str) -> None:
    crash_postgres(database_url)


@pytest.mark.parametrize("kill", [kill_the_service, kill_postgres])
def test_crash_loses_and_duplicates_nothing(
    cluster: TestCluster, service_database: str, tmp_path: Path, kill: Callable[[Service, str], None]
) -> None:
    login, log = cluster.url(service_database, "authenticator"), tmp_path / "log"
    acknowledged: set[tuple[str, str]] = set()

    def names(chats: list[dict]) -> set[tuple[str, str]]:
        return {(chat["external_conversation_id"], one["id"]) for chat in chats for one in chat["messages"]}

    def batch(writer: int, number: int) -> list[dict]:
        # Writers share the conversations; every second message of a batch is also in the next one.
        messages = [message(f"{writer} {number + step:03}") for step in range(2)]
        return [conversation(*messages, external_id=f"chat {(writer + number + step) % 5}") for step in range(2)]

    def deliver(sender: Sender, writer: int, *, until_done: bool) -> None:
        for number in range(BATCHES):
            chats = batch(writer, number)
            reply = None
            while reply is None or reply.status_code == 503:
                try:
                    reply = sender.post(*chats)
                except httpx.TransportError:
                    if not until_done:
                        return
                    time.sleep(0.02)
            assert reply.status_code == 200
            acknowledged.update(names(chats))

    def stored(sender: Sender) -> set[tuple[str, str]]:
        return {(chat, one) for chat, ids in sender.stored().items() for one in ids}

    with serving(login, log) as service:
        sender = Sender.create(service.client, cluster.url(service_database, "postgres"))
        with ThreadPoolExecutor(WRITERS) as threads:
            writers = [threads.submit(deliver, sender, writer, until_done=False) for writer in range(WRITERS)]
            while len(acknowledged) < ENOUGH:
                time.sleep(0.005)
            kill(service, sender.database_url)
            for writer in writers:
                writer.result()
        port = service.port
    with serving(login, log, port=port) as service:
        again = replace(sender, client=service.client)
        assert acknowledged <= stored(again)
        with ThreadPoolExecutor(WRITERS) as threads:
            for writer in [threads.submit(deliver, again, writer, until_done=True) for writer in range(WRITERS)]:
                writer.result()
    assert stored(again) == acknowledged
    assert again.inconsistencies() == []
    assert [line for line in service.failures if "messaging-ingest failed" in line] == []  # that would be a 500
