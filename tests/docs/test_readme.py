"""Every call and program of the README runs; only port and token differ."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support import tools
from tests.support.schema import ROOT
from tests.support.stack import RunningStack

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(curl .+?)```", README, re.DOTALL)
PROGRAMS = dict(re.findall(r"```(js|python)\n(.+?)```", README, re.DOTALL))
CHANNEL = "550e8400-e29b-41d4-a716-446655440000"
MESSAGE = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.search(r'\d/([^"?]+)', block)[1])
def test_readme_call_succeeds(stack: RunningStack, block: str) -> None:
    if "/rest/v1" in block and tools.postgrest() is None:
        pytest.skip(tools.why_not("postgrest"))
    command = block.replace("http://127.0.0.1:54321", stack.api_url).replace(
        "$(.venv/bin/threadline token matty@example.com)", stack.token("matty@example.com")
    )
    if "/thread" in block:
        # Other tests on this stack delete messages of the seed.
        command = command.replace(MESSAGE, post(stack, "A question"))
    result = subprocess.run(
        ["sh", "-c", command.rstrip() + " --silent --fail-with-body"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    answer = json.loads(result.stdout)
    assert isinstance(answer, list) or answer["success"]


def post(stack: RunningStack, content: str) -> str:
    """Post a message in the channel of the seed; return its id."""
    answer = httpx.post(
        f"{stack.api_url}/api/v2/messages",
        json={"channel_id": CHANNEL, "content": content},
        headers={"authorization": f"Bearer {stack.token('matty@example.com')}"},
    )
    return answer.raise_for_status().json()["data"]["id"]


def test_readme_replies_to_a_message_of_the_seed() -> None:
    assert f"/messages/{MESSAGE}/thread" in README
    assert MESSAGE in (ROOT / "seed.sql").read_text(encoding="utf-8")


def test_readme_contains_calls() -> None:
    assert len(BLOCKS) == 4


def program(language: str, folder: Path, api_url: str) -> list[str | Path]:
    """The command that runs a program of the README on that stack."""
    text = PROGRAMS[language].replace("http://127.0.0.1:54321", api_url)
    if language == "python":
        (folder / "hear.py").write_text(text)
        return [sys.executable, folder / "hear.py"]
    if tools.deno() is None:
        pytest.skip(tools.why_not("deno"))
    script = folder / "hear.mjs"
    script.write_text(text)
    return tools.run_script(script)


@pytest.mark.parametrize("language", ["js", "python"])
def test_readme_program_receives_a_message(stack: RunningStack, tmp_path: Path, language: str) -> None:
    process = subprocess.Popen(
        program(language, tmp_path, stack.api_url),
        env={**os.environ, "no_proxy": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert "SUBSCRIBED" in process.stdout.readline()
        said = f"Said {uuid4()}"
        post(stack, said)
        assert process.stdout.readline().strip() == said
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
