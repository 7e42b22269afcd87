-- Broadcasts to the owner's inbox, and to the team, when conversations change.
-- Promise: each change of a conversation is sent, and one ingest request sends each conversation once.
-- New and changed messages are sent by their statements. Ingest sends the conversations that it changed and that got no
-- messages. Other changes, such as a person who matches later, are sent when their transaction commits.

create table private.workspace_seals (
    workspace_id uuid primary key references public.workspaces (id) on delete cascade,
    sealed_until timestamptz not null
);
comment on table private.workspace_seals is
'Until when a member who left a workspace may still listen to its topic, which carries pointers for so long (decision
0014).';
alter table private.workspace_seals enable row level security;

create function private.conversation_topics(p_conversation public.conversations) returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A personal workspace has the id of its user, whom the inbox reaches already.
    return 'inbox:' || p_conversation.user_id || case
        when p_conversation.workspace_id <> p_conversation.user_id
            then array['workspace:' || p_conversation.workspace_id]
        else '{}'::text[]
    end;
end
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
    if p_messages is null then
        return jsonb_build_object(
            'conversation', to_jsonb(p_conversation), 'messages_added', p_added, 'messages', '[]'::jsonb,
            'truncated', true
        );
    end if;
    return jsonb_build_object(
        'conversation', to_jsonb(p_conversation), 'messages_added', p_added, 'messages', p_messages
    );
end
$$;
comment on function private.render_conversation(public.conversations, bigint, jsonb) is
'What an inbox gets: the record as the Data API shows it, how many messages came, and the messages unless they are
null, which is too many to send.';

create function private.seal_payload(p_topic text, p_payload jsonb) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if starts_with(p_topic, 'workspace:') and exists (
        select from private.workspace_seals as seal
        where seal.workspace_id = split_part(p_topic, ':', 2)::uuid and seal.sealed_until > clock_timestamp()
    ) then
        return jsonb_build_object('conversation_id', p_payload #> '{conversation,id}', 'truncated', true);
    end if;
    return p_payload;
end
$$;
comment on function private.seal_payload(text, jsonb) is
'The payload for a topic: for the topic of a sealed workspace a pointer without text.';

-- Definer, because members who leave may not write seals, and it also runs when Supabase Auth deletes a user.
create function private.seal_workspace_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.workspace_seals as seal (workspace_id, sealed_until)
    select workspace.id, clock_timestamp() + make_interval(secs => settings.token_seconds)
    from public.workspaces as workspace
    cross join private.settings as settings
    where workspace.id = old.workspace_id
    on conflict on constraint workspace_seals_pkey do update set sealed_until = excluded.sealed_until;
    return null;
end
$$;
comment on function private.seal_workspace_trigger() is
'Seals the topic of a workspace after a member left, because Realtime does not ask again before the token of that member
expires (decision 0014).';

-- Definer, because only the database sends to inboxes. Times are written in UTC, as the Data API does.
create function private.broadcast_ingested_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
    v_ids uuid[];
    v_added bigint[];
    v_messages jsonb[];
begin
    select array_agg(counted.conversation_id), array_agg(counted.added)
    into v_ids, v_added
    from (
        select changed.conversation_id, count(*) as added from changed group by changed.conversation_id
    ) as counted;
    -- Sorting and joining the messages takes as long as the rest, so it is left out when there are too many to send.
    if (select settings.broadcast_max_messages from private.settings) >= any(v_added) then
        select array_agg(listed.conversation_id), array_agg(listed.added), array_agg(listed.messages)
        into v_ids, v_added, v_messages
        from (
            select
                changed.conversation_id,
                count(*) as added,
                jsonb_agg(
                    changed.message
                    order by changed.sent_at, changed.sequence, changed.received_at, changed.external_id
                ) as messages
            from changed
            group by changed.conversation_id
        ) as listed;
    end if;
    insert into realtime.messages (topic, extension, event, payload, private)
    select topic.name, 'broadcast', rendered.event, private.seal_payload(topic.name, rendered.payload), true
    from (
        select
            found.conversation,
            -- Both are the time of this transaction for a conversation that it has made.
            case
                when (found.conversation).created_at = now() then 'conversation.created'
                else 'conversation.updated'
            end as event,
            private.render_conversation(found.conversation, counted.added, case
                when counted.added <= (select settings.broadcast_max_messages from private.settings)
                    and octet_length(counted.messages::text)
                    <= (select settings.broadcast_max_bytes from private.settings)
                    then counted.messages
            end) as payload
        from unnest(v_ids, v_added, v_messages) as counted (conversation_id, added, messages)
        cross join lateral (
            -- LIMIT 1 makes this one look-up by the key, even if the statistics are old.
            select conversation from public.conversations as conversation
            where conversation.id = counted.conversation_id
            limit 1
        ) as found
        -- Renders once, and not for each topic.
        offset 0
    ) as rendered
    cross join lateral unnest(private.conversation_topics(rendered.conversation)) as topic (name);
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
        private.seal_payload(topic.name, private.render_conversation(conversation, 0, case
            when counted.messages <= settings.broadcast_max_messages
                and octet_length(counted.lines::text) <= settings.broadcast_max_bytes then counted.lines
        end)),
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
    cross join lateral unnest(private.conversation_topics(conversation)) as topic (name)
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
    update public.conversations as conversation
    set version = conversation.version + 1
    where conversation.id = any(p_ids) and conversation.created_at <> now();
    perform private.note_conversations(p_ids);
    perform private.send_conversations(p_ids);
end
$$;
comment on function private.broadcast_conversations(uuid[]) is
'Broadcasts new or changed conversations that got no messages, with their next version.';

create function private.send_conversations(p_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
    insert into realtime.messages (topic, extension, event, payload, private)
    select
        listener.topic,
        'broadcast',
        case when conversation.created_at = now() then 'conversation.created' else 'conversation.updated' end,
        private.seal_payload(listener.topic, private.render_conversation(conversation, 0, '[]')),
        true
    from public.conversations as conversation
    cross join unnest(private.conversation_topics(conversation)) as listener (topic)
    where conversation.id = any(p_ids)
    order by conversation.id;
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
end
$$;
comment on function private.send_conversations(uuid[]) is
'Hands conversations to Realtime. A failure is only a warning, so that no writer fails.';

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

-- Definer, because a writer of people may have no right to change conversations.
create function private.broadcast_group_participants_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array(
        select distinct changed.conversation_id
        from changed
        inner join gone using (conversation_id, identifier)
        where (changed.person_id, changed.matched_by) is distinct from (gone.person_id, gone.matched_by)
    );
begin
    -- Ingest broadcasts its changes itself.
    if v_ids <> '{}' and current_setting('threadline.is_ingesting', true) is distinct from 'on' then
        perform private.broadcast_conversations(v_ids);
    end if;
    return null;
end
$$;
comment on function private.broadcast_group_participants_trigger() is
'Trigger: broadcasts groups in which a participant is now matched to another person.';
