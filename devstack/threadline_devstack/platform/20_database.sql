-- Sets what `create database ... template` does not copy: owner and settings. Runs every time.

do $$
declare
    v_name text := current_database();
begin
    if exists (select from pg_database as d where d.datname = v_name and d.datdba <> to_regrole('postgres')) then
        execute format('alter database %I owner to postgres', v_name);
    end if;

    if not exists (
        select
        from pg_db_role_setting as s
        inner join pg_database as d on s.setdatabase = d.oid
        where d.datname = v_name and s.setrole = 0 and s.setconfig::text like '%pgrst.db_schemas=%'
    ) then
        -- Supabase's lints read the exposed schemas here. The Data API has its own configuration.
        execute format('alter database %I set pgrst.db_schemas = %L', v_name, 'public');
        -- The times in realtime.messages have no time zone.
        execute format('alter database %I set timezone = %L', v_name, 'UTC');
    end if;
end
$$;
