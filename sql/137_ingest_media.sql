-- Files of ingested messages in the bucket `attachments`: where a caller may upload them, and which are stored.
-- Promise: a message has one file, however often it is uploaded, and no URL of a caller is fetched.
-- Storage has no trigger of ours: the next request, or the clean-up, finds what was uploaded.

create table private.conversation_media (
    path text primary key,
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    workspace_id uuid not null,
    external_id text collate "C" not null,
    sender text collate "C" not null,
    size bigint,
    stored_at timestamptz,
    created_at timestamptz not null default now()
);
comment on table private.conversation_media is
'Files of ingested messages that a caller was invited to upload, and those that are stored.';
comment on column private.conversation_media.path is 'Path in the bucket attachments.';
comment on column private.conversation_media.size is 'In bytes, as Storage counted them; null until then.';
comment on column private.conversation_media.stored_at is
'When Storage took the file; null while it has none, or one of a forbidden type.';
create index conversation_media_conversation_id_idx on private.conversation_media (conversation_id, external_id);
create index conversation_media_workspace_id_idx on private.conversation_media (workspace_id) include (size);
create index conversation_media_created_at_idx on private.conversation_media (created_at) where stored_at is null;
alter table private.conversation_media enable row level security;

create function private.media_path(p_conversation_id uuid, p_external_id text, p_sender text) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select 'conversations/' || p_conversation_id || '/'
        || encode(sha256(convert_to(p_external_id || e'\x1f' || p_sender, 'UTF8')), 'hex')
$$;
comment on function private.media_path(uuid, text, text) is
'The path of the file of a message in the bucket attachments: always the same, so that a repetition replaces the file.';

create function private.media_link(p_path text) returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select '/storage/v1/object/authenticated/attachments/' || p_path
$$;
comment on function private.media_link(text) is
'What media_url says of a stored file: its address below the URL of the project, for members with their access token.';

-- Definer, because no client reads the table.
create function private.is_my_media(p_path text) returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return starts_with(p_path, 'conversations/') and exists (
        select from private.conversation_media as known
        inner join private.my_workspaces as mine on known.workspace_id = mine.id
        where known.path = p_path and known.stored_at is not null
    );
end
$$;
comment on function private.is_my_media(text) is
'Whether a path is a stored file of a conversation of the caller.';

-- Definer, because the backend may neither read Storage nor change what was said.
create function private.settle_media(p_ids uuid[], p_limit integer) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_found private.conversation_media[];
    v_updates private.ingest_update[];
    v_ids uuid[];
begin
    v_found := array(
        select (
            known.path, known.conversation_id, known.workspace_id, known.external_id, known.sender,
            (object.metadata ->> 'size')::bigint, object.updated_at, known.created_at
        )::private.conversation_media
        from private.conversation_media as known
        inner join storage.objects as object on object.bucket_id = 'attachments' and known.path = object.name
        where known.stored_at is null
            and (p_ids is null or known.conversation_id = any(p_ids))
            -- Browsers run scripts in these (250_files.sql). They stay out of reach, and the sweep removes them.
            and coalesce(object.metadata ->> 'mimetype', '') !~* 'html|svg|[/+](xml|xsl)'
        order by known.created_at
        limit p_limit
    );
    if v_found = '{}' then
        return 0;
    end if;
    perform from public.conversations as conversation
    where conversation.id in (select found.conversation_id from unnest(v_found) as found)
    order by conversation.id
    for no key update;
    update private.conversation_media as known
    set size = found.size, stored_at = found.stored_at
    from unnest(v_found) as found
    where known.path = found.path;
    select
        array_agg((
            found.position, 0, found.external_id, found.sender, 'media', 'storage', found.stored_at, 0,
            jsonb_build_object('media_url', private.media_link(found.path)), null
        )::private.ingest_update order by found.position),
        array_agg(found.conversation_id order by found.position)
    into v_updates, v_ids
    from unnest(v_found) with ordinality as found (
        path, conversation_id, workspace_id, external_id, sender, size, stored_at, created_at, position
    );
    perform private.record_updates(v_updates, v_ids), private.refresh_messages(v_updates, v_ids);
    return cardinality(v_found);
end
$$;
comment on function private.settle_media(uuid[], integer) is
'Lets messages show their uploaded files: of these conversations, or of all if p_ids is null. Returns how many.';

