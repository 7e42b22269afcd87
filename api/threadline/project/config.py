"""Edits the block of the Edge Function in supabase/config.toml; everything else in the file stays as it is."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import tomlkit
from click import ClickException
from tomlkit.exceptions import TOMLKitError

from threadline.project.shipped import FUNCTION

_REASON = "Integrators show the key of their connection and have no token of this project."


def with_function(text: str) -> str:
    """Return the text with `verify_jwt = false` for the Edge Function."""

    def edit(document: Any) -> None:
        functions = document.setdefault("functions", tomlkit.table(is_super_table=True))
        if FUNCTION in functions:
            functions[FUNCTION]["verify_jwt"] = False
            return
        block = tomlkit.table()
        if isinstance(document, tomlkit.TOMLDocument):
            block.add(tomlkit.comment(_REASON))
        block["verify_jwt"] = False
        functions[FUNCTION] = block

    if tomllib.loads(text).get("functions", {}).get(FUNCTION, {}).get("verify_jwt") is False:
        return text
    return _edit(text, edit)


def without_function(text: str) -> str:
    """Return the text without the block of the Edge Function."""

    def edit(document: Any) -> None:
        del document["functions"][FUNCTION]
        if not document["functions"]:
            del document["functions"]

    if FUNCTION not in tomllib.loads(text).get("functions", {}):
        return text
    return _edit(text, edit).rstrip("\n") + "\n"


def read_project_id(text: str) -> str:
    """Return the name that the project has in its config."""
    return str(tomllib.loads(text).get("project_id", ""))


def list_buckets(text: str) -> set[str]:
    """Return the buckets that `supabase start` creates, named as the database check names them."""
    return {f"the Storage bucket {name}" for name in tomllib.loads(text).get("storage", {}).get("buckets", {})}


def _edit(text: str, edit: Callable[[Any], None]) -> str:
    """Edit the text, and prove with another parser that nothing else has changed."""
    wanted = tomllib.loads(text)
    edit(wanted)
    lines = text.replace("\r\n", "\n")
    try:
        document = tomlkit.parse(lines)
        edit(document)
        edited = tomlkit.dumps(document)
        if tomllib.loads(edited) != wanted:
            raise ValueError
    except (TOMLKitError, ValueError) as error:
        raise ClickException(
            f"supabase/config.toml has a form that cannot be edited safely; give [functions.{FUNCTION}] "
            "the line verify_jwt = false by hand and run this again; nothing was written."
        ) from error
    return edited.replace("\n", "\r\n") if lines != text else edited
