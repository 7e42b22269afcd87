-- The directory of a workspace: its members find each other by name.
-- Promise: only members of the workspace read it.

-- Definer, because a policy would compare each member with each workspace of the caller. It checks that the caller is a
-- member.
create function private.list_workspace_members(p_workspace_id uuid, p_search text)
returns table (user_id uuid, role text, display_name text, avatar_url text, joined_at timestamptz)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select member.user_id, member.role, profile.display_name, profile.avatar_url, member.created_at
    from public.workspace_members as member
    inner join public.user_profiles as profile on member.user_id = profile.user_id
    where member.workspace_id = p_workspace_id
        and exists (select from private.my_workspaces as mine where mine.id = p_workspace_id)
        and (p_search is null or strpos(lower(profile.display_name), lower(p_search)) > 0)
    order by profile.display_name, member.user_id;
end
$$;
comment on function private.list_workspace_members(uuid, text) is
'The members of a workspace of the caller whose name contains p_search, by name. Empty for other workspaces.';

create function public.list_workspace_members(workspace_id uuid, search text default null)
returns table (user_id uuid, role text, display_name text, avatar_url text, joined_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select *
    from private.list_workspace_members(list_workspace_members.workspace_id, list_workspace_members.search);
end
$$;
comment on function public.list_workspace_members(uuid, text) is
'The directory of a workspace of the caller: role, name and picture of each member whose name contains search.';
