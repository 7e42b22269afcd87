"""What Supabase refuses, allows and gives, the platform here refuses, allows and gives."""

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import InsufficientPrivilege, RaiseException
from threadline_devstack.platform import install

POLICY_TABLES = [
    "auth.users",
    "storage.buckets",
    "storage.objects",
    "realtime.messages",
    "realtime.subscription",
]
OWNED_TABLES = ["auth.users", "storage.objects", "realtime.messages"]
OWNERS = ["supabase_auth_admin", "supabase_storage_admin", "supabase_realtime_admin"]
API_ROLES = ["anon", "authenticated", "service_role"]

ScratchDatabase = Callable[[str], str]
Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def platform_url(scratch_database: ScratchDatabase) -> str:
    """The superuser in a database that holds the platform and nothing of ours."""
    url = scratch_database("platform")
    assert installed(url)
    return url


@pytest.fixture(scope="module")
def migration_url(platform_url: str, postgres_url: str) -> str:
    """Role postgres in that database."""
    return make_conninfo(postgres_url, dbname=conninfo_to_dict(platform_url)["dbname"])


@pytest.fixture
def migration(migration_url: str) -> Iterator[Connection]:
    """A transaction of role postgres, as a migration has it, that leaves nothing behind."""
    with psycopg.connect(migration_url) as connection:
        yield connection
        connection.rollback()


def value(connection: Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def refused(connection: Connection, statement: str, *, because: str) -> None:
    with pytest.raises(InsufficientPrivilege, match=because), connection.transaction():
        connection.execute(statement)


def warnings_of(connection: Connection, statement: str, *parameters: object) -> list[str]:
    found: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            found.append(diagnostic.message_primary or "")

    connection.add_notice_handler(note)
    connection.execute(statement, parameters)
    connection.remove_notice_handler(note)
    return found


def become(connection: Connection, role: str, **claims: object) -> None:
    connection.execute("select set_config('role', %s, true)", [role])
    connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"role": role, **claims})])


def add_user(connection: Connection) -> uuid.UUID:
    return value(connection, "insert into auth.users (id) values (gen_random_uuid()) returning id")


def add_bucket(connection: Connection) -> None:
    connection.execute("insert into storage.buckets (id, name) values ('papers', 'papers')")


def installed(url: str, **arguments: Any) -> bool:
    async def run() -> bool:
        connection = await asyncpg.connect(url)
        try:
            return await install(connection, **arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


# What role postgres may not do.


@pytest.mark.parametrize("schema", ["auth", "storage", "realtime"])
@pytest.mark.parametrize(
    "thing",
    [
        "table {}.thing ()",
        "view {}.thing as select 1 as one",
        "type {}.thing as (one integer)",
        "function {}.thing() returns integer language sql return 1",
        "sequence {}.thing",
    ],
)
def test_creating_in_a_platform_schema_is_refused(migration: Connection, schema: str, thing: str) -> None:
    refused(migration, "create " + thing.format(schema), because=f"permission denied for schema {schema}")


@pytest.mark.parametrize("table", OWNED_TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "alter table {} add column mine text",
        "alter table {} enable row level security",
        "alter table {} disable trigger all",
        "alter table {} owner to postgres",
        "create index on {} (id)",
        "comment on table {} is 'mine'",
        "drop table {}",
    ],
    ids=[
        "add column",
        "enable row-level security",
        "disable triggers",
        "change owner",
        "create index",
        "comment",
        "drop",
    ],
)
def test_altering_a_platform_table_is_refused(migration: Connection, table: str, statement: str) -> None:
    because = "must be owner of (table|relation) " + table.partition(".")[2]
    refused(migration, statement.format(table), because=because)


def test_altering_a_platform_trigger_is_refused(migration: Connection) -> None:
    refused(
        migration,
        "alter trigger protect_objects_delete on storage.objects rename to mine",
        because="must be owner of table objects",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "create or replace function auth.uid() returns uuid language sql return null",
        "alter function realtime.topic() rename to mine",
        "drop function storage.foldername(text)",
        "drop schema realtime cascade",
        "alter schema auth rename to mine",
    ],
)
def test_replacing_what_the_platform_made_is_refused(migration: Connection, statement: str) -> None:
    refused(migration, statement, because="must be owner of|permission denied for schema")


