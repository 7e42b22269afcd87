-- Ingest: conversations that continue under another name. On some platforms, a user with a new number or id begins a
-- new conversation; here both are one.
-- Promise: the result does not depend on the order in which requests arrive.

create function private.find_conversation(p_source private.ingest_source, p_external_id text) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce((
        select conversation.id
        from private.conversation_aliases as alias
        inner join public.conversations as conversation on alias.conversation_id = conversation.id
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
            and alias.external_id = p_external_id collate "C" and conversation.user_id = p_source.user_id
        limit 1
    ), (
        select conversation.id
        from public.conversations as conversation
        where conversation.platform = p_source.platform
            and conversation.external_conversation_id = p_external_id collate "C"
            and conversation.user_id = p_source.user_id and conversation.scope_id = p_source.scope_id
    ));
end
$$;
comment on function private.find_conversation(private.ingest_source, text) is
'The conversation of a connection with this name or alias; null if none exists.';

create function private.copy_messages(p_from uuid, p_into uuid, p_names text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    insert into public.conversation_updates (
        conversation_id, external_id, sender, type, actor, version, at, sequence, value, received_at
    )
    select
        p_into, given.external_id, given.sender, given.type, given.actor, given.version, given.at, given.sequence,
        given.value, given.received_at
    from public.conversation_updates as given
    where given.conversation_id = p_from and (p_names is null or exists (
        select from private.continued_messages as named
        where named.conversation_id = p_from and named.external_id = given.external_id
            and named.name = any(p_names) and private.is_same_sender(named.sender, given.sender)
    ))
    on conflict (conversation_id, external_id, sender, type, actor, version) do nothing;
    insert into public.conversation_messages (
        conversation_id, external_id, sender, workspace_id, connection_id, sent_at, received_at, stated_at, sequence,
        message, original, deleted_at
    )
    select
        p_into, stored.external_id, stored.sender, stored.workspace_id, stored.connection_id, stored.sent_at,
        stored.received_at, stored.stated_at, stored.sequence, stored.message, stored.original, stored.deleted_at
    from public.conversation_messages as stored
    where stored.conversation_id = p_from and (p_names is null or exists (
        select from private.continued_messages as named
        where named.conversation_id = p_from and named.external_id = stored.external_id
            and named.sender = stored.sender and named.name = any(p_names)
    ))
    on conflict (conversation_id, external_id, sender) do nothing;
end
$$;
comment on function private.copy_messages(uuid, uuid, text[]) is
'Copies the messages and updates of a conversation into another one: all, or those that came under these names. What is
there already stays.';

-- Definer, because the backend may not change stored messages.
create function private.join_conversation(p_from uuid, p_into uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    perform from public.conversations as conversation
    where conversation.id in (p_from, p_into)
    order by conversation.id
    for update;
    perform private.copy_messages(p_from, p_into, null);
    perform private.record_identifiers(
        array(select p_into from unnest(private.list_identifiers(p_from))), private.list_identifiers(p_from)
    );
    perform private.record_identifiers(array[p_into], array[private.identify_any(
        conversation.platform, conversation.participant_identifier
    )])
    from public.conversations as conversation
    where conversation.id = p_from;
    perform private.merge_group_participants(array(
        select (
            p_into, known.workspace_id, known.identifier, known.name, known.named_at, known.identifiers, known.keys,
            known.has_left, known.at, null, null
        )::private.group_participants
        from private.group_participants as known
        where known.conversation_id = p_from
    ));
    update private.conversation_media as known set conversation_id = p_into where known.conversation_id = p_from;
    update private.conversation_aliases as alias set conversation_id = p_into where alias.conversation_id = p_from;
    insert into private.continued_messages (conversation_id, external_id, sender, name)
    select p_into, known.external_id, known.sender, known.name
    from private.continued_messages as known
    where known.conversation_id = p_from
    on conflict do nothing;
    delete from public.conversations as conversation where conversation.id = p_from;
end
$$;
comment on function private.join_conversation(uuid, uuid) is
'Moves the messages, updates, participants, identifiers and names of one conversation into another one and deletes it.';

-- Definer, because no role writes the table.
create function private.record_aliases(p_source private.ingest_source, p_conversations jsonb) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_given record;
    v_into uuid;
    v_from uuid;
begin
    if private.knows_names(p_source, p_conversations) then
        return;
    end if;
    -- Waits for running requests of the workspace, because they may create a conversation that this one joins.
    perform private.lock_matching(array[p_source.workspace_id]);
    -- In the lock order of 131_ingest_conversations.sql.
    perform private.lock_source(p_source);
    for v_given in
        select distinct given.value ->> 'external_conversation_id' as name, given.value ->> 'continues' as former
        from jsonb_array_elements(p_conversations) as given
        where jsonb_typeof(given.value -> 'continues') = 'string'
            and given.value ->> 'continues' <> given.value ->> 'external_conversation_id'
            and char_length(given.value ->> 'external_conversation_id') between 1 and 500
            and char_length(given.value ->> 'continues') between 1 and 500
            and not exists (
                select from private.conversation_separations as parted
                inner join public.conversations as conversation
                    on parted.conversation_id = conversation.id and conversation.user_id = p_source.user_id
                where parted.scope_id = p_source.scope_id and parted.platform = p_source.platform
                    and parted.external_id = given.value ->> 'external_conversation_id' collate "C"
                    and parted.continues = given.value ->> 'continues' collate "C"
            )
        order by 1, 2
    loop
        v_into := private.find_conversation(p_source, v_given.former);
        v_from := private.find_conversation(p_source, v_given.name);
        if v_into is null and v_from is not null then
            -- The messages of the former name come later.
            perform private.record_name(v_from, v_given.name, v_given.former, true);
            perform private.record_name(v_from, v_given.former, null, false);
            perform private.record_continued_messages(v_from, v_from, v_given.name);
            update public.conversations as conversation set external_conversation_id = v_given.former
            where conversation.id = v_from;
        elsif v_into is not null then
            if not exists (
                select from private.conversation_aliases as alias where alias.conversation_id = v_into
            ) then
                perform private.record_name(v_into, v_given.former, null, true);
            end if;
            if v_from <> v_into then
                perform private.record_name(v_from, v_given.name, v_given.former, true);
                perform private.record_continued_messages(v_from, v_into, v_given.name);
                perform private.join_conversation(v_from, v_into);
                perform private.restore_participant(v_into);
            elsif v_from is null then
                perform private.record_name(v_into, v_given.name, v_given.former, false);
            end if;
        end if;
    end loop;
end
$$;
comment on function private.record_aliases(private.ingest_source, jsonb) is
'Stores which conversations of a request continue an earlier one, and joins the two if both exist.';

create function private.read_conversations(p_source private.ingest_source, p_conversations jsonb)
returns private.ingest_conversation[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_parsed private.ingest_conversation[] := private.parse_conversations(p_conversations);
    v_name text;
begin
    if p_conversations @? '$[*].continues' then
        perform private.record_aliases(p_source, p_conversations);
    elsif not exists (
        select from private.conversation_aliases as alias
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
    ) then
        return v_parsed;
    end if;
    perform set_config('threadline.has_names', 'on', true);
    for v_place in 1..cardinality(v_parsed) loop
        select conversation.external_conversation_id into v_name
        from private.conversation_aliases as alias
        inner join public.conversations as conversation on alias.conversation_id = conversation.id
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
            and alias.external_id = v_parsed[v_place].external_id collate "C"
            and conversation.user_id = p_source.user_id
        limit 1;
        if found and v_parsed[v_place].error is null then
            v_parsed[v_place].external_id := v_name;
        end if;
    end loop;
    return v_parsed;
end
$$;
comment on function private.read_conversations(private.ingest_source, jsonb) is
'The conversations of a request (parse_conversations), with the ids under which they are stored.';
