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
