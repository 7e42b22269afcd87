-- What Realtime is told, who may listen, and how a client learns what it missed. A broadcast is a hint that may get
-- lost; the event log is the truth. Both say the same of an event.

create function private.my_topics() returns setof text
language sql
stable
set search_path = ''
as $$
    select 'channel:' || mine.id from private.my_channels as mine
    union all
    select 'twin:' || mine.id from private.my_twins as mine
    union all
    select 'inbox:' || (select auth.uid())
$$;
comment on function private.my_topics() is
'The topics that the caller may listen to and nobody but the database sends to. Topics are compared as text: whatever
is not written exactly so is none of them.';
revoke all on function private.my_topics() from public, anon, authenticated, service_role;
grant execute on function private.my_topics() to authenticated;

create function private.my_live_topics() returns setof text
language sql
stable
set search_path = ''
as $$
    select 'channel:' || mine.id || ':live' from private.my_channels as mine
$$;
comment on function private.my_live_topics() is
'The topics on which the caller and the other members of a channel tell each other who is there and who types.';
revoke all on function private.my_live_topics() from public, anon, authenticated, service_role;
grant execute on function private.my_live_topics() to authenticated;

-- Realtime asks with rows that have a topic and an extension and nothing else, so no policy may look at more.
create policy messages_select_listener on realtime.messages
for select to authenticated
using (
    (extension = 'broadcast' and topic in (select private.my_topics()))
    or (extension in ('broadcast', 'presence') and topic in (select private.my_live_topics()))
);
create policy messages_insert_live_member on realtime.messages
for insert to authenticated
with check (extension in ('broadcast', 'presence') and topic in (select private.my_live_topics()));

