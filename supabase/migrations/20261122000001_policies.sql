-- Written from sql/ by `make migration`; change it there.

set lock_timeout = '5s';

-- Apart: on Supabase a statement about policies locks tables of Auth and Storage until its end.

create policy people_select_owner on public.people
for select to authenticated using (user_id = (select auth.uid()));
create policy people_insert_owner on public.people
for insert to authenticated with check (user_id = (select auth.uid()));
create policy people_update_owner on public.people
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy people_delete_owner on public.people
for delete to authenticated using (user_id = (select auth.uid()));

create policy messaging_connections_select_owner on public.messaging_connections
for select to authenticated using (user_id = (select auth.uid()));
create policy messaging_connections_insert_owner on public.messaging_connections
for insert to authenticated with check (user_id = (select auth.uid()));
create policy messaging_connections_update_owner on public.messaging_connections
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy messaging_connections_delete_owner on public.messaging_connections
for delete to authenticated using (user_id = (select auth.uid()));

create policy conversations_select_owner on public.conversations
for select to authenticated using (user_id = (select auth.uid()));

create policy conversation_messages_select_owner on public.conversation_messages
for select to authenticated using (user_id = (select auth.uid()));
