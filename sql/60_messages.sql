-- Messages of channels, their edits, reactions and pins; and the event log, from which everybody learns of a change.

-- Counters, apart from the channels: they change with every message, and no client reads them.
create table private.channel_heads (
    channel_id uuid primary key references public.channels (id) on delete cascade,
    last_seq bigint not null default 0,
    last_at timestamptz not null default '-infinity',
    message_count bigint not null default 0
);
comment on table private.channel_heads is
'The end of each channel''s event log. Every change of a channel locks its row first: this is what orders them.';
comment on column private.channel_heads.last_at is
'When the last event was; the next is later, whatever the clock says.';
comment on column private.channel_heads.message_count is 'Messages that are not deleted, so that nobody has to count.';
alter table private.channel_heads enable row level security;
revoke all on private.channel_heads from public, anon, authenticated, service_role;

create table public.messages (
    id uuid primary key default gen_random_uuid(),
    channel_id uuid not null references public.channels (id) on delete cascade,
    seq bigint not null default 0,
    user_id uuid default auth.uid() references auth.users (id) on delete set null,
    ai_twin_id uuid references public.ai_twins (id) on delete set null,
    parent_message_id uuid references public.messages (id) on delete set null,
    conversation_id uuid,
    content text not null,
    content_type text not null default 'text',
    metadata jsonb not null default '{}',
    attachments jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    constraint messages_seq_unique unique (channel_id, seq),
    constraint messages_author_is_one check (user_id is null or ai_twin_id is null),
    constraint messages_content_length check (char_length(content) between 1 and 40000),
    constraint messages_content_type_length check (char_length(content_type) between 1 and 100),
    constraint messages_metadata_object check (jsonb_typeof(metadata) = 'object'),
    constraint messages_metadata_size check (octet_length(metadata::text) <= 16384),
    constraint messages_attachments_array check (jsonb_typeof(attachments) = 'array'),
    constraint messages_attachments_size check (octet_length(attachments::text) <= 65536)
);
comment on table public.messages is 'What is said in channels. A deleted message stays as a row that no client sees.';
comment on column public.messages.seq is
'Number of the event that made it; the order of a channel, and what cursors rest on. Set by a trigger.';
comment on column public.messages.user_id is 'The author, unless a twin is; null when the user is gone.';
comment on column public.messages.parent_message_id is 'The message whose thread this is a reply in.';
comment on column public.messages.conversation_id is 'A context that the application knows; it means nothing here.';
create index messages_user_id_idx on public.messages (user_id);
-- Most messages are neither by a twin nor in a thread, and cost nothing here.
create index messages_ai_twin_id_idx on public.messages (ai_twin_id) where ai_twin_id is not null;
create index messages_thread_idx on public.messages (parent_message_id, seq) where parent_message_id is not null;

create table public.message_edits (
    message_id uuid not null references public.messages (id) on delete cascade,
    version integer not null,
    content text not null,
    written_at timestamptz not null,
    replaced_at timestamptz not null default now(),
    primary key (message_id, version)
);
comment on table public.message_edits is 'Earlier versions of edited messages, the first as version 1.';
comment on column public.message_edits.written_at is 'When this version was written.';
comment on column public.message_edits.replaced_at is 'When the next one took its place.';

create table public.message_reactions (
    id uuid primary key default gen_random_uuid(),
    message_id uuid not null references public.messages (id) on delete cascade,
    channel_id uuid not null references public.channels (id) on delete cascade,
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    emoji text not null,
    created_at timestamptz not null default now(),
    constraint message_reactions_once unique (message_id, user_id, emoji),
    constraint message_reactions_emoji_length check (char_length(emoji) between 1 and 64)
);
comment on table public.message_reactions is 'Who reacted to what with which emoji.';
comment on column public.message_reactions.channel_id is 'The message''s channel, repeated for row-level security.';
create index message_reactions_channel_id_idx on public.message_reactions (channel_id);
create index message_reactions_user_id_idx on public.message_reactions (user_id);

create table public.message_pins (
    message_id uuid primary key references public.messages (id) on delete cascade,
    channel_id uuid not null references public.channels (id) on delete cascade,
    pinned_by uuid default auth.uid() references auth.users (id) on delete set null,
    pinned_at timestamptz not null default now()
);
comment on table public.message_pins is 'Pinned messages.';
comment on column public.message_pins.channel_id is 'The message''s channel, repeated for row-level security.';
create index message_pins_channel_id_idx on public.message_pins (channel_id);
create index message_pins_pinned_by_idx on public.message_pins (pinned_by);

