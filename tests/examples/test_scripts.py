import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("script", ["whatsapp_import.py", "telegram_import.py"])
def test_script_runs_without_dependencies(script: str) -> None:
    # -S -E: no site-packages and no PYTHONPATH, as on a machine that has only Python.
    command = [sys.executable, "-S", "-E", EXAMPLES / script, "--help"]
    assert "--dry-run" in subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("script", ["whatsapp_import.py", "telegram_import.py"])
def test_script_reports_a_problem_in_one_line(script: str) -> None:
    done = subprocess.run([sys.executable, EXAMPLES / script, EXAMPLES], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
