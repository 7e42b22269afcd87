"""docs/how-to/operations.md, "Backup": what is dumped from one server is all there in another, and goes on working."""

import subprocess
from pathlib import Path
from typing import Any

import psycopg

from tests.support.cluster import TestCluster, data_folder, running
from tests.support.ingest import Sender, conversation, message
from tests.support.team import Team, serving_users
from tests.support.tokens import bearer, token

TABLES = """
select format('%I.%I', schemaname, tablename) from pg_tables
where schemaname not in ('pg_catalog', 'information_schema') order by 1
"""


def contents(url: str) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with psycopg.connect(url) as db:
        db.execute("set datestyle = 'ISO'; set timezone = 'UTC'")
        tables = [name for (name,) in db.execute(TABLES)]
        return {
            table: [row for (row,) in db.execute(f"select line::text from {table} as line order by 1")]
            for table in tables
        }


def run(cluster: TestCluster, program: str, *arguments: str | Path, is_checked: bool = True) -> str:
    """Run one of Postgres's programs."""
    command = [cluster.binaries / program, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not is_checked or result.returncode == 0, result.stderr
    return result.stdout


def used(cluster: TestCluster, template: str, log: Path) -> tuple[str, Sender, Team]:
    """A database that a service has worked on."""
    name = cluster.create(template)
    admin = cluster.url(name, "postgres")
    with serving_users(cluster.url(name, "authenticator"), log) as (_, client):
        sender, team = Sender.create(client, admin), Team.create(client, admin)
        sender.post(conversation(message("a"), message("b", content="caf\u00e9 \U0001f600 \\ \n'")))
        said = team.sent_id("before the backup")
        team.request("PUT", f"/{said}", json={"content": "edited"})
        team.request("PUT", f"/{said}/reactions/fire", who=1)
    return name, sender, team


def test_backup_restores_on_another_server(cluster: TestCluster, template: str, tmp_path: Path) -> None:
    name, sender, team = used(cluster, template, tmp_path / "before")
    roles, archive = tmp_path / "roles.sql", tmp_path / "threadline.dump"
    run(cluster, "pg_dumpall", "--globals-only", "--file", roles, "--dbname", cluster.url(name))
    run(cluster, "pg_dump", "--format", "custom", "--file", archive, cluster.url(name))
    before = contents(cluster.url(name))

    with data_folder() as folder:
        # The superuser is there already, with a password of its own; what is said of it may fail.
        text = "\n".join(
            line for line in roles.read_text().splitlines() if not line.startswith("ALTER ROLE supabase_admin")
        )
        roles.write_text(text)
        with running(folder, None) as other:
            run(other, "psql", "--quiet", "--file", roles, "--dbname", other.url("template1"))
            empty = other.create()
            run(other, "pg_restore", "--exit-on-error", "--dbname", other.url(empty), archive)
            with psycopg.connect(other.url(empty), autocommit=True) as admin:
                admin.execute("analyze")
            assert contents(other.url(empty)) == before
            with serving_users(other.url(empty, "authenticator"), tmp_path / "after") as (_, client):
                check(client, sender, team, other.url(empty, "postgres"))


def check(client: Any, sender: Sender, team: Team, url: str) -> None:
    """Keys and tokens are still good, nothing is stored twice, numbers go on."""
    sender = Sender(client, url, sender.user_id, sender.connection_id, sender.secret)
    replies = [sender.post(conversation(message("a"))), sender.post(conversation(message("c")))]
    assert [reply.json()["results"][0]["status"] for reply in replies] == ["no_new_messages", "updated"]
    team = Team(client, url, team.channel_id, team.user_ids)
    team.sent_id("after the restore", who=1)
    assert [line["content"] for line in team.history()["data"]] == ["after the restore", "edited"]
    assert team.inconsistencies() == []
    headers = bearer(token(team.user_ids[0]))
    lines = client.get(f"/api/v2/exports/channels/{team.channel_id}", headers=headers).text.splitlines()
    assert len(lines) == 2
