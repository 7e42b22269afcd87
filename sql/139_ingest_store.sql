-- Ingest, last part: stores a request.
-- Promise: a message is stored once, no matter who sends it, how often, or how many at the same time.

create function private.place_messages(p_messages private.ingest_message[], p_ids uuid[])
returns private.ingest_message[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select placed::private.ingest_message
        from (
            select
                given.parent,
                given.index,
                given.external_id,
                given.sender,
                case
                    when given.stated_at is null then given.sent_at
                    else coalesce(
                        interval '1 microsecond' + greatest(
                            stored.last_at,
                            max(given.sent_at) filter (where given.stated_at is null) over (
                                partition by p_ids[given.parent] order by given.parent, given.index
                            )
                        ),
                        'epoch'
                    )
                end as sent_at,
                given.stated_at,
                given.sequence,
                given.message,
                given.present,
                given.deleted_at,
                given.error
            from unnest(p_messages) as given
            left join (
                select known.id, newest.last_at
                from unnest(p_ids) as known (id)
                cross join lateral (
                    select stored.sent_at as last_at
                    from public.conversation_messages as stored
                    where stored.conversation_id = known.id
                    order by stored.conversation_id desc, stored.sent_at desc
                    limit 1
                ) as newest
                group by known.id, newest.last_at
            ) as stored on stored.id = p_ids[given.parent]
            order by given.parent, given.index
        ) as placed
    );
end
$$;
comment on function private.place_messages(private.ingest_message[], uuid[]) is
'The same messages, with a place behind all that is there for those with a time far beyond their arrival. Such a message
that comes first gets the epoch, so that all later ones follow it.';

-- force_generic_plan, because Postgres prefers custom plans for new conversations, and making them takes longer than
-- they save: LIMIT 1 decides the look-ups.
create function private.store_messages(
    p_source private.ingest_source, p_messages private.ingest_message[], p_ids uuid[], p_is_all_new boolean
) returns private.ingest_count[]
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_generic_plan'
as $$
declare
    v_now timestamptz := clock_timestamp();
    v_counts private.ingest_count[];
begin
    with message as materialized (
        select
            given.*, p_ids[given.parent] as conversation_id,
            row_number() over same_id = 1 and stored.message is null as is_new,
            case
                when stored.message is not null then given.message <> stored.message and stored.deleted_at is null
                when row_number() over same_id > 1 then given.message <> first_value(given.message) over same_id
            end as is_conflicting
        from unnest(p_messages) with ordinality as given (
            parent, index, external_id, sender, sent_at, stated_at, sequence, message, present, deleted_at,
            error, position
        )
        left join lateral (
            select coalesce(known.original, known.message) as message, known.deleted_at
            from public.conversation_messages as known
            -- Inside, because a generic plan would look each message up before it tests a condition outside.
            where not p_is_all_new and known.conversation_id = p_ids[given.parent]
                and known.external_id = given.external_id and known.sender = given.sender
            -- LIMIT 1 makes this one look-up by the key for each message, even if the statistics are old.
            limit 1
        ) as stored on true
        -- Conversations with an error have no id here.
        where p_ids[given.parent] is not null
        window same_id as (
            -- Collation C compares bytes, which is all that equality needs.
            partition by p_ids[given.parent], given.external_id collate "C", given.sender collate "C"
            order by given.parent, given.index
        )
    ), added as (
        insert into public.conversation_messages (
            conversation_id, external_id, sender, workspace_id, connection_id,
            sent_at, received_at, stated_at, sequence, message, original, deleted_at
        )
        select
            message.conversation_id, message.external_id, message.sender, p_source.workspace_id, p_source.id,
            message.sent_at, v_now + message.position * interval '1 microsecond', message.stated_at, message.sequence,
            coalesce(message.present, message.message),
            case when message.present is not null and message.deleted_at is null then message.message end,
            message.deleted_at
        from message
        where message.is_new
    ), counted as (
        select message.parent, count(*) filter (where message.is_new)::integer as added,
            -- A plain json_agg(distinct) would sort all messages.
            case when bool_or(message.is_conflicting) then (
                select json_agg(distinct line.external_id) from message as line
                where line.parent = message.parent and line.is_conflicting
            ) end as conflicts,
            null::integer as updates_added, null::integer as updates_waiting
        from message
        group by message.parent
    )

    select array_agg(counted::private.ingest_count) into v_counts from counted;
    return coalesce(v_counts, '{}');
