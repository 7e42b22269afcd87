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
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$
    select
        jsonb_object_agg(field.key, field.value)
        || jsonb_strip_nulls(jsonb_build_object('truncated', true, 'topic', p_topic))
    from jsonb_each(p_payload) as field
    where field.key in ('id', 'channel_id', 'seq', 'prev_seq')
$$;
comment on function private.render_pointer(jsonb, text) is
'The stub that is sent instead of an oversized payload, or while the channel is sealed: then with the topic that
has it.';

-- Inserts directly, because realtime.send hides errors, adds fields to payloads, and opens a subtransaction per call.
create function private.send_events(
    p_channel_id uuid, p_since bigint, out last_seq bigint, out is_complete boolean
)
language plpgsql
set search_path = pg_catalog, pg_temp
-- A generic plan, because a custom plan takes longer than the query. The two LIMITs must stay: without them the generic
-- plan expects a third of the channel, scans whole tables, and may trigger JIT for half a second (decision 0007).
set plan_cache_mode = 'force_generic_plan'
as $$
begin
    with counter as materialized (
        select
            known.sealed_after,
            -- Null unless a former member may still listen to channel:<id> (decision 0014).
            case when known.sealed_until > clock_timestamp()
                then format('channel:%s:%s', p_channel_id, known.topic_turn) end as sealed_topic
        from private.channel_counters as known where known.channel_id = p_channel_id limit 1
    ), rendered as materialized (
        select event.seq, event.kind, found.message, private.render_event(event, found.message) as payload
        from public.message_events as event
        left join lateral (
            select message from public.messages as message
            where message.id = event.message_id and message.deleted_at is null
            limit 1
        ) as found on true
        where event.channel_id = p_channel_id and event.seq >= p_since
        order by event.seq
        limit 100
    ), written as (
        insert into realtime.messages (id, topic, extension, event, payload, private)
        select
            private.broadcast_id(p_channel_id, rendered.seq, listener.listener_id),
            listener.topic,
            'broadcast',
            rendered.kind,
            case
                when listener.listener_id is null
                    and counter.sealed_topic is not null and rendered.seq > counter.sealed_after
                    then private.render_pointer(rendered.payload, counter.sealed_topic)
                when octet_length(rendered.payload::text) > (select settings.broadcast_max_bytes from private.settings)
                    then private.render_pointer(rendered.payload)
                else rendered.payload
            end,
            true
        from rendered
        cross join counter
        cross join lateral (
            select 'channel:' || p_channel_id as topic, null::uuid as listener_id
            union all
            select counter.sealed_topic, p_channel_id
            where counter.sealed_topic is not null and rendered.seq > counter.sealed_after
            union all
            -- The twins that the outbox would serve if they had webhooks.
            select 'twin:' || assigned.ai_twin_id, assigned.ai_twin_id
            from public.channel_twins as assigned
            where rendered.kind = 'message.created'
                and assigned.channel_id = p_channel_id
                and assigned.ai_twin_id is distinct from (rendered.message).ai_twin_id
                and (rendered.message).hops <= (select settings.twin_max_hops from private.settings)
        ) as listener
        order by rendered.seq
    )

    select
        max(rendered.seq),
        bool_and(rendered.kind <> 'message.created' or coalesce((rendered.message).channel_id = p_channel_id, false))
    into last_seq, is_complete
    from rendered;
end
$$;
comment on function private.send_events(uuid, bigint) is
'Sends up to 100 events of a channel, starting at a number, to the channel, and new messages also to its twins. Sends a
stub instead of an oversized payload. A sealed channel gets stubs, and its current turn the payloads. Returns the last
number, and whether each new message exists.';

create function private.verify_creations(p_channel_id uuid, p_since bigint) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_missing uuid := (
        select event.message_id
        from public.message_events as event
        where event.channel_id = p_channel_id and event.seq >= p_since and event.kind = 'message.created'
            and not exists (
                select from public.messages as message
                where message.id = event.message_id and message.channel_id = p_channel_id
            )
            and not exists (
                select from public.message_events as later
                where later.channel_id = p_channel_id and later.seq > event.seq
                    and later.message_id = event.message_id and later.kind = 'message.deleted'
            )
        limit 1
    );
begin
    if exists (select from public.messages as message where message.id = v_missing) then
        raise serialization_failure using message = 'The same message was written to two channels at once.';
    elsif v_missing is not null then
        perform private.fail(
            409, 'message_dropped',
            'A trigger of the application dropped this message after it was numbered. '
            'Give that trigger a name that sorts before messages_10_admit.'
        );
    end if;
end
$$;
comment on function private.verify_creations(uuid, bigint) is
'Raises an error if the log of a channel has the creation of a message that was not written. PT409 if a trigger dropped
the message, 40001 if another channel took its id at the same time (decision 0009).';

-- Definer, because only the database sends to these topics.
create function private.broadcast_events_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_sent jsonb := coalesce(nullif(current_setting('threadline.sent_events', true), ''), '{}')::jsonb;
    v_sent_events record;
    v_is_complete boolean := false;
begin
    -- The first event sends all events of this transaction in this channel. Their numbers are consecutive, because the
    -- transaction holds the lock of the channel.
    if new.seq <= (v_sent ->> new.channel_id::text)::bigint then
        return null;
    end if;
    begin
        v_sent_events := private.send_events(new.channel_id, new.seq);
        v_is_complete := v_sent_events.is_complete;
        v_sent := v_sent || jsonb_build_object(new.channel_id, v_sent_events.last_seq);
        perform set_config('threadline.sent_events', v_sent::text, true);
    exception
        when others then
            perform private.report_lost_broadcast('channel:' || new.channel_id, sqlstate, sqlerrm);
    end;
    -- With immediate constraints this runs inside the trigger that numbers the message: the message does not exist yet.
    -- Depth 1 means the end of the transaction or statement.
    if not v_is_complete and pg_trigger_depth() = 1 then
        perform private.verify_creations(new.channel_id, new.seq);
    end if;
    return null;
end
$$;
comment on function private.broadcast_events_trigger() is
'Sends the events of a transaction at its end. A failed broadcast is only a warning; an event of a message that was
not written undoes the transaction.';

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
'Trigger: tells the listeners of a channel that it is deleted, as its last event. Its log is deleted with it; the logs of
its members keep the deletion.';
