-- Workspaces: a team owns its connections, conversations, people and channels. Each user has a personal workspace, so a
-- user who belongs to no team names no workspace.
-- Promise: a team workspace always has an owner, and a personal one has its user as its only member.

create table public.workspaces (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    home_country text,
    language text,
    personal_user_id uuid references auth.users (id) on delete cascade,
    is_personal boolean not null generated always as (personal_user_id is not null) stored,
    conversation_days integer,
    channel_days integer,
    created_by uuid default auth.uid() references auth.users (id) on delete set null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint workspaces_personal_user_id_unique unique (personal_user_id),
    constraint workspaces_personal_id check (id = personal_user_id),
    constraint workspaces_name_length check (char_length(name) between 1 and 200),
    constraint workspaces_name_printable check (name !~ private.hidden_characters()),
    constraint workspaces_home_country_form check (home_country ~ '^[A-Z]{2}$'),
    constraint workspaces_language_form check (language ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$'),
    -- At most a hundred years: the clean-up subtracts the days from now, and a time has a first year.
    constraint workspaces_conversation_days_range check (conversation_days between 1 and 36500),
    constraint workspaces_channel_days_range check (channel_days between 1 and 36500)
);
comment on table public.workspaces is
'What one team owns: connections, conversations, people and channels. A trigger makes a personal one for each user.';
comment on column public.workspaces.home_country is
'Two letters of ISO 3166, for phone numbers without a country code.';
comment on column public.workspaces.language is
'A tag of BCP 47, such as de or pt-BR: search finds other forms of a word in this language. Null:
settings.default_language.';
comment on column public.workspaces.personal_user_id is
'The user of a personal workspace, which has the same id as the user; null for a team.';
comment on column public.workspaces.conversation_days is
'Days after which the clean-up deletes ingested messages, 1 to 36500; null keeps them.';
comment on column public.workspaces.channel_days is
'Days after which the clean-up deletes messages of channels, 1 to 36500; null keeps them.';
create index workspaces_created_by_idx on public.workspaces (created_by);
alter table public.workspaces enable row level security;

create table public.workspace_members (
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    user_id uuid not null references auth.users (id) on delete cascade,
    role text not null default 'member',
    created_at timestamptz not null default now(),
    primary key (workspace_id, user_id),
    constraint workspace_members_role_known check (role in ('owner', 'admin', 'member'))
);
comment on table public.workspace_members is
'The members of a workspace and their roles. All members work on its conversations and people; owners and admins manage
connections, keys and members.';
create index workspace_members_user_id_idx on public.workspace_members (user_id);
alter table public.workspace_members enable row level security;

-- Views named my_ have the rights of their owner, as those of channels (200_channels).
create view private.my_workspaces
with (security_barrier = true) as
select member.workspace_id as id
from public.workspace_members as member
where member.user_id = (select auth.uid());
comment on view private.my_workspaces is 'Workspaces of the caller.';

create view private.my_managed_workspaces
with (security_barrier = true) as
select member.workspace_id as id
from public.workspace_members as member
where member.user_id = (select auth.uid()) and member.role in ('owner', 'admin');
comment on view private.my_managed_workspaces is 'Workspaces that the caller manages, as owner or admin.';

create view private.my_owned_workspaces
with (security_barrier = true) as
select member.workspace_id as id
from public.workspace_members as member
where member.user_id = (select auth.uid()) and member.role = 'owner';
comment on view private.my_owned_workspaces is 'Workspaces that the caller owns.';

create policy workspaces_select_member on public.workspaces
for select to authenticated using (id = any(array(select mine.id from private.my_workspaces as mine)));
create policy workspaces_update_manager on public.workspaces
for update to authenticated
using (id = any(array(select mine.id from private.my_managed_workspaces as mine)))
with check (id = any(array(select mine.id from private.my_managed_workspaces as mine)));
create policy workspaces_delete_owner on public.workspaces
for delete to authenticated
using (not is_personal and id = any(array(select mine.id from private.my_owned_workspaces as mine)));

-- No policy lets a client insert a member: users join by invitation.
create policy workspace_members_select_member on public.workspace_members
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_workspaces as mine)));
create policy workspace_members_update_manager on public.workspace_members
for update to authenticated
using (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)))
with check (workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine)));
create policy workspace_members_delete_manager_or_self on public.workspace_members
for delete to authenticated
using (
    user_id = (select auth.uid())
    or workspace_id = any(array(select mine.id from private.my_managed_workspaces as mine))
);

