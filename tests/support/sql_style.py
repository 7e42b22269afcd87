"""Check the style of the SQL files that changed since they last passed; used by `make lint`."""

import hashlib
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from tests.support.schema import ROOT

PLACES = ("sql", "supabase/migrations", "supabase/snippets", "seed.sql", "devstack/threadline_devstack")
IGNORED = (ROOT / ".sqlfluffignore").read_text(encoding="utf-8").splitlines()
# One digest a line, of each file that passed and of what decides about it.
PASSED = Path(sys.prefix) / ".sql-style"


def files() -> Iterator[Path]:
    """Yield the SQL files whose style counts."""
    for place in map(ROOT.joinpath, PLACES):
        found = sorted(place.rglob("*.sql")) if place.is_dir() else [place]
        yield from (path for path in found if path.relative_to(ROOT).as_posix() not in IGNORED)


def digest(path: Path) -> str:
    """Return a digest of a file, the rules, and the linter's version."""
    rules = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["sqlfluff"]
    return hashlib.sha256(f"{version('sqlfluff')} {rules} {path.read_text(encoding='utf-8')}".encode()).hexdigest()


def main() -> int:
    """Lint what changed, and remember it if it passes."""
    digests = {path: digest(path) for path in files()}
    passed = PASSED.read_text().split() if PASSED.exists() else []
    changed = [path.relative_to(ROOT) for path, each in digests.items() if each not in passed]
    if changed:
        command = [Path(sys.prefix) / "bin" / "sqlfluff", "lint", "--processes", "2", "--disable-progress-bar"]
        if status := subprocess.run([*command, *changed], cwd=ROOT, check=False).returncode:
            return status
    PASSED.write_text("\n".join(digests.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
