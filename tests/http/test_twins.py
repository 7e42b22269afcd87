"""The worker posts messages to webhooks, signed and with retries, and never to private addresses."""

import asyncio
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpcore
import httpx
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from threadline import worker
from threadline.settings import Settings
from threadline.worker import PrivateAddressError, PublicNetwork, Worker, is_public

from tests.support.cluster import TestCluster
from tests.support.database import add_channel
from tests.support.service import Service
from tests.support.sessions import session
from tests.support.team import Team, create_unlimited_database, running_service, serving_users
from tests.support.twin import ENVIRONMENT, Told, add_twin, ask, until, webhook, working


@pytest.fixture(scope="module")
def database(cluster: TestCluster, template: str) -> str:
    """A database where a failed delivery is retried at once, with three attempts."""
    name = create_unlimited_database(cluster, template)
    with psycopg.connect(cluster.url(name, "postgres")) as db:
        db.execute("update private.settings set twin_retry_seconds = 0, twin_max_attempts = 3")
    return name


@pytest.fixture(scope="module")
def delivering(
    cluster: TestCluster, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, httpx.Client]]:
    """A service that also delivers to twins."""
    log = tmp_path_factory.mktemp("delivering") / "log"
    with serving_users(cluster.url(database, "authenticator"), log, **ENVIRONMENT) as running:
        yield running


@pytest.fixture
def team(cluster: TestCluster, database: str, delivering: tuple[Service, httpx.Client]) -> Team:
    """Two users and their channel, new for each test."""
    return Team.create(delivering[1], cluster.url(database, "postgres"))


def give_twin(team: Team, url: str, owner: int = 0) -> tuple[str, str]:
    """Add a twin with a webhook to the channel; return its id and its secret."""
    return add_twin(team.database_url, team.user_ids[owner], [team.channel_id], url)


def deliveries(team: Team, state: str) -> list[Any]:
    """Return status and error of the deliveries in the team's channel."""
    statement = """
    select last_status, last_error from public.twin_deliveries where channel_id = %s and state = %s order by seq
    """
    return team.query(statement, team.channel_id, state)


def test_webhook_receives_the_message_the_sender_got(team: Team) -> None:
    with webhook() as hook:
        twin_id, secret = give_twin(team, hook.url + "?key=1")
        said = team.send("**Gr\u00fc\u00dfe** \U0001f600", metadata={"a": [1]}).json()["data"]
        (told,) = hook.wait(1)
        profile = "select display_name, avatar_url from public.user_profiles where user_id = %s"
        author = dict(zip(("display_name", "avatar_url"), team.query(profile, said["user_id"])[0], strict=True))
    assert told.message == {**said, **author, "seq": told.message["seq"], "event": "message.created"}
    assert team.history()["data"][0]["id"] == said["id"]
    assert (told.path, told.headers["content-type"]) == ("/hook?key=1", "application/json")
    assert told.headers["threadline-twin"] == twin_id
    assert told.is_signed_with(secret)
    assert not told.is_signed_with("another")


def test_failed_delivery_repeats_under_its_id(team: Team) -> None:
    with webhook(lambda _: 200 if len(hook.told) > 2 else 503) as hook:
        give_twin(team, hook.url)
        said = [team.sent_id(str(number)) for number in range(3)]
        hook.wait(3)
        assert [told.message["id"] for told in hook.taken] == said
        assert len({told.headers["threadline-delivery"] for told in hook.told[:3]}) == 1
        assert len(hook.told) == 5


def test_owner_replays_dead_deliveries(team: Team) -> None:
    is_up = threading.Event()
    with webhook(lambda _: 200 if is_up.is_set() else 500) as hook:
        twin_id, _ = give_twin(team, hook.url)
        said = team.sent_id()
        until(lambda: deliveries(team, "dead") == [(500, "The webhook answered 500.")])
        assert len(hook.told) == 3
        is_up.set()
        later = team.sent_id()
        hook.wait(1)
        assert ask(team.database_url, team.user_ids[0], "replay_twin_deliveries", ai_twin_id=twin_id)["replayed"] == 1
        assert [told.message["id"] for told in hook.wait(2)] == [later, said]


