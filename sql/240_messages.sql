-- Messages of channels, their edits, reactions and pins. Only members read them, and only authors change a message.

create table public.messages (
    -- In order of time, because a random id writes to a random page of each index on it: among ten million messages, a
    -- new one then wrote 20 kB of WAL instead of 5.
    id uuid primary key default private.generate_id(),
    channel_id uuid not null references public.channels (id) on delete cascade,
    workspace_id uuid not null,
    seq bigint not null default 0,
    -- References the profile and not auth.users, so that clients can embed it. It goes with its user.
    user_id uuid default auth.uid() references public.user_profiles (user_id) on delete set null,
    ai_twin_id uuid references public.ai_twins (id) on delete set null,
    parent_message_id uuid references public.messages (id) on delete set null,
    thread_id uuid references public.messages (id) on delete set null,
    conversation_id uuid,
    content text not null,
    content_type text not null default 'text',
    metadata jsonb not null default '{}',
    attachments jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    hops integer not null default 0,
    constraint messages_seq_unique unique (channel_id, seq),
    constraint messages_author_is_one check (user_id is null or ai_twin_id is null),
    constraint messages_content_length check (
        char_length(content) between 1 and private.message_max_characters() or deleted_at is not null and content = ''
    ),
    constraint messages_content_visible check (content ~ private.visible_character() or deleted_at is not null),
    constraint messages_content_type_length check (char_length(content_type) between 1 and 100),
    constraint messages_metadata_object check (jsonb_typeof(metadata) = 'object'),
    -- Most messages have no metadata, and need no call.
    constraint messages_metadata_size check (
        metadata = '{}' or private.fits(metadata, private.metadata_max_bytes())
    ),
    constraint messages_attachments_array check (jsonb_typeof(attachments) = 'array'),
    constraint messages_attachments_size check (
        attachments is null or private.fits(attachments, private.attachments_max_bytes())
    )
);
comment on table public.messages is
'Messages of channels. A deleted message stays as a row without content, which no client sees.';
comment on column public.messages.workspace_id is 'The workspace of the channel. A trigger sets it.';
comment on column public.messages.seq is
'Number of its event. A trigger sets it; it orders the messages of a channel, and cursors use it.';
comment on column public.messages.user_id is 'The author; null for messages of twins and of deleted users.';
comment on column public.messages.parent_message_id is 'The parent: the message that this one answers.';
comment on column public.messages.thread_id is
'The first message of the thread; null if the message is not a reply. A trigger sets it, also for replies to replies.';
comment on column public.messages.conversation_id is
'A context of the application. Threadline stores it and does not use it.';
comment on column public.messages.hops is 'Turns of twins since a user wrote; 0 for messages of users.';
create index messages_user_id_idx on public.messages (user_id);
-- Partial, because most messages have neither a twin nor a parent.
create index messages_ai_twin_id_idx on public.messages (ai_twin_id) where ai_twin_id is not null;
create index messages_parent_idx on public.messages (parent_message_id, seq) where parent_message_id is not null;
-- Includes deleted_at, so that counting the replies of a thread reads no rows.
create index messages_thread_idx on public.messages (thread_id, seq) include (deleted_at) where thread_id is not null;
-- For the search operator has:thread.
create index messages_replies_idx on public.messages (channel_id, parent_message_id)
where parent_message_id is not null;
alter table public.messages enable row level security;

create table public.message_edits (
    message_id uuid not null references public.messages (id) on delete cascade,
    version integer not null,
    content text not null,
    written_at timestamptz not null,
    replaced_at timestamptz not null default now(),
    primary key (message_id, version)
);
comment on table public.message_edits is 'Earlier versions of edited messages. Version 1 is the first.';
comment on column public.message_edits.written_at is 'When this version was written.';
comment on column public.message_edits.replaced_at is 'When the next version replaced it.';
alter table public.message_edits enable row level security;

create table public.message_reactions (
    id uuid primary key default gen_random_uuid(),
    message_id uuid not null references public.messages (id) on delete cascade,
    channel_id uuid not null references public.channels (id) on delete cascade,
    user_id uuid not null default auth.uid() references public.user_profiles (user_id) on delete cascade,
    emoji text not null,
    created_at timestamptz not null default now(),
    constraint message_reactions_once unique (message_id, user_id, emoji),
    constraint message_reactions_emoji_length check (char_length(emoji) between 1 and 64),
    constraint message_reactions_emoji_printable check (emoji !~ private.hidden_characters())
);
comment on table public.message_reactions is 'Reactions to messages: one emoji of one user.';
comment on column public.message_reactions.channel_id is 'Channel of the message, copied for row-level security.';
create index message_reactions_channel_id_idx on public.message_reactions (channel_id);
create index message_reactions_user_id_idx on public.message_reactions (user_id);
alter table public.message_reactions enable row level security;

create table public.message_pins (
    message_id uuid primary key references public.messages (id) on delete cascade,
    channel_id uuid not null references public.channels (id) on delete cascade,
    pinned_by uuid default auth.uid() references public.user_profiles (user_id) on delete set null,
    pinned_at timestamptz not null default now()
);
comment on table public.message_pins is 'Pinned messages.';
comment on column public.message_pins.channel_id is 'Channel of the message, copied for row-level security.';
create index message_pins_channel_id_idx on public.message_pins (channel_id);
create index message_pins_pinned_by_idx on public.message_pins (pinned_by);
alter table public.message_pins enable row level security;

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
