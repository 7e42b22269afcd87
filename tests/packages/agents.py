"""Programs that follow, in Python and in JavaScript, and what they print."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import tools
from tests.support.schema import ROOT

FOLDER = Path(__file__).parent
RIGHTS = ["--allow-net=127.0.0.1", "--allow-env", "--allow-read"]
PATIENCE = 30.0
Said = dict[str, Any]


class Agent:
    """A running follower.

    Attributes:
        process: the program.
        said: what it has printed so far.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[Said] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        while text := self.process.stdout.readline():
            self.said.append(json.loads(text))

    def wait(self, wanted: Callable[[Said], bool], patience: float = PATIENCE) -> float:
        """Wait until it has said something like this; return how long that took."""
        started = time.monotonic()
        while not any(wanted(said) for said in [*self.said]):
            assert time.monotonic() - started < patience, self.said[-5:]
            assert self.process.poll() is None or self._listener.is_alive(), self.said[-5:]
            time.sleep(0.01)
        return time.monotonic() - started

    def wait_for_seq(self, seq: int, copy: int = 1, patience: float = PATIENCE) -> float:
        """Wait for the event with this number."""
        return self.wait(lambda said: said["copy"] == copy and said.get("payload", {}).get("seq") == seq, patience)

    def wait_for_state(self, state: str, **more: Any) -> float:
        """Wait for a state."""
        return self.wait(lambda said: {"state": state, **more}.items() <= said.items())

    def events(self, copy: int = 1) -> list[Said]:
        """The events so far, as the log shows them."""
        return [
            {"event": said["event"], "payload": said["payload"]}
            for said in [*self.said]
            if said["kind"] == "event" and said["copy"] == copy
        ]

    def states(self) -> list[str]:
        """The states so far."""
        return [said["state"] for said in [*self.said] if said["kind"] == "state" and said["copy"] == 1]

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()
        self._listener.join()
        self.process.stdout.close()


def command(language: str) -> list[str]:
    """How the agent of a language is run; skips the test if that is not possible here."""
    for name, find in {"postgrest": tools.postgrest, "deno": tools.deno}.items():
        if find() is None and (name == "postgrest" or language == "javascript"):
            pytest.skip(tools.why_not(name))
    if language == "python":
        return [sys.executable, str(FOLDER / "agent.py")]
    return [
        *(str(tools.deno()), "run", "--quiet", "--no-lock", "--node-modules-dir=manual"),
        *(*RIGHTS, str(FOLDER / "agent.ts")),
    ]


@contextmanager
def following(language: str, url: str, key: str, token_file: Path, **options: Any) -> Iterator[Agent]:
    """Follow for the block, with the token that the file has at each moment."""
    process = subprocess.Popen(
        [*command(language), url, key, str(token_file), json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "packages" / "follow-py"), "no_proxy": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    agent = Agent(process)
    try:
        yield agent
    finally:
        agent.close()
