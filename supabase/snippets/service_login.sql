-- A login for the service that can do nothing by itself and can become only those for whom it acts. Run it once per
-- project, as postgres; then give it a password (docs/how-to/supabase.md, "A login for the service").
-- One statement, since the
-- Supabase CLI runs no more at once.

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
