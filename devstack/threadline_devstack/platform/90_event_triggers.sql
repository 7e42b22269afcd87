-- Event triggers: allow policies on the platform's tables, and notify the Data API.

-- On the platform an extension lets postgres manage policies, and drop triggers, on tables it does not own,
-- and nothing else. Here postgres gets the ownership for the length of only those
-- statements, so that Postgres itself refuses everything else, in its own words. It is a change of
-- membership inside the caller's transaction: no other session sees it, and a failed statement rolls it
-- back. Two transactions with such statements, even in two databases of the cluster, wait for each other.

create function extensions.lend_ownership() returns event_trigger
language plpgsql security definer set search_path = ''
as $$
begin
    grant supabase_auth_admin, supabase_storage_admin, supabase_realtime_admin to postgres;
end
$$;

create function extensions.return_ownership() returns event_trigger
language plpgsql security definer set search_path = ''
as $$
begin
    revoke supabase_auth_admin, supabase_storage_admin, supabase_realtime_admin from postgres;
end
$$;

-- Tells PostgREST to read the schema again after changes that it can show: not of temporary tables
-- or of the platform's own schemas.

create function extensions.pgrst_ddl_watch() returns event_trigger
language plpgsql set search_path = ''
as $$
begin
    if exists (
        select
        from pg_event_trigger_ddl_commands() as command
        where
            command.object_type in (
                'schema', 'table', 'table column', 'foreign table', 'view', 'materialized view', 'function',
                'procedure', 'type', 'domain', 'table constraint', 'trigger', 'rule', 'cast'
            )
            and coalesce(command.schema_name, '') not in ('pg_temp', 'auth', 'storage', 'realtime')
    ) then
        notify pgrst, 'reload schema';
    end if;
end
$$;

create function extensions.pgrst_drop_watch() returns event_trigger
language plpgsql set search_path = ''
as $$
begin
    if exists (
        select
        from pg_event_trigger_dropped_objects() as dropped
        where
            dropped.object_type in (
                'schema', 'table', 'table column', 'foreign table', 'view', 'materialized view', 'function',
                'procedure', 'type', 'domain', 'table constraint', 'trigger', 'rule', 'cast'
            )
            and not dropped.is_temporary
    ) then
        notify pgrst, 'reload schema';
    end if;
end
$$;

-- In a body, because the SQL linter does not parse this statement.
do $$
begin
    create event trigger lend_ownership on ddl_command_start
    when tag in ('CREATE POLICY', 'ALTER POLICY', 'DROP POLICY', 'DROP TRIGGER')
    execute function extensions.lend_ownership();

    create event trigger return_ownership on ddl_command_end
    when tag in ('CREATE POLICY', 'ALTER POLICY', 'DROP POLICY', 'DROP TRIGGER')
    execute function extensions.return_ownership();

    create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
    create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_drop_watch();
end
$$;
