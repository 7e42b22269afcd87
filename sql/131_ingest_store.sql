-- Ingest, second half: the parsed rows go into the tables, and the answer says what became of each.

create function private.create_conversations(
    p_user_id uuid, p_platform text, p_participants private.ingest_participant[]
) returns jsonb
language plpgsql
set search_path = ''
as $$
declare
    v_created jsonb;
begin
    -- In one order for everybody: two requests that create the same conversations then cannot wait for each other.
    with created as (
        insert into public.conversations (
            user_id, platform, external_conversation_id,
            participant_identifier, participant_identified_at, participant_name, participant_named_at
        )
        select
            p_user_id, p_platform, given.external_id,
            given.identifier, nullif(given.identified_at, '-infinity'), given.name, nullif(given.named_at, '-infinity')
        from unnest(p_participants) as given
        order by given.external_id collate "C"
        on conflict on constraint conversations_external_id_unique do nothing
        returning external_conversation_id, id
    )

    select jsonb_object_agg(created.external_conversation_id, created.id) into v_created from created;
    return coalesce(v_created, '{}');
end
$$;
comment on function private.create_conversations(uuid, text, private.ingest_participant[]) is
'Makes those conversations that nobody made before, and answers their ids by external id.';

create function private.ensure_conversations(
    p_user_id uuid, p_platform text,
    p_conversations private.ingest_conversation[], p_participants private.ingest_participant[], p_ids uuid[],
    out ids uuid[], out created jsonb
)
language plpgsql
set search_path = ''
as $$
begin
    ids := p_ids;
    created := jsonb_build_object();
    if not exists (
        select from unnest(p_conversations) as given where given.error is null and p_ids[given.position] is null
    ) then
        return;
    end if;
    created := private.create_conversations(p_user_id, p_platform, p_participants);
    ids := array(
        select coalesce(p_ids[given.position], (created ->> given.external_id)::uuid)
        from unnest(p_conversations) as given
        order by given.position
    );
    if array_position(ids, null) is not null then
        ids := private.find_conversations(p_user_id, p_platform, p_conversations);
    end if;
    if exists (
        select from unnest(p_conversations) as given where given.error is null and ids[given.position] is null
    ) then
        -- Deleted in the instant since. Trying again here, with rows locked already, could deadlock.
        raise serialization_failure using message = 'A conversation was deleted while it was written to.';
    end if;
end
$$;
comment on function private.ensure_conversations(
    uuid, text, private.ingest_conversation[], private.ingest_participant[], uuid[]
) is
'The ids of the conversations of a request, by position, when those that nobody had yet are made; and these by external
id. 40001 when one is deleted meanwhile.';

create function private.lock_conversations(
    p_ids uuid[], p_participants private.ingest_participant[], p_growing uuid[]
) returns uuid[]
language plpgsql
set search_path = ''
as $$
begin
    -- Whoever changes a conversation that others can see holds its row first, taken in one order by everybody.
    return array(
        select existing.id
        from public.conversations as existing
        inner join unnest(p_participants) as given on existing.external_conversation_id = given.external_id
        where existing.id = any(p_ids)
            and (
                existing.id = any(p_growing)
                or (given.identified_at, given.identifier)
                > (coalesce(existing.participant_identified_at, '-infinity'), existing.participant_identifier)
                or (given.named_at, given.name)
                > (coalesce(existing.participant_named_at, '-infinity'), coalesce(existing.participant_name, ''))
            )
        order by existing.id
        for no key update of existing
    );
end
$$;
comment on function private.lock_conversations(uuid[], private.ingest_participant[], uuid[]) is
'Locks and returns those of the conversations that a request changes: p_growing, and any with news of its participant.';

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
            > (coalesce(existing.participant_identified_at, '-infinity'), existing.participant_identifier) as is_identified,
            given.name is not null and (given.named_at, given.name)
            > (coalesce(existing.participant_named_at, '-infinity'), coalesce(existing.participant_name, '')) as is_named
        from public.conversations as existing
        inner join unnest(p_participants) as given on existing.external_conversation_id = given.external_id
        where existing.id = any(p_ids)
    ) as merged
    where target.id = merged.id and (merged.is_identified or merged.is_named);
end
$$;
comment on function private.update_participants(uuid[], private.ingest_participant[]) is
'Takes over identifier and name of participants where a request knows them as of later. The rows are locked already.';

