-- GET /api/v2/channels/:id/events: how a client fetches the events that it missed.

-- Definer, because policies would be asked for each event again; it asks once, and itself.
create function private.list_channel_events(p_channel_id uuid, p_since bigint, p_limit integer)
returns table (seq bigint, kind text, payload jsonb)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    if not private.is_service()
        and p_channel_id not in (select mine.id from private.my_channels as mine)
    then
        return;
    end if;
    return query
    select event.seq, event.kind, private.render_event(event, said.message)
    from public.message_events as event
    -- Only of this channel, because the caller may not see messages of others. LIMIT 1 is for the planner (0007).
    left join lateral (
        select message from public.messages as message
        where message.id = event.message_id and message.channel_id = p_channel_id and message.deleted_at is null
        limit 1
    ) as said on true
    where event.channel_id = p_channel_id and event.seq > p_since
    order by event.seq
    limit p_limit;
end
$$;
comment on function private.list_channel_events(uuid, bigint, integer) is
'The events of a channel after a number, in order, for its members.';

create function public.list_channel_events(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 200);
    v_since text := coalesce($1 ->> 'since', '0');
    v_page record;
begin
    if v_since !~ '^[0-9]{1,18}$' then
        perform private.fail(400, 'invalid_field', 'since must be a whole number, the seq of an event.', 'since');
    end if;
    perform private.require_channel(v_channel_id);
    with rendered as (
        select
            event.*,
            row_number() over (order by event.seq) as number,
            sum(octet_length(event.payload::text)) over (order by event.seq) as bytes
        from private.list_channel_events(v_channel_id, v_since::bigint, v_limit + 1) as event
    )

    select
        -- A megabyte is enough for one answer, though never less than one event.
        coalesce(jsonb_agg(
            jsonb_build_object('event', found.kind, 'payload', found.payload) order by found.seq
        ) filter (where found.is_in), '[]') as events,
        max(found.seq) filter (where found.is_in) as last_seq,
        count(*) filter (where not found.is_in) > 0 as has_more
    into v_page
    from (
        select rendered.*, rendered.number <= v_limit and (rendered.number = 1 or rendered.bytes <= 1000000) as is_in
        from rendered
    ) as found;
    return private.succeed(v_page.events, jsonb_build_object(
        'last_seq', coalesce(v_page.last_seq, (
            select least(v_since::bigint, max(event.seq))
            from public.message_events as event
            where event.channel_id = v_channel_id
        ), 0),
        'has_more', v_page.has_more
    ));
end
$$;
comment on function public.list_channel_events(jsonb) is
'GET /api/v2/channels/:id/events: channel_id, and optionally since (0) and limit (1 to 1,000, 200). What was broadcast
to a channel after the event with that number, in order: event and payload of each. meta.last_seq is the since of the
next call, meta.has_more whether it would answer something.';
