-- Every privilege, role by role, after one revoke of everything. A test compares the catalog with this file.
-- Supabase grants new objects to its roles by default privileges; they are revoked here, because the per-schema form of
-- `alter default privileges` cannot take back what is granted globally.

-- The linter does not indent lists of grants, so its rule of indentation is off here.
-- sqlfluff:exclude_rules:RF01,RF03,RF04,LT14,LT02

-- Nothing is open.
revoke all on schema private from public, anon, authenticated, service_role;
revoke all on all tables in schema private from public, anon, authenticated, service_role;
revoke all on all sequences in schema private from public, anon, authenticated, service_role;
revoke all on all functions in schema private from public, anon, authenticated, service_role;
-- In schema public by name: the application owns others there.
revoke all on
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
from public, anon, authenticated, service_role;
revoke all on function
    public.accept_invitation(text, uuid),
    public.add_reaction(jsonb),
    public.begin_upload(jsonb),
    public.change_number(jsonb),
    public.claim_deliveries(jsonb),
    public.clean_up(jsonb),
    public.conversation_messages(public.conversations),
    public.create_invitation(uuid, uuid, text, text, interval),
    public.create_message(jsonb),
    public.create_messaging_connection(text, text, uuid, boolean),
    public.create_workspace(text, text, text),
    public.delete_message(jsonb),
    public.edit_message(jsonb),
    public.erase_person(jsonb),
    public.erase_user(jsonb),
    public.export_channel(jsonb),
    public.export_conversation(jsonb),
    public.finish_delivery(jsonb),
    public.finish_upload(jsonb),
    public.get_attachment(jsonb),
    public.get_message(jsonb),
    public.index_conversations(jsonb),
    public.keys(public.messaging_connections),
    public.participants(public.conversations),
    public.list_channel_events(jsonb),
    public.list_conversations(integer, text),
    public.list_inbox_changes(jsonb),
    public.list_message_edits(jsonb),
    public.list_messages(jsonb),
    public.list_my_channels(integer, integer),
    public.list_my_invitations(),
    public.list_twin_deliveries(jsonb),
    public.list_user_events(bigint, integer),
    public.list_workspace_members(uuid, text),
    public.mark_conversation_read(uuid, timestamptz),
    public.mark_read(uuid, bigint),
    public.merge_people(jsonb),
    public.messages(public.conversations),
    public.messaging_ingest(bytea),
    public.open_direct(uuid[], uuid),
    public.pin_message(jsonb),
    public.read_metrics(jsonb),
    public.remove_reaction(jsonb),
    public.remove_twin_webhook(jsonb),
    public.replay_twin_deliveries(jsonb),
    public.reply_to_message(jsonb),
    public.revoke_invitation(uuid),
    public.revoke_messaging_key(uuid),
    public.rotate_messaging_key(text, interval),
    public.rotate_twin_secret(jsonb),
    public.search_conversations(jsonb),
    public.search_messages(jsonb),
    public.separate_conversation(jsonb),
    public.set_twin_webhook(jsonb),
    public.sweep_attachments(jsonb),
    public.toggle_reaction(jsonb),
    public.undo_number_change(jsonb),
    public.unmerge_people(jsonb),
    public.unpin_message(jsonb)
from public, anon, authenticated, service_role;
-- The named calls (810, 811).
revoke all on function
    public.add_reaction(uuid, text, uuid),
    public.begin_upload(uuid, jsonb, text, uuid),
    public.change_number(uuid, text),
    public.claim_deliveries(integer, integer),
    public.clean_up(integer),
    public.create_message(uuid, text, text, uuid, jsonb, jsonb, uuid, uuid, uuid),
    public.delete_message(uuid, boolean, uuid),
    public.edit_message(uuid, text, uuid),
    public.erase_person(uuid, uuid[]),
    public.erase_user(uuid),
    public.export_channel(uuid, integer, text),
    public.export_conversation(uuid, integer, text),
    public.finish_delivery(uuid, uuid, integer, text),
    public.finish_upload(uuid, jsonb, text, uuid),
    public.get_attachment(uuid),
    public.get_message(uuid),
    public.list_channel_events(uuid, bigint, integer),
    public.list_inbox_changes(uuid, text, integer),
    public.index_conversations(integer),
    public.list_message_edits(uuid),
    public.list_messages(uuid, uuid, boolean, integer, integer, text, text),
    public.list_twin_deliveries(uuid, text, integer),
    public.merge_people(uuid, uuid),
    public.pin_message(uuid, uuid),
    public.read_metrics(),
    public.remove_reaction(uuid, text, uuid),
    public.remove_twin_webhook(uuid),
    public.replay_twin_deliveries(uuid, uuid),
    public.reply_to_message(uuid, text, text, jsonb, jsonb, uuid, uuid, uuid),
    public.rotate_twin_secret(uuid, integer),
    public.search_conversations(text, uuid, integer, integer),
    public.search_messages(text, uuid, integer, integer, boolean),
    public.separate_conversation(uuid, text),
    public.set_twin_webhook(uuid, text),
    public.sweep_attachments(integer),
    public.toggle_reaction(uuid, text, uuid),
    public.undo_number_change(uuid),
    public.unmerge_people(uuid),
    public.unpin_message(uuid, uuid),
    public.unread_count(public.conversations)
