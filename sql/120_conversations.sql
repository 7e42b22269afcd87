-- Ingested conversations and their messages, one row each.
-- Promise: message_count, last_message_at and last_message_preview always agree with the messages.

create type private.conversation_summary as (
    conversation_id uuid,
    message_count integer,
    last_message_at timestamptz,
    last_message_preview text
);
comment on type private.conversation_summary is 'What a conversation says about its messages.';

create table public.conversations (
    id uuid primary key default private.generate_id(),
    -- The user before the workspace: Postgres checks the keys in this order, and a deleted user is locked first.
    user_id uuid not null references auth.users (id) on delete cascade,
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    scope_id uuid not null,
    platform text not null,
    external_conversation_id text collate "C" not null,
    participant_identifier text collate "C" not null,
    participant_name text collate "C",
    kind text not null default 'direct',
    participant_digits text generated always as (
        case kind when 'direct' then private.phone_digits(participant_identifier) end
    ) stored,
    participant_key text collate "C",
    participant_identified_at timestamptz,
    participant_named_at timestamptz,
    person_id uuid,
    matched_by text,
    version bigint not null default 1,
    message_count integer not null default 0,
    last_message_at timestamptz,
    last_message_preview text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint conversations_external_id_unique unique (platform, external_conversation_id, user_id, scope_id),
    constraint conversations_person_id_fkey foreign key (workspace_id, person_id)
    references public.people (workspace_id, id) on delete set null (person_id),
    constraint conversations_platform_known check (platform in ('whatsapp', 'signal', 'telegram', 'wechat')),
    constraint conversations_kind_known check (kind in ('direct', 'group')),
    constraint conversations_external_id_length check (char_length(external_conversation_id) between 1 and 500),
    constraint conversations_participant_identifier_length check (
        char_length(participant_identifier) between 1 and 500
    ),
    constraint conversations_participant_name_length check (char_length(participant_name) between 1 and 500),
    constraint conversations_message_count_not_negative check (message_count >= 0)
);
comment on table public.conversations is
'A conversation on an outside platform. Read its messages with select=*,messages, or from conversation_messages.';
comment on column public.conversations.workspace_id is 'The workspace of the connection; its members read it.';
comment on column public.conversations.user_id is
'The owner of the connection that ingested the conversation.';
comment on column public.conversations.scope_id is
'The workspace; or the connection, if that keeps its conversations apart. A part of the key.';
comment on column public.conversations.external_conversation_id is 'The id of the conversation on its platform.';
comment on column public.conversations.participant_identifier is
'As the newest batch had it. A phone number stays when a batch has another kind; all others stand in
conversation_identifiers.';
comment on column public.conversations.participant_name is
'As the newest batch that had a name; never emptied again.';
comment on column public.conversations.kind is
'direct or group. In a group the participant is the group, and a message has a sender.';
comment on column public.conversations.participant_digits is
'The digits of participant_identifier when it is a phone number.';
comment on column public.conversations.participant_identified_at is
'Newest message of the batch that set participant_identifier: an older batch that arrives later does not undo it.';
comment on column public.conversations.participant_named_at is
'Newest message of the batch that set participant_name, for the same reason.';
comment on column public.conversations.participant_key is
'What participant_identifier has in common with equal ones (private.identifier_key); triggers set it. Null if it is
not of a person.';
comment on column public.conversations.matched_by is
'Why person_id is this person: phone (the same number), phone_national (the same number once a country is added),
phone_last_ten (the same last ten digits), or the kind of another identifier. Null without a person.';
comment on column public.conversations.person_id is
'The matched person, which triggers keep up to date; null if no person matches.';
comment on column public.conversations.version is
'Rises by one with each broadcast of the conversation, so that a client notices a missed one.';
comment on column public.conversations.last_message_at is
'When its last message was sent, in the order of the messages, however late that came.';
comment on column public.conversations.last_message_preview is
'At most 100 characters of that message, or what it is when it has no text.';
create index conversations_workspace_id_last_message_at_idx
on public.conversations (workspace_id, last_message_at desc);
create index conversations_workspace_id_participant_key_idx
on public.conversations (workspace_id, participant_key);
create index conversations_person_id_idx on public.conversations (workspace_id, person_id)
where person_id is not null;
create index conversations_user_id_idx on public.conversations (user_id);
alter table public.conversations enable row level security;

