-- Forwarding: what is said in a channel goes to the webhooks of its twins, at least once and in order.
-- An outbox: the message and the rows that tell of it are written in one transaction, a worker takes it from there.

create table public.twin_webhooks (
    ai_twin_id uuid primary key references public.ai_twins (id) on delete cascade,
    url text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- No credentials, no fragment, nothing to encode. Where it leads to is checked when the worker connects.
    constraint twin_webhooks_url_form check (
        url ~ '^https?://([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?([/?][!"$-~]*)?$'
    ),
    constraint twin_webhooks_url_length check (char_length(url) <= 2000)
);
comment on table public.twin_webhooks is
'Where a twin is told what is said in its channels. A twin without one listens to Realtime instead.';

create table private.twin_secrets (
    id uuid primary key default gen_random_uuid(),
    ai_twin_id uuid not null references public.twin_webhooks (ai_twin_id) on delete cascade,
    inner_key bytea not null,
    outer_key bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    constraint twin_secrets_keys_are_blocks check (octet_length(inner_key) = 64 and octet_length(outer_key) = 64)
);
comment on table private.twin_secrets is
'What deliveries are signed with. Unlike a key that only opens, one that signs cannot be kept as a hash; it is kept as
the two blocks that HMAC makes of it, and never leaves the database (docs/decisions/0004).';
comment on column private.twin_secrets.expires_at is 'Nothing is signed with it from this moment on; null means never.';
create index twin_secrets_ai_twin_id_idx on private.twin_secrets (ai_twin_id);

create table private.twin_queues (
    ai_twin_id uuid not null references public.twin_webhooks (ai_twin_id) on delete cascade,
    channel_id uuid not null,
    due_at timestamptz,
    lease uuid,
    primary key (ai_twin_id, channel_id),
    constraint twin_queues_assignment_fkey foreign key (channel_id, ai_twin_id)
    references public.channel_twins (channel_id, ai_twin_id) on delete cascade,
    constraint twin_queues_lease_unique unique (lease)
);
comment on table private.twin_queues is
'A queue for each twin and channel. Whoever works on one locks its row first: so one delivery of it is under way at a
time, and one that fails holds up those behind it and no others.';
comment on column private.twin_queues.due_at is
'When to look at it next: the end of the lease while somebody works on it; null when nothing waits.';
comment on column private.twin_queues.lease is 'Proves to the database who works on it; null when nobody does.';
create index twin_queues_due_at_idx on private.twin_queues (due_at) where due_at is not null;

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

alter table public.messages add column hops integer not null default 0;
comment on column public.messages.hops is
'How many turns of twins lie between this message and what a person said last; 0 when a person says it.';

alter table public.twin_webhooks enable row level security;
revoke all on public.twin_webhooks from public, anon, authenticated, service_role;
grant select, delete on public.twin_webhooks to authenticated, service_role;

create policy twin_webhooks_select_owner on public.twin_webhooks
for select to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));
create policy twin_webhooks_delete_owner on public.twin_webhooks
for delete to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));

alter table private.twin_secrets enable row level security;
revoke all on private.twin_secrets from public, anon, authenticated, service_role;

alter table private.twin_queues enable row level security;
revoke all on private.twin_queues from public, anon, authenticated, service_role;

alter table public.twin_deliveries enable row level security;
revoke all on public.twin_deliveries from public, anon, authenticated, service_role;
grant select on public.twin_deliveries to authenticated, service_role;

create policy twin_deliveries_select_owner on public.twin_deliveries
for select to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));

create trigger twin_webhooks_before_update_stamp before update on public.twin_webhooks
for each row execute function private.set_updated_at();

