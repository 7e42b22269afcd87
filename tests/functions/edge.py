"""The Edge Function in its own Deno process, with minimal permissions."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import tools
from tests.support.schema import ROOT

FUNCTION = ROOT / "supabase" / "functions" / "messaging-ingest"
MAIN = ROOT / "tests" / "functions" / "main.ts"
VARIABLES = "SUPABASE_URL,SUPABASE_SECRET_KEYS,SUPABASE_SERVICE_ROLE_KEY,INGEST_MAX_BYTES"
RIGHTS = ["--no-prompt", "--allow-net=127.0.0.1", f"--allow-env={VARIABLES}"]


@dataclass(frozen=True)
class EdgeFunction:
    """A running function and the file with everything it has printed."""

    url: str
    log: Path

    @property
    def lines(self) -> list[str]:
        """Return the lines that the function has printed."""
        return self.log.read_text().splitlines()[1:]  # the first is its port


@contextmanager
def serving(log: Path, *, patience: float | None = None, **environment: str) -> Iterator[EdgeFunction]:
    """Run the function for the block with these variables and, if set, another patience in seconds."""
    arguments = [str(round(patience * 1000))] if patience else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            [tools.deno(), "run", "--quiet", "--no-config", *RIGHTS, MAIN, *arguments],
            env={"HOME": os.environ["HOME"], "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield EdgeFunction(f"http://127.0.0.1:{_read_port(process, log)}", log)
    finally:
        process.kill()
        process.wait()


def _read_port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + 60
    while not (said := log.read_text()).endswith("\n"):
        assert process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.01)
    assert said.strip().isdecimal(), said
    return int(said)
