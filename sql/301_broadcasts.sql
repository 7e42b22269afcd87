-- Broadcasts of channel events. A broadcast may get lost and never fails a write; clients catch up from the event log.

create function private.render_event(p_event public.message_events, p_message public.messages) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_numbers jsonb := jsonb_build_object('seq', p_event.seq, 'prev_seq', p_event.seq - 1);
    v_pin jsonb;
begin
    if p_event.kind in ('reaction.added', 'reaction.removed') then
        return v_numbers || private.render_reaction(
            p_event.reaction_id, p_event.message_id, p_event.actor_id, p_event.emoji, p_event.added_at
        ) || private.render_author(p_event.actor_id, null);
    elsif p_event.kind in ('member.joined', 'member.left') then
        return v_numbers || jsonb_build_object(
            'channel_id', p_event.channel_id,
            'user_id', p_event.actor_id,
            'created_at', private.format_time(p_event.created_at)
        ) || private.render_author(p_event.actor_id, null);
    elsif p_event.kind = 'message.deleted' then
        return v_numbers || jsonb_build_object(
            'id', p_event.message_id, 'deleted_at', private.format_time(p_event.created_at)
        );
    elsif p_message.id is null then
        return v_numbers || jsonb_build_object('id', p_event.message_id, 'deleted', true);
    end if;
    -- Shows the text at the time of the event, if it was edited later.
    if p_message.updated_at > p_event.created_at then
        select edit.content, edit.written_at into p_message.content, p_message.updated_at
        from public.message_edits as edit
        where edit.message_id = p_message.id
            and edit.written_at <= p_event.created_at and edit.replaced_at > p_event.created_at;
    end if;
    if p_event.kind = 'message.pinned' then
        v_pin := private.render_pin(p_event.actor_id, p_event.added_at);
        v_numbers := v_numbers || jsonb_build_object('updated_at', private.format_time(p_event.added_at));
    elsif p_event.kind = 'message.updated' then
        v_pin := (
            select case
                when change.kind = 'message.pinned' then private.render_pin(change.actor_id, change.added_at)
            end
            from public.message_events as change
            where change.message_id = p_event.message_id
                and change.channel_id = p_event.channel_id
                and change.seq < p_event.seq
                and change.kind in ('message.pinned', 'message.unpinned')
            order by change.seq desc
            limit 1
        );
        -- The clean-up may have deleted the event of the pin.
        if v_pin is null then
            select private.render_pin(pin.pinned_by, pin.pinned_at) into v_pin
            from public.message_pins as pin
            where pin.message_id = p_event.message_id and not exists (
                select from public.message_events as change
                where change.message_id = pin.message_id and change.channel_id = pin.channel_id
                    and change.kind = 'message.pinned'
            );
        end if;
    end if;
    return private.render_message(p_message, v_pin)
        || private.render_author(p_message.user_id, p_message.ai_twin_id)
        || v_numbers;
end
$$;
comment on function private.render_event(public.message_events, public.messages) is
'The payload of an event, the same for broadcasts and for catching up: the data of the call that caused it, with seq,
prev_seq, and name and picture of the author or the user. It shows the message at the time of the event. For a message
that is gone, p_message is null and the payload has id and deleted.';

create function private.render_pointer(p_payload jsonb, p_topic text default null) returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return (
        select
            jsonb_object_agg(field.key, field.value)
            || jsonb_strip_nulls(jsonb_build_object('truncated', true, 'topic', p_topic))
        from jsonb_each(p_payload) as field
        where field.key in ('id', 'channel_id', 'seq', 'prev_seq')
    );
end
$$;
comment on function private.render_pointer(jsonb, text) is
'The pointer that is sent instead of an oversized payload or, with the topic of the payload, while the channel is
sealed.';

-- Inserts directly, because realtime.send hides errors, adds fields to payloads, and opens a subtransaction per call.
create function private.send_event(p_event public.message_events, p_message public.messages) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_payload jsonb := private.render_event(p_event, p_message);
    v_channel record;
