-- The undo of continues: a conversation that was joined with an earlier one is its own again.
-- Promise: both are as they would be without the join: messages, updates, identifiers, and what came since then under
-- each name. A repetition of the request does not join them again.

create function private.list_later_names(p_conversation_id uuid, p_name text) returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        with recursive later as (
            select p_name collate "C" as name
            union
            select alias.external_id
            from private.conversation_aliases as alias
            inner join later on alias.continues = later.name
            where alias.conversation_id = p_conversation_id
        )

        select later.name from later
    );
end
$$;
comment on function private.list_later_names(uuid, text) is
'A name of a conversation, and the names that continue it.';

create function private.copy_conversation(p_conversation public.conversations, p_name text, p_names text[]) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_participant record;
    v_id uuid;
begin
    select * into v_participant from private.merge_named_participants(p_conversation.id, p_names);
    insert into public.conversations (
        workspace_id, user_id, scope_id, platform, external_conversation_id, kind,
        participant_identifier, participant_identified_at, participant_name, participant_named_at
    )
    values (
        p_conversation.workspace_id, p_conversation.user_id, p_conversation.scope_id, p_conversation.platform, p_name,
        p_conversation.kind,
        coalesce(v_participant.identifier, p_name), v_participant.identified_at,
        v_participant.name, v_participant.named_at
    )
    returning id into v_id;
    perform private.record_identifiers(
        array(select v_id from unnest(v_participant.identifiers)), v_participant.identifiers
    );
    insert into private.group_participants (
        conversation_id, workspace_id, identifier, name, named_at, identifiers, keys, has_left, at, person_id,
        matched_by
    )
    select
        v_id, known.workspace_id, known.identifier, known.name, known.named_at, known.identifiers, known.keys,
        known.has_left, known.at, known.person_id, known.matched_by
    from private.group_participants as known
    where known.conversation_id = p_conversation.id;
    return v_id;
end
$$;
comment on function private.copy_conversation(public.conversations, text, text[]) is
'Creates a conversation with what was said about its participant under some names of another one. A group has the same
participants.';

