-- Ingest, first half: the JSON of a request becomes rows, each with its error. Nothing is written.

create type private.ingest_conversation as (
    position integer,
    external_id text,
    participant_identifier text,
    participant_name text,
    newest_at timestamptz,
    error text
);
comment on type private.ingest_conversation is
'A conversation of a request: its position from 1, what it says of its participant, its newest sent_at, and what is
wrong.';

create type private.ingest_message as (
    parent integer,
    index integer,
    external_id text,
    message jsonb,
    is_known boolean,
    is_conflicting boolean,
    sent_at timestamptz,
    error text
);
comment on type private.ingest_message is
'A message of a request: the position of its conversation, its index there from 0, what is stored of it; whether it is
known already, and with other content; and what is wrong.';

create type private.ingest_participant as (
    external_id text,
    identifier text,
    identified_at timestamptz,
    name text,
    named_at timestamptz
);
comment on type private.ingest_participant is
'What a request says of the participant of one of its threads, and how new that is.';

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

create function private.parse_conversations(p_conversations jsonb) returns private.ingest_conversation[]
language plpgsql
immutable
set search_path = ''
as $$
begin
    return array(
        select (
            given.position,
            own.external_id,
            own.identifier,
            nullif(btrim(own.name), ''),
            '-infinity',
            case
                when jsonb_typeof(given.value) <> 'object' then 'conversation must be an object'
                when own.external_id is null or char_length(own.external_id) not between 1 and 500
                    then 'external_conversation_id must be a string of 1 to 500 characters'
                when own.identifier is null or char_length(own.identifier) not between 1 and 500
                    then 'participant_identifier must be a string of 1 to 500 characters'
                when coalesce(jsonb_typeof(given.value -> 'participant_name'), 'null') not in ('string', 'null')
                    or char_length(own.name) > 500
                    then 'participant_name must be a string of at most 500 characters'
                when jsonb_typeof(given.value -> 'messages') is distinct from 'array'
                    then 'messages must be an array'
            end
        )::private.ingest_conversation
        from jsonb_array_elements(p_conversations) with ordinality as given (value, position)
        cross join lateral (
            select
                case jsonb_typeof(given.value -> 'external_conversation_id') when 'string' then given.value ->> 'external_conversation_id' end as external_id,
                case jsonb_typeof(given.value -> 'participant_identifier') when 'string' then given.value ->> 'participant_identifier' end as identifier,
                case jsonb_typeof(given.value -> 'participant_name') when 'string' then given.value ->> 'participant_name' end as name
        ) as own
        order by given.position
    );
end
$$;
comment on function private.parse_conversations(jsonb) is
'The conversations of a request in its order, each judged without its messages.';

-- Planned at each call: a plan that was kept from when the table was nearly empty may walk through all of a user's
-- conversations for each of them (docs/decisions/0003).
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

