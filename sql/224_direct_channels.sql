-- Direct channels (dm): one for each set of people in a workspace. All members are equal: the set never changes, and
-- no member manages it. Leaving hides it until a new message comes.

-- Invoker, because row_security_active then tells a client from a function of ours and from service_role.
create function private.reject_direct_channel_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active('public.channels') then
        perform private.fail(
            403, 'direct_channel', 'A direct channel is opened, not inserted. Call open_direct(user_ids).', 'kind'
        );
    end if;
    return new;
end
$$;
comment on function private.reject_direct_channel_trigger() is
'Trigger: rejects a direct channel that a client inserts.';

-- Invoker, as above.
create function private.reject_direct_member_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active('public.channel_members') and exists (
        select from public.channels as channel where channel.id = new.channel_id and channel.kind = 'dm'
    ) then
        perform private.fail(
            403, 'direct_channel',
            'The people of a direct channel do not change. Call open_direct(user_ids) for another set of people.'
        );
    end if;
    return new;
end
$$;
comment on function private.reject_direct_member_trigger() is
'Trigger: rejects a member whom a client adds to a direct channel.';

-- Definer, because no client writes states or reads counters.
create function private.hide_direct_channel(p_channel_id uuid, p_user_id uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_user_id is distinct from (select auth.uid()) then
        perform private.fail(403, 'direct_channel', 'You can leave a direct channel only yourself.');
    end if;
    update public.member_states as mine set hidden_seq = counter.last_seq
    from private.channel_counters as counter
    where mine.channel_id = p_channel_id and mine.user_id = p_user_id and counter.channel_id = p_channel_id;
end
$$;
comment on function private.hide_direct_channel(uuid, uuid) is
'Hides a direct channel from the caller until a new message. PT403 for another user.';

-- Invoker, as above.
create function private.keep_direct_member_trigger() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if row_security_active('public.channel_members') and exists (
        select from public.channels as channel where channel.id = old.channel_id and channel.kind = 'dm'
    ) then
        perform private.hide_direct_channel(old.channel_id, old.user_id);
        return null;
    end if;
    return old;
end
$$;
comment on function private.keep_direct_member_trigger() is
'Trigger: a client that leaves a direct channel hides it and stays a member.';

create function private.find_shared_workspace(p_user_ids uuid[], p_direct_key bytea, p_workspace_id uuid) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select workspace.id
        from public.workspaces as workspace
        inner join public.workspace_members as mine
            on workspace.id = mine.workspace_id and mine.user_id = (select auth.uid())
        where (p_workspace_id is null or workspace.id = p_workspace_id)
            and not exists (
                select from unnest(p_user_ids) as wanted (id)
                where not exists (
                    select from public.workspace_members as member
                    where member.workspace_id = workspace.id and member.user_id = wanted.id
                )
            )
        order by
            exists (
                select from public.channels as channel
                where channel.workspace_id = workspace.id and channel.direct_key = p_direct_key
            ) desc,
            workspace.is_personal desc, workspace.created_at, workspace.id
        limit 1
    );
end
$$;
comment on function private.find_shared_workspace(uuid[], bytea, uuid) is
'The workspace of the caller to which all these users belong; if there are several, first the one in which they have
a direct channel, then the personal one, then the oldest. Null if they share none.';

-- Definer, because no client inserts direct channels. It admits only members of one workspace of the caller.
create function private.open_direct(p_user_ids uuid[], p_workspace_id uuid) returns uuid
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_ids uuid[] := array(
        select distinct wanted.id from unnest(p_user_ids || (select auth.uid())) as wanted (id) order by wanted.id
    );
    v_direct_key bytea := sha256(convert_to(array_to_string(v_user_ids, ','), 'UTF8'));
    v_workspace_id uuid := private.find_shared_workspace(v_user_ids, v_direct_key, p_workspace_id);
    v_channel_id uuid;
    v_present bigint;
begin
    -- KEY SHARE waits for a departure under way, which would not see the rows below and leave them behind.
    perform from public.workspace_members as member
    where member.workspace_id = v_workspace_id and member.user_id = any(v_user_ids)
    order by member.user_id
    for key share;
    get diagnostics v_present = row_count;
    if v_workspace_id is null or v_present < cardinality(v_user_ids) then
        return null;
    end if;
    -- A second caller waits here for the first, and then finds its channel.
    insert into public.channels (workspace_id, kind, direct_key, created_by)
    values (v_workspace_id, 'dm', v_direct_key, (select auth.uid()))
    on conflict on constraint channels_direct_key_unique do nothing;
    select channel.id into v_channel_id
    from public.channels as channel
    where channel.workspace_id = v_workspace_id and channel.direct_key = v_direct_key;
    -- Also brings back a user who left the workspace and joined it again.
    insert into public.channel_members (channel_id, user_id)
    select v_channel_id, missing.id
    from unnest(v_user_ids) as missing (id)
    where not exists (
        select from public.channel_members as member
        where member.channel_id = v_channel_id and member.user_id = missing.id
    )
    order by missing.id
    on conflict do nothing;
    update public.member_states as mine set hidden_seq = null
    where mine.channel_id = v_channel_id and mine.user_id = (select auth.uid()) and mine.hidden_seq is not null;
    return v_channel_id;
end
$$;
comment on function private.open_direct(uuid[], uuid) is
'Opens or finds the direct channel of these users and the caller; null unless all are in one workspace of the caller.';

create function public.open_direct(user_ids uuid[], workspace_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    c_max_others constant integer := 9;
    v_channel_id uuid;
begin
    if open_direct.user_ids is null or cardinality(open_direct.user_ids) > c_max_others then
        perform private.fail(
            400, 'invalid_field', format('user_ids must be an array of at most %s UUIDs.', c_max_others), 'user_ids'
        );
    end if;
    v_channel_id := private.open_direct(open_direct.user_ids, open_direct.workspace_id);
    if v_channel_id is null then
        raise insufficient_privilege using
            message = 'A direct channel needs people who share a workspace with you. Invite them first.',
            detail = 'workspace_member_required',
            hint = 'Call the function create_invitation.';
    end if;
    return (select to_json(channel) from public.channels as channel where channel.id = v_channel_id);
end
$$;
comment on function public.open_direct(uuid[], uuid) is
'Opens or finds the one direct channel of the caller and up to 9 other users, and returns it. All must be members of one
workspace of the caller; workspace_id chooses if they share several.';
