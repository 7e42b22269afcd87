-- The table of summaries, and how many new ones a user and the project may start in a UTC day.
-- Promise: a summary counts once Claude has returned anything, also if it failed.

create table private.summaries (
    id uuid primary key default gen_random_uuid(),
    channel_id uuid references public.channels (id) on delete cascade,
    conversation_id uuid references public.conversations (id) on delete cascade,
    last_seq bigint not null,
    requested_count integer not null,
    model text not null,
    prompt_version integer not null,
    lease uuid not null default gen_random_uuid(),
    lease_expires_at timestamptz not null,
    is_counted boolean not null default false,
    answer jsonb,
    failure jsonb,
    finished_at timestamptz,
    leased_at timestamptz not null default now(),
    constraint summaries_request_unique
    unique nulls not distinct (channel_id, conversation_id, last_seq, requested_count, model, prompt_version),
    constraint summaries_have_one_subject check (num_nonnulls(channel_id, conversation_id) = 1),
    constraint summaries_is_answer_or_failure check (answer is null or failure is null),
    constraint summaries_finished_with_something check ((finished_at is null) = (coalesce(answer, failure) is null))
);
comment on table private.summaries is
'The answer of the model for one state of a channel and one set of parameters, or the lease of the caller that asks the
model now.';
comment on column private.summaries.requested_count is 'The messageCount of the request; 0 for all recent messages.';
comment on column private.summaries.last_seq is
'Channel: the last event that changed its text. Conversation: its version.';
comment on column private.summaries.lease is
'The token with which its caller stores the answer. Each new lease has a new token.';
comment on column private.summaries.lease_expires_at is 'From this time on, another caller may take the lease.';
comment on column private.summaries.is_counted is 'Whether its lease counts against the limit of the project.';
comment on column private.summaries.failure is
'Status, code and message of the error, for the callers that poll. The next caller asks the model again.';
create index summaries_conversation_id_idx on private.summaries (conversation_id) where conversation_id is not null;
create index summaries_settled_at_idx on private.summaries (coalesce(finished_at, lease_expires_at));
alter table private.summaries enable row level security;

create table private.summary_counts (
    user_id uuid primary key references auth.users (id) on delete cascade,
    day date not null,
    used integer not null,
    constraint summary_counts_used_not_negative check (used >= 0)
);
comment on table private.summary_counts is
'The number of new summaries that each user started on the last day (UTC) on which they started one.';
alter table private.summary_counts enable row level security;

create table private.summary_totals (
    day date primary key,
    used integer not null,
    constraint summary_totals_used_not_negative check (used >= 0)
);
comment on table private.summary_totals is
'The number of new summaries that all users, and service_role, started today (UTC). It is apart from summary_counts,
because users who are erased and come again must not get more.';
alter table private.summary_totals enable row level security;

-- Definer, because clients may not write their own count. It counts for the caller only.
create function private.spend_summary() returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
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
            429, 'summary_budget_exhausted', 'You have reached the daily limit of summaries. Try again after 00:00 UTC.'
        );
    end if;
end
$$;
comment on function private.spend_summary() is
'Counts one summary for the caller. PT429 above the daily limit; the error also rolls back the count.';

-- Definer, because clients may not write the count. A lease counts once, so a client that calls this itself cannot use
-- up the limit of the others.
create function private.spend_project_summary(p_id uuid, p_lease uuid) returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    v_today date := (now() at time zone 'UTC')::date;
    v_used integer;
begin
    update private.summaries as known set is_counted = true
    where known.id = p_id and known.lease = p_lease and not known.is_counted;
    if not found then
        return;
    end if;
    delete from private.summary_totals as old where old.day < v_today;
    insert into private.summary_totals as counted (day, used)
    values (v_today, 1)
    on conflict on constraint summary_totals_pkey do update set used = counted.used + 1
    returning counted.used into v_used;
    if v_used > (select settings.summaries_per_project_per_day from private.settings) then
        perform private.fail(
            429, 'project_summary_budget_exhausted',
            'This project has reached its daily limit of summaries. Try again after 00:00 UTC.'
        );
    end if;
end
$$;
comment on function private.spend_project_summary(uuid, uuid) is
'Counts a lease for the project, once. PT429 above the daily limit; the error also rolls back the count.';
