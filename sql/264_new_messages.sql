-- How a new message gets its number, its time and its event. After 260_search_index, which prepares its search entry.

create function private.refuse_message(p_message public.messages) returns public.messages
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if private.is_non_member(p_message.channel_id) then
        raise insufficient_privilege using
            message = 'Only members can write to this channel.',
            hint = 'Ask a member who manages it to add you, or call the function accept_invitation.';
    end if;
    -- Raises an error for a channel without a counter. The foreign key raises one for a channel that does not exist.
    perform private.record_event(p_message.channel_id, 'message.created', p_message.id, p_message.user_id, null, 1);
    return p_message;
end
$$;
comment on function private.refuse_message(public.messages) is
'Raises the error for a message that got no number, because its author is not a member or its channel has no counter.';

-- Definer, because it must find the parent and the id even if the caller may not see them.
create function private.admit_message_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_language text;
    v_present_language text;
begin
    -- Before the lock, because the other writers of the channel wait for what follows.
    select private.prepare_words(new, counter.language) into v_language
    from private.channel_counters as counter
    where counter.channel_id = new.channel_id;
    -- One statement takes the number, locks the channel and checks the membership, because each message pays for it.
    update private.channel_counters as counter
    set
        last_seq = counter.last_seq + 1,
        last_at = greatest(private.event_clock(), counter.last_at + interval '1 microsecond'),
        message_count = counter.message_count + 1
    where counter.channel_id = new.channel_id
        and (
            exists (
                select from public.channel_members as member
                where member.channel_id = counter.channel_id and member.user_id = auth.uid()
            )
            or not private.is_non_member(counter.channel_id)
        )
    returning counter.last_seq, counter.last_at, counter.last_at, counter.workspace_id, counter.language
    into new.seq, new.created_at, new.updated_at, new.workspace_id, v_present_language;
    if not found then
        return private.refuse_message(new);
    elsif v_present_language is distinct from v_language then
        perform private.prepare_words(new, v_present_language);
    end if;
    -- A client may send a message twice with the same id. The primary key rejects or skips the second one, so it gives
    -- its number back and gets no event. KEY SHARE waits for a transaction that deletes the first one.
    perform from public.messages as message where message.id = new.id for key share;
    if found then
        update private.channel_counters as counter
        set last_seq = counter.last_seq - 1, message_count = counter.message_count - 1
        where counter.channel_id = new.channel_id;
        return new;
    end if;
    if new.parent_message_id is not null then
        select coalesce(parent.thread_id, parent.id) into new.thread_id
        from public.messages as parent
        where parent.id = new.parent_message_id
            and parent.channel_id = new.channel_id and parent.deleted_at is null;
        if not found then
            perform private.fail(
                404, 'parent_not_found', 'The message to reply to is not in this channel, or was deleted.',
                'parent_message_id'
            );
        end if;
    end if;
    insert into public.message_events (channel_id, workspace_id, seq, kind, message_id, actor_id, created_at)
    values (new.channel_id, new.workspace_id, new.seq, 'message.created', new.id, new.user_id, new.created_at);
    if new.user_id is not null then
        -- Authors have read what they answer.
        update public.member_states as mine set read_seq = new.seq
        where mine.channel_id = new.channel_id and mine.user_id = new.user_id;
    end if;
    return new;
end
$$;
comment on function private.admit_message_trigger() is
'Gives a new message its number, time, thread and event, moves the read marker of its author, and requires a parent of
the same channel. A repeated id gets no number.';
