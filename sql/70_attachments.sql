-- Files of channels: the bucket that holds them, who may reach them there, and what they are called.

-- Private also where a bucket of this name was there before and was not: links to these files are signed or fail.
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
    uploaded_by uuid references auth.users (id) on delete set null,
    created_at timestamptz not null default now(),
    constraint attachments_file_name_length check (char_length(file_name) between 1 and 255),
    constraint attachments_file_name_printable check (file_name !~ '[\u0001-\u001f\u007f]'),
    constraint attachments_size_not_negative check (size >= 0)
);
comment on table public.attachments is
'Files of channels, which lie in the bucket of this name. Messages name them by id.';
comment on column public.attachments.path is 'Where in the bucket.';
comment on column public.attachments.file_name is 'To show to people, as the uploader called it.';
comment on column public.attachments.size is 'In bytes, as Storage counted them. Set by a trigger, as the next two.';
comment on column public.attachments.content_type is 'What Storage was told when the file was stored.';
comment on column public.attachments.uploaded_by is 'Who stored it; null for service_role, and when the user is gone.';
create index attachments_channel_id_idx on public.attachments (channel_id);
create index attachments_uploaded_by_idx on public.attachments (uploaded_by);

alter table public.attachments enable row level security;
revoke all on public.attachments from public, anon, authenticated, service_role;
grant select, insert (id, channel_id, file_name), delete on public.attachments to authenticated, service_role;

create policy attachments_select_member on public.attachments
for select to authenticated using (channel_id in (select mine.id from private.my_channels as mine));
create policy attachments_insert_uploader on public.attachments
for insert to authenticated
with check (uploaded_by = (select auth.uid()) and channel_id in (select mine.id from private.my_channels as mine));
create policy attachments_delete_uploader_or_governor on public.attachments
for delete to authenticated
using (
    channel_id in (select mine.id from private.my_governed_channels as mine)
    or (uploaded_by = (select auth.uid()) and channel_id in (select mine.id from private.my_channels as mine))
);

-- A file lies at <channel id>/<attachment id>. Names that people gave never become paths. There is none for update:
-- what was sent stays what it was.
create policy objects_select_attachment on storage.objects
for select to authenticated using (bucket_id = 'attachments');
create policy objects_insert_attachment on storage.objects
for insert to authenticated with check (bucket_id = 'attachments');
create policy objects_delete_attachment on storage.objects
for delete to authenticated using (bucket_id = 'attachments');