-- Definer, because it looks at messages whether or not the writer may see them.
create function private.count_hops() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- A twin takes its turn after what was said last, in the channel and in the thread. Which of the two it answers
    -- nobody knows, so the longer chain counts: else two twins that both reply to the head of a thread, or one in the
    -- thread and one outside of it, would talk for ever. Two messages of one twin in a row are one turn.
    select max(previous.hops + case when previous.ai_twin_id = new.ai_twin_id then 0 else 1 end) into new.hops
    from (
        (
            select said.ai_twin_id, said.hops
            from public.messages as said
            where said.channel_id = new.channel_id
            order by said.seq desc
            limit 1
        )
        union all
        (
            select thread.ai_twin_id, thread.hops
            from (
                select head.ai_twin_id, head.hops, head.seq
                from public.messages as head
                where head.id = new.parent_message_id
                union all
                (
                    select reply.ai_twin_id, reply.hops, reply.seq
                    from public.messages as reply
                    where reply.parent_message_id = new.parent_message_id
                    order by reply.seq desc
                    limit 1
                )
            ) as thread
            order by thread.seq desc
            limit 1
        )
    ) as previous;
    new.hops := coalesce(new.hops, 1);
    return new;
end
$$;
comment on function private.count_hops() is 'Trigger: counts the turns of twins since a person spoke.';
revoke all on function private.count_hops() from public, anon, authenticated, service_role;

-- After the trigger that admits the message, in whose lock the last message is the last one.
create trigger messages_before_insert_count_hops before insert on public.messages
for each row when (new.ai_twin_id is not null) execute function private.count_hops();

-- Definer, because no client writes to the outbox.
create function private.forward_message() returns trigger
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
        select assigned.ai_twin_id
        from public.channel_twins as assigned
        inner join public.twin_webhooks as webhook on assigned.ai_twin_id = webhook.ai_twin_id
        where assigned.channel_id = new.channel_id and assigned.ai_twin_id is distinct from new.ai_twin_id
        order by assigned.ai_twin_id
        for key share of assigned, webhook
    ), woken as (
        insert into private.twin_queues as queue (ai_twin_id, channel_id, due_at)
        select hearing.ai_twin_id, new.channel_id, now() from hearing
        on conflict on constraint twin_queues_pkey do update set due_at = excluded.due_at
        where queue.due_at is null
    )

    insert into public.twin_deliveries (ai_twin_id, channel_id, message_id, seq)
    select hearing.ai_twin_id, new.channel_id, new.id, new.seq
    from hearing;
    return null;
end
$$;
comment on function private.forward_message() is
'Trigger: a message is to be delivered to the twins of its channel that have a webhook, but not to its author, nor when
twins have been talking among themselves for too long.';
revoke all on function private.forward_message() from public, anon, authenticated, service_role;

create trigger messages_after_insert_forward after insert on public.messages
for each row execute function private.forward_message();

-- Definer, because no client writes to the outbox.
create function private.recall_message() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    delete from public.twin_deliveries as delivery where delivery.message_id = new.id and delivery.state <> 'delivered';
    return null;
end
$$;
comment on function private.recall_message() is 'Trigger: what is deleted is not delivered any more.';
revoke all on function private.recall_message() from public, anon, authenticated, service_role;

create trigger messages_after_update_recall after update of deleted_at on public.messages
for each row when (new.deleted_at is not null) execute function private.recall_message();

-- Definer, because whoever removes a member need not own the twins.
create function private.dismiss_twins() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- As whoever writes a message does: the channel first, then its twins.
    perform private.lock_channel(old.channel_id);
    delete from public.channel_twins as assigned
    where assigned.channel_id = old.channel_id
        and assigned.ai_twin_id in (select twin.id from public.ai_twins as twin where twin.user_id = old.user_id);
    return null;
end
$$;
comment on function private.dismiss_twins() is
'Trigger: with a member go their twins, and what was still to be delivered to them.';
revoke all on function private.dismiss_twins() from public, anon, authenticated, service_role;

create trigger channel_members_after_delete_dismiss after delete on public.channel_members
for each row execute function private.dismiss_twins();
create trigger channel_members_after_update_dismiss after update on public.channel_members
for each row when ((old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id))
execute function private.dismiss_twins();