from public, anon, authenticated, service_role;

-- authenticated: signed-in users. Row-level security decides about rows.
-- Functions of `public` run as their caller and call helpers in `private`, so the caller needs both.
grant usage on schema private to authenticated;
-- Tables and views.
grant select, delete, insert (display_name, avatar_url), update (display_name, avatar_url)
on public.ai_twins to authenticated;
grant select, insert (id, channel_id, file_name), delete on public.attachments to authenticated;
grant select, delete, insert (channel_id, user_id, role), update (role) on public.channel_members to authenticated;
grant select, delete, insert (channel_id, ai_twin_id) on public.channel_twins to authenticated;
grant select, delete, insert (workspace_id, kind, name, language), update (name, language)
on public.channels to authenticated;
grant select on public.audit_log to authenticated;
grant select on public.conversation_identifiers to authenticated;
grant select on public.conversation_messages to authenticated;
grant select on public.conversation_reads to authenticated;
grant select on public.conversation_updates to authenticated;
grant select on public.conversations to authenticated;
grant select on public.erasures to authenticated;
grant select on public.ingest_log to authenticated;
grant select, update (is_muted, is_pinned) on public.member_states to authenticated;
grant select on public.message_edits to authenticated;
grant select on public.message_events to authenticated;
grant select on public.message_mentions to authenticated;
-- Grants also the statements that a trigger named refuse stops, so that clients get its hint.
grant select, delete, insert (message_id, pinned_by), update (message_id, pinned_by)
on public.message_pins to authenticated;
grant select, delete, insert (id, message_id, user_id, emoji), update (id, message_id, user_id, emoji)
on public.message_reactions to authenticated;
grant
    select,
    -- For upserts. A trigger keeps all but content as it is, and another one refuses to delete.
    delete,
    update (
        id, channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
        content, content_type, metadata, attachments
   ),
    insert (
        id, channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
        content, content_type, metadata, attachments
   )
on public.messages to authenticated;
grant select, delete, insert (platform, connection_id, workspace_id, is_apart), update (is_active, stores_media)
on public.messaging_connections to authenticated;
grant select, delete, insert (id, workspace_id, full_name, phone), update (full_name, phone)
on public.people to authenticated;
grant select, delete, insert (person_id, kind, value, app) on public.person_identifiers to authenticated;
grant select on public.twin_deliveries to authenticated;
grant select, delete, insert (ai_twin_id, url), update (ai_twin_id, url) on public.twin_webhooks to authenticated;
grant select on public.user_events to authenticated;
grant select, update (display_name, avatar_url) on public.user_profiles to authenticated;
grant select (
    id, workspace_id, channel_id, email, role, invited_by, created_at, expires_at, revoked_at, accepted_at, accepted_by
)
on public.workspace_invitations to authenticated;
grant
    delete, insert (workspace_id, channel_id, email, role, expires_at),
    update (workspace_id, channel_id, email, role, expires_at, revoked_at)
on public.workspace_invitations to authenticated;
grant select, delete, insert (workspace_id, user_id, role), update (role) on public.workspace_members to authenticated;
grant
    select, delete, insert (name, home_country, language),
    update (name, home_country, language, conversation_days, channel_days)
on public.workspaces to authenticated;
grant select on private.my_channels to authenticated;
grant select on private.my_peer_twins to authenticated;
grant select on private.my_peers to authenticated;
grant select on private.my_managed_channels to authenticated;
grant select on private.my_posted_files to authenticated, service_role;
grant select on private.my_owned_channels to authenticated;
grant select on private.my_topic_turns to authenticated;
grant select on private.my_twins to authenticated;
grant select on private.my_workspaces to authenticated;
grant select on private.my_managed_workspaces to authenticated;
grant select on private.my_owned_workspaces to authenticated;

