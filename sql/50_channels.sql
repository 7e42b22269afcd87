-- Who is who, the channels they talk in, and who belongs to which.

create table public.user_profiles (
    user_id uuid primary key references auth.users (id) on delete cascade,
    display_name text not null,
    avatar_url text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint user_profiles_display_name_length check (char_length(display_name) between 1 and 200),
    constraint user_profiles_avatar_url_length check (char_length(avatar_url) <= 2000)
);
comment on table public.user_profiles is 'What others see of a user. Made when the user signs up.';

create table public.channels (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid,
    kind text not null default 'channel',
    name text,
    created_by uuid default auth.uid() references auth.users (id) on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint channels_kind_known check (kind in ('channel', 'dm')),
    constraint channels_name_length check (char_length(name) between 1 and 200),
    constraint channels_name_unless_dm check (kind = 'dm' or name is not null)
);
comment on table public.channels is 'A place where members talk: a named channel, or a direct conversation (dm).';
comment on column public.channels.workspace_id is 'Groups channels for the application; it grants nothing.';
create index channels_created_by_idx on public.channels (created_by);

create table public.channel_members (
    channel_id uuid not null references public.channels (id) on delete cascade,
    user_id uuid not null references auth.users (id) on delete cascade,
    role text not null default 'member',
    created_at timestamptz not null default now(),
    primary key (channel_id, user_id),
    constraint channel_members_role_known check (role in ('owner', 'admin', 'member'))
);
comment on table public.channel_members is 'Who belongs to a channel, and as what. Nobody else sees anything of it.';
create index channel_members_user_id_idx on public.channel_members (user_id);

-- With the rights of their owner, as all views named my_: a policy on channel_members that reads channel_members would
-- ask itself for ever. A view becomes part of the plan, where a function would start a query of its own.
create view private.my_channels
with (security_barrier = true) as
select member.channel_id as id
from public.channel_members as member
where member.user_id = (select auth.uid());
comment on view private.my_channels is 'The channels that the caller belongs to.';
revoke all on private.my_channels from public, anon, authenticated, service_role;
grant select on private.my_channels to authenticated;

create view private.my_governed_channels
with (security_barrier = true) as
select member.channel_id as id
from public.channel_members as member
where member.user_id = (select auth.uid()) and member.role in ('owner', 'admin');
comment on view private.my_governed_channels is 'The channels in which the caller is owner or admin.';
revoke all on private.my_governed_channels from public, anon, authenticated, service_role;
grant select on private.my_governed_channels to authenticated;

create view private.my_owned_channels
with (security_barrier = true) as
select member.channel_id as id
from public.channel_members as member
where member.user_id = (select auth.uid()) and member.role = 'owner';
comment on view private.my_owned_channels is 'The channels that the caller owns.';
revoke all on private.my_owned_channels from public, anon, authenticated, service_role;
grant select on private.my_owned_channels to authenticated;

create view private.my_fellows
with (security_barrier = true) as
select fellow.user_id as id
from public.channel_members as mine
inner join public.channel_members as fellow on mine.channel_id = fellow.channel_id
where mine.user_id = (select auth.uid());
comment on view private.my_fellows is 'The users with whom the caller shares a channel, once for each.';
revoke all on private.my_fellows from public, anon, authenticated, service_role;
grant select on private.my_fellows to authenticated;

alter table public.user_profiles enable row level security;
revoke all on public.user_profiles from public, anon, authenticated, service_role;
grant select on public.user_profiles to authenticated;
grant update (display_name, avatar_url) on public.user_profiles to authenticated;
grant select, insert, update, delete on public.user_profiles to service_role;

create policy user_profiles_select_fellow on public.user_profiles
for select to authenticated
using (user_id = (select auth.uid()) or user_id in (select mine.id from private.my_fellows as mine));
create policy user_profiles_update_self on public.user_profiles
for update to authenticated
using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

alter table public.channels enable row level security;
revoke all on public.channels from public, anon, authenticated, service_role;
grant select, delete on public.channels to authenticated;
grant insert (id, workspace_id, kind, name), update (workspace_id, name) on public.channels to authenticated;
grant select, insert, update, delete on public.channels to service_role;

-- The second half is for who makes a channel and wants the row back: the membership is added just after.
create policy channels_select_member on public.channels
for select to authenticated
using (
    id in (select mine.id from private.my_channels as mine)
    or (created_by = (select auth.uid()) and created_at = (select now()))
);
create policy channels_insert_creator on public.channels
for insert to authenticated with check (created_by = (select auth.uid()));
create policy channels_update_governor on public.channels
for update to authenticated
using (id in (select mine.id from private.my_governed_channels as mine))
with check (id in (select mine.id from private.my_governed_channels as mine));
create policy channels_delete_owner on public.channels
for delete to authenticated using (id in (select mine.id from private.my_owned_channels as mine));

