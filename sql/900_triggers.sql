-- Every trigger, table by table, in firing order, each table headed by its story.
-- Postgres fires the triggers of one event in the order of their names. So a name is the table, a number and a word:
-- the number is the order. BEFORE triggers run first, AFTER triggers next, deferred ones at the end of the transaction.

-- auth.users: a user signs up, or is deleted.
-- The profile starts with what Supabase Auth knows. Before a user goes, 30 passes on what belongs to teams.
create trigger threadline_10_create_profile
after insert on auth.users
for each row execute function private.create_user_profile_trigger();
create trigger threadline_20_create_workspace
after insert on auth.users
for each row execute function private.create_personal_workspace_trigger();
create trigger threadline_30_hand_over
before delete on auth.users
for each row execute function private.hand_over_user_trigger();

-- Triggers named refuse stop statements of clients; the error names the function to call.
-- workspaces: a workspace changes. Only an owner changes how long messages are kept.
create trigger workspaces_10_refuse
before insert on public.workspaces
for each statement execute function private.refuse_statement_trigger('create_workspace');
create trigger workspaces_10_stamp
before update on public.workspaces
for each row execute function private.set_updated_at_trigger();
create trigger workspaces_20_protect_retention
before update on public.workspaces
for each row when (
    (old.conversation_days, old.channel_days) is distinct from (new.conversation_days, new.channel_days)
)
execute function private.protect_retention_trigger();
create trigger workspaces_30_audit
after update on public.workspaces
for each row when (
    (old.conversation_days, old.channel_days) is distinct from (new.conversation_days, new.channel_days)
)
execute function private.audit_retention_trigger();

-- Numbers without a country are read in the home country.
create trigger workspaces_40_reread_numbers
after update of home_country on public.workspaces
for each row when (old.home_country is distinct from new.home_country)
execute function private.reread_numbers_trigger();

create trigger workspaces_50_set_language
after update of language on public.workspaces
for each row when (old.language is distinct from new.language)
execute function private.set_workspace_language_trigger();
-- The log has no foreign key, which would cost one query for each request.
create trigger workspaces_60_forget_changes
after delete on public.workspaces
referencing old table as gone
for each statement execute function private.forget_inbox_changes_trigger();

-- workspace_members: a member changes role or leaves. Only owners make, change or remove owners, and one stays.
create trigger workspace_members_10_protect_owners
before update or delete on public.workspace_members
for each row execute function private.protect_workspace_owners_trigger();
create trigger workspace_members_10_refuse
before insert on public.workspace_members
for each statement execute function private.refuse_statement_trigger('create_invitation');
create trigger workspace_members_20_audit
after insert or delete on public.workspace_members
for each row execute function private.audit_member_trigger();
create trigger workspace_members_21_audit
after update on public.workspace_members
for each row when (
    (old.workspace_id, old.user_id, old.role) is distinct from (new.workspace_id, new.user_id, new.role)
)
execute function private.audit_member_trigger();
-- After 20: the log says that the member left, then who became owner.
create trigger workspace_members_30_hand_over
after delete on public.workspace_members
for each row execute function private.hand_over_member_trigger();
create trigger workspace_members_35_seal
after delete on public.workspace_members
for each row execute function private.seal_workspace_trigger();
-- After 30, which locks counters of channels: they come before counters of users.
create trigger workspace_members_40_tell
after insert or delete on public.workspace_members
for each row execute function private.record_workspace_membership_trigger();
create trigger workspace_members_41_tell
after update on public.workspace_members
for each row when (old.role <> new.role) execute function private.record_workspace_membership_trigger();

-- workspace_invitations: a user is invited, and told.
create trigger workspace_invitations_10_refuse
before insert on public.workspace_invitations
for each statement execute function private.refuse_statement_trigger('create_invitation');
create trigger workspace_invitations_10_tell
after insert on public.workspace_invitations
for each row when (new.email is not null) execute function private.record_invitation_trigger();
create trigger workspace_invitations_11_refuse
before update or delete on public.workspace_invitations
for each statement execute function private.refuse_statement_trigger('revoke_invitation');

