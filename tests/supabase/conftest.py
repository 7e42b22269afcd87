"""Targets of the suite: the embedded stack, `supabase start` if a Docker engine answers, a hosted project
if its variables are set.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import psycopg
import pytest
from threadline_devstack.keys import DATABASE_PASSWORD

from tests.functions import edge
from tests.supabase.target import Target
from tests.support import tools
from tests.support.pooler import needs_pgbouncer, pooling_port, wait_until_answering
from tests.support.schema import ROOT
from tests.support.service import serving
from tests.support.stack import RunningStack

LOGIN = ROOT / "supabase" / "snippets" / "service_login.sql"
HOSTED = ("THREADLINE_TEST_URL", "THREADLINE_TEST_PUBLISHABLE_KEY", "THREADLINE_TEST_SECRET_KEY")


def why_no_docker() -> str:
    """Return why `supabase start` is not a target; empty if it is."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return "no Docker engine answers, so nothing is tried on `supabase start`"
    try:
        with closing(docker.from_env()) as engine:
            running = engine.containers.list(filters={"name": "supabase_db_threadline"})
    except (docker.errors.DockerException, OSError):
        return "no Docker engine answers, so nothing is tried on `supabase start`"
    return "" if running else "run `supabase start` to try it too"


def why_no_hosted() -> str:
    """Return why a hosted project is not a target; empty if it is."""
    missing = [name for name in HOSTED if not os.environ.get(name)]
    return f"set {', '.join(missing)} to try a hosted project" if missing else ""


# Decided during collection, so that a missing target is one line of the summary instead of one per test.
ELSEWHERE = {"docker": why_no_docker(), "hosted": why_no_hosted()}

needs_data_api = pytest.mark.skipif(tools.postgrest() is None, reason=tools.why_not("postgrest"))
needs_deno = pytest.mark.skipif(tools.deno() is None, reason=tools.why_not("deno"))
SERVICES = [
    pytest.param("embedded", marks=needs_data_api),
    pytest.param("embedded-session-pooler", marks=[needs_data_api, needs_pgbouncer]),
    pytest.param("embedded-transaction-pooler", marks=[needs_data_api, needs_pgbouncer]),
    *(name for name, reason in ELSEWHERE.items() if not reason),
]
DOORS = [*SERVICES, pytest.param("embedded-edge", marks=[needs_data_api, needs_deno])]


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest, find_target: Callable[[str], Target]) -> Target:
    """Every way to ingest."""
    return find_target(request.param)


@pytest.fixture(params=SERVICES)
def service_target(request: pytest.FixtureRequest, find_target: Callable[[str], Target]) -> Target:
    """Every way to the service."""
    target = find_target(request.param)
    if target.service_url is None:
        pytest.skip("no service: set THREADLINE_TEST_SERVICE_URL")
    return target


@pytest.fixture(scope="session")
def find_target(request: pytest.FixtureRequest) -> Callable[[str], Target]:
    """Return a target by name, created on first use."""

    def find(name: str) -> Target:
        fixture, _, way = name.partition("-")
        if way:
            return request.getfixturevalue(f"{fixture}_{way.replace('-', '_')}")
        return request.getfixturevalue(f"{fixture}_target")

    return find


@pytest.fixture(scope="session")
def embedded_target(stack: RunningStack) -> Target:
    """Run `threadline up`."""
    return embedded(stack, stack.api_url, stack.api_url)


@pytest.fixture(scope="session")
def embedded_session_pooler(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A service that reaches the embedded stack through a pooler in session mode."""
    with behind_pooler(stack, tmp_path_factory.mktemp("session"), "session") as target:
        yield target


@pytest.fixture(scope="session")
def embedded_transaction_pooler(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A service that reaches the embedded stack through a pooler in transaction mode."""
    with behind_pooler(stack, tmp_path_factory.mktemp("transaction"), "transaction") as target:
        yield target


@pytest.fixture(scope="session")
def embedded_edge(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The Edge Function in front of the embedded stack."""
    log = tmp_path_factory.mktemp("edge") / "edge.log"
    key = stack.keys["SECRET_KEY"]
    with edge.serving(log, SUPABASE_URL=stack.api_url, SUPABASE_SERVICE_ROLE_KEY=key) as function:
        yield embedded(stack, function.url, None)


@pytest.fixture(scope="session")
def docker_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A project that `supabase start` made of this repository, with a service beside it."""
    command = [tools.supabase_cli() or "supabase", "status", "--output", "json"]
    keys = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    with psycopg.connect(keys["DB_URL"]) as db:
        db.execute(LOGIN.read_text())
        db.execute(f"alter role threadline_service password '{DATABASE_PASSWORD}'")
    url = keys["DB_URL"].replace("//postgres:", "//threadline_service:", 1)
    public, secret = keys["PUBLISHABLE_KEY"], keys["SECRET_KEY"]
    log = tmp_path_factory.mktemp("docker") / "service.log"
    with serving(url, log, SUPABASE_URL=keys["API_URL"], SUPABASE_PUBLISHABLE_KEY=public) as service:
        target = Target(keys["API_URL"], public, secret, keys["API_URL"], service.url)
        yield target
        target.remove_users()


@pytest.fixture(scope="session")
def hosted_target() -> Iterator[Target]:
    """A hosted project to which migrations and function have been deployed."""
    url, public, secret = (os.environ[name].rstrip("/") for name in HOSTED)
    target = Target(url, public, secret, url, os.environ.get("THREADLINE_TEST_SERVICE_URL", "").rstrip("/") or None)
    yield target
    target.remove_users()


@contextmanager
def behind_pooler(stack: RunningStack, folder: Path, mode: str) -> Iterator[Target]:
    """Run a service with a pooler between it and the stack's database."""
    environment = {
        "THREADLINE_TRANSACTION_POOLER": str(mode == "transaction"),
        "SUPABASE_URL": stack.api_url,
        "SUPABASE_PUBLISHABLE_KEY": stack.keys["PUBLISHABLE_KEY"],
    }
    with pooling_port(stack.database_port, mode, "authenticator") as port:
        url = stack.database_url("authenticator").replace(f":{stack.database_port}/", f":{port}/")
        wait_until_answering(url)
        with serving(url, folder / "service.log", **environment) as service:
            yield embedded(stack, service.url, service.url)


def embedded(stack: RunningStack, ingest_url: str, service_url: str | None) -> Target:
    """The embedded stack behind one of its doors."""
    keys = stack.keys
    return Target(stack.api_url, keys["PUBLISHABLE_KEY"], keys["SECRET_KEY"], ingest_url, service_url)
