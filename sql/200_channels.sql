-- Profiles, channels and members. A user sees the channels they belong to, and the users who share one with them.

create table public.user_profiles (
    user_id uuid primary key references auth.users (id) on delete cascade,
    display_name text not null,
    avatar_url text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint user_profiles_display_name_length check (char_length(display_name) between 1 and 200),
    constraint user_profiles_display_name_printable check (display_name !~ private.hidden_characters()),
    constraint user_profiles_avatar_url_length check (char_length(avatar_url) <= 2000),
    -- Clients put it into a page. Plain http only for a stack on the same machine.
    constraint user_profiles_avatar_url_https check (avatar_url ~* '^(https://|http://(localhost|127[.]0[.]0[.]1)[:/])')
);
comment on table public.user_profiles is 'Name and picture that peers see. A trigger creates it at sign-up.';
alter table public.user_profiles enable row level security;

create table public.channels (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid not null default auth.uid() references public.workspaces (id) on delete cascade,
    kind text not null default 'channel',
    name text,
    language text,
    direct_key bytea,
    created_by uuid default auth.uid() references auth.users (id) on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint channels_id_unique unique (workspace_id, id),
    constraint channels_kind_known check (kind in ('channel', 'dm')),
    constraint channels_name_length check (char_length(name) between 1 and 200),
    constraint channels_name_printable check (name !~ private.hidden_characters()),
    constraint channels_language_form check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$'),
    constraint channels_name_unless_dm check (kind = 'dm' or name is not null),
    constraint channels_direct_key_unique unique (workspace_id, direct_key),
    constraint channels_direct_key_is_dm check (direct_key is null or kind = 'dm')
);
comment on table public.channels is
'A named channel or a direct message channel (dm). Only its members read and write there.';
comment on column public.channels.workspace_id is
'Without a value, the personal workspace of the creator. Its members may be added; others come as guests.';
comment on column public.channels.language is
'A tag of BCP 47, such as de or pt-BR: search finds other forms of a word in this language. Null: the language of the
workspace.';
comment on column public.channels.direct_key is
'Hash of the sorted ids of the people in a direct channel, so that each set of people has one.';
create index channels_created_by_idx on public.channels (created_by);
alter table public.channels enable row level security;

create table public.channel_members (
    channel_id uuid not null references public.channels (id) on delete cascade,
    -- References the profile and not auth.users, so that clients can embed it. It goes with its user.
    user_id uuid not null references public.user_profiles (user_id) on delete cascade,
    role text not null default 'member',
    created_at timestamptz not null default now(),
    primary key (channel_id, user_id),
    constraint channel_members_role_known check (role in ('owner', 'admin', 'member'))
);
comment on table public.channel_members is
'The members of a channel and their roles. Non-members see nothing of the channel. A member who is not in
the workspace is a guest.';
create index channel_members_user_id_idx on public.channel_members (user_id);
alter table public.channel_members enable row level security;

-- Views named my_ have the rights of their owner: a policy on channel_members that reads channel_members directly
-- would recurse. Views and not functions, because Postgres plans a view into the query.
create view private.my_channels
with (security_barrier = true) as
select member.channel_id as id
from public.channel_members as member
where member.user_id = (select auth.uid());
comment on view private.my_channels is 'Channels of the caller.';

create view private.my_managed_channels
with (security_barrier = true) as
select member.channel_id as id
from public.channel_members as member
where member.user_id = (select auth.uid()) and member.role in ('owner', 'admin');
comment on view private.my_managed_channels is 'Channels that the caller manages, as owner or admin.';

create view private.my_owned_channels
with (security_barrier = true) as
select member.channel_id as id
from public.channel_members as member
where member.user_id = (select auth.uid()) and member.role = 'owner';
comment on view private.my_owned_channels is 'Channels that the caller owns.';

create view private.my_peers
with (security_barrier = true) as
select peer.user_id as id
from public.channel_members as mine
inner join public.channel_members as peer on mine.channel_id = peer.channel_id
where mine.user_id = (select auth.uid())
union all
select peer.user_id as id
from public.workspace_members as mine
inner join public.workspace_members as peer on mine.workspace_id = peer.workspace_id
where mine.user_id = (select auth.uid());
comment on view private.my_peers is
'Users who share a channel or a workspace with the caller, one row for each that they share.';

create policy user_profiles_select_peer on public.user_profiles
for select to authenticated
using (
    user_id = (select auth.uid())
    or exists (select from private.my_peers as mine where mine.id = user_profiles.user_id)
);
create policy user_profiles_update_self on public.user_profiles
for update to authenticated
using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