-- user_events: an event of a user is recorded. Realtime gets it at once, since its numbers are locked until the commit.
create trigger user_events_10_broadcast
after insert on public.user_events
referencing new table as changed
for each statement execute function private.broadcast_user_events_trigger();

-- user_profiles: a profile changes.
create trigger user_profiles_10_stamp
before update on public.user_profiles
for each row execute function private.set_updated_at_trigger();

-- people: a user adds, renumbers or deletes a person: the conversations with that number are matched again.
-- Takes the lock of the user's matching before any row, so that ingest and this change do not deadlock.
-- A person that names no workspace gets the personal one of its user.
create trigger people_10_assign_workspace
before insert on public.people
for each row when (new.workspace_id is null) execute function private.set_workspace_trigger();
create trigger people_10_lock_matching
before update on public.people
for each statement execute function private.lock_matching_trigger();
create trigger people_20_lock_matching
before delete on public.people
for each statement execute function private.lock_matching_trigger();
create trigger people_30_stamp
before update on public.people
for each row execute function private.set_updated_at_trigger();
create trigger people_40_refresh
after insert on public.people
referencing new table as changed
for each statement execute function private.refresh_people_trigger();
create trigger people_50_refresh
after update on public.people
referencing old table as removed new table as changed
for each statement execute function private.refresh_changed_people_trigger();
create trigger people_60_refresh
after delete on public.people
referencing old table as changed
for each statement execute function private.refresh_people_trigger();

-- person_identifiers: a user adds or removes an identifier of a person.
create trigger person_identifiers_10_lock_matching
before insert or delete on public.person_identifiers
for each statement execute function private.lock_matching_trigger();
create trigger person_identifiers_20_normalize
before insert or update on public.person_identifiers
for each row execute function private.normalize_identifier_trigger();
create trigger person_identifiers_30_refresh
after insert on public.person_identifiers
referencing new table as changed
for each statement execute function private.refresh_identifiers_trigger();
create trigger person_identifiers_40_refresh
after delete on public.person_identifiers
referencing old table as changed
for each statement execute function private.refresh_identifiers_trigger();

-- settings: numbers without a country are read in another one.
create trigger settings_10_reread_numbers
after update of default_country on private.settings
for each row when (old.default_country is distinct from new.default_country)
execute function private.reread_numbers_trigger();

create trigger settings_20_set_language
after update of default_language on private.settings
for each row when (old.default_language <> new.default_language)
execute function private.set_default_language_trigger();

-- messaging_connections: a connection changes or goes.
create trigger messaging_connections_10_assign_workspace
before insert on public.messaging_connections
for each row when (new.workspace_id is null) execute function private.set_workspace_trigger();
create trigger messaging_connections_10_stamp
before update on public.messaging_connections
for each row execute function private.set_updated_at_trigger();
create trigger messaging_connections_11_audit
after insert or delete on public.messaging_connections
for each row execute function private.audit_connection_trigger();
-- The log has no foreign key (140_ingest_log).
create trigger messaging_connections_20_delete_log
after delete on public.messaging_connections
referencing old table as removed
for each statement execute function private.delete_ingest_log_trigger();

