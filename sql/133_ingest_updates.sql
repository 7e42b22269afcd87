-- Ingest, third part: what happened to messages after they were sent.
-- Promise: an update counts once, in any order, also before its message has come.

create function private.parse_update_value(p_type text, p_update jsonb) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case p_type
        when 'edited' then jsonb_build_object('content', p_update -> 'content') || case
            when p_update ->> 'media_url' is null then '{}'
            else jsonb_build_object('media_url', p_update -> 'media_url')
        end
        when 'media' then jsonb_build_object('media_url', p_update -> 'media_url')
        when 'reaction' then jsonb_build_object('emoji', case jsonb_typeof(p_update -> 'emoji')
            when 'array' then p_update -> 'emoji'
            when 'string' then case
                when p_update ->> 'emoji' = '' then '[]' else jsonb_build_array(p_update -> 'emoji')
            end
            else '[]'
        end)
        when 'pinned' then '{"pinned": true}'
        when 'unpinned' then '{"pinned": false}'
        when 'failed' then case
            when p_update ->> 'reason' is null then '{}' else jsonb_build_object('reason', p_update -> 'reason')
        end
        else '{}'
    end;
end
$$;
comment on function private.parse_update_value(text, jsonb) is 'What an update of a type sets, in one form.';

create function private.find_update_error(p_update jsonb, p_at timestamptz) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_type text := case jsonb_typeof(p_update -> 'type') when 'string' then p_update ->> 'type' end;
    v_emoji text := jsonb_typeof(p_update -> 'emoji');
