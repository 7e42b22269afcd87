-- The gateway: one statement per request, through which the service calls a function as its caller. It counts the
-- request, replays an answer under an idempotency key, and turns every failure into an answer.

create table private.calls (
    function_name text primary key,
    schema_name text not null,
    is_counted boolean not null,
    is_paged boolean not null,
    takes_idempotency_key boolean not null,
    constraint calls_schema_known check (schema_name in ('public', 'private'))
);
comment on table private.calls is
'The functions that the gateway calls, beside messaging_ingest: each takes one JSON object and answers one.';
comment on column private.calls.schema_name is
'private for functions that only the service may reach: clients of the Data API cannot call them.';
comment on column private.calls.is_counted is
'Whether the call counts against the rate limit. The second half of an upload does not: an upload is one request.';
comment on column private.calls.is_paged is
'Whether the service makes several calls for one request: then a call with the parameter `after`, which names what came
before it, is not counted again.';
comment on column private.calls.takes_idempotency_key is
'Whether the header Idempotency-Key makes a repeated request get the first answer.';
alter table private.calls enable row level security;
insert into private.calls (function_name, schema_name, is_counted, is_paged, takes_idempotency_key) values
('create_message', 'public', true, false, true),
('reply_to_message', 'public', true, false, true),
('list_messages', 'public', true, false, false),
('search_messages', 'public', true, false, false),
('get_message', 'public', true, false, false),
('edit_message', 'public', true, false, false),
('list_message_edits', 'public', true, false, false),
('delete_message', 'public', true, false, false),
('pin_message', 'public', true, false, false),
('unpin_message', 'public', true, false, false),
('toggle_reaction', 'public', true, false, true),
('add_reaction', 'public', true, false, false),
('remove_reaction', 'public', true, false, false),
('list_channel_events', 'public', true, false, false),
('list_my_channels', 'private', true, false, false),
('set_twin_webhook', 'public', true, false, false),
('remove_twin_webhook', 'public', true, false, false),
('rotate_twin_secret', 'public', true, false, false),
('list_twin_deliveries', 'public', true, false, false),
('replay_twin_deliveries', 'public', true, false, false),
('admit_upload', 'private', true, false, false),
('begin_upload', 'public', true, true, false),
('finish_upload', 'private', false, false, false),
('get_attachment', 'public', true, false, false),
('sweep_attachments', 'public', true, false, false),
('begin_summary', 'private', true, false, false),
('finish_summary', 'private', true, false, false),
('poll_summary', 'private', true, false, false),
('claim_deliveries', 'public', true, false, false),
('finish_delivery', 'public', true, false, false),
('export_conversation', 'public', true, true, false),
('export_channel', 'public', true, true, false),
('merge_people', 'public', true, false, false),
('unmerge_people', 'public', true, false, false),
('change_number', 'public', true, false, false),
('undo_number_change', 'public', true, false, false),
('erase_person', 'public', true, false, false),
('erase_user', 'public', true, false, false),
('clean_up', 'public', true, false, false),
('read_metrics', 'public', true, false, false),
('spend_failed_request', 'private', true, false, false);

