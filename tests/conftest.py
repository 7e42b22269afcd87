"""Fixtures for all tests: a server per Postgres version, databases made from a template, a running stack."""

import gc
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import httpx
import psycopg
import pytest
from threadline_devstack import keys
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support import cluster as clusters
from tests.support.cases import named
from tests.support.cluster import EMBEDDED, TestCluster
from tests.support.ingest import Sender
from tests.support.service import Service, serving
from tests.support.sessions import session
from tests.support.stack import RunningStack

# Loading certificates takes 25 ms, so all clients here share what is loaded once.
httpx._transports.default.create_ssl_context = cache(httpx.create_ssl_context)


def pytest_configure() -> None:
    """Reset signal handlers, so that child processes get signals even if this run ignores them (nohup, &)."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, except in what the collection of the tests made, which stays until the end."""
    gc.freeze()
    gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make check`."""
    parser.addoption("--fast", action="store_true", help="run the fast half of the tests only")
    parser.addoption("--accept", action="store_true", help="write what tests/transcript sees")


def pytest_report_header() -> str:
    """Report the Postgres versions of this run in one line."""
    return f"Postgres: {', '.join(clusters.lanes())}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in a few lines what this run left out, and why."""
    skipped = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
        if isinstance(report.longrepr, tuple)
    )
    left_out = [f"{count} {'test' if count == 1 else 'tests'}: {reason}" for reason, count in skipped.most_common()]
    if config.option.fast:
        left_out.append("the slow half of the tests: make test")
    if len(clusters.lanes()) == 1:
        left_out.append("a second version of Postgres: apt-get install postgresql-15 postgresql-15-plpgsql-check")
    if left_out:
        terminalreporter.section("left out")
        for line in left_out:
            terminalreporter.write_line(line)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name the ids of the seed and shorten long texts, such as SQL statements; pytest numbers equal ids."""
    if not isinstance(val, str):
        return None
    text = named(val)
    if len(text) > 40:
        return f"{ascii(text)[1:38]}..."
    return None if text == val else text


# What runs on every version of Postgres here: what can differ between them, and every call once.
EVERYWHERE = """
schema/test_cli::test_linter schema/test_function_bodies:: schema/test_migrations::test_migrations_and
schema/test_privileges:: schema/test_push::test_pushed schema/test_removal::test_dump sql/test_data_api_limits::
sql/test_estimates::test_estimate_does sql/test_hostile_values:: sql/test_message_matrix:: sql/test_message_plans::
sql/test_number_bombs:: sql/test_phone_numbers:: sql/test_plans:: sql/test_reading_search::test_operators
sql/test_search_words:: sql/test_waits::test_identifier_that sql/test_workspace_matrix:: transcript/
"""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run some tests of the schema on every Postgres version here, all others on the embedded one."""
    if "lane" in metafunc.fixturenames:
        file = Path(metafunc.definition.path).relative_to(Path(__file__).parent).with_suffix("").as_posix()
        is_everywhere = f"{file}::{metafunc.function.__name__}".startswith(tuple(EVERYWHERE.split()))
        metafunc.parametrize("lane", clusters.lanes() if is_everywhere else [EMBEDDED], scope="session", indirect=True)


# What `make check` runs, on the embedded Postgres, and what of that takes too long for it.
FAST = (
    *("docs/test_errors_page", "docs/test_pages", "docs/test_settings_page", "http/test_settings", "http/test_tokens"),
    *("schema/", "sql/", "supply/"),
)
SLOW = (
    *("schema/test_cli", "schema/test_push", "schema/test_upgrades", "sql/partitioned/", "sql/test_ingest_algebra"),
    *("sql/test_phone_algebra", "sql/test_refusals", "sql/test_summaries"),
)
# Ids of tests on other Postgres versions than the embedded one contain one of these.
OTHER_LANES = [f"[{lane}" for lane in clusters.lanes() if lane != EMBEDDED]


def other_lane(test: str) -> str | None:
    """Return the lane in a test id, if it is not the embedded one."""
    return next((lane for lane in OTHER_LANES if lane in test), None)


class ByServer(LoadScopeScheduling):
    """Give each file, and each other Postgres version, to one worker, because its tests share servers."""

    def _split_scope(self, nodeid: str) -> str:
        folder = "tests/console"  # one browser, which is dear
        return other_lane(nodeid) or (folder if nodeid.startswith(folder) else nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByServer:
    """Divide the tests among the workers of `pytest -n`."""
    return ByServer(config, log)


def is_fast(item: pytest.Item) -> bool:
    """Tell whether `make check` runs a test."""
    path = item.path.relative_to(Path(__file__).parent).as_posix()
    return path.startswith(FAST) and not path.startswith(SLOW) and other_lane(item.nodeid) is None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start with tests that only one worker can run and end with short files, so that no worker idles."""
    if config.option.fast:
        slow = [item for item in items if not is_fast(item)]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if is_fast(item)]
    items.sort(key=lambda item: (other_lane(item.nodeid) is None, item.path.parent.name == "sql"))


@pytest.fixture(scope="session")
def lane(request: pytest.FixtureRequest) -> str:
    """The name of a Postgres version."""
    return request.param


@pytest.fixture(scope="session")
def cluster(lane: str) -> Iterator[TestCluster]:
    """A server of that version."""
    with clusters.data_folder() as folder, clusters.running(folder, clusters.lanes()[lane]) as running:
        yield running


@pytest.fixture(scope="session")
def template(cluster: TestCluster) -> str:
    """Create a database with migrations and seed. Tests copy it and never write to it."""
    name = cluster.create()
    cluster.prepare(name)
    return name


@pytest.fixture(scope="session")
def shared_database(cluster: TestCluster, template: str) -> str:
    """Create a copy for tests that roll back."""
    return cluster.create(template)


@pytest.fixture
def fresh_database(cluster: TestCluster, template: str) -> str:
    """Create a copy for one test, which may commit."""
    return cluster.create(template)


@pytest.fixture(scope="session")
def admin_url(cluster: TestCluster, shared_database: str) -> str:
    """The superuser in the shared database."""
    return cluster.url(shared_database)


@pytest.fixture(scope="session")
def postgres_url(cluster: TestCluster, shared_database: str) -> str:
    """Role postgres in the shared database."""
    return cluster.url(shared_database, "postgres")


@pytest.fixture(scope="session")
def scratch_database(cluster: TestCluster) -> Callable[[str], str]:
    """Return a function that creates an empty database and returns the superuser's URL."""
    return lambda _name: cluster.url(cluster.create())


@pytest.fixture
def db(postgres_url: str) -> Iterator[psycopg.Connection]:
    """Open a transaction of role postgres in the seeded database, and roll it back."""
    with psycopg.connect(postgres_url) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """Run `threadline up` with its defaults."""
    with RunningStack() as running:
        yield running


@pytest.fixture
def open_channels(stack: RunningStack) -> Iterator[None]:
    """End the sealing of channels that lose a member in a test: they would send only pointers to the next one."""
    yield
    with session(stack.database_url()) as connection:
        connection.execute(
            "update private.channel_counters set sealed_until = default, sealed_after = default"
            " where sealed_until > '-infinity'"
        )


@pytest.fixture(scope="session")
def service_database(cluster: TestCluster, template: str) -> str:
    """Create the database of the shared service, with commits that survive a crash of Postgres."""
    name = cluster.create(template)
    with psycopg.connect(cluster.url(name), autocommit=True) as connection:
        connection.execute(f"alter database {name} set synchronous_commit = on")
        # A copied sequence hands out numbers without WAL at first, and after a crash it would hand them out again.
        connection.execute(
            "select setval(oid::regclass, nextval(oid::regclass)) from pg_class where relkind = 'S'"
            " and relnamespace in ('public'::regnamespace, 'private'::regnamespace)"
        )
    return name


@pytest.fixture(scope="session")
def service(cluster: TestCluster, service_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run the `threadline serve` that tests share."""
    log = tmp_path_factory.mktemp("service") / "service.log"
    url = cluster.url(service_database, "authenticator")
    with serving(url, log, THREADLINE_POOL_SIZE="24", JWT_SECRET=keys.JWT_SECRET) as running:
        yield running


@pytest.fixture
def sender(cluster: TestCluster, service_database: str, service: Service) -> Sender:
    """Create a user and a connection for one test, which may therefore commit."""
    return Sender.create(service.client, cluster.url(service_database, "postgres"))


@pytest.fixture
def stranger(service: Service) -> Sender:
    """Return a sender without a connection, for requests that are rejected before the connection is read."""
    return Sender(service.client, "", "", "nobody", "some key")
