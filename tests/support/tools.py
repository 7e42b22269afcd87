"""Programs from npm for some tests: Deno, the Supabase CLI, PostgREST. Tests of a missing one are skipped."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from threadline_devstack import npm
from threadline_devstack import postgrest as fetched

FOLDER = Path(__file__).parents[1]
MODULES = FOLDER / "node_modules"
PLACES = {"deno": "@deno/*/deno", "supabase": "@supabase/cli-*/bin/supabase"}


def deno() -> Path | None:
    """Return the path of Deno, or None."""
    return find("deno")


def postgrest() -> Path | None:
    """Return the path of the PostgREST that the devstack runs, or None."""
    return find("postgrest")


def supabase_cli() -> Path | None:
    """Return the path of the Supabase CLI, or None."""
    return find("supabase")


def supabase(folder: Path | str, *command: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the Supabase CLI in a folder, on the database of a URL, and return its status and output.

    The folder is its home too, so that it reads no settings of this machine.
    """
    remote = [f"--remote={url}?sslmode=disable"] if url else []
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"], "DO_NOT_TRACK": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [supabase_cli(), *command, *remote],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def node() -> Path | None:
    """Return the path of Node, or None: that of this machine, or that of the wheel with npm."""
    wheel = npm.program_of_wheel()
    found = shutil.which("node") or (wheel and wheel[0])
    return Path(found) if found else None


def chromium() -> Path | None:
    """Return the path of Chromium, or None: if possible without its windows, which take two thirds of its CPU time."""
    names = ("chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return next((Path(found) for name in names if (found := shutil.which(name))), None)


def run_script(script: Path) -> list[str | Path]:
    """Return the command that runs a script under Deno with only the packages of tests/package.json."""
    shutil.copy(FOLDER / "package.json", script.parent)
    (script.parent / "node_modules").symlink_to(MODULES)
    rights = ("--allow-net=127.0.0.1", "--allow-env", "--allow-read")
    return [deno(), "run", "--no-lock", "--node-modules-dir=manual", *rights, script]


def why_not(name: str) -> str:
    """Return one line that says why a program is missing."""
    if name == "chromium":
        return "chromium is not on the PATH: apt-get install chromium-headless-shell"
    if name == "postgrest":
        return f"PostgREST is not here: {fetched.advice()}"
    return f"{name} is neither on the PATH nor in tests/node_modules: {install() or 'npm has none for this machine'}"


@cache
def find(name: str) -> Path | None:
    """Find a program that runs here: the locked version, or else one on the PATH."""
    if name == "postgrest":
        program = fetched.find()
        return program if program and runs(program) else None
    install()
    candidates = sorted(MODULES.glob(PLACES[name]))
    if on_path := shutil.which(name):
        candidates.append(Path(on_path))
    return next((path for path in candidates if runs(path)), None)


def runs(program: Path) -> bool:
    """Check whether a program runs on this machine, once: the Supabase CLI takes a second of CPU time to start."""
    try:
        mark = MODULES / f".runs-{program.name}-{program.stat().st_mtime_ns}"
        if mark.exists():
            return True
        is_right = subprocess.run([program, "--version"], capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
    if is_right and MODULES.is_dir():
        mark.touch()
    return is_right


@cache
def install() -> str:
    """Install tests/node_modules from the lock file if it is outdated. Return the error, or ''."""
    mark = MODULES / ".installed"
    with (FOLDER / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # concurrent test runs take turns
        wanted = hashlib.sha256(lock.read()).hexdigest()
        if mark.exists() and mark.read_text() == wanted:
            return ""
        if problem := npm.ci(FOLDER):
            return problem
        mark.write_text(wanted)
    return ""
