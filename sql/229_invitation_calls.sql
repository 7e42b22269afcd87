-- The invitations to the caller, and the calls of /api/v2 for invitations and for a user's own side of channels. As
-- 228_workspace_calls, they act for the user of the token.

-- Definer, because the invited user may read neither the workspace nor the invitation.
create function private.list_my_invitations()
returns table (
    id uuid, workspace_id uuid, workspace_name text, channel_id uuid, channel_name text, role text,
    invited_by uuid, invited_by_name text, expires_at timestamptz
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select
        invitation.id, workspace.id, workspace.name, channel.id, channel.name, invitation.role,
        invitation.invited_by, inviter.display_name, invitation.expires_at
    from auth.users as me
    inner join public.workspace_invitations as invitation on invitation.email = lower(me.email)
    inner join public.workspaces as workspace on invitation.workspace_id = workspace.id
    left join public.channels as channel on invitation.channel_id = channel.id
    left join public.user_profiles as inviter on invitation.invited_by = inviter.user_id
    where me.id = (select auth.uid())
        and me.email_confirmed_at is not null
        and invitation.accepted_at is null
        and invitation.revoked_at is null
        and invitation.expires_at > now()
        and private.is_inviter_entitled(invitation)
    order by invitation.created_at desc, invitation.id;
end
$$;
comment on function private.list_my_invitations() is
'Open invitations to the confirmed address of the caller, the newest first.';

create function public.list_my_invitations()
returns table (
    id uuid, workspace_id uuid, workspace_name text, channel_id uuid, channel_name text, role text,
    invited_by uuid, invited_by_name text, expires_at timestamptz
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select * from private.list_my_invitations();
end
$$;
comment on function public.list_my_invitations() is
'Open invitations to the confirmed address of the caller, newest first. Accept one with
accept_invitation(invitation_id => id).';

create function private.create_invitation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id', false);
    v_workspace_id uuid := private.parse_uuid($1, 'workspace_id', v_channel_id is null);
    v_role text := private.parse_text($1, 'role', 100, 'member');
    v_made jsonb;
begin
    perform private.require_user();
    if v_channel_id is null then
        perform private.require_management(v_workspace_id);
    end if;
    if v_role not in ('owner', 'admin', 'member') then
        perform private.fail(400, 'invalid_field', 'role must be owner, admin or member.', 'role');
    end if;
    v_made := private.create_invitation(
        v_workspace_id, v_channel_id, nullif(private.parse_text($1, 'email', 320, ''), ''), v_role,
        private.parse_text($1, 'valid_for', 100, '7 days')::interval
    );
    return private.succeed(
        v_made - '{revoked_at,accepted_at,accepted_by}'::text[] || jsonb_build_object(
            'created_at', private.format_time((v_made ->> 'created_at')::timestamptz),
            'expires_at', private.format_time((v_made ->> 'expires_at')::timestamptz)
        ),
        null, 201
    );
end
$$;
comment on function private.create_invitation(jsonb) is
'POST /api/v2/workspaces/:id/invitations and /api/v2/channels/:id/invitations: email, role, valid_for. The answer has
the token, which is shown only once.';

-- Definer, because a guest may not read the members of the workspace, who decide which invitations are open. It checks
-- what the caller manages.
create function private.list_invitations(jsonb) returns json
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id', false);
    v_workspace_id uuid := private.parse_uuid($1, 'workspace_id', v_channel_id is null);
    v_limit integer := private.parse_integer($1, 'limit', 1, 1000, 100);
    v_offset integer := private.parse_integer($1, 'offset', 0, 999999999, 0);
begin
    perform private.require_user();
    if v_channel_id is null then
        perform private.require_management(v_workspace_id);
    elsif not exists (select from private.my_managed_channels as mine where mine.id = v_channel_id) then
        perform private.fail(
            404, 'channel_not_found', 'You manage no such channel. Check channel_id.', 'channel_id'
        );
    end if;
    return private.succeed_page(array(
        select jsonb_build_object(
            'id', open.id, 'workspace_id', open.workspace_id, 'channel_id', open.channel_id,
            'email', open.email, 'role', open.role, 'invited_by', open.invited_by,
            'created_at', private.format_time(open.created_at),
            'expires_at', private.format_time(open.expires_at)
        )
        from public.workspace_invitations as open
        where (open.channel_id = v_channel_id or v_channel_id is null and open.workspace_id = v_workspace_id)
            and open.accepted_at is null and open.revoked_at is null and open.expires_at > now()
            and private.is_inviter_entitled(open)
        order by open.created_at desc, open.id
        limit v_limit + 1
        offset v_offset
    ), v_limit);
end
$$;
comment on function private.list_invitations(jsonb) is
'GET /api/v2/workspaces/:id/invitations and /api/v2/channels/:id/invitations: the open ones, newest first, for those who
manage the workspace or the channel. Takes limit and offset.';

create function private.revoke_invitation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'invitation_id');
begin
    perform private.require_user();
    perform private.revoke_invitation(v_id);
    return private.succeed(jsonb_build_object('id', v_id));
end
$$;
comment on function private.revoke_invitation(jsonb) is 'DELETE /api/v2/invitations/:id: revokes an open invitation.';

create function private.list_my_invitations(jsonb) returns json
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
        select to_jsonb(mine) || jsonb_build_object('expires_at', private.format_time(mine.expires_at))
        -- The function gives them in their order.
        from private.list_my_invitations() as mine
        limit v_limit + 1
        offset v_offset
    ), v_limit);
