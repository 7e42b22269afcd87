"""What an operator sees: request ids, log lines, /metrics, clean-up, exports and erasures."""

import asyncio
import gc
import json
import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from threadline import housekeeper, logs, metrics, observer
from threadline.__main__ import application

from tests.support.calls import send
from tests.support.claude import KEY
from tests.support.claude import running as running_claude
from tests.support.cluster import TestCluster
from tests.support.ingest import PATH, Sender, conversation, message
from tests.support.service import Service, serving
from tests.support.sessions import session
from tests.support.team import Team, create_unlimited_database, serving_users
from tests.support.tokens import JWT_SECRET, bearer, sign, token
from tests.support.twin import until
from tests.support.world import BASE, MATTY

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SCRAPE = {"authorization": "Bearer scrape-me"}


@pytest.fixture(scope="module")
def database(cluster: TestCluster, template: str) -> str:
    """The name of a database of this module."""
    return create_unlimited_database(cluster, template)


@pytest.fixture(scope="module")
def watched(
    cluster: TestCluster, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, Team, Sender]]:
    """A service with metrics, a team and a sender."""
    log = tmp_path_factory.mktemp("watched") / "log"
    url, admin = cluster.url(database, "authenticator"), cluster.url(database, "postgres")
    with running_claude() as claude:
        environment = {
            "THREADLINE_METRICS_TOKEN": "scrape-me",
            "ANTHROPIC_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": claude.url,
            "THREADLINE_SUMMARY_INPUT_PRICE": "1.5",
            "THREADLINE_SUMMARY_OUTPUT_PRICE": "10",
        }
        with serving_users(url, log, **environment) as (service, client):
            yield service, Team.create(client, admin), Sender.create(client, admin)


def scrape(client: httpx.Client) -> dict[tuple[str, frozenset], float]:
    """Return all samples by name and labels."""
    reply = client.get("/metrics", headers=SCRAPE)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def grown(before: dict, after: dict) -> dict[str, float]:
    """Return the growth of each counter of the service, named as in Prometheus."""
    return {
        f"{name}{{{','.join(f'{label}={text}' for label, text in sorted(labels))}}}": after[name, labels]
        - before.get((name, labels), 0)
        for name, labels in after
        if name.startswith("threadline_") and name.endswith("_total")
        if after[name, labels] != before.get((name, labels), 0)
    }


def test_request_id_is_in_answer_log_and_database(watched: tuple[Service, Team, Sender]) -> None:
    service, _, sender = watched
    given = sender.send(json.dumps(sender.request()).encode(), x_request_id="integrator-7.42_x")
    made = sender.post(conversation(message()))
    assert given.headers["x-request-id"] == "integrator-7.42_x"
    assert re.fullmatch(UUID, made.headers["x-request-id"])
    ids = ["integrator-7.42_x", made.headers["x-request-id"]]
    # The service writes a line after it sent the answer.
    until(lambda: [line["request_id"] for line in service.lines if line.get("request_id") in ids] == ids)
    with session(sender.database_url) as db:
        statement = "select request_id from public.ingest_log where request_id = any(%s) order by at"
        assert [row[0] for row in db.execute(statement, [ids])] == ids


@pytest.mark.parametrize("spoiled", ["", "x" * 51, "a b", 'a"b', "\xfc", "a,b"])
def test_wrong_request_id_is_replaced(watched: tuple[Service, Team, Sender], spoiled: str) -> None:
    reply = watched[0].client.get("/nothing", headers=[(b"x-request-id", spoiled.encode("latin-1"))])
    assert reply.status_code == 404
    assert re.fullmatch(UUID, reply.headers["x-request-id"])


def test_postgres_shows_the_request_id(watched: tuple[Service, Team, Sender]) -> None:
    _, _, sender = watched
    sender.post(conversation(message("a"), external_id="held"))
    body = json.dumps(sender.request(conversation(message("b"), external_id="held"))).encode()
    names = "select application_name from pg_stat_activity where application_name like 'threadline/%'"
    with psycopg.connect(sender.database_url) as holder, ThreadPoolExecutor() as threads:
        holder.execute("select from public.conversations where user_id = %s for update", [sender.user_id])
        sent = threads.submit(lambda: sender.send(body, x_request_id="stuck-1"))
        with psycopg.connect(sender.database_url, autocommit=True) as operator:
            until(lambda: operator.execute(names).fetchall() == [("threadline/stuck-1",)])
        holder.rollback()
        assert sent.result().status_code == 200


