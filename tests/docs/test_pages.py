"""Pages of the repository: links lead somewhere, the index lists each page, .env.example names real variables."""

import re
from pathlib import Path

import pytest
import yaml

from tests.support.schema import ROOT

PAGES = sorted(
    file for pattern in ("*.md", "llms.txt", "docs/**/*.md", "examples/**/*.md") for file in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    broken = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text(encoding="utf-8"))):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_broken_links_are_reported(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](#a-heading) [b](#no-heading) [c](nowhere.md) [d](https://example.com)\n")
    assert broken_links(page) == ["#no-heading", "nowhere.md"]


def test_the_index_lists_each_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page != "index.md" and f"({page}" not in index] == []


def test_pages_name_tests_that_exist() -> None:
    texts = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    tests = {
        (str(file.relative_to(ROOT / "tests")), name)
        for file in ROOT.glob("tests/**/test_*.py")
        if "node_modules" not in file.parts
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert set(re.findall(r"`(test_\w+)`", texts)) - {name for _, name in tests} == set()
    assert set(re.findall(r"`([\w/]+\.py)::(\w+)`", texts)) - tests == set()


def test_each_finding_of_the_review_names_its_proof() -> None:
    page = (ROOT / "docs" / "contributing" / "security-study.md").read_text(encoding="utf-8")
    lines = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and "---" not in line]
    numbers = {finding.removeprefix("| ").partition(" ")[0] for finding, *_ in lines}
    wanted = {f"{kind}{n}" for kind, last in (("H", 4), ("M", 7), ("L", 8)) for n in range(1, last + 1)} | {"C2"}
    assert wanted - numbers == set()
    assert [line for line in lines if line[2] != "shown by |" and not re.search(r"::test_|\.md", line[2])] == []


# `realtime.channel(name, options)` only passes on what its caller says.
JOIN = re.compile(r"\.channel\((?!name, options\)|name, \{\"config\": config\})[^;]{0,200}")


def test_each_client_joins_private_topics() -> None:
    folders = ("docs", "examples", "packages", "console")
    files = [
        file for folder in folders for file in ROOT.glob(f"{folder}/**/*") if file.suffix in (".js", ".mjs", ".md")
    ]
    files = [ROOT / "README.md", *(file for file in files if not {"node_modules", "vendor"} & {*file.parts})]
    joins = [(file.name, join) for file in files for join in JOIN.findall(file.read_text(encoding="utf-8"))]
    assert len(joins) > 5
    assert [each for each in joins if not re.search(r"\bprivate\W+[tT]rue\b", each[1])] == []


def test_env_example_names_variables_of_the_settings_page() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    names = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    assert names
    assert [name for name in names if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    "file", sorted([*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]), ids=lambda file: file.name
)
def test_forge_files_are_yaml(file: Path) -> None:
    assert yaml.safe_load(file.read_text(encoding="utf-8"))
