-- Summaries: what Claude wrote about the newest messages of a channel, stored for a day.
-- Promise: at most one caller at a time asks the model about one state of a channel. It has the lease; the others poll
-- for its answer. A lease that expires goes to the next caller, so a process that dies blocks no caller.
-- Transcripts are not stored.

create function private.is_my_conversation(p_conversation_id uuid) returns boolean
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
    return exists (
        select from public.conversations as conversation
        where conversation.id = p_conversation_id
            and (
                (select private.is_service())
                or exists (select from private.my_workspaces as mine where mine.id = conversation.workspace_id)
            )
    );
end
$$;
comment on function private.is_my_conversation(uuid) is 'Whether a conversation is in a workspace of the caller.';

-- Definer, because no client role may write summaries. One of the first two arguments is null.
create function private.lease_summary(
    p_channel_id uuid, p_conversation_id uuid, p_last_seq bigint, p_count integer, p_model text,
    p_prompt_version integer, p_lease_seconds integer,
    out id uuid, out lease uuid, out max_bytes integer, out recent_days integer
)
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if p_conversation_id is not null and not private.is_my_conversation(p_conversation_id) then
        perform private.fail(404, 'conversation_not_found', 'There is no such conversation.', 'conversation_id');
    elsif p_conversation_id is null and private.is_non_member(p_channel_id) then
        perform private.fail(404, 'channel_not_found', 'There is no such channel.', 'channel_id');
    end if;
    -- Deletes outdated summaries. Polling callers have five minutes to read a summary after it is finished.
    delete from private.summaries as old
    where old.id = any(array(
        select known.id
        from private.summaries as known
        where coalesce(known.finished_at, known.lease_expires_at)
            < now() - (select make_interval(days => settings.summary_days) from private.settings)
            or (
                (known.channel_id = p_channel_id or known.conversation_id = p_conversation_id)
                and known.last_seq < p_last_seq
                and coalesce(known.finished_at, known.lease_expires_at) < now() - interval '5 minutes'
            )
        limit 100
        for update skip locked
    ));
    -- The unique constraint gives the lease to one of several concurrent callers; the others wait for its commit.
    insert into private.summaries as known (
        channel_id, conversation_id, last_seq, requested_count, model, prompt_version, lease_expires_at
    )
    values (
        p_channel_id, p_conversation_id, p_last_seq, p_count, p_model, p_prompt_version,
        now() + make_interval(secs => p_lease_seconds)
    )
    on conflict on constraint summaries_request_unique do update
    set
        lease = excluded.lease, lease_expires_at = excluded.lease_expires_at, leased_at = now(),
        is_counted = false, failure = null, finished_at = null
    where known.answer is null and (known.failure is not null or known.lease_expires_at < now())
    returning known.id, known.lease into lease_summary.id, lease_summary.lease;
    if lease is not null then
        if not private.is_service() then
            perform private.spend_summary();
        end if;
        select settings.summary_max_bytes, settings.summary_recent_days into max_bytes, recent_days
        from private.settings;
    end if;
end
$$;
comment on function private.lease_summary(uuid, uuid, bigint, integer, text, integer, integer) is
'Takes the lease of a summary for p_lease_seconds, unless another caller has it or the summary is finished. Returns the
id, the lease, how many bytes of text may be sent, and how many days are recent; all are null if it took no lease. PT429
above the daily limit.';

-- Definer, because no client role may read summaries. It checks that the caller may see the channel or conversation.
create function private.find_summary(
    p_channel_id uuid, p_conversation_id uuid, p_last_seq bigint, p_count integer, p_model text,
    p_prompt_version integer,
    out id uuid, out answer jsonb
)
language plpgsql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    select known.id, known.answer
    into id, answer
    from private.summaries as known
    where (known.channel_id = p_channel_id or known.conversation_id = p_conversation_id)
        and known.last_seq = p_last_seq
        and known.requested_count = p_count
        and known.model = p_model
        and known.prompt_version = p_prompt_version
        and (
            (select private.is_service())
            or exists (select from private.my_channels as mine where mine.id = known.channel_id offset 0)
            or private.is_my_conversation(known.conversation_id)
        );
end
$$;
comment on function private.find_summary(uuid, uuid, bigint, integer, text, integer) is
'Finds the summary of a state of a channel. answer is null until the model has answered.';

