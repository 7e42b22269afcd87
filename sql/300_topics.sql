-- Realtime topics: who may listen to which, and who may send.

create function private.my_topics() returns setof text
language sql
stable
set search_path = ''
as $$
    select 'channel:' || mine.id from private.my_channels as mine
    union all
    select 'twin:' || mine.id from private.my_twins as mine
    union all
    select 'inbox:' || (select auth.uid())
$$;
comment on function private.my_topics() is
'The topics that the caller may listen to. Only the database sends to them. Topics are compared as text, byte by byte.';

create function private.my_live_topics() returns setof text
language sql
stable
set search_path = ''
as $$
    select 'channel:' || mine.id || ':live' from private.my_channels as mine
$$;
comment on function private.my_live_topics() is
'The topics on which the caller and the other members of a channel tell each other who is there and who types.';

-- Realtime asks with rows that have a topic and an extension and nothing else, so no policy may look at more.
create policy messages_select_listener on realtime.messages
for select to authenticated
using (
    (extension = 'broadcast' and topic in (select private.my_topics()))
    or (extension in ('broadcast', 'presence') and topic in (select private.my_live_topics()))
);
create policy messages_insert_live_member on realtime.messages
for insert to authenticated
with check (extension in ('broadcast', 'presence') and topic in (select private.my_live_topics()));
-- Restrictive, so that an open policy of the application does not open our topics.
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
    -- For clients that use postgres_changes. Elsewhere than on Supabase there is no such publication.
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
-- Where the server runs pg_cron and lets us, as Supabase does. Elsewhere the service alone cleans.
do $$
begin
    if exists (select from pg_available_extensions where name = 'pg_cron') then
        create extension if not exists pg_cron;
        perform cron.schedule('threadline_clean_up', '*/5 * * * *', 'select private.clean_up()');
    end if;
exception
    when others then
        raise notice 'pg_cron is not used: %', sqlerrm;
end
$$;
