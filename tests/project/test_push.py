"""A user adds Threadline, upgrades it and removes it with the real Supabase CLI, in a project with a database."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from threadline.project import shipped
from threadline_devstack.errors import StackError

from tests.support import schema, tools
from tests.support.cluster import TestCluster
from tests.support.own_project import (
    NEXT_VERSION,
    list_migrations,
    make_project,
    read_files,
    ship_another,
    succeed,
    threadline,
)
from tests.support.twin import until

pytestmark = pytest.mark.skipif(tools.supabase_cli() is None, reason=tools.why_not("supabase"))

SHOPS = "create table public.shops (id uuid primary key, owner uuid references auth.users (id));\n"
STARS = """\
create table public.stars (message_id uuid primary key references public.messages (id));
create policy own_topics on realtime.messages for select to authenticated using (topic = 'shops');
create function public.ring() returns trigger language plpgsql as 'begin return new; end';
create trigger own_sign_up after insert on auth.users for each row execute function public.ring();
"""
SHARED = """
select
    (select jsonb_agg(b order by b.id) from storage.buckets as b),
    (select jsonb_agg(t order by t) from pg_publication_tables as t),
    (select jsonb_agg(e.extname order by 1) from pg_extension as e),
    (select jsonb_agg(u.id order by u.id) from auth.users as u)
