-- The calls of /api/v2 for workspaces, members, invitations, and a user's own side of channels.
-- Promise: each call acts for the user of the token, and does the same as the table or function of the same name in the
-- Data API.

create function private.render_workspace(p_workspace public.workspaces, p_role text) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'id', p_workspace.id,
        'name', p_workspace.name,
        'is_personal', p_workspace.is_personal,
        'home_country', p_workspace.home_country,
        'language', p_workspace.language,
        'conversation_days', p_workspace.conversation_days,
        'channel_days', p_workspace.channel_days,
        'role', p_role,
        'created_at', private.format_time(p_workspace.created_at)
    );
end
$$;
comment on function private.render_workspace(public.workspaces, text) is
'A workspace as JSON, with the role of the caller.';

create function private.require_workspace(p_workspace_id uuid) returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_role text := (
        select member.role
        from public.workspace_members as member
        where member.workspace_id = p_workspace_id and member.user_id = (select auth.uid())
    );
begin
    if v_role is null then
        perform private.fail(
            404, 'workspace_not_found', 'This workspace does not exist, or you are not a member.', 'workspace_id'
        );
    end if;
    return v_role;
end
$$;
comment on function private.require_workspace(uuid) is
'Returns the role of the caller in a workspace. PT404 unless the caller is a member.';

