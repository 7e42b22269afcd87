-- The outbox: which message goes to which twin, in order, at least once.

create table private.twin_queues (
    ai_twin_id uuid not null references public.twin_webhooks (ai_twin_id) on delete cascade,
    channel_id uuid not null,
    user_id uuid not null,
    due_at timestamptz,
    lease uuid,
    leased_at timestamptz,
    slow_until timestamptz,
    primary key (ai_twin_id, channel_id),
    constraint twin_queues_assignment_fkey foreign key (channel_id, ai_twin_id)
    references public.channel_twins (channel_id, ai_twin_id) on delete cascade,
    constraint twin_queues_lease_unique unique (lease)
);
comment on table private.twin_queues is
'A queue for each twin and channel. A worker locks its row first, so one delivery of it is under way at a
time, and one that fails holds up those behind it and no others.';
comment on column private.twin_queues.due_at is
'When to look at it next: the end of the lease while a worker has it; null when no delivery waits.';
comment on column private.twin_queues.user_id is 'The owner of the twin, copied, because owners share the workers.';
comment on column private.twin_queues.slow_until is
'Until then the owner gets fewer workers, because the webhook answered slowly or not at all.';
comment on column private.twin_queues.lease is
'The token of the worker that has the queue; null when no worker has it.';
create index twin_queues_due_at_idx on private.twin_queues (user_id, due_at) where due_at is not null;
create index twin_queues_slow_until_idx on private.twin_queues (user_id, slow_until) where slow_until is not null;
alter table private.twin_queues enable row level security;

create table public.twin_deliveries (
    id uuid primary key default gen_random_uuid(),
    ai_twin_id uuid not null,
    channel_id uuid not null,
    message_id uuid not null references public.messages (id) on delete cascade,
    seq bigint not null,
    state text not null default 'pending',
    attempts integer not null default 0,
    next_attempt_at timestamptz,
    last_status integer,
    last_error text,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint twin_deliveries_once unique (ai_twin_id, channel_id, seq),
    constraint twin_deliveries_queue_fkey foreign key (ai_twin_id, channel_id)
    references private.twin_queues (ai_twin_id, channel_id) on delete cascade,
    constraint twin_deliveries_state_known check (state in ('pending', 'delivered', 'dead')),
    constraint twin_deliveries_finished_unless_pending check ((state = 'pending') = (finished_at is null)),
    constraint twin_deliveries_last_error_length check (char_length(last_error) <= 200)
);
comment on table public.twin_deliveries is
'What goes to which twin. Pending until its webhook has answered 2xx, dead when it would not; kept a week afterwards,
dead ones until they are replayed or the twin leaves.';
comment on column public.twin_deliveries.seq is 'The message''s place in the channel, in which order it is delivered.';
comment on column public.twin_deliveries.next_attempt_at is 'After a failure, when it is tried again at the earliest.';
comment on column public.twin_deliveries.last_status is 'What the webhook answered last; null when it did not answer.';
comment on column public.twin_deliveries.last_error is 'What was wrong with the last attempt.';
create index twin_deliveries_message_id_idx on public.twin_deliveries (message_id);
create index twin_deliveries_pending_idx on public.twin_deliveries (ai_twin_id, channel_id, seq)
where state = 'pending';
-- For list_twin_deliveries.
create index twin_deliveries_newest_idx on public.twin_deliveries (ai_twin_id, state, created_at);
create index twin_deliveries_dead_idx on public.twin_deliveries (ai_twin_id) where state = 'dead';
create index twin_deliveries_delivered_idx on public.twin_deliveries (finished_at) where state = 'delivered';
alter table public.twin_deliveries enable row level security;

create policy twin_deliveries_select_owner on public.twin_deliveries
for select to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));

-- Definer, because no client writes to the outbox.
create function private.queue_deliveries_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Most channels have no twin; all else here costs several times as much as this look.
    if not exists (select from public.channel_twins as assigned where assigned.channel_id = new.channel_id)
        or new.hops > (select settings.twin_max_hops from private.settings)
    then
        return null;
    end if;
    -- The locks wait for a twin that is just leaving: its row would be gone when the foreign keys look for it.
    with hearing as (
        select assigned.ai_twin_id, twin.user_id
        from public.channel_twins as assigned
        inner join public.twin_webhooks as webhook on assigned.ai_twin_id = webhook.ai_twin_id
        inner join public.ai_twins as twin on assigned.ai_twin_id = twin.id
        where assigned.channel_id = new.channel_id and assigned.ai_twin_id is distinct from new.ai_twin_id
        order by assigned.ai_twin_id
        for key share of assigned, webhook
    ), woken as (
        insert into private.twin_queues as queue (ai_twin_id, channel_id, user_id, due_at)
        select hearing.ai_twin_id, new.channel_id, hearing.user_id, now() from hearing
        on conflict on constraint twin_queues_pkey do update set due_at = excluded.due_at
        where queue.due_at is null
    )

    insert into public.twin_deliveries (ai_twin_id, channel_id, message_id, seq)
    select hearing.ai_twin_id, new.channel_id, new.id, new.seq
    from hearing;
    return null;
