"""docs/reference/settings.md lists every setting of the database and every environment variable, with its default."""

import re
from dataclasses import MISSING, fields

import psycopg
import pytest
from threadline.settings import NAMES, Settings

from tests.support.schema import ROOT

PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
EDGE_FUNCTION = ROOT / "supabase" / "functions" / "messaging-ingest" / "index.ts"


def list_rows(section: str) -> dict[str, str]:
    """Each name in the first column of a section's table, with the default in the second."""
    rows = re.findall(r"^\| (`[A-Za-z_`, ]+) \| (.+?) \|", SECTIONS[section], re.MULTILINE)
    return {name: default.strip("`") for names, default in rows for name in re.findall(r"`(\w+)`", names)}


def test_page_lists_every_column_of_settings(db: psycopg.Connection) -> None:
    columns = db.execute(
        """
        select column_name, coalesce(column_default, 'null')
        from information_schema.columns
        where table_schema = 'private' and table_name = 'settings' and column_name <> 'is_only_row'
        """
    ).fetchall()
    assert list_rows("In the database") == {
        name: default.removesuffix("::text").strip("'") for name, default in columns
    }


def list_variables(setting: str) -> tuple[str, ...]:
    return NAMES.get(setting, (f"THREADLINE_{setting.upper()}",))


def test_page_lists_every_variable_of_the_service() -> None:
    listed = list_rows("Environment of the service")
    variables = {name for setting in fields(Settings) for name in list_variables(setting.name)}
    assert listed.keys() == variables | {"PROMETHEUS_MULTIPROC_DIR"}


@pytest.mark.parametrize("setting", [each.name for each in fields(Settings)])
def test_page_gives_the_default_of_a_variable(setting: str) -> None:
    (default,) = (each.default for each in fields(Settings) if each.name == setting)
    listed = list_rows("Environment of the service")
    expected = "required" if default is MISSING else "none" if default is None else str(default)
    expected = {"True": "1", "False": "0"}.get(expected, expected)
    if setting == "transaction_pooler":
        expected = "on for port 6543"  # derived from DATABASE_URL
    assert [name for name in list_variables(setting) if listed[name] != expected] == []


def test_page_lists_every_variable_of_the_edge_function() -> None:
    read = set(re.findall(r'(?:Deno\.env\.get|required)\("(\w+)"\)', EDGE_FUNCTION.read_text(encoding="utf-8")))
    assert list_rows("Environment of the Edge Function").keys() == read


def test_page_lists_every_variable_of_the_devstack() -> None:
    files = [*(ROOT / "devstack").rglob("*.py"), ROOT / "compose.yaml"]
    named = {name for file in files for name in re.findall(r"THREADLINE_[A-Z_]+\w", file.read_text(encoding="utf-8"))}
    assert {name for name in named if f"`{name}`" not in SECTIONS["Environment of the devstack"]} == set()
