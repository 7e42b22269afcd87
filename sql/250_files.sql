-- Files of a channel in the Storage bucket `attachments`. Only members see them, and a file never changes.

-- Makes an existing bucket private too, so that files open only with a signed link.
insert into storage.buckets (id, name, public, file_size_limit)
values ('attachments', 'attachments', false, 52428800)
on conflict (id) do update set public = false;

create table public.attachments (
    id uuid primary key default gen_random_uuid(),
    channel_id uuid not null references public.channels (id) on delete cascade,
    path text not null generated always as (channel_id::text || '/' || id::text) stored,
    file_name text not null,
    size bigint not null,
    content_type text not null,
    width integer,
    height integer,
    uploaded_by uuid references auth.users (id) on delete set null,
    version text,
    created_at timestamptz not null default now(),
    constraint attachments_file_name_length check (char_length(file_name) between 1 and 255),
    constraint attachments_file_name_printable check (file_name !~ private.hidden_characters()),
    constraint attachments_size_not_negative check (size >= 0)
);
comment on table public.attachments is
'Files of channels, stored in the bucket attachments. Messages name them by id.';
comment on column public.attachments.path is 'Path in the bucket.';
comment on column public.attachments.file_name is 'Name that the uploader gave; for display.';
comment on column public.attachments.size is
'In bytes. A trigger copies it from Storage, as content_type and uploaded_by.';
comment on column public.attachments.content_type is 'Media type that the uploader gave to Storage.';
comment on column public.attachments.width is
'Width of an image in pixels, which the service reads from the file; null if it did not.';
comment on column public.attachments.height is 'Height, as width.';
comment on column public.attachments.uploaded_by is 'The uploader; null for service_role and for deleted users.';
comment on column public.attachments.version is
'The version of the file in Storage, which a trigger copies. Users cannot read another version.';
create index attachments_channel_id_idx on public.attachments (channel_id);
create index attachments_uploaded_by_idx on public.attachments (uploaded_by);
alter table public.attachments enable row level security;

create table private.message_files (
    attachment_id uuid not null references public.attachments (id) on delete cascade,
    message_id uuid not null references public.messages (id) on delete cascade,
    primary key (attachment_id, message_id)
);
comment on table private.message_files is
'The uploaded files that messages name. The sweep removes files that no message names.';
create index message_files_message_id_idx on private.message_files (message_id);
alter table private.message_files enable row level security;

create function private.is_my_folder(p_path text, p_is_managed boolean default false) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_folder text := split_part(p_path, '/', 1);
    v_channel_id uuid;
begin
    -- One spelling for each channel, in lower case: paths are compared as texts.
    if v_folder <> lower(v_folder) or not private.is_uuid(v_folder) then
        return false;
    end if;
    v_channel_id := v_folder::uuid;
    if p_is_managed then
        return exists (select from private.my_managed_channels as mine where mine.id = v_channel_id);
    end if;
    return exists (select from private.my_channels as mine where mine.id = v_channel_id);
end
$$;
comment on function private.is_my_folder(text, boolean) is
'Whether a path begins with the id of a channel of the caller, or of one that the caller manages.';

-- Runs with the rights of its owner, like the views of channels (200_channels).
create view private.my_posted_files
with (security_barrier = true) as
select
    file.id,
    file.path,
    file.version,
    message.channel_id
from private.message_files as used
inner join public.attachments as file on used.attachment_id = file.id
inner join public.messages as message on used.message_id = message.id
inner join public.channel_members as member on message.channel_id = member.channel_id
where member.user_id = (select auth.uid()) and message.deleted_at is null;
comment on view private.my_posted_files is
'Files in messages that the caller may read, wherever they were uploaded; one row for each message.';

