-- Ingest, second part: finds, creates, locks and updates the conversations of a request.
-- Lock order, the same in every request, so that two requests cannot deadlock: the workspace's matching lock (shared,
-- or none after a second of waiting), new conversations by external id, existing conversations by id, then messages. A
-- replay takes no lock.

create function private.lock_source(p_source private.ingest_source) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('threadline.matches_later', '', true);
    if not private.can_match(p_source.workspace_id) then
        perform set_config('threadline.matches_later', 'on', true);
    end if;
    -- The connection may have passed to another owner since its key was checked.
    if not exists (
        select from public.messaging_connections as connection
        where connection.id = p_source.id and connection.user_id = p_source.user_id
    ) then
        raise serialization_failure using message = 'The connection got a new owner during the request. Send it again.';
    end if;
end
$$;
comment on function private.lock_source(private.ingest_source) is
'Takes the matching lock of the workspace, shared, or decides that this request matches later. Raises 40001 if the
connection has another owner by now.';

create function private.find_conversations(
    p_source private.ingest_source, p_conversations private.ingest_conversation[]
) returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select (
            select existing.id
            from (
                -- The order and LIMIT 1 leave the planner only the unique index. With plain equality it may choose an
                -- index on user_id alone, and reads all conversations of the user (decision 0003).
                select candidate.*
                from public.conversations as candidate
                where (
                    candidate.platform, candidate.external_conversation_id, candidate.user_id, candidate.scope_id
                ) >= (p_source.platform, given.external_id, p_source.user_id, p_source.scope_id)
                order by
                    candidate.platform, candidate.external_conversation_id, candidate.user_id, candidate.scope_id
                limit 1
            ) as existing
            where existing.user_id = p_source.user_id
                and existing.platform = p_source.platform
                and existing.external_conversation_id = given.external_id
                and existing.scope_id = p_source.scope_id
                and given.error is null
        )
        from unnest(p_conversations) as given
        order by given.position
    );
end
$$;
comment on function private.find_conversations(private.ingest_source, private.ingest_conversation[]) is
'The ids of the conversations of a request, by position; null for those that do not exist or have an error.';

-- force_generic_plan, because each LIMIT 1 decides the plan of its look-up, and a custom plan takes time to make.
create function private.is_replay(
    p_conversations jsonb, p_parsed private.ingest_conversation[], p_ids uuid[]
) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_generic_plan'
as $$
begin
    if array_position(p_ids, null) is not null then
        return false;
    end if;
    return not exists (
        select
        from unnest(p_parsed) as given
        -- Each LIMIT 1 makes one look-up by the key for each row, even if the statistics are old.
        cross join lateral (
            select known.*
            from public.conversations as known
            where known.id = p_ids[given.position]
            limit 1
        ) as existing
        cross join lateral (
            select
                coalesce(bool_and(coalesce(stored.is_known, false)), true) as is_stored,
                coalesce(max(stored.sent_at), '-infinity') as newest_at
            from jsonb_array_elements(p_conversations -> (given.position - 1) -> 'messages') as message (value)
            left join lateral (
                select
                    known.message = message.value or known.original = message.value or known.deleted_at is not null
                        as is_known,
                    case when known.stated_at is null then known.sent_at end as sent_at
                from public.conversation_messages as known
                where known.conversation_id = existing.id
                    and known.external_id = case jsonb_typeof(message.value -> 'id')
                        when 'string' then message.value ->> 'id'
                    end
                    and known.sender = ''
                limit 1
            ) as stored on true
        ) as batch
        where not batch.is_stored
            or given.is_group
            or (given.identifiers <> '{}' or given.identifier <> existing.participant_identifier)
            and not (given.identifiers || private.identify_any(existing.platform, given.identifier)) <@ (
                private.list_identifiers(existing.id)
                || private.identify_any(existing.platform, existing.participant_identifier)
            )
            or case
                when given.identifier = existing.participant_identifier
                    then batch.newest_at > coalesce(existing.participant_identified_at, '-infinity')
                else (private.is_phone(existing.platform, given.identifier), batch.newest_at, given.identifier) > (
                    private.is_phone(existing.platform, existing.participant_identifier),
                    coalesce(existing.participant_identified_at, '-infinity'),
                    existing.participant_identifier
                )
            end
            or given.name is not null and (batch.newest_at, given.name)
            > (coalesce(existing.participant_named_at, '-infinity'), coalesce(existing.participant_name, ''))
    );
