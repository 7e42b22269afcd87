-- The ingest log: what came over which connection, for its owner to read. Kept for 30 days, holds no content.

-- Without foreign keys: to check one would lock the connection's row, for which all of its requests would queue.
create table public.ingest_log (
    id bigint generated always as identity primary key,
    user_id uuid not null,
    connection_id text not null,
    key_id uuid,
    at timestamptz not null default now(),
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
comment on column public.ingest_log.connection_id is 'The public name of the connection.';
comment on column public.ingest_log.key_id is 'The key that was used, as the computed field keys lists it.';
comment on column public.ingest_log.status is
'200; or 401 wrong key, 403 inactive, 413 too many messages, of which there is one row a minute.';
comment on column public.ingest_log.requests is 'How many requests this row stands for; above 1 only where refused.';
comment on column public.ingest_log.messages is 'As the limit counts them: a conversation without any is one.';
comment on column public.ingest_log.errors is 'At most five of the different errors that conversations had.';
comment on column public.ingest_log.request_id is
'The X-Request-Id of the request, which is in the service''s logs, too; of refused ones, the first of the minute''s.';

create index ingest_log_user_id_idx on public.ingest_log (user_id, id desc);
-- However many strangers try however often, a connection has one row a minute for each way to refuse them.
create unique index ingest_log_refused_idx on public.ingest_log (connection_id, status, at) where status <> 200;

alter table public.ingest_log enable row level security;
revoke all on public.ingest_log from public, anon, authenticated, service_role;
revoke all on sequence public.ingest_log_id_seq from public, anon, authenticated, service_role;
grant select on public.ingest_log to authenticated;
grant select, insert on public.ingest_log to service_role;
grant update (requests) on public.ingest_log to service_role;

create policy ingest_log_select_owner on public.ingest_log
for select to authenticated using (user_id = (select auth.uid()));

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.delete_ingest_log() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    delete from public.ingest_log as line
    where line.user_id in (select removed.user_id from removed)
        and line.connection_id in (select removed.connection_id from removed);
    return null;
end
$$;
comment on function private.delete_ingest_log() is 'Trigger: with a connection goes its log.';
revoke all on function private.delete_ingest_log() from public, anon, authenticated, service_role;

create trigger messaging_connections_after_delete_delete_log after delete on public.messaging_connections
referencing old table as removed
for each statement execute function private.delete_ingest_log();

create function private.request_id() returns text
language plpgsql
stable
set search_path = ''
as $$
declare
    v_id text := nullif(current_setting('request.headers', true), '')::json ->> 'x-request-id';
begin
    return case when v_id ~ '^[A-Za-z0-9._-]{1,50}$' then v_id end;
end
$$;
comment on function private.request_id() is 'The X-Request-Id of this request, if it has one that is fit to be kept.';
revoke all on function private.request_id() from public, anon, authenticated, service_role;
grant execute on function private.request_id() to service_role;

create function private.relax_commit() returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
    if pg_current_xact_id_if_assigned() is null then
        perform set_config('synchronous_commit', 'off', true);
    end if;
end
$$;
comment on function private.relax_commit() is
'Where a transaction has written nothing yet and is about to write a line of a log: nobody waits for the disk.';
revoke all on function private.relax_commit() from public, anon, authenticated, service_role;
grant execute on function private.relax_commit() to service_role;

create function private.log_ingest(
    p_user_id uuid, p_connection_id text, p_key_id uuid, p_messages bigint, p_answer json
) returns json
language plpgsql
volatile
set search_path = ''
as $$
begin
    perform private.relax_commit();
    insert into public.ingest_log (
        user_id, connection_id, key_id, status, request_id,
        messages, conversations, conversations_created, messages_added, errors
    )
    select
        p_user_id, p_connection_id, p_key_id, 200, private.request_id(),
        coalesce(p_messages, 0),
        count(*),
        count(*) filter (where result.status = 'created'),
        coalesce(sum(result.messages_added), 0),
        (array_agg(distinct result.status) filter (where result.status like 'error: %'))[1:5]
    from json_to_recordset(p_answer -> 'results') as result (status text, messages_added integer);
    return p_answer;
end
$$;
comment on function private.log_ingest(uuid, text, uuid, bigint, json) is
'Notes what became of a request, and returns the answer to it.';
revoke all on function private.log_ingest(uuid, text, uuid, bigint, json)
from public, anon, authenticated, service_role;
grant execute on function private.log_ingest(uuid, text, uuid, bigint, json) to service_role;

create function private.log_refusal(p_user_id uuid, p_connection_id text, p_status integer) returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
    perform private.relax_commit();
    insert into public.ingest_log as line (user_id, connection_id, at, status, request_id)
    values (p_user_id, p_connection_id, date_trunc('minute', now()), p_status, private.request_id())
    on conflict (connection_id, status, at) where status <> 200 do update set requests = line.requests + 1;
end
$$;
comment on function private.log_refusal(uuid, text, integer) is
'Notes that a request to a connection that exists was refused.';
revoke all on function private.log_refusal(uuid, text, integer) from public, anon, authenticated, service_role;
grant execute on function private.log_refusal(uuid, text, integer) to service_role;
