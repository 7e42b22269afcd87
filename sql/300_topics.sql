-- Realtime topics: which users may listen to a topic, and which may send to it.
-- Promise: only the database sends to inbox:, twin: and channel: topics. Members of a channel send only to its :live
-- topic. A policy of the application cannot open these topics.

create function private.my_topics() returns setof text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select 'channel:' || mine.id from private.my_channels as mine
    union all
    select 'twin:' || mine.id from private.my_twins as mine
    union all
    select 'inbox:' || (select auth.uid())
$$;
comment on function private.my_topics() is
'Lists the topics to which the caller may listen and only the database sends. Policies compare topics as text.';

create function private.my_live_topics() returns setof text
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
    select 'channel:' || mine.id || ':live' from private.my_channels as mine
$$;
comment on function private.my_live_topics() is
'Lists the topics on which members of the caller''s channels send each other presence and typing.';

-- Realtime tests the policies with rows that have only a topic and an extension, so no policy may read another column.
create policy messages_select_listener on realtime.messages
for select to authenticated
using (
    (extension = 'broadcast' and topic in (select private.my_topics()))
    or (extension in ('broadcast', 'presence') and topic in (select private.my_live_topics()))
);
create policy messages_insert_live_member on realtime.messages
for insert to authenticated
with check (extension in ('broadcast', 'presence') and topic in (select private.my_live_topics()));
-- Restrictive, so that a wide policy of the application does not open our topics.
create policy messages_select_listener_only on realtime.messages
as restrictive for select to authenticated
using (
    topic !~ '^(inbox|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$'
    or topic in (select private.my_topics())
    or topic in (select private.my_live_topics())
);
create policy messages_insert_live_member_only on realtime.messages
as restrictive for insert to authenticated
with check (
    topic !~ '^(inbox|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$'
    or topic in (select private.my_live_topics())
);
create policy messages_select_anon on realtime.messages
as restrictive for select to anon
using (topic !~ '^(inbox|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$');
create policy messages_insert_anon on realtime.messages
as restrictive for insert to anon
with check (topic !~ '^(inbox|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$');

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
