-- Ingest: invites callers to upload the files of messages, and lets messages show what was uploaded.
-- Promise: no URL of a caller is fetched.
-- The next request or the clean-up finds what was uploaded, because we put no trigger on Storage.

-- Definer, because the backend may neither read Storage nor change stored messages.
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
            (object.metadata ->> 'size')::bigint, object.updated_at,
            object.version, known.created_at
        )::private.conversation_media
        from private.conversation_media as known
        inner join storage.objects as object on object.bucket_id = 'attachments' and known.path = object.name
        -- A stored file is settled again only by a request, because the clean-up would have to read all of them.
        where (known.stored_at is null or p_ids is not null and known.version is distinct from object.version)
            and (p_ids is null or known.conversation_id = any(p_ids))
            -- No user can read the others, and the sweep removes them.
            and private.is_shown_type(object.metadata ->> 'mimetype')
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
    set size = found.size, stored_at = found.stored_at, version = found.version
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
        path, conversation_id, workspace_id, external_id, sender, size, stored_at, version, created_at,
        position
    );
    perform private.record_updates(v_updates, v_ids), private.refresh_messages(v_updates, v_ids);
    return cardinality(v_found);
end
$$;
comment on function private.settle_media(uuid[], integer) is
'Lets messages show their uploaded files: of these conversations, or of all if p_ids is null. Returns how many.';

create function private.settle_all_media(p_limit integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    begin
        perform private.settle_media(null, p_limit);
        return;
    exception
        when others then
            raise warning 'Files of conversations failed together with SQLSTATE %.', sqlstate;
    end;
    -- One by one, because one conversation must not stop the files of all others.
    for v_id in
        select distinct known.conversation_id
        from private.conversation_media as known
        inner join storage.objects as object on known.path = object.name and object.bucket_id = 'attachments'
        where known.stored_at is null
    loop
        begin
            perform private.settle_media(array[v_id], p_limit);
        exception
            when others then
                raise warning 'Files of conversation % failed with SQLSTATE %. A later round tries again.',
                    v_id, sqlstate;
        end;
    end loop;
end
$$;
comment on function private.settle_all_media(integer) is
'Lets messages of all conversations show their uploaded files. An error of one conversation becomes a warning.';

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
    v_has_room boolean;
begin
    perform private.settle_media(v_ids, 1000);
    v_has_room := private.has_media_room(p_source.workspace_id);
    with wanted as (
        select
            parent.position, given.number, stored.conversation_id, stored.external_id, stored.sender,
            private.free_media_path(stored.conversation_id, stored.external_id, stored.sender) as path
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
            and not private.shows_stored_file(stored)
        order by parent.position, given.number
        limit 100
    ), reserved as (
        insert into private.conversation_media as known (path, conversation_id, workspace_id, external_id, sender)
        select distinct wanted.path, wanted.conversation_id, p_source.workspace_id, wanted.external_id, wanted.sender
        from wanted
        where v_has_room
        on conflict (path) do update set stored_at = null where known.stored_at is not null
    )

    select jsonb_object_agg(listed.position, listed.uploads) into v_uploads
    from (
        select wanted.position, jsonb_agg(jsonb_build_object(
            'message_id', wanted.external_id, 'sender', nullif(wanted.sender, ''), 'path', wanted.path
        ) order by wanted.number) as uploads
        from wanted
        group by wanted.position
    ) as listed;
    return array(
        select (
            result.conversation_id, result.external_id, result.status, result.messages_added, result.conflicts,
            result.updates_added, result.updates_waiting,
            case when result.conversation_id is not null then
                coalesce(case when v_has_room then v_uploads -> result.position::text end, '[]')
            end,
            case when not v_has_room then jsonb_array_length(v_uploads -> result.position::text) end
        )::private.ingest_result
        from unnest(p_results) with ordinality as result (
            conversation_id, external_id, status, messages_added, conflicts, updates_added, updates_waiting, uploads,
            uploads_refused, position
        )
        order by result.position
    );
end
$$;
comment on function private.offer_uploads(private.ingest_source, jsonb, private.ingest_result[]) is
'The same results, each with the upload paths of the files of its messages: at most 100 in a request, and none for
stored files. If the workspace is full, uploads_refused counts them instead. The service or the Edge Function adds
signed URLs.';
