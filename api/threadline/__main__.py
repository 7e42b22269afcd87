"""The `threadline` command: runs the service, checks a project, adds Threadline to one. Packages add commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from threadline import __version__
from threadline.project import commands
from threadline.settings import PUBLISHED_JWT_SECRETS, Settings
from threadline.tls import is_loopback

COMMANDS = "threadline.commands"  # entry points with which other packages add commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="threadline")
def main() -> None:
    """Threadline: a messaging backend that lives inside your own Supabase project."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, type=click.IntRange(1, 65535), show_default=True, help="Port to listen on.")
@click.option("--workers", default=1, type=click.IntRange(1), show_default=True, help="Processes that share the port.")
def serve(host: str, port: int, workers: int) -> None:
    """Serve the HTTP API. The environment holds the settings."""
    import logging.config

    import uvicorn

    from threadline.logs import CONFIG
    from threadline.protocol import Protocol
    from threadline.start import check_database, check_port, check_tokens

    settings = Settings.from_environment()
    if settings.jwt_secret in PUBLISHED_JWT_SECRETS and not is_loopback(host):
        raise click.ClickException(
            "JWT_SECRET is a secret that Supabase has published, so everyone can sign tokens with it. "
            "Set your own secret, or listen on 127.0.0.1 only."
        )
    logging.config.dictConfig(CONFIG)
    check_tokens(settings)
    check_port(host, port)
    check_database(settings)
    with adding_up_metrics() if workers > 1 else nullcontext():
        uvicorn.run(
            "threadline.__main__:application",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http=partial(Protocol, patience=settings.body_timeout),
            log_config=CONFIG,
            proxy_headers=False,  # the client's address and scheme are not used
            access_log=False,  # request lines can hold an API key in the query
            # Longer than proxies and clients keep idle connections, so that they never reuse one that is closing.
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,  # seconds for requests under way, so that an endless one cannot block
        )


@contextmanager
def adding_up_metrics() -> Iterator[None]:
    """Set a folder in which all processes write their metrics, so that each can report those of all."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        yield
        return
    with TemporaryDirectory(prefix="threadline-metrics-", ignore_cleanup_errors=True) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


@main.command()
def work() -> None:
    """Only post deliveries to webhooks of twins.

    Set THREADLINE_DELIVER=0 for `serve` then.
    """
    import asyncio
    import logging.config
    import signal

    from threadline.logs import CONFIG
    from threadline.worker import deliver

    settings = Settings.from_environment()
    logging.config.dictConfig(CONFIG)
    asyncio.run(deliver(settings, (signal.SIGINT, signal.SIGTERM)))


@main.command()
def doctor() -> None:
    """Check the project and print what to fix.

    The environment names the project. The exit status is 1 if there is anything to fix.
    """
    import asyncio

    from threadline.doctor import examine

    findings = asyncio.run(examine(Settings.from_environment()))
    click.echo("\n".join(findings) or "Nothing is missing or wrong.")
    sys.exit(bool(findings))


@main.command()
@click.option("--url", required=True, envvar="SUPABASE_URL", help="The project: https://REF.supabase.co.")
@click.option("--key", required=True, envvar="SUPABASE_PUBLISHABLE_KEY", help="Its publishable key.")
@click.option("--service", help="URL of `threadline serve`, for summaries. Without it, the console offers none.")
@click.option("--port", default=8010, type=click.IntRange(1, 65535), show_default=True, help="Port on this machine.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write the files there instead.")
def console(url: str, key: str, service: str | None, port: int, out: Path | None) -> None:
    """Serve the console on this machine for a project elsewhere."""
    import uvicorn
    from litestar import Litestar

    from threadline.keys import find_kind
    from threadline.routes.console import console, write
    from threadline.start import check_port

    if find_kind(key) == "secret":
        raise click.ClickException("This is the secret key. Pass the publishable key, which browsers may know.")
    config = {"url": url.rstrip("/"), "key": key, **({"service": service} if service else {})}
    if out:
        write(out, config, click.echo)
        return
    check_port("127.0.0.1", port)
    click.echo(f"The console of {config['url']}: http://127.0.0.1:{port}/console/\nCtrl-C ends it.")
    app = Litestar(route_handlers=console(config), openapi_config=None, logging_config=None)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


def application() -> object:
    """Build the ASGI application; each worker of `serve` calls this once."""
    import gc
    import logging

    from threadline.app import create_app

    logging.captureWarnings(True)
    app = create_app(Settings.from_environment())
    # What is loaded now stays until the end, so the garbage collector need not look through it again and again.
    gc.collect()
    gc.freeze()
    return app


for command in (commands.add, commands.remove, commands.sql):
    main.add_command(command)
for entry_point in entry_points(group=COMMANDS):
    main.add_command(entry_point.load(), entry_point.name)


if __name__ == "__main__":
    main()
