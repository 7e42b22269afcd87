-- Schemas, their usage grants, and the extensions of every project.

create schema extensions authorization postgres;
grant usage on schema extensions to anon, authenticated, service_role;

create schema auth;
grant all on schema auth to supabase_auth_admin;
grant usage on schema auth to postgres, anon, authenticated, service_role;

create schema storage;
grant all on schema storage to supabase_storage_admin;
grant usage on schema storage to postgres with grant option;
grant usage on schema storage to anon, authenticated, service_role;

create schema realtime;
grant all on schema realtime to supabase_realtime_admin with grant option;
grant usage on schema realtime to postgres with grant option;
grant usage on schema realtime to anon, authenticated, service_role;

grant usage on schema public to postgres, anon, authenticated, service_role;

-- Skips an extension that the server does not have or cannot load: our SQL needs none.
do $$
declare
    v_name text;
begin
    for v_name in
        select e.name
        from pg_available_extensions as e
        where e.name in ('pgcrypto', 'uuid-ossp', 'pg_stat_statements')
    loop
        begin
            execute format('create extension if not exists %I with schema extensions', v_name);
        exception
            when others then
                raise warning 'extension % left out: %', v_name, sqlerrm;
        end;
    end loop;
end
$$;