create table public.message_events (
    channel_id uuid not null references public.channels (id) on delete cascade,
    seq bigint not null,
    kind text not null,
    message_id uuid,
    actor_id uuid,
    emoji text,
    created_at timestamptz not null,
    mark_id uuid,
    marked_at timestamptz,
    primary key (channel_id, seq),
    constraint message_events_kind_known check (
        kind in (
            'message.created', 'message.updated', 'message.deleted', 'message.pinned', 'message.unpinned',
            'reaction.added', 'reaction.removed', 'member.joined', 'member.left'
        )
    )
);
comment on table public.message_events is
'Every change of a channel, once, in order and without a gap. It names what changed; contents are read where they are.';
comment on column public.message_events.actor_id is
'Who did it; of member events, whom it is about. Null when a twin did, or the service key without naming anybody.';
comment on column public.message_events.mark_id is 'Of reactions, the id that the reaction has or had.';
comment on column public.message_events.marked_at is 'Of reactions and pins, since when it is or was there.';
-- Whether a message was pinned when it was edited.
create index message_events_pins_idx on public.message_events (message_id, seq)
where kind in ('message.pinned', 'message.unpinned');

-- Definer, because no client writes events or counters.
create function private.record_event(
    p_channel_id uuid, p_kind text, p_message_id uuid, p_actor_id uuid, p_emoji text, p_messages integer,
    p_mark_id uuid default null, p_marked_at timestamptz default null,
    out seq bigint, out at timestamptz
)
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Times run as the numbers do, also when the clock is set back: what was said when is told by them.
    update private.channel_heads as head
    set
        last_seq = head.last_seq + 1,
        last_at = greatest(clock_timestamp(), head.last_at + interval '1 microsecond'),
        message_count = head.message_count + p_messages
    where head.channel_id = p_channel_id
    returning head.last_seq, head.last_at into seq, at;
    if seq is null then
        insert into private.channel_heads as head (channel_id, last_seq, last_at, message_count)
        select existing.id, 1, clock_timestamp(), p_messages
        from public.channels as existing
        where existing.id = p_channel_id
        on conflict on constraint channel_heads_pkey do update
        set
            last_seq = head.last_seq + 1,
            last_at = greatest(clock_timestamp(), head.last_at + interval '1 microsecond'),
            message_count = head.message_count + p_messages
        returning head.last_seq, head.last_at into seq, at;
    end if;
    if seq is not null then
        insert into public.message_events (
            channel_id, seq, kind, message_id, actor_id, emoji, created_at, mark_id, marked_at
        )
        values (
            p_channel_id, record_event.seq, p_kind, p_message_id, p_actor_id, p_emoji, record_event.at,
            p_mark_id, p_marked_at
        );
    end if;
end
$$;
comment on function private.record_event(uuid, text, uuid, uuid, text, integer, uuid, timestamptz) is
'Writes the next event of a channel and answers its number and time; p_messages is what it adds to the count.
Nothing happens for a channel that is being deleted.';
revoke all on function private.record_event(uuid, text, uuid, uuid, text, integer, uuid, timestamptz)
from public, anon, authenticated, service_role;

-- Definer, because no client may touch the counters.
create function private.lock_channel(p_channel_id uuid) returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform from private.channel_heads as head where head.channel_id = p_channel_id for no key update;
end
$$;
comment on function private.lock_channel(uuid) is
'Waits until nobody else is changing a channel. Whoever decides by the state of a message takes this first.';
revoke all on function private.lock_channel(uuid) from public, anon, authenticated, service_role;
grant execute on function private.lock_channel(uuid) to authenticated, service_role;

-- Definer, because it must see all members to know whether one is the last owner.
create function private.keep_an_owner() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Clients are asked, and the service key; not Supabase Auth, which deletes users with all they had.
    if (select auth.role()) is null
        or (tg_op = 'UPDATE' and new.role = 'owner' and new.channel_id = old.channel_id)
    then
        return coalesce(new, old);
    end if;
    -- Of two owners who leave at once, the second waits here and then sees that the first is gone.
    perform private.lock_channel(old.channel_id);
    if not exists (
        select from public.channel_members as other
        where other.channel_id = old.channel_id and other.user_id <> old.user_id and other.role = 'owner'
    ) and exists (
        -- With their channel, all members go.
        select from public.channels as channel where channel.id = old.channel_id
    ) then
        raise sqlstate 'PT409' using
            message = 'A channel keeps an owner: make somebody else one first, or delete the channel.',
            detail = 'last_owner';
    end if;
    return coalesce(new, old);
