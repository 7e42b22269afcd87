-- Erasure of a user: what the user wrote, owns and is a member of.
-- Promise: channels and teams keep an owner, and no text or address of the user stays.

create table private.former_twin_messages (
    message_id uuid primary key references public.messages (id) on delete cascade,
    user_id uuid not null references auth.users (id) on delete cascade
);
comment on table private.former_twin_messages is
'Messages of deleted twins with the owner of the twin, so that erasing the owner also deletes these messages.';
create index former_twin_messages_user_id_idx on private.former_twin_messages (user_id);
alter table private.former_twin_messages enable row level security;

-- Definer, because no client writes here, and Supabase Auth fires this trigger when it deletes a user.
create function private.remember_twin_owner_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- If Supabase Auth deleted the owner, the join finds no row: messages stay, as they do for deleted users.
    insert into private.former_twin_messages (message_id, user_id)
    select said.id, owner.id
    from public.messages as said
    inner join auth.users as owner on owner.id = old.user_id
    where said.ai_twin_id = old.id;
    return old;
end
$$;
comment on function private.remember_twin_owner_trigger() is
'Trigger: records the owner of a deleted twin''s messages, so that erasing the owner deletes them.';

create function private.count_belongings(p_user_id uuid) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'connections', (
            select count(*) from public.messaging_connections as connection where connection.workspace_id = p_user_id
        ),
        'people', (select count(*) from public.people as person where person.workspace_id = p_user_id),
        'conversations', (
            select count(*) from public.conversations as conversation where conversation.workspace_id = p_user_id
        ),
        'conversation_messages', (
            select coalesce(sum(conversation.message_count), 0)
            from public.conversations as conversation
            where conversation.workspace_id = p_user_id
        ),
        'twins', (select count(*) from public.ai_twins as twin where twin.user_id = p_user_id),
        'memberships', (select count(*) from public.channel_members as member where member.user_id = p_user_id),
        'reactions', (select count(*) from public.message_reactions as mark where mark.user_id = p_user_id)
    );
end
$$;
comment on function private.count_belongings(uuid) is
'The number of rows by kind that belong only to this user; those of teams stay.';

create function private.hand_over_channels(p_user_id uuid) returns bigint
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
declare
    v_count bigint;
begin
    update public.channel_members as heir set role = 'owner'
    where (heir.channel_id, heir.user_id) in (
        select distinct on (other.channel_id) other.channel_id, other.user_id
        from public.channel_members as mine
        inner join public.channel_members as other
            on mine.channel_id = other.channel_id and other.user_id <> p_user_id
        where mine.user_id = p_user_id and mine.role = 'owner'
            and not exists (
                select from public.channel_members as owner
                where owner.channel_id = mine.channel_id and owner.user_id <> p_user_id and owner.role = 'owner'
            )
            -- A guest inherits only a dm, or a channel of a workspace that goes with this user.
            and exists (
                select from public.channels as channel
                left join public.workspace_members as colleague
                    on channel.workspace_id = colleague.workspace_id and colleague.user_id = other.user_id
                where channel.id = other.channel_id and (
                    colleague.user_id is not null
                    or channel.kind = 'dm'
                    or private.find_heir(channel.workspace_id, p_user_id) is null
                )
            )
        order by other.channel_id, other.role <> 'admin', other.created_at, other.user_id
    );
    -- Only guests are left in these channels.
    insert into public.channel_members (channel_id, user_id, role)
    select channel.id, private.find_heir(channel.workspace_id, p_user_id), 'owner'
    from public.channel_members as mine
    inner join public.channels as channel on mine.channel_id = channel.id
    where mine.user_id = p_user_id and mine.role = 'owner' and channel.kind = 'channel'
        and private.find_heir(channel.workspace_id, p_user_id) is not null
        and exists (
            select from public.channel_members as other
            where other.channel_id = channel.id and other.user_id <> p_user_id
        )
        and not exists (
            select from public.channel_members as owner
            where owner.channel_id = channel.id and owner.user_id <> p_user_id and owner.role = 'owner'
        )
    on conflict (channel_id, user_id) do nothing;
    delete from public.channels as lonely
    where lonely.id in (select mine.channel_id from public.channel_members as mine where mine.user_id = p_user_id)
        and not exists (
            select from public.channel_members as other
            where other.channel_id = lonely.id and other.user_id <> p_user_id
        );
    get diagnostics v_count = row_count;
    return v_count;
end
$$;
comment on function private.hand_over_channels(uuid) is
'Gives each channel with this user as its only owner to the admin, or else the member, of the longest standing. In a
team, guests do not inherit: the heir of the workspace does. Deletes channels without other members and returns their
number.';

