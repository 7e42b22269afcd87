-- Written from sql/ by `make migration`; change it there.

do $$
begin
    if exists (select from private.created_objects where name = 'bucket attachments') then
        if exists (select from storage.objects where bucket_id = 'attachments') then
            raise exception 'The bucket "attachments" has files, and this migration has changed nothing. '
                'Empty the bucket in the dashboard (Storage), then push again.';
        end if;
        perform set_config('storage.allow_delete_query', 'true', true);
        delete from storage.buckets where id = 'attachments';
    end if;
    if to_regclass('cron.job') is not null then
        perform cron.unschedule(jobid) from cron.job where jobname in ('threadline_clean_up', 'threadline_index');
    end if;
end
$$;

drop policy workspaces_select_member on public.workspaces;
drop policy workspaces_update_manager on public.workspaces;
drop policy workspaces_delete_owner on public.workspaces;
drop policy workspace_members_select_member on public.workspace_members;
drop policy workspace_members_update_manager on public.workspace_members;
drop policy workspace_members_delete_manager_or_self on public.workspace_members;
drop policy audit_log_select_owner on public.audit_log;
drop policy people_select_member on public.people;
drop policy people_insert_member on public.people;
drop policy people_update_member on public.people;
drop policy people_delete_member on public.people;
drop policy person_identifiers_select_member on public.person_identifiers;
drop policy person_identifiers_insert_member on public.person_identifiers;
drop policy person_identifiers_delete_member on public.person_identifiers;
drop policy messaging_connections_select_member on public.messaging_connections;
drop policy messaging_connections_insert_manager on public.messaging_connections;
drop policy messaging_connections_update_manager on public.messaging_connections;
drop policy messaging_connections_delete_manager on public.messaging_connections;
drop policy conversations_select_member on public.conversations;
drop policy conversation_messages_select_member on public.conversation_messages;
drop policy conversation_updates_select_reader on public.conversation_updates;
drop policy conversation_identifiers_select_member on public.conversation_identifiers;
drop policy conversation_reads_select_self on public.conversation_reads;
drop policy ingest_log_select_manager on public.ingest_log;
drop policy user_profiles_select_peer on public.user_profiles;
drop policy user_profiles_update_self on public.user_profiles;
drop policy channels_select_member on public.channels;
drop policy channels_insert_creator on public.channels;
drop policy channels_update_manager on public.channels;
drop policy channels_delete_owner on public.channels;
drop policy channel_members_select_member on public.channel_members;
drop policy channel_members_insert_manager on public.channel_members;
drop policy channel_members_update_manager on public.channel_members;
drop policy channel_members_delete_manager_or_self on public.channel_members;
drop policy message_events_select_member on public.message_events;
drop policy user_events_select_self on public.user_events;
drop policy member_states_select_self on public.member_states;
drop policy member_states_update_self on public.member_states;
drop policy workspace_invitations_select_manager on public.workspace_invitations;
drop policy ai_twins_select_owner_or_peer on public.ai_twins;
drop policy ai_twins_insert_owner on public.ai_twins;
drop policy ai_twins_update_owner on public.ai_twins;
drop policy ai_twins_delete_owner on public.ai_twins;
drop policy channel_twins_select_member_or_owner on public.channel_twins;
drop policy channel_twins_insert_owner on public.channel_twins;
drop policy channel_twins_delete_owner_or_manager on public.channel_twins;
drop policy messages_select_member on public.messages;
drop policy messages_insert_author on public.messages;
drop policy messages_update_author on public.messages;
drop policy message_edits_select_member on public.message_edits;
drop policy message_reactions_select_member on public.message_reactions;
drop policy message_reactions_insert_self on public.message_reactions;
drop policy message_reactions_delete_self on public.message_reactions;
drop policy message_pins_select_member on public.message_pins;
drop policy message_pins_insert_self on public.message_pins;
drop policy message_pins_delete_member on public.message_pins;
drop policy message_mentions_select_member on public.message_mentions;
drop policy attachments_select_member on public.attachments;
drop policy attachments_insert_uploader on public.attachments;
drop policy attachments_delete_uploader_or_manager on public.attachments;
drop policy twin_webhooks_select_owner on public.twin_webhooks;
drop policy twin_webhooks_delete_owner on public.twin_webhooks;
drop policy twin_deliveries_select_owner on public.twin_deliveries;
drop policy erasures_select_requester on public.erasures;
drop policy ai_twins_select_executed on public.ai_twins;
drop policy attachments_select_executed on public.attachments;
drop policy audit_log_select_executed on public.audit_log;
drop policy channel_members_select_executed on public.channel_members;
drop policy channel_twins_select_executed on public.channel_twins;
drop policy channels_select_executed on public.channels;
drop policy conversation_identifiers_select_executed on public.conversation_identifiers;
drop policy conversation_messages_select_executed on public.conversation_messages;
drop policy conversation_reads_select_executed on public.conversation_reads;
drop policy conversation_updates_select_executed on public.conversation_updates;
drop policy conversations_select_executed on public.conversations;
drop policy erasures_select_executed on public.erasures;
drop policy ingest_log_select_executed on public.ingest_log;
drop policy member_states_select_executed on public.member_states;
drop policy message_edits_select_executed on public.message_edits;
drop policy message_events_select_executed on public.message_events;
drop policy message_mentions_select_executed on public.message_mentions;
drop policy message_pins_select_executed on public.message_pins;
drop policy message_reactions_select_executed on public.message_reactions;
drop policy messages_select_executed on public.messages;
drop policy messaging_connections_select_executed on public.messaging_connections;
drop policy people_select_executed on public.people;
drop policy person_identifiers_select_executed on public.person_identifiers;
drop policy twin_deliveries_select_executed on public.twin_deliveries;
drop policy twin_webhooks_select_executed on public.twin_webhooks;
drop policy user_events_select_executed on public.user_events;
drop policy user_profiles_select_executed on public.user_profiles;
drop policy workspace_invitations_select_executed on public.workspace_invitations;
drop policy workspace_members_select_executed on public.workspace_members;
drop policy workspaces_select_executed on public.workspaces;
drop trigger workspaces_10_refuse on public.workspaces;
drop trigger workspaces_10_stamp on public.workspaces;
drop trigger workspaces_20_protect_retention on public.workspaces;
drop trigger workspaces_30_audit on public.workspaces;
drop trigger workspaces_40_reread_numbers on public.workspaces;
drop trigger workspaces_50_set_language on public.workspaces;
drop trigger workspaces_60_forget_changes on public.workspaces;
drop trigger workspace_members_10_protect_owners on public.workspace_members;
drop trigger workspace_members_10_refuse on public.workspace_members;
drop trigger workspace_members_20_audit on public.workspace_members;
drop trigger workspace_members_21_audit on public.workspace_members;
drop trigger workspace_members_30_hand_over on public.workspace_members;
drop trigger workspace_members_35_seal on public.workspace_members;
drop trigger workspace_members_40_tell on public.workspace_members;
drop trigger workspace_members_41_tell on public.workspace_members;
drop trigger workspace_invitations_10_refuse on public.workspace_invitations;
drop trigger workspace_invitations_10_tell on public.workspace_invitations;
drop trigger workspace_invitations_11_refuse on public.workspace_invitations;
drop trigger user_events_10_broadcast on public.user_events;
drop trigger user_profiles_10_stamp on public.user_profiles;
drop trigger people_10_assign_workspace on public.people;
drop trigger people_10_lock_matching on public.people;
drop trigger people_20_lock_matching on public.people;
drop trigger people_30_stamp on public.people;
drop trigger people_40_refresh on public.people;
drop trigger people_50_refresh on public.people;
drop trigger people_60_refresh on public.people;
drop trigger person_identifiers_10_lock_matching on public.person_identifiers;
drop trigger person_identifiers_20_normalize on public.person_identifiers;
drop trigger person_identifiers_30_refresh on public.person_identifiers;
drop trigger person_identifiers_40_refresh on public.person_identifiers;
drop trigger settings_10_reread_numbers on private.settings;
drop trigger settings_20_set_language on private.settings;
drop trigger messaging_connections_10_assign_workspace on public.messaging_connections;
drop trigger messaging_connections_10_stamp on public.messaging_connections;
drop trigger messaging_connections_11_audit on public.messaging_connections;
drop trigger messaging_connections_20_delete_log on public.messaging_connections;
drop trigger conversations_10_assign_workspace on public.conversations;
drop trigger conversations_10_match on public.conversations;
drop trigger conversations_20_match on public.conversations;
drop trigger conversations_25_keep_identifier on public.conversations;
drop trigger conversations_30_stamp on public.conversations;
drop trigger conversations_40_delete_messages on public.conversations;
drop trigger conversations_41_redact on public.conversations;
drop trigger conversations_42_note on public.conversations;
drop trigger conversations_50_broadcast on public.conversations;
drop trigger conversations_60_broadcast on public.conversations;
drop trigger group_participants_10_broadcast on private.group_participants;
drop trigger conversation_identifiers_10_match on public.conversation_identifiers;
drop trigger conversation_messages_10_summarize on public.conversation_messages;
drop trigger conversation_messages_11_check on public.conversation_messages;
drop trigger conversation_messages_20_broadcast on public.conversation_messages;
drop trigger conversation_messages_25_note on public.conversation_messages;
drop trigger conversation_messages_30_summarize on public.conversation_messages;
drop trigger conversation_messages_40_redact on public.conversation_messages;
drop trigger conversation_messages_45_forget on public.conversation_messages;
drop trigger conversation_messages_50_summarize on public.conversation_messages;
drop trigger conversation_messages_60_redact on public.conversation_messages;
drop trigger conversation_messages_65_change on public.conversation_messages;
drop trigger conversation_messages_70_broadcast on public.conversation_messages;
drop trigger conversation_words_10_delete_words on private.conversation_words;
drop trigger channels_10_assign_workspace on public.channels;
drop trigger channels_10_stamp on public.channels;
drop trigger channels_12_reject_direct on public.channels;
drop trigger channels_20_create_counter on public.channels;
drop trigger channels_30_add_owner on public.channels;
drop trigger channels_36_set_language on public.channels;
drop trigger channels_37_tell on public.channels;
drop trigger channels_38_tell_deletion on public.channels;
drop trigger channels_40_redact on public.channels;
drop trigger channels_45_forget_name on public.channels;
drop trigger channel_members_10_protect_owners on public.channel_members;
drop trigger channel_members_11_keep_direct on public.channel_members;
drop trigger channel_members_12_reject_direct on public.channel_members;
drop trigger channel_members_13_lock_channel on public.channel_members;
drop trigger channel_members_15_require_workspace_member on public.channel_members;
drop trigger channel_members_20_require_owner on public.channel_members;
drop trigger channel_members_30_remove_twins on public.channel_members;
drop trigger channel_members_40_remove_twins on public.channel_members;
drop trigger channel_members_50_record on public.channel_members;
drop trigger channel_members_51_create_state on public.channel_members;
drop trigger channel_members_52_tell on public.channel_members;
drop trigger channel_members_53_tell on public.channel_members;
drop trigger channel_members_60_record on public.channel_members;
drop trigger channel_members_70_audit on public.channel_members;
drop trigger ai_twins_10_stamp on public.ai_twins;
drop trigger ai_twins_20_remember_owner on public.ai_twins;
drop trigger ai_twins_30_limit on public.ai_twins;
drop trigger channel_twins_10_admit on public.channel_twins;
drop trigger channel_twins_20_redact on public.channel_twins;
drop trigger messages_10_admit on public.messages;
drop trigger messages_10_refuse on public.messages;
drop trigger messages_20_require_attachments on public.messages;
drop trigger messages_30_set_hops on public.messages;
drop trigger messages_35_protect on public.messages;
drop trigger messages_40_record_change on public.messages;
drop trigger messages_50_queue_deliveries on public.messages;
drop trigger messages_60_index on public.messages;
drop trigger messages_65_record_mentions on public.messages;
drop trigger messages_70_link_attachments on public.messages;
drop trigger messages_80_index on public.messages;
drop trigger messages_80_lock_twins on public.messages;
drop trigger messages_81_forget on public.messages;
drop trigger messages_82_queue_change on public.messages;
drop trigger messages_83_record_mentions on public.messages;
drop trigger messages_90_record_change on public.messages;
drop trigger messages_91_delete_words on public.messages;
drop trigger messages_92_forget on public.messages;
drop trigger message_reactions_10_refuse on public.message_reactions;
drop trigger message_reactions_10_set_channel on public.message_reactions;
drop trigger message_reactions_11_normalize on public.message_reactions;
drop trigger message_reactions_20_record on public.message_reactions;
drop trigger message_pins_10_refuse on public.message_pins;
drop trigger message_pins_10_set_channel on public.message_pins;
drop trigger message_pins_20_record on public.message_pins;
drop trigger message_events_10_broadcast on public.message_events;
drop trigger attachments_10_set_details on public.attachments;
drop trigger attachments_20_reject_retired_id on public.attachments;
drop trigger attachments_30_retire_id on public.attachments;
drop trigger message_files_10_drop_unused on private.message_files;
drop trigger twin_webhooks_10_refuse on public.twin_webhooks;
drop trigger twin_webhooks_10_stamp on public.twin_webhooks;
drop view private.my_topic_turns;
drop view private.channel_languages;
drop view private.my_posted_files;
drop view private.my_peer_twins;
drop view private.my_twins;
drop view private.my_peers;
drop view private.my_owned_channels;
drop view private.my_managed_channels;
drop view private.my_channels;
drop view private.my_owned_workspaces;
drop view private.my_managed_workspaces;
drop view private.my_workspaces;
drop function
    private.accept_invitation(jsonb),
    private.accept_invitation(text, uuid),
    private.acting_user_id(),
    private.add_channel_owner_trigger(),
    private.add_messages(private.ingest_source, private.ingest_conversation[], private.ingest_message[], private.ingest_update[], uuid[], uuid[]),
    private.admit_invited(public.workspace_invitations),
    private.admit_message_trigger(),
    private.admit_twin_trigger(),
    private.admit_upload(jsonb),
    private.answer_summary(jsonb, uuid, uuid, bigint, integer),
    private.apply_known_updates(private.ingest_message[], uuid[]),
    private.audit_channel_role_trigger(),
    private.audit_connection_trigger(),
    private.audit_erasure(uuid),
    private.audit_member_trigger(),
    private.audit_retention_trigger(),
    private.authenticate_connection(text, text, text),
    private.begin_conversation_summary(jsonb),
    private.begin_idempotent(text, text, jsonb),
    private.begin_summary(jsonb),
    private.broadcast_channel_deletion_trigger(),
    private.broadcast_conversation_trigger(),
    private.broadcast_conversations(uuid[]),
    private.broadcast_event_trigger(),
    private.broadcast_group_participants_trigger(),
    private.broadcast_id(uuid, bigint, uuid),
    private.broadcast_ingested_messages_trigger(),
    private.broadcast_updated_messages_trigger(),
    private.broadcast_user_events_trigger(),
    private.call(text, text, text, text, text, bytea),
    private.call_api(text, jsonb, jsonb, bytea),
    private.call_idempotent(text, text, text, jsonb),
    private.can_match(uuid),
    private.change_ingested_trigger(),
    private.change_number(uuid, text),
    private.check_conversations_trigger(),
    private.choose_avatar_url(jsonb),
    private.choose_display_name(jsonb, text),
    private.claim_deliveries(integer, interval),
    private.clean_up(integer),
    private.clean_up_kind(text, integer),
    private.complete_ids(private.ingest_source, private.ingest_conversation[], uuid[], jsonb),
    private.compound_signs(),
    private.conversation_topics(public.conversations),
    private.copy_conversation(public.conversations, text, text[]),
    private.copy_messages(uuid, uuid, text[]),
    private.count_belongings(uuid),
    private.count_mentions(uuid, uuid, bigint),
    private.count_messages(jsonb),
    private.count_replies(uuid, uuid),
    private.count_unread(uuid, bigint),
    private.create_channel_counter_trigger(),
    private.create_conversations(private.ingest_source, private.ingest_participant[]),
    private.create_invitation(jsonb),
    private.create_invitation(uuid, uuid, text, text, interval),
    private.create_member_state_trigger(),
    private.create_personal_workspace_trigger(),
    private.create_plain_message(bytea),
    private.create_receipt(text, uuid, jsonb),
    private.create_user_profile_trigger(),
    private.create_workspace(jsonb),
    private.create_workspace(text, text, text),
    private.cut_text(text, integer),
    private.decode_text(bytea),
    private.delete_addresses(uuid),
    private.delete_conversation_messages_trigger(),
    private.delete_conversation_words_trigger(),
    private.delete_erased_texts(private.ingest_update[], uuid[]),
    private.delete_expired(integer),
    private.delete_history(integer),
    private.delete_ingest_log_trigger(),
    private.delete_logs(integer),
    private.delete_media(integer, interval),
    private.delete_message(uuid, uuid, boolean),
    private.delete_message_words_trigger(),
    private.delete_old_changes(timestamptz, integer),
    private.delete_old_conversations(uuid, timestamptz, integer),
    private.delete_old_events(timestamptz, integer),
    private.delete_old_messages(uuid, timestamptz, integer),
    private.delete_outdated(public.workspaces, integer),
    private.delete_past_retention(integer),
    private.delete_person(uuid),
    private.delete_stored_answers(uuid),
    private.delete_workspace(jsonb),
    private.diagnose(text, timestamptz),
    private.diagnose_group_participants(jsonb),
    private.diagnose_identifiers(jsonb),
    private.diagnose_json(jsonb),
    private.diagnose_login(),
    private.diagnose_people(jsonb),
    private.diagnose_platform(),
    private.diagnose_tables(),
    private.diagnose_version(text),
    private.drop_unused_file_trigger(),
    private.empty_summary(),
    private.erase_from_groups(uuid),
    private.erase_person(uuid, uuid[]),
    private.erase_user(uuid),
    private.event_clock(),
    private.fail(integer, text, text, text),
    private.fail_without_conversation(),
    private.few_channels(),
    private.find_authors(text),
    private.find_call(text),
    private.find_channel_state(uuid),
    private.find_channels(text),
    private.find_conversation(private.ingest_source, text),
    private.find_conversations(private.ingest_source, private.ingest_conversation[]),
    private.find_cursor(jsonb, text, uuid),
    private.find_edit_time(jsonb),
    private.find_file(jsonb, uuid),
    private.find_heir(uuid, uuid),
    private.find_match(uuid, private.match_key[]),
    private.find_mentions(text),
    private.find_merged_person(uuid),
    private.find_newest_conversations(timestamptz, uuid, integer),
    private.find_region(text),
    private.find_shared_workspace(uuid[], bytea, uuid),
    private.find_summary(uuid, uuid, bigint, integer, text, integer),
    private.find_update_error(jsonb, timestamptz),
    private.finish_delivery(uuid, uuid, integer, text),
    private.finish_idempotent(text, text, integer, text),
    private.finish_summary(jsonb),
    private.finish_upload(jsonb),
    private.fold_digits(text),
    private.fold_for_index(text, boolean),
    private.fold_text(text, boolean),
    private.forget_channel_name_trigger(),
    private.forget_deleted_messages(uuid[], uuid[], bigint[]),
    private.forget_inbox_changes_trigger(),
    private.forget_ingested_trigger(),
    private.forget_message_trigger(),
    private.forget_messages(uuid[], uuid[], bigint[]),
    private.forget_messages_trigger(),
    private.forget_senders(uuid, uuid[]),
    private.forget_single_names(uuid[]),
    private.format_time(timestamptz),
    private.free_media_path(uuid, text, text),
    private.generate_secret(),
    private.get_workspace(jsonb),
    private.hand_over_channels(uuid),
    private.hand_over_member_trigger(),
    private.hand_over_user_trigger(),
    private.has_exported(uuid, uuid),
    private.has_huge_number(jsonb),
    private.has_long_digits(text),
    private.has_long_messages(),
    private.has_media_room(uuid),
    private.has_names(private.ingest_source, jsonb),
    private.has_only_new_messages(private.ingest_conversation[], private.ingest_message[], uuid[], uuid[]),
    private.has_updates(uuid[]),
    private.hash_secret(text),
    private.hash_word(bytea, integer),
    private.hide_direct_channel(uuid, uuid),
    private.hmac_block(bytea, integer),
    private.hold_data_api_place(),
    private.hold_time(integer),
    private.home_country(uuid),
    private.identifier_key(text, text, text),
    private.identifier_kinds(),
    private.identify(text, text),
    private.identify_any(text, text),
    private.inbox_epoch(),
    private.index_changes(bigint[]),
    private.index_conversations(integer),
    private.index_languages(integer),
    private.index_message_trigger(),
    private.index_stems(text, text[], text, text),
    private.index_words(text, jsonb, text),
    private.index_words_safely(text, jsonb, text),
    private.is_about_data(text),
    private.is_app_admin(),
    private.is_author(public.messages, uuid),
    private.is_deep(jsonb),
    private.is_executed(),
    private.is_forwarded(public.messages),
    private.is_inviter_entitled(public.workspace_invitations),
    private.is_my_conversation(uuid),
    private.is_my_folder(text, boolean),
    private.is_my_live_topic(text),
    private.is_my_media(text, text),
    private.is_my_topic(text),
    private.is_my_turn(text, text),
    private.is_my_twin_in(uuid, uuid),
    private.is_non_member(uuid),
    private.is_oversized(jsonb, integer),
    private.is_phone(text, text),
    private.is_posted_to_me(text, text),
    private.is_replaced_file(text, text),
    private.is_replay(jsonb, private.ingest_conversation[], uuid[]),
    private.is_retired_file(text),
    private.is_same_sender(text, text),
    private.is_service(),
    private.is_shown_type(text),
    private.is_used_up(),
    private.is_uuid(text),
    private.is_valid_key(text),
    private.join_conversation(uuid, uuid),
    private.join_identifiers(jsonb, jsonb),
    private.keep_direct_member_trigger(),
    private.knows_names(private.ingest_source, jsonb),
    private.lease_summary(uuid, uuid, bigint, integer, text, integer, integer),
    private.leave_channels(uuid, uuid, uuid),
    private.leave_guest_channels(uuid),
    private.limit_twins_trigger(),
    private.link_attachments_trigger(),
    private.list_all_keys(uuid, text, private.identifier[], boolean),
    private.list_author_names(uuid[]),
    private.list_channel_events(uuid, bigint, integer, integer),
    private.list_channel_lines(uuid, bigint, integer),
    private.list_compounds(text),
    private.list_conversation_lines(uuid, integer),
    private.list_conversations(jsonb),
    private.list_due_queues(integer),
    private.list_given_identifiers(jsonb),
    private.list_group_changes(jsonb, private.ingest_message[], uuid[]),
    private.list_group_keys(text, text, jsonb),
    private.list_group_participants(uuid),
    private.list_identifiers(uuid),
    private.list_inbox_changes(uuid, xid8, bigint, integer, integer),
    private.list_invitations(jsonb),
    private.list_later_names(uuid, text),
    private.list_line_spellings(text),
    private.list_listening_members(uuid),
    private.list_marks(tsquery),
    private.list_match_keys(text, private.identifier, text, boolean),
    private.list_messaging_keys(uuid),
    private.list_my_channels(integer, integer),
    private.list_my_channels(jsonb),
    private.list_my_invitations(),
    private.list_my_invitations(jsonb),
    private.list_page(uuid, uuid, boolean, bigint, bigint, integer, integer),
    private.list_participants(text, private.ingest_conversation[], uuid[]),
    private.list_person_keys(uuid[]),
    private.list_phone_keys(text, text),
    private.list_repeated_messages(private.ingest_message[], uuid[], private.ingest_count[]),
    private.list_results(private.ingest_conversation[], uuid[], jsonb, private.ingest_count[]),
    private.list_search_terms(text, boolean),
    private.list_spellings(text, text, text),
    private.list_stemmers(uuid),
    private.list_stems(text[], text[], regdictionary, boolean),
    private.list_summaries(uuid[], private.ingest_participant[], timestamptz),
    private.list_threads(uuid[]),
    private.list_updates(uuid, text, text),
    private.list_user_events(jsonb),
    private.list_user_messages(uuid),
    private.list_versions(uuid[]),
    private.list_word_forms(text, text, regdictionary[]),
    private.list_workspace_members(jsonb),
    private.list_workspace_members(uuid, text),
    private.list_workspaces(integer, integer),
    private.list_workspaces(jsonb),
    private.lock_channel(uuid),
    private.lock_channels(uuid[]),
    private.lock_conversation(uuid),
    private.lock_conversations(uuid[]),
    private.lock_erased_conversations(uuid, uuid, uuid[]),
    private.lock_matching(uuid[]),
    private.lock_matching_trigger(),
    private.lock_member_channel_trigger(),
    private.lock_my_channel(uuid),
    private.lock_person(private.person_match),
    private.lock_person(uuid, text),
    private.lock_source(private.ingest_source),
    private.lock_twins_of(uuid),
    private.lock_twins_trigger(),
    private.mark_characters(),
    private.mark_conversation_read(uuid, timestamptz),
    private.mark_pattern(text[], tsquery, regdictionary[]),
    private.mark_read(jsonb),
    private.mark_read(uuid, bigint),
    private.mask_position(bytea, bytea),
    private.match_conversation(public.conversations),
    private.match_group_participants(uuid[], text[]),
    private.match_identifiers(uuid, text, private.identifier[]),
    private.match_late_conversations(integer),
    private.match_late_workspace(uuid, bigint),
    private.match_participant(uuid, text, text, text),
    private.match_participant_trigger(),
    private.match_participants(uuid, text, text[], text[]),
    private.matching_lock(uuid),
    private.measure_database(),
    private.measure_deliveries(),
    private.measure_media(),
    private.measure_messages(uuid, bigint, integer),
    private.measure_search(),
    private.media_link(text),
    private.media_path(uuid, text, text),
    private.merge_counts(private.ingest_count[], private.ingest_update[], private.ingest_update[], uuid[]),
    private.merge_group_participants(private.group_participants[]),
    private.merge_named_participants(uuid, text[]),
    private.merge_people(uuid, uuid),
    private.message_preview(jsonb),
    private.move_channels(uuid, uuid),
    private.move_named_messages(uuid, uuid, text[]),
    private.normalize_emoji(text),
    private.normalize_emoji_trigger(),
    private.normalize_identifier_trigger(),
    private.note_conversations(uuid[]),
    private.note_gone_conversations_trigger(),
    private.note_ingested_trigger(),
    private.offer_uploads(private.ingest_source, jsonb, private.ingest_result[]),
    private.open_direct(jsonb),
    private.open_direct(uuid[], uuid),
    private.parse_boolean(jsonb, text),
    private.parse_content(jsonb),
    private.parse_conversations(jsonb),
    private.parse_emoji(jsonb),
    private.parse_files(jsonb),
    private.parse_inbox_cursor(text),
    private.parse_ingest_head(bytea),
    private.parse_integer(jsonb, text, integer, integer, integer),
    private.parse_json(bytea),
    private.parse_mentions(text),
    private.parse_messages(jsonb),
    private.parse_number(jsonb, text, text),
    private.parse_number(private.written_phone, private.phone_regions),
    private.parse_object(bytea),
    private.parse_phone(text, text),
    private.parse_search(text, regdictionary[], boolean),
    private.parse_search_operator(private.message_search, text, text, boolean),
    private.parse_search_phrase(text, regdictionary[], text, boolean),
    private.parse_search_time(text),
    private.parse_sender(jsonb),
    private.parse_sequence(jsonb),
    private.parse_text(jsonb, text, integer, text),
    private.parse_timestamp(text),
    private.parse_update_value(text, jsonb),
    private.parse_updates(jsonb),
    private.parse_uuid(jsonb, text, boolean),
    private.parse_uuids(jsonb, text, integer),
    private.parse_written_phone(text),
    private.participant_key(text, text),
    private.pass_belongings(uuid, uuid, uuid),
    private.phone_line(private.phone_number),
    private.phone_text(text),
    private.place_messages(private.ingest_message[], uuid[]),
    private.plain_digits(text, text),
    private.poll_summary(jsonb),
    private.prepare_words(public.messages, text),
    private.protect_message_trigger(),
    private.protect_owners_trigger(),
    private.protect_retention_trigger(),
    private.protect_workspace_owners_trigger(),
    private.queue_change_trigger(),
    private.queue_deliveries(public.messages, text, bigint),
    private.queue_deliveries_trigger(),
    private.ranking_steps(tsvector, tsquery, text[]),
    private.read_conversations(private.ingest_source, jsonb),
    private.read_number(private.phone_number, boolean),
    private.read_repeated_message(jsonb, public.conversation_messages),
    private.record_aliases(private.ingest_source, jsonb),
    private.record_audit(uuid, text, uuid, jsonb),
    private.record_continued_messages(uuid, uuid, text),
    private.record_earlier_identifier_trigger(),
    private.record_event(uuid, text, uuid, uuid, text, integer, uuid, timestamptz),
    private.record_export(uuid, uuid, boolean),
    private.record_given_identifiers(text, private.ingest_conversation[], uuid[]),
    private.record_group_participants(jsonb, private.ingest_message[], uuid[]),
    private.record_identifiers(uuid[], private.identifier[]),
    private.record_ingest(private.ingest_source, bigint, private.ingest_result[]),
    private.record_invitation_trigger(),
    private.record_member_trigger(),
    private.record_membership_trigger(),
    private.record_mentions_trigger(),
    private.record_message_change_trigger(),
    private.record_name(uuid, text, text, boolean),
    private.record_named_participants(private.ingest_conversation[], text[], uuid[]),
    private.record_names(private.ingest_source, jsonb, private.ingest_conversation[], private.ingest_message[], private.ingest_update[], uuid[]),
    private.record_reaction_or_pin_trigger(),
    private.record_refusal(private.ingest_source, integer),
    private.record_renaming_trigger(),
    private.record_updates(private.ingest_update[], uuid[]),
    private.record_user_events(uuid[], text, jsonb, uuid, uuid, uuid),
    private.record_workspace_membership_trigger(),
    private.redact_broadcasts(uuid[]),
    private.redact_channel_trigger(),
    private.redact_conversations(text[]),
    private.redact_deleted_messages_trigger(),
    private.redact_inbox_trigger(),
    private.refresh_changed_people_trigger(),
    private.refresh_identifiers_trigger(),
    private.refresh_messages(private.ingest_update[], uuid[]),
    private.refresh_people_trigger(),
    private.refresh_person_keys(uuid[]),
    private.refuse_ingest(integer, text),
    private.refuse_message(public.messages),
    private.refuse_statement_trigger(),
    private.reject_direct_channel_trigger(),
    private.reject_direct_member_trigger(),
    private.reject_retired_id_trigger(),
    private.rematch_conversations(private.person_key[]),
    private.rematch_identified_trigger(),
    private.remember_twin_owner_trigger(),
    private.remove_member_twins_trigger(),
    private.remove_workspace_member(jsonb),
    private.render_attachment(public.attachments),
    private.render_author(uuid, uuid),
    private.render_conversation(public.conversations, bigint, jsonb),
    private.render_created(public.messages),
    private.render_delivery(public.twin_deliveries, uuid),
    private.render_event(public.message_events, public.messages),
    private.render_export(uuid[]),
    private.render_failure(text, text, text, text, text),
    private.render_few_members(uuid),
    private.render_hits(jsonb, tsquery, regdictionary[]),
    private.render_inbox_change(uuid, text[], text[]),
    private.render_inbox_cursor(private.inbox_position),
    private.render_inbox_entry(public.conversations),
    private.render_last_message(uuid),
    private.render_message(public.messages),
    private.render_message(public.messages, jsonb),
    private.render_page(uuid[]),
    private.render_pin(uuid, timestamptz),
    private.render_pointer(jsonb, text),
    private.render_present_message(jsonb, public.conversation_updates[]),
    private.render_reaction(uuid, uuid, uuid, text, timestamptz),
    private.render_reactions(uuid[]),
    private.render_receipts(public.conversation_updates[]),
    private.render_results(private.ingest_result[]),
    private.render_snippet(text, text),
    private.render_transcript(private.transcript_line[], integer, integer, integer),
    private.render_uploads(jsonb),
    private.render_user_event(public.user_events),
    private.render_words(text, jsonb, text),
    private.render_workspace(public.workspaces, text),
    private.replay_twin_deliveries(uuid, uuid),
    private.report_lost_broadcast(text, text, text),
    private.request_id(),
    private.require_acting_member(uuid, uuid),
    private.require_actor(jsonb),
    private.require_attachments_trigger(),
    private.require_channel(uuid),
    private.require_creation(public.message_events, public.messages),
    private.require_kept_changes(uuid[], xid8, bigint, integer),
    private.require_management(uuid),
    private.require_message(uuid),
    private.require_owner_trigger(),
    private.require_size(jsonb, text, integer),
    private.require_twin(uuid, uuid),
    private.require_upload_channel(jsonb),
    private.require_user(),
    private.require_workspace(uuid),
    private.require_workspace_member(uuid, uuid),
    private.require_workspace_member_trigger(),
    private.reread_numbers_trigger(),
    private.resolve_search_filters(private.message_search),
    private.restore_participant(uuid),
    private.retire_ids_trigger(),
    private.retry_after(integer, text, jsonb),
    private.retry_delay(integer),
    private.revoke_invitation(jsonb),
    private.revoke_invitation(uuid),
    private.revoke_messaging_key(uuid),
    private.revoke_open_invitation(uuid, uuid, text),
    private.rotate_messaging_key(uuid, interval),
    private.rotate_twin_secret(uuid, interval),
    private.scalar_text(jsonb, text),
    private.schema_version(),
    private.seal_channel(uuid, bigint),
    private.seal_payload(text, jsonb),
    private.seal_workspace_trigger(),
    private.search_conversations(private.message_search, uuid),
    private.search_index(private.message_search),
    private.search_language(text),
    private.search_messages(private.message_search),
    private.search_span(private.message_search, bigint, bigint, integer, boolean),
    private.send_changes(jsonb, uuid[], bigint[], private.ingest_result[]),
    private.send_conversations(uuid[]),
    private.send_event(public.message_events, public.messages),
    private.separate_conversation(uuid, text),
    private.set_attachment_details_trigger(),
    private.set_channel_language_trigger(),
    private.set_channel_workspace_trigger(),
    private.set_claims(text[]),
    private.set_conversation_workspace_trigger(),
    private.set_default_language_trigger(),
    private.set_hops_trigger(),
    private.set_image_size(uuid, integer, integer),
    private.set_member_role(jsonb),
    private.set_message_channel_trigger(),
    private.set_reaction(jsonb, text),
    private.set_search_languages(uuid, uuid),
    private.set_twin_webhook(uuid, text),
    private.set_updated_at_trigger(),
    private.set_workspace_language_trigger(),
    private.set_workspace_trigger(),
    private.settle_all_media(integer),
    private.settle_media(uuid[], integer),
    private.settle_updates(private.ingest_message[], private.ingest_update[], uuid[], private.ingest_count[]),
    private.shorten_marks(text),
    private.shows_stored_file(public.conversation_messages),
    private.sign_delivery(uuid, text),
    private.spend_daily(text),
    private.spend_data_api_request(),
    private.spend_failed_request(jsonb),
    private.spend_invitation(uuid),
    private.spend_project_summary(uuid, uuid),
    private.spend_request(),
    private.spend_summary(),
    private.spend_workspace(),
    private.split_phones(text),
    private.split_words(text, boolean),
    private.store_conversations(private.ingest_source, jsonb),
    private.store_mentions(public.messages),
    private.store_messages(private.ingest_source, private.ingest_message[], uuid[], boolean),
    private.store_new_messages(private.ingest_source, private.ingest_conversation[], private.ingest_message[], uuid[], timestamptz),
    private.strip_country_code(text, private.phone_regions),
    private.strip_trunk_prefix(text, private.phone_regions),
    private.succeed(jsonb, jsonb, integer),
    private.succeed_page(jsonb[], integer),
    private.summarize_conversations_trigger(),
    private.sweep_attachments(integer, interval),
    private.undo_number_change(uuid),
    private.unify_number(text, text),
    private.unmerge_people(uuid),
    private.unsubscribe_twin(uuid, uuid),
    private.update_matches(uuid[]),
    private.update_participants(uuid[], private.ingest_participant[], private.conversation_summary[]),
    private.update_summaries(private.conversation_summary[], integer),
    private.update_workspace(jsonb),
    private.use_asynchronous_commit(),
    private.validate_conversations(private.ingest_conversation[], private.ingest_message[]),
    private.validate_updates(private.ingest_conversation[], private.ingest_update[]),
    private.wait_to_match(uuid),
    private.word_index_template(),
    public.accept_invitation(text, uuid),
    public.add_reaction(jsonb),
    public.add_reaction(uuid, text, uuid),
    public.begin_upload(jsonb),
    public.begin_upload(uuid, jsonb, text, uuid),
    public.change_number(jsonb),
    public.change_number(uuid, text),
    public.claim_deliveries(integer, integer),
    public.claim_deliveries(jsonb),
    public.clean_up(integer),
    public.clean_up(jsonb),
    public.conversation_messages(public.conversations),
    public.create_invitation(uuid, uuid, text, text, interval),
    public.create_message(jsonb),
    public.create_message(uuid, text, text, uuid, jsonb, jsonb, uuid, uuid, uuid),
    public.create_messaging_connection(text, text, uuid, boolean),
    public.create_workspace(text, text, text),
    public.delete_message(jsonb),
    public.delete_message(uuid, boolean, uuid),
    public.edit_message(jsonb),
    public.edit_message(uuid, text, uuid),
    public.erase_person(jsonb),
    public.erase_person(uuid, uuid[]),
    public.erase_user(jsonb),
    public.erase_user(uuid),
    public.export_channel(jsonb),
    public.export_channel(uuid, integer, text),
    public.export_conversation(jsonb),
    public.export_conversation(uuid, integer, text),
    public.finish_delivery(jsonb),
    public.finish_delivery(uuid, uuid, integer, text),
    public.finish_upload(jsonb),
    public.finish_upload(uuid, jsonb, text, uuid),
    public.get_attachment(jsonb),
    public.get_attachment(uuid),
    public.get_message(jsonb),
    public.get_message(uuid),
    public.index_conversations(integer),
    public.index_conversations(jsonb),
    public.keys(public.messaging_connections),
    public.list_channel_events(jsonb),
    public.list_channel_events(uuid, bigint, integer),
    public.list_conversations(integer, text),
    public.list_inbox_changes(jsonb),
    public.list_inbox_changes(uuid, text, integer),
    public.list_message_edits(jsonb),
    public.list_message_edits(uuid),
    public.list_messages(jsonb),
    public.list_messages(uuid, uuid, boolean, integer, integer, text, text),
    public.list_my_channels(integer, integer),
    public.list_my_invitations(),
    public.list_twin_deliveries(jsonb),
    public.list_twin_deliveries(uuid, text, integer),
    public.list_user_events(bigint, integer),
    public.list_workspace_members(uuid, text),
    public.mark_conversation_read(uuid, timestamptz),
    public.mark_read(uuid, bigint),
    public.merge_people(jsonb),
    public.merge_people(uuid, uuid),
    public.messages(public.conversations),
    public.messaging_ingest(bytea),
    public.open_direct(uuid[], uuid),
    public.participants(public.conversations),
    public.pin_message(jsonb),
    public.pin_message(uuid, uuid),
    public.read_metrics(),
    public.read_metrics(jsonb),
    public.remove_reaction(jsonb),
    public.remove_reaction(uuid, text, uuid),
    public.remove_twin_webhook(jsonb),
    public.remove_twin_webhook(uuid),
    public.replay_twin_deliveries(jsonb),
    public.replay_twin_deliveries(uuid, uuid),
    public.reply_to_message(jsonb),
    public.reply_to_message(uuid, text, text, jsonb, jsonb, uuid, uuid, uuid),
    public.revoke_invitation(uuid),
    public.revoke_messaging_key(uuid),
    public.rotate_messaging_key(text, interval),
    public.rotate_twin_secret(jsonb),
    public.rotate_twin_secret(uuid, integer),
    public.search_conversations(jsonb),
    public.search_conversations(text, uuid, integer, integer),
    public.search_messages(jsonb),
    public.search_messages(text, uuid, integer, integer, boolean),
    public.separate_conversation(jsonb),
    public.separate_conversation(uuid, text),
    public.set_twin_webhook(jsonb),
    public.set_twin_webhook(uuid, text),
    public.sweep_attachments(integer),
    public.sweep_attachments(jsonb),
    public.toggle_reaction(jsonb),
    public.toggle_reaction(uuid, text, uuid),
    public.undo_number_change(jsonb),
    public.undo_number_change(uuid),
    public.unmerge_people(jsonb),
    public.unmerge_people(uuid),
    public.unpin_message(jsonb),
    public.unpin_message(uuid, uuid),
    public.unread_count(public.conversations);
