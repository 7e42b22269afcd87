"""The platform's own checks of the schema: `supabase db advisors` and `supabase db lint`."""

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import tools
from tests.support.cluster import TestCluster

pytestmark = pytest.mark.skipif(tools.supabase_cli() is None, reason=tools.why_not("supabase"))


def is_argued(advice: dict[str, Any]) -> bool:
    """Check whether docs/contributing/devstack.md gives a reason for this finding."""
    about = advice["metadata"]
    match advice["name"]:
        case "unused_index":
            return True
        case "rls_enabled_no_policy":
            return about["schema"] == "private"
        case "unindexed_foreign_keys":
            return about["fkey_name"] == "twin_queues_assignment_fkey"
    return False


def check(folder: Path, url: str, *command: str) -> list[dict[str, Any]]:
    """Return the findings of a CLI check in a database."""
    result = tools.supabase(folder, "db", *command, "--output-format=json", url=url)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(result.stdout)["results"]


def advice(folder: Path, url: str) -> list[str]:
    """Return the advisors' findings without a documented reason."""
    found = check(folder, url, "advisors", "--type=all", "--level=info")
    return [each["detail"] for each in found if not is_argued(each)]


def test_advisors_report_only_planted_faults(cluster: TestCluster, fresh_database: str, tmp_path: Path) -> None:
    url = cluster.url(fresh_database, "postgres")
    with psycopg.connect(url) as db:
        db.execute("create table public.planted (id integer)")
        db.execute("create function public.planted() returns void language sql as 'select'")
    found = advice(tmp_path, url)
    assert len(found) == 2, found  # no primary key; a search_path that callers set
    assert all("planted" in each for each in found), found


def test_linter_reports_nothing(cluster: TestCluster, fresh_database: str, tmp_path: Path) -> None:
    with psycopg.connect(cluster.url(fresh_database)) as db:
        if not db.execute("select from pg_available_extensions where name = 'plpgsql_check'").fetchall():
            pytest.skip("no plpgsql_check for this Postgres: apt-get install postgresql-15-plpgsql-check")
        db.execute("create extension plpgsql_check with schema extensions")
    url = cluster.url(fresh_database, "postgres")
    found = check(tmp_path, url, "lint", "--level=warning", "--schema=public,private")
    assert {each["function"].partition(".")[0] for each in found} == {"public", "private"}
    # test_function_bodies.py says why these two are right.
    accepted = re.compile(r'unused parameter "\$1"|name of parameter "\w+" is reserved keyword')
    issues = [(each["function"], issue["message"]) for each in found for issue in each["issues"]]
    assert [issue for issue in issues if not accepted.fullmatch(issue[1])] == []