create function private.empty_summary() returns jsonb
language plpgsql
immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return jsonb_build_object(
        'summary', '', 'messageCount', 0, 'timeRange', jsonb_build_object('from', null, 'to', null),
        'statements', '[]'::jsonb, 'citations', '[]'::jsonb, 'model', null, 'truncated', false, 'omittedCount', 0
    );
end
$$;
comment on function private.empty_summary() is 'The summary of a channel or a conversation without messages.';

-- The caller decides whether the subject is a channel or a conversation: the request may name both.
create function private.answer_summary(
    p_request jsonb, p_channel_id uuid, p_conversation_id uuid, p_last_seq bigint, p_count integer
) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_model text := p_request ->> 'model';
    v_prompt_version integer := (p_request ->> 'prompt_version')::integer;
    v_known record;
    v_lease record;
    v_task jsonb;
begin
    select * into v_known
    from private.find_summary(p_channel_id, p_conversation_id, p_last_seq, p_count, v_model, v_prompt_version);
    if v_known.answer is not null then
        return private.succeed(v_known.answer);
    elsif p_request ->> 'is_configured' <> 'true' then
        perform private.fail(
            503, 'summaries_not_configured',
            'This service has no key of the Claude API. Ask its operator to set ANTHROPIC_API_KEY.'
        );
    end if;
    select * into v_lease
    from private.lease_summary(
        p_channel_id, p_conversation_id, p_last_seq, p_count, v_model, v_prompt_version,
        (p_request ->> 'lease_seconds')::integer
    );
    if v_lease.lease is null then
        select * into v_known
        from private.find_summary(p_channel_id, p_conversation_id, p_last_seq, p_count, v_model, v_prompt_version);
        return private.succeed(jsonb_build_object('id', v_known.id), null, 202);
    end if;
    v_task := private.render_transcript(
        case
            when p_conversation_id is null then private.list_channel_lines(p_channel_id, p_last_seq, p_count)
            else private.list_conversation_lines(p_conversation_id, p_count)
        end,
        p_count, v_lease.max_bytes, v_lease.recent_days
    ) || jsonb_build_object('id', v_lease.id, 'lease', v_lease.lease, 'user_id', (select auth.uid()));
    -- Last, because it locks a row that all summaries of the project need.
    perform private.spend_project_summary(v_lease.id, v_lease.lease);
    return private.succeed(v_task, null, 201);
end
$$;
comment on function private.answer_summary(jsonb, uuid, uuid, bigint, integer) is
'Answers for a state of a channel or a conversation one of three things: the stored summary; a lease and a task for the
caller; or the id of the summary that another caller is making.';

