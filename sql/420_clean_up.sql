-- Clean-up: deletes expired rows in small rounds. Retention stands in private.settings.
-- Dead deliveries and receipts are kept. Events and changes of inboxes are kept unless the settings have a retention,
-- and messages unless the workspace has one.
-- Each delete takes an array of places (ctid) or ids: Postgres may run a subquery with LIMIT again for each row, and
-- then more or fewer rows go than the limit says.

create table private.clean_ups (
    is_only_row boolean primary key default true,
    finished_at timestamptz,
    removed jsonb not null default '{}',
    constraint clean_ups_has_one_row check (is_only_row)
);
comment on table private.clean_ups is 'The last round of private.clean_up. Always one row.';
comment on column private.clean_ups.finished_at is 'When the last round ended; null before the first round.';
comment on column private.clean_ups.removed is 'The number of removed rows by kind.';
alter table private.clean_ups enable row level security;

insert into private.clean_ups default values;

-- enable_seqscan, because the planner reads a table of a thousand rows whole (decision 0003).
create function private.delete_expired(p_limit integer) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set enable_seqscan = 'off'
set jit = 'off'
as $$
declare
    v_removed jsonb := jsonb_build_object();
    v_settings private.settings := (select settings from private.settings);
    v_count bigint;
begin
    delete from private.idempotency_keys as expired
    where expired.ctid = any(array(
        select old.ctid
        from private.idempotency_keys as old
        where old.created_at < now() - make_interval(hours => v_settings.idempotency_hours)
        order by old.created_at
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('idempotency_keys', v_count);
    -- The table has at most one row per user, so a sequential scan is cheap.
    delete from private.request_counts as expired
    where expired.ctid = any(array(
        select old.ctid
        from private.request_counts as old
        where old.minute < now() - interval '1 hour'
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('request_counts', v_count);
    delete from private.messaging_keys as expired
    where expired.ctid = any(array(
        select old.ctid
        from private.messaging_keys as old
        where old.expires_at < now() - make_interval(days => v_settings.ingest_log_days)
        order by old.expires_at
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('messaging_keys', v_count);
    delete from private.twin_secrets as expired
    where expired.ctid = any(array(
        select old.ctid
        from private.twin_secrets as old
        where old.expires_at < now() - make_interval(days => v_settings.twin_secret_days)
        order by old.expires_at
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_count = row_count;
    return v_removed || jsonb_build_object('twin_secrets', v_count);
end
$$;
comment on function private.delete_expired(integer) is
'Deletes expired idempotency keys, keys of connections and secrets of twins, and rate limit counts after an hour: at
most p_limit rows of each kind. Returns the number of rows by kind.';

create function private.delete_history(p_limit integer) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_removed jsonb := jsonb_build_object();
    v_settings private.settings := (select settings from private.settings);
    v_count bigint;
begin
    delete from public.twin_deliveries as expired
    where expired.ctid = any(array(
        select old.ctid
        from public.twin_deliveries as old
        where old.state = 'delivered'
            and old.finished_at < now() - make_interval(days => v_settings.delivery_days)
        order by old.finished_at
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('twin_deliveries', v_count);
    delete from private.summaries as expired
    where expired.ctid = any(array(
        select old.ctid
        from private.summaries as old
        where coalesce(old.finished_at, old.lease_expires_at)
            < now() - make_interval(days => v_settings.summary_days)
        order by coalesce(old.finished_at, old.lease_expires_at)
        limit p_limit
        for update skip locked
    ));
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('summaries', v_count);
    delete from public.user_events as expired
    where expired.ctid = any(array(
        select old.ctid
        from public.user_events as old
        inner join private.user_counters as counter on old.user_id = counter.user_id
        -- Keeps the last event, so that a page shows where the log begins.
        where old.created_at < now() - make_interval(days => v_settings.user_event_days)
            and old.seq < counter.last_seq
        limit p_limit
        for update of old skip locked
    ));
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('user_events', v_count);
    -- Ids rise with time, so the log needs no index on time.
    delete from public.ingest_log as expired
    where expired.id = any(array(
        select oldest.id
        from (select line.id, line.at from public.ingest_log as line order by line.id limit p_limit) as oldest
        where oldest.at < now() - make_interval(days => v_settings.ingest_log_days)
    ));
    get diagnostics v_count = row_count;
    return v_removed || jsonb_build_object('ingest_log', v_count);
end
$$;
comment on function private.delete_history(integer) is
'Deletes old finished deliveries, summaries and lines of the ingest log: at most p_limit rows of each kind. Returns the
number of rows by kind.';

create function private.delete_old_events(p_before timestamptz, p_limit integer) returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count bigint;
begin
    delete from public.message_events as expired
    where expired.ctid = any(array(
        select old.ctid
        from public.message_events as old
        inner join private.channel_counters as counter on old.channel_id = counter.channel_id
        -- Keeps the last event, so that a page shows where the log begins.
        where old.created_at < p_before and old.seq < counter.last_seq
        limit p_limit
        for update of old skip locked
    ))
        -- Asks again, because rows of two partitions can have the same place.
        and expired.created_at < p_before
        and expired.seq < (
            select counter.last_seq from private.channel_counters as counter
            where counter.channel_id = expired.channel_id
        );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function private.delete_old_events(timestamptz, integer) is
'Deletes at most p_limit events of channels that are older than p_before, and none without p_before. Returns their
number.';

create function private.delete_old_changes(p_before timestamptz, p_limit integer) returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count bigint;
begin
    with gone as (
        delete from private.inbox_changes as expired
        where expired.id = any(array(
            -- Ids rise with time, so the log needs no index on time.
            select oldest.id
            from (select line.id, line.created_at from private.inbox_changes as line order by line.id limit p_limit)
                as oldest
            where oldest.created_at < p_before
                and not exists (select from private.word_backlog as waiting where waiting.change_id = oldest.id)
        ))
        returning expired.workspace_id, expired.xid, expired.id, expired.conversation_ids
    ), start as (
        insert into private.inbox_log_starts as known (workspace_id, xid, id, place)
        select distinct on (last.workspace_id)
            last.workspace_id, last.xid, last.id,
            (select count(distinct changed.id) from unnest(last.conversation_ids) as changed (id))
        from gone as last
        order by last.workspace_id, last.xid desc, last.id desc
        on conflict on constraint inbox_log_starts_pkey do update
        set (xid, id, place) = (excluded.xid, excluded.id, excluded.place)
        where (known.xid, known.id) < (excluded.xid, excluded.id)
    )

    select count(*) into v_count from gone;
    return v_count;
end
$$;
comment on function private.delete_old_changes(timestamptz, integer) is
'Deletes at most p_limit changes of inboxes that are older than p_before, and none without p_before; those that search
has not indexed stay. Notes where the log of each workspace now begins. Returns their number.';

create function private.delete_logs(p_limit integer) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'message_events',
            private.delete_old_events(now() - make_interval(days => settings.channel_event_days), p_limit),
            'inbox_changes',
            private.delete_old_changes(now() - make_interval(days => settings.inbox_change_days), p_limit)
        )
        from private.settings
    );
end
$$;
comment on function private.delete_logs(integer) is
'Deletes old lines of the logs from which clients catch up, if the settings limit their age. Returns the number of rows
by kind.';

create function private.clean_up_kind(p_kind text, p_limit integer) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    case p_kind
        when 'media' then perform private.settle_all_media(p_limit);
        when 'expired' then return private.delete_expired(p_limit);
        when 'history' then return private.delete_history(p_limit);
        when 'logs' then return private.delete_logs(p_limit);
        when 'retention' then return private.delete_past_retention(p_limit);
        when 'late matches' then
            return jsonb_build_object('late_matches', private.match_late_conversations(p_limit));
    end case;
    return '{}'::jsonb;
exception
    when others then
        -- An error of one kind must not end the round of all.
        raise warning 'The clean-up of % failed with SQLSTATE %. A later round tries again.', p_kind, sqlstate;
        return '{}'::jsonb;
end
$$;
comment on function private.clean_up_kind(text, integer) is
'Does one part of a round, and returns the number of rows by kind. An error becomes a warning, and undoes this part.';

-- Definer, because no role may delete these rows.
create function private.clean_up(p_limit integer default 10000) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_removed jsonb := jsonb_build_object();
    v_kind text;
begin
    -- A second round at the same time would only wait for locks.
    perform from private.clean_ups as last where last.is_only_row for update skip locked;
    if not found then
        return v_removed;
    end if;
    foreach v_kind in array '{media,expired,history,logs,retention}'::text[] loop
        v_removed := v_removed || private.clean_up_kind(v_kind, p_limit);
    end loop;
    -- Sorts the newest messages into the search index, so that writers need not.
    perform gin_clean_pending_list('private.message_words_search_idx');
    -- Last, because it holds matching locks until the round ends.
    v_removed := v_removed || private.clean_up_kind('late matches', p_limit);
    update private.clean_ups as last
    set finished_at = clock_timestamp(), removed = v_removed
    where last.is_only_row;
    return v_removed;
end
$$;
comment on function private.clean_up(integer) is
'Runs one round: deletes at most p_limit expired rows of each kind. Returns the number of rows by kind, or {} while
another round runs.';

create function public.clean_up(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.clean_up(private.parse_integer($1, 'limit', 1, 100000, 10000)));
end
$$;
comment on function public.clean_up(jsonb) is
'For the service: runs one round of clean-up. Takes limit (rows of each kind, default 10000). Returns the number of
removed rows by kind.';

-- With pg_cron, as on Supabase, the database cleans up and indexes by itself. Without it, only the service does.
do $$
begin
    if exists (select from pg_available_extensions where name = 'pg_cron') then
        create extension if not exists pg_cron;
        perform cron.schedule('threadline_clean_up', '*/5 * * * *', 'select private.clean_up()');
        perform cron.schedule(
            'threadline_index', '* * * * *',
            'select private.index_conversations(1000), private.index_languages(2000)'
        );
    end if;
exception
    when others then
        raise notice 'pg_cron is not used: %', sqlerrm;
end
$$;