-- Definer, because clients read neither the table of calls nor the counts. One query for both, because every request
-- runs it.
create function private.find_call(
    p_function text,
    out schema_name text, out is_counted boolean, out is_paged boolean, out takes_idempotency_key boolean,
    out is_rate_limited boolean
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select
        known.schema_name,
        known.is_counted and not private.is_service(),
        known.is_paged,
        known.takes_idempotency_key,
        coalesce(
            counted.minute between date_trunc('minute', now()) and date_trunc('minute', now()) + interval '1 minute'
            and counted.used >= (select settings.requests_per_minute from private.settings),
            false
        )
    into schema_name, is_counted, is_paged, takes_idempotency_key, is_rate_limited
    from private.calls as known
    left join private.request_counts as counted on counted.user_id = (select auth.uid())
    where known.function_name = p_function;
end
$$;
comment on function private.find_call(text) is
'How the gateway treats a call of the caller; nulls for an unknown function. is_rate_limited is an estimate without a
lock, so that an exhausted user costs no work; private.spend_request decides.';

create function private.call_idempotent(
    p_function text, p_schema text, p_key text, p_request jsonb,
    out status integer, out headers jsonb, out body text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    headers := '{}';
    if p_key is not null then
        if char_length(p_key) not between 1 and 255 then
            perform private.fail(
                400, 'invalid_idempotency_key', 'Idempotency-Key must have 1 to 255 characters. Send a shorter one.'
            );
        end if;
        select known.status, known.body into status, body
        from private.begin_idempotent(p_function, p_key, p_request) as known;
        if status is not null then
            headers := '{"idempotent-replayed": "true"}';
            return;
        end if;
    end if;
    if p_function = 'create_message' then
        -- Static, because it is called most: Postgres keeps its plan. Its rights do not depend on the role, since both
        -- roles that reach this line may execute it.
        body := public.create_message(p_request);
    else
        -- Dynamic, so that Postgres plans the call and checks its rights under the role that the gateway has set.
        execute format('select %I.%I($1)', p_schema, p_function) into body using p_request;
    end if;
    status := coalesce(nullif(current_setting('response.status', true), '')::integer, 200);
    if p_key is not null then
        perform private.finish_idempotent(p_function, p_key, status, body);
    end if;
end
$$;
comment on function private.call_idempotent(text, text, text, jsonb) is
'Runs a function, or answers what it answered before under the same Idempotency-Key. Without a key it just runs.';

create function private.call_api(
    p_function text, p_headers jsonb, p_parameters jsonb, p_body bytea,
    out status integer, out headers jsonb, out body text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    c_limited constant text := 'Too many requests in this minute. Wait as long as Retry-After says.';
    v_call record := private.find_call(p_function);
    v_count record;
    v_limits jsonb := jsonb_build_object();
    v_answer record;
    v_sqlstate text;
    v_message text;
    v_detail text;
    v_field text;
    v_constraint text;
begin
    if v_call.schema_name is null then
        raise undefined_function using message = 'The gateway knows no such function. Add it to private.calls.';
    elsif v_call.is_paged and p_parameters ? 'after' then
        v_call.is_counted := false;
    end if;
    begin
        if v_call.is_counted and v_call.is_rate_limited then
            perform private.fail(429, 'rate_limited', c_limited);
        end if;
        v_answer := private.call_idempotent(
            p_function, v_call.schema_name,
            case when v_call.takes_idempotency_key then p_headers ->> 'idempotency-key' end,
            private.parse_object(p_body) || p_parameters
        );
        if v_call.is_counted then
            v_count := private.spend_request();
            v_limits := v_count.headers;
            if not v_count.is_granted then
                perform private.fail(429, 'rate_limited', c_limited);
            end if;
        end if;
        status := v_answer.status;
        headers := v_limits || v_answer.headers;
        body := v_answer.body;
    exception
        when others then
            get stacked diagnostics
                v_sqlstate = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
                v_field = column_name, v_constraint = constraint_name;
            if v_call.is_counted then
                -- The failure has undone the count too, so it is spent again here. The limit comes before other errors.
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
'Runs a call of /api/v2 and then counts it. A call above the limit is undone and answered 429. Errors of the caller
become answers; other errors are raised.';

-- Invoker, because Postgres allows no change of role inside a definer function. It makes the settings that PostgREST
-- makes, so a function cannot tell which of the two called it.
create function private.call(
    p_function text, p_role text, p_claims text, p_headers text, p_parameters text, p_body bytea,
    out status integer, out headers text, out body text
)
language plpgsql
set search_path = pg_catalog, pg_temp
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
        -- Shows in pg_stat_activity and, by %a in log_line_prefix, in every line that Postgres logs of this request.
        set_config('application_name', concat_ws('/', 'threadline', p_headers::json ->> 'x-request-id'), true),
        set_config('response.status', '', true),
        set_config('role', p_role, true);
    if p_function = 'messaging_ingest' then
        -- Ingest has its own envelope, takes the raw body and counts no requests.
        execute 'select public.messaging_ingest($1)' into body using p_body;
        status := coalesce(nullif(current_setting('response.status', true), '')::integer, 200);
        headers := '{}';
    else
        v_answer := private.call_api(
            p_function, p_headers::jsonb, private.parse_object(convert_to(p_parameters, 'UTF8')), p_body
        );
        status := v_answer.status;
        headers := v_answer.headers;
        body := v_answer.body;
    end if;
end
$$;
comment on function private.call(text, text, text, text, text, bytea) is
'Calls messaging_ingest or a function of private.calls as p_role. Claims, headers and parameters (of path and query) are
JSON objects. Answers the HTTP status, the headers as a JSON object, and the body. Only the login role of the service
may call it, and it becomes only roles that it was granted.';
