"""/api/v2/messages over HTTP: routes, headers, limits shared by processes, and hostile callers."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.cluster import TestCluster
from tests.support.ingest import in_parallel
from tests.support.team import Running, Team, running_service, serving_users
from tests.support.tokens import bearer, sign, token
from tests.support.world import BASE, TIME, UNKNOWN_ID

SQL_WORDS = re.compile(
    r"psycopg|asyncpg|SQLSTATE|PL/pgSQL|syntax error|violates|relation|constraint|public\.|private\.|Traceback|jsonb",
    re.I,
)


@pytest.fixture(scope="module")
def running(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service without a limit of requests."""
    with running_service(cluster, template, tmp_path_factory.mktemp("messages") / "log") as running:
        yield running


@pytest.fixture
def team(running: Running) -> Iterator[Team]:
    """An owner and a member; afterwards the log must hold no new failure."""
    before = len(running.service.failures)
    yield Team.create(running.client, running.database_url)
    assert running.service.failures[before:] == []


def check_error(reply: httpx.Response) -> None:
    """Check the shape of an error and that it shows no internals."""
    body = reply.json()
    assert 400 <= reply.status_code < 500, (reply.status_code, body)
    assert reply.headers["content-type"] == "application/json"
    assert body.keys() == {"success", "error", "meta"}
    assert body["success"] is False
    assert {"code", "message"} <= body["error"].keys() <= {"code", "message", "field"}
    assert re.fullmatch(r"[a-z0-9_]+", body["error"]["code"])
    assert re.fullmatch(TIME, body["meta"]["timestamp"])
    assert not SQL_WORDS.search(reply.text), reply.text


def test_every_route_succeeds(team: Team) -> None:
    first = team.sent_id("first")
    calls: list[tuple[str, str, dict[str, Any], int]] = [
        ("POST", "", {"json": {"channel_id": team.channel_id, "content": "x"}}, 201),
        ("POST", "/send", {"json": {"channel_id": team.channel_id, "content": "x"}}, 201),
        ("GET", f"/history?channel_id={team.channel_id}", {}, 200),
        ("GET", f"/{first}", {}, 200),
        ("PUT", f"/{first}", {"json": {"content": "second", "user_id": team.user_ids[0]}}, 200),
        ("GET", f"/{first}/edits", {}, 200),
        ("POST", f"/{first}/pin", {}, 200),
        ("POST", f"/{first}/pin", {"json": {}}, 200),
        ("DELETE", f"/{first}/pin", {}, 200),
        ("POST", f"/{first}/react", {"json": {"emoji": "fire", "user_id": team.user_ids[0]}}, 200),
        ("PUT", f"/{first}/reactions/fire", {}, 200),
        ("PUT", f"/{first}/reactions/%F0%9F%91%8D", {}, 200),
        ("DELETE", f"/{first}/reactions/fire", {}, 200),
        ("POST", f"/{first}/thread", {"json": {"content": "reply"}}, 201),
        ("DELETE", f"/{first}?user_id={team.user_ids[0]}", {}, 200),
    ]
    for method, path, options, status in calls:
        reply = team.request(method, path, **options)
        assert (method, path, reply.status_code) == (method, path, status), reply.text
        assert reply.json()["success"] is True
        assert reply.headers["content-type"] == "application/json"
        assert {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"} <= reply.headers.keys()
    assert team.inconsistencies() == []


def test_path_wins_over_query_and_body(team: Team) -> None:
    first, second = team.sent_id("first"), team.sent_id("second")
    reply = team.request("PUT", f"/{first}?id={second}", json={"id": second, "content": "changed"})
    assert reply.json()["data"]["id"] == first
    reply = team.request("PUT", f"/{first}/reactions/fire?emoji=tada", json={"emoji": "tada"})
    assert reply.json()["data"]["emoji"] == "fire"


def test_non_member_gets_404(team: Team, running: Running) -> None:
    first = team.sent_id()
    other = Team.create(running.client, running.database_url, 1)
    for method, path in (("GET", f"/{first}"), ("DELETE", f"/{first}"), ("POST", f"/{first}/pin")):
        reply = other.request(method, path)
        check_error(reply)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "message_not_found")
    check_error(other.request("GET", f"/history?channel_id={team.channel_id}"))


