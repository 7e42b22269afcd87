-- The calls of /api/v2/messages that read: history, get, edits. Policies decide what each caller sees.

create function private.require_message(p_id uuid) returns public.messages
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_message public.messages;
begin
    select * into v_message from public.messages as message where message.id = p_id and message.deleted_at is null;
    if v_message.id is null then
        perform private.fail(404, 'message_not_found', 'This message does not exist, or you may not see it.');
    end if;
    return v_message;
end
$$;
comment on function private.require_message(uuid) is
'A message that the caller may see; else PT404.';

create function private.require_channel(p_channel_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Users by membership: the policy of channels reads all channels of the caller.
    if private.is_service() then
        perform from public.channels as channel where channel.id = p_channel_id;
    else
        perform from private.my_channels as mine where mine.id = p_channel_id;
    end if;
    if not found then
        perform private.fail(
            404, 'channel_not_found', 'This channel does not exist, or you may not see it.', 'channel_id'
        );
    end if;
end
$$;
comment on function private.require_channel(uuid) is 'PT404 unless the caller may see the channel.';

-- Definer, because no client reads the counters. Returns nulls to non-members.
create function private.find_channel_state(
    p_channel_id uuid, out message_count bigint, out last_seq bigint, out topic text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select
        counter.message_count,
        counter.last_seq,
        'channel:' || p_channel_id
        || case when counter.sealed_until > clock_timestamp() then ':' || counter.topic_turn else '' end
    into message_count, last_seq, topic
    from private.channel_counters as counter
    where counter.channel_id = p_channel_id
        and (
            (select private.is_service())
            or exists (select from private.my_channels as mine where mine.id = counter.channel_id offset 0)
        );
end
$$;
comment on function private.find_channel_state(uuid) is
'The number of messages of a channel, its last event, and the topic that carries full payloads now.';

-- Definer, because policies would check the caller's rights for each reply. It checks them once itself.
create function private.count_replies(p_channel_id uuid, p_thread_id uuid) returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(*)
        from public.messages as reply
        where reply.thread_id = p_thread_id
            and reply.deleted_at is null
            -- Replies are in the channel of their thread.
            and (select root.channel_id from public.messages as root where root.id = p_thread_id) = p_channel_id
            and (
                (select private.is_service())
                or exists (select from private.my_channels as mine where mine.id = p_channel_id)
            )
    );
end
$$;
comment on function private.count_replies(uuid, uuid) is
'The number of replies of a thread; 0 for another channel, and to non-members.';

-- Definer, because a cursor stays valid when its message is deleted.
create function private.find_cursor(p_body jsonb, p_field text, p_channel_id uuid) returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := private.scalar_text(p_body, p_field);
    v_seq bigint;
begin
    if v_text is null then
        return null;
    elsif v_text ~ '^seq_[0-9]{1,18}$' then
        return substr(v_text, 5)::bigint;
    end if;
    select message.seq into v_seq
    from public.messages as message
    where message.id = private.parse_uuid(p_body, p_field) and message.channel_id = p_channel_id
        and not private.is_non_member(p_channel_id);
    if v_seq is null then
        perform private.fail(
            400, 'invalid_cursor',
            format('%s is not a message of this channel. Use a next_cursor or a message id.', p_field), p_field
        );
    end if;
    return v_seq;
end
$$;
comment on function private.find_cursor(jsonb, text, uuid) is
'The number in a channel that a message id or a cursor stands for; null if the field is missing.';

create function private.list_page(
    p_channel_id uuid, p_thread_id uuid, p_is_roots_only boolean, p_before bigint, p_after bigint,
    p_limit integer, p_offset integer,
    out ids uuid[], out next_cursor text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- A generic plan is slow for deep pages and for threads (decision 0003).
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_seqs bigint[];
begin
    -- Reads one row more, to know whether there is a next page.
    select array_agg(found.id), array_agg(found.seq) into ids, v_seqs
    from (
        select message.id, message.seq
        from public.messages as message
        where message.channel_id = p_channel_id
            and message.deleted_at is null
            and (p_before is null or message.seq < p_before)
            and (p_after is null or message.seq > p_after)
            and (p_thread_id is null or message.thread_id = p_thread_id)
            and (
                not p_is_roots_only
                or message.thread_id is null
                -- Else the replies to a deleted message would be in no view. Compared as a value, because Postgres
                -- could read the whole table for EXISTS.
                or (
                    select root.id from public.messages as root
                    where root.id = message.thread_id and root.deleted_at is null
                ) is null
            )
        -- A custom plan knows p_after and reads the index in this direction.
        order by case when p_after is null then message.seq end desc, message.seq
        limit p_limit + 1 offset p_offset
    ) as found;
    if cardinality(ids) > p_limit then
        next_cursor := 'seq_' || v_seqs[p_limit];
    end if;
    ids := ids[1:p_limit];
end
$$;
comment on function private.list_page(uuid, uuid, boolean, bigint, bigint, integer, integer) is
'A page of a channel, of its messages that are not replies, or of a thread: message ids, and the cursor of the next page
in that direction, or null.';

create function private.render_page(p_ids uuid[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        with page as (
            select message
            from public.messages as message
            where message.id = any(p_ids)
        )

        -- Reads each table once for the whole page, so each policy runs once.
        select coalesce(jsonb_agg(
            private.render_message(page.message, (
                select private.render_pin(pin.pinned_by, pin.pinned_at)
                from public.message_pins as pin
                where pin.message_id = (page.message).id
            )) || jsonb_build_object(
                'seq', (page.message).seq,
                'display_name', author.display_name,
                'avatar_url', author.avatar_url,
                'reactions', coalesce(reacted.reactions, '[]'),
                'reply_count', coalesce(thread.reply_count, 0),
                'last_reply_at', private.format_time(thread.last_reply_at),
                'participants', coalesce(thread.participants, '[]')
            )
            order by (page.message).seq desc
        ), '[]')
        from page
        left join private.list_author_names(p_ids) as author
            on author.author_id = coalesce((page.message).user_id, (page.message).ai_twin_id)
            and author.is_twin = ((page.message).user_id is null)
        left join private.render_reactions(p_ids) as reacted on (page.message).id = reacted.message_id
        left join private.list_threads(p_ids) as thread on (page.message).id = thread.message_id
    );
end
$$;
comment on function private.render_page(uuid[]) is
'Messages with their numbers, authors, reactions and threads, newest first.';

create function public.list_messages(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    v_thread_id uuid := private.parse_uuid($1, 'thread_id', false);
    v_is_roots_only boolean := private.parse_boolean($1, 'roots_only');
    v_limit integer := private.parse_integer($1, 'limit', 1, 200, 50);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
    v_before bigint;
    v_after bigint;
    v_page record;
    v_state record;
    v_total bigint;
begin
    perform private.require_channel(v_channel_id);
    if v_is_roots_only and v_thread_id is not null then
        perform private.fail(
            400, 'invalid_field', 'roots_only and thread_id cannot be combined. Leave one of them out.', 'roots_only'
        );
    end if;
    v_before := private.find_cursor($1, 'before', v_channel_id);
    v_after := private.find_cursor($1, 'after', v_channel_id);
    if v_before is not null and v_after is not null then
        perform private.fail(400, 'invalid_cursor', 'before and after cannot be combined.', 'after');
    end if;
    if v_thread_id is not null then
        -- thread_id may be any message of the thread.
        v_thread_id := coalesce(
            (select message.thread_id from public.messages as message where message.id = v_thread_id), v_thread_id
        );
        v_total := private.count_replies(v_channel_id, v_thread_id);
    end if;
    select * into v_page
    from private.list_page(v_channel_id, v_thread_id, v_is_roots_only, v_before, v_after, v_limit, v_offset);
    select * into v_state from private.find_channel_state(v_channel_id);
    return private.succeed(
        private.render_page(v_page.ids),
        jsonb_build_object(
            'total', coalesce(v_total, v_state.message_count, 0),
            'page', v_offset / v_limit + 1,
            'limit', v_limit,
            'offset', v_offset,
            'next_cursor', v_page.next_cursor
        )
        -- The first page shows the channel at this event. A client follows the channel from it.
        || case
            when v_before is null and v_after is null and v_offset = 0
                then jsonb_build_object('last_seq', v_state.last_seq, 'topic', v_state.topic)
            else '{}'
        end
    );
end
$$;
comment on function public.list_messages(jsonb) is
'GET /api/v2/messages/history: channel_id, and optionally thread_id or roots_only, limit (1 to 200), offset, before,
after. Newest first, with authors, reactions and threads. The first page has last_seq and topic in meta.';

create function public.get_message(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    return private.succeed(
        private.render_page(array[v_message.id]) -> 0 || jsonb_build_object(
            'reaction_count',
            (select count(*) from public.message_reactions as reaction where reaction.message_id = v_message.id)
        ),
        '{}'
    );
end
$$;
comment on function public.get_message(jsonb) is
'GET /api/v2/messages/:id: id. The message as list_messages shows it, with reaction_count.';

create function public.list_message_edits(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    return private.succeed((
        select coalesce(jsonb_agg(jsonb_build_object(
            'version', edit.version,
            'content', edit.content,
            'written_at', private.format_time(edit.written_at),
            'replaced_at', private.format_time(edit.replaced_at)
        ) order by edit.version), '[]')
        from public.message_edits as edit
        where edit.message_id = v_message.id
    ));
end
$$;
comment on function public.list_message_edits(jsonb) is
'GET /api/v2/messages/:id/edits: the earlier versions, the first one first.';
