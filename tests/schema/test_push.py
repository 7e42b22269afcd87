"""The Supabase CLI applies the migrations as `postgres`, which is not a superuser."""

import shutil
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from threadline_devstack.errors import StackError

from tests.support import migration, schema, tools
from tests.support.cluster import TestCluster

pytestmark = pytest.mark.skipif(tools.supabase_cli() is None, reason=tools.why_not("supabase"))

VERSIONS = sorted(file.name.partition("_")[0] for file in schema.MIGRATIONS.glob("*.sql"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy the project, because the CLI writes into its working folder."""
    shutil.copytree(schema.ROOT / "supabase", tmp_path / "supabase", ignore=shutil.ignore_patterns(".*"))
    return tmp_path


def project(cluster: TestCluster, mode: Literal["explicit", "legacy"] = "explicit") -> str:
    """Create a database like that of a new project."""
    database = cluster.create()
    cluster.install_platform(database, mode)
    return database


def applied(url: str) -> list[str]:
    """Return the versions in the migration history."""
    with psycopg.connect(url) as db:
        return [row for (row,) in db.execute("select version from supabase_migrations.schema_migrations order by 1")]


def test_pushed_migrations_equal_sql(cluster: TestCluster, template: str, folder: Path) -> None:
    pushed = project(cluster)
    url = cluster.url(pushed, "postgres")
    result = tools.supabase(folder, "db", "push", "--yes", url=url)
    assert result.returncode == 0, result.stderr
    assert applied(url) == VERSIONS
    dumps = [schema.dump(cluster.url(name), cluster.binaries) for name in (pushed, template)]
    assert not schema.difference(*dumps, ("pushed", "applied"))


def test_command_up_applies_what_is_left(cluster: TestCluster, folder: Path) -> None:
    url = cluster.url(project(cluster, "legacy"), "postgres")
    for _ in range(2):
        result = tools.supabase(folder, "migration", "up", "--yes", url=url)
        assert result.returncode == 0, result.stderr
        assert applied(url) == VERSIONS


def test_database_with_name_conflicts_stays_unchanged(cluster: TestCluster, folder: Path) -> None:
    database = project(cluster)
    url = cluster.url(database, "postgres")
    with psycopg.connect(url) as db:
        db.execute("create table public.messages (id integer)")
        db.execute("create view public.channels as select 1 as id")
        db.execute("create schema private")
    before = schema.dump_all(cluster.url(database), cluster.binaries)
    result = tools.supabase(folder, "db", "push", "--yes", url=url)
    assert result.returncode == 1
    names = "public.channels, public.messages, the schema private"
    assert f"has changed nothing: {names}. Rename those, or" in result.stderr + result.stdout
    assert applied(url) == []
    assert schema.dump_all(cluster.url(database), cluster.binaries) == before


def test_every_name_is_checked_for_conflicts(cluster: TestCluster, template: str) -> None:
    with psycopg.connect(cluster.url(template)) as db:
        made = db.execute(
            "select relname from pg_class"
            " where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'c')"
        ).fetchall()
        guard = (schema.MIGRATIONS / migration.INITIAL).read_text().partition("$$;")[0]
    assert [name for (name,) in made if f"'{name}'" not in guard] == []


def test_migration_gives_up_waiting_for_locks(cluster: TestCluster, folder: Path) -> None:
    for file in folder.glob("supabase/migrations/*.sql"):
        text = file.read_text()
        assert text.count("\nset lock_timeout = '5s';\n") == 1
        file.write_text(text.replace("'5s'", "'50ms'"))
    database = project(cluster)
    url = cluster.url(database, "postgres")
    with psycopg.connect(url) as reader:
        # The lock of a running upload; statements about policies need an exclusive lock on the table.
        reader.execute("select from storage.objects")
        with pytest.raises(StackError, match="canceling statement due to lock timeout"):
            cluster.migrate(database, folder / "supabase" / "migrations")
    assert applied(url) == VERSIONS[:1]
    cluster.migrate(database, folder / "supabase" / "migrations")
    assert applied(url) == VERSIONS
