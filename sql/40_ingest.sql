-- POST /functions/v1/messaging-ingest: what an outside service sends becomes conversations and messages.

create function private.decode_text(p_body bytea) returns text
language sql
immutable
set search_path = ''
as $$
    select convert_from(
        case when substring(p_body from 1 for 3) = '\xefbbbf' then substring(p_body from 4) else p_body end, 'UTF8'
    )
$$;
comment on function private.decode_text(bytea) is 'UTF-8 without its byte order mark; a data exception if it is none.';
revoke all on function private.decode_text(bytea) from public, anon, authenticated, service_role;
grant execute on function private.decode_text(bytea) to authenticated, service_role;

create function private.parse_json(p_body bytea) returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
    v_text text := private.decode_text(p_body);
begin
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

create function private.has_huge_number(p_value jsonb) returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
    -- Seven bytes such as 1e99999 would be written out as a hundred thousand digits whenever they are read.
    return exists (
        select from jsonb_path_query(p_value, '$.** ? (@.type() == "number")') as found (number)
        where abs(found.number::numeric) >= 1e1000 or scale(found.number::numeric) > 1000
    );
exception
    when statement_too_complex then
        -- Too deep to be looked through.
        return true;
end
$$;
comment on function private.has_huge_number(jsonb) is
'Whether there is a number of more than 1,000 digits before or after the point anywhere in it, written out.';
revoke all on function private.has_huge_number(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.has_huge_number(jsonb) to authenticated, service_role;

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

create function private.read_conversations(p_conversations jsonb) returns private.ingest_conversation[]
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
comment on function private.read_conversations(jsonb) is
'The conversations of a request in its order, each judged without its messages.';
revoke all on function private.read_conversations(jsonb) from public, anon, authenticated, service_role;
grant execute on function private.read_conversations(jsonb) to service_role;

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
revoke all on function private.find_conversations(uuid, text, private.ingest_conversation[])
from public, anon, authenticated, service_role;
grant execute on function private.find_conversations(uuid, text, private.ingest_conversation[]) to service_role;

create function private.read_messages(p_conversations jsonb, p_ids uuid[]) returns private.ingest_message[]
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
comment on function private.read_messages(jsonb, uuid[]) is
'The messages of a request in its order, not judged yet, with what is stored of them in their conversations, whose ids
are given by position.';
revoke all on function private.read_messages(jsonb, uuid[]) from public, anon, authenticated, service_role;
grant execute on function private.read_messages(jsonb, uuid[]) to service_role;

create function private.look_up_messages(p_messages private.ingest_message[], p_ids uuid[])
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
comment on function private.look_up_messages(private.ingest_message[], uuid[]) is
'The same messages, with what is found of them in their conversations, whose ids are given by position.';
revoke all on function private.look_up_messages(private.ingest_message[], uuid[])
from public, anon, authenticated, service_role;
grant execute on function private.look_up_messages(private.ingest_message[], uuid[]) to service_role;

create function private.judge_new_messages(p_messages private.ingest_message[], p_are_times_castable boolean)
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
comment on function private.judge_new_messages(private.ingest_message[], boolean) is
'The same messages with sent_at and what is wrong with them. Where every sent_at can be cast as it is, that is far
cheaper.';
revoke all on function private.judge_new_messages(private.ingest_message[], boolean)
from public, anon, authenticated, service_role;
grant execute on function private.judge_new_messages(private.ingest_message[], boolean) to service_role;

create function private.judge_messages(p_messages private.ingest_message[]) returns private.ingest_message[]
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
    return private.judge_new_messages(p_messages, coalesce(v_times ~ c_castable, false));
exception
    when data_exception then
        -- Such as the thirtieth of February.
        return private.judge_new_messages(p_messages, false);
end
$$;
comment on function private.judge_messages(private.ingest_message[]) is 'The same messages, each judged.';
revoke all on function private.judge_messages(private.ingest_message[])
from public, anon, authenticated, service_role;
grant execute on function private.judge_messages(private.ingest_message[]) to service_role;

create function private.keep_messages(
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
comment on function private.keep_messages(private.ingest_message[], private.ingest_conversation[]) is
'The messages of the conversations that have no error.';
revoke all on function private.keep_messages(private.ingest_message[], private.ingest_conversation[])
from public, anon, authenticated, service_role;
grant execute on function private.keep_messages(private.ingest_message[], private.ingest_conversation[])
to service_role;

create function private.mark_twins(
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
comment on function private.mark_twins(private.ingest_message[], private.ingest_conversation[]) is
'The same messages; those whose id stands in the request twice count as known from the second on.';
revoke all on function private.mark_twins(private.ingest_message[], private.ingest_conversation[])
from public, anon, authenticated, service_role;
grant execute on function private.mark_twins(private.ingest_message[], private.ingest_conversation[]) to service_role;

create function private.judge_conversations(
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
comment on function private.judge_conversations(private.ingest_conversation[], private.ingest_message[]) is
'The same conversations with what their messages say: the newest sent_at, the first error.';
revoke all on function private.judge_conversations(private.ingest_conversation[], private.ingest_message[])
from public, anon, authenticated, service_role;
grant execute on function private.judge_conversations(private.ingest_conversation[], private.ingest_message[])
to service_role;

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
revoke all on function private.create_conversations(uuid, text, private.ingest_participant[])
from public, anon, authenticated, service_role;
grant execute on function private.create_conversations(uuid, text, private.ingest_participant[]) to service_role;

create function private.complete_ids(
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
comment on function private.complete_ids(
    uuid, text, private.ingest_conversation[], private.ingest_participant[], uuid[]
) is
'The ids of the conversations of a request, by position, when those that nobody had yet are made; and these by external
id. 40001 when one is deleted meanwhile.';
revoke all on function private.complete_ids(
    uuid, text, private.ingest_conversation[], private.ingest_participant[], uuid[]
) from public, anon, authenticated, service_role;
grant execute on function private.complete_ids(
    uuid, text, private.ingest_conversation[], private.ingest_participant[], uuid[]
) to service_role;

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
revoke all on function private.update_participants(uuid[], private.ingest_participant[])
from public, anon, authenticated, service_role;
grant execute on function private.update_participants(uuid[], private.ingest_participant[]) to service_role;

create function private.describe_results(
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
private.describe_results(private.ingest_conversation[], uuid[], jsonb, private.ingest_message[]) is
'The answer to a request: one result per conversation, in the order of the request.';
revoke all on function
private.describe_results(private.ingest_conversation[], uuid[], jsonb, private.ingest_message[])
from public, anon, authenticated, service_role;
grant execute on function
private.describe_results(private.ingest_conversation[], uuid[], jsonb, private.ingest_message[])
to service_role;

create function private.store_conversations(p_user_id uuid, p_platform text, p_conversations jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_conversations private.ingest_conversation[] := private.read_conversations(p_conversations);
    v_ids uuid[] := private.find_conversations(p_user_id, p_platform, v_conversations);
    v_messages private.ingest_message[] := private.read_messages(p_conversations, v_ids);
    v_is_replay boolean := not exists (
        select from unnest(v_messages) as line where not line.is_known or line.is_conflicting
    );
    v_participants private.ingest_participant[];
    v_created jsonb;
    v_locked uuid[];
begin
    -- What is stored with the same content was judged when it came, and there is nothing to do with it.
    if not v_is_replay then
        v_messages := private.judge_messages(v_messages);
    end if;
    v_conversations := private.judge_conversations(v_conversations, v_messages);
    v_messages := case
        when v_is_replay then '{}'
        else private.mark_twins(private.keep_messages(v_messages, v_conversations), v_conversations)
    end;
    v_participants := private.newest_participants(v_conversations);

    perform pg_advisory_xact_lock_shared(private.matching_lock(p_user_id));
    select made.ids, made.created into v_ids, v_created
    from private.complete_ids(p_user_id, p_platform, v_conversations, v_participants, v_ids) as made;

    -- Nobody else sees a conversation that was created just now; a pure replay changes none and takes no lock.
    v_locked := private.lock_conversations(v_ids, v_participants, array(
        select distinct v_ids[line.parent]
        from unnest(v_messages) as line
        inner join unnest(v_conversations) as parent on line.parent = parent.position
        where not line.is_known and not v_created ? parent.external_id
    ));
    if v_locked <> '{}' then
        perform private.update_participants(v_locked, v_participants);
        v_messages := private.look_up_messages(v_messages, v_ids);
    end if;

    if not v_is_replay then
        insert into public.conversation_messages (conversation_id, external_id, user_id, sent_at, message)
        select v_ids[line.parent], line.external_id, p_user_id, line.sent_at, line.message
        from unnest(v_messages) as line
        where not line.is_known;
    end if;
    return private.describe_results(v_conversations, v_ids, v_created, v_messages);
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
    v_size bigint;
begin
    if coalesce(v_secret, '') = '' then
        return private.refuse(401, 'Missing x-api-key header');
    end if;
    begin
        -- Strangers are refused anyway; what their bodies cost is kept small.
        v_request := case
            when private.is_live_key(v_secret) then private.parse_json($1)
            else private.decode_text($1)::jsonb
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
        perform private.log_refusal(v_owner.user_id, v_request ->> 'connection_id', 401);
        return private.refuse(401, 'Invalid API key');
    elsif not v_owner.is_active then
        perform private.log_refusal(v_owner.user_id, v_request ->> 'connection_id', 403);
        return private.refuse(403, 'Connection is inactive');
    end if;

    v_size := private.count_messages(v_request -> 'conversations');
    if v_size > v_limit then
        perform private.log_refusal(v_owner.user_id, v_request ->> 'connection_id', 413);
        return private.refuse(413, format('Too many messages: at most %s in one request', v_limit));
    end if;
    return private.log_ingest(
        v_owner.user_id, v_request ->> 'connection_id', v_owner.key_id, v_size,
        private.store_conversations(v_owner.user_id, v_request ->> 'platform', v_request -> 'conversations')
    );
end
$$;
comment on function public.messaging_ingest(bytea) is
'The ingest endpoint: the raw body as its one argument, x-api-key among request.headers; answers as the document says,
errors included, with response.status set. Only the two doors, the service and the Edge Function, may call it.';
revoke all on function public.messaging_ingest(bytea) from public, anon, authenticated, service_role;
grant execute on function public.messaging_ingest(bytea) to service_role;
