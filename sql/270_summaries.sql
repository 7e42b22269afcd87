-- Summaries of a channel by Claude: who asks the model, who waits, and what a day grants a user.

create table private.summaries (
    id uuid primary key default gen_random_uuid(),
    channel_id uuid not null references public.channels (id) on delete cascade,
    last_seq bigint not null,
    requested_count integer not null,
    model text not null,
    prompt_version integer not null,
    claim uuid not null default gen_random_uuid(),
    claim_expires_at timestamptz not null,
    answer jsonb,
    failure jsonb,
    finished_at timestamptz,
    constraint summaries_request_unique unique (channel_id, last_seq, requested_count, model, prompt_version),
    constraint summaries_is_answer_or_failure check (answer is null or failure is null),
    constraint summaries_finished_with_something check ((finished_at is null) = (coalesce(answer, failure) is null))
);
comment on table private.summaries is
'What the model said about a state of a channel, for a day, and who is asking it at this moment. No transcripts.';
comment on column private.summaries.last_seq is 'The last event that changed what is said in the channel.';
comment on column private.summaries.claim is 'Known only to who is asking the model; it lets them store the answer.';
comment on column private.summaries.claim_expires_at is
'From then on another caller may ask the model: a killed service blocks no caller.';
comment on column private.summaries.failure is
'Status, code and message, for those who waited. The next caller tries again.';
create index summaries_settled_at_idx on private.summaries (coalesce(finished_at, claim_expires_at));
alter table private.summaries enable row level security;

create table private.summary_counts (
    user_id uuid primary key references auth.users (id) on delete cascade,
    day date not null,
    used integer not null,
    constraint summary_counts_used_not_negative check (used >= 0)
);
comment on table private.summary_counts is 'How many summaries each user has had made on their latest day (UTC).';
alter table private.summary_counts enable row level security;

-- Definer, because clients may not write their own count. It counts for the caller.
create function private.spend_summary() returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_used integer;
begin
    insert into private.summary_counts as counted (user_id, day, used)
    values ((select auth.uid()), (now() at time zone 'UTC')::date, 1)
    on conflict on constraint summary_counts_pkey do update
    set
        used = case when counted.day = excluded.day then counted.used + 1 else 1 end,
        day = excluded.day
    returning counted.used into v_used;
    if v_used > (select settings.summaries_per_user_per_day from private.settings) then
        perform private.fail(
            429, 'summary_budget_exhausted', 'You have had all the summaries of today; a new day begins at 00:00 UTC.'
        );
    end if;
end
$$;
comment on function private.spend_summary() is
'Counts a summary that is made for the caller; PT429, which undoes the count, above what a day grants.';

-- Definer, because summaries are for no other eyes.
create function private.lease_summary(
    p_channel_id uuid, p_last_seq bigint, p_count integer, p_model text, p_prompt_version integer, p_seconds integer,
    out id uuid, out claim uuid, out max_bytes integer
)
language plpgsql
security definer
set search_path = ''
as $$
begin
    if private.is_non_member(p_channel_id) then
        perform private.fail(404, 'channel_not_found', 'There is no such channel.', 'channel_id');
    end if;
    -- Deletes outdated summaries, after the five minutes in which waiting callers read them.
    delete from private.summaries as old
    where old.id in (
        select known.id
        from private.summaries as known
        where coalesce(known.finished_at, known.claim_expires_at)
            < now() - (select make_interval(days => settings.summary_days) from private.settings)
            or (
                known.channel_id = p_channel_id and known.last_seq < p_last_seq
                and coalesce(known.finished_at, known.claim_expires_at) < now() - interval '5 minutes'
            )
        limit 100
        for update skip locked
    );
    -- Of several at once the first one gets the claim; the others wait here until that is settled.
    insert into private.summaries as known (
        channel_id, last_seq, requested_count, model, prompt_version, claim_expires_at
    )
    values (p_channel_id, p_last_seq, p_count, p_model, p_prompt_version, now() + make_interval(secs => p_seconds))
    on conflict on constraint summaries_request_unique do update
    set
        claim = excluded.claim, claim_expires_at = excluded.claim_expires_at,
        failure = null, finished_at = null
    where known.answer is null and (known.failure is not null or known.claim_expires_at < now())
    returning known.id, known.claim into lease_summary.id, lease_summary.claim;
    if claim is not null then
        if not private.is_service() then
            perform private.spend_summary();
        end if;
        select settings.summary_max_bytes into max_bytes from private.settings;
    end if;
