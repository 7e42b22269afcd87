-- Broadcasts to a user's inbox when conversations change.

create function private.render_conversation(p_conversation public.conversations, p_added bigint, p_messages jsonb)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
    return jsonb_build_object(
        'conversation', to_jsonb(p_conversation),
        'messages_added', p_added,
        'messages', coalesce(p_messages, '[]')
    ) || case when p_messages is null then jsonb_build_object('truncated', true) else '{}' end;
end
$$;
comment on function private.render_conversation(public.conversations, bigint, jsonb) is
'What an inbox gets: the record as the Data API shows it, how many messages came, and the messages unless they are
null, which is too many to send.';

create function private.record_announced(p_versions text) returns void
language plpgsql
set search_path = ''
as $$
begin
    perform set_config(
        'threadline.told', concat_ws(' ', nullif(current_setting('threadline.told', true), ''), p_versions), true
    );
end
$$;
comment on function private.record_announced(text) is
'Remembers for the rest of the transaction which versions of conversations, as id and ctid, were broadcast.';

-- Definer, because only the database sends to inboxes. Times are written in UTC, as the Data API does.
create function private.broadcast_ingested_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
    v_told text;
begin
    with counted as (
        select changed.conversation_id, count(*) as added from changed group by changed.conversation_id
    ), grown as materialized (
        select
            found.conversation,
            found.version,
            counted.added,
            settings.broadcast_max_bytes as max_bytes,
            counted.added <= settings.broadcast_max_messages as is_short
        from counted
        cross join private.settings as settings
        -- The limit keeps the planner from reading the whole table, however small it was when the plan was made.
        cross join lateral (
            select conversation, conversation.ctid as version
            from public.conversations as conversation
            where conversation.id = counted.conversation_id
            limit 1
        ) as found
    ), listed as (
        select
            changed.conversation_id,
            jsonb_agg(changed.message order by changed.sent_at, changed.external_id) as messages
        from changed
        inner join grown on changed.conversation_id = (grown.conversation).id and grown.is_short
        group by changed.conversation_id
    ), sent as (
        insert into realtime.messages (topic, extension, event, payload, private)
        select
            'inbox:' || (grown.conversation).user_id,
            'broadcast',
            -- Both are the time of this transaction for a conversation that it has made.
            case
                when (grown.conversation).created_at = now() then 'conversation.created'
                else 'conversation.updated'
            end,
            private.render_conversation(
                grown.conversation, grown.added,
                case when octet_length(listed.messages::text) <= grown.max_bytes then listed.messages end
            ),
            true
        from grown
        left join listed on (grown.conversation).id = listed.conversation_id
    )

    select string_agg((grown.conversation).id::text || grown.version::text, ' ') into v_told from grown;
    perform private.record_announced(v_told);
    return null;
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
        return null;
end
$$;
comment on function private.broadcast_ingested_messages_trigger() is
'Trigger: tells owners of new messages, once for each conversation and statement.';

-- Definer, because only the database sends to inboxes.
create function private.broadcast_conversation_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
    v_told text := coalesce(current_setting('threadline.told', true), '');
    v_found record;
begin
    -- Most are broadcast with their first messages, in the transaction that creates them.
    if tg_op = 'INSERT' and position(new.id::text in v_told) > 0 then
        return null;
    end if;
    begin
        select conversation as record, conversation.id::text || conversation.ctid::text as version into v_found
        from public.conversations as conversation
        where conversation.id = new.id;
        if v_found.version is null or position(v_found.version in v_told) > 0 then
            return null;
        end if;
        insert into realtime.messages (topic, extension, event, payload, private)
        values (
            'inbox:' || (v_found.record).user_id,
            'broadcast',
            case when (v_found.record).created_at = now() then 'conversation.created' else 'conversation.updated' end,
            private.render_conversation(v_found.record, 0, '[]'),
            true
        );
        perform private.record_announced(v_found.version);
    exception
        when others then
            perform private.report_lost_broadcast('inbox:' || new.user_id, sqlstate, sqlerrm);
    end;
    return null;
end
$$;
comment on function private.broadcast_conversation_trigger() is
'Broadcasts a conversation that is new or has another person, unless its messages were just broadcast.';
