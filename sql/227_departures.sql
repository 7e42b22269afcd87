-- Departures: what happens to the belongings of a user who leaves a workspace or is deleted.
-- Promise: connections, conversations, people and channels of a team stay and pass to an owner of the workspace. A
-- personal workspace goes with its user; its channels with other members pass to one of them.

create function private.set_claims(p_claims text[]) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    c_names constant text[] := array['request.jwt.claims', 'request.jwt.claim.sub', 'request.jwt.claim.role'];
    v_former text[];
begin
    -- The gateway sets all three, and auth.uid() reads the short ones first.
    for v_place in 1..3 loop
        v_former := v_former || coalesce(current_setting(c_names[v_place], true), '');
        perform set_config(c_names[v_place], p_claims[v_place], true);
    end loop;
    return v_former;
end
$$;
comment on function private.set_claims(text[]) is
'Sets the claims of the caller in their three settings and returns the former ones, to set them again. Empty texts mean
no claims, so that the rules for clients do not apply.';

create function private.find_heir(p_workspace_id uuid, p_user_id uuid) returns uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select member.user_id
        from public.workspace_members as member
        where member.workspace_id = p_workspace_id and member.user_id <> p_user_id
        order by member.role <> 'owner', member.role <> 'admin', member.created_at, member.user_id
        limit 1
    );
end
$$;
comment on function private.find_heir(uuid, uuid) is
'The member to whom the belongings of a leaving user pass: the owner, or else the admin or member, of the longest
standing; null if the workspace has no other member.';