end
$$;
comment on function private.store_messages(private.ingest_source, private.ingest_message[], uuid[], boolean) is
'Inserts the messages that are new. The first of several messages with the same id counts. The caller has locked the
conversations.';

create function private.add_messages(
    p_source private.ingest_source, p_conversations private.ingest_conversation[],
    p_messages private.ingest_message[], p_updates private.ingest_update[], p_ids uuid[], p_existing uuid[]
) returns private.ingest_count[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_has_updates boolean := exists (select from unnest(p_conversations) as given where given.has_updates);
    v_has_future boolean := exists (select from unnest(p_conversations) as given where given.has_future);
    v_messages private.ingest_message[];
    v_counts private.ingest_count[] := '{}'::private.ingest_count[];
begin
    if v_has_updates then
        v_counts := private.record_updates(p_updates, p_ids);
    end if;
    v_messages := case
        when v_has_updates or v_has_future or private.has_updates(p_existing)
            then private.apply_known_updates(private.place_messages(p_messages, p_ids), p_ids)
        else p_messages
    end;
    v_counts := v_counts || private.store_messages(p_source, v_messages, p_ids, p_existing = '{}');
    if exists (select from unnest(v_counts) as counted where counted.conflicts is not null or v_has_updates) then
        v_counts := private.settle_updates(v_messages, p_updates, p_ids, v_counts);
    end if;
    return v_counts;
end
$$;
comment on function private.add_messages(
    private.ingest_source, private.ingest_conversation[], private.ingest_message[], private.ingest_update[],
    uuid[], uuid[]
) is
'Stores the messages and updates of a request that are not all new. p_existing are the conversations that it did not
create. The caller has locked them.';

create function private.send_changes(
    p_created jsonb, p_changed uuid[], p_versions bigint[], p_results private.ingest_result[]
) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
begin
    -- Most requests bring messages for each conversation.
    if not exists (select from unnest(p_results) as result where result.messages_added = 0) then
        return;
    end if;
    v_ids := array(
        select created.id::uuid from jsonb_each_text(p_created) as created (external_id, id)
        union
        -- An update that changes a message raises the version and sends the conversation.
        select changed.id
        from unnest(array(select distinct given.id from unnest(p_changed) as given (id) order by given.id), p_versions)
            as changed (id, version)
        inner join public.conversations as conversation
            on changed.id = conversation.id and changed.version = conversation.version
        except
        select result.conversation_id from unnest(p_results) as result where result.messages_added > 0
    );
    if v_ids <> '{}' then
        perform private.broadcast_conversations(v_ids);
    end if;
end
$$;
comment on function private.send_changes(jsonb, uuid[], bigint[], private.ingest_result[]) is
'Broadcasts the conversations that a request created or changed and whose messages stay as they are: messages are sent
already. p_versions are those of the changed ones before the messages came, by id.';

create function private.complete_ids(
    p_source private.ingest_source, p_conversations private.ingest_conversation[], p_ids uuid[], p_created jsonb
) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array(
        select case when given.error is null then
            coalesce(p_ids[given.position], (p_created ->> given.external_id)::uuid)
        end
        from unnest(p_conversations) as given
        order by given.position
    );
begin
    -- Other requests may have created the rest meanwhile. Those with an error stay null.
    if array_position(v_ids, null) is not null then
        v_ids := private.find_conversations(p_source, p_conversations);
    end if;
    return v_ids;
end
$$;
comment on function private.complete_ids(private.ingest_source, private.ingest_conversation[], uuid[], jsonb) is
'The ids of the conversations of a request, by position, with those that are new. A conversation with a bad message or
update loses its id.';

-- enable_seqscan, because an ingest looks everything up by keys. The planner would read a nearly empty table whole, and
-- the session would keep that plan (decision 0003). jit, because the planner overestimates updates, and compiling their
-- statements takes ten times as long as running them. It asks paths (@?) and not queries, because each query starts an
-- executor.
-- record_given_identifiers is left out where new conversations say all that the request says. The lock order stands in
-- the head of 131_ingest_conversations.sql. is_ingesting: the triggers of conversations leave the broadcasts to this
-- function.
create function private.store_conversations(p_source private.ingest_source, p_conversations jsonb)
returns private.ingest_result[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = 'off'
set jit = 'off'
as $$
declare
    v_conversations private.ingest_conversation[] := private.read_conversations(p_source, p_conversations);
    v_ids uuid[] := private.find_conversations(p_source, v_conversations);
    v_has_updates boolean := p_conversations @? '$[*] ? (@.updates.type() == "array")';
    v_messages private.ingest_message[];
    v_updates private.ingest_update[] := '{}'::private.ingest_update[];
    v_participants private.ingest_participant[];
    v_created jsonb;
    v_existing uuid[];
    v_now timestamptz;
    v_has_only_new boolean;
    v_changed uuid[] := '{}'::uuid[];
    v_versions bigint[];
    v_results private.ingest_result[];
begin
    if not v_has_updates and private.is_replay(p_conversations, v_conversations, v_ids) then
        return private.list_results(v_conversations, v_ids, '{}', '{}');
    end if;
    v_messages := private.parse_messages(p_conversations);
    v_conversations := private.validate_conversations(v_conversations, v_messages);
    if v_has_updates then
        v_updates := private.parse_updates(p_conversations);
        v_conversations := private.validate_updates(v_conversations, v_updates);
    end if;
    v_participants := private.list_participants(p_source.platform, v_conversations, v_ids);
    perform set_config('threadline.is_ingesting', 'on', true);
    perform private.lock_source(p_source);
    v_created := private.create_conversations(p_source, v_participants);
    v_ids := private.complete_ids(p_source, v_conversations, v_ids, v_created);
    v_existing := array(
        select v_ids[given.position] from unnest(v_conversations) as given
        where given.error is null and not v_created ? given.external_id
    );
    if v_existing <> '{}' then
        perform private.lock_conversations(v_existing);
    end if;
    v_now := clock_timestamp();
    v_has_only_new := private.has_only_new_messages(v_conversations, v_messages, v_ids, v_existing);
    if v_existing <> '{}' then
        v_changed := private.update_participants(v_existing, v_participants, case
            when v_has_only_new then private.list_summaries(v_existing, v_participants, v_now) else '{}'
        end);
    end if;
    if v_existing <> '{}' or not v_has_only_new or p_conversations @? '$[*].identifiers' then
        v_changed := v_changed || private.record_given_identifiers(p_source.platform, v_conversations, v_ids);
    end if;
    if p_conversations @? '$[*] ? (@.kind == "group")' then
        v_changed := v_changed || private.record_group_participants(p_conversations, v_messages, v_ids);
    end if;
    perform private.record_names(p_source, p_conversations, v_conversations, v_messages, v_updates, v_ids)
    where private.has_names(p_source, v_created);
    v_versions := case when v_changed <> '{}' then private.list_versions(v_changed) end;
    v_results := private.list_results(v_conversations, v_ids, v_created, case
        when v_has_only_new then private.store_new_messages(p_source, v_conversations, v_messages, v_ids, v_now)
        else private.add_messages(p_source, v_conversations, v_messages, v_updates, v_ids, v_existing)
    end);
    perform private.send_changes(v_created, v_changed, v_versions, v_results);
    perform set_config('threadline.is_ingesting', '', true), set_config('threadline.is_creating', '', true);
    return v_results;
end
$$;
comment on function private.store_conversations(private.ingest_source, jsonb) is
'Stores the conversations of a request from a connection, and returns what became of each. Conversations with an error
are left out whole; all others are stored.';