-- Functions: calls of the Data API.
grant execute on function
    public.accept_invitation(text, uuid),
    public.add_reaction(jsonb),
    public.begin_upload(jsonb),
    public.change_number(jsonb),
    public.conversation_messages(public.conversations),
    public.create_invitation(uuid, uuid, text, text, interval),
    public.create_message(jsonb),
    public.create_messaging_connection(text, text, uuid, boolean),
    public.create_workspace(text, text, text),
    public.delete_message(jsonb),
    public.edit_message(jsonb),
    public.erase_person(jsonb),
    public.export_channel(jsonb),
    public.export_conversation(jsonb),
    public.finish_upload(jsonb),
    public.get_attachment(jsonb),
    public.get_message(jsonb),
    public.keys(public.messaging_connections),
    public.participants(public.conversations),
    public.list_channel_events(jsonb),
    public.list_conversations(integer, text),
    public.list_inbox_changes(jsonb),
    public.list_message_edits(jsonb),
    public.list_messages(jsonb),
    public.list_my_channels(integer, integer),
    public.list_my_invitations(),
    public.list_twin_deliveries(jsonb),
    public.list_user_events(bigint, integer),
    public.list_workspace_members(uuid, text),
    public.mark_conversation_read(uuid, timestamptz),
    public.mark_read(uuid, bigint),
    public.merge_people(jsonb),
    public.messages(public.conversations),
    public.open_direct(uuid[], uuid),
    public.pin_message(jsonb),
    public.remove_reaction(jsonb),
    public.remove_twin_webhook(jsonb),
    public.replay_twin_deliveries(jsonb),
    public.reply_to_message(jsonb),
    public.revoke_invitation(uuid),
    public.revoke_messaging_key(uuid),
    public.rotate_messaging_key(text, interval),
    public.rotate_twin_secret(jsonb),
    public.search_conversations(jsonb),
    public.search_messages(jsonb),
    public.separate_conversation(jsonb),
    public.set_twin_webhook(jsonb),
    public.toggle_reaction(jsonb),
    public.undo_number_change(jsonb),
    public.unmerge_people(jsonb),
    public.unpin_message(jsonb)
to authenticated;

-- Functions: the named calls.
grant execute on function
    public.add_reaction(uuid, text, uuid),
    public.begin_upload(uuid, jsonb, text, uuid),
    public.change_number(uuid, text),
    public.create_message(uuid, text, text, uuid, jsonb, jsonb, uuid, uuid, uuid),
    public.delete_message(uuid, boolean, uuid),
    public.edit_message(uuid, text, uuid),
    public.erase_person(uuid, uuid[]),
    public.export_channel(uuid, integer, text),
    public.export_conversation(uuid, integer, text),
    public.finish_upload(uuid, jsonb, text, uuid),
    public.get_attachment(uuid),
    public.get_message(uuid),
    public.list_channel_events(uuid, bigint, integer),
    public.list_inbox_changes(uuid, text, integer),
    public.list_message_edits(uuid),
    public.list_messages(uuid, uuid, boolean, integer, integer, text, text),
    public.list_twin_deliveries(uuid, text, integer),
    public.merge_people(uuid, uuid),
    public.pin_message(uuid, uuid),
    public.remove_reaction(uuid, text, uuid),
    public.remove_twin_webhook(uuid),
    public.replay_twin_deliveries(uuid, uuid),
    public.reply_to_message(uuid, text, text, jsonb, jsonb, uuid, uuid, uuid),
    public.rotate_twin_secret(uuid, integer),
    public.search_conversations(text, uuid, integer, integer),
    public.search_messages(text, uuid, integer, integer, boolean),
    public.separate_conversation(uuid, text),
    public.set_twin_webhook(uuid, text),
    public.toggle_reaction(uuid, text, uuid),
    public.undo_number_change(uuid),
    public.unmerge_people(uuid),
    public.unpin_message(uuid, uuid),
    public.unread_count(public.conversations)
to authenticated;

