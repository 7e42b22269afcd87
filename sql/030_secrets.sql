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
