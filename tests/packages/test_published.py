"""The packages as they are published: files, types, and the programs of their READMEs and of the how-to page."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support import tools, types
from tests.support.schema import ROOT
from tests.support.stack import RunningStack

JAVASCRIPT = ROOT / "packages" / "follow-js"
PYTHON = ROOT / "packages" / "follow-py"
USE = """
import { createClient } from "@supabase/supabase-js";
import { follow, listen } from "./packages/follow-js/follow.js";
import type { Database } from "./database.ts";

const client = createClient<Database>("http://localhost", "key");
const following = follow(client, {
  topic: "user:1",
  since: "now",
  onEvent: async (event, payload) => console.log(event.length, payload.seq),
  onState: (state, { reason }) => state === "ended" && reason === "deleted",
});
const seq: number = following.seq;
const end: () => Promise<void> = listen(client, "channel:1", { received: () => 0, joined: () => 0, lost: () => 0 });
// @ts-expect-error: the handler is required
follow(client, { channelId: "1" });
console.log(seq, end);
"""


def program(page: Path, language: str) -> str:
    """Return the program of a page."""
    (found,) = re.findall(rf"```{language}\n(import .+?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return found


def needs(*names: str) -> None:
    for name in names:
        if getattr(tools, name)() is None:
            pytest.skip(tools.why_not(name))


def folder_with_packages(folder: Path) -> Path:
    shutil.copytree(JAVASCRIPT, folder / "packages" / "follow-js")
    return folder


def read_until(wanted: str, command: Sequence[object], **environment: str) -> str:
    """Run a program until it has printed something; return all that it has printed."""
    with subprocess.Popen(
        [str(word) for word in command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        alarm = threading.Timer(60, process.kill)
        alarm.start()
        printed = ""
        while wanted not in printed and (line := process.stdout.readline()):
            printed += line
        alarm.cancel()
        process.kill()
    return printed


@pytest.mark.parametrize(
    "page", [JAVASCRIPT / "README.md", ROOT / "docs" / "how-to" / "follow.md"], ids=["readme", "how-to"]
)
def test_javascript_program_of_a_page_goes_live(stack: RunningStack, tmp_path: Path, page: Path) -> None:
    needs("deno", "postgrest")
    script = folder_with_packages(tmp_path) / "program.mjs"
    text = program(page, "js").replace("http://127.0.0.1:54321", stack.api_url)
    script.write_text(text.replace('"threadline-follow"', '"./packages/follow-js/follow.js"'))
    assert "live" in read_until("live", tools.run_script(script))


def test_python_program_of_the_readme_prints_events(stack: RunningStack, tmp_path: Path) -> None:
    needs("postgrest")
    script = tmp_path / "program.py"
    script.write_text(program(PYTHON / "README.md", "python").replace("http://127.0.0.1:54321", stack.api_url))
    printed = read_until(
        "reaction.added",
        [sys.executable, script],
        ACCESS_TOKEN=stack.token("bob@example.com"),
        PYTHONPATH=str(PYTHON),
    )
    assert printed.startswith("1 member.joined None\n")
    assert "message.created Morning!" in printed


def test_python_program_of_the_how_to_goes_live(stack: RunningStack, tmp_path: Path) -> None:
    needs("postgrest")
    script = tmp_path / "program.py"
    page = ROOT / "docs" / "how-to" / "follow.md"
    script.write_text(program(page, "python").replace("http://127.0.0.1:54321", stack.api_url))
    assert "live" in read_until("live", [sys.executable, script], PYTHONPATH=str(PYTHON))


def test_typescript_accepts_the_declarations(tmp_path: Path) -> None:
    needs("deno")
    script = folder_with_packages(tmp_path) / "use.ts"
    script.write_text(USE)
    shutil.copy(types.FOLDER / "database.ts", tmp_path)
    command = tools.run_script(script)
    result = subprocess.run(
        [command[0], "check", "--no-lock", "--node-modules-dir=manual", script],
        env={"HOME": os.environ["HOME"], "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr


def test_npm_package_holds_what_its_modules_import() -> None:
    package = json.loads((JAVASCRIPT / "package.json").read_text(encoding="utf-8"))
    files = set(package["files"])
    assert {file.name for file in JAVASCRIPT.iterdir()} == files | {"package.json", "README.md", "LICENSE"}
    assert {entry.removeprefix("./") for entry in package["exports"]["."].values()} <= files
    for name in files - {"follow.d.ts"}:
        imported = re.findall(r'from "(.+?)"', (JAVASCRIPT / name).read_text(encoding="utf-8"))
        assert {module.removeprefix("./") for module in imported} <= files


def test_wheel_holds_the_typed_package(tmp_path: Path) -> None:
    source = shutil.copytree(PYTHON, tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run(command, check=True, capture_output=True)
    with ZipFile(next(tmp_path.glob("threadline_follow-*.whl"))) as wheel:
        files = [name.partition("/")[2] for name in wheel.namelist() if name.startswith("threadline_follow/")]
    assert sorted(files) == ["__init__.py", "changes.py", "following.py", "log.py", "py.typed", "topic.py"]


def test_both_packages_have_one_version_and_licence() -> None:
    package = json.loads((JAVASCRIPT / "package.json").read_text(encoding="utf-8"))
    project = (PYTHON / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{package["version"]}"' in project
    assert f'license = "{package["license"]}"' in project
    assert (JAVASCRIPT / "LICENSE").read_bytes() == (PYTHON / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
