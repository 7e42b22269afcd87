-- Catch-up: a client fetches the events of a channel that it missed.
-- Promise: pages that follow meta.last_seq return every event of the channel once and in order. If the clean-up has
-- deleted some of them, meta.is_incomplete says so.

-- Definer, because policies would check the caller's rights for each event. It checks them once itself.
create function private.list_channel_events(
    p_channel_id uuid, p_since bigint, p_limit integer, p_max_bytes integer
)
returns table (seq bigint, kind text, payload jsonb, bytes bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer := 0;
begin
    if not private.is_service()
        and not exists (select from private.my_channels as mine where mine.id = p_channel_id)
    then
        return;
    end if;
    bytes := 0;
    -- A loop, because it ends when the page is full: a query would render events that no page holds.
    for seq, kind, payload in
    select event.seq, event.kind, private.render_event(event, said.message)
    from public.message_events as event
    -- Compares channel_id, because the caller may not see messages of other channels. LIMIT 1 makes this one lookup by
    -- primary key per event: without it the planner may read all messages of the channel. Before the first ANALYZE, a
    -- page among 5,000 messages then took 300 ms instead of 10.
    left join lateral (
        select message from public.messages as message
        where message.id = event.message_id and message.channel_id = p_channel_id and message.deleted_at is null
        limit 1
    ) as said on true
    where event.channel_id = p_channel_id and event.seq > p_since
    order by event.seq
    limit p_limit
    loop
        bytes := bytes + octet_length(payload::text);
        v_count := v_count + 1;
        return next;
        exit when bytes > p_max_bytes and v_count > 1;
    end loop;
end
$$;
comment on function private.list_channel_events(uuid, bigint, integer, integer) is
'Lists the events of a channel after a number, in order, with the bytes of the payloads so far. Ends with
the row that exceeds p_max_bytes, at the earliest the second. Returns no rows to non-members.';

create function public.list_channel_events(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    c_max_bytes constant integer := 1000000;
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 200);
    v_since text := coalesce(private.scalar_text($1, 'since'), '0');
    v_page record;
begin
    if v_since !~ '^[0-9]{1,18}$' then
        perform private.fail(
            400, 'invalid_field',
            'since is not the number of an event. Send meta.last_seq of the last page, or 0.', 'since'
        );
    end if;
    perform private.require_channel(v_channel_id);
    with rendered as (
        select event.*, row_number() over (order by event.seq) as number
        from private.list_channel_events(v_channel_id, v_since::bigint, v_limit + 1, c_max_bytes) as event
    )

    select
        -- A page ends at a megabyte, but has at least one event, so that the client can go on.
        coalesce(jsonb_agg(
            jsonb_build_object('event', found.kind, 'payload', found.payload) order by found.seq
        ) filter (where found.is_in), '[]') as events,
        count(*) filter (where found.is_in) as events_in,
        max(found.seq) filter (where found.is_in) as last_seq,
        count(*) filter (where not found.is_in) > 0 as has_more
    into v_page
    from (
        select
            rendered.*,
            rendered.number <= v_limit and (rendered.number = 1 or rendered.bytes <= c_max_bytes) as is_in
        from rendered
    ) as found;
    return private.succeed(v_page.events, jsonb_build_object(
        'last_seq', coalesce(v_page.last_seq, (
            select max(event.seq)
            from public.message_events as event
            where event.channel_id = v_channel_id
        ), 0),
        'has_more', v_page.has_more,
        -- Numbers have no gap, and the clean-up may delete a later event before an earlier one.
        'is_incomplete', coalesce(v_page.last_seq > v_since::bigint + v_page.events_in, false)
    ));
end
$$;
comment on function public.list_channel_events(jsonb) is
'GET /api/v2/channels/:id/events: lists the events of a channel after a number, in order, as event and payload like a
broadcast. Takes channel_id, since (default 0) and limit (1 to 1000, default 200). meta.last_seq is the since of the
next page; meta.has_more says whether that page has events, and meta.is_incomplete whether events after since were
deleted: then read the channel again.';