@pytest.mark.parametrize("role", ["supabase_admin", *OWNERS])
def test_becoming_a_platform_role_is_refused(migration: Connection, role: str) -> None:
    refused(migration, f"set role {role}", because="permission denied to set role")


def test_setting_custom_parameters_for_everyone_is_refused(migration: Connection) -> None:
    name = value(migration, "select current_database()")
    refused(migration, f'alter database "{name}" set my.setting = 1', because="permission denied to set parameter")


def test_alter_system_is_refused(migration_url: str) -> None:
    with psycopg.connect(migration_url, autocommit=True) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("alter system set work_mem = '8MB'")


def test_a_superuser_cannot_be_made(migration: Connection) -> None:
    refused(migration, "create role mine superuser", because="superuser|SUPERUSER")


@pytest.mark.parametrize("table", ["storage.objects", "storage.buckets"])
def test_deleting_storage_rows_is_refused_on_empty_tables(migration: Connection, table: str) -> None:
    refused(migration, f"delete from {table} where false", because="Direct deletion from storage tables")


def test_deleting_storage_rows_passes_with_the_setting(migration: Connection) -> None:
    add_bucket(migration)
    migration.execute("set local storage.allow_delete_query = 'true'")
    assert migration.execute("delete from storage.buckets where id = 'papers'").rowcount == 1


def test_truncating_storage_objects_passes(migration: Connection) -> None:
    migration.execute("truncate storage.objects")


@pytest.mark.parametrize(
    "grant",
    [
        "usage on schema auth to anon",
        "delete on realtime.messages to anon",
        "execute on function realtime.send(jsonb, text, text, boolean) to anon",
    ],
)
def test_grant_without_grant_option_only_warns(migration: Connection, grant: str) -> None:
    [warning] = warnings_of(migration, "grant " + grant)
    assert warning.startswith("no privileges were granted")


def test_a_grant_that_only_warned_gave_nothing(migration: Connection) -> None:
    migration.execute("grant delete on realtime.messages to anon")
    assert not value(migration, "select has_table_privilege('anon', 'realtime.messages', 'delete')")


# What role postgres may do.


@pytest.mark.parametrize("table", POLICY_TABLES)
def test_policies_can_be_made_changed_and_dropped(migration: Connection, table: str) -> None:
    migration.execute(f"create policy mine on {table} for select to authenticated using (false)")
    migration.execute(f"alter policy mine on {table} using (true)")
    migration.execute(f"alter policy mine on {table} rename to ours")
    migration.execute(f"drop policy ours on {table}")
    migration.execute(f"drop policy if exists ours on {table}")


def test_policy_statement_leaves_no_membership(migration: Connection) -> None:
    migration.execute("create policy mine on storage.objects for select to anon using (true)")
    for owner in OWNERS:
        assert not value(migration, "select pg_has_role('postgres', %s, 'member')", owner)
    refused(migration, "alter table storage.objects add column mine text", because="must be owner")


def test_failed_policy_statement_leaves_no_membership(migration: Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedColumn), migration.transaction():
        migration.execute("create policy mine on storage.objects using (nonsense)")
    for owner in OWNERS:
        assert not value(migration, "select pg_has_role('postgres', %s, 'member')", owner)


def test_policies_on_tables_of_others_are_refused_to_api_roles(migration: Connection) -> None:
    become(migration, "authenticated")
    refused(migration, "create policy mine on storage.objects using (true)", because="must be owner")


@pytest.mark.parametrize("table", OWNED_TABLES)
def test_triggers_can_be_made_and_dropped(migration: Connection, table: str) -> None:
    migration.execute("create function public.pass() returns trigger language plpgsql as 'begin return new; end'")
    migration.execute(f"create trigger mine before insert on {table} for each row execute function public.pass()")
    migration.execute(f"drop trigger mine on {table}")
    migration.execute(f"drop trigger if exists mine on {table}")


