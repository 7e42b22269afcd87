-- What each member keeps for themselves: how far they have read, muted, pinned, hidden. All devices share it.
-- Promise: a read marker only moves forward.

create table public.member_states (
    channel_id uuid not null,
    user_id uuid not null,
    read_seq bigint not null default 0,
    is_muted boolean not null default false,
    is_pinned boolean not null default false,
    hidden_seq bigint,
    primary key (channel_id, user_id),
    constraint member_states_member_fkey foreign key (channel_id, user_id)
    references public.channel_members (channel_id, user_id) on update cascade on delete cascade
);
comment on table public.member_states is 'The read marker and the preferences of each member of a channel.';
comment on column public.member_states.read_seq is
'The read marker: the user has read this event and all before it. Messages of the user move it too.';
comment on column public.member_states.is_muted is 'A muted channel sends no message.mentioned for <!channel>.';
comment on column public.member_states.hidden_seq is
'The user left this direct channel after this event. It is hidden until a newer message.';
create index member_states_user_id_idx on public.member_states (user_id);
alter table public.member_states enable row level security;

create policy member_states_select_self on public.member_states
for select to authenticated using (user_id = (select auth.uid()));
create policy member_states_update_self on public.member_states
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

-- Definer, because no client writes states or reads counters.
create function private.create_member_state_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.member_states (channel_id, user_id, read_seq)
    select new.channel_id, new.user_id, counter.last_seq
    from private.channel_counters as counter
    where counter.channel_id = new.channel_id;
    return null;
end
$$;
comment on function private.create_member_state_trigger() is
'Trigger: gives a new member a read marker. What was written before counts as read.';

-- Definer, because no client may lock a counter.
create function private.lock_member_channel_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.lock_channel(old.channel_id);
    return old;
end
$$;
comment on function private.lock_member_channel_trigger() is
'Trigger: locks the channel before the state of a member who leaves is deleted. A message of that member locks them in
the same order.';

-- Definer, because the caller may not write events of users, nor of other members.
create function private.record_membership_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'INSERT' then
        perform private.record_user_events(
            array[new.user_id], 'channel.joined', jsonb_build_object('role', new.role), null, new.channel_id
        );
    elsif tg_op = 'UPDATE' then
        perform private.record_user_events(
            array[new.user_id], 'channel.role_changed', jsonb_build_object('role', new.role), null, new.channel_id
        );
    else
        perform private.record_user_events(
            array[old.user_id],
            -- Deleting a channel deletes all members.
            case when exists (select from public.channels as channel where channel.id = old.channel_id)
                then 'channel.left' else 'channel.deleted' end,
            '{}', null, old.channel_id
        );
    end if;
    return null;
end
$$;
comment on function private.record_membership_trigger() is
'Trigger: tells a user that they joined a channel, left it, or got another role there, or that it was deleted.';

-- Definer, because the caller may not write events of users.
create function private.record_workspace_membership_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- A personal workspace has the id of its user, who knows of it.
    if coalesce(new.workspace_id, old.workspace_id) <> coalesce(new.user_id, old.user_id) then
        perform private.record_user_events(
            array[coalesce(new.user_id, old.user_id)],
            case tg_op when 'INSERT' then 'workspace.joined' when 'DELETE' then 'workspace.left'
                else 'workspace.role_changed' end,
            jsonb_build_object('role', new.role),
            coalesce(new.workspace_id, old.workspace_id)
        );
    end if;
    return null;
end
$$;
comment on function private.record_workspace_membership_trigger() is
'Trigger: tells a user that they joined a workspace, left it, or got another role there.';

-- Definer, because the caller may not write events of other users.
create function private.record_renaming_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_user_events(
        private.list_listening_members(new.id), 'channel.renamed', jsonb_build_object('name', new.name),
        null, new.id
    );
    return null;
end
$$;
comment on function private.record_renaming_trigger() is
'Trigger: tells up to 1,000 members the new name of a channel.';

-- Definer, because the caller may not change events of users.
create function private.forget_channel_name_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.user_events as event set details = event.details - 'name'
    where event.channel_id = old.id and event.kind = 'channel.renamed';
    if not found then
        return null;
    end if;
    begin
        update realtime.messages as sent set payload = sent.payload - 'name'
        where sent.extension = 'broadcast' and sent.private and starts_with(sent.topic, 'user:')
            and sent.event = 'channel.renamed' and sent.payload ->> 'channel_id' = old.id::text;
    exception
        when others then
            perform private.report_lost_broadcast('redacted', sqlstate, sqlerrm);
    end;
    return null;
end
$$;
comment on function private.forget_channel_name_trigger() is
'Trigger: removes the names of a deleted channel from the events of its members.';

-- Definer, because the caller may not read addresses of users.
create function private.record_invitation_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_user_events(
        array(
            select invited.id
            from auth.users as invited
            where lower(invited.email) = new.email and invited.email_confirmed_at is not null
        ),
        'invitation.created',
        jsonb_build_object('invitation_id', new.id, 'role', new.role),
        new.workspace_id, new.channel_id
    );
    return null;
end
$$;
comment on function private.record_invitation_trigger() is
'Trigger: tells the user with the invited, confirmed address.';

-- Definer, because no client writes markers or reads counters.
create function private.mark_read(p_channel_id uuid, p_seq bigint) returns bigint
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_read_seq bigint;
begin
    update public.member_states as mine
    set read_seq = least(p_seq, counter.last_seq)
    from private.channel_counters as counter
    where mine.channel_id = p_channel_id
        and mine.user_id = (select auth.uid())
        and counter.channel_id = mine.channel_id
        and least(p_seq, counter.last_seq) > mine.read_seq
    returning mine.read_seq into v_read_seq;
    if found then
        perform private.record_user_events(
            array[(select auth.uid())], 'channel.read', jsonb_build_object('read_seq', v_read_seq), null, p_channel_id
        );
        return v_read_seq;
    end if;
    return (
        select mine.read_seq
        from public.member_states as mine
        where mine.channel_id = p_channel_id and mine.user_id = (select auth.uid())
    );
end
$$;
comment on function private.mark_read(uuid, bigint) is
'Moves the read marker of the caller forward, at most to the last event, and returns it; null for non-members.';

create function public.mark_read(channel_id uuid, seq bigint) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_read_seq bigint;
begin
    if mark_read.seq is null or mark_read.seq < 0 then
        perform private.fail(400, 'invalid_field', 'seq must be the number of an event of this channel.', 'seq');
    end if;
    v_read_seq := private.mark_read(mark_read.channel_id, mark_read.seq);
    if v_read_seq is null then
        perform private.fail(
            404, 'channel_not_found', 'This channel does not exist, or you may not see it.', 'channel_id'
        );
    end if;
    return json_build_object('channel_id', mark_read.channel_id, 'read_seq', v_read_seq);
end
$$;
comment on function public.mark_read(uuid, bigint) is
'Moves the read marker of the caller in a channel to the event seq and tells the other devices. It never moves back.
Returns channel_id and read_seq.';
