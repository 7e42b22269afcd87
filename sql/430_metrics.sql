-- Metrics: gauges that the service adds to /metrics.
-- The service measures each gauge when Prometheus asks, so the queries must stay cheap.

create type private.metric as (
    name text,
    help text,
    labels jsonb,
    value double precision
);
comment on type private.metric is 'A Prometheus gauge: name, help text, labels as a JSON object, and value.';

create function private.measure_deliveries() returns setof private.metric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    return query
    select
        'threadline_twin_deliveries', 'Deliveries to twins that are not made yet, or never will be, by state.',
        jsonb_build_object('state', counted.state), counted.deliveries::double precision
    from (
        select
            count(*) filter (where pending.last_error is null),
            count(*) filter (where pending.last_error is not null)
        from public.twin_deliveries as pending
        where pending.state = 'pending'
    ) as queued (waiting, retrying)
    cross join lateral (
        values ('waiting', queued.waiting), ('retrying', queued.retrying), (
            'dead', (select count(*) from public.twin_deliveries as dead where dead.state = 'dead')
        )
    ) as counted (state, deliveries);
    return query
    select
        'threadline_twin_deliveries_in_last_hour', 'Deliveries that webhooks of twins took in the last hour.',
        jsonb_build_object(), count(*)::double precision
    from public.twin_deliveries as made
    where made.state = 'delivered' and made.finished_at > now() - interval '1 hour';
    return query
    select
        'threadline_twin_delivery_oldest_seconds', 'Age of the oldest delivery that is not made yet; 0 if all are.',
        jsonb_build_object(), coalesce(extract(epoch from now() - min(pending.created_at)), 0)::double precision
    from public.twin_deliveries as pending
    where pending.state = 'pending';
end
$$;
comment on function private.measure_deliveries() is
'Measures the outbox: deliveries by state, deliveries in the last hour, age of the oldest pending one in seconds.';

create function private.measure_database() returns setof private.metric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        'threadline_database_bytes', 'Size of the database on disk.',
        jsonb_build_object(), pg_database_size(current_database())::double precision;
    return query
    select
        'threadline_database_oldest_transaction_ids',
        'Transactions since the oldest one that is not frozen; Postgres stops writing at two billion.',
        jsonb_build_object(), age(own.datfrozenxid)::double precision
    from pg_database as own
    where own.datname = current_database();
    return query
    select
        'threadline_database_wal_held_bytes', 'Write-ahead log that a replication slot keeps from being removed.',
        jsonb_build_object('slot', slot.slot_name),
        pg_wal_lsn_diff(
            case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end, slot.restart_lsn
        )::double precision
    from pg_replication_slots as slot
    where slot.restart_lsn is not null;
    return query
    select
        'threadline_clean_up_age_seconds', 'Time since the last round of cleaning ended, or -1 if there was none.',
        jsonb_build_object(), coalesce(extract(epoch from now() - last.finished_at), -1)::double precision
    from private.clean_ups as last;
end
$$;
comment on function private.measure_database() is
'Measures the database: size in bytes, age of transaction ids, WAL held by slots, and seconds since clean-up.';

create function private.measure_media() returns setof private.metric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select measured.name, measured.help, jsonb_build_object(), measured.value::double precision
    from (
        select
            count(known.size), coalesce(sum(known.size), 0), count(*) filter (where known.size is null)
        from private.conversation_media as known
    ) as counted (files, bytes, waiting)
    cross join lateral (
        values
        ('threadline_media_files', 'Files of ingested messages that are stored.', counted.files),
        ('threadline_media_bytes', 'Bytes of the files of ingested messages.', counted.bytes),
        ('threadline_media_waiting', 'Files of ingested messages that callers have not uploaded.', counted.waiting)
    ) as measured (name, help, value);
end
$$;
comment on function private.measure_media() is
'Measures the files of ingested messages: number, bytes, and those that are not uploaded.';

create function private.measure_search() returns setof private.metric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        'threadline_search_backlog_seconds',
        'Age of the oldest message of a conversation that search does not know; 0 if it knows all.',
        jsonb_build_object(), coalesce(extract(epoch from now() - min(noted.created_at)), 0)::double precision
    from private.word_backlog as noted;
    return query
    select
        'threadline_search_former_language_messages',
        'Messages that search still knows in a former language of their channel.',
        jsonb_build_object(), coalesce(sum(waiting.messages), 0)::double precision
    from private.language_backlog as waiting;
end
$$;
comment on function private.measure_search() is
'Measures how far the search index is behind ingest, in seconds, and behind changes of languages, in messages.';

create function public.read_metrics(jsonb) returns json
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed((
        select jsonb_agg(to_jsonb(measured))
        from (
            select * from private.measure_deliveries()
            union all
            select * from private.measure_database()
            union all
            select * from private.measure_media()
            union all
            select * from private.measure_search()
        ) as measured
    ));
end
$$;
comment on function public.read_metrics(jsonb) is
'For the service: returns an array of gauges, each with name, help, labels and value.';
