"""What holds after every race: the service had no trouble that it did not tell its callers of."""

from collections.abc import Iterator

import pytest

from tests.support.service import Service


@pytest.fixture(autouse=True)
def nothing_fails(service: Service) -> Iterator[None]:
    """Deadlocks and the like would be tried again and go unnoticed: the log must not tell of any."""
    before = service.failures
    yield
    assert service.failures == before
