"""After every race, the service must have no hidden failures."""

from collections.abc import Iterator

import pytest

from tests.support.cluster import TestCluster
from tests.support.service import Service
from tests.support.team import Running, running_service


@pytest.fixture(scope="module")
def running(cluster: TestCluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service on a database without request limits."""
    log = tmp_path_factory.mktemp("races") / "log"
    with running_service(cluster, template, log, THREADLINE_POOL_SIZE="24") as running:
        yield running


@pytest.fixture(autouse=True)
def no_deadlock_and_no_error(service: Service) -> Iterator[None]:
    """Check the log for deadlocks, which retries would hide."""
    before = len(service.failures)
    yield
    assert [line for line in service.failures[before:] if "Deadlock" in line or "POST" in line] == []