-- Functions: helpers behind them.
grant execute on function
    private.render_workspace(public.workspaces, text),
    private.list_workspaces(integer, integer),
    private.list_workspace_members(uuid, text),
    private.render_inbox_entry(public.conversations),
    private.find_newest_conversations(timestamptz, uuid, integer),
    private.list_conversations(jsonb),
    private.require_user(),
    private.require_workspace(uuid),
    private.require_management(uuid),
    private.require_workspace_member(uuid, uuid),
    private.parse_number(jsonb, text, text),
    private.list_workspaces(jsonb),
    private.create_workspace(jsonb),
    private.get_workspace(jsonb),
    private.update_workspace(jsonb),
    private.delete_workspace(jsonb),
    private.list_workspace_members(jsonb),
    private.set_member_role(jsonb),
    private.remove_workspace_member(jsonb),
    private.create_invitation(jsonb),
    private.list_invitations(jsonb),
    private.revoke_invitation(jsonb),
    private.list_my_invitations(jsonb),
    private.accept_invitation(jsonb),
    private.mark_read(jsonb),
    private.open_direct(jsonb),
    private.list_user_events(jsonb),
    private.admit_upload(jsonb),
    private.begin_idempotent(text, text, jsonb),
    private.answer_summary(jsonb, uuid, uuid, bigint, integer),
    private.begin_conversation_summary(jsonb),
    private.begin_summary(jsonb),
    private.empty_summary(),
    private.is_my_conversation(uuid),
    private.list_conversation_lines(uuid, integer),
    private.call_api(text, jsonb, jsonb, bytea),
    private.call_idempotent(text, text, text, jsonb),
    private.create_plain_message(bytea),
    private.is_my_twin_in(uuid, uuid),
    private.is_used_up(),
    private.render_created(public.messages),
    private.accept_invitation(text, uuid),
    private.create_invitation(uuid, uuid, text, text, interval),
    private.create_workspace(text, text, text),
    private.list_my_invitations(),
    private.mark_conversation_read(uuid, timestamptz),
    private.mark_read(uuid, bigint),
    private.open_direct(uuid[], uuid),
    private.hide_direct_channel(uuid, uuid),
    private.render_user_event(public.user_events),
    private.record_export(uuid, uuid, boolean),
    private.revoke_invitation(uuid),
    private.revoke_messaging_key(uuid),
    private.set_reaction(jsonb, text),
    private.lease_summary(uuid, uuid, bigint, integer, text, integer, integer),
    private.find_channel_state(uuid),
    private.count_replies(uuid, uuid),
    private.list_threads(uuid[]),
    private.parse_boolean(jsonb, text),
    private.parse_content(jsonb),
    private.parse_emoji(jsonb),
    private.normalize_emoji(text),
    private.visible_character(),
    private.spend_data_api_request(),
    private.spend_failed_request(jsonb),
    private.spend_project_summary(uuid, uuid),
    private.spend_request(),
    private.decode_text(bytea),
    private.render_failure(text, text, text, text, text),
    private.list_group_participants(uuid),
    private.list_messaging_keys(uuid),
    private.message_preview(jsonb),
    private.erase_person(uuid, uuid[]),
    private.fail(integer, text, text, text),
    private.find_authors(text),
    private.find_call(text),
    private.find_channels(text),
    private.find_mentions(text),
    private.require_upload_channel(jsonb),
    private.require_message(uuid),
    private.list_page(uuid, uuid, boolean, bigint, bigint, integer, integer),
    private.find_summary(uuid, uuid, bigint, integer, text, integer),
    private.finish_idempotent(text, text, integer, text),
    private.fold_text(text, boolean),
    private.fold_for_index(text, boolean),
    private.mark_characters(),
    private.shorten_marks(text),
    private.format_time(timestamptz),
    private.generate_id(),
    private.is_oversized(jsonb, integer),
    private.fits(jsonb, integer),
    private.is_deep(jsonb),
    private.has_huge_number(jsonb),
    private.has_long_digits(text),
    private.scalar_text(jsonb, text),
    private.require_size(jsonb, text, integer),
    private.is_app_admin(),
    private.is_author(public.messages, uuid),
    private.is_executed(),
    private.rotate_messaging_key(uuid, interval),
    private.rotate_twin_secret(uuid, interval),
    private.lock_my_channel(uuid),
    private.search_conversations(private.message_search, uuid),
    private.search_messages(private.message_search),
    private.separate_conversation(uuid, text),
    private.measure_messages(uuid, bigint, integer),
    private.is_my_folder(text, boolean),
    private.is_retired_file(text),
    private.is_my_media(text, text),
    private.is_shown_type(text),
    private.is_my_live_topic(text),
    private.is_my_topic(text),
    private.is_my_turn(text, text),
    private.is_service(),
    private.list_author_names(uuid[]),
    private.parse_json(bytea),
    private.parse_timestamp(text),
    private.phone_digits(text),
    private.change_number(uuid, text),
    private.fold_digits(text),
    private.identifier_value(text, text),
    private.merge_people(uuid, uuid),
    private.parse_written_phone(text),
    private.phone_text(text),
    private.split_phones(text),
    private.undo_number_change(uuid),
    private.unmerge_people(uuid),
    private.find_cursor(jsonb, text, uuid),
    private.list_channel_events(uuid, bigint, integer, integer),
    private.render_inbox_cursor(private.inbox_position),
    private.list_inbox_changes(uuid, xid8, bigint, integer, integer),
    private.parse_inbox_cursor(text),
    private.list_my_channels(integer, integer),
    private.list_my_channels(jsonb),
    private.parse_files(jsonb),
    private.parse_integer(jsonb, text, integer, integer, integer),
    private.parse_search_time(text),
    private.parse_object(bytea),
    private.parse_search_operator(private.message_search, text, text, boolean),
    private.parse_search_phrase(text, regdictionary[], text, boolean),
    private.list_word_forms(text, text, regdictionary[]),
    private.compound_signs(),
    private.has_long_messages(),
    private.list_compounds(text),
    private.list_stems(text[], text[], regdictionary, boolean),
    private.list_stemmers(uuid),
    private.list_search_terms(text, boolean),
    private.list_marks(tsquery),
    private.mark_pattern(text[], tsquery, regdictionary[]),
    private.render_snippet(text, text),
    private.render_hits(jsonb, tsquery, regdictionary[]),
    private.parse_search(text, regdictionary[], boolean),
    private.parse_text(jsonb, text, integer, text),
    private.list_channel_lines(uuid, bigint, integer),
    private.cut_text(text, integer),
    private.render_transcript(private.transcript_line[], integer, integer, integer),
    private.require_actor(jsonb),
    private.parse_uuid(jsonb, text, boolean),
    private.is_uuid(text),
    private.message_max_characters(),
    private.metadata_max_bytes(),
    private.hidden_characters(),
    private.attachments_max_bytes(),
    private.parse_uuids(jsonb, text, integer),
    private.delete_message(uuid, uuid, boolean),
    private.render_attachment(public.attachments),
    private.find_file(jsonb, uuid),
    private.is_posted_to_me(text, text),
    private.is_replaced_file(text, text),
    private.set_image_size(uuid, integer, integer),
    private.finish_upload(jsonb),
    private.render_export(uuid[]),
    private.render_message(public.messages),
    private.render_message(public.messages, jsonb),
    private.render_page(uuid[]),
    private.render_pin(uuid, timestamptz),
    private.render_reaction(uuid, uuid, uuid, text, timestamptz),
    private.render_reactions(uuid[]),
    private.require_acting_member(uuid, uuid),
    private.require_channel(uuid),
    private.require_twin(uuid, uuid),
    private.retry_after(integer, text, jsonb),
    private.replay_twin_deliveries(uuid, uuid),
    private.split_words(text, boolean),
    private.set_twin_webhook(uuid, text),
    private.succeed(jsonb, jsonb, integer),
    private.succeed_page(jsonb[], integer)