begin
    select
        -- Null unless a former member may still listen to channel:<id> (decision 0014).
        case when counter.sealed_until > clock_timestamp() and p_event.seq > counter.sealed_after
            then format('channel:%s:%s', p_event.channel_id, counter.topic_turn) end as sealed_topic,
        octet_length(v_payload::text) > settings.broadcast_max_bytes as is_oversized,
        p_event.kind = 'message.created' and p_message.hops <= settings.twin_max_hops and exists (
            select from public.channel_twins as assigned where assigned.channel_id = p_event.channel_id
        ) as has_twins
    into v_channel
    from private.channel_counters as counter
    cross join private.settings
    where counter.channel_id = p_event.channel_id;
    if not found then
        return;  -- the channel is being deleted
    elsif v_channel.is_oversized then
        v_payload := private.render_pointer(v_payload);
    end if;
    insert into realtime.messages (id, topic, extension, event, payload, private)
    values (
        private.broadcast_id(p_event.channel_id, p_event.seq),
        'channel:' || p_event.channel_id,
        'broadcast',
        p_event.kind,
        case
            when v_channel.sealed_topic is null then v_payload
            else private.render_pointer(v_payload, v_channel.sealed_topic)
        end,
        true
    );
    if v_channel.sealed_topic is not null or v_channel.has_twins then
        insert into realtime.messages (id, topic, extension, event, payload, private)
        select
            private.broadcast_id(p_event.channel_id, p_event.seq, listener.id),
            listener.topic, 'broadcast', p_event.kind, v_payload, true
        from (
            select p_event.channel_id as id, v_channel.sealed_topic as topic
            where v_channel.sealed_topic is not null
            union all
            -- The twins that the outbox would serve if they had webhooks.
            select assigned.ai_twin_id, 'twin:' || assigned.ai_twin_id
            from public.channel_twins as assigned
            where v_channel.has_twins
                and assigned.channel_id = p_event.channel_id
                and assigned.ai_twin_id is distinct from p_message.ai_twin_id
        ) as listener;
    end if;
end
$$;
comment on function private.send_event(public.message_events, public.messages) is
'Sends an event to its channel, and a new message also to the twins of the channel. Sends a pointer instead of an
oversized payload. A sealed channel gets pointers, and its current turn the payloads.';

create function private.require_creation(p_event public.message_events, p_message public.messages) returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_message.channel_id = p_event.channel_id or exists (
        select from public.message_events as later
        where later.channel_id = p_event.channel_id and later.seq > p_event.seq
            and later.message_id = p_event.message_id and later.kind = 'message.deleted'
    ) then
        return;
    elsif p_message.id is not null then
        raise serialization_failure using message = 'The same message was written to two channels at once.';
    end if;
    perform private.fail(
        409, 'message_dropped',
        'A trigger of the application dropped this message after it was numbered. '
        'Give that trigger a name that sorts before messages_10_admit.'
    );
end
$$;
comment on function private.require_creation(public.message_events, public.messages) is
'Raises an error if a message whose creation is in the log was not written. PT409 if a trigger dropped it, 40001 if
another channel took its id at the same time (decision 0009).';

-- Definer, because only the database sends to these topics.
create function private.broadcast_event_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_event public.message_events := new;
    v_message public.messages;
begin
    -- Reads the event again, because an erasure in the same transaction may have changed it. Skips creations, which
    -- quote nothing.
    if new.kind <> 'message.created' then
        select * into v_event
        from public.message_events as event
        where event.channel_id = new.channel_id and event.seq = new.seq;
    end if;
    select * into v_message from public.messages as message where message.id = new.message_id;
    -- With immediate constraints this runs inside the trigger that numbers the message, before the message exists.
    -- Depth 1 means the end of the transaction or statement.
    if new.kind = 'message.created' and v_message.channel_id is distinct from new.channel_id
        and pg_trigger_depth() = 1
    then
        perform private.require_creation(v_event, v_message);
    end if;
    if v_message.deleted_at is not null then
        v_message := null;
    end if;
    begin
        perform private.send_event(v_event, v_message);
    exception
        when others then
            perform private.report_lost_broadcast('channel:' || new.channel_id, sqlstate, sqlerrm);
    end;
    return null;
end
$$;
comment on function private.broadcast_event_trigger() is
'Sends an event at the end of its transaction. A failed broadcast is only a warning. If the message of the event was not
written, raises an error and so undoes the transaction.';

-- Definer, because only the database sends to these topics.
create function private.broadcast_channel_deletion_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Else a message could take the number of the deletion.
    perform private.lock_channel(old.id);
    begin
        insert into realtime.messages (topic, extension, event, payload, private)
        select
            'channel:' || old.id,
            'broadcast',
            'channel.deleted',
            jsonb_build_object(
                'channel_id', old.id,
                'seq', counter.last_seq + 1,
                'prev_seq', counter.last_seq,
                'created_at', private.format_time(clock_timestamp())
            ),
            true
        from private.channel_counters as counter
        where counter.channel_id = old.id;
    exception
        when others then
            perform private.report_lost_broadcast('channel:' || old.id, sqlstate, sqlerrm);
    end;
    return old;
end
$$;
comment on function private.broadcast_channel_deletion_trigger() is
'Trigger: sends the last event of a channel, its deletion. The log of the channel is deleted with it; the logs of its
members keep the deletion.';
