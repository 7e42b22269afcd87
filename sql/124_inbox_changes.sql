-- The log of what changed in conversations. A client that was away reads it to catch up.
-- Promise: a client gets every change after its cursor, in order. If the clean-up has deleted some of them, the answer
-- is an error that says so.
-- The transaction id orders the log, because writers would wait for a counter. A reader stops before the oldest
-- transaction that still runs (docs/explanation/decisions/0013).

create table private.inbox_changes (
    id bigint generated always as identity primary key,
    workspace_id uuid not null,
    xid xid8 not null default pg_current_xact_id(),
    created_at timestamptz not null default clock_timestamp(),
    conversation_ids uuid[] not null,
    external_ids text[],
    senders text[],
    versions bigint[]
);
comment on table private.inbox_changes is
'What changed in conversations: one row per workspace and statement, with ids and no texts.';
comment on column private.inbox_changes.xid is 'The transaction that made the change, which orders the log.';
comment on column private.inbox_changes.conversation_ids is
'The changed conversations; with external_ids, the conversation of each changed message. The log keeps deleted ones.';
comment on column private.inbox_changes.external_ids is 'The ids of the changed messages; null if none changed.';
comment on column private.inbox_changes.versions is
'The versions of the changed conversations, by their ids; null if the change raised none because rows were deleted.';
create index inbox_changes_workspace_id_xid_idx on private.inbox_changes (workspace_id, xid, id);
alter table private.inbox_changes enable row level security;

create table private.inbox_log_starts (
    workspace_id uuid primary key references public.workspaces (id) on delete cascade,
    xid xid8 not null,
    id bigint not null,
    place integer not null
);
comment on table private.inbox_log_starts is
'The last change that the clean-up has deleted from the log of a workspace, as cursors name it.';
alter table private.inbox_log_starts enable row level security;