end
$$;
comment on function private.keep_an_owner() is 'Trigger: the last owner of a channel neither leaves nor steps down.';
revoke all on function private.keep_an_owner() from public, anon, authenticated, service_role;

-- By its name after the trigger that asks who may: whoever may not is told that first.
create trigger channel_members_before_update_or_delete_keep_an_owner before update or delete on public.channel_members
for each row when (old.role = 'owner') execute function private.keep_an_owner();

create function private.my_acting_id() returns uuid
language sql
stable
set search_path = ''
as $$
    -- The setting is made by private.read_user. Others could make it too, so it counts for the service key alone.
    select coalesce(
        (select auth.uid()),
        case
            when (select auth.role()) = 'service_role'
                then nullif(current_setting('threadline.acting_id', true), '')::uuid
        end
    )
$$;
comment on function private.my_acting_id() is
'Who acts: the user of the token, or whom a call with the service key has named; null when nobody is known.';
revoke all on function private.my_acting_id() from public, anon, authenticated, service_role;

create function private.is_stranger(p_channel_id uuid) returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
    -- The member first: nearly everybody who writes is one, and nothing else is asked then.
    return not exists (
        select from public.channel_members as member
        where member.channel_id = p_channel_id and member.user_id = auth.uid()
    ) and auth.uid() is not null and auth.role() <> 'service_role';
end
$$;
comment on function private.is_stranger(uuid) is
'Whether the caller is a user who is no member of a channel. Triggers ask before they lock it: the policies, which
decide, are asked only after them.';
revoke all on function private.is_stranger(uuid) from public, anon, authenticated, service_role;

-- Definer, because it asks of the parent, and of the id, whether or not the caller may see the message; the policy asks
-- about the caller.
create function private.admit_message() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_event record;
begin
    if private.is_stranger(new.channel_id) then
        raise insufficient_privilege using message = 'Only members of a channel write to it.';
    end if;
    -- This locks the channel: what is looked at from here on stays as it is.
    v_event := private.record_event(new.channel_id, 'message.created', new.id, new.user_id, null, 1);
    -- Clients may choose the id, and send a message again to be sure that it has come. The primary key then refuses it,
    -- or skips it where the statement says so; neither is an event.
    perform from public.messages as known where known.id = new.id for key share;
    if found then
        delete from public.message_events as event where event.channel_id = new.channel_id and event.seq = v_event.seq;
        update private.channel_heads as head
        set last_seq = head.last_seq - 1, message_count = head.message_count - 1
        where head.channel_id = new.channel_id;
        return new;
    end if;
    if new.parent_message_id is not null then
        perform from public.messages as parent
        where parent.id = new.parent_message_id
            and parent.channel_id = new.channel_id and parent.deleted_at is null;
        if not found then
            raise sqlstate 'PT404' using
                message = 'There is no such message to reply to in this channel.',
                detail = 'parent_not_found', column = 'parent_message_id';
        end if;
    end if;
    new.seq := v_event.seq;
    new.created_at := v_event.at;
    new.updated_at := v_event.at;
    return new;
end
$$;
comment on function private.admit_message() is
'Trigger: a new message gets its number and time, and a reply belongs to a message of the same channel. What is not new
gets neither.';
revoke all on function private.admit_message() from public, anon, authenticated, service_role;

create trigger messages_before_insert_admit before insert on public.messages
for each row execute function private.admit_message();

-- Definer, because no client writes edits and events.
create function private.track_message() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_version integer;
begin
    if tg_op = 'DELETE' then
        perform private.record_event(old.channel_id, 'message.deleted', old.id, private.my_acting_id(), null, -1);
    elsif old.deleted_at is not null then
        -- Its author, its twin and its parent may still go, which sets them null.
        if (new.content, new.deleted_at) is distinct from (old.content, old.deleted_at) then
            raise sqlstate 'PT404' using message = 'There is no such message.', detail = 'message_not_found';
        end if;
    elsif new.deleted_at is not null then
        select event.at into new.deleted_at
        from private.record_event(new.channel_id, 'message.deleted', new.id, private.my_acting_id(), null, -1) as event;
    elsif new.content <> old.content then
        select event.at into new.updated_at
        from private.record_event(new.channel_id, 'message.updated', new.id, private.my_acting_id(), null, 0) as event;
        insert into public.message_edits (message_id, version, content, written_at, replaced_at)
        select new.id, count(*) + 1, old.content, old.updated_at, new.updated_at
        from public.message_edits as edit
        where edit.message_id = new.id
        returning version into v_version;
        if v_version > (select settings.message_max_edits from private.settings) then
            raise sqlstate 'PT409' using
                message = 'This message has been edited as often as it can be.', detail = 'too_many_edits';
        end if;
    end if;
    return new;
