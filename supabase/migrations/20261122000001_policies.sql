-- Written from sql/ by `make migration`; change it there.

set lock_timeout = '5s';
set search_path = pg_catalog, pg_temp;

-- Apart: on Supabase a statement about policies locks tables of Auth and Storage until its end.

create policy workspaces_select_member on public.workspaces
for select to authenticated using (id = any(array(select mine.id from private.my_workspaces as mine)));
create policy workspaces_update_manager on public.workspaces
for update to authenticated
using (id = any(array(select mine.id from private.my_managed_workspaces as mine)))
with check (id = any(array(select mine.id from private.my_managed_workspaces as mine)));
create policy workspaces_delete_owner on public.workspaces
for delete to authenticated
using (not is_personal and id = any(array(select mine.id from private.my_owned_workspaces as mine)));

-- No policy lets a client insert a member: users join by invitation.
create policy workspace_members_select_member on public.workspace_members
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy workspace_members_update_manager on public.workspace_members
for update to authenticated
using (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)))
with check (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)));
create policy workspace_members_delete_manager_or_self on public.workspace_members
for delete to authenticated
using (
    user_id = (select auth.uid())
    or workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine))
);

create policy audit_log_select_owner on public.audit_log
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_owned_workspaces as mine)));

create policy people_select_member on public.people
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy people_insert_member on public.people
for insert to authenticated
with check (
    user_id = (select auth.uid())
    and exists (select from private.my_workspaces as mine where mine.id = people.workspace_id)
);
create policy people_update_member on public.people
for update to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)))
with check (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy people_delete_member on public.people
for delete to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));

create policy person_identifiers_select_member on public.person_identifiers
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy person_identifiers_insert_member on public.person_identifiers
for insert to authenticated
with check (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy person_identifiers_delete_member on public.person_identifiers
for delete to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));

create policy messaging_connections_select_member on public.messaging_connections
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy messaging_connections_insert_manager on public.messaging_connections
for insert to authenticated
with check (
    user_id = (select auth.uid())
    and exists (
        select from private.my_managed_workspaces as mine where mine.id = messaging_connections.workspace_id
    )
);
create policy messaging_connections_update_manager on public.messaging_connections
for update to authenticated
using (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)))
with check (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)));
create policy messaging_connections_delete_manager on public.messaging_connections
for delete to authenticated
using (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)));

create policy conversations_select_member on public.conversations
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));

create policy conversation_messages_select_member on public.conversation_messages
for select to authenticated
using (exists (
    select from private.my_workspaces as mine where mine.id = conversation_messages.workspace_id
));

-- The policy of conversations decides.
create policy conversation_updates_select_reader on public.conversation_updates
for select to authenticated using (
    exists (
        select from public.conversations as conversation where conversation.id = conversation_updates.conversation_id
    )
);

create policy conversation_identifiers_select_member on public.conversation_identifiers
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));

create policy conversation_reads_select_self on public.conversation_reads
for select to authenticated using (user_id = (select auth.uid()));

create policy ingest_log_select_manager on public.ingest_log
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)));

create policy user_profiles_select_peer on public.user_profiles
for select to authenticated
using (
    user_id = (select auth.uid())
    or exists (select from private.my_peers as mine where mine.id = user_profiles.user_id)
);
create policy user_profiles_update_self on public.user_profiles
for update to authenticated
using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

-- The second condition lets the creator use RETURNING: the membership is added after the insert.
create policy channels_select_member on public.channels
for select to authenticated
using (
    id = any(array(select mine.id from private.my_channels as mine))
    or (created_by = (select auth.uid()) and created_at = (select now()))
);
create policy channels_insert_creator on public.channels
for insert to authenticated
with check (
    created_by = (select auth.uid())
    and exists (select from private.my_workspaces as mine where mine.id = channels.workspace_id)
);
create policy channels_update_manager on public.channels
for update to authenticated
using (id = any(array(select mine.id from private.my_managed_channels as mine)))
with check (id = any(array(select mine.id from private.my_managed_channels as mine)));
create policy channels_delete_owner on public.channels
for delete to authenticated
using (kind = 'channel' and id = any(array(select mine.id from private.my_owned_channels as mine)));

