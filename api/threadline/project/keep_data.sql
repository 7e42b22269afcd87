-- Written from sql/ by `make migration`; change it there.

do $$
declare
    v_filled text;
begin
    select string_agg(filled.name, ', ') into v_filled
    from (
        select 'public.ai_twins' as name where exists (select from public.ai_twins)
        union all
        select 'public.attachments' as name where exists (select from public.attachments)
        union all
        select 'public.audit_log' as name where exists (select from public.audit_log)
        union all
        select 'public.channel_members' as name where exists (select from public.channel_members)
        union all
        select 'public.channel_twins' as name where exists (select from public.channel_twins)
        union all
        select 'public.channels' as name where exists (select from public.channels)
        union all
        select 'public.conversation_identifiers' as name where exists (select from public.conversation_identifiers)
        union all
        select 'public.conversation_messages' as name where exists (select from public.conversation_messages)
        union all
        select 'public.conversation_reads' as name where exists (select from public.conversation_reads)
        union all
        select 'public.conversation_updates' as name where exists (select from public.conversation_updates)
        union all
        select 'public.conversations' as name where exists (select from public.conversations)
        union all
        select 'public.erasures' as name where exists (select from public.erasures)
        union all
        select 'public.ingest_log' as name where exists (select from public.ingest_log)
        union all
        select 'public.member_states' as name where exists (select from public.member_states)
        union all
        select 'public.message_edits' as name where exists (select from public.message_edits)
        union all
        select 'public.message_events' as name where exists (select from public.message_events)
        union all
        select 'public.message_mentions' as name where exists (select from public.message_mentions)
        union all
        select 'public.message_pins' as name where exists (select from public.message_pins)
        union all
        select 'public.message_reactions' as name where exists (select from public.message_reactions)
        union all
        select 'public.messages' as name where exists (select from public.messages)
        union all
        select 'public.messaging_connections' as name where exists (select from public.messaging_connections)
        union all
        select 'public.people' as name where exists (select from public.people)
        union all
        select 'public.person_identifiers' as name where exists (select from public.person_identifiers)
        union all
        select 'public.twin_deliveries' as name where exists (select from public.twin_deliveries)
        union all
        select 'public.twin_webhooks' as name where exists (select from public.twin_webhooks)
        union all
        select 'public.user_events' as name where exists (select from public.user_events)
        union all
        select 'public.user_profiles' as name where exists (select from public.user_profiles where updated_at <> created_at)
        union all
        select 'public.workspace_invitations' as name where exists (select from public.workspace_invitations)
        union all
        select 'public.workspace_members' as name where exists (select from public.workspace_members where workspace_id <> user_id)
        union all
        select 'public.workspaces' as name where exists (select from public.workspaces where not is_personal)
    ) as filled;
    if v_filled is not null then
        raise exception 'Tables of Threadline have rows, and this migration has changed nothing: %. '
            'To delete these rows too, delete this file and run "threadline remove --drop-data PROJECT_ID".', v_filled;
    end if;
end
$$;

