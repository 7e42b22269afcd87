-- How far each user has read each conversation, and how much is unread. All devices share it.
-- Promise: a read marker only moves forward. Ingest writes nothing here: reading an inbox counts.

create table public.conversation_reads (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    user_id uuid not null,
    workspace_id uuid not null,
    read_at timestamptz not null,
    primary key (conversation_id, user_id),
    constraint conversation_reads_member_fkey foreign key (workspace_id, user_id)
    references public.workspace_members (workspace_id, user_id) on update cascade on delete cascade
);
comment on table public.conversation_reads is
'The read marker of each member of a workspace in its conversations. mark_conversation_read moves it.';
comment on column public.conversation_reads.read_at is
'The user has read the messages that were sent until this time.';
create index conversation_reads_workspace_id_user_id_idx on public.conversation_reads (workspace_id, user_id);
alter table public.conversation_reads enable row level security;

create policy conversation_reads_select_self on public.conversation_reads
for select to authenticated using (user_id = (select auth.uid()));

-- Definer, because no client writes markers. It marks only conversations of the caller's workspaces.
create function private.mark_conversation_read(p_conversation_id uuid, p_at timestamptz) returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_read_at timestamptz;
begin
    insert into public.conversation_reads as mine (conversation_id, user_id, workspace_id, read_at)
    select
        conversation.id,
        auth.uid(),
        conversation.workspace_id,
        -- Answers have milliseconds, so a time of an answer means all of its millisecond. A message with a wrong clock
        -- counts with its place in the order, because a later one may lie behind it by a microsecond.
        least(p_at + interval '999 us', coalesce(
            (
                select max(message.sent_at)
                from public.conversation_messages as message
                where message.conversation_id = p_conversation_id
            ),
            'epoch'
        ))
    from public.conversations as conversation
    where conversation.id = p_conversation_id
        and exists (select from private.my_workspaces as workspace where workspace.id = conversation.workspace_id)
    on conflict (conversation_id, user_id) do update set read_at = greatest(mine.read_at, excluded.read_at)
    returning mine.read_at into v_read_at;
    return v_read_at;
end
$$;
comment on function private.mark_conversation_read(uuid, timestamptz) is
'Moves the read marker of the caller forward, at most to the last message, and returns it; null for non-members.';

create function public.mark_conversation_read(conversation_id uuid, at timestamptz default 'infinity') returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_read_at timestamptz := private.mark_conversation_read(
        mark_conversation_read.conversation_id, coalesce(mark_conversation_read.at, 'infinity')
    );
begin
    if v_read_at is null then
        perform private.fail(
            404, 'conversation_not_found', 'This conversation does not exist, or you may not see it.', 'conversation_id'
        );
    end if;
    return json_build_object(
        'conversation_id', mark_conversation_read.conversation_id, 'read_at', private.format_time(v_read_at)
    );
end
$$;
comment on function public.mark_conversation_read(uuid, timestamptz) is
'Moves the read marker of the caller in a conversation to the messages sent until at, by default to the last. It never
moves back. Returns conversation_id and read_at.';

create function public.unread_count(public.conversations) returns integer
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select count(*)::integer
        from (
            select
                message.message ->> 'direction' = 'inbound' and message.deleted_at is null as is_unread,
                -- A wrong clock gives a place in the order, which may be long ago.
                case when message.stated_at is null then message.sent_at else message.received_at end as came_at
            from public.conversation_messages as message
            where message.conversation_id = $1.id
                and message.sent_at > coalesce(
                    (
                        select mine.read_at
                        from public.conversation_reads as mine
                        where mine.conversation_id = $1.id and mine.user_id = (select auth.uid())
                    ),
                    '-infinity'
                )
            order by message.sent_at desc
            limit 100
        ) as newest
        where newest.is_unread
            and newest.came_at > (
                select member.created_at
                from public.workspace_members as member
                where member.workspace_id = $1.workspace_id and member.user_id = (select auth.uid())
            )
    );
end
$$;
comment on function public.unread_count(public.conversations) is
'Computed field: how many of the newest 100 messages are inbound and not read by the caller. What was sent before the
caller joined the workspace counts as read.';