def test_worker_does_not_follow_redirects(team: Team) -> None:
    with webhook() as inside, webhook(lambda _: 307, location=inside.url) as hook:
        give_twin(team, hook.url)
        team.sent_id()
        until(lambda: deliveries(team, "dead") == [(307, "The webhook answered 307.")])
        assert inside.told == []


def test_silent_webhook_does_not_delay_others(team: Team) -> None:
    is_over = threading.Event()
    with webhook(lambda _: is_over.wait(20) and 200) as slow, webhook() as hook:
        give_twin(team, slow.url)
        give_twin(team, hook.url)
        said = [team.sent_id(str(number)) for number in range(5)]
        assert [told.message["id"] for told in hook.wait(5, seconds=5)] == said
        until(lambda: (None, "The webhook did not answer in time.") in deliveries(team, "dead"))
        is_over.set()


ATTACKS = {
    "many twins": (60, 1, 1),
    "many channels": (1, 60, 1),
    "many messages": (3, 3, 60),
}


@pytest.mark.parametrize("shape", ATTACKS)
def test_silent_webhook_costs_other_owners_no_time(
    cluster: TestCluster, template: str, tmp_path: Path, shape: str
) -> None:
    twins, channels, messages = ATTACKS[shape]
    login = cluster.url(name := create_unlimited_database(cluster, template), "authenticator")
    with (
        serving_users(login, tmp_path / "log", THREADLINE_DELIVER="0") as (_, client),
        webhook(lambda _: time.sleep(8) or 500) as silent,
        webhook() as hook,
        working(login, tmp_path / "log", THREADLINE_WEBHOOK_TIMEOUT="5"),
    ):
        attacker, other = (Team.create(client, cluster.url(name, "postgres")) for _ in range(2))
        give_twin(other, hook.url)

        def wait() -> float:
            """The longest of three deliveries, in seconds."""
            spans = []
            for number in range(3):
                begin, before = time.monotonic(), len(hook.taken)
                other.sent_id(str(number), who=1)
                hook.wait(before + 1)
                spans.append(time.monotonic() - begin)
            return max(spans)

        alone = wait()
        with session(attacker.database_url) as db:
            ids = [add_channel(db, str(number), attacker.user_ids) for number in range(channels)]
        for _ in range(twins):
            add_twin(attacker.database_url, attacker.user_ids[0], ids, silent.url)
        for channel_id in ids:
            for number in range(messages):
                attacker.send(str(number), channel_id=channel_id)
        until(lambda: silent.told)
        assert wait() < 3 * max(alone, worker.POLL)
        assert len(silent.told) <= 20


def test_webhook_without_http_is_a_failed_delivery(team: Team) -> None:
    def babble() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(b"220 mail.example.com ESMTP\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=babble, daemon=True).start()
        give_twin(team, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        team.sent_id()
        until(lambda: deliveries(team, "dead"))
        listener.shutdown(socket.SHUT_RDWR)
    ((status, error),) = deliveries(team, "dead")
    assert (status, error) == (None, "The webhook closed the connection or does not speak HTTP.")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/", "The webhook could not be reached."),
        ("https://no-such-host.invalid/", "The webhook could not be reached."),
    ],
    ids=["closed port", "unknown host"],
)
def test_delivery_records_why_it_failed(team: Team, url: str, error: str) -> None:
    give_twin(team, url)
    team.sent_id()
    until(lambda: deliveries(team, "dead") == [(None, error)])


