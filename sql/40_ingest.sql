-- POST /functions/v1/messaging-ingest: what an outside service sends becomes conversations and messages.

create function private.parse_json(p_body bytea) returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
    v_text text := ltrim(convert_from(p_body, 'UTF8'), U&'\FEFF');
    c_huge constant text := '[:,[\s]-?[0-9.]+[eE][-+]?0*[1-9][0-9]{3}';
begin
    -- Seven bytes such as 1e99999 would be written out as a hundred thousand digits whenever they are read.
    if v_text ~ c_huge and regexp_replace(v_text, '"(?:[^"\\]|\\.)*"', '', 'g') ~ c_huge then
        raise numeric_value_out_of_range using message = 'A number is too large.';
    end if;
    return v_text::jsonb;
exception
    when untranslatable_character or invalid_text_representation then
        -- jsonb can hold neither NUL nor half a surrogate pair. Each becomes U+FFFD, so that the rest of the
        -- message survives. Control characters, which JSON forbids, stand in for what must not be touched.
        if v_text !~ '\\u(0000|[dD][89a-fA-F])' or v_text ~ '[\u0001\u0002]' then
            raise;
        end if;
        v_text := replace(v_text, '\\', U&'\0001');
        v_text := regexp_replace(
            v_text, '\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})', U&'\0002\\1\0002\\2', 'g'
        );
        v_text := regexp_replace(v_text, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\ufffd', 'g');
        return replace(replace(v_text, U&'\0002', '\u'), U&'\0001', '\\')::jsonb;
end
$$;
comment on function private.parse_json(bytea) is
'A request body as jsonb. Raises a data exception (class 22) or 54001 for what is not UTF-8, not JSON or too deep.
It mends what jsonb cannot hold, which may take seconds for megabytes: for callers who are known.';
revoke all on function private.parse_json(bytea) from public, anon, authenticated, service_role;
grant execute on function private.parse_json(bytea) to service_role;

create function private.parse_timestamp(p_text text) returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
declare
    v_at timestamptz;
begin
    if p_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,12})?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?$'
    then
        return null;
    end if;
    begin
        -- Without an offset it is UTC, whatever the session's time zone is.
        v_at := (p_text || case when p_text ~ '([Zz]|[0-9][+-][0-9]{2}(:?[0-9]{2})?)$' then '' else 'Z' end)::timestamptz;
    exception
        when data_exception then
            return null;
    end;
    -- An offset can move a time out of the years that ISO 8601 writes with four digits.
    return case when v_at >= '0001-01-01T00:00:00Z' and v_at < '9999-12-31T23:59:59.9999995Z' then v_at end;
end
$$;
comment on function private.parse_timestamp(text) is
'An ISO 8601 date and time, as UTC when it has no offset; null for anything else, never an error.';
revoke all on function private.parse_timestamp(text) from public, anon, authenticated, service_role;
grant execute on function private.parse_timestamp(text) to service_role;

create type private.ingest_conversation as (
    position integer,
    external_id text,
    participant_identifier text,
    participant_name text,
    newest_at timestamptz,
    error text
);
comment on type private.ingest_conversation is
'A conversation of a request: its position, what it says of its participant, its newest sent_at, and what is wrong.';

create type private.ingest_message as (
    position integer,
    index integer,
    external_id text,
    sent_at timestamptz,
    message jsonb,
    error text
);
comment on type private.ingest_message is
'A message of a request: the position of its conversation, its index there, what is stored of it, and what is wrong.';

create type private.ingest_participant as (
    external_id text,
    identifier text,
    identified_at timestamptz,
    name text,
    named_at timestamptz
);
comment on type private.ingest_participant is
'What a request says of the participant of one of its threads, and how new that is.';

