-- Requests that a user may make in a minute, counted for all processes of the service.

-- Unlogged: after a crash everybody starts with an empty count, which harms nobody.
create unlogged table private.request_counts (
    user_id uuid primary key,
    minute timestamptz not null,
    used integer not null
);
comment on table private.request_counts is 'How many requests each user has made in their current minute.';
alter table private.request_counts enable row level security;

-- Definer, because nobody may read a count. It asks itself who the caller is.
create function private.is_rate_limited() returns boolean
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
comment on function private.is_rate_limited() is
'Whether the caller has made all requests of this minute. Nobody waits for it; spend_request decides.';

-- Definer, because nobody may set a count but by using it up. It asks itself who the caller is.
create function private.spend_request(out is_granted boolean, out headers jsonb)
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
comment on function private.spend_request() is
'Counts a request of the caller: whether a minute grants it, and the headers that tell how many a minute grants, how
many are left, and in how many seconds the next one begins.';
