"""The service and the Edge Function give the same answers, to the byte."""

import httpx
import pytest

from tests.functions.cases import CASES, CONNECTION, JSON, ONE, UNAVAILABLE, WRONG_KEY, Answer, Case, document
from tests.support.ingest import PATH, Sender
from tests.support.sessions import session
from tests.support.stack import RunningStack


def speak_to(door: str) -> httpx.Client:
    # Without Accept-Encoding neither door compresses, so bodies compare as they come.
    return httpx.Client(base_url=door, headers={"accept-encoding": "identity"}, timeout=60)


def send(client: httpx.Client, case: Case, sender: Sender) -> Answer:
    headers = {**JSON, "x-api-key": sender.secret, **case.headers}
    body = case.encode(case.body.replace(CONNECTION.encode(), sender.connection_id.encode()))
    return Answer.of(
        client.request(
            case.method,
            PATH,
            headers={name: value for name, value in headers.items() if value is not None},
            content=body or None,
        )
    )


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_each_door_gives_the_same_answer(case: Case, door: str, stack: RunningStack) -> None:
    with speak_to(door) as client:
        sender = Sender.create(client, stack.database_url())
        if case.before:
            send(client, Case("before", case.answer, case.before), sender)
        if not case.is_active:
            with session(stack.database_url()) as connection:
                change = "update public.messaging_connections set is_active = false where connection_id = %s"
                connection.execute(change, [sender.connection_id])
        assert send(client, case, sender) == case.answer


@pytest.mark.parametrize("keys", [("right", "wrong"), ("wrong", "right"), ("right", "right"), ("", "right"), ("", "")])
def test_several_keys_are_one_wrong_key(keys: tuple[str, str], door: str, stack: RunningStack) -> None:
    with speak_to(door) as client:
        sender = Sender.create(client, stack.database_url())
        sent = [("x-api-key", sender.secret if key == "right" else key) for key in keys]
        body = ONE.replace(CONNECTION.encode(), sender.connection_id.encode())
        reply = client.post(PATH, content=body, headers=[*JSON.items(), *sent])
    assert Answer.of(reply) == WRONG_KEY


def test_missing_database_returns_503(door_without_database: str) -> None:
    with speak_to(door_without_database) as client:
        reply = client.post(PATH, content=document(), headers={**JSON, "x-api-key": "x"})
    assert Answer.of(reply) == UNAVAILABLE
