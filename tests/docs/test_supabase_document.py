"""The commands of docs/how-to/supabase.md, as far as they go without an account."""

import json
import re
import shlex

import psycopg

from tests.support.cluster import TestCluster
from tests.support.schema import ROOT

DOCUMENT = (ROOT / "docs" / "how-to" / "supabase.md").read_text(encoding="utf-8")
SIX = re.search(r"```bash\n(git clone.+?)```", DOCUMENT, re.DOTALL)[1].splitlines()


def test_readme_repeats_the_six_commands() -> None:
    assert len(SIX) == 6
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [command for command in SIX[:5] if command not in readme] == []


def test_last_commands_create_a_connection_and_ingest(cluster: TestCluster, fresh_database: str) -> None:
    statement = shlex.split(SIX[4])[-1]
    body = shlex.split(SIX[5])[-1]
    with psycopg.connect(cluster.url(fresh_database, "postgres")) as db:
        db.execute("delete from public.messaging_connections where true")
        db.execute("insert into auth.users (id, email) values (gen_random_uuid(), 'you@example.com')")
        ((_, made),) = db.execute(statement).fetchall()
        headers = json.dumps({"x-api-key": made["api_secret"]})
        db.execute("select set_config('request.headers', %s, true)", [headers])
        (answer,) = db.execute("select public.messaging_ingest(%s)::jsonb", [body.encode()]).fetchone()
    assert [result["status"] for result in answer["results"]] == ["created"]
