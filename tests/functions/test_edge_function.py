"""The Edge Function: its use of the Data API, its environment, and its log."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Barrier

import httpx
import pytest

from tests.functions import edge, upstream
from tests.functions.cases import JSON, UNAVAILABLE, Answer, from_http, from_sql
from tests.functions.edge import EdgeFunction
from tests.functions.upstream import Question, Reply, Upstream
from tests.support import tools
from tests.support.ingest import PATH

if tools.deno() is None:
    pytest.skip(tools.why_not("deno"), allow_module_level=True)

BODY = b'{"content": "this must not be logged"}'
SECRET = "threadline_secret"  # of the caller
SECRET_KEY = "sb_secret_of_the_project"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SIGNING = "/object/upload/sign/attachments/"
FILE = f"conversations/01234567-89ab-4cde-8f00-{'0' * 12}/{'0123456789abcdef' * 4}"
LEGACY_KEY = "eyJhbGciOiJIUzI1NiJ9.e30.x"
STORED = Reply(200, '{"success" : true}')
FAILED = from_http(500, "Internal server error")

Start = Callable[..., AbstractContextManager[EdgeFunction]]


@pytest.fixture(scope="module")
def data_api() -> Iterator[Upstream]:
    with upstream.running() as running:
        yield running


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Return a function that starts the Edge Function with an environment."""

    def start(patience: float | None = None, **environment: str) -> AbstractContextManager[EdgeFunction]:
        log = tmp_path_factory.mktemp("edge") / "edge.log"
        return edge.serving(log, patience=patience, **environment)

    return start


@pytest.fixture(scope="module")
def function(start: Start, data_api: Upstream) -> Iterator[EdgeFunction]:
    with start(patience=0.5, SUPABASE_URL=data_api.url, SUPABASE_SERVICE_ROLE_KEY=SECRET_KEY) as function:
        yield function


@pytest.fixture(scope="module")
def small(start: Start, data_api: Upstream) -> Iterator[EdgeFunction]:
    """The function with the usual patience, for bodies of ten bytes."""
    variables = {"SUPABASE_URL": data_api.url, "SUPABASE_SERVICE_ROLE_KEY": SECRET_KEY, "INGEST_MAX_BYTES": "010"}
    with start(**variables) as function:
        yield function


def post(function: EdgeFunction, body: bytes = BODY) -> Answer:
    headers = {**JSON, "x-api-key": SECRET, "accept-encoding": "identity"}
    return Answer.of(httpx.post(function.url + PATH, content=body, headers=headers, timeout=60))


def ask(function: EdgeFunction, data_api: Upstream, *replies: Reply) -> tuple[Answer, list[Question]]:
    """Return the function's answer and its questions for these replies of the Data API."""
    data_api.replies, data_api.questions = [*replies], []
    answer = post(function)
    assert not data_api.replies
    return answer, data_api.questions


def refusal(status: int, code: str) -> Reply:
    """An error as PostgREST reports it."""
    text = f"of {BODY.decode()}"
    return Reply(status, json.dumps({"code": code, "message": text, "details": text, "hint": None}), JSON)


TEMPORARY = {
    "serialization-failure": refusal(500, "40001"),
    "deadlock": refusal(500, "40P01"),
    "unique-violation": refusal(409, "23505"),
    "connection-failure": refusal(503, "08006"),
    "too-many-connections": refusal(503, "53300"),
    "statement-timeout": refusal(500, "57014"),
    "terminated": refusal(503, "57P01"),
    "lock-timeout": refusal(500, "55P03"),
    "limit-of-the-configuration": refusal(500, "53400"),
    "foreign-key-violation": refusal(409, "23503"),
    "read-only": refusal(405, "25006"),
    "no-connection": refusal(503, "PGRST000"),
    "lost-connection": refusal(503, "PGRST001"),
    "no-schema-yet": refusal(503, "PGRST002"),
    "pool-exhausted": refusal(504, "PGRST003"),
    "gateway-without-upstream": Reply(502, "An invalid response was received from the upstream server"),
    "gateway-timeout": Reply(504, "<html></html>"),
    "connection-broken": Reply(200, '{"success" : true}', sent=5),
    "silence": Reply(200, "", is_silent=True),
}
LASTING = {
    "no-privilege": refusal(403, "42501"),
    "no-function": refusal(404, "PGRST202"),
    "wrong-key": refusal(401, "PGRST301"),
    "exception": refusal(400, "P0001"),
    "check-violation": refusal(400, "23514"),
    "gateway-refuses": Reply(401, '{"message":"Invalid API key"}'),
    "gateway-knows-no-route": Reply(404, '{"message":"no Route matched with those values"}'),
    "no-json": Reply(500, "Something went wrong"),
    "json-null": Reply(500, "null"),
    "error-of-a-gateway": Reply(500, '{"error": {"code": 1}}'),
    "redirect": Reply(307, "", {"location": "/elsewhere"}),
}


