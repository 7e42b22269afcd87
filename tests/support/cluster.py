"""Throw-away Postgres servers, one per version found here, and databases made from a template in them."""

import asyncio
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import psutil
import psycopg
from psycopg import sql
from threadline_devstack import migrations, platform
from threadline_devstack.database import PASSWORDS
from threadline_devstack.database import Cluster as LocalCluster
from threadline_devstack.home import Home
from threadline_devstack.postgres import SUPERUSER, Server
from threadline_devstack.project import Ports, Project

from tests.support.schema import ROOT

EMBEDDED = "embedded"
# Durability is off for speed: test data need not survive a power cut.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# The many files of databases cost less CPU time in memory than on a disk. A whole run has room in so many bytes.
MEMORY = Path("/dev/shm")
ROOM = 8 << 30


def lanes() -> dict[str, Path | None]:
    """Return the Postgres versions to test, each with its folder of programs (None: those of the wheel)."""
    installed = {
        f"postgres-{folder.parent.name}": folder
        for folder in sorted(Path("/usr/lib/postgresql").glob("1[5-8]/bin"))
        if (folder / "postgres").exists()
    }
    return {EMBEDDED: None, **installed}


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def data_folder() -> Iterator[Path]:
    """Make a folder for the data of a server: in memory, if there is room for a whole run, or else on the disk."""
    for left in MEMORY.glob("threadline-test-[0-9]*-*"):
        # A run that was killed leaves its data, which would take memory until the machine restarts.
        if not psutil.pid_exists(int(left.name.split("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    # The limit of such a file system may be above the memory of the machine.
    has_room = MEMORY.is_dir() and min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ROOM
    prefix = f"threadline-test-{os.getpid()}-"
    with TemporaryDirectory(dir=MEMORY if has_room else "/tmp", prefix=prefix, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@dataclass
class TestCluster:
    """One server. Databases are made in it by copying a template that has the migrations and the seed."""

    __test__ = False

    local: LocalCluster
    binaries: Path
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, database: str, user: str = SUPERUSER) -> str:
        """A connection string, by default the superuser's."""
        password = self.local.home.superuser_password() if user == SUPERUSER else "postgres"
        return f"postgresql://{user}:{password}@127.0.0.1:{self.local.port}/{database}"

    def create(self, template: str = "template1") -> str:
        """Make a database and return its name."""
        name = f"scratch_{next(self._numbers)}"
        statement = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        with psycopg.connect(self.url("template1"), autocommit=True) as connection:
            connection.execute(statement)
        if template != "template1":
            self.install_platform(name)  # a copy lacks only the settings of the database itself
        return name

    def install_platform(self, database: str, mode: Literal["explicit", "legacy"] = "explicit") -> None:
        """Give a database the objects of a Supabase project."""

        async def run() -> None:
            async with self.local.session(SUPERUSER, database) as connection:
                await platform.install(connection, passwords=PASSWORDS, default_privileges=mode)

        asyncio.run(run())

    def migrate(self, database: str, folder: Path) -> None:
        """Apply the migrations of a folder as `threadline up` does, or raise StackError.

        The CLI keeps the same history, but takes 1 to 3 seconds of CPU.
        """

        async def run() -> None:
            async with self.local.session("postgres", database) as connection:
                await migrations.migrate(connection, folder)

        asyncio.run(run())

    def prepare(self, database: str) -> None:
        """Prepare a database as `threadline up` does: platform, migrations, seed."""
        asyncio.run(self.local.prepare(Project(ROOT, self.local.home.folder, Ports(1, self.local.port)), database))


@contextmanager
def running(folder: Path, programs: Path | None, settings: Mapping[str, str] = FORGETFUL) -> Iterator[TestCluster]:
    """Run a server in a folder for the block. Settings that need a restart apply from the next block on."""
    port = free_port()
    before = os.environ.get("THREADLINE_PG_BIN")
    if programs:
        os.environ["THREADLINE_PG_BIN"] = str(programs)
    try:
        server = Server(Home(folder), port)
        folder.chmod(0o711)
        with server:
            server.wait_until_ready()
            cluster = TestCluster(LocalCluster(Home(folder), port), server._binaries.folder)
            with psycopg.connect(cluster.url("template1"), autocommit=True) as connection:
                for name, value in settings.items():
                    connection.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), value))
                connection.execute("select pg_reload_conf()")
            yield cluster
    finally:
        if before is None:
            os.environ.pop("THREADLINE_PG_BIN", None)
        else:
            os.environ["THREADLINE_PG_BIN"] = before
