"""docs/how-to/import.md: its reader runs, its formats are those of the command."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from threadline_import.commands import import_
from threadline_import.readers import READERS

from tests.support.schema import ROOT

PAGE = (ROOT / "docs" / "how-to" / "import.md").read_text(encoding="utf-8")


def test_reader_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "notes.py").write_text(code)
    (tmp_path / "chat.notes").write_text(
        "2024-03-18 21:05 ada: hello\n2024-03-18 21:06 ada: joined\n2024-03-18 21:07 me: hi\nodd\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    done = CliRunner().invoke(import_, ["chat.notes", "--from", "notes:Notes", "--dry-run"])
    assert done.exit_code == 1
    for part in ("2 (1)", "1 notices", "line 4: odd"):
        assert part in done.stdout


def test_page_names_every_format() -> None:
    assert [name for name in READERS if f"`{name}`" not in PAGE] == []


def test_page_names_every_option_of_the_table() -> None:
    names = {option for parameter in import_.params for option in parameter.opts if option.startswith("--")}
    assert [name for name in names - {"--yes", "--url"} if f"`{name}" not in PAGE and f" {name} " not in PAGE] == []


def test_table_of_an_example_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    file = str(ROOT / "examples" / "data" / "telegram_result.json")
    table = CliRunner().invoke(import_, [file, "--dry-run"]).stdout
    for words in ("conversation ", "understood\n", "unsupported "):
        assert words in table


@pytest.mark.parametrize(
    "arguments",
    [
        ["whatsapp_android_en.txt", "--me", "Northside Cycles", "--participant", "+1 555 201 0142"],
        ["whatsapp_ios_de.txt", "--me", "Jonas Wieland", "--group", "Umzug Lindenstraße"],
        ["telegram_result.json"],
    ],
)
def test_exports_of_the_examples_are_read(arguments: list[str]) -> None:
    file = str(ROOT / "examples" / "data" / arguments[0])
    done = CliRunner().invoke(import_, [file, *arguments[1:], "--timezone", "Europe/Amsterdam", "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
