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

create function private.is_about_data(p_sqlstate text) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_sqlstate ~ '^(2[123]|54|P0|PT|XX000)';
end
$$;
comment on function private.is_about_data(text) is
'Whether an error comes from the data, so that the same row fails again. Workers skip such a row. False for locks,
deadlocks, timeouts and a server that stops: a later try can succeed.';

create function private.parse_object(p_body bytea) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text;
    v_request jsonb;
    v_has_numbers boolean;
begin
    -- Refuses these characters, which ingest replaces, because the Data API refuses them too.
    if octet_length(p_body) = 0 or p_body = '{}' then
        return '{}'::jsonb;
    end if;
    begin
        v_text := private.decode_text(p_body);
        v_request := v_text::jsonb;
        -- This check and the next are cheap; has_huge_number is not.
        v_has_numbers := jsonb_path_exists(v_request, 'strict $.** ? (@.type() == "number")');
    exception
        when untranslatable_character then
            perform private.fail(
                400, 'invalid_json', 'The request contains the character U+0000, which cannot be stored. Leave it out.'
            );
        when data_exception or statement_too_complex or program_limit_exceeded then
            perform private.fail(400, 'invalid_json', 'The request body is not valid JSON. Send valid JSON in UTF-8.');
    end;
    if v_has_numbers and private.has_long_digits(v_text) and private.has_huge_number(v_request) then
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