def test_trigger_on_users_runs_at_sign_up(migration: Connection) -> None:
    migration.execute("create table public.profiles (id uuid primary key references auth.users on delete cascade)")
    migration.execute(
        "create function public.add_profile() returns trigger language plpgsql security definer"
        " set search_path = '' as 'begin insert into public.profiles (id) values (new.id); return new; end'"
    )
    migration.execute(
        "create trigger mine after insert on auth.users for each row execute function public.add_profile()"
    )
    user = add_user(migration)
    assert value(migration, "select id from public.profiles") == user


@pytest.mark.parametrize(
    "reference",
    ["uuid references auth.users", "uuid references storage.objects", "text references storage.buckets"],
)
def test_foreign_keys_can_refer_to_platform_tables(migration: Connection, reference: str) -> None:
    migration.execute(f"create table public.mine (it {reference} (id) on delete cascade)")
    migration.execute("insert into public.mine values (null)")


def test_deleting_a_user_deletes_referring_rows(migration: Connection) -> None:
    migration.execute("create table public.mine (id uuid references auth.users (id) on delete cascade)")
    user = add_user(migration)
    migration.execute("insert into public.mine values (%s)", [user])
    migration.execute("delete from auth.users where id = %s", [user])
    assert value(migration, "select count(*) from public.mine") == 0


def test_the_publication_takes_tables_and_can_be_made_again(migration: Connection) -> None:
    migration.execute("create table public.mine (id integer primary key)")
    migration.execute("alter publication supabase_realtime add table public.mine")
    with pytest.raises(psycopg.errors.DuplicateObject), migration.transaction():
        migration.execute("alter publication supabase_realtime add table public.mine")
    migration.execute("drop publication supabase_realtime")
    migration.execute("create publication supabase_realtime")


def test_the_publication_starts_empty_and_carries_all_operations(migration: Connection) -> None:
    row = migration.execute(
        "select pubowner::regrole::text, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate"
        " from pg_publication where pubname = 'supabase_realtime'"
    ).fetchone()
    assert row == ("postgres", False, True, True, True, True)


def test_custom_roles_can_be_handed_to_the_data_api(migration: Connection) -> None:
    migration.execute("create role threadline_test_robot")
    migration.execute("grant threadline_test_robot to authenticator")


@pytest.mark.parametrize("schema", ["storage", "realtime", "extensions"])
def test_usage_of_these_schemas_can_be_granted_on(migration: Connection, schema: str) -> None:
    migration.execute("create role threadline_test_robot")
    assert warnings_of(migration, f"grant usage on schema {schema} to threadline_test_robot") == []
    assert value(migration, "select has_schema_privilege('threadline_test_robot', %s, 'usage')", schema)


@pytest.mark.parametrize("table", ["storage.objects", "storage.buckets"])
def test_what_storage_grants_can_be_granted_on(migration: Connection, table: str) -> None:
    migration.execute("create role threadline_test_robot")
    assert warnings_of(migration, f"grant select on {table} to threadline_test_robot") == []
    assert value(migration, "select has_table_privilege('threadline_test_robot', %s, 'select')", table)


def test_own_schemas_and_objects_can_be_created(migration: Connection) -> None:
    migration.execute("create schema mine")
    migration.execute("create table mine.things ()")
    migration.execute("create function extensions.mine() returns integer language sql return 1")


def test_migration_creates_buckets_and_can_repeat(migration: Connection) -> None:
    for public in (False, True):
        migration.execute(
            "insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)"
            " values ('papers', 'papers', %s, 1000, array['text/plain'])"
            " on conflict (id) do update set public = excluded.public",
            [public],
        )
    assert value(migration, "select public from storage.buckets where id = 'papers'")


# What the API roles may do.


@pytest.mark.parametrize("role", API_ROLES)
def test_no_api_role_can_read_users(migration: Connection, role: str) -> None:
    become(migration, role)
    refused(migration, "select id from auth.users", because="permission denied for table users")


@pytest.mark.parametrize("role", API_ROLES)
def test_no_api_role_can_delete_messages(migration: Connection, role: str) -> None:
    become(migration, role)
    refused(migration, "delete from realtime.messages", because="permission denied for table messages")


