"""docs/reference/twins.md: its calls run, and its receivers accept only genuine deliveries."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.docs.test_messages_document import seeded
from tests.support import tools
from tests.support.calls import call, send
from tests.support.cluster import TestCluster
from tests.support.schema import ROOT
from tests.support.stack import RunningStack
from tests.support.world import CHANNEL, TWIN

__all__ = ["seeded"]

TEXT = (ROOT / "docs" / "reference" / "twins.md").read_text(encoding="utf-8")
CALLS = re.findall(r"```bash\n(curl .+?)```", TEXT, re.DOTALL)
PYTHON, JAVASCRIPT = (re.findall(rf"```{name}\n(.+?)```", TEXT, re.DOTALL)[0] for name in ("python", "js"))
CHECK = """
import { readFileSync } from "node:fs";
import { isGenuine } from "./receiver.mjs";
const cases = JSON.parse(readFileSync(0));
console.log(JSON.stringify(cases.map(([headers, body, secret]) => isGenuine(headers, Buffer.from(body), secret))));
"""


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_twins_document_calls_succeed_in_order(seeded: RunningStack) -> None:
    assert len(CALLS) == 5
    token = seeded.token("matty@example.com")
    answers = []
    for block in CALLS:
        command = block.replace("http://127.0.0.1:54321", seeded.api_url)
        command = command.replace("$(.venv/bin/threadline token matty@example.com)", token)
        result = subprocess.run(
            ["sh", "-c", command.rstrip() + " --silent --fail"], capture_output=True, text=True, timeout=60, check=True
        )
        answers.append(json.loads(result.stdout)["data"])
    first, rotated, dead, replayed, removed = answers
    assert len({first["secret"], rotated["secret"]}) == 2
    assert (dead, replayed, removed) == ([], {"replayed": 0}, {"ai_twin_id": TWIN})


@pytest.fixture
def deliveries(cluster: TestCluster, fresh_database: str) -> list[tuple[dict[str, str], str, str]]:
    """Return deliveries (headers, body, secret): three genuine ones, two of them during a rotation, and four fakes."""
    with psycopg.connect(cluster.url(fresh_database, "postgres")) as db:
        secret = call(db, "set_twin_webhook", ai_twin_id=TWIN, url="https://twin.example/hook").data["secret"]
        send(db, "Gr\u00fc\u00dfe \U0001f600", who="b0b0b0b0-0000-4000-8000-000000000002", channel_id=CHANNEL)
        [delivery] = call(db, "claim_deliveries", None).data
        newer = call(db, "rotate_twin_secret", ai_twin_id=TWIN).data["secret"]
        db.execute("update private.twin_queues set due_at = now()")
        [again] = call(db, "claim_deliveries", None).data
        db.rollback()
    headers, body = delivery["headers"], delivery["body"]
    stale = headers | {"threadline-signature": re.sub(r"t=\d+", f"t={int(time.time()) - 301}", signature(headers))}
    return [
        (headers, body, secret),
        (again["headers"], again["body"], secret),
        (again["headers"], again["body"], newer),
        (headers, body + " ", secret),
        (headers, body, newer),
        (headers | {"threadline-signature": signature(headers)[:-1]}, body, secret),
        (stale, body, secret),
    ]


def signature(headers: dict[str, str]) -> str:
    return headers["threadline-signature"]


def test_documented_python_verifies_a_delivery(deliveries: list[tuple[dict[str, str], str, str]]) -> None:
    receiver: dict[str, Any] = {}
    exec(PYTHON, receiver)
    found = [receiver["is_genuine"](headers, body.encode(), secret) for headers, body, secret in deliveries]
    assert found == [True] * 3 + [False] * 4


@pytest.mark.skipif(tools.node() is None, reason="there is no node")
def test_documented_javascript_verifies_a_delivery(
    deliveries: list[tuple[dict[str, str], str, str]], tmp_path: Path
) -> None:
    (tmp_path / "receiver.mjs").write_text(JAVASCRIPT, encoding="utf-8")
    (tmp_path / "check.mjs").write_text(CHECK, encoding="utf-8")
    result = subprocess.run(
        [tools.node(), tmp_path / "check.mjs"],
        input=json.dumps(deliveries),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(result.stdout) == [True] * 3 + [False] * 4