create function private.parse_messages(p_conversations jsonb, p_ids uuid[]) returns private.ingest_message[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    return array(
        select (
            parent.position, line.position - 1, own.external_id, line.value,
            stored.message is not null, coalesce(stored.message <> line.value, false), stored.sent_at, null
        )::private.ingest_message
        from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
        cross join lateral jsonb_array_elements(
            case jsonb_typeof(parent.value -> 'messages') when 'array' then parent.value -> 'messages' else '[]' end
        ) with ordinality as line (value, position)
        cross join lateral (
            select case jsonb_typeof(line.value -> 'id') when 'string' then line.value ->> 'id' end as external_id
        ) as own
        left join lateral (
            select known.message, known.sent_at
            from public.conversation_messages as known
            where known.conversation_id = p_ids[parent.position] and known.external_id = own.external_id
            -- One look-up by the key for each, whatever the planner believes of the table.
            limit 1
        ) as stored on true
        order by parent.position, line.position
    );
end
$$;
comment on function private.parse_messages(jsonb, uuid[]) is
'The messages of a request in its order, not judged yet, with what is stored of them in their conversations, whose ids
are given by position.';

create function private.find_stored_messages(p_messages private.ingest_message[], p_ids uuid[])
returns private.ingest_message[]
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    return array(
        select (
            given.parent, given.index, given.external_id, given.message,
            given.is_known or stored.message is not null,
            coalesce(stored.message <> given.message, given.is_conflicting),
            coalesce(stored.sent_at, given.sent_at),
            given.error
        )::private.ingest_message
        from unnest(p_messages) as given
        left join lateral (
            select known.message, known.sent_at
            from public.conversation_messages as known
            where known.conversation_id = p_ids[given.parent] and known.external_id = given.external_id
            -- One look-up by the key for each, whatever the planner believes of the table.
            limit 1
        ) as stored on not given.is_known
        order by given.parent, given.index
    );
end
$$;
comment on function private.find_stored_messages(private.ingest_message[], uuid[]) is
'The same messages, with what is found of them in their conversations, whose ids are given by position.';

create function private.validate_new_messages(p_messages private.ingest_message[], p_are_times_castable boolean)
returns private.ingest_message[]
language plpgsql
stable
set search_path = ''
as $$
declare
    c_fields constant text[] := array['id', 'direction', 'type', 'content', 'media_url', 'sent_at'];
begin
    return array(
        select (
            given.parent, given.index, given.external_id, given.message, given.is_known, given.is_conflicting,
            given.sent_at,
            case
                when given.is_known and not given.is_conflicting then null
                when jsonb_typeof(given.message) <> 'object' then ' must be an object'
                when given.external_id is null or char_length(given.external_id) not between 1 and 500
                    then '.id must be a string of 1 to 500 characters'
                when coalesce(given.message ->> 'direction', '') not in ('inbound', 'outbound')
                    then '.direction must be inbound or outbound'
                when coalesce(given.message ->> 'type', '')
                    not in ('text', 'image', 'audio', 'video', 'file', 'location')
                    then '.type must be text, image, audio, video, file or location'
                when jsonb_typeof(given.message -> 'content') is distinct from 'string'
                    then '.content must be a string'
                when coalesce(jsonb_typeof(given.message -> 'media_url'), 'null') not in ('string', 'null')
                    then '.media_url must be a string or null'
                when given.sent_at is null then '.sent_at must be an ISO 8601 timestamp'
                when given.message - c_fields <> '{}' and private.has_huge_number(given.message - c_fields)
                    then ' must not have a number of more than 1000 digits'
            end
        )::private.ingest_message
        from (
            select
                line.parent,
                line.index,
                line.external_id,
                line.message,
                line.is_known,
                line.is_conflicting,
                case
                    when line.is_known and not line.is_conflicting then line.sent_at
                    when jsonb_typeof(line.message -> 'sent_at') <> 'string' then null
                    when p_are_times_castable then (line.message ->> 'sent_at')::timestamptz
                    else private.parse_timestamp(line.message ->> 'sent_at')
                end as sent_at
            from unnest(p_messages) as line
            -- Not to be merged into the outer query, which would parse each time twice.
            offset 0
        ) as given
        order by given.parent, given.index
    );
end
$$;
comment on function private.validate_new_messages(private.ingest_message[], boolean) is
'The same messages with sent_at and what is wrong with them. Where every sent_at can be cast as it is, that is far
cheaper.';

create function private.validate_messages(p_messages private.ingest_message[]) returns private.ingest_message[]
language plpgsql
stable
set search_path = ''
as $$
declare
    -- What parse_timestamp takes as it is, far from the ends of its range. Nearly all times look like this, and one
    -- match over all of them takes a tenth of what a match for each would.
    c_castable constant text := '^([12][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,12})?)?'
        || '([Zz]|[+-][0-9]{2}:[0-9]{2})\n)*$';
    v_times text := (
        select string_agg((given.message ->> 'sent_at') || E'\n', '')
        from unnest(p_messages) as given
        where (not given.is_known or given.is_conflicting) and jsonb_typeof(given.message -> 'sent_at') = 'string'
    );
begin
    return private.validate_new_messages(p_messages, coalesce(v_times ~ c_castable, false));
exception
    when data_exception then
        -- Such as the thirtieth of February.
        return private.validate_new_messages(p_messages, false);
end
$$;
comment on function private.validate_messages(private.ingest_message[]) is 'The same messages, each judged.';

create function private.list_valid_messages(
    p_messages private.ingest_message[], p_conversations private.ingest_conversation[]
) returns private.ingest_message[]
language plpgsql
immutable
set search_path = ''
as $$
begin
    if not exists (select from unnest(p_conversations) as parent where parent.error is not null) then
        return p_messages;
    end if;
    return array(
        select line
        from unnest(p_messages) as line
        inner join unnest(p_conversations) as parent on line.parent = parent.position
        where parent.error is null
        order by line.parent, line.index
    );
end
$$;
comment on function private.list_valid_messages(private.ingest_message[], private.ingest_conversation[]) is
'The messages of the conversations that have no error.';

create function private.flag_duplicates(
    p_messages private.ingest_message[], p_conversations private.ingest_conversation[]
) returns private.ingest_message[]
language plpgsql
immutable
set search_path = ''
as $$
begin
    if cardinality(p_messages) = (
        select count(*)
        from (
            select from unnest(p_messages) as line
            inner join unnest(p_conversations) as parent on line.parent = parent.position
            group by parent.external_id, line.external_id
        ) as different
    ) then
        return p_messages;
    end if;
    -- Of the same id twice in one thread the first counts, whichever conversation object it stands in.
    return array(
        select (
            given.parent, given.index, given.external_id, given.message,
            given.is_known or given.number > 1,
            given.is_conflicting or not given.is_known and given.message <> given.first_message,
            given.sent_at, given.error
        )::private.ingest_message
        from (
            select
                line.*,
                row_number() over twins as number,
                first_value(line.message) over twins as first_message
            from unnest(p_messages) as line
            inner join unnest(p_conversations) as parent on line.parent = parent.position
            window twins as (
                partition by parent.external_id, line.external_id order by line.parent, line.index
            )
        ) as given
        order by given.parent, given.index
    );
end
$$;
comment on function private.flag_duplicates(private.ingest_message[], private.ingest_conversation[]) is
'The same messages; those whose id stands in the request twice count as known from the second on.';

create function private.validate_conversations(
    p_conversations private.ingest_conversation[], p_messages private.ingest_message[]
) returns private.ingest_conversation[]
language plpgsql
immutable
set search_path = ''
as $$
begin
    return array(
        select (
            given.position, given.external_id, given.participant_identifier, given.participant_name,
            coalesce(summed.newest_at, '-infinity'), coalesce(given.error, summed.error)
        )::private.ingest_conversation
        from unnest(p_conversations) as given
        left join (
            select
                line.parent,
                max(line.sent_at) as newest_at,
                (array_agg('messages[' || line.index || ']' || line.error order by line.index)
                    filter (where line.error is not null))[1] as error
            from unnest(p_messages) as line
            group by line.parent
        ) as summed on given.position = summed.parent
        order by given.position
    );
end
$$;
comment on function private.validate_conversations(private.ingest_conversation[], private.ingest_message[]) is
'The same conversations with what their messages say: the newest sent_at, the first error.';

create function private.list_participants(p_conversations private.ingest_conversation[])
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
comment on function private.list_participants(private.ingest_conversation[]) is
'One entry for each thread of a request.';
