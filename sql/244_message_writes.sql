-- The calls of /api/v2/messages that write: create, reply, edit, delete, pin, react. Only authors change a message;
-- admins may delete it.

create function private.require_twin(p_twin_id uuid, p_channel_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if not exists (
        select from public.channel_twins as assigned
        inner join public.ai_twins as twin on assigned.ai_twin_id = twin.id
        where twin.id = p_twin_id
            and assigned.channel_id = p_channel_id
            and ((select private.is_service()) or twin.user_id = (select auth.uid()))
    ) then
        perform private.fail(
            403, 'twin_not_allowed', 'You do not own this twin, or it is not in this channel.', 'ai_twin_id'
        );
    end if;
end
$$;
comment on function private.require_twin(uuid, uuid) is
'Raises PT403 unless the caller may write as the twin in the channel.';

create function private.require_acting_member(p_channel_id uuid, p_user_id uuid) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.is_service() and not exists (
        select from public.channel_members as member
        where member.channel_id = p_channel_id and member.user_id = p_user_id
    ) then
        perform private.fail(
            403, 'not_a_member', 'This user is not a member of the channel. Add the user first.', 'user_id'
        );
    end if;
end
$$;
comment on function private.require_acting_member(uuid, uuid) is
'Raises PT403 if service_role acts for a user who is not a member of the channel. Policies check the other callers.';

create function private.require_size(p_body jsonb, p_field text, p_max integer) returns void
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_large boolean := private.is_oversized(p_body -> p_field, p_max);
begin
    if not v_is_large and (private.is_deep(p_body -> p_field) or private.has_huge_number(p_body -> p_field)) then
        perform private.fail(
            400, 'invalid_field',
            format(
                '%s has more than 100 levels or a number of more than 1000 digits. Send it as a string.', p_field
            ),
            p_field
        );
    elsif not v_is_large and octet_length((p_body -> p_field)::text) <= p_max then
        return;
    elsif p_field = 'metadata' then
        perform private.fail(
            413, 'metadata_too_large', format('metadata must have at most %s.', pg_size_pretty(p_max::bigint)), p_field
        );
    else
        perform private.fail(
            413, 'attachments_too_large', format('%s must have at most %s.', p_field, pg_size_pretty(p_max::bigint)),
            p_field
        );
    end if;
end
$$;
comment on function private.require_size(jsonb, text, integer) is
'Raises PT413 if the JSON of a field has more than p_max bytes, and PT400 if it contains a huge number or has more
than 100 levels.';

create function private.render_created(p_message public.messages) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.succeed(
        private.render_message(p_message, null),  -- a new message is not pinned
        jsonb_build_object('timestamp', private.format_time(p_message.created_at)),
        201
    );
end
$$;
comment on function private.render_created(public.messages) is 'Renders the answer to the creation of a message.';

create function public.create_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    v_content text := private.parse_content($1);
    v_twin_id uuid := private.parse_uuid($1, 'ai_twin_id', false);
    v_user_id uuid;
    v_message public.messages;
begin
    perform private.require_channel(v_channel_id);
    if v_twin_id is not null then
        perform private.require_twin(v_twin_id, v_channel_id);
    end if;
    if coalesce(jsonb_typeof($1 -> 'metadata'), 'null') not in ('object', 'null') then
        perform private.fail(400, 'invalid_field', 'metadata must be an object.', 'metadata');
    elsif coalesce(jsonb_typeof($1 -> 'attachments'), 'null') not in ('array', 'null')
        or jsonb_path_exists($1, 'strict $.attachments[*] ? (@.type() <> "object")', '{}', true)
    then
        perform private.fail(400, 'invalid_field', 'attachments must be an array of objects.', 'attachments');
    end if;
    if $1 ? 'metadata' then
        perform private.require_size($1, 'metadata', private.metadata_max_bytes());
    end if;
    if $1 ? 'attachments' then
        perform private.require_size($1, 'attachments', private.attachments_max_bytes());
    end if;
    -- A message of a twin has no user_id, but a user_id in the request must still be the caller's.
    if v_twin_id is null or not private.is_service() then
        v_user_id := private.require_actor($1);
    end if;
    if v_twin_id is null then
        perform private.require_acting_member(v_channel_id, v_user_id);
    end if;
    insert into public.messages (
        channel_id, user_id, ai_twin_id, parent_message_id, conversation_id,
        content, content_type, metadata, attachments
    )
    values (
        v_channel_id,
        case when v_twin_id is null then v_user_id end,
        v_twin_id,
        private.parse_uuid($1, 'parent_message_id', false),
        private.parse_uuid($1, 'conversation_id', false),
        v_content,
        private.parse_text($1, 'content_type', 100, 'text'),
        coalesce(nullif($1 -> 'metadata', 'null'), '{}'),
        nullif($1 -> 'attachments', 'null')
    )
    returning * into v_message;
    return private.render_created(v_message);
end
$$;
comment on function public.create_message(jsonb) is
'POST /api/v2/messages: channel_id, content, and optionally content_type, parent_message_id, metadata, attachments,
conversation_id, user_id, ai_twin_id.';

create function public.reply_to_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_parent public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    return public.create_message(
        $1 || jsonb_build_object('channel_id', v_parent.channel_id, 'parent_message_id', v_parent.id)
    );
end
$$;
comment on function public.reply_to_message(jsonb) is
'POST /api/v2/messages/:id/thread: id, content, and what create_message takes.';

create function private.is_author(p_message public.messages, p_user_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(p_message.user_id = p_user_id, false) or exists (
        select from public.ai_twins as twin where twin.id = p_message.ai_twin_id and twin.user_id = p_user_id
    );
end
$$;
comment on function private.is_author(public.messages, uuid) is
'Whether a user wrote a message, or owns the twin that wrote it.';

create function public.edit_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_content text := private.parse_content($1);
    v_user_id uuid := private.require_actor($1);
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    perform private.require_acting_member(v_message.channel_id, v_user_id);
    if not private.is_author(v_message, v_user_id) then
        perform private.fail(403, 'not_the_author', 'You can edit only your own messages and those of your twins.');
    end if;
    update public.messages as message set content = v_content
    where message.id = v_message.id
    returning * into v_message;
    if v_message.id is null then
        perform private.fail(404, 'message_not_found', 'This message does not exist, or you may not see it.');
    end if;
    return private.succeed(private.render_message(v_message));
end
$$;
comment on function public.edit_message(jsonb) is
'PUT /api/v2/messages/:id: content, user_id. Only for messages of the caller or their twins; keeps the old text.';

create function private.is_app_admin() returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Reads app_metadata and not user_metadata, because users can write the latter.
    return coalesce((select auth.jwt()) -> 'app_metadata' ->> 'role' = 'admin', false);
end
$$;
comment on function private.is_app_admin() is 'Whether the token belongs to an administrator of the application.';

-- Definer for two reasons: no client may write deleted_at, and an administrator of the application need not be a
-- member. It checks the caller itself.
create function private.delete_message(p_message_id uuid, p_user_id uuid, p_as_admin boolean) returns timestamptz
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_service boolean := private.is_service();
    v_user_id uuid := case when v_is_service then p_user_id else (select auth.uid()) end;
    v_is_app_admin boolean := p_as_admin and private.is_app_admin();
    v_message public.messages;
    v_role text;
    v_deleted_at timestamptz;
begin
    select * into v_message from public.messages as message where message.id = p_message_id;
    select member.role into v_role
    from public.channel_members as member
    where member.channel_id = v_message.channel_id and member.user_id = v_user_id;
    if v_role is null and not v_is_service and not v_is_app_admin then
        v_message := null;
    end if;
    if v_message.id is not null
        and not (
            private.is_author(v_message, v_user_id)
            or v_is_app_admin
            or (p_as_admin and coalesce(v_role in ('owner', 'admin'), false))
        )
        and v_message.deleted_at is null
    then
        perform private.fail(
            403, 'not_the_author',
            'You can delete only your own messages. Owners and admins of the channel can add admin=true.'
        );
    end if;
    update public.messages as message set deleted_at = now()
    where message.id = v_message.id and message.deleted_at is null
    returning message.deleted_at into v_deleted_at;
    if v_deleted_at is null then
        perform private.fail(404, 'message_not_found', 'This message does not exist, or you may not see it.');
    end if;
    return v_deleted_at;
end
$$;
comment on function private.delete_message(uuid, uuid, boolean) is
'Marks a message as deleted and returns the time. The actor is the caller, or the user_id that service_role gives. PT403
unless they wrote it, own its twin, or act as an admin; PT404 for non-members.';

create function public.delete_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := private.require_actor($1);
    v_id uuid := private.parse_uuid($1, 'id');
begin
    return private.succeed(jsonb_build_object(
        'id', v_id,
        'deleted_at', private.format_time(private.delete_message(
            v_id, v_user_id, coalesce(private.scalar_text($1, 'admin'), 'false') in ('true', '1')
        ))
    ));
end
$$;
comment on function public.delete_message(jsonb) is
'DELETE /api/v2/messages/:id: user_id; admin=true for owners and admins of the channel, and of the application.';

create function public.pin_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_user_id uuid := private.require_actor($1);
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
begin
    -- Reads it again under the lock, because it may be deleted now.
    perform private.lock_my_channel(v_message.channel_id);
    v_message := private.require_message(v_message.id);
    perform private.require_acting_member(v_message.channel_id, v_user_id);
    insert into public.message_pins (message_id, pinned_by) values (v_message.id, v_user_id)
    on conflict on constraint message_pins_pkey do nothing;
    return private.succeed((
        select private.render_message(v_message) || jsonb_build_object('updated_at', private.format_time(pin.pinned_at))
        from public.message_pins as pin
        where pin.message_id = v_message.id
    ));
end
$$;
comment on function public.pin_message(jsonb) is
'POST /api/v2/messages/:id/pin: user_id. A second pin changes nothing.';

create function public.unpin_message(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_message public.messages := private.require_message(private.parse_uuid($1, 'id'));
    v_user_id uuid := private.require_actor($1);
begin
    -- Locks the channel before the pin: see the lock order in 210_events.
    perform private.lock_my_channel(v_message.channel_id);
    perform private.require_acting_member(v_message.channel_id, v_user_id);
    delete from public.message_pins as pin where pin.message_id = v_message.id;
    return private.succeed(private.render_message(v_message));
end
$$;
comment on function public.unpin_message(jsonb) is
'DELETE /api/v2/messages/:id/pin: user_id. Does nothing if the message is not pinned.';

create function private.set_reaction(p_body jsonb, p_change text) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_emoji text := private.parse_emoji(p_body);
    v_user_id uuid := private.require_actor(p_body);
    v_message public.messages := private.require_message(private.parse_uuid(p_body, 'id'));
    v_reaction public.message_reactions;
    v_action text := 'unchanged';
begin
    -- Locks the channel, so that one of two concurrent toggles adds and the other removes.
    perform private.lock_my_channel(v_message.channel_id);
    v_message := private.require_message(v_message.id);
    perform private.require_acting_member(v_message.channel_id, v_user_id);
    select * into v_reaction
    from public.message_reactions as reaction
    where reaction.message_id = v_message.id and reaction.user_id = v_user_id and reaction.emoji = v_emoji;
    if v_reaction.id is null and p_change <> 'remove' then
        insert into public.message_reactions (message_id, user_id, emoji)
        values (v_message.id, v_user_id, v_emoji)
        returning * into v_reaction;
        v_action := 'added';
    elsif v_reaction.id is not null and p_change <> 'add' then
        delete from public.message_reactions as reaction where reaction.id = v_reaction.id;
        v_action := 'removed';
    end if;
    return private.succeed(
        case when v_reaction.id is not null then private.render_reaction(
            v_reaction.id, v_reaction.message_id, v_reaction.user_id, v_reaction.emoji, v_reaction.created_at
        ) end,
        jsonb_build_object('action', v_action)
    );
end
$$;
comment on function private.set_reaction(jsonb, text) is
'Adds, removes or toggles a reaction of the caller. meta.action is added, removed or unchanged.';

create function public.toggle_reaction(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.set_reaction($1, 'toggle');
end
$$;
comment on function public.toggle_reaction(jsonb) is
'POST /api/v2/messages/:id/react: emoji, user_id. Adds the reaction, or removes it if it exists.';

create function public.add_reaction(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.set_reaction($1, 'add');
end
$$;
comment on function public.add_reaction(jsonb) is
'PUT /api/v2/messages/:id/reactions/{emoji}. Safe to repeat, unlike the toggle.';

create function public.remove_reaction(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    return private.set_reaction($1, 'remove');
end
$$;
comment on function public.remove_reaction(jsonb) is
'DELETE /api/v2/messages/:id/reactions/{emoji}. Safe to repeat, unlike the toggle.';