alter table public.channel_members enable row level security;
revoke all on public.channel_members from public, anon, authenticated, service_role;
grant select, delete on public.channel_members to authenticated;
grant insert (channel_id, user_id, role), update (role) on public.channel_members to authenticated;
grant select, insert, update, delete on public.channel_members to service_role;

create policy channel_members_select_member on public.channel_members
for select to authenticated using (channel_id in (select mine.id from private.my_channels as mine));
create policy channel_members_insert_governor on public.channel_members
for insert to authenticated with check (channel_id in (select mine.id from private.my_governed_channels as mine));
create policy channel_members_update_governor on public.channel_members
for update to authenticated
using (channel_id in (select mine.id from private.my_governed_channels as mine))
with check (channel_id in (select mine.id from private.my_governed_channels as mine));
create policy channel_members_delete_governor_or_self on public.channel_members
for delete to authenticated
using (channel_id in (select mine.id from private.my_governed_channels as mine) or user_id = (select auth.uid()));

create trigger user_profiles_before_update_stamp before update on public.user_profiles
for each row execute function private.set_updated_at();
create trigger channels_before_update_stamp before update on public.channels
for each row execute function private.set_updated_at();
create trigger channels_after_insert_refuse_retired after insert on public.channels
for each row execute function private.refuse_retired_id();
create trigger channels_after_delete_retire after delete on public.channels
referencing old table as removed
for each statement execute function private.retire_ids();

-- Definer, because Supabase Auth makes users under a role that may not write here.
create function private.create_user_profile() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    insert into public.user_profiles (user_id, display_name, avatar_url)
    values (
        new.id,
        left(coalesce(
            nullif(btrim(new.raw_user_meta_data ->> 'full_name'), ''),
            nullif(btrim(new.raw_user_meta_data ->> 'name'), ''),
            nullif(split_part(new.email, '@', 1), ''),
            'User'
        ), 200),
        left(new.raw_user_meta_data ->> 'avatar_url', 2000)
    )
    on conflict on constraint user_profiles_pkey do nothing;
    return null;
end
$$;
comment on function private.create_user_profile() is 'Trigger: a user who signs up gets a profile from what is known.';
revoke all on function private.create_user_profile() from public, anon, authenticated, service_role;

create trigger threadline_after_insert_create_profile after insert on auth.users
for each row execute function private.create_user_profile();

insert into public.user_profiles (user_id, display_name)
select
    existing.id,
    left(coalesce(
        nullif(btrim(existing.raw_user_meta_data ->> 'full_name'), ''),
        nullif(btrim(existing.raw_user_meta_data ->> 'name'), ''),
        nullif(split_part(existing.email, '@', 1), ''),
        'User'
    ), 200) as display_name
from auth.users as existing
on conflict do nothing;

-- Definer, because the creator is no member yet and so may not add one.
create function private.add_creator() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if new.created_by is not null then
        insert into public.channel_members (channel_id, user_id, role) values (new.id, new.created_by, 'owner')
        on conflict do nothing;
    end if;
    return null;
end
$$;
comment on function private.add_creator() is 'Trigger: who makes a channel owns it.';
revoke all on function private.add_creator() from public, anon, authenticated, service_role;

create trigger channels_after_insert_add_creator after insert on public.channels
for each row execute function private.add_creator();

-- Definer, because it must see all members to know whether one is the last owner.
create function private.protect_ownership() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Admins govern members, owners govern everybody; who the caller is counts, not what the row says. Only clients
    -- are asked, whatever their role is called: Supabase Auth, say, deletes users with all they had.
    if coalesce((select auth.role()), 'service_role') <> 'service_role'
        and (tg_op <> 'INSERT' and old.role = 'owner' or tg_op <> 'DELETE' and new.role = 'owner')
        and not (
            tg_op = 'DELETE'
            and (
                old.user_id = (select auth.uid())
                -- With their channel, all members go.
                or not exists (select from public.channels as channel where channel.id = old.channel_id)
            )
        )
        and not exists (
            select from public.channel_members as owner
            where owner.channel_id = coalesce(new.channel_id, old.channel_id)
                and owner.user_id = (select auth.uid()) and owner.role = 'owner'
        )
        -- Who makes a channel is its first owner. Who left it, or was put out, is not brought back as one by others.
        and not exists (
            select from public.channels as made
            where made.id = new.channel_id
                and made.created_by = new.user_id and new.user_id = (select auth.uid()) and tg_op = 'INSERT'
        )
    then
        raise insufficient_privilege using
            message = 'Only an owner of the channel may make, change or remove an owner.',
            detail = 'owner_required';
    end if;
    return coalesce(new, old);
end
$$;
comment on function private.protect_ownership() is 'Trigger: an admin cannot become owner, nor put an owner out.';
revoke all on function private.protect_ownership() from public, anon, authenticated, service_role;

create trigger channel_members_before_insert_or_change_protect
before insert or update or delete on public.channel_members
for each row execute function private.protect_ownership();
