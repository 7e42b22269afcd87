"""The shipped types match the database, and both languages accept them."""

import os
import runpy
import subprocess
from pathlib import Path

import pytest

from tests.support import tools, types
from tests.support.cluster import TestCluster

MISSING = next((name for name in ("deno", "supabase") if tools.find(name) is None), None)
pytestmark = pytest.mark.skipif(MISSING is not None, reason=f"there is no {MISSING}")

USE = """
import type { Database } from "./database.ts";
type Public = Database["public"];
const person: Public["Tables"]["people"]["Insert"] = { full_name: "Ann", phone: "+1" };
const preview: Public["Tables"]["conversations"]["Row"]["last_message_preview"] = null;
// @ts-expect-error: it is a table of no client
type Keys = Public["Tables"]["messaging_keys"];
console.log(person, preview);
"""


def test_types_match_the_database(cluster: TestCluster, template: str) -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in types.FOLDER.iterdir()}
    assert types.generate(cluster.url(template, "postgres")) == written, "run `make types`"


def test_typescript_accepts_the_types(tmp_path: Path) -> None:
    (tmp_path / "database.ts").write_text((types.FOLDER / "database.ts").read_text())
    (tmp_path / "use.ts").write_text(USE)
    result = subprocess.run(
        [tools.deno(), "check", tmp_path / "use.ts"],
        env={"HOME": os.environ["HOME"], "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_python_accepts_the_types() -> None:
    models = runpy.run_path(str(types.FOLDER / "database.py"))
    person = {"full_name": "Ann", "phone": "+1", "user_id": None}
    with pytest.raises(ValueError, match="user_id"):
        models["PublicPeople"].model_validate(person)
