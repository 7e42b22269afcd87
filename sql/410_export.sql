-- Exports of a conversation or a channel, in pages.
-- Callers export what they may read; the cursor of a page leads to the next one.

-- Definer, because no client writes the audit log. It checks that the caller may read what is exported.
create function private.record_export(p_conversation_id uuid, p_channel_id uuid, p_is_later_page boolean)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(conversation.workspace_id, 'conversation.exported', conversation.id, '{}')
    from public.conversations as conversation
    where conversation.id = p_conversation_id
        and not (p_is_later_page and private.has_exported(conversation.workspace_id, conversation.id))
        and (
            private.is_service()
            or exists (select from private.my_workspaces as mine where mine.id = conversation.workspace_id)
        );
    perform private.record_audit(channel.workspace_id, 'channel.exported', channel.id, '{}')
    from public.channels as channel
    where channel.id = p_channel_id
        and not (p_is_later_page and private.has_exported(channel.workspace_id, channel.id))
        and (
            private.is_service()
            or exists (select from private.my_channels as mine where mine.id = channel.id)
        );
end
$$;
comment on function private.record_export(uuid, uuid, boolean) is
'Writes the audit line of an export of a conversation or a channel. A later page gets a line only if the caller has none
from the last hour, so a page with an invented cursor leaves a line too.';

create function private.has_exported(p_workspace_id uuid, p_subject_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from public.audit_log as line
        where line.workspace_id = p_workspace_id
            and line.at > now() - interval '1 hour'
            and line.subject_id = p_subject_id
            and line.action in ('channel.exported', 'conversation.exported')
            and line.actor_id is not distinct from private.acting_user_id()
    );
end
$$;
comment on function private.has_exported(uuid, uuid) is
'Whether the acting user has an audit line for an export of this conversation or channel in the last hour.';

create function public.export_conversation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_id uuid := private.parse_uuid($1, 'conversation_id');
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 500);
    v_after text := private.scalar_text($1, 'after');
    v_external_id text := '';
    v_at timestamptz := '-infinity'::timestamptz;
    v_sequence bigint := -9223372036854775808;
    v_received_at timestamptz := '-infinity'::timestamptz;
    v_lines jsonb;
    v_last text;
begin
    if not exists (select from public.conversations as conversation where conversation.id = v_id) then
        perform private.fail(
            404, 'conversation_not_found',
            'This conversation does not exist or is not yours. Check conversation_id.', 'conversation_id'
        );
    end if;
    if v_after is not null then
        select stored.sent_at, stored.sequence, stored.received_at, stored.external_id
        into v_at, v_sequence, v_received_at, v_external_id
        from public.conversation_messages as stored
        where stored.conversation_id = v_id
            and stored.external_id in (v_after, split_part(v_after, e'\x1f', 1))
            and stored.external_id || case stored.sender when '' then '' else e'\x1f' || stored.sender end = v_after;
        if not found then
            perform private.fail(
                400, 'invalid_cursor',
                'after names no message of this conversation. Use next_cursor of the page before.', 'after'
            );
        end if;
    end if;
    perform private.record_export(v_id, null, v_after is not null);
    select
        coalesce(jsonb_agg(
            page.message order by page.sent_at, page.sequence, page.received_at, page.external_id
        ), '[]'),
        (array_agg(
            page.external_id || case page.sender when '' then '' else e'\x1f' || page.sender end
            order by page.sent_at desc, page.sequence desc, page.received_at desc, page.external_id desc
        ))[1]
    into v_lines, v_last
    from (
        select
            stored.message, stored.sent_at, stored.sequence, stored.received_at, stored.external_id, stored.sender
        from public.conversation_messages as stored
        where stored.conversation_id = v_id
            and (stored.sent_at, stored.sequence, stored.received_at, stored.external_id)
            > (v_at, v_sequence, v_received_at, v_external_id)
        order by stored.sent_at, stored.sequence, stored.received_at, stored.external_id
        limit v_limit
    ) as page;
    return private.succeed(v_lines, jsonb_build_object(
        'next_cursor', case when jsonb_array_length(v_lines) = v_limit then v_last end
    ));