create function private.delete_addresses(p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_email text := (select lower(known.email) from auth.users as known where known.id = p_user_id);
begin
    delete from public.workspace_invitations as invitation
    where invitation.email = v_email and invitation.accepted_at is null;
    update public.workspace_invitations as invitation set email = null
    where invitation.email is not null and (invitation.email = v_email or invitation.accepted_by = p_user_id);
end
$$;
comment on function private.delete_addresses(uuid) is
'Deletes the invitations to the address of a user that were not accepted, and clears the address in all others.';

create function private.list_user_messages(p_user_id uuid) returns setof uuid
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    select said.id from public.messages as said where said.user_id = p_user_id
    union all
    select said.id
    from public.messages as said
    inner join public.ai_twins as twin on said.ai_twin_id = twin.id
    where twin.user_id = p_user_id
    union all
    select former.message_id from private.former_twin_messages as former where former.user_id = p_user_id;
end
$$;
comment on function private.list_user_messages(uuid) is
'Ids of the messages that a user and the user''s twins wrote, deleted twins included.';

create function private.delete_stored_answers(p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from private.idempotency_keys as known
    where known.principal = p_user_id::text
        or (
            -- Stored answers to the service contain what it wrote for the user.
            known.principal = 'service_role'
            and exists (
                select from (
                    select p_user_id
                    union all
                    select twin.id from public.ai_twins as twin where twin.user_id = p_user_id
                ) as author (id)
                where strpos(known.body, author.id::text) > 0
            )
        );
end
$$;
comment on function private.delete_stored_answers(uuid) is
'Deletes the stored answers to idempotent requests of a user, and those of the service that name the user or a twin of
theirs.';

create function private.audit_erasure(p_user_id uuid) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.record_audit(member.workspace_id, 'user.erased', p_user_id, '{}')
    from public.workspace_members as member
    where member.user_id = p_user_id and member.workspace_id <> p_user_id;
end
$$;
comment on function private.audit_erasure(uuid) is
'Records in the teams of a user that the user is erased. Owners see the id and no content.';

-- Definer, because no role may write these tables. Only service_role may call it.
create function private.erase_user(p_user_id uuid) returns jsonb
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_erased jsonb := private.count_belongings(p_user_id);
    v_channels uuid[] := array(
        select said.channel_id
        from public.messages as said
        where said.id in (select own.id from private.list_user_messages(p_user_id) as own (id))
        union
        select member.channel_id from public.channel_members as member where member.user_id = p_user_id
        union
        select file.channel_id from public.attachments as file where file.uploaded_by = p_user_id
    );
    v_count bigint;
    v_broadcasts uuid[];
begin
    if not exists (select from auth.users as known where known.id = p_user_id) then
        perform private.fail(404, 'user_not_found', 'This user does not exist. Check user_id.', 'user_id');
    end if;
    perform private.lock_channels(v_channels);
    v_erased := v_erased || jsonb_build_object('channels', private.hand_over_channels(p_user_id));
    -- A summary may contain what the user wrote.
    delete from private.summaries as known where known.channel_id = any(v_channels);
    get diagnostics v_count = row_count;
    v_erased := v_erased || jsonb_build_object('summaries', v_count);
    perform private.delete_stored_answers(p_user_id);
    perform private.delete_addresses(p_user_id);
    delete from public.messages as said
    where said.id in (select own.id from private.list_user_messages(p_user_id) as own (id));
    get diagnostics v_count = row_count;
    v_erased := v_erased || jsonb_build_object('messages', v_count);
    delete from public.attachments as file where file.uploaded_by = p_user_id;
    get diagnostics v_count = row_count;
    v_erased := v_erased || jsonb_build_object('files', v_count);
    delete from private.request_counts as counted where counted.user_id = p_user_id;
    perform private.audit_erasure(p_user_id);
    delete from public.channel_members as member where member.user_id = p_user_id;
    delete from auth.users as known where known.id = p_user_id;
    -- The log keeps its numbers without a gap but drops the actor, and so do broadcasts.
    with cleared as (
        update public.message_events as event set actor_id = null, emoji = null
        where event.actor_id = p_user_id
        returning event.channel_id, event.seq
    )

    select array_agg(private.broadcast_id(cleared.channel_id, cleared.seq, listener.id)) into v_broadcasts
    from cleared cross join lateral (values (null::uuid), (cleared.channel_id)) as listener (id);
    perform private.redact_broadcasts(v_broadcasts);
    return private.create_receipt('user', p_user_id, v_erased);
end
$$;
comment on function private.erase_user(uuid) is
'Deletes a user, the user''s rows, the messages of the user and the user''s twins, and the summaries of their channels.
Records an event for each deleted message. The sweeper removes the files from Storage. Returns the receipt; PT404 if the
user does not exist.';

create function public.erase_user(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(private.erase_user(private.parse_uuid($1, 'user_id')));
end
$$;
comment on function public.erase_user(jsonb) is
'For operators: erases a user with all rows, messages and files, and the summaries of the user''s channels. Takes
user_id; returns the receipt.';
