-- Realtime topics: which users may listen to a topic, and which may send to it.
-- Promise: only the database sends to inbox:, user:, workspace:, twin: and channel: topics. Members of a channel send
-- only to its :live topic. A policy of the application cannot open these topics.

-- A view named my_ has the rights of its owner (200_channels): no client reads counters.
create view private.my_topic_turns
with (security_barrier = true) as
select
    counter.channel_id as id,
    counter.topic_turn
from public.channel_members as member
inner join private.channel_counters as counter on member.channel_id = counter.channel_id
where member.user_id = (select auth.uid());
comment on view private.my_topic_turns is
'The current turn of the topic of each channel of the caller (decision 0014).';

create function private.is_my_topic(p_topic text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := split_part(p_topic, ':', 2);
    v_turn text := split_part(p_topic, ':', 3);
begin
    -- Looks up one row, however many channels the caller has. Other spellings of an id are other topics.
    if not private.is_uuid(v_id) or v_id <> v_id::uuid::text then
        return false;
    end if;
    return case p_topic
        when 'channel:' || v_id then exists (select from private.my_channels as mine where mine.id = v_id::uuid)
        when 'workspace:' || v_id then exists (select from private.my_workspaces as mine where mine.id = v_id::uuid)
        when 'twin:' || v_id then exists (select from private.my_twins as mine where mine.id = v_id::uuid)
        when 'inbox:' || v_id then v_id::uuid = (select auth.uid())
        when 'user:' || v_id then v_id::uuid = (select auth.uid())
        when 'channel:' || v_id || ':' || v_turn then private.is_my_turn(v_id, v_turn)
        else false
    end;
end
$$;
comment on function private.is_my_topic(text) is
'Whether the caller may listen to a topic to which only the database sends.';

create function private.is_my_live_topic(p_topic text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_topic !~ '^channel:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:[0-9]+)?:live$' then
        return false;
    elsif split_part(p_topic, ':', 3) = 'live' then
        return exists (
            select from private.my_channels as mine where mine.id = split_part(p_topic, ':', 2)::uuid
        );
    end if;
    return private.is_my_turn(split_part(p_topic, ':', 2), split_part(p_topic, ':', 3));
end
$$;
comment on function private.is_my_live_topic(text) is
'Whether a topic is one on which members of a channel of the caller send each other presence and typing.';

-- Realtime tests the policies with rows that have only a topic and an extension, so no policy may read another column.
create policy messages_select_listener on realtime.messages
for select to authenticated
using (
    (extension = 'broadcast' and private.is_my_topic(topic))
    or (extension in ('broadcast', 'presence') and private.is_my_live_topic(topic))
);
create policy messages_insert_live_member on realtime.messages
for insert to authenticated
with check (extension in ('broadcast', 'presence') and private.is_my_live_topic(topic));
-- Restrictive, so that a wide policy of the application does not open our topics.
create policy messages_select_listener_only on realtime.messages
as restrictive for select to authenticated
using (
    topic !~ '^(inbox|user|workspace|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:[0-9]+)?(:live)?$'
    or private.is_my_topic(topic)
    or private.is_my_live_topic(topic)
);
create policy messages_insert_live_member_only on realtime.messages
as restrictive for insert to authenticated
with check (
    topic !~ '^(inbox|user|workspace|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:[0-9]+)?(:live)?$'
    or private.is_my_live_topic(topic)
);
create policy messages_select_anon on realtime.messages
as restrictive for select to anon
using (topic !~ '^(inbox|user|workspace|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:[0-9]+)?(:live)?$');
create policy messages_insert_anon on realtime.messages
as restrictive for insert to anon
with check (
    topic !~ '^(inbox|user|workspace|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:[0-9]+)?(:live)?$'
);

create function private.is_my_turn(p_id text, p_turn text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return p_turn ~ '^[1-9][0-9]{0,8}$' and exists (
        select from private.my_topic_turns as mine
        where mine.id = p_id::uuid and mine.topic_turn = p_turn::integer
    );
end
$$;
comment on function private.is_my_turn(text, text) is
'Whether the topic of a channel of the caller has this turn. Earlier turns are closed.';

do $$
begin
    -- For clients that use postgres_changes. Only Supabase has this publication.
    if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
        if not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'conversations'
        ) then
            alter publication supabase_realtime add table public.conversations;
        end if;
        if not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'messages'
        ) then
            alter publication supabase_realtime add table public.messages;
        end if;
        if not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'message_reactions'
        ) then
            alter publication supabase_realtime add table public.message_reactions;
        end if;
    end if;
end
$$;
