"""`threadline doctor` finds no fault in a sound project, and names each fault in others."""

import asyncio
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from typing import Any

import asyncpg
import jwt
import psycopg
import pytest
from click.testing import CliRunner
from threadline import doctor
from threadline.__main__ import main
from threadline.project.shipped import newest_version
from threadline_devstack.keys import ANON_KEY, PUBLISHABLE_KEY, SECRET_KEY, SERVICE_ROLE_KEY

from tests.support import project as projects
from tests.support import schema, tools
from tests.support.cluster import TestCluster, free_port
from tests.support.forking import PROGRAM
from tests.support.migration import SET_VERSION
from tests.support.pooler import needs_pgbouncer, pooling
from tests.support.project import Answer, Project
from tests.support.stack import RunningStack


@pytest.fixture(scope="module")
def gateway() -> Iterator[Project]:
    """The HTTP side of a project."""
    with projects.running() as running:
        yield running


@pytest.fixture
def project(gateway: Project) -> Project:
    """The HTTP side of a sound project."""
    gateway.faults.clear()
    gateway.refused.clear()
    gateway.passed_on.clear()
    return gateway


@pytest.fixture
def environment(cluster: TestCluster, service_database: str, project: Project) -> dict[str, str]:
    """The environment of the service in a sound project."""
    return {
        "DATABASE_URL": cluster.url(service_database, "authenticator"),
        "SUPABASE_URL": project.url,
        "SUPABASE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
    }


def diagnose(environment: Mapping[str, str], status: int = 1) -> str:
    """Run the command in this process, which is faster; check its status and return its output."""
    unset = {name: None for name in os.environ if name.startswith(("DATABASE_", "JWT_", "SUPABASE_", "THREADLINE_"))}
    result = CliRunner().invoke(main, ["doctor"], env={**unset, **environment})
    assert result.exit_code == status, result.output
    return result.output


def test_doctor_exits_with_the_documented_status(environment: dict[str, str]) -> None:
    for settings, status, said in (
        (environment, 0, "Nothing is missing or wrong.\n"),
        ({}, 1, "Error: Set DATABASE_URL to the connection string of your Postgres.\n"),
    ):
        own = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **settings}
        result = subprocess.run([PROGRAM, "doctor"], env=own, capture_output=True, text=True, timeout=60, check=False)
        assert (result.returncode, result.stdout + result.stderr) == (status, said)


