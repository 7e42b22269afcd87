"""Run the stack from the sources, and again after each change: `make dev`.

A change of api/ or devstack/ starts the stack again. A change of sql/ or seed.sql rebuilds the database: its
migrations are written from sql/ into a folder of their own, so that supabase/migrations stays as it is.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.support import migration, schema

PROJECT = schema.ROOT / ".threadline" / "dev"
PROGRAM = Path(sys.executable).with_name("threadline")
HOME = PROJECT / "home"
ENVIRONMENT = {**os.environ, "THREADLINE_PROJECT": str(PROJECT), "THREADLINE_HOME": str(HOME)}
PAUSE = 0.3  # seconds between two looks at the files


def take_times(*places: str) -> dict[Path, int]:
    """Return when each source below these places was written."""
    files = [path for place in places for path in [schema.ROOT / place, *(schema.ROOT / place).rglob("*")]]
    times = {}
    for path in files:
        if path.suffix in {".py", ".sql", ".yaml", ".html"}:
            with suppress(FileNotFoundError):  # editors replace files
                times[path] = path.stat().st_mtime_ns
    return times


def write_project() -> bool:
    """Write the migrations and the seed of this moment; return whether they differ from the last ones."""
    files = {f"supabase/migrations/{name}": text for name, text in migration.initial().items()}
    files["seed.sql"] = (schema.ROOT / "seed.sql").read_text(encoding="utf-8")
    (PROJECT / "supabase" / "migrations").mkdir(parents=True, exist_ok=True)
    is_new = False
    for name, text in files.items():
        path = PROJECT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            is_new = True
    return is_new


def start() -> subprocess.Popen:
    """Start the stack."""
    return subprocess.Popen([PROGRAM, "up"], env=ENVIRONMENT)


def stop(stack: subprocess.Popen) -> None:
    """End the stack and wait for it."""
    stack.terminate()
    stack.wait()


def reset() -> None:
    """Rebuild the database if its sources differ; if they are wrong, leave it as it is and print why."""
    try:
        is_new = write_project()
    except Exception as error:  # noqa: BLE001 - the parser says what is wrong, and the developer tries again
        print(f"sql/ cannot be read: {error}", flush=True)
        return
    if is_new and HOME.exists():
        subprocess.run([PROGRAM, "db", "reset"], env=ENVIRONMENT, check=False)


def changed(before: dict[Path, int], now: dict[Path, int]) -> str:
    """Return the first file that differs."""
    path = next(path for path in sorted(before | now) if before.get(path) != now.get(path))
    return str(path.relative_to(schema.ROOT))


def main() -> None:
    """Run until Ctrl-C."""
    reset()
    code, database = take_times("api", "devstack"), take_times("sql", "seed.sql")
    stack = start()
    try:
        while True:
            time.sleep(PAUSE)
            if (now := take_times("api", "devstack")) != code:
                print(f"\n{changed(code, now)} changed: starting again.", flush=True)
                stop(stack)
                code, stack = now, start()
            if (now := take_times("sql", "seed.sql")) != database:
                print(f"\n{changed(database, now)} changed: rebuilding the database.", flush=True)
                database = now
                reset()
    except KeyboardInterrupt:
        stack.wait()  # Ctrl-C reaches it too


if __name__ == "__main__":
    main()
