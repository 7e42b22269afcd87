-- Invitations: how a user joins a workspace, or one of its channels as a guest.
-- Promise: no user becomes a member without accepting, and an invitation is used once.

create table public.workspace_invitations (
    id uuid primary key default gen_random_uuid(),
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    channel_id uuid,
    email text,
    role text not null,
    token_hash bytea not null,
    invited_by uuid references auth.users (id) on delete set null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    accepted_at timestamptz,
    accepted_by uuid references auth.users (id) on delete set null,
    constraint workspace_invitations_channel_id_fkey foreign key (workspace_id, channel_id)
    references public.channels (workspace_id, id) on update cascade on delete cascade,
    constraint workspace_invitations_token_hash_unique unique (token_hash),
    constraint workspace_invitations_token_hash_is_sha256 check (octet_length(token_hash) = 32),
    constraint workspace_invitations_role_known check (role in ('owner', 'admin', 'member', 'guest')),
    constraint workspace_invitations_guest_has_channel check ((role = 'guest') = (channel_id is not null)),
    constraint workspace_invitations_email_form check (
        email = lower(email) and email ~ '^[^@[:space:]]+@[^@[:space:]]+$' and char_length(email) <= 320
    )
);
comment on table public.workspace_invitations is
'Invitations to a workspace, or of a guest to one channel. Those who manage it read them; tokens are stored as hashes.';
comment on column public.workspace_invitations.channel_id is
'The channel of a guest; null for a member of the workspace.';
comment on column public.workspace_invitations.email is
'Only the user with this confirmed address may accept; null lets any user with the token accept.';
create index workspace_invitations_channel_id_idx on public.workspace_invitations (workspace_id, channel_id);
create index workspace_invitations_invited_by_idx on public.workspace_invitations (invited_by);
create index workspace_invitations_accepted_by_idx on public.workspace_invitations (accepted_by);
create index workspace_invitations_email_idx on public.workspace_invitations (email)
where accepted_at is null and revoked_at is null;
-- One open invitation for each address, else a manager could fill the list of a user who is no member.
create unique index workspace_invitations_open_idx on public.workspace_invitations (workspace_id, channel_id, email)
nulls not distinct where email is not null and accepted_at is null and revoked_at is null;
alter table public.workspace_invitations enable row level security;

create policy workspace_invitations_select_manager on public.workspace_invitations
for select to authenticated
using (
    exists (select from private.my_managed_workspaces as mine where mine.id = workspace_invitations.workspace_id)
    or exists (select from private.my_managed_channels as mine where mine.id = workspace_invitations.channel_id)
);