end
$$;
comment on function private.is_replay(jsonb, private.ingest_conversation[], uuid[]) is
'Whether a request changes nothing: its conversations have no error, all its messages are stored with this content, and
nothing is new about a participant. A request with a group always counts as one that may change something.';

create function private.list_participants(
    p_platform text, p_conversations private.ingest_conversation[], p_ids uuid[]
) returns private.ingest_participant[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A phone number wins over any other identifier, then the batch with the newest message, then the greater text: so
    -- the result does not depend on the order of arrival.
    return array(
        select participant::private.ingest_participant
        from (
            select
                given.external_id,
                (array_agg(p_ids[given.position]))[1] as conversation_id,
                (array_agg(
                    given.identifier order by given.is_phone desc, given.newest_at desc, given.identifier desc
                ))[1] as identifier,
                (array_agg(
                    given.newest_at order by given.is_phone desc, given.newest_at desc, given.identifier desc
                ))[1] as identified_at,
                (array_agg(given.name order by given.newest_at desc, given.name desc)
                    filter (where given.name is not null))[1] as name,
                coalesce(max(given.newest_at) filter (where given.name is not null), '-infinity') as named_at,
                bool_or(given.is_group) as is_group,
                sum(given.message_count)::integer as message_count,
                max(given.newest_at) as last_at,
                (array_agg(given.last_message order by given.newest_at desc, given.position desc))[1] as last_message
            from (
                -- Only conversations that a request names twice need it.
                select line.*, case
                    when count(*) over (partition by line.external_id) > 1
                        then private.is_phone(p_platform, line.identifier)
                end as is_phone
                from unnest(p_conversations) as line
                where line.error is null
            ) as given
            group by given.external_id
        ) as participant
    );
end
$$;
comment on function private.list_participants(text, private.ingest_conversation[], uuid[]) is
'One row for each different conversation of a request that has no error; the ids are given by position.';

create function private.create_conversations(
    p_source private.ingest_source, p_participants private.ingest_participant[]
) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_new private.ingest_participant[] := array(
        select given from unnest(p_participants) as given where given.conversation_id is null
    );
    v_keys text[] := array(
        select case when not given.is_group then private.participant_key(p_source.platform, given.identifier) end
        from unnest(v_new) as given
    );
    v_matches private.person_match[] := '{}'::private.person_match[];
    v_created jsonb;
begin
    if v_new = '{}' then
        return '{}'::jsonb;
    end if;
    -- One look-up for all, because the trigger of conversations takes a third of the time of an insert. It still runs
    -- if they are matched later.
    if current_setting('threadline.matches_later', true) <> 'on' then
        v_matches := private.match_participants(
            p_source.workspace_id, p_source.platform, array(select given.identifier from unnest(v_new) as given), v_keys
        );
        perform set_config('threadline.is_matched', 'on', true);
    end if;
    with created as (
        insert into public.conversations (
            workspace_id, user_id, scope_id, platform, external_conversation_id,
            participant_identifier, participant_identified_at, participant_name, participant_named_at, kind,
            participant_key, person_id, matched_by, message_count, last_message_at, last_message_preview
        )
        select
            p_source.workspace_id, p_source.user_id, p_source.scope_id, p_source.platform, given.external_id,
            given.identifier, nullif(given.identified_at, '-infinity'), given.name,
            nullif(given.named_at, '-infinity'), case when given.is_group then 'group' else 'direct' end,
            given.key, given.person_id, given.reason,
            -- Saves an update of each new conversation and its indexes. If the request has duplicates or updates, the
            -- trigger of the messages corrects this.
            given.message_count, nullif(given.last_at, '-infinity'), private.message_preview(given.last_message)
        from unnest(v_new, v_keys, v_matches) as given (
            external_id, conversation_id, identifier, identified_at, name, named_at, is_group, message_count, last_at,
            last_message, key, person_id, reason
        )
        order by given.external_id collate "C"
        on conflict on constraint conversations_external_id_unique do nothing
        returning external_conversation_id, id
    )

    select jsonb_object_agg(created.external_conversation_id, created.id) into v_created from created;
    -- Tells summarize_conversations_trigger that new conversations have their summaries already.
    perform set_config('threadline.is_creating', 'on', true), set_config('threadline.is_matched', '', true);
    return coalesce(v_created, '{}');
end
$$;
comment on function private.create_conversations(private.ingest_source, private.ingest_participant[]) is
'Creates the missing conversations, ordered by external id, with the summary of their messages. Returns an object of
external id and id, without those that another request created first.';

-- force_generic_plan, because Postgres prefers a custom plan for a short array, and making it takes longer than the
-- look-ups.
create function private.lock_conversations(p_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_generic_plan'
as $$
declare
    v_locked integer;
begin
    perform from public.conversations as existing
    where existing.id = any(p_ids)
    order by existing.id
    for no key update;
    get diagnostics v_locked = row_count;
    if v_locked < (select count(distinct coalesce(given.id::text, '')) from unnest(p_ids) as given (id)) then
        -- A retry here, with rows locked already, could deadlock. The client sends the request again.
        raise serialization_failure using message = 'A conversation was deleted during the request. Send it again.';
    end if;
end
$$;
comment on function private.lock_conversations(uuid[]) is
'Locks conversations, ordered by id. Raises 40001 if one of them was deleted. A null in p_ids is a
conversation that was deleted before it could be found.';

-- Definer, because the backend may not change summaries.
create function private.update_participants(
    p_ids uuid[], p_participants private.ingest_participant[], p_summaries private.conversation_summary[]
) returns uuid[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_changed uuid[];
begin
    with updated as (
        update public.conversations as target
        set
            participant_identifier = case
                when merged.is_identified then merged.identifier else target.participant_identifier
            end,
            participant_identified_at = case
                when merged.is_identified then nullif(merged.identified_at, '-infinity')
                else target.participant_identified_at
            end,
            participant_name = case when merged.is_named then merged.name else target.participant_name end,
            participant_named_at = nullif(greatest(target.participant_named_at, merged.named_at), '-infinity'),
            kind = case when merged.is_group then 'group' else target.kind end,
            -- The broadcasts of the transaction that creates a conversation show its first version.
            version = target.version + (merged.is_summarized and target.created_at <> now())::integer,
            message_count = merged.new_count,
            last_message_at = merged.new_last_at,
            last_message_preview = merged.new_preview
        from (
            select
                existing.id,
                existing.participant_identifier as old_identifier,
                existing.participant_name as old_name,
                existing.kind as old_kind,
                given.*,
                (private.is_phone(existing.platform, given.identifier), given.identified_at, given.identifier) > (
                    private.is_phone(existing.platform, existing.participant_identifier),
                    coalesce(existing.participant_identified_at, '-infinity'),
                    existing.participant_identifier
                )
                    as is_identified,
                given.name is not null and (given.named_at, given.name)
                > (coalesce(existing.participant_named_at, '-infinity'), coalesce(existing.participant_name, ''))
                    as is_named,
                summary.conversation_id is not null as is_summarized,
                coalesce(summary.message_count, existing.message_count) as new_count,
                coalesce(summary.last_message_at, existing.last_message_at) as new_last_at,
                coalesce(summary.last_message_preview, existing.last_message_preview) as new_preview
            from public.conversations as existing
            inner join unnest(p_participants) as given on existing.external_conversation_id = given.external_id
            left join unnest(p_summaries) as summary on existing.id = summary.conversation_id
            where existing.id = any(p_ids)
        ) as merged
        where target.id = merged.id
            -- Else a plan for few conversations reads the whole index.
            and target.id = any(p_ids)
            and (
                merged.is_identified or merged.is_named or merged.is_summarized
                or merged.is_group and target.kind = 'direct'
            )
        returning target.id, (merged.old_identifier, merged.old_name, merged.old_kind)
        is distinct from (target.participant_identifier, target.participant_name, target.kind) as is_changed
    )

    select coalesce(array_agg(updated.id), '{}') into v_changed from updated where updated.is_changed;
    return v_changed;
end
$$;
comment on function private.update_participants(
    uuid[], private.ingest_participant[], private.conversation_summary[]
) is
'Sets identifier and name of participants where the request has newer ones, and the summaries of their conversations.
Returns the ids of the conversations whose participant looks different now. The caller has locked the rows.';