to authenticated;

-- service_role: the key of the service and of the Edge Function. It bypasses row-level security.
grant usage on schema private to service_role;
-- Tables and views.
grant select, insert, update, delete on public.ai_twins to service_role;
grant select, insert (id, channel_id, file_name), delete on public.attachments to service_role;
grant select on public.audit_log to service_role;
grant select, insert, update, delete on public.channel_members to service_role;
grant select, insert, update, delete on public.channel_twins to service_role;
grant select, insert, update, delete on public.channels to service_role;
grant select, insert on public.conversation_identifiers to service_role;
grant select, insert, delete on public.conversation_messages to service_role;
grant select on public.conversation_reads to service_role;
grant select on public.conversation_updates to service_role;
grant
    select, insert, delete,
    update (participant_identifier, participant_name, participant_identified_at, participant_named_at, kind)
on public.conversations to service_role;
grant select on public.erasures to service_role;
grant select, insert, update (requests) on public.ingest_log to service_role;
grant select on public.member_states to service_role;
grant select on public.message_edits to service_role;
grant select on public.message_events to service_role;
grant select on public.message_mentions to service_role;
grant select, delete, insert (message_id, pinned_by) on public.message_pins to service_role;
grant select, delete, insert (id, message_id, user_id, emoji) on public.message_reactions to service_role;
grant
    insert (
        id, channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
        content, content_type, metadata, attachments
   ),
    select, delete,
    update (content, deleted_at)
on public.messages to service_role;
grant select, insert, update, delete on public.messaging_connections to service_role;
grant select, insert, update, delete on public.people to service_role;
grant select, insert, delete on public.person_identifiers to service_role;
grant select on public.twin_deliveries to service_role;
grant select, delete on public.twin_webhooks to service_role;
grant select on public.user_events to service_role;
-- Only the deletion of a user deletes the profile, because messages would otherwise lose their author.
grant select, insert, update on public.user_profiles to service_role;
grant select, insert, update, delete on public.workspace_members to service_role;
grant
    select, delete, insert (name, home_country, language, conversation_days, channel_days, created_by),
    update (name, home_country, language, conversation_days, channel_days)
on public.workspaces to service_role;
grant select on private.clean_ups to service_role;
grant select on private.conversation_media to service_role;
grant select on private.word_backlog to service_role;
grant select on private.language_backlog to service_role;
grant select on private.conversation_aliases to service_role;
grant select on private.settings to service_role;
grant select, update on private.summaries to service_role;
grant select, update on private.summary_counts, private.summary_totals to service_role;

-- Functions: calls of the Data API.
grant execute on function
    public.add_reaction(jsonb),
    public.begin_upload(jsonb),
    public.change_number(jsonb),
    public.claim_deliveries(jsonb),
    public.clean_up(jsonb),
    public.conversation_messages(public.conversations),
    public.create_message(jsonb),
    public.delete_message(jsonb),
    public.edit_message(jsonb),
    public.erase_person(jsonb),
    public.erase_user(jsonb),
    public.export_channel(jsonb),
    public.export_conversation(jsonb),
    public.finish_delivery(jsonb),
    public.finish_upload(jsonb),
    public.get_attachment(jsonb),
    public.get_message(jsonb),
    public.list_channel_events(jsonb),
    public.list_message_edits(jsonb),
    public.list_messages(jsonb),
    public.list_twin_deliveries(jsonb),
    public.merge_people(jsonb),
    public.messages(public.conversations),
    public.index_conversations(jsonb),
    public.list_inbox_changes(jsonb),
    public.messaging_ingest(bytea),
    public.participants(public.conversations),
    public.pin_message(jsonb),
    public.read_metrics(jsonb),
    public.remove_reaction(jsonb),
    public.remove_twin_webhook(jsonb),
    public.replay_twin_deliveries(jsonb),
    public.reply_to_message(jsonb),
    public.rotate_twin_secret(jsonb),
    public.search_conversations(jsonb),
    public.search_messages(jsonb),
    public.separate_conversation(jsonb),
    public.set_twin_webhook(jsonb),
    public.sweep_attachments(jsonb),
    public.toggle_reaction(jsonb),
    public.undo_number_change(jsonb),
    public.unmerge_people(jsonb),
    public.unpin_message(jsonb)
