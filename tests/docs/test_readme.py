"""Every call in the README runs as it stands there, but for the port and the token."""

import json
import re
import shutil
import subprocess

import pytest

from tests.support import tools
from tests.support.schema import ROOT
from tests.support.stack import RunningStack

BLOCKS = re.findall(r"```bash\n(curl .+?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: re.search(r'\d/([^"?]+)', block)[1])
def test_a_call_of_the_readme_succeeds(stack: RunningStack, block: str) -> None:
    if "/rest/v1" in block and tools.postgrest() is None:
        pytest.skip("no PostgREST on this machine")
    command = block.replace("http://127.0.0.1:54321", stack.api_url).replace(
        "$(.venv/bin/threadline token matty@example.com)", stack.token("matty@example.com")
    )
    result = subprocess.run(
        ["sh", "-c", command.rstrip() + " --silent --fail"], capture_output=True, text=True, timeout=60, check=True
    )
    answer = json.loads(result.stdout)
    assert isinstance(answer, list) or answer["success"]


def test_the_readme_shows_calls() -> None:
    assert len(BLOCKS) == 3