end
$$;
comment on function private.track_message() is
'Trigger: an edit keeps what was there before, a deletion is final, and both are events.';
revoke all on function private.track_message() from public, anon, authenticated, service_role;

create trigger messages_before_update_track before update on public.messages
for each row execute function private.track_message();

-- Definer, because an author may delete what another has pinned, and a client that edits may not unpin.
create function private.unpin_deleted() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    delete from public.message_pins as pin where pin.message_id = new.id;
    return null;
end
$$;
comment on function private.unpin_deleted() is
'Trigger: what is deleted is no longer pinned. Afterwards, so that this is no event of its own.';
revoke all on function private.unpin_deleted() from public, anon, authenticated, service_role;

create trigger messages_after_update_unpin after update of deleted_at on public.messages
for each row when (new.deleted_at is not null) execute function private.unpin_deleted();

create trigger messages_after_delete_track after delete on public.messages
for each row when (old.deleted_at is null) execute function private.track_message();

-- Definer, because it asks of the message whether or not the caller may see it; the policy asks about the caller.
create function private.locate_message() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    select message.channel_id into new.channel_id
    from public.messages as message
    where message.id = new.message_id and not private.is_stranger(message.channel_id);
    perform private.lock_channel(new.channel_id);
    -- Asked again under the lock. Of a message that is gone, or elsewhere, nothing is said: the policy refuses a row of
    -- no channel.
    if not exists (
        select from public.messages as message where message.id = new.message_id and message.deleted_at is null
    ) then
        new.channel_id := null;
    end if;
    return new;
end
$$;
comment on function private.locate_message() is
'Trigger: a reaction or a pin is of the channel of its message, which must not be deleted.';
revoke all on function private.locate_message() from public, anon, authenticated, service_role;

create trigger message_reactions_before_insert_locate before insert on public.message_reactions
for each row execute function private.locate_message();
create trigger message_pins_before_insert_locate before insert on public.message_pins
for each row execute function private.locate_message();

-- Definer, because no client writes events.
create function private.track_mark() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_is_added boolean := tg_op = 'INSERT';
    v_mark jsonb := to_jsonb(case when tg_op = 'INSERT' then new else old end);
begin
    -- With its message, a mark goes without an event of its own.
    if not v_is_added and not exists (
        select from public.messages as message
        where message.id = (v_mark ->> 'message_id')::uuid and message.deleted_at is null
    ) then
        return null;
    end if;
    if v_is_added and tg_table_name = 'message_reactions' and (
        select count(*)
        from public.message_reactions as own
        where own.message_id = (v_mark ->> 'message_id')::uuid and own.user_id = (v_mark ->> 'user_id')::uuid
    ) > (select settings.reactions_per_user_per_message from private.settings) then
        raise sqlstate 'PT409' using
            message = 'You have reacted to this message in as many ways as one can.',
            detail = 'too_many_reactions', column = 'emoji';
    end if;
    perform private.record_event(
        (v_mark ->> 'channel_id')::uuid,
        case tg_table_name
            when 'message_pins' then case when v_is_added then 'message.pinned' else 'message.unpinned' end
            else case when v_is_added then 'reaction.added' else 'reaction.removed' end
        end,
        (v_mark ->> 'message_id')::uuid,
        coalesce(
            (v_mark ->> 'user_id')::uuid,
            case when v_is_added then (v_mark ->> 'pinned_by')::uuid end,
            private.my_acting_id()
        ),
        v_mark ->> 'emoji',
        0,
        (v_mark ->> 'id')::uuid,
        coalesce(v_mark ->> 'created_at', v_mark ->> 'pinned_at')::timestamptz
    );
    return null;
end
$$;
comment on function private.track_mark() is 'Trigger: reactions and pins that come and go are events.';
revoke all on function private.track_mark() from public, anon, authenticated, service_role;

