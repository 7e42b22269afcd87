-- The gateway: one statement per request, through which the service calls functions as its caller.

create function private.render_failure(
    p_sqlstate text, p_message text, p_detail text, p_field text, p_constraint text,
    out status integer, out body text
)
language plpgsql
stable
set search_path = ''
as $$
declare
    v_code text;
    v_message text;
begin
    -- Only what was raised for people reaches people: Postgres's own sentences name tables and values.
    if p_sqlstate ~ '^PT[1-5][0-9]{2}$' then
        status := substr(p_sqlstate, 3)::integer;
        v_code := coalesce(nullif(p_detail, ''), 'refused');
        v_message := p_message;
    elsif p_sqlstate = '42501' then
        status := 403;
        v_code := 'forbidden';
        v_message := 'You may not do this.';
    elsif p_sqlstate in ('23505', '23503') then
        status := 409;
        v_code := coalesce(nullif(p_constraint, ''), 'conflict');
        v_message := 'This contradicts what is stored.';
    elsif p_sqlstate in ('23514', '23502') or p_sqlstate like '22%' then
        status := 400;
        v_code := coalesce(nullif(p_constraint, ''), 'invalid_value');
        v_message := 'A value is not acceptable.';
    end if;
    body := json_build_object(
        'success', false,
        'error', case
            when p_field = '' then json_build_object('code', v_code, 'message', v_message)
            else json_build_object('code', v_code, 'message', v_message, 'field', p_field)
        end,
        'meta', json_build_object('timestamp', private.format_time(now()))
    )::text;
end
$$;
comment on function private.render_failure(text, text, text, text, text) is
'What an error of a call is in HTTP: the one table from SQLSTATE to status and code. A null status means that it is
nobody''s fault or ours, and for the service to deal with.';

create function private.retry_after(p_status integer, p_code text, p_limits jsonb) returns jsonb
language sql
stable
set search_path = ''
as $$
    select case
        when p_code = 'rate_limited' then jsonb_build_object('retry-after', p_limits -> 'ratelimit-reset')
        when p_code = 'summary_budget_exhausted' then
            jsonb_build_object('retry-after', ceil(extract(
                epoch from date_trunc('day', now(), 'UTC') + interval '24 hours' - now()
            ))::text)
        when p_status in (429, 503) then '{"retry-after": "5"}'
        else '{}'
    end
$$;
comment on function private.retry_after(integer, text, jsonb) is
'The header Retry-After, in seconds, where a failure is one of too many or too early; no header otherwise. p_limits are
the headers of the caller''s limit.';

create function private.call_idempotent(
    p_function text, p_headers jsonb, p_request jsonb,
    out status integer, out headers jsonb, out body text
)
language plpgsql
set search_path = ''
as $$
declare
    v_key text := p_headers ->> 'idempotency-key';
    v_is_keyed boolean := v_key is not null and p_function in ('create_message', 'reply_to_message', 'toggle_reaction');
begin
    headers := '{}';
    if v_is_keyed then
        if char_length(v_key) not between 1 and 255 then
            perform private.fail(400, 'invalid_idempotency_key', 'An Idempotency-Key has 1 to 255 characters.');
        end if;
        select known.status, known.body into status, body
        from private.begin_idempotent(p_function, v_key, p_request) as known;
        if status is not null then
            headers := '{"idempotent-replayed": "true"}';
            return;
        end if;
    end if;
    if p_function = 'create_message' then
        -- Who may call this may call that, so nothing depends on the role; and it is called most.
        body := public.create_message(p_request);
    else
        -- Dynamic, so that each call is planned and its rights are checked under the role that the gateway has set.
        execute format(
            'select %I.%I($1)',
            -- What only the service may do is out of reach for clients of the Data API.
            case when p_function like '%\_summary' then 'private' else 'public' end,
            p_function
        ) into body using p_request;
    end if;
    status := coalesce(nullif(current_setting('response.status', true), '')::integer, 200);
    if v_is_keyed then
        perform private.finish_idempotent(p_function, v_key, status, body);
    end if;
end
$$;
comment on function private.call_idempotent(text, jsonb, jsonb) is
'Runs a function, or answers what it answered before under the same Idempotency-Key.';

create function private.call_api(
    p_function text, p_headers jsonb, p_parameters jsonb, p_body bytea,
    out status integer, out headers jsonb, out body text
)
language plpgsql
set search_path = ''
as $$
declare
    c_limited constant text := 'Too many requests in this minute.';
    -- An upload is one request, though two calls; so is an export, whose further pages only the service asks for.
    v_is_counted boolean := not private.is_service()
        and p_function <> 'finish_upload'
        and not (p_function like 'export\_%' and p_parameters ? 'after');
    v_is_granted boolean := true;
    v_count record;
    v_limits jsonb := jsonb_build_object();
    v_answer record;
    v_sqlstate text;
    v_message text;
    v_detail text;
    v_field text;
    v_constraint text;