create policy channel_members_select_member on public.channel_members
for select to authenticated using (channel_id in (select mine.id from private.my_channels as mine));
create policy channel_members_insert_manager on public.channel_members
for insert to authenticated with check (channel_id in (select mine.id from private.my_managed_channels as mine));
create policy channel_members_update_manager on public.channel_members
for update to authenticated
using (channel_id in (select mine.id from private.my_managed_channels as mine))
with check (channel_id in (select mine.id from private.my_managed_channels as mine));
create policy channel_members_delete_manager_or_self on public.channel_members
for delete to authenticated
using (channel_id in (select mine.id from private.my_managed_channels as mine) or user_id = (select auth.uid()));

create policy message_events_select_member on public.message_events
for select to authenticated
using (exists (select from private.my_channels as mine where mine.id = message_events.channel_id offset 0));

create policy user_events_select_self on public.user_events
for select to authenticated using (user_id = (select auth.uid()));

create policy member_states_select_self on public.member_states
for select to authenticated using (user_id = (select auth.uid()));
create policy member_states_update_self on public.member_states
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

create policy workspace_invitations_select_manager on public.workspace_invitations
for select to authenticated
using (
    exists (select from private.my_managed_workspaces as mine where mine.id = workspace_invitations.workspace_id)
    or exists (select from private.my_managed_channels as mine where mine.id = workspace_invitations.channel_id)
);

create policy ai_twins_select_owner_or_peer on public.ai_twins
for select to authenticated
using (
    user_id = (select auth.uid())
    or exists (select from private.my_peer_twins as mine where mine.id = ai_twins.id)
);
create policy ai_twins_insert_owner on public.ai_twins
for insert to authenticated with check (user_id = (select auth.uid()));
create policy ai_twins_update_owner on public.ai_twins
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy ai_twins_delete_owner on public.ai_twins
for delete to authenticated using (user_id = (select auth.uid()));

create policy channel_twins_select_member_or_owner on public.channel_twins
for select to authenticated
using (
    exists (select from private.my_channels as mine where mine.id = channel_twins.channel_id)
    or exists (select from private.my_twins as mine where mine.id = channel_twins.ai_twin_id)
);
create policy channel_twins_insert_owner on public.channel_twins
for insert to authenticated
with check (
    exists (select from private.my_twins as mine where mine.id = channel_twins.ai_twin_id)
    and exists (select from private.my_channels as mine where mine.id = channel_twins.channel_id)
);
create policy channel_twins_delete_owner_or_manager on public.channel_twins
for delete to authenticated
using (
    exists (select from private.my_twins as mine where mine.id = channel_twins.ai_twin_id)
    or exists (select from private.my_managed_channels as mine where mine.id = channel_twins.channel_id)
);

-- OFFSET 0 here and in the policies of other tables of a channel makes one look-up per row. Without it the planner
-- first reads all channels of the caller, for some callers thousands (decision 0007).
create policy messages_select_member on public.messages
for select to authenticated
using (
    exists (select from private.my_channels as mine where mine.id = messages.channel_id offset 0) and deleted_at is null
);
create policy messages_insert_author on public.messages
for insert to authenticated
with check (
    exists (select from private.my_channels as mine where mine.id = messages.channel_id)
    and (
        user_id = (select auth.uid())
        -- A function, because a message of a user then does not start the look-up of a twin (decision 0007).
        or user_id is null and private.is_my_twin_in(ai_twin_id, channel_id)
    )
);
create policy messages_update_author on public.messages
for update to authenticated
using (
    exists (select from private.my_channels as mine where mine.id = messages.channel_id)
    and (
        user_id = (select auth.uid())
        or exists (select from private.my_twins as mine where mine.id = messages.ai_twin_id)
    )
)
with check (
    exists (select from private.my_channels as mine where mine.id = messages.channel_id)
    and (
        user_id = (select auth.uid())
        or exists (select from private.my_twins as mine where mine.id = messages.ai_twin_id)
    )
);

create policy message_edits_select_member on public.message_edits
for select to authenticated
using (exists (select from public.messages as message where message.id = message_edits.message_id));

create policy message_reactions_select_member on public.message_reactions
for select to authenticated
using (exists (select from private.my_channels as mine where mine.id = message_reactions.channel_id offset 0));
create policy message_reactions_insert_self on public.message_reactions
for insert to authenticated
with check (
    user_id = (select auth.uid())
    and exists (select from private.my_channels as mine where mine.id = message_reactions.channel_id)
);
create policy message_reactions_delete_self on public.message_reactions
for delete to authenticated
using (
    user_id = (select auth.uid())
    and exists (select from private.my_channels as mine where mine.id = message_reactions.channel_id)
);