end
$$;
comment on function private.list_my_invitations(jsonb) is
'GET /api/v2/invitations: open invitations to the confirmed address of the caller, newest first. Takes limit and
offset.';

create function private.accept_invitation(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_invitation_id uuid := private.parse_uuid($1, 'invitation_id', false);
    v_token text;
begin
    perform private.require_user();
    if v_invitation_id is null then
        v_token := private.parse_text($1, 'token', 1000);
    end if;
    return private.succeed(private.accept_invitation(v_token, v_invitation_id)::jsonb);
end
$$;
comment on function private.accept_invitation(jsonb) is
'POST /api/v2/invitations/accept: token, or invitation_id of an invitation to the address of the caller.';

create function private.parse_number(p_body jsonb, p_field text, p_default text) returns bigint
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_text text := coalesce(private.scalar_text(p_body, p_field), p_default);
begin
    if v_text is null then
        perform private.fail(400, 'missing_field', format('%s is required.', p_field), p_field);
    elsif v_text !~ '^[0-9]{1,18}$' then
        perform private.fail(400, 'invalid_field', format('%s must be the number of an event.', p_field), p_field);
    end if;
    return v_text::bigint;
end
$$;
comment on function private.parse_number(jsonb, text, text) is
'Parses the number of an event; without a default it is required. PT400 with the field.';

create function private.mark_read(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.require_user();
    return private.succeed(public.mark_read(
        private.parse_uuid($1, 'channel_id'), private.parse_number($1, 'seq', null)
    )::jsonb);
end
$$;
comment on function private.mark_read(jsonb) is
'PUT /api/v2/channels/:id/read: seq, the last event that the caller has read.';

create function private.open_direct(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_opened jsonb;
begin
    perform private.require_user();
    v_opened := public.open_direct(
        private.parse_uuids($1, 'user_ids', 9), private.parse_uuid($1, 'workspace_id', false)
    );
    return private.succeed(jsonb_build_object(
        'id', v_opened -> 'id',
        'workspace_id', v_opened -> 'workspace_id',
        'kind', v_opened -> 'kind',
        'created_at', private.format_time((v_opened ->> 'created_at')::timestamptz)
    ));
end
$$;
comment on function private.open_direct(jsonb) is
'POST /api/v2/channels/direct: opens or finds the direct channel with user_ids (at most 9). Takes workspace_id.';

create function private.list_user_events(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.require_user();
    return public.list_user_events(
        private.parse_number($1, 'since', '0'), private.parse_integer($1, 'limit', 1, 1000, 200)
    );
end
$$;
comment on function private.list_user_events(jsonb) is
'GET /api/v2/events: events of the caller after since. Takes limit (1 to 1000, default 200).';
