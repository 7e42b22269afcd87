-- Search in conversations: their messages are entries of the same index as those of channels.
-- Promise: search stops finding a message at the moment of its deletion, and finds a new text some seconds later.
-- Ingest only notes which messages are new, because indexing costs more than storing. The service indexes them
-- within seconds, or pg_cron every minute (420_clean_up).

create table private.word_backlog (
    change_id bigint primary key references private.inbox_changes (id) on delete cascade,
    created_at timestamptz not null default clock_timestamp()
);
comment on table private.word_backlog is
'Changes of messages that are not indexed yet.';
alter table private.word_backlog enable row level security;

-- Without a foreign key, which would cost one query for each deleted message (decision 0006).
create table private.conversation_words (
    conversation_id uuid not null,
    external_id text collate "C" not null,
    sender text collate "C" not null,
    word_id uuid not null default private.generate_id(),
    primary key (conversation_id, external_id, sender),
    constraint conversation_words_word_id_unique unique (word_id)
);
comment on table private.conversation_words is
'Maps a message of a conversation to its entry in message_words, where channel_id is the id of the workspace.';
alter table private.conversation_words enable row level security;

-- Definer, because no role writes the log.
create function private.note_ingested_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    with noted as (
        insert into private.inbox_changes (workspace_id, conversation_ids, external_ids, senders, versions)
        select
            changed.workspace_id, array_agg(changed.conversation_id), array_agg(changed.external_id),
            array_agg(changed.sender), private.list_versions(array_agg(changed.conversation_id))
        from changed
        group by changed.workspace_id
        returning id
    )

    insert into private.word_backlog (change_id) select noted.id from noted;
    return null;
end
$$;
comment on function private.note_ingested_trigger() is
'Trigger: writes new messages into the log and the backlog of the search index.';

-- Definer, because no client and no backend writes the index.
create function private.delete_conversation_words_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.message_words as entry
    where entry.message_id = any(array(select removed.word_id from removed));
    return null;
end
$$;
comment on function private.delete_conversation_words_trigger() is
'Trigger: removes messages of conversations from the search index.';

-- Definer, because every role that deletes a message must remove its words too.
create function private.forget_ingested_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.conversation_words as known
    using gone
    where (known.conversation_id, known.external_id, known.sender)
        = (gone.conversation_id, gone.external_id, gone.sender);
    -- Edits hold texts. Deletions stay, so that a message that comes again stays deleted.
    delete from public.conversation_updates as known
    using gone
    where (known.conversation_id, known.external_id) = (gone.conversation_id, gone.external_id)
        and private.is_same_sender(known.sender, gone.sender) and known.type <> 'deleted'
        and not exists (
            select from public.conversation_messages as stored
            where (stored.conversation_id, stored.external_id) = (known.conversation_id, known.external_id)
                and private.is_same_sender(stored.sender, known.sender)
        );
    insert into private.inbox_changes (workspace_id, conversation_ids, external_ids, senders)
    select
        gone.workspace_id, array_agg(gone.conversation_id), array_agg(gone.external_id), array_agg(gone.sender)
    from gone
    inner join public.workspaces as workspace on gone.workspace_id = workspace.id
    group by gone.workspace_id;
    return null;
end
$$;
comment on function private.forget_ingested_trigger() is
'Trigger: writes deleted rows of messages into the log, and removes their updates and their entries of the search index.
A deletion is kept.';

-- Definer, as the one above.
create function private.change_ingested_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from private.conversation_words as known
    using changed
    where changed.deleted_at is not null
        and (known.conversation_id, known.external_id, known.sender)
        = (changed.conversation_id, changed.external_id, changed.sender);
    with noted as (
        insert into private.inbox_changes (workspace_id, conversation_ids, external_ids, senders, versions)
        select
            changed.workspace_id, array_agg(changed.conversation_id), array_agg(changed.external_id),
            array_agg(changed.sender), private.list_versions(array_agg(changed.conversation_id))
        from changed
        group by changed.workspace_id
        returning id
    )

    insert into private.word_backlog (change_id)
    select noted.id from noted
    where exists (
        select from changed inner join gone using (conversation_id, external_id, sender)
        where changed.deleted_at is null and changed.message ->> 'content' is distinct from gone.message ->> 'content'
    );
    return null;