-- conversations: ingest writes a conversation, and it is matched to a person. At the end of the transaction its owner's
-- inbox gets one broadcast.
create trigger conversations_10_assign_workspace
before insert on public.conversations
for each row when (new.workspace_id is null or new.scope_id is null)
execute function private.set_conversation_workspace_trigger();
-- Ingest matches the participants of a request at once (create_conversations).
create trigger conversations_10_match
before insert on public.conversations
for each row when (current_setting('threadline.is_matched', true) is distinct from 'on')
execute function private.match_participant_trigger();
create trigger conversations_20_match
before update of participant_identifier, kind on public.conversations
for each row when (
    (old.participant_identifier, old.kind) is distinct from (new.participant_identifier, new.kind)
)
execute function private.match_participant_trigger();
create trigger conversations_25_keep_identifier
after update of participant_identifier on public.conversations
for each row when (old.participant_identifier is distinct from new.participant_identifier)
execute function private.record_earlier_identifier_trigger();
create trigger conversations_30_stamp
before update on public.conversations
for each row execute function private.set_updated_at_trigger();
-- The messages have no foreign key (decision 0006).
create trigger conversations_40_delete_messages
after delete on public.conversations
referencing old table as removed
for each statement execute function private.delete_conversation_messages_trigger();
create trigger conversations_41_redact
after delete on public.conversations
referencing old table as gone
for each statement execute function private.redact_inbox_trigger();
create trigger conversations_42_note
after delete on public.conversations
referencing old table as gone
for each statement execute function private.note_gone_conversations_trigger();
-- 50 and 60 wait for the end of the transaction, because messages may follow. Ingest broadcasts its changes itself.
create constraint trigger conversations_50_broadcast
after insert on public.conversations
deferrable initially deferred
for each row when (current_setting('threadline.is_ingesting', true) is distinct from 'on')
execute function private.broadcast_conversation_trigger();
create constraint trigger conversations_60_broadcast
after update on public.conversations
deferrable initially deferred
for each row when (
    (old.participant_identifier, old.participant_name, old.person_id)
    is distinct from (new.participant_identifier, new.participant_name, new.person_id)
    and current_setting('threadline.is_ingesting', true) is distinct from 'on'
)
execute function private.broadcast_conversation_trigger();

-- group_participants: a change of people also changes the people of participants.
create trigger group_participants_10_broadcast
after update on private.group_participants
referencing old table as gone new table as changed
for each statement execute function private.broadcast_group_participants_trigger();

-- conversation_identifiers: ingest learns more about a participant.
create trigger conversation_identifiers_10_match
after insert on public.conversation_identifiers
referencing new table as changed
for each statement execute function private.rematch_identified_trigger();

-- conversation_messages: ingest adds messages: counters and preview of the conversation first, then the broadcast
-- that shows them. Ingest creates conversations with the summary of their first messages, which 11 only checks.
create trigger conversation_messages_10_summarize
after insert on public.conversation_messages
referencing new table as changed
for each statement when (current_setting('threadline.is_summarized', true) is distinct from 'on')
execute function private.summarize_conversations_trigger();
create trigger conversation_messages_11_check
after insert on public.conversation_messages
referencing new table as changed
for each statement when (current_setting('threadline.is_summarized', true) = 'on')
execute function private.check_conversations_trigger();
-- After 10: it sends the row that 10 has updated.
create trigger conversation_messages_20_broadcast
after insert on public.conversation_messages
referencing new table as changed
for each statement execute function private.broadcast_ingested_messages_trigger();
create trigger conversation_messages_25_note
after insert on public.conversation_messages
referencing new table as changed
for each statement execute function private.note_ingested_trigger();
create trigger conversation_messages_30_summarize
after delete on public.conversation_messages
referencing old table as changed
for each statement execute function private.summarize_conversations_trigger();
create trigger conversation_messages_40_redact
after delete on public.conversation_messages
referencing old table as gone
for each statement execute function private.redact_inbox_trigger();
create trigger conversation_messages_45_forget
after delete on public.conversation_messages
referencing old table as gone
for each statement execute function private.forget_ingested_trigger();
-- Updates change messages.
create trigger conversation_messages_50_summarize
after update on public.conversation_messages
referencing new table as changed
for each statement execute function private.summarize_conversations_trigger();
-- Before 70, which sends what is left of a deleted message.
create trigger conversation_messages_60_redact
after update on public.conversation_messages
referencing old table as gone new table as changed
for each statement execute function private.redact_deleted_messages_trigger();
create trigger conversation_messages_65_change
after update on public.conversation_messages
referencing old table as gone new table as changed
for each statement execute function private.change_ingested_trigger();
-- After 50: it sends the row that 50 has updated.
create trigger conversation_messages_70_broadcast
after update on public.conversation_messages
referencing new table as changed
for each statement execute function private.broadcast_updated_messages_trigger();

