-- Broadcasts of channel events. A broadcast is a hint that may get lost; the event log is the truth.

create function private.render_event(p_event public.message_events, p_message public.messages) returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
    v_numbers jsonb := jsonb_build_object('seq', p_event.seq, 'prev_seq', p_event.seq - 1);
    v_pin jsonb;
begin
    if p_event.kind in ('reaction.added', 'reaction.removed') then
        return v_numbers || private.render_reaction(
            p_event.reaction_id, p_event.message_id, p_event.actor_id, p_event.emoji, p_event.added_at
        );
    elsif p_event.kind in ('member.joined', 'member.left') then
        return v_numbers || jsonb_build_object(
            'channel_id', p_event.channel_id,
            'user_id', p_event.actor_id,
            'created_at', private.format_time(p_event.created_at)
        );
    elsif p_event.kind = 'message.deleted' then
        return v_numbers || jsonb_build_object(
            'id', p_event.message_id, 'deleted_at', private.format_time(p_event.created_at)
        );
    elsif p_message.id is null then
        return v_numbers || jsonb_build_object('id', p_event.message_id, 'deleted', true);
    end if;
    -- What it said then, if it says something else now.
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
            select case when mark.kind = 'message.pinned' then private.render_pin(mark.actor_id, mark.added_at) end
            from public.message_events as mark
            where mark.message_id = p_event.message_id
                and mark.seq < p_event.seq
                and mark.kind in ('message.pinned', 'message.unpinned')
            order by mark.seq desc
            limit 1
        );
    end if;
    return private.render_message(p_message, v_pin) || v_numbers;
end
$$;
comment on function private.render_event(public.message_events, public.messages) is
'What an event says, to listeners and to those who catch up: the data that the call which caused it answered, with seq
and prev_seq; as it was then, even if the message was edited or unpinned since. Of one that is gone, which is a message
of nulls: id and deleted.';

create function private.report_lost_broadcast(p_topic text, p_sqlstate text, p_message text) returns void
language plpgsql
set search_path = ''
as $$
begin
    if coalesce(nullif(current_setting('threadline.strict_realtime', true), '')::boolean, false) then
        raise exception using errcode = p_sqlstate, message = p_message;
    elsif p_sqlstate <> '23514' then
        -- That would be a missing partition: Realtime makes them when clients connect, so nobody is listening.
        -- By this code, of the class of warnings, the service knows it.
        raise warning using
            errcode = '01TL1', message = format('A broadcast to %s is lost: %s', p_topic, p_message), detail = p_sqlstate;
    end if;
end
$$;
comment on function private.report_lost_broadcast(text, text, text) is
'What becomes of a broadcast that fails: a warning, so that the write it tells of stays. An error under the setting
threadline.strict_realtime, which is for tests.';

create function private.render_pointer(p_payload jsonb) returns jsonb
language sql
immutable
set search_path = ''
as $$
    select jsonb_object_agg(field.key, field.value) || '{"truncated": true}'
    from jsonb_each(p_payload) as field
    where field.key in ('id', 'channel_id', 'seq', 'prev_seq')
$$;
comment on function private.render_pointer(jsonb) is 'What is broadcast of a payload that is too large for it.';

-- It writes the table itself: realtime.send would hide from us what fails, write into payloads, and open a
-- subtransaction for each.
create function private.send_events(
    p_channel_id uuid, p_since bigint, out last_seq bigint, out is_complete boolean
)
language plpgsql
set search_path = ''
-- To plan it for each number anew, as Postgres would, takes longer than to run it. The limits keep such a plan from
-- expecting a third of the channel: it would read whole tables, or be compiled, which takes half a second.
set plan_cache_mode = 'force_generic_plan'
as $$
begin
    with told as materialized (
        select event.seq, event.kind, said.message, private.render_event(event, said.message) as payload
        from public.message_events as event
        left join lateral (
            select message from public.messages as message
            where message.id = event.message_id and message.deleted_at is null
            limit 1
        ) as said on true
        where event.channel_id = p_channel_id and event.seq >= p_since
        order by event.seq
        limit 100
    ), written as (
        insert into realtime.messages (topic, extension, event, payload, private)
        select
            listening.topic,
            'broadcast',
            told.kind,
            case
                when octet_length(told.payload::text) > (select settings.broadcast_max_bytes from private.settings)
                    then private.render_pointer(told.payload)
                else told.payload
            end,
            true
        from told
        cross join lateral (
            select 'channel:' || p_channel_id as topic
            union all
            -- Those twins that it would be forwarded to if they had webhooks.
            select 'twin:' || assigned.ai_twin_id
            from public.channel_twins as assigned
            where told.kind = 'message.created'
                and assigned.channel_id = p_channel_id
                and assigned.ai_twin_id is distinct from (told.message).ai_twin_id
                and (told.message).hops <= (select settings.twin_max_hops from private.settings)
        ) as listening
        order by told.seq
    )

    select
        max(told.seq),
        bool_and(told.kind <> 'message.created' or coalesce((told.message).channel_id = p_channel_id, false))
    into last_seq, is_complete
    from told;
end
$$;
comment on function private.send_events(uuid, bigint) is
'Sends the events of a channel from a number on to the channel, and to the twins that hear of them; what is larger than
a broadcast may be, as a pointer: a hundred at most. Answers the last number, and whether each new message is there.';

create function private.verify_creations(p_channel_id uuid, p_since bigint) returns void
language plpgsql
set search_path = ''
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
'For the end of a transaction: an error, which undoes it, when the log of a channel tells of a message that was not
written after all. PT409 where a trigger dropped it, 40001 where another channel got its id at the same moment.';

-- Definer, because only the database sends to these topics.
create function private.broadcast_events_trigger() returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_sent jsonb := coalesce(nullif(current_setting('threadline.sent_events', true), ''), '{}')::jsonb;
    v_told record;
    v_is_complete boolean := false;
begin
    -- Events of this transaction in this channel are sent with the first of them: their numbers follow each other, since
    -- the transaction has held the channel from there on.
    if new.seq <= (v_sent ->> new.channel_id::text)::bigint then
        return null;
    end if;
    begin
        v_told := private.send_events(new.channel_id, new.seq);
        v_is_complete := v_told.is_complete;
        v_sent := v_sent || jsonb_build_object(new.channel_id, v_told.last_seq);
        perform set_config('threadline.sent_events', v_sent::text, true);
    exception
        when others then
            perform private.report_lost_broadcast('channel:' || new.channel_id, sqlstate, sqlerrm);
    end;
    -- Where constraints are immediate, an event is told of before the message that it is about is written.
    if not v_is_complete and pg_trigger_depth() = 1 then
        perform private.verify_creations(new.channel_id, new.seq);
    end if;
    return null;
end
$$;
comment on function private.broadcast_events_trigger() is
'Trigger: tells listeners of the events of a transaction as it commits. What cannot be sent is lost to them and nobody
else; what the log should not tell undoes the transaction.';
