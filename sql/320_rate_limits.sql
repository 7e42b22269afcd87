-- The rate limit: how many requests of /api/v2 a user may make in a minute, counted for all processes of the service.
-- The limit is requests_per_minute in 010_settings; service_role is not counted.
-- The count is spent after the work, in the same transaction, so that requests of one user do not wait for each other.

-- Unlogged, because a crash may reset the counts: a user then gets one minute's requests again.
create unlogged table private.request_counts (
    user_id uuid primary key,
    minute timestamptz not null,
    used integer not null
);
comment on table private.request_counts is 'How many requests each user has made in their current minute.';
alter table private.request_counts enable row level security;

-- Definer, because clients do not read the counts.
create function private.is_used_up() returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from private.request_counts as counted
        where counted.user_id = auth.uid()
            and counted.minute between date_trunc('minute', now()) and date_trunc('minute', now()) + interval '1 minute'
            and counted.used >= (select settings.requests_per_minute from private.settings)
    );
end
$$;
comment on function private.is_used_up() is
'Whether the caller has no requests left in this minute. Estimates without a lock, so that refusing costs no work;
private.spend_request decides.';

-- Definer, because clients may not write their own count. It counts for the caller.
create function private.spend_request(out is_granted boolean, out headers jsonb)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_used integer;
    v_granted integer;
begin
    -- A request that began in the minute before counts for the current minute. A count further ahead comes from a clock
    -- that was set back, and starts again.
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
'Counts a request of the caller. Answers whether the limit allows it, and the RateLimit headers: limit, remaining, and
seconds until the next minute begins.';

create function private.spend_failed_request(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(null);
end
$$;
comment on function private.spend_failed_request(jsonb) is
'Does nothing, so that the gateway counts it: the service calls it after a request that Postgres cancelled or failed,
because that request has undone its own count.';

create function private.hold_data_api_place() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    for v_place in 1..(select settings.data_api_requests_at_once from private.settings) loop
        -- An advisory lock, because a GET of the Data API cannot write.
        if pg_try_advisory_xact_lock(hashtextextended(format('threadline.data_api.%s.%s', auth.uid(), v_place), 0)) then
            return true;
        end if;
    end loop;
    return false;
end
$$;
comment on function private.hold_data_api_place() is
'Takes one of the places that the caller has in the Data API until the request ends. False if all are taken.';

-- Definer, because clients read no settings.
create function private.spend_data_api_request() returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not private.hold_data_api_place() then
        perform private.fail(
            429, 'too_many_at_once', 'You have too many requests under way. Wait for their answers.'
        );
    elsif current_setting('transaction_read_only') = 'off' and not (private.spend_request()).is_granted then
        perform private.fail(429, 'rate_limited', 'Too many requests in this minute. Wait for the next one.');
    end if;
end
$$;
comment on function private.spend_data_api_request() is
'For the pre-request function of the application (docs/explanation/security.md): limits how many requests of the caller
the Data API works on at once, and counts those that write with those of /api/v2. PT429 above a limit.';
