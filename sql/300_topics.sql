-- Realtime topics: which users may listen to a topic, and which may send to it.
-- Promise: only the database sends to inbox:, workspace:, twin: and channel: topics. Members of a channel send only to
-- its :live topic. A policy of the application cannot open these topics.

create function private.is_my_topic(p_topic text) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id text := split_part(p_topic, ':', 2);
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
    return p_topic ~ '^channel:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:live$' and exists (
        select from private.my_channels as mine where mine.id = split_part(p_topic, ':', 2)::uuid
    );
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
    topic !~ '^(inbox|workspace|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$'
    or private.is_my_topic(topic)
    or private.is_my_live_topic(topic)
);
create policy messages_insert_live_member_only on realtime.messages
as restrictive for insert to authenticated
with check (
    topic !~ '^(inbox|workspace|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$'
    or private.is_my_live_topic(topic)
);
create policy messages_select_anon on realtime.messages
as restrictive for select to anon
using (topic !~ '^(inbox|workspace|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$');
create policy messages_insert_anon on realtime.messages
as restrictive for insert to anon
with check (topic !~ '^(inbox|workspace|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$');

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