create function private.is_posted_to_me(p_path text, p_version text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := split_part(p_path, '/', 2);
begin
    return private.is_uuid(v_id) and exists (
        select from private.my_posted_files as mine
        where mine.id = v_id::uuid and mine.path = p_path and mine.version is not distinct from p_version
    );
end
$$;
comment on function private.is_posted_to_me(text, text) is
'Whether a path and a version belong to a file in a message of the caller''s channels.';

create function private.is_replaced_file(p_path text, p_version text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := split_part(p_path, '/', 2);
begin
    return private.is_uuid(v_id) and exists (
        select from public.attachments as known
        where known.id = v_id::uuid and known.path = p_path and known.version is distinct from p_version
    );
end
$$;
comment on function private.is_replaced_file(text, text) is
'Whether a path in a folder of the caller belongs to an attachment that was registered in another version.';

create policy attachments_select_member on public.attachments
for select to authenticated
using (
    exists (select from private.my_channels as mine where mine.id = attachments.channel_id offset 0)
    or exists (select from private.my_posted_files as mine where mine.id = attachments.id)
);
create policy attachments_insert_uploader on public.attachments
for insert to authenticated
with check (
    uploaded_by = (select auth.uid())
    and exists (select from private.my_channels as mine where mine.id = attachments.channel_id)
);
create policy attachments_delete_uploader_or_manager on public.attachments
for delete to authenticated
using (
    exists (select from private.my_managed_channels as mine where mine.id = attachments.channel_id)
    or (
        uploaded_by = (select auth.uid())
        and exists (select from private.my_channels as mine where mine.id = attachments.channel_id)
    )
);

-- The path of a file is <channel id>/<attachment id>; names of files never become paths. No policy allows updates. A
-- signed upload URL asks none for two hours, so the policies of reading refuse a file that was replaced.
create policy objects_select_attachment on storage.objects
for select to authenticated using (bucket_id = 'attachments');
create policy objects_insert_attachment on storage.objects
for insert to authenticated with check (bucket_id = 'attachments');
create policy objects_delete_attachment on storage.objects
for delete to authenticated using (bucket_id = 'attachments');
-- Restrictive policies hold the rules, because policies of the application cannot open them. Some applications let all
-- users read all files, or change their own.
create policy objects_select_attachment_member on storage.objects
as restrictive for select to authenticated
using (
    bucket_id is distinct from 'attachments'
    or (
        -- Also without a type, as Storage tries an upload that may replace a file before it signs its URL.
        private.is_shown_type(metadata ->> 'mimetype')
        and (
            private.is_my_folder(name)
            and not private.is_retired_file(name)
            and not private.is_replaced_file(name, version)
            or private.is_my_media(name, version)
            or private.is_posted_to_me(name, version)
        )
    )
);
create policy objects_insert_attachment_member on storage.objects
as restrictive for insert to authenticated
with check (
    bucket_id is distinct from 'attachments'
    or (
        private.is_my_folder(name)
        and owner_id = (select auth.uid())::text
        -- Storage knows no type yet when it signs the URL of an upload.
        and (metadata ->> 'mimetype' is null or private.is_shown_type(metadata ->> 'mimetype'))
        and not private.is_retired_file(name)
        -- Rejects a new file at the path of one that was removed from Storage only.
        and case
            when name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                then not exists (
                    select from public.attachments as known
                    where known.id = split_part(objects.name, '/', 2)::uuid and known.path = objects.name
                )
            else false
        end
    )
);
create policy objects_update_attachment_none on storage.objects
as restrictive for update to authenticated
using (bucket_id is distinct from 'attachments') with check (bucket_id is distinct from 'attachments');
create policy objects_delete_attachment_owner_or_manager on storage.objects
as restrictive for delete to authenticated
using (
    bucket_id is distinct from 'attachments'
    or private.is_my_folder(name, true)
    or (
        owner_id = (select auth.uid())::text
        and private.is_my_folder(name)
    )
);
create policy objects_attachment_anon on storage.objects
as restrictive to anon
using (bucket_id is distinct from 'attachments') with check (bucket_id is distinct from 'attachments');

-- The bucket itself, too: an open policy of the application would let clients make it public.
create policy buckets_insert_attachments_none on storage.buckets
as restrictive for insert to authenticated, anon with check (id is distinct from 'attachments');
create policy buckets_update_attachments_none on storage.buckets
as restrictive for update to authenticated, anon
using (id is distinct from 'attachments') with check (id is distinct from 'attachments');
create policy buckets_delete_attachments_none on storage.buckets
as restrictive for delete to authenticated, anon using (id is distinct from 'attachments');

create function private.set_attachment_details_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    select
        (stored.metadata ->> 'size')::bigint,
        split_part(stored.metadata ->> 'mimetype', ';', 1),
        stored.owner_id::uuid,
        stored.version
    into new.size, new.content_type, new.uploaded_by, new.version
    from storage.objects as stored
    where stored.bucket_id = 'attachments' and stored.name = new.channel_id || '/' || new.id;
    if not found then
        perform private.fail(404, 'file_not_found', 'Storage has no such file. Upload it first.', 'files');
    end if;
    return new;
end
$$;
comment on function private.set_attachment_details_trigger() is
'Copies size, type, uploader and version from Storage. PT404 unless the file exists and the caller may see it.';

create function private.render_attachment(p_attachment public.attachments) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_attachment.id,
        'name', p_attachment.file_name,
        'size', p_attachment.size,
        'type', p_attachment.content_type,
        'width', p_attachment.width,
        'height', p_attachment.height,
        'path', p_attachment.path,
        'url', '/api/v2/messages/attachments/' || p_attachment.id
    );
end
$$;
comment on function private.render_attachment(public.attachments) is
'An attachment as JSON. path is for Storage clients; url leads to the service, which checks the rights of each reader
(decision 0015).';

create function private.find_file(p_item jsonb, p_channel_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := coalesce(p_item ->> 'attachment_id', p_item ->> 'id');
    v_file public.attachments;
begin
    -- attachment_id is always ours. An id is ours only if it is a UUID; else it belongs to the application.
    if v_id is null or p_item ->> 'attachment_id' is null and not private.is_uuid(v_id) then
        return p_item;
    end if;
    if private.is_uuid(v_id)
        and (lower(v_id) = lower(p_item ->> 'id') or private.is_uuid(p_item ->> 'id') is not true)
    then
        select * into v_file
        from public.attachments as file
        where file.id = v_id::uuid
            -- Uploaders may post a file in any channel, others only in channels that have it already.
            and (
                file.channel_id = p_channel_id
                or (select private.is_service())
                or file.uploaded_by = (select auth.uid())
                or exists (
                    select from private.my_posted_files as mine
                    where mine.id = file.id and mine.channel_id = p_channel_id
                )
            );
    end if;
    if v_file.id is null then
        perform private.fail(
            404, 'attachment_not_found',
            'This uploaded file does not exist, or you may not post it here. Upload it again.', 'attachments'
        );
    end if;
    return p_item || private.render_attachment(v_file);
end
$$;
comment on function private.find_file(jsonb, uuid) is
'An attachment of a message, in which the facts of the stored file replace what the sender wrote. An attachment without
a stored file stays as it is. PT404 for a file that the author may not post in the channel.';

create function private.require_attachments_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The constraints, which run after this trigger, reject these.
    if jsonb_typeof(new.attachments) <> 'array' or not private.fits(new.attachments, private.attachments_max_bytes())
    then
        return new;
    end if;
    new.attachments := (
        select coalesce(jsonb_agg(
            case
                when jsonb_typeof(item.value) = 'object' then private.find_file(item.value, new.channel_id)
                else item.value
            end order by item.place
        ), '[]')
        from jsonb_array_elements(new.attachments) with ordinality as item (value, place)
    );
    return new;
end
$$;
comment on function private.require_attachments_trigger() is
'Fills in the facts of the files that a message names. PT404 if its author may not post one of them.';

-- Definer, because no client writes this table: only a message that names a file keeps it.
create function private.link_attachments_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Each UUID is an attachment: require_attachments_trigger has checked that.
    insert into private.message_files (attachment_id, message_id)
    select distinct named.id::uuid, new.id
    from jsonb_array_elements(new.attachments) as item (value)
    cross join lateral (values (item.value ->> 'attachment_id'), (item.value ->> 'id')) as named (id)
    where private.is_uuid(named.id);
    return null;
end
$$;
comment on function private.link_attachments_trigger() is
'Links a message to the uploaded files that it names, so that the sweep keeps them.';

-- Definer, because no client deletes files of others.
create function private.drop_unused_file_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Locks first, so that the statement below sees a message that names the file at this moment.
    perform from public.attachments as attachment where attachment.id = old.attachment_id for update;
    delete from public.attachments as attachment
    where attachment.id = old.attachment_id
        and not exists (
            select from private.message_files as used
            inner join public.messages as message on used.message_id = message.id
            where used.attachment_id = attachment.id and message.deleted_at is null
        );
    return null;
end
$$;
comment on function private.drop_unused_file_trigger() is
'Trigger: deletes a file when the row of the last message that named it is deleted.';
