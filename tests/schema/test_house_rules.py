"""Rules that every object of `public` and `private` keeps, as queries that return the ones that do not.

Beside each rule stands a violation: a rule that would not see it is no rule.
"""

from typing import Any, NamedTuple

import psycopg
import pytest

Db = psycopg.Connection[Any]

# Definer functions run with the rights of the tables' owner. Each has to say why it must, and asks itself who calls.
DEFINERS = {
    "private.issue_messaging_key": "no client role may touch the keys",
    "private.describe_messaging_keys": "no client role may read the keys",
    "private.authenticate_connection": "the hashes are for no other eyes",
    "private.is_live_key": "the hashes are for no other eyes",
    "private.summarize_conversations": "runs when Supabase Auth deletes a user, too",
    "private.hold_matching": "owners of contacts may not call its helper",
    "private.match_conversations_again": "owners of contacts may not write conversations",
}


class Rule(NamedTuple):
    """What offends, as a query, and something that does."""

    offenders: str
    violation: str
    offender: str


RULES = {
    "every table has row-level security": Rule(
        "select oid::regclass::text from our_relations where relkind in ('r', 'p') and not relrowsecurity",
        "create table private.planted (id integer primary key)",
        "private.planted",
    ),
    "every table has a primary key": Rule(
        """
        select oid::regclass::text from our_relations
        where relkind in ('r', 'p')
            and not exists (select from pg_constraint where conrelid = our_relations.oid and contype = 'p')
        """,
        "create table public.planted (id integer)",
        "public.planted",
    ),
    "every table, view and type has a comment": Rule(
        """
        select oid::regclass::text from our_relations
        where relkind in ('r', 'p', 'v', 'm') and obj_description(oid, 'pg_class') is null
            or relkind = 'c' and obj_description(reltype, 'pg_type') is null
        """,
        "create type private.planted as (a integer)",
        "private.planted",
    ),
    "every function has a comment": Rule(
        "select oid::regprocedure::text from our_functions where obj_description(oid, 'pg_proc') is null",
        "create function public.planted() returns integer language sql as 'select 1'",
        "public.planted()",
    ),
    "every function has an empty search_path": Rule(
        """
        select oid::regprocedure::text from our_functions
        where not coalesce(proconfig, '{}') @> array['search_path=""']
        """,
        "create function public.planted() returns integer language sql set search_path = public as 'select 1'",
        "public.planted()",
    ),
    "no function is for everybody, nor for those who have not signed in": Rule(
        """
        select oid::regprocedure::text from our_functions
        where exists (
            select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee in (0, 'anon'::regrole)
        )
        """,
        "create function private.planted() returns integer language sql as 'select 1'",
        "private.planted()",
    ),
    "no function of the API runs with its owner's rights": Rule(
        "select oid::regprocedure::text from our_functions where prosecdef and pronamespace = 'public'::regnamespace",
        "create function public.planted() returns integer language sql security definer as 'select 1'",
        "public.planted()",
    ),
    "a view runs with the rights of who reads it": Rule(
        """
        select oid::regclass::text from our_relations
        where relkind = 'm' or relkind = 'v' and not coalesce(reloptions, '{}') @> '{security_invoker=true}'
        """,
        "create view public.planted as select full_name from public.people",
        "public.planted",
    ),
    "every foreign key has an index": Rule(
        """
        select conrelid::regclass || '.' || conname from pg_constraint
        where contype = 'f' and conrelid in (select oid from our_relations)
            and not exists (
                select from pg_index
                where indrelid = conrelid and indpred is null
                    and (indkey::int2[])[0:cardinality(conkey) - 1] operator(pg_catalog.@>) conkey
            )
        """,
        "alter table public.people add column planted uuid constraint planted references auth.users",
        "public.people.planted",
    ),
    "a policy asks once per query who the caller is": Rule(
        """
        select polrelid::regclass || '.' || polname from our_policies
        where regexp_replace(condition, '\\( SELECT auth\\.\\w+\\(\\)', '', 'g') ~ 'auth\\.|current_setting'
        """,
        "create policy planted on public.people for select to authenticated using (user_id = auth.uid())",
        "public.people.planted",
    ),
    "a policy names its roles": Rule(
        "select polrelid::regclass || '.' || polname from our_policies where 0::oid = any(polroles)",
        "create policy planted on public.people for select using (false)",
        "public.people.planted",
    ),
    "a policy is for one command": Rule(
        "select polrelid::regclass || '.' || polname from our_policies where polcmd = '*'",
        "create policy planted on public.people to authenticated using (false)",
        "public.people.planted",
    ),
    "a policy for changes says what may be left behind": Rule(
        "select polrelid::regclass || '.' || polname from our_policies where polcmd = 'w' and polwithcheck is null",
        "create policy planted on public.people for update to authenticated using (false)",
        "public.people.planted",
    ),
    "a table has one policy for a role and a command": Rule(
        """
        select polrelid::regclass || ' for ' || role::regrole from our_policies cross join unnest(polroles) as role
        where polpermissive group by polrelid, polcmd, role having count(*) > 1
        """,
        "create policy planted on public.people for select to authenticated using (false)",
        "public.people for authenticated",
    ),
    "what belongs to a table begins with its name": Rule(
        """
        select relation.oid::regclass || '.' || part.name
        from our_relations as relation
        inner join (
            select conrelid, conname from pg_constraint
            union all select indrelid, indexrelid::regclass::text from pg_index
            union all select polrelid, polname from pg_policy
            union all select tgrelid, tgname from pg_trigger where not tgisinternal
        ) as part (table_id, name) on part.table_id = relation.oid
        where regexp_replace(part.name, '^(public|private)\\.', '') not like relation.relname || '\\_%'
        """,
        "create index planted on public.people (full_name)",
        "public.people.public.planted",
    ),
    "a trigger says when it runs": Rule(
        """
        select tgrelid::regclass || '.' || tgname from pg_trigger
        where not tgisinternal and tgrelid in (select oid from our_relations)
            and tgname !~ '_(before|after)_(insert|update|delete)_'
        """,
        """
        create trigger people_planted before update on public.people
        for each row execute function private.set_updated_at()
        """,
        "public.people.people_planted",
    ),
    "everything belongs to the role that migrations run as": Rule(
        """
        select oid::regclass::text from our_relations where relowner <> 'postgres'::regrole
        union all select oid::regprocedure::text from our_functions where proowner <> 'postgres'::regrole
        """,
        """
        create table public.planted ();
        grant create on schema public to service_role;
        alter table public.planted owner to service_role
        """,
        "public.planted",
    ),
}

