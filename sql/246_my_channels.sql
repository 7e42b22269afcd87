-- GET /api/v2/channels: the channels of a user, with what is unread. Its cost depends on the number of channels, and
-- not on their length: it reads counters, and counts up to 100 by index.

create function private.count_unread(p_channel_id uuid, p_read_seq bigint) returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(*)
        from (
            select
            from (
                -- Bounds how many deleted messages are read.
                select message.deleted_at
                from public.messages as message
                where message.channel_id = p_channel_id and message.seq > p_read_seq
                order by message.seq desc
                limit 1000
            ) as newest
            where newest.deleted_at is null
            limit 100
        ) as counted
    );
end
$$;
comment on function private.count_unread(uuid, bigint) is 'The messages of a channel after a read marker, up to 100.';

create function private.count_mentions(p_channel_id uuid, p_user_id uuid, p_read_seq bigint) returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(*)
        from (
            (
                select mention.seq
                from public.message_mentions as mention
                where mention.user_id = p_user_id and mention.channel_id = p_channel_id and mention.seq > p_read_seq
                order by mention.seq desc
                limit 100
            )
            -- A message that mentions both the user and the channel counts once.
            union
            (
                select mention.seq
                from public.message_mentions as mention
                where mention.user_id is null and mention.ai_twin_id is null
                    and mention.channel_id = p_channel_id and mention.seq > p_read_seq
                order by mention.seq desc
                limit 100
            )
            limit 100
        ) as counted
    );
end
$$;
comment on function private.count_mentions(uuid, uuid, bigint) is
'The messages of a channel after a read marker that mention a user or the whole channel, up to 100.';

create function private.render_last_message(p_channel_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'id', newest.id,
            'seq', newest.seq,
            'user_id', newest.user_id,
            'ai_twin_id', newest.ai_twin_id,
            'display_name', private.render_author(newest.user_id, newest.ai_twin_id) -> 'display_name',
            'preview', left(newest.content, 200),
            'created_at', private.format_time(newest.created_at)
        )
        from (
            select message.*
            from public.messages as message
            where message.channel_id = p_channel_id
            order by message.seq desc
            limit 1000
        ) as newest
        where newest.deleted_at is null
        limit 1
    );
end
$$;
comment on function private.render_last_message(uuid) is
'The newest message of a channel that is not deleted, with 200 characters of its text; null if the newest
1,000 are deleted.';

create function private.render_few_members(p_channel_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(
            jsonb_agg(
                jsonb_build_object('user_id', few.user_id, 'display_name', profile.display_name) order by few.user_id
            ),
            '[]'
        )
        from (
            select member.user_id
            from public.channel_members as member
            where member.channel_id = p_channel_id
            order by member.user_id
            limit 10
        ) as few
        left join public.user_profiles as profile on few.user_id = profile.user_id
    );
end
$$;
comment on function private.render_few_members(uuid) is 'The first 10 members of a channel, with their names.';

-- Definer, because no client reads counters. It lists only channels of the acting user.
create function private.list_my_channels(p_limit integer, p_offset integer)
returns table (channel jsonb, place bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with mine as materialized (
        select
            counter.*, member.user_id, member.role, state.is_muted, state.is_pinned,
            coalesce(state.read_seq, 0) as read_seq,
            row_number() over (
                order by coalesce(state.is_pinned, false) desc, counter.last_at desc, counter.channel_id
            ) as place
        from public.channel_members as member
        inner join private.channel_counters as counter on member.channel_id = counter.channel_id
        left join public.member_states as state
            on member.channel_id = state.channel_id and member.user_id = state.user_id
        where member.user_id = (select private.acting_user_id())
            -- A hidden direct channel comes back with a new message.
            and (
                state.hidden_seq is null
                or exists (
                    select from public.messages as message
                    where message.channel_id = state.channel_id and message.seq > state.hidden_seq
                )
            )
        order by place
        limit p_limit
        offset p_offset
    )

    select
        jsonb_build_object(
            'id', channel.id,
            'workspace_id', channel.workspace_id,
            'kind', channel.kind,
            'name', channel.name,
            'created_at', private.format_time(channel.created_at),
            'role', mine.role,
            'last_seq', mine.last_seq,
            'read_seq', mine.read_seq,
            'unread_count', private.count_unread(channel.id, mine.read_seq),
            'mention_count', private.count_mentions(channel.id, mine.user_id, mine.read_seq),
            'last_message', private.render_last_message(channel.id),
            'member_count', mine.member_count,
            'members', private.render_few_members(channel.id),
            'is_muted', coalesce(mine.is_muted, false),
            'is_pinned', coalesce(mine.is_pinned, false),
            'topic', 'channel:' || channel.id
                || case when mine.sealed_until > clock_timestamp() then ':' || mine.topic_turn else '' end
        ),
        mine.place
    from mine
    inner join public.channels as channel on mine.channel_id = channel.id;
end
$$;
comment on function private.list_my_channels(integer, integer) is
'The channels of the acting user: pinned ones first, then by the last event. Counts end at 100.';

create function private.list_my_channels(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
begin
    perform private.require_actor($1);
    return private.succeed_page(array(
        select mine.channel from private.list_my_channels(v_limit + 1, v_offset) as mine order by mine.place
    ), v_limit);
end
$$;
comment on function private.list_my_channels(jsonb) is
'GET /api/v2/channels: lists the channels of the acting user. Takes limit (1 to 1000, default 100) and offset.';

create function public.list_my_channels(max_channels integer default 100, skip integer default 0) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.list_my_channels(jsonb_build_object(
        'limit', list_my_channels.max_channels, 'offset', list_my_channels.skip
    ));
end
$$;
comment on function public.list_my_channels(integer, integer) is
'Lists the channels of the caller with unread and mention counts (up to 100), last message, members, muted and pinned:
pinned ones first, then by the last event. Takes max_channels (1 to 1000) and skip.';
