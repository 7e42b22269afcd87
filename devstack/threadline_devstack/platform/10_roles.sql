-- The roles of a Supabase project. They belong to the cluster, so its second database finds them.

do $$
begin
    if current_user <> 'supabase_admin' then
        raise exception 'The platform is installed by supabase_admin, not by %.', current_user using
            hint = 'Make the cluster with initdb -U supabase_admin.';
    end if;

    -- Two sessions may prepare databases of one cluster at once.
    lock table pg_catalog.pg_authid in share row exclusive mode;

    -- One transaction creates all of them. Later changes of their settings stay.
    if to_regrole('authenticator') is not null then
        return;
    end if;

    create role postgres login createdb createrole replication bypassrls;
    create role anon;
    create role authenticated;
    create role service_role bypassrls;
    create role authenticator login noinherit;

    -- They own the platform's tables. No service here signs in as one of them.
    create role supabase_auth_admin noinherit;
    create role supabase_storage_admin noinherit createrole;
    create role supabase_realtime_admin noinherit createrole replication;

    -- Unused here, but dumps and migrations name them in grants.
    create role dashboard_user createdb createrole replication;
    create role pgbouncer;
    create role supabase_etl_admin replication;
    create role supabase_privileged_role;
    create role supabase_read_only_user bypassrls;
    create role supabase_replication_admin replication;

    grant anon, authenticated, service_role to postgres with admin option;
    grant anon, authenticated, service_role to authenticator, supabase_realtime_admin;
    grant authenticator to supabase_storage_admin;
    grant supabase_privileged_role to postgres, supabase_etl_admin;
    grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
    grant pg_read_all_data to supabase_read_only_user;
    if to_regrole('pg_create_subscription') is not null then
        grant pg_create_subscription to postgres;
    end if;

    alter role anon set statement_timeout = '3s';
    alter role authenticated set statement_timeout = '8s';
    alter role authenticator set statement_timeout = '8s';
    alter role authenticator set lock_timeout = '8s';
    -- The backslash is the platform's: no schema named after postgres is in the path.
    alter role postgres set search_path = '\$user', public, extensions;
    alter role supabase_admin set search_path = '\$user', public, auth, extensions;
    alter role supabase_admin set log_statement = 'none';
    alter role supabase_auth_admin set search_path = auth;
    alter role supabase_auth_admin set idle_in_transaction_session_timeout = 60000;
    alter role supabase_auth_admin set log_statement = 'none';
    alter role supabase_storage_admin set search_path = storage;
    alter role supabase_storage_admin set log_statement = 'none';
    alter role supabase_realtime_admin set search_path = public, extensions, realtime;
    alter role supabase_read_only_user set default_transaction_read_only = on;
end
$$;
