-- Rules of membership: who may make or remove an owner, and that one owner stays.

-- Definer, because it must see all members to know whether one is the last owner.
create function private.protect_owners_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Admins govern members, owners govern everybody; who the caller is counts, not what the row says. Only clients
    -- are asked, whatever their role is called: Supabase Auth, say, deletes users with all they had.
    if auth.role() is not null and not private.is_service()
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
        -- The SQLSTATE of a policy that refuses: a right is missing.
        raise insufficient_privilege using
            message = 'Only an owner of the channel may make, change or remove an owner.',
            detail = 'owner_required';
    end if;
    return coalesce(new, old);
end
$$;
comment on function private.protect_owners_trigger() is 'Trigger: an admin cannot become owner, nor put an owner out.';

-- Definer, because it must see all members to know whether one is the last owner.
create function private.require_owner_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- Clients are asked, and the service key; not Supabase Auth, which deletes users with all they had.
    if auth.role() is null
        or (tg_op = 'UPDATE' and new.role = 'owner' and new.channel_id = old.channel_id)
    then
        return coalesce(new, old);
    end if;
    -- Of two owners who leave at once, the second waits here and then sees that the first is gone.
    perform private.lock_channel(old.channel_id);
    if not exists (
        select from public.channel_members as other
        where other.channel_id = old.channel_id and other.user_id <> old.user_id and other.role = 'owner'
    ) and exists (
        -- With their channel, all members go.
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
'Raises PT409 when the last owner of a channel leaves or becomes something else.';

-- Definer, because no client writes events.
create function private.record_member_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_op <> 'INSERT' then
        perform private.record_event(old.channel_id, 'member.left', null, old.user_id, null, 0);
    end if;
    if tg_op <> 'DELETE' then
        perform private.record_event(new.channel_id, 'member.joined', null, new.user_id, null, 0);
    end if;
    return null;
end
$$;
comment on function private.record_member_trigger() is 'Trigger: members who come and go are events.';
