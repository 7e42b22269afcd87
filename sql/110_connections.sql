-- Connections: a user's links to accounts on outside platforms, and the API keys with which a client ingests for them.
-- Promise: the database stores only hashes of keys, and a rotation leaves the old keys valid until the overlap ends.

create type private.ingest_source as (
    id uuid,
    user_id uuid,
    workspace_id uuid,
    scope_id uuid,
    platform text,
    connection_id text,
    is_active boolean,
    key_id uuid,
    stores_media boolean
);
comment on type private.ingest_source is
'The connection of an ingest request, with what its conversations and messages need. key_id is the valid key that the
request has; null if it has none.';

create table public.messaging_connections (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    workspace_id uuid not null default auth.uid() references public.workspaces (id) on delete cascade,
    platform text not null,
    connection_id text not null,
    is_active boolean not null default true,
    is_apart boolean not null default false,
    stores_media boolean not null default false,
    scope_id uuid not null generated always as (case when is_apart then id else workspace_id end) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint messaging_connections_connection_id_unique unique (connection_id),
    constraint messaging_connections_connection_id_form check (connection_id ~ '^[A-Za-z0-9_.-]{1,100}$'),
    constraint messaging_connections_platform_known check (
        platform in ('whatsapp', 'signal', 'telegram', 'wechat')
    )
);
comment on table public.messaging_connections is
'A link to one account on an outside platform. Its keys let a client ingest conversations into the workspace.';
comment on column public.messaging_connections.workspace_id is
'Its members read the conversations. Without a value, the personal workspace of user_id.';
comment on column public.messaging_connections.user_id is
'The owner: a part of the key of each conversation. When the owner leaves a team, an owner of the workspace follows.';
comment on column public.messaging_connections.connection_id is 'The public name that ingest requests send.';
comment on column public.messaging_connections.is_active is 'While this is false, ingest answers 403.';
comment on column public.messaging_connections.is_apart is
'Whether it shares no conversations with other connections of its owner, so that each number has its own.';
comment on column public.messaging_connections.stores_media is
'Whether each answer offers uploads for the files of its messages. If false, only requests with media_uploads get
them.';
comment on column public.messaging_connections.scope_id is
'Within it, owner, platform and external id name one conversation: the workspace, or a connection that is apart.';
create index messaging_connections_user_id_idx on public.messaging_connections (user_id);
create index messaging_connections_workspace_id_idx on public.messaging_connections (workspace_id);
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

create policy messaging_connections_select_member on public.messaging_connections
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy messaging_connections_insert_manager on public.messaging_connections
for insert to authenticated
with check (
    user_id = (select auth.uid())
    and exists (
        select from private.my_managed_workspaces as mine where mine.id = messaging_connections.workspace_id
    )
);
create policy messaging_connections_update_manager on public.messaging_connections
for update to authenticated
using (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)))
with check (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)));
create policy messaging_connections_delete_manager on public.messaging_connections
for delete to authenticated
using (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)));

-- Definer, because no client role may read or write keys. It checks that the caller manages the connection.
create function private.rotate_messaging_key(p_connection_id uuid, p_overlap interval) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret text := private.generate_secret();
    v_workspace_id uuid;
    v_had_keys boolean;
    v_key_id uuid;
begin
    select connection.workspace_id into v_workspace_id
    from public.messaging_connections as connection
    where connection.id = p_connection_id
        and exists (select from private.my_managed_workspaces as mine where mine.id = connection.workspace_id)
    for no key update;
    if not found then
        perform private.fail(
            404, 'connection_not_found', 'This connection does not exist or is not yours. Check connection_id.'
        );
    end if;
    update private.messaging_keys as key
    set expires_at = least(key.expires_at, now() + p_overlap)
    where key.connection_id = p_connection_id;
    v_had_keys := found;
    insert into private.messaging_keys (connection_id, secret_hash)
    values (p_connection_id, private.hash_secret(v_secret))
    returning id into v_key_id;
    perform private.record_audit(
        v_workspace_id, case when v_had_keys then 'key.rotated' else 'key.created' end, v_key_id,
        jsonb_build_object('connection_id', p_connection_id, 'overlap', p_overlap)
    );
    return v_secret;
end
$$;
comment on function private.rotate_messaging_key(uuid, interval) is
'Creates a key for a connection that the caller manages; earlier keys expire after the overlap. PT404 for others.';

create function public.create_messaging_connection(
    platform text, connection_id text default null,
    workspace_id uuid default auth.uid(), is_apart boolean default false
)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_connection public.messaging_connections;
begin
    insert into public.messaging_connections (platform, connection_id, workspace_id, is_apart)
    values (
        create_messaging_connection.platform,
        coalesce(
            create_messaging_connection.connection_id,
            create_messaging_connection.platform || '_' || right(gen_random_uuid()::text, 12)
        ),
        create_messaging_connection.workspace_id,
        create_messaging_connection.is_apart
    )
    returning * into v_connection;
    return json_build_object(
        'id', v_connection.id,
        'platform', v_connection.platform,
        'connection_id', v_connection.connection_id,
        'is_active', v_connection.is_active,
        'api_secret', private.rotate_messaging_key(v_connection.id, interval '0')
    );
