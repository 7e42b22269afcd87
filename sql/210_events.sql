-- The event log of a channel: each change once, numbered from 1 without a gap, in the transaction of the change.
-- Each writer locks the counter of the channel first; this gives the changes of a channel their order.
--
-- Lock order of messages, twins and deliveries. Each step may be skipped, and none is taken before an earlier one:
--   1. counters of channels; several of them by channel id (erasing a user)
--   2. the number of twins of an owner (230_twins)
--   3. twins of the channel and their webhooks, by twin id
--   4. queues of the twins, by channel id and then twin id
--   5. deliveries in these queues
-- claim_deliveries skips locked queues and deliveries, so it waits for no writer.
-- An UPDATE of a message locks its row before the counter, because Postgres locks a row before its BEFORE trigger runs.

-- A table of its own, because it changes with every message and no client reads it.
create table private.channel_counters (
    channel_id uuid primary key references public.channels (id) on delete cascade,
    workspace_id uuid not null,
    last_seq bigint not null default 0,
    last_at timestamptz not null default '-infinity',
    message_count bigint not null default 0,
    member_count bigint not null default 0,
    language text,
    topic_turn integer not null default 0,
    sealed_until timestamptz not null default '-infinity',
    sealed_after bigint not null default 0
);
comment on table private.channel_counters is
'The last event of each channel. A writer locks this row before it changes the channel.';
comment on column private.channel_counters.workspace_id is
'The workspace of the channel. Messages and events copy it under the lock of this row.';
comment on column private.channel_counters.last_at is
'Time of the last event. The next event is later, even if the clock goes back.';
comment on column private.channel_counters.message_count is
'Number of messages that are not deleted. Stored, because counting a million is too slow.';
comment on column private.channel_counters.member_count is 'Number of members. Stored for the list of channels.';
comment on column private.channel_counters.language is
'The text search configuration for its messages; null without one. Triggers keep it (257_search_languages).';
comment on column private.channel_counters.topic_turn is
'How often a member has left. The topic of the sealed channel ends with it (decision 0014).';
comment on column private.channel_counters.sealed_until is
'Until then, a former member may still have an open connection, so channel:<id> carries only pointers.';
comment on column private.channel_counters.sealed_after is 'The last event that channel:<id> carries in full.';
alter table private.channel_counters enable row level security;

create table public.message_events (
    channel_id uuid not null references public.channels (id) on delete cascade,
    workspace_id uuid not null,
    seq bigint not null,
    kind text not null,
    message_id uuid,
    actor_id uuid,
    emoji text,
    created_at timestamptz not null,
    reaction_id uuid,
    added_at timestamptz,
    primary key (channel_id, seq),
    constraint message_events_kind_known check (
        kind in (
            'message.created', 'message.updated', 'message.deleted', 'message.pinned', 'message.unpinned',
            'reaction.added', 'reaction.removed', 'member.joined', 'member.left'
        )
    )
);
comment on table public.message_events is
'Each change of a channel, once, in order and without a gap. It names what changed; the contents stay in their tables.';
comment on column public.message_events.actor_id is
'The user who acted; for member events, the member. Null for a twin, and for service_role without a user_id.';
comment on column public.message_events.reaction_id is 'For reactions: the id of the reaction.';
comment on column public.message_events.added_at is 'For reactions and pins: when it was added.';
-- Tells render_event whether a message was pinned when it was edited, and redaction what was sent about a message.
create index message_events_changes_idx on public.message_events (message_id, seq)
where kind <> 'message.created';
-- For the clean-up. BRIN, because events arrive in order of time.
create index message_events_created_at_idx on public.message_events using brin (created_at);
alter table public.message_events enable row level security;

create policy message_events_select_member on public.message_events
for select to authenticated
using (exists (select from private.my_channels as mine where mine.id = message_events.channel_id offset 0));

-- Definer, because no client writes counters.
create function private.create_channel_counter_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.channel_counters (channel_id, workspace_id) values (new.id, new.workspace_id);
    return null;
end
$$;
comment on function private.create_channel_counter_trigger() is 'Gives a new channel its counter.';

-- Only triggers and functions with the owner's rights call it: clients call lock_my_channel.
create function private.lock_channel(p_channel_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from private.channel_counters as counter where counter.channel_id = p_channel_id for no key update;
end
$$;
comment on function private.lock_channel(uuid) is
'Locks a channel until the transaction ends. Call it before you read a state that decides what you write.';

-- Definer, because no client may lock counters. It locks nothing for a non-member.
create function private.lock_my_channel(p_channel_id uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not private.is_non_member(p_channel_id) then
        perform private.lock_channel(p_channel_id);
    end if;
end
$$;
comment on function private.lock_my_channel(uuid) is 'Locks a channel of the caller until the transaction ends.';

create function private.event_clock() returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return clock_timestamp();
end
$$;
comment on function private.event_clock() is
'The time now, for events. A function of its own, so that a test can set the clock by replacing it.';

create function private.lock_channels(p_channel_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from private.channel_counters as counter
    where counter.channel_id = any(p_channel_ids)
    order by counter.channel_id
    for no key update;
end
$$;
comment on function private.lock_channels(uuid[]) is
'Locks several channels as lock_channel does, in the order of ids, so that two callers cannot deadlock.';

-- Definer, because no client writes events or counters.
create function private.record_event(
    p_channel_id uuid, p_kind text, p_message_id uuid, p_actor_id uuid, p_emoji text, p_messages integer,
    p_reaction_id uuid default null, p_added_at timestamptz default null,
    out seq bigint, out at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid;
begin
    -- Each event is later than the one before, even if the clock goes back: readers find old texts by these times.
    update private.channel_counters as counter
    set
        last_seq = counter.last_seq + 1,
        last_at = greatest(private.event_clock(), counter.last_at + interval '1 microsecond'),
        message_count = counter.message_count + p_messages,
        member_count = counter.member_count
            + case p_kind when 'member.joined' then 1 when 'member.left' then -1 else 0 end
    where counter.channel_id = p_channel_id
    returning counter.last_seq, counter.last_at, counter.workspace_id into seq, at, v_workspace_id;
    if seq is not null then
        insert into public.message_events (
            channel_id, workspace_id, seq, kind, message_id, actor_id, emoji, created_at, reaction_id, added_at
        )
        values (
            p_channel_id, v_workspace_id, record_event.seq, p_kind, p_message_id, p_actor_id, p_emoji,
            record_event.at, p_reaction_id, p_added_at
        );
    elsif exists (select from public.channels as channel where channel.id = p_channel_id) then
        raise object_not_in_prerequisite_state using
            message = 'A trigger of the application changed this channel before it had a counter. '
                'Give that trigger a name that sorts after channels_20_create_counter.';
    end if;
end
$$;
comment on function private.record_event(uuid, text, uuid, uuid, text, integer, uuid, timestamptz) is
'Writes the next event of a channel and returns its number and time. p_messages is added to the message count.
Writes nothing while the channel is being deleted.';

create function private.seal_channel(p_channel_id uuid, p_seq bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The event of the departure itself is sent in full, unless a former member may still listen.
    update private.channel_counters as counter
    set
        topic_turn = counter.topic_turn + 1,
        sealed_after = case when counter.sealed_until > clock_timestamp() then counter.sealed_after else p_seq end,
        sealed_until = clock_timestamp() + make_interval(secs => (select settings.token_seconds from private.settings))
    where counter.channel_id = p_channel_id;
end
$$;
comment on function private.seal_channel(uuid, bigint) is
'Turns the topic of a channel after a member left, because Realtime does not ask again before the token of that member
expires (decision 0014).';