@pytest.mark.parametrize(
    ("table", "guarded"),
    [
        ("auth.users", True),
        ("auth.identities", True),
        ("storage.buckets", True),
        ("storage.objects", True),
        ("realtime.messages", True),
        ("realtime.subscription", False),
    ],
)
def test_row_security_is_on_as_on_the_platform(migration: Connection, table: str, guarded: bool) -> None:
    found = value(migration, "select relrowsecurity from pg_class where oid = %s::text::regclass", table)
    assert found == guarded


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_rows_without_a_policy_are_invisible(migration: Connection, role: str) -> None:
    add_bucket(migration)
    migration.execute("insert into storage.objects (bucket_id, name) values ('papers', 'a.txt')")
    migration.execute("select realtime.send('{}', 'event', 'topic')")
    become(migration, role)
    for table in ("storage.buckets", "storage.objects", "realtime.messages"):
        assert value(migration, f"select count(*) from {table}") == 0


def test_a_policy_opens_its_rows(migration: Connection) -> None:
    add_bucket(migration)
    migration.execute("insert into storage.objects (bucket_id, name) values ('papers', 'ada/a.txt')")
    migration.execute(
        "create policy mine on storage.objects for select to authenticated"
        " using ((storage.foldername(name))[1] = auth.jwt() ->> 'folder')"
    )
    become(migration, "authenticated", folder="ada")
    assert value(migration, "select name from storage.objects") == "ada/a.txt"
    become(migration, "authenticated", folder="grace")
    assert value(migration, "select count(*) from storage.objects") == 0


def test_the_service_role_passes_row_security(migration: Connection) -> None:
    add_bucket(migration)
    become(migration, "service_role")
    assert value(migration, "select count(*) from storage.buckets where id = 'papers'") == 1


@pytest.mark.parametrize("role", API_ROLES)
def test_no_api_role_can_create_in_public(migration: Connection, role: str) -> None:
    become(migration, role)
    refused(migration, "create table public.mine ()", because="permission denied for schema public")


@pytest.mark.parametrize(
    ("role", "settings"),
    [
        ("anon", {"statement_timeout=3s"}),
        ("authenticated", {"statement_timeout=8s"}),
        ("authenticator", {"statement_timeout=8s", "lock_timeout=8s"}),
        ("service_role", set()),
    ],
)
def test_the_data_api_has_the_time_limits_of_its_roles(migration: Connection, role: str, settings: set[str]) -> None:
    found = value(migration, "select coalesce(rolconfig, '{}') from pg_roles where rolname = %s", role)
    assert set(found) == settings


# Claims.


def test_without_claims_auth_functions_return_null(migration: Connection) -> None:
    migration.execute("select set_config('request.jwt.claims', '', true)")
    row = migration.execute("select auth.uid(), auth.role(), auth.email(), auth.jwt()").fetchone()
    assert row == (None, None, None, None)


def test_auth_functions_read_the_claims(migration: Connection) -> None:
    claims = {"sub": str(uuid.uuid4()), "role": "authenticated", "email": "ada@example.com"}
    migration.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
    row = migration.execute("select auth.uid()::text, auth.role(), auth.email(), auth.jwt()").fetchone()
    assert row == (claims["sub"], claims["role"], claims["email"], claims)


def test_the_older_form_of_a_claim_wins(migration: Connection) -> None:
    older, newer = uuid.uuid4(), uuid.uuid4()
    migration.execute("select set_config('request.jwt.claim.sub', %s, true)", [str(older)])
    migration.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": str(newer)})])
    assert value(migration, "select auth.uid()") == older


def test_an_empty_older_form_counts_as_absent(migration: Connection) -> None:
    newer = uuid.uuid4()
    migration.execute("select set_config('request.jwt.claim.sub', '', true)")
    migration.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": str(newer)})])
    assert value(migration, "select auth.uid()") == newer


def test_sub_that_is_not_a_uuid_raises(migration: Connection) -> None:
    migration.execute("""select set_config('request.jwt.claims', '{"sub": "ada"}', true)""")
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        migration.execute("select auth.uid()")


# Broadcast from the database.


def sent(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select topic, extension, event, private, payload, binary_payload from realtime.messages order by event"
    ).fetchall()


