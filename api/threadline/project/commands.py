"""The commands `threadline add`, `remove` and `sql`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from threadline.project.shipped import CLI, FUNCTION

if TYPE_CHECKING:
    from threadline.project.folder import Change, Project


def _options(command: Any) -> Any:
    for option in (
        click.option("--yes", is_flag=True, help="Write without asking."),
        click.option("--dry-run", is_flag=True, help="Print the plan and write nothing."),
        click.option(
            "--workdir",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            default=".",
            help="Folder of your Supabase project, if it is not this one.",
        ),
    ):
        command = option(command)
    return command


@click.command()
@_options
@click.option("--database-url", help="Also look for names in use in this database, which is only read.")
def add(workdir: Path, dry_run: bool, yes: bool, database_url: str | None) -> None:
    """Add Threadline to your Supabase project, or upgrade it."""
    from threadline.project.database import list_taken_names
    from threadline.project.folder import Project
    from threadline.project.plan import plan_addition

    project = Project.find(workdir)
    taken = asyncio.run(list_taken_names(database_url)) if database_url else set()
    if "Threadline" in taken and not project.state().version:
        raise click.ClickException(
            "The database has Threadline already, but supabase/migrations does not; "
            f'run "{CLI} migration fetch --remote" first, or push its removal; nothing was written.'
        )
    changes = plan_addition(project, taken)
    if _carry_out(project, changes, "Threadline is in this project already, at this version.", dry_run, yes):
        _print_next("db push --remote", f"functions deploy {FUNCTION}")


@click.command()
@_options
@click.option("--drop-data", metavar="PROJECT_ID", help="Also delete the rows of all tables of Threadline.")
def remove(workdir: Path, dry_run: bool, yes: bool, drop_data: str | None) -> None:
    """Remove Threadline from your Supabase project.

    Without --drop-data the migration fails, and changes nothing, while the tables have rows. PROJECT_ID is the
    project_id of supabase/config.toml.
    """
    from threadline.project.folder import Project
    from threadline.project.plan import plan_removal

    project = Project.find(workdir)
    changes = plan_removal(project, drop_data)
    if _carry_out(project, changes, "Threadline is not in the migrations of this project.", dry_run, yes):
        _print_next("db push --remote", f"functions delete {FUNCTION}")


@click.command()
@click.option("--from", "start", metavar="VERSION", help="Schema version that the database has; without it, none.")
@click.option("--to", "end", metavar="VERSION", help="Schema version that it shall have; without it, the newest.")
def sql(start: str | None, end: str | None) -> None:
    """Print the migrations for other runners than Supabase's."""
    from threadline.project import shipped

    known = [each.version for each in shipped.migrations()]
    for version in (start, end):
        if version is not None and version not in known:
            raise click.ClickException(f"There is no schema version {version}; there is {', '.join(known)}.")
    wanted = [
        each.sql for each in shipped.migrations() if (start or "") < each.version <= (end or shipped.newest_version())
    ]
    click.echo("\n".join(wanted), nl=False)


def _carry_out(project: Project, changes: list[Change], nothing: str, dry_run: bool, yes: bool) -> bool:
    """Print the plan, ask, and write. Return whether something was written."""
    if not changes:
        click.echo(nothing)
        return False
    click.echo(f"In {project.folder}:")
    for change in changes:
        click.echo(f"  {change.verb:8}{project.label(change.path)}{change.detail}")
    if dry_run:
        click.echo("Nothing was written (--dry-run).")
        return False
    try:
        agreed = yes or click.confirm("Write this?")
    except click.Abort as error:
        raise click.ClickException("Nothing was written. With --yes, this command does not ask.") from error
    if not agreed:
        click.echo("Nothing was written.")
        return False
    project.write(changes)
    return True


def _print_next(*commands: str) -> None:
    click.echo("Done. Now run:")
    for command in commands:
        click.echo(f"  {CLI} {command}")
