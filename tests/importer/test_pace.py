"""A large history against the real service: killed in the middle, started again, in bounded memory."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.importer.reading import NUMBER
from tests.support.forking import PROGRAM
from tests.support.ingest import Sender
from tests.support.sessions import session
from tests.support.soak import bounded

MESSAGES = bounded(8_000, 1_000_000)
MOST_MEMORY = 150_000_000  # bytes, whatever the size of the file
COUNT = """
select count(*) from public.conversation_messages as stored
join public.conversations as parent on parent.id = stored.conversation_id
where parent.user_id = %s
"""


@pytest.fixture
def history(tmp_path: Path) -> Path:
    file = tmp_path / "WhatsApp Chat with Ada.txt"
    with file.open("w") as target:
        target.writelines(lines())
    return file


def lines() -> Iterator[str]:
    """Write five messages a minute, every third of them twice."""
    start = int(time.mktime((2020, 1, 31, 8, 0, 0, 0, 0, 0)))
    for number in range(MESSAGES):
        at = time.strftime("%d/%m/%Y, %H:%M", time.localtime(start + number // 5 * 60))
        said = "thanks" if number % 5 in (1, 3) else f"message {number}\nwith a second line"
        yield f"{at} - {'Ada' if number % 2 else 'Shop'}: {said}\n"


def start(history: Path, sender: Sender, state: Path) -> subprocess.Popen:
    command = [PROGRAM, "import", history, "--me", "Shop", "--participant", NUMBER, "--timezone", "UTC", "--json"]
    command += ["--connection", sender.connection_id, "--url", str(sender.client.base_url), "--key", sender.secret]
    environment = {**os.environ, "XDG_STATE_HOME": str(state), "no_proxy": "127.0.0.1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def count(sender: Sender) -> int:
    with session(sender.database_url) as connection:
        return connection.execute(COUNT, [sender.user_id]).fetchone()[0]


@pytest.mark.timeout(bounded(120, 7200))
def test_killed_import_loses_and_doubles_nothing(sender: Sender, history: Path, tmp_path: Path) -> None:
    first = start(history, sender, tmp_path)
    while count(sender) < MESSAGES // 4:
        assert first.poll() is None
        time.sleep(0.05)
    first.kill()
    first.communicate()
    assert count(sender) < MESSAGES

    began, memory = time.monotonic(), 0
    second = start(history, sender, tmp_path)
    running = psutil.Process(second.pid)
    while second.poll() is None:
        try:
            memory = max(memory, running.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.2)
    found = json.loads(second.communicate()[0])
    assert (second.returncode, found["ok"]) == (0, True)
    assert found["sent"]["skipped"] > 0
    assert found["sent"]["skipped"] + found["sent"]["messages"] == MESSAGES
    assert count(sender) == MESSAGES
    assert memory < MOST_MEMORY
    print(f"\n{found['sent']['messages']:,} messages in {time.monotonic() - began:.0f} s, {memory / 1e6:.0f} MB")
