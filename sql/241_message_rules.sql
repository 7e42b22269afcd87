-- What happens when a message, a reaction or a pin changes. 900_triggers shows the order.

-- Definer, because it asks of the parent, and of the id, whether or not the caller may see the message; the policy asks
-- about the caller.
create function private.admit_message_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_event record;
begin
    if private.is_non_member(new.channel_id) then
        raise insufficient_privilege using message = 'Only members of a channel write to it.';
    end if;
    perform private.lock_channel(new.channel_id);
    -- A client may send a message twice with the same id. The primary key rejects or skips the second one, so it gets
    -- no number and no event. KEY SHARE waits for a transaction that deletes the first one.
    perform from public.messages as message where message.id = new.id for key share;
    if found then
        return new;
    end if;
    if new.parent_message_id is not null then
        perform from public.messages as parent
        where parent.id = new.parent_message_id
            and parent.channel_id = new.channel_id and parent.deleted_at is null;
        if not found then
            perform private.fail(
                404, 'parent_not_found', 'There is no such message to reply to in this channel.', 'parent_message_id'
            );
        end if;
    end if;
    v_event := private.record_event(new.channel_id, 'message.created', new.id, new.user_id, null, 1);
    new.seq := v_event.seq;
    new.created_at := v_event.at;
    new.updated_at := v_event.at;
    return new;
end
$$;
comment on function private.admit_message_trigger() is
'Trigger: a new message gets its number and time, and a reply belongs to a message of the same channel. What is not new
gets neither.';

-- Definer, because it looks at messages whether or not the writer may see them.
create function private.set_hops_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- A twin takes its turn after what was said last, in the channel and in the thread. Which of the two it answers
    -- nobody knows, so the longer chain counts: else two twins that both reply to the head of a thread, or one in the
    -- thread and one outside of it, would talk for ever. Two messages of one twin in a row are one turn.
    select max(previous.hops + case when previous.ai_twin_id = new.ai_twin_id then 0 else 1 end) into new.hops
    from (
        (
            select said.ai_twin_id, said.hops
            from public.messages as said
            where said.channel_id = new.channel_id
            order by said.seq desc
            limit 1
        )
        union all
        (
            select thread.ai_twin_id, thread.hops
            from (
                select head.ai_twin_id, head.hops, head.seq
                from public.messages as head
                where head.id = new.parent_message_id
                union all
                (
                    select reply.ai_twin_id, reply.hops, reply.seq
                    from public.messages as reply
                    where reply.parent_message_id = new.parent_message_id
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
comment on function private.set_hops_trigger() is 'Trigger: counts the turns of twins since a person spoke.';

-- Definer, because no client writes edits and events.
create function private.record_message_change_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_version integer;
begin
    if tg_op = 'DELETE' then
        perform private.record_event(old.channel_id, 'message.deleted', old.id, private.acting_user_id(), null, -1);
    elsif old.deleted_at is not null then
        -- Its author, its twin and its parent may still go, which sets them null.
        if (new.content, new.deleted_at) is distinct from (old.content, old.deleted_at) then
            perform private.fail(404, 'message_not_found', 'There is no such message.');
        end if;
    elsif new.deleted_at is not null then
        select event.at into new.deleted_at
        from private.record_event(new.channel_id, 'message.deleted', new.id, private.acting_user_id(), null, -1) as event;
    elsif new.content <> old.content then
        select event.at into new.updated_at
        from private.record_event(new.channel_id, 'message.updated', new.id, private.acting_user_id(), null, 0) as event;
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
'Trigger: an edit keeps what was there before, a deletion is final, and both are events.';

-- Definer, because an author may delete what another has pinned, and a client that edits may not unpin.
create function private.unpin_message_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    delete from public.message_pins as pin where pin.message_id = new.id;
    return null;
end
$$;
comment on function private.unpin_message_trigger() is
'Trigger: what is deleted is no longer pinned. Afterwards, so that this is no event of its own.';

-- Definer, because it asks of the message whether or not the caller may see it; the policy asks about the caller.
create function private.set_message_channel_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    select message.channel_id into new.channel_id
    from public.messages as message
    where message.id = new.message_id and not private.is_non_member(message.channel_id);
    perform private.lock_channel(new.channel_id);
    -- Asked again under the lock. Of a message that is gone, or elsewhere, nothing is said: the policy refuses a row of
    -- no channel.
    if not exists (
        select from public.messages as message where message.id = new.message_id and message.deleted_at is null
    ) then
        new.channel_id := null;
    end if;
    return new;
end
$$;
comment on function private.set_message_channel_trigger() is
'Trigger: a reaction or a pin is of the channel of its message, which must not be deleted.';

-- Definer, because no client writes events.
create function private.record_reaction_or_pin_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_is_added boolean := tg_op = 'INSERT';
    v_row jsonb := to_jsonb(case when tg_op = 'INSERT' then new else old end);
begin
    -- With its message, a mark goes without an event of its own.
    if not v_is_added and not exists (
        select from public.messages as message
        where message.id = (v_row ->> 'message_id')::uuid and message.deleted_at is null
    ) then
        return null;
    end if;
    if v_is_added and tg_table_name = 'message_reactions' and (
        select count(*)
        from public.message_reactions as own
        where own.message_id = (v_row ->> 'message_id')::uuid and own.user_id = (v_row ->> 'user_id')::uuid
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
'Writes an event when a reaction or a pin is added or removed.';
