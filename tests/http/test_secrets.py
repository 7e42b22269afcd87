"""Logs hold no keys and no messages, and nothing on disk holds a secret, also after errors."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql

from tests.support.claude import running as running_claude
from tests.support.cluster import TestCluster
from tests.support.ingest import PATH, Sender, conversation, message
from tests.support.service import serving
from tests.support.sessions import session
from tests.support.team import Team, serving_users
from tests.support.tokens import bearer, sign
from tests.support.twin import until, webhook, working

CANARY = "canary-7f3a91"


@pytest.fixture
def logging_database(cluster: TestCluster, fresh_database: str) -> str:
    """A database that logs every statement and refuses to store some messages."""
    with psycopg.connect(cluster.url(fresh_database), autocommit=True) as connection:
        connection.execute(f"alter database {fresh_database} set log_statement = 'all'")
        connection.execute(f"alter database {fresh_database} set log_min_duration_statement = 0")
        connection.execute(
            "alter table public.conversation_messages add check (message ->> 'content' not like '%%cannot be stored%%')"
        )
    return fresh_database


def test_ingest_logs_no_key_and_no_message(cluster: TestCluster, logging_database: str, tmp_path: Path) -> None:
    url = cluster.url(logging_database, "authenticator") + "?lock_timeout=100"
    with serving(url, tmp_path / "log") as service:
        sender = Sender.create(service.client, cluster.url(logging_database, "postgres"))
        chat = conversation(message(content=CANARY), external_id=CANARY, participant_name=CANARY)
        statuses = [
            sender.post(chat, {CANARY: CANARY}).status_code,
            sender.client.post(f"{PATH}?x-api-key={CANARY}", json=sender.request(chat)).status_code,
            sender.send(f'{{"platform": "{CANARY}'.encode()).status_code,
            sender.send(f'{{"platform": "{CANARY}\\ud83d'.encode()).status_code,
            sender.send(CANARY.encode(), content_encoding="gzip").status_code,
            sender.send(CANARY.encode(), content_type=CANARY).status_code,
            sender.send(b'{"platform": 1, "connection_id": 1, "conversations": []}', x_api_key=CANARY).status_code,
            sender.post(platform=CANARY, connection_id=CANARY).status_code,
            service.client.get(f"/{CANARY}").status_code,
        ]
        failed = sender.post(conversation(message(content=f"{CANARY} cannot be stored")))
        with psycopg.connect(sender.database_url) as holder:
            holder.execute("select from public.conversations where user_id = %s for update", [sender.user_id])
            statuses.append(sender.post(conversation(message("late", content=CANARY), external_id=CANARY)).status_code)
        for spoiled in (f"x-api-key: {CANARY}\0", f"x-api-key: {CANARY}\r\ncontent-length: 9"):
            with socket.create_connection(("127.0.0.1", service.port)) as connection:
                head = f"POST {PATH} HTTP/1.1\r\ncontent-type: application/json\r\n{spoiled}\r\n\r\n"
                connection.sendall(f"{head}{CANARY[:3]}".encode())
        assert service.client.get("/health").status_code == 200
    assert statuses == [200, 401, 400, 400, 400, 415, 401, 401, 404, 503]
    assert (failed.status_code, failed.json()) == (500, {"error": "Internal server error"})

    service_log, postgres_log = service.log.read_text(), cluster.local.home.log.read_text()
    assert "POST /functions/v1/messaging-ingest failed: CheckViolationError 23514" in service_log
    assert "messaging_ingest failed with LockNotAvailableError" in service_log
    assert "select status, headers, body from private.call" in postgres_log
    assert "violates check constraint" in postgres_log
    for secret in (CANARY, sender.secret, "your-api-secret"):
        assert secret not in service_log
        assert secret not in postgres_log


SECRETS = {
    name: f"canary-{name.lower().replace('_', '-')}-{'9c41e7' * 4}"
    for name in (
        "ANTHROPIC_API_KEY",
        "JWT_SECRET",
        "THREADLINE_METRICS_TOKEN",
        "SUPABASE_SECRET_KEY",
        "DATABASE_PASSWORD",
    )
}
TABLES = "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"


def rows_with(database_url: str, *secrets: str) -> list[str]:
    """Return the tables that hold one of these secrets, also pg_stat_activity with its statements."""
    with session(database_url) as db:
        found = []
        for place in [*db.execute(TABLES).fetchall(), ("pg_catalog", "pg_stat_activity")]:
            query = sql.SQL("select from {} as line where line::text like any(%s) and line::text not like %s limit 1")
            # The second condition leaves out this query itself, which pg_stat_activity also shows.
            patterns = [f"%{secret}%" for secret in secrets]
            if db.execute(query.format(sql.Identifier(*place)), (patterns, "%line::text%")).rowcount:
                found.append(".".join(place))
    return found


@pytest.fixture
def guarded_url(cluster: TestCluster, logging_database: str) -> Iterator[str]:
    """The URL of the logging database for a role whose password is a canary."""
    with psycopg.connect(cluster.url(logging_database), autocommit=True) as connection:
        connection.execute("set log_statement = 'none'")  # the next statement holds the password
        connection.execute("set log_min_duration_statement = -1")
        connection.execute(
            f"create role guarded login noinherit password '{SECRETS['DATABASE_PASSWORD']}' in role authenticator"
        )
        connection.execute("grant anon, authenticated, service_role to guarded")
        connection.execute("grant usage on schema private to guarded")
        connection.execute("grant execute on function private.call(text, text, text, text, text, bytea) to guarded")
    url = cluster.url(logging_database, "guarded")
    yield url.replace("guarded:postgres@", f"guarded:{SECRETS['DATABASE_PASSWORD']}@")
    with psycopg.connect(cluster.url(logging_database), autocommit=True) as connection:
        connection.execute("drop owned by guarded")
        connection.execute("drop role guarded")


def test_secrets_are_written_nowhere(
    cluster: TestCluster, logging_database: str, guarded_url: str, tmp_path: Path
) -> None:
    admin = cluster.url(logging_database)
    secrets = dict(SECRETS)
    with running_claude() as claude, webhook() as hook:
        environment = {**SECRETS, "ANTHROPIC_BASE_URL": claude.url, "ANTHROPIC_LOG": "debug"}
        with (
            serving_users(guarded_url, tmp_path / "log", **environment) as (service, client),
            working(guarded_url, tmp_path / "worker.log", **environment) as worker,
        ):
            sender, team = Sender.create(client, admin), Team.create(client, admin)
            key, access = "canary-idempotency-9c41e7", _token(team.user_ids[0])
            sender.post(conversation(message()))
            sender.send(b"{}", x_api_key="canary-wrong-key-9c41e7")
            secrets["twin secret"] = _listen(admin, team, hook.url)
            replies = [
                client.post(
                    "/api/v2/messages",
                    json={"channel_id": team.channel_id, "content": "Hello"},
                    headers={**bearer(access), "idempotency-key": key},
                ),
                client.post("/api/v2/messages", json={}, headers={**bearer(access), "idempotency-key": key}),
                client.get("/api/v2/messages/history", headers=bearer(access[:-3] + "AAA")),
                client.post("/api/v2/messages/summarize", json={"channel_id": team.channel_id}, headers=bearer(access)),
                client.get("/metrics", headers=bearer("canary-wrong-key-9c41e7")),
            ]
            hook.wait(1)
            until(lambda: not rows_pending(admin))
            metrics = client.get("/metrics", headers=bearer(SECRETS["THREADLINE_METRICS_TOKEN"]))
            processes = [psutil.Process(each.pid) for each in (service.process, worker)]
            listed = "\n".join(_arguments(each, processes) for each in psutil.process_iter())
    # The stand-in refuses the key of the model, so the service also logs that error.
    assert [reply.status_code for reply in replies] == [201, 422, 401, 502, 404]
    assert metrics.status_code == 200
    secrets |= {
        "api key": sender.secret,
        "wrong key": "canary-wrong-key-9c41e7",
        "access token": access,
        "its signature": access.rpartition(".")[2],
    }
    written = {
        "service": service.log.read_text(),
        "worker": (tmp_path / "worker.log").read_text(),
        "postgres": cluster.local.home.log.read_text(),
        "metrics": metrics.text,
        "answers": "".join(reply.text + str(reply.headers) for reply in replies),
        "processes": listed,
    }
    assert [(name, place) for name, text in secrets.items() for place in written if text in written[place]] == []
    assert rows_with(admin, *secrets.values()) == []
    # An idempotency key is no secret. Postgres keeps it for a day to recognize retries.
    assert [place for place in written if key in written[place]] == []
    assert rows_with(admin, key) == ["private.idempotency_keys"]


def _token(user_id: str) -> str:
    """Return an access token of a user, signed with the canary secret."""
    claims = {"sub": user_id, "aud": "authenticated", "role": "authenticated", "exp": 4_000_000_000}
    return sign(claims, SECRETS["JWT_SECRET"])


def _listen(database_url: str, team: Team, url: str) -> str:
    """Create a twin with a webhook for the team and return its secret."""
    with psycopg.connect(database_url) as db:
        (twin,) = db.execute(
            "insert into public.ai_twins (user_id, display_name) values (%s, 'Twin') returning id::text",
            [team.user_ids[1]],
        ).fetchone()
        db.execute("insert into public.channel_twins (channel_id, ai_twin_id) values (%s, %s)", [team.channel_id, twin])
        db.execute("select set_config('request.jwt.claims', '{\"role\": \"service_role\"}', true)")
        request = f'{{"ai_twin_id": "{twin}", "url": "{url}"}}'
        (answer,) = db.execute("select public.set_twin_webhook(%s::jsonb)", [request]).fetchone()
    return answer["data"]["secret"]


def rows_pending(database_url: str) -> bool:
    """Check whether a delivery is pending."""
    with session(database_url) as db:
        return bool(db.execute("select from public.twin_deliveries where state = 'pending'").rowcount)


def _arguments(process: psutil.Process, parents: list[psutil.Process]) -> str:
    """Return the command line of a process of the service, the worker or Postgres."""
    try:
        is_ours = (
            process in parents or process.name() == "postgres" or any(process in each.children() for each in parents)
        )
        return " ".join(process.cmdline()) if is_ours else ""
    except psutil.NoSuchProcess:  # it has ended since, or is a zombie
        return ""
