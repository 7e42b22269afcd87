"""Run the followers of examples/live as processes and read the events that they print."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import tools
from tests.support.schema import ROOT


def python() -> list[str]:
    """Return the command that runs the Python follower."""
    if tools.postgrest() is None:
        pytest.skip(tools.why_not("postgrest"))
    return [sys.executable, str(ROOT / "examples" / "live" / "follow.py")]


def javascript(folder: Path) -> list[str]:
    """Return the command that runs a copy of the JavaScript follower with the packages of tests/package.json."""
    for name, found in {"deno": tools.deno(), "postgrest": tools.postgrest()}.items():
        if found is None:
            pytest.skip(tools.why_not(name))
    for name in ("examples/live", "packages/follow-js"):
        shutil.copytree(ROOT / name, folder / name)
    script = folder / "examples" / "live" / "follow.mjs"
    return [str(word) for word in tools.run_script(script)]


@contextmanager
def following(command: list[str], url: str, key: str, token: str, channel_id: str) -> Iterator[list[dict[str, Any]]]:
    """Run a follower of a channel for the block; yield the list of events that it has printed so far.

    Args:
        command: how it is run, without its arguments.
        url: of the stack, or of a line to it.
        key: the publishable key.
        token: of the member that it follows as.
        channel_id: the channel.
    """
    process = subprocess.Popen(
        [*command, url, key, channel_id, "0"],
        env={
            **os.environ,
            "ACCESS_TOKEN": token,
            "PYTHONPATH": str(ROOT / "packages" / "follow-py"),
            "no_proxy": "127.0.0.1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    heard: list[dict[str, Any]] = []

    def listen() -> None:
        while text := process.stdout.readline():
            heard.append(json.loads(text))

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield heard
    finally:
        process.terminate()
        process.wait()
        listener.join()
        process.stdout.close()
