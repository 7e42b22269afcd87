-- Written from sql/ by `make migration`; change it there.

set lock_timeout = '5s';
set search_path = pg_catalog, pg_temp;

do $$
declare
    v_taken text;
begin
    select string_agg(taken.name, ', ' order by taken.name) into v_taken
    from (
        select 'the schema ' || nspname as name from pg_namespace where nspname in ('private')
        union all
        select 'public.' || typname from pg_type
        where typnamespace = 'public'::regnamespace and typname in (
            'ai_twins', 'attachments', 'audit_log', 'channel_members', 'channel_twins', 'channels',
            'conversation_identifiers', 'conversation_messages', 'conversation_reads',
            'conversation_updates', 'conversations', 'erasures', 'ingest_log', 'member_states',
            'message_edits', 'message_events', 'message_mentions', 'message_pins',
            'message_reactions', 'messages', 'messaging_connections', 'people',
            'person_identifiers', 'twin_deliveries', 'twin_webhooks', 'user_events',
            'user_profiles', 'workspace_invitations', 'workspace_members', 'workspaces'
        )
    ) as taken;
    if v_taken is not null then
        raise exception using
            errcode = 'duplicate_object',
            message = 'Threadline needs names that this database uses already, and has changed nothing: ' || v_taken
            || '. Rename those, or give Threadline a project of its own.';
    end if;
end
$$;

-- The schemas, and what an installation knows about itself.
-- `public` holds what clients reach: tables under row-level security and the functions of the Data API.
-- `private` holds the rest; the Data API must never list it among its exposed schemas.

create schema private;
comment on schema private is 'Helpers, secrets and settings of Threadline. The Data API does not expose it.';

create table private.created_objects (
    name text primary key
);
comment on table private.created_objects is
'Objects that projects share and that the first migration created here. `threadline remove` drops only these.';
alter table private.created_objects enable row level security;

insert into private.created_objects (name)
select 'extension ' || wanted.name
from unnest(array['btree_gin', 'pg_cron']) as wanted (name)
where not exists (select from pg_extension where extname = wanted.name)
union all
select 'bucket attachments'
where not exists (select from storage.buckets where id = 'attachments');

-- The newest file in supabase/migrations. `make migration` writes this value.
create function private.schema_version() returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return '20261122000000';
end
$$;
comment on function private.schema_version() is
'The newest migration of Threadline that this database has. Copies in other projects have other file names.';

-- Limits and retention that an operator changes with one UPDATE, and the trigger function that sets updated_at.
-- Each limit stands here once; the next request uses a changed value.

create table private.settings (
    is_only_row boolean primary key default true,
    ingest_max_messages integer not null default 5000,
    requests_per_minute integer not null default 60,
    data_api_requests_at_once integer not null default 10,
    twin_max_hops integer not null default 3,
    twin_max_attempts integer not null default 8,
    twin_retry_seconds integer not null default 5,
    twin_skip_seconds integer not null default 600,
    summaries_per_user_per_day integer not null default 50,
    summaries_per_project_per_day integer not null default 1000,
    summary_max_bytes integer not null default 1000000,
    summary_recent_days integer not null default 30,
    channel_max_twins integer not null default 100,
    user_max_twins integer not null default 100,
    user_max_twin_channels integer not null default 1000,
    user_max_deliveries integer not null default 5,
    message_max_edits integer not null default 500,
    reactions_per_user_per_message integer not null default 50,
    unsent_file_hours integer not null default 24,
    workspace_media_megabytes integer not null default 10000,
    broadcast_max_bytes integer not null default 200000,
    broadcast_max_messages integer not null default 10,
    ingest_log_days integer not null default 30,
    delivery_days integer not null default 7,
    summary_days integer not null default 1,
    twin_secret_days integer not null default 1,
    idempotency_hours integer not null default 24,
    default_country text,
    default_language text not null default 'en',
    user_event_days integer not null default 30,
    token_seconds integer not null default 3600,
    channel_event_days integer,
    inbox_change_days integer,
    constraint settings_has_one_row check (is_only_row),
    constraint settings_ingest_max_messages_positive check (ingest_max_messages > 0),
    constraint settings_requests_per_minute_positive check (requests_per_minute > 0),
    constraint settings_data_api_requests_at_once_positive check (data_api_requests_at_once > 0),
    constraint settings_twin_max_hops_not_negative check (twin_max_hops >= 0),
    constraint settings_twin_max_attempts_positive check (twin_max_attempts > 0),
    constraint settings_twin_retry_seconds_not_negative check (twin_retry_seconds >= 0),
    constraint settings_twin_skip_seconds_positive check (twin_skip_seconds > 0),
    constraint settings_summaries_per_user_per_day_not_negative check (summaries_per_user_per_day >= 0),
    constraint settings_summaries_per_project_per_day_not_negative check (summaries_per_project_per_day >= 0),
    constraint settings_summary_max_bytes_positive check (summary_max_bytes > 0),
    constraint settings_summary_recent_days_positive check (summary_recent_days > 0),
    constraint settings_channel_max_twins_not_negative check (channel_max_twins >= 0),
    constraint settings_user_max_twins_not_negative check (user_max_twins >= 0),
    constraint settings_user_max_twin_channels_not_negative check (user_max_twin_channels >= 0),
    constraint settings_user_max_deliveries_positive check (user_max_deliveries > 0),
    constraint settings_message_max_edits_not_negative check (message_max_edits >= 0),
    constraint settings_reactions_per_user_per_message_not_negative check (reactions_per_user_per_message >= 0),
    constraint settings_unsent_file_hours_positive check (unsent_file_hours > 0),
    constraint settings_workspace_media_megabytes_not_negative check (workspace_media_megabytes >= 0),
    constraint settings_broadcast_max_bytes_positive check (broadcast_max_bytes > 0),
    constraint settings_broadcast_max_messages_not_negative check (broadcast_max_messages >= 0),
    constraint settings_ingest_log_days_positive check (ingest_log_days > 0),
    constraint settings_delivery_days_positive check (delivery_days > 0),
    constraint settings_summary_days_positive check (summary_days > 0),
    constraint settings_twin_secret_days_positive check (twin_secret_days > 0),
    constraint settings_idempotency_hours_positive check (idempotency_hours > 0),
    constraint settings_default_country_form check (default_country ~ '^[A-Z]{2}$'),
    constraint settings_default_language_form check (default_language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$'),
    constraint settings_user_event_days_positive check (user_event_days > 0),
    constraint settings_token_seconds_positive check (token_seconds > 0),
    -- A week at least, because a deletion reads from the log which broadcasts Realtime still keeps.
    constraint settings_channel_event_days_week check (channel_event_days >= 7),
    constraint settings_inbox_change_days_week check (inbox_change_days >= 7)
);
comment on table private.settings is 'Limits and retention that an operator may change with an UPDATE. Always one row.';
comment on column private.settings.ingest_max_messages is
'Messages and updates in one ingest request; a conversation without any counts as one. Above it: 413.';
comment on column private.settings.requests_per_minute is 'Requests of one user to /api/v2 in a minute. Above it: 429.';
comment on column private.settings.data_api_requests_at_once is
'Requests of one user that the Data API handles at once, if the application calls private.spend_data_api_request. Above
it: 429.';
comment on column private.settings.twin_max_hops is
'Hops that are forwarded to other twins. 0 forwards only what users write.';
comment on column private.settings.twin_max_attempts is 'Failed attempts after which a delivery is dead.';
comment on column private.settings.twin_retry_seconds is
'Seconds before the first retry of a delivery. Each further wait is four times as long, at most one hour.';
comment on column private.settings.twin_skip_seconds is
'A delivery that the webhook answers with an error is dead this many seconds after its first attempt, and its queue
continues. Six times as long if the webhook does not answer, or answers 408, 429, 502, 503 or 504.';
comment on column private.settings.summaries_per_user_per_day is
'Summaries of one user in a UTC day; summaries from the cache do not count. Above it: 429.';
comment on column private.settings.summaries_per_project_per_day is
'Summaries of all users together in a UTC day, counted in the same way. Above it: 429.';
comment on column private.settings.summary_max_bytes is
'Bytes of text in one summary request. Older messages beyond it are left out, and the answer says so.';
comment on column private.settings.summary_recent_days is
'A summary without messageCount covers the messages of this many days, and at least the newest 50.';
comment on column private.settings.channel_max_twins is
'Twins in one channel. Each of them makes every message in the channel slower. Above it: 409.';
comment on column private.settings.user_max_twins is 'Twins of one user. Above it: 409.';
comment on column private.settings.user_max_twin_channels is
'Channels of all twins of one user, counted once for each twin. Above it: 409.';
comment on column private.settings.user_max_deliveries is
'Deliveries to twins of one user that are under way at once; one for a user whose webhook answered slowly or not at all
in the last minute. A worker makes 20 at once.';
comment on column private.settings.message_max_edits is
'Edits of one message; all versions are kept and read together. Above it: 409.';
comment on column private.settings.reactions_per_user_per_message is
'Different reactions of one user to one message. Each page with the message contains all of them. Above it: 409.';
comment on column private.settings.unsent_file_hours is
'Hours after which an uploaded file that no message names is removed.';
comment on column private.settings.workspace_media_megabytes is
'Megabytes of the files of a workspace''s conversations. Above it, ingest offers no more uploads.';
comment on column private.settings.broadcast_max_bytes is
'Bytes of a broadcast as JSON. A larger one is sent as a pointer. The smallest Supabase plan accepts 256 kB.';
comment on column private.settings.broadcast_max_messages is
'New messages that an inbox broadcast contains. With more, it contains none and truncated is true.';
comment on column private.settings.ingest_log_days is
'Days that lines of the ingest log are kept, and keys of connections after they expire, because the log names them.';
comment on column private.settings.delivery_days is 'Days that finished deliveries are kept. Dead deliveries stay.';
comment on column private.settings.summary_days is 'Days that finished summaries stay in the cache.';
comment on column private.settings.twin_secret_days is 'Days that secrets of twins are kept after they expire.';
comment on column private.settings.default_country is
'The country of phone numbers that do not name theirs, as ISO 3166-1 alpha-2, such as FR. Null: no country.';
comment on column private.settings.default_language is
'The language, a tag of BCP 47, in which search finds the forms of a word if neither the channel nor its workspace has
one.';
comment on column private.settings.idempotency_hours is 'Hours that an Idempotency-Key and its answer are kept.';
comment on column private.settings.user_event_days is 'Days that events of users are kept.';
comment on column private.settings.token_seconds is
'How long an access token lives, as set in Supabase Auth. A channel stays sealed for so long after a member left.';
comment on column private.settings.channel_event_days is
'Days that events of channels are kept; each channel keeps its last event. A client that was away longer reads the
channel again. Null: for ever.';
comment on column private.settings.inbox_change_days is
'Days that the log of inboxes is kept. A client that was away longer reads the conversations again. Null: for ever.';
alter table private.settings enable row level security;

insert into private.settings default values;

-- Limits of the API document. Constraints use them too, so they are functions and not settings: a changed setting would
-- not check the rows that are stored already.
create function private.message_max_characters() returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 40000;
end
$$;
comment on function private.message_max_characters() is 'Characters in the content of a message.';

create function private.metadata_max_bytes() returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 16384;
end
$$;
comment on function private.metadata_max_bytes() is 'Bytes of the metadata of a message, as JSON.';

create function private.attachments_max_bytes() returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 65536;
end
$$;
comment on function private.attachments_max_bytes() is 'Bytes of the attachments of a message, as JSON.';

create function private.hidden_characters() returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Not U+200C and U+200D, which Persian, Indian scripts and emoji need.
    return '[\u0001-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]';
end
$$;
comment on function private.hidden_characters() is
'A regular expression for control characters and invisible ones, which could make a name look like another.';

create function private.visible_character() returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Excludes blanks that Unicode counts as letters or marks, such as the Hangul fillers.
    return '[^\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f'
        '\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]';
end
$$;
comment on function private.visible_character() is
'A regular expression for a character that a reader sees. A text without any looks empty.';

create function private.set_updated_at_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := now();
    return new;
end
$$;
comment on function private.set_updated_at_trigger() is
'Trigger: sets updated_at to the start of the transaction on every change of a row.';

-- JSON of callers, read safely: a body that Postgres cannot store, or that costs much more than its size.
-- Promise: a small body cannot turn into a gigabyte of text.

create function private.decode_text(p_body bytea) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return convert_from(
        case when substring(p_body from 1 for 3) = '\xefbbbf' then substring(p_body from 4) else p_body end, 'UTF8'
    );
end
$$;
comment on function private.decode_text(bytea) is
'Decodes UTF-8 and drops a byte order mark. Raises a data exception (class 22) on invalid input.';

create function private.parse_json(p_body bytea) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := private.decode_text(p_body);
begin
    return v_text::jsonb;
exception
    when untranslatable_character or invalid_text_representation then
        -- jsonb cannot store NUL or half a surrogate pair: each becomes U+FFFD, so the rest of the message survives.
        -- U+0001 and U+0002 protect escaped backslashes and whole pairs; JSON forbids these characters.
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
'Parses a request body. Replaces characters that jsonb cannot store, which can take seconds for megabytes: check the
caller first. Raises a data exception (class 22) or 54001 if the body is not UTF-8, not JSON or too deep.';

create function private.has_huge_number(p_value jsonb) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Postgres writes 1e99999, seven bytes, as a hundred thousand digits on every read.
    return exists (
        -- As one array, because Postgres copies the rest of a set of results for each row.
        select from jsonb_array_elements(
            jsonb_path_query_array(p_value, '$.** ? (@.type() == "number")')
        ) as found (number)
        where abs(found.number::numeric) >= 1e1000 or scale(found.number::numeric) > 1000
    );
exception
    when statement_too_complex then
        -- The value is too deep to check.
        return true;
end
$$;
comment on function private.has_huge_number(jsonb) is
'Whether the value contains a number with more than 1000 digits before or after the point, or is too deep to check.';

create function private.scalar_text(p_body jsonb, p_field text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The text of 1,500 numbers such as 1e131071 has 200 MB.
    return case jsonb_typeof(p_body -> p_field)
        when 'array' then '[]'
        when 'object' then '{}'
        else p_body ->> p_field
    end;
end
$$;
comment on function private.scalar_text(jsonb, text) is
'The text of a field; of an array [] and of an object {}, because their whole text can be far longer than the request.';

create function private.fits(p_value jsonb, p_max integer) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks for a huge number before the size, because its text can be far longer than the value.
    return case
        when private.is_deep(p_value) or private.has_huge_number(p_value) then false
        else octet_length(p_value::text) <= p_max
    end;
end
$$;
comment on function private.fits(jsonb, integer) is
'Whether the JSON of a value has at most p_max bytes and 100 levels, and no huge number.';

create function private.is_deep(p_value jsonb) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Stops at this level, and at the first that it finds.
    return jsonb_path_exists(p_value, 'strict $.**{100} ? (@.type() == "object" || @.type() == "array")');
end
$$;
comment on function private.is_deep(jsonb) is
'Whether a value has more than 100 levels of arrays and objects. Clients read JSON of a thousand levels with an error.';

create function private.diagnose_json(p_value jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when private.is_deep(p_value) then ' must not have more than 100 levels'
        when private.has_huge_number(p_value) then ' must not have a number of more than 1000 digits'
    end;
end
$$;
comment on function private.diagnose_json(jsonb) is
'What is wrong with the own fields of an ingested message; null if they can be stored.';

-- Requests and answers: parsers of JSON fields, the acting user, errors for the caller, the envelope of an answer.
-- Every error for the caller has an HTTP status, a code and a text.
-- Short functions are PL/pgSQL: it keeps its plan and is cheaper to call than a SQL function with a SET clause
-- (decision 0007).

create function private.parse_timestamp(p_text text) returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_at timestamptz;
begin
    if p_text !~ ('^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,12})?)?'
        '([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?$')
    then
        return null;
    end if;
    begin
        -- A time without an offset is UTC; the time zone of the session must not change it.
        v_at := (
            p_text || case when p_text ~ '([Zz]|[0-9][+-][0-9]{2}(:?[0-9]{2})?)$' then '' else 'Z' end
        )::timestamptz;
    exception
        when data_exception then
            return null;
    end;
    -- An offset can move a time beyond the four-digit years of ISO 8601.
    return case when v_at >= '0001-01-01T00:00:00Z' and v_at < '9999-12-31T23:59:59.9999995Z' then v_at end;
end
$$;
comment on function private.parse_timestamp(text) is
'Parses an ISO 8601 date and time; without an offset it is UTC. Returns null for other text and never raises.';

create function private.fail(p_status integer, p_code text, p_message text, p_field text default '') returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception using errcode = 'PT' || p_status, message = p_message, detail = p_code, column = p_field;
end
$$;
comment on function private.fail(integer, text, text, text) is
'Raises an error for the caller. Takes the HTTP status, a code for programs, a text for people and the field. The
service and the Data API both answer with that status.';

create function private.parse_object(p_body bytea) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_request jsonb;
    v_has_numbers boolean;
begin
    -- Refuses these characters, which ingest replaces, because the Data API refuses them too.
    if octet_length(p_body) = 0 or p_body = '{}' then
        return '{}'::jsonb;
    end if;
    begin
        v_request := private.decode_text(p_body)::jsonb;
        -- This check is cheap; has_huge_number is not.
        v_has_numbers := jsonb_path_exists(v_request, '$.** ? (@.type() == "number")');
    exception
        when untranslatable_character then
            perform private.fail(
                400, 'invalid_json', 'The request contains the character U+0000, which cannot be stored. Leave it out.'
            );
        when data_exception or statement_too_complex or program_limit_exceeded then
            perform private.fail(400, 'invalid_json', 'The request body is not valid JSON. Send valid JSON in UTF-8.');
    end;
    if v_has_numbers and private.has_huge_number(v_request) then
        perform private.fail(
            400, 'invalid_json', 'A number in the request body has more than 1000 digits. Send it as a string.'
        );
    end if;
    if jsonb_typeof(v_request) <> 'object' then
        perform private.fail(400, 'invalid_json', 'The request body must be a JSON object.');
    end if;
    return v_request;
end
$$;
comment on function private.parse_object(bytea) is
'Parses a request body as a JSON object; an empty body is {}. PT400 for any other body.';

create function private.is_service() returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(auth.role() = 'service_role', false);
end
$$;
comment on function private.is_service() is
'Whether the caller uses the service key. False for users and for a session without a token.';

create function private.require_user() returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if (select auth.uid()) is null then
        perform private.fail(
            403, 'user_token_required', 'This call acts for the user of the token. Send the access token of a user.'
        );
    end if;
end
$$;
comment on function private.require_user() is
'Raises PT403 for service_role, which has all rights on the tables and is a member of no workspace.';

create function private.parse_text(p_body jsonb, p_field text, p_max integer, p_default text default null) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(jsonb_typeof(p_body -> p_field), 'null') = 'null' then
        if p_default is null then
            perform private.fail(400, 'missing_field', format('%s is required.', p_field), p_field);
        end if;
        return p_default;
    elsif jsonb_typeof(p_body -> p_field) <> 'string' then
        perform private.fail(400, 'invalid_field', format('%s must be a string.', p_field), p_field);
    elsif char_length(p_body ->> p_field) not between 1 and p_max then
        perform private.fail(
            400, 'invalid_field', format('%s must have 1 to %s characters.', p_field, p_max), p_field
        );
    end if;
    return p_body ->> p_field;
end
$$;
comment on function private.parse_text(jsonb, text, integer, text) is
'Parses a string field of 1 to p_max characters. Without a default it is required. PT400 with the field.';

create function private.parse_content(p_body jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_content text := private.parse_text(p_body, 'content', private.message_max_characters());
begin
    if v_content !~ private.visible_character() then
        perform private.fail(400, 'invalid_field', 'content must have a visible character.', 'content');
    end if;
    return v_content;
end
$$;
comment on function private.parse_content(jsonb) is
'Parses the content of a message: not blank, and not above the limit. PT400 with the field.';

create function private.is_uuid(p_text text) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_text ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$';
end
$$;
comment on function private.is_uuid(text) is
'Whether a text is a UUID in the form of RFC 9562. Postgres also reads other forms. Null for null.';

create function private.parse_uuid(p_body jsonb, p_field text, p_is_required boolean default true) returns uuid
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(jsonb_typeof(p_body -> p_field), 'null') = 'null' then
        if p_is_required then
            perform private.fail(400, 'missing_field', format('%s is required.', p_field), p_field);
        end if;
        return null;
    elsif jsonb_typeof(p_body -> p_field) <> 'string' or not private.is_uuid(p_body ->> p_field) then
        perform private.fail(400, 'invalid_field', format('%s must be a UUID.', p_field), p_field);
    end if;
    return (p_body ->> p_field)::uuid;
end
$$;
comment on function private.parse_uuid(jsonb, text, boolean) is 'Parses a UUID field. PT400 with the field.';

create function private.parse_uuids(p_body jsonb, p_field text, p_max integer) returns uuid[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array[]::uuid[];
    v_item jsonb;
begin
    if coalesce(jsonb_typeof(p_body -> p_field), 'null') = 'null' then
        return v_ids;
    elsif jsonb_typeof(p_body -> p_field) <> 'array' or jsonb_array_length(p_body -> p_field) > p_max then
        perform private.fail(
            400, 'invalid_field', format('%s must be an array of at most %s UUIDs.', p_field, p_max), p_field
        );
    end if;
    for v_item in select item.value from jsonb_array_elements(p_body -> p_field) as item (value) loop
        v_ids := v_ids || private.parse_uuid(jsonb_build_object(p_field, v_item), p_field);
    end loop;
    return v_ids;
end
$$;
comment on function private.parse_uuids(jsonb, text, integer) is
'Parses an array of at most p_max UUIDs; a missing field is an empty array. PT400 with the field.';

create function private.parse_integer(
    p_body jsonb, p_field text, p_min integer, p_max integer, p_default integer
) returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Query strings contain numbers as text.
    if coalesce(jsonb_typeof(p_body -> p_field), 'null') = 'null' then
        return p_default;
    elsif private.scalar_text(p_body, p_field) !~ '^[0-9]{1,9}$'
        or (p_body ->> p_field)::integer not between p_min and p_max
    then
        perform private.fail(
            400, 'invalid_field', format('%s must be a whole number from %s to %s.', p_field, p_min, p_max), p_field
        );
    end if;
    return (p_body ->> p_field)::integer;
end
$$;
comment on function private.parse_integer(jsonb, text, integer, integer, integer) is
'Parses a whole number from p_min to p_max; a missing field is p_default. PT400 with the field.';

create function private.parse_boolean(p_body jsonb, p_field text) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Query strings contain booleans as text.
    case coalesce(private.scalar_text(p_body, p_field), 'false')
        when 'true', '1' then return true;
        when 'false', '0' then return false;
        else perform private.fail(400, 'invalid_field', format('%s must be true or false.', p_field), p_field);
    end case;
    return null;
end
$$;
comment on function private.parse_boolean(jsonb, text) is
'Parses true or false; a missing field is false. PT400 with the field.';

create function private.require_actor(p_body jsonb) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := private.parse_uuid(p_body, 'user_id', false);
begin
    if private.is_service() then
        if v_user_id is null then
            perform private.fail(
                400, 'missing_field', 'user_id is missing. With the service key, name the user who acts.', 'user_id'
            );
        end if;
    elsif v_user_id <> auth.uid() then
        -- The API document trusts user_id; we trust the token.
        perform private.fail(
            403, 'user_id_mismatch',
            'user_id is not the user of the token. Leave it out or sign in as that user.', 'user_id'
        );
    end if;
    return nullif(set_config('threadline.acting_id', coalesce(v_user_id, auth.uid())::text, true), '')::uuid;
end
$$;
comment on function private.require_actor(jsonb) is
'Returns the acting user: the user of the token, or user_id with the service key. Stores it for acting_user_id. PT400
if service_role names no user; PT403 if a user names another user.';

create function private.acting_user_id() returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- private.require_actor sets it. Users could set it too, so it counts only with the service key.
    return coalesce(
        (select auth.uid()),
        case
            when private.is_service()
                then nullif(current_setting('threadline.acting_id', true), '')::uuid
        end
    );
end
$$;
comment on function private.acting_user_id() is
'The acting user: the user of the token, or the user that a call with the service key named; otherwise null.';

create function private.format_time(p_at timestamptz) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
end
$$;
comment on function private.format_time(timestamptz) is
'A time as answers write it, in UTC with milliseconds: 2026-03-19T15:10:22.000Z.';

create function private.request_id() returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := nullif(current_setting('request.headers', true), '')::json ->> 'x-request-id';
begin
    return case when v_id ~ '^[A-Za-z0-9._-]{1,50}$' then v_id end;
end
$$;
comment on function private.request_id() is
'The X-Request-Id of this request; null if it is missing or not 1 to 50 characters of A-Z, a-z, 0-9, ".", "_", "-".';

create function private.succeed(p_data jsonb, p_meta jsonb default null, p_status integer default 200) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    -- An assignment, because PERFORM would start an executor (decision 0007).
    v_success boolean := set_config('response.status', p_status::text, true) <> '';
begin
    if p_meta is null then
        return json_build_object('success', v_success, 'data', p_data);
    end if;
    return json_build_object('success', v_success, 'data', p_data, 'meta', p_meta);
end
$$;
comment on function private.succeed(jsonb, jsonb, integer) is
'Renders the envelope of an answer from data and meta, and sets the HTTP status.';

create function private.succeed_page(p_rows jsonb[], p_limit integer) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(
        to_jsonb(p_rows[1:p_limit]), jsonb_build_object('has_more', cardinality(p_rows) > p_limit)
    );
end
$$;
comment on function private.succeed_page(jsonb[], integer) is
'Renders a page from its rows and one more: meta.has_more says whether there was one.';

-- Ids of rows that many tenants write.
-- Promise: an id that a client reads tells its time and nothing about other tenants. Gaps in a sequence would tell how
-- much the others write; a house rule in tests/schema reports such a column.

create function private.generate_id() returns uuid
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_milliseconds bytea := int8send((extract(epoch from clock_timestamp()) * 1000)::bigint);
    v_id bytea := overlay(uuid_send(gen_random_uuid()) placing substring(v_milliseconds from 3) from 1 for 6);
begin
    -- Version 7 of RFC 9562, which Postgres has from 18 on: 48 bits of time, then random bits. Rows that are written
    -- together lie together in indexes. Bits 52 and 53 change the version from 4 to 7.
    return encode(set_bit(set_bit(v_id, 52, 1), 53, 1), 'hex')::uuid;
end
$$;
comment on function private.generate_id() is 'A new id that is greater than those of earlier milliseconds.';

-- Secrets: functions that generate, hash and sign. Keys of connections are stored only as hashes.
-- Nothing here needs pgcrypto, because some builds of Postgres lack it.

create function private.hash_secret(p_secret text) returns bytea
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return sha256(convert_to(p_secret, 'UTF8'));
end
$$;
comment on function private.hash_secret(text) is 'The SHA-256 hash under which a secret is stored.';

create function private.generate_secret() returns text
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Each UUID has 122 bits from the server's strong random source; SHA-256 reduces three of them to 256 bits.
    return 'threadline_' || translate(rtrim(encode(sha256(
        uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    ), 'base64'), '='), '+/', '-_');
end
$$;
comment on function private.generate_secret() is
'A new secret: 256 random bits after a prefix that secret scanners recognise.';

create function private.hmac_block(p_key bytea, p_mask integer) returns bytea
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select string_agg(set_byte('\x00', 0, p_mask # case
            when place < octet_length(p_key) then get_byte(p_key, place) else 0
        end), ''::bytea order by place)
        from generate_series(0, 63) as place
    );
end
$$;
comment on function private.hmac_block(bytea, integer) is
'Pads a key of at most 64 bytes and XORs each byte with the mask, as RFC 2104 defines for HMAC.';

-- Supabase Realtime reads broadcasts from realtime.messages. Promise: a broadcast that fails harms no writer.

create function private.report_lost_broadcast(p_topic text, p_sqlstate text, p_message text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(nullif(current_setting('threadline.strict_realtime', true), '')::boolean, false) then
        raise exception using errcode = p_sqlstate, message = p_message;
    elsif p_sqlstate <> '23514' then
        -- 23514 is a missing partition. Realtime creates partitions when clients connect, so there are no listeners.
        -- The service recognizes the warning by its code.
        raise warning using
            errcode = '01TL1',
            message = format('A broadcast to %s is lost: %s', p_topic, p_message),
            detail = p_sqlstate;
    end if;
end
$$;
comment on function private.report_lost_broadcast(text, text, text) is
'Turns a failed broadcast into a warning, so that the write stays. Raises an error if threadline.strict_realtime is set,
for tests.';

create function private.broadcast_id(p_channel_id uuid, p_seq bigint, p_listener_id uuid default null) returns uuid
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return md5(concat_ws('/', p_channel_id, p_seq, p_listener_id))::uuid;
end
$$;
comment on function private.broadcast_id(uuid, bigint, uuid) is
'The id of the broadcast of an event to its channel, to a twin, or to the turn of a sealed channel: then p_listener_id
is the channel. Redaction finds it by the primary key, because Realtime has no index on topics alone.';

-- Workspaces: a team owns its connections, conversations, people and channels. Each user has a personal workspace, so a
-- user who belongs to no team names no workspace.
-- Promise: a team workspace always has an owner, and a personal one has its user as its only member.

create table public.workspaces (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    home_country text,
    language text,
    personal_user_id uuid references auth.users (id) on delete cascade,
    is_personal boolean not null generated always as (personal_user_id is not null) stored,
    conversation_days integer,
    channel_days integer,
    created_by uuid default auth.uid() references auth.users (id) on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint workspaces_personal_user_id_unique unique (personal_user_id),
    constraint workspaces_personal_id check (id = personal_user_id),
    constraint workspaces_name_length check (char_length(name) between 1 and 200),
    constraint workspaces_name_printable check (name !~ private.hidden_characters()),
    constraint workspaces_home_country_form check (home_country ~ '^[A-Z]{2}$'),
    constraint workspaces_language_form check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$'),
    -- At most a hundred years: the clean-up subtracts the days from now, and a time has a first year.
    constraint workspaces_conversation_days_range check (conversation_days between 1 and 36500),
    constraint workspaces_channel_days_range check (channel_days between 1 and 36500)
);
comment on table public.workspaces is
'What one team owns: connections, conversations, people and channels. A trigger makes a personal one for each user.';
comment on column public.workspaces.home_country is
'Two letters of ISO 3166, for phone numbers without a country code.';
comment on column public.workspaces.language is
'A tag of BCP 47, such as de or pt-BR: search finds other forms of a word in this language. Null:
settings.default_language.';
comment on column public.workspaces.personal_user_id is
'The user of a personal workspace, which has the same id as the user; null for a team.';
comment on column public.workspaces.conversation_days is
'Days after which the clean-up deletes ingested messages, 1 to 36500; null keeps them.';
comment on column public.workspaces.channel_days is
'Days after which the clean-up deletes messages of channels, 1 to 36500; null keeps them.';
create index workspaces_created_by_idx on public.workspaces (created_by);
alter table public.workspaces enable row level security;

create table public.workspace_members (
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    user_id uuid not null references auth.users (id) on delete cascade,
    role text not null default 'member',
    created_at timestamptz not null default now(),
    primary key (workspace_id, user_id),
    constraint workspace_members_role_known check (role in ('owner', 'admin', 'member'))
);
comment on table public.workspace_members is
'The members of a workspace and their roles. All members work on its conversations and people; owners and admins manage
connections, keys and members.';
create index workspace_members_user_id_idx on public.workspace_members (user_id);
alter table public.workspace_members enable row level security;

-- Views named my_ have the rights of their owner, as those of channels (200_channels).
create view private.my_workspaces
with (security_barrier = true) as
select member.workspace_id as id
from public.workspace_members as member
where member.user_id = (select auth.uid());
comment on view private.my_workspaces is 'Workspaces of the caller.';

create view private.my_managed_workspaces
with (security_barrier = true) as
select member.workspace_id as id
from public.workspace_members as member
where member.user_id = (select auth.uid()) and member.role in ('owner', 'admin');
comment on view private.my_managed_workspaces is 'Workspaces that the caller manages, as owner or admin.';

create view private.my_owned_workspaces
with (security_barrier = true) as
select member.workspace_id as id
from public.workspace_members as member
where member.user_id = (select auth.uid()) and member.role = 'owner';
comment on view private.my_owned_workspaces is 'Workspaces that the caller owns.';

-- Definer, because Supabase Auth creates users under a role that may not write here.
create function private.create_personal_workspace_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.workspaces (id, name, personal_user_id, created_by)
    values (new.id, 'Personal', new.id, new.id)
    on conflict do nothing;
    insert into public.workspace_members (workspace_id, user_id, role) values (new.id, new.id, 'owner')
    on conflict do nothing;
    return null;
end
$$;
comment on function private.create_personal_workspace_trigger() is
'Trigger: makes the personal workspace of a new user, with the id of the user.';

-- Definer, because it must see all members to know whether the caller is an owner, and whether one is the last.
create function private.protect_workspace_owners_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks clients and service_role. Supabase Auth deletes users with their memberships, and has no token. Deleting
    -- a workspace deletes all members.
    if auth.role() is null
        or not exists (select from public.workspaces as workspace where workspace.id = old.workspace_id)
    then
        return coalesce(new, old);
    end if;
    -- If two owners leave at once, the second waits here and then sees that the first is gone.
    perform from public.workspaces as workspace where workspace.id = old.workspace_id for no key update;
    if (old.role = 'owner' or tg_op = 'UPDATE' and new.role = 'owner')
        and not private.is_service()
        and not (tg_op = 'DELETE' and old.user_id = (select auth.uid()))
        and not exists (
            select from public.workspace_members as owner
            where owner.workspace_id = old.workspace_id
                and owner.user_id = (select auth.uid()) and owner.role = 'owner'
        )
    then
        raise insufficient_privilege using
            message = 'Only an owner can make, change or remove an owner. Ask an owner of this workspace.',
            detail = 'owner_required';
    elsif old.role = 'owner' and (tg_op = 'DELETE' or new.role <> 'owner') and not exists (
        select from public.workspace_members as other
        where other.workspace_id = old.workspace_id and other.user_id <> old.user_id and other.role = 'owner'
    ) then
        perform private.fail(
            409, 'last_owner', 'A workspace needs an owner. Make another member owner first, or delete the workspace.'
        );
    end if;
    return coalesce(new, old);
end
$$;
comment on function private.protect_workspace_owners_trigger() is
'Trigger: rejects changes of owners by callers who do not own the workspace (42501), and the loss of the last owner
(PT409).';

create function private.set_workspace_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.workspace_id := new.user_id;
    return new;
end
$$;
comment on function private.set_workspace_trigger() is
'Trigger: puts a row that names no workspace into the personal workspace of its user, which has the user''s id.';

create function private.protect_retention_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if auth.role() is distinct from 'authenticated' then
        return new;
    end if;
    if not exists (select from private.my_owned_workspaces as mine where mine.id = new.id) then
        raise insufficient_privilege using
            message = 'Only an owner can change how long messages are kept. Ask an owner of this workspace.',
            detail = 'owner_required';
    end if;
    return new;
end
$$;
comment on function private.protect_retention_trigger() is
'Trigger: lets only owners change the retention of a workspace, because it deletes messages.';

-- Definer, because no client inserts members; the caller becomes the owner of a new workspace only.
create function private.create_workspace(p_name text, p_home_country text, p_language text)
returns public.workspaces
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace public.workspaces;
begin
    if (select auth.uid()) is null then
        raise insufficient_privilege using message = 'Sign in first: a workspace needs an owner.';
    end if;
    insert into public.workspaces (name, home_country, language, created_by)
    values (p_name, p_home_country, p_language, (select auth.uid()))
    returning * into v_workspace;
    insert into public.workspace_members (workspace_id, user_id, role)
    values (v_workspace.id, (select auth.uid()), 'owner');
    return v_workspace;
end
$$;
comment on function private.create_workspace(text, text, text) is
'Makes a workspace for a team; the caller becomes its owner.';

create function public.create_workspace(name text, home_country text default null, language text default null)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return to_json(private.create_workspace(
        create_workspace.name, create_workspace.home_country, create_workspace.language
    ));
end
$$;
comment on function public.create_workspace(text, text, text) is
'Makes a workspace for a team and returns it; the caller becomes its owner. home_country is two letters of ISO 3166,
language a tag of BCP 47.';

-- Users who signed up before this migration.
insert into public.workspaces (id, name, personal_user_id, created_by)
select
    existing.id,
    'Personal' as name,
    existing.id as personal_user_id,
    existing.id as created_by
from auth.users as existing
on conflict do nothing;
insert into public.workspace_members (workspace_id, user_id, role)
select
    existing.id as workspace_id,
    existing.id as user_id,
    'owner' as role
from auth.users as existing
on conflict do nothing;

-- The audit log of a workspace: who made, rotated or revoked keys, changed roles, exported or erased.
-- Promise: owners read it, no role edits it, and it holds ids and numbers but no names, content or secrets.

create table public.audit_log (
    id uuid primary key default private.generate_id(),
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    -- Not now(): the lines of one transaction keep their order.
    at timestamptz not null default clock_timestamp(),
    actor_id uuid,
    action text not null,
    subject_id uuid,
    details jsonb not null default '{}',
    request_id text,
    constraint audit_log_action_known check (
        action in (
            'channel.exported', 'channel_member.role_changed', 'connection.created', 'connection.deleted',
            'conversation.exported', 'invitation.accepted', 'invitation.created', 'invitation.revoked', 'key.created',
            'key.revoked', 'key.rotated', 'member.joined', 'member.left', 'member.role_changed', 'person.erased',
            'user.erased', 'workspace.retention_changed'
        )
    ),
    constraint audit_log_details_object check (jsonb_typeof(details) = 'object')
);
comment on table public.audit_log is
'Who did what with keys, roles, invitations, exports and erasures of a workspace. Only its owners read it.';
comment on column public.audit_log.actor_id is
'The user who acted, who may be deleted since; null for service_role and for Supabase Auth.';
comment on column public.audit_log.subject_id is
'The id of what the action changed: a connection, key, user, invitation, person, conversation or channel.';
create index audit_log_workspace_id_at_idx on public.audit_log (workspace_id, at desc);
alter table public.audit_log enable row level security;

-- Definer, because no client writes the audit log.
create function private.record_audit(p_workspace_id uuid, p_action text, p_subject_id uuid, p_details jsonb)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.audit_log (workspace_id, actor_id, action, subject_id, details, request_id)
    select workspace.id, private.acting_user_id(), p_action, p_subject_id, p_details, private.request_id()
    from public.workspaces as workspace
    where workspace.id = p_workspace_id;
end
$$;
comment on function private.record_audit(uuid, text, uuid, jsonb) is
'Writes a line of the audit log; nothing if the workspace is being deleted.';

-- Definer, because no client writes the audit log.
create function private.audit_connection_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(
        coalesce(new.workspace_id, old.workspace_id),
        case tg_op when 'INSERT' then 'connection.created' else 'connection.deleted' end,
        coalesce(new.id, old.id),
        jsonb_build_object('platform', coalesce(new.platform, old.platform))
    );
    return null;
end
$$;
comment on function private.audit_connection_trigger() is 'Trigger: records that a connection was made or deleted.';

-- Definer, because no client writes the audit log.
create function private.audit_member_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The only member of a personal workspace comes and goes with it.
    if coalesce(new.workspace_id, old.workspace_id) <> coalesce(new.user_id, old.user_id) then
        perform private.record_audit(
            coalesce(new.workspace_id, old.workspace_id),
            case tg_op
                when 'INSERT' then 'member.joined'
                when 'DELETE' then 'member.left'
                else 'member.role_changed'
            end,
            coalesce(new.user_id, old.user_id),
            jsonb_strip_nulls(jsonb_build_object('role', new.role, 'old_role', old.role))
        );
    end if;
    return null;
end
$$;
comment on function private.audit_member_trigger() is
'Trigger: records that a member of a workspace joined, left or changed role.';

-- Definer, because no client writes the audit log.
create function private.audit_retention_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(new.id, 'workspace.retention_changed', new.id, jsonb_build_object(
        'conversation_days', new.conversation_days, 'channel_days', new.channel_days
    ));
    return null;
end
$$;
comment on function private.audit_retention_trigger() is 'Trigger: records a new retention of a workspace.';

-- People: the entries of a workspace's address book. Ingest matches conversations to them by phone number
-- (125_person_matching).
-- Promise: only members of the workspace read or change them, and a text that is not a phone number never matches a
-- conversation.

create function private.phone_digits(p_phone text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The escapes are spaces, dashes and direction marks that phones put into copied numbers.
    return case
        when p_phone ~ '^[-+0-9 ().,/\u00a0\u200b\u200e\u200f\u2010-\u2015\u202a-\u202f\u2066-\u2069\ufeff]+$'
            then nullif(regexp_replace(p_phone, '[^0-9]', '', 'g'), '')
    end;
end
$$;
comment on function private.phone_digits(text) is
'The digits of a phone number as written; null for any other text, so that a username never counts as a number.';

create table public.people (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    workspace_id uuid not null default auth.uid() references public.workspaces (id) on delete cascade,
    full_name text not null,
    phone text,
    phone_digits text generated always as (private.phone_digits(phone)) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    merged_into_id uuid,
    constraint people_id_unique unique (workspace_id, id),
    constraint people_merged_into_id_fkey foreign key (workspace_id, merged_into_id)
    references public.people (workspace_id, id) on delete set null (merged_into_id),
    constraint people_full_name_length check (char_length(full_name) between 1 and 500),
    constraint people_phone_length check (char_length(phone) <= 100)
);
comment on table public.people is
'A person in the address book of a workspace. Ingest matches conversations to people by their identifiers.';
comment on column public.people.workspace_id is 'Without a value, the personal workspace of user_id.';
comment on column public.people.user_id is
'The member who added the person, or the owner to whom that member''s people passed.';
comment on column public.people.phone is
'The phone number as the user wrote it, or several of them. More stand in person_identifiers.';
comment on column public.people.merged_into_id is
'The person that this entry is the same person as (merge_people); conversations match that one.';
comment on column public.people.phone_digits is 'The digits of phone; null if phone is not a phone number.';
create index people_user_id_idx on public.people (user_id);
create index people_merged_into_id_idx on public.people (workspace_id, merged_into_id)
where merged_into_id is not null;
alter table public.people enable row level security;

-- Generated by `make phones`; change tests/support/phones.py instead.
-- The numbering plans of all countries, from the package phonenumbers 9.0.43 (Apache License 2.0, a port of Google's
-- libphonenumber, Apache License 2.0): only what reading a number needs.

create table private.phone_regions (
    region text not null,
    country_code text not null,
    is_main boolean not null,
    international_prefix text,
    trunk_prefix text,
    trunk_pattern text,
    trunk_replacement text,
    national_pattern text not null,
    national_lengths integer[] not null,
    primary key (country_code, region)
);
comment on table private.phone_regions is
'How each country writes its phone numbers. Regular expressions match from the start of the digits.';
comment on column private.phone_regions.region is 'ISO 3166-1 alpha-2; 001 for codes that are not of a country.';
comment on column private.phone_regions.is_main is 'True for one region of each country code.';
comment on column private.phone_regions.international_prefix is 'Dialled before a country code, as an expression.';
comment on column private.phone_regions.trunk_prefix is 'Dialled before a national number.';
comment on column private.phone_regions.trunk_pattern is 'What is dialled before a national number, as an expression.';
comment on column private.phone_regions.trunk_replacement is 'What replaces it if its last group matched.';
comment on column private.phone_regions.national_pattern is 'All national numbers match it whole, and some others.';
create unique index phone_regions_main_idx on private.phone_regions (country_code) where is_main;
create index phone_regions_region_idx on private.phone_regions (region);
alter table private.phone_regions enable row level security;

-- The line breaks are no part of the JSON.
insert into private.phone_regions (
    region, country_code, is_main, international_prefix, trunk_prefix, trunk_pattern, trunk_replacement,
    national_pattern, national_lengths
)
select
    given.region,
    given.country_code,
    given.is_main,
    given.international_prefix,
    given.trunk_prefix,
    given.trunk_pattern,
    given.trunk_replacement,
    given.national_pattern,
    given.national_lengths
from jsonb_to_recordset(replace($json$
[{"region":"AG","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"([
457]\\d{6})$|1","trunk_replacement":"268\\1","national_pattern":"(?:268|[58]\\d\\d|900)\\d{7}","national_lengths":[10]
},{"region":"AI","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"(
[2457]\\d{6})$|1","trunk_replacement":"264\\1","national_pattern":"(?:264|[58]\\d\\d|900)\\d{7}","national_lengths":[1
0]},{"region":"AS","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":
"([267]\\d{6})$|1","trunk_replacement":"684\\1","national_pattern":"(?:[58]\\d\\d|684|900)\\d{7}","national_lengths":[
10]},{"region":"BB","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern"
:"([2-9]\\d{6})$|1","trunk_replacement":"246\\1","national_pattern":"(?:246|[58]\\d\\d|900)\\d{7}","national_lengths":
[10]},{"region":"BM","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern
":"([2-9]\\d{6})$|1","trunk_replacement":"441\\1","national_pattern":"(?:441|[58]\\d\\d|900)\\d{7}","national_lengths"
:[10]},{"region":"BS","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_patter
n":"([3-8]\\d{6})$|1","trunk_replacement":"242\\1","national_pattern":"(?:242|[58]\\d\\d|900)\\d{7}","national_lengths
":[10]},{"region":"CA","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_patte
rn":"1","national_pattern":"[2-9]\\d{9}|3\\d{6}","national_lengths":[7,10]},{"region":"DM","country_code":"1","is_main
":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"([2-7]\\d{6})$|1","trunk_replacement":"767\\1
","national_pattern":"(?:[58]\\d\\d|767|900)\\d{7}","national_lengths":[10]},{"region":"DO","country_code":"1","is_mai
n":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"1","national_pattern":"(?:[58]\\d\\d|900)\\d
{7}","national_lengths":[10]},{"region":"GD","country_code":"1","is_main":false,"international_prefix":"011","trunk_pr
efix":"1","trunk_pattern":"([2-9]\\d{6})$|1","trunk_replacement":"473\\1","national_pattern":"(?:473|[58]\\d\\d|900)\\
d{7}","national_lengths":[10]},{"region":"GU","country_code":"1","is_main":false,"international_prefix":"011","trunk_p
refix":"1","trunk_pattern":"([2-9]\\d{6})$|1","trunk_replacement":"671\\1","national_pattern":"(?:[58]\\d\\d|671|900)\
\d{7}","national_lengths":[10]},{"region":"JM","country_code":"1","is_main":false,"international_prefix":"011","trunk_
prefix":"1","trunk_pattern":"1","national_pattern":"(?:[58]\\d\\d|658|900)\\d{7}","national_lengths":[10]},{"region":"
KN","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"([2-7]\\d{6})$
|1","trunk_replacement":"869\\1","national_pattern":"(?:[58]\\d\\d|900)\\d{7}","national_lengths":[10]},{"region":"KY"
,"country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"([2-9]\\d{6})$|1"
,"trunk_replacement":"345\\1","national_pattern":"(?:345|[58]\\d\\d|900)\\d{7}","national_lengths":[10]},{"region":"LC
","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"([2-8]\\d{6})$|1
","trunk_replacement":"758\\1","national_pattern":"(?:[58]\\d\\d|758|900)\\d{7}","national_lengths":[10]},{"region":"M
P","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"([2-9]\\d{6})$|
1","trunk_replacement":"670\\1","national_pattern":"[58]\\d{9}|(?:67|90)0\\d{7}","national_lengths":[10]},{"region":"M
S","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"([34]\\d{6})$|1
","trunk_replacement":"664\\1","national_pattern":"(?:[58]\\d\\d|664|900)\\d{7}","national_lengths":[10]},{"region":"P
R","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk_pattern":"1","national_pa
ttern":"(?:[589]\\d\\d|787)\\d{7}","national_lengths":[10]},{"region":"SX","country_code":"1","is_main":false,"interna
tional_prefix":"011","trunk_prefix":"1","trunk_pattern":"(5\\d{6})$|1","trunk_replacement":"721\\1","national_pattern"
:"7215\\d{6}|(?:[58]\\d\\d|900)\\d{7}","national_lengths":[10]},{"region":"TC","country_code":"1","is_main":false,"int
ernational_prefix":"011","trunk_prefix":"1","trunk_pattern":"([2-479]\\d{6})$|1","trunk_replacement":"649\\1","nationa
l_pattern":"(?:[58]\\d\\d|649|900)\\d{7}","national_lengths":[10]},{"region":"TT","country_code":"1","is_main":false,"
international_prefix":"011","trunk_prefix":"1","trunk_pattern":"([2-46-8]\\d{6})$|1","trunk_replacement":"868\\1","nat
ional_pattern":"(?:[58]\\d\\d|900)\\d{7}","national_lengths":[10]},{"region":"US","country_code":"1","is_main":true,"i
nternational_prefix":"011","trunk_prefix":"1","trunk_pattern":"1","national_pattern":"[2-9]\\d{9}|3\\d{6}","national_l
engths":[10]},{"region":"VC","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trunk
_pattern":"([2-7]\\d{6})$|1","trunk_replacement":"784\\1","national_pattern":"(?:[58]\\d\\d|784|900)\\d{7}","national_
lengths":[10]},{"region":"VG","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","trun
k_pattern":"([2-578]\\d{6})$|1","trunk_replacement":"284\\1","national_pattern":"(?:284|[58]\\d\\d|900)\\d{7}","nation
al_lengths":[10]},{"region":"VI","country_code":"1","is_main":false,"international_prefix":"011","trunk_prefix":"1","t
runk_pattern":"([2-9]\\d{6})$|1","trunk_replacement":"340\\1","national_pattern":"[58]\\d{9}|(?:34|90)0\\d{7}","nation
al_lengths":[10]},{"region":"EG","country_code":"20","is_main":true,"international_prefix":"00","trunk_prefix":"0","tr
unk_pattern":"0","national_pattern":"[189]\\d{8,9}|[24-6]\\d{8}|[135]\\d{7}","national_lengths":[8,9,10]},{"region":"S
S","country_code":"211","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pa
ttern":"[19]\\d{8}","national_lengths":[9]},{"region":"EH","country_code":"212","is_main":false,"international_prefix"
:"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[5-8]\\d{8}","national_lengths":[9]},{"region":"MA","
country_code":"212","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_patter
n":"[5-8]\\d{8}","national_lengths":[9]},{"region":"DZ","country_code":"213","is_main":true,"international_prefix":"00
","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:[1-4]|[5-79]\\d|80)\\d{7}","national_lengths":[8,9]},{
"region":"TN","country_code":"216","is_main":true,"international_prefix":"00","national_pattern":"[2-57-9]\\d{7}","nat
ional_lengths":[8]},{"region":"LY","country_code":"218","is_main":true,"international_prefix":"00","trunk_prefix":"0",
"trunk_pattern":"0","national_pattern":"[2-9]\\d{8}","national_lengths":[9]},{"region":"GM","country_code":"220","is_m
ain":true,"international_prefix":"00","national_pattern":"[48]\\d{8}|[2-9]\\d{6}","national_lengths":[7,9]},{"region":
"SN","country_code":"221","is_main":true,"international_prefix":"00","national_pattern":"(?:[378]\\d|93)\\d{7}","natio
nal_lengths":[9]},{"region":"MR","country_code":"222","is_main":true,"international_prefix":"00","national_pattern":"(
?:[2-4]\\d\\d|800)\\d{5}","national_lengths":[8]},{"region":"ML","country_code":"223","is_main":true,"international_pr
efix":"00","national_pattern":"[24-9]\\d{7}","national_lengths":[8]},{"region":"GN","country_code":"224","is_main":tru
e,"international_prefix":"00","national_pattern":"722\\d{6}|(?:3|6\\d)\\d{7}","national_lengths":[8,9]},{"region":"CI"
,"country_code":"225","is_main":true,"international_prefix":"00","national_pattern":"[02]\\d{9}","national_lengths":[1
0]},{"region":"BF","country_code":"226","is_main":true,"international_prefix":"00","national_pattern":"[024-7]\\d{7}",
"national_lengths":[8]},{"region":"NE","country_code":"227","is_main":true,"international_prefix":"00","national_patte
rn":"[027-9]\\d{7}","national_lengths":[8]},{"region":"TG","country_code":"228","is_main":true,"international_prefix":
"00","national_pattern":"[279]\\d{7}","national_lengths":[8]},{"region":"BJ","country_code":"229","is_main":true,"inte
rnational_prefix":"00","national_pattern":"01\\d{8}","national_lengths":[10]},{"region":"MU","country_code":"230","is_
main":true,"international_prefix":"0(?:0|[24-7]0|3[03])","national_pattern":"(?:[57]|8\\d\\d)\\d{7}|[2-468]\\d{6}","na
tional_lengths":[7,8,10]},{"region":"LR","country_code":"231","is_main":true,"international_prefix":"00","trunk_prefix
":"0","trunk_pattern":"0","national_pattern":"(?:[2457]\\d|33|88)\\d{7}|(?:2\\d|[4-6])\\d{6}","national_lengths":[7,8,
9]},{"region":"SL","country_code":"232","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":
"0","national_pattern":"(?:[237-9]\\d|66)\\d{6}","national_lengths":[8]},{"region":"GH","country_code":"233","is_main"
:true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[235]\\d{8}|800\\d{5,6}",
"national_lengths":[8,9]},{"region":"NG","country_code":"234","is_main":true,"international_prefix":"009","trunk_prefi
x":"0","trunk_pattern":"0","national_pattern":"(?:20|9\\d)\\d{8}|[78]\\d{9,13}","national_lengths":[10,11,12,13,14]},{
"region":"TD","country_code":"235","is_main":true,"international_prefix":"00|16","national_pattern":"(?:22|[3689]\\d|7
7)\\d{6}","national_lengths":[8]},{"region":"CF","country_code":"236","is_main":true,"international_prefix":"00","nati
onal_pattern":"8776\\d{4}|(?:[27]\\d|61)\\d{6}","national_lengths":[8]},{"region":"CM","country_code":"237","is_main":
true,"international_prefix":"00","national_pattern":"[26]\\d{8}|88\\d{6,7}","national_lengths":[8,9]},{"region":"CV","
country_code":"238","is_main":true,"international_prefix":"0","national_pattern":"(?:[2-59]\\d\\d|800)\\d{4}","nationa
l_lengths":[7]},{"region":"ST","country_code":"239","is_main":true,"international_prefix":"00","national_pattern":"(?:
22|9\\d)\\d{5}","national_lengths":[7]},{"region":"GQ","country_code":"240","is_main":true,"international_prefix":"00"
,"national_pattern":"222\\d{6}|(?:3\\d|55|[89]0)\\d{7}","national_lengths":[9]},{"region":"GA","country_code":"241","i
s_main":true,"international_prefix":"00","trunk_pattern":"0(11\\d{6}|60\\d{6}|61\\d{6}|6[256]\\d{6}|7[467]\\d{6})","tr
unk_replacement":"\\1","national_pattern":"(?:[067]\\d|11)\\d{6}|[2-7]\\d{6}","national_lengths":[7,8]},{"region":"CG"
,"country_code":"242","is_main":true,"international_prefix":"00","national_pattern":"222\\d{6}|(?:0\\d|80)\\d{7}","nat
ional_lengths":[9]},{"region":"CD","country_code":"243","is_main":true,"international_prefix":"00","trunk_prefix":"0",
"trunk_pattern":"0","national_pattern":"(?:(?:[189]|5\\d)\\d|2)\\d{7}|[1-68]\\d{6}","national_lengths":[7,8,9,10]},{"r
egion":"AO","country_code":"244","is_main":true,"international_prefix":"00","national_pattern":"[29]\\d{8}","national_
lengths":[9]},{"region":"GW","country_code":"245","is_main":true,"international_prefix":"00","national_pattern":"[49]\
\d{8}|4\\d{6}","national_lengths":[7,9]},{"region":"IO","country_code":"246","is_main":true,"international_prefix":"00
","national_pattern":"3\\d{6}","national_lengths":[7]},{"region":"AC","country_code":"247","is_main":true,"internation
al_prefix":"00","national_pattern":"(?:[01589]\\d|[2-467])\\d{4}","national_lengths":[5,6]},{"region":"SC","country_co
de":"248","is_main":true,"international_prefix":"010|0[0-2]","national_pattern":"(?:[2489]\\d|64)\\d{5}","national_len
gths":[7]},{"region":"SD","country_code":"249","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pa
ttern":"0","national_pattern":"[19]\\d{8}","national_lengths":[9]},{"region":"RW","country_code":"250","is_main":true,
"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:06|[27]\\d\\d|[89]00)\\d{6}"
,"national_lengths":[8,9]},{"region":"ET","country_code":"251","is_main":true,"international_prefix":"00","trunk_prefi
x":"0","trunk_pattern":"0","national_pattern":"(?:11|[2-57-9]\\d)\\d{7}","national_lengths":[9]},{"region":"SO","count
ry_code":"252","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[
346-9]\\d{8}|[12679]\\d{7}|[1-5]\\d{6}|[1348]\\d{5}","national_lengths":[6,7,8,9]},{"region":"DJ","country_code":"253"
,"is_main":true,"international_prefix":"00","national_pattern":"(?:2\\d|77)\\d{6}","national_lengths":[8]},{"region":"
KE","country_code":"254","is_main":true,"international_prefix":"000","trunk_prefix":"0","trunk_pattern":"0","national_
pattern":"(?:[17]\\d\\d|900)\\d{6}|(?:2|80)0\\d{6,7}|[4-6]\\d{6,8}","national_lengths":[7,8,9,10]},{"region":"TZ","cou
ntry_code":"255","is_main":true,"international_prefix":"00[056]","trunk_prefix":"0","trunk_pattern":"0","national_patt
ern":"(?:[25-8]\\d|41|90)\\d{7}","national_lengths":[9]},{"region":"UG","country_code":"256","is_main":true,"internati
onal_prefix":"00[057]","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"800\\d{6}|(?:[29]0|[347]\\d)\\d{7}",
"national_lengths":[9]},{"region":"BI","country_code":"257","is_main":true,"international_prefix":"00","national_patte
rn":"(?:[267]\\d|31)\\d{6}","national_lengths":[8]},{"region":"MZ","country_code":"258","is_main":true,"international_
prefix":"00","national_pattern":"(?:2|8\\d)\\d{7}","national_lengths":[8,9]},{"region":"ZM","country_code":"260","is_m
ain":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"800\\d{6}|(?:21|[579]
\\d|63)\\d{7}","national_lengths":[9]},{"region":"MG","country_code":"261","is_main":true,"international_prefix":"00",
"trunk_prefix":"0","trunk_pattern":"([24-9]\\d{6})$|0","trunk_replacement":"20\\1","national_pattern":"[23]\\d{8}","na
tional_lengths":[9]},{"region":"RE","country_code":"262","is_main":true,"international_prefix":"00","trunk_prefix":"0"
,"trunk_pattern":"0","national_pattern":"709\\d{6}|(?:26|[689]\\d)\\d{7}","national_lengths":[9]},{"region":"YT","coun
try_code":"262","is_main":false,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":
"(?:639\\d|7093)\\d{5}|(?:26|80|9\\d)\\d{7}","national_lengths":[9]},{"region":"ZW","country_code":"263","is_main":tru
e,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"8\\d{6}(?:\\d{3})?|[235-8]\\d
{8}","national_lengths":[7,9,10]},{"region":"NA","country_code":"264","is_main":true,"international_prefix":"00","trun
k_prefix":"0","trunk_pattern":"0","national_pattern":"[68]\\d{7,8}","national_lengths":[8,9]},{"region":"MW","country_
code":"265","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:[
1289]\\d|31|77)\\d{7}|1\\d{6}","national_lengths":[7,9]},{"region":"LS","country_code":"266","is_main":true,"internati
onal_prefix":"00","national_pattern":"(?:[256]\\d\\d|800)\\d{5}","national_lengths":[8]},{"region":"BW","country_code"
:"267","is_main":true,"international_prefix":"00","national_pattern":"90\\d{5}|(?:0800|[2-6]|(?:7|800)\\d)\\d{6}","nat
ional_lengths":[7,8,10]},{"region":"SZ","country_code":"268","is_main":true,"international_prefix":"00","national_patt
ern":"0800\\d{4}|(?:[237]\\d|900)\\d{6}","national_lengths":[8,9]},{"region":"KM","country_code":"269","is_main":true,
"international_prefix":"00","national_pattern":"[3478]\\d{6}","national_lengths":[7]},{"region":"ZA","country_code":"2
7","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[1-79]\\d{8}|
8\\d{4,9}","national_lengths":[5,6,7,8,9,10]},{"region":"SH","country_code":"290","is_main":true,"international_prefix
":"00","national_pattern":"(?:[2569]\\d|8)\\d{3}","national_lengths":[4,5]},{"region":"TA","country_code":"290","is_ma
in":false,"international_prefix":"00","national_pattern":"8\\d{3}","national_lengths":[4]},{"region":"ER","country_cod
e":"291","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[178]\\
d{6}","national_lengths":[7]},{"region":"AW","country_code":"297","is_main":true,"international_prefix":"00","national
_pattern":"(?:[25-79]\\d\\d|800)\\d{4}","national_lengths":[7]},{"region":"FO","country_code":"298","is_main":true,"in
ternational_prefix":"00","trunk_pattern":"(10(?:01|[12]0|88))","national_pattern":"[2-9]\\d{5}","national_lengths":[6]
},{"region":"GL","country_code":"299","is_main":true,"international_prefix":"00","national_pattern":"(?:19|[2-689]\\d|
70)\\d{4}","national_lengths":[6]},{"region":"GR","country_code":"30","is_main":true,"international_prefix":"00","nati
onal_pattern":"5005000\\d{3}|8\\d{9,11}|(?:[269]\\d|70)\\d{8}","national_lengths":[10,11,12]},{"region":"NL","country_
code":"31","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:[1
24-7]\\d\\d|3(?:[02-9]\\d|1[0-8]))\\d{6}|8\\d{6,9}|9\\d{6,10}|1\\d{4,5}","national_lengths":[5,6,7,8,9,10,11]},{"regio
n":"BE","country_code":"32","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","nationa
l_pattern":"4\\d{8}|[1-9]\\d{7}","national_lengths":[8,9]},{"region":"FR","country_code":"33","is_main":true,"internat
ional_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[1-9]\\d{8}","national_lengths":[9]},{"r
egion":"ES","country_code":"34","is_main":true,"international_prefix":"00","national_pattern":"400\\d{6}|(?:51|[6-9]\\
d)\\d{7}","national_lengths":[9]},{"region":"GI","country_code":"350","is_main":true,"international_prefix":"00","nati
onal_pattern":"(?:[25]\\d|60)\\d{6}","national_lengths":[8]},{"region":"PT","country_code":"351","is_main":true,"inter
national_prefix":"00","national_pattern":"1693\\d{5}|(?:[26-9]\\d|30)\\d{7}","national_lengths":[9]},{"region":"LU","c
ountry_code":"352","is_main":true,"international_prefix":"00","trunk_pattern":"(15(?:0[06]|1[12]|[35]5|4[04]|6[26]|77|
88|99)\\d)","national_pattern":"35[013-9]\\d{4,8}|6\\d{8}|35\\d{2,4}|(?:[2457-9]\\d|3[0-46-9])\\d{2,9}","national_leng
ths":[4,5,6,7,8,9,10,11]},{"region":"IE","country_code":"353","is_main":true,"international_prefix":"00","trunk_prefix
":"0","trunk_pattern":"0","national_pattern":"(?:1\\d|[2569])\\d{6,8}|4\\d{6,9}|7\\d{8}|8\\d{8,9}","national_lengths":
[7,8,9,10]},{"region":"IS","country_code":"354","is_main":true,"international_prefix":"00|1(?:0(?:01|[12]0)|100)","nat
ional_pattern":"(?:38\\d|[4-9])\\d{6}","national_lengths":[7,9]},{"region":"AL","country_code":"355","is_main":true,"i
nternational_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:700\\d\\d|900)\\d{3}|8\\d{5,7}
|(?:[2-5]|6\\d)\\d{7}","national_lengths":[6,7,8,9]},{"region":"MT","country_code":"356","is_main":true,"international
_prefix":"00","national_pattern":"3550\\d{4}|(?:[2579]\\d\\d|800)\\d{5}","national_lengths":[8]},{"region":"CY","count
ry_code":"357","is_main":true,"international_prefix":"00","national_pattern":"(?:[279]\\d|[58]0)\\d{6}","national_leng
ths":[8]},{"region":"AX","country_code":"358","is_main":false,"international_prefix":"00|99(?:[01469]|5(?:[14]1|3[23]|
5[59]|77|88|9[09]))","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"2\\d{4,9}|35\\d{4,5}|(?:60\\d\\d|800)\
\d{4,6}|7\\d{5,11}|(?:[14]\\d|3[0-46-9]|50)\\d{4,8}","national_lengths":[5,6,7,8,9,10,11,12]},{"region":"FI","country_
code":"358","is_main":true,"international_prefix":"00|99(?:[01469]|5(?:[14]1|3[23]|5[59]|77|88|9[09]))","trunk_prefix"
:"0","trunk_pattern":"0","national_pattern":"[1-35689]\\d{4}|7\\d{10,11}|(?:[124-7]\\d|3[0-46-9])\\d{8}|[1-9]\\d{5,8}"
,"national_lengths":[5,6,7,8,9,10,11,12]},{"region":"BG","country_code":"359","is_main":true,"international_prefix":"0
0","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"00800\\d{7}|[2-7]\\d{6,7}|[89]\\d{6,8}|2\\d{5}","nationa
l_lengths":[6,7,8,9,12]},{"region":"HU","country_code":"36","is_main":true,"international_prefix":"00","trunk_prefix":
"06","trunk_pattern":"06","national_pattern":"[235-7]\\d{8}|[1-9]\\d{7}","national_lengths":[8,9]},{"region":"LT","cou
ntry_code":"370","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"[08]","national_patter
n":"(?:[3469]\\d|52|[78]0)\\d{6}","national_lengths":[8]},{"region":"LV","country_code":"371","is_main":true,"internat
ional_prefix":"00","national_pattern":"(?:[268]\\d|78|90)\\d{6}","national_lengths":[8]},{"region":"EE","country_code"
:"372","is_main":true,"international_prefix":"00","national_pattern":"8\\d{9}|[4578]\\d{7}|(?:[3-8]\\d|90)\\d{5}","nat
ional_lengths":[7,8,10]},{"region":"MD","country_code":"373","is_main":true,"international_prefix":"00","trunk_prefix"
:"0","trunk_pattern":"0","national_pattern":"(?:[235-7]\\d|[89]0)\\d{6}","national_lengths":[8]},{"region":"AM","count
ry_code":"374","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(
?:[1-489]\\d|55|60|77)\\d{6}","national_lengths":[8]},{"region":"BY","country_code":"375","is_main":true,"internationa
l_prefix":"810","trunk_prefix":"8","trunk_pattern":"0|80?","national_pattern":"(?:[12]\\d|33|44|902)\\d{7}|8(?:0[0-79]
\\d{5,7}|[1-7]\\d{9})|8(?:1[0-489]|[5-79]\\d)\\d{7}|8[1-79]\\d{6,7}|8[0-79]\\d{5}|8\\d{5}","national_lengths":[6,7,8,9
,10,11]},{"region":"AD","country_code":"376","is_main":true,"international_prefix":"00","national_pattern":"(?:1|6\\d)
\\d{7}|[135-9]\\d{5}","national_lengths":[6,8,9]},{"region":"MC","country_code":"377","is_main":true,"international_pr
efix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:[3489]|[67]\\d)\\d{7}","national_lengths":[8,
9]},{"region":"SM","country_code":"378","is_main":true,"international_prefix":"00","trunk_pattern":"([89]\\d{5})$","tr
unk_replacement":"0549\\1","national_pattern":"(?:0549|[5-7]\\d)\\d{6}","national_lengths":[8,10]},{"region":"UA","cou
ntry_code":"380","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":
"[89]\\d{9}|[3-9]\\d{8}","national_lengths":[9,10]},{"region":"RS","country_code":"381","is_main":true,"international_
prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"38[02-9]\\d{6,9}|6\\d{7,9}|90\\d{4,8}|38\\d{5,
6}|(?:7\\d\\d|800)\\d{3,9}|(?:[12]\\d|3[0-79])\\d{5,10}","national_lengths":[6,7,8,9,10,11,12]},{"region":"ME","countr
y_code":"382","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?
:20|[3-79]\\d)\\d{6}|80\\d{6,7}","national_lengths":[8,9]},{"region":"XK","country_code":"383","is_main":true,"interna
tional_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"2\\d{7,8}|3\\d{7,11}|(?:4\\d\\d|[89]00)
\\d{5}","national_lengths":[8,9,10,11,12]},{"region":"HR","country_code":"385","is_main":true,"international_prefix":"
00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[2-69]\\d{8}|80\\d{5,7}|[1-79]\\d{7}|6\\d{6}","national
_lengths":[7,8,9]},{"region":"SI","country_code":"386","is_main":true,"international_prefix":"00|10(?:22|66|88|99)","t
runk_prefix":"0","trunk_pattern":"0","national_pattern":"[1-7]\\d{7}|8\\d{4,7}|90\\d{4,6}","national_lengths":[5,6,7,8
]},{"region":"BA","country_code":"387","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"
0","national_pattern":"6\\d{8}|(?:[35689]\\d|49|70)\\d{6}","national_lengths":[8,9]},{"region":"MK","country_code":"38
9","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[2-578]\\d{7}
","national_lengths":[8]},{"region":"IT","country_code":"39","is_main":true,"international_prefix":"00","national_patt
ern":"0\\d{5,11}|1\\d{8,10}|3(?:[0-8]\\d{7,10}|9\\d{7,8})|(?:43|55|70)\\d{8}|8\\d{5}(?:\\d{2,4})?","national_lengths":
[6,7,8,9,10,11,12]},{"region":"VA","country_code":"39","is_main":false,"international_prefix":"00","national_pattern":
"0\\d{5,10}|3[0-8]\\d{7,10}|55\\d{8}|8\\d{5}(?:\\d{2,4})?|(?:1\\d|39)\\d{7,8}","national_lengths":[6,7,8,9,10,11,12]},
{"region":"RO","country_code":"40","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","
national_pattern":"(?:[2378]\\d|90)\\d{7}|[23]\\d{5}","national_lengths":[6,9]},{"region":"CH","country_code":"41","is
_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"8\\d{11}|[2-9]\\d{8
}","national_lengths":[9,12]},{"region":"CZ","country_code":"420","is_main":true,"international_prefix":"00","national
_pattern":"(?:[2-578]\\d|60)\\d{7}|9\\d{8,11}","national_lengths":[9,10,11,12]},{"region":"SK","country_code":"421","i
s_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[2-689]\\d{8}|[2-5
9]\\d{6}|[2-5]\\d{5}","national_lengths":[6,7,9]},{"region":"LI","country_code":"423","is_main":true,"international_pr
efix":"00","trunk_prefix":"0","trunk_pattern":"(1001)|0","national_pattern":"[68]\\d{8}|(?:[2378]\\d|90)\\d{5}","natio
nal_lengths":[7,9]},{"region":"AT","country_code":"43","is_main":true,"international_prefix":"00","trunk_prefix":"0","
trunk_pattern":"0","national_pattern":"1\\d{3,12}|2\\d{6,12}|43(?:(?:0\\d|5[02-9])\\d{3,9}|2\\d{4,5}|[3467]\\d{4}|8\\d
{4,6}|9\\d{4,7})|5\\d{4,12}|8\\d{7,12}|9\\d{8,12}|(?:[367]\\d|4[0-24-9])\\d{4,11}","national_lengths":[4,5,6,7,8,9,10,
11,12,13]},{"region":"GB","country_code":"44","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pat
tern":"0|180020","national_pattern":"[1-357-9]\\d{9}|[18]\\d{8}|8\\d{6}","national_lengths":[7,9,10]},{"region":"GG","
country_code":"44","is_main":false,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"([25-9]\\d{5})$|0|1
80020","trunk_replacement":"1481\\1","national_pattern":"(?:1481|[357-9]\\d{3})\\d{6}|8\\d{6}(?:\\d{2})?","national_le
ngths":[7,9,10]},{"region":"IM","country_code":"44","is_main":false,"international_prefix":"00","trunk_prefix":"0","tr
unk_pattern":"([25-8]\\d{5})$|0|180020","trunk_replacement":"1624\\1","national_pattern":"1624\\d{6}|(?:[3578]\\d|90)\
\d{8}","national_lengths":[10]},{"region":"JE","country_code":"44","is_main":false,"international_prefix":"00","trunk_
prefix":"0","trunk_pattern":"([0-24-8]\\d{5})$|0|180020","trunk_replacement":"1534\\1","national_pattern":"1534\\d{6}|
(?:[3578]\\d|90)\\d{8}","national_lengths":[10]},{"region":"DK","country_code":"45","is_main":true,"international_pref
ix":"00","national_pattern":"[2-9]\\d{7}","national_lengths":[8]},{"region":"SE","country_code":"46","is_main":true,"i
nternational_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:[26]\\d\\d|9)\\d{9}|[1-9]\\d{8
}|[1-689]\\d{7}|[1-4689]\\d{6}|2\\d{5}","national_lengths":[6,7,8,9,10,12]},{"region":"NO","country_code":"47","is_mai
n":true,"international_prefix":"00","national_pattern":"(?:0|[2-9]\\d{3})\\d{4}","national_lengths":[5,8]},{"region":"
SJ","country_code":"47","is_main":false,"international_prefix":"00","national_pattern":"0\\d{4}|(?:[489]\\d|79)\\d{6}"
,"national_lengths":[5,8]},{"region":"PL","country_code":"48","is_main":true,"international_prefix":"00","national_pat
tern":"(?:6|8\\d\\d)\\d{7}|[1-9]\\d{6}(?:\\d{2})?|[26]\\d{5}","national_lengths":[6,7,8,9,10]},{"region":"DE","country
_code":"49","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[257
9]\\d{5,14}|49(?:[34]0|69|8\\d)\\d\\d?|49(?:37|49|60|7[089]|9\\d)\\d{1,3}|49(?:2[024-9]|3[2-689]|7[1-7])\\d{1,8}|(?:1|
[368]\\d|4[0-8])\\d{3,13}|49(?:[015]\\d|2[13]|31|[46][1-8])\\d{1,9}","national_lengths":[4,5,6,7,8,9,10,11,12,13,14,15
]},{"region":"FK","country_code":"500","is_main":true,"international_prefix":"00","national_pattern":"[2-7]\\d{4}","na
tional_lengths":[5]},{"region":"BZ","country_code":"501","is_main":true,"international_prefix":"00","national_pattern"
:"(?:0800\\d|[2-8])\\d{6}","national_lengths":[7,11]},{"region":"GT","country_code":"502","is_main":true,"internationa
l_prefix":"00","national_pattern":"80\\d{6}|(?:1\\d{3}|[2-7])\\d{7}","national_lengths":[8,11]},{"region":"SV","countr
y_code":"503","is_main":true,"international_prefix":"00","national_pattern":"[25-7]\\d{7}|(?:80\\d|900)\\d{4}(?:\\d{4}
)?","national_lengths":[7,8,11]},{"region":"HN","country_code":"504","is_main":true,"international_prefix":"00","natio
nal_pattern":"8\\d{10}|[237-9]\\d{7}","national_lengths":[8,11]},{"region":"NI","country_code":"505","is_main":true,"i
nternational_prefix":"00","national_pattern":"(?:1800|[25-8]\\d{3})\\d{4}","national_lengths":[8]},{"region":"CR","cou
ntry_code":"506","is_main":true,"international_prefix":"00","trunk_pattern":"(19(?:0[0-2468]|1[09]|20|66|77|99))","nat
ional_pattern":"(?:8\\d|90)\\d{8}|(?:[24-8]\\d{3}|3005)\\d{4}","national_lengths":[8,10]},{"region":"PA","country_code
":"507","is_main":true,"international_prefix":"00","national_pattern":"(?:00800|8\\d{3})\\d{6}|[68]\\d{7}|[1-57-9]\\d{
6}","national_lengths":[7,8,10,11]},{"region":"PM","country_code":"508","is_main":true,"international_prefix":"00","tr
unk_prefix":"0","trunk_pattern":"0","national_pattern":"[78]\\d{8}|[2-9]\\d{5}","national_lengths":[6,9]},{"region":"H
T","country_code":"509","is_main":true,"international_prefix":"00","national_pattern":"[2-589]\\d{7}","national_length
s":[8]},{"region":"PE","country_code":"51","is_main":true,"international_prefix":"00|19(?:1[124]|77|90)00","trunk_pref
ix":"0","trunk_pattern":"0","national_pattern":"(?:[14-8]|9\\d)\\d{7}","national_lengths":[8,9]},{"region":"MX","count
ry_code":"52","is_main":true,"international_prefix":"0[09]","national_pattern":"[2-9]\\d{9}","national_lengths":[10]},
{"region":"CU","country_code":"53","is_main":true,"international_prefix":"119","trunk_prefix":"0","trunk_pattern":"0",
"national_pattern":"(?:[2-7]|8\\d\\d)\\d{7}|[2-47]\\d{6}|[34]\\d{5}","national_lengths":[6,7,8,10]},{"region":"AR","co
untry_code":"54","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0?(?:(11|2(?:2(?:02?|[
13]|2[13-79]|4[1-6]|5[2457]|6[124-8]|7[1-4]|8[13-6]|9[1267])|3(?:02?|1[467]|2[03-6]|3[13-8]|[49][2-6]|5[2-8]|[67])|4(?
:7[3-578]|9)|6(?:[0136]|2[24-6]|4[6-8]?|5[15-8])|80|9(?:0[1-3]|[19]|2\\d|3[1-6]|4[02568]?|5[2-4]|6[2-46]|72?|8[23]?))|
3(?:3(?:2[79]|6|8[2578])|4(?:0[0-24-9]|[12]|3[5-8]?|4[24-7]|5[4-68]?|6[02-9]|7[126]|8[2379]?|9[1-36-8])|5(?:1|2[1245]|
3[237]?|4[1-46-9]|6[2-4]|7[1-6]|8[2-5]?)|6[24]|7(?:[069]|1[1568]|2[15]|3[145]|4[13]|5[14-8]|7[2-57]|8[126])|8(?:[01]|2
[15-7]|3[2578]?|4[13-6]|5[4-8]?|6[1-357-9]|7[36-8]?|8[5-8]?|9[124])))15)?","trunk_replacement":"9\\1","national_patter
n":"(?:11|[89]\\d\\d)\\d{8}|[2368]\\d{9}","national_lengths":[10,11]},{"region":"BR","country_code":"55","is_main":tru
e,"international_prefix":"00(?:1[245]|2[1-35]|31|4[13]|[56]5|99)","trunk_prefix":"0","trunk_pattern":"(?:0|90)(?:(1[24
5]|2[1-35]|31|4[13]|[56]5|99)(\\d{10,11}))?","trunk_replacement":"\\2","national_pattern":"[1-467]\\d{9,10}|55[0-46-9]
\\d{8}|[34]\\d{7}|55\\d{7,8}|(?:5[0-46-9]|[89]\\d)\\d{7,9}","national_lengths":[8,9,10,11]},{"region":"CL","country_co
de":"56","is_main":true,"international_prefix":"(?:0|1(?:1[0-69]|2[02-5]|5[13-58]|69|7[0167]|8[018]))0","national_patt
ern":"12300\\d{6}|6\\d{9,10}|[2-9]\\d{8}","national_lengths":[9,10,11]},{"region":"CO","country_code":"57","is_main":t
rue,"international_prefix":"00(?:4(?:[14]4|56)|[579])","trunk_prefix":"0","trunk_pattern":"0([3579]|4(?:[14]4|56))?","
national_pattern":"(?:46|60\\d\\d)\\d{6}|(?:1\\d|[39])\\d{9}","national_lengths":[8,10,11]},{"region":"VE","country_co
de":"58","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[68]00\
\d{7}|(?:[24]\\d|[59]0)\\d{8}","national_lengths":[10]},{"region":"BL","country_code":"590","is_main":false,"internati
onal_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"7090\\d{5}|(?:[56]9|[89]\\d)\\d{7}","nati
onal_lengths":[9]},{"region":"GP","country_code":"590","is_main":true,"international_prefix":"00","trunk_prefix":"0","
trunk_pattern":"0","national_pattern":"7090\\d{5}|(?:[56]9|[89]\\d)\\d{7}","national_lengths":[9]},{"region":"MF","cou
ntry_code":"590","is_main":false,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern"
:"7090\\d{5}|(?:[56]9|[89]\\d)\\d{7}","national_lengths":[9]},{"region":"BO","country_code":"591","is_main":true,"inte
rnational_prefix":"00(?:1\\d)?","trunk_prefix":"0","trunk_pattern":"0(1\\d)?","national_pattern":"(?:[2-7]\\d\\d|8001)
\\d{5}","national_lengths":[8,9]},{"region":"GY","country_code":"592","is_main":true,"international_prefix":"001","nat
ional_pattern":"(?:[2-8]\\d{3}|9008)\\d{3}","national_lengths":[7]},{"region":"EC","country_code":"593","is_main":true
,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"1\\d{9,10}|(?:[2-7]|9\\d)\\d{7
}","national_lengths":[8,9,10,11]},{"region":"GF","country_code":"594","is_main":true,"international_prefix":"00","tru
nk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:694\\d|7093)\\d{5}|(?:59|[89]\\d)\\d{7}","national_lengths":
[9]},{"region":"PY","country_code":"595","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern"
:"0","national_pattern":"[36-8]\\d{5,8}|4\\d{6,8}|59\\d{6}|9\\d{5,10}|(?:2\\d|5[0-8])\\d{6,7}","national_lengths":[6,7
,8,9,10,11]},{"region":"MQ","country_code":"596","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_
pattern":"0","national_pattern":"7091\\d{5}|(?:[56]9|[89]\\d)\\d{7}","national_lengths":[9]},{"region":"SR","country_c
ode":"597","is_main":true,"international_prefix":"00","national_pattern":"(?:[2-5]|[6-9]\\d)\\d{5}","national_lengths"
:[6,7]},{"region":"UY","country_code":"598","is_main":true,"international_prefix":"0(?:0|1[3-9]\\d)","trunk_prefix":"0
","trunk_pattern":"0","national_pattern":"0004\\d{2,9}|[1249]\\d{7}|2\\d{3,4}|(?:[49]\\d|80)\\d{5}","national_lengths"
:[4,5,6,7,8,9,10,11,12,13]},{"region":"BQ","country_code":"599","is_main":false,"international_prefix":"00","national_
pattern":"(?:[34]1|7\\d)\\d{5}","national_lengths":[7]},{"region":"CW","country_code":"599","is_main":true,"internatio
nal_prefix":"00","national_pattern":"(?:[34]1|60|(?:7|9\\d)\\d)\\d{5}","national_lengths":[7,8]},{"region":"MY","count
ry_code":"60","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"1\
\d{8,9}|(?:3\\d|[4-9])\\d{7}","national_lengths":[8,9,10]},{"region":"AU","country_code":"61","is_main":true,"internat
ional_prefix":"001[14-689]|14(?:1[14]|34|4[17]|[56]6|7[47]|88)0011","trunk_prefix":"0","trunk_pattern":"(183[12])|0","
national_pattern":"1(?:[0-79]\\d{7}(?:\\d(?:\\d{2})?)?|8[0-24-9]\\d{7})|[2-478]\\d{8}|1\\d{4,7}","national_lengths":[5
,6,7,8,9,10,12]},{"region":"CC","country_code":"61","is_main":false,"international_prefix":"001[14-689]|14(?:1[14]|34|
4[17]|[56]6|7[47]|88)0011","trunk_prefix":"0","trunk_pattern":"([59]\\d{7})$|0","trunk_replacement":"8\\1","national_p
attern":"1(?:[0-79]\\d{8}(?:\\d{2})?|8[0-24-9]\\d{7})|[148]\\d{8}|1\\d{5,7}","national_lengths":[6,7,8,9,10,12]},{"reg
ion":"CX","country_code":"61","is_main":false,"international_prefix":"001[14-689]|14(?:1[14]|34|4[17]|[56]6|7[47]|88)0
011","trunk_prefix":"0","trunk_pattern":"([59]\\d{7})$|0","trunk_replacement":"8\\1","national_pattern":"1(?:[0-79]\\d
{8}(?:\\d{2})?|8[0-24-9]\\d{7})|[148]\\d{8}|1\\d{5,7}","national_lengths":[6,7,8,9,10,12]},{"region":"ID","country_cod
e":"62","is_main":true,"international_prefix":"00[89]","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"00[1
-9]\\d{9,14}|(?:[1-36]|8\\d{5})\\d{6}|00\\d{9}|[1-9]\\d{8,10}|[2-9]\\d{7}","national_lengths":[7,8,9,10,11,12,13,14,15
,16,17]},{"region":"PH","country_code":"63","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_patte
rn":"0","national_pattern":"(?:[2-7]|9\\d)\\d{8}|2\\d{5}|(?:1800|8)\\d{7,9}","national_lengths":[6,8,9,10,11,12,13]},{
"region":"NZ","country_code":"64","is_main":true,"international_prefix":"0(?:0|161)","trunk_prefix":"0","trunk_pattern
":"0","national_pattern":"[1289]\\d{9}|50\\d{5}(?:\\d{2,3})?|[27-9]\\d{7,8}|(?:[34]\\d|6[0-35-9])\\d{6}|8\\d{4,6}","na
tional_lengths":[5,6,7,8,9,10]},{"region":"SG","country_code":"65","is_main":true,"international_prefix":"0[0-3]\\d","
national_pattern":"(?:(?:1\\d|8)\\d\\d|7000)\\d{7}|[3689]\\d{7}","national_lengths":[8,10,11]},{"region":"TH","country
_code":"66","is_main":true,"international_prefix":"00[1-9]","trunk_prefix":"0","trunk_pattern":"0","national_pattern":
"(?:001800|[2-57]|[689]\\d)\\d{7}|1\\d{7,9}","national_lengths":[8,9,10,13]},{"region":"TL","country_code":"670","is_m
ain":true,"international_prefix":"00","national_pattern":"7\\d{7}|(?:[2-47]\\d|[89]0)\\d{5}","national_lengths":[7,8]}
,{"region":"NF","country_code":"672","is_main":true,"international_prefix":"00","trunk_pattern":"([0-258]\\d{4})$","tr
unk_replacement":"3\\1","national_pattern":"[13]\\d{5}","national_lengths":[6]},{"region":"BN","country_code":"673","i
s_main":true,"international_prefix":"00","national_pattern":"[2-578]\\d{6}","national_lengths":[7]},{"region":"NR","co
untry_code":"674","is_main":true,"international_prefix":"00","national_pattern":"(?:222|444|(?:55|8\\d)\\d|666|777|999
)\\d{4}","national_lengths":[7]},{"region":"PG","country_code":"675","is_main":true,"international_prefix":"00|140[1-3
]","national_pattern":"(?:180|[78]\\d{3})\\d{4}|(?:[2-589]\\d|64)\\d{5}","national_lengths":[7,8]},{"region":"TO","cou
ntry_code":"676","is_main":true,"international_prefix":"00","national_pattern":"(?:0800|(?:[5-8]\\d\\d|999)\\d)\\d{3}|
[2-8]\\d{4}","national_lengths":[5,7]},{"region":"SB","country_code":"677","is_main":true,"international_prefix":"0[01
]","national_pattern":"[6-9]\\d{6}|[1-6]\\d{4}","national_lengths":[5,7]},{"region":"VU","country_code":"678","is_main
":true,"international_prefix":"00","national_pattern":"[57-9]\\d{6}|(?:[238]\\d|48)\\d{3}","national_lengths":[5,7]},{
"region":"FJ","country_code":"679","is_main":true,"international_prefix":"0(?:0|52)","national_pattern":"45\\d{5}|(?:0
800\\d|[235-9])\\d{6}","national_lengths":[7,11]},{"region":"PW","country_code":"680","is_main":true,"international_pr
efix":"01[12]","national_pattern":"(?:[24-8]\\d\\d|345|900)\\d{4}","national_lengths":[7]},{"region":"WF","country_cod
e":"681","is_main":true,"international_prefix":"00","national_pattern":"(?:40|72|8\\d{4})\\d{4}|[89]\\d{5}","national_
lengths":[6,9]},{"region":"CK","country_code":"682","is_main":true,"international_prefix":"00","national_pattern":"[2-
578]\\d{4}","national_lengths":[5]},{"region":"NU","country_code":"683","is_main":true,"international_prefix":"00","na
tional_pattern":"(?:[4-7]|888\\d)\\d{3}","national_lengths":[4,7]},{"region":"WS","country_code":"685","is_main":true,
"international_prefix":"0","national_pattern":"(?:[2-6]|8\\d{5})\\d{4}|[78]\\d{6}|[68]\\d{5}","national_lengths":[5,6,
7,10]},{"region":"KI","country_code":"686","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_patter
n":"0","national_pattern":"(?:[37]\\d|6[0-79])\\d{6}|(?:[2-48]\\d|50)\\d{3}","national_lengths":[5,8]},{"region":"NC",
"country_code":"687","is_main":true,"international_prefix":"00","national_pattern":"(?:050|[2-57-9]\\d\\d)\\d{3}","nat
ional_lengths":[6]},{"region":"TV","country_code":"688","is_main":true,"international_prefix":"00","national_pattern":
"(?:2|7\\d\\d|90)\\d{4}","national_lengths":[5,6,7]},{"region":"PF","country_code":"689","is_main":true,"international
_prefix":"00","national_pattern":"4\\d{5}(?:\\d{2})?|8\\d{7,8}","national_lengths":[6,8,9]},{"region":"TK","country_co
de":"690","is_main":true,"international_prefix":"00","national_pattern":"[2-47]\\d{3,6}","national_lengths":[4,5,6,7]}
,{"region":"FM","country_code":"691","is_main":true,"international_prefix":"00","national_pattern":"(?:[39]\\d\\d|820)
\\d{4}","national_lengths":[7]},{"region":"MH","country_code":"692","is_main":true,"international_prefix":"011","trunk
_prefix":"1","trunk_pattern":"1","national_pattern":"329\\d{4}|(?:[256]\\d|45)\\d{5}","national_lengths":[7]},{"region
":"KZ","country_code":"7","is_main":false,"international_prefix":"810","trunk_prefix":"8","trunk_pattern":"8","nationa
l_pattern":"8\\d{13}|[78]\\d{9}","national_lengths":[10,14]},{"region":"RU","country_code":"7","is_main":true,"interna
tional_prefix":"810","trunk_prefix":"8","trunk_pattern":"8","national_pattern":"8\\d{13}|[347-9]\\d{9}","national_leng
ths":[10,14]},{"region":"001","country_code":"800","is_main":true,"national_pattern":"(?:00|[1-9]\\d)\\d{6}","national
_lengths":[8]},{"region":"001","country_code":"808","is_main":true,"national_pattern":"[1-9]\\d{7}","national_lengths"
:[8]},{"region":"JP","country_code":"81","is_main":true,"international_prefix":"010","trunk_prefix":"0","trunk_pattern
":"(000[2569]\\d{4,6})$|(?:(?:003768)0?)|0","trunk_replacement":"\\1","national_pattern":"00[1-9]\\d{6,14}|[25-9]\\d{9
}|(?:00|[1-9]\\d\\d)\\d{6}","national_lengths":[8,9,10,11,12,13,14,15,16,17]},{"region":"KR","country_code":"82","is_m
ain":true,"international_prefix":"00(?:[125689]|3(?:[46]5|91)|7(?:00|27|3|55|6[126]))","trunk_prefix":"0","trunk_patte
rn":"0(8(?:[1-46-8]|5\\d\\d))?","national_pattern":"00[1-9]\\d{8,11}|(?:[12]|5\\d{3})\\d{7}|[13-6]\\d{9}|(?:[1-6]\\d|8
0)\\d{7}|[3-6]\\d{4,5}|(?:00|7)0\\d{8}","national_lengths":[5,6,8,9,10,11,12,13,14]},{"region":"VN","country_code":"84
","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[12]\\d{9}|[13
5-9]\\d{8}|[16]\\d{6,7}|7\\d{6}","national_lengths":[7,8,9,10]},{"region":"KP","country_code":"850","is_main":true,"in
ternational_prefix":"00|99","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"85\\d{6}|(?:19\\d|[2-7])\\d{7}"
,"national_lengths":[8,10]},{"region":"HK","country_code":"852","is_main":true,"international_prefix":"00(?:30|5[09]|[
126-9]?)","national_pattern":"8[0-46-9]\\d{6,7}|9\\d{4,7}|(?:[2-7]|9\\d{3})\\d{7}","national_lengths":[5,6,7,8,9,11]},
{"region":"MO","country_code":"853","is_main":true,"international_prefix":"00","national_pattern":"0800\\d{3}|(?:28|[6
8]\\d)\\d{6}","national_lengths":[7,8]},{"region":"KH","country_code":"855","is_main":true,"international_prefix":"00[
14-9]","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"1\\d{9}|[1-9]\\d{7,8}","national_lengths":[8,9,10]},
{"region":"LA","country_code":"856","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0",
"national_pattern":"(?:2\\d|3)\\d{8}|(?:[235-8]\\d|41)\\d{6}","national_lengths":[8,9,10]},{"region":"CN","country_cod
e":"86","is_main":true,"international_prefix":"00|1(?:[12]\\d|79)\\d\\d00","trunk_prefix":"0","trunk_pattern":"(1(?:[1
2]\\d|79)\\d\\d)|0","national_pattern":"(?:(?:1[03-689]|2\\d)\\d\\d|6)\\d{8}|1\\d{10}|[126]\\d{6}(?:\\d(?:\\d{2})?)?|8
6\\d{5,6}|(?:[3-579]\\d|8[0-57-9])\\d{5,9}","national_lengths":[7,8,9,10,11,12]},{"region":"001","country_code":"870",
"is_main":true,"national_pattern":"7\\d{11}|[235-7]\\d{8}","national_lengths":[9,12]},{"region":"001","country_code":"
878","is_main":true,"national_pattern":"10\\d{10}","national_lengths":[12]},{"region":"BD","country_code":"880","is_ma
in":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[1-469]\\d{9}|8[0-79]\
\d{7,8}|[2-79]\\d{8}|[2-9]\\d{7}|[3-9]\\d{6}|[57-9]\\d{5}","national_lengths":[6,7,8,9,10]},{"region":"001","country_c
ode":"881","is_main":true,"national_pattern":"6\\d{9}|[0-36-9]\\d{8}","national_lengths":[9,10]},{"region":"001","coun
try_code":"882","is_main":true,"national_pattern":"[13]\\d{6}(?:\\d{2,5})?|[19]\\d{7}|(?:[25]\\d\\d|4)\\d{7}(?:\\d{2})
?","national_lengths":[7,8,9,10,11,12]},{"region":"001","country_code":"883","is_main":true,"national_pattern":"(?:[1-
4]\\d|51)\\d{6,10}","national_lengths":[8,9,10,11,12]},{"region":"TW","country_code":"886","is_main":true,"internation
al_prefix":"0(?:0[25-79]|19)","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[2-689]\\d{8}|7\\d{9,10}|[2-8
]\\d{7}|2\\d{6}","national_lengths":[7,8,9,10,11]},{"region":"001","country_code":"888","is_main":true,"national_patte
rn":"\\d{11}","national_lengths":[11]},{"region":"TR","country_code":"90","is_main":true,"international_prefix":"00","
trunk_prefix":"0","trunk_pattern":"0","national_pattern":"4\\d{6}|8\\d{11,12}|(?:[2-58]\\d\\d|900)\\d{7}","national_le
ngths":[7,10,12,13]},{"region":"IN","country_code":"91","is_main":true,"international_prefix":"00","trunk_prefix":"0",
"trunk_pattern":"0","national_pattern":"(?:000800|[2-9]\\d\\d)\\d{7}|1\\d{7,12}","national_lengths":[8,9,10,11,12,13]}
,{"region":"PK","country_code":"92","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0",
"national_pattern":"122\\d{6}|[24-8]\\d{10,11}|9(?:[013-9]\\d{8,10}|2(?:[01]\\d\\d|2(?:[06-8]\\d|1[01]))\\d{7})|(?:[2-
8]\\d{3}|92(?:[0-7]\\d|8[1-9]))\\d{6}|[24-9]\\d{8}|[89]\\d{7}","national_lengths":[8,9,10,11,12]},{"region":"AF","coun
try_code":"93","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[
2-7]\\d{8}","national_lengths":[9]},{"region":"LK","country_code":"94","is_main":true,"international_prefix":"00","tru
nk_prefix":"0","trunk_pattern":"0","national_pattern":"[1-9]\\d{8}","national_lengths":[9]},{"region":"MM","country_co
de":"95","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"1\\d{5,
7}|95\\d{6}|(?:[4-7]|9[0-46-9])\\d{6,8}|(?:2|8\\d)\\d{5,8}","national_lengths":[6,7,8,9,10]},{"region":"MV","country_c
ode":"960","is_main":true,"international_prefix":"0(?:0|19)","national_pattern":"(?:800|9[0-57-9]\\d)\\d{7}|[34679]\\d
{6}","national_lengths":[7,10]},{"region":"LB","country_code":"961","is_main":true,"international_prefix":"00","trunk_
prefix":"0","trunk_pattern":"0","national_pattern":"[27-9]\\d{7}|[13-9]\\d{6}","national_lengths":[7,8]},{"region":"JO
","country_code":"962","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pat
tern":"(?:(?:[2689]|7\\d)\\d|32|427|53)\\d{6}","national_lengths":[8,9]},{"region":"SY","country_code":"963","is_main"
:true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[1-359]\\d{8}|[1-5]\\d{7}
","national_lengths":[8,9]},{"region":"IQ","country_code":"964","is_main":true,"international_prefix":"00","trunk_pref
ix":"0","trunk_pattern":"0","national_pattern":"(?:1|7\\d\\d)\\d{7}|[2-6]\\d{7,8}","national_lengths":[8,9,10]},{"regi
on":"KW","country_code":"965","is_main":true,"international_prefix":"00","national_pattern":"18\\d{5}|(?:[2569]\\d|41)
\\d{6}","national_lengths":[7,8]},{"region":"SA","country_code":"966","is_main":true,"international_prefix":"00","trun
k_prefix":"0","trunk_pattern":"0","national_pattern":"(?:[15]\\d|800|92)\\d{7}","national_lengths":[9,10]},{"region":"
YE","country_code":"967","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_p
attern":"(?:1|7\\d)\\d{7}|[1-7]\\d{6}","national_lengths":[7,8,9]},{"region":"OM","country_code":"968","is_main":true,
"international_prefix":"00","national_pattern":"(?:1505|[279]\\d{3}|500)\\d{4}|800\\d{5,6}","national_lengths":[7,8,9]
},{"region":"PS","country_code":"970","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0
","national_pattern":"[2489]2\\d{6}|(?:1\\d|5)\\d{8}","national_lengths":[8,9,10]},{"region":"AE","country_code":"971"
,"is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:[4-7]\\d|9[0
-689])\\d{7}|800\\d{2,9}|[2-4679]\\d{7}","national_lengths":[5,6,7,8,9,10,11,12]},{"region":"IL","country_code":"972",
"is_main":true,"international_prefix":"0(?:0|1(?:05|[2-9]))","trunk_prefix":"0","trunk_pattern":"0","national_pattern"
:"1\\d{6}(?:\\d{3,5})?|[57]\\d{8}|[1-489]\\d{7}","national_lengths":[7,8,9,10,11,12]},{"region":"BH","country_code":"9
73","is_main":true,"international_prefix":"00","national_pattern":"[136-9]\\d{7}","national_lengths":[8]},{"region":"Q
A","country_code":"974","is_main":true,"international_prefix":"00","national_pattern":"800\\d{4}|(?:2|800)\\d{6}|(?:00
80|[3-7])\\d{7}","national_lengths":[7,8,9,11]},{"region":"BT","country_code":"975","is_main":true,"international_pref
ix":"00","national_pattern":"[178]\\d{7}|[2-8]\\d{6}","national_lengths":[7,8]},{"region":"MN","country_code":"976","i
s_main":true,"international_prefix":"001","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"[12]\\d{7,9}|[5-9
]\\d{7}","national_lengths":[8,9,10]},{"region":"NP","country_code":"977","is_main":true,"international_prefix":"00","
trunk_prefix":"0","trunk_pattern":"0","national_pattern":"(?:1\\d|9)\\d{9}|[1-9]\\d{7}","national_lengths":[8,10,11]},
{"region":"001","country_code":"979","is_main":true,"national_pattern":"[1359]\\d{8}","national_lengths":[9]},{"region
":"IR","country_code":"98","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national
_pattern":"[1-9]\\d{9}|(?:[1-8]\\d\\d|9)\\d{3,4}","national_lengths":[4,5,6,7,10]},{"region":"TJ","country_code":"992"
,"is_main":true,"international_prefix":"810","national_pattern":"(?:[0-57-9]\\d|66)\\d{7}","national_lengths":[9]},{"r
egion":"TM","country_code":"993","is_main":true,"international_prefix":"810","trunk_prefix":"8","trunk_pattern":"8","n
ational_pattern":"[1-7]\\d{7}","national_lengths":[8]},{"region":"AZ","country_code":"994","is_main":true,"internation
al_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"365\\d{6}|(?:[124579]\\d|60|88)\\d{7}","nat
ional_lengths":[9]},{"region":"GE","country_code":"995","is_main":true,"international_prefix":"00","trunk_prefix":"0",
"trunk_pattern":"0","national_pattern":"(?:[3-57]\\d\\d|800)\\d{6}","national_lengths":[9]},{"region":"KG","country_co
de":"996","is_main":true,"international_prefix":"00","trunk_prefix":"0","trunk_pattern":"0","national_pattern":"8\\d{9
}|[235-9]\\d{8}","national_lengths":[9,10]},{"region":"UZ","country_code":"998","is_main":true,"international_prefix":
"00","national_pattern":"(?:20|33|[5-9]\\d)\\d{7}","national_lengths":[9]}]
$json$, chr(10), '')::jsonb) as given (
    region text, country_code text, is_main boolean, international_prefix text, trunk_prefix text, trunk_pattern text,
    trunk_replacement text, national_pattern text, national_lengths integer[]
);

create function private.fold_digits(p_text text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return translate(
        p_text,
        E'\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669'
        || E'\u06f0\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7\u06f8\u06f9'
        || E'\u07c0\u07c1\u07c2\u07c3\u07c4\u07c5\u07c6\u07c7\u07c8\u07c9'
        || E'\u0966\u0967\u0968\u0969\u096a\u096b\u096c\u096d\u096e\u096f'
        || E'\u09e6\u09e7\u09e8\u09e9\u09ea\u09eb\u09ec\u09ed\u09ee\u09ef'
        || E'\u0a66\u0a67\u0a68\u0a69\u0a6a\u0a6b\u0a6c\u0a6d\u0a6e\u0a6f'
        || E'\u0ae6\u0ae7\u0ae8\u0ae9\u0aea\u0aeb\u0aec\u0aed\u0aee\u0aef'
        || E'\u0b66\u0b67\u0b68\u0b69\u0b6a\u0b6b\u0b6c\u0b6d\u0b6e\u0b6f'
        || E'\u0be6\u0be7\u0be8\u0be9\u0bea\u0beb\u0bec\u0bed\u0bee\u0bef'
        || E'\u0c66\u0c67\u0c68\u0c69\u0c6a\u0c6b\u0c6c\u0c6d\u0c6e\u0c6f'
        || E'\u0ce6\u0ce7\u0ce8\u0ce9\u0cea\u0ceb\u0cec\u0ced\u0cee\u0cef'
        || E'\u0d66\u0d67\u0d68\u0d69\u0d6a\u0d6b\u0d6c\u0d6d\u0d6e\u0d6f'
        || E'\u0de6\u0de7\u0de8\u0de9\u0dea\u0deb\u0dec\u0ded\u0dee\u0def'
        || E'\u0e50\u0e51\u0e52\u0e53\u0e54\u0e55\u0e56\u0e57\u0e58\u0e59'
        || E'\u0ed0\u0ed1\u0ed2\u0ed3\u0ed4\u0ed5\u0ed6\u0ed7\u0ed8\u0ed9'
        || E'\u0f20\u0f21\u0f22\u0f23\u0f24\u0f25\u0f26\u0f27\u0f28\u0f29'
        || E'\u1040\u1041\u1042\u1043\u1044\u1045\u1046\u1047\u1048\u1049'
        || E'\u1090\u1091\u1092\u1093\u1094\u1095\u1096\u1097\u1098\u1099'
        || E'\u17e0\u17e1\u17e2\u17e3\u17e4\u17e5\u17e6\u17e7\u17e8\u17e9'
        || E'\u1810\u1811\u1812\u1813\u1814\u1815\u1816\u1817\u1818\u1819'
        || E'\u1946\u1947\u1948\u1949\u194a\u194b\u194c\u194d\u194e\u194f'
        || E'\u19d0\u19d1\u19d2\u19d3\u19d4\u19d5\u19d6\u19d7\u19d8\u19d9'
        || E'\u1a80\u1a81\u1a82\u1a83\u1a84\u1a85\u1a86\u1a87\u1a88\u1a89'
        || E'\u1a90\u1a91\u1a92\u1a93\u1a94\u1a95\u1a96\u1a97\u1a98\u1a99'
        || E'\u1b50\u1b51\u1b52\u1b53\u1b54\u1b55\u1b56\u1b57\u1b58\u1b59'
        || E'\u1bb0\u1bb1\u1bb2\u1bb3\u1bb4\u1bb5\u1bb6\u1bb7\u1bb8\u1bb9'
        || E'\u1c40\u1c41\u1c42\u1c43\u1c44\u1c45\u1c46\u1c47\u1c48\u1c49'
        || E'\u1c50\u1c51\u1c52\u1c53\u1c54\u1c55\u1c56\u1c57\u1c58\u1c59'
        || E'\ua620\ua621\ua622\ua623\ua624\ua625\ua626\ua627\ua628\ua629'
        || E'\ua8d0\ua8d1\ua8d2\ua8d3\ua8d4\ua8d5\ua8d6\ua8d7\ua8d8\ua8d9'
        || E'\ua900\ua901\ua902\ua903\ua904\ua905\ua906\ua907\ua908\ua909'
        || E'\ua9d0\ua9d1\ua9d2\ua9d3\ua9d4\ua9d5\ua9d6\ua9d7\ua9d8\ua9d9'
        || E'\ua9f0\ua9f1\ua9f2\ua9f3\ua9f4\ua9f5\ua9f6\ua9f7\ua9f8\ua9f9'
        || E'\uaa50\uaa51\uaa52\uaa53\uaa54\uaa55\uaa56\uaa57\uaa58\uaa59'
        || E'\uabf0\uabf1\uabf2\uabf3\uabf4\uabf5\uabf6\uabf7\uabf8\uabf9'
        || E'\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19',
        repeat('0123456789', 36)
    );
end
$$;
comment on function private.fold_digits(text) is 'Turns the digits of all scripts into ASCII digits.';

-- Reads phone numbers as people write them. 101_phone_metadata.sql says how each country writes its own.
-- Promise: parse_phone agrees with the package phonenumbers about country and national number.

create type private.written_phone as (digits text, is_international boolean, extension text);
comment on type private.written_phone is
'A number as written: its digits in ASCII, whether a plus sign stands before them, and the extension.';

create type private.phone_number as (
    country_code text,
    national_number text,
    extension text,
    is_complete boolean,
    has_country boolean,
    digits text
);
comment on type private.phone_number is
'A number that was read. country_code is null if neither the text nor the default names a country. has_country: the text
names it. is_complete: it does, and the number has a length of that country. digits are those of the text, without what
is dialled before a country code.';

create function private.split_phones(p_text text) returns text[]
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := p_text;
    v_parts text[];
begin
    if v_text ~ '[^ -~]' then
        -- Spaces and marks of Unicode, then its dashes, middle dots and the wide plus sign.
        v_text := regexp_replace(v_text, '[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]', '', 'g');
        v_text := regexp_replace(v_text, '[\s\u00a0\u2000-\u200a\u202f\u3000]', ' ', 'g');
        v_text := regexp_replace(v_text, '[\u2010-\u2015\u2212\u00b7\u2022\uff0d]', '-', 'g');
        v_text := private.fold_digits(replace(v_text, U&'\ff0b', '+'));
    end if;
    -- RFC 3966 and vCard: the country may stand in a parameter of its own.
    v_text := regexp_replace(
        btrim(v_text), '^(?:tel|phone|mobile|whatsapp|sms):\s*(.*?);phone-context=(\+[0-9]+)', '\2\1', 'i'
    );
    v_text := regexp_replace(v_text, '^(?:tel|phone|mobile|whatsapp|sms):\s*', '', 'i');
    v_parts := regexp_split_to_array(v_text, '\s*(?:[/|&;]|\mor\M|,(?=\s*[+(0]?[-0-9 ().]{7,}))\s*(?=[+(0-9])', 'i');
    -- A separator within one number leaves a part that is too short.
    return case
        when cardinality(v_parts) > 1 and not exists (
            select from unnest(v_parts) as part where length(regexp_replace(part, '[^0-9]', '', 'g')) < 7
        ) then v_parts
        else array[v_text]
    end;
end
$$;
comment on function private.split_phones(text) is
'The numbers of one field of a phone book, cleaned of what is invisible, in ASCII as far as possible.';

create function private.parse_written_phone(p_text text) returns private.written_phone
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := p_text;
    v_found text[];
    v_extension text;
begin
    -- The user part of a WhatsApp address is a whole number, with the device behind a colon.
    v_found := regexp_match(v_text, '^\+?([0-9]{5,15})(?:[.:][0-9]+)*@(?:s\.whatsapp\.net|c\.us)$');
    if v_found is not null then
        return row(v_found[1], true, null)::private.written_phone;
    end if;
    v_text := regexp_replace(v_text, ';(?:isub|phone-context)=.*$', '');
    v_found := regexp_match(
        v_text,
        '^(.*[0-9][ .()-]*)(?:;ext=|;|,+|-?e?xt(?:ension|ensi\u00f3n|n)?|anexo|int|\u0434\u043e\u0431|x|#|~)'
        || '[ .:]*([0-9]{1,9})#?$', 'i'
    );
    if length(regexp_replace(v_found[1], '[^0-9]', '', 'g')) >= 7 then
        v_text := v_found[1];
        v_extension := v_found[2];
    end if;
    -- Not after a minus sign: so begin the ids of Telegram groups.
    if v_text !~ '^(?!-)[-+ ().,/~]*[0-9][-+0-9 ().,/~]*$' then
        return null;
    end if;
    if v_text ~ '^\s*(?:\+|00)' then
        v_text := regexp_replace(v_text, '\(0\)', '');
    end if;
    v_text := regexp_replace(v_text, '[^+0-9]', '', 'g');
    return row(replace(v_text, '+', ''), v_text like '+%', v_extension)::private.written_phone;
end
$$;
comment on function private.parse_written_phone(text) is
'One number as split_phones returns it; null for a username, or anything else that is no number.';

create function private.strip_trunk_prefix(p_digits text, p_region private.phone_regions) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_found text[];
    v_rest text;
begin
    v_found := regexp_match(p_digits, '^(' || p_region.trunk_pattern || ')');
    if coalesce(v_found[1], '') = '' then
        return p_digits;
    end if;
    v_rest := case
        when p_region.trunk_replacement is not null and v_found[cardinality(v_found)] is not null
            then regexp_replace(
                p_digits, '^(?:' || p_region.trunk_pattern || ')', replace(p_region.trunk_replacement, '$', '\')
            )
        else substr(p_digits, length(v_found[1]) + 1)
    end;
    if length(v_rest) <> all(p_region.national_lengths)
        and length(v_rest) <= (select max(known.length) from unnest(p_region.national_lengths) as known (length))
    then
        return p_digits;
    end if;
    return case
        when p_digits ~ ('^(?:' || p_region.national_pattern || ')$')
            and v_rest !~ ('^(?:' || p_region.national_pattern || ')$') then p_digits
        else v_rest
    end;
end
$$;
comment on function private.strip_trunk_prefix(text, private.phone_regions) is
'A national number without what is dialled before it, unless the digits are a number of the country as they are.';

create function private.find_region(p_digits text) returns private.phone_regions
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_region private.phone_regions;
begin
    -- No code is a prefix of another, so only the greatest code up to these digits can begin them. The order and LIMIT
    -- 1 make this one look-up in the index.
    select * into v_region
    from private.phone_regions as known
    where known.is_main and known.country_code <= p_digits
    order by known.country_code desc
    limit 1;
    return case when starts_with(p_digits, v_region.country_code) then v_region end;
end
$$;
comment on function private.find_region(text) is
'The main region of the country code that begins these digits; null if none does.';

create function private.unify_number(p_country_code text, p_national text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return case p_country_code
        -- Brazil put a 9 before mobile numbers of eight digits; WhatsApp leaves it out for old accounts.
        when '55' then regexp_replace(p_national, '^([1-9][0-9])([6-9][0-9]{7})$', '\19\2')
        -- Mexico dropped the 1 of mobile numbers in 2019. Argentina writes a 9 before them only from abroad.
        when '52' then regexp_replace(p_national, '^1([0-9]{10})$', '\1')
        when '54' then regexp_replace(p_national, '^9([0-9]{10})$', '\1')
        -- Benin put 01 before all numbers in 2024.
        when '229' then regexp_replace(p_national, '^([2-9][0-9]{7})$', '01\1')
        -- Ivory Coast put two digits of the operator before its numbers in 2021: the second digit tells the operator
        -- of mobile numbers, the third that of landlines.
        when '225' then case
            when length(p_national) <> 8 then p_national
            when p_national ~ '^[23].8' then '21' || p_national
            when p_national ~ '^[23].0' then '25' || p_national
            when p_national ~ '^[23].' then '27' || p_national
            when p_national ~ '^.[0-3]' then '01' || p_national
            when p_national ~ '^.[4-6]' then '05' || p_national
            else '07' || p_national
        end
        else p_national
    end;
end
$$;
comment on function private.unify_number(text, text) is
'The one form of a national number that several forms may reach: mobile digits and renumberings of whole countries.';

create function private.parse_number(p_written private.written_phone, p_home private.phone_regions)
returns private.phone_number
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_digits text := p_written.digits;
    v_is_international boolean := p_written.is_international;
    v_prefix text;
    v_region private.phone_regions;
    v_national text;
begin
    if not v_is_international then
        v_prefix := substring(v_digits, '^(' || coalesce(p_home.international_prefix || '|', '') || '00)(?=[1-9])');
        if v_prefix is not null then
            v_is_international := true;
            v_digits := substr(v_digits, length(v_prefix) + 1);
        end if;
    end if;
    if v_is_international then
        v_region := private.find_region(v_digits);
        v_national := substr(v_digits, length(v_region.country_code) + 1);
    elsif p_home.region is not null then
        v_region := p_home;
        v_national := v_digits;
        -- People at home also write the country code without a plus sign.
        if starts_with(v_digits, v_region.country_code) then
            v_national := private.strip_country_code(v_digits, v_region);
        end if;
    end if;
    if v_region.region is null then
        return row(null, v_digits, p_written.extension, false, v_is_international, v_digits)::private.phone_number;
    end if;
    v_national := private.strip_trunk_prefix(v_national, v_region);
    return row(
        v_region.country_code,
        v_national,
        p_written.extension,
        v_is_international and (
            length(v_national) = any(v_region.national_lengths)
            or length(private.unify_number(v_region.country_code, v_national)) = any(v_region.national_lengths)
        ),
        v_is_international,
        v_digits
    )::private.phone_number;
end
$$;
comment on function private.parse_number(private.written_phone, private.phone_regions) is
'A written number, read in its own country or else in the given one, which may be null.';

create function private.strip_country_code(p_digits text, p_region private.phone_regions) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    c_pattern constant text := '^(?:' || p_region.national_pattern || ')$';
    v_rest text := substr(p_digits, length(p_region.country_code) + 1);
begin
    return case
        when length(p_digits) > (select max(known.length) from unnest(p_region.national_lengths) as known (length))
            or p_digits !~ c_pattern and private.strip_trunk_prefix(v_rest, p_region) ~ c_pattern then v_rest
        else p_digits
    end;
end
$$;
comment on function private.strip_country_code(text, private.phone_regions) is
'Digits that begin with the code of their own country, without it if the rest is a number there and the whole is not.';

create function private.parse_phone(p_text text, p_default_country text) returns private.phone_number[]
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_home private.phone_regions;
    v_number private.phone_number;
begin
    if p_default_country is not null then
        -- The order and LIMIT 1 make this one look-up in the index. With plain equality the planner reads the table.
        select * into v_home from private.phone_regions as known
        where known.region >= p_default_country
        order by known.region
        limit 1;
        v_home := case when v_home.region = p_default_country then v_home end;
    end if;
    -- The usual form of webhooks costs a third of the rest.
    if p_text ~ '^\+?[0-9]{5,15}$' then
        v_number := private.parse_number(
            row(ltrim(p_text, '+'), p_text like '+%', null)::private.written_phone, v_home
        );
        return array[v_number];
    end if;
    return array(
        select parsed::private.phone_number
        from (
            select private.parse_written_phone(part.value) as written, part.position
            from unnest(private.split_phones(p_text)) with ordinality as part (value, position)
        ) as line
        cross join lateral private.parse_number(line.written, v_home) as parsed
        -- E.164 ends at 15 digits: more are the id of a group, say.
        where (line.written).digits is not null and length(parsed.digits) <= 15
        order by line.position
    );
end
$$;
comment on function private.parse_phone(text, text) is
'The phone numbers of a text, in its order. A number without a country is read in the default one, which may be null.';

-- Identifiers of people on platforms: which kind a text is, and its one form.
-- Promise: the id of a group or a channel is no identifier of a person.

create type private.identifier as (kind text, value text, app text);
comment on type private.identifier is
'An identifier of a person in its one form. app is the WeChat app within which an openid is valid, else empty.';

create function private.phone_text(p_text text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_written private.written_phone;
begin
    -- The usual forms of webhooks cost a twentieth of the rest.
    if p_text ~ '^\+?[0-9]{5,15}$' then
        return p_text;
    elsif p_text ~ '^[0-9]{5,15}@(?:s\.whatsapp\.net|c\.us)$' then
        return '+' || split_part(p_text, '@', 1);
    end if;
    v_written := private.parse_written_phone((private.split_phones(p_text))[1]);
    -- E.164 ends at 15 digits, behind what is dialled before a country code.
    return case when v_written.digits ~ '^(?:00|011)?[0-9]{1,15}$' then
        case when v_written.is_international then '+' else '' end || v_written.digits
    end;
end
$$;
comment on function private.phone_text(text) is
'The first phone number of a text as digits, after a plus sign if its country is certain; null if there is no number.';

create function private.identifier_value(p_kind text, p_value text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return case p_kind
        when 'phone' then case when private.phone_text(p_value) is not null then p_value end
        when 'whatsapp_lid' then substring(p_value, '^([0-9]{5,20})(?:[.:][0-9]+)*(?:@lid)?$')
        when 'whatsapp_bsuid' then substring(p_value, '^[A-Z]{2}\.[A-Za-z0-9.]{1,128}$')
        when 'signal_uuid' then case when private.is_uuid(p_value) then lower(p_value) end
        when 'telegram_id' then substring(p_value, '^[1-9][0-9]{0,15}$')
        when 'telegram_username'
            then substring(lower(p_value), '^(?:@|(?:https?://)?t\.me/)?([a-z][a-z0-9_]{3,31})$')
        when 'wechat_openid' then substring(p_value, '^[A-Za-z0-9_-]{6,64}$')
        when 'wechat_unionid' then substring(p_value, '^[A-Za-z0-9_-]{6,64}$')
        when 'email' then substring(lower(p_value), '^[^@\s]+@[^@\s]+\.[^@\s.]{2,}$')
    end;
end
$$;
comment on function private.identifier_value(text, text) is
'An identifier of this kind in its one form; null if the text does not have it, or if there is
no such kind.';

create function private.identify(p_platform text, p_text text) returns private.identifier
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Identifiers of conversations have the collation C, in which lower() knows only ASCII.
    v_text text collate "default" := btrim(p_text);
    v_kind text collate "default" := 'phone';
begin
    if p_platform = 'telegram' and v_text ~ '^[1-9][0-9]{0,9}$' then
        -- Today's ids have up to ten digits. A number there needs a plus sign, or more digits.
        v_kind := 'telegram_id';
    elsif v_text !~ '^\+?[0-9]{5,15}$' then
        v_kind := case
            when v_text ~ '@(?:s\.whatsapp\.net|c\.us)$' then 'phone'
            when v_text ~ '@lid$' then 'whatsapp_lid'
            -- Groups, lists and channels.
            when v_text ~ '@(?:g\.us|broadcast|newsletter)$' then null
            when v_text ~ '^[^@\s]+@[^@\s]+\.[^@\s.]{2,}$' then 'email'
            when p_platform = 'whatsapp' and v_text ~ '^[A-Z]{2}\.[A-Za-z0-9.]+$' then 'whatsapp_bsuid'
            when p_platform = 'signal' and private.is_uuid(v_text) then 'signal_uuid'
            when p_platform = 'telegram' and v_text ~* '^(?:@|(https?://)?t\.me/)?[a-z]' then 'telegram_username'
            when p_platform = 'wechat' and v_text ~ '^o[A-Za-z0-9_-]{27}$' then 'wechat_openid'
            else 'phone'
        end;
    elsif p_platform = 'whatsapp' and v_text ~ '^[0-9]{14,15}$' then
        -- No country has numbers as long as the LIDs of WhatsApp.
        v_kind := 'whatsapp_lid';
    end if;
    return row(v_kind, private.identifier_value(v_kind, v_text), '')::private.identifier;
end
$$;
comment on function private.identify(text, text) is
'The kind and value of a participant_identifier, by platform and form. The value is null if it identifies no person.';

create function private.identifier_kinds() returns text[]
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return array[
        'phone', 'whatsapp_lid', 'whatsapp_bsuid', 'signal_uuid', 'telegram_id', 'telegram_username', 'wechat_openid',
        'wechat_unionid', 'email'
    ];
end
$$;
comment on function private.identifier_kinds() is 'The kinds of identifiers.';

create function private.identifier_key(p_kind text, p_value text, p_app text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when p_value is null then null
        when p_kind = 'phone' then 'phone:' || right(private.phone_text(p_value), 6)
        else p_kind || ':' || p_app || ':' || p_value
    end;
end
$$;
comment on function private.identifier_key(text, text, text) is
'What two equal identifiers have in common. Of phone numbers these are the last six digits, which all forms of a number
share.';

create function private.participant_key(p_platform text, p_text text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_identifier private.identifier;
begin
    -- Most numbers of webhooks; the rest of this function costs ten times as much.
    if p_text ~ '^\+[0-9]{7,15}$' or p_platform in ('whatsapp', 'signal') and p_text ~ '^[0-9]{7,13}$' then
        return 'phone:' || right(p_text, 6);
    elsif p_text ~ '^[0-9]{7,15}@(?:s\.whatsapp\.net|c\.us)$' then
        return 'phone:' || right(split_part(p_text, '@', 1), 6);
    elsif p_text like '@%' and p_platform <> 'telegram' then
        return null;
    end if;
    v_identifier := private.identify(p_platform, p_text);
    return private.identifier_key(v_identifier.kind, v_identifier.value, v_identifier.app);
end
$$;
comment on function private.participant_key(text, text) is
'The identifier_key of a participant_identifier; null if it identifies no person.';

create function private.is_phone(p_platform text, p_text text) returns boolean
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(starts_with(private.participant_key(p_platform, p_text), 'phone:'), false);
end
$$;
comment on function private.is_phone(text, text) is 'Whether a participant_identifier is a phone number.';

-- Keys under which identifiers find people: how a phone number is read, spelled and compared.
-- Promise: two complete numbers match only if they are one line.

create type private.match_key as (key text, rank integer, reason text, extension text);
comment on type private.match_key is
'A key to look up in person_keys. A match of a lower rank wins. reason becomes matched_by.';

create type private.phone_reading as (
    line text,
    digits text,
    home_line text,
    is_complete boolean,
    is_national boolean,
    extension text
);
comment on type private.phone_reading is
'A number ready to be compared. line: its one international form, null if the country is unknown or the length wrong.
home_line: the same if it is read at home. is_national: it may be a number of any country, as written.';

create function private.list_spellings(p_country_code text, p_national text, p_trunk text) returns text[]
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_forms text[] := array[p_national];
begin
    if p_country_code = '55' and p_national ~ '^[0-9]{2}9[0-9]{8}$' then
        v_forms := v_forms || (left(p_national, 2) || right(p_national, 8));
    elsif p_country_code = '52' and length(p_national) = 10 then
        v_forms := array(select prefix || p_national from unnest(array['', '1', '01', '044', '045']) as prefix);
    elsif p_country_code = '54' and length(p_national) = 10 then
        -- A mobile number is dialled with 15 behind the area code, which has two to four digits.
        v_forms := v_forms || ('9' || p_national) || array(
            select left(p_national, area) || '15' || substr(p_national, area + 1) from generate_series(2, 4) as area
        );
    elsif p_country_code in ('225', '229') and length(p_national) = 10 then
        v_forms := v_forms || right(p_national, 8);
    end if;
    return array(
        select form from unnest(v_forms) as form
        union
        select prefix || form
        from unnest(v_forms) as form
        -- Belarus dials 8, waits for a tone and goes on with 0.
        cross join unnest(case p_country_code when '375' then array['8', '80'] else array[p_trunk] end) as prefix
        where prefix is not null
    );
end
$$;
comment on function private.list_spellings(text, text, text) is
'How a number is written in its own country: with and without the trunk prefix, in all forms that reach it.';

create function private.list_line_spellings(p_line text) returns text[]
language plpgsql
stable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_region private.phone_regions := private.find_region(p_line);
begin
    return private.list_spellings(
        v_region.country_code, substr(p_line, length(v_region.country_code) + 1), v_region.trunk_prefix
    );
end
$$;
comment on function private.list_line_spellings(text) is
'As list_spellings, for a number in its one international form.';

create function private.read_number(p_number private.phone_number, p_is_from_platform boolean)
returns private.phone_reading
language plpgsql
stable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_number private.phone_number := p_number;
    v_is_complete boolean := v_number.is_complete;
    v_region private.phone_regions;
    v_home_line text;
    v_line text;
begin
    if not v_number.has_country then
        v_region := private.find_region(v_number.digits);
        v_home_line := private.phone_line(v_number);
        -- Digits alone: WhatsApp always begins with the country code, phone books do with long numbers, perhaps.
        if v_region.region is not null and (p_is_from_platform or length(v_number.digits) >= 11) then
            v_number := private.parse_number(
                row(v_number.digits, true, v_number.extension)::private.written_phone, null
            );
            v_line := private.phone_line(v_number);
            v_is_complete := v_number.is_complete and substr(v_line, length(v_region.country_code) + 1)
                ~ ('^(?:' || v_region.national_pattern || ')$');
        end if;
    end if;
    return row(
        case when v_is_complete then private.phone_line(v_number) end,
        v_number.digits,
        v_home_line,
        v_is_complete,
        not p_number.has_country and not (v_is_complete and p_is_from_platform),
        p_number.extension
    )::private.phone_reading;
end
$$;
comment on function private.read_number(private.phone_number, boolean) is
'Prepares a number for comparison. From a platform whose numbers begin with their country code, the second is true.';

create function private.phone_line(p_number private.phone_number) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_number.country_code || private.unify_number(p_number.country_code, p_number.national_number);
end
$$;
comment on function private.phone_line(private.phone_number) is
'The one international form of a number, without a plus sign; null if the country is not known.';

-- Keys: c a whole line, d the digits, s how a whole line is spelled at home, w digits without a country, h a line read
-- at home, t and u the last ten digits, of numbers that are not complete and of those that are. A number without its
-- country (w) meets the spellings of the other side (s), so that it is read in the country of the other side. Two
-- complete numbers have only c and d in common.
create function private.list_phone_keys(p_text text, p_home_country text)
returns table (key text, extension text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select found.key, reading.extension
    from unnest(private.parse_phone(p_text, p_home_country)) as number
    cross join lateral private.read_number(number, false) as reading
    cross join lateral (
        select 'd:' || reading.digits
        union
        select 'phone:' || right(reading.digits, 6)
        union
        select 'c:' || reading.line
        union
        select 'h:' || reading.home_line
        union
        select 's:' || spelling
        from unnest(private.list_line_spellings(reading.line)) as spelling
        where length(spelling) >= 6
        union
        select 'w:' || reading.digits where reading.is_national and length(reading.digits) >= 6
        union
        select case when reading.is_complete then 'u:' else 't:' end || right(reading.digits, 10)
        where length(reading.digits) >= 10
    ) as found (key)
    where found.key is not null;
end
$$;
comment on function private.list_phone_keys(text, text) is 'The keys under which a person with these numbers is found.';

create function private.plain_digits(p_platform text, p_text text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when p_text ~ '^\+[1-9][0-9]{6,14}$' then substr(p_text, 2)
        when p_text ~ '^[1-9][0-9]{6,14}@(?:s\.whatsapp\.net|c\.us)$' then split_part(p_text, '@', 1)
        -- Excludes the digits that some countries dial before a country code: 119 in Cuba, 810 in Russia, some 1xx0 in
        -- Chile.
        when p_platform = 'whatsapp' and p_text ~ '^(?!0|119|810|1[0-9][0-9]0)[0-9]{7,13}$' then p_text
    end;
end
$$;
comment on function private.plain_digits(text, text) is
'The digits of a number that begins with its country code, whatever the home country; null for all other texts.';

create function private.list_match_keys(
    p_platform text, p_identifier private.identifier, p_home_country text, p_is_exact boolean
) returns private.match_key[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_reading private.phone_reading;
begin
    if p_identifier.value is null or p_is_exact and p_identifier.kind = 'telegram_username' then
        return '{}'::private.match_key[];
    elsif p_identifier.kind <> 'phone' then
        return array[row(
            private.identifier_key(p_identifier.kind, p_identifier.value, p_identifier.app),
            -- Names change hands.
            case p_identifier.kind when 'telegram_username' then 2 else 1 end,
            p_identifier.kind, null
        )::private.match_key];
    end if;
    v_reading := private.read_number(
        (private.parse_phone(p_identifier.value, p_home_country))[1], p_platform = 'whatsapp'
    );
    if p_is_exact then
        return array(
            select row(key, 1, 'phone', v_reading.extension)::private.match_key
            from unnest(array['d:' || v_reading.digits, 'c:' || v_reading.line]) as key
            where key is not null
        );
    end if;
    return array(
        select row(found.key, found.rank, found.reason, v_reading.extension)::private.match_key
        from (
            values
            ('d:' || v_reading.digits, 1, 'phone'),
            ('c:' || v_reading.line, 1, 'phone'),
            ('h:' || coalesce(v_reading.line, v_reading.home_line), 2, 'phone_national'),
            ('c:' || v_reading.home_line, 2, 'phone_national'),
            (case when v_reading.is_national then 's:' || v_reading.digits end, 2, 'phone_national')
        ) as found (key, rank, reason)
        where found.key is not null
        union all
        select row('w:' || spelling, 2, 'phone_national', v_reading.extension)::private.match_key
        from unnest(private.list_line_spellings(v_reading.line)) as spelling
        union all
        select row(
            tail.kind || right(v_reading.digits, 10), 3, 'phone_last_ten', v_reading.extension
        )::private.match_key
        from unnest(case when v_reading.is_complete then array['t:'] else array['t:', 'u:'] end) as tail (kind)
        where length(v_reading.digits) >= 10
    );
end
$$;
comment on function private.list_match_keys(text, private.identifier, text, boolean) is
'The keys by which people are looked up for an identifier; with p_is_exact only those of the first rank.';

-- More identifiers of people than their one phone field, and the keys by which conversations find people.
-- Promise: an identifier has the one form of its kind.

create type private.person_key as (workspace_id uuid, key text);
comment on type private.person_key is 'A key of a person, with the workspace of the person.';

create table public.person_identifiers (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid not null default auth.uid(),
    person_id uuid not null,
    kind text not null,
    value text not null,
    app text not null default '',
    created_at timestamptz not null default now(),
    constraint person_identifiers_unique unique (person_id, kind, app, value),
    constraint person_identifiers_person_fkey foreign key (workspace_id, person_id)
    references public.people (workspace_id, id) on update cascade on delete cascade,
    constraint person_identifiers_value_length check (char_length(value) between 1 and 500),
    constraint person_identifiers_app_length check (char_length(app) <= 100),
    constraint person_identifiers_value_form check (private.identifier_value(kind, value) is not null)
);
comment on table public.person_identifiers is
'Phone numbers and identifiers on platforms of a person, as many as there are. Conversations match any of them.';
comment on column public.person_identifiers.workspace_id is 'The workspace of the person; a trigger sets it.';
comment on column public.person_identifiers.kind is
'phone, whatsapp_lid, whatsapp_bsuid, signal_uuid, telegram_id, telegram_username, wechat_openid, wechat_unionid or
email.';
comment on column public.person_identifiers.value is
'The identifier in the one form of its kind (private.identifier_value). A phone number stays as it was written.';
comment on column public.person_identifiers.app is 'The WeChat app of an openid; empty for all other kinds.';
create index person_identifiers_workspace_id_person_id_idx on public.person_identifiers (workspace_id, person_id);
alter table public.person_identifiers enable row level security;

-- Without foreign keys: triggers of people write it.
create table private.person_keys (
    workspace_id uuid not null,
    key text collate "C" not null,
    person_id uuid not null,
    extension text,
    primary key (workspace_id, key, person_id)
);
comment on table private.person_keys is
'The keys of all people. person_id is the person that others are merged into. extension: only numbers with this
extension, or with none, have the key.';
create index person_keys_person_id_idx on private.person_keys (person_id);
alter table private.person_keys enable row level security;

create function private.home_country(p_workspace_id uuid) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(workspace.home_country, settings.default_country)
        from private.settings
        left join public.workspaces as workspace on workspace.id = p_workspace_id
    );
end
$$;
comment on function private.home_country(uuid) is
'The country of the phone numbers of a workspace that do not name theirs: its home_country, or else the setting
default_country; null if neither is set.';

create function private.find_merged_person(p_person_id uuid) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := p_person_id;
    v_next uuid;
begin
    loop
        select person.merged_into_id into v_next from public.people as person where person.id = v_id;
        exit when v_next is null;
        v_id := v_next;
    end loop;
    return v_id;
end
$$;
comment on function private.find_merged_person(uuid) is
'The person that this one was merged into, over all merges; the same one if it was not merged.';

create function private.normalize_identifier_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Null if the caller may not see the person: the policy refuses that.
    new.workspace_id := (select person.workspace_id from public.people as person where person.id = new.person_id);
    new.value := coalesce(private.identifier_value(new.kind, btrim(new.value)), new.value);
    return new;
end
$$;
comment on function private.normalize_identifier_trigger() is
'Trigger: gives an identifier the workspace of its person and the one form of its kind. A check constraint refuses what
has no such form.';

create function private.list_person_keys(p_people uuid[])
returns table (workspace_id uuid, key text, person_id uuid, extension text)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with recursive member as (
        select person.id as root, person.* from public.people as person
        where person.id = any(p_people) and person.merged_into_id is null
        union all
        select member.root, person.*
        from member
        inner join public.people as person on person.merged_into_id = member.id
    ), found as (
        select member.root, member.workspace_id, number.key, number.extension
        from member
        cross join lateral private.list_phone_keys(member.phone, private.home_country(member.workspace_id)) as number
        union all
        select member.root, member.workspace_id, number.key, number.extension
        from member
        inner join public.person_identifiers as own on member.id = own.person_id and own.kind = 'phone'
        cross join lateral private.list_phone_keys(own.value, private.home_country(member.workspace_id)) as number
        union all
        select member.root, member.workspace_id, private.identifier_key(own.kind, own.value, own.app), null
        from member
        inner join public.person_identifiers as own on member.id = own.person_id and own.kind <> 'phone'
    )

    select found.workspace_id, found.key, found.root,
        case when count(*) = count(found.extension) and count(distinct found.extension) = 1
            then min(found.extension)
        end
    from found
    group by found.workspace_id, found.key, found.root;
end
$$;
comment on function private.list_person_keys(uuid[]) is
'The keys of these people and of all that are merged into them; none for people that are merged into others.';

-- Connections: a user's links to accounts on outside platforms, and the API keys with which a client ingests for them.
-- Promise: the database stores only hashes of keys, and a rotation leaves the old keys valid until the overlap ends.

create type private.ingest_source as (
    id uuid,
    user_id uuid,
    workspace_id uuid,
    scope_id uuid,
    platform text,
    connection_id text,
    is_active boolean,
    key_id uuid,
    stores_media boolean
);
comment on type private.ingest_source is
'The connection of an ingest request, with what its conversations and messages need. key_id is the valid key that the
request has; null if it has none.';

create table public.messaging_connections (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    workspace_id uuid not null default auth.uid() references public.workspaces (id) on delete cascade,
    platform text not null,
    connection_id text not null,
    is_active boolean not null default true,
    is_apart boolean not null default false,
    stores_media boolean not null default false,
    scope_id uuid not null generated always as (case when is_apart then id else workspace_id end) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint messaging_connections_connection_id_unique unique (connection_id),
    constraint messaging_connections_connection_id_form check (connection_id ~ '^[A-Za-z0-9_.-]{1,100}$'),
    constraint messaging_connections_platform_known check (
        platform in ('whatsapp', 'signal', 'telegram', 'wechat')
    )
);
comment on table public.messaging_connections is
'A link to one account on an outside platform. Its keys let a client ingest conversations into the workspace.';
comment on column public.messaging_connections.workspace_id is
'Its members read the conversations. Without a value, the personal workspace of user_id.';
comment on column public.messaging_connections.user_id is
'The owner: a part of the key of each conversation. When the owner leaves a team, an owner of the workspace follows.';
comment on column public.messaging_connections.connection_id is 'The public name that ingest requests send.';
comment on column public.messaging_connections.is_active is 'While this is false, ingest answers 403.';
comment on column public.messaging_connections.is_apart is
'Whether it shares no conversations with other connections of its owner, so that each number has its own.';
comment on column public.messaging_connections.stores_media is
'Whether each answer offers uploads for the files of its messages. If false, only requests with media_uploads get
them.';
comment on column public.messaging_connections.scope_id is
'Within it, owner, platform and external id name one conversation: the workspace, or a connection that is apart.';
create index messaging_connections_user_id_idx on public.messaging_connections (user_id);
create index messaging_connections_workspace_id_idx on public.messaging_connections (workspace_id);
alter table public.messaging_connections enable row level security;

create table private.messaging_keys (
    id uuid primary key default gen_random_uuid(),
    connection_id uuid not null references public.messaging_connections (id) on delete cascade,
    secret_hash bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    constraint messaging_keys_secret_hash_unique unique (connection_id, secret_hash),
    constraint messaging_keys_secret_hash_is_sha256 check (octet_length(secret_hash) = 32)
);
comment on table private.messaging_keys is
'Keys of connections, stored as hashes. Several may be valid at once, so that a rotation needs no downtime.';
comment on column private.messaging_keys.secret_hash is
'SHA-256 of the key. A slow hash adds no safety, because each key has 256 random bits.';
comment on column private.messaging_keys.expires_at is 'The key is invalid from this time on; null means never.';
comment on column private.messaging_keys.last_used_at is 'Exact to a minute, so that most requests write nothing.';
create index messaging_keys_secret_hash_idx on private.messaging_keys (secret_hash);
create index messaging_keys_expires_at_idx on private.messaging_keys (expires_at) where expires_at is not null;
alter table private.messaging_keys enable row level security;

-- Definer, because no client role may read or write keys. It checks that the caller manages the connection.
create function private.rotate_messaging_key(p_connection_id uuid, p_overlap interval) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret text := private.generate_secret();
    v_workspace_id uuid;
    v_had_keys boolean;
    v_key_id uuid;
begin
    select connection.workspace_id into v_workspace_id
    from public.messaging_connections as connection
    where connection.id = p_connection_id
        and exists (select from private.my_managed_workspaces as mine where mine.id = connection.workspace_id)
    for no key update;
    if not found then
        perform private.fail(
            404, 'connection_not_found', 'This connection does not exist or is not yours. Check connection_id.'
        );
    end if;
    update private.messaging_keys as key
    set expires_at = least(key.expires_at, now() + p_overlap)
    where key.connection_id = p_connection_id;
    v_had_keys := found;
    insert into private.messaging_keys (connection_id, secret_hash)
    values (p_connection_id, private.hash_secret(v_secret))
    returning id into v_key_id;
    perform private.record_audit(
        v_workspace_id, case when v_had_keys then 'key.rotated' else 'key.created' end, v_key_id,
        jsonb_build_object('connection_id', p_connection_id, 'overlap', p_overlap)
    );
    return v_secret;
end
$$;
comment on function private.rotate_messaging_key(uuid, interval) is
'Creates a key for a connection that the caller manages; earlier keys expire after the overlap. PT404 for others.';

create function public.create_messaging_connection(
    platform text, connection_id text default null,
    workspace_id uuid default auth.uid(), is_apart boolean default false
)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_connection public.messaging_connections;
begin
    insert into public.messaging_connections (platform, connection_id, workspace_id, is_apart)
    values (
        create_messaging_connection.platform,
        coalesce(
            create_messaging_connection.connection_id,
            create_messaging_connection.platform || '_' || right(gen_random_uuid()::text, 12)
        ),
        create_messaging_connection.workspace_id,
        create_messaging_connection.is_apart
    )
    returning * into v_connection;
    return json_build_object(
        'id', v_connection.id,
        'platform', v_connection.platform,
        'connection_id', v_connection.connection_id,
        'is_active', v_connection.is_active,
        'api_secret', private.rotate_messaging_key(v_connection.id, interval '0')
    );
exception
    when unique_violation then
        raise unique_violation using
            message = 'This connection_id is taken.',
            hint = 'Choose another one. If the connection is yours, call rotate_messaging_key for a new key.',
            constraint = 'messaging_connections_connection_id_unique';
end
$$;
comment on function public.create_messaging_connection(text, text, uuid, boolean) is
'Creates a connection of the caller, in the personal workspace or in one that the caller manages. is_apart keeps its
conversations apart from other connections of the caller. The answer contains its api_secret, shown only once.
Raises 23505 if the connection_id is taken, and 23514 if the platform is unknown.';

create function public.rotate_messaging_key(connection_id text, overlap interval default '24 hours') returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    if rotate_messaging_key.overlap is null
        or rotate_messaging_key.overlap not between interval '0' and interval '30 days'
        -- Times too, because comparing intervals counts each month as 30 days: long ones can compare as short.
        or now() + rotate_messaging_key.overlap not between now() and now() + interval '30 days'
    then
        perform private.fail(
            400, 'overlap_out_of_range', 'overlap is not in range. Send an interval from 0 to 30 days.'
        );
    end if;
    select connection.id into v_id
    from public.messaging_connections as connection
    where connection.connection_id = rotate_messaging_key.connection_id;
    return json_build_object(
        'connection_id', rotate_messaging_key.connection_id,
        'api_secret', private.rotate_messaging_key(v_id, rotate_messaging_key.overlap),
        'previous_keys_expire_at', now() + rotate_messaging_key.overlap
    );
end
$$;
comment on function public.rotate_messaging_key(text, interval) is
'Creates a new api_secret for a connection that the caller manages, shown only once. Earlier secrets work until the
overlap (default 24 hours, at most 30 days) ends; with an overlap of zero they expire now. PT404 for other callers.';

-- Definer, because no client role may write keys. It checks that the caller manages the connection.
create function private.revoke_messaging_key(p_key_id uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_connection public.messaging_connections;
begin
    select connection.* into v_connection
    from private.messaging_keys as key
    inner join public.messaging_connections as connection on key.connection_id = connection.id
    inner join private.my_managed_workspaces as mine on connection.workspace_id = mine.id
    where key.id = p_key_id;
    if not found then
        perform private.fail(404, 'key_not_found', 'You manage no connection with this key. Check key_id.', 'key_id');
    end if;
    update private.messaging_keys as key set expires_at = least(key.expires_at, now()) where key.id = p_key_id;
    perform private.record_audit(
        v_connection.workspace_id, 'key.revoked', p_key_id, jsonb_build_object('connection_id', v_connection.id)
    );
end
$$;
comment on function private.revoke_messaging_key(uuid) is
'Makes a key invalid from now on. PT404 unless the caller manages its connection.';

create function public.revoke_messaging_key(key_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.revoke_messaging_key(revoke_messaging_key.key_id);
end
$$;
comment on function public.revoke_messaging_key(uuid) is
'Makes one key invalid from now on; the other keys of the connection stay valid. The computed field keys lists ids.
PT404 unless the caller manages the connection.';

-- Definer, because no client role may read keys. It checks that the caller manages the connection, and returns no hash.
create function private.list_messaging_keys(p_connection_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(jsonb_agg(
            jsonb_build_object(
                'id', key.id, 'created_at', key.created_at,
                'expires_at', key.expires_at, 'last_used_at', key.last_used_at
            )
            order by key.created_at, key.id
        ), '[]')
        from private.messaging_keys as key
        inner join public.messaging_connections as connection on key.connection_id = connection.id
        where connection.id = p_connection_id
            and exists (select from private.my_managed_workspaces as mine where mine.id = connection.workspace_id)
    );
end
$$;
comment on function private.list_messaging_keys(uuid) is
'The keys of a connection that the caller manages: id, created_at, expires_at and last_used_at of each.';

create function public.keys(public.messaging_connections) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.list_messaging_keys($1.id);
end
$$;
comment on function public.keys(public.messaging_connections) is
'Computed field: the keys of a connection as an array of id, created_at, expires_at and last_used_at, without secrets.';

-- Definer, because no client role may read hashes of keys.
create function private.authenticate_connection(p_platform text, p_connection_id text, p_secret text)
returns private.ingest_source
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_found record;
begin
    select connection.*, key.id as key_id, key.last_used_at into v_found
    from public.messaging_connections as connection
    left join private.messaging_keys as key
        on connection.id = key.connection_id
        and key.secret_hash = private.hash_secret(p_secret)
        and (key.expires_at is null or key.expires_at > now())
    where connection.connection_id = p_connection_id and connection.platform = p_platform;
    if v_found.key_id is not null
        and (v_found.last_used_at is null or v_found.last_used_at < now() - interval '1 minute')
    then
        -- SKIP LOCKED, because one of several concurrent requests is enough to write the time.
        update private.messaging_keys as key set last_used_at = now()
        where key.id = (
            select free.id from private.messaging_keys as free
            where free.id = v_found.key_id
            for no key update skip locked
        );
    end if;
    return (
        v_found.id, v_found.user_id, v_found.workspace_id, v_found.scope_id, v_found.platform, v_found.connection_id,
        v_found.is_active, v_found.key_id, v_found.stores_media
    );
end
$$;
comment on function private.authenticate_connection(text, text, text) is
'Finds a connection and the key that a secret belongs to. The id is null if the connection does not exist, and key_id if
the key is not valid.';

-- Definer, because no client role may read hashes of keys.
create function private.is_valid_key(p_secret text) returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from private.messaging_keys as key
        where key.secret_hash = private.hash_secret(p_secret)
            and (key.expires_at is null or key.expires_at > now())
    );
end
$$;
comment on function private.is_valid_key(text) is 'Checks whether a secret is a valid key of any connection.';

-- Cursors of the log of conversations (124_inbox_changes).
-- Promise: a cursor tells nothing. Its position would tell the pace of others, because it counts the transactions of
-- the whole cluster.

create type private.inbox_position as (xid xid8, id bigint, place integer);
comment on type private.inbox_position is
'A place in the log: the transaction, the row and the place of a conversation in it.';

create table private.inbox_cursor_key (
    is_only boolean primary key default true,
    key bytea not null default uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
    constraint inbox_cursor_key_is_only check (is_only)
);
comment on table private.inbox_cursor_key is
'The secret that hides positions in cursors. After a change of it, clients read their conversations again.';
alter table private.inbox_cursor_key enable row level security;
insert into private.inbox_cursor_key default values;

-- Definer, because only superusers and pg_monitor may ask in some versions.
create function private.inbox_epoch() returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return left(md5(
        (select control.system_identifier from pg_control_system() as control)
        || '.' || (select control.timeline_id from pg_control_checkpoint() as control)
    ), 8);
end
$$;
comment on function private.inbox_epoch() is
'Names this database server and its timeline: a restored server gives the same transaction ids again, so old cursors are
invalid.';

create function private.hash_word(p_hash bytea, p_number integer) returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return ('x' || encode(substring(p_hash from 8 * p_number - 7 for 8), 'hex'))::bit(64)::bigint;
end
$$;
comment on function private.hash_word(bytea, integer) is 'Eight bytes as a number; p_number counts from 1.';

-- Definer, because no client reads the key.
create function private.render_inbox_cursor(p_position private.inbox_position) returns text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_key bytea := (select known.key from private.inbox_cursor_key as known);
    -- Two cursors of one position differ, so that they do not tell whether others wrote in between.
    v_salt bytea := substring(uuid_send(gen_random_uuid()) from 1 for 6);
    v_plain bytea := int8send(p_position.xid::text::bigint) || int8send(p_position.id) || int8send(p_position.place);
    v_tag bytea := substring(sha256(v_key || v_salt || v_plain) from 1 for 10);
    v_mask bytea := sha256(v_key || v_salt || v_tag);
    v_hidden bytea := '\x'::bytea;
begin
    for v_number in 1..3 loop
        v_hidden := v_hidden
            || int8send(private.hash_word(v_plain, v_number) # private.hash_word(v_mask, v_number));
    end loop;
    return private.inbox_epoch() || '.' || encode(v_salt || v_tag || v_hidden, 'hex');
end
$$;
comment on function private.render_inbox_cursor(private.inbox_position) is
'The cursor of a position: the server, and the position, hidden and signed.';

-- Definer, because no client reads the key.
create function private.parse_inbox_cursor(p_cursor text) returns private.inbox_position
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_parts text[] := regexp_match(p_cursor, '^([0-9a-f]{8})\.([0-9a-f]{32})([0-9a-f]{48})$');
    v_key bytea := (select known.key from private.inbox_cursor_key as known);
    v_head bytea := decode(v_parts[2], 'hex');
    v_hidden bytea := decode(v_parts[3], 'hex');
    v_mask bytea := sha256(v_key || v_head);
    v_words bigint[];
begin
    if v_parts is null then
        perform private.fail(
            400, 'invalid_cursor', 'since is not a cursor of this call. Send next_cursor of the answer before.', 'since'
        );
    end if;
    for v_number in 1..3 loop
        v_words[v_number] := private.hash_word(v_hidden, v_number) # private.hash_word(v_mask, v_number);
    end loop;
    if v_parts[1] <> private.inbox_epoch()
        -- Another database made it.
        or substring(v_head from 7) <> substring(
            sha256(
                v_key || substring(v_head from 1 for 6)
                || int8send(v_words[1]) || int8send(v_words[2]) || int8send(v_words[3])
            ) from 1 for 10
        )
        or v_words[1]::text::xid8 > pg_snapshot_xmax(pg_current_snapshot())
    then
        perform private.fail(
            409, 'cursor_expired',
            'The database was restored after this cursor. Call without since and read the conversations again.', 'since'
        );
    end if;
    return (v_words[1]::text::xid8, v_words[2], v_words[3]::integer)::private.inbox_position;
end
$$;
comment on function private.parse_inbox_cursor(text) is
'The position of a cursor in the log. PT400 if it is not a cursor, PT409 if it is from another server.';

-- Ingested conversations and their messages, one row each.
-- Promise: message_count, last_message_at and last_message_preview always agree with the messages.

create type private.conversation_summary as (
    conversation_id uuid,
    message_count integer,
    last_message_at timestamptz,
    last_message_preview text
);
comment on type private.conversation_summary is 'What a conversation says about its messages.';

create table public.conversations (
    id uuid primary key default private.generate_id(),
    -- The user before the workspace: Postgres checks the keys in this order, and a deleted user is locked first.
    user_id uuid not null references auth.users (id) on delete cascade,
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    scope_id uuid not null,
    platform text not null,
    external_conversation_id text collate "C" not null,
    participant_identifier text collate "C" not null,
    participant_name text collate "C",
    kind text not null default 'direct',
    participant_digits text generated always as (
        case kind when 'direct' then private.phone_digits(participant_identifier) end
    ) stored,
    participant_key text collate "C",
    participant_identified_at timestamptz,
    participant_named_at timestamptz,
    person_id uuid,
    matched_by text,
    version bigint not null default 1,
    message_count integer not null default 0,
    last_message_at timestamptz,
    last_message_preview text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint conversations_external_id_unique unique (platform, external_conversation_id, user_id, scope_id),
    constraint conversations_person_id_fkey foreign key (workspace_id, person_id)
    references public.people (workspace_id, id) on delete set null (person_id),
    constraint conversations_platform_known check (platform in ('whatsapp', 'signal', 'telegram', 'wechat')),
    constraint conversations_kind_known check (kind in ('direct', 'group')),
    constraint conversations_external_id_length check (char_length(external_conversation_id) between 1 and 500),
    constraint conversations_participant_identifier_length check (
        char_length(participant_identifier) between 1 and 500
    ),
    constraint conversations_participant_name_length check (char_length(participant_name) between 1 and 500),
    constraint conversations_message_count_not_negative check (message_count >= 0)
);
comment on table public.conversations is
'A conversation on an outside platform. Read its messages with select=*,messages, or from conversation_messages.';
comment on column public.conversations.workspace_id is 'The workspace of the connection; its members read it.';
comment on column public.conversations.user_id is
'The owner of the connection that ingested the conversation.';
comment on column public.conversations.scope_id is
'The workspace; or the connection, if that keeps its conversations apart. A part of the key.';
comment on column public.conversations.external_conversation_id is 'The id of the conversation on its platform.';
comment on column public.conversations.participant_identifier is
'As the newest batch had it. A phone number stays when a batch has another kind; all others stand in
conversation_identifiers.';
comment on column public.conversations.participant_name is
'As the newest batch that had a name; never emptied again.';
comment on column public.conversations.kind is
'direct or group. In a group the participant is the group, and a message has a sender.';
comment on column public.conversations.participant_digits is
'The digits of participant_identifier when it is a phone number.';
comment on column public.conversations.participant_identified_at is
'Newest message of the batch that set participant_identifier: an older batch that arrives later does not undo it.';
comment on column public.conversations.participant_named_at is
'Newest message of the batch that set participant_name, for the same reason.';
comment on column public.conversations.participant_key is
'What participant_identifier has in common with equal ones (private.identifier_key); triggers set it. Null if it is
not of a person.';
comment on column public.conversations.matched_by is
'Why person_id is this person: phone (the same number), phone_national (the same number once a country is added),
phone_last_ten (the same last ten digits), or the kind of another identifier. Null without a person.';
comment on column public.conversations.person_id is
'The matched person, which triggers keep up to date; null if no person matches.';
comment on column public.conversations.version is
'Rises by one with each broadcast of the conversation, so that a client notices a missed one.';
comment on column public.conversations.last_message_at is
'When its last message was sent, in the order of the messages, however late that came.';
comment on column public.conversations.last_message_preview is
'At most 100 characters of that message, or what it is when it has no text.';
create index conversations_workspace_id_last_message_at_idx
on public.conversations (workspace_id, last_message_at desc);
create index conversations_workspace_id_participant_key_idx
on public.conversations (workspace_id, participant_key);
create index conversations_person_id_idx on public.conversations (workspace_id, person_id)
where person_id is not null;
create index conversations_user_id_idx on public.conversations (user_id);
alter table public.conversations enable row level security;

-- Without a foreign key: triggers check for a whole statement what it would check row by row, which took a sixth of an
-- ingest (docs/explanation/decisions/0006).
create table public.conversation_messages (
    conversation_id uuid not null,
    external_id text collate "C" not null,
    sender text collate "C" not null default '',
    workspace_id uuid not null,
    connection_id uuid,
    sent_at timestamptz not null,
    received_at timestamptz not null default now(),
    stated_at timestamptz,
    sequence bigint not null default 0,
    message jsonb not null,
    original jsonb,
    deleted_at timestamptz,
    primary key (conversation_id, external_id, sender),
    constraint conversation_messages_external_id_length check (char_length(external_id) between 1 and 500)
);
comment on table public.conversation_messages is
'The messages of conversations, a row each. Its primary key is what makes a retry harmless.';
comment on column public.conversation_messages.conversation_id is
'Its conversation. A trigger rejects messages of missing conversations, and deletes them with their conversation.';
comment on column public.conversation_messages.external_id is 'The message''s identifier on its platform.';
comment on column public.conversation_messages.sender is
'Who sent it, in a group, because two members may use the same id; else empty.';
comment on column public.conversation_messages.workspace_id is
'The conversation''s workspace, repeated so that row-level security needs no second table.';
comment on column public.conversation_messages.connection_id is
'The id of the connection that brought the message first; the connection may be deleted since.';
comment on column public.conversation_messages.sent_at is
'When it was sent, as its platform says. If stated_at is set: its place in the order, behind all that was there.';
comment on column public.conversation_messages.received_at is
'When it was stored here. Messages of one request lie microseconds apart, in the order of the request.';
comment on column public.conversation_messages.stated_at is
'What its platform said, if that is more than an hour after the arrival; else null.';
comment on column public.conversation_messages.sequence is
'The number that the request gave to order messages of one moment, else 0.';
comment on column public.conversation_messages.message is 'The message as it is now, fields of its own included.';
comment on column public.conversation_messages.original is
'The message as it was ingested, if updates have changed it; null for deleted messages.';
comment on column public.conversation_messages.deleted_at is
'When its sender deleted it. Its text and its file are gone.';
-- Many platforms send whole seconds, so arrival orders what sequence leaves equal.
create index conversation_messages_order_idx
on public.conversation_messages (conversation_id, sent_at, sequence, received_at, external_id);
alter table public.conversation_messages enable row level security;

create function private.set_conversation_workspace_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.workspace_id := coalesce(new.workspace_id, new.user_id);
    new.scope_id := coalesce(new.scope_id, new.workspace_id);
    return new;
end
$$;
comment on function private.set_conversation_workspace_trigger() is
'Trigger: puts a conversation that names no workspace into the personal workspace of its user. Ingest names it.';

create function public.conversation_messages(public.conversations) returns setof public.conversation_messages
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select stored.* from public.conversation_messages as stored where stored.conversation_id = $1.id;
end
$$;
comment on function public.conversation_messages(public.conversations) is
'Computed relationship: the rows of a conversation, for select=*,conversation_messages(*) in the Data API.';

-- enable_sort, because the planner prefers a sort, which takes 1.3 times as long as the index that has the order.
create function public.messages(public.conversations) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_sort = 'off'
set jit = 'off'
as $$
begin
    -- json_agg, because it copies each message as text; jsonb_agg parses it and takes twice as long.
    return (
        select coalesce(json_agg(line.message), '[]')
        from (
            select stored.message
            from public.conversation_messages as stored
            where stored.conversation_id = $1.id
            order by stored.sent_at, stored.sequence, stored.received_at, stored.external_id
        ) as line
    );
end
$$;
comment on function public.messages(public.conversations) is
'Computed field: the messages of a conversation as one JSON array in their order.';

create function private.message_preview(p_message jsonb) returns text
language plpgsql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := left(p_message ->> 'content', 1000);
begin
    return coalesce(
        nullif(btrim(left(case
            -- Most texts have only single spaces; to find that out costs a fifth of replacing them.
            when v_text ~ '\s\s|[^\S ]' then regexp_replace(v_text, '\s+', ' ', 'g')
            else v_text
        end, 100)), ''),
        case when p_message -> 'deleted' = 'true' then 'Deleted message' end,
        case p_message ->> 'type'
            when 'image' then 'Photo'
            when 'audio' then 'Voice message'
            when 'video' then 'Video'
            when 'file' then 'File'
            when 'location' then 'Location'
            when 'sticker' then 'Sticker'
            when 'contact' then 'Contact'
            when 'poll' then 'Poll'
            when 'call' then 'Call'
            when 'system' then 'Notice'
            else 'Message'
        end
    );
end
$$;
comment on function private.message_preview(jsonb) is
'At most 100 characters on one line that show what an ingested message says, or what it is.';

-- enable_seqscan, because a plan that was cached while the table was small reads all conversations (decision 0003).
create function private.update_summaries(p_summaries private.conversation_summary[], p_broadcasts integer)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = 'off'
set jit = 'off'
as $$
begin
    update public.conversations as conversation
    set
        -- The broadcasts of the transaction that creates a conversation show its first version.
        version = conversation.version + case when conversation.created_at = now() then 0 else p_broadcasts end,
        message_count = summary.message_count,
        last_message_at = summary.last_message_at,
        last_message_preview = summary.last_message_preview
    from unnest(p_summaries) as summary
    where conversation.id = summary.conversation_id
        -- Else a plan for few conversations reads the whole index.
        and conversation.id = any(array(select given.conversation_id from unnest(p_summaries) as given));
end
$$;
comment on function private.update_summaries(private.conversation_summary[], integer) is
'Writes summaries into their conversations and raises their versions by the number of broadcasts that follow: 0 when
retention deletes messages. The caller has locked the rows.';

create function private.fail_without_conversation() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The row-level security of messages rests on their workspace_id, hence it counts as a part of the key.
    raise foreign_key_violation using
        message = 'A message belongs to a conversation that exists, and to its workspace.',
        constraint = 'conversation_messages_conversation_fkey';
end
$$;
comment on function private.fail_without_conversation() is
'Raises the foreign key violation (23503) of a message of no conversation, or with another workspace_id than it has.';

-- Definer, because it also runs when Supabase Auth deletes a user, whose role may not read these tables.
create function private.summarize_conversations_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array(select distinct changed.conversation_id from changed);
    -- Ingest creates a conversation with the summary of its messages (create_conversations).
    v_is_new constant boolean := coalesce(current_setting('threadline.is_creating', true) = 'on', false);
    v_is_complete boolean;
    v_stale private.conversation_summary[];
begin
    -- Locks in the order of ids, so that writers cannot deadlock. The next statement sees what earlier holders of the
    -- locks wrote. Rows that this transaction wrote are locked already.
    perform from public.conversations as conversation
    where conversation.id = any(v_ids) and conversation.xmin <> pg_current_xact_id()::xid
    order by conversation.id for no key update;

    select
        bool_and(wanted.is_known),
        array_agg((wanted.id, wanted.messages, wanted.sent_at, wanted.preview)::private.conversation_summary) filter (
            where wanted.is_known and (wanted.created_at <> now() or (wanted.messages, wanted.sent_at, wanted.preview)
            is distinct from (wanted.message_count, wanted.last_message_at, wanted.last_message_preview))
        )
    into v_is_complete, v_stale
    from (
        select
            conversation.*, newest.sent_at, private.message_preview(newest.message) as preview,
            coalesce(conversation.workspace_id = counted.workspace_id, false) as is_known,
            case
                when v_is_new and conversation.created_at = now() then (
                    select count(*) from public.conversation_messages as stored
                    where stored.conversation_id = counted.conversation_id
                )
                else conversation.message_count
                    + counted.messages * case tg_op when 'INSERT' then 1 when 'UPDATE' then 0 else -1 end
            end as messages
        from (
            select changed.conversation_id, changed.workspace_id, count(*) as messages
            from changed group by changed.conversation_id, changed.workspace_id
        ) as counted
        left join lateral (
            -- LIMIT 1 makes this one look-up by the key, even if the statistics are old.
            select known.* from public.conversations as known where known.id = counted.conversation_id limit 1
        ) as conversation on true
        left join lateral (
            select
                -- A time far beyond arrival must not keep the conversation on top of the inbox.
                case when stored.stated_at is null then stored.sent_at else stored.received_at end as sent_at,
                stored.message
            from public.conversation_messages as stored
            where stored.conversation_id = counted.conversation_id
            order by stored.sent_at desc, stored.sequence desc, stored.received_at desc, stored.external_id desc
            limit 1
        ) as newest on true
    ) as wanted;
    if tg_op = 'INSERT' and not v_is_complete then
        perform private.fail_without_conversation();
    end if;
    perform private.update_summaries(v_stale, case tg_op when 'DELETE' then 0 else 1 end) where v_stale is not null;
    return null;
end
$$;
comment on function private.summarize_conversations_trigger() is
'Trigger: keeps message_count, last_message_at and last_message_preview up to date.
A message of no conversation, or with another workspace_id than it has, is a foreign key violation (23503).';

-- Definer, because it also runs when Supabase Auth deletes a user. force_custom_plan, because a plan that was cached
-- while the table was small reads all messages (docs/explanation/decisions/0003).
create function private.delete_conversation_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from public.conversation_messages as stored
    where stored.conversation_id = any(array(select removed.id from removed));
    return null;
end
$$;
comment on function private.delete_conversation_messages_trigger() is
'Trigger: deletes the messages of deleted conversations. It waits for concurrent inserts, which lock the conversation.';

-- What happened to messages of conversations after they were sent: edits, deletions, reactions, receipts.
-- Promise: the order in which updates arrive, and how often, makes no difference to the messages.

create table public.conversation_updates (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    external_id text collate "C" not null,
    sender text collate "C" not null,
    type text not null,
    actor text collate "C" not null,
    version text collate "C" not null,
    at timestamptz not null,
    sequence bigint not null,
    value jsonb not null,
    received_at timestamptz not null default now(),
    primary key (conversation_id, external_id, sender, type, actor, version)
);
comment on table public.conversation_updates is
'What happened to messages after they were sent, also to messages that have not come yet. Of each type and actor the
latest is kept, and every text of an edited message. A deleted message keeps no texts, reactions and files.';
comment on column public.conversation_updates.external_id is 'The message''s identifier on its platform.';
comment on column public.conversation_updates.sender is 'The message''s sender in a group, else empty.';
comment on column public.conversation_updates.type is
'edited, deleted, reaction, delivered, read, played, failed, media or pinned.';
comment on column public.conversation_updates.actor is 'Who did it, as the request says; else empty.';
comment on column public.conversation_updates.version is 'Tells apart the texts of a message; else empty.';
comment on column public.conversation_updates.at is 'When it happened, as the platform says: the latest counts.';
comment on column public.conversation_updates.sequence is 'Orders updates with the same at; else 0.';
comment on column public.conversation_updates.value is
'content, media_url, emoji, reason or pinned; or a whole message, if an edit came as the message sent again.';
alter table public.conversation_updates enable row level security;

create function private.find_edit_time(p_message jsonb) returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- edit_date is what Telegram sends, in seconds since 1970.
    return case
        when jsonb_typeof(p_message -> 'edited_at') = 'string' then private.parse_timestamp(p_message ->> 'edited_at')
        when private.scalar_text(p_message, 'edit_date') ~ '^[0-9]{1,11}$'
            then to_timestamp((p_message ->> 'edit_date')::double precision)
    end;
end
$$;
comment on function private.find_edit_time(jsonb) is
'When an ingested message was edited, by its own fields edited_at or edit_date; null if it was not.';

create function private.render_receipts(p_updates public.conversation_updates[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- What was read was delivered, and what was delivered did not fail, in whatever order the receipts came.
    return coalesce((
        select jsonb_build_object('status', receipt.type, 'status_at', private.format_time(receipt.at))
            || case
                when receipt.value ? 'reason' then jsonb_build_object('failure', receipt.value -> 'reason') else '{}'
            end
        from unnest(p_updates) as receipt
        where receipt.type in ('failed', 'delivered', 'read', 'played')
        order by
            array_position(array['played', 'read', 'delivered', 'failed'], receipt.type),
            receipt.at desc, receipt.sequence desc, receipt.value::text collate "C" desc
        limit 1
    ), '{}') || coalesce((
        select jsonb_build_object('reactions', coalesce(jsonb_agg(
            jsonb_build_object('emoji', emoji.value, 'at', private.format_time(reaction.at))
            || case when reaction.actor = '' then '{}' else jsonb_build_object('by', reaction.actor) end
            order by reaction.at, reaction.actor, emoji.position
        ) filter (where emoji.value is not null), '[]'))
        from unnest(p_updates) as reaction
        left join lateral jsonb_array_elements_text(reaction.value -> 'emoji')
        with ordinality as emoji (value, position) on true
        where reaction.type = 'reaction'
        having count(*) > 0
    ), '{}') || coalesce((
        select pin.value || case
            when (pin.value ->> 'pinned')::boolean
                then jsonb_build_object('pinned_at', private.format_time(pin.at)) else '{}'
        end
        from unnest(p_updates) as pin
        where pin.type = 'pinned'
        order by pin.at desc, pin.sequence desc, pin.value::text collate "C" desc
        limit 1
    ), '{}');
end
$$;
comment on function private.render_receipts(public.conversation_updates[]) is
'The fields status, status_at, failure, reactions, pinned and pinned_at that updates give a message.';

create function private.render_present_message(p_message jsonb, p_updates public.conversation_updates[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_deleted_at timestamptz := (select max(given.at) from unnest(p_updates) as given where given.type = 'deleted');
    v_written_at timestamptz := coalesce(private.find_edit_time(p_message), '-infinity');
    v_message jsonb := p_message;
    v_edit record;
    v_url jsonb;
begin
    if v_deleted_at is not null then
        return jsonb_build_object(
            'id', p_message -> 'id', 'direction', p_message -> 'direction', 'type', p_message -> 'type', 'content', '',
            'sent_at', p_message -> 'sent_at', 'deleted', true, 'deleted_at', private.format_time(v_deleted_at)
        ) || case when p_message ? 'sender' then jsonb_build_object('sender', p_message -> 'sender') else '{}' end;
    end if;
    for v_edit in
        select given.at, given.value
        from unnest(p_updates) as given
        where given.type = 'edited'
        order by given.at, given.sequence, given.value::text collate "C"
    loop
        if v_edit.at > v_written_at then
            -- A whole message replaces the one before.
            v_message := case
                when v_edit.value ? 'id' then v_edit.value else v_message || v_edit.value
            end || jsonb_build_object('edited_at', private.format_time(v_edit.at));
        elsif v_written_at <> '-infinity' then
            v_message := v_message || jsonb_build_object('edited_at', private.format_time(v_written_at));
        end if;
    end loop;
    -- A version without a file keeps the file that is known.
    select known.url into v_url
    from (
        select given.at, given.sequence, given.value -> 'media_url' as url
        from unnest(p_updates) as given
        where given.type in ('edited', 'media')
        union all
        select v_written_at, 0, p_message -> 'media_url'
    ) as known
    where known.url #>> '{}' is not null
    order by known.at desc, known.sequence desc, known.url::text collate "C" desc
    limit 1;
    return v_message
        || case when v_url is null then '{}' else jsonb_build_object('media_url', v_url) end
        || private.render_receipts(p_updates);
end
$$;
comment on function private.render_present_message(jsonb, public.conversation_updates[]) is
'A message as it is after its updates. The result does not depend on their order.';

-- All identifiers that were ever seen of the participant of a conversation.
-- Promise: nothing is removed from here while the conversation lives, unless a user separates it from another one.

create table public.conversation_identifiers (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    workspace_id uuid not null,
    kind text not null,
    value text not null,
    app text not null default '',
    key text collate "C",
    created_at timestamptz not null default now(),
    primary key (conversation_id, kind, app, value)
);
comment on table public.conversation_identifiers is
'Identifiers of the participant of a conversation besides participant_identifier: earlier ones, and those that ingest
requests name in identifiers.';
comment on column public.conversation_identifiers.workspace_id is
'The conversation''s workspace, repeated so that row-level security needs no second table.';
comment on column public.conversation_identifiers.kind is
'As in person_identifiers; other for a text that identifies no person, such as a username on WhatsApp.';
comment on column public.conversation_identifiers.key is 'What equal identifiers have in common; null for other.';
create index conversation_identifiers_workspace_id_key_idx on public.conversation_identifiers (workspace_id, key);
alter table public.conversation_identifiers enable row level security;

-- Participants who write in a group, or whom a request names. A computed field shows them, so clients need no privilege
-- here.
create table private.group_participants (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    workspace_id uuid not null,
    identifier text collate "C" not null,
    name text collate "C",
    named_at timestamptz not null default '-infinity',
    identifiers jsonb not null default '[]',
    keys text[] collate "C" not null default '{}',
    has_left boolean not null default false,
    at timestamptz not null default '-infinity',
    person_id uuid,
    matched_by text,
    primary key (conversation_id, identifier),
    constraint group_participants_person_id_fkey foreign key (workspace_id, person_id)
    references public.people (workspace_id, id) on delete set null (person_id)
);
comment on table private.group_participants is 'Who is or was in a group, and the person of each.';
comment on column private.group_participants.identifier is
'The sender of the messages; identifier in the participants of a request.';
comment on column private.group_participants.named_at is
'The time of name, so that a later request with an earlier time does not replace it.';
comment on column private.group_participants.identifiers is 'Further identifiers from requests.';
comment on column private.group_participants.keys is
'The keys of all identifiers; equal identifiers have equal keys (private.identifier_key).';
comment on column private.group_participants.at is 'When the participant last joined, wrote or left.';
create index group_participants_keys_idx on private.group_participants using gin (keys);
create index group_participants_person_id_idx on private.group_participants (workspace_id, person_id)
where person_id is not null;
alter table private.group_participants enable row level security;

create function private.diagnose_identifiers(p_identifiers jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    c_app constant text := '^[A-Za-z0-9_-]{1,100}$';
begin
    if coalesce(jsonb_typeof(p_identifiers), 'null') = 'null' then
        return null;
    elsif jsonb_typeof(p_identifiers) <> 'array' or jsonb_array_length(p_identifiers) > 20 then
        return 'identifiers must be an array of at most 20 objects';
    end if;
    return (
        select (array_agg(format('identifiers[%s]', given.position - 1) || given.error order by given.position)
            filter (where given.error is not null))[1]
        from (
            select
                one.position,
                case
                    when jsonb_typeof(one.value) <> 'object' then ' must be an object'
                    when coalesce(one.value ->> 'kind', '') <> all(private.identifier_kinds())
                        then '.kind must be ' || array_to_string(private.identifier_kinds(), ', ')
                    when jsonb_typeof(one.value -> 'value') is distinct from 'string'
                        or char_length(one.value ->> 'value') > 500
                        or private.identifier_value(one.value ->> 'kind', btrim(one.value ->> 'value')) is null
                        then format('.value must be a valid %s', one.value ->> 'kind')
                    when (one.value ->> 'kind' = 'wechat_openid') <> (one.value ? 'app')
                        or coalesce(one.value ->> 'app', 'x') !~ c_app
                        then '.app must be the WeChat app of an openid, and is for openids only'
                end as error
            from jsonb_array_elements(p_identifiers) with ordinality as one (value, position)
        ) as given
    );
end
$$;
comment on function private.diagnose_identifiers(jsonb) is
'The first error of the field identifiers of a conversation; null without an error.';

create function private.list_given_identifiers(p_identifiers jsonb) returns private.identifier[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_identifiers is null or private.diagnose_identifiers(p_identifiers) is not null
        or jsonb_typeof(p_identifiers) = 'null'
    then
        return '{}'::private.identifier[];
    end if;
    return array(
        select row(
            one.value ->> 'kind',
            private.identifier_value(
                one.value ->> 'kind',
                case one.value ->> 'kind'
                    when 'phone' then private.phone_text(one.value ->> 'value') else btrim(one.value ->> 'value')
                end
            ),
            coalesce(one.value ->> 'app', '')
        )::private.identifier
        from jsonb_array_elements(p_identifiers) as one
    );
end
$$;
comment on function private.list_given_identifiers(jsonb) is
'The identifiers in the field identifiers of a conversation, each in its one form; empty if the field has an error.';

create function private.diagnose_group_participants(p_conversation jsonb) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_participants jsonb := p_conversation -> 'participants';
begin
    if coalesce(jsonb_typeof(v_participants), 'null') = 'null' then
        return null;
    elsif p_conversation -> 'kind' is distinct from '"group"' then
        return 'participants is for groups only';
    elsif jsonb_typeof(v_participants) <> 'array' or jsonb_array_length(v_participants) > 1000 then
        return 'participants must be an array of at most 1000 objects';
    end if;
    return (
        select (array_agg(format('participants[%s].', given.position - 1) || given.error order by given.position)
            filter (where given.error is not null))[1]
        from (
            select
                one.position,
                case
                    when jsonb_typeof(one.value) <> 'object'
                        or coalesce(jsonb_typeof(one.value -> 'identifier'), '') <> 'string'
                        or char_length(one.value ->> 'identifier') not between 1 and 500
                        then 'identifier must be a string of 1 to 500 characters'
                    when coalesce(jsonb_typeof(one.value -> 'name'), 'null') not in ('string', 'null')
                        or char_length(one.value ->> 'name') > 500
                        then 'name must be a string of at most 500 characters'
                    when coalesce(one.value -> 'state', '"joined"') not in ('"joined"', '"left"')
                        then 'state must be joined or left'
                    when one.value ? 'at' and (
                        jsonb_typeof(one.value -> 'at') <> 'string'
                        or private.parse_timestamp(one.value ->> 'at') is null
                    ) then 'at must be an ISO 8601 timestamp'
                    else private.diagnose_identifiers(one.value -> 'identifiers')
                end as error
            from jsonb_array_elements(v_participants) with ordinality as one (value, position)
        ) as given
    );
end
$$;
comment on function private.diagnose_group_participants(jsonb) is
'The first error of the field participants of a conversation; null without an error.';

create function private.diagnose_people(p_conversation jsonb) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(
        private.diagnose_identifiers(p_conversation -> 'identifiers'),
        private.diagnose_group_participants(p_conversation)
    );
end
$$;
comment on function private.diagnose_people(jsonb) is
'The first error of the fields identifiers and participants of a conversation; null without an error.';

-- Definer, because clients may not read the table. The caller sees the conversation, which is the argument.
create function private.list_group_participants(p_conversation_id uuid) returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(jsonb_agg(jsonb_build_object(
            'identifier', known.identifier,
            'name', known.name,
            'identifiers', known.identifiers,
            'has_left', known.has_left,
            'at', case when isfinite(known.at) then private.format_time(known.at) end,
            'person_id', known.person_id,
            'matched_by', known.matched_by
        ) order by known.identifier), '[]')
        from private.group_participants as known
        where known.conversation_id = p_conversation_id
            and exists (
                select from private.my_workspaces as mine where mine.id = known.workspace_id
                union all
                select where private.is_service()
            )
    );
end
$$;
comment on function private.list_group_participants(uuid) is
'The participants of a group of the caller''s workspaces, with the person of each.';

create function public.participants(public.conversations) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.list_group_participants($1.id);
end
$$;
comment on function public.participants(public.conversations) is
'Computed field: who is or was in a group, as an array of identifier, name, identifiers, has_left, at, person_id and
matched_by. identifier is the sender of the messages.';

create function private.list_identifiers(p_conversation_id uuid) returns private.identifier[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select row(known.kind, known.value, known.app)::private.identifier
        from public.conversation_identifiers as known
        where known.conversation_id = p_conversation_id
    );
end
$$;
comment on function private.list_identifiers(uuid) is
'What was seen of the participant of a conversation besides participant_identifier.';

create function private.record_earlier_identifier_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_identifiers(
        array[new.id], array[private.identify_any(old.platform, old.participant_identifier)]
    );
    return null;
end
$$;
comment on function private.record_earlier_identifier_trigger() is
'Trigger: keeps the identifier that a conversation had before.';

create function private.identify_any(p_platform text, p_text text) returns private.identifier
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_identifier private.identifier := private.identify(p_platform, p_text);
begin
    return case
        when v_identifier.value is null then row('other', p_text, '')::private.identifier
        when v_identifier.kind = 'phone'
            then row('phone', private.phone_text(v_identifier.value), '')::private.identifier
        else v_identifier
    end;
end
$$;
comment on function private.identify_any(text, text) is
'As identify, with the kind other for a text that identifies no person.';

create function private.record_identifiers(p_ids uuid[], p_identifiers private.identifier[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_changed uuid[];
begin
    with added as (
        insert into public.conversation_identifiers (conversation_id, workspace_id, kind, value, app, key)
        select
            conversation.id, conversation.workspace_id, given.kind, given.value, given.app,
            private.identifier_key(nullif(given.kind, 'other'), given.value, given.app)
        from unnest(p_ids, p_identifiers) as given (conversation_id, kind, value, app)
        inner join public.conversations as conversation on given.conversation_id = conversation.id
        where (given.kind, given.value, given.app)::private.identifier
            <> private.identify_any(conversation.platform, conversation.participant_identifier)
        order by conversation.id, given.kind, given.app, given.value
        on conflict do nothing
        returning conversation_id
    )

    select array_agg(distinct added.conversation_id) into v_changed from added;
    return coalesce(v_changed, '{}');
end
$$;
comment on function private.record_identifiers(uuid[], private.identifier[]) is
'Keeps identifiers of participants, each with its conversation. Returns the conversations for which one was new.';

-- Files of ingested messages in the bucket `attachments`: their paths, and which of them are stored.
-- Promise: a message has one file, however often it is uploaded.

create table private.conversation_media (
    path text primary key,
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    workspace_id uuid not null,
    external_id text collate "C" not null,
    sender text collate "C" not null,
    size bigint,
    stored_at timestamptz,
    version text,
    created_at timestamptz not null default now()
);
comment on table private.conversation_media is
'Files of ingested messages that a caller was invited to upload, and those that are stored.';
comment on column private.conversation_media.path is 'Path in the bucket attachments.';
comment on column private.conversation_media.size is 'In bytes, as Storage counted them; null until then.';
comment on column private.conversation_media.stored_at is
'When Storage got the file; null while it has none, or one of a forbidden type.';
comment on column private.conversation_media.version is
'The version of the file in Storage. Users cannot read another version until a request settles it.';
create index conversation_media_conversation_id_idx on private.conversation_media (conversation_id, external_id);
create index conversation_media_workspace_id_idx on private.conversation_media (workspace_id) include (size);
create index conversation_media_created_at_idx on private.conversation_media (created_at) where stored_at is null;
alter table private.conversation_media enable row level security;

create function private.is_shown_type(p_type text) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Storage keeps the type that the client names, also spaces and several types. Browsers run scripts in HTML, SVG
    -- and any XML, and they guess the type of a file whose type is missing, unknown or malformed. Office documents
    -- have openxml in their type and are no XML for a browser.
    return coalesce(
        p_type ~* '^\s*[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9]'
        and p_type !~* 'html|svg|[/+](xml|xsl)|multipart/|unknown',
        false
    );
end
$$;
comment on function private.is_shown_type(text) is
'Whether users may read files of a media type: not HTML, SVG and XML, nor a type that browsers replace by a guess.';

create function private.media_path(p_conversation_id uuid, p_external_id text, p_sender text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 'conversations/' || p_conversation_id || '/'
        || encode(sha256(convert_to(p_external_id || e'\x1f' || p_sender, 'UTF8')), 'hex');
end
$$;
comment on function private.media_path(uuid, text, text) is
'The path of the file of a message in the bucket attachments: always the same, so that a repetition replaces the file.';

create function private.media_link(p_path text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return '/storage/v1/object/authenticated/attachments/' || p_path;
end
$$;
comment on function private.media_link(text) is
'The media_url of a stored file: its path below the URL of the project, for members with their access token.';

-- Definer, because no client reads the table.
create function private.is_my_media(p_path text, p_version text) returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return starts_with(p_path, 'conversations/') and exists (
        select from private.conversation_media as known
        inner join private.my_workspaces as mine on known.workspace_id = mine.id
        where known.path = p_path and known.stored_at is not null and known.version is not distinct from p_version
    );
end
$$;
comment on function private.is_my_media(text, text) is
'Whether a path is a stored file of a conversation of the caller, in the version that was settled.';

create function private.has_media_room(p_workspace_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select
            coalesce(sum(known.size), 0)
            < 1000000.0 * (select settings.workspace_media_megabytes from private.settings)
        from private.conversation_media as known
        where known.workspace_id = p_workspace_id
    );
end
$$;
comment on function private.has_media_room(uuid) is
'Whether the stored files of the conversations of a workspace are within the limit.';

create function private.render_uploads(p_uploads jsonb) returns json
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select case when p_uploads is not null then coalesce(json_agg(json_strip_nulls(json_build_object(
            'message_id', upload.value -> 'message_id', 'sender', upload.value -> 'sender',
            'path', upload.value -> 'path',
            -- The service or the Edge Function replaces this by the URL. Text of a caller cannot look like it, because
            -- JSON escapes quotes in text.
            'url', 'sign:' || (upload.value ->> 'path')
        )) order by upload.position), '[]') end
        from jsonb_array_elements(p_uploads) with ordinality as upload (value, position)
    );
end
$$;
comment on function private.render_uploads(jsonb) is
'Uploads as the answer shows them, with a placeholder that the service or the Edge Function replaces by the signed
URL.';

-- Definer, because no backend deletes from the table.
create function private.delete_media(p_limit integer, p_age interval) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from private.conversation_media as known
    where known.path in (
        select unused.path
        from private.conversation_media as unused
        where unused.stored_at is null and unused.created_at < now() - p_age
        order by unused.created_at
        limit p_limit
        for update skip locked
    );
end
$$;
comment on function private.delete_media(integer, interval) is
'Deletes rows of files that were not uploaded within p_age, or have a forbidden type.';

-- The log of what changed in conversations. A client that was away reads it to catch up.
-- Promise: a client gets every change after its cursor, in order. If the clean-up has deleted some of them, the answer
-- is an error that says so.
-- The transaction id orders the log, because writers would wait for a counter. A reader stops before the oldest
-- transaction that still runs (docs/explanation/decisions/0013).

create table private.inbox_changes (
    id bigint generated always as identity primary key,
    workspace_id uuid not null,
    xid xid8 not null default pg_current_xact_id(),
    created_at timestamptz not null default clock_timestamp(),
    conversation_ids uuid[] not null,
    external_ids text[],
    senders text[],
    versions bigint[]
);
comment on table private.inbox_changes is
'What changed in conversations: one row per workspace and statement, with ids and no texts.';
comment on column private.inbox_changes.xid is 'The transaction that made the change, which orders the log.';
comment on column private.inbox_changes.conversation_ids is
'The changed conversations; with external_ids, the conversation of each changed message. The log keeps deleted ones.';
comment on column private.inbox_changes.external_ids is 'The ids of the changed messages; null if none changed.';
comment on column private.inbox_changes.versions is
'The versions of the changed conversations, by their ids; null if the change raised none because rows were deleted.';
create index inbox_changes_workspace_id_xid_idx on private.inbox_changes (workspace_id, xid, id);
alter table private.inbox_changes enable row level security;

create table private.inbox_log_starts (
    workspace_id uuid primary key references public.workspaces (id) on delete cascade,
    xid xid8 not null,
    id bigint not null,
    place integer not null
);
comment on table private.inbox_log_starts is
'The last change that the clean-up has deleted from the log of a workspace, as cursors name it.';
alter table private.inbox_log_starts enable row level security;

create function private.list_versions(p_ids uuid[]) returns bigint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select known.version
        from (select distinct given.id from unnest(p_ids) as given (id)) as changed
        left join lateral (
            -- LIMIT 1 makes this one look-up by the key, even if the statistics are old.
            select conversation.version
            from public.conversations as conversation
            where conversation.id = changed.id
            limit 1
        ) as known on true
        order by changed.id
    );
end
$$;
comment on function private.list_versions(uuid[]) is
'The versions of these conversations, each once, ordered by id.';

-- Definer, because no role writes the log.
create function private.note_conversations(p_ids uuid[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.inbox_changes (workspace_id, conversation_ids, versions)
    select
        conversation.workspace_id, array_agg(conversation.id order by conversation.id),
        array_agg(conversation.version order by conversation.id)
    from public.conversations as conversation
    where conversation.id = any(p_ids)
    group by conversation.workspace_id;
end
$$;
comment on function private.note_conversations(uuid[]) is 'Writes changed conversations into the log.';

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.note_gone_conversations_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.inbox_changes (workspace_id, conversation_ids)
    select gone.workspace_id, array_agg(gone.id order by gone.id)
    from gone
    inner join public.workspaces as workspace on gone.workspace_id = workspace.id
    group by gone.workspace_id;
    return null;
end
$$;
comment on function private.note_gone_conversations_trigger() is
'Trigger: writes deleted conversations into the log, unless their workspace is deleted, too.';

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.forget_inbox_changes_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.inbox_changes as log where log.workspace_id = any(array(select gone.id from gone));
    return null;
end
$$;
comment on function private.forget_inbox_changes_trigger() is
'Trigger: deletes the log of deleted workspaces.';

create function private.render_inbox_change(p_conversation_id uuid, p_external_ids text[], p_senders text[])
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    c_most constant integer := 100;
    v_conversation jsonb := (
        select to_jsonb(conversation) from public.conversations as conversation
        where conversation.id = p_conversation_id
    );
    v_messages jsonb;
begin
    if v_conversation is null then
        return jsonb_build_object('conversation_id', p_conversation_id, 'deleted', true);
    elsif cardinality(p_external_ids) <= c_most then
        select coalesce(jsonb_agg(
            stored.message order by stored.sent_at, stored.sequence, stored.received_at, stored.external_id
        ), '[]') into v_messages
        from public.conversation_messages as stored
        where stored.conversation_id = p_conversation_id
            and (stored.external_id, stored.sender) in (
                select given.external_id collate "C", given.sender collate "C"
                from unnest(p_external_ids, p_senders) as given (external_id, sender)
            );
    end if;
    return jsonb_build_object(
        'conversation_id', p_conversation_id, 'conversation', v_conversation,
        'messages', coalesce(v_messages, '[]')
    ) || case
        when cardinality(p_external_ids) > c_most then jsonb_build_object('truncated', true)
        when cardinality(p_external_ids) > jsonb_array_length(v_messages) then jsonb_build_object('removed', true)
        else '{}'
    end;
end
$$;
comment on function private.render_inbox_change(uuid, text[], text[]) is
'A change as a client gets it: the conversation and its changed messages as they are now. If more than 100 changed, it
has none and truncated is true; removed is true if the rows of some are deleted.';

create function private.require_kept_changes(p_workspaces uuid[], p_xid xid8, p_id bigint, p_place integer)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from private.inbox_log_starts as start
        where start.workspace_id = any(p_workspaces) and (start.xid, start.id, start.place) > (p_xid, p_id, p_place)
    ) then
        perform private.fail(
            409, 'cursor_expired',
            'Changes after this cursor were deleted. Call without since and read the conversations again.', 'since'
        );
    end if;
end
$$;
comment on function private.require_kept_changes(uuid[], xid8, bigint, integer) is
'Raises an error if the clean-up has deleted changes of these workspaces after a position. PT409.';

-- Definer, because clients may not read the log. It lists only workspaces of the caller.
create function private.list_inbox_changes(
    p_workspace_id uuid, p_xid xid8, p_id bigint, p_place integer, p_limit integer
) returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    -- All transactions before this one have ended, so no earlier change can appear any more.
    v_horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
    v_workspaces uuid[] := array(
        select mine.id from private.my_workspaces as mine
        where p_workspace_id is null or mine.id = p_workspace_id
    );
    v_answer record;
begin
    perform private.require_kept_changes(v_workspaces, p_xid, p_id, p_place);
    with entry as (
        select line.xid, line.id, changed.place::integer as place, changed.conversation_id, changed.external_ids,
            changed.senders, changed.version
        from (
            select log.*
            from unnest(v_workspaces) as mine (id)
            cross join lateral (
                -- The page of each workspace, from the index. All at once would sort what lies after the page, too.
                select page.* from private.inbox_changes as page
                where page.workspace_id = mine.id and page.xid < v_horizon and (page.xid, page.id) >= (p_xid, p_id)
                order by page.xid, page.id
                limit p_limit + 1
            ) as log
            order by log.xid, log.id
            limit p_limit + 1
        ) as line
        cross join lateral (
            select
                given.conversation_id, row_number() over (order by min(given.position)) as place,
                line.versions[(row_number() over (order by given.conversation_id))::integer] as version,
                array_agg(given.external_id order by given.position) filter (where given.external_id is not null)
                    as external_ids,
                array_agg(given.sender order by given.position) filter (where given.external_id is not null) as senders
            from unnest(line.conversation_ids, line.external_ids, line.senders)
            with ordinality as given (conversation_id, external_id, sender, position)
            group by given.conversation_id
        ) as changed
        where (line.xid, line.id, changed.place) > (p_xid, p_id, p_place)
        order by line.xid, line.id, changed.place
        limit p_limit
    )

    select
        count(*) as number,
        coalesce(jsonb_agg(
            jsonb_strip_nulls(jsonb_build_object('version', entry.version))
            || private.render_inbox_change(entry.conversation_id, coalesce(entry.external_ids, '{}'), entry.senders)
            order by entry.xid, entry.id, entry.place
        ), '[]') as data,
        (array_agg(row(entry.xid, entry.id, entry.place)::private.inbox_position
            order by entry.xid desc, entry.id desc, entry.place desc))[1] as last
    into v_answer
    from entry;
    return jsonb_build_object('data', v_answer.data, 'has_more', v_answer.number = p_limit, 'next_cursor',
        private.render_inbox_cursor(coalesce(v_answer.last, (p_xid, p_id, p_place)::private.inbox_position))
    );
end
$$;
comment on function private.list_inbox_changes(uuid, xid8, bigint, integer, integer) is
'A page of the log of the caller''s workspaces after a position, up to the oldest transaction that still runs.';

create function public.list_inbox_changes(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid := private.parse_uuid($1, 'workspace_id', false);
    v_limit integer := private.parse_integer($1, 'limit', 1, 100, 100);
    v_since text := private.scalar_text($1, 'since');
    v_cursor private.inbox_position;
    v_page jsonb;
begin
    if v_workspace_id is not null
        and not exists (select from private.my_workspaces as mine where mine.id = v_workspace_id)
    then
        perform private.fail(
            404, 'workspace_not_found', 'This workspace does not exist, or you are not a member.', 'workspace_id'
        );
    elsif v_since is null then
        return private.succeed('[]', jsonb_build_object(
            'next_cursor', private.render_inbox_cursor(
                (pg_snapshot_xmin(pg_current_snapshot()), 0, 0)::private.inbox_position
            ),
            'has_more', false
        ));
    end if;
    v_cursor := private.parse_inbox_cursor(v_since);
    v_page := private.list_inbox_changes(
        v_workspace_id, v_cursor.xid, v_cursor.id, v_cursor.place, v_limit
    );
    return private.succeed(v_page -> 'data', v_page - 'data');
end
$$;
comment on function public.list_inbox_changes(jsonb) is
'GET /api/v2/inbox/changes: since, and optionally workspace_id, limit (1 to 100 conversations). Every change of the
caller''s conversations since a cursor, oldest first. Without since: the cursor of now, and no changes.';

-- Matches conversations to people by any identifier: equal ones first, then a number that gets its country from the
-- other side, then the last ten digits of two numbers that are not both complete.
-- Promise: what fits two people equally well matches neither, and two complete numbers that differ never match.
-- Lock order: the workspace's matching lock first, then conversations by id, then people. Ingest holds the matching
-- lock shared and changes of people hold it exclusively, so that a new conversation and a new person cannot miss each
-- other. Ingest waits for it at most a second and then leaves matching to the clean-up (late_matches), because a slow
-- change of people must not stop ingest.

create type private.person_match as (person_id uuid, reason text);
comment on type private.person_match is
'The person that identifiers match, and why; both null if they match no person.';

-- Without foreign keys, which would lock the conversation's row.
create table private.late_matches (
    conversation_id uuid primary key,
    workspace_id uuid not null
);
comment on table private.late_matches is
'Conversations that ingest stored while a change of people held the matching lock. The clean-up matches them.';
alter table private.late_matches enable row level security;

create function private.find_match(p_workspace_id uuid, p_keys private.match_key[]) returns private.person_match
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_match private.person_match;
    v_last uuid;
begin
    -- A wrong match would show the data of the wrong person, so two people of the best rank match no person. Two rows a
    -- key suffice to see that, however many people have it.
    for v_rank in 1..3 loop
        select min(found.person_id::text)::uuid, max(found.person_id::text)::uuid, max(wanted.reason)
        into v_match.person_id, v_last, v_match.reason
        from unnest(p_keys) as wanted
        cross join lateral (
            select known.person_id
            from private.person_keys as known
            where known.workspace_id = p_workspace_id
                and known.key = wanted.key
                and coalesce(known.extension = wanted.extension, true)
            limit 2
        ) as found
        where wanted.rank = v_rank;
        exit when v_last is not null;
    end loop;
    if v_match.person_id <> v_last then
        v_match.person_id := null;
    end if;
    return v_match;
end
$$;
comment on function private.find_match(uuid, private.match_key[]) is
'The only person of a workspace with the keys of the best rank that any person has. The reason is null if no person has
a key, and only person_id is null if several have it.';

create function private.list_all_keys(
    p_workspace_id uuid, p_platform text, p_identifiers private.identifier[], p_is_exact boolean
) returns private.match_key[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_identifier private.identifier;
    v_keys private.match_key[] := '{}'::private.match_key[];
begin
    foreach v_identifier in array p_identifiers loop
        v_keys := v_keys || private.list_match_keys(
            p_platform, v_identifier,
            -- Not for a number that names its country.
            case when v_identifier.value not like '+%' then private.home_country(p_workspace_id) end,
            p_is_exact
        );
    end loop;
    return v_keys;
end
$$;
comment on function private.list_all_keys(uuid, text, private.identifier[], boolean) is
'The keys of several identifiers of one participant (list_match_keys).';

create function private.match_identifiers(p_workspace_id uuid, p_platform text, p_identifiers private.identifier[])
returns private.person_match
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_identifier private.identifier;
    v_shared private.identifier[] := '{}'::private.identifier[];
    v_match private.person_match;
begin
    foreach v_identifier in array p_identifiers loop
        if exists (
            select from private.person_keys as known
            where known.workspace_id = p_workspace_id
                and known.key = private.identifier_key(v_identifier.kind, v_identifier.value, v_identifier.app)
        ) then
            v_shared := v_shared || v_identifier;
        end if;
    end loop;
    if v_shared = '{}' then
        return null;
    end if;
    -- Most people have the same number, and the other keys cost twice as much.
    v_match := private.find_match(p_workspace_id, private.list_all_keys(p_workspace_id, p_platform, v_shared, true));
    if v_match.reason is null then
        v_match := private.find_match(
            p_workspace_id, private.list_all_keys(p_workspace_id, p_platform, v_shared, false)
        );
    end if;
    return case when v_match.person_id is not null then v_match end;
end
$$;
comment on function private.match_identifiers(uuid, text, private.identifier[]) is
'The person of a workspace whom these identifiers of a participant match best.';

create function private.match_conversation(p_conversation public.conversations) returns private.person_match
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case p_conversation.kind when 'direct' then private.match_identifiers(
        p_conversation.workspace_id,
        p_conversation.platform,
        private.identify(p_conversation.platform, p_conversation.participant_identifier)
        || private.list_identifiers(p_conversation.id)
    ) end;
end
$$;
comment on function private.match_conversation(public.conversations) is
'The person of a conversation, and why. A group matches no person.';

create function private.matching_lock(p_workspace_id uuid) returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return hashtextextended('threadline.matching.' || p_workspace_id, 0);
end
$$;
comment on function private.matching_lock(uuid) is
'The key of the advisory lock of a workspace''s matching. Ingest holds it shared, changes of people hold it exclusively,
and both take it before they lock a row.';

create function private.lock_matching(p_workspace_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(private.matching_lock(workspace.id))
    from (select distinct given.id from unnest(p_workspace_ids) as given (id) order by given.id) as workspace;
end
$$;
comment on function private.lock_matching(uuid[]) is
'Takes the matching locks of workspaces for a change of people, in the order of ids.';

create function private.wait_to_match(p_workspace_id uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
begin
    perform pg_advisory_xact_lock_shared(private.matching_lock(p_workspace_id));
    return true;
exception
    when lock_not_available then
        return false;
end
$$;
comment on function private.wait_to_match(uuid) is
'Takes the shared matching lock of a workspace, if it gets it within a second.';

create function private.can_match(p_workspace_id uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return pg_try_advisory_xact_lock_shared(private.matching_lock(p_workspace_id))
        or private.wait_to_match(p_workspace_id);
end
$$;
comment on function private.can_match(uuid) is
'Takes the shared matching lock of a workspace. False if a change of people holds it for more than a second.';

create function private.lock_person(p_match private.person_match) returns private.person_match
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_match.person_id is not null then
        -- Waits for a concurrent delete of the person, which then counts as deleted.
        perform from public.people as person where person.id = p_match.person_id for key share;
        if not found then
            return null;
        end if;
    end if;
    return p_match;
end
$$;
comment on function private.lock_person(private.person_match) is
'The same match, whose person stays until the transaction ends; null if the person is deleted.';

create function private.match_participant(p_workspace_id uuid, p_platform text, p_identifier text, p_key text)
returns private.person_match
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_people uuid[];
    v_match private.person_match;
begin
    -- Most participants share no key with a person, or only with one person of the same number. This check costs a
    -- tenth of matching.
    v_people := array(
        select known.person_id from private.person_keys as known
        where known.workspace_id = p_workspace_id and known.key = p_key
        limit 2
    );
    if v_people = '{}' then
        return null;
    elsif cardinality(v_people) = 1 and exists (
        select from private.person_keys as known
        where known.workspace_id = p_workspace_id
            and known.key = 'd:' || private.plain_digits(p_platform, p_identifier)
            and known.person_id = v_people[1]
    ) then
        v_match := (v_people[1], 'phone');
    else
        v_match := private.match_identifiers(
            p_workspace_id, p_platform, array[private.identify(p_platform, p_identifier)]
        );
    end if;
    return private.lock_person(v_match);
end
$$;
comment on function private.match_participant(uuid, text, text, text) is
'The person whom a participant matches by its identifier, which has the key p_key.';

-- Definer, because ingest may not read the keys of people.
create function private.match_participants(
    p_workspace_id uuid, p_platform text, p_identifiers text[], p_keys text[]
) returns private.person_match[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select case
            when known.is_shared then private.match_participant(p_workspace_id, p_platform, given.identifier, given.key)
        end
        from unnest(p_identifiers, p_keys) with ordinality as given (identifier, key, position)
        left join lateral (
            -- LIMIT 1 makes this one look-up for each key. EXISTS could become a hash of all keys of the workspace.
            select true as is_shared
            from private.person_keys as person
            where person.workspace_id = p_workspace_id and person.key = given.key
            limit 1
        ) as known on true
        order by given.position
    );
end
$$;
comment on function private.match_participants(uuid, text, text[], text[]) is
'The people whom participants match, by position: null for most, who share no key with a person.';

-- Definer, because ingest may not read the keys of people.
create function private.match_participant_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_match private.person_match;
begin
    new.participant_key := case
        when new.kind = 'direct' then private.participant_key(new.platform, new.participant_identifier)
    end;
    -- Ingest took the lock for all of its conversations (lock_source), or left them to the clean-up.
    if current_setting('threadline.matches_later', true) = 'on' or (
        current_setting('threadline.is_ingesting', true) is distinct from 'on'
        and not private.can_match(new.workspace_id)
    ) then
        insert into private.late_matches (conversation_id, workspace_id) values (new.id, new.workspace_id)
        on conflict do nothing;
        return new;
    end if;
    if tg_op = 'UPDATE' and new.kind = 'direct' then
        -- The earlier identifier stays one of the participant (record_earlier_identifier_trigger).
        v_match := private.lock_person(private.match_identifiers(
            new.workspace_id, new.platform,
            private.list_identifiers(new.id)
            || private.identify(new.platform, new.participant_identifier)
            || private.identify(old.platform, old.participant_identifier)
        ));
    else
        v_match := private.match_participant(
            new.workspace_id, new.platform, new.participant_identifier, new.participant_key
        );
    end if;
    new.person_id := v_match.person_id;
    new.matched_by := v_match.reason;
    return new;
end
$$;
comment on function private.match_participant_trigger() is
'Trigger: matches a conversation to a person. A group matches no person.';

-- Definer, because users who change people may not take this lock.
create function private.lock_matching_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Runs before any row is locked, so the workspace is not known yet. A user changes people of their workspaces only.
    perform private.lock_matching(array(select mine.id from private.my_workspaces as mine));
    return null;
end
$$;
comment on function private.lock_matching_trigger() is
'Trigger: takes the matching locks of the signed-in user''s workspaces before people change.';

-- Calls about people that a member can undo: two entries are one person, or a person got another number.
-- Promise: an undo restores the people and the matches as they would be without the call.

create table private.number_changes (
    id uuid primary key default gen_random_uuid(),
    person_id uuid not null references public.people (id) on delete cascade,
    old_phone text,
    new_phone text not null,
    identifier_id uuid,
    created_at timestamptz not null default clock_timestamp()
);
comment on table private.number_changes is 'Changes of numbers that can be undone.';
comment on column private.number_changes.identifier_id is
'The row of person_identifiers that the change added to keep the old number; null if it was there.';
create index number_changes_person_id_idx on private.number_changes (person_id, created_at);
alter table private.number_changes enable row level security;

-- Definer, because users may not merge people by themselves. The function checks that the caller is a member of the
-- workspace. It takes the
-- matching lock first.
create function private.lock_person(p_person_id uuid, p_field text) returns public.people
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people;
begin
    select * into v_person
    from public.people as person
    where person.id = p_person_id
        and (
            (select private.is_service())
            or exists (select from private.my_workspaces as mine where mine.id = person.workspace_id)
        );
    if v_person.id is not null then
        perform pg_advisory_xact_lock(private.matching_lock(v_person.workspace_id));
        select * into v_person from public.people as person where person.id = p_person_id for no key update;
    end if;
    if v_person.id is null then
        perform private.fail(
            404, 'person_not_found',
            format('This person does not exist or is not yours. Check %s.', p_field), p_field
        );
    end if;
    return v_person;
end
$$;
comment on function private.lock_person(uuid, text) is
'Locks a person of the caller and the matching of its workspace. PT404 if the person is not the caller''s.';

-- Definer, for the same reason.
create function private.merge_people(p_person_id uuid, p_merged_person_id uuid) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people := private.lock_person(p_person_id, 'person_id');
    v_merged public.people := private.lock_person(p_merged_person_id, 'merged_person_id');
begin
    if v_merged.workspace_id <> v_person.workspace_id then
        perform private.fail(
            404, 'person_not_found',
            'The two people belong to different workspaces. Check merged_person_id.', 'merged_person_id'
        );
    elsif private.find_merged_person(p_person_id) = private.find_merged_person(p_merged_person_id)
        or v_merged.merged_into_id is not null
    then
        perform private.fail(
            409, 'person_merged',
            'This person is merged already, or both are the same. Unmerge it first.', 'merged_person_id'
        );
    end if;
    update public.people as person
    set merged_into_id = p_person_id
    where person.id = p_merged_person_id;
    return jsonb_build_object('person_id', p_person_id, 'merged_person_id', p_merged_person_id);
end
$$;
comment on function private.merge_people(uuid, uuid) is
'Makes two people of the caller one for matching. PT404 if one is not the caller''s, PT409 if the second is merged
already.';

-- Definer, for the same reason.
create function private.unmerge_people(p_person_id uuid) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people := private.lock_person(p_person_id, 'person_id');
begin
    if v_person.merged_into_id is null then
        perform private.fail(409, 'person_not_merged', 'This person is not merged. Check person_id.', 'person_id');
    end if;
    update public.people as person set merged_into_id = null where person.id = p_person_id;
    return jsonb_build_object('person_id', v_person.merged_into_id, 'merged_person_id', p_person_id);
end
$$;
comment on function private.unmerge_people(uuid) is
'Undoes merge_people for the person that was merged into another. PT409 if it was not.';

-- Definer, for the same reason.
create function private.change_number(p_person_id uuid, p_phone text) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people := private.lock_person(p_person_id, 'person_id');
    v_identifier_id uuid;
begin
    if private.phone_text(p_phone) is null then
        perform private.fail(400, 'invalid_field', 'phone must be a phone number.', 'phone');
    end if;
    if private.phone_text(v_person.phone) is not null then
        insert into public.person_identifiers (workspace_id, person_id, kind, value)
        values (v_person.workspace_id, p_person_id, 'phone', v_person.phone)
        on conflict do nothing
        returning id into v_identifier_id;
    end if;
    update public.people as person set phone = p_phone where person.id = p_person_id;
    insert into private.number_changes (person_id, old_phone, new_phone, identifier_id)
    values (p_person_id, v_person.phone, p_phone, v_identifier_id);
    return jsonb_build_object('person_id', p_person_id, 'phone', p_phone, 'former_phone', v_person.phone);
end
$$;
comment on function private.change_number(uuid, text) is
'Gives a person of the caller another number. The old one stays as an identifier, so that both match.';

-- Definer, for the same reason.
create function private.undo_number_change(p_person_id uuid) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people := private.lock_person(p_person_id, 'person_id');
    v_change private.number_changes;
begin
    select * into v_change
    from private.number_changes as known
    where known.person_id = p_person_id
    order by known.created_at desc, known.id desc
    limit 1;
    if v_change.id is null or v_change.new_phone is distinct from v_person.phone then
        perform private.fail(
            409, 'number_not_changed',
            'There is no change of this number to undo, or the number was edited since. Check person_id.', 'person_id'
        );
    end if;
    delete from private.number_changes as known where known.id = v_change.id;
    delete from public.person_identifiers as own where own.id = v_change.identifier_id;
    update public.people as person set phone = v_change.old_phone where person.id = p_person_id;
    return jsonb_build_object('person_id', p_person_id, 'phone', v_change.old_phone);
end
$$;
comment on function private.undo_number_change(uuid) is
'Undoes the last change_number of a person. PT409 without such a change, or if the number was edited
since.';

create function public.merge_people(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.merge_people(
        private.parse_uuid($1, 'person_id'), private.parse_uuid($1, 'merged_person_id')
    ));
end
$$;
comment on function public.merge_people(jsonb) is
'Makes merged_person_id the same person as person_id: conversations of both match person_id. unmerge_people undoes it.';

create function public.unmerge_people(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.unmerge_people(private.parse_uuid($1, 'person_id')));
end
$$;
comment on function public.unmerge_people(jsonb) is
'Makes person_id, which was merged into another person, a person of its own again.';

create function public.change_number(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.change_number(
        private.parse_uuid($1, 'person_id'), private.parse_text($1, 'phone', 100)
    ));
end
$$;
comment on function public.change_number(jsonb) is
'Gives person_id the number phone and keeps the former one, so that conversations of both match. undo_number_change
undoes it.';

create function public.undo_number_change(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.undo_number_change(private.parse_uuid($1, 'person_id')));
end
$$;
comment on function public.undo_number_change(jsonb) is
'Undoes the last change_number of person_id.';

-- Keeps the keys of people up to date, and matches conversations again after people or identifiers change.
-- Promise: person_keys always agrees with people and person_identifiers.

create function private.refresh_person_keys(p_people uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_roots uuid[] := array(select distinct private.find_merged_person(given.id) from unnest(p_people) as given (id));
    v_keys private.person_key[];
begin
    -- Most changes of people change no key.
    if p_people = '{}' then
        return;
    end if;
    v_roots := v_roots || p_people;
    with removed as (
        delete from private.person_keys as old where old.person_id = any(v_roots)
        returning old.workspace_id, old.key
    )

    select array_agg(row(removed.workspace_id, removed.key)::private.person_key) into v_keys from removed;
    with added as (
        insert into private.person_keys (workspace_id, key, person_id, extension)
        select wanted.workspace_id, wanted.key, wanted.person_id, wanted.extension
        from private.list_person_keys(v_roots) as wanted
        returning person_keys.workspace_id, person_keys.key
    )

    select v_keys || array_agg(row(added.workspace_id, added.key)::private.person_key) into v_keys from added;
    perform private.rematch_conversations(v_keys);
end
$$;
comment on function private.refresh_person_keys(uuid[]) is
'Writes the keys of people anew, and matches the conversations again that have one of the old or new keys.';

-- Definer, because clients may change people but not their keys. Ingest holds the matching lock shared.
create function private.refresh_people_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        perform private.lock_matching(array(select changed.workspace_id from changed));
    end if;
    perform private.refresh_person_keys(array(
        select person.id
        from changed
        cross join unnest(array[changed.id, changed.merged_into_id]) as person (id)
        where person.id is not null
    ));
    return null;
end
$$;
comment on function private.refresh_people_trigger() is
'Trigger: finds conversations of people that were added, changed or deleted.';

-- Definer, because clients may change people but not their keys. Ingest holds the matching lock shared.
create function private.refresh_changed_people_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array(
        select person.id
        from changed as later
        inner join removed as earlier on later.id = earlier.id
        cross join unnest(array[later.id, later.merged_into_id, earlier.merged_into_id]) as person (id)
        where (later.workspace_id, later.phone, later.merged_into_id)
            is distinct from (earlier.workspace_id, earlier.phone, earlier.merged_into_id)
            and person.id is not null
    );
begin
    perform private.lock_matching(array(select changed.workspace_id from changed));
    perform private.refresh_person_keys(v_ids);
    return null;
end
$$;
comment on function private.refresh_changed_people_trigger() is
'Trigger: the same for people with another number, another workspace, or another person into which they were merged.';

-- Definer, for the same reason.
create function private.refresh_identifiers_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op <> 'DELETE' then
        perform private.lock_matching(array(select changed.workspace_id from changed));
    end if;
    perform private.refresh_person_keys(array(select distinct changed.person_id from changed));
    return null;
end
$$;
comment on function private.refresh_identifiers_trigger() is
'Trigger: finds conversations of people who got or lost an identifier.';

-- Definer, because who changes a setting or a workspace may not change keys.
create function private.reread_numbers_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    -- The one row of settings has no id.
    v_workspace_id uuid := (to_jsonb(new) ->> 'id')::uuid;
begin
    if v_workspace_id is not null then
        perform pg_advisory_xact_lock(private.matching_lock(v_workspace_id));
    end if;
    perform private.refresh_person_keys(array(
        select person.id
        from public.people as person
        where v_workspace_id is null or person.workspace_id = v_workspace_id
        order by person.id
    ));
    return null;
end
$$;
comment on function private.reread_numbers_trigger() is
'Trigger: reads the numbers of people again after the default country or the home country of their workspace has
changed.';

-- Definer, because ingest may not read the keys of people.
create function private.rematch_identified_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if current_setting('threadline.matches_later', true) = 'on' then
        insert into private.late_matches (conversation_id, workspace_id)
        select distinct changed.conversation_id, changed.workspace_id from changed where changed.key is not null
        on conflict do nothing;
    else
        perform private.update_matches(array(
            select distinct changed.conversation_id from changed where changed.key is not null
        ));
    end if;
    return null;
end
$$;
comment on function private.rematch_identified_trigger() is
'Trigger: matches conversations again whose participant got an identifier.';

create function private.update_matches(p_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from public.conversations as conversation
    where conversation.id = any(p_ids)
    order by conversation.id
    for no key update;

    update public.conversations as conversation
    set person_id = matched.person_id, matched_by = matched.reason
    from (
        select known.id, (private.match_conversation(known)).*
        from public.conversations as known
        where known.id = any(p_ids)
        -- OFFSET 0 calls the function once for each row.
        offset 0
    ) as matched
    where conversation.id = matched.id
        and (conversation.person_id, conversation.matched_by) is distinct from (matched.person_id, matched.reason);
end
$$;
comment on function private.update_matches(uuid[]) is 'Locks conversations in the order of ids and matches them again.';

-- Definer, because ingest may not read the keys of people.
create function private.match_group_participants(p_ids uuid[], p_keys text[]) returns uuid[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_changed uuid[];
begin
    with found as (
        select
            known.conversation_id, known.identifier, private.match_identifiers(
                known.workspace_id, conversation.platform,
                private.identify(conversation.platform, known.identifier)
                || private.list_given_identifiers(known.identifiers)
            ) as match
        from private.group_participants as known
        inner join public.conversations as conversation on known.conversation_id = conversation.id
        where (p_ids is null or known.conversation_id = any(p_ids)) and (p_keys is null or known.keys && p_keys)
        -- OFFSET 0 calls the function once for each row.
        offset 0
    ), matched as (
        update private.group_participants as known
        set person_id = (found.match).person_id, matched_by = (found.match).reason
        from found
        where known.conversation_id = found.conversation_id and known.identifier = found.identifier
            and (known.person_id, known.matched_by)
            is distinct from ((found.match).person_id, (found.match).reason)
        returning known.conversation_id
    )

    select array_agg(distinct matched.conversation_id) into v_changed from matched;
    return coalesce(v_changed, '{}');
end
$$;
comment on function private.match_group_participants(uuid[], text[]) is
'Matches participants of these groups, or those with one of these keys, to people. Returns the groups in which one
changed.';

create function private.rematch_conversations(p_keys private.person_key[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.update_matches(array(
        select found.id
        from (select distinct given.workspace_id, given.key from unnest(p_keys) as given) as changed
        cross join lateral (
            -- OFFSET 0 makes one look-up in the index for each key, even if the statistics are old.
            select conversation.id from public.conversations as conversation
            where conversation.workspace_id = changed.workspace_id and conversation.participant_key = changed.key
            offset 0
        ) as found
        union
        select found.conversation_id
        from (select distinct given.workspace_id, given.key from unnest(p_keys) as given) as changed
        cross join lateral (
            select known.conversation_id from public.conversation_identifiers as known
            where known.workspace_id = changed.workspace_id and known.key = changed.key
            offset 0
        ) as found
    ));
    perform private.match_group_participants(null, array(
        select distinct given.key from unnest(p_keys) as given where given.key is not null
    ));
end
$$;
comment on function private.rematch_conversations(private.person_key[]) is
'Matches conversations again whose participants have one of these keys.';

create function private.match_late_conversations(p_limit integer) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid;
    v_ids uuid[];
    v_count bigint := 0;
begin
    for v_workspace_id in
        select distinct late.workspace_id from private.late_matches as late order by late.workspace_id limit p_limit
    loop
        -- Does not wait: a later round does the workspaces whose people are changing now.
        continue when not pg_try_advisory_xact_lock_shared(private.matching_lock(v_workspace_id));
        v_ids := array(
            select conversation.id
            from private.late_matches as late
            inner join public.conversations as conversation on late.conversation_id = conversation.id
            where late.workspace_id = v_workspace_id
            order by conversation.id
            limit p_limit - v_count
            for no key update of conversation skip locked
        );
        perform private.update_matches(v_ids);
        delete from private.late_matches as late
        where late.workspace_id = v_workspace_id and (
            late.conversation_id = any(v_ids)
            or not exists (
                select from public.conversations as conversation where conversation.id = late.conversation_id
            )
        );
        v_count := v_count + cardinality(v_ids);
        exit when v_count >= p_limit;
    end loop;
    return v_count;
end
$$;
comment on function private.match_late_conversations(integer) is
'Matches conversations that ingest stored without matching, at most p_limit, and returns their number.';

-- Broadcasts to the owner's inbox, and to the team, when conversations change.
-- Promise: each change of a conversation is sent, and one ingest request sends each conversation once.
-- New and changed messages are sent by their statements. Ingest sends the conversations that it changed and that got no
-- messages. Other changes, such as a person who matches later, are sent when their transaction commits.

create table private.workspace_seals (
    workspace_id uuid primary key references public.workspaces (id) on delete cascade,
    sealed_until timestamptz not null
);
comment on table private.workspace_seals is
'Until when a member who left a workspace may still listen to its topic, which carries pointers for so long (decision
0014).';
alter table private.workspace_seals enable row level security;

create function private.conversation_topics(p_conversation public.conversations) returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A personal workspace has the id of its user, whom the inbox reaches already.
    return 'inbox:' || p_conversation.user_id || case
        when p_conversation.workspace_id <> p_conversation.user_id
            then array['workspace:' || p_conversation.workspace_id]
        else '{}'::text[]
    end;
end
$$;
comment on function private.conversation_topics(public.conversations) is
'The topics that get the changes of a conversation: the inbox of its owner, and the workspace if that is a team.';

create function private.render_conversation(p_conversation public.conversations, p_added bigint, p_messages jsonb)
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_messages is null then
        return jsonb_build_object(
            'conversation', to_jsonb(p_conversation), 'messages_added', p_added, 'messages', '[]'::jsonb,
            'truncated', true
        );
    end if;
    return jsonb_build_object(
        'conversation', to_jsonb(p_conversation), 'messages_added', p_added, 'messages', p_messages
    );
end
$$;
comment on function private.render_conversation(public.conversations, bigint, jsonb) is
'What an inbox gets: the record as the Data API shows it, how many messages came, and the messages unless they are
null, which is too many to send.';

create function private.seal_payload(p_topic text, p_payload jsonb) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if starts_with(p_topic, 'workspace:') and exists (
        select from private.workspace_seals as seal
        where seal.workspace_id = split_part(p_topic, ':', 2)::uuid and seal.sealed_until > clock_timestamp()
    ) then
        return jsonb_build_object('conversation_id', p_payload #> '{conversation,id}', 'truncated', true);
    end if;
    return p_payload;
end
$$;
comment on function private.seal_payload(text, jsonb) is
'The payload for a topic: for the topic of a sealed workspace a pointer without text.';

-- Definer, because members who leave may not write seals, and it also runs when Supabase Auth deletes a user.
create function private.seal_workspace_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.workspace_seals as seal (workspace_id, sealed_until)
    select workspace.id, clock_timestamp() + make_interval(secs => settings.token_seconds)
    from public.workspaces as workspace
    cross join private.settings as settings
    where workspace.id = old.workspace_id
    on conflict on constraint workspace_seals_pkey do update set sealed_until = excluded.sealed_until;
    return null;
end
$$;
comment on function private.seal_workspace_trigger() is
'Seals the topic of a workspace after a member left, because Realtime does not ask again before the token of that member
expires (decision 0014).';

-- Definer, because only the database sends to inboxes. Times are written in UTC, as the Data API does.
create function private.broadcast_ingested_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
    v_ids uuid[];
    v_added bigint[];
    v_messages jsonb[];
begin
    select array_agg(counted.conversation_id), array_agg(counted.added)
    into v_ids, v_added
    from (
        select changed.conversation_id, count(*) as added from changed group by changed.conversation_id
    ) as counted;
    -- Sorting and joining the messages takes as long as the rest, so it is left out when there are too many to send.
    if (select settings.broadcast_max_messages from private.settings) >= any(v_added) then
        select array_agg(listed.conversation_id), array_agg(listed.added), array_agg(listed.messages)
        into v_ids, v_added, v_messages
        from (
            select
                changed.conversation_id,
                count(*) as added,
                jsonb_agg(
                    changed.message
                    order by changed.sent_at, changed.sequence, changed.received_at, changed.external_id
                ) as messages
            from changed
            group by changed.conversation_id
        ) as listed;
    end if;
    insert into realtime.messages (topic, extension, event, payload, private)
    select topic.name, 'broadcast', rendered.event, private.seal_payload(topic.name, rendered.payload), true
    from (
        select
            found.conversation,
            -- Both are the time of this transaction for a conversation that it has made.
            case
                when (found.conversation).created_at = now() then 'conversation.created'
                else 'conversation.updated'
            end as event,
            private.render_conversation(found.conversation, counted.added, case
                when counted.added <= (select settings.broadcast_max_messages from private.settings)
                    and octet_length(counted.messages::text)
                    <= (select settings.broadcast_max_bytes from private.settings)
                    then counted.messages
            end) as payload
        from unnest(v_ids, v_added, v_messages) as counted (conversation_id, added, messages)
        cross join lateral (
            -- LIMIT 1 makes this one look-up by the key, even if the statistics are old.
            select conversation from public.conversations as conversation
            where conversation.id = counted.conversation_id
            limit 1
        ) as found
        -- Renders once, and not for each topic.
        offset 0
    ) as rendered
    cross join lateral unnest(private.conversation_topics(rendered.conversation)) as topic (name);
    return null;
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
        return null;
end
$$;
comment on function private.broadcast_ingested_messages_trigger() is
'Trigger: tells owners and teams of new messages, once for each conversation and statement.';

-- Definer, because only the database sends to inboxes. Times are written in UTC, as the Data API does. It is apart from
-- the function for new messages, whose statement has no parameter and so keeps its plan.
create function private.broadcast_updated_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    insert into realtime.messages (topic, extension, event, payload, private)
    select
        topic.name,
        'broadcast',
        'conversation.updated',
        private.seal_payload(topic.name, private.render_conversation(conversation, 0, case
            when counted.messages <= settings.broadcast_max_messages
                and octet_length(counted.lines::text) <= settings.broadcast_max_bytes then counted.lines
        end)),
        true
    from (
        select
            changed.conversation_id,
            count(*) as messages,
            jsonb_agg(
                changed.message
                order by changed.sent_at, changed.sequence, changed.received_at, changed.external_id
            ) as lines
        from changed
        group by changed.conversation_id
    ) as counted
    cross join private.settings as settings
    inner join public.conversations as conversation on counted.conversation_id = conversation.id
    cross join lateral unnest(private.conversation_topics(conversation)) as topic (name)
    order by conversation.id;
    return null;
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
        return null;
end
$$;
comment on function private.broadcast_updated_messages_trigger() is
'Trigger: tells owners of messages that updates changed, once for each conversation and statement.';

-- Definer, because only the database sends to inboxes.
create function private.broadcast_conversations(p_ids uuid[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
    update public.conversations as conversation
    set version = conversation.version + 1
    where conversation.id = any(p_ids) and conversation.created_at <> now();
    perform private.note_conversations(p_ids);
    perform private.send_conversations(p_ids);
end
$$;
comment on function private.broadcast_conversations(uuid[]) is
'Broadcasts new or changed conversations that got no messages, with their next version.';

create function private.send_conversations(p_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
begin
    insert into realtime.messages (topic, extension, event, payload, private)
    select
        listener.topic,
        'broadcast',
        case when conversation.created_at = now() then 'conversation.created' else 'conversation.updated' end,
        private.seal_payload(listener.topic, private.render_conversation(conversation, 0, '[]')),
        true
    from public.conversations as conversation
    cross join unnest(private.conversation_topics(conversation)) as listener (topic)
    where conversation.id = any(p_ids)
    order by conversation.id;
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
end
$$;
comment on function private.send_conversations(uuid[]) is
'Hands conversations to Realtime. A failure is only a warning, so that no writer fails.';

-- Definer, because the writer may be allowed to change a conversation that only its owner may read.
create function private.broadcast_conversation_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A later change of the same transaction sends the conversation itself, and so do the messages of a new one.
    if exists (
        select from public.conversations as conversation
        where conversation.id = new.id
            and (conversation.participant_identifier, conversation.participant_name, conversation.person_id)
            is not distinct from (new.participant_identifier, new.participant_name, new.person_id)
            and (tg_op = 'UPDATE' or conversation.message_count = 0)
    ) then
        perform private.broadcast_conversations(array[new.id]);
    end if;
    return null;
end
$$;
comment on function private.broadcast_conversation_trigger() is
'Trigger: broadcasts a conversation that is new without messages, or that has another participant or person.';

-- Definer, because a writer of people may have no right to change conversations.
create function private.broadcast_group_participants_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array(
        select distinct changed.conversation_id
        from changed
        inner join gone using (conversation_id, identifier)
        where (changed.person_id, changed.matched_by) is distinct from (gone.person_id, gone.matched_by)
    );
begin
    -- Ingest broadcasts its changes itself.
    if v_ids <> '{}' and current_setting('threadline.is_ingesting', true) is distinct from 'on' then
        perform private.broadcast_conversations(v_ids);
    end if;
    return null;
end
$$;
comment on function private.broadcast_group_participants_trigger() is
'Trigger: broadcasts groups in which a participant is now matched to another person.';

-- How far each user has read each conversation, and how much is unread. All devices share it.
-- Promise: a read marker only moves forward. Ingest writes nothing here: reading an inbox counts.

create table public.conversation_reads (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    user_id uuid not null,
    workspace_id uuid not null,
    read_at timestamptz not null,
    primary key (conversation_id, user_id),
    constraint conversation_reads_member_fkey foreign key (workspace_id, user_id)
    references public.workspace_members (workspace_id, user_id) on update cascade on delete cascade
);
comment on table public.conversation_reads is
'The read marker of each member of a workspace in its conversations. mark_conversation_read moves it.';
comment on column public.conversation_reads.read_at is
'The user has read the messages that were sent until this time.';
create index conversation_reads_workspace_id_user_id_idx on public.conversation_reads (workspace_id, user_id);
alter table public.conversation_reads enable row level security;

-- Definer, because no client writes markers. It marks only conversations of the caller's workspaces.
create function private.mark_conversation_read(p_conversation_id uuid, p_at timestamptz) returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_read_at timestamptz;
begin
    insert into public.conversation_reads as mine (conversation_id, user_id, workspace_id, read_at)
    select
        conversation.id,
        auth.uid(),
        conversation.workspace_id,
        -- Answers have milliseconds, so a time of an answer means all of its millisecond.
        least(p_at + interval '999 us', coalesce(conversation.last_message_at, 'epoch'))
    from public.conversations as conversation
    where conversation.id = p_conversation_id
        and exists (select from private.my_workspaces as workspace where workspace.id = conversation.workspace_id)
    on conflict (conversation_id, user_id) do update set read_at = greatest(mine.read_at, excluded.read_at)
    returning mine.read_at into v_read_at;
    return v_read_at;
end
$$;
comment on function private.mark_conversation_read(uuid, timestamptz) is
'Moves the read marker of the caller forward, at most to the last message, and returns it; null for non-members.';

create function public.mark_conversation_read(conversation_id uuid, at timestamptz default 'infinity') returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_read_at timestamptz := private.mark_conversation_read(
        mark_conversation_read.conversation_id, coalesce(mark_conversation_read.at, 'infinity')
    );
begin
    if v_read_at is null then
        perform private.fail(
            404, 'conversation_not_found', 'This conversation does not exist, or you may not see it.', 'conversation_id'
        );
    end if;
    return json_build_object(
        'conversation_id', mark_conversation_read.conversation_id, 'read_at', private.format_time(v_read_at)
    );
end
$$;
comment on function public.mark_conversation_read(uuid, timestamptz) is
'Moves the read marker of the caller in a conversation to the messages sent until at, by default to the last. It never
moves back. Returns conversation_id and read_at.';

create function public.unread_count(public.conversations) returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(*)::integer
        from (
            select message.message ->> 'direction' = 'inbound' and message.deleted_at is null as is_unread
            from public.conversation_messages as message
            where message.conversation_id = $1.id
                and message.sent_at > greatest(
                    (
                        select mine.read_at
                        from public.conversation_reads as mine
                        where mine.conversation_id = $1.id and mine.user_id = (select auth.uid())
                    ),
                    (
                        select member.created_at
                        from public.workspace_members as member
                        where member.workspace_id = $1.workspace_id and member.user_id = (select auth.uid())
                    )
                )
            order by message.sent_at desc
            limit 100
        ) as newest
        where newest.is_unread
    );
end
$$;
comment on function public.unread_count(public.conversations) is
'Computed field: how many of the newest 100 messages are inbound and not read by the caller. What was sent before the
caller joined the workspace counts as read.';

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

-- Ingest: the participants of groups and their people.
-- Promise: the result does not depend on the order in which requests arrive. A message proves that its sender was in
-- the group.

create function private.list_group_changes(
    p_conversations jsonb, p_messages private.ingest_message[], p_ids uuid[]
) returns table (
    conversation_id uuid, identifier text, name text, named_at timestamptz, identifiers jsonb, has_left boolean,
    at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with said as (
        select
            p_ids[parent.position] as conversation_id, one.value ->> 'identifier' as identifier,
            nullif(btrim(one.value ->> 'name'), '') as name,
            case jsonb_typeof(one.value -> 'identifiers') when 'array' then one.value -> 'identifiers' else '[]' end
                as identifiers,
            coalesce(one.value -> 'state' = '"left"', false) as has_left,
            coalesce(private.parse_timestamp(one.value ->> 'at'), '-infinity') as at
        from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
        cross join lateral jsonb_array_elements(case jsonb_typeof(parent.value -> 'participants')
            when 'array' then parent.value -> 'participants' else '[]'
        end) as one (value)
        where p_ids[parent.position] is not null
        union all
        select p_ids[given.parent], given.sender, null, '[]', false, given.sent_at
        from unnest(p_messages) as given
        where p_ids[given.parent] is not null and given.sender <> '' and given.stated_at is null
            and given.message -> 'direction' = '"inbound"'
    )

    select
        said.conversation_id, said.identifier,
        (array_agg(said.name order by said.at desc, said.name desc) filter (where said.name is not null))[1],
        coalesce(max(said.at) filter (where said.name is not null), '-infinity'),
        coalesce((
            select jsonb_agg(distinct extra.value)
            from jsonb_array_elements(jsonb_path_query_array(jsonb_agg(said.identifiers), '$[*][*]')) as extra (value)
        ), '[]'),
        (array_agg(said.has_left order by said.at desc, said.has_left desc))[1],
        max(said.at)
    from said
    group by said.conversation_id, said.identifier
    order by said.conversation_id, said.identifier collate "C";
end
$$;
comment on function private.list_group_changes(jsonb, private.ingest_message[], uuid[]) is
'What a request says about participants of groups: its participants, and the senders of its inbound messages.';

create function private.list_group_keys(p_platform text, p_identifier text, p_identifiers jsonb) returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select distinct named.key
        from (
            select private.participant_key(p_platform, p_identifier) as key
            union all
            select private.identifier_key(extra.kind, extra.value, extra.app)
            from unnest(private.list_given_identifiers(p_identifiers)) as extra
        ) as named
        where named.key is not null
        order by named.key
    );
end
$$;
comment on function private.list_group_keys(text, text, jsonb) is
'The keys under which people are found for a participant of a group.';

create function private.join_identifiers(p_one jsonb, p_other jsonb) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(jsonb_agg(distinct extra.value), '[]')
        from jsonb_array_elements(p_one || p_other) as extra (value)
    );
end
$$;
comment on function private.join_identifiers(jsonb, jsonb) is
'The union of two arrays of identifiers, in a fixed order.';

-- Definer, because no role writes the table.
create function private.record_group_participants(
    p_conversations jsonb, p_messages private.ingest_message[], p_ids uuid[]
) returns uuid[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_changed uuid[];
begin
    with recorded as (
        insert into private.group_participants as known (
            conversation_id, workspace_id, identifier, name, named_at, identifiers, has_left, at, keys
        )
        select
            given.conversation_id, conversation.workspace_id, given.identifier, given.name, given.named_at,
            given.identifiers, given.has_left, given.at,
            private.list_group_keys(conversation.platform, given.identifier, given.identifiers)
        from private.list_group_changes(p_conversations, p_messages, p_ids) as given
        inner join public.conversations as conversation on given.conversation_id = conversation.id
        on conflict (conversation_id, identifier) do update
        set
            name = case
                when (excluded.named_at, excluded.name) > (known.named_at, coalesce(known.name, '')) then excluded.name
                else known.name
            end,
            named_at = greatest(known.named_at, excluded.named_at),
            identifiers = private.join_identifiers(known.identifiers, excluded.identifiers),
            keys = array(select distinct one.key from unnest(known.keys || excluded.keys) as one (key) order by 1),
            has_left = case
                when (excluded.at, excluded.has_left) > (known.at, known.has_left) then excluded.has_left
                else known.has_left
            end,
            at = greatest(known.at, excluded.at)
        where (excluded.named_at, coalesce(excluded.name, '')) > (known.named_at, coalesce(known.name, ''))
            or (excluded.at, excluded.has_left) > (known.at, known.has_left)
            or not excluded.identifiers <@ known.identifiers
        returning known.conversation_id
    )

    select array_agg(distinct recorded.conversation_id) into v_changed from recorded;
    return coalesce(v_changed, '{}') || private.match_group_participants(v_changed, null);
end
$$;
comment on function private.record_group_participants(jsonb, private.ingest_message[], uuid[]) is
'Stores what a request says about participants of groups, and matches them to people. Returns the groups that changed.
The caller has locked the conversations.';

create function private.record_given_identifiers(
    p_platform text, p_conversations private.ingest_conversation[], p_ids uuid[], p_is_all_new boolean
) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
    v_identifiers private.identifier[];
begin
    -- New conversations say all that the request says, unless it names one twice or has the field identifiers.
    if p_is_all_new and (
        select count(distinct given.external_id collate "C") = count(*) and bool_and(given.identifiers = '{}')
        from unnest(p_conversations) as given
    ) then
        return '{}'::uuid[];
    end if;
    -- Most requests say nothing that the conversation does not say itself.
    select array_agg(given.id), array_agg(given.identifier)
    into v_ids, v_identifiers
    from (
        select existing.id, private.identify_any(p_platform, line.identifier) as identifier
        from unnest(p_conversations) as line
        inner join public.conversations as existing on p_ids[line.position] = existing.id
        -- Else a plan for few conversations reads the whole index.
        where existing.id = any(p_ids) and line.identifier <> existing.participant_identifier
        union all
        select p_ids[line.position], extra::private.identifier
        from unnest(p_conversations) as line
        cross join unnest(line.identifiers) as extra
        where p_ids[line.position] is not null
    ) as given;
    if v_ids is null then
        return '{}'::uuid[];
    end if;
    return private.record_identifiers(v_ids, v_identifiers);
end
$$;
comment on function private.record_given_identifiers(text, private.ingest_conversation[], uuid[], boolean) is
'Keeps what a request says about participants and their conversations do not show. Returns the changed conversations.
The caller has locked the rows.';

-- Ingest, third part: what happened to messages after they were sent.
-- Promise: an update counts once, in any order, also before its message has come.

create function private.parse_update_value(p_type text, p_update jsonb) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case p_type
        when 'edited' then jsonb_build_object('content', p_update -> 'content') || case
            when p_update ->> 'media_url' is null then '{}'
            else jsonb_build_object('media_url', p_update -> 'media_url')
        end
        when 'media' then jsonb_build_object('media_url', p_update -> 'media_url')
        when 'reaction' then jsonb_build_object('emoji', case jsonb_typeof(p_update -> 'emoji')
            when 'array' then p_update -> 'emoji'
            when 'string' then case
                when p_update ->> 'emoji' = '' then '[]' else jsonb_build_array(p_update -> 'emoji')
            end
            else '[]'
        end)
        when 'pinned' then '{"pinned": true}'
        when 'unpinned' then '{"pinned": false}'
        when 'failed' then case
            when p_update ->> 'reason' is null then '{}' else jsonb_build_object('reason', p_update -> 'reason')
        end
        else '{}'
    end;
end
$$;
comment on function private.parse_update_value(text, jsonb) is 'What an update of a type sets, in one form.';

create function private.find_update_error(p_update jsonb, p_at timestamptz) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_type text := case jsonb_typeof(p_update -> 'type') when 'string' then p_update ->> 'type' end;
    v_emoji text := jsonb_typeof(p_update -> 'emoji');
begin
    return case
        when jsonb_typeof(p_update) <> 'object' then ' must be an object'
        when coalesce(jsonb_typeof(p_update -> 'message_id'), '') <> 'string'
            or char_length(p_update ->> 'message_id') not between 1 and 500
            then '.message_id must be a string of 1 to 500 characters'
        when coalesce(v_type, '') not in (
            'edited', 'deleted', 'reaction', 'delivered', 'read', 'played', 'failed', 'media', 'pinned', 'unpinned'
        ) then '.type must be edited, deleted, reaction, delivered, read, played, failed, media, pinned or unpinned'
        when p_at is null then '.at must be an ISO 8601 timestamp'
        when coalesce(jsonb_typeof(p_update -> 'by'), 'null') not in ('string', 'null')
            or char_length(p_update ->> 'by') > 500
            then '.by must be a string of at most 500 characters'
        when v_type = 'edited' and coalesce(jsonb_typeof(p_update -> 'content'), '') <> 'string'
            then '.content must be a string'
        when v_type = 'edited' and coalesce(jsonb_typeof(p_update -> 'media_url'), 'null') not in ('string', 'null')
            then '.media_url must be a string or null'
        when v_type = 'media' and (
            coalesce(jsonb_typeof(p_update -> 'media_url'), '') <> 'string' or p_update ->> 'media_url' = ''
        ) then '.media_url must be a string'
        when v_type = 'reaction' and not coalesce(case v_emoji
            when 'string' then char_length(p_update ->> 'emoji') <= 100
            when 'null' then true
            when 'array' then jsonb_array_length(p_update -> 'emoji') <= 20 and not exists (
                select from jsonb_array_elements(p_update -> 'emoji') as emoji
                where jsonb_typeof(emoji.value) <> 'string' or char_length(emoji.value #>> '{}') not between 1 and 100
            )
        end, false) then '.emoji must be null, a string of at most 100 characters or an array of at most 20 of them'
        when v_type = 'failed' and (
            coalesce(jsonb_typeof(p_update -> 'reason'), 'null') not in ('string', 'null')
            or char_length(p_update ->> 'reason') > 1000
        ) then '.reason must be a string of at most 1000 characters'
    end;
end
$$;
comment on function private.find_update_error(jsonb, timestamptz) is
'What is wrong with an update, as it continues "updates[0]"; null if it is right.';

create function private.parse_updates(p_conversations jsonb) returns private.ingest_update[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select line::private.ingest_update
        from (
            select
                parsed.parent, parsed.index,
                case jsonb_typeof(parsed.value -> 'message_id')
                    when 'string' then parsed.value ->> 'message_id'
                end as external_id,
                parsed.sender,
                case
                    when parsed.value -> 'type' = '"unpinned"' then 'pinned'
                    when jsonb_typeof(parsed.value -> 'type') = 'string' then parsed.value ->> 'type'
                end as type,
                coalesce(case jsonb_typeof(parsed.value -> 'by') when 'string' then parsed.value ->> 'by' end, '')
                    as actor,
                parsed.at,
                case when parsed.value ? 'sequence' then private.parse_sequence(parsed.value) else 0 end as sequence,
                case
                    when private.find_update_error(parsed.value, parsed.at) is null
                        then private.parse_update_value(parsed.value ->> 'type', parsed.value)
                end as value,
                coalesce(
                    private.find_update_error(parsed.value, parsed.at),
                    case
                        when parsed.sender is null or char_length(parsed.sender) > 500
                            then '.sender must be a string of at most 500 characters'
                    end
                ) as error
            from (
                select
                    parent.position::integer as parent,
                    given.position::integer - 1 as index,
                    given.value,
                    case
                        when parent.value -> 'kind' = '"group"' then private.parse_sender(given.value) else ''
                    end as sender,
                    case jsonb_typeof(given.value -> 'at')
                        when 'string' then private.parse_timestamp(given.value ->> 'at')
                    end as at
                from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
                cross join lateral jsonb_array_elements(case jsonb_typeof(parent.value -> 'updates')
                    when 'array' then parent.value -> 'updates' else '[]'
                end) with ordinality as given (value, position)
                offset 0
            ) as parsed
            order by parsed.parent, parsed.index
        ) as line
    );
end
$$;
comment on function private.parse_updates(jsonb) is
'The updates of a request in its order, each with its first error.';

create function private.validate_updates(
    p_conversations private.ingest_conversation[], p_updates private.ingest_update[]
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
                given.position, given.external_id, given.identifier, given.name, given.identifiers, given.newest_at,
                given.is_group, given.has_future, given.has_updates, given.message_count, given.last_message,
                coalesce(given.error, (
                    select 'updates[' || change.index || ']' || change.error
                    from unnest(p_updates) as change
                    where change.parent = given.position and change.error is not null
                    order by change.index
                    limit 1
                )) as error
            from unnest(p_conversations) as given
            order by given.position
        ) as conversation
    );
end
$$;
comment on function private.validate_updates(private.ingest_conversation[], private.ingest_update[]) is
'The same conversations with the first error of their updates. Apart from validate_conversations, which keeps its plan
because it never sees the arrays of updates, mostly empty.';

create function private.is_same_sender(p_one text, p_other text) returns boolean
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_one = p_other or '' in (p_one, p_other);
end
$$;
comment on function private.is_same_sender(text, text) is
'Whether two senders may be the same. An update of some platforms does not name the sender of its message: an empty one
fits all.';

-- Definer, because the backend may not change what was said.
create function private.record_updates(p_updates private.ingest_update[], p_ids uuid[]) returns private.ingest_count[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_counts private.ingest_count[];
begin
    with given as (
        select distinct on (p_ids[line.parent], line.external_id, line.sender, line.type, line.actor, named.version)
            line.parent, p_ids[line.parent] as conversation_id, line.external_id, line.sender, line.type, line.actor,
            named.version, line.at, line.sequence, line.value
        from unnest(p_updates) as line
        cross join lateral (
            select case when line.type <> 'edited' then '' else encode(sha256(convert_to(
                concat_ws(' ', extract(epoch from line.at), line.sequence, line.value::text), 'UTF8'
            )), 'hex') end as version
        ) as named
        where p_ids[line.parent] is not null
        order by
            p_ids[line.parent], line.external_id, line.sender, line.type, line.actor, named.version,
            line.at desc, line.sequence desc, line.value::text collate "C" desc
    ), recorded as (
        insert into public.conversation_updates as known (
            conversation_id, external_id, sender, type, actor, version, at, sequence, value
        )
        select
            given.conversation_id, given.external_id, given.sender, given.type, given.actor, given.version,
            given.at, given.sequence, given.value
        from given
        -- A deleted message keeps no texts and no files.
        where given.type not in ('edited', 'media', 'reaction', 'failed') or not exists (
            select from public.conversation_updates as deletion
            where (deletion.conversation_id, deletion.external_id, deletion.type)
                = (given.conversation_id, given.external_id, 'deleted')
                and private.is_same_sender(deletion.sender, given.sender)
        )
        order by given.conversation_id, given.external_id, given.sender, given.type, given.actor, given.version
        on conflict (conversation_id, external_id, sender, type, actor, version) do update
        set at = excluded.at, sequence = excluded.sequence, value = excluded.value, received_at = now()
        where (excluded.at, excluded.sequence, excluded.value::text collate "C")
            > (known.at, known.sequence, known.value::text collate "C")
        returning known.conversation_id, known.external_id, known.sender, known.type, known.actor, known.version
    ), counted as (
        select given.parent, null::integer as added, null::json as conflicts,
            count(recorded.type)::integer as updates_added, null::integer as updates_waiting
        from given
        left join recorded using (conversation_id, external_id, sender, type, actor, version)
        group by given.parent
    )

    select array_agg(counted::private.ingest_count) into v_counts from counted;
    perform private.delete_erased_texts(p_updates, p_ids);
    return coalesce(v_counts, '{}');
end
$$;
comment on function private.record_updates(private.ingest_update[], uuid[]) is
'Keeps the updates that are newer than what is known, and returns how many those are in each conversation. The caller
has locked the conversations.';

-- Definer, because the backend may not change what was said.
create function private.delete_erased_texts(p_updates private.ingest_update[], p_ids uuid[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from public.conversation_updates as known
    using unnest(p_updates) as given
    where given.type = 'deleted'
        and known.conversation_id = p_ids[given.parent]
        and known.external_id = given.external_id
        and private.is_same_sender(known.sender, given.sender)
        and known.type in ('edited', 'media', 'reaction', 'failed');
    -- No user reads the file from now on, and the sweep removes it from Storage.
    delete from private.conversation_media as known
    using unnest(p_updates) as given
    where given.type = 'deleted'
        and known.conversation_id = p_ids[given.parent]
        and known.external_id = given.external_id
        and given.sender in ('', known.sender);
end
$$;
comment on function private.delete_erased_texts(private.ingest_update[], uuid[]) is
'Deletes the edits, reactions, failures and files of messages that a request deletes.';

create function private.list_updates(p_conversation_id uuid, p_external_id text, p_sender text)
returns public.conversation_updates[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select distinct on ((line.known).type, (line.known).actor, (line.known).version) line.known
        from (
            select known
            from public.conversation_updates as known
            where known.conversation_id = p_conversation_id
                and known.external_id = p_external_id collate "C"
                and known.sender = any(array['', p_sender] collate "C")
            order by known.conversation_id, known.external_id, known.sender, known.type, known.actor, known.version
            -- A limit leaves the planner only the key, even if the statistics are old. No message has so many updates.
            limit 1000000
        ) as line
        order by
            (line.known).type, (line.known).actor, (line.known).version,
            (line.known).at desc, (line.known).sequence desc, (line.known).value::text collate "C" desc
    );
end
$$;
comment on function private.list_updates(uuid, text, text) is
'All updates of a message: those with its sender, and those without a sender.';

create function private.has_updates(p_ids uuid[]) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select
        from unnest(p_ids) as given (id)
        cross join lateral (
            select from public.conversation_updates as known
            where known.conversation_id = given.id
            order by known.conversation_id
            -- LIMIT 1 makes this one look-up by the key, even if the statistics are old.
            limit 1
        ) as known
    );
end
$$;
comment on function private.has_updates(uuid[]) is 'Whether a message of these conversations has updates.';

create function private.apply_known_updates(p_messages private.ingest_message[], p_ids uuid[])
returns private.ingest_message[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select applied::private.ingest_message
        from (
            select
                given.parent, given.index, given.external_id, given.sender, given.sent_at, given.stated_at,
                given.sequence, given.message,
                case
                    when known.updates <> '{}' then private.render_present_message(given.message, known.updates)
                end as present,
                (select max(line.at) from unnest(known.updates) as line where line.type = 'deleted') as deleted_at,
                given.error
            from unnest(p_messages) as given
            cross join lateral (
                select private.list_updates(p_ids[given.parent], given.external_id, given.sender) as updates
                offset 0
            ) as known
            order by given.parent, given.index
        ) as applied
    );
end
$$;
comment on function private.apply_known_updates(private.ingest_message[], uuid[]) is
'The same messages as earlier updates make them, for those that come after their updates.';

-- Ingest: what a request brings under each name of a conversation that continues another one.
-- Promise: at any time, all that came under a name is known, for the undo in 141_separations.

create table private.conversation_aliases (
    scope_id uuid not null,
    platform text not null,
    external_id text collate "C" not null,
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    continues text collate "C",
    participant_identifier text collate "C",
    identified_at timestamptz,
    participant_name text collate "C",
    named_at timestamptz,
    identifiers private.identifier[] not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    primary key (scope_id, platform, external_id, conversation_id)
);
comment on table private.conversation_aliases is
'The names of conversations that continue others, from the field continues of requests, and what requests said about the
participant under each name. A name is an external_conversation_id.';
comment on column private.conversation_aliases.continues is 'The former name; null for the first one.';
create index conversation_aliases_conversation_id_idx on private.conversation_aliases (conversation_id);
alter table private.conversation_aliases enable row level security;

create table private.continued_messages (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    external_id text collate "C" not null,
    sender text collate "C" not null,
    name text collate "C" not null,
    primary key (conversation_id, external_id, sender)
);
comment on table private.continued_messages is
'The messages, and the messages that updates wait for, which came under a later name of their conversation.';
alter table private.continued_messages enable row level security;

create table private.conversation_separations (
    scope_id uuid not null,
    platform text not null,
    external_id text collate "C" not null,
    continues text collate "C" not null,
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    primary key (scope_id, platform, external_id, continues)
);
comment on table private.conversation_separations is
'Names that a user parted: a repetition of the request does not join them again.';
create index conversation_separations_conversation_id_idx on private.conversation_separations (conversation_id);
alter table private.conversation_separations enable row level security;

-- Definer, because no role writes the table.
create function private.record_name(p_conversation_id uuid, p_name text, p_continues text, p_is_known boolean)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.conversation_aliases as alias (
        scope_id, platform, external_id, conversation_id, continues, participant_identifier, identified_at,
        participant_name, named_at, identifiers
    )
    select
        conversation.scope_id, conversation.platform, p_name, p_conversation_id, p_continues,
        case when p_is_known then conversation.participant_identifier end,
        case when p_is_known then conversation.participant_identified_at end,
        case when p_is_known then conversation.participant_name end,
        case when p_is_known then conversation.participant_named_at end,
        case
            when p_is_known then private.list_identifiers(p_conversation_id)
                || private.identify_any(conversation.platform, conversation.participant_identifier)
            else '{}'
        end
    from public.conversations as conversation
    where conversation.id = p_conversation_id
    on conflict (scope_id, platform, external_id, conversation_id) do update
    -- The first name of a conversation may continue another one later.
    set continues = excluded.continues
    where alias.continues is null and excluded.continues is not null;
end
$$;
comment on function private.record_name(uuid, text, text, boolean) is
'Stores a name of a conversation; if it is known, with what the conversation says about its participant now.';

-- Definer, because no role writes the table.
create function private.record_continued_messages(p_conversation_id uuid, p_into uuid, p_name text) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    insert into private.continued_messages (conversation_id, external_id, sender, name)
    select p_conversation_id, given.external_id, given.sender, p_name
    from (
        select stored.external_id, stored.sender from public.conversation_messages as stored
        where stored.conversation_id = p_conversation_id
        union
        select known.external_id, known.sender from public.conversation_updates as known
        where known.conversation_id = p_conversation_id
    ) as given
    -- The first of two messages with one id counts.
    where p_into = p_conversation_id or not exists (
        select from public.conversation_messages as stored
        where (stored.conversation_id, stored.external_id, stored.sender)
            = (p_into, given.external_id, given.sender)
    )
    on conflict do nothing;
end
$$;
comment on function private.record_continued_messages(uuid, uuid, text) is
'Gives a name to the messages of a conversation that have none, before it is joined with another one.';

-- Definer, because no role writes the tables.
create function private.record_names(
    p_source private.ingest_source, p_conversations jsonb, p_parsed private.ingest_conversation[],
    p_messages private.ingest_message[], p_updates private.ingest_update[], p_ids uuid[]
) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_names text[] := array(
        select given.value ->> 'external_conversation_id'
        from jsonb_array_elements(p_conversations) with ordinality as given (value, position)
        order by given.position
    );
begin
    if exists (
        select from unnest(p_parsed) as given
        where p_ids[given.position] is not null and v_names[given.position] <> given.external_id
            and not exists (
                select from private.conversation_aliases as alias
                where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
                    and alias.external_id = v_names[given.position] collate "C"
                    and alias.conversation_id = p_ids[given.position]
            )
    ) then
        raise serialization_failure using message = 'A conversation was separated during the request. Send it again.';
    end if;
    insert into private.continued_messages (conversation_id, external_id, sender, name)
    select distinct on (alias.conversation_id, given.external_id, given.sender)
        alias.conversation_id, given.external_id, given.sender, alias.external_id
    from (
        select line.parent, line.external_id, line.sender from unnest(p_messages) as line
        union all
        select line.parent, line.external_id, line.sender from unnest(p_updates) as line
    ) as given
    inner join private.conversation_aliases as alias on alias.conversation_id = p_ids[given.parent]
    where alias.external_id = v_names[given.parent] collate "C" and alias.continues is not null
        and not exists (
            select from public.conversation_messages as stored
            where stored.conversation_id = alias.conversation_id
                and stored.external_id = given.external_id collate "C"
                and private.is_same_sender(stored.sender, given.sender)
        )
    order by alias.conversation_id, given.external_id, given.sender, given.parent
    on conflict do nothing;
    perform private.record_named_participants(p_parsed, v_names, p_ids);
end
$$;
comment on function private.record_names(
    private.ingest_source, jsonb, private.ingest_conversation[], private.ingest_message[], private.ingest_update[],
    uuid[]
) is
'Keeps what a request brings under each name of a conversation with several. Raises 40001 if the names were separated
since it was read. The caller has locked the conversations and has not stored the messages.';

-- Definer, because no role writes the table.
create function private.record_named_participants(
    p_parsed private.ingest_conversation[], p_names text[], p_ids uuid[]
) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_given private.ingest_conversation;
begin
    -- The rules of update_participants.
    foreach v_given in array p_parsed loop
        update private.conversation_aliases as alias
        set
            participant_identifier = case
                when merged.is_identified then v_given.identifier else alias.participant_identifier
            end,
            identified_at = case
                when merged.is_identified then nullif(v_given.newest_at, '-infinity') else alias.identified_at
            end,
            participant_name = case when merged.is_named then v_given.name else alias.participant_name end,
            named_at = case
                when v_given.name is null then alias.named_at
                else nullif(greatest(alias.named_at, v_given.newest_at), '-infinity')
            end,
            identifiers = merged.all_identifiers
        from (
            select
                known.*,
                known.participant_identifier is null
                or (
                    private.is_phone(known.platform, v_given.identifier), v_given.newest_at, v_given.identifier
                ) > (
                    private.is_phone(known.platform, known.participant_identifier),
                    coalesce(known.identified_at, '-infinity'), known.participant_identifier
                ) as is_identified,
                v_given.name is not null and (v_given.newest_at, v_given.name)
                > (coalesce(known.named_at, '-infinity'), coalesce(known.participant_name, '')) as is_named,
                array(
                    select distinct one::private.identifier
                    from unnest(known.identifiers || v_given.identifiers || private.identify_any(
                        known.platform, v_given.identifier
                    )) as one
                ) as all_identifiers
            from private.conversation_aliases as known
            where known.conversation_id = p_ids[v_given.position]
                and known.external_id = p_names[v_given.position] collate "C"
        ) as merged
        where (alias.scope_id, alias.platform, alias.external_id, alias.conversation_id)
            = (merged.scope_id, merged.platform, merged.external_id, merged.conversation_id);
    end loop;
end
$$;
comment on function private.record_named_participants(private.ingest_conversation[], text[], uuid[]) is
'Keeps what a request says about participants, under the names of their conversations.';

create function private.knows_names(p_source private.ingest_source, p_conversations jsonb) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return not exists (
        select from jsonb_array_elements(p_conversations) as given
        where jsonb_typeof(given.value -> 'continues') = 'string' and not exists (
            select from private.conversation_aliases as alias
            -- Connections of several owners may share a scope, and each owner has conversations of their own.
            inner join public.conversations as conversation
                on alias.conversation_id = conversation.id and conversation.user_id = p_source.user_id
            where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
                and alias.external_id = given.value ->> 'external_conversation_id' collate "C"
                and alias.continues = given.value ->> 'continues' collate "C"
        )
    );
end
$$;
comment on function private.knows_names(private.ingest_source, jsonb) is
'Whether a request only repeats which conversations continue others, as most do.';

create function private.has_names(p_source private.ingest_source, p_created jsonb) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_created <> '{}' and exists (
        select from private.conversation_aliases as alias
        inner join public.conversations as conversation
            on alias.conversation_id = conversation.id and conversation.user_id = p_source.user_id
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
            and alias.external_id = any(array(select jsonb_object_keys(p_created)) collate "C")
            and alias.continues is not null
    ) then
        raise serialization_failure using message = 'A conversation was continued during the request. Send it again.';
    end if;
    -- The first for a request whose names were separated since it was read, the second for names that came since.
    return current_setting('threadline.has_names', true) = 'on' or exists (
        select from private.conversation_aliases as alias
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
    );
end
$$;
comment on function private.has_names(private.ingest_source, jsonb) is
'Whether conversations of a connection have several names. Raises 40001 if one that the request has created got another
one to continue since the request was read.';

-- Ingest: conversations that continue under another name. On some platforms, a user with a new number or id begins a
-- new conversation; here both are one.
-- Promise: the result does not depend on the order in which requests arrive.

create function private.find_conversation(p_source private.ingest_source, p_external_id text) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce((
        select conversation.id
        from private.conversation_aliases as alias
        inner join public.conversations as conversation on alias.conversation_id = conversation.id
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
            and alias.external_id = p_external_id collate "C" and conversation.user_id = p_source.user_id
        limit 1
    ), (
        select conversation.id
        from public.conversations as conversation
        where conversation.platform = p_source.platform
            and conversation.external_conversation_id = p_external_id collate "C"
            and conversation.user_id = p_source.user_id and conversation.scope_id = p_source.scope_id
    ));
end
$$;
comment on function private.find_conversation(private.ingest_source, text) is
'The conversation of a connection with this name or alias; null if none exists.';

create function private.copy_messages(p_from uuid, p_into uuid, p_names text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    insert into public.conversation_updates (
        conversation_id, external_id, sender, type, actor, version, at, sequence, value, received_at
    )
    select
        p_into, given.external_id, given.sender, given.type, given.actor, given.version, given.at, given.sequence,
        given.value, given.received_at
    from public.conversation_updates as given
    where given.conversation_id = p_from and (p_names is null or exists (
        select from private.continued_messages as named
        where named.conversation_id = p_from and named.external_id = given.external_id
            and named.name = any(p_names) and private.is_same_sender(named.sender, given.sender)
    ))
    on conflict (conversation_id, external_id, sender, type, actor, version) do nothing;
    insert into public.conversation_messages (
        conversation_id, external_id, sender, workspace_id, connection_id, sent_at, received_at, stated_at, sequence,
        message, original, deleted_at
    )
    select
        p_into, stored.external_id, stored.sender, stored.workspace_id, stored.connection_id, stored.sent_at,
        stored.received_at, stored.stated_at, stored.sequence, stored.message, stored.original, stored.deleted_at
    from public.conversation_messages as stored
    where stored.conversation_id = p_from and (p_names is null or exists (
        select from private.continued_messages as named
        where named.conversation_id = p_from and named.external_id = stored.external_id
            and named.sender = stored.sender and named.name = any(p_names)
    ))
    on conflict (conversation_id, external_id, sender) do nothing;
end
$$;
comment on function private.copy_messages(uuid, uuid, text[]) is
'Copies the messages and updates of a conversation into another one: all, or those that came under these names. What is
there already stays.';

-- Definer, because the backend may not change stored messages.
create function private.join_conversation(p_from uuid, p_into uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    perform from public.conversations as conversation
    where conversation.id in (p_from, p_into)
    order by conversation.id
    for update;
    perform private.copy_messages(p_from, p_into, null);
    perform private.record_identifiers(
        array(select p_into from unnest(private.list_identifiers(p_from))), private.list_identifiers(p_from)
    );
    perform private.record_identifiers(array[p_into], array[private.identify_any(
        conversation.platform, conversation.participant_identifier
    )])
    from public.conversations as conversation
    where conversation.id = p_from;
    update private.conversation_media as known set conversation_id = p_into where known.conversation_id = p_from;
    update private.conversation_aliases as alias set conversation_id = p_into where alias.conversation_id = p_from;
    insert into private.continued_messages (conversation_id, external_id, sender, name)
    select p_into, known.external_id, known.sender, known.name
    from private.continued_messages as known
    where known.conversation_id = p_from
    on conflict do nothing;
    delete from public.conversations as conversation where conversation.id = p_from;
end
$$;
comment on function private.join_conversation(uuid, uuid) is
'Moves the messages, updates, identifiers and names of one conversation into another one and deletes it.';

-- Definer, because no role writes the table.
create function private.record_aliases(p_source private.ingest_source, p_conversations jsonb) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_given record;
    v_into uuid;
    v_from uuid;
begin
    if private.knows_names(p_source, p_conversations) then
        return;
    end if;
    -- Waits for running requests of the workspace, because they may create a conversation that this one joins.
    perform private.lock_matching(array[p_source.workspace_id]);
    -- In the lock order of 131_ingest_conversations.sql.
    perform private.lock_source(p_source);
    for v_given in
        select distinct given.value ->> 'external_conversation_id' as name, given.value ->> 'continues' as former
        from jsonb_array_elements(p_conversations) as given
        where jsonb_typeof(given.value -> 'continues') = 'string'
            and given.value ->> 'continues' <> given.value ->> 'external_conversation_id'
            and char_length(given.value ->> 'external_conversation_id') between 1 and 500
            and char_length(given.value ->> 'continues') between 1 and 500
            and not exists (
                select from private.conversation_separations as parted
                where parted.scope_id = p_source.scope_id and parted.platform = p_source.platform
                    and parted.external_id = given.value ->> 'external_conversation_id' collate "C"
                    and parted.continues = given.value ->> 'continues' collate "C"
            )
        order by 1, 2
    loop
        v_into := private.find_conversation(p_source, v_given.former);
        v_from := private.find_conversation(p_source, v_given.name);
        if v_into is null and v_from is not null then
            -- The messages of the former name come later.
            perform private.record_name(v_from, v_given.name, v_given.former, true);
            perform private.record_name(v_from, v_given.former, null, false);
            perform private.record_continued_messages(v_from, v_from, v_given.name);
            update public.conversations as conversation set external_conversation_id = v_given.former
            where conversation.id = v_from;
        elsif v_into is not null then
            if not exists (
                select from private.conversation_aliases as alias where alias.conversation_id = v_into
            ) then
                perform private.record_name(v_into, v_given.former, null, true);
            end if;
            if v_from <> v_into then
                perform private.record_name(v_from, v_given.name, v_given.former, true);
                perform private.record_continued_messages(v_from, v_into, v_given.name);
                perform private.join_conversation(v_from, v_into);
            elsif v_from is null then
                perform private.record_name(v_into, v_given.name, v_given.former, false);
            end if;
        end if;
    end loop;
end
$$;
comment on function private.record_aliases(private.ingest_source, jsonb) is
'Stores which conversations of a request continue an earlier one, and joins the two if both exist.';

create function private.read_conversations(p_source private.ingest_source, p_conversations jsonb)
returns private.ingest_conversation[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_parsed private.ingest_conversation[] := private.parse_conversations(p_conversations);
    v_name text;
begin
    if p_conversations @? '$[*].continues' then
        perform private.record_aliases(p_source, p_conversations);
    elsif not exists (
        select from private.conversation_aliases as alias
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
    ) then
        return v_parsed;
    end if;
    perform set_config('threadline.has_names', 'on', true);
    for v_place in 1..cardinality(v_parsed) loop
        select conversation.external_conversation_id into v_name
        from private.conversation_aliases as alias
        inner join public.conversations as conversation on alias.conversation_id = conversation.id
        where alias.scope_id = p_source.scope_id and alias.platform = p_source.platform
            and alias.external_id = v_parsed[v_place].external_id collate "C"
            and conversation.user_id = p_source.user_id
        limit 1;
        if found and v_parsed[v_place].error is null then
            v_parsed[v_place].external_id := v_name;
        end if;
    end loop;
    return v_parsed;
end
$$;
comment on function private.read_conversations(private.ingest_source, jsonb) is
'The conversations of a request (parse_conversations), with the ids under which they are stored.';

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
                and p_stored.message ->> 'media_url' is distinct from private.media_link(
                    private.media_path(p_stored.conversation_id, p_stored.external_id, p_stored.sender)
                )
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

-- Ingest, fifth part: what became of each conversation of a request, and the answer that says it.
-- Promise: one result for each conversation, in the order of the request.

create function private.list_results(
    p_conversations private.ingest_conversation[], p_ids uuid[], p_created jsonb, p_counts private.ingest_count[]
) returns private.ingest_result[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select result::private.ingest_result
        from (
            select
                p_ids[given.position] as conversation_id,
                given.external_id,
                case
                    when given.error is not null then 'error: ' || given.error
                    when p_created ? given.external_id and row_number() over (
                        partition by given.external_id, given.error is null order by given.position
                    ) = 1 then 'created'
                    when counted.added > 0 or counted.updates_added > 0 then 'updated'
                    else 'no_new_messages'
                end as status,
                coalesce(counted.added, 0) as messages_added,
                counted.conflicts,
                counted.updates_added,
                counted.updates_waiting,
                null::jsonb as uploads,
                null::integer as uploads_refused
            from unnest(p_conversations) as given
            left join unnest(p_counts) as counted on given.position = counted.parent
            order by given.position
        ) as result
    );
end
$$;
comment on function private.list_results(private.ingest_conversation[], uuid[], jsonb, private.ingest_count[]) is
'What became of each conversation of a request, in its order.';

create function private.render_results(p_results private.ingest_result[]) returns json
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
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
                when num_nonnulls(result.updates_added, result.uploads) > 0 then json_strip_nulls(json_build_object(
                    'conversation_id', result.conversation_id, 'messages_added', result.messages_added,
                    'status', result.status, 'conflicting_message_ids', result.conflicts,
                    'updates_added', result.updates_added, 'updates_waiting', result.updates_waiting,
                    'uploads', private.render_uploads(result.uploads), 'uploads_refused', result.uploads_refused
                ))
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

-- Ingest, sixth part: requests whose messages are all new, as most are. They need one update for each conversation
-- and one plain insert.
-- Promise: the result is the same as that of store_messages and of the trigger that keeps the summaries.

create function private.has_duplicates(
    p_conversations private.ingest_conversation[], p_messages private.ingest_message[]
) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(distinct given.external_id collate "C") < count(given.external_id)
        from unnest(p_conversations) as given
    ) or (
        -- Collation C compares bytes, which is all that equality needs.
        select count(*) < cardinality(p_messages)
        from (
            select
            from unnest(p_messages) as given
            group by given.parent, given.external_id collate "C", given.sender collate "C"
        ) as different
    );
end
$$;
comment on function private.has_duplicates(private.ingest_conversation[], private.ingest_message[]) is
'Whether a request names a conversation twice, or a message of one conversation twice.';

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
    return not exists (select from unnest(p_conversations) as given where given.has_updates or given.has_future)
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
        and not private.has_duplicates(p_conversations, p_messages);
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

create function private.send_changes(p_created jsonb, p_changed uuid[], p_results private.ingest_result[]) returns void
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
        select changed.id from unnest(p_changed) as changed (id)
        except
        select result.conversation_id from unnest(p_results) as result
        where result.messages_added > 0 or result.updates_added > result.updates_waiting
    );
    if v_ids <> '{}' then
        perform private.broadcast_conversations(v_ids);
    end if;
end
$$;
comment on function private.send_changes(jsonb, uuid[], private.ingest_result[]) is
'Broadcasts the conversations that a request created or changed and that got no messages: messages are sent already.';

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
    -- Other requests may have created the rest meanwhile.
    if exists (
        select from unnest(p_conversations) as given where given.error is null and v_ids[given.position] is null
    ) then
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
-- statements takes ten times as long as running them.
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
    v_has_updates boolean := exists (select from unnest(v_conversations) as given where given.has_updates);
    v_messages private.ingest_message[];
    v_updates private.ingest_update[] := '{}'::private.ingest_update[];
    v_participants private.ingest_participant[];
    v_created jsonb;
    v_existing uuid[];
    v_now timestamptz;
    v_has_only_new boolean;
    v_changed uuid[] := '{}'::uuid[];
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
    -- The triggers of conversations leave the broadcasts to this function.
    perform set_config('threadline.is_ingesting', 'on', true);
    -- The lock order stands in the head of 131_ingest_conversations.sql.
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
    v_changed := v_changed || private.record_given_identifiers(
        p_source.platform, v_conversations, v_ids, v_existing = '{}'
    );
    if exists (select from unnest(v_conversations) as given where given.is_group) then
        v_changed := v_changed || private.record_group_participants(p_conversations, v_messages, v_ids);
    end if;
    perform private.record_names(p_source, p_conversations, v_conversations, v_messages, v_updates, v_ids)
    where private.has_names(p_source, v_created);
    v_results := private.list_results(v_conversations, v_ids, v_created, case
        when v_has_only_new then private.store_new_messages(p_source, v_conversations, v_messages, v_ids, v_now)
        else private.add_messages(p_source, v_conversations, v_messages, v_updates, v_ids, v_existing)
    end);
    perform private.send_changes(v_created, v_changed, v_results);
    perform set_config('threadline.is_ingesting', '', true), set_config('threadline.is_creating', '', true);
    return v_results;
end
$$;
comment on function private.store_conversations(private.ingest_source, jsonb) is
'Stores the conversations of a request from a connection, and returns what became of each. Conversations with an error
are left out whole; all others are stored.';

-- The ingest log: the requests of each connection, for those who manage it. Kept for 30 days.
-- Promise: it holds no names, no content and no secrets.

-- Without foreign keys: to check one would lock the connection's row, for which all of its requests would queue.
create table public.ingest_log (
    id uuid primary key default private.generate_id(),
    workspace_id uuid not null,
    user_id uuid not null,
    connection_id text not null,
    key_id uuid,
    at timestamptz not null default clock_timestamp(),
    status integer not null,
    requests integer not null default 1,
    conversations integer,
    conversations_created integer,
    messages integer,
    messages_added integer,
    errors text[],
    request_id text
);
comment on table public.ingest_log is
'What came in over each connection, for 30 days: no names, no content, no secrets. What failed with 5xx left no trace
here but in the logs of the service.';
comment on column public.ingest_log.user_id is 'The owner of the connection at that time.';
comment on column public.ingest_log.connection_id is 'The public name of the connection.';
comment on column public.ingest_log.key_id is 'The key that was used, as the computed field keys lists it.';
comment on column public.ingest_log.status is
'200; or 401 wrong key, 403 inactive, 413 too many messages: one row a minute for each of these three.';
comment on column public.ingest_log.requests is 'How many requests this row stands for; above 1 only where refused.';
comment on column public.ingest_log.messages is 'As the limit counts them: a conversation without any is one.';
comment on column public.ingest_log.errors is 'At most five of the different errors that conversations had.';
comment on column public.ingest_log.request_id is
'The X-Request-Id of the request, which is in the service''s logs, too; of refused ones, the first of the minute''s.';
create index ingest_log_workspace_id_at_idx on public.ingest_log (workspace_id, at desc);
-- Limits refused requests to one row per connection, status and minute.
create unique index ingest_log_refused_idx on public.ingest_log (connection_id, status, at) where status <> 200;
alter table public.ingest_log enable row level security;

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.delete_ingest_log_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from public.ingest_log as line
    where line.workspace_id in (select removed.workspace_id from removed)
        and line.connection_id in (select removed.connection_id from removed);
    return null;
end
$$;
comment on function private.delete_ingest_log_trigger() is 'Trigger: deletes the log of deleted connections.';

create function private.use_asynchronous_commit() returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    if pg_current_xact_id_if_assigned() is null then
        perform set_config('synchronous_commit', 'off', true);
    end if;
end
$$;
comment on function private.use_asynchronous_commit() is
'Turns synchronous_commit off if the transaction has written nothing yet; a crash may lose the log line.';

create function private.record_ingest(
    p_source private.ingest_source, p_messages bigint, p_results private.ingest_result[]
) returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.use_asynchronous_commit();
    insert into public.ingest_log (
        workspace_id, user_id, connection_id, key_id, status, request_id,
        messages, conversations, conversations_created, messages_added, errors
    )
    select
        p_source.workspace_id, p_source.user_id, p_source.connection_id, p_source.key_id, 200, private.request_id(),
        coalesce(p_messages, 0),
        count(*),
        count(*) filter (where result.status = 'created'),
        coalesce(sum(result.messages_added), 0),
        (array_agg(distinct result.status) filter (where result.conversation_id is null))[1:5]
    from unnest(p_results) as result;
end
$$;
comment on function private.record_ingest(private.ingest_source, bigint, private.ingest_result[]) is
'Writes the log line of a request that was stored.';

create function private.record_refusal(p_source private.ingest_source, p_status integer) returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.use_asynchronous_commit();
    insert into public.ingest_log as line (workspace_id, user_id, connection_id, at, status, request_id)
    values (
        p_source.workspace_id, p_source.user_id, p_source.connection_id,
        date_trunc('minute', now()), p_status, private.request_id()
    )
    on conflict (connection_id, status, at) where status <> 200 do update set requests = line.requests + 1;
end
$$;
comment on function private.record_refusal(private.ingest_source, integer) is
'Writes the log line of a request that was refused.';

-- The undo of continues: a conversation that was joined with an earlier one is its own again.
-- Promise: both are as they would be without the join: messages, updates, identifiers, and what came since then under
-- each name. A repetition of the request does not join them again.

create function private.list_later_names(p_conversation_id uuid, p_name text) returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        with recursive later as (
            select p_name collate "C" as name
            union
            select alias.external_id
            from private.conversation_aliases as alias
            inner join later on alias.continues = later.name
            where alias.conversation_id = p_conversation_id
        )

        select later.name from later
    );
end
$$;
comment on function private.list_later_names(uuid, text) is
'A name of a conversation, and the names that continue it.';

create function private.merge_named_participants(
    p_conversation_id uuid, p_names text[],
    out identifier text, out identified_at timestamptz, out name text, out named_at timestamptz,
    out identifiers private.identifier[]
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The rules of update_participants.
    select
        (array_agg(alias.participant_identifier order by
            private.is_phone(alias.platform, alias.participant_identifier) desc,
            coalesce(alias.identified_at, '-infinity') desc, alias.participant_identifier desc
        ) filter (where alias.participant_identifier is not null))[1],
        (array_agg(alias.identified_at order by
            private.is_phone(alias.platform, alias.participant_identifier) desc,
            coalesce(alias.identified_at, '-infinity') desc, alias.participant_identifier desc
        ) filter (where alias.participant_identifier is not null))[1],
        (array_agg(alias.participant_name order by
            coalesce(alias.named_at, '-infinity') desc, alias.participant_name desc
        ) filter (where alias.participant_name is not null))[1],
        max(alias.named_at)
    into identifier, identified_at, name, named_at
    from private.conversation_aliases as alias
    where alias.conversation_id = p_conversation_id and alias.external_id = any(p_names);
    identifiers := array(
        select distinct one::private.identifier
        from private.conversation_aliases as alias
        cross join unnest(alias.identifiers) as one
        where alias.conversation_id = p_conversation_id and alias.external_id = any(p_names)
    );
end
$$;
comment on function private.merge_named_participants(uuid, text[]) is
'What requests said about the participant of a conversation under some of its names.';

create function private.copy_conversation(p_conversation public.conversations, p_name text, p_names text[]) returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_participant record;
    v_id uuid;
begin
    select * into v_participant from private.merge_named_participants(p_conversation.id, p_names);
    insert into public.conversations (
        workspace_id, user_id, scope_id, platform, external_conversation_id, kind,
        participant_identifier, participant_identified_at, participant_name, participant_named_at
    )
    values (
        p_conversation.workspace_id, p_conversation.user_id, p_conversation.scope_id, p_conversation.platform, p_name,
        p_conversation.kind,
        coalesce(v_participant.identifier, p_name), v_participant.identified_at,
        v_participant.name, v_participant.named_at
    )
    returning id into v_id;
    perform private.record_identifiers(
        array(select v_id from unnest(v_participant.identifiers)), v_participant.identifiers
    );
    insert into private.group_participants (
        conversation_id, workspace_id, identifier, name, named_at, identifiers, keys, has_left, at, person_id,
        matched_by
    )
    select
        v_id, known.workspace_id, known.identifier, known.name, known.named_at, known.identifiers, known.keys,
        known.has_left, known.at, known.person_id, known.matched_by
    from private.group_participants as known
    where known.conversation_id = p_conversation.id;
    return v_id;
end
$$;
comment on function private.copy_conversation(public.conversations, text, text[]) is
'Creates a conversation with what was said about its participant under some names of another one. A group has the same
participants.';

create function private.move_named_messages(p_from uuid, p_into uuid, p_names text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    perform private.copy_messages(p_from, p_into, p_names);
    update private.conversation_media as known set conversation_id = p_into
    from private.continued_messages as named
    where known.conversation_id = p_from and named.name = any(p_names)
        and (named.conversation_id, named.external_id, named.sender)
        = (known.conversation_id, known.external_id, known.sender);
    delete from public.conversation_messages as stored using private.continued_messages as named
    where stored.conversation_id = p_from and named.name = any(p_names)
        and (named.conversation_id, named.external_id, named.sender)
        = (stored.conversation_id, stored.external_id, stored.sender);
    delete from public.conversation_updates as given
    where given.conversation_id = p_from and exists (
        select from private.continued_messages as named
        where named.conversation_id = p_from and named.external_id = given.external_id
            and named.name = any(p_names) and private.is_same_sender(named.sender, given.sender)
    ) and not exists (
        select from public.conversation_messages as stored
        where stored.conversation_id = p_from and stored.external_id = given.external_id
            and private.is_same_sender(stored.sender, given.sender)
    );
    update private.continued_messages as named set conversation_id = p_into
    where named.conversation_id = p_from and named.name = any(p_names);
end
$$;
comment on function private.move_named_messages(uuid, uuid, text[]) is
'Moves the messages that came under some names of a conversation, and what happened to them, into another one.';

create function private.restore_participant(p_conversation_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_participant record;
begin
    select * into v_participant from private.merge_named_participants(p_conversation_id, array(
        select alias.external_id from private.conversation_aliases as alias
        where alias.conversation_id = p_conversation_id
    ));
    update public.conversations as conversation
    set
        participant_identifier = v_participant.identifier,
        participant_identified_at = v_participant.identified_at,
        participant_name = v_participant.name,
        participant_named_at = v_participant.named_at
    where conversation.id = p_conversation_id and v_participant.identifier is not null;
    delete from public.conversation_identifiers as known
    where known.conversation_id = p_conversation_id
        and (known.kind, known.value, known.app)::private.identifier <> all(v_participant.identifiers);
    perform private.update_matches(array[p_conversation_id]);
end
$$;
comment on function private.restore_participant(uuid) is
'Gives a conversation the participant that its remaining names speak of, and matches it again.';

create function private.forget_single_names(p_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from private.conversation_aliases as alias
    where alias.conversation_id = any(p_ids) and alias.continues is null and not exists (
        select from private.conversation_aliases as other
        where other.conversation_id = alias.conversation_id and other.continues is not null
    );
    delete from private.continued_messages as named
    where named.conversation_id = any(p_ids) and not exists (
        select from private.conversation_aliases as alias
        where alias.conversation_id = named.conversation_id and alias.external_id = named.name
            and alias.continues is not null
    );
end
$$;
comment on function private.forget_single_names(uuid[]) is
'Forgets the names of conversations that have only one, and which messages came under a first name.';

-- Definer, because clients may read neither the names nor change conversations.
create function private.separate_conversation(p_conversation_id uuid, p_name text) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_conversation public.conversations;
    v_alias private.conversation_aliases;
    v_names text[];
    v_id uuid;
begin
    v_conversation := private.lock_conversation(p_conversation_id);
    select * into v_alias
    from private.conversation_aliases as alias
    where alias.conversation_id = p_conversation_id and alias.continues is not null
        and (p_name = '' or alias.external_id = p_name collate "C")
    order by alias.created_at desc, alias.external_id desc
    limit 1;
    if v_alias.external_id is null then
        perform private.fail(
            409, 'conversation_not_continued',
            'No such conversation was joined with this one. Check external_conversation_id.',
            'external_conversation_id'
        );
    end if;
    v_names := private.list_later_names(p_conversation_id, v_alias.external_id);
    v_id := private.copy_conversation(v_conversation, v_alias.external_id, v_names);
    perform private.move_named_messages(p_conversation_id, v_id, v_names);
    update private.conversation_aliases as alias set conversation_id = v_id
    where alias.conversation_id = p_conversation_id and alias.external_id = any(v_names);
    if exists (
        select from private.conversation_aliases as alias
        where alias.conversation_id = p_conversation_id and alias.participant_identifier is not null
    ) then
        perform private.restore_participant(p_conversation_id);
    else
        -- No request has used the former name yet. A request that does so now finds no row, and its client repeats it.
        delete from public.conversations as conversation where conversation.id = p_conversation_id;
    end if;
    update private.conversation_aliases as alias set continues = null
    where alias.conversation_id = v_id and alias.external_id = v_alias.external_id;
    perform private.forget_single_names(array[p_conversation_id, v_id]);
    insert into private.conversation_separations (scope_id, platform, external_id, continues, conversation_id)
    values (v_alias.scope_id, v_alias.platform, v_alias.external_id, v_alias.continues, v_id)
    on conflict do nothing;
    perform private.broadcast_conversations(array[p_conversation_id]);
    return jsonb_build_object('conversation_id', p_conversation_id, 'separated_conversation_id', v_id,
        'external_conversation_id', v_alias.external_id);
end
$$;
comment on function private.separate_conversation(uuid, text) is
'Undoes continues, the last one if the name is empty. PT404 if the conversation is not the caller''s, PT409 if no such
one was joined with it.';

-- Definer, because clients may not change conversations.
create function private.lock_conversation(p_conversation_id uuid) returns public.conversations
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_conversation public.conversations;
begin
    select * into v_conversation
    from public.conversations as conversation
    where conversation.id = p_conversation_id
        and (
            (select private.is_service())
            or exists (select from private.my_workspaces as mine where mine.id = conversation.workspace_id)
        );
    if v_conversation.id is not null then
        -- Requests that run take it, too.
        perform private.lock_matching(array[v_conversation.workspace_id]);
        select * into v_conversation
        from public.conversations as conversation
        where conversation.id = p_conversation_id
        for update;
    end if;
    if v_conversation.id is null then
        perform private.fail(
            404, 'conversation_not_found',
            'This conversation does not exist or is not yours. Check conversation_id.', 'conversation_id'
        );
    end if;
    return v_conversation;
end
$$;
comment on function private.lock_conversation(uuid) is
'Locks a conversation of the caller, and the matching of its workspace. PT404 if it is not the caller''s.';

create function public.separate_conversation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.separate_conversation(
        private.parse_uuid($1, 'conversation_id'), private.parse_text($1, 'external_conversation_id', 500, '')
    ));
end
$$;
comment on function public.separate_conversation(jsonb) is
'POST /api/v2/conversations/{conversation_id}/separate: conversation_id, and optionally external_conversation_id.
Undoes continues: the conversation that was joined last, or the named one, is its own again.';

-- Ingest: invites callers to upload the files of messages, and lets messages show what was uploaded.
-- Promise: no URL of a caller is fetched.
-- The next request or the clean-up finds what was uploaded, because we put no trigger on Storage.

-- Definer, because the backend may neither read Storage nor change stored messages.
create function private.settle_media(p_ids uuid[], p_limit integer) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_found private.conversation_media[];
    v_updates private.ingest_update[];
    v_ids uuid[];
begin
    v_found := array(
        select (
            known.path, known.conversation_id, known.workspace_id, known.external_id, known.sender,
            (object.metadata ->> 'size')::bigint, object.updated_at,
            object.version, known.created_at
        )::private.conversation_media
        from private.conversation_media as known
        inner join storage.objects as object on object.bucket_id = 'attachments' and known.path = object.name
        -- A stored file is settled again only by a request, because the clean-up would have to read all of them.
        where (known.stored_at is null or p_ids is not null and known.version is distinct from object.version)
            and (p_ids is null or known.conversation_id = any(p_ids))
            -- No user can read the others, and the sweep removes them.
            and private.is_shown_type(object.metadata ->> 'mimetype')
        order by known.created_at
        limit p_limit
    );
    if v_found = '{}' then
        return 0;
    end if;
    perform from public.conversations as conversation
    where conversation.id in (select found.conversation_id from unnest(v_found) as found)
    order by conversation.id
    for no key update;
    update private.conversation_media as known
    set size = found.size, stored_at = found.stored_at, version = found.version
    from unnest(v_found) as found
    where known.path = found.path;
    select
        array_agg((
            found.position, 0, found.external_id, found.sender, 'media', 'storage', found.stored_at, 0,
            jsonb_build_object('media_url', private.media_link(found.path)), null
        )::private.ingest_update order by found.position),
        array_agg(found.conversation_id order by found.position)
    into v_updates, v_ids
    from unnest(v_found) with ordinality as found (
        path, conversation_id, workspace_id, external_id, sender, size, stored_at, version, created_at,
        position
    );
    perform private.record_updates(v_updates, v_ids), private.refresh_messages(v_updates, v_ids);
    return cardinality(v_found);
end
$$;
comment on function private.settle_media(uuid[], integer) is
'Lets messages show their uploaded files: of these conversations, or of all if p_ids is null. Returns how many.';

-- Definer, because no client and no backend writes the table.
create function private.offer_uploads(
    p_source private.ingest_source, p_conversations jsonb, p_results private.ingest_result[]
) returns private.ingest_result[]
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_ids uuid[] := array(select result.conversation_id from unnest(p_results) as result);
    v_uploads jsonb;
    v_has_room boolean;
begin
    perform private.settle_media(v_ids, 1000);
    v_has_room := private.has_media_room(p_source.workspace_id);
    with wanted as (
        select
            parent.position, given.number, stored.conversation_id, stored.external_id, stored.sender,
            private.media_path(stored.conversation_id, stored.external_id, stored.sender) as path
        from jsonb_array_elements(p_conversations) with ordinality as parent (value, position)
        cross join lateral jsonb_array_elements(case jsonb_typeof(parent.value -> 'messages')
            when 'array' then parent.value -> 'messages' else '[]'
        end) with ordinality as given (value, number)
        inner join public.conversation_messages as stored
            on stored.conversation_id = v_ids[parent.position]
            and stored.external_id = given.value ->> 'id'
            and stored.sender = case parent.value -> 'kind'
                when '"group"' then private.parse_sender(given.value) else ''
            end
        where stored.message ->> 'type' in ('image', 'audio', 'video', 'file', 'sticker')
            and stored.deleted_at is null
            and stored.message ->> 'media_url' is distinct from private.media_link(
                private.media_path(stored.conversation_id, stored.external_id, stored.sender)
            )
        order by parent.position, given.number
        limit 100
    ), reserved as (
        insert into private.conversation_media as known (path, conversation_id, workspace_id, external_id, sender)
        select distinct wanted.path, wanted.conversation_id, p_source.workspace_id, wanted.external_id, wanted.sender
        from wanted
        where v_has_room
        on conflict (path) do update set stored_at = null where known.stored_at is not null
    )

    select jsonb_object_agg(listed.position, listed.uploads) into v_uploads
    from (
        select wanted.position, jsonb_agg(jsonb_build_object(
            'message_id', wanted.external_id, 'sender', nullif(wanted.sender, ''), 'path', wanted.path
        ) order by wanted.number) as uploads
        from wanted
        group by wanted.position
    ) as listed;
    return array(
        select (
            result.conversation_id, result.external_id, result.status, result.messages_added, result.conflicts,
            result.updates_added, result.updates_waiting,
            case when result.conversation_id is not null then
                coalesce(case when v_has_room then v_uploads -> result.position::text end, '[]')
            end,
            case when not v_has_room then jsonb_array_length(v_uploads -> result.position::text) end
        )::private.ingest_result
        from unnest(p_results) with ordinality as result (
            conversation_id, external_id, status, messages_added, conflicts, updates_added, updates_waiting, uploads,
            uploads_refused, position
        )
        order by result.position
    );
end
$$;
comment on function private.offer_uploads(private.ingest_source, jsonb, private.ingest_result[]) is
'The same results, each with the upload paths of the files of its messages: at most 100 in a request, and none for
stored files. If the workspace is full, uploads_refused counts them instead. The service or the Edge Function adds
signed URLs.';

-- The newest conversations of all workspaces of a user, in pages. A query without a workspace would sort all
-- conversations of the user; this reads one index entry per workspace, and then only the rows of the page.

-- Definer, because a policy would compare each row with each workspace of the caller. It reads only workspaces of the
-- caller.
create function private.find_newest_conversations(p_before timestamptz, p_before_id uuid, p_limit integer)
returns table (id uuid, at timestamptz)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with busiest as materialized (
        select mine.id
        from private.my_workspaces as mine
        cross join lateral (
            select conversation.last_message_at, conversation.id
            from public.conversations as conversation
            where conversation.workspace_id = mine.id
                and (conversation.last_message_at, conversation.id) < (p_before, p_before_id)
            order by conversation.last_message_at desc, conversation.id desc
            limit 1
        ) as newest
        order by newest.last_message_at desc, newest.id desc
        limit p_limit
    )

    select found.id, found.last_message_at
    from busiest
    cross join lateral (
        select conversation.last_message_at, conversation.id
        from public.conversations as conversation
        where conversation.workspace_id = busiest.id
            and (conversation.last_message_at, conversation.id) < (p_before, p_before_id)
        order by conversation.last_message_at desc, conversation.id desc
        limit p_limit
    ) as found
    order by found.last_message_at desc, found.id desc
    limit p_limit;
end
$$;
comment on function private.find_newest_conversations(timestamptz, uuid, integer) is
'Conversations of the caller''s workspaces after a position in the inbox, newest first. The page can only come from the
p_limit workspaces with the newest conversations.';

create function private.list_conversations(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 200, 50);
    v_before text := private.scalar_text($1, 'before');
    v_place record;
    v_page record;
begin
    perform private.require_user();
    if v_before !~* '^[0-9]{1,18}_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        perform private.fail(
            400, 'invalid_cursor', 'before is not a cursor of this call. Send next_cursor of the page before.', 'before'
        );
    end if;
    -- A cursor is the time in microseconds, and the id.
    select
        coalesce(
            'epoch'::timestamptz + split_part(v_before, '_', 1)::bigint * interval '1 microsecond', 'infinity'
        ) as at,
        coalesce(split_part(v_before, '_', 2), 'ffffffff-ffff-ffff-ffff-ffffffffffff')::uuid as id
    into v_place;
    with page as materialized (
        select newest.id, newest.at, row_number() over (order by newest.at desc, newest.id desc) as place
        from private.find_newest_conversations(v_place.at, v_place.id, v_limit + 1) as newest
    )

    select
        coalesce(jsonb_agg(
            private.render_inbox_entry(conversation)
            || jsonb_build_object('unread_count', public.unread_count(conversation))
            order by page.place
        ) filter (where page.place <= v_limit), '[]') as conversations,
        case when count(*) > v_limit then (
            select (extract(epoch from last.at) * 1000000)::bigint || '_' || last.id
            from page as last
            where last.place = v_limit
        ) end as next_cursor
    into v_page
    from page
    inner join public.conversations as conversation on page.id = conversation.id;
    return private.succeed(v_page.conversations, jsonb_build_object('next_cursor', v_page.next_cursor));
end
$$;
comment on function private.list_conversations(jsonb) is
'GET /api/v2/conversations: the conversations of all workspaces of the caller, newest message first, without those that
have no message, with unread_count. Takes limit (1 to 200, default 50) and before (next_cursor of the page before).';

create function private.render_inbox_entry(p_conversation public.conversations) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_conversation.id,
        'workspace_id', p_conversation.workspace_id,
        'user_id', p_conversation.user_id,
        'platform', p_conversation.platform,
        'external_conversation_id', p_conversation.external_conversation_id,
        'participant_identifier', p_conversation.participant_identifier,
        'participant_name', p_conversation.participant_name,
        'kind', p_conversation.kind,
        'person_id', p_conversation.person_id,
        'message_count', p_conversation.message_count,
        'last_message_at', private.format_time(p_conversation.last_message_at),
        'last_message_preview', p_conversation.last_message_preview
    );
end
$$;
comment on function private.render_inbox_entry(public.conversations) is
'A conversation in the form of the inbox list.';

create function public.list_conversations(max_conversations integer default 50, before text default null)
returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.list_conversations(jsonb_build_object(
        'limit', list_conversations.max_conversations, 'before', list_conversations.before
    ));
end
$$;
comment on function public.list_conversations(integer, text) is
'Lists the conversations of all workspaces of the caller, newest message first. Takes max_conversations (1 to 200) and
before (meta.next_cursor of the page before; null on the last page).';

-- POST /functions/v1/messaging-ingest: checks the key and the limits, stores the request and writes the log.
-- Promise: the answer says what was stored, and every failed check has the error of the ingest document.

create function private.refuse_ingest(p_status integer, p_error text) returns json
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    perform set_config('response.status', p_status::text, true);
    return json_build_object('error', p_error);
end
$$;
comment on function private.refuse_ingest(integer, text) is
'An error in the shape of the ingest document. The status reaches HTTP as PostgREST and the gateway define it.';

create function public.messaging_ingest(bytea) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret text := nullif(current_setting('request.headers', true), '')::json ->> 'x-api-key';
    v_request jsonb;
    v_platform text;
    v_connection_id text;
    v_source private.ingest_source;
    v_limit integer := (select settings.ingest_max_messages from private.settings);
    v_size bigint;
    v_results private.ingest_result[];
begin
    if coalesce(v_secret, '') = '' then
        return private.refuse_ingest(401, 'Missing x-api-key header');
    end if;
    begin
        -- Requests without a valid key fail anyway: the cheap parser limits what their bodies cost.
        v_request := case
            when private.is_valid_key(v_secret) then private.parse_json($1)
            else private.decode_text($1)::jsonb
        end;
    exception
        when data_exception or statement_too_complex or program_limit_exceeded then
            return private.refuse_ingest(400, 'Request body is not valid JSON');
    end;
    v_platform := private.scalar_text(v_request, 'platform');
    v_connection_id := private.scalar_text(v_request, 'connection_id');
    if coalesce(v_platform, '') = ''
        or coalesce(v_connection_id, '') = ''
        or coalesce(jsonb_typeof(v_request -> 'conversations'), 'null') = 'null'
    then
        return private.refuse_ingest(400, 'Missing required fields: platform, connection_id, conversations');
    end if;
    if jsonb_typeof(v_request -> 'conversations') <> 'array' then
        return private.refuse_ingest(400, 'conversations must be an array');
    end if;

    select * into v_source
    from private.authenticate_connection(v_platform, v_connection_id, v_secret);
    if v_source.id is null then
        return private.refuse_ingest(401, 'Invalid connection_id or platform');
    elsif v_source.key_id is null then
        perform private.record_refusal(v_source, 401);
        return private.refuse_ingest(401, 'Invalid API key');
    elsif not v_source.is_active then
        perform private.record_refusal(v_source, 403);
        return private.refuse_ingest(403, 'Connection is inactive');
    end if;

    v_size := private.count_messages(v_request -> 'conversations');
    if v_size > v_limit then
        perform private.record_refusal(v_source, 413);
        return private.refuse_ingest(413, format('Too many messages: at most %s in one request', v_limit));
    end if;
    v_results := private.store_conversations(v_source, v_request -> 'conversations');
    if v_source.stores_media or v_request -> 'media_uploads' = 'true' then
        v_results := private.offer_uploads(v_source, v_request -> 'conversations', v_results);
    end if;
    perform private.record_ingest(v_source, v_size, v_results);
    return private.render_results(v_results);
end
$$;
comment on function public.messaging_ingest(bytea) is
'The ingest endpoint: the raw body as its one argument, x-api-key among request.headers; answers as the document says,
errors included, with response.status set. Only the two doors, the service and the Edge Function, may call it.';

-- Profiles, channels and members. A user sees the channels they belong to, and the users who share one with them.

create table public.user_profiles (
    user_id uuid primary key references auth.users (id) on delete cascade,
    display_name text not null,
    avatar_url text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint user_profiles_display_name_length check (char_length(display_name) between 1 and 200),
    constraint user_profiles_display_name_printable check (display_name !~ private.hidden_characters()),
    constraint user_profiles_avatar_url_length check (char_length(avatar_url) <= 2000),
    -- Clients put it into a page. Plain http only for a stack on the same machine.
    constraint user_profiles_avatar_url_https check (avatar_url ~* '^(https://|http://(localhost|127[.]0[.]0[.]1)[:/])')
);
comment on table public.user_profiles is 'Name and picture that peers see. A trigger creates it at sign-up.';
alter table public.user_profiles enable row level security;

create table public.channels (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid not null default auth.uid() references public.workspaces (id) on delete cascade,
    kind text not null default 'channel',
    name text,
    language text,
    direct_key bytea,
    created_by uuid default auth.uid() references auth.users (id) on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint channels_id_unique unique (workspace_id, id),
    constraint channels_kind_known check (kind in ('channel', 'dm')),
    constraint channels_name_length check (char_length(name) between 1 and 200),
    constraint channels_name_printable check (name !~ private.hidden_characters()),
    constraint channels_language_form check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$'),
    constraint channels_name_unless_dm check (kind = 'dm' or name is not null),
    constraint channels_direct_key_unique unique (workspace_id, direct_key),
    constraint channels_direct_key_is_dm check (direct_key is null or kind = 'dm')
);
comment on table public.channels is
'A named channel or a direct message channel (dm). Only its members read and write there.';
comment on column public.channels.workspace_id is
'Without a value, the personal workspace of the creator. Its members may be added; others come as guests.';
comment on column public.channels.language is
'A tag of BCP 47, such as de or pt-BR: search finds other forms of a word in this language. Null: the language of the
workspace.';
comment on column public.channels.direct_key is
'Hash of the sorted ids of the people in a direct channel, so that each set of people has one.';
create index channels_created_by_idx on public.channels (created_by);
alter table public.channels enable row level security;

create table public.channel_members (
    channel_id uuid not null references public.channels (id) on delete cascade,
    -- References the profile and not auth.users, so that clients can embed it. It goes with its user.
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    role text not null default 'member',
    created_at timestamptz not null default now(),
    primary key (channel_id, user_id),
    constraint channel_members_role_known check (role in ('owner', 'admin', 'member'))
);
comment on table public.channel_members is
'The members of a channel and their roles. Non-members see nothing of the channel. A member who is not in
the workspace is a guest.';
create index channel_members_user_id_idx on public.channel_members (user_id);
alter table public.channel_members enable row level security;

-- Views named my_ have the rights of their owner: a policy on channel_members that reads channel_members directly
-- would recurse. Views and not functions, because Postgres plans a view into the query.
create view private.my_channels
with (security_barrier = true) as
select member.channel_id as id
from public.channel_members as member
where member.user_id = (select auth.uid());
comment on view private.my_channels is 'Channels of the caller.';

create view private.my_managed_channels
with (security_barrier = true) as
select member.channel_id as id
from public.channel_members as member
where member.user_id = (select auth.uid()) and member.role in ('owner', 'admin');
comment on view private.my_managed_channels is 'Channels that the caller manages, as owner or admin.';

create view private.my_owned_channels
with (security_barrier = true) as
select member.channel_id as id
from public.channel_members as member
where member.user_id = (select auth.uid()) and member.role = 'owner';
comment on view private.my_owned_channels is 'Channels that the caller owns.';

create view private.my_peers
with (security_barrier = true) as
select peer.user_id as id
from public.channel_members as mine
inner join public.channel_members as peer on mine.channel_id = peer.channel_id
where mine.user_id = (select auth.uid())
union all
select peer.user_id as id
from public.workspace_members as mine
inner join public.workspace_members as peer on mine.workspace_id = peer.workspace_id
where mine.user_id = (select auth.uid());
comment on view private.my_peers is
'Users who share a channel or a workspace with the caller, one row for each that they share.';

create function private.is_non_member(p_channel_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks the membership first, because it decides nearly every call.
    return not exists (
        select from public.channel_members as member
        where member.channel_id = p_channel_id and member.user_id = auth.uid()
    ) and auth.uid() is not null and not private.is_service();
end
$$;
comment on function private.is_non_member(uuid) is
'Whether the caller is a user who is not a member of the channel. BEFORE triggers check this before they lock the
channel, because policies run later.';

create function private.choose_display_name(p_metadata jsonb, p_email text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return left(regexp_replace(coalesce(
        nullif(btrim(p_metadata ->> 'full_name'), ''),
        nullif(btrim(p_metadata ->> 'name'), ''),
        nullif(split_part(p_email, '@', 1), ''),
        'User'
    ), private.hidden_characters(), '_', 'g'), 200);
end
$$;
comment on function private.choose_display_name(jsonb, text) is
'The name of a new user: from Supabase Auth, or the first part of the email address, without hidden characters.';

create function private.set_channel_workspace_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.workspace_id := new.created_by;
    return new;
end
$$;
comment on function private.set_channel_workspace_trigger() is
'Trigger: puts a channel that names no workspace into the personal workspace of its creator.';

create function private.choose_avatar_url(p_metadata jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Drops values that the profile cannot hold, so that they do not stop the sign-up.
    return (
        select named.url
        from (values (1, p_metadata ->> 'avatar_url'), (2, p_metadata ->> 'picture')) as named (place, url)
        where named.url ~* '^(https://|http://(localhost|127[.]0[.]0[.]1)[:/])' and char_length(named.url) <= 2000
        order by named.place
        limit 1
    );
end
$$;
comment on function private.choose_avatar_url(jsonb) is
'The picture of a new user, from Supabase Auth: avatar_url, or the picture of Google. Null if the profile cannot hold
it.';

-- Definer, because Supabase Auth creates users under a role that may not write here.
create function private.create_user_profile_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.user_profiles (user_id, display_name, avatar_url)
    values (
        new.id,
        private.choose_display_name(new.raw_user_meta_data, new.email),
        private.choose_avatar_url(new.raw_user_meta_data)
    )
    on conflict on constraint user_profiles_pkey do nothing;
    return null;
end
$$;
comment on function private.create_user_profile_trigger() is
'Creates the profile of a new user, with name and picture from Supabase Auth.';

-- Definer, because the creator is not a member yet and so may not add one.
create function private.add_channel_owner_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.created_by is not null then
        insert into public.channel_members (channel_id, user_id, role) values (new.id, new.created_by, 'owner')
        on conflict do nothing;
    end if;
    return null;
end
$$;
comment on function private.add_channel_owner_trigger() is 'Makes the creator of a channel its first owner.';

-- Users who signed up before this migration.
insert into public.user_profiles (user_id, display_name, avatar_url)
select
    existing.id,
    private.choose_display_name(existing.raw_user_meta_data, existing.email) as display_name,
    private.choose_avatar_url(existing.raw_user_meta_data) as avatar_url
from auth.users as existing
on conflict do nothing;

-- The event log of a channel: each change once, numbered from 1 without a gap, in the transaction of the change.
-- Each writer locks the counter of the channel first; this gives the changes of a channel their order.
--
-- Lock order of messages, twins and deliveries. Each step may be skipped, and none is taken before an earlier one:
--   1. counters of channels; several of them by channel id (erasing a user)
--   2. twins of the channel and their webhooks, by twin id
--   3. queues of the twins, by channel id and then twin id
--   4. deliveries in these queues
-- claim_deliveries skips locked queues and deliveries, so it waits for no writer.
-- An UPDATE of a message locks its row before the counter, because Postgres locks a row before its BEFORE trigger runs.

-- A table of its own, because it changes with every message and no client reads it.
create table private.channel_counters (
    channel_id uuid primary key references public.channels (id) on delete cascade,
    workspace_id uuid not null,
    last_seq bigint not null default 0,
    last_at timestamptz not null default '-infinity',
    message_count bigint not null default 0,
    member_count bigint not null default 0,
    language text,
    topic_turn integer not null default 0,
    sealed_until timestamptz not null default '-infinity',
    sealed_after bigint not null default 0
);
comment on table private.channel_counters is
'The last event of each channel. A writer locks this row before it changes the channel.';
comment on column private.channel_counters.workspace_id is
'The workspace of the channel. Messages and events copy it under the lock of this row.';
comment on column private.channel_counters.last_at is
'Time of the last event. The next event is later, even if the clock goes back.';
comment on column private.channel_counters.message_count is
'Number of messages that are not deleted. Stored, because counting a million is too slow.';
comment on column private.channel_counters.member_count is 'Number of members. Stored for the list of channels.';
comment on column private.channel_counters.language is
'The text search configuration for its messages; null without one. Triggers keep it (257_search_languages).';
comment on column private.channel_counters.topic_turn is
'How often a member has left. The topic of the sealed channel ends with it (decision 0014).';
comment on column private.channel_counters.sealed_until is
'Until then, a former member may still have an open connection, so channel:<id> carries only pointers.';
comment on column private.channel_counters.sealed_after is 'The last event that channel:<id> carries in full.';
alter table private.channel_counters enable row level security;

create table public.message_events (
    channel_id uuid not null references public.channels (id) on delete cascade,
    workspace_id uuid not null,
    seq bigint not null,
    kind text not null,
    message_id uuid,
    actor_id uuid,
    emoji text,
    created_at timestamptz not null,
    reaction_id uuid,
    added_at timestamptz,
    primary key (channel_id, seq),
    constraint message_events_kind_known check (
        kind in (
            'message.created', 'message.updated', 'message.deleted', 'message.pinned', 'message.unpinned',
            'reaction.added', 'reaction.removed', 'member.joined', 'member.left'
        )
    )
);
comment on table public.message_events is
'Each change of a channel, once, in order and without a gap. It names what changed; the contents stay in their tables.';
comment on column public.message_events.actor_id is
'The user who acted; for member events, the member. Null for a twin, and for service_role without a user_id.';
comment on column public.message_events.reaction_id is 'For reactions: the id of the reaction.';
comment on column public.message_events.added_at is 'For reactions and pins: when it was added.';
-- Tells render_event whether a message was pinned when it was edited, and redaction what was sent about a message.
create index message_events_changes_idx on public.message_events (message_id, seq)
where kind <> 'message.created';
-- For the clean-up. BRIN, because events arrive in order of time.
create index message_events_created_at_idx on public.message_events using brin (created_at);
alter table public.message_events enable row level security;

-- Definer, because no client writes counters.
create function private.create_channel_counter_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.channel_counters (channel_id, workspace_id) values (new.id, new.workspace_id);
    return null;
end
$$;
comment on function private.create_channel_counter_trigger() is 'Gives a new channel its counter.';

-- Only triggers and functions with the owner's rights call it: clients call lock_my_channel.
create function private.lock_channel(p_channel_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from private.channel_counters as counter where counter.channel_id = p_channel_id for no key update;
end
$$;
comment on function private.lock_channel(uuid) is
'Locks a channel until the transaction ends. Call it before you read a state that decides what you write.';

-- Definer, because no client may lock counters. It locks nothing for a non-member.
create function private.lock_my_channel(p_channel_id uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not private.is_non_member(p_channel_id) then
        perform private.lock_channel(p_channel_id);
    end if;
end
$$;
comment on function private.lock_my_channel(uuid) is 'Locks a channel of the caller until the transaction ends.';

create function private.event_clock() returns timestamptz
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return clock_timestamp();
end
$$;
comment on function private.event_clock() is
'The time now, for events. A function of its own, so that a test can set the clock by replacing it.';

create function private.lock_channels(p_channel_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform from private.channel_counters as counter
    where counter.channel_id = any(p_channel_ids)
    order by counter.channel_id
    for no key update;
end
$$;
comment on function private.lock_channels(uuid[]) is
'Locks several channels as lock_channel does, in the order of ids, so that two callers cannot deadlock.';

-- Definer, because no client writes events or counters.
create function private.record_event(
    p_channel_id uuid, p_kind text, p_message_id uuid, p_actor_id uuid, p_emoji text, p_messages integer,
    p_reaction_id uuid default null, p_added_at timestamptz default null,
    out seq bigint, out at timestamptz
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid;
begin
    -- Each event is later than the one before, even if the clock goes back: readers find old texts by these times.
    update private.channel_counters as counter
    set
        last_seq = counter.last_seq + 1,
        last_at = greatest(private.event_clock(), counter.last_at + interval '1 microsecond'),
        message_count = counter.message_count + p_messages,
        member_count = counter.member_count
            + case p_kind when 'member.joined' then 1 when 'member.left' then -1 else 0 end
    where counter.channel_id = p_channel_id
    returning counter.last_seq, counter.last_at, counter.workspace_id into seq, at, v_workspace_id;
    if seq is not null then
        insert into public.message_events (
            channel_id, workspace_id, seq, kind, message_id, actor_id, emoji, created_at, reaction_id, added_at
        )
        values (
            p_channel_id, v_workspace_id, record_event.seq, p_kind, p_message_id, p_actor_id, p_emoji,
            record_event.at, p_reaction_id, p_added_at
        );
    elsif exists (select from public.channels as channel where channel.id = p_channel_id) then
        raise object_not_in_prerequisite_state using
            message = 'A trigger of the application changed this channel before it had a counter. '
                'Give that trigger a name that sorts after channels_20_create_counter.';
    end if;
end
$$;
comment on function private.record_event(uuid, text, uuid, uuid, text, integer, uuid, timestamptz) is
'Writes the next event of a channel and returns its number and time. p_messages is added to the message count.
Writes nothing while the channel is being deleted.';

create function private.seal_channel(p_channel_id uuid, p_seq bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The event of the departure itself is sent in full, unless a former member may still listen.
    update private.channel_counters as counter
    set
        topic_turn = counter.topic_turn + 1,
        sealed_after = case when counter.sealed_until > clock_timestamp() then counter.sealed_after else p_seq end,
        sealed_until = clock_timestamp() + make_interval(secs => (select settings.token_seconds from private.settings))
    where counter.channel_id = p_channel_id;
end
$$;
comment on function private.seal_channel(uuid, bigint) is
'Turns the topic of a channel after a member left, because Realtime does not ask again before the token of that member
expires (decision 0014).';

-- What happens to a user outside of the channels they follow: added, removed, mentioned, read elsewhere, invited.
-- Each user has a log, numbered from 1 without a gap, and a topic, user:<id>, that carries it.
--
-- A writer of a channel locks the counter of the channel first (210_events), then counters of users, by user id.

create table private.user_counters (
    user_id uuid primary key references auth.users (id) on delete cascade,
    last_seq bigint not null
);
comment on table private.user_counters is 'The last event of each user. A writer locks this row until it commits.';
alter table private.user_counters enable row level security;

create table public.user_events (
    user_id uuid not null references auth.users (id) on delete cascade,
    seq bigint not null,
    kind text not null,
    workspace_id uuid,
    channel_id uuid,
    message_id uuid,
    details jsonb not null default '{}',
    created_at timestamptz not null default clock_timestamp(),
    primary key (user_id, seq),
    constraint user_events_kind_known check (
        kind in (
            'channel.joined', 'channel.left', 'channel.role_changed', 'channel.renamed', 'channel.deleted',
            'channel.read', 'message.mentioned', 'workspace.joined', 'workspace.left', 'workspace.role_changed',
            'invitation.created'
        )
    )
);
comment on table public.user_events is
'What happened to a user, in order and without a gap. The clean-up deletes old events.';
comment on column public.user_events.details is 'Fields of the payload that only this kind has: role, name, seq.';
-- For the clean-up. BRIN, because events arrive in order of time.
create index user_events_created_at_idx on public.user_events using brin (created_at);
-- For the deletion of a channel, which removes its name.
create index user_events_renamed_idx on public.user_events (channel_id) where kind = 'channel.renamed';
alter table public.user_events enable row level security;

create function private.record_user_events(
    p_user_ids uuid[], p_kind text, p_details jsonb,
    p_workspace_id uuid default null, p_channel_id uuid default null, p_message_id uuid default null
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    with numbered as (
        insert into private.user_counters as counter (user_id, last_seq)
        -- Users who are being deleted get none.
        select known.id, 1
        from auth.users as known
        where known.id = any(p_user_ids)
        order by known.id
        on conflict on constraint user_counters_pkey do update set last_seq = counter.last_seq + 1
        returning counter.user_id, counter.last_seq
    )

    insert into public.user_events (user_id, seq, kind, workspace_id, channel_id, message_id, details)
    select
        numbered.user_id, numbered.last_seq, p_kind, p_workspace_id, p_channel_id, p_message_id,
        jsonb_strip_nulls(p_details)
    from numbered;
end
$$;
comment on function private.record_user_events(uuid[], text, jsonb, uuid, uuid, uuid) is
'Writes the next event of each of these users.';

create function private.list_listening_members(p_channel_id uuid) returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select case when count(*) <= 1000 then array_agg(few.user_id) end
        from (
            select member.user_id
            from public.channel_members as member
            where member.channel_id = p_channel_id
            limit 1001
        ) as few
    );
end
$$;
comment on function private.list_listening_members(uuid) is
'The members of a channel, to tell each of them what happened to it; null above 1,000, because each costs a row.';

create function private.render_user_event(p_event public.user_events) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_event.details || jsonb_strip_nulls(jsonb_build_object(
        'workspace_id', p_event.workspace_id,
        'channel_id', p_event.channel_id,
        'message_id', p_event.message_id
    )) || jsonb_build_object(
        'seq', p_event.seq,
        'prev_seq', p_event.seq - 1,
        'created_at', private.format_time(p_event.created_at)
    );
end
$$;
comment on function private.render_user_event(public.user_events) is
'The payload of an event of a user, the same for broadcasts and for catching up.';

-- Definer, because only the database sends to these topics.
create function private.broadcast_user_events_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into realtime.messages (topic, extension, event, payload, private)
    select 'user:' || event.user_id, 'broadcast', event.kind, private.render_user_event(event), true
    from changed as event
    order by event.user_id, event.seq;
    return null;
exception
    when others then
        perform private.report_lost_broadcast('user:', sqlstate, sqlerrm);
        return null;
end
$$;
comment on function private.broadcast_user_events_trigger() is
'Trigger: sends events of users to their topics. A failed broadcast is only a warning.';

create function public.list_user_events(since bigint default 0, max_events integer default 200) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_page record;
begin
    if list_user_events.since is null or list_user_events.since < 0 then
        perform private.fail(
            400, 'invalid_field',
            'since is not the number of an event. Send meta.last_seq of the last page, or 0.', 'since'
        );
    elsif list_user_events.max_events is null or list_user_events.max_events not between 1 and 1000 then
        perform private.fail(
            400, 'invalid_field', 'max_events must be a whole number from 1 to 1000.', 'max_events'
        );
    end if;
    select
        coalesce(jsonb_agg(
            jsonb_build_object('event', found.kind, 'payload', private.render_user_event(found.event))
            order by found.seq
        ) filter (where found.place <= list_user_events.max_events), '[]') as events,
        min(found.seq) as first_seq,
        max(found.seq) filter (where found.place <= list_user_events.max_events) as last_seq,
        count(*) > list_user_events.max_events as has_more
    into v_page
    from (
        select event, event.seq, event.kind, row_number() over (order by event.seq) as place
        from public.user_events as event
        where event.user_id = (select auth.uid()) and event.seq > list_user_events.since
        order by event.seq
        limit list_user_events.max_events + 1
    ) as found;
    return private.succeed(v_page.events, jsonb_build_object(
        'last_seq', coalesce(v_page.last_seq, (
            select least(list_user_events.since, max(event.seq))
            from public.user_events as event
            where event.user_id = (select auth.uid())
        ), 0),
        'has_more', v_page.has_more,
        'is_incomplete', coalesce(v_page.first_seq > list_user_events.since + 1, false)
    ));
end
$$;
comment on function public.list_user_events(bigint, integer) is
'Lists the events of the caller after a number, in order, as event and payload like a broadcast of user:<id>. Takes
since and max_events (1 to 1000). meta.is_incomplete says that older ones were deleted: then read list_my_channels.';

-- Rules of membership. Only owners make, change or remove owners, and a channel always keeps one owner.

-- Definer, because it must see all members to know whether the caller is an owner.
create function private.protect_owners_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks clients only, under any role name. Supabase Auth deletes users with their memberships, and has no token.
    if auth.role() is not null and not private.is_service()
        and (tg_op <> 'INSERT' and old.role = 'owner' or tg_op <> 'DELETE' and new.role = 'owner')
        and not (
            tg_op = 'DELETE'
            and (
                old.user_id = (select auth.uid())
                -- Deleting a channel deletes all members.
                or not exists (select from public.channels as channel where channel.id = old.channel_id)
            )
        )
        and not exists (
            select from public.channel_members as owner
            where owner.channel_id = coalesce(new.channel_id, old.channel_id)
                and owner.user_id = (select auth.uid()) and owner.role = 'owner'
        )
        -- The creator becomes the first owner. Others may not bring back a creator who left.
        and not exists (
            select from public.channels as made
            where made.id = new.channel_id
                and made.created_by = new.user_id and new.user_id = (select auth.uid()) and tg_op = 'INSERT'
        )
    then
        -- The SQLSTATE of a failed policy: the caller lacks a right.
        raise insufficient_privilege using
            message = 'Only an owner can make, change or remove an owner. Ask an owner of this channel.',
            detail = 'owner_required';
    end if;
    return coalesce(new, old);
end
$$;
comment on function private.protect_owners_trigger() is
'Rejects changes of owners by callers who do not own the channel.';

-- Definer, because it must see all members to know whether one is the last owner.
create function private.require_owner_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks clients and service_role, but not Supabase Auth, which deletes users with their memberships.
    if auth.role() is null
        or (tg_op = 'UPDATE' and new.role = 'owner' and new.channel_id = old.channel_id)
    then
        return coalesce(new, old);
    end if;
    -- If two owners leave at once, the second waits here and then sees that the first is gone.
    perform private.lock_channel(old.channel_id);
    if not exists (
        select from public.channel_members as other
        where other.channel_id = old.channel_id and other.user_id <> old.user_id and other.role = 'owner'
    ) and exists (
        -- Deleting a channel deletes all members.
        select from public.channels as channel where channel.id = old.channel_id
    ) then
        perform private.fail(
            409, 'last_owner', 'A channel needs an owner. Make another member owner first, or delete the channel.'
        );
    end if;
    return coalesce(new, old);
end
$$;
comment on function private.require_owner_trigger() is
'Raises PT409 if the last owner of a channel leaves or changes role.';

-- Definer, because a manager who is a guest may not read the members of the workspace.
create function private.require_workspace_member_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Other callers than managers get the error of the policy, which says nothing about the user.
    if not private.is_service()
        and new.user_id <> (select auth.uid())
        and exists (select from private.my_managed_channels as mine where mine.id = new.channel_id)
        and not exists (
            select from public.channels as channel
            inner join public.workspace_members as member on channel.workspace_id = member.workspace_id
            where channel.id = new.channel_id and member.user_id = new.user_id
        )
    then
        raise insufficient_privilege using
            message = 'Only members of the workspace can be added to its channels. Invite this user as a guest.',
            detail = 'workspace_member_required',
            hint = 'Call the function create_invitation.';
    end if;
    return new;
end
$$;
comment on function private.require_workspace_member_trigger() is
'Rejects a member of a channel who is not in its workspace: guests join by invitation.';

-- Definer, because no client writes events.
create function private.record_member_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op <> 'INSERT' then
        perform private.seal_channel(
            old.channel_id,
            (private.record_event(old.channel_id, 'member.left', null, old.user_id, null, 0)).seq
        );
    end if;
    if tg_op <> 'DELETE' then
        perform private.record_event(new.channel_id, 'member.joined', null, new.user_id, null, 0);
    end if;
    return null;
end
$$;
comment on function private.record_member_trigger() is 'Records an event when a member joins or leaves, and
turns the topic of the channel when one leaves.';

-- Definer, because no client writes the audit log.
create function private.audit_channel_role_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(
        channel.workspace_id, 'channel_member.role_changed', new.user_id,
        jsonb_build_object('channel_id', new.channel_id, 'role', new.role, 'old_role', old.role)
    )
    from public.channels as channel
    where channel.id = new.channel_id;
    return null;
end
$$;
comment on function private.audit_channel_role_trigger() is 'Trigger: records that a member of a channel changed role.';

-- What each member keeps for themselves: how far they have read, muted, pinned, hidden. All devices share it.
-- Promise: a read marker only moves forward.

create table public.member_states (
    channel_id uuid not null,
    user_id uuid not null,
    read_seq bigint not null default 0,
    is_muted boolean not null default false,
    is_pinned boolean not null default false,
    hidden_seq bigint,
    primary key (channel_id, user_id),
    constraint member_states_member_fkey foreign key (channel_id, user_id)
    references public.channel_members (channel_id, user_id) on update cascade on delete cascade
);
comment on table public.member_states is 'The read marker and the preferences of each member of a channel.';
comment on column public.member_states.read_seq is
'The read marker: the user has read this event and all before it. Messages of the user move it too.';
comment on column public.member_states.is_muted is 'A muted channel sends no message.mentioned for <!channel>.';
comment on column public.member_states.hidden_seq is
'The user left this direct channel after this event. It is hidden until a newer message.';
create index member_states_user_id_idx on public.member_states (user_id);
alter table public.member_states enable row level security;

-- Definer, because no client writes states or reads counters.
create function private.create_member_state_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.member_states (channel_id, user_id, read_seq)
    select new.channel_id, new.user_id, counter.last_seq
    from private.channel_counters as counter
    where counter.channel_id = new.channel_id;
    return null;
end
$$;
comment on function private.create_member_state_trigger() is
'Trigger: gives a new member a read marker. What was written before counts as read.';

-- Definer, because no client may lock a counter.
create function private.lock_member_channel_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.lock_channel(old.channel_id);
    return old;
end
$$;
comment on function private.lock_member_channel_trigger() is
'Trigger: locks the channel before the state of a member who leaves is deleted. A message of that member locks them in
the same order.';

-- Definer, because the caller may not write events of users, nor of other members.
create function private.record_membership_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        perform private.record_user_events(
            array[new.user_id], 'channel.joined', jsonb_build_object('role', new.role), null, new.channel_id
        );
    elsif tg_op = 'UPDATE' then
        perform private.record_user_events(
            array[new.user_id], 'channel.role_changed', jsonb_build_object('role', new.role), null, new.channel_id
        );
    else
        perform private.record_user_events(
            array[old.user_id],
            -- Deleting a channel deletes all members.
            case when exists (select from public.channels as channel where channel.id = old.channel_id)
                then 'channel.left' else 'channel.deleted' end,
            '{}', null, old.channel_id
        );
    end if;
    return null;
end
$$;
comment on function private.record_membership_trigger() is
'Trigger: tells a user that they joined a channel, left it, or got another role there, or that it was deleted.';

-- Definer, because the caller may not write events of users.
create function private.record_workspace_membership_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A personal workspace has the id of its user, who knows of it.
    if coalesce(new.workspace_id, old.workspace_id) <> coalesce(new.user_id, old.user_id) then
        perform private.record_user_events(
            array[coalesce(new.user_id, old.user_id)],
            case tg_op when 'INSERT' then 'workspace.joined' when 'DELETE' then 'workspace.left'
                else 'workspace.role_changed' end,
            jsonb_build_object('role', new.role),
            coalesce(new.workspace_id, old.workspace_id)
        );
    end if;
    return null;
end
$$;
comment on function private.record_workspace_membership_trigger() is
'Trigger: tells a user that they joined a workspace, left it, or got another role there.';

-- Definer, because the caller may not write events of other users.
create function private.record_renaming_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_user_events(
        private.list_listening_members(new.id), 'channel.renamed', jsonb_build_object('name', new.name),
        null, new.id
    );
    return null;
end
$$;
comment on function private.record_renaming_trigger() is
'Trigger: tells up to 1,000 members the new name of a channel.';

-- Definer, because the caller may not change events of users.
create function private.forget_channel_name_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.user_events as event set details = event.details - 'name'
    where event.channel_id = old.id and event.kind = 'channel.renamed';
    if not found then
        return null;
    end if;
    begin
        update realtime.messages as sent set payload = sent.payload - 'name'
        where sent.extension = 'broadcast' and sent.private and starts_with(sent.topic, 'user:')
            and sent.event = 'channel.renamed' and sent.payload ->> 'channel_id' = old.id::text;
    exception
        when others then
            perform private.report_lost_broadcast('redacted', sqlstate, sqlerrm);
    end;
    return null;
end
$$;
comment on function private.forget_channel_name_trigger() is
'Trigger: removes the names of a deleted channel from the events of its members.';

-- Definer, because the caller may not read addresses of users.
create function private.record_invitation_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_user_events(
        array(
            select invited.id
            from auth.users as invited
            where invited.email = new.email and invited.email_confirmed_at is not null
        ),
        'invitation.created',
        jsonb_build_object('invitation_id', new.id, 'role', new.role),
        new.workspace_id, new.channel_id
    );
    return null;
end
$$;
comment on function private.record_invitation_trigger() is
'Trigger: tells the user with the invited, confirmed address.';

-- Definer, because no client writes markers or reads counters.
create function private.mark_read(p_channel_id uuid, p_seq bigint) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_read_seq bigint;
begin
    update public.member_states as mine
    set read_seq = least(p_seq, counter.last_seq)
    from private.channel_counters as counter
    where mine.channel_id = p_channel_id
        and mine.user_id = (select auth.uid())
        and counter.channel_id = mine.channel_id
        and least(p_seq, counter.last_seq) > mine.read_seq
    returning mine.read_seq into v_read_seq;
    if found then
        perform private.record_user_events(
            array[(select auth.uid())], 'channel.read', jsonb_build_object('read_seq', v_read_seq), null, p_channel_id
        );
        return v_read_seq;
    end if;
    return (
        select mine.read_seq
        from public.member_states as mine
        where mine.channel_id = p_channel_id and mine.user_id = (select auth.uid())
    );
end
$$;
comment on function private.mark_read(uuid, bigint) is
'Moves the read marker of the caller forward, at most to the last event, and returns it; null for non-members.';

create function public.mark_read(channel_id uuid, seq bigint) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_read_seq bigint;
begin
    if mark_read.seq is null or mark_read.seq < 0 then
        perform private.fail(400, 'invalid_field', 'seq must be the number of an event of this channel.', 'seq');
    end if;
    v_read_seq := private.mark_read(mark_read.channel_id, mark_read.seq);
    if v_read_seq is null then
        perform private.fail(
            404, 'channel_not_found', 'This channel does not exist, or you may not see it.', 'channel_id'
        );
    end if;
    return json_build_object('channel_id', mark_read.channel_id, 'read_seq', v_read_seq);
end
$$;
comment on function public.mark_read(uuid, bigint) is
'Moves the read marker of the caller in a channel to the event seq and tells the other devices. It never moves back.
Returns channel_id and read_seq.';

-- Direct channels (dm): one for each set of people in a workspace. All members are equal: the set never changes, and
-- no member manages it. Leaving hides it until a new message comes.

-- Invoker, because row_security_active then tells a client from a function of ours and from service_role.
create function private.reject_direct_channel_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active('public.channels') then
        perform private.fail(
            403, 'direct_channel', 'A direct channel is opened, not inserted. Call open_direct(user_ids).', 'kind'
        );
    end if;
    return new;
end
$$;
comment on function private.reject_direct_channel_trigger() is
'Trigger: rejects a direct channel that a client inserts.';

-- Invoker, as above.
create function private.reject_direct_member_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active('public.channel_members') and exists (
        select from public.channels as channel where channel.id = new.channel_id and channel.kind = 'dm'
    ) then
        perform private.fail(
            403, 'direct_channel',
            'The people of a direct channel do not change. Call open_direct(user_ids) for another set of people.'
        );
    end if;
    return new;
end
$$;
comment on function private.reject_direct_member_trigger() is
'Trigger: rejects a member whom a client adds to a direct channel.';

-- Definer, because no client writes states or reads counters.
create function private.hide_direct_channel(p_channel_id uuid, p_user_id uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_user_id is distinct from (select auth.uid()) then
        perform private.fail(403, 'direct_channel', 'You can leave a direct channel only yourself.');
    end if;
    update public.member_states as mine set hidden_seq = counter.last_seq
    from private.channel_counters as counter
    where mine.channel_id = p_channel_id and mine.user_id = p_user_id and counter.channel_id = p_channel_id;
end
$$;
comment on function private.hide_direct_channel(uuid, uuid) is
'Hides a direct channel from the caller until a new message. PT403 for another user.';

-- Invoker, as above.
create function private.keep_direct_member_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active('public.channel_members') and exists (
        select from public.channels as channel where channel.id = old.channel_id and channel.kind = 'dm'
    ) then
        perform private.hide_direct_channel(old.channel_id, old.user_id);
        return null;
    end if;
    return old;
end
$$;
comment on function private.keep_direct_member_trigger() is
'Trigger: a client that leaves a direct channel hides it and stays a member.';

create function private.find_shared_workspace(p_user_ids uuid[], p_direct_key bytea, p_workspace_id uuid) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select workspace.id
        from public.workspaces as workspace
        inner join public.workspace_members as mine
            on workspace.id = mine.workspace_id and mine.user_id = (select auth.uid())
        where (p_workspace_id is null or workspace.id = p_workspace_id)
            and not exists (
                select from unnest(p_user_ids) as wanted (id)
                where not exists (
                    select from public.workspace_members as member
                    where member.workspace_id = workspace.id and member.user_id = wanted.id
                )
            )
        order by
            exists (
                select from public.channels as channel
                where channel.workspace_id = workspace.id and channel.direct_key = p_direct_key
            ) desc,
            workspace.is_personal desc, workspace.created_at, workspace.id
        limit 1
    );
end
$$;
comment on function private.find_shared_workspace(uuid[], bytea, uuid) is
'The workspace of the caller to which all these users belong; if there are several, first the one in which they have
a direct channel, then the personal one, then the oldest. Null if they share none.';

-- Definer, because no client inserts direct channels. It admits only members of one workspace of the caller.
create function private.open_direct(p_user_ids uuid[], p_workspace_id uuid) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_ids uuid[] := array(
        select distinct wanted.id from unnest(p_user_ids || (select auth.uid())) as wanted (id) order by wanted.id
    );
    v_direct_key bytea := sha256(convert_to(array_to_string(v_user_ids, ','), 'UTF8'));
    v_workspace_id uuid := private.find_shared_workspace(v_user_ids, v_direct_key, p_workspace_id);
    v_channel_id uuid;
begin
    if v_workspace_id is null or array_position(v_user_ids, null) is not null then
        return null;
    end if;
    -- A second caller waits here for the first, and then finds its channel.
    insert into public.channels (workspace_id, kind, direct_key, created_by)
    values (v_workspace_id, 'dm', v_direct_key, (select auth.uid()))
    on conflict on constraint channels_direct_key_unique do nothing;
    select channel.id into v_channel_id
    from public.channels as channel
    where channel.workspace_id = v_workspace_id and channel.direct_key = v_direct_key;
    -- Also brings back a user who left the workspace and joined it again.
    insert into public.channel_members (channel_id, user_id)
    select v_channel_id, missing.id
    from unnest(v_user_ids) as missing (id)
    where not exists (
        select from public.channel_members as member
        where member.channel_id = v_channel_id and member.user_id = missing.id
    )
    on conflict do nothing;
    update public.member_states as mine set hidden_seq = null
    where mine.channel_id = v_channel_id and mine.user_id = (select auth.uid()) and mine.hidden_seq is not null;
    return v_channel_id;
end
$$;
comment on function private.open_direct(uuid[], uuid) is
'Opens or finds the direct channel of these users and the caller; null unless all are in one workspace of the caller.';

create function public.open_direct(user_ids uuid[], workspace_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    c_max_others constant integer := 9;
    v_channel_id uuid;
begin
    if open_direct.user_ids is null or cardinality(open_direct.user_ids) > c_max_others then
        perform private.fail(
            400, 'invalid_field', format('user_ids must be an array of at most %s UUIDs.', c_max_others), 'user_ids'
        );
    end if;
    v_channel_id := private.open_direct(open_direct.user_ids, open_direct.workspace_id);
    if v_channel_id is null then
        raise insufficient_privilege using
            message = 'A direct channel needs people who share a workspace with you. Invite them first.',
            detail = 'workspace_member_required',
            hint = 'Call the function create_invitation.';
    end if;
    return (select to_json(channel) from public.channels as channel where channel.id = v_channel_id);
end
$$;
comment on function public.open_direct(uuid[], uuid) is
'Opens or finds the one direct channel of the caller and up to 9 other users, and returns it. All must be members of one
workspace of the caller; workspace_id chooses if they share several.';

-- Invitations: how a user joins a workspace, or one of its channels as a guest.
-- Promise: no user becomes a member without accepting, and an invitation is used once.

create table public.workspace_invitations (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    channel_id uuid,
    email text,
    role text not null,
    token_hash bytea not null,
    invited_by uuid references auth.users (id) on delete set null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    accepted_at timestamptz,
    accepted_by uuid references auth.users (id) on delete set null,
    constraint workspace_invitations_channel_id_fkey foreign key (workspace_id, channel_id)
    references public.channels (workspace_id, id) on update cascade on delete cascade,
    constraint workspace_invitations_token_hash_unique unique (token_hash),
    constraint workspace_invitations_token_hash_is_sha256 check (octet_length(token_hash) = 32),
    constraint workspace_invitations_role_known check (role in ('owner', 'admin', 'member', 'guest')),
    constraint workspace_invitations_guest_has_channel check ((role = 'guest') = (channel_id is not null)),
    constraint workspace_invitations_email_form check (
        email = lower(email) and email ~ '^[^@[:space:]]+@[^@[:space:]]+$' and char_length(email) <= 320
    )
);
comment on table public.workspace_invitations is
'Invitations to a workspace, or of a guest to one channel. Those who manage it read them; tokens are stored as hashes.';
comment on column public.workspace_invitations.channel_id is
'The channel of a guest; null for a member of the workspace.';
comment on column public.workspace_invitations.email is
'Only the user with this confirmed address may accept; null lets any user with the token accept.';
create index workspace_invitations_channel_id_idx on public.workspace_invitations (workspace_id, channel_id);
create index workspace_invitations_invited_by_idx on public.workspace_invitations (invited_by);
create index workspace_invitations_accepted_by_idx on public.workspace_invitations (accepted_by);
create index workspace_invitations_email_idx on public.workspace_invitations (email)
where accepted_at is null and revoked_at is null;
-- One open invitation for each address, else a manager could fill the list of a user who is no member.
create unique index workspace_invitations_open_idx on public.workspace_invitations (workspace_id, channel_id, email)
nulls not distinct where email is not null and accepted_at is null and revoked_at is null;
alter table public.workspace_invitations enable row level security;

create function private.revoke_open_invitation(p_workspace_id uuid, p_channel_id uuid, p_email text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    update public.workspace_invitations as invitation set revoked_at = now()
    where invitation.email = lower(p_email)
        and invitation.workspace_id = p_workspace_id
        and invitation.channel_id is not distinct from p_channel_id
        and invitation.accepted_at is null
        and invitation.revoked_at is null
    returning invitation.id into v_id;
    if found then
        perform private.record_audit(p_workspace_id, 'invitation.revoked', v_id, '{}');
    end if;
end
$$;
comment on function private.revoke_open_invitation(uuid, uuid, text) is
'Revokes the open invitation of an address to a workspace or channel, which a new one replaces.';

-- Definer, because no client writes invitations. It checks what the caller manages.
create function private.create_invitation(
    p_workspace_id uuid, p_channel_id uuid, p_email text, p_role text, p_valid_for interval
)
returns json
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_token text := private.generate_secret();
    v_workspace_id uuid := p_workspace_id;
    v_invitation public.workspace_invitations;
begin
    -- Times too, because comparing intervals counts each month as 30 days: long ones can compare as short.
    if p_valid_for is null or p_valid_for not between interval '1 minute' and interval '30 days'
        or now() + p_valid_for not between now() + interval '1 minute' and now() + interval '30 days'
    then
        perform private.fail(400, 'invalid_field', 'valid_for must be from 1 minute to 30 days.', 'valid_for');
    elsif p_channel_id is not null then
        select channel.workspace_id into v_workspace_id
        from public.channels as channel
        inner join private.my_managed_channels as managed on channel.id = managed.id
        inner join private.my_workspaces as mine on channel.workspace_id = mine.id
        where channel.id = p_channel_id and channel.kind = 'channel';
        if not found then
            perform private.fail(
                404, 'channel_not_found', 'You manage no such channel. Check channel_id.', 'channel_id'
            );
        end if;
    elsif not exists (select from private.my_managed_workspaces as mine where mine.id = p_workspace_id) then
        perform private.fail(
            404, 'workspace_not_found', 'You manage no such workspace. Check workspace_id.', 'workspace_id'
        );
    elsif p_workspace_id = (select auth.uid()) then
        perform private.fail(
            409, 'personal_workspace', 'A personal workspace has one member. Create a workspace for your team.'
        );
    elsif p_role = 'owner'
        and not exists (select from private.my_owned_workspaces as mine where mine.id = p_workspace_id)
    then
        raise insufficient_privilege using
            message = 'Only an owner can make, change or remove an owner. Ask an owner of this workspace.',
            detail = 'owner_required';
    end if;
    perform private.revoke_open_invitation(v_workspace_id, p_channel_id, p_email);
    insert into public.workspace_invitations (
        workspace_id, channel_id, email, role, token_hash, invited_by, expires_at
    )
    values (
        v_workspace_id, p_channel_id, lower(p_email), case when p_channel_id is null then p_role else 'guest' end,
        private.hash_secret(v_token), (select auth.uid()), now() + p_valid_for
    )
    returning * into v_invitation;
    perform private.record_audit(
        v_workspace_id, 'invitation.created', v_invitation.id, jsonb_build_object('role', v_invitation.role)
    );
    return (to_jsonb(v_invitation) - 'token_hash') || jsonb_build_object('token', v_token);
end
$$;
comment on function private.create_invitation(uuid, uuid, text, text, interval) is
'Creates an invitation and returns it with its token. PT404 unless the caller manages the workspace or the channel.';

create function public.create_invitation(
    workspace_id uuid default null, channel_id uuid default null, email text default null,
    role text default 'member', valid_for interval default '7 days'
)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.create_invitation(
        create_invitation.workspace_id, create_invitation.channel_id, create_invitation.email,
        create_invitation.role, create_invitation.valid_for
    );
end
$$;
comment on function public.create_invitation(uuid, uuid, text, text, interval) is
'Invites a user to a workspace that the caller manages, or a guest to a channel that the caller manages. With email,
only the user with this confirmed address may accept, and an earlier open invitation of the address is revoked. The
answer contains the token, which is shown only once: send it as a part of a link. valid_for is 1 minute to 30 days.';

create function private.is_inviter_entitled(p_invitation public.workspace_invitations) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from public.workspace_members as inviter
        where inviter.workspace_id = p_invitation.workspace_id
            and inviter.user_id = p_invitation.invited_by
            and case
                when p_invitation.channel_id is not null then exists (
                    select from public.channel_members as manager
                    where manager.channel_id = p_invitation.channel_id
                        and manager.user_id = p_invitation.invited_by
                        and manager.role in ('owner', 'admin')
                )
                when p_invitation.role = 'owner' then inviter.role = 'owner'
                else inviter.role in ('owner', 'admin')
            end
    );
end
$$;
comment on function private.is_inviter_entitled(public.workspace_invitations) is
'Whether the user who made an invitation could still make it. An invitation ends with the right to make it.';

-- Definer, because the invited user may not read the invitation, and no client inserts members.
create function private.accept_invitation(p_token text, p_invitation_id uuid) returns json
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_invitation public.workspace_invitations;
begin
    select invitation.* into v_invitation
    from public.workspace_invitations as invitation
    where (
        invitation.token_hash = private.hash_secret(p_token)
        or (invitation.id = p_invitation_id and invitation.email is not null)
    )
    and (
        invitation.email is null
        or exists (
            select from auth.users as me
            where me.id = (select auth.uid())
                and lower(me.email) = invitation.email and me.email_confirmed_at is not null
        )
    )
    and (
        invitation.accepted_by = (select auth.uid())
        or (
            invitation.accepted_at is null and invitation.revoked_at is null and invitation.expires_at > now()
            and private.is_inviter_entitled(invitation)
        )
    )
    for update;
    if not found then
        perform private.fail(
            404, 'invitation_not_found',
            'This invitation does not exist, was used, revoked or has expired, or is for another address. '
            'Ask for a new one.'
        );
    end if;
    if v_invitation.accepted_at is null then
        perform private.admit_invited(v_invitation);
    end if;
    return json_build_object(
        'workspace_id', v_invitation.workspace_id,
        'channel_id', v_invitation.channel_id,
        'role', v_invitation.role
    );
end
$$;
comment on function private.accept_invitation(text, uuid) is
'Makes the caller a member or guest. A repeated call of the same user changes nothing. PT404 if the invitation cannot be
used by the caller.';

create function private.admit_invited(p_invitation public.workspace_invitations) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.workspace_invitations as invitation
    set accepted_at = now(), accepted_by = (select auth.uid())
    where invitation.id = p_invitation.id;
    if p_invitation.channel_id is null then
        insert into public.workspace_members (workspace_id, user_id, role)
        values (p_invitation.workspace_id, (select auth.uid()), p_invitation.role)
        on conflict do nothing;
    else
        insert into public.channel_members (channel_id, user_id)
        values (p_invitation.channel_id, (select auth.uid()))
        on conflict do nothing;
    end if;
    perform private.record_audit(
        p_invitation.workspace_id, 'invitation.accepted', p_invitation.id,
        jsonb_build_object('role', p_invitation.role)
    );
end
$$;
comment on function private.admit_invited(public.workspace_invitations) is
'Marks an invitation as used and adds the caller. The caller of this function has locked and checked the invitation.';

create function public.accept_invitation(token text default null, invitation_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.accept_invitation(accept_invitation.token, accept_invitation.invitation_id);
end
$$;
comment on function public.accept_invitation(text, uuid) is
'Accepts an invitation by its token, or by its id if it names the address of the caller. Returns workspace_id,
channel_id and role. PT404 if the caller cannot use it.';

-- Definer, because no client writes invitations. It checks what the caller manages.
create function private.revoke_invitation(p_invitation_id uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid;
begin
    update public.workspace_invitations as invitation
    set revoked_at = coalesce(invitation.revoked_at, now())
    where invitation.id = p_invitation_id
        and invitation.accepted_at is null
        and (
            exists (select from private.my_managed_workspaces as mine where mine.id = invitation.workspace_id)
            or exists (select from private.my_managed_channels as mine where mine.id = invitation.channel_id)
        )
    returning invitation.workspace_id into v_workspace_id;
    if v_workspace_id is null then
        perform private.fail(
            404, 'invitation_not_found', 'You manage no such open invitation. Check invitation_id.', 'invitation_id'
        );
    end if;
    perform private.record_audit(v_workspace_id, 'invitation.revoked', p_invitation_id, '{}');
end
$$;
comment on function private.revoke_invitation(uuid) is
'Revokes an open invitation. PT404 unless the caller manages its workspace or channel.';

create function public.revoke_invitation(invitation_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.revoke_invitation(revoke_invitation.invitation_id);
end
$$;
comment on function public.revoke_invitation(uuid) is
'Revokes an invitation that is not accepted. PT404 unless the caller manages its workspace or channel.';

-- Definer, because the invited user may read neither the workspace nor the invitation.
create function private.list_my_invitations()
returns table (
    id uuid, workspace_id uuid, workspace_name text, channel_id uuid, channel_name text, role text,
    invited_by uuid, invited_by_name text, expires_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        invitation.id, workspace.id, workspace.name, channel.id, channel.name, invitation.role,
        invitation.invited_by, inviter.display_name, invitation.expires_at
    from auth.users as me
    inner join public.workspace_invitations as invitation on invitation.email = lower(me.email)
    inner join public.workspaces as workspace on invitation.workspace_id = workspace.id
    left join public.channels as channel on invitation.channel_id = channel.id
    left join public.user_profiles as inviter on invitation.invited_by = inviter.user_id
    where me.id = (select auth.uid())
        and me.email_confirmed_at is not null
        and invitation.accepted_at is null
        and invitation.revoked_at is null
        and invitation.expires_at > now()
        and private.is_inviter_entitled(invitation)
    order by invitation.created_at desc, invitation.id;
end
$$;
comment on function private.list_my_invitations() is
'Open invitations to the confirmed address of the caller, the newest first.';

create function public.list_my_invitations()
returns table (
    id uuid, workspace_id uuid, workspace_name text, channel_id uuid, channel_name text, role text,
    invited_by uuid, invited_by_name text, expires_at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select * from private.list_my_invitations();
end
$$;
comment on function public.list_my_invitations() is
'Open invitations to the confirmed address of the caller, newest first. Accept one with
accept_invitation(invitation_id => id).';

-- The directory of a workspace: its members find each other by name.
-- Promise: only members of the workspace read it.

-- Definer, because a policy would compare each member with each workspace of the caller. It checks that the caller is a
-- member.
create function private.list_workspace_members(p_workspace_id uuid, p_search text)
returns table (user_id uuid, role text, display_name text, avatar_url text, joined_at timestamptz)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select member.user_id, member.role, profile.display_name, profile.avatar_url, member.created_at
    from public.workspace_members as member
    inner join public.user_profiles as profile on member.user_id = profile.user_id
    where member.workspace_id = p_workspace_id
        and exists (select from private.my_workspaces as mine where mine.id = p_workspace_id)
        and (p_search is null or strpos(lower(profile.display_name), lower(p_search)) > 0)
    order by profile.display_name, member.user_id;
end
$$;
comment on function private.list_workspace_members(uuid, text) is
'The members of a workspace of the caller whose name contains p_search, by name. Empty for other workspaces.';

create function public.list_workspace_members(workspace_id uuid, search text default null)
returns table (user_id uuid, role text, display_name text, avatar_url text, joined_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select *
    from private.list_workspace_members(list_workspace_members.workspace_id, list_workspace_members.search);
end
$$;
comment on function public.list_workspace_members(uuid, text) is
'The directory of a workspace of the caller: role, name and picture of each member whose name contains search.';

-- Departures: what happens to the belongings of a user who leaves a workspace or is deleted.
-- Promise: connections, conversations, people and channels of a team stay and pass to an owner of the workspace. A
-- personal workspace goes with its user; its channels with other members pass to one of them.

create function private.set_claims(p_claims text[]) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    c_names constant text[] := array['request.jwt.claims', 'request.jwt.claim.sub', 'request.jwt.claim.role'];
    v_former text[];
begin
    -- The gateway sets all three, and auth.uid() reads the short ones first.
    for v_place in 1..3 loop
        v_former := v_former || coalesce(current_setting(c_names[v_place], true), '');
        perform set_config(c_names[v_place], p_claims[v_place], true);
    end loop;
    return v_former;
end
$$;
comment on function private.set_claims(text[]) is
'Sets the claims of the caller in their three settings and returns the former ones, to set them again. Empty texts mean
no claims, so that the rules for clients do not apply.';

create function private.find_heir(p_workspace_id uuid, p_user_id uuid) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select member.user_id
        from public.workspace_members as member
        where member.workspace_id = p_workspace_id and member.user_id <> p_user_id
        order by member.role <> 'owner', member.role <> 'admin', member.created_at, member.user_id
        limit 1
    );
end
$$;
comment on function private.find_heir(uuid, uuid) is
'The member to whom the belongings of a leaving user pass: the owner, or else the admin or member, of the longest
standing; null if the workspace has no other member.';

create function private.pass_belongings(p_workspace_id uuid, p_user_id uuid, p_heir uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The order of locks is that of ingest (131_ingest_conversations).
    perform pg_advisory_xact_lock(private.matching_lock(p_workspace_id));
    update public.messaging_connections as connection set user_id = p_heir
    where connection.workspace_id = p_workspace_id and connection.user_id = p_user_id;
    perform from public.conversations as conversation
    where conversation.workspace_id = p_workspace_id and conversation.user_id = p_user_id
    order by conversation.id
    for update;
    -- If the heir has ingested the same conversation, both stay, and the key of the passed one no longer takes part.
    update public.conversations as conversation
    set
        user_id = p_heir,
        scope_id = case
            when exists (
                select from public.conversations as other
                where other.platform = conversation.platform
                    and other.external_conversation_id = conversation.external_conversation_id
                    and other.user_id = p_heir
                    and other.scope_id = conversation.scope_id
            ) then conversation.id
            else conversation.scope_id
        end
    where conversation.workspace_id = p_workspace_id and conversation.user_id = p_user_id;
    update public.people as person set user_id = p_heir
    where person.workspace_id = p_workspace_id and person.user_id = p_user_id;
    update public.workspace_invitations as invitation set revoked_at = now()
    where invitation.workspace_id = p_workspace_id and invitation.invited_by = p_user_id
        and invitation.accepted_at is null and invitation.revoked_at is null;
end
$$;
comment on function private.pass_belongings(uuid, uuid, uuid) is
'Gives the connections, conversations and people of a leaving user to the heir, and revokes the user''s invitations.';

create function private.leave_channels(p_workspace_id uuid, p_user_id uuid, p_heir uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channels uuid[] := array(
        select member.channel_id
        from public.channel_members as member
        inner join public.channels as channel on member.channel_id = channel.id
        where member.user_id = p_user_id and channel.workspace_id = p_workspace_id
    );
    v_orphans uuid[];
begin
    perform private.lock_channels(v_channels);
    v_orphans := array(
        select lost.id
        from unnest(v_channels) as lost (id)
        inner join public.channels as channel on lost.id = channel.id
        -- A direct channel has no owner.
        where channel.direct_key is null and not exists (
            select from public.channel_members as owner
            where owner.channel_id = lost.id and owner.user_id <> p_user_id and owner.role = 'owner'
        )
    );
    update public.channel_members as member set role = 'owner'
    where (member.channel_id, member.user_id) in (
        select distinct on (other.channel_id) other.channel_id, other.user_id
        from public.channel_members as other
        inner join public.workspace_members as colleague
            on other.user_id = colleague.user_id and colleague.workspace_id = p_workspace_id
        where other.channel_id = any(v_orphans) and other.user_id <> p_user_id
        order by other.channel_id, other.role <> 'admin', other.created_at, other.user_id
    );
    insert into public.channel_members (channel_id, user_id, role)
    select lost.id, p_heir, 'owner'
    from unnest(v_orphans) as lost (id)
    inner join public.channels as channel on lost.id = channel.id
    -- No heir may read a dm.
    where channel.kind = 'channel' and p_heir is not null and not exists (
        select from public.channel_members as owner
        where owner.channel_id = lost.id and owner.user_id <> p_user_id and owner.role = 'owner'
    )
    on conflict do nothing;
    delete from public.channel_members as member
    where member.user_id = p_user_id and member.channel_id = any(v_channels);
end
$$;
comment on function private.leave_channels(uuid, uuid, uuid) is
'Removes a leaving user from the channels of a workspace. A channel without another owner gets its admin, or else its
member, of the longest standing as owner. Guests do not inherit: a channel without another member of the workspace gets
the heir.';

-- Definer, because a member who leaves may change nothing of others. Without claims, because the rules of clients do
-- not apply to what the system does.
create function private.hand_over_member_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_heir uuid := private.find_heir(old.workspace_id, old.user_id);
    v_claims text[];
begin
    -- Without an heir, the workspace itself is being deleted.
    if v_heir is not null
        and exists (select from public.workspaces as workspace where workspace.id = old.workspace_id)
    then
        v_claims := private.set_claims(array['', '', '']);
        update public.workspace_members as member set role = 'owner'
        where member.workspace_id = old.workspace_id and member.user_id = v_heir and not exists (
            select from public.workspace_members as owner
            where owner.workspace_id = old.workspace_id and owner.user_id <> old.user_id and owner.role = 'owner'
        );
        perform private.pass_belongings(old.workspace_id, old.user_id, v_heir);
        perform private.leave_channels(old.workspace_id, old.user_id, v_heir);
        perform private.set_claims(v_claims);
    end if;
    return null;
end
$$;
comment on function private.hand_over_member_trigger() is
'Trigger: passes the belongings of a member who left to an owner of the workspace.';

create function private.move_channels(p_workspace_id uuid, p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_moved record;
begin
    for v_moved in
        select distinct on (channel.id) channel.id, other.user_id as heir
        from public.channels as channel
        inner join public.channel_members as other on channel.id = other.channel_id and other.user_id <> p_user_id
        where channel.workspace_id = p_workspace_id
        order by channel.id, other.role <> 'owner', other.role <> 'admin', other.created_at, other.user_id
    loop
        update private.channel_counters as counter set workspace_id = v_moved.heir
        where counter.channel_id = v_moved.id;
        update public.channels as channel set workspace_id = v_moved.heir where channel.id = v_moved.id;
        update public.channel_members as member set role = 'owner'
        where member.channel_id = v_moved.id and member.user_id = v_moved.heir and member.role <> 'owner';
        update public.messages as message set workspace_id = v_moved.heir where message.channel_id = v_moved.id;
        update public.message_events as event set workspace_id = v_moved.heir where event.channel_id = v_moved.id;
    end loop;
end
$$;
comment on function private.move_channels(uuid, uuid) is
'Before a workspace is deleted with its user: moves each channel with guests into the personal workspace of one guest.';

create function private.leave_guest_channels(p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid;
begin
    for v_workspace_id in
        select distinct channel.workspace_id
        from public.channel_members as guest
        inner join public.channels as channel on guest.channel_id = channel.id
        where guest.user_id = p_user_id and not exists (
            select from public.workspace_members as member
            where member.workspace_id = channel.workspace_id and member.user_id = p_user_id
        )
        order by channel.workspace_id
    loop
        perform private.leave_channels(v_workspace_id, p_user_id, private.find_heir(v_workspace_id, p_user_id));
    end loop;
end
$$;
comment on function private.leave_guest_channels(uuid) is
'Removes a user from the channels where the user is a guest. If the guest is the only owner, the heir becomes owner.';

-- Definer, because Supabase Auth deletes users under a role that may not write here. Without claims, because the rules
-- of clients do not apply.
create function private.hand_over_user_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_claims text[];
    v_lonely uuid[];
begin
    v_claims := private.set_claims(array['', '', '']);
    v_lonely := array(
        select member.workspace_id
        from public.workspace_members as member
        where member.user_id = old.id and private.find_heir(member.workspace_id, old.id) is null
    );
    perform private.move_channels(lonely.id, old.id) from unnest(v_lonely) as lonely (id);
    -- The personal one goes by its foreign key.
    delete from public.workspaces as workspace where workspace.id = any(v_lonely) and not workspace.is_personal;
    delete from public.workspace_members as member
    where member.user_id = old.id and member.workspace_id <> old.id;
    perform private.leave_guest_channels(old.id);
    perform private.set_claims(v_claims);
    return old;
end
$$;
comment on function private.hand_over_user_trigger() is
'Trigger: before a user is deleted, passes on what belongs to teams and to guests, and deletes teams without another
member.';

-- The calls of /api/v2 for workspaces, members, invitations, and a user's own side of channels.
-- Promise: each call acts for the user of the token, and does the same as the table or function of the same name in the
-- Data API.

create function private.render_workspace(p_workspace public.workspaces, p_role text) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_workspace.id,
        'name', p_workspace.name,
        'is_personal', p_workspace.is_personal,
        'home_country', p_workspace.home_country,
        'language', p_workspace.language,
        'conversation_days', p_workspace.conversation_days,
        'channel_days', p_workspace.channel_days,
        'role', p_role,
        'created_at', private.format_time(p_workspace.created_at)
    );
end
$$;
comment on function private.render_workspace(public.workspaces, text) is
'A workspace as JSON, with the role of the caller.';

create function private.require_workspace(p_workspace_id uuid) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_role text := (
        select member.role
        from public.workspace_members as member
        where member.workspace_id = p_workspace_id and member.user_id = (select auth.uid())
    );
begin
    if v_role is null then
        perform private.fail(
            404, 'workspace_not_found', 'This workspace does not exist, or you are not a member.', 'workspace_id'
        );
    end if;
    return v_role;
end
$$;
comment on function private.require_workspace(uuid) is
'Returns the role of the caller in a workspace. PT404 unless the caller is a member.';

create function private.require_management(p_workspace_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.require_workspace(p_workspace_id) not in ('owner', 'admin') then
        perform private.fail(403, 'forbidden', 'Only owners and admins may do this. Ask one of this workspace.');
    end if;
end
$$;
comment on function private.require_management(uuid) is
'Raises PT404 unless the caller is a member of the workspace, and PT403 unless the caller manages it.';

-- Definer, because a policy would compare each workspace with each workspace of the caller.
create function private.list_workspaces(p_limit integer, p_offset integer)
returns table (workspace jsonb, place bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with mine as materialized (
        select
            member.role, known as workspace,
            row_number() over (order by known.is_personal desc, known.name, known.id) as place
        from public.workspace_members as member
        inner join public.workspaces as known on member.workspace_id = known.id
        where member.user_id = (select auth.uid())
        order by place
        limit p_limit
        offset p_offset
    )

    select private.render_workspace(mine.workspace, mine.role), mine.place from mine;
end
$$;
comment on function private.list_workspaces(integer, integer) is
'Workspaces of the caller, the personal one first, then by name.';

create function private.list_workspaces(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
begin
    perform private.require_user();
    return private.succeed_page(array(
        select mine.workspace from private.list_workspaces(v_limit + 1, v_offset) as mine order by mine.place
    ), v_limit);
end
$$;
comment on function private.list_workspaces(jsonb) is
'GET /api/v2/workspaces: the workspaces of the caller, the personal one first, then by name. Takes limit and offset.';

create function private.create_workspace(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text := private.parse_text($1, 'name', 200);
begin
    perform private.require_user();
    return private.succeed(private.render_workspace(private.create_workspace(
        v_name,
        nullif(private.parse_text($1, 'home_country', 100, ''), ''),
        nullif(private.parse_text($1, 'language', 100, ''), '')
    ), 'owner'), null, 201);
end
$$;
comment on function private.create_workspace(jsonb) is
'POST /api/v2/workspaces: makes a workspace for a team. Takes name, home_country and language.';

create function private.get_workspace(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
    v_role text;
begin
    perform private.require_user();
    v_role := private.require_workspace(v_id);
    return private.succeed((
        select private.render_workspace(workspace, v_role) from public.workspaces as workspace where workspace.id = v_id
    ));
end
$$;
comment on function private.get_workspace(jsonb) is
'GET /api/v2/workspaces/:id: a workspace of the caller, with the role of the caller. PT404 for others.';

create function private.update_workspace(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
begin
    perform private.require_user();
    perform private.require_management(v_id);
    update public.workspaces as workspace
    set
        name = case when $1 ? 'name' then private.parse_text($1, 'name', 200) else workspace.name end,
        home_country = case
            when $1 ? 'home_country' then nullif(private.parse_text($1, 'home_country', 100, ''), '')
            else workspace.home_country
        end,
        language = case
            when $1 ? 'language' then nullif(private.parse_text($1, 'language', 100, ''), '')
            else workspace.language
        end,
        conversation_days = case
            when $1 ? 'conversation_days' then private.parse_integer($1, 'conversation_days', 1, 36500, null)
            else workspace.conversation_days
        end,
        channel_days = case
            when $1 ? 'channel_days' then private.parse_integer($1, 'channel_days', 1, 36500, null)
            else workspace.channel_days
        end
    where workspace.id = v_id;
    return private.get_workspace($1);
end
$$;
comment on function private.update_workspace(jsonb) is
'PATCH /api/v2/workspaces/:id: changes the fields that are given: name, home_country, language, conversation_days,
channel_days. For owners and admins; only owners change the days.';

create function private.delete_workspace(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
begin
    perform private.require_user();
    if private.require_workspace(v_id) <> 'owner' then
        perform private.fail(403, 'owner_required', 'Only an owner can delete a workspace. Ask an owner of it.');
    elsif v_id = (select auth.uid()) then
        perform private.fail(
            409, 'personal_workspace', 'A personal workspace is deleted only with its user. Delete a team workspace.'
        );
    end if;
    delete from public.workspaces as workspace where workspace.id = v_id;
    return private.succeed(jsonb_build_object('id', v_id));
end
$$;
comment on function private.delete_workspace(jsonb) is
'DELETE /api/v2/workspaces/:id: deletes a team workspace with all that it owns. For owners.';

create function private.list_workspace_members(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
    v_search text := nullif(private.parse_text($1, 'search', 200, ''), '');
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
begin
    perform private.require_user();
    perform private.require_workspace(v_id);
    return private.succeed_page(array(
        select jsonb_build_object(
            'user_id', member.user_id,
            'role', member.role,
            'display_name', member.display_name,
            'avatar_url', member.avatar_url,
            'joined_at', private.format_time(member.joined_at)
        )
        -- The function gives them in their order.
        from private.list_workspace_members(v_id, v_search) as member
        limit v_limit + 1
        offset v_offset
    ), v_limit);
end
$$;
comment on function private.list_workspace_members(jsonb) is
'GET /api/v2/workspaces/:id/members: the directory, by name. Takes search, limit (1 to 1000, default 100) and offset.';

create function private.require_workspace_member(p_workspace_id uuid, p_user_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from public.workspace_members as member
        where member.workspace_id = p_workspace_id and member.user_id = p_user_id
    ) then
        perform private.fail(404, 'member_not_found', 'This user is not a member. Check member_id.', 'member_id');
    end if;
end
$$;
comment on function private.require_workspace_member(uuid, uuid) is
'Raises PT404 unless the user is a member of the workspace. Call it after a check of the caller''s own membership.';

create function private.set_member_role(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
    v_member_id uuid := private.parse_uuid($1, 'member_id');
    v_role text := private.parse_text($1, 'role', 100);
begin
    perform private.require_user();
    perform private.require_management(v_id), private.require_workspace_member(v_id, v_member_id);
    if v_role not in ('owner', 'admin', 'member') then
        perform private.fail(400, 'invalid_field', 'role must be owner, admin or member.', 'role');
    end if;
    update public.workspace_members as member set role = v_role
    where member.workspace_id = v_id and member.user_id = v_member_id and member.role <> v_role;
    return private.succeed(jsonb_build_object('workspace_id', v_id, 'user_id', v_member_id, 'role', v_role));
end
$$;
comment on function private.set_member_role(jsonb) is
'PUT /api/v2/workspaces/:id/members/:member_id: role. For owners and admins; only owners make, change or remove
owners.';

create function private.remove_workspace_member(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
    v_member_id uuid := private.parse_uuid($1, 'member_id');
begin
    perform private.require_user();
    if v_member_id = (select auth.uid()) then
        perform private.require_workspace(v_id);
    else
        perform private.require_management(v_id), private.require_workspace_member(v_id, v_member_id);
    end if;
    delete from public.workspace_members as member
    where member.workspace_id = v_id and member.user_id = v_member_id;
    return private.succeed(jsonb_build_object('workspace_id', v_id, 'user_id', v_member_id));
end
$$;
comment on function private.remove_workspace_member(jsonb) is
'DELETE /api/v2/workspaces/:id/members/:member_id: leaves, or for owners and admins expels.';

-- The calls of /api/v2 for invitations and for a user's own side of channels. As 228_workspace_calls, they act for the
-- user of the token.

create function private.create_invitation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id', false);
    v_workspace_id uuid := private.parse_uuid($1, 'workspace_id', v_channel_id is null);
    v_role text := private.parse_text($1, 'role', 100, 'member');
    v_made jsonb;
begin
    perform private.require_user();
    if v_channel_id is null then
        perform private.require_management(v_workspace_id);
    end if;
    if v_role not in ('owner', 'admin', 'member') then
        perform private.fail(400, 'invalid_field', 'role must be owner, admin or member.', 'role');
    end if;
    v_made := private.create_invitation(
        v_workspace_id, v_channel_id, nullif(private.parse_text($1, 'email', 320, ''), ''), v_role,
        private.parse_text($1, 'valid_for', 100, '7 days')::interval
    );
    return private.succeed(
        v_made - '{revoked_at,accepted_at,accepted_by}'::text[] || jsonb_build_object(
            'created_at', private.format_time((v_made ->> 'created_at')::timestamptz),
            'expires_at', private.format_time((v_made ->> 'expires_at')::timestamptz)
        ),
        null, 201
    );
end
$$;
comment on function private.create_invitation(jsonb) is
'POST /api/v2/workspaces/:id/invitations and /api/v2/channels/:id/invitations: email, role, valid_for. The answer has
the token, which is shown only once.';

create function private.list_invitations(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id', false);
    v_workspace_id uuid := private.parse_uuid($1, 'workspace_id', v_channel_id is null);
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
begin
    perform private.require_user();
    if v_channel_id is null then
        perform private.require_management(v_workspace_id);
    elsif not exists (select from private.my_managed_channels as mine where mine.id = v_channel_id) then
        perform private.fail(
            404, 'channel_not_found', 'You manage no such channel. Check channel_id.', 'channel_id'
        );
    end if;
    return private.succeed_page(array(
        select jsonb_build_object(
            'id', open.id, 'workspace_id', open.workspace_id, 'channel_id', open.channel_id,
            'email', open.email, 'role', open.role, 'invited_by', open.invited_by,
            'created_at', private.format_time(open.created_at),
            'expires_at', private.format_time(open.expires_at)
        )
        from public.workspace_invitations as open
        where (open.channel_id = v_channel_id or v_channel_id is null and open.workspace_id = v_workspace_id)
            and open.accepted_at is null and open.revoked_at is null and open.expires_at > now()
        order by open.created_at desc, open.id
        limit v_limit + 1
        offset v_offset
    ), v_limit);
end
$$;
comment on function private.list_invitations(jsonb) is
'GET /api/v2/workspaces/:id/invitations and /api/v2/channels/:id/invitations: the open ones, newest first, for those who
manage the workspace or the channel. Takes limit and offset.';

create function private.revoke_invitation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'invitation_id');
begin
    perform private.require_user();
    perform private.revoke_invitation(v_id);
    return private.succeed(jsonb_build_object('id', v_id));
end
$$;
comment on function private.revoke_invitation(jsonb) is 'DELETE /api/v2/invitations/:id: revokes an open invitation.';

create function private.list_my_invitations(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
begin
    perform private.require_user();
    return private.succeed_page(array(
        select to_jsonb(mine) || jsonb_build_object('expires_at', private.format_time(mine.expires_at))
        -- The function gives them in their order.
        from private.list_my_invitations() as mine
        limit v_limit + 1
        offset v_offset
    ), v_limit);
end
$$;
comment on function private.list_my_invitations(jsonb) is
'GET /api/v2/invitations: open invitations to the confirmed address of the caller, newest first. Takes limit and
offset.';

create function private.accept_invitation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_invitation_id uuid := private.parse_uuid($1, 'invitation_id', false);
    v_token text;
begin
    perform private.require_user();
    if v_invitation_id is null then
        v_token := private.parse_text($1, 'token', 1000);
    end if;
    return private.succeed(private.accept_invitation(v_token, v_invitation_id)::jsonb);
end
$$;
comment on function private.accept_invitation(jsonb) is
'POST /api/v2/invitations/accept: token, or invitation_id of an invitation to the address of the caller.';

create function private.parse_number(p_body jsonb, p_field text, p_default text) returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := coalesce(private.scalar_text(p_body, p_field), p_default);
begin
    if v_text is null then
        perform private.fail(400, 'missing_field', format('%s is required.', p_field), p_field);
    elsif v_text !~ '^[0-9]{1,18}$' then
        perform private.fail(400, 'invalid_field', format('%s must be the number of an event.', p_field), p_field);
    end if;
    return v_text::bigint;
end
$$;
comment on function private.parse_number(jsonb, text, text) is
'Parses the number of an event; without a default it is required. PT400 with the field.';

create function private.mark_read(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.require_user();
    return private.succeed(public.mark_read(
        private.parse_uuid($1, 'channel_id'), private.parse_number($1, 'seq', null)
    )::jsonb);
end
$$;
comment on function private.mark_read(jsonb) is
'PUT /api/v2/channels/:id/read: seq, the last event that the caller has read.';

create function private.open_direct(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_opened jsonb;
begin
    perform private.require_user();
    v_opened := public.open_direct(
        private.parse_uuids($1, 'user_ids', 9), private.parse_uuid($1, 'workspace_id', false)
    );
    return private.succeed(jsonb_build_object(
        'id', v_opened -> 'id',
        'workspace_id', v_opened -> 'workspace_id',
        'kind', v_opened -> 'kind',
        'created_at', private.format_time((v_opened ->> 'created_at')::timestamptz)
    ));
end
$$;
comment on function private.open_direct(jsonb) is
'POST /api/v2/channels/direct: opens or finds the direct channel with user_ids (at most 9). Takes workspace_id.';

create function private.list_user_events(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.require_user();
    return public.list_user_events(
        private.parse_number($1, 'since', '0'), private.parse_integer($1, 'limit', 1, 1000, 200)
    );
end
$$;
comment on function private.list_user_events(jsonb) is
'GET /api/v2/events: events of the caller after since. Takes limit (1 to 1000, default 200).';

-- Digital twins: agents that write under their own name for a user, and the channels they take part in.
-- A twin is in a channel only while its owner is a member.

create table public.ai_twins (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    display_name text not null,
    avatar_url text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint ai_twins_display_name_length check (char_length(display_name) between 1 and 200),
    constraint ai_twins_display_name_printable check (display_name !~ private.hidden_characters()),
    constraint ai_twins_avatar_url_length check (char_length(avatar_url) <= 2000),
    -- Clients put it into a page. Plain http only for a stack on the same machine.
    constraint ai_twins_avatar_url_https check (avatar_url ~* '^(https://|http://(localhost|127[.]0[.]0[.]1)[:/])')
);
comment on table public.ai_twins is 'A digital twin: an agent that writes under its own name for its owner.';
comment on column public.ai_twins.user_id is 'The owner. Only the owner may write as the twin.';
create index ai_twins_user_id_idx on public.ai_twins (user_id);
alter table public.ai_twins enable row level security;

create table public.channel_twins (
    channel_id uuid not null references public.channels (id) on delete cascade,
    ai_twin_id uuid not null references public.ai_twins (id) on delete cascade,
    created_at timestamptz not null default now(),
    primary key (channel_id, ai_twin_id)
);
comment on table public.channel_twins is
'The channels of a twin: it receives their new messages and may answer.';
create index channel_twins_ai_twin_id_idx on public.channel_twins (ai_twin_id);
alter table public.channel_twins enable row level security;

-- A view, because the policies of channel_twins and ai_twins would recurse if they read each other's table.
create view private.my_twins
with (security_barrier = true) as
select twin.id from public.ai_twins as twin where twin.user_id = (select auth.uid());
comment on view private.my_twins is 'Twins that the caller owns.';

create view private.my_peer_twins
with (security_barrier = true) as
select assigned.ai_twin_id as id
from public.channel_twins as assigned
where exists (select from private.my_channels as mine where mine.id = assigned.channel_id);
comment on view private.my_peer_twins is 'Twins in channels of the caller, one row for each channel.';

create function private.is_my_twin_in(p_twin_id uuid, p_channel_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from public.channel_twins as assigned
        inner join private.my_twins as mine on assigned.ai_twin_id = mine.id
        where assigned.channel_id = p_channel_id and assigned.ai_twin_id = p_twin_id
    );
end
$$;
comment on function private.is_my_twin_in(uuid, uuid) is
'Whether a twin is the caller''s and assigned to a channel that the caller may see.';

-- Definer, because no client may lock a channel, and it must count all twins.
create function private.admit_twin_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not private.is_non_member(new.channel_id) then
        perform private.lock_channel(new.channel_id);
    end if;
    -- Checks again under the lock: the policy uses the members at the start of the statement. A member removed since
    -- then would leave a twin behind.
    if private.is_non_member(new.channel_id) then
        raise insufficient_privilege using
            message = 'Only members can add their twins to a channel.',
            hint = 'Ask a member who manages it to add you, or call the function accept_invitation.';
    elsif (
        select count(*)
        from public.channel_twins as assigned
        where assigned.ai_twin_id in (
            select mine.id
            from public.ai_twins as twin
            inner join public.ai_twins as mine on twin.user_id = mine.user_id
            where twin.id = new.ai_twin_id
        )
    ) >= (select settings.user_max_twin_channels from private.settings) then
        perform private.fail(
            409, 'too_many_twin_channels', 'Your twins are in the maximum number of channels. Remove one first.'
        );
    elsif (
        select count(*) from public.channel_twins as assigned where assigned.channel_id = new.channel_id
    ) >= (select settings.channel_max_twins from private.settings) then
        perform private.fail(409, 'too_many_twins', 'This channel has the maximum number of twins. Remove one first.');
    end if;
    return new;
end
$$;
comment on function private.admit_twin_trigger() is
'Rejects a twin if the caller is not a member, or the channel or the owner has the maximum of twins.';

-- Definer, because it must count all twins of the owner.
create function private.limit_twins_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if (
        select count(*) from public.ai_twins as twin where twin.user_id = new.user_id
    ) >= (select settings.user_max_twins from private.settings) then
        perform private.fail(409, 'too_many_twins', 'You have the maximum number of twins. Delete one first.');
    end if;
    return new;
end
$$;
comment on function private.limit_twins_trigger() is 'Rejects a twin if its owner has the maximum of twins.';

-- Definer, because a manager who removes a member does not own the twins.
create function private.remove_member_twins_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The channel before its twins: see the lock order in 210_events.
    perform private.lock_channel(old.channel_id);
    delete from public.channel_twins as assigned
    where assigned.channel_id = old.channel_id
        and assigned.ai_twin_id in (select twin.id from public.ai_twins as twin where twin.user_id = old.user_id);
    return null;
end
$$;
comment on function private.remove_member_twins_trigger() is
'Removes the twins of a member who leaves, and with them their pending deliveries.';

-- Refusals of statements that clients may not run, each with the function to call instead.
-- Clients have the privilege and no policy, because without the privilege Postgres would say only "permission denied".

-- Invoker, because row_security_active is then true for a client, and false for our functions and service_role.
create function private.refuse_statement_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active(tg_relid) then
        raise insufficient_privilege using
            message = format('Clients do not %s rows of %s.', lower(tg_op), tg_table_name),
            hint = format('Call the function %s.', tg_argv[0]);
    end if;
    return null;
end
$$;
comment on function private.refuse_statement_trigger() is
'Trigger: refuses a statement of a client, and names the function to call in the hint. Argument: that function.';

-- Invoker, as above.
create function private.protect_message_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active(tg_relid) then
        raise insufficient_privilege using
            message = 'Only the content of a message can change.',
            hint = 'Call the function edit_message.';
    end if;
    return new;
end
$$;
comment on function private.protect_message_trigger() is
'Trigger: refuses a client''s change of any column of a message but content. An upsert with equal values passes.';

-- Reactions that look the same are the same: each emoji has one spelling.

create function private.normalize_emoji(p_emoji text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Letters of any script, digits, _, + and -.
    c_name constant text := '[0-9A-Za-z_+\u00c0-\u1fff\u3040-\ud7ff-]+';
    -- A symbol with an optional skin tone and the tags of a flag.
    c_symbol constant text := '[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u24ff\u25a0-\u27bf'
        '\u2900-\u297f\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001f1e5\U0001f200-\U0001faff]'
        '[\U0001f3fb-\U0001f3ff]?([\U000e0020-\U000e007e]+\U000e007f)?';
    -- Emoji that show as text without U+FE0F.
    c_text_symbol constant text := '[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u2328\u23cf'
        '\u23ed-\u23ef\u23f1\u23f2\u23f8-\u23fa\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb\u25fc\u2600-\u2604\u260e\u2611'
        '\u2618\u261d\u2620\u2622\u2623\u2626\u262a\u262e\u262f\u2638-\u263a\u2640\u2642\u265f\u2660\u2663\u2665'
        '\u2666\u2668\u267b\u267e\u2692\u2694-\u2697\u2699\u269b\u269c\u26a0\u26a7\u26b0\u26b1\u26c8\u26cf\u26d1'
        '\u26d3\u26e9\u26f0\u26f1\u26f4\u26f7-\u26f9\u2702\u2708\u2709\u270c\u270d\u270f\u2712\u2714\u2716\u271d'
        '\u2721\u2733\u2734\u2744\u2747\u2763\u2764\u27a1\u2934\u2935\u2b05-\u2b07\u3030\u303d\u3297\u3299'
        '\U0001f170\U0001f171\U0001f17e\U0001f17f\U0001f202\U0001f237\U0001f321\U0001f324-\U0001f32c\U0001f336'
        '\U0001f37d\U0001f396\U0001f397\U0001f399-\U0001f39b\U0001f39e\U0001f39f\U0001f3cb-\U0001f3ce'
        '\U0001f3d4-\U0001f3df\U0001f3f3\U0001f3f5\U0001f3f7\U0001f43f\U0001f441\U0001f4fd\U0001f549\U0001f54a'
        '\U0001f56f\U0001f570\U0001f573-\U0001f579\U0001f587\U0001f58a-\U0001f58d\U0001f590\U0001f5a5\U0001f5a8'
        '\U0001f5b1\U0001f5b2\U0001f5bc\U0001f5c2-\U0001f5c4\U0001f5d1-\U0001f5d3\U0001f5dc-\U0001f5de\U0001f5e1'
        '\U0001f5e3\U0001f5e8\U0001f5ef\U0001f5f3\U0001f5fa\U0001f6cb\U0001f6cd-\U0001f6cf\U0001f6e0-\U0001f6e5'
        '\U0001f6e9\U0001f6f0\U0001f6f3]';
    v_emoji text := regexp_replace(normalize(p_emoji, nfc), '[\ufe0e\ufe0f]', '', 'g');
begin
    if v_emoji ~ ('^:?' || c_name || ':?$') then
        return btrim(v_emoji, ':');
    elsif v_emoji ~ '^[#*0-9]\u20e3$' then
        return replace(v_emoji, e'\u20e3', e'\ufe0f\u20e3');
    elsif v_emoji ~ '^[\U0001f1e6-\U0001f1ff]{2}$'
        or v_emoji ~ ('^' || c_symbol || '(\u200d' || c_symbol || ')*$')
    then
        return regexp_replace(
            v_emoji, '(' || c_text_symbol || ')(?![\U0001f3fb-\U0001f3ff])', e'\\1\ufe0f', 'g'
        );
    end if;
    return null;
end
$$;
comment on function private.normalize_emoji(text) is
'The one spelling of an emoji or of a name such as thumbsup or :thumbsup:, so that equal emoji have equal texts: in NFC,
with U+FE0F only where an emoji needs it. Null for any other text.';

create function private.parse_emoji(p_body jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_emoji text := private.normalize_emoji(private.parse_text(p_body, 'emoji', 64));
begin
    if v_emoji is null then
        perform private.fail(
            400, 'invalid_field', 'emoji must be one emoji, or a name such as thumbsup or :thumbsup:.', 'emoji'
        );
    end if;
    return v_emoji;
end
$$;
comment on function private.parse_emoji(jsonb) is
'Parses the field emoji: one emoji or a name, in its one spelling. PT400 for any other text.';

-- Definer, because clients may not call the parsers.
create function private.normalize_emoji_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    new.emoji := private.parse_emoji(jsonb_build_object('emoji', new.emoji));
    return new;
end
$$;
comment on function private.normalize_emoji_trigger() is
'Trigger: gives the emoji of a reaction its one spelling, so that the unique constraint finds the same reaction.';

-- Messages of channels, their edits, reactions and pins. Only members read them, and only authors change a message.

create table public.messages (
    -- In order of time, because a random id writes to a random page of each index on it: among ten million messages, a
    -- new one then wrote 20 kB of WAL instead of 5.
    id uuid primary key default private.generate_id(),
    channel_id uuid not null references public.channels (id) on delete cascade,
    workspace_id uuid not null,
    seq bigint not null default 0,
    -- References the profile and not auth.users, so that clients can embed it. It goes with its user.
    user_id uuid default auth.uid() references public.user_profiles (user_id) on delete set null,
    ai_twin_id uuid references public.ai_twins (id) on delete set null,
    parent_message_id uuid references public.messages (id) on delete set null,
    thread_id uuid references public.messages (id) on delete set null,
    conversation_id uuid,
    content text not null,
    content_type text not null default 'text',
    metadata jsonb not null default '{}',
    attachments jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    hops integer not null default 0,
    constraint messages_seq_unique unique (channel_id, seq),
    constraint messages_author_is_one check (user_id is null or ai_twin_id is null),
    constraint messages_content_length check (
        char_length(content) between 1 and private.message_max_characters() or deleted_at is not null and content = ''
    ),
    constraint messages_content_visible check (content ~ private.visible_character() or deleted_at is not null),
    constraint messages_content_type_length check (char_length(content_type) between 1 and 100),
    constraint messages_metadata_object check (jsonb_typeof(metadata) = 'object'),
    -- Most messages have no metadata, and need no call.
    constraint messages_metadata_size check (
        metadata = '{}' or private.fits(metadata, private.metadata_max_bytes())
    ),
    constraint messages_attachments_array check (jsonb_typeof(attachments) = 'array'),
    constraint messages_attachments_size check (
        attachments is null or private.fits(attachments, private.attachments_max_bytes())
    )
);
comment on table public.messages is
'Messages of channels. A deleted message stays as a row without content, which no client sees.';
comment on column public.messages.workspace_id is 'The workspace of the channel. A trigger sets it.';
comment on column public.messages.seq is
'Number of its event. A trigger sets it; it orders the messages of a channel, and cursors use it.';
comment on column public.messages.user_id is 'The author; null for messages of twins and of deleted users.';
comment on column public.messages.parent_message_id is 'The parent: the message that this one answers.';
comment on column public.messages.thread_id is
'The first message of the thread; null if the message is not a reply. A trigger sets it, also for replies to replies.';
comment on column public.messages.conversation_id is
'A context of the application. Threadline stores it and does not use it.';
comment on column public.messages.hops is 'Turns of twins since a user wrote; 0 for messages of users.';
create index messages_user_id_idx on public.messages (user_id);
-- Partial, because most messages have neither a twin nor a parent.
create index messages_ai_twin_id_idx on public.messages (ai_twin_id) where ai_twin_id is not null;
create index messages_parent_idx on public.messages (parent_message_id, seq) where parent_message_id is not null;
-- Includes deleted_at, so that counting the replies of a thread reads no rows.
create index messages_thread_idx on public.messages (thread_id, seq) include (deleted_at) where thread_id is not null;
-- For the search operator has:thread.
create index messages_replies_idx on public.messages (channel_id, parent_message_id)
where parent_message_id is not null;
alter table public.messages enable row level security;

create table public.message_edits (
    message_id uuid not null references public.messages (id) on delete cascade,
    version integer not null,
    content text not null,
    written_at timestamptz not null,
    replaced_at timestamptz not null default now(),
    primary key (message_id, version)
);
comment on table public.message_edits is 'Earlier versions of edited messages. Version 1 is the first.';
comment on column public.message_edits.written_at is 'When this version was written.';
comment on column public.message_edits.replaced_at is 'When the next version replaced it.';
alter table public.message_edits enable row level security;

create table public.message_reactions (
    id uuid primary key default gen_random_uuid(),
    message_id uuid not null references public.messages (id) on delete cascade,
    channel_id uuid not null references public.channels (id) on delete cascade,
    user_id uuid not null default auth.uid() references public.user_profiles (user_id) on delete cascade,
    emoji text not null,
    created_at timestamptz not null default now(),
    constraint message_reactions_once unique (message_id, user_id, emoji),
    constraint message_reactions_emoji_length check (char_length(emoji) between 1 and 64),
    constraint message_reactions_emoji_printable check (emoji !~ private.hidden_characters())
);
comment on table public.message_reactions is 'Reactions to messages: one emoji of one user.';
comment on column public.message_reactions.channel_id is 'Channel of the message, copied for row-level security.';
create index message_reactions_channel_id_idx on public.message_reactions (channel_id);
create index message_reactions_user_id_idx on public.message_reactions (user_id);
alter table public.message_reactions enable row level security;

create table public.message_pins (
    message_id uuid primary key references public.messages (id) on delete cascade,
    channel_id uuid not null references public.channels (id) on delete cascade,
    pinned_by uuid default auth.uid() references public.user_profiles (user_id) on delete set null,
    pinned_at timestamptz not null default now()
);
comment on table public.message_pins is 'Pinned messages.';
comment on column public.message_pins.channel_id is 'Channel of the message, copied for row-level security.';
create index message_pins_channel_id_idx on public.message_pins (channel_id);
create index message_pins_pinned_by_idx on public.message_pins (pinned_by);
alter table public.message_pins enable row level security;

-- Trigger functions of messages, reactions and pins. They keep edits and record each change as an event.
-- 264_new_messages numbers messages. 900_triggers shows their order.

-- Definer, because it must read messages even if the author may not see them.
create function private.set_hops_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Compares the newest message of the channel with the newest of the thread and takes the larger count, because the
    -- twin may answer either. With one of them only, two twins could answer each other forever: both to the parent, or
    -- one inside the thread and one outside. Consecutive messages of one twin are one turn.
    select max(previous.hops + case when previous.ai_twin_id = new.ai_twin_id then 0 else 1 end) into new.hops
    from (
        (
            select message.ai_twin_id, message.hops
            from public.messages as message
            where message.channel_id = new.channel_id
            order by message.seq desc
            limit 1
        )
        union all
        (
            select thread.ai_twin_id, thread.hops
            from (
                select parent.ai_twin_id, parent.hops, parent.seq
                from public.messages as parent
                where parent.id = new.parent_message_id
                union all
                (
                    select reply.ai_twin_id, reply.hops, reply.seq
                    from public.messages as reply
                    where reply.parent_message_id = new.parent_message_id
                    order by reply.seq desc
                    limit 1
                )
            ) as thread
            order by thread.seq desc
            limit 1
        )
    ) as previous;
    new.hops := coalesce(new.hops, 1);
    return new;
end
$$;
comment on function private.set_hops_trigger() is 'Counts the turns of twins since a user wrote.';

-- Definer, because no client writes edits or events.
create function private.record_message_change_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
begin
    if tg_op = 'DELETE' then
        perform private.record_event(old.channel_id, 'message.deleted', old.id, private.acting_user_id(), null, -1);
    elsif old.deleted_at is not null then
        -- Foreign keys may still set its author, twin or parent to null.
        if (new.content, new.deleted_at) is distinct from (old.content, old.deleted_at) then
            perform private.fail(404, 'message_not_found', 'This message does not exist, or you may not see it.');
        end if;
    elsif new.deleted_at is not null then
        select event.at into new.deleted_at
        from private.record_event(
            new.channel_id, 'message.deleted', new.id, private.acting_user_id(), null, -1
        ) as event;
        new.content := '';
        new.content_type := 'text';
        new.conversation_id := null;
        new.metadata := '{}';
        new.attachments := null;
    elsif new.content <> old.content then
        select event.at into new.updated_at
        from private.record_event(
            new.channel_id, 'message.updated', new.id, private.acting_user_id(), null, 0
        ) as event;
        insert into public.message_edits (message_id, version, content, written_at, replaced_at)
        select new.id, count(*) + 1, old.content, old.updated_at, new.updated_at
        from public.message_edits as edit
        where edit.message_id = new.id
        returning version into v_version;
        if v_version > (select settings.message_max_edits from private.settings) then
            perform private.fail(
                409, 'too_many_edits', 'This message has reached its maximum number of edits. Send a new message.'
            );
        end if;
    end if;
    return new;
end
$$;
comment on function private.record_message_change_trigger() is
'Keeps the old text of an edited message, makes deletion final, and records both as events.';

-- Definer, because it must find the message even if the caller may not see it. The policy checks the caller.
create function private.set_message_channel_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select message.channel_id into new.channel_id
    from public.messages as message
    where message.id = new.message_id and not private.is_non_member(message.channel_id);
    perform private.lock_channel(new.channel_id);
    -- Checks again under the lock. If the message is gone, clears channel_id: the policy then rejects the row without a
    -- reason.
    if not exists (
        select from public.messages as message where message.id = new.message_id and message.deleted_at is null
    ) then
        new.channel_id := null;
    end if;
    return new;
end
$$;
comment on function private.set_message_channel_trigger() is
'Copies the channel of the message into a reaction or pin. Rejects deleted messages.';

-- Definer, because no client writes events.
create function private.record_reaction_or_pin_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_added boolean := tg_op = 'INSERT';
    v_row jsonb := to_jsonb(case when tg_op = 'INSERT' then new else old end);
begin
    -- The event of a deleted message covers its reactions and its pin.
    if not v_is_added and not exists (
        select from public.messages as message
        where message.id = (v_row ->> 'message_id')::uuid and message.deleted_at is null
    ) then
        return null;
    end if;
    if v_is_added and tg_table_name = 'message_reactions' and (
        select count(*)
        from public.message_reactions as reaction
        where reaction.message_id = (v_row ->> 'message_id')::uuid
            and reaction.user_id = (v_row ->> 'user_id')::uuid
    ) > (select settings.reactions_per_user_per_message from private.settings) then
        perform private.fail(
            409, 'too_many_reactions',
            'You have reached the reaction limit for this message. Remove one of your reactions first.', 'emoji'
        );
    end if;
    perform private.record_event(
        (v_row ->> 'channel_id')::uuid,
        case tg_table_name
            when 'message_pins' then case when v_is_added then 'message.pinned' else 'message.unpinned' end
            else case when v_is_added then 'reaction.added' else 'reaction.removed' end
        end,
        (v_row ->> 'message_id')::uuid,
        coalesce(
            (v_row ->> 'user_id')::uuid,
            case when v_is_added then (v_row ->> 'pinned_by')::uuid end,
            private.acting_user_id()
        ),
        v_row ->> 'emoji',
        0,
        (v_row ->> 'id')::uuid,
        coalesce(v_row ->> 'created_at', v_row ->> 'pinned_at')::timestamptz
    );
    return null;
end
$$;
comment on function private.record_reaction_or_pin_trigger() is
'Records an event when a reaction or a pin is added or removed.';

-- How messages, pins and reactions look as JSON: the same in every answer, event and export.

create function private.render_pin(p_pinned_by uuid, p_pinned_at timestamptz) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'pinned', true, 'pinned_by', p_pinned_by, 'pinned_at', private.format_time(p_pinned_at)
    );
end
$$;
comment on function private.render_pin(uuid, timestamptz) is 'The metadata fields of a pinned message.';

create function private.render_message(p_message public.messages, p_pin jsonb) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_message.id,
        'channel_id', p_message.channel_id,
        'content', p_message.content,
        'content_type', p_message.content_type,
        'user_id', p_message.user_id,
        'ai_twin_id', p_message.ai_twin_id,
        'parent_message_id', p_message.parent_message_id,
        'thread_id', p_message.thread_id,
        'conversation_id', p_message.conversation_id,
        -- These fields come from the pin only: an author cannot fake them.
        'metadata', (p_message.metadata - '{pinned,pinned_by,pinned_at}'::text[]) || coalesce(p_pin, '{}'),
        'attachments', p_message.attachments,
        'created_at', private.format_time(p_message.created_at),
        'updated_at', private.format_time(p_message.updated_at),
        -- Only an edit changes updated_at.
        'edited_at', case
            when p_message.updated_at > p_message.created_at then private.format_time(p_message.updated_at)
        end
    );
end
$$;
comment on function private.render_message(public.messages, jsonb) is
'A message as JSON, with the fields of private.render_pin; null if it is not pinned.';
create function private.render_message(p_message public.messages) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.render_message(p_message, (
        select private.render_pin(pin.pinned_by, pin.pinned_at)
        from public.message_pins as pin
        where pin.message_id = p_message.id
    ));
end
$$;
comment on function private.render_message(public.messages) is 'A message as JSON, with its present pin.';

create function private.render_reaction(
    p_id uuid, p_message_id uuid, p_user_id uuid, p_emoji text, p_created_at timestamptz
) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_id,
        'message_id', p_message_id,
        'user_id', p_user_id,
        'emoji', p_emoji,
        'created_at', private.format_time(p_created_at)
    );
end
$$;
comment on function private.render_reaction(uuid, uuid, uuid, text, timestamptz) is
'A reaction as JSON, also after its removal.';

-- Definer, because messages of authors who left the channel still show their names.
create function private.list_author_names(p_message_ids uuid[])
returns table (author_id uuid, is_twin boolean, display_name text, avatar_url text)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with named as materialized (
        select message.channel_id, message.user_id, message.ai_twin_id
        from public.messages as message
        where message.id = any(p_message_ids) and message.deleted_at is null
    ), read as materialized (
        -- One look-up per channel; all messages of a page are in one channel.
        select named.channel_id, array_agg(named.user_id) as user_ids, array_agg(named.ai_twin_id) as twin_ids
        from named
        group by named.channel_id
        having (select private.is_service())
            or exists (select from private.my_channels as mine where mine.id = named.channel_id offset 0)
    )

    select profile.user_id, false, profile.display_name, profile.avatar_url
    from public.user_profiles as profile
    where profile.user_id = any(array(select unnest(read.user_ids) from read))
    union all
    select twin.id, true, twin.display_name, twin.avatar_url
    from public.ai_twins as twin
    where twin.id = any(array(select unnest(read.twin_ids) from read));
end
$$;
comment on function private.list_author_names(uuid[]) is
'Names and pictures of the authors of messages that the caller may read. A twin may have the same id as a user: is_twin
separates them.';

create function private.render_author(p_user_id uuid, p_twin_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_author jsonb;
begin
    if p_twin_id is not null then
        select jsonb_build_object('display_name', twin.display_name, 'avatar_url', twin.avatar_url) into v_author
        from public.ai_twins as twin
        where twin.id = p_twin_id;
    else
        select jsonb_build_object('display_name', profile.display_name, 'avatar_url', profile.avatar_url)
        into v_author
        from public.user_profiles as profile
        where profile.user_id = p_user_id;
    end if;
    return coalesce(v_author, '{"display_name": null, "avatar_url": null}');
end
$$;
comment on function private.render_author(uuid, uuid) is
'Name and picture of a user or a twin, for events and deliveries; nulls for a deleted one. The caller checks who may
read them.';

create function private.render_reactions(p_message_ids uuid[]) returns table (message_id uuid, reactions jsonb)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        counted.message_id,
        jsonb_agg(jsonb_build_object(
            'emoji', counted.emoji,
            'count', counted.count,
            'user_ids', counted.user_ids,
            'reacted', coalesce((select auth.uid()) = any(counted.user_ids), false)
        ) order by counted.first_at, counted.emoji) as reactions
    from (
        select
            reaction.message_id,
            reaction.emoji,
            count(*) as count,
            array_agg(reaction.user_id order by reaction.created_at, reaction.user_id) as user_ids,
            min(reaction.created_at) as first_at
        from unnest(p_message_ids) as given (id)
        -- OFFSET 0 keeps the subquery: one index lookup per message, never a scan of the table (decision 0003).
        cross join lateral (
            select added.* from public.message_reactions as added where added.message_id = given.id offset 0
        ) as reaction
        group by reaction.message_id, reaction.emoji
    ) as counted
    group by counted.message_id;
end
$$;
comment on function private.render_reactions(uuid[]) is
'The reactions of messages, one entry per emoji: count, users, and whether the caller is one of them.';

create function private.list_threads(p_message_ids uuid[])
returns table (message_id uuid, reply_count bigint, last_reply_at timestamptz, participants jsonb)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with reply as materialized (
        select given.id as message_id, newest.*
        from unnest(p_message_ids) as given (id)
        cross join lateral (
            select reply.id, reply.user_id, reply.ai_twin_id, reply.created_at, reply.seq
            from public.messages as reply
            where reply.thread_id = given.id and reply.deleted_at is null
            order by reply.seq desc
            limit 1000
        ) as newest
    ), participant as (
        select
            reply.message_id, reply.user_id, reply.ai_twin_id, max(reply.seq) as seq,
            (array_agg(reply.id order by reply.seq desc))[1] as reply_id,
            row_number() over (partition by reply.message_id order by max(reply.seq) desc) as place
        from reply
        where coalesce(reply.user_id, reply.ai_twin_id) is not null
        group by reply.message_id, reply.user_id, reply.ai_twin_id
    ), shown as (
        select
            participant.message_id,
            jsonb_agg(jsonb_build_object(
                'user_id', participant.user_id,
                'ai_twin_id', participant.ai_twin_id,
                'display_name', author.display_name,
                'avatar_url', author.avatar_url
            ) order by participant.place) as participants
        from participant
        left join private.list_author_names(array(
            select few.reply_id from participant as few where few.place <= 5
        )) as author
            on author.author_id = coalesce(participant.user_id, participant.ai_twin_id)
            and author.is_twin = (participant.user_id is null)
        where participant.place <= 5
        group by participant.message_id
    )

    select counted.message_id, counted.reply_count, counted.last_reply_at, shown.participants
    from (
        select reply.message_id, count(*) as reply_count, max(reply.created_at) as last_reply_at
        from reply
        group by reply.message_id
    ) as counted
    left join shown using (message_id);
end
$$;
comment on function private.list_threads(uuid[]) is
'The threads that these messages began: the number of replies (up to 1,000), the time of the newest, and the five
authors who replied last. Messages without replies have no row.';

-- The calls of /api/v2/messages that read: history, get, edits. Policies decide what each caller sees.

create function private.require_message(p_id uuid) returns public.messages
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_message public.messages;
begin
    select * into v_message from public.messages as message where message.id = p_id and message.deleted_at is null;
    if v_message.id is null then
        perform private.fail(404, 'message_not_found', 'This message does not exist, or you may not see it.');
    end if;
    return v_message;
end
$$;
comment on function private.require_message(uuid) is
'A message that the caller may see; else PT404.';

create function private.require_channel(p_channel_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Users by membership: the policy of channels reads all channels of the caller.
    if private.is_service() then
        perform from public.channels as channel where channel.id = p_channel_id;
    else
        perform from private.my_channels as mine where mine.id = p_channel_id;
    end if;
    if not found then
        perform private.fail(
            404, 'channel_not_found', 'This channel does not exist, or you may not see it.', 'channel_id'
        );
    end if;
end
$$;
comment on function private.require_channel(uuid) is 'PT404 unless the caller may see the channel.';

-- Definer, because no client reads the counters. Returns nulls to non-members.
create function private.find_channel_state(
    p_channel_id uuid, out message_count bigint, out last_seq bigint, out topic text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select
        counter.message_count,
        counter.last_seq,
        'channel:' || p_channel_id
        || case when counter.sealed_until > clock_timestamp() then ':' || counter.topic_turn else '' end
    into message_count, last_seq, topic
    from private.channel_counters as counter
    where counter.channel_id = p_channel_id
        and (
            (select private.is_service())
            or exists (select from private.my_channels as mine where mine.id = counter.channel_id offset 0)
        );
end
$$;
comment on function private.find_channel_state(uuid) is
'The number of messages of a channel, its last event, and the topic that carries full payloads now.';

-- Definer, because policies would check the caller's rights for each reply. It checks them once itself.
create function private.count_replies(p_channel_id uuid, p_thread_id uuid) returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(*)
        from public.messages as reply
        where reply.thread_id = p_thread_id
            and reply.deleted_at is null
            -- Replies are in the channel of their thread.
            and (select root.channel_id from public.messages as root where root.id = p_thread_id) = p_channel_id
            and (
                (select private.is_service())
                or exists (select from private.my_channels as mine where mine.id = p_channel_id)
            )
    );
end
$$;
comment on function private.count_replies(uuid, uuid) is
'The number of replies of a thread; 0 for another channel, and to non-members.';

-- Definer, because a cursor stays valid when its message is deleted.
create function private.find_cursor(p_body jsonb, p_field text, p_channel_id uuid) returns bigint
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := private.scalar_text(p_body, p_field);
    v_seq bigint;
begin
    if v_text is null then
        return null;
    elsif v_text ~ '^seq_[0-9]{1,18}$' then
        return substr(v_text, 5)::bigint;
    end if;
    select message.seq into v_seq
    from public.messages as message
    where message.id = private.parse_uuid(p_body, p_field) and message.channel_id = p_channel_id
        and not private.is_non_member(p_channel_id);
    if v_seq is null then
        perform private.fail(
            400, 'invalid_cursor',
            format('%s is not a message of this channel. Use a next_cursor or a message id.', p_field), p_field
        );
    end if;
    return v_seq;
end
$$;
comment on function private.find_cursor(jsonb, text, uuid) is
'The number in a channel that a message id or a cursor stands for; null if the field is missing.';

create function private.list_page(
    p_channel_id uuid, p_thread_id uuid, p_is_roots_only boolean, p_before bigint, p_after bigint,
    p_limit integer, p_offset integer,
    out ids uuid[], out next_cursor text
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
-- A generic plan is slow for deep pages and for threads (decision 0003).
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_seqs bigint[];
begin
    -- Reads one row more, to know whether there is a next page.
    select array_agg(found.id), array_agg(found.seq) into ids, v_seqs
    from (
        select message.id, message.seq
        from public.messages as message
        where message.channel_id = p_channel_id
            and message.deleted_at is null
            and (p_before is null or message.seq < p_before)
            and (p_after is null or message.seq > p_after)
            and (p_thread_id is null or message.thread_id = p_thread_id)
            and (
                not p_is_roots_only
                or message.thread_id is null
                -- Else the replies to a deleted message would be in no view. Compared as a value, because Postgres
                -- could read the whole table for EXISTS.
                or (
                    select root.id from public.messages as root
                    where root.id = message.thread_id and root.deleted_at is null
                ) is null
            )
        -- A custom plan knows p_after and reads the index in this direction.
        order by case when p_after is null then message.seq end desc, message.seq
        limit p_limit + 1 offset p_offset
    ) as found;
    if cardinality(ids) > p_limit then
        next_cursor := 'seq_' || v_seqs[p_limit];
    end if;
    ids := ids[1:p_limit];
end
$$;
comment on function private.list_page(uuid, uuid, boolean, bigint, bigint, integer, integer) is
'A page of a channel, of its messages that are not replies, or of a thread: message ids, and the cursor of the next page
in that direction, or null.';

create function private.render_page(p_ids uuid[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        with page as (
            select message
            from public.messages as message
            where message.id = any(p_ids)
        )

        -- Reads each table once for the whole page, so each policy runs once.
        select coalesce(jsonb_agg(
            private.render_message(page.message, (
                select private.render_pin(pin.pinned_by, pin.pinned_at)
                from public.message_pins as pin
                where pin.message_id = (page.message).id
            )) || jsonb_build_object(
                'seq', (page.message).seq,
                'display_name', author.display_name,
                'avatar_url', author.avatar_url,
                'reactions', coalesce(reacted.reactions, '[]'),
                'reply_count', coalesce(thread.reply_count, 0),
                'last_reply_at', private.format_time(thread.last_reply_at),
                'participants', coalesce(thread.participants, '[]')
            )
            order by (page.message).seq desc
        ), '[]')
        from page
        left join private.list_author_names(p_ids) as author
            on author.author_id = coalesce((page.message).user_id, (page.message).ai_twin_id)
            and author.is_twin = ((page.message).user_id is null)
        left join private.render_reactions(p_ids) as reacted on (page.message).id = reacted.message_id
        left join private.list_threads(p_ids) as thread on (page.message).id = thread.message_id
    );
end
$$;
comment on function private.render_page(uuid[]) is
'Messages with their numbers, authors, reactions and threads, newest first.';

create function public.list_messages(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    v_thread_id uuid := private.parse_uuid($1, 'thread_id', false);
    v_is_roots_only boolean := private.parse_boolean($1, 'roots_only');
    v_limit integer := private.parse_integer($1, 'limit', 1, 200, 50);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
    v_before bigint;
    v_after bigint;
    v_page record;
    v_state record;
    v_total bigint;
begin
    perform private.require_channel(v_channel_id);
    if v_is_roots_only and v_thread_id is not null then
        perform private.fail(
            400, 'invalid_field', 'roots_only and thread_id cannot be combined. Leave one of them out.', 'roots_only'
        );
    end if;
    v_before := private.find_cursor($1, 'before', v_channel_id);
    v_after := private.find_cursor($1, 'after', v_channel_id);
    if v_before is not null and v_after is not null then
        perform private.fail(400, 'invalid_cursor', 'before and after cannot be combined.', 'after');
    end if;
    if v_thread_id is not null then
        -- thread_id may be any message of the thread.
        v_thread_id := coalesce(
            (select message.thread_id from public.messages as message where message.id = v_thread_id), v_thread_id
        );
        v_total := private.count_replies(v_channel_id, v_thread_id);
    end if;
    select * into v_page
    from private.list_page(v_channel_id, v_thread_id, v_is_roots_only, v_before, v_after, v_limit, v_offset);
    select * into v_state from private.find_channel_state(v_channel_id);
    return private.succeed(
        private.render_page(v_page.ids),
        jsonb_build_object(
            'total', coalesce(v_total, v_state.message_count, 0),
            'page', v_offset / v_limit + 1,
            'limit', v_limit,
            'offset', v_offset,
            'next_cursor', v_page.next_cursor
        )
        -- The first page shows the channel at this event. A client follows the channel from it.
        || case
            when v_before is null and v_after is null and v_offset = 0
                then jsonb_build_object('last_seq', v_state.last_seq, 'topic', v_state.topic)
            else '{}'
        end
    );
end
$$;
comment on function public.list_messages(jsonb) is
'GET /api/v2/messages/history: channel_id, and optionally thread_id or roots_only, limit (1 to 200), offset, before,
after. Newest first, with authors, reactions and threads. The first page has last_seq and topic in meta.';

create function public.get_message(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    return private.succeed(
        private.render_page(array[v_message.id]) -> 0 || jsonb_build_object(
            'reaction_count',
            (select count(*) from public.message_reactions as reaction where reaction.message_id = v_message.id)
        ),
        '{}'
    );
end
$$;
comment on function public.get_message(jsonb) is
'GET /api/v2/messages/:id: id. The message as list_messages shows it, with reaction_count.';

create function public.list_message_edits(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    return private.succeed((
        select coalesce(jsonb_agg(jsonb_build_object(
            'version', edit.version,
            'content', edit.content,
            'written_at', private.format_time(edit.written_at),
            'replaced_at', private.format_time(edit.replaced_at)
        ) order by edit.version), '[]')
        from public.message_edits as edit
        where edit.message_id = v_message.id
    ));
end
$$;
comment on function public.list_message_edits(jsonb) is
'GET /api/v2/messages/:id/edits: the earlier versions, the first one first.';

-- The calls of /api/v2/messages that write: create, reply, edit, delete, pin, react. Only authors change a message;
-- admins may delete it.

create function private.require_twin(p_twin_id uuid, p_channel_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from public.channel_twins as assigned
        inner join public.ai_twins as twin on assigned.ai_twin_id = twin.id
        where twin.id = p_twin_id
            and assigned.channel_id = p_channel_id
            and ((select private.is_service()) or twin.user_id = (select auth.uid()))
    ) then
        perform private.fail(
            403, 'twin_not_allowed', 'You do not own this twin, or it is not in this channel.', 'ai_twin_id'
        );
    end if;
end
$$;
comment on function private.require_twin(uuid, uuid) is
'Raises PT403 unless the caller may write as the twin in the channel.';

create function private.require_size(p_body jsonb, p_field text, p_max integer) returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.is_deep(p_body -> p_field) or private.has_huge_number(p_body -> p_field) then
        perform private.fail(
            400, 'invalid_field',
            format(
                '%s has more than 100 levels or a number of more than 1000 digits. Send it as a string.', p_field
            ),
            p_field
        );
    elsif octet_length((p_body -> p_field)::text) <= p_max then
        return;
    elsif p_field = 'metadata' then
        perform private.fail(
            413, 'metadata_too_large', format('metadata must have at most %s.', pg_size_pretty(p_max::bigint)), p_field
        );
    else
        perform private.fail(
            413, 'attachments_too_large', format('%s must have at most %s.', p_field, pg_size_pretty(p_max::bigint)),
            p_field
        );
    end if;
end
$$;
comment on function private.require_size(jsonb, text, integer) is
'Raises PT413 if the JSON of a field has more than p_max bytes, and PT400 if it contains a huge number or has more
than 100 levels.';

create function private.render_created(p_message public.messages) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(
        private.render_message(p_message, null),  -- a new message is not pinned
        jsonb_build_object('timestamp', private.format_time(p_message.created_at)),
        201
    );
end
$$;
comment on function private.render_created(public.messages) is 'Renders the answer to the creation of a message.';

create function public.create_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    v_content text := private.parse_content($1);
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id', false);
    v_user_id uuid;
    v_message public.messages;
begin
    perform private.require_channel(v_channel_id);
    if v_twin_id is not null then
        perform private.require_twin(v_twin_id, v_channel_id);
    end if;
    if coalesce(jsonb_typeof($1 -> 'metadata'), 'null') not in ('object', 'null') then
        perform private.fail(400, 'invalid_field', 'metadata must be an object.', 'metadata');
    elsif coalesce(jsonb_typeof($1 -> 'attachments'), 'null') not in ('array', 'null')
        or jsonb_path_exists($1, 'strict $.attachments[*] ? (@.type() <> "object")', '{}', true)
    then
        perform private.fail(400, 'invalid_field', 'attachments must be an array of objects.', 'attachments');
    end if;
    if $1 ? 'metadata' then
        perform private.require_size($1, 'metadata', private.metadata_max_bytes());
    end if;
    if $1 ? 'attachments' then
        perform private.require_size($1, 'attachments', private.attachments_max_bytes());
    end if;
    -- A message of a twin has no user_id, but a user_id in the request must still be the caller's.
    if v_twin_id is null or not private.is_service() then
        v_user_id := private.require_actor($1);
    end if;
    -- The policy checks users; it does not apply to service_role.
    if v_twin_id is null and private.is_service() and not exists (
        select from public.channel_members as member
        where member.channel_id = v_channel_id and member.user_id = v_user_id
    ) then
        perform private.fail(
            403, 'not_a_member', 'This user is not a member of the channel. Add the user first.', 'user_id'
        );
    end if;
    insert into public.messages (
        channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
        content, content_type, metadata, attachments
    )
    values (
        v_channel_id,
        case when v_twin_id is null then v_user_id end,
        v_twin_id,
        private.parse_uuid($1, 'parent_message_id', false),
        private.parse_uuid($1, 'conversation_id', false),
        v_content,
        private.parse_text($1, 'content_type', 100, 'text'),
        coalesce(nullif($1 -> 'metadata', 'null'), '{}'),
        nullif($1 -> 'attachments', 'null')
    )
    returning * into v_message;
    return private.render_created(v_message);
end
$$;
comment on function public.create_message(jsonb) is
'POST /api/v2/messages: channel_id, content, and optionally content_type, parent_message_id, metadata, attachments,
conversation_id, user_id, ai_twin_id.';

create function public.reply_to_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_parent public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    return public.create_message(
        $1 || jsonb_build_object('channel_id', v_parent.channel_id, 'parent_message_id', v_parent.id)
    );
end
$$;
comment on function public.reply_to_message(jsonb) is
'POST /api/v2/messages/:id/thread: id, content, and what create_message takes.';

create function private.is_author(p_message public.messages, p_user_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(p_message.user_id = p_user_id, false) or exists (
        select from public.ai_twins as twin where twin.id = p_message.ai_twin_id and twin.user_id = p_user_id
    );
end
$$;
comment on function private.is_author(public.messages, uuid) is
'Whether a user wrote a message, or owns the twin that wrote it.';

create function public.edit_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_content text := private.parse_content($1);
    v_user_id uuid := private.require_actor($1);
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    if not private.is_author(v_message, v_user_id) then
        perform private.fail(403, 'not_the_author', 'You can edit only your own messages and those of your twins.');
    end if;
    update public.messages as message set content = v_content
    where message.id = v_message.id
    returning * into v_message;
    if v_message.id is null then
        perform private.fail(404, 'message_not_found', 'This message does not exist, or you may not see it.');
    end if;
    return private.succeed(private.render_message(v_message));
end
$$;
comment on function public.edit_message(jsonb) is
'PUT /api/v2/messages/:id: content, user_id. Only for messages of the caller or their twins; keeps the old text.';

create function private.is_app_admin() returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Reads app_metadata and not user_metadata, because users can write the latter.
    return coalesce((select auth.jwt()) -> 'app_metadata' ->> 'role' = 'admin', false);
end
$$;
comment on function private.is_app_admin() is 'Whether the token belongs to an administrator of the application.';

-- Definer for two reasons: no client may write deleted_at, and an administrator of the application need not be a
-- member. It checks the caller itself.
create function private.delete_message(p_message_id uuid, p_user_id uuid, p_as_admin boolean) returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_service boolean := private.is_service();
    v_user_id uuid := case when v_is_service then p_user_id else (select auth.uid()) end;
    v_is_app_admin boolean := p_as_admin and private.is_app_admin();
    v_message public.messages;
    v_role text;
    v_deleted_at timestamptz;
begin
    select * into v_message from public.messages as message where message.id = p_message_id;
    select member.role into v_role
    from public.channel_members as member
    where member.channel_id = v_message.channel_id and member.user_id = v_user_id;
    if v_role is null and not v_is_service and not v_is_app_admin then
        v_message := null;
    end if;
    if v_message.id is not null
        and not (
            private.is_author(v_message, v_user_id)
            or v_is_app_admin
            or (p_as_admin and coalesce(v_role in ('owner', 'admin'), false))
        )
        and v_message.deleted_at is null
    then
        perform private.fail(
            403, 'not_the_author',
            'You can delete only your own messages. Owners and admins of the channel can add admin=true.'
        );
    end if;
    update public.messages as message set deleted_at = now()
    where message.id = v_message.id and message.deleted_at is null
    returning message.deleted_at into v_deleted_at;
    if v_deleted_at is null then
        perform private.fail(404, 'message_not_found', 'This message does not exist, or you may not see it.');
    end if;
    return v_deleted_at;
end
$$;
comment on function private.delete_message(uuid, uuid, boolean) is
'Marks a message as deleted and returns the time. The actor is the caller, or the user_id that service_role gives. PT403
unless they wrote it, own its twin, or act as an admin; PT404 for non-members.';

create function public.delete_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := private.require_actor($1);
    v_id uuid := private.parse_uuid($1, 'id');
begin
    return private.succeed(jsonb_build_object(
        'id', v_id,
        'deleted_at', private.format_time(private.delete_message(
            v_id, v_user_id, coalesce(private.scalar_text($1, 'admin'), 'false') in ('true', '1')
        ))
    ));
end
$$;
comment on function public.delete_message(jsonb) is
'DELETE /api/v2/messages/:id: user_id; admin=true for owners and admins of the channel, and of the application.';

create function public.pin_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := private.require_actor($1);
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    -- Reads it again under the lock, because it may be deleted now.
    perform private.lock_my_channel(v_message.channel_id);
    v_message := private.require_message(v_message.id);
    insert into public.message_pins (message_id, pinned_by) values (v_message.id, v_user_id)
    on conflict on constraint message_pins_pkey do nothing;
    return private.succeed((
        select private.render_message(v_message) || jsonb_build_object('updated_at', private.format_time(pin.pinned_at))
        from public.message_pins as pin
        where pin.message_id = v_message.id
    ));
end
$$;
comment on function public.pin_message(jsonb) is
'POST /api/v2/messages/:id/pin: user_id. A second pin changes nothing.';

create function public.unpin_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    perform private.require_actor($1);
    -- Locks the channel before the pin: see the lock order in 210_events.
    perform private.lock_my_channel(v_message.channel_id);
    delete from public.message_pins as pin where pin.message_id = v_message.id;
    return private.succeed(private.render_message(v_message));
end
$$;
comment on function public.unpin_message(jsonb) is
'DELETE /api/v2/messages/:id/pin: user_id. Does nothing if the message is not pinned.';

create function private.set_reaction(p_body jsonb, p_change text) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_emoji text := private.parse_emoji(p_body);
    v_user_id uuid := private.require_actor(p_body);
    v_message public.messages := private.require_message(private.parse_uuid(p_body, 'id'));
    v_reaction public.message_reactions;
    v_action text := 'unchanged';
begin
    -- Locks the channel, so that one of two concurrent toggles adds and the other removes.
    perform private.lock_my_channel(v_message.channel_id);
    v_message := private.require_message(v_message.id);
    select * into v_reaction
    from public.message_reactions as reaction
    where reaction.message_id = v_message.id and reaction.user_id = v_user_id and reaction.emoji = v_emoji;
    if v_reaction.id is null and p_change <> 'remove' then
        insert into public.message_reactions (message_id, user_id, emoji)
        values (v_message.id, v_user_id, v_emoji)
        returning * into v_reaction;
        v_action := 'added';
    elsif v_reaction.id is not null and p_change <> 'add' then
        delete from public.message_reactions as reaction where reaction.id = v_reaction.id;
        v_action := 'removed';
    end if;
    return private.succeed(
        case when v_reaction.id is not null then private.render_reaction(
            v_reaction.id, v_reaction.message_id, v_reaction.user_id, v_reaction.emoji, v_reaction.created_at
        ) end,
        jsonb_build_object('action', v_action)
    );
end
$$;
comment on function private.set_reaction(jsonb, text) is
'Adds, removes or toggles a reaction of the caller. meta.action is added, removed or unchanged.';

create function public.toggle_reaction(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.set_reaction($1, 'toggle');
end
$$;
comment on function public.toggle_reaction(jsonb) is
'POST /api/v2/messages/:id/react: emoji, user_id. Adds the reaction, or removes it if it exists.';

create function public.add_reaction(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.set_reaction($1, 'add');
end
$$;
comment on function public.add_reaction(jsonb) is
'PUT /api/v2/messages/:id/reactions/{emoji}. Safe to repeat, unlike the toggle.';

create function public.remove_reaction(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.set_reaction($1, 'remove');
end
$$;
comment on function public.remove_reaction(jsonb) is
'DELETE /api/v2/messages/:id/reactions/{emoji}. Safe to repeat, unlike the toggle.';

-- Mentions: <@id> of a user or a twin, and <!channel> for all members. A trigger keeps them as rows, so that they are
-- counted and searched by index.

create table public.message_mentions (
    id uuid primary key default gen_random_uuid(),
    message_id uuid not null references public.messages (id) on delete cascade,
    channel_id uuid not null,
    seq bigint not null,
    user_id uuid references auth.users (id) on delete cascade,
    ai_twin_id uuid references public.ai_twins (id) on delete cascade,
    constraint message_mentions_once unique nulls not distinct (message_id, user_id, ai_twin_id),
    constraint message_mentions_is_one check (user_id is null or ai_twin_id is null)
);
comment on table public.message_mentions is
'Whom a message mentions: a user, a twin, or, if both are null, all members of the channel.';
comment on column public.message_mentions.channel_id is 'Channel of the message, copied for row-level security.';
comment on column public.message_mentions.seq is 'Number of the message, copied for counting.';
create index message_mentions_user_id_idx on public.message_mentions (user_id, channel_id, seq)
where user_id is not null;
create index message_mentions_ai_twin_id_idx on public.message_mentions (ai_twin_id) where ai_twin_id is not null;
create index message_mentions_channel_idx on public.message_mentions (channel_id, seq)
where user_id is null and ai_twin_id is null;
alter table public.message_mentions enable row level security;

create function private.parse_mentions(p_content text, out ids uuid[], out is_channel boolean)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    ids := array(
        select found.id[1]::uuid
        from regexp_matches(
            p_content, '<@([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})>', 'gi'
        ) as found (id)
        -- Each is a look-up under the lock of the channel.
        limit 100
    );
    is_channel := strpos(p_content, '<!channel>') > 0;
end
$$;
comment on function private.parse_mentions(text) is
'The first 100 ids that a text mentions as <@id>, and whether it has <!channel>.';

create function private.store_mentions(
    p_message public.messages, out user_ids uuid[], out is_channel boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_found record := private.parse_mentions(p_message.content);
begin
    with wanted as (
        select member.user_id, null::uuid as ai_twin_id
        from public.channel_members as member
        where member.channel_id = p_message.channel_id and member.user_id = any(v_found.ids)
        union all
        select null, assigned.ai_twin_id
        from public.channel_twins as assigned
        where assigned.channel_id = p_message.channel_id and assigned.ai_twin_id = any(v_found.ids)
        union all
        select null, null where v_found.is_channel
    ), removed as (
        -- An edit may drop mentions.
        delete from public.message_mentions as old
        where old.message_id = p_message.id and not exists (
            select from wanted
            where wanted.user_id is not distinct from old.user_id
                and wanted.ai_twin_id is not distinct from old.ai_twin_id
        )
    ), added as (
        insert into public.message_mentions (message_id, channel_id, seq, user_id, ai_twin_id)
        select p_message.id, p_message.channel_id, p_message.seq, wanted.user_id, wanted.ai_twin_id
        from wanted
        on conflict on constraint message_mentions_once do nothing
        returning message_mentions.user_id, message_mentions.ai_twin_id
    )

    select
        array_agg(added.user_id) filter (where added.user_id is not null),
        coalesce(bool_or(added.user_id is null and added.ai_twin_id is null), false)
    into user_ids, is_channel
    from added;
end
$$;
comment on function private.store_mentions(public.messages) is
'Makes the mentions of a message agree with its text. Ids of non-members are ignored. Returns the newly mentioned
users.';

-- Definer, because no client writes mentions or events of users.
create function private.record_mentions_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_added record;
begin
    if new.deleted_at is not null then
        delete from public.message_mentions as mention where mention.message_id = new.id;
        return null;
    end if;
    v_added := private.store_mentions(new);
    if v_added.is_channel then
        v_added.user_ids := v_added.user_ids || array(
            select listening.id
            from unnest(private.list_listening_members(new.channel_id)) as listening (id)
            inner join public.member_states as state
                on listening.id = state.user_id and state.channel_id = new.channel_id
            where not state.is_muted
        );
    end if;
    if array_remove(v_added.user_ids, new.user_id) <> '{}' then
        perform private.record_user_events(
            array_remove(v_added.user_ids, new.user_id), 'message.mentioned',
            jsonb_build_object('message_seq', new.seq, 'is_channel', v_added.is_channel),
            null, new.channel_id, new.id
        );
    end if;
    return null;
end
$$;
comment on function private.record_mentions_trigger() is
'Trigger: stores the mentions of a message and tells the mentioned users; for <!channel>, up to 1,000 members who did
not mute the channel. A deleted message mentions no user.';

-- GET /api/v2/channels: the channels of a user, with what is unread. Its cost depends on the number of channels, and
-- not on their length: it reads counters, and counts up to 100 by index.

create function private.count_unread(p_channel_id uuid, p_read_seq bigint) returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(*)
        from (
            select
            from (
                -- Bounds how many deleted messages are read.
                select message.deleted_at
                from public.messages as message
                where message.channel_id = p_channel_id and message.seq > p_read_seq
                order by message.seq desc
                limit 1000
            ) as newest
            where newest.deleted_at is null
            limit 100
        ) as counted
    );
end
$$;
comment on function private.count_unread(uuid, bigint) is 'The messages of a channel after a read marker, up to 100.';

create function private.count_mentions(p_channel_id uuid, p_user_id uuid, p_read_seq bigint) returns bigint
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(*)
        from (
            (
                select mention.seq
                from public.message_mentions as mention
                where mention.user_id = p_user_id and mention.channel_id = p_channel_id and mention.seq > p_read_seq
                order by mention.seq desc
                limit 100
            )
            -- A message that mentions both the user and the channel counts once.
            union
            (
                select mention.seq
                from public.message_mentions as mention
                where mention.user_id is null and mention.ai_twin_id is null
                    and mention.channel_id = p_channel_id and mention.seq > p_read_seq
                order by mention.seq desc
                limit 100
            )
            limit 100
        ) as counted
    );
end
$$;
comment on function private.count_mentions(uuid, uuid, bigint) is
'The messages of a channel after a read marker that mention a user or the whole channel, up to 100.';

create function private.render_last_message(p_channel_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'id', newest.id,
            'seq', newest.seq,
            'user_id', newest.user_id,
            'ai_twin_id', newest.ai_twin_id,
            'display_name', private.render_author(newest.user_id, newest.ai_twin_id) -> 'display_name',
            'preview', left(newest.content, 200),
            'created_at', private.format_time(newest.created_at)
        )
        from (
            select message.*
            from public.messages as message
            where message.channel_id = p_channel_id
            order by message.seq desc
            limit 1000
        ) as newest
        where newest.deleted_at is null
        limit 1
    );
end
$$;
comment on function private.render_last_message(uuid) is
'The newest message of a channel that is not deleted, with 200 characters of its text; null if the newest
1,000 are deleted.';

create function private.render_few_members(p_channel_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select coalesce(
            jsonb_agg(
                jsonb_build_object('user_id', few.user_id, 'display_name', profile.display_name) order by few.user_id
            ),
            '[]'
        )
        from (
            select member.user_id
            from public.channel_members as member
            where member.channel_id = p_channel_id
            order by member.user_id
            limit 10
        ) as few
        left join public.user_profiles as profile on few.user_id = profile.user_id
    );
end
$$;
comment on function private.render_few_members(uuid) is 'The first 10 members of a channel, with their names.';

-- Definer, because no client reads counters. It lists only channels of the acting user.
create function private.list_my_channels(p_limit integer, p_offset integer)
returns table (channel jsonb, place bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with mine as materialized (
        select
            counter.*, member.user_id, member.role, state.is_muted, state.is_pinned,
            coalesce(state.read_seq, 0) as read_seq,
            row_number() over (
                order by coalesce(state.is_pinned, false) desc, counter.last_at desc, counter.channel_id
            ) as place
        from public.channel_members as member
        inner join private.channel_counters as counter on member.channel_id = counter.channel_id
        left join public.member_states as state
            on member.channel_id = state.channel_id and member.user_id = state.user_id
        where member.user_id = (select private.acting_user_id())
            -- A hidden direct channel comes back with a new message.
            and (
                state.hidden_seq is null
                or exists (
                    select from public.messages as message
                    where message.channel_id = state.channel_id and message.seq > state.hidden_seq
                )
            )
        order by place
        limit p_limit
        offset p_offset
    )

    select
        jsonb_build_object(
            'id', channel.id,
            'workspace_id', channel.workspace_id,
            'kind', channel.kind,
            'name', channel.name,
            'created_at', private.format_time(channel.created_at),
            'role', mine.role,
            'last_seq', mine.last_seq,
            'read_seq', mine.read_seq,
            'unread_count', private.count_unread(channel.id, mine.read_seq),
            'mention_count', private.count_mentions(channel.id, mine.user_id, mine.read_seq),
            'last_message', private.render_last_message(channel.id),
            'member_count', mine.member_count,
            'members', private.render_few_members(channel.id),
            'is_muted', coalesce(mine.is_muted, false),
            'is_pinned', coalesce(mine.is_pinned, false),
            'topic', 'channel:' || channel.id
                || case when mine.sealed_until > clock_timestamp() then ':' || mine.topic_turn else '' end
        ),
        mine.place
    from mine
    inner join public.channels as channel on mine.channel_id = channel.id;
end
$$;
comment on function private.list_my_channels(integer, integer) is
'The channels of the acting user: pinned ones first, then by the last event. Counts end at 100.';

create function private.list_my_channels(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
begin
    perform private.require_actor($1);
    return private.succeed_page(array(
        select mine.channel from private.list_my_channels(v_limit + 1, v_offset) as mine order by mine.place
    ), v_limit);
end
$$;
comment on function private.list_my_channels(jsonb) is
'GET /api/v2/channels: lists the channels of the acting user. Takes limit (1 to 1000, default 100) and offset.';

create function public.list_my_channels(max_channels integer default 100, skip integer default 0) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.list_my_channels(jsonb_build_object(
        'limit', list_my_channels.max_channels, 'offset', list_my_channels.skip
    ));
end
$$;
comment on function public.list_my_channels(integer, integer) is
'Lists the channels of the caller with unread and mention counts (up to 100), last message, members, muted and pinned:
pinned ones first, then by the last event. Takes max_channels (1 to 1000) and skip.';

-- The ids of files that are deleted. Storage keeps the contents until the sweep, and no file takes such an id again.

create table private.retired_ids (
    id uuid primary key
);
comment on table private.retired_ids is
'Ids of deleted files. A client chooses the id of a file, and messages may still name a deleted one: a new file with
its id would take its place there.';
alter table private.retired_ids enable row level security;

-- Definer, because no client reads the retired ids.
create function private.is_retired_file(p_path text) returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := split_part(p_path, '/', 2);
begin
    return private.is_uuid(v_id) and exists (
        select from private.retired_ids as retired where retired.id = v_id::uuid
    );
end
$$;
comment on function private.is_retired_file(text) is
'Whether a path belongs to a deleted file, which Storage keeps until the sweep.';

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.retire_ids_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.retired_ids (id) select removed.id from removed
    on conflict do nothing;
    return null;
end
$$;
comment on function private.retire_ids_trigger() is
'Keeps the ids of deleted files, so that no new file can have them.';

-- Definer, because no client reads the retired ids.
create function private.reject_retired_id_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Only for callers of an API: a superuser may restore or seed deleted files.
    if auth.role() is not null
        and exists (select from private.retired_ids as retired where retired.id = new.id)
    then
        perform private.fail(
            409, 'id_retired', 'This id belonged to a deleted file. Choose another id.', 'id'
        );
    end if;
    return null;
end
$$;
comment on function private.reject_retired_id_trigger() is
'Rejects ids of deleted files. Runs after the insert, so it waits for a concurrent delete.';

-- Files of a channel in the Storage bucket `attachments`. Only members see them, and a file never changes.

-- Makes an existing bucket private too, so that files open only with a signed link.
insert into storage.buckets (id, name, public, file_size_limit)
values ('attachments', 'attachments', false, 52428800)
on conflict (id) do update set public = false;

create table public.attachments (
    id uuid primary key default gen_random_uuid(),
    channel_id uuid not null references public.channels (id) on delete cascade,
    path text not null generated always as (channel_id::text || '/' || id::text) stored,
    file_name text not null,
    size bigint not null,
    content_type text not null,
    width integer,
    height integer,
    uploaded_by uuid references auth.users (id) on delete set null,
    version text,
    created_at timestamptz not null default now(),
    constraint attachments_file_name_length check (char_length(file_name) between 1 and 255),
    constraint attachments_file_name_printable check (file_name !~ private.hidden_characters()),
    constraint attachments_size_not_negative check (size >= 0)
);
comment on table public.attachments is
'Files of channels, stored in the bucket attachments. Messages name them by id.';
comment on column public.attachments.path is 'Path in the bucket.';
comment on column public.attachments.file_name is 'Name that the uploader gave; for display.';
comment on column public.attachments.size is
'In bytes. A trigger copies it from Storage, as content_type and uploaded_by.';
comment on column public.attachments.content_type is 'Media type that the uploader gave to Storage.';
comment on column public.attachments.width is
'Width of an image in pixels, which the service reads from the file; null if it did not.';
comment on column public.attachments.height is 'Height, as width.';
comment on column public.attachments.uploaded_by is 'The uploader; null for service_role and for deleted users.';
comment on column public.attachments.version is
'The version of the file in Storage, which a trigger copies. Users cannot read another version.';
create index attachments_channel_id_idx on public.attachments (channel_id);
create index attachments_uploaded_by_idx on public.attachments (uploaded_by);
alter table public.attachments enable row level security;

create table private.message_files (
    attachment_id uuid not null references public.attachments (id) on delete cascade,
    message_id uuid not null references public.messages (id) on delete cascade,
    primary key (attachment_id, message_id)
);
comment on table private.message_files is
'The uploaded files that messages name. The sweep removes files that no message names.';
create index message_files_message_id_idx on private.message_files (message_id);
alter table private.message_files enable row level security;

create function private.is_my_folder(p_path text, p_is_managed boolean default false) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_folder text := split_part(p_path, '/', 1);
    v_channel_id uuid;
begin
    -- One spelling for each channel, in lower case: paths are compared as texts.
    if v_folder <> lower(v_folder) or not private.is_uuid(v_folder) then
        return false;
    end if;
    v_channel_id := v_folder::uuid;
    if p_is_managed then
        return exists (select from private.my_managed_channels as mine where mine.id = v_channel_id);
    end if;
    return exists (select from private.my_channels as mine where mine.id = v_channel_id);
end
$$;
comment on function private.is_my_folder(text, boolean) is
'Whether a path begins with the id of a channel of the caller, or of one that the caller manages.';

-- Runs with the rights of its owner, like the views of channels (200_channels).
create view private.my_posted_files
with (security_barrier = true) as
select
    file.id,
    file.path,
    file.version,
    message.channel_id
from private.message_files as used
inner join public.attachments as file on used.attachment_id = file.id
inner join public.messages as message on used.message_id = message.id
inner join public.channel_members as member on message.channel_id = member.channel_id
where member.user_id = (select auth.uid()) and message.deleted_at is null;
comment on view private.my_posted_files is
'Files in messages that the caller may read, wherever they were uploaded; one row for each message.';

create function private.is_posted_to_me(p_path text, p_version text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := split_part(p_path, '/', 2);
begin
    return private.is_uuid(v_id) and exists (
        select from private.my_posted_files as mine
        where mine.id = v_id::uuid and mine.path = p_path and mine.version is not distinct from p_version
    );
end
$$;
comment on function private.is_posted_to_me(text, text) is
'Whether a path and a version belong to a file in a message of the caller''s channels.';

create function private.is_replaced_file(p_path text, p_version text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := split_part(p_path, '/', 2);
begin
    return private.is_uuid(v_id) and exists (
        select from public.attachments as known
        where known.id = v_id::uuid and known.path = p_path and known.version is distinct from p_version
    );
end
$$;
comment on function private.is_replaced_file(text, text) is
'Whether a path in a folder of the caller belongs to an attachment that was registered in another version.';

create function private.set_attachment_details_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    select
        (stored.metadata ->> 'size')::bigint,
        split_part(stored.metadata ->> 'mimetype', ';', 1),
        stored.owner_id::uuid,
        stored.version
    into new.size, new.content_type, new.uploaded_by, new.version
    from storage.objects as stored
    where stored.bucket_id = 'attachments' and stored.name = new.channel_id || '/' || new.id;
    if not found then
        perform private.fail(404, 'file_not_found', 'Storage has no such file. Upload it first.', 'files');
    end if;
    return new;
end
$$;
comment on function private.set_attachment_details_trigger() is
'Copies size, type, uploader and version from Storage. PT404 unless the file exists and the caller may see it.';

create function private.render_attachment(p_attachment public.attachments) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_attachment.id,
        'name', p_attachment.file_name,
        'size', p_attachment.size,
        'type', p_attachment.content_type,
        'width', p_attachment.width,
        'height', p_attachment.height,
        'path', p_attachment.path,
        'url', '/api/v2/messages/attachments/' || p_attachment.id
    );
end
$$;
comment on function private.render_attachment(public.attachments) is
'An attachment as JSON. path is for Storage clients; url leads to the service, which checks the rights of each reader
(decision 0015).';

create function private.find_file(p_item jsonb, p_channel_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := coalesce(p_item ->> 'attachment_id', p_item ->> 'id');
    v_file public.attachments;
begin
    -- attachment_id is always ours. An id is ours only if it is a UUID; else it belongs to the application.
    if v_id is null or p_item ->> 'attachment_id' is null and not private.is_uuid(v_id) then
        return p_item;
    end if;
    if private.is_uuid(v_id)
        and (lower(v_id) = lower(p_item ->> 'id') or private.is_uuid(p_item ->> 'id') is not true)
    then
        select * into v_file
        from public.attachments as file
        where file.id = v_id::uuid
            -- Uploaders may post a file in any channel, others only in channels that have it already.
            and (
                file.channel_id = p_channel_id
                or (select private.is_service())
                or file.uploaded_by = (select auth.uid())
                or exists (
                    select from private.my_posted_files as mine
                    where mine.id = file.id and mine.channel_id = p_channel_id
                )
            );
    end if;
    if v_file.id is null then
        perform private.fail(
            404, 'attachment_not_found',
            'This uploaded file does not exist, or you may not post it here. Upload it again.', 'attachments'
        );
    end if;
    return p_item || private.render_attachment(v_file);
end
$$;
comment on function private.find_file(jsonb, uuid) is
'An attachment of a message, in which the facts of the stored file replace what the sender wrote. An attachment without
a stored file stays as it is. PT404 for a file that the author may not post in the channel.';

create function private.require_attachments_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The constraints, which run after this trigger, reject these.
    if jsonb_typeof(new.attachments) <> 'array' or not private.fits(new.attachments, private.attachments_max_bytes())
    then
        return new;
    end if;
    new.attachments := (
        select coalesce(jsonb_agg(
            case
                when jsonb_typeof(item.value) = 'object' then private.find_file(item.value, new.channel_id)
                else item.value
            end order by item.place
        ), '[]')
        from jsonb_array_elements(new.attachments) with ordinality as item (value, place)
    );
    return new;
end
$$;
comment on function private.require_attachments_trigger() is
'Fills in the facts of the files that a message names. PT404 if its author may not post one of them.';

-- Definer, because no client writes this table: only a message that names a file keeps it.
create function private.link_attachments_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Each UUID is an attachment: require_attachments_trigger has checked that.
    insert into private.message_files (attachment_id, message_id)
    select distinct named.id::uuid, new.id
    from jsonb_array_elements(new.attachments) as item (value)
    cross join lateral (values (item.value ->> 'attachment_id'), (item.value ->> 'id')) as named (id)
    where private.is_uuid(named.id);
    return null;
end
$$;
comment on function private.link_attachments_trigger() is
'Links a message to the uploaded files that it names, so that the sweep keeps them.';

-- Definer, because no client deletes files of others.
create function private.drop_unused_file_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Locks first, so that the statement below sees a message that names the file at this moment.
    perform from public.attachments as attachment where attachment.id = old.attachment_id for update;
    delete from public.attachments as attachment
    where attachment.id = old.attachment_id
        and not exists (
            select from private.message_files as used
            inner join public.messages as message on used.message_id = message.id
            where used.attachment_id = attachment.id and message.deleted_at is null
        );
    return null;
end
$$;
comment on function private.drop_unused_file_trigger() is
'Trigger: deletes a file when the row of the last message that named it is deleted.';

-- The calls that upload files, show one, and sweep those that no message names. Storage keeps the contents.

create function private.parse_files(p_body jsonb) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_file jsonb;
begin
    if coalesce(jsonb_typeof(p_body -> 'files'), 'null') <> 'array' or p_body -> 'files' = '[]' then
        perform private.fail(400, 'missing_field', 'files is required. Give one or more files.', 'files');
    elsif jsonb_array_length(p_body -> 'files') > 100 then
        perform private.fail(413, 'too_many_files', 'At most 100 files can be uploaded at once.', 'files');
    end if;
    for v_file in select item.value from jsonb_array_elements(p_body -> 'files') as item (value) loop
        if jsonb_typeof(v_file) <> 'object' then
            perform private.fail(400, 'invalid_field', 'files must be an array of objects.', 'files');
        end if;
        perform private.parse_uuid(v_file, 'id', false), private.parse_text(v_file, 'name', 1000);
    end loop;
    return p_body -> 'files';
end
$$;
comment on function private.parse_files(jsonb) is
'The files of a request: objects with id and name. Raises PT400, and PT413 for more than 100 files.';

create function private.require_upload_channel(p_body jsonb) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid(p_body, 'conversation_id');
    v_kind text;
begin
    perform private.parse_uuid(p_body, 'workspace_id', false);
    select channel.kind into v_kind from public.channels as channel where channel.id = v_channel_id;
    if v_kind is null then
        perform private.fail(
            404, 'channel_not_found', 'This channel does not exist, or you may not see it.', 'conversation_id'
        );
    elsif private.parse_text(p_body, 'conversation_type', 100, v_kind) <> v_kind then
        perform private.fail(
            400, 'conversation_type_mismatch', format('conversation_type must be %s here.', v_kind), 'conversation_type'
        );
    end if;
    return v_kind;
end
$$;
comment on function private.require_upload_channel(jsonb) is
'The kind of the channel of an upload: channel or dm. PT404 unless the caller may see it.';

create function private.admit_upload(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not private.is_service() and not exists (select from private.my_channels) then
        perform private.fail(
            404, 'channel_not_found', 'This channel does not exist, or you may not see it.', 'conversation_id'
        );
    end if;
    return private.succeed(null);
end
$$;
comment on function private.admit_upload(jsonb) is
'Comes before begin_upload if a form has its files before its conversation_id, so that the service stores no byte for a
user who is over the limit or in no channel.';

create function public.begin_upload(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_type text := private.require_upload_channel($1);
    v_channel_id uuid := private.parse_uuid($1, 'conversation_id');
begin
    return private.succeed(jsonb_build_object(
        'files', (
            select jsonb_agg(jsonb_build_object(
                'id', given.id, 'name', given.name, 'path', v_channel_id || '/' || given.id
            ) order by given.number)
            from (
                select file.number, file.value ->> 'name' as name, gen_random_uuid() as id
                from jsonb_array_elements(private.parse_files($1)) with ordinality as file (value, number)
            ) as given
        ),
        'conversation_id', v_channel_id,
        'conversation_type', v_type
    ));
end
$$;
comment on function public.begin_upload(jsonb) is
'First half of an upload: conversation_id, files (objects with name), and optionally conversation_type, workspace_id.
Answers the id and path that each file is to have in the bucket attachments; nothing is stored yet.';

create function public.finish_upload(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_type text := private.require_upload_channel($1);
    v_channel_id uuid := private.parse_uuid($1, 'conversation_id');
    v_files jsonb := private.parse_files($1);
begin
    -- Hidden characters could hide parts of a name. 255 characters are enough for a reader.
    insert into public.attachments (id, channel_id, file_name)
    select
        private.parse_uuid(file.value, 'id') as id,
        v_channel_id,
        left(regexp_replace(file.value ->> 'name', private.hidden_characters(), '_', 'g'), 255) as name
    from jsonb_array_elements(v_files) as file (value)
    on conflict on constraint attachments_pkey do nothing;
    return private.succeed(jsonb_build_object(
        'files', (
            select jsonb_agg(private.render_attachment(stored) order by file.number)
            from jsonb_array_elements(v_files) with ordinality as file (value, number)
            inner join public.attachments as stored
                on stored.id = private.parse_uuid(file.value, 'id') and stored.channel_id = v_channel_id
        ),
        'conversation_id', v_channel_id,
        'conversation_type', v_type
    ));
end
$$;
comment on function public.finish_upload(jsonb) is
'Second half of an upload, once Storage has the files: conversation_id, files (objects with id and name). Said again,
it changes nothing.';

-- Definer, because clients may not write the size of an image, which only the service reads from the file.
create function private.set_image_size(p_id uuid, p_width integer, p_height integer) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.attachments as file set width = p_width, height = p_height
    where file.id = p_id
        and file.width is null
        and (file.uploaded_by = (select auth.uid()) or (select private.is_service()));
end
$$;
comment on function private.set_image_size(uuid, integer, integer) is
'Stores the size of an image that the caller uploaded, once.';

create function private.finish_upload(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_file jsonb;
begin
    perform public.finish_upload($1);
    for v_file in select item.value from jsonb_array_elements($1 -> 'files') as item (value) loop
        if v_file ? 'width' then
            perform private.set_image_size(
                (v_file ->> 'id')::uuid, (v_file ->> 'width')::integer, (v_file ->> 'height')::integer
            );
        end if;
    end loop;
    return public.finish_upload($1);
end
$$;
comment on function private.finish_upload(jsonb) is
'Second half of an upload through the service: public.finish_upload, with width and height of images.';

create function public.get_attachment(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'id');
    v_attachment public.attachments;
begin
    select * into v_attachment from public.attachments as attachment where attachment.id = v_id;
    if v_attachment.id is null then
        perform private.fail(404, 'attachment_not_found', 'This file does not exist, or you may not see it.');
    end if;
    return private.succeed(
        private.render_attachment(v_attachment) || jsonb_build_object('conversation_id', v_attachment.channel_id)
    );
end
$$;
comment on function public.get_attachment(jsonb) is
'GET /api/v2/messages/attachments/:id/url: id. The service adds the signed link.';

-- Definer, because it locks files of all channels, and no client reads which files are in use.
create function private.sweep_attachments(p_limit integer, p_age interval) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[];
begin
    -- Skips files that a concurrent message is naming: it holds a lock on them.
    select array_agg(unused.id) into v_ids
    from (
        select attachment.id
        from public.attachments as attachment
        where attachment.created_at < now() - p_age
            and not exists (
                select from private.message_files as used
                inner join public.messages as message on used.message_id = message.id
                where used.attachment_id = attachment.id and message.deleted_at is null
            )
        order by attachment.created_at
        limit p_limit
        for update of attachment skip locked
    ) as unused;
    perform private.delete_media(p_limit, p_age);
    -- Checks again under the lock, because a message may have named a file before it.
    delete from public.attachments as attachment
    where attachment.id = any(v_ids)
        and not exists (
            select from private.message_files as used
            inner join public.messages as message on used.message_id = message.id
            where used.attachment_id = attachment.id and message.deleted_at is null
        );
end
$$;
comment on function private.sweep_attachments(integer, interval) is
'Deletes rows of files older than p_age that no message names, except deleted messages.';

create function public.sweep_attachments(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 1000);
    v_age interval := (select make_interval(hours => settings.unsent_file_hours) from private.settings);
begin
    perform private.sweep_attachments(v_limit, v_age);
    return private.succeed(jsonb_build_object('paths', (
        select coalesce(jsonb_agg(orphan.name), '[]')
        from (
            select stored.name
            from storage.objects as stored
            where stored.bucket_id = 'attachments'
                and stored.created_at < now() - v_age
                and not exists (
                    select from public.attachments as attachment where attachment.path = stored.name
                )
                and not exists (select from private.conversation_media as known where known.path = stored.name)
            order by stored.created_at
            limit v_limit
        ) as orphan
    )));
end
$$;
comment on function public.sweep_attachments(jsonb) is
'For sweepers: deletes rows of old files that no message names or shows, and returns paths in the bucket attachments
without a row, such as those of failed uploads; limit. The caller removes these through Storage; the next call returns
the rest again.';

-- The language in which search finds other forms of a word: that of the channel, else of its workspace, else
-- settings.default_language. A change holds for new messages at once. private.index_languages indexes older ones again.

create table private.language_backlog (
    channel_id uuid primary key references public.channels (id) on delete cascade,
    before_seq bigint not null,
    messages bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    indexed_at timestamptz not null default clock_timestamp()
);
comment on table private.language_backlog is
'Channels with messages that search still knows in a former language of the channel.';
comment on column private.language_backlog.before_seq is 'Messages before this event of the channel wait.';
comment on column private.language_backlog.messages is 'About how many messages wait.';
comment on column private.language_backlog.created_at is 'When the language changed last.';
comment on column private.language_backlog.indexed_at is 'When the last batch was indexed; at first as created_at.';
alter table private.language_backlog enable row level security;

create view private.channel_languages
with (security_barrier = true) as
select
    channel.id as channel_id,
    coalesce(channel.language, workspace.language, settings.default_language) as tag
from public.channels as channel
inner join public.workspaces as workspace on channel.workspace_id = workspace.id
cross join private.settings;
comment on view private.channel_languages is 'The language of each channel, as a tag of BCP 47.';

create function private.search_language(p_tag text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The languages of Postgres 15.
    return '{
        "ar": "arabic", "hy": "armenian", "eu": "basque", "ca": "catalan", "da": "danish", "nl": "dutch",
        "en": "english", "fi": "finnish", "fr": "french", "de": "german", "el": "greek", "hi": "hindi",
        "hu": "hungarian", "id": "indonesian", "ga": "irish", "it": "italian", "lt": "lithuanian", "ne": "nepali",
        "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "pt": "portuguese", "ro": "romanian",
        "ru": "russian", "sr": "serbian", "es": "spanish", "sv": "swedish", "ta": "tamil", "tr": "turkish",
        "yi": "yiddish"
    }'::jsonb ->> split_part(p_tag, '-', 1);
end
$$;
comment on function private.search_language(text) is
'The text search configuration of Postgres for a tag of BCP 47. Null if Postgres has none: search then finds words only
as they are written.';

create function private.set_search_languages(p_workspace_id uuid, p_channel_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_channel_ids uuid[] := array(
        select channel.id
        from public.channels as channel
        where (p_workspace_id is null or channel.workspace_id = p_workspace_id)
            and (p_channel_id is null or channel.id = p_channel_id)
    );
begin
    perform private.lock_channels(v_channel_ids);
    with changed as (
        update private.channel_counters as counter set language = private.search_language(spoken.tag)
        from private.channel_languages as spoken
        where spoken.channel_id = counter.channel_id
            and counter.channel_id = any(v_channel_ids)
            and counter.language is distinct from private.search_language(spoken.tag)
        returning counter.channel_id, counter.last_seq, counter.message_count
    )

    insert into private.language_backlog (channel_id, before_seq, messages)
    select changed.channel_id, changed.last_seq + 1, changed.message_count
    from changed
    where changed.message_count > 0
    on conflict (channel_id) do update set
        before_seq = excluded.before_seq, messages = excluded.messages,
        created_at = excluded.created_at, indexed_at = excluded.indexed_at;
end
$$;
comment on function private.set_search_languages(uuid, uuid) is
'Copies the language of channels into their counters: of one channel, of a workspace, or, with nulls, of all. Notes
which channels have messages in another language.';

-- Definer, because no client writes counters.
create function private.set_channel_language_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.set_search_languages(null, new.id);
    return null;
end
$$;
comment on function private.set_channel_language_trigger() is
'Trigger: indexes messages of a channel in its language.';

-- Definer, because no client writes counters.
create function private.set_workspace_language_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.set_search_languages(new.id, null);
    return null;
end
$$;
comment on function private.set_workspace_language_trigger() is
'Trigger: indexes messages of a workspace in its language.';

-- Definer, because no client writes counters.
create function private.set_default_language_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.set_search_languages(null, null);
    return null;
end
$$;
comment on function private.set_default_language_trigger() is
'Trigger: indexes messages in the language of the project, if no other is set.';

-- Definer, because no client reads the counters. enable_seqscan, because a plan that was cached while there were few
-- channels reads the counters of all (decision 0003). jit, because up to Postgres 17 the cost of a plan that needs what
-- is off is ten billion, and Postgres compiles such a plan, which took a second.
create function private.list_stemmers(p_channel_id uuid) returns regdictionary[]
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = 'off'
set jit = 'off'
as $$
begin
    return (
        select coalesce(array_agg(distinct (spoken.language || '_stem')::regdictionary), '{}')
        from (
            select named.language
            from (
                -- Always, because messages of a channel can wait to be indexed in its new language.
                select private.search_language(settings.default_language) as language, 9223372036854775807 as channels
                from private.settings
                union all
                -- A query for each case, because one for all of them reads the counters of all channels.
                select counter.language, 1
                from private.channel_counters as counter
                where counter.channel_id = p_channel_id and (
                    (select private.is_service())
                    or exists (select from private.my_channels as mine where mine.id = p_channel_id)
                )
                union all
                select counter.language, count(*)
                from private.my_channels as mine
                inner join private.channel_counters as counter on mine.id = counter.channel_id
                where p_channel_id is null and not (select private.is_service())
                group by counter.language
                union all
                select counter.language, count(*)
                from private.channel_counters as counter
                where p_channel_id is null and (select private.is_service())
                group by counter.language
            ) as named
            where named.language is not null
            order by named.channels desc, named.language
            limit 5
        ) as spoken
    );
end
$$;
comment on function private.list_stemmers(uuid) is
'The dictionaries that stem the words of a search in one channel or in all channels of the caller: at most five, those
of the languages that most channels have.';

-- The words of a text: folded, split in every script, stemmed, and joined with the signs that carry meaning.
-- The index and the query use the same functions, so that they agree.

create function private.fold_text(p_text text, p_keeps_accents boolean default false) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text;
begin
    if octet_length(p_text) = char_length(p_text) then
        return lower(p_text);
    end if;
    -- Removes accents, vowel points and characters that only change how another one is shown. Keeps the vowel signs of
    -- Thai and Indic scripts, because a word without them is another word.
    v_text := lower(regexp_replace(
        normalize(replace(replace(p_text, e'\u2120', ' '), e'\u2122', ' '), nfkd),
        '[' || case when p_keeps_accents then '' else '\u0300-\u036f' end
        || '\u00ad\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u061c\u0640\u064b-\u065f'
        '\u0670\u180b-\u180f\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff'
        '\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]+',
        '', 'g'
    ));
    -- Most Latin text is ASCII now and needs no more work.
    if octet_length(v_text) = char_length(v_text) then
        return v_text;
    end if;
    -- Unicode does not decompose these letters.
    if not p_keeps_accents and v_text ~ '[\u00df\u00e6\u00f8\u0111\u0127\u0131\u0142\u0153\u0167\u03c2]' then
        v_text := replace(replace(replace(
            translate(v_text, e'\u00f8\u0142\u0111\u0127\u0167\u0131\u03c2', e'oldhti\u03c3'),
            e'\u00df', 'ss'), e'\u00e6', 'ae'), e'\u0153', 'oe');
    end if;
    -- Checking costs half of normalizing.
    return case when v_text is nfkc normalized then v_text else normalize(v_text, nfkc) end;
end
$$;
comment on function private.fold_text(text, boolean) is
'A text without capitals, accents and width variants, so that a search finds every spelling. Optionally keeps accents,
which stemmers need.';

-- Does not use the parser of Postgres, which keeps report.pdf, /path and -19 whole, drops emoji, and depends on the
-- locale.
create function private.split_words(p_text text, p_keeps_accents boolean default false) returns text[]
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Cut, because folding can turn one character into eighteen, and a tsvector has at most one megabyte.
    v_folded text := left(private.fold_text(p_text, p_keeps_accents), 100000);
    v_text text;
    v_runs text[];
begin
    if octet_length(v_folded) = char_length(v_folded) then
        v_text := regexp_replace(v_folded, '[^a-z0-9 ]+', ' ', 'g');
    else
        -- Han, kana, Hangul, Thai, Lao, Tibetan, Burmese, Khmer and emoji: a word may begin or end at any of them.
        -- Splits by runs, because matching this long class costs four times as much as matching any character.
        v_runs := string_to_array(regexp_replace(
            translate(v_folded, e'\u0001', ' '),
            '[\u0e01-\u0e3e\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0f0a\u0f13-\u1049\u1050-\u109f\u1100-\u11ff'
            '\u1780-\u17d3\u17dc-\u17e9\u1950-\u1a1b\u1a20-\u1aaf\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff'
            '\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u303c\u3041-\u309f\u30a1-\u30fa'
            '\u30fc-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\ua9e0-\ua9ff\uaa60-\uaadf'
            '\uac00-\ud7ff\uf900-\ufaff\U00016fe0-\U00018d8f\U0001aff0-\U0001b2ff\U0001f000-\U0001faff'
            '\U00020000-\U0003ffff]+',
            e'\u0001\\&\u0001', 'g'
        ), e'\u0001');
        for v_run in 1 .. coalesce(cardinality(v_runs), 0) / 2 loop
            v_runs[2 * v_run] := regexp_replace(v_runs[2 * v_run], '.', e'\u0001\\& \\&\u0001', 'g');
        end loop;
        v_text := array_to_string(v_runs, '');
        v_text := regexp_replace(
            replace(replace(v_text, e'\u0001\u0001', ''), e'\u0001', ' '),
            '[\u0002-\u001f!-/:-@[-`{-\u00bf\u00d7\u00f7\u02b9-\u02bf\u037e\u055a-\u055f\u0589\u058a\u05be\u05c0\u05c3'
            '\u05c6\u05f3\u05f4\u060c\u061b\u061d-\u061f\u066a-\u066d\u06d4\u0964\u0965\u0970\u0e3f\u0e4f\u0e5a\u0e5b'
            '\u0f0b-\u0f12\u104a-\u104f\u1361-\u1368\u1680\u17d4-\u17db\u1800-\u180a\u2000-\u22ff\u2400-\u25ff'
            '\u27c0-\u2aff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u302a-\u3030\u3036-\u303a\u303d-\u303f\u30a0\u30fb'
            '\ufd3e\ufd3f\ufe10-\ufe6f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\ufff0-\uffff]+',
            ' ', 'g'
        );
    end if;
    return nullif(array_remove(string_to_array(
        -- Cut, because a tsvector takes no word over 2,046 bytes.
        case
            when char_length(v_folded) < 256 then v_text
            else regexp_replace(v_text, '([^ ]{255})[^ ]+', '\1', 'g')
        end,
        ' '
    ), ''), '{}');
end
$$;
comment on function private.split_words(text, boolean) is
'The folded words of a text in order; null if it has none. In scripts without spaces each pair of neighbours is a
word, and so are the first and last character: ABC becomes A, AB, BC, C.';

create function private.compound_signs() returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return '[#@+_]|[0-9][.,][0-9]|(^|[^A-Za-z0-9])[-.][A-Za-z0-9\u00c0-\u064a]'
        '|[^\s][-\u2010][^\s]|[^\s][''\u2019](?!([stdm]|re|ve|ll)(?![A-Za-z]))[^\s]';
end
$$;
comment on function private.compound_signs() is
'A regular expression for the signs that list_compounds reads. Immutable, so Postgres computes it once per plan.';

create function private.list_compounds(p_text text, out signed text[], out joined text[])
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Not \w, which depends on the locale.
    c_word constant text := '[a-z0-9\u00df-\u02af\u0370-\u0587\u05d0-\u05ea\u0620-\u064a]+';
    v_text text := left(private.fold_text(p_text), 100000);
begin
    -- Runs few regular expressions, because they make messages with signs expensive. Keeps duplicates, because removing
    -- them costs more.
    if translate(v_text, e'-'',\u2010\u2019', '') <> v_text then
        joined := array(
            select left(translate(found.words[1], e'-'',\u2010\u2019', ''), 100)
            from regexp_matches(
                v_text, c_word || '(?:[-''\u2010\u2019]' || c_word || ')+|[0-9]{1,3}(?:,[0-9]{3})+', 'g'
            ) as found (words)
            -- Not it's, don't and we'll.
            where rtrim(translate(right(found.words[1], 3), e'\u2019', ''''), 'stdmrevl') not like '%'''
        );
    end if;
    if strpos(v_text, ',') > 0 then
        -- 1,234.56 is 1234.56.
        v_text := regexp_replace(v_text, '([0-9]),(?=[0-9]{3}(?![0-9]))', '\1', 'g');
    end if;
    -- #123, @name, .net, --flag, c++, c#
    signed := array(
        select left(found.words[1], 100)
        from regexp_matches(
            v_text,
            '(?<![a-z0-9\u00df-\u064a_#@.+<-])(?:--?' || c_word || '(?:[-_]' || c_word || ')*|[#@.]' || c_word
            || '(?:_' || c_word || ')*)|' || c_word || '(?:[+][+]|#(?![a-z0-9\u00df-\u064a]))', 'g'
        ) as found (words)
    );
    if translate(v_text, '_.', '') <> v_text then
        -- Each pair of neighbours: a_b_c has a_b and b_c, 1.2.3 has 1.2 and 2.3.
        signed := signed || array(
            select left(found.words[1], 100)
            from regexp_matches(
                regexp_replace(v_text, '([_.])(' || c_word || ')(?=[_.][a-z0-9\u00df-\u064a])', '\1\2 \2', 'g'),
                c_word || '_' || c_word || '|[0-9]+[.][0-9]+', 'g'
            ) as found (words)
        );
    end if;
end
$$;
comment on function private.list_compounds(text) is
'The words of a text with the signs that carry meaning (C++, #123, @name, --flag, a_b, 2.0), and joined forms of words
with a hyphen, an apostrophe or a comma (wi-fi is wifi, 1,234 is 1234).';

create function private.list_stems(
    p_words text[], p_accented text[], p_stemmer regdictionary, p_strips_prefixes boolean
)
returns table (place bigint, stem text)
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select given.place, private.fold_text(stemmed.word)
    from unnest(p_words, p_accented) with ordinality as given (word, accented, place)
    cross join lateral unnest(array[
        -- Skips later scripts, because no stemmer knows them and a message in Chinese has many words.
        case
            when ascii(given.word) < 3584 then (ts_lexize(p_stemmer, coalesce(given.accented, given.word)))[1]
        end,
        -- The Arabic article, after and, so, with and like.
        case
            when ascii(given.word) between 1568 and 1610
                then regexp_replace(
                    given.word,
                    '^(?:[\u0641\u0648]?[\u0628\u0643]?\u0627\u0644|[\u0641\u0648]?\u0644\u0644)(?=.{2})', ''
                )
            -- The Hebrew and, that, from, in, like, to and the. A word keeps three letters.
            when p_strips_prefixes and ascii(given.word) between 1488 and 1514
                then regexp_replace(
                    given.word,
                    '^(?:\u05d5?(?:\u05db\u05e9|\u05e9)?[\u05d1\u05db\u05dc\u05de]?\u05d4?(?=.{3})|\u05d4(?=.{2}$))',
                    ''
                )
        end
    ]) as stemmed (word)
    where char_length(given.word) > 2 and stemmed.word <> given.word;
end
$$;
comment on function private.list_stems(text[], text[], regdictionary, boolean) is
'The stems that differ from their words, with the places of the words. p_accented has the same words with accents, which
stemmers need. Removes Hebrew prefixes only from messages: a query word without a prefix then finds all.';

-- Hits: the message, its files and author, and a snippet around the found words.

create function private.list_marks(
    p_words tsquery, out words text[], out beginnings text, out heads text, out neighbours text
)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    select
        array_agg(marked.word) filter (where not marked.is_pair and not marked.is_beginning),
        '^(' || string_agg(marked.word, '|') filter (where not marked.is_pair and marked.is_beginning) || ')',
        string_agg(distinct left(marked.word, 2), '|') filter (where not marked.is_pair),
        -- In scripts without spaces a word is a pair of neighbours, so a character is marked only beside the other.
        string_agg(
            case
                when char_length(marked.word) = 1 then marked.word
                else format('%1$s(?=%2$s)|(?<=%1$s)%2$s', left(marked.word, 1), right(marked.word, 1))
            end,
            '|'
        ) filter (where marked.is_pair)
    into words, beginnings, heads, neighbours
    from (
        select
            split.word,
            term.is_beginning,
            -- Earlier scripts have spaces.
            ascii(split.word) >= 3584 and cardinality(private.split_words(left(split.word, 1))) = 2 as is_pair
        from (
            select distinct found.part[1] as word, coalesce(found.part[2] like ':*%', false) as is_beginning
            -- Without what the query excludes, and without tags.
            from regexp_matches(querytree(p_words), '''([^'']+)''(:[*A-D]+)?', 'g') as found (part)
            where found.part[1] not like ':%'
        ) as term
        -- The words of a sign, such as c of c++.
        cross join lateral unnest(
            case
                when term.word ~ '[#@+_.-]' then private.split_words(term.word)
                else array[term.word]
            end
        ) as split (word)
    ) as marked;
end
$$;
comment on function private.list_marks(tsquery) is
'What a snippet marks: the words of a query, and regular expressions for its beginnings, for the first letters of both,
and for characters of scripts without spaces.';

create function private.mark_pattern(p_contents text[], p_words tsquery, p_stemmers regdictionary[]) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    c_gap constant text := '\s!-/:-@\[-`{-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f';
    v_marks record := private.list_marks(p_words);
    -- Without the character that separates words below.
    v_text text := (
        select translate(string_agg(left(given.content, 4000), e'\n'), e'\u0001', '')
        from unnest(p_contents) as given (content)
    );
    v_pieces text[];
    v_hits text;
begin
    if v_marks.heads is null then
        return v_marks.neighbours;
    end if;
    -- Skips words with other first letters than the query and its stems, which are most words. Letters that folding
    -- changes are not ASCII.
    v_pieces := array(
        select distinct found.parts[1] collate "C"
        from regexp_matches(
            v_text,
            '(?<![^' || c_gap || '])(?:' || v_marks.heads || '|[a-z0-9]?[^\u0001-\u007f])[^' || c_gap || ']*', 'gi'
        ) as found (parts)
    );
    select string_agg(hit.piece, '|') into v_hits
    from (
        select cut.piece
        -- Folds all words at once, because a call for each would cost more than all the rest.
        from unnest(
            v_pieces, string_to_array(private.fold_text(array_to_string(v_pieces, e'\u0001')), e'\u0001')
        ) as cut (piece, word)
        where cut.word = any(v_marks.words)
            or cut.word ~ v_marks.beginnings
            or exists (
                select from unnest(p_stemmers) as stemmer (id)
                where (ts_lexize(stemmer.id, cut.word))[1] = any(v_marks.words)
            )
        limit 200
    ) as hit;
    return nullif(concat_ws(
        '|', '(?<![^' || c_gap || '])(?:' || v_hits || ')(?![^' || c_gap || '])', v_marks.neighbours
    ), '');
end
$$;
comment on function private.mark_pattern(text[], tsquery, regdictionary[]) is
'A regular expression for what the snippets of these texts mark; null for nothing. One for all, because Postgres
compiles each expression.';

create function private.render_snippet(p_content text, p_pattern text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Cut, which limits the cost; for a hit after the cut, the snippet is the beginning. The two characters become the
    -- marks.
    v_text text := translate(left(p_content, 4000), e'\u0002\u0003', '');
    v_from integer := greatest(coalesce(regexp_instr(v_text, p_pattern), 0) - 60, 1);
    v_shown text;
    v_is_cut boolean;
begin
    if v_from > 1 then
        -- Begins with a word.
        v_from := v_from + strpos(substr(v_text, v_from, 30), ' ');
    end if;
    v_shown := substr(v_text, v_from, 240);
    v_is_cut := v_from + 240 <= char_length(p_content);
    if v_is_cut then
        -- Ends with a word.
        v_shown := left(v_shown, 240 - strpos(reverse(right(v_shown, 30)), ' '));
    end if;
    if p_pattern is not null then
        v_shown := replace(
            regexp_replace(v_shown, p_pattern, e'\u0002\\&\u0003', 'g'), e'\u0003\u0002', ''
        );
    end if;
    v_shown := replace(replace(replace(replace(v_shown, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;');
    return concat(
        case when v_from > 1 then e'\u2026' end,
        replace(replace(v_shown, e'\u0002', '<mark>'), e'\u0003', '</mark>'),
        case when v_is_cut then e'\u2026' end
    );
end
$$;
comment on function private.render_snippet(text, text) is
'Up to 240 characters of a message around the first place that fits the expression, as HTML: the text is escaped, and
<mark> surrounds these places.';

-- force_generic_plan, because Postgres prefers a custom plan for a short array, and making it takes longer than the
-- look-ups.
create function private.render_hits(p_hits jsonb, p_words tsquery, p_stemmers regdictionary[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_generic_plan'
as $$
declare
    v_hits jsonb[] := array(select jsonb_array_elements(p_hits));
    v_contents text[] := array(
        select hit.message ->> 'content'
        from unnest(v_hits) with ordinality as hit (message, place)
        order by hit.place
    );
    v_pattern text := private.mark_pattern(v_contents, p_words, p_stemmers);
begin
    return (
        select jsonb_agg(
            hit.message || jsonb_build_object(
                'snippet', private.render_snippet(v_contents[hit.place], v_pattern),
                'display_name', author.display_name,
                'avatar_url', author.avatar_url
            )
            order by hit.place
        )
        from unnest(v_hits) with ordinality as hit (message, place)
        left join private.list_author_names(array(
            -- One message of each author is enough.
            select (array_agg(found.message ->> 'id'))[1]::uuid
            from unnest(v_hits) as found (message)
            group by found.message ->> 'user_id', found.message ->> 'ai_twin_id'
        )) as author
            on author.author_id = coalesce(hit.message ->> 'user_id', hit.message ->> 'ai_twin_id')::uuid
            and author.is_twin = (hit.message ->> 'user_id' is null)
    );
end
$$;
comment on function private.render_hits(jsonb, tsquery, regdictionary[]) is
'Messages that a search found, in this order, each with its author and a snippet.';

-- The search index: the words of each message, in every script.
-- It holds exactly the messages that are not deleted, with their present text.

-- For one index on channel and word: an index on words alone would read the matches of all channels.
create extension if not exists btree_gin with schema extensions;

-- A table of its own for two reasons. Clients would read the words as a column of public.messages. Row-level security
-- would also keep Postgres from using the GIN index, because the operator @@ is not leakproof.
-- Only private.search_messages reads it, and only triggers of messages write it. So it has no foreign key, which would
-- cost one query for each message (decision 0006).
create table private.message_words (
    message_id uuid primary key,
    number bigint generated always as identity,
    channel_id uuid not null,
    created_at timestamptz not null,
    words tsvector not null
);
comment on table private.message_words is 'The words of every message that is not deleted. Only search reads it.';
comment on column private.message_words.number is 'Rises with each new message.';
comment on column private.message_words.channel_id is 'Channel of the message, copied for the index.';
comment on column private.message_words.created_at is 'Time of the message, copied for the index.';
create index message_words_number_idx on private.message_words (number);
-- BRIN, because times rise nearly with the pages: the index is tiny and costs nothing on insert.
create index message_words_created_at_idx on private.message_words using brin (created_at) with (autosummarize = on);
-- The pending list collects some hundred messages before GIN sorts them in: cheaper than one by one (decision 0007).
-- Each search reads the list and one writer must empty it, so its limit is small (in kB).
create index message_words_search_idx on private.message_words using gin (channel_id extensions.uuid_ops, words)
with (fastupdate = on, gin_pending_list_limit = 2048);
-- Nearly empty. With it, a phrase knows at once whether any message has lost places.
create index message_words_long_idx on private.message_words (number) where words @@ ''':long'''::tsquery;
alter table private.message_words enable row level security;

-- Definer, because no client reads the index.
create function private.has_long_messages() returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (select from private.message_words as entry where entry.words @@ ''':long'''::tsquery);
end
$$;
comment on function private.has_long_messages() is
'Whether the index of any message lacks places of words, which phrases need.';

create function private.word_index_template() returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select string_agg('''%s'':' || lpad(given.place::text, 3, '0') || 'A', ' ' order by given.place)
        from generate_series(1, 254) as given (place)
    );
end
$$;
comment on function private.word_index_template() is
'The template from which format() builds a tsvector of up to 254 words, ten characters for each word. It is immutable,
so Postgres computes it once per plan. A query that numbers the words would make index_words a quarter slower (decision
0007).';

create function private.index_stems(p_content text, p_words text[], p_text text, p_language text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_accented text[];
    v_stems text;
begin
    if p_language = 'english' then
        -- The stop word a keeps the place of a word of another script.
        v_stems := ' ' || to_tsvector(
            'pg_catalog.english'::regconfig,
            case when p_text ~ '[a-z]' then regexp_replace(p_text, '[^ ]*[^\u0001-\u007f][^ ]*', 'a', 'g') else '' end
        )::text;
        if p_text !~ '[\u05d0-\u064a]' then
            return v_stems;
        end if;
    else
        v_accented := private.split_words(p_content, true);
    end if;
    return concat(v_stems, (
        select string_agg(' ''' || found.stem || ''':' || found.place, '')
        from private.list_stems(
            p_words, case when cardinality(v_accented) = cardinality(p_words) then v_accented end,
            case when p_language <> 'english' then (p_language || '_stem')::regdictionary end, true
        ) as found
    ));
end
$$;
comment on function private.index_stems(text, text[], text, text) is
'The stems of the words of a text that is not ASCII, as a part of a tsvector.';

create function private.render_words(p_content text, p_attachments jsonb, p_language text) returns text
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_words text[] := private.split_words(p_content);
    v_text text := array_to_string(v_words, ' ');
    v_count integer := coalesce(cardinality(v_words), 0);
    v_compounds record;
    v_index text;
    v_is_long boolean;
begin
    if v_count < 255 then
        -- The template avoids a query, which would cost half as much as all other work on a short message.
        v_index := format(left(private.word_index_template(), 10 * v_count), variadic v_words);
    else
        v_index := (
            select string_agg('''' || given.word || ''':' || given.place || 'A', ' ')
            from unnest(v_words) with ordinality as given (word, place)
        );
        -- A tsvector keeps places up to 16,383, and 255 for each word. Phrases beyond them would not match, so
        -- parse_search_phrase asks a message with this tag for the words alone.
        v_is_long := v_count >= 16383
            or exists (select from unnest(v_words) as given (word) group by given.word having count(*) >= 255);
    end if;
    -- Most messages have no sign and stop here.
    if p_content ~ private.compound_signs() then
        v_compounds := private.list_compounds(p_content);
        v_index := concat(v_index, (
            -- Leaves a place between them, so that no phrase finds them as neighbours.
            select string_agg(' ''' || given.word || ''':' || v_count + 2 * given.place || given.label, '')
            from (
                select signed.word, signed.place, 'A' as label
                from unnest(v_compounds.signed) with ordinality as signed (word, place)
                union all
                select joined.word, joined.place, 'C' as label
                from unnest(v_compounds.joined) with ordinality as joined (word, place)
            ) as given
        ));
    end if;
    if jsonb_array_length(p_attachments) > 0 then
        v_index := concat(v_index, ' '':file''', (
            select string_agg(' ''' || given.word || ''':' || v_count + 2 + given.place || 'B', '')
            from unnest(private.split_words((
                select left(string_agg(item.value ->> 'name', ' | '), 10000)
                from jsonb_array_elements(p_attachments) as item (value)
            ))) with ordinality as given (word, place)
        ));
    end if;
    -- A colon makes a tag: words never have one.
    return concat(
        v_index,
        case
            -- For ASCII, the parser of Postgres gives the same words with the same places, and is faster.
            when octet_length(v_text) = char_length(v_text)
                and (p_language = 'english' or octet_length(p_content) = char_length(p_content))
                then ' ' || to_tsvector(p_language::regconfig, v_text)::text
            else private.index_stems(p_content, v_words, v_text, p_language)
        end,
        case when v_is_long then ' '':long''' end,
        case when strpos(p_content, '://') > 0 and p_content ~* 'https?://' then ' '':link''' end
    );
end
$$;
comment on function private.render_words(text, jsonb, text) is
'The index entry of a message as text: its words with places (label A), the names of its files (B), joined words (C),
stems (no label), and the tags :long, :link and :file. A query for exact words asks for labels A and B.';

create function private.index_words(
    p_content text, p_attachments jsonb, p_language text default 'english'
) returns tsvector
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.render_words(p_content, p_attachments, p_language)::tsvector;
end
$$;
comment on function private.index_words(text, jsonb, text) is 'The index entry of a message.';

create function private.prepare_words(p_message public.messages, p_language text, out language text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Constraints and triggers check the text and the attachments later.
    if p_message.attachments is null and char_length(p_message.content) <= private.message_max_characters() then
        -- An assignment, because PERFORM would start an executor (decision 0007). The language takes its place.
        language := concat(
            set_config('threadline.words', private.render_words(p_message.content, null, p_language), true),
            set_config('threadline.words_of', concat_ws(' ', p_message.id, p_message.content), true)
        );
    end if;
    language := p_language;
end
$$;
comment on function private.prepare_words(public.messages, text) is
'Computes the index entry of a new message without attachments before its channel is locked, because that takes a fifth
of the time of a message. private.index_message_trigger stores it. Returns the language.';

-- Definer, because no client writes the index.
create function private.index_message_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.deleted_at is not null then
        delete from private.message_words as entry where entry.message_id = new.id;
    elsif tg_op = 'INSERT' and new.attachments is null
        and current_setting('threadline.words_of', true) = concat_ws(' ', new.id, new.content)
    then
        insert into private.message_words (message_id, channel_id, created_at, words)
        values (new.id, new.channel_id, new.created_at, current_setting('threadline.words')::tsvector);
    elsif tg_op = 'INSERT' then
        -- A trigger has changed the text, or the statement has more messages.
        insert into private.message_words (message_id, channel_id, created_at, words)
        select
            new.id,
            new.channel_id,
            new.created_at,
            private.index_words(new.content, new.attachments, counter.language)
        from private.channel_counters as counter
        where counter.channel_id = new.channel_id;
    else
        update private.message_words as entry
        set words = private.index_words(new.content, new.attachments, counter.language)
        from private.channel_counters as counter
        where entry.message_id = new.id and counter.channel_id = new.channel_id;
    end if;
    return null;
end
$$;
comment on function private.index_message_trigger() is
'Keeps the search index equal to the text of a message; removes a deleted message from it.';

-- Definer, because it also runs when Supabase Auth deletes a user. Uses a custom plan: a cached plan from a small table
-- would scan a large one (decision 0003).
create function private.delete_message_words_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.message_words as entry
    where entry.message_id = any(array(select removed.id from removed));
    return null;
end
$$;
comment on function private.delete_message_words_trigger() is 'Removes deleted rows of messages from the search index.';

-- Definer, because no client writes the index.
create function private.index_languages(p_limit integer) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
-- A message that changes now is locked until its transaction ends. Then this gives up, and the next round continues.
set lock_timeout = '100ms'
as $$
declare
    v_backlog private.language_backlog;
    v_ids uuid[];
    v_seqs bigint[];
begin
    select * into v_backlog
    from private.language_backlog as waiting
    order by waiting.created_at
    limit 1
    for update skip locked;
    if not found then
        return 0;
    end if;
    select array_agg(batch.id), array_agg(batch.seq order by batch.seq) into v_ids, v_seqs
    from (
        select message.id, message.seq
        from public.messages as message
        where message.channel_id = v_backlog.channel_id
            and message.seq < v_backlog.before_seq
            and message.deleted_at is null
        order by message.seq desc
        limit p_limit
    ) as batch;
    -- Locks before it reads the texts, so that a change at the same time is either read or written after this.
    perform from private.message_words as entry
    where entry.message_id = any(v_ids)
    order by entry.message_id
    for no key update;
    update private.message_words as entry set words = fresh.words
    from public.messages as message
    inner join private.channel_counters as counter on message.channel_id = counter.channel_id
    cross join lateral (
        select private.index_words(message.content, message.attachments, counter.language) as words
    ) as fresh
    where message.id = any(v_ids) and message.deleted_at is null
        and entry.message_id = message.id and entry.words <> fresh.words;
    if cardinality(v_ids) = p_limit then
        update private.language_backlog as waiting
        set before_seq = v_seqs[1], messages = greatest(waiting.messages - p_limit, 0), indexed_at = clock_timestamp()
        where waiting.channel_id = v_backlog.channel_id;
    else
        delete from private.language_backlog as waiting where waiting.channel_id = v_backlog.channel_id;
    end if;
    return coalesce(cardinality(v_ids), 0);
exception
    when lock_not_available then
        return 0;
end
$$;
comment on function private.index_languages(integer) is
'Indexes the newest p_limit messages of one channel again that search knows in a former language of the channel. Returns
their number, and 0 while another transaction changes one of them.';

-- What a search query means: words, "phrases", -exclusions, OR, and operators such as from: and has:.
-- Every query is valid: an operator that does not apply is searched as words.

create type private.message_search as (
    words tsquery,
    tags tsquery,
    channel_ids uuid array,
    other_channel_ids uuid array,
    author_ids uuid array,
    other_author_ids uuid array,
    since timestamptz,
    until timestamptz,
    message_ids uuid array,
    other_message_ids uuid array,
    has_reaction boolean,
    has_thread boolean
);
comment on type private.message_search is
'The conditions of a query; null means no condition. The fields other_ hold what the query excludes.';

create function private.list_word_forms(p_word text, p_text text, p_stemmers regdictionary[]) returns text[]
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The short way for most words; the stems of list_stems are the same.
    if octet_length(p_text) = char_length(p_text) then
        return array(
            select p_word
            union
            select stemmed.word
            from unnest(p_stemmers) as stemmer (id)
            cross join lateral (select (ts_lexize(stemmer.id, p_word))[1] as word) as stemmed
            where char_length(p_word) > 2 and stemmed.word <> ''
            order by 1
        );
    end if;
    return array(
        select p_word
        union
        select found.stem
        from unnest(p_stemmers) as stemmer (id)
        -- Also without accents, because the author may have left them out.
        cross join lateral (
            select * from private.list_stems(array[p_word], private.split_words(p_text, true), stemmer.id, false)
            union all
            select * from private.list_stems(array[p_word], null, stemmer.id, false)
        ) as found
        where found.place = 1
        order by 1
    );
end
$$;
comment on function private.list_word_forms(text, text, regdictionary[]) is
'A word of a query and its stems: a message with one of them has the word in some form.';

create function private.parse_search_phrase(
    p_text text, p_stemmers regdictionary[] default null, p_labels text default '', p_is_beginning boolean default false
) returns tsquery
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_words text[] := private.split_words(p_text);
    v_last text := v_words[cardinality(v_words)];
    v_signed text[];
    v_joined text[];
    v_end text := nullif(':' || case when p_is_beginning then '*' else '' end || p_labels, ':');
    v_labels text := nullif(':' || p_labels, ':');
    v_all text;
begin
    if v_words is null then
        return null;
    end if;
    if p_text ~ private.compound_signs() then
        select found.signed, found.joined into v_signed, v_joined from private.list_compounds(p_text) as found;
    end if;
    -- In scripts without spaces, split_words adds the first and last character as words. In a message that character
    -- may have neighbours, so the phrase must not ask for it alone.
    if char_length(v_words[1]) = 1 and cardinality(private.split_words(v_words[1])) = 2 then
        v_words := v_words[2:];
    end if;
    if char_length(v_last) = 1 and cardinality(private.split_words(v_last)) = 2 then
        v_end := ':*' || p_labels;
        if cardinality(v_words) > 1 then
            v_words := trim_array(v_words, 1);
            v_end := v_labels;
        end if;
    end if;
    v_all := (
        select string_agg(
            concat('''', given.word, '''', case when given.place = cardinality(v_words) then v_end else v_labels end),
            ' <-> ' order by given.place
        )
        from unnest(v_words) with ordinality as given (word, place)
    );
    if cardinality(v_words) > 1 and private.has_long_messages() then
        -- A message with the tag :long has lost places, so its words are enough.
        v_all := format('(%s | '':long'' & %s)', v_all, replace(v_all, '<->', '&'));
    elsif cardinality(v_words) = 1 and p_stemmers is not null then
        v_all := format('(%s)', concat_ws(' | ', v_all, (
            select string_agg('''' || form.word || '''', ' | ')
            from unnest(private.list_word_forms(v_words[1], p_text, p_stemmers)) as form (word)
            where form.word <> v_words[1]
        )));
    end if;
    if p_stemmers is not null and v_joined = array[array_to_string(v_words, '')] then
        v_all := format('(%s | ''%s''%s)', v_all, v_joined[1], v_end);
    end if;
    if v_signed <> '{}' and p_labels <> 'B' then
        -- The signed form is enough for a number such as v2.0, and for a single word such as #123.
        return concat_ws(
            ' & ',
            case when cardinality(v_words) > 1 and p_text !~* '^v?[0-9.,]+$' then v_all end,
            (
                select string_agg('''' || given.word || '''' || case when p_is_beginning then ':*' else '' end, ' & ')
                from unnest(v_signed) as given (word)
            )
        )::tsquery;
    end if;
    return v_all::tsquery;
end
$$;
comment on function private.parse_search_phrase(text, regdictionary[], text, boolean) is
'The tsquery that finds words one after the other; null if the text has none. With p_stemmers, one word is found in its
other forms too. p_labels are those of the index (260_search_index), and p_is_beginning leaves the last word open.';

create function private.find_authors(p_name text) returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text := private.fold_text(ltrim(p_name, '@'));
begin
    if v_name = 'me' then
        return nullif(array_remove(array[(select auth.uid())], null), '{}');
    elsif private.is_uuid(v_name) then
        return array[v_name::uuid];
    end if;
    return (
        -- Prefers exact names; else takes all names that contain the text.
        select coalesce(
            array_agg(author.id) filter (where author.name = v_name),
            array_agg(author.id) filter (where v_name <> '' and strpos(author.name, v_name) > 0)
        )
        from (
            select profile.user_id as id, private.fold_text(profile.display_name) as name
            from public.user_profiles as profile
            union all
            select twin.id, private.fold_text(twin.display_name) as name
            from public.ai_twins as twin
        ) as author
    );
end
$$;
comment on function private.find_authors(text) is
'The users and twins that from: names: me, an id, a name or a part of one; null if the caller sees none.';

create function private.find_channels(p_name text) returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select array_agg(channel.id)
        from public.channels as channel
        where channel.id::text = lower(p_name)
            or private.fold_text(channel.name) = private.fold_text(ltrim(p_name, '#'))
    );
end
$$;
comment on function private.find_channels(text) is
'The channels of the caller that in: names, by id or name; null if there are none.';

create function private.find_mentions(p_name text) returns uuid[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := private.find_authors(p_name);
begin
    if v_ids is null and lower(p_name) <> 'channel' then
        return null;
    end if;
    -- Postgres searches an array of 20,000 ids quickly (262_search_query).
    return array(
        select mention.message_id
        from public.message_mentions as mention
        where mention.user_id = any(v_ids)
            or mention.ai_twin_id = any(v_ids)
            or (lower(p_name) = 'channel' and mention.user_id is null and mention.ai_twin_id is null)
        limit 20000
    );
end
$$;
comment on function private.find_mentions(text) is
'The messages of the caller''s channels that mention me, a name, an id or channel; null if the caller sees no such
user.';

create function private.parse_search_time(p_value text) returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A date means its first moment, so each message matches either before: or after: of a date.
    return private.parse_timestamp(
        case when p_value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' then p_value || 'T00:00Z' else p_value end
    );
end
$$;
comment on function private.parse_search_time(text) is
'The time that before: or after: gives, as a date or a timestamp; null for anything else.';

create function private.parse_search_operator(
    p_search private.message_search, p_operator text, p_value text, p_is_wanted boolean
) returns private.message_search
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := case p_operator
        when 'from' then private.find_authors(p_value)
        when 'in' then private.find_channels(p_value)
    end;
    v_at timestamptz := case when p_operator in ('before', 'after') then private.parse_search_time(p_value) end;
    v_kind text := case when p_operator = 'has' then replace(rtrim(lower(p_value), 's'), 'attachment', 'file') end;
    v_name tsquery := case
        when p_operator = 'file' then private.parse_search_phrase(p_value, p_labels => 'B', p_is_beginning => true)
    end;
    v_hits uuid[] := case
        when v_kind = 'pin' then array(select pin.message_id from public.message_pins as pin)
        when p_operator = 'mentions' then private.find_mentions(p_value)
    end;
    v_tags tsquery;
begin
    if p_operator = 'from' and p_is_wanted then
        p_search.author_ids := p_search.author_ids || v_ids;
    elsif p_operator = 'from' then
        p_search.other_author_ids := p_search.other_author_ids || v_ids;
    elsif p_operator = 'in' and p_is_wanted then
        p_search.channel_ids := p_search.channel_ids || v_ids;
    elsif p_operator = 'in' then
        p_search.other_channel_ids := p_search.other_channel_ids || v_ids;
    elsif (p_operator = 'before') = p_is_wanted and v_at is not null then
        p_search.until := least(p_search.until, v_at);
    elsif v_at is not null then
        p_search.since := greatest(p_search.since, v_at);
    elsif v_kind in ('link', 'file') or v_name is not null then
        v_tags := coalesce(v_name, (''':' || v_kind || '''')::tsquery);
        v_tags := case when p_is_wanted then v_tags else !!v_tags end;
        p_search.tags := coalesce(p_search.tags && v_tags, v_tags);
    elsif v_kind = 'reaction' then
        p_search.has_reaction := p_is_wanted;
    elsif v_hits is not null and p_is_wanted then
        -- Several operators must all fit.
        p_search.message_ids := case
            when p_search.message_ids is null then v_hits
            else array(select unnest(p_search.message_ids) intersect select unnest(v_hits))
        end;
    elsif v_hits is not null then
        p_search.other_message_ids := coalesce(p_search.other_message_ids, '{}') || v_hits;
    elsif v_kind = 'thread' then
        p_search.has_thread := p_is_wanted;
    else
        return null;
    end if;
    return case when num_nulls(v_ids, v_at, v_kind, v_hits, v_name) < 5 then p_search end;
end
$$;
comment on function private.parse_search_operator(private.message_search, text, text, boolean) is
'Adds an operator to a search, as wanted or excluded. Null if the value names nothing that the caller can see.';

create function private.list_search_terms(p_query text, p_is_typing boolean)
returns table (is_wanted boolean, operator text, value text, is_quoted boolean, is_or boolean, is_beginning boolean)
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        part[1] is null,
        lower(part[2]),
        coalesce(part[3], part[4]),
        part[3] is not null,
        part[1] is null and part[2] is null and lower(part[4]) = 'or',
        -- stag*; with p_is_typing also the last word, unless a space follows it.
        coalesce(
            part[4] ~ '[^\s*][*]+$' or p_is_typing and p_query !~ '\s$' and part.place = count(*) over (), false
        )
    from regexp_matches(
        p_query,
        -- A dash excludes a word only after white space: --flag and wi-fi are words.
        '((?:^|\s)-(?=[^\s-]))?(?:(from|in|before|after|has|mentions|file):)?(?:"([^"]*)"?|([^\s"]+))', 'gi'
    ) with ordinality as part (part, place)
    order by part.place
    limit 64;
end
$$;
comment on function private.list_search_terms(text, boolean) is
'The terms of a query, at most 64: words, "phrases" and operators, which a dash excludes.';

create function private.parse_search(
    p_query text, p_stemmers regdictionary[] default '{pg_catalog.english_stem}', p_is_typing boolean default false
) returns private.message_search
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- Accepts the quotation marks of phones and input methods. Cut, because NFKC can turn one character into many.
    v_query text := left(translate(
        normalize(p_query, nfkc), e'\u201c\u201d\u201e\u201f\u00ab\u00bb\u301d\u301e\u301f', '"""""""""'
    ), 1000);
    v_search private.message_search;
    v_next private.message_search;
    v_term record;
    v_words tsquery;
    v_group tsquery;
    v_is_or boolean := false;
    v_lookups integer := 0;
    v_prefixes integer := 0;
begin
    -- Ignores names after the tenth and prefixes after the eighth, to limit the cost of a search.
    for v_term in
        select * from private.list_search_terms(v_query, p_is_typing)
    loop
        v_next := null;
        if v_term.operator is not null then
            v_lookups := v_lookups + 1;
            continue when v_lookups > 10;
            v_next := private.parse_search_operator(v_search, v_term.operator, v_term.value, v_term.is_wanted);
        end if;
        if not (v_next is null) then
            v_search := v_next;
            continue;
        elsif v_term.is_or and v_group is not null and not v_is_or then
            v_is_or := true;
            continue;
        end if;
        v_words := private.parse_search_phrase(
            concat_ws(':', v_term.operator, v_term.value),
            case when not v_term.is_quoted then p_stemmers end,
            case when v_term.is_quoted then 'AB' else '' end,
            v_term.is_beginning
        );
        if strpos(v_words::text, ':*') > 0 then
            v_prefixes := v_prefixes + 1;
            continue when v_prefixes > 8;
        end if;
        if not v_term.is_wanted then
            v_words := !!v_words;
        end if;
        if v_is_or and v_words is not null then
            v_search.words := coalesce(v_search.words || v_group, v_group);
            v_group := v_words;
            v_is_or := false;
        else
            v_group := coalesce(v_group && v_words, v_words, v_group);
        end if;
    end loop;
    if v_is_or then
        v_group := v_group && private.parse_search_phrase('or');
    end if;
    v_search.words := coalesce(v_search.words || v_group, v_group, v_search.words);
    return v_search;
end
$$;
comment on function private.parse_search(text, regdictionary[], boolean) is
'Parses a query: words, beginnings*, "phrases", -exclusions, OR, and the operators from:, in:, before:, after:, has:,
file: and mentions:.
Never fails: text that is not an operator is words.';

-- GET /api/v2/messages/search: finds the newest 1,000 messages that fit and answers the best of them.
-- A caller finds only messages of their own channels. A search reads from the newest message back and stops early, so
-- its time grows less than the table: a thousand times the messages make a common word 25 to 40 times as slow.

create function private.ranking_steps(p_words tsvector, p_query tsquery, p_lexemes text[]) returns double precision
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_others tsvector := coalesce(ts_delete(p_words, p_lexemes), '');
begin
    -- The places of the words of the query are what is missing without them: two bytes each, beside four for a word.
    -- Measures a copy of p_words, because the stored words can be compressed.
    return numnode(p_query) * power(
        (pg_column_size(ts_delete(p_words, '{}'::text[])) - pg_column_size(v_others)) / 2.0
        - 4 * (length(p_words) - length(v_others)),
        2
    );
end
$$;
comment on function private.ranking_steps(tsvector, tsquery, text[]) is
'The steps that ts_rank_cd may take for a message: for each term, each place of the words of the query, which are
p_lexemes, against each other place. A query with a beginning has no p_lexemes: then all words count. Null without a
query.';

create function private.few_channels() returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 100;
end
$$;
comment on function private.few_channels() is
'Up to so many channels, a search looks up each of them in the index of words.';

create function private.search_span(
    p_search private.message_search, p_from bigint, p_to bigint, p_max integer, p_by_words boolean,
    out ids uuid[], out ranks real[]
)
language plpgsql
stable
-- A custom plan removes the conditions that are null, and a rare word needs another plan than a common one.
set plan_cache_mode = 'force_custom_plan'
-- Off, because Postgres overestimates how many messages a tsquery matches and would scan the table instead of an index.
-- JIT takes longer than the search.
-- For each channel, Postgres would scan the index of words once, which takes a millisecond. IS TRUE makes many channels
-- a filter behind one scan.
set enable_seqscan = 'off'
set jit = 'off'
set search_path = pg_catalog, pg_temp
as $$
declare
    v_words tsquery := coalesce(p_search.words && p_search.tags, p_search.words, p_search.tags);
    v_lexemes text[] := (
        select array_agg(part[1]) from regexp_matches(p_search.words::text, '''([^'']+)''(:[*])?', 'g') as part
        having count(part[2]) = 0
    );
    v_is_wide boolean := coalesce(cardinality(p_search.channel_ids) > private.few_channels(), false);
begin
    select
        array_agg(matched.message_id),
        array_agg(case
            when matched.steps <= 5000000 then coalesce(ts_rank_cd(matched.words, p_search.words), 0) else 0
        end)
    into ids, ranks
    from (
        select
            hit.message_id,
            hit.words,
            -- The newest messages get ranks until the steps are used up, at most half a second.
            sum(private.ranking_steps(hit.words, p_search.words, v_lexemes)) over (order by hit.number desc) as steps
        from (
            select entry.message_id, entry.number, entry.words
            from private.message_words as entry
            left join public.messages as message on entry.message_id = message.id
            -- Exactly one of the next two lines remains in the plan. `+ 0` keeps the planner from walking the index
            -- on number, newest first, for a rare word: that would read the whole table.
            where (p_by_words or (entry.number > p_from and entry.number <= p_to))
                and (not p_by_words or (entry.number + 0 > p_from and entry.number + 0 <= p_to))
                and (v_words is null or entry.words @@ v_words)
                and (p_search.channel_ids is null or v_is_wide or entry.channel_id = any(p_search.channel_ids))
                and (not v_is_wide or (entry.channel_id = any(p_search.channel_ids)) is true)
                and (p_search.other_channel_ids is null or entry.channel_id <> all(p_search.other_channel_ids))
                and (
                    p_search.author_ids is null
                    or message.user_id = any(p_search.author_ids) or message.ai_twin_id = any(p_search.author_ids)
                )
                and (
                    p_search.other_author_ids is null
                    or coalesce(message.user_id, message.ai_twin_id, message.id) <> all(p_search.other_author_ids)
                )
                and (p_search.since is null or entry.created_at >= p_search.since)
                and (p_search.until is null or entry.created_at < p_search.until)
                and (p_search.message_ids is null or entry.message_id = any(p_search.message_ids))
                and (p_search.other_message_ids is null or entry.message_id <> all(p_search.other_message_ids))
                and (p_search.has_reaction is null or p_search.has_reaction = exists (
                    select from public.message_reactions as reaction where reaction.message_id = entry.message_id
                ))
                and (
                    p_search.has_thread is null
                    or p_search.has_thread = exists (
                        select from public.messages as reply
                        where reply.parent_message_id = entry.message_id and reply.deleted_at is null
                    )
                )
            order by case when p_by_words then entry.number + 0 else entry.number end desc
            limit p_max
        ) as hit
    ) as matched;
end
$$;
comment on function private.search_span(private.message_search, bigint, bigint, integer, boolean) is
'The newest messages between two numbers that fit a search, with their ranks. p_by_words forces the index of words, for
words that few messages have.';

create function private.resolve_search_filters(p_search private.message_search) returns private.message_search
language plpgsql
stable
set plan_cache_mode = 'force_custom_plan'
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Reading 100,000 rows takes about as long as the first steps of a search. Postgres still searches an array of
    -- 20,000 ids quickly. With more matches, the first steps find enough anyway.
    if p_search.has_reaction and p_search.message_ids is null then
        select case when count(*) <= 100000 and count(distinct candidate.id) <= 20000 then
            coalesce(array_agg(distinct candidate.id), '{}')
        end into p_search.message_ids
        from (
            select reaction.message_id as id
            from public.message_reactions as reaction
            where p_search.channel_ids is null or reaction.channel_id = any(p_search.channel_ids)
            limit 100001
        ) as candidate;
    end if;
    if p_search.has_thread and p_search.message_ids is null then
        select case when count(*) <= 100000 and count(distinct candidate.id) <= 20000 then
            coalesce(array_agg(distinct candidate.id), '{}')
        end into p_search.message_ids
        from (
            select reply.parent_message_id as id
            from public.messages as reply
            where reply.parent_message_id is not null
                and (p_search.channel_ids is null or reply.channel_id = any(p_search.channel_ids))
            limit 100001
        ) as candidate;
    end if;
    return p_search;
end
$$;
comment on function private.resolve_search_filters(private.message_search) is
'Replaces has:reaction or has:thread by the ids of the messages that have one, if they are at most 20,000.';

create function private.search_index(p_search private.message_search, out ids uuid[], out ranks real[])
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_newest bigint := (select max(entry.number) from private.message_words as entry);
    v_to bigint := v_newest;
    -- Small enough to answer a common word at once, large enough to estimate how rare a word is.
    v_step bigint := 5000;
    -- querytree is empty or T if no word is required: then the index of words cannot narrow the search.
    v_has_words boolean := coalesce(
        nullif(querytree(coalesce(p_search.words && p_search.tags, p_search.words, p_search.tags)), 'T') <> '', false
    );
    v_by_words boolean := false;
    -- With many channels the index of words reads the matches of all channels, and a page of the table for each. So
    -- only a word that is rarer, and in a larger sample, goes through it.
    v_is_wide boolean := coalesce(cardinality(p_search.channel_ids) > private.few_channels(), false);
    -- What an entry of the index of words costs, in reads by number.
    v_rarity integer := case when v_is_wide then 80 else 3 end;
    v_sample bigint := case when v_is_wide then 90000 else 1 end;
    v_span record;
begin
    ids := '{}';
    ranks := '{}';
    -- Reads from the newest message back, in steps that grow eightfold. A common word fills the page in the first
    -- step. The planner cannot know that a word is rare, but the hits so far show it: with h hits in r read
    -- messages, the page of 1,000 needs 1000 * r / h reads, and the index of words has h * newest / r entries. Such
    -- an entry costs as much as v_rarity reads. If the reads cost more, the rest goes through that index. A search
    -- by message ids reads everything in one step.
    while v_to > 0 and cardinality(ids) < 1000 loop
        v_by_words := v_has_words and v_newest - v_to >= v_sample
            and v_rarity * power(cardinality(ids), 2) * v_newest < 1000 * power(v_newest - v_to, 2);
        v_step := case when v_by_words or p_search.message_ids is not null then v_newest else v_step end;
        select * into v_span
        from private.search_span(p_search, v_to - v_step, v_to, 1000 - cardinality(ids), v_by_words);
        ids := ids || v_span.ids;
        ranks := ranks || v_span.ranks;
        v_to := v_to - v_step;
        v_step := v_step * 8;
    end loop;
end
$$;
comment on function private.search_index(private.message_search) is
'The newest 1,000 entries of the index that fit a search, with their ranks. The caller limits it to channels.';

-- Definer, because no client reads the index. It restricts the search to the caller's channels and returns ids only;
-- the caller reads the messages under row-level security.
create function private.search_messages(p_search private.message_search, out ids uuid[], out ranks real[])
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_search private.message_search := p_search;
    v_found record;
begin
    if not private.is_service() then
        v_search.channel_ids := array(
            select mine.id from private.my_channels as mine
            where p_search.channel_ids is null or mine.id = any(p_search.channel_ids)
        );
    elsif p_search.channel_ids is null then
        -- All channels, and no conversations, which stand in the same index under the ids of workspaces.
        v_search.channel_ids := array(select channel.id from public.channels as channel);
    end if;
    if v_search.has_reaction or v_search.has_thread then
        v_search := private.resolve_search_filters(v_search);
    end if;
    select * into v_found from private.search_index(v_search);
    ids := v_found.ids;
    ranks := v_found.ranks;
end
$$;
comment on function private.search_messages(private.message_search) is
'The newest 1,000 messages of the caller''s channels that fit a search, with their ranks.';

create function public.search_messages(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_query text := private.parse_text(case when $1 -> 'query' = '""' then $1 - 'query' else $1 end, 'query', 1000);
    v_channel_id uuid := private.parse_uuid($1, 'channel_id', false);
    v_limit integer := private.parse_integer($1, 'limit', 1, 100, 20);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
    v_stemmers regdictionary[] := private.list_stemmers(v_channel_id);
    v_search private.message_search := private.parse_search(v_query, v_stemmers, private.parse_boolean($1, 'prefix'));
    v_is_empty boolean := v_search is null;
    v_found record;
begin
    if v_channel_id is not null then
        perform private.require_channel(v_channel_id);
        v_search.channel_ids := case
            when v_search.channel_ids is null or v_channel_id = any(v_search.channel_ids) then array[v_channel_id]
            else '{}'
        end;
    end if;
    if v_is_empty then
        return private.succeed('[]', '{"total": 0}');
    end if;
    with found as (
        select
            message.*,
            row_number() over (order by hit.rank desc, message.created_at desc, message.id) as place
        from private.search_messages(v_search) as matched
        cross join lateral unnest(matched.ids, matched.ranks) as hit (id, rank)
        inner join public.messages as message on hit.id = message.id
        where message.deleted_at is null
    )

    select
        count(*) as total,
        jsonb_agg(
            jsonb_build_object(
                'id', found.id,
                'channel_id', found.channel_id,
                'content', found.content,
                'attachments', found.attachments,
                'user_id', found.user_id,
                'ai_twin_id', found.ai_twin_id,
                'created_at', private.format_time(found.created_at)
            )
            order by found.place
        ) filter (where found.place > v_offset and found.place <= v_offset + v_limit) as hits
    into v_found
    from found;
    return private.succeed(
        case
            when v_found.hits is null then '[]'
            else private.render_hits(v_found.hits, v_search.words, v_stemmers)
        end,
        jsonb_build_object('total', v_found.total)
    );
end
$$;
comment on function public.search_messages(jsonb) is
'GET /api/v2/messages/search: query, and optionally channel_id, limit (1 to 100), offset, prefix (true leaves the last
word open). Best rank first, then newest. Considers and counts the newest 1,000 messages that fit.';

-- Search in conversations: their messages are entries of the same index as those of channels.
-- Promise: search stops finding a message at the moment of its deletion, and finds a new text some seconds later.
-- Ingest only notes which messages are new, because indexing costs more than storing. The service indexes them
-- within seconds, or pg_cron every minute (420_clean_up).

create table private.word_backlog (
    change_id bigint primary key references private.inbox_changes (id) on delete cascade,
    created_at timestamptz not null default clock_timestamp()
);
comment on table private.word_backlog is
'Changes of messages that are not indexed yet.';
alter table private.word_backlog enable row level security;

-- Without a foreign key, which would cost one query for each deleted message (decision 0006).
create table private.conversation_words (
    conversation_id uuid not null,
    external_id text collate "C" not null,
    sender text collate "C" not null,
    word_id uuid not null default private.generate_id(),
    primary key (conversation_id, external_id, sender),
    constraint conversation_words_word_id_unique unique (word_id)
);
comment on table private.conversation_words is
'Maps a message of a conversation to its entry in message_words, where channel_id is the id of the workspace.';
alter table private.conversation_words enable row level security;

-- Definer, because no role writes the log.
create function private.note_ingested_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    with noted as (
        insert into private.inbox_changes (workspace_id, conversation_ids, external_ids, senders, versions)
        select
            changed.workspace_id, array_agg(changed.conversation_id), array_agg(changed.external_id),
            array_agg(changed.sender), private.list_versions(array_agg(changed.conversation_id))
        from changed
        group by changed.workspace_id
        returning id
    )

    insert into private.word_backlog (change_id) select noted.id from noted;
    return null;
end
$$;
comment on function private.note_ingested_trigger() is
'Trigger: writes new messages into the log and the backlog of the search index.';

-- Definer, because no client and no backend writes the index.
create function private.delete_conversation_words_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.message_words as entry
    where entry.message_id = any(array(select removed.word_id from removed));
    return null;
end
$$;
comment on function private.delete_conversation_words_trigger() is
'Trigger: removes messages of conversations from the search index.';

-- Definer, because every role that deletes a message must remove its words too.
create function private.forget_ingested_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.conversation_words as known
    using gone
    where (known.conversation_id, known.external_id, known.sender)
        = (gone.conversation_id, gone.external_id, gone.sender);
    -- Edits hold texts. Deletions stay, so that a message that comes again stays deleted.
    delete from public.conversation_updates as known
    using gone
    where (known.conversation_id, known.external_id) = (gone.conversation_id, gone.external_id)
        and private.is_same_sender(known.sender, gone.sender) and known.type <> 'deleted'
        and not exists (
            select from public.conversation_messages as stored
            where (stored.conversation_id, stored.external_id) = (known.conversation_id, known.external_id)
                and private.is_same_sender(stored.sender, known.sender)
        );
    insert into private.inbox_changes (workspace_id, conversation_ids, external_ids, senders)
    select
        gone.workspace_id, array_agg(gone.conversation_id), array_agg(gone.external_id), array_agg(gone.sender)
    from gone
    inner join public.workspaces as workspace on gone.workspace_id = workspace.id
    group by gone.workspace_id;
    return null;
end
$$;
comment on function private.forget_ingested_trigger() is
'Trigger: writes deleted rows of messages into the log, and removes their updates and their entries of the search index.
A deletion is kept.';

-- Definer, as the one above.
create function private.change_ingested_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.conversation_words as known
    using changed
    where changed.deleted_at is not null
        and (known.conversation_id, known.external_id, known.sender)
        = (changed.conversation_id, changed.external_id, changed.sender);
    with noted as (
        insert into private.inbox_changes (workspace_id, conversation_ids, external_ids, senders, versions)
        select
            changed.workspace_id, array_agg(changed.conversation_id), array_agg(changed.external_id),
            array_agg(changed.sender), private.list_versions(array_agg(changed.conversation_id))
        from changed
        group by changed.workspace_id
        returning id
    )

    insert into private.word_backlog (change_id)
    select noted.id from noted
    where exists (
        select from changed inner join gone using (conversation_id, external_id, sender)
        where changed.deleted_at is null and changed.message ->> 'content' is distinct from gone.message ->> 'content'
    );
    return null;
end
$$;
comment on function private.change_ingested_trigger() is
'Trigger: writes changed messages into the log and new texts into the backlog, and removes deleted messages from the
search index at once.';

-- Definer, because no client and no backend writes the index.
create function private.index_conversations(p_limit integer) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
-- lock_timeout, so that this gives up before a deletion fails with a deadlock; the next round continues.
set lock_timeout = '100ms'
as $$
declare
    v_ids bigint[];
begin
    -- One process at a time, because the slower of two could write an older text last.
    if not pg_try_advisory_xact_lock(hashtextextended('threadline.words', 0)) then
        return 0;
    end if;
    v_ids := array(
        select noted.change_id from private.word_backlog as noted order by noted.change_id limit p_limit
    );
    with wanted as (
        select distinct message.conversation_id, message.external_id collate "C" as external_id, message.sender
        from private.inbox_changes as log
        cross join lateral unnest(log.conversation_ids, log.external_ids, log.senders)
            as message (conversation_id, external_id, sender)
        where log.id = any(v_ids)
    ), present as (
        select stored.conversation_id, stored.external_id, stored.sender
        from wanted
        -- Each LIMIT 1 makes one look-up by the key, however many rows the planner expects.
        cross join lateral (
            select message.* from public.conversation_messages as message
            where message.conversation_id = wanted.conversation_id
                and message.external_id = wanted.external_id
                and message.sender = wanted.sender collate "C"
                and message.deleted_at is null
            limit 1
            for key share
        ) as stored
    ), named as (
        insert into private.conversation_words (conversation_id, external_id, sender)
        select present.conversation_id, present.external_id, present.sender from present
        -- An update, because only that returns the rows that were there.
        on conflict (conversation_id, external_id, sender) do update set sender = excluded.sender
        returning conversation_id, external_id, sender, word_id
    )

    insert into private.message_words as entry (message_id, channel_id, created_at, words)
    select
        named.word_id, stored.workspace_id, stored.sent_at, private.index_words(
            stored.message ->> 'content',
            case when stored.message ->> 'type' in ('image', 'audio', 'video', 'file') then '[{}]'::jsonb end
        )
    from named
    cross join lateral (
        select message.* from public.conversation_messages as message
        where message.conversation_id = named.conversation_id
            and message.external_id = named.external_id
            and message.sender = named.sender
        limit 1
    ) as stored
    on conflict (message_id) do update set words = excluded.words, created_at = excluded.created_at;
    delete from private.word_backlog as noted where noted.change_id = any(v_ids);
    return cardinality(v_ids);
end
$$;
comment on function private.index_conversations(integer) is
'Puts the messages of the oldest p_limit rows of the backlog into the search index. Returns the number of rows, and 0
while another process indexes.';

create function public.index_conversations(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
begin
    return private.succeed(jsonb_build_object(
        'indexed', private.index_conversations(v_limit),
        'reindexed', private.index_languages(5 * v_limit)
    ));
end
$$;
comment on function public.index_conversations(jsonb) is
'For the service: indexes messages of conversations for search. Takes limit (rows of the backlog, one for each ingest
request). Returns how many it took (indexed), and how many messages of a channel it indexed again because the language
of the channel changed (reindexed, at most five times limit).';

-- Definer, because no client reads the index. It returns messages of the caller's workspaces only.
create function private.search_conversations(
    p_search private.message_search, p_conversation_id uuid,
    out keys private.conversation_words[], out ranks real[]
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_search private.message_search := p_search;
    v_found record;
begin
    v_search.channel_ids := array(
        select workspace.id from public.workspaces as workspace where private.is_service()
        union
        select mine.id from private.my_workspaces as mine
    );
    if p_conversation_id is not null then
        -- A conversation beyond this size is searched with its workspace.
        v_search.message_ids := (
            select case when count(*) <= 20000 then array_agg(known.word_id) end
            from (
                select entry.word_id from private.conversation_words as entry
                where entry.conversation_id = p_conversation_id
                limit 20001
            ) as known
        );
    end if;
    select * into v_found from private.search_index(v_search);
    select array_agg(known order by hit.place), array_agg(hit.rank order by hit.place) into keys, ranks
    from unnest(v_found.ids, v_found.ranks) with ordinality as hit (id, rank, place)
    inner join private.conversation_words as known on hit.id = known.word_id
    where p_conversation_id is null or known.conversation_id = p_conversation_id;
end
$$;
comment on function private.search_conversations(private.message_search, uuid) is
'The newest 1,000 messages of the caller''s conversations that fit a search, with their ranks.';

create function public.search_conversations(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_query text := private.parse_text(case when $1 -> 'query' = '""' then $1 - 'query' else $1 end, 'query', 1000);
    v_conversation_id uuid := private.parse_uuid($1, 'conversation_id', false);
    v_limit integer := private.parse_integer($1, 'limit', 1, 100, 20);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
    v_search private.message_search := private.parse_search(v_query);
    v_answer record;
begin
    if v_conversation_id is not null
        and not exists (select from public.conversations as conversation where conversation.id = v_conversation_id)
    then
        perform private.fail(
            404, 'conversation_not_found',
            'This conversation does not exist or is not yours. Check conversation_id.', 'conversation_id'
        );
    elsif v_search is null then
        return private.succeed('[]', '{"total": 0}');
    end if;
    with found as (
        select
            stored.conversation_id, stored.message, conversation.platform, conversation.participant_name,
            conversation.person_id,
            row_number() over (
                order by hit.rank desc, stored.sent_at desc, stored.conversation_id, stored.external_id
            ) as place
        from private.search_conversations(v_search, v_conversation_id) as matched
        cross join lateral unnest(matched.keys, matched.ranks) as hit (
            conversation_id, external_id, sender, word_id, rank
        )
        inner join public.conversation_messages as stored
            on hit.conversation_id = stored.conversation_id
            and hit.external_id = stored.external_id
            and hit.sender = stored.sender
        inner join public.conversations as conversation on stored.conversation_id = conversation.id
        where stored.deleted_at is null
    )

    select
        count(*) as total,
        coalesce(jsonb_agg(
            jsonb_build_object(
                'conversation_id', found.conversation_id, 'platform', found.platform,
                'participant_name', found.participant_name, 'person_id', found.person_id, 'message', found.message
            )
            order by found.place
        ) filter (where found.place > v_offset and found.place <= v_offset + v_limit), '[]') as data
    into v_answer
    from found;
    return private.succeed(v_answer.data, jsonb_build_object('total', v_answer.total));
end
$$;
comment on function public.search_conversations(jsonb) is
'GET /api/v2/conversations/search: query, and optionally conversation_id, limit (1 to 100), offset. The query is written
as that of search_messages; from:, in: and mentions: find nothing, because they name users and channels. Best rank
first, then newest. Considers and counts the newest 1,000 messages that fit.';

-- How a new message gets its number, its time and its event. After 260_search_index, which prepares its search entry.

create function private.refuse_message(p_message public.messages) returns public.messages
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.is_non_member(p_message.channel_id) then
        raise insufficient_privilege using
            message = 'Only members can write to this channel.',
            hint = 'Ask a member who manages it to add you, or call the function accept_invitation.';
    end if;
    -- Raises an error for a channel without a counter. The foreign key raises one for a channel that does not exist.
    perform private.record_event(p_message.channel_id, 'message.created', p_message.id, p_message.user_id, null, 1);
    return p_message;
end
$$;
comment on function private.refuse_message(public.messages) is
'Raises the error for a message that got no number, because its author is not a member or its channel has no counter.';

-- Definer, because it must find the parent and the id even if the caller may not see them.
create function private.admit_message_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_language text;
    v_present_language text;
begin
    -- Before the lock, because the other writers of the channel wait for what follows.
    select private.prepare_words(new, counter.language) into v_language
    from private.channel_counters as counter
    where counter.channel_id = new.channel_id;
    -- One statement takes the number, locks the channel and checks the membership, because each message pays for it.
    update private.channel_counters as counter
    set
        last_seq = counter.last_seq + 1,
        last_at = greatest(private.event_clock(), counter.last_at + interval '1 microsecond'),
        message_count = counter.message_count + 1
    where counter.channel_id = new.channel_id
        and (
            exists (
                select from public.channel_members as member
                where member.channel_id = counter.channel_id and member.user_id = auth.uid()
            )
            or not private.is_non_member(counter.channel_id)
        )
    returning counter.last_seq, counter.last_at, counter.last_at, counter.workspace_id, counter.language
    into new.seq, new.created_at, new.updated_at, new.workspace_id, v_present_language;
    if not found then
        return private.refuse_message(new);
    elsif v_present_language is distinct from v_language then
        perform private.prepare_words(new, v_present_language);
    end if;
    -- A client may send a message twice with the same id. The primary key rejects or skips the second one, so it gives
    -- its number back and gets no event. KEY SHARE waits for a transaction that deletes the first one.
    perform from public.messages as message where message.id = new.id for key share;
    if found then
        update private.channel_counters as counter
        set last_seq = counter.last_seq - 1, message_count = counter.message_count - 1
        where counter.channel_id = new.channel_id;
        return new;
    end if;
    if new.parent_message_id is not null then
        select coalesce(parent.thread_id, parent.id) into new.thread_id
        from public.messages as parent
        where parent.id = new.parent_message_id
            and parent.channel_id = new.channel_id and parent.deleted_at is null;
        if not found then
            perform private.fail(
                404, 'parent_not_found', 'The message to reply to is not in this channel, or was deleted.',
                'parent_message_id'
            );
        end if;
    end if;
    insert into public.message_events (channel_id, workspace_id, seq, kind, message_id, actor_id, created_at)
    values (new.channel_id, new.workspace_id, new.seq, 'message.created', new.id, new.user_id, new.created_at);
    if new.user_id is not null then
        -- Authors have read what they answer.
        update public.member_states as mine set read_seq = new.seq
        where mine.channel_id = new.channel_id and mine.user_id = new.user_id;
    end if;
    return new;
end
$$;
comment on function private.admit_message_trigger() is
'Gives a new message its number, time, thread and event, moves the read marker of its author, and requires a parent of
the same channel. A repeated id gets no number.';

-- The table of summaries, and how many new ones a user and the project may start in a UTC day.
-- Promise: a summary counts once Claude has returned anything, also if it failed.

create table private.summaries (
    id uuid primary key default gen_random_uuid(),
    channel_id uuid references public.channels (id) on delete cascade,
    conversation_id uuid references public.conversations (id) on delete cascade,
    last_seq bigint not null,
    requested_count integer not null,
    model text not null,
    prompt_version integer not null,
    lease uuid not null default gen_random_uuid(),
    lease_expires_at timestamptz not null,
    is_counted boolean not null default false,
    answer jsonb,
    failure jsonb,
    finished_at timestamptz,
    leased_at timestamptz not null default now(),
    constraint summaries_request_unique
    unique nulls not distinct (channel_id, conversation_id, last_seq, requested_count, model, prompt_version),
    constraint summaries_have_one_subject check (num_nonnulls(channel_id, conversation_id) = 1),
    constraint summaries_is_answer_or_failure check (answer is null or failure is null),
    constraint summaries_finished_with_something check ((finished_at is null) = (coalesce(answer, failure) is null))
);
comment on table private.summaries is
'The answer of the model for one state of a channel and one set of parameters, or the lease of the caller that asks the
model now.';
comment on column private.summaries.requested_count is 'The messageCount of the request; 0 for all recent messages.';
comment on column private.summaries.last_seq is
'Channel: the last event that changed its text. Conversation: its version.';
comment on column private.summaries.lease is
'The token with which its caller stores the answer. Each new lease has a new token.';
comment on column private.summaries.lease_expires_at is 'From this time on, another caller may take the lease.';
comment on column private.summaries.is_counted is 'Whether its lease counts against the limit of the project.';
comment on column private.summaries.failure is
'Status, code and message of the error, for the callers that poll. The next caller asks the model again.';
create index summaries_conversation_id_idx on private.summaries (conversation_id) where conversation_id is not null;
create index summaries_settled_at_idx on private.summaries (coalesce(finished_at, lease_expires_at));
alter table private.summaries enable row level security;

create table private.summary_counts (
    user_id uuid primary key references auth.users (id) on delete cascade,
    day date not null,
    used integer not null,
    constraint summary_counts_used_not_negative check (used >= 0)
);
comment on table private.summary_counts is
'The number of new summaries that each user started on the last day (UTC) on which they started one.';
alter table private.summary_counts enable row level security;

create table private.summary_totals (
    day date primary key,
    used integer not null,
    constraint summary_totals_used_not_negative check (used >= 0)
);
comment on table private.summary_totals is
'The number of new summaries that all users, and service_role, started today (UTC). It is apart from summary_counts,
because users who are erased and come again must not get more.';
alter table private.summary_totals enable row level security;

-- Definer, because clients may not write their own count. It counts for the caller only.
create function private.spend_summary() returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_used integer;
begin
    insert into private.summary_counts as counted (user_id, day, used)
    values ((select auth.uid()), (now() at time zone 'UTC')::date, 1)
    on conflict on constraint summary_counts_pkey do update
    set
        used = case when counted.day = excluded.day then counted.used + 1 else 1 end,
        day = excluded.day
    returning counted.used into v_used;
    if v_used > (select settings.summaries_per_user_per_day from private.settings) then
        perform private.fail(
            429, 'summary_budget_exhausted', 'You have reached the daily limit of summaries. Try again after 00:00 UTC.'
        );
    end if;
end
$$;
comment on function private.spend_summary() is
'Counts one summary for the caller. PT429 above the daily limit; the error also rolls back the count.';

-- Definer, because clients may not write the count. A lease counts once, so a client that calls this itself cannot use
-- up the limit of the others.
create function private.spend_project_summary(p_id uuid, p_lease uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_today date := (now() at time zone 'UTC')::date;
    v_used integer;
begin
    update private.summaries as known set is_counted = true
    where known.id = p_id and known.lease = p_lease and not known.is_counted;
    if not found then
        return;
    end if;
    delete from private.summary_totals as old where old.day < v_today;
    insert into private.summary_totals as counted (day, used)
    values (v_today, 1)
    on conflict on constraint summary_totals_pkey do update set used = counted.used + 1
    returning counted.used into v_used;
    if v_used > (select settings.summaries_per_project_per_day from private.settings) then
        perform private.fail(
            429, 'project_summary_budget_exhausted',
            'This project has reached its daily limit of summaries. Try again after 00:00 UTC.'
        );
    end if;
end
$$;
comment on function private.spend_project_summary(uuid, uuid) is
'Counts a lease for the project, once. PT429 above the daily limit; the error also rolls back the count.';

-- What the model reads of a channel or a conversation: the newest messages that fit, and the scope that they cover.

create type private.transcript_line as (id text, parent_id text, author text, at timestamptz, content text);
comment on type private.transcript_line is
'A message as the model reads it.';

create function private.render_transcript(
    p_lines private.transcript_line[], p_count integer, p_max_bytes integer, p_recent_days integer
) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        with newest as (
            select line.*, sum(octet_length(line.content)) over (order by line.age) as bytes_so_far
            from unnest(p_lines) with ordinality as line (id, parent_id, author, at, content, age)
            where p_count > 0 or line.age <= 50 or line.at > now() - make_interval(days => p_recent_days)
        ), sent as (
            select * from newest where newest.bytes_so_far <= p_max_bytes or newest.age = 1
        )

        select jsonb_build_object(
            'messages', coalesce(jsonb_agg(jsonb_build_object(
                'id', sent.id,
                'parent_id', sent.parent_id,
                'author', sent.author,
                'at', private.format_time(sent.at),
                'content', sent.content
            ) order by sent.age desc), '[]'),
            'scope', jsonb_build_object(
                'messageCount', count(*),
                'timeRange', jsonb_build_object(
                    'from', private.format_time(min(sent.at)), 'to', private.format_time(max(sent.at))
                ),
                'truncated', count(*) < (select count(*) from newest),
                'omittedCount', (select count(*) from newest) - count(*)
            )
        )
        from sent
    );
end
$$;
comment on function private.render_transcript(private.transcript_line[], integer, integer, integer) is
'Renders the messages that fit in p_max_bytes, oldest first, and the scope that they cover. p_lines has the newest
p_count messages, newest first. If p_count is 0, those of p_recent_days count, and at least 50. The newest message is
always included.';

create function private.list_channel_lines(p_channel_id uuid, p_last_seq bigint, p_count integer)
returns private.transcript_line[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        with newest as (
            select message.*
            from public.messages as message
            where message.channel_id = p_channel_id and message.deleted_at is null and message.seq <= p_last_seq
            order by message.seq desc
            limit case p_count when 0 then 10000 else p_count end
        )

        select array_agg(
            (
                newest.id, newest.parent_message_id, coalesce(author.display_name, 'former member'), newest.created_at,
                newest.content
            )::private.transcript_line
            order by newest.seq desc
        )
        from newest
        left join private.list_author_names(array(select newest.id from newest)) as author
            on author.author_id = coalesce(newest.user_id, newest.ai_twin_id)
            and author.is_twin = (newest.user_id is null)
    );
end
$$;
comment on function private.list_channel_lines(uuid, bigint, integer) is
'The newest messages of a channel up to a number, newest first: p_count, or 10,000 if that is 0.';

create function private.list_conversation_lines(p_conversation_id uuid, p_count integer)
returns private.transcript_line[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select (
            stored.external_id,
            stored.message ->> 'reply_to',
            case
                when stored.message -> 'direction' = '"outbound"' then 'us'
                else coalesce(
                    nullif(stored.sender, ''), conversation.participant_name, conversation.participant_identifier
                )
            end,
            stored.sent_at,
            coalesce(nullif(stored.message ->> 'content', ''), private.message_preview(stored.message))
        )::private.transcript_line
        from public.conversation_messages as stored
        inner join public.conversations as conversation on stored.conversation_id = conversation.id
        where stored.conversation_id = p_conversation_id and stored.deleted_at is null
        order by stored.sent_at desc, stored.sequence desc, stored.received_at desc, stored.external_id desc
        limit case p_count when 0 then 10000 else p_count end
    );
end
$$;
comment on function private.list_conversation_lines(uuid, integer) is
'The newest messages of a conversation, newest first: p_count, or 10,000 if that is 0.';

-- Summaries: what Claude wrote about the newest messages of a channel, stored for a day.
-- Promise: at most one caller at a time asks the model about one state of a channel. It has the lease; the others poll
-- for its answer. A lease that expires goes to the next caller, so a process that dies blocks no caller.
-- Transcripts are not stored.

create function private.is_my_conversation(p_conversation_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from public.conversations as conversation
        where conversation.id = p_conversation_id
            and (
                (select private.is_service())
                or exists (select from private.my_workspaces as mine where mine.id = conversation.workspace_id)
            )
    );
end
$$;
comment on function private.is_my_conversation(uuid) is 'Whether a conversation is in a workspace of the caller.';

-- Definer, because no client role may write summaries. One of the first two arguments is null.
create function private.lease_summary(
    p_channel_id uuid, p_conversation_id uuid, p_last_seq bigint, p_count integer, p_model text,
    p_prompt_version integer, p_lease_seconds integer,
    out id uuid, out lease uuid, out max_bytes integer, out recent_days integer
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_conversation_id is not null and not private.is_my_conversation(p_conversation_id) then
        perform private.fail(404, 'conversation_not_found', 'There is no such conversation.', 'conversation_id');
    elsif p_conversation_id is null and private.is_non_member(p_channel_id) then
        perform private.fail(404, 'channel_not_found', 'There is no such channel.', 'channel_id');
    end if;
    -- Deletes outdated summaries. Polling callers have five minutes to read a summary after it is finished.
    delete from private.summaries as old
    where old.id in (
        select known.id
        from private.summaries as known
        where coalesce(known.finished_at, known.lease_expires_at)
            < now() - (select make_interval(days => settings.summary_days) from private.settings)
            or (
                (known.channel_id = p_channel_id or known.conversation_id = p_conversation_id)
                and known.last_seq < p_last_seq
                and coalesce(known.finished_at, known.lease_expires_at) < now() - interval '5 minutes'
            )
        limit 100
        for update skip locked
    );
    -- The unique constraint gives the lease to one of several concurrent callers; the others wait for its commit.
    insert into private.summaries as known (
        channel_id, conversation_id, last_seq, requested_count, model, prompt_version, lease_expires_at
    )
    values (
        p_channel_id, p_conversation_id, p_last_seq, p_count, p_model, p_prompt_version,
        now() + make_interval(secs => p_lease_seconds)
    )
    on conflict on constraint summaries_request_unique do update
    set
        lease = excluded.lease, lease_expires_at = excluded.lease_expires_at, leased_at = now(),
        is_counted = false, failure = null, finished_at = null
    where known.answer is null and (known.failure is not null or known.lease_expires_at < now())
    returning known.id, known.lease into lease_summary.id, lease_summary.lease;
    if lease is not null then
        if not private.is_service() then
            perform private.spend_summary();
        end if;
        select settings.summary_max_bytes, settings.summary_recent_days into max_bytes, recent_days
        from private.settings;
    end if;
end
$$;
comment on function private.lease_summary(uuid, uuid, bigint, integer, text, integer, integer) is
'Takes the lease of a summary for p_lease_seconds, unless another caller has it or the summary is finished. Returns the
id, the lease, how many bytes of text may be sent, and how many days are recent; all are null if it took no lease. PT429
above the daily limit.';

-- Definer, because no client role may read summaries. It checks that the caller may see the channel or conversation.
create function private.find_summary(
    p_channel_id uuid, p_conversation_id uuid, p_last_seq bigint, p_count integer, p_model text,
    p_prompt_version integer,
    out id uuid, out answer jsonb
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select known.id, known.answer
    into id, answer
    from private.summaries as known
    where (known.channel_id = p_channel_id or known.conversation_id = p_conversation_id)
        and known.last_seq = p_last_seq
        and known.requested_count = p_count
        and known.model = p_model
        and known.prompt_version = p_prompt_version
        and (
            (select private.is_service())
            or exists (select from private.my_channels as mine where mine.id = known.channel_id offset 0)
            or private.is_my_conversation(known.conversation_id)
        );
end
$$;
comment on function private.find_summary(uuid, uuid, bigint, integer, text, integer) is
'Finds the summary of a state of a channel. answer is null until the model has answered.';

create function private.empty_summary() returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'summary', '', 'messageCount', 0, 'timeRange', jsonb_build_object('from', null, 'to', null),
        'statements', '[]'::jsonb, 'citations', '[]'::jsonb, 'model', null, 'truncated', false, 'omittedCount', 0
    );
end
$$;
comment on function private.empty_summary() is 'The summary of a channel or a conversation without messages.';

-- The caller decides whether the subject is a channel or a conversation: the request may name both.
create function private.answer_summary(
    p_request jsonb, p_channel_id uuid, p_conversation_id uuid, p_last_seq bigint, p_count integer
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_model text := p_request ->> 'model';
    v_prompt_version integer := (p_request ->> 'prompt_version')::integer;
    v_known record;
    v_lease record;
    v_task jsonb;
begin
    select * into v_known
    from private.find_summary(p_channel_id, p_conversation_id, p_last_seq, p_count, v_model, v_prompt_version);
    if v_known.answer is not null then
        return private.succeed(v_known.answer);
    elsif p_request ->> 'is_configured' <> 'true' then
        perform private.fail(
            503, 'summaries_not_configured',
            'This service has no key of the Claude API. Ask its operator to set ANTHROPIC_API_KEY.'
        );
    end if;
    select * into v_lease
    from private.lease_summary(
        p_channel_id, p_conversation_id, p_last_seq, p_count, v_model, v_prompt_version,
        (p_request ->> 'lease_seconds')::integer
    );
    if v_lease.lease is null then
        select * into v_known
        from private.find_summary(p_channel_id, p_conversation_id, p_last_seq, p_count, v_model, v_prompt_version);
        return private.succeed(jsonb_build_object('id', v_known.id), null, 202);
    end if;
    v_task := private.render_transcript(
        case
            when p_conversation_id is null then private.list_channel_lines(p_channel_id, p_last_seq, p_count)
            else private.list_conversation_lines(p_conversation_id, p_count)
        end,
        p_count, v_lease.max_bytes, v_lease.recent_days
    ) || jsonb_build_object('id', v_lease.id, 'lease', v_lease.lease, 'user_id', (select auth.uid()));
    -- Last, because it locks a row that all summaries of the project need.
    perform private.spend_project_summary(v_lease.id, v_lease.lease);
    return private.succeed(v_task, null, 201);
end
$$;
comment on function private.answer_summary(jsonb, uuid, uuid, bigint, integer) is
'Answers for a state of a channel or a conversation one of three things: the stored summary; a lease and a task for the
caller; or the id of the summary that another caller is making.';

-- This function and the next two are private, because a client that could call them could store an invented summary.
create function private.begin_summary(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    -- 0 stands for all recent messages.
    v_count integer := private.parse_integer($1, 'messageCount', 1, 10000, 0);
    v_last_seq bigint;
begin
    if not private.is_service() then
        perform private.require_actor($1);
    end if;
    perform private.require_channel(v_channel_id);
    -- Only events that change the text: after a reaction or a pin, the stored summary is still right.
    v_last_seq := coalesce(
        (
            select max(event.seq)
            from public.message_events as event
            where event.channel_id = v_channel_id
                and event.kind in ('message.created', 'message.updated', 'message.deleted')
        ),
        -- The clean-up may have deleted the events.
        (select max(message.seq) from public.messages as message where message.channel_id = v_channel_id),
        0
    );
    -- ORDER BY makes this one lookup in messages_seq_unique. A bare EXISTS may scan messages of other channels.
    if (
        select message.id
        from public.messages as message
        where message.channel_id = v_channel_id and message.deleted_at is null and message.seq <= v_last_seq
        order by message.seq desc
        limit 1
    ) is null then
        return private.succeed(private.empty_summary());
    end if;
    return private.answer_summary($1, v_channel_id, null, v_last_seq, v_count);
end
$$;
comment on function private.begin_summary(jsonb) is
'First half of POST /api/v2/messages/summarize. Takes channel_id and messageCount, and from the service model,
prompt_version, lease_seconds and is_configured. Returns 200 with the answer, 201 with a transcript and a lease for
finish_summary, or 202 with an id for poll_summary if another caller has the lease.';

create function private.begin_conversation_summary(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'conversation_id');
    v_count integer := private.parse_integer($1, 'messageCount', 1, 10000, 0);
    v_version bigint;
begin
    select conversation.version into v_version from public.conversations as conversation where conversation.id = v_id;
    if not found then
        perform private.fail(
            404, 'conversation_not_found',
            'This conversation does not exist or is not yours. Check conversation_id.', 'conversation_id'
        );
    elsif not exists (
        select from public.conversation_messages as stored
        where stored.conversation_id = v_id and stored.deleted_at is null
    ) then
        return private.succeed(private.empty_summary());
    end if;
    return private.answer_summary($1, null, v_id, v_version, v_count);
end
$$;
comment on function private.begin_conversation_summary(jsonb) is
'As begin_summary, for POST /api/v2/conversations/{conversation_id}/summarize. Citations are the ids of messages on
their platform.';

create function private.finish_summary(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_asked private.summaries := (
        select known from private.summaries as known where known.id = private.parse_uuid($1, 'id')
    );
begin
    -- An answer about text that was edited or deleted meanwhile is not kept. The lock waits for such a change.
    if v_asked.conversation_id is null then
        perform private.lock_my_channel(v_asked.channel_id);
    else
        perform from public.conversations as conversation
        where conversation.id = v_asked.conversation_id for no key update;
    end if;
    update private.summaries as known
    set
        answer = case when outdated.is_outdated then null else $1 -> 'answer' end,
        failure = case
            when outdated.is_outdated and $1 -> 'answer' is not null then jsonb_build_object(
                'status', 409, 'code', 'summary_outdated',
                'message', 'A message was edited or deleted meanwhile. Ask again.'
            )
            else $1 -> 'failure'
        end,
        finished_at = now()
    from (
        select exists (
            select from public.message_events as event
            where event.channel_id = v_asked.channel_id and event.seq > v_asked.last_seq
                and event.kind in ('message.updated', 'message.deleted')
        ) or exists (
            select from public.conversation_updates as given
            where given.conversation_id = v_asked.conversation_id and given.type in ('edited', 'deleted')
                -- The time of a transaction is that of its start.
                and given.received_at > v_asked.leased_at - interval '1 minute'
        ) as is_outdated
    ) as outdated
    where known.id = private.parse_uuid($1, 'id')
        and known.lease = private.parse_uuid($1, 'lease')
        and known.finished_at is null;
    -- An unavailable model costs nothing, so the user and the project get the summary back.
    if found and $1 -> 'failure' ->> 'status' = '503' and $1 ->> 'is_paid' = 'false' then
        update private.summary_counts as counted
        set used = counted.used - 1
        -- The count of an earlier day has no effect: the next summary starts from 1.
        where counted.user_id = private.parse_uuid($1, 'user_id', false) and counted.used > 0;
        update private.summary_totals as counted
        set used = counted.used - 1
        where counted.day = (now() at time zone 'UTC')::date and counted.used > 0;
    end if;
    return private.succeed($1 -> 'answer');
end
$$;
comment on function private.finish_summary(jsonb) is
'Stores the answer of the model: id, lease, user_id, and answer or failure (status, code, message) with is_paid:
whether Claude returned anything. Returns the answer, and stores nothing if the lease has passed to another caller.';

create function private.poll_summary(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_known private.summaries;
begin
    select * into v_known from private.summaries as known where known.id = private.parse_uuid($1, 'id');
    if v_known.id is null then
        perform private.fail(
            404, 'channel_not_found', 'This channel was deleted before its summary was ready. Check channel_id.',
            'channel_id'
        );
    elsif v_known.failure is not null then
        perform private.fail(
            (v_known.failure ->> 'status')::integer, v_known.failure ->> 'code', v_known.failure ->> 'message'
        );
    elsif v_known.answer is null and ($1 ->> 'is_last' = 'true' or v_known.lease_expires_at < now()) then
        perform private.fail(504, 'summary_timeout', 'The model took too long. Try again in a moment.');
    end if;
    return private.succeed(v_known.answer, null, case when v_known.answer is null then 202 else 200 end);
end
$$;
comment on function private.poll_summary(jsonb) is
'Returns the summary that another caller has leased: id. 200 with the answer, or 202 while the model works. Raises the
failure of the model, and PT504 if the lease has expired or is_last says that this is the last poll.';

-- Realtime topics: which users may listen to a topic, and which may send to it.
-- Promise: only the database sends to inbox:, user:, workspace:, twin: and channel: topics. Members of a channel send
-- only to its :live topic. A policy of the application cannot open these topics.

-- A view named my_ has the rights of its owner (200_channels): no client reads counters.
create view private.my_topic_turns
with (security_barrier = true) as
select
    counter.channel_id as id,
    counter.topic_turn
from public.channel_members as member
inner join private.channel_counters as counter on member.channel_id = counter.channel_id
where member.user_id = (select auth.uid());
comment on view private.my_topic_turns is
'The current turn of the topic of each channel of the caller (decision 0014).';

create function private.is_my_topic(p_topic text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := split_part(p_topic, ':', 2);
    v_turn text := split_part(p_topic, ':', 3);
begin
    -- Looks up one row, however many channels the caller has. Other spellings of an id are other topics.
    if not private.is_uuid(v_id) or v_id <> v_id::uuid::text then
        return false;
    end if;
    return case p_topic
        when 'channel:' || v_id then exists (select from private.my_channels as mine where mine.id = v_id::uuid)
        when 'workspace:' || v_id then exists (select from private.my_workspaces as mine where mine.id = v_id::uuid)
        when 'twin:' || v_id then exists (select from private.my_twins as mine where mine.id = v_id::uuid)
        when 'inbox:' || v_id then v_id::uuid = (select auth.uid())
        when 'user:' || v_id then v_id::uuid = (select auth.uid())
        when 'channel:' || v_id || ':' || v_turn then private.is_my_turn(v_id, v_turn)
        else false
    end;
end
$$;
comment on function private.is_my_topic(text) is
'Whether the caller may listen to a topic to which only the database sends.';

create function private.is_my_live_topic(p_topic text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_topic !~ '^channel:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:[0-9]+)?:live$' then
        return false;
    elsif split_part(p_topic, ':', 3) = 'live' then
        return exists (
            select from private.my_channels as mine where mine.id = split_part(p_topic, ':', 2)::uuid
        );
    end if;
    return private.is_my_turn(split_part(p_topic, ':', 2), split_part(p_topic, ':', 3));
end
$$;
comment on function private.is_my_live_topic(text) is
'Whether a topic is one on which members of a channel of the caller send each other presence and typing.';

create function private.is_my_turn(p_id text, p_turn text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_turn ~ '^[1-9][0-9]{0,8}$' and exists (
        select from private.my_topic_turns as mine
        where mine.id = p_id::uuid and mine.topic_turn = p_turn::integer
    );
end
$$;
comment on function private.is_my_turn(text, text) is
'Whether the topic of a channel of the caller has this turn. Earlier turns are closed.';

do $$
begin
    -- For clients that use postgres_changes. Only Supabase has this publication.
    if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
        if not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'conversations'
        ) then
            alter publication supabase_realtime add table public.conversations;
        end if;
        if not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'messages'
        ) then
            alter publication supabase_realtime add table public.messages;
        end if;
        if not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'message_reactions'
        ) then
            alter publication supabase_realtime add table public.message_reactions;
        end if;
    end if;
end
$$;

-- Broadcasts of channel events. A broadcast may get lost and never fails a write; clients catch up from the event log.

create function private.render_event(p_event public.message_events, p_message public.messages) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_numbers jsonb := jsonb_build_object('seq', p_event.seq, 'prev_seq', p_event.seq - 1);
    v_pin jsonb;
begin
    if p_event.kind in ('reaction.added', 'reaction.removed') then
        return v_numbers || private.render_reaction(
            p_event.reaction_id, p_event.message_id, p_event.actor_id, p_event.emoji, p_event.added_at
        ) || private.render_author(p_event.actor_id, null);
    elsif p_event.kind in ('member.joined', 'member.left') then
        return v_numbers || jsonb_build_object(
            'channel_id', p_event.channel_id,
            'user_id', p_event.actor_id,
            'created_at', private.format_time(p_event.created_at)
        ) || private.render_author(p_event.actor_id, null);
    elsif p_event.kind = 'message.deleted' then
        return v_numbers || jsonb_build_object(
            'id', p_event.message_id, 'deleted_at', private.format_time(p_event.created_at)
        );
    elsif p_message.id is null then
        return v_numbers || jsonb_build_object('id', p_event.message_id, 'deleted', true);
    end if;
    -- Shows the text at the time of the event, if it was edited later.
    if p_message.updated_at > p_event.created_at then
        select edit.content, edit.written_at into p_message.content, p_message.updated_at
        from public.message_edits as edit
        where edit.message_id = p_message.id
            and edit.written_at <= p_event.created_at and edit.replaced_at > p_event.created_at;
    end if;
    if p_event.kind = 'message.pinned' then
        v_pin := private.render_pin(p_event.actor_id, p_event.added_at);
        v_numbers := v_numbers || jsonb_build_object('updated_at', private.format_time(p_event.added_at));
    elsif p_event.kind = 'message.updated' then
        v_pin := (
            select case
                when change.kind = 'message.pinned' then private.render_pin(change.actor_id, change.added_at)
            end
            from public.message_events as change
            where change.message_id = p_event.message_id
                and change.channel_id = p_event.channel_id
                and change.seq < p_event.seq
                and change.kind in ('message.pinned', 'message.unpinned')
            order by change.seq desc
            limit 1
        );
        -- The clean-up may have deleted the event of the pin.
        if v_pin is null then
            select private.render_pin(pin.pinned_by, pin.pinned_at) into v_pin
            from public.message_pins as pin
            where pin.message_id = p_event.message_id and not exists (
                select from public.message_events as change
                where change.message_id = pin.message_id and change.channel_id = pin.channel_id
                    and change.kind = 'message.pinned'
            );
        end if;
    end if;
    return private.render_message(p_message, v_pin)
        || private.render_author(p_message.user_id, p_message.ai_twin_id)
        || v_numbers;
end
$$;
comment on function private.render_event(public.message_events, public.messages) is
'The payload of an event, the same for broadcasts and for catching up: the data of the call that caused it, with seq,
prev_seq, and name and picture of the author or the user. It shows the message at the time of the event. For a message
that is gone, p_message is null and the payload has id and deleted.';

create function private.render_pointer(p_payload jsonb, p_topic text default null) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select
            jsonb_object_agg(field.key, field.value)
            || jsonb_strip_nulls(jsonb_build_object('truncated', true, 'topic', p_topic))
        from jsonb_each(p_payload) as field
        where field.key in ('id', 'channel_id', 'seq', 'prev_seq')
    );
end
$$;
comment on function private.render_pointer(jsonb, text) is
'The pointer that is sent instead of an oversized payload or, with the topic of the payload, while the channel is
sealed.';

-- Inserts directly, because realtime.send hides errors, adds fields to payloads, and opens a subtransaction per call.
create function private.send_event(p_event public.message_events, p_message public.messages) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_payload jsonb := private.render_event(p_event, p_message);
    v_channel record;
begin
    select
        -- Null unless a former member may still listen to channel:<id> (decision 0014).
        case when counter.sealed_until > clock_timestamp() and p_event.seq > counter.sealed_after
            then format('channel:%s:%s', p_event.channel_id, counter.topic_turn) end as sealed_topic,
        octet_length(v_payload::text) > settings.broadcast_max_bytes as is_oversized,
        p_event.kind = 'message.created' and p_message.hops <= settings.twin_max_hops and exists (
            select from public.channel_twins as assigned where assigned.channel_id = p_event.channel_id
        ) as has_twins
    into v_channel
    from private.channel_counters as counter
    cross join private.settings
    where counter.channel_id = p_event.channel_id;
    if not found then
        return;  -- the channel is being deleted
    elsif v_channel.is_oversized then
        v_payload := private.render_pointer(v_payload);
    end if;
    insert into realtime.messages (id, topic, extension, event, payload, private)
    values (
        private.broadcast_id(p_event.channel_id, p_event.seq),
        'channel:' || p_event.channel_id,
        'broadcast',
        p_event.kind,
        case
            when v_channel.sealed_topic is null then v_payload
            else private.render_pointer(v_payload, v_channel.sealed_topic)
        end,
        true
    );
    if v_channel.sealed_topic is not null or v_channel.has_twins then
        insert into realtime.messages (id, topic, extension, event, payload, private)
        select
            private.broadcast_id(p_event.channel_id, p_event.seq, listener.id),
            listener.topic, 'broadcast', p_event.kind, v_payload, true
        from (
            select p_event.channel_id as id, v_channel.sealed_topic as topic
            where v_channel.sealed_topic is not null
            union all
            -- The twins that the outbox would serve if they had webhooks.
            select assigned.ai_twin_id, 'twin:' || assigned.ai_twin_id
            from public.channel_twins as assigned
            where v_channel.has_twins
                and assigned.channel_id = p_event.channel_id
                and assigned.ai_twin_id is distinct from p_message.ai_twin_id
        ) as listener;
    end if;
end
$$;
comment on function private.send_event(public.message_events, public.messages) is
'Sends an event to its channel, and a new message also to the twins of the channel. Sends a pointer instead of an
oversized payload. A sealed channel gets pointers, and its current turn the payloads.';

create function private.require_creation(p_event public.message_events, p_message public.messages) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_message.channel_id = p_event.channel_id or exists (
        select from public.message_events as later
        where later.channel_id = p_event.channel_id and later.seq > p_event.seq
            and later.message_id = p_event.message_id and later.kind = 'message.deleted'
    ) then
        return;
    elsif p_message.id is not null then
        raise serialization_failure using message = 'The same message was written to two channels at once.';
    end if;
    perform private.fail(
        409, 'message_dropped',
        'A trigger of the application dropped this message after it was numbered. '
        'Give that trigger a name that sorts before messages_10_admit.'
    );
end
$$;
comment on function private.require_creation(public.message_events, public.messages) is
'Raises an error if a message whose creation is in the log was not written. PT409 if a trigger dropped it, 40001 if
another channel took its id at the same time (decision 0009).';

-- Definer, because only the database sends to these topics.
create function private.broadcast_event_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_event public.message_events := new;
    v_message public.messages;
begin
    -- Reads the event again, because an erasure in the same transaction may have changed it. Skips creations, which
    -- quote nothing.
    if new.kind <> 'message.created' then
        select * into v_event
        from public.message_events as event
        where event.channel_id = new.channel_id and event.seq = new.seq;
    end if;
    select * into v_message from public.messages as message where message.id = new.message_id;
    -- With immediate constraints this runs inside the trigger that numbers the message, before the message exists.
    -- Depth 1 means the end of the transaction or statement.
    if new.kind = 'message.created' and v_message.channel_id is distinct from new.channel_id
        and pg_trigger_depth() = 1
    then
        perform private.require_creation(v_event, v_message);
    end if;
    if v_message.deleted_at is not null then
        v_message := null;
    end if;
    begin
        perform private.send_event(v_event, v_message);
    exception
        when others then
            perform private.report_lost_broadcast('channel:' || new.channel_id, sqlstate, sqlerrm);
    end;
    return null;
end
$$;
comment on function private.broadcast_event_trigger() is
'Sends an event at the end of its transaction. A failed broadcast is only a warning. If the message of the event was not
written, raises an error and so undoes the transaction.';

-- Definer, because only the database sends to these topics.
create function private.broadcast_channel_deletion_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Else a message could take the number of the deletion.
    perform private.lock_channel(old.id);
    begin
        insert into realtime.messages (topic, extension, event, payload, private)
        select
            'channel:' || old.id,
            'broadcast',
            'channel.deleted',
            jsonb_build_object(
                'channel_id', old.id,
                'seq', counter.last_seq + 1,
                'prev_seq', counter.last_seq,
                'created_at', private.format_time(clock_timestamp())
            ),
            true
        from private.channel_counters as counter
        where counter.channel_id = old.id;
    exception
        when others then
            perform private.report_lost_broadcast('channel:' || old.id, sqlstate, sqlerrm);
    end;
    return old;
end
$$;
comment on function private.broadcast_channel_deletion_trigger() is
'Trigger: sends the last event of a channel, its deletion. The log of the channel is deleted with it; the logs of its
members keep the deletion.';

-- Catch-up: a client fetches the events of a channel that it missed.
-- Promise: pages that follow meta.last_seq return every event of the channel once and in order. If the clean-up has
-- deleted some of them, meta.is_incomplete says so.

-- Definer, because policies would check the caller's rights for each event. It checks them once itself.
create function private.list_channel_events(
    p_channel_id uuid, p_since bigint, p_limit integer, p_max_bytes integer
)
returns table (seq bigint, kind text, payload jsonb, bytes bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count integer := 0;
begin
    if not private.is_service()
        and not exists (select from private.my_channels as mine where mine.id = p_channel_id)
    then
        return;
    end if;
    bytes := 0;
    -- A loop, because it ends when the page is full: a query would render events that no page holds.
    for seq, kind, payload in
    select event.seq, event.kind, private.render_event(event, said.message)
    from public.message_events as event
    -- Compares channel_id, because the caller may not see messages of other channels. LIMIT 1 makes this one lookup by
    -- primary key per event: without it the planner may read all messages of the channel. Before the first ANALYZE, a
    -- page among 5,000 messages then took 300 ms instead of 10.
    left join lateral (
        select message from public.messages as message
        where message.id = event.message_id and message.channel_id = p_channel_id and message.deleted_at is null
        limit 1
    ) as said on true
    where event.channel_id = p_channel_id and event.seq > p_since
    order by event.seq
    limit p_limit
    loop
        bytes := bytes + octet_length(payload::text);
        v_count := v_count + 1;
        return next;
        exit when bytes > p_max_bytes and v_count > 1;
    end loop;
end
$$;
comment on function private.list_channel_events(uuid, bigint, integer, integer) is
'Lists the events of a channel after a number, in order, with the bytes of the payloads so far. Ends with
the row that exceeds p_max_bytes, at the earliest the second. Returns no rows to non-members.';

create function public.list_channel_events(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    c_max_bytes constant integer := 1000000;
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 200);
    v_since text := coalesce(private.scalar_text($1, 'since'), '0');
    v_page record;
begin
    if v_since !~ '^[0-9]{1,18}$' then
        perform private.fail(
            400, 'invalid_field',
            'since is not the number of an event. Send meta.last_seq of the last page, or 0.', 'since'
        );
    end if;
    perform private.require_channel(v_channel_id);
    with rendered as (
        select event.*, row_number() over (order by event.seq) as number
        from private.list_channel_events(v_channel_id, v_since::bigint, v_limit + 1, c_max_bytes) as event
    )

    select
        -- A page ends at a megabyte, but has at least one event, so that the client can go on.
        coalesce(jsonb_agg(
            jsonb_build_object('event', found.kind, 'payload', found.payload) order by found.seq
        ) filter (where found.is_in), '[]') as events,
        min(found.seq) as first_seq,
        max(found.seq) filter (where found.is_in) as last_seq,
        count(*) filter (where not found.is_in) > 0 as has_more
    into v_page
    from (
        select
            rendered.*,
            rendered.number <= v_limit and (rendered.number = 1 or rendered.bytes <= c_max_bytes) as is_in
        from rendered
    ) as found;
    return private.succeed(v_page.events, jsonb_build_object(
        'last_seq', coalesce(v_page.last_seq, (
            select least(v_since::bigint, max(event.seq))
            from public.message_events as event
            where event.channel_id = v_channel_id
        ), 0),
        'has_more', v_page.has_more,
        -- Numbers have no gap.
        'is_incomplete', coalesce(v_page.first_seq > v_since::bigint + 1, false)
    ));
end
$$;
comment on function public.list_channel_events(jsonb) is
'GET /api/v2/channels/:id/events: lists the events of a channel after a number, in order, as event and payload like a
broadcast. Takes channel_id, since (default 0) and limit (1 to 1000, default 200). meta.last_seq is the since of the
next page; meta.has_more says whether that page has events, and meta.is_incomplete whether events before this page were
deleted: then read the channel again.';

-- Webhooks: the URL to which the worker posts the messages of a twin's channels, and the secrets that sign them.
-- Promise: a secret is shown once and never leaves the database again (decision 0004). During a rotation, the new
-- secret and up to four old ones sign each delivery. 312_delivery_worker shows what a twin is sent.

create function private.is_webhook_url(p_url text) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    -- No credentials, no fragment, and no character that needs encoding.
    v_parts text[] := regexp_match(
        p_url, '^https?://(\[([0-9a-fA-F:.]+)\]|[a-zA-Z0-9._-]+)(:([0-9]{1,5}))?([/?][!"$-~]*)?$'
    );
    v_host text := v_parts[1];
    c_label constant text := '[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?';
begin
    if v_parts is null or coalesce(v_parts[4], '1')::integer not between 1 and 65535 then
        return false;
    elsif v_parts[2] is not null then
        return family(v_parts[2]::inet) = 6;
    elsif v_host ~ '(^|[.])[0-9]+$' then
        -- A host that ends in a number is an IPv4 address.
        return v_host ~ '^[0-9]{1,3}([.][0-9]{1,3}){3}$' and family(v_host::inet) = 4;
    end if;
    return char_length(v_host) <= 253
        and v_host ~ ('^' || c_label || '([.]' || c_label || ')*$');
exception
    when data_exception then
        return false;
end
$$;
comment on function private.is_webhook_url(text) is
'Whether a text is an http or https URL with a valid host and port. The worker checks the address when it connects.';

create table public.twin_webhooks (
    ai_twin_id uuid primary key references public.ai_twins (id) on delete cascade,
    url text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unsubscribed_at timestamptz,
    constraint twin_webhooks_url_form check (private.is_webhook_url(url)),
    constraint twin_webhooks_url_length check (char_length(url) <= 2000)
);
comment on table public.twin_webhooks is
'The URL to which the worker posts the messages of a twin''s channels. A twin without one listens to Realtime.';
comment on column public.twin_webhooks.unsubscribed_at is
'When the webhook answered 410 Gone. It gets no more until the owner sets it again.';
alter table public.twin_webhooks enable row level security;

create table private.twin_secrets (
    id uuid primary key default gen_random_uuid(),
    ai_twin_id uuid not null references public.twin_webhooks (ai_twin_id) on delete cascade,
    inner_key bytea not null,
    outer_key bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    constraint twin_secrets_keys_are_blocks check (octet_length(inner_key) = 64 and octet_length(outer_key) = 64)
);
comment on table private.twin_secrets is
'Secrets that sign deliveries. A hash of a secret cannot sign, so this stores the two blocks that HMAC derives from it
(docs/explanation/decisions/0004).';
comment on column private.twin_secrets.expires_at is
'From this time on, the secret signs no delivery; null means never.';
create index twin_secrets_ai_twin_id_idx on private.twin_secrets (ai_twin_id);
alter table private.twin_secrets enable row level security;

create function private.sign_delivery(p_twin_id uuid, p_text text) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select string_agg(
            'v1=' || encode(sha256(secret.outer_key || sha256(secret.inner_key || convert_to(p_text, 'UTF8'))), 'hex'),
            ',' order by secret.created_at desc, secret.id
        )
        from private.twin_secrets as secret
        where secret.ai_twin_id = p_twin_id and (secret.expires_at is null or secret.expires_at > now())
    );
end
$$;
comment on function private.sign_delivery(uuid, text) is
'Signs a text with each valid secret of a twin: HMAC-SHA256 in hex, newest secret first, separated by commas.';

-- Definer, because no client role may read or write secrets. It checks that the twin is the caller's.
create function private.rotate_twin_secret(p_twin_id uuid, p_overlap interval) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_secret text := private.generate_secret();
begin
    perform from public.twin_webhooks as webhook
    inner join public.ai_twins as twin on webhook.ai_twin_id = twin.id
    where webhook.ai_twin_id = p_twin_id
        and (twin.user_id = (select auth.uid()) or (select private.is_service()))
    for no key update of webhook;
    if not found then
        perform private.fail(
            404, 'webhook_not_found',
            'This twin is not yours or has no webhook. Check ai_twin_id, or set a webhook first.', 'ai_twin_id'
        );
    end if;
    -- Keeps four earlier secrets, because each delivery is signed with all of them. More would slow the worker, which
    -- serves all owners.
    delete from private.twin_secrets as secret
    where secret.id in (
        select old.id
        from private.twin_secrets as old
        where old.ai_twin_id = p_twin_id
        order by old.created_at desc, old.id
        offset 4
    );
    update private.twin_secrets as secret
    set expires_at = least(secret.expires_at, now() + p_overlap)
    where secret.ai_twin_id = p_twin_id;
    insert into private.twin_secrets (ai_twin_id, inner_key, outer_key)
    values (
        p_twin_id,
        private.hmac_block(convert_to(v_secret, 'UTF8'), 54),
        private.hmac_block(convert_to(v_secret, 'UTF8'), 92)
    );
    return v_secret;
end
$$;
comment on function private.rotate_twin_secret(uuid, interval) is
'Creates a secret for the webhook of the caller''s twin. The four secrets before it also sign deliveries until the
overlap ends. PT404 for other callers.';

-- Definer, because clients may not insert webhooks: the webhook would have no secret. It checks that the twin is the
-- caller's.
create function private.set_twin_webhook(p_twin_id uuid, p_url text) returns boolean
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_new boolean;
begin
    if not exists (
        select from public.ai_twins as twin
        where twin.id = p_twin_id and (twin.user_id = (select auth.uid()) or (select private.is_service()))
    ) then
        perform private.fail(
            404, 'twin_not_found', 'This twin does not exist or is not yours. Check ai_twin_id.', 'ai_twin_id'
        );
    end if;
    insert into public.twin_webhooks (ai_twin_id, url) values (p_twin_id, p_url)
    on conflict on constraint twin_webhooks_pkey do nothing;
    v_is_new := found;
    update public.twin_webhooks as webhook set url = p_url, unsubscribed_at = null
    where webhook.ai_twin_id = p_twin_id and (webhook.url <> p_url or webhook.unsubscribed_at is not null);
    return v_is_new;
end
$$;
comment on function private.set_twin_webhook(uuid, text) is
'Sets the webhook of the caller''s twin, which then gets messages again. Returns true if the twin had none before. PT404
for other callers.';

create function public.set_twin_webhook(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
    v_url text := private.parse_text($1, 'url', 2000);
    v_is_new boolean := private.set_twin_webhook(v_twin_id, v_url);
begin
    return private.succeed(jsonb_build_object(
        'ai_twin_id', v_twin_id,
        'url', v_url,
        'secret', case when v_is_new then private.rotate_twin_secret(v_twin_id, interval '0') end
    ));
end
$$;
comment on function public.set_twin_webhook(jsonb) is
'Sets the webhook of a twin of the caller: ai_twin_id, url. The first answer contains the secret that signs deliveries,
which is shown only once. Later calls keep the secret and answer null.';

create function public.rotate_twin_secret(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
    v_hours integer := private.parse_integer($1, 'overlap_hours', 0, 720, 24);
begin
    return private.succeed(jsonb_build_object(
        'ai_twin_id', v_twin_id,
        'secret', private.rotate_twin_secret(v_twin_id, make_interval(hours => v_hours)),
        'previous_secrets_expire_at', private.format_time(now() + make_interval(hours => v_hours))
    ));
end
$$;
comment on function public.rotate_twin_secret(jsonb) is
'Creates a secret for the webhook of a twin of the caller, which is shown only once: ai_twin_id, overlap_hours (0 to
720, default 24). Earlier secrets also sign deliveries until the overlap ends.';

create function public.remove_twin_webhook(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
begin
    delete from public.twin_webhooks as webhook where webhook.ai_twin_id = v_twin_id;
    if not found then
        perform private.fail(
            404, 'webhook_not_found',
            'This twin is not yours or has no webhook. Check ai_twin_id, or set a webhook first.', 'ai_twin_id'
        );
    end if;
    return private.succeed(jsonb_build_object('ai_twin_id', v_twin_id));
end
$$;
comment on function public.remove_twin_webhook(jsonb) is
'Removes the webhook of a twin of the caller, its secrets and its deliveries: ai_twin_id.';

-- The outbox: the messages, edits and deletions that go to the webhooks of twins. Each twin has one queue per channel.
-- Promise: each message is delivered at least once and in order within its queue, unless the message is deleted, the
-- delivery is dead, or the twin or its webhook goes. A failing delivery delays only its own queue.
-- Writers, replays and workers lock rows in the order that 210_events lists.

create table private.twin_queues (
    ai_twin_id uuid not null references public.twin_webhooks (ai_twin_id) on delete cascade,
    channel_id uuid not null,
    user_id uuid not null,
    due_at timestamptz,
    lease uuid,
    leased_at timestamptz,
    slow_until timestamptz,
    primary key (ai_twin_id, channel_id),
    constraint twin_queues_assignment_fkey foreign key (channel_id, ai_twin_id)
    references public.channel_twins (channel_id, ai_twin_id) on delete cascade,
    constraint twin_queues_lease_unique unique (lease)
);
comment on table private.twin_queues is
'The queue of a twin in a channel. A worker takes its lease before it sends, so a queue has one delivery under
way at a time.';
comment on column private.twin_queues.due_at is
'When a worker looks at the queue next: the end of the lease, if a worker has it; null when no delivery is pending.';
comment on column private.twin_queues.user_id is 'The owner of the twin, copied, because owners share the workers.';
comment on column private.twin_queues.slow_until is
'Until then the owner gets one worker, because the webhook answered slowly or not at all.';
comment on column private.twin_queues.lease is
'The token of the worker that has the lease; null when no worker has it.';
create index twin_queues_due_at_idx on private.twin_queues (user_id, due_at) where due_at is not null;
create index twin_queues_slow_until_idx on private.twin_queues (user_id, slow_until) where slow_until is not null;
alter table private.twin_queues enable row level security;

create table public.twin_deliveries (
    id uuid primary key default gen_random_uuid(),
    ai_twin_id uuid not null,
    channel_id uuid not null,
    message_id uuid not null references public.messages (id) on delete cascade,
    seq bigint not null,
    kind text not null default 'message.created',
    state text not null default 'pending',
    attempts integer not null default 0,
    first_attempt_at timestamptz,
    next_attempt_at timestamptz,
    last_status integer,
    last_error text,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    constraint twin_deliveries_once unique (ai_twin_id, channel_id, seq),
    constraint twin_deliveries_queue_fkey foreign key (ai_twin_id, channel_id)
    references private.twin_queues (ai_twin_id, channel_id) on delete cascade,
    constraint twin_deliveries_kind_known check (kind in ('message.created', 'message.updated', 'message.deleted')),
    constraint twin_deliveries_state_known check (state in ('pending', 'delivered', 'dead')),
    constraint twin_deliveries_finished_unless_pending check ((state = 'pending') = (finished_at is null)),
    constraint twin_deliveries_last_error_length check (char_length(last_error) <= 200)
);
comment on table public.twin_deliveries is
'One message, edit or deletion for one twin. Pending until the webhook answers 2xx; dead after the last failed attempt.
Delivered rows are kept for delivery_days, dead rows until they are replayed or the twin leaves.';
comment on column public.twin_deliveries.seq is
'The number of its event in the channel. A queue is sent in this order.';
comment on column public.twin_deliveries.next_attempt_at is 'After a failure, the earliest time of the next attempt.';
comment on column public.twin_deliveries.last_status is
'The last HTTP status of the webhook; null if it did not answer.';
comment on column public.twin_deliveries.last_error is 'The error of the last attempt; null if it succeeded.';
create index twin_deliveries_message_id_idx on public.twin_deliveries (message_id);
create index twin_deliveries_pending_idx on public.twin_deliveries (ai_twin_id, channel_id, seq)
where state = 'pending';
-- For list_twin_deliveries.
create index twin_deliveries_newest_idx on public.twin_deliveries (ai_twin_id, state, created_at);
create index twin_deliveries_dead_idx on public.twin_deliveries (ai_twin_id) where state = 'dead';
create index twin_deliveries_delivered_idx on public.twin_deliveries (finished_at) where state = 'delivered';
alter table public.twin_deliveries enable row level security;

-- Definer, because no client writes to the outbox.
create function private.queue_deliveries_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Most channels have no twin, and this check is several times cheaper than the statement below.
    if not exists (select from public.channel_twins as assigned where assigned.channel_id = new.channel_id)
        or new.hops > (select settings.twin_max_hops from private.settings)
    then
        return null;
    end if;
    perform private.queue_deliveries(new, 'message.created', new.seq);
    return null;
end
$$;
comment on function private.queue_deliveries_trigger() is
'Queues a new message for the twins of its channel. Queues nothing if the message has more than twin_max_hops.';

create function private.queue_deliveries(p_message public.messages, p_kind text, p_seq bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- KEY SHARE waits for a transaction that removes a twin or its webhook. Without it, the foreign keys of the new
    -- rows would wait and then fail.
    with recipient as (
        select assigned.ai_twin_id, twin.user_id
        from public.channel_twins as assigned
        inner join public.twin_webhooks as webhook on assigned.ai_twin_id = webhook.ai_twin_id
        inner join public.ai_twins as twin on assigned.ai_twin_id = twin.id
        where assigned.channel_id = p_message.channel_id
            and assigned.ai_twin_id is distinct from p_message.ai_twin_id
            and webhook.unsubscribed_at is null
        order by assigned.ai_twin_id
        for key share of assigned, webhook
    ), woken as (
        insert into private.twin_queues as queue (ai_twin_id, channel_id, user_id, due_at)
        select recipient.ai_twin_id, p_message.channel_id, recipient.user_id, now() from recipient
        on conflict on constraint twin_queues_pkey do update set due_at = excluded.due_at
        where queue.due_at is null
    )

    insert into public.twin_deliveries (ai_twin_id, channel_id, message_id, seq, kind)
    select recipient.ai_twin_id, p_message.channel_id, p_message.id, p_seq, p_kind
    from recipient;
end
$$;
comment on function private.queue_deliveries(public.messages, text, bigint) is
'Queues an event of a message for each twin of its channel that has a webhook, except its author.';

create function private.is_forwarded(p_message public.messages) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_message.hops <= (select settings.twin_max_hops from private.settings)
        and exists (select from public.channel_twins as assigned where assigned.channel_id = p_message.channel_id)
        -- Does not forward edits of twins, because an edit has no hops and twins could answer edits with edits for
        -- ever.
        and (p_message.ai_twin_id is null or p_message.deleted_at is not null);
end
$$;
comment on function private.is_forwarded(public.messages) is
'Whether an edit or a deletion of a message goes to the twins of its channel.';

-- Definer, because no client may lock twins.
create function private.lock_twins_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.is_forwarded(new) then
        -- Also the twins without a webhook: one may get it before the change is queued.
        perform from public.channel_twins as assigned
        where assigned.channel_id = new.channel_id
        order by assigned.ai_twin_id
        for key share;
        perform from public.channel_twins as assigned
        inner join public.twin_webhooks as webhook on assigned.ai_twin_id = webhook.ai_twin_id
        where assigned.channel_id = new.channel_id
        order by assigned.ai_twin_id
        for key share of webhook;
    end if;
    return null;
end
$$;
comment on function private.lock_twins_trigger() is
'Trigger: locks the twins of a channel and their webhooks before the broadcasts of a message that changes. A twin that
leaves locks them in the same order.';

-- Definer, because no client writes to the outbox.
create function private.queue_change_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_event record;
    v_unknowing uuid[];
begin
    select event.kind, event.seq into v_event
    from public.message_events as event
    where event.message_id = new.id
        and event.channel_id = new.channel_id and event.kind in ('message.updated', 'message.deleted')
    order by event.seq desc
    limit 1;
    -- First, because it locks the queues, which come before deliveries in the lock order of 210_events.
    if private.is_forwarded(new) then
        perform private.queue_deliveries(new, v_event.kind, v_event.seq);
    end if;
    if new.deleted_at is not null then
        with cancelled as (
            delete from public.twin_deliveries as delivery
            where delivery.message_id = new.id and delivery.state <> 'delivered' and delivery.seq < v_event.seq
            returning delivery.ai_twin_id, delivery.kind, delivery.attempts
        )

        select array_agg(cancelled.ai_twin_id) into v_unknowing
        from cancelled
        where cancelled.kind = 'message.created' and cancelled.attempts = 0;
    else
        v_unknowing := array(
            select delivery.ai_twin_id
            from public.twin_deliveries as delivery
            where delivery.message_id = new.id and delivery.kind = 'message.created'
                and delivery.state = 'pending' and delivery.attempts = 0
        );
    end if;
    -- Skips twins that have not received the message: its pending delivery has the new text, or is deleted.
    delete from public.twin_deliveries as delivery
    where delivery.message_id = new.id and delivery.seq = v_event.seq and delivery.ai_twin_id = any(v_unknowing);
    return null;
end
$$;
comment on function private.queue_change_trigger() is
'Queues an edit or a deletion of a message for the twins of its channel that may have received it. Removes the pending
and dead deliveries of a deleted message.';

create function public.list_twin_deliveries(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id');
    v_state text := private.parse_text($1, 'state', 20, 'all');
    v_limit integer := private.parse_integer($1, 'limit', 1, 200, 50);
begin
    if v_state not in ('all', 'pending', 'delivered', 'dead') then
        perform private.fail(400, 'invalid_field', 'state must be all, pending, delivered or dead.', 'state');
    end if;
    return private.succeed((
        select coalesce(jsonb_agg(jsonb_build_object(
            'id', found.id,
            'channel_id', found.channel_id,
            'message_id', found.message_id,
            'seq', found.seq,
            'kind', found.kind,
            'state', found.state,
            'attempts', found.attempts,
            'next_attempt_at', private.format_time(found.next_attempt_at),
            'last_status', found.last_status,
            'last_error', found.last_error,
            'created_at', private.format_time(found.created_at),
            'finished_at', private.format_time(found.finished_at)
        ) order by found.created_at desc, found.channel_id, found.seq desc), '[]')
        from (
            select newest.*
            from unnest(
                case v_state when 'all' then '{pending,delivered,dead}'::text[] else array[v_state] end
            ) as wanted (state)
            -- Reads each state from the newest on, by twin_deliveries_newest_idx.
            cross join lateral (
                select delivery.*
                from public.twin_deliveries as delivery
                where delivery.ai_twin_id = v_twin_id and delivery.state = wanted.state
                order by delivery.created_at desc, delivery.channel_id, delivery.seq desc
                limit v_limit
            ) as newest
            order by newest.created_at desc, newest.channel_id, newest.seq desc
            limit v_limit
        ) as found
    ));
end
$$;
comment on function public.list_twin_deliveries(jsonb) is
'Lists the deliveries to a twin of the caller, newest first: ai_twin_id, state (pending, delivered, dead; default all),
limit (1 to 200, default 50).';

-- Definer, because no client writes to the outbox. It checks that the twin is the caller's.
create function private.replay_twin_deliveries(p_twin_id uuid, p_id uuid) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_replayed bigint;
begin
    if not exists (
        select from public.ai_twins as twin
        where twin.id = p_twin_id and (twin.user_id = (select auth.uid()) or (select private.is_service()))
    ) then
        perform private.fail(
            404, 'twin_not_found', 'This twin does not exist or is not yours. Check ai_twin_id.', 'ai_twin_id'
        );
    end if;
    -- Queues before deliveries: see the lock order in 210_events.
    perform from private.twin_queues as queue
    where queue.ai_twin_id = p_twin_id
    order by queue.channel_id
    for update;
    update public.twin_deliveries as delivery
    set state = 'pending', attempts = 0, first_attempt_at = null, finished_at = null
    where delivery.ai_twin_id = p_twin_id and delivery.state = 'dead' and delivery.id = coalesce(p_id, delivery.id);
    get diagnostics v_replayed = row_count;
    update private.twin_queues as queue set due_at = now()
    where queue.ai_twin_id = p_twin_id
        and queue.lease is null
        and exists (
            select from public.twin_deliveries as pending
            where pending.ai_twin_id = queue.ai_twin_id
                and pending.channel_id = queue.channel_id and pending.state = 'pending' and pending.attempts = 0
        );
    return v_replayed;
end
$$;
comment on function private.replay_twin_deliveries(uuid, uuid) is
'Makes dead deliveries of the caller''s twin pending again: the one with p_id, or all if it is null. Returns how many.
PT404 for other callers.';

create function public.replay_twin_deliveries(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(jsonb_build_object('replayed', private.replay_twin_deliveries(
        private.parse_uuid($1, 'ai_twin_id'), private.parse_uuid($1, 'id', false)
    )));
end
$$;
comment on function public.replay_twin_deliveries(jsonb) is
'Sends the dead deliveries to a twin of the caller again, with all attempts: ai_twin_id, and id for only one of them.';

-- The delivery worker: it leases the next delivery of each queue, posts it to the webhook, and reports the result.
-- Promise: one worker at a time has the lease of a queue. If it dies, the lease expires and another worker sends the
-- delivery again.
-- Workers lock rows in the order that 210_events lists.

create function private.render_delivery(p_delivery public.twin_deliveries, p_lease uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_time text := floor(extract(epoch from now()))::text;
    v_body text := (
        select (
            case p_delivery.kind
                when 'message.deleted' then jsonb_build_object(
                    'id', message.id,
                    'channel_id', message.channel_id,
                    'deleted_at', private.format_time(message.deleted_at)
                )
                else private.render_message(message)
                    || private.render_author(message.user_id, message.ai_twin_id)
            end
            || jsonb_build_object('seq', p_delivery.seq, 'event', p_delivery.kind)
        )::text
        from public.messages as message
        where message.id = p_delivery.message_id
    );
begin
    return jsonb_build_object(
        'id', p_delivery.id,
        'lease', p_lease,
        'url', (select hook.url from public.twin_webhooks as hook where hook.ai_twin_id = p_delivery.ai_twin_id),
        'headers', jsonb_build_object(
            'content-type', 'application/json',
            'threadline-delivery', p_delivery.id,
            'threadline-twin', p_delivery.ai_twin_id,
            'threadline-event', p_delivery.kind,
            'threadline-signature',
            't=' || v_time || ',' || private.sign_delivery(p_delivery.ai_twin_id, v_time || '.' || v_body)
        ),
        'body', v_body
    );
end
$$;
comment on function private.render_delivery(public.twin_deliveries, uuid) is
'Renders a delivery as a signed HTTP request with the current text of the message, or with the deletion.';

create function private.list_due_queues(p_limit integer) returns table (ai_twin_id uuid, channel_id uuid)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    -- The owners with queues that wait, one index probe for each, however many queues an owner has.
    return query
    with recursive owner as (
        (
            select queue.user_id from private.twin_queues as queue
            where queue.due_at is not null
            order by queue.user_id
            limit 1
        )
        union all
        select (
            select queue.user_id from private.twin_queues as queue
            where queue.due_at is not null and queue.user_id > owner.user_id
            order by queue.user_id
            limit 1
        )
        from owner
        where owner.user_id is not null
    ), share as (
        select
            owner.user_id,
            case
                when exists (
                    select from private.twin_queues as slow
                    where slow.user_id = owner.user_id and slow.slow_until > now()
                ) then 1
                else (select settings.user_max_deliveries from private.settings)
            end as most,
            (
                select count(*) from private.twin_queues as busy
                where busy.user_id = owner.user_id and busy.due_at > now() and busy.lease is not null
            ) as busy
        from owner
        where owner.user_id is not null
    )

    select due.ai_twin_id, due.channel_id
    from share
    cross join lateral (
        select queue.ai_twin_id, queue.channel_id, queue.due_at, row_number() over (order by queue.due_at) as place
        from private.twin_queues as queue
        where queue.user_id = share.user_id and queue.due_at <= now()
        order by queue.due_at
        limit greatest(0, share.most - share.busy)
    ) as due
    order by share.busy + due.place, due.due_at
    limit p_limit;
end
$$;
comment on function private.list_due_queues(integer) is
'The queues that are due, in turns: first one of each owner, then the second of each. An owner has at most
user_max_deliveries under way, and one after a slow answer. Workers that ask at the same moment may go above it.';

-- Definer, because no role may read queues and secrets. Custom plans, because the queues are empty when a session makes
-- its first plan (decision 0003).
create function private.claim_deliveries(p_limit integer, p_lease interval) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_due private.twin_queues[] := array(
        select queue
        from private.twin_queues as queue
        inner join private.list_due_queues(p_limit) as due using (ai_twin_id, channel_id)
        where queue.due_at <= now()
        for update of queue skip locked
    );
    v_deliveries jsonb;
begin
    -- A statement of its own, after the one that locks the queues: it sees all deliveries that were committed before
    -- the lock. It updates each queue once: a second update would check the foreign key again, and wait for a
    -- transaction that removes the webhook.
    with candidate as materialized (
        select due.ai_twin_id, due.channel_id, pending.id, gen_random_uuid() as lease
        from unnest(v_due) as due
        left join lateral (
            select delivery.id
            from public.twin_deliveries as delivery
            where delivery.ai_twin_id = due.ai_twin_id
                and delivery.channel_id = due.channel_id
                and delivery.state = 'pending'
            order by delivery.seq
            limit 1
        ) as pending on true
    ), held as materialized (
        -- SKIP LOCKED skips a delivery that another transaction is deleting; the next round takes it if it is still
        -- there. Waiting could deadlock, because the other transaction may need the queue next.
        select delivery.id
        from public.twin_deliveries as delivery
        where delivery.id in (select candidate.id from candidate)
        for update skip locked
    ), leased as (
        update private.twin_queues as queue
        set lease = case when candidate.id is not null then candidate.lease end,
            leased_at = case when candidate.id is not null then now() end,
            due_at = case when candidate.id is not null then now() + p_lease end
        from candidate
        where queue.ai_twin_id = candidate.ai_twin_id and queue.channel_id = candidate.channel_id
            and (candidate.id is null or candidate.id in (select held.id from held))
    ), attempted as (
        update public.twin_deliveries as delivery
        set
            attempts = delivery.attempts + 1,
            first_attempt_at = coalesce(delivery.first_attempt_at, now()),
            next_attempt_at = null
        from candidate
        where delivery.id = candidate.id and candidate.id in (select held.id from held)
        returning delivery, candidate.lease
    )

    select coalesce(jsonb_agg(private.render_delivery(attempted.delivery, attempted.lease)), '[]') into v_deliveries
    from attempted;
    return v_deliveries;
end
$$;
comment on function private.claim_deliveries(integer, interval) is
'Leases the first delivery of at most p_limit due queues, and returns them as signed requests. No other worker gets them
until the lease ends.';

create function public.claim_deliveries(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.claim_deliveries(
        private.parse_integer($1, 'limit', 1, 1000, 10),
        make_interval(secs => private.parse_integer($1, 'lease_seconds', 1, 3600, 60))
    ));
end
$$;
comment on function public.claim_deliveries(jsonb) is
'For workers: leases deliveries and returns id, lease, url, headers and body of each. Takes limit (default 10) and
lease_seconds (default 60). A queue gives one delivery at a time. If the lease ends before finish_delivery, a
worker gets the delivery again.';

create function private.retry_delay(p_attempts integer) returns interval
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Random, up to half shorter, so that deliveries that failed together are not all retried at the same time.
    return (
        select make_interval(
            secs => least(3600, settings.twin_retry_seconds * power(4, least(p_attempts, 10) - 1)) * (1 - random() / 2)
        )
        from private.settings as settings
    );
end
$$;
comment on function private.retry_delay(integer) is
'The wait after p_attempts failures: four times as long after each, at most an hour.';

create function private.hold_time(p_status integer) returns interval
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- An outage would fail the next delivery too, so it may hold up the queue for longer than a message that the
    -- webhook refuses.
    return (
        select make_interval(secs => settings.twin_skip_seconds)
            * case when p_status is null or p_status in (408, 429, 502, 503, 504) then 6 else 1 end
        from private.settings as settings
    );
end
$$;
comment on function private.hold_time(integer) is
'How long after its first attempt a failing delivery may hold up its queue, by the last status of the webhook.';

create function private.unsubscribe_twin(p_id uuid, p_lease uuid) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_twin_id uuid := (select queue.ai_twin_id from private.twin_queues as queue where queue.lease = p_lease);
begin
    if v_twin_id is null then
        return null;
    end if;
    -- In the lock order of 210_events: the webhook, its queues, their deliveries.
    update public.twin_webhooks as webhook set unsubscribed_at = now() where webhook.ai_twin_id = v_twin_id;
    perform from private.twin_queues as queue
    where queue.ai_twin_id = v_twin_id
    order by queue.channel_id
    for update;
    update public.twin_deliveries as delivery
    set
        state = 'dead',
        last_status = case when delivery.id = p_id then 410 else delivery.last_status end,
        last_error = 'The webhook answered 410: it is unsubscribed.',
        next_attempt_at = null,
        finished_at = now()
    where delivery.ai_twin_id = v_twin_id and delivery.state = 'pending';
    update private.twin_queues as queue set lease = null, due_at = null where queue.ai_twin_id = v_twin_id;
    return 'dead';
end
$$;
comment on function private.unsubscribe_twin(uuid, uuid) is
'Stops the deliveries to a twin whose webhook answered 410 Gone; its pending ones are dead. Returns the new state of the
delivery, or null if the lease has passed to another worker.';

-- Definer, because no client writes to the outbox.
create function private.finish_delivery(p_id uuid, p_lease uuid, p_status integer, p_error text) returns text
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_queue private.twin_queues;
    v_delivery public.twin_deliveries;
begin
    if p_status = 410 then
        return private.unsubscribe_twin(p_id, p_lease);
    end if;
    select * into v_queue from private.twin_queues as queue where queue.lease = p_lease for update;
    if v_queue.lease is null then
        return null;
    end if;
    update public.twin_deliveries as delivery
    set
        state = outcome.state,
        last_status = p_status,
        last_error = left(p_error, 200),
        next_attempt_at = case when outcome.state = 'pending' then least(
            now() + private.retry_delay(delivery.attempts), delivery.first_attempt_at + private.hold_time(p_status)
        ) end,
        finished_at = case when outcome.state <> 'pending' then now() end
    from public.twin_deliveries as attempt
    cross join private.settings as settings
    cross join lateral (
        select case
            when p_error is null then 'delivered'
            when attempt.attempts >= settings.twin_max_attempts
                or now() - attempt.first_attempt_at >= private.hold_time(p_status)
                then 'dead'
            else 'pending'
        end as state
    ) as outcome
    where delivery.id = p_id and attempt.id = delivery.id and delivery.state = 'pending'
        and delivery.ai_twin_id = v_queue.ai_twin_id and delivery.channel_id = v_queue.channel_id
    returning delivery.* into v_delivery;
    update private.twin_queues as queue
    set
        lease = null,
        slow_until = case
            when clock_timestamp() - queue.leased_at > interval '2 seconds' then now() + interval '1 minute'
            else queue.slow_until
        end,
        due_at = coalesce(v_delivery.next_attempt_at, (
        select now()
        from public.twin_deliveries as pending
        where pending.ai_twin_id = queue.ai_twin_id
            and pending.channel_id = queue.channel_id and pending.state = 'pending'
        -- ORDER BY keeps the planner on twin_deliveries_pending_idx. With LIMIT 1 alone, it expects to find a row early
        -- in a sequential scan; if the queue is empty, that scan reads every delivery.
        order by pending.seq
        limit 1
    ))
    where queue.lease = p_lease;
    return v_delivery.state;
end
$$;
comment on function private.finish_delivery(uuid, uuid, integer, text) is
'Ends an attempt and returns the new state: delivered if p_error is null, dead after the last attempt or the longest
hold, else pending. Returns null if the lease has passed to another worker or the message was deleted.';

create function public.finish_delivery(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'id');
begin
    return private.succeed(jsonb_build_object(
        'id', v_id,
        'state', private.finish_delivery(
            v_id,
            private.parse_uuid($1, 'lease'),
            private.parse_integer($1, 'status', 100, 999, null),
            private.scalar_text($1, 'error')
        )
    ));
end
$$;
comment on function public.finish_delivery(jsonb) is
'For workers: stores the result of a delivery: id, lease, status (the answer of the webhook), error (null if it
succeeded). Returns its state, or null if the lease has passed to another worker. A repeated call changes nothing.';

-- The rate limit: how many requests of /api/v2 a user may make in a minute, counted for all processes of the service.
-- The limit is requests_per_minute in 010_settings; service_role is not counted.
-- The count is spent after the work, in the same transaction, so that requests of one user do not wait for each other.

-- Unlogged, because a crash may reset the counts: a user then gets one minute's requests again.
create unlogged table private.request_counts (
    user_id uuid primary key,
    minute timestamptz not null,
    used integer not null
);
comment on table private.request_counts is 'How many requests each user has made in their current minute.';
alter table private.request_counts enable row level security;

-- Definer, because clients do not read the counts.
create function private.is_used_up() returns boolean
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from private.request_counts as counted
        where counted.user_id = auth.uid()
            and counted.minute between date_trunc('minute', now()) and date_trunc('minute', now()) + interval '1 minute'
            and counted.used >= (select settings.requests_per_minute from private.settings)
    );
end
$$;
comment on function private.is_used_up() is
'Whether the caller has no requests left in this minute. Estimates without a lock, so that refusing costs no work;
private.spend_request decides.';

-- Definer, because clients may not write their own count. It counts for the caller.
create function private.spend_request(out is_granted boolean, out headers jsonb)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_used integer;
    v_granted integer;
begin
    -- A request that began in the minute before counts for the current minute. A count further ahead comes from a clock
    -- that was set back, and starts again.
    insert into private.request_counts as counted (user_id, minute, used)
    values ((select auth.uid()), date_trunc('minute', now()), 1)
    on conflict on constraint request_counts_pkey do update
    set
        used = case
            when counted.minute between excluded.minute and excluded.minute + interval '1 minute'
                then counted.used + 1
            else 1
        end,
        minute = case
            when counted.minute = excluded.minute + interval '1 minute' then counted.minute
            else excluded.minute
        end
    returning counted.used, (select settings.requests_per_minute from private.settings) into v_used, v_granted;
    is_granted := v_used <= v_granted;
    headers := jsonb_build_object(
        'ratelimit-limit', v_granted::text,
        'ratelimit-remaining', greatest(0, v_granted - v_used)::text,
        'ratelimit-reset',
        ceil(extract(epoch from date_trunc('minute', now()) + interval '1 minute' - now()))::integer::text
    );
end
$$;
comment on function private.spend_request() is
'Counts a request of the caller. Answers whether the limit allows it, and the RateLimit headers: limit, remaining, and
seconds until the next minute begins.';

create function private.spend_failed_request(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(null);
end
$$;
comment on function private.spend_failed_request(jsonb) is
'Does nothing, so that the gateway counts it: the service calls it after a request that Postgres cancelled or failed,
because that request has undone its own count.';

create function private.hold_data_api_place() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    for v_place in 1..(select settings.data_api_requests_at_once from private.settings) loop
        -- An advisory lock, because a GET of the Data API cannot write.
        if pg_try_advisory_xact_lock(hashtextextended(format('threadline.data_api.%s.%s', auth.uid(), v_place), 0)) then
            return true;
        end if;
    end loop;
    return false;
end
$$;
comment on function private.hold_data_api_place() is
'Takes one of the places that the caller has in the Data API until the request ends. False if all are taken.';

-- Definer, because clients read no settings.
create function private.spend_data_api_request() returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not private.hold_data_api_place() then
        perform private.fail(
            429, 'too_many_at_once', 'You have too many requests under way. Wait for their answers.'
        );
    elsif current_setting('transaction_read_only') = 'off' and not (private.spend_request()).is_granted then
        perform private.fail(429, 'rate_limited', 'Too many requests in this minute. Wait for the next one.');
    end if;
end
$$;
comment on function private.spend_data_api_request() is
'For the pre-request function of the application (docs/explanation/security.md): limits how many requests of the caller
the Data API works on at once, and counts those that write with those of /api/v2. PT429 above a limit.';

-- Idempotency keys: a repeated request with the same key gets the first answer and writes nothing.
-- Keys are kept for settings.idempotency_hours.

create table private.idempotency_keys (
    principal text not null,
    route text not null,
    key text not null,
    request_hash bytea not null,
    status integer,
    body text,
    message_id uuid,
    created_at timestamptz not null default now(),
    primary key (principal, route, key),
    constraint idempotency_keys_key_length check (char_length(key) between 1 and 255)
);
comment on table private.idempotency_keys is
'Answers to requests with an Idempotency-Key, kept for settings.idempotency_hours.';
comment on column private.idempotency_keys.principal is 'The user''s id as text, or service_role.';
comment on column private.idempotency_keys.message_id is
'The message that the answer shows, so that the answer goes with it.';
create index idempotency_keys_message_id_idx on private.idempotency_keys (message_id) where message_id is not null;
create index idempotency_keys_created_at_idx on private.idempotency_keys (created_at);
alter table private.idempotency_keys enable row level security;

-- Definer, because callers may read only their own answers. The function checks the caller.
create function private.begin_idempotent(p_route text, p_key text, p_request jsonb, out status integer, out body text)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_principal text := coalesce((select auth.uid())::text, (select auth.role()));
    v_hash bytea := sha256(convert_to(p_request::text, 'UTF8'));
    v_known private.idempotency_keys;
begin
    delete from private.idempotency_keys as expired
    where expired.principal = v_principal and expired.route = p_route and expired.key = p_key
        and expired.created_at < now() - (
            select make_interval(hours => settings.idempotency_hours) from private.settings
        );
    -- A concurrent request with the same key waits here until the first transaction ends.
    insert into private.idempotency_keys (principal, route, key, request_hash)
    values (v_principal, p_route, p_key, v_hash)
    on conflict on constraint idempotency_keys_pkey do nothing;
    if found then
        return;
    end if;
    select * into v_known
    from private.idempotency_keys as known
    where known.principal = v_principal and known.route = p_route and known.key = p_key;
    if v_known.request_hash <> v_hash then
        perform private.fail(
            422, 'idempotency_key_reused', 'This key was already used for a different request. Use a new key.'
        );
    end if;
    status := v_known.status;
    body := v_known.body;
end
$$;
comment on function private.begin_idempotent(text, text, jsonb) is
'Takes the route, the key and the request. Returns the stored status and body, or nulls for a new key.
PT422 when the key was used for a different request.';

-- Definer, because callers may change only their own answers. The function checks the caller.
create function private.finish_idempotent(p_route text, p_key text, p_status integer, p_body text) returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update private.idempotency_keys as known
    set
        status = p_status,
        body = p_body,
        message_id = coalesce(p_body::jsonb #>> '{data,message_id}', p_body::jsonb #>> '{data,id}')::uuid
    where known.principal = coalesce((select auth.uid())::text, (select auth.role()))
        and known.route = p_route and known.key = p_key;
end
$$;
comment on function private.finish_idempotent(text, text, integer, text) is
'Stores the status and body of a first request under its key.';

-- Errors of /api/v2: which status, code and sentence a caller gets for an error of Postgres.
-- A code is public and stays; so a constraint has its code in a table and may be renamed.

create table private.constraint_codes (
    constraint_name text primary key,
    code text not null
);
comment on table private.constraint_codes is
'The public error code of each constraint that a caller of /api/v2 can violate.';
comment on column private.constraint_codes.code is 'Part of the API: it stays when the constraint gets another name.';
alter table private.constraint_codes enable row level security;
insert into private.constraint_codes (constraint_name, code) values
('messages_pkey', 'messages_pkey'),
('messages_content_length', 'messages_content_length'),
('messages_content_visible', 'messages_content_visible'),
('messages_content_type_length', 'messages_content_type_length'),
('messages_metadata_object', 'messages_metadata_object'),
('messages_metadata_size', 'messages_metadata_size'),
('messages_attachments_array', 'messages_attachments_array'),
('messages_attachments_size', 'messages_attachments_size'),
('messages_author_is_one', 'messages_author_is_one'),
('messages_channel_id_fkey', 'messages_channel_id_fkey'),
('messages_user_id_fkey', 'messages_user_id_fkey'),
('messages_ai_twin_id_fkey', 'messages_ai_twin_id_fkey'),
('messages_parent_message_id_fkey', 'messages_parent_message_id_fkey'),
('messages_thread_id_fkey', 'messages_thread_id_fkey'),
('message_edits_message_id_fkey', 'message_edits_message_id_fkey'),
('message_reactions_pkey', 'message_reactions_pkey'),
('message_reactions_once', 'message_reactions_once'),
('message_reactions_emoji_length', 'message_reactions_emoji_length'),
('message_reactions_emoji_printable', 'message_reactions_emoji_printable'),
('message_reactions_message_id_fkey', 'message_reactions_message_id_fkey'),
('message_reactions_channel_id_fkey', 'message_reactions_channel_id_fkey'),
('message_reactions_user_id_fkey', 'message_reactions_user_id_fkey'),
('message_pins_pkey', 'message_pins_pkey'),
('message_pins_message_id_fkey', 'message_pins_message_id_fkey'),
('message_pins_channel_id_fkey', 'message_pins_channel_id_fkey'),
('message_pins_pinned_by_fkey', 'message_pins_pinned_by_fkey'),
('attachments_pkey', 'attachments_pkey'),
('attachments_file_name_length', 'attachments_file_name_length'),
('attachments_file_name_printable', 'attachments_file_name_printable'),
('attachments_size_not_negative', 'attachments_size_not_negative'),
('attachments_channel_id_fkey', 'attachments_channel_id_fkey'),
('attachments_uploaded_by_fkey', 'attachments_uploaded_by_fkey'),
('twin_webhooks_pkey', 'twin_webhooks_pkey'),
('twin_webhooks_url_form', 'twin_webhooks_url_form'),
('twin_webhooks_url_length', 'twin_webhooks_url_length'),
('twin_webhooks_ai_twin_id_fkey', 'twin_webhooks_ai_twin_id_fkey'),
('workspaces_name_printable', 'workspaces_name_printable'),
('workspaces_home_country_form', 'workspaces_home_country_form'),
('workspaces_language_form', 'workspaces_language_form'),
('workspace_invitations_email_form', 'workspace_invitations_email_form');

-- Definer, because no client reads the tables of `private`.
create function private.render_failure(
    p_sqlstate text, p_message text, p_detail text, p_field text, p_constraint text,
    out status integer, out body text
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_code text := (
        select known.code from private.constraint_codes as known where known.constraint_name = p_constraint
    );
    v_message text;
begin
    -- Only texts of private.fail reach callers, because texts of Postgres name tables and values.
    if p_sqlstate ~ '^PT[1-5][0-9]{2}$' then
        status := substr(p_sqlstate, 3)::integer;
        v_code := coalesce(nullif(p_detail, ''), 'refused');
        v_message := p_message;
    elsif p_sqlstate = '42501' and p_detail in ('owner_required', 'workspace_member_required') then
        -- Our own texts, under the SQLSTATE of a failed policy.
        status := 403;
        v_code := p_detail;
        v_message := p_message;
    elsif p_sqlstate = '42501' then
        status := 403;
        v_code := 'forbidden';
        v_message := 'You do not have permission for this.';
    elsif p_sqlstate in ('23505', '23503') then
        status := 409;
        v_code := coalesce(v_code, 'conflict');
        v_message := 'Conflicts with existing data. Read the current state, then try again.';
    elsif p_sqlstate in ('23514', '23502') or p_sqlstate like '22%' then
        status := 400;
        v_code := coalesce(v_code, 'invalid_value');
        v_message := 'A value is not valid. Correct it, then try again.';
    end if;
    body := json_build_object(
        'success', false,
        'error', case
            when p_field = '' then json_build_object('code', v_code, 'message', v_message)
            else json_build_object('code', v_code, 'message', v_message, 'field', p_field)
        end,
        'meta', json_build_object('timestamp', private.format_time(now()))
    )::text;
end
$$;
comment on function private.render_failure(text, text, text, text, text) is
'Turns an error of Postgres into HTTP status and body. Takes what `get stacked diagnostics` says of it. The status is
null for errors that the caller did not cause: the service answers those itself.';

create function private.retry_after(p_status integer, p_code text, p_limits jsonb) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return case
        when p_code = 'rate_limited' then jsonb_build_object('retry-after', p_limits -> 'ratelimit-reset')
        when p_code in ('summary_budget_exhausted', 'project_summary_budget_exhausted') then
            jsonb_build_object('retry-after', ceil(extract(
                epoch from date_trunc('day', now(), 'UTC') + interval '24 hours' - now()
            ))::text)
        when p_status in (429, 503) then '{"retry-after": "5"}'
        else '{}'
    end;
end
$$;
comment on function private.retry_after(integer, text, jsonb) is
'The header Retry-After in seconds for a limit or an outage, as a JSON object; an empty object for other errors.
p_limits are the rate limit headers of the caller.';

-- Gone is gone: what was deleted, edited or erased leaves every place that repeats it.
-- Realtime replays broadcasts for three days, to later members too; keys of idempotent requests keep answers.

create function private.redact_broadcasts(p_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update realtime.messages as sent set payload = private.render_pointer(sent.payload)
    where sent.id = any(p_ids) and sent.extension = 'broadcast';
exception
    when others then
        perform private.report_lost_broadcast('redacted', sqlstate, sqlerrm);
end
$$;
comment on function private.redact_broadcasts(uuid[]) is
'Replaces what Realtime would replay by pointers. A failure is reported and harms no writer.';

-- Definer, because it also runs when Supabase Auth deletes a user, and no client changes these tables.
create function private.forget_messages(p_channel_ids uuid[], p_ids uuid[], p_seqs bigint[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    perform private.redact_broadcasts(array(
        select private.broadcast_id(created.channel_id, created.seq, listener.id)
        from unnest(p_channel_ids, p_seqs) as created (channel_id, seq)
        cross join lateral (
            select null::uuid as id
            union all
            select created.channel_id
            union all
            select assigned.ai_twin_id
            from public.channel_twins as assigned
            where assigned.channel_id = created.channel_id
        ) as listener
        union all
        select private.broadcast_id(event.channel_id, event.seq, listener.id)
        from public.message_events as event
        cross join lateral (values (null::uuid), (event.channel_id)) as listener (id)
        where event.message_id = any(p_ids) and event.kind <> 'message.created'
    ));
    -- What the model said of the channel may quote the text.
    delete from private.summaries as known where known.channel_id = any(p_channel_ids) and known.answer is not null;
end
$$;
comment on function private.forget_messages(uuid[], uuid[], bigint[]) is
'Removes the text of messages from broadcasts and summaries: channel, id and number of each.';

-- Definer, for the same reason.
create function private.forget_deleted_messages(p_channel_ids uuid[], p_ids uuid[], p_seqs bigint[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_files uuid[] := array(
        select file.attachment_id from private.message_files as file where file.message_id = any(p_ids)
    );
begin
    perform private.forget_messages(p_channel_ids, p_ids, p_seqs);
    update public.message_events as event set emoji = null
    where event.message_id = any(p_ids) and event.kind <> 'message.created' and event.emoji is not null;
    delete from public.message_edits as edit where edit.message_id = any(p_ids);
    delete from public.message_reactions as reaction where reaction.message_id = any(p_ids);
    delete from public.message_pins as pin where pin.message_id = any(p_ids);
    -- A repeated request gets what a read would get.
    update private.idempotency_keys as known
    set (status, body) = (
        select failure.status, failure.body
        from private.render_failure(
            'PT404', 'This message does not exist, or you may not see it.', 'message_not_found', '', ''
        ) as failure
    )
    where known.message_id = any(p_ids);
    delete from public.attachments as attachment
    where attachment.id = any(v_files)
        and not exists (
            select from private.message_files as used
            inner join public.messages as message on used.message_id = message.id
            where used.attachment_id = attachment.id and message.deleted_at is null
        );
end
$$;
comment on function private.forget_deleted_messages(uuid[], uuid[], bigint[]) is
'Removes all that is left of deleted messages: versions, reactions, pins, stored answers, and files that no other
message names.';

-- Definer, because no client changes what repeats a message.
create function private.forget_message_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.deleted_at is not null then
        perform private.forget_deleted_messages(array[new.channel_id], array[new.id], array[new.seq]);
    else
        perform private.forget_messages(array[new.channel_id], array[new.id], array[new.seq]);
        -- Members may read the earlier versions, but a repeated request shows the present one.
        update private.idempotency_keys as known
        set body = jsonb_set(known.body::jsonb, '{data,content}', to_jsonb(new.content))::text
        where known.message_id = new.id and known.body::jsonb #>> '{data,content}' is not null;
    end if;
    return null;
end
$$;
comment on function private.forget_message_trigger() is
'Forgets the text of a message that was edited or deleted.';

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.forget_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.forget_deleted_messages(
        array(select removed.channel_id from removed order by removed.id),
        array(select removed.id from removed order by removed.id),
        array(select removed.seq from removed order by removed.id)
    );
    return null;
end
$$;
comment on function private.forget_messages_trigger() is 'Forgets messages whose rows were deleted.';

-- Definer, because only the database sends to these topics.
create function private.redact_channel_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_channel_id uuid := (to_jsonb(old) ->> case tg_table_name when 'channels' then 'id' else 'channel_id' end)::uuid;
begin
    -- The newest 10,000 events, because older ones are hardly in the three days that Realtime keeps.
    perform private.redact_broadcasts(array(
        select private.broadcast_id(v_channel_id, event.seq, listener.id)
        from (
            select recent.seq, recent.kind
            from public.message_events as recent
            where recent.channel_id = v_channel_id
            order by recent.seq desc
            limit 10000
        ) as event
        cross join lateral (
            select own.id
            from (values (null::uuid), (v_channel_id)) as own (id)
            where tg_table_name = 'channels'
            union all
            select assigned.ai_twin_id
            from public.channel_twins as assigned
            where event.kind = 'message.created'
                and assigned.channel_id = v_channel_id
                and assigned.ai_twin_id = coalesce((to_jsonb(old) ->> 'ai_twin_id')::uuid, assigned.ai_twin_id)
        ) as listener
    ));
    return old;
end
$$;
comment on function private.redact_channel_trigger() is
'Redacts the broadcasts of a channel that is deleted, or those to a twin that leaves it.';

create function private.redact_conversations(p_ids text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    if p_ids = '{}' then
        return;
    end if;
    update realtime.messages as sent
    set payload = jsonb_build_object(
        'conversation', jsonb_build_object('id', sent.payload #> '{conversation,id}'), 'truncated', true
    )
    -- All inboxes, because the conversation may have had another owner.
    where sent.extension = 'broadcast' and sent.private and sent.topic ~ '^(inbox|workspace):'
        and sent.payload #>> '{conversation,id}' = any(p_ids);
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
end
$$;
comment on function private.redact_conversations(text[]) is
'Turns the broadcasts of conversations into pointers. A failure is reported and harms no writer.';

-- Definer, for the same reason.
create function private.redact_inbox_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids text[];
begin
    -- The old rows are conversations or messages of conversations.
    v_ids := array(select distinct coalesce(to_jsonb(gone) ->> 'conversation_id', to_jsonb(gone) ->> 'id') from gone);
    perform private.redact_conversations(v_ids);
    -- A summary may quote the text, also one that the model writes now.
    delete from private.summaries as known where known.conversation_id = any(v_ids::uuid[]);
    return null;
end
$$;
comment on function private.redact_inbox_trigger() is
'Redacts the broadcasts of conversations that were deleted or lost messages, and deletes their summaries.';

-- Definer, for the same reason.
create function private.redact_deleted_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids text[] := array(
        select distinct gone.conversation_id::text
        from gone
        inner join changed using (conversation_id, external_id, sender)
        where gone.deleted_at is null and changed.deleted_at is not null
    );
begin
    if v_ids <> '{}' then
        perform private.redact_conversations(v_ids);
        -- finish_summary refuses those that the model writes now.
        delete from private.summaries as known
        where known.conversation_id = any(v_ids::uuid[]) and known.answer is not null;
    end if;
    return null;
end
$$;
comment on function private.redact_deleted_messages_trigger() is
'Redacts the broadcasts of conversations in which a sender deleted a message, and deletes their summaries.';

-- Erasure, with a receipt: the right to be forgotten. This file erases people; 401_user_erasure erases users.
-- A receipt contains numbers and ids, never erased content.

create table public.erasures (
    id uuid primary key default gen_random_uuid(),
    kind text not null,
    subject_id uuid not null,
    requested_by uuid,
    request_id text,
    erased jsonb not null,
    created_at timestamptz not null default now(),
    constraint erasures_kind_known check (kind in ('person', 'user')),
    constraint erasures_erased_object check (jsonb_typeof(erased) = 'object')
);
comment on table public.erasures is
'Receipts of erasures: the erased id, the time, the requester and the number of rows. They contain no erased content.';
comment on column public.erasures.subject_id is 'The id of the erased person or user.';
comment on column public.erasures.requested_by is 'The user who requested the erasure; null for service_role.';
comment on column public.erasures.erased is 'The number of erased rows by kind.';
create index erasures_requested_by_idx on public.erasures (requested_by);
alter table public.erasures enable row level security;

create function private.create_receipt(p_kind text, p_subject_id uuid, p_erased jsonb) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_receipt public.erasures;
begin
    insert into public.erasures (kind, subject_id, requested_by, request_id, erased)
    values (p_kind, p_subject_id, (select auth.uid()), private.request_id(), p_erased)
    returning * into v_receipt;
    return jsonb_build_object(
        'id', v_receipt.id,
        'kind', v_receipt.kind,
        'subject_id', v_receipt.subject_id,
        'requested_by', v_receipt.requested_by,
        'erased', v_receipt.erased,
        'created_at', private.format_time(v_receipt.created_at)
    );
end
$$;
comment on function private.create_receipt(text, uuid, jsonb) is 'Stores a receipt and returns it as answers show it.';

create function private.delete_person(p_person_id uuid) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_deleted bigint;
begin
    with recursive entry as (
        select p_person_id as id
        union
        select person.id from entry inner join public.people as person on person.merged_into_id = entry.id
    ), removed as (
        delete from public.people as person where person.id in (select entry.id from entry) returning person.id
    )

    select count(*) into v_deleted from removed;
    return v_deleted;
end
$$;
comment on function private.delete_person(uuid) is
'Deletes a person and the entries that were merged into it. Returns how many there were.';

create function private.erase_from_groups(p_person_id uuid) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_groups uuid[] := array(
        select distinct own.conversation_id from private.group_participants as own where own.person_id = p_person_id
    );
    v_messages bigint;
    v_updates private.ingest_update[];
    v_ids uuid[];
begin
    -- A trigger removes their edits, which may name no sender.
    delete from public.conversation_messages as stored
    using private.group_participants as own
    where own.person_id = p_person_id
        and (stored.conversation_id, stored.sender) = (own.conversation_id, own.identifier);
    get diagnostics v_messages = row_count;
    delete from private.conversation_media as known
    using private.group_participants as own
    where own.person_id = p_person_id
        and (known.conversation_id, known.sender) = (own.conversation_id, own.identifier);
    delete from private.continued_messages as known
    using private.group_participants as own
    where own.person_id = p_person_id
        and (known.conversation_id, known.sender) = (own.conversation_id, own.identifier);
    delete from private.summaries as known where known.conversation_id = any(v_groups);
    with removed as (
        delete from public.conversation_updates as given
        using private.group_participants as own
        where own.person_id = p_person_id and given.conversation_id = own.conversation_id
            and own.identifier in (given.sender, given.actor)
        returning given.conversation_id, given.external_id, given.sender
    ), numbered as (
        select removed.*, row_number() over () as parent from removed
    )

    select
        coalesce(array_agg((
            numbered.parent, 0, numbered.external_id, numbered.sender, null, null, null, 0, null, null
        )::private.ingest_update order by numbered.parent), '{}'),
        coalesce(array_agg(numbered.conversation_id order by numbered.parent), '{}')
    into v_updates, v_ids
    from numbered;
    perform private.refresh_messages(v_updates, v_ids), private.forget_senders(p_person_id, v_groups);
    delete from private.group_participants as own where own.person_id = p_person_id;
    return jsonb_build_object('group_messages', v_messages, 'group_updates', cardinality(v_ids));
end
$$;
comment on function private.erase_from_groups(uuid) is
'Deletes what a person wrote in groups, the reactions and receipts, and the entries in their lists. Returns how many
messages and updates those were.';

create function private.forget_senders(p_person_id uuid, p_groups uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    update private.inbox_changes as log
    set senders = array(
        select case when own.identifier is null then given.sender else '' end
        from unnest(log.conversation_ids, log.senders) with ordinality as given (conversation_id, sender, position)
        left join private.group_participants as own
            on own.person_id = p_person_id
            and (own.conversation_id, own.identifier) = (given.conversation_id, given.sender)
        order by given.position
    )
    where log.workspace_id in (
        select conversation.workspace_id from public.conversations as conversation
        where conversation.id = any(p_groups)
    ) and log.conversation_ids && p_groups and log.senders is not null;
    perform private.redact_conversations(p_groups::text[]);
end
$$;
comment on function private.forget_senders(uuid, uuid[]) is
'Removes a person from the log and the broadcasts of these groups. The log keeps that a message changed.';

create function private.lock_erased_conversations(p_workspace_id uuid, p_person_id uuid, p_ids uuid[]) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- With the groups, in the order of ingest.
    perform from public.conversations as conversation
    where conversation.workspace_id = p_workspace_id and (
        conversation.person_id = p_person_id or conversation.id = any(p_ids) or conversation.id in (
            select own.conversation_id from private.group_participants as own where own.person_id = p_person_id
        )
    )
    order by conversation.id
    for update;
    return array(
        select conversation.id
        from public.conversations as conversation
        where conversation.workspace_id = p_workspace_id
            and (conversation.person_id = p_person_id or conversation.id = any(p_ids))
    );
end
$$;
comment on function private.lock_erased_conversations(uuid, uuid, uuid[]) is
'Locks the conversations and groups of a person and the named ones. Returns those to delete, which are not the groups.';

-- Definer, because users may not delete what ingest writes. The function checks who manages the workspace.
create function private.erase_person(p_person_id uuid, p_conversation_ids uuid[]) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_person public.people;
    v_conversations uuid[];
    v_messages bigint;
    v_people bigint;
    v_similar uuid[];
    v_from_groups jsonb;
begin
    select * into v_person
    from public.people as person
    where person.id = p_person_id
        and (
            (select private.is_service())
            or exists (select from private.my_managed_workspaces as mine where mine.id = person.workspace_id)
        );
    if v_person.id is null then
        perform private.fail(
            404, 'person_not_found', 'This person does not exist or is not yours. Check person_id.', 'person_id'
        );
    end if;
    -- The lock stops matching and ingest for this workspace, so the receipt counts exactly what is deleted.
    perform pg_advisory_xact_lock(private.matching_lock(v_person.workspace_id));
    if exists (
        select from unnest(p_conversation_ids) as named (id)
        where not exists (
            select from public.conversations as own where own.id = named.id and own.workspace_id = v_person.workspace_id
        )
    ) then
        perform private.fail(
            404, 'conversation_not_found',
            'A conversation does not exist or is not yours. Check conversation_ids.', 'conversation_ids'
        );
    end if;
    v_conversations := private.lock_erased_conversations(v_person.workspace_id, p_person_id, p_conversation_ids);
    select count(*) into v_messages
    from public.conversation_messages as stored
    where stored.conversation_id = any(v_conversations);
    delete from public.conversations as conversation where conversation.id = any(v_conversations);
    v_from_groups := private.erase_from_groups(p_person_id);
    v_people := private.delete_person(p_person_id);
    v_similar := array(
        select conversation.id
        from public.conversations as conversation
        where conversation.workspace_id = v_person.workspace_id
            and conversation.participant_key = 'phone:' || right(v_person.phone_digits, 6)
            and right(conversation.participant_digits, 10) = right(v_person.phone_digits, 10)
        order by conversation.id
    );
    perform private.record_audit(v_person.workspace_id, 'person.erased', p_person_id, '{}');
    return private.create_receipt('person', p_person_id, jsonb_build_object(
        'people', v_people, 'conversations', cardinality(v_conversations), 'conversation_messages', v_messages
    ) || v_from_groups) || jsonb_build_object('similar_conversation_ids', v_similar);
end
$$;
comment on function private.erase_person(uuid, uuid[]) is
'Deletes a person of the caller, the conversations matched to it and the named ones, and what it wrote in groups.
Returns the receipt with similar_conversation_ids: conversations that stay and share the last ten digits of the phone
number. PT404 if the person or a conversation is not the caller''s.';

create function public.erase_person(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.erase_person(
        private.parse_uuid($1, 'person_id'), private.parse_uuids($1, 'conversation_ids', 1000)
    ));
end
$$;
comment on function public.erase_person(jsonb) is
'Erases a person of the caller, the matched conversations and their messages, and what it wrote in groups, and returns
the receipt. Takes person_id
and conversation_ids, for conversations under usernames, which match no person. Data that the platform sends again is
stored again.';

-- Erasure of a user: what the user wrote, owns and is a member of.
-- Promise: channels and teams keep an owner, and no text or address of the user stays.

create table private.former_twin_messages (
    message_id uuid primary key references public.messages (id) on delete cascade,
    user_id uuid not null references auth.users (id) on delete cascade
);
comment on table private.former_twin_messages is
'Messages of deleted twins with the owner of the twin, so that erasing the owner also deletes these messages.';
create index former_twin_messages_user_id_idx on private.former_twin_messages (user_id);
alter table private.former_twin_messages enable row level security;

-- Definer, because no client writes here, and Supabase Auth fires this trigger when it deletes a user.
create function private.remember_twin_owner_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- If Supabase Auth deleted the owner, the join finds no row: messages stay, as they do for deleted users.
    insert into private.former_twin_messages (message_id, user_id)
    select said.id, owner.id
    from public.messages as said
    inner join auth.users as owner on owner.id = old.user_id
    where said.ai_twin_id = old.id;
    return old;
end
$$;
comment on function private.remember_twin_owner_trigger() is
'Trigger: records the owner of a deleted twin''s messages, so that erasing the owner deletes them.';

create function private.count_belongings(p_user_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'connections', (
            select count(*) from public.messaging_connections as connection where connection.workspace_id = p_user_id
        ),
        'people', (select count(*) from public.people as person where person.workspace_id = p_user_id),
        'conversations', (
            select count(*) from public.conversations as conversation where conversation.workspace_id = p_user_id
        ),
        'conversation_messages', (
            select coalesce(sum(conversation.message_count), 0)
            from public.conversations as conversation
            where conversation.workspace_id = p_user_id
        ),
        'twins', (select count(*) from public.ai_twins as twin where twin.user_id = p_user_id),
        'memberships', (select count(*) from public.channel_members as member where member.user_id = p_user_id),
        'reactions', (select count(*) from public.message_reactions as mark where mark.user_id = p_user_id)
    );
end
$$;
comment on function private.count_belongings(uuid) is
'The number of rows by kind that belong only to this user; those of teams stay.';

create function private.hand_over_channels(p_user_id uuid) returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count bigint;
begin
    update public.channel_members as heir set role = 'owner'
    where (heir.channel_id, heir.user_id) in (
        select distinct on (other.channel_id) other.channel_id, other.user_id
        from public.channel_members as mine
        inner join public.channel_members as other
            on mine.channel_id = other.channel_id and other.user_id <> p_user_id
        where mine.user_id = p_user_id and mine.role = 'owner'
            and not exists (
                select from public.channel_members as owner
                where owner.channel_id = mine.channel_id and owner.user_id <> p_user_id and owner.role = 'owner'
            )
            -- A guest inherits only a dm, or a channel of a workspace that goes with this user.
            and exists (
                select from public.channels as channel
                left join public.workspace_members as colleague
                    on channel.workspace_id = colleague.workspace_id and colleague.user_id = other.user_id
                where channel.id = other.channel_id and (
                    colleague.user_id is not null
                    or channel.kind = 'dm'
                    or private.find_heir(channel.workspace_id, p_user_id) is null
                )
            )
        order by other.channel_id, other.role <> 'admin', other.created_at, other.user_id
    );
    -- Only guests are left in these channels.
    insert into public.channel_members (channel_id, user_id, role)
    select channel.id, private.find_heir(channel.workspace_id, p_user_id), 'owner'
    from public.channel_members as mine
    inner join public.channels as channel on mine.channel_id = channel.id
    where mine.user_id = p_user_id and mine.role = 'owner' and channel.kind = 'channel'
        and private.find_heir(channel.workspace_id, p_user_id) is not null
        and exists (
            select from public.channel_members as other
            where other.channel_id = channel.id and other.user_id <> p_user_id
        )
        and not exists (
            select from public.channel_members as owner
            where owner.channel_id = channel.id and owner.user_id <> p_user_id and owner.role = 'owner'
        )
    on conflict (channel_id, user_id) do nothing;
    delete from public.channels as lonely
    where lonely.id in (select mine.channel_id from public.channel_members as mine where mine.user_id = p_user_id)
        and not exists (
            select from public.channel_members as other
            where other.channel_id = lonely.id and other.user_id <> p_user_id
        );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function private.hand_over_channels(uuid) is
'Gives each channel with this user as its only owner to the admin, or else the member, of the longest standing. In a
team, guests do not inherit: the heir of the workspace does. Deletes channels without other members and returns their
number.';

create function private.delete_addresses(p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_email text := (select lower(known.email) from auth.users as known where known.id = p_user_id);
begin
    delete from public.workspace_invitations as invitation
    where invitation.email = v_email and invitation.accepted_at is null;
    update public.workspace_invitations as invitation set email = null
    where invitation.email is not null and (invitation.email = v_email or invitation.accepted_by = p_user_id);
end
$$;
comment on function private.delete_addresses(uuid) is
'Deletes the invitations to the address of a user that were not accepted, and clears the address in all others.';

create function private.list_user_messages(p_user_id uuid) returns setof uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select said.id from public.messages as said where said.user_id = p_user_id
    union all
    select said.id
    from public.messages as said
    inner join public.ai_twins as twin on said.ai_twin_id = twin.id
    where twin.user_id = p_user_id
    union all
    select former.message_id from private.former_twin_messages as former where former.user_id = p_user_id;
end
$$;
comment on function private.list_user_messages(uuid) is
'Ids of the messages that a user and the user''s twins wrote, deleted twins included.';

create function private.delete_stored_answers(p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from private.idempotency_keys as known
    where known.principal = p_user_id::text
        or (
            -- Stored answers to the service contain what it wrote for the user.
            known.principal = 'service_role'
            and exists (
                select from (
                    select p_user_id
                    union all
                    select twin.id from public.ai_twins as twin where twin.user_id = p_user_id
                ) as author (id)
                where strpos(known.body, author.id::text) > 0
            )
        );
end
$$;
comment on function private.delete_stored_answers(uuid) is
'Deletes the stored answers to idempotent requests of a user, and those of the service that name the user or a twin of
theirs.';

create function private.audit_erasure(p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(member.workspace_id, 'user.erased', p_user_id, '{}')
    from public.workspace_members as member
    where member.user_id = p_user_id and member.workspace_id <> p_user_id;
end
$$;
comment on function private.audit_erasure(uuid) is
'Records in the teams of a user that the user is erased. Owners see the id and no content.';

-- Definer, because no role may write these tables. Only service_role may call it.
create function private.erase_user(p_user_id uuid) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_erased jsonb := private.count_belongings(p_user_id);
    v_channels uuid[] := array(
        select said.channel_id
        from public.messages as said
        where said.id in (select own.id from private.list_user_messages(p_user_id) as own (id))
        union
        select member.channel_id from public.channel_members as member where member.user_id = p_user_id
        union
        select file.channel_id from public.attachments as file where file.uploaded_by = p_user_id
    );
    v_count bigint;
    v_broadcasts uuid[];
begin
    if not exists (select from auth.users as known where known.id = p_user_id) then
        perform private.fail(404, 'user_not_found', 'This user does not exist. Check user_id.', 'user_id');
    end if;
    perform private.lock_channels(v_channels);
    v_erased := v_erased || jsonb_build_object('channels', private.hand_over_channels(p_user_id));
    -- A summary may contain what the user wrote.
    delete from private.summaries as known where known.channel_id = any(v_channels);
    get diagnostics v_count = row_count;
    v_erased := v_erased || jsonb_build_object('summaries', v_count);
    perform private.delete_stored_answers(p_user_id);
    perform private.delete_addresses(p_user_id);
    delete from public.messages as said
    where said.id in (select own.id from private.list_user_messages(p_user_id) as own (id));
    get diagnostics v_count = row_count;
    v_erased := v_erased || jsonb_build_object('messages', v_count);
    delete from public.attachments as file where file.uploaded_by = p_user_id;
    get diagnostics v_count = row_count;
    v_erased := v_erased || jsonb_build_object('files', v_count);
    delete from private.request_counts as counted where counted.user_id = p_user_id;
    perform private.audit_erasure(p_user_id);
    delete from public.channel_members as member where member.user_id = p_user_id;
    delete from auth.users as known where known.id = p_user_id;
    -- The log keeps its numbers without a gap but drops the actor, and so do broadcasts.
    with cleared as (
        update public.message_events as event set actor_id = null, emoji = null
        where event.actor_id = p_user_id
        returning event.channel_id, event.seq
    )

    select array_agg(private.broadcast_id(cleared.channel_id, cleared.seq, listener.id)) into v_broadcasts
    from cleared cross join lateral (values (null::uuid), (cleared.channel_id)) as listener (id);
    perform private.redact_broadcasts(v_broadcasts);
    return private.create_receipt('user', p_user_id, v_erased);
end
$$;
comment on function private.erase_user(uuid) is
'Deletes a user, the user''s rows, the messages of the user and the user''s twins, and the summaries of their channels.
Records an event for each deleted message. The sweeper removes the files from Storage. Returns the receipt; PT404 if the
user does not exist.';

create function public.erase_user(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.erase_user(private.parse_uuid($1, 'user_id')));
end
$$;
comment on function public.erase_user(jsonb) is
'For operators: erases a user with all rows, messages and files, and the summaries of the user''s channels. Takes
user_id; returns the receipt.';

-- Exports of a conversation or a channel, in pages.
-- Callers export what they may read; the cursor of a page leads to the next one.

-- Definer, because no client writes the audit log. It checks that the caller may read what is exported.
create function private.record_export(p_conversation_id uuid, p_channel_id uuid, p_is_later_page boolean)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(conversation.workspace_id, 'conversation.exported', conversation.id, '{}')
    from public.conversations as conversation
    where conversation.id = p_conversation_id
        and not (p_is_later_page and private.has_exported(conversation.workspace_id, conversation.id))
        and (
            private.is_service()
            or exists (select from private.my_workspaces as mine where mine.id = conversation.workspace_id)
        );
    perform private.record_audit(channel.workspace_id, 'channel.exported', channel.id, '{}')
    from public.channels as channel
    where channel.id = p_channel_id
        and not (p_is_later_page and private.has_exported(channel.workspace_id, channel.id))
        and (
            private.is_service()
            or exists (select from private.my_channels as mine where mine.id = channel.id)
        );
end
$$;
comment on function private.record_export(uuid, uuid, boolean) is
'Writes the audit line of an export of a conversation or a channel. A later page gets a line only if the caller has none
from the last hour, so a page with an invented cursor leaves a line too.';

create function private.has_exported(p_workspace_id uuid, p_subject_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from public.audit_log as line
        where line.workspace_id = p_workspace_id
            and line.at > now() - interval '1 hour'
            and line.subject_id = p_subject_id
            and line.action in ('channel.exported', 'conversation.exported')
            and line.actor_id is not distinct from private.acting_user_id()
    );
end
$$;
comment on function private.has_exported(uuid, uuid) is
'Whether the acting user has an audit line for an export of this conversation or channel in the last hour.';

create function public.export_conversation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_id uuid := private.parse_uuid($1, 'conversation_id');
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 500);
    v_after text := private.scalar_text($1, 'after');
    v_external_id text := '';
    v_at timestamptz := '-infinity'::timestamptz;
    v_sequence bigint := -9223372036854775808;
    v_received_at timestamptz := '-infinity'::timestamptz;
    v_lines jsonb;
    v_last text;
begin
    if not exists (select from public.conversations as conversation where conversation.id = v_id) then
        perform private.fail(
            404, 'conversation_not_found',
            'This conversation does not exist or is not yours. Check conversation_id.', 'conversation_id'
        );
    end if;
    if v_after is not null then
        select stored.sent_at, stored.sequence, stored.received_at, stored.external_id
        into v_at, v_sequence, v_received_at, v_external_id
        from public.conversation_messages as stored
        where stored.conversation_id = v_id
            and stored.external_id in (v_after, split_part(v_after, e'\x1f', 1))
            and stored.external_id || case stored.sender when '' then '' else e'\x1f' || stored.sender end = v_after;
        if not found then
            perform private.fail(
                400, 'invalid_cursor',
                'after names no message of this conversation. Use next_cursor of the page before.', 'after'
            );
        end if;
    end if;
    perform private.record_export(v_id, null, v_after is not null);
    select
        coalesce(jsonb_agg(
            page.message order by page.sent_at, page.sequence, page.received_at, page.external_id
        ), '[]'),
        (array_agg(
            page.external_id || case page.sender when '' then '' else e'\x1f' || page.sender end
            order by page.sent_at desc, page.sequence desc, page.received_at desc, page.external_id desc
        ))[1]
    into v_lines, v_last
    from (
        select
            stored.message, stored.sent_at, stored.sequence, stored.received_at, stored.external_id, stored.sender
        from public.conversation_messages as stored
        where stored.conversation_id = v_id
            and (stored.sent_at, stored.sequence, stored.received_at, stored.external_id)
            > (v_at, v_sequence, v_received_at, v_external_id)
        order by stored.sent_at, stored.sequence, stored.received_at, stored.external_id
        limit v_limit
    ) as page;
    return private.succeed(v_lines, jsonb_build_object(
        'next_cursor', case when jsonb_array_length(v_lines) = v_limit then v_last end
    ));
end
$$;
comment on function public.export_conversation(jsonb) is
'Returns messages of a conversation of the caller in their order. Takes conversation_id, limit (500, at most 1000) and
after (next_cursor of the page before, which is null on the last page). PT404, PT400.';

create function private.render_export(p_message_ids uuid[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- One statement for all messages evaluates each policy once.
    return (
        select coalesce(jsonb_agg(
            private.render_message(message, (
                select private.render_pin(pin.pinned_by, pin.pinned_at)
                from public.message_pins as pin
                where pin.message_id = message.id
            )) || jsonb_build_object(
                'seq', message.seq,
                'reactions', (
                    select coalesce(jsonb_agg(jsonb_build_object(
                        'emoji', mark.emoji, 'user_id', mark.user_id, 'created_at', private.format_time(mark.created_at)
                    ) order by mark.created_at, mark.id), '[]')
                    from public.message_reactions as mark
                    where mark.message_id = message.id
                ),
                'edits', (
                    select coalesce(jsonb_agg(jsonb_build_object(
                        'version', edit.version,
                        'content', edit.content,
                        'written_at', private.format_time(edit.written_at),
                        'replaced_at', private.format_time(edit.replaced_at)
                    ) order by edit.version), '[]')
                    from public.message_edits as edit
                    where edit.message_id = message.id
                )
            ) order by message.seq
        ), '[]')
        from public.messages as message
        where message.id = any(p_message_ids)
    );
end
$$;
comment on function private.render_export(uuid[]) is
'Renders messages, oldest first, with seq, pin, reactions and earlier versions.';

create function private.measure_messages(p_channel_id uuid, p_after bigint, p_limit integer)
returns table (id uuid, seq bigint, bytes bigint)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        said.id,
        said.seq,
        octet_length(said.content) + octet_length(said.metadata::text)
        + coalesce(octet_length(said.attachments::text), 0) + (
            select coalesce(sum(octet_length(edit.content)), 0)
            from public.message_edits as edit
            where edit.message_id = said.id
        )
    from public.messages as said
    where said.channel_id = p_channel_id and said.deleted_at is null and said.seq > p_after
    order by said.seq
    limit p_limit;
end
$$;
comment on function private.measure_messages(uuid, bigint, integer) is
'Messages of a channel after a seq, in order, with the approximate size of each in bytes, earlier versions included.';

create function public.export_channel(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_id uuid := private.parse_uuid($1, 'channel_id');
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 500);
    v_after bigint;
    v_lines jsonb;
    v_last bigint;
    v_has_more boolean;
begin
    -- Check the channel before the cursor, which would tell non-members which channel a message is in.
    perform private.require_channel(v_id);
    v_after := coalesce(private.find_cursor($1, 'after', v_id), 0);
    perform private.record_export(null, v_id, v_after > 0);
    select
        private.render_export(array_agg(page.id) filter (where page.is_in)),
        max(page.seq) filter (where page.is_in),
        count(*) = v_limit or not bool_and(page.is_in)
    into v_lines, v_last, v_has_more
    from (
        -- A page ends at 8 MB to bound memory, but has at least one message.
        select
            said.id, said.seq,
            row_number() over (order by said.seq) = 1 or sum(said.bytes) over (order by said.seq) <= 8000000 as is_in
        from private.measure_messages(v_id, v_after, v_limit) as said
    ) as page;
    return private.succeed(v_lines, jsonb_build_object(
        'next_cursor', case when v_has_more then 'seq_' || v_last end
    ));
end
$$;
comment on function public.export_channel(jsonb) is
'Returns messages of a channel of the caller, oldest first, with seq, reactions and edits. Takes channel_id, limit (500,
at most 1000; fewer when messages are large) and after (next_cursor of the page before; null on the last page).';

-- Retention: how long a workspace keeps its conversations and the messages of its channels.
-- Promise: no workspace holds up the retention of another.

create table private.retention_rounds (
    workspace_id uuid primary key references public.workspaces (id) on delete cascade,
    visited_at timestamptz not null,
    finished_at timestamptz
);
comment on table private.retention_rounds is
'When the clean-up last visited a workspace that has a retention, and when it last finished with it. It finishes with
each of them once a day.';
comment on column private.retention_rounds.finished_at is
'When the workspace last had nothing left to delete; null before that.';
alter table private.retention_rounds enable row level security;

create function private.delete_old_conversations(p_workspace_id uuid, p_before timestamptz, p_limit integer)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_conversations uuid[];
    v_count bigint;
begin
    -- Conversations before their messages, as ingest locks them.
    v_conversations := array(
        select conversation.id
        from public.conversations as conversation
        where conversation.workspace_id = p_workspace_id
            and exists (
                select from public.conversation_messages as stored
                where stored.conversation_id = conversation.id and stored.sent_at < p_before
            )
        order by conversation.id
        limit p_limit
        for no key update skip locked
    );
    delete from public.conversation_messages as stored
    where (stored.conversation_id, stored.external_id, stored.sender) in (
        select old.conversation_id, old.external_id, old.sender
        from public.conversation_messages as old
        where old.conversation_id = any(v_conversations) and old.sent_at < p_before
        limit p_limit
    );
    get diagnostics v_count = row_count;
    delete from private.conversation_media as known
    where known.conversation_id = any(v_conversations) and not exists (
        select from public.conversation_messages as stored
        where (stored.conversation_id, stored.external_id, stored.sender)
            = (known.conversation_id, known.external_id, known.sender)
    );
    delete from public.conversations as conversation
    where conversation.id = any(v_conversations)
        and conversation.message_count = 0 and conversation.created_at < p_before;
    return v_count;
end
$$;
comment on function private.delete_old_conversations(uuid, timestamptz, integer) is
'Deletes ingested messages of a workspace that were sent before a time, and conversations that become empty. Returns the
number of messages.';

create function private.delete_old_messages(p_workspace_id uuid, p_before timestamptz, p_limit integer)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channels uuid[];
    v_count bigint;
begin
    -- Skips a channel that another transaction holds: its owner must not stop the clean-up of all others.
    v_channels := array(
        select counter.channel_id
        from public.channels as channel
        inner join private.channel_counters as counter on channel.id = counter.channel_id
        where channel.workspace_id = p_workspace_id and (
            select oldest.created_at
            from public.messages as oldest
            where oldest.channel_id = counter.channel_id
            order by oldest.seq
            limit 1
        ) < p_before
        order by counter.channel_id
        limit p_limit
        for no key update of counter skip locked
    );
    -- Numbers rise with time, so the oldest messages of a channel need no index on time.
    delete from public.messages as message
    where message.id in (
        select oldest.id
        from unnest(v_channels) as channel (id)
        cross join lateral (
            select old.id, old.created_at
            from public.messages as old
            where old.channel_id = channel.id
            order by old.seq
            limit p_limit
        ) as oldest
        where oldest.created_at < p_before
        limit p_limit
    );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function private.delete_old_messages(uuid, timestamptz, integer) is
'Deletes messages of the channels of a workspace that were written before a time. Each one is an event of its channel.
Returns their number.';

create function private.delete_outdated(
    p_workspace public.workspaces, p_limit integer, out ingested bigint, out written bigint
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    -- A tenth of the messages of channels, because each of them is an event.
    v_limit integer := greatest(p_limit / 10, 1);
begin
    ingested := 0;
    written := 0;
    insert into private.retention_rounds as round (workspace_id, visited_at) values (p_workspace.id, now())
    on conflict (workspace_id) do update set visited_at = excluded.visited_at;
    -- A block of its own, because an error of one workspace must not end the round of all.
    begin
        if p_workspace.conversation_days is not null then
            ingested := private.delete_old_conversations(
                p_workspace.id, now() - make_interval(days => p_workspace.conversation_days), p_limit
            );
        end if;
        if p_workspace.channel_days is not null then
            written := private.delete_old_messages(
                p_workspace.id, now() - make_interval(days => p_workspace.channel_days), v_limit
            );
        end if;
        if ingested < p_limit and written < v_limit then
            update private.retention_rounds as round set finished_at = now()
            where round.workspace_id = p_workspace.id;
        end if;
    exception
        when others then
            ingested := 0;
            written := 0;
            raise warning 'Retention of workspace % failed with SQLSTATE %. A later round tries again.',
                p_workspace.id, sqlstate;
    end;
end
$$;
comment on function private.delete_outdated(public.workspaces, integer) is
'Deletes what one workspace no longer keeps: at most p_limit ingested messages and a tenth of that in messages of
channels. Returns both numbers. An error becomes a warning, and nothing of this workspace is deleted.';

create function private.delete_past_retention(p_limit integer) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspaces public.workspaces [] := array(
        select workspace
        from public.workspaces as workspace
        left join private.retention_rounds as round on workspace.id = round.workspace_id
        where (workspace.conversation_days is not null or workspace.channel_days is not null)
            and coalesce(round.finished_at, '-infinity') < now() - interval '1 day'
        order by round.visited_at nulls first, workspace.id
        limit least(100, greatest(p_limit / 10, 1))
    );
    v_workspace public.workspaces;
    v_deleted record;
    v_ingested bigint := 0;
    v_written bigint := 0;
begin
    foreach v_workspace in array v_workspaces loop
        v_deleted := private.delete_outdated(v_workspace, p_limit / cardinality(v_workspaces));
        v_ingested := v_ingested + v_deleted.ingested;
        v_written := v_written + v_deleted.written;
    end loop;
    return jsonb_build_object('conversation_messages', v_ingested, 'messages', v_written);
end
$$;
comment on function private.delete_past_retention(integer) is
'Deletes what workspaces no longer keep, each once a day. Takes at most p_limit ingested messages and a tenth of that in
messages of channels, in equal shares; the one that waited longest comes first. Returns the number of rows by kind.';

-- Clean-up: deletes expired rows in small rounds. Retention stands in private.settings.
-- Dead deliveries and receipts are kept. Events and changes of inboxes are kept unless the settings have a retention,
-- and messages unless the workspace has one.

create table private.clean_ups (
    is_only_row boolean primary key default true,
    finished_at timestamptz,
    removed jsonb not null default '{}',
    constraint clean_ups_has_one_row check (is_only_row)
);
comment on table private.clean_ups is 'The last round of private.clean_up. Always one row.';
comment on column private.clean_ups.finished_at is 'When the last round ended; null before the first round.';
comment on column private.clean_ups.removed is 'The number of removed rows by kind.';
alter table private.clean_ups enable row level security;

insert into private.clean_ups default values;

create function private.delete_expired(p_limit integer) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_removed jsonb := jsonb_build_object();
    v_settings private.settings := (select settings from private.settings);
    v_count bigint;
begin
    delete from private.idempotency_keys as expired
    where (expired.principal, expired.route, expired.key) in (
        select old.principal, old.route, old.key
        from private.idempotency_keys as old
        where old.created_at < now() - make_interval(hours => v_settings.idempotency_hours)
        order by old.created_at
        limit p_limit
        for update skip locked
    );
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('idempotency_keys', v_count);
    -- The table has at most one row per user, so a sequential scan is cheap.
    delete from private.request_counts as expired
    where expired.user_id in (
        select old.user_id
        from private.request_counts as old
        where old.minute < now() - interval '1 hour'
        limit p_limit
        for update skip locked
    );
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('request_counts', v_count);
    delete from private.messaging_keys as expired
    where expired.id in (
        select old.id
        from private.messaging_keys as old
        where old.expires_at < now() - make_interval(days => v_settings.ingest_log_days)
        limit p_limit
        for update skip locked
    );
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('messaging_keys', v_count);
    delete from private.twin_secrets as expired
    where expired.id in (
        select old.id
        from private.twin_secrets as old
        where old.expires_at < now() - make_interval(days => v_settings.twin_secret_days)
        limit p_limit
        for update skip locked
    );
    get diagnostics v_count = row_count;
    return v_removed || jsonb_build_object('twin_secrets', v_count);
end
$$;
comment on function private.delete_expired(integer) is
'Deletes expired idempotency keys, keys of connections and secrets of twins, and rate limit counts after an hour: at
most p_limit rows of each kind. Returns the number of rows by kind.';

create function private.delete_history(p_limit integer) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_removed jsonb := jsonb_build_object();
    v_settings private.settings := (select settings from private.settings);
    v_count bigint;
begin
    delete from public.twin_deliveries as expired
    where expired.id in (
        select old.id
        from public.twin_deliveries as old
        where old.state = 'delivered'
            and old.finished_at < now() - make_interval(days => v_settings.delivery_days)
        order by old.finished_at
        limit p_limit
        for update skip locked
    );
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('twin_deliveries', v_count);
    delete from private.summaries as expired
    where expired.id in (
        select old.id
        from private.summaries as old
        where coalesce(old.finished_at, old.lease_expires_at)
            < now() - make_interval(days => v_settings.summary_days)
        order by coalesce(old.finished_at, old.lease_expires_at)
        limit p_limit
        for update skip locked
    );
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('summaries', v_count);
    delete from public.user_events as expired
    where (expired.user_id, expired.seq) in (
        select old.user_id, old.seq
        from public.user_events as old
        where old.created_at < now() - make_interval(days => v_settings.user_event_days)
        limit p_limit
        for update skip locked
    );
    get diagnostics v_count = row_count;
    v_removed := v_removed || jsonb_build_object('user_events', v_count);
    -- Ids rise with time, so the log needs no index on time.
    delete from public.ingest_log as expired
    where expired.id in (
        select oldest.id
        from (select line.id, line.at from public.ingest_log as line order by line.id limit p_limit) as oldest
        where oldest.at < now() - make_interval(days => v_settings.ingest_log_days)
    );
    get diagnostics v_count = row_count;
    return v_removed || jsonb_build_object('ingest_log', v_count);
end
$$;
comment on function private.delete_history(integer) is
'Deletes old finished deliveries, summaries and lines of the ingest log: at most p_limit rows of each kind. Returns the
number of rows by kind.';

create function private.delete_old_events(p_before timestamptz, p_limit integer) returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count bigint;
begin
    delete from public.message_events as expired
    where (expired.channel_id, expired.seq) in (
        select old.channel_id, old.seq
        from public.message_events as old
        inner join private.channel_counters as counter on old.channel_id = counter.channel_id
        -- Keeps the last event, so that a page shows where the log begins.
        where old.created_at < p_before and old.seq < counter.last_seq
        limit p_limit
        for update of old skip locked
    );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function private.delete_old_events(timestamptz, integer) is
'Deletes at most p_limit events of channels that are older than p_before, and none without p_before. Returns their
number.';

create function private.delete_old_changes(p_before timestamptz, p_limit integer) returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count bigint;
begin
    with gone as (
        delete from private.inbox_changes as expired
        where expired.id in (
            -- Ids rise with time, so the log needs no index on time.
            select oldest.id
            from (select line.id, line.created_at from private.inbox_changes as line order by line.id limit p_limit)
                as oldest
            where oldest.created_at < p_before
                and not exists (select from private.word_backlog as waiting where waiting.change_id = oldest.id)
        )
        returning expired.workspace_id, expired.xid, expired.id, expired.conversation_ids
    ), start as (
        insert into private.inbox_log_starts as known (workspace_id, xid, id, place)
        select distinct on (last.workspace_id)
            last.workspace_id, last.xid, last.id,
            (select count(distinct changed.id) from unnest(last.conversation_ids) as changed (id))
        from gone as last
        order by last.workspace_id, last.xid desc, last.id desc
        on conflict on constraint inbox_log_starts_pkey do update
        set (xid, id, place) = (excluded.xid, excluded.id, excluded.place)
        where (known.xid, known.id) < (excluded.xid, excluded.id)
    )

    select count(*) into v_count from gone;
    return v_count;
end
$$;
comment on function private.delete_old_changes(timestamptz, integer) is
'Deletes at most p_limit changes of inboxes that are older than p_before, and none without p_before; those that search
has not indexed stay. Notes where the log of each workspace now begins. Returns their number.';

create function private.delete_logs(p_limit integer) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select jsonb_build_object(
            'message_events',
            private.delete_old_events(now() - make_interval(days => settings.channel_event_days), p_limit),
            'inbox_changes',
            private.delete_old_changes(now() - make_interval(days => settings.inbox_change_days), p_limit)
        )
        from private.settings
    );
end
$$;
comment on function private.delete_logs(integer) is
'Deletes old lines of the logs from which clients catch up, if the settings limit their age. Returns the number of rows
by kind.';

-- Definer, because no role may delete these rows.
create function private.clean_up(p_limit integer default 10000) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_removed jsonb := jsonb_build_object();
begin
    -- A second round at the same time would only wait for locks.
    perform from private.clean_ups as last where last.is_only_row for update skip locked;
    if not found then
        return v_removed;
    end if;
    perform private.settle_media(null, p_limit);
    v_removed := private.delete_expired(p_limit) || private.delete_history(p_limit) || private.delete_logs(p_limit)
        || private.delete_past_retention(p_limit);
    -- Sorts the newest messages into the search index, so that writers need not.
    perform gin_clean_pending_list('private.message_words_search_idx');
    -- Last, because it holds matching locks until the round ends.
    v_removed := v_removed || jsonb_build_object('late_matches', private.match_late_conversations(p_limit));
    update private.clean_ups as last
    set finished_at = clock_timestamp(), removed = v_removed
    where last.is_only_row;
    return v_removed;
end
$$;
comment on function private.clean_up(integer) is
'Runs one round: deletes at most p_limit expired rows of each kind. Returns the number of rows by kind, or {} while
another round runs.';

create function public.clean_up(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.clean_up(private.parse_integer($1, 'limit', 1, 100000, 10000)));
end
$$;
comment on function public.clean_up(jsonb) is
'For the service: runs one round of clean-up. Takes limit (rows of each kind, default 10000). Returns the number of
removed rows by kind.';

-- With pg_cron, as on Supabase, the database cleans up and indexes by itself. Without it, only the service does.
do $$
begin
    if exists (select from pg_available_extensions where name = 'pg_cron') then
        create extension if not exists pg_cron;
        perform cron.schedule('threadline_clean_up', '*/5 * * * *', 'select private.clean_up()');
        perform cron.schedule(
            'threadline_index', '* * * * *',
            'select private.index_conversations(1000), private.index_languages(2000)'
        );
    end if;
exception
    when others then
        raise notice 'pg_cron is not used: %', sqlerrm;
end
$$;

-- Metrics: gauges that the service adds to /metrics.
-- The service measures each gauge when Prometheus asks, so the queries must stay cheap.

create type private.metric as (
    name text,
    help text,
    labels jsonb,
    value double precision
);
comment on type private.metric is 'A Prometheus gauge: name, help text, labels as a JSON object, and value.';

create function private.measure_deliveries() returns setof private.metric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    return query
    select
        'threadline_twin_deliveries', 'Deliveries to twins that are not made yet, or never will be, by state.',
        jsonb_build_object('state', counted.state), counted.deliveries::double precision
    from (
        select
            count(*) filter (where pending.last_error is null),
            count(*) filter (where pending.last_error is not null)
        from public.twin_deliveries as pending
        where pending.state = 'pending'
    ) as queued (waiting, retrying)
    cross join lateral (
        values ('waiting', queued.waiting), ('retrying', queued.retrying), (
            'dead', (select count(*) from public.twin_deliveries as dead where dead.state = 'dead')
        )
    ) as counted (state, deliveries);
    return query
    select
        'threadline_twin_deliveries_in_last_hour', 'Deliveries that webhooks of twins took in the last hour.',
        jsonb_build_object(), count(*)::double precision
    from public.twin_deliveries as made
    where made.state = 'delivered' and made.finished_at > now() - interval '1 hour';
    return query
    select
        'threadline_twin_delivery_oldest_seconds', 'Age of the oldest delivery that is not made yet; 0 if all are.',
        jsonb_build_object(), coalesce(extract(epoch from now() - min(pending.created_at)), 0)::double precision
    from public.twin_deliveries as pending
    where pending.state = 'pending';
end
$$;
comment on function private.measure_deliveries() is
'Measures the outbox: deliveries by state, deliveries in the last hour, age of the oldest pending one in seconds.';

create function private.measure_database() returns setof private.metric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        'threadline_database_bytes', 'Size of the database on disk.',
        jsonb_build_object(), pg_database_size(current_database())::double precision;
    return query
    select
        'threadline_database_oldest_transaction_ids',
        'Transactions since the oldest one that is not frozen; Postgres stops writing at two billion.',
        jsonb_build_object(), age(own.datfrozenxid)::double precision
    from pg_database as own
    where own.datname = current_database();
    return query
    select
        'threadline_database_wal_held_bytes', 'Write-ahead log that a replication slot keeps from being removed.',
        jsonb_build_object('slot', slot.slot_name),
        pg_wal_lsn_diff(
            case when pg_is_in_recovery() then pg_last_wal_receive_lsn() else pg_current_wal_lsn() end, slot.restart_lsn
        )::double precision
    from pg_replication_slots as slot
    where slot.restart_lsn is not null;
    return query
    select
        'threadline_clean_up_age_seconds', 'Time since the last round of cleaning ended, or -1 if there was none.',
        jsonb_build_object(), coalesce(extract(epoch from now() - last.finished_at), -1)::double precision
    from private.clean_ups as last;
end
$$;
comment on function private.measure_database() is
'Measures the database: size in bytes, age of transaction ids, WAL held by slots, and seconds since clean-up.';

create function private.measure_media() returns setof private.metric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select measured.name, measured.help, jsonb_build_object(), measured.value::double precision
    from (
        select
            count(known.size), coalesce(sum(known.size), 0), count(*) filter (where known.size is null)
        from private.conversation_media as known
    ) as counted (files, bytes, waiting)
    cross join lateral (
        values
        ('threadline_media_files', 'Files of ingested messages that are stored.', counted.files),
        ('threadline_media_bytes', 'Bytes of the files of ingested messages.', counted.bytes),
        ('threadline_media_waiting', 'Files of ingested messages that callers have not uploaded.', counted.waiting)
    ) as measured (name, help, value);
end
$$;
comment on function private.measure_media() is
'Measures the files of ingested messages: number, bytes, and those that are not uploaded.';

create function private.measure_search() returns setof private.metric
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        'threadline_search_backlog_seconds',
        'Age of the oldest message of a conversation that search does not know; 0 if it knows all.',
        jsonb_build_object(), coalesce(extract(epoch from now() - min(noted.created_at)), 0)::double precision
    from private.word_backlog as noted;
    return query
    select
        'threadline_search_former_language_messages',
        'Messages that search still knows in a former language of their channel.',
        jsonb_build_object(), coalesce(sum(waiting.messages), 0)::double precision
    from private.language_backlog as waiting;
end
$$;
comment on function private.measure_search() is
'Measures how far the search index is behind ingest, in seconds, and behind changes of languages, in messages.';

create function public.read_metrics(jsonb) returns json
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed((
        select jsonb_agg(to_jsonb(measured))
        from (
            select * from private.measure_deliveries()
            union all
            select * from private.measure_database()
            union all
            select * from private.measure_media()
            union all
            select * from private.measure_search()
        ) as measured
    ));
end
$$;
comment on function public.read_metrics(jsonb) is
'For the service: returns an array of gauges, each with name, help, labels and value.';

-- Doctor: checks of the database that `threadline doctor` runs.
-- Each problem is one sentence that says what is wrong and what to do.

create function private.diagnose_login() returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select format('The database user %s cannot become %s; grant it that role.', session_user, needed.role)
    from unnest(array['anon', 'authenticated', 'service_role']) as needed (role)
    where not pg_has_role(session_user, needed.role, 'member')
    union all
    select format(
        'The database user %s may do more than the service needs (%s); give the service a login of its own.',
        session_user, string_agg(excess.what, ', ')
    )
    from (
        select unnest(array[
            case when login.rolsuper then 'superuser' end,
            case when login.rolbypassrls then 'bypassrls' end,
            case when login.rolcreaterole then 'createrole' end,
            case when login.rolcreatedb then 'createdb' end,
            case when login.rolreplication then 'replication' end
        ]) as what
        from pg_roles as login
        where login.rolname = session_user
        union all
        select 'can become ' || other.rolname
        from pg_roles as other
        where pg_has_role(session_user, other.oid, 'member')
            and other.rolname not in (session_user, 'anon', 'authenticated', 'service_role')
            -- A superuser can become every role; the first part already reports it.
            and not (select login.rolsuper from pg_roles as login where login.rolname = session_user)
    ) as excess
    where excess.what is not null
    having count(*) > 0
    union all
    select format(
        'The database user %s may not call private.call; grant usage on schema private and execute on it.',
        session_user
    )
    where not has_schema_privilege(session_user, 'private', 'usage')
        or not has_function_privilege(session_user, 'private.call(text, text, text, text, text, bytea)', 'execute');
end
$$;
comment on function private.diagnose_login() is
'Reports missing and excess rights of the login that asks.';

create function private.diagnose_tables() returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select format('Row-level security is off on %s.%s; enable it.', schema.nspname, class.relname)
    from pg_class as class
    inner join pg_namespace as schema on class.relnamespace = schema.oid
    where schema.nspname in ('public', 'private') and class.relkind in ('r', 'p') and not class.relrowsecurity
        -- Extensions manage their own tables.
        and not exists (
            select from pg_depend where classid = 'pg_class'::regclass and objid = class.oid and deptype = 'e'
        )
    union all
    select format('The trigger %s of %s is disabled; enable it.', tgname, tgrelid::regclass)
    from pg_trigger
    inner join pg_class as class on tgrelid = class.oid
    where not tgisinternal and tgenabled in ('D', 'R')
        and class.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
    union all
    select format('The index %s is not valid; run "reindex index %s".', indexrelid::regclass, indexrelid::regclass)
    from pg_index
    inner join pg_class as class on indexrelid = class.oid
    where not indisvalid and class.relnamespace in ('public'::regnamespace, 'private'::regnamespace)
    union all
    select 'Callers who have not signed in may use the schema private; revoke usage on it from public and anon.'
    where has_schema_privilege('anon', 'private', 'usage')
    union all
    select 'private.settings has lost its row; run "insert into private.settings default values".'
    where not exists (select from private.settings);
end
$$;
comment on function private.diagnose_tables() is
'Reports problems of tables in public and private: row-level security, triggers, indexes, settings.';

create function private.diagnose_platform() returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select format(
        'Search does not find messages of conversations since %s, because no process indexes them; run '
        'threadline serve or threadline work, or enable pg_cron.', private.format_time(behind.since)
    )
    from (select min(noted.created_at) as since from private.word_backlog as noted) as behind
    where behind.since < now() - interval '15 minutes'
    union all
    select format(
        'Search knows about %s messages in a former language of their channel, because no process indexes them again; '
        'run threadline serve or threadline work, or enable pg_cron.', behind.messages
    )
    from (
        select max(waiting.indexed_at) as last_at, sum(waiting.messages) as messages
        from private.language_backlog as waiting
    ) as behind
    where behind.last_at < now() - interval '15 minutes'
    union all
    select 'The Storage bucket "attachments" is missing, so uploads fail; create it as in the first migration.'
    where not exists (select from storage.buckets where id = 'attachments')
    union all
    select 'The Storage bucket "attachments" is public, so everyone can read its files; make it private.'
    from storage.buckets
    where id = 'attachments' and public
    union all
    select 'The publication supabase_realtime is missing, so clients receive no changes of tables; create it.'
    where not exists (select from pg_publication where pubname = 'supabase_realtime')
    union all
    select format(
        'The table public.%s is not in the publication supabase_realtime, so clients miss its changes; add it.',
        wanted.name
    )
    from unnest(array['conversations', 'messages', 'message_reactions']) as wanted (name)
    where exists (select from pg_publication where pubname = 'supabase_realtime')
        and not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = wanted.name
        )
    union all
    select 'Realtime has made no partition of realtime.messages yet, so broadcasts are lost; connect a client once.'
    from pg_class
    where oid = to_regclass('realtime.messages') and relkind = 'p'
        and not exists (select from pg_inherits where inhparent = pg_class.oid);
end
$$;
comment on function private.diagnose_platform() is
'Reports problems of Storage and Realtime that the database can see.';

create function private.diagnose_version(p_needed text) returns setof text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select format(
        'The database has schema version %s and the service needs %s; '
        'run "threadline add" and "npx supabase@3 db push --remote".',
        private.schema_version(), p_needed
    )
    where private.schema_version() < p_needed
    union all
    select format(
        'The database has schema version %s, newer than %s of the service; upgrade the service.',
        private.schema_version(), p_needed
    )
    where private.schema_version() > p_needed;
end
$$;
comment on function private.diagnose_version(text) is
'Reports a schema that is older or newer than the service needs.';

-- Definer, because the service may not read the buckets.
create function private.diagnose(p_version text, p_now timestamptz) returns setof text
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select private.diagnose_version(p_version)
    union all
    select private.diagnose_login()
    union all
    select private.diagnose_tables()
    union all
    select private.diagnose_platform()
    union all
    -- Token checks allow the same 30 seconds (api/threadline/tokens.py).
    select format(
        'The clocks of the service and of the database are %s seconds apart; set the time.',
        round(abs(extract(epoch from clock_timestamp() - p_now)))
    )
    where abs(extract(epoch from clock_timestamp() - p_now)) > 30;
end
$$;
comment on function private.diagnose(text, timestamptz) is
'Returns one sentence for each problem of this database; no rows without problems. p_version is the schema version
that the service needs; p_now is the clock of the service.';

-- The gateway: one statement per request, through which the service calls a function as its caller. It counts the
-- request, replays an answer under an idempotency key, and turns every failure into an answer.

create table private.calls (
    function_name text primary key,
    schema_name text not null,
    is_counted boolean not null,
    is_paged boolean not null,
    takes_idempotency_key boolean not null,
    constraint calls_schema_known check (schema_name in ('public', 'private'))
);
comment on table private.calls is
'The functions that the gateway calls, beside messaging_ingest: each takes one JSON object and answers one.';
comment on column private.calls.schema_name is
'private for functions that only the service may reach: clients of the Data API cannot call them.';
comment on column private.calls.is_counted is
'Whether the call counts against the rate limit. The second half of an upload does not: an upload is one request.';
comment on column private.calls.is_paged is
'Whether the service makes several calls for one request: then a call with the parameter `after`, which names what came
before it, is not counted again.';
comment on column private.calls.takes_idempotency_key is
'Whether the header Idempotency-Key makes a repeated request get the first answer.';
alter table private.calls enable row level security;
insert into private.calls (function_name, schema_name, is_counted, is_paged, takes_idempotency_key) values
('create_message', 'public', true, false, true),
('reply_to_message', 'public', true, false, true),
('list_messages', 'public', true, false, false),
('search_messages', 'public', true, false, false),
('search_conversations', 'public', true, false, false),
('separate_conversation', 'public', true, false, false),
('index_conversations', 'public', true, false, false),
('list_inbox_changes', 'public', true, false, false),
('get_message', 'public', true, false, false),
('edit_message', 'public', true, false, false),
('list_message_edits', 'public', true, false, false),
('delete_message', 'public', true, false, false),
('pin_message', 'public', true, false, false),
('unpin_message', 'public', true, false, false),
('toggle_reaction', 'public', true, false, true),
('add_reaction', 'public', true, false, false),
('remove_reaction', 'public', true, false, false),
('list_channel_events', 'public', true, false, false),
('list_my_channels', 'private', true, false, false),
('list_conversations', 'private', true, false, false),
('list_workspaces', 'private', true, false, false),
('create_workspace', 'private', true, false, false),
('get_workspace', 'private', true, false, false),
('update_workspace', 'private', true, false, false),
('delete_workspace', 'private', true, false, false),
('list_workspace_members', 'private', true, false, false),
('set_member_role', 'private', true, false, false),
('remove_workspace_member', 'private', true, false, false),
('create_invitation', 'private', true, false, false),
('list_invitations', 'private', true, false, false),
('revoke_invitation', 'private', true, false, false),
('list_my_invitations', 'private', true, false, false),
('accept_invitation', 'private', true, false, false),
('mark_read', 'private', true, false, false),
('open_direct', 'private', true, false, false),
('list_user_events', 'private', true, false, false),
('set_twin_webhook', 'public', true, false, false),
('remove_twin_webhook', 'public', true, false, false),
('rotate_twin_secret', 'public', true, false, false),
('list_twin_deliveries', 'public', true, false, false),
('replay_twin_deliveries', 'public', true, false, false),
('admit_upload', 'private', true, false, false),
('begin_upload', 'public', true, true, false),
('finish_upload', 'private', false, false, false),
('get_attachment', 'public', true, false, false),
('sweep_attachments', 'public', true, false, false),
('begin_summary', 'private', true, false, false),
('begin_conversation_summary', 'private', true, false, false),
('finish_summary', 'private', true, false, false),
('poll_summary', 'private', true, false, false),
('claim_deliveries', 'public', true, false, false),
('finish_delivery', 'public', true, false, false),
('export_conversation', 'public', true, true, false),
('export_channel', 'public', true, true, false),
('merge_people', 'public', true, false, false),
('unmerge_people', 'public', true, false, false),
('change_number', 'public', true, false, false),
('undo_number_change', 'public', true, false, false),
('erase_person', 'public', true, false, false),
('erase_user', 'public', true, false, false),
('clean_up', 'public', true, false, false),
('read_metrics', 'public', true, false, false),
('spend_failed_request', 'private', true, false, false);

-- Definer, because clients do not read the table of calls.
create function private.find_call(
    p_function text,
    out schema_name text, out is_counted boolean, out is_paged boolean, out takes_idempotency_key boolean
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select known.schema_name, known.is_counted and not private.is_service(), known.is_paged, known.takes_idempotency_key
    into schema_name, is_counted, is_paged, takes_idempotency_key
    from private.calls as known
    where known.function_name = p_function;
end
$$;
comment on function private.find_call(text) is
'How the gateway treats a call of the caller; nulls for an unknown function.';

create function private.call_idempotent(
    p_function text, p_schema text, p_key text, p_request jsonb,
    out status integer, out headers jsonb, out body text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    headers := '{}';
    if p_key is not null then
        if char_length(p_key) not between 1 and 255 then
            perform private.fail(
                400, 'invalid_idempotency_key', 'Idempotency-Key must have 1 to 255 characters. Send a shorter one.'
            );
        end if;
        select known.status, known.body into status, body
        from private.begin_idempotent(p_function, p_key, p_request) as known;
        if status is not null then
            headers := '{"idempotent-replayed": "true"}';
            return;
        end if;
    end if;
    if p_function = 'create_message' then
        -- Static, because it is called most: Postgres keeps its plan. Its rights do not depend on the role, since both
        -- roles that reach this line may execute it.
        body := public.create_message(p_request);
    else
        -- Dynamic, so that Postgres plans the call and checks its rights under the role that the gateway has set.
        execute format('select %I.%I($1)', p_schema, p_function) into body using p_request;
    end if;
    status := coalesce(nullif(current_setting('response.status', true), '')::integer, 200);
    if p_key is not null then
        perform private.finish_idempotent(p_function, p_key, status, body);
    end if;
end
$$;
comment on function private.call_idempotent(text, text, text, jsonb) is
'Runs a function, or answers what it answered before under the same Idempotency-Key. Without a key it just runs.';

create function private.call_api(
    p_function text, p_headers jsonb, p_parameters jsonb, p_body bytea,
    out status integer, out headers jsonb, out body text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    c_limited constant text := 'Too many requests in this minute. Wait as long as Retry-After says.';
    v_call record := private.find_call(p_function);
    v_count record;
    v_limits jsonb := jsonb_build_object();
    v_answer record;
    v_sqlstate text;
    v_message text;
    v_detail text;
    v_field text;
    v_constraint text;
begin
    if v_call.schema_name is null then
        raise undefined_function using message = 'The gateway knows no such function. Add it to private.calls.';
    elsif v_call.is_paged and p_parameters ? 'after' then
        v_call.is_counted := false;
    end if;
    begin
        if v_call.is_counted and private.is_used_up() then
            perform private.fail(429, 'rate_limited', c_limited);
        end if;
        v_answer := private.call_idempotent(
            p_function, v_call.schema_name,
            case when v_call.takes_idempotency_key then p_headers ->> 'idempotency-key' end,
            private.parse_object(p_body) || p_parameters
        );
        if v_call.is_counted then
            v_count := private.spend_request();
            v_limits := v_count.headers;
            if not v_count.is_granted then
                perform private.fail(429, 'rate_limited', c_limited);
            end if;
        end if;
        status := v_answer.status;
        headers := v_limits || v_answer.headers;
        body := v_answer.body;
    exception
        when others then
            get stacked diagnostics
                v_sqlstate = returned_sqlstate, v_message = message_text, v_detail = pg_exception_detail,
                v_field = column_name, v_constraint = constraint_name;
            if v_call.is_counted then
                -- The failure has undone the count too, so it is spent again here. The limit comes before other errors.
                v_count := private.spend_request();
                v_limits := v_count.headers;
                if not v_count.is_granted then
                    select 'PT429', c_limited, 'rate_limited', '' into v_sqlstate, v_message, v_detail, v_field;
                end if;
            end if;
            select failure.status, failure.body into status, body
            from private.render_failure(v_sqlstate, v_message, v_detail, v_field, v_constraint) as failure;
            if status is null then
                raise;
            end if;
            headers := private.retry_after(status, v_detail, v_limits) || v_limits;
    end;
end
$$;
comment on function private.call_api(text, jsonb, jsonb, bytea) is
'Runs a call of /api/v2 and then counts it. A call above the limit is undone and answered 429. Errors of the caller
become answers; other errors are raised.';

create function private.create_plain_message(p_body bytea, out status integer, out headers jsonb, out body text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_request jsonb;
    v_message public.messages;
    v_count record;
begin
    v_request := convert_from(p_body, 'UTF8')::jsonb;
    if v_request - '{channel_id,user_id,content,metadata}'::text[] <> '{}'
        or jsonb_typeof(v_request -> 'content') <> 'string'
        or v_request ->> 'user_id' <> auth.uid()::text
        -- Postgres also reads other forms of a UUID.
        or lower(v_request ->> 'channel_id') <> (v_request ->> 'channel_id')::uuid::text
        or private.is_used_up()
    then
        return;
    end if;
    insert into public.messages (channel_id, user_id, content, metadata)
    values (
        (v_request ->> 'channel_id')::uuid, auth.uid(), v_request ->> 'content', coalesce(v_request -> 'metadata', '{}')
    )
    returning * into v_message;
    v_count := private.spend_request();
    if v_count.is_granted then
        headers := v_count.headers;
        body := private.render_created(v_message);
        status := 201;
    else
        -- Undoes the message.
        perform private.fail(429, 'rate_limited', '');
    end if;
exception
    when others then
        if sqlstate !~ '^(PT|22|23|42501|54)' then
            raise;
        end if;
end
$$;
comment on function private.create_plain_message(bytea) is
'Creates a message of a user that has only plain fields, without the parsers and tables of private.call_api. For any
other request, or an error of the caller, returns nulls and changes nothing; private.call_api then answers.';

-- Invoker, because Postgres allows no change of role inside a definer function. It makes the settings that PostgREST
-- makes, so a function cannot tell which of the two called it.
create function private.call(
    p_function text, p_role text, p_claims text, p_headers text, p_parameters text, p_body bytea,
    out status integer, out headers text, out body text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_claims json := p_claims::json;
    v_answer record;
begin
    if coalesce(p_role, '') not in ('anon', 'authenticated', 'service_role') then
        raise insufficient_privilege using message = 'The gateway does not act for this role.';
    end if;
    -- An assignment, because PERFORM would start an executor (decision 0007). The answer takes its place.
    body := concat(
        set_config('request.jwt.claims', p_claims, true),
        -- auth.uid() and auth.role() read these first, and so do not parse the claims each time.
        set_config('request.jwt.claim.sub', coalesce(v_claims ->> 'sub', ''), true),
        set_config('request.jwt.claim.role', coalesce(v_claims ->> 'role', ''), true),
        set_config('request.headers', p_headers, true),
        -- Shows in pg_stat_activity and, by %a in log_line_prefix, in every line that Postgres logs of this request.
        set_config('application_name', concat_ws('/', 'threadline', p_headers::json ->> 'x-request-id'), true),
        set_config('response.status', '', true),
        set_config('role', p_role, true)
    );
    if p_function = 'create_message' and p_role = 'authenticated' and p_parameters = '{}'
        and strpos(p_headers, 'idempotency-key') = 0
    then
        v_answer := private.create_plain_message(p_body);
        status := v_answer.status;
    end if;
    if status is not null then
        headers := v_answer.headers;
        body := v_answer.body;
    elsif p_function = 'messaging_ingest' then
        -- Ingest has its own envelope, takes the raw body and counts no requests.
        if p_role = 'service_role' then
            -- Static, so that Postgres keeps its plan.
            body := public.messaging_ingest(p_body);
        else
            -- Dynamic, so that Postgres checks the rights of this role.
            execute 'select public.messaging_ingest($1)' into body using p_body;
        end if;
        status := coalesce(nullif(current_setting('response.status', true), '')::integer, 200);
        headers := '{}';
    else
        v_answer := private.call_api(
            p_function, p_headers::jsonb, private.parse_json(convert_to(p_parameters, 'UTF8')), p_body
        );
        status := v_answer.status;
        headers := v_answer.headers;
        body := v_answer.body;
    end if;
end
$$;
comment on function private.call(text, text, text, text, text, bytea) is
'Calls messaging_ingest or a function of private.calls as p_role. Claims, headers and parameters (of path and query) are
JSON objects. Answers the HTTP status, the headers as a JSON object, and the body. Only the login role of the service
may call it, and it becomes only roles that it was granted.';

-- Calls of the Data API with named arguments, which clients and their types need; each has a JSON form too. This file
-- has the calls for messages and events.
-- PostgREST calls the function whose arguments fit the keys of the request, and otherwise the one with a single JSON
-- argument.

create function public.create_message(
    channel_id uuid, content text, content_type text default null, parent_message_id uuid default null,
    metadata jsonb default null, attachments jsonb default null, conversation_id uuid default null,
    user_id uuid default null, ai_twin_id uuid default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.create_message(jsonb_build_object(
        'channel_id', create_message.channel_id, 'content', create_message.content,
        'content_type', create_message.content_type, 'parent_message_id', create_message.parent_message_id,
        'metadata', create_message.metadata, 'attachments', create_message.attachments,
        'conversation_id', create_message.conversation_id, 'user_id', create_message.user_id,
        'ai_twin_id', create_message.ai_twin_id
    ));
end
$$;
comment on function public.create_message(uuid, text, text, uuid, jsonb, jsonb, uuid, uuid, uuid) is
'Creates a message in a channel, as the caller or as a twin of the caller. Returns the message.';

create function public.reply_to_message(
    id uuid, content text, content_type text default null, metadata jsonb default null,
    attachments jsonb default null, conversation_id uuid default null, user_id uuid default null,
    ai_twin_id uuid default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.reply_to_message(jsonb_build_object(
        'id', reply_to_message.id, 'content', reply_to_message.content,
        'content_type', reply_to_message.content_type, 'metadata', reply_to_message.metadata,
        'attachments', reply_to_message.attachments, 'conversation_id', reply_to_message.conversation_id,
        'user_id', reply_to_message.user_id, 'ai_twin_id', reply_to_message.ai_twin_id
    ));
end
$$;
comment on function public.reply_to_message(uuid, text, text, jsonb, jsonb, uuid, uuid, uuid) is
'Replies to the message id, in its thread. Returns the reply.';

create function public.list_messages(
    channel_id uuid, thread_id uuid default null, roots_only boolean default null, "limit" integer default null,
    "offset" integer default null, before text default null, after text default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_messages(jsonb_build_object(
        'channel_id', list_messages.channel_id, 'thread_id', list_messages.thread_id,
        'roots_only', list_messages.roots_only, 'limit', list_messages."limit", 'offset', list_messages."offset",
        'before', list_messages.before, 'after', list_messages.after
    ));
end
$$;
comment on function public.list_messages(uuid, uuid, boolean, integer, integer, text, text) is
'Lists messages of a channel, newest first, with authors, reactions and threads: all messages, only those that are not
replies (roots_only), or those of one thread. limit is 1 to 200, default 50; before and after take a message id or
meta.next_cursor. The first page has last_seq and topic in meta, to follow the channel from there.';

create function public.search_messages(
    query text, channel_id uuid default null, "limit" integer default null, "offset" integer default null,
    prefix boolean default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.search_messages(jsonb_build_object(
        'query', search_messages.query, 'channel_id', search_messages.channel_id, 'limit', search_messages."limit",
        'offset', search_messages."offset", 'prefix', search_messages.prefix
    ));
end
$$;
comment on function public.search_messages(text, uuid, integer, integer, boolean) is
'Finds messages of the caller''s channels, the best first. Considers the newest 1,000 that fit. limit is 1 to 100,
default 20. With prefix, the last word may be unfinished, for a search while the user types.';

create function public.get_message(id uuid) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.get_message(jsonb_build_object('id', get_message.id));
end
$$;
comment on function public.get_message(uuid) is
'Returns a message as list_messages shows it, with reaction_count.';

create function public.list_message_edits(id uuid) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_message_edits(jsonb_build_object('id', list_message_edits.id));
end
$$;
comment on function public.list_message_edits(uuid) is
'Lists the earlier versions of a message, the first one first.';

create function public.edit_message(id uuid, content text, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.edit_message(jsonb_build_object(
        'id', edit_message.id, 'content', edit_message.content, 'user_id', edit_message.user_id
    ));
end
$$;
comment on function public.edit_message(uuid, text, uuid) is
'Changes the text of a message of the caller or of a twin of the caller, and keeps the old text. Returns the message.';

create function public.delete_message(id uuid, admin boolean default null, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.delete_message(jsonb_build_object(
        'id', delete_message.id, 'admin', delete_message.admin, 'user_id', delete_message.user_id
    ));
end
$$;
comment on function public.delete_message(uuid, boolean, uuid) is
'Deletes a message of the caller or of a twin of the caller; with admin, owners and admins of the channel and admins of
the application delete any message. Returns id and deleted_at.';

create function public.pin_message(id uuid, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.pin_message(jsonb_build_object('id', pin_message.id, 'user_id', pin_message.user_id));
end
$$;
comment on function public.pin_message(uuid, uuid) is
'Pins a message; a second pin changes nothing. Returns the message with its pin in metadata.';

create function public.unpin_message(id uuid, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.unpin_message(jsonb_build_object('id', unpin_message.id, 'user_id', unpin_message.user_id));
end
$$;
comment on function public.unpin_message(uuid, uuid) is
'Removes the pin of a message, if it has one. Returns the message.';

create function public.toggle_reaction(id uuid, emoji text, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.toggle_reaction(jsonb_build_object(
        'id', toggle_reaction.id, 'emoji', toggle_reaction.emoji, 'user_id', toggle_reaction.user_id
    ));
end
$$;
comment on function public.toggle_reaction(uuid, text, uuid) is
'Adds a reaction of the caller, or removes it if it exists. emoji is one emoji or a name. meta.action says what
happened.';

create function public.add_reaction(id uuid, emoji text, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.add_reaction(jsonb_build_object(
        'id', add_reaction.id, 'emoji', add_reaction.emoji, 'user_id', add_reaction.user_id
    ));
end
$$;
comment on function public.add_reaction(uuid, text, uuid) is
'Adds a reaction of the caller. Safe to repeat.';

create function public.remove_reaction(id uuid, emoji text, user_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.remove_reaction(jsonb_build_object(
        'id', remove_reaction.id, 'emoji', remove_reaction.emoji, 'user_id', remove_reaction.user_id
    ));
end
$$;
comment on function public.remove_reaction(uuid, text, uuid) is
'Removes a reaction of the caller. Safe to repeat.';

create function public.list_channel_events(
    channel_id uuid, since bigint default null, "limit" integer default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_channel_events(jsonb_build_object(
        'channel_id', list_channel_events.channel_id, 'since', list_channel_events.since,
        'limit', list_channel_events."limit"
    ));
end
$$;
comment on function public.list_channel_events(uuid, bigint, integer) is
'Lists the events of a channel after the number since (default 0), in order, as event and payload like a broadcast.
limit is 1 to 1000, default 200. meta.last_seq is the since of the next page; meta.has_more says whether it has
events. meta.is_incomplete says that events before this page were deleted: then read the channel again.';

-- Like 810_named_messages, for files, twins, exports, people and operators.

create function public.begin_upload(
    conversation_id uuid, files jsonb, conversation_type text default null, workspace_id uuid default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.begin_upload(jsonb_build_object(
        'conversation_id', begin_upload.conversation_id, 'files', begin_upload.files,
        'conversation_type', begin_upload.conversation_type, 'workspace_id', begin_upload.workspace_id
    ));
end
$$;
comment on function public.begin_upload(uuid, jsonb, text, uuid) is
'First half of an upload to the channel conversation_id: files is an array of objects with name. Returns the id and path
that each file is to have in the bucket attachments.';

create function public.finish_upload(
    conversation_id uuid, files jsonb, conversation_type text default null, workspace_id uuid default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.finish_upload(jsonb_build_object(
        'conversation_id', finish_upload.conversation_id, 'files', finish_upload.files,
        'conversation_type', finish_upload.conversation_type, 'workspace_id', finish_upload.workspace_id
    ));
end
$$;
comment on function public.finish_upload(uuid, jsonb, text, uuid) is
'Second half of an upload, once Storage has the files: files is an array of objects with id and name. Safe to repeat.';

create function public.get_attachment(id uuid) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.get_attachment(jsonb_build_object('id', get_attachment.id));
end
$$;
comment on function public.get_attachment(uuid) is
'Returns the facts of an uploaded file, with its path in the bucket attachments.';

create function public.set_twin_webhook(ai_twin_id uuid, url text) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.set_twin_webhook(jsonb_build_object(
        'ai_twin_id', set_twin_webhook.ai_twin_id, 'url', set_twin_webhook.url
    ));
end
$$;
comment on function public.set_twin_webhook(uuid, text) is
'Sets the webhook of a twin of the caller. The first answer has the secret that signs deliveries, shown only once.';

create function public.rotate_twin_secret(ai_twin_id uuid, overlap_hours integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.rotate_twin_secret(jsonb_build_object(
        'ai_twin_id', rotate_twin_secret.ai_twin_id, 'overlap_hours', rotate_twin_secret.overlap_hours
    ));
end
$$;
comment on function public.rotate_twin_secret(uuid, integer) is
'Makes a new secret for the webhook of a twin of the caller. Earlier ones also sign until the overlap ends: 0 to 720
hours, default 24.';

create function public.remove_twin_webhook(ai_twin_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.remove_twin_webhook(jsonb_build_object('ai_twin_id', remove_twin_webhook.ai_twin_id));
end
$$;
comment on function public.remove_twin_webhook(uuid) is
'Removes the webhook of a twin of the caller, its secrets and its deliveries.';

create function public.list_twin_deliveries(
    ai_twin_id uuid, state text default null, "limit" integer default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_twin_deliveries(jsonb_build_object(
        'ai_twin_id', list_twin_deliveries.ai_twin_id, 'state', list_twin_deliveries.state,
        'limit', list_twin_deliveries."limit"
    ));
end
$$;
comment on function public.list_twin_deliveries(uuid, text, integer) is
'Lists the deliveries to a twin of the caller, newest first. state is pending, delivered or dead; without it, the list
has all states. limit is 1 to 200, default 50.';

create function public.replay_twin_deliveries(ai_twin_id uuid, id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.replay_twin_deliveries(jsonb_build_object(
        'ai_twin_id', replay_twin_deliveries.ai_twin_id, 'id', replay_twin_deliveries.id
    ));
end
$$;
comment on function public.replay_twin_deliveries(uuid, uuid) is
'Sends the dead deliveries to a twin of the caller again, or only the one with this id.';

create function public.export_conversation(
    conversation_id uuid, "limit" integer default null, after text default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.export_conversation(jsonb_build_object(
        'conversation_id', export_conversation.conversation_id, 'limit', export_conversation."limit",
        'after', export_conversation.after
    ));
end
$$;
comment on function public.export_conversation(uuid, integer, text) is
'Returns messages of a conversation of the caller in their order. limit is at most 1000, default 500; after is
meta.next_cursor of the page before.';

create function public.export_channel(
    channel_id uuid, "limit" integer default null, after text default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.export_channel(jsonb_build_object(
        'channel_id', export_channel.channel_id, 'limit', export_channel."limit", 'after', export_channel.after
    ));
end
$$;
comment on function public.export_channel(uuid, integer, text) is
'Returns messages of a channel of the caller, oldest first, with reactions and edits. limit is at most 1000, default
500; after is meta.next_cursor of the page before.';

create function public.merge_people(person_id uuid, merged_person_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.merge_people(jsonb_build_object(
        'person_id', merge_people.person_id, 'merged_person_id', merge_people.merged_person_id
    ));
end
$$;
comment on function public.merge_people(uuid, uuid) is
'Makes merged_person_id the same person as person_id: conversations of both match person_id. unmerge_people undoes it.';

create function public.unmerge_people(person_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.unmerge_people(jsonb_build_object('person_id', unmerge_people.person_id));
end
$$;
comment on function public.unmerge_people(uuid) is
'Undoes the merge of person_id into another person.';

create function public.change_number(person_id uuid, phone text) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.change_number(jsonb_build_object(
        'person_id', change_number.person_id, 'phone', change_number.phone
    ));
end
$$;
comment on function public.change_number(uuid, text) is
'Gives person_id the number phone and keeps the former one, so that conversations of both match.';

create function public.undo_number_change(person_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.undo_number_change(jsonb_build_object('person_id', undo_number_change.person_id));
end
$$;
comment on function public.undo_number_change(uuid) is
'Undoes the last change_number of person_id.';

create function public.erase_person(person_id uuid, conversation_ids uuid[] default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.erase_person(jsonb_build_object(
        'person_id', erase_person.person_id, 'conversation_ids', erase_person.conversation_ids
    ));
end
$$;
comment on function public.erase_person(uuid, uuid[]) is
'Erases a person of the caller, the matched conversations, and those of conversation_ids, with their messages. Returns
the receipt.';

create function public.erase_user(user_id uuid) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.erase_user(jsonb_build_object('user_id', erase_user.user_id));
end
$$;
comment on function public.erase_user(uuid) is
'For operators: erases a user with all rows, messages and files. Returns the receipt.';

create function public.claim_deliveries("limit" integer default null, lease_seconds integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.claim_deliveries(jsonb_build_object(
        'limit', claim_deliveries."limit", 'lease_seconds', claim_deliveries.lease_seconds
    ));
end
$$;
comment on function public.claim_deliveries(integer, integer) is
'For workers: leases deliveries to webhooks and returns id, lease, url, headers and body of each. limit is 1 to 1000,
default 10; lease_seconds is 1 to 3600, default 60.';

create function public.finish_delivery(
    id uuid, lease uuid, status integer default null, error text default null
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.finish_delivery(jsonb_build_object(
        'id', finish_delivery.id, 'lease', finish_delivery.lease, 'status', finish_delivery.status,
        'error', finish_delivery.error
    ));
end
$$;
comment on function public.finish_delivery(uuid, uuid, integer, text) is
'For workers: stores the result of a delivery. status is the answer of the webhook; error is null if it succeeded.
Returns its state.';

create function public.clean_up("limit" integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.clean_up(jsonb_build_object('limit', clean_up."limit"));
end
$$;
comment on function public.clean_up(integer) is
'For the service: runs one round of clean-up of at most limit rows of each kind, default 10000. Returns the number of
removed rows by kind.';

create function public.sweep_attachments("limit" integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.sweep_attachments(jsonb_build_object('limit', sweep_attachments."limit"));
end
$$;
comment on function public.sweep_attachments(integer) is
'For sweepers: deletes rows of old files that no message names, and returns paths in the bucket attachments without a
row.';

create function public.read_metrics() returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.read_metrics('{}'::jsonb);
end
$$;
comment on function public.read_metrics() is
'For the service: returns an array of gauges, each with name, help, labels and value.';

-- Like 810_named_messages, for conversations.

create function public.list_inbox_changes(
    workspace_id uuid default null, since text default null, "limit" integer default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.list_inbox_changes(jsonb_build_object(
        'workspace_id', list_inbox_changes.workspace_id, 'since', list_inbox_changes.since,
        'limit', list_inbox_changes."limit"
    ));
end
$$;
comment on function public.list_inbox_changes(uuid, text, integer) is
'Lists every change of the caller''s conversations after the cursor since, oldest first, in all workspaces or in
workspace_id. limit is 1 to 100 conversations, default 100. Without since, it returns the cursor of now and no
changes.';

create function public.search_conversations(
    query text, conversation_id uuid default null, "limit" integer default null, "offset" integer default null
) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.search_conversations(jsonb_build_object(
        'query', search_conversations.query, 'conversation_id', search_conversations.conversation_id,
        'limit', search_conversations."limit", 'offset', search_conversations."offset"
    ));
end
$$;
comment on function public.search_conversations(text, uuid, integer, integer) is
'Finds messages of the caller''s conversations, the best first. Considers the newest 1,000 that fit. limit is 1 to 100,
default 20.';

create function public.separate_conversation(conversation_id uuid, external_conversation_id text default null)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.separate_conversation(jsonb_build_object(
        'conversation_id', separate_conversation.conversation_id,
        'external_conversation_id', separate_conversation.external_conversation_id
    ));
end
$$;
comment on function public.separate_conversation(uuid, text) is
'Undoes continues: the conversation that was joined last with conversation_id, or the one named
external_conversation_id, is its own again.';

create function public.index_conversations("limit" integer default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return public.index_conversations(jsonb_build_object('limit', index_conversations."limit"));
end
$$;
comment on function public.index_conversations(integer) is
'For the service: indexes messages of conversations for search. limit is 1 to 1000 rows of the backlog, default 100.
Returns how many it took (indexed), and how many messages of channels it indexed in a new language (reindexed)';

-- What planner statistics tell clients: nothing. Docs: docs/explanation/security.md.
-- Postgres estimates rows from all rows of a table, also from those that a policy hides, and the Data API shows the
-- estimates (Prefer: count=planned or estimated, and the plan media type).

create function private.is_executed() returns boolean
language plpgsql
-- Not really immutable: only then does Postgres ask while it plans, and estimate no rows for the answer false.
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_headers text := coalesce(current_setting('request.headers', true), '');
    v_callers text;
begin
    if v_headers = '' then
        return true;
    elsif strpos(v_headers, 'count=') > 0 and v_headers::json ->> 'prefer' ~ 'count=(planned|estimated)' then
        perform private.fail(
            403, 'plan_refused', 'Estimates could show data of other users. Send Prefer: count=exact instead.'
        );
    elsif current_query() !~* '^\s*explain\M' then
        return true;
    end if;
    -- Also reads the text of the query, because the setting has only one of several Prefer headers.
    -- A function that Postgres calls while it plans keeps its plans, so they must return rows.
    get diagnostics v_callers = pg_context;
    if strpos(v_callers, e'\n') > 0 then
        return true;
    elsif current_query() !~ '^EXPLAIN \(FORMAT JSON\) SELECT 1 ' then
        -- The plan media type also shows costs, which depend on statistics even if no row is expected.
        perform private.fail(403, 'plan_refused', 'Plans could show data of other users. Read them as postgres.');
    end if;
    return false;
end
$$;
comment on function private.is_executed() is
'Whether the query that is being planned will also run. PT403 for a request of the Data API that asks for an estimate or
a plan; false for an estimate that hides among several headers.';

do $$
declare
    v_table regclass;
    v_part record;
begin
    foreach v_table in array array[
        'public.ai_twins',
        'public.attachments',
        'public.audit_log',
        'public.channel_members',
        'public.channel_twins',
        'public.channels',
        'public.conversation_identifiers',
        'public.conversation_messages',
        'public.conversation_reads',
        'public.conversation_updates',
        'public.conversations',
        'public.erasures',
        'public.ingest_log',
        'public.member_states',
        'public.message_edits',
        'public.message_events',
        'public.message_mentions',
        'public.message_pins',
        'public.message_reactions',
        'public.messages',
        'public.messaging_connections',
        'public.people',
        'public.person_identifiers',
        'public.twin_deliveries',
        'public.twin_webhooks',
        'public.user_events',
        'public.user_profiles',
        'public.workspace_invitations',
        'public.workspace_members',
        'public.workspaces'
    ]::regclass[] loop
        -- No statistics of names, numbers, addresses and contents, for SQL that reaches Postgres in other ways.
        -- The few words of a list stay, because plans use how many rows have each. An index on an expression has
        -- statistics of its own, and numbers for names.
        for v_part in
            select
                case relation.relkind when 'i' then 'index' else 'table' end as kind,
                relation.oid::regclass as name,
                case relation.relkind when 'i' then part.attnum::text else quote_ident(part.attname) end as part
            from pg_attribute as part
            inner join pg_class as relation on part.attrelid = relation.oid
            left join pg_index as indexed on relation.oid = indexed.indexrelid
            where coalesce(indexed.indrelid, relation.oid) = v_table
                and relation.relkind in ('r', 'i')
                and part.attnum > 0
                and part.atttypid <> all('{uuid, timestamptz, bigint, integer, boolean}'::regtype[])
                and part.attname not in ('kind', 'platform', 'role', 'state')
                and coalesce(indexed.indkey[part.attnum - 1] = 0, true)
        loop
            execute format('alter %s %s alter column %s set statistics 0', v_part.kind, v_part.name, v_part.part);
        end loop;
    end loop;
end
$$;

-- Every trigger, table by table, in firing order, each table headed by its story.
-- Postgres fires the triggers of one event in the order of their names. So a name is the table, a number and a word:
-- the number is the order. BEFORE triggers run first, AFTER triggers next, deferred ones at the end of the transaction.

-- auth.users: a user signs up, or is deleted.
-- The profile starts with what Supabase Auth knows. Before a user goes, 30 passes on what belongs to teams.
create trigger threadline_10_create_profile
after insert on auth.users
for each row execute function private.create_user_profile_trigger();
create trigger threadline_20_create_workspace
after insert on auth.users
for each row execute function private.create_personal_workspace_trigger();
create trigger threadline_30_hand_over
before delete on auth.users
for each row execute function private.hand_over_user_trigger();

-- Triggers named refuse stop statements of clients; the error names the function to call.
-- workspaces: a workspace changes. Only an owner changes how long messages are kept.
create trigger workspaces_10_refuse
before insert on public.workspaces
for each statement execute function private.refuse_statement_trigger('create_workspace');
create trigger workspaces_10_stamp
before update on public.workspaces
for each row execute function private.set_updated_at_trigger();
create trigger workspaces_20_protect_retention
before update on public.workspaces
for each row when (
    (old.conversation_days, old.channel_days) is distinct from (new.conversation_days, new.channel_days)
)
execute function private.protect_retention_trigger();
create trigger workspaces_30_audit
after update on public.workspaces
for each row when (
    (old.conversation_days, old.channel_days) is distinct from (new.conversation_days, new.channel_days)
)
execute function private.audit_retention_trigger();

-- Numbers without a country are read in the home country.
create trigger workspaces_40_reread_numbers
after update of home_country on public.workspaces
for each row when (old.home_country is distinct from new.home_country)
execute function private.reread_numbers_trigger();

create trigger workspaces_50_set_language
after update of language on public.workspaces
for each row when (old.language is distinct from new.language)
execute function private.set_workspace_language_trigger();
-- The log has no foreign key, which would cost one query for each request.
create trigger workspaces_60_forget_changes
after delete on public.workspaces
referencing old table as gone
for each statement execute function private.forget_inbox_changes_trigger();

-- workspace_members: a member changes role or leaves. Only owners make, change or remove owners, and one stays.
create trigger workspace_members_10_protect_owners
before update or delete on public.workspace_members
for each row execute function private.protect_workspace_owners_trigger();
create trigger workspace_members_10_refuse
before insert on public.workspace_members
for each statement execute function private.refuse_statement_trigger('create_invitation');
create trigger workspace_members_20_audit
after insert or delete on public.workspace_members
for each row execute function private.audit_member_trigger();
create trigger workspace_members_21_audit
after update on public.workspace_members
for each row when (
    (old.workspace_id, old.user_id, old.role) is distinct from (new.workspace_id, new.user_id, new.role)
)
execute function private.audit_member_trigger();
-- After 20: the log says that the member left, then who became owner.
create trigger workspace_members_30_hand_over
after delete on public.workspace_members
for each row execute function private.hand_over_member_trigger();
create trigger workspace_members_35_seal
after delete on public.workspace_members
for each row execute function private.seal_workspace_trigger();
-- After 30, which locks counters of channels: they come before counters of users.
create trigger workspace_members_40_tell
after insert or delete on public.workspace_members
for each row execute function private.record_workspace_membership_trigger();
create trigger workspace_members_41_tell
after update on public.workspace_members
for each row when (old.role <> new.role) execute function private.record_workspace_membership_trigger();

-- workspace_invitations: a user is invited, and told.
create trigger workspace_invitations_10_refuse
before insert on public.workspace_invitations
for each statement execute function private.refuse_statement_trigger('create_invitation');
create trigger workspace_invitations_10_tell
after insert on public.workspace_invitations
for each row when (new.email is not null) execute function private.record_invitation_trigger();
create trigger workspace_invitations_11_refuse
before update or delete on public.workspace_invitations
for each statement execute function private.refuse_statement_trigger('revoke_invitation');

-- user_events: an event of a user is recorded. Realtime gets it at once, since its numbers are locked until the commit.
create trigger user_events_10_broadcast
after insert on public.user_events
referencing new table as changed
for each statement execute function private.broadcast_user_events_trigger();

-- user_profiles: a profile changes.
create trigger user_profiles_10_stamp
before update on public.user_profiles
for each row execute function private.set_updated_at_trigger();

-- people: a user adds, renumbers or deletes a person: the conversations with that number are matched again.
-- Takes the lock of the user's matching before any row, so that ingest and this change do not deadlock.
-- A person that names no workspace gets the personal one of its user.
create trigger people_10_assign_workspace
before insert on public.people
for each row when (new.workspace_id is null) execute function private.set_workspace_trigger();
create trigger people_10_lock_matching
before update on public.people
for each statement execute function private.lock_matching_trigger();
create trigger people_20_lock_matching
before delete on public.people
for each statement execute function private.lock_matching_trigger();
create trigger people_30_stamp
before update on public.people
for each row execute function private.set_updated_at_trigger();
create trigger people_40_refresh
after insert on public.people
referencing new table as changed
for each statement execute function private.refresh_people_trigger();
create trigger people_50_refresh
after update on public.people
referencing old table as removed new table as changed
for each statement execute function private.refresh_changed_people_trigger();
create trigger people_60_refresh
after delete on public.people
referencing old table as changed
for each statement execute function private.refresh_people_trigger();

-- person_identifiers: a user adds or removes an identifier of a person.
create trigger person_identifiers_10_lock_matching
before insert or delete on public.person_identifiers
for each statement execute function private.lock_matching_trigger();
create trigger person_identifiers_20_normalize
before insert or update on public.person_identifiers
for each row execute function private.normalize_identifier_trigger();
create trigger person_identifiers_30_refresh
after insert on public.person_identifiers
referencing new table as changed
for each statement execute function private.refresh_identifiers_trigger();
create trigger person_identifiers_40_refresh
after delete on public.person_identifiers
referencing old table as changed
for each statement execute function private.refresh_identifiers_trigger();

-- settings: numbers without a country are read in another one.
create trigger settings_10_reread_numbers
after update of default_country on private.settings
for each row when (old.default_country is distinct from new.default_country)
execute function private.reread_numbers_trigger();

create trigger settings_20_set_language
after update of default_language on private.settings
for each row when (old.default_language <> new.default_language)
execute function private.set_default_language_trigger();

-- messaging_connections: a connection changes or goes.
create trigger messaging_connections_10_assign_workspace
before insert on public.messaging_connections
for each row when (new.workspace_id is null) execute function private.set_workspace_trigger();
create trigger messaging_connections_10_stamp
before update on public.messaging_connections
for each row execute function private.set_updated_at_trigger();
create trigger messaging_connections_11_audit
after insert or delete on public.messaging_connections
for each row execute function private.audit_connection_trigger();
-- The log has no foreign key (140_ingest_log).
create trigger messaging_connections_20_delete_log
after delete on public.messaging_connections
referencing old table as removed
for each statement execute function private.delete_ingest_log_trigger();

-- conversations: ingest writes a conversation, and it is matched to a person. At the end of the transaction its owner's
-- inbox gets one broadcast.
create trigger conversations_10_assign_workspace
before insert on public.conversations
for each row when (new.workspace_id is null or new.scope_id is null)
execute function private.set_conversation_workspace_trigger();
-- Ingest matches the participants of a request at once (create_conversations).
create trigger conversations_10_match
before insert on public.conversations
for each row when (current_setting('threadline.is_matched', true) is distinct from 'on')
execute function private.match_participant_trigger();
create trigger conversations_20_match
before update of participant_identifier, kind on public.conversations
for each row when (
    (old.participant_identifier, old.kind) is distinct from (new.participant_identifier, new.kind)
)
execute function private.match_participant_trigger();
create trigger conversations_25_keep_identifier
after update of participant_identifier on public.conversations
for each row when (old.participant_identifier is distinct from new.participant_identifier)
execute function private.record_earlier_identifier_trigger();
create trigger conversations_30_stamp
before update on public.conversations
for each row execute function private.set_updated_at_trigger();
-- The messages have no foreign key (decision 0006).
create trigger conversations_40_delete_messages
after delete on public.conversations
referencing old table as removed
for each statement execute function private.delete_conversation_messages_trigger();
create trigger conversations_41_redact
after delete on public.conversations
referencing old table as gone
for each statement execute function private.redact_inbox_trigger();
create trigger conversations_42_note
after delete on public.conversations
referencing old table as gone
for each statement execute function private.note_gone_conversations_trigger();
-- 50 and 60 wait for the end of the transaction, because messages may follow. Ingest broadcasts its changes itself.
create constraint trigger conversations_50_broadcast
after insert on public.conversations
deferrable initially deferred
for each row when (current_setting('threadline.is_ingesting', true) is distinct from 'on')
execute function private.broadcast_conversation_trigger();
create constraint trigger conversations_60_broadcast
after update on public.conversations
deferrable initially deferred
for each row when (
    (old.participant_identifier, old.participant_name, old.person_id)
    is distinct from (new.participant_identifier, new.participant_name, new.person_id)
    and current_setting('threadline.is_ingesting', true) is distinct from 'on'
)
execute function private.broadcast_conversation_trigger();

-- group_participants: a change of people also changes the people of participants.
create trigger group_participants_10_broadcast
after update on private.group_participants
referencing old table as gone new table as changed
for each statement execute function private.broadcast_group_participants_trigger();

-- conversation_identifiers: ingest learns more about a participant.
create trigger conversation_identifiers_10_match
after insert on public.conversation_identifiers
referencing new table as changed
for each statement execute function private.rematch_identified_trigger();

-- conversation_messages: ingest adds messages: counters and preview of the conversation first, then the broadcast
-- that shows them. Ingest creates conversations with the summary of their first messages, which 11 only checks.
create trigger conversation_messages_10_summarize
after insert on public.conversation_messages
referencing new table as changed
for each statement when (current_setting('threadline.is_summarized', true) is distinct from 'on')
execute function private.summarize_conversations_trigger();
create trigger conversation_messages_11_check
after insert on public.conversation_messages
referencing new table as changed
for each statement when (current_setting('threadline.is_summarized', true) = 'on')
execute function private.check_conversations_trigger();
-- After 10: it sends the row that 10 has updated.
create trigger conversation_messages_20_broadcast
after insert on public.conversation_messages
referencing new table as changed
for each statement execute function private.broadcast_ingested_messages_trigger();
create trigger conversation_messages_25_note
after insert on public.conversation_messages
referencing new table as changed
for each statement execute function private.note_ingested_trigger();
create trigger conversation_messages_30_summarize
after delete on public.conversation_messages
referencing old table as changed
for each statement execute function private.summarize_conversations_trigger();
create trigger conversation_messages_40_redact
after delete on public.conversation_messages
referencing old table as gone
for each statement execute function private.redact_inbox_trigger();
create trigger conversation_messages_45_forget
after delete on public.conversation_messages
referencing old table as gone
for each statement execute function private.forget_ingested_trigger();
-- Updates change messages.
create trigger conversation_messages_50_summarize
after update on public.conversation_messages
referencing new table as changed
for each statement execute function private.summarize_conversations_trigger();
-- Before 70, which sends what is left of a deleted message.
create trigger conversation_messages_60_redact
after update on public.conversation_messages
referencing old table as gone new table as changed
for each statement execute function private.redact_deleted_messages_trigger();
create trigger conversation_messages_65_change
after update on public.conversation_messages
referencing old table as gone new table as changed
for each statement execute function private.change_ingested_trigger();
-- After 50: it sends the row that 50 has updated.
create trigger conversation_messages_70_broadcast
after update on public.conversation_messages
referencing new table as changed
for each statement execute function private.broadcast_updated_messages_trigger();

-- conversation_words: a message leaves the search index.
create trigger conversation_words_10_delete_words
after delete on private.conversation_words
referencing old table as removed
for each statement execute function private.delete_conversation_words_trigger();

-- channels: a user makes a channel and becomes its first owner. A direct channel has none.
create trigger channels_10_assign_workspace
before insert on public.channels
for each row when (new.workspace_id is null) execute function private.set_channel_workspace_trigger();
create trigger channels_10_stamp
before update on public.channels
for each row execute function private.set_updated_at_trigger();
create trigger channels_12_reject_direct
before insert on public.channels
for each row when (new.kind = 'dm') execute function private.reject_direct_channel_trigger();
-- Before 30: the owner joins, and that is the first event of the channel.
create trigger channels_20_create_counter
after insert on public.channels
for each row execute function private.create_channel_counter_trigger();
create trigger channels_30_add_owner
after insert on public.channels
for each row when (new.direct_key is null) execute function private.add_channel_owner_trigger();
create trigger channels_35_tell
after update of name on public.channels
for each row when (old.name is distinct from new.name) execute function private.record_renaming_trigger();

create trigger channels_36_set_language
after insert or update of language, workspace_id on public.channels
for each row execute function private.set_channel_language_trigger();

-- Before the delete, while the log still numbers the broadcasts. 38 locks the channel for both.
create trigger channels_38_tell_deletion
before delete on public.channels
for each row execute function private.broadcast_channel_deletion_trigger();
create trigger channels_40_redact
before delete on public.channels
for each row execute function private.redact_channel_trigger();
create trigger channels_45_forget_name
after delete on public.channels
for each row execute function private.forget_channel_name_trigger();

-- channel_members: a member joins, changes role or leaves.
-- Before: 10 checks the rights of the caller, 20 keeps one owner.
-- The people of a direct channel stay: 11 and 12. 13 locks the channel before the cascade deletes the state of the
-- member.
-- After: the twins of a member who left are removed, the log gets an event, and so does the member. A change of
-- role is an event of the member only.
create trigger channel_members_10_protect_owners
before insert or update or delete on public.channel_members
for each row execute function private.protect_owners_trigger();
create trigger channel_members_11_keep_direct
before delete on public.channel_members
for each row execute function private.keep_direct_member_trigger();
create trigger channel_members_12_reject_direct
before insert on public.channel_members
for each row execute function private.reject_direct_member_trigger();
create trigger channel_members_13_lock_channel
before delete on public.channel_members
for each row execute function private.lock_member_channel_trigger();
create trigger channel_members_15_require_workspace_member
before insert on public.channel_members
for each row execute function private.require_workspace_member_trigger();
-- After 10: a caller without the right gets that error first.
create trigger channel_members_20_require_owner
before update or delete on public.channel_members
for each row when (old.role = 'owner') execute function private.require_owner_trigger();
create trigger channel_members_30_remove_twins
after delete on public.channel_members
for each row execute function private.remove_member_twins_trigger();
create trigger channel_members_40_remove_twins
after update on public.channel_members
for each row when ((old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id))
execute function private.remove_member_twins_trigger();
create trigger channel_members_50_record
after insert or delete on public.channel_members
for each row execute function private.record_member_trigger();
-- After 50: the marker stands at the event of joining.
create trigger channel_members_51_create_state
after insert on public.channel_members
for each row execute function private.create_member_state_trigger();
create trigger channel_members_52_tell
after insert or delete on public.channel_members
for each row execute function private.record_membership_trigger();
create trigger channel_members_53_tell
after update on public.channel_members
for each row when (old.role <> new.role) execute function private.record_membership_trigger();
-- service_role may also write another user or channel into a row.
create trigger channel_members_60_record
after update on public.channel_members
for each row when ((old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id))
execute function private.record_member_trigger();

create trigger channel_members_70_audit
after update on public.channel_members
for each row when (old.role <> new.role) execute function private.audit_channel_role_trigger();

-- ai_twins: a user makes or deletes a twin.
create trigger ai_twins_10_stamp
before update on public.ai_twins
for each row execute function private.set_updated_at_trigger();
-- Before the delete sets ai_twin_id of its messages to null.
create trigger ai_twins_20_remember_owner
before delete on public.ai_twins
for each row execute function private.remember_twin_owner_trigger();

-- Each twin takes part in how deliveries are shared out.
create trigger ai_twins_30_limit
before insert on public.ai_twins
for each row execute function private.limit_twins_trigger();

-- channel_twins: a member adds a twin to a channel: 10 locks the channel and checks membership and the maximum.
create trigger channel_twins_10_admit
before insert on public.channel_twins
for each row execute function private.admit_twin_trigger();

-- Before the delete, because it reads the row.
create trigger channel_twins_20_redact
before delete on public.channel_twins
for each row execute function private.redact_channel_trigger();

-- messages: a member writes, edits or deletes a message.
-- Insert, before: 10 computes the search entry, checks membership, locks the channel, requires the parent, and gives
-- number, time and event.
-- 20 and 30 run under that lock. Then the policies and constraints check the row.
-- Insert, after: 50 queues it for twins, 60 indexes it for search, 65 stores its mentions, 70 keeps its files. At
-- the end of the transaction message_events_10_broadcast sends the event.
-- Update: 35 keeps all but the content as it is. 40 keeps the old text of an edit, and records an edit or a deletion.
-- After: 80 updates the search index and locks the twins of the channel.
-- 81 forgets what an edit or a deletion took away. 82 queues the change for twins. 83 corrects its mentions.
-- Delete of the row (erasure or a cascade): 90 records the deletion unless it was deleted before; 91 leaves search; 92
-- forgets it.
create trigger messages_10_admit
before insert on public.messages
for each row execute function private.admit_message_trigger();
create trigger messages_10_refuse
before delete on public.messages
for each statement execute function private.refuse_statement_trigger('delete_message');
create trigger messages_20_require_attachments
before insert on public.messages
for each row when (new.attachments is not null) execute function private.require_attachments_trigger();
-- After 10: under its lock the newest message stays the newest.
create trigger messages_30_set_hops
before insert on public.messages
for each row when (new.ai_twin_id is not null) execute function private.set_hops_trigger();
create trigger messages_35_protect
before update on public.messages
for each row when (
    (
        old.id, old.channel_id, old.user_id, old.ai_twin_id, old.parent_message_id, old.conversation_id,
        old.content_type, old.metadata, old.attachments
    )
    is distinct from (
        new.id, new.channel_id, new.user_id, new.ai_twin_id, new.parent_message_id, new.conversation_id,
        new.content_type, new.metadata, new.attachments
    )
)
execute function private.protect_message_trigger();
create trigger messages_40_record_change
before update on public.messages
for each row execute function private.record_message_change_trigger();
create trigger messages_50_queue_deliveries
after insert on public.messages
for each row execute function private.queue_deliveries_trigger();
create trigger messages_60_index
after insert on public.messages
for each row execute function private.index_message_trigger();
create trigger messages_65_record_mentions
after insert on public.messages
for each row when (new.content like '%<@%' or new.content like '%<!channel>%')
execute function private.record_mentions_trigger();
create trigger messages_70_link_attachments
after insert on public.messages
for each row when (jsonb_typeof(new.attachments) = 'array') execute function private.link_attachments_trigger();
create trigger messages_80_index
after update of content, attachments, deleted_at on public.messages
for each row execute function private.index_message_trigger();
create trigger messages_80_lock_twins
after update of content, deleted_at on public.messages
for each row when ((old.content, old.deleted_at) is distinct from (new.content, new.deleted_at))
execute function private.lock_twins_trigger();
-- After the deletion, so that pins and reactions that go with the message record no events.
create trigger messages_81_forget
after update of content, deleted_at on public.messages
for each row when ((old.content, old.deleted_at) is distinct from (new.content, new.deleted_at))
execute function private.forget_message_trigger();
-- After 81: a twin that leaves the channel locks its broadcasts before its deliveries, too.
create trigger messages_82_queue_change
after update of content, deleted_at on public.messages
for each row when ((old.content, old.deleted_at) is distinct from (new.content, new.deleted_at))
execute function private.queue_change_trigger();
create trigger messages_83_record_mentions
after update of content, deleted_at on public.messages
for each row when (
    (old.content, old.deleted_at) is distinct from (new.content, new.deleted_at)
    and old.content || new.content ~ '<@|<!channel>'
)
execute function private.record_mentions_trigger();
create trigger messages_90_record_change
after delete on public.messages
for each row when (old.deleted_at is null) execute function private.record_message_change_trigger();
-- The search index has no foreign key (decision 0006).
create trigger messages_91_delete_words
after delete on public.messages
referencing old table as removed
for each statement execute function private.delete_message_words_trigger();
create trigger messages_92_forget
after delete on public.messages
referencing old table as removed
for each statement execute function private.forget_messages_trigger();

-- message_reactions: a member adds or removes a reaction.
-- 10 copies the channel from the message and locks the channel; 11 gives the emoji its one spelling; 20 records the
-- event.
create trigger message_reactions_10_refuse
before update on public.message_reactions
for each statement execute function private.refuse_statement_trigger('toggle_reaction');
create trigger message_reactions_10_set_channel
before insert on public.message_reactions
for each row execute function private.set_message_channel_trigger();
create trigger message_reactions_11_normalize
before insert on public.message_reactions
for each row execute function private.normalize_emoji_trigger();
create trigger message_reactions_20_record
after insert or delete on public.message_reactions
for each row execute function private.record_reaction_or_pin_trigger();

-- message_pins: a member pins or unpins a message. The same steps as for a reaction.
create trigger message_pins_10_refuse
before update on public.message_pins
for each statement execute function private.refuse_statement_trigger('pin_message');
create trigger message_pins_10_set_channel
before insert on public.message_pins
for each row execute function private.set_message_channel_trigger();
create trigger message_pins_20_record
after insert or delete on public.message_pins
for each row execute function private.record_reaction_or_pin_trigger();

-- message_events: an event is recorded. Realtime gets it at the end of the transaction.
-- Deferred, because the event is written before its message (decision 0009).
create constraint trigger message_events_10_broadcast
after insert on public.message_events
deferrable initially deferred
for each row execute function private.broadcast_event_trigger();

-- attachments: a member registers or deletes an uploaded file.
-- Size, type and uploader come from Storage.
create trigger attachments_10_set_details
before insert on public.attachments
for each row execute function private.set_attachment_details_trigger();
-- After the insert, so that it waits for a concurrent delete of the same id.
create trigger attachments_20_reject_retired_id
after insert on public.attachments
for each row execute function private.reject_retired_id_trigger();
create trigger attachments_30_retire_id
after delete on public.attachments
referencing old table as removed
for each statement execute function private.retire_ids_trigger();

-- message_files: the files are deleted with the row of their message. A deleted message keeps its row (350_redaction).
create trigger message_files_10_drop_unused
after delete on private.message_files
for each row execute function private.drop_unused_file_trigger();

-- twin_webhooks: a webhook changes.
create trigger twin_webhooks_10_refuse
before insert or update on public.twin_webhooks
for each statement execute function private.refuse_statement_trigger('set_twin_webhook');
create trigger twin_webhooks_10_stamp
before update on public.twin_webhooks
for each row execute function private.set_updated_at_trigger();

-- Every privilege, role by role, after one revoke of everything. A test compares the catalog with this file.
-- Supabase grants new objects to its roles by default privileges; they are revoked here, because the per-schema form of
-- `alter default privileges` cannot take back what is granted globally.

-- The linter does not indent lists of grants, so its rule of indentation is off here.
-- sqlfluff:exclude_rules:RF01,RF03,RF04,LT14,LT02

-- Nothing is open.
revoke all on schema private from public, anon, authenticated, service_role;
revoke all on all tables in schema private from public, anon, authenticated, service_role;
revoke all on all sequences in schema private from public, anon, authenticated, service_role;
revoke all on all functions in schema private from public, anon, authenticated, service_role;
-- In schema public by name: the application owns others there.
revoke all on
    public.ai_twins,
    public.attachments,
    public.audit_log,
    public.channel_members,
    public.channel_twins,
    public.channels,
    public.conversation_identifiers,
    public.conversation_messages,
    public.conversation_reads,
    public.conversation_updates,
    public.conversations,
    public.erasures,
    public.ingest_log,
    public.member_states,
    public.message_edits,
    public.message_events,
    public.message_mentions,
    public.message_pins,
    public.message_reactions,
    public.messages,
    public.messaging_connections,
    public.people,
    public.person_identifiers,
    public.twin_deliveries,
    public.twin_webhooks,
    public.user_events,
    public.user_profiles,
    public.workspace_invitations,
    public.workspace_members,
    public.workspaces
from public, anon, authenticated, service_role;
revoke all on function
    public.accept_invitation(text, uuid),
    public.add_reaction(jsonb),
    public.begin_upload(jsonb),
    public.change_number(jsonb),
    public.claim_deliveries(jsonb),
    public.clean_up(jsonb),
    public.conversation_messages(public.conversations),
    public.create_invitation(uuid, uuid, text, text, interval),
    public.create_message(jsonb),
    public.create_messaging_connection(text, text, uuid, boolean),
    public.create_workspace(text, text, text),
    public.delete_message(jsonb),
    public.edit_message(jsonb),
    public.erase_person(jsonb),
    public.erase_user(jsonb),
    public.export_channel(jsonb),
    public.export_conversation(jsonb),
    public.finish_delivery(jsonb),
    public.finish_upload(jsonb),
    public.get_attachment(jsonb),
    public.get_message(jsonb),
    public.index_conversations(jsonb),
    public.keys(public.messaging_connections),
    public.participants(public.conversations),
    public.list_channel_events(jsonb),
    public.list_conversations(integer, text),
    public.list_inbox_changes(jsonb),
    public.list_message_edits(jsonb),
    public.list_messages(jsonb),
    public.list_my_channels(integer, integer),
    public.list_my_invitations(),
    public.list_twin_deliveries(jsonb),
    public.list_user_events(bigint, integer),
    public.list_workspace_members(uuid, text),
    public.mark_conversation_read(uuid, timestamptz),
    public.mark_read(uuid, bigint),
    public.merge_people(jsonb),
    public.messages(public.conversations),
    public.messaging_ingest(bytea),
    public.open_direct(uuid[], uuid),
    public.pin_message(jsonb),
    public.read_metrics(jsonb),
    public.remove_reaction(jsonb),
    public.remove_twin_webhook(jsonb),
    public.replay_twin_deliveries(jsonb),
    public.reply_to_message(jsonb),
    public.revoke_invitation(uuid),
    public.revoke_messaging_key(uuid),
    public.rotate_messaging_key(text, interval),
    public.rotate_twin_secret(jsonb),
    public.search_conversations(jsonb),
    public.search_messages(jsonb),
    public.separate_conversation(jsonb),
    public.set_twin_webhook(jsonb),
    public.sweep_attachments(jsonb),
    public.toggle_reaction(jsonb),
    public.undo_number_change(jsonb),
    public.unmerge_people(jsonb),
    public.unpin_message(jsonb)
from public, anon, authenticated, service_role;
-- The named calls (810, 811).
revoke all on function
    public.add_reaction(uuid, text, uuid),
    public.begin_upload(uuid, jsonb, text, uuid),
    public.change_number(uuid, text),
    public.claim_deliveries(integer, integer),
    public.clean_up(integer),
    public.create_message(uuid, text, text, uuid, jsonb, jsonb, uuid, uuid, uuid),
    public.delete_message(uuid, boolean, uuid),
    public.edit_message(uuid, text, uuid),
    public.erase_person(uuid, uuid[]),
    public.erase_user(uuid),
    public.export_channel(uuid, integer, text),
    public.export_conversation(uuid, integer, text),
    public.finish_delivery(uuid, uuid, integer, text),
    public.finish_upload(uuid, jsonb, text, uuid),
    public.get_attachment(uuid),
    public.get_message(uuid),
    public.list_channel_events(uuid, bigint, integer),
    public.list_inbox_changes(uuid, text, integer),
    public.index_conversations(integer),
    public.list_message_edits(uuid),
    public.list_messages(uuid, uuid, boolean, integer, integer, text, text),
    public.list_twin_deliveries(uuid, text, integer),
    public.merge_people(uuid, uuid),
    public.pin_message(uuid, uuid),
    public.read_metrics(),
    public.remove_reaction(uuid, text, uuid),
    public.remove_twin_webhook(uuid),
    public.replay_twin_deliveries(uuid, uuid),
    public.reply_to_message(uuid, text, text, jsonb, jsonb, uuid, uuid, uuid),
    public.rotate_twin_secret(uuid, integer),
    public.search_conversations(text, uuid, integer, integer),
    public.search_messages(text, uuid, integer, integer, boolean),
    public.separate_conversation(uuid, text),
    public.set_twin_webhook(uuid, text),
    public.sweep_attachments(integer),
    public.toggle_reaction(uuid, text, uuid),
    public.undo_number_change(uuid),
    public.unmerge_people(uuid),
    public.unpin_message(uuid, uuid),
    public.unread_count(public.conversations)
from public, anon, authenticated, service_role;

-- authenticated: signed-in users. Row-level security decides about rows.
-- Functions of `public` run as their caller and call helpers in `private`, so the caller needs both.
grant usage on schema private to authenticated;
-- Tables and views.
grant select, delete, insert (display_name, avatar_url), update (display_name, avatar_url)
on public.ai_twins to authenticated;
grant select, insert (id, channel_id, file_name), delete on public.attachments to authenticated;
grant select, delete, insert (channel_id, user_id, role), update (role) on public.channel_members to authenticated;
grant select, delete, insert (channel_id, ai_twin_id) on public.channel_twins to authenticated;
grant select, delete, insert (workspace_id, kind, name, language), update (name, language)
on public.channels to authenticated;
grant select on public.audit_log to authenticated;
grant select on public.conversation_identifiers to authenticated;
grant select on public.conversation_messages to authenticated;
grant select on public.conversation_reads to authenticated;
grant select on public.conversation_updates to authenticated;
grant select on public.conversations to authenticated;
grant select on public.erasures to authenticated;
grant select on public.ingest_log to authenticated;
grant select, update (is_muted, is_pinned) on public.member_states to authenticated;
grant select on public.message_edits to authenticated;
grant select on public.message_events to authenticated;
grant select on public.message_mentions to authenticated;
-- Grants also the statements that a trigger named refuse stops, so that clients get its hint.
grant select, delete, insert (message_id, pinned_by), update (message_id, pinned_by)
on public.message_pins to authenticated;
grant select, delete, insert (id, message_id, user_id, emoji), update (id, message_id, user_id, emoji)
on public.message_reactions to authenticated;
grant
    select,
    -- For upserts. A trigger keeps all but content as it is, and another one refuses to delete.
    delete,
    update (
        id, channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
        content, content_type, metadata, attachments
   ),
    insert (
        id, channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
        content, content_type, metadata, attachments
   )
on public.messages to authenticated;
grant select, delete, insert (platform, connection_id, workspace_id, is_apart), update (is_active, stores_media)
on public.messaging_connections to authenticated;
grant select, delete, insert (id, workspace_id, full_name, phone), update (full_name, phone)
on public.people to authenticated;
grant select, delete, insert (person_id, kind, value, app) on public.person_identifiers to authenticated;
grant select on public.twin_deliveries to authenticated;
grant select, delete, insert (ai_twin_id, url), update (ai_twin_id, url) on public.twin_webhooks to authenticated;
grant select on public.user_events to authenticated;
grant select, update (display_name, avatar_url) on public.user_profiles to authenticated;
grant select (
    id, workspace_id, channel_id, email, role, invited_by, created_at, expires_at, revoked_at, accepted_at, accepted_by
)
on public.workspace_invitations to authenticated;
grant
    delete, insert (workspace_id, channel_id, email, role, expires_at),
    update (workspace_id, channel_id, email, role, expires_at, revoked_at)
on public.workspace_invitations to authenticated;
grant select, delete, insert (workspace_id, user_id, role), update (role) on public.workspace_members to authenticated;
grant
    select, delete, insert (name, home_country, language),
    update (name, home_country, language, conversation_days, channel_days)
on public.workspaces to authenticated;
grant select on private.my_channels to authenticated;
grant select on private.my_peer_twins to authenticated;
grant select on private.my_peers to authenticated;
grant select on private.my_managed_channels to authenticated;
grant select on private.my_posted_files to authenticated, service_role;
grant select on private.my_owned_channels to authenticated;
grant select on private.my_topic_turns to authenticated;
grant select on private.my_twins to authenticated;
grant select on private.my_workspaces to authenticated;
grant select on private.my_managed_workspaces to authenticated;
grant select on private.my_owned_workspaces to authenticated;

-- Functions: calls of the Data API.
grant execute on function
    public.accept_invitation(text, uuid),
    public.add_reaction(jsonb),
    public.begin_upload(jsonb),
    public.change_number(jsonb),
    public.conversation_messages(public.conversations),
    public.create_invitation(uuid, uuid, text, text, interval),
    public.create_message(jsonb),
    public.create_messaging_connection(text, text, uuid, boolean),
    public.create_workspace(text, text, text),
    public.delete_message(jsonb),
    public.edit_message(jsonb),
    public.erase_person(jsonb),
    public.export_channel(jsonb),
    public.export_conversation(jsonb),
    public.finish_upload(jsonb),
    public.get_attachment(jsonb),
    public.get_message(jsonb),
    public.keys(public.messaging_connections),
    public.participants(public.conversations),
    public.list_channel_events(jsonb),
    public.list_conversations(integer, text),
    public.list_inbox_changes(jsonb),
    public.list_message_edits(jsonb),
    public.list_messages(jsonb),
    public.list_my_channels(integer, integer),
    public.list_my_invitations(),
    public.list_twin_deliveries(jsonb),
    public.list_user_events(bigint, integer),
    public.list_workspace_members(uuid, text),
    public.mark_conversation_read(uuid, timestamptz),
    public.mark_read(uuid, bigint),
    public.merge_people(jsonb),
    public.messages(public.conversations),
    public.open_direct(uuid[], uuid),
    public.pin_message(jsonb),
    public.remove_reaction(jsonb),
    public.remove_twin_webhook(jsonb),
    public.replay_twin_deliveries(jsonb),
    public.reply_to_message(jsonb),
    public.revoke_invitation(uuid),
    public.revoke_messaging_key(uuid),
    public.rotate_messaging_key(text, interval),
    public.rotate_twin_secret(jsonb),
    public.search_conversations(jsonb),
    public.search_messages(jsonb),
    public.separate_conversation(jsonb),
    public.set_twin_webhook(jsonb),
    public.toggle_reaction(jsonb),
    public.undo_number_change(jsonb),
    public.unmerge_people(jsonb),
    public.unpin_message(jsonb)
to authenticated;

-- Functions: the named calls.
grant execute on function
    public.add_reaction(uuid, text, uuid),
    public.begin_upload(uuid, jsonb, text, uuid),
    public.change_number(uuid, text),
    public.create_message(uuid, text, text, uuid, jsonb, jsonb, uuid, uuid, uuid),
    public.delete_message(uuid, boolean, uuid),
    public.edit_message(uuid, text, uuid),
    public.erase_person(uuid, uuid[]),
    public.export_channel(uuid, integer, text),
    public.export_conversation(uuid, integer, text),
    public.finish_upload(uuid, jsonb, text, uuid),
    public.get_attachment(uuid),
    public.get_message(uuid),
    public.list_channel_events(uuid, bigint, integer),
    public.list_inbox_changes(uuid, text, integer),
    public.list_message_edits(uuid),
    public.list_messages(uuid, uuid, boolean, integer, integer, text, text),
    public.list_twin_deliveries(uuid, text, integer),
    public.merge_people(uuid, uuid),
    public.pin_message(uuid, uuid),
    public.remove_reaction(uuid, text, uuid),
    public.remove_twin_webhook(uuid),
    public.replay_twin_deliveries(uuid, uuid),
    public.reply_to_message(uuid, text, text, jsonb, jsonb, uuid, uuid, uuid),
    public.rotate_twin_secret(uuid, integer),
    public.search_conversations(text, uuid, integer, integer),
    public.search_messages(text, uuid, integer, integer, boolean),
    public.separate_conversation(uuid, text),
    public.set_twin_webhook(uuid, text),
    public.toggle_reaction(uuid, text, uuid),
    public.undo_number_change(uuid),
    public.unmerge_people(uuid),
    public.unpin_message(uuid, uuid),
    public.unread_count(public.conversations)
to authenticated;

-- Functions: helpers behind them.
grant execute on function
    private.render_workspace(public.workspaces, text),
    private.list_workspaces(integer, integer),
    private.list_workspace_members(uuid, text),
    private.render_inbox_entry(public.conversations),
    private.find_newest_conversations(timestamptz, uuid, integer),
    private.list_conversations(jsonb),
    private.require_user(),
    private.require_workspace(uuid),
    private.require_management(uuid),
    private.require_workspace_member(uuid, uuid),
    private.parse_number(jsonb, text, text),
    private.list_workspaces(jsonb),
    private.create_workspace(jsonb),
    private.get_workspace(jsonb),
    private.update_workspace(jsonb),
    private.delete_workspace(jsonb),
    private.list_workspace_members(jsonb),
    private.set_member_role(jsonb),
    private.remove_workspace_member(jsonb),
    private.create_invitation(jsonb),
    private.list_invitations(jsonb),
    private.revoke_invitation(jsonb),
    private.list_my_invitations(jsonb),
    private.accept_invitation(jsonb),
    private.mark_read(jsonb),
    private.open_direct(jsonb),
    private.list_user_events(jsonb),
    private.admit_upload(jsonb),
    private.begin_idempotent(text, text, jsonb),
    private.answer_summary(jsonb, uuid, uuid, bigint, integer),
    private.begin_conversation_summary(jsonb),
    private.begin_summary(jsonb),
    private.empty_summary(),
    private.is_my_conversation(uuid),
    private.list_conversation_lines(uuid, integer),
    private.call_api(text, jsonb, jsonb, bytea),
    private.call_idempotent(text, text, text, jsonb),
    private.create_plain_message(bytea),
    private.is_my_twin_in(uuid, uuid),
    private.is_used_up(),
    private.render_created(public.messages),
    private.accept_invitation(text, uuid),
    private.create_invitation(uuid, uuid, text, text, interval),
    private.create_workspace(text, text, text),
    private.list_my_invitations(),
    private.mark_conversation_read(uuid, timestamptz),
    private.mark_read(uuid, bigint),
    private.open_direct(uuid[], uuid),
    private.hide_direct_channel(uuid, uuid),
    private.render_user_event(public.user_events),
    private.record_export(uuid, uuid, boolean),
    private.revoke_invitation(uuid),
    private.revoke_messaging_key(uuid),
    private.set_reaction(jsonb, text),
    private.lease_summary(uuid, uuid, bigint, integer, text, integer, integer),
    private.find_channel_state(uuid),
    private.count_replies(uuid, uuid),
    private.list_threads(uuid[]),
    private.parse_boolean(jsonb, text),
    private.parse_content(jsonb),
    private.parse_emoji(jsonb),
    private.normalize_emoji(text),
    private.visible_character(),
    private.spend_data_api_request(),
    private.spend_failed_request(jsonb),
    private.spend_project_summary(uuid, uuid),
    private.spend_request(),
    private.decode_text(bytea),
    private.render_failure(text, text, text, text, text),
    private.list_group_participants(uuid),
    private.list_messaging_keys(uuid),
    private.message_preview(jsonb),
    private.erase_person(uuid, uuid[]),
    private.fail(integer, text, text, text),
    private.find_authors(text),
    private.find_call(text),
    private.find_channels(text),
    private.find_mentions(text),
    private.require_upload_channel(jsonb),
    private.require_message(uuid),
    private.list_page(uuid, uuid, boolean, bigint, bigint, integer, integer),
    private.find_summary(uuid, uuid, bigint, integer, text, integer),
    private.finish_idempotent(text, text, integer, text),
    private.fold_text(text, boolean),
    private.format_time(timestamptz),
    private.generate_id(),
    private.fits(jsonb, integer),
    private.is_deep(jsonb),
    private.has_huge_number(jsonb),
    private.scalar_text(jsonb, text),
    private.require_size(jsonb, text, integer),
    private.is_app_admin(),
    private.is_author(public.messages, uuid),
    private.is_executed(),
    private.rotate_messaging_key(uuid, interval),
    private.rotate_twin_secret(uuid, interval),
    private.lock_my_channel(uuid),
    private.search_conversations(private.message_search, uuid),
    private.search_messages(private.message_search),
    private.separate_conversation(uuid, text),
    private.measure_messages(uuid, bigint, integer),
    private.is_my_folder(text, boolean),
    private.is_retired_file(text),
    private.is_my_media(text, text),
    private.is_shown_type(text),
    private.is_my_live_topic(text),
    private.is_my_topic(text),
    private.is_my_turn(text, text),
    private.is_service(),
    private.list_author_names(uuid[]),
    private.parse_json(bytea),
    private.parse_timestamp(text),
    private.phone_digits(text),
    private.change_number(uuid, text),
    private.fold_digits(text),
    private.identifier_value(text, text),
    private.merge_people(uuid, uuid),
    private.parse_written_phone(text),
    private.phone_text(text),
    private.split_phones(text),
    private.undo_number_change(uuid),
    private.unmerge_people(uuid),
    private.find_cursor(jsonb, text, uuid),
    private.list_channel_events(uuid, bigint, integer, integer),
    private.render_inbox_cursor(private.inbox_position),
    private.list_inbox_changes(uuid, xid8, bigint, integer, integer),
    private.parse_inbox_cursor(text),
    private.list_my_channels(integer, integer),
    private.list_my_channels(jsonb),
    private.parse_files(jsonb),
    private.parse_integer(jsonb, text, integer, integer, integer),
    private.parse_search_time(text),
    private.parse_object(bytea),
    private.parse_search_operator(private.message_search, text, text, boolean),
    private.parse_search_phrase(text, regdictionary[], text, boolean),
    private.list_word_forms(text, text, regdictionary[]),
    private.compound_signs(),
    private.has_long_messages(),
    private.list_compounds(text),
    private.list_stems(text[], text[], regdictionary, boolean),
    private.list_stemmers(uuid),
    private.list_search_terms(text, boolean),
    private.list_marks(tsquery),
    private.mark_pattern(text[], tsquery, regdictionary[]),
    private.render_snippet(text, text),
    private.render_hits(jsonb, tsquery, regdictionary[]),
    private.parse_search(text, regdictionary[], boolean),
    private.parse_text(jsonb, text, integer, text),
    private.list_channel_lines(uuid, bigint, integer),
    private.render_transcript(private.transcript_line[], integer, integer, integer),
    private.require_actor(jsonb),
    private.parse_uuid(jsonb, text, boolean),
    private.is_uuid(text),
    private.message_max_characters(),
    private.metadata_max_bytes(),
    private.hidden_characters(),
    private.attachments_max_bytes(),
    private.parse_uuids(jsonb, text, integer),
    private.delete_message(uuid, uuid, boolean),
    private.render_attachment(public.attachments),
    private.find_file(jsonb, uuid),
    private.is_posted_to_me(text, text),
    private.is_replaced_file(text, text),
    private.set_image_size(uuid, integer, integer),
    private.finish_upload(jsonb),
    private.render_export(uuid[]),
    private.render_message(public.messages),
    private.render_message(public.messages, jsonb),
    private.render_page(uuid[]),
    private.render_pin(uuid, timestamptz),
    private.render_reaction(uuid, uuid, uuid, text, timestamptz),
    private.render_reactions(uuid[]),
    private.require_channel(uuid),
    private.require_twin(uuid, uuid),
    private.retry_after(integer, text, jsonb),
    private.replay_twin_deliveries(uuid, uuid),
    private.split_words(text, boolean),
    private.set_twin_webhook(uuid, text),
    private.succeed(jsonb, jsonb, integer),
    private.succeed_page(jsonb[], integer)
to authenticated;

-- service_role: the key of the service and of the Edge Function. It bypasses row-level security.
grant usage on schema private to service_role;
-- Tables and views.
grant select, insert, update, delete on public.ai_twins to service_role;
grant select, insert (id, channel_id, file_name), delete on public.attachments to service_role;
grant select on public.audit_log to service_role;
grant select, insert, update, delete on public.channel_members to service_role;
grant select, insert, update, delete on public.channel_twins to service_role;
grant select, insert, update, delete on public.channels to service_role;
grant select, insert on public.conversation_identifiers to service_role;
grant select, insert, delete on public.conversation_messages to service_role;
grant select on public.conversation_reads to service_role;
grant select on public.conversation_updates to service_role;
grant
    select, insert, delete,
    update (participant_identifier, participant_name, participant_identified_at, participant_named_at, kind)
on public.conversations to service_role;
grant select on public.erasures to service_role;
grant select, insert, update (requests) on public.ingest_log to service_role;
grant select on public.member_states to service_role;
grant select on public.message_edits to service_role;
grant select on public.message_events to service_role;
grant select on public.message_mentions to service_role;
grant select, delete, insert (message_id, pinned_by) on public.message_pins to service_role;
grant select, delete, insert (id, message_id, user_id, emoji) on public.message_reactions to service_role;
grant
    insert (
        id, channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
        content, content_type, metadata, attachments
   ),
    select, delete,
    update (content, deleted_at)
on public.messages to service_role;
grant select, insert, update, delete on public.messaging_connections to service_role;
grant select, insert, update, delete on public.people to service_role;
grant select, insert, delete on public.person_identifiers to service_role;
grant select on public.twin_deliveries to service_role;
grant select, delete on public.twin_webhooks to service_role;
grant select on public.user_events to service_role;
-- Only the deletion of a user deletes the profile, because messages would otherwise lose their author.
grant select, insert, update on public.user_profiles to service_role;
grant select, insert, update, delete on public.workspace_members to service_role;
grant
    select, delete, insert (name, home_country, language, conversation_days, channel_days, created_by),
    update (name, home_country, language, conversation_days, channel_days)
on public.workspaces to service_role;
grant select on private.clean_ups to service_role;
grant select on private.conversation_media to service_role;
grant select on private.word_backlog to service_role;
grant select on private.language_backlog to service_role;
grant select on private.conversation_aliases to service_role;
grant select on private.settings to service_role;
grant select, update on private.summaries to service_role;
grant select, update on private.summary_counts, private.summary_totals to service_role;

-- Functions: calls of the Data API.
grant execute on function
    public.add_reaction(jsonb),
    public.begin_upload(jsonb),
    public.change_number(jsonb),
    public.claim_deliveries(jsonb),
    public.clean_up(jsonb),
    public.conversation_messages(public.conversations),
    public.create_message(jsonb),
    public.delete_message(jsonb),
    public.edit_message(jsonb),
    public.erase_person(jsonb),
    public.erase_user(jsonb),
    public.export_channel(jsonb),
    public.export_conversation(jsonb),
    public.finish_delivery(jsonb),
    public.finish_upload(jsonb),
    public.get_attachment(jsonb),
    public.get_message(jsonb),
    public.list_channel_events(jsonb),
    public.list_message_edits(jsonb),
    public.list_messages(jsonb),
    public.list_twin_deliveries(jsonb),
    public.merge_people(jsonb),
    public.messages(public.conversations),
    public.index_conversations(jsonb),
    public.list_inbox_changes(jsonb),
    public.messaging_ingest(bytea),
    public.participants(public.conversations),
    public.pin_message(jsonb),
    public.read_metrics(jsonb),
    public.remove_reaction(jsonb),
    public.remove_twin_webhook(jsonb),
    public.replay_twin_deliveries(jsonb),
    public.reply_to_message(jsonb),
    public.rotate_twin_secret(jsonb),
    public.search_conversations(jsonb),
    public.search_messages(jsonb),
    public.separate_conversation(jsonb),
    public.set_twin_webhook(jsonb),
    public.sweep_attachments(jsonb),
    public.toggle_reaction(jsonb),
    public.undo_number_change(jsonb),
    public.unmerge_people(jsonb),
    public.unpin_message(jsonb)
to service_role;

-- Functions: the named calls.
grant execute on function
    public.add_reaction(uuid, text, uuid),
    public.begin_upload(uuid, jsonb, text, uuid),
    public.change_number(uuid, text),
    public.claim_deliveries(integer, integer),
    public.clean_up(integer),
    public.create_message(uuid, text, text, uuid, jsonb, jsonb, uuid, uuid, uuid),
    public.delete_message(uuid, boolean, uuid),
    public.edit_message(uuid, text, uuid),
    public.erase_person(uuid, uuid[]),
    public.erase_user(uuid),
    public.export_channel(uuid, integer, text),
    public.export_conversation(uuid, integer, text),
    public.finish_delivery(uuid, uuid, integer, text),
    public.finish_upload(uuid, jsonb, text, uuid),
    public.get_attachment(uuid),
    public.get_message(uuid),
    public.list_channel_events(uuid, bigint, integer),
    public.index_conversations(integer),
    public.list_message_edits(uuid),
    public.list_messages(uuid, uuid, boolean, integer, integer, text, text),
    public.list_twin_deliveries(uuid, text, integer),
    public.merge_people(uuid, uuid),
    public.pin_message(uuid, uuid),
    public.read_metrics(),
    public.remove_reaction(uuid, text, uuid),
    public.remove_twin_webhook(uuid),
    public.replay_twin_deliveries(uuid, uuid),
    public.reply_to_message(uuid, text, text, jsonb, jsonb, uuid, uuid, uuid),
    public.rotate_twin_secret(uuid, integer),
    public.search_conversations(text, uuid, integer, integer),
    public.search_messages(text, uuid, integer, integer, boolean),
    public.separate_conversation(uuid, text),
    public.set_twin_webhook(uuid, text),
    public.sweep_attachments(integer),
    public.toggle_reaction(uuid, text, uuid),
    public.undo_number_change(uuid),
    public.unmerge_people(uuid),
    public.unpin_message(uuid, uuid),
    public.unread_count(public.conversations)
to service_role;

-- Functions: helpers behind them.
grant execute on function
    private.require_user(),
    private.list_conversations(jsonb),
    private.list_workspaces(jsonb),
    private.create_workspace(jsonb),
    private.get_workspace(jsonb),
    private.update_workspace(jsonb),
    private.delete_workspace(jsonb),
    private.list_workspace_members(jsonb),
    private.set_member_role(jsonb),
    private.remove_workspace_member(jsonb),
    private.create_invitation(jsonb),
    private.list_invitations(jsonb),
    private.revoke_invitation(jsonb),
    private.list_my_invitations(jsonb),
    private.accept_invitation(jsonb),
    private.mark_read(jsonb),
    private.open_direct(jsonb),
    private.list_user_events(jsonb),
    private.authenticate_connection(text, text, text),
    private.admit_upload(jsonb),
    private.begin_idempotent(text, text, jsonb),
    private.answer_summary(jsonb, uuid, uuid, bigint, integer),
    private.begin_conversation_summary(jsonb),
    private.begin_summary(jsonb),
    private.empty_summary(),
    private.is_my_conversation(uuid),
    private.list_conversation_lines(uuid, integer),
    private.call_api(text, jsonb, jsonb, bytea),
    private.call_idempotent(text, text, text, jsonb),
    private.is_used_up(),
    private.render_created(public.messages),
    private.set_reaction(jsonb, text),
    private.claim_deliveries(integer, interval),
    private.lease_summary(uuid, uuid, bigint, integer, text, integer, integer),
    private.clean_up(integer),
    private.is_replay(jsonb, private.ingest_conversation[], uuid[]),
    private.find_channel_state(uuid),
    private.count_replies(uuid, uuid),
    private.list_threads(uuid[]),
    private.parse_boolean(jsonb, text),
    private.parse_content(jsonb),
    private.parse_emoji(jsonb),
    private.normalize_emoji(text),
    private.visible_character(),
    private.count_messages(jsonb),
    private.create_conversations(private.ingest_source, private.ingest_participant[]),
    private.decode_text(bytea),
    private.render_failure(text, text, text, text, text),
    private.render_results(private.ingest_result[]),
    private.diagnose(text, timestamptz),
    private.sweep_attachments(integer, interval),
    private.media_link(text),
    private.media_path(uuid, text, text),
    private.measure_media(),
    private.offer_uploads(private.ingest_source, jsonb, private.ingest_result[]),
    private.render_uploads(jsonb),
    private.erase_user(uuid),
    private.erase_person(uuid, uuid[]),
    private.fail(integer, text, text, text),
    private.find_authors(text),
    private.find_call(text),
    private.find_channels(text),
    private.find_mentions(text),
    private.require_upload_channel(jsonb),
    private.find_conversations(private.ingest_source, private.ingest_conversation[]),
    private.require_message(uuid),
    private.list_page(uuid, uuid, boolean, bigint, bigint, integer, integer),
    private.find_summary(uuid, uuid, bigint, integer, text, integer),
    private.spend_failed_request(jsonb),
    private.spend_project_summary(uuid, uuid),
    private.finish_delivery(uuid, uuid, integer, text),
    private.finish_idempotent(text, text, integer, text),
    private.finish_summary(jsonb),
    private.fold_text(text, boolean),
    private.format_time(timestamptz),
    private.generate_id(),
    private.fits(jsonb, integer),
    private.is_deep(jsonb),
    private.has_huge_number(jsonb),
    private.scalar_text(jsonb, text),
    private.require_size(jsonb, text, integer),
    private.is_app_admin(),
    private.is_author(public.messages, uuid),
    private.index_conversations(integer),
    private.index_languages(integer),
    private.diagnose_people(jsonb),
    private.diagnose_group_participants(jsonb),
    private.list_group_participants(uuid),
    private.record_group_participants(jsonb, private.ingest_message[], uuid[]),
    private.read_conversations(private.ingest_source, jsonb),
    private.record_aliases(private.ingest_source, jsonb),
    private.record_names(
        private.ingest_source, jsonb, private.ingest_conversation[], private.ingest_message[],
        private.ingest_update[], uuid[]
    ),
    private.render_inbox_cursor(private.inbox_position),
    private.list_inbox_changes(uuid, xid8, bigint, integer, integer),
    private.parse_inbox_cursor(text),
    private.is_valid_key(text),
    private.measure_search(),
    private.rotate_twin_secret(uuid, interval),
    private.validate_conversations(private.ingest_conversation[], private.ingest_message[]),
    private.validate_updates(private.ingest_conversation[], private.ingest_update[]),
    private.lock_my_channel(uuid),
    private.lock_conversations(uuid[]),
    private.lock_source(private.ingest_source),
    private.can_match(uuid),
    private.wait_to_match(uuid),
    private.record_export(uuid, uuid, boolean),
    private.place_messages(private.ingest_message[], uuid[]),
    private.send_changes(jsonb, uuid[], private.ingest_result[]),
    private.broadcast_conversations(uuid[]),
    private.record_ingest(private.ingest_source, bigint, private.ingest_result[]),
    private.record_refusal(private.ingest_source, integer),
    private.search_conversations(private.message_search, uuid),
    private.search_messages(private.message_search),
    private.separate_conversation(uuid, text),
    private.matching_lock(uuid),
    private.measure_database(),
    private.measure_deliveries(),
    private.measure_messages(uuid, bigint, integer),
    private.message_preview(jsonb),
    private.is_service(),
    private.list_author_names(uuid[]),
    private.list_participants(text, private.ingest_conversation[], uuid[]),
    private.parse_json(bytea),
    private.parse_timestamp(text),
    private.phone_digits(text),
    private.change_number(uuid, text),
    private.fold_digits(text),
    private.identifier_value(text, text),
    private.merge_people(uuid, uuid),
    private.parse_written_phone(text),
    private.phone_text(text),
    private.split_phones(text),
    private.undo_number_change(uuid),
    private.unmerge_people(uuid),
    private.diagnose_identifiers(jsonb),
    private.identifier_key(text, text, text),
    private.identifier_kinds(),
    private.identify(text, text),
    private.identify_any(text, text),
    private.is_phone(text, text),
    private.list_given_identifiers(jsonb),
    private.list_identifiers(uuid),
    private.participant_key(text, text),
    private.record_given_identifiers(text, private.ingest_conversation[], uuid[], boolean),
    private.record_identifiers(uuid[], private.identifier[]),
    private.poll_summary(jsonb),
    private.parse_conversations(jsonb),
    private.find_cursor(jsonb, text, uuid),
    private.list_channel_events(uuid, bigint, integer, integer),
    private.list_my_channels(integer, integer),
    private.list_my_channels(jsonb),
    private.parse_files(jsonb),
    private.parse_integer(jsonb, text, integer, integer, integer),
    private.parse_messages(jsonb),
    private.diagnose_json(jsonb),
    private.parse_search_time(text),
    private.parse_object(bytea),
    private.parse_search_operator(private.message_search, text, text, boolean),
    private.parse_search_phrase(text, regdictionary[], text, boolean),
    private.list_word_forms(text, text, regdictionary[]),
    private.compound_signs(),
    private.has_long_messages(),
    private.list_compounds(text),
    private.list_stems(text[], text[], regdictionary, boolean),
    private.list_stemmers(uuid),
    private.list_search_terms(text, boolean),
    private.list_marks(tsquery),
    private.mark_pattern(text[], tsquery, regdictionary[]),
    private.render_snippet(text, text),
    private.render_hits(jsonb, tsquery, regdictionary[]),
    private.parse_search(text, regdictionary[], boolean),
    private.parse_text(jsonb, text, integer, text),
    private.list_channel_lines(uuid, bigint, integer),
    private.render_transcript(private.transcript_line[], integer, integer, integer),
    private.require_actor(jsonb),
    private.parse_uuid(jsonb, text, boolean),
    private.is_uuid(text),
    private.message_max_characters(),
    private.metadata_max_bytes(),
    private.hidden_characters(),
    private.attachments_max_bytes(),
    private.parse_uuids(jsonb, text, integer),
    private.refuse_ingest(integer, text),
    private.use_asynchronous_commit(),
    private.delete_message(uuid, uuid, boolean),
    private.render_attachment(public.attachments),
    private.find_file(jsonb, uuid),
    private.is_posted_to_me(text, text),
    private.is_replaced_file(text, text),
    private.set_image_size(uuid, integer, integer),
    private.finish_upload(jsonb),
    private.render_export(uuid[]),
    private.render_message(public.messages),
    private.render_message(public.messages, jsonb),
    private.render_page(uuid[]),
    private.render_pin(uuid, timestamptz),
    private.render_reaction(uuid, uuid, uuid, text, timestamptz),
    private.render_reactions(uuid[]),
    private.request_id(),
    private.require_channel(uuid),
    private.require_twin(uuid, uuid),
    private.retry_after(integer, text, jsonb),
    private.replay_twin_deliveries(uuid, uuid),
    private.split_words(text, boolean),
    private.store_conversations(private.ingest_source, jsonb),
    private.complete_ids(private.ingest_source, private.ingest_conversation[], uuid[], jsonb),
    private.store_messages(private.ingest_source, private.ingest_message[], uuid[], boolean),
    private.add_messages(
        private.ingest_source, private.ingest_conversation[], private.ingest_message[], private.ingest_update[],
        uuid[], uuid[]
    ),
    private.store_new_messages(
        private.ingest_source, private.ingest_conversation[], private.ingest_message[], uuid[], timestamptz
    ),
    private.has_only_new_messages(private.ingest_conversation[], private.ingest_message[], uuid[], uuid[]),
    private.has_duplicates(private.ingest_conversation[], private.ingest_message[]),
    private.match_participants(uuid, text, text[], text[]),
    private.settle_updates(
        private.ingest_message[], private.ingest_update[], uuid[], private.ingest_count[]
    ),
    private.merge_counts(
        private.ingest_count[], private.ingest_update[], private.ingest_update[], uuid[]
    ),
    private.has_names(private.ingest_source, jsonb),
    private.has_updates(uuid[]),
    private.list_results(private.ingest_conversation[], uuid[], jsonb, private.ingest_count[]),
    private.find_edit_time(jsonb),
    private.render_receipts(public.conversation_updates[]),
    private.render_present_message(jsonb, public.conversation_updates[]),
    private.parse_update_value(text, jsonb),
    private.find_update_error(jsonb, timestamptz),
    private.parse_updates(jsonb),
    private.parse_sender(jsonb),
    private.parse_sequence(jsonb),
    private.record_updates(private.ingest_update[], uuid[]),
    private.list_updates(uuid, text, text),
    private.apply_known_updates(private.ingest_message[], uuid[]),
    private.read_repeated_message(jsonb, public.conversation_messages),
    private.list_repeated_messages(private.ingest_message[], uuid[], private.ingest_count[]),
    private.refresh_messages(private.ingest_update[], uuid[]),
    private.set_twin_webhook(uuid, text),
    private.succeed(jsonb, jsonb, integer),
    private.succeed_page(jsonb[], integer),
    private.list_summaries(uuid[], private.ingest_participant[], timestamptz),
    private.update_participants(uuid[], private.ingest_participant[], private.conversation_summary[])
to service_role;

-- authenticator: the login role of the service. It may call the gateway and become one of the roles above.
grant usage on schema private to authenticator;
grant execute on function private.call(text, text, text, text, text, bytea) to authenticator;

reset search_path;
reset lock_timeout;
