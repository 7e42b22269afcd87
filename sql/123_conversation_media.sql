-- Files of ingested messages in the bucket `attachments`: their paths, and which of them are stored.
-- Promise: a message has one file, however often it is uploaded.

create table private.conversation_media (
    path text primary key,
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    workspace_id uuid not null,
    external_id text collate "C" not null,
    sender text collate "C" not null,
    size bigint,
    stored_at timestamptz,
    version text,
    created_at timestamptz not null default now()
);
comment on table private.conversation_media is
'Files of ingested messages that a caller was invited to upload, and those that are stored.';
comment on column private.conversation_media.path is 'Path in the bucket attachments.';
comment on column private.conversation_media.size is 'In bytes, as Storage counted them; null until then.';
comment on column private.conversation_media.stored_at is
'When Storage got the file; null while it has none, or one of a forbidden type.';
comment on column private.conversation_media.version is
'The version of the file in Storage. Users cannot read another version until a request settles it.';
create index conversation_media_conversation_id_idx on private.conversation_media (conversation_id, external_id);
create index conversation_media_workspace_id_idx on private.conversation_media (workspace_id) include (size);
create index conversation_media_created_at_idx on private.conversation_media (created_at) where stored_at is null;
alter table private.conversation_media enable row level security;

create function private.is_shown_type(p_type text) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Storage keeps the type that the client names, also spaces and several types. Browsers run scripts in HTML, SVG
    -- and any XML, and they guess the type of a file whose type is missing, unknown or malformed. Office documents
    -- have openxml in their type and are no XML for a browser.
    return coalesce(
        p_type ~* '^\s*[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9]'
        and p_type !~* 'html|svg|[/+](xml|xsl)|multipart/|unknown',
        false
    );
end
$$;
comment on function private.is_shown_type(text) is
'Whether users may read files of a media type: not HTML, SVG and XML, nor a type that browsers replace by a guess.';

create function private.media_path(p_conversation_id uuid, p_external_id text, p_sender text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 'conversations/' || p_conversation_id || '/'
        || encode(sha256(convert_to(p_external_id || e'\x1f' || p_sender, 'UTF8')), 'hex');
end
$$;
comment on function private.media_path(uuid, text, text) is
'The path of the file of a message in the bucket attachments: always the same, so that a repetition replaces the file.';

create function private.free_media_path(p_conversation_id uuid, p_external_id text, p_sender text) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_path text := private.media_path(p_conversation_id, p_external_id, p_sender);
begin
    return case
        when exists (
            select from private.conversation_media as other
            where other.path = v_path and other.conversation_id <> p_conversation_id
        ) then private.media_path(p_conversation_id, p_external_id, p_sender || e'\x1f')
        else v_path
    end;
end
$$;
comment on function private.free_media_path(uuid, text, text) is
'As media_path, but another one if a separated conversation has taken a file with this path along.';

create function private.media_link(p_path text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return '/storage/v1/object/authenticated/attachments/' || p_path;
end
$$;
comment on function private.media_link(text) is
'The media_url of a stored file: its path below the URL of the project, for members with their access token.';

-- Definer, because no role reads the table. A conversation that was joined keeps the paths of its files.
create function private.shows_stored_file(p_stored public.conversation_messages) returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from private.conversation_media as known
        where known.conversation_id = p_stored.conversation_id
            and known.external_id = p_stored.external_id and known.sender = p_stored.sender
            and private.media_link(known.path) = p_stored.message ->> 'media_url'
    );
end
$$;
comment on function private.shows_stored_file(public.conversation_messages) is
'Whether a message shows a file of our own bucket.';

-- Definer, because no client reads the table.
create function private.is_my_media(p_path text, p_version text) returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return starts_with(p_path, 'conversations/') and exists (
        select from private.conversation_media as known
        inner join private.my_workspaces as mine on known.workspace_id = mine.id
        where known.path = p_path and known.stored_at is not null and known.version is not distinct from p_version
    );
end
$$;
comment on function private.is_my_media(text, text) is
'Whether a path is a stored file of a conversation of the caller, in the version that was settled.';

create function private.has_media_room(p_workspace_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select
            coalesce(sum(known.size), 0)
            < 1000000.0 * (select settings.workspace_media_megabytes from private.settings)
        from private.conversation_media as known
        where known.workspace_id = p_workspace_id
    );
end
$$;
comment on function private.has_media_room(uuid) is
'Whether the stored files of the conversations of a workspace are within the limit.';

create function private.render_uploads(p_uploads jsonb) returns json
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select case when p_uploads is not null then coalesce(json_agg(json_strip_nulls(json_build_object(
            'message_id', upload.value -> 'message_id', 'sender', upload.value -> 'sender',
            'path', upload.value -> 'path',
            -- The service or the Edge Function replaces this by the URL. Text of a caller cannot look like it, because
            -- JSON escapes quotes in text.
            'url', 'sign:' || (upload.value ->> 'path')
        )) order by upload.position), '[]') end
        from jsonb_array_elements(p_uploads) with ordinality as upload (value, position)
    );
end
$$;
comment on function private.render_uploads(jsonb) is
'Uploads as the answer shows them, with a placeholder that the service or the Edge Function replaces by the signed
URL.';

-- Definer, because no backend deletes from the table.
create function private.delete_media(p_limit integer, p_age interval) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from private.conversation_media as known
    where known.path = any(array(
        select unused.path
        from private.conversation_media as unused
        where unused.stored_at is null and unused.created_at < now() - p_age
        order by unused.created_at
        limit p_limit
        for update skip locked
    ));
end
$$;
comment on function private.delete_media(integer, interval) is
'Deletes rows of files that were not uploaded within p_age, or have a forbidden type.';