def test_send_stores_a_row_and_gives_the_payload_its_id(migration: Connection) -> None:
    migration.execute("select realtime.send('{\"hello\": 1}', 'greeting', 'room:1')")
    identity = str(value(migration, "select id from realtime.messages"))
    payload = {"hello": 1, "id": identity}
    assert sent(migration) == [("room:1", "broadcast", "greeting", True, payload, None)]


def test_send_takes_its_arguments_by_name(migration: Connection) -> None:
    migration.execute("select realtime.send(payload => '{}', event => 'e', topic => 't', private => false)")
    assert sent(migration)[0][:4] == ("t", "broadcast", "e", False)


def test_send_keeps_an_id_that_is_there(migration: Connection) -> None:
    migration.execute("select realtime.send('{\"id\": 7}', 'e', 't')")
    assert sent(migration)[0][4] == {"id": 7}


@pytest.mark.parametrize("payload", ["[1, 2]", "7"])
def test_send_of_anything_but_an_object_only_warns(migration: Connection, payload: str) -> None:
    [warning] = warnings_of(migration, "select realtime.send(%s::text::jsonb, 'e', 't')", payload)
    assert warning.startswith("WarnSendingBroadcastMessage: ")
    assert sent(migration) == []


def test_send_leaves_its_topic_set(migration: Connection) -> None:
    assert value(migration, "select realtime.topic()") is None
    migration.execute("select realtime.send('{}', 'e', 'room:1')")
    assert value(migration, "select realtime.topic()") == "room:1"


def test_send_that_failed_leaves_no_topic_set(migration: Connection) -> None:
    migration.execute("select realtime.send('[]', 'e', 'room:1')")
    assert value(migration, "select realtime.topic()") is None


def test_send_without_a_policy_only_warns(migration: Connection) -> None:
    become(migration, "authenticated")
    [warning] = warnings_of(migration, "select realtime.send('{}', 'e', 't')")
    assert "row-level security" in warning
    become(migration, "postgres")
    assert sent(migration) == []


def test_send_with_a_policy_stores_a_row(migration: Connection) -> None:
    migration.execute(
        "create policy mine on realtime.messages for insert to authenticated"
        " with check (realtime.topic() = 'room:1' and extension = 'broadcast')"
    )
    become(migration, "authenticated")
    migration.execute("select realtime.send('{}', 'e', 'room:1'), realtime.send('{}', 'e', 'room:2')")
    become(migration, "postgres")
    assert [row[0] for row in sent(migration)] == ["room:1"]


@pytest.mark.parametrize("call", ["send('[]', 'e', 't')", "send_binary('x', 'e', null)"])
def test_strict_realtime_makes_the_warning_an_error(migration: Connection, call: str) -> None:
    migration.execute("set local threadline.strict_realtime = on")
    with pytest.raises(psycopg.DatabaseError):
        migration.execute("select realtime." + call)


def test_send_binary_stores_bytes(migration: Connection) -> None:
    migration.execute("select realtime.send_binary('\\x00ff', 'e', 't', false)")
    assert sent(migration) == [("t", "broadcast", "e", False, None, b"\x00\xff")]


def test_send_binary_that_fails_only_warns(migration: Connection) -> None:
    [warning] = warnings_of(migration, "select realtime.send_binary('x', 'e', null)")
    assert warning.startswith("WarnSendingBroadcastMessage: ")


def test_message_of_any_day_is_stored(migration: Connection) -> None:
    for day in ("2001-01-01", "2101-01-01"):
        migration.execute(
            "insert into realtime.messages (topic, extension, inserted_at) values ('t', 'broadcast', %s)",
            [day],
        )
    assert len(sent(migration)) == 2