-- Definer, because no client and no backend writes the table.
create function private.offer_uploads(
    p_source private.ingest_source, p_conversations jsonb, p_results private.ingest_result[]
) returns private.ingest_result[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_ids uuid[] := array(select result.conversation_id from unnest(p_results) as result);
    v_uploads jsonb;
begin
    perform private.settle_media(v_ids, 1000);
    with wanted as (
        select
            parent.position, stored.conversation_id, stored.external_id, stored.sender,
            private.media_path(stored.conversation_id, stored.external_id, stored.sender) as path
        from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
        cross join lateral jsonb_array_elements(case jsonb_typeof(parent.value -> 'messages')
            when 'array' then parent.value -> 'messages' else '[]'
        end) with ordinality as given (value, number)
        inner join public.conversation_messages as stored
            on stored.conversation_id = v_ids[parent.position]
            and stored.external_id = given.value ->> 'id'
            and stored.sender = case parent.value -> 'kind'
                when '"group"' then private.parse_sender(given.value) else ''
            end
        where stored.message ->> 'type' in ('image', 'audio', 'video', 'file', 'sticker')
            and stored.deleted_at is null
            and stored.message ->> 'media_url' is distinct from private.media_link(
                private.media_path(stored.conversation_id, stored.external_id, stored.sender)
            )
            and private.has_media_room(p_source.workspace_id)
        order by parent.position, given.number
        limit 100
    ), reserved as (
        insert into private.conversation_media as known (path, conversation_id, workspace_id, external_id, sender)
        select distinct wanted.path, wanted.conversation_id, p_source.workspace_id, wanted.external_id, wanted.sender
        from wanted
        on conflict (path) do update set stored_at = null where known.stored_at is not null
    )

    select jsonb_object_agg(listed.position, listed.uploads) into v_uploads
    from (
        select wanted.position, jsonb_agg(jsonb_build_object(
            'message_id', wanted.external_id, 'sender', nullif(wanted.sender, ''), 'path', wanted.path
        )) as uploads
        from wanted
        group by wanted.position
    ) as listed;
    return array(
        select (
            result.conversation_id, result.external_id, result.status, result.messages_added, result.conflicts,
            result.updates_added, result.updates_waiting,
            case when result.conversation_id is not null then coalesce(v_uploads -> result.position::text, '[]') end
        )::private.ingest_result
        from unnest(p_results) with ordinality as result (
            conversation_id, external_id, status, messages_added, conflicts, updates_added, updates_waiting, uploads,
            position
        )
        order by result.position
    );
end
$$;
comment on function private.offer_uploads(private.ingest_source, jsonb, private.ingest_result[]) is
'The same results, each with the paths at which the files of its messages are to be uploaded: at most 100 in a request,
and not for files that are stored. The two doors add signed URLs.';

create function private.has_media_room(p_workspace_id uuid) returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(sum(known.size), 0) < (select settings.workspace_media_bytes from private.settings)
    from private.conversation_media as known
    where known.workspace_id = p_workspace_id
$$;
comment on function private.has_media_room(uuid) is
'Whether the stored files of the conversations of a workspace are within the limit.';

create function private.render_uploads(p_uploads jsonb) returns json
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select coalesce(json_agg(json_strip_nulls(json_build_object(
        'message_id', upload.value -> 'message_id', 'sender', upload.value -> 'sender',
        'path', upload.value -> 'path',
        -- The doors put the URL here. Within a text, a quote has a backslash, so no text of a caller looks like this.
        'url', 'sign:' || (upload.value ->> 'path')
    )) order by upload.position), '[]')
    from jsonb_array_elements(p_uploads) with ordinality as upload (value, position)
$$;
comment on function private.render_uploads(jsonb) is
'Uploads as the answer shows them, with a mark where the doors put the signed URL.';

-- Definer, because no backend deletes from the table.
create function private.delete_media(p_limit integer, p_age interval) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from private.conversation_media as known
    where known.path in (
        select unused.path
        from private.conversation_media as unused
        where unused.stored_at is null and unused.created_at < now() - p_age
        order by unused.created_at
        limit p_limit
        for update skip locked
    );
end
$$;
comment on function private.delete_media(integer, interval) is
'Deletes rows of files that were not uploaded within p_age, or have a forbidden type.';