end
$$;
comment on function private.change_ingested_trigger() is
'Trigger: writes changed messages into the log and new texts into the backlog, and removes deleted messages from the
search index at once.';

create function private.index_changes(p_ids bigint[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    with wanted as (
        select distinct message.conversation_id, message.external_id collate "C" as external_id, message.sender
        from private.inbox_changes as log
        cross join lateral unnest(log.conversation_ids, log.external_ids, log.senders)
            as message (conversation_id, external_id, sender)
        where log.id = any(p_ids)
    ), present as (
        select stored.conversation_id, stored.external_id, stored.sender
        from wanted
        -- Each LIMIT 1 makes one look-up by the key, however many rows the planner expects.
        cross join lateral (
            select message.* from public.conversation_messages as message
            where message.conversation_id = wanted.conversation_id
                and message.external_id = wanted.external_id
                and message.sender = wanted.sender collate "C"
                and message.deleted_at is null
            limit 1
            for key share
        ) as stored
    ), named as (
        insert into private.conversation_words (conversation_id, external_id, sender)
        select present.conversation_id, present.external_id, present.sender from present
        -- An update, because only that returns the rows that were there.
        on conflict (conversation_id, external_id, sender) do update set sender = excluded.sender
        returning conversation_id, external_id, sender, word_id
    )

    insert into private.message_words as entry (message_id, channel_id, created_at, words)
    select
        named.word_id, stored.workspace_id, stored.sent_at, private.index_words_safely(
            stored.message ->> 'content',
            case when stored.message ->> 'type' in ('image', 'audio', 'video', 'file') then '[{}]'::jsonb end,
            'english'
        )
    from named
    cross join lateral (
        select message.* from public.conversation_messages as message
        where message.conversation_id = named.conversation_id
            and message.external_id = named.external_id
            and message.sender = named.sender
        limit 1
    ) as stored
    on conflict (message_id) do update set words = excluded.words, created_at = excluded.created_at;
    delete from private.word_backlog as noted where noted.change_id = any(p_ids);
end
$$;
comment on function private.index_changes(bigint[]) is
'Puts the messages of these changes into the search index, and removes the changes from the backlog.';

-- Definer, because no client and no backend writes the index.
create function private.index_conversations(p_limit integer) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
-- lock_timeout, so that this gives up before a deletion fails with a deadlock; the next round continues.
set lock_timeout = '100ms'
as $$
declare
    v_ids bigint[];
    v_id bigint;
begin
    -- One process at a time, because the slower of two could write an older text last.
    if not pg_try_advisory_xact_lock(hashtextextended('threadline.words', 0)) then
        return 0;
    end if;
    v_ids := array(
        select noted.change_id from private.word_backlog as noted order by noted.change_id limit p_limit
    );
    begin
        perform private.index_changes(v_ids);
        return cardinality(v_ids);
    exception
        when others then
            if not private.is_about_data(sqlstate) then
                raise;
            end if;
    end;
    -- One by one, because one change must not stop the changes of other workspaces.
    foreach v_id in array v_ids loop
        begin
            perform private.index_changes(array[v_id]);
        exception
            when others then
                if not private.is_about_data(sqlstate) then
                    raise;
                end if;
                delete from private.word_backlog as noted where noted.change_id = v_id;
                raise warning 'Search cannot index change % (SQLSTATE %) and leaves it out.', v_id, sqlstate;
        end;
    end loop;
    return cardinality(v_ids);
end
$$;
comment on function private.index_conversations(integer) is
'Puts the messages of the oldest p_limit rows of the backlog into the search index. Returns the number of rows, and 0
while another process indexes. A change that cannot be indexed leaves the backlog with a warning.';

create function public.index_conversations(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
begin
    return private.succeed(jsonb_build_object(
        'indexed', private.index_conversations(v_limit),
        'reindexed', private.index_languages(5 * v_limit)
    ));
end
$$;
comment on function public.index_conversations(jsonb) is
'For the service: indexes messages of conversations for search. Takes limit (rows of the backlog, one for each ingest
request). Returns how many it took (indexed), and how many messages of a channel it indexed again because the language
of the channel changed (reindexed, at most five times limit).';

-- Definer, because no client reads the index. It returns messages of the caller's workspaces only.
create function private.search_conversations(
    p_search private.message_search, p_conversation_id uuid,
    out keys private.conversation_words[], out ranks real[]
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_search private.message_search := p_search;
    v_found record;
begin
    if p_search.channel_ids is not null or p_search.message_ids is not null then
        return;  -- in:, mentions: and has:pin name channels and their messages
    end if;
    v_search.other_author_ids := null;
    v_search.channel_ids := array(
        select workspace.id from public.workspaces as workspace where private.is_service()
        union
        select mine.id from private.my_workspaces as mine
    );
    if p_conversation_id is not null then
        -- A conversation beyond this size is searched with its workspace.
        v_search.message_ids := (
            select case when count(*) <= 20000 then array_agg(known.word_id) end
            from (
                select entry.word_id from private.conversation_words as entry
                where entry.conversation_id = p_conversation_id
                limit 20001
            ) as known
        );
    end if;
    select * into v_found from private.search_index(v_search);
    select array_agg(known order by hit.place), array_agg(hit.rank order by hit.place) into keys, ranks
    from unnest(v_found.ids, v_found.ranks) with ordinality as hit (id, rank, place)
    inner join private.conversation_words as known on hit.id = known.word_id
    where p_conversation_id is null or known.conversation_id = p_conversation_id;
end
$$;
comment on function private.search_conversations(private.message_search, uuid) is
'The newest 1,000 messages of the caller''s conversations that fit a search, with their ranks.';

create function public.search_conversations(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_query text := private.parse_text(case when $1 -> 'query' = '""' then $1 - 'query' else $1 end, 'query', 1000);
    v_conversation_id uuid := private.parse_uuid($1, 'conversation_id', false);
    v_limit integer := private.parse_integer($1, 'limit', 1, 100, 20);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
    v_search private.message_search := private.parse_search(v_query);
    v_answer record;
begin
    if v_conversation_id is not null
        and not exists (select from public.conversations as conversation where conversation.id = v_conversation_id)
    then
        perform private.fail(
            404, 'conversation_not_found',
            'This conversation does not exist or is not yours. Check conversation_id.', 'conversation_id'
        );
    elsif v_search is null then
        return private.succeed('[]', '{"total": 0}');
    end if;
    with found as (
        select
            stored.conversation_id, stored.message, conversation.platform, conversation.participant_name,
            conversation.person_id,
            row_number() over (
                order by hit.rank desc, stored.sent_at desc, stored.conversation_id, stored.external_id, stored.sender
            ) as place
        from private.search_conversations(v_search, v_conversation_id) as matched
        cross join lateral unnest(matched.keys, matched.ranks) as hit (
            conversation_id, external_id, sender, word_id, rank
        )
        inner join public.conversation_messages as stored
            on hit.conversation_id = stored.conversation_id
            and hit.external_id = stored.external_id
            and hit.sender = stored.sender
        inner join public.conversations as conversation on stored.conversation_id = conversation.id
        where stored.deleted_at is null
    )

    select
        count(*) as total,
        coalesce(jsonb_agg(
            jsonb_build_object(
                'conversation_id', found.conversation_id, 'platform', found.platform,
                'participant_name', found.participant_name, 'person_id', found.person_id, 'message', found.message
            )
            order by found.place
        ) filter (where found.place > v_offset and found.place <= v_offset + v_limit), '[]') as data
    into v_answer
    from found;
    return private.succeed(v_answer.data, jsonb_build_object('total', v_answer.total));
end
$$;
comment on function public.search_conversations(jsonb) is
'GET /api/v2/conversations/search: query, and optionally conversation_id, limit (1 to 100), offset. The query is written
as that of search_messages; from:, in:, mentions: and has:pin find nothing, and exclude nothing, because they name
users, channels and their messages. Best rank first, then newest. Considers and counts the newest 1,000 messages that
fit.';