def test_broadcast_changes_sends_the_row_of_a_trigger(migration: Connection) -> None:
    migration.execute("create table public.notes (id integer, body text)")
    migration.execute(
        "create function public.tell() returns trigger language plpgsql as $$ begin perform"
        " realtime.broadcast_changes('notes', tg_op, tg_op, tg_table_name, tg_table_schema, new, old);"
        " return null; end $$"
    )
    migration.execute(
        "create trigger tell after insert or delete on public.notes for each row execute function public.tell()"
    )
    migration.execute("insert into public.notes values (1, 'hello')")
    migration.execute("delete from public.notes where id = 1")
    payloads = {row[2]: row[4] for row in sent(migration)}
    for operation, payload in payloads.items():
        payload.pop("id")
        assert payload["operation"] == operation
        assert (payload["schema"], payload["table"]) == ("public", "notes")
    row = {"id": 1, "body": "hello"}
    assert (payloads["INSERT"]["record"], payloads["INSERT"]["old_record"]) == (row, None)
    assert (payloads["DELETE"]["record"], payloads["DELETE"]["old_record"]) == (None, row)


@pytest.mark.parametrize(
    ("operation", "level", "message"),
    [
        ("INSERT", "STATEMENT", "Failed to process the row: function can only be triggered for each row"),
        ("TRUNCATE", "ROW", "Failed to process the row: Unexpected operation type: TRUNCATE"),
    ],
    ids=["for each statement", "truncate"],
)
def test_broadcast_changes_refuses_other_operations(
    migration: Connection, operation: str, level: str, message: str
) -> None:
    with pytest.raises(RaiseException, match=message):
        migration.execute(
            "select realtime.broadcast_changes('t', 'e', %s, 'a', 'b', row(1), row(2), %s)",
            [operation, level],
        )


