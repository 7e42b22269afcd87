"""The tables of the gateway agree with the service, the grants and the constraints."""

import ast
from typing import Any

import psycopg
import pytest
from threadline.routes.calls import CALLS

from tests.support import schema

Db = psycopg.Connection[Any]

# What the service passes the name of a function to, and the function that is in no table (sql/800_gateway.sql).
CALLERS = {"call", "ask", "_route", "_call_plainly"}
APART = {"messaging_ingest"}

# Tables that calls of /api/v2 write as the caller.
WRITTEN = "{messages,message_edits,message_reactions,message_pins,attachments,twin_webhooks}"
UNCODED = """
select conname from pg_constraint
where conrelid = any(%s::regclass[]) and contype in ('c', 'u', 'p', 'f')
    and conname not in (select constraint_name from private.constraint_codes)
"""
# No caller writes these columns: triggers number messages and count the versions of an edit.
UNREACHABLE = {"messages_seq_unique", "message_edits_pkey"}
UNCALLABLE = """
select function_name from private.calls
where to_regprocedure(format('%I.%I(jsonb)', schema_name, function_name)) is null
    or not has_function_privilege('service_role', format('%I.%I(jsonb)', schema_name, function_name), 'execute')
"""


# How the gateway treats calls: all others are counted, answer in one page and take no Idempotency-Key.
TREATED = {
    "not is_counted": {"finish_upload"},
    "is_paged": {"begin_upload", "export_channel", "export_conversation"},
    "takes_idempotency_key": {"create_message", "reply_to_message", "toggle_reaction"},
}


def called() -> set[str]:
    """The functions that the service calls: the table of routes, and the names given to CALLERS."""
    names = {function for *_, function in CALLS}
    for file in (schema.ROOT / "api" / "threadline").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in CALLERS:
                texts = [given.value for given in node.args if isinstance(given, ast.Constant)]
                names |= {text for text in texts if not text.startswith("/")}  # a path of a route
    return names


def known(db: Db) -> set[str]:
    return {name for (name,) in db.execute("select function_name from private.calls")}


def test_the_service_names_each_call_of_the_gateway(db: Db) -> None:
    assert known(db) - called() == set()


def test_the_gateway_knows_each_call_of_the_service(db: Db) -> None:
    assert called() - known(db) == APART


def test_a_call_without_a_row_is_seen(db: Db) -> None:
    db.execute("delete from private.calls where function_name in ('get_message', 'clean_up', 'export_channel')")
    assert called() - known(db) == APART | {"get_message", "clean_up", "export_channel"}


def test_each_call_takes_a_json_object_from_service_role(db: Db) -> None:
    assert db.execute(UNCALLABLE).fetchall() == []


def test_a_call_of_a_missing_function_is_seen(db: Db) -> None:
    db.execute("insert into private.calls values ('planted', 'public', true, false, false)")
    assert db.execute(UNCALLABLE).fetchall() == [("planted",)]
    assert known(db) - called() == {"planted"}


def uncoded(db: Db) -> set[str]:
    db.execute("set local search_path = public")
    return {name for (name,) in db.execute(UNCODED, [WRITTEN])} - UNREACHABLE


def test_each_constraint_that_a_caller_meets_has_a_code(db: Db) -> None:
    assert uncoded(db) == set()


def test_a_constraint_without_a_code_is_seen(db: Db) -> None:
    db.execute("alter table public.messages add constraint planted check (content <> 'x')")
    assert uncoded(db) == {"planted"}


@pytest.mark.parametrize("code", ["messages_content_length", "twin_webhooks_url_form"])
def test_a_renamed_constraint_keeps_its_public_code(db: Db, code: str) -> None:
    table = "messages" if code.startswith("messages") else "twin_webhooks"
    db.execute(f"alter table public.{table} rename constraint {code} to planted")
    db.execute("update private.constraint_codes set constraint_name = 'planted' where code = %s", [code])
    row = db.execute("select body::json #>> '{error,code}' from private.render_failure('23514', '', '', '', 'planted')")
    assert row.fetchone() == (code,)


@pytest.mark.parametrize("condition", TREATED)
def test_gateway_treats_only_these_calls_apart(db: Db, condition: str) -> None:
    found = {name for (name,) in db.execute(f"select function_name from private.calls where {condition}")}
    assert found == TREATED[condition]
