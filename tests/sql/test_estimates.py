"""The Data API estimates no rows, so it tells nothing about values of other users."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from threadline_devstack import keys

from tests.bench import programs
from tests.support import release, tools
from tests.support.cluster import TestCluster
from tests.support.database import Db, become, become_postgres, rows
from tests.support.tokens import bearer, sign
from tests.support.twin import add_twin
from tests.support.world import CHANNEL, JOHN_DOE, MALLORY, MATTY, TWIN, WORKSPACE

if tools.postgrest() is None:
    pytest.skip(tools.why_not("postgrest"), allow_module_level=True)

SECRET = "Secret Client GmbH"
PLAN = "application/vnd.pgrst.plan+json"
# Triggers are off. Some values are frequent and all are in the statistics.
MANY = f"""
set session_replication_role = replica;
insert into public.conversations (
    user_id, workspace_id, scope_id, platform, external_conversation_id, participant_identifier, participant_name
)
select '{MATTY}', '{MATTY}', '{MATTY}', 'wechat', 'many' || n, '+49 151 ' || 1000000 + n,
    case when n <= 200 then '{SECRET}' else 'N' || n end
from generate_series(1, 2000) as n;
insert into public.people (user_id, workspace_id, full_name, phone)
select '{MATTY}', '{MATTY}', case when n <= 200 then '{SECRET}' else 'N' || n end, '49 151 ' || 1000000 + n % 1000
from generate_series(1, 2000) as n;
insert into public.person_identifiers (workspace_id, person_id, kind, value)
select workspace_id, id, 'email', replace(full_name, ' ', '') || '@example.com' from public.people;
insert into public.conversation_identifiers (workspace_id, conversation_id, kind, value, key)
select workspace_id, id, 'other', participant_name, participant_name from public.conversations
where participant_name is not null;
insert into public.messages (channel_id, workspace_id, user_id, content, seq, created_at)
select '{CHANNEL}', (select workspace_id from public.channels where id = '{CHANNEL}'), '{MATTY}',
    case when n <= 200 then '{SECRET}' else 'N' || n end, 1000 + n, now() - n * '1 s'::interval
