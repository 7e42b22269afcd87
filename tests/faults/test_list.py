"""Each seeded fault still has its place in the sources and the tests that must notice it."""

import subprocess
import sys

import pytest

from tests.faults.__main__ import main, seeded_tree
from tests.faults.faults import list_faults
from tests.support.schema import ROOT


def test_each_fault_has_one_place() -> None:
    for fault in list_faults():
        assert fault.seeded() != (ROOT / fault.file).read_text(encoding="utf-8"), fault.was


def test_each_fault_names_tests_that_exist() -> None:
    for fault in list_faults():
        for test in fault.by.split():
            file, _, name = test.partition("::")
            assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_package_with_a_fault_starts() -> None:
    fault = next(fault for fault in list_faults() if fault.file.endswith(".py"))
    with seeded_tree(fault):
        program = "import threadline.app as app; print(app.__file__)"
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "/threadline-fault-" in found.stdout


def test_wanted_text_that_no_fault_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["faults", "sql/999_nothing"])
    with pytest.raises(SystemExit, match="No fault contains 'sql/999_nothing'"):
        main()
