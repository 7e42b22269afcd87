"""Each seeded fault still has its place in the sources and the tests that must notice it."""

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