def test_doctor_finds_nothing_in_a_sound_project(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    connect, limits = asyncpg.connect, []

    def note(**options: Any) -> Any:
        limits.append((options["timeout"], options["command_timeout"]))
        return connect(**options)

    monkeypatch.setattr(asyncpg, "connect", note)
    assert diagnose(environment, 0) == "Nothing is missing or wrong.\n"
    assert limits == [(10, 30)] * 2


@pytest.mark.skipif(tools.postgrest() is None, reason=tools.why_not("postgrest"))
def test_doctor_finds_nothing_in_the_devstack(stack: RunningStack) -> None:
    keys = stack.keys
    environment = {
        "DATABASE_URL": stack.database_url("authenticator"),
        "SUPABASE_URL": stack.api_url,
        "SUPABASE_PUBLISHABLE_KEY": keys["PUBLISHABLE_KEY"],
        "SUPABASE_SECRET_KEY": keys["SECRET_KEY"],
    }
    assert diagnose(environment, 0) == "Nothing is missing or wrong.\n"


OUTSIDE = {
    "Auth does not publish its signing keys": {"/auth/v1/.well-known/jwks.json": Answer(404)},
    "signs access tokens with its legacy secret only": {"/auth/v1/.well-known/jwks.json": Answer(200, {"keys": []})},
    "seconds apart; set the time": {"/auth/v1/.well-known/jwks.json": Answer(200, {"keys": [{}]}, seconds=40)},
    "messaging-ingest is not deployed": {"/functions/v1/messaging-ingest": Answer(404, {"code": "NOT_FOUND"})},
    "verify_jwt must be false": {"/functions/v1/messaging-ingest": Answer(401, {"message": "Missing authorization"})},
    "messaging-ingest does not work: it answers 503": {"/functions/v1/messaging-ingest": Answer(503)},
    "refuses the key in SUPABASE_PUBLISHABLE_KEY": {"/storage/v1/bucket": Answer(401, {"message": "Invalid API key"})},
    "Storage does not work: it answers 500": {"/storage/v1/bucket": Answer(500)},
    "The Data API does not work: it answers 503": {"/rest/v1/settings": Answer(503)},
    "The Data API exposes the schema private": {"/rest/v1/settings": Answer(401, {"code": "42501"})},
    "Realtime does not work: it answers 403": {"/realtime/v1/websocket": Answer(403)},
}


KEYS_PATH, STORAGE, DATA_API = "/auth/v1/.well-known/jwks.json", "/storage/v1/bucket", "/rest/v1/settings"
NO_KEYS, REFUSED = "Auth does not publish its signing keys", "refuses the key in SUPABASE_PUBLISHABLE_KEY"
VARIANTS = [
    (NO_KEYS, {KEYS_PATH: Answer(200)}),
    (NO_KEYS, {KEYS_PATH: Answer(200, {})}),
    (NO_KEYS, {KEYS_PATH: Answer(200, [])}),
    (NO_KEYS, {KEYS_PATH: Answer(404, {"keys": [{}]}, seconds=None)}),
    ("seconds apart; set the time", {KEYS_PATH: Answer(200, {"keys": [{}]}, seconds=-32)}),
    (f"{NO_KEYS}: {KEYS_PATH} answers 401", {KEYS_PATH: Answer(200, {"keys": [{}]}, needs_key=True)}),
    (REFUSED, {DATA_API: Answer(401, {"message": "Invalid API key"})}),
    (REFUSED, {STORAGE: Answer(401)}),
    (REFUSED, {STORAGE: Answer(401, [])}),
    (REFUSED, {STORAGE: Answer(400, {"statusCode": 401})}),
    (REFUSED, {STORAGE: Answer(400, {"statusCode": "403"})}),
    ("messaging-ingest does not work: it answers 200", {"/functions/v1/messaging-ingest": Answer(200)}),
    ("Storage does not work: it answers 400", {STORAGE: Answer(400, {"statusCode": "500"})}),
    ("Storage does not work: it answers 404", {STORAGE: Answer(404)}),
    ("The Data API does not work: it answers 500", {DATA_API: Answer(500)}),
    ("cannot be reached (DecodingError)", {STORAGE: Answer(200, [], {"content-encoding": "gzip"})}),
    (
        'not deployed; run "npx supabase@3 functions deploy messaging-ingest".',
        {"/functions/v1/messaging-ingest": Answer(404)},
    ),
]


@pytest.mark.parametrize(
    ("sentence", "faults"), [*OUTSIDE.items(), *VARIANTS], ids=[*OUTSIDE, *map(str, range(len(VARIANTS)))]
)
def test_doctor_names_a_fault_of_the_platform(
    environment: dict[str, str], project: Project, sentence: str, faults: dict[str, Answer]
) -> None:
    project.faults.update(faults)
    (finding,) = diagnose(environment).splitlines()
    assert sentence in finding
    assert finding.endswith(".")


KEYS = {
    "SUPABASE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
    "SUPABASE_ANON_KEY": ANON_KEY,
    "SUPABASE_SECRET_KEY": SECRET_KEY,
    "SUPABASE_SERVICE_ROLE_KEY": SERVICE_ROLE_KEY,
}


@pytest.mark.parametrize("place", ["refused", "passed_on"])
@pytest.mark.parametrize("name", KEYS)
def test_doctor_names_the_one_key_that_is_refused(
    environment: dict[str, str], project: Project, name: str, place: str
) -> None:
    getattr(project, place).add(KEYS[name])
    (finding,) = diagnose({**environment, **KEYS}).splitlines()
    assert f"The project refuses the key in {name}; " in finding


@pytest.mark.parametrize("place", ["refused", "passed_on"])
def test_doctor_says_only_truths_without_a_good_key(environment: dict[str, str], project: Project, place: str) -> None:
    getattr(project, place).update(KEYS.values())
    findings = diagnose({**environment, **KEYS}).splitlines()
    assert [finding.partition(";")[0] for finding in findings] == [
        f"The project refuses the key in {name}" for name in KEYS
    ]


def test_doctor_compares_the_version_and_not_file_names(
    cluster: TestCluster, environment: dict[str, str], fresh_database: str
) -> None:
    copied = {**environment, "DATABASE_URL": cluster.url(fresh_database, "authenticator")}
    with psycopg.connect(cluster.url(fresh_database, "postgres"), autocommit=True) as db:
        db.execute("update supabase_migrations.schema_migrations set version = '9' || version")
        diagnose(copied, 0)
        for version, sentence in {
            "20200101000000": f"schema version 20200101000000 and the service needs {newest_version()}; run",
            "99990101000000": f"schema version 99990101000000, newer than {newest_version()} of the service; upgrade",
        }.items():
            db.execute(SET_VERSION.format(version=version))
            (finding,) = diagnose(copied).splitlines()
            assert sentence in finding


INSIDE = {
    "SUPABASE_URL is not set": {"SUPABASE_URL": ""},
    "cannot be reached (ConnectError)": {"SUPABASE_URL": f"http://127.0.0.1:{free_port()}"},
    "SUPABASE_PUBLISHABLE_KEY is not set": {"SUPABASE_PUBLISHABLE_KEY": ""},
    "SUPABASE_PUBLISHABLE_KEY holds a secret key": {"SUPABASE_PUBLISHABLE_KEY": SECRET_KEY},
    "SUPABASE_ANON_KEY holds a secret key": {"SUPABASE_ANON_KEY": SERVICE_ROLE_KEY},
    "SUPABASE_SECRET_KEY holds a public key": {"SUPABASE_SECRET_KEY": PUBLISHABLE_KEY},
    "SUPABASE_SERVICE_ROLE_KEY holds a public key": {"SUPABASE_SERVICE_ROLE_KEY": ANON_KEY},
    "SUPABASE_SECRET_KEY is not an API key": {"SUPABASE_SECRET_KEY": "secret"},
    "SUPABASE_ANON_KEY is not an API key": {"SUPABASE_ANON_KEY": jwt.encode({"role": "authenticated"}, "x" * 32)},
    "Set DATABASE_URL to the connection string": {"DATABASE_URL": ""},
    "The database at DATABASE_URL does not answer": {"DATABASE_URL": "postgresql://a:b@/d?host=/missing"},
    "does not answer (ClientConfigurationError)": {"DATABASE_URL": "postgresql://a:b@/d?host=localhost&port=1,2"},
    "does not answer (InvalidCatalogNameError)": {
        "DATABASE_URL": "postgresql://authenticator:postgres@127.0.0.1:{port}/missing"
    },
    "refuses the user or the password": {"DATABASE_URL": "postgresql://authenticator:wrong@127.0.0.1:{port}/postgres"},
    "does not answer (ConnectionRefusedError)": {"DATABASE_URL": f"postgresql://a:b@127.0.0.1:{free_port()}/postgres"},
    "the service needs (bypassrls, createrole, ": {
        "DATABASE_URL": "postgresql://postgres:postgres@127.0.0.1:{port}/{name}"
    },
    "The migrations have not been applied": {
        "DATABASE_URL": "postgresql://authenticator:postgres@127.0.0.1:{port}/{empty}"
    },
}


@pytest.mark.parametrize(("sentence", "change"), INSIDE.items(), ids=list(INSIDE))
def test_doctor_names_a_fault_of_the_environment(
    cluster: TestCluster, service_database: str, environment: dict[str, str], sentence: str, change: dict[str, str]
) -> None:
    names = {"port": cluster.local.port, "name": service_database, "empty": "postgres"}
    changed = {name: value.format(**names) if "{" in value else value for name, value in change.items()}
    (finding,) = diagnose({**environment, **changed}).splitlines()
    assert sentence in finding
    for value in (*changed.values(), "wrong"):
        assert value.startswith("http") or not value or value not in finding


@pytest.mark.parametrize(
    ("change", "findings"),
    [
        ({"SUPABASE_PUBLISHABLE_KEY": "", "SUPABASE_ANON_KEY": ANON_KEY}, []),
        (
            {"SUPABASE_PUBLISHABLE_KEY": "", "SUPABASE_URL": ""},
            ["SUPABASE_PUBLISHABLE_KEY is not", "SUPABASE_URL is not"],
        ),
        ({"SUPABASE_SECRET_KEY": "secret"}, ["SUPABASE_SECRET_KEY is not an API key"]),
        ({"JWT_SECRET": "x" * 32}, []),
        ({"http_proxy": "http://127.0.0.1:1", "no_proxy": ""}, []),
    ],
    ids=["legacy key", "two settings", "no key", "legacy secret", "a proxy"],
)
def test_doctor_names_each_fault_once(
    environment: dict[str, str], project: Project, change: dict[str, str], findings: list[str]
) -> None:
    project.refused.add("secret")
    if "JWT_SECRET" in change:
        project.faults[KEYS_PATH] = Answer(200, {"keys": []})
    found = diagnose({**environment, **change}, bool(findings)).splitlines()
    wanted = findings or ["Nothing is missing or wrong."]
    assert len(found) == len(wanted)
    assert all(line.startswith(start) for line, start in zip(found, wanted, strict=True)), found


def test_doctor_reports_missing_migrations() -> None:
    class Connection:
        transaction = nullcontext

        async def fetchval(self, _: str) -> None:
            raise failures.pop()

    failures = [asyncpg.InvalidSchemaNameError(), asyncpg.UndefinedFunctionError()]
    while failures:
        (finding,) = asyncio.run(doctor._diagnose(Connection()))
        assert finding == (
            "The migrations have not been applied, or not all of them; "
            'run "threadline add" and "npx supabase@3 db push --remote".'
        )


def test_doctor_accepts_the_documented_login(
    cluster: TestCluster, environment: dict[str, str], service_database: str
) -> None:
    with psycopg.connect(cluster.url(service_database), autocommit=True) as db:
        db.execute("set role postgres")
        db.execute((schema.ROOT / "supabase" / "snippets" / "service_login.sql").read_text())
        db.execute("alter role threadline_service password 'postgres'")
        db.execute("reset role")
        try:
            url = cluster.url(service_database, "threadline_service")
            diagnose({**environment, "DATABASE_URL": url}, 0)
            with psycopg.connect(url) as own, pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute("select from public.messages")
        finally:
            db.execute("drop owned by threadline_service")
            db.execute("drop role threadline_service")


def test_doctor_names_a_login_without_roles(
    cluster: TestCluster, environment: dict[str, str], fresh_database: str
) -> None:
    with psycopg.connect(cluster.url(fresh_database), autocommit=True) as db:
        db.execute("create role without_roles login password 'postgres'")
        try:
            own = {**environment, "DATABASE_URL": cluster.url(fresh_database, "without_roles")}
            (finding,) = diagnose(own).splitlines()
            db.execute("alter role without_roles nologin")
            (refusal,) = diagnose(own).splitlines()
        finally:
            db.execute("drop role without_roles")
    assert "cannot become service_role" in finding
    assert "refuses the user or the password" in refusal


@needs_pgbouncer
@pytest.mark.parametrize(
    ("mode", "setting", "findings", "servers"),
    [("session", "", 0, 4), ("transaction", "true", 0, 2), ("transaction", "", 1, 1), ("transaction", "", 1, 2)],
)
def test_doctor_detects_the_mode_of_a_pooler(
    monkeypatch: pytest.MonkeyPatch,
    cluster: TestCluster,
    service_database: str,
    environment: dict[str, str],
    mode: str,
    setting: str,
    findings: int,
    servers: int,
) -> None:
    with pooling(cluster, service_database, mode, servers=servers) as url, ExitStack() as busy:
        for _ in range(servers):  # each needs a process of its own, and leaves it to the doctor
            busy.enter_context(psycopg.connect(url)).execute("select")
        busy.close()
        behind = {**environment, "DATABASE_URL": url, "THREADLINE_TRANSACTION_POOLER": setting}
        for _ in range(2):
            # As in a new process: asyncpg names its statements again as those that the session of Postgres still has.
            monkeypatch.setattr(asyncpg.connection, "_uid", 0)
            said = diagnose(behind, findings)
    assert ("a pooler in transaction mode, which the service does not expect" in said) == bool(findings)
