-- Gone is gone: what was deleted, edited or erased leaves every place that repeats it.
-- Realtime replays broadcasts for three days, to later members too; keys of idempotent requests keep answers.

create function private.redact_broadcasts(p_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    update realtime.messages as sent set payload = private.render_pointer(sent.payload)
    where sent.id = any(p_ids) and sent.extension = 'broadcast';
exception
    when others then
        perform private.report_lost_broadcast('redacted', sqlstate, sqlerrm);
end
$$;
comment on function private.redact_broadcasts(uuid[]) is
'Replaces what Realtime would replay by pointers. A failure is reported and harms no writer.';

-- Definer, because it also runs when Supabase Auth deletes a user, and no client changes these tables.
create function private.forget_messages(p_channel_ids uuid[], p_ids uuid[], p_seqs bigint[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    perform private.redact_broadcasts(array(
        select private.broadcast_id(created.channel_id, created.seq, listener.id)
        from unnest(p_channel_ids, p_seqs) as created (channel_id, seq)
        cross join lateral (
            select null::uuid as id
            union all
            select created.channel_id
            union all
            select assigned.ai_twin_id
            from public.channel_twins as assigned
            where assigned.channel_id = created.channel_id
        ) as listener
        union all
        select private.broadcast_id(event.channel_id, event.seq, listener.id)
        from public.message_events as event
        cross join lateral (values (null::uuid), (event.channel_id)) as listener (id)
        where event.message_id = any(p_ids) and event.kind <> 'message.created'
    ));
    -- What the model said of the channel may quote the text.
    delete from private.summaries as known where known.channel_id = any(p_channel_ids) and known.answer is not null;
end
$$;
comment on function private.forget_messages(uuid[], uuid[], bigint[]) is
'Removes the text of messages from broadcasts and summaries: channel, id and number of each.';

-- Definer, for the same reason.
create function private.forget_deleted_messages(p_channel_ids uuid[], p_ids uuid[], p_seqs bigint[]) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_files uuid[] := array(
        select file.attachment_id from private.message_files as file where file.message_id = any(p_ids)
    );
begin
    perform private.forget_messages(p_channel_ids, p_ids, p_seqs);
    update public.message_events as event set emoji = null
    where event.message_id = any(p_ids) and event.kind <> 'message.created' and event.emoji is not null;
    delete from public.message_edits as edit where edit.message_id = any(p_ids);
    delete from public.message_reactions as reaction where reaction.message_id = any(p_ids);
    delete from public.message_pins as pin where pin.message_id = any(p_ids);
    -- A repeated request gets what a read would get.
    update private.idempotency_keys as known
    set (status, body) = (
        select failure.status, failure.body
        from private.render_failure(
            'PT404', 'This message does not exist, or you may not see it.', 'message_not_found', '', ''
        ) as failure
    )
    where known.message_id = any(p_ids);
    delete from public.attachments as attachment
    where attachment.id = any(v_files)
        and not exists (
            select from private.message_files as used
            inner join public.messages as message on used.message_id = message.id
            where used.attachment_id = attachment.id and message.deleted_at is null
        );
end
$$;
comment on function private.forget_deleted_messages(uuid[], uuid[], bigint[]) is
'Removes all that is left of deleted messages: versions, reactions, pins, stored answers, and files that no other
message names.';

-- Definer, because no client changes what repeats a message.
create function private.forget_message_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.deleted_at is not null then
        perform private.forget_deleted_messages(array[new.channel_id], array[new.id], array[new.seq]);
    else
        perform private.forget_messages(array[new.channel_id], array[new.id], array[new.seq]);
        -- Members may read the earlier versions, but a repeated request shows the present one.
        update private.idempotency_keys as known
        set body = jsonb_set(known.body::jsonb, '{data,content}', to_jsonb(new.content))::text
        where known.message_id = new.id and known.body::jsonb #>> '{data,content}' is not null;
    end if;
    return null;
end
$$;
comment on function private.forget_message_trigger() is
'Forgets the text of a message that was edited or deleted.';

-- Definer, because it also runs when Supabase Auth deletes a user.
create function private.forget_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform private.forget_deleted_messages(
        array(select removed.channel_id from removed order by removed.id),
        array(select removed.id from removed order by removed.id),
        array(select removed.seq from removed order by removed.id)
    );
    return null;
end
$$;
comment on function private.forget_messages_trigger() is 'Forgets messages whose rows were deleted.';

-- Definer, because only the database sends to these topics.
create function private.redact_channel_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
declare
    v_channel_id uuid := (to_jsonb(old) ->> case tg_table_name when 'channels' then 'id' else 'channel_id' end)::uuid;
begin
    -- The newest 10,000 events, because older ones are hardly in the three days that Realtime keeps.
    perform private.redact_broadcasts(array(
        select private.broadcast_id(v_channel_id, event.seq, listener.id)
        from (
            select recent.seq, recent.kind
            from public.message_events as recent
            where recent.channel_id = v_channel_id
            order by recent.seq desc
            limit 10000
        ) as event
        cross join lateral (
            select own.id
            from (values (null::uuid), (v_channel_id)) as own (id)
            where tg_table_name = 'channels'
            union all
            select assigned.ai_twin_id
            from public.channel_twins as assigned
            where event.kind = 'message.created'
                and assigned.channel_id = v_channel_id
                and assigned.ai_twin_id = coalesce((to_jsonb(old) ->> 'ai_twin_id')::uuid, assigned.ai_twin_id)
        ) as listener
    ));
    return old;
end
$$;
comment on function private.redact_channel_trigger() is
'Redacts the broadcasts of a channel that is deleted, or those to a twin that leaves it.';

create function private.redact_conversations(p_ids text[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set plan_cache_mode = 'force_custom_plan'
as $$
begin
    if p_ids = '{}' then
        return;
    end if;
    update realtime.messages as sent
    set payload = jsonb_build_object(
        'conversation', jsonb_build_object('id', sent.payload #> '{conversation,id}'), 'truncated', true
    )
    -- All inboxes, because the conversation may have had another owner.
    where sent.extension = 'broadcast' and sent.private and sent.topic ~ '^(inbox|workspace):'
        and sent.payload #>> '{conversation,id}' = any(p_ids);
exception
    when others then
        perform private.report_lost_broadcast('inboxes', sqlstate, sqlerrm);
end
$$;
comment on function private.redact_conversations(text[]) is
'Turns the broadcasts of conversations into pointers. A failure is reported and harms no writer.';

-- Definer, for the same reason.
create function private.redact_inbox_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids text[];
begin
    -- The old rows are conversations or messages of conversations.
    v_ids := array(select distinct coalesce(to_jsonb(gone) ->> 'conversation_id', to_jsonb(gone) ->> 'id') from gone);
    perform private.redact_conversations(v_ids);
    -- A summary may quote the text, also one that the model writes now.
    delete from private.summaries as known where known.conversation_id = any(v_ids::uuid[]);
    return null;
end
$$;
comment on function private.redact_inbox_trigger() is
'Redacts the broadcasts of conversations that were deleted or lost messages, and deletes their summaries.';

-- Definer, for the same reason.
create function private.redact_deleted_messages_trigger() returns trigger
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_ids text[] := array(
        select distinct gone.conversation_id::text
        from gone
        inner join changed using (conversation_id, external_id, sender)
        where gone.deleted_at is null and changed.deleted_at is not null
    );
begin
    if v_ids <> '{}' then
        perform private.redact_conversations(v_ids);
        -- finish_summary refuses those that the model writes now.
        delete from private.summaries as known
        where known.conversation_id = any(v_ids::uuid[]) and known.answer is not null;
    end if;
    return null;
end
$$;
comment on function private.redact_deleted_messages_trigger() is
'Redacts the broadcasts of conversations in which a sender deleted a message, and deletes their summaries.';
