"""Ids of other users reveal nothing: each call answers a foreign id like an unknown one."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.support.cluster import TestCluster
from tests.support.contract import operations, parameters
from tests.support.database import value
from tests.support.team import running_service
from tests.support.tokens import bearer, token
from tests.support.world import BOB, CHANNEL, MALLORY, MATTY, MESSAGE, TWIN, UNKNOWN_ID

# Ids in the examples of the schema, which are Matty's, and others that Mallory could guess.
PERSON = "0b9d3c52-6f0e-4a6c-9d5e-000000000001"  # of Matty
MERGED = "0b9d3c52-6f0e-4a6c-9d5e-000000000002"  # of Matty, too
THEIRS = {
    CHANNEL: "channel",
    MESSAGE: "message",
    TWIN: "twin",
    MATTY: "user",
    BOB: "user",
    PERSON: "person",
    MERGED: "merged",
}
FORMS = {("POST", "/api/v2/messages/upload")}
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TIME = r"20\d\d-\d\d-\d\dT[\d:.]+Z"
# A hash of Matty's data, which must not change.
WORLD = f"""
select md5(string_agg(row, '|' order by row)) from (
    select to_jsonb(m)::text from public.messages as m where channel_id = '{CHANNEL}'
    union all select to_jsonb(e)::text from public.message_events as e where channel_id = '{CHANNEL}'
    union all select to_jsonb(r)::text from public.message_reactions as r where channel_id = '{CHANNEL}'
    union all select to_jsonb(p)::text from public.message_pins as p where channel_id = '{CHANNEL}'
    union all select to_jsonb(w)::text from public.twin_webhooks as w where ai_twin_id = '{TWIN}'
    union all select to_jsonb(d)::text from public.twin_deliveries as d where ai_twin_id = '{TWIN}'
    union all select to_jsonb(c)::text from public.channels as c where id = '{CHANNEL}'
    union all select to_jsonb(c)::text from public.channel_members as c where channel_id = '{CHANNEL}'
) as whole (row)
"""


def requests() -> list[Any]:
    """Return method, path, request and place of each id in the examples of the schema."""
    found = []
    for (method, path), operation in operations().items():
        if (method, path) in FORMS or not path.startswith("/api"):
            continue
        ids = {"id": MESSAGE, "channel_id": CHANNEL, "ai_twin_id": TWIN, "attachment_id": MESSAGE, "person_id": PERSON}
        named = {each["name"]: each for each in parameters(method, path)}
        in_path = {name: ids[name] for name in re.findall(r"\{(\w+)\}", path) if name in ids}
        query = {name: each.get("example") for name, each in named.items() if each["in"] == "query"}
        query = {name: example for name, example in query.items() if example is not None}
        # The examples leave out some parameters that take an id.
        query |= {name: MESSAGE for name in ("thread_id",) if name in named}
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        body = next((each["value"] for each in content.get("examples", {}).values()), None)
        if isinstance(body, dict) and "content" in body and method == "POST":
            body = body | {"ai_twin_id": TWIN, "parent_message_id": MESSAGE}
        asked = {"path": in_path, "query": query, "body": body if isinstance(body, dict) else {}}
        for part, fields in asked.items():
            for name, example in fields.items():
                if re.search(UUID, json.dumps(example)):
                    label = f"{method} {path.removeprefix('/api/v2')}"
                    label += "" if part == "path" else f" {name}"
                    found.append(pytest.param(method, path, asked, (part, name), id=label))
    return found


@pytest.fixture(scope="module")
def running(
    cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, psycopg.Connection, dict[str, str]]]:
    """Mallory's client, the database, and the ids of Mallory's own rows by kind."""
    with (
        running_service(cluster, template, tmp_path_factory.mktemp("tenants") / "log") as (service, client, url),
        psycopg.connect(url, autocommit=True) as db,
    ):
        matty = bearer(token(MATTY))
        client.put(f"/api/v2/twins/{TWIN}/webhook", json={"url": "https://twin.example/"}, headers=matty)
        client.headers.update(bearer(token(MALLORY)))
        own = {
            "user": MALLORY,
            "channel": value(
                db,
                "insert into public.channels (name, created_by) values ('own', %s) returning id::text",
                MALLORY,
            ),
            "twin": value(
                db,
                "insert into public.ai_twins (user_id, display_name) values (%s, 'Own') returning id::text",
                MALLORY,
            ),
        }
        person = (
            "insert into public.people (user_id, workspace_id, full_name)"
            " values (%(id)s, %(id)s, 'Own') returning id::text"
        )
        own |= {kind: db.execute(person, {"id": MALLORY}).fetchone()[0] for kind in ("person", "merged")}
        statement = "insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)"
        db.execute(statement, (own["channel"], own["twin"]))
        client.put(f"/api/v2/twins/{own['twin']}/webhook", json={"url": "https://twin.example/"})
        yield client, db, own
        assert service.failures == []


def answer_to(client: httpx.Client, method: str, path: str, asked: Any, translate: dict[str, str]) -> tuple[int, str]:
    """Send a request; return the status and the body of the answer, without ids, times and numbers of events."""
    text = json.dumps(asked)
    for one, other in translate.items():
        text = text.replace(one, other)
    sent = json.loads(text)
    url = path.format(**sent["path"], emoji="fire")
    reply = client.request(method, url, params=sent["query"], json=sent["body"] or None)
    text = re.sub(r'"last_seq": \d+', "seq", reply.text)
    return reply.status_code, re.sub(UUID, "id", re.sub(TIME, "time", text))


@pytest.mark.parametrize(("method", "path", "asked", "place"), requests())
def test_foreign_id_answers_like_an_unknown_id(
    running: tuple[httpx.Client, psycopg.Connection, dict[str, str]],
    method: str,
    path: str,
    asked: dict[str, Any],
    place: tuple[str, str],
) -> None:
    client, db, own = running
    part, name = place
    before = value(db, WORLD)
    answers = []
    for target in ("foreign", "unknown"):
        # Both requests get a new message of Mallory's, because the first one can change it.
        message = client.post("/api/v2/messages", json={"channel_id": own["channel"], "content": "own"})
        mine = {each: {**own, "message": message.json()["data"]["id"]}[kind] for each, kind in THEIRS.items()}
        text = json.dumps({**asked, part: {each: given for each, given in asked[part].items() if each != name}})
        for one, other in mine.items():
            text = text.replace(one, other)
        sent = json.loads(text)
        foreign = json.dumps(asked[part][name])
        sent[part][name] = json.loads(re.sub(UUID, UNKNOWN_ID, foreign) if target == "unknown" else foreign)
        answers.append(answer_to(client, method, path, sent, {}))
    assert answers[0] == answers[1]
    assert value(db, WORLD) == before


def test_all_foreign_ids_answer_like_unknown_ids(
    running: tuple[httpx.Client, psycopg.Connection, dict[str, str]],
) -> None:
    client, db, own = running
    before = value(db, WORLD)
    calls = {(each.values[0], each.values[1]): each.values[2] for each in requests()}
    for (method, path), asked in calls.items():
        answers = [answer_to(client, method, path, asked, each) for each in ({}, dict.fromkeys(THEIRS, UNKNOWN_ID))]
        assert answers[0] == answers[1], (method, path)
        if "attachments" in path:
            continue  # this service has no Storage
        assert answers[0][0] in {403, 404} or '"data":[]' in answers[0][1].replace(" ", ""), (method, path)
        # With Mallory's own ids the same request works.
        client.put(f"/api/v2/twins/{own['twin']}/webhook", json={"url": "https://twin.example/"})
        message = client.post("/api/v2/messages", json={"channel_id": own["channel"], "content": "own"})
        mine = {each: {**own, "message": message.json()["data"]["id"]}[kind] for each, kind in THEIRS.items()}
        status, text = answer_to(client, method, path, asked, mine)
        # An undo needs something to undo, and summaries need a model.
        expected = ("not_configured", "person_not_merged", "number_not_changed", "conversation_not_continued")
        assert status < 300 or any(code in text for code in expected), (method, path, text)
    assert value(db, WORLD) == before
    assert len(calls) >= 18