exception
    when unique_violation then
        raise unique_violation using
            message = 'This connection_id is taken.',
            hint = 'Choose another one. If the connection is yours, call rotate_messaging_key for a new key.',
            constraint = 'messaging_connections_connection_id_unique';
end
$$;
comment on function public.create_messaging_connection(text, text, uuid, boolean) is
'Creates a connection of the caller, in the personal workspace or in one that the caller manages. is_apart keeps its
conversations apart from other connections of the caller. The answer contains its api_secret, shown only once.
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
        -- Times too, because comparing intervals counts each month as 30 days: long ones can compare as short.
        or now() + rotate_messaging_key.overlap not between now() and now() + interval '30 days'
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
'Creates a new api_secret for a connection that the caller manages, shown only once. Earlier secrets work until the
overlap (default 24 hours, at most 30 days) ends; with an overlap of zero they expire now. PT404 for other callers.';

-- Definer, because no client role may write keys. It checks that the caller manages the connection.
create function private.revoke_messaging_key(p_key_id uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_connection public.messaging_connections;
begin
    select connection.* into v_connection
    from private.messaging_keys as key
    inner join public.messaging_connections as connection on key.connection_id = connection.id
    inner join private.my_managed_workspaces as mine on connection.workspace_id = mine.id
    where key.id = p_key_id;
    if not found then
        perform private.fail(404, 'key_not_found', 'You manage no connection with this key. Check key_id.', 'key_id');
    end if;
    update private.messaging_keys as key set expires_at = least(key.expires_at, now()) where key.id = p_key_id;
    perform private.record_audit(
        v_connection.workspace_id, 'key.revoked', p_key_id, jsonb_build_object('connection_id', v_connection.id)
    );
end
$$;
comment on function private.revoke_messaging_key(uuid) is
'Makes a key invalid from now on. PT404 unless the caller manages its connection.';

create function public.revoke_messaging_key(key_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.revoke_messaging_key(revoke_messaging_key.key_id);
end
$$;
comment on function public.revoke_messaging_key(uuid) is
'Makes one key invalid from now on; the other keys of the connection stay valid. The computed field keys lists ids.
PT404 unless the caller manages the connection.';

-- Definer, because no client role may read keys. It checks that the caller manages the connection, and returns no hash.
create function private.list_messaging_keys(p_connection_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(jsonb_agg(
            jsonb_build_object(
                'id', key.id, 'created_at', key.created_at,
                'expires_at', key.expires_at, 'last_used_at', key.last_used_at
            )
            order by key.created_at, key.id
        ), '[]')
        from private.messaging_keys as key
        inner join public.messaging_connections as connection on key.connection_id = connection.id
        where connection.id = p_connection_id
            and exists (select from private.my_managed_workspaces as mine where mine.id = connection.workspace_id)
    );
end
$$;
comment on function private.list_messaging_keys(uuid) is
'The keys of a connection that the caller manages: id, created_at, expires_at and last_used_at of each.';

create function public.keys(public.messaging_connections) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.list_messaging_keys($1.id);
end
$$;
comment on function public.keys(public.messaging_connections) is
'Computed field: the keys of a connection as an array of id, created_at, expires_at and last_used_at, without secrets.';

-- Definer, because no client role may read hashes of keys.
create function private.authenticate_connection(p_platform text, p_connection_id text, p_secret text)
returns private.ingest_source
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_found record;
begin
    select connection.*, key.id as key_id, key.last_used_at into v_found
    from public.messaging_connections as connection
    left join private.messaging_keys as key
        on connection.id = key.connection_id
        and key.secret_hash = private.hash_secret(p_secret)
        and (key.expires_at is null or key.expires_at > now())
    where connection.connection_id = p_connection_id and connection.platform = p_platform;
    if v_found.key_id is not null
        and (v_found.last_used_at is null or v_found.last_used_at < now() - interval '1 minute')
    then
        -- SKIP LOCKED, because one of several concurrent requests is enough to write the time.
        update private.messaging_keys as key set last_used_at = now()
        where key.id = (
            select free.id from private.messaging_keys as free
            where free.id = v_found.key_id
            for no key update skip locked
        );
    end if;
    return (
        v_found.id, v_found.user_id, v_found.workspace_id, v_found.scope_id, v_found.platform, v_found.connection_id,
        v_found.is_active, v_found.key_id, v_found.stores_media
    );
end
$$;
comment on function private.authenticate_connection(text, text, text) is
'Finds a connection and the key that a secret belongs to. The id is null if the connection does not exist, and key_id if
the key is not valid.';

-- Definer, because no client role may read hashes of keys.
create function private.is_valid_key(p_secret text) returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from private.messaging_keys as key
        where key.secret_hash = private.hash_secret(p_secret)
            and (key.expires_at is null or key.expires_at > now())
    );
end
$$;
comment on function private.is_valid_key(text) is 'Checks whether a secret is a valid key of any connection.';
