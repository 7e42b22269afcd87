-- How messages, pins and reactions look as JSON: the same in every answer, event and export.

create function private.render_pin(p_pinned_by uuid, p_pinned_at timestamptz) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'pinned', true, 'pinned_by', p_pinned_by, 'pinned_at', private.format_time(p_pinned_at)
    );
end
$$;
comment on function private.render_pin(uuid, timestamptz) is 'The metadata fields of a pinned message.';

create function private.render_message(p_message public.messages, p_pin jsonb) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_message.id,
        'channel_id', p_message.channel_id,
        'content', p_message.content,
        'content_type', p_message.content_type,
        'user_id', p_message.user_id,
        'ai_twin_id', p_message.ai_twin_id,
        'parent_message_id', p_message.parent_message_id,
        'thread_id', p_message.thread_id,
        'conversation_id', p_message.conversation_id,
        -- These fields come from the pin only: an author cannot fake them.
        'metadata', (p_message.metadata - '{pinned,pinned_by,pinned_at}'::text[]) || coalesce(p_pin, '{}'),
        'attachments', p_message.attachments,
        'created_at', private.format_time(p_message.created_at),
        'updated_at', private.format_time(p_message.updated_at),
        -- Only an edit changes updated_at.
        'edited_at', case
            when p_message.updated_at > p_message.created_at then private.format_time(p_message.updated_at)
        end
    );
end
$$;
comment on function private.render_message(public.messages, jsonb) is
'A message as JSON, with the fields of private.render_pin; null if it is not pinned.';
create function private.render_message(p_message public.messages) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.render_message(p_message, (
        select private.render_pin(pin.pinned_by, pin.pinned_at)
        from public.message_pins as pin
        where pin.message_id = p_message.id
    ));
end
$$;
comment on function private.render_message(public.messages) is 'A message as JSON, with its present pin.';

create function private.render_reaction(
    p_id uuid, p_message_id uuid, p_user_id uuid, p_emoji text, p_created_at timestamptz
) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_id,
        'message_id', p_message_id,
        'user_id', p_user_id,
        'emoji', p_emoji,
        'created_at', private.format_time(p_created_at)
    );
end
$$;
comment on function private.render_reaction(uuid, uuid, uuid, text, timestamptz) is
'A reaction as JSON, also after its removal.';

-- Definer, because messages of authors who left the channel still show their names.
create function private.list_author_names(p_message_ids uuid[])
returns table (author_id uuid, is_twin boolean, display_name text, avatar_url text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with named as materialized (
        select message.channel_id, message.user_id, message.ai_twin_id
        from unnest(p_message_ids) as given (id)
        -- OFFSET 0 keeps the subquery: one index look-up per message, never a scan of the table (decision 0003).
        cross join lateral (select known.* from public.messages as known where known.id = given.id offset 0) as message
        where message.deleted_at is null
    ), read as materialized (
        -- One look-up per channel; all messages of a page are in one channel.
        select named.channel_id, array_agg(named.user_id) as user_ids, array_agg(named.ai_twin_id) as twin_ids
        from named
        group by named.channel_id
        having (select private.is_service())
            or exists (select from private.my_channels as mine where mine.id = named.channel_id offset 0)
    )

    select profile.user_id, false, profile.display_name, profile.avatar_url
    from public.user_profiles as profile
    where profile.user_id = any(array(select unnest(read.user_ids) from read))
    union all
    select twin.id, true, twin.display_name, twin.avatar_url
    from public.ai_twins as twin
    where twin.id = any(array(select unnest(read.twin_ids) from read));
end
$$;
comment on function private.list_author_names(uuid[]) is
'Names and pictures of the authors of messages that the caller may read. A twin may have the same id as a user: is_twin
separates them.';

create function private.render_author(p_user_id uuid, p_twin_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_author jsonb;
begin
    if p_twin_id is not null then
        select jsonb_build_object('display_name', twin.display_name, 'avatar_url', twin.avatar_url) into v_author
        from public.ai_twins as twin
        where twin.id = p_twin_id;
    else
        select jsonb_build_object('display_name', profile.display_name, 'avatar_url', profile.avatar_url)
        into v_author
        from public.user_profiles as profile
        where profile.user_id = p_user_id;
    end if;
    return coalesce(v_author, '{"display_name": null, "avatar_url": null}');
end
$$;
comment on function private.render_author(uuid, uuid) is
'Name and picture of a user or a twin, for events and deliveries; nulls for a deleted one. The caller checks who may
read them.';

create function private.render_reactions(p_message_ids uuid[]) returns table (message_id uuid, reactions jsonb)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        counted.message_id,
        jsonb_agg(jsonb_build_object(
            'emoji', counted.emoji,
            'count', counted.count,
            'user_ids', counted.user_ids,
            'reacted', coalesce((select auth.uid()) = any(counted.user_ids), false)
        ) order by counted.first_at, counted.emoji) as reactions
    from (
        select
            reaction.message_id,
            reaction.emoji,
            count(*) as count,
            array_agg(reaction.user_id order by reaction.created_at, reaction.user_id) as user_ids,
            min(reaction.created_at) as first_at
        from unnest(p_message_ids) as given (id)
        -- OFFSET 0 keeps the subquery: one index lookup per message, never a scan of the table (decision 0003).
        cross join lateral (
            select added.* from public.message_reactions as added where added.message_id = given.id offset 0
        ) as reaction
        group by reaction.message_id, reaction.emoji
    ) as counted
    group by counted.message_id;
end
$$;
comment on function private.render_reactions(uuid[]) is
'The reactions of messages, one entry per emoji: count, users, and whether the caller is one of them.';

create function private.list_threads(p_message_ids uuid[])
returns table (message_id uuid, reply_count bigint, last_reply_at timestamptz, participants jsonb)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with reply as materialized (
        select given.id as message_id, newest.*
        from unnest(p_message_ids) as given (id)
        cross join lateral (
            select reply.id, reply.user_id, reply.ai_twin_id, reply.created_at, reply.seq
            from public.messages as reply
            where reply.thread_id = given.id and reply.deleted_at is null
            order by reply.seq desc
            limit 1000
        ) as newest
    ), participant as (
        select
            reply.message_id, reply.user_id, reply.ai_twin_id, max(reply.seq) as seq,
            (array_agg(reply.id order by reply.seq desc))[1] as reply_id,
            row_number() over (partition by reply.message_id order by max(reply.seq) desc) as place
        from reply
        where coalesce(reply.user_id, reply.ai_twin_id) is not null
        group by reply.message_id, reply.user_id, reply.ai_twin_id
    ), shown as (
        select
            participant.message_id,
            jsonb_agg(jsonb_build_object(
                'user_id', participant.user_id,
                'ai_twin_id', participant.ai_twin_id,
                'display_name', author.display_name,
                'avatar_url', author.avatar_url
            ) order by participant.place) as participants
        from participant
        left join private.list_author_names(array(
            select few.reply_id from participant as few where few.place <= 5
        )) as author
            on author.author_id = coalesce(participant.user_id, participant.ai_twin_id)
            and author.is_twin = (participant.user_id is null)
        where participant.place <= 5
        group by participant.message_id
    )

    select counted.message_id, counted.reply_count, counted.last_reply_at, shown.participants
    from (
        select reply.message_id, count(*) as reply_count, max(reply.created_at) as last_reply_at
        from reply
        group by reply.message_id
    ) as counted
    left join shown using (message_id);
end
$$;
comment on function private.list_threads(uuid[]) is
'The threads that these messages began: the number of replies (up to 1,000), the time of the newest, and the five
authors who replied last. Messages without replies have no row.';
