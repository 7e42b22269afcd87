-- The outbox: the messages, edits and deletions that go to the webhooks of twins. Each twin has one queue per channel.
-- Promise: each message is delivered at least once and in order within its queue, unless the message is deleted, the
-- delivery is dead, or the twin or its webhook goes. A failing delivery delays only its own queue.
-- Writers, replays and workers lock rows in the order that 210_events lists.

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
'The queue of a twin in a channel. A worker takes its lease before it sends, so a queue has one delivery under
way at a time.';
comment on column private.twin_queues.due_at is
'When a worker looks at the queue next: the end of the lease, if a worker has it; null when no delivery is pending.';
comment on column private.twin_queues.user_id is 'The owner of the twin, copied, because owners share the workers.';
comment on column private.twin_queues.slow_until is
'Until then the owner gets one worker, because the webhook answered slowly or not at all.';
comment on column private.twin_queues.lease is
'The token of the worker that has the lease; null when no worker has it.';
create index twin_queues_due_at_idx on private.twin_queues (user_id, due_at) where due_at is not null;
create index twin_queues_slow_until_idx on private.twin_queues (user_id, slow_until) where slow_until is not null;
alter table private.twin_queues enable row level security;

create table public.twin_deliveries (
    id uuid primary key default gen_random_uuid(),
    ai_twin_id uuid not null,
    channel_id uuid not null,
    message_id uuid not null references public.messages (id) on delete cascade,
    seq bigint not null,
    kind text not null default 'message.created',
    state text not null default 'pending',
    attempts integer not null default 0,
    first_attempt_at timestamptz,
    next_attempt_at timestamptz,
    last_status integer,
    last_error text,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint twin_deliveries_once unique (ai_twin_id, channel_id, seq),
    constraint twin_deliveries_queue_fkey foreign key (ai_twin_id, channel_id)
    references private.twin_queues (ai_twin_id, channel_id) on delete cascade,
    constraint twin_deliveries_kind_known check (kind in ('message.created', 'message.updated', 'message.deleted')),
    constraint twin_deliveries_state_known check (state in ('pending', 'delivered', 'dead')),
    constraint twin_deliveries_finished_unless_pending check ((state = 'pending') = (finished_at is null)),
    constraint twin_deliveries_last_error_length check (char_length(last_error) <= 200)
);
comment on table public.twin_deliveries is
'One message, edit or deletion for one twin. Pending until the webhook answers 2xx; dead after the last failed attempt.
Delivered rows are kept for delivery_days, dead rows until they are replayed or the twin leaves.';
comment on column public.twin_deliveries.seq is
'The number of its event in the channel. A queue is sent in this order.';
comment on column public.twin_deliveries.next_attempt_at is 'After a failure, the earliest time of the next attempt.';
comment on column public.twin_deliveries.last_status is
'The last HTTP status of the webhook; null if it did not answer.';
comment on column public.twin_deliveries.last_error is 'The error of the last attempt; null if it succeeded.';
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
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Most channels have no twin, and this check is several times cheaper than the statement below.
    if not exists (select from public.channel_twins as assigned where assigned.channel_id = new.channel_id)
        or new.hops > (select settings.twin_max_hops from private.settings)
    then
        return null;
    end if;
    perform private.queue_deliveries(new, 'message.created', new.seq);
    return null;
end
$$;
comment on function private.queue_deliveries_trigger() is
'Queues a new message for the twins of its channel. Queues nothing if the message has more than twin_max_hops.';

