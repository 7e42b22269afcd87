"""A matrix of rights: callers across, statements down, and in each cell the result of a statement."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import psycopg
from psycopg.errors import InsufficientPrivilege, NotNullViolation, UniqueViolation

from tests.support.database import Db, become, become_anon, become_service


class Cell(NamedTuple):
    """One caller and one statement."""

    table: str
    title: str
    caller: str
    outcome: str
    statement: str

    def __str__(self) -> str:
        return f"{self.caller}: {self.table.rpartition('_')[2]}: {self.title}"


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


def run(db: Db, cell: Cell, names: dict[str, str], user_id: str | None) -> str:
    """Run the statement of a cell as its caller, roll it back, and return its result."""
    statement = cell.statement.format(**{name: f"'{id_}'::uuid" for name, id_ in names.items()})
    try:
        with db.transaction(force_rollback=True):
            if user_id:
                become(db, user_id)
            else:
                (become_anon if cell.caller == "anon" else become_service)(db)
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
