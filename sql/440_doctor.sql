-- Doctor: checks of the database that `threadline doctor` runs.
-- Each problem is one sentence that says what is wrong and what to do.

create function private.diagnose_login() returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select format('The database user %s cannot become %s; grant it that role.', session_user, needed.role)
    from unnest(array['anon', 'authenticated', 'service_role']) as needed (role)
    where not pg_has_role(session_user, needed.role, 'member')
    union all
    select format(
        'The database user %s may do more than the service needs (%s); give the service a login of its own.',
        session_user, string_agg(excess.what, ', ')
    )
    from (
        select unnest(array[
            case when login.rolsuper then 'superuser' end,
            case when login.rolbypassrls then 'bypassrls' end,
            case when login.rolcreaterole then 'createrole' end,
            case when login.rolcreatedb then 'createdb' end,
            case when login.rolreplication then 'replication' end
        ]) as what
        from pg_roles as login
        where login.rolname = session_user
        union all
        select 'can become ' || other.rolname
        from pg_roles as other
        where pg_has_role(session_user, other.oid, 'member')
            and other.rolname not in (session_user, 'anon', 'authenticated', 'service_role')
            -- A superuser can become every role; the first part already reports it.
            and not (select login.rolsuper from pg_roles as login where login.rolname = session_user)
    ) as excess
    where excess.what is not null
    having count(*) > 0
    union all
    select format(
        'The database user %s may not call private.call; grant usage on schema private and execute on it.',
        session_user
    )
    where not has_schema_privilege(session_user, 'private', 'usage')
        or not has_function_privilege(session_user, 'private.call(text, text, text, text, text, bytea)', 'execute');
end
$$;
comment on function private.diagnose_login() is
'Reports missing and excess rights of the login that asks.';

create function private.diagnose_tables() returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select format('Row-level security is off on %s.%s; enable it.', schema.nspname, class.relname)
    from pg_class as class
    inner join pg_namespace as schema on class.relnamespace = schema.oid
    where schema.nspname in ('public', 'private') and class.relkind in ('r', 'p') and not class.relrowsecurity
        -- Extensions manage their own tables.
        and not exists (
            select from pg_depend where classid = 'pg_class'::regclass and objid = class.oid and deptype = 'e'
        )
    union all
    select format('The trigger %s of %s is disabled; enable it.', tgname, tgrelid::regclass)
    from pg_trigger
    inner join pg_class as class on tgrelid = class.oid
    where not tgisinternal and tgenabled in ('D', 'R')
        and class.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
    union all
    select format('The index %s is not valid; run "reindex index %s".', indexrelid::regclass, indexrelid::regclass)
    from pg_index
    inner join pg_class as class on indexrelid = class.oid
    where not indisvalid and class.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
    union all
    select 'Callers who have not signed in may use the schema private; revoke usage on it from public and anon.'
    where has_schema_privilege('anon', 'private', 'usage')
    union all
    select 'private.settings has lost its row; run "insert into private.settings default values".'
    where not exists (select from private.settings);
end
$$;
comment on function private.diagnose_tables() is
'Reports problems of tables in public and private: row-level security, triggers, indexes, settings.';

create function private.diagnose_platform() returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select format(
        'Search does not find messages of conversations since %s, because no process indexes them; run '
        'threadline serve or threadline work, or enable pg_cron.', private.format_time(behind.since)
    )
    from (select min(noted.created_at) as since from private.word_backlog as noted) as behind
    where behind.since < now() - interval '15 minutes'
    union all
    select format(
        'Search knows about %s messages in a former language of their channel, because no process indexes them again; '
        'run threadline serve or threadline work, or enable pg_cron.', behind.messages
    )
    from (
        select max(waiting.indexed_at) as last_at, sum(waiting.messages) as messages
        from private.language_backlog as waiting
    ) as behind
    where behind.last_at < now() - interval '15 minutes'
    union all
    select 'The Storage bucket "attachments" is missing, so uploads fail; create it as in the first migration.'
    where not exists (select from storage.buckets where id = 'attachments')
    union all
    select 'The Storage bucket "attachments" is public, so everyone can read its files; make it private.'
    from storage.buckets
    where id = 'attachments' and public
    union all
    select 'The publication supabase_realtime is missing, so clients receive no changes of tables; create it.'
    where not exists (select from pg_publication where pubname = 'supabase_realtime')
    union all
    select format(
        'The table public.%s is not in the publication supabase_realtime, so clients miss its changes; add it.',
        wanted.name
    )
    from unnest(array['conversations', 'messages', 'message_reactions']) as wanted (name)
    where exists (select from pg_publication where pubname = 'supabase_realtime')
        and not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = wanted.name
        )
    union all
    select 'Realtime has made no partition of realtime.messages yet, so broadcasts are lost; connect a client once.'
    from pg_class
    where oid = to_regclass('realtime.messages') and relkind = 'p'
        and not exists (select from pg_inherits where inhparent = pg_class.oid);
end
$$;
comment on function private.diagnose_platform() is
'Reports problems of Storage and Realtime that the database can see.';

create function private.diagnose_version(p_needed text) returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select format(
        'The database has schema version %s and the service needs %s; '
        'run "threadline add" and "npx supabase@3 db push --remote".',
        private.schema_version(), p_needed
    )
    where private.schema_version() < p_needed
    union all
    select format(
        'The database has schema version %s, newer than %s of the service; upgrade the service.',
        private.schema_version(), p_needed
    )
    where private.schema_version() > p_needed;
end
$$;
comment on function private.diagnose_version(text) is
'Reports a schema that is older or newer than the service needs.';

-- Definer, because the service may not read the buckets.
create function private.diagnose(p_version text, p_now timestamptz) returns setof text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select private.diagnose_version(p_version)
    union all
    select private.diagnose_login()
    union all
    select private.diagnose_tables()
    union all
    select private.diagnose_platform()
    union all
    -- Token checks allow the same 30 seconds (api/threadline/tokens.py).
    select format(
        'The clocks of the service and of the database are %s seconds apart; set the time.',
        round(abs(extract(epoch from clock_timestamp() - p_now)))
    )
    where abs(extract(epoch from clock_timestamp() - p_now)) > 30;
end
$$;
comment on function private.diagnose(text, timestamptz) is
'Returns one sentence for each problem of this database; no rows without problems. p_version is the schema version
that the service needs; p_now is the clock of the service.';