begin
    if v_is_counted then
        v_is_granted := not private.is_rate_limited();
    end if;
    begin
        if v_is_granted then
            v_answer := private.call_idempotent(p_function, p_headers, private.parse_object(p_body) || p_parameters);
            if v_is_counted then
                v_count := private.spend_request();
                v_is_granted := v_count.is_granted;
                v_limits := v_count.headers;
            end if;
        end if;
        if not v_is_granted then
            perform private.fail(429, 'rate_limited', c_limited);
        end if;
        status := v_answer.status;
        headers := v_limits || v_answer.headers;
        body := v_answer.body;
    exception
        when others then
            get stacked diagnostics
                v_sqlstate = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
                v_field = column_name, v_constraint = constraint_name;
            if v_is_counted then
                -- What fails is undone, but not the count; and one too many is that before all else.
                v_count := private.spend_request();
                v_limits := v_count.headers;
                if not v_count.is_granted then
                    select 'PT429', c_limited, 'rate_limited', '' into v_sqlstate, v_message, v_detail, v_field;
                end if;
            end if;
            select failure.status, failure.body into status, body
            from private.render_failure(v_sqlstate, v_message, v_detail, v_field, v_constraint) as failure;
            if status is null then
                raise;
            end if;
            headers := private.retry_after(status, v_detail, v_limits) || v_limits;
    end;
end
$$;
comment on function private.call_api(text, jsonb, jsonb, bytea) is
'A call of /api/v2: run, then counted, since the count of a user is held until the transaction ends and other requests
of theirs must not wait for this one''s work; one too many is undone. Its failures are answers too.';

-- Invoker on purpose: Postgres allows no change of role inside a definer function. The settings are those that
-- PostgREST makes, so that a function cannot tell which of the two doors it was called through.
create function private.call(
    p_function text, p_role text, p_claims text, p_headers text, p_parameters text, p_body bytea,
    out status integer, out headers text, out body text
)
language plpgsql
set search_path = ''
as $$
declare
    v_answer record;
begin
    if coalesce(p_role, '') not in ('anon', 'authenticated', 'service_role') then
        raise insufficient_privilege using message = 'The gateway does not act for this role.';
    end if;
    perform
        set_config('request.jwt.claims', p_claims, true),
        set_config('request.headers', p_headers, true),
        -- Shows in pg_stat_activity and, by %a in log_line_prefix, in every line that Postgres logs of this.
        set_config('application_name', concat_ws('/', 'threadline', p_headers::json ->> 'x-request-id'), true),
        set_config('response.status', '', true),
        set_config('role', p_role, true);
    case
        when p_function = 'messaging_ingest' then
            execute 'select public.messaging_ingest($1)' into body using p_body;
            status := coalesce(nullif(current_setting('response.status', true), '')::integer, 200);
            headers := '{}';
        when p_function in (
            'create_message', 'reply_to_message', 'list_messages', 'search_messages', 'get_message', 'edit_message',
            'list_message_edits', 'delete_message', 'pin_message', 'unpin_message',
            'toggle_reaction', 'add_reaction', 'remove_reaction', 'list_channel_events',
            'set_twin_webhook', 'remove_twin_webhook', 'rotate_twin_secret',
            'list_twin_deliveries', 'replay_twin_deliveries',
            'begin_upload', 'finish_upload', 'get_attachment', 'sweep_attachments',
            'begin_summary', 'finish_summary', 'poll_summary',
            'claim_deliveries', 'finish_delivery',
            'export_conversation', 'export_channel', 'erase_person', 'erase_user',
            'clean_up', 'read_metrics'
        ) then
            v_answer := private.call_api(
                p_function, p_headers::jsonb, private.parse_object(convert_to(p_parameters, 'UTF8')), p_body
            );
            status := v_answer.status;
            headers := v_answer.headers;
            body := v_answer.body;
        else
            raise undefined_function using message = 'The gateway knows no such function.';
    end case;
end
$$;
comment on function private.call(text, text, text, text, text, bytea) is
'Calls one of the functions listed in it as p_role. Claims, headers and parameters (of path and query) are JSON objects;
so are the headers of the answer, beside its HTTP status and body. For the login role of the service alone: it may become only what that role was
granted.';