create policy message_pins_select_member on public.message_pins
for select to authenticated
using (exists (select from private.my_channels as mine where mine.id = message_pins.channel_id offset 0));
create policy message_pins_insert_self on public.message_pins
for insert to authenticated
with check (
    pinned_by = (select auth.uid())
    and exists (select from private.my_channels as mine where mine.id = message_pins.channel_id)
);
create policy message_pins_delete_member on public.message_pins
for delete to authenticated
using (exists (select from private.my_channels as mine where mine.id = message_pins.channel_id offset 0));

create policy message_mentions_select_member on public.message_mentions
for select to authenticated
using (exists (select from private.my_channels as mine where mine.id = message_mentions.channel_id offset 0));

create policy attachments_select_member on public.attachments
for select to authenticated
using (
    exists (select from private.my_channels as mine where mine.id = attachments.channel_id offset 0)
    or exists (select from private.my_posted_files as mine where mine.id = attachments.id)
);
create policy attachments_insert_uploader on public.attachments
for insert to authenticated
with check (
    uploaded_by = (select auth.uid())
    and exists (select from private.my_channels as mine where mine.id = attachments.channel_id)
);
create policy attachments_delete_uploader_or_manager on public.attachments
for delete to authenticated
using (
    exists (select from private.my_managed_channels as mine where mine.id = attachments.channel_id)
    or (
        uploaded_by = (select auth.uid())
        and exists (select from private.my_channels as mine where mine.id = attachments.channel_id)
    )
);

-- The path of a file is <channel id>/<attachment id>; names of files never become paths. No policy allows updates. A
-- signed upload URL asks none for two hours, so the policies of reading refuse a file that was replaced.
create policy objects_select_attachment on storage.objects
for select to authenticated using (bucket_id = 'attachments');
create policy objects_insert_attachment on storage.objects
for insert to authenticated with check (bucket_id = 'attachments');
create policy objects_delete_attachment on storage.objects
for delete to authenticated using (bucket_id = 'attachments');
-- Restrictive policies hold the rules, because policies of the application cannot open them. Some applications let all
-- users read all files, or change their own.
create policy objects_select_attachment_member on storage.objects
as restrictive for select to authenticated
using (
    bucket_id is distinct from 'attachments'
    or (
        -- Also without a type, as Storage tries an upload that may replace a file before it signs its URL.
        private.is_shown_type(metadata ->> 'mimetype')
        and (
            private.is_my_folder(name)
            and not private.is_retired_file(name)
            and not private.is_replaced_file(name, version)
            or private.is_my_media(name, version)
            or private.is_posted_to_me(name, version)
        )
    )
);
create policy objects_insert_attachment_member on storage.objects
as restrictive for insert to authenticated
with check (
    bucket_id is distinct from 'attachments'
    or (
        private.is_my_folder(name)
        and owner_id = (select auth.uid())::text
        -- Storage knows no type yet when it signs the URL of an upload.
        and (metadata ->> 'mimetype' is null or private.is_shown_type(metadata ->> 'mimetype'))
        and not private.is_retired_file(name)
        -- Rejects a new file at the path of one that was removed from Storage only.
        and case
            when name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                then not exists (
                    select from public.attachments as known
                    where known.id = split_part(objects.name, '/', 2)::uuid and known.path = objects.name
                )
            else false
        end
    )
);
create policy objects_update_attachment_none on storage.objects
as restrictive for update to authenticated
using (bucket_id is distinct from 'attachments') with check (bucket_id is distinct from 'attachments');
create policy objects_delete_attachment_owner_or_manager on storage.objects
as restrictive for delete to authenticated
using (
    bucket_id is distinct from 'attachments'
    or private.is_my_folder(name, true)
    or (
        owner_id = (select auth.uid())::text
        and private.is_my_folder(name)
    )
);
create policy objects_attachment_anon on storage.objects
as restrictive to anon
using (bucket_id is distinct from 'attachments') with check (bucket_id is distinct from 'attachments');

