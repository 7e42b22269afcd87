-- Supabase Realtime reads broadcasts from realtime.messages. Promise: a broadcast that fails harms no writer.

create function private.report_lost_broadcast(p_topic text, p_sqlstate text, p_message text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if coalesce(nullif(current_setting('threadline.strict_realtime', true), '')::boolean, false) then
        raise exception using errcode = p_sqlstate, message = p_message;
    elsif p_sqlstate <> '23514' then
        -- 23514 is a missing partition. Realtime creates partitions when clients connect, so there are no listeners.
        -- The service recognizes the warning by its code.
        raise warning using
            errcode = '01TL1',
            message = format('A broadcast to %s is lost: %s', p_topic, p_message),
            detail = p_sqlstate;
    end if;
end
$$;
comment on function private.report_lost_broadcast(text, text, text) is
'Turns a failed broadcast into a warning, so that the write stays. Raises an error if threadline.strict_realtime is set,
for tests.';

create function private.broadcast_id(p_channel_id uuid, p_seq bigint, p_listener_id uuid default null) returns uuid
language plpgsql
immutable
parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    return md5(concat_ws('/', p_channel_id, p_seq, p_listener_id))::uuid;
end
$$;
comment on function private.broadcast_id(uuid, bigint, uuid) is
'The id of the broadcast of an event to its channel, to a twin, or to the turn of a sealed channel: then p_listener_id
is the channel. Redaction finds it by the primary key, because Realtime has no index on topics alone.';