create function private.require_management(p_workspace_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.require_workspace(p_workspace_id) not in ('owner', 'admin') then
        perform private.fail(403, 'forbidden', 'Only owners and admins may do this. Ask one of this workspace.');
    end if;
end
$$;
comment on function private.require_management(uuid) is
'Raises PT404 unless the caller is a member of the workspace, and PT403 unless the caller manages it.';

-- Definer, because a policy would compare each workspace with each workspace of the caller.
create function private.list_workspaces(p_limit integer, p_offset integer)
returns table (workspace jsonb, place bigint)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    with mine as materialized (
        select
            member.role, known as workspace,
            row_number() over (order by known.is_personal desc, known.name, known.id) as place
        from public.workspace_members as member
        inner join public.workspaces as known on member.workspace_id = known.id
        where member.user_id = (select auth.uid())
        order by place
        limit p_limit
        offset p_offset
    )

    select private.render_workspace(mine.workspace, mine.role), mine.place from mine;
end
$$;
comment on function private.list_workspaces(integer, integer) is
'Workspaces of the caller, the personal one first, then by name.';

create function private.list_workspaces(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
begin
    perform private.require_user();
    return private.succeed_page(array(
        select mine.workspace from private.list_workspaces(v_limit + 1, v_offset) as mine order by mine.place
    ), v_limit);
end
$$;
comment on function private.list_workspaces(jsonb) is
'GET /api/v2/workspaces: the workspaces of the caller, the personal one first, then by name. Takes limit and offset.';

create function private.create_workspace(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_name text := private.parse_text($1, 'name', 200);
begin
    perform private.require_user();
    return private.succeed(private.render_workspace(private.create_workspace(
        v_name,
        nullif(private.parse_text($1, 'home_country', 100, ''), ''),
        nullif(private.parse_text($1, 'language', 100, ''), '')
    ), 'owner'), null, 201);
end
$$;
comment on function private.create_workspace(jsonb) is
'POST /api/v2/workspaces: makes a workspace for a team. Takes name, home_country and language.';

create function private.get_workspace(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
    v_role text;
begin
    perform private.require_user();
    v_role := private.require_workspace(v_id);
    return private.succeed((
        select private.render_workspace(workspace, v_role) from public.workspaces as workspace where workspace.id = v_id
    ));
end
$$;
comment on function private.get_workspace(jsonb) is
'GET /api/v2/workspaces/:id: a workspace of the caller, with the role of the caller. PT404 for others.';

create function private.update_workspace(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
begin
    perform private.require_user();
    perform private.require_management(v_id);
    update public.workspaces as workspace
    set
        name = case when $1 ? 'name' then private.parse_text($1, 'name', 200) else workspace.name end,
        home_country = case
            when $1 ? 'home_country' then nullif(private.parse_text($1, 'home_country', 100, ''), '')
            else workspace.home_country
        end,
        language = case
            when $1 ? 'language' then nullif(private.parse_text($1, 'language', 100, ''), '')
            else workspace.language
        end,
        conversation_days = case
            when $1 ? 'conversation_days' then private.parse_integer($1, 'conversation_days', 1, 36500, null)
            else workspace.conversation_days
        end,
        channel_days = case
            when $1 ? 'channel_days' then private.parse_integer($1, 'channel_days', 1, 36500, null)
            else workspace.channel_days
        end
    where workspace.id = v_id;
    return private.get_workspace($1);
end
$$;
comment on function private.update_workspace(jsonb) is
'PATCH /api/v2/workspaces/:id: changes the fields that are given: name, home_country, language, conversation_days,
channel_days. For owners and admins; only owners change the days.';

create function private.delete_workspace(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
begin
    perform private.require_user();
    if private.require_workspace(v_id) <> 'owner' then
        perform private.fail(403, 'owner_required', 'Only an owner can delete a workspace. Ask an owner of it.');
    elsif v_id = (select auth.uid()) then
        perform private.fail(
            409, 'personal_workspace', 'A personal workspace is deleted only with its user. Delete a team workspace.'
        );
    end if;
    delete from public.workspaces as workspace where workspace.id = v_id;
    return private.succeed(jsonb_build_object('id', v_id));
end
$$;
comment on function private.delete_workspace(jsonb) is
'DELETE /api/v2/workspaces/:id: deletes a team workspace with all that it owns. For owners.';

create function private.list_workspace_members(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
    v_search text := nullif(private.parse_text($1, 'search', 200, ''), '');
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
begin
    perform private.require_user();
    perform private.require_workspace(v_id);
    return private.succeed_page(array(
        select jsonb_build_object(
            'user_id', member.user_id,
            'role', member.role,
            'display_name', member.display_name,
            'avatar_url', member.avatar_url,
            'joined_at', private.format_time(member.joined_at)
        )
        -- The function gives them in their order.
        from private.list_workspace_members(v_id, v_search) as member
        limit v_limit + 1
        offset v_offset
    ), v_limit);
end
$$;
comment on function private.list_workspace_members(jsonb) is
'GET /api/v2/workspaces/:id/members: the directory, by name. Takes search, limit (1 to 1000, default 100) and offset.';

create function private.require_workspace_member(p_workspace_id uuid, p_user_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from public.workspace_members as member
        where member.workspace_id = p_workspace_id and member.user_id = p_user_id
    ) then
        perform private.fail(404, 'member_not_found', 'This user is not a member. Check member_id.', 'member_id');
    end if;
end
$$;
comment on function private.require_workspace_member(uuid, uuid) is
'Raises PT404 unless the user is a member of the workspace. Call it after a check of the caller''s own membership.';

create function private.set_member_role(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
    v_member_id uuid := private.parse_uuid($1, 'member_id');
    v_role text := private.parse_text($1, 'role', 100);
begin
    perform private.require_user();
    perform private.require_management(v_id), private.require_workspace_member(v_id, v_member_id);
    if v_role not in ('owner', 'admin', 'member') then
        perform private.fail(400, 'invalid_field', 'role must be owner, admin or member.', 'role');
    end if;
    update public.workspace_members as member set role = v_role
    where member.workspace_id = v_id and member.user_id = v_member_id and member.role <> v_role;
    return private.succeed(jsonb_build_object('workspace_id', v_id, 'user_id', v_member_id, 'role', v_role));
end
$$;
comment on function private.set_member_role(jsonb) is
'PUT /api/v2/workspaces/:id/members/:member_id: role. For owners and admins; only owners make, change or remove
owners.';

create function private.remove_workspace_member(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'workspace_id');
    v_member_id uuid := private.parse_uuid($1, 'member_id');
begin
    perform private.require_user();
    if v_member_id = (select auth.uid()) then
        perform private.require_workspace(v_id);
    else
        perform private.require_management(v_id), private.require_workspace_member(v_id, v_member_id);
    end if;
    delete from public.workspace_members as member
    where member.workspace_id = v_id and member.user_id = v_member_id;
    return private.succeed(jsonb_build_object('workspace_id', v_id, 'user_id', v_member_id));
end
$$;
comment on function private.remove_workspace_member(jsonb) is
'DELETE /api/v2/workspaces/:id/members/:member_id: leaves, or for owners and admins expels.';
