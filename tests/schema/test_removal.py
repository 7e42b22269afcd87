"""What `threadline remove` writes drops all that the migrations made, and nothing that was there before."""

from typing import Literal

import psycopg
import pytest
from threadline.project import shipped

from tests.support import schema
from tests.support.cluster import TestCluster

# pg_cron, as far as the migrations use it: tests/schema/test_cron.py has the real one.
CRON = """
create schema cron;
create table cron.job (jobid bigint, jobname text);
insert into cron.job values (1, 'own'), (2, 'threadline_clean_up');
create function cron.unschedule(job_id bigint) returns boolean language sql
as 'delete from cron.job where jobid = job_id returning true';
grant usage on schema cron to public;
grant all on cron.job to public;
"""


def run(cluster: TestCluster, database: str, *texts: str) -> None:
    """Run each text as postgres, in its own transaction."""
    for text in texts:
        with psycopg.connect(cluster.url(database, "postgres")) as db:
            db.execute(text)


def add_and_remove(cluster: TestCluster, database: str, with_data: bool) -> tuple[str, str]:
    """Return a dump from before and one from after."""
    before = schema.dump_all(cluster.url(database), cluster.binaries)
    run(cluster, database, *(each.sql for each in shipped.migrations()), shipped.removal(with_data=with_data))
    return before, schema.dump_all(cluster.url(database), cluster.binaries)


@pytest.mark.parametrize(("mode", "with_data"), [("explicit", True), ("legacy", False)], ids=["all", "empty"])
def test_dump_before_and_after_are_equal(
    cluster: TestCluster, mode: Literal["explicit", "legacy"], with_data: bool
) -> None:
    database = cluster.create()
    cluster.install_platform(database, mode)
    assert not schema.difference(*add_and_remove(cluster, database, with_data), ("before", "after"))


def test_what_projects_share_stays_if_it_was_there(cluster: TestCluster) -> None:
    database = cluster.create()
    cluster.install_platform(database)
    run(
        cluster,
        database,
        "create extension btree_gin with schema extensions",
        "insert into storage.buckets (id, name) values ('attachments', 'attachments')",
    )
    before, after = add_and_remove(cluster, database, with_data=False)
    assert not schema.difference(before, after, ("before", "after"))
    assert "CREATE EXTENSION IF NOT EXISTS btree_gin" in after
    with psycopg.connect(cluster.url(database)) as db:
        assert db.execute("select id from storage.buckets").fetchall() == [("attachments",)]


def test_extension_that_the_user_needs_stays(cluster: TestCluster, fresh_database: str) -> None:
    run(
        cluster,
        fresh_database,
        "create table public.own (id bigint); create index on public.own using gin (id extensions.int8_ops);",
        shipped.removal(with_data=True),
    )
    assert "CREATE EXTENSION IF NOT EXISTS btree_gin" in schema.dump_all(cluster.url(fresh_database), cluster.binaries)


def test_cron_job_is_removed_and_others_stay(cluster: TestCluster, fresh_database: str) -> None:
    with psycopg.connect(cluster.url(fresh_database)) as db:
        db.execute(CRON)
    run(cluster, fresh_database, shipped.removal(with_data=True))
    with psycopg.connect(cluster.url(fresh_database)) as db:
        assert db.execute("select jobname from cron.job").fetchall() == [("own",)]


def test_removal_refuses_a_table_that_the_user_depends_on(cluster: TestCluster, fresh_database: str) -> None:
    run(
        cluster,
        fresh_database,
        "create view public.own with (security_invoker = true) as select id from public.messages",
    )
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match=r"view public\.own|view own"):
        run(cluster, fresh_database, shipped.removal(with_data=True))
    with psycopg.connect(cluster.url(fresh_database)) as db:
        assert db.execute("select private.schema_version()").fetchone() == (shipped.newest_version(),)
