"""Rules that every object of `public` and `private` keeps, as queries that return the ones that do not.

Beside each rule stands a violation: a rule that would not see it is no rule.
"""

from typing import Any, NamedTuple

import psycopg
import pytest

Db = psycopg.Connection[Any]


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
    "every function searches pg_catalog before pg_temp": Rule(
        """
        select oid::regprocedure::text from our_functions
        where not coalesce(proconfig, '{}') @> array['search_path=pg_catalog, pg_temp']
        """,
        "create function public.planted() returns integer language sql set search_path = public as 'select 1'",
        "public.planted()",
    ),
    # Up to Postgres 17, an SQL function that sets search_path is planned again at each call.
    "every function is written in PL/pgSQL": Rule(
        """
        select oid::regprocedure::text from our_functions
        where prolang <> (select oid from pg_language where lanname = 'plpgsql')
        """,
        "create function private.planted() returns integer language sql as 'select 1'",
        "private.planted()",
    ),
    # Up to Postgres 17, a plan that needs what is off has a cost of ten billion, and Postgres compiles it.
    "a function that turns a kind of plan off turns JIT off": Rule(
        """
        select oid::regprocedure::text from our_functions
        where exists (select from unnest(proconfig) as setting where setting ~ '^enable_.*=off$')
            and not proconfig @> array['jit=off']
        """,
        "create function private.planted() returns integer language sql set enable_sort = 'off' as 'select 1'",
        "private.planted()",
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
    "a view runs with the rights of who reads it, or is private and lets no function look first": Rule(
        """
        select oid::regclass::text from our_relations
        where relkind = 'm' or relkind = 'v' and not coalesce(reloptions, '{}') @> array[
            case relnamespace when 'private'::regnamespace then 'security_barrier=true' else 'security_invoker=true' end
        ]
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
                where indrelid = conrelid
                    -- No query looks for a null key.
                    and (
                        indpred is null
                        or pg_get_expr(indpred, indrelid) in (
                            select format('(%I IS NOT NULL)', attname) from pg_attribute
                            where attrelid = conrelid and attnum = any(conkey)
                        )
                    )
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
    "the Data API gives no estimates of a table that clients read": Rule(
        """
        select oid::regclass::text from our_relations
        where relkind in ('r', 'p') and has_any_column_privilege('authenticated', oid, 'select')
            and not exists (
                select from our_policies
                where polrelid = our_relations.oid and not polpermissive and polcmd = 'r'
                    and polroles = array['authenticated'::regrole::oid] and condition = 'private.is_executed()'
            )
        """,
        """
        create table public.planted (id integer primary key);
        grant select on public.planted to authenticated
        """,
        "public.planted",
    ),
    # A new column of text either gets `set statistics 0` or joins the short list in sql/890_statistics.sql.
    "a column that clients read has no statistics of what users wrote": Rule(
        """
        select part.attrelid::regclass || '.' || part.attname
        from pg_attribute as part
        left join pg_index as indexed on part.attrelid = indexed.indexrelid
        inner join our_relations as relation on relation.oid = coalesce(indexed.indrelid, part.attrelid)
        where relation.relkind in ('r', 'p') and has_any_column_privilege('authenticated', relation.oid, 'select')
            and part.attnum > 0 and not part.attisdropped and coalesce(indexed.indkey[part.attnum - 1] = 0, true)
            and part.atttypid <> all('{uuid, timestamptz, bigint, integer, boolean}'::regtype[])
            and part.attname not in ('kind', 'platform', 'role', 'state')
            and coalesce(part.attstattarget, -1) <> 0
        """,
        "alter table public.people add column planted text",
        "public.people.planted",
    ),
    "a table that clients read has no extended statistics": Rule(
        """
        select stxname from pg_statistic_ext
        where stxrelid in (
            select oid from our_relations where has_any_column_privilege('authenticated', oid, 'select')
        )
        """,
        "create statistics public.planted on full_name, phone from public.people",
        "planted",
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
    "a trigger is named after its table and has a number for its order": Rule(
        """
        select tgrelid::regclass || '.' || tgname from pg_trigger
        inner join pg_class as relation on tgrelid = relation.oid
        where not tgisinternal and tgrelid in (select oid from our_relations)
            and tgname !~ ('^' || relation.relname || '_[1-9][0-9]_[a-z]')
        """,
        """
        create trigger people_planted before update on public.people
        for each row execute function private.set_updated_at_trigger()
        """,
        "public.people.people_planted",
    ),
    "a trigger function is named so, and nothing else is": Rule(
        """
        select oid::regprocedure::text from our_functions
        where (prorettype = 'trigger'::regtype) <> (proname like '%\\_trigger')
        """,
        """
        create function private.planted() returns trigger language plpgsql as 'begin return null; end'
        """,
        "private.planted()",
    ),
    "no client reads a number that all tenants share": Rule(
        """
        select relation.oid::regclass || '.' || part.attname
        from our_relations as relation
        inner join pg_catalog.pg_attribute as part on part.attrelid = relation.oid and part.attnum > 0
        left join pg_catalog.pg_attrdef as given on given.adrelid = relation.oid and given.adnum = part.attnum
        where has_column_privilege('authenticated', relation.oid, part.attnum, 'select')
            and (part.attidentity <> '' or pg_get_expr(given.adbin, given.adrelid) like '%nextval(%')
        """,
        """
        create table public.planted (number bigint generated always as identity);
        grant select on public.planted to authenticated
        """,
        "public.planted.number",
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
def test_schema_keeps_the_rule(catalog: Db, rule: str) -> None:
    assert offenders(catalog, RULES[rule]) == []


@pytest.mark.parametrize("rule", RULES)
def test_rule_reports_its_violation(catalog: Db, rule: str) -> None:
    catalog.execute(RULES[rule].violation)
    assert offenders(catalog, RULES[rule]) == [RULES[rule].offender]