create function private.read_messages(p_conversations jsonb) returns private.ingest_message[]
language plpgsql
stable
set search_path = ''
as $$
begin
    return array(
        with given as materialized (
            select
                parent.position::integer as position,
                line.position::integer - 1 as index,
                line.value as message,
                line.value ->> 'sent_at' as sent_at
            from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
            cross join lateral jsonb_array_elements(
                case jsonb_typeof(parent.value -> 'messages') when 'array' then parent.value -> 'messages' else '[]' end
            ) with ordinality as line (value, position)
        ),

        timed as materialized (
            select
                given.position,
                given.index,
                given.message,
                -- Nearly all look like this. They cannot fail to be cast; a call for each would take far longer.
                case
                    when translate(given.sent_at, '123456789', '000000000')
                        in ('0000-00-00T00:00:00Z', '0000-00-00T00:00:00.000Z')
                        and substr(given.sent_at, 1, 4) collate "C" >= '0001'
                        and substr(given.sent_at, 6, 2) collate "C" between '01' and '12'
                        and substr(given.sent_at, 9, 2) collate "C" between '01' and '28'
                        and substr(given.sent_at, 12, 2) collate "C" < '24'
                        and substr(given.sent_at, 15, 2) collate "C" < '60'
                        and substr(given.sent_at, 18, 2) collate "C" < '60'
                        then given.sent_at::timestamptz
                    else private.parse_timestamp(given.sent_at)
                end as sent_at
            from given
        )

        select (
            timed.position, timed.index, timed.message ->> 'id', timed.sent_at, timed.message,
            case
                when jsonb_typeof(timed.message) <> 'object' then ' must be an object'
                when jsonb_typeof(timed.message -> 'id') is distinct from 'string'
                    or char_length(timed.message ->> 'id') not between 1 and 500
                    then '.id must be a string of 1 to 500 characters'
                when coalesce(timed.message ->> 'direction', '') not in ('inbound', 'outbound')
                    then '.direction must be inbound or outbound'
                when coalesce(timed.message ->> 'type', '')
                    not in ('text', 'image', 'audio', 'video', 'file', 'location')
                    then '.type must be text, image, audio, video, file or location'
                when jsonb_typeof(timed.message -> 'content') is distinct from 'string'
                    then '.content must be a string'
                when coalesce(jsonb_typeof(timed.message -> 'media_url'), 'null') not in ('string', 'null')
                    then '.media_url must be a string or null'
                when jsonb_typeof(timed.message -> 'sent_at') is distinct from 'string' or timed.sent_at is null
                    then '.sent_at must be an ISO 8601 timestamp'
            end
        )::private.ingest_message
        from timed
        order by timed.position, timed.index
    );