from generate_series(1, 2000) as n;
insert into public.twin_deliveries (ai_twin_id, channel_id, message_id, seq, last_error)
select gen_random_uuid(), channel_id, id, seq, 'The webhook answered 500.' from public.messages where seq > 1000;
insert into public.erasures (kind, subject_id, requested_by, erased) values ('person', '{CHANNEL}', '{MATTY}', '{{}}');
insert into public.attachments (channel_id, file_name, size, content_type)
select '{CHANNEL}', 'secret' || n % 5, n, 'text/plain' from generate_series(1, 100) as n;
insert into public.conversation_reads (conversation_id, user_id, workspace_id, read_at)
select id, '{MATTY}', '{MATTY}', created_at from public.conversations where platform = 'wechat' limit 100;
insert into public.conversation_updates (
    conversation_id, external_id, sender, type, actor, version, at, sequence, value
)
select gen_random_uuid(), 'm' || n, 'x', 'read', 'a', 'v', now(), n, '{{}}' from generate_series(1, 100) as n;
insert into public.workspace_invitations (workspace_id, channel_id, email, role, token_hash, invited_by, expires_at)
select '{MATTY}', null, n || '@example.com', 'member', sha256(n::text::bytea), '{MATTY}', now()
from generate_series(1, 100) as n;
insert into public.message_mentions (message_id, channel_id, seq, user_id)
select id, channel_id, seq, '{MATTY}' from public.messages where seq > 1000;
insert into public.user_events (user_id, seq, kind, workspace_id, channel_id)
select '{MATTY}', 1000 + n, 'channel.joined', '{MATTY}', '{CHANNEL}' from generate_series(1, 100) as n;
delete from public.user_profiles where user_id = '{MALLORY}';
delete from public.workspace_members where user_id = '{MALLORY}';
delete from public.workspaces where id = '{MALLORY}';
set session_replication_role = origin;
analyze
"""
ABSENT = {
    "uuid": "00000000-0000-4000-8000-00000000dead",
    "text": "absent",
    "timestamp with time zone": "1999-01-01T00:00:00+00:00",
    "bigint": "987654321",
    "integer": "987654321",
    "boolean": "false",
    "jsonb": '{"no":"such value"}',
    "bytea": r"\x00",
    "text[]": '{"no such value"}',
}
# Columns that are null in these rows.
FILLED = f"""
ai_twins: avatar_url = 'https://secret.example/'
attachments: height = 1, width = 1, uploaded_by = '{MATTY}', version = '{SECRET}'
audit_log: actor_id = '{MATTY}', request_id = '{SECRET}'
channels: language = 'de', direct_key = uuid_send(id)
conversation_messages: deleted_at = now(), original = '{{}}', stated_at = now()
conversations: matched_by = 'phone', participant_named_at = now()
conversations: person_id = '{JOHN_DOE}', participant_key = '{SECRET}'
erasures: request_id = '{SECRET}'
ingest_log: errors = array['{SECRET}'], request_id = '{SECRET}'
member_states: hidden_seq = 1
message_mentions: ai_twin_id = '{TWIN}'
messages: ai_twin_id = '{TWIN}', conversation_id = id, attachments = '[]'
people: merged_into_id = '{JOHN_DOE}'
twin_deliveries: finished_at = now(), first_attempt_at = now(), last_status = 500, next_attempt_at = now()
twin_webhooks: unsubscribed_at = now()
user_events: message_id = gen_random_uuid()
user_profiles: avatar_url = 'https://secret.example/'
workspace_invitations: accepted_at = now(), accepted_by = '{MATTY}', channel_id = '{CHANNEL}', revoked_at = now()
workspaces: channel_days = 30, conversation_days = 30
"""
CHECKS = """
select format('alter table %s drop constraint %I', conrelid::regclass, conname) from pg_constraint
where connamespace = 'public'::regnamespace and contype in ('c', 'f')
"""
# Filters, as PostgREST writes them. Each column gets the first ones, those of three tables get all.
FILTERS = ["{0} = {1}", "{0} <> {1}", "{0} >= {1}", "{0} < {1}"]
MORE_FILTERS = {
    "": ["{0} > {1}", "{0} <= {1}", "{0} is distinct from {1}", "not {0} = {1}", "{0} is not null"],
    "text": [
        *("{0} = any(array[{1}])", "{0} like {1}", "{0} ilike {1}", "{0} ~ ('^' || {1})", "{0} ~* {1}"),
        *(f"to_tsvector({{0}}) @@ {name}to_tsquery({{1}})" for name in ("plain", "phrase", "websearch_")),
    ],
    "uuid": ["{0} = any(array[{1}]::uuid[])", "{0} = any(array[{1}, {1}]::uuid[])"],
    "text[]": ["{0} @> {1}", "{0} <@ {1}", "{0} && {1}"],
    "jsonb": ["{0} @> {1}", "{0} <@ {1}"],
}
# The beginning that private.is_executed() knows.
EXPLAIN = "EXPLAIN (FORMAT JSON) SELECT 1 from public.{} where {}"
# PostgREST reads all these headers, but shows a function only one of several.
HIDDEN = {
    "second of two": [("prefer", "return=representation"), ("prefer", "count=planned")],
    "first of two": [("prefer", "count=planned"), ("prefer", "return=representation")],
    "in a list": [("prefer", "return=representation, count=planned")],
    "in capitals": [("PREFER", "count=planned")],
    "with spaces": [("prefer", "return=minimal ,  count=planned")],
    "twice": [("prefer", "count=exact"), ("prefer", "count=planned")],
}


@pytest.fixture(scope="module")
def database(cluster: TestCluster, template: str) -> str:
    """A database with rows of Matty in every table that clients read, and with statistics."""
    name = cluster.create(template)
    url = cluster.url(name, "postgres")
    release.fill(url)
    add_twin(url, MATTY, [CHANNEL], "https://twin.example/hook")
    with psycopg.connect(cluster.url(name), autocommit=True) as db:
        for statement in MANY.split(";\n"):
            db.execute(statement)
        # Without triggers and constraints, because only the planner looks at these rows.
        db.execute("set session_replication_role = replica")
        for (constraint,) in db.execute(CHECKS).fetchall():
            db.execute(constraint)
        for line in FILLED.strip().splitlines():
            db.execute("update public.{} set {}".format(*line.split(": ", 1)))
        db.execute("analyze")
    return name


@pytest.fixture(scope="module")
def rest(cluster: TestCluster, database: str) -> Iterator[httpx.Client]:
    """A client of Mallory for the genuine PostgREST, with the plan media type on."""
    url = cluster.url(database, "authenticator")
    claims = {"sub": MALLORY, "role": "authenticated", "exp": int(time.time()) + 3600}
    headers = bearer(sign(claims, keys.JWT_SECRET))
    with (
        programs.postgrest(tools.postgrest(), url, "public", PGRST_DB_PLAN_ENABLED="true") as base_url,
        httpx.Client(base_url=base_url, headers=headers, timeout=30, verify=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def columns(cluster: TestCluster, database: str) -> list[tuple[str, str, str, str]]:
    """Table, column, type and the most frequent value, of every column that clients read and that has a value."""
    found = []
    with psycopg.connect(cluster.url(database)) as db:
        db.execute("set timezone = 'UTC'")
        for table, column, kind in rows(
            db,
            """
            select relation.relname, part.attname, format_type(part.atttypid, null)
            from pg_class as relation
            inner join pg_attribute as part on part.attrelid = relation.oid
            where relation.relnamespace = 'public'::regnamespace and relation.relkind in ('r', 'v', 'm', 'p')
                and part.attnum > 0 and not part.attisdropped
                and has_column_privilege('authenticated', relation.oid, part.attnum, 'select')
            order by relation.relname, part.attnum
            """,
        ):
            text = f"to_json({column})#>>'{{}}'" if kind.startswith("timestamp") else f"{column}::text"
            query = f"select {text} from public.{table} where {column} is not null"
            query += f" group by {column} order by count(*) desc limit 1"
            found += [(table, column, kind, value) for value in rows(db, query)]
    return found


def planned(rest: httpx.Client, path: str, parameters: dict[str, str] | None = None, count: str = "planned") -> Any:
    """The status and the number of rows that the Data API gives for a filter."""
    answer = rest.get(path, params=parameters, headers={"prefer": f"count={count}"})
    return answer.status_code, answer.headers.get("content-range")


def planned_in_hiding(rest: httpx.Client, path: str, parameters: dict[str, str] | None = None) -> Any:
    """The same with a header that no function can see."""
    answer = rest.get(path, params=parameters, headers=HIDDEN["second of two"])
    return answer.status_code, answer.headers.get("content-range")


def estimates(rest: httpx.Client, path: str, parameters: dict[str, str] | None = None) -> list[Any]:
    """All that the Data API says about a filter before it runs: two counts and the plan."""
    plan = rest.get(path, params=parameters, headers={"accept": PLAN})
    counts = [planned(rest, path, parameters, count) for count in ("planned", "estimated")]
    counts.append(planned_in_hiding(rest, path, parameters))
    return [*counts, plan.status_code, shape(plan.json()) if plan.is_success else None]


def shape(node: Any) -> Any:
    """A plan with its figures and without the texts of its conditions."""
    if isinstance(node, list):
        return [shape(each) for each in node]
    if isinstance(node, dict):
        return {name: shape(each) for name, each in node.items() if name in FIGURES}
    return node


FIGURES = {"Plan", "Plans", "Node Type", "Startup Cost", "Total Cost", "Plan Rows", "Plan Width", "Index Name"}


def test_every_exposed_column_has_a_tested_value(
    columns: list[tuple[str, str, str, str]], cluster: TestCluster, database: str
) -> None:
    with psycopg.connect(cluster.url(database)) as db:
        exposed = rows(
            db,
            """
            select relation.relname, part.attname
            from pg_class as relation inner join pg_attribute as part on part.attrelid = relation.oid
            where relation.relnamespace = 'public'::regnamespace and relation.relkind in ('r', 'v', 'm', 'p')
                and part.attnum > 0 and not part.attisdropped
                and has_column_privilege('authenticated', relation.oid, part.attnum, 'select')
            """,
        )
    assert set(exposed) - {(table, column) for table, column, *_ in columns} == set()


def leaks(db: Db, columns: list[tuple[str, str, str, str]]) -> list[tuple[str, str, str]]:
    """Return the filters that show another count for a frequent value of Matty than for one that no row has."""
    found = []
    for table, column, kind, stored in columns:
        is_whole = table in ("conversations", "conversation_messages", "ingest_log")
        more = [*MORE_FILTERS[""], *MORE_FILTERS.get(kind, [])] if is_whole else []
        for filter_ in [*FILTERS, *more]:
            expected = [
                db.execute(
                    sql.SQL(EXPLAIN).format(
                        sql.Identifier(table), sql.SQL(filter_).format(sql.Identifier(column), sql.Literal(each))
                    )
                ).fetchone()[0][0]["Plan"]["Plan Rows"]
                for each in (stored, ABSENT[kind])
            ]
            if expected[0] != expected[1]:
                found.append((table, column, filter_))
    return found


def test_estimate_does_not_depend_on_rows_of_others(
    cluster: TestCluster, database: str, columns: list[tuple[str, str, str, str]]
) -> None:
    with psycopg.connect(cluster.url(database, "postgres")) as db:
        become(db, MALLORY)
        # A hidden header is not refused, so Postgres plans the filter.
        db.execute("select set_config('request.headers', %s, true)", (json.dumps(dict(HIDDEN["second of two"][:1])),))
        assert leaks(db, columns) == []
        become_postgres(db)
        db.execute("drop policy conversations_select_executed on public.conversations")
        become(db, MALLORY)
        assert {column for _, column, _ in leaks(db, [row for row in columns if row[0] == "conversations"])} > {
            *("participant_name", "platform", "workspace_id")
        }
        db.rollback()


def test_estimate_of_postgrest_tells_nothing(rest: httpx.Client, columns: list[tuple[str, str, str, str]]) -> None:
    one_of_each_table = {table: (column, kind, stored) for table, column, kind, stored in columns}
    for table, (column, kind, stored) in one_of_each_table.items():
        theirs, absent = (estimates(rest, f"/{table}", {column: f"eq.{each}"}) for each in (stored, ABSENT[kind]))
        assert theirs == absent, (table, column)


@pytest.mark.parametrize("count", ["planned", "estimated"])
def test_search_by_estimates_finds_no_name(rest: httpx.Client, count: str) -> None:
    seen = set()
    for bound in ("A", "Secret", "Secret Client GmbH", "Secret D", "Z", "\u00e9"):
        for operator in ("gte", "lt", "eq"):
            answer = rest.get(
                "/conversations",
                params={"select": "id", "participant_name": f"{operator}.{bound}"},
                headers={"prefer": f"count={count}"},
            )
            seen.add((answer.status_code, answer.headers.get("content-range")))
    assert len(seen) == 1


@pytest.mark.parametrize("count", ["planned", "estimated"])
def test_estimate_of_each_table_is_refused(
    rest: httpx.Client, columns: list[tuple[str, str, str, str]], count: str
) -> None:
    tables = sorted({table for table, *_ in columns})
    answers = {table: rest.get(f"/{table}", headers={"prefer": f"count={count}"}) for table in tables}
    assert {table: (reply.status_code, reply.json()["details"]) for table, reply in answers.items()} == dict.fromkeys(
        tables, (403, "plan_refused")
    )


@pytest.mark.parametrize("form", HIDDEN)
def test_estimate_in_a_hidden_header_tells_nothing(rest: httpx.Client, form: str) -> None:
    seen = set()
    for name in (SECRET, "absent"):
        answer = rest.get("/conversations", params={"participant_name": f"eq.{name}"}, headers=HIDDEN[form])
        seen.add((answer.status_code, answer.headers.get("content-range")))
    assert len(seen) == 1


def test_exact_count_is_answered(rest: httpx.Client) -> None:
    answer = rest.get("/conversations", headers={"prefer": "count=exact"})
    assert (answer.status_code, answer.headers["content-range"]) == (200, "*/0")


def test_embedded_and_nested_filters_tell_nothing(rest: httpx.Client) -> None:
    for path in (
        "/channel_members?select=channel_id,channels!inner(name)&channels.name=eq.{}",
        "/conversations?or=(participant_name.eq.{},platform.eq.wechat)",
        "/conversations?and=(participant_name.gte.{},participant_name.not.is.null)",
        "/conversations?participant_name=in.({},other)",
        "/messages?content=eq.{}&order=seq.desc&limit=1",
        "/people?select=full_name,conversations(id)&full_name=eq.{}",
        f"/rpc/list_workspace_members?workspace_id={WORKSPACE}&display_name=eq.{{}}",
    ):
        assert estimates(rest, path.format(SECRET)) == estimates(rest, path.format("absent")), path


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_plan_of_a_change_tells_nothing(rest: httpx.Client, method: str) -> None:
    for wish in ({"accept": PLAN}, {"prefer": "count=planned"}):
        seen = []
        for name in (SECRET, "absent"):
            changed = {"full_name": "x"} if method == "PATCH" else None
            answer = rest.request(method, "/people", params={"full_name": f"eq.{name}"}, json=changed, headers=wish)
            seen.append((answer.status_code, answer.json()["details"]))
        assert seen == [(403, "plan_refused")] * 2