-- Without a foreign key: triggers check for a whole statement what it would check row by row, which took a sixth of an
-- ingest (docs/explanation/decisions/0006).
create table public.conversation_messages (
    conversation_id uuid not null,
    external_id text collate "C" not null,
    sender text collate "C" not null default '',
    workspace_id uuid not null,
    connection_id uuid,
    sent_at timestamptz not null,
    received_at timestamptz not null default now(),
    stated_at timestamptz,
    sequence bigint not null default 0,
    message jsonb not null,
    original jsonb,
    deleted_at timestamptz,
    primary key (conversation_id, external_id, sender),
    constraint conversation_messages_external_id_length check (char_length(external_id) between 1 and 500)
);
comment on table public.conversation_messages is
'The messages of conversations, a row each. Its primary key is what makes a retry harmless.';
comment on column public.conversation_messages.conversation_id is
'Its conversation. A trigger rejects messages of missing conversations, and deletes them with their conversation.';
comment on column public.conversation_messages.external_id is 'The message''s identifier on its platform.';
comment on column public.conversation_messages.sender is
'Who sent it, in a group, because two members may use the same id; else empty.';
comment on column public.conversation_messages.workspace_id is
'The conversation''s workspace, repeated so that row-level security needs no second table.';
comment on column public.conversation_messages.connection_id is
'The id of the connection that brought the message first; the connection may be deleted since.';
comment on column public.conversation_messages.sent_at is
'When it was sent, as its platform says. If stated_at is set: its place in the order, behind all that was there.';
comment on column public.conversation_messages.received_at is
'When it was stored here. Messages of one request lie microseconds apart, in the order of the request.';
comment on column public.conversation_messages.stated_at is
'What its platform said, if that is more than an hour after the arrival; else null.';
comment on column public.conversation_messages.sequence is
'The number that the request gave to order messages of one moment, else 0.';
comment on column public.conversation_messages.message is 'The message as it is now, fields of its own included.';
comment on column public.conversation_messages.original is
'The message as it was ingested, if updates have changed it; null for deleted messages.';
comment on column public.conversation_messages.deleted_at is
'When its sender deleted it. Its text and its file are gone.';
-- Many platforms send whole seconds, so arrival orders what sequence leaves equal.
create index conversation_messages_order_idx
on public.conversation_messages (conversation_id, sent_at, sequence, received_at, external_id);
alter table public.conversation_messages enable row level security;

create policy conversations_select_member on public.conversations
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));

create policy conversation_messages_select_member on public.conversation_messages
for select to authenticated
using (exists (
    select from private.my_workspaces as mine where mine.id = conversation_messages.workspace_id
));

create function private.set_conversation_workspace_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.workspace_id := coalesce(new.workspace_id, new.user_id);
    new.scope_id := coalesce(new.scope_id, new.workspace_id);
    return new;
end
$$;
comment on function private.set_conversation_workspace_trigger() is
'Trigger: puts a conversation that names no workspace into the personal workspace of its user. Ingest names it.';

create function public.conversation_messages(public.conversations) returns setof public.conversation_messages
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select stored.* from public.conversation_messages as stored where stored.conversation_id = $1.id;
end
$$;
comment on function public.conversation_messages(public.conversations) is
'Computed relationship: the rows of a conversation, for select=*,conversation_messages(*) in the Data API.';

-- enable_sort, because the planner prefers a sort, which takes 1.3 times as long as the index that has the order.
create function public.messages(public.conversations) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set enable_sort = 'off'
set jit = 'off'
as $$
begin
    -- json_agg, because it copies each message as text; jsonb_agg parses it and takes twice as long.
    return (
        select coalesce(json_agg(line.message), '[]')
        from (
            select stored.message
            from public.conversation_messages as stored
            where stored.conversation_id = $1.id
            order by stored.sent_at, stored.sequence, stored.received_at, stored.external_id
        ) as line
    );
end
$$;
comment on function public.messages(public.conversations) is
'Computed field: the messages of a conversation as one JSON array in their order.';

create function private.message_preview(p_message jsonb) returns text
language plpgsql
immutable
strict
parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := left(p_message ->> 'content', 1000);
begin
    return coalesce(
        nullif(btrim(left(case
            -- Most texts have only single spaces; to find that out costs a fifth of replacing them.
            when v_text ~ '\s\s|[^\S ]' then regexp_replace(v_text, '\s+', ' ', 'g')
            else v_text
        end, 100)), ''),
        case when p_message -> 'deleted' = 'true' then 'Deleted message' end,
        case p_message ->> 'type'
            when 'image' then 'Photo'
            when 'audio' then 'Voice message'
            when 'video' then 'Video'
            when 'file' then 'File'
            when 'location' then 'Location'
            when 'sticker' then 'Sticker'
            when 'contact' then 'Contact'
            when 'poll' then 'Poll'
            when 'call' then 'Call'
            when 'system' then 'Notice'
            else 'Message'
        end
    );
end
$$;
comment on function private.message_preview(jsonb) is
'At most 100 characters on one line that show what an ingested message says, or what it is.';

