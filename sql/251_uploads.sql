-- The calls that upload files, show one, and sweep those that no message names. Storage keeps the contents.

create function private.parse_files(p_body jsonb) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_file jsonb;
begin
    if coalesce(jsonb_typeof(p_body -> 'files'), 'null') <> 'array' or p_body -> 'files' = '[]' then
        perform private.fail(400, 'missing_field', 'files is required. Give one or more files.', 'files');
    elsif jsonb_array_length(p_body -> 'files') > 100 then
        perform private.fail(413, 'too_many_files', 'At most 100 files can be uploaded at once.', 'files');
    end if;
    for v_file in select item.value from jsonb_array_elements(p_body -> 'files') as item (value) loop
        if jsonb_typeof(v_file) <> 'object' then
            perform private.fail(400, 'invalid_field', 'files must be an array of objects.', 'files');
        end if;
        perform private.parse_uuid(v_file, 'id', false), private.parse_text(v_file, 'name', 1000);
    end loop;
    return p_body -> 'files';
end
$$;
comment on function private.parse_files(jsonb) is
'The files of a request: objects with id and name. Raises PT400, and PT413 for more than 100 files.';

create function private.require_upload_channel(p_body jsonb) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid(p_body, 'conversation_id');
    v_kind text;
begin
    perform private.parse_uuid(p_body, 'workspace_id', false);
    select channel.kind into v_kind from public.channels as channel where channel.id = v_channel_id;
    if v_kind is null then
        perform private.fail(
            404, 'channel_not_found', 'This channel does not exist, or you may not see it.', 'conversation_id'
        );
    elsif private.parse_text(p_body, 'conversation_type', 100, v_kind) <> v_kind then
        perform private.fail(
            400, 'conversation_type_mismatch', format('conversation_type must be %s here.', v_kind), 'conversation_type'
        );
    end if;
    return v_kind;
end
$$;
comment on function private.require_upload_channel(jsonb) is
'The kind of the channel of an upload: channel or dm. PT404 unless the caller may see it.';

create function private.admit_upload(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Apart, because service_role may not read that view, not even in a condition that does not matter.
    if private.is_service() then
        return private.succeed(null);
    elsif not exists (select from private.my_channels) then
        perform private.fail(
            404, 'channel_not_found', 'This channel does not exist, or you may not see it.', 'conversation_id'
        );
    end if;
    return private.succeed(null);
end
$$;
comment on function private.admit_upload(jsonb) is
'Comes before begin_upload if a form has its files before its conversation_id, so that the service stores no byte for a
user who is over the limit or in no channel.';

create function public.begin_upload(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_type text := private.require_upload_channel($1);
    v_channel_id uuid := private.parse_uuid($1, 'conversation_id');
begin
    return private.succeed(jsonb_build_object(
        'files', (
            select jsonb_agg(jsonb_build_object(
                'id', given.id, 'name', given.name, 'path', v_channel_id || '/' || given.id
            ) order by given.number)
            from (
                select file.number, file.value ->> 'name' as name, gen_random_uuid() as id
                from jsonb_array_elements(private.parse_files($1)) with ordinality as file (value, number)
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

create function public.finish_upload(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_type text := private.require_upload_channel($1);
    v_channel_id uuid := private.parse_uuid($1, 'conversation_id');
    v_files jsonb := private.parse_files($1);
begin
    -- Hidden characters could hide parts of a name. 255 characters are enough for a reader.
    insert into public.attachments (id, channel_id, file_name)
    select
        private.parse_uuid(file.value, 'id') as id,
        v_channel_id,
        left(regexp_replace(file.value ->> 'name', private.hidden_characters(), '_', 'g'), 255) as name
    from jsonb_array_elements(v_files) as file (value)
    on conflict on constraint attachments_pkey do nothing;
    return private.succeed(jsonb_build_object(
        'files', (
            select jsonb_agg(private.render_attachment(stored) order by file.number)
            from jsonb_array_elements(v_files) with ordinality as file (value, number)
            inner join public.attachments as stored
                on stored.id = private.parse_uuid(file.value, 'id') and stored.channel_id = v_channel_id
        ),
        'conversation_id', v_channel_id,
        'conversation_type', v_type
    ));
end
$$;
comment on function public.finish_upload(jsonb) is
'Second half of an upload, once Storage has the files: conversation_id, files (objects with id and name). Said again,
it changes nothing.';

-- Definer, because clients may not write the size of an image, which only the service reads from the file.
create function private.set_image_size(p_id uuid, p_width integer, p_height integer) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.attachments as file set width = p_width, height = p_height
    where file.id = p_id
        and file.width is null
        and (file.uploaded_by = (select auth.uid()) or (select private.is_service()));
end
$$;
comment on function private.set_image_size(uuid, integer, integer) is
'Stores the size of an image that the caller uploaded, once.';

create function private.finish_upload(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_file jsonb;
begin
    perform public.finish_upload($1);
    for v_file in select item.value from jsonb_array_elements($1 -> 'files') as item (value) loop
        if v_file ? 'width' then
            perform private.set_image_size(
                (v_file ->> 'id')::uuid, (v_file ->> 'width')::integer, (v_file ->> 'height')::integer
            );
        end if;
    end loop;
    return public.finish_upload($1);
end
$$;
comment on function private.finish_upload(jsonb) is
'Second half of an upload through the service: public.finish_upload, with width and height of images.';

create function public.get_attachment(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'id');
    v_attachment public.attachments;
begin
    select * into v_attachment from public.attachments as attachment where attachment.id = v_id;
    if v_attachment.id is null then
        perform private.fail(404, 'attachment_not_found', 'This file does not exist, or you may not see it.');
    end if;
    return private.succeed(
        private.render_attachment(v_attachment) || jsonb_build_object('conversation_id', v_attachment.channel_id)
    );
end
$$;
comment on function public.get_attachment(jsonb) is
'GET /api/v2/messages/attachments/:id/url: id. The service adds the signed link.';

-- Definer, because it locks files of all channels, and no client reads which files are in use.
create function private.sweep_attachments(p_limit integer, p_age interval) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
begin
    -- Skips files that a concurrent message is naming: it holds a lock on them.
    select array_agg(unused.id) into v_ids
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
    ) as unused;
    perform private.delete_media(p_limit, p_age);
    -- Checks again under the lock, because a message may have named a file before it.
    delete from public.attachments as attachment
    where attachment.id = any(v_ids)
        and not exists (
            select from private.message_files as used
            inner join public.messages as message on used.message_id = message.id
            where used.attachment_id = attachment.id and message.deleted_at is null
        );
end
$$;
comment on function private.sweep_attachments(integer, interval) is
'Deletes rows of files older than p_age that no message names, except deleted messages.';

create function public.sweep_attachments(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 1000);
    v_age interval := (select make_interval(hours => settings.unsent_file_hours) from private.settings);
begin
    perform private.sweep_attachments(v_limit, v_age);
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
                and not exists (select from private.conversation_media as known where known.path = stored.name)
            order by stored.created_at
            limit v_limit
        ) as orphan
    )));
end
$$;
comment on function public.sweep_attachments(jsonb) is
'For sweepers: deletes rows of old files that no message names or shows, and returns paths in the bucket attachments
without a row, such as those of failed uploads; limit. The caller removes these through Storage; the next call returns
the rest again.';
