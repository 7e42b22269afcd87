"""/schema describes the service: it lists every route, its examples work, and every answer matches it."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from litestar.routes import HTTPRoute
from threadline.app import create_app
from threadline.routes import service
from threadline.routes.calls import CALLS
from threadline.settings import Settings

from tests.support import contract
from tests.support.cluster import TestCluster
from tests.support.contract import DOCUMENT, ContractError, operations, parameters, resolve
from tests.support.schema import ROOT, SQL
from tests.support.sessions import session
from tests.support.soak import bounded
from tests.support.team import Running, running_service
from tests.support.tokens import bearer, token
from tests.support.world import BOB, CHANNEL, JOHN_DOE, MATTY, MESSAGE, TWIN, WORKSPACE

# test_uploads.py sends files, because it has a Storage.
FORMS = {("POST", "/api/v2/messages/upload")}
# The seed has nothing that these could erase, export, accept or remove.
WITHOUT_EXAMPLE = {
    ("DELETE", "/api/v2/invitations/{invitation_id}"),
    ("DELETE", "/api/v2/workspaces/{workspace_id}"),
    ("DELETE", "/api/v2/workspaces/{workspace_id}/members/{member_id}"),
    ("POST", "/api/v2/invitations/accept"),
    ("POST", "/api/v2/erasures/person"),
    ("POST", "/api/v2/erasures/user"),
    ("POST", "/api/v2/people/{person_id}/number/undo"),
    ("POST", "/api/v2/people/{person_id}/unmerge"),
    ("POST", "/api/v2/conversations/{conversation_id}/separate"),
    ("GET", "/api/v2/exports/conversations/{conversation_id}"),
}
# Codes of functions and tables without a route.
DATA_API_CODES = {
    "connection_not_found",
    "direct_channel",
    "key_not_found",
    "overlap_out_of_range",
    "plan_refused",
    "too_many_twin_channels",
}
SECONDS = 10.0  # for each answer
# The full run sends more than 20,000 requests; generating an ingest body takes ten times as long as another.
CASES = {"/functions/v1/messaging-ingest": bounded(3, 150)}
FEW = settings(
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def running(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service whose client signs in as Matty; afterwards its log must hold no failure."""
    log = tmp_path_factory.mktemp("contract") / "log"
    with running_service(cluster, template, log) as running:
        running.client.headers.update(bearer(token(MATTY)) | {"x-api-key": "your-api-secret"})
        yield running
        assert running.service.failures == []


@pytest.fixture(scope="module")
def requests_sent(running: Running) -> list[str]:
    """Collect the methods of what the client sends."""
    methods: list[str] = []
    running.client.event_hooks["request"].append(lambda request: methods.append(request.method))
    return methods


@pytest.fixture
def client(running: Running, requests_sent: list[str]) -> httpx.Client:
    """A client that is Matty in the data of seed.sql; the twin has a webhook."""
    client = running.client
    if requests_sent and set(requests_sent) == {"GET"}:
        return client  # which has changed nothing
    seed = (ROOT / "seed.sql").read_text(encoding="utf-8")
    with session(running.database_url) as db:
        db.execute("delete from public.channels; delete from public.ai_twins")
        db.execute(seed[seed.index("insert into public.channels") :])
    client.put(f"/api/v2/twins/{TWIN}/webhook", json={"url": "https://twin.example/hook"}).raise_for_status()
    requests_sent[:] = ["GET"]
    return client


def served() -> set[tuple[str, str]]:
    """Return every method and path of the service, written as in OpenAPI."""
    app = create_app(Settings(database_url="postgresql://nowhere"))
    return {
        (method, re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path))
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if handler.handler_name != "options_handler"
        for method in handler.http_methods
    }


def test_schema_is_served_without_a_token(client: httpx.Client) -> None:
    reply = httpx.get(f"{client.base_url}/schema", verify=False)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == DOCUMENT
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.json()["openapi"] == "3.1.0"