-- conversation_words: a message leaves the search index.
create trigger conversation_words_10_delete_words
after delete on private.conversation_words
referencing old table as removed
for each statement execute function private.delete_conversation_words_trigger();

-- channels: a user makes a channel and becomes its first owner. A direct channel has none.
create trigger channels_10_assign_workspace
before insert on public.channels
for each row when (new.workspace_id is null) execute function private.set_channel_workspace_trigger();
create trigger channels_10_stamp
before update on public.channels
for each row execute function private.set_updated_at_trigger();
create trigger channels_12_reject_direct
before insert on public.channels
for each row when (new.kind = 'dm') execute function private.reject_direct_channel_trigger();
-- Before 30: the owner joins, and that is the first event of the channel.
create trigger channels_20_create_counter
after insert on public.channels
for each row execute function private.create_channel_counter_trigger();
create trigger channels_30_add_owner
after insert on public.channels
for each row when (new.direct_key is null) execute function private.add_channel_owner_trigger();
create trigger channels_36_set_language
after insert or update of language, workspace_id on public.channels
for each row execute function private.set_channel_language_trigger();
-- After 36, which locks the counter of the channel: it comes before counters of users.
create trigger channels_37_tell
after update of name on public.channels
for each row when (old.name is distinct from new.name) execute function private.record_renaming_trigger();

-- Before the delete, while the log still numbers the broadcasts. 38 locks the channel for both.
create trigger channels_38_tell_deletion
before delete on public.channels
for each row execute function private.broadcast_channel_deletion_trigger();
create trigger channels_40_redact
before delete on public.channels
for each row execute function private.redact_channel_trigger();
create trigger channels_45_forget_name
after delete on public.channels
for each row execute function private.forget_channel_name_trigger();

-- channel_members: a member joins, changes role or leaves.
-- Before: 10 checks the rights of the caller, 20 keeps one owner.
-- The people of a direct channel stay: 11 and 12. 13 locks the channel before the cascade deletes the state of the
-- member.
-- After: the twins of a member who left are removed, the log gets an event, and so does the member. A change of
-- role is an event of the member only.
create trigger channel_members_10_protect_owners
before insert or update or delete on public.channel_members
for each row execute function private.protect_owners_trigger();
create trigger channel_members_11_keep_direct
before delete on public.channel_members
for each row execute function private.keep_direct_member_trigger();
create trigger channel_members_12_reject_direct
before insert on public.channel_members
for each row execute function private.reject_direct_member_trigger();
create trigger channel_members_13_lock_channel
before delete on public.channel_members
for each row execute function private.lock_member_channel_trigger();
create trigger channel_members_15_require_workspace_member
before insert on public.channel_members
for each row execute function private.require_workspace_member_trigger();
-- After 10: a caller without the right gets that error first.
create trigger channel_members_20_require_owner
before update or delete on public.channel_members
for each row when (old.role = 'owner') execute function private.require_owner_trigger();
create trigger channel_members_30_remove_twins
after delete on public.channel_members
for each row execute function private.remove_member_twins_trigger();
create trigger channel_members_40_remove_twins
after update on public.channel_members
for each row when ((old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id))
execute function private.remove_member_twins_trigger();
create trigger channel_members_50_record
after insert or delete on public.channel_members
for each row execute function private.record_member_trigger();
-- After 50: the marker stands at the event of joining.
create trigger channel_members_51_create_state
after insert on public.channel_members
for each row execute function private.create_member_state_trigger();
create trigger channel_members_52_tell
after insert or delete on public.channel_members
for each row execute function private.record_membership_trigger();
create trigger channel_members_53_tell
after update on public.channel_members
for each row when (old.role <> new.role) execute function private.record_membership_trigger();
-- service_role may also write another user or channel into a row.
create trigger channel_members_60_record
after update on public.channel_members
for each row when ((old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id))
execute function private.record_member_trigger();

