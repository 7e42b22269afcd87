"""Lists a folder, in the order of the genuine server."""

from collections.abc import Iterable, Mapping
from typing import Any

from threadline_devstack.storage import answers
from threadline_devstack.storage.bodies import missing, parse_choice, parse_count

DATED = ("created_at", "updated_at", "last_accessed_at")
COLUMNS = ("name", "id", *DATED, "metadata")
SORTABLE = ("name", *DATED)


def parse_prefix(wanted: Mapping[str, Any]) -> str:
    """Return the folder to list, with a slash at its end; raise Refusal if it is missing."""
    if not isinstance(wanted.get("prefix"), str):
        raise missing("prefix")
    prefix = wanted["prefix"].strip("/")
    return f"{prefix}/" if prefix else ""


def page(wanted: Mapping[str, Any], prefix: str, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of a folder that the caller asks for; raise Refusal if the request is wrong."""
    order = wanted.get("sortBy") or {}
    column = parse_choice(order, "column", SORTABLE, "name")
    is_descending = parse_choice(order, "order", ("asc", "desc"), "asc") == "desc"
    first = parse_count(wanted, "offset", 0)
    limit = parse_count(wanted, "limit", 100, least=1)
    search = str(wanted.get("search") or "").lower()
    entries: dict[str, dict[str, Any]] = {}
    for row in rows:
        name, slash, _ = row["name"].removeprefix(prefix).partition("/")
        if name.lower().startswith(search):
            described = answers.entry(row, *COLUMNS)
            entries[name] = (dict.fromkeys(described) if slash else described) | {"name": name}

    def key(entry: Mapping[str, Any]) -> tuple[Any, ...]:
        value = None if column == "name" else entry[column]
        # As in Postgres, null sorts after every value: folders are last, and first in descending order.
        return (column != "name" and value is None, value or "", collate(entry["name"]))

    return sorted(entries.values(), key=key, reverse=is_descending)[first : first + limit]


def collate(name: str) -> tuple[Any, ...]:
    """Return a sort key close to the platform's locale, en_US: punctuation, digits, letters; small before capital."""

    def kind(character: str) -> int:
        return 2 if character.isalpha() else int(character.isdigit())

    return [(kind(character), character) for character in name.casefold()], name.swapcase()
