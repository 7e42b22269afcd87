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