@pytest.mark.filterwarnings(
    "ignore::litestar.exceptions.LitestarDeprecationWarning"
)  # about Litestar 3, which the lock excludes
def test_schema_lists_exactly_the_served_routes() -> None:
    # The ingest route refuses other methods itself, as the Edge Function does.
    refused = {(method, "/functions/v1/messaging-ingest") for method in ("DELETE", "GET", "HEAD", "PATCH", "PUT")}
    # The schema does not describe /metrics: without the token it answers 404.
    refused.add(("GET", "/metrics"))
    # Pages for people.
    refused |= {("GET", "/"), ("GET", "/docs"), ("GET", "/docs/{name}")}
    refused |= {("GET", path) for path in ("/console", "/console/config.json", "/console/{path}")}
    assert served() - refused == operations().keys()


# Operations that share a function.
SHARED = {
    "send_message": "create_message",
    **{f"list_{kind}_invitations": "list_invitations" for kind in ("channel", "workspace")},
    **{f"create_{kind}_invitation": "create_invitation" for kind in ("channel", "workspace")},
}


def test_operation_is_named_after_its_function() -> None:
    for method, path, function in CALLS:
        operation = operations()[method, f"/api/v2{path.replace(':str', '')}"]["operationId"]
        name = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", operation)
        assert SHARED.get(name, name) == function, operation


def test_schema_has_the_version_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "__version__", "9.8.7")
    monkeypatch.setattr(service.yaml, "load", lambda *_, **__: {"info": {"version": "0"}})
    assert json.loads(service.document.__wrapped__())["info"]["version"] == "9.8.7"


def test_schema_references_match_its_components() -> None:
    text = json.dumps(DOCUMENT)
    used = set(re.findall(r'"#/components/(\w+)/([\w-]+)"', text))
    known = {(kind, name) for kind, each in DOCUMENT["components"].items() for name in each}
    assert used == known - {("securitySchemes", name) for name in DOCUMENT["components"]["securitySchemes"]}
    assert len({operation["operationId"] for operation in operations().values()}) == len(operations())


def test_schema_lists_every_error_code() -> None:
    api = [file for file in (ROOT / "api" / "threadline").rglob("*.py") if "local" not in file.parts]
    raised = {
        code
        for file in [*SQL, *api]
        for pattern in (
            r"private\.fail\(\s*\d+,\s*'(\w+)'",
            r"detail = '(\w+)'",
            r'"code": "(\w+)"',
            r'\d{3}[:,] "(\w+)"',
            r'SummaryFailedError\(\s*\d+,\s*"(\w+)"',
        )
        for code in re.findall(pattern, file.read_text(encoding="utf-8"))
    }
    described = set(re.findall(r"`([a-z_]+)`", json.dumps(DOCUMENT)))
    # The schema describes no 405, because it lists only methods that exist.
    assert raised - described <= {"method_not_allowed", *DATA_API_CODES}
    assert len(raised) > 30


def _short(path: str) -> str:
    """Return a path for the id of a case, with `{id}` for every id."""
    return re.sub(r"\{\w+_id\}", "{id}", path.replace("/api/v2", ""))


def examples() -> list[Any]:
    """Return every request in the examples of the schema, as options of httpx."""
    found = []
    for (method, path), operation in operations().items():
        if (method, path) in FORMS | WITHOUT_EXAMPLE:
            continue
        given = {each["name"]: each for each in parameters(method, path)}
        ids = {
            "id": MESSAGE,
            "channel_id": CHANNEL,
            "ai_twin_id": TWIN,
            "attachment_id": MESSAGE,
            "person_id": JOHN_DOE,
            "workspace_id": WORKSPACE,
            "member_id": BOB,
            "conversation_id": MESSAGE,
        }
        url = path.format(**ids, emoji="thumbsup")
        query = {name: each["example"] for name, each in given.items() if each["in"] == "query" and "example" in each}
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for name, example in content.get("examples", {"none": None}).items():
            options = {"params": query} if query else {}
            if example is not None:
                options["json"] = example["value"]
            found.append(pytest.param(method, url, options, id=f"{method} {_short(path)} {name}"))
    return found


@pytest.mark.parametrize(("method", "url", "options"), examples())
def test_service_accepts_each_example(client: httpx.Client, method: str, url: str, options: dict[str, Any]) -> None:
    reply = client.request(method, url, **options)
    # This service has no Storage and no key of the Claude API.
    if url.startswith("/api/v2/messages/attachments/") or url.endswith("/summarize"):
        assert reply.json()["error"]["code"].endswith(("_not_configured", "conversation_not_found"))
    else:
        assert reply.status_code < 300, reply.text