end
$$;
comment on function public.export_conversation(jsonb) is
'Returns messages of a conversation of the caller in their order. Takes conversation_id, limit (500, at most 1000) and
after (next_cursor of the page before, which is null on the last page). PT404, PT400.';

create function private.render_export(p_message_ids uuid[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- One statement for all messages evaluates each policy once.
    return (
        select coalesce(jsonb_agg(
            private.render_message(message, (
                select private.render_pin(pin.pinned_by, pin.pinned_at)
                from public.message_pins as pin
                where pin.message_id = message.id
            )) || jsonb_build_object(
                'seq', message.seq,
                'reactions', (
                    select coalesce(jsonb_agg(jsonb_build_object(
                        'emoji', mark.emoji, 'user_id', mark.user_id, 'created_at', private.format_time(mark.created_at)
                    ) order by mark.created_at, mark.id), '[]')
                    from public.message_reactions as mark
                    where mark.message_id = message.id
                ),
                'edits', (
                    select coalesce(jsonb_agg(jsonb_build_object(
                        'version', edit.version,
                        'content', edit.content,
                        'written_at', private.format_time(edit.written_at),
                        'replaced_at', private.format_time(edit.replaced_at)
                    ) order by edit.version), '[]')
                    from public.message_edits as edit
                    where edit.message_id = message.id
                )
            ) order by message.seq
        ), '[]')
        from public.messages as message
        where message.id = any(p_message_ids)
    );
end
$$;
comment on function private.render_export(uuid[]) is
'Renders messages, oldest first, with seq, pin, reactions and earlier versions.';

create function private.measure_messages(p_channel_id uuid, p_after bigint, p_limit integer)
returns table (id uuid, seq bigint, bytes bigint)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        said.id,
        said.seq,
        octet_length(said.content) + octet_length(said.metadata::text)
        + coalesce(octet_length(said.attachments::text), 0) + (
            select coalesce(sum(octet_length(edit.content)), 0)
            from public.message_edits as edit
            where edit.message_id = said.id
        )
    from public.messages as said
    where said.channel_id = p_channel_id and said.deleted_at is null and said.seq > p_after
    order by said.seq
    limit p_limit;
end
$$;
comment on function private.measure_messages(uuid, bigint, integer) is
'Messages of a channel after a seq, in order, with the approximate size of each in bytes, earlier versions included.';

create function public.export_channel(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_id uuid := private.parse_uuid($1, 'channel_id');
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 500);
    v_after bigint;
    v_lines jsonb;
    v_last bigint;
    v_has_more boolean;
begin
    -- Check the channel before the cursor, which would tell non-members which channel a message is in.
    perform private.require_channel(v_id);
    v_after := coalesce(private.find_cursor($1, 'after', v_id), 0);
    perform private.record_export(null, v_id, v_after > 0);
    select
        private.render_export(array_agg(page.id) filter (where page.is_in)),
        max(page.seq) filter (where page.is_in),
        count(*) = v_limit or not bool_and(page.is_in)
    into v_lines, v_last, v_has_more
    from (
        -- A page ends at 8 MB to bound memory, but has at least one message.
        select
            said.id, said.seq,
            row_number() over (order by said.seq) = 1 or sum(said.bytes) over (order by said.seq) <= 8000000 as is_in
        from private.measure_messages(v_id, v_after, v_limit) as said
    ) as page;
    return private.succeed(v_lines, jsonb_build_object(
        'next_cursor', case when v_has_more then 'seq_' || v_last end
    ));
end
$$;
comment on function public.export_channel(jsonb) is
'Returns messages of a channel of the caller, oldest first, with seq, reactions and edits. Takes channel_id, limit (500,
at most 1000; fewer when messages are large) and after (next_cursor of the page before; null on the last page).';
