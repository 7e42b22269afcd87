"""plpgsql_check reads every body: Postgres itself looks at one only when it runs."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

Db = psycopg.Connection[Any]

# A trigger function can only be checked with its table and its transition tables.
FINDINGS = """
select code.oid::regprocedure::text, found.lineno, found.message, found.detail
from pg_proc as code
inner join pg_language as language on language.oid = code.prolang and language.lanname = 'plpgsql'
left join pg_trigger as cause on cause.tgfoid = code.oid and not cause.tgisinternal
cross join lateral extensions.plpgsql_check_function_tb(
    code.oid, coalesce(cause.tgrelid, 0), oldtable => cause.tgoldtable, newtable => cause.tgnewtable,
    fatal_errors => false, security_warnings => true
) as found
where code.pronamespace in ('public'::regnamespace, 'private'::regnamespace)
-- The gateway passes one argument to every call, also to those that need none.
and found.message <> 'unused parameter "$1"'
-- Clients name the parameters of the Data API as the fields of the documents, such as limit and offset.
and found.message not like 'name of parameter "%" is reserved keyword'
"""


@pytest.fixture
def checker(admin_url: str) -> Iterator[Db]:
    """Open a superuser transaction with the extension, on a server that has it."""
    with psycopg.connect(admin_url) as connection:
        if not connection.execute("select from pg_available_extensions where name = 'plpgsql_check'").fetchall():
            pytest.skip("no plpgsql_check for this Postgres: apt-get install postgresql-15-plpgsql-check")
        connection.execute("create extension plpgsql_check with schema extensions")
        yield connection
        connection.rollback()


def test_function_bodies_have_no_faults(checker: Db) -> None:
    assert checker.execute(FINDINGS).fetchall() == []


@pytest.mark.parametrize(
    ("result", "body", "finding"),
    [
        ("void", "begin perform nothing from public.people; end", 'column "nothing" does not exist'),
        ("void", "declare v_unused integer; begin end", 'unused variable "v_unused"'),
        ("trigger", "begin perform changed.nothing from changed; end", "column changed.nothing does not exist"),
    ],
    ids=["unknown column", "unused variable", "unknown column of a transition table"],
)
def test_planted_fault_is_found(checker: Db, result: str, body: str, finding: str) -> None:
    checker.execute(f"create function private.planted() returns {result} language plpgsql as $$ {body} $$")
    if result == "trigger":
        checker.execute(
            """
            create trigger people_after_delete_planted after delete on public.people
            referencing old table as changed for each statement execute function private.planted()
            """
        )
    assert finding in [found for name, _, found, _ in checker.execute(FINDINGS) if name == "private.planted()"]
