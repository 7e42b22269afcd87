-- Ingest, first part: turns the JSON of a request into rows and finds their errors. Reads and writes no table.
-- Promise: every error of a conversation is known before anything is written.

create type private.ingest_conversation as (
    position integer,
    external_id text,
    identifier text collate "C",
    name text collate "C",
    identifiers private.identifier [],
    newest_at timestamptz,
    is_group boolean,
    has_future boolean,
    has_updates boolean,
    message_count integer,
    last_message jsonb,
    error text
);
comment on type private.ingest_conversation is
'A conversation of a request: its position from 1, its participant''s identifier, name and further identifiers, the
newest sent_at of its messages that is not far beyond their arrival, whether a message has such a time, whether it has
updates, how many messages it has and the last of them, and its first error.';

create type private.ingest_message as (
    parent integer,
    index integer,
    external_id text,
    sender text,
    sent_at timestamptz,
    stated_at timestamptz,
    sequence bigint,
    message jsonb,
    present jsonb,
    deleted_at timestamptz,
    error text
);
comment on type private.ingest_message is
'A message of a request: the position of its conversation, its index there from 0, its sent_at again
if that is far beyond its arrival, what earlier updates make of it and when
they deleted it, and its first error.';

create type private.ingest_participant as (
    external_id text,
    conversation_id uuid,
    identifier text collate "C",
    identified_at timestamptz,
    name text collate "C",
    named_at timestamptz,
    is_group boolean,
    message_count integer,
    last_at timestamptz,
    last_message jsonb
);
comment on type private.ingest_participant is
'What a request says about the participant of one conversation, and the newest message of the batch that said it;
conversation_id is null if the conversation was not found. The last three are the summary of its messages, by guess: the
request may have duplicates and updates.';

create type private.ingest_result as (
    conversation_id uuid,
    external_id text,
    status text,
    messages_added integer,
    conflicts json,
    updates_added integer,
    updates_waiting integer,
    uploads jsonb,
    uploads_refused integer
);
comment on type private.ingest_result is
'What became of one conversation of a request; conflicts are the ids of messages that are stored with other content. The
numbers of updates are null if it has none, and uploads is null unless the request asks for them. uploads_refused is
null unless the workspace is full.';

create type private.ingest_update as (
    parent integer,
    index integer,
    external_id text,
    sender text,
    type text,
    actor text,
    at timestamptz,
    sequence bigint,
    value jsonb,
    error text
);
comment on type private.ingest_update is
'An update of a message: the position of its conversation, its index there from 0, what it says, and its first error.';

create type private.ingest_count as (
    parent integer,
    added integer,
    conflicts json,
    updates_added integer,
    updates_waiting integer
);
comment on type private.ingest_count is
'Of one conversation of a request: how many messages are new, the ids of those that are stored with other content, how
many updates are new and how many wait for their message.';

create function private.count_messages(p_conversations jsonb) returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select sum(greatest(1, coalesce(case
            when jsonb_typeof(given.value -> 'messages') = 'array' then jsonb_array_length(given.value -> 'messages')
        end, 0) + coalesce(case
            when jsonb_typeof(given.value -> 'updates') = 'array' then jsonb_array_length(given.value -> 'updates')
        end, 0)))
        from jsonb_array_elements(p_conversations) as given
    );
end
$$;
comment on function private.count_messages(jsonb) is
'Counts the messages and updates of a request. A conversation without any counts as one, because it costs as much.';

