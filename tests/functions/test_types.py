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


# As `tsc --strict` of an application with supabase-js checks it.
CLIENT = """
import { createClient } from "@supabase/supabase-js";
import type { Database } from "./database.ts";
const client = createClient<Database>("http://127.0.0.1", "key");
const channel_id = "550e8400-e29b-41d4-a716-446655440000";
const since = 5;
const events = await client.rpc("list_channel_events", { channel_id, since });
if (events.error) throw new Error(events.error.hint);
await client.rpc("list_messages", { channel_id, roots_only: true, limit: 20, before: "seq_9" });
await client.rpc("create_message", { channel_id, content: "x", metadata: { a: 1 } });
await client.rpc("delete_message", { id: channel_id });
await client.rpc("toggle_reaction", { id: channel_id, emoji: "fire" });
await client.rpc("mark_read", { channel_id, seq: since });
await client.rpc("list_my_channels");
await client.rpc("set_twin_webhook", { ai_twin_id: channel_id, url: "https://x.example/" });
const page = await client.from("messages").select("id, content, user_profiles(display_name, avatar_url)");
const author: string | undefined = page.data?.[0]?.user_profiles?.display_name;
const members = await client.from("channel_members").select("role, user_profiles(display_name)");
const member: string | undefined = members.data?.[0]?.user_profiles.display_name;
const reactions = await client.from("message_reactions").select("emoji, user_profiles(display_name)");
console.log(author, member, reactions.data?.[0]?.emoji);
// @ts-expect-error: it needs the channel
await client.rpc("list_messages", { limit: 20 });
// @ts-expect-error: a number
await client.rpc("list_channel_events", { channel_id, since: "5" });
// @ts-expect-error: no such function
await client.rpc("list_nothing", { channel_id });
"""
TSC = (
    *("--strict", "--noEmit", "--skipLibCheck", "--allowImportingTsExtensions"),
    *("--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable"),
)


def test_supabase_js_accepts_every_named_call(tmp_path: Path) -> None:
    (tmp_path / "database.ts").write_text((types.FOLDER / "database.ts").read_text())
    (tmp_path / "use.ts").write_text(CLIENT)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(tools.MODULES)
    tsc = [tools.deno(), "run", "-A", "--no-lock", "--node-modules-dir=manual", tools.MODULES / "typescript/bin/tsc"]
    result = subprocess.run(
        [*tsc, *TSC, "use.ts"],
        cwd=tmp_path,
        env={**os.environ, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


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
