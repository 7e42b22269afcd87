-- The delivery worker: it leases the next delivery of each queue, posts it to the webhook, and reports the result.
-- Promise: one worker at a time has the lease of a queue. If it dies, the lease expires and another worker sends the
-- delivery again.
-- Workers lock rows in the order that 210_events lists.

create function private.render_delivery(p_delivery public.twin_deliveries, p_lease uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_time text := floor(extract(epoch from now()))::text;
    v_body text;
begin
    begin
        v_body := (
            select (
                case p_delivery.kind
                    when 'message.deleted' then jsonb_build_object(
                        'id', message.id,
                        'channel_id', message.channel_id,
                        'deleted_at', private.format_time(message.deleted_at)
                    )
                    else private.render_message(message)
                        || private.render_author(message.user_id, message.ai_twin_id)
                end
                || jsonb_build_object('seq', p_delivery.seq, 'event', p_delivery.kind)
            )::text
            from public.messages as message
            where message.id = p_delivery.message_id
        );
    exception
        when others then
            if not private.is_about_data(sqlstate) then
                raise;
            end if;
            -- One message must not stop the deliveries of all twins. The twin can read it by its id.
            raise warning 'Message % cannot be rendered (SQLSTATE %).', p_delivery.message_id, sqlstate;
            v_body := jsonb_build_object(
                'id', p_delivery.message_id, 'channel_id', p_delivery.channel_id,
                'seq', p_delivery.seq, 'event', p_delivery.kind
            )::text;
    end;
    return jsonb_build_object(
        'id', p_delivery.id,
        'lease', p_lease,
        'url', (select hook.url from public.twin_webhooks as hook where hook.ai_twin_id = p_delivery.ai_twin_id),
        'headers', jsonb_build_object(
            'content-type', 'application/json',
            'threadline-delivery', p_delivery.id,
            'threadline-twin', p_delivery.ai_twin_id,
            'threadline-event', p_delivery.kind,
            'threadline-signature',
            't=' || v_time || ',' || private.sign_delivery(p_delivery.ai_twin_id, v_time || '.' || v_body)
        ),
        'body', v_body
    );
end
$$;
comment on function private.render_delivery(public.twin_deliveries, uuid) is
'Renders a delivery as a signed HTTP request with the current text of the message, or with the deletion; with the ids
alone if the message cannot be rendered.';

create function private.list_due_queues(p_limit integer) returns table (ai_twin_id uuid, channel_id uuid)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    -- The owners with queues that wait, one index probe for each, however many queues an owner has.
    return query
    with recursive owner as (
        (
            select queue.user_id from private.twin_queues as queue
            where queue.due_at is not null
            order by queue.user_id
            limit 1
        )
        union all
        select (
            select queue.user_id from private.twin_queues as queue
            where queue.due_at is not null and queue.user_id > owner.user_id
            order by queue.user_id
            limit 1
        )
        from owner
        where owner.user_id is not null
    ), share as (
        select
            owner.user_id,
            case
                when exists (
                    select from private.twin_queues as slow
                    where slow.user_id = owner.user_id and slow.slow_until > now()
                ) then 1
                else (select settings.user_max_deliveries from private.settings)
            end as most,
            (
                select count(*) from private.twin_queues as busy
                where busy.user_id = owner.user_id and busy.due_at > now() and busy.lease is not null
            ) as busy
        from owner
        where owner.user_id is not null
    )

    select due.ai_twin_id, due.channel_id
    from share
    cross join lateral (
        select queue.ai_twin_id, queue.channel_id, queue.due_at, row_number() over (order by queue.due_at) as place
        from private.twin_queues as queue
        where queue.user_id = share.user_id and queue.due_at <= now()
        order by queue.due_at
        limit greatest(0, share.most - share.busy)
    ) as due
    order by share.busy + due.place, due.due_at
    limit p_limit;
end
$$;
comment on function private.list_due_queues(integer) is
'The queues that are due, in turns: first one of each owner, then the second of each. An owner has at most
user_max_deliveries under way, and one after a slow answer. Workers that ask at the same moment may go above it.';

-- Definer, because no role may read queues and secrets. Custom plans, because the queues are empty when a session makes
-- its first plan (decision 0003).
create function private.claim_deliveries(p_limit integer, p_lease interval) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_due private.twin_queues[] := array(
        select queue
        from private.twin_queues as queue
        inner join private.list_due_queues(p_limit) as due using (ai_twin_id, channel_id)
        where queue.due_at <= now()
        for update of queue skip locked
    );
    v_deliveries jsonb;
begin
    -- A statement of its own, after the one that locks the queues: it sees all deliveries that were committed before
    -- the lock. It updates each queue once: a second update would check the foreign key again, and wait for a
    -- transaction that removes the webhook.
    with candidate as materialized (
        select due.ai_twin_id, due.channel_id, pending.id, gen_random_uuid() as lease
        from unnest(v_due) as due
        left join lateral (
            select delivery.id
            from public.twin_deliveries as delivery
            where delivery.ai_twin_id = due.ai_twin_id
                and delivery.channel_id = due.channel_id
                and delivery.state = 'pending'
            order by delivery.seq
            limit 1
        ) as pending on true
    ), held as materialized (
        -- SKIP LOCKED skips a delivery that another transaction is deleting; the next round takes it if it is still
        -- there. Waiting could deadlock, because the other transaction may need the queue next.
        select delivery.id
        from public.twin_deliveries as delivery
        where delivery.id in (select candidate.id from candidate)
        for update skip locked
    ), leased as (
        update private.twin_queues as queue
        set lease = case when candidate.id is not null then candidate.lease end,
            leased_at = case when candidate.id is not null then now() end,
            due_at = case when candidate.id is not null then now() + p_lease end
        from candidate
        where queue.ai_twin_id = candidate.ai_twin_id and queue.channel_id = candidate.channel_id
            and (candidate.id is null or candidate.id in (select held.id from held))
    ), attempted as (
        update public.twin_deliveries as delivery
        set
            attempts = delivery.attempts + 1,
            first_attempt_at = coalesce(delivery.first_attempt_at, now()),
            next_attempt_at = null
        from candidate
        where delivery.id = candidate.id and candidate.id in (select held.id from held)
        returning delivery, candidate.lease
    )

    select coalesce(jsonb_agg(private.render_delivery(attempted.delivery, attempted.lease)), '[]') into v_deliveries
    from attempted;
    return v_deliveries;
end
$$;
comment on function private.claim_deliveries(integer, interval) is
'Leases the first delivery of at most p_limit due queues, and returns them as signed requests. No other worker gets them
until the lease ends.';

create function public.claim_deliveries(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.claim_deliveries(
        private.parse_integer($1, 'limit', 1, 1000, 10),
        make_interval(secs => private.parse_integer($1, 'lease_seconds', 1, 3600, 60))
    ));
end
$$;
comment on function public.claim_deliveries(jsonb) is
'For workers: leases deliveries and returns id, lease, url, headers and body of each. Takes limit (default 10) and
lease_seconds (default 60). A queue gives one delivery at a time. If the lease ends before finish_delivery, a
worker gets the delivery again.';

create function private.retry_delay(p_attempts integer) returns interval
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Random, up to half shorter, so that deliveries that failed together are not all retried at the same time.
    return (
        select make_interval(
            secs => least(3600, settings.twin_retry_seconds * power(4, least(p_attempts, 10) - 1)) * (1 - random() / 2)
        )
        from private.settings as settings
    );
end
$$;
comment on function private.retry_delay(integer) is
'The wait after p_attempts failures: four times as long after each, at most an hour.';

create function private.hold_time(p_status integer) returns interval
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- An outage would fail the next delivery too, so it may hold up the queue for longer than a message that the
    -- webhook refuses.
    return (
        select make_interval(secs => settings.twin_skip_seconds)
            * case when p_status is null or p_status in (408, 429, 502, 503, 504) then 6 else 1 end
        from private.settings as settings
    );
end
$$;
comment on function private.hold_time(integer) is
'How long after its first attempt a failing delivery may hold up its queue, by the last status of the webhook.';

create function private.unsubscribe_twin(p_id uuid, p_lease uuid) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid;
begin
    -- In the lock order of 210_events: the webhook, its queues, their deliveries.
    update public.twin_webhooks as webhook set unsubscribed_at = now()
    from private.twin_queues as leased
    where leased.lease = p_lease and webhook.ai_twin_id = leased.ai_twin_id
        -- A webhook that was set meanwhile did not give this answer.
        and webhook.updated_at <= leased.leased_at
    returning webhook.ai_twin_id into v_twin_id;
    if v_twin_id is null then
        return null;
    end if;
    perform from private.twin_queues as queue
    where queue.ai_twin_id = v_twin_id
    order by queue.channel_id
    for update;
    update public.twin_deliveries as delivery
    set
        state = 'dead',
        last_status = case when delivery.id = p_id then 410 else delivery.last_status end,
        last_error = 'The webhook answered 410: it is unsubscribed.',
        next_attempt_at = null,
        finished_at = now()
    where delivery.ai_twin_id = v_twin_id and delivery.state = 'pending';
    update private.twin_queues as queue set lease = null, due_at = null where queue.ai_twin_id = v_twin_id;
    return 'dead';
end
$$;
comment on function private.unsubscribe_twin(uuid, uuid) is
'Stops the deliveries to a twin whose webhook answered 410 Gone; its pending ones are dead. Returns the new state of the
delivery, or null if the lease has passed to another worker or the owner has set the webhook meanwhile.';

-- Definer, because no client writes to the outbox.
create function private.finish_delivery(p_id uuid, p_lease uuid, p_status integer, p_error text) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_queue private.twin_queues;
    v_delivery public.twin_deliveries;
begin
    if p_status = 410 then
        if private.unsubscribe_twin(p_id, p_lease) = 'dead' then
            return 'dead';
        end if;
    end if;
    select * into v_queue from private.twin_queues as queue where queue.lease = p_lease for update;
    if v_queue.lease is null then
        return null;
    end if;
    update public.twin_deliveries as delivery
    set
        state = outcome.state,
        last_status = p_status,
        last_error = left(p_error, 200),
        next_attempt_at = case when outcome.state = 'pending' then least(
            now() + private.retry_delay(delivery.attempts), delivery.first_attempt_at + private.hold_time(p_status)
        ) end,
        finished_at = case when outcome.state <> 'pending' then now() end
    from public.twin_deliveries as attempt
    cross join private.settings as settings
    cross join lateral (
        select case
            when p_error is null then 'delivered'
            when attempt.attempts >= settings.twin_max_attempts
                or now() - attempt.first_attempt_at >= private.hold_time(p_status)
                then 'dead'
            else 'pending'
        end as state
    ) as outcome
    where delivery.id = p_id and attempt.id = delivery.id and delivery.state = 'pending'
        and delivery.ai_twin_id = v_queue.ai_twin_id and delivery.channel_id = v_queue.channel_id
    returning delivery.* into v_delivery;
    update private.twin_queues as queue
    set
        lease = null,
        slow_until = case
            when clock_timestamp() - queue.leased_at > interval '2 seconds' then now() + interval '1 minute'
            else queue.slow_until
        end,
        due_at = coalesce(v_delivery.next_attempt_at, (
        select now()
        from public.twin_deliveries as pending
        where pending.ai_twin_id = queue.ai_twin_id
            and pending.channel_id = queue.channel_id and pending.state = 'pending'
        -- ORDER BY keeps the planner on twin_deliveries_pending_idx. With LIMIT 1 alone, it expects to find a row early
        -- in a sequential scan; if the queue is empty, that scan reads every delivery.
        order by pending.seq
        limit 1
    ))
    where queue.lease = p_lease;
    return v_delivery.state;
end
$$;
comment on function private.finish_delivery(uuid, uuid, integer, text) is
'Ends an attempt and returns the new state: delivered if p_error is null, dead after the last attempt or the longest
hold, else pending. Returns null if the lease has passed to another worker or the message was deleted.';

create function public.finish_delivery(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'id');
begin
    return private.succeed(jsonb_build_object(
        'id', v_id,
        'state', private.finish_delivery(
            v_id,
            private.parse_uuid($1, 'lease'),
            private.parse_integer($1, 'status', 100, 999, null),
            private.scalar_text($1, 'error')
        )
    ));
end
$$;
comment on function public.finish_delivery(jsonb) is
'For workers: stores the result of a delivery: id, lease, status (the answer of the webhook), error (null if it
succeeded). Returns its state, or null if the lease has passed to another worker. A repeated call changes nothing.';
