-- Idempotency keys: the same request again gets the same answer, for a day.

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

-- Definer, because answers are for nobody but who asked. It asks itself who the caller is.
create function private.begin_idempotent(p_route text, p_key text, p_request jsonb, out status integer, out body text)
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
comment on function private.begin_idempotent(text, text, jsonb) is
'The answer that this request got before under this key; nulls when it is the first. PT422 for another request.';

-- Definer, for the same reason.
create function private.finish_idempotent(p_route text, p_key text, p_status integer, p_body text) returns void
language sql
volatile
security definer
set search_path = ''
as $$
    update private.idempotency_keys as known set status = p_status, body = p_body
    where known.principal = coalesce((select auth.uid())::text, (select auth.role()))
        and known.route = p_route and known.key = p_key
$$;
comment on function private.finish_idempotent(text, text, integer, text) is 'Keeps the answer to a first request.';
