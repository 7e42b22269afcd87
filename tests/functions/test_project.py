"""The platform's tools accept the Edge Function and the project's settings."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.functions.edge import FUNCTION, MAIN
from tests.support import audit, tools
from tests.support.schema import MIGRATIONS, ROOT
from tests.support.stack import RunningStack

needs_deno = pytest.mark.skipif(tools.deno() is None, reason=tools.why_not("deno"))
needs_cli = pytest.mark.skipif(tools.supabase_cli() is None, reason=tools.why_not("supabase"))


@needs_deno
@pytest.mark.parametrize("command", ["check", "lint", "fmt --check"])
def test_deno_reports_nothing(command: str) -> None:
    files = [FUNCTION / "index.ts", MAIN]
    result = subprocess.run(
        [tools.deno(), *command.split(), "--config", FUNCTION / "deno.json", *files],
        env={"HOME": os.environ["HOME"], "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_function_imports_nothing() -> None:
    # Without imports it starts fast and needs no package registry.
    assert "import" not in (FUNCTION / "index.ts").read_text()


@needs_cli
def test_cli_reads_settings_and_migrations(stack: RunningStack, tmp_path: Path) -> None:
    for name in ("supabase", "sql"):  # the CLI writes into its working folder
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(".*"))
    shutil.copy(ROOT / "seed.sql", tmp_path)
    result = tools.supabase(tmp_path, "migration", "list", "--output-format=json", url=stack.database_url())
    assert result.returncode == 0, result.stderr
    assert "WARN" not in result.stderr  # the words with which the CLI reports an unknown setting
    for migration in MIGRATIONS.glob("*.sql"):
        assert result.stdout.count(migration.name.partition("_")[0]) == 2, result.stdout  # here and there


def test_lock_files_name_no_registry() -> None:
    modules = audit.modules()
    assert len(modules) > 50
    assert [path for path, each in modules.items() if "resolved" in each] == []