@pytest.mark.parametrize("reply", TEMPORARY.values(), ids=TEMPORARY)
def test_transient_errors_are_retried_then_unavailable(
    reply: Reply, function: EdgeFunction, data_api: Upstream
) -> None:
    answer, questions = ask(function, data_api, reply, reply)
    assert answer == UNAVAILABLE
    first, second = questions
    assert first == second


@pytest.mark.parametrize("reply", TEMPORARY.values(), ids=TEMPORARY)
def test_successful_retry_is_invisible_to_the_caller(reply: Reply, function: EdgeFunction, data_api: Upstream) -> None:
    answer, _ = ask(function, data_api, reply, STORED)
    assert answer == from_sql(200, STORED.body)


@pytest.mark.parametrize("reply", LASTING.values(), ids=LASTING)
def test_permanent_errors_are_not_retried(reply: Reply, function: EdgeFunction, data_api: Upstream) -> None:
    answer, questions = ask(function, data_api, reply)
    assert answer == FAILED
    assert len(questions) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 413, 500])
def test_errors_of_the_sql_function_are_passed_on(status: int, function: EdgeFunction, data_api: Upstream) -> None:
    answer, _ = ask(function, data_api, Reply(status, '{"error" : "as it is"}'))
    assert answer == from_sql(status, '{"error" : "as it is"}')


def test_data_api_receives_only_body_key_and_id(function: EdgeFunction, data_api: Upstream) -> None:
    _, (question,) = ask(function, data_api, STORED)
    assert (question.method, question.path) == ("POST", "/rest/v1/rpc/messaging_ingest")
    assert question.body == BODY
    assert re.fullmatch(UUID, question.headers.pop("x-request-id"))
    of_deno = {"accept", "accept-encoding", "accept-language", "host", "user-agent"}
    assert {name: value for name, value in question.headers.items() if name not in of_deno} == {
        "apikey": SECRET_KEY,
        "content-length": str(len(BODY)),
        "content-profile": "public",
        "content-type": "application/octet-stream",
        "x-api-key": SECRET,
    }


@pytest.mark.parametrize(
    ("environment", "apikey", "authorization"),
    [
        ({"SUPABASE_SECRET_KEYS": json.dumps({"default": SECRET_KEY})}, SECRET_KEY, None),
        ({"SUPABASE_SECRET_KEYS": json.dumps({"other": "x"})}, LEGACY_KEY, f"Bearer {LEGACY_KEY}"),
        ({"SUPABASE_SECRET_KEYS": "", "INGEST_MAX_BYTES": ""}, LEGACY_KEY, f"Bearer {LEGACY_KEY}"),
        ({}, LEGACY_KEY, f"Bearer {LEGACY_KEY}"),
    ],
    ids=["secret-key", "no-default-secret-key", "empty-secret-keys", "legacy-key"],
)
def test_only_a_legacy_key_is_sent_as_bearer_token(
    environment: dict[str, str], apikey: str, authorization: str | None, start: Start, data_api: Upstream
) -> None:
    with start(SUPABASE_URL=data_api.url, SUPABASE_SERVICE_ROLE_KEY=LEGACY_KEY, **environment) as function:
        _, (question,) = ask(function, data_api, STORED)
    assert question.headers["apikey"] == apikey
    assert question.headers.get("authorization") == authorization


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"SUPABASE_SERVICE_ROLE_KEY": SECRET_KEY}, "SUPABASE_URL is not set"),
        ({"SUPABASE_URL": "", "SUPABASE_SERVICE_ROLE_KEY": SECRET_KEY}, "SUPABASE_URL is not set"),
        ({"SUPABASE_URL": "http://127.0.0.1:1"}, "SUPABASE_SERVICE_ROLE_KEY is not set"),
        (
            {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SECRET_KEYS": SECRET_KEY},
            "SUPABASE_SECRET_KEYS is not JSON",
        ),
        ({"INGEST_MAX_BYTES": "10 MB"}, "INGEST_MAX_BYTES must be a positive whole number"),
        ({"INGEST_MAX_BYTES": "0"}, "INGEST_MAX_BYTES must be a positive whole number"),
    ],
)
def test_wrong_environment_logs_one_line(environment: dict[str, str], line: str, start: Start) -> None:
    with start(**environment) as function:
        assert post(function) == FAILED
        [written] = function.lines
        assert re.fullmatch(f"{re.escape(line)} {UUID}", written)


