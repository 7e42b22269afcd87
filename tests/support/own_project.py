"""A user's own Supabase project as a folder, and `threadline` run in it."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from threadline.__main__ import main
from threadline.project import shipped
from threadline.project.shipped import Migration

from tests.support.migration import SET_VERSION

CONFIG = """\
# The name of this project.
project_id = "shop"

[db]
port = 54322 # for psql

# What customers call.
[functions.checkout]
verify_jwt = true

[storage]
file_size_limit = "50MiB"
"""
NEXT_VERSION = "99980101000000"


def make_project(folder: Path, migrations: dict[str, str] | None = None, config: str = CONFIG) -> Path:
    """Write a project with these migrations and return its folder."""
    (folder / "supabase" / "migrations").mkdir(parents=True)
    (folder / "supabase" / "config.toml").write_bytes(config.encode())
    for name, text in (migrations or {}).items():
        (folder / "supabase" / "migrations" / name).write_text(text)
    return folder


def threadline(folder: Path, command: str, *options: str, answer: str = "") -> Result:
    """Run a command in a project, in this process."""
    return CliRunner().invoke(main, [command, "--workdir", str(folder), *options], input=answer)


def succeed(folder: Path, command: str, *options: str) -> str:
    """Run a command that asks for nothing; check its status and return its output."""
    result = threadline(folder, command, "--yes", *options)
    assert result.exit_code == 0, result.output
    return result.output


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def list_migrations(folder: Path) -> list[str]:
    """Return the names of the migrations, without their versions."""
    return [path.name.partition("_")[2] for path in sorted((folder / "supabase" / "migrations").iterdir())]


def ship_another(patch: pytest.MonkeyPatch, sql: str) -> None:
    """Let this process stand for a newer release, which brings one more migration."""
    further = Migration(NEXT_VERSION, "next", sql + SET_VERSION.format(version=NEXT_VERSION))
    known = shipped.migrations()
    patch.setattr(shipped, "migrations", lambda: (*known, further))
