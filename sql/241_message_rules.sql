-- Trigger functions of messages, reactions and pins. They keep edits and record each change as an event.
-- 264_new_messages numbers messages. 900_triggers shows their order.

-- Definer, because it must read messages even if the author may not see them.
create function private.set_hops_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Compares the newest message of the channel with the newest of the thread and takes the larger count, because the
    -- twin may answer either. With one of them only, two twins could answer each other forever: both to the parent, or
    -- one inside the thread and one outside. Consecutive messages of one twin are one turn.
    select max(previous.hops + case when previous.ai_twin_id = new.ai_twin_id then 0 else 1 end) into new.hops
    from (
        (
            select message.ai_twin_id, message.hops
            from public.messages as message
            where message.channel_id = new.channel_id
            order by message.seq desc
            limit 1
        )
        union all
        (
            select thread.ai_twin_id, thread.hops
            from (
                select parent.ai_twin_id, parent.hops, parent.seq
                from public.messages as parent
                where parent.id = new.thread_id
                union all
                (
                    select reply.ai_twin_id, reply.hops, reply.seq
                    from public.messages as reply
                    where reply.thread_id = new.thread_id
                    order by reply.seq desc
                    limit 1
                )
            ) as thread
            order by thread.seq desc
            limit 1
        )
    ) as previous;
    new.hops := coalesce(new.hops, 1);
    return new;
end
$$;
comment on function private.set_hops_trigger() is 'Counts the turns of twins since a user wrote.';

-- Definer, because no client writes edits or events.
create function private.record_message_change_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_version integer;
begin
    if tg_op = 'DELETE' then
        perform private.record_event(old.channel_id, 'message.deleted', old.id, private.acting_user_id(), null, -1);
    elsif old.deleted_at is not null then
        -- Foreign keys may still set its author, twin or parent to null.
        if (new.content, new.deleted_at) is distinct from (old.content, old.deleted_at) then
            perform private.fail(404, 'message_not_found', 'This message does not exist, or you may not see it.');
        end if;
    elsif new.deleted_at is not null then
        select event.at into new.deleted_at
        from private.record_event(
            new.channel_id, 'message.deleted', new.id, private.acting_user_id(), null, -1
        ) as event;
        new.content := '';
        new.content_type := 'text';
        new.conversation_id := null;
        new.metadata := '{}';
        new.attachments := null;
    elsif new.content <> old.content then
        select event.at into new.updated_at
        from private.record_event(
            new.channel_id, 'message.updated', new.id, private.acting_user_id(), null, 0
        ) as event;
        -- Checks again under the lock: the policy uses the members at the start of the statement.
        if private.is_non_member(new.channel_id) then
            perform private.fail(404, 'message_not_found', 'This message does not exist, or you may not see it.');
        end if;
        insert into public.message_edits (message_id, version, content, written_at, replaced_at)
        select new.id, count(*) + 1, old.content, old.updated_at, new.updated_at
        from public.message_edits as edit
        where edit.message_id = new.id
        returning version into v_version;
        if v_version > (select settings.message_max_edits from private.settings) then
            perform private.fail(
                409, 'too_many_edits', 'This message has reached its maximum number of edits. Send a new message.'
            );
        end if;
    end if;
    return new;
end
$$;
comment on function private.record_message_change_trigger() is
'Keeps the old text of an edited message, makes deletion final, and records both as events.';

-- Definer, because it must find the message even if the caller may not see it. The policy checks the caller.
create function private.set_message_channel_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select message.channel_id into new.channel_id
    from public.messages as message
    where message.id = new.message_id and not private.is_non_member(message.channel_id);
    perform private.lock_channel(new.channel_id);
    -- Checks again under the lock. If the message or the member is gone, clears channel_id: the policy then rejects the
    -- row without a reason.
    if private.is_non_member(new.channel_id) or not exists (
        select from public.messages as message where message.id = new.message_id and message.deleted_at is null
    ) then
        new.channel_id := null;
    end if;
    return new;
end
$$;
comment on function private.set_message_channel_trigger() is
'Copies the channel of the message into a reaction or pin. Rejects deleted messages.';

-- Definer, because no client writes events.
create function private.record_reaction_or_pin_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_is_added boolean := tg_op = 'INSERT';
    v_row jsonb := to_jsonb(case when tg_op = 'INSERT' then new else old end);
begin
    -- The event of a deleted message covers its reactions and its pin.
    if not v_is_added and not exists (
        select from public.messages as message
        where message.id = (v_row ->> 'message_id')::uuid and message.deleted_at is null
    ) then
        return null;
    end if;
    if v_is_added and tg_table_name = 'message_reactions' and (
        select count(*)
        from public.message_reactions as reaction
        where reaction.message_id = (v_row ->> 'message_id')::uuid
            and reaction.user_id = (v_row ->> 'user_id')::uuid
    ) > (select settings.reactions_per_user_per_message from private.settings) then
        perform private.fail(
            409, 'too_many_reactions',
            'You have reached the reaction limit for this message. Remove one of your reactions first.', 'emoji'
        );
    end if;
    perform private.record_event(
        (v_row ->> 'channel_id')::uuid,
        case tg_table_name
            when 'message_pins' then case when v_is_added then 'message.pinned' else 'message.unpinned' end
            else case when v_is_added then 'reaction.added' else 'reaction.removed' end
        end,
        (v_row ->> 'message_id')::uuid,
        coalesce(
            (v_row ->> 'user_id')::uuid,
            case when v_is_added then (v_row ->> 'pinned_by')::uuid end,
            private.acting_user_id()
        ),
        v_row ->> 'emoji',
        0,
        (v_row ->> 'id')::uuid,
        coalesce(v_row ->> 'created_at', v_row ->> 'pinned_at')::timestamptz
    );
    return null;
end
$$;
comment on function private.record_reaction_or_pin_trigger() is
'Records an event when a reaction or a pin is added or removed.';
