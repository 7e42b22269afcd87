-- Ingest, second half: stores the parsed rows and says what became of each conversation.
-- Promise: a message is stored once, no matter who sends it, how often, or how many at the same time.
-- Lock order, the same in every request, so that two requests cannot deadlock: the user's matching lock (shared), new
-- conversations by external id, existing conversations by id, then messages. A replay takes no lock.

create function private.find_conversations(
    p_user_id uuid, p_platform text, p_conversations private.ingest_conversation[]
) returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
    return array(
        select (
            select existing.id
            from (
                -- The order and LIMIT 1 leave the planner only the unique index. With plain equality it may choose an
                -- index that begins with user_id, and reads all conversations of the user (decision 0003).
                select candidate.*
                from public.conversations as candidate
                where (candidate.user_id, candidate.platform, candidate.external_conversation_id)
                    >= (p_user_id, p_platform, given.external_id)
                order by candidate.user_id, candidate.platform, candidate.external_conversation_id
                limit 1
            ) as existing
            where existing.user_id = p_user_id
                and existing.platform = p_platform
                and existing.external_conversation_id = given.external_id
                and given.error is null
        )
        from unnest(p_conversations) as given
        order by given.position
    );
end
$$;
comment on function private.find_conversations(uuid, text, private.ingest_conversation[]) is
'The ids of the conversations of a request, by position; null for those that do not exist or have an error.';

create function private.is_replay(
    p_conversations jsonb, p_parsed private.ingest_conversation[], p_ids uuid[]
) returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
    if array_position(p_ids, null) is not null then
        return false;
    end if;
    return not exists (
        select
        from unnest(p_parsed) as given
        -- Both LIMIT 1 make one look-up by the key for each row, even if the statistics are old.
        cross join lateral (
            select known.*
            from public.conversations as known
            where known.id = p_ids[given.position]
            limit 1
        ) as existing
        cross join lateral (
            select
                coalesce(bool_and(stored.message is not distinct from message.value), true) as is_stored,
                coalesce(max(stored.sent_at), '-infinity') as newest_at
            from jsonb_array_elements(p_conversations -> (given.position - 1) -> 'messages') as message (value)
            left join lateral (
                select known.message, known.sent_at
                from public.conversation_messages as known
                where known.conversation_id = existing.id and known.external_id = message.value ->> 'id'
                limit 1
            ) as stored on true
        ) as batch
        where not batch.is_stored
            or (batch.newest_at, given.identifier)
            > (coalesce(existing.participant_identified_at, '-infinity'), existing.participant_identifier)
            or (batch.newest_at, given.name)
            > (coalesce(existing.participant_named_at, '-infinity'), coalesce(existing.participant_name, ''))
    );
end
$$;
comment on function private.is_replay(jsonb, private.ingest_conversation[], uuid[]) is
'Whether a request changes nothing: its conversations have no error, all its messages are stored with this content, and
nothing is newer about a participant.';

create function private.create_conversations(
    p_user_id uuid, p_platform text, p_participants private.ingest_participant[]
) returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    v_created jsonb;
begin
    with created as (
        insert into public.conversations (
            user_id, platform, external_conversation_id,
            participant_identifier, participant_identified_at, participant_name, participant_named_at
        )
        select
            p_user_id,
            p_platform,
            given.external_id,
            given.identifier,
            nullif(given.identified_at, '-infinity'),
            given.name,
            nullif(given.named_at, '-infinity')
        from unnest(p_participants) as given
        where given.conversation_id is null
        order by given.external_id collate "C"
        on conflict on constraint conversations_external_id_unique do nothing
        returning external_conversation_id, id
    )

    select jsonb_object_agg(created.external_conversation_id, created.id) into v_created from created;
    return coalesce(v_created, '{}');
end
$$;
comment on function private.create_conversations(uuid, text, private.ingest_participant[]) is
'Creates the missing conversations, ordered by external id. Returns the ids of those that no other request created
first, by external id.';

create function private.lock_conversations(p_ids uuid[]) returns void
language plpgsql
set search_path = ''
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
'Locks conversations, ordered by id. Raises 40001 if one of them, or the conversation behind a null, was deleted.';

create function private.update_participants(p_ids uuid[], p_participants private.ingest_participant[]) returns void
language plpgsql
set search_path = ''
as $$
begin
    update public.conversations as target
    set
        participant_identifier = case
            when merged.is_identified then merged.identifier else target.participant_identifier
        end,
        participant_identified_at = nullif(
            greatest(target.participant_identified_at, merged.identified_at), '-infinity'
        ),
        participant_name = case when merged.is_named then merged.name else target.participant_name end,
        participant_named_at = nullif(greatest(target.participant_named_at, merged.named_at), '-infinity')
    from (
        select
            existing.id,
            given.*,
            (given.identified_at, given.identifier)
            > (coalesce(existing.participant_identified_at, '-infinity'), existing.participant_identifier)
                as is_identified,
            given.name is not null and (given.named_at, given.name)
            > (coalesce(existing.participant_named_at, '-infinity'), coalesce(existing.participant_name, ''))
                as is_named
        from public.conversations as existing
        inner join unnest(p_participants) as given on existing.external_conversation_id = given.external_id
        where existing.id = any(p_ids)
    ) as merged
    where target.id = merged.id and (merged.is_identified or merged.is_named);
end
$$;
comment on function private.update_participants(uuid[], private.ingest_participant[]) is
'Sets identifier and name of participants where the request has newer ones. The caller has locked the rows.';

create function private.store_messages(
    p_user_id uuid, p_conversations private.ingest_conversation[], p_messages private.ingest_message[],
    p_ids uuid[], p_created jsonb, p_is_all_new boolean
) returns private.ingest_result[]
language plpgsql
set search_path = ''
as $$
declare
    v_results private.ingest_result[];