@pytest.mark.parametrize("place", ["requestBody", "responses"])
def test_examples_match_their_schema(place: str) -> None:
    for (method, path), operation in operations().items():
        bodies = [operation["requestBody"]] if place == "requestBody" and place in operation else []
        bodies += [resolve(each) for each in operation["responses"].values()] if place == "responses" else []
        for content in [content for body in bodies for content in body.get("content", {}).values()]:
            for example in content.get("examples", {}).values():
                errors = contract.validator(json.dumps(content["schema"])).iter_errors(example["value"])
                assert not list(errors), (method, path)


OPERATIONS = [
    pytest.param(method, path, id=f"{method} {_short(path)}")
    for method, path in operations()
    if (method, path) not in FORMS and (path.startswith("/api") or method == "POST")
]


@cache
def generators() -> dict[tuple[str, str], Any]:
    """Return the operations as Schemathesis knows them; importing it takes half a second."""
    import schemathesis

    # The client sends the credentials, so Schemathesis generates none.
    schema = schemathesis.openapi.from_dict({**DOCUMENT, "security": []})
    found = [each.ok() for each in schema.get_all_operations()]
    return {(each.method.upper(), each.path): each for each in found}


@pytest.mark.timeout(bounded(120, 600))
@pytest.mark.parametrize("mode", ["valid", "wrong"])
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_generated_requests_get_described_answers(client: httpx.Client, method: str, path: str, mode: str) -> None:
    from schemathesis import GenerationMode

    operation = generators()[method, path]
    generation = {"valid": GenerationMode.POSITIVE, "wrong": GenerationMode.NEGATIVE}[mode]

    @given(data=st.data())
    @settings(FEW, max_examples=CASES.get(operation.path, bounded(3, 400)))
    def check(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=generation))
        asked = case.as_transport_kwargs(base_url=str(client.base_url))
        try:
            request = client.build_request(
                asked["method"],
                asked["url"],
                params=asked.get("params"),
                headers={**asked["headers"], **client.headers},
                json=asked.get("json"),
                content=asked.get("data"),
            )
            reply = client.send(request)
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError, ValueError, TypeError):
            return  # httpx cannot send this case
        assert reply.status_code != 500
        answered.append(reply.elapsed.total_seconds())

    answered: list[float] = []
    check()
    assert max(answered) < SECONDS
    print(f"{operation.label}, {mode}: {len(answered)} answers, the slowest after {max(answered):.2f} s")


def test_undescribed_answer_raises_contract_error() -> None:
    request = httpx.Request("GET", f"http://127.0.0.1/api/v2/messages/{MESSAGE}")
    message = {
        "id": MESSAGE, "channel_id": CHANNEL, "content": "x", "content_type": "text", "user_id": None,
        "ai_twin_id": None, "parent_message_id": None, "conversation_id": None, "metadata": {}, "attachments": None,
        "created_at": "2026-03-19T15:10:22.000Z", "updated_at": "2026-03-19T15:10:22.000Z", "reaction_count": 0,
        "thread_id": None, "edited_at": None, "seq": 1, "display_name": None, "avatar_url": None, "reactions": [],
        "reply_count": 0, "last_reply_at": None, "participants": [],
    }  # fmt: skip
    right: dict[str, Any] = {"success": True, "data": message, "meta": {}}
    contract.check(httpx.Response(200, json=right, request=request))
    for wrong in (
        httpx.Response(201, json=right, request=request),
        httpx.Response(200, json=right | {"data": message | {"secret": 1}}, request=request),
        httpx.Response(200, json=right | {"data": message | {"created_at": "2026-03-19T15:10:22Z"}}, request=request),
        httpx.Response(200, json=right, request=request, headers={"ratelimit-limit": "many"}),
        httpx.Response(429, json={}, request=request, headers={"retry-after": "1"}),
        httpx.Response(503, json=right, request=request),
    ):
        with pytest.raises(ContractError):
            contract.check(wrong)
