-- What happens to a user outside of the channels they follow: added, removed, mentioned, read elsewhere, invited.
-- Each user has a log, numbered from 1 without a gap, and a topic, user:<id>, that carries it.
--
-- A writer of a channel locks the counter of the channel first (210_events), then counters of users, by user id.

create table private.user_counters (
    user_id uuid primary key references auth.users (id) on delete cascade,
    last_seq bigint not null
);
comment on table private.user_counters is 'The last event of each user. A writer locks this row until it commits.';
alter table private.user_counters enable row level security;

create table public.user_events (
    user_id uuid not null references auth.users (id) on delete cascade,
    seq bigint not null,
    kind text not null,
    workspace_id uuid,
    channel_id uuid,
    message_id uuid,
    details jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    primary key (user_id, seq),
    constraint user_events_kind_known check (
        kind in (
            'channel.joined', 'channel.left', 'channel.role_changed', 'channel.renamed', 'channel.deleted',
            'channel.read', 'message.mentioned', 'workspace.joined', 'workspace.left', 'workspace.role_changed',
            'invitation.created'
        )
    )
);
comment on table public.user_events is
'What happened to a user, in order and without a gap. The clean-up deletes old events.';
comment on column public.user_events.details is 'Fields of the payload that only this kind has: role, name, seq.';
-- For the clean-up. BRIN, because events arrive in order of time.
create index user_events_created_at_idx on public.user_events using brin (created_at);
-- For the deletion of a channel, which removes its name.
create index user_events_renamed_idx on public.user_events (channel_id) where kind = 'channel.renamed';
alter table public.user_events enable row level security;

create policy user_events_select_self on public.user_events
for select to authenticated using (user_id = (select auth.uid()));

create function private.record_user_events(
    p_user_ids uuid[], p_kind text, p_details jsonb,
    p_workspace_id uuid default null, p_channel_id uuid default null, p_message_id uuid default null
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    with numbered as (
        insert into private.user_counters as counter (user_id, last_seq)
        -- Users who are being deleted get none.
        select known.id, 1
        from auth.users as known
        where known.id = any(p_user_ids)
        order by known.id
        on conflict on constraint user_counters_pkey do update set last_seq = counter.last_seq + 1
        returning counter.user_id, counter.last_seq
    )

    insert into public.user_events (user_id, seq, kind, workspace_id, channel_id, message_id, details)
    select
        numbered.user_id, numbered.last_seq, p_kind, p_workspace_id, p_channel_id, p_message_id,
        jsonb_strip_nulls(p_details)
    from numbered;
end
$$;
comment on function private.record_user_events(uuid[], text, jsonb, uuid, uuid, uuid) is
'Writes the next event of each of these users.';

create function private.list_listening_members(p_channel_id uuid) returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select case when count(*) <= 1000 then array_agg(few.user_id) end
        from (
            select member.user_id
            from public.channel_members as member
            where member.channel_id = p_channel_id
            limit 1001
        ) as few
    );
end
$$;
comment on function private.list_listening_members(uuid) is
'The members of a channel, to tell each of them what happened to it; null above 1,000, because each costs a row.';

create function private.render_user_event(p_event public.user_events) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_event.details || jsonb_strip_nulls(jsonb_build_object(
        'workspace_id', p_event.workspace_id,
        'channel_id', p_event.channel_id,
        'message_id', p_event.message_id
    )) || jsonb_build_object(
        'seq', p_event.seq,
        'prev_seq', p_event.seq - 1,
        'created_at', private.format_time(p_event.created_at)
    );
end
$$;
comment on function private.render_user_event(public.user_events) is
'The payload of an event of a user, the same for broadcasts and for catching up.';

-- Definer, because only the database sends to these topics.
create function private.broadcast_user_events_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into realtime.messages (topic, extension, event, payload, private)
    select 'user:' || event.user_id, 'broadcast', event.kind, private.render_user_event(event), true
    from changed as event
    order by event.user_id, event.seq;
    return null;
exception
    when others then
        perform private.report_lost_broadcast('user:', sqlstate, sqlerrm);
        return null;
end
$$;
comment on function private.broadcast_user_events_trigger() is
'Trigger: sends events of users to their topics. A failed broadcast is only a warning.';

create function public.list_user_events(since bigint default 0, max_events integer default 200) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_page record;
begin
    if list_user_events.since is null or list_user_events.since < 0 then
        perform private.fail(
            400, 'invalid_field',
            'since is not the number of an event. Send meta.last_seq of the last page, or 0.', 'since'
        );
    elsif list_user_events.max_events is null or list_user_events.max_events not between 1 and 1000 then
        perform private.fail(
            400, 'invalid_field', 'max_events must be a whole number from 1 to 1000.', 'max_events'
        );
    end if;
    select
        coalesce(jsonb_agg(
            jsonb_build_object('event', found.kind, 'payload', private.render_user_event(found.event))
            order by found.seq
        ) filter (where found.place <= list_user_events.max_events), '[]') as events,
        count(*) filter (where found.place <= list_user_events.max_events) as events_in,
        max(found.seq) filter (where found.place <= list_user_events.max_events) as last_seq,
        count(*) > list_user_events.max_events as has_more
    into v_page
    from (
        select event, event.seq, event.kind, row_number() over (order by event.seq) as place
        from public.user_events as event
        where event.user_id = (select auth.uid()) and event.seq > list_user_events.since
        order by event.seq
        limit list_user_events.max_events + 1
    ) as found;
    return private.succeed(v_page.events, jsonb_build_object(
        -- Of an empty page, the last event of all: a client may have counted further in a database since restored.
        'last_seq', coalesce(v_page.last_seq, (
            select max(event.seq)
            from public.user_events as event
            where event.user_id = (select auth.uid())
        ), 0),
        'has_more', v_page.has_more,
        -- Numbers have no gap, and the clean-up may delete a later event before an earlier one.
        'is_incomplete', coalesce(v_page.last_seq > list_user_events.since + v_page.events_in, false)
    ));
end
$$;
comment on function public.list_user_events(bigint, integer) is
'Lists the events of the caller after a number, in order, as event and payload like a broadcast of user:<id>. Takes
since and max_events (1 to 1000). meta.is_incomplete says that older ones were deleted: then read list_my_channels.';
