"""Every connection to Postgres off the loopback interface is verified TLS, or nothing is sent."""

import asyncio
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from click import ClickException
from cryptography.hazmat.primitives import serialization
from threadline.database import Database, DatabaseUnavailableError
from threadline.project.database import list_taken_names
from threadline.settings import Settings, SettingsError
from threadline.tls import find_mode

from tests.http.test_doctor import diagnose
from tests.support.cluster import TestCluster
from tests.support.forking import PROGRAM
from tests.support.service import serving
from tests.support.tls import AWAY, Authority, answering

CA = "THREADLINE_DATABASE_CA"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("authority"))


def away(port: int, *options: str, database: str = "postgres") -> str:
    """A connection string for a port of this machine under a name that is not loopback."""
    return f"postgresql://authenticator:postgres@{AWAY}:{port}/{database}" + "?" * bool(options) + "&".join(options)


def connect(**environment: str) -> str:
    """Call the database once as the service does; return "ok" or the name of the cause."""
    settings = Settings.from_environment(environment)

    async def run() -> None:
        async with Database(settings) as database:
            await database.ask("read_metrics")

    try:
        asyncio.run(run())
    except DatabaseUnavailableError as error:
        return type(error.__cause__).__name__
    return "ok"


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://u:canary@{host}:{port}/postgres",
        "postgresql://u:canary@{host}:{port}/postgres?sslmode=verify-full",
        "postgresql://u:canary@{host}:{port}/postgres?sslmode=require",
        "postgresql://u:canary@127.0.0.1:{port},{host}:{port}/postgres",
        "postgresql://u:canary@/postgres?host={host}&port={port}",
        "postgres://{host}:{port}/postgres?user=u&password=canary",
        "postgresql:///postgres?user=u&password=canary&port={port}",
    ],
)
def test_server_without_tls_gets_nothing(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Variables of libpq, which the driver reads too, must not weaken it.
    monkeypatch.setenv("PGSSLMODE", "disable")
    monkeypatch.setenv("PGHOST", AWAY)
    with answering() as server:
        url = form.format(host=AWAY, port=server.port)
        assert connect(DATABASE_URL=url) != "ok"
        assert "nothing was sent" in diagnose({"DATABASE_URL": url})
        assert server.connections > 0
    assert server.heard == b""


@pytest.mark.parametrize("command", ["serve", "work"])
def test_commands_send_nothing_without_tls(command: str, tmp_path: Path) -> None:
    with answering() as server:
        url = away(server.port)
        if command == "serve":
            with serving(url, tmp_path / "log", THREADLINE_DELIVER="1") as service:
                assert service.client.get("/health").status_code == 503
        else:
            process = subprocess.Popen([PROGRAM, "work"], env={**os.environ, "DATABASE_URL": url})
            deadline = time.monotonic() + 30
            while not server.connections and time.monotonic() < deadline:
                time.sleep(0.05)
            process.terminate()
            process.wait(20)
        assert server.connections > 0
    assert server.heard == b""


def test_reading_a_project_sends_nothing_without_tls() -> None:
    with answering() as server:
        with pytest.raises(ClickException, match="cannot be read"):
            asyncio.run(list_taken_names(away(server.port)))
        assert server.connections > 0
    assert server.heard == b""


def test_trusted_certificate_is_accepted(cluster: TestCluster, shared_database: str, authority: Authority) -> None:
    with answering(authority, cluster.local.port) as server:
        plain = away(server.port, database=shared_database)
        assert connect(DATABASE_URL=plain, **{CA: str(authority.root)}) == "ok"
        assert connect(DATABASE_URL=f"{plain}?sslrootcert={authority.root}") == "ok"
        assert server.protocol == "postgresql"
        assert server.heard == b""


def test_foreign_certificate_is_refused(
    cluster: TestCluster, shared_database: str, authority: Authority, tmp_path: Path
) -> None:
    with answering(authority, cluster.local.port) as server:
        plain = away(server.port, database=shared_database)
        other = str(Authority.create(tmp_path).root)
        assert connect(DATABASE_URL=plain) == "SSLCertVerificationError"  # the machine's own authorities
        assert connect(DATABASE_URL=plain, **{CA: other}) == "SSLCertVerificationError"
        assert connect(DATABASE_URL=f"{plain}?sslmode=verify-ca", **{CA: other}) == "SSLCertVerificationError"
        assert connect(DATABASE_URL=f"{plain}?sslmode=require", **{CA: other}) == "SSLCertVerificationError"
        said = diagnose({"DATABASE_URL": plain})
        assert re.search(rf"verified \([a-z -]+\), so nothing was sent; set {CA} to", said)


def test_certificate_of_another_name_is_refused(cluster: TestCluster, shared_database: str, tmp_path: Path) -> None:
    authority = Authority.create(tmp_path, "db.example.com")
    with answering(authority, cluster.local.port) as server:
        plain = away(server.port, database=shared_database)
        assert connect(DATABASE_URL=plain, **{CA: str(authority.root)}) == "SSLCertVerificationError"
        assert connect(DATABASE_URL=f"{plain}?sslmode=verify-ca", **{CA: str(authority.root)}) == "ok"


def test_weaker_mode_must_be_named_and_doctor_says_so(
    cluster: TestCluster, shared_database: str, authority: Authority
) -> None:
    with answering(authority, cluster.local.port) as server:
        url = away(server.port, "sslmode=require", database=shared_database)
        assert connect(DATABASE_URL=url) == "ok"
        for mode in ("require", "verify-ca"):
            assert f"sslmode={mode}" in diagnose({"DATABASE_URL": away(server.port, f"sslmode={mode}")})
    clear = away(cluster.local.port, "sslmode=disable", database=shared_database)
    assert connect(DATABASE_URL=clear) == "ok"
    assert "in clear text" in diagnose({"DATABASE_URL": clear})


@pytest.mark.parametrize("mode", ["prefer", "allow", "verify_full", "VERIFY-FULL"])
def test_mode_that_may_fall_back_is_refused(mode: str) -> None:
    with pytest.raises(SettingsError, match="sslmode"):
        Settings.from_environment({"DATABASE_URL": away(5432, f"sslmode={mode}")})


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_unreadable_authority_is_refused(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "root.crt"
    if content:
        file.write_text(content)
    with pytest.raises(SettingsError, match=CA):
        Settings.from_environment({"DATABASE_URL": away(5432), CA: str(file)})


def test_certificate_of_a_client_needs_its_key(authority: Authority, tmp_path: Path) -> None:
    key = serialization.load_pem_private_key(authority.chain.read_bytes(), None)
    own = tmp_path / "own.key"
    own.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"right"),
        )
    )
    url = away(5432, f"sslcert={authority.chain}", f"sslkey={own}", "sslpassword=")
    assert Settings.from_environment({"DATABASE_URL": f"{url}right"})
    with pytest.raises(SettingsError, match=r"^sslrootcert or sslcert in DATABASE_URL"):
        Settings.from_environment({"DATABASE_URL": f"{url}wrong"})


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "%2Frun%2Fpostgresql"])
def test_loopback_and_sockets_need_no_tls(host: str) -> None:
    settings = Settings.from_environment({"DATABASE_URL": f"postgresql://u:p@{host}:5432/postgres"})
    assert settings.connection()["ssl"] is False


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "localhost.example.com", "127.0.0.1.example.com", "localhost,db", "a@localhost", "127.0.0.1@b"]
)
def test_other_hosts_need_verified_tls(host: str) -> None:
    context = Settings.from_environment({"DATABASE_URL": f"postgresql://u:p@{host}/postgres"}).connection()["ssl"]
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