-- Definer, because no client may lock a channel, and it counts twins whether or not the caller may see them.
create function private.admit_twin() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if not private.is_stranger(new.channel_id) then
        perform private.lock_channel(new.channel_id);
    end if;
    -- Asked again under the lock. The policy knows only who was a member when the statement began, and whoever is put
    -- out at this moment would leave a twin behind that goes on listening.
    if private.is_stranger(new.channel_id) then
        raise insufficient_privilege using message = 'Only members of a channel bring their twins.';
    elsif (
        select count(*) from public.channel_twins as assigned where assigned.channel_id = new.channel_id
    ) >= (select settings.channel_max_twins from private.settings) then
        raise sqlstate 'PT409' using
            message = 'As many twins take part in this channel as may.', detail = 'too_many_twins';
    end if;
    return new;
end
$$;
comment on function private.admit_twin() is
'Trigger: twins come with members, and no more of them than can be told of every message.';
revoke all on function private.admit_twin() from public, anon, authenticated, service_role;

create trigger channel_twins_before_insert_admit before insert on public.channel_twins
for each row execute function private.admit_twin();

create function private.hmac_block(p_key bytea, p_mask integer) returns bytea
language sql
immutable
set search_path = ''
as $$
    select string_agg(set_byte('\x00', 0, p_mask # case
        when place < octet_length(p_key) then get_byte(p_key, place) else 0
    end), ''::bytea order by place)
    from generate_series(0, 63) as place
$$;
comment on function private.hmac_block(bytea, integer) is
'A key of at most 64 bytes, filled up and masked as RFC 2104 has it. Not every Postgres has an hmac of its own.';
revoke all on function private.hmac_block(bytea, integer) from public, anon, authenticated, service_role;

create function private.sign(p_twin_id uuid, p_text text) returns text
language sql
stable
set search_path = ''
as $$
    select string_agg(
        'v1=' || encode(sha256(secret.outer_key || sha256(secret.inner_key || convert_to(p_text, 'UTF8'))), 'hex'),
        ',' order by secret.created_at desc, secret.id
    )
    from private.twin_secrets as secret
    where secret.ai_twin_id = p_twin_id and (secret.expires_at is null or secret.expires_at > now())
$$;
comment on function private.sign(uuid, text) is
'HMAC-SHA256 of a text with each secret of a twin that is good now, the newest first.';
revoke all on function private.sign(uuid, text) from public, anon, authenticated, service_role;

-- Definer, because no client role may touch the secrets: it asks itself whose twin it is.
create function private.issue_twin_secret(p_twin_id uuid, p_overlap interval) returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_secret text := private.generate_secret();
begin
    perform from public.twin_webhooks as webhook
    inner join public.ai_twins as twin on webhook.ai_twin_id = twin.id
    where webhook.ai_twin_id = p_twin_id
        and (twin.user_id = (select auth.uid()) or (select auth.role()) = 'service_role')
    for no key update of webhook;
    if not found then
        perform private.fail(404, 'webhook_not_found', 'You have no such twin, or it has no webhook.', 'ai_twin_id');
    end if;
    -- Every delivery is signed with all that are left, and each owner's deliveries are made by the same worker.
    delete from private.twin_secrets as secret
    where secret.id in (
        select old.id
        from private.twin_secrets as old
        where old.ai_twin_id = p_twin_id
        order by old.created_at desc, old.id
        offset 4
    );
    update private.twin_secrets as secret
    set expires_at = least(secret.expires_at, now() + p_overlap)
    where secret.ai_twin_id = p_twin_id;
    insert into private.twin_secrets (ai_twin_id, inner_key, outer_key)
    values (
        p_twin_id,
        private.hmac_block(convert_to(v_secret, 'UTF8'), 54),
        private.hmac_block(convert_to(v_secret, 'UTF8'), 92)
    );
    return v_secret;
end
$$;
comment on function private.issue_twin_secret(uuid, interval) is
'A new secret for the webhook of the caller''s twin; deliveries carry signatures of the four before it, too, until the
overlap is over. PT404 for anyone else.';
revoke all on function private.issue_twin_secret(uuid, interval) from public, anon, authenticated, service_role;
grant execute on function private.issue_twin_secret(uuid, interval) to authenticated, service_role;

