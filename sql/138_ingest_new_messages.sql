-- Ingest, sixth part: requests whose messages are all new, as most are. They need one update for each conversation
-- and one plain insert.
-- Promise: the result is the same as that of store_messages and of the trigger that keeps the summaries.

-- force_generic_plan, because LIMIT 1 decides the look-ups.
create function private.has_only_new_messages(
    p_conversations private.ingest_conversation[], p_messages private.ingest_message[], p_ids uuid[],
    p_existing uuid[]
) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_generic_plan'
as $$
begin
    return (
        select not coalesce(bool_or(given.has_updates or given.has_future), false)
            and count(distinct given.external_id collate "C") = count(given.external_id)
        from unnest(p_conversations) as given
    )
        and (p_existing = '{}' or not private.has_updates(p_existing) and not exists (
            select
            from unnest(p_messages) as given
            cross join lateral (
                select from public.conversation_messages as known
                where known.conversation_id = p_ids[given.parent]
                    and known.external_id = given.external_id and known.sender = given.sender
                limit 1
            ) as stored
        ))
        -- Collation C compares bytes, which is all that equality needs.
        and (
            select count(*)
            from (
                select
                from unnest(p_messages) as given
                group by given.parent, given.external_id collate "C", given.sender collate "C"
            ) as different
        ) = cardinality(p_messages);
end
$$;
comment on function private.has_only_new_messages(
    private.ingest_conversation[], private.ingest_message[], uuid[], uuid[]
) is
'Whether a request only adds messages: none of them is stored, given twice, updated or far beyond its arrival.
p_existing are the conversations that it did not create. The caller has locked them.';

create function private.list_summaries(
    p_ids uuid[], p_participants private.ingest_participant[], p_now timestamptz
) returns private.conversation_summary[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select (
            existing.id,
            existing.message_count + given.message_count,
            case when given.is_last then given.last_at else existing.last_message_at end,
            case
                when given.is_last then private.message_preview(given.last_message)
                else existing.last_message_preview
            end
        )::private.conversation_summary
        from public.conversations as existing
        cross join lateral (
            select
                line.*,
                coalesce((line.last_at, private.parse_sequence(line.last_message), p_now) > (
                    select stored.sent_at, stored.sequence, stored.received_at
                    from public.conversation_messages as stored
                    where stored.conversation_id = existing.id
                    order by
                        stored.sent_at desc, stored.sequence desc, stored.received_at desc, stored.external_id desc
                    limit 1
                ), true) as is_last
            from unnest(p_participants) as line
            where line.external_id = existing.external_conversation_id
        ) as given
        where existing.id = any(p_ids) and given.message_count > 0
    );
end
$$;
comment on function private.list_summaries(uuid[], private.ingest_participant[], timestamptz) is
'What existing conversations say once the messages of a request, all new and from p_now on, are stored.';

create function private.store_new_messages(
    p_source private.ingest_source, p_conversations private.ingest_conversation[],
    p_messages private.ingest_message[], p_ids uuid[], p_now timestamptz
) returns private.ingest_count[]
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_generic_plan'
as $$
begin
    -- Tells the triggers that the summaries of the conversations include these messages.
    perform set_config('threadline.is_summarized', 'on', true);
    insert into public.conversation_messages (
        conversation_id, external_id, sender, workspace_id, connection_id, sent_at, received_at, sequence, message
    )
    select
        p_ids[given.parent], given.external_id, given.sender, p_source.workspace_id, p_source.id,
        given.sent_at, p_now + given.position * interval '1 microsecond', given.sequence, given.message
    from unnest(p_messages) with ordinality as given (
        parent, index, external_id, sender, sent_at, stated_at, sequence, message, present, deleted_at, error, position
    )
    -- Conversations with an error have no id here.
    where p_ids[given.parent] is not null;
    perform set_config('threadline.is_summarized', '', true);
    return array(
        select (given.position, given.message_count, null, null, null)::private.ingest_count
        from unnest(p_conversations) as given
        where given.error is null
    );
end
$$;
comment on function private.store_new_messages(
    private.ingest_source, private.ingest_conversation[], private.ingest_message[], uuid[], timestamptz
) is
'Inserts the messages of a request that only adds messages. Its conversations have their summaries already.';

-- Definer, because it must see conversations that the writer may not read.
create function private.check_conversations_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select
        from (
            select changed.conversation_id, changed.workspace_id
            from changed group by changed.conversation_id, changed.workspace_id
        ) as given
        left join lateral (
            -- LIMIT 1 makes this one look-up by the key, even if the statistics are old.
            select known.workspace_id from public.conversations as known where known.id = given.conversation_id limit 1
        ) as conversation on true
        where conversation.workspace_id is distinct from given.workspace_id
    ) then
        perform private.fail_without_conversation();
    end if;
    return null;
end
$$;
comment on function private.check_conversations_trigger() is
'Trigger: checks that new messages belong to conversations that exist, where ingest has written the summaries already
(store_new_messages).';
