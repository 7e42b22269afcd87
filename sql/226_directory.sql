-- The directory of a workspace: its members find each other by name.
-- Promise: only members of the workspace read it.

create function public.list_workspace_members(workspace_id uuid, search text default null)
returns table (user_id uuid, role text, display_name text, avatar_url text, joined_at timestamptz)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select member.user_id, member.role, profile.display_name, profile.avatar_url, member.created_at
    from public.workspace_members as member
    inner join public.user_profiles as profile on member.user_id = profile.user_id
    where member.workspace_id = list_workspace_members.workspace_id
        and (
            list_workspace_members.search is null
            or strpos(lower(profile.display_name), lower(list_workspace_members.search)) > 0
        )
    order by profile.display_name, member.user_id;
end
$$;
comment on function public.list_workspace_members(uuid, text) is
'The directory of a workspace of the caller: role, name and picture of each member whose name contains search.';
