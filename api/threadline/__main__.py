"""The `threadline` command: `serve`, `work` and `doctor`, and the commands that other packages add."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import entry_points
from ipaddress import ip_address
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from threadline import __version__

if TYPE_CHECKING:
    from threadline.settings import Settings

COMMANDS = "threadline.commands"  # entry points with which other packages add commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="threadline")
def main() -> None:
    """Threadline: a messaging backend that lives inside your own Supabase project."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, help="Processes that share the port.")
def serve(host: str, port: int, workers: int) -> None:
    """Serve the HTTP API in front of the database that the environment names."""
    import uvicorn

    from threadline.logs import CONFIG
    from threadline.protocol import Protocol
    from threadline.settings import PUBLISHED_JWT_SECRETS

    if read_settings().jwt_secret in PUBLISHED_JWT_SECRETS and not is_loopback(host):
        raise click.ClickException(
            "JWT_SECRET is one that Supabase has published, so anybody can sign tokens with it: "
            "set a secret of your own, or listen on 127.0.0.1 only."
        )
    with adding_up_metrics() if workers > 1 else nullcontext():
        uvicorn.run(
            "threadline.__main__:application",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http=Protocol,
            log_config=CONFIG,
            proxy_headers=False,  # nothing here depends on who has connected, or how
            access_log=False,  # a request line may carry an API key in its query string
            # Longer than proxies and clients keep an idle connection: else one is cut just as it is used again.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,  # seconds for requests under way; one that never ends must not keep us
        )


@contextmanager
def adding_up_metrics() -> Iterator[None]:
    """Name a folder in which processes leave their metrics, so that whichever is asked tells those of all."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="threadline-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


@main.command()
def work() -> None:
    """Forward messages to digital twins and do nothing else; set THREADLINE_DELIVER=0 where `serve` should not."""
    import asyncio
    import logging.config
    import signal

    from threadline.logs import CONFIG
    from threadline.worker import deliver

    settings = read_settings()
    logging.config.dictConfig(CONFIG)
    asyncio.run(deliver(settings, (signal.SIGINT, signal.SIGTERM)))


@main.command()
def doctor() -> None:
    """Look at the project that the environment names, and say what is missing or wrong; exit 1 if anything is."""
    import asyncio

    from threadline.doctor import examine

    findings = asyncio.run(examine(read_settings()))
    click.echo("\n".join(findings) or "Nothing is missing or wrong.")
    sys.exit(bool(findings))


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine reaches what listens on this address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_settings() -> Settings:
    """Return what the environment says, or raise ClickException with what is wrong with it."""
    from threadline.settings import Settings, SettingsError

    try:
        return Settings.from_environment()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


def application() -> object:
    """Build the ASGI application from the environment; each worker of `serve` calls it once."""
    import logging

    from threadline.app import create_app
    from threadline.settings import Settings

    logging.captureWarnings(True)
    return create_app(Settings.from_environment())


for entry_point in entry_points(group=COMMANDS):
    main.add_command(entry_point.load(), entry_point.name)


if __name__ == "__main__":
    main()
