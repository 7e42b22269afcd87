"""A matrix of rights: callers across, statements down, and in each cell the result of a statement."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import psycopg
from psycopg.errors import InsufficientPrivilege, NotNullViolation, UniqueViolation

from tests.support.database import Db, become, become_anon, become_service, rows
from tests.support.realtime import fire_deferred_triggers


class Cell(NamedTuple):
    """One caller and one statement."""

    table: str
    title: str
    caller: str
    outcome: str
    statement: str


class Group(NamedTuple):
    """All cells of one caller and one table."""

    caller: str
    table: str
    cells: list[Cell]

    def __str__(self) -> str:
        return f"{self.caller}: {self.table}"

    @property
    def outcomes(self) -> dict[str, str]:
        """What the matrix says, by title."""
        return {cell.title: cell.outcome for cell in self.cells}


def group(cells: Sequence[Cell]) -> list[Group]:
    """Group cells by caller and table: one test for each group is much faster than one for each cell."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.caller, cell.table), []).append(cell)
    return [Group(*key, found) for key, found in groups.items()]


def read_cells(matrix: str, callers: Sequence[str]) -> Iterator[Cell]:
    """Yield the cells of a matrix. Its second line names the callers."""
    table, title, outcomes, width = "", "", [], len(callers)
    for line in matrix.splitlines()[2:]:
        if line.startswith("    "):
            yield from (Cell(table, title, *each, line.strip()) for each in zip(callers, outcomes, strict=True))
        elif line.startswith("  "):
            *words, outcomes = *line.split()[:-width], line.split()[-width:]
            title = " ".join(words)
        elif line:
            table = line


def run(db: Db, cells: Sequence[Cell], names: dict[str, str], user_id: str | None) -> dict[str, str]:
    """Run the statement of each cell as its caller, roll it back, and return the result of each title."""
    values = {name: f"'{id_}'::uuid" for name, id_ in names.items()}
    # One caller for all cells, because signing in takes longer than most statements.
    with db.transaction(force_rollback=True):
        if user_id:
            become(db, user_id)
        else:
            (become_anon if cells[0].caller == "anon" else become_service)(db)
        return {cell.title: _try(db, cell.statement.format(**values)) for cell in cells}


def _try(db: Db, statement: str) -> str:
    try:
        with db.transaction(force_rollback=True):
            return "yes" if db.execute(statement).rowcount else "-"
    except InsufficientPrivilege:
        return "no"
    except UniqueViolation:
        return "dup"
    except NotNullViolation:
        return "null"
    except psycopg.Error as error:
        if error.sqlstate not in {"PT404", "PT409"}:
            raise
        return "gone" if error.sqlstate == "PT404" else "last"


# What an UPDATE without a condition sets in each table that users may change.
CHANGES = {
    "ai_twins": "display_name = 'x'", "channel_members": "role = 'member'", "channels": "name = 'x'",
    "member_states": "is_muted = true", "messages": "content = 'x'", "messaging_connections": "is_active = false",
    "people": "full_name = 'x'", "user_profiles": "display_name = 'x'", "workspace_members": "role = 'member'",
    "workspaces": "name = 'x'",
}  # fmt: skip
# Rows of tables that are empty otherwise, in all channels and for all twins.
FILES = """
insert into attachments (channel_id, file_name, size, content_type) select id, 'x', 0, 'x' from channels;
insert into twin_webhooks (ai_twin_id, url) select id, 'https://twin.example' from ai_twins on conflict do nothing
"""
POLICIES = """
select tablename, cmd from pg_policies where schemaname = 'public' and cmd in ('DELETE', 'UPDATE') order by 1, 2
"""


def list_blind_writes(db: Db, user_id: str) -> list[str]:
    """Return the statements that touch more rows, as a user, than the same ones with a condition.

    A condition reads the rows, so Postgres applies the SELECT policy too, and a wrong policy of the verb does not show.
    """
    fire_deferred_triggers(db)
    policies = rows(db, POLICIES)
    with db.transaction(force_rollback=True):
        # Else a rule of ownership may reject the rows before they are counted.
        db.execute(";".join(f"alter table public.{table} disable trigger user" for table, _ in policies))
        # An author may write a deleted message as far as the policy goes.
        db.execute("delete from messages where deleted_at is not null")
        db.execute(FILES)
        become(db, user_id)
        starts = [
            f"delete from {table}" if verb == "DELETE" else f"update {table} set {CHANGES[table]}"
            for table, verb in policies
        ]
        return [start for start in starts if _count(db, start) != _count(db, f"{start} where ctid is not null")]


def _count(db: Db, statement: str) -> int:
    try:
        with db.transaction(force_rollback=True):
            return db.execute(statement).rowcount
    except InsufficientPrivilege:
        return -1
