-- The newest conversations of all workspaces of a user, in pages. A query without a workspace would sort all
-- conversations of the user; this reads one index entry per workspace, and then only the rows of the page.

-- Definer, because a policy would compare each row with each workspace of the caller. It reads only workspaces of the
-- caller.
create function private.find_newest_conversations(p_before timestamptz, p_before_id uuid, p_limit integer)
returns table (id uuid, at timestamptz)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with busiest as materialized (
        select mine.id
        from private.my_workspaces as mine
        cross join lateral (
            select conversation.last_message_at, conversation.id
            from public.conversations as conversation
            where conversation.workspace_id = mine.id
                and (conversation.last_message_at, conversation.id) < (p_before, p_before_id)
            order by conversation.last_message_at desc, conversation.id desc
            limit 1
        ) as newest
        order by newest.last_message_at desc, newest.id desc
        limit p_limit
    )

    select found.id, found.last_message_at
    from busiest
    cross join lateral (
        select conversation.last_message_at, conversation.id
        from public.conversations as conversation
        where conversation.workspace_id = busiest.id
            and (conversation.last_message_at, conversation.id) < (p_before, p_before_id)
        order by conversation.last_message_at desc, conversation.id desc
        limit p_limit
    ) as found
    order by found.last_message_at desc, found.id desc
    limit p_limit;
end
$$;
comment on function private.find_newest_conversations(timestamptz, uuid, integer) is
'Conversations of the caller''s workspaces after a position in the inbox, newest first. The page can only come from the
p_limit workspaces with the newest conversations.';

create function private.list_conversations(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 200, 50);
    v_before text := private.scalar_text($1, 'before');
    v_place record;
    v_page record;
begin
    perform private.require_user();
    if v_before !~* '^-?[0-9]{1,18}_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        perform private.fail(
            400, 'invalid_cursor', 'before is not a cursor of this call. Send next_cursor of the page before.', 'before'
        );
    end if;
    -- A cursor is the time in microseconds, and the id.
    select
        coalesce(
            'epoch'::timestamptz + split_part(v_before, '_', 1)::bigint * interval '1 microsecond', 'infinity'
        ) as at,
        coalesce(split_part(v_before, '_', 2), 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid as id
    into v_place;
    with page as materialized (
        select newest.id, newest.at, row_number() over (order by newest.at desc, newest.id desc) as place
        from private.find_newest_conversations(v_place.at, v_place.id, v_limit + 1) as newest
    )

    select
        coalesce(jsonb_agg(
            private.render_inbox_entry(conversation)
            || jsonb_build_object('unread_count', public.unread_count(conversation))
            order by page.place
        ) filter (where page.place <= v_limit), '[]') as conversations,
        case when count(*) > v_limit then (
            select (extract(epoch from last.at) * 1000000)::bigint || '_' || last.id
            from page as last
            where last.place = v_limit
        ) end as next_cursor
    into v_page
    from page
    inner join public.conversations as conversation on page.id = conversation.id;
    return private.succeed(v_page.conversations, jsonb_build_object('next_cursor', v_page.next_cursor));
end
$$;
comment on function private.list_conversations(jsonb) is
'GET /api/v2/conversations: the conversations of all workspaces of the caller, newest message first, without those that
have no message, with unread_count. Takes limit (1 to 200, default 50) and before (next_cursor of the page before).';

create function private.render_inbox_entry(p_conversation public.conversations) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_conversation.id,
        'workspace_id', p_conversation.workspace_id,
        'user_id', p_conversation.user_id,
        'platform', p_conversation.platform,
        'external_conversation_id', p_conversation.external_conversation_id,
        'participant_identifier', p_conversation.participant_identifier,
        'participant_name', p_conversation.participant_name,
        'kind', p_conversation.kind,
        'person_id', p_conversation.person_id,
        'message_count', p_conversation.message_count,
        'last_message_at', private.format_time(p_conversation.last_message_at),
        'last_message_preview', p_conversation.last_message_preview
    );
end
$$;
comment on function private.render_inbox_entry(public.conversations) is
'A conversation in the form of the inbox list.';

create function public.list_conversations(max_conversations integer default 50, before text default null)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.list_conversations(jsonb_build_object(
        'limit', list_conversations.max_conversations, 'before', list_conversations.before
    ));
end
$$;
comment on function public.list_conversations(integer, text) is
'Lists the conversations of all workspaces of the caller, newest message first. Takes max_conversations (1 to 200) and
before (meta.next_cursor of the page before; null on the last page).';