def test_service_key_acts_for_the_named_user(team: Team) -> None:
    headers = bearer(sign({"role": "service_role", "exp": 4_000_000_000}))
    body = {"channel_id": team.channel_id, "content": "x", "user_id": team.user_ids[1]}
    reply = team.client.post(BASE, headers=headers, json=body)
    assert (reply.status_code, reply.json()["data"]["user_id"]) == (201, team.user_ids[1])
    assert not [name for name in reply.headers if name.startswith("ratelimit")]


UNKNOWN = [
    ("GET", "/api/v2"),
    ("GET", "/api/v2/"),
    ("GET", "/api/v2/messages/"),
    ("GET", "/api/v2/messages"),
    ("PATCH", "/api/v2/messages"),
    ("POST", f"/api/v2/messages/{UNKNOWN_ID}"),
    ("GET", f"/api/v2/messages/{UNKNOWN_ID}/pin"),
    ("GET", f"/api/v2/messages/{UNKNOWN_ID}/nothing"),
    ("PUT", f"/api/v2/messages/{UNKNOWN_ID}/reactions/a/b"),
    ("GET", "/api/v2/messages/../../health2"),
    ("POST", "/api/v2/channels"),
]


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
def test_unknown_route_is_404_or_405(team: Team, method: str, path: str) -> None:
    reply = team.client.request(method, path, headers=bearer(token(team.user_ids[0])))
    assert reply.status_code in {404, 405}
    if reply.request.url.path.startswith("/api/v2/"):
        check_error(reply)


PATHS = [
    "x", "%00", "a%00b", "%ED%A0%80", "%FF", "%F0%9F%91%8D", "'%20or%20true%20--", "%25", "%2e%2e", "$(id)", "{{x}}",
    "x" * 5000, UNKNOWN_ID + "%0a", UNKNOWN_ID.upper(), f"%7B{UNKNOWN_ID}%7D", UNKNOWN_ID.replace("-", ""),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:20])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("DELETE", ""), ("POST", "/pin"), ("PUT", "/reactions/x")])
def test_wrong_id_is_400_or_404(team: Team, method: str, rest: str, path: str) -> None:
    reply = team.request(method, f"/{path}{rest}")
    check_error(reply)
    assert reply.status_code in {400, 404}


@pytest.mark.parametrize("emoji", ["%00", "%ED%A0%80", "%FF", "'%20or%20true", "%25", "%20", "x" * 64])
def test_emoji_in_the_path_is_a_name_or_an_emoji(team: Team, emoji: str) -> None:
    first = team.sent_id()
    is_name = emoji == "x" * 64
    for method in ("PUT", "DELETE"):
        reply = team.request(method, f"/{first}/reactions/{emoji}")
        assert reply.status_code == (200 if is_name else 400), reply.text
    check_error(team.request("PUT", f"/{first}/reactions/{'x' * 65}"))


@pytest.mark.parametrize(
    "query",
    [
        "", "channel_id=", "channel_id=%00", "channel_id=%ED%A0%80", "channel_id=%FF", "channel_id[]=x", "=&=&&",
        "channel_id=1;drop table messages", "channel_id=" + "x" * 20_000, "limit=NaN&channel_id=" + UNKNOWN_ID,
        "limit=1&limit=2", "%00=%00", "channel_id=true", "channel_id=null",
    ],
    ids=lambda query: query[:20],
)  # fmt: skip
def test_wrong_history_query_is_refused(team: Team, query: str) -> None:
    reply = team.request("GET", f"/history?{query}")
    check_error(reply)


