"""After every race, the service must have no hidden failures."""

from collections.abc import Iterator

import pytest

from tests.support.service import Service


@pytest.fixture(autouse=True)
def no_deadlock_and_no_error(service: Service) -> Iterator[None]:
    """Check the log for deadlocks, which retries would hide."""
    before = len(service.failures)
    yield
    assert [line for line in service.failures[before:] if "Deadlock" in line or "POST" in line] == []