end
$$;
comment on function private.queue_deliveries_trigger() is
'Trigger: a message is to be delivered to the twins of its channel that have a webhook, but not to its author, nor when
twins have been talking among themselves for too long.';

-- Definer, because no client writes to the outbox.
create function private.cancel_deliveries_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    delete from public.twin_deliveries as delivery where delivery.message_id = new.id and delivery.state <> 'delivered';
    return null;
end
$$;
comment on function private.cancel_deliveries_trigger() is 'Trigger: what is deleted is not delivered any more.';

create function public.list_twin_deliveries(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
    v_state text := private.parse_text($1, 'state', 20, 'dead');
    v_limit integer := private.parse_integer($1, 'limit', 1, 200, 50);
begin
    if v_state not in ('pending', 'delivered', 'dead') then
        perform private.fail(400, 'invalid_field', 'state must be pending, delivered or dead.', 'state');
    end if;
    return private.succeed((
        select coalesce(jsonb_agg(jsonb_build_object(
            'id', found.id,
            'channel_id', found.channel_id,
            'message_id', found.message_id,
            'seq', found.seq,
            'state', found.state,
            'attempts', found.attempts,
            'next_attempt_at', private.format_time(found.next_attempt_at),
            'last_status', found.last_status,
            'last_error', found.last_error,
            'created_at', private.format_time(found.created_at),
            'finished_at', private.format_time(found.finished_at)
        ) order by found.created_at desc, found.channel_id, found.seq desc), '[]')
        from (
            select delivery.*
            from public.twin_deliveries as delivery
            where delivery.ai_twin_id = v_twin_id and delivery.state = v_state
            order by delivery.created_at desc, delivery.channel_id, delivery.seq desc
            limit v_limit
        ) as found
    ));
end
$$;
comment on function public.list_twin_deliveries(jsonb) is
'Deliveries to a twin of the caller, the newest first: ai_twin_id, and optionally state (dead) and limit (50, at most
200).';

-- Definer, because no client writes to the outbox. It asks itself whose twin it is.
create function private.replay_twin_deliveries(p_twin_id uuid, p_id uuid) returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_revived bigint;
begin
    if not exists (
        select from public.ai_twins as twin
        where twin.id = p_twin_id and (twin.user_id = (select auth.uid()) or (select private.is_service()))
    ) then
        perform private.fail(404, 'twin_not_found', 'You have no such twin.', 'ai_twin_id');
    end if;
    -- As a worker does: queues first, then what is in them.
    perform from private.twin_queues as queue
    where queue.ai_twin_id = p_twin_id
    order by queue.channel_id
    for update;
    update public.twin_deliveries as delivery
    set state = 'pending', attempts = 0, finished_at = null
    where delivery.ai_twin_id = p_twin_id and delivery.state = 'dead' and delivery.id = coalesce(p_id, delivery.id);
    get diagnostics v_revived = row_count;
    update private.twin_queues as queue set due_at = now()
    where queue.ai_twin_id = p_twin_id
        and queue.lease is null
        and exists (
            select from public.twin_deliveries as pending
            where pending.ai_twin_id = queue.ai_twin_id
                and pending.channel_id = queue.channel_id and pending.state = 'pending' and pending.attempts = 0
        );
    return v_revived;
end
$$;
comment on function private.replay_twin_deliveries(uuid, uuid) is
'Makes dead deliveries of the caller''s twin pending again, one or all, and answers how many. PT404 for anyone else.';

create function public.replay_twin_deliveries(jsonb) returns json
language plpgsql
set search_path = ''
as $$
begin
    return private.succeed(jsonb_build_object('replayed', private.replay_twin_deliveries(
        private.parse_uuid($1, 'ai_twin_id'), private.parse_uuid($1, 'id', false)
    )));
end
$$;
comment on function public.replay_twin_deliveries(jsonb) is
'Delivers dead deliveries to a twin of the caller anew, as from the beginning: ai_twin_id, and id for only one.';
