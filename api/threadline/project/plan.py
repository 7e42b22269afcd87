"""Plans of `threadline add` and `threadline remove`: which files of the project change, or why none may."""

from __future__ import annotations

from click import ClickException

from threadline.project import config, shipped
from threadline.project.folder import Change, Project
from threadline.project.names import BUCKET, read_state
from threadline.project.shipped import CLI, FUNCTION


def plan_addition(project: Project, taken: set[str] = frozenset()) -> list[Change]:
    """Return the changes that bring the project to this version. `taken` are names of its database."""
    state, text, newest = project.state(), project.config(), shipped.newest_version()
    if state.version and state.version > newest:
        raise ClickException(
            f"This project has schema version {state.version}, newer than {newest} of this threadline; "
            "run the newer threadline; nothing was written."
        )
    present = [each for each in shipped.migrations() if state.version and each.version <= state.version]
    missing = shipped.migrations()[len(present) :]
    needed = read_state(each.sql for each in missing).names - read_state(each.sql for each in present).names
    if not present:
        needed.add(BUCKET)
    _refuse((state.names | config.list_buckets(text) | taken) & needed)
    return [
        *_function_changes(project, is_installed=state.version is not None),
        *_config_change(project, config.with_function(text), f": [functions.{FUNCTION}] verify_jwt = false"),
        *project.new_migrations({f"threadline_{each.name}": each.sql for each in missing}),
    ]


def plan_removal(project: Project, drop_data: str | None) -> list[Change]:
    """Return the changes that take Threadline out of the project; none if it is not there."""
    version, newest = project.state().version, shipped.newest_version()
    if version is None:
        return []
    if version != newest:
        raise ClickException(
            f"This project has schema version {version} and this threadline removes {newest}; "
            f'bring the project to it first ("threadline add", "{CLI} db push --remote"); nothing was written.'
        )
    text = project.config()
    name = config.read_project_id(text)
    if drop_data is not None and drop_data != name:
        raise ClickException(
            f'--drop-data must name this project, which is "{name}" (project_id in supabase/config.toml); '
            "nothing was written."
        )
    files = shipped.function_files()
    own = [name for name in files if project.read("functions", FUNCTION, name) == files[name]]
    return [
        *(Change(project.path("functions", FUNCTION, name), None, "delete") for name in own),
        *_config_change(project, config.without_function(text), f": without [functions.{FUNCTION}]"),
        *project.new_migrations({"threadline_remove": shipped.removal(with_data=drop_data is not None)}),
    ]


def _refuse(names: set[str]) -> None:
    if names:
        raise ClickException(
            f"This project uses names that Threadline needs: {', '.join(sorted(names))}; "
            "rename them, or give Threadline a project of its own; nothing was written."
        )


def _function_changes(project: Project, *, is_installed: bool) -> list[Change]:
    found = {name: project.read("functions", FUNCTION, name) for name in shipped.function_files()}
    changes = []
    for name, text in shipped.function_files().items():
        if found[name] == text:
            continue
        if found[name] is not None and not is_installed:
            raise ClickException(
                f"supabase/functions/{FUNCTION} is a function of your own, and Threadline needs that name; "
                "rename it; nothing was written."
            )
        verb = "create" if found[name] is None else "replace"
        changes.append(Change(project.path("functions", FUNCTION, name), text, verb))
    return changes


def _config_change(project: Project, text: str, detail: str) -> list[Change]:
    return [Change(project.path("config.toml"), text, "change", detail)] if text != project.config() else []
