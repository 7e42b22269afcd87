"""Keys are rotated while messages arrive."""

import json
import threading
from collections import Counter
from functools import partial

import httpx
import psycopg

from tests.support.ingest import PATH, Sender, conversation, in_parallel, message

ROTATE = "select public.rotate_messaging_key(%s, %s) ->> 'api_secret'"


def rotate(sender: Sender, overlap: str) -> str:
    """Rotate the key of the sender's connection as its owner."""
    with psycopg.connect(sender.database_url) as connection:
        claims = json.dumps({"sub": sender.user_id, "role": "authenticated"})
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        connection.execute("set local role authenticated")
        return connection.execute(ROTATE, [sender.connection_id, overlap]).fetchone()[0]


def post(sender: Sender, key: str, name: str) -> httpx.Response:
    body = sender.request(conversation(message(name)))
    return sender.client.post(PATH, json=body, headers={"x-api-key": key})


def test_key_rotation_rejects_no_request(sender: Sender) -> None:
    keys, done = [sender.secret], threading.Event()

    def exchange() -> None:
        for _ in range(8):
            keys.append(rotate(sender, "1 hour"))  # noqa: PERF401 (the others read it meanwhile)
        done.set()

    def deliver(writer: int) -> list[str]:
        sent = []
        while not done.is_set():
            sent.append(f"{writer} {len(sent)}")
            for key in (keys[0], keys[-1]):
                assert post(sender, key, sent[-1]).status_code == 200
        return sent

    _, *sent = in_parallel([exchange, *(partial(deliver, writer) for writer in range(6))])
    assert sender.stored() == {"chat": sorted(name for names in sent for name in names)}
    assert post(sender, rotate(sender, "0"), "last").status_code == 200
    assert {post(sender, key, "too late").status_code for key in keys} == {401}


def test_key_ended_at_once_is_rejected_next(sender: Sender) -> None:
    gone = threading.Event()

    def end_it() -> None:
        rotate(sender, "0")
        gone.set()

    def deliver(writer: int) -> list[tuple[str, int, bool]]:
        replies = []
        while not replies or replies[-1][1] == 200:
            name, was_gone = f"{writer} {len(replies)}", gone.is_set()
            replies.append((name, post(sender, sender.secret, name).status_code, was_gone))
        return replies

    _, *replies = in_parallel([end_it, *(partial(deliver, writer) for writer in range(6))])
    replies = [reply for writer in replies for reply in writer]
    assert Counter(status for _, status, _ in replies) == Counter({200: len(replies) - 6, 401: 6})
    assert all(status == 401 for _, status, was_gone in replies if was_gone)
    assert sorted(name for name, status, _ in replies if status == 200) == sender.stored().get("chat", [])
