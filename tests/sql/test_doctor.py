"""diagnose() returns no sentence for a sound database and one for each fault."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support import migration

VERSION = migration.stated_version(migration.VERSION_FILE.read_text(encoding="utf-8"))


def set_version(version: str) -> str:
    """Return what a migration of this version does."""
    return f"set local role postgres; {migration.SET_VERSION.format(version=version)} reset role"


WAITING = """
with noted as (
    insert into private.inbox_changes (workspace_id, conversation_ids)
    select id, '{{}}' from public.workspaces limit 2 returning id
)
insert into private.word_backlog (change_id, created_at)
select id, now() - interval '{minutes} minutes' * row_number() over () / 2 from noted
"""
FAULTS = {
    set_version("20200101000000"): f"20200101000000 and the service needs {VERSION}; run",
    set_version("99990101000000"): f"99990101000000, newer than {VERSION} of the service",
    "revoke anon from authenticator": "The database user authenticator cannot become anon",
    "alter role authenticator createdb bypassrls createrole replication": (
        "(bypassrls, createrole, createdb, replication)"
    ),
    "grant dashboard_user to authenticator": ("may do more than the service needs (can become dashboard_user)"),
    "alter role authenticator superuser": "may do more than the service needs (superuser)",
    "revoke all on function private.call(text, text, text, text, text, bytea) from authenticator": (
        "may not call private.call"
    ),
    "revoke usage on schema private from authenticator": "may not call private.call",
    "alter table public.messages disable row level security": "Row-level security is off on public.messages",
    "create table public.own (id integer)": "Row-level security is off on public.own",
    "create table public.parts (id integer) partition by list (id)": "Row-level security is off on public.parts",
    "alter table private.settings disable row level security": "Row-level security is off on private.settings",
    "alter table public.messages disable trigger messages_60_index": (
        "The trigger messages_60_index of public.messages is disabled"
    ),
    "alter table private.settings disable trigger settings_20_set_language": "of private.settings is disabled",
    "alter table public.messages enable replica trigger messages_60_index": (
        "The trigger messages_60_index of public.messages is disabled"
    ),
    "update pg_index set indisvalid = false where indexrelid = 'public.attachments_channel_id_idx'::regclass": (
        "The index public.attachments_channel_id_idx is not valid"
    ),
    "update pg_index set indisvalid = false where indexrelid = 'private.inbox_changes_pkey'::regclass": (
        "The index private.inbox_changes_pkey is not valid"
    ),
    "grant usage on schema private to anon": "have not signed in may use the schema private",
    "delete from private.settings": "private.settings has lost its row",
    "set local storage.allow_delete_query = true; delete from storage.buckets where id = 'attachments'": (
        'The Storage bucket "attachments" is missing'
    ),
    "update storage.buckets set public = true": 'The Storage bucket "attachments" is public',
    "create schema other create table messages (id integer); alter publication supabase_realtime drop table"
    " public.messages; alter publication supabase_realtime add table other.messages": (
        "The table public.messages is not in the publication supabase_realtime"
    ),
    **{
        f"alter publication supabase_realtime drop table public.{table}": f"The table public.{table} is not in the"
        for table in ("conversations", "message_reactions")
    },
    "drop publication supabase_realtime": "The publication supabase_realtime is missing",
    "drop table realtime.messages_default": "Realtime has made no partition",
    WAITING.format(minutes=16): "Search does not find messages of conversations since",
}


@pytest.fixture
def admin(admin_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(admin_url) as connection:
        yield connection
        connection.rollback()


def findings(admin: psycopg.Connection, ahead: timedelta = timedelta()) -> list[str]:
    """Return the sentences that the service's login role gets."""
    admin.execute("set local session authorization authenticator")
    admin.execute("set local role service_role")
    return [row for (row,) in admin.execute("select private.diagnose(%s, %s)", [VERSION, datetime.now(UTC) + ahead])]


def test_doctor_finds_nothing_in_a_sound_database(admin: psycopg.Connection) -> None:
    assert findings(admin) == []


@pytest.mark.parametrize(
    ("fault", "sentence"),
    FAULTS.items(),
    ids=[" ".join(sentence.replace("public.", "").split()[-5:]) for sentence in FAULTS.values()],
)
def test_doctor_names_each_fault(admin: psycopg.Connection, fault: str, sentence: str) -> None:
    admin.execute(fault)
    (finding,) = findings(admin)
    assert sentence in finding
    assert finding.endswith(".")


@pytest.mark.parametrize("seconds", [-60, 60])
def test_doctor_reports_clock_difference(admin: psycopg.Connection, seconds: int) -> None:
    assert findings(admin, timedelta(seconds=seconds)) == [
        "The clocks of the service and of the database are 60 seconds apart; set the time."
    ]


@pytest.mark.parametrize(("seconds", "problems"), [(29, 0), (-31, 1)])
def test_clocks_may_be_half_a_minute_apart(admin: psycopg.Connection, seconds: int, problems: int) -> None:
    assert len(findings(admin, timedelta(seconds=seconds))) == problems


def test_doctor_gives_search_a_quarter_of_an_hour(admin: psycopg.Connection) -> None:
    admin.execute(WAITING.format(minutes=14))
    assert findings(admin) == []


def test_doctor_ignores_another_bucket_that_is_public(admin: psycopg.Connection) -> None:
    admin.execute("insert into storage.buckets (id, name, public) values ('own', 'own', true)")
    assert findings(admin) == []


def test_doctor_ignores_tables_of_extensions(admin: psycopg.Connection) -> None:
    admin.execute("create table public.own (id integer)")
    admin.execute("alter extension plpgsql add table public.own")
    assert findings(admin) == []
