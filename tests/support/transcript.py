"""What calls answer and what they change in the database, as text that is the same in each run."""

import json
import re
from collections.abc import Iterable, Mapping, Set
from typing import Any

from tests.support.database import Db, become_postgres

Row = dict[str, Any]
State = dict[tuple[str, str], Row]  # by table and primary key

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00|\+00)?")
GIVEN_UNTIL = "2026-03-01"  # the times that tests give are earlier, and those of the clock are later
BYTES = re.compile(r"\\x[0-9a-f]{16,}")
# Numbers of sequences and transactions, random keys and what is derived from them.
UNSTEADY = {
    "xid",
    "number",
    "change_id",
    "secret",
    "api_secret",
    "token",
    "signature",
    "next_cursor",
    "cursor",
    "minute",
    "day",
    "code",
}
COLUMNS = """
select tables.oid::regclass::text, coalesce((
    select array_agg(attribute.attname::text order by attribute.attnum)
    from pg_index as index
    inner join pg_attribute as attribute on attribute.attrelid = index.indrelid and attribute.attnum = any(index.indkey)
    where index.indrelid = tables.oid and index.indisprimary
), '{}')
from pg_class as tables
where tables.relnamespace::regnamespace::text in ('public', 'private') and tables.relkind in ('r', 'p')
    and not tables.relispartition and tables.relname <> 'phone_regions'  -- 240 rows that no call changes
"""


def list_tables(db: Db) -> dict[str, list[str]]:
    """Return the tables whose rows count, with the columns of their primary keys."""
    found = dict(db.execute(COLUMNS).fetchall())
    return found | {"realtime.messages": ["id"], "storage.objects": ["id"], "auth.users": ["id"]}


class Masks:
    """Gives names to known ids, and hides what differs between two runs."""

    def __init__(self, names: Mapping[str, str], hidden: Set[str] = UNSTEADY) -> None:
        self._names, self._hidden = names, hidden

    def hide(self, *keys: str) -> "Masks":
        """Return masks that hide more."""
        return Masks(self._names, self._hidden.union(keys))

    def text(self, text: str) -> str:
        """Return a text without what is random."""
        text = UUID.sub(lambda found: f"<{self._names.get(found[0], 'id')}>", text)
        text = TIME.sub(lambda found: found[0] if found[0] < GIVEN_UNTIL else "<now>", text)
        return BYTES.sub("<bytes>", text)

    def value(self, given: Any, key: str = "") -> Any:
        """Return a JSON value without what is random."""
        if isinstance(given, dict):
            return {self.text(name): self.value(each, name) for name, each in given.items()}
        if isinstance(given, list):
            values = [self.value(each, key) for each in given]
            return sorted(values) if key == "external_ids" else values  # of changes of an inbox, where the plan decides
        if key in self._hidden or (key == "id" and isinstance(given, int)):
            return given and "<any>"
        return self.text(given) if isinstance(given, str) else given

    def line(self, given: Any) -> str:
        """Return a value as one line of JSON."""
        return json.dumps(self.value(given), ensure_ascii=False, sort_keys=True)


def read_state(db: Db, tables: Mapping[str, list[str]]) -> State:
    """Return all rows of tables."""
    become_postgres(db)
    query = " union all ".join(f"select '{table}', to_jsonb(t) from {table} as t" for table in tables)
    return {
        (table, json.dumps([row[column] for column in tables[table]] or row)): row
        for table, row in db.execute(query).fetchall()
    }


def list_changes(before: State, after: State, masks: Masks) -> list[str]:
    """Return a line for each row that came or changed and for the rows that went, in an order that no id decides."""
    lines = []
    gone: dict[str, list[str]] = {}
    for key in before.keys() | after.keys():
        table, old, new = key[0], before.get(key), after.get(key)
        if new is None:
            gone.setdefault(table, []).append(masks.text(key[1]))
        elif old is None:
            row = {name: each for name, each in new.items() if each not in (None, [], {})}
            lines.append(f"+ {table} {masks.line(row)}")
        elif old != new:
            names = [name for name in new if old.get(name) != new[name]]
            values = [
                f"{name}: {masks.line({name: old.get(name)})} -> {masks.line({name: new[name]})}" for name in names
            ]
            lines.append(f"~ {table} {masks.text(key[1])} {', '.join(values)}")
    lines += [f"- {table} {len(keys)}: {' '.join(sorted(keys))}" for table, keys in gone.items()]
    return sorted(lines)


def parse(text: str) -> dict[str, list[str]]:
    """Return the sections of a transcript."""
    sections: dict[str, list[str]] = {}
    for section in text.split("\n## ")[1:]:
        name, *lines = section.rstrip("\n").split("\n")
        sections[name] = lines
    return sections


def render(head: str, sections: Mapping[str, Iterable[str]]) -> str:
    """Return the text of a transcript."""
    return head + "".join(
        f"\n## {name}\n" + "".join(f"{line}\n" for line in sections[name]) for name in sorted(sections)
    )
