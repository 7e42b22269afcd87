"""Puts in the faults of `faults.toml` one at a time and runs the tests that must notice each: make faults.

A fault never touches the sources. In SQL, it changes one statement in a copy of a database. In Python and JavaScript,
it changes one file in a copy of the repository. One server serves all faults, and each fault runs in a fork of a
process that has imported pytest already, because starting both takes longer than most tests.
"""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import psycopg
import pytest
from psycopg import sql

from tests.faults.faults import Fault, list_changes, list_faults
from tests.support import cluster as clusters
from tests.support import schema
from tests.support.cluster import EMBEDDED, TestCluster

# Imported here, so that no fork has to do it.
for each in ("asyncpg", "httpx", "jwt", "litestar"):
    __import__(each)

NOTICED = "noticed"
COPY_SETTINGS = """
insert into pg_db_role_setting (setdatabase, setrole, setconfig)
select made.oid, known.setrole, known.setconfig
from pg_db_role_setting as known
inner join pg_database as ready on known.setdatabase = ready.oid and ready.datname = %(ready)s
inner join pg_database as made on made.datname = %(database)s
"""
COPY_OWNER = """
update pg_database as made set datdba = ready.datdba, datacl = ready.datacl
from pg_database as ready
where made.datname = %(database)s and ready.datname = %(ready)s
"""
PACKAGES = ("api", "importer", "packages/follow-py")  # what tests import
PATIENCE = 240  # seconds for the tests of one fault


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Outcome:
    """A pytest plugin that keeps which tests failed, and the errors of their fixtures."""

    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    passed: int = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a result."""
        # At its end, a fixture of the console fails if the page had errors.
        if report.failed and (report.when == "call" or (report.when == "teardown" and not self.errors)):
            self.failed.append(report.nodeid)
        elif report.failed:
            self.errors.append(f"{report.nodeid}: {report.longreprtext.splitlines()[-1]}")
        elif report.when == "call":
            self.passed += report.passed

    @property
    def word(self) -> str:
        """The result in a word. A fixture that fails is no test that noticed: the schema may not even load."""
        if self.failed:
            return NOTICED
        return "broken" if self.errors or not self.passed else "not noticed"


@dataclass
class WarmCluster(TestCluster):
    """A running server. What `prepare` makes is a copy of a database that is ready, with a fault in it."""

    ready: str = ""
    changes: str = ""

    def install_platform(self, database: str, mode: Literal["explicit", "legacy"] = "explicit") -> None:
        """Give a copy the owner, the rights and the settings of the database, which is all that a copy lacks."""
        with psycopg.connect(self.url(database)) as connection:
            [is_copy] = connection.execute("select to_regnamespace('auth') is not null").fetchone()
        if not is_copy:  # for a test that applies sql/ itself
            super().install_platform(database, mode)
            return
        with psycopg.connect(self.url("template1"), autocommit=True) as connection:
            connection.execute("set allow_system_table_mods = on")
            for statement in (COPY_SETTINGS, COPY_OWNER):
                connection.execute(statement, {"database": database, "ready": self.ready})

    def prepare(self, database: str) -> None:
        """Replace an empty database by a copy with the fault."""
        with psycopg.connect(self.url("template1"), autocommit=True) as connection:
            connection.execute(f"drop database {database}")
            connection.execute(f"create database {database} template {self.ready}")
        self.install_platform(database)
        if self.changes:
            with psycopg.connect(self.url(database, "postgres")) as connection:
                connection.execute(self.changes)


@contextmanager
def seeded_tree(fault: Fault) -> Iterator[None]:
    """Let the tests of this process, and its children, use a copy of the repository with the fault, for the block.

    Only the top folder of the fault is copied; the others are links.
    """
    with TemporaryDirectory(dir="/tmp", prefix="threadline-fault-") as folder:
        tree = Path(folder)
        top = Path(fault.file).parts[0]
        for each in schema.ROOT.iterdir():
            if each.name != top:
                (tree / each.name).symlink_to(each)
        shutil.copytree(schema.ROOT / top, tree / top, ignore=shutil.ignore_patterns("__pycache__"))
        (tree / fault.file).write_text(fault.seeded(), encoding="utf-8")
        packages = [str(tree / package) for package in PACKAGES]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schema, "ROOT", tree)
            patch.setenv("PYTHONPATH", os.pathsep.join(packages))
            patch.setattr(sys, "path", [*packages, *sys.path])
            yield


@contextmanager
def seeded_sql(fault: Fault) -> Iterator[None]:
    """Let tests that apply the files of sql/ themselves find the fault in them, for the block."""
    with TemporaryDirectory(dir="/tmp", prefix="threadline-fault-") as folder, pytest.MonkeyPatch.context() as patch:
        seeded = Path(folder) / Path(fault.file).name
        seeded.write_text(fault.seeded(), encoding="utf-8")
        files = [seeded if file == schema.ROOT / fault.file else file for file in schema.SQL]
        patch.setattr(schema, "SQL", files)
        yield


def run_tests(cluster: WarmCluster, tests: list[str]) -> Outcome:
    """Run tests against a server until one fails."""
    outcome = Outcome()

    @contextmanager
    def running(*_: Any) -> Iterator[TestCluster]:
        yield cluster

    clusters.running = running
    clusters.lanes = lambda: {EMBEDDED: None}  # one Postgres version is enough to see a fault
    # Plugins of pytest are among the modules that are imported already.
    quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main(["-n", "0", "-q", "-x", "-p", "no:cacheprovider", *quiet, *tests], plugins=[outcome])
    if code not in {0, 1}:
        outcome.errors.append(f"pytest ended with {code}: it found no such tests, or could not import them")
    return outcome


def attempt(cluster: WarmCluster, fault: Fault | None, tests: list[str]) -> dict[str, Any]:
    """Run tests with a fault in; return the result as JSON values."""
    if fault is None:
        outcome = run_tests(cluster, tests)
    elif fault.file.endswith(".sql"):
        cluster.changes = list_changes(fault)
        with seeded_sql(fault):
            outcome = run_tests(cluster, tests)
    else:
        with seeded_tree(fault):
            outcome = run_tests(cluster, tests)
    return {"word": outcome.word, "failed": outcome.failed, "errors": outcome.errors, "passed": outcome.passed}


def fork(
    cluster: WarmCluster, fault: Fault | None, tests: list[str], number: int, patience: float = PATIENCE
) -> dict[str, Any]:
    """Do that in a fork, and end it with all its children; a fault may make a test wait for ever."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.setsid()
        os.close(reading)
        log = os.open(os.devnull, os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        cluster._numbers = iter(range(number * 1000, number * 1000 + 999))
        try:
            result = attempt(cluster, fault, tests)
        except BaseException as error:  # noqa: BLE001 - the parent reports it
            result = {"word": "broken", "failed": [], "errors": [f"{type(error).__name__}: {error}"], "passed": 0}
        os.write(writing, json.dumps(result)[:60_000].encode())
        os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + patience
    while not (has_ended := os.waitpid(pid, os.WNOHANG)[0] == pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # also ends the services that it has left
    if not has_ended:
        os.waitpid(pid, 0)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    if said:
        return json.loads(said)
    word, reason = ("broken", "the process of the tests died") if has_ended else (NOTICED, "a test that did not end")
    return {"word": word, "failed": [], "errors": [reason], "passed": 0}


def drop_databases(cluster: WarmCluster) -> None:
    """Drop what the tests of a fault made."""
    with psycopg.connect(cluster.url("template1"), autocommit=True) as connection:
        for (name,) in connection.execute(
            "select datname from pg_database where datname like 'scratch%%' and datname <> %s", [cluster.ready]
        ).fetchall():
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def main() -> int:
    """Try the faults that contain the first argument, or the part of them that the second names, and print a table."""
    wanted, part = [*sys.argv[1:], "", ""][:2]
    number, _, of = (part or "1/1").partition("/")
    faults = [fault for fault in list_faults() if wanted in f"{fault} {fault.by}"][int(number) - 1 :: int(of)]
    if not faults:
        sys.exit(f"No fault contains {wanted!r}. Give a part of its file, its text or its test.")
    noticed = 0
    with clusters.data_folder() as folder, clusters.running(folder, None) as started:
        ready = started.create()
        started.prepare(ready)
        cluster = WarmCluster(started.local, started.binaries, ready=ready)
        # A test that fails anyway notices nothing.
        tests = sorted({test for fault in faults for test in fault.by.split()})
        right = fork(cluster, None, tests, len(faults) + 1, patience=1800)
        drop_databases(cluster)
        if right["failed"] or right["errors"]:
            sys.exit(f"Without a fault, this test must pass: {(right['failed'] + right['errors'])[0]}")
        print("| file | was | became | result | first test that failed |\n|---|---|---|---|---|")
        for number, fault in enumerate(faults, 1):
            result = fork(cluster, fault, fault.by.split(), number)
            drop_databases(cluster)
            noticed += result["word"] == NOTICED
            detail = (result["failed"] or result["errors"] or [""])[0]
            print(f"| {fault} | {result['word']} | {detail} |", flush=True)
    print(f"\n{noticed} of {len(faults)} faults were noticed.")
    return 0 if noticed == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
