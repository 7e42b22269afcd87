"""Numbers such as 1e131071, which jsonb stores in seven bytes and writes as 131 kB, cost a caller's request nothing."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from psycopg.errors import CheckViolation, ProgramLimitExceeded

from tests.support.calls import call, post
from tests.support.costs import working_at_most
from tests.support.database import Db, become, become_postgres, become_service, refused, value
from tests.support.ingest import conversation, message, request
from tests.support.schema import ROOT
from tests.support.world import API_KEY, CHANNEL, JOHN_DOE, MATTY, MESSAGE, TWIN, WHATSAPP

NUMBERS = ",".join(["1e131071"] * 1500)
# Their text would exceed the gigabyte that a text of Postgres may have, so the test fails on any machine.
TOO_MANY = ",".join(["1e131071"] * 9000)
SOURCES = "".join(path.read_text() for path in sorted((ROOT / "sql").glob("*.sql")))
# The body of each function; of functions with the same name, all bodies.
BODIES: dict[str, str] = {}
for each in re.finditer(r"create function (?:public|private)\.(\w+)\(.*?\$\$(.*?)\$\$", SOURCES, re.DOTALL):
    BODIES[each[1]] = BODIES.get(each[1], "") + each[2]
PUBLIC = sorted(set(re.findall(r"create function public\.(\w+)\(jsonb\)", SOURCES)))
CALLS = re.findall(r"^\('(\w+)', '(?:public|private)', (?:true|false), ", SOURCES, re.MULTILINE)
BASE = {
    "id": MESSAGE, "channel_id": CHANNEL, "content": "x", "emoji": "y", "query": "x", "user_id": MATTY,
    "person_id": JOHN_DOE, "conversation_id": CHANNEL, "files": [{"name": "x"}], "url": "https://example.com/",
}  # fmt: skip
NESTED = ("wrapped", ["bomb"], [{"id": "bomb", "name": "x"}], [{"id": MESSAGE, "name": "bomb"}])
OF_TWINS = ("set_twin_webhook", "rotate_twin_secret", "remove_twin_webhook", "list_twin_deliveries")


def render(fields: Any, numbers: str = TOO_MANY) -> str:
    """JSON in which the text "bomb" is an array of huge numbers and "wrapped" an object with one."""
    text = json.dumps(fields).replace('"wrapped"', '{"n": "bomb"}')
    return text.replace('"bomb"', f"[{numbers}]")


def list_fields(function: str) -> list[str]:
    """Return the fields that a function reads, itself or in the functions that it calls, and one that none reads."""
    called, text = [function], ""
    for each in called:
        body = BODIES.get(each, "")
        text += body
        called += set(re.findall(r"(?:public|private)\.(\w+)\(", body)) - {*called}
    read = re.findall(r"(?:\$1|p_body|v_request|v_file)(?:\s*->>?|,|\s*\?)\s*'(\w+)'", text)
    return sorted({*read, "anything"})


@contextmanager
def quick(db: Db) -> Iterator[None]:
    """Fail if the block takes a second, or writes more text than Postgres can hold."""
    try:
        with working_at_most(1, db):
            yield
    except ProgramLimitExceeded as error:
        pytest.fail(f"wrote the numbers as text: {error}")


@pytest.mark.parametrize(("field", "frame"), [("metadata", '{"a":%s}'), ("attachments", '[{"a":%s}]')])
def test_message_of_more_than_a_hundred_levels_is_refused(db: Db, field: str, frame: str) -> None:
    own = frame.count("}") + frame.count("]")  # levels of the frame
    insert = f"insert into public.messages (channel_id, content, {field}) values (%s, 'x', %s)"
    become(db, MATTY)
    for depth in (101 - own, 6000):
        deep = frame % ("[" * depth + "]" * depth)
        body = f'{{"channel_id": "{CHANNEL}", "content": "x", "{field}": {deep}}}'
        refusal = refused(db, "select public.create_message(%s::jsonb)", body, by=psycopg.Error)
        assert (refusal.sqlstate, refusal.message_detail) == ("PT400", "invalid_field")
        refused(db, insert, CHANNEL, deep, by=CheckViolation)
    db.execute(insert, (CHANNEL, frame % ("[" * (100 - own) + "]" * (100 - own))))


@pytest.mark.parametrize("function", PUBLIC)
def test_huge_numbers_in_a_field_of_the_data_api_are_cheap(db: Db, function: str) -> None:
    base = BASE | ({"id": TWIN} if function in OF_TWINS else {})
    query = "select has_function_privilege('authenticated', %s, 'execute')"
    is_of_users = value(db, query, f"public.{function}(jsonb)")
    for field in list_fields(function):
        for bomb in ("bomb", *(NESTED if field in ("attachments", "conversation_ids", "files", "metadata") else ())):
            # Functions look at the role of the caller only where they read who acts.
            for is_service in [False, True] if field in ("ai_twin_id", "user_id") else [not is_of_users]:
                become_service(db) if is_service else become(db, MATTY)
                with suppress(psycopg.Error), quick(db), db.transaction(force_rollback=True):
                    db.execute(f"select public.{function}(%s::jsonb)", (render(base | {field: bomb}),))
                become_postgres(db)


@pytest.mark.parametrize("function", CALLS)
def test_huge_numbers_in_a_call_are_invalid_json(db: Db, function: str) -> None:
    for field in ("id", "limit", "anything"):
        with quick(db):
            reply = call(db, function, body=render({field: "bomb"}, NUMBERS).encode())
        assert reply.error == (400, "invalid_json", None)


@pytest.mark.parametrize("key", [API_KEY, "wrong"])
@pytest.mark.parametrize("field", ["platform", "connection_id"])
@pytest.mark.parametrize("bomb", ["bomb", "wrapped"])
def test_huge_numbers_as_a_connection_match_none(db: Db, field: str, key: str, bomb: str) -> None:
    body = request(conversation(message()), platform=WHATSAPP[0], connection_id=WHATSAPP[1]) | {field: bomb}
    with quick(db):
        reply = post(db, render(body).encode(), key)
    assert reply.answer == (401, {"error": "Invalid connection_id or platform"})


UPDATE = {"message_id": "m1", "type": "read", "at": "2026-03-19T15:00:00Z"}
PLACES = {
    **{f"conversation {field}": ({field: "bomb"}, {}, {}) for field in (
        "external_conversation_id", "participant_identifier", "participant_name", "title", "kind"
    )},
    "message": ({"messages": ["bomb"]}, {}, {}),
    "update": ({"updates": ["bomb"]}, {}, {}),
    **{f"message {field}": ({}, {field: "bomb"}, {}) for field in (
        "id", "direction", "type", "content", "media_url", "sent_at", "sequence", "sender", "edited_at", "edit_date"
    )},
    **{f"update {field}": ({}, {}, {field: "bomb"}) for field in (
        "message_id", "type", "at", "by", "sequence", "sender"
    )},
    "edited content": ({}, {}, {"type": "edited", "content": "bomb"}),
    "edited media_url": ({}, {}, {"type": "edited", "content": "x", "media_url": "bomb"}),
    "media media_url": ({}, {}, {"type": "media", "media_url": "bomb"}),
    "reaction emoji": ({}, {}, {"type": "reaction", "emoji": ["bomb"]}),
    "failed reason": ({}, {}, {"type": "failed", "reason": "bomb"}),
}  # fmt: skip


# A known direct conversation goes through all that a new one does, and through the check for repeated requests before.
# Only these places are read in another way in a group.
OF_GROUPS = [place for place in PLACES if place.split()[-1] in ("kind", "title", "message", "update", "sender")]


@pytest.mark.parametrize(
    ("kind", "place"),
    [*(("direct", place) for place in PLACES), *(("group", place) for place in OF_GROUPS)],
    ids=lambda value: value[-30:],
)
def test_huge_numbers_in_an_ingested_field_are_cheap(db: Db, kind: str, place: str) -> None:
    in_chat, in_message, in_update = PLACES[place]
    chat = conversation(message(), kind=kind)
    assert post(db, json.dumps(request(chat)).encode()).statuses == ["created"]
    chat["messages"] = [message(), {**message("m2"), **in_message}]
    if in_update:
        chat["updates"] = [UPDATE | in_update]
    with quick(db):
        reply = post(db, render(request(chat | in_chat)).encode())
    [status] = reply.statuses
    ignored = {"update sequence"} | ({"update sender"} if kind == "direct" else set())
    assert status.startswith("error") == (place not in ignored), status


@pytest.mark.parametrize("column", ["metadata", "attachments"])
def test_huge_numbers_in_a_message_are_refused(db: Db, column: str) -> None:
    given = render([{"id": "bomb"}] if column == "attachments" else {"id": "bomb"})
    statement = f"insert into public.messages (channel_id, content, {column}) values (%s, 'x', %s)"
    become(db, MATTY)
    with quick(db):
        found = refused(db, statement, CHANNEL, given, by=CheckViolation)
    assert found.constraint_name == f"messages_{column}_size"


def test_hundred_thousand_numbers_are_searched_in_two_seconds(db: Db) -> None:
    numbers = json.dumps(list(range(100_000)))
    with working_at_most(2, db):
        assert value(db, "select private.has_huge_number(%s)", numbers) is False
