-- Creates the login role of the service. It has no rights of its own and may only become the roles that it acts for.
-- Run it once per project as postgres, then set a password (docs/how-to/supabase.md, "A login for the service").
-- It is one statement, because the Supabase CLI runs one at a time.

do $$
begin
    if to_regrole('threadline_service') is null then
        create role threadline_service login noinherit;
    end if;
    -- Noinherit, so that what these may do it may do only after it has become one of them.
    grant anon, authenticated, service_role to threadline_service;
    grant usage on schema private to threadline_service;
    grant execute on function private.call(text, text, text, text, text, bytea) to threadline_service;
    -- As long as the platform gives `authenticator`.
    alter role threadline_service set statement_timeout = '8s';
    alter role threadline_service set lock_timeout = '8s';
end
$$;