-- enable_seqscan, because a plan that was cached while the table was small reads all conversations (decision 0003).
create function private.update_summaries(p_summaries private.conversation_summary[], p_broadcasts integer)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = 'off'
set jit = 'off'
as $$
begin
    update public.conversations as conversation
    set
        -- The broadcasts of the transaction that creates a conversation show its first version.
        version = conversation.version + case when conversation.created_at = now() then 0 else p_broadcasts end,
        message_count = summary.message_count,
        last_message_at = summary.last_message_at,
        last_message_preview = summary.last_message_preview
    from unnest(p_summaries) as summary
    where conversation.id = summary.conversation_id
        -- Else a plan for few conversations reads the whole index.
        and conversation.id = any(array(select given.conversation_id from unnest(p_summaries) as given));
end
$$;
comment on function private.update_summaries(private.conversation_summary[], integer) is
'Writes summaries into their conversations and raises their versions by the number of broadcasts that follow: 0 when
retention deletes messages. The caller has locked the rows.';

create function private.fail_without_conversation() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The row-level security of messages rests on their workspace_id, hence it counts as a part of the key.
    raise foreign_key_violation using
        message = 'A message belongs to a conversation that exists, and to its workspace.',
        constraint = 'conversation_messages_conversation_fkey';
end
$$;
comment on function private.fail_without_conversation() is
'Raises the foreign key violation (23503) of a message of no conversation, or with another workspace_id than it has.';

-- Definer, because it also runs when Supabase Auth deletes a user, whose role may not read these tables.
create function private.summarize_conversations_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids uuid[] := array(select distinct changed.conversation_id from changed);
    -- Ingest creates a conversation with the summary of its messages (create_conversations).
    v_is_new constant boolean := coalesce(current_setting('threadline.is_creating', true) = 'on', false);
    v_is_complete boolean;
    v_stale private.conversation_summary[];
begin
    -- Locks in the order of ids, so that writers cannot deadlock. The next statement sees what earlier holders of the
    -- locks wrote. Rows that this transaction wrote are locked already.
    perform from public.conversations as conversation
    where conversation.id = any(v_ids) and conversation.xmin <> pg_current_xact_id()::xid
    order by conversation.id for no key update;

    select
        bool_and(wanted.is_known),
        array_agg((wanted.id, wanted.messages, wanted.sent_at, wanted.preview)::private.conversation_summary) filter (
            where wanted.is_known and (wanted.created_at <> now() or (wanted.messages, wanted.sent_at, wanted.preview)
            is distinct from (wanted.message_count, wanted.last_message_at, wanted.last_message_preview))
        )
    into v_is_complete, v_stale
    from (
        select
            conversation.*, newest.sent_at, private.message_preview(newest.message) as preview,
            coalesce(conversation.workspace_id = counted.workspace_id, false) as is_known,
            case
                when v_is_new and conversation.created_at = now() then (
                    select count(*) from public.conversation_messages as stored
                    where stored.conversation_id = counted.conversation_id
                )
                else conversation.message_count
                    + counted.messages * case tg_op when 'INSERT' then 1 when 'UPDATE' then 0 else -1 end
            end as messages
        from (
            select changed.conversation_id, changed.workspace_id, count(*) as messages
            from changed group by changed.conversation_id, changed.workspace_id
        ) as counted
        left join lateral (
            -- LIMIT 1 makes this one look-up by the key, even if the statistics are old.
            select known.* from public.conversations as known where known.id = counted.conversation_id limit 1
        ) as conversation on true
        left join lateral (
            select
                -- A time far beyond arrival must not keep the conversation on top of the inbox.
                case when stored.stated_at is null then stored.sent_at else stored.received_at end as sent_at,
                stored.message
            from public.conversation_messages as stored
            where stored.conversation_id = counted.conversation_id
            order by stored.sent_at desc, stored.sequence desc, stored.received_at desc, stored.external_id desc
            limit 1
        ) as newest on true
    ) as wanted;
    if tg_op = 'INSERT' and not v_is_complete then
        perform private.fail_without_conversation();
    end if;
    perform private.update_summaries(v_stale, case tg_op when 'DELETE' then 0 else 1 end) where v_stale is not null;
    return null;
end
$$;
comment on function private.summarize_conversations_trigger() is
'Trigger: keeps message_count, last_message_at and last_message_preview up to date.
A message of no conversation, or with another workspace_id than it has, is a foreign key violation (23503).';

-- Definer, because it also runs when Supabase Auth deletes a user. force_custom_plan, because a plan that was cached
-- while the table was small reads all messages (docs/explanation/decisions/0003).
create function private.delete_conversation_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    delete from public.conversation_messages as stored
    where stored.conversation_id = any(array(select removed.id from removed));
    return null;
end
$$;
comment on function private.delete_conversation_messages_trigger() is
'Trigger: deletes the messages of deleted conversations. It waits for concurrent inserts, which lock the conversation.';