begin
    with message as materialized (
        select
            given.parent, given.external_id, given.sent_at, given.message, p_ids[given.parent] as conversation_id,
            row_number() over same_id = 1 and stored.message is null as is_new,
            case
                when stored.message is not null then given.message <> stored.message
                when row_number() over same_id > 1 then given.message <> first_value(given.message) over same_id
            end as is_conflicting
        from unnest(p_messages) as given
        left join lateral (
            select known.message
            from public.conversation_messages as known
            where known.conversation_id = p_ids[given.parent] and known.external_id = given.external_id
            -- LIMIT 1 makes this one look-up by the key for each message, even if the statistics are old.
            limit 1
        ) as stored on not p_is_all_new
        -- Conversations with an error have no id here.
        where p_ids[given.parent] is not null
        window same_id as (
            -- Collation C compares bytes, which is all that equality needs.
            partition by p_ids[given.parent], given.external_id collate "C" order by given.parent, given.index
        )
    ), added as (
        insert into public.conversation_messages (conversation_id, external_id, user_id, sent_at, message)
        select message.conversation_id, message.external_id, p_user_id, message.sent_at, message.message
        from message
        where message.is_new
    ), counted as (
        select message.parent, count(*) filter (where message.is_new) as added,
            json_agg(distinct message.external_id) filter (where message.is_conflicting) as conflicts
        from message
        group by message.parent
    ), result as (
        select
            p_ids[given.position] as conversation_id,
            given.external_id,
            case
                when given.error is not null then 'error: ' || given.error
                when p_created ? given.external_id and row_number() over (
                    partition by given.external_id, given.error is null order by given.position
                ) = 1 then 'created'
                when counted.added > 0 then 'updated'
                else 'no_new_messages'
            end as status,
            coalesce(counted.added, 0)::integer as messages_added,
            counted.conflicts
        from unnest(p_conversations) as given
        left join counted on given.position = counted.parent
        order by given.position
    )

    select array_agg(result::private.ingest_result) into v_results from result;
    return v_results;
end
$$;
comment on function private.store_messages(
    uuid, private.ingest_conversation[], private.ingest_message[], uuid[], jsonb, boolean
) is
'Inserts the messages that are new, and returns what became of each conversation of the request, in its order. The first
of several messages with the same id counts. The caller has locked the conversations.';

create function private.store_conversations(p_user_id uuid, p_platform text, p_conversations jsonb)
returns private.ingest_result[]
language plpgsql
set search_path = ''
as $$
declare
    v_conversations private.ingest_conversation[] := private.parse_conversations(p_conversations);
    v_ids uuid[] := private.find_conversations(p_user_id, p_platform, v_conversations);
    v_messages private.ingest_message[];
    v_participants private.ingest_participant[];
    v_created jsonb;
    v_existing uuid[];
begin
    if private.is_replay(p_conversations, v_conversations, v_ids) then
        return array(
            select result::private.ingest_result
            from (
                select
                    v_ids[given.position] as conversation_id,
                    given.external_id,
                    'no_new_messages' as status,
                    0 as messages_added,
                    null::json as conflicts
                from unnest(v_conversations) as given
                order by given.position
            ) as result
        );
    end if;
    v_messages := private.parse_messages(p_conversations);
    v_conversations := private.validate_conversations(v_conversations, v_messages);
    v_participants := private.list_participants(v_conversations, v_ids);

    -- The lock order stands in the head of this file.
    perform pg_advisory_xact_lock_shared(private.matching_lock(p_user_id));
    v_created := private.create_conversations(p_user_id, p_platform, v_participants);
    -- A conversation with a bad message loses its id.
    v_ids := array(
        select case when given.error is null then
            coalesce(v_ids[given.position], (v_created ->> given.external_id)::uuid)
        end
        from unnest(v_conversations) as given
        order by given.position
    );
    -- Other requests may have created the rest meanwhile.
    if exists (
        select from unnest(v_conversations) as given where given.error is null and v_ids[given.position] is null
    ) then
        v_ids := private.find_conversations(p_user_id, p_platform, v_conversations);
    end if;
    v_existing := array(
        select v_ids[given.position]
        from unnest(v_conversations) as given
        where given.error is null and not v_created ? given.external_id
    );
    if v_existing <> '{}' then
        perform private.lock_conversations(v_existing);
        perform private.update_participants(v_existing, v_participants);
    end if;
    return private.store_messages(
        p_user_id, v_conversations, v_messages, v_ids, v_created, v_existing = '{}'
    );
end
$$;
comment on function private.store_conversations(uuid, text, jsonb) is
'Stores the conversations of a request for a user, and returns what became of each. Conversations with an error are left
out whole; all others are stored.';

create function private.render_results(p_results private.ingest_result[]) returns json
language plpgsql
immutable
set search_path = ''
as $$
begin
    return (
        select json_build_object(
            'success', true,
            'processed', count(*) filter (where result.conversation_id is not null),
            'results', coalesce(json_agg(case
                when result.conversation_id is null then json_build_object(
                    'conversation_id', null, 'external_conversation_id', result.external_id,
                    'messages_added', 0, 'status', result.status
                )
                when result.conflicts is not null then json_build_object(
                    'conversation_id', result.conversation_id, 'messages_added', result.messages_added,
                    'status', result.status, 'conflicting_message_ids', result.conflicts
                )
                else json_build_object(
                    'conversation_id', result.conversation_id, 'messages_added', result.messages_added,
                    'status', result.status
                )
            end), '[]')
        )
        from unnest(p_results) as result
    );
end
$$;
comment on function private.render_results(private.ingest_result[]) is
'The answer to a request: one result for each conversation, in the order of the request.';
