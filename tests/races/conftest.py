"""What holds after every race: nothing went wrong that the service had to keep from its callers."""

from collections.abc import Iterator

import pytest

from tests.support.service import Service


@pytest.fixture(autouse=True)
def no_deadlock_and_no_error(service: Service) -> Iterator[None]:
    """A deadlock would be tried again and go unnoticed: the log must not tell of any."""
    before = len(service.failures)
    yield
    assert [line for line in service.failures[before:] if "Deadlock" in line or "POST" in line] == []