def test_twins_that_answer_each_other_stop(team: Team) -> None:
    def answer(told: Told) -> int:
        twin_id = told.headers["threadline-twin"]
        reply = team.send("And you?", ai_twin_id=twin_id, parent_message_id=told.message["id"])
        assert reply.status_code == 201
        return 200

    with webhook(answer) as hook:
        give_twin(team, hook.url)
        give_twin(team, hook.url)
        team.sent_id("How are you?", who=1)
        until(lambda: deliveries(team, "pending") == [] and len(hook.taken) > 2)
        before = len(hook.taken)
        time.sleep(1.5)
        assert len(hook.taken) == before < 20


def test_log_holds_no_secret_message_or_url(team: Team, delivering: tuple[Service, httpx.Client]) -> None:
    with webhook(lambda _: 500) as hook:
        _, secret = give_twin(team, hook.url + "?key=hidden")
        team.sent_id("between us")
        until(lambda: deliveries(team, "dead"))
    log = delivering[0].log.read_text()
    assert not any(text in log for text in (secret, "hidden", "between us", hook.url))


def test_service_leaves_deliveries_to_a_worker(cluster: TestCluster, template: str, tmp_path: Path) -> None:
    name = create_unlimited_database(cluster, template)
    login = cluster.url(name, "authenticator")
    with serving_users(login, tmp_path / "log", THREADLINE_DELIVER="0") as (_, client), webhook() as hook:
        team = Team.create(client, cluster.url(name, "postgres"))
        give_twin(team, hook.url)
        said = team.sent_id()
        time.sleep(1.5)
        assert hook.told == []
        with working(login, tmp_path / "log"):
            assert [told.message["id"] for told in hook.wait(1)] == [said]
            later = team.sent_id()
            assert hook.wait(2)[1].message["id"] == later


def test_worker_finishes_its_delivery_at_sigterm(cluster: TestCluster, template: str, tmp_path: Path) -> None:
    name = create_unlimited_database(cluster, template)
    login = cluster.url(name, "authenticator")
    is_free = threading.Event()
    with serving_users(login, tmp_path / "log") as (_, client), webhook(lambda _: is_free.wait(20) and 200) as hook:
        team = Team.create(client, cluster.url(name, "postgres"))
        give_twin(team, hook.url)
        team.sent_id("first"), team.sent_id("second")
        with working(login, tmp_path / "worker.log", THREADLINE_WEBHOOK_TIMEOUT="10") as process:
            until(lambda: hook.told)
            process.terminate()
            time.sleep(0.2)
            is_free.set()
            assert process.wait(5) == 0
        assert deliveries(team, "delivered") == [(200, None)]
        assert len(deliveries(team, "pending")) == len(hook.told) == 1
        assert (tmp_path / "worker.log").read_text() == ""


def test_lease_outlasts_the_slowest_webhook() -> None:
    class Outbox:
        async def ask(self, function: str, **fields: Any) -> list[Any]:
            asked.append((function, fields["lease_seconds"]))
            return []

    asked: list[tuple[str, float]] = []
    worker = Worker(Outbox(), Settings("", webhook_timeout=10))
    asyncio.run(worker._start_deliveries())
    assert asked == [("claim_deliveries", 30)]


