"""A project at any release upgrades to the newest state and loses no data.

Before the first release, the current state stands for one.
"""

import re
from pathlib import Path

import pytest

from tests.support import release, schema
from tests.support.cluster import TestCluster

FILES = sorted(schema.MIGRATIONS.glob("*.sql"))
RECORDS = sorted(release.FOLDER.glob("*.sql"))
NONE_YET = pytest.mark.skip(reason="nothing has been released yet")
GOOD = "alter table public.people add column planted text not null default ''"
BAD = {
    "public.message_reactions": "delete from public.message_reactions where true",
    "public.people": "alter table public.people drop column created_at",
    "public.message_edits": "drop table public.message_edits",
    "public.conversations": "update public.conversations set participant_name = 'changed'",
}


@pytest.fixture(scope="module")
def today(cluster: TestCluster, template: str) -> str:
    """Record the current state as a release."""
    database = cluster.create(template)
    release.fill(cluster.url(database, "postgres"))
    return release.record(cluster.url(database), cluster.binaries, FILES)


@pytest.fixture(scope="module")
def restored(cluster: TestCluster, today: str) -> str:
    """Create a database in the state of that release."""
    return release.restore(cluster, today, FILES)


def upgrade(cluster: TestCluster, left: str, files: list[Path]) -> tuple[str, list[str]]:
    """Copy a database, apply these migrations, and return its name and the tables that lost rows."""
    database = cluster.create(left)
    before = release.read_tables(cluster.url(database))
    assert before["public.messages"]
    assert before["public.conversation_messages"]
    release.migrate(cluster, database, files)
    return database, release.losses(before, release.read_tables(cluster.url(database)))


def planted(folder: Path, statement: str) -> Path:
    """One more migration."""
    path = folder / "99990101000000_planted.sql"
    path.write_text(statement)
    return path


@pytest.mark.parametrize("record", RECORDS or [pytest.param(None, marks=NONE_YET)], ids=lambda path: path and path.stem)
def test_release_upgrades_to_the_newest_state(cluster: TestCluster, template: str, record: Path) -> None:
    database, lost = upgrade(cluster, release.restore(cluster, record.read_text(encoding="utf-8"), FILES), FILES)
    assert lost == []
    dumps = [schema.dump(cluster.url(name), cluster.binaries) for name in (database, template)]
    assert not schema.difference(*dumps, ("upgraded", "new"))


def test_release_record_is_restored_whole(cluster: TestCluster, today: str, restored: str) -> None:
    database, lost = upgrade(cluster, restored, FILES)
    assert lost == []
    assert release.record(cluster.url(database), cluster.binaries, FILES) == today


def test_additive_migration_loses_nothing(cluster: TestCluster, restored: str, tmp_path: Path) -> None:
    _, lost = upgrade(cluster, restored, [*FILES, planted(tmp_path, GOOD)])
    assert lost == []


def test_upgrade_test_finds_each_loss(cluster: TestCluster, restored: str, tmp_path: Path) -> None:
    _, lost = upgrade(cluster, restored, [*FILES, planted(tmp_path, ";\n".join(BAD.values()))])
    assert set(BAD) <= set(lost)


def test_released_migrations_do_not_change() -> None:
    now = {file.name: release.checksum(file) for file in FILES}
    for record in RECORDS:
        assert release.recorded_migrations(record.read_text(encoding="utf-8")).items() <= now.items(), record.name


def test_every_release_has_a_record() -> None:
    released = re.findall(r"^## (\d+\.\d+\.\d+)", (schema.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert {record.stem for record in RECORDS} == set(released), "run `make release` for each"
