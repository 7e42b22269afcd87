"""Plain English, short test names and lines that fit a screen.

A rule yields `(line, what offends)` for the text of a file. A report names the file and the line.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.support import schema

LONGEST_NAME = 60
LONGEST_LINE = 120
TEXT = {".css", ".html", ".js", ".md", ".mjs", ".py", ".sh", ".sql", ".toml", ".ts", ".yaml", ".yml"}
PROSE = ["sql", "api", "console", "devstack", "importer", "docs", "README.md", "CHANGELOG.md", "examples", "tests"]
OTHERS = {"node_modules", "vendor"}  # folders with texts of other people
THIS = Path(__file__)

# Folders and files that are not yet plain English. Remove what you have rewritten; the list must become empty.
UNREVISED: set[str] = set()

# A phrase may run over the end of a line, where a comment repeats its mark.
GAP = r"\s+(?:(?:#|--|//|\*|>)\s*)?"
PHRASES = ["of which", "of whom", "is told", "are told", "no business of", "whose is"]
WORDS = ["whoever", "nobody", "somebody", *(phrase.replace(" ", GAP) for phrase in PHRASES)]
# Not the Python `is None`, names of participants such as @somebody, or the Unix user "nobody".
BANNED = re.compile(rf"(?<!@)(?!(?<=\")nobody\")\b(?:(?i:{'|'.join(WORDS)})|(?:is|IS){GAP}none)\b")

Rule = Callable[[str], Iterator[tuple[int, str]]]


def banned_words(text: str) -> Iterator[tuple[int, str]]:
    """Yield words of the house dialect; the style sheet lists them in docs."""
    for found in BANNED.finditer(text.replace("_", " ")):
        yield text.count("\n", 0, found.start()) + 1, " ".join(found[0].split())


def long_test_names(text: str) -> Iterator[tuple[int, str]]:
    """Yield test functions with names over 60 characters."""
    for found in re.finditer(r"^ *(?:async )?def (test_\w+)", text, re.MULTILINE):
        if len(found[1]) > LONGEST_NAME:
            yield text.count("\n", 0, found.start()) + 1, found[1]


def long_case_ids(tests: Iterable[str]) -> list[str]:
    """Return tests with over 60 characters in the brackets."""
    return [test for test in tests if len(test.partition("[")[2].removesuffix("]")) > LONGEST_NAME]


def long_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines over 120 characters, also those in function bodies, which sqlfluff does not see."""
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LONGEST_LINE:
            yield number, f"{len(line)} characters"


def files(*names: str) -> list[Path]:
    """Return the text files below these folders."""
    roots = [schema.ROOT / name for name in names]
    found = [file for root in roots for file in ([root] if root.is_file() else sorted(root.rglob("*")))]
    return [
        file for file in found if file.is_file() and file.suffix in TEXT and not OTHERS & {*file.parts} and file != THIS
    ]


def is_revised(file: Path) -> bool:
    """Check that neither the file nor a folder above it is in UNREVISED."""
    path = file.relative_to(schema.ROOT)
    return not any(part.as_posix() in UNREVISED for part in [path, *path.parents])


def violations(rule: Rule, checked: Iterable[Path]) -> list[str]:
    """Return `file:line: what` for each violation."""
    return [
        f"{file.relative_to(schema.ROOT)}:{line}: {what}"
        for file in checked
        for line, what in rule(file.read_text(encoding="utf-8"))
    ]


def test_prose_has_no_banned_words() -> None:
    assert violations(banned_words, filter(is_revised, files(*PROSE))) == []


def test_test_names_have_at_most_60_characters() -> None:
    tests = [file for file in files("tests") if file.match("test_*.py")]
    assert violations(long_test_names, filter(is_revised, tests)) == []


def test_case_ids_have_at_most_60_characters(request: pytest.FixtureRequest) -> None:
    """Check the tests that this run has collected, because only pytest knows their ids."""
    assert long_case_ids(item.nodeid for item in request.session.items) == []


def test_sql_lines_have_at_most_120_characters() -> None:
    checked = [*schema.SQL, *files("supabase/snippets"), schema.ROOT / "seed.sql"]
    assert violations(long_lines, filter(is_revised, checked)) == []


@pytest.mark.parametrize(
    ("rule", "text", "lines"),
    [
        (banned_words, "Fine.\nWhoever asks\nis\n-- told what to\n# do", [2, 3]),
        (banned_words, "def test_nobody_reads(): pass", [1]),
        (banned_words, "untold, on the whole, which is nonetheless fine", []),
        (long_test_names, f"def {'test_'.ljust(61, 'x')}(): pass\ndef {'test_'.ljust(60, 'x')}(): pass", [1]),
        (long_lines, f"{'x' * 120}\n{'x' * 121}", [2]),
    ],
    ids=["words", "names of functions", "other words", "long names", "long lines"],
)
def test_rules_report_the_line_of_a_violation(rule: Rule, text: str, lines: list[int]) -> None:
    assert [line for line, _ in rule(text)] == lines


def test_long_case_id_is_reported() -> None:
    assert long_case_ids([f"a.py::test[{'x' * length}]" for length in (60, 61)]) == [f"a.py::test[{'x' * 61}]"]
