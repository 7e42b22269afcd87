"""Headers of every answer of /api/v2: CORS for browsers, and Retry-After."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import TestCluster, free_port
from tests.support.team import Team, running_service, serving_users
from tests.support.tokens import bearer, token
from tests.support.world import BASE, UNKNOWN_ID

PATHS = [("GET", "/history"), ("POST", ""), ("DELETE", f"/{UNKNOWN_ID}"), ("POST", "/upload"), ("POST", "/summarize")]
EXPOSED = {"idempotent-replayed", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "retry-after"}


@pytest.fixture(scope="module")
def team(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A team whose service has neither Storage nor a key of the Claude API."""
    with running_service(cluster, template, tmp_path_factory.mktemp("headers") / "log") as running:
        yield Team.create(running.client, running.database_url)


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_preflight_allows_every_origin(team: Team, method: str, path: str) -> None:
    asked = {
        "origin": "https://app.example",
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type,idempotency-key",
    }
    reply = team.client.options(BASE + path, headers=asked)
    assert (reply.status_code, reply.content) == (204, b"")
    assert reply.headers["x-request-id"]  # so it is also in the log and in the metrics
    found = {name: text for name, text in reply.headers.items() if name.startswith("access-control-")}
    assert set(found.pop("access-control-expose-headers").split(", ")) == EXPOSED
    assert method in found["access-control-allow-methods"]
    assert found == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "DELETE, GET, PATCH, POST, PUT",
        "access-control-allow-headers": "authorization, x-client-info, apikey, content-type, idempotency-key",
        "access-control-max-age": "7200",
    }


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_errors_expose_their_headers_to_browsers(team: Team, method: str, path: str) -> None:
    for reply in (team.request(method, path), team.client.request(method, BASE + path)):
        assert reply.status_code >= 400
        assert reply.headers.get_list("access-control-allow-origin") == ["*"]
        assert set(reply.headers["access-control-expose-headers"].split(", ")) == EXPOSED


def test_answers_expose_their_headers_to_browsers(team: Team) -> None:
    reply = team.send()
    assert reply.status_code == 201
    assert reply.headers.get_list("access-control-allow-origin") == ["*"]
    assert set(reply.headers["access-control-expose-headers"].split(", ")) == EXPOSED


def test_only_the_api_allows_browsers(team: Team) -> None:
    assert "access-control-allow-origin" not in team.client.get("/health").headers
    for path in ("/api/v2/workspaces", "/api/v2/nothing"):
        assert team.client.options(path).headers["access-control-max-age"] == "7200"
        assert team.client.get(path).headers.get_list("access-control-allow-origin") == ["*"]
    other = team.client.options("/api/v2x")
    assert "access-control-max-age" not in other.headers


def test_unconfigured_feature_sends_retry_after(team: Team) -> None:
    team.sent_id()
    for path, code, options in (
        ("/upload", "storage_not_configured", {"files": {"files": b"x"}}),
        ("/summarize", "summaries_not_configured", {"json": {"channel_id": team.channel_id}}),
    ):
        reply = team.request("POST", path, **options)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, code)
        assert int(reply.headers["retry-after"]) > 0


def test_unreachable_database_sends_retry_after(team: Team, tmp_path: Path) -> None:
    nowhere = f"postgresql://authenticator@127.0.0.1:{free_port()}/postgres"
    with serving_users(nowhere, tmp_path / "log") as (_, client):
        for path in ("/health", f"{BASE}/{UNKNOWN_ID}"):
            reply = client.get(path, headers=owner(team))
            assert reply.status_code == 503
            assert int(reply.headers["retry-after"]) > 0


@pytest.mark.parametrize(("kind", "status"), [("text/plain", 415), ("application/json", 413)])
def test_request_refused_before_postgres_is_not_counted(
    cluster: TestCluster, fresh_database: str, tmp_path: Path, kind: str, status: int
) -> None:
    with serving_users(cluster.url(fresh_database, "authenticator"), tmp_path / "log") as (_, client):
        team = Team.create(client, cluster.url(fresh_database, "postgres"))
        body = b" " * 1_000_001 if status == 413 else b"x"
        assert team.request("POST", content=body, headers={"content-type": kind}).status_code == status
        assert client.get(f"{BASE}/history", headers=bearer("no token")).status_code == 401
        assert team.query("select from private.request_counts") == []


def owner(team: Team) -> dict[str, str]:
    """Return the headers of the owner."""
    return bearer(token(team.user_ids[0]))