create trigger channel_members_70_audit
after update on public.channel_members
for each row when (old.role <> new.role) execute function private.audit_channel_role_trigger();

-- ai_twins: a user makes or deletes a twin.
create trigger ai_twins_10_stamp
before update on public.ai_twins
for each row execute function private.set_updated_at_trigger();
-- Before the delete sets ai_twin_id of its messages to null.
create trigger ai_twins_20_remember_owner
before delete on public.ai_twins
for each row execute function private.remember_twin_owner_trigger();

-- Each twin takes part in how deliveries are shared out.
create trigger ai_twins_30_limit
before insert on public.ai_twins
for each row execute function private.limit_twins_trigger();

-- channel_twins: a member adds a twin to a channel: 10 locks the channel and checks membership and the maximum.
create trigger channel_twins_10_admit
before insert on public.channel_twins
for each row execute function private.admit_twin_trigger();

-- Before the delete, because it reads the row.
create trigger channel_twins_20_redact
before delete on public.channel_twins
for each row execute function private.redact_channel_trigger();

-- messages: a member writes, edits or deletes a message.
-- Insert, before: 10 computes the search entry, checks membership, locks the channel, requires the parent, and gives
-- number, time and event.
-- 20 and 30 run under that lock. Then the policies and constraints check the row.
-- Insert, after: 50 queues it for twins, 60 indexes it for search, 65 stores its mentions, 70 keeps its files. At
-- the end of the transaction message_events_10_broadcast sends the event.
-- Update: 35 keeps all but the content as it is. 40 keeps the old text of an edit, and records an edit or a deletion.
-- After: 80 updates the search index and locks the twins of the channel.
-- 81 forgets what an edit or a deletion took away. 82 queues the change for twins. 83 corrects its mentions.
-- Delete of the row (erasure or a cascade): 90 records the deletion unless it was deleted before; 91 leaves search; 92
-- forgets it.
create trigger messages_10_admit
before insert on public.messages
for each row execute function private.admit_message_trigger();
create trigger messages_10_refuse
before delete on public.messages
for each statement execute function private.refuse_statement_trigger('delete_message');
create trigger messages_20_require_attachments
before insert on public.messages
for each row when (new.attachments is not null) execute function private.require_attachments_trigger();
-- After 10: under its lock the newest message stays the newest.
create trigger messages_30_set_hops
before insert on public.messages
for each row when (new.ai_twin_id is not null) execute function private.set_hops_trigger();
create trigger messages_35_protect
before update on public.messages
for each row when (
    (
        old.id, old.channel_id, old.user_id, old.ai_twin_id, old.parent_message_id, old.conversation_id,
        old.content_type, old.metadata, old.attachments
    )
    is distinct from (
        new.id, new.channel_id, new.user_id, new.ai_twin_id, new.parent_message_id, new.conversation_id,
        new.content_type, new.metadata, new.attachments
    )
)
execute function private.protect_message_trigger();
create trigger messages_40_record_change
before update on public.messages
for each row execute function private.record_message_change_trigger();
create trigger messages_50_queue_deliveries
after insert on public.messages
for each row execute function private.queue_deliveries_trigger();
create trigger messages_60_index
after insert on public.messages
for each row execute function private.index_message_trigger();
create trigger messages_65_record_mentions
after insert on public.messages
for each row when (new.content like '%<@%' or new.content like '%<!channel>%')
execute function private.record_mentions_trigger();
create trigger messages_70_link_attachments
after insert on public.messages
for each row when (jsonb_typeof(new.attachments) = 'array') execute function private.link_attachments_trigger();
create trigger messages_80_index
after update of content, attachments, deleted_at on public.messages
for each row execute function private.index_message_trigger();
create trigger messages_80_lock_twins
after update of content, deleted_at on public.messages
for each row when ((old.content, old.deleted_at) is distinct from (new.content, new.deleted_at))
execute function private.lock_twins_trigger();
-- After the deletion, so that pins and reactions that go with the message record no events.
create trigger messages_81_forget
after update of content, deleted_at on public.messages
for each row when ((old.content, old.deleted_at) is distinct from (new.content, new.deleted_at))
execute function private.forget_message_trigger();
-- After 81: a twin that leaves the channel locks its broadcasts before its deliveries, too.
create trigger messages_82_queue_change
after update of content, deleted_at on public.messages
for each row when ((old.content, old.deleted_at) is distinct from (new.content, new.deleted_at))
execute function private.queue_change_trigger();
create trigger messages_83_record_mentions
after update of content, deleted_at on public.messages
for each row when (
    (old.content, old.deleted_at) is distinct from (new.content, new.deleted_at)
    and old.content || new.content ~ '<@|<!channel>'
)
execute function private.record_mentions_trigger();
create trigger messages_90_record_change
after delete on public.messages
for each row when (old.deleted_at is null) execute function private.record_message_change_trigger();
-- The search index has no foreign key (decision 0006).
create trigger messages_91_delete_words
after delete on public.messages
referencing old table as removed
for each statement execute function private.delete_message_words_trigger();
create trigger messages_92_forget
after delete on public.messages
referencing old table as removed
for each statement execute function private.forget_messages_trigger();

