"""The local stack's commands: up, status, token, stop, db reset."""

import asyncio

import click

from threadline_devstack import keys, report, stack
from threadline_devstack.database import Cluster
from threadline_devstack.errors import StackError
from threadline_devstack.home import Home, Running
from threadline_devstack.project import Project


@click.command()
def up() -> None:
    """Run the whole stack on this machine until Ctrl-C."""
    stack.up(Project.from_environment())


@click.command()
@click.option("-o", "--output", type=click.Choice(list(report.FORMATS)), default="pretty", show_default=True)
def status(output: str) -> None:
    """Print the URLs and keys of the running stack."""
    running = _ready(Home(Project.from_environment().home))
    click.echo(report.FORMATS[output](report.values(running.ports)))


@click.command()
@click.argument("email")
def token(email: str) -> None:
    """Print an access token for a user.

    It is the token that signing in with a password gives.
    """
    home = Home(Project.from_environment().home)
    running = _ready(home)
    user = asyncio.run(Cluster(home, running.ports.database).sign_in(email))
    key = keys.SigningKey.of(home.signing_key)
    click.echo(key.sign(keys.user_claims(user, api_url=running.ports.api_url, session=user["session"])))


@click.command()
def stop() -> None:
    """Stop the running stack; its data stays."""
    stack.stop(Home(Project.from_environment().home))
    click.echo("Stopped.")


@click.group()
def db() -> None:
    """Work on the local database."""


@db.command()
def reset() -> None:
    """Rebuild the database from the migrations and the seed. All other data is lost."""
    stack.reset(Project.from_environment())
    click.echo("The database is new.")


COMMANDS = {command.name: command for command in (db, status, stop, token, up)}


def _ready(home: Home) -> Running:
    running = home.running()
    if not running.ready:
        raise StackError(f"The stack (process {running.pid}) is still starting; try again in a moment.")
    return running