def test_a_message_has_one_payload_at_most(migration: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        migration.execute(
            "insert into realtime.messages (topic, extension, payload, binary_payload)"
            " values ('t', 'broadcast', '{}', '')"
        )


def test_a_subscription_knows_the_role_of_its_claims(migration: Connection) -> None:
    migration.execute(
        "insert into realtime.subscription (subscription_id, entity, filters, claims) values"
        " (gen_random_uuid(), 'auth.users', array[row('id', 'eq', '1', false)::realtime.user_defined_filter],"
        ' \'{"role": "authenticated"}\')'
    )
    row = migration.execute("select claims_role::text, action_filter from realtime.subscription").fetchone()
    assert row == ("authenticated", "*")


# Storage's helpers.


@pytest.mark.parametrize(
    ("name", "folders", "filename", "extension"),
    [
        ("ada/2026/notes.tar.gz", ["ada", "2026"], "notes.tar.gz", "gz"),
        ("notes.txt", [], "notes.txt", "txt"),
        ("ada/README", ["ada"], "README", "README"),
        ("ada/", ["ada"], "", ""),
    ],
)
def test_storage_functions_split_object_names(
    migration: Connection, name: str, folders: list[str], filename: str, extension: str
) -> None:
    row = migration.execute(
        "select storage.foldername(%(name)s), storage.filename(%(name)s), storage.extension(%(name)s)",
        {"name": name},
    ).fetchone()
    assert row == (folders, filename, extension)


@pytest.mark.parametrize("operation", ["storage.object.upload", "object.upload"])
def test_operations_match_with_and_without_their_prefix(migration: Connection, operation: str) -> None:
    migration.execute("set local storage.operation = 'storage.object.upload'")
    assert value(migration, "select storage.operation()") == "storage.object.upload"
    assert value(migration, "select storage.allow_only_operation(%s)", operation)
    assert value(migration, "select storage.allow_any_operation(%s)", ["object.list", operation])
    assert not value(migration, "select storage.allow_any_operation(array['object.list', null, ''])")


@pytest.mark.parametrize("operation", ["object.list", "", None])
def test_another_operation_is_not_allowed(migration: Connection, operation: str | None) -> None:
    migration.execute("set local storage.operation = 'storage.object.upload'")
    assert value(migration, "select storage.allow_only_operation(%s)", operation) is False


def test_no_operation_is_allowed_outside_the_storage_api(migration: Connection) -> None:
    assert value(migration, "select storage.allow_only_operation('object.upload')") is False


def test_a_bucket_name_has_a_hundred_characters_at_most(migration: Connection) -> None:
    migration.execute("insert into storage.buckets (id, name) values ('a', repeat('a', 100))")
    with pytest.raises(RaiseException, match=r"is too long \(101 characters\). Max is 100"):
        migration.execute("insert into storage.buckets (id, name) values ('b', repeat('b', 101))")


def test_object_name_is_unique_in_a_bucket(migration: Connection) -> None:
    add_bucket(migration)
    migration.execute("insert into storage.objects (bucket_id, name) values ('papers', 'a.txt')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        migration.execute("insert into storage.objects (bucket_id, name) values ('papers', 'a.txt')")


def test_email_is_unique_except_for_sso_users(migration: Connection) -> None:
    add = "insert into auth.users (id, email, is_sso_user) values (gen_random_uuid(), 'ada@example.com', %s)"
    migration.execute(add, [False])
    migration.execute(add, [True])
    with pytest.raises(psycopg.errors.UniqueViolation):
        migration.execute(add, [False])


# Installing.


def make_table_and_function(connection: Connection) -> None:
    connection.execute("create table public.mine (id integer generated always as identity)")
    connection.execute("create function public.mine() returns integer language sql return 1")


def test_new_tables_are_closed_to_api_roles_until_granted(migration: Connection) -> None:
    make_table_and_function(migration)
    for role in API_ROLES:
        for privilege in ("select", "insert", "update", "delete"):
            assert not value(migration, "select has_table_privilege(%s, 'public.mine', %s)", role, privilege)
        assert not value(migration, "select has_sequence_privilege(%s, 'public.mine_id_seq', 'usage')", role)


def test_new_functions_stay_open_through_public(migration: Connection) -> None:
    make_table_and_function(migration)
    assert value(migration, "select has_function_privilege('anon', 'public.mine()', 'execute')")
    migration.execute("revoke execute on function public.mine() from public")
    assert not value(migration, "select has_function_privilege('anon', 'public.mine()', 'execute')")


def test_in_legacy_mode_new_objects_are_open_to_api_roles(scratch_database: ScratchDatabase) -> None:
    url = scratch_database("legacy")
    assert installed(url, default_privileges="legacy")
    with psycopg.connect(url) as connection:
        connection.execute("set local role postgres")
        make_table_and_function(connection)
        connection.execute("revoke execute on function public.mine() from public")
        for role in API_ROLES:
            for privilege in ("select", "insert", "update", "delete"):
                assert value(connection, "select has_table_privilege(%s, 'public.mine', %s)", role, privilege)
            assert value(connection, "select has_function_privilege(%s, 'public.mine()', 'execute')", role)


def test_installing_twice_changes_nothing(scratch_database: ScratchDatabase) -> None:
    url = scratch_database("twice")
    assert installed(url)
    with psycopg.connect(url) as connection:
        connection.execute("insert into storage.buckets (id, name) values ('papers', 'papers')")
    assert not installed(url, default_privileges="legacy")
    with psycopg.connect(url) as connection:
        assert value(connection, "select count(*) from storage.buckets") == 1


def test_another_database_of_the_cluster_gets_its_own_platform(
    scratch_database: ScratchDatabase, migration: Connection
) -> None:
    url = scratch_database("second")
    assert installed(url)
    with psycopg.connect(url) as connection:
        connection.execute("set local role postgres")
        connection.execute("create table public.mine (id uuid references auth.users (id))")
        connection.execute("create policy mine on storage.objects for select to anon using (true)")
        refused(connection, "create table auth.mine ()", because="permission denied for schema auth")
    assert value(migration, "select count(*) from pg_policies where policyname = 'mine'") == 0


def test_copy_of_a_template_gets_its_owner_and_settings(scratch_database: ScratchDatabase) -> None:
    template, copy = scratch_database("template"), scratch_database("copy")
    installed(template)
    with psycopg.connect(template) as connection:
        template_name = value(connection, "select current_database()")
    with psycopg.connect(copy) as connection:
        copy_name = value(connection, "select current_database()")
    with psycopg.connect(make_conninfo(template, dbname="postgres"), autocommit=True) as connection:
        connection.execute(f'drop database "{copy_name}"')
        connection.execute(f'create database "{copy_name}" template "{template_name}"')
    assert not installed(copy)
    with psycopg.connect(copy) as connection:
        assert value(connection, "select current_setting('pgrst.db_schemas')") == "public"
        connection.execute("set local role postgres")
        connection.execute("create table public.mine ()")


def test_a_failed_installation_leaves_nothing(scratch_database: ScratchDatabase) -> None:
    url = scratch_database("failed")
    with pytest.raises(asyncpg.UndefinedObjectError):
        installed(url, passwords={"no_such_role": "secret"})
    with psycopg.connect(url) as connection:
        assert value(connection, "select to_regnamespace('auth')") is None
        assert value(connection, "select count(*) from pg_event_trigger") == 0


def test_only_supabase_admin_may_install(scratch_database: ScratchDatabase) -> None:
    async def run(url: str) -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("set session authorization postgres")
            await install(connection)
        finally:
            await connection.close()

    with pytest.raises(asyncpg.RaiseError, match="installed by supabase_admin, not by postgres"):
        asyncio.run(run(scratch_database("stranger")))


def test_passwords_may_hold_any_character(scratch_database: ScratchDatabase) -> None:
    password = """it's "quoted" \\ %s"""
    url = scratch_database("passwords")
    # An unused role: a password belongs to the whole cluster.
    installed(url, passwords={"dashboard_user": password})
    with psycopg.connect(url) as connection:
        stored = value(connection, "select rolpassword from pg_authid where rolname = 'dashboard_user'")
        connection.execute("alter role dashboard_user password null")
    _, iterations_and_salt, keys = stored.split("$")
    iterations, salt = iterations_and_salt.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    assert keys.split(":")[0] == base64.b64encode(stored_key).decode()


# What stands around the schemas.


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("create table public.mine (id integer)", True),
        ("alter table public.mine add column body text", True),
        ("create function public.mine() returns integer language sql return 1", True),
        ("comment on table public.mine is 'ours'", True),
        ("create index on public.mine (id)", False),
        ("create policy mine on public.mine for select using (true)", False),
        ("create temporary table fleeting ()", False),
        ("drop table public.mine", True),
    ],
)
def test_ddl_notifies_the_data_api(migration_url: str, platform_url: str, statement: str, told: bool) -> None:
    with psycopg.connect(platform_url, autocommit=True) as listener, psycopg.connect(migration_url) as connection:
        if "public.mine" in statement and not statement.startswith("create table"):
            connection.execute("create table public.mine (id integer)")
            connection.commit()
        try:
            listener.execute("listen pgrst")
            connection.execute(statement)
            connection.commit()
            heard = [notice.payload for notice in listener.notifies(timeout=1 if told else 0.1, stop_after=1)]
            assert heard == (["reload schema"] if told else [])
        finally:
            connection.execute("drop table if exists public.mine")
            connection.execute("drop function if exists public.mine()")
            connection.commit()


