-- Connections: a user's links to accounts on outside platforms, and the API keys with which a client ingests for them.
-- Promise: the database stores only hashes of keys, and a rotation leaves the old keys valid until the overlap ends.

create table public.messaging_connections (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    platform text not null,
    connection_id text not null,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint messaging_connections_connection_id_unique unique (connection_id),
    constraint messaging_connections_connection_id_form check (connection_id ~ '^[A-Za-z0-9_.-]{1,100}$'),
    constraint messaging_connections_platform_known check (
        platform in ('whatsapp', 'signal', 'telegram', 'wechat')
    )
);
comment on table public.messaging_connections is
'A user''s link to one account on an outside platform. Its keys let a client ingest conversations for the user.';
comment on column public.messaging_connections.connection_id is 'The public name that ingest requests send.';
comment on column public.messaging_connections.is_active is 'While this is false, ingest answers 403.';
create index messaging_connections_user_id_idx on public.messaging_connections (user_id);
alter table public.messaging_connections enable row level security;

create table private.messaging_keys (
    id uuid primary key default gen_random_uuid(),
    connection_id uuid not null references public.messaging_connections (id) on delete cascade,
    secret_hash bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    constraint messaging_keys_secret_hash_unique unique (connection_id, secret_hash),
    constraint messaging_keys_secret_hash_is_sha256 check (octet_length(secret_hash) = 32)
);
comment on table private.messaging_keys is
'Keys of connections, stored as hashes. Several may be valid at once, so that a rotation needs no downtime.';
comment on column private.messaging_keys.secret_hash is
'SHA-256 of the key. A slow hash adds no safety, because each key has 256 random bits.';
comment on column private.messaging_keys.expires_at is 'The key is invalid from this time on; null means never.';
comment on column private.messaging_keys.last_used_at is 'Exact to a minute, so that most requests write nothing.';
create index messaging_keys_secret_hash_idx on private.messaging_keys (secret_hash);
create index messaging_keys_expires_at_idx on private.messaging_keys (expires_at) where expires_at is not null;
alter table private.messaging_keys enable row level security;

create policy messaging_connections_select_owner on public.messaging_connections
for select to authenticated using (user_id = (select auth.uid()));
create policy messaging_connections_insert_owner on public.messaging_connections
for insert to authenticated with check (user_id = (select auth.uid()));
create policy messaging_connections_update_owner on public.messaging_connections
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy messaging_connections_delete_owner on public.messaging_connections
for delete to authenticated using (user_id = (select auth.uid()));

-- Definer, because no client role may read or write keys. It checks that the connection is the caller's.
create function private.rotate_messaging_key(p_connection_id uuid, p_overlap interval) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret text := private.generate_secret();
begin
    perform from public.messaging_connections as connection
    where connection.id = p_connection_id and connection.user_id = (select auth.uid())
    for no key update;
    if not found then
        perform private.fail(
            404, 'connection_not_found', 'This connection does not exist or is not yours. Check connection_id.'
        );
    end if;
    update private.messaging_keys as key
    set expires_at = least(key.expires_at, now() + p_overlap)
    where key.connection_id = p_connection_id;
    insert into private.messaging_keys (connection_id, secret_hash)
    values (p_connection_id, private.hash_secret(v_secret));
    return v_secret;
end
$$;
comment on function private.rotate_messaging_key(uuid, interval) is
'Creates a key for a connection of the caller; earlier keys expire after the overlap. PT404 for other callers.';