def test_unknown_query_parameter_is_ignored(team: Team) -> None:
    for value in ("%00", "%ED%A0%80", "%FF", "%F0%9F%91%8D"):
        reply = team.request("GET", f"/history?channel_id={team.channel_id}&more={value}")
        assert reply.status_code == 200, (value, reply.text)


BODIES = [
    b"", b"{", b"[]", b"null", b"5", b"\xff\xfe", b"\0", b"not json", b"{}", b'{"content": 1e999999}',
    b"[" * 200_000, b'{"a":' * 100_000, b'{"channel_id": "\\u0000"}', b'{"channel_id": "\\ud800"}',
    b'{"content": "x", "channel_id": "\xed\xa0\x80"}', b'{"content": {"$ne": null}, "channel_id": ["x"]}',
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:24]))
@pytest.mark.parametrize("path", ["", "/send", f"/{UNKNOWN_ID}/thread"], ids=["create", "send", "reply"])
def test_wrong_body_is_400_or_404(team: Team, path: str, body: bytes) -> None:
    reply = team.request("POST", path, content=body, headers={"content-type": "application/json"})
    check_error(reply)
    assert reply.status_code in {400, 404}


@pytest.mark.parametrize("value", ["\u202e.", "\U0010ffff", "'; drop table messages; --", "\\"], ids=ascii)
def test_strings_can_hold_any_character(team: Team, value: str) -> None:
    body = {"channel_id": team.channel_id, "content": value, "content_type": value, "metadata": {value: [value]},
            "attachments": [{value: value}]}  # fmt: skip
    reply = team.request("POST", content=json.dumps(body).encode(), headers={"content-type": "application/json"})
    assert reply.status_code == 201, reply.text
    reply = team.request("GET", f"/{reply.json()['data']['id']}")
    assert reply.json()["data"]["content"] == value


@pytest.mark.parametrize("value", ["\0", "a\ud800", "\udc00"], ids=ascii)
def test_text_that_cannot_be_stored_is_refused(team: Team, value: str) -> None:
    # As in the Data API; only ingest mends what it gets.
    body = {"channel_id": team.channel_id, "content": value}
    reply = team.request("POST", content=json.dumps(body).encode(), headers={"content-type": "application/json"})
    check_error(reply)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("extra", "word"),
    [(dict.fromkeys(map(str, range(1001)), ":::"), "keys"), ("nested", "deep")],
    ids=["many keys", "deep"],
)
def test_body_that_costs_far_more_than_its_size_is_refused(team: Team, extra: Any, word: str) -> None:
    body = json.dumps({"channel_id": team.channel_id, "content": "x" * 30_000, "a": "y" * 40_000, "extra": extra})
    content = body.replace('"nested"', "[" * 100_000 + "]" * 100_000).encode()
    reply = team.request("POST", content=content, headers={"content-type": "application/json"})
    check_error(reply)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_json")
    assert word in reply.json()["error"]["message"]


@pytest.mark.parametrize("size", [1_000_001, 10_000_000])
@pytest.mark.parametrize("is_announced", [True, False])
def test_too_large_body_is_413(team: Team, size: int, is_announced: bool) -> None:
    body = b'{"content": "' + b"x" * size + b'"}'
    content = body if is_announced else iter([body[i : i + 65536] for i in range(0, len(body), 65536)])
    reply = team.request("POST", content=content, headers={"content-type": "application/json"})
    check_error(reply)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/xml",
        ";;;",
    ],
)
def test_other_media_type_is_415(team: Team, media_type: str) -> None:
    body = json.dumps({"channel_id": team.channel_id, "content": "x"}).encode()
    reply = team.request("POST", content=body, headers={"content-type": media_type})
    check_error(reply)
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_media_type_can_have_a_charset(team: Team) -> None:
    body = json.dumps({"channel_id": team.channel_id, "content": "x"}).encode()
    reply = team.request("POST", content=body, headers={"content-type": "application/json; charset=utf-8"})
    assert reply.status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_wrong_idempotency_key_is_400(team: Team, key: str) -> None:
    reply = team.request("POST", json={"channel_id": team.channel_id, "content": "x"}, headers={"idempotency-key": key})
    check_error(reply)
    assert reply.json()["error"]["code"] == "invalid_idempotency_key"


