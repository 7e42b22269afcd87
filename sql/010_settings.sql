-- Limits and retention that an operator changes with one UPDATE, and the trigger function that sets updated_at.
-- Each limit stands here once; the next request uses a changed value.

create table private.settings (
    is_only_row boolean primary key default true,
    ingest_max_messages integer not null default 5000,
    requests_per_minute integer not null default 60,
    data_api_requests_at_once integer not null default 10,
    twin_max_hops integer not null default 3,
    twin_max_attempts integer not null default 8,
    twin_retry_seconds integer not null default 5,
    twin_skip_seconds integer not null default 600,
    summaries_per_user_per_day integer not null default 50,
    summaries_per_project_per_day integer not null default 1000,
    summary_max_bytes integer not null default 1000000,
    summary_recent_days integer not null default 30,
    channel_max_twins integer not null default 100,
    user_max_twins integer not null default 100,
    user_max_twin_channels integer not null default 1000,
    user_max_deliveries integer not null default 5,
    user_max_open_invitations integer not null default 50,
    invitations_per_user_per_day integer not null default 200,
    workspaces_per_user_per_day integer not null default 20,
    message_max_edits integer not null default 500,
    reactions_per_user_per_message integer not null default 50,
    unsent_file_hours integer not null default 24,
    workspace_media_megabytes integer not null default 10000,
    broadcast_max_bytes integer not null default 200000,
    broadcast_max_messages integer not null default 10,
    ingest_log_days integer not null default 30,
    delivery_days integer not null default 7,
    summary_days integer not null default 1,
    twin_secret_days integer not null default 1,
    idempotency_hours integer not null default 24,
    default_country text,
    default_language text not null default 'en',
    user_event_days integer not null default 30,
    token_seconds integer not null default 3600,
    channel_event_days integer,
    inbox_change_days integer,
    constraint settings_has_one_row check (is_only_row),
    constraint settings_ingest_max_messages_positive check (ingest_max_messages > 0),
    constraint settings_requests_per_minute_positive check (requests_per_minute > 0),
    constraint settings_data_api_requests_at_once_positive check (data_api_requests_at_once > 0),
    constraint settings_twin_max_hops_not_negative check (twin_max_hops >= 0),
    constraint settings_twin_max_attempts_positive check (twin_max_attempts > 0),
    constraint settings_twin_retry_seconds_not_negative check (twin_retry_seconds >= 0),
    constraint settings_twin_skip_seconds_positive check (twin_skip_seconds > 0),
    constraint settings_summaries_per_user_per_day_not_negative check (summaries_per_user_per_day >= 0),
    constraint settings_summaries_per_project_per_day_not_negative check (summaries_per_project_per_day >= 0),
    constraint settings_summary_max_bytes_positive check (summary_max_bytes > 0),
    constraint settings_summary_recent_days_positive check (summary_recent_days > 0),
    constraint settings_channel_max_twins_not_negative check (channel_max_twins >= 0),
    constraint settings_user_max_twins_not_negative check (user_max_twins >= 0),
    constraint settings_user_max_twin_channels_not_negative check (user_max_twin_channels >= 0),
    constraint settings_user_max_deliveries_positive check (user_max_deliveries > 0),
    constraint settings_user_max_open_invitations_not_negative check (user_max_open_invitations >= 0),
    constraint settings_invitations_per_user_per_day_not_negative check (invitations_per_user_per_day >= 0),
    constraint settings_workspaces_per_user_per_day_not_negative check (workspaces_per_user_per_day >= 0),
    constraint settings_message_max_edits_not_negative check (message_max_edits >= 0),
    constraint settings_reactions_per_user_per_message_not_negative check (reactions_per_user_per_message >= 0),
    constraint settings_unsent_file_hours_positive check (unsent_file_hours > 0),
    constraint settings_workspace_media_megabytes_not_negative check (workspace_media_megabytes >= 0),
    constraint settings_broadcast_max_bytes_positive check (broadcast_max_bytes > 0),
    constraint settings_broadcast_max_messages_not_negative check (broadcast_max_messages >= 0),
    constraint settings_ingest_log_days_positive check (ingest_log_days > 0),
    constraint settings_delivery_days_positive check (delivery_days > 0),
    constraint settings_summary_days_positive check (summary_days > 0),
    constraint settings_twin_secret_days_positive check (twin_secret_days > 0),
    constraint settings_idempotency_hours_positive check (idempotency_hours > 0),
    constraint settings_default_country_form check (default_country ~ '^[A-Z]{2}$'),
    constraint settings_default_language_form check (default_language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$'),
    constraint settings_user_event_days_positive check (user_event_days > 0),
    constraint settings_token_seconds_positive check (token_seconds > 0),
    -- A week at least, because a deletion reads from the log which broadcasts Realtime still keeps.
    constraint settings_channel_event_days_week check (channel_event_days >= 7),
    constraint settings_inbox_change_days_week check (inbox_change_days >= 7)
);
comment on table private.settings is 'Limits and retention that an operator may change with an UPDATE. Always one row.';
comment on column private.settings.ingest_max_messages is
'Messages and updates in one ingest request; a conversation without any counts as one. Above it: 413.';
comment on column private.settings.requests_per_minute is 'Requests of one user to /api/v2 in a minute. Above it: 429.';
comment on column private.settings.data_api_requests_at_once is
'Requests of one user that the Data API handles at once, if the application calls private.spend_data_api_request. Above
it: 429.';
comment on column private.settings.twin_max_hops is
'Hops that are forwarded to other twins. 0 forwards only what users write.';
comment on column private.settings.twin_max_attempts is 'Failed attempts after which a delivery is dead.';
comment on column private.settings.twin_retry_seconds is
'Seconds before the first retry of a delivery. Each further wait is four times as long, at most one hour.';
comment on column private.settings.twin_skip_seconds is
'A delivery that the webhook answers with an error is dead this many seconds after its first attempt, and its queue
continues. Six times as long if the webhook does not answer, or answers 408, 429, 502, 503 or 504.';
comment on column private.settings.summaries_per_user_per_day is
'Summaries of one user in a UTC day; summaries from the cache do not count. Above it: 429.';
comment on column private.settings.summaries_per_project_per_day is
'Summaries of all users together in a UTC day, counted in the same way. Above it: 429.';
comment on column private.settings.summary_max_bytes is
'Bytes of text in one summary request. Older messages beyond it are left out, a longer newest message is cut, and the
answer says so.';
comment on column private.settings.summary_recent_days is
'A summary without messageCount covers the messages of this many days, and at least the newest 50.';
comment on column private.settings.channel_max_twins is
'Twins in one channel. Each of them makes every message in the channel slower. Above it: 409.';
comment on column private.settings.user_max_twins is 'Twins of one user. Above it: 409.';
comment on column private.settings.user_max_twin_channels is
'Channels of all twins of one user, counted once for each twin. Above it: 409.';
comment on column private.settings.user_max_deliveries is
'Deliveries to twins of one user that are under way at once; one for a user whose webhook answered slowly or not at all
in the last minute. A worker makes 20 at once.';
comment on column private.settings.user_max_open_invitations is
'Open invitations of one user to one workspace and its channels. Above it: 409.';
comment on column private.settings.invitations_per_user_per_day is
'Invitations that one user creates in a UTC day, in all workspaces together. Above it: 429.';
comment on column private.settings.workspaces_per_user_per_day is
'Workspaces that one user creates in a UTC day, deleted ones included. Above it: 429.';
comment on column private.settings.message_max_edits is
'Edits of one message; all versions are kept and read together. Above it: 409.';
comment on column private.settings.reactions_per_user_per_message is
'Different reactions of one user to one message. Each page with the message contains all of them. Above it: 409.';
comment on column private.settings.unsent_file_hours is
'Hours after which an uploaded file that no message names is removed.';
comment on column private.settings.workspace_media_megabytes is
'Megabytes of the files of a workspace''s conversations. Above it, ingest offers no more uploads.';
comment on column private.settings.broadcast_max_bytes is
'Bytes of a broadcast as JSON. A larger one is sent as a pointer. The smallest Supabase plan accepts 256 kB.';
comment on column private.settings.broadcast_max_messages is
'New messages that an inbox broadcast contains. With more, it contains none and truncated is true.';
comment on column private.settings.ingest_log_days is
'Days that lines of the ingest log are kept, and keys of connections after they expire, because the log names them.';
comment on column private.settings.delivery_days is 'Days that finished deliveries are kept. Dead deliveries stay.';
comment on column private.settings.summary_days is 'Days that finished summaries stay in the cache.';
comment on column private.settings.twin_secret_days is 'Days that secrets of twins are kept after they expire.';
comment on column private.settings.default_country is
'The country of phone numbers that do not name theirs, as ISO 3166-1 alpha-2, such as FR. Null: no country.';
comment on column private.settings.default_language is
'The language, a tag of BCP 47, in which search finds the forms of a word if neither the channel nor its workspace has
one.';
comment on column private.settings.idempotency_hours is 'Hours that an Idempotency-Key and its answer are kept.';
comment on column private.settings.user_event_days is 'Days that events of users are kept.';
comment on column private.settings.token_seconds is
'How long an access token lives, as set in Supabase Auth. A channel stays sealed for so long after a member left.';
comment on column private.settings.channel_event_days is
'Days that events of channels are kept; each channel keeps its last event. A client that was away longer reads the
channel again. Null: for ever.';
comment on column private.settings.inbox_change_days is
'Days that the log of inboxes is kept. A client that was away longer reads the conversations again. Null: for ever.';
alter table private.settings enable row level security;

insert into private.settings default values;

-- Limits of the API document. Constraints use them too, so they are functions and not settings: a changed setting would
-- not check the rows that are stored already.
create function private.message_max_characters() returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 40000;
end
$$;
comment on function private.message_max_characters() is 'Characters in the content of a message.';

create function private.metadata_max_bytes() returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 16384;
end
$$;
comment on function private.metadata_max_bytes() is 'Bytes of the metadata of a message, as JSON.';

create function private.attachments_max_bytes() returns integer
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return 65536;
end
$$;
comment on function private.attachments_max_bytes() is 'Bytes of the attachments of a message, as JSON.';

create function private.hidden_characters() returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Not U+200C and U+200D, which Persian, Indian scripts and emoji need.
    return '[\u0001-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]';
end
$$;
comment on function private.hidden_characters() is
'A regular expression for control characters and invisible ones, which could make a name look like another.';

create function private.visible_character() returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Excludes blanks that Unicode counts as letters or marks, such as the Hangul fillers.
    return '[^\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f'
        '\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]';
end
$$;
comment on function private.visible_character() is
'A regular expression for a character that a reader sees. A text without any looks empty.';

create function private.set_updated_at_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := now();
    return new;
end
$$;
comment on function private.set_updated_at_trigger() is
'Trigger: sets updated_at to the start of the transaction on every change of a row.';
