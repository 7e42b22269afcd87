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