@pytest.mark.parametrize(
    ("scheme", "host", "error"),
    [
        ("https", "127.0.0.1", "The webhook has a private address. Use a public one."),
        ("https", "localhost", "The webhook has a private address. Use a public one."),
        ("https", "[::ffff:127.0.0.1]", "The webhook has a private address. Use a public one."),
        ("http", "127.0.0.1", "The URL of the webhook must begin with https://."),
    ],
    ids=["IPv4", "name", "IPv4 as IPv6", "http"],
)
def test_worker_does_not_contact_private_addresses(inside: Team, scheme: str, host: str, error: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        give_twin(inside, f"{scheme}://{host}:{listener.getsockname()[1]}/")
        inside.sent_id()
        until(lambda: (None, error) in deliveries(inside, "dead"))
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.fixture(scope="module")
def inside(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A team whose worker allows no private addresses."""
    environment = {**ENVIRONMENT, "THREADLINE_WEBHOOK_ALLOW_PRIVATE": "0"}
    log = tmp_path_factory.mktemp("inside") / "log"
    with running_service(cluster, template, log, **environment) as running:
        with session(running.database_url) as db:
            db.execute("update private.settings set twin_max_attempts = 1")
        yield Team.create(running.client, running.database_url)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"])
def test_internet_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
        ),
        *("224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:7f00:1::", "2002:a00:1::1"),
        # Forms of IPv4 inside IPv6, and ranges that ipaddress of some Python versions takes for global.
        "::1.1.1.1",
        "::127.0.0.1",
        "::10.0.0.1",
        "::ffff:0:1.1.1.1",
        "::ffff:0:10.0.0.1",
        "fec0::1",
        "feff::1",
        "64:ff9b:1::1",
        "64:ff9b:1::10.0.0.1",
        "64:ff9b:1:ffff:ffff::1.1.1.1",
        "64:ff9b::1:1.1.1.1",
        "4000::1",
        "5f00::1",
        "3fff::1",
        "3fff:fff::1",
        "100::1",
        "2001:db8::1",
        "2002:0a00:0001::1",
    ],
)
def test_internal_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the worker connects to; 1.0.0.1 refuses the connection."""
    addresses: list[str] = []

    async def connect_tcp(_: object, host: str, port: int) -> Any:
        addresses.append(host)
        if host == "1.0.0.1":
            raise httpcore.ConnectError
        return "a stream"

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect_tcp)
    return addresses


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Make every name resolve to these addresses."""

    async def getaddrinfo(*_: object, type: int = 0) -> list[Any]:  # noqa: A002 - of the base class
        kinds = [type] if type else [socket.SOCK_STREAM, socket.SOCK_DGRAM]  # each address comes once for each kind
        return [(socket.AF_INET, kind, 6, "", (address, 443)) for address in addresses for kind in kinds]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


def test_worker_connects_only_to_checked_addresses(monkeypatch: pytest.MonkeyPatch, connected: list[str]) -> None:
    resolves_to(monkeypatch, "10.0.0.1", "1.0.0.1", "127.0.0.1", "1.1.1.1")
    assert asyncio.run(PublicNetwork().connect_tcp("twin.example.com", 443)) == "a stream"
    assert connected == ["1.0.0.1", "1.1.1.1"]
    connected.clear()
    resolves_to(monkeypatch, "1.0.0.1", "1.0.0.1", "1.1.1.1", "1.1.1.2")
    asyncio.run(PublicNetwork().connect_tcp("twin.example.com", 443))
    assert connected == ["1.0.0.1", "1.0.0.1", "1.1.1.1"]


def test_names_with_private_addresses_only_are_refused(monkeypatch: pytest.MonkeyPatch, connected: list[str]) -> None:
    resolves_to(monkeypatch, "10.0.0.1", "127.0.0.1")
    with pytest.raises(PrivateAddressError):
        asyncio.run(PublicNetwork().connect_tcp("twin.example.com", 443))
    assert connected == []


def certificate(folder: Path, name: str) -> Path:
    """Write a key and its self-signed certificate to one file."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.mark.parametrize(("name", "is_reached"), [("twin.example.com", True), ("other.example.com", False)])
def test_worker_checks_the_certificate_against_the_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, is_reached: bool
) -> None:
    file = certificate(tmp_path, name)
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(file)
    monkeypatch.setattr(worker, "is_public", lambda _: True)
    resolves_to(monkeypatch, "127.0.0.1")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    async def post() -> int:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=ours)
        port = server.sockets[0].getsockname()[1]
        trusted = ssl.create_default_context(cafile=file)
        async with server, httpcore.AsyncConnectionPool(trusted, network_backend=PublicNetwork()) as pool:
            return (await pool.request("POST", f"https://twin.example.com:{port}/")).status

    if is_reached:
        assert asyncio.run(post()) == 204
    else:
        with pytest.raises(httpcore.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(post())