"""


@pytest.fixture
def database(cluster: TestCluster) -> str:
    """A database like that of a new project, with a user."""
    name = cluster.create()
    cluster.install_platform(name)
    with psycopg.connect(cluster.url(name)) as db:
        db.execute("insert into auth.users (id, email) values (gen_random_uuid(), 'first@example.com')")
    return name


def push(folder: Path, url: str) -> str:
    """Push the migrations; return '' if that worked, or else what the CLI said."""
    result = tools.supabase(folder, "db", "push", "--yes", url=url)
    return result.stdout + result.stderr if result.returncode else ""


def snapshot(cluster: TestCluster, database: str) -> tuple[str, Any]:
    """Return a dump of every schema, and the rows that the project shares with Threadline."""
    with psycopg.connect(cluster.url(database)) as db:
        return schema.dump_all(cluster.url(database), cluster.binaries), db.execute(SHARED).fetchone()


def assert_same(before: tuple[str, Any], after: tuple[str, Any]) -> None:
    """Compare two snapshots, and show how the dumps differ."""
    assert not schema.difference(before[0], after[0], ("before", "after"))
    assert after == before


def test_empty_project_is_added_to_and_left_as_before(cluster: TestCluster, database: str, tmp_path: Path) -> None:
    url = cluster.url(database, "postgres")
    assert tools.supabase(tmp_path, "init", "--yes").returncode == 0
    files, before = read_files(tmp_path), snapshot(cluster, database)
    succeed(tmp_path, "add", "--database-url", url)
    assert push(tmp_path, url) == ""
    assert tools.supabase(tmp_path, "migration", "list", url=url).returncode == 0
    loaded = cluster.create()
    cluster.install_platform(loaded)
    schema.load(cluster.url(loaded, "postgres"), schema.SQL)
    dumps = [schema.dump(cluster.url(name), cluster.binaries) for name in (database, loaded)]
    assert not schema.difference(*dumps, ("added", "sql"))
    assert "already" in succeed(tmp_path, "add", "--database-url", url)
    succeed(tmp_path, "remove")
    assert push(tmp_path, url) == ""
    assert_same(before, snapshot(cluster, database))
    assert {path: data for path, data in read_files(tmp_path).items() if path in files} == files
    succeed(tmp_path, "add", "--database-url", url)
    cluster.migrate(database, tmp_path / "supabase" / "migrations")


def test_own_migrations_before_and_after_stay(
    cluster: TestCluster, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = cluster.url(database, "postgres")
    folder = make_project(tmp_path, {"20200101000000_shops.sql": SHOPS})
    cluster.migrate(database, folder / "supabase" / "migrations")
    before = snapshot(cluster, database)
    succeed(folder, "add", "--database-url", url)
    assert push(folder, url) == ""
    after_ours = folder / "supabase" / "migrations" / "20991231000000_stars.sql"
    after_ours.write_text(STARS)
    cluster.migrate(database, folder / "supabase" / "migrations")
    with monkeypatch.context() as patch:
        ship_another(patch, "create table private.next ();\ndrop table private.next;\n")
        succeed(folder, "add", "--database-url", url)
    assert push(folder, url) == ""
    with psycopg.connect(url) as db:
        assert db.execute("select private.schema_version()").fetchone() == (NEXT_VERSION,)
        assert db.execute("select count(*) from supabase_migrations.schema_migrations").fetchone() == (5,)
    # Here the test ends the upgrade: this threadline removes only the version that it ships.
    assert list_migrations(folder)[-1] == "threadline_next.sql"
    max(folder.glob("supabase/migrations/*_next.sql")).write_text("")
    succeed(folder, "remove")
    # The user's table with a key to our messages is never dropped.
    with pytest.raises(StackError, match="depends on"):
        cluster.migrate(database, folder / "supabase" / "migrations")
    removal = max(folder.glob("supabase/migrations/*_remove.sql"))
    removal.rename(removal.with_name(f"{int(removal.name.partition('_')[0]) + 1}_threadline_remove.sql"))
    own = removal.with_name(f"{removal.name.partition('_')[0]}_drop_stars.sql")
    own.write_text(
        "drop table public.stars; drop policy own_topics on realtime.messages; "
        "drop trigger own_sign_up on auth.users; drop function public.ring;"
    )
    assert push(folder, url) == ""
    assert_same(before, snapshot(cluster, database))


def test_project_with_own_tables_is_refused(cluster: TestCluster, database: str, tmp_path: Path) -> None:
    url = cluster.url(database, "postgres")
    folder = make_project(tmp_path)
    with psycopg.connect(url) as db:
        db.execute("create table public.people (id integer)")
        db.execute("create view public.messages as select 1 as id")
        db.execute("insert into storage.buckets (id, name) values ('attachments', 'attachments')")
    files, before = read_files(folder), snapshot(cluster, database)
    result = threadline(folder, "add", "--yes", "--database-url", url)
    assert result.exit_code == 1
    assert result.output == (
        "Error: This project uses names that Threadline needs: public.messages, public.people, the Storage bucket "
        "attachments; rename them, or give Threadline a project of its own; nothing was written.\n"
    )
    assert read_files(folder) == files
    assert snapshot(cluster, database) == before


def test_add_refuses_a_database_it_cannot_read_or_place(
    cluster: TestCluster, template: str, database: str, tmp_path: Path
) -> None:
    folder = make_project(tmp_path)
    wrong = cluster.url(database, "postgres").replace(":postgres@", ":wrong@")
    said = threadline(folder, "add", "--yes", "--database-url", wrong).output
    assert said == (
        "Error: The database of --database-url cannot be read (InvalidPasswordError); "
        "give the URL of the database of your Supabase project.\n"
    )
    said = threadline(folder, "add", "--yes", "--database-url", cluster.url(template, "postgres")).output
    assert 'supabase/migrations does not; run "npx supabase@3 migration fetch --remote" first' in said
    assert list_migrations(folder) == []


def test_removal_lets_running_requests_finish(cluster: TestCluster, template: str) -> None:
    """A request reads a table that the removal needs late, and then one that it needs early."""
    url = cluster.url(cluster.create(template), "postgres")

    def remove() -> None:
        with psycopg.connect(url) as db:
            db.execute(shipped.removal(with_data=True))

    with ThreadPoolExecutor() as pool, psycopg.connect(url) as request:
        request.execute("select from private.settings")
        removal = pool.submit(remove)
        waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        with psycopg.connect(url, autocommit=True) as observer:
            until(lambda: observer.execute(waiting).fetchone() is not None)
        request.execute("select from public.ai_twins")
        request.commit()
        removal.result()
    with psycopg.connect(url) as db:
        assert db.execute("select to_regnamespace('private')").fetchone() == (None,)


def test_rows_and_files_are_kept_unless_named(cluster: TestCluster, database: str, tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    before = snapshot(cluster, database)
    succeed(folder, "add")
    cluster.migrate(database, folder / "supabase" / "migrations")
    with psycopg.connect(cluster.url(database)) as db:
        db.execute("insert into public.people (user_id, full_name) select id, 'Ada' from auth.users")
        db.execute("update public.user_profiles set display_name = 'Me', updated_at = now() where true")
        db.execute("insert into storage.objects (bucket_id, name) values ('attachments', 'a')")
    filled = snapshot(cluster, database)
    succeed(folder, "remove")
    with pytest.raises(StackError, match=r"has changed nothing: public\.people, public\.user_profiles\. To delete"):
        cluster.migrate(database, folder / "supabase" / "migrations")
    assert snapshot(cluster, database) == filled
    max(folder.glob("supabase/migrations/*_remove.sql")).unlink()
    succeed(folder, "remove", "--drop-data", "shop")
    with pytest.raises(StackError, match='The bucket "attachments" has files, and this migration has changed nothing'):
        cluster.migrate(database, folder / "supabase" / "migrations")
    assert snapshot(cluster, database) == filled
    with psycopg.connect(cluster.url(database)) as db:
        db.execute("set local storage.allow_delete_query = true")
        db.execute("delete from storage.objects where bucket_id = 'attachments'")
    cluster.migrate(database, folder / "supabase" / "migrations")
    assert snapshot(cluster, database) == before