def test_retry_with_a_key_gets_the_same_bytes(team: Team) -> None:
    team.keep_minute()
    body, headers = {"channel_id": team.channel_id, "content": "once"}, {"idempotency-key": "a key, with '; signs"}
    first, again = (team.request("POST", json=body, headers=headers) for _ in range(2))
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert int(again.headers["ratelimit-remaining"]) < int(first.headers["ratelimit-remaining"])
    check_error(team.request("POST", json=body | {"content": "other"}, headers=headers))


def test_incomplete_request_does_not_affect_others(team: Team, running: Running) -> None:
    start = f"POST {BASE} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token(team.user_ids[0])}\r\n"
    for rest in ("", "content-type: application/json\r\ncontent-length: 100\r\n\r\n{", "\xff\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", running.service.port)) as connection:
            connection.sendall((start + rest).encode("latin-1"))
    assert team.send().status_code == 201


@pytest.fixture
def two(cluster: TestCluster, fresh_database: str, tmp_path: Path) -> Iterator[tuple[list[httpx.Client], Team]]:
    """Two services on one database with the limit of 60, and a team."""
    url = cluster.url(fresh_database, "authenticator")
    with serving_users(url, tmp_path / "one") as (_, one), serving_users(url, tmp_path / "two") as (_, other):
        yield [one, other], Team.create(one, cluster.url(fresh_database, "postgres"))


def spend(clients: list[httpx.Client], team: Team) -> list[httpx.Response]:
    """Send 72 requests as the owner, twelve at once, and return the answers."""
    headers = bearer(token(team.user_ids[0]))
    paths = [
        f"{BASE}/{UNKNOWN_ID}",
        f"{BASE}/history?channel_id={team.channel_id}",
        f"{BASE}/x",
        f"{BASE}/{UNKNOWN_ID}/edits",
    ]

    def read(number: int) -> httpx.Response:
        return clients[number % 2].get(paths[number % 4], headers=headers)

    parts = in_parallel([lambda start=start: [read(start + step) for step in range(0, 72, 12)] for start in range(12)])
    return [reply for part in parts for reply in part]


def test_request_limit_spans_routes_and_processes(two: tuple[list[httpx.Client], Team]) -> None:
    clients, team = two
    team.keep_minute()
    replies = spend(clients, team)
    assert sum(reply.status_code == 429 for reply in replies) == 12
    remaining = sorted(int(reply.headers["ratelimit-remaining"]) for reply in replies)
    assert remaining == [0] * 12 + list(range(60))
    for reply in replies:
        assert reply.headers["ratelimit-limit"] == "60"
        assert ("retry-after" in reply.headers) == (reply.status_code == 429)
        if reply.status_code == 429:
            check_error(reply)
            assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert team.request("GET", f"/history?channel_id={team.channel_id}", who=1).status_code == 200


def test_concurrent_retries_create_one_message(two: tuple[list[httpx.Client], Team]) -> None:
    clients, team = two
    headers = bearer(token(team.user_ids[0])) | {"idempotency-key": "storm"}
    body = {"channel_id": team.channel_id, "content": "once"}
    barrier = threading.Barrier(32)

    def send(number: int) -> httpx.Response:
        barrier.wait()
        return clients[number % 2].post(BASE, headers=headers, json=body)

    replies = in_parallel([lambda number=number: send(number) for number in range(32)])
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.content for reply in replies}) == 1
    assert sum("idempotent-replayed" not in reply.headers for reply in replies) == 1
    assert team.query("select content from public.messages where channel_id = %s", team.channel_id) == ["once"]
    assert team.inconsistencies() == []
