"""The production wheel, as the Dockerfile builds it."""

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from threadline.project.shipped import migrations

from tests.support.own_project import list_migrations, make_project
from tests.support.schema import ROOT

SHIPPED = {
    *("api", "console", "packages/follow-js", "supabase/functions", "supabase/migrations"),
    *("pyproject.toml", "README.md", "LICENSE"),
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("threadline-*.whl"))


@pytest.fixture(scope="module")
def wheel(built: Path) -> ZipFile:
    return ZipFile(built)


def test_wheel_holds_the_service_and_nothing_else(wheel: ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"threadline"}
    assert "threadline/app.py" in wheel.namelist()
    service = ROOT / "api" / "threadline"
    python = {f"threadline/{file.relative_to(service)}" for file in service.rglob("*.py")}
    assert {name for name in wheel.namelist() if name.endswith(".py")} == python


def test_wheel_ships_migrations_and_function(wheel: ZipFile) -> None:
    shipped = {
        name.removeprefix("threadline/project/"): wheel.read(name) for name in wheel.namelist() if "/supabase/" in name
    }
    files = [*(ROOT / "supabase" / "migrations").iterdir(), *(ROOT / "supabase" / "functions").glob("*/*")]
    assert shipped == {file.relative_to(ROOT).as_posix(): file.read_bytes() for file in files}
    removal = {
        name.rpartition("/")[2] for name in wheel.namelist() if name.endswith(".sql") and "/supabase/" not in name
    }
    assert removal == {"keep_data.sql", "lock_tables.sql", "remove.sql", "taken_names.sql"}


def test_wheel_adds_to_a_project_from_an_empty_venv(built: Path, tmp_path: Path) -> None:
    uv, venv = Path(sys.executable).parent / "uv", tmp_path / "venv"
    install = [uv, "pip", "install", "-q", "--python", venv / "bin" / "python"]
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, venv], check=True)
    locked = [*install, "--require-hashes", "-r", ROOT / "api" / "serve.lock"]
    fetched = subprocess.run(locked, capture_output=True, text=True, check=False)
    if fetched.returncode:
        pytest.skip(f"the packages of api/serve.lock cannot be had: {fetched.stderr.splitlines()[0]}")
    subprocess.run([*install, "--no-deps", built], check=True)
    project = make_project(tmp_path / "project")
    program = venv / "bin" / "threadline"
    for command in (["add", "--yes"], ["add"], ["remove", "--yes"], ["--help"]):
        subprocess.run([program, *command], cwd=project, env={}, check=True, capture_output=True)
    assert list_migrations(project) == [
        "threadline_initial.sql", "threadline_policies.sql", "threadline_remove.sql"
    ]  # fmt: skip
    printed = subprocess.run([program, "sql"], cwd=tmp_path, env={}, check=True, capture_output=True, text=True)
    assert printed.stdout == "\n".join(each.sql for each in migrations())


def test_wheel_files_do_not_name_the_devstack(wheel: ZipFile) -> None:
    files = [name for name in wheel.namelist() if not name.endswith("/METADATA")]  # that one quotes the README
    assert [name for name in files if b"devstack" in wheel.read(name)] == []


def test_wheel_needs_none_of_what_the_devstack_needs(wheel: ZipFile) -> None:
    metadata = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
    needs = [line for line in wheel.read(metadata).decode().splitlines() if line.startswith("Requires-Dist:")]
    assert needs
    assert [line for line in needs if "postgres" in line or "bcrypt" in line or "extra ==" in line] == []


def test_wheel_registers_no_command_of_the_devstack(wheel: ZipFile) -> None:
    points = ConfigParser()
    points.read_string(
        wheel.read(next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))).decode()
    )
    assert points.sections() == ["console_scripts"]


def test_docker_context_holds_only_what_ships() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == SHIPPED
    assert not list((ROOT / "api").rglob("*devstack*"))


def test_devstack_adds_its_commands() -> None:
    result = subprocess.run([Path(sys.executable).parent / "threadline", "--help"], capture_output=True, check=True)
    names = {line.split()[0] for line in result.stdout.decode().partition("Commands:")[2].splitlines() if line}
    devstack, importer = {"db", "status", "stop", "token", "up"}, {"import"}
    assert names == {"add", "console", "doctor", "remove", "serve", "sql", "work"} | devstack | importer
