-- Written from sql/ by `make migration`; change it there.

set lock_timeout = '5s';
set search_path = pg_catalog, pg_temp;

do $$
begin
    set local lock_timeout = '100ms';
    for v_attempt in 1..100 loop
        begin
            lock table
                private.calls,
                private.channel_counters,
                private.clean_ups,
                private.constraint_codes,
                private.continued_messages,
                private.conversation_aliases,
                private.conversation_media,
                private.conversation_separations,
                private.conversation_words,
                private.created_objects,
                private.daily_counts,
                private.former_twin_messages,
                private.group_participants,
                private.idempotency_keys,
                private.inbox_changes,
                private.inbox_cursor_key,
                private.inbox_log_starts,
                private.language_backlog,
                private.late_matches,
                private.message_files,
                private.message_words,
                private.messaging_keys,
                private.number_changes,
                private.person_keys,
                private.phone_regions,
                private.request_counts,
                private.retention_rounds,
                private.retired_ids,
                private.settings,
                private.summaries,
                private.summary_counts,
                private.summary_totals,
                private.twin_queues,
                private.twin_secrets,
                private.user_counters,
                private.word_backlog,
                private.workspace_seals,
                public.ai_twins,
                public.attachments,
                public.audit_log,
                public.channel_members,
                public.channel_twins,
                public.channels,
                public.conversation_identifiers,
                public.conversation_messages,
                public.conversation_reads,
                public.conversation_updates,
                public.conversations,
                public.erasures,
                public.ingest_log,
                public.member_states,
                public.message_edits,
                public.message_events,
                public.message_mentions,
                public.message_pins,
                public.message_reactions,
                public.messages,
                public.messaging_connections,
                public.people,
                public.person_identifiers,
                public.twin_deliveries,
                public.twin_webhooks,
                public.user_events,
                public.user_profiles,
                public.workspace_invitations,
                public.workspace_members,
                public.workspaces
            in access exclusive mode;
            drop policy objects_select_attachment on storage.objects;
            drop policy objects_insert_attachment on storage.objects;
            drop policy objects_delete_attachment on storage.objects;
            drop policy objects_select_attachment_member on storage.objects;
            drop policy objects_insert_attachment_member on storage.objects;
            drop policy objects_update_attachment_none on storage.objects;
            drop policy objects_delete_attachment_owner_or_manager on storage.objects;
            drop policy objects_attachment_anon on storage.objects;
            drop policy buckets_insert_attachments_none on storage.buckets;
            drop policy buckets_update_attachments_none on storage.buckets;
            drop policy buckets_delete_attachments_none on storage.buckets;
            drop policy messages_select_listener on realtime.messages;
            drop policy messages_insert_live_member on realtime.messages;
            drop policy messages_select_listener_only on realtime.messages;
            drop policy messages_insert_live_member_only on realtime.messages;
            drop policy messages_select_anon on realtime.messages;
            drop policy messages_insert_anon on realtime.messages;
            drop trigger threadline_10_create_profile on auth.users;
            drop trigger threadline_20_create_workspace on auth.users;
            drop trigger threadline_30_hand_over on auth.users;
            set local lock_timeout = '5s';
            return;
        exception
            when lock_not_available then
                perform pg_sleep(0.1);
        end;
    end loop;
    raise lock_not_available using
        message = 'Requests keep the tables of Threadline locked, and this migration has changed nothing.',
        hint = 'Stop the service of Threadline, then push again.';
end
$$;