-- Definer, because Supabase Auth creates users under a role that may not write here.
create function private.create_personal_workspace_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.workspaces (id, name, personal_user_id, created_by)
    values (new.id, 'Personal', new.id, new.id)
    on conflict do nothing;
    insert into public.workspace_members (workspace_id, user_id, role) values (new.id, new.id, 'owner')
    on conflict do nothing;
    return null;
end
$$;
comment on function private.create_personal_workspace_trigger() is
'Trigger: makes the personal workspace of a new user, with the id of the user.';

-- Definer, because it must see all members to know whether the caller is an owner, and whether one is the last.
create function private.protect_workspace_owners_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks clients and service_role. Supabase Auth deletes users with their memberships, and has no token. Deleting
    -- a workspace deletes all members.
    if auth.role() is null
        or not exists (select from public.workspaces as workspace where workspace.id = old.workspace_id)
    then
        return coalesce(new, old);
    end if;
    -- If two owners leave at once, the second waits here and then sees that the first is gone.
    perform from public.workspaces as workspace where workspace.id = old.workspace_id for no key update;
    if (old.role = 'owner' or tg_op = 'UPDATE' and new.role = 'owner')
        and not private.is_service()
        and not exists (
            select from public.workspace_members as owner
            where owner.workspace_id = old.workspace_id
                and owner.user_id = (select auth.uid()) and owner.role = 'owner'
        )
    then
        raise insufficient_privilege using
            message = 'Only an owner can make, change or remove an owner. Ask an owner of this workspace.',
            detail = 'owner_required';
    elsif old.role = 'owner' and (tg_op = 'DELETE' or new.role <> 'owner') and not exists (
        select from public.workspace_members as other
        where other.workspace_id = old.workspace_id and other.user_id <> old.user_id and other.role = 'owner'
    ) then
        perform private.fail(
            409, 'last_owner', 'A workspace needs an owner. Make another member owner first, or delete the workspace.'
        );
    end if;
    return coalesce(new, old);
end
$$;
comment on function private.protect_workspace_owners_trigger() is
'Trigger: rejects changes of owners by callers who do not own the workspace (42501), and the loss of the last owner
(PT409).';

create function private.set_workspace_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.workspace_id := new.user_id;
    return new;
end
$$;
comment on function private.set_workspace_trigger() is
'Trigger: puts a row that names no workspace into the personal workspace of its user, which has the user''s id.';

create function private.protect_retention_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if auth.role() is distinct from 'authenticated' then
        return new;
    end if;
    if not exists (select from private.my_owned_workspaces as mine where mine.id = new.id) then
        raise insufficient_privilege using
            message = 'Only an owner can change how long messages are kept. Ask an owner of this workspace.',
            detail = 'owner_required';
    end if;
    return new;
end
$$;
comment on function private.protect_retention_trigger() is
'Trigger: lets only owners change the retention of a workspace, because it deletes messages.';

-- Definer, because no client inserts members; the caller becomes the owner of a new workspace only.
create function private.create_workspace(p_name text, p_home_country text, p_language text)
returns public.workspaces
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace public.workspaces;
begin
    if (select auth.uid()) is null then
        raise insufficient_privilege using message = 'Sign in first: a workspace needs an owner.';
    end if;
    perform private.spend_workspace();
    insert into public.workspaces (name, home_country, language, created_by)
    values (p_name, p_home_country, p_language, (select auth.uid()))
    returning * into v_workspace;
    insert into public.workspace_members (workspace_id, user_id, role)
    values (v_workspace.id, (select auth.uid()), 'owner');
    return v_workspace;
end
$$;
comment on function private.create_workspace(text, text, text) is
'Makes a workspace for a team; the caller becomes its owner. PT429 above the daily limit.';

create function public.create_workspace(name text, home_country text default null, language text default null)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return to_json(private.create_workspace(
        create_workspace.name, create_workspace.home_country, create_workspace.language
    ));
end
$$;
comment on function public.create_workspace(text, text, text) is
'Makes a workspace for a team and returns it; the caller becomes its owner. home_country is two letters of ISO 3166,
language a tag of BCP 47.';

-- Users who signed up before this migration.
insert into public.workspaces (id, name, personal_user_id, created_by)
select
    existing.id,
    'Personal' as name,
    existing.id as personal_user_id,
    existing.id as created_by
from auth.users as existing
on conflict do nothing;
insert into public.workspace_members (workspace_id, user_id, role)
select
    existing.id as workspace_id,
    existing.id as user_id,
    'owner' as role
from auth.users as existing
on conflict do nothing;