def test_size_limit_can_be_set(small: EdgeFunction, data_api: Upstream) -> None:
    data_api.replies = [STORED]
    assert post(small, b"x" * 11) == from_http(413, "Request body too large: at most 10 bytes")
    assert post(small, b"x" * 10) == from_sql(200, STORED.body)


def test_log_contains_no_user_data(function: EdgeFunction, data_api: Upstream) -> None:
    before = len(function.lines)
    ask(function, data_api, TEMPORARY["deadlock"], LASTING["check-violation"])
    ask(function, data_api, TEMPORARY["silence"], TEMPORARY["gateway-timeout"])
    ask(function, data_api, LASTING["gateway-refuses"])
    ask(function, data_api, Reply(204, ""))  # such an answer can have no body
    ask(function, data_api, Reply(200, f'{{"url":"sign:{FILE}"}}'), SIGNED["no-json"][0])
    lines = [re.fullmatch(f"(.*) {UUID}", line) for line in function.lines[before:]]
    assert [line and line[1] for line in lines] == [
        "messaging_ingest failed with 40P01",
        "messaging_ingest failed: 400 23514",
        "messaging_ingest failed with TimeoutError",
        "messaging_ingest failed with no code",
        "messaging_ingest failed: 401 no code",
        "messaging-ingest failed: TypeError",
        "Storage failed with SyntaxError",
    ]
    printed = function.log.read_text()
    for secret in (SECRET, SECRET_KEY, BODY.decode()):
        assert secret not in printed


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [("integrator-7.42_x", True), ("AZaz09", True), ("x" * 50, True), ("x" * 51, False), ("not sane", False)],
    ids=["sane", "ends of classes", "longest", "too-long", "not-sane"],
)
def test_request_keeps_one_id_from_end_to_end(
    given: str, is_kept: bool, function: EdgeFunction, data_api: Upstream
) -> None:
    data_api.replies, data_api.questions = [STORED], []
    headers = {**JSON, "x-api-key": SECRET, "x-request-id": given}
    answer = httpx.post(function.url + PATH, content=BODY, headers=headers, timeout=60)
    [question] = data_api.questions
    assert answer.headers["x-request-id"] == question.headers["x-request-id"]
    assert (answer.headers["x-request-id"] == given) == is_kept


SIGNED = {
    "signed": (Reply(200, f'{{"url": "{SIGNING}p?token=t"}}'), f"/storage/v1{SIGNING}p?token=t"),
    "no-url": (Reply(200, '{"url": 7}'), None),
    "no-json": (Reply(500, "Something went wrong"), None),
    "silence": (Reply(200, "", is_silent=True), None),
    "redirect": (Reply(307, "", {"location": "/elsewhere"}), None),
}


@pytest.mark.parametrize(("reply", "url"), SIGNED.values(), ids=SIGNED)
def test_file_that_cannot_be_signed_has_no_url(
    reply: Reply, url: str | None, function: EdgeFunction, data_api: Upstream
) -> None:
    marks = f'[{{"url":"sign:{FILE}"}},{{"url":"sign:conversations/x"}}]'
    answer, (_, question) = ask(function, data_api, Reply(200, marks), reply)
    assert json.loads(answer.body) == [{"url": url and data_api.url + url}, {"url": "sign:conversations/x"}]
    assert (question.method, question.path) == ("POST", f"/storage/v1{SIGNING}{FILE}")
    assert (question.headers["apikey"], question.headers["x-upsert"]) == (SECRET_KEY, "true")


def test_ten_files_are_signed_at_the_same_time(small: EdgeFunction, data_api: Upstream) -> None:
    marks = ",".join(f'{{"url":"sign:{FILE[:-1]}{digit}"}}' for digit in "0123456789a")
    asked = []

    def count() -> None:
        time.sleep(0.05)  # for an eleventh, which must not come yet
        asked.append(len(data_api.questions) - 1)

    ten = Barrier(10, action=count, timeout=10)
    signed = Reply(200, f'{{"url": "{SIGNING}"}}')
    data_api.questions = []
    data_api.replies = [Reply(200, f"[{marks}]"), *[replace(signed, waits_with=ten)] * 10, signed]
    answer = post(small, b"{}")
    assert json.loads(answer.body) == [{"url": f"{data_api.url}/storage/v1{SIGNING}"}] * 11
    assert asked == [10]


def test_router_accepts_only_the_two_paths(function: EdgeFunction) -> None:
    answers = [httpx.get(function.url + path) for path in (PATH, "/messaging-ingest", "/functions/v1/other", "/")]
    assert [answer.status_code for answer in answers] == [405, 405, 404, 404]