-- The second condition lets the creator use RETURNING: the membership is added after the insert.
create policy channels_select_member on public.channels
for select to authenticated
using (
    id = any(array(select mine.id from private.my_channels as mine))
    or (created_by = (select auth.uid()) and created_at = (select now()))
);
create policy channels_insert_creator on public.channels
for insert to authenticated
with check (
    created_by = (select auth.uid())
    and exists (select from private.my_workspaces as mine where mine.id = channels.workspace_id)
);
create policy channels_update_manager on public.channels
for update to authenticated
using (id = any(array(select mine.id from private.my_managed_channels as mine)))
with check (id = any(array(select mine.id from private.my_managed_channels as mine)));
create policy channels_delete_owner on public.channels
for delete to authenticated
using (kind = 'channel' and id = any(array(select mine.id from private.my_owned_channels as mine)));

create policy channel_members_select_member on public.channel_members
for select to authenticated using (channel_id in (select mine.id from private.my_channels as mine));
create policy channel_members_insert_manager on public.channel_members
for insert to authenticated with check (channel_id in (select mine.id from private.my_managed_channels as mine));
create policy channel_members_update_manager on public.channel_members
for update to authenticated
using (channel_id in (select mine.id from private.my_managed_channels as mine))
with check (channel_id in (select mine.id from private.my_managed_channels as mine));
create policy channel_members_delete_manager_or_self on public.channel_members
for delete to authenticated
using (channel_id in (select mine.id from private.my_managed_channels as mine) or user_id = (select auth.uid()));

create function private.is_non_member(p_channel_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks the membership first, because it decides nearly every call.
    return not exists (
        select from public.channel_members as member
        where member.channel_id = p_channel_id and member.user_id = auth.uid()
    ) and auth.uid() is not null and not private.is_service();
end
$$;
comment on function private.is_non_member(uuid) is
'Whether the caller is a user who is not a member of the channel. BEFORE triggers check this before they lock the
channel, because policies run later.';

create function private.choose_display_name(p_metadata jsonb, p_email text) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return left(regexp_replace(coalesce(
        nullif(btrim(p_metadata ->> 'full_name'), ''),
        nullif(btrim(p_metadata ->> 'name'), ''),
        nullif(split_part(p_email, '@', 1), ''),
        'User'
    ), private.hidden_characters(), '_', 'g'), 200);
end
$$;
comment on function private.choose_display_name(jsonb, text) is
'The name of a new user: from Supabase Auth, or the first part of the email address, without hidden characters.';

create function private.set_channel_workspace_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.workspace_id := new.created_by;
    return new;
end
$$;
comment on function private.set_channel_workspace_trigger() is
'Trigger: puts a channel that names no workspace into the personal workspace of its creator.';

create function private.choose_avatar_url(p_metadata jsonb) returns text
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Drops values that the profile cannot hold, so that they do not stop the sign-up.
    return (
        select named.url
        from (values (1, p_metadata ->> 'avatar_url'), (2, p_metadata ->> 'picture')) as named (place, url)
        where named.url ~* '^(https://|http://(localhost|127[.]0[.]0[.]1)[:/])' and char_length(named.url) <= 2000
        order by named.place
        limit 1
    );
end
$$;
comment on function private.choose_avatar_url(jsonb) is
'The picture of a new user, from Supabase Auth: avatar_url, or the picture of Google. Null if the profile cannot hold
it.';

-- Definer, because Supabase Auth creates users under a role that may not write here.
create function private.create_user_profile_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.user_profiles (user_id, display_name, avatar_url)
    values (
        new.id,
        private.choose_display_name(new.raw_user_meta_data, new.email),
        private.choose_avatar_url(new.raw_user_meta_data)
    )
    on conflict on constraint user_profiles_pkey do nothing;
    return null;
end
$$;
comment on function private.create_user_profile_trigger() is
'Creates the profile of a new user, with name and picture from Supabase Auth.';

-- Definer, because the creator is not a member yet and so may not add one.
create function private.add_channel_owner_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.created_by = auth.uid() then
        -- KEY SHARE waits for a departure under way, which would not see the channel and leave its owner behind.
        perform from public.workspace_members as member
        where member.workspace_id = new.workspace_id and member.user_id = new.created_by
        for key share;
        if not found then
            raise insufficient_privilege using
                message = 'Only members of the workspace can make channels in it.',
                detail = 'workspace_member_required';
        end if;
    end if;
    if new.created_by is not null then
        insert into public.channel_members (channel_id, user_id, role) values (new.id, new.created_by, 'owner')
        on conflict do nothing;
    end if;
    return null;
end
$$;
comment on function private.add_channel_owner_trigger() is 'Makes the creator of a channel its first owner.';

-- Users who signed up before this migration.
insert into public.user_profiles (user_id, display_name, avatar_url)
select
    existing.id,
    private.choose_display_name(existing.raw_user_meta_data, existing.email) as display_name,
    private.choose_avatar_url(existing.raw_user_meta_data) as avatar_url
from auth.users as existing
on conflict do nothing;
