"""The calls of the messages document and their documented answers; only address and token differ.

In `examples/messages`, a `.sh` is a documented call and the `.json` beside it the documented answer.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import claude as stand_in
from tests.support.schema import ROOT
from tests.support.service import serving
from tests.support.sessions import session
from tests.support.stack import RunningStack

FOLDER = Path(__file__).parent / "examples" / "messages"
DOCUMENTED_URL = "https://api.lvng.ai"
DOCUMENTED_TOKEN = "YOUR_JWT_TOKEN"
STATUSES = {"create": 201, "send": 201, "thread": 201}
TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
# Values that must match exactly; all others must only match the documented form.
PROMISED = {
    "channel_id", "content", "content_type", "user_id", "ai_twin_id", "parent_message_id", "message_id", "emoji",
    "limit", "offset", "page", "pinned", "pinned_by", "source", "priority",
}  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest.fixture
def seeded(stack: RunningStack) -> RunningStack:
    """Restore the messages of seed.sql on the stack."""
    seed = (ROOT / "seed.sql").read_text(encoding="utf-8")
    with session(stack.database_url()) as connection:
        connection.execute(
            "delete from public.channels; delete from public.ai_twins; delete from private.request_counts"
        )
        connection.execute(seed[seed.index("insert into public.channels") :])
    return stack


@pytest.fixture(scope="module")
def api_url(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a service with a model, which the stack's service lacks."""
    with stand_in.running() as claude:
        environment = {
            "SUPABASE_URL": stack.api_url,
            "SUPABASE_PUBLISHABLE_KEY": stack.keys["PUBLISHABLE_KEY"],
            "ANTHROPIC_API_KEY": stand_in.KEY,
            "ANTHROPIC_BASE_URL": claude.url,
        }
        log = tmp_path_factory.mktemp("documented") / "log"
        with serving(stack.database_url("authenticator"), log, **environment) as service:
            yield service.url


def run(stack: RunningStack, name: str, tmp_path: Path, api_url: str | None = None) -> tuple[int, Any]:
    """Make a documented call as Matty; return status and body."""
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7\n% the report")
    (tmp_path / "chart.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100))
    text = (FOLDER / f"{name}.sh").read_text(encoding="utf-8")
    assert DOCUMENTED_URL in text
    assert DOCUMENTED_TOKEN in text
    script = tmp_path / f"{name}.sh"
    text = text.replace(DOCUMENTED_URL, api_url or stack.api_url).replace(
        DOCUMENTED_TOKEN, stack.token("matty@example.com")
    )
    script.write_text(text.rstrip() + " \\\n  --silent --write-out '\\n%{http_code}'\n", encoding="utf-8")
    result = subprocess.run(["sh", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    body, status = result.stdout.rsplit("\n", 1)
    return int(status), json.loads(body)


def differences(documented: Any, found: Any, where: str = "") -> list[str]:
    """Return differences from the documented answer: missing keys, other forms, other promised values."""
    name = where.rsplit(".", 1)[-1]
    if isinstance(documented, dict) and isinstance(found, dict):
        missing = [f"{where}.{key} is missing" for key in documented.keys() - found.keys()]
        shared = documented.keys() & found.keys()
        return missing + [text for key in shared for text in differences(documented[key], found[key], f"{where}.{key}")]
    if isinstance(documented, list) and isinstance(found, list):
        return [text for one in found for text in differences(documented[0], one, f"{where}[]")] if documented else []
    if name in PROMISED and "[]" not in where:
        return [] if documented == found else [f"{where} is {found!r}, not {documented!r}"]
    if isinstance(documented, str) and re.fullmatch(TIME, documented):
        return [] if re.fullmatch(TIME, str(found)) else [f"{where} is {found!r}, no time"]
    is_same = type(documented) is type(found) or documented is None or (found is None and "[]" in where)
    return [] if is_same else [f"{where} is {found!r}, not as {documented!r}"]


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.sh")))
def test_documented_call_returns_the_documented_answer(
    seeded: RunningStack, api_url: str, name: str, tmp_path: Path
) -> None:
    status, body = run(seeded, name, tmp_path, api_url)
    assert status == STATUSES.get(name, 200), body
    assert differences(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")), body) == []


def test_calls_of_the_document_succeed_in_order(seeded: RunningStack, tmp_path: Path) -> None:
    names = ["create", "send", "history", "get", "edit", "pin", "react", "thread", "delete"]
    answers = {name: run(seeded, name, tmp_path) for name in names}
    assert {name: status for name, (status, _) in answers.items()} == {name: STATUSES.get(name, 200) for name in names}
    assert answers["history"][1]["meta"]["total"] == 6
    assert run(seeded, "get", tmp_path)[0] == 404