end
$$;
comment on function private.read_messages(jsonb) is 'The messages of a request in its order, each judged.';
revoke all on function private.read_messages(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.read_messages(jsonb) to service_role;

create function private.read_conversations(
    p_conversations jsonb,
    out conversations private.ingest_conversation[], out messages private.ingest_message[]
)
language plpgsql
stable
set search_path = ''
as $$
begin
    messages := private.read_messages(p_conversations);
    conversations := array(
        select (
            given.position,
            given.value ->> 'external_conversation_id',
            given.value ->> 'participant_identifier',
            nullif(btrim(given.value ->> 'participant_name'), ''),
            coalesce(summed.newest_at, '-infinity'),
            case
                when jsonb_typeof(given.value) <> 'object' then 'conversation must be an object'
                when jsonb_typeof(given.value -> 'external_conversation_id') is distinct from 'string'
                    or char_length(given.value ->> 'external_conversation_id') not between 1 and 500
                    then 'external_conversation_id must be a string of 1 to 500 characters'
                when jsonb_typeof(given.value -> 'participant_identifier') is distinct from 'string'
                    or char_length(given.value ->> 'participant_identifier') not between 1 and 500
                    then 'participant_identifier must be a string of 1 to 500 characters'
                when coalesce(jsonb_typeof(given.value -> 'participant_name'), 'null') not in ('string', 'null')
                    or char_length(given.value ->> 'participant_name') > 500
                    then 'participant_name must be a string of at most 500 characters'
                when jsonb_typeof(given.value -> 'messages') is distinct from 'array'
                    then 'messages must be an array'
                else summed.error
            end
        )::private.ingest_conversation
        from jsonb_array_elements(p_conversations) with ordinality as given (value, position)
        left join (
            select
                line.position,
                max(line.sent_at) as newest_at,
                (array_agg('messages[' || line.index || ']' || line.error order by line.index)
                    filter (where line.error is not null))[1] as error
            from unnest(messages) as line
            group by line.position
        ) as summed on given.position = summed.position
        order by given.position
    );
    if exists (select from unnest(conversations) as given where given.error is not null) then
        messages := array(
            select line
            from unnest(messages) as line
            inner join unnest(conversations) as given on line.position = given.position
            where given.error is null
            order by line.position, line.index
        );
    end if;
end
$$;
comment on function private.read_conversations(jsonb) is
'The conversations of a request in its order, each judged, and all messages of those without an error.';
revoke all on function private.read_conversations(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.read_conversations(jsonb) to service_role;

create function private.newest_participants(p_conversations private.ingest_conversation[])
returns private.ingest_participant[]
language plpgsql
immutable
set search_path = ''
as $$
begin
    -- The batch with the newest message knows best. Ties go to the greater text, so that the order of arrival
    -- does not matter.
    return array(
        select (
            given.external_id,
            (array_agg(
                given.participant_identifier order by given.newest_at desc, given.participant_identifier desc
            ))[1],
            max(given.newest_at),
            (array_agg(given.participant_name order by given.newest_at desc, given.participant_name desc)
                filter (where given.participant_name is not null))[1],
            coalesce(max(given.newest_at) filter (where given.participant_name is not null), '-infinity')
        )::private.ingest_participant
        from unnest(p_conversations) as given
        where given.error is null
        group by given.external_id
    );
end
$$;
comment on function private.newest_participants(private.ingest_conversation[]) is
'One entry for each thread of a request.';
revoke all on function private.newest_participants(private.ingest_conversation[])
from public, anon, authenticated, service_role;
grant execute on function private.newest_participants(private.ingest_conversation[]) to service_role;

-- Planned at each call, as private.look_up_messages is: a plan that was kept from when the table was nearly empty may
-- walk through all of a user's conversations for each of them.
create function private.find_conversations(
    p_user_id uuid, p_platform text, p_conversations private.ingest_conversation[]
) returns uuid[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    return array(
        select (
            select existing.id
            from public.conversations as existing
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
'The ids of the conversations of a request, by position; null for those that do not exist, or have an error.';
revoke all on function private.find_conversations(uuid, text, private.ingest_conversation[])
from public, anon, authenticated, service_role;
grant execute on function private.find_conversations(uuid, text, private.ingest_conversation[]) to service_role;

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
            given.identifier, given.identified_at, given.name, given.named_at
        from unnest(p_participants) as given
        order by given.external_id collate "C"
        on conflict on constraint conversations_external_id_unique do nothing
        returning id
    )

    select jsonb_object_agg(created.id, true) into v_created from created;
    return coalesce(v_created, '{}');
end
$$;
comment on function private.create_conversations(uuid, text, private.ingest_participant[]) is
'Makes those conversations that nobody made before; their ids are the keys of the answer.';
revoke all on function private.create_conversations(uuid, text, private.ingest_participant[])
from public, anon, authenticated, service_role;
grant execute on function private.create_conversations(uuid, text, private.ingest_participant[]) to service_role;

create function private.look_up_messages(
    p_messages private.ingest_message[], p_ids uuid[],
    out is_unknown boolean[], out is_conflict boolean[], out are_distinct boolean
)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    select
        array_agg(looked_up.stored_message is null order by looked_up.line),
        array_agg(coalesce(looked_up.stored_message <> looked_up.message, false) order by looked_up.line),
        count(distinct looked_up.key) = count(*)
    into is_unknown, is_conflict, are_distinct
    from (
        select
            (p_ids[given.position], given.external_id) as key,
            given.line,
            given.message,
            (
                select stored.message
                from public.conversation_messages as stored
                where stored.conversation_id = p_ids[given.position] and stored.external_id = given.external_id
            ) as stored_message
        from unnest(p_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
        -- Not to be merged into the outer query, which would look up twice.
        offset 0
    ) as looked_up;
end
$$;
comment on function private.look_up_messages(private.ingest_message[], uuid[]) is
'For each message whether it is not stored yet, and whether it is with other content; and whether all ids differ.';
revoke all on function private.look_up_messages(private.ingest_message[], uuid[])
from public, anon, authenticated, service_role;
grant execute on function private.look_up_messages(private.ingest_message[], uuid[]) to service_role;

create function private.compare_messages(
    p_messages private.ingest_message[], p_ids uuid[],
    out is_unknown boolean[], out unknown_counts jsonb, out conflicts jsonb
)
language plpgsql
stable
set search_path = ''
as $$
declare
    v_known record;
begin
    select * into v_known from private.look_up_messages(p_messages, p_ids);
    if not v_known.are_distinct then
        -- Of the same id twice in one request the first counts, whichever conversation object it stands in.
        select
            array_agg(v_known.is_unknown[twin.line] and twin.number = 1 order by twin.line),
            array_agg(
                v_known.is_conflict[twin.line]
                or v_known.is_unknown[twin.line] and twin.message <> twin.first_message
                order by twin.line
            )
        into v_known.is_unknown, v_known.is_conflict
        from (
            select
                given.line,
                given.message,
                row_number() over twins as number,
                first_value(given.message) over twins as first_message
            from unnest(p_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
            window twins as (partition by p_ids[given.position], given.external_id order by given.line)
        ) as twin;
    end if;

    is_unknown := v_known.is_unknown;
    select jsonb_object_agg(counted.position, counted.count) into unknown_counts
    from (
        select given.position, count(*) as count
        from unnest(p_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
        where v_known.is_unknown[given.line]
        group by given.position
    ) as counted;
    if true = any(v_known.is_conflict) then
        select jsonb_object_agg(conflicting.position, conflicting.external_ids) into conflicts
        from (
            select given.position, jsonb_agg(distinct given.external_id) as external_ids
            from unnest(p_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
            where v_known.is_conflict[given.line]
            group by given.position
        ) as conflicting;
    end if;
end
$$;
comment on function private.compare_messages(private.ingest_message[], uuid[]) is
'For each message whether it is yet to be stored; by position how many are, and the ids of those that are known with
other content.';
revoke all on function private.compare_messages(private.ingest_message[], uuid[])
from public, anon, authenticated, service_role;
grant execute on function private.compare_messages(private.ingest_message[], uuid[]) to service_role;

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
                > (existing.participant_identified_at, existing.participant_identifier)
                or (given.named_at, given.name)
                > (existing.participant_named_at, coalesce(existing.participant_name, ''))
            )
        order by existing.id
        for no key update of existing
    );
end
$$;
comment on function private.lock_conversations(uuid[], private.ingest_participant[], uuid[]) is
'Locks and returns those of the conversations that a request changes: p_growing, and any with news of its participant.';
revoke all on function private.lock_conversations(uuid[], private.ingest_participant[], uuid[])
from public, anon, authenticated, service_role;
grant execute on function private.lock_conversations(uuid[], private.ingest_participant[], uuid[]) to service_role;

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
        participant_identified_at = greatest(target.participant_identified_at, merged.identified_at),
        participant_name = case when merged.is_named then merged.name else target.participant_name end,
        participant_named_at = greatest(target.participant_named_at, merged.named_at)
    from (
        select
            existing.id,
            given.*,
            (given.identified_at, given.identifier)
            > (existing.participant_identified_at, existing.participant_identifier) as is_identified,
            given.name is not null and (given.named_at, given.name)
            > (existing.participant_named_at, coalesce(existing.participant_name, '')) as is_named
        from public.conversations as existing
        inner join unnest(p_participants) as given on existing.external_conversation_id = given.external_id
        where existing.id = any(p_ids)
    ) as merged
    where target.id = merged.id and (merged.is_identified or merged.is_named);
end
$$;
comment on function private.update_participants(uuid[], private.ingest_participant[]) is
'Takes over identifier and name of participants where a request knows them as of later. The rows are locked already.';
revoke all on function private.update_participants(uuid[], private.ingest_participant[])
from public, anon, authenticated, service_role;
grant execute on function private.update_participants(uuid[], private.ingest_participant[]) to service_role;

create function private.describe_results(
    p_conversations private.ingest_conversation[], p_ids uuid[], p_created jsonb, p_added jsonb, p_conflicts jsonb
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
                counted.added,
                p_conflicts -> given.position::text as conflicts,
                case
                    when p_created ? p_ids[given.position]::text
                        and row_number() over (partition by p_ids[given.position] order by given.position) = 1
                        then 'created'
                    when counted.added > 0 then 'updated'
                    else 'no_new_messages'
                end as status
            from unnest(p_conversations) as given
            cross join lateral (
                select coalesce((p_added ->> given.position::text)::integer, 0) as added
            ) as counted
        ) as result
    );
end
$$;
comment on function private.describe_results(private.ingest_conversation[], uuid[], jsonb, jsonb, jsonb) is
'The answer to a request: one result per conversation, in the order of the request.';
revoke all on function private.describe_results(private.ingest_conversation[], uuid[], jsonb, jsonb, jsonb)
from public, anon, authenticated, service_role;
grant execute on function private.describe_results(private.ingest_conversation[], uuid[], jsonb, jsonb, jsonb)
to service_role;

create function private.store_conversations(p_user_id uuid, p_platform text, p_conversations jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_conversations private.ingest_conversation[];
    v_messages private.ingest_message[];
    v_participants private.ingest_participant[];
    v_ids uuid[];
    v_created jsonb := jsonb_build_object();
    v_compared record;
    v_locked uuid[];
begin
    select given.conversations, given.messages into v_conversations, v_messages
    from private.read_conversations(p_conversations) as given;
    v_participants := private.newest_participants(v_conversations);

    perform pg_advisory_xact_lock_shared(private.matching_lock(p_user_id));
    v_ids := private.find_conversations(p_user_id, p_platform, v_conversations);
    if exists (select from unnest(v_conversations) as given where given.error is null and v_ids[given.position] is null)
    then
        v_created := private.create_conversations(p_user_id, p_platform, v_participants);
        v_ids := private.find_conversations(p_user_id, p_platform, v_conversations);
        if exists (
            select from unnest(v_conversations) as given where given.error is null and v_ids[given.position] is null
        ) then
            -- Deleted in the instant since. Trying again here, with rows locked already, could deadlock.
            raise serialization_failure using message = 'A conversation was deleted while it was written to.';
        end if;
    end if;

    select * into v_compared from private.compare_messages(v_messages, v_ids);
    -- Nobody else sees a conversation that was created just now; a pure replay changes none and takes no lock.
    v_locked := private.lock_conversations(v_ids, v_participants, array(
        select distinct v_ids[growing.position::integer]
        from jsonb_object_keys(v_compared.unknown_counts) as growing (position)
        where not v_created ? v_ids[growing.position::integer]::text
    ));
    if v_locked <> '{}' then
        perform private.update_participants(v_locked, v_participants);
        select * into v_compared from private.compare_messages(v_messages, v_ids);
    end if;

    if v_compared.unknown_counts is not null then
        insert into public.conversation_messages (conversation_id, external_id, user_id, sent_at, message)
        select v_ids[given.position], given.external_id, p_user_id, given.sent_at, given.message
        from unnest(v_messages) with ordinality as given (position, index, external_id, sent_at, message, error, line)
        where v_compared.is_unknown[given.line];
    end if;
    return private.describe_results(
        v_conversations, v_ids, v_created, v_compared.unknown_counts, v_compared.conflicts
    );
end
$$;
comment on function private.store_conversations(uuid, text, jsonb) is
'Stores the conversations of a request for a user and answers it. Conversations with an error are left out
whole, all others go in, whatever else is being written at the same time.';
revoke all on function private.store_conversations(uuid, text, jsonb)
from public, anon, authenticated, service_role;
grant execute on function private.store_conversations(uuid, text, jsonb) to service_role;

create function private.count_messages(p_conversations jsonb) returns bigint
language plpgsql
immutable
set search_path = ''
as $$
begin
    return (
        select sum(greatest(1, case
            when jsonb_typeof(given.value -> 'messages') = 'array' then jsonb_array_length(given.value -> 'messages')
        end))
        from jsonb_array_elements(p_conversations) as given
    );
end
$$;
comment on function private.count_messages(jsonb) is
'How many messages a request carries; a conversation without any counts as one, since it costs as much.';
revoke all on function private.count_messages(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.count_messages(jsonb) to service_role;

create function private.refuse(p_status integer, p_error text) returns json
language plpgsql
volatile
set search_path = ''
as $$
begin
    perform set_config('response.status', p_status::text, true);
    return json_build_object('error', p_error);
end
$$;
comment on function private.refuse(integer, text) is
'An error in the shape of the ingest document. The status reaches HTTP as PostgREST and the gateway define it.';
revoke all on function private.refuse(integer, text) from public, anon, authenticated, service_role;
grant execute on function private.refuse(integer, text) to service_role;

create function public.messaging_ingest(bytea) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_secret text := nullif(current_setting('request.headers', true), '')::json ->> 'x-api-key';
    v_request jsonb;
    v_owner record;
    v_limit integer := (select settings.ingest_max_messages from private.settings);
begin
    if coalesce(v_secret, '') = '' then
        return private.refuse(401, 'Missing x-api-key header');
    end if;
    begin
        -- Strangers are refused anyway; what their bodies cost is kept small.
        v_request := case
            when private.is_live_key(v_secret) then private.parse_json($1)
            else ltrim(convert_from($1, 'UTF8'), U&'\FEFF')::jsonb
        end;
    exception
        when data_exception or statement_too_complex or program_limit_exceeded then
            return private.refuse(400, 'Request body is not valid JSON');
    end;
    if coalesce(v_request ->> 'platform', '') = ''
        or coalesce(v_request ->> 'connection_id', '') = ''
        or coalesce(jsonb_typeof(v_request -> 'conversations'), 'null') = 'null'
    then
        return private.refuse(400, 'Missing required fields: platform, connection_id, conversations');
    end if;
    if jsonb_typeof(v_request -> 'conversations') <> 'array' then
        return private.refuse(400, 'conversations must be an array');
    end if;

    select * into v_owner
    from private.authenticate_connection(
        v_request ->> 'platform', v_request ->> 'connection_id', v_secret
    );
    if v_owner.user_id is null then
        return private.refuse(401, 'Invalid connection_id or platform');
    elsif not v_owner.is_key_valid then
        return private.refuse(401, 'Invalid API key');
    elsif not v_owner.is_active then
        return private.refuse(403, 'Connection is inactive');
    end if;

    if private.count_messages(v_request -> 'conversations') > v_limit then
        return private.refuse(413, format('Too many messages: at most %s in one request', v_limit));
    end if;
    return private.store_conversations(
        v_owner.user_id, v_request ->> 'platform', v_request -> 'conversations'
    );
end
$$;
comment on function public.messaging_ingest(bytea) is
'The ingest endpoint: the raw body as its one argument, x-api-key among request.headers; answers as the document says,
errors included, with response.status set. Only the two doors, the service and the Edge Function, may call it.';
revoke all on function public.messaging_ingest(bytea) from public, anon, authenticated, service_role;
grant execute on function public.messaging_ingest(bytea) to service_role;
