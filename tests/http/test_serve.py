"""`threadline serve` answers, ends at SIGTERM, and leaves nothing behind."""

import logging.config
import os
import pty
import re
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import httpx
import jwt
import psutil
import psycopg
import pytest
import uvicorn
from click.testing import CliRunner
from threadline import __version__, doctor, start, worker
from threadline.__main__ import main
from threadline.logs import CONFIG
from threadline.protocol import Protocol
from threadline.settings import Settings, SettingsError
from threadline_devstack import keys

from tests.support import forking
from tests.support.cluster import TestCluster, free_port
from tests.support.forking import PROGRAM
from tests.support.ingest import PATH, Sender, conversation, message
from tests.support.service import DEFAULTS, serving
from tests.support.sessions import session
from tests.support.stack import survivors

SESSIONS = "select from pg_stat_activity where datname = current_database() and usename = 'authenticator'"


def count_sessions(url: str) -> int:
    """Count the sessions of services in a database."""
    with session(url) as connection:
        return connection.execute(SESSIONS).rowcount


def test_sigterm_leaves_no_process_or_session(cluster: TestCluster, shared_database: str, tmp_path: Path) -> None:
    url, admin = cluster.url(shared_database, "authenticator"), cluster.url(shared_database)
    with serving(url, tmp_path / "log", "--workers", "2") as service:
        for _ in range(8):
            assert service.client.get("/health").status_code == 200
        assert 0 < count_sessions(admin) <= 2
        parent = psutil.Process(service.process.pid)
        processes = [parent, *parent.children(recursive=True)]
        service.process.terminate()
        service.process.wait(10)
    assert survivors(processes) == []
    deadline = time.monotonic() + 5
    while count_sessions(admin) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert count_sessions(admin) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", service.port))


def test_sigterm_lets_running_requests_finish(cluster: TestCluster, service_database: str, tmp_path: Path) -> None:
    with serving(cluster.url(service_database, "authenticator"), tmp_path / "log") as service:
        sender = Sender.create(service.client, cluster.url(service_database, "postgres"))
        sender.post(conversation(message("a")))
        with psycopg.connect(sender.database_url) as holder, ThreadPoolExecutor() as threads:
            holder.execute("select from public.conversations where user_id = %s for update", [sender.user_id])
            reply = threads.submit(sender.post, conversation(message("b")))
            while not holder.execute("select 1 from pg_locks where not granted").fetchone():
                time.sleep(0.01)
            service.process.terminate()
            time.sleep(0.3)
            holder.rollback()
            assert reply.result().json()["results"][0]["status"] == "updated"
        assert service.process.wait(8) in (0, -signal.SIGTERM)


