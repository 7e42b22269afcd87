"""The clean-up job of pg_cron, as on Supabase: apt-get install postgresql-15-cron."""

from pathlib import Path

import psycopg
import pytest
from threadline.project import shipped

from tests.support import cluster as clusters
from tests.support.cluster import FORGETFUL


def with_cron() -> Path | None:
    """The programs of a server that has the extension."""
    found = [folder for folder in clusters.lanes().values() if folder]
    shared = [Path("/usr/share/postgresql", folder.parent.name, "extension/pg_cron.control") for folder in found]
    return next((folder for folder, control in zip(found, shared, strict=True) if control.exists()), None)


@pytest.mark.skipif(with_cron() is None, reason="no pg_cron: apt-get install postgresql-15-cron")
def test_migration_schedules_the_clean_up_once() -> None:
    with clusters.data_folder() as folder:
        with clusters.running(folder, with_cron(), FORGETFUL) as before:
            with (folder / "postgres" / "postgresql.auto.conf").open("a") as file:
                file.write("shared_preload_libraries = 'pg_cron'\ncron.database_name = 'scratch_0'\n")
            assert before.create() == "scratch_0"
        with clusters.running(folder, with_cron(), FORGETFUL) as cluster:
            with psycopg.connect(cluster.url("scratch_0"), autocommit=True) as admin:
                admin.execute("create extension pg_cron")
                admin.execute("grant usage on schema cron to public")
            cluster.prepare("scratch_0")
            with psycopg.connect(cluster.url("scratch_0", "postgres"), autocommit=True) as db:
                query = "select schedule, command, username from cron.job where jobname = 'threadline_clean_up'"
                [(schedule, command, username)] = db.execute(query).fetchall()
                assert (schedule, username) == ("*/5 * * * *", "postgres")
                assert db.execute(command).fetchone()[0]["ingest_log"] == 0
                with db.transaction():
                    db.execute(shipped.removal(with_data=True))
                assert db.execute(query).fetchall() == []
                assert db.execute("select from pg_extension where extname = 'pg_cron'").fetchall()
