"""The shipped migrations equal `sql/`."""

import re
from pathlib import Path
from typing import Literal

import pytest
import sqlfluff

from tests.support import migration, removal, schema, sql_style
from tests.support.cluster import TestCluster


def load(cluster: TestCluster, files: list[Path], mode: Literal["explicit", "legacy"] = "explicit") -> str:
    """Dump a database like that of a new project, after these files."""
    database = cluster.create()
    cluster.install_platform(database, mode)
    schema.load(cluster.url(database, "postgres"), files)
    return schema.dump(cluster.url(database), cluster.binaries)


def test_migrations_and_sql_build_the_same_database(cluster: TestCluster, template: str) -> None:
    dump_of_migrations = schema.dump(cluster.url(template), cluster.binaries)
    assert not schema.difference(dump_of_migrations, load(cluster, schema.SQL), ("migrations", "sql"))


def test_both_default_privilege_modes_give_the_same_rights(cluster: TestCluster, template: str) -> None:
    legacy = load(cluster, sorted(schema.MIGRATIONS.glob("*.sql")), "legacy")
    # Drop the modes themselves from the dump; nothing else may differ.
    without_defaults = [
        "\n".join(
            line
            for line in dump.splitlines()
            if not line.startswith(("ALTER DEFAULT PRIVILEGES", "-- Name: DEFAULT PRIV"))
        )
        for dump in (legacy, schema.dump(cluster.url(template), cluster.binaries))
    ]
    assert not schema.difference(*(re.sub(r"\n{2,}", "\n", text) for text in without_defaults), ("legacy", "explicit"))


def test_initial_migration_is_written_from_sql() -> None:
    if schema.is_released():
        pytest.skip("released: migrations are only added")
    written = {path.name: path.read_text(encoding="utf-8") for path in schema.MIGRATIONS.glob("*.sql")}
    assert written == migration.initial(), "run `make migration`"


def test_migration_only_text_follows_the_sql_style() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in schema.SQL)
    only_there = (migration.HEADER + migration.guard(text)).rstrip("\n") + "\n"
    assert sqlfluff.lint(only_there, config_path=str(schema.ROOT / "pyproject.toml")) == []


def test_linter_reads_all_that_is_not_written_by_a_program() -> None:
    files = set(sql_style.files())
    assert {*schema.SQL, schema.ROOT / "seed.sql"} < files
    assert files.isdisjoint(schema.MIGRATIONS / name for name in migration.initial())


def test_each_migration_states_its_own_version() -> None:
    stated = {path.name: migration.stated_version(path.read_text()) for path in schema.MIGRATIONS.iterdir()}
    assert stated == {name: migration.version_of(name) for name in stated}
    assert migration.stated_version(migration.VERSION_FILE.read_text()) == max(stated.values())


def test_removal_is_written_from_sql() -> None:
    expected = removal.removal()
    written = {name: (removal.FOLDER / name).read_text(encoding="utf-8") for name in expected}
    assert written == expected, "run `make migration`"


def test_migration_files_have_names_for_the_cli() -> None:
    for path in schema.MIGRATIONS.iterdir():
        assert re.fullmatch(r"\d{14}_[a-z0-9_]+\.sql", path.name)
