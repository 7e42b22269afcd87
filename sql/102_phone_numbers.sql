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