create function private.move_named_messages(p_from uuid, p_into uuid, p_names text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    perform private.copy_messages(p_from, p_into, p_names);
    update private.conversation_media as known set conversation_id = p_into
    from private.continued_messages as named
    where known.conversation_id = p_from and named.name = any(p_names)
        and (named.conversation_id, named.external_id, named.sender)
        = (known.conversation_id, known.external_id, known.sender);
    delete from public.conversation_messages as stored using private.continued_messages as named
    where stored.conversation_id = p_from and named.name = any(p_names)
        and (named.conversation_id, named.external_id, named.sender)
        = (stored.conversation_id, stored.external_id, stored.sender);
    delete from public.conversation_updates as given
    where given.conversation_id = p_from and exists (
        select from private.continued_messages as named
        where named.conversation_id = p_from and named.external_id = given.external_id
            and named.name = any(p_names) and private.is_same_sender(named.sender, given.sender)
    ) and not exists (
        select from public.conversation_messages as stored
        where stored.conversation_id = p_from and stored.external_id = given.external_id
            and private.is_same_sender(stored.sender, given.sender)
    );
    update private.continued_messages as named set conversation_id = p_into
    where named.conversation_id = p_from and named.name = any(p_names);
end
$$;
comment on function private.move_named_messages(uuid, uuid, text[]) is
'Moves the messages that came under some names of a conversation, and what happened to them, into another one.';

create function private.forget_single_names(p_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from private.conversation_aliases as alias
    where alias.conversation_id = any(p_ids) and alias.continues is null and not exists (
        select from private.conversation_aliases as other
        where other.conversation_id = alias.conversation_id and other.continues is not null
    );
    delete from private.continued_messages as named
    where named.conversation_id = any(p_ids) and not exists (
        select from private.conversation_aliases as alias
        where alias.conversation_id = named.conversation_id and alias.external_id = named.name
            and alias.continues is not null
    );
end
$$;
comment on function private.forget_single_names(uuid[]) is
'Forgets the names of conversations that have only one, and which messages came under a first name.';

-- Definer, because clients may read neither the names nor change conversations.
create function private.separate_conversation(p_conversation_id uuid, p_name text) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_conversation public.conversations;
    v_alias private.conversation_aliases;
    v_names text[];
    v_id uuid;
begin
    v_conversation := private.lock_conversation(p_conversation_id);
    select * into v_alias
    from private.conversation_aliases as alias
    where alias.conversation_id = p_conversation_id and alias.continues is not null
        and (p_name = '' or alias.external_id = p_name collate "C")
    order by alias.created_at desc, alias.external_id desc
    limit 1;
    if v_alias.external_id is null then
        perform private.fail(
            409, 'conversation_not_continued',
            'No such conversation was joined with this one. Check external_conversation_id.',
            'external_conversation_id'
        );
    end if;
    v_names := private.list_later_names(p_conversation_id, v_alias.external_id);
    v_id := private.copy_conversation(v_conversation, v_alias.external_id, v_names);
    perform private.move_named_messages(p_conversation_id, v_id, v_names);
    update private.conversation_aliases as alias set conversation_id = v_id
    where alias.conversation_id = p_conversation_id and alias.external_id = any(v_names);
    if exists (
        select from private.conversation_aliases as alias
        where alias.conversation_id = p_conversation_id and alias.participant_identifier is not null
    ) then
        perform private.restore_participant(p_conversation_id);
    else
        -- No request has used the former name yet. A request that does so now finds no row, and its client repeats it.
        delete from public.conversations as conversation where conversation.id = p_conversation_id;
    end if;
    update private.conversation_aliases as alias set continues = null
    where alias.conversation_id = v_id and alias.external_id = v_alias.external_id;
    perform private.forget_single_names(array[p_conversation_id, v_id]);
    insert into private.conversation_separations (scope_id, platform, external_id, continues, conversation_id)
    values (v_alias.scope_id, v_alias.platform, v_alias.external_id, v_alias.continues, v_id);
    perform private.broadcast_conversations(array[p_conversation_id]);
    return jsonb_build_object('conversation_id', p_conversation_id, 'separated_conversation_id', v_id,
        'external_conversation_id', v_alias.external_id);
end
$$;
comment on function private.separate_conversation(uuid, text) is
'Undoes continues, the last one if the name is empty. PT404 if the conversation is not the caller''s, PT409 if no such
one was joined with it.';

-- Definer, because clients may not change conversations.
create function private.lock_conversation(p_conversation_id uuid) returns public.conversations
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_conversation public.conversations;
begin
    select * into v_conversation
    from public.conversations as conversation
    where conversation.id = p_conversation_id
        and (
            (select private.is_service())
            or exists (select from private.my_workspaces as mine where mine.id = conversation.workspace_id)
        );
    if v_conversation.id is not null then
        -- Requests that run take it, too.
        perform private.lock_matching(array[v_conversation.workspace_id]);
        select * into v_conversation
        from public.conversations as conversation
        where conversation.id = p_conversation_id
        for update;
    end if;
    if v_conversation.id is null then
        perform private.fail(
            404, 'conversation_not_found',
            'This conversation does not exist or is not yours. Check conversation_id.', 'conversation_id'
        );
    end if;
    return v_conversation;
end
$$;
comment on function private.lock_conversation(uuid) is
'Locks a conversation of the caller, and the matching of its workspace. PT404 if it is not the caller''s.';

create function public.separate_conversation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.separate_conversation(
        private.parse_uuid($1, 'conversation_id'), private.parse_text($1, 'external_conversation_id', 500, '')
    ));
end
$$;
comment on function public.separate_conversation(jsonb) is
'POST /api/v2/conversations/{conversation_id}/separate: conversation_id, and optionally external_conversation_id.
Undoes continues: the conversation that was joined last, or the named one, is its own again.';
