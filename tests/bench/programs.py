"""Servers beside the service: PostgREST, and functions under Deno. Each ends with its `with` block."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import httpx
from threadline_devstack import keys, process

from tests.support.cluster import free_port
from tests.support.schema import ROOT

PATIENCE = 60.0
NO_GATEWAY = Path(__file__).with_name("no_gateway.ts")
RIGHTS = ("--no-prompt", "--allow-net=127.0.0.1", "--allow-env")


@contextmanager
def postgrest(program: Path, database_url: str, schemas: str, **settings: str) -> Iterator[str]:
    """Run the Data API of these schemas, the first is the default; yield its URL."""
    environment = {
        "LC_ALL": "C.UTF-8",
        "PGRST_DB_ANON_ROLE": "anon",
        "PGRST_DB_SCHEMAS": schemas,
        "PGRST_DB_URI": database_url,
        "PGRST_JWT_SECRET": keys.JWT_SECRET,
        "PGRST_LOG_LEVEL": "crit",
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port := free_port()),
        **settings,
    }
    with _answering([program], port, environment) as (url, _):
        yield url


@contextmanager
def asgi(application: str, **environment: str) -> Iterator[str]:
    """An ASGI application, given as module:name, under the server of `threadline serve`; answers its URL."""
    port = free_port()
    options = ("--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log")
    command = [sys.executable, "-m", "uvicorn", application, *options]
    with _answering(command, port, {"PYTHONPATH": str(ROOT), **environment}) as (url, _):
        yield url


@contextmanager
def function(deno: Path, script: Path, **environment: str) -> Iterator[str]:
    """A function that calls Deno.serve, with no gateway before PostgREST; answers its URL."""
    port = free_port()
    told = {
        "DENO_NO_UPDATE_CHECK": "1",
        "DENO_SERVE_ADDRESS": f"tcp:127.0.0.1:{port}",
        "HOME": os.environ["HOME"],  # where Deno keeps the packages it has fetched
        "PORT": str(port),
        **environment,
    }
    command = [deno, "run", "--quiet", "--no-config", "--no-lock", *RIGHTS, "--preload", NO_GATEWAY, script]
    with _answering(command, port, told) as (url, _):
        yield url


@contextmanager
def fan_server(*arguments: str) -> Iterator[tuple[int, int]]:
    """A server of `fan_server.py`: its name and what else it takes; answers its port and process id."""
    port = free_port()
    name, *more = arguments
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "tests.bench.fan_server", name, str(port), *more]
    with _answering(command, port, environment) as (_, pid):
        yield port, pid


@contextmanager
def _answering(command: Sequence[str | Path], port: int, environment: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    url = f"http://127.0.0.1:{port}"
    with TemporaryFile() as output:
        child = process.spawn(command, output=output, end=signal.SIGTERM, environment=environment)
        try:
            deadline = time.monotonic() + PATIENCE
            while not _is_answering(url):
                if child.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    raise RuntimeError(f"{Path(command[0]).name} does not answer: {output.read().decode()}")
                time.sleep(0.05)
            yield url, child.pid
        finally:
            process.stop(child, (signal.SIGTERM, 5.0))


def _is_answering(url: str) -> bool:
    """Check for an answer other than 503, which PostgREST gives until it has read the schema."""
    try:
        return httpx.get(url, timeout=PATIENCE).status_code != httpx.codes.SERVICE_UNAVAILABLE
    except httpx.TransportError:
        return False
