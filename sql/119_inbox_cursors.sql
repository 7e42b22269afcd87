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

create function private.mask_position(p_position bytea, p_mask bytea) returns bytea
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_masked bytea := '\x'::bytea;
begin
    for v_number in 1..3 loop
        v_masked := v_masked
            || int8send(private.hash_word(p_position, v_number) # private.hash_word(p_mask, v_number));
    end loop;
    return v_masked;
end
$$;
comment on function private.mask_position(bytea, bytea) is
'Hides the three numbers of a position, or shows them again with the same mask.';

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
begin
    return private.inbox_epoch() || '.' || encode(v_salt || v_tag || private.mask_position(v_plain, v_mask), 'hex');
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
    v_plain bytea;
begin
    if v_parts is null then
        perform private.fail(
            400, 'invalid_cursor', 'since is not a cursor of this call. Send next_cursor of the answer before.', 'since'
        );
    end if;
    v_plain := private.mask_position(decode(v_parts[3], 'hex'), sha256(v_key || v_head));
    if v_parts[1] <> private.inbox_epoch()
        -- Another database made it.
        or substring(v_head from 7)
            <> substring(sha256(v_key || substring(v_head from 1 for 6) || v_plain) from 1 for 10)
        or private.hash_word(v_plain, 1)::text::xid8 > pg_snapshot_xmax(pg_current_snapshot())
    then
        perform private.fail(
            409, 'cursor_expired',
            'The database was restored after this cursor. Call without since and read the conversations again.', 'since'
        );
    end if;
    return (
        private.hash_word(v_plain, 1)::text::xid8, private.hash_word(v_plain, 2), private.hash_word(v_plain, 3)::integer
    )::private.inbox_position;
end
$$;
comment on function private.parse_inbox_cursor(text) is
'The position of a cursor in the log. PT400 if it is not a cursor, PT409 if it is from another server.';