def test_unfinished_body_does_not_delay_sigterm(tmp_path: Path) -> None:
    head = f"POST {PATH} HTTP/1.1\r\ncontent-type: application/json\r\nx-api-key: k\r\ncontent-length: 100\r\n\r\n"
    with (
        serving("postgresql://authenticator:postgres@127.0.0.1:1/postgres", tmp_path / "log") as service,
        socket.create_connection(("127.0.0.1", service.port)) as connection,
    ):
        connection.sendall(head.encode())
        assert service.client.get("/health").status_code == 503  # by now the service reads the body
        service.process.terminate()
        service.process.wait(8)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "Error: Set DATABASE_URL to the connection string of your Postgres.\n"),
        (
            {"DATABASE_URL": "postgresql://localhost/x", "THREADLINE_POOL_SIZE": "many"},
            "Error: THREADLINE_POOL_SIZE must be a positive whole number.\n",
        ),
    ],
    ids=["nothing", "nonsense"],
)
def test_wrong_environment_prints_one_sentence(variables: dict[str, str], sentence: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | variables
    result = subprocess.run([PROGRAM, "serve"], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", sentence)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "threadline.example"])
@pytest.mark.parametrize("secret", [keys.JWT_SECRET, f"your-{keys.JWT_SECRET}"], ids=["of the CLI", "self-hosted"])
def test_published_secret_is_refused_on_other_hosts(host: str, secret: str) -> None:
    environment = {**os.environ, "DATABASE_URL": "postgresql://localhost/x", "JWT_SECRET": secret}
    result = forking.run(["serve", "--host", host], environment, 20)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "Error: JWT_SECRET is a secret that Supabase has published, so everyone can sign tokens with it. "
        "Set your own secret, or listen on 127.0.0.1 only.\n"
    )


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost"])
def test_published_secret_works_on_loopback(host: str) -> None:
    with socket.create_server((host, 0)) as taken:
        environment = {**os.environ, "DATABASE_URL": "postgresql://localhost/x", "JWT_SECRET": keys.JWT_SECRET}
        result = forking.run(["serve", "--host", host, "--port", str(taken.getsockname()[1])], environment, 20)
    assert "address already in use" in result.stderr


def test_taken_port_stops_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {**DEFAULTS, **os.environ, "DATABASE_URL": "postgresql://localhost/x"}
        result = forking.run(["serve", "--port", str(port)], environment, 20)
    assert result.returncode == 1
    sentence = (
        f"Port {port} of 127.0.0.1 cannot be used (address already in use); choose others with --port and --host."
    )
    assert result.stderr == f"Error: {sentence}\n"


def test_port_that_was_used_just_now_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
    start.check_port(*address)


def serve(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `threadline serve` with only this environment, until it ends."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return forking.run(["serve", "--port", str(free_port()), *options], kept | environment, 20)


LEGACY_KEY = {"SUPABASE_SERVICE_ROLE_KEY": keys.SERVICE_ROLE_KEY, "JWT_SECRET": "the secret of another project" * 2}


@pytest.mark.parametrize(
    ("change", "environment", "sentence"),
    [
        (
            (":postgres@", ":wrong@"),
            {"JWT_SECRET": keys.JWT_SECRET},
            "Postgres refuses the user or the password of DATABASE_URL.",
        ),
        (
            ("/scratch", "/missing"),
            {"JWT_SECRET": keys.JWT_SECRET},
            "Postgres has no database with the name in DATABASE_URL.",
        ),
        (
            ("", ""),
            {},
            "Set SUPABASE_URL to the URL of your project: its keys verify the access tokens of users.",
        ),
        (
            ("", ""),
            LEGACY_KEY,
            "JWT_SECRET has not signed SUPABASE_SERVICE_ROLE_KEY: set the legacy JWT secret of the same project.",
        ),
    ],
    ids=["password", "database", "no keys", "other secret"],
)
def test_wrong_setting_stops_serve_with_its_name(
    cluster: TestCluster, shared_database: str, change: tuple[str, str], environment: dict[str, str], sentence: str
) -> None:
    url = cluster.url(shared_database, "authenticator").replace(*change)
    result = serve(DATABASE_URL=url, **environment)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"Error: {sentence}\n")


def legacy_key(secret: str, algorithm: str = "HS256") -> str:
    """Return a legacy API key that has expired."""
    return jwt.encode({"role": "anon", "exp": 1}, secret, algorithm=algorithm)


def test_tokens_need_the_keys_of_one_project() -> None:
    own, other = "o" * 64, "x" * 64
    for given in (
        {"jwks_url": "http://x"},
        {"jwt_secret": own},
        {"jwt_secret": own, "supabase_key": legacy_key(own), "supabase_secret_key": legacy_key(own)},
        {"jwt_secret": own, "supabase_key": "eyJ.x", "supabase_secret_key": legacy_key(other, "HS512")},
        {"jwt_secret": own, "supabase_key": "sb_publishable_x"},
        {"jwks_url": "http://x", "supabase_key": legacy_key(other)},
    ):
        start.check_tokens(Settings("", **given))
    for given, name in (
        ({}, "Set SUPABASE_URL"),
        ({"supabase_key": legacy_key(other)}, "JWT_SECRET has not signed SUPABASE_ANON_KEY"),
        ({"supabase_secret_key": legacy_key(other)}, "JWT_SECRET has not signed SUPABASE_SERVICE_ROLE_KEY"),
        (
            {"supabase_key": "eyJ.x", "supabase_secret_key": legacy_key(other)},
            "JWT_SECRET has not signed SUPABASE_SERVICE_ROLE_KEY",
        ),
    ):
        with pytest.raises(SettingsError, match=f"^{name}"):
            start.check_tokens(Settings("", **({"jwt_secret": own, **given} if given else {})))


def test_refusal_of_postgres_stops_serve_and_silence_does_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[bool] = []
    failures: list[Exception] = []

    async def connect(**options: Any) -> Any:
        assert (options["dsn"], options["timeout"]) == (url, 3)
        if failures:
            raise failures[-1]
        return SimpleNamespace(terminate=lambda: ended.append(True))

    url = "postgresql://x@127.0.0.1/x"
    monkeypatch.setattr(asyncpg, "connect", connect)
    start.check_database(Settings(url))
    assert ended == [True]
    for error, sentence in (
        (asyncpg.InvalidPasswordError("canary"), "Postgres refuses the user or the password"),
        (asyncpg.InvalidAuthorizationSpecificationError("canary"), "Postgres refuses the user or the password"),
        (asyncpg.InvalidCatalogNameError("canary"), "Postgres has no database"),
        (asyncpg.InternalServerError("Tenant canary not found"), "The pooler of DATABASE_URL does not know the user"),
        (asyncpg.InternalServerError("tenant canary not found"), "The pooler of DATABASE_URL does not know the user"),
    ):
        failures.append(error)
        with pytest.raises(SettingsError, match=f"^{sentence}"):
            start.check_database(Settings(url))
    assert caplog.messages == []
    for error in (asyncpg.PostgresError("canary"), asyncpg.InterfaceError("canary"), OSError("canary"), TimeoutError()):
        failures.append(error)
        start.check_database(Settings(url))
        assert f"is out of reach ({type(error).__name__})" in caplog.messages[-1]
    assert "canary" not in caplog.text
    failures.append(asyncpg.InternalServerError("another"))
    with pytest.raises(asyncpg.InternalServerError):
        start.check_database(Settings(url))


@pytest.mark.parametrize(("option", "value"), [("--port", "99999"), ("--port", "0"), ("--workers", "0")])
def test_impossible_number_stops_serve(option: str, value: str) -> None:
    result = CliRunner().invoke(main, ["serve", option, value], env={"DATABASE_URL": "postgresql://localhost/x"})
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': {value} is not in the range" in result.stderr


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What a command does in this process, instead of doing it."""
    done: list[tuple[str, Any]] = []

    async def deliver(settings: Settings, signals: tuple[int, ...]) -> None:
        done.append(("deliver", (settings.pool_size, signals)))

    def run(application: str, **options: Any) -> None:
        done.append((application, {**options, "folder": os.environ.get("PROMETHEUS_MULTIPROC_DIR")}))

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # so that its absence is restored, too
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR")
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/x")
    monkeypatch.setenv("THREADLINE_BODY_TIMEOUT", "7")
    monkeypatch.setenv("THREADLINE_POOL_SIZE", "8")
    monkeypatch.setattr(logging.config, "dictConfig", lambda config: done.append(("log", config is CONFIG)))
    for name in ("check_tokens", "check_port", "check_database"):
        monkeypatch.setattr(
            start, name, lambda *given, name=name: done.append((name, given if name == "check_port" else None))
        )
    monkeypatch.setattr(worker, "deliver", deliver)
    monkeypatch.setattr(uvicorn, "run", run)
    return done


def test_serve_checks_its_settings_and_listens(monkeypatch: pytest.MonkeyPatch, done: list[tuple[str, Any]]) -> None:
    def run(*options: str) -> dict[str, Any]:
        assert CliRunner().invoke(main, ["serve", *options]).exit_code == 0
        *before, (application, given) = done
        checks = [("check_tokens", None), ("check_port", (given["host"], given["port"])), ("check_database", None)]
        assert before == [("log", True), *checks]
        assert application == "threadline.__main__:application"
        done.clear()
        return given

    given = run()
    protocol = given.pop("http")
    assert (protocol.func, protocol.keywords) == (Protocol, {"patience": 7})
    assert given == {
        "factory": True, "host": "127.0.0.1", "port": 8000, "workers": 1, "loop": "uvloop", "log_config": CONFIG,
        "proxy_headers": False, "access_log": False, "timeout_keep_alive": 75, "timeout_graceful_shutdown": 3,
        "folder": None,
    }  # fmt: skip
    given = run("--host", "127.0.0.2", "--port", "8001", "--workers", "2")
    assert (given["host"], given["port"], given["workers"]) == ("127.0.0.2", 8001, 2)
    assert "threadline-metrics-" in given["folder"]
    assert not Path(given["folder"]).exists()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/a/folder")
    assert run("--workers", "2")["folder"] == "/a/folder"


def test_work_delivers_until_a_signal(done: list[tuple[str, Any]]) -> None:
    assert CliRunner().invoke(main, ["work"]).exit_code == 0
    assert done == [("log", True), ("deliver", (8, (signal.SIGINT, signal.SIGTERM)))]


@pytest.mark.parametrize("findings", [[], ["Set A."], ["Set A.", "Set B."]], ids=len)
def test_doctor_prints_each_finding(
    monkeypatch: pytest.MonkeyPatch, done: list[tuple[str, Any]], findings: list[str]
) -> None:
    async def examine(_: Settings) -> list[str]:
        return findings

    monkeypatch.setattr(doctor, "examine", examine)
    result = CliRunner().invoke(main, ["doctor"])
    said = "".join(f"{each}\n" for each in findings) or "Nothing is missing or wrong.\n"
    assert (result.exit_code, result.output) == (bool(findings), said)


def test_command_names_its_version_and_its_commands() -> None:
    for option in ("-h", "--help"):
        shown = re.findall(r"^  (\w+)", CliRunner().invoke(main, [option]).output, re.MULTILINE)
        own = {"add", "console", "doctor", "remove", "serve", "sql", "work"}
        assert own | {"db", "import", "status", "stop", "token", "up"} <= set(shown)
    assert CliRunner().invoke(main, ["--version"]).output == f"threadline, version {__version__}\n"


def test_terminal_gets_lines_for_people(cluster: TestCluster, shared_database: str) -> None:
    port, (parent, child) = free_port(), pty.openpty()
    environment = {**DEFAULTS, **os.environ, "DATABASE_URL": cluster.url(shared_database, "authenticator")}
    process = subprocess.Popen([PROGRAM, "serve", "--port", str(port)], env=environment, stdout=child, stderr=child)
    os.close(child)
    try:
        said = ""
        while "running on" not in said:
            said += os.read(parent, 4096).decode()
        httpx.get(f"http://127.0.0.1:{port}/schema")
        while "/schema" not in said:
            said += os.read(parent, 4096).decode()
    finally:
        process.terminate()
        process.wait(10)
        os.close(parent)
    assert "{" not in said
    assert re.search(r"^[\d:]{8}  GET /schema 200  \d+ ms", said, re.MULTILINE)
