-- The audit log of a workspace: who made, rotated or revoked keys, changed roles, exported or erased.
-- Promise: owners read it, no role edits it, and it holds ids and numbers but no names, content or secrets.

create table public.audit_log (
    id uuid primary key default private.generate_id(),
    workspace_id uuid not null references public.workspaces (id) on delete cascade,
    -- Not now(): the lines of one transaction keep their order.
    at timestamptz not null default clock_timestamp(),
    actor_id uuid,
    action text not null,
    subject_id uuid,
    details jsonb not null default '{}',
    request_id text,
    constraint audit_log_action_known check (
        action in (
            'channel.exported', 'channel_member.role_changed', 'connection.created', 'connection.deleted',
            'conversation.exported', 'invitation.accepted', 'invitation.created', 'invitation.revoked', 'key.created',
            'key.revoked', 'key.rotated', 'member.joined', 'member.left', 'member.role_changed', 'person.erased',
            'user.erased', 'workspace.retention_changed'
        )
    ),
    constraint audit_log_details_object check (jsonb_typeof(details) = 'object')
);
comment on table public.audit_log is
'Who did what with keys, roles, invitations, exports and erasures of a workspace. Only its owners read it.';
comment on column public.audit_log.actor_id is
'The user who acted, who may be deleted since; null for service_role and for Supabase Auth.';
comment on column public.audit_log.subject_id is
'The id of what the action changed: a connection, key, user, invitation, person, conversation or channel.';
create index audit_log_workspace_id_at_idx on public.audit_log (workspace_id, at desc);
alter table public.audit_log enable row level security;

create policy audit_log_select_owner on public.audit_log
for select to authenticated
using (workspace_id = any(array(select mine.id from private.my_owned_workspaces as mine)));

-- Definer, because no client writes the audit log.
create function private.record_audit(p_workspace_id uuid, p_action text, p_subject_id uuid, p_details jsonb)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into public.audit_log (workspace_id, actor_id, action, subject_id, details, request_id)
    select workspace.id, private.acting_user_id(), p_action, p_subject_id, p_details, private.request_id()
    from public.workspaces as workspace
    where workspace.id = p_workspace_id;
end
$$;
comment on function private.record_audit(uuid, text, uuid, jsonb) is
'Writes a line of the audit log; nothing if the workspace is being deleted.';

-- Definer, because no client writes the audit log.
create function private.audit_connection_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(
        coalesce(new.workspace_id, old.workspace_id),
        case tg_op when 'INSERT' then 'connection.created' else 'connection.deleted' end,
        coalesce(new.id, old.id),
        jsonb_build_object('platform', coalesce(new.platform, old.platform))
    );
    return null;
end
$$;
comment on function private.audit_connection_trigger() is 'Trigger: records that a connection was made or deleted.';

-- Definer, because no client writes the audit log.
create function private.audit_member_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- The only member of a personal workspace comes and goes with it.
    if coalesce(new.workspace_id, old.workspace_id) <> coalesce(new.user_id, old.user_id) then
        perform private.record_audit(
            coalesce(new.workspace_id, old.workspace_id),
            case tg_op
                when 'INSERT' then 'member.joined'
                when 'DELETE' then 'member.left'
                else 'member.role_changed'
            end,
            coalesce(new.user_id, old.user_id),
            jsonb_strip_nulls(jsonb_build_object('role', new.role, 'old_role', old.role))
        );
    end if;
    return null;
end
$$;
comment on function private.audit_member_trigger() is
'Trigger: records that a member of a workspace joined, left or changed role.';

-- Definer, because no client writes the audit log.
create function private.audit_retention_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(new.id, 'workspace.retention_changed', new.id, jsonb_build_object(
        'conversation_days', new.conversation_days, 'channel_days', new.channel_days
    ));
    return null;
end
$$;
comment on function private.audit_retention_trigger() is 'Trigger: records a new retention of a workspace.';