create function private.render_results(
    p_conversations private.ingest_conversation[], p_ids uuid[], p_created jsonb,
    p_messages private.ingest_message[]
) returns json
language plpgsql
stable
set search_path = ''
as $$
begin
    return (
        select json_build_object(
            'success', true,
            'processed', count(*) filter (where result.error is null),
            'results', coalesce(json_agg(case
                when result.error is not null then json_build_object(
                    'conversation_id', null, 'external_conversation_id', result.external_id,
                    'messages_added', 0, 'status', 'error: ' || result.error
                )
                when result.conflicts is not null then json_build_object(
                    'conversation_id', result.id, 'messages_added', result.added, 'status', result.status,
                    'conflicting_message_ids', result.conflicts
                )
                else json_build_object(
                    'conversation_id', result.id, 'messages_added', result.added, 'status', result.status
                )
            end order by result.position), '[]')
        )
        from (
            select
                given.position,
                given.external_id,
                given.error,
                p_ids[given.position] as id,
                coalesce(counted.added, 0) as added,
                counted.conflicts,
                case
                    when p_created ? given.external_id
                        and row_number() over (
                            partition by given.external_id, given.error is null order by given.position
                        ) = 1
                        then 'created'
                    when counted.added > 0 then 'updated'
                    else 'no_new_messages'
                end as status
            from unnest(p_conversations) as given
            left join (
                select
                    line.parent,
                    count(*) filter (where not line.is_known) as added,
                    json_agg(distinct line.external_id) filter (where line.is_conflicting) as conflicts
                from unnest(p_messages) as line
                group by line.parent
            ) as counted on given.position = counted.parent
        ) as result
    );
end
$$;
comment on function
private.render_results(private.ingest_conversation[], uuid[], jsonb, private.ingest_message[]) is
'The answer to a request: one result per conversation, in the order of the request.';

create function private.store_conversations(p_user_id uuid, p_platform text, p_conversations jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_conversations private.ingest_conversation[] := private.parse_conversations(p_conversations);
    v_ids uuid[] := private.find_conversations(p_user_id, p_platform, v_conversations);
    v_messages private.ingest_message[] := private.parse_messages(p_conversations, v_ids);
    v_is_replay boolean := not exists (
        select from unnest(v_messages) as line where not line.is_known or line.is_conflicting
    );
    v_participants private.ingest_participant[];
    v_created jsonb;
    v_locked uuid[];
begin
    -- What is stored with the same content was judged when it came, and there is nothing to do with it.
    if not v_is_replay then
        v_messages := private.validate_messages(v_messages);
    end if;
    v_conversations := private.validate_conversations(v_conversations, v_messages);
    v_messages := case
        when v_is_replay then '{}'
        else private.flag_duplicates(private.list_valid_messages(v_messages, v_conversations), v_conversations)
    end;
    v_participants := private.list_participants(v_conversations);

    perform pg_advisory_xact_lock_shared(private.matching_lock(p_user_id));
    select made.ids, made.created into v_ids, v_created
    from private.ensure_conversations(p_user_id, p_platform, v_conversations, v_participants, v_ids) as made;

    -- Nobody else sees a conversation that was created just now; a pure replay changes none and takes no lock.
    v_locked := private.lock_conversations(v_ids, v_participants, array(
        select distinct v_ids[line.parent]
        from unnest(v_messages) as line
        inner join unnest(v_conversations) as parent on line.parent = parent.position
        where not line.is_known and not v_created ? parent.external_id
    ));
    if v_locked <> '{}' then
        perform private.update_participants(v_locked, v_participants);
        v_messages := private.find_stored_messages(v_messages, v_ids);
    end if;

    if not v_is_replay then
        insert into public.conversation_messages (conversation_id, external_id, user_id, sent_at, message)
        select v_ids[line.parent], line.external_id, p_user_id, line.sent_at, line.message
        from unnest(v_messages) as line
        where not line.is_known;
    end if;
    return private.render_results(v_conversations, v_ids, v_created, v_messages);
end
$$;
comment on function private.store_conversations(uuid, text, jsonb) is
'Stores the conversations of a request for a user and answers it. Conversations with an error are left out
whole, all others go in, whatever else is being written at the same time.';