create function private.list_versions(p_ids uuid[]) returns bigint[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return array(
        select known.version
        from (select distinct given.id from unnest(p_ids) as given (id)) as changed
        left join lateral (
            -- LIMIT 1 makes this one look-up by the key, even if the statistics are old.
            select conversation.version
            from public.conversations as conversation
            where conversation.id = changed.id
            limit 1
        ) as known on true
        order by changed.id
    );
end
$$;
comment on function private.list_versions(uuid[]) is
'The versions of these conversations, each once, ordered by id.';

-- Definer, because no role writes the log.
create function private.note_conversations(p_ids uuid[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.inbox_changes (workspace_id, conversation_ids, versions)
    select
        conversation.workspace_id, array_agg(conversation.id order by conversation.id),
        array_agg(conversation.version order by conversation.id)
    from public.conversations as conversation
    where conversation.id = any(p_ids)
    group by conversation.workspace_id;
end
$$;
comment on function private.note_conversations(uuid[]) is 'Writes changed conversations into the log.';

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.note_gone_conversations_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into private.inbox_changes (workspace_id, conversation_ids)
    select gone.workspace_id, array_agg(gone.id order by gone.id)
    from gone
    inner join public.workspaces as workspace on gone.workspace_id = workspace.id
    group by gone.workspace_id;
    return null;
end
$$;
comment on function private.note_gone_conversations_trigger() is
'Trigger: writes deleted conversations into the log, unless their workspace is deleted, too.';

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.forget_inbox_changes_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.inbox_changes as log where log.workspace_id = any(array(select gone.id from gone));
    return null;
end
$$;
comment on function private.forget_inbox_changes_trigger() is
'Trigger: deletes the log of deleted workspaces.';

create function private.render_inbox_change(p_conversation_id uuid, p_external_ids text[], p_senders text[])
returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    c_most constant integer := 100;
    v_conversation jsonb := (
        select to_jsonb(conversation) from public.conversations as conversation
        where conversation.id = p_conversation_id
    );
    v_messages jsonb;
begin
    if v_conversation is null then
        return jsonb_build_object('conversation_id', p_conversation_id, 'deleted', true);
    elsif cardinality(p_external_ids) <= c_most then
        select coalesce(jsonb_agg(
            stored.message order by stored.sent_at, stored.sequence, stored.received_at, stored.external_id
        ), '[]') into v_messages
        from public.conversation_messages as stored
        where stored.conversation_id = p_conversation_id
            and (stored.external_id, stored.sender) in (
                select given.external_id collate "C", given.sender collate "C"
                from unnest(p_external_ids, p_senders) as given (external_id, sender)
            );
    end if;
    return jsonb_build_object(
        'conversation_id', p_conversation_id, 'conversation', v_conversation,
        'messages', coalesce(v_messages, '[]')
    ) || case
        when cardinality(p_external_ids) > c_most then jsonb_build_object('truncated', true)
        when cardinality(p_external_ids) > jsonb_array_length(v_messages) then jsonb_build_object('removed', true)
        else '{}'
    end;
end
$$;
comment on function private.render_inbox_change(uuid, text[], text[]) is
'A change as a client gets it: the conversation and its changed messages as they are now. If more than 100 changed, it
has none and truncated is true; removed is true if the rows of some are deleted.';

create function private.require_kept_changes(p_workspaces uuid[], p_xid xid8, p_id bigint, p_place integer)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (
        select from private.inbox_log_starts as start
        where start.workspace_id = any(p_workspaces) and (start.xid, start.id, start.place) > (p_xid, p_id, p_place)
    ) then
        perform private.fail(
            409, 'cursor_expired',
            'Changes after this cursor were deleted. Call without since and read the conversations again.', 'since'
        );
    end if;
end
$$;
comment on function private.require_kept_changes(uuid[], xid8, bigint, integer) is
'Raises an error if the clean-up has deleted changes of these workspaces after a position. PT409.';

-- Definer, because clients may not read the log. It lists only workspaces of the caller.
create function private.list_inbox_changes(
    p_workspace_id uuid, p_xid xid8, p_id bigint, p_place integer, p_limit integer
) returns jsonb
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    -- All transactions before this one have ended, so no earlier change can appear any more.
    v_horizon xid8 := pg_snapshot_xmin(pg_current_snapshot());
    v_workspaces uuid[] := array(
        select mine.id from private.my_workspaces as mine
        where p_workspace_id is null or mine.id = p_workspace_id
    );
    v_answer record;
begin
    perform private.require_kept_changes(v_workspaces, p_xid, p_id, p_place);
    with entry as (
        select line.xid, line.id, changed.place::integer as place, changed.conversation_id, changed.external_ids,
            changed.senders, changed.version
        from (
            select log.*
            from unnest(v_workspaces) as mine (id)
            cross join lateral (
                -- The page of each workspace, from the index. All at once would sort what lies after the page, too.
                select page.* from private.inbox_changes as page
                where page.workspace_id = mine.id and page.xid < v_horizon and (page.xid, page.id) >= (p_xid, p_id)
                order by page.xid, page.id
                limit p_limit + 1
            ) as log
            order by log.xid, log.id
            limit p_limit + 1
        ) as line
        cross join lateral (
            select
                given.conversation_id, row_number() over (order by min(given.position)) as place,
                line.versions[(row_number() over (order by given.conversation_id))::integer] as version,
                array_agg(given.external_id order by given.position) filter (where given.external_id is not null)
                    as external_ids,
                array_agg(given.sender order by given.position) filter (where given.external_id is not null) as senders
            from unnest(line.conversation_ids, line.external_ids, line.senders)
            with ordinality as given (conversation_id, external_id, sender, position)
            group by given.conversation_id
        ) as changed
        where (line.xid, line.id, changed.place) > (p_xid, p_id, p_place)
        order by line.xid, line.id, changed.place
        limit p_limit
    )

    select
        count(*) as number,
        coalesce(jsonb_agg(
            jsonb_strip_nulls(jsonb_build_object('version', entry.version))
            || private.render_inbox_change(entry.conversation_id, coalesce(entry.external_ids, '{}'), entry.senders)
            order by entry.xid, entry.id, entry.place
        ), '[]') as data,
        (array_agg(row(entry.xid, entry.id, entry.place)::private.inbox_position
            order by entry.xid desc, entry.id desc, entry.place desc))[1] as last
    into v_answer
    from entry;
    return jsonb_build_object('data', v_answer.data, 'has_more', v_answer.number = p_limit, 'next_cursor',
        private.render_inbox_cursor(coalesce(v_answer.last, (p_xid, p_id, p_place)::private.inbox_position))
    );
end
$$;
comment on function private.list_inbox_changes(uuid, xid8, bigint, integer, integer) is
'A page of the log of the caller''s workspaces after a position, up to the oldest transaction that still runs.';

create function public.list_inbox_changes(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid := private.parse_uuid($1, 'workspace_id', false);
    v_limit integer := private.parse_integer($1, 'limit', 1, 100, 100);
    v_since text := private.scalar_text($1, 'since');
    v_cursor private.inbox_position;
    v_page jsonb;
begin
    if v_workspace_id is not null
        and not exists (select from private.my_workspaces as mine where mine.id = v_workspace_id)
    then
        perform private.fail(
            404, 'workspace_not_found', 'This workspace does not exist, or you are not a member.', 'workspace_id'
        );
    elsif v_since is null then
        return private.succeed('[]', jsonb_build_object(
            'next_cursor', private.render_inbox_cursor(
                (pg_snapshot_xmin(pg_current_snapshot()), 0, 0)::private.inbox_position
            ),
            'has_more', false
        ));
    end if;
    v_cursor := private.parse_inbox_cursor(v_since);
    v_page := private.list_inbox_changes(
        v_workspace_id, v_cursor.xid, v_cursor.id, v_cursor.place, v_limit
    );
    return private.succeed(v_page -> 'data', v_page - 'data');
end
$$;
comment on function public.list_inbox_changes(jsonb) is
'GET /api/v2/inbox/changes: since, and optionally workspace_id, limit (1 to 100 conversations). Every change of the
caller''s conversations since a cursor, oldest first. Without since: the cursor of now, and no changes.';
