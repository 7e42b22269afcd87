-- The calls of /api/v2/messages that read: history, get, edits; and how a message looks in an answer.

create function private.render_pin(p_pinned_by uuid, p_pinned_at timestamptz) returns jsonb
language sql
immutable
set search_path = ''
as $$
    select jsonb_build_object(
        'pinned', true, 'pinned_by', p_pinned_by, 'pinned_at', private.format_time(p_pinned_at)
    )
$$;
comment on function private.render_pin(uuid, timestamptz) is 'What metadata says of a message that is pinned.';

create function private.render_message(p_message public.messages, p_pin jsonb) returns jsonb
language plpgsql
immutable
set search_path = ''
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
        'conversation_id', p_message.conversation_id,
        -- What says that it is pinned comes from the pin, never from who wrote the message.
        'metadata', (p_message.metadata - '{pinned,pinned_by,pinned_at}'::text[]) || coalesce(p_pin, '{}'),
        'attachments', p_message.attachments,
        'created_at', private.format_time(p_message.created_at),
        'updated_at', private.format_time(p_message.updated_at)
    );
end
$$;
comment on function private.render_message(public.messages, jsonb) is
'A message as every call shows it, with what private.render_pin says of its pin.';
create function private.render_message(p_message public.messages) returns jsonb
language sql
stable
set search_path = ''
as $$
    select private.render_message(p_message, (
        select private.render_pin(pin.pinned_by, pin.pinned_at)
        from public.message_pins as pin
        where pin.message_id = p_message.id
    ))
$$;
comment on function private.render_message(public.messages) is 'A message as it is now.';

create function private.render_reaction(
    p_id uuid, p_message_id uuid, p_user_id uuid, p_emoji text, p_created_at timestamptz
) returns jsonb
language sql
immutable
set search_path = ''
as $$
    select jsonb_build_object(
        'id', p_id,
        'message_id', p_message_id,
        'user_id', p_user_id,
        'emoji', p_emoji,
        'created_at', private.format_time(p_created_at)
    )
$$;
comment on function private.render_reaction(uuid, uuid, uuid, text, timestamptz) is
'A reaction as every call shows it, whether it is still there or not.';

-- Definer, because authors who left the channel are still named there. It is asked only for authors of messages that
-- the caller has just read.
create function private.list_author_names(p_user_ids uuid[], p_twin_ids uuid[])
returns table (author_id uuid, is_twin boolean, display_name text, avatar_url text)
language sql
stable
security definer
set search_path = ''
as $$
    select profile.user_id, false, profile.display_name, profile.avatar_url
    from public.user_profiles as profile
    where profile.user_id = any(p_user_ids)
    union all
    select twin.id, true, twin.display_name, twin.avatar_url
    from public.ai_twins as twin
    where twin.id = any(p_twin_ids)
$$;
comment on function private.list_author_names(uuid[], uuid[]) is
'Names and pictures of users and twins. A twin may have the same id as a user: is_twin separates them.';

create function private.render_reactions(p_message_ids uuid[]) returns table (message_id uuid, reactions jsonb)
language sql
stable
set search_path = ''
as $$
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
        -- Looked up for each message, whatever the planner believes of the table.
        cross join lateral (
            select made.* from public.message_reactions as made where made.message_id = given.id offset 0
        ) as reaction
        group by reaction.message_id, reaction.emoji
    ) as counted
    group by counted.message_id
$$;
comment on function private.render_reactions(uuid[]) is
'Of messages that have reactions, one entry per emoji: how many, who, and whether the caller is among them.';

create function private.require_message(p_id uuid) returns public.messages
language plpgsql
stable
set search_path = ''
as $$
declare
    v_message public.messages;
begin
    select * into v_message from public.messages as message where message.id = p_id and message.deleted_at is null;
    if v_message.id is null then
        perform private.fail(404, 'message_not_found', 'There is no such message.');
    end if;
    return v_message;
end
$$;
comment on function private.require_message(uuid) is
'A message that the caller may see; PT404 otherwise, whether it exists or not.';

create function private.require_channel(p_channel_id uuid) returns void
language plpgsql
stable
set search_path = ''
as $$
begin
    if not exists (select from public.channels as channel where channel.id = p_channel_id) then
        perform private.fail(404, 'channel_not_found', 'There is no such channel.', 'channel_id');
    end if;
end
$$;
comment on function private.require_channel(uuid) is 'PT404 unless the caller may see the channel.';

-- Definer, because no client reads the counters; it answers only those who may see the channel.
create function private.message_count(p_channel_id uuid) returns bigint
language sql
stable
security definer
set search_path = ''
as $$
    select coalesce((
        select head.message_count
        from private.channel_counters as head
        where head.channel_id = p_channel_id
            and (
                (select private.is_service())
                or head.channel_id in (select mine.id from private.my_channels as mine)
            )
    ), 0)
$$;
comment on function private.message_count(uuid) is
'How many messages a channel has, at the same cost for ten and for a million.';

-- Definer, because a cursor stays good when its message is deleted.
create function private.find_cursor(p_body jsonb, p_field text, p_channel_id uuid) returns bigint
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    v_text text := p_body ->> p_field;
    v_seq bigint;
