-- One statement per request: how the service reaches the functions of `public` as its caller.

-- Invoker on purpose: Postgres allows no change of role inside a definer function. The settings are those that
-- PostgREST makes, so that a function cannot tell which of the two doors it was called through.
create function private.call(
    p_function text, p_role text, p_claims text, p_headers text, p_body bytea,
    out status integer, out body text
)
language plpgsql
set search_path = ''
as $$
begin
    if coalesce(p_role, '') not in ('anon', 'authenticated', 'service_role') then
        raise insufficient_privilege using message = 'The gateway does not act for this role.';
    end if;
    perform
        set_config('request.jwt.claims', p_claims, true),
        set_config('request.headers', p_headers, true),
        set_config('response.status', '', true),
        set_config('role', p_role, true);
    -- Dynamic, so that each call is planned and its rights are checked under the role set above.
    case p_function
        when 'messaging_ingest' then execute 'select public.messaging_ingest($1)' into body using p_body;
        else raise undefined_function using message = 'The gateway knows no such function.';
    end case;
    status := coalesce(nullif(current_setting('response.status', true), '')::integer, 200);
end
$$;
comment on function private.call(text, text, text, text, bytea) is
'Calls one of the functions listed in it as p_role with these claims and headers (JSON objects); answers HTTP status
and body. For the login role of the service alone: it may become only what that role was granted.';
revoke all on function private.call(text, text, text, text, bytea) from public, anon, authenticated, service_role;
grant usage on schema private to authenticator;
grant execute on function private.call(text, text, text, text, bytea) to authenticator;