-- message_reactions: a member adds or removes a reaction.
-- 10 copies the channel from the message and locks the channel; 11 gives the emoji its one spelling; 20 records the
-- event.
create trigger message_reactions_10_refuse
before update on public.message_reactions
for each statement execute function private.refuse_statement_trigger('toggle_reaction');
create trigger message_reactions_10_set_channel
before insert on public.message_reactions
for each row execute function private.set_message_channel_trigger();
create trigger message_reactions_11_normalize
before insert on public.message_reactions
for each row execute function private.normalize_emoji_trigger();
create trigger message_reactions_20_record
after insert or delete on public.message_reactions
for each row execute function private.record_reaction_or_pin_trigger();

-- message_pins: a member pins or unpins a message. The same steps as for a reaction.
create trigger message_pins_10_refuse
before update on public.message_pins
for each statement execute function private.refuse_statement_trigger('pin_message');
create trigger message_pins_10_set_channel
before insert on public.message_pins
for each row execute function private.set_message_channel_trigger();
create trigger message_pins_20_record
after insert or delete on public.message_pins
for each row execute function private.record_reaction_or_pin_trigger();

-- message_events: an event is recorded. Realtime gets it at the end of the transaction.
-- Deferred, because the event is written before its message (decision 0009).
create constraint trigger message_events_10_broadcast
after insert on public.message_events
deferrable initially deferred
for each row execute function private.broadcast_event_trigger();

-- attachments: a member registers or deletes an uploaded file.
-- Size, type and uploader come from Storage.
create trigger attachments_10_set_details
before insert on public.attachments
for each row execute function private.set_attachment_details_trigger();
-- After the insert, so that it waits for a concurrent delete of the same id.
create trigger attachments_20_reject_retired_id
after insert on public.attachments
for each row execute function private.reject_retired_id_trigger();
create trigger attachments_30_retire_id
after delete on public.attachments
referencing old table as removed
for each statement execute function private.retire_ids_trigger();

-- message_files: the files are deleted with the row of their message. A deleted message keeps its row (350_redaction).
create trigger message_files_10_drop_unused
after delete on private.message_files
for each row execute function private.drop_unused_file_trigger();

-- twin_webhooks: a webhook changes.
create trigger twin_webhooks_10_refuse
before insert or update on public.twin_webhooks
for each statement execute function private.refuse_statement_trigger('set_twin_webhook');
create trigger twin_webhooks_10_stamp
before update on public.twin_webhooks
for each row execute function private.set_updated_at_trigger();