create function private.queue_deliveries(p_message public.messages, p_kind text, p_seq bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- KEY SHARE waits for a transaction that removes a twin or its webhook. Without it, the foreign keys of the new
    -- rows would wait and then fail.
    with recipient as (
        select assigned.ai_twin_id, twin.user_id
        from public.channel_twins as assigned
        inner join public.twin_webhooks as webhook on assigned.ai_twin_id = webhook.ai_twin_id
        inner join public.ai_twins as twin on assigned.ai_twin_id = twin.id
        where assigned.channel_id = p_message.channel_id
            and assigned.ai_twin_id is distinct from p_message.ai_twin_id
            and webhook.unsubscribed_at is null
        order by assigned.ai_twin_id
        for key share of assigned, webhook
    ), woken as (
        insert into private.twin_queues as queue (ai_twin_id, channel_id, user_id, due_at)
        select recipient.ai_twin_id, p_message.channel_id, recipient.user_id, now() from recipient
        on conflict on constraint twin_queues_pkey do update set due_at = excluded.due_at
        where queue.due_at is null
    )

    insert into public.twin_deliveries (ai_twin_id, channel_id, message_id, seq, kind)
    select recipient.ai_twin_id, p_message.channel_id, p_message.id, p_seq, p_kind
    from recipient;
end
$$;
comment on function private.queue_deliveries(public.messages, text, bigint) is
'Queues an event of a message for each twin of its channel that has a webhook, except its author.';

create function private.is_forwarded(p_message public.messages) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_message.hops <= (select settings.twin_max_hops from private.settings)
        and exists (select from public.channel_twins as assigned where assigned.channel_id = p_message.channel_id)
        -- Does not forward edits of twins, because an edit has no hops and twins could answer edits with edits for
        -- ever.
        and (p_message.ai_twin_id is null or p_message.deleted_at is not null);
end
$$;
comment on function private.is_forwarded(public.messages) is
'Whether an edit or a deletion of a message goes to the twins of its channel.';

-- Definer, because no client may lock twins.
create function private.lock_twins_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.is_forwarded(new) then
        -- Also the twins without a webhook: one may get it before the change is queued.
        perform from public.channel_twins as assigned
        where assigned.channel_id = new.channel_id
        order by assigned.ai_twin_id
        for key share;
        perform from public.channel_twins as assigned
        inner join public.twin_webhooks as webhook on assigned.ai_twin_id = webhook.ai_twin_id
        where assigned.channel_id = new.channel_id
        order by assigned.ai_twin_id
        for key share of webhook;
    end if;
    return null;
end
$$;
comment on function private.lock_twins_trigger() is
'Trigger: locks the twins of a channel and their webhooks before the broadcasts of a message that changes. A twin that
leaves locks them in the same order.';

-- Definer, because no client writes to the outbox.
create function private.queue_change_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_event record;
    v_unknowing uuid[];
begin
    select event.kind, event.seq into v_event
    from public.message_events as event
    where event.message_id = new.id
        and event.channel_id = new.channel_id and event.kind in ('message.updated', 'message.deleted')
    order by event.seq desc
    limit 1;
    -- First, because it locks the queues, which come before deliveries in the lock order of 210_events.
    if private.is_forwarded(new) then
        perform private.queue_deliveries(new, v_event.kind, v_event.seq);
    end if;
    if new.deleted_at is not null then
        with cancelled as (
            delete from public.twin_deliveries as delivery
            where delivery.message_id = new.id and delivery.state <> 'delivered' and delivery.seq < v_event.seq
            returning
                delivery.ai_twin_id, delivery.channel_id, delivery.kind, delivery.attempts, delivery.next_attempt_at
        ), woken as (
            -- A retry that will not come does not hold up the queue.
            update private.twin_queues as queue set due_at = now()
            from cancelled
            where queue.ai_twin_id = cancelled.ai_twin_id and queue.channel_id = cancelled.channel_id
                and queue.due_at = cancelled.next_attempt_at
        )

        select array_agg(cancelled.ai_twin_id) into v_unknowing
        from cancelled
        where cancelled.kind = 'message.created' and cancelled.attempts = 0;
    else
        v_unknowing := array(
            select delivery.ai_twin_id
            from public.twin_deliveries as delivery
            where delivery.message_id = new.id and delivery.kind = 'message.created'
                and delivery.state = 'pending' and delivery.attempts = 0
        );
    end if;
    -- Skips twins that have not received the message: its pending delivery has the new text, or is deleted.
    delete from public.twin_deliveries as delivery
    where delivery.message_id = new.id and delivery.seq = v_event.seq and delivery.ai_twin_id = any(v_unknowing);
    return null;
end
$$;
comment on function private.queue_change_trigger() is
'Queues an edit or a deletion of a message for the twins of its channel that may have received it. Removes the pending
and dead deliveries of a deleted message.';

create function public.list_twin_deliveries(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
    v_state text := private.parse_text($1, 'state', 20, 'all');
    v_limit integer := private.parse_integer($1, 'limit', 1, 200, 50);
begin
    if v_state not in ('all', 'pending', 'delivered', 'dead') then
        perform private.fail(400, 'invalid_field', 'state must be all, pending, delivered or dead.', 'state');
    end if;
    return private.succeed((
        select coalesce(jsonb_agg(jsonb_build_object(
            'id', found.id,
            'channel_id', found.channel_id,
            'message_id', found.message_id,
            'seq', found.seq,
            'kind', found.kind,
            'state', found.state,
            'attempts', found.attempts,
            'next_attempt_at', private.format_time(found.next_attempt_at),
            'last_status', found.last_status,
            'last_error', found.last_error,
            'created_at', private.format_time(found.created_at),
            'finished_at', private.format_time(found.finished_at)
        ) order by found.created_at desc, found.channel_id, found.seq desc), '[]')
        from (
            select newest.*
            from unnest(
                case v_state when 'all' then '{pending,delivered,dead}'::text[] else array[v_state] end
            ) as wanted (state)
            -- Reads each state from the newest on, by twin_deliveries_newest_idx.
            cross join lateral (
                select delivery.*
                from public.twin_deliveries as delivery
                where delivery.ai_twin_id = v_twin_id and delivery.state = wanted.state
                order by delivery.created_at desc, delivery.channel_id, delivery.seq desc
                limit v_limit
            ) as newest
            order by newest.created_at desc, newest.channel_id, newest.seq desc
            limit v_limit
        ) as found
    ));
end
$$;
comment on function public.list_twin_deliveries(jsonb) is
'Lists the deliveries to a twin of the caller, newest first: ai_twin_id, state (pending, delivered, dead; default all),
limit (1 to 200, default 50).';

-- Definer, because no client writes to the outbox. It checks that the twin is the caller's.
create function private.replay_twin_deliveries(p_twin_id uuid, p_id uuid) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_replayed bigint;
begin
    if not exists (
        select from public.ai_twins as twin
        where twin.id = p_twin_id and (twin.user_id = (select auth.uid()) or (select private.is_service()))
    ) then
        perform private.fail(
            404, 'twin_not_found', 'This twin does not exist or is not yours. Check ai_twin_id.', 'ai_twin_id'
        );
    end if;
    -- Queues before deliveries: see the lock order in 210_events.
    perform from private.twin_queues as queue
    where queue.ai_twin_id = p_twin_id
    order by queue.channel_id
    for update;
    update public.twin_deliveries as delivery
    set state = 'pending', attempts = 0, first_attempt_at = null, finished_at = null
    where delivery.ai_twin_id = p_twin_id and delivery.state = 'dead' and delivery.id = coalesce(p_id, delivery.id)
        -- A webhook that answered 410 gets nothing until its owner sets it again.
        and exists (
            select from public.twin_webhooks as webhook
            where webhook.ai_twin_id = p_twin_id and webhook.unsubscribed_at is null
        );
    get diagnostics v_replayed = row_count;
    update private.twin_queues as queue
    set due_at = coalesce((
        -- A delivery that failed keeps the time of its next attempt.
        select first.next_attempt_at
        from public.twin_deliveries as first
        where first.ai_twin_id = queue.ai_twin_id
            and first.channel_id = queue.channel_id and first.state = 'pending'
        order by first.seq
        limit 1
    ), now())
    where queue.ai_twin_id = p_twin_id
        and queue.lease is null
        and exists (
            select from public.twin_deliveries as pending
            where pending.ai_twin_id = queue.ai_twin_id
                and pending.channel_id = queue.channel_id and pending.state = 'pending' and pending.attempts = 0
        );
    return v_replayed;
end
$$;
comment on function private.replay_twin_deliveries(uuid, uuid) is
'Makes dead deliveries of the caller''s twin pending again: the one with p_id, or all if it is null. Returns how many:
none while the webhook is unsubscribed. PT404 for other callers.';

create function public.replay_twin_deliveries(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(jsonb_build_object('replayed', private.replay_twin_deliveries(
        private.parse_uuid($1, 'ai_twin_id'), private.parse_uuid($1, 'id', false)
    )));
end
$$;
comment on function public.replay_twin_deliveries(jsonb) is
'Sends the dead deliveries to a twin of the caller again, with all attempts: ai_twin_id, and id for only one of them.';
