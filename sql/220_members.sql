-- Rules of membership. Only owners make, change or remove owners, and a channel always keeps one owner.

-- Definer, because it must see all members to know whether the caller is an owner.
create function private.protect_owners_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks clients only, under any role name. Supabase Auth deletes users with their memberships, and has no token.
    if auth.role() is not null and not private.is_service()
        and (tg_op <> 'INSERT' and old.role = 'owner' or tg_op <> 'DELETE' and new.role = 'owner')
        -- Deleting a channel deletes all members.
        and not (
            tg_op = 'DELETE'
            and not exists (select from public.channels as channel where channel.id = old.channel_id)
        )
        and not exists (
            select from public.channel_members as owner
            where owner.channel_id = coalesce(new.channel_id, old.channel_id)
                and owner.user_id = (select auth.uid()) and owner.role = 'owner'
        )
        -- The creator becomes the first owner. Others may not bring back a creator who left.
        and not exists (
            select from public.channels as made
            where made.id = new.channel_id
                and made.created_by = new.user_id and new.user_id = (select auth.uid()) and tg_op = 'INSERT'
        )
    then
        -- The SQLSTATE of a failed policy: the caller lacks a right.
        raise insufficient_privilege using
            message = 'Only an owner can make, change or remove an owner. Ask an owner of this channel.',
            detail = 'owner_required';
    end if;
    return coalesce(new, old);
end
$$;
comment on function private.protect_owners_trigger() is
'Rejects changes of owners by callers who do not own the channel.';

-- Definer, because it must see all members to know whether one is the last owner.
create function private.require_owner_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Checks clients and service_role, but not Supabase Auth, which deletes users with their memberships.
    if auth.role() is null
        or (tg_op = 'UPDATE' and new.role = 'owner' and new.channel_id = old.channel_id)
    then
        return coalesce(new, old);
    end if;
    -- If two owners leave at once, the second waits here and then sees that the first is gone.
    perform private.lock_channel(old.channel_id);
    if not exists (
        select from public.channel_members as other
        where other.channel_id = old.channel_id and other.user_id <> old.user_id and other.role = 'owner'
    ) and exists (
        -- Deleting a channel deletes all members.
        select from public.channels as channel where channel.id = old.channel_id
    ) then
        perform private.fail(
            409, 'last_owner', 'A channel needs an owner. Make another member owner first, or delete the channel.'
        );
    end if;
    return coalesce(new, old);
end
$$;
comment on function private.require_owner_trigger() is
'Raises PT409 if the last owner of a channel leaves or changes role.';

-- Definer, because a manager who is a guest may not read the members of the workspace.
create function private.require_workspace_member_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Other callers than managers get the error of the policy, which says nothing about the user.
    if not private.is_service()
        and new.user_id <> (select auth.uid())
        and exists (select from private.my_managed_channels as mine where mine.id = new.channel_id)
    then
        -- KEY SHARE waits for a departure under way, which would not see this row and leave it behind.
        perform from public.channels as channel
        inner join public.workspace_members as member on channel.workspace_id = member.workspace_id
        where channel.id = new.channel_id and member.user_id = new.user_id
        for key share of member;
        if not found then
            raise insufficient_privilege using
                message = 'Only members of the workspace can be added to its channels. Invite this user as a guest.',
                detail = 'workspace_member_required',
                hint = 'Call the function create_invitation.';
        end if;
    end if;
    return new;
end
$$;
comment on function private.require_workspace_member_trigger() is
'Rejects a member of a channel who is not in its workspace: guests join by invitation.';

-- Definer, because no client writes events.
create function private.record_member_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op <> 'INSERT' then
        perform private.seal_channel(
            old.channel_id,
            (private.record_event(old.channel_id, 'member.left', null, old.user_id, null, 0)).seq
        );
    end if;
    if tg_op <> 'DELETE' then
        perform private.record_event(new.channel_id, 'member.joined', null, new.user_id, null, 0);
    end if;
    return null;
end
$$;
comment on function private.record_member_trigger() is 'Records an event when a member joins or leaves, and
turns the topic of the channel when one leaves.';

-- Definer, because no client writes the audit log.
create function private.audit_channel_role_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(
        channel.workspace_id, 'channel_member.role_changed', new.user_id,
        jsonb_build_object('channel_id', new.channel_id, 'role', new.role, 'old_role', old.role)
    )
    from public.channels as channel
    where channel.id = new.channel_id;
    return null;
end
$$;
comment on function private.audit_channel_role_trigger() is 'Trigger: records that a member of a channel changed role.';
