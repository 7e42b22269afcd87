-- What happened to messages of conversations after they were sent: edits, deletions, reactions, receipts.
-- Promise: the order in which updates arrive, and how often, makes no difference to the messages.

create table public.conversation_updates (
    conversation_id uuid not null references public.conversations (id) on delete cascade,
    external_id text collate "C" not null,
    sender text collate "C" not null,
    type text not null,
    actor text collate "C" not null,
    version text collate "C" not null,
    at timestamptz not null,
    sequence bigint not null,
    value jsonb not null,
    received_at timestamptz not null default now(),
    primary key (conversation_id, external_id, sender, type, actor, version)
);
comment on table public.conversation_updates is
'What happened to messages after they were sent, also to messages that have not come yet. Of each type and actor the
latest is kept, and every text of an edited message. A deleted message keeps no texts, reactions and files.';
comment on column public.conversation_updates.external_id is 'The message''s identifier on its platform.';
comment on column public.conversation_updates.sender is 'The message''s sender in a group, else empty.';
comment on column public.conversation_updates.type is
'edited, deleted, reaction, delivered, read, played, failed, media or pinned.';
comment on column public.conversation_updates.actor is 'Who did it, as the request says; else empty.';
comment on column public.conversation_updates.version is 'Tells apart the texts of a message; else empty.';
comment on column public.conversation_updates.at is 'When it happened, as the platform says: the latest counts.';
comment on column public.conversation_updates.sequence is 'Orders updates with the same at; else 0.';
comment on column public.conversation_updates.value is
'content, media_url, emoji, reason or pinned; or a whole message, if an edit came as the message sent again.';
alter table public.conversation_updates enable row level security;

-- The policy of conversations decides.
create policy conversation_updates_select_reader on public.conversation_updates
for select to authenticated using (
    exists (
        select from public.conversations as conversation where conversation.id = conversation_updates.conversation_id
    )
);

create function private.find_edit_time(p_message jsonb) returns timestamptz
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- edit_date is what Telegram sends, in seconds since 1970.
    return case
        when jsonb_typeof(p_message -> 'edited_at') = 'string' then private.parse_timestamp(p_message ->> 'edited_at')
        when private.scalar_text(p_message, 'edit_date') ~ '^[0-9]{1,11}$'
            then to_timestamp((p_message ->> 'edit_date')::double precision)
    end;
end
$$;
comment on function private.find_edit_time(jsonb) is
'When an ingested message was edited, by its own fields edited_at or edit_date; null if it was not.';

create function private.render_receipts(p_updates public.conversation_updates[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    -- What was read was delivered, and what was delivered did not fail, in whatever order the receipts came.
    return coalesce((
        select jsonb_build_object('status', receipt.type, 'status_at', private.format_time(receipt.at))
            || case
                when receipt.value ? 'reason' then jsonb_build_object('failure', receipt.value -> 'reason') else '{}'
            end
        from unnest(p_updates) as receipt
        where receipt.type in ('failed', 'delivered', 'read', 'played')
        order by
            array_position(array['played', 'read', 'delivered', 'failed'], receipt.type),
            receipt.at desc, receipt.sequence desc, receipt.value::text collate "C" desc
        limit 1
    ), '{}') || coalesce((
        select jsonb_build_object('reactions', coalesce(jsonb_agg(
            jsonb_build_object('emoji', emoji.value, 'at', private.format_time(reaction.at))
            || case when reaction.actor = '' then '{}' else jsonb_build_object('by', reaction.actor) end
            order by reaction.at, reaction.actor, emoji.position
        ) filter (where emoji.value is not null), '[]'))
        from unnest(p_updates) as reaction
        left join lateral jsonb_array_elements_text(reaction.value -> 'emoji')
        with ordinality as emoji (value, position) on true
        where reaction.type = 'reaction'
        having count(*) > 0
    ), '{}') || coalesce((
        select pin.value || case
            when (pin.value ->> 'pinned')::boolean
                then jsonb_build_object('pinned_at', private.format_time(pin.at)) else '{}'
        end
        from unnest(p_updates) as pin
        where pin.type = 'pinned'
        order by pin.at desc, pin.sequence desc, pin.value::text collate "C" desc
        limit 1
    ), '{}');
end
$$;
comment on function private.render_receipts(public.conversation_updates[]) is
'The fields status, status_at, failure, reactions, pinned and pinned_at that updates give a message.';

create function private.render_present_message(p_message jsonb, p_updates public.conversation_updates[]) returns jsonb
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_deleted_at timestamptz := (select max(given.at) from unnest(p_updates) as given where given.type = 'deleted');
    v_written_at timestamptz := coalesce(private.find_edit_time(p_message), '-infinity');
    v_message jsonb := p_message;
    v_edit record;
    v_url jsonb;
begin
    if v_deleted_at is not null then
        return jsonb_build_object(
            'id', p_message -> 'id', 'direction', p_message -> 'direction', 'type', p_message -> 'type', 'content', '',
            'sent_at', p_message -> 'sent_at', 'deleted', true, 'deleted_at', private.format_time(v_deleted_at)
        ) || case when p_message ? 'sender' then jsonb_build_object('sender', p_message -> 'sender') else '{}' end;
    end if;
    for v_edit in
        select given.at, given.value
        from unnest(p_updates) as given
        where given.type = 'edited'
        order by given.at, given.sequence, given.value::text collate "C"
    loop
        if v_edit.at > v_written_at then
            -- A whole message replaces the one before.
            v_message := case
                when v_edit.value ? 'id' then v_edit.value else v_message || v_edit.value
            end || jsonb_build_object('edited_at', private.format_time(v_edit.at));
        elsif v_written_at <> '-infinity' then
            v_message := v_message || jsonb_build_object('edited_at', private.format_time(v_written_at));
        end if;
    end loop;
    -- A version without a file keeps the file that is known.
    select known.url into v_url
    from (
        select given.at, given.sequence, given.value -> 'media_url' as url
        from unnest(p_updates) as given
        where given.type in ('edited', 'media')
        union all
        select v_written_at, 0, p_message -> 'media_url'
    ) as known
    where known.url #>> '{}' is not null
    order by known.at desc, known.sequence desc, known.url::text collate "C" desc
    limit 1;
    return v_message
        || case when v_url is null then '{}' else jsonb_build_object('media_url', v_url) end
        || private.render_receipts(p_updates);
end
$$;
comment on function private.render_present_message(jsonb, public.conversation_updates[]) is
'A message as it is after its updates. The result does not depend on their order.';
