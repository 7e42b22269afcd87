-- The ingest log: the requests of each connection, for those who manage it. Kept for 30 days.
-- Promise: it holds no names, no content and no secrets.

-- Without foreign keys: to check one would lock the connection's row, for which all of its requests would queue.
create table public.ingest_log (
    id uuid primary key default private.generate_id(),
    workspace_id uuid not null,
    user_id uuid not null,
    connection_id text not null,
    key_id uuid,
    at timestamptz not null default clock_timestamp(),
    status integer not null,
    requests integer not null default 1,
    conversations integer,
    conversations_created integer,
    messages integer,
    messages_added integer,
    errors text[],
    request_id text
);
comment on table public.ingest_log is
'What came in over each connection, for 30 days: no names, no content, no secrets. What failed with 5xx left no trace
here but in the logs of the service.';
comment on column public.ingest_log.user_id is 'The owner of the connection at that time.';
comment on column public.ingest_log.connection_id is 'The public name of the connection.';
comment on column public.ingest_log.key_id is 'The key that was used, as the computed field keys lists it.';
comment on column public.ingest_log.status is
'200; or 401 wrong key, 403 inactive, 413 too many messages: one row a minute for each of these three.';
comment on column public.ingest_log.requests is 'How many requests this row stands for; above 1 only where refused.';
comment on column public.ingest_log.messages is 'As the limit counts them: a conversation without any is one.';
comment on column public.ingest_log.errors is 'At most five of the different errors that conversations had.';
comment on column public.ingest_log.request_id is
'The X-Request-Id of the request, which is in the service''s logs, too; of refused ones, the first of the minute''s.';
create index ingest_log_workspace_id_at_idx on public.ingest_log (workspace_id, at desc);
-- Limits refused requests to one row per connection, status and minute.
create unique index ingest_log_refused_idx on public.ingest_log (connection_id, status, at) where status <> 200;
alter table public.ingest_log enable row level security;

create policy ingest_log_select_manager on public.ingest_log
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)));

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.delete_ingest_log_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from public.ingest_log as line
    where line.workspace_id in (select removed.workspace_id from removed)
        and line.connection_id in (select removed.connection_id from removed);
    return null;
end
$$;
comment on function private.delete_ingest_log_trigger() is 'Trigger: deletes the log of deleted connections.';

create function private.use_asynchronous_commit() returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_current_xact_id_if_assigned() is null then
        perform set_config('synchronous_commit', 'off', true);
    end if;
end
$$;
comment on function private.use_asynchronous_commit() is
'Turns synchronous_commit off if the transaction has written nothing yet; a crash may lose the log line.';

create function private.record_ingest(
    p_source private.ingest_source, p_messages bigint, p_results private.ingest_result[]
) returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.use_asynchronous_commit();
    insert into public.ingest_log (
        workspace_id, user_id, connection_id, key_id, status, request_id,
        messages, conversations, conversations_created, messages_added, errors
    )
    select
        p_source.workspace_id, p_source.user_id, p_source.connection_id, p_source.key_id, 200, private.request_id(),
        coalesce(p_messages, 0),
        count(*),
        count(*) filter (where result.status = 'created'),
        coalesce(sum(result.messages_added), 0),
        (array_agg(distinct result.status) filter (where result.conversation_id is null))[1:5]
    from unnest(p_results) as result;
end
$$;
comment on function private.record_ingest(private.ingest_source, bigint, private.ingest_result[]) is
'Writes the log line of a request that was stored.';

create function private.record_refusal(p_source private.ingest_source, p_status integer) returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.use_asynchronous_commit();
    insert into public.ingest_log as line (workspace_id, user_id, connection_id, at, status, request_id)
    values (
        p_source.workspace_id, p_source.user_id, p_source.connection_id,
        date_trunc('minute', now()), p_status, private.request_id()
    )
    on conflict (connection_id, status, at) where status <> 200 do update set requests = line.requests + 1;
end
$$;
comment on function private.record_refusal(private.ingest_source, integer) is
'Writes the log line of a request that was refused.';
