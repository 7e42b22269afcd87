-- What the model reads of a channel or a conversation, as JSON lines with as much of the newest text as fits.

create function private.render_transcript(
    p_channel_id uuid, p_last_seq bigint, p_count integer, p_max_bytes integer, p_recent_days integer
) returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with newest as (
        select recent.*
        from (
            select message.*, row_number() over (order by message.seq desc) as age
            from public.messages as message
            where message.channel_id = p_channel_id
                and message.deleted_at is null
                and message.seq <= p_last_seq
            order by message.seq desc
            limit case p_count when 0 then 10000 else p_count end
        ) as recent
        where p_count > 0
            or recent.age <= 50
            or recent.created_at > now() - make_interval(days => p_recent_days)
    ),

    measured as (
        select
            newest.*,
            sum(octet_length(newest.content)) over (order by newest.seq desc) as bytes_so_far,
            row_number() over (order by newest.seq desc) as place
        from newest
    ),

    sent as (
        select * from measured where measured.bytes_so_far <= p_max_bytes or measured.place = 1
    )

    select jsonb_build_object(
        'messages', coalesce(jsonb_agg(jsonb_build_object(
            'id', sent.id,
            'parent_id', sent.parent_message_id,
            'author', coalesce(author.display_name, 'former member'),
            'at', private.format_time(sent.created_at),
            'content', sent.content
        ) order by sent.seq), '[]'),
        'scope', jsonb_build_object(
            'messageCount', count(*),
            'timeRange', jsonb_build_object(
                'from', private.format_time(min(sent.created_at)),
                'to', private.format_time(max(sent.created_at))
            ),
            'truncated', count(*) < (select count(*) from newest),
            'omittedCount', (select count(*) from newest) - count(*)
        )
    )
    from sent
    left join private.list_author_names(array(select sent.id from sent)) as author
        on author.author_id = coalesce(sent.user_id, sent.ai_twin_id)
        and author.is_twin = (sent.user_id is null)
$$;
comment on function private.render_transcript(uuid, bigint, integer, integer, integer) is
'Renders the newest messages of a channel that fit in p_max_bytes, oldest first, and the scope that they cover: p_count
messages, or if p_count is 0 those of p_recent_days and at least 50. The newest message is always included.';

create function private.render_conversation_transcript(
    p_conversation_id uuid, p_count integer, p_max_bytes integer, p_recent_days integer
) returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    with newest as (
        select recent.*
        from (
            select
                stored.*, coalesce(nullif(stored.message ->> 'content', ''), private.message_preview(stored.message))
                    as content,
                row_number() over (
                    order by stored.sent_at desc, stored.sequence desc, stored.received_at desc, stored.external_id desc
                ) as age
            from public.conversation_messages as stored
            where stored.conversation_id = p_conversation_id and stored.deleted_at is null
            order by stored.sent_at desc, stored.sequence desc, stored.received_at desc, stored.external_id desc
            limit case p_count when 0 then 10000 else p_count end
        ) as recent
        where p_count > 0
            or recent.age <= 50
            or recent.sent_at > now() - make_interval(days => p_recent_days)
    ),

    measured as (
        select newest.*, sum(octet_length(newest.content)) over (order by newest.age) as bytes_so_far from newest
    ),

    sent as (
        select * from measured where measured.bytes_so_far <= p_max_bytes or measured.age = 1
    )

    select jsonb_build_object(
        'messages', coalesce(jsonb_agg(jsonb_build_object(
            'id', sent.external_id,
            'parent_id', sent.message ->> 'reply_to',
            'author', case
                when sent.message -> 'direction' = '"outbound"' then 'us'
                else coalesce(
                    nullif(sent.sender, ''), conversation.participant_name, conversation.participant_identifier
                )
            end,
            'at', private.format_time(sent.sent_at),
            'content', sent.content
        ) order by sent.age desc), '[]'),
        'scope', jsonb_build_object(
            'messageCount', count(*),
            'timeRange', jsonb_build_object(
                'from', private.format_time(min(sent.sent_at)),
                'to', private.format_time(max(sent.sent_at))
            ),
            'truncated', count(*) < (select count(*) from newest),
            'omittedCount', (select count(*) from newest) - count(*)
        )
    )
    from sent
    inner join public.conversations as conversation on sent.conversation_id = conversation.id
$$;
comment on function private.render_conversation_transcript(uuid, integer, integer, integer) is
'As render_transcript, for the newest messages of a conversation.';
