"""Scripts are cut where Postgres's own parser cuts them."""

from pathlib import Path

import pglast
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadline_devstack.statements import split

from tests.support.schema import ROOT

TRICKY = [
    "select 1; select 2",
    "select 'a;b', E'it\\'s;', \"odd;name\", U&'d;t'",
    "select 'it''s;' ; select note'x;' from t",
    "select $$a;b$$, $tag$ $$;$$ $tag$, a$b$c, $1",
    "-- a comment; with one\nselect 1 -- another;\n, 2",
    "/* outer; /* inner; */ still; */ select 1; /* the end; */",
    "create function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3",
    "create rule r as on insert to t do also (insert into u values (1); insert into v values (2)); select 1",
    "do $$ begin if true then perform 1; end if; end $$; begin; commit",
    "select 'ünï;çödé', $ü$;$ü$; select 1",
]


def by_parser(script: str) -> list[str]:
    """The statements as Postgres's parser sees them."""
    return [pglast.prettify(statement) for statement in pglast.split(script)]


def by_us(script: str) -> list[str]:
    return [pglast.prettify(statement.text) for statement in split(script)]


@pytest.mark.parametrize("script", TRICKY)
def test_semicolon_inside_a_statement_does_not_split(script: str) -> None:
    assert by_us(script) == by_parser(script)


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("supabase/migrations/*.sql")), ROOT / "seed.sql"], ids=lambda path: path.name
)
def test_own_files_are_split_correctly(path: Path) -> None:
    script = path.read_text(encoding="utf-8")
    assert by_us(script) == by_parser(script)


@given(st.lists(st.sampled_from(TRICKY), max_size=4))
def test_joined_scripts_split_like_single_ones(scripts: list[str]) -> None:
    assert by_us(";\n".join(scripts)) == [text for script in scripts for text in by_us(script)]


@given(st.text(alphabet="'\"$;-/*\\\n(ae ", max_size=40))
def test_statements_are_parts_of_the_script_at_their_lines(script: str) -> None:
    lines = script.split("\n")
    for text, first_line, code_line in split(script):
        assert text == text.strip() != ""
        assert text in script
        assert text.split("\n")[0] in lines[first_line - 1]
        assert first_line <= code_line <= len(lines)


def test_lines_are_counted_from_the_start_of_the_file() -> None:
    first, second = split("\n-- About one.\nselect\n    1;\n\n\nselect 2;\n")
    assert (first.text, first.first_line, first.code_line) == ("-- About one.\nselect\n    1", 2, 3)
    assert (second.first_line, second.code_line) == (7, 7)
