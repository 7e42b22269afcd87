"""The modules of the console by tables, in a page without a stack: each row is a case with what is right."""

from pathlib import Path

import pytest

from tests.console.desk import Desk

TABLES = {
    "pages": ("moves", "ends", "additions", "meanwhile", "failures"),
    "query": ("queries", "errors", "shared", "loads", "acts"),
    "session": ("sessions", "ends", "calls", "names"),
    "ui": ("times", "texts", "shapes", "presses", "media"),
    "live": ("follows", "many", "presence", "offline"),
}


def run(desk: Desk, module: str, name: str) -> list[object]:
    """Run a table; return the rows that are wrong."""
    script = "([module, name]) => import(`/units/${module}.js`).then((tables) => tables[name]())"
    return desk.blank().evaluate(script, [module, name])


@pytest.mark.parametrize("name", TABLES["pages"])
def test_window_of_a_list_is_right(desk: Desk, name: str) -> None:
    assert run(desk, "pages", name) == []


@pytest.mark.parametrize("name", TABLES["query"])
def test_query_and_state_are_right(desk: Desk, name: str) -> None:
    assert run(desk, "query", name) == []


@pytest.mark.parametrize("name", TABLES["session"])
def test_session_and_calls_are_right(desk: Desk, name: str) -> None:
    assert run(desk, "session", name) == []


@pytest.mark.parametrize("name", TABLES["ui"])
def test_small_parts_show_what_is_right(desk: Desk, name: str) -> None:
    assert run(desk, "ui", name) == []


@pytest.mark.parametrize("name", TABLES["live"])
def test_live_state_is_right(desk: Desk, name: str) -> None:
    assert run(desk, "live", name) == []


def test_each_table_is_run() -> None:
    folder = Path(__file__).parent / "units"
    for path in folder.glob("*.js"):
        found = path.read_text(encoding="utf-8").split("export async function ")[1:]
        assert [each.partition("(")[0] for each in found if path.stem in TABLES] == list(TABLES.get(path.stem, []))
