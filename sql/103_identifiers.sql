-- Identifiers of people on platforms: which kind a text is, its one form, and the keys that find people by it.
-- Promise: the id of a group or a channel is no identifier of a person.

create type private.identifier as (kind text, value text, app text);
comment on type private.identifier is
'An identifier of a person in its one form. app is the WeChat app within which an openid is valid, else empty.';

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
        when 'signal_uuid' then substring(
            lower(p_value), '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
        )
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
            when p_platform = 'signal' and v_text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then 'signal_uuid'
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
language sql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select array[
        'phone', 'whatsapp_lid', 'whatsapp_bsuid', 'signal_uuid', 'telegram_id', 'telegram_username', 'wechat_openid',
        'wechat_unionid', 'email'
    ]
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
