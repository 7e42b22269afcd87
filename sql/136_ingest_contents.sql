-- Ingest, fourth part: brings messages and updates together.
-- Promise: a stored message shows all of its updates when the request ends.

create function private.read_repeated_message(p_message jsonb, p_stored public.conversation_messages)
returns private.ingest_update
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_stored jsonb := coalesce(p_stored.original, p_stored.message);
    v_edited_at timestamptz := private.find_edit_time(p_message);
    v_update private.ingest_update;
begin
    if p_message - 'media_url' = v_stored - 'media_url' then
        -- Of two URLs only the order of arrival says which is newer.
        v_update.type := 'media';
        v_update.at := clock_timestamp();
        v_update.value := case
            -- Keeps the stored file, because URLs of the platform expire.
            when coalesce(p_message ->> 'media_url', '') not in ('', coalesce(p_stored.message ->> 'media_url', ''))
                and not private.shows_stored_file(p_stored)
                then jsonb_build_object('media_url', p_message -> 'media_url')
        end;
    elsif v_edited_at is distinct from private.find_edit_time(v_stored) then
        v_update.type := 'edited';
        v_update.at := coalesce(v_edited_at, private.parse_timestamp(p_message ->> 'sent_at'));
        v_update.value := p_message;
    end if;
    v_update.actor := '';
    v_update.sequence := 0;
    return v_update;
end
$$;
comment on function private.read_repeated_message(jsonb, public.conversation_messages) is
'Reads a message that is stored with other content as an update: another version of it by its time of edit, or a new URL
of its file. Its type is null if it contradicts what is stored; its value is null if it says nothing new.';

create function private.list_repeated_messages(
    p_messages private.ingest_message[], p_ids uuid[], p_counts private.ingest_count[]
) returns private.ingest_update[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    return array(
        select line::private.ingest_update
        from (
            select
                given.parent, given.index, given.external_id, given.sender,
                repeated.type, repeated.actor, repeated.at, repeated.sequence, repeated.value, null::text as error
            from unnest(p_messages) as given
            inner join unnest(p_counts) as counted on given.parent = counted.parent and counted.conflicts is not null
            inner join public.conversation_messages as stored
                on stored.conversation_id = p_ids[given.parent]
                and given.external_id = stored.external_id
                and given.sender = stored.sender
            cross join lateral private.read_repeated_message(given.message, stored) as repeated
            where stored.deleted_at is null
                and given.message <> coalesce(stored.original, stored.message)
                and given.message <> stored.message
                and counted.conflicts::jsonb ? given.external_id
            order by given.parent, given.index
        ) as line
    );
end
$$;
comment on function private.list_repeated_messages(private.ingest_message[], uuid[], private.ingest_count[]) is
'The messages of a request that are stored with other content, read as updates.';

-- Definer, because the backend may not change what was said.
create function private.refresh_messages(p_updates private.ingest_update[], p_ids uuid[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    with touched as (
        select distinct stored.conversation_id, stored.external_id, stored.sender
        from unnest(p_updates) as given
        inner join public.conversation_messages as stored
            on stored.conversation_id = p_ids[given.parent]
            and given.external_id = stored.external_id
            -- A deletion may remove an edit without a sender, and so change a message of another sender.
            and (given.sender in ('', stored.sender) or given.type = 'deleted')
    ), known as materialized (
        select
            stored.conversation_id, stored.external_id, stored.sender,
            coalesce(stored.original, stored.message) as original,
            private.list_updates(stored.conversation_id, stored.external_id, stored.sender) as updates
        from touched
        inner join public.conversation_messages as stored
            on touched.conversation_id = stored.conversation_id
            and touched.external_id = stored.external_id
            and touched.sender = stored.sender
    ), present as materialized (
        select
            known.*,
            private.render_present_message(known.original, known.updates) as message,
            (select max(line.at) from unnest(known.updates) as line where line.type = 'deleted') as deleted_at
        from known
    )

    update public.conversation_messages as stored
    set
        message = present.message,
        original = case when present.deleted_at is null then present.original end,
        deleted_at = present.deleted_at
    from present
    where stored.conversation_id = present.conversation_id
        and stored.external_id = present.external_id
        and stored.sender = present.sender
        and stored.message <> present.message;
end
$$;
comment on function private.refresh_messages(private.ingest_update[], uuid[]) is
'Writes the stored messages of updates as they are now. The caller has locked their conversations.';

create function private.merge_counts(
    p_counts private.ingest_count[], p_repeated private.ingest_update[],
    p_updates private.ingest_update[], p_ids uuid[]
) returns private.ingest_count[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    return array(
        select line::private.ingest_count
        from (
            select
                counted.parent,
                max(counted.added) as added,
                (
                    select json_agg(distinct repeated.external_id)
                    from unnest(p_repeated) as repeated
                    where repeated.parent = counted.parent and repeated.type is null
                ) as conflicts,
                sum(counted.updates_added)::integer as updates_added,
                case when sum(counted.updates_added) is not null then (
                    select count(*)::integer
                    from unnest(p_updates) as given
                    where given.parent = counted.parent and not exists (
                        select from public.conversation_messages as stored
                        where (stored.conversation_id, stored.external_id)
                            = (p_ids[given.parent], given.external_id)
                            and given.sender in ('', stored.sender)
                    )
                ) end as updates_waiting
            from unnest(p_counts) as counted
            group by counted.parent
        ) as line
    );
end
$$;
comment on function private.merge_counts(
    private.ingest_count[], private.ingest_update[], private.ingest_update[], uuid[]
) is
'One count for each conversation, with conflicts only for repeated messages that are no updates.';

create function private.settle_updates(
    p_messages private.ingest_message[], p_updates private.ingest_update[], p_ids uuid[],
    p_counts private.ingest_count[]
) returns private.ingest_count[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_repeated private.ingest_update[] := private.list_repeated_messages(p_messages, p_ids, p_counts);
    v_new private.ingest_update[] := array(
        select given from unnest(v_repeated) as given where given.value is not null
    );
    v_counts private.ingest_count[] := p_counts;
begin
    if v_new <> '{}' then
        v_counts := v_counts || private.record_updates(v_new, p_ids);
    end if;
    if p_updates <> '{}' or v_new <> '{}' then
        perform private.refresh_messages(p_updates || v_new, p_ids);
    end if;
    return private.merge_counts(v_counts, v_repeated, p_updates, p_ids);
end
$$;
comment on function private.settle_updates(
    private.ingest_message[], private.ingest_update[], uuid[], private.ingest_count[]
) is
'Writes the messages of the updates of a request as they are now, also of messages that it repeats with other content.
The caller has locked the conversations.';
