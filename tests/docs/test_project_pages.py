"""The pages about a project of one's own run as written, from add to remove, on a running stack.

Stand-ins on the PATH replace `uvx`, which would install the wheel, and `npx`, which would reach a hosted project.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from threadline import __version__

from tests.support import schema, tools
from tests.support.cluster import TestCluster
from tests.support.own_project import make_project, read_files
from tests.support.sessions import session
from tests.support.stack import RunningStack

PAGES = {name: (schema.ROOT / "docs" / "how-to" / f"{name}.md").read_text() for name in ("add", "upgrade", "remove")}
BLOCKS = {name: re.findall(r"```bash\n(.+?)```", text, re.DOTALL) for name, text in PAGES.items()}
(PLAN,) = re.findall(r"```text\n(.+?)```", PAGES["add"], re.DOTALL)
STAND_INS = {
    "uvx": 'shift 3; exec "$PYTHON" -m threadline "$@"',
    "npx": 'shift; case "$1 $2" in "functions "*) exit;; esac; exec "$SUPABASE" "$@" --yes',
}
OWN = {"20200101000000_shops.sql": "create table public.shops (id uuid primary key);\n"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("shop"), OWN)


@pytest.fixture(scope="module")
def own_stack(project: Path):
    with RunningStack(project=project) as running:
        with session(running.database_url("supabase_admin")) as db:
            db.execute("insert into auth.users (id, email) values (gen_random_uuid(), 'you@example.com')")
        yield running


def run(project: Path, stack: RunningStack, block: str, **variables: str) -> str:
    """Run a block of a page in the project and answer yes to its question."""
    programs = project.parent / "programs"
    programs.mkdir(exist_ok=True)
    for name, script in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    url = f"{stack.database_url()}?sslmode=disable"
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(project.parent),
        "PYTHON": sys.executable,
        "SUPABASE": str(tools.supabase_cli()),
        "WHEEL": "threadline.whl",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
        **variables,
    }
    text = block.replace("https://$REF.supabase.co", stack.api_url).replace("--remote", f"'--remote={url}'")
    result = subprocess.run(
        ["sh", "-ec", text], cwd=project, env=environment, input="y\n", capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def dump(cluster: TestCluster, stack: RunningStack) -> str:
    return schema.dump_all(stack.database_url("supabase_admin"), cluster.binaries)


@pytest.mark.skipif(tools.supabase_cli() is None, reason=tools.why_not("supabase"))
def test_pages_lead_from_add_to_an_equal_dump(cluster: TestCluster, own_stack: RunningStack, project: Path) -> None:
    before, config = dump(cluster, own_stack), read_files(project)["supabase/config.toml"]
    _, add, connect, ingest, _ = BLOCKS["add"]
    said = run(project, own_stack, add)
    assert re.sub(r"\d{14}", "", said).startswith(
        re.sub(r"\d{14}", "", PLAN.replace("/home/you/shop", str(project))).rstrip("\n")
    )
    (secret,) = set(re.findall(r"threadline_[\w-]{40,}", run(project, own_stack, connect)))
    answer = json.loads(run(project, own_stack, ingest, SECRET=secret))
    assert [result["status"] for result in answer["results"]] == ["created"]
    upgrade, version, _ = BLOCKS["upgrade"]
    assert "Threadline is in this project already" in run(project, own_stack, upgrade)
    assert schema_version() in run(project, own_stack, version)
    kept, dropped = BLOCKS["remove"]
    with pytest.raises(AssertionError, match="Tables of Threadline have rows"):
        run(project, own_stack, kept)
    (failed,) = project.glob("supabase/migrations/*_threadline_remove.sql")
    failed.unlink()
    run(project, own_stack, dropped)
    assert not schema.difference(before, dump(cluster, own_stack), ("before", "after"))
    assert read_files(project)["supabase/config.toml"] == config


@pytest.mark.parametrize("block", [BLOCKS["add"][4], BLOCKS["upgrade"][2]], ids=["add", "upgrade"])
def test_page_prints_the_migrations(own_stack: RunningStack, project: Path, block: str) -> None:
    printed = run(project, own_stack, block) + "".join(path.read_text() for path in project.glob("*.sql"))
    assert f"return '{schema_version()}'" in printed


def schema_version() -> str:
    """Return the newest schema version."""
    return max(path.name for path in schema.MIGRATIONS.iterdir()).partition("_")[0]


def test_readme_repeats_the_commands_of_the_page() -> None:
    readme = (schema.ROOT / "README.md").read_text(encoding="utf-8")
    for block in BLOCKS["add"][:2]:
        assert f"```bash\n{block}```" in readme


def test_pages_name_the_wheel_of_this_version() -> None:
    assert f"export WHEEL=$PWD/dist/threadline-{__version__}-py3-none-any.whl\n" in BLOCKS["add"][0]