-- The bucket itself, too: an open policy of the application would let clients make it public.
create policy buckets_insert_attachments_none on storage.buckets
as restrictive for insert to authenticated, anon with check (id is distinct from 'attachments');
create policy buckets_update_attachments_none on storage.buckets
as restrictive for update to authenticated, anon
using (id is distinct from 'attachments') with check (id is distinct from 'attachments');
create policy buckets_delete_attachments_none on storage.buckets
as restrictive for delete to authenticated, anon using (id is distinct from 'attachments');

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

create policy twin_webhooks_select_owner on public.twin_webhooks
for select to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));
create policy twin_webhooks_delete_owner on public.twin_webhooks
for delete to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));

create policy twin_deliveries_select_owner on public.twin_deliveries
for select to authenticated using (ai_twin_id in (select mine.id from private.my_twins as mine));

create policy erasures_select_requester on public.erasures
for select to authenticated using (requested_by = (select auth.uid()));

-- Restrictive, so that a policy of the application does not open the estimates.
create policy ai_twins_select_executed on public.ai_twins
as restrictive for select to authenticated using (private.is_executed());
create policy attachments_select_executed on public.attachments
as restrictive for select to authenticated using (private.is_executed());
create policy audit_log_select_executed on public.audit_log
as restrictive for select to authenticated using (private.is_executed());
create policy channel_members_select_executed on public.channel_members
as restrictive for select to authenticated using (private.is_executed());
create policy channel_twins_select_executed on public.channel_twins
as restrictive for select to authenticated using (private.is_executed());
create policy channels_select_executed on public.channels
as restrictive for select to authenticated using (private.is_executed());
create policy conversation_identifiers_select_executed on public.conversation_identifiers
as restrictive for select to authenticated using (private.is_executed());
create policy conversation_messages_select_executed on public.conversation_messages
as restrictive for select to authenticated using (private.is_executed());
create policy conversation_reads_select_executed on public.conversation_reads
as restrictive for select to authenticated using (private.is_executed());
create policy conversation_updates_select_executed on public.conversation_updates
as restrictive for select to authenticated using (private.is_executed());
create policy conversations_select_executed on public.conversations
as restrictive for select to authenticated using (private.is_executed());
create policy erasures_select_executed on public.erasures
as restrictive for select to authenticated using (private.is_executed());
create policy ingest_log_select_executed on public.ingest_log
as restrictive for select to authenticated using (private.is_executed());
create policy member_states_select_executed on public.member_states
as restrictive for select to authenticated using (private.is_executed());
create policy message_edits_select_executed on public.message_edits
as restrictive for select to authenticated using (private.is_executed());
create policy message_events_select_executed on public.message_events
as restrictive for select to authenticated using (private.is_executed());
create policy message_mentions_select_executed on public.message_mentions
as restrictive for select to authenticated using (private.is_executed());
create policy message_pins_select_executed on public.message_pins
as restrictive for select to authenticated using (private.is_executed());
create policy message_reactions_select_executed on public.message_reactions
as restrictive for select to authenticated using (private.is_executed());
create policy messages_select_executed on public.messages
as restrictive for select to authenticated using (private.is_executed());
create policy messaging_connections_select_executed on public.messaging_connections
as restrictive for select to authenticated using (private.is_executed());
create policy people_select_executed on public.people
as restrictive for select to authenticated using (private.is_executed());
create policy person_identifiers_select_executed on public.person_identifiers
as restrictive for select to authenticated using (private.is_executed());
create policy twin_deliveries_select_executed on public.twin_deliveries
as restrictive for select to authenticated using (private.is_executed());
create policy twin_webhooks_select_executed on public.twin_webhooks
as restrictive for select to authenticated using (private.is_executed());
create policy user_events_select_executed on public.user_events
as restrictive for select to authenticated using (private.is_executed());
create policy user_profiles_select_executed on public.user_profiles
as restrictive for select to authenticated using (private.is_executed());
create policy workspace_invitations_select_executed on public.workspace_invitations
as restrictive for select to authenticated using (private.is_executed());
create policy workspace_members_select_executed on public.workspace_members
as restrictive for select to authenticated using (private.is_executed());
create policy workspaces_select_executed on public.workspaces
as restrictive for select to authenticated using (private.is_executed());

drop function private.schema_version();
create function private.schema_version() returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return '20261122000001';
end
$$;
comment on function private.schema_version() is
'The newest migration of Threadline that this database has. Copies in other projects have other file names.';
revoke all on function private.schema_version() from public, anon, authenticated, service_role;

reset search_path;
reset lock_timeout;