drop table
    private.calls,
    private.channel_counters,
    private.clean_ups,
    private.constraint_codes,
    private.continued_messages,
    private.conversation_aliases,
    private.conversation_media,
    private.conversation_separations,
    private.conversation_words,
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
    public.workspaces;
drop function
    private.attachments_max_bytes(),
    private.fits(jsonb, integer),
    private.generate_id(),
    private.hidden_characters(),
    private.identifier_value(text, text),
    private.is_webhook_url(text),
    private.message_max_characters(),
    private.metadata_max_bytes(),
    private.phone_digits(text),
    private.visible_character();
drop type
    private.conversation_summary,
    private.identifier,
    private.inbox_position,
    private.ingest_conversation,
    private.ingest_count,
    private.ingest_message,
    private.ingest_participant,
    private.ingest_result,
    private.ingest_source,
    private.ingest_update,
    private.match_key,
    private.message_search,
    private.metric,
    private.person_key,
    private.person_match,
    private.phone_number,
    private.phone_reading,
    private.transcript_line,
    private.written_phone;

do $$
begin
    if exists (select from private.created_objects where name = 'extension btree_gin') then
        drop extension if exists btree_gin;
    end if;
exception
    when dependent_objects_still_exist or insufficient_privilege then
        raise notice 'The extension btree_gin stays: %', sqlerrm;
end
$$;
do $$
declare
    v_is_used boolean := true;
begin
    if exists (select from private.created_objects where name = 'extension pg_cron')
        and to_regclass('cron.job') is not null
    then
        execute 'select exists (select from cron.job)' into v_is_used;
        if not v_is_used then
            drop extension pg_cron;
        end if;
    end if;
exception
    when dependent_objects_still_exist or insufficient_privilege then
        raise notice 'The extension pg_cron stays: %', sqlerrm;
end
$$;
drop table private.created_objects;
drop schema private;

reset search_path;
reset lock_timeout;