# Options of the URL, whether the setting names a root, and what the driver then checks: the host name, a certificate.
CHECKS = [
    ("", False, (True, "CERT_REQUIRED")),
    ("sslmode=verify-ca", False, (False, "CERT_REQUIRED")),
    ("sslmode=require", False, (False, "CERT_NONE")),
    ("sslmode=require&sslrootcert=system", False, (False, "CERT_NONE")),
    ("sslmode=require&sslrootcert={root}", False, (False, "CERT_REQUIRED")),
    ("sslmode=require", True, (False, "CERT_REQUIRED")),
    ("sslrootcert=/missing", True, (True, "CERT_REQUIRED")),
    ("sslmode=disable&sslmode=verify-ca", False, (False, "CERT_REQUIRED")),
]


@pytest.mark.parametrize(("options", "has_root", "checked"), CHECKS, ids=range(len(CHECKS)))
def test_mode_decides_what_is_checked(
    authority: Authority, options: str, has_root: bool, checked: tuple[bool, str]
) -> None:
    root = str(authority.root)
    url = away(5432, options.replace("{root}", root))
    context = Settings(url, database_ca=root if has_root else None).connection()["ssl"]
    assert (context.check_hostname, context.verify_mode.name) == checked


def test_host_of_the_environment_decides_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings("postgresql:///d").connection()["ssl"] is False
    for place in ("db.example.com/d", "/d?host=db.example.com", "db.example.com/d?host=/run/postgresql"):
        assert find_mode(f"postgresql://{place}") == "verify-full"
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert Settings("postgresql:///d").connection()["ssl"].check_hostname
    monkeypatch.delenv("PGHOST")
    assert Settings("postgresql:///d?service=s").connection()["ssl"].check_hostname
    monkeypatch.setenv("PGSERVICE", "s")
    assert Settings("postgresql:///d").connection()["ssl"].check_hostname
    assert Settings("postgresql:///d?host=/run/postgresql").connection()["ssl"] is False
