-- Secrets: how they are made, stored as hashes, and used to sign.

create function private.hash_secret(p_secret text) returns bytea
language sql
immutable
parallel safe
set search_path = ''
as $$
    select sha256(convert_to(p_secret, 'UTF8'))
$$;
comment on function private.hash_secret(text) is 'How a secret is kept.';

create function private.generate_secret() returns text
language sql
volatile
set search_path = ''
as $$
    -- Each uuid brings 122 bits of the server's strong random source; the hash condenses three of them to 256.
    -- pgcrypto's gen_random_bytes would do, but not every Postgres is built with it.
    select 'threadline_' || translate(rtrim(encode(sha256(
        uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    ), 'base64'), '='), '+/', '-_')
$$;
comment on function private.generate_secret() is
'A new secret: 256 random bits behind a prefix that secret scanners can recognise.';

create function private.hmac_block(p_key bytea, p_mask integer) returns bytea
language sql
immutable
set search_path = ''
as $$
    select string_agg(set_byte('\x00', 0, p_mask # case
        when place < octet_length(p_key) then get_byte(p_key, place) else 0
    end), ''::bytea order by place)
    from generate_series(0, 63) as place
$$;
comment on function private.hmac_block(bytea, integer) is
'A key of at most 64 bytes, filled up and masked as RFC 2104 has it. Not every Postgres has an hmac of its own.';
