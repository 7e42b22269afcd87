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
('search_conversations', 'public', true, false, false),
('separate_conversation', 'public', true, false, false),
('index_conversations', 'public', true, false, false),
('list_inbox_changes', 'public', true, false, false),
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
('list_conversations', 'private', true, false, false),
('list_workspaces', 'private', true, false, false),
('create_workspace', 'private', true, false, false),
('get_workspace', 'private', true, false, false),
('update_workspace', 'private', true, false, false),
('delete_workspace', 'private', true, false, false),
('list_workspace_members', 'private', true, false, false),
('set_member_role', 'private', true, false, false),
('remove_workspace_member', 'private', true, false, false),
('create_invitation', 'private', true, false, false),
('list_invitations', 'private', true, false, false),
('revoke_invitation', 'private', true, false, false),
('list_my_invitations', 'private', true, false, false),
('accept_invitation', 'private', true, false, false),
('mark_read', 'private', true, false, false),
('open_direct', 'private', true, false, false),
('list_user_events', 'private', true, false, false),
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
('begin_conversation_summary', 'private', true, false, false),
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

-- Definer, because clients do not read the table of calls.
create function private.find_call(
    p_function text,
    out schema_name text, out is_counted boolean, out is_paged boolean, out takes_idempotency_key boolean
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select known.schema_name, known.is_counted and not private.is_service(), known.is_paged, known.takes_idempotency_key
    into schema_name, is_counted, is_paged, takes_idempotency_key
    from private.calls as known
    where known.function_name = p_function;
end
$$;
comment on function private.find_call(text) is
'How the gateway treats a call of the caller; nulls for an unknown function.';

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
        if v_call.is_counted and private.is_used_up() then
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

create function private.create_plain_message(p_body bytea, out status integer, out headers jsonb, out body text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_request jsonb;
    v_message public.messages;
    v_count record;
begin
    v_request := convert_from(p_body, 'UTF8')::jsonb;
    if v_request - '{channel_id,user_id,content,metadata}'::text[] <> '{}'
        or jsonb_typeof(v_request -> 'content') <> 'string'
        or v_request ->> 'user_id' <> auth.uid()::text
        -- Postgres also reads other forms of a UUID.
        or lower(v_request ->> 'channel_id') <> (v_request ->> 'channel_id')::uuid::text
        or private.is_used_up()
    then
        return;
    end if;
    insert into public.messages (channel_id, user_id, content, metadata)
    values (
        (v_request ->> 'channel_id')::uuid, auth.uid(), v_request ->> 'content', coalesce(v_request -> 'metadata', '{}')
    )
    returning * into v_message;
    v_count := private.spend_request();
    if v_count.is_granted then
        headers := v_count.headers;
        body := private.render_created(v_message);
        status := 201;
    else
        -- Undoes the message.
        perform private.fail(429, 'rate_limited', '');
    end if;
exception
    when others then
        if sqlstate !~ '^(PT|22|23|42501|54)' then
            raise;
        end if;
end
$$;
comment on function private.create_plain_message(bytea) is
'Creates a message of a user that has only plain fields, without the parsers and tables of private.call_api. For any
other request, or an error of the caller, returns nulls and changes nothing; private.call_api then answers.';

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
    v_claims json := p_claims::json;
    v_answer record;
begin
    if coalesce(p_role, '') not in ('anon', 'authenticated', 'service_role') then
        raise insufficient_privilege using message = 'The gateway does not act for this role.';
    end if;
    -- An assignment, because PERFORM would start an executor (decision 0007). The answer takes its place.
    body := concat(
        set_config('request.jwt.claims', p_claims, true),
        -- auth.uid() and auth.role() read these first, and so do not parse the claims each time.
        set_config('request.jwt.claim.sub', coalesce(v_claims ->> 'sub', ''), true),
        set_config('request.jwt.claim.role', coalesce(v_claims ->> 'role', ''), true),
        set_config('request.headers', p_headers, true),
        -- Shows in pg_stat_activity and, by %a in log_line_prefix, in every line that Postgres logs of this request.
        set_config('application_name', concat_ws('/', 'threadline', p_headers::json ->> 'x-request-id'), true),
        set_config('response.status', '', true),
        set_config('role', p_role, true)
    );
    if p_function = 'create_message' and p_role = 'authenticated' and p_parameters = '{}'
        and strpos(p_headers, 'idempotency-key') = 0
    then
        v_answer := private.create_plain_message(p_body);
        status := v_answer.status;
    end if;
    if status is not null then
        headers := v_answer.headers;
        body := v_answer.body;
    elsif p_function = 'messaging_ingest' then
        -- Ingest has its own envelope, takes the raw body and counts no requests.
        if p_role = 'service_role' then
            -- Static, so that Postgres keeps its plan.
            body := public.messaging_ingest(p_body);
        else
            -- Dynamic, so that Postgres checks the rights of this role.
            execute 'select public.messaging_ingest($1)' into body using p_body;
        end if;
        status := coalesce(nullif(current_setting('response.status', true), '')::integer, 200);
        headers := '{}';
    else
        v_answer := private.call_api(
            p_function, p_headers::jsonb, private.parse_json(convert_to(p_parameters, 'UTF8')), p_body
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