def test_lints_find_the_exposed_schemas(migration: Connection) -> None:
    assert value(migration, "select current_setting('pgrst.db_schemas')") == "public"


@pytest.mark.parametrize(
    "role",
    [
        *("postgres", "anon", "authenticated", "service_role", "authenticator", "supabase_admin"),
        *OWNERS,
        *("dashboard_user", "pgbouncer", "supabase_etl_admin", "supabase_privileged_role"),
        *("supabase_read_only_user", "supabase_replication_admin"),
    ],
)
def test_the_platform_roles_exist_and_only_ours_sign_in(migration: Connection, role: str) -> None:
    signs_in = value(migration, "select rolcanlogin from pg_roles where rolname = %s", role)
    assert signs_in == (role in {"postgres", "authenticator", "supabase_admin"})


def test_the_clock_is_utc(migration: Connection) -> None:
    assert value(migration, "show timezone") == "UTC"


def test_postgres_bypasses_rls_without_superuser(migration: Connection) -> None:
    row = migration.execute(
        "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles"
        " where rolname = current_user"
    ).fetchone()
    assert row == (False, True, True, True, True)


def test_postgres_owns_nothing_in_the_platform_schemas(migration: Connection) -> None:
    found = migration.execute(
        "select c.oid::regclass::text from pg_class as c where c.relowner = 'postgres'::regrole"
        " and c.relnamespace::regnamespace::text in ('auth', 'storage', 'realtime')"
    ).fetchall()
    assert found == []
