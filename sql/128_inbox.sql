-- Broadcasts to the owner's inbox, and to the team, when conversations change.
-- Promise: each change of a conversation is sent, and one ingest request sends each conversation once.
-- New and changed messages are sent by their statements. Ingest sends the conversations that it changed and that got no
-- messages. Other changes, such as a person who matches later, are sent when their transaction commits.

create function private.conversation_topics(p_conversation public.conversations) returns setof text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select 'inbox:' || p_conversation.user_id
    union all
    -- A personal workspace has the id of its user, whom the inbox reaches already.
    select 'workspace:' || p_conversation.workspace_id where p_conversation.workspace_id <> p_conversation.user_id
$$;
comment on function private.conversation_topics(public.conversations) is
'The topics that get the changes of a conversation: the inbox of its owner, and the workspace if that is a team.';

create function private.render_conversation(p_conversation public.conversations, p_added bigint, p_messages jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
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

-- Definer, because only the database sends to inboxes. Times are written in UTC, as the Data API does.
create function private.broadcast_ingested_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
    with counted as (
        select changed.conversation_id, count(*) as added from changed group by changed.conversation_id
    ), grown as materialized (
        select
            found.conversation,
            counted.added,
            settings.broadcast_max_bytes as max_bytes,
            counted.added <= settings.broadcast_max_messages as is_short
        from counted
        cross join private.settings as settings
        -- The limit keeps the planner from reading the whole table, however small it was when the plan was made.
        cross join lateral (
            select conversation
            from public.conversations as conversation
            where conversation.id = counted.conversation_id
            limit 1
        ) as found
    ), listed as (
        select
            changed.conversation_id,
            jsonb_agg(
                changed.message
                order by changed.sent_at, changed.sequence, changed.received_at, changed.external_id
            ) as messages
        from changed
        inner join grown on changed.conversation_id = (grown.conversation).id and grown.is_short
        group by changed.conversation_id
    )

    insert into realtime.messages (topic, extension, event, payload, private)
    select
        listener.topic,
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
    cross join private.conversation_topics(grown.conversation) as listener (topic);
    return null;
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
        return null;
end
$$;
comment on function private.broadcast_ingested_messages_trigger() is
'Trigger: tells owners and teams of new messages, once for each conversation and statement.';

-- Definer, because only the database sends to inboxes. Times are written in UTC, as the Data API does. It is apart from
-- the function for new messages, whose statement has no parameter and so keeps its plan.
create function private.broadcast_updated_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    insert into realtime.messages (topic, extension, event, payload, private)
    select
        topic.name,
        'broadcast',
        'conversation.updated',
        private.render_conversation(conversation, 0, case
            when counted.messages <= settings.broadcast_max_messages
                and octet_length(counted.lines::text) <= settings.broadcast_max_bytes then counted.lines
        end),
        true
    from (
        select
            changed.conversation_id,
            count(*) as messages,
            jsonb_agg(
                changed.message
                order by changed.sent_at, changed.sequence, changed.received_at, changed.external_id
            ) as lines
        from changed
        group by changed.conversation_id
    ) as counted
    cross join private.settings as settings
    inner join public.conversations as conversation on counted.conversation_id = conversation.id
    cross join lateral private.conversation_topics(conversation) as topic (name)
    order by conversation.id;
    return null;
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
        return null;
end
$$;
comment on function private.broadcast_updated_messages_trigger() is
'Trigger: tells owners of messages that updates changed, once for each conversation and statement.';

-- Definer, because only the database sends to inboxes.
create function private.broadcast_conversations(p_ids uuid[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
    insert into realtime.messages (topic, extension, event, payload, private)
    select
        listener.topic,
        'broadcast',
        case when conversation.created_at = now() then 'conversation.created' else 'conversation.updated' end,
        private.render_conversation(conversation, 0, '[]'),
        true
    from public.conversations as conversation
    cross join private.conversation_topics(conversation) as listener (topic)
    where conversation.id = any(p_ids)
    order by conversation.id;
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
end
$$;
comment on function private.broadcast_conversations(uuid[]) is
'Broadcasts conversations that are new or changed and got no messages. A failure is reported and harms no writer.';

-- Definer, because the writer may be allowed to change a conversation that only its owner may read.
create function private.broadcast_conversation_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A later change of the same transaction sends the conversation itself, and so do the messages of a new one.
    if exists (
        select from public.conversations as conversation
        where conversation.id = new.id
            and (conversation.participant_identifier, conversation.participant_name, conversation.person_id)
            is not distinct from (new.participant_identifier, new.participant_name, new.person_id)
            and (tg_op = 'UPDATE' or conversation.message_count = 0)
    ) then
        perform private.broadcast_conversations(array[new.id]);
    end if;
    return null;
end
$$;
comment on function private.broadcast_conversation_trigger() is
'Trigger: broadcasts a conversation that is new without messages, or that has another participant or person.';