-- This function and the next two are private, because a client that could call them could store an invented summary.
create function private.begin_summary(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    -- 0 stands for all recent messages.
    v_count integer := private.parse_integer($1, 'messageCount', 1, 10000, 0);
    v_last_seq bigint;
begin
    if not private.is_service() then
        perform private.require_actor($1);
    end if;
    perform private.require_channel(v_channel_id);
    -- Only events that change the text: after a reaction or a pin, the stored summary is still right.
    v_last_seq := coalesce(
        (
            select max(event.seq)
            from public.message_events as event
            where event.channel_id = v_channel_id
                and event.kind in ('message.created', 'message.updated', 'message.deleted')
        ),
        -- The clean-up may have deleted the events.
        (select max(message.seq) from public.messages as message where message.channel_id = v_channel_id),
        0
    );
    -- ORDER BY makes this one lookup in messages_seq_unique. A bare EXISTS may scan messages of other channels.
    if (
        select message.id
        from public.messages as message
        where message.channel_id = v_channel_id and message.deleted_at is null and message.seq <= v_last_seq
        order by message.seq desc
        limit 1
    ) is null then
        return private.succeed(private.empty_summary());
    end if;
    return private.answer_summary($1, v_channel_id, null, v_last_seq, v_count);
end
$$;
comment on function private.begin_summary(jsonb) is
'First half of POST /api/v2/messages/summarize. Takes channel_id and messageCount, and from the service model,
prompt_version, lease_seconds and is_configured. Returns 200 with the answer, 201 with a transcript and a lease for
finish_summary, or 202 with an id for poll_summary if another caller has the lease.';

create function private.begin_conversation_summary(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_id uuid := private.parse_uuid($1, 'conversation_id');
    v_count integer := private.parse_integer($1, 'messageCount', 1, 10000, 0);
    v_version bigint;
begin
    select conversation.version into v_version from public.conversations as conversation where conversation.id = v_id;
    if not found then
        perform private.fail(
            404, 'conversation_not_found',
            'This conversation does not exist or is not yours. Check conversation_id.', 'conversation_id'
        );
    elsif not exists (
        select from public.conversation_messages as stored
        where stored.conversation_id = v_id and stored.deleted_at is null
    ) then
        return private.succeed(private.empty_summary());
    end if;
    return private.answer_summary($1, null, v_id, v_version, v_count);
end
$$;
comment on function private.begin_conversation_summary(jsonb) is
'As begin_summary, for POST /api/v2/conversations/{conversation_id}/summarize. Citations are the ids of messages on
their platform.';

create function private.finish_summary(jsonb) returns json
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    v_asked private.summaries := (
        select known from private.summaries as known where known.id = private.parse_uuid($1, 'id')
    );
begin
    -- An answer about text that was edited or deleted meanwhile is not kept. The lock waits for such a change.
    if v_asked.conversation_id is null then
        perform private.lock_my_channel(v_asked.channel_id);
    else
        perform from public.conversations as conversation
        where conversation.id = v_asked.conversation_id for no key update;
    end if;
    update private.summaries as known
    set
        answer = case when outdated.is_outdated then null else $1 -> 'answer' end,
        failure = case
            when outdated.is_outdated and $1 -> 'answer' is not null then jsonb_build_object(
                'status', 409, 'code', 'summary_outdated',
                'message', 'A message was edited or deleted meanwhile. Ask again.'
            )
            else $1 -> 'failure'
        end,
        finished_at = now()
    from (
        select exists (
            select from public.message_events as event
            where event.channel_id = v_asked.channel_id and event.seq > v_asked.last_seq
                and event.kind in ('message.updated', 'message.deleted')
        ) or exists (
            select from public.conversation_updates as given
            where given.conversation_id = v_asked.conversation_id and given.type in ('edited', 'deleted')
                -- The time of a transaction is that of its start.
                and given.received_at > v_asked.leased_at - interval '1 minute'
        ) as is_outdated
    ) as outdated
    where known.id = private.parse_uuid($1, 'id')
        and known.lease = private.parse_uuid($1, 'lease')
        and known.finished_at is null;
    -- An unavailable model costs nothing, so the user and the project get the summary back.
    if found and $1 -> 'failure' ->> 'status' = '503' and $1 ->> 'is_paid' = 'false' then
        update private.summary_counts as counted
        set used = counted.used - 1
        -- Only in the day that counted it.
        where counted.user_id = private.parse_uuid($1, 'user_id', false)
            and counted.day = (v_asked.leased_at at time zone 'UTC')::date and counted.used > 0;
        update private.summary_totals as counted
        set used = counted.used - 1
        where counted.day = (v_asked.leased_at at time zone 'UTC')::date and counted.used > 0;
    end if;
    return private.succeed($1 -> 'answer');
end
$$;
comment on function private.finish_summary(jsonb) is
'Stores the answer of the model: id, lease, user_id, and answer or failure (status, code, message) with is_paid:
whether Claude returned anything. Returns the answer, and stores nothing if the lease has passed to another caller.';

create function private.poll_summary(jsonb) returns json
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
    v_known private.summaries;
begin
    select * into v_known from private.summaries as known where known.id = private.parse_uuid($1, 'id');
    if v_known.id is null then
        -- A change of the text deletes its summaries, before or after the model has answered.
        perform private.fail(409, 'summary_outdated', 'The text was changed or deleted meanwhile. Ask again.');
    elsif v_known.failure is not null then
        perform private.fail(
            (v_known.failure ->> 'status')::integer, v_known.failure ->> 'code', v_known.failure ->> 'message'
        );
    elsif v_known.answer is null and ($1 ->> 'is_last' = 'true' or v_known.lease_expires_at < now()) then
        perform private.fail(504, 'summary_timeout', 'The model took too long. Try again in a moment.');
    end if;
    return private.succeed(v_known.answer, null, case when v_known.answer is null then 202 else 200 end);
end
$$;
comment on function private.poll_summary(jsonb) is
'Returns the summary that another caller has leased: id. 200 with the answer, or 202 while the model works. Raises the
failure of the model, PT409 if the summary is gone, and PT504 if the lease has expired or is_last says that this is the
last poll.';
