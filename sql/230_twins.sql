-- Digital twins: agents that write under their own name for a user, and the channels they take part in.
-- A twin is in a channel only while its owner is a member.

create table public.ai_twins (
    id uuid primary key default gen_random_uuid(),
    user_id uuid not null default auth.uid() references auth.users (id) on delete cascade,
    display_name text not null,
    avatar_url text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint ai_twins_display_name_length check (char_length(display_name) between 1 and 200),
    constraint ai_twins_display_name_printable check (display_name !~ private.hidden_characters()),
    constraint ai_twins_avatar_url_length check (char_length(avatar_url) <= 2000),
    -- Clients put it into a page. Plain http only for a stack on the same machine.
    constraint ai_twins_avatar_url_https check (avatar_url ~* '^(https://|http://(localhost|127[.]0[.]0[.]1)[:/])')
);
comment on table public.ai_twins is 'A digital twin: an agent that writes under its own name for its owner.';
comment on column public.ai_twins.user_id is 'The owner. Only the owner may write as the twin.';
create index ai_twins_user_id_idx on public.ai_twins (user_id);
alter table public.ai_twins enable row level security;

create table public.channel_twins (
    channel_id uuid not null references public.channels (id) on delete cascade,
    ai_twin_id uuid not null references public.ai_twins (id) on delete cascade,
    created_at timestamptz not null default now(),
    primary key (channel_id, ai_twin_id)
);
comment on table public.channel_twins is
'The channels of a twin: it receives their new messages and may answer.';
create index channel_twins_ai_twin_id_idx on public.channel_twins (ai_twin_id);
alter table public.channel_twins enable row level security;

-- A view, because the policies of channel_twins and ai_twins would recurse if they read each other's table.
create view private.my_twins
with (security_barrier = true) as
select twin.id from public.ai_twins as twin where twin.user_id = (select auth.uid());
comment on view private.my_twins is 'Twins that the caller owns.';

create view private.my_peer_twins
with (security_barrier = true) as
select assigned.ai_twin_id as id
from public.channel_twins as assigned
where exists (select from private.my_channels as mine where mine.id = assigned.channel_id);
comment on view private.my_peer_twins is 'Twins in channels of the caller, one row for each channel.';

create policy ai_twins_select_owner_or_peer on public.ai_twins
for select to authenticated
using (
    user_id = (select auth.uid())
    or exists (select from private.my_peer_twins as mine where mine.id = ai_twins.id)
);
create policy ai_twins_insert_owner on public.ai_twins
for insert to authenticated with check (user_id = (select auth.uid()));
create policy ai_twins_update_owner on public.ai_twins
for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy ai_twins_delete_owner on public.ai_twins
for delete to authenticated using (user_id = (select auth.uid()));

create policy channel_twins_select_member_or_owner on public.channel_twins
for select to authenticated
using (
    exists (select from private.my_channels as mine where mine.id = channel_twins.channel_id)
    or exists (select from private.my_twins as mine where mine.id = channel_twins.ai_twin_id)
);
create policy channel_twins_insert_owner on public.channel_twins
for insert to authenticated
with check (
    exists (select from private.my_twins as mine where mine.id = channel_twins.ai_twin_id)
    and exists (select from private.my_channels as mine where mine.id = channel_twins.channel_id)
);
create policy channel_twins_delete_owner_or_manager on public.channel_twins
for delete to authenticated
using (
    exists (select from private.my_twins as mine where mine.id = channel_twins.ai_twin_id)
    or exists (select from private.my_managed_channels as mine where mine.id = channel_twins.channel_id)
);

create function private.is_my_twin_in(p_twin_id uuid, p_channel_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from public.channel_twins as assigned
        inner join private.my_twins as mine on assigned.ai_twin_id = mine.id
        where assigned.channel_id = p_channel_id and assigned.ai_twin_id = p_twin_id
    );
end
$$;
comment on function private.is_my_twin_in(uuid, uuid) is
'Whether a twin is the caller''s and assigned to a channel that the caller may see.';

create function private.lock_twins_of(p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Not for another user: triggers call it before the policy rejects that owner.
    if coalesce(p_user_id = auth.uid(), true) then
        perform pg_advisory_xact_lock(hashtextextended('threadline.twins.' || p_user_id, 0));
    end if;
end
$$;
comment on function private.lock_twins_of(uuid) is
'Lets the writers of a user''s twins take turns until the transaction ends, because each counts those of the others.';

-- Definer, because no client may lock a channel, and it must count all twins.
create function private.admit_twin_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if not private.is_non_member(new.channel_id) then
        perform private.lock_channel(new.channel_id);
    end if;
    perform private.lock_twins_of(twin.user_id) from public.ai_twins as twin where twin.id = new.ai_twin_id;
    -- Checks again under the lock: the policy uses the members at the start of the statement. A member removed since
    -- then would leave a twin behind.
    if private.is_non_member(new.channel_id) then
        raise insufficient_privilege using
            message = 'Only members can add their twins to a channel.',
            hint = 'Ask a member who manages it to add you, or call the function accept_invitation.';
    -- The policy checks the owner for users; it does not apply to service_role.
    elsif private.is_service() and not exists (
        select from public.ai_twins as twin
        inner join public.channel_members as member on twin.user_id = member.user_id
        where twin.id = new.ai_twin_id and member.channel_id = new.channel_id
    ) then
        perform private.fail(
            403, 'not_a_member', 'The owner of this twin is not a member of the channel. Add the owner first.',
            'ai_twin_id'
        );
    elsif (
        select count(*)
        from public.channel_twins as assigned
        where assigned.ai_twin_id in (
            select mine.id
            from public.ai_twins as twin
            inner join public.ai_twins as mine on twin.user_id = mine.user_id
            where twin.id = new.ai_twin_id
        )
    ) >= (select settings.user_max_twin_channels from private.settings) then
        perform private.fail(
            409, 'too_many_twin_channels', 'Your twins are in the maximum number of channels. Remove one first.'
        );
    elsif (
        select count(*) from public.channel_twins as assigned where assigned.channel_id = new.channel_id
    ) >= (select settings.channel_max_twins from private.settings) then
        perform private.fail(409, 'too_many_twins', 'This channel has the maximum number of twins. Remove one first.');
    end if;
    return new;
end
$$;
comment on function private.admit_twin_trigger() is
'Rejects a twin if the caller or, with the service key, its owner is not a member, or the channel or the owner has the
maximum of twins.';

-- Definer, because it must count all twins of the owner.
create function private.limit_twins_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.lock_twins_of(new.user_id);
    if (
        select count(*) from public.ai_twins as twin where twin.user_id = new.user_id
    ) >= (select settings.user_max_twins from private.settings) then
        perform private.fail(409, 'too_many_twins', 'You have the maximum number of twins. Delete one first.');
    end if;
    return new;
end
$$;
comment on function private.limit_twins_trigger() is 'Rejects a twin if its owner has the maximum of twins.';

-- Definer, because a manager who removes a member does not own the twins.
create function private.remove_member_twins_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The channel before its twins: see the lock order in 210_events.
    perform private.lock_channel(old.channel_id);
    delete from public.channel_twins as assigned
    where assigned.channel_id = old.channel_id
        and assigned.ai_twin_id in (select twin.id from public.ai_twins as twin where twin.user_id = old.user_id);
    return null;
end
$$;
comment on function private.remove_member_twins_trigger() is
'Removes the twins of a member who leaves, and with them their pending deliveries.';