create function private.parse_conversations(p_conversations jsonb) returns private.ingest_conversation[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select conversation::private.ingest_conversation
        from (
            select
                given.position::integer as position,
                field.external_id, field.identifier,
                nullif(btrim(field.name), '') as name,
                case
                    when given.value ? 'identifiers' then private.list_given_identifiers(given.value -> 'identifiers')
                    else '{}'
                end as identifiers,
                '-infinity'::timestamptz as newest_at,
                coalesce(given.value -> 'kind' = '"group"', false) as is_group,
                false as has_future, jsonb_typeof(given.value -> 'updates') = 'array' as has_updates,
                0 as message_count, null::jsonb as last_message,
                case
                    when jsonb_typeof(given.value) <> 'object' then 'conversation must be an object'
                    when field.external_id is null or char_length(field.external_id) not between 1 and 500
                        then 'external_conversation_id must be a string of 1 to 500 characters'
                    when field.identifier is null or char_length(field.identifier) not between 1 and 500
                        then 'participant_identifier must be a string of 1 to 500 characters'
                    when coalesce(given.value -> 'kind', 'null') not in ('"direct"', '"group"', 'null')
                        then 'kind must be direct or group'
                    when coalesce(jsonb_typeof(given.value -> 'title'), 'null') not in ('string', 'null')
                        or char_length(given.value ->> 'title') > 500
                        then 'title must be a string of at most 500 characters'
                    when coalesce(jsonb_typeof(given.value -> 'participant_name'), 'null') not in ('string', 'null')
                        or char_length(given.value ->> 'participant_name') > 500
                        then 'participant_name must be a string of at most 500 characters'
                    when jsonb_typeof(given.value -> 'messages') is distinct from 'array'
                        then 'messages must be an array'
                    when coalesce(jsonb_typeof(given.value -> 'updates'), 'null') not in ('array', 'null')
                        then 'updates must be an array'
                    when given.value ?| '{identifiers,participants}' then private.diagnose_people(given.value)
                end as error
            from jsonb_array_elements(p_conversations) with ordinality as given (value, position)
            cross join lateral (
                select
                    case jsonb_typeof(given.value -> 'external_conversation_id')
                        when 'string' then given.value ->> 'external_conversation_id'
                    end as external_id,
                    case jsonb_typeof(given.value -> 'participant_identifier')
                        when 'string' then given.value ->> 'participant_identifier'
                    end as identifier,
                    coalesce(
                        case
                            when given.value -> 'kind' = '"group"' and jsonb_typeof(given.value -> 'title') = 'string'
                                then nullif(btrim(given.value ->> 'title'), '')
                        end,
                        case jsonb_typeof(given.value -> 'participant_name')
                            when 'string' then given.value ->> 'participant_name'
                        end
                    ) as name
            ) as field
            order by given.position
        ) as conversation
    );
end
$$;
comment on function private.parse_conversations(jsonb) is
'The conversations of a request in its order, with the errors that can be seen without their messages.';