end
$$;
comment on function private.lease_summary(uuid, bigint, integer, text, integer, integer) is
'The right to ask the model, if no other caller has it and there is no answer: the row, a claim on it for p_seconds,
and how much text may be sent. All null otherwise.';

-- Definer, for the same reason.
create function private.find_summary(
    p_channel_id uuid, p_last_seq bigint, p_count integer, p_model text, p_prompt_version integer,
    out id uuid, out answer jsonb
)
language sql
stable
security definer
set search_path = ''
as $$
    select known.id, known.answer
    from private.summaries as known
    where known.channel_id = p_channel_id
        and known.last_seq = p_last_seq
        and known.requested_count = p_count
        and known.model = p_model
        and known.prompt_version = p_prompt_version
        and (
            (select private.is_service())
            or known.channel_id in (select mine.id from private.my_channels as mine)
        )
$$;
comment on function private.find_summary(uuid, bigint, integer, text, integer) is
'The summary of this state of a channel, with its answer if there is one.';

create function private.render_transcript(
    p_channel_id uuid, p_last_seq bigint, p_count integer, p_max_bytes integer
) returns jsonb
language sql
stable
set search_path = ''
as $$
    with newest as (
        select message.*
        from public.messages as message
        where message.channel_id = p_channel_id
            and message.deleted_at is null
            and message.seq <= p_last_seq
        order by message.seq desc
        limit p_count
    ),

    measured as (
        select
            newest.*,
            sum(octet_length(newest.content)) over (order by newest.seq desc) as bytes_so_far,
            row_number() over (order by newest.seq desc) as place
        from newest
    ),

    sent as (
        select * from measured where measured.bytes_so_far <= p_max_bytes or measured.place = 1
    )

    select jsonb_build_object(
        'messages', coalesce(jsonb_agg(jsonb_build_object(
            'id', sent.id,
            'parent_id', sent.parent_message_id,
            'author', coalesce(author.display_name, 'former member'),
            'at', private.format_time(sent.created_at),
            'content', sent.content
        ) order by sent.seq), '[]'),
        'scope', jsonb_build_object(
            'messageCount', count(*),
            'timeRange', jsonb_build_object(
                'from', private.format_time(min(sent.created_at)),
                'to', private.format_time(max(sent.created_at))
            ),
            'truncated', count(*) < (select count(*) from newest)
        )
    )
    from sent
    left join private.list_author_names(array(select sent.id from sent)) as author
        on author.author_id = coalesce(sent.user_id, sent.ai_twin_id)
        and author.is_twin = (sent.user_id is null)
$$;
comment on function private.render_transcript(uuid, bigint, integer, integer) is
'The newest messages of a channel, the oldest of them first, as many as fit; and what part of the channel that is.';

