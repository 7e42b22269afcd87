-- Errors of /api/v2: which status, code and sentence a caller gets for an error of Postgres.
-- A code is public and stays; so a constraint has its code in a table and may be renamed.

create table private.constraint_codes (
    constraint_name text primary key,
    code text not null
);
comment on table private.constraint_codes is
'The public error code of each constraint that a caller of /api/v2 can violate.';
comment on column private.constraint_codes.code is 'Part of the API: it stays when the constraint gets another name.';
alter table private.constraint_codes enable row level security;
insert into private.constraint_codes (constraint_name, code) values
('messages_pkey', 'messages_pkey'),
('messages_content_length', 'messages_content_length'),
('messages_content_visible', 'messages_content_visible'),
('messages_content_type_length', 'messages_content_type_length'),
('messages_metadata_object', 'messages_metadata_object'),
('messages_metadata_size', 'messages_metadata_size'),
('messages_attachments_array', 'messages_attachments_array'),
('messages_attachments_size', 'messages_attachments_size'),
('messages_author_is_one', 'messages_author_is_one'),
('messages_channel_id_fkey', 'messages_channel_id_fkey'),
('messages_user_id_fkey', 'messages_user_id_fkey'),
('messages_ai_twin_id_fkey', 'messages_ai_twin_id_fkey'),
('messages_parent_message_id_fkey', 'messages_parent_message_id_fkey'),
('messages_thread_id_fkey', 'messages_thread_id_fkey'),
('message_edits_message_id_fkey', 'message_edits_message_id_fkey'),
('message_reactions_pkey', 'message_reactions_pkey'),
('message_reactions_once', 'message_reactions_once'),
('message_reactions_emoji_length', 'message_reactions_emoji_length'),
('message_reactions_emoji_printable', 'message_reactions_emoji_printable'),
('message_reactions_message_id_fkey', 'message_reactions_message_id_fkey'),
('message_reactions_channel_id_fkey', 'message_reactions_channel_id_fkey'),
('message_reactions_user_id_fkey', 'message_reactions_user_id_fkey'),
('message_pins_pkey', 'message_pins_pkey'),
('message_pins_message_id_fkey', 'message_pins_message_id_fkey'),
('message_pins_channel_id_fkey', 'message_pins_channel_id_fkey'),
('message_pins_pinned_by_fkey', 'message_pins_pinned_by_fkey'),
('attachments_pkey', 'attachments_pkey'),
('attachments_file_name_length', 'attachments_file_name_length'),
('attachments_file_name_printable', 'attachments_file_name_printable'),
('attachments_size_not_negative', 'attachments_size_not_negative'),
('attachments_channel_id_fkey', 'attachments_channel_id_fkey'),
('attachments_uploaded_by_fkey', 'attachments_uploaded_by_fkey'),
('twin_webhooks_pkey', 'twin_webhooks_pkey'),
('twin_webhooks_url_form', 'twin_webhooks_url_form'),
('twin_webhooks_url_length', 'twin_webhooks_url_length'),
('twin_webhooks_ai_twin_id_fkey', 'twin_webhooks_ai_twin_id_fkey'),
('workspaces_name_printable', 'workspaces_name_printable'),
('workspaces_home_country_form', 'workspaces_home_country_form'),
('workspaces_language_form', 'workspaces_language_form'),
('workspace_invitations_email_form', 'workspace_invitations_email_form');

-- Definer, because no client reads the tables of `private`.
create function private.render_failure(
    p_sqlstate text, p_message text, p_detail text, p_field text, p_constraint text,
    out status integer, out body text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_code text := (
        select known.code from private.constraint_codes as known where known.constraint_name = p_constraint
    );
    v_message text;
begin
    -- Only texts of private.fail reach callers, because texts of Postgres name tables and values.
    if p_sqlstate ~ '^PT[1-5][0-9]{2}$' then
        status := substr(p_sqlstate, 3)::integer;
        v_code := coalesce(nullif(p_detail, ''), 'refused');
        v_message := p_message;
    elsif p_sqlstate = '42501' and p_detail in ('owner_required', 'workspace_member_required') then
        -- Our own texts, under the SQLSTATE of a failed policy.
        status := 403;
        v_code := p_detail;
        v_message := p_message;
    elsif p_sqlstate = '42501' then
        status := 403;
        v_code := 'forbidden';
        v_message := 'You do not have permission for this.';
    elsif p_sqlstate in ('23505', '23503') then
        status := 409;
        v_code := coalesce(v_code, 'conflict');
        v_message := 'Conflicts with existing data. Read the current state, then try again.';
    elsif p_sqlstate in ('23514', '23502') or p_sqlstate like '22%' then
        status := 400;
        v_code := coalesce(v_code, 'invalid_value');
        v_message := 'A value is not valid. Correct it, then try again.';
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
'Turns an error of Postgres into HTTP status and body. Takes what `get stacked diagnostics` says of it. The status is
null for errors that the caller did not cause: the service answers those itself.';

create function private.retry_after(p_status integer, p_code text, p_limits jsonb) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when p_code = 'rate_limited' then jsonb_build_object('retry-after', p_limits -> 'ratelimit-reset')
        when p_code in ('summary_budget_exhausted', 'project_summary_budget_exhausted') then
            jsonb_build_object('retry-after', ceil(extract(
                epoch from date_trunc('day', now(), 'UTC') + interval '24 hours' - now()
            ))::text)
        when p_status in (429, 503) then '{"retry-after": "5"}'
        else '{}'
    end;
end
$$;
comment on function private.retry_after(integer, text, jsonb) is
'The header Retry-After in seconds for a limit or an outage, as a JSON object; an empty object for other errors.
p_limits are the rate limit headers of the caller.';