create function public.create_messaging_connection(platform text, connection_id text default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_connection public.messaging_connections;
begin
    insert into public.messaging_connections (platform, connection_id)
    values (
        create_messaging_connection.platform,
        coalesce(
            create_messaging_connection.connection_id,
            create_messaging_connection.platform || '_' || replace(gen_random_uuid()::text, '-', '')
        )
    )
    returning * into v_connection;
    return json_build_object(
        'id', v_connection.id,
        'platform', v_connection.platform,
        'connection_id', v_connection.connection_id,
        'is_active', v_connection.is_active,
        'api_secret', private.rotate_messaging_key(v_connection.id, interval '0')
    );
end
$$;
comment on function public.create_messaging_connection(text, text) is
'Creates a connection of the caller. The answer contains its api_secret, which is shown only once.
Raises 23505 if the connection_id is taken, and 23514 if the platform is unknown.';

create function public.rotate_messaging_key(connection_id text, overlap interval default '24 hours') returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    if rotate_messaging_key.overlap is null
        or rotate_messaging_key.overlap not between interval '0' and interval '30 days'
    then
        perform private.fail(
            400, 'overlap_out_of_range', 'overlap is not in range. Send an interval from 0 to 30 days.'
        );
    end if;
    select connection.id into v_id
    from public.messaging_connections as connection
    where connection.connection_id = rotate_messaging_key.connection_id;
    return json_build_object(
        'connection_id', rotate_messaging_key.connection_id,
        'api_secret', private.rotate_messaging_key(v_id, rotate_messaging_key.overlap),
        'previous_keys_expire_at', now() + rotate_messaging_key.overlap
    );
end
$$;
comment on function public.rotate_messaging_key(text, interval) is
'Creates a new api_secret for a connection of the caller, which is shown only once. Earlier secrets work until the
overlap (default 24 hours, at most 30 days) ends; with an overlap of zero they expire now. PT404 for other callers.';

-- Definer, because no client role may read keys. It returns the keys of the caller's own connection, without hashes.
create function private.list_messaging_keys(p_connection_id uuid) returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(jsonb_agg(
        jsonb_build_object(
            'id', key.id, 'created_at', key.created_at,
            'expires_at', key.expires_at, 'last_used_at', key.last_used_at
        )
        order by key.created_at, key.id
    ), '[]')
    from private.messaging_keys as key
    inner join public.messaging_connections as connection on key.connection_id = connection.id
    where connection.id = p_connection_id and connection.user_id = (select auth.uid())
$$;
comment on function private.list_messaging_keys(uuid) is
'The keys of a connection of the caller: id, created_at, expires_at and last_used_at of each.';

create function public.keys(public.messaging_connections) returns jsonb
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select private.list_messaging_keys($1.id)
$$;
comment on function public.keys(public.messaging_connections) is
'Computed field: the keys of a connection as an array of id, created_at, expires_at and last_used_at, without secrets.';

-- Definer, because no client role may read hashes of keys.
create function private.authenticate_connection(
    p_platform text, p_connection_id text, p_secret text,
    out user_id uuid, out is_active boolean, out is_key_valid boolean, out key_id uuid
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_last_used_at timestamptz;
begin
    select connection.user_id, connection.is_active, key.id is not null, key.id, key.last_used_at
    into user_id, is_active, is_key_valid, key_id, v_last_used_at
    from public.messaging_connections as connection
    left join private.messaging_keys as key
        on connection.id = key.connection_id
        and key.secret_hash = private.hash_secret(p_secret)
        and (key.expires_at is null or key.expires_at > now())
    where connection.connection_id = p_connection_id and connection.platform = p_platform;
    if is_key_valid and (v_last_used_at is null or v_last_used_at < now() - interval '1 minute') then
        -- SKIP LOCKED, because one of several concurrent requests is enough to write the time.
        update private.messaging_keys as key set last_used_at = now()
        where key.id = (
            select free.id from private.messaging_keys as free
            where free.id = key_id
            for no key update skip locked
        );
    end if;
end
$$;
comment on function private.authenticate_connection(text, text, text) is
'Finds a connection and the key that a secret belongs to: its user, whether it is active, whether the key is valid, and
the id of the key. user_id is null if the connection does not exist.';

-- Definer, because no client role may read hashes of keys.
create function private.is_valid_key(p_secret text) returns boolean
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
    select exists (
        select from private.messaging_keys as key
        where key.secret_hash = private.hash_secret(p_secret)
            and (key.expires_at is null or key.expires_at > now())
    )
$$;
comment on function private.is_valid_key(text) is 'Checks whether a secret is a valid key of any connection.';
