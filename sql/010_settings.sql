-- Limits that an operator changes with one UPDATE, and the stamp of changed rows.

create table private.settings (
    is_only_row boolean primary key default true,
    ingest_max_messages integer not null default 5000,
    requests_per_minute integer not null default 60,
    twin_max_hops integer not null default 3,
    twin_max_attempts integer not null default 8,
    twin_retry_seconds integer not null default 5,
    summaries_per_user_per_day integer not null default 50,
    summary_max_bytes integer not null default 1000000,
    channel_max_twins integer not null default 100,
    message_max_edits integer not null default 500,
    reactions_per_user_per_message integer not null default 50,
    unsent_file_hours integer not null default 24,
    broadcast_max_bytes integer not null default 200000,
    broadcast_max_messages integer not null default 10,
    constraint settings_has_one_row check (is_only_row),
    constraint settings_ingest_max_messages_positive check (ingest_max_messages > 0),
    constraint settings_requests_per_minute_positive check (requests_per_minute > 0),
    constraint settings_twin_max_hops_not_negative check (twin_max_hops >= 0),
    constraint settings_twin_max_attempts_positive check (twin_max_attempts > 0),
    constraint settings_twin_retry_seconds_not_negative check (twin_retry_seconds >= 0),
    constraint settings_summaries_per_user_per_day_not_negative check (summaries_per_user_per_day >= 0),
    constraint settings_summary_max_bytes_positive check (summary_max_bytes > 0),
    constraint settings_channel_max_twins_not_negative check (channel_max_twins >= 0),
    constraint settings_message_max_edits_not_negative check (message_max_edits >= 0),
    constraint settings_reactions_per_user_per_message_not_negative check (reactions_per_user_per_message >= 0),
    constraint settings_unsent_file_hours_positive check (unsent_file_hours > 0),
    constraint settings_broadcast_max_bytes_positive check (broadcast_max_bytes > 0),
    constraint settings_broadcast_max_messages_not_negative check (broadcast_max_messages >= 0)
);
comment on table private.settings is 'Limits that an operator may change with an UPDATE; one row, always.';
comment on column private.settings.ingest_max_messages is
'Messages, and conversations, that one ingest request may carry; above it the answer is 413.';
comment on column private.settings.requests_per_minute is 'Requests to /api/v2 that a user may make in a minute.';
comment on column private.settings.twin_max_hops is
'Turns of twins, since a person spoke, that are forwarded to other twins; 0 forwards only what people say.';
comment on column private.settings.twin_max_attempts is 'Failures after which a delivery to a twin is dead.';
comment on column private.settings.twin_retry_seconds is
'How long a delivery waits after its first failure; four times as long after each further one, an hour at most.';
comment on column private.settings.summaries_per_user_per_day is
'Summaries that a user may have made in a day (UTC); those from the cache are not counted.';
comment on column private.settings.summary_max_bytes is
'Text that one summary may send to the model; the oldest messages beyond it are left out, and the answer says so.';
comment on column private.settings.channel_max_twins is
'Twins that may take part in one channel: whoever writes a message there waits until each of them has been told.';
comment on column private.settings.message_max_edits is
'How often a message can be edited: all its versions are kept, and read together.';
comment on column private.settings.reactions_per_user_per_message is
'Different reactions of one user to one message: all of them come with each page that has the message.';
comment on column private.settings.unsent_file_hours is
'How old an uploaded file is at least that is removed because no message names it.';
comment on column private.settings.broadcast_max_bytes is
'Size of a broadcast, as JSON; what is larger is sent as a pointer. The smallest plan of Supabase takes 256 kB.';
comment on column private.settings.broadcast_max_messages is
'New messages of a conversation that are broadcast with it; of more, which come with a history, only how many.';
alter table private.settings enable row level security;

insert into private.settings default values;

create function private.set_updated_at_trigger() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end
$$;
comment on function private.set_updated_at_trigger() is 'Trigger: stamps updated_at on every change of a row.';
