-- Retention: how long a workspace keeps its conversations and the messages of its channels.
-- Promise: no workspace holds up the retention of another.

create table private.retention_rounds (
    workspace_id uuid primary key references public.workspaces (id) on delete cascade,
    visited_at timestamptz not null,
    finished_at timestamptz
);
comment on table private.retention_rounds is
'When the clean-up last visited a workspace that has a retention, and when it last finished with it. It finishes with
each of them once a day.';
comment on column private.retention_rounds.finished_at is
'When the workspace last had nothing left to delete; null before that.';
alter table private.retention_rounds enable row level security;

create function private.delete_old_conversations(p_workspace_id uuid, p_before timestamptz, p_limit integer)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_conversations uuid[];
    v_count bigint;
begin
    -- Conversations before their messages, as ingest locks them.
    v_conversations := array(
        select conversation.id
        from public.conversations as conversation
        where conversation.workspace_id = p_workspace_id and (
            exists (
                select from public.conversation_messages as stored
                where stored.conversation_id = conversation.id and stored.sent_at < p_before
            )
            -- An earlier round emptied it while it was young. One that never had a message stays.
            or conversation.message_count = 0
            and conversation.created_at < p_before and conversation.participant_identified_at < p_before
        )
        order by conversation.id
        limit p_limit
        for no key update skip locked
    );
    delete from public.conversation_messages as stored
    where stored.ctid = any(array(
        select old.ctid
        from public.conversation_messages as old
        where old.conversation_id = any(v_conversations) and old.sent_at < p_before
        limit p_limit
    ))
        -- Asks again, because rows of two partitions can have the same place.
        and stored.conversation_id = any(v_conversations) and stored.sent_at < p_before;
    get diagnostics v_count = row_count;
    delete from private.conversation_media as known
    where known.conversation_id = any(v_conversations) and not exists (
        select from public.conversation_messages as stored
        where (stored.conversation_id, stored.external_id, stored.sender)
            = (known.conversation_id, known.external_id, known.sender)
    );
    delete from public.conversations as conversation
    where conversation.id = any(v_conversations)
        and conversation.message_count = 0 and conversation.created_at < p_before;
    return v_count;
end
$$;
comment on function private.delete_old_conversations(uuid, timestamptz, integer) is
'Deletes ingested messages of a workspace that were sent before a time, and conversations that become empty. Returns the
number of messages.';

create function private.delete_old_messages(p_workspace_id uuid, p_before timestamptz, p_limit integer)
returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channels uuid[];
    v_count bigint;
begin
    -- Skips a channel that another transaction holds: its owner must not stop the clean-up of all others.
    v_channels := array(
        select counter.channel_id
        from public.channels as channel
        inner join private.channel_counters as counter on channel.id = counter.channel_id
        where channel.workspace_id = p_workspace_id and (
            select oldest.created_at
            from public.messages as oldest
            where oldest.channel_id = counter.channel_id
            order by oldest.seq
            limit 1
        ) < p_before
        order by counter.channel_id
        limit p_limit
        for no key update of counter skip locked
    );
    -- Numbers rise with time, so the oldest messages of a channel need no index on time.
    delete from public.messages as message
    where message.id = any(array(
        select oldest.id
        from unnest(v_channels) as channel (id)
        cross join lateral (
            select old.id, old.created_at
            from public.messages as old
            where old.channel_id = channel.id
            order by old.seq
            limit p_limit
        ) as oldest
        where oldest.created_at < p_before
        limit p_limit
    ));
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function private.delete_old_messages(uuid, timestamptz, integer) is
'Deletes messages of the channels of a workspace that were written before a time. Each one is an event of its channel.
Returns their number.';

create function private.delete_outdated(
    p_workspace public.workspaces, p_limit integer, out ingested bigint, out written bigint
)
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    -- A tenth of the messages of channels, because each of them is an event.
    v_limit integer := greatest(p_limit / 10, 1);
begin
    ingested := 0;
    written := 0;
    insert into private.retention_rounds as round (workspace_id, visited_at) values (p_workspace.id, now())
    on conflict (workspace_id) do update set visited_at = excluded.visited_at;
    -- A block of its own, because an error of one workspace must not end the round of all.
    begin
        if p_workspace.conversation_days is not null then
            ingested := private.delete_old_conversations(
                p_workspace.id, now() - make_interval(days => p_workspace.conversation_days), p_limit
            );
        end if;
        if p_workspace.channel_days is not null then
            written := private.delete_old_messages(
                p_workspace.id, now() - make_interval(days => p_workspace.channel_days), v_limit
            );
        end if;
        if ingested < p_limit and written < v_limit then
            update private.retention_rounds as round set finished_at = now()
            where round.workspace_id = p_workspace.id;
        end if;
    exception
        when others then
            ingested := 0;
            written := 0;
            raise warning 'Retention of workspace % failed with SQLSTATE %. A later round tries again.',
                p_workspace.id, sqlstate;
    end;
end
$$;
comment on function private.delete_outdated(public.workspaces, integer) is
'Deletes what one workspace no longer keeps: at most p_limit ingested messages and a tenth of that in messages of
channels. Returns both numbers. An error becomes a warning, and nothing of this workspace is deleted.';

create function private.delete_past_retention(p_limit integer) returns jsonb
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspaces public.workspaces [] := array(
        select workspace
        from public.workspaces as workspace
        left join private.retention_rounds as round on workspace.id = round.workspace_id
        where (workspace.conversation_days is not null or workspace.channel_days is not null)
            and coalesce(round.finished_at, '-infinity') < now() - interval '1 day'
        order by round.visited_at nulls first, workspace.id
        limit least(100, greatest(p_limit / 10, 1))
    );
    v_workspace public.workspaces;
    v_deleted record;
    v_ingested bigint := 0;
    v_written bigint := 0;
begin
    foreach v_workspace in array v_workspaces loop
        v_deleted := private.delete_outdated(v_workspace, p_limit / cardinality(v_workspaces));
        v_ingested := v_ingested + v_deleted.ingested;
        v_written := v_written + v_deleted.written;
    end loop;
    return jsonb_build_object('conversation_messages', v_ingested, 'messages', v_written);
end
$$;
comment on function private.delete_past_retention(integer) is
'Deletes what workspaces no longer keep, each once a day. Takes at most p_limit ingested messages and a tenth of that in
messages of channels, in equal shares; the one that waited longest comes first. Returns the number of rows by kind.';