begin
    if v_text is null then
        return null;
    elsif v_text ~ '^seq_[0-9]{1,18}$' then
        return substr(v_text, 5)::bigint;
    end if;
    select message.seq into v_seq
    from public.messages as message
    where message.id = private.parse_uuid(p_body, p_field) and message.channel_id = p_channel_id;
    if v_seq is null then
        perform private.fail(400, 'invalid_cursor', format('%s names no message of this channel.', p_field), p_field);
    end if;
    return v_seq;
end
$$;
comment on function private.find_cursor(jsonb, text, uuid) is
'The place in a channel that a message id or a returned cursor stands for.';

create function private.list_page(
    p_channel_id uuid, p_thread_id uuid, p_before bigint, p_after bigint, p_limit integer, p_offset integer,
    out ids uuid[], out next_cursor text
)
language plpgsql
stable
set search_path = ''
-- A plan for any values suits neither a page at depth nor a thread (docs/decisions/0003).
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_seqs bigint[];
begin
    -- One row more than asked for tells whether there is a next page.
    if p_after is null then
        select array_agg(found.id), array_agg(found.seq) into ids, v_seqs
        from (
            select message.id, message.seq
            from public.messages as message
            where message.channel_id = p_channel_id
                and message.deleted_at is null
                and message.seq < coalesce(p_before, 9223372036854775807)
                and (p_thread_id is null or message.parent_message_id = p_thread_id)
            order by message.seq desc
            limit p_limit + 1 offset p_offset
        ) as found;
    else
        select array_agg(found.id), array_agg(found.seq) into ids, v_seqs
        from (
            select message.id, message.seq
            from public.messages as message
            where message.channel_id = p_channel_id
                and message.deleted_at is null
                and message.seq > p_after
                and (p_thread_id is null or message.parent_message_id = p_thread_id)
            order by message.seq
            limit p_limit + 1 offset p_offset
        ) as found;
    end if;
    if cardinality(ids) > p_limit then
        next_cursor := 'seq_' || v_seqs[p_limit];
    end if;
    ids := ids[1:p_limit];
end
$$;
comment on function private.list_page(uuid, uuid, bigint, bigint, integer, integer) is
'A page of a channel or thread: its message ids, and the cursor of the next page in the same direction, or null.';

create function private.render_page(p_ids uuid[]) returns jsonb
language sql
stable
set search_path = ''
as $$
    with page as (
        select message
        from public.messages as message
        where message.id = any(p_ids)
    )

    -- Each table is asked once for the whole page, and so is its policy.
    select coalesce(jsonb_agg(
        private.render_message(page.message, (
            select private.render_pin(pin.pinned_by, pin.pinned_at)
            from public.message_pins as pin
            where pin.message_id = (page.message).id
        )) || jsonb_build_object(
            'display_name', author.display_name,
            'avatar_url', author.avatar_url,
            'reactions', coalesce(reacted.reactions, '[]')
        )
        order by (page.message).seq desc
    ), '[]')
    from page
    left join private.list_author_names(
        array(select (page.message).user_id from page), array(select (page.message).ai_twin_id from page)
    ) as author
        on author.author_id = coalesce((page.message).user_id, (page.message).ai_twin_id)
        and author.is_twin = ((page.message).user_id is null)
    left join private.render_reactions(p_ids) as reacted on (page.message).id = reacted.message_id
$$;
comment on function private.render_page(uuid[]) is 'Messages with their authors and reactions, newest first.';

create function public.list_messages(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    v_thread_id uuid := private.parse_uuid($1, 'thread_id', false);
    v_limit integer := private.parse_integer($1, 'limit', 1, 200, 50);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
    v_before bigint;
    v_after bigint;
    v_page record;
begin
    perform private.require_channel(v_channel_id);
    v_before := private.find_cursor($1, 'before', v_channel_id);
    v_after := private.find_cursor($1, 'after', v_channel_id);
    if v_before is not null and v_after is not null then
        perform private.fail(400, 'invalid_cursor', 'before and after cannot be combined.', 'after');
    end if;
    select * into v_page
    from private.list_page(v_channel_id, v_thread_id, v_before, v_after, v_limit, v_offset);
    return private.succeed(
        private.render_page(v_page.ids),
        jsonb_build_object(
            'total', case
                when v_thread_id is null then private.message_count(v_channel_id)
                else (
                    select count(*) from public.messages as reply
                    where reply.parent_message_id = v_thread_id
                        and reply.channel_id = v_channel_id and reply.deleted_at is null
                )
            end,
            'page', v_offset / v_limit + 1,
            'limit', v_limit,
            'offset', v_offset,
            'next_cursor', v_page.next_cursor
        )
    );
end
$$;
comment on function public.list_messages(jsonb) is
'GET /api/v2/messages/history: channel_id, and optionally thread_id, limit (1 to 200), offset, before, after. Newest
first, with authors and reactions.';

create function public.get_message(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    return private.succeed(
        private.render_message(v_message) || jsonb_build_object(
            'reaction_count',
            (select count(*) from public.message_reactions as reaction where reaction.message_id = v_message.id)
        ),
        '{}'
    );
end
$$;
comment on function public.get_message(jsonb) is 'GET /api/v2/messages/:id.';

create function public.list_message_edits(jsonb) returns json
language plpgsql
stable
set search_path = ''
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