-- Definer, because a webhook that a client inserted by itself would have no secret.
create function private.store_twin_webhook(p_twin_id uuid, p_url text) returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_is_new boolean;
begin
    if not exists (
        select from public.ai_twins as twin
        where twin.id = p_twin_id and (twin.user_id = (select auth.uid()) or (select auth.role()) = 'service_role')
    ) then
        perform private.fail(404, 'twin_not_found', 'You have no such twin.', 'ai_twin_id');
    end if;
    insert into public.twin_webhooks (ai_twin_id, url) values (p_twin_id, p_url)
    on conflict on constraint twin_webhooks_pkey do nothing;
    v_is_new := found;
    update public.twin_webhooks as webhook set url = p_url
    where webhook.ai_twin_id = p_twin_id and webhook.url <> p_url;
    return v_is_new;
end
$$;
comment on function private.store_twin_webhook(uuid, text) is
'Sets where the caller''s twin is told, and answers whether it had no webhook before. PT404 for anyone else.';
revoke all on function private.store_twin_webhook(uuid, text) from public, anon, authenticated, service_role;
grant execute on function private.store_twin_webhook(uuid, text) to authenticated, service_role;

create function public.set_twin_webhook(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_twin_id uuid := private.read_uuid($1, 'ai_twin_id');
    v_url text := private.read_text($1, 'url', 2000);
    v_is_new boolean := private.store_twin_webhook(v_twin_id, v_url);
begin
    return private.succeed(jsonb_build_object(
        'ai_twin_id', v_twin_id,
        'url', v_url,
        'secret', case when v_is_new then private.issue_twin_secret(v_twin_id, interval '0') end
    ));
end
$$;
comment on function public.set_twin_webhook(jsonb) is
'Sets the webhook of a twin of the caller: ai_twin_id, url. The first time, the answer holds the secret that deliveries
are signed with, this once; afterwards secret is null and stays what it was.';
revoke all on function public.set_twin_webhook(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.set_twin_webhook(jsonb) to authenticated, service_role;

create function public.rotate_twin_secret(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_twin_id uuid := private.read_uuid($1, 'ai_twin_id');
    v_hours integer := private.read_integer($1, 'overlap_hours', 0, 720, 24);
begin
    return private.succeed(jsonb_build_object(
        'ai_twin_id', v_twin_id,
        'secret', private.issue_twin_secret(v_twin_id, make_interval(hours => v_hours)),
        'previous_secrets_expire_at', private.format_time(now() + make_interval(hours => v_hours))
    ));
end
$$;
comment on function public.rotate_twin_secret(jsonb) is
'A new secret for the webhook of a twin of the caller, shown this once: ai_twin_id, and optionally overlap_hours (24,
at most 720), during which deliveries are signed with the earlier ones as well.';
revoke all on function public.rotate_twin_secret(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.rotate_twin_secret(jsonb) to authenticated, service_role;

create function public.remove_twin_webhook(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_twin_id uuid := private.read_uuid($1, 'ai_twin_id');
begin
    delete from public.twin_webhooks as webhook where webhook.ai_twin_id = v_twin_id;
    if not found then
        perform private.fail(404, 'webhook_not_found', 'You have no such twin, or it has no webhook.', 'ai_twin_id');
    end if;
    return private.succeed(jsonb_build_object('ai_twin_id', v_twin_id));
end
$$;
comment on function public.remove_twin_webhook(jsonb) is
'Removes the webhook of a twin of the caller, with its secrets and all that was to be delivered there: ai_twin_id.';
revoke all on function public.remove_twin_webhook(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.remove_twin_webhook(jsonb) to authenticated, service_role;

create function private.render_claim(p_delivery public.twin_deliveries, p_lease uuid) returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
    v_time text := floor(extract(epoch from now()))::text;
    v_body text := (
        select (private.render_message(message) || jsonb_build_object('seq', message.seq))::text
        from public.messages as message
        where message.id = p_delivery.message_id
    );
begin
    return jsonb_build_object(
        'id', p_delivery.id,
        'lease', p_lease,
        'url', (select hook.url from public.twin_webhooks as hook where hook.ai_twin_id = p_delivery.ai_twin_id),
        'headers', jsonb_build_object(
            'content-type', 'application/json',
            'threadline-delivery', p_delivery.id,
            'threadline-twin', p_delivery.ai_twin_id,
            'threadline-signature',
            't=' || v_time || ',' || private.sign(p_delivery.ai_twin_id, v_time || '.' || v_body)
        ),
        'body', v_body
    );
end
$$;
comment on function private.render_claim(public.twin_deliveries, uuid) is
'A delivery as it is to be sent: the message as it is now, signed.';
revoke all on function private.render_claim(public.twin_deliveries, uuid)
from public, anon, authenticated, service_role;

-- Definer, because queues and secrets are for no other eyes. Planned at each call: the queues are empty when the
-- first plan is made (docs/decisions/0003).
create function private.claim_due(p_limit integer, p_lease interval) returns jsonb
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_due private.twin_queues[] := array(
        select queue
        from private.twin_queues as queue
        where queue.due_at <= now()
        order by queue.due_at
        limit p_limit
        for update skip locked
    );
    v_claims jsonb;
begin
    -- A statement of its own: it sees what was done to the queues until they were locked. It changes each of them
    -- once, since a second change would look for its webhook again, for which whoever removes that holds the queue up.
    with head as materialized (
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
        -- What is being deleted just now is left to the next round: waiting for it could deadlock.
        select delivery.id
        from public.twin_deliveries as delivery
        where delivery.id in (select head.id from head)
        for update skip locked
    ), leased as (
        update private.twin_queues as queue
        set lease = case when head.id is not null then head.lease end,
            due_at = case when head.id is not null then now() + p_lease end
        from head
        where queue.ai_twin_id = head.ai_twin_id and queue.channel_id = head.channel_id
            and (head.id is null or head.id in (select held.id from held))
    ), attempted as (
        update public.twin_deliveries as delivery
        set attempts = delivery.attempts + 1, next_attempt_at = null
        from head
        where delivery.id = head.id and head.id in (select held.id from held)
        returning delivery, head.lease
    )

    select coalesce(jsonb_agg(private.render_claim(attempted.delivery, attempted.lease)), '[]') into v_claims
    from attempted;
    return v_claims;
end
$$;
comment on function private.claim_due(integer, interval) is
'Takes the first delivery of each of the queues that are due. Nobody else gets them until the lease ends.';
revoke all on function private.claim_due(integer, interval) from public, anon, authenticated, service_role;
grant execute on function private.claim_due(integer, interval) to service_role;

create function public.claim_deliveries(jsonb) returns json
language plpgsql
set search_path = ''
as $$
begin
    return private.succeed(private.claim_due(
        private.read_integer($1, 'limit', 1, 1000, 10),
        make_interval(secs => private.read_integer($1, 'lease_seconds', 1, 3600, 60))
    ));
end
$$;
comment on function public.claim_deliveries(jsonb) is
'For workers: what is to be sent now, each with id, lease, url, headers and body; limit, lease_seconds. Of each twin and
channel at most one, and none while another is under way. What is not finished within the lease is given out again.';
revoke all on function public.claim_deliveries(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.claim_deliveries(jsonb) to service_role;

create function private.retry_delay(p_attempts integer) returns interval
language sql
volatile
set search_path = ''
as $$
    -- Four times as long after each failure, an hour at most; by chance up to a half less, so that what failed
    -- together does not come back together.
    select make_interval(
        secs => least(3600, settings.twin_retry_seconds * power(4, least(p_attempts, 10) - 1)) * (1 - random() / 2)
    )
    from private.settings as settings
$$;
comment on function private.retry_delay(integer) is 'How long to wait after so many failures.';
revoke all on function private.retry_delay(integer) from public, anon, authenticated, service_role;

-- Definer, because no client writes to the outbox.
create function private.finish_claim(p_id uuid, p_lease uuid, p_status integer, p_error text) returns text
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_queue private.twin_queues;
    v_delivery public.twin_deliveries;
begin
    select * into v_queue from private.twin_queues as queue where queue.lease = p_lease for update;
    if v_queue.lease is null then
        return null;
    end if;
    update public.twin_deliveries as delivery
    set
        state = outcome.state,
        last_status = p_status,
        last_error = left(p_error, 200),
        next_attempt_at = case when outcome.state = 'pending' then now() + private.retry_delay(delivery.attempts) end,
        finished_at = case when outcome.state <> 'pending' then now() end
    from public.twin_deliveries as attempt
    cross join private.settings as settings
    cross join lateral (
        select case
            when p_error is null then 'delivered'
            when attempt.attempts >= settings.twin_max_attempts then 'dead'
            else 'pending'
        end as state
    ) as outcome
    where delivery.id = p_id and attempt.id = delivery.id and delivery.state = 'pending'
        and delivery.ai_twin_id = v_queue.ai_twin_id and delivery.channel_id = v_queue.channel_id
    returning delivery.* into v_delivery;
    update private.twin_queues as queue
    set lease = null, due_at = coalesce(v_delivery.next_attempt_at, (
        select now()
        from public.twin_deliveries as pending
        where pending.ai_twin_id = queue.ai_twin_id
            and pending.channel_id = queue.channel_id and pending.state = 'pending'
        order by pending.seq -- so that no plan hopes to meet one soon among those of other channels
        limit 1
    ))
    where queue.lease = p_lease;
    return v_delivery.state;
end
$$;
comment on function private.finish_claim(uuid, uuid, integer, text) is
'Ends an attempt: delivered when there is no error, else pending again, or dead after the last one. The state, or null
when the lease has gone to somebody else or the message is deleted.';
revoke all on function private.finish_claim(uuid, uuid, integer, text) from public, anon, authenticated, service_role;
grant execute on function private.finish_claim(uuid, uuid, integer, text) to service_role;

create function public.finish_delivery(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_id uuid := private.read_uuid($1, 'id');
begin
    return private.succeed(jsonb_build_object(
        'id', v_id,
        'state', private.finish_claim(
            v_id,
            private.read_uuid($1, 'lease'),
            private.read_integer($1, 'status', 100, 999, null),
            $1 ->> 'error'
        )
    ));
end
$$;
comment on function public.finish_delivery(jsonb) is
'For workers: what became of a delivery: id, lease, status that the webhook answered, error unless it went well.
Repeating it does no harm; state is null when the lease was not theirs any more.';
revoke all on function public.finish_delivery(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.finish_delivery(jsonb) to service_role;

create function public.list_twin_deliveries(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_twin_id uuid := private.read_uuid($1, 'ai_twin_id');
    v_state text := private.read_text($1, 'state', 20, 'dead');
    v_limit integer := private.read_integer($1, 'limit', 1, 200, 50);
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
revoke all on function public.list_twin_deliveries(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.list_twin_deliveries(jsonb) to authenticated, service_role;

-- Definer, because no client writes to the outbox. It asks itself whose twin it is.
create function private.revive_deliveries(p_twin_id uuid, p_id uuid) returns bigint
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_revived bigint;
begin
    if not exists (
        select from public.ai_twins as twin
        where twin.id = p_twin_id and (twin.user_id = (select auth.uid()) or (select auth.role()) = 'service_role')
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
comment on function private.revive_deliveries(uuid, uuid) is
'Makes dead deliveries of the caller''s twin pending again, one or all, and answers how many. PT404 for anyone else.';
revoke all on function private.revive_deliveries(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function private.revive_deliveries(uuid, uuid) to authenticated, service_role;

create function public.replay_twin_deliveries(jsonb) returns json
language plpgsql
set search_path = ''
as $$
begin
    return private.succeed(jsonb_build_object('replayed', private.revive_deliveries(
        private.read_uuid($1, 'ai_twin_id'), private.read_uuid($1, 'id', false)
    )));
end
$$;
comment on function public.replay_twin_deliveries(jsonb) is
'Delivers dead deliveries to a twin of the caller anew, as from the beginning: ai_twin_id, and id for only one.';
revoke all on function public.replay_twin_deliveries(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.replay_twin_deliveries(jsonb) to authenticated, service_role;