OURS = """
set local search_path = '';
create temporary view our_relations as
select * from pg_catalog.pg_class where relnamespace in ('public'::regnamespace, 'private'::regnamespace);
create temporary view our_functions as
select * from pg_catalog.pg_proc where pronamespace in ('public'::regnamespace, 'private'::regnamespace);
create temporary view our_policies as
select policy.*, concat_ws(' ', pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) as condition
from pg_catalog.pg_policy as policy where polrelid in (select oid from pg_temp.our_relations);
set local search_path = pg_temp, pg_catalog;
"""


@pytest.fixture
def catalog(db: Db) -> Db:
    """The database, with views of what is ours; names are printed with their schema."""
    db.execute(OURS)
    return db


def offenders(db: Db, rule: Rule) -> list[str]:
    return [name for (name,) in db.execute(rule.offenders)]


@pytest.mark.parametrize("rule", RULES)
def test_the_schema_keeps_the_rule(catalog: Db, rule: str) -> None:
    assert offenders(catalog, RULES[rule]) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_violation_of_the_rule_is_seen(catalog: Db, rule: str) -> None:
    catalog.execute(RULES[rule].violation)
    assert offenders(catalog, RULES[rule]) == [RULES[rule].offender]


def test_every_function_that_runs_with_its_owners_rights_is_known(catalog: Db) -> None:
    found = catalog.execute("select oid::regproc::text from our_functions where prosecdef").fetchall()
    assert {name for (name,) in found} == set(DEFINERS)