-- Private, as are the two below: a client that could reach them could store a summary of its own invention.
create function private.begin_summary(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_channel_id uuid := private.parse_uuid($1, 'channel_id');
    v_count integer := private.parse_integer($1, 'messageCount', 1, 2000, 500);
    v_model text := $1 ->> 'model';
    v_prompt_version integer := ($1 ->> 'prompt_version')::integer;
    v_last_seq bigint;
    v_known record;
    v_claimed record;
begin
    if not private.is_service() then
        perform private.require_actor($1);
    end if;
    perform private.require_channel(v_channel_id);
    -- Not the end of the event log: a reaction does not change what is said, and must not cost anything.
    select coalesce(max(event.seq), 0) into v_last_seq
    from public.message_events as event
    where event.channel_id = v_channel_id
        and event.kind in ('message.created', 'message.updated', 'message.deleted');
    -- The newest one, not any: that is found by the index, whatever else the table holds.
    if (
        select message.id
        from public.messages as message
        where message.channel_id = v_channel_id and message.deleted_at is null and message.seq <= v_last_seq
        order by message.seq desc
        limit 1
    ) is null then
        return private.succeed(jsonb_build_object(
            'summary', '', 'messageCount', 0, 'timeRange', jsonb_build_object('from', null, 'to', null),
            'citations', '[]'::jsonb, 'model', null, 'truncated', false
        ));
    end if;
    select * into v_known
    from private.find_summary(v_channel_id, v_last_seq, v_count, v_model, v_prompt_version);
    if v_known.answer is not null then
        return private.succeed(v_known.answer);
    elsif $1 ->> 'is_configured' <> 'true' then
        perform private.fail(
            503, 'summaries_not_configured', 'Summaries need a key of the Claude API: set ANTHROPIC_API_KEY.'
        );
    end if;
    select * into v_claimed
    from private.lease_summary(
        v_channel_id, v_last_seq, v_count, v_model, v_prompt_version, ($1 ->> 'claim_seconds')::integer
    );
    if v_claimed.claim is null then
        select * into v_known
        from private.find_summary(v_channel_id, v_last_seq, v_count, v_model, v_prompt_version);
        return private.succeed(jsonb_build_object('id', v_known.id), null, 202);
    end if;
    return private.succeed(
        private.render_transcript(v_channel_id, v_last_seq, v_count, v_claimed.max_bytes)
        || jsonb_build_object('id', v_claimed.id, 'claim', v_claimed.claim, 'user_id', (select auth.uid())),
        null,
        201
    );
end
$$;
comment on function private.begin_summary(jsonb) is
'The first half of POST /api/v2/messages/summarize: channel_id, messageCount; and from the service model, claim_seconds,
prompt_version, is_configured. 200: the answer. 201: a transcript, and a claim for finish_summary. 202: another caller
is asking the model for the same; poll_summary tells what came of it.';

create function private.finish_summary(jsonb) returns json
language plpgsql
set search_path = ''
as $$
declare
    v_channel_id uuid := (
        select known.channel_id from private.summaries as known where known.id = private.parse_uuid($1, 'id')
    );
begin
    -- An answer about text that was edited or deleted meanwhile is not kept. The lock waits for such a change.
    perform private.lock_my_channel(v_channel_id);
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
            inner join private.summaries as asked on event.channel_id = asked.channel_id
            where asked.id = private.parse_uuid($1, 'id') and event.seq > asked.last_seq
                and event.kind in ('message.updated', 'message.deleted')
        ) as is_outdated
    ) as outdated
    where known.id = private.parse_uuid($1, 'id')
        and known.claim = private.parse_uuid($1, 'claim')
        and known.finished_at is null;
    -- Where the model was not there at all, nothing was paid.
    if found and $1 -> 'failure' ->> 'status' = '503' then
        update private.summary_counts as counted
        set used = counted.used - 1
        where counted.user_id = private.parse_uuid($1, 'user_id', false)
            and counted.day = (now() at time zone 'UTC')::date
            and counted.used > 0;
    end if;
    return private.succeed($1 -> 'answer');
end
$$;
comment on function private.finish_summary(jsonb) is
'What came of asking the model: id, claim, user_id, and answer or failure (status, code, message). Who has lost the
claim stores nothing, but gets the answer all the same.';

create function private.poll_summary(jsonb) returns json
language plpgsql
stable
set search_path = ''
as $$
declare
    v_known private.summaries;
begin
    select * into v_known from private.summaries as known where known.id = private.parse_uuid($1, 'id');
    if v_known.id is null then
        perform private.fail(404, 'channel_not_found', 'There is no such channel.', 'channel_id');
    elsif v_known.failure is not null then
        perform private.fail(
            (v_known.failure ->> 'status')::integer, v_known.failure ->> 'code', v_known.failure ->> 'message'
        );
    elsif v_known.answer is null and ($1 ->> 'is_last' = 'true' or v_known.claim_expires_at < now()) then
        perform private.fail(504, 'summary_timeout', 'The model took too long; try again in a moment.');
    end if;
    return private.succeed(v_known.answer, null, case when v_known.answer is null then 202 else 200 end);
end
$$;
comment on function private.poll_summary(jsonb) is
'The result of a summary that another caller asked for: id. 202 before it exists; PT504 if is_last says that this is
the last poll.';