begin
    return case
        when jsonb_typeof(p_update) <> 'object' then ' must be an object'
        when coalesce(jsonb_typeof(p_update -> 'message_id'), '') <> 'string'
            or char_length(p_update ->> 'message_id') not between 1 and 500
            then '.message_id must be a string of 1 to 500 characters'
        when coalesce(v_type, '') not in (
            'edited', 'deleted', 'reaction', 'delivered', 'read', 'played', 'failed', 'media', 'pinned', 'unpinned'
        ) then '.type must be edited, deleted, reaction, delivered, read, played, failed, media, pinned or unpinned'
        when p_at is null then '.at must be an ISO 8601 timestamp'
        when coalesce(jsonb_typeof(p_update -> 'by'), 'null') not in ('string', 'null')
            or char_length(p_update ->> 'by') > 500
            then '.by must be a string of at most 500 characters'
        when v_type = 'edited' and coalesce(jsonb_typeof(p_update -> 'content'), '') <> 'string'
            then '.content must be a string'
        when v_type = 'edited' and coalesce(jsonb_typeof(p_update -> 'media_url'), 'null') not in ('string', 'null')
            then '.media_url must be a string or null'
        when v_type = 'media' and (
            coalesce(jsonb_typeof(p_update -> 'media_url'), '') <> 'string' or p_update ->> 'media_url' = ''
        ) then '.media_url must be a string'
        when v_type = 'reaction' and not coalesce(case v_emoji
            when 'string' then char_length(p_update ->> 'emoji') <= 100
            when 'null' then true
            when 'array' then jsonb_array_length(p_update -> 'emoji') <= 20 and not exists (
                select from jsonb_array_elements(p_update -> 'emoji') as emoji
                where jsonb_typeof(emoji.value) <> 'string' or char_length(emoji.value #>> '{}') not between 1 and 100
            )
        end, false) then '.emoji must be null, a string of at most 100 characters or an array of at most 20 of them'
        when v_type = 'failed' and (
            coalesce(jsonb_typeof(p_update -> 'reason'), 'null') not in ('string', 'null')
            or char_length(p_update ->> 'reason') > 1000
        ) then '.reason must be a string of at most 1000 characters'
    end;
end
$$;
comment on function private.find_update_error(jsonb, timestamptz) is
'What is wrong with an update, as it continues "updates[0]"; null if it is right.';

create function private.parse_updates(p_conversations jsonb) returns private.ingest_update[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select line::private.ingest_update
        from (
            select
                parsed.parent, parsed.index,
                case jsonb_typeof(parsed.value -> 'message_id')
                    when 'string' then parsed.value ->> 'message_id'
                end as external_id,
                parsed.sender,
                case
                    when parsed.value -> 'type' = '"unpinned"' then 'pinned'
                    when jsonb_typeof(parsed.value -> 'type') = 'string' then parsed.value ->> 'type'
                end as type,
                coalesce(case jsonb_typeof(parsed.value -> 'by') when 'string' then parsed.value ->> 'by' end, '')
                    as actor,
                parsed.at,
                case when parsed.value ? 'sequence' then private.parse_sequence(parsed.value) else 0 end as sequence,
                case
                    when private.find_update_error(parsed.value, parsed.at) is null
                        then private.parse_update_value(parsed.value ->> 'type', parsed.value)
                end as value,
                coalesce(
                    private.find_update_error(parsed.value, parsed.at),
                    case
                        when parsed.sender is null or char_length(parsed.sender) > 500
                            then '.sender must be a string of at most 500 characters'
                    end
                ) as error
            from (
                select
                    parent.position::integer as parent,
                    given.position::integer - 1 as index,
                    given.value,
                    case
                        when parent.value -> 'kind' = '"group"' then private.parse_sender(given.value) else ''
                    end as sender,
                    case jsonb_typeof(given.value -> 'at')
                        when 'string' then private.parse_timestamp(given.value ->> 'at')
                    end as at
                from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
                cross join lateral jsonb_array_elements(case jsonb_typeof(parent.value -> 'updates')
                    when 'array' then parent.value -> 'updates' else '[]'
                end) with ordinality as given (value, position)
                offset 0
            ) as parsed
            order by parsed.parent, parsed.index
        ) as line
    );
end
$$;
comment on function private.parse_updates(jsonb) is
'The updates of a request in its order, each with its first error.';

create function private.validate_updates(
    p_conversations private.ingest_conversation[], p_updates private.ingest_update[]
) returns private.ingest_conversation[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select conversation::private.ingest_conversation
        from (
            select
                given.position, given.external_id, given.identifier, given.name, given.identifiers, given.newest_at,
                given.is_group, given.has_future, given.has_updates, given.message_count, given.last_message,
                coalesce(given.error, (
                    select 'updates[' || change.index || ']' || change.error
                    from unnest(p_updates) as change
                    where change.parent = given.position and change.error is not null
                    order by change.index
                    limit 1
                )) as error
            from unnest(p_conversations) as given
            order by given.position
        ) as conversation
    );
end
$$;
comment on function private.validate_updates(private.ingest_conversation[], private.ingest_update[]) is
'The same conversations with the first error of their updates. Apart from validate_conversations, which keeps its plan
because it never sees the arrays of updates, mostly empty.';

create function private.is_same_sender(p_one text, p_other text) returns boolean
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_one = p_other or '' in (p_one, p_other);
end
$$;
comment on function private.is_same_sender(text, text) is
'Whether two senders may be the same. An update of some platforms does not name the sender of its message: an empty one
fits all.';

-- Definer, because the backend may not change what was said.
create function private.record_updates(p_updates private.ingest_update[], p_ids uuid[]) returns private.ingest_count[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_counts private.ingest_count[];
begin
    with given as (
        select distinct on (p_ids[line.parent], line.external_id, line.sender, line.type, line.actor, named.version)
            line.parent, p_ids[line.parent] as conversation_id, line.external_id, line.sender, line.type, line.actor,
            named.version, line.at, line.sequence, line.value
        from unnest(p_updates) as line
        cross join lateral (
            select case when line.type <> 'edited' then '' else encode(sha256(convert_to(
                concat_ws(' ', extract(epoch from line.at), line.sequence, line.value::text), 'UTF8'
            )), 'hex') end as version
        ) as named
        where p_ids[line.parent] is not null
        order by
            p_ids[line.parent], line.external_id, line.sender, line.type, line.actor, named.version,
            line.at desc, line.sequence desc, line.value::text collate "C" desc
    ), recorded as (
        insert into public.conversation_updates as known (
            conversation_id, external_id, sender, type, actor, version, at, sequence, value
        )
        select
            given.conversation_id, given.external_id, given.sender, given.type, given.actor, given.version,
            given.at, given.sequence, given.value
        from given
        -- A deleted message keeps no texts and no files.
        where given.type not in ('edited', 'media', 'reaction', 'failed') or not exists (
            select from public.conversation_updates as deletion
            where (deletion.conversation_id, deletion.external_id, deletion.type)
                = (given.conversation_id, given.external_id, 'deleted')
                and private.is_same_sender(deletion.sender, given.sender)
        )
        order by given.conversation_id, given.external_id, given.sender, given.type, given.actor, given.version
        on conflict (conversation_id, external_id, sender, type, actor, version) do update
        set at = excluded.at, sequence = excluded.sequence, value = excluded.value, received_at = now()
        where (excluded.at, excluded.sequence, excluded.value::text collate "C")
            > (known.at, known.sequence, known.value::text collate "C")
        returning known.conversation_id, known.external_id, known.sender, known.type, known.actor, known.version
    ), counted as (
        select given.parent, null::integer as added, null::json as conflicts,
            count(recorded.type)::integer as updates_added, null::integer as updates_waiting
        from given
        left join recorded using (conversation_id, external_id, sender, type, actor, version)
        group by given.parent
    )

    select array_agg(counted::private.ingest_count) into v_counts from counted;
    perform private.delete_erased_texts(p_updates, p_ids);
    return coalesce(v_counts, '{}');
end
$$;
comment on function private.record_updates(private.ingest_update[], uuid[]) is
'Keeps the updates that are newer than what is known, and returns how many those are in each conversation. The caller
has locked the conversations.';

-- Definer, because the backend may not change what was said.
create function private.delete_erased_texts(p_updates private.ingest_update[], p_ids uuid[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from public.conversation_updates as known
    using unnest(p_updates) as given
    where given.type = 'deleted'
        and known.conversation_id = p_ids[given.parent]
        and known.external_id = given.external_id
        and private.is_same_sender(known.sender, given.sender)
        and known.type in ('edited', 'media', 'reaction', 'failed');
    -- No user reads the file from now on, and the sweep removes it from Storage.
    delete from private.conversation_media as known
    using unnest(p_updates) as given
    where given.type = 'deleted'
        and known.conversation_id = p_ids[given.parent]
        and known.external_id = given.external_id
        and given.sender in ('', known.sender);
end
$$;
comment on function private.delete_erased_texts(private.ingest_update[], uuid[]) is
'Deletes the edits, reactions, failures and files of messages that a request deletes.';

create function private.list_updates(p_conversation_id uuid, p_external_id text, p_sender text)
returns public.conversation_updates[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select distinct on ((line.known).type, (line.known).actor, (line.known).version) line.known
        from (
            select known
            from public.conversation_updates as known
            where known.conversation_id = p_conversation_id
                and known.external_id = p_external_id collate "C"
                and known.sender = any(array['', p_sender] collate "C")
            order by known.conversation_id, known.external_id, known.sender, known.type, known.actor, known.version
            -- A limit leaves the planner only the key, even if the statistics are old. No message has so many updates.
            limit 1000000
        ) as line
        order by
            (line.known).type, (line.known).actor, (line.known).version,
            (line.known).at desc, (line.known).sequence desc, (line.known).value::text collate "C" desc
    );
end
$$;
comment on function private.list_updates(uuid, text, text) is
'All updates of a message: those with its sender, and those without a sender.';

create function private.has_updates(p_ids uuid[]) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select
        from unnest(p_ids) as given (id)
        cross join lateral (
            select from public.conversation_updates as known
            where known.conversation_id = given.id
            order by known.conversation_id
            -- LIMIT 1 makes this one look-up by the key, even if the statistics are old.
            limit 1
        ) as known
    );
end
$$;
comment on function private.has_updates(uuid[]) is 'Whether a message of these conversations has updates.';

create function private.apply_known_updates(p_messages private.ingest_message[], p_ids uuid[])
returns private.ingest_message[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select applied::private.ingest_message
        from (
            select
                given.parent, given.index, given.external_id, given.sender, given.sent_at, given.stated_at,
                given.sequence, given.message,
                case
                    when known.updates <> '{}' then private.render_present_message(given.message, known.updates)
                end as present,
                (select max(line.at) from unnest(known.updates) as line where line.type = 'deleted') as deleted_at,
                given.error
            from unnest(p_messages) as given
            cross join lateral (
                select private.list_updates(p_ids[given.parent], given.external_id, given.sender) as updates
                offset 0
            ) as known
            order by given.parent, given.index
        ) as applied
    );
end
$$;
comment on function private.apply_known_updates(private.ingest_message[], uuid[]) is
'The same messages as earlier updates make them, for those that come after their updates.';
