"""Writes from `sql/` what `threadline remove` puts into a migration."""

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from pglast import parse_sql, split
from pglast.ast import (
    CompositeTypeStmt,
    CreateFunctionStmt,
    CreatePolicyStmt,
    CreateStmt,
    CreateTrigStmt,
    IndexStmt,
    ViewStmt,
)
from pglast.enums import FunctionParameterMode
from pglast.stream import RawStream

from tests.support import schema

FOLDER = schema.ROOT / "api" / "threadline" / "project"
HEADER = "-- Written from sql/ by `make migration`; change it there.\n\n"
RECORD = "private.created_objects"  # goes last: it says which shared objects to drop
OUTPUT = {FunctionParameterMode.FUNC_PARAM_OUT, FunctionParameterMode.FUNC_PARAM_TABLE}

# A request may hold one of these locks and wait for another. So each attempt gives up soon and lets go of all of them.
LOCK_TABLES = """\
do $$
begin
    set local lock_timeout = '100ms';
    for v_attempt in 1..100 loop
        begin
            lock table
{tables}
            in access exclusive mode;
{shared}
            set local lock_timeout = '5s';
            return;
        exception
            when lock_not_available then
                perform pg_sleep(0.1);
        end;
    end loop;
    raise lock_not_available using
        message = 'Requests keep the tables of Threadline locked, and this migration has changed nothing.',
        hint = 'Stop the service of Threadline, then push again.';
end
$$;

"""
# SQL cannot delete the files of Storage, only their rows.
SHARED_BEFORE = """\
do $$
begin
    if exists (select from private.created_objects where name = 'bucket attachments') then
        if exists (select from storage.objects where bucket_id = 'attachments') then
            raise exception 'The bucket "attachments" has files, and this migration has changed nothing. '
                'Empty the bucket in the dashboard (Storage), then push again.';
        end if;
        perform set_config('storage.allow_delete_query', 'true', true);
        delete from storage.buckets where id = 'attachments';
    end if;
    if to_regclass('cron.job') is not null then
        perform cron.unschedule(jobid) from cron.job where jobname in ('threadline_clean_up', 'threadline_index');
    end if;
end
$$;

"""
SHARED_AFTER = """
do $$
begin
    if exists (select from private.created_objects where name = 'extension btree_gin') then
        drop extension if exists btree_gin;
    end if;
exception
    when dependent_objects_still_exist or insufficient_privilege then
        raise notice 'The extension btree_gin stays: %', sqlerrm;
end
$$;
do $$
declare
    v_is_used boolean := true;
begin
    if exists (select from private.created_objects where name = 'extension pg_cron')
        and to_regclass('cron.job') is not null
    then
        execute 'select exists (select from cron.job)' into v_is_used;
        if not v_is_used then
            drop extension pg_cron;
        end if;
    end if;
exception
    when dependent_objects_still_exist or insufficient_privilege then
        raise notice 'The extension pg_cron stays: %', sqlerrm;
end
$$;
"""
KEEP_DATA = """\
do $$
declare
    v_filled text;
begin
    select string_agg(filled.name, ', ') into v_filled
    from (
        {tables}
    ) as filled;
    if v_filled is not null then
        raise exception 'Tables of Threadline have rows, and this migration has changed nothing: %. '
            'To delete these rows too, delete this file and run "threadline remove --drop-data PROJECT_ID".', v_filled;
    end if;
end
$$;

"""


def removal() -> dict[str, str]:
    """Return the three files: what locks the tables, what refuses to drop rows, and what drops the objects."""
    statements = list(_statements())
    created = [statement for statement, _ in statements]
    needed = "".join(text for statement, text in statements if isinstance(statement, CreateStmt | IndexStmt))
    functions = [(_signature(each), _name(each)) for each in created if isinstance(each, CreateFunctionStmt)]
    early = [signature for signature, name in functions if f"{name}(" not in needed]
    late = [signature for signature, name in functions if f"{name}(" in needed]
    tables = [_qualified(each.relation) for each in created if isinstance(each, CreateStmt) and not each.partbound]
    views = [_qualified(each.view) for each in created if isinstance(each, ViewStmt)]
    types = [_qualified(each.typevar) for each in created if isinstance(each, CompositeTypeStmt)]
    attached = [
        *((_qualified(each.table), f"policy {each.policy_name}") for each in _all(created, CreatePolicyStmt)),
        *((_qualified(each.relation), f"trigger {each.trigname}") for each in _all(created, CreateTrigStmt)),
    ]
    shared = "\n".join(f"drop {each} on {table};" for table, each in attached if table not in tables)
    drops = [
        *(f"drop {each} on {table};" for table, each in attached if table in tables),
        *(f"drop view {name};" for name in reversed(views)),
        _drop("function", early),
        _drop("table", (name for name in tables if name != RECORD)),
        _drop("function", late),
        _drop("type", types),
    ]
    last = f"drop table {RECORD};\ndrop schema private;\n"
    public = sorted(name for name in tables if name.startswith("public."))
    filled = "\n        union all\n        ".join(map(_filled, public))
    return {
        "lock_tables.sql": HEADER
        + schema.SETTINGS
        + LOCK_TABLES.format(
            tables=textwrap.indent(_listed(tables), " " * 12),
            shared=textwrap.indent(shared, " " * 12),
        ),
        "keep_data.sql": HEADER + KEEP_DATA.format(tables=filled),
        "remove.sql": HEADER + SHARED_BEFORE + "\n".join(drops) + "\n" + SHARED_AFTER + last + schema.RESETS,
    }


def write(folder: Path = FOLDER) -> None:
    """Write the files."""
    for name, text in removal().items():
        (folder / name).write_text(text, encoding="utf-8")


def _statements() -> Iterator[tuple[object, str]]:
    for file in schema.SQL:
        text = file.read_text(encoding="utf-8")
        for part in split(text, only_slices=True):
            yield parse_sql(text[part])[0].stmt, text[part]


def _all(created: Iterable[object], kind: type) -> Iterator:
    return (each for each in created if isinstance(each, kind))


def _qualified(relation: object) -> str:
    return f"{relation.schemaname}.{relation.relname}"


def _name(function: CreateFunctionStmt) -> str:
    return ".".join(part.sval for part in function.funcname)


def _signature(function: CreateFunctionStmt) -> str:
    given = [RawStream()(each.argType) for each in function.parameters or () if each.mode not in OUTPUT]
    return f"{_name(function)}({', '.join(given)})"


def _drop(kind: str, names: Iterable[str]) -> str:
    return f"drop {kind}\n{_listed(names)};"


def _listed(names: Iterable[str]) -> str:
    return textwrap.indent(",\n".join(sorted(set(names))), "    ")


def _filled(table: str) -> str:
    # Every user has a profile and a personal workspace from the start.
    condition = {
        "public.user_profiles": " where updated_at <> created_at",
        "public.workspaces": " where not is_personal",
        "public.workspace_members": " where workspace_id <> user_id",
    }.get(table, "")
    return f"select '{table}' as name where exists (select from {table}{condition})"