create function private.parse_sender(p_message jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case coalesce(jsonb_typeof(p_message -> 'sender'), 'null')
        when 'string' then p_message ->> 'sender'
        when 'null' then ''
    end;
end
$$;
comment on function private.parse_sender(jsonb) is
'The sender that a message or an update of a group names; empty if it names none, null if that is no string.';

create function private.parse_sequence(p_message jsonb) returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Compares before it reads the text, because the text of 1e131071 has 131 kB.
    return coalesce(case
        when p_message -> 'sequence' between '-1e18' and '1e18' or jsonb_typeof(p_message -> 'sequence') = 'string'
            then substring(p_message ->> 'sequence' from '^-?[0-9]{1,18}$')::bigint
    end, 0);
end
$$;
comment on function private.parse_sequence(jsonb) is
'The sequence of a message or an update; 0 if it is missing or not a whole number of at most 18 digits.';

-- force_generic_plan, because a custom plan costs more than it gains: no table is read.
create function private.parse_messages(p_conversations jsonb) returns private.ingest_message[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_generic_plan'
as $$
declare
    c_fields constant text[] := array['id', 'direction', 'type', 'content', 'media_url', 'sent_at'];
    -- Times that a cast takes for certain. It costs a tenth of parse_timestamp, which takes the rest.
    c_castable constant text := '[12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:[01][1-9]|10|2[0-8])[Tt ](?:[01][0-9]|2[0-3])'
        || ':[0-5][0-9]:[0-5][0-9](?:[.][0-9]{1,12})?(?:[Zz]|[+-]0[0-9]:[0-5][0-9])';
    -- Matches all times as one text, a tenth of the cost of matching each. Only strings: numbers have too many digits.
    v_are_castable boolean := jsonb_path_query_array(p_conversations, '$.messages.sent_at ? (@.type()=="string")')::text
        ~ ('^\[(?:"' || c_castable || '"(?:, )?)*\]$');
begin
    return array(
        select line::private.ingest_message from (
            select
                parsed.parent, parsed.index, parsed.external_id, parsed.sender, parsed.sent_at,
                case when parsed.sent_at > now() + interval '1 hour' then parsed.sent_at end as stated_at,
                case when parsed.message ? 'sequence' then private.parse_sequence(parsed.message) else 0 end,
                parsed.message, null::jsonb as present, null::timestamptz as deleted_at,
                case
                    when jsonb_typeof(parsed.message) <> 'object' then ' must be an object'
                    when parsed.external_id is null or char_length(parsed.external_id) not between 1 and 500 then
                        '.id must be a string of 1 to 500 characters'
                    when coalesce(parsed.message -> 'direction', 'null') not in ('"inbound"', '"outbound"')
                        then '.direction must be inbound or outbound'
                    when coalesce(parsed.message -> 'type', 'null') not in (
                        '"text"', '"image"', '"audio"', '"video"', '"file"', '"location"',
                        '"sticker"', '"contact"', '"poll"', '"call"', '"system"'
                    ) then '.type must be text, image, audio, video, file, location, sticker, contact, poll, call '
                        || 'or system'
                    when parsed.sender is null or char_length(parsed.sender) > 500
                        then '.sender must be a string of at most 500 characters'
                    when jsonb_typeof(parsed.message -> 'content') is distinct from 'string'
                        then '.content must be a string'
                    when coalesce(jsonb_typeof(parsed.message -> 'media_url'), 'null') not in ('string', 'null')
                        then '.media_url must be a string or null'
                    when parsed.sent_at is null then '.sent_at must be an ISO 8601 timestamp'
                    when parsed.message - c_fields <> '{}' then private.diagnose_json(parsed.message - c_fields)
                end as error
            from (
                select
                    parent.position::integer as parent, given.position::integer - 1 as index,
                    case jsonb_typeof(given.value -> 'id') when 'string' then given.value ->> 'id' end as external_id,
                    case parent.value -> 'kind' when '"group"' then private.parse_sender(given.value) else '' end
                        as sender,
                    case
                        when jsonb_typeof(given.value -> 'sent_at') <> 'string' then null
                        when v_are_castable or given.value ->> 'sent_at' ~ ('^' || c_castable || '$') then
                            (given.value ->> 'sent_at')::timestamptz
                        else private.parse_timestamp(given.value ->> 'sent_at')
                    end as sent_at,
                    given.value as message
                from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
                cross join lateral jsonb_array_elements(
                    case jsonb_typeof(parent.value -> 'messages') when 'array' then parent.value -> 'messages' end
                ) with ordinality as given (value, position)
                -- OFFSET 0 keeps this query apart from the outer one, which would parse each time twice.
                offset 0
            ) as parsed order by parsed.parent, parsed.index
        ) as line
    );
end
$$;
comment on function private.parse_messages(jsonb) is
'The messages of a request in its order, each with its first error.';

create function private.validate_conversations(
    p_conversations private.ingest_conversation[], p_messages private.ingest_message[]
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
                given.position,
                given.external_id,
                given.identifier,
                given.name,
                given.identifiers,
                coalesce(summary.newest_at, '-infinity') as newest_at,
                given.is_group,
                coalesce(summary.has_future, false) as has_future,
                given.has_updates,
                coalesce(summary.messages, 0)::integer as message_count,
                summary.last_message,
                coalesce(given.error, summary.error) as error
            from unnest(p_conversations) as given
            left join (
                select
                    message.parent,
                    max(message.sent_at) filter (where message.stated_at is null) as newest_at,
                    bool_or(message.stated_at is not null) as has_future,
                    count(*) as messages,
                    (array_agg(
                        message.message order by message.sent_at desc, message.sequence desc, message.index desc
                    ))[1] as last_message,
                    (array_agg('messages[' || message.index || ']' || message.error order by message.index)
                        filter (where message.error is not null))[1] as error
                from unnest(p_messages) as message
                group by message.parent
            ) as summary on given.position = summary.parent
            order by given.position
        ) as conversation
    );
end
$$;
comment on function private.validate_conversations(private.ingest_conversation[], private.ingest_message[]) is
'The same conversations with what their messages add: the newest sent_at, has_future and the first error.';
