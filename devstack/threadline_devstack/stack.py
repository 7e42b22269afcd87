"""Starts the parts of the stack in order, and ends all of them."""

import asyncio
import os
import signal
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Protocol

import click

from threadline_devstack import postgrest, report
from threadline_devstack.database import PASSWORDS, Cluster
from threadline_devstack.errors import StackError
from threadline_devstack.home import Home
from threadline_devstack.postgres import Server
from threadline_devstack.process import signals_handled_by
from threadline_devstack.project import Ports, Project, reserve
from threadline_devstack.storage.files import Files

if TYPE_CHECKING:
    from threadline_devstack.auth.api import AuthApi
    from threadline_devstack.data_api import DataApi
    from threadline_devstack.realtime.service import Realtime
    from threadline_devstack.storage.api import StorageApi

DATA_API = "/rest/v1"
# What the page at `/` says of the stand-ins.
PARTS = (
    (DATA_API, "The Data API of the local project: tables and functions."),
    ("/auth/v1", "Auth of the local project. The seeded users have the password password123."),
    ("/storage/v1", "Storage of the local project."),
    ("/realtime/v1", "Realtime of the local project."),
)
STOP_TIMEOUT = 30.0  # longer than the timeouts of HTTP and Postgres together


class Child(Protocol):
    """A process beside the HTTP API. Its `with` block is its life."""

    name: str

    def has_ended(self) -> bool:
        """Tell whether it ended by itself."""


def up(project: Project) -> None:
    """Run the stack in the foreground until Ctrl-C, SIGTERM, or the end of its terminal.

    Raises StackError when it cannot start, or when one of its processes ends by itself. In every case nothing
    that was started here is left running.
    """
    home, ports = Home(project.home), project.ports
    with suppress(KeyboardInterrupt), signals_handled_by(signal.default_int_handler), ExitStack() as parts:
        parts.enter_context(home.held())
        home.announce(ports, ready=False)
        listener = parts.enter_context(reserve(ports.http, "THREADLINE_PORT"))
        postgres = parts.enter_context(Server(home, ports.database))
        # These imports take longer than Postgres needs to start, and no other command needs them.
        import uvloop

        from threadline_devstack.requests import show_requests
        from threadline_devstack.server import HttpServer

        application, data_api, auth, storage, realtime = create_application(project)
        postgres.wait_until_ready()
        runner = parts.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        runner.run(Cluster(home, ports.database).prepare(project))
        parts.callback(lambda: runner.run(data_api.close()))
        parts.callback(lambda: runner.run(auth.close()))
        parts.callback(lambda: runner.run(storage.close()))
        parts.callback(lambda: runner.run(realtime.close()))
        children: list[Child] = [postgres, parts.enter_context(data_api)]

        def on_ready() -> None:
            home.announce(ports, ready=True)
            click.echo(welcome(ports, has_data_api=data_api.is_running))

        def ended() -> list[str]:
            return [child.name for child in children if child.has_ended()]

        server = HttpServer(
            show_requests(application), realtime.accept, on_ready=on_ready, must_end=lambda: bool(ended())
        )
        runner.run(server.serve(sockets=[listener]))
        if names := ended():
            raise StackError(f"{names[0]} ended by itself, and so does the stack; see the logs in {home.folder}.")


def create_application(project: Project) -> "tuple[object, DataApi, AuthApi, StorageApi, Realtime]":
    """Build the HTTP application, connected to this stack's database, and the stand-ins in it."""
    from threadline.app import create_app
    from threadline.settings import Settings

    from threadline_devstack.auth.api import JWKS_PATH, AuthApi
    from threadline_devstack.data_api import DataApi
    from threadline_devstack.gateway import Gateway
    from threadline_devstack.keys import JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY, SigningKey
    from threadline_devstack.realtime.service import Realtime
    from threadline_devstack.storage.api import StorageApi

    settings = Settings(
        database_url=project.ports.database_url("authenticator", PASSWORDS["authenticator"]),
        jwks_url=project.ports.api_url + JWKS_PATH,
        jwt_secret=JWT_SECRET,
        supabase_url=project.ports.api_url,
        supabase_key=PUBLISHABLE_KEY,
        supabase_secret_key=SECRET_KEY,
        anthropic_api_key=os.environ.get("ANTHROPIC_API_KEY") or None,
        anthropic_base_url=os.environ.get("ANTHROPIC_BASE_URL") or None,
        summary_model=os.environ.get("THREADLINE_SUMMARY_MODEL") or Settings.summary_model,
        metrics_token=os.environ.get("THREADLINE_METRICS_TOKEN") or None,
        deliver=_is_on("THREADLINE_DELIVER", "1"),
        # For developers whose twin runs on this machine.
        webhook_allow_private=_is_on("THREADLINE_WEBHOOK_ALLOW_PRIVATE", "0"),
        console=_is_on("THREADLINE_CONSOLE", "1"),
    )
    gateway = Gateway(SigningKey.of(Home(project.home).signing_key))
    data_api, auth, storage = DataApi(project), AuthApi(project), StorageApi(project)
    realtime = Realtime.of(project, gateway)
    routes = [gateway.route(server) for server in (data_api, auth, storage, realtime)]
    parts = PARTS if postgrest.find() else ((DATA_API, f"Not here. {postgrest.advice()}"), *PARTS[1:])
    application = create_app(settings, extra_routes=routes, extra_parts=parts, console_extras=report.CONSOLE)
    return application, data_api, auth, storage, realtime


def _is_on(name: str, default: str) -> bool:
    from threadline.settings import read_flag

    return read_flag(name, os.environ.get(name) or default)


def welcome(ports: Ports, *, has_data_api: bool) -> str:
    """Return the text that `up` prints when the stack is ready."""
    data_api = f"{ports.api_url}{DATA_API}" if has_data_api else f"not here. {postgrest.advice()}"
    return (
        "Threadline local development setup is running.\n\n"
        f"{report.pretty(report.values(ports))}\n"
        f"{'Data API':>16}: {data_api}\n"
        f"{'Console':>16}: {ports.api_url}/console/\n\n"
        f"Deliver a first message:\n\n{report.first_call(ports.api_url)}\n\n"
        "Ctrl-C stops everything."
    )


def stop(home: Home) -> None:
    """End the stack of this home and wait until it is gone; raise StackError if no stack runs."""
    pid = home.running().pid
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError as error:
        raise StackError(f"The stack (process {pid}) belongs to another user of this machine.") from error
    deadline = time.monotonic() + STOP_TIMEOUT
    while not home.is_free():
        if time.monotonic() > deadline:
            raise StackError(f"The stack (process {pid}) has not ended after {STOP_TIMEOUT:.0f} seconds.")
        time.sleep(0.02)


def reset(project: Project) -> None:
    """Rebuild the database, in the running stack or with a Postgres started for this purpose."""
    home = Home(project.home)
    # A later upload may belong to the new database already.
    files = Files(home.folder / "storage")
    outdated = files.versions()
    if not home.is_free():
        asyncio.run(Cluster(home, home.running().ports.database).reset(project))
    else:
        server = Server(home, project.ports.database)
        with signals_handled_by(signal.default_int_handler), home.held(), server:
            server.wait_until_ready()
            asyncio.run(Cluster(home, server.port).reset(project))
    for version in outdated:
        files.remove(version)
