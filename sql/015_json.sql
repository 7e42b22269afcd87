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
        -- As one array, because Postgres copies the rest of a set of results for each row. Strict, because a lax path
        -- reads the items of an array twice.
        select from jsonb_array_elements(
            jsonb_path_query_array(p_value, 'strict $.** ? (@.type() == "number")')
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

create function private.has_long_digits(p_text text) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A string may match too. A hundred digits and an exponent of two digits stay below 1000 digits.
    return p_text ~ '[\s:,[]-?[0-9.]+[eE][+-]?[0-9]{3}|[0-9.]{100}';
end
$$;
comment on function private.has_long_digits(text) is
'Whether the JSON of a request may contain a huge number. Costs far less than has_huge_number, which must decide only if
this is true.';

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

create function private.is_oversized(p_value jsonb, p_max integer) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return pg_column_size(p_value) > 8 * p_max + 100;
end
$$;
comment on function private.is_oversized(jsonb, integer) is
'Whether the JSON of a value certainly has more than p_max bytes, without rendering it: a value takes at most six times
as many bytes as its text. So nothing else needs to look at it.';

create function private.fits(p_value jsonb, p_max integer) returns boolean
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks for a huge number before it renders the text, which can be far longer than the value.
    return case
        when private.is_oversized(p_value, p_max) then false
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