create function private.revoke_open_invitation(p_workspace_id uuid, p_channel_id uuid, p_email text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid;
begin
    update public.workspace_invitations as invitation set revoked_at = now()
    where invitation.email = lower(p_email)
        and invitation.workspace_id = p_workspace_id
        and invitation.channel_id is not distinct from p_channel_id
        and invitation.accepted_at is null
        and invitation.revoked_at is null
    returning invitation.id into v_id;
    if found then
        perform private.record_audit(p_workspace_id, 'invitation.revoked', v_id, '{}');
    end if;
end
$$;
comment on function private.revoke_open_invitation(uuid, uuid, text) is
'Revokes the open invitation of an address to a workspace or channel, which a new one replaces.';

create function private.spend_invitation(p_workspace_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.spend_daily('invitation') > (select settings.invitations_per_user_per_day from private.settings) then
        perform private.fail(
            429, 'too_many_invitations', 'You have reached the daily limit of invitations. Try again after 00:00 UTC.'
        );
    elsif (
        select count(*) from public.workspace_invitations as invitation
        where invitation.invited_by = (select auth.uid())
            and invitation.workspace_id = p_workspace_id
            and invitation.accepted_at is null
            and invitation.revoked_at is null
            and invitation.expires_at > now()
    ) >= (select settings.user_max_open_invitations from private.settings) then
        perform private.fail(
            409, 'too_many_open_invitations',
            'You have the maximum number of open invitations to this workspace. Revoke one first.'
        );
    end if;
end
$$;
comment on function private.spend_invitation(uuid) is
'Counts one invitation for the caller. PT429 above the daily limit, PT409 if the caller has too many open invitations to
the workspace.';

-- Definer, because no client writes invitations. It checks what the caller manages.
create function private.create_invitation(
    p_workspace_id uuid, p_channel_id uuid, p_email text, p_role text, p_valid_for interval
)
returns json
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_token text := private.generate_secret();
    v_workspace_id uuid := p_workspace_id;
    v_invitation public.workspace_invitations;
begin
    -- Times too, because comparing intervals counts each month as 30 days: long ones can compare as short.
    if p_valid_for is null or p_valid_for not between interval '1 minute' and interval '30 days'
        or now() + p_valid_for not between now() + interval '1 minute' and now() + interval '30 days'
    then
        perform private.fail(400, 'invalid_field', 'valid_for must be from 1 minute to 30 days.', 'valid_for');
    elsif p_channel_id is not null then
        select channel.workspace_id into v_workspace_id
        from public.channels as channel
        inner join private.my_managed_channels as managed on channel.id = managed.id
        inner join private.my_workspaces as mine on channel.workspace_id = mine.id
        where channel.id = p_channel_id and channel.kind = 'channel';
        if not found then
            perform private.fail(
                404, 'channel_not_found', 'You manage no such channel. Check channel_id.', 'channel_id'
            );
        end if;
    elsif not exists (select from private.my_managed_workspaces as mine where mine.id = p_workspace_id) then
        perform private.fail(
            404, 'workspace_not_found', 'You manage no such workspace. Check workspace_id.', 'workspace_id'
        );
    elsif p_workspace_id = (select auth.uid()) then
        perform private.fail(
            409, 'personal_workspace', 'A personal workspace has one member. Create a workspace for your team.'
        );
    elsif p_role = 'owner'
        and not exists (select from private.my_owned_workspaces as mine where mine.id = p_workspace_id)
    then
        raise insufficient_privilege using
            message = 'Only an owner can make, change or remove an owner. Ask an owner of this workspace.',
            detail = 'owner_required';
    end if;
    perform private.revoke_open_invitation(v_workspace_id, p_channel_id, p_email);
    perform private.spend_invitation(v_workspace_id);
    insert into public.workspace_invitations (
        workspace_id, channel_id, email, role, token_hash, invited_by, expires_at
    )
    values (
        v_workspace_id, p_channel_id, lower(p_email), case when p_channel_id is null then p_role else 'guest' end,
        private.hash_secret(v_token), (select auth.uid()), now() + p_valid_for
    )
    returning * into v_invitation;
    perform private.record_audit(
        v_workspace_id, 'invitation.created', v_invitation.id, jsonb_build_object('role', v_invitation.role)
    );
    return (to_jsonb(v_invitation) - 'token_hash') || jsonb_build_object('token', v_token);
end
$$;
comment on function private.create_invitation(uuid, uuid, text, text, interval) is
'Creates an invitation and returns it with its token. PT404 unless the caller manages the workspace or the channel,
PT409 or PT429 above the limits of invitations.';

create function public.create_invitation(
    workspace_id uuid default null, channel_id uuid default null, email text default null,
    role text default 'member', valid_for interval default '7 days'
)
returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.create_invitation(
        create_invitation.workspace_id, create_invitation.channel_id, create_invitation.email,
        create_invitation.role, create_invitation.valid_for
    );
end
$$;
comment on function public.create_invitation(uuid, uuid, text, text, interval) is
'Invites a user to a workspace that the caller manages, or a guest to a channel that the caller manages. With email,
only the user with this confirmed address may accept, and an earlier open invitation of the address is revoked. The
answer contains the token, which is shown only once: send it as a part of a link. valid_for is 1 minute to 30 days.';

create function private.is_inviter_entitled(p_invitation public.workspace_invitations) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from public.workspace_members as inviter
        where inviter.workspace_id = p_invitation.workspace_id
            and inviter.user_id = p_invitation.invited_by
            and case
                when p_invitation.channel_id is not null then exists (
                    select from public.channel_members as manager
                    where manager.channel_id = p_invitation.channel_id
                        and manager.user_id = p_invitation.invited_by
                        and manager.role in ('owner', 'admin')
                )
                when p_invitation.role = 'owner' then inviter.role = 'owner'
                else inviter.role in ('owner', 'admin')
            end
    );
end
$$;
comment on function private.is_inviter_entitled(public.workspace_invitations) is
'Whether the user who made an invitation could still make it. An invitation ends with the right to make it.';

-- Definer, because the invited user may not read the invitation, and no client inserts members.
create function private.accept_invitation(p_token text, p_invitation_id uuid) returns json
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_invitation public.workspace_invitations;
begin
    select invitation.* into v_invitation
    from public.workspace_invitations as invitation
    where (
        invitation.token_hash = private.hash_secret(p_token)
        or (invitation.id = p_invitation_id and invitation.email is not null)
    )
    and (
        invitation.email is null
        or exists (
            select from auth.users as me
            where me.id = (select auth.uid())
                and lower(me.email) = invitation.email and me.email_confirmed_at is not null
        )
    )
    and (
        invitation.accepted_by = (select auth.uid())
        or (
            invitation.accepted_at is null and invitation.revoked_at is null and invitation.expires_at > now()
            and private.is_inviter_entitled(invitation)
        )
    )
    for update;
    if not found then
        perform private.fail(
            404, 'invitation_not_found',
            'This invitation does not exist, was used, revoked or has expired, or is for another address. '
            'Ask for a new one.'
        );
    end if;
    if v_invitation.accepted_at is null then
        perform private.admit_invited(v_invitation);
    end if;
    return json_build_object(
        'workspace_id', v_invitation.workspace_id,
        'channel_id', v_invitation.channel_id,
        'role', v_invitation.role
    );
end
$$;
comment on function private.accept_invitation(text, uuid) is
'Makes the caller a member or guest. A repeated call of the same user changes nothing. PT404 if the invitation cannot be
used by the caller.';

create function private.admit_invited(p_invitation public.workspace_invitations) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update public.workspace_invitations as invitation
    set accepted_at = now(), accepted_by = (select auth.uid())
    where invitation.id = p_invitation.id;
    if p_invitation.channel_id is null then
        insert into public.workspace_members (workspace_id, user_id, role)
        values (p_invitation.workspace_id, (select auth.uid()), p_invitation.role)
        on conflict do nothing;
    else
        insert into public.channel_members (channel_id, user_id)
        values (p_invitation.channel_id, (select auth.uid()))
        on conflict do nothing;
    end if;
    perform private.record_audit(
        p_invitation.workspace_id, 'invitation.accepted', p_invitation.id,
        jsonb_build_object('role', p_invitation.role)
    );
end
$$;
comment on function private.admit_invited(public.workspace_invitations) is
'Marks an invitation as used and adds the caller. The caller of this function has locked and checked the invitation.';

create function public.accept_invitation(token text default null, invitation_id uuid default null) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.accept_invitation(accept_invitation.token, accept_invitation.invitation_id);
end
$$;
comment on function public.accept_invitation(text, uuid) is
'Accepts an invitation by its token, or by its id if it names the address of the caller. Returns workspace_id,
channel_id and role. PT404 if the caller cannot use it.';

-- Definer, because no client writes invitations. It checks what the caller manages.
create function private.revoke_invitation(p_invitation_id uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_workspace_id uuid;
    v_is_open boolean;
begin
    select invitation.workspace_id, invitation.revoked_at is null into v_workspace_id, v_is_open
    from public.workspace_invitations as invitation
    where invitation.id = p_invitation_id
        and invitation.accepted_at is null
        and (
            exists (select from private.my_managed_workspaces as mine where mine.id = invitation.workspace_id)
            or exists (select from private.my_managed_channels as mine where mine.id = invitation.channel_id)
        )
    for update;
    if v_workspace_id is null then
        perform private.fail(
            404, 'invitation_not_found', 'You manage no such open invitation. Check invitation_id.', 'invitation_id'
        );
    elsif v_is_open then
        update public.workspace_invitations as invitation set revoked_at = now() where invitation.id = p_invitation_id;
        perform private.record_audit(v_workspace_id, 'invitation.revoked', p_invitation_id, '{}');
    end if;
end
$$;
comment on function private.revoke_invitation(uuid) is
'Revokes an open invitation. A second call changes nothing. PT404 unless the caller manages its workspace or channel.';

create function public.revoke_invitation(invitation_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.revoke_invitation(revoke_invitation.invitation_id);
end
$$;
comment on function public.revoke_invitation(uuid) is
'Revokes an invitation that is not accepted. PT404 unless the caller manages its workspace or channel.';