-- Policies of the application cannot open our topics: many let everybody hear and send everything.
create policy messages_select_listener_only on realtime.messages
as restrictive for select to authenticated
using (
    topic !~ '^(inbox|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$'
    or topic in (select private.my_topics())
    or topic in (select private.my_live_topics())
);
create policy messages_insert_live_member_only on realtime.messages
as restrictive for insert to authenticated
with check (
    topic !~ '^(inbox|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$'
    or topic in (select private.my_live_topics())
);
create policy messages_select_anon on realtime.messages
as restrictive for select to anon
using (topic !~ '^(inbox|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$');
create policy messages_insert_anon on realtime.messages
as restrictive for insert to anon
with check (topic !~ '^(inbox|twin|channel):[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:live)?$');

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
            p_event.mark_id, p_event.message_id, p_event.actor_id, p_event.emoji, p_event.marked_at
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
        v_pin := private.render_pin(p_event.actor_id, p_event.marked_at);
        v_numbers := v_numbers || jsonb_build_object('updated_at', private.format_time(p_event.marked_at));
    elsif p_event.kind = 'message.updated' then
        v_pin := (
            select case when mark.kind = 'message.pinned' then private.render_pin(mark.actor_id, mark.marked_at) end
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
revoke all on function private.render_event(public.message_events, public.messages)
from public, anon, authenticated, service_role;

create function private.lose_broadcast(p_topic text, p_sqlstate text, p_message text) returns void
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
comment on function private.lose_broadcast(text, text, text) is
'What becomes of a broadcast that fails: a warning, so that the write it tells of stays. An error under the setting
threadline.strict_realtime, which is for tests.';
revoke all on function private.lose_broadcast(text, text, text) from public, anon, authenticated, service_role;

create function private.point_to(p_payload jsonb) returns jsonb
language sql
immutable
set search_path = ''
as $$
    select jsonb_object_agg(field.key, field.value) || '{"truncated": true}'
    from jsonb_each(p_payload) as field
    where field.key in ('id', 'channel_id', 'seq', 'prev_seq')
$$;
comment on function private.point_to(jsonb) is 'What is broadcast of a payload that is too large for it.';
revoke all on function private.point_to(jsonb) from public, anon, authenticated, service_role;

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
                    then private.point_to(told.payload)
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
revoke all on function private.send_events(uuid, bigint) from public, anon, authenticated, service_role;

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
        raise sqlstate 'PT409' using
            message = 'A trigger of the application dropped this message after it had been numbered.',
            detail = 'message_dropped',
            hint = 'By its name, let it run before messages_before_insert_admit.';
    end if;
end
$$;
comment on function private.verify_creations(uuid, bigint) is
'For the end of a transaction: an error, which undoes it, when the log of a channel tells of a message that was not
written after all. PT409 where a trigger dropped it, 40001 where another channel got its id at the same moment.';
revoke all on function private.verify_creations(uuid, bigint) from public, anon, authenticated, service_role;

-- Definer, because only the database sends to these topics.
create function private.broadcast_events() returns trigger
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
            perform private.lose_broadcast('channel:' || new.channel_id, sqlstate, sqlerrm);
    end;
    -- Where constraints are immediate, an event is told of before the message that it is about is written.
    if not v_is_complete and pg_trigger_depth() = 1 then
        perform private.verify_creations(new.channel_id, new.seq);
    end if;
    return null;
end
$$;
comment on function private.broadcast_events() is
'Trigger: tells listeners of the events of a transaction as it commits. What cannot be sent is lost to them and nobody
else; what the log should not tell undoes the transaction.';
revoke all on function private.broadcast_events() from public, anon, authenticated, service_role;

-- At the end of the transaction, since an event is written before the message that it is about.
create constraint trigger message_events_after_insert_broadcast after insert on public.message_events
deferrable initially deferred
for each row execute function private.broadcast_events();

create function private.render_conversation(p_conversation public.conversations, p_added bigint, p_messages jsonb)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
    return jsonb_build_object(
        'conversation', to_jsonb(p_conversation),
        'messages_added', p_added,
        'messages', coalesce(p_messages, '[]')
    ) || case when p_messages is null then jsonb_build_object('truncated', true) else '{}' end;
end
$$;
comment on function private.render_conversation(public.conversations, bigint, jsonb) is
'What an inbox is told: the record as the Data API shows it, how many messages came, and the messages unless they are
null, which is too many to send.';
revoke all on function private.render_conversation(public.conversations, bigint, jsonb)
from public, anon, authenticated, service_role;

create function private.mark_told(p_versions text) returns void
language plpgsql
set search_path = ''
as $$
begin
    perform set_config(
        'threadline.told', concat_ws(' ', nullif(current_setting('threadline.told', true), ''), p_versions), true
    );
end
$$;
comment on function private.mark_told(text) is
'Remembers for the rest of the transaction which versions of conversations, as id and ctid, their owners were told of.';
revoke all on function private.mark_told(text) from public, anon, authenticated, service_role;

-- Definer, because only the database sends to inboxes. Times are written in UTC, as the Data API does.
create function private.broadcast_new_messages() returns trigger
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
    v_told text;
begin
    with counted as (
        select changed.conversation_id, count(*) as added from changed group by changed.conversation_id
    ), grown as materialized (
        select
            found.conversation,
            found.version,
            counted.added,
            settings.broadcast_max_bytes as max_bytes,
            counted.added <= settings.broadcast_max_messages as is_short
        from counted
        cross join private.settings as settings
        -- The limit keeps the planner from reading the whole table, however small it was when the plan was made.
        cross join lateral (
            select conversation, conversation.ctid as version
            from public.conversations as conversation
            where conversation.id = counted.conversation_id
            limit 1
        ) as found
    ), listed as (
        select
            changed.conversation_id,
            jsonb_agg(changed.message order by changed.sent_at, changed.external_id) as messages
        from changed
        inner join grown on changed.conversation_id = (grown.conversation).id and grown.is_short
        group by changed.conversation_id
    ), sent as (
        insert into realtime.messages (topic, extension, event, payload, private)
        select
            'inbox:' || (grown.conversation).user_id,
            'broadcast',
            -- Both are the time of this transaction for a conversation that it has made.
            case
                when (grown.conversation).created_at = now() then 'conversation.created'
                else 'conversation.updated'
            end,
            private.render_conversation(
                grown.conversation, grown.added,
                case when octet_length(listed.messages::text) <= grown.max_bytes then listed.messages end
            ),
            true
        from grown
        left join listed on (grown.conversation).id = listed.conversation_id
    )

    select string_agg((grown.conversation).id::text || grown.version::text, ' ') into v_told from grown;
    perform private.mark_told(v_told);
    return null;
exception
    when others then
        perform private.lose_broadcast('inboxes', sqlstate, sqlerrm);
        return null;
end
$$;
comment on function private.broadcast_new_messages() is
'Trigger: tells owners of new messages, once for each conversation and statement.';
revoke all on function private.broadcast_new_messages() from public, anon, authenticated, service_role;

-- After the trigger that summarizes: triggers of an event run in the order of their names.
create trigger conversation_messages_after_insert_tell after insert on public.conversation_messages
referencing new table as changed
for each statement execute function private.broadcast_new_messages();

-- Definer, because only the database sends to inboxes.
create function private.broadcast_conversation() returns trigger
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
    v_told text := coalesce(current_setting('threadline.told', true), '');
    v_found record;
begin
    -- Most are told with their first messages, in the transaction that makes them.
    if tg_op = 'INSERT' and position(new.id::text in v_told) > 0 then
        return null;
    end if;
    begin
        select conversation as record, conversation.id::text || conversation.ctid::text as version into v_found
        from public.conversations as conversation
        where conversation.id = new.id;
        if v_found.version is null or position(v_found.version in v_told) > 0 then
            return null;
        end if;
        insert into realtime.messages (topic, extension, event, payload, private)
        values (
            'inbox:' || (v_found.record).user_id,
            'broadcast',
            case when (v_found.record).created_at = now() then 'conversation.created' else 'conversation.updated' end,
            private.render_conversation(v_found.record, 0, '[]'),
            true
        );
        perform private.mark_told(v_found.version);
    exception
        when others then
            perform private.lose_broadcast('inbox:' || new.user_id, sqlstate, sqlerrm);
    end;
    return null;
end
$$;
comment on function private.broadcast_conversation() is
'Trigger: tells the owner of a conversation that is new or is with somebody else, unless its messages just did.';
revoke all on function private.broadcast_conversation() from public, anon, authenticated, service_role;

-- At the end of the transaction, when it is known whether messages came, too.
create constraint trigger conversations_after_insert_broadcast after insert on public.conversations
deferrable initially deferred
for each row execute function private.broadcast_conversation();

create constraint trigger conversations_after_update_broadcast after update on public.conversations
deferrable initially deferred
for each row when (
    (old.participant_identifier, old.participant_name, old.person_id)
    is distinct from (new.participant_identifier, new.participant_name, new.person_id)
)
execute function private.broadcast_conversation();

-- Definer, because policies would be asked for each event again; it asks once, and itself.
create function private.read_events(p_channel_id uuid, p_since bigint, p_limit integer)
returns table (seq bigint, kind text, payload jsonb)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    if (select auth.role()) is distinct from 'service_role'
        and p_channel_id not in (select mine.id from private.my_channels as mine)
    then
        return;
    end if;
    return query
    select event.seq, event.kind, private.render_event(event, said.message)
    from public.message_events as event
    -- Of this channel, whatever the event says: a member is told of nothing else. The limit is for the planner.
    left join lateral (
        select message from public.messages as message
        where message.id = event.message_id and message.channel_id = p_channel_id and message.deleted_at is null
        limit 1
    ) as said on true
    where event.channel_id = p_channel_id and event.seq > p_since
    order by event.seq
    limit p_limit;
end
$$;
comment on function private.read_events(uuid, bigint, integer) is
'The events of a channel after a number, in order, for its members.';
revoke all on function private.read_events(uuid, bigint, integer) from public, anon, authenticated, service_role;
grant execute on function private.read_events(uuid, bigint, integer) to authenticated, service_role;

create function public.list_channel_events(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_channel_id uuid := private.read_uuid($1, 'channel_id');
    v_limit integer := private.read_integer($1, 'limit', 1, 1000, 200);
    v_since text := coalesce($1 ->> 'since', '0');
    v_page record;
begin
    if v_since !~ '^[0-9]{1,18}$' then
        perform private.fail(400, 'invalid_field', 'since must be a whole number, the seq of an event.', 'since');
    end if;
    perform private.require_channel(v_channel_id);
    with rendered as (
        select
            event.*,
            row_number() over (order by event.seq) as number,
            sum(octet_length(event.payload::text)) over (order by event.seq) as bytes
        from private.read_events(v_channel_id, v_since::bigint, v_limit + 1) as event
    )

    select
        -- A megabyte is enough for one answer, though never less than one event.
        coalesce(jsonb_agg(
            jsonb_build_object('event', found.kind, 'payload', found.payload) order by found.seq
        ) filter (where found.is_in), '[]') as events,
        max(found.seq) filter (where found.is_in) as last_seq,
        count(*) filter (where not found.is_in) > 0 as has_more
    into v_page
    from (
        select rendered.*, rendered.number <= v_limit and (rendered.number = 1 or rendered.bytes <= 1000000) as is_in
        from rendered
    ) as found;
    return private.succeed(v_page.events, jsonb_build_object(
        'last_seq', coalesce(v_page.last_seq, (
            select least(v_since::bigint, max(event.seq))
            from public.message_events as event
            where event.channel_id = v_channel_id
        ), 0),
        'has_more', v_page.has_more
    ));
end
$$;
comment on function public.list_channel_events(jsonb) is
'GET /api/v2/channels/:id/events: channel_id, and optionally since (0) and limit (1 to 1,000, 200). What was broadcast
to a channel after the event with that number, in order: event and payload of each. meta.last_seq is the since of the
next call, meta.has_more whether it would answer something.';
revoke all on function public.list_channel_events(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.list_channel_events(jsonb) to authenticated, service_role;

do $$
begin
    -- For clients that use postgres_changes. Elsewhere than on Supabase there is no such publication.
    if exists (select from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
        if not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'conversations'
        ) then
            alter publication supabase_realtime add table public.conversations;
        end if;
        if not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'messages'
        ) then
            alter publication supabase_realtime add table public.messages;
        end if;
        if not exists (
            select from pg_publication_tables
            where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'message_reactions'
        ) then
            alter publication supabase_realtime add table public.message_reactions;
        end if;
    end if;
end
$$;
