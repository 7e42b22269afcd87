"""The two doors to the ingest endpoint, on one database."""

from collections.abc import Iterator

import httpx
import pytest

from tests.functions import edge
from tests.support import tools
from tests.support.cluster import free_port
from tests.support.service import serving
from tests.support.stack import RunningStack

# Found during collection, because the stack needs PostgREST when it starts.
MISSING = next((name for name in ("deno", "postgrest") if tools.find(name) is None), None)
DOORS = [
    "service",
    pytest.param("edge", marks=[pytest.mark.skip(reason=tools.why_not(MISSING))] if MISSING else []),
]


@pytest.fixture(scope="session")
def service_door(stack: RunningStack) -> str:
    """The base URL of the service."""
    return stack.api_url


@pytest.fixture(scope="session")
def edge_door(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of the Edge Function, which reaches the database through the stack's Data API."""
    secret = stack.keys["SECRET_KEY"]
    assert httpx.get(f"{stack.api_url}/rest/v1/", headers={"apikey": secret}).is_success, "the stack has no Data API"
    log = tmp_path_factory.mktemp("edge") / "edge.log"
    with edge.serving(log, SUPABASE_URL=stack.api_url, SUPABASE_SERVICE_ROLE_KEY=secret) as function:
        yield function.url


@pytest.fixture(scope="session")
def service_door_without_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a service that reaches no Postgres."""
    url = f"postgresql://authenticator:postgres@127.0.0.1:{free_port()}/postgres"
    with serving(url, tmp_path_factory.mktemp("service") / "service.log") as service:
        yield service.url


@pytest.fixture(scope="session")
def edge_door_without_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of an Edge Function that reaches no Data API."""
    log = tmp_path_factory.mktemp("edge") / "edge.log"
    url = f"http://127.0.0.1:{free_port()}"
    with edge.serving(log, SUPABASE_URL=url, SUPABASE_SERVICE_ROLE_KEY="sb_secret_x") as function:
        yield function.url


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    """The base URL of one door after the other."""
    return request.getfixturevalue(f"{request.param}_door")


@pytest.fixture(params=DOORS)
def door_without_database(request: pytest.FixtureRequest) -> str:
    """The base URL of one door after the other, each with nothing behind it."""
    return request.getfixturevalue(f"{request.param}_door_without_database")