to service_role;

-- Functions: the named calls.
grant execute on function
    public.add_reaction(uuid, text, uuid),
    public.begin_upload(uuid, jsonb, text, uuid),
    public.change_number(uuid, text),
    public.claim_deliveries(integer, integer),
    public.clean_up(integer),
    public.create_message(uuid, text, text, uuid, jsonb, jsonb, uuid, uuid, uuid),
    public.delete_message(uuid, boolean, uuid),
    public.edit_message(uuid, text, uuid),
    public.erase_person(uuid, uuid[]),
    public.erase_user(uuid),
    public.export_channel(uuid, integer, text),
    public.export_conversation(uuid, integer, text),
    public.finish_delivery(uuid, uuid, integer, text),
    public.finish_upload(uuid, jsonb, text, uuid),
    public.get_attachment(uuid),
    public.get_message(uuid),
    public.list_channel_events(uuid, bigint, integer),
    public.index_conversations(integer),
    public.list_message_edits(uuid),
    public.list_messages(uuid, uuid, boolean, integer, integer, text, text),
    public.list_twin_deliveries(uuid, text, integer),
    public.merge_people(uuid, uuid),
    public.pin_message(uuid, uuid),
    public.read_metrics(),
    public.remove_reaction(uuid, text, uuid),
    public.remove_twin_webhook(uuid),
    public.replay_twin_deliveries(uuid, uuid),
    public.reply_to_message(uuid, text, text, jsonb, jsonb, uuid, uuid, uuid),
    public.rotate_twin_secret(uuid, integer),
    public.search_conversations(text, uuid, integer, integer),
    public.search_messages(text, uuid, integer, integer, boolean),
    public.separate_conversation(uuid, text),
    public.set_twin_webhook(uuid, text),
    public.sweep_attachments(integer),
    public.toggle_reaction(uuid, text, uuid),
    public.undo_number_change(uuid),
    public.unmerge_people(uuid),
    public.unpin_message(uuid, uuid),
    public.unread_count(public.conversations)
to service_role;

