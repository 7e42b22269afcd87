"""Rules of style that no linter sees: it reads the body of a function as one string.

Each rule is a function from the text of a file to what offends in it, and stands beside something that does.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pglast import parse_sql, scan, split
from pglast.ast import CommentStmt, CompositeTypeStmt, CreateFunctionStmt, CreatePolicyStmt, CreateStmt, ViewStmt
from pglast.enums import FunctionParameterMode

from tests.support import schema

LONGEST_BODY = 60
PRODUCTION = sorted((schema.ROOT / "api" / "threadline").rglob("*.py"))
parsed = cache(parse_sql)


class Function(NamedTuple):
    """A `create function` statement."""

    name: str
    language: str
    parameters: list[str]
    body: str

    @classmethod
    def of(cls, statement: CreateFunctionStmt) -> "Function":
        options = {option.defname: option.arg for option in statement.options}
        given = [
            parameter.name
            for parameter in statement.parameters or ()
            if parameter.mode not in {FunctionParameterMode.FUNC_PARAM_OUT, FunctionParameterMode.FUNC_PARAM_TABLE}
        ]
        return cls(dotted(statement.funcname), options["language"].sval, given, options["as"][0].sval)

    def words(self) -> list[tuple[str, bool]]:
        """The tokens of the body, and whether each is a keyword; comments and literals are none."""
        tokens = [(self.body.encode()[token.start : token.end + 1].decode(), token) for token in scan(self.body)]
        return [
            (text, token.kind != "NO_KEYWORD") for text, token in tokens if token.name not in {"SQL_COMMENT", "SCONST"}
        ]


def dotted(names: Any) -> str:
    return ".".join(name.sval for name in names)


def functions(text: str) -> Iterator[Function]:
    for raw in parsed(text):
        if isinstance(raw.stmt, CreateFunctionStmt):
            yield Function.of(raw.stmt)


def keywords_in_capitals(text: str) -> Iterator[str]:
    for function in functions(text):
        for word, is_keyword in function.words():
            if is_keyword and word != word.lower():
                yield f"{function.name}: {word}"


def long_bodies(text: str) -> Iterator[str]:
    for function in functions(text):
        if (lines := len(function.body.strip().splitlines())) > LONGEST_BODY:
            yield f"{function.name}: {lines} lines"


def parameters_like_columns(text: str) -> Iterator[str]:
    """In a `language sql` body a column silently wins over a parameter of the same name."""
    for function in functions(text):
        if function.language == "sql" or function.name.startswith("private."):
            for name in function.parameters:
                if name and not name.startswith("p_"):
                    yield f"{function.name}: {name}"


def changes_of_every_row(text: str) -> Iterator[str]:
    """`update` and `delete` need a `where`: behind the Data API, Supabase refuses them without."""
    for function in functions(text):
        words = [word.lower() for word, _ in function.words()]
        for place, word in enumerate(words):
            is_statement = word == "delete" or (word == "update" and words[place - 1] not in {"for", "key", "do"})
            if is_statement and "where" not in words[place : [*words, ";"].index(";", place)]:
                yield f"{function.name}: {word}"


def dynamic_sql(text: str) -> Iterator[str]:
    for function in functions(text):
        if "execute" in [word for word, _ in function.words()]:
            yield function.name


def functions_without_comment(text: str) -> Iterator[str]:
    """After each function stands its comment."""
    statements = [raw.stmt for raw in parsed(text)]
    for place, statement in enumerate(statements):
        if isinstance(statement, CreateFunctionStmt):
            comment = [*statements[place + 1 : place + 2], None][0]
            if not isinstance(comment, CommentStmt) or dotted(comment.object.objname) != dotted(statement.funcname):
                yield dotted(statement.funcname)


ORDER = [CompositeTypeStmt, CreateStmt, ViewStmt, CreatePolicyStmt, CreateFunctionStmt]


def statements_out_of_order(text: str) -> Iterator[str]:
    """Yield statements that break ORDER. A function may come before a table, view or policy that needs it."""
    kinds = [type(raw.stmt) for raw in parsed(text)]
    parts = [text[part] for part in split(text, only_slices=True)]
    ranked = [(ORDER.index(kind), part) for kind, part in zip(kinds, parts, strict=True) if kind in ORDER]
    last = 0
    for place, (rank, statement) in enumerate(ranked):
        if ORDER[rank] is CreateFunctionStmt:
            name = dotted(parse_sql(statement)[0].stmt.funcname)
            later = [other for kind, other in ranked[place + 1 :] if kind < rank]
            if later and not any(name in other for other in later):
                yield name
        else:
            if rank < last:
                yield statement.splitlines()[0]
            last = max(last, rank)


def characters_beyond_ascii(text: str) -> Iterator[str]:
    yield from re.findall(r"[^\x00-\x7f]", text)


PLANTED = """
create function private.planted({parameters}) returns void language {language} set search_path = pg_catalog, pg_temp
as $$ {body} $$;
"""


def planted(body: str = "select 1", parameters: str = "", language: str = "sql") -> str:
    return PLANTED.format(body=body, parameters=parameters, language=language)


RULES: dict[Callable[[str], Iterator[str]], list[str]] = {
    keywords_in_capitals: [planted("SELECT 1"), planted("begin RETURN; end", language="plpgsql")],
    long_bodies: [planted("\n".join(["select 1;"] * 61))],
    parameters_like_columns: [planted(parameters="user_id uuid"), planted(parameters="in x text", language="plpgsql")],
    changes_of_every_row: [
        planted("update public.people set phone = ''"),
        planted("begin delete from public.people; delete from public.people where true; end", language="plpgsql"),
    ],
    dynamic_sql: [planted("begin execute 'select 1'; end", language="plpgsql")],
    functions_without_comment: [
        planted(),
        planted() + "comment on function private.other() is '';",
    ],
    statements_out_of_order: [
        f"{planted()} create table private.later (id integer);",
        "create view private.early as select 1 as id; create table private.later (id integer);",
    ],
    characters_beyond_ascii: ["-- \u2013"],
}


EXCEPT = {("800_gateway.sql", dynamic_sql)}


def offences(rule: Callable[[str], Iterator[str]], files: Iterable[Path]) -> dict[str, list[str]]:
    """Return what offends, by the name of the file."""
    found = {file.name: list(rule(file.read_text(encoding="utf-8"))) for file in files}
    return {name: each for name, each in found.items() if each}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_sql_files_keep_the_rule(rule: Callable[[str], Iterator[str]]) -> None:
    assert offences(rule, [file for file in schema.SQL if (file.name, rule) not in EXCEPT]) == {}


@pytest.mark.parametrize(
    ("rule", "violation"),
    [pytest.param(rule, text, id=rule.__name__) for rule, violations in RULES.items() for text in violations],
)
def test_rule_reports_its_violation(rule: Callable[[str], Iterator[str]], violation: str) -> None:
    assert len(list(rule(violation))) == 1


def unknown_names(texts: Iterable[str]) -> Iterator[str]:
    """Yield names that a text uses before any text creates them."""
    known = set()
    for text in texts:
        code = re.sub(r"--.*|'(?:[^']|'')*'", "", text)
        known |= set(re.findall(r"^create (?:(?:unlogged )?table|type|view|function) ([\w.]+)", code, re.MULTILINE))
        # The sequence of an identity column comes with its table.
        yield from {re.sub(r"_id_seq$", "", name) for name in re.findall(r"\b(?:public|private)\.\w+", code)} - known


def test_sql_files_refer_only_to_earlier_objects() -> None:
    assert list(unknown_names(file.read_text(encoding="utf-8") for file in schema.SQL)) == []


def test_reference_to_a_later_file_is_reported() -> None:
    table = "create table public.later (id integer primary key);"
    assert list(unknown_names([planted("select id from public.later"), table])) == ["public.later"]
    assert list(unknown_names([table, planted("select id from public.later")])) == []


STATEMENT = re.compile(r"\s*(select|insert|update|delete|with|create|alter|drop|call|set|begin|listen|notify)\s")
ALLOWED = {
    "select status, headers, body from private.call($1, $2, $3, $4, $5, $6)",
    "select true",
    # `threadline doctor` sends these.
    "select private.diagnose($1, $2)",
    "select pg_backend_pid()",
    "select set_config('role', 'service_role', true)",
}


def statements(code: str) -> set[str]:
    """The texts in Python code that look like SQL."""
    texts = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    return {text for text in texts if isinstance(text, str) and STATEMENT.match(text)}


def devstack_imports(code: str) -> Iterator[str]:
    """Imports of the devstack and the importer, which production is installed without."""
    for node in ast.walk(ast.parse(code)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        yield from (name for name in names if name.partition(".")[0] in {"threadline_devstack", "threadline_import"})


def test_production_sends_only_the_allowed_statements() -> None:
    assert set().union(*(statements(file.read_text(encoding="utf-8")) for file in PRODUCTION)) == ALLOWED


def test_statements_are_found_in_code() -> None:
    assert statements("'Select a user.'; f'delete from {table}'") == {"delete from "}


def unchecked_connections(code: str) -> Iterator[str]:
    """Connections to Postgres without the options that verify who answers."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"asyncpg.connect", "asyncpg.create_pool"}:
            named = [ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg is None]
            if named != ["settings.connection()"] or node.args:
                yield ast.unparse(node)


def test_production_connects_with_checked_options() -> None:
    assert offences(unchecked_connections, PRODUCTION) == {}


@pytest.mark.parametrize("code", ["asyncpg.connect(url)", "await asyncpg.create_pool(dsn=url, **options)"])
def test_unchecked_connection_is_reported(code: str) -> None:
    assert len(list(unchecked_connections(f"async def f(): {code}"))) == 1


def test_production_does_not_import_the_devstack() -> None:
    assert offences(devstack_imports, PRODUCTION) == {}


@pytest.mark.parametrize("code", ["import threadline_devstack.stack", "def f(): from threadline_devstack import stack"])
def test_import_of_the_devstack_is_reported(code: str) -> None:
    assert len(list(devstack_imports(code))) == 1
