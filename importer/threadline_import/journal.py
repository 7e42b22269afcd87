"""Remembers which requests were answered, so that a run goes on where the one before stopped."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class Journal:
    """Remembers the requests of a run that did not end, so that the next run goes on behind them."""

    def __init__(self, url: str, connection: str, *, again: bool = False) -> None:
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        name = hashlib.sha256(f"{url}\n{connection}".encode()).hexdigest()[:16]
        self._path = home / "threadline" / "import" / f"{name}.done"
        self._done = set() if again or not self._path.exists() else set(self._path.read_text().split())

    def __contains__(self, digest: str) -> bool:
        """Check whether an earlier run has sent the request."""
        return digest in self._done

    def add(self, digest: str) -> None:
        """Remember an answered request."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(f"{digest}\n")

    def forget(self) -> None:
        """Forget all requests, because the run has ended."""
        self._path.unlink(missing_ok=True)
