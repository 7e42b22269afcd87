"""The list of seeded faults, and the statements that bring a fault in `sql/` into a database."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pglast import parse_sql, split
from pglast.ast import CreateFunctionStmt, CreatePolicyStmt, CreateTrigStmt, InsertStmt, ViewStmt

from tests.support.schema import ROOT

FAULTS = Path(__file__).with_name("faults.toml")


@dataclass(frozen=True)
class Fault:
    """A realistic mistake in one place.

    Args:
        file: the source, from the root of the repository.
        was: the text that the fault replaces, once in the file. White space in it matches any white space.
        became: the faulty text.
        by: tests, separated by spaces. At least one of them must fail.
    """

    file: str
    was: str
    became: str
    by: str

    def __str__(self) -> str:
        """Return it in one line of a table."""
        return f"{self.file} | `{' '.join(self.was.split())}` | `{' '.join(self.became.split()) or '(removed)'}`"

    def seeded(self) -> str:
        """Return the text of the file with the fault in."""
        text = (ROOT / self.file).read_text(encoding="utf-8")
        pattern = r"\s+".join(map(re.escape, self.was.split()))
        if (times := len(re.findall(pattern, text))) != 1:
            raise ValueError(f"{self.file} has {times} places like this, and one is needed: {self.was}")
        return re.sub(pattern, lambda _: self.became.strip(), text)


def list_faults(path: Path = FAULTS) -> list[Fault]:
    """Read the list."""
    return [Fault(**each) for each in tomllib.loads(path.read_text(encoding="utf-8"))["fault"]]


def list_changes(fault: Fault) -> str:
    """Return statements that bring a fault in `sql/` into a database."""
    before, after = (ROOT / fault.file).read_text(encoding="utf-8"), fault.seeded()
    known = set(split(before))
    changes = []
    for statement in split(after):
        if statement in known:
            continue
        match parse_sql(statement)[0].stmt:
            case CreateFunctionStmt():
                changes.append(re.sub(r"\bcreate function\b", "create or replace function", statement, count=1))
            case ViewStmt():
                changes.append(re.sub(r"\bcreate view\b", "create or replace view", statement, count=1))
            case CreatePolicyStmt(policy_name=name, table=table):
                changes += [f"drop policy {name} on {table.schemaname}.{table.relname}", statement]
            case CreateTrigStmt(trigname=name, relation=table):
                changes += [f"drop trigger {name} on {table.schemaname}.{table.relname}", statement]
            case InsertStmt(relation=table):
                changes += [f"delete from {table.schemaname}.{table.relname}", statement]
            case _:
                raise NotImplementedError(f"A fault in this statement needs a database of its own: {statement[:80]}")
    # A statement may also be gone.
    kept = set(split(after))
    for statement in split(before):
        if statement not in kept:
            match parse_sql(statement)[0].stmt:
                case CreateTrigStmt(trigname=name, relation=table) if f"create trigger {name}" not in after:
                    changes.append(f"drop trigger {name} on {table.schemaname}.{table.relname}")
                case CreatePolicyStmt(policy_name=name, table=table) if f"create policy {name}" not in after:
                    changes.append(f"drop policy {name} on {table.schemaname}.{table.relname}")
    return ";\n".join(changes)
