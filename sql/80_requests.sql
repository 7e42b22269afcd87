-- What a request costs and whether it is a repetition: rate limits and idempotency keys, shared by all processes.

-- Unlogged: after a crash everybody starts with an empty count, which harms nobody.
create unlogged table private.request_counts (
    user_id uuid primary key,
    minute timestamptz not null,
    used integer not null
);
comment on table private.request_counts is 'How many requests each user has made in their current minute.';
alter table private.request_counts enable row level security;
revoke all on private.request_counts from public, anon, authenticated, service_role;

-- Definer, because nobody may read a count. It asks itself who the caller is.
create function private.is_used_up() returns boolean
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    return exists (
        select from private.request_counts as counted
        cross join private.settings as settings
        where counted.user_id = (select auth.uid())
            and counted.minute between date_trunc('minute', now()) and date_trunc('minute', now()) + interval '1 minute'
            and counted.used >= settings.requests_per_minute
    );
end
$$;
comment on function private.is_used_up() is
'Whether the caller has made all requests of this minute. Nobody waits for it; count_request decides.';
revoke all on function private.is_used_up() from public, anon, authenticated, service_role;
grant execute on function private.is_used_up() to authenticated;

-- Definer, because nobody may set a count but by using it up. It asks itself who the caller is.
create function private.count_request(out is_granted boolean, out headers jsonb)
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_used integer;
    v_granted integer;
begin
    -- A request that began in the minute before is counted in the one that has begun since. A count that is further
    -- ahead comes from a clock that was set back.
    insert into private.request_counts as counted (user_id, minute, used)
    values ((select auth.uid()), date_trunc('minute', now()), 1)
    on conflict on constraint request_counts_pkey do update
    set
        used = case
            when counted.minute between excluded.minute and excluded.minute + interval '1 minute'
                then counted.used + 1
            else 1
        end,
        minute = case
            when counted.minute = excluded.minute + interval '1 minute' then counted.minute
            else excluded.minute
        end
    returning counted.used, (select settings.requests_per_minute from private.settings) into v_used, v_granted;
    is_granted := v_used <= v_granted;
    headers := jsonb_build_object(
        'ratelimit-limit', v_granted::text,
        'ratelimit-remaining', greatest(0, v_granted - v_used)::text,
        'ratelimit-reset',
        ceil(extract(epoch from date_trunc('minute', now()) + interval '1 minute' - now()))::integer::text
    );
end
$$;
comment on function private.count_request() is
'Counts a request of the caller: whether a minute grants it, and the headers that tell how many a minute grants, how
many are left, and in how many seconds the next one begins.';
revoke all on function private.count_request() from public, anon, authenticated, service_role;
grant execute on function private.count_request() to authenticated;

create table private.idempotency_keys (
    principal text not null,
    route text not null,
    key text not null,
    request_hash bytea not null,
    status integer,
    body text,
    created_at timestamptz not null default now(),
    primary key (principal, route, key),
    constraint idempotency_keys_key_length check (char_length(key) between 1 and 255)
);
comment on table private.idempotency_keys is
'Answers to requests with an Idempotency-Key, for a day: the same request again gets the same answer.';
comment on column private.idempotency_keys.principal is 'The user, or service_role.';
create index idempotency_keys_created_at_idx on private.idempotency_keys (created_at);
alter table private.idempotency_keys enable row level security;
revoke all on private.idempotency_keys from public, anon, authenticated, service_role;

-- Definer, because answers are for nobody but who asked. It asks itself who the caller is.
create function private.begin_once(p_route text, p_key text, p_request jsonb, out status integer, out body text)
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_principal text := coalesce((select auth.uid())::text, (select auth.role()));
    v_hash bytea := sha256(convert_to(p_request::text, 'UTF8'));
    v_known private.idempotency_keys;
begin
    delete from private.idempotency_keys as expired
    where expired.principal = v_principal and expired.route = p_route and expired.key = p_key
        and expired.created_at < now() - interval '24 hours';
    -- The same key at the same moment waits here until the first request is through.
    insert into private.idempotency_keys (principal, route, key, request_hash)
    values (v_principal, p_route, p_key, v_hash)
    on conflict on constraint idempotency_keys_pkey do nothing;
    if found then
        return;
    end if;
    select * into v_known
    from private.idempotency_keys as known
    where known.principal = v_principal and known.route = p_route and known.key = p_key;
    if v_known.request_hash <> v_hash then
        perform private.fail(
            422, 'idempotency_key_reused', 'This Idempotency-Key came with another request before.'
        );
    end if;
    status := v_known.status;
    body := v_known.body;
end
$$;
comment on function private.begin_once(text, text, jsonb) is
'The answer that this request got before under this key; nulls when it is the first. PT422 for another request.';
revoke all on function private.begin_once(text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function private.begin_once(text, text, jsonb) to authenticated, service_role;

-- Definer, for the same reason.
create function private.finish_once(p_route text, p_key text, p_status integer, p_body text) returns void
language sql
volatile
security definer
set search_path = ''
as $$
    update private.idempotency_keys as known set status = p_status, body = p_body
    where known.principal = coalesce((select auth.uid())::text, (select auth.role()))
        and known.route = p_route and known.key = p_key
$$;
comment on function private.finish_once(text, text, integer, text) is 'Keeps the answer to a first request.';
revoke all on function private.finish_once(text, text, integer, text) from public, anon, authenticated, service_role;
grant execute on function private.finish_once(text, text, integer, text) to authenticated, service_role;