# Who may do what, but for the owner. What nobody else may touch is listed too: each object is a decision.
RIGHTS = """
authenticated
    private.describe_messaging_keys(uuid): execute
    private.issue_messaging_key(uuid,interval): execute
    private.phone_digits(text): execute
    public.conversation_messages: select
    public.conversations: select
    public.create_messaging_connection(text,text): execute
    public.keys(public.messaging_connections): execute
    public.messages(public.conversations): execute
    public.messaging_connections: delete, insert (platform, connection_id), select, update (is_active)
    public.people: delete, insert (id, full_name, phone), select, update (full_name, phone)
    public.rotate_messaging_key(text,interval): execute
    schema private: usage
authenticator
    private.call(text,text,text,text,bytea): execute
    schema private: usage
nobody
    private.check_message_owner()
    private.generate_secret()
    private.hash_secret(text)
    private.hold_matching()
    private.match_conversations_again()
    private.match_participant()
    private.messaging_keys
    private.set_updated_at()
    private.summarize_conversations()
service_role
    private.authenticate_connection(text,text,text): execute
    private.compare_messages(private.ingest_message[],uuid[]): execute
    private.count_messages(jsonb): execute
    private.create_conversations(uuid,text,private.ingest_participant[]): execute
    private.describe_results(private.ingest_conversation[],uuid[],jsonb,jsonb,jsonb): execute
    private.find_conversations(uuid,text,private.ingest_conversation[]): execute
    private.is_live_key(text): execute
    private.lock_conversations(uuid[],private.ingest_participant[],uuid[]): execute
    private.look_up_messages(private.ingest_message[],uuid[]): execute
    private.match_person(uuid,text): execute
    private.matching_lock(uuid): execute
    private.message_preview(jsonb): execute
    private.newest_participants(private.ingest_conversation[]): execute
    private.parse_json(bytea): execute
    private.parse_timestamp(text): execute
    private.phone_digits(text): execute
    private.read_conversations(jsonb): execute
    private.read_messages(jsonb): execute
    private.refuse(integer,text): execute
    private.settings: select
    private.store_conversations(uuid,text,jsonb): execute
    private.update_participants(uuid[],private.ingest_participant[]): execute
    public.conversation_messages: delete, insert, select
    public.conversations: delete, insert, select, update (participant_identifier, participant_name, participant_identified_at, participant_named_at)
    public.messages(public.conversations): execute
    public.messaging_connections: delete, insert, select, update
    public.messaging_ingest(bytea): execute
    public.people: delete, insert, select, update
    schema private: usage
"""  # noqa: E501

GRANTED = """
with object (name, acl, owner) as (
    select 'schema ' || nspname, nspacl, nspowner from pg_namespace where nspname = 'private'
    union all
    select oid::regclass::text, relacl, relowner from our_relations where relkind not in ('i', 'I', 'c')
    union all
    select oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), proowner from our_functions
), granted as (
    select object.name, grantee, lower(privilege_type) as privilege
    from object cross join aclexplode(acl) where grantee <> owner
    union all
    select
        oid::regclass::text, grantee,
        format('%s (%s)', lower(privilege_type), string_agg(attname, ', ' order by attnum))
    from our_relations inner join pg_attribute on attrelid = oid cross join aclexplode(attacl)
    group by oid, grantee, privilege_type
)
select
    coalesce(pg_get_userbyid(nullif(grantee, 0)), case when grantee = 0 then 'public' else 'nobody' end) as role,
    name || coalesce(': ' || string_agg(privilege, ', ' order by privilege), '')
from object left join granted using (name)
group by role, name
order by role, name
"""


def test_rights_are_those_decided(catalog: Db) -> None:
    by_role: dict[str, str] = {}
    for role, right in catalog.execute(GRANTED):
        by_role[role] = by_role.get(role, "") + f"    {right}\n"
    assert "".join(f"{role}\n{rights}" for role, rights in by_role.items()) == RIGHTS.lstrip()