def test_log_line_tells_the_outcome_without_content(
    watched: tuple[Service, Team, Sender],
) -> None:
    service, team, sender = watched
    service.client.get("/nothing", headers={"x-request-id": "the-one-before"})
    until(lambda: "the-one-before" in service.log.read_text())  # the service writes a line after it sent the answer
    before = len(service.lines)
    said = team.sent_id("canary-1 in a message")
    team.request("GET", f"/{said}?canary-2=canary-3")
    team.request("PUT", f"/{said}/reactions/canary-4")
    service.client.request("PROPFIND", "/canary-6")
    sender.send(b"canary-7 is no JSON")
    until(lambda: len(service.lines) >= before + 5)
    lines = service.lines[before:]
    assert [(line["method"], line["route"], line["status"], line["outcome"]) for line in lines] == [
        ("POST", "/api/v2/messages", 201, "ok"),
        ("GET", "/api/v2/messages/{id}", 200, "ok"),
        ("PUT", "/api/v2/messages/{id}/reactions/{emoji}", 200, "ok"),
        ("other", "unmatched", 404, "refused"),
        ("POST", PATH, 400, "refused"),
    ]
    for line in lines:
        assert line["logger"] == "threadline.requests"
        assert 0 < line["duration_ms"] < 60_000
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
    assert "canary" not in json.dumps(lines).lower()


def test_metrics_need_the_token(watched: tuple[Service, Team, Sender], service: Service) -> None:
    refusals = [
        watched[0].client.get("/metrics"),
        watched[0].client.get("/metrics", headers=bearer("scrape-you")),
        watched[0].client.get("/metrics", headers=[(b"authorization", b"Bearer \xfc")]),
        *(
            watched[0].client.get("/metrics", headers={"authorization": near})
            for near in ("Bearer scrape-me2", "bearer scrape-me", "Digest scrape-me", "scrape-me")
        ),
        service.client.get("/metrics", headers=bearer("None")),
    ]
    assert {(reply.status_code, reply.text) for reply in refusals} == {(404, '{"error":"Not Found"}')}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(None, "aborted"), (200, "ok"), (399, "ok"), (400, "refused"), (499, "refused"), (500, "failed"), (503, "failed")],
)
def test_outcome_follows_the_status(status: int | None, outcome: str) -> None:
    assert observer._outcome(status) == outcome


def test_measured_metrics_share_a_family() -> None:
    measured = [
        {"name": "x", "help": "X.", "labels": {"b": "2", "a": "1"}, "value": 3},
        {"name": "x", "help": "X.", "labels": {"a": "4", "b": "5"}, "value": 6},
        {"name": "y", "help": "Y.", "labels": {}, "value": 7},
    ]
    lines = metrics.render(measured).decode().splitlines()
    assert lines[-7:] == [
        "# HELP x X.", "# TYPE x gauge", 'x{a="1",b="2"} 3.0', 'x{a="4",b="5"} 6.0',
        "# HELP y Y.", "# TYPE y gauge", "y 7.0",
    ]  # fmt: skip


def test_gauges_of_dead_processes_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[int] = []
    monkeypatch.setattr(metrics, "mark_process_dead", gone.append)
    for name in (f"gauge_livesum_{os.getpid()}", "gauge_livesum_99999999", "gauge_max_99999997", "counter_99999998"):
        (tmp_path / f"{name}.db").touch()
    metrics._forget_the_dead(str(tmp_path))
    assert gone == [99999999]


def test_metrics_have_the_chosen_form() -> None:
    gauges = metrics.POOL_SIZE, metrics.CALLS_UNDER_WAY
    assert {each._multiprocess_mode for each in gauges} == {"livesum"}
    histograms = metrics.REQUEST_SECONDS, metrics.CALL_SECONDS, metrics.WAIT_SECONDS
    assert [(each._kwargs["buckets"][0], each._kwargs["buckets"][-1]) for each in histograms] == [
        (0.001, 100), (0.001, 100), (0.0005, 10),
    ]  # fmt: skip


