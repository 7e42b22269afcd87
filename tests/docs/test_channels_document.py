"""docs/how-to/channels.md: each of its three ways makes a channel, a member, a twin and a connection."""

import os
import re
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.support import tools
from tests.support.schema import ROOT
from tests.support.sessions import session
from tests.support.stack import RunningStack

TEXT = (ROOT / "docs" / "how-to" / "channels.md").read_text(encoding="utf-8")
SETUP, CURL, JAVASCRIPT, SQL = re.findall(r"```(?:bash|js|sql)\n(.+?)```", TEXT, re.DOTALL)
URL = "http://127.0.0.1:54321"
COUNTS = """
select
    (select count(*) from public.channels),
    (select count(*) from public.channel_members),
    (select count(*) from public.channel_twins),
    (select count(*) from public.messaging_connections)
"""

needs_data_api = pytest.mark.skipif(tools.postgrest() is None, reason=tools.why_not("postgrest"))


def count(stack: RunningStack) -> tuple[int, ...]:
    with session(stack.database_url()) as db:
        return db.execute(COUNTS).fetchone()


def grown(stack: RunningStack, before: tuple[int, ...]) -> list[int]:
    return [now - then for now, then in zip(count(stack), before, strict=True)]


@needs_data_api
def test_curl_creates_all_of_it(stack: RunningStack) -> None:
    before = count(stack)
    script = (SETUP + CURL).replace(URL, stack.api_url)
    script = script.replace("$(.venv/bin/threadline token matty@example.com)", stack.token("matty@example.com"))
    result = subprocess.run(["sh", "-e"], input=script, capture_output=True, text=True, check=True, timeout=60)
    assert '"code"' not in result.stdout
    assert '"name":"general"' in result.stdout
    assert "threadline_" in result.stdout
    assert grown(stack, before) == [2, 3, 1, 1]


@needs_data_api
@pytest.mark.skipif(tools.deno() is None, reason=tools.why_not("deno"))
def test_javascript_creates_all_of_it(stack: RunningStack, tmp_path: Path) -> None:
    before = count(stack)
    (tmp_path / "create.mjs").write_text(JAVASCRIPT.replace(URL, stack.api_url))
    command = tools.run_script(tmp_path / "create.mjs")
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert re.fullmatch(r"general threadline_\S+\n", result.stdout), result.stderr
    assert grown(stack, before) == [1, 2, 1, 1]


def test_sql_creates_all_of_it(stack: RunningStack) -> None:
    with psycopg.connect(stack.database_url()) as db:
        for connection in ("my_wechat", "my_second_wechat"):
            before = count(stack)
            db.execute(SQL.replace("my_wechat", connection))
            db.commit()
            assert grown(stack, before) == [1, 2, 1, 1]


def test_page_repeats_no_connection_of_the_readme() -> None:
    made = re.compile(r"create_messaging_connection\W.*?(my_\w+|team_\w+)")
    readme, page = (set(made.findall(text)) for text in ((ROOT / "README.md").read_text(encoding="utf-8"), TEXT))
    assert readme
    assert page
    assert not readme & page
