"""docs/reference/errors.md explains every error code that the source raises, and no other."""

import re

from tests.support.schema import ROOT, SQL

PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
PYTHON = [*(ROOT / "api" / "threadline").rglob("*.py")]
# A code in the source stands beside a status or under the name `code` or `detail`.
PATTERNS = (
    r"private\.fail\(\s*\d{3},\s*'(\w+)'",
    r"v_code := '(\w+)'",
    r"v_code := coalesce\([^;]+, '(\w+)'\);",
    r"detail = '([a-z]\w+)'",
    r"'code', '(\w+)'",
    r'"code": "(\w+)"',
    r'\b[45]\d{2}[:,] "(\w+)"',
    r'SummaryFailedError\(\s*\d+,\s*"(\w+)"',
)


def list_codes() -> set[str]:
    """Every code that sql/ and the service raise."""
    texts = [file.read_text(encoding="utf-8") for file in [*SQL, *PYTHON]]
    return {code for text in texts for pattern in PATTERNS for code in re.findall(pattern, text)}


def list_explained() -> set[str]:
    """Every code in a table of the page."""
    return set(re.findall(r"^\| (?:\d{3} \| )?`(\w+)` \|", PAGE, re.MULTILINE)) | {"refused"}


def test_page_explains_every_code() -> None:
    assert list_codes() - list_explained() == set()
    assert len(list_codes()) > 30


def test_page_explains_no_code_that_does_not_exist() -> None:
    assert list_explained() - list_codes() - {"refused"} == set()


def test_page_gives_a_meaning_and_a_cure() -> None:
    rows = re.findall(r"^\| (?:\d{3} \| )?`(\w+)` \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    assert {code for code, _, _ in rows} == list_explained() - {"refused"}
    assert [code for code, meaning, cure in rows if not meaning or not cure] == []