-- Functions: helpers behind them.
grant execute on function
    private.require_user(),
    private.list_conversations(jsonb),
    private.list_workspaces(jsonb),
    private.create_workspace(jsonb),
    private.get_workspace(jsonb),
    private.update_workspace(jsonb),
    private.delete_workspace(jsonb),
    private.list_workspace_members(jsonb),
    private.set_member_role(jsonb),
    private.remove_workspace_member(jsonb),
    private.create_invitation(jsonb),
    private.list_invitations(jsonb),
    private.revoke_invitation(jsonb),
    private.list_my_invitations(jsonb),
    private.accept_invitation(jsonb),
    private.mark_read(jsonb),
    private.open_direct(jsonb),
    private.list_user_events(jsonb),
    private.authenticate_connection(text, text, text),
    private.admit_upload(jsonb),
    private.begin_idempotent(text, text, jsonb),
    private.answer_summary(jsonb, uuid, uuid, bigint, integer),
    private.begin_conversation_summary(jsonb),
    private.begin_summary(jsonb),
    private.empty_summary(),
    private.is_my_conversation(uuid),
    private.list_conversation_lines(uuid, integer),
    private.call_api(text, jsonb, jsonb, bytea),
    private.call_idempotent(text, text, text, jsonb),
    private.is_used_up(),
    private.render_created(public.messages),
    private.set_reaction(jsonb, text),
    private.claim_deliveries(integer, interval),
    private.lease_summary(uuid, uuid, bigint, integer, text, integer, integer),
    private.clean_up(integer),
    private.is_replay(jsonb, private.ingest_conversation[], uuid[]),
    private.find_channel_state(uuid),
    private.count_replies(uuid, uuid),
    private.list_threads(uuid[]),
    private.parse_boolean(jsonb, text),
    private.parse_content(jsonb),
    private.parse_emoji(jsonb),
    private.normalize_emoji(text),
    private.visible_character(),
    private.count_messages(jsonb),
    private.create_conversations(private.ingest_source, private.ingest_participant[]),
    private.decode_text(bytea),
    private.render_failure(text, text, text, text, text),
    private.render_results(private.ingest_result[]),
    private.diagnose(text, timestamptz),
    private.sweep_attachments(integer, interval),
    private.media_link(text),
    private.media_path(uuid, text, text),
    private.free_media_path(uuid, text, text),
    private.shows_stored_file(public.conversation_messages),
    private.measure_media(),
    private.offer_uploads(private.ingest_source, jsonb, private.ingest_result[]),
    private.render_uploads(jsonb),
    private.erase_user(uuid),
    private.erase_person(uuid, uuid[]),
    private.fail(integer, text, text, text),
    private.find_authors(text),
    private.find_call(text),
    private.find_channels(text),
    private.find_mentions(text),
    private.require_upload_channel(jsonb),
    private.find_conversations(private.ingest_source, private.ingest_conversation[]),
    private.require_message(uuid),
    private.list_page(uuid, uuid, boolean, bigint, bigint, integer, integer),
    private.find_summary(uuid, uuid, bigint, integer, text, integer),
    private.spend_failed_request(jsonb),
    private.spend_project_summary(uuid, uuid),
    private.finish_delivery(uuid, uuid, integer, text),
    private.finish_idempotent(text, text, integer, text),
    private.finish_summary(jsonb),
    private.fold_text(text, boolean),
    private.fold_for_index(text, boolean),
    private.mark_characters(),
    private.shorten_marks(text),
    private.format_time(timestamptz),
    private.generate_id(),
    private.is_oversized(jsonb, integer),
    private.fits(jsonb, integer),
    private.is_deep(jsonb),
    private.has_huge_number(jsonb),
    private.has_long_digits(text),
    private.scalar_text(jsonb, text),
    private.require_size(jsonb, text, integer),
    private.is_app_admin(),
    private.is_author(public.messages, uuid),
    private.index_conversations(integer),
    private.index_languages(integer),
    private.diagnose_people(jsonb),
    private.diagnose_group_participants(jsonb),
    private.list_group_participants(uuid),
    private.record_group_participants(jsonb, private.ingest_message[], uuid[]),
    private.read_conversations(private.ingest_source, jsonb),
    private.record_aliases(private.ingest_source, jsonb),
    private.record_names(
        private.ingest_source, jsonb, private.ingest_conversation[], private.ingest_message[],
        private.ingest_update[], uuid[]
    ),
    private.render_inbox_cursor(private.inbox_position),
    private.list_inbox_changes(uuid, xid8, bigint, integer, integer),
    private.parse_inbox_cursor(text),
    private.is_valid_key(text),
    private.parse_ingest_head(bytea),
    private.measure_search(),
    private.rotate_twin_secret(uuid, interval),
    private.validate_conversations(private.ingest_conversation[], private.ingest_message[]),
    private.validate_updates(private.ingest_conversation[], private.ingest_update[]),
    private.lock_my_channel(uuid),
    private.lock_conversations(uuid[]),
    private.lock_source(private.ingest_source),
    private.can_match(uuid),
    private.wait_to_match(uuid),
    private.record_export(uuid, uuid, boolean),
    private.place_messages(private.ingest_message[], uuid[]),
    private.list_versions(uuid[]),
    private.send_changes(jsonb, uuid[], bigint[], private.ingest_result[]),
    private.broadcast_conversations(uuid[]),
    private.record_ingest(private.ingest_source, bigint, private.ingest_result[]),
    private.record_refusal(private.ingest_source, integer),
    private.search_conversations(private.message_search, uuid),
    private.search_messages(private.message_search),
    private.separate_conversation(uuid, text),
    private.matching_lock(uuid),
    private.measure_database(),
    private.measure_deliveries(),
    private.measure_messages(uuid, bigint, integer),
    private.message_preview(jsonb),
    private.is_service(),
    private.list_author_names(uuid[]),
    private.list_participants(text, private.ingest_conversation[], uuid[]),
    private.parse_json(bytea),
    private.parse_timestamp(text),
    private.phone_digits(text),
    private.change_number(uuid, text),
    private.fold_digits(text),
    private.identifier_value(text, text),
    private.merge_people(uuid, uuid),
    private.parse_written_phone(text),
    private.phone_text(text),
    private.split_phones(text),
    private.undo_number_change(uuid),
    private.unmerge_people(uuid),
    private.diagnose_identifiers(jsonb),
    private.identifier_key(text, text, text),
    private.identifier_kinds(),
    private.identify(text, text),
    private.identify_any(text, text),
    private.is_phone(text, text),
    private.list_given_identifiers(jsonb),
    private.list_identifiers(uuid),
    private.participant_key(text, text),
    private.record_given_identifiers(text, private.ingest_conversation[], uuid[]),
    private.record_identifiers(uuid[], private.identifier[]),
    private.poll_summary(jsonb),
    private.parse_conversations(jsonb),
    private.find_cursor(jsonb, text, uuid),
    private.list_channel_events(uuid, bigint, integer, integer),
    private.list_my_channels(integer, integer),
    private.list_my_channels(jsonb),
    private.parse_files(jsonb),
    private.parse_integer(jsonb, text, integer, integer, integer),
    private.parse_messages(jsonb),
    private.diagnose_json(jsonb),
    private.parse_search_time(text),
    private.parse_object(bytea),
    private.parse_search_operator(private.message_search, text, text, boolean),
    private.parse_search_phrase(text, regdictionary[], text, boolean),
    private.list_word_forms(text, text, regdictionary[]),
    private.compound_signs(),
    private.has_long_messages(),
    private.list_compounds(text),
    private.list_stems(text[], text[], regdictionary, boolean),
    private.list_stemmers(uuid),
    private.list_search_terms(text, boolean),
    private.list_marks(tsquery),
    private.mark_pattern(text[], tsquery, regdictionary[]),
    private.render_snippet(text, text),
    private.render_hits(jsonb, tsquery, regdictionary[]),
    private.parse_search(text, regdictionary[], boolean),
    private.parse_text(jsonb, text, integer, text),
    private.list_channel_lines(uuid, bigint, integer),
    private.cut_text(text, integer),
    private.render_transcript(private.transcript_line[], integer, integer, integer),
    private.require_actor(jsonb),
    private.parse_uuid(jsonb, text, boolean),
    private.is_uuid(text),
    private.message_max_characters(),
    private.metadata_max_bytes(),
    private.hidden_characters(),
    private.attachments_max_bytes(),
    private.parse_uuids(jsonb, text, integer),
    private.refuse_ingest(integer, text),
    private.use_asynchronous_commit(),
    private.delete_message(uuid, uuid, boolean),
    private.render_attachment(public.attachments),
    private.find_file(jsonb, uuid),
    private.is_posted_to_me(text, text),
    private.is_replaced_file(text, text),
    private.set_image_size(uuid, integer, integer),
    private.finish_upload(jsonb),
    private.render_export(uuid[]),
    private.render_message(public.messages),
    private.render_message(public.messages, jsonb),
    private.render_page(uuid[]),
    private.render_pin(uuid, timestamptz),
    private.render_reaction(uuid, uuid, uuid, text, timestamptz),
    private.render_reactions(uuid[]),
    private.request_id(),
    private.require_acting_member(uuid, uuid),
    private.require_channel(uuid),
    private.require_twin(uuid, uuid),
    private.retry_after(integer, text, jsonb),
    private.replay_twin_deliveries(uuid, uuid),
    private.split_words(text, boolean),
    private.store_conversations(private.ingest_source, jsonb),
    private.complete_ids(private.ingest_source, private.ingest_conversation[], uuid[], jsonb),
    private.store_messages(private.ingest_source, private.ingest_message[], uuid[], boolean),
    private.add_messages(
        private.ingest_source, private.ingest_conversation[], private.ingest_message[], private.ingest_update[],
        uuid[], uuid[]
    ),
    private.store_new_messages(
        private.ingest_source, private.ingest_conversation[], private.ingest_message[], uuid[], timestamptz
    ),
    private.has_only_new_messages(private.ingest_conversation[], private.ingest_message[], uuid[], uuid[]),
    private.match_participants(uuid, text, text[], text[]),
    private.settle_updates(
        private.ingest_message[], private.ingest_update[], uuid[], private.ingest_count[]
    ),
    private.merge_counts(
        private.ingest_count[], private.ingest_update[], private.ingest_update[], uuid[]
    ),
    private.has_names(private.ingest_source, jsonb),
    private.has_updates(uuid[]),
    private.list_results(private.ingest_conversation[], uuid[], jsonb, private.ingest_count[]),
    private.find_edit_time(jsonb),
    private.render_receipts(public.conversation_updates[]),
    private.render_present_message(jsonb, public.conversation_updates[]),
    private.parse_update_value(text, jsonb),
    private.find_update_error(jsonb, timestamptz),
    private.parse_updates(jsonb),
    private.parse_sender(jsonb),
    private.parse_sequence(jsonb),
    private.record_updates(private.ingest_update[], uuid[]),
    private.list_updates(uuid, text, text),
    private.apply_known_updates(private.ingest_message[], uuid[]),
    private.read_repeated_message(jsonb, public.conversation_messages),
    private.list_repeated_messages(private.ingest_message[], uuid[], private.ingest_count[]),
    private.refresh_messages(private.ingest_update[], uuid[]),
    private.set_twin_webhook(uuid, text),
    private.succeed(jsonb, jsonb, integer),
    private.succeed_page(jsonb[], integer),
    private.list_summaries(uuid[], private.ingest_participant[], timestamptz),
    private.update_participants(uuid[], private.ingest_participant[], private.conversation_summary[])
to service_role;

-- authenticator: the login role of the service. It may call the gateway and become one of the roles above.
grant usage on schema private to authenticator;
grant execute on function private.call(text, text, text, text, text, bytea) to authenticator;