def test_request_is_marked_and_recorded_however_it_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "threadline.requests")
    monkeypatch.setattr(observer, "perf_counter", iter(range(4)).__next__)
    seen: list[object] = []
    sent: list[dict] = []

    async def app(scope: dict, _: object, send: Callable) -> None:
        seen.append((scope["type"], logs.request_id.get()))
        if status := scope.get("status"):
            await send({"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]})
            await send({"type": "http.response.body", "body": b"x"})
        if scope["type"] == "http" and not status:
            raise ConnectionResetError

    async def send(message: dict) -> None:
        sent.append(message)

    async def run() -> None:
        await observer.observe(app)({"type": "lifespan"}, None, send)
        scope = {"type": "http", "method": "GET", "headers": [(b"x-request-id", b"r7")], "path_template": "/a"}
        await observer.observe(app)({**scope, "status": 404}, None, send)
        with pytest.raises(ConnectionResetError):
            await observer.observe(app)(scope, None, send)

    asyncio.run(run())
    assert seen == [("lifespan", None), ("http", "r7"), ("http", "r7")]
    assert sent == [
        {"type": "http.response.start", "status": 404, "headers": [(b"a", b"b"), (b"x-request-id", b"r7")]},
        {"type": "http.response.body", "body": b"x"},
    ]
    fields = {"method": "GET", "route": "/a", "duration_ms": 1000.0}
    assert [record.fields for record in caplog.records] == [
        {**fields, "status": 404, "outcome": "refused"}, {**fields, "status": None, "outcome": "aborted"},
    ]  # fmt: skip


def test_request_is_logged_by_its_template(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "threadline.requests")
    methods = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    for method in (*methods, "PROPFIND"):
        observer._record({"method": method, "path_template": "/a/{id:str}"}, 200, 0.01234)
    for template in ("/health", "/metrics", None):
        observer._record({"method": "GET", "path_template": template}, None, 0.01234)
    assert metrics.REQUESTS.labels("other", "/a/{id}", 200)._value.get() == 1
    assert metrics.REQUESTS.labels("GET", "/metrics", "none")._value.get() == 1
    assert metrics.REQUEST_SECONDS.labels("/a/{id}")._sum.get() == pytest.approx(8 * 0.01234)
    assert {record.fields["duration_ms"] for record in caplog.records} == {12.34}
    assert [f"{record.levelname} {record.getMessage()}" for record in caplog.records] == [
        *[f"INFO {name} /a/{{id}} 200" for name in (*methods, "other")],
        "DEBUG GET /health None",
        "DEBUG GET /metrics None",
        "INFO GET unmatched None",
    ]


@pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")
def test_warning_of_python_is_a_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://authenticator:postgres@127.0.0.1:1/postgres")
    try:
        before = gc.get_freeze_count()
        application()
        assert gc.get_freeze_count() > before
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("An old call", stacklevel=1)
    finally:
        logging.captureWarnings(False)
        gc.unfreeze()
    assert [record.name for record in caplog.records if "An old call" in record.getMessage()] == ["py.warnings"]


def test_full_round_of_clean_up_is_followed_at_once() -> None:
    def pause_after(removed: int) -> float:
        async def ask(_: str, **options: int) -> dict[str, int]:
            return {"ingest_log": 1, "summaries": removed}

        return asyncio.run(housekeeper.clean(SimpleNamespace(ask=ask)))

    assert pause_after(housekeeper.LIMIT) == 1
    assert pause_after(housekeeper.LIMIT + 1) == 1
    assert pause_after(housekeeper.LIMIT - 1) == 300


def test_round_that_indexed_again_is_followed_at_once() -> None:
    def pause_after(indexed: int, reindexed: int) -> float:
        async def ask(_: str, **options: int) -> dict[str, int]:
            return {"indexed": indexed, "reindexed": reindexed}

        return asyncio.run(housekeeper.index(SimpleNamespace(ask=ask)))

    assert pause_after(0, 1) == pause_after(housekeeper.INDEX_LIMIT, 0) == 0.1
    assert pause_after(housekeeper.INDEX_LIMIT - 1, 0) == 2


def test_metrics_count_requests_ingest_and_summaries(watched: tuple[Service, Team, Sender]) -> None:
    service, team, sender = watched
    before = scrape(service.client)
    sender.post(conversation(message("a"), message("b"), external_id="counted"), conversation({"id": 1}))
    sender.post(conversation(message("a"), message("c"), external_id="counted"))
    sender.post(connection_id="unknown")
    team.sent_id()
    team.request("POST", "/summarize", json={"channel_id": team.channel_id})
    counts = grown(before, scrape(service.client))
    model = "model=claude-haiku-5-5"
    cost = counts.pop(f"threadline_summary_cost_dollars_total{{{model}}}")
    assert cost == pytest.approx((10 * 1.5 + 9 * 10) / 1_000_000)
    assert counts == {
        f"threadline_http_requests_total{{method=POST,route={PATH},status=200}}": 2,
        f"threadline_http_requests_total{{method=POST,route={PATH},status=401}}": 1,
        "threadline_http_requests_total{method=POST,route=/api/v2/messages,status=201}": 1,
        "threadline_http_requests_total{method=POST,route=/api/v2/messages/summarize,status=200}": 1,
        "threadline_http_requests_total{method=GET,route=/metrics,status=200}": 1,
        "threadline_ingest_conversations_total{outcome=created}": 1,
        "threadline_ingest_conversations_total{outcome=updated}": 1,
        "threadline_ingest_conversations_total{outcome=error}": 1,
        "threadline_ingest_messages_total{}": 3,
        f"threadline_summary_calls_total{{{model},outcome=end_turn}}": 1,
        f"threadline_summary_tokens_total{{kind=read,{model}}}": 10,
        f"threadline_summary_tokens_total{{kind=written,{model}}}": 9,
    }


def test_metrics_include_database_numbers(watched: tuple[Service, Team, Sender]) -> None:
    samples = scrape(watched[0].client)
    assert samples["threadline_twin_deliveries", frozenset({("state", "dead")})] == 0
    assert samples["threadline_database_bytes", frozenset()] > 1_000_000
    assert samples["threadline_database_connections_max", frozenset()] == 10
    assert samples["threadline_database_calls_under_way", frozenset()] == 0
    assert samples["threadline_http_request_seconds_count", frozenset({("route", "/metrics")})] >= 1


def test_lost_broadcast_is_counted(watched: tuple[Service, Team, Sender]) -> None:
    service, team, _ = watched
    before = scrape(service.client)
    with session(team.database_url) as db:
        db.execute(
            """
            create function private.lose() returns trigger language plpgsql security definer as $$
            begin perform private.report_lost_broadcast('canary-8', '53100', 'canary-9'); return null; end $$;
            create trigger planted after insert on public.messages execute function private.lose();
            """
        )
    try:
        team.sent_id()
    finally:
        with session(team.database_url) as db:
            db.execute("drop trigger planted on public.messages; drop function private.lose()")
    assert grown(before, scrape(service.client))["threadline_broadcast_failures_total{}"] == 1
    assert "A broadcast was lost; clients get it when they catch up: 53100" in service.log.read_text()
    assert "canary" not in service.log.read_text().lower()


def test_metrics_work_without_postgres(tmp_path: Path) -> None:
    url = "postgresql://authenticator:postgres@127.0.0.1:1/postgres"
    with serving(url, tmp_path / "log", THREADLINE_METRICS_TOKEN="scrape-me") as service:
        assert service.client.get("/health").status_code == 503
        scrape(service.client)
        failures = scrape(service.client)[
            "threadline_database_failures_total", frozenset({("error", "ConnectionRefusedError")})
        ]
    assert failures >= 2


def test_metrics_add_up_all_processes(cluster: TestCluster, database: str, tmp_path: Path) -> None:
    url = cluster.url(database, "authenticator")
    options = ("--workers", "2")
    with serving(url, tmp_path / "log", *options, THREADLINE_METRICS_TOKEN="scrape-me") as service:
        for _ in range(20):
            httpx.get(f"{service.url}/nothing", verify=False)  # one connection each, so that both processes get some
        samples = scrape(service.client)
    labels = {"method": "GET", "route": "unmatched", "status": "404"}
    assert samples["threadline_http_requests_total", frozenset(labels.items())] == 20


def test_metrics_leave_out_a_killed_process(cluster: TestCluster, database: str, tmp_path: Path) -> None:
    url = cluster.url(database, "authenticator")
    name = ("threadline_database_connections_max", frozenset())
    with serving(url, tmp_path / "log", "--workers", "2", THREADLINE_METRICS_TOKEN="scrape-me") as service:

        def connections() -> float:
            with httpx.Client(base_url=service.url, verify=False) as client:
                return scrape(client)[name]

        def is_worker(process: psutil.Process) -> bool:
            try:
                return process.status() != "zombie" and "spawn_main" in str(process.cmdline())
            except psutil.NoSuchProcess:  # it ended just now
                return False

        def workers() -> set[psutil.Process]:
            return {each for each in psutil.Process(service.process.pid).children() if is_worker(each)}

        until(lambda: connections() == 20)
        before = workers()
        victim = min(before, key=lambda each: each.pid)
        victim.kill()
        until(lambda: len(workers() - before) == 1)
        until(lambda: connections() == 20)


@pytest.fixture(scope="module")
def keeping(
    cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, psycopg.Connection]]:
    """Run a service that cleans and indexes. At its start it finds old rows and a message in a new language."""
    name = create_unlimited_database(cluster, template)
    with psycopg.connect(cluster.url(name, "postgres"), autocommit=True) as db:
        db.execute(
            """
            insert into public.ingest_log (workspace_id, user_id, connection_id, at, status)
            select gen_random_uuid(), gen_random_uuid(), 'x', now() - interval '31 days', 200
            from generate_series(1, 1500)
            """
        )
        send(db, "viele H\u00e4user, many colourings")
        db.execute("update public.channels set language = 'de'")
        log = tmp_path_factory.mktemp("keeping") / "log"
        url = cluster.url(name, "authenticator")
        with serving_users(url, log, THREADLINE_DELIVER="1") as (service, _):
            yield service, db


def test_service_deletes_old_rows(keeping: tuple[Service, psycopg.Connection]) -> None:
    _, db = keeping
    until(lambda: db.execute("select count(*) from public.ingest_log").fetchone() == (0,))


def test_service_indexes_again_after_a_change_of_language(keeping: tuple[Service, psycopg.Connection]) -> None:
    service, db = keeping

    def hits(query: str) -> int:
        reply = service.client.get(f"{BASE}/search?query={query}", headers=bearer(token(MATTY)))
        return len(reply.json()["data"])

    until(lambda: hits("Haus") == 1)
    # The service looks again after 0.1 seconds, because it has just found a message to index.
    db.execute("update public.channels set language = 'en'")
    until(lambda: hits("colour") == 1)
    assert hits("Haus") == 0


def test_exports_return_conversations_and_channels_as_lines(watched: tuple[Service, Team, Sender]) -> None:
    service, team, sender = watched
    sent = [message(f"m{n:04}", sent_at="2026-02-01T10:30:00Z") for n in range(1203)]
    thread = sender.post(conversation(*sent, external_id="long")).json()["results"][0]["conversation_id"]
    owner = bearer(token(sender.user_id))
    reply = service.client.get(f"/api/v2/exports/conversations/{thread}", headers=owner)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/x-ndjson")
    assert [json.loads(line) for line in reply.text.splitlines()] == sent
    said = [team.sent_id(f"line\n{n}") for n in range(3)]
    for member in team.user_ids:
        headers = bearer(token(member))
        reply = service.client.get(f"/api/v2/exports/channels/{team.channel_id}", headers=headers)
        assert [json.loads(line)["id"] for line in reply.text.splitlines()][-3:] == said
    refusals = [
        service.client.get(f"/api/v2/exports/channels/{team.channel_id}", headers=owner),
        service.client.get(f"/api/v2/exports/conversations/{thread}", headers=bearer(token(team.user_ids[0]))),
        service.client.get(f"/api/v2/exports/conversations/{thread}?after=m0001"),
        service.client.get("/api/v2/exports/conversations/x", headers=owner),
    ]
    assert [reply.status_code for reply in refusals] == [404, 404, 401, 400]


def test_erasing_a_user_deletes_their_messages(watched: tuple[Service, Team, Sender]) -> None:
    service, team, _ = watched
    left = Team.create(team.client, team.database_url, size=3)
    left.sent_id("Hello", who=1)
    operator = bearer(sign({"role": "service_role", "exp": 4_000_000_000}, JWT_SECRET))
    body = {"user_id": left.user_ids[1]}
    refused = service.client.post("/api/v2/erasures/user", json=body, headers=bearer(token(left.user_ids[1])))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden")
    headers = {**operator, "x-request-id": "erasure-1"}
    receipt = service.client.post("/api/v2/erasures/user", json=body, headers=headers).json()["data"]
    assert (receipt["subject_id"], receipt["erased"]["messages"]) == (left.user_ids[1], 1)
    with session(left.database_url) as connection:
        known = connection.execute("select request_id from public.erasures where id = %s", [receipt["id"]])
        assert known.fetchone()[0] == "erasure-1"
    assert left.history()["data"] == []
    assert left.inconsistencies() == []