create trigger message_reactions_after_insert_or_delete_track after insert or delete on public.message_reactions
for each row execute function private.track_mark();
create trigger message_pins_after_insert_or_delete_track after insert or delete on public.message_pins
for each row execute function private.track_mark();

-- Definer, because no client writes events.
create function private.track_member() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_op <> 'INSERT' then
        perform private.record_event(old.channel_id, 'member.left', null, old.user_id, null, 0);
    end if;
    if tg_op <> 'DELETE' then
        perform private.record_event(new.channel_id, 'member.joined', null, new.user_id, null, 0);
    end if;
    return null;
end
$$;
comment on function private.track_member() is 'Trigger: members who come and go are events.';
revoke all on function private.track_member() from public, anon, authenticated, service_role;

create trigger channel_members_after_insert_or_delete_track after insert or delete on public.channel_members
for each row execute function private.track_member();
-- The service may also write somebody else, or another channel, into a row.
create trigger channel_members_after_update_track after update on public.channel_members
for each row when ((old.channel_id, old.user_id) is distinct from (new.channel_id, new.user_id))
execute function private.track_member();

alter table public.messages enable row level security;
revoke all on public.messages from public, anon, authenticated, service_role;
grant select on public.messages to authenticated;
grant insert (
    id, channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
    content, content_type, metadata, attachments
) on public.messages to authenticated, service_role;
grant update (content) on public.messages to authenticated;
grant select, delete on public.messages to service_role;
grant update (content, deleted_at) on public.messages to service_role;

create policy messages_select_member on public.messages
for select to authenticated
using (channel_id in (select mine.id from private.my_channels as mine) and deleted_at is null);
create policy messages_insert_author on public.messages
for insert to authenticated
with check (
    channel_id in (select mine.id from private.my_channels as mine)
    and (
        user_id = (select auth.uid())
        or (
            user_id is null
            and ai_twin_id in (select mine.id from private.my_twins as mine)
            and exists (
                select from public.channel_twins as assigned
                where assigned.channel_id = messages.channel_id and assigned.ai_twin_id = messages.ai_twin_id
            )
        )
    )
);
create policy messages_update_author on public.messages
for update to authenticated
using (
    channel_id in (select mine.id from private.my_channels as mine)
    and (user_id = (select auth.uid()) or ai_twin_id in (select mine.id from private.my_twins as mine))
)
with check (
    channel_id in (select mine.id from private.my_channels as mine)
    and (user_id = (select auth.uid()) or ai_twin_id in (select mine.id from private.my_twins as mine))
);

alter table public.message_edits enable row level security;
revoke all on public.message_edits from public, anon, authenticated, service_role;
grant select on public.message_edits to authenticated, service_role;

create policy message_edits_select_member on public.message_edits
for select to authenticated
using (exists (select from public.messages as message where message.id = message_edits.message_id));

alter table public.message_reactions enable row level security;
revoke all on public.message_reactions from public, anon, authenticated, service_role;
grant select, delete on public.message_reactions to authenticated, service_role;
grant insert (id, message_id, user_id, emoji) on public.message_reactions to authenticated, service_role;

create policy message_reactions_select_member on public.message_reactions
for select to authenticated using (channel_id in (select mine.id from private.my_channels as mine));
create policy message_reactions_insert_self on public.message_reactions
for insert to authenticated
with check (user_id = (select auth.uid()) and channel_id in (select mine.id from private.my_channels as mine));
create policy message_reactions_delete_self on public.message_reactions
for delete to authenticated
using (user_id = (select auth.uid()) and channel_id in (select mine.id from private.my_channels as mine));

alter table public.message_pins enable row level security;
revoke all on public.message_pins from public, anon, authenticated, service_role;
grant select, delete on public.message_pins to authenticated, service_role;
grant insert (message_id, pinned_by) on public.message_pins to authenticated, service_role;

create policy message_pins_select_member on public.message_pins
for select to authenticated using (channel_id in (select mine.id from private.my_channels as mine));
create policy message_pins_insert_self on public.message_pins
for insert to authenticated
with check (pinned_by = (select auth.uid()) and channel_id in (select mine.id from private.my_channels as mine));
create policy message_pins_delete_member on public.message_pins
for delete to authenticated using (channel_id in (select mine.id from private.my_channels as mine));

alter table public.message_events enable row level security;
revoke all on public.message_events from public, anon, authenticated, service_role;
grant select on public.message_events to authenticated, service_role;

create policy message_events_select_member on public.message_events
for select to authenticated using (channel_id in (select mine.id from private.my_channels as mine));
