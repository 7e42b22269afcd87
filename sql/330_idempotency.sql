-- Idempotency keys: a repeated request with the same key gets the first answer and writes nothing.
-- Keys are kept for settings.idempotency_hours.

create table private.idempotency_keys (
    principal text not null,
    route text not null,
    key text not null,
    request_hash bytea not null,
    status integer,
    body text,
    message_id uuid,
    created_at timestamptz not null default now(),
    primary key (principal, route, key),
    constraint idempotency_keys_key_length check (char_length(key) between 1 and 255)
);
comment on table private.idempotency_keys is
'Answers to requests with an Idempotency-Key, kept for settings.idempotency_hours.';
comment on column private.idempotency_keys.principal is 'The user''s id as text, or service_role.';
comment on column private.idempotency_keys.message_id is
'The message that the answer shows, so that the answer goes with it.';
create index idempotency_keys_message_id_idx on private.idempotency_keys (message_id) where message_id is not null;
create index idempotency_keys_created_at_idx on private.idempotency_keys (created_at);
alter table private.idempotency_keys enable row level security;

-- Definer, because callers may read only their own answers. The function checks the caller.
create function private.begin_idempotent(p_route text, p_key text, p_request jsonb, out status integer, out body text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_principal text := coalesce((select auth.uid())::text, (select auth.role()));
    v_hash bytea := sha256(convert_to(p_request::text, 'UTF8'));
    v_known private.idempotency_keys;
begin
    delete from private.idempotency_keys as expired
    where expired.principal = v_principal and expired.route = p_route and expired.key = p_key
        and expired.created_at < now() - (
            select make_interval(hours => settings.idempotency_hours) from private.settings
        );
    -- A concurrent request with the same key waits here until the first transaction ends.
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
            422, 'idempotency_key_reused', 'This key was already used for a different request. Use a new key.'
        );
    end if;
    status := v_known.status;
    body := v_known.body;
end
$$;
comment on function private.begin_idempotent(text, text, jsonb) is
'Takes the route, the key and the request. Returns the stored status and body, or nulls for a new key.
PT422 when the key was used for a different request.';

-- Definer, because callers may change only their own answers. The function checks the caller.
create function private.finish_idempotent(p_route text, p_key text, p_status integer, p_body text) returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update private.idempotency_keys as known
    set
        status = p_status,
        body = p_body,
        message_id = coalesce(p_body::jsonb #>> '{data,message_id}', p_body::jsonb #>> '{data,id}')::uuid
    where known.principal = coalesce((select auth.uid())::text, (select auth.role()))
        and known.route = p_route and known.key = p_key;
end
$$;
comment on function private.finish_idempotent(text, text, integer, text) is
'Stores the status and body of a first request under its key.';
