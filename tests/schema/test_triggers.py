"""sql/900_triggers.sql shows every trigger, table by table, in the order in which Postgres fires them."""

import re
from collections.abc import Iterator

import pytest
from pglast import parse_sql, split
from pglast.ast import CreateTrigStmt

from tests.support import schema

FILE = schema.ROOT / "sql" / "900_triggers.sql"


def triggers(text: str) -> Iterator[tuple[str, str]]:
    """The table and the name of each trigger, in the order of the file."""
    for raw in parse_sql(text):
        if isinstance(raw.stmt, CreateTrigStmt):
            yield raw.stmt.relation.relname, raw.stmt.trigname


def misplaced(text: str) -> list[str]:
    """Triggers that stand before one that fires earlier, or apart from the others of their table."""
    found, last, offenders = set(), ("", ""), []
    for table, name in triggers(text):
        if (table in found and table != last[0]) or (table == last[0] and name < last[1]):
            offenders.append(name)
        found.add(table)
        last = table, name
    return offenders


def without_story(text: str) -> list[str]:
    """Tables whose first trigger has no line above it that begins with the name of the table."""
    seen, end, offenders = set(), 0, []
    for part in split(text, only_slices=True):
        above, end = text[end : part.start], part.stop
        for table, _ in triggers(text[part]):
            if table not in seen and not re.search(rf"^-- (auth\.)?{table}: \w", above, re.MULTILINE):
                offenders.append(table)
            seen.add(table)
    return offenders


def made(table: str, name: str) -> str:
    return f"create trigger {name} before update on public.{table} execute function private.planted_trigger();\n"


def test_triggers_stand_in_firing_order() -> None:
    assert misplaced(FILE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "text",
    [
        made("people", "people_20_stamp") + made("people", "people_10_match"),
        made("people", "people_10_stamp") + made("channels", "channels_10_stamp") + made("people", "people_20_match"),
    ],
)
def test_misplaced_trigger_is_reported(text: str) -> None:
    assert len(misplaced(text)) == 1


def test_each_table_with_triggers_has_a_story() -> None:
    assert without_story(FILE.read_text(encoding="utf-8")) == []


def test_table_without_a_story_is_reported() -> None:
    assert without_story("-- channels: made.\n" + made("people", "people_10_stamp")) == ["people"]


def test_no_other_file_creates_triggers() -> None:
    assert [f.name for f in schema.SQL if f != FILE and list(triggers(f.read_text(encoding="utf-8")))] == []