create function private.pass_belongings(p_workspace_id uuid, p_user_id uuid, p_heir uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_revoked_id uuid;
begin
    -- The order of locks is that of ingest (131_ingest_conversations).
    perform pg_advisory_xact_lock(private.matching_lock(p_workspace_id));
    update public.messaging_connections as connection set user_id = p_heir
    where connection.workspace_id = p_workspace_id and connection.user_id = p_user_id;
    perform from public.conversations as conversation
    where conversation.workspace_id = p_workspace_id and conversation.user_id = p_user_id
    order by conversation.id
    for update;
    -- If the heir has ingested the same conversation, both stay, and the key of the passed one no longer takes part.
    update public.conversations as conversation
    set
        user_id = p_heir,
        scope_id = case
            when exists (
                select from public.conversations as other
                where other.platform = conversation.platform
                    and other.external_conversation_id = conversation.external_conversation_id
                    and other.user_id = p_heir
                    and other.scope_id = conversation.scope_id
            ) then conversation.id
            else conversation.scope_id
        end
    where conversation.workspace_id = p_workspace_id and conversation.user_id = p_user_id;
    -- Else a request with a later name would find the conversation of the heir, which has no such name.
    update private.conversation_aliases as alias set scope_id = conversation.id
    from public.conversations as conversation
    where alias.conversation_id = conversation.id and conversation.scope_id = conversation.id
        and conversation.workspace_id = p_workspace_id and conversation.user_id = p_heir;
    update public.people as person set user_id = p_heir
    where person.workspace_id = p_workspace_id and person.user_id = p_user_id;
    for v_revoked_id in
        update public.workspace_invitations as invitation set revoked_at = now()
        where invitation.workspace_id = p_workspace_id and invitation.invited_by = p_user_id
            and invitation.accepted_at is null and invitation.revoked_at is null
        returning invitation.id
    loop
        perform private.record_audit(p_workspace_id, 'invitation.revoked', v_revoked_id, '{}');
    end loop;
end
$$;
comment on function private.pass_belongings(uuid, uuid, uuid) is
'Gives the connections, conversations and people of a leaving user to the heir, and revokes the user''s invitations.';

create function private.leave_channels(p_workspace_id uuid, p_user_id uuid, p_heir uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channels uuid[] := array(
        select member.channel_id
        from public.channel_members as member
        inner join public.channels as channel on member.channel_id = channel.id
        where member.user_id = p_user_id and channel.workspace_id = p_workspace_id
    );
    v_orphans uuid[];
begin
    perform private.lock_channels(v_channels);
    v_orphans := array(
        select lost.id
        from unnest(v_channels) as lost (id)
        inner join public.channels as channel on lost.id = channel.id
        -- A direct channel has no owner.
        where channel.direct_key is null and not exists (
            select from public.channel_members as owner
            where owner.channel_id = lost.id and owner.user_id <> p_user_id and owner.role = 'owner'
        )
    );
    update public.channel_members as member set role = 'owner'
    where (member.channel_id, member.user_id) in (
        select distinct on (other.channel_id) other.channel_id, other.user_id
        from public.channel_members as other
        inner join public.workspace_members as colleague
            on other.user_id = colleague.user_id and colleague.workspace_id = p_workspace_id
        where other.channel_id = any(v_orphans) and other.user_id <> p_user_id
        order by other.channel_id, other.role <> 'admin', other.created_at, other.user_id
    );
    insert into public.channel_members (channel_id, user_id, role)
    select lost.id, p_heir, 'owner'
    from unnest(v_orphans) as lost (id)
    inner join public.channels as channel on lost.id = channel.id
    -- No heir may read a dm.
    where channel.kind = 'channel' and p_heir is not null and not exists (
        select from public.channel_members as owner
        where owner.channel_id = lost.id and owner.user_id <> p_user_id and owner.role = 'owner'
    )
    on conflict do nothing;
    delete from public.channel_members as member
    where member.user_id = p_user_id and member.channel_id = any(v_channels);
end
$$;
comment on function private.leave_channels(uuid, uuid, uuid) is
'Removes a leaving user from the channels of a workspace. A channel without another owner gets its admin, or else its
member, of the longest standing as owner. Guests do not inherit: a channel without another member of the workspace gets
the heir.';

-- Definer, because a member who leaves may change nothing of others. Without claims, because the rules of clients do
-- not apply to what the system does.
create function private.hand_over_member_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_heir uuid := private.find_heir(old.workspace_id, old.user_id);
    v_claims text[];
begin
    -- Without an heir, the workspace itself is being deleted.
    if v_heir is not null
        and exists (select from public.workspaces as workspace where workspace.id = old.workspace_id)
    then
        v_claims := private.set_claims(array['', '', '']);
        update public.workspace_members as member set role = 'owner'
        where member.workspace_id = old.workspace_id and member.user_id = v_heir and not exists (
            select from public.workspace_members as owner
            where owner.workspace_id = old.workspace_id and owner.user_id <> old.user_id and owner.role = 'owner'
        );
        perform private.pass_belongings(old.workspace_id, old.user_id, v_heir);
        perform private.leave_channels(old.workspace_id, old.user_id, v_heir);
        perform private.set_claims(v_claims);
    end if;
    return null;
end
$$;
comment on function private.hand_over_member_trigger() is
'Trigger: passes the belongings of a member who left to an owner of the workspace.';

create function private.move_channels(p_workspace_id uuid, p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_moved record;
begin
    for v_moved in
        select distinct on (channel.id) channel.id, other.user_id as heir
        from public.channels as channel
        inner join public.channel_members as other on channel.id = other.channel_id and other.user_id <> p_user_id
        where channel.workspace_id = p_workspace_id
        order by channel.id, other.role <> 'owner', other.role <> 'admin', other.created_at, other.user_id
    loop
        update private.channel_counters as counter set workspace_id = v_moved.heir
        where counter.channel_id = v_moved.id;
        update public.channels as channel set workspace_id = v_moved.heir where channel.id = v_moved.id;
        update public.messages as message set workspace_id = v_moved.heir where message.channel_id = v_moved.id;
        update public.message_events as event set workspace_id = v_moved.heir where event.channel_id = v_moved.id;
    end loop;
end
$$;
comment on function private.move_channels(uuid, uuid) is
'Before a workspace is deleted with its user: moves each channel with guests into the personal workspace of one guest.';

create function private.leave_guest_channels(p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid;
begin
    for v_workspace_id in
        select distinct channel.workspace_id
        from public.channel_members as guest
        inner join public.channels as channel on guest.channel_id = channel.id
        where guest.user_id = p_user_id and not exists (
            select from public.workspace_members as member
            where member.workspace_id = channel.workspace_id and member.user_id = p_user_id
        )
        order by channel.workspace_id
    loop
        perform private.leave_channels(v_workspace_id, p_user_id, private.find_heir(v_workspace_id, p_user_id));
    end loop;
end
$$;
comment on function private.leave_guest_channels(uuid) is
'Removes a user from the channels where the user is a guest. If the guest is the only owner, the heir becomes owner.';

-- Definer, because Supabase Auth deletes users under a role that may not write here. Without claims, because the rules
-- of clients do not apply.
create function private.hand_over_user_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_claims text[];
    v_lonely uuid[];
begin
    v_claims := private.set_claims(array['', '', '']);
    v_lonely := array(
        select member.workspace_id
        from public.workspace_members as member
        where member.user_id = old.id and private.find_heir(member.workspace_id, old.id) is null
    );
    perform private.move_channels(lonely.id, old.id) from unnest(v_lonely) as lonely (id);
    -- The personal one goes by its foreign key.
    delete from public.workspaces as workspace where workspace.id = any(v_lonely) and not workspace.is_personal;
    delete from public.workspace_members as member
    where member.user_id = old.id and member.workspace_id <> old.id;
    perform private.leave_guest_channels(old.id);
    perform private.set_claims(v_claims);
    return old;
end
$$;
comment on function private.hand_over_user_trigger() is
'Trigger: before a user is deleted, passes on what belongs to teams and to guests, and deletes teams without another
member.';
