"""Reads from SQL files which names they leave in a database, as far as regular expressions can."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

# Comments, bodies of functions and strings. A name in them creates nothing.
_SKIPPED = re.compile(r"--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'", re.DOTALL)
_NAME = r'(?:"?(?:\w+)"?\s*\.\s*)?"?\w+"?'
_KIND = r"(?:(?:unlogged|foreign|recursive|materialized)\s+)?(?P<{}_kind>table|view|type|schema)\s+"
_CHANGE = re.compile(
    rf"""
    \bcreate\s+(?:or\s+replace\s+)?{_KIND.format("create")}(?:if\s+not\s+exists\s+)?(?P<created>{_NAME})
    | \bdrop\s+{_KIND.format("drop")}(?:if\s+exists\s+)?(?P<dropped>{_NAME}(?:\s*,\s*{_NAME})*)
    | \balter\s+{_KIND.format("alter")}(?:if\s+exists\s+)?(?:only\s+)?(?P<old>{_NAME})\s+
      (?:rename\s+to\s+(?P<new>{_NAME})|set\s+schema\s+(?P<schema>"?\w+"?))
    """,
    re.IGNORECASE | re.VERBOSE,
)
_STATED = re.compile(
    r"""create\s+(?:or\s+replace\s+)?function\s+"?private"?\."?schema_version"?\s*\(\s*\).*?'(\d{14})'""",
    re.IGNORECASE | re.DOTALL,
)
PRIVATE = "the schema private"
BUCKET = "the Storage bucket attachments"


@dataclass
class State:
    """What a sequence of files leaves: names in public, the schema private, the schema version of Threadline."""

    names: set[str] = field(default_factory=set)
    version: str | None = None


def read_state(texts: Iterable[str]) -> State:
    """Return the state after these files, in this order."""
    state = State()
    for text in texts:
        for change in _CHANGE.finditer(_SKIPPED.sub(" ", text)):
            _apply(change, state.names)
        if stated := _STATED.findall(text):
            state.version = stated[-1]
        if PRIVATE not in state.names:
            state.version = None
    return state


def _apply(change: re.Match[str], names: set[str]) -> None:
    kind = (change["create_kind"] or change["drop_kind"] or change["alter_kind"]).lower()
    if created := change["created"]:
        names.add(_label(kind, created))
    elif dropped := change["dropped"]:
        gone = {_label(kind, name) for name in dropped.split(",")}
        # A dropped table of the schema private leaves the schema.
        names -= gone if kind == "schema" else gone - {PRIVATE}
    elif (old := _label(kind, change["old"])) in names:
        schema, _, name = change["old"].rpartition(".")
        names -= {old} - {PRIVATE}
        moved = f"{schema or 'public'}.{change['new']}" if change["new"] else f"{change['schema']}.{name}"
        names.add(_label(kind, moved))


def _label(kind: str, name: str) -> str:
    parts = [part.strip() for part in name.split(".")]
    words = [part.strip('"') if part.startswith('"') else part.lower() for part in parts]
    if kind == "schema":
        return f"the schema {words[-1]}"
    if words[0] == "private" and words[1:]:
        return PRIVATE
    return ".".join(words) if words[1:] else f"public.{words[0]}"