-- Who may is said by restrictive policies, which those of the application cannot open: some let everybody read all
-- files, or change their own.
create policy objects_select_attachment_member on storage.objects
as restrictive for select to authenticated
using (
    bucket_id is distinct from 'attachments'
    or (storage.foldername(name))[1] in (select mine.id::text from private.my_channels as mine)
);
create policy objects_insert_attachment_member on storage.objects
as restrictive for insert to authenticated
with check (
    bucket_id is distinct from 'attachments'
    or (
        (storage.foldername(name))[1] in (select mine.id::text from private.my_channels as mine)
        and owner_id = (select auth.uid())::text
        -- Nor does another file take the place of one that was removed from Storage alone.
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
create policy objects_update_attachment_nobody on storage.objects
as restrictive for update to authenticated
using (bucket_id is distinct from 'attachments') with check (bucket_id is distinct from 'attachments');
create policy objects_delete_attachment_owner_or_governor on storage.objects
as restrictive for delete to authenticated
using (
    bucket_id is distinct from 'attachments'
    or (storage.foldername(name))[1] in (
        select governed.id::text from private.my_governed_channels as governed
    )
    or (
        owner_id = (select auth.uid())::text
        and (storage.foldername(name))[1] in (select mine.id::text from private.my_channels as mine)
    )
);
create policy objects_attachment_anon on storage.objects
as restrictive to anon
using (bucket_id is distinct from 'attachments') with check (bucket_id is distinct from 'attachments');

create function private.describe_attachment() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    select
        (stored.metadata ->> 'size')::bigint,
        split_part(stored.metadata ->> 'mimetype', ';', 1),
        stored.owner_id::uuid
    into new.size, new.content_type, new.uploaded_by
    from storage.objects as stored
    where stored.bucket_id = 'attachments' and stored.name = new.channel_id || '/' || new.id;
    if not found then
        perform private.fail(404, 'file_not_found', 'No such file has been stored.', 'files');
    end if;
    return new;
end
$$;
comment on function private.describe_attachment() is
'Trigger: an attachment is a file that is there and that the caller may see. Size, type and uploader are Storage''s.';
revoke all on function private.describe_attachment() from public, anon, authenticated, service_role;

create trigger attachments_before_insert_describe before insert on public.attachments
for each row execute function private.describe_attachment();
create trigger attachments_after_insert_refuse_retired after insert on public.attachments
for each row execute function private.refuse_retired_id();
create trigger attachments_after_delete_retire after delete on public.attachments
referencing old table as removed
for each statement execute function private.retire_ids();

create function private.check_attachments() returns trigger
language plpgsql
set search_path = ''
as $$
declare
    v_uuid text := '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
begin
    -- An `id` of another form is the application's own; `attachment_id` means ours.
    if exists (
        select from jsonb_array_elements(new.attachments) as item (value)
        cross join lateral (
            values (item.value ->> 'attachment_id', true), (item.value ->> 'id', false)
        ) as named (id, is_ours)
        where (named.is_ours and named.id is not null or named.id ~* v_uuid)
            and not exists (
                select from public.attachments as attachment
                where attachment.id = case when named.id ~* v_uuid then named.id::uuid end
            )
    ) then
        perform private.fail(
            404, 'attachment_not_found', 'There is no such uploaded file for you to attach.', 'attachments'
        );
    end if;
    return new;
end
$$;
comment on function private.check_attachments() is
'Trigger: an uploaded file that a message names must be one that its author may read.';
revoke all on function private.check_attachments() from public, anon, authenticated, service_role;

-- Of more than a message may have, none is looked for: the constraint, which refuses them, is asked only afterwards.
create trigger messages_before_insert_check_attachments before insert on public.messages
for each row when (jsonb_typeof(new.attachments) = 'array' and octet_length(new.attachments::text) <= 65536)
execute function private.check_attachments();

create table private.message_files (
    attachment_id uuid not null references public.attachments (id) on delete cascade,
    message_id uuid not null references public.messages (id) on delete cascade,
    primary key (attachment_id, message_id)
);
comment on table private.message_files is 'Which uploaded files messages name. What no message names is swept away.';
create index message_files_message_id_idx on private.message_files (message_id);
alter table private.message_files enable row level security;
revoke all on private.message_files from public, anon, authenticated, service_role;

-- Definer, because no client may say that a file is in use but by using it.
create function private.link_attachments() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Whatever looks like an id of ours is one: that has been checked.
    insert into private.message_files (attachment_id, message_id)
    select distinct named.id::uuid, new.id
    from jsonb_array_elements(new.attachments) as item (value)
    cross join lateral (values (item.value ->> 'attachment_id'), (item.value ->> 'id')) as named (id)
    where named.id ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
    return null;
end
$$;
comment on function private.link_attachments() is 'Trigger: an uploaded file that a message names is kept.';
revoke all on function private.link_attachments() from public, anon, authenticated, service_role;

create trigger messages_after_insert_link_attachments after insert on public.messages
for each row when (jsonb_typeof(new.attachments) = 'array') execute function private.link_attachments();

create function private.render_attachment(p_attachment public.attachments) returns jsonb
language sql
stable
set search_path = ''
as $$
    select jsonb_build_object(
        'id', p_attachment.id,
        'name', p_attachment.file_name,
        'size', p_attachment.size,
        'type', p_attachment.content_type,
        'path', p_attachment.path
    )
$$;
comment on function private.render_attachment(public.attachments) is
'An attachment as the calls show it. A link to it is signed by Storage, whose keys no function has.';
revoke all on function private.render_attachment(public.attachments) from public, anon, authenticated, service_role;
grant execute on function private.render_attachment(public.attachments) to authenticated, service_role;

create function private.read_files(p_body jsonb) returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
    v_file jsonb;
begin
    if coalesce(jsonb_typeof(p_body -> 'files'), 'null') <> 'array' or p_body -> 'files' = '[]' then
        perform private.fail(400, 'missing_field', 'files is required: one or more.', 'files');
    elsif jsonb_array_length(p_body -> 'files') > 100 then
        perform private.fail(413, 'too_many_files', 'At most 100 files can be uploaded at once.', 'files');
    end if;
    for v_file in select item.value from jsonb_array_elements(p_body -> 'files') as item (value) loop
        if jsonb_typeof(v_file) <> 'object' then
            perform private.fail(400, 'invalid_field', 'files must be an array of objects.', 'files');
        end if;
        perform private.read_uuid(v_file, 'id', false), private.read_text(v_file, 'name', 1000);
    end loop;
    return p_body -> 'files';
end
$$;
comment on function private.read_files(jsonb) is 'The files of a request, objects with id and name; errors are PT400.';
revoke all on function private.read_files(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.read_files(jsonb) to authenticated, service_role;

create function private.find_conversation_type(p_body jsonb) returns text
language plpgsql
stable
set search_path = ''
as $$
declare
    v_channel_id uuid := private.read_uuid(p_body, 'conversation_id');
    v_kind text;
begin
    perform private.read_uuid(p_body, 'workspace_id', false);
    select channel.kind into v_kind from public.channels as channel where channel.id = v_channel_id;
    if v_kind is null then
        perform private.fail(404, 'channel_not_found', 'There is no such conversation.', 'conversation_id');
    elsif private.read_text(p_body, 'conversation_type', 100, v_kind) <> v_kind then
        perform private.fail(
            400, 'conversation_type_mismatch', format('This conversation is a %s.', v_kind), 'conversation_type'
        );
    end if;
    return v_kind;
end
$$;
comment on function private.find_conversation_type(jsonb) is
'What the conversation of an upload is: channel or dm. PT404 unless the caller may see it.';
revoke all on function private.find_conversation_type(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.find_conversation_type(jsonb) to authenticated, service_role;

create function public.begin_upload(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_type text := private.find_conversation_type($1);
    v_channel_id uuid := private.read_uuid($1, 'conversation_id');
begin
    return private.succeed(jsonb_build_object(
        'files', (
            select jsonb_agg(jsonb_build_object(
                'id', given.id, 'name', given.name, 'path', v_channel_id || '/' || given.id
            ) order by given.number)
            from (
                select file.number, file.value ->> 'name' as name, gen_random_uuid() as id
                from jsonb_array_elements(private.read_files($1)) with ordinality as file (value, number)
            ) as given
        ),
        'conversation_id', v_channel_id,
        'conversation_type', v_type
    ));
end
$$;
comment on function public.begin_upload(jsonb) is
'First half of an upload: conversation_id, files (objects with name), and optionally conversation_type, workspace_id.
Answers the id and path that each file is to have in the bucket attachments; nothing is stored yet.';
revoke all on function public.begin_upload(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.begin_upload(jsonb) to authenticated, service_role;

create function public.finish_upload(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_type text := private.find_conversation_type($1);
    v_channel_id uuid := private.read_uuid($1, 'conversation_id');
    v_files jsonb := private.read_files($1);
begin
    -- Control characters could hide what a name says; so long a name nobody reads.
    insert into public.attachments (id, channel_id, file_name)
    select
        private.read_uuid(file.value, 'id') as id,
        v_channel_id,
        left(regexp_replace(file.value ->> 'name', '[\u0001-\u001f\u007f]', '_', 'g'), 255) as name
    from jsonb_array_elements(v_files) as file (value)
    on conflict on constraint attachments_pkey do nothing;
    return private.succeed(jsonb_build_object(
        'files', (
            select jsonb_agg(private.render_attachment(stored) order by file.number)
            from jsonb_array_elements(v_files) with ordinality as file (value, number)
            inner join public.attachments as stored
                on stored.id = private.read_uuid(file.value, 'id') and stored.channel_id = v_channel_id
        ),
        'conversation_id', v_channel_id,
        'conversation_type', v_type
    ));
end
$$;
comment on function public.finish_upload(jsonb) is
'Second half of an upload, once Storage has the files: conversation_id, files (objects with id and name). Said again,
it changes nothing.';
revoke all on function public.finish_upload(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.finish_upload(jsonb) to authenticated, service_role;

create function public.get_attachment(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_id uuid := private.read_uuid($1, 'id');
    v_attachment public.attachments;
begin
    select * into v_attachment from public.attachments as attachment where attachment.id = v_id;
    if v_attachment.id is null then
        perform private.fail(404, 'attachment_not_found', 'There is no such file.');
    end if;
    return private.succeed(
        private.render_attachment(v_attachment) || jsonb_build_object('conversation_id', v_attachment.channel_id)
    );
end
$$;
comment on function public.get_attachment(jsonb) is 'GET /api/v2/messages/attachments/:id/url, but for the link: id.';
revoke all on function public.get_attachment(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.get_attachment(jsonb) to authenticated, service_role;

-- Definer, because it locks what it is about to remove, and no client may see which files are in use.
create function private.drop_unsent_attachments(p_limit integer, p_age interval) returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_ids uuid[];
begin
    -- Whoever is naming one of them in a message at this moment has it locked.
    select array_agg(old.id) into v_ids
    from (
        select attachment.id
        from public.attachments as attachment
        where attachment.created_at < now() - p_age
            and not exists (
                select from private.message_files as used
                inner join public.messages as message on used.message_id = message.id
                where used.attachment_id = attachment.id and message.deleted_at is null
            )
        order by attachment.created_at
        limit p_limit
        for update of attachment skip locked
    ) as old;
    -- Looked at again now that nobody can begin to.
    delete from public.attachments as attachment
    where attachment.id = any(v_ids)
        and not exists (
            select from private.message_files as used
            inner join public.messages as message on used.message_id = message.id
            where used.attachment_id = attachment.id and message.deleted_at is null
        );
end
$$;
comment on function private.drop_unsent_attachments(integer, interval) is
'Forgets uploaded files of this age that no message names, or only messages that are deleted.';
revoke all on function private.drop_unsent_attachments(integer, interval)
from public, anon, authenticated, service_role;
grant execute on function private.drop_unsent_attachments(integer, interval) to service_role;

create function public.sweep_attachments(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_limit integer := private.read_integer($1, 'limit', 1, 1000, 1000);
    v_age interval := (select make_interval(hours => settings.unsent_file_hours) from private.settings);
begin
    perform private.drop_unsent_attachments(v_limit, v_age);
    return private.succeed(jsonb_build_object('paths', (
        select coalesce(jsonb_agg(orphan.name), '[]')
        from (
            select stored.name
            from storage.objects as stored
            where stored.bucket_id = 'attachments'
                and stored.created_at < now() - v_age
                and not exists (
                    select from public.attachments as attachment where attachment.path = stored.name
                )
            order by stored.created_at
            limit v_limit
        ) as orphan
    )));
end
$$;
comment on function public.sweep_attachments(jsonb) is
'For sweepers: forgets files that were uploaded long ago and that no message names, and answers paths in the bucket
attachments that nothing leads to (any more), such as those of uploads that failed; limit. Whoever asks removes them
through Storage; what is not removed is answered again.';
revoke all on function public.sweep_attachments(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.sweep_attachments(jsonb) to service_role;
